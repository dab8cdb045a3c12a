//! `TrainingJob`: code, data, hyperparameters and workers, and what 'good' means.

mod steps;

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::quantities::{where_decimal, where_duration};
use crate::{
    Address, Approval, Check, Decimal, Format, GoDuration, InputRecord, PodTemplate, Retention,
    Source, Storage, Tracking, TrackingStatus, Validation, Window, condition, is_true,
};

pub use steps::{Reuse, StepPhase, StepStatus, TrainingStep};

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
    printcolumn(name = "Fingerprint", type_ = "string", json_path = ".status.fingerprint", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message", priority = 1),
    validation = Rule::new("size(self.metadata.name) <= 52").message("metadata.name must have at most 52 characters: the names of its Jobs and Pods are made from it"),
    validation = Rule::new("!self.metadata.name.contains('.')").message("metadata.name must be without dots: the host names of its workers are made from it"),
    validation = Rule::new("has(self.spec.model) == has(oldSelf.spec.model) && (!has(self.spec.model) || self.spec.model == oldSelf.spec.model)").message("spec.model is immutable: make a new TrainingJob").field_path(".spec.model"),
    validation = Rule::new("has(self.spec.source) == has(oldSelf.spec.source) && (!has(self.spec.source) || self.spec.source == oldSelf.spec.source)").message("spec.source is immutable: make a new TrainingJob").field_path(".spec.source"),
    validation = Rule::new("has(self.spec.parameters) == has(oldSelf.spec.parameters) && (!has(self.spec.parameters) || self.spec.parameters == oldSelf.spec.parameters)").message("spec.parameters is immutable: make a new TrainingJob").field_path(".spec.parameters"),
    validation = Rule::new("has(self.spec.inputs) == has(oldSelf.spec.inputs) && (!has(self.spec.inputs) || self.spec.inputs == oldSelf.spec.inputs)").message("spec.inputs is immutable: make a new TrainingJob").field_path(".spec.inputs"),
    validation = Rule::new("has(self.spec.steps) == has(oldSelf.spec.steps) && (!has(self.spec.steps) || self.spec.steps == oldSelf.spec.steps)").message("spec.steps is immutable: make a new TrainingJob").field_path(".spec.steps"),
    validation = Rule::new("!has(self.spec.steps) || self.spec.steps.all(step, size(self.metadata.name) + size(step.name) <= 62)").message("metadata.name and the name of a step must have at most 62 characters together: the name of its Job is made from both").field_path(".spec.steps"),
    validation = Rule::new("has(self.spec.output) == has(oldSelf.spec.output) && (!has(self.spec.output) || self.spec.output == oldSelf.spec.output)").message("spec.output is immutable: make a new TrainingJob").field_path(".spec.output"),
    validation = Rule::new("has(self.spec.validation) == has(oldSelf.spec.validation) && (!has(self.spec.validation) || self.spec.validation == oldSelf.spec.validation)").message("spec.validation is immutable: make a new TrainingJob").field_path(".spec.validation"),
    validation = Rule::new("has(self.spec.window) == has(oldSelf.spec.window) && (!has(self.spec.window) || self.spec.window == oldSelf.spec.window)").message("spec.window is immutable: make a new TrainingJob").field_path(".spec.window"),
    validation = Rule::new("has(self.spec.checkpoint) == has(oldSelf.spec.checkpoint) && (!has(self.spec.checkpoint) || self.spec.checkpoint == oldSelf.spec.checkpoint)").message("spec.checkpoint is immutable: make a new TrainingJob").field_path(".spec.checkpoint"),
    validation = Rule::new("has(self.spec.author) == has(oldSelf.spec.author) && (!has(self.spec.author) || self.spec.author == oldSelf.spec.author)").message("spec.author is immutable: make a new TrainingJob").field_path(".spec.author"),
    validation = Rule::new("self.spec.approval == oldSelf.spec.approval").message("spec.approval is immutable: make a new TrainingJob").field_path(".spec.approval"),
    validation = Rule::new("has(self.spec.retention) == has(oldSelf.spec.retention) && (!has(self.spec.retention) || self.spec.retention == oldSelf.spec.retention)").message("spec.retention is immutable: make a new TrainingJob").field_path(".spec.retention"),
    validation = Rule::new("self.spec.managedBy == oldSelf.spec.managedBy").message("spec.managedBy is immutable: make a new TrainingJob").field_path(".spec.managedBy"),
    validation = Rule::new("self.spec.framework == oldSelf.spec.framework").message("spec.framework is immutable: make a new TrainingJob").field_path(".spec.framework"),
    validation = Rule::new("oldSelf.spec.suspend || self.spec.scheduling == oldSelf.spec.scheduling").message("spec.scheduling can be changed only while spec.suspend is true").field_path(".spec.scheduling"),
    validation = Rule::new("oldSelf.spec.suspend || self.spec.workers == oldSelf.spec.workers").message("spec.workers can be changed only while spec.suspend is true").field_path(".spec.workers")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.model) || has(self.output)").message("spec.output is required where spec.model is given: a model has to lie somewhere").field_path(".output"),
    validation = Rule::new("!has(self.validation) || has(self.model)").message("spec.model is required where spec.validation is given: what is judged is a ModelVersion").field_path(".model"),
    validation = Rule::new("!has(self.steps) || size(self.steps) == 0 || has(self.output)").message("spec.output is required where there are steps: what they write lies below it").field_path(".output"),
    validation = Rule::new("!has(self.steps) || !has(self.inputs) || !self.steps.exists(step, self.inputs.exists(input, input.name == step.name))").message("a step must not have the name of an input: both are read by their names").field_path(".steps"),
    validation = Rule::new("!has(self.steps) || self.steps.all(step, !has(step.inputs) || step.inputs.all(name, self.steps.exists(one, one.name == name) || (has(self.inputs) && self.inputs.exists(input, input.name == name))))").message("inputs of a step must be names of spec.inputs or of steps").field_path(".steps"),
    validation = Rule::new("!has(self.steps) || self.steps.all(step, !has(step.dependsOn) || step.dependsOn.all(name, self.steps.exists(one, one.name == name)))").message("dependsOn of a step must be names of steps").field_path(".steps"),
    validation = Rule::new("!has(self.workers.inputs) || self.workers.inputs.all(name, (has(self.steps) && self.steps.exists(one, one.name == name)) || (has(self.inputs) && self.inputs.exists(input, input.name == name)))").message("must be names of spec.inputs or of steps").field_path(".workers.inputs"),
    validation = Rule::new("self.reuse != 'IfUnchanged' || has(self.model)").message("spec.model is required where reuse is IfUnchanged: what is taken is a ModelVersion").field_path(".model"),
    validation = Rule::new("self.approval == 'Automatic' || has(self.model)").message("spec.model is required where approval is asked for: what is approved is a ModelVersion").field_path(".model"),
    validation = Rule::new("!has(self.retention) || has(self.model)").message("spec.model is required where spec.retention is given: what is kept is a ModelVersion").field_path(".model"),
    validation = Rule::new("self.approval != 'FourEyes' || has(self.author)").message("spec.author is required where approval is FourEyes: whoever it names may not approve the version").field_path(".author")
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
    /// Programs that run before the workers, such as those that extract, join or label data: each in a Job of its own, as soon as what it reads and waits for is there. Immutable.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_string()]))]
    pub steps: Vec<TrainingStep>,
    /// The span of data to train on, given to the trainer as `WINDLASS_WINDOW_START` and `_END`; a DriftMonitor fills it in. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// The rendezvous environment. `PyTorch`: MASTER_ADDR, MASTER_PORT, RANK, WORLD_SIZE, LOCAL_RANK, and the PET_ variables of torchrun. `JAX`: JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES, JAX_PROCESS_ID. `TensorFlow`: TF_CONFIG. `XGBoost`: DMLC_TRACKER_URI, DMLC_TRACKER_PORT, DMLC_TASK_ID, DMLC_NUM_WORKER; the worker of rank 0 runs the tracker. `Plain`: none. All have WINDLASS_RANK, WINDLASS_WORLD_SIZE, and WINDLASS_HOSTS where there is more than one worker. Immutable.
    #[serde(default)]
    pub framework: Framework,
    /// The gang. Can be changed only while the job is suspended.
    pub workers: Workers,
    /// How the gang is scheduled. Can be changed only while the job is suspended.
    #[serde(default)]
    pub scheduling: Scheduling,
    /// How often the whole gang may fail before the job does: 3 means four attempts.
    #[serde(default = "default_backoff_limit")]
    #[schemars(range(min = 0, max = 100))]
    pub backoff_limit: i32,
    /// What is done about a worker's end, by the exit code of a container. The first rule that fits decides; where none does, the attempt is repeated and counts against `backoffLimit`. What the cluster itself took away (preempted, drained, lost with its node) is always repeated and never counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub failure_rules: Vec<FailureRule>,
    /// Where the trainer's state is kept, so that the next attempt goes on from there. Without it, every attempt starts anew. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Checkpoint>,
    /// Where the model goes. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Output>,
    /// `Never`: the workers run. `IfUnchanged`: where a ModelVersion of the model was made from the same code, data and templates and is judged by the same `validation`, no worker is started and it is the result.
    #[serde(default)]
    pub reuse: Reuse,
    /// What makes the model good enough. Without it, the model is registered unjudged and never serves as `Latest`. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<Validation>,
    /// Who has to say that the model may serve, beside its validation: nobody (`Automatic`), a person who holds the verb `approve` on its ModelVersion (`Manual`), or such a person who is not `author` (`FourEyes`). Immutable.
    #[serde(default)]
    pub approval: Approval,
    /// Who makes this job: the name of the user who writes the manifest, as `kubectl auth whoami` tells it. The ModelVersion has it too. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub author: Option<String>,
    /// How long the model's ModelVersion is kept, which has it too. Without it, for ever. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
    /// Where this run is shown too, and the model's ModelVersion, which has it as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracking: Option<Tracking>,
    /// How `s3://` addresses are reached: the inputs and the output, and by the ModelVersion's validation, which gets the same. `pvc://` needs none. A change takes effect with the next attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
    /// What is done about GPUs that are held and not used. It takes effect where the operator was given a Prometheus that has DCGM's metrics; default there: reported, below 5 % for 30m.
    #[serde(rename = "idleGPUs", default, skip_serializing_if = "Option::is_none")]
    pub idle_gpus: Option<IdleGpus>,
    /// While true, no pod runs. Suspending a running job ends its pods; resuming starts a new attempt.
    #[serde(default)]
    pub suspend: bool,
    /// Who acts on this job: with anything but `windlass.dev/controller`, Windlass leaves it alone. Immutable.
    #[serde(default = "default_managed_by")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$')").message("must be a domain and a path, such as windlass.dev/controller"))]
    pub managed_by: String,
    /// Seconds that the job may take from its start, or from when it was last resumed, until it fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 31_536_000))]
    pub active_deadline_seconds: Option<i64>,
    /// Seconds after its end until the job is deleted. Without it, it stays. Its ModelVersion stays in any case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 31_536_000))]
    pub ttl_seconds_after_finished: Option<i64>,
}

