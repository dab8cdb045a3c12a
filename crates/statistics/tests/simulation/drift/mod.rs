//! Windows of a hundred columns with and without drift, and what is said of them: here, and by what others do by default.
//!
//! Counts are drawn, not rows: that is the same, and takes a thousandth of the time.

pub mod draws;
pub mod peers;

use std::collections::BTreeMap;

pub use draws::Rows;
use draws::{Draw, draw};
use windlass_statistics::bins;
use windlass_statistics::cells::Cells;
use windlass_statistics::drift::decide::{Asked, Column, Rule, judge};
use windlass_statistics::drift::levels;
use windlass_statistics::drift::table::{Distance, Table};
use windlass_statistics::drift::units::{DesignEffect, Units};
use windlass_statistics::drift::verdict::{Seen, Trigger, Verdict};
use windlass_statistics::psi::Categories;
use windlass_statistics::random::Random;

/// Columns of a window; thirty of them are categories.
pub const COLUMNS: usize = 100;
const CATEGORIES: usize = 30;
/// How many levels a category has.
const LEVELS: [usize; 6] = [10, 30, 100, 200, 500, 1000];
/// How many different values a number has: each a half-percentile of its population.
const VALUES: usize = 200;
const BINS: usize = 10;
/// PSI's, the default.
pub const THRESHOLD: f64 = 0.2;
/// How far columns that drift are from what they were.
const DRIFTED_PSI: f64 = 0.25;

/// The trigger of a monitor that has no other.
pub const TRIGGER: Trigger = Trigger {
    min_rows: 500.0,
    drifted_share: 0.3,
    windows: 2,
    out_of: 2,
};

/// What a column's rows are drawn from.
struct Population {
    is_category: bool,
    shares: Vec<f64>,
    /// With drift, at [`DRIFTED_PSI`].
    drifted: Vec<f64>,
}

impl Population {
    fn of(column: usize) -> Self {
        let is_category = column < CATEGORIES;
        let count = if is_category {
            LEVELS[column % LEVELS.len()]
        } else {
            VALUES
        };
        // Of twelve categories six have levels by Zipf's law, the others have even ones.
        let is_zipf = is_category && (column / LEVELS.len()).is_multiple_of(2);
        let weight = |at: usize| if is_zipf { 1.0 / float(at + 1) } else { 1.0 };
        let shares = normed((0..count).map(weight).collect());
        // Numbers become larger; of categories, every other level becomes more frequent.
        let tilt = |at: usize| {
            if is_category {
                float(at % 2)
            } else {
                float(at) / float(count)
            }
        };
        let tilted = |by: f64| {
            let weights = shares.iter().enumerate();
            normed(
                weights
                    .map(|(at, share)| share * (by * tilt(at)).exp())
                    .collect(),
            )
        };
        // PSI is that of deciles for a number, of levels for a category.
        let cells = |shares: &[f64]| -> Vec<f64> {
            let of_cell = if is_category { 1 } else { count / BINS };
            shares
                .chunks(of_cell)
                .map(|cell| cell.iter().sum())
                .collect()
        };
        let psi = |by: f64| -> f64 {
            let both = cells(&shares).into_iter().zip(cells(&tilted(by)));
            both.map(|(q, p)| (p - q) * (p / q).ln()).sum()
        };
        let (mut low, mut high) = (0.0, 20.0);
        for _ in 0..60 {
            let middle = f64::midpoint(low, high);
            if psi(middle) < DRIFTED_PSI {
                low = middle;
            } else {
                high = middle;
            }
        }
        Self {
            is_category,
            drifted: tilted(low),
            shares,
        }
    }
}

/// A monitor's setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    pub reference: u64,
    pub window: u64,
    pub rows: Rows,
    /// How many columns drift: as many of each ten as tens of them, the first.
    pub drifted: usize,
}

/// What is kept of a reference.
struct Reference {
    draw: Draw,
    kind: Kind,
}

