//! What changes the number of pods by the load: the one module that knows HorizontalPodAutoscalers and KEDA.
//!
//! ```text
//!   HorizontalPodAutoscaler, or ScaledObject ──scale subresource──> ModelDeployment ──> pods of stable and canary
//!        ^ CPU, or custom.metrics.k8s.io            ^ a query to Prometheus
//! ```
//!
//! Every metric is a sum over all pods, divided by what one is to have: how many pods there are beside those that are asked
//! for, of a canary or of a version that is kept warm, does not enter into it.

use std::borrow::Cow;
use std::sync::Arc;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::autoscaling::v2::{
    ContainerResourceMetricSource, CrossVersionObjectReference, HorizontalPodAutoscaler,
    HorizontalPodAutoscalerSpec, HorizontalPodAutoscalerStatus, MetricIdentifier, MetricSpec,
    MetricTarget, PodsMetricSource,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, ResourceExt};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use windlass_api::{
    Autoscaling, Decimal, GoDuration, ModelDeployment, ScalingMetric, Surge, labels,
};

use super::children::SERVER;
use crate::pods;

/// KEDA's group.
pub const KEDA_GROUP: &str = "keda.sh";
/// The version of it that is written.
pub const KEDA_VERSION: &str = "v1alpha1";
/// The group of metrics that an adapter serves.
pub const CUSTOM_METRICS_GROUP: &str = "custom.metrics.k8s.io";
/// What an adapter has to call the number of requests that a pod answers at once.
const CONCURRENCY: &str = "windlass_proxy_concurrency";
/// What it has to call the time that 95% of a pod's requests are answered in, in seconds.
const LATENCY: &str = "windlass_proxy_latency_p95_seconds";
/// The agents' histogram of the time that requests take.
const DURATION: &str = "windlass_proxy_request_duration_seconds";
/// What span of time a query looks back over: two readings of a Prometheus that reads once a minute.
const WINDOW: &str = "2m";

/// `keda.sh/v1alpha1` ScaledObject, as far as it is written and read here.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct ScaledObject {
    /// Its metadata.
    pub metadata: ObjectMeta,
    /// What is asked for.
    #[serde(default)]
    pub spec: Value,
    /// What KEDA says of it.
    #[serde(default)]
    pub status: ScaledObjectStatus,
}

/// What KEDA says of a `ScaledObject`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct ScaledObjectStatus {
    /// Ready, Active, Fallback, Paused.
    #[serde(default)]
    pub conditions: Vec<KedaCondition>,
}

/// A condition as KEDA writes it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct KedaCondition {
    /// Its type.
    #[serde(rename = "type")]
    pub type_: String,
    /// True, False or Unknown.
    pub status: String,
    /// Why, in a word.
    #[serde(default)]
    pub reason: String,
    /// Why.
    #[serde(default)]
    pub message: String,
}

impl Serialize for ScaledObject {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        json!({
            "apiVersion": Self::api_version(&()), "kind": Self::kind(&()),
            "metadata": self.metadata, "spec": self.spec,
        })
        .serialize(serializer)
    }
}

impl Resource for ScaledObject {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "ScaledObject".into()
    }
    fn group((): &()) -> Cow<'_, str> {
        KEDA_GROUP.into()
    }
    fn version((): &()) -> Cow<'_, str> {
        KEDA_VERSION.into()
    }
    fn plural((): &()) -> Cow<'_, str> {
        "scaledobjects".into()
    }
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// What is known of autoscalers for one ModelDeployment.
#[derive(Clone, Debug, Default)]
pub struct Autoscalers {
    /// Whether the cluster serves KEDA's kind.
    pub has_keda: bool,
    /// Whether an adapter serves metrics of pods.
    pub has_adapter: bool,
    /// The Prometheus that the administrator configured.
    pub prometheus: Option<String>,
    /// The HorizontalPodAutoscaler, where it is there.
    pub horizontal: Option<Arc<HorizontalPodAutoscaler>>,
    /// KEDA's, where it is there.
    pub scaled: Option<Arc<ScaledObject>>,
}