fn default_backoff_limit() -> i32 {
    3
}

fn default_managed_by() -> String {
    MANAGED_BY_WINDLASS.to_owned()
}

/// `spec.managedBy` of a job that Windlass acts on.
pub const MANAGED_BY_WINDLASS: &str = "windlass.dev/controller";

/// What is done about a worker's end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailureRule {
    /// The exit codes that the rule is for, as a shell has them: that of an end by a signal is 128 and its number (137 for SIGKILL).
    #[schemars(length(min = 1, max = 255), inner(range(min = 1, max = 255)))]
    pub exit_codes: Vec<i32>,
    /// Name of the container that ended so. Default: the trainer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub container: Option<String>,
    /// `Fail`: the job fails at once. `Restart`: the gang is repeated and it counts against `backoffLimit`. `Ignore`: it is repeated and does not count.
    pub action: FailureAction,
}

/// What is done about a worker's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FailureAction {
    /// The job fails at once.
    Fail,
    /// The gang is repeated and it counts.
    Restart,
    /// The gang is repeated and it does not count.
    Ignore,
}

/// When GPUs count as idle, and what is done then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct IdleGpus {
    /// Percent: a GPU is idle whose utilisation was below this at every sample.
    #[serde(default = "default_idle_below")]
    #[x_kube(validation = Rule::new(where_decimal("double(self) > 0.0 && double(self) <= 100.0")).message("must lie above 0 and not above 100: it is percent, such as \"5\""))]
    pub below: Decimal,
    /// For how long without a break. An attempt that has not run for so long is not judged.
    #[serde(rename = "for", default = "default_idle_for")]
    #[x_kube(validation = Rule::new(where_duration("self", "(duration(self) >= duration('1m') && duration(self) <= duration('24h'))")).message("must lie between 1m and 24h"))]
    pub for_: GoDuration,
    /// `Report`: the condition `GPUsIdle` and an Event say so. `Restart`, `Fail`: once all GPUs of all workers are idle, the attempt is stopped as well, with its grace period, and the gang is repeated from its newest checkpoint, which counts against `backoffLimit`, or the job fails. Where it is not known of every GPU, nothing is stopped.
    #[serde(default)]
    pub action: IdleAction,
}

