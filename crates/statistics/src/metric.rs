//! Metrics of a model's answers against labels, each with its interval.
//!
//! Classification metrics take labels 0 and 1 and predictions that are the probability of 1; those that need a class
//! (accuracy, precision, recall, F1) take it at [`THRESHOLD`]. Precision, recall and F1 are those of class 1.
//!
//! Every interval assumes that rows are independent: where one user or one hour has many rows, it is too narrow.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::auc::RocAuc;
use crate::mean::Mean;
use crate::proportion::Proportion;
use crate::{Interval, StatisticsError};

/// A prediction of at least this is class 1.
pub const THRESHOLD: f64 = 0.5;

/// A metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Metric {
    /// The share of rows whose class is right. Interval: Wilson (1927).
    Accuracy,
    /// TP / (TP + FP). Interval: Wilson (1927), on the rows that were answered with class 1.
    Precision,
    /// TP / (TP + FN). Interval: Wilson (1927), on the rows of class 1.
    Recall,
    /// 2 TP / (2 TP + FP + FN), van Rijsbergen (1979). Interval: Wilson's for J = TP / (TP + FP + FN), a proportion
    /// of the rows that are not true negatives, through F1 = 2J / (1 + J) (Hand, Christen & Kirielle 2021, eq. 4).
    F1,
    /// Area under the ROC curve. Interval: value ± z · s with DeLong's (1988) variance, cut to [0, 1].
    RocAuc,
    /// Mean of -ln p(label), nats; p is kept 2.2e-16 away from 0 and 1, as scikit-learn does. Interval: of a mean.
    LogLoss,
    /// Mean of (prediction - label)², Brier (1950), for two classes in [0, 1]. Interval: of a mean.
    Brier,
    /// Root of the mean of (prediction - label)², in the label's unit. Interval: the root of the mean's.
    Rmse,
    /// Mean of |prediction - label|, in the label's unit. Interval: of a mean.
    Mae,
}

/// A value and how well it is known.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The value on the rows.
    pub value: f64,
    /// Its confidence interval; absent when there are too few rows for one.
    pub interval: Option<Interval>,
}

impl Metric {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Accuracy,
        Self::Precision,
        Self::Recall,
        Self::F1,
        Self::RocAuc,
        Self::LogLoss,
        Self::Brier,
        Self::Rmse,
        Self::Mae,
    ];

    /// Its name in manifests and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::Precision => "precision",
            Self::Recall => "recall",
            Self::F1 => "f1",
            Self::RocAuc => "rocAuc",
            Self::LogLoss => "logLoss",
            Self::Brier => "brier",
            Self::Rmse => "rmse",
            Self::Mae => "mae",
        }
    }

    /// Whether a larger value is a better one.
    pub fn is_higher_better(self) -> bool {
        match self {
            Self::Accuracy | Self::Precision | Self::Recall | Self::F1 | Self::RocAuc => true,
            Self::LogLoss | Self::Brier | Self::Rmse | Self::Mae => false,
        }
    }

    /// The metric on rows, with its interval at `confidence`.
    ///
    /// # Errors
    /// A [`StatisticsError`] that says why there is no value: which row, which class is not there.
    pub fn estimate(
        self,
        labels: &[f64],
        predictions: &[f64],
        confidence: f64,
    ) -> Result<Estimate, StatisticsError> {
        self.check(labels, predictions)?;
        let of_proportion = |proportion: Proportion, what| {
            let value = proportion
                .value()
                .ok_or(StatisticsError::Undefined { what })?;
            Ok(Estimate {
                value,
                interval: Some(proportion.wilson(confidence)),
            })
        };
        let of_mean = |mean: Mean| Estimate {
            value: mean.value().unwrap_or_default(),
            interval: mean
                .interval(confidence)
                .map(|interval| interval.clamped(0.0, f64::INFINITY)),
        };
        let counts = || Confusion::new(labels, predictions);
        Ok(match self {
            Self::Accuracy => of_proportion(counts().accuracy(), "there are no rows")?,
            Self::Precision => of_proportion(counts().precision(), NO_POSITIVE_ANSWER)?,
            Self::Recall => of_proportion(counts().recall(), NO_POSITIVE_LABEL)?,
            Self::F1 => {
                let jaccard = of_proportion(counts().jaccard(), NO_POSITIVE)?;
                let f1 = |j: f64| 2.0 * j / (1.0 + j);
                Estimate {
                    value: f1(jaccard.value),
                    interval: jaccard.interval.map(|interval| interval.map(f1)),
                }
            }
            Self::RocAuc => {
                let area = RocAuc::new(&classes(labels), predictions)?;
                let interval = area.variance().map(|variance| {
                    Interval::of_normal(area.value, variance.sqrt(), confidence).clamped(0.0, 1.0)
                });
                Estimate {
                    value: area.value,
                    interval,
                }
            }
            Self::LogLoss | Self::Brier | Self::Mae => {
                of_mean(self.losses(labels, predictions).collect())
            }
            Self::Rmse => {
                let squares = of_mean(self.losses(labels, predictions).collect());
                let interval = squares.interval.map(|interval| interval.map(f64::sqrt));
                Estimate {
                    value: squares.value.sqrt(),
                    interval,
                }
            }
        })
    }

    /// What each row adds to the mean that the metric is (for RMSE: the squared error); for accuracy, 1 where right.
    pub(crate) fn losses<'a>(
        self,
        labels: &'a [f64],
        predictions: &'a [f64],
    ) -> impl Iterator<Item = f64> + 'a {
        labels
            .iter()
            .zip(predictions)
            .map(move |(&label, &prediction)| match self {
                Self::LogLoss => log_loss(label, prediction),
                Self::Brier | Self::Rmse => (prediction - label).powi(2),
                Self::Mae => (prediction - label).abs(),
                Self::Accuracy | Self::Precision | Self::Recall | Self::F1 | Self::RocAuc => {
                    f64::from(u8::from(is_one(label) == is_one(prediction)))
                }
            })
    }

    /// Whether these rows are what the metric is defined on.
    pub(crate) fn check(self, labels: &[f64], predictions: &[f64]) -> Result<(), StatisticsError> {
        if labels.len() != predictions.len() {
            return Err(StatisticsError::Length {
                labels: labels.len(),
                predictions: predictions.len(),
            });
        }
        if labels.is_empty() {
            return Err(StatisticsError::Empty);
        }
        let is_regression = matches!(self, Self::Rmse | Self::Mae);
        let is_label = |label: &f64| {
            if is_regression {
                label.is_finite()
            } else {
                [0.0, 1.0].contains(label)
            }
        };
        if let Some(row) = labels.iter().position(|label| !is_label(label)) {
            let accepted = if is_regression {
                "a finite number"
            } else {
                "0 or 1"
            };
            return Err(StatisticsError::Label { row, accepted });
        }
        let needs_probability = matches!(self, Self::LogLoss | Self::Brier);
        let is_prediction =
            |value: &f64| value.is_finite() && (!needs_probability || (0.0..=1.0).contains(value));
        if let Some(row) = predictions.iter().position(|value| !is_prediction(value)) {
            let accepted = if needs_probability {
                "a probability in [0, 1]"
            } else {
                "a finite number"
            };
            return Err(StatisticsError::Prediction { row, accepted });
        }
        Ok(())
    }
}

