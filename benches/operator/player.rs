//! Plays the Job controller: each Job is said to be complete as soon as it is there.

use std::time::Duration;

use anyhow::Result;
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{Config, watcher};
use kube::{Client, ResourceExt as _};
use serde_json::json;
use tokio::task::JoinSet;

use crate::bare::CONCURRENCY;
use crate::shared::objects::is_complete;
use crate::support::{Bed, wait};

/// Makes these namespaces, and has them whole before there is no controller manager any more.
///
/// # Errors
/// When a namespace does not get its service account within half a minute.
pub async fn takes_over(bed: &Bed, client: &Client, namespaces: &[&str]) -> Result<JoinSet<()>> {
    for namespace in namespaces {
        bed.namespace(namespace)?;
        let accounts = Api::<ServiceAccount>::namespaced(client.clone(), namespace);
        let made = async || accounts.get_opt("default").await.ok().flatten();
        wait(
            "the namespace's service account",
            Duration::from_secs(30),
            made,
        )
        .await;
    }
    bed.cluster.kill("kube-controller-manager")?;
    Ok(ends_jobs(client))
}

/// Ends the Jobs of all namespaces, for as long as what is returned is held.
fn ends_jobs(client: &Client) -> JoinSet<()> {
    let mut playing = JoinSet::new();
    let client = client.clone();
    playing.spawn(async move {
        let made = watcher(Api::<Job>::all(client.clone()), Config::default())
            .default_backoff()
            .applied_objects()
            .try_filter(|job| std::future::ready(!is_complete(job)));
        made.for_each_concurrent(CONCURRENCY, |job| {
            let client = client.clone();
            async move {
                let Ok(job) = job else {
                    return;
                };
                let at = "2026-01-01T00:00:00Z";
                let condition = |type_: &str| json!({"type": type_, "status": "True", "lastTransitionTime": at, "reason": "CompletionsReached"});
                let status = json!({"status": {
                    "startTime": at, "completionTime": at, "succeeded": 1, "completedIndexes": "0",
                    "conditions": [condition("SuccessCriteriaMet"), condition("Complete")],
                }});
                let api = Api::<Job>::namespaced(client, &job.namespace().unwrap_or_default());
                let parameters = PatchParams::default();
                let patch = Patch::Merge(&status);
                if let Err(error) = api.patch_status(&job.name_any(), &parameters, &patch).await {
                    eprintln!("{} does not end: {error}", job.name_any());
                }
            }
        })
        .await;
    });
    playing
}
