//! That the run of a training that made no version is shown where `spec.tracking` asks for it: one that failed, or that has
//! no model. Another is shown with its version.

use kube::ResourceExt;
use serde_json::json;
use windlass_api::{TrainingJob, TrainingJobStatus, condition, is_true, labels};

use crate::Plan;
use crate::publication::{Known, Of, Publication, ROLE};
use crate::trainingjob::observed::Observed;

/// Has the run shown, and says in the status of the job that is finished how that stands.
pub(super) fn publish(
    observed: &Observed,
    plan: &mut Plan<TrainingJobStatus>,
    now: jiff::Timestamp,
) {
    let job = &*observed.job;
    let before = job.status.clone().unwrap_or_default();
    let Some(tracking) = &job.spec.tracking else {
        return;
    };
    // What is to be shown is not told apart from what it is shown of while the object goes.
    let is_over = is_true(&before.conditions, condition::FAILED)
        || (job.spec.model.is_none() && is_true(&before.conditions, condition::COMPLETE));
    if !is_over || !plan.steps.is_empty() {
        return;
    }
    let wanted = Publication {
        mlflow: tracking.mlflow.clone(),
        record: record(job, &before),
        aliases: Vec::new(),
        of: Of::Training,
    };
    let is_of = |labels: &std::collections::BTreeMap<String, String>| {
        labels.get(labels::ROLE).is_some_and(|role| role == ROLE)
    };
    let jobs = observed
        .children
        .iter()
        .filter(|child| is_of(child.labels()));
    let pods = observed.pods.iter().filter(|pod| is_of(pod.labels()));
    let known = Known {
        before: before.tracking.as_ref(),
        jobs: &jobs.cloned().collect::<Vec<_>>(),
        pods: &pods.cloned().collect::<Vec<_>>(),
        agent_image: &observed.agent_image,
        now,
    };
    let labelled = vec![
        (labels::MODEL, job.spec.model.clone().unwrap_or_default()),
        (labels::TRAINING_JOB, job.name_any()),
    ];
    let told = wanted.told(job, labelled, &known);
    plan.steps.extend(told.step);
    plan.look_again(told.again);
    let note = wanted.say(
        told.shown,
        &mut plan.status.tracking,
        &mut plan.status.conditions,
        &before.conditions,
        job.metadata.generation,
        now,
    );
    plan.notes.extend(note);
}

/// What is shown of a job, which has ended.
fn record(job: &TrainingJob, status: &TrainingJobStatus) -> serde_json::Value {
    let mut spec = job.spec.clone();
    // What it is made of beside its parameters, and how it is judged, reached and shown, is not shown.
    spec.workers.template = windlass_api::PodTemplate::default();
    spec.steps = Vec::new();
    (spec.validation, spec.storage, spec.tracking) = (None, None, None);
    for input in &mut spec.inputs {
        input.checks = Vec::new();
    }
    let ended = status.conditions.iter();
    let ended =
        ended.filter(|said| [condition::FAILED, condition::COMPLETE].contains(&&*said.type_));
    json!({
        "apiVersion": "windlass.dev/v1alpha1", "kind": "TrainingJob",
        "metadata": {
            "name": job.name_any(), "namespace": job.namespace(), "uid": job.uid(),
            "creationTimestamp": job.metadata.creation_timestamp, "labels": job.metadata.labels,
        },
        "spec": spec,
        "status": {
            "conditions": ended.map(|said| json!({
                "type": said.type_, "status": said.status, "reason": said.reason, "message": said.message,
                "lastTransitionTime": said.last_transition_time,
            })).collect::<Vec<_>>(),
            "attempt": status.attempt, "failures": status.failures, "gpuSeconds": status.gpu_seconds,
            "startTime": status.start_time, "completionTime": status.completion_time,
            "inputs": status.inputs, "fingerprint": status.fingerprint, "progress": status.progress,
        },
    })
}
