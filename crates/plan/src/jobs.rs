//! How a Job stands, told from its status and its pods together: the two caches need not be of the same moment.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{Job, JobCondition};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use kube::ResourceExt;

use crate::{Problem, pods};

/// How long the pods of a Job that has ended are waited for in the cache.
const SETTLING: SignedDuration = SignedDuration::from_secs(10);

/// The label by which a Job's pods are found.
pub const NAME_LABEL: &str = "batch.kubernetes.io/job-name";

/// How a Job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    /// It has not ended.
    Running,
    /// It has ended, but the pods in the cache have not: the cache will catch up.
    Settling,
    /// It ended well.
    Complete,
    /// It failed.
    Failed,
}

/// How a Job with these pods stands.
pub fn state<'a>(
    job: &Job,
    its_pods: impl IntoIterator<Item = &'a Pod>,
    now: Timestamp,
) -> JobState {
    let Some((ended, state)) = end(job) else {
        return JobState::Running;
    };
    let mut its_pods = its_pods.into_iter().peekable();
    let behind = its_pods.peek().is_none() || its_pods.any(pods::is_alive);
    if behind && now.duration_since(ended) < SETTLING {
        JobState::Settling
    } else {
        state
    }
}

/// How long a Job that was started may have too few pods: making one takes milliseconds.
const MAKING: SignedDuration = SignedDuration::from_secs(5);
/// And for each of them as much more: they are made in bursts, which have a limit.
const MAKING_EACH: SignedDuration = SignedDuration::from_millis(100);
/// How long somebody else may hold a Job back, until it is said.
const HELD: SignedDuration = SignedDuration::from_secs(30);

/// A Job without all its pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Without {
    /// They may still come; look again after this time.
    Awaited(Duration),
    /// Something does not let them be made, which the Job itself does not say.
    Refused(Problem),
}

impl Without {
    fn after(due: Timestamp, now: Timestamp, problem: impl FnOnce() -> Problem) -> Self {
        match Duration::try_from(due.duration_since(now)) {
            Ok(left) if !left.is_zero() => Self::Awaited(left),
            _ => Self::Refused(problem()),
        }
    }
}

/// What to think of a Job that has not ended and that has never had as many pods as it is to have; nothing where it has
/// them, or one is on its way out and may be followed by another.
pub fn without_pods<'a>(
    job: &Job,
    its_pods: impl IntoIterator<Item = &'a Pod>,
    now: Timestamp,
) -> Option<Without> {
    let spec = job.spec.as_ref();
    if spec.and_then(|spec| spec.suspend) == Some(true) {
        let made = job.metadata.creation_timestamp.as_ref()?.0;
        let held = || {
            Problem::new(
                "JobHeld",
                format!(
                    "Job {} is suspended, and not by Windlass: a queue holds it that it names none of, as Kueue does with manageJobsWithoutQueueName; leave this namespace out there, or resume the Job",
                    job.name_any()
                ),
            )
        };
        return Some(Without::after(made + HELD, now, held));
    }
    let status = job.status.as_ref()?;
    let started = status.start_time.as_ref()?.0;
    let counts = [status.active, status.succeeded, status.failed];
    let counted: i32 = counts.iter().flatten().sum();
    let (mut seen, mut one_goes) = (0, false);
    for pod in its_pods {
        seen += 1;
        one_goes |= pod.metadata.deletion_timestamp.is_some();
    }
    let there = counted.max(seen);
    let wanted = spec.and_then(|spec| spec.completions).unwrap_or(1);
    if there >= wanted || one_goes {
        return None;
    }
    let due = started + MAKING + MAKING_EACH * (wanted - 1);
    let refused = || {
        let (name, namespace) = (job.name_any(), job.namespace().unwrap_or_default());
        let which = match there {
            0 => format!("no pod of Job {name} could be made"),
            _ => format!("only {there} of {wanted} pods of Job {name} could be made"),
        };
        Problem::new(
            "PodsNotCreated",
            format!(
                "{which}: a quota, a policy, an admission webhook or a missing service account does not let it; `kubectl describe job {name} -n {namespace}` says which"
            ),
        )
    };
    Some(Without::after(due, now, refused))
}

/// Takes away from a Job what no decision reads: of the pods that it makes, it is read what image the agent has, what it
/// is told, and who schedules them. The rest is most of a Job, and a cache holds every one.
pub fn trim(job: &mut Job) {
    if let Some(spec) = job
        .spec
        .as_mut()
        .and_then(|spec| spec.template.spec.as_mut())
    {
        let kept = |container: Container| Container {
            name: container.name,
            image: container.image,
            args: container.args,
            ..Container::default()
        };
        let init = spec.init_containers.take();
        *spec = PodSpec {
            containers: std::mem::take(&mut spec.containers)
                .into_iter()
                .map(kept)
                .collect(),
            init_containers: init.map(|all| all.into_iter().map(kept).collect()),
            scheduling_group: spec.scheduling_group.take(),
            scheduler_name: spec.scheduler_name.take(),
            ..PodSpec::default()
        };
    }
    if let Some(status) = &mut job.status {
        // How the Job controller counts.
        status.ready = None;
        status.terminating = None;
        status.uncounted_terminated_pods = None;
        // It says first that it will end, and then that it has.
        let ends = |condition: &JobCondition| {
            !matches!(
                condition.type_.as_str(),
                "SuccessCriteriaMet" | "FailureTarget"
            )
        };
        status.conditions = (status.conditions.take())
            .map(|all| all.into_iter().filter(ends).collect::<Vec<_>>())
            .filter(|all| !all.is_empty());
    }
    let template = job.spec.as_mut().map(|spec| &mut spec.template);
    if let Some(metadata) = template.and_then(|template| template.metadata.as_mut()) {
        metadata.annotations = None;
    }
    job.metadata.annotations = None;
}

/// What a Job itself says of why it failed.
pub fn failed_message(job: &Job) -> String {
    let conditions = job
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .find(|condition| condition.type_ == "Failed")
        .and_then(|condition| condition.message.clone())
        .unwrap_or_else(|| "the Job failed and gave no reason".to_owned())
}

/// Whether a Job failed by its policy for pods that the cluster took away, see [`pods::fail_on_disruption`].
pub fn is_disrupted(job: &Job) -> bool {
    let conditions = job
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| {
        condition.type_ == "Failed"
            && condition.status == "True"
            && condition.reason.as_deref() == Some("PodFailurePolicy")
    })
}

fn end(job: &Job) -> Option<(Timestamp, JobState)> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    conditions
        .iter()
        .filter(|condition| condition.status == "True")
        .find_map(|condition| {
            let state = match condition.type_.as_str() {
                "Complete" => JobState::Complete,
                "Failed" => JobState::Failed,
                _ => return None,
            };
            Some((
                condition
                    .last_transition_time
                    .as_ref()
                    .map_or(Timestamp::UNIX_EPOCH, |time| time.0),
                state,
            ))
        })
}

/// Whether a Job has ended, however its pods look.
pub fn has_ended(job: &Job) -> bool {
    end(job).is_some()
}