impl Default for IdleGpus {
    fn default() -> Self {
        Self {
            below: default_idle_below(),
            for_: default_idle_for(),
            action: IdleAction::default(),
        }
    }
}

fn default_idle_below() -> Decimal {
    "5".into()
}

fn default_idle_for() -> GoDuration {
    "30m".into()
}

/// What is done about GPUs that are held and not used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum IdleAction {
    /// It is said.
    #[default]
    Report,
    /// The gang is repeated and it counts.
    Restart,
    /// The job fails.
    Fail,
}

/// Where the trainer's state is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Checkpoint {
    /// A folder or prefix (`pvc://` or `s3://`); each job writes below it, to `<job>-<uid>/<attempt>/`.
    #[x_kube(validation = Rule::new("!self.startsWith('https://')").message("must be pvc:// or s3://: a checkpoint cannot be written to https://"))]
    pub uri: Address,
    /// How often what the trainer left in `WINDLASS_CHECKPOINTS` is taken there; at the end of an attempt that is stopped, it is taken once more.
    #[serde(default = "default_checkpoint_every")]
    #[x_kube(validation = Rule::new(where_duration("self", "duration(self) >= duration('1s')")).message("must be at least 1s"))]
    pub every: GoDuration,
    /// How many whole checkpoints are kept; older ones are taken away once a newer one is whole.
    #[serde(default = "default_checkpoint_keep")]
    #[schemars(range(min = 1, max = 100))]
    pub keep: i32,
}

