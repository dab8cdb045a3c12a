//! What a decision on a TrainingJob may know.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use windlass_api::{ModelVersion, TrainingJob};

use super::gang::{QueueWord, Schedulers};

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
    pub claims: BTreeSet<String>,
    /// The service accounts of its namespace.
    pub service_accounts: BTreeSet<String>,
    /// What its Jobs wait for that stand in a queue of Kueue's, by their names.
    pub queue: BTreeMap<String, QueueWord>,
    /// What the cluster schedules gangs with.
    pub schedulers: Schedulers,
    /// The agent's image that the operator was started with.
    pub agent_image: String,
}
