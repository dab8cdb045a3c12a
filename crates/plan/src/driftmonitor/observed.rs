//! What a decision on a DriftMonitor may know.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use windlass_api::{DriftMonitor, ModelDeployment, ModelVersion, TrainingJob};

/// A Ballista cluster that counts for one namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Engine {
    /// Its scheduler: `ballista://host:port`.
    pub address: String,
    /// The image of its programs, which has the agent too.
    pub image: String,
}

/// What is known of a DriftMonitor and what it watches.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The object.
    pub monitor: Arc<DriftMonitor>,
    /// What it watches.
    pub deployment: Option<Arc<ModelDeployment>>,
    /// Versions of its model: those that serve or served, and those that are newer.
    pub versions: Vec<Arc<ModelVersion>>,
    /// The Jobs of its windows.
    pub jobs: Vec<Arc<Job>>,
    /// Their pods.
    pub pods: Vec<Arc<Pod>>,
    /// The TrainingJobs that a monitor of the deployment asked for, and all of the model that are under way.
    pub training_jobs: Vec<Arc<TrainingJob>>,
    /// The other monitors of the deployment.
    pub beside: Vec<Arc<DriftMonitor>>,
    /// The claims of the namespace.
    pub claims: Arc<BTreeSet<String>>,
    /// The agent's image.
    pub agent_image: String,
    /// What counts for the namespace beyond one machine, where an administrator has set it up.
    pub engine: Option<Engine>,
    /// Since when this operator reads what Jobs found.
    pub reading_since: Timestamp,
    /// Until when the one before it did, as far as that is known: between the two nobody has.
    pub read_until: Option<Timestamp>,
}
