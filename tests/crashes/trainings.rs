//! The life of a training, from its TrainingJob to a version that is judged; and that of a version which was trained elsewhere.

use anyhow::Result;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};
use windlass_api::{ModelVersion, condition, is_true};

use super::stage::until;

/// Name of the input.
pub const INPUT: &str = "events";
/// Where it lies.
pub const INPUT_ADDRESS: &str = "s3://growth/events";
/// Name of the TrainingJob.
pub const TRAINING: &str = "fit";

/// What makes a version good enough.
pub fn validation() -> Value {
    json!({
        "dataset": {"uri": "s3://models/holdout", "label": "churned"},
        "metrics": [{"name": "rocAuc", "min": "0.5"}],
    })
}

/// What a TrainingJob says that registers a version, with so many workers of a GPU each.
pub fn spec(workers: i32) -> Value {
    let container = json!({
        "name": "trainer", "image": "localhost/busybox:test", "command": ["train"],
        "resources": {"limits": {"nvidia.com/gpu": 1}},
    });
    json!({
        "model": "churn",
        "framework": "PyTorch",
        "workers": {"replicas": workers, "template": {"spec": {"containers": [container]}}},
        "output": {"uri": "s3://models/churn", "format": "LightGBM"},
        "validation": validation(),
    })
}

/// A TrainingJob whose data is checked first.
pub fn training(namespace: &str) -> Value {
    let mut spec = spec(2);
    spec["inputs"] = json!([{
        "name": INPUT, "uri": INPUT_ADDRESS, "format": "Parquet", "checks": [{"column": "age", "notNull": true}],
    }]);
    spec["backoffLimit"] = 2.into();
    json!({
        "apiVersion": "windlass.dev/v1alpha1", "kind": "TrainingJob",
        "metadata": {"name": TRAINING, "namespace": namespace}, "spec": spec,
    })
}

/// A version of which nobody knows a digest, and that a person has to approve.
pub fn foreign(namespace: &str) -> Value {
    json!({
        "apiVersion": "windlass.dev/v1alpha1", "kind": "ModelVersion",
        "metadata": {"name": "churn-1", "namespace": namespace},
        "spec": {
            "model": "churn", "version": 1, "approval": "Manual", "validation": validation(),
            "artifact": {"uri": "s3://models/churn/1", "format": "LightGBM"},
        },
    })
}

/// Waits until a version is good.
pub async fn good(client: &Client, namespace: &str, name: &str) -> Result<()> {
    let versions = Api::<ModelVersion>::namespaced(client.clone(), namespace);
    let is_good = async || {
        let status = versions.get_opt(name).await.ok()??.status?;
        is_true(&status.conditions, condition::READY).then_some(())
    };
    until(&format!("{name} to be good"), is_good).await
}

/// Approves a version once it is judged, as a person of this name.
pub async fn approve(client: &Client, namespace: &str, by: &str) -> Result<()> {
    let versions = Api::<ModelVersion>::namespaced(client.clone(), namespace);
    let is_judged = async || {
        let status = versions.get_opt("churn-1").await.ok()??.status?;
        status.validation.map(drop)
    };
    until("churn-1 to be judged", is_judged).await?;
    let review = json!({"by": by, "decision": "Approved", "reason": "it is what we want"});
    let patch = Patch::Merge(json!({"spec": {"review": review}}));
    versions
        .patch("churn-1", &PatchParams::default(), &patch)
        .await?;
    good(client, namespace, "churn-1").await
}
