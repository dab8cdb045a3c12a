//! `DriftMonitor`: which deployment to watch, what counts as drift, and what to do then.

mod measures;
mod status;

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::quantities::{where_decimal, where_duration};
use crate::shared::default_format;
use crate::{Address, Decimal, Format, GoDuration, MetricName, Storage, TrainingJobSpec};

pub use measures::{ColumnThreshold, DriftMethod, DriftThreshold, Features, OnFinding, Quality};
pub use status::{
    Circuit, DriftMonitorStatus, Outcome, PassedOver, Retraining, Trigger, TriggerCause,
    WindowStatus,
};

/// What a user says of how a deployment is watched.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "windlass.dev", version = "v1alpha1", kind = "DriftMonitor", plural = "driftmonitors",
    shortname = "dm", category = "ml", namespaced, status = "DriftMonitorStatus", derive = "PartialEq",
    doc = "Watches the traffic of a ModelDeployment, window by window, against the profile of the version that serves, and has a new version trained when it has drifted.",
    printcolumn(name = "Deployment", type_ = "string", json_path = ".spec.deployment"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode"),
    printcolumn(name = "Verdict", type_ = "string", json_path = ".status.verdict"),
    printcolumn(name = "Reference", type_ = "string", json_path = ".status.reference"),
    printcolumn(name = "Retraining", type_ = "string", json_path = ".status.conditions[?(@.type==\"Retraining\")].reason"),
    printcolumn(name = "Last-Job", type_ = "string", json_path = ".status.lastTrigger.trainingJob"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Window", type_ = "date", json_path = ".status.windows[-1:].end", priority = 1),
    printcolumn(name = "Rows", type_ = "integer", json_path = ".status.windows[-1:].rows", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message", priority = 1),
    validation = Rule::new("size(self.metadata.name) <= 40 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message("metadata.name must be a DNS label of at most 40 characters that starts with a letter: the names of its Jobs are made from it"),
    validation = Rule::new("self.spec.deployment == oldSelf.spec.deployment").message("spec.deployment is immutable: make a new DriftMonitor").field_path(".spec.deployment")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.mode == 'Observe' || has(self.retrain)").message("spec.retrain is required where spec.mode is Suggest or Enforce").field_path(".retrain"))]
pub struct DriftMonitorSpec {
    /// Name of the ModelDeployment to watch; it must log payloads. Immutable.
    #[schemars(length(min = 1, max = 40))]
    pub deployment: String,
    /// The windows of traffic that are looked at.
    pub window: MonitorWindow,
    /// Which columns are compared, and when one has drifted.
    #[serde(default)]
    pub features: Features,
    /// When the model's answers have drifted. Without it, they are compared like a feature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predictions: Option<DriftThreshold>,
    /// The column whose values rows are not independent within, such as `user_id`: evidence then counts its values, not rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub unit: Option<String>,
    /// SQL predicates over the columns, such as `country = 'DE'`: the rows that meet one are judged by themselves too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), inner(length(min = 1, max = 512)))]
    pub segments: Vec<String>,
    /// What is wrong with data, and what is done about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<Quality>,
    /// The quality of the answers, where true outcomes come in later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub performance: Option<PerformanceWatch>,
    /// What counts the rows of a window. `DataFusion`: the window's own pod. `Ballista`: a Ballista cluster, for windows that are too large for one machine, to the same verdict bit by bit. An administrator sets it up for the namespace; where there is none, Stalled says so and no window is looked at. Its executors read the payload log with keys and claims of their own, not with those of `storage`.
    #[serde(default)]
    pub engine: DriftEngine,
    /// How the evaluation of a window reaches `s3://` addresses: to read the payload log, the baseline and the labels, and to write the full results. `pvc://` needs none. `retrain.template` has its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
    /// Where the full results of each window go. Without it, beside the payload log, to `drift/<monitor>/` there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reports: Option<DriftReports>,
    /// When windows together are drift.
    #[serde(default)]
    pub trigger_when: TriggerWhen,
    /// What is done then: `Observe` (say so), `Suggest` (make a suspended TrainingJob that a person resumes), `Enforce` (make a TrainingJob).
    #[serde(default)]
    pub mode: Mode,
    /// The training that drift asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retrain: Option<Retrain>,
}

/// Windows of traffic, by the time of the requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.every) != has(self.schedule)").message("give one of every (a duration) and schedule (a cron schedule)").field_path(".every"),
    validation = Rule::new("!has(self.timeZone) || has(self.schedule)").message("timeZone is of a schedule: give one, or leave it out").field_path(".timeZone"),
    validation = Rule::new(where_duration("(has(self.every) ? self.every : '1h')", "duration(has(self.every) ? self.every : '1h') >= duration('5s')")).message("every must be at least 5s").field_path(".every"),
    validation = Rule::new(where_duration("(has(self.size) ? self.size : '1h')", "duration(has(self.size) ? self.size : '1h') >= duration('5s')")).message("size must be at least 5s").field_path(".size")
)]
pub struct MonitorWindow {
    /// How often a window ends and is looked at, counted from midnight UTC of 1 January 1970: `1h` is each full hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<GoDuration>,
    /// When a window ends and is looked at, as a cron schedule of five fields: minute, hour, day of the month, month and day of the week, such as `0 6 * * MON-FRI`. A time that the clocks leave out is the one after it; one that comes twice is the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100))]
    #[x_kube(validation = Rule::new("self.matches('^[^ ]+( +[^ ]+){4}$')").message("must be five fields: minute, hour, day of the month, month and day of the week, such as \"0 6 * * MON-FRI\"; a time zone goes into timeZone"))]
    pub schedule: Option<String>,
    /// The time zone of the schedule, such as `Europe/Berlin`. Default: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$')").message("must be the name of a time zone, such as Europe/Berlin"))]
    pub time_zone: Option<String>,
    /// How long a window is. Longer than from one end to the next: windows slide, and overlap. Without it they are fixed: each begins where the one before ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<GoDuration>,
    /// How long after its end a window is looked at, for rows that come late. The payload log is written out every 5s; give more where it is carried elsewhere first.
    #[serde(default = "default_lateness")]
    pub lateness: GoDuration,
    /// Windows that ended while none could be looked at are looked at later, in order: so many of the newest. Those before them are passed over, and `status.passedOver` says so.
    #[serde(default = "default_catch_up")]
    #[schemars(range(min = 1, max = 500))]
    pub max_catch_up: i32,
    /// Rows that a window needs to be judged.
    #[serde(default = "default_min_samples")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub min_samples: i64,
}

fn default_lateness() -> GoDuration {
    "10s".into()
}

fn default_catch_up() -> i32 {
    24
}

fn default_min_samples() -> i64 {
    500
}

/// The quality of answers, by outcomes that come in later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PerformanceWatch {
    /// Where the outcomes are.
    pub labels: Labels,
    /// Column of the label files with the request's id, as the payload log has it.
    #[serde(default = "default_join")]
    #[schemars(length(min = 1, max = 128))]
    pub join_on: String,
    /// The metric, one that is better when it is higher: `accuracy`, `balancedAccuracy`, `precision`, `recall`, `f1`, `rocAuc`, `prAuc`, `r2` or a mean over classes.
    #[x_kube(validation = Rule::new("!(self in ['logLoss', 'brier', 'expectedCalibrationError', 'rmse', 'mae', 'mape', 'pinball', 'ndcg'])").message("must be one that is better when it is higher, such as accuracy, f1, rocAuc, prAuc or r2"))]
    pub metric: MetricName,
    /// Performance has fallen when the whole confidence interval lies below this, and would for fifty windows together.
    pub min: Decimal,
}

pub(crate) fn default_join() -> String {
    "request_id".to_owned()
}

/// Outcomes that come in later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Labels {
    /// A folder of files; new ones may come at any time.
    pub uri: Address,
    /// How they are stored: `CSV` (with a header line), `Parquet`, or `JSON` (an object a line).
    #[serde(default = "default_format")]
    pub format: Format,
    /// Name of the column with the true answer.
    #[schemars(length(min = 1, max = 128))]
    pub column: String,
}

