//! What the operator and `windlass-agent` say to each other.
//!
//! ```text
//!   operator ── arguments, environment, mounted volumes ──> agent
//!   operator <── termination message (a Report, JSON) ───── agent run | check | digest | evaluate | drift | labels | fetch | delete | publish
//!   operator <── GET /observations (Observations, JSON) ─── agent proxy
//! ```
//!
//! A termination message holds at most [`MAX_REPORT_BYTES`]: a report carries digests, counts and the
//! address of the full report, never the full report.
//!
//! Absent on purpose: how any of it is computed (`crates/agent`, `crates/statistics`) and what is
//! decided on it (`crates/plan`).

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The kubelet cuts a termination message at 4,096 bytes, in a pod of up to three containers.
pub const MAX_REPORT_BYTES: usize = 4096;

/// The kubelet keeps this many bytes of the messages of all containers of a pod, init containers among them: each
/// message is cut at its even share (`pkg/kubelet/container`, `MaxPodTerminationMessageLogLength`).
pub const MAX_POD_REPORT_BYTES: usize = 12 * 1024;

/// Port on which an agent answers the operator: the proxy what it has seen, a trainer's agent how far it is.
pub const METRICS_PORT: u16 = 9464;

/// Exit codes of an agent whose failure a repetition cannot mend: of sysexits.h, for arguments (64), data (65) and what
/// is not there (66).
pub const EXIT_FOR_GOOD: [u8; 3] = [64, 65, 66];

/// Names of environment variables.
pub mod environment {
    /// Folder under which each claim is mounted by its name: `pvc://flights/labels` is `$WINDLASS_VOLUMES/flights/labels`.
    pub const VOLUMES: &str = "WINDLASS_VOLUMES";
    /// Prefix of the trainer's input folders: `WINDLASS_INPUT_<NAME>`, the name in upper case with `_` for any other character.
    pub const INPUT_PREFIX: &str = "WINDLASS_INPUT_";
    /// The folder that the trainer writes the model to.
    pub const OUTPUT: &str = "WINDLASS_OUTPUT";
    /// Path of a JSON file with all parameters (string to string).
    pub const PARAMETERS: &str = "WINDLASS_PARAMETERS";
    /// Prefix of the parameters, one variable each: `WINDLASS_PARAMETER_<NAME>` with the name as it was written.
    pub const PARAMETER_PREFIX: &str = "WINDLASS_PARAMETER_";
    /// Start of the window of data to train on, RFC 3339; empty when the job names none.
    pub const WINDOW_START: &str = "WINDLASS_WINDOW_START";
    /// End of the window of data to train on, RFC 3339; empty when the job names none.
    pub const WINDOW_END: &str = "WINDLASS_WINDOW_END";
    /// The folder that the trainer puts its checkpoints into, one file or folder each, by renaming it there.
    pub const CHECKPOINTS: &str = "WINDLASS_CHECKPOINTS";
    /// Path of the checkpoint to go on from, in [`CHECKPOINTS`]; empty when there is none.
    pub const RESUME_FROM: &str = "WINDLASS_RESUME_FROM";
    /// The worker's rank, from 0.
    pub const RANK: &str = "WINDLASS_RANK";
    /// How many workers there are.
    pub const WORLD_SIZE: &str = "WINDLASS_WORLD_SIZE";
    /// The host names of all workers, by rank, separated by commas.
    pub const HOSTS: &str = "WINDLASS_HOSTS";
    /// Path of the small JSON file through which a trainer may report (`step`, `epoch`, `metrics`).
    pub const PROGRESS: &str = "WINDLASS_PROGRESS";
    /// The attempt of the gang, from 1.
    pub const ATTEMPT: &str = "WINDLASS_ATTEMPT";
    /// Port that a model server listens on for HTTP. A preset's own variables refer to it as `$(WINDLASS_PORT)`.
    pub const PORT: &str = "WINDLASS_PORT";
    /// How many bytes a report may have, which depends on how many containers the pod has.
    pub const REPORT_BYTES: &str = "WINDLASS_REPORT_BYTES";
    /// A second port that is free for the model server (gRPC).
    pub const PORT_GRPC: &str = "WINDLASS_PORT_GRPC";
    /// A third port that is free for the model server (its own metrics).
    pub const PORT_METRICS: &str = "WINDLASS_PORT_METRICS";
    /// Folder with the model's files.
    pub const MODEL_DIRECTORY: &str = "WINDLASS_MODEL_DIRECTORY";
    /// The model's name, as in the inference protocol's address.
    pub const MODEL_NAME: &str = "WINDLASS_MODEL_NAME";
}

