//! Distances that are sums of the sizes of gaps: total variation, Wasserstein-1, a shift of means.

use super::table::Table;
use super::{Effect, Scale};
use crate::normal;

/// A difference of two shares, or of two means, that is known to an error.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gap {
    pub(super) size: f64,
    pub(super) error: f64,
    /// By which its size is multiplied in the sum.
    pub(super) weight: f64,
}

/// The sum of the sizes of gaps, and what of it is chance's.
///
/// What is seen of a gap γ that is known with an error of 1 is |γ + Z| (a folded normal variable: Leone, Nelson &
/// Nottingham 1961), on average larger than γ by 0.8 where there is no gap, and by nothing where it is large. How large gaps
/// are behind what is seen of them is taken from all of them: they are those seen, times one factor, so that the mean of
/// their squares is what is seen of it less what chance adds (as James & Stein 1961 shrink means). That is 1, and as many
/// more as `doubt`, which is about two standard errors of that mean: so that chance is not taken for drift.
pub(super) fn sum(gaps: &[Gap], doubt: f64) -> (f64, f64) {
    let (mut raw, mut squares, mut weights) = (0.0, 0.0, 0.0);
    for gap in gaps.iter().filter(|gap| gap.error > 0.0) {
        raw += gap.weight * gap.size.abs();
        let weight = gap.weight * gap.error;
        squares += weight * (gap.size / gap.error).powi(2);
        weights += weight;
    }
    let factor = if squares > 0.0 {
        (1.0 - (1.0 + doubt) * weights / squares).max(0.0).sqrt()
    } else {
        0.0
    };
    let of_chance = |gap: &Gap| {
        let excess = folded_excess(factor * gap.size.abs() / gap.error);
        gap.weight * gap.error * excess
    };
    let known = gaps.iter().filter(|gap| gap.error > 0.0);
    (raw, known.map(of_chance).sum())
}

/// E|γ + Z| - γ, for γ of at least 0.
fn folded_excess(gap: f64) -> f64 {
    let density = (-gap * gap / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    2.0 * (density - gap * normal::cdf(-gap))
}

/// ½ Σ |p - q|.
///
/// The variance is the delta method's: of the sign of p - q over the window's rows and over the reference's. Where there is
/// no drift it is larger than it need be, some threefold.
pub(super) fn total_variation(table: &Table) -> Effect {
    if table.is_void() {
        return Effect::none(Scale::Plain);
    }
    let ((m, n), each) = (table.rows, table.each());
    let (mut signs, mut gaps) = ((0.0, 0.0), Vec::with_capacity(table.cells.len()));
    for (old, new) in &table.cells {
        let (q, p) = (old / m, new / n);
        let pooled = (old + new) / (m + n);
        let size = p - q;
        let sign = if size == 0.0 { 0.0 } else { size.signum() };
        signs = (signs.0 + q * sign, signs.1 + p * sign);
        gaps.push(Gap {
            size,
            error: (pooled * (1.0 - pooled) * each).sqrt(),
            weight: 0.5,
        });
    }
    // A mean of about as many squares of normal variables as there are degrees.
    let doubt = 2.0 * (2.0 / table.degrees()).sqrt();
    let (measured, excess) = sum(&gaps, doubt);
    let variance = 0.25 * ((1.0 - signs.1 * signs.1) / n + (1.0 - signs.0 * signs.0) / m);
    // Never quite 0: samples without a cell in common may still have one.
    let standard_error = variance.max(0.25 / (n * n) + 0.25 / (m * m)).sqrt();
    let p_value = table.chi_square().p_value;
    Effect::plain([measured, excess], standard_error, p_value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_excess_of_a_folded_normal_is_the_known_one() {
        // scipy 1.17: foldnorm.mean(c) - c.
        for (gap, expected) in [
            (0.0, 0.797_884_560_802_865_4),
            (0.5, 0.395_593_114_802_611_94),
            (2.0, 0.016_981_405_233_659_43),
        ] {
            assert!((folded_excess(gap) - expected).abs() < 1e-12, "{gap}");
        }
    }

    #[test]
    fn of_gaps_by_chance_all_of_the_mean_is_taken_off_and_of_large_ones_nothing() {
        let of = |size| Gap {
            size,
            error: 0.1,
            weight: 2.0,
        };
        let (raw, excess) = sum(&[of(0.1), of(-0.1)], 0.0);
        assert!(
            (raw - 0.4).abs() < 1e-12 && (excess - 0.4 * 0.797_884_560_802_865_4).abs() < 1e-12
        );
        let (raw, excess) = sum(&[of(1.0), of(-1.0)], 0.0);
        assert!((raw - 4.0).abs() < 1e-12 && excess < 1e-12, "{excess}");
        assert_eq!(sum(&[], 0.0), (0.0, 0.0));
    }
}
