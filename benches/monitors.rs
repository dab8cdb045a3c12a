//! DriftMonitors in numbers: 2,000 of them, window after window, and each finds what the one before found.
//!
//! `make bench-monitors` runs it and writes `target/bench/monitors.json`; `WINDLASS_BENCH_MONITORS` says how many there are,
//! ten of each deployment. The cluster is a real control plane without a node: this program plays the agent, and gives each
//! evaluation's pod its report, ten columns long.
//!
//! A **write** is a request of the operator's that changes the cluster, told from the API server's audit log; its Lease and
//! its Events are apart, as everywhere in this project. **Unchanged verdicts** are windows that go on to pass and are judged
//! as the one before, not monitors that nothing happens to. Each costs one write, its Job: that is the evaluation itself. What
//! a monitor writes of itself is its status: three windows that say nothing new are left with their Jobs, and the fourth is
//! written down with them, since Jobs go. So a look without news writes nothing, of three windows nothing is to be written, and
//! of four once. Whether that is so is asked of each monitor by itself, whatever window it is at: where the machine is slow,
//! they are not in step. A restart of the operator, which reads all of it anew, is part of what is counted.

#[path = "support/mod.rs"]
mod shared;
#[path = "../tests/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use windlass_api::{DriftMonitor, ModelDeployment, ModelVersion, labels};
use windlass_testcluster::{Options, Shape};

use shared::figures::{Figure, bytes, count, figure, goal, print};
use shared::objects::{AT_ONCE, All as _, create};
use support::audit::{Mark, by_kind, mark, writes_of};
use support::operator::Operator;
use support::{Bed, settled};

const USER: &str = "bench-monitors";
const NAMESPACE: &str = "bench";
/// Monitors of one deployment.
const BESIDE: usize = 10;
/// From one window to the next at least, and for each monitor: what two cores judge in that time.
const EVERY: (Duration, Duration) = (Duration::from_mins(1), Duration::from_millis(50));
/// How long it takes to make a monitor, at most.
const MAKING: Duration = Duration::from_millis(15);
/// Windows that may stay with their Jobs.
const UNWRITTEN: usize = 3;
/// How long each part may take.
const PATIENCE: Duration = Duration::from_mins(15);
/// How long the operator may take to come to rest.
const QUIET: Duration = Duration::from_secs(45);
/// What 2,000 of them may take of memory.
const MOST: f64 = 40.0 * 1024.0 * 1024.0;

#[tokio::main]
async fn main() -> Result<()> {
    let monitors: usize = match std::env::var("WINDLASS_BENCH_MONITORS") {
        Ok(text) => text
            .parse()
            .context("WINDLASS_BENCH_MONITORS has to be a number")?,
        Err(_) => 2000,
    };
    let options = Options::new("bench-monitors", Shape::Api).with_audit_log();
    let bed = Bed::up(options).await?;
    bed.namespace(NAMESPACE)?;
    let client = bed.client().await?;
    serving(&client, monitors.div_ceil(BESIDE)).await?;
    let operator = lead(&bed).await?;
    let mut bench = Bench {
        all: Api::namespaced(client.clone(), NAMESPACE),
        monitors,
        judged: Judged::default(),
        before: operator.memory()?.0,
        figures: Vec::new(),
        bed,
    };
    let judged = bench.judged.clone();
    let _agents = play_the_agents(Api::namespaced(client, NAMESPACE), judged);
    let from = bench.first_window(&operator).await?;
    bench.three_that_stay(&operator, &from).await?;
    bench.the_fourth(&operator, &from).await?;
    ensure!(operator.stop()?.success(), "the operator did not stop well");
    bench.restart(&from).await?;
    print("monitors", &bench.figures)
}

/// Starts an operator, which has done all that there is to do.
async fn lead(bed: &Bed) -> Result<Operator> {
    let operator = Operator::lead(bed, USER)?;
    quiet(&operator).await;
    Ok(operator)
}

/// Waits until the operator does nothing, but not for long: where the machine is slow, one window follows upon the other.
async fn quiet(operator: &Operator) {
    let used = || async { operator.cpu().unwrap_or_default() };
    let settled = settled(Duration::from_secs(3), PATIENCE, used);
    let _ = tokio::time::timeout(QUIET, settled).await;
}

/// What is measured, and where.
struct Bench {
    bed: Bed,
    all: Api<DriftMonitor>,
    monitors: usize,
    judged: Judged,
    /// Bytes of the operator before the first monitor.
    before: u64,
    figures: Vec<Figure>,
}

