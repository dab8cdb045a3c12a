//! What others say of a column by default.

use statrs::function::gamma::gamma_ur;
use windlass_statistics::drift::steps::Steps;
use windlass_statistics::drift::table::{Distance, Table};

use super::draws::Draw;
use super::{Kind, Reference, THRESHOLD, float};

/// What others say of the same draws by default: by column, whether it has drifted.
pub const PEERS: [&str; 5] = [
    "PSI >= 0.2",
    "one-sample chi-square at 5% (categories)",
    "KS at 5% (numbers)",
    "Jensen-Shannon >= 0.1 (categories)",
    "Wasserstein >= 0.1 sd (numbers)",
];

/// By peer, whether the column has drifted; absent where it does not look at such columns.
pub(super) fn of(reference: &Reference, window: &Draw) -> [Option<bool>; 5] {
    let total = |counts: &[u64]| float(counts.iter().sum::<u64>());
    // As Evidently does it: where a cell is empty, a share of 0.0001 stands for 0.
    let psi = |old: &[u64], new: &[u64]| -> f64 {
        let (m, n) = (total(old), total(new));
        let share = |rows: u64, all: f64| if rows == 0 { 0.0001 } else { float(rows) / all };
        let cells = old.iter().zip(new).filter(|(old, new)| **old + **new > 0);
        let of_cell = |(old, new): (&u64, &u64)| {
            let (q, p) = (share(*old, m), share(*new, n));
            (p - q) * (p / q).ln()
        };
        cells.map(of_cell).sum()
    };
    let (old, new) = (&reference.draw.counts, &window.counts);
    match &reference.kind {
        Kind::Number { counts, bins, .. } => {
            let mut of_window = vec![0; counts.len()];
            for (at, rows) in new.iter().enumerate() {
                of_window[bins[at]] += rows;
            }
            let points = |counts: &[u64]| -> Vec<(f64, u64)> {
                let seen = counts.iter().enumerate().filter(|(_, rows)| **rows > 0);
                seen.map(|(at, rows)| (float(at), *rows)).collect()
            };
            let steps = Steps::new(points(old), points(new));
            let moved = steps.wasserstein().map_or(0.0, |effect| effect.raw());
            [
                Some(psi(counts, &of_window) >= THRESHOLD),
                None,
                Some(steps.kolmogorov_smirnov().p_value() < 0.05),
                None,
                Some(moved >= 0.1),
            ]
        }
        Kind::Category(_) => {
            let (m, n) = (total(old), total(new));
            let (mut statistic, mut cells) = (0.0, 0.0);
            for (old, new) in old.iter().zip(new).filter(|(old, new)| **old + **new > 0) {
                let expected = float(*old) / m * n;
                statistic += (float(*new) - expected).powi(2) / expected;
                cells += 1.0;
            }
            let p_value = if statistic.is_finite() && statistic > 0.0 {
                gamma_ur((cells - 1.0) / 2.0, statistic / 2.0)
            } else {
                f64::from(u8::from(statistic <= 0.0))
            };
            // In nats, as scipy has it.
            let distance = Table::new(old, new).effect(Distance::JensenShannon).raw();
            [
                Some(psi(old, new) >= THRESHOLD),
                Some(p_value < 0.05),
                None,
                Some(distance * std::f64::consts::LN_2.sqrt() >= 0.1),
                None,
            ]
        }
    }
}
