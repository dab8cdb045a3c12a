//! `ModelDeployment`: which model serves, how, and how carefully a new version may replace it.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::quantities::{where_decimal, where_decimals, where_duration};
use crate::{
    Autoscaling, Decimal, FromClaim, GoDuration, LabelledSeen, Limits, Observe, PodTemplate,
    PredictionLabels, Protocol, RolloutEvent, Signer, Storage,
};

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
#[x_kube(
    validation = Rule::new("!has(self.runtime) || !has(self.template)").message("give one of spec.runtime (a preset of the chart's) and spec.template (a pod of your own), not both; with neither, a preset is chosen by the model's format").field_path(".runtime"),
    validation = Rule::new("!has(self.autoscaling) || self.replicas >= 1").message("must be 1 or more, as long as there is spec.autoscaling: an autoscaler leaves alone what is asked to have no pods").field_path(".replicas"),
    validation = Rule::new("self.protocol == 'OpenAI' || !has(self.rollout.analysis) || !self.rollout.analysis.exists(a, a.metric in ['TimeToFirstToken', 'TimePerOutputToken'])").message("TimeToFirstToken and TimePerOutputToken need spec.protocol: OpenAI: of no other are tokens told apart").field_path(".rollout.analysis"),
    validation = Rule::new("!has(self.rollout.analysis) || !self.rollout.analysis.exists(a, a.metric == 'LabelledErrorRate') || (has(self.observe) && has(self.observe.logPayloads) && !(has(self.observe.logPayloads.redact) && 'prediction' in self.observe.logPayloads.redact))").message("LabelledErrorRate needs spec.observe.logPayloads, without 'prediction' among its redact: labels are held against the predictions that are logged there").field_path(".rollout.analysis"),
    validation = Rule::new("!has(self.autoscaling) || !has(oldSelf.autoscaling) || self.replicas == oldSelf.replicas || (self.replicas >= self.autoscaling.minReplicas && self.replicas <= self.autoscaling.maxReplicas)").message("must lie between spec.autoscaling.minReplicas and spec.autoscaling.maxReplicas, as long as there is spec.autoscaling").field_path(".replicas")
)]
pub struct ModelDeploymentSpec {
    /// Name of the model whose versions serve. Immutable.
    #[schemars(length(max = 40))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message("must be a DNS label: lower-case letters, digits and '-', starting with a letter"))]
    pub model: String,
    /// `Latest`: the newest version whose validation passed and that is not in quarantine. Or the number of a version.
    #[serde(default = "default_version")]
    #[x_kube(validation = Rule::new("type(self) == int ? self >= 1 : self == 'Latest'").message("must be Latest or the number of a version, from 1"))]
    pub version: IntOrString,
    /// Pods that serve while nothing rolls. Never are fewer ready because of a roll-out, unless `rollout.strategy` is `Recreate` or `rollout.surge` is `Auto`. With `autoscaling` it is what the autoscaler asks for now: leave it out of the manifest then.
    #[serde(default = "default_replicas")]
    #[schemars(range(min = 0, max = 1000))]
    pub replicas: i32,
    /// Changes `replicas` by the load. It never begins a roll-out nor holds one up: stable version and canary follow it, each by its share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// Name of a runtime preset of the chart's, such as `mlserver`. Without this and without `template`, the first preset is taken that serves the model's format over `protocol`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub runtime: Option<String>,
    /// A pod of one's own. The first container is the model server; it finds its port in `WINDLASS_PORT` and the model in `WINDLASS_MODEL_DIRECTORY`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<PodTemplate>,
    /// The inference protocol: `OpenInference` (V2, over HTTP), `OpenInferenceGRPC` (the same over gRPC; that it is ready is still asked over HTTP), `V1` (TensorFlow Serving and KServe), or `OpenAI` (completions; answers may be streamed).
    #[serde(default)]
    pub protocol: Protocol,
    /// What a pod takes on at a time, and for how long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// What is recorded of the traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observe: Option<Observe>,
    /// How `s3://` addresses are reached: to fetch the model, and to write the payload log. `pvc://` needs none. The model server gets no keys. A change makes new pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
    /// How a model that lies in a claim (`pvc://`) comes to the server. `Fetch`, the default: it is copied to the pod's own disk and verified on the way, and nobody changes it under the server. `Mount`: the claim's folder is mounted, read-only, and verified there as a pod starts, with no room on the node and no time to copy; whoever may write to the claim may then change what the server has, and nobody verifies it again before the next pod starts. A change makes new pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_claim: Option<FromClaim>,
    /// Whose signature versions have to have to be loaded here (OpenSSF Model Signing), whatever they say of it themselves. A version without it does not get ready; what serves, serves on. Where this is not given, what the version asks for in `artifact.signature.signedBy` holds. A change makes new pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<Signer>,
    /// How a new version replaces the old one.
    #[serde(default)]
    pub rollout: Rollout,
    /// Seconds that pods of a version may take to become ready, until the roll-out counts as failed. What `startupDeadlineSeconds` gives comes on top.
    #[serde(default = "default_progress_deadline")]
    #[schemars(range(min = 5, max = 86_400))]
    pub progress_deadline_seconds: i32,
    /// Seconds that the model server may take to load the model, once its container runs, until its start-up probe fails: for models that take long to load. Without it, as many as `progressDeadlineSeconds`. A `startupProbe` of `template`'s own counts before it. A change makes new pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 5, max = 86_400))]
    pub startup_deadline_seconds: Option<i32>,
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

/// How a new version replaces the old one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.steps) || has(self.steps[0].weight)").message("the first step must have a weight").field_path(".steps"),
    validation = Rule::new("!has(self.steps) || self.steps.all(i, step, !has(step.weight) || self.steps.all(j, other, j >= i || !has(other.weight) || other.weight < step.weight))").message("weights must rise from step to step").field_path(".steps"),
    validation = Rule::new("self.strategy != 'Recreate' || !has(self.bake) || self.bake == '0s'").message("with strategy Recreate the old version's pods are gone when the new one serves: nothing can be kept warm").field_path(".bake"),
    validation = Rule::new("self.strategy == 'Canary' || !has(self.traffic)").message("traffic is divided step by step by strategy Canary only").field_path(".traffic"),
    validation = Rule::new("self.strategy == 'Canary' || self.surge == 'Always'").message("the pods of a version can take the place of another's one by one by strategy Canary only; where both do not fit at all, use Recreate").field_path(".surge"),
    validation = Rule::new("self.strategy != 'Recreate' || !has(self.onFailure) || self.onFailure == 'Rollback'").message("with strategy Recreate nothing would serve while a roll-out that has failed waits for a person").field_path(".onFailure"),
    validation = Rule::new("self.strategy == 'Shadow' || !has(self.mirrorShare)").message("copies of requests are sent by strategy Shadow only").field_path(".mirrorShare"),
    validation = Rule::new("self.strategy == 'Shadow' || !has(self.analysis) || !self.analysis.exists(a, a.metric == 'Agreement')").message("Agreement is known by strategy Shadow only, where both versions answer the same requests").field_path(".analysis")
)]
pub struct Rollout {
    /// `Canary`: the new version gets a rising share of the traffic. `BlueGreen`: it gets all its pods and no traffic, until all of it goes to it at once; what `preview` says is waited for before. `Shadow`: as BlueGreen, but it is sent copies of the requests before, whose answers nobody waits for. `Recreate`: the old version's pods go before the new one's come; nothing serves in between.
    #[serde(default)]
    pub strategy: Strategy,
    /// Canary: divides the traffic by an HTTPRoute of the Gateway API. Without it the traffic is divided by share of replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<Routing>,
    /// Canary: the steps. After the last one the new version takes all.
    #[serde(default = "default_steps")]
    #[schemars(length(min = 1, max = 20))]
    pub steps: Vec<RolloutStep>,
    /// BlueGreen and Shadow: what is waited for, once all pods of the new version are ready, before it takes all the traffic.
    #[serde(default)]
    pub preview: Preview,
    /// What must hold, canary against stable in the same minutes, for a step to pass. With BlueGreen and Recreate the new version has no traffic before it has all of it, and is judged by its errors while `bake` lasts.
    #[serde(default = "default_analysis")]
    #[schemars(length(max = 8))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, b.metric == a.metric && (a.metric != 'Prometheus' || (has(a.query) && has(b.query) && a.query == b.query))))").message("must name each metric once, and each query of Prometheus"))]
    pub analysis: Vec<Analysis>,
    /// Requests that the canary must have answered in a step before it is judged. Low traffic extends a step; it never passes one. The last step lasts until it is shown that the canary is no worse, however many requests that takes.
    #[serde(default = "default_min_requests", rename = "minRequests")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub min_requests: i64,
    /// How long the old version's pods are kept after the new one has taken all the traffic. Errors of the new one, or a DriftMonitor that finds that it drifts, give the traffic back to the old one within this time, at once.
    #[serde(default = "no_time")]
    pub bake: GoDuration,
    /// What happens to a version that does harm, or whose pods do not become ready. `Rollback`: it is taken back, and is not tried again. `Pause`: it gets no traffic any more, its pods stay to be looked at, and the roll-out waits until a person takes it back (annotation `windlass.dev/abort`) or has the step begin anew (`windlass.dev/promote`). What does harm while `bake` lasts is taken back in either case.
    #[serde(default, rename = "onFailure")]
    pub on_failure: OnFailure,
    /// Shadow: the share of the requests of which copies are sent, from 0 to 1. Default: all.
    #[serde(
        default,
        rename = "mirrorShare",
        skip_serializing_if = "Option::is_none"
    )]
    #[x_kube(validation = Rule::new(where_decimal("double(self) > 0.0 && double(self) <= 1.0")).message("must be above 0 and at most 1, such as \"0.1\""))]
    pub mirror_share: Option<Decimal>,
    /// `Always`: a canary's pods come on top of those of the version that serves, which keeps all of its own. `Auto`: where quota or GPUs cannot hold both, the canary's pods take the place of as many of the other's, and the status says so: there are fewer of them then, but not fewer in all once they are ready.
    #[serde(default)]
    pub surge: Surge,
}

