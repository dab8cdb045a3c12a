//! `ModelDeployment`: which model serves, how, and how carefully a new version may replace it.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::quantities::where_decimal;
use crate::{Address, Decimal, GoDuration, PodTemplate, Protocol, RolloutEvent, Signer, Storage};

/// What a user says of how a model serves.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "windlass.dev", version = "v1alpha1", kind = "ModelDeployment", plural = "modeldeployments",
    shortname = "md", category = "ml", namespaced, status = "ModelDeploymentStatus", derive = "PartialEq",
    doc = "A model that serves. A new version takes traffic step by step, on evidence; a bad one is taken back and does not return.",
    scale(spec_replicas_path = ".spec.replicas", status_replicas_path = ".status.replicas", label_selector_path = ".status.selector"),
    printcolumn(name = "Model", type_ = "string", json_path = ".spec.model"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Stable", type_ = "string", json_path = ".status.stable.version"),
    printcolumn(name = "Canary", type_ = "string", json_path = ".status.canary.version"),
    printcolumn(name = "Weight", type_ = "integer", json_path = ".status.canary.weight"),
    printcolumn(name = "Ready", type_ = "integer", json_path = ".status.readyReplicas"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message", priority = 1),
    validation = Rule::new("size(self.metadata.name) <= 40 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message("metadata.name must be a DNS label of at most 40 characters that starts with a letter: a Service has this name"),
    validation = Rule::new("self.spec.model == oldSelf.spec.model").message("spec.model is immutable: make a new ModelDeployment").field_path(".spec.model")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.runtime) != has(self.template)").message("give one of spec.runtime (a preset of the chart's) and spec.template (a pod of your own), not both").field_path(".runtime"))]
pub struct ModelDeploymentSpec {
    /// Name of the model whose versions serve. Immutable.
    #[schemars(length(max = 40))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message("must be a DNS label: lower-case letters, digits and '-', starting with a letter"))]
    pub model: String,
    /// `Latest`: the newest version whose validation passed and that is not in quarantine. Or the number of a version.
    #[serde(default = "default_version")]
    #[x_kube(validation = Rule::new("type(self) == int ? self >= 1 : self == 'Latest'").message("must be Latest or the number of a version, from 1"))]
    pub version: IntOrString,
    /// Pods that serve while nothing rolls. Never are fewer ready because of a roll-out.
    #[serde(default = "default_replicas")]
    #[schemars(range(min = 0, max = 1000))]
    pub replicas: i32,
    /// Name of a runtime preset of the chart's, such as `mlserver`. One of this and `template`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub runtime: Option<String>,
    /// A pod of one's own. The first container is the model server; it finds its port in `WINDLASS_PORT` and the model in `WINDLASS_MODEL_DIRECTORY`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<PodTemplate>,
    /// The inference protocol: `OpenInference` (V2, over HTTP).
    #[serde(default)]
    #[x_kube(validation = Rule::new("self == 'OpenInference'").message("must be OpenInference: the others can be validated, and not served yet"))]
    pub protocol: Protocol,
    /// What is recorded of the traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observe: Option<Observe>,
    /// How `s3://` addresses are reached: to fetch the model, and to write the payload log. `pvc://` needs none. The model server gets no keys. A change makes new pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
    /// Whose signature versions have to have to be loaded here (OpenSSF Model Signing), whatever they say of it themselves. A version without it does not get ready; what serves, serves on. Where this is not given, what the version asks for in `artifact.signature.signedBy` holds. A change makes new pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<Signer>,
    /// How a new version replaces the old one.
    #[serde(default)]
    pub rollout: Rollout,
    /// Seconds that pods of a version may take to become ready, until the roll-out counts as failed.
    #[serde(default = "default_progress_deadline")]
    #[schemars(range(min = 5, max = 86_400))]
    pub progress_deadline_seconds: i32,
}

fn default_version() -> IntOrString {
    IntOrString::String("Latest".to_owned())
}

fn default_replicas() -> i32 {
    1
}

fn default_progress_deadline() -> i32 {
    600
}

/// What is recorded of the traffic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Observe {
    /// Requests and answers, as Parquet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_payloads: Option<LogPayloads>,
}

/// The payload log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct LogPayloads {
    /// Share of the requests that are logged, from 0 to 1.
    #[serde(default = "default_sample")]
    #[x_kube(validation = Rule::new(where_decimal("double(self) >= 0.0 && double(self) <= 1.0")).message("must lie between 0 and 1, such as \"0.1\""))]
    pub sample: Decimal,
    /// A folder or prefix (`pvc://` or `s3://`); files lie below it, in a folder for each version.
    #[x_kube(validation = Rule::new("!self.startsWith('https://')").message("must be pvc:// or s3://: a log cannot be written to https://"))]
    pub uri: Address,
}

fn default_sample() -> Decimal {
    "1".into()
}

/// How a new version replaces the old one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("!has(self.steps) || self.steps.all(i, step, i == 0 || self.steps[i - 1].weight < step.weight)").message("weights must rise from step to step").field_path(".steps"))]
pub struct Rollout {
    /// `Canary`: the new version gets a rising share of the traffic, by share of replicas.
    #[serde(default)]
    pub strategy: Strategy,
    /// The steps. After the last one the new version takes all.
    #[serde(default = "default_steps")]
    #[schemars(length(min = 1, max = 20))]
    pub steps: Vec<RolloutStep>,
    /// What must hold, canary against stable in the same minutes, for a step to pass.
    #[serde(default = "default_analysis")]
    #[schemars(length(max = 8))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, b.metric == a.metric))").message("must name each metric once"))]
    pub analysis: Vec<Analysis>,
    /// Requests that the canary must have answered in a step before it is judged. Low traffic extends a step; it never passes one. The last step lasts until it is shown that the canary is no worse, however many requests that takes.
    #[serde(default = "default_min_requests", rename = "minRequests")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub min_requests: i64,
}

impl Default for Rollout {
    fn default() -> Self {
        Self {
            strategy: Strategy::default(),
            steps: default_steps(),
            analysis: default_analysis(),
            min_requests: default_min_requests(),
        }
    }
}

fn default_steps() -> Vec<RolloutStep> {
    [(10, "5m"), (50, "5m")]
        .map(|(weight, hold)| RolloutStep {
            weight,
            hold: hold.into(),
        })
        .to_vec()
}

fn default_analysis() -> Vec<Analysis> {
    vec![
        Analysis {
            metric: AnalysisMetric::ErrorRate,
            not_worse_than: Some("0.01".into()),
            max_ratio: None,
        },
        Analysis {
            metric: AnalysisMetric::LatencyP99,
            not_worse_than: None,
            max_ratio: Some("1.5".into()),
        },
    ]
}

fn default_min_requests() -> i64 {
    100
}

/// A way to replace a version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Strategy {
    /// Step by step.
    #[default]
    Canary,
}