impl Bench {
    /// Makes the monitors, and waits until each has written its first window down.
    async fn first_window(&mut self, operator: &Operator) -> Result<From> {
        let (monitors, every) = (self.monitors, every(self.monitors));
        self.figures.extend([
            figure("monitors", count(monitors), "1"),
            figure("deployments", count(monitors.div_ceil(BESIDE)), "1"),
            figure("from one window to the next", every.as_secs_f64(), "s"),
            figure("memory: before the first", bytes(self.before), "B"),
        ]);
        // All within one window, so that they go on in step.
        tokio::time::sleep(until_there_is_time(monitors, every)).await;
        create(&self.all, (0..monitors).map(|one| monitor(one, every))).await?;
        written(&self.all, monitors, 1).await?;
        self.judged.until(monitors, 1).await?;
        quiet(operator).await;
        Ok(From {
            mark: mark(&self.bed.cluster),
            judged: self.judged.all(),
            written: written_windows(&self.all).await?,
            cpu: operator.cpu()?,
            began: Instant::now(),
        })
    }

    /// Three windows that say nothing new.
    async fn three_that_stay(&mut self, operator: &Operator, from: &From) -> Result<()> {
        self.judged.until(self.monitors, 1 + UNWRITTEN).await?;
        tokio::time::sleep(Duration::from_secs(5)).await;
        let counted = from.count(&self.bed, &self.judged);
        let writes = by_kind(&writes_of(&self.bed.cluster, USER, from.mark));
        let used = operator.cpu()?.saturating_sub(from.cpu).as_secs_f64();
        let took = from.began.elapsed().as_secs_f64();
        let of = |kind: &str| writes.get(kind).copied().unwrap_or(0);
        let jobs = of("patch jobs");
        let others = writes.values().sum::<usize>() - of(STATUS) - jobs;
        let windows = count(counted.windows);
        self.figures.extend([
            figure("windows judged", windows, "1"),
            counted.goal("status writes for which there is no fourth window"),
            figure("status writes a window", count(of(STATUS)) / windows, "1"),
            figure("Jobs written a window", count(jobs) / windows, "1"),
            goal("other writes", count(others), "1", "0", others == 0),
            figure("CPU a window", used * 1000.0 / windows, "ms"),
            figure("CPU, of one core", used / took, "1"),
        ]);
        let each = writes.iter();
        let each =
            each.map(|(kind, number)| figure(format!("writes: {kind}"), count(*number), "1"));
        self.figures.extend(each);
        let memory = operator.memory()?.0;
        self.figures
            .push(figure("memory: after four windows", bytes(memory), "B"));
        self.of_each("memory: of each monitor", memory);
        Ok(())
    }

    /// The fourth that says nothing new is written down, with the three before it.
    async fn the_fourth(&mut self, operator: &Operator, from: &From) -> Result<()> {
        written(&self.all, self.monitors, 2 + UNWRITTEN).await?;
        quiet(operator).await;
        let counted = from.count(&self.bed, &self.judged);
        let writes = by_kind(&writes_of(&self.bed.cluster, USER, from.mark));
        let statuses = count(writes.get(STATUS).copied().unwrap_or(0));
        let text = operator.get("/metrics")?;
        let lines = text.lines();
        let series = lines.filter(|line| line.starts_with("windlass_drift_"));
        let series = count(series.count()) / count(self.monitors);
        self.figures.extend([
            counted.goal("the same, with the fourth"),
            figure(
                "status writes a window, with the fourth",
                statuses / count(counted.windows),
                "1",
            ),
            figure("metrics' series of each", series, "1"),
        ]);
        self.peak("memory: peak", operator)
    }

    /// Another operator reads all of it anew, with what was left with Jobs.
    async fn restart(&mut self, from: &From) -> Result<()> {
        let operator = lead(&self.bed).await?;
        let counted = from.count(&self.bed, &self.judged);
        self.figures.push(counted.goal("the same, after a restart"));
        self.of_each(
            "memory: of each monitor, after a restart",
            operator.memory()?.0,
        );
        self.peak("memory: peak, after a restart", &operator)?;
        ensure!(operator.stop()?.success(), "the operator did not stop well");
        Ok(())
    }

    /// What a monitor takes of so many bytes.
    fn of_each(&mut self, name: &str, memory: u64) {
        let more = bytes(memory.saturating_sub(self.before));
        let each = more / count(self.monitors);
        self.figures.push(figure(name, each, "B"));
    }

    fn peak(&mut self, name: &str, operator: &Operator) -> Result<()> {
        let peak = bytes(operator.memory()?.1);
        self.figures
            .push(goal(name, peak, "B", "<= 40 MiB", peak <= MOST));
        Ok(())
    }
}