impl Default for Rollout {
    fn default() -> Self {
        Self {
            strategy: Strategy::default(),
            traffic: None,
            steps: default_steps(),
            preview: Preview::default(),
            analysis: default_analysis(),
            min_requests: default_min_requests(),
            bake: no_time(),
            on_failure: OnFailure::default(),
            mirror_share: None,
            surge: Surge::default(),
        }
    }
}

fn no_time() -> GoDuration {
    "0s".into()
}

fn default_steps() -> Vec<RolloutStep> {
    [(10, "5m"), (50, "5m")]
        .map(|(weight, hold)| RolloutStep {
            weight: Some(weight),
            hold: hold.into(),
            pause: false,
        })
        .to_vec()
}

fn default_analysis() -> Vec<Analysis> {
    vec![
        Analysis {
            not_worse_than: Some("0.01".into()),
            ..Analysis::of(AnalysisMetric::ErrorRate)
        },
        Analysis {
            max_ratio: Some("1.5".into()),
            ..Analysis::of(AnalysisMetric::LatencyP99)
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
    /// All at once, after a preview.
    BlueGreen,
    /// All at once, after it has answered copies of the requests.
    Shadow,
    /// The old one goes first.
    Recreate,
}

/// What happens to a version that fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnFailure {
    /// It is taken back.
    #[default]
    Rollback,
    /// It is held, without traffic, for a person.
    Pause,
}

/// Where the pods of a canary find room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Surge {
    /// Beside those of the version that serves.
    #[default]
    Always,
    /// In the place of those of the version that serves, where there is no room for both.
    Auto,
}