/// One step of a roll-out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct RolloutStep {
    /// The canary's share of the traffic, in percent.
    #[schemars(range(min = 1, max = 99))]
    pub weight: i32,
    /// How long the step lasts at least.
    pub hold: GoDuration,
}

/// Something that must hold of the canary against the stable version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.metric == 'ErrorRate' ? has(self.notWorseThan) && !has(self.maxRatio) : true").message("ErrorRate takes notWorseThan: by how much, in absolute terms, the canary's share of errors may lie above the stable version's").field_path(".notWorseThan"),
    validation = Rule::new("self.metric == 'LatencyP99' ? has(self.maxRatio) && !has(self.notWorseThan) : true").message("LatencyP99 takes maxRatio: how many times the stable version's latency the canary's may be").field_path(".maxRatio")
)]
pub struct Analysis {
    /// `ErrorRate`: share of requests answered with 5xx. `LatencyP99`: the latency that 99% of the requests stay under.
    pub metric: AnalysisMetric,
    /// ErrorRate: how far the canary's share may lie above the stable version's, from 0 to 1. The smaller, the more requests the last step takes until it is shown that it holds: where nothing fails, about 4 divided by it. With 0, which nothing can show, only a canary with fewer errors is promoted; with 1 errors are not judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(where_decimal("double(self) >= 0.0 && double(self) <= 1.0")).message("must lie between 0 and 1, such as \"0.01\""))]
    pub not_worse_than: Option<Decimal>,
    /// LatencyP99: how many times the stable version's the canary's may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(where_decimal("double(self) > 0.0")).message("must be above 0, such as \"1.5\""))]
    pub max_ratio: Option<Decimal>,
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AnalysisMetric {
    /// Share of requests answered with 5xx, or not at all.
    ErrorRate,
    /// The latency that 99% of the requests stay under.
    LatencyP99,
}

/// What is so with a ModelDeployment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelDeploymentStatus {
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// One word for people: Pending, Starting, Serving, Rolling, RolledBack, Degraded. No program should read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// Available, Ready, Reconciling, Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The version that serves, and since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable: Option<StableStatus>,
    /// The version that is being tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanaryStatus>,
    /// How the last roll-out ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_rollout: Option<RolloutRecord>,
    /// Versions that failed in a roll-out. Neither they nor another version of the same fingerprint are tried again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quarantine: Vec<Quarantined>,
    /// What happened to versions here, the newest last; each becomes a record of its version's chain.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub history: Vec<RolloutEvent>,
    /// Pods that serve or are to serve.
    #[serde(default)]
    pub replicas: i32,
    /// Pods that are ready.
    #[serde(default)]
    pub ready_replicas: i32,
    /// Selector of the pods, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// What the pods are made from, taken down when the object was changed last; an upgrade of the operator does not change it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved: Option<Resolved>,
}