/// Paths inside the pods that the operator makes.
pub mod paths {
    /// Root of all that Windlass mounts.
    pub const ROOT: &str = "/windlass";
    /// Where `windlass-agent install` puts the agent.
    pub const BIN: &str = "/windlass/bin";
    /// Where claims are mounted, one folder a claim.
    pub const VOLUMES: &str = "/windlass/volumes";
    /// Work folder of `windlass-agent run`: `inputs/<name>`, `output`.
    pub const WORK: &str = "/windlass/work";
    /// Where the inputs are mounted that a node keeps by digest.
    pub const INPUT_CACHE: &str = "/windlass/cache";
    /// The model that is served or judged.
    pub const MODEL: &str = "/windlass/model";
    /// Where an image is mounted for the agent alone, which copies or digests what is in it.
    pub const IMAGE: &str = "/windlass/image";
    /// The champion that a candidate is compared with.
    pub const CHAMPION: &str = "/windlass/champion";
    /// Where what is shown of a version is mounted, a file of this name.
    pub const RECORD: &str = "/windlass/record";
    /// Where ConfigMaps with keys and certificates of signers are mounted, one folder a ConfigMap.
    pub const TRUST: &str = "/windlass/trust";
}

/// Name of the file in an artifact's root that describes the model's inputs, see [`Signature`].
pub const SIGNATURE_FILE: &str = "signature.json";

/// The last word of an agent, as JSON in the container's termination message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub enum Report {
    /// `windlass-agent run` ended well.
    Training(TrainingReport),
    /// `windlass-agent evaluate` came to a verdict.
    Evaluation(EvaluationReport),
    /// `windlass-agent drift` came to a verdict.
    Drift(DriftReport),
    /// `windlass-agent labels` has counted.
    Labels(LabelsReport),
    /// `windlass-agent fetch`, `profile` or `digest` ended well.
    Fetch(FetchReport),
    /// `windlass-agent check`: every check holds.
    Check(CheckReport),
    /// `windlass-agent delete`: nothing of it is left.
    Delete(DeleteReport),
    /// `windlass-agent publish`: MLflow shows the version as it is.
    Publish(PublishReport),
    /// The agent could not do what was asked.
    Failure(FailureReport),
}

/// Why an agent could not do what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureReason {
    /// The arguments make no sense.
    InvalidArguments,
    /// An input's address holds nothing, or may not be read.
    InputNotFound,
    /// The store of an input cannot be reached now, or does not answer as it should.
    InputUnreachable,
    /// An input is there but cannot be read in its format.
    InputUnreadable,
    /// An input or data set has no column of the name that was given.
    ColumnNotFound,
    /// A check of an input does not hold.
    CheckFailed,
    /// The checkpoint to go on from cannot be read now: its store cannot be reached or refuses.
    CheckpointUnreadable,
    /// What was fetched has not the digest that was recorded, or is not what was signed.
    DigestMismatch,
    /// A signature that is asked for is not there, is not good, or is of somebody else.
    SignatureInvalid,
    /// The trainer's program could not be started.
    TrainerNotStarted,
    /// The trainer ended with an exit code other than 0, or by a signal.
    TrainerFailed,
    /// The trainer ended well but wrote nothing into the output folder.
    OutputMissing,
    /// The output could not be uploaded.
    OutputNotWritten,
    /// What was to be deleted could not be.
    NotDeleted,
    /// The model server did not become ready in time.
    ServerNotReady,
    /// The model server answered a request with an error, or with what its protocol does not allow.
    ServerFailed,
    /// The label files cannot be read, or have not the columns they need.
    LabelsUnreadable,
    /// The held-out data set cannot be read.
    DatasetUnreadable,
    /// The reference profile cannot be read.
    ReferenceUnreadable,
    /// The tracking server cannot be reached, or cannot answer now: a repetition may mend it.
    TrackingUnreachable,
    /// The tracking server refuses what it is told, or is none: a repetition cannot mend it.
    TrackingRefused,
    /// The agent was told to stop.
    Interrupted,
    /// A fault of the agent's own.
    Internal,
}

