//! What a decision on a ModelVersion may know.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use windlass_api::{ModelDeployment, ModelVersion};

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
    /// Name of the version that serves the model now.
    pub serving: Option<String>,
    /// Its record; absent also where it was deleted.
    pub champion: Option<Arc<ModelVersion>>,
    /// The ModelDeployments of its model.
    pub deployments: Vec<Arc<ModelDeployment>>,
    /// The claims of the namespace.
    pub claims: Arc<BTreeSet<String>>,
    /// The runtime presets.
    pub presets: Presets,
    /// The agent's image.
    pub agent_image: String,
}