/// Where full results go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct DriftReports {
    /// A folder or prefix (`pvc://` or `s3://`); each window writes below it, to `<monitor>/<end>/report.json`.
    #[x_kube(validation = Rule::new("!self.startsWith('https://')").message("must be pvc:// or s3://: results cannot be written to https://"))]
    pub uri: Address,
}

/// When windows together are drift.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.outOf) || self.outOf >= self.windows").message("outOf must be at least windows: k of the last m").field_path(".outOf"))]
pub struct TriggerWhen {
    /// Share of the columns that must have drifted for a window to be Drifted, from 0 to 1.
    #[serde(default = "default_share")]
    #[x_kube(validation = Rule::new(where_decimal("double(self) > 0.0 && double(self) <= 1.0")).message("must lie above 0 and not above 1, such as \"0.3\""))]
    pub drifted_share: Decimal,
    /// How many windows must have drifted: one by itself is Drifting, so many are Drifted. A fall in performance does not wait for more windows.
    #[serde(default = "default_windows")]
    #[schemars(range(min = 1, max = 20))]
    pub windows: i32,
    /// Of how many of the newest judged windows. Default: the same number, that is, in a row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 20))]
    pub out_of: Option<i32>,
    /// Confidence of the one-sided bound that has to pass a column's threshold, from 0.5 to 1. Default: "0.95".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(where_decimal("double(self) > 0.5 && double(self) < 1.0")).message("must lie above 0.5 and below 1, such as \"0.95\""))]
    pub confidence: Option<Decimal>,
    /// Of the columns that are found to have moved, the share that may be wrong on average (Benjamini and Hochberg). Default: "0.05".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(where_decimal("double(self) > 0.0 && double(self) <= 0.5")).message("must lie above 0 and not above 0.5, such as \"0.05\""))]
    pub false_discovery_rate: Option<Decimal>,
}

