//! What more than one kind uses.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::quantities::{where_decimal, where_decimals};
use crate::{Address, Decimal};

/// The types of conditions, as kstatus (Flux, Argo CD, `kubectl wait`) and Jobs name them.
pub mod condition {
    /// What was asked for is so.
    pub const READY: &str = "Ready";
    /// Work towards it is under way.
    pub const RECONCILING: &str = "Reconciling";
    /// Nothing will change until a person does something.
    pub const STALLED: &str = "Stalled";
    /// TrainingJob: the user suspended it.
    pub const SUSPENDED: &str = "Suspended";
    /// TrainingJob: it ended well.
    pub const COMPLETE: &str = "Complete";
    /// TrainingJob: it ended, and not well.
    pub const FAILED: &str = "Failed";
    /// TrainingJob: GPUs are held and not used.
    pub const GPUS_IDLE: &str = "GPUsIdle";
    /// ModelVersion: the validation's verdict.
    pub const VALIDATED: &str = "Validated";
    /// ModelVersion: what a person said of it.
    pub const APPROVED: &str = "Approved";
    /// ModelVersion, and a TrainingJob that failed: it is shown where `spec.tracking` asks for it.
    pub const PUBLISHED: &str = "Published";
    /// ModelDeployment: something good serves.
    pub const AVAILABLE: &str = "Available";
    /// ModelDeployment: something changes its number of pods by the load.
    pub const AUTOSCALED: &str = "Autoscaled";
    /// DriftMonitor: the newest windows show drift.
    pub const DRIFTED: &str = "Drifted";
    /// DriftMonitor: a training that it asked for is under way; else what keeps it from asking for one.
    pub const RETRAINING: &str = "Retraining";
}

/// How rows are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Format {
    /// Comma-separated values with a header line.
    #[serde(rename = "CSV")]
    Csv,
    /// Apache Parquet.
    Parquet,
    /// A JSON object a line.
    #[serde(rename = "JSON")]
    Json,
}

impl Format {
    /// As it is written in a manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Csv => "CSV",
            Self::Parquet => "Parquet",
            Self::Json => "JSON",
        }
    }
}

/// An inference protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Protocol {
    /// The Open Inference Protocol, version 2, over HTTP.
    #[default]
    OpenInference,
    /// The same over gRPC.
    OpenInferenceGRPC,
    /// The protocol of TensorFlow Serving and KServe, version 1, over HTTP.
    V1,
    /// The chat completions of the OpenAI protocol, over HTTP.
    OpenAI,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::OpenInference,
        Self::OpenInferenceGRPC,
        Self::V1,
        Self::OpenAI,
    ];

    /// As it is written in a manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OpenInference => "OpenInference",
            Self::OpenInferenceGRPC => "OpenInferenceGRPC",
            Self::V1 => "V1",
            Self::OpenAI => "OpenAI",
        }
    }
}

/// A pod template, open in the schema and checked strictly by the operator.
///
/// A typed one would cost 485 kB of CRD; it is read into `k8s-openapi`'s type in one place, `plan::template`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PodTemplate(pub serde_json::Value);

impl JsonSchema for PodTemplate {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PodTemplate".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "required": ["spec"],
            "properties": {
                "metadata": {"type": "object", "description": "Labels and annotations of the pods.", "x-kubernetes-preserve-unknown-fields": true},
                "spec": {
                    "type": "object",
                    "description": "The pods' specification, as in a Deployment or Job.",
                    "required": ["containers"],
                    "properties": {
                        "containers": {
                            "type": "array", "minItems": 1, "maxItems": 20,
                            "description": "The containers. The first is the one that Windlass works with.",
                            "items": {
                                "type": "object", "required": ["name", "image"],
                                "properties": {
                                    "name": {"type": "string", "minLength": 1, "maxLength": 63, "description": "Name of the container."},
                                    "image": {"type": "string", "minLength": 1, "maxLength": 1024, "description": "The container's image."}
                                },
                                "x-kubernetes-preserve-unknown-fields": true
                            }
                        }
                    },
                    "x-kubernetes-preserve-unknown-fields": true
                }
            }
        })
    }
}

