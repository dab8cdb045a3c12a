//! Distances that are sums over cells of a smooth function of both shares.

use super::table::Table;
use super::{Effect, Scale};
use crate::float;

/// Added to the count of each cell, in the reference and in the window, so that an empty cell has a logarithm.
const SMOOTHING: f64 = 0.5;

/// A function of the shares q (reference) and p (window) of a cell, which is 0 where they are the same.
#[derive(Clone, Copy)]
pub(super) enum Kernel {
    /// (p - q) ln(p / q).
    Psi,
    /// ½ p log₂(p / m) + ½ q log₂(q / m), m = (p + q) / 2.
    JensenShannon,
    /// ½ (√p - √q)².
    Hellinger,
    /// w (1 - w) (p - q)² / (w p + (1 - w) q): X²/N where the window is a share w of all rows.
    ChiSquare(f64),
}

impl Kernel {
    fn value(self, q: f64, p: f64) -> f64 {
        // 0 log 0 is 0.
        let entropy = |x: f64, middle: f64| {
            if x > 0.0 {
                x * (x / middle).log2()
            } else {
                0.0
            }
        };
        match self {
            Self::Psi => (p - q) * (p / q).ln(),
            Self::JensenShannon => {
                let middle = f64::midpoint(p, q);
                f64::midpoint(entropy(p, middle), entropy(q, middle))
            }
            Self::Hellinger => 0.5 * (p.sqrt() - q.sqrt()).powi(2),
            Self::ChiSquare(w) => w * (1.0 - w) * (p - q).powi(2) / (w * p + (1.0 - w) * q),
        }
    }

    /// The derivatives by p and by q.
    fn slopes(self, q: f64, p: f64) -> (f64, f64) {
        match self {
            Self::Psi => {
                let log = (p / q).ln();
                (log + 1.0 - q / p, 1.0 - log - p / q)
            }
            Self::JensenShannon => {
                let middle = f64::midpoint(p, q);
                (0.5 * (p / middle).log2(), 0.5 * (q / middle).log2())
            }
            Self::Hellinger => (0.5 * (1.0 - (q / p).sqrt()), 0.5 * (1.0 - (p / q).sqrt())),
            Self::ChiSquare(w) => {
                let ratio = (p - q) / (w * p + (1.0 - w) * q);
                let scale = w * (1.0 - w);
                (
                    scale * (2.0 * ratio - w * ratio * ratio),
                    scale * (-2.0 * ratio - (1.0 - w) * ratio * ratio),
                )
            }
        }
    }

    /// c where the function is about c (p - q)² / p for shares that are nearly the same.
    fn curvature(self) -> f64 {
        match self {
            Self::Psi => 1.0,
            Self::JensenShannon => 0.125 / std::f64::consts::LN_2,
            Self::Hellinger => 0.125,
            Self::ChiSquare(w) => w * (1.0 - w),
        }
    }
}

/// What is known of a divergence.
struct Known {
    /// As measured.
    raw: f64,
    /// Its mean without drift.
    excess: f64,
    /// Its standard error.
    standard_error: f64,
    /// That without drift.
    error_without_drift: f64,
}

/// The divergence of a table; absent where there is nothing to compare.
///
/// Source: all functions of this kind have the same law without drift, c (1/n + 1/m) χ² on B - 1 degrees (Salicrú, Morales,
/// Menéndez & Pardo 1994, "On the applications of divergence type measures in testing statistical hypotheses"), whose mean
/// is the excess; for PSI it is that of Yurdakul (2018), "Statistical properties of the Population Stability Index". Away
/// from that the law is about that of a noncentral χ², whose variance is 2k + 4λ in units of c² (1/n + 1/m)², with
/// k = B - 1. The delta method's variance, that of the derivative by p over the window's rows over n, and of that by q over
/// the reference's over m, is that of 4λ but at the observed shares, where it is on average 4(λ + k). So 2k is taken off it;
/// 2k is also the least that the variance can be.
#[allow(clippy::many_single_char_names)] // the names of the equations
fn known(table: &Table, kernel: Kernel) -> Known {
    let (m, n) = table.rows;
    let count = float(table.cells.len());
    let share = |rows: f64, total: f64| (rows + SMOOTHING) / (total + SMOOTHING * count);
    let (mut raw, mut new_part, mut old_part) = (0.0, (0.0, 0.0), (0.0, 0.0));
    for (old, new) in &table.cells {
        let (q, p) = (share(*old, m), share(*new, n));
        raw += match kernel {
            Kernel::Psi => kernel.value(q, p),
            // These have a value where a cell is empty.
            Kernel::JensenShannon | Kernel::Hellinger | Kernel::ChiSquare(_) => {
                kernel.value(old / m, new / n)
            }
        };
        let (a, b) = kernel.slopes(q, p);
        new_part = (new_part.0 + p * a, new_part.1 + p * a * a);
        old_part = (old_part.0 + q * b, old_part.1 + q * b * b);
    }
    let variance_of =
        |(mean, square): (f64, f64), rows: f64| (square - mean * mean).max(0.0) / rows;
    let each = kernel.curvature() * table.each();
    let degrees = table.degrees();
    let without_drift = 2.0 * degrees * each * each * (1.0 + table.unevenness);
    let observed = variance_of(new_part, n) + variance_of(old_part, m);
    Known {
        raw,
        excess: degrees * each,
        standard_error: (observed - without_drift).max(without_drift).sqrt(),
        error_without_drift: without_drift.sqrt(),
    }
}

/// A distance that is a divergence, or the root of one; of cells without overlap the roots are 1, PSI is as large as the
/// sizes let it be.
pub(super) fn effect(table: &Table, kernel: Kernel, scale: Scale) -> Effect {
    if table.is_void() {
        return Effect::none(scale);
    }
    let known = known(table, kernel);
    let excess = known.excess;
    in_units_of(table, scale, &known, excess, 1.0)
}

/// Cramér's V, its square corrected as Bergsma has it: of the statistic its mean is taken off, and the table's sides are as
/// much smaller.
pub(super) fn cramers_v(table: &Table) -> Effect {
    let (m, n) = table.rows;
    let (others, degrees) = (n + m - 1.0, table.degrees());
    let sides = (1.0 - 1.0 / others).min(degrees - degrees * degrees / others);
    if table.is_void() || sides <= 0.0 {
        return Effect::none(Scale::Square);
    }
    let known = known(table, Kernel::ChiSquare(n / (n + m)));
    in_units_of(table, Scale::Square, &known, degrees / others, sides)
}

fn in_units_of(table: &Table, scale: Scale, known: &Known, excess: f64, full: f64) -> Effect {
    Effect {
        scale,
        measured: known.raw / full,
        excess: excess / full,
        standard_error: known.standard_error / full,
        error_without_drift: known.error_without_drift / full,
        p_value: table.chi_square().p_value,
    }
}
