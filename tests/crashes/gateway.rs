//! Plays a Gateway: it takes every route as it is.

use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::StreamExt as _;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::runtime::watcher;
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use windlass_testcluster::Cluster;
use windlass_testcluster::programs::Program;

use super::seen::changes;

/// HTTPRoutes.
pub fn routes() -> ApiResource {
    let kind = GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "HTTPRoute");
    ApiResource::from_gvk(&kind)
}

/// Puts Gateway API's CRDs into a cluster; nothing there acts on them.
pub fn install(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl()?;
    let program = Program::Traefik.path()?;
    let kept = program.parent().context("a program lies in a folder")?;
    let definitions = kept.join("config/crd/standard");
    kubectl.run(&[
        "apply",
        "--server-side",
        "-f",
        &definitions.display().to_string(),
    ])?;
    let crd = "crd/httproutes.gateway.networking.k8s.io";
    kubectl.run(&["wait", "--for=condition=Established", "--timeout=30s", crd])?;
    Ok(())
}

/// Takes every route, for as long as it is polled.
pub async fn play(client: Client) {
    let all = Api::<DynamicObject>::all_with(client.clone(), &routes());
    let mut changes = changes(watcher(all, watcher::Config::default()));
    while let Some((route, is_there)) = changes.next().await {
        if is_there && !is_taken(&route) {
            // Somewhat later, as a real one does.
            tokio::time::sleep(Duration::from_millis(20)).await;
            take(&client, &route).await;
        }
    }
}

fn is_taken(route: &DynamicObject) -> bool {
    let seen = route
        .data
        .pointer("/status/parents/0/conditions/0/observedGeneration");
    seen.and_then(Value::as_i64) == route.metadata.generation
}

async fn take(client: &Client, route: &DynamicObject) {
    let namespace = route.namespace().unwrap_or_default();
    let api = Api::<DynamicObject>::namespaced_with(client.clone(), &namespace, &routes());
    let condition = |type_: &str| {
        json!({
            "type": type_, "status": "True", "reason": type_, "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z",
            "observedGeneration": route.metadata.generation,
        })
    };
    let parent = json!({
        "parentRef": {"name": "public"}, "controllerName": "windlass.dev/test",
        "conditions": [condition("Accepted"), condition("ResolvedRefs")],
    });
    let status = json!({"status": {"parents": [parent]}});
    // One that is gone by now has nothing to be said of it.
    let _ = api
        .patch_status(
            &route.name_any(),
            &PatchParams::default(),
            &Patch::Merge(status),
        )
        .await;
}