/// A failure, for the person who reads the condition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailureReport {
    /// The class of the failure.
    pub reason: FailureReason,
    /// What, where, why, what to do; one or two sentences.
    pub message: String,
    /// Exit code of the trainer, where it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The last lines that the trainer printed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub log_tail: String,
    /// What this worker went on from, where it had started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed: Option<Resumed>,
}

/// The checkpoint that a worker went on from, and those that it could not use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resumed {
    /// Name of the checkpoint: `<attempt>/<sequence>-<name>`; absent when none was whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Newer ones that were passed over, each with why: `2/000004-step-300: model.pt has not the digest in its manifest`; at most three.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<String>,
}

/// What a tracking server shows of a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PublishReport {
    /// The server's id of the run.
    pub run_id: String,
    /// The server's own number of the registered version; absent for a training that made none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_version: Option<String>,
    /// How many requests wrote something; 0 when all of it was there.
    pub wrote: u64,
}

/// A tree of files and its digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tree {
    /// Where it lies.
    pub uri: String,
    /// `sha256:<hex>` over the sorted list of (path, size, SHA-256 of the content).
    pub digest: String,
    /// How many files.
    pub files: u64,
    /// Their sizes' sum, bytes.
    pub bytes: u64,
}

/// An input as it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputTree {
    /// The input's name.
    pub name: String,
    /// What was read.
    #[serde(flatten)]
    pub tree: Tree,
}

/// What a training produced.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrainingReport {
    /// What was read.
    pub inputs: Vec<InputTree>,
    /// What was written; absent when the job has no output or this worker is not the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Tree>,
    /// The metrics that the trainer itself reported, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, f64>,
    /// What this worker went on from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed: Option<Resumed>,
    /// What the first worker ran on: `architecture`, `kernel`, `cpus`, `agent`, `nvidiaDriver`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
}

/// How far a training is, at `GET /progress` on the metrics port of the first worker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// The attempt that it is of.
    pub attempt: u32,
    /// Steps that are done, as the trainer says.
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
    /// What is left at the speed so far, seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<i64>,
    /// The newest metrics, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, f64>,
    /// The newest checkpoint of this attempt that is whole, and when it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<(String, Timestamp)>,
    /// What this worker went on from, where it keeps checkpoints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed: Option<Resumed>,
}

/// What `check` read, all of whose checks hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckReport {
    /// The inputs as they were read.
    pub inputs: Vec<CheckedInput>,
    /// How many rules were checked.
    pub rules: u64,
}

/// An input that was checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckedInput {
    /// The input's name.
    pub name: String,
    /// What was read.
    #[serde(flatten)]
    pub tree: Tree,
    /// When the newest of its files was changed, by the clock of its store; absent for a single file.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "asOf")]
    pub as_of: Option<Timestamp>,
    /// Its rows, where it has a format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// The profile of its columns, where one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Tree>,
}

/// What `fetch` brought, `profile` made or `digest` read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FetchReport {
    /// The files.
    pub tree: Tree,
}

/// What `delete` took away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteReport {
    /// Of each address that was named, in order.
    pub deleted: Vec<Deleted>,
}

/// What was taken away at one address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deleted {
    /// The address.
    pub uri: String,
    /// How many files there were; none where it was gone already.
    pub files: u64,
    /// Their sizes' sum, bytes.
    pub bytes: u64,
}

/// A verdict of validation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum Verdict {
    /// Every gate holds.
    Pass,
    /// At least one gate does not hold.
    Fail,
    /// No gate is broken, but at least one could not be decided: too few rows or too wide an interval.
    Inconclusive,
}

/// One metric on one segment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricResult {
    /// Name of the metric, as in the manifest: `rocAuc`, `logLoss`.
    pub name: String,
    /// The segment's SQL predicate; absent for all rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<String>,
    /// Rows that it was computed on.
    pub rows: u64,
    /// The point estimate; absent when it is not defined on these rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// Bounds of its confidence interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<[f64; 2]>,
    /// The champion's value on the same rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub champion: Option<f64>,
    /// Whether its gates hold; absent when it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
}

/// What an evaluation found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EvaluationReport {
    /// The verdict over all gates.
    pub verdict: Verdict,
    /// Why, in one or two sentences: which gate on which segment, by how much, or what is lacking.
    pub message: String,
    /// Rows that were judged.
    pub rows: u64,
    /// Overall metrics first, then by segment; cut to what fits, the full list is in `report`.
    pub metrics: Vec<MetricResult>,
    /// Version of the champion that was compared with, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub champion: Option<String>,
    /// The full report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Tree>,
    /// The baseline profile of features and predictions on the judged rows, see [`Profile`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Tree>,
}