/// How traffic is divided by the Gateway API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Routing {
    /// The Gateway that the traffic comes through. It has to allow routes from this namespace.
    pub gateway_ref: GatewayRef,
    /// Host names that the model is served under; none for every one that the Gateway has. No other ModelDeployment may have one of them with the same path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 253)))]
    pub hostnames: Vec<String>,
    /// Beginning of the paths that the model is served under.
    #[serde(default = "root")]
    #[schemars(length(max = 256))]
    #[x_kube(validation = Rule::new("self.startsWith('/')").message("must begin with /"))]
    pub path: String,
    /// Requests that go to the version that is tried, whatever its weight: to look at it first, or so that a client who once had it keeps it. While nothing rolls they go where all others go.
    #[serde(default, rename = "canaryWhen", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub canary_when: Vec<RequestMatch>,
}

fn root() -> String {
    "/".to_owned()
}

/// A Gateway of the Gateway API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its namespace; this one where absent. A Gateway says itself whose routes it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// Name of one of its listeners; all of them where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub section_name: Option<String>,
}

/// By what a request is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("has(self.header) != has(self.cookie)").message("give one of header and cookie"))]
pub struct RequestMatch {
    /// A header that has to have this value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<NameAndValue>,
    /// A cookie that has to have this value. It is told by a regular expression on the `cookie` header, which the Gateway's implementation has to support.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<NameAndValue>,
}

