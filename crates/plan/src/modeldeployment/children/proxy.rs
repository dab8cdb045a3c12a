//! The agent's container in front of a model server: its probes and what it is told.

use k8s_openapi::api::core::v1::{Container, ContainerPort, HTTPGetAction, PodSpec, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use windlass_api::agent::{METRICS_PORT, SIGNATURE_FILE, paths};
use windlass_api::{
    AnalysisMetric, Limits, LogPayloads, ModelDeployment, ModelVersion, Protocol, Strategy,
};

use super::{PORT, preview_name};
use crate::pods::{self, Agent, CANDIDATE_PORTS, flag};

/// Seconds that a pod that goes still takes new requests, until every node has been told.
const DRAIN_SECONDS: u32 = 5;
/// Seconds between two probes.
const PERIOD_SECONDS: i32 = 2;

/// The container; `has_own_probe` where the model server's own says when it has started.
pub(super) fn container(
    spec: &mut PodSpec,
    deployment: &ModelDeployment,
    version: &ModelVersion,
    agent: Agent<'_>,
    grace: i64,
    has_own_probe: bool,
) -> Container {
    let told = arguments(deployment, version, grace);
    let mut proxy = pods::agent_container(spec, pods::AGENT, agent, told);
    proxy.ports = Some(vec![
        port("http", PORT),
        port("metrics", i32::from(METRICS_PORT)),
    ]);
    let ready = Probe {
        http_get: Some(HTTPGetAction {
            path: Some(readiness(deployment.spec.protocol, &deployment.spec.model)),
            port: IntOrString::Int(PORT),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(PERIOD_SECONDS),
        timeout_seconds: Some(5),
        failure_threshold: Some(3),
        ..Probe::default()
    };
    // A template's own probe is waited for before this container starts at all.
    proxy.startup_probe = (!has_own_probe).then(|| Probe {
        failure_threshold: Some(
            startup_seconds(deployment)
                .div_ceil(PERIOD_SECONDS.unsigned_abs())
                .cast_signed(),
        ),
        ..ready.clone()
    });
    proxy.readiness_probe = Some(ready);
    pods::mount_empty(spec, &mut proxy, "windlass-model", paths::MODEL, true);
    pods::mount_claims(spec, &mut proxy, [], log(deployment).map(|log| &log.uri));
    proxy
}

/// Seconds that the model server may take to load.
fn startup_seconds(deployment: &ModelDeployment) -> u32 {
    let spec = &deployment.spec;
    let seconds = spec.startup_deadline_seconds;
    seconds
        .unwrap_or(spec.progress_deadline_seconds)
        .unsigned_abs()
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

fn port(name: &str, number: i32) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: number,
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

fn log(deployment: &ModelDeployment) -> Option<&LogPayloads> {
    deployment.spec.observe.as_ref()?.log_payloads.as_ref()
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
    if let Some(limits) = &deployment.spec.limits {
        limited(limits, &mut add);
    }
    let rollout = &deployment.spec.rollout;
    if rollout.strategy == Strategy::Shadow {
        // Where nothing is tried, nothing has this name.
        let preview = preview_name(deployment);
        let namespace = deployment.namespace().unwrap_or_default();
        add("mirror", format!("http://{preview}.{namespace}:{PORT}"));
        if let Some(share) = &rollout.mirror_share {
            add("mirror-share", share.0.clone());
        }
    }
    let mut checks = rollout.analysis.iter();
    if checks.any(|check| check.metric == AnalysisMetric::PredictionDrift) {
        add("count-predictions", "1".to_owned());
    }
    if let Some(most) = (deployment.spec.observe.as_ref()).and_then(|it| it.max_body_bytes.as_ref())
    {
        add("body-limit", most.clone());
    }
    if let Some(log) = log(deployment) {
        logged(log, &mut add);
    }
    arguments
}

/// What a pod takes on; what is not said is the agent's to know.
fn limited(limits: &Limits, add: &mut impl FnMut(&str, String)) {
    let Limits {
        concurrency,
        queue,
        queue_wait,
        timeout,
        circuit_failures,
    } = limits;
    let numbers = [
        ("concurrency", concurrency),
        ("queue", queue),
        ("circuit-failures", circuit_failures),
    ];
    for (name, number) in numbers {
        if let Some(number) = number {
            add(name, number.to_string());
        }
    }
    for (name, duration) in [("queue-wait", queue_wait), ("timeout", timeout)] {
        if let Some(duration) = duration {
            add(name, duration.0.clone());
        }
    }
}

/// What is logged.
fn logged(log: &LogPayloads, add: &mut impl FnMut(&str, String)) {
    let LogPayloads {
        sample,
        uri,
        redact,
        max_spool_bytes,
        flush_every,
    } = log;
    add("log-uri", uri.0.clone());
    add("sample", sample.0.clone());
    for column in redact {
        add("redact", column.clone());
    }
    if let Some(most) = max_spool_bytes {
        add("spool-limit", most.clone());
    }
    if let Some(every) = flush_every {
        add("flush-every", every.0.clone());
    }
}
