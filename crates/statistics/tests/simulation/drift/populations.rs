//! What columns are drawn from, with and without drift.

use windlass_statistics::bins;
use windlass_statistics::normal;
use windlass_statistics::ranks::{Cell, Ranks};

use super::{BINS, CATEGORIES, float};

/// How many levels a category has.
const LEVELS: [usize; 6] = [10, 30, 100, 200, 500, 1000];
/// How often the outermost half-percentiles of a number are halved: a million rows hardly reach further.
const HALVED: i32 = 20;
/// How far columns that drift are from what they were.
const DRIFTED_PSI: f64 = 0.25;

/// What a column's rows are drawn from.
pub struct Population {
    pub kind: Kind,
    /// The share of each value or level.
    pub shares: Vec<f64>,
    /// With drift, at [`DRIFTED_PSI`].
    pub drifted: Vec<f64>,
}

pub enum Kind {
    /// Its values, ascending.
    Number(Vec<f64>),
    /// The names of its levels.
    Category(Vec<String>),
}

impl Population {
    pub fn of(column: usize) -> Self {
        if column < CATEGORIES {
            Self::category(column)
        } else {
            Self::number(LAWS[column % LAWS.len()])
        }
    }

    /// Of twelve categories six have levels by Zipf's law, the others have even ones. With drift, every other level becomes
    /// more frequent.
    fn category(column: usize) -> Self {
        let count = LEVELS[column % LEVELS.len()];
        let is_zipf = (column / LEVELS.len()).is_multiple_of(2);
        let weight = |at: usize| if is_zipf { 1.0 / float(at + 1) } else { 1.0 };
        let shares = normed((0..count).map(weight).collect());
        let tilts: Vec<f64> = (0..count).map(|at| float(at % 2)).collect();
        Self {
            kind: Kind::Category((0..count).map(|level| format!("level {level}")).collect()),
            drifted: drifted(&shares, &tilts, <[f64]>::to_vec),
            shares,
        }
    }

    /// With drift, numbers become larger. PSI is that of deciles.
    fn number(law: Law) -> Self {
        let (mut values, mut shares): (Vec<f64>, Vec<f64>) = (Vec::new(), Vec::new());
        for ends in ends().windows(2) {
            let value = law(f64::midpoint(ends[0], ends[1]));
            let share = ends[1] - ends[0];
            if values.last().is_some_and(|last| *last >= value) {
                *shares.last_mut().expect("one for each value") += share;
            } else {
                values.push(value);
                shares.push(share);
            }
        }
        let mut below = 0.0;
        let tilts: Vec<f64> = shares
            .iter()
            .map(|share| {
                below += share;
                below - share / 2.0
            })
            .collect();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        // up to a thousand million
        let rows = |share: f64| (share * 1e9).round().max(1.0) as u64;
        let cells = values.iter().zip(&shares);
        let ranks = Ranks::of_cells(cells.map(|(value, share)| Cell::of(*value, rows(*share))));
        let (edges, _) = ranks.bins(BINS);
        let of_bins = |shares: &[f64]| {
            let mut sums = vec![0.0; edges.len() + 1];
            for (value, share) in values.iter().zip(shares) {
                sums[bins::bin(&edges, *value)] += share;
            }
            sums
        };
        Self {
            drifted: drifted(&shares, &tilts, of_bins),
            kind: Kind::Number(values),
            shares,
        }
    }
}

/// The number below which a share of all lies.
type Law = fn(f64) -> f64;

/// Of every ten numbers as many as not are of a kind whose mean is hard to know: with a long tail, of no variance, or of no
/// mean at all.
const LAWS: [Law; 7] = [
    normal::quantile,
    |share| (1.5 * normal::quantile(share)).exp(),
    |share| (share * 100.0).floor(),
    |share| {
        if share < 0.6 {
            0.0
        } else {
            normal::quantile(0.5 + (share - 0.6) / 0.8)
        }
    },
    |share| share,
    // Pareto's: no variance.
    |share| (1.0 - share).powf(-1.0 / 1.5),
    // Cauchy's: no mean.
    |share| (std::f64::consts::PI * (share - 0.5)).tan(),
];

/// Where shares of a number's values begin and end: half-percentiles, of which the outermost are halved again and again.
fn ends() -> Vec<f64> {
    let tail: Vec<f64> = (0..=HALVED)
        .map(|times| 0.005 * 0.5_f64.powi(times))
        .collect();
    let inner = (2..199).map(|at: u32| f64::from(at) * 0.005);
    let low = std::iter::once(0.0).chain(tail.iter().rev().copied());
    let high = tail.iter().map(|share| 1.0 - share).chain([1.0]);
    low.chain(inner).chain(high).collect()
}

/// Shares of which those with a large tilt have become as much more frequent as makes [`DRIFTED_PSI`] of cells.
fn drifted(shares: &[f64], tilts: &[f64], cells: impl Fn(&[f64]) -> Vec<f64>) -> Vec<f64> {
    let tilted = |by: f64| {
        let weights = shares.iter().zip(tilts);
        normed(
            weights
                .map(|(share, tilt)| share * (by * tilt).exp())
                .collect(),
        )
    };
    let psi = |by: f64| -> f64 {
        let both = cells(shares).into_iter().zip(cells(&tilted(by)));
        let both = both.filter(|(q, _)| *q > 0.0);
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
    tilted(low)
}

fn normed(weights: Vec<f64>) -> Vec<f64> {
    let total: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / total).collect()
}
