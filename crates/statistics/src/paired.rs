//! A candidate against a champion on the same rows: non-inferiority, and Holm's correction.

use serde::{Deserialize, Serialize};

use crate::classification::NO_POSITIVE_LABEL;
use crate::looks::{Finding, Pair};
use crate::metric::Metric;
use crate::sample::{Row, Sample};
use crate::{Interval, StatisticsError, float, normal};

/// By how much a candidate is better than a champion on the same rows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Advantage {
    /// Candidate minus champion where higher is better, champion minus candidate where lower is: positive is better.
    pub value: f64,
    /// Where the tests and the interval are centred; differs from `value` by the small-sample adjustment only.
    pub centre: f64,
    /// The standard error of the difference, which knows that both saw the same rows.
    pub standard_error: f64,
    /// What stands for the standard error below the centre, and above it.
    pub errors: [f64; 2],
}

/// The confidence at which the errors below and above the centre are those of the interval: that of a one-sided 95%.
const OF_ERRORS: f64 = 0.9;

impl Advantage {
    /// The advantage in a metric of a candidate over a champion that answered the same rows.
    ///
    /// - rocAuc of two classes: DeLong, DeLong & Clarke-Pearson (1988) for the correlation of two areas.
    /// - accuracy, recall: Agresti & Min (2005), "Simple improved confidence intervals for comparing matched
    ///   proportions": half a row is added to each cell, so that equal answers on few rows prove nothing.
    /// - areas, and other metrics of classes: MOVER (Zou & Donner 2008, Zou 2007) over the intervals of either, with the
    ///   correlation that the rows give; near 1, and where few rows are of a class, these are not symmetric. The errors are
    ///   those of the intervals at 90% over the normal quantile, whatever is asked for.
    /// - all others: the spread of the differences of what each row adds ([`crate::influence`]); of a mean, that is the
    ///   paired comparison of means.
    ///
    /// Assumes independent rows (not models) and enough of them for a normal approximation.
    ///
    /// # Errors
    /// A [`StatisticsError`] where either has no value, or when there are fewer than two rows (of each class).
    pub fn new(
        metric: Metric,
        candidate: &Sample<'_>,
        champion: &Sample<'_>,
    ) -> Result<Self, StatisticsError> {
        if candidate.all().count() != champion.all().count() {
            return Err(StatisticsError::Undefined {
                what: "candidate and champion have not answered the same rows",
            });
        }
        let mut pair = Pair::new(metric, metric.known(candidate)?, metric.known(champion)?);
        for (candidate, champion) in candidate.all().zip(champion.all()) {
            pair.add(&candidate, &champion);
        }
        pair.finding().1
    }

    /// From what was found of both and the standard error of the difference, or from rows as pairs where that is better.
    pub(crate) fn of(
        metric: Metric,
        [candidate, champion]: [&Finding; 2],
        standard_error: Option<f64>,
        matched: &Matched,
    ) -> Result<Self, StatisticsError> {
        let few = StatisticsError::Undefined {
            what: "there are too few rows for an interval",
        };
        match metric {
            Metric::Accuracy if matched.is_plain => return matched.rows.advantage().ok_or(few),
            Metric::Recall if matched.is_plain => {
                let none = StatisticsError::Undefined {
                    what: NO_POSITIVE_LABEL,
                };
                return matched.positives.advantage().ok_or(none);
            }
            _ => {}
        }
        let standard_error = standard_error.ok_or(few)?;
        let errors = if metric.is_of_classes() {
            mover([candidate, champion], standard_error)
        } else {
            None
        };
        let value = metric.better_by(candidate.value(), champion.value());
        Ok(Self {
            value,
            centre: value,
            standard_error,
            errors: errors.unwrap_or([standard_error; 2]),
        })
    }

    /// Two-sided interval of the advantage.
    pub fn interval(&self, confidence: f64) -> Interval {
        let z = normal::two_sided(confidence);
        let [below, above] = self.errors;
        Interval {
            lower: self.centre - z * below,
            upper: self.centre + z * above,
        }
    }

    /// p-value of the hypothesis that the candidate is worse by `margin` or more. Small: it is non-inferior.
    pub fn p_inferior(&self, margin: f64) -> f64 {
        p_below(-(self.centre + margin), self.errors[0])
    }

