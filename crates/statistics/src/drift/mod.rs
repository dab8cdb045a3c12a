//! How far a window's rows are from those of a reference, whether that is more than chance, and what follows of it.
//!
//! ```text
//!   counts by cell ──(levels: rare ones pooled)──> table ──> divergence, gaps ──┐
//!   ordered numbers ─────────────────────────────> steps ──> gaps ──────────────┼──> Effect ──> decide (columns)
//!   means ───────────────────────────────────────> shift ───────────────────────┤
//!   vectors ─────────────────────────────────────> embedding ───────────────────┤
//!   vectors, texts ──(bounded: so many rows)─────> classifier (text) ───────────┘    ^              └──> verdict (windows)
//!   units: what rows are worth ──^                 spread: the reference's own windows ┘
//!   counts, steps, rates ──> quality, conversion (broken data)          scores ──> expected (performance without labels)
//!   all ──> words                                  season: which rows of the reference a window is compared with
//! ```
//!
//! All is computed of counts and sums that can be added up over parts of the data, in memory that does not grow with the
//! rows. A distance between two samples is larger than that between what they were drawn from: by chance alone it is never
//! 0. So each comes as an [`Effect`]: with the mean that it has without drift at these sizes, with its standard error, and
//! with the p-value of a test of *both* samples (a reference is a sample too).
//!
//! Absent on purpose: rows, files, a clock, and what is done about drift.

pub mod bounded;
pub mod classifier;
pub mod column;
pub mod decide;
mod divergence;
pub mod embedding;
pub mod expected;
mod gaps;
pub mod levels;
pub mod method;
pub mod quality;
pub mod season;
pub mod shift;
pub mod spread;
pub mod steps;
pub mod table;
#[cfg(test)]
mod tests_of_laws;
pub mod text;
pub mod units;
pub mod verdict;
pub mod words;

use serde::{Deserialize, Serialize};

use crate::normal;

/// A distance of a window from a reference, and how well it is known.
///
/// What is known is normal on the scale on which chance adds to a distance: that of its square where it is a root, else its
/// own. There the mean without drift is taken off.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Effect {
    scale: Scale,
    /// On the scale, as it was measured.
    measured: f64,
    /// What of it is chance's: all of its mean where there is no drift.
    excess: f64,
    standard_error: f64,
    /// What the standard error would be if there were no drift.
    error_without_drift: f64,
    p_value: f64,
}

/// On which scale chance adds to a distance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Scale {
    /// On its own.
    Plain,
    /// On that of its square: the distance is a root.
    Square,
}

impl Scale {
    fn of(self, distance: f64) -> f64 {
        match self {
            Self::Plain => distance,
            Self::Square => distance * distance.abs(),
        }
    }

    fn back(self, value: f64) -> f64 {
        match self {
            Self::Plain => value,
            Self::Square => value.max(0.0).sqrt(),
        }
    }
}

impl Effect {
    /// No distance at all, known for certain: of samples that cannot differ, or where one of them is empty.
    pub(crate) const fn none(scale: Scale) -> Self {
        Self {
            scale,
            measured: 0.0,
            excess: 0.0,
            standard_error: 0.0,
            error_without_drift: 0.0,
            p_value: 1.0,
        }
    }

    /// One on its own scale, whose standard error is the same without drift.
    pub(crate) const fn plain(
        [measured, excess]: [f64; 2],
        standard_error: f64,
        p_value: f64,
    ) -> Self {
        Self {
            scale: Scale::Plain,
            measured,
            excess,
            standard_error,
            error_without_drift: standard_error,
            p_value,
        }
    }

    /// The distance as it was measured, at least 0, in its own units.
    pub fn raw(&self) -> f64 {
        self.scale.back(self.measured)
    }

    /// The distance less what chance adds to it at these sizes. Where there is no drift it lies about 0; a distance that is
    /// a root is 0 instead of below it.
    pub fn value(&self) -> f64 {
        self.scale.back(self.corrected())
    }

    /// What was taken off for chance, in the distance's units; for a distance that is a root, in those of its square.
    pub fn excess(&self) -> f64 {
        self.excess
    }

    /// The standard error, in the distance's units; for a distance that is a root, in those of its square.
    pub fn standard_error(&self) -> f64 {
        self.standard_error
    }

    /// The p-value of the hypothesis that both samples are of one distribution: of a test of two samples.
    pub fn p_value(&self) -> f64 {
        self.p_value
    }