/// A name and a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct NameAndValue {
    /// The name.
    #[schemars(length(max = 128))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9!#$%&*+.^_|~-]+$')").message("must be a token of HTTP, such as x-preview"))]
    pub name: String,
    /// The value.
    #[schemars(length(max = 256))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9!#$%&*+.^_|~/:=-]+$')").message("must be of letters, digits and !#$%&*+.^_|~/:=-, such as yes"))]
    pub value: String,
}

/// What is waited for before all traffic goes to a version at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Preview {
    /// How long, at least.
    #[serde(default = "no_time")]
    pub hold: GoDuration,
    /// Whether a person has to say that it may go on, by the annotation `windlass.dev/promote`.
    #[serde(default)]
    pub pause: bool,
}

impl Default for Preview {
    fn default() -> Self {
        Self {
            hold: no_time(),
            pause: false,
        }
    }
}

/// One step of a roll-out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("has(self.weight) || self.pause || (has(self.hold) && self.hold != '0s')").message("a step must have a weight, a hold or a pause"))]
pub struct RolloutStep {
    /// The canary's share of the traffic, in percent. Where it is absent it stays as it was, and the step is there to wait: for its hold, for the analysis, for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 99))]
    pub weight: Option<i32>,
    /// How long the step lasts at least.
    #[serde(default = "no_time")]
    pub hold: GoDuration,
    /// Whether a person has to say that it may go on, by the annotation `windlass.dev/promote`, after its hold and on good evidence.
    #[serde(default)]
    pub pause: bool,
}