/// A span of time, from `start` inclusive to `end` exclusive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("self.start < self.end").message("start must lie before end").field_path(".start"))]
pub struct Window {
    /// Start, inclusive, RFC 3339.
    pub start: Timestamp,
    /// End, exclusive, RFC 3339.
    pub end: Timestamp,
}

/// Which code made a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Source {
    /// Address of the repository.
    #[schemars(length(min = 1, max = 1024))]
    pub repository: String,
    /// The revision: a commit, not a branch, if the run shall be repeatable.
    #[schemars(length(min = 1, max = 256))]
    pub revision: String,
}

/// Something stored, by address and digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Stored {
    /// Where it lies.
    pub uri: Address,
    /// `sha256:` and 64 hexadecimal digits, over the sorted list of paths, sizes and contents.
    #[x_kube(validation = Rule::new("self.matches('^sha256:[0-9a-f]{64}$')").message("must be sha256: and 64 lower-case hexadecimal digits"))]
    #[schemars(length(max = 71))]
    pub digest: String,
}

/// What the name of a Secret or a ServiceAccount looks like: a DNS subdomain.
pub(crate) const SUBDOMAIN: &str =
    "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')";
/// The same in words.
pub(crate) const SUBDOMAIN_MESSAGE: &str = "must be a DNS name: lower-case letters, digits, '-' and '.', starting and ending with a letter or a digit";

/// How the agent reaches object stores: with a Secret's keys, as a service account, or both.
///
/// The operator reads neither: the kubelet hands them to the pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.secretName) || has(self.serviceAccountName)").message("must have at least one of secretName (keys) and serviceAccountName (workload identity)"))]
pub struct Storage {
    /// Name of a Secret in this namespace. Its keys become environment variables of the containers that run the agent: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION` (default us-east-1), and for a store other than Amazon's `AWS_ENDPOINT`, with `AWS_ALLOW_HTTP` = `true` where that is http://.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new(SUBDOMAIN).message(SUBDOMAIN_MESSAGE))]
    pub secret_name: Option<String>,
    /// Name of a ServiceAccount in this namespace that the pods run as, for workload identity; where a pod template names one, that counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new(SUBDOMAIN).message(SUBDOMAIN_MESSAGE))]
    pub service_account_name: Option<String>,
}

/// Whose signature a model's files have to have, after OpenSSF Model Signing: whoever has one key, or a certificate of one authority.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.publicKey) != has(self.certificateAuthority)").message("must have one of publicKey (the key of who signs) and certificateAuthority (who certifies those that sign), not both"))]
pub struct Signer {
    /// The public key of who signs, in PEM: ECDSA on P-256, P-384 or P-521.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<PemSource>,
    /// Certificates of authorities, in PEM. The certificate in the signature has to lead to one of them and be valid at each load. Whoever they certify for signing code is trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_authority: Option<PemSource>,
}

/// Where a key or certificates lie.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PemSource {
    /// A key of a ConfigMap in this namespace. Where it is not there, nothing is loaded.
    pub config_map_key_ref: ConfigMapKey,
}

/// A key of a ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct ConfigMapKey {
    /// Name of the ConfigMap.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(SUBDOMAIN).message(SUBDOMAIN_MESSAGE))]
    pub name: String,
    /// The key in it, such as `model.pub`.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[-._a-zA-Z0-9]+$') && self != '.' && self != '..'").message("must be a key of a ConfigMap: letters, digits, '-', '_' and '.'"))]
    pub key: String,
}

/// What makes a model good enough.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Validation {
    /// The held-out rows that the model is judged on.
    pub dataset: Dataset,
    /// The metrics to compute, and what they have to reach: the bound of the confidence interval has to, not the point.
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, b.name == a.name && has(b.quantile) == has(a.quantile) && (!has(a.quantile) || b.quantile == a.quantile) && has(b.places) == has(a.places) && (!has(a.places) || b.places == a.places)))").message("must name each metric once"))]
    pub metrics: Vec<MetricGate>,
    /// How differently groups of rows may be treated, for a model of two classes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, b.name == a.name && b.by == a.by))").message("must name each disparity once for a column"))]
    pub disparities: Vec<DisparityGate>,
    /// SQL predicates over the data set's columns; every metric has to reach its limits on each of them as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), inner(length(min = 1, max = 512)))]
    pub segments: Vec<String>,
    /// Columns whose every value is a segment (at most 50 values each).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 1, max = 128)))]
    pub segment_by: Vec<String>,
    /// Rows that a segment needs to be judged. A smaller one is reported and holds nothing up.
    #[serde(default = "default_min_samples")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub min_samples: i64,
    /// Compare with the version that serves now: the new one must not be worse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub against: Option<Against>,
    /// The runtime preset to judge the model in. Default: the one that lists the output's format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub runtime: Option<String>,
    /// The protocol that its model server is asked in: `OpenInference` (V2 over HTTP), `OpenInferenceGRPC`, `V1`, or `OpenAI` (chat completions: the signature names one input of the type Text).
    #[serde(default)]
    pub protocol: Protocol,
}

