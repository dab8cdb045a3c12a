//! What a decision on a DriftMonitor may know.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use windlass_api::{DriftMonitor, ModelDeployment, ModelVersion, TrainingJob};

/// What is known of a DriftMonitor and what it watches.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The object.
    pub monitor: Arc<DriftMonitor>,
    /// What it watches.
    pub deployment: Option<Arc<ModelDeployment>>,
    /// The version that serves all traffic.
    pub serving: Option<Arc<ModelVersion>>,
    /// The Jobs of its windows.
    pub jobs: Vec<Arc<Job>>,
    /// Their pods.
    pub pods: Vec<Arc<Pod>>,
    /// The TrainingJobs that it asked for.
    pub training_jobs: Vec<Arc<TrainingJob>>,
    /// The versions that came of them.
    pub trained: Vec<Arc<ModelVersion>>,
    /// The claims of the namespace.
    pub claims: Arc<BTreeSet<String>>,
    /// The agent's image.
    pub agent_image: String,
}