/// Something that must hold of the canary against the stable version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.metric in ['ErrorRate', 'LabelledErrorRate'] ? has(self.notWorseThan) && !has(self.maxRatio) && !has(self.max) && !has(self.min) : true").message("ErrorRate and LabelledErrorRate take notWorseThan: by how much, in absolute terms, the canary's share of errors may lie above the stable version's").field_path(".notWorseThan"),
    validation = Rule::new("has(self.labels) == (self.metric == 'LabelledErrorRate')").message("LabelledErrorRate takes labels, which no other metric does: where the true answers to predictions lie").field_path(".labels"),
    validation = Rule::new("self.metric in ['LatencyP99', 'TimeToFirstToken', 'TimePerOutputToken'] ? has(self.maxRatio) && !has(self.notWorseThan) && !has(self.max) && !has(self.min) : true").message("LatencyP99, TimeToFirstToken and TimePerOutputToken take maxRatio: how many times the stable version's time the canary's may be").field_path(".maxRatio"),
    validation = Rule::new("self.metric == 'PredictionDrift' ? has(self.max) && !has(self.notWorseThan) && !has(self.maxRatio) && !has(self.min) : true").message("PredictionDrift takes max: how far apart the predictions of both may be, from 0 to 1").field_path(".max"),
    validation = Rule::new("self.metric == 'Agreement' ? has(self.min) && !has(self.notWorseThan) && !has(self.maxRatio) && !has(self.max) : true").message("Agreement takes min: the share of rows that both have to answer alike, between 0 and 1").field_path(".min"),
    validation = Rule::new("self.metric == 'Prometheus' ? has(self.query) && (has(self.max) || has(self.min)) && !has(self.notWorseThan) && !has(self.maxRatio) : true").message("Prometheus takes query, and max or min or both: between what its answer must lie").field_path(".query"),
    validation = Rule::new("self.metric == 'Prometheus' || (!has(self.query) && !has(self.count) && (!has(self.interval) || self.metric == 'LabelledErrorRate'))").message("query, interval and count are of metric Prometheus alone; interval of LabelledErrorRate, too").field_path(".query"),
    validation = Rule::new(where_decimals("self.metric == 'PredictionDrift' && has(self.max)", &["self.max"], "double(self.max) > 0.0 && double(self.max) < 1.0")).message("must lie between 0 and 1, such as \"0.2\"").field_path(".max"),
    validation = Rule::new(where_decimals("self.metric == 'Agreement' && has(self.min)", &["self.min"], "double(self.min) > 0.0 && double(self.min) < 1.0")).message("must lie between 0 and 1, such as \"0.95\"").field_path(".min"),
    validation = Rule::new(where_decimals("has(self.max) && has(self.min)", &["self.max", "self.min"], "double(self.min) <= double(self.max)")).message("min must not lie above max").field_path(".min")
)]
pub struct Analysis {
    /// `ErrorRate`: share of requests answered with 5xx. `LatencyP99`: the latency that 99% of the requests stay under. `TimeToFirstToken`, `TimePerOutputToken`: with protocol OpenAI, of answers that are streamed, the time until the first token, and the mean time of each that follows (the inverse of tokens per second), judged as LatencyP99. `PredictionDrift`: how far apart the predictions of both are, as the largest difference of their cumulated distributions (Kolmogorov and Smirnov's distance). `Agreement`: share of rows that both answer alike, with strategy Shadow. `LabelledErrorRate`: share of the predictions that are wrong, of those whose true answer has come by now. `Prometheus`: what a query answers, of the Prometheus that the administrator gave the operator.
    pub metric: AnalysisMetric,
    /// ErrorRate, LabelledErrorRate: how far the canary's share may lie above the stable version's, from 0 to 1. The smaller, the more requests the last step takes until it is shown that it holds: where nothing fails, about 4 divided by it. With 0, which nothing can show, only a canary with fewer errors is promoted; with 1 errors are not judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(where_decimal("double(self) >= 0.0 && double(self) <= 1.0")).message("must lie between 0 and 1, such as \"0.01\""))]
    pub not_worse_than: Option<Decimal>,
    /// LatencyP99, TimeToFirstToken, TimePerOutputToken: how many times the stable version's the canary's may be, to within a tenth. It is compared how many of the canary's requests take longer than this many times the stable version's 99th percentile, and how many of the stable version's take longer than that itself; half a percentage point more is allowed. It takes some 1,000 requests to the canary until it is shown that it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(where_decimal("double(self) > 0.0")).message("must be above 0, such as \"1.5\""))]
    pub max_ratio: Option<Decimal>,
    /// PredictionDrift: the largest distance, from 0 (alike) to 1. It takes some thousand predictions of both until it is shown that it holds: about 40 divided by the square of it. Prometheus: the largest value that is good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Decimal>,
    /// Agreement: the least share of rows that both answer alike: the same class, or numbers that differ by no more than 1% of the larger one. Prometheus: the least value that is good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Decimal>,
    /// Prometheus: a query in PromQL that answers one number. `{{ namespace }}` and `{{ name }}` stand for the ModelDeployment's, `{{ stable }}` and `{{ canary }}` for the names of both ModelVersions, which pods have as label `windlass.dev/version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub query: Option<String>,
    /// How often it is asked, at least 5s. Prometheus: 30s where this is not given. LabelledErrorRate: how often labels are read, 60s where this is not given, and the more seldom the longer a step goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(where_duration("self", "duration(self) >= duration('5s')")).message("must be at least 5s"))]
    pub interval: Option<GoDuration>,
    /// Prometheus: how many answers one after the other have to be good in a step until it passes, and how many bad until the canary is taken back; 3 where this is not given. In between the step goes on. A value against a limit is no test: the noisier the query, the more answers it takes until they say anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 20))]
    pub count: Option<i32>,
    /// LabelledErrorRate: where the true answers to predictions lie.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<PredictionLabels>,
}

