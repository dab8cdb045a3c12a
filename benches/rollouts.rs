//! ModelDeployments in numbers: 2,000 of them, 200 of which roll at once.
//!
//! `make bench-rollouts` runs it and writes `target/bench/rollouts.json`; `WINDLASS_BENCH_DEPLOYMENTS` says how many there
//! are, a tenth of which roll. The cluster is real but for its nodes and pods, which kwok plays. The pods' addresses are of
//! loopback, where this program answers for every proxy: each has had so many good requests a second since it was made.
//!
//! Half of the roll-outs have two steps and half have three, each with a pod more than the one before, and the promotion. A
//! **write** is a request of the operator's that changes the cluster, told from the API server's audit log; its Lease and its
//! Events are apart, as everywhere in this project. What a **step** takes is what those of three steps were written more than
//! those of two; what a roll-out takes besides, from the first pod of a canary to the last of the version before, and the
//! records of both versions, is told beside it.

#[path = "support/mod.rs"]
mod shared;
#[path = "../tests/support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use windlass_api::agent::{METRICS_PORT, Observations};
use windlass_api::{ModelDeployment, ModelVersion, condition, is_true};
use windlass_testcluster::{Options, Shape};

use shared::figures::{bytes, count, figure, goal, print};
use shared::objects::{AT_ONCE, All as _, create};
use support::audit::{Write, by_kind, mark, writes_of};
use support::operator::Operator;
use support::{Bed, settled};

const USER: &str = "bench-rollouts";
const NAMESPACE: &str = "bench";
/// Pods of each that does not roll, and of each that does.
const REPLICAS: [usize; 2] = [2, 3];
/// The weights of the steps of a roll-out, by turns.
const STEPS: [&[u32]; 2] = [&[25, 50], &[25, 40, 50]];
/// Requests a second that each proxy has answered.
const RATE: u64 = 60;
/// How long all of them may take.
const PATIENCE: Duration = Duration::from_mins(15);

