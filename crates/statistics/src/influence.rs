//! How much each row moves a metric: what variances and paired comparisons are made of.

use serde::{Deserialize, Serialize};

use crate::mean::Mean;
use crate::sum::Sum;
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
/// Source: Hampel (1974), "The influence curve and its role in robust estimation".
#[derive(Clone, Debug, PartialEq)]
pub struct Influence {
    /// The metric on the rows.
    pub value: f64,
    /// One for each row (for NDCG: each query), in their order; their sum is 0.
    pub of_rows: Vec<f64>,
}

/// The spread of what rows add to a metric, or to the difference of two.
///
/// Source: Efron's (1982) infinitesimal jackknife: var θ = n/(n-1) Σ φⱼ², for rows that are independent of each other.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spread {
    all: Mean,
    /// The sum of their third powers.
    cubes: Sum,
    /// The same of rows of class 0, and of class 1.
    classes: [Mean; 2],
}

impl Spread {
    /// Takes what a row (or a query) adds, and its class where there are two.
    pub fn add(&mut self, influence: f64, class: Option<usize>) {
        self.all.add(influence);
        self.cubes.add(influence.powi(3));
        if let Some(of) = class.and_then(|class| self.classes.get_mut(class)) {
            of.add(influence);
        }
    }

    /// The standard error; absent with fewer than two rows.
    pub fn standard_error(&self) -> Option<f64> {
        // Σ φ² n/(n-1), for n times what each adds to the mean.
        Some((self.all.variance()? * float(self.all.count)).sqrt())
    }

    /// The interval of a mean about the value, of terms of one sign: their skewness is taken out of it, so that each end is
    /// as often wrong as the other. Absent with fewer than two rows.
    ///
    /// Source: Hall (1992), "On the removal of skewness by transformation", the third of its transformations, which is
    /// monotone; deviation and skewness are those with n - 1.
    pub fn of_skewed_mean(&self, confidence: f64) -> Option<Interval> {
        let error = self.standard_error()?;
        let rows = float(self.all.count);
        let deviation = error / rows.sqrt();
        // What rows add has the mean 0.
        let skewness = self.cubes.value() / rows / deviation.powi(3);
        let by = skewness / rows.sqrt();
        let end = |z: f64| {
            if by.abs() > 1e-9 {
                ((1.0 + by * (z - by / 6.0)).cbrt() - 1.0) * 3.0 / by
            } else {
                z
            }
        };
        let z = normal::two_sided(confidence);
        Some(Interval {
            lower: -error * end(z),
            upper: -error * end(-z),
        })
    }

    /// DeLong's standard error of an area, or of a difference of areas on the same rows (of two classes, unweighted);
    /// absent with fewer than two rows of either class.
    pub fn delong(&self) -> Option<f64> {
        // The components of DeLong et al. are n times what a row adds.
        let of = |spread: &Mean| Some(spread.variance()? * float(spread.count));
        let [zero, one] = &self.classes;
        Some((of(zero)? + of(one)?).sqrt())
    }
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

impl Scale {
    /// The interval `value ± z · standard error`, on the scale.
    pub fn interval(self, value: f64, standard_error: f64, confidence: f64) -> Interval {
        let half = normal::two_sided(confidence) * standard_error;
        let point = Interval {
            lower: value,
            upper: value,
        };
        match self {
            Self::Identity => Interval {
                lower: value - half,
                upper: value + half,
            },
            Self::Logit if value <= 0.0 || value >= 1.0 => point,
            Self::Logit => {
                let (centre, half) = ((value / (1.0 - value)).ln(), half / (value * (1.0 - value)));
                let back = |x: f64| 1.0 / (1.0 + (-x).exp());
                Interval {
                    lower: back(centre - half),
                    upper: back(centre + half),
                }
            }
            Self::LogOfRest if value >= 1.0 => point,
            Self::LogOfRest => {
                let rest = 1.0 - value;
                let factor = (half / rest).exp();
                Interval {
                    lower: 1.0 - rest * factor,
                    upper: 1.0 - rest / factor,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_mean_it_is_the_standard_error_of_a_mean() {
        let values = [1.0, 4.0, 2.0, 8.0, 5.0];
        let mean: Mean = values.into_iter().collect();
        let mut spread = Spread::default();
        for value in values {
            spread.add((value - 4.0) / 5.0, None);
        }
        let (found, expected) = (spread.standard_error(), mean.standard_error());
        assert!((found.expect("one") - expected.expect("one")).abs() < 1e-15);
    }

    #[test]
    fn an_interval_stays_where_its_scale_does() {
        let of = |scale: Scale| scale.interval(0.95, 0.06, 0.95);
        let logit = of(Scale::Logit);
        assert!(0.0 < logit.lower && logit.lower < 0.95 && 0.95 < logit.upper && logit.upper < 1.0);
        let rest = of(Scale::LogOfRest);
        assert!(rest.lower < 0.95 && 0.95 < rest.upper && rest.upper < 1.0);
        assert!(of(Scale::Identity).upper > 1.0);
    }
}