/// The version that serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StableStatus {
    /// Name of the ModelVersion.
    pub version: String,
    /// Since when all traffic goes to it.
    pub since: Timestamp,
}

/// The version that is being tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CanaryStatus {
    /// Name of the ModelVersion.
    pub version: String,
    /// The step, from 0.
    pub step: i32,
    /// The share of traffic that this step is to give it, in percent; 0 while its pods start.
    pub weight: i32,
    /// When the roll-out started.
    pub started: Timestamp,
    /// Since when this step's pods are awaited.
    pub since: Timestamp,
    /// When all pods of the step were ready; absent while they start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_started: Option<Timestamp>,
    /// How often pods of this step were lost after it had begun.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub interruptions: i32,
    /// What the analysis says, in words; written where it has another thing to say, and not as requests are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analysis: Option<String>,
    /// What the comparison of errors had come to when this was written, which it is whenever that has moved by much; after a restart of the operator it goes on from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors: Option<ErrorsSeen>,
}

/// How the errors of a canary and of the stable version compare.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorsSeen {
    /// By how much the canary's share may lie above the stable version's.
    pub allowed: Decimal,
    /// Over the whole roll-out.
    pub rollout: Compared,
    /// In this step.
    pub step: Compared,
}

/// Two shares of errors, counted in the same minutes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Compared {
    /// Of the canary.
    pub canary: Counted,
    /// Of the stable version.
    pub stable: Counted,
    /// Natural logarithm of the evidence that the canary is worse by more than is allowed: it is taken back from 4.9 on, in a step from 6.0 and the logarithm of the number of steps on.
    pub worse: Decimal,
    /// Of the evidence that it is not: in the last step it may be promoted from 3.0 on.
    pub within: Decimal,
}

/// Requests, and those of them that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counted {
    /// All.
    pub requests: i64,
    /// Answered with 5xx, or not at all.
    pub errors: i64,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde wants it
fn is_zero(number: &i32) -> bool {
    *number == 0
}

/// How a roll-out ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RolloutRecord {
    /// Name of the ModelVersion that was tried.
    pub version: String,
    /// `Promoted` or `RolledBack`.
    pub outcome: RolloutOutcome,
    /// On what evidence.
    pub message: String,
    /// When.
    pub time: Timestamp,
}

/// How a roll-out ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RolloutOutcome {
    /// The new version serves.
    Promoted,
    /// The old version serves on.
    RolledBack,
}

/// A version that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Quarantined {
    /// Name of the ModelVersion.
    pub version: String,
    /// Its fingerprint, or its artifact's digest where it has none.
    pub fingerprint: String,
    /// Why.
    pub reason: String,
    /// When.
    pub time: Timestamp,
}

/// What pods are made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resolved {
    /// The generation of the object that it was taken down for.
    pub generation: i64,
    /// Digest of the spec that it was taken down for, without the number of replicas: another number changes no pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec_digest: Option<String>,
    /// The agent's image.
    pub agent_image: String,
    /// The model server's pod.
    pub template: PodTemplate,
}
