//! What the status of a Deployment says of its pods; one that is not there has none.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus};
use kube::ResourceExt;
use windlass_api::ModelDeployment;

use super::conditions::NEVER_READY;
use crate::Problem;
use crate::modeldeployment::children;

/// The reason of a Deployment whose pods the API server refuses.
pub(super) const NOT_CREATED: &str = "PodsNotCreated";

/// Pods that answer, as was last seen: a Deployment that has just been changed serves on.
pub(super) fn answering(child: Option<&Deployment>) -> i32 {
    child
        .and_then(|child| child.status.as_ref()?.ready_replicas)
        .unwrap_or(0)
}

/// Pods that are ready, once the controller has seen what was applied last.
pub(super) fn ready(child: Option<&Deployment>) -> i32 {
    caught_up(child)
        .and_then(|status| status.ready_replicas)
        .unwrap_or(0)
}

/// Pods of the template that was applied last.
pub(super) fn updated(child: Option<&Deployment>) -> i32 {
    caught_up(child)
        .and_then(|status| status.updated_replicas)
        .unwrap_or(0)
}

/// Pods of the template that was applied last that are ready, for certain: pods of the one before may be ready, too.
pub(super) fn updated_and_ready(child: Option<&Deployment>) -> i32 {
    let all = caught_up(child).and_then(|status| status.replicas);
    let old = (all.unwrap_or(0) - updated(child)).max(0);
    ready(child).min(updated(child)).min(ready(child) - old)
}

/// Pods of all these, and how many of them answer.
pub(super) fn total<'a>(children: impl IntoIterator<Item = &'a Arc<Deployment>>) -> (i32, i32) {
    children
        .into_iter()
        .filter_map(|child| child.status.as_ref())
        .fold((0, 0), |(all, ready), status| {
            (
                all + status.replicas.unwrap_or(0),
                ready + status.ready_replicas.unwrap_or(0),
            )
        })
}

/// Whether it has no pod any more, also none that goes.
pub(super) fn are_gone(child: Option<&Deployment>) -> bool {
    child.is_none()
        || caught_up(child).is_some_and(|status| {
            let left = [status.replicas, status.terminating_replicas];
            left.into_iter().flatten().sum::<i32>() == 0 && asked_none(child)
        })
}

fn asked_none(child: Option<&Deployment>) -> bool {
    child.and_then(|child| child.spec.replicas) == Some(0)
}

/// Why a Deployment does not get on, if a person has to do something about it.
pub(super) fn problem(child: &Deployment, deployment: &ModelDeployment) -> Option<Problem> {
    let name = child.name_any();
    let conditions = caught_up(Some(child))?.conditions.as_ref()?;
    let found = |type_: &str, status: &str| {
        conditions.iter().find(|condition| {
            condition.type_.as_deref() == Some(type_) && condition.status.as_deref() == Some(status)
        })
    };
    if let Some(refused) = found("ReplicaFailure", "True") {
        let why = refused.message.as_deref().unwrap_or("no reason is given");
        return Some(Problem::new(
            NOT_CREATED,
            format!("the pods of Deployment {name} cannot be made: {why}"),
        ));
    }
    found("Progressing", "False")
        .filter(|condition| condition.reason.as_deref() == Some("ProgressDeadlineExceeded"))
        .map(|_| {
            Problem::new(
                "ProgressDeadlineExceeded",
                format!(
                    "the pods of Deployment {name} were not ready within {}: {NEVER_READY}",
                    deadline(deployment)
                ),
            )
        })
}

/// How long pods are waited for, in words.
pub(super) fn deadline(deployment: &ModelDeployment) -> String {
    let seconds = children::deadline_seconds(deployment);
    match deployment.spec.startup_deadline_seconds {
        None => format!("spec.progressDeadlineSeconds ({seconds} s)"),
        Some(_) => format!(
            "spec.progressDeadlineSeconds and spec.startupDeadlineSeconds ({seconds} s together)"
        ),
    }
}

fn caught_up(child: Option<&Deployment>) -> Option<&DeploymentStatus> {
    let child = child?;
    child
        .status
        .as_ref()
        .filter(|status| status.observed_generation >= child.metadata.generation)
}
