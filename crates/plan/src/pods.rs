//! What the pods of every kind have in common: volumes of claims, the agent, the model and its server, and
//! what can be read from a pod that does not get on.

mod model;
mod problem;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{
    PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement,
    PodFailurePolicyOnPodConditionsPattern, PodFailurePolicyRule,
};
use k8s_openapi::api::core::v1::{
    Container, ContainerStateTerminated, ContainerStatus, EmptyDirVolumeSource, EnvVar,
    EnvVarSource, ObjectFieldSelector, PersistentVolumeClaimVolumeSource, Pod, PodCondition,
    PodSpec, PodStatus, ResourceRequirements, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{Resource, ResourceExt};
use windlass_api::agent::{
    EXIT_FOR_GOOD, FailureReason, FailureReport, Report, environment, paths,
};
use windlass_api::{Address, Storage, labels};

pub use model::{
    CANDIDATE_PORTS, CHAMPION_PORTS, Model, ServerPorts, fetch_model, mount_image, mount_model,
    server_sidecar,
};
pub use problem::{hindrance, problem, unschedulable};

use crate::{Problem, storage};

/// Name of the container that the agent is, or runs in.
pub const AGENT: &str = "windlass-agent";

/// Metadata of a child: named, labelled, owned.
pub fn child_meta<K: Resource<DynamicType = ()>>(
    owner: &K,
    name: String,
    role: &str,
    more: &[(&str, &str)],
) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: owner.namespace(),
        labels: Some(child_labels(&owner.name_any(), role, more)),
        owner_references: Some(vec![owner_reference(owner)]),
        ..ObjectMeta::default()
    }
}

/// Labels of a child.
pub fn child_labels(instance: &str, role: &str, more: &[(&str, &str)]) -> BTreeMap<String, String> {
    [
        (labels::MANAGED_BY, "windlass"),
        (labels::NAME, "windlass"),
        (labels::INSTANCE, instance),
        (labels::ROLE, role),
    ]
    .iter()
    .chain(more)
    .filter(|(_, value)| !value.is_empty())
    .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
    .collect()
}

/// The reference by which a child is found and taken away with its owner.
pub fn owner_reference<K: Resource<DynamicType = ()>>(owner: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: owner.name_any(),
        uid: owner.uid().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// Mounts the claims that addresses name, each under its own name in [`paths::VOLUMES`].
///
/// `written` are addresses that something is written to; a claim that none of them names is mounted read-only.
pub fn mount_claims<'a>(
    spec: &mut PodSpec,
    container: &mut Container,
    read: impl IntoIterator<Item = &'a Address>,
    written: impl IntoIterator<Item = &'a Address>,
) {
    let written: BTreeSet<&str> = written
        .into_iter()
        .filter_map(|address| address.claim().map(|(claim, _)| claim))
        .collect();
    let mut claims: BTreeSet<&str> = read
        .into_iter()
        .filter_map(|address| address.claim().map(|(claim, _)| claim))
        .collect();
    claims.extend(&written);
    if !claims.is_empty() {
        container
            .env
            .get_or_insert_default()
            .insert(0, variable(environment::VOLUMES, paths::VOLUMES));
    }
    for claim in claims {
        let volume = claim_volume(spec, claim);
        container
            .volume_mounts
            .get_or_insert_default()
            .push(VolumeMount {
                name: volume,
                mount_path: format!("{}/{claim}", paths::VOLUMES),
                read_only: (!written.contains(claim)).then_some(true),
                ..VolumeMount::default()
            });
    }
}

/// The name of a claim's volume in a pod, which is added where there is none yet.
fn claim_volume(spec: &mut PodSpec, claim: &str) -> String {
    let volumes = spec.volumes.get_or_insert_default();
    let mounted = volumes.iter().find(|volume| {
        volume
            .persistent_volume_claim
            .as_ref()
            .is_some_and(|source| source.claim_name == claim)
    });
    if let Some(volume) = mounted {
        return volume.name.clone();
    }
    let name = format!("windlass-claim-{}", volumes.len());
    volumes.push(Volume {
        name: name.clone(),
        persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
            claim_name: claim.to_owned(),
            ..Default::default()
        }),
        ..Volume::default()
    });
    name
}

/// Adds an empty folder to a pod, and mounts it into a container.
pub fn mount_empty(
    spec: &mut PodSpec,
    container: &mut Container,
    name: &str,
    path: &str,
    read_only: bool,
) {
    let volumes = spec.volumes.get_or_insert_default();
    if !volumes.iter().any(|volume| volume.name == name) {
        volumes.push(Volume {
            name: name.to_owned(),
            empty_dir: Some(EmptyDirVolumeSource::default()),
            ..Volume::default()
        });
    }
    container
        .volume_mounts
        .get_or_insert_default()
        .push(VolumeMount {
            name: name.to_owned(),
            mount_path: path.to_owned(),
            read_only: read_only.then_some(true),
            ..VolumeMount::default()
        });
}

