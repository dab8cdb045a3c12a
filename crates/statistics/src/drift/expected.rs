//! Performance without labels: what a classifier's scores let one expect of it, where its labels come late or never.
//!
//! Scores of a window are taken for what they meant in the reference, whose labels are known: of rows in a bin of scores, the
//! share that is of class 1. So a change in what comes in is seen; a change in what the same input means ("concept drift") is
//! not, and cannot be without labels.

use serde::{Deserialize, Serialize};

use crate::influence::Estimate;
use crate::{Interval, float, normal};

/// Rows of one bin of scores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bin {
    /// Labelled rows of the reference.
    pub reference: u64,
    /// Of these, how many are of class 1.
    pub positives: u64,
    /// Rows of the window.
    pub window: u64,
}

/// A metric of two classes that can be expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ExpectedMetric {
    /// The share of rows that are answered right.
    Accuracy,
    /// Of rows answered as class 1, the share that is.
    Precision,
    /// Of rows of class 1, the share answered so.
    Recall,
    /// Of rows of class 0, the share answered so.
    Specificity,
    /// The harmonic mean of precision and recall.
    F1,
    /// The area under the receiver operating characteristic.
    RocAuc,
}

/// Scores of a reference and of a window, by bin.
///
/// Counts by bin add up over parts of the data. A hundred bins of about equal counts are enough; the score from which on rows
/// are answered as class 1 is where a bin begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Expected {
    bins: Vec<Known>,
    /// The first bin that is answered as class 1.
    threshold: usize,
    /// Of the window's rows, the share in bins that the reference has no row in.
    uncovered: f64,
}

/// What is known of one bin.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Known {
    /// Rows of the window.
    rows: f64,
    /// The share of class 1.
    share: f64,
    /// The variance of what the share of the window's own rows will be, about that.
    variance: f64,
}

impl Expected {
    /// Of bins in the order of their scores; those from `threshold` on are answered as class 1. Absent without rows in the
    /// window, or without labelled rows.
    pub fn new(bins: &[Bin], threshold: usize) -> Option<Self> {
        let total: u64 = bins.iter().map(|bin| bin.window).sum();
        let is_known = |bin: &&Bin| bin.reference > 0;
        if total == 0 || !bins.iter().any(|bin| bin.reference > 0) {
            return None;
        }
        let share = |bin: &Bin| (float(bin.positives) + 0.5) / (float(bin.reference) + 1.0);
        let known = |(at, bin): (usize, &Bin)| {
            let rows = float(bin.window);
            if bin.reference > 0 {
                let share = share(bin);
                // Of labels that are to come, and of the reference's.
                let each = 1.0 / rows.max(1.0) + 1.0 / (float(bin.reference) + 1.0);
                return Known {
                    rows,
                    share,
                    variance: share * (1.0 - share) * each,
                };
            }
            // What is between two that are known may be anything, and is most likely between them.
            let before = bins[..at].iter().rfind(is_known).map(share);
            let after = bins[at..].iter().find(is_known).map(share);
            let share = match (before, after) {
                (Some(before), Some(after)) => f64::midpoint(before, after),
                (before, after) => before.or(after).expect("one is known"),
            };
            Known {
                rows,
                share,
                variance: 0.25,
            }
        };
        let uncovered = bins.iter().filter(|bin| bin.reference == 0);
        Some(Self {
            uncovered: float(uncovered.map(|bin| bin.window).sum::<u64>()) / float(total),
            bins: bins.iter().enumerate().map(known).collect(),
            threshold,
        })
    }

    /// The share of the window's rows whose scores the reference has none of: of these nothing is known.
    pub fn uncovered(&self) -> f64 {
        self.uncovered
    }