impl Autoscalers {
    /// Whether the HorizontalPodAutoscaler that is there goes by what an adapter serves. An adapter comes and goes with its
    /// pods: what was made for it stays.
    pub fn goes_by_adapter(&self) -> bool {
        let metrics = self.horizontal.iter().flat_map(|one| &one.spec.metrics);
        metrics.flatten().any(|metric| metric.pods.is_some())
    }

    /// What the one that is there says stands against its work, in a word and in a sentence.
    pub fn complaint(&self) -> Option<(String, String)> {
        let name = |kind: &str, metadata: &ObjectMeta| {
            format!("{kind} {}", metadata.name.as_deref().unwrap_or_default())
        };
        if let Some(one) = &self.horizontal {
            let status = one.status.as_ref();
            let conditions = status.and_then(|status| status.conditions.as_ref());
            let found = conditions.into_iter().flatten().find(|condition| {
                // Whoever asks for no pods at all has turned it off.
                ["AbleToScale", "ScalingActive"].contains(&condition.type_.as_str())
                    && condition.status == "False"
                    && condition.reason.as_deref() != Some("ScalingDisabled")
            })?;
            return Some((
                found.reason.clone().unwrap_or_default(),
                format!(
                    "the {} does not get on: {}",
                    name(HORIZONTAL, &one.metadata),
                    found.message.as_deref().unwrap_or("it does not say why")
                ),
            ));
        }
        let one = self.scaled.as_ref()?;
        let mut conditions = one.status.conditions.iter();
        let found = conditions.find(|one| one.type_ == "Ready" && one.status == "False")?;
        Some((
            found.reason.clone(),
            format!(
                "the {} does not get on: {}",
                name("ScaledObject", &one.metadata),
                found.message
            ),
        ))
    }
}

/// The kind that every cluster has.
pub const HORIZONTAL: &str = "HorizontalPodAutoscaler";

/// Takes from a HorizontalPodAutoscaler what changes with every reading of its metrics.
pub fn trim(autoscaler: &mut HorizontalPodAutoscaler) {
    let Some(status) = autoscaler.status.take() else {
        return;
    };
    let mut conditions = status.conditions;
    for condition in conditions.iter_mut().flatten() {
        condition.last_transition_time = None;
        if condition.status != "False" {
            condition.message = None;
        }
    }
    autoscaler.status = Some(HorizontalPodAutoscalerStatus {
        conditions,
        ..HorizontalPodAutoscalerStatus::default()
    });
}

/// The HorizontalPodAutoscaler of a ModelDeployment.
pub fn horizontal(
    deployment: &ModelDeployment,
    autoscaling: &Autoscaling,
) -> HorizontalPodAutoscaler {
    let pods = |name: &str| MetricSpec {
        type_: "Pods".to_owned(),
        pods: Some(PodsMetricSource {
            metric: MetricIdentifier {
                name: name.to_owned(),
                selector: None,
            },
            target: MetricTarget {
                type_: "AverageValue".to_owned(),
                average_value: Some(Quantity(threshold(autoscaling))),
                ..MetricTarget::default()
            },
        }),
        ..MetricSpec::default()
    };
    let metric = match autoscaling.metric {
        // The model server's alone: other containers need not request any.
        ScalingMetric::Cpu => MetricSpec {
            type_: "ContainerResource".to_owned(),
            container_resource: Some(ContainerResourceMetricSource {
                container: SERVER.to_owned(),
                name: "cpu".to_owned(),
                target: MetricTarget {
                    type_: "Utilization".to_owned(),
                    average_utilization: autoscaling.target.parse().ok(),
                    ..MetricTarget::default()
                },
            }),
            ..MetricSpec::default()
        },
        ScalingMetric::Concurrency => pods(CONCURRENCY),
        ScalingMetric::Latency => pods(LATENCY),
    };
    HorizontalPodAutoscaler {
        metadata: metadata(deployment),
        spec: HorizontalPodAutoscalerSpec {
            min_replicas: Some(autoscaling.min_replicas),
            max_replicas: autoscaling.max_replicas,
            metrics: Some(vec![metric]),
            scale_target_ref: CrossVersionObjectReference {
                api_version: Some(ModelDeployment::api_version(&()).into_owned()),
                kind: ModelDeployment::kind(&()).into_owned(),
                name: deployment.name_any(),
            },
            behavior: None,
        },
        status: None,
    }
}

