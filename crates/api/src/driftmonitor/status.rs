//! What is so with a DriftMonitor: its windows, and the trainings that it asked for.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Window;
use crate::agent::WindowVerdict;

/// What is so with a DriftMonitor.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DriftMonitorStatus {
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// One word for people: Waiting, Watching, Drifting, Drifted, Stalled. No program should read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// Ready, Reconciling, Stalled, Drifted, Retraining.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The ModelVersion whose baseline profile windows are compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The newest window's verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<WindowVerdict>,
    /// The newest windows, newest last; at most fifty. Of windows that were judged as the one before, the record stays with their Jobs for a while.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub windows: Vec<WindowStatus>,
    /// The windows that were passed over last, since too many had ended before one could be looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passed_over: Option<PassedOver>,
    /// The training that was asked for last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_trigger: Option<Trigger>,
    /// The trainings that were asked for and what came of them, newest last; at most twenty. What older ones used of the budget's period is counted with the oldest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub retrainings: Vec<Retraining>,
    /// That too many trainings in a row came to nothing; absent while the circuit was never open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub circuit: Option<Circuit>,
}

/// One window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WindowStatus {
    /// Start, inclusive.
    pub start: Timestamp,
    /// End, exclusive.
    pub end: Timestamp,
    /// The ModelVersion whose traffic it is, and whose baseline it was compared with.
    pub version: String,
    /// `Healthy`; `Drifting`: it drifted, and too few of the last windows did; `Drifted`: with it, as many as `spec.triggerWhen` asks for did, or the performance has fallen; `NotEnoughData`; `DataBroken`; `Failed`.
    pub verdict: WindowVerdict,
    /// Rows in it.
    pub rows: i64,
    /// Columns that drifted, the worst first; at most five.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drifted: Vec<String>,
    /// Whether the performance has fallen.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fallen: bool,
    /// Why the evaluation failed, in one word, where it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why, in words.
    pub message: String,
    /// Digest of the full results, which lie where `spec.reports` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

impl WindowStatus {
    /// Whether it drifted, alone or with others.
    pub fn has_drifted(&self) -> bool {
        matches!(
            self.verdict,
            WindowVerdict::Drifting | WindowVerdict::Drifted
        )
    }
}

/// Windows that nobody looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PassedOver {
    /// How many.
    pub windows: i64,
    /// End of the first of them.
    pub first: Timestamp,
    /// End of the last of them.
    pub last: Timestamp,
}

/// A training that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Trigger {
    /// Name of the TrainingJob.
    pub training_job: String,
    /// When it was asked for.
    pub time: Timestamp,
    /// The version that was found drifted.
    pub version: String,
    /// Why.
    pub message: String,
}

/// Why a training is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TriggerCause {
    /// What comes in, or what is answered, is distributed otherwise.
    #[default]
    Drift,
    /// The answers have become worse.
    PerformanceFallen,
}

/// A training that was asked for, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retraining {
    /// Name of the TrainingJob.
    pub training_job: String,
    /// When it was asked for.
    pub time: Timestamp,
    /// `Drift` or `PerformanceFallen`.
    pub cause: TriggerCause,
    /// The span of the windows that asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// Digest of the full results of the newest of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Seconds of GPUs that it used, once it has ended; before, what it may use where `spec.retrain.budget` bounds it.
    #[serde(default)]
    pub gpu_seconds: i64,
    /// When it ended; absent while it is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// The ModelVersion that it made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_version: Option<String>,
    /// What came of it, in one word: `Failed`, `Deleted`, `Rejected` (its version was not found good), `Denied`, `RolledBack`, `DriftedAgain` (its version served, drifted before it held, and another was trained for that), `Superseded` (another version serves), `Unjudged` (nothing judges its version), `Held` (its version serves, and holds). Absent until that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
}

/// What came of a training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Outcome {
    /// It failed.
    Failed,
    /// It was deleted before it ended.
    Deleted,
    /// Its version was not found good.
    Rejected,
    /// A person denied its version.
    Denied,
    /// Its version was taken back.
    RolledBack,
    /// Its version served, drifted before it held, and the version that serves now was trained for that.
    DriftedAgain,
    /// Another version serves.
    Superseded,
    /// Nothing judges its version.
    Unjudged,
    /// Its version serves, and holds.
    Held,
}

impl Outcome {
    /// In one word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "Failed",
            Self::Deleted => "Deleted",
            Self::Rejected => "Rejected",
            Self::Denied => "Denied",
            Self::RolledBack => "RolledBack",
            Self::DriftedAgain => "DriftedAgain",
            Self::Superseded => "Superseded",
            Self::Unjudged => "Unjudged",
            Self::Held => "Held",
        }
    }

    /// Whether the training came to nothing.
    pub fn is_reject(self) -> bool {
        match self {
            Self::Failed
            | Self::Rejected
            | Self::Denied
            | Self::RolledBack
            | Self::DriftedAgain => true,
            Self::Deleted | Self::Superseded | Self::Unjudged | Self::Held => false,
        }
    }
}

/// Whether trainings are asked for at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Circuit {
    /// Whether it is open: no training is asked for.
    pub open: bool,
    /// Since when it is open or closed.
    pub since: Timestamp,
    /// The training that came to nothing last, as it was opened; up to this one none counts once it is closed.
    pub training_job: String,
    /// Why it was opened, or who or what closed it.
    pub message: String,
}