fn default_checkpoint_every() -> GoDuration {
    "10m".into()
}

fn default_checkpoint_keep() -> i32 {
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
    /// What must hold of the data. They are run by a Job of their own before a worker is started, so that no GPU is held for data that is not fit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 200))]
    pub checks: Vec<Check>,
}

/// The rendezvous environment of a gang.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Framework {
    /// None.
    #[default]
    Plain,
    /// Of `torch.distributed` and `torchrun`.
    PyTorch,
    /// Of `jax.distributed`.
    #[serde(rename = "JAX")]
    Jax,
    /// Of `tf.distribute.MultiWorkerMirroredStrategy`.
    TensorFlow,
    /// Of XGBoost's tracker and collective.
    XGBoost,
}

/// The gang.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.minReplicas) || self.minReplicas <= self.replicas").message("minReplicas must not be above replicas").field_path(".minReplicas"),
    validation = Rule::new("!has(self.shrinkAfter) || has(self.minReplicas)").message("shrinkAfter is of a gang that may be smaller: minReplicas is required").field_path(".shrinkAfter")
)]
pub struct Workers {
    /// How many pods; the first, rank 0, uploads the output.
    #[serde(default = "default_replicas")]
    #[schemars(range(min = 1, max = 1000))]
    pub replicas: i32,
    /// The fewest pods that the training makes sense with. With it, an attempt is made smaller where not all find room, and a larger one follows from the newest checkpoint once there is room again. Each attempt has its own world size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub min_replicas: Option<i32>,
    /// How long an attempt may wait for room before a smaller one is made. Default: 5m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(where_duration("self", "duration(self) >= duration('1s')")).message("must be at least 1s"))]
    pub shrink_after: Option<GoDuration>,
    /// What the trainer reads: names of inputs and of steps. Default: all that no step reads, which without steps is every input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), inner(length(max = 40)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub inputs: Option<Vec<String>>,
    /// The pod. Its first container is the trainer and must have a `command`, since the agent runs it.
    pub template: PodTemplate,
}

