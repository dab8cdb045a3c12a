//! The operator's own writes a second, where nothing else is at work: no Job controller, no scheduler, no pods.
//!
//! ```text
//!   all TrainingJobs are there ──> the operator starts: a Job and a status each ──> stops
//!   this program says that all Jobs are complete ──> the operator starts: a status each
//! ```
//!
//! A rate is that of both turns together, each from its first to its last write. The bare client does the same after it.

use std::time::Duration;

use anyhow::{Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::batch::v1::Job;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use windlass_api::TrainingJob;
use windlass_testcluster::{Options, Shape};

use crate::bare::{self, Bare, each, job_of};
use crate::count::{seconds, until_statuses, writes_in};
use crate::shared::figures::{Figure, count, figure, goal};
use crate::shared::objects::{AT_ONCE, create, training_job};
use crate::support::Bed;
use crate::support::audit::mark;
use crate::support::operator::{Operator, cpu_of};

const USER: &str = "bench-alone";
const NAMESPACE: &str = "alone";

/// The operator, and the bare client with Events and without.
pub async fn measure(jobs: usize, figures: &mut Vec<Figure>) -> Result<()> {
    let options = Options::new("bench-alone", Shape::Api).with_audit_log();
    let bed = Bed::up(options).await?;
    let client = bed.client().await?;
    bare::install(&bed)?;
    bed.namespace(NAMESPACE)?;
    bed.cluster.kill("kube-controller-manager")?;

    let (floor_before, cpu) = bare(&bed, "bare-before", jobs, true).await?;
    let rate = operator(&bed, &client, jobs, figures).await?;
    let (floor_after, _) = bare(&bed, "bare-after", jobs, true).await?;
    let (without, _) = bare(&bed, "bare-no-events", jobs, false).await?;
    let floor = f64::midpoint(floor_before, floor_after);
    figures.push(figure("alone: jobs", count(jobs), "1"));
    figures.push(figure("alone: bare client, before", floor_before, "1/s"));
    figures.push(figure("alone: bare client, after", floor_after, "1/s"));
    figures.push(figure("alone: bare client, no Events", without, "1/s"));
    figures.push(figure("alone: bare client's CPU a write", cpu, "ms"));
    figures.push(figure("alone: operator", rate, "1/s"));
    figures.push(goal(
        "alone: operator to bare client (mean)",
        rate / floor,
        "1",
        ">= 0.9",
        rate >= 0.9 * floor,
    ));
    Ok(())
}

/// Writes a second of the operator.
async fn operator(
    bed: &Bed,
    client: &Client,
    jobs: usize,
    figures: &mut Vec<Figure>,
) -> Result<f64> {
    let api = Api::<TrainingJob>::namespaced(client.clone(), NAMESPACE);
    create(&api, (0..jobs).map(training_job)).await?;
    let (mut took, mut wrote, mut cpu) = (0.0, 0, Duration::ZERO);
    for turn in 0..2 {
        let start = mark(&bed.cluster);
        let operator = Operator::lead(bed, USER)?;
        until_statuses(&operator, jobs).await?;
        // What is counted has been sent; the last one has to be answered, or it is sent again.
        tokio::time::sleep(Duration::from_secs(2)).await;
        cpu += operator.cpu()?;
        ensure!(operator.stop()?.success(), "the operator did not stop well");
        let writes = writes_in(&bed.cluster, USER, NAMESPACE, start);
        took += seconds(&writes)?;
        wrote += writes.len();
        if turn == 0 {
            complete(client, jobs).await?;
        }
    }
    ensure!(
        wrote == 3 * jobs,
        "{wrote} writes for {jobs} jobs, not three each"
    );
    figures.push(figure(
        "alone: operator's CPU a write, start included",
        cpu.as_secs_f64() * 1000.0 / count(wrote),
        "ms",
    ));
    Ok(count(wrote) / took)
}

/// Says in the Job controller's place that all Jobs have ended well, some time ago.
async fn complete(client: &Client, jobs: usize) -> Result<()> {
    let api = Api::<Job>::namespaced(client.clone(), NAMESPACE);
    let at = "2026-01-01T00:00:00Z";
    let condition = |type_: &str| json!({"type": type_, "status": "True", "lastTransitionTime": at, "reason": "CompletionsReached"});
    let status = json!({"status": {
        "startTime": at, "completionTime": at, "succeeded": 1, "completedIndexes": "0",
        "conditions": [condition("SuccessCriteriaMet"), condition("Complete")],
    }});
    let (api, status) = (&api, &status);
    futures::stream::iter(0..jobs)
        .map(|number| async move {
            let name = job_of(number);
            let parameters = PatchParams::default();
            api.patch_status(&name, &parameters, &Patch::Merge(status))
                .await?;
            anyhow::Ok(())
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

/// What the bare client did, under a name that is its namespace's too: writes a second, and milliseconds of a processor
/// that each took.
async fn bare(bed: &Bed, name: &str, jobs: usize, events: bool) -> Result<(f64, f64)> {
    let bare = Bare::new(bed, name, name, events).await?;
    let bare = &bare;
    let subjects = bare.create(jobs).await?;
    let (mut took, this) = (0.0, std::process::id());
    let (start, before) = (mark(&bed.cluster), cpu_of(this)?);
    each(
        &subjects,
        |subject| async move { bare.start(&subject).await },
    )
    .await?;
    let mut cpu = cpu_of(this)?.saturating_sub(before);
    took += seconds(&writes_in(&bed.cluster, name, name, start))?;
    let (start, before) = (mark(&bed.cluster), cpu_of(this)?);
    each(
        &subjects,
        |subject| async move { bare.finish(&subject).await },
    )
    .await?;
    cpu += cpu_of(this)?.saturating_sub(before);
    took += seconds(&writes_in(&bed.cluster, name, name, start))?;
    let writes = count(3 * jobs);
    Ok((writes / took, cpu.as_secs_f64() * 1000.0 / writes))
}
