//! Builders of a DriftMonitor's children.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{PodSpec, PodTemplateSpec};
use kube::ResourceExt;
use windlass_api::{
    Address, CAUSE, DriftMonitor, Mode, ModelVersion, Retrain, Stored, TrainingJob, Window, labels,
};

use crate::pods::{self, Agent, flag};
use crate::{reports, storage, template};

/// Seconds that a window's Job is kept for its logs.
const KEPT_SECONDS: i32 = 600;

/// Seconds that the evaluation of a window may take.
const MAX_SECONDS: i64 = 6 * 3600;

/// Name of the Job of the window that ends at `end`.
pub fn job_name(monitor: &DriftMonitor, end: Timestamp) -> String {
    format!("{}-{}", monitor.name_any(), end.as_second())
}

/// The Job that judges one window.
pub fn window_job(
    monitor: &DriftMonitor,
    version: &ModelVersion,
    baseline: &Stored,
    payloads: &Address,
    window: &Window,
    agent_image: &str,
) -> Job {
    let mut spec = PodSpec::default();
    let agent = Agent {
        image: agent_image,
        storage: monitor.spec.storage.as_ref(),
    };
    let mut drift = pods::agent_container(
        &mut spec,
        pods::AGENT,
        agent,
        arguments(monitor, &version.name_any(), baseline, payloads, window),
    );
    let labels_address = monitor
        .spec
        .performance
        .as_ref()
        .map(|performance| &performance.labels.uri);
    pods::mount_claims(
        &mut spec,
        &mut drift,
        [&baseline.uri, payloads].into_iter().chain(labels_address),
        [],
    );
    spec.containers.push(drift);
    storage::run_as(&mut spec, agent.storage);
    spec.restart_policy = Some("Never".to_owned());
    template::harden(&mut spec);
    reports::limit(&mut spec);
    let (name, version_name) = (monitor.name_any(), version.name_any());
    let more = [
        (labels::MONITOR, name.as_str()),
        (labels::DEPLOYMENT, monitor.spec.deployment.as_str()),
        (labels::MODEL, version.spec.model.as_str()),
        (labels::VERSION, version_name.as_str()),
    ];
    let metadata = pods::child_meta(monitor, job_name(monitor, window.end), "drift", &more);
    Job {
        spec: Some(JobSpec {
            backoff_limit: Some(0),
            pod_failure_policy: Some(pods::ignore_disruption()),
            // One window at a time: one that hangs must not hold up those after it for ever.
            active_deadline_seconds: Some(MAX_SECONDS),
            ttl_seconds_after_finished: Some(KEPT_SECONDS),
            template: PodTemplateSpec {
                metadata: Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                    labels: metadata.labels.clone(),
                    ..Default::default()
                }),
                spec: Some(spec),
            },
            ..JobSpec::default()
        }),
        metadata,
        status: None,
    }
}

fn arguments(
    monitor: &DriftMonitor,
    version: &str,
    baseline: &Stored,
    payloads: &Address,
    window: &Window,
) -> Vec<String> {
    let spec = &monitor.spec;
    let mut arguments = vec!["drift".to_owned()];
    let mut add = |name: &str, value: String| flag(&mut arguments, name, value);
    add("reference", baseline.uri.0.clone());
    add("reference-digest", baseline.digest.clone());
    add("payloads", payloads.0.clone());
    add("version", version.to_owned());
    add("window-start", window.start.to_string());
    add("window-end", window.end.to_string());
    add("min-samples", spec.window.min_samples.to_string());
    add("threshold", spec.features.default.threshold.0.clone());
    for column in &spec.features.overrides {
        add(
            "column-threshold",
            format!("{}={}", column.column, column.threshold),
        );
    }
    add("drifted-share", spec.trigger_when.drifted_share.0.clone());
    if let Some(predictions) = &spec.predictions {
        add("prediction-threshold", predictions.threshold.0.clone());
    }
    if let Some(performance) = &spec.performance {
        add("labels", performance.labels.uri.0.clone());
        add(
            "labels-format",
            performance.labels.format.as_str().to_owned(),
        );
        add("label", performance.labels.column.clone());
        add("join-on", performance.join_on.clone());
        add("metric", performance.metric.as_str().to_owned());
        add("metric-min", performance.min.0.clone());
    }
    arguments
}

/// Name of the TrainingJob that the window ending at `end` asks for: one drift, one name.
pub fn training_job_name(monitor: &DriftMonitor, end: Timestamp) -> String {
    format!("{}-{}", monitor.name_any(), end.as_second())
}

/// The TrainingJob that drift asks for, which the newest of its windows tells in words.
pub fn training_job(
    monitor: &DriftMonitor,
    retrain: &Retrain,
    window: Window,
    drift: &str,
) -> TrainingJob {
    let mut spec = retrain.template.spec.clone();
    let end = window.end;
    let cause = format!("drift from {} to {end}: {drift}", window.start);
    spec.window = Some(window);
    if monitor.spec.mode == Mode::Suggest {
        spec.suspend = true;
    }
    let mut job = TrainingJob::new(&training_job_name(monitor, end), spec);
    let template = retrain.template.metadata.clone().unwrap_or_default();
    let mut all = template.labels;
    let model = job.spec.model.clone().unwrap_or_default();
    let name = monitor.name_any();
    all.extend(pods::child_labels(
        &name,
        "retraining",
        &[
            (labels::MONITOR, &name),
            (labels::DEPLOYMENT, &monitor.spec.deployment),
            (labels::MODEL, &model),
        ],
    ));
    job.metadata.namespace = monitor.namespace();
    job.metadata.labels = Some(all);
    let mut annotations = template.annotations;
    annotations.insert(CAUSE.to_owned(), cause);
    job.metadata.annotations = Some(annotations);
    job
}