fn default_min_samples() -> i64 {
    200
}

/// Held-out rows with their labels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Dataset {
    /// Where the rows lie: a file, or a folder of files of one format.
    pub uri: Address,
    /// How they are stored: `CSV` (with a header line), `Parquet`, or `JSON` (an object a line).
    #[serde(default = "default_format")]
    pub format: Format,
    /// Name of the column with the true answer.
    #[schemars(length(min = 1, max = 128))]
    pub label: String,
    /// Name of the column with the time at which a row became known. Where the job has a window, only rows inside it are judged. Where the rows span some weeks, a DriftMonitor compares a window with those of its own hours of the week.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub time_column: Option<String>,
    /// Name of the column with how much a row counts. Default: all count the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub weight: Option<String>,
    /// Name of the column that says of which query a row is one answer: what `ndcg` ranks within.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub query: Option<String>,
}

/// Format of files where none is named.
pub(crate) fn default_format() -> Format {
    Format::Parquet
}

/// Names of metrics.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum MetricName {
    /// Share of rows whose class is right.
    Accuracy,
    /// Mean of the recalls of the classes.
    BalancedAccuracy,
    /// Share of the rows called positive that are.
    Precision,
    /// Mean of the precisions of the classes.
    PrecisionMacro,
    /// Share of the positive rows that are called so.
    Recall,
    /// Mean of the recalls of the classes that are labels or answers.
    RecallMacro,
    /// Harmonic mean of precision and recall.
    F1,
    /// Mean of the F1 of the classes.
    F1Macro,
    /// F1 over all rows: the accuracy.
    F1Micro,
    /// Area under the receiver operating characteristic.
    RocAuc,
    /// Area under the precision-recall curve, as average precision.
    PrAuc,
    /// Mean negative log-likelihood, in nats.
    LogLoss,
    /// Mean squared difference of probability and outcome.
    Brier,
    /// Mean distance of probability and share, in ten bins of the probability.
    ExpectedCalibrationError,
    /// Root of the mean squared error.
    Rmse,
    /// Mean absolute error.
    Mae,
    /// Mean absolute error as a share of the label.
    Mape,
    /// Share of the labels' spread that is explained.
    R2,
    /// Mean loss of a quantile that was answered.
    Pinball,
    /// Normalised discounted cumulative gain of a ranking's first places.
    Ndcg,
}

impl MetricName {
    /// As it is written in a manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::BalancedAccuracy => "balancedAccuracy",
            Self::Precision => "precision",
            Self::PrecisionMacro => "precisionMacro",
            Self::Recall => "recall",
            Self::RecallMacro => "recallMacro",
            Self::F1 => "f1",
            Self::F1Macro => "f1Macro",
            Self::F1Micro => "f1Micro",
            Self::RocAuc => "rocAuc",
            Self::PrAuc => "prAuc",
            Self::LogLoss => "logLoss",
            Self::Brier => "brier",
            Self::ExpectedCalibrationError => "expectedCalibrationError",
            Self::Rmse => "rmse",
            Self::Mae => "mae",
            Self::Mape => "mape",
            Self::R2 => "r2",
            Self::Pinball => "pinball",
            Self::Ndcg => "ndcg",
        }
    }
}