impl FromStr for Metric {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|metric| metric.name() == text)
            .ok_or_else(|| {
                let names: Vec<&str> = Self::ALL.iter().map(|metric| metric.name()).collect();
                format!(
                    "'{text}' is not a metric; accepted are {}",
                    names.join(", ")
                )
            })
    }
}

pub(crate) const NO_POSITIVE_ANSWER: &str = "no row was answered with class 1";
pub(crate) const NO_POSITIVE_LABEL: &str = "no row has the label 1";
pub(crate) const NO_POSITIVE: &str = "no row has class 1, as label or as answer";

fn log_loss(label: f64, prediction: f64) -> f64 {
    let p = prediction.clamp(f64::EPSILON, 1.0 - f64::EPSILON);
    if is_one(label) {
        -p.ln()
    } else {
        -(-p).ln_1p()
    }
}

pub(crate) fn is_one(value: f64) -> bool {
    value >= THRESHOLD
}

pub(crate) fn classes(labels: &[f64]) -> Vec<bool> {
    labels.iter().map(|label| is_one(*label)).collect()
}

/// Counts of rows by label and answer at [`THRESHOLD`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Confusion {
    /// Label 1, answer 1.
    pub true_positives: u64,
    /// Label 0, answer 1.
    pub false_positives: u64,
    /// Label 1, answer 0.
    pub false_negatives: u64,
    /// Label 0, answer 0.
    pub true_negatives: u64,
}

impl Confusion {
    /// Counts labels and predictions of one length.
    pub fn new(labels: &[f64], predictions: &[f64]) -> Self {
        let mut counts = Self::default();
        for (label, prediction) in labels.iter().zip(predictions) {
            match (is_one(*label), is_one(*prediction)) {
                (true, true) => counts.true_positives += 1,
                (false, true) => counts.false_positives += 1,
                (true, false) => counts.false_negatives += 1,
                (false, false) => counts.true_negatives += 1,
            }
        }
        counts
    }

    /// Right among all.
    pub fn accuracy(self) -> Proportion {
        let successes = self.true_positives + self.true_negatives;
        Proportion {
            successes,
            trials: successes + self.false_positives + self.false_negatives,
        }
    }

    /// Right among those answered with 1.
    pub fn precision(self) -> Proportion {
        Proportion {
            successes: self.true_positives,
            trials: self.true_positives + self.false_positives,
        }
    }

    /// Right among those of label 1.
    pub fn recall(self) -> Proportion {
        Proportion {
            successes: self.true_positives,
            trials: self.true_positives + self.false_negatives,
        }
    }

    /// Right among those of class 1 by label or by answer (Jaccard 1901).
    pub fn jaccard(self) -> Proportion {
        let trials = self.true_positives + self.false_positives + self.false_negatives;
        Proportion {
            successes: self.true_positives,
            trials,
        }
    }
}
