//! What a decision on a ModelDeployment may know.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use windlass_api::{ModelDeployment, ModelVersion};

use super::analysis::{Errors, Traffic};
use crate::presets::Presets;

/// What is known of a ModelDeployment and all that belongs to it.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The object.
    pub deployment: Arc<ModelDeployment>,
    /// All versions of its model.
    pub versions: Vec<Arc<ModelVersion>>,
    /// Its Deployments, one for each version that has pods.
    pub children: Vec<Arc<Deployment>>,
    /// Their pods.
    pub pods: Vec<Arc<Pod>>,
    /// The traffic that each version has had since the step of the roll-out began.
    pub traffic: BTreeMap<String, Traffic>,
    /// How their errors compare; absent where that is not judged.
    pub errors: Option<Errors>,
    /// The claims of the namespace.
    pub claims: Arc<BTreeSet<String>>,
    /// The runtime presets.
    pub presets: Presets,
    /// The agent's image that the operator was started with.
    pub agent_image: String,
}