fn default_replicas() -> i32 {
    1
}

/// How a gang is scheduled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.queueName) || !(self.gang in ['None', 'PodGroup'])").message("queueName needs a scheduler with queues: gang must be Auto, Kueue, KAI or Volcano").field_path(".queueName"),
    validation = Rule::new("self.gang != 'Kueue' || has(self.queueName)").message("queueName is required where gang is Kueue").field_path(".queueName"),
    validation = Rule::new("!has(self.topology) || self.gang != 'Volcano'").message("must not be given where gang is Volcano, which packs within tiers of its HyperNodes and not within a node label: gang must be Auto, PodGroup, Kueue, KAI or None").field_path(".topology"),
    validation = Rule::new("!has(self.topology) || self.gang != 'KAI' || has(self.topology.name)").message("topology.name is required where gang is KAI: the Topology that has packWithin as a level").field_path(".topology")
)]
pub struct Scheduling {
    /// Who schedules all pods or none. `Auto`: the queue's scheduler where `queueName` is given (Kueue, else KAI, else Volcano), else for more than one worker what the cluster has, Kubernetes' own first. `PodGroup` (Kubernetes' own), `Kueue`, `KAI`, `Volcano`: this one, or the job waits until it is there. `None`: pod by pod. Says what it is in `status.scheduling`.
    #[serde(default)]
    pub gang: GangMode,
    /// The queue that the job draws its resources from: a LocalQueue of Kueue's, or a queue of KAI's or Volcano's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')").message("must be a DNS name: lower-case letters, digits, '-' and '.', starting and ending with a letter or a digit"))]
    pub queue_name: Option<String>,
    /// The PriorityClass of the workers, where their template names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,
    /// Workers near each other: all of them on nodes that have the same value of a label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topology: Option<Topology>,
}

/// Workers near each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Topology {
    /// The node label whose values are the domains that workers are packed within, such as `topology.kubernetes.io/zone` or the label of racks. In a queue of Kueue's it has to be a level of the flavor's Topology.
    #[schemars(length(min = 1, max = 316))]
    #[x_kube(validation = Rule::new("self.matches('^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$')").message("must be a label's name, such as topology.kubernetes.io/zone"))]
    pub pack_within: String,
    /// `Required`: all workers in one domain, or none starts. `Preferred`: in one domain where that can be, else where there is room.
    #[serde(default)]
    pub mode: PackMode,
    /// Name of KAI's Topology that has the label as a level: required where KAI schedules the gang, of no use elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')").message("must be a DNS name: lower-case letters, digits, '-' and '.', starting and ending with a letter or a digit"))]
    pub name: Option<String>,
}

/// What is done where not all workers fit into one domain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PackMode {
    /// They wait.
    #[default]
    Required,
    /// They start where there is room.
    Preferred,
}

