//! What others say of a column by default, as their own programs have it.

use statrs::function::gamma::gamma_ur;
use windlass_statistics::bins;
use windlass_statistics::drift::steps::Steps;
use windlass_statistics::drift::table::{Distance, Table};

use super::draws::Draw;
use super::populations::{Kind, Population};
use super::{THRESHOLD, float};

/// What others say of the same draws by default: by column, whether it has drifted.
pub const PEERS: [&str; 6] = [
    "Evidently 0.7 (to 1,000 rows of reference KS, chi-square of one sample at 5%; above Wasserstein, Jensen-Shannon >= 0.1)",
    "NannyML 0.13 (Jensen-Shannon above mean + 3 deviations of ten chunks of the reference; any of ten chunks)",
    "whylogs 1.6 (of exact counts: KS, chi-square of one sample at 5%)",
    "PSI >= 0.2",
    "KS at 5% (numbers)",
    "chi-square of one sample at 5% (categories)",
];

/// In how many parts data are cut where nothing else is said (NannyML).
pub const CHUNKS: u64 = 10;
/// Up to so many rows of the reference Evidently tests, beyond them it measures.
const TESTED: f64 = 1000.0;
/// What Evidently's distances have to reach.
const FAR: f64 = 0.1;

/// By peer, whether the column has drifted; absent where it does not look at such columns. `edges` are those of the
/// reference's deciles.
pub(super) fn of(
    population: &Population,
    edges: &[f64],
    reference: &Draw,
    window: &Draw,
) -> [Option<bool>; PEERS.len()] {
    let (old, new) = (&reference.counts, &window.counts);
    let is_tested = total(old) <= TESTED;
    match &population.kind {
        Kind::Number(values) => {
            let points = |counts: &[u64]| -> Vec<(f64, u64)> {
                let seen = values.iter().copied().zip(counts.iter().copied());
                seen.filter(|(_, rows)| *rows > 0).collect()
            };
            let steps = Steps::new(points(old), points(new));
            let kolmogorov = steps.kolmogorov_smirnov().p_value() < 0.05;
            let moved = steps.wasserstein().map_or(0.0, |effect| effect.raw());
            let of_bins = |counts: &[u64]| {
                let mut sums = vec![0; edges.len() + 1];
                for (value, rows) in values.iter().zip(counts) {
                    sums[bins::bin(edges, *value)] += rows;
                }
                sums
            };
            let even = doane(values, old);
            [
                Some(if is_tested { kolmogorov } else { moved >= FAR }),
                Some(is_outside(reference, window, |counts| {
                    in_bins(&even, values, counts)
                })),
                Some(kolmogorov),
                Some(psi(&of_bins(old), &of_bins(new)) >= THRESHOLD),
                Some(kolmogorov),
                None,
            ]
        }
        Kind::Category(_) => {
            let chi_square = chi_square(old, new) < 0.05;
            // Evidently's is in nats.
            let far = jensen_shannon(old, new) * std::f64::consts::LN_2.sqrt() >= FAR;
            [
                Some(if is_tested { chi_square } else { far }),
                Some(is_outside(reference, window, <[u64]>::to_vec)),
                Some(truncated_chi_square(old, new) < 0.05),
                Some(psi(old, new) >= THRESHOLD),
                None,
                Some(chi_square),
            ]
        }
    }
}

fn total(counts: &[u64]) -> f64 {
    float(counts.iter().sum::<u64>())
}

/// As Evidently does it: where a cell is empty, a share of 0.0001 stands for 0.
fn psi(old: &[u64], new: &[u64]) -> f64 {
    let (m, n) = (total(old), total(new));
    let share = |rows: u64, all: f64| if rows == 0 { 0.0001 } else { float(rows) / all };
    let cells = old.iter().zip(new).filter(|(old, new)| **old + **new > 0);
    let of_cell = |(old, new): (&u64, &u64)| {
        let (q, p) = (share(*old, m), share(*new, n));
        (p - q) * (p / q).ln()
    };
    cells.map(of_cell).sum()
}

