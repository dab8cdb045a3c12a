//! Builders of a ModelDeployment's children.

use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment,
};
use k8s_openapi::api::core::v1::{
    ContainerPort, HTTPGetAction, PodSpec, PodTemplateSpec, Probe, Service, ServicePort,
    ServiceSpec, TopologySpreadConstraint,
};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use windlass_api::agent::{METRICS_PORT, SIGNATURE_FILE, paths};
use windlass_api::{AnalysisMetric, ModelDeployment, ModelVersion, Protocol, Strategy, labels};

use crate::pods::{self, Agent, CANDIDATE_PORTS, Model, flag};
use crate::{reports, storage, template};

/// Port of the Service and of the proxy.
pub const PORT: i32 = 8080;
/// Seconds that a pod has for what is in flight when it goes.
const GRACE_SECONDS: i64 = 30;
/// Seconds that a pod that goes still takes new requests, until every node has been told.
const DRAIN_SECONDS: u32 = 5;

/// Name of the Deployment of a version.
pub fn deployment_name(deployment: &ModelDeployment, version: &ModelVersion) -> String {
    format!("{}-v{}", deployment.name_any(), version.spec.version)
}

/// The labels by which the Service and people find the pods.
pub fn selector(deployment: &ModelDeployment) -> Vec<(&'static str, String)> {
    vec![
        (labels::DEPLOYMENT, deployment.name_any()),
        (labels::ROLE, "serving".to_owned()),
    ]
}

/// The Service: one address, whichever versions serve behind it; all of them, or the one that is named.
pub fn service(deployment: &ModelDeployment, only: Option<&ModelVersion>) -> Service {
    named_service(deployment, deployment.name_any(), only, None)
}

/// The Service of one version: what a route names.
pub fn version_service(deployment: &ModelDeployment, version: &ModelVersion) -> Service {
    let name = deployment_name(deployment, version);
    named_service(deployment, name, Some(version), Some(version))
}

/// The Service by which the version that is tried is reached, apart from all traffic.
pub fn preview_service(deployment: &ModelDeployment, version: &ModelVersion) -> Service {
    named_service(
        deployment,
        preview_name(deployment),
        Some(version),
        Some(version),
    )
}

fn preview_name(deployment: &ModelDeployment) -> String {
    format!("{}-preview", deployment.name_any())
}