#[tokio::main]
async fn main() -> Result<()> {
    let deployments = match std::env::var("WINDLASS_BENCH_DEPLOYMENTS") {
        Ok(text) => text
            .parse()
            .context("WINDLASS_BENCH_DEPLOYMENTS has to be a number")?,
        Err(_) => 2000,
    };
    let rolling = deployments / 10;
    let pods = deployments * REPLICAS[0] + rolling * (2 * REPLICAS[1] - REPLICAS[0]);
    let options = Options::new("bench-rollouts", Shape::Kwok)
        .with_audit_log()
        .with_pods_on_loopback()
        .with_fake_nodes(u32::try_from(pods / 200 + 1)?);
    let bed = Bed::up(options).await?;
    bed.namespace(NAMESPACE)?;
    let client = bed.client().await?;
    let _proxies = answer_for_proxies().await?;
    let operator = Operator::lead(&bed, USER)?;

    let versions = Api::<ModelVersion>::namespaced(client.clone(), NAMESPACE);
    let all = Api::<ModelDeployment>::namespaced(client, NAMESPACE);
    create(&versions, (0..deployments).map(|number| version(number, 1))).await?;
    create(&versions, (0..rolling).map(|number| version(number, 2))).await?;
    create(
        &all,
        (0..deployments).map(|number| deployment(number, number < rolling)),
    )
    .await?;
    until(&all, "serve", deployments, |one| serves(one, 1)).await?;
    let looked = || async { operator.cpu().unwrap_or_default() };
    settled(Duration::from_secs(3), PATIENCE, looked).await;
    let mut figures = vec![
        figure("deployments", count(deployments), "1"),
        figure("of them rolling at once", count(rolling), "1"),
        figure("memory: all serve", bytes(operator.memory()?.0), "B"),
    ];

    let (start, began, cpu) = (mark(&bed.cluster), Instant::now(), operator.cpu()?);
    let before = durations(&operator)?;
    ask_for_the_second(&all, rolling).await?;
    until(&all, "were promoted", rolling, |one| serves(one, 2)).await?;
    let took = began.elapsed();
    settled(Duration::from_secs(3), PATIENCE, || async {
        writes_of(&bed.cluster, USER, start).len()
    })
    .await;
    let writes = writes_of(&bed.cluster, USER, start);
    let [of_two, of_three] = [0, 1].map(|turn| {
        let roll = (0..rolling).filter(|number| number % STEPS.len() == turn);
        let names: BTreeSet<String> = roll.map(name).collect();
        let is_theirs = |write: &&Write| names.iter().any(|name| write.name.starts_with(name));
        count(writes.iter().filter(is_theirs).count()) / count(names.len())
    });
    let each = of_three - of_two;
    figures.push(goal("writes a step", each, "1", "<= 3", each <= 3.0));
    let besides = of_two - each * count(STEPS[0].len());
    figures.push(figure("writes a roll-out besides", besides, "1"));
    for (kind, number) in by_kind(&writes) {
        let each = count(number) / count(rolling);
        figures.push(figure(format!("writes a roll-out: {kind}"), each, "1"));
    }
    let refused = writes.iter().filter(|write| write.code >= 300).count();
    figures.push(goal(
        "writes refused",
        count(refused),
        "1",
        "0",
        refused == 0,
    ));
    let back = all
        .all()
        .await?
        .iter()
        .filter(|one| was_taken_back(one))
        .count();
    figures.push(goal("taken back", count(back), "1", "0", back == 0));
    figures.push(figure("until all are promoted", took.as_secs_f64(), "s"));
    let used = operator.cpu()?.checked_sub(cpu).unwrap_or_default();
    figures.push(figure(
        "CPU, of one core",
        used.as_secs_f64() / took.as_secs_f64(),
        "1",
    ));
    let mut took: Vec<Duration> = writes.iter().map(Write::took).collect();
    took.sort_unstable();
    let slowest = took.get(took.len() * 99 / 100).copied().unwrap_or_default();
    figures.push(figure(
        "p99 of one write, in the API server",
        slowest.as_secs_f64(),
        "s",
    ));
    let slow = p99(&before, &durations(&operator)?)?;
    figures.push(goal(
        "p99 reconcile, at most",
        slow,
        "s",
        "<= 0.25 s",
        slow <= 0.25,
    ));
    let peak = bytes(operator.memory()?.1);
    let most = 80.0 * 1024.0 * 1024.0;
    figures.push(goal("memory: peak", peak, "B", "<= 80 MiB", peak <= most));
    ensure!(operator.stop()?.success(), "the operator did not stop well");
    print("rollouts", &figures)
}

/// Has so many of them roll, all at once.
async fn ask_for_the_second(all: &Api<ModelDeployment>, rolling: usize) -> Result<()> {
    let names: Vec<String> = (0..rolling).map(name).collect();
    stream::iter(names)
        .map(|name| {
            let all = all.clone();
            async move {
                let patch = Patch::Merge(json!({"spec": {"version": 2}}));
                all.patch(&name, &PatchParams::default(), &patch).await
            }
        })
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<_>>()
        .await?;
    Ok(())
}

fn name(number: usize) -> String {
    format!("model-{number:05}")
}

fn version(number: usize, version: u32) -> Value {
    let model = name(number);
    json!({
        "apiVersion": "windlass.dev/v1alpha1", "kind": "ModelVersion",
        "metadata": {"name": format!("{model}-{version}")},
        "spec": {
            "model": model, "version": version, "fingerprint": format!("sha256:{number:060x}{version:04x}"),
            "artifact": {"uri": format!("s3://models/{model}/{version}"), "digest": format!("sha256:{number:060x}{version:04x}"), "format": "LightGBM"},
        },
    })
}

fn deployment(number: usize, rolls: bool) -> Value {
    let model = name(number);
    let steps = STEPS[number % STEPS.len()].iter();
    let steps: Vec<Value> = steps
        .map(|weight| json!({"weight": weight, "hold": "20s"}))
        .collect();
    json!({
        "apiVersion": "windlass.dev/v1alpha1", "kind": "ModelDeployment",
        "metadata": {"name": model},
        "spec": {
            "model": model, "version": 1, "replicas": REPLICAS[usize::from(rolls)], "runtime": "mlserver",
            "rollout": {"steps": steps},
        },
    })
}

