//! The objects that tests apply, and how they look at them and play the kubelet.

use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::json;
use windlass_api::{TrainingJob, find_condition};

use crate::support::{Bed, wait};

/// How long anything may take on a machine that does other things too.
pub const PATIENCE: Duration = Duration::from_secs(20);

const WORKER: &str = "template: {spec: {containers: [{name: trainer, image: localhost/busybox:test, command: [train]}]}}";

/// Makes a namespace, and waits until pods can be made in it.
pub async fn namespace(bed: &Bed, name: &str) -> Result<()> {
    let kubectl = bed.cluster.kubectl()?;
    bed.namespace(name)?;
    let made = async || {
        kubectl
            .run(&["get", "serviceaccount", "default", "-n", name])
            .ok()
    };
    wait("the namespace's service account", PATIENCE, made).await;
    Ok(())
}

/// A TrainingJob that only runs; `more` are further lines of its spec, or none.
pub fn training(namespace: &str, name: &str, more: &str) -> String {
    format!(
        "apiVersion: windlass.dev/v1alpha1\nkind: TrainingJob\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
         spec:\n  workers: {{{WORKER}}}\n{more}\n"
    )
}

/// A TrainingJob of a gang of two.
pub fn gang(namespace: &str, name: &str) -> String {
    format!(
        "apiVersion: windlass.dev/v1alpha1\nkind: TrainingJob\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
         spec:\n  framework: PyTorch\n  workers: {{replicas: 2, {WORKER}}}\n"
    )
}

/// What makes a TrainingJob one that registers a model.
pub const WITH_MODEL: &str =
    "  model: churn\n  output: {uri: 's3://models/churn', format: LightGBM}";

/// A ModelVersion that nothing judges.
pub fn version(namespace: &str, model: &str, number: u32) -> String {
    format!(
        "apiVersion: windlass.dev/v1alpha1\nkind: ModelVersion\nmetadata: {{name: {model}-{number}, namespace: {namespace}}}\n\
         spec:\n  model: {model}\n  version: {number}\n  artifact: {{uri: 's3://models/{model}', digest: 'sha256:{}', format: LightGBM}}\n",
        "0".repeat(64)
    )
}

/// A ModelDeployment of a fixed version.
pub fn deployment(namespace: &str, name: &str, number: u32) -> String {
    format!(
        "apiVersion: windlass.dev/v1alpha1\nkind: ModelDeployment\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
         spec:\n  model: {name}\n  version: {number}\n  replicas: 1\n  runtime: mlserver\n  observe: {{logPayloads: {{uri: 's3://payloads/{name}'}}}}\n"
    )
}

/// A DriftMonitor of a deployment.
pub fn monitor(namespace: &str, deployment: &str) -> String {
    format!(
        "apiVersion: windlass.dev/v1alpha1\nkind: DriftMonitor\nmetadata: {{name: {deployment}, namespace: {namespace}}}\n\
         spec:\n  deployment: {deployment}\n  window: {{every: 1m, size: 1m}}\n  mode: Observe\n"
    )
}

/// The objects of one namespace.
pub struct Looking {
    pub training_jobs: Api<TrainingJob>,
    pub jobs: Api<Job>,
    pub pods: Api<Pod>,
    pub services: Api<Service>,
}

impl Looking {
    pub fn new(client: &Client, namespace: &str) -> Self {
        let client = || client.clone();
        Self {
            training_jobs: Api::namespaced(client(), namespace),
            jobs: Api::namespaced(client(), namespace),
            pods: Api::namespaced(client(), namespace),
            services: Api::namespaced(client(), namespace),
        }
    }

    /// Waits until a condition of a TrainingJob is `True`, and returns its reason and message.
    pub async fn until(&self, name: &str, condition: &str) -> (String, String) {
        let holds = async || {
            let status = self.training_jobs.get_opt(name).await.ok()??.status?;
            let found = find_condition(&status.conditions, condition)
                .filter(|found| found.status == "True")?;
            Some((found.reason.clone(), found.message.clone()))
        };
        wait(
            &format!("TrainingJob {name} to be {condition}"),
            PATIENCE,
            holds,
        )
        .await
    }

    /// The address below which a TrainingJob's outputs lie.
    pub async fn place(&self, name: &str) -> Result<String> {
        let uid = self
            .training_jobs
            .get(name)
            .await?
            .uid()
            .unwrap_or_default();
        Ok(format!("s3://models/churn/{name}-{}", &uid[..8]))
    }

    /// Waits until a Job is there that is not the one with this uid.
    pub async fn until_job(&self, name: &str, not: Option<&str>) -> Job {
        let there = async || {
            self.jobs.get_opt(name).await.ok()?.filter(|job| {
                job.uid().as_deref() != not && job.metadata.deletion_timestamp.is_none()
            })
        };
        wait(&format!("Job {name}"), PATIENCE, there).await
    }

    /// Plays the kubelet: every pod of a Job ends well, and leaves this message.
    pub async fn end_pods(&self, job: &str, pods: usize, message: &str) -> Result<()> {
        let selector = ListParams::default().labels(&format!("batch.kubernetes.io/job-name={job}"));
        let made = async || {
            let pods_now = self.pods.list(&selector).await.ok()?.items;
            (pods_now.len() == pods).then_some(pods_now)
        };
        for pod in wait(&format!("the pods of Job {job}"), PATIENCE, made).await {
            let ended = json!({"terminated": {"exitCode": 0, "reason": "Completed", "message": message, "finishedAt": "2026-01-01T00:00:01Z", "startedAt": "2026-01-01T00:00:00Z"}});
            let container = json!({"name": "trainer", "image": "busybox", "imageID": "busybox", "ready": false, "started": false, "restartCount": 0, "state": ended});
            let status =
                json!({"status": {"phase": "Succeeded", "containerStatuses": [container]}});
            self.pods
                .patch_status(
                    &pod.name_any(),
                    &PatchParams::default(),
                    &Patch::Merge(status),
                )
                .await?;
        }
        Ok(())
    }
}
