//! How much each row moves a metric: what variances and paired comparisons are made of.

use serde::{Deserialize, Serialize};

use crate::mean::Mean;
use crate::sample::Sample;
use crate::sum::sum;
use crate::{Interval, float, normal};

/// A value and how well it is known.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The value on the rows.
    pub value: f64,
    /// Its confidence interval; absent when there are too few rows for one.
    pub interval: Option<Interval>,
}

/// A metric θ on rows, and of each row j what it adds to θ's spread: φⱼ = wⱼ ∂θ/∂wⱼ.
///
/// Source: Hampel (1974), "The influence curve and its role in robust estimation"; the spread is Efron's (1982)
/// infinitesimal jackknife: var θ = n/(n-1) Σ φⱼ², for rows that are independent of each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Influence {
    /// The metric on the rows.
    pub value: f64,
    /// One for each row, in their order; their sum is 0.
    pub of_rows: Vec<f64>,
}

/// The scale on which an estimate is about normal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Its own.
    Identity,
    /// ln(θ/(1-θ)), of what lies in (0, 1).
    Logit,
    /// ln(1-θ), of what is at most 1.
    LogOfRest,
}

impl Influence {
    /// Of a mean of values by row, weighted as the rows are.
    pub fn of_mean(sample: &Sample<'_>, value_of: impl Fn(usize) -> f64) -> Self {
        let total = sample.total_weight();
        let value = sum((0..sample.rows()).map(|row| sample.weight(row) * value_of(row))) / total;
        Self::new(sample, value, |row| (value_of(row) - value) / total)
    }

    /// Of a metric by its derivatives: `derivative(row)` is ∂θ/∂w of the row.
    pub fn new(sample: &Sample<'_>, value: f64, derivative: impl Fn(usize) -> f64) -> Self {
        let of_rows = (0..sample.rows()).map(|row| sample.weight(row) * derivative(row));
        Self {
            value,
            of_rows: of_rows.collect(),
        }
    }

    /// The mean of several metrics on the same rows.
    pub fn mean_of(all: &[Self]) -> Self {
        let count = float(all.len());
        let rows = all.first().map_or(0, |one| one.of_rows.len());
        let of_row = |row: usize| sum(all.iter().map(|one| one.of_rows[row])) / count;
        Self {
            value: sum(all.iter().map(|one| one.value)) / count,
            of_rows: (0..rows).map(of_row).collect(),
        }
    }

    /// The standard error; absent with fewer than two rows.
    pub fn standard_error(&self) -> Option<f64> {
        let spread: Mean = self.of_rows.iter().copied().collect();
        // Σ φ² n/(n-1), for n times what each adds to the mean.
        Some((spread.variance()? * float(spread.count)).sqrt())
    }

    /// The interval `value ± z · standard error`, on a scale; absent with fewer than two rows.
    pub fn interval(&self, scale: Scale, confidence: f64) -> Option<Interval> {
        let half = normal::two_sided(confidence) * self.standard_error()?;
        let value = self.value;
        Some(match scale {
            Scale::Identity => Interval {
                lower: value - half,
                upper: value + half,
            },
            Scale::Logit if value <= 0.0 || value >= 1.0 => Interval {
                lower: value,
                upper: value,
            },
            Scale::Logit => {
                let (centre, half) = ((value / (1.0 - value)).ln(), half / (value * (1.0 - value)));
                let back = |x: f64| 1.0 / (1.0 + (-x).exp());
                Interval {
                    lower: back(centre - half),
                    upper: back(centre + half),
                }
            }
            Scale::LogOfRest if value >= 1.0 => Interval {
                lower: value,
                upper: value,
            },
            Scale::LogOfRest => {
                let rest = 1.0 - value;
                let factor = (half / rest).exp();
                Interval {
                    lower: 1.0 - rest * factor,
                    upper: 1.0 - rest / factor,
                }
            }
        })
    }

    /// The estimate with an interval on a scale.
    pub fn estimate(&self, scale: Scale, confidence: f64) -> Estimate {
        Estimate {
            value: self.value,
            interval: self.interval(scale, confidence),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_mean_it_is_the_standard_error_of_a_mean() {
        let values = [1.0, 4.0, 2.0, 8.0, 5.0];
        let sample = Sample::new(&values, &values);
        let influence = Influence::of_mean(&sample, |row| values[row]);
        let mean: Mean = values.into_iter().collect();
        assert!((influence.value - 4.0).abs() < 1e-15);
        let (found, expected) = (influence.standard_error(), mean.standard_error());
        assert!((found.expect("one") - expected.expect("one")).abs() < 1e-15);
    }

    #[test]
    fn an_interval_stays_where_its_scale_does() {
        let influence = Influence {
            value: 0.95,
            of_rows: vec![0.03, -0.03, 0.02, -0.02],
        };
        let logit = influence.interval(Scale::Logit, 0.95).expect("one");
        assert!(0.0 < logit.lower && logit.lower < 0.95 && 0.95 < logit.upper && logit.upper < 1.0);
        let rest = influence.interval(Scale::LogOfRest, 0.95).expect("one");
        assert!(rest.lower < 0.95 && 0.95 < rest.upper && rest.upper < 1.0);
        let plain = influence.interval(Scale::Identity, 0.95).expect("one");
        assert!(plain.upper > 1.0);
    }
}