    /// A metric as it is to be expected on the window, with the interval that what its labels will show lies in; absent
    /// where it is not defined (no row is answered as class 1, or none is expected to be of a class).
    ///
    /// Source: confidence-based performance estimation (CBPE) as NannyML documents it (Białek, Kuberski, Perrakis & Bifet
    /// 2024, "Estimating model performance under covariate shift without labels"): the expected confusion matrix, each row
    /// being of class 1 with its calibrated probability p; here p is that of its bin of scores. The interval is the delta
    /// method's, of each bin's labels that are to come and of the reference's, p (1 - p) (1/window + 1/reference); with no
    /// rows of the reference, 1/4. Assumes that rows are independent and that a score means what it meant.
    pub fn estimate(&self, metric: ExpectedMetric, confidence: f64) -> Option<Estimate> {
        let (value, slopes) = self.value(metric)?;
        let variance: f64 = slopes
            .iter()
            .zip(&self.bins)
            .map(|(slope, bin)| slope * slope * bin.variance)
            .sum();
        let half = normal::two_sided(confidence) * variance.sqrt();
        let interval = Interval {
            lower: value - half,
            upper: value + half,
        };
        Some(Estimate {
            value,
            interval: Some(interval.clamped(0.0, 1.0)),
        })
    }

    /// The metric, and by how much it changes with the share of class 1 in each bin.
    fn value(&self, metric: ExpectedMetric) -> Option<(f64, Vec<f64>)> {
        let (mut positives, mut negatives, mut answered, mut right) = (0.0, 0.0, 0.0, 0.0);
        for (at, bin) in self.bins.iter().enumerate() {
            positives += bin.rows * bin.share;
            negatives += bin.rows * (1.0 - bin.share);
            if at >= self.threshold {
                answered += bin.rows;
                right += bin.rows * bin.share;
            }
        }
        let rejected = negatives - (answered - right);
        // A ratio's value, and its change with a bin that is answered as class 1, and with one that is not, for each row.
        let ratio = |(over, under): (f64, f64), changes: [(f64, f64); 2]| {
            let of = |(more, below): (f64, f64)| (more - over / under * below) / under;
            (under > 0.0).then(|| (over / under, changes.map(of)))
        };
        let (value, [yes, no]) = match metric {
            ExpectedMetric::RocAuc => return self.area(positives, negatives),
            ExpectedMetric::Accuracy => ratio(
                (right + rejected, positives + negatives),
                [(1.0, 0.0), (-1.0, 0.0)],
            ),
            ExpectedMetric::Precision => ratio((right, answered), [(1.0, 0.0), (0.0, 0.0)]),
            ExpectedMetric::Recall => ratio((right, positives), [(1.0, 1.0), (0.0, 1.0)]),
            ExpectedMetric::Specificity => {
                ratio((rejected, negatives), [(0.0, -1.0), (-1.0, -1.0)])
            }
            ExpectedMetric::F1 => ratio(
                (2.0 * right, answered + positives),
                [(2.0, 1.0), (0.0, 1.0)],
            ),
        }?;
        let slope =
            |(at, bin): (usize, &Known)| bin.rows * if at >= self.threshold { yes } else { no };
        Some((value, self.bins.iter().enumerate().map(slope).collect()))
    }

    /// The area: of all pairs of both classes, those in their order, and half of those in one bin.
    fn area(&self, positives: f64, negatives: f64) -> Option<(f64, Vec<f64>)> {
        let all = positives * negatives;
        if all <= 0.0 {
            return None;
        }
        let (mut below, mut so_far, mut pairs) = (0.0, 0.0, 0.0);
        let mut beside = Vec::with_capacity(self.bins.len());
        for bin in &self.bins {
            let (ones, zeros) = (bin.rows * bin.share, bin.rows * (1.0 - bin.share));
            let lower = below + zeros / 2.0;
            let higher = positives - so_far - ones / 2.0;
            pairs += ones * lower;
            beside.push(lower - higher);
            below += zeros;
            so_far += ones;
        }
        let value = pairs / all;
        let slope = |(bin, beside): (&Known, f64)| {
            bin.rows * (beside / all - value * (negatives - positives) / all)
        };
        Some((value, self.bins.iter().zip(beside).map(slope).collect()))
    }
}

#[cfg(test)]
mod tests;
