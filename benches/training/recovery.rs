//! Gangs of eight that lose nodes: how soon every one that was hit is whole again; JobSet beside it, in a cluster of the
//! same make.
//!
//! A node is lost as an administrator, or a cloud's node controller, says that it is: by the taint
//! `node.kubernetes.io/out-of-service:NoExecute`. Kubernetes' taint manager then deletes its pods with the condition
//! `DisruptionTarget`, as it does after a node's heartbeats have stopped. What it takes until Kubernetes knows (50 s without
//! heartbeats, then 300 s of toleration) is the cluster's, the same for both, and left out. The nodes' kubelets are kwok,
//! which lets deleted pods go at once.
//!
//! A gang is whole again when eight of its pods run on nodes that are there. Windlass schedules each in a PodGroup, all
//! or nothing, and counts it as no failure; JobSet recreates its Jobs by `failurePolicy`, and its pods are scheduled one by
//! one, as it does of itself.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::ApiResource;
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};
use windlass_api::{TrainingJob, labels};
use windlass_testcluster::{Addition, Options, Shape};

use crate::shared::figures::{Figure, count, figure, goal};
use crate::shared::objects::{AT_ONCE, All as _, create, gang, job_name};
use crate::support::Bed;
use crate::support::operator::Operator;

const NAMESPACE: &str = "recovery";
/// Workers of a gang.
const WORKERS: usize = 8;
/// GPUs of a worker; a node has eight, so that two fit.
const GPUS: usize = 4;
/// How long gangs may take.
const PATIENCE: Duration = Duration::from_mins(4);

/// What was seen of one of the two.
struct Recovery {
    hit: usize,
    whole: usize,
    recreated: usize,
    median: Duration,
    all: Duration,
}

/// Windlass, then JobSet.
pub async fn measure(nodes: usize, figures: &mut Vec<Figure>) -> Result<()> {
    let gangs = nodes / 5;
    figures.push(figure("recovery: nodes", count(nodes), "1"));
    figures.push(figure("recovery: nodes lost", count(nodes / 10), "1"));
    figures.push(figure("recovery: gangs of 8", count(gangs), "1"));
    let windlass = windlass(nodes, gangs).await?;
    figures.push(goal(
        "recovery: hit gangs that are not whole again",
        count(windlass.hit - windlass.whole),
        "1",
        "0",
        windlass.whole == windlass.hit && windlass.hit > 0,
    ));
    say("Windlass", &windlass, figures);
    let jobset = jobset(nodes, gangs).await?;
    say("JobSet v0.12.0", &jobset, figures);
    Ok(())
}

fn say(who: &str, what: &Recovery, figures: &mut Vec<Figure>) {
    let seconds = what.all.as_secs_f64();
    let mut add = |name: &str, value: f64, unit: &'static str| {
        figures.push(figure(format!("recovery: {who}: {name}"), value, unit));
    };
    add("gangs hit", count(what.hit), "1");
    add("hit gangs whole again", count(what.whole), "1");
    add("pods recreated", count(what.recreated), "1");
    add("half of them whole after", what.median.as_secs_f64(), "s");
    add("all whole after", seconds, "s");
    add(
        "pods recreated a second",
        count(what.recreated) / seconds,
        "1/s",
    );
}

async fn windlass(nodes: usize, gangs: usize) -> Result<Recovery> {
    let options = options("bench-recovery", nodes)?.with_audit_log();
    let bed = Bed::up(options).await?;
    let client = bed.client().await?;
    bed.namespace(NAMESPACE)?;
    let operator = Operator::lead(&bed, "bench-recovery")?;
    let api = Api::<TrainingJob>::namespaced(client.clone(), NAMESPACE);
    create(
        &api,
        (0..gangs).map(|number| gang(number, WORKERS, &template())),
    )
    .await?;
    let recovery = lose(&client, labels::TRAINING_JOB, nodes, gangs).await?;
    ensure!(operator.stop()?.success(), "the operator did not stop well");
    Ok(recovery)
}

async fn jobset(nodes: usize, gangs: usize) -> Result<Recovery> {
    let options = options("bench-recovery-jobset", nodes)?
        .with_audit_log()
        .with(Addition::Jobset);
    let bed = Bed::up(options).await?;
    let client = bed.client().await?;
    bed.namespace(NAMESPACE)?;
    let resource = ApiResource {
        group: "jobset.x-k8s.io".to_owned(),
        version: "v1alpha2".to_owned(),
        api_version: "jobset.x-k8s.io/v1alpha2".to_owned(),
        kind: "JobSet".to_owned(),
        plural: "jobsets".to_owned(),
    };
    let api = Api::<DynamicObject>::namespaced_with(client.clone(), NAMESPACE, &resource);
    let made = futures::stream::iter(0..gangs).map(|number| {
        let api = &api;
        async move {
            let object: DynamicObject = serde_json::from_value(set(number))?;
            api.create(&PostParams::default(), &object).await?;
            anyhow::Ok(())
        }
    });
    made.buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    lose(&client, "jobset.sigs.k8s.io/jobset-name", nodes, gangs).await
}

