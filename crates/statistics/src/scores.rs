//! Metrics of scores alone, whatever threshold they are cut at.

use std::ops::Range;

use crate::influence::{Estimate, Influence, Scale};
use crate::mean::Mean;
use crate::sample::{Accepts, Sample};
use crate::{Interval, StatisticsError, float};

/// Rows of one class against all others, in the order of their scores.
struct Ordered {
    /// Rows, from the lowest score.
    order: Vec<usize>,
    /// Where rows of another score begin in it; its length last.
    ends: Vec<usize>,
    is_positive: Vec<bool>,
}

impl Ordered {
    fn new(sample: &Sample<'_>, class: usize) -> Result<Self, StatisticsError> {
        let rows = sample.rows();
        let is_positive: Vec<bool> = (0..rows).map(|row| sample.class(row) == class).collect();
        let positives = is_positive.iter().filter(|is| **is).count();
        if positives == 0 || positives == rows {
            return Err(StatisticsError::OneClass { rows });
        }
        let scores: Vec<f64> = (0..rows).map(|row| sample.score(row, class)).collect();
        let mut order: Vec<usize> = (0..rows).collect();
        order.sort_by(|a, b| scores[*a].total_cmp(&scores[*b]));
        let mut ends = Vec::new();
        for tied in order.chunk_by(|a, b| scores[*a] - scores[*b] == 0.0) {
            ends.push(ends.last().copied().unwrap_or(0) + tied.len());
        }
        Ok(Self {
            order,
            ends,
            is_positive,
        })
    }

    /// Rows of the same score, from the lowest.
    fn ties(&self) -> impl DoubleEndedIterator<Item = &[usize]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let spans: Vec<(usize, usize)> = starts.zip(self.ends.iter().copied()).collect();
        spans
            .into_iter()
            .map(|(start, end)| &self.order[start..end])
    }

    /// What positive and negative rows among these weigh.
    fn weigh(&self, sample: &Sample<'_>, rows: &[usize]) -> (f64, f64) {
        rows.iter().fold((0.0, 0.0), |(positive, negative), row| {
            let weight = sample.weight(*row);
            if self.is_positive[*row] {
                (positive + weight, negative)
            } else {
                (positive, negative + weight)
            }
        })
    }

    fn totals(&self, sample: &Sample<'_>) -> Result<(f64, f64), StatisticsError> {
        let (positive, negative) = self.weigh(sample, &self.order);
        if positive > 0.0 && negative > 0.0 {
            Ok((positive, negative))
        } else {
            Err(StatisticsError::OneClass {
                rows: self.order.len(),
            })
        }
    }

    /// The area under the ROC curve.
    fn area(&self, sample: &Sample<'_>) -> Result<Influence, StatisticsError> {
        let (positive, negative) = self.totals(sample)?;
        // Of each row the share of the other class that it stands right to, ties counted half.
        let mut placement = vec![0.0; self.order.len()];
        let (mut positive_below, mut negative_below) = (0.0, 0.0);
        for tied in self.ties() {
            let (of_positive, of_negative) = self.weigh(sample, tied);
            for row in tied {
                placement[*row] = if self.is_positive[*row] {
                    (negative_below + of_negative / 2.0) / negative
                } else {
                    1.0 - (positive_below + of_positive / 2.0) / positive
                };
            }
            positive_below += of_positive;
            negative_below += of_negative;
        }
        let positives = (0..sample.rows()).filter(|row| self.is_positive[*row]);
        let area =
            crate::sum::sum(positives.map(|row| sample.weight(row) * placement[row])) / positive;
        Ok(Influence::new(sample, area, |row| {
            let class = if self.is_positive[row] {
                positive
            } else {
                negative
            };
            (placement[row] - area) / class
        }))
    }

    /// The average precision.
    fn average_precision(&self, sample: &Sample<'_>) -> Result<Influence, StatisticsError> {
        let (positive, _) = self.totals(sample)?;
        // From the highest score: what stands at least as high, and of it the positive.
        let (mut hits, mut all) = (0.0, 0.0);
        let mut steps = Vec::with_capacity(self.ends.len());
        for tied in self.ties().rev() {
            let (of_positive, of_negative) = self.weigh(sample, tied);
            hits += of_positive;
            all += of_positive + of_negative;
            steps.push((of_positive, hits, all));
        }
        steps.reverse();
        let precision =
            |(_, hits, all): &(f64, f64, f64)| if *all > 0.0 { hits / all } else { 0.0 };
        let value = crate::sum::sum(steps.iter().map(|step| step.0 * precision(step))) / positive;
        // From the lowest: one more row counts at every positive that stands no higher.
        let (mut gained, mut lost) = (0.0, 0.0);
        let mut derivative = vec![0.0; self.order.len()];
        for (tied, step) in self.ties().zip(&steps) {
            let (of_positive, hits, all) = *step;
            if all > 0.0 {
                gained += of_positive / all;
                lost += of_positive * hits / (all * all);
            }
            for row in tied {
                let own = if self.is_positive[*row] {
                    precision(step) - value + gained
                } else {
                    0.0
                };
                derivative[*row] = (own - lost) / positive;
            }
        }
        Ok(Influence::new(sample, value, |row| derivative[row]))
    }
}

/// Of each class against the others; of class 1 alone, where there are two.
fn over_classes(
    sample: &Sample<'_>,
    of: impl Fn(&Ordered) -> Result<Influence, StatisticsError>,
) -> Result<Influence, StatisticsError> {
    sample.check(Accepts::Scores)?;
    if sample.classes() == 2 {
        return of(&Ordered::new(sample, 1)?);
    }
    let all: Result<Vec<Influence>, _> = (0..sample.classes())
        .map(|class| of(&Ordered::new(sample, class)?))
        .collect();
    Ok(Influence::mean_of(&all?))
}