/// Who schedules a gang whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum GangMode {
    /// What there is.
    #[default]
    Auto,
    /// Nobody.
    None,
    /// Kubernetes' own.
    PodGroup,
    /// Kueue.
    Kueue,
    /// The KAI Scheduler.
    #[serde(rename = "KAI")]
    Kai,
    /// Volcano.
    Volcano,
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
    /// Ready, Reconciling, Stalled, Suspended, Complete, Failed; GPUsIdle while an attempt runs whose GPUs are measured; Published once it has ended without a version, where `spec.tracking` asks for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The attempt of the gang that runs or ran last, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<i32>,
    /// Attempts of the gang that failed and count against `backoffLimit`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failures: i32,
    /// The attempts, newest last; at most ten. The one that runs has no end yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub attempts: Vec<Attempt>,
    /// Seconds of GPUs that all attempts that ended held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_seconds: Option<i64>,
    /// When the first attempt started, or the one after the last resume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Timestamp>,
    /// When the job ended, well or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Timestamp>,
    /// The inputs as they were when their checks held, by digest; the workers read no other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub inputs: Vec<InputRecord>,
    /// The steps, in the order of the spec. One that is Complete or Reused is not run again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub steps: Vec<StepStatus>,
    /// Digest over source, parameters, input addresses, window, images and templates; once the job is complete, over the digests of inputs and images as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// The agent's image that the job was started with; an upgrade of the operator does not change it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_image: Option<String>,
    /// How the gang is scheduled, and why so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduling: Option<SchedulingStatus>,
    /// What the workers wait for that find no node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
    /// How far the trainer of the first worker says that it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// How many GPUs of the attempt that runs are idle, while some are.
    #[serde(rename = "idleGPUs", default, skip_serializing_if = "Option::is_none")]
    pub idle_gpus: Option<IdleGpusStatus>,
    /// What is shown of the run where `spec.tracking` says, if it made no version; another is shown with its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracking: Option<TrackingStatus>,
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
    /// `PodGroup` (Kubernetes' own, scheduling.k8s.io), `Kueue`, `KAI`, `Volcano`, or `None`.
    pub gang: String,
    /// Why.
    pub reason: String,
}

/// What workers wait for that find no node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Waiting {
    /// Since when.
    pub since: Timestamp,
    /// When the message was written; it is renewed at most once a minute.
    pub observed: Timestamp,
    /// How many wait, for what, and what the scheduler says.
    pub message: String,
}

/// How many GPUs of an attempt are idle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IdleGpusStatus {
    /// When this was so; while some and not all are idle, it is renewed at most once in ten minutes.
    pub observed: Timestamp,
    /// GPUs that are idle.
    pub idle: i64,
    /// GPUs that the workers hold.
    pub held: i64,
}

/// How far a training is, in the words of its trainer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// When this was so; it is renewed at most once a minute.
    pub observed: Timestamp,
    /// Steps that are done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<i64>,
    /// Steps that there are to do in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<i64>,
    /// Epochs that are done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<i64>,
    /// Epochs that there are to do in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epochs: Option<i64>,
    /// What is left at the speed of this attempt so far, seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<i64>,
    /// The newest metrics, by name; at most twenty.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 20))]
    pub metrics: BTreeMap<String, Decimal>,
    /// The newest checkpoint of this attempt that is whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
    /// When it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint_time: Option<Timestamp>,
}

impl TrainingJobStatus {
    /// Whether the job has ended, well or not.
    pub fn is_finished(&self) -> bool {
        is_true(&self.conditions, condition::COMPLETE)
            || is_true(&self.conditions, condition::FAILED)
    }

    /// The attempt that has not ended; none where the job has.
    pub fn attempt_under_way(&self) -> Option<&Attempt> {
        let last = self.attempts.last()?;
        (last.ended.is_none() && self.completion_time.is_none()).then_some(last)
    }
}

/// An attempt of the gang.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// Its number, from 1.
    pub number: i32,
    /// When its Job was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// When its queue let it start, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admitted: Option<Timestamp>,
    /// When the last of its workers was started; known once it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<Timestamp>,
    /// When it ended; absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// How many workers it had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<i32>,
    /// GPUs that each of its workers was made with, a slice as one; where shares of one are asked for, the share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpus_per_worker: Option<Decimal>,
    /// How it ended, in one word: `Succeeded`, `Disrupted`, `Suspended`, `NoRoom` (a smaller one follows), `Grown` (a larger one follows), `GPUsIdle` (it was stopped, as `spec.idleGPUs` says), or why it failed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// How it ended, for a person.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The trainer's exit code, where it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The worker that failed or was taken away first, by its rank.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<i32>,
    /// The node that this worker was on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The last lines that this worker printed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub log_tail: String,
    /// The checkpoint that it went on from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed_from: Option<String>,
    /// Whether a rule of `failureRules` lets it not count against `backoffLimit`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ignored: bool,
    /// Seconds of GPUs that its workers held, each from when it was given its node to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_seconds: Option<i64>,
}