impl Analysis {
    /// One of a metric, with no limit yet.
    pub const fn of(metric: AnalysisMetric) -> Self {
        Self {
            metric,
            not_worse_than: None,
            max_ratio: None,
            max: None,
            min: None,
            query: None,
            interval: None,
            count: None,
            labels: None,
        }
    }
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AnalysisMetric {
    /// Share of requests answered with 5xx, or not at all.
    ErrorRate,
    /// The latency that 99% of the requests stay under.
    LatencyP99,
    /// The time until the first token of a streamed answer.
    TimeToFirstToken,
    /// The mean time of each token that follows.
    TimePerOutputToken,
    /// How far apart the predictions of both are.
    PredictionDrift,
    /// Share of rows that both answer alike.
    Agreement,
    /// Share of the predictions with a label that are wrong.
    LabelledErrorRate,
    /// What a query answers.
    Prometheus,
}

/// What is so with a ModelDeployment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelDeploymentStatus {
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// One word for people: Pending, Starting, Serving, Rolling, Paused, RolledBack, Degraded. No program should read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// Available, Ready, Reconciling, Stalled, and Autoscaled where `spec.autoscaling` is given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The version that serves, and since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable: Option<StableStatus>,
    /// The version that is being tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanaryStatus>,
    /// How traffic is divided between versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<TrafficStatus>,
    /// The version that served before, while its pods are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bake: Option<BakeStatus>,
    /// How the last roll-out ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_rollout: Option<RolloutRecord>,
    /// Versions that failed in a roll-out. Neither they nor another version of the same fingerprint are tried again. The newest 500; of those before the newest 50 the reasons are cut short.
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
    /// Digest of its files: a record of this name with other files is another version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// The version that is being tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CanaryStatus {
    /// Name of the ModelVersion.
    pub version: String,
    /// The step, from 0.
    pub step: i32,
    /// The share of traffic that the step gives it, in percent; while the pods of a step start, that of the one before, and 0 before the first.
    pub weight: i32,
    /// When the roll-out started.
    pub started: Timestamp,
    /// Since when this step's pods are awaited.
    pub since: Timestamp,
    /// When all pods of the step were ready; absent while they start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_started: Option<Timestamp>,
    /// How many of its pods were ready when the step began: fewer than that were lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_replicas: Option<i32>,
    /// Digest of the strategy and the steps that it goes by: with others it begins anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps_digest: Option<String>,
    /// How often pods of this step were lost after it had begun.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub interruptions: i32,
    /// What the analysis says, in words; written where it has another thing to say, and not as requests are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analysis: Option<String>,
    /// When what is compared, below, was written down last: as a step begins and ends, and in between now and then where it has moved by much. After a restart of the operator it goes on from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded: Option<Timestamp>,
    /// What the comparison of errors had come to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors: Option<SharesSeen>,
    /// The same of requests that were slow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow: Option<SharesSeen>,
    /// Of answers whose first token was slow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_first_tokens: Option<SharesSeen>,
    /// Of answers whose further tokens were slow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_tokens: Option<SharesSeen>,
    /// The canary's errors while the stable version had no requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alone: Option<ShareSeen>,
    /// Rows that the canary answers otherwise than the stable version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disagreed: Option<ShareSeen>,
    /// How far apart the predictions are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predictions: Option<DistanceSeen>,
    /// What labels said of both versions' predictions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labelled: Option<LabelledSeen>,
    /// Whether the canary's pods take the place of some of the stable version's, as `spec.rollout.surge` allows where there is no room for both.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_place: bool,
    /// Why it is held without traffic, as `spec.rollout.onFailure: Pause` asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// What the annotations `windlass.dev/promote` and `windlass.dev/abort` say since before this roll-out began: of this one they say nothing, until they are taken off.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2))]
    pub said_before: Vec<String>,
}

