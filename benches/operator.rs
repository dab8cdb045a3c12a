//! 1,000 TrainingJobs on fake nodes: none lost, none run twice, and how much is written.
//!
//! `make bench-operator` runs it; `WINDLASS_BENCH_JOBS` sets how many jobs. The cluster is real but for its nodes and
//! pods, which kwok plays: a pod of a Job ends well after one to two seconds. Beside the operator's figures stands a
//! floor measured in the same cluster: as many plain `batch/v1` Jobs, made directly. Both end no sooner than the Job
//! controller, the scheduler and kwok let them, and all of them share this machine's cores.

#[path = "support/mod.rs"]
mod shared;
#[path = "../tests/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::batch::v1::Job;
use kube::api::Api;
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use windlass_api::TrainingJob;
use windlass_testcluster::{Cluster, Options, Shape};

use shared::figures::{Figure, bytes, count, figure, goal, print};
use shared::objects::{All as _, create, has_ended, is_complete, job_name, training_job, worker};
use support::audit::{by_kind, mark, writes_of};
use support::operator::Operator;
use support::{Bed, settled};

/// Fake nodes: each has room for 250 pods.
const NODES: u32 = 20;
/// What an idle operator may hold in memory, in bytes.
const IDLE: f64 = 25e6;
/// What a finished TrainingJob with its Job and its pod may add to that, in bytes.
const EACH: f64 = 64e3;
const USER: &str = "bench";

#[tokio::main]
async fn main() -> Result<()> {
    let jobs = match std::env::var("WINDLASS_BENCH_JOBS") {
        Ok(text) => text
            .parse()
            .context("WINDLASS_BENCH_JOBS has to be a number")?,
        Err(_) => 1000,
    };
    let options = Options::new("bench-operator", Shape::Kwok)
        .with_audit_log()
        .with_fake_nodes(NODES);
    let bed = Bed::new(Cluster::up(&options)?)?;
    let client = bed.client().await?;
    for namespace in ["floor", "bench"] {
        bed.namespace(namespace)?;
    }
    let mut figures = vec![figure("jobs", count(jobs), "1")];

    let floor = floor(&client, jobs).await?;
    figures.push(figure(
        "floor_jobs_per_second",
        count(jobs) / floor.as_secs_f64(),
        "1/s",
    ));

    let operator = Operator::lead(&bed, USER)?;
    let empty = bytes(operator.memory()?.0);
    figures.push(goal(
        "empty_resident",
        empty,
        "B",
        "< 25 MB, release build",
        empty < IDLE,
    ));
    trained(&bed, &client, &operator, jobs, &mut figures).await?;
    ensure!(operator.stop()?.success(), "the operator did not stop well");
    restarted(&bed, jobs, empty, &mut figures).await?;
    print("operator", &figures)
}

/// As many Jobs as the TrainingJobs will have, made directly: what the cluster can do.
async fn floor(client: &Client, jobs: usize) -> Result<Duration> {
    let api = Api::<Job>::namespaced(client.clone(), "floor");
    let started = Instant::now();
    create(&api, (0..jobs).map(plain_job)).await?;
    until_complete("floor", jobs, || async {
        Ok(api
            .all()
            .await?
            .iter()
            .filter(|job| is_complete(job))
            .count())
    })
    .await?;
    Ok(started.elapsed())
}