fn serves(deployment: &ModelDeployment, version: u32) -> bool {
    let status = deployment.status.as_ref();
    status.is_some_and(|status| {
        let stable = status.stable.as_ref();
        stable.is_some_and(|stable| stable.version.ends_with(&format!("-{version}")))
            && is_true(&status.conditions, condition::READY)
    })
}

fn was_taken_back(deployment: &ModelDeployment) -> bool {
    let status = deployment.status.as_ref();
    status.is_some_and(|status| !status.quarantine.is_empty())
}

/// Waits until so many are so.
async fn until(
    all: &Api<ModelDeployment>,
    what: &str,
    wanted: usize,
    is_so: impl Fn(&ModelDeployment) -> bool,
) -> Result<()> {
    let started = Instant::now();
    loop {
        let now = all.all().await?.iter().filter(|one| is_so(one)).count();
        eprintln!("{now} of {wanted} {what}");
        if now >= wanted {
            return Ok(());
        }
        ensure!(
            started.elapsed() < PATIENCE,
            "only {now} of {wanted} {what} after {PATIENCE:?}"
        );
        // Each look reads everything: seldom enough that it is not what is measured.
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
}

/// Answers for all proxies, for as long as what is returned is held.
async fn answer_for_proxies() -> Result<tokio::task::JoinSet<()>> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, METRICS_PORT))
        .await
        .with_context(|| format!("listening at port {METRICS_PORT} of all of loopback"))?;
    let started = Instant::now();
    let mut serving = tokio::task::JoinSet::new();
    serving.spawn(async move {
        loop {
            let Ok((stream, from)) = listener.accept().await else {
                continue;
            };
            // Nobody but this machine is answered.
            if !from.ip().is_loopback() {
                continue;
            }
            tokio::spawn(async move {
                let answer = service_fn(move |_: Request<hyper::body::Incoming>| async move {
                    let said = serde_json::to_vec(&observations(started.elapsed()));
                    let said = said.expect("observations are plain data");
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(said))))
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), answer);
                let _ = connection.await;
            });
        }
    });
    Ok(serving)
}

/// What a proxy has counted after this long: most of the requests took 3 ms, and one in two hundred 30.
fn observations(since: Duration) -> Observations {
    let requests = since.as_secs() * RATE;
    let slow = requests / 200;
    Observations {
        requests,
        latency_bounds_ms: vec![1.0, 4.0, 40.0],
        latency_counts: vec![0, requests - slow, slow, 0],
        ..Observations::default()
    }
}

/// How many reconciles of ModelDeployments took no longer than each bound, in seconds.
fn durations(operator: &Operator) -> Result<Vec<(f64, f64)>> {
    let text = operator.get("/metrics")?;
    let lines = text.lines().filter(|line| {
        line.starts_with("windlass_reconcile_duration_seconds_bucket")
            && line.contains("kind=\"ModelDeployment\"")
    });
    let read = |line: &str| {
        let bound = line.split("le=\"").nth(1)?.split('"').next()?;
        let bound = bound.parse().unwrap_or(f64::INFINITY);
        Some((bound, line.rsplit(' ').next()?.parse().ok()?))
    };
    let all: Option<Vec<(f64, f64)>> = lines.map(read).collect();
    all.filter(|all| !all.is_empty())
        .context("no reconcile of a ModelDeployment was counted")
}

/// The bound that 99 of 100 reconciles stayed under between two looks.
fn p99(before: &[(f64, f64)], after: &[(f64, f64)]) -> Result<f64> {
    let more: Vec<(f64, f64)> = after
        .iter()
        .zip(before)
        .map(|((bound, now), (_, then))| (*bound, now - then))
        .collect();
    let (_, all) = more.last().context("a histogram")?;
    let found = more.iter().find(|(_, under)| *under >= 0.99 * all);
    found.map(|(bound, _)| *bound).context("a bound")
}
