//! The builder of a validation's Job.

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use kube::ResourceExt;
use windlass_api::agent::{SIGNATURE_FILE, paths};
use windlass_api::{
    Address, Decimal, DisparityGate, FromClaim, MetricGate, ModelVersion, Protocol, Validation,
    labels,
};

use crate::pods::{self, Agent, CANDIDATE_PORTS, CHAMPION_PORTS, Model, ServerPorts, flag};
use crate::{reports, storage, template};

/// Seconds that a model server has to become ready.
const READY_SECONDS: u32 = 120;

/// The argument that names the champion.
const CHAMPION_FLAG: &str = "--champion-name";

/// Name of the validation's Job.
pub fn job_name(version: &ModelVersion) -> String {
    format!("{}-validation", version.name_any())
}

/// The labels of a Job of a version's.
pub(super) fn labels_of(version: &ModelVersion) -> Vec<(&'static str, String)> {
    vec![
        (labels::MODEL, version.spec.model.clone()),
        (labels::VERSION, version.name_any()),
    ]
}

/// Where reports on a version go: beside its files.
pub fn evaluation_address(version: &ModelVersion) -> Address {
    Address(format!(
        "{}-evaluation",
        version.spec.artifact.uri.0.trim_end_matches('/')
    ))
}

/// A Job that judges a version, beside its champion where there is one.
pub fn validation_job(
    version: &ModelVersion,
    validation: &Validation,
    champion: Option<&ModelVersion>,
    server: &PodTemplateSpec,
    agent_image: &str,
) -> Job {
    let mut server = server.clone();
    let mut spec = server.spec.take().unwrap_or_default();
    let container = spec.containers.remove(0);
    let model = &version.spec.model;
    // The champion is read with it as well.
    let agent = Agent {
        image: agent_image,
        storage: version.spec.storage.as_ref(),
    };

    let candidate = Model {
        version,
        signed_by: None,
        // It is judged on what nobody changes meanwhile.
        from_claim: FromClaim::Fetch,
        volume: "windlass-model",
        folder: paths::MODEL,
    };
    let champion_model = champion.map(|version| Model {
        version,
        volume: "windlass-champion",
        folder: paths::CHAMPION,
        ..candidate
    });
    pods::fetch_model(&mut spec, "windlass-fetch", agent, candidate);
    if let Some(champion) = champion_model {
        pods::fetch_model(&mut spec, "windlass-fetch-champion", agent, champion);
        pods::server_sidecar(
            &mut spec,
            container.clone(),
            "champion",
            champion,
            CHAMPION_PORTS,
        );
    }
    pods::server_sidecar(&mut spec, container, "server", candidate, CANDIDATE_PORTS);

    let output = evaluation_address(version);
    let mut evaluate = pods::agent_container(
        &mut spec,
        pods::AGENT,
        agent,
        arguments(version, validation, champion, &output),
    );
    pods::mount_claims(
        &mut spec,
        &mut evaluate,
        [&validation.dataset.uri],
        [&output],
    );
    for read in [Some(candidate), champion_model].into_iter().flatten() {
        pods::mount_model(&mut spec, &mut evaluate, read);
    }
    spec.containers.insert(0, evaluate);
    storage::run_as(&mut spec, agent.storage);
    spec.restart_policy = Some("Never".to_owned());
    template::harden(&mut spec);
    reports::limit(&mut spec);

    let name = version.name_any();
    let more = [
        (labels::MODEL, model.as_str()),
        (labels::VERSION, name.as_str()),
    ];
    let metadata = pods::child_meta(version, job_name(version), "validation", &more);
    let mut pod_meta = server.metadata.take().unwrap_or_default();
    pod_meta
        .labels
        .get_or_insert_default()
        .extend(metadata.labels.clone().unwrap_or_default());
    Job {
        metadata,
        spec: Some(JobSpec {
            backoff_limit: Some(0),
            pod_failure_policy: Some(pods::ignore_disruption()),
            template: PodTemplateSpec {
                metadata: Some(pod_meta),
                spec: Some(spec),
            },
            ..JobSpec::default()
        }),
        status: None,
    }
}