fn named_service(
    deployment: &ModelDeployment,
    name: String,
    selected: Option<&ModelVersion>,
    labelled: Option<&ModelVersion>,
) -> Service {
    let of = deployment.name_any();
    let version = labelled.map(ResourceExt::name_any);
    let mut more = vec![
        (labels::DEPLOYMENT, of.as_str()),
        (labels::MODEL, deployment.spec.model.as_str()),
    ];
    more.extend(version.as_deref().map(|version| (labels::VERSION, version)));
    let mut selector = selector(deployment);
    selector.extend(selected.map(|version| (labels::VERSION, version.name_any())));
    Service {
        metadata: pods::child_meta(deployment, name, "serving", &more),
        spec: Some(ServiceSpec {
            selector: selecting(selector).match_labels,
            ports: Some(vec![ServicePort {
                name: Some("http".to_owned()),
                port: PORT,
                protocol: Some("TCP".to_owned()),
                target_port: Some(IntOrString::Int(PORT)),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

/// How many pods may be taken at once by who drains nodes: as many as a change of the pods may take beside what is asked for.
const SPARE: &str = "25%";

/// What whoever drains nodes has to leave.
pub fn disruption_budget(deployment: &ModelDeployment) -> PodDisruptionBudget {
    let name = deployment.name_any();
    let more = [
        (labels::DEPLOYMENT, name.as_str()),
        (labels::MODEL, deployment.spec.model.as_str()),
    ];
    PodDisruptionBudget {
        metadata: pods::child_meta(deployment, name.clone(), "serving", &more),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::String(SPARE.to_owned())),
            selector: Some(selecting(selector(deployment))),
            // A pod that is not ready serves nobody: it may go.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    }
}

fn selecting(labels: Vec<(&'static str, String)>) -> LabelSelector {
    let own = |(key, value): (&str, String)| (key.to_owned(), value);
    LabelSelector {
        match_labels: Some(labels.into_iter().map(own).collect()),
        ..LabelSelector::default()
    }
}

/// Pods of a version go to different nodes and zones where there are some, unless the template says otherwise.
fn spread(spec: &mut PodSpec, selected: &LabelSelector) {
    spec.topology_spread_constraints.get_or_insert_with(|| {
        ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
            .map(|key| TopologySpreadConstraint {
                max_skew: 1,
                topology_key: key.to_owned(),
                when_unsatisfiable: "ScheduleAnyway".to_owned(),
                label_selector: Some(selected.clone()),
                ..TopologySpreadConstraint::default()
            })
            .to_vec()
    });
}

/// Where a model server of a protocol says that it is ready.
fn readiness(protocol: Protocol, model: &str) -> String {
    match protocol {
        Protocol::OpenInference | Protocol::OpenInferenceGRPC => {
            format!("/v2/models/{model}/ready")
        }
        Protocol::V1 => format!("/v1/models/{model}"),
        Protocol::OpenAI => "/v1/models".to_owned(),
    }
}

/// The Deployment of one version.
#[allow(clippy::too_many_lines)] // one literal
pub fn version_deployment(
    deployment: &ModelDeployment,
    version: &ModelVersion,
    replicas: i32,
    server: &PodTemplateSpec,
    agent_image: &str,
) -> Deployment {
    let mut server = server.clone();
    let mut spec = server.spec.take().unwrap_or_default();
    let container = spec.containers.remove(0);
    let model = &deployment.spec.model;
    let agent = Agent {
        image: agent_image,
        storage: deployment.spec.storage.as_ref(),
    };
    pods::fetch_model(
        &mut spec,
        "windlass-fetch",
        agent,
        Model {
            version,
            signed_by: deployment.spec.signed_by.as_ref(),
            volume: "windlass-model",
            folder: paths::MODEL,
        },
    );
    pods::server_sidecar(
        &mut spec,
        container,
        "server",
        model,
        "windlass-model",
        paths::MODEL,
        CANDIDATE_PORTS,
    );

    let log = deployment
        .spec
        .observe
        .as_ref()
        .and_then(|observe| observe.log_payloads.as_ref());
    let grace = *spec
        .termination_grace_period_seconds
        .get_or_insert(GRACE_SECONDS);
    let mut proxy = pods::agent_container(
        &mut spec,
        pods::AGENT,
        agent,
        arguments(deployment, version, grace),
    );
    proxy.ports = Some(vec![
        port("http", PORT),
        port("metrics", i32::from(METRICS_PORT)),
    ]);
    proxy.readiness_probe = Some(Probe {
        http_get: Some(HTTPGetAction {
            path: Some(readiness(deployment.spec.protocol, model)),
            port: IntOrString::Int(PORT),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(2),
        timeout_seconds: Some(5),
        failure_threshold: Some(3),
        ..Probe::default()
    });
    pods::mount_empty(&mut spec, &mut proxy, "windlass-model", paths::MODEL, true);
    pods::mount_claims(&mut spec, &mut proxy, [], log.map(|log| &log.uri));
    spec.containers.insert(0, proxy);
    storage::run_as(&mut spec, agent.storage);
    template::harden(&mut spec);
    reports::limit(&mut spec);

    let mut selected = selector(deployment);
    selected.push((labels::VERSION, version.name_any()));
    let selected = selecting(selected);
    spread(&mut spec, &selected);
    let (name, version_name) = (deployment.name_any(), version.name_any());
    let more = [
        (labels::DEPLOYMENT, name.as_str()),
        (labels::MODEL, model.as_str()),
        (labels::VERSION, version_name.as_str()),
    ];
    let metadata = pods::child_meta(
        deployment,
        deployment_name(deployment, version),
        "serving",
        &more,
    );
    let mut pod_meta = server.metadata.take().unwrap_or_default();
    pod_meta
        .labels
        .get_or_insert_default()
        .extend(metadata.labels.clone().unwrap_or_default());
    Deployment {
        metadata,
        spec: DeploymentSpec {
            replicas: Some(replicas),
            selector: selected,
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::String("25%".to_owned())),
                    max_unavailable: Some(IntOrString::Int(0)),
                }),
            }),
            progress_deadline_seconds: Some(deployment.spec.progress_deadline_seconds),
            revision_history_limit: Some(1),
            template: PodTemplateSpec {
                metadata: Some(pod_meta),
                spec: Some(spec),
            },
            ..DeploymentSpec::default()
        },
        status: None,
    }
}

fn port(name: &str, number: i32) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: number,
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

fn arguments(deployment: &ModelDeployment, version: &ModelVersion, grace: i64) -> Vec<String> {
    let mut arguments = vec!["proxy".to_owned()];
    let mut add = |name: &str, value: String| flag(&mut arguments, name, value);
    add("listen", format!("0.0.0.0:{PORT}"));
    add(
        "upstream",
        format!("http://127.0.0.1:{}", CANDIDATE_PORTS.http),
    );
    if deployment.spec.protocol == Protocol::OpenInferenceGRPC {
        add(
            "grpc-upstream",
            format!("http://127.0.0.1:{}", CANDIDATE_PORTS.grpc),
        );
    }
    add("metrics-listen", format!("0.0.0.0:{METRICS_PORT}"));
    add("model", deployment.spec.model.clone());
    add("version", version.name_any());
    add("protocol", deployment.spec.protocol.as_str().to_owned());
    add("signature", format!("{}/{SIGNATURE_FILE}", paths::MODEL));
    add("drain", format!("{DRAIN_SECONDS}s"));
    // Half of what is left is for requests that are under way, half for the log; a second for the end itself.
    let left = (grace - i64::from(DRAIN_SECONDS) - 1).max(2);
    add("finish", format!("{}s", left / 2));
    let rollout = &deployment.spec.rollout;
    if rollout.strategy == Strategy::Shadow {
        // Where nothing is tried, nothing has this name.
        let preview = preview_name(deployment);
        let namespace = deployment.namespace().unwrap_or_default();
        add("mirror", format!("http://{preview}.{namespace}:{PORT}"));
    }
    let mut checks = rollout.analysis.iter();
    if checks.any(|check| check.metric == AnalysisMetric::PredictionDrift) {
        add("count-predictions", "1".to_owned());
    }
    if let Some(log) = deployment
        .spec
        .observe
        .as_ref()
        .and_then(|observe| observe.log_payloads.as_ref())
    {
        add("log-uri", log.uri.0.clone());
        add("sample", log.sample.0.clone());
    }
    arguments
}