    /// p-value of the hypothesis that the candidate is worse by `margin` at most. Small: it is worse.
    pub fn p_within(&self, margin: f64) -> f64 {
        p_below(self.centre + margin, self.errors[1])
    }
}

/// The probability of what lies below a distance that is known with this error.
fn p_below(distance: f64, error: f64) -> f64 {
    if error > 0.0 {
        return normal::cdf(distance / error);
    }
    // Both answered the same in every row: the difference is known, not estimated.
    if distance > 0.0 {
        1.0
    } else if distance < 0.0 {
        0.0
    } else {
        0.5
    }
}

/// The errors of the difference of two values that are the better the higher, below and above it.
fn mover([candidate, champion]: [&Finding; 2], standard_error: f64) -> Option<[f64; 2]> {
    let (one, two) = (candidate.standard_error()?, champion.standard_error()?);
    let correlation = if one * two > 0.0 {
        (one * one + two * two - standard_error * standard_error) / (2.0 * one * two)
    } else {
        0.0
    };
    let ends = |finding: &Finding| {
        let (value, interval) = (finding.value(), finding.estimate(OF_ERRORS).interval?);
        Some((value - interval.lower, interval.upper - value))
    };
    let ((below, above), (their_below, their_above)) = (ends(candidate)?, ends(champion)?);
    let z = normal::two_sided(OF_ERRORS);
    let both = |mine: f64, theirs: f64| {
        let square = mine * mine - 2.0 * correlation * mine * theirs + theirs * theirs;
        square.max(0.0).sqrt() / z
    };
    Some([both(below, their_above), both(above, their_below)])
}

/// Rows that two models answered, as pairs of right and wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Matched {
    /// Whether there are two classes, and all rows count the same.
    is_plain: bool,
    rows: Pairs,
    /// Those of class 1 alone.
    positives: Pairs,
}

/// In how many of some rows one model is right and the other is not.
#[derive(Clone, Copy, Debug, Default)]
struct Pairs {
    rows: u64,
    better: u64,
    worse: u64,
}

impl Default for Matched {
    fn default() -> Self {
        Self {
            is_plain: true,
            rows: Pairs::default(),
            positives: Pairs::default(),
        }
    }
}

impl Matched {
    pub(crate) fn add(&mut self, candidate: &Row<'_>, champion: &Row<'_>) {
        self.is_plain &= is_plain(candidate);
        let class = candidate.class();
        let (one, two) = (
            candidate.answered_class() == class,
            champion.answered_class() == class,
        );
        self.rows.add(one, two);
        if class == 1 {
            self.positives.add(one, two);
        }
    }
}

/// Whether a row is of one of two classes, and counts as one.
#[allow(clippy::float_cmp)] // exactly as it was given
pub(crate) fn is_plain(row: &Row<'_>) -> bool {
    row.answers.len() <= 2 && row.weight == 1.0
}

impl Pairs {
    fn add(&mut self, candidate: bool, champion: bool) {
        self.rows += 1;
        self.better += u64::from(candidate && !champion);
        self.worse += u64::from(champion && !candidate);
    }

    fn advantage(self) -> Option<Advantage> {
        if self.rows == 0 {
            return None;
        }
        let value = (float(self.better) - float(self.worse)) / float(self.rows);
        let (rows, better, worse) = (
            float(self.rows) + 2.0,
            float(self.better) + 0.5,
            float(self.worse) + 0.5,
        );
        let centre = (better - worse) / rows;
        let variance = ((better + worse) / rows - centre * centre) / rows;
        let standard_error = variance.max(0.0).sqrt();
        Some(Advantage {
            value,
            centre,
            standard_error,
            errors: [standard_error; 2],
        })
    }
}

/// Holm's adjusted p-values, in the order of the given ones; rejecting where they are at most α keeps the chance of
/// any false rejection at most α, however the tests depend on each other.
///
/// Source: Holm (1979), "A simple sequentially rejective multiple test procedure".
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
    let mut adjusted = vec![0.0; p_values.len()];
    let mut least = 0.0_f64;
    for (before, row) in order.into_iter().enumerate() {
        least = least.max((p_values[row] * float(p_values.len() - before)).min(1.0));
        adjusted[row] = least;
    }
    adjusted
}