/// The agent, as the containers of a pod run it.
#[derive(Clone, Copy, Debug)]
pub struct Agent<'a> {
    /// Its image.
    pub image: &'a str,
    /// How it reaches object stores.
    pub storage: Option<&'a Storage>,
}

/// A container that is the agent, with a writable `/tmp`.
pub fn agent_container(
    spec: &mut PodSpec,
    name: &str,
    agent: Agent<'_>,
    arguments: Vec<String>,
) -> Container {
    let mut container = Container {
        name: name.to_owned(),
        image: Some(agent.image.to_owned()),
        command: Some(vec!["/windlass-agent".to_owned()]),
        args: Some(arguments),
        ..Container::default()
    };
    container.security_context = Some(k8s_openapi::api::core::v1::SecurityContext {
        read_only_root_filesystem: Some(true),
        ..Default::default()
    });
    // Without a request, a busy node would give it next to nothing.
    container.resources = Some(ResourceRequirements {
        requests: Some(
            [("cpu", "100m"), ("memory", "64Mi")]
                .map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned())))
                .into(),
        ),
        ..ResourceRequirements::default()
    });
    storage::give_keys(&mut container, agent.storage);
    mount_empty(spec, &mut container, "windlass-tmp", "/tmp", false);
    container
}

/// A pod that the cluster took away is made again.
pub fn ignore_disruption() -> PodFailurePolicy {
    PodFailurePolicy {
        rules: vec![PodFailurePolicyRule {
            action: "Ignore".to_owned(),
            on_pod_conditions: Some(vec![PodFailurePolicyOnPodConditionsPattern {
                type_: "DisruptionTarget".to_owned(),
                status: Some("True".to_owned()),
            }]),
            ..PodFailurePolicyRule::default()
        }],
    }
}

/// The same, and what an agent says that a repetition cannot mend is not repeated.
pub fn ignore_disruption_and_fail_for_good(container: &str) -> PodFailurePolicy {
    let mut policy = ignore_disruption();
    policy.rules.push(PodFailurePolicyRule {
        action: "FailJob".to_owned(),
        on_exit_codes: Some(PodFailurePolicyOnExitCodesRequirement {
            container_name: Some(container.to_owned()),
            operator: "In".to_owned(),
            values: EXIT_FOR_GOOD.map(i32::from).to_vec(),
        }),
        ..PodFailurePolicyRule::default()
    });
    policy
}

/// A pod that the cluster took away fails its Job, and the Job says so even when the pod itself is gone.
pub fn fail_on_disruption() -> PodFailurePolicy {
    let mut policy = ignore_disruption();
    for rule in &mut policy.rules {
        "FailJob".clone_into(&mut rule.action);
    }
    policy
}

/// An environment variable.
pub fn variable(name: &str, value: impl Into<String>) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: Some(value.into()),
        value_from: None,
    }
}

/// An environment variable that has the value of a field of its pod.
pub fn field_variable(name: &str, path: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: None,
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                field_path: path.to_owned(),
                ..ObjectFieldSelector::default()
            }),
            ..EnvVarSource::default()
        }),
    }
}

/// `--name`, `value` pairs as arguments.
pub fn flag(arguments: &mut Vec<String>, name: &str, value: impl Into<String>) {
    arguments.push(format!("--{name}"));
    arguments.push(value.into());
}

fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.as_ref();
    status
        .and_then(|status| status.init_container_statuses.as_ref())
        .into_iter()
        .chain(status.and_then(|status| status.container_statuses.as_ref()))
        .flatten()
}

/// The report that an agent left in a pod: that of the container `name`, or a failure of any other.
pub fn report(pod: &Pod, name: &str) -> Option<Report> {
    statuses(pod)
        .filter(|status| status.name == name)
        .find_map(report_of)
        .or_else(|| reports(pod).find(|report| matches!(report, Report::Failure(_))))
}

/// The reports that the agents of a pod left, of whatever containers: who puts one of his own into the pod may put it first.
pub fn reports(pod: &Pod) -> impl Iterator<Item = Report> {
    statuses(pod).filter_map(report_of)
}

fn report_of(status: &ContainerStatus) -> Option<Report> {
    let ended = status
        .state
        .as_ref()?
        .terminated
        .as_ref()
        .or_else(|| status.last_state.as_ref()?.terminated.as_ref())?;
    serde_json::from_str(ended.message.as_deref()?).ok()
}