/// A verdict on one window of traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum WindowVerdict {
    /// Enough rows, and not as much drifted as it takes: no column, or a smaller share of them.
    Healthy,
    /// As Drifted, and too few of the last windows were so. Only the operator says this: an agent sees one window.
    Drifting,
    /// The share of drifted columns, the predictions or the performance passed what is allowed.
    Drifted,
    /// Too few rows to say.
    NotEnoughData,
    /// The rows cannot be compared: columns are missing or empty.
    DataBroken,
    /// The evaluation itself failed.
    Failed,
}

/// Drift of one column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ColumnDrift {
    /// Name of the column; `prediction` for the model's answer.
    pub column: String,
    /// By what distance: `PSI`, `KolmogorovSmirnov` and so on.
    #[serde(default = "default_method")]
    pub method: String,
    /// The distance from the reference, its bias at this size taken off.
    #[serde(alias = "psi")]
    pub value: f64,
    /// Lower confidence bound of the distance.
    pub lower: f64,
    /// The threshold that `lower` has to pass to be drift.
    pub threshold: f64,
    /// Whether it drifted.
    pub drifted: bool,
    /// What moved, in words: `mean 3.1 → 24.8`.
    pub moved: String,
}

fn default_method() -> String {
    "PSI".to_owned()
}

/// Performance with labels in one window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Performance {
    /// Rows whose label is known.
    pub rows: u64,
    /// Name of the metric.
    pub metric: String,
    /// Its value; absent when undefined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// Its confidence interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<[f64; 2]>,
    /// Whether the whole interval lies below what is allowed.
    pub fallen: bool,
}

/// What was found in one window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DriftReport {
    /// The verdict.
    pub verdict: WindowVerdict,
    /// Why, in one or two sentences.
    pub message: String,
    /// Start of the window, inclusive.
    pub start: Timestamp,
    /// End of the window, exclusive.
    pub end: Timestamp,
    /// Rows in the window.
    pub rows: u64,
    /// How many columns were compared.
    pub columns: u64,
    /// How many of them drifted.
    pub drifted: u64,
    /// The columns that moved most, ranked; at most ten.
    pub top: Vec<ColumnDrift>,
    /// Performance, where labels are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub performance: Option<Performance>,
    /// The full report, where an output was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Tree>,
}

/// What labels say of predictions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelsReport {
    /// How many labels there are, of whatever predictions.
    pub labels: u64,
    /// By the version that was named: what was counted in each span, in the order in which they were named.
    pub versions: BTreeMap<String, Vec<LabelCounts>>,
}

/// Predictions of one version in one span: all, those that have a label, and of these the wrong ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelCounts(pub u64, pub u64, pub u64);

/// What a proxy has seen since it started, at `GET /observations` on its metrics port.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Observations {
    /// The model version behind it.
    pub version: String,
    /// Requests to the model that were answered.
    pub requests: u64,
    /// Of these, answered with a 5xx or not answered by the server.
    pub errors: u64,
    /// Upper bounds of the latency histogram's buckets, milliseconds, ascending; the last bucket is open.
    pub latency_bounds_ms: Vec<f64>,
    /// Requests in each bucket, not cumulative; one longer than the bounds.
    pub latency_counts: Vec<u64>,
    /// Rows written to the payload log.
    pub rows_logged: u64,
    /// Rows that were dropped because the log could not keep up: a response never waits for it.
    pub rows_dropped: u64,
    /// Predictions, by the number of the bin of [`prediction_bin`] or by the code of the class; absent where they are not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predictions: Option<BTreeMap<i32, u64>>,
    /// Of requests whose copies another version was sent; absent where none are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<Mirrored>,
    /// Of a server that streams tokens; absent with other protocols.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Tokens>,
}

/// What became of the copies of requests that another version was sent. Nobody waits for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mirrored {
    /// Copies that were sent and answered, or failed.
    pub sent: u64,
    /// Of these, answered with a 5xx or not at all.
    pub errors: u64,
    /// Copies that were not made, because too many were under way or a body was too large.
    pub dropped: u64,
    /// Rows whose answers could be compared.
    pub compared: u64,
    /// Of these, rows with the same answer: the same class, or numbers that differ by no more than 1% of the larger one.
    pub agreed: u64,
}

