//! How far a mean has moved, in standard deviations: beside PSI, which is slow to see it (a shift of 0.2 has one of 0.04).

use statrs::function::beta::beta_reg;

use super::Effect;
use super::gaps::{self, Gap};
use crate::float;
use crate::mean::Mean;

/// The size of (window's mean - reference's mean) / reference's standard deviation; absent with fewer than two rows in
/// either, or where the reference has no spread.
///
/// Source: Glass (1976), "Primary, secondary, and meta-analysis of research" (Δ: the reference's spread alone, since the
/// window's may have moved too); variance as in Hedges & Olkin (1985), s²/(n σ²) + 1/m + Δ²/(2(m - 1)). The p-value is
/// Welch's (1947), of means of unequal variances. `design_effects`: by how much the mean's variance is larger than of
/// independent rows, of the reference and of the window; 1 where they are independent. Assumes enough rows for means to be
/// normal.
pub fn mean_shift(reference: &Mean, window: &Mean, design_effects: [f64; 2]) -> Option<Effect> {
    let (old_variance, new_variance) = (reference.variance()?, window.variance()?);
    if old_variance <= 0.0 {
        return None;
    }
    let m = float(reference.count) / design_effects[0];
    let n = float(window.count) / design_effects[1];
    let size = (window.value()? - reference.value()?) / old_variance.sqrt();
    // In units of the reference's variance.
    let (old_part, new_part) = (1.0 / m, new_variance / old_variance / n);
    let of_means = old_part + new_part;
    let gap = Gap {
        size,
        error: of_means.sqrt(),
        weight: 1.0,
    };
    // Two standard errors of the square of one normal variable.
    let (measured, excess) = gaps::sum(&[gap], 8.0_f64.sqrt());
    let of_spread = size * size / (2.0 * (m - 1.0).max(1.0));
    let part = |part: f64, rows: f64| part * part / (rows - 1.0).max(1.0);
    let degrees = of_means * of_means / (part(old_part, m) + part(new_part, n));
    let t = size * size / of_means;
    // Of numbers near the end of what there are, neither is one.
    if !(degrees.is_finite() && degrees > 0.0 && t.is_finite() && measured.is_finite()) {
        return None;
    }
    let standard_error = (of_means + of_spread).sqrt();
    let p_value = beta_reg(degrees / 2.0, 0.5, degrees / (degrees + t));
    Some(Effect::plain([measured, excess], standard_error, p_value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64]) -> Mean {
        values.iter().copied().collect()
    }

    /// scipy 1.17: `ttest_ind(window, reference, equal_var=False)`.
    #[test]
    fn a_shift_is_in_deviations_of_the_reference_with_the_p_value_of_welch() {
        let reference = of(&[1.0, 2.0, 3.0, 4.0, 5.0]);
        let window = of(&[4.0, 5.0, 6.5, 9.0]);
        let shift = mean_shift(&reference, &window, [1.0; 2]).expect("spread");
        assert!((shift.raw() - 3.125 / 2.5_f64.sqrt()).abs() < 1e-12);
        assert!(
            (shift.p_value() - 0.057_589_058_014_758_3).abs() < 1e-9,
            "{}",
            shift.p_value()
        );
        // As few as these could be further apart by chance than they are.
        assert!(shift.value() <= shift.raw() && shift.lower(0.95) < shift.value());
    }

    #[test]
    fn rows_that_repeat_each_other_tell_less() {
        let reference: Mean = (0..1000).map(|row| f64::from(row % 10)).collect();
        let window: Mean = (0..1000).map(|row| f64::from(row % 10) + 0.5).collect();
        let alone = mean_shift(&reference, &window, [1.0; 2]).expect("spread");
        let repeated = mean_shift(&reference, &window, [20.0; 2]).expect("spread");
        assert!(alone.p_value() < 1e-3 && repeated.p_value() > 0.1);
        assert!(repeated.standard_error() > 4.0 * alone.standard_error());
        let constant = of(&[3.0; 5]);
        assert_eq!(mean_shift(&constant, &window, [1.0; 2]), None);
        assert_eq!(mean_shift(&reference, &of(&[1.0]), [1.0; 2]), None);
    }
}