/// Area under the ROC curve: the probability that a positive row scores above a negative one, ties counted half (Mann &
/// Whitney 1947). Of more than two classes the mean of each against the others, as scikit-learn's `ovr` and `macro`.
///
/// Interval: value ± z · s, cut to [0, 1], with DeLong's variance (DeLong, DeLong & Clarke-Pearson 1988) where there are
/// two classes and no weights; else with that of the influence function, which differs by n/(n-1) in each class.
///
/// # Errors
/// A row that has no class; [`StatisticsError::OneClass`], also where one of several classes is not there.
pub fn roc_auc(sample: &Sample<'_>, confidence: f64) -> Result<Estimate, StatisticsError> {
    let influence = roc_auc_influence(sample)?;
    let error = if sample.classes() == 2 && sample.is_unweighted() {
        delong(sample, &influence.of_rows)
    } else {
        influence.standard_error()
    };
    let interval = error
        .map(|error| Interval::of_normal(influence.value, error, confidence).clamped(0.0, 1.0));
    Ok(Estimate {
        value: influence.value,
        interval,
    })
}

/// The influence of the rows on the area under the ROC curve.
///
/// # Errors
/// As [`roc_auc`].
pub fn roc_auc_influence(sample: &Sample<'_>) -> Result<Influence, StatisticsError> {
    over_classes(sample, |ordered| ordered.area(sample))
}

/// DeLong's standard error of an area, or of a difference of areas on the same rows, from what the rows (of two
/// classes, unweighted) add to it; absent with fewer than two rows of either class.
pub fn delong(sample: &Sample<'_>, of_rows: &[f64]) -> Option<f64> {
    let of = |class: usize| {
        let rows = (0..sample.rows()).filter(|row| sample.class(*row) == class);
        let spread: Mean = rows.map(|row| of_rows[row]).collect();
        // The components of DeLong et al. are n times what a row adds.
        Some(spread.variance()? * float(spread.count))
    };
    Some((of(1)? + of(0)?).sqrt())
}

/// Area under the precision-recall curve as average precision, Σ (Rₙ - Rₙ₋₁) Pₙ over the distinct scores from the
/// highest, which interpolates nothing (Boyd, Eng & Page 2013). Of more than two classes the mean of each against the
/// others.
///
/// Interval: of the influence function, on the logit scale, as Boyd, Eng & Page advise.
///
/// # Errors
/// As [`roc_auc`].
pub fn average_precision(
    sample: &Sample<'_>,
    confidence: f64,
) -> Result<Estimate, StatisticsError> {
    Ok(average_precision_influence(sample)?.estimate(Scale::Logit, confidence))
}

/// The influence of the rows on the average precision.
///
/// # Errors
/// As [`roc_auc`].
pub fn average_precision_influence(sample: &Sample<'_>) -> Result<Influence, StatisticsError> {
    over_classes(sample, |ordered| ordered.average_precision(sample))
}

/// Normalised discounted cumulative gain of the first places of each query, the mean over the queries.
///
/// Source: Järvelin & Kekäläinen (2002), with the gain itself and the discount log₂(place + 1); rows of one score share
/// the mean gain of their places (McSherry & Najork 2008). A query without any gain counts 0, as scikit-learn has it.
/// Interval: of a mean over the queries, which are independent of each other.
///
/// # Errors
/// [`StatisticsError::Label`] for a gain below 0; that rows are of no query.
pub fn ndcg(sample: &Sample<'_>, first: u32, confidence: f64) -> Result<Estimate, StatisticsError> {
    let mut estimate = ndcg_influence(sample, first)?.estimate(Scale::Identity, confidence);
    estimate.interval = estimate.interval.map(|interval| interval.clamped(0.0, 1.0));
    Ok(estimate)
}

/// The influence of the queries on the gain.
///
/// # Errors
/// As [`ndcg`].
pub fn ndcg_influence(sample: &Sample<'_>, first: u32) -> Result<Influence, StatisticsError> {
    sample.check(Accepts::Relevances)?;
    let of_query = |rows: Range<usize>| {
        let gains: Vec<f64> = rows.clone().map(|row| sample.label(row)).collect();
        let scores: Vec<f64> = rows.map(|row| sample.answer(row)).collect();
        let ideal = discounted(&gains, &gains, first);
        if ideal > 0.0 {
            discounted(&gains, &scores, first) / ideal
        } else {
            0.0
        }
    };
    let all: Vec<f64> = sample.queries()?.map(of_query).collect();
    let count = float(all.len());
    let value = crate::sum::sum(all.iter().copied()) / count;
    Ok(Influence {
        value,
        of_rows: all.into_iter().map(|one| (one - value) / count).collect(),
    })
}

/// The discounted gain of the first places in the order of scores.
fn discounted(gains: &[f64], scores: &[f64], first: u32) -> f64 {
    let mut order: Vec<usize> = (0..gains.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    let discount = |place: usize| {
        if place < first as usize {
            1.0 / float(place + 2).log2()
        } else {
            0.0
        }
    };
    let (mut place, mut total) = (0, 0.0);
    for tied in order.chunk_by(|a, b| scores[*a] - scores[*b] == 0.0) {
        let gain = crate::sum::sum(tied.iter().map(|row| gains[*row])) / float(tied.len());
        let discounts = crate::sum::sum((place..place + tied.len()).map(discount));
        total += gain * discounts;
        place += tied.len();
    }
    total
}
