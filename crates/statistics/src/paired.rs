//! A candidate against a champion on the same rows: non-inferiority, and Holm's correction.

use serde::{Deserialize, Serialize};

use crate::auc::RocAuc;
use crate::mean::Mean;
use crate::metric::{
    Confusion, Metric, NO_POSITIVE, NO_POSITIVE_ANSWER, NO_POSITIVE_LABEL, classes, is_one,
};
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
    /// The advantage in a metric on rows.
    ///
    /// - rocAuc: DeLong, DeLong & Clarke-Pearson (1988): variance of the difference of two correlated areas.
    /// - accuracy, recall: Agresti & Min (2005), "Simple improved confidence intervals for comparing matched
    ///   proportions": half a row is added to each cell, so that equal answers on few rows prove nothing.
    /// - logLoss, brier, mae: mean of the differences by row, normal approximation.
    /// - precision, f1, rmse: delta method; the spread of the differences of the influence functions.
    ///
    /// Assumes independent rows (not models) and enough of them for a normal approximation.
    ///
    /// # Errors
    /// A [`StatisticsError`] where either has no value, or when there are fewer than two rows (of each class).
    pub fn new(
        metric: Metric,
        labels: &[f64],
        candidate: &[f64],
        champion: &[f64],
    ) -> Result<Self, StatisticsError> {
        metric.check(labels, candidate)?;
        metric.check(labels, champion)?;
        let few = StatisticsError::Undefined {
            what: "there are too few rows for an interval",
        };
        match metric {
            Metric::RocAuc => {
                let classes = classes(labels);
                let (one, two) = (
                    RocAuc::new(&classes, candidate)?,
                    RocAuc::new(&classes, champion)?,
                );
                let variance = one.variance_of_difference(&two).ok_or(few)?;
                let value = one.value - two.value;
                Ok(Self {
                    value,
                    centre: value,
                    standard_error: variance.sqrt(),
                })
            }
            Metric::Accuracy => {
                let rows = labels.iter().zip(candidate).zip(champion);
                matched(rows.map(|((label, a), b)| {
                    (is_one(*a) == is_one(*label), is_one(*b) == is_one(*label))
                }))
                .ok_or(few)
            }
            Metric::Recall => {
                let rows = labels
                    .iter()
                    .zip(candidate)
                    .zip(champion)
                    .filter(|((label, _), _)| is_one(**label));
                matched(rows.map(|((_, a), b)| (is_one(*a), is_one(*b)))).ok_or(
                    StatisticsError::Undefined {
                        what: NO_POSITIVE_LABEL,
                    },
                )
            }
            Metric::LogLoss | Metric::Brier | Metric::Mae => {
                let apart = metric
                    .losses(labels, champion)
                    .zip(metric.losses(labels, candidate))
                    .map(|(b, a)| b - a);
                of_mean(apart.collect(), None).ok_or(few)
            }
            Metric::Precision | Metric::F1 | Metric::Rmse => {
                let (one, mine) = influence(metric, labels, candidate)?;
                let (two, theirs) = influence(metric, labels, champion)?;
                let sign = if metric.is_higher_better() { 1.0 } else { -1.0 };
                let apart = mine.iter().zip(&theirs).map(|(a, b)| sign * (a - b));
                of_mean(apart.collect(), Some(sign * (one - two))).ok_or(few)
            }
        }
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

fn of_mean(apart: Mean, value: Option<f64>) -> Option<Advantage> {
    let standard_error = apart.standard_error()?;
    let value = value.or(apart.value())?;
    Some(Advantage {
        value,
        centre: value,
        standard_error,
    })
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

/// The metric and its influence function in each row (Hampel 1974): the variance of the metric is that of their mean.
fn influence(
    metric: Metric,
    labels: &[f64],
    predictions: &[f64],
) -> Result<(f64, Vec<f64>), StatisticsError> {
    let n = float(labels.len());
    let unit = |is: bool| f64::from(u8::from(is));
    let rows = || {
        labels
            .iter()
            .zip(predictions)
            .map(|(label, answer)| (unit(is_one(*label)), unit(is_one(*answer))))
    };
    let counts = Confusion::new(labels, predictions);
    let defined = |denominator: f64, what| {
        if denominator > 0.0 {
            Ok(denominator / n)
        } else {
            Err(StatisticsError::Undefined { what })
        }
    };
    match metric {
        Metric::Precision => {
            let answered = defined(float(counts.precision().trials), NO_POSITIVE_ANSWER)?;
            let value = counts.precision().value().unwrap_or_default();
            Ok((
                value,
                rows()
                    .map(|(label, answer)| answer * (label - value) / answered)
                    .collect(),
            ))
        }
        Metric::F1 => {
            let either = defined(
                float(counts.precision().trials + counts.recall().trials),
                NO_POSITIVE,
            )?;
            let value = 2.0 * float(counts.true_positives) / (either * n);
            let of_row = |(label, answer): (f64, f64)| {
                (2.0 * label * answer - value * (label + answer)) / either
            };
            Ok((value, rows().map(of_row).collect()))
        }
        Metric::Rmse => {
            let squares: Vec<f64> = metric.losses(labels, predictions).collect();
            let mean = squares.iter().sum::<f64>() / n;
            let value = mean.sqrt();
            let slope = if value > 0.0 {
                1.0 / (2.0 * value)
            } else {
                0.0
            };
            Ok((
                value,
                squares
                    .into_iter()
                    .map(|square| (square - mean) * slope)
                    .collect(),
            ))
        }
        Metric::Accuracy
        | Metric::Recall
        | Metric::RocAuc
        | Metric::LogLoss
        | Metric::Brier
        | Metric::Mae => Err(StatisticsError::Undefined {
            what: "this metric has a comparison of its own",
        }),
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
