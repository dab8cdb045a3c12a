//! The objects that benchmarks make, and how they make many.

use anyhow::Result;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::batch::v1::Job;
use kube::api::{Api, ListParams, PostParams};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use windlass_api::{TrainingJob, condition, is_true};

/// How many creations are under way at once.
pub const AT_ONCE: usize = 16;

/// Creates objects as fast as the API server takes them.
pub async fn create<K>(api: &Api<K>, objects: impl Iterator<Item = Value>) -> Result<()>
where
    K: kube::Resource + Clone + std::fmt::Debug + Serialize + DeserializeOwned,
{
    let parameters = PostParams::default();
    let made = stream::iter(objects).map(|object| async {
        api.create(&parameters, &serde_json::from_value(object)?)
            .await?;
        anyhow::Ok(())
    });
    made.buffer_unordered(AT_ONCE).try_collect().await
}

pub trait All<K> {
    /// All objects, from the API server's cache.
    async fn all(&self) -> Result<Vec<K>>;
}

impl<K: Clone + std::fmt::Debug + DeserializeOwned> All<K> for Api<K> {
    async fn all(&self) -> Result<Vec<K>> {
        Ok(self.list(&ListParams::default().match_any()).await?.items)
    }
}

/// Whether a TrainingJob ended well.
pub fn has_ended(job: &TrainingJob) -> bool {
    job.status
        .as_ref()
        .is_some_and(|status| is_true(&status.conditions, condition::COMPLETE))
}

/// Whether a Job ended well.
pub fn is_complete(job: &Job) -> bool {
    let conditions = job
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "Complete" && condition.status == "True")
}

/// A worker, or the pod of a plain Job.
pub fn worker() -> Value {
    json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "trainer", "image": "localhost/busybox:test", "command": ["train"]}]}})
}

/// The name of the job of this number; all are of one length.
pub fn job_name(number: usize) -> String {
    format!("job-{number:05}")
}

/// A TrainingJob with one worker.
pub fn training_job(number: usize) -> Value {
    gang(number, 1, &worker())
}

/// A TrainingJob with so many workers.
pub fn gang(number: usize, replicas: usize, template: &Value) -> Value {
    let spec = json!({"workers": {"replicas": replicas, "template": template}});
    json!({"apiVersion": "windlass.dev/v1alpha1", "kind": "TrainingJob", "metadata": {"name": job_name(number)}, "spec": spec})
}
