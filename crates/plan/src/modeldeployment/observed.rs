//! What a decision on a ModelDeployment may know.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, Service};
use windlass_api::{DriftMonitor, ModelDeployment, ModelVersion};
use windlass_statistics::sequential::Share;

use super::autoscaling::Autoscalers;
use super::evidence::Evidence;
use super::gateway::Gateway;
use super::readings::Readings;
use super::traffic::Traffic;
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
    /// Its Services.
    pub services: Vec<Arc<Service>>,
    /// The pods of its Deployments.
    pub pods: Vec<Arc<Pod>>,
    /// The traffic that each version has had since the step of the roll-out began.
    pub traffic: BTreeMap<String, Traffic>,
    /// How the sides of a roll-out compare.
    pub evidence: Option<Evidence>,
    /// What queries of Prometheus answered, of those that the roll-out is judged by.
    pub readings: Readings,
    /// The Jobs that read labels of a roll-out's predictions.
    pub label_jobs: Vec<Arc<Job>>,
    /// Their pods.
    pub label_pods: Vec<Arc<Pod>>,
    /// The errors of the version that serves, while it bakes; absent where they are not judged.
    pub bake: Option<Share>,
    /// The DriftMonitors that watch it.
    pub monitors: Vec<Arc<DriftMonitor>>,
    /// What the cluster has of the Gateway API.
    pub gateway: Gateway,
    /// What may change its number of pods.
    pub autoscalers: Autoscalers,
    /// The claims of the namespace.
    pub claims: Arc<BTreeSet<String>>,
    /// The runtime presets.
    pub presets: Presets,
    /// The agent's image that the operator was started with.
    pub agent_image: String,
}
