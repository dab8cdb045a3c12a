//! Who schedules a gang: the only place that knows Kueue, Kubernetes' PodGroup, KAI and Volcano by name.
//!
//! ```text
//!   spec.scheduling ─┐
//!   Schedulers ──────┴─ choose ─> Backend ── children ─> a PodGroup, or none
//!   (what is served)                 └────── attach ───> what the Job and its pods carry for it
//! ```
//!
//! Absent on purpose: the asking (`src/runtime/discovery.rs`), and any scheduling of our own.

mod kai;
mod kueue;
mod topology;
mod volcano;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PodSchedulingGroup, PodTemplateSpec};
use k8s_openapi::api::scheduling::v1beta1::{
    GangSchedulingPolicy, PodGroup, PodGroupSchedulingPolicy, PodGroupSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use windlass_api::{GangMode, SchedulingStatus, TrainingJob};

pub use kai::{Share, check_share};
pub use kueue::{JOB_UID, KueueWorkload, QueueWord};
pub use volcano::{VolcanoPodGroup, VolcanoPodGroupSpec};

use crate::gpus::claims::DeviceClaims;
use crate::{Child, Problem};

/// Kueue, as the status says it.
pub const KUEUE_NAME: &str = "Kueue";
/// Kueue's label on a Job: its queue.
const KUEUE_QUEUE: &str = "kueue.x-k8s.io/queue-name";
/// Labels of Kueue's pass through from a TrainingJob to its Jobs.
const KUEUE: &str = "kueue.x-k8s.io/";
/// KAI's label on a workload and its pods: their queue. <https://github.com/kai-scheduler/KAI-Scheduler/tree/main/docs/batch>
const KAI_QUEUE: &str = "kai.scheduler/queue";
/// KAI's annotation on a Job: how many pods make it worth a start; without it, one.
const KAI_MIN_MEMBER: &str = "kai.scheduler/batch-min-member";
const KAI_SCHEDULER: &str = "kai-scheduler";
/// Volcano's annotation on a pod: its PodGroup.
const VOLCANO_GROUP: &str = "scheduling.k8s.io/group-name";
const VOLCANO_SCHEDULER: &str = "volcano";

/// What the cluster has to schedule gangs with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedulers {
    /// Kueue's Workloads are served, as `v1beta2` (Kueue 0.15 and newer).
    pub kueue: bool,
    /// Kubernetes' own PodGroup is served, in the shape that we know; or why it is not.
    pub native: Result<(), String>,
    /// KAI's queues are served.
    pub kai: bool,
    /// Volcano's PodGroups are served.
    pub volcano: bool,
    /// Devices by DRA.
    pub device_claims: DeviceClaims,
}

/// Who schedules a gang.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Kueue: the Job is made suspended, and goes on when its queue has room for all of it.
    Kueue {
        /// Its LocalQueue.
        queue: String,
    },
    /// Kubernetes' own PodGroup.
    Native,
    /// The KAI Scheduler.
    Kai {
        /// Its queue; KAI's default where none is named.
        queue: Option<String>,
    },
    /// Volcano.
    Volcano {
        /// Its queue; Volcano's default where none is named.
        queue: Option<String>,
    },
    /// Nobody: pod by pod.
    None,
}

