//! Area under the ROC curve and its variance.

use crate::StatisticsError;
use crate::mean::Mean;

/// An area under the ROC curve with DeLong's structural components.
///
/// The area is the probability that a random positive row scores above a random negative one, ties counted half
/// (Mann & Whitney 1947). The components are V10 and V01 of DeLong, DeLong & Clarke-Pearson (1988), computed from
/// midranks in O(n log n) as in Sun & Xu (2014), "Fast implementation of DeLong's algorithm", equations 6 to 10.
/// Assumes independent rows.
#[derive(Clone, Debug, PartialEq)]
pub struct RocAuc {
    /// The area, in [0, 1].
    pub value: f64,
    /// One for each positive row, in their order.
    positive: Vec<f64>,
    /// One for each negative row, in their order.
    negative: Vec<f64>,
}

impl RocAuc {
    /// The area of scores (finite, larger for positive) against labels.
    ///
    /// # Errors
    /// [`StatisticsError::Empty`], [`StatisticsError::OneClass`].
    pub fn new(labels: &[bool], scores: &[f64]) -> Result<Self, StatisticsError> {
        if labels.is_empty() {
            return Err(StatisticsError::Empty);
        }
        let of = |class: bool| {
            let rows = labels
                .iter()
                .zip(scores)
                .filter(move |(label, _)| **label == class);
            rows.map(|(_, score)| *score).collect::<Vec<f64>>()
        };
        let (positives, negatives) = (of(true), of(false));
        if positives.is_empty() || negatives.is_empty() {
            return Err(StatisticsError::OneClass { rows: labels.len() });
        }
        let (m, n) = (crate::float(positives.len()), crate::float(negatives.len()));
        let all: Vec<f64> = positives.iter().chain(&negatives).copied().collect();
        let together = midranks(&all);
        let (among_positives, among_negatives) = (midranks(&positives), midranks(&negatives));
        let components = |together: &[f64], alone: &[f64], others: f64| {
            together
                .iter()
                .zip(alone)
                .map(|(all, own)| (all - own) / others)
                .collect::<Vec<f64>>()
        };
        let positive = components(&together[..positives.len()], &among_positives, n);
        let below = components(&together[positives.len()..], &among_negatives, m);
        let negative: Vec<f64> = below.into_iter().map(|share| 1.0 - share).collect();
        let value = positive.iter().sum::<f64>() / m;
        Ok(Self {
            value,
            positive,
            negative,
        })
    }

    /// DeLong's variance of the area; absent with fewer than two rows of either class.
    pub fn variance(&self) -> Option<f64> {
        variance_of(self.positive.iter().copied(), self.negative.iter().copied())
    }

    /// DeLong's variance of `self - other`, two areas on the same rows with the same labels (their covariance is in
    /// it); absent with fewer than two rows of either class.
    pub fn variance_of_difference(&self, other: &Self) -> Option<f64> {
        let apart = |one: &[f64], two: &[f64]| {
            one.iter()
                .zip(two)
                .map(|(a, b)| a - b)
                .collect::<Vec<f64>>()
        };
        let (positive, negative) = (
            apart(&self.positive, &other.positive),
            apart(&self.negative, &other.negative),
        );
        variance_of(positive.into_iter(), negative.into_iter())
    }
}

fn variance_of(
    positive: impl Iterator<Item = f64>,
    negative: impl Iterator<Item = f64>,
) -> Option<f64> {
    let part = |mean: Mean| Some(mean.variance()? / crate::float(mean.count));
    Some(part(positive.collect())? + part(negative.collect())?)
}

/// Ranks from 1, ties sharing the mean of theirs.
fn midranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    for tied in order
        .chunk_by(|a, b| (values[*a] - values[*b]) == 0.0)
        .scan(0, |before, tied| {
            let first = *before;
            *before += tied.len();
            Some((first, tied))
        })
    {
        let (first, tied) = tied;
        let rank = crate::float(first) + crate::float(tied.len() + 1) / 2.0;
        for row in tied {
            ranks[*row] = rank;
        }
    }
    ranks
}

#[cfg(test)]
#[allow(clippy::float_cmp)] // exact by construction
mod tests {
    use super::*;

    #[test]
    fn area_and_variance_by_hand() {
        // Positives 0.9, 0.4; negatives 0.4, 0.1. Pairs: 1, 1, 1/2, 1.
        let auc =
            RocAuc::new(&[true, false, true, false], &[0.9, 0.4, 0.4, 0.1]).expect("both classes");
        assert_eq!(auc.value, 0.875);
        assert_eq!(auc.positive, [1.0, 0.75]);
        assert_eq!(auc.negative, [0.75, 1.0]);
        // Variance of each pair is 1/32, over 2 rows each.
        assert_eq!(auc.variance(), Some(0.03125));
    }

    #[test]
    fn constant_scores_are_worth_a_half() {
        let auc = RocAuc::new(&[true, false, true, false, false], &[0.3; 5]).expect("both classes");
        assert_eq!((auc.value, auc.variance()), (0.5, Some(0.0)));
    }

    #[test]
    fn the_midranks_agree_with_the_definition_by_pairs() {
        let mut state = 5_u64;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            f64::from(u32::try_from(state >> 40).expect("24 bits") % 20) / 20.0
        };
        let scores: Vec<f64> = (0..80).map(|_| next()).collect();
        let labels: Vec<bool> = (0..80).map(|row| row % 3 == 0).collect();
        let (mut sum, mut pairs) = (0.0, 0.0);
        for (i, positive) in labels.iter().enumerate() {
            for (j, other) in labels.iter().enumerate() {
                if *positive && !*other {
                    pairs += 1.0;
                    sum += if scores[i] > scores[j] {
                        1.0
                    } else if scores[i] < scores[j] {
                        0.0
                    } else {
                        0.5
                    };
                }
            }
        }
        let auc = RocAuc::new(&labels, &scores).expect("both classes");
        assert!((auc.value - sum / pairs).abs() < 1e-14);
    }

    #[test]
    fn a_model_does_not_differ_from_itself() {
        let labels = [true, false, true, false, true];
        let auc = RocAuc::new(&labels, &[0.5, 0.6, 0.7, 0.1, 0.9]).expect("both classes");
        assert_eq!(auc.variance_of_difference(&auc), Some(0.0));
    }

    #[test]
    fn one_class_has_no_area() {
        assert_eq!(
            RocAuc::new(&[true, true], &[0.1, 0.2]),
            Err(StatisticsError::OneClass { rows: 2 })
        );
    }
}