fn options(name: &str, nodes: usize) -> Result<Options> {
    Ok(Options::new(name, Shape::Kwok).with_fake_nodes(u32::try_from(nodes)?))
}

/// A worker that runs until it is deleted.
fn template() -> Value {
    json!({
        "metadata": {"annotations": {"testcluster.windlass.dev/stays": "yes"}},
        "spec": {"restartPolicy": "Never", "containers": [{
            "name": "trainer", "image": "localhost/busybox:test", "command": ["train"],
            "resources": {"limits": {"nvidia.com/gpu": GPUS.to_string()}},
        }]},
    })
}

/// As a JobSet: one Job, repeated whole.
fn set(number: usize) -> Value {
    let job = json!({
        "parallelism": WORKERS, "completions": WORKERS, "completionMode": "Indexed",
        "backoffLimit": 0, "template": template(),
    });
    json!({
        "apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet",
        "metadata": {"name": job_name(number)},
        "spec": {
            "failurePolicy": {"maxRestarts": 10},
            "replicatedJobs": [{"name": "workers", "replicas": 1, "template": {"spec": job}}],
        },
    })
}

/// The pods of each gang that run, by the label that names their gang: their uids, and their nodes.
async fn running(
    api: &Api<Pod>,
    label: &str,
) -> Result<BTreeMap<String, BTreeMap<String, String>>> {
    let mut gangs: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for pod in api.all().await? {
        let phase = pod
            .status
            .as_ref()
            .and_then(|status| status.phase.as_deref());
        if phase != Some("Running") || pod.metadata.deletion_timestamp.is_some() {
            continue;
        }
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
        if let (Some(gang), Some(uid), Some(node)) = (pod.labels().get(label), pod.uid(), node) {
            gangs.entry(gang.clone()).or_default().insert(uid, node);
        }
    }
    Ok(gangs)
}

/// Waits until all gangs run, takes a tenth of the nodes away, and watches until those that were hit are whole again.
async fn lose(client: &Client, label: &str, nodes: usize, gangs: usize) -> Result<Recovery> {
    let pods = Api::<Pod>::namespaced(client.clone(), NAMESPACE);
    let started = Instant::now();
    let before = loop {
        let before = running(&pods, label).await?;
        if before.len() == gangs && before.values().all(|gang| gang.len() == WORKERS) {
            break before;
        }
        let all: usize = before.values().map(BTreeMap::len).sum();
        ensure!(
            started.elapsed() < PATIENCE,
            "only {all} pods of {gangs} gangs run after {PATIENCE:?}"
        );
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    eprintln!(
        "all gangs run after {:.1} s",
        started.elapsed().as_secs_f64()
    );

    // Nodes that have work, evenly over all of them.
    let used: BTreeSet<&String> = before.values().flat_map(BTreeMap::values).collect();
    let every = (used.len() / (nodes / 10).max(1)).max(1);
    let lost: BTreeSet<&String> = used.into_iter().step_by(every).take(nodes / 10).collect();
    let is_hit = |gang: &BTreeMap<String, String>| gang.values().any(|node| lost.contains(node));
    let hit: BTreeSet<&String> = before
        .iter()
        .filter(|(_, gang)| is_hit(gang))
        .map(|(name, _)| name)
        .collect();

    let at = Instant::now();
    taint(client, &lost).await?;
    let mut whole: BTreeMap<String, Duration> = BTreeMap::new();
    let mut now = BTreeMap::new();
    while whole.len() < hit.len() && at.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(100)).await;
        now = running(&pods, label).await?;
        for (name, gang) in &now {
            let on_others = gang.values().filter(|node| !lost.contains(node)).count();
            // Those that were not hit would count at once.
            let is_new = before[name].keys().any(|uid| !gang.contains_key(uid));
            if hit.contains(name) && on_others == WORKERS && is_new {
                whole.entry(name.clone()).or_insert_with(|| at.elapsed());
            }
        }
    }
    let recreated = hit.iter().filter_map(|name| {
        let gang = now.get(*name)?;
        let new = gang.keys().filter(|uid| !before[*name].contains_key(*uid));
        Some(new.count())
    });
    let recreated = recreated.sum();
    let mut times: Vec<Duration> = whole.into_values().collect();
    times.sort();
    Ok(Recovery {
        hit: hit.len(),
        whole: times.len(),
        recreated,
        median: *times.get(times.len() / 2).context("no gang recovered")?,
        all: *times.last().context("no gang recovered")?,
    })
}

async fn taint(client: &Client, lost: &BTreeSet<&String>) -> Result<()> {
    let api = Api::<Node>::all(client.clone());
    let taint = json!({"spec": {"taints": [{
        "key": "node.kubernetes.io/out-of-service", "value": "lost", "effect": "NoExecute",
    }]}});
    let (api, taint) = (&api, &taint);
    futures::stream::iter(lost)
        .map(|node| async move {
            let parameters = PatchParams::default();
            api.patch(node, &parameters, &Patch::Merge(taint)).await?;
            anyhow::Ok(())
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}
