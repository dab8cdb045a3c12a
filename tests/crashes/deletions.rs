//! How what is there goes: objects that are deleted with all that was made for them, and versions that are not kept.

use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use windlass_api::{DriftMonitor, ModelDeployment, ModelVersion, TrainingJob};

use super::stage::until;
use super::trainings::{TRAINING, training, validation};

/// Somebody else's word that an object may go.
const FINALIZER: &str = "example.com/keeps";
/// How many versions are kept.
const KEPT: usize = 2;
/// After a pause in which somebody may still need a version, and with time for everything else.
const RETIRES: Duration = Duration::from_mins(4);

fn version(namespace: &str, model: &str, number: usize, more: &Value) -> Value {
    let mut version = json!({
        "apiVersion": "windlass.dev/v1alpha1", "kind": "ModelVersion",
        "metadata": {"name": format!("{model}-{number}"), "namespace": namespace},
        "spec": {
            "model": model, "version": number,
            "artifact": {"uri": format!("s3://models/{model}/{number}"), "digest": format!("sha256:{number:064x}"), "format": "LightGBM"},
        },
    });
    if let (Some(spec), Some(more)) = (version["spec"].as_object_mut(), more.as_object()) {
        spec.extend(more.clone());
    }
    version
}

/// One of each kind, each with children: a training that runs, a version that is being judged, one that serves and its
/// ModelDeployment, and a DriftMonitor that looks at a window.
pub fn one_of_each(namespace: &str) -> Vec<Value> {
    let validated = json!({"validation": validation()});
    let metadata = |name: &str| json!({"name": name, "namespace": namespace});
    let mut monitor = metadata("churn");
    monitor["finalizers"] = json!([FINALIZER]);
    let mut training = training(namespace);
    training["spec"]["model"] = "other".into();
    vec![
        training,
        version(namespace, "other", 1, &validated),
        version(namespace, "churn", 1, &validated),
        json!({
            "apiVersion": "windlass.dev/v1alpha1", "kind": "ModelDeployment", "metadata": metadata("churn"),
            "spec": {"model": "churn", "version": 1, "replicas": 2, "runtime": "mlserver", "observe": {"logPayloads": {"uri": "s3://payloads/churn"}}},
        }),
        json!({
            "apiVersion": "windlass.dev/v1alpha1", "kind": "DriftMonitor", "metadata": monitor,
            "spec": {"deployment": "churn", "window": {"every": "5s", "lateness": "1s"}, "mode": "Observe"},
        }),
    ]
}

/// Three versions, of which two are kept.
pub fn too_many(namespace: &str) -> Vec<Value> {
    let retention = json!({"retention": {"keep": KEPT, "artifacts": "Delete"}});
    (1..=KEPT + 1)
        .map(|number| version(namespace, "churn", number, &retention))
        .collect()
}

/// Waits until the oldest version has gone, with the Job that deleted its files.
pub async fn retired(client: &Client, namespace: &str) -> Result<()> {
    let versions = Api::<ModelVersion>::namespaced(client.clone(), namespace);
    let is_gone = async || {
        versions
            .get_opt("churn-1")
            .await
            .is_ok_and(|one| one.is_none())
    };
    let within = tokio::time::timeout(RETIRES, async {
        while !is_gone().await {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    within.await.context("churn-1 does not go")?;
    gone::<Job>(client, namespace).await
}

/// Deletes all of ours that is there: some of it in the foreground, some in the background.
pub async fn delete_all(client: &Client, namespace: &str) -> Result<()> {
    delete::<TrainingJob>(client, namespace, &DeleteParams::foreground()).await?;
    delete::<ModelDeployment>(client, namespace, &DeleteParams::foreground()).await?;
    delete::<ModelVersion>(client, namespace, &DeleteParams::background()).await?;
    delete::<DriftMonitor>(client, namespace, &DeleteParams::background()).await
}

/// Deletes everything once all of it is under way, unless it was deleted by then, and waits until nothing is left.
pub async fn follow(client: &Client, namespace: &str) -> Result<()> {
    let trainings = Api::<TrainingJob>::namespaced(client.clone(), namespace);
    let jobs = Api::<Job>::namespaced(client.clone(), namespace);
    let is_deleted = async || {
        let training = trainings.get_opt(TRAINING).await.ok()?;
        training
            .is_none_or(|training| training.metadata.deletion_timestamp.is_some())
            .then_some(())
    };
    let runs = async || {
        let jobs = jobs.list(&ListParams::default()).await.ok()?;
        let names: Vec<String> = jobs.iter().map(ResourceExt::name_any).collect();
        let has = |part: &str| names.iter().any(|name| name.starts_with(part));
        [
            "fit-1",
            "other-1-validation",
            "churn-1-validation",
            "churn-1",
        ]
        .into_iter()
        .all(has)
        .then_some(())
        .filter(|()| names.iter().any(|name| is_window(name)))
    };
    let is_either = async || match is_deleted().await {
        None => runs().await,
        deleted => deleted,
    };
    until("all to be under way", is_either).await?;
    delete_all(client, namespace).await?;
    gone::<TrainingJob>(client, namespace).await?;
    gone::<ModelDeployment>(client, namespace).await?;
    gone::<ModelVersion>(client, namespace).await?;
    // The monitor is kept until its keeper lets it go; what it made stays with it.
    let monitors = Api::<DriftMonitor>::namespaced(client.clone(), namespace);
    let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    monitors
        .patch("churn", &PatchParams::default(), &free)
        .await?;
    gone::<DriftMonitor>(client, namespace).await?;
    gone::<Job>(client, namespace).await?;
    gone::<Deployment>(client, namespace).await?;
    gone::<Service>(client, namespace).await?;
    gone::<Pod>(client, namespace).await
}

/// `churn-1764324000`: the Job of a window is named after its end.
fn is_window(job: &str) -> bool {
    job.strip_prefix("churn-")
        .is_some_and(|end| end.len() > 8 && end.bytes().all(|byte| byte.is_ascii_digit()))
}

fn resource<K: Resource<DynamicType = ()>>() -> ApiResource {
    ApiResource::erase::<K>(&())
}

async fn delete<K>(client: &Client, namespace: &str, how: &DeleteParams) -> Result<()>
where
    K: Resource<DynamicType = ()>,
{
    let api = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &resource::<K>());
    api.delete_collection(how, &ListParams::default()).await?;
    Ok(())
}

/// Waits until none of a kind is left.
async fn gone<K>(client: &Client, namespace: &str) -> Result<()>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let api = Api::<K>::namespaced(client.clone(), namespace);
    let is_gone = async || {
        let left = api.list(&ListParams::default()).await.ok()?;
        left.items.is_empty().then_some(())
    };
    until(&format!("every {} to be gone", K::kind(&())), is_gone).await
}