/// The failure that an agent or a container left in a pod, in words.
///
/// What an agent says comes first: a model server beside it is ended with it, and its exit code tells nothing.
pub fn failure(pod: &Pod) -> Option<FailureReport> {
    let said = statuses(pod).find_map(|status| {
        let message = ended_badly(status)?.message.as_deref()?;
        match serde_json::from_str(message) {
            Ok(Report::Failure(failure)) => Some(failure),
            Ok(_) | Err(_) => None,
        }
    });
    said.or_else(|| {
        statuses(pod).find_map(|status| Some(exit_failure(&status.name, ended_badly(status)?)))
    })
}

/// Whether a container of a pod was ended from outside, and nobody in it could say a word: by the end of its grace period,
/// or with its node. One that took more memory than it may have ended by its own doing.
pub fn was_killed(pod: &Pod) -> bool {
    statuses(pod).filter_map(ended_badly).any(|ended| {
        let said = ended.message.as_deref().unwrap_or_default();
        matches!(ended.exit_code, 137 | 143)
            && ended.reason.as_deref() != Some("OOMKilled")
            && serde_json::from_str::<Report>(said).is_err()
    })
}

fn ended_badly(status: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    let ended = status.state.as_ref()?.terminated.as_ref()?;
    (ended.exit_code != 0).then_some(ended)
}

fn exit_failure(container: &str, ended: &ContainerStateTerminated) -> FailureReport {
    let reason = ended.reason.as_deref().map(|reason| format!(" ({reason})"));
    FailureReport {
        reason: FailureReason::TrainerFailed,
        message: format!(
            "container {container} ended with exit code {}{}",
            ended.exit_code,
            reason.unwrap_or_default()
        ),
        exit_code: Some(ended.exit_code),
        log_tail: ended.message.clone().unwrap_or_default(),
        resumed: None,
    }
}

/// The exit code other than 0 that each container of a pod ended with, by its name.
pub fn exit_codes(pod: &Pod) -> impl Iterator<Item = (&str, i32)> {
    statuses(pod).filter_map(|status| Some((status.name.as_str(), ended_badly(status)?.exit_code)))
}

/// When the last container of a pod ended that has.
pub fn ended_at(pod: &Pod) -> Option<Timestamp> {
    statuses(pod)
        .filter_map(|status| status.state.as_ref()?.terminated.as_ref())
        .filter_map(|ended| ended.finished_at.as_ref().map(|time| time.0))
        .max()
}

/// When the last container of a pod was started; nothing while one has not been.
pub fn started_at(pod: &Pod) -> Option<Timestamp> {
    let containers = pod.status.as_ref()?.container_statuses.as_ref()?;
    let started = containers.iter().map(|status| {
        let state = status.state.as_ref()?;
        let running = state
            .running
            .as_ref()
            .and_then(|running| running.started_at.as_ref());
        let ended = state
            .terminated
            .as_ref()
            .and_then(|ended| ended.started_at.as_ref());
        running.or(ended).map(|time| time.0)
    });
    started
        .collect::<Option<Vec<Timestamp>>>()?
        .into_iter()
        .max()
}

/// The index of a pod in its Job, which is the worker's rank.
pub fn rank(pod: &Pod) -> Option<i32> {
    let index = pod
        .labels()
        .get("batch.kubernetes.io/job-completion-index")?;
    index.parse().ok()
}

/// The node that a pod was given.
pub fn node(pod: &Pod) -> Option<String> {
    pod.spec.as_ref()?.node_name.clone()
}

/// Whether a pod was taken away by the cluster: preempted, evicted, drained, its node lost.
pub fn is_disrupted(pod: &Pod) -> bool {
    pod.status
        .as_ref()
        .and_then(|status| status.conditions.as_ref())
        .is_some_and(|conditions| {
            conditions.iter().any(|condition| {
                condition.type_ == "DisruptionTarget" && condition.status == "True"
            })
        })
}

/// How a pod was taken away, in the words of who did it: `pod a-1-0 on node n1: PreemptionByScheduler: …`.
pub fn disruption(pod: &Pod) -> Option<String> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let taken = conditions
        .iter()
        .find(|condition| condition.type_ == "DisruptionTarget" && condition.status == "True")?;
    let place = node(pod).map(|node| format!(" on node {node}"));
    let said = [taken.reason.as_deref(), taken.message.as_deref()];
    let said: Vec<&str> = said.into_iter().flatten().collect();
    Some(format!(
        "pod {}{}: {}",
        pod.name_any(),
        place.unwrap_or_default(),
        said.join(": ")
    ))
}

