//! Windows of a hundred columns with and without drift, and what is said of them: here, and by what others do by default.
//!
//! ```text
//!   populations ──draws: counts by value, users──> sides: what the agent keeps ──> Measured ──asked, judge──> verdict
//!                                   └────────────> peers: what others say of the same draws
//! ```
//!
//! Counts are drawn, not rows: that is the same, and takes a thousandth of the time.

pub mod draws;
pub mod peers;
mod populations;
mod sides;

pub use draws::Rows;
use draws::{Draw, draw, sampled_users};
use populations::Population;
use sides::Side;
use windlass_statistics::drift::decide::{Rule, judge};
use windlass_statistics::drift::verdict::{Seen, Trigger, Verdict};
use windlass_statistics::random::Random;

/// Columns of a window; thirty of them are categories.
pub const COLUMNS: usize = 100;
const CATEGORIES: usize = 30;
const BINS: usize = 10;
/// PSI's, the default; and that of the mean's shift beside it.
pub const THRESHOLD: f64 = 0.2;

/// The trigger of a monitor that has no other.
pub const TRIGGER: Trigger = Trigger {
    min_rows: 500.0,
    drifted_share: 0.3,
    windows: 2,
    out_of: 2,
};

/// A monitor's setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    pub reference: u64,
    pub window: u64,
    pub rows: Rows,
    /// How many columns drift: as many of each ten as tens of them, the first.
    pub drifted: usize,
    /// Of so many monitors, the first window is shown to the peers too.
    pub shown: u64,
}

impl Setting {
    /// Whether a column drifts.
    pub fn has_drifted(&self, column: usize) -> bool {
        column % 10 < self.drifted / 10
    }
}

fn float(count: impl TryInto<u32>) -> f64 {
    f64::from(count.try_into().ok().expect("a small count"))
}

/// What was said of a window.
pub struct Judged {
    pub verdict: Verdict,
    /// Columns that were named.
    pub drifted: usize,
    /// Of those, how many truly have drifted.
    pub rightly: usize,
    /// Of those, how many are named by their mean alone.
    pub by_mean: usize,
    /// What peers said, where it was shown to them.
    pub peers: Option<[Said; peers::PEERS.len()]>,
}

/// What a peer said of a window.
#[derive(Clone, Copy, Debug, Default)]
pub struct Said {
    /// Columns that it looks at.
    pub looked: usize,
    /// Columns that have drifted, as it says.
    pub drifted: usize,
    /// Of those, how many truly have.
    pub rightly: usize,
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
                    let mut monitor = Monitor {
                        populations,
                        setting,
                        // The first draws of neighbouring seeds are not alike: SplitMix64 mixes them.
                        random: Random::new(seed * 1_000_003 + at),
                    };
                    (at, monitor.run(windows, at < setting.shown))
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

struct Monitor<'a> {
    populations: &'a [Population],
    setting: Setting,
    random: Random,
}

impl Monitor<'_> {
    fn run(&mut self, windows: usize, is_shown: bool) -> Vec<Judged> {
        let parts = if is_shown { peers::CHUNKS } else { 1 };
        let users = sampled_users(&mut self.random, self.setting.reference, self.setting.rows);
        let (rows, how) = (self.setting.reference, self.setting.rows);
        let references: Vec<(Draw, Side)> = self
            .populations
            .iter()
            .map(|population| {
                let draw = draw(
                    &mut self.random,
                    &population.shares,
                    [rows, users],
                    how,
                    parts,
                );
                let side = Side::of_reference(population, &draw);
                (draw, side)
            })
            .collect();
        (0..windows)
            .map(|window| self.window(&references, is_shown && window == 0))
            .collect()
    }

    fn window(&mut self, references: &[(Draw, Side)], is_shown: bool) -> Judged {
        let setting = self.setting;
        let parts = if is_shown { peers::CHUNKS } else { 1 };
        let users = sampled_users(&mut self.random, setting.window, setting.rows);
        let (mut asked, mut largest) = (Vec::with_capacity(COLUMNS), 1.0_f64);
        let mut said = [Said::default(); peers::PEERS.len()];
        for (column, (population, (old, reference))) in
            self.populations.iter().zip(references).enumerate()
        {
            let has_drifted = setting.has_drifted(column);
            let shares = if has_drifted {
                &population.drifted
            } else {
                &population.shares
            };
            let size = [setting.window, users];
            let new = draw(&mut self.random, shares, size, setting.rows, parts);
            let window = Side::of_window(population, &new, reference);
            largest = largest.max(window.design_effect());
            let measured = reference.measured(&window);
            asked.push(measured.asked(&column.to_string(), THRESHOLD));
            if is_shown {
                let of_peers = peers::of(population, reference.edges(), old, &new);
                for (said, has) in said.iter_mut().zip(of_peers) {
                    said.looked += usize::from(has.is_some());
                    said.drifted += usize::from(has == Some(true));
                    said.rightly += usize::from(has == Some(true) && has_drifted);
                }
            }
        }
        let columns = judge(&asked, Rule::default());
        let drifted = columns.iter().filter(|column| column.has_drifted);
        let place = |name: &str| name.parse().expect("a number");
        let rightly = drifted
            .clone()
            .filter(|one| setting.has_drifted(place(&one.column)));
        Judged {
            verdict: TRIGGER.verdict(Seen {
                columns: &columns,
                is_broken: false,
                effective_rows: float(setting.window) / largest,
            }),
            rightly: rightly.count(),
            by_mean: drifted.clone().filter(|column| column.is_beside).count(),
            drifted: drifted.count(),
            peers: is_shown.then_some(said),
        }
    }
}

/// The share of what holds among some.
pub fn share<T>(of: &[T], holds: impl Fn(&T) -> bool) -> f64 {
    float(of.iter().filter(|one| holds(one)).count()) / float(of.len().max(1))
}
