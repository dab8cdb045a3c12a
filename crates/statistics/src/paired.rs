//! A candidate against a champion on the same rows: non-inferiority, and Holm's correction.

use serde::{Deserialize, Serialize};

use crate::classification::NO_POSITIVE_LABEL;
use crate::influence::Influence;
use crate::metric::Metric;
use crate::sample::Sample;
use crate::scores::delong;
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
}

impl Advantage {
    /// The advantage in a metric of a candidate over a champion that answered the same rows.
    ///
    /// - rocAuc of two classes: DeLong, DeLong & Clarke-Pearson (1988): variance of the difference of two correlated areas.
    /// - accuracy, recall: Agresti & Min (2005), "Simple improved confidence intervals for comparing matched
    ///   proportions": half a row is added to each cell, so that equal answers on few rows prove nothing.
    /// - all others: the spread of the differences of what each row adds ([`Influence`]); of a mean, that is the
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
        candidate.check(metric.accepts())?;
        champion.check(metric.accepts())?;
        let few = StatisticsError::Undefined {
            what: "there are too few rows for an interval",
        };
        let is_matched = candidate.is_unweighted() && candidate.classes() == 2;
        let rows = 0..candidate.rows();
        let right = |row: usize| {
            let class = candidate.class(row);
            (
                candidate.answered_class(row) == class,
                champion.answered_class(row) == class,
            )
        };
        match metric {
            Metric::Accuracy if is_matched => return matched(rows.map(right)).ok_or(few),
            Metric::Recall if is_matched => {
                let none = StatisticsError::Undefined {
                    what: NO_POSITIVE_LABEL,
                };
                let positives = rows.filter(|row| candidate.class(*row) == 1);
                return matched(positives.map(right)).ok_or(none);
            }
            _ => {}
        }
        let (one, two) = (metric.influence(candidate)?, metric.influence(champion)?);
        let sign = if metric.is_higher_better() { 1.0 } else { -1.0 };
        let value = sign * (one.value - two.value);
        let apart = one.of_rows.iter().zip(&two.of_rows);
        let apart = Influence {
            value,
            of_rows: apart.map(|(a, b)| sign * (a - b)).collect(),
        };
        let standard_error = if metric == Metric::RocAuc && is_matched {
            delong(candidate, &apart.of_rows)
        } else {
            apart.standard_error()
        };
        Ok(Self {
            value,
            centre: value,
            standard_error: standard_error.ok_or(few)?,
        })
    }

    /// Two-sided interval of the advantage.
    pub fn interval(&self, confidence: f64) -> Interval {
        Interval::of_normal(self.centre, self.standard_error, confidence)
    }

    /// p-value of the hypothesis that the candidate is worse by `margin` or more. Small: it is non-inferior.
    pub fn p_inferior(&self, margin: f64) -> f64 {
        1.0 - self.p_within(margin)
    }

    /// p-value of the hypothesis that the candidate is worse by `margin` at most. Small: it is worse.
    pub fn p_within(&self, margin: f64) -> f64 {
        let distance = self.centre + margin;
        if self.standard_error > 0.0 {
            return normal::cdf(distance / self.standard_error);
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
}

/// Matched proportions, candidate and champion in each row.
fn matched(rows: impl Iterator<Item = (bool, bool)>) -> Option<Advantage> {
    let (mut n, mut better, mut worse) = (0_u64, 0_u64, 0_u64);
    for (candidate, champion) in rows {
        n += 1;
        better += u64::from(candidate && !champion);
        worse += u64::from(champion && !candidate);
    }
    if n == 0 {
        return None;
    }
    let value = (float(better) - float(worse)) / float(n);
    let (n, better, worse) = (float(n) + 2.0, float(better) + 0.5, float(worse) + 0.5);
    let centre = (better - worse) / n;
    let variance = ((better + worse) / n - centre * centre) / n;
    Some(Advantage {
        value,
        centre,
        standard_error: variance.max(0.0).sqrt(),
    })
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
