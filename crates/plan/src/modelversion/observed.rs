//! What a decision on a ModelVersion may know.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use windlass_api::{DriftMonitor, ModelDeployment, ModelVersion, TrainingJob};

use crate::presets::Presets;

/// What is known of a ModelVersion and its validation.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The object.
    pub version: Arc<ModelVersion>,
    /// The validation's Job.
    pub job: Option<Arc<Job>>,
    /// The Job's pods.
    pub pods: Vec<Arc<Pod>>,
    /// The Job that digests its files.
    pub registration: Option<Arc<Job>>,
    /// That Job's pods.
    pub registration_pods: Vec<Arc<Pod>>,
    /// The Jobs that show it elsewhere.
    pub publications: Vec<Arc<Job>>,
    /// Those Jobs' pods.
    pub publication_pods: Vec<Arc<Pod>>,
    /// Name of the version that serves the model now.
    pub serving: Option<String>,
    /// Its record; absent also where it was deleted.
    pub champion: Option<Arc<ModelVersion>>,
    /// The ModelDeployments of its model.
    pub deployments: Vec<Arc<ModelDeployment>>,
    /// What may need it, or keep it.
    pub around: Around,
    /// The claims of the namespace.
    pub claims: Arc<BTreeSet<String>>,
    /// The runtime presets.
    pub presets: Presets,
    /// The agent's image.
    pub agent_image: String,
}

/// What is around a version that may have to go; of any other it is not looked up, see [`may_go`](super::may_go).
#[derive(Clone, Debug, Default)]
pub struct Around {
    /// The other versions of its model.
    pub siblings: Vec<Arc<ModelVersion>>,
    /// The Deployments that are of it.
    pub children: Vec<Arc<Deployment>>,
    /// The DriftMonitors of what serves its model.
    pub monitors: Vec<Arc<DriftMonitor>>,
    /// Jobs of DriftMonitors that compare a window with its baseline, and have not ended.
    pub windows: Vec<Arc<Job>>,
    /// The TrainingJobs of its namespace that have not ended.
    pub training_jobs: Vec<Arc<TrainingJob>>,
    /// The other versions of its namespace, of whatever model; looked up once it is marked.
    pub neighbours: Vec<Arc<ModelVersion>>,
    /// The Job that deletes its files.
    pub job: Option<Arc<Job>>,
    /// That Job's pods.
    pub pods: Vec<Arc<Pod>>,
}
