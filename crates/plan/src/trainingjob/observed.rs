//! What a decision on a TrainingJob may know.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use windlass_api::{ModelVersion, TrainingJob, agent};

use super::gang::{QueueWord, Schedulers};
use super::input_cache::InputCache;
use super::utilization::{self, Threshold, Utilization};
use crate::gpus::claims::Devices;
use crate::pods;
use crate::room::Room;

/// How old the room may be on which the size of a gang is decided.
const FOR_A_DECISION: RoomAge = RoomAge::AtMost(Duration::from_secs(15));
/// And that of which a person is told: what is said is renewed once a minute.
const FOR_A_MESSAGE: RoomAge = RoomAge::AtMost(Duration::from_mins(1));

/// What is known of a TrainingJob and all that belongs to it, from caches that have caught up with our own writes.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The object.
    pub job: Arc<TrainingJob>,
    /// Its Jobs, one for each attempt that has been started.
    pub children: Vec<Arc<Job>>,
    /// The pods of all attempts.
    pub pods: Vec<Arc<Pod>>,
    /// The other TrainingJobs of its namespace that have steps, where it asks for what they made, see [`reads_others`].
    ///
    /// [`reads_others`]: super::reads_others
    pub others: Vec<Arc<TrainingJob>>,
    /// The versions of its model.
    pub versions: Vec<Arc<ModelVersion>>,
    /// The version that serves its model now.
    pub champion: Option<String>,
    /// The claims of its namespace.
    pub claims: Arc<BTreeSet<String>>,
    /// The service accounts of its namespace.
    pub service_accounts: Arc<BTreeSet<String>>,
    /// The ResourceClaimTemplates of its namespace by name, each with the devices that it asks for.
    pub claim_templates: Arc<BTreeMap<String, Devices>>,
    /// What its Jobs wait for that stand in a queue of Kueue's, by their names.
    pub queue: BTreeMap<String, QueueWord>,
    /// What the cluster schedules gangs with.
    pub schedulers: Schedulers,
    /// How far the first worker says that the training is, where it was asked.
    pub progress: Option<agent::Progress>,
    /// What room the nodes have; see [`Observed::wants_room`].
    pub room: Rooms,
    /// How far the workers' GPUs are used; see [`Observed::wants_utilization`].
    pub utilization: Utilization,
    /// The agent's image that the operator was started with.
    pub agent_image: String,
    /// The cache of inputs on the nodes that the operator was started with, whomever it serves.
    pub input_cache: Option<InputCache>,
}

/// What is known of the nodes' room.
#[derive(Clone, Debug, Default)]
pub enum Rooms {
    /// Nothing, and nobody is asked: the operator may not list nodes.
    #[default]
    Unknown,
    /// Nothing yet: it is being asked for.
    Asked,
    /// This.
    Known(Arc<Room>),
}

/// How new what is known of the nodes' room has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomAge {
    /// It was seen after it was asked for.
    AsOfNow,
    /// It was seen no longer ago than this.
    AtMost(Duration),
}

impl Observed {
    /// When a GPU of the attempt that runs is idle; nothing where none runs, or its workers hold no GPU.
    pub fn wants_utilization(&self) -> Option<Threshold> {
        let spec = &self.job.spec;
        let status = self.job.status.as_ref()?;
        if spec.suspend || status.attempt_under_way().is_none() {
            return None;
        }
        Threshold::of(&utilization::policy(spec)).filter(|_| utilization::gpus_of_worker(spec) > 0)
    }

    /// How new what is known of the nodes' room has to be for the next decision; nothing where it is of no use.
    pub fn wants_room(&self) -> Option<RoomAge> {
        let spec = &self.job.spec;
        let status = self.job.status.as_ref()?;
        if spec.suspend || status.completion_time.is_some() {
            return None;
        }
        let last = status.attempts.last()?;
        let is_elastic = spec.workers.min_replicas.is_some();
        if is_elastic && last.ended.is_some() {
            // What the last attempt held is free only now.
            return Some(RoomAge::AsOfNow);
        }
        if is_elastic && last.workers < Some(spec.workers.replicas) {
            return Some(FOR_A_DECISION);
        }
        let mut pods = self.pods.iter();
        let waits = pods.any(|pod| pods::unschedulable(pod).is_some());
        waits.then_some(if is_elastic {
            FOR_A_DECISION
        } else {
            FOR_A_MESSAGE
        })
    }
}