impl Backend {
    /// As the status says it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Kueue { .. } => KUEUE_NAME,
            Self::Native => "PodGroup",
            Self::Kai { .. } => "KAI",
            Self::Volcano { .. } => "Volcano",
            Self::None => "None",
        }
    }

    /// What is made beside the Job of an attempt, under the Job's name.
    pub fn children(&self, job: &TrainingJob, metadata: &ObjectMeta) -> Option<Child> {
        let size = job.spec.workers.replicas;
        let topology = job.spec.scheduling.topology.as_ref();
        match self {
            Self::Native => Some(Child::PodGroup(Box::new(PodGroup {
                metadata: metadata.clone(),
                spec: PodGroupSpec {
                    scheduling_policy: PodGroupSchedulingPolicy {
                        gang: Some(GangSchedulingPolicy { min_count: size }),
                        ..PodGroupSchedulingPolicy::default()
                    },
                    scheduling_constraints: topology.and_then(topology::constraints),
                    ..PodGroupSpec::default()
                },
                status: None,
            }))),
            Self::Volcano { queue } => {
                let spec = VolcanoPodGroupSpec {
                    min_member: size,
                    queue: queue.clone(),
                    priority_class_name: job.spec.scheduling.priority_class_name.clone(),
                };
                let metadata = metadata.clone();
                Some(Child::VolcanoPodGroup(Box::new(VolcanoPodGroup {
                    metadata,
                    spec,
                })))
            }
            Self::Kueue { .. } | Self::Kai { .. } | Self::None => None,
        }
    }

    /// Gives a Job that is about to be made what the backend looks for.
    pub fn attach(&self, job: &TrainingJob, made: &mut Job) {
        if let Some(topology) = &job.spec.scheduling.topology {
            topology::attach(topology, self, job.spec.workers.replicas, made);
        }
        let name = made.name_any();
        let passed: Vec<(String, String)> = job
            .labels()
            .iter()
            .filter(|(label, _)| label.starts_with(KUEUE))
            .map(|(label, value)| (label.clone(), value.clone()))
            .collect();
        made.labels_mut().extend(passed);
        let Some(spec) = made.spec.as_mut() else {
            return;
        };
        let (template, pods) = (
            spec.template.metadata.get_or_insert_default(),
            spec.template.spec.get_or_insert_default(),
        );
        if pods.priority_class_name.is_none() {
            pods.priority_class_name
                .clone_from(&job.spec.scheduling.priority_class_name);
        }
        match self {
            Self::Kueue { queue } => {
                spec.suspend = Some(true);
                made.labels_mut()
                    .insert(KUEUE_QUEUE.to_owned(), queue.clone());
            }
            Self::Native => {
                pods.scheduling_group = Some(PodSchedulingGroup {
                    pod_group_name: Some(name),
                });
            }
            Self::Kai { queue } => {
                pods.scheduler_name = Some(KAI_SCHEDULER.to_owned());
                let labels = template.labels.get_or_insert_default();
                if let Some(queue) = queue {
                    labels.insert(KAI_QUEUE.to_owned(), queue.clone());
                }
                let size = job.spec.workers.replicas.to_string();
                made.annotations_mut()
                    .insert(KAI_MIN_MEMBER.to_owned(), size);
                if let Some(queue) = queue {
                    made.labels_mut()
                        .insert(KAI_QUEUE.to_owned(), queue.clone());
                }
            }
            Self::Volcano { .. } => {
                pods.scheduler_name = Some(VOLCANO_SCHEDULER.to_owned());
                template
                    .annotations
                    .get_or_insert_default()
                    .insert(VOLCANO_GROUP.to_owned(), name);
            }
            Self::None => {}
        }
    }

    /// What a Job was made for.
    pub fn of(made: &Job) -> Self {
        let pods = made.spec.as_ref();
        let pods = pods.and_then(|spec| spec.template.spec.as_ref());
        let label = |name: &str| made.labels().get(name).cloned();
        if let Some(queue) = label(KUEUE_QUEUE) {
            return Self::Kueue { queue };
        }
        if pods.is_some_and(|pods| pods.scheduling_group.is_some()) {
            return Self::Native;
        }
        match pods.and_then(|pods| pods.scheduler_name.as_deref()) {
            Some(KAI_SCHEDULER) => Self::Kai {
                queue: label(KAI_QUEUE),
            },
            Some(VOLCANO_SCHEDULER) => Self::Volcano { queue: None },
            _ => Self::None,
        }
    }
}

/// Whether a Job stands in a queue of Kueue's: it has not been admitted, or its room was taken back.
pub fn is_queued(made: &Job) -> bool {
    let suspended = made.spec.as_ref().and_then(|spec| spec.suspend);
    suspended == Some(true) && matches!(Backend::of(made), Backend::Kueue { .. })
}

/// Who schedules a job's gang of such pods, and why.
///
/// # Errors
/// Where the job asks for what the cluster does not have, or for what the one who schedules cannot do.
pub fn choose(
    job: &TrainingJob,
    worker: &PodTemplateSpec,
    cluster: &Schedulers,
) -> Result<(Backend, SchedulingStatus), Problem> {
    let scheduling = &job.spec.scheduling;
    let by_label = job.labels().get(KUEUE_QUEUE);
    let queue = scheduling.queue_name.as_ref().or(by_label).cloned();
    if let (Some(by_label), GangMode::None | GangMode::PodGroup) = (by_label, scheduling.gang) {
        // It would be passed on to the Job, and Kueue holds whatever has it.
        return Err(Problem::new(
            "SchedulingConflict",
            format!(
                "metadata.labels: {KUEUE_QUEUE} is {by_label}, and spec.scheduling.gang is {:?}: only Kueue schedules what is in a queue of its; take one of the two away",
                scheduling.gang
            ),
        ));
    }
    let (backend, reason) = match scheduling.gang {
        GangMode::None => (Backend::None, "spec.scheduling.gang is None".to_owned()),
        GangMode::Auto if cluster.kai && kai::asks_for_share(worker) => {
            let why = "a share of a GPU is asked for, which KAI alone gives".to_owned();
            (Backend::Kai { queue }, why)
        }
        GangMode::Auto => automatic(job, queue, cluster)?,
        GangMode::PodGroup => match &cluster.native {
            Ok(()) => (Backend::Native, asked("PodGroup")),
            Err(why) => return Err(absent("PodGroup", why)),
        },
        GangMode::Kueue => match queue {
            Some(queue) if cluster.kueue => (Backend::Kueue { queue }, asked("Kueue")),
            Some(_) => {
                return Err(absent(
                    "Kueue",
                    "the cluster serves no kueue.x-k8s.io/v1beta2",
                ));
            }
            None => return Err(absent("Kueue", "no queue is named")),
        },
        GangMode::Kai if cluster.kai => (Backend::Kai { queue }, asked("KAI")),
        GangMode::Kai => return Err(absent("KAI", "the cluster serves no scheduling.run.ai")),
        GangMode::Volcano if cluster.volcano => (Backend::Volcano { queue }, asked("Volcano")),
        GangMode::Volcano => {
            return Err(absent(
                "Volcano",
                "the cluster serves no scheduling.volcano.sh",
            ));
        }
    };
    let (field, mend) = ("spec.workers.template", "set spec.scheduling.gang to KAI");
    kai::check_share(field, worker, &backend, mend)?;
    if let Some(topology) = &scheduling.topology {
        topology::check(topology, &backend)?;
    }
    let status = SchedulingStatus {
        gang: backend.name().to_owned(),
        reason,
    };
    Ok((backend, status))
}

