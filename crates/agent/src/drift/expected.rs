//! Performance without labels: what a model's own scores let one expect of it.

use windlass_api::agent::Scores;
use windlass_statistics::drift::expected::{Bin, Expected as OfScores, ExpectedMetric};

use super::results::Expected;
use super::sides::{Held, Side};
use crate::profile::PREDICTION;

/// What is told of.
const METRICS: [(ExpectedMetric, &str); 5] = [
    (ExpectedMetric::Accuracy, "accuracy"),
    (ExpectedMetric::Precision, "precision"),
    (ExpectedMetric::Recall, "recall"),
    (ExpectedMetric::F1, "f1"),
    (ExpectedMetric::RocAuc, "rocAuc"),
];

/// Each metric that is defined, by what scores meant in the reference.
pub fn expected(scores: Option<&Scores>, window: &Side, confidence: f64) -> Vec<Expected> {
    let Some(scores) = scores else {
        return Vec::new();
    };
    let Some(Held::Number { ranks, .. }) = window.column(PREDICTION).map(|column| &column.held)
    else {
        return Vec::new();
    };
    let of_window = ranks.counts(&scores.edges);
    let of = |window: &[u64]| {
        let known = scores.rows.iter().zip(&scores.positives).zip(window);
        let bins: Vec<Bin> = known
            .map(|((reference, positives), window)| Bin {
                reference: *reference,
                positives: *positives,
                window: *window,
            })
            .collect();
        let threshold = usize::try_from(scores.threshold).unwrap_or(usize::MAX);
        OfScores::new(&bins, threshold)
    };
    let (Some(new), Some(old)) = (of(&of_window), of(&scores.rows)) else {
        return Vec::new();
    };
    let metrics = METRICS.into_iter().filter_map(|(metric, name)| {
        let estimate = new.estimate(metric, confidence)?;
        let interval = estimate.interval?;
        Some(Expected {
            metric: name.to_owned(),
            value: estimate.value,
            interval: [interval.lower, interval.upper],
            reference: old.estimate(metric, confidence).map(|known| known.value),
            uncovered: new.uncovered(),
        })
    });
    metrics.collect()
}
