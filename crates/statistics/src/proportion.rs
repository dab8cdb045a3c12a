//! Proportions: a count of successes among a count of trials that are independent of each other.

use serde::{Deserialize, Serialize};

use crate::{Interval, float, normal};

/// A count of successes among trials, `successes <= trials`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proportion {
    /// How many succeeded (or failed, or whatever is counted).
    pub successes: u64,
    /// Of how many.
    pub trials: u64,
}

impl Proportion {
    /// Takes the trials that another has counted.
    pub fn merge(&mut self, other: Self) {
        self.successes += other.successes;
        self.trials += other.trials;
    }

    /// The share, in [0, 1]; absent without trials.
    pub fn value(self) -> Option<f64> {
        (self.trials > 0).then(|| float(self.successes) / float(self.trials))
    }

    /// Wilson's score interval; [0, 1] without trials.
    ///
    /// Source: Wilson (1927), "Probable inference, the law of succession, and statistical inference"; without
    /// continuity correction. Assumes independent trials of one probability.
    pub fn wilson(self, confidence: f64) -> Interval {
        self.wilson_at(normal::two_sided(confidence))
    }

    fn wilson_at(self, z: f64) -> Interval {
        wilson(self.value().unwrap_or_default(), float(self.trials), z)
    }

    /// Clopper and Pearson's interval, which covers at least as often as is asked for, at any size; [0, 1] without trials.
    ///
    /// Source: Clopper & Pearson (1934), "The use of confidence or fiducial limits illustrated in the case of the
    /// binomial"; by quantiles of the beta distribution. Assumes independent trials of one probability.
    pub fn clopper_pearson(self, confidence: f64) -> Interval {
        exact(
            self.value().unwrap_or_default(),
            float(self.trials),
            (1.0 - confidence) / 2.0,
        )
    }
}

/// Clopper and Pearson's interval of a share of this many independent trials, which need not be a whole number: each end is
/// wrong with the probability of `tail` at most; [0, 1] without trials.
pub(crate) fn exact(share: f64, trials: f64, tail: f64) -> Interval {
    let hits = share * trials;
    let misses = trials - hits;
    let end = |a: f64, b: f64, share: f64| {
        // Beyond an end there is nothing.
        if a <= 0.0 {
            0.0
        } else if b <= 0.0 {
            1.0
        } else {
            beta_quantile(a, b, share)
        }
    };
    Interval {
        lower: end(hits, misses + 1.0, tail),
        upper: end(hits + 1.0, misses, 1.0 - tail),
    }
}

/// Wilson's interval of a share of this many independent trials, which need not be a whole number, at z.
pub(crate) fn wilson(share: f64, trials: f64, z: f64) -> Interval {
    if trials <= 0.0 {
        return Interval {
            lower: 0.0,
            upper: 1.0,
        };
    }
    let scale = 1.0 + z * z / trials;
    let centre = (share + z * z / (2.0 * trials)) / scale;
    let half =
        z / scale * (share * (1.0 - share) / trials + z * z / (4.0 * trials * trials)).sqrt();
    // At the ends the bound is exact; rounding must not move it.
    Interval {
        lower: if share <= 0.0 {
            0.0
        } else {
            (centre - half).max(0.0)
        },
        upper: if share >= 1.0 {
            1.0
        } else {
            (centre + half).min(1.0)
        },
    }
}

/// The value that a beta variable does not pass with this probability, by halving: to 1e-15.
fn beta_quantile(a: f64, b: f64, share: f64) -> f64 {
    let (mut low, mut high) = (0.0_f64, 1.0_f64);
    for _ in 0..200 {
        let middle = f64::midpoint(low, high);
        if middle <= low || middle >= high {
            break;
        }
        if statrs::function::beta::beta_reg(a, b, middle) < share {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

/// How much larger one proportion is than another.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProportionDifference {
    /// First minus second, in [-1, 1].
    pub value: f64,
    /// Two-sided interval of the difference.
    pub interval: Interval,
    /// One-sided upper confidence bound of the difference, at the same confidence.
    pub upper_bound: f64,
    /// One-sided lower confidence bound of the difference, at the same confidence.
    pub lower_bound: f64,
}

/// First minus second, with Newcombe's hybrid score interval; absent when either has no trials.
///
/// With `canary = errors of requests` and `stable = errors of requests`, `upper_bound <= allowed` shows that the
/// canary is not worse than allowed, and `lower_bound > allowed` shows that it is.
/// Source: Newcombe (1998), "Interval estimation for the difference between independent proportions", method 10.
/// Assumes that the two samples and the trials in each are independent.
pub fn difference(
    first: Proportion,
    second: Proportion,
    confidence: f64,
) -> Option<ProportionDifference> {
    let (p, q) = (first.value()?, second.value()?);
    let at = |z: f64| {
        let (one, two) = (first.wilson_at(z), second.wilson_at(z));
        Interval {
            lower: p - q - ((p - one.lower).powi(2) + (two.upper - q).powi(2)).sqrt(),
            upper: p - q + ((one.upper - p).powi(2) + (q - two.lower).powi(2)).sqrt(),
        }
    };
    let one_sided = at(normal::one_sided(confidence));
    Some(ProportionDifference {
        value: p - q,
        interval: at(normal::two_sided(confidence)),
        upper_bound: one_sided.upper,
        lower_bound: one_sided.lower,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(successes: u64, trials: u64) -> Proportion {
        Proportion { successes, trials }
    }

    fn assert_near(interval: Interval, lower: f64, upper: f64) {
        let is_near =
            (interval.lower - lower).abs() < 5e-5 && (interval.upper - upper).abs() < 5e-5;
        assert!(is_near, "{interval:?} is not [{lower}, {upper}]");
    }

    /// The worked examples of Newcombe (1998), "Two-sided confidence intervals for the single proportion", table I.
    #[test]
    fn wilson_is_that_of_newcombes_table() {
        assert_near(of(81, 263).wilson(0.95), 0.2553, 0.3662);
        assert_near(of(15, 148).wilson(0.95), 0.0624, 0.1605);
        assert_near(of(0, 20).wilson(0.95), 0.0, 0.1611);
        assert_near(of(1, 29).wilson(0.95), 0.0061, 0.1718);
        assert_eq!(
            of(0, 0).wilson(0.95),
            Interval {
                lower: 0.0,
                upper: 1.0
            }
        );
    }

    /// Newcombe (1998), table II, method 10.
    #[test]
    fn a_difference_is_that_of_newcombes_table() {
        let interval = |a, b| difference(a, b, 0.95).expect("trials").interval;
        assert_near(interval(of(56, 70), of(48, 80)), 0.0524, 0.3339);
        assert_near(interval(of(9, 10), of(3, 10)), 0.1705, 0.8090);
        assert_near(interval(of(10, 10), of(0, 20)), 0.6791, 1.0);
        assert_near(interval(of(0, 10), of(0, 20)), -0.1611, 0.2775);
    }

    #[test]
    fn a_one_sided_bound_lies_inside_the_two_sided_interval() {
        let found = difference(of(12, 400), of(8, 1000), 0.95).expect("trials");
        assert!(found.interval.lower < found.lower_bound && found.lower_bound < found.value);
        assert!(found.value < found.upper_bound && found.upper_bound < found.interval.upper);
        assert_eq!(difference(of(0, 0), of(1, 2), 0.95), None);
    }
}