    /// One-sided lower confidence bound of the distance, in its own units: the distance at which what was measured would be
    /// passed with a probability of 1 - `confidence`.
    ///
    /// The variance is that at the bound and not at what was measured, as in Wilson's (1927) interval: it grows evenly from
    /// that without drift to that which was estimated, as a noncentral χ²'s does.
    pub fn lower(&self, confidence: f64) -> f64 {
        let z = normal::one_sided(confidence);
        let (at_none, growth) = self.variance();
        let half = z * z * growth / 2.0;
        let value = self.corrected();
        let root = (at_none + growth * value + half * half / (z * z))
            .max(0.0)
            .sqrt();
        self.scale.back(value + half - z * root)
    }

    /// The p-value of the hypothesis that the distance is `threshold` (at least 0) at most. Small: it is larger.
    pub fn p_within(&self, threshold: f64) -> f64 {
        let threshold = self.scale.of(threshold);
        let above = self.corrected() - threshold;
        let (at_none, growth) = self.variance();
        let variance = at_none + growth * threshold;
        if variance > 0.0 {
            normal::cdf(-above / variance.sqrt())
        } else if above > 0.0 {
            0.0
        } else {
            1.0
        }
    }

    /// The variance where there is no drift, and by how much it grows with a distance.
    fn variance(&self) -> (f64, f64) {
        let value = self.corrected();
        let variance = self.standard_error * self.standard_error;
        let at_none = self.error_without_drift * self.error_without_drift;
        if value > 0.0 && variance > at_none {
            (at_none, (variance - at_none) / value)
        } else {
            (variance, 0.0)
        }
    }

    fn corrected(&self) -> f64 {
        self.measured - self.excess
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp)] // exact by construction
mod tests {
    use super::*;

    const ROOT: Effect = Effect {
        scale: Scale::Square,
        measured: 0.05,
        excess: 0.01,
        standard_error: 0.01,
        error_without_drift: 0.01,
        p_value: 0.5,
    };

    #[test]
    fn a_root_is_corrected_and_bounded_on_the_scale_of_its_square() {
        assert!((ROOT.raw() - 0.05_f64.sqrt()).abs() < 1e-15);
        assert!((ROOT.value() - 0.2).abs() < 1e-15);
        let lower = ROOT.lower(0.95);
        assert!((lower * lower - (0.04 - 0.016_448_536_269_514_72)).abs() < 1e-15);
        // The bound at a confidence is where the p-value is what is left of it.
        assert!((ROOT.p_within(lower) - 0.05).abs() < 1e-12);
        assert!((ROOT.p_within(0.2) - 0.5).abs() < 1e-12);
        let by_chance = Effect {
            excess: 0.06,
            ..ROOT
        };
        assert_eq!((by_chance.value(), by_chance.lower(0.95)), (0.0, 0.0));
    }

    #[test]
    fn a_bound_has_the_variance_of_where_it_lies() {
        let growing = Effect {
            scale: Scale::Plain,
            measured: 0.3,
            excess: 0.0,
            standard_error: 0.05,
            error_without_drift: 0.01,
            p_value: 0.0,
        };
        let lower = growing.lower(0.95);
        let variance = 0.0001 + (0.0025 - 0.0001) / 0.3 * lower;
        let expected = 0.3 - 1.644_853_626_951_472_2 * variance.sqrt();
        assert!((lower - expected).abs() < 1e-12, "{lower} {expected}");
        assert!((growing.p_within(lower) - 0.05).abs() < 1e-12);
        // Without drift it is that of no drift.
        assert!((growing.p_within(0.0) - normal::cdf(-30.0)).abs() < 1e-12);
        let none = Effect {
            measured: -0.001,
            ..growing
        };
        assert!(none.lower(0.95) < none.value());
    }

    #[test]
    fn what_is_known_for_certain_is_above_a_threshold_or_not() {
        let certain = Effect {
            standard_error: 0.0,
            error_without_drift: 0.0,
            ..ROOT
        };
        assert_eq!(certain.p_within(0.1), 0.0);
        assert_eq!(certain.p_within(0.3), 1.0);
        assert_eq!(Effect::none(Scale::Plain).p_within(0.1), 1.0);
        assert_eq!(Effect::none(Scale::Plain).p_value(), 1.0);
    }
}
