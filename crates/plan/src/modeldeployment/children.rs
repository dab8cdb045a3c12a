//! Builders of a ModelDeployment's children.

mod look;
mod proxy;

use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment,
};
use k8s_openapi::api::core::v1::{
    PodSpec, PodTemplateSpec, Service, ServicePort, ServiceSpec, TopologySpreadConstraint,
};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use windlass_api::agent::paths;
use windlass_api::{ModelDeployment, ModelVersion, labels};

use crate::pods::{self, Agent, CANDIDATE_PORTS, Model};
use crate::{reports, storage, template};

pub use look::{LabelsLook, labels_job};

/// Port of the Service and of the proxy.
pub const PORT: i32 = 8080;
/// Name of the model server's container.
pub const SERVER: &str = "server";
/// Seconds that a pod has for what is in flight when it goes.
const GRACE_SECONDS: i64 = 30;

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
pub fn service(deployment: &ModelDeployment, only: Option<&str>) -> Service {
    named_service(deployment, deployment.name_any(), only, None)
}

/// The Service of one version: what a route names.
pub fn version_service(deployment: &ModelDeployment, version: &ModelVersion) -> Service {
    let name = deployment_name(deployment, version);
    let version = version.name_any();
    named_service(deployment, name, Some(&version), Some(&version))
}

/// The Service by which the version that is tried is reached, apart from all traffic.
pub fn preview_service(deployment: &ModelDeployment, version: &ModelVersion) -> Service {
    let name = preview_name(deployment);
    let version = version.name_any();
    named_service(deployment, name, Some(&version), Some(&version))
}

fn preview_name(deployment: &ModelDeployment) -> String {
    format!("{}-preview", deployment.name_any())
}

fn named_service(
    deployment: &ModelDeployment,
    name: String,
    selected: Option<&str>,
    labelled: Option<&str>,
) -> Service {
    let of = deployment.name_any();
    let mut more = vec![
        (labels::DEPLOYMENT, of.as_str()),
        (labels::MODEL, deployment.spec.model.as_str()),
    ];
    more.extend(labelled.map(|version| (labels::VERSION, version)));
    let mut selector = selector(deployment);
    selector.extend(selected.map(|version| (labels::VERSION, version.to_owned())));
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

/// Seconds that pods may take to become ready: a load that its start-up probe still waits for is not late.
pub fn deadline_seconds(deployment: &ModelDeployment) -> i32 {
    let spec = &deployment.spec;
    spec.progress_deadline_seconds + spec.startup_deadline_seconds.unwrap_or(0)
}

/// The Deployment of one version.
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
    let has_own_probe = container.startup_probe.is_some();
    let model = &deployment.spec.model;
    let agent = Agent {
        image: agent_image,
        storage: deployment.spec.storage.as_ref(),
    };
    let loaded = Model {
        version,
        signed_by: deployment.spec.signed_by.as_ref(),
        from_claim: deployment.spec.from_claim.unwrap_or_default(),
        volume: "windlass-model",
        folder: paths::MODEL,
    };
    pods::fetch_model(&mut spec, "windlass-fetch", agent, loaded);
    pods::server_sidecar(&mut spec, container, SERVER, loaded, CANDIDATE_PORTS);

    let grace = *spec
        .termination_grace_period_seconds
        .get_or_insert(GRACE_SECONDS);
    let proxy = proxy::container(&mut spec, deployment, version, agent, grace, has_own_probe);
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
            progress_deadline_seconds: Some(deadline_seconds(deployment)),
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
