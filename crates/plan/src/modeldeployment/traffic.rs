//! What the proxies of one version have answered in a span of time.

use std::collections::BTreeMap;

use jiff::Timestamp;
use windlass_api::AnalysisMetric;
use windlass_statistics::proportion::Proportion;

/// The share of the stable version's requests that are slow.
const SLOW: f64 = 0.01;

/// What the proxies of one version have answered in a span of time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Traffic {
    /// Since when it was counted, where that is known.
    pub since: Option<Timestamp>,
    /// Requests answered.
    pub requests: u64,
    /// Of these, with an error.
    pub errors: u64,
    /// Upper bounds of the latency buckets, milliseconds.
    pub bounds_ms: Vec<f64>,
    /// Requests in each bucket; one longer than the bounds.
    pub counts: Vec<u64>,
    /// Streamed answers by the time until their first token, in the same buckets; none where no tokens are streamed.
    pub first_token: Vec<u64>,
    /// Streamed answers by the mean time of a token after the first.
    pub per_token: Vec<u64>,
    /// Predictions by bin; none where they are not counted.
    pub predictions: BTreeMap<i32, u64>,
    /// Of copies that were sent to the candidate: rows that could be compared.
    pub compared: u64,
    /// Of these, rows with the same answer.
    pub agreed: u64,
}

impl Traffic {
    /// Takes what another proxy of the same version has answered, or the same one later.
    pub fn merge(&mut self, other: &Self) {
        self.since = match (self.since, other.since) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        self.requests += other.requests;
        self.errors += other.errors;
        // Of proxies of two kinds the later one's buckets are kept.
        if !other.counts.is_empty() && self.bounds_ms != other.bounds_ms {
            self.bounds_ms.clone_from(&other.bounds_ms);
            for counts in [&mut self.counts, &mut self.first_token, &mut self.per_token] {
                counts.clear();
            }
        }
        add(&mut self.counts, &other.counts);
        add(&mut self.first_token, &other.first_token);
        add(&mut self.per_token, &other.per_token);
        for (bin, count) in &other.predictions {
            *self.predictions.entry(*bin).or_default() += count;
        }
        self.compared += other.compared;
        self.agreed += other.agreed;
    }

    /// Requests that failed.
    pub(super) fn failed(&self) -> Proportion {
        Proportion {
            // More of them failed than there were is of a proxy that answers while it counts.
            successes: self.errors.min(self.requests),
            trials: self.requests,
        }
    }

    /// The times that a metric is about; none of one that is not about time.
    pub(super) fn times(&self, metric: AnalysisMetric) -> Times {
        let counts = match metric {
            AnalysisMetric::LatencyP99 => &self.counts[..],
            AnalysisMetric::TimeToFirstToken => &self.first_token,
            AnalysisMetric::TimePerOutputToken => &self.per_token,
            AnalysisMetric::ErrorRate
            | AnalysisMetric::PredictionDrift
            | AnalysisMetric::Agreement
            | AnalysisMetric::LabelledErrorRate
            | AnalysisMetric::Prometheus => &[],
        };
        Times {
            bounds_ms: self.bounds_ms.clone(),
            counts: counts.to_vec(),
        }
    }
}

fn add(counts: &mut Vec<u64>, more: &[u64]) {
    if counts.len() < more.len() {
        counts.resize(more.len(), 0);
    }
    for (count, more) in counts.iter_mut().zip(more) {
        *count += more;
    }
}

/// Requests by how long something of them took.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Times {
    /// Upper bounds of the buckets, milliseconds.
    pub bounds_ms: Vec<f64>,
    /// Requests in each bucket; one longer than the bounds, or empty.
    pub counts: Vec<u64>,
}

impl Times {
    /// Takes what came later.
    pub fn merge(&mut self, other: &Self) {
        if !other.counts.is_empty() && self.bounds_ms != other.bounds_ms {
            self.bounds_ms.clone_from(&other.bounds_ms);
            self.counts.clear();
        }
        add(&mut self.counts, &other.counts);
    }

    /// All of them.
    pub fn all(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Those that took longer than this; of a bucket that lies across it none.
    pub fn slower_than(&self, limit_ms: f64) -> Proportion {
        // The lower bound of a bucket is the upper one of the bucket before.
        let lower = std::iter::once(&0.0).chain(&self.bounds_ms);
        let slow = lower
            .zip(&self.counts)
            .filter(|(lower, _)| **lower >= limit_ms);
        Proportion {
            successes: slow.map(|(_, count)| count).sum(),
            trials: self.all(),
        }
    }

    /// The upper bound of the bucket above which at most one in a hundred lies; none where that is the open one.
    pub fn slow_from(&self) -> Option<f64> {
        let all = self.all();
        let mut above = all;
        let mut buckets = self.bounds_ms.iter().zip(&self.counts);
        let found = buckets.find(|(_, count)| {
            above -= **count;
            all > 0 && float(above) <= SLOW * float(all)
        });
        found.map(|(bound, _)| *bound)
    }
}

#[allow(clippy::cast_precision_loss)] // counts of requests are far below 2^53
pub(super) fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_across_the_limit_is_not_slow() {
        let times = Times {
            bounds_ms: vec![3.0, 4.5, 100.0],
            counts: vec![1, 2, 4, 8],
        };
        for (limit, expected) in [
            (0.0, 15),
            (3.0, 14),
            (3.1, 12),
            (4.5, 12),
            (99.0, 8),
            (101.0, 0),
        ] {
            assert_eq!(times.slower_than(limit).successes, expected, "{limit} ms");
        }
    }

    #[test]
    fn what_proxies_counted_is_added_up_bucket_by_bucket_and_of_other_buckets_kept_apart() {
        let at = |second| Some(Timestamp::from_second(second).expect("a time"));
        let of = |bound, since| Traffic {
            since,
            requests: 3,
            bounds_ms: vec![bound],
            counts: vec![1, 2],
            first_token: vec![0, 2],
            ..Traffic::default()
        };
        let mut all = Traffic::default();
        all.merge(&of(1.0, at(9)));
        all.merge(&of(1.0, None));
        all.merge(&of(1.0, at(7)));
        assert_eq!((all.since, all.requests), (at(7), 9));
        assert_eq!(all.times(AnalysisMetric::LatencyP99).counts, [3, 6]);
        assert_eq!(all.times(AnalysisMetric::TimeToFirstToken).counts, [0, 6]);
        assert_eq!(all.times(AnalysisMetric::TimePerOutputToken).all(), 0);
        assert_eq!(all.times(AnalysisMetric::ErrorRate).all(), 0);
        all.merge(&of(2.0, None));
        assert_eq!((all.requests, all.counts), (12, vec![1, 2]));
    }
}