// The rules of a decimal number would make the schema a tenth longer; what the operator itself writes has no need of them.
/// How a share of a canary's requests and of the stable version's compare.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SharesSeen {
    /// What was asked for: `notWorseThan`, or `maxRatio`.
    #[schemars(with = "String")]
    pub limit: Decimal,
    /// Over the whole roll-out.
    pub rollout: Compared,
    /// In this step.
    pub step: Compared,
    /// Natural logarithm of the evidence that it has become worse in the course of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub late: Option<Decimal>,
}

/// How a share compares with a limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ShareSeen {
    /// What the share may be.
    #[schemars(with = "String")]
    pub limit: Decimal,
    /// What was counted.
    pub seen: Counted,
    /// Natural logarithm of the evidence that the share lies above the limit.
    #[schemars(with = "String")]
    pub worse: Decimal,
    /// Of the evidence that it does not.
    #[schemars(with = "String")]
    pub within: Decimal,
}

/// How far apart two distributions are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DistanceSeen {
    /// The chance that it is ever said to be larger than it is.
    #[schemars(with = "String")]
    pub level: Decimal,
    /// How often it was looked at: each look is worth a part of the chance to be wrong.
    pub looks: i32,
    /// What all looks have in common: the distance is this at least.
    #[schemars(with = "String")]
    pub lower: Decimal,
    /// And this at most.
    #[schemars(with = "String")]
    pub upper: Decimal,
}

/// Two shares of requests, counted in the same minutes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Compared {
    /// Of the canary.
    pub canary: Counted,
    /// Of the stable version.
    pub stable: Counted,
    /// Natural logarithm of the evidence that it is worse than is allowed.
    #[schemars(with = "String")]
    pub worse: Decimal,
    /// Of the evidence that it is not; 3.0 is enough.
    #[schemars(with = "String")]
    pub within: Decimal,
}

/// Requests, and those of them that are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counted {
    /// All; of labels, predictions that have one.
    pub requests: i64,
    /// Those that failed, were slow, or were wrong.
    pub hits: i64,
}

/// A version whose pods are kept after another has taken its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BakeStatus {
    /// Name of the ModelVersion that served before, and serves again if the new one does harm.
    pub version: String,
    /// Digest of its files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Since when the new one serves.
    pub since: Timestamp,
    /// Until when the old one is kept.
    pub until: Timestamp,
    /// The share of errors that the new one may have, where that is judged: what the old one had, and what is allowed beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Decimal>,
    /// When the errors, below, were written down last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded: Option<Timestamp>,
    /// Requests since then and those that failed, when this was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors: Option<Counted>,
    /// Natural logarithm of the evidence that its share of errors lies above the limit, when this was written: from 4.6 on the old one serves again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worse: Option<Decimal>,
}

/// How traffic is divided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrafficStatus {
    /// `Gateway`: by the weights of the HTTPRoute. `Replicas`: by how many pods each version has. `Service`: all of it goes to one version.
    pub by: TrafficBy,
    /// Since when it is divided so.
    pub since: Timestamp,
    /// The share that was asked for of each version, in percent, by name; those that have none are not in it.
    pub weights: std::collections::BTreeMap<String, i32>,
}

/// By what traffic is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TrafficBy {
    /// By the weights of the HTTPRoute.
    Gateway,
    /// By how many pods each version has.
    Replicas,
    /// All of it goes to one version.
    Service,
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
    /// What was known then, as `status.canary` or, of a version that was taken back while it baked, `status.bake` tells it: the `evidence` of the decision's record is its digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<SeenThen>,
}

/// What a decision rests on. Its schema is that of `status.canary` or `status.bake`, and is not said a second time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SeenThen(pub serde_json::Value);

impl JsonSchema for SeenThen {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SeenThen".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
    }
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
    /// The runtime preset that the template is of; absent with a template of the spec's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    /// The model server's pod.
    pub template: PodTemplate,
}
