//! `TrainingJob`: code, data, hyperparameters and workers, and what 'good' means.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Address, Format, PodTemplate, Source, Storage, Validation, Window};

/// What a user says of a training run.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "windlass.dev", version = "v1alpha1", kind = "TrainingJob", plural = "trainingjobs",
    shortname = "tj", category = "ml", namespaced, status = "TrainingJobStatus", derive = "PartialEq",
    doc = "A training run: a gang of workers that is started whole, fails whole and is repeated whole, and ends in a ModelVersion.",
    printcolumn(name = "Model", type_ = "string", json_path = ".spec.model"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Attempt", type_ = "integer", json_path = ".status.attempt"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.modelVersion"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message", priority = 1),
    validation = Rule::new("size(self.metadata.name) <= 52").message("metadata.name must have at most 52 characters: the names of its Jobs and Pods are made from it"),
    validation = Rule::new("has(self.spec.model) == has(oldSelf.spec.model) && (!has(self.spec.model) || self.spec.model == oldSelf.spec.model)").message("spec.model is immutable: make a new TrainingJob").field_path(".spec.model"),
    validation = Rule::new("has(self.spec.source) == has(oldSelf.spec.source) && (!has(self.spec.source) || self.spec.source == oldSelf.spec.source)").message("spec.source is immutable: make a new TrainingJob").field_path(".spec.source"),
    validation = Rule::new("has(self.spec.parameters) == has(oldSelf.spec.parameters) && (!has(self.spec.parameters) || self.spec.parameters == oldSelf.spec.parameters)").message("spec.parameters is immutable: make a new TrainingJob").field_path(".spec.parameters"),
    validation = Rule::new("has(self.spec.inputs) == has(oldSelf.spec.inputs) && (!has(self.spec.inputs) || self.spec.inputs == oldSelf.spec.inputs)").message("spec.inputs is immutable: make a new TrainingJob").field_path(".spec.inputs"),
    validation = Rule::new("has(self.spec.output) == has(oldSelf.spec.output) && (!has(self.spec.output) || self.spec.output == oldSelf.spec.output)").message("spec.output is immutable: make a new TrainingJob").field_path(".spec.output"),
    validation = Rule::new("has(self.spec.validation) == has(oldSelf.spec.validation) && (!has(self.spec.validation) || self.spec.validation == oldSelf.spec.validation)").message("spec.validation is immutable: make a new TrainingJob").field_path(".spec.validation"),
    validation = Rule::new("has(self.spec.window) == has(oldSelf.spec.window) && (!has(self.spec.window) || self.spec.window == oldSelf.spec.window)").message("spec.window is immutable: make a new TrainingJob").field_path(".spec.window"),
    validation = Rule::new("self.spec.framework == oldSelf.spec.framework").message("spec.framework is immutable: make a new TrainingJob").field_path(".spec.framework"),
    validation = Rule::new("oldSelf.spec.suspend || self.spec.workers == oldSelf.spec.workers").message("spec.workers can be changed only while spec.suspend is true").field_path(".spec.workers")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.model) || has(self.output)").message("spec.output is required where spec.model is given: a model has to lie somewhere").field_path(".output"),
    validation = Rule::new("!has(self.validation) || has(self.model)").message("spec.model is required where spec.validation is given: what is judged is a ModelVersion").field_path(".model")
)]
pub struct TrainingJobSpec {
    /// Name of the model. On success a ModelVersion `<model>-<n>` is made. Without it, the job only runs. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message("must be a DNS label: lower-case letters, digits and '-', starting with a letter"))]
    pub model: Option<String>,
    /// The code: recorded, and part of the fingerprint. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// Hyperparameters: recorded, part of the fingerprint, and given to the trainer as `WINDLASS_PARAMETER_<NAME>`. Immutable.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 100))]
    #[x_kube(validation = Rule::new("self.all(key, key.matches('^[A-Za-z_][A-Za-z0-9_]*$') && size(key) <= 63)").message("names of parameters must be letters, digits and '_', not starting with a digit, at most 63 characters"))]
    #[x_kube(validation = Rule::new("self.all(key, size(self[key]) <= 1024)").message("a parameter's value must have at most 1024 characters"))]
    pub parameters: BTreeMap<String, String>,
    /// The data. Each is digested, mounted read-only or fetched, and given to the trainer as a folder, `WINDLASS_INPUT_<NAME>`. Immutable.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_string()]))]
    pub inputs: Vec<Input>,
    /// The span of data to train on, given to the trainer as `WINDLASS_WINDOW_START` and `_END`; a DriftMonitor fills it in. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// The rendezvous environment: `PyTorch` (MASTER_ADDR, MASTER_PORT, RANK, WORLD_SIZE, and the PET_ variables of torchrun) or `Plain` (none). Immutable.
    #[serde(default)]
    pub framework: Framework,
    /// The gang. Can be changed only while the job is suspended.
    pub workers: Workers,
    /// How the gang is scheduled.
    #[serde(default)]
    pub scheduling: Scheduling,
    /// How often the whole gang may fail before the job does: 3 means four attempts.
    #[serde(default = "default_backoff_limit")]
    #[schemars(range(min = 0, max = 100))]
    pub backoff_limit: i32,
    /// Where the model goes. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Output>,
    /// What makes the model good enough. Without it, the model is registered unjudged and never serves as `Latest`. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<Validation>,
    /// How `s3://` addresses are reached: the inputs and the output, and by the ModelVersion's validation, which gets the same. `pvc://` needs none. A change takes effect with the next attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
    /// While true, no pod runs. Suspending a running job ends its pods; resuming starts a new attempt.
    #[serde(default)]
    pub suspend: bool,
    /// Seconds that the job may take from its start, or from when it was last resumed, until it fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 31_536_000))]
    pub active_deadline_seconds: Option<i64>,
    /// Seconds after its end until the job is deleted. Without it, it stays. Its ModelVersion always stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 31_536_000))]
    pub ttl_seconds_after_finished: Option<i64>,
}