/// A metric and its limits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new(where_decimals("has(self.min) && has(self.max)", &["self.min", "self.max"], "double(self.min) <= double(self.max)")).message("min must not be above max").field_path(".min"),
    validation = Rule::new("has(self.quantile) == (self.name == 'pinball')").message("quantile is given for pinball, and for no other metric").field_path(".quantile"),
    validation = Rule::new("has(self.places) == (self.name == 'ndcg')").message("places is given for ndcg, and for no other metric").field_path(".places")
)]
pub struct MetricGate {
    /// For classes: `accuracy`, `balancedAccuracy`, `precision`, `recall`, `f1` (of class 1), their means over the classes (`precisionMacro`, `recallMacro`, `f1Macro`, `f1Micro`), `rocAuc`, `prAuc`, `logLoss`, `brier`, `expectedCalibrationError`. For a number: `rmse`, `mae`, `mape`, `r2`, `pinball`. For a ranking: `ndcg`.
    pub name: MetricName,
    /// The quantile that `pinball` is of, in thousandths: `"0.9"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(where_decimal("double(self) >= 0.001 && double(self) <= 0.999")).message("must lie between 0.001 and 0.999, in thousandths, such as \"0.9\""))]
    pub quantile: Option<Decimal>,
    /// How many first places `ndcg` is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub places: Option<i32>,
    /// The lower bound of the metric must not be below this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Decimal>,
    /// The upper bound of the metric must not be above this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Decimal>,
}

impl MetricGate {
    /// The metric with what it is of, as it is computed and as reports name it: `rocAuc`, `pinball@0.9`, `ndcg@10`.
    pub fn as_reported(&self) -> String {
        let name = self.name.as_str();
        match (&self.quantile, self.places) {
            // A quantile is a number there: 0.90 is 0.9.
            (Some(quantile), _) => match quantile.value() {
                Ok(quantile) => format!("{name}@{quantile}"),
                Err(_) => format!("{name}@{quantile}"),
            },
            (None, Some(places)) => format!("{name}@{places}"),
            (None, None) => name.to_owned(),
        }
    }
}

/// A difference between groups of rows, and its limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct DisparityGate {
    /// The largest difference between two groups: of the share that is answered with class 1 (`demographicParity`), of the true positive rate (`equalOpportunity`), or of the true and the false positive rate, whichever is larger (`equalisedOdds`).
    pub name: DisparityName,
    /// The column whose values are the groups (at most 50). Groups of fewer rows than minSamples are left out.
    #[schemars(length(min = 1, max = 128))]
    pub by: String,
    /// The upper bound of the difference must not be above this. Without it, the difference is only reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Decimal>,
}

impl DisparityGate {
    /// The difference and its column, as reports name it: `equalOpportunity by country`.
    pub fn as_reported(&self) -> String {
        format!("{} by {}", self.name.as_str(), self.by)
    }
}

/// Names of differences between groups.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum DisparityName {
    /// Of the share that is answered with class 1.
    DemographicParity,
    /// Of the true positive rate.
    EqualOpportunity,
    /// Of the true and of the false positive rate.
    EqualisedOdds,
}

impl DisparityName {
    /// As it is written in a manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DemographicParity => "demographicParity",
            Self::EqualOpportunity => "equalOpportunity",
            Self::EqualisedOdds => "equalisedOdds",
        }
    }
}

/// The comparison with the version that serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Against {
    /// `Champion`: the version that serves the model when validation starts. Where none does, there is no comparison.
    #[serde(default)]
    pub version: Opponent,
    /// By how much the new version may be worse, in units of the metric.
    #[serde(default = "default_margin")]
    pub margin: Decimal,
    /// Confidence of the comparison, corrected over metrics and segments.
    #[serde(default = "default_confidence")]
    #[x_kube(validation = Rule::new(where_decimal("double(self) > 0.5 && double(self) < 1.0")).message("must lie between 0.5 and 1, such as \"0.95\""))]
    pub confidence: Decimal,
}

fn default_margin() -> Decimal {
    "0.01".into()
}

fn default_confidence() -> Decimal {
    "0.95".into()
}

/// What a new version is compared with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Opponent {
    /// The version that serves now.
    #[default]
    Champion,
}

/// Finds a condition by its type.
pub fn find_condition<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Whether a condition of this type is there and `True`.
pub fn is_true(conditions: &[Condition], type_: &str) -> bool {
    find_condition(conditions, type_).is_some_and(|condition| condition.status == "True")
}