impl Default for TriggerWhen {
    fn default() -> Self {
        Self {
            drifted_share: default_share(),
            windows: default_windows(),
            out_of: None,
            confidence: None,
            false_discovery_rate: None,
        }
    }
}

fn default_share() -> Decimal {
    "0.3".into()
}

fn default_windows() -> i32 {
    2
}

/// What counts the rows of a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DriftEngine {
    /// The window's own pod.
    #[default]
    DataFusion,
    /// A Ballista cluster of the namespace.
    Ballista,
}

/// What is done on drift.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Mode {
    /// It is said.
    #[default]
    Observe,
    /// A suspended TrainingJob is made; a person resumes it.
    Suggest,
    /// A TrainingJob is made.
    Enforce,
}

/// The training that drift asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retrain {
    /// The TrainingJob to make. The span of the windows that drifted is put into its `spec.window`.
    pub template: RetrainTemplate,
    /// How long after one training was asked for, by this monitor or another of the deployment, no other is. A fall in performance may ask once more within it, where the one before was for drift.
    #[serde(default = "default_cooldown")]
    pub cooldown: GoDuration,
    /// How many trainings of the model may be under way for this one to begin beside them: with 1, each is waited for. With more, a fall in performance does not wait for a training that drift asked for; the same drift is never trained for twice.
    #[serde(default = "default_concurrent")]
    #[schemars(range(min = 1, max = 10))]
    pub max_concurrent: i32,
    /// What the trainings of this monitor may use of GPUs. Without it, as much as they take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// How many trainings in a row may come to nothing: they failed, or their version was not found good, was denied, was rolled back, or drifted before it held, so that another was trained. Then the circuit opens: no other is asked for until a person closes it (annotation `windlass.dev/close-circuit`), or a newer version serves and holds.
    #[serde(default = "default_rejects")]
    #[schemars(range(min = 1, max = 20))]
    pub max_consecutive_rejects: i32,
}

fn default_cooldown() -> GoDuration {
    "24h".into()
}

fn default_concurrent() -> i32 {
    1
}

fn default_rejects() -> i32 {
    3
}

/// GPU-hours over a period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Budget {
    /// GPU-hours that trainings may use within the period, as their `status.gpuSeconds` tells. A training is asked for only if what the last ones took at most is left, and has what is left as its deadline.
    #[x_kube(validation = Rule::new(where_decimal("double(self) > 0.0 && double(self) <= 10000000.0")).message("must lie above 0 and not above 10000000, such as \"200\""))]
    pub gpu_hours: Decimal,
    /// The period, which ends now: `168h` is the last seven days.
    #[x_kube(validation = Rule::new(where_duration("self", "duration(self) >= duration('1m')")).message("must be at least 1m"))]
    pub per: GoDuration,
}

/// A TrainingJob to make.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("!has(self.spec.window)").message("must not be given: the span of the windows that drifted is put in").field_path(".spec.window"))]
pub struct RetrainTemplate {
    /// Labels and annotations of the TrainingJob.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<TemplateMetadata>,
    /// Its specification. Its `model` has to be the deployment's, and it needs a `validation`: what nothing judges never serves by itself, and has no baseline.
    pub spec: TrainingJobSpec,
}

/// Labels and annotations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct TemplateMetadata {
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}
