//! What keeps a pod from running.

use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};
use kube::ResourceExt;
use windlass_api::agent::{FailureReason, Report};

use super::{is_alive, statuses};
use crate::Problem;

/// The reason of a container that ends again and again, where it does not say more.
const CRASHES: &str = "ContainerCrashes";

/// Why a pod does not start, if a person has to do something about it. A pod that goes is nobody's problem.
pub fn problem(pod: &Pod) -> Option<Problem> {
    if pod.metadata.deletion_timestamp.is_some() || !is_alive(pod) {
        return None;
    }
    let stopped = statuses(pod).find_map(|status| {
        let ended = status.last_state.as_ref();
        let ended = ended.and_then(|state| state.terminated.as_ref());
        let waiting = status.state.as_ref();
        let waiting = waiting.and_then(|state| state.waiting.as_ref());
        let reason = match waiting.and_then(|waiting| waiting.reason.as_deref()) {
            Some(
                "ErrImagePull" | "ImagePullBackOff" | "ErrImageNeverPull" | "InvalidImageName",
            ) => "ImageNotFound",
            Some("CreateContainerConfigError" | "CreateContainerError" | "RunContainerError") => {
                "ContainerNotStarted"
            }
            Some("CrashLoopBackOff") => CRASHES,
            _ => return None,
        };
        let said = waiting.and_then(|waiting| waiting.message.clone());
        Some(ended_so(pod, status, reason, ended, said))
    });
    // Files that are others stay so, however often they are looked at.
    let others = || tried_in_vain(pod).filter(|problem| problem.reason != CRASHES);
    stopped.or_else(others).or_else(|| {
        let said = unschedulable(pod)?;
        let message = format!("pod {} finds no node: {said}", pod.name_any());
        Some(Problem::new("Unschedulable", message))
    })
}

/// The same, or else what came of the last try of a container that is being tried again: what to say of a pod that was waited
/// for in vain.
pub fn hindrance(pod: &Pod) -> Option<Problem> {
    problem(pod).or_else(|| tried_in_vain(pod))
}

/// What came of the last try of a container that is being tried again, of a pod that is not ready: one that the others wait
/// for, or a server that ends each time that it loads its model.
fn tried_in_vain(pod: &Pod) -> Option<Problem> {
    let tried = |status: &ContainerStatus| {
        let ended = status.last_state.as_ref()?.terminated.as_ref()?;
        let is_failed = ended.exit_code != 0 && is_unfinished(status);
        is_failed.then(|| ended_so(pod, status, CRASHES, Some(ended), None))
    };
    statuses(pod).filter(|_| !is_ready(pod)).find_map(tried)
}

/// How a container ended last.
fn ended_so(
    pod: &Pod,
    status: &ContainerStatus,
    reason: &'static str,
    ended: Option<&ContainerStateTerminated>,
    waits: Option<String>,
) -> Problem {
    let ended = ended.and_then(|ended| ended.message.clone());
    let (reason, said) = match ended.as_deref().map(serde_json::from_str::<Report>) {
        Some(Ok(Report::Failure(failure))) => (
            integrity_reason(failure.reason).unwrap_or(reason),
            failure.message,
        ),
        _ => (reason, ended.or(waits).unwrap_or_default()),
    };
    let message = format!(
        "pod {}, container {}, image {}: {}",
        pod.name_any(),
        status.name,
        status.image,
        said.trim_end()
    );
    Problem::new(reason, message)
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Whether it has not ended well.
fn is_unfinished(status: &ContainerStatus) -> bool {
    let ended = status.state.as_ref();
    let ended = ended.and_then(|state| state.terminated.as_ref());
    ended.is_none_or(|ended| ended.exit_code != 0)
}

/// The name of a failure that says of a model that it is not the one that was recorded or signed: it is told under that
/// name, and not as a container that ends again and again.
fn integrity_reason(reason: FailureReason) -> Option<&'static str> {
    match reason {
        FailureReason::DigestMismatch => Some("DigestMismatch"),
        FailureReason::SignatureInvalid => Some("SignatureInvalid"),
        _ => None,
    }
}