/// The champion that a Job compares with: what was started is what counts, also when we stopped before writing it down.
pub fn champion(job: &Job) -> Option<String> {
    let containers = &job.spec.as_ref()?.template.spec.as_ref()?.containers;
    let arguments = containers
        .iter()
        .find(|container| container.name == pods::AGENT)?
        .args
        .as_ref()?;
    let at = arguments
        .iter()
        .position(|argument| argument == CHAMPION_FLAG)?;
    arguments.get(at + 1).cloned()
}

fn arguments(
    version: &ModelVersion,
    validation: &Validation,
    champion: Option<&ModelVersion>,
    output: &Address,
) -> Vec<String> {
    let mut arguments = vec!["evaluate".to_owned()];
    let mut add = |name: &str, value: String| flag(&mut arguments, name, value);
    add("model-name", version.spec.model.clone());
    let protocol = validation.protocol;
    add("protocol", protocol.as_str().to_owned());
    add("server", server_address(protocol, CANDIDATE_PORTS));
    add("signature", format!("{}/{SIGNATURE_FILE}", paths::MODEL));
    if let Some(champion) = champion {
        add("champion-server", server_address(protocol, CHAMPION_PORTS));
        add(CHAMPION_FLAG.trim_start_matches('-'), champion.name_any());
        add(
            "champion-signature",
            format!("{}/{SIGNATURE_FILE}", paths::CHAMPION),
        );
    }
    add("dataset", validation.dataset.uri.0.clone());
    add("format", validation.dataset.format.as_str().to_owned());
    add("label", validation.dataset.label.clone());
    if let Some(column) = &validation.dataset.time_column {
        // Also without a window: the baseline tells what there is of each season.
        add("time-column", column.clone());
        if let Some(window) = &version.spec.window {
            add("window-start", window.start.to_string());
            add("window-end", window.end.to_string());
        }
    }
    for (name, column) in [
        ("weight", &validation.dataset.weight),
        ("query", &validation.dataset.query),
    ] {
        if let Some(column) = column {
            add(name, column.clone());
        }
    }
    for gate in &validation.metrics {
        add("metric", metric(gate));
    }
    for gate in &validation.disparities {
        add("disparity", disparity(gate));
    }
    for segment in &validation.segments {
        add("segment", segment.clone());
    }
    for column in &validation.segment_by {
        add("segment-by", column.clone());
    }
    add("min-samples", validation.min_samples.to_string());
    if let Some(against) = &validation.against {
        add("margin", against.margin.0.clone());
        add("confidence", against.confidence.0.clone());
    }
    add("output", output.0.clone());
    add("ready-timeout", format!("{READY_SECONDS}s"));
    arguments
}

/// Where a model server in this pod is asked.
fn server_address(protocol: Protocol, ports: ServerPorts) -> String {
    let port = match protocol {
        Protocol::OpenInferenceGRPC => ports.grpc,
        Protocol::OpenInference | Protocol::V1 | Protocol::OpenAI => ports.http,
    };
    format!("http://127.0.0.1:{port}")
}

fn metric(gate: &MetricGate) -> String {
    format!(
        "{}{}{}",
        gate.as_reported(),
        limit("min", gate.min.as_ref()),
        limit("max", gate.max.as_ref())
    )
}

/// The column comes last: its name may hold anything.
fn disparity(gate: &DisparityGate) -> String {
    format!(
        "{}{},by={}",
        gate.name.as_str(),
        limit("max", gate.max.as_ref()),
        gate.by
    )
}

fn limit(name: &str, limit: Option<&Decimal>) -> String {
    limit
        .map(|limit| format!(",{name}={limit}"))
        .unwrap_or_default()
}