fn default_backoff_limit() -> i32 {
    3
}

/// A data set that a training reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Input {
    /// Name of the input.
    #[schemars(length(max = 40))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message("must be a DNS label: lower-case letters, digits and '-', starting with a letter"))]
    pub name: String,
    /// Where it lies.
    pub uri: Address,
    /// How rows are stored: `CSV`, `Parquet` or `JSON`. Needed for checks only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// What must hold of the data before the trainer starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 200))]
    pub checks: Vec<Check>,
}

/// A test of data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Check {
    /// A column that must be there.
    #[schemars(length(min = 1, max = 128))]
    pub column: String,
}

/// The rendezvous environment of a gang.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Framework {
    /// None.
    #[default]
    Plain,
    /// Of `torch.distributed` and `torchrun`.
    PyTorch,
}

/// The gang.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
pub struct Workers {
    /// How many pods; the first, rank 0, uploads the output.
    #[serde(default = "default_replicas")]
    #[schemars(range(min = 1, max = 1000))]
    pub replicas: i32,
    /// The pod. Its first container is the trainer and must have a `command`, since the agent runs it.
    pub template: PodTemplate,
}

fn default_replicas() -> i32 {
    1
}

/// How a gang is scheduled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Scheduling {
    /// `Auto`: all pods or none, where the cluster has a gang scheduler and the gang has more than one pod. `None`: pod by pod.
    #[serde(default)]
    pub gang: GangMode,
}

/// Whether a gang is scheduled whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum GangMode {
    /// Where the cluster can.
    #[default]
    Auto,
    /// Never.
    None,
}

/// Where a model goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Output {
    /// A folder or prefix (`pvc://` or `s3://`); each run writes below it, to `<job>-<uid>/<attempt>/model/`.
    #[x_kube(validation = Rule::new("!self.startsWith('https://')").message("must be pvc:// or s3://: a model cannot be written to https://"))]
    pub uri: Address,
    /// The model's format, as the runtime presets name it: `LightGBM`, `ONNX`, ….
    #[schemars(length(min = 1, max = 63))]
    pub format: String,
}

/// What is so with a TrainingJob.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrainingJobStatus {
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// One word for people: Pending, Suspended, Running, Complete, Failed. No program should read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// Ready, Reconciling, Stalled, Suspended, Complete, Failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The attempt of the gang that runs or ran last, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<i32>,
    /// Attempts of the gang that failed and count against `backoffLimit`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failures: i32,
    /// The attempts that ended, newest last; at most ten.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
    /// When the first attempt started, or the one after the last resume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Timestamp>,
    /// When the job ended, well or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Timestamp>,
    /// Digest over source, parameters, input addresses, window, images and templates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// The agent's image that the job was started with; an upgrade of the operator does not change it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_image: Option<String>,
    /// How the gang is scheduled, and why so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduling: Option<SchedulingStatus>,
    /// The ModelVersion that was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_version: Option<String>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn is_zero(number: &i32) -> bool {
    *number == 0
}

/// How the gang is scheduled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SchedulingStatus {
    /// `PodGroup` (native, scheduling.k8s.io), or `None`.
    pub gang: String,
    /// Why.
    pub reason: String,
}

/// An attempt of the gang that ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// Its number, from 1.
    pub number: i32,
    /// When it ended.
    pub ended: Timestamp,
    /// Why, in one word.
    pub reason: String,
    /// Why, for a person.
    pub message: String,
    /// The trainer's exit code, where it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
}