/// A queue decides first, then the size of the gang, then what there is.
fn automatic(
    job: &TrainingJob,
    queue: Option<String>,
    cluster: &Schedulers,
) -> Result<(Backend, String), Problem> {
    let served = |what: &str| format!("the cluster serves {what}");
    if let Some(queue) = queue {
        let why = |who: &str| format!("queue {queue:?} is named, and the cluster has {who}");
        let (kueue, kai, volcano) = (why("Kueue"), why("KAI"), why("Volcano"));
        return match cluster {
            Schedulers { kueue: true, .. } => Ok((Backend::Kueue { queue }, kueue)),
            Schedulers { kai: true, .. } => Ok((Backend::Kai { queue: Some(queue) }, kai)),
            Schedulers { volcano: true, .. } => {
                Ok((Backend::Volcano { queue: Some(queue) }, volcano))
            }
            _ => Err(Problem::new(
                "QueueNotFound",
                format!(
                    "spec.scheduling.queueName: names queue {queue:?}, and the cluster has none of Kueue (0.15 or newer), KAI and Volcano; install one, or leave queueName away"
                ),
            )),
        };
    }
    if job.spec.workers.replicas == 1 {
        let reason = "a gang of one pod needs no gang scheduling".to_owned();
        return Ok((Backend::None, reason));
    }
    Ok(match cluster {
        Schedulers { native: Ok(()), .. } => (Backend::Native, served("scheduling.k8s.io/v1beta1")),
        Schedulers { kai: true, .. } => (
            Backend::Kai { queue: None },
            served("scheduling.run.ai, and no PodGroup of its own"),
        ),
        Schedulers { volcano: true, .. } => (
            Backend::Volcano { queue: None },
            served("scheduling.volcano.sh, and no PodGroup of its own"),
        ),
        Schedulers {
            native: Err(why), ..
        } => (Backend::None, why.clone()),
    })
}

fn asked(what: &str) -> String {
    format!("spec.scheduling.gang is {what}")
}

fn absent(what: &str, why: &str) -> Problem {
    Problem::new(
        "GangSchedulerNotFound",
        format!(
            "spec.scheduling.gang: is {what}, but {why}; install it, or let gang be Auto, which takes what there is"
        ),
    )
}

/// What the versions of `scheduling.k8s.io` with their kinds, as the API server lists them, are to us.
///
/// # Errors
/// Why gangs cannot be scheduled natively.
pub fn native(versions: &[(String, Vec<String>)]) -> Result<(), String> {
    let has = |version: &str, kind: &str| {
        let found = versions.iter().find(|(name, _)| name == version);
        found.is_some_and(|(_, kinds)| kinds.iter().any(|one| one == kind))
    };
    let other = |version: &str, release: &str, what: &str| {
        Err(format!(
            "the cluster serves scheduling.k8s.io/{version} of Kubernetes {release}, where {what}; v1beta1 of 1.37 is needed: pods are scheduled one by one"
        ))
    };
    if has("v1beta1", "PodGroup") {
        return Ok(());
    }
    if has("v1alpha2", "PodGroup") {
        return other(
            "v1alpha2",
            "1.36",
            "a PodGroup is made from a Workload's template",
        );
    }
    if has("v1alpha1", "Workload") {
        return other(
            "v1alpha1",
            "1.35",
            "pods name a Workload and there is no PodGroup",
        );
    }
    Err("the cluster does not serve scheduling.k8s.io/v1beta1 PodGroups: pods are scheduled one by one".to_owned())
}
