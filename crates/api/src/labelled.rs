//! Labels of predictions that come while a `ModelDeployment` rolls: what a user says of them, and what a status has of them.

use jiff::Timestamp;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::driftmonitor::default_join;
use crate::shared::default_format;
use crate::{Address, Compared, Counted, Format, GoDuration};

/// Where the true answers to predictions lie.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PredictionLabels {
    /// A folder of files; new ones may come at any time.
    pub uri: Address,
    /// How they are stored: `CSV` (with a header line), `Parquet`, or `JSON` (an object a line).
    #[serde(default = "default_format")]
    pub format: Format,
    /// Name of the column with the true answer: a class as the model answers it, by its name or its number; 0 or 1 where it answers with the probability of 1.
    #[schemars(length(min = 1, max = 128))]
    pub column: String,
    /// Name of the column with the request's id, as the payload log has it.
    #[serde(default = "default_join")]
    #[schemars(length(min = 1, max = 128))]
    pub join_on: String,
    /// How long after a prediction its label has come, if it comes at all: a prediction is counted once it is that old. Without it each is counted as soon as it has a label, which holds only where how late a label is does not hang on what it says or on what was predicted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mature_after: Option<GoDuration>,
    /// How many of the canary's predictions must have a label before a step passes. Labels that are late extend a step; they never pass one.
    #[serde(default = "default_min_samples")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub min_samples: i64,
}

fn default_min_samples() -> i64 {
    100
}

/// What labels said of both versions' predictions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LabelledSeen {
    /// What they are asked, by a digest: of other versions, another limit or other labels, it begins anew.
    pub question: String,
    /// How often they were read; the Jobs that do are numbered by it.
    #[serde(default)]
    pub looks: i32,
    /// When they were read last, or were to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looked: Option<Timestamp>,
    /// How often in a row they could not be read: the pause before the next time grows with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failures: Option<i32>,
    /// Why they could not be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// How many labels there were, of whatever predictions.
    #[serde(default)]
    pub labels: i64,
    /// How many predictions of the canary there were, with a label or without.
    #[serde(default)]
    pub predictions: i64,
    /// Labelled predictions and those of them that are wrong, over the whole roll-out.
    pub compared: Compared,
    /// What of it was counted of the predictions of each step: of one step, those of both versions are of the same age.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spans: Vec<LabelledSpan>,
}

/// Predictions that were made from one time on, until those of the next span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LabelledSpan {
    /// From when on.
    pub start: Timestamp,
    /// The canary's.
    pub canary: Counted,
    /// The stable version's.
    pub stable: Counted,
}