/// The root of the divergence in bits.
fn jensen_shannon(old: &[u64], new: &[u64]) -> f64 {
    Table::new(old, new).effect(Distance::JensenShannon).raw()
}

/// The p-value of the window against the reference's shares; a level that the reference has not makes it 0.
fn chi_square(old: &[u64], new: &[u64]) -> f64 {
    let (m, n) = (total(old), total(new));
    let cells = old.iter().zip(new).filter(|(old, new)| **old + **new > 0);
    let expected = |old: u64| float(old) / m * n;
    let of_cell =
        |(old, new): (&u64, &u64)| (float(*new) - expected(*old)).powi(2) / expected(*old);
    let degrees = float(cells.clone().count()) - 1.0;
    tail(cells.map(of_cell).sum(), degrees)
}

/// The same as whylogs has it: what is expected is rounded down, and a level of which less than a row is expected makes it 0.
fn truncated_chi_square(old: &[u64], new: &[u64]) -> f64 {
    let (m, n) = (total(old), total(new));
    let seen = old.iter().zip(new).filter(|(_, new)| **new > 0);
    let of_cell = |(old, new): (&u64, &u64)| {
        let expected = (float(*old) / m * n).floor();
        (float(*new) - expected).powi(2) / expected
    };
    let degrees = (float(seen.clone().count()) - 1.0).max(1.0);
    tail(seen.map(of_cell).sum(), degrees)
}

fn tail(statistic: f64, degrees: f64) -> f64 {
    if statistic.is_finite() && statistic > 0.0 {
        gamma_ur(degrees / 2.0, statistic / 2.0)
    } else {
        f64::from(u8::from(statistic <= 0.0))
    }
}

/// Whether any chunk of the window is further from the reference than its own chunks are.
fn is_outside(reference: &Draw, window: &Draw, cells: impl Fn(&[u64]) -> Vec<u64>) -> bool {
    let of = cells(&reference.counts);
    let far = |part: &Vec<u64>| jensen_shannon(&of, &cells(part));
    let own: Vec<f64> = reference.parts.iter().map(far).collect();
    let count = float(own.len());
    let mean = own.iter().sum::<f64>() / count;
    let variance = own.iter().map(|one| (one - mean).powi(2)).sum::<f64>() / count;
    let most = mean + 3.0 * variance.sqrt();
    window.parts.iter().any(|part| far(part) > most)
}

/// Where even bins begin, and where the last ends, by Doane's (1976) rule: more of them for numbers that are skewed.
fn doane(values: &[f64], counts: &[u64]) -> Vec<f64> {
    let n = total(counts);
    let seen = values.iter().zip(counts).filter(|(_, rows)| **rows > 0);
    let moment = |power: i32, centre: f64| {
        let of = seen
            .clone()
            .map(|(value, rows)| (value - centre).powi(power) * float(*rows));
        of.sum::<f64>() / n
    };
    let mean = moment(1, 0.0);
    let skewness = moment(3, mean) / moment(2, mean).powf(1.5);
    let error = (6.0 * (n - 2.0) / ((n + 1.0) * (n + 3.0))).sqrt();
    let bins = 1.0 + n.log2() + (1.0 + skewness.abs() / error).log2();
    let ends = || seen.clone().map(|(value, _)| *value);
    let (low, high) = (
        ends().fold(f64::INFINITY, f64::min),
        ends().fold(f64::NEG_INFINITY, f64::max),
    );
    let bins = bins.ceil();
    let (mut edges, mut at) = (vec![low], 0.0);
    while at < bins {
        at += 1.0;
        edges.push(low + (high - low) * at / bins);
    }
    edges
}

/// Counts in even bins, and at last of what lies outside of them.
fn in_bins(edges: &[f64], values: &[f64], counts: &[u64]) -> Vec<u64> {
    let bins = edges.len() - 1;
    let mut sums = vec![0; bins + 1];
    for (value, rows) in values.iter().zip(counts) {
        let bin = if *value > edges[bins] || *value < edges[0] {
            bins
        } else {
            // The last has what lies at its end.
            edges[1..bins].partition_point(|edge| edge <= value)
        };
        sums[bin] += rows;
    }
    sums
}