/// What the scheduler says of a pod that finds no node.
pub fn unschedulable(pod: &Pod) -> Option<&str> {
    if pod.metadata.deletion_timestamp.is_some() || !is_alive(pod) {
        return None;
    }
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let condition = conditions
        .iter()
        .find(|condition| condition.type_ == "PodScheduled")?;
    // A pod that waits at a gate waits for somebody's go-ahead, not for a node.
    let waits =
        condition.status == "False" && condition.reason.as_deref() != Some("SchedulingGated");
    waits.then(|| condition.message.as_deref().unwrap_or("no reason is given"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_that_is_not_what_it_should_be_is_told_by_that_name_and_nothing_else_is() {
        for (reason, expected) in [
            ("DigestMismatch", "DigestMismatch"),
            ("SignatureInvalid", "SignatureInvalid"),
            ("InputNotFound", "ContainerCrashes"),
        ] {
            let said =
                serde_json::json!({"kind": "Failure", "reason": reason, "message": "so it is"});
            let pod: Pod = serde_json::from_value(serde_json::json!({
                "metadata": {"name": "p"},
                "status": {"phase": "Pending", "initContainerStatuses": [{
                    "name": "windlass-fetch", "image": "agent:1", "imageID": "", "ready": false, "restartCount": 2,
                    "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                    "lastState": {"terminated": {"exitCode": 65, "message": said.to_string()}},
                }]},
            }))
            .expect("a pod");
            let problem = problem(&pod).expect("a problem");
            assert_eq!(problem.reason, expected);
            assert_eq!(
                problem.message,
                "pod p, container windlass-fetch, image agent:1: so it is"
            );
        }
    }

    /// A pod whose first container is in this state and ended with 65 before; the others wait for it.
    fn tried_again(status: &serde_json::Value) -> Pod {
        let mut fetch = serde_json::json!({
            "name": "windlass-fetch", "image": "agent:1", "imageID": "", "ready": false, "restartCount": 2,
            "lastState": {"terminated": {"exitCode": 65, "message": "it is another"}},
        });
        let fields = fetch.as_object_mut().expect("an object");
        fields.extend(status.as_object().expect("an object").clone());
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": "p"},
            "status": {
                "phase": "Pending",
                "initContainerStatuses": [fetch],
                "containerStatuses": [{
                    "name": "server", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                    "state": {"waiting": {"reason": "PodInitializing"}},
                }],
            },
        }))
        .expect("a pod")
    }

    #[test]
    fn what_failed_and_is_being_tried_again_is_still_what_keeps_the_pod() {
        for (state, expected) in [
            (serde_json::json!({"state": {"running": {}}}), true),
            (
                serde_json::json!({"state": {"terminated": {"exitCode": 65}}}),
                true,
            ),
            (
                serde_json::json!({"state": {"terminated": {"exitCode": 0}}}),
                false,
            ),
            (
                serde_json::json!({"state": {"running": {}}, "lastState": {}}),
                false,
            ),
        ] {
            let pod = tried_again(&state);
            let said = hindrance(&pod).map(|problem| problem.message);
            let is_said = said
                .is_some_and(|said| said.contains("windlass-fetch, image agent:1: it is another"));
            assert_eq!(is_said, expected, "{state}");
            // It may go well this time.
            assert_eq!(problem(&pod), None, "{state}");
        }
    }

    #[test]
    fn a_server_that_ended_is_what_keeps_a_pod_until_it_is_ready() {
        for (ready, expected) in [("False", true), ("True", false)] {
            let pod: Pod = serde_json::from_value(serde_json::json!({
                "metadata": {"name": "p"},
                "status": {
                    "phase": "Running",
                    "conditions": [{"type": "Ready", "status": ready}],
                    "initContainerStatuses": [{
                        "name": "server", "image": "server:1", "imageID": "", "ready": false, "restartCount": 2,
                        "state": {"running": {}},
                        "lastState": {"terminated": {"exitCode": 1, "message": "no such layer\n"}},
                    }],
                    "containerStatuses": [{
                        "name": "windlass-agent", "image": "agent:1", "imageID": "", "ready": false, "restartCount": 0,
                        "state": {"running": {}},
                    }],
                },
            }))
            .expect("a pod");
            let said = hindrance(&pod).map(|problem| problem.message);
            let expected = expected
                .then(|| "pod p, container server, image server:1: no such layer".to_owned());
            assert_eq!(said, expected, "ready: {ready}");
        }
    }

    #[test]
    fn files_that_are_others_keep_a_pod_also_while_they_are_looked_at_again() {
        let said = serde_json::json!({"kind": "Failure", "reason": "DigestMismatch", "message": "it is another"});
        let ended =
            serde_json::json!({"terminated": {"exitCode": 65, "message": said.to_string()}});
        let pod = tried_again(&serde_json::json!({"state": {"running": {}}, "lastState": ended}));
        assert_eq!(
            problem(&pod).map(|problem| problem.reason).as_deref(),
            Some("DigestMismatch")
        );
    }
}
