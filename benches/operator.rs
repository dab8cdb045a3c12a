//! 1,000 TrainingJobs on fake nodes: none lost, none run twice, and how much is written.
//!
//! `make bench-operator` runs it; `WINDLASS_BENCH_JOBS` sets how many jobs. The cluster is real but for its nodes and
//! pods, which kwok plays: a pod of a Job ends well after one to two seconds. Beside the operator's figures stands a
//! floor measured in the same cluster: as many plain `batch/v1` Jobs, made directly. Both end no sooner than the Job
//! controller, the scheduler and kwok let them, and all of them share this machine's cores.

#[path = "../tests/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::batch::v1::Job;
use kube::api::{Api, ListParams, PostParams};
use kube::{Client, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use windlass_api::{TrainingJob, condition, is_true};
use windlass_testcluster::{Cluster, Options, Shape};

use support::audit::{by_kind, mark, writes_of};
use support::operator::Operator;
use support::{Bed, settled};

/// How many creations are under way at once.
const AT_ONCE: usize = 16;
/// Fake nodes: each has room for 250 pods.
const NODES: u32 = 20;
/// What an idle operator may hold in memory, in bytes.
const IDLE: f64 = 25e6;
/// What a finished TrainingJob with its Job and its pod may add to that, in bytes.
const EACH: f64 = 64e3;
const USER: &str = "bench";

/// One line of the result, as every benchmark of the project writes it.
#[derive(Serialize)]
struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
    goal: Option<String>,
    holds: Option<bool>,
}

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
        bed.cluster
            .kubectl()?
            .run(&["create", "namespace", namespace])?;
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
    print(&figures)
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

/// Creates objects as fast as the API server takes them.
async fn create<K>(api: &Api<K>, objects: impl Iterator<Item = Value>) -> Result<()>
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

trait All<K> {
    async fn all(&self) -> Result<Vec<K>>;
}

impl<K: Clone + std::fmt::Debug + DeserializeOwned> All<K> for Api<K> {
    /// All objects, from the API server's cache.
    async fn all(&self) -> Result<Vec<K>> {
        Ok(self.list(&ListParams::default().match_any()).await?.items)
    }
}

fn has_ended(job: &TrainingJob) -> bool {
    job.status
        .as_ref()
        .is_some_and(|status| is_true(&status.conditions, condition::COMPLETE))
}

fn is_complete(job: &Job) -> bool {
    let conditions = job
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "Complete" && condition.status == "True")
}

fn worker() -> Value {
    json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "trainer", "image": "localhost/busybox:test", "command": ["train"]}]}})
}

fn plain_job(number: usize) -> Value {
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": format!("job-{number:05}")}, "spec": {"backoffLimit": 0, "template": worker()}})
}

fn training_job(number: usize) -> Value {
    let spec = json!({"workers": {"replicas": 1, "template": worker()}});
    json!({"apiVersion": "windlass.dev/v1alpha1", "kind": "TrainingJob", "metadata": {"name": format!("job-{number:05}")}, "spec": spec})
}

#[allow(
    clippy::cast_precision_loss,
    reason = "counts of this benchmark are far below 2^52"
)]
fn count(number: usize) -> f64 {
    number as f64
}

#[allow(clippy::cast_precision_loss, reason = "memory is far below 2^52 bytes")]
fn bytes(number: u64) -> f64 {
    number as f64
}

fn figure(name: impl Into<String>, value: f64, unit: &'static str) -> Figure {
    Figure {
        name: name.into(),
        value,
        unit,
        goal: None,
        holds: None,
    }
}

fn goal(name: &str, value: f64, unit: &'static str, goal: &str, holds: bool) -> Figure {
    Figure {
        name: name.to_owned(),
        value,
        unit,
        goal: Some(goal.to_owned()),
        holds: Some(holds),
    }
}

/// Prints the table, writes it down, and fails where a goal is missed.
fn print(figures: &[Figure]) -> Result<()> {
    println!(
        "{:<58} {:>14} {:<4} {:<24}",
        "figure", "value", "unit", "goal"
    );
    for figure in figures {
        let held = figure
            .holds
            .map_or("", |holds| if holds { " holds" } else { " MISSED" });
        println!(
            "{:<58} {:>14.2} {:<4} {:<24}{held}",
            figure.name,
            figure.value,
            figure.unit,
            figure.goal.as_deref().unwrap_or("")
        );
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench/operator.json");
    std::fs::create_dir_all(path.parent().context("a folder")?)?;
    std::fs::write(&path, serde_json::to_string_pretty(figures)?)?;
    println!("written to target/bench/operator.json");
    ensure!(
        figures.iter().all(|figure| figure.holds != Some(false)),
        "a goal is missed"
    );
    Ok(())
}