enum Kind {
    Number {
        counts: Vec<u64>,
        /// The bin of each value.
        bins: Vec<usize>,
        effect: DesignEffect,
    },
    Category(Categories),
}

fn name(level: usize) -> String {
    format!("level {level}")
}

fn categories(counts: &[u64]) -> Categories {
    let levels = counts.iter().enumerate().filter(|(_, rows)| **rows > 0);
    Categories {
        levels: levels.map(|(level, rows)| (name(level), *rows)).collect(),
        nulls: 0,
    }
}

fn float(count: impl TryInto<u32>) -> f64 {
    f64::from(count.try_into().ok().expect("a small count"))
}

fn normed(weights: Vec<f64>) -> Vec<f64> {
    let total: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / total).collect()
}

impl Reference {
    fn new(random: &mut Random, population: &Population, setting: Setting) -> Self {
        let draw = draw(random, &population.shares, setting.reference, setting.rows);
        let kind = if population.is_category {
            Kind::Category(categories(&draw.counts))
        } else {
            let mut cells = Cells::new(VALUES);
            for (at, rows) in draw
                .counts
                .iter()
                .enumerate()
                .filter(|(_, rows)| **rows > 0)
            {
                cells.add(float(at), *rows);
            }
            cells.settle();
            let (edges, counts) = bins::of_cells(&cells, BINS);
            let bins: Vec<usize> = (0..VALUES).map(|at| bins::bin(&edges, float(at))).collect();
            let effect = draw.design_effect(Units::of_bins(counts.len()), &bins);
            Kind::Number {
                counts,
                bins,
                effect,
            }
        };
        Self { draw, kind }
    }

    /// The window's table, and the largest design effect.
    fn table(&self, window: &Draw) -> (Table, f64) {
        let rows = |draw: &Draw| float(draw.counts.iter().sum::<u64>());
        match &self.kind {
            Kind::Number {
                counts,
                bins,
                effect,
                ..
            } => {
                let mut of_window = vec![0; counts.len()];
                for (at, rows) in window.counts.iter().enumerate() {
                    of_window[bins[at]] += rows;
                }
                let of = window.design_effect(Units::of_bins(counts.len()), bins);
                let effects = [*effect, of];
                let shares = effects.map(|effect| effect.of_shares);
                let worth = [rows(&self.draw) / shares[0], rows(window) / shares[1]];
                let table = Table::of_bins(counts, &of_window, [0; 2], worth).thinned(shares);
                (table.uneven(unevenness(effects)), shares[1])
            }
            Kind::Category(reference) => {
                let of_window = categories(&window.counts);
                if window.users.is_empty() {
                    return (levels::table(reference, &of_window, [1.0; 2]), 1.0);
                }
                // Which levels are kept is decided by the reference's own effect, in levels.
                let all: Vec<usize> = (0..window.counts.len()).collect();
                let first = [&self.draw, window].map(|draw| {
                    draw.design_effect(Units::of_levels(all.len()), &all)
                        .of_shares
                });
                let worth = [rows(&self.draw) / first[0], rows(window) / first[1]];
                let kept = levels::kept(reference, worth);
                let place: BTreeMap<&str, usize> = kept
                    .iter()
                    .enumerate()
                    .map(|(at, level)| (*level, at))
                    .collect();
                let cell_of: Vec<usize> = all
                    .iter()
                    .map(|level| {
                        place
                            .get(name(*level).as_str())
                            .copied()
                            .unwrap_or(kept.len())
                    })
                    .collect();
                let effects = [&self.draw, window]
                    .map(|draw| draw.design_effect(Units::of_levels(kept.len() + 1), &cell_of));
                let shares = effects.map(|effect| effect.of_shares);
                let table = Table::new(
                    &levels::cells(&kept, reference),
                    &levels::cells(&kept, &of_window),
                );
                (table.thinned(shares).uneven(unevenness(effects)), shares[1])
            }
        }
    }
}