/// What was streamed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tokens {
    /// Requests by the time to their first token, in the buckets of the latencies.
    pub first_token_counts: Vec<u64>,
    /// Answers of two tokens or more by the mean time of a token after the first, in the same buckets; empty where the proxy
    /// is an older one, which does not tell it.
    #[serde(default)]
    pub time_per_token_counts: Vec<u64>,
    /// Tokens, or, where the server does not say how many, events that carried some.
    pub tokens: u64,
    /// Seconds, in all, from the first token of each answer to its last.
    pub seconds: u64,
}

/// The bin of a number among predictions: eight for each power of two, and one for zero.
///
/// Bins depend on nothing but the number, so that counts of different versions can be compared and added up. A number in
/// (0, 1], such as a probability, has a bin of at most a ninth of its size.
pub fn prediction_bin(value: f64) -> Option<i32> {
    const PER_OCTAVE: f64 = 8.0;
    /// Below this a number is as good as zero.
    const LEAST: f64 = 1e-9;
    if !value.is_finite() {
        return None;
    }
    if value.abs() < LEAST {
        return Some(0);
    }
    let octaves = (value.abs() / LEAST).log2() * PER_OCTAVE;
    #[allow(clippy::cast_possible_truncation)] // at most 8 times 1,100
    let bin = octaves.floor() as i32 + 1;
    Some(if value < 0.0 { -bin } else { bin })
}

/// What a model takes and gives, written by the trainer as `signature.json` beside the model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Signature {
    /// The features, in the order of the input tensor's columns.
    pub inputs: Vec<Feature>,
    /// Name of the input tensor.
    #[serde(default = "default_tensor")]
    pub tensor: String,
    /// What it answers for a row.
    #[serde(default, skip_serializing_if = "Output::is_number")]
    pub output: Output,
}

fn default_tensor() -> String {
    "predict".to_owned()
}

/// What a model answers for a row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Names of at least two classes, in the order of the answer's numbers; labels may be these names, or their places
    /// from 0. Empty for a model that answers with one number: a value, or the probability of class 1.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
}

impl Output {
    /// Whether the answer is one number of which no class is named.
    pub fn is_number(&self) -> bool {
        self.classes.is_empty()
    }
}

/// One feature of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feature {
    /// Name of the column.
    pub name: String,
    /// How it is encoded.
    #[serde(flatten)]
    pub encoding: Encoding,
}

/// How a feature becomes a number in the tensor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum Encoding {
    /// As it is; a null is NaN.
    Number,
    /// By its place in the list; anything else, and a null, is -1.
    Category {
        /// The categories, in the order of their codes.
        categories: Vec<String>,
    },
    /// As it is, a null as the empty text: what a model of the OpenAI protocol is asked.
    Text,
    /// A list of numbers of one length, such as an embedding: as so many columns of the tensor, a null as NaN in each.
    Vector {
        /// How many numbers it has.
        length: std::num::NonZeroU16,
    },
}

impl Encoding {
    /// How many columns of the tensor it takes.
    pub fn width(&self) -> usize {
        match self {
            Self::Number | Self::Category { .. } | Self::Text => 1,
            Self::Vector { length } => usize::from(length.get()),
        }
    }
}

impl Signature {
    /// How many columns the tensor has.
    pub fn width(&self) -> usize {
        let inputs = self.inputs.iter();
        inputs.map(|input| input.encoding.width()).sum()
    }
}

/// The profile of a data set: what drift is measured against.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    /// Rows that it was made from.
    pub rows: u64,
    /// The columns in the order of the signature; the model's answer is last, under the name `prediction`.
    pub columns: Vec<ColumnProfile>,
    /// The column whose rows of one value are not independent, where one was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Parts of the rows by themselves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub segments: Vec<SegmentProfile>,
    /// What the scores of a model of two classes meant on these rows, whose labels are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scores: Option<Scores>,
    /// Rows by their time, where a column with it was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<Times>,
}

/// Rows by their time. All times are in UTC.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Times {
    /// The column with the time.
    pub column: String,
    /// The time of the first row, in microseconds since 1970.
    pub first: i64,
    /// The time of the last row, in microseconds since 1970.
    pub last: i64,
    /// Hours of the week that have rows: 0 is Monday from 00:00 to 01:00.
    pub hours: Vec<TimePart>,
    /// Months that have rows: 0 is January.
    pub months: Vec<TimePart>,
    /// How many hours each of the stretches has.
    pub stretch_hours: i64,
    /// Stretches of time that have rows: 0 begins with 1970.
    pub stretches: Vec<TimePart>,
}