/// KEDA's object for a ModelDeployment, by what this Prometheus knows.
pub fn scaled(
    deployment: &ModelDeployment,
    autoscaling: &Autoscaling,
    prometheus: &str,
) -> ScaledObject {
    let target = json!({
        "apiVersion": ModelDeployment::api_version(&()), "kind": ModelDeployment::kind(&()),
        "name": deployment.name_any(),
    });
    ScaledObject {
        metadata: metadata(deployment),
        spec: json!({
            "scaleTargetRef": target,
            "minReplicaCount": autoscaling.min_replicas,
            "maxReplicaCount": autoscaling.max_replicas,
            "triggers": [{
                "type": "prometheus",
                "metricType": "AverageValue",
                "metadata": {
                    "serverAddress": prometheus,
                    "query": query(deployment, autoscaling.metric),
                    "threshold": threshold(autoscaling),
                    // Where nothing is known, nothing is done: it is not the same as no load.
                    "ignoreNullValues": "false",
                },
            }],
        }),
        status: ScaledObjectStatus::default(),
    }
}

fn metadata(deployment: &ModelDeployment) -> ObjectMeta {
    let name = deployment.name_any();
    let more = [
        (labels::DEPLOYMENT, name.as_str()),
        (labels::MODEL, deployment.spec.model.as_str()),
    ];
    pods::child_meta(deployment, name.clone(), "serving", &more)
}

/// The load of all pods, of which each is to have [`threshold`].
fn query(deployment: &ModelDeployment, metric: ScalingMetric) -> String {
    let (name, namespace) = (
        deployment.name_any(),
        deployment.namespace().unwrap_or_default(),
    );
    // Of this one alone, and not of another whose name begins alike: the Deployment's hash, and the pod's five letters.
    let of =
        format!("{{namespace=\"{namespace}\",pod=~\"{name}-v[0-9]+-[a-z0-9]+(-[a-z0-9]{{5}})?\"}}");
    match metric {
        // Little's law: the time that is spent on requests in a second is how many there are at once.
        ScalingMetric::Cpu | ScalingMetric::Concurrency => {
            format!("sum(rate({DURATION}_sum{of}[{WINDOW}]))")
        }
        ScalingMetric::Latency => {
            let quantile = format!(
                "histogram_quantile(0.95, sum by (le) (rate({DURATION}_bucket{of}[{WINDOW}])))"
            );
            // How many pods the load is on is told by the version that has the most: a canary's come on top of all that are
            // asked for, unless they take the place of others.
            let pods = match deployment.spec.rollout.surge {
                Surge::Always => format!(
                    "max(count by (version) (label_replace({DURATION}_count{of}, \"version\", \"$1\", \"pod\", \"{name}-(v[0-9]+)-.*\")))"
                ),
                Surge::Auto => format!("count({DURATION}_count{of})"),
            };
            // Without requests there is no latency, which is less than any.
            format!("({quantile} * scalar({pods})) >= 0 or 0 * sum({DURATION}_count{of})")
        }
    }
}

/// What one pod is to have of the load: requests, or seconds.
fn threshold(autoscaling: &Autoscaling) -> String {
    match autoscaling.metric {
        ScalingMetric::Cpu | ScalingMetric::Concurrency => autoscaling.target.clone(),
        ScalingMetric::Latency => {
            let span = GoDuration(autoscaling.target.clone()).value();
            let seconds = span.map_or(0.0, |span| span.as_secs_f64());
            Decimal::from_f64(seconds).map_or_else(String::new, |seconds| seconds.0)
        }
    }
}