fn unevenness([one, two]: [DesignEffect; 2]) -> f64 {
    one.unevenness.max(two.unevenness)
}

/// What was said of a window.
pub struct Judged {
    pub verdict: Verdict,
    pub drifted: usize,
    /// Of those, how many truly have.
    pub rightly: usize,
    /// By peer: columns that have drifted, and columns that it looks at.
    pub peers: [[usize; 2]; 5],
}

/// So many monitors, each with a reference of its own and so many windows.
///
/// What a monitor draws depends on the seed and its place alone, not on how many work at a time.
pub fn monitors(setting: Setting, count: u64, windows: usize, seed: u64) -> Vec<Vec<Judged>> {
    let populations: Vec<Population> = (0..COLUMNS).map(Population::of).collect();
    let workers = std::thread::available_parallelism()
        .map_or(2, usize::from)
        .min(8) as u64;
    let mut all: Vec<(u64, Vec<Judged>)> = std::thread::scope(|scope| {
        let work = |worker: u64| {
            let populations = &populations;
            let mine = (worker..count).step_by(usize::try_from(workers).expect("few"));
            scope.spawn(move || {
                let of = |at| {
                    (
                        at,
                        monitor(populations, setting, windows, seed * 1_000_003 + at),
                    )
                };
                mine.map(of).collect::<Vec<_>>()
            })
        };
        let all: Vec<_> = (0..workers).map(work).collect();
        all.into_iter()
            .flat_map(|worker| worker.join().expect("no worker panics"))
            .collect()
    });
    all.sort_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, judged)| judged).collect()
}

fn monitor(populations: &[Population], setting: Setting, windows: usize, seed: u64) -> Vec<Judged> {
    // The first draws of neighbouring seeds are not alike: SplitMix64 mixes them.
    let mut random = Random::new(seed);
    let references: Vec<Reference> = populations
        .iter()
        .map(|population| Reference::new(&mut random, population, setting))
        .collect();
    let window = |_| judged(&mut random, populations, &references, setting);
    (0..windows).map(window).collect()
}

fn judged(
    random: &mut Random,
    populations: &[Population],
    references: &[Reference],
    setting: Setting,
) -> Judged {
    let has_drifted = |column: usize| column % 10 < setting.drifted / 10;
    let (mut asked, mut largest) = (Vec::with_capacity(COLUMNS), 1.0_f64);
    let mut of_peers = [[0; 2]; 5];
    for (column, (population, reference)) in populations.iter().zip(references).enumerate() {
        let shares = if has_drifted(column) {
            &population.drifted
        } else {
            &population.shares
        };
        let window = draw(random, shares, setting.window, setting.rows);
        let (table, effect) = reference.table(&window);
        largest = largest.max(effect);
        asked.push(Asked {
            column: column.to_string(),
            effect: table.effect(Distance::Psi),
            threshold: THRESHOLD,
            beside: None,
        });
        for (sums, said) in of_peers.iter_mut().zip(peers::of(reference, &window)) {
            if let Some(said) = said {
                *sums = [sums[0] + usize::from(said), sums[1] + 1];
            }
        }
    }
    let columns = judge(&asked, Rule::default());
    let drifted = columns.iter().filter(|column| column.has_drifted);
    let truly = |column: &&Column| has_drifted(column.column.parse().expect("a number"));
    Judged {
        verdict: TRIGGER.verdict(Seen {
            columns: &columns,
            is_broken: false,
            effective_rows: float(setting.window) / largest,
        }),
        drifted: drifted.clone().count(),
        rightly: drifted.filter(truly).count(),
        peers: of_peers,
    }
}

/// The share of what holds among some.
pub fn share<T>(of: &[T], holds: impl Fn(&T) -> bool) -> f64 {
    float(of.iter().filter(|one| holds(one)).count()) / float(of.len().max(1))
}