/// The TrainingJobs, from the first creation to the last completion.
async fn trained(
    bed: &Bed,
    client: &Client,
    operator: &Operator,
    jobs: usize,
    figures: &mut Vec<Figure>,
) -> Result<()> {
    let api = Api::<TrainingJob>::namespaced(client.clone(), "bench");
    let children = Api::<Job>::namespaced(client.clone(), "bench");
    let start = mark(&bed.cluster);
    let started = Instant::now();
    create(&api, (0..jobs).map(training_job)).await?;
    figures.push(figure(
        "created_after",
        started.elapsed().as_secs_f64(),
        "s",
    ));
    let complete = until_complete("bench", jobs, || async {
        Ok(api.all().await?.iter().filter(|job| has_ended(job)).count())
    })
    .await?;
    let took = started.elapsed();
    figures.push(figure("seconds", took.as_secs_f64(), "s"));
    figures.push(figure(
        "jobs_per_second",
        count(jobs) / took.as_secs_f64(),
        "1/s",
    ));
    figures.push(goal(
        "lost",
        count(jobs - complete),
        "1",
        "0",
        complete == jobs,
    ));

    let mut attempts: BTreeMap<String, usize> = BTreeMap::new();
    for child in children.all().await? {
        let owner = child
            .owner_references()
            .first()
            .map(|owner| owner.name.clone())
            .unwrap_or_default();
        *attempts.entry(owner).or_default() += 1;
    }
    let repeated = api
        .all()
        .await?
        .iter()
        .filter(|job| job.status.as_ref().and_then(|status| status.attempt) != Some(1))
        .count();
    let twice = attempts
        .values()
        .filter(|count| **count != 1)
        .count()
        .max(repeated)
        + jobs.abs_diff(attempts.len());
    figures.push(goal("twice", count(twice), "1", "0", twice == 0));

    let wrote = || async { writes_of(&bed.cluster, USER, start).len() };
    settled(Duration::from_secs(5), Duration::from_mins(2), wrote).await;
    let writes = writes_of(&bed.cluster, USER, start);
    let each = count(writes.len()) / count(jobs);
    figures.push(goal(
        "writes_per_training_job",
        each,
        "1",
        "<= 3",
        each <= 3.0,
    ));
    for (kind, number) in by_kind(&writes) {
        figures.push(figure(
            format!("writes_per_training_job: {kind}"),
            count(number) / count(jobs),
            "1",
        ));
    }
    let refused = writes.iter().filter(|write| write.code >= 300).count();
    figures.push(goal(
        "writes_refused",
        count(refused),
        "1",
        "0",
        refused == 0,
    ));
    let (idle, peak) = operator.memory()?;
    figures.push(figure("peak_resident", bytes(peak), "B"));
    figures.push(figure("resident_after_the_jobs", bytes(idle), "B"));
    Ok(())
}

/// The operator, started over objects that have all ended, and that are all in its caches.
async fn restarted(bed: &Bed, jobs: usize, empty: f64, figures: &mut Vec<Figure>) -> Result<()> {
    let before = mark(&bed.cluster);
    let operator = Operator::lead(bed, USER)?;
    let looked_at = || async {
        let text = operator.get("/metrics").unwrap_or_default();
        let line = text.lines().find(|line| {
            line.starts_with("windlass_reconciles_total{kind=\"TrainingJob\",outcome=\"ok\"}")
        });
        line.and_then(|line| line.rsplit(' ').next()?.parse::<usize>().ok())
            .unwrap_or_default()
    };
    let reconciled = settled(Duration::from_secs(5), Duration::from_mins(2), looked_at).await;
    ensure!(
        reconciled >= jobs,
        "only {reconciled} of {jobs} TrainingJobs were looked at after the restart"
    );
    let writes = writes_of(&bed.cluster, USER, before).len();
    figures.push(goal(
        "writes_on_restart",
        count(writes),
        "1",
        "0",
        writes == 0,
    ));
    let idle = bytes(operator.memory()?.0);
    figures.push(figure("resident_after_restart", idle, "B"));
    let each = (idle - empty) / count(jobs);
    figures.push(goal(
        "resident_per_finished_job",
        each,
        "B",
        "< 64 kB",
        each < EACH,
    ));
    ensure!(operator.stop()?.success(), "the operator did not stop well");
    Ok(())
}

/// Waits until all have ended well, or until none has for two minutes.
async fn until_complete<F: Future<Output = Result<usize>>>(
    what: &str,
    all: usize,
    ended: impl Fn() -> F,
) -> Result<usize> {
    let (mut best, mut since) = (0, Instant::now());
    loop {
        let now = ended().await?;
        if now > best {
            (best, since) = (now, Instant::now());
            eprintln!("{what}: {best} of {all} have ended");
        }
        if best >= all || since.elapsed() > Duration::from_mins(2) {
            return Ok(best);
        }
        // Each look reads everything: seldom enough that it is not what is measured.
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

fn plain_job(number: usize) -> Value {
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": job_name(number)}, "spec": {"backoffLimit": 0, "template": worker()}})
}