/// Rows of an hour of the week, a month or a stretch: which, how many, and the first weeks or years that it came in (of a
/// stretch, none).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimePart(pub i64, pub u64, pub Vec<i64>);

/// Rows by the score that a model of two classes gave them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Scores {
    /// Inner edges of bins, ascending: bin i holds `edges[i-1] <= score < edges[i]`.
    pub edges: Vec<f64>,
    /// Rows in each; one longer than the edges.
    pub rows: Vec<u64>,
    /// Of these, how many are of class 1.
    pub positives: Vec<u64>,
    /// The first bin that is answered as class 1.
    pub threshold: u64,
}

/// The profile of a part of the rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SegmentProfile {
    /// The predicate that its rows meet.
    pub segment: String,
    /// How many rows.
    pub rows: u64,
    /// The columns.
    pub columns: Vec<ColumnProfile>,
    /// Rows by their time, where a column with it was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<Times>,
}

/// The profile of one column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ColumnProfile {
    /// Name of the column.
    pub name: String,
    /// Rows without a value.
    pub nulls: u64,
    /// Rows with what is not of the column's type, or infinite.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub other_type: u64,
    /// The distribution of the rest.
    #[serde(flatten)]
    pub distribution: Distribution,
    /// What the rows are worth, where they are not independent; of texts and vectors, for the share without a value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worth: Option<Worth>,
    /// The values in each of the parts of [`Times`]: of hours, then of months, then of stretches. Of numbers, and of names
    /// where these are few.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_time: Option<ColumnTimes>,
}

/// A column's values by time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum ColumnTimes {
    /// Of a number.
    Number {
        /// Inner edges of bins, finer than those that it is compared in.
        edges: Vec<f64>,
        /// What is in each part.
        parts: Vec<NumberPart>,
    },
    /// Of a category.
    Category {
        /// The categories.
        levels: Vec<String>,
        /// What is in each part.
        parts: Vec<CategoryPart>,
    },
}

/// Numbers in a part of the time: rows without a value, the mean and the standard deviation of the others, and how many lie in
/// each bin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NumberPart(pub u64, pub f64, pub f64, pub Vec<u64>);

/// Names in a part of the time: rows without one, and those of each category.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CategoryPart(pub u64, pub Vec<u64>);

/// By how much variances are larger than those of as many independent rows: design effects, at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Worth {
    /// How many units they were taken from.
    pub units: u64,
    /// Of shares, on average.
    pub shares: f64,
    /// The square of their variation coefficient.
    pub unevenness: f64,
    /// Of cumulated shares, the largest.
    pub cumulated: f64,
    /// Of the mean.
    pub mean: f64,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde asks for it
fn is_zero(rows: &u64) -> bool {
    *rows == 0
}

/// Values that are counted together: the least, the greatest, their mean, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct NumberCell(pub f64, pub f64, pub f64, pub u64);

/// The distribution of a column's values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum Distribution {
    /// A number.
    Number {
        /// Inner edges of the bins, ascending: quantiles of the values. Bin i holds `edges[i-1] <= x < edges[i]`.
        edges: Vec<f64>,
        /// Rows in each bin; one longer than the edges.
        counts: Vec<u64>,
        /// Arithmetic mean.
        mean: f64,
        /// Standard deviation.
        standard_deviation: f64,
        /// The values by rank, finer than bins: `[least, greatest, mean, rows]` of each cell, ascending.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        cells: Vec<NumberCell>,
    },
    /// A category.
    Category {
        /// Rows of each category.
        counts: BTreeMap<String, u64>,
    },
    /// Texts that are hardly ever the same.
    Text {
        /// Rows with one.
        rows: u64,
        /// Some of them, chosen by chance.
        sample: Vec<TextRow>,
    },
    /// Vectors of one length.
    Embedding {
        /// How many numbers each has.
        width: u64,
        /// Sums over all of them by groups of units, as the agent's statistics write them.
        sums: serde_json::Value,
        /// The key and the unit of each of some vectors, chosen by chance.
        keys: Vec<[u64; 2]>,
        /// These vectors: numbers of 32 bits, the lowest byte first, in base64.
        vectors: String,
    },
}

/// The beginning of a text: the key that it was chosen by, its unit, and itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TextRow(pub u64, pub u64, pub String);