/// Whether a pod ended well.
pub fn is_done(pod: &Pod) -> bool {
    pod.status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
        == Some("Succeeded")
}

/// Takes away from a pod what no decision reads. Of what it was asked to be, its containers' names and its node are read,
/// and the rest is most of it; of how it stands, whether it was placed or taken away, how its containers are and where it
/// is reached: its readiness changes more often than all of these.
pub fn trim(pod: &mut Pod) {
    if let Some(spec) = &mut pod.spec {
        let name = |container: Container| Container {
            name: container.name,
            ..Container::default()
        };
        *spec = PodSpec {
            containers: std::mem::take(&mut spec.containers)
                .into_iter()
                .map(name)
                .collect(),
            node_name: spec.node_name.take(),
            ..PodSpec::default()
        };
    }
    if let Some(status) = &mut pod.status {
        let is_read = |condition: &PodCondition| {
            matches!(
                condition.type_.as_str(),
                "PodScheduled" | "DisruptionTarget"
            )
        };
        let container = |status: ContainerStatus| ContainerStatus {
            name: status.name,
            image: status.image,
            image_id: status.image_id,
            state: status.state,
            last_state: status.last_state,
            ..ContainerStatus::default()
        };
        let trimmed = |all: Option<Vec<ContainerStatus>>| {
            all.map(|all| all.into_iter().map(container).collect())
        };
        *status = PodStatus {
            phase: status.phase.take(),
            pod_ip: status.pod_ip.take(),
            conditions: (status.conditions.take())
                .map(|all| all.into_iter().filter(is_read).collect()),
            init_container_statuses: trimmed(status.init_container_statuses.take()),
            container_statuses: trimmed(status.container_statuses.take()),
            ..PodStatus::default()
        };
    }
    pod.metadata.annotations = None;
}

/// Whether a pod holds, or may yet hold, a place on a node.
pub fn is_alive(pod: &Pod) -> bool {
    !matches!(
        pod.status
            .as_ref()
            .and_then(|status| status.phase.as_deref()),
        Some("Succeeded" | "Failed")
    )
}

/// Pods in the order of their names: a store gives them in any order, and what is decided must not depend on it.
pub fn in_order(pods: &[Arc<Pod>]) -> Vec<&Pod> {
    let mut pods: Vec<&Pod> = pods.iter().map(AsRef::as_ref).collect();
    pods.sort_by_key(|pod| pod.name_any());
    pods
}

/// The container images that pods ran, by digest where the runtime says it; those of the containers of these names left out.
pub fn images_but<'a>(pods: impl IntoIterator<Item = &'a Pod>, but: &[&str]) -> Vec<String> {
    let set: BTreeSet<String> = pods
        .into_iter()
        .flat_map(statuses)
        .filter(|status| !but.contains(&status.name.as_str()))
        .map(|status| {
            if status.image_id.is_empty() {
                status.image.clone()
            } else {
                format!(
                    "{}@{}",
                    status.image,
                    status.image_id.rsplit('@').next().unwrap_or_default()
                )
            }
        })
        .collect();
    set.into_iter().collect()
}

/// The claims among those that are named which the namespace does not have.
///
/// # Errors
/// Names the first one that is missing, with its field.
pub fn check_claims<'a>(
    named: impl IntoIterator<Item = (&'a str, &'a Address)>,
    there: &BTreeSet<String>,
    namespace: &str,
) -> Result<(), Problem> {
    for (field, address) in named {
        if let Some((claim, _)) = address.claim()
            && !there.contains(claim)
        {
            return Err(Problem::new(
                "VolumeClaimNotFound",
                format!(
                    "{field}: the PersistentVolumeClaim {claim:?} does not exist in namespace {namespace:?}; create it, or correct the address {address}"
                ),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_agent_says_of_a_failure_comes_before_the_exit_code_of_the_server_beside_it() {
        let said = serde_json::json!({"kind": "Failure", "reason": "DatasetUnreadable", "message": "row 0 holds 'perhaps'"});
        let ended = |name: &str, code: i32, message: &str| serde_json::json!({"name": name, "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": {"terminated": {"exitCode": code, "message": message}}});
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": {},
            "status": {
                "initContainerStatuses": [ended("server", 137, "")],
                "containerStatuses": [ended(AGENT, 1, &said.to_string())],
            }
        }))
        .expect("a pod");
        let failure = failure(&pod).expect("a failure");
        assert_eq!(failure.reason, FailureReason::DatasetUnreadable);
        assert_eq!(failure.message, "row 0 holds 'perhaps'");
    }
}
