//! The life of a monitor: windows drift, one training is asked for, its version serves and holds, and windows are compared
//! with that one.

use anyhow::Result;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};
use windlass_api::{DriftMonitor, Outcome};

use super::stage::until;
use super::trainings::{spec, validation};

/// Name of the monitor.
const NAME: &str = "watch";

/// A version that serves, what replaces it as soon as something newer is good, and what watches it.
pub fn objects(namespace: &str) -> Vec<Value> {
    let metadata = |name: &str| json!({"name": name, "namespace": namespace});
    vec![
        json!({
            "apiVersion": "windlass.dev/v1alpha1", "kind": "ModelVersion", "metadata": metadata("churn-1"),
            "spec": {
                "model": "churn", "version": 1, "validation": validation(),
                "artifact": {"uri": "s3://models/churn/1", "digest": format!("sha256:{:064x}", 1), "format": "LightGBM"},
            },
        }),
        json!({
            "apiVersion": "windlass.dev/v1alpha1", "kind": "ModelDeployment", "metadata": metadata("churn"),
            "spec": {
                "model": "churn", "version": "Latest", "replicas": 1, "runtime": "mlserver",
                "observe": {"logPayloads": {"uri": "s3://payloads/churn"}}, "rollout": {"strategy": "Recreate"},
            },
        }),
        json!({
            "apiVersion": "windlass.dev/v1alpha1", "kind": "DriftMonitor", "metadata": metadata(NAME),
            "spec": {
                "deployment": "churn", "window": {"every": "5s", "lateness": "1s"}, "triggerWhen": {"windows": 2},
                "mode": "Enforce",
                "retrain": {"template": {"spec": spec(1)}, "budget": {"gpuHours": "10", "per": "168h"}},
            },
        }),
    ]
}

/// Waits until the version that was trained has held, and lets no further window end.
pub async fn follow(client: &Client, namespace: &str) -> Result<()> {
    let monitors = Api::<DriftMonitor>::namespaced(client.clone(), namespace);
    let has_held = async || {
        let status = monitors.get_opt(NAME).await.ok()??.status?;
        let mut all = status.retrainings.iter();
        all.any(|one| one.outcome == Some(Outcome::Held))
            .then_some(())
    };
    until("what was trained to serve and to hold", has_held).await?;
    let never = json!({"spec": {"window": {"every": null, "schedule": "0 0 1 1 *"}}});
    monitors
        .patch(NAME, &PatchParams::default(), &Patch::Merge(never))
        .await?;
    let is_seen = async || {
        let monitor = monitors.get_opt(NAME).await.ok()??;
        let seen = monitor.status?.observed_generation;
        (seen == monitor.metadata.generation).then_some(())
    };
    until("the monitor to rest", is_seen).await
}