/// From one window to the next: so long that all are judged in it.
fn every(monitors: usize) -> Duration {
    let each = EVERY.1 * u32::try_from(monitors).unwrap_or(u32::MAX);
    Duration::from_secs(each.max(EVERY.0).as_secs())
}

/// Until so much is left of a window that all are made before it ends.
fn until_there_is_time(monitors: usize, every: Duration) -> Duration {
    let making = MAKING * u32::try_from(monitors).unwrap_or(u32::MAX);
    let now = Timestamp::now().as_second().unsigned_abs();
    let left = Duration::from_secs(every.as_secs() - now % every.as_secs());
    if left > making {
        Duration::ZERO
    } else {
        left + Duration::from_secs(2)
    }
}

/// The write that is a monitor's own.
const STATUS: &str = "patch driftmonitors/status";

/// What was so of each monitor when counting began.
struct From {
    mark: Mark,
    /// Windows that were judged.
    judged: BTreeMap<String, usize>,
    /// Those of them that were written down.
    written: BTreeMap<String, usize>,
    /// What the operator had used.
    cpu: Duration,
    began: Instant,
}

/// What was counted since.
struct Counted {
    windows: usize,
    /// Status writes beyond one with every fourth window of each monitor.
    too_many: usize,
}

impl Counted {
    fn goal(&self, name: &str) -> Figure {
        let is_met = self.too_many == 0;
        goal(name, count(self.too_many), "1", "0", is_met)
    }
}

impl From {
    fn count(&self, bed: &Bed, judged: &Judged) -> Counted {
        // The writes first: a window that is judged meanwhile allows too much, and none too little.
        let writes = writes_of(&bed.cluster, USER, self.mark);
        let mut statuses = BTreeMap::<&str, usize>::new();
        for write in writes.iter().filter(|write| write.kind() == STATUS) {
            *statuses.entry(&write.name).or_default() += 1;
        }
        let mut counted = Counted {
            windows: 0,
            too_many: 0,
        };
        for (name, judged) in judged.all() {
            let before = self.judged.get(&name).copied().unwrap_or(0);
            let written = self.written.get(&name).copied().unwrap_or(0);
            counted.windows += judged - before;
            let allowed = judged.saturating_sub(written) / (1 + UNWRITTEN);
            let wrote = statuses.get(&*name).copied().unwrap_or(0);
            counted.too_many += wrote.saturating_sub(allowed);
        }
        counted
    }
}

/// How many windows each monitor has written down.
async fn written_windows(all: &Api<DriftMonitor>) -> Result<BTreeMap<String, usize>> {
    let windows = |one: &DriftMonitor| one.status.as_ref().map_or(0, |status| status.windows.len());
    let listed = all.all().await?;
    Ok(listed
        .iter()
        .map(|one| (one.name_any(), windows(one)))
        .collect())
}

fn deployment_name(number: usize) -> String {
    format!("model-{number:04}")
}

/// Deployments that serve since an hour, each a version that was judged.
async fn serving(client: &kube::Client, deployments: usize) -> Result<()> {
    let versions = Api::<ModelVersion>::namespaced(client.clone(), NAMESPACE);
    let all = Api::<ModelDeployment>::namespaced(client.clone(), NAMESPACE);
    create(&versions, (0..deployments).map(version)).await?;
    create(&all, (0..deployments).map(deployment)).await?;
    let digest = format!("sha256:{}", "b".repeat(64));
    let since = Timestamp::now() - SignedDuration::from_hours(1);
    let patch = PatchParams::default();
    for number in 0..deployments {
        let name = deployment_name(number);
        let found = json!({"status": {"validation": {"verdict": "Pass", "message": "judged", "rows": 900,
            "baseline": {"uri": format!("s3://models/{name}/baseline.json"), "digest": digest}}}});
        let version = format!("{name}-1");
        versions
            .patch_status(&version, &patch, &Patch::Merge(found))
            .await?;
        let serves = json!({"status": {"stable": {"version": version, "since": since}}});
        all.patch_status(&name, &patch, &Patch::Merge(serves))
            .await?;
    }
    Ok(())
}

fn version(number: usize) -> Value {
    let model = deployment_name(number);
    json!({
        "apiVersion": "windlass.dev/v1alpha1", "kind": "ModelVersion", "metadata": {"name": format!("{model}-1")},
        "spec": {
            "model": model, "version": 1, "fingerprint": format!("sha256:{number:064x}"),
            "artifact": {"uri": format!("s3://models/{model}/1"), "digest": format!("sha256:{number:064x}"), "format": "LightGBM"},
        },
    })
}

fn deployment(number: usize) -> Value {
    let model = deployment_name(number);
    json!({
        "apiVersion": "windlass.dev/v1alpha1", "kind": "ModelDeployment", "metadata": {"name": model},
        "spec": {
            "model": model, "version": 1, "replicas": 1, "runtime": "mlserver",
            "observe": {"logPayloads": {"uri": format!("s3://payloads/{model}")}},
        },
    })
}

fn monitor(number: usize, every: Duration) -> Value {
    json!({
        "apiVersion": "windlass.dev/v1alpha1", "kind": "DriftMonitor", "metadata": {"name": format!("monitor-{number:05}")},
        "spec": {
            "deployment": deployment_name(number / BESIDE), "mode": "Observe",
            "window": {"every": format!("{}s", every.as_secs()), "lateness": "1s"},
        },
    })
}

/// What the agent reports: of ten columns, as most of which are alike it can.
fn report() -> String {
    let column = |number: usize| json!({"column": format!("column_{number:02}"), "method": "PSI", "value": 0.02, "lower": 0.01, "threshold": 0.2, "drifted": false, "moved": "mean 3.1 → 3.2"});
    let columns: Vec<Value> = (0..10).map(column).collect();
    let digest = format!("sha256:{}", "d".repeat(64));
    json!({"kind": "Drift", "verdict": "Healthy", "message": "0 of 30 columns have drifted", "start": Timestamp::UNIX_EPOCH,
        "end": Timestamp::UNIX_EPOCH, "rows": 9000, "columns": 30, "drifted": 0, "top": columns,
        "report": {"uri": "s3://payloads/drift/report.json", "digest": digest, "files": 1, "bytes": 90_000}})
    .to_string()
}

/// How many windows of each monitor were judged.
#[derive(Clone, Default)]
struct Judged(Arc<Mutex<BTreeMap<String, usize>>>);

impl Judged {
    fn all(&self) -> BTreeMap<String, usize> {
        self.0.lock().expect("no holder panics").clone()
    }

    /// Waits until so many monitors have so many windows.
    async fn until(&self, monitors: usize, windows: usize) -> Result<()> {
        let started = Instant::now();
        loop {
            let now = {
                let all = self.0.lock().expect("no holder panics");
                all.values().filter(|judged| **judged >= windows).count()
            };
            eprintln!("{now} of {monitors} have {windows} windows");
            if now >= monitors {
                return Ok(());
            }
            ensure!(
                started.elapsed() < PATIENCE,
                "only {now} of {monitors} monitors have {windows} windows after {PATIENCE:?}"
            );
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
    }
}

/// Gives each pod of a window its report, for as long as what is returned is held.
fn play_the_agents(pods: Api<Pod>, judged: Judged) -> tokio::task::JoinSet<()> {
    let mut playing = tokio::task::JoinSet::new();
    playing.spawn(async move {
        let waiting = ListParams::default()
            .labels(labels::MONITOR)
            .fields("status.phase=Pending");
        loop {
            let found = pods.list(&waiting).await;
            let found = found.map(|list| list.items).unwrap_or_default();
            let each = stream::iter(found).map(|pod| judge(&pods, &judged, pod));
            each.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    });
    playing
}

async fn judge(pods: &Api<Pod>, judged: &Judged, pod: Pod) {
    let now = Timestamp::now();
    let ended = json!({"terminated": {"exitCode": 0, "reason": "Completed", "message": report(), "startedAt": now, "finishedAt": now}});
    let container = json!({"name": "windlass-agent", "image": "agent", "imageID": "agent", "ready": false, "started": false, "restartCount": 0, "state": ended});
    let status = json!({"status": {"phase": "Succeeded", "containerStatuses": [container]}});
    let patch = Patch::Merge(status);
    let done = pods
        .patch_status(&pod.name_any(), &PatchParams::default(), &patch)
        .await;
    if done.is_ok()
        && let Some(monitor) = pod.labels().get(labels::MONITOR)
    {
        let mut all = judged.0.lock().expect("no holder panics");
        *all.entry(monitor.clone()).or_default() += 1;
    }
}

/// Waits until so many monitors have written down so many windows.
async fn written(all: &Api<DriftMonitor>, monitors: usize, windows: usize) -> Result<()> {
    let started = Instant::now();
    loop {
        let listed = all.all().await?;
        let is_so = |one: &&DriftMonitor| {
            let status = one.status.as_ref();
            status.is_some_and(|status| status.windows.len() >= windows)
        };
        let now = listed.iter().filter(is_so).count();
        eprintln!("{now} of {monitors} have written {windows} windows");
        if now >= monitors {
            return Ok(());
        }
        ensure!(
            started.elapsed() < PATIENCE,
            "only {now} of {monitors} monitors have written {windows} windows after {PATIENCE:?}"
        );
        // Each look reads everything: seldom enough that it is not what is measured.
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
}
