//! Whether one kind slows another: objects of three kinds are changed, each kind alone and all at the same time.

use std::time::Duration;

use anyhow::{Result, ensure};
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use windlass_api::{DriftMonitor, ModelDeployment, TrainingJob};
use windlass_testcluster::{Options, Shape};

use crate::answers::{all_answered, answers, p99};
use crate::shared::figures::{Figure, count, figure, goal};
use crate::shared::objects::{create, job_name, training_job};
use crate::support::audit::{Write, mark};
use crate::support::operator::Operator;
use crate::support::{Bed, settled};

const USER: &str = "bench-beside";
const NAMESPACE: &str = "bench";
/// How many of each kind are changed, and how many a second of each kind.
const CHANGED: usize = 600;
const PACE: u32 = 15;
/// How much longer an answer may take where the other kinds have as much to do.
const LONGER: f64 = 1.5;
/// How long all of them may take to come to rest.
const PATIENCE: Duration = Duration::from_mins(10);

/// A kind, and what is changed of an object of it.
#[derive(Clone, Copy)]
struct Kind {
    plural: &'static str,
    name: fn(usize) -> String,
    change: fn(usize) -> Value,
}

/// Each change has the status say that it was seen, and nothing else be done.
const KINDS: [Kind; 3] = [
    Kind {
        plural: "trainingjobs",
        name: job_name,
        change: |turn| json!({"spec": {"backoffLimit": turn}}),
    },
    Kind {
        plural: "modeldeployments",
        name: |number| format!("model-{number:05}"),
        change: |turn| json!({"spec": {"replicas": 1 + turn}}),
    },
    Kind {
        plural: "driftmonitors",
        name: |number| format!("monitor-{number:05}"),
        change: |turn| json!({"spec": {"window": {"every": format!("{}h", 2 + turn)}}}),
    },
];

/// So many of each kind; a part of them is changed.
pub async fn measure(each: usize, figures: &mut Vec<Figure>) -> Result<()> {
    let bed = Bed::up(Options::new("bench-beside", Shape::Api).with_audit_log()).await?;
    bed.namespace(NAMESPACE)?;
    let client = bed.client().await?;
    let operator = Operator::lead(&bed, USER)?;
    let of = |number| {
        let mut job = training_job(number);
        job["spec"]["suspend"] = true.into();
        job
    };
    create(
        &Api::<TrainingJob>::namespaced(client.clone(), NAMESPACE),
        (0..each).map(of),
    )
    .await?;
    create(
        &Api::<ModelDeployment>::namespaced(client.clone(), NAMESPACE),
        (0..each).map(deployment),
    )
    .await?;
    create(
        &Api::<DriftMonitor>::namespaced(client.clone(), NAMESPACE),
        (0..each).map(monitor),
    )
    .await?;
    let used = async || operator.cpu().unwrap_or_default();
    settled(Duration::from_secs(5), PATIENCE, used).await;
    figures.push(figure(
        "beside: objects of each of three kinds",
        count(each),
        "1",
    ));

    let changed = CHANGED.min(each);
    let mut alone = Vec::new();
    for (turn, kind) in KINDS.iter().enumerate() {
        let [slowest] = changes(&bed, &client, [*kind], changed, turn, "alone", figures).await?;
        alone.push(slowest);
    }
    let together = changes(
        &bed,
        &client,
        KINDS,
        changed,
        KINDS.len(),
        "together",
        figures,
    )
    .await?;
    for ((kind, alone), together) in KINDS.iter().zip(alone).zip(together) {
        let ratio = together / alone;
        let what = format!(
            "beside: {}: p99 of an answer, together to alone",
            kind.plural
        );
        figures.push(goal(what, ratio, "1", "<= 1.5", ratio <= LONGER));
    }
    ensure!(operator.stop()?.success(), "the operator did not stop well");
    Ok(())
}

/// Changes objects of these kinds at the same time; what 99 of 100 answers of each took, in seconds.
async fn changes<const N: usize>(
    bed: &Bed,
    client: &Client,
    kinds: [Kind; N],
    changed: usize,
    turn: usize,
    how: &str,
    figures: &mut Vec<Figure>,
) -> Result<[f64; N]> {
    let start = mark(&bed.cluster);
    let mut all = JoinSet::new();
    for kind in kinds {
        let client = client.clone();
        all.spawn(async move {
            match kind.plural {
                "trainingjobs" => change::<TrainingJob>(client, kind, changed, turn).await,
                "modeldeployments" => change::<ModelDeployment>(client, kind, changed, turn).await,
                _ => change::<DriftMonitor>(client, kind, changed, turn).await,
            }
        });
    }
    while let Some(done) = all.join_next().await {
        done??;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mut slowest = [0.0; N];
    for (kind, slowest) in kinds.iter().zip(&mut slowest) {
        let plural = kind.plural;
        let is_change = |write: &Write| write.verb == "patch" && write.resource == plural;
        let of = |write: &Write| {
            write
                .resource
                .starts_with(plural)
                .then(|| write.name.clone())
        };
        let found = answers(bed, USER, start, is_change, of)?;
        figures.push(all_answered(
            &format!("beside: {plural}, {how}"),
            found.len(),
            changed,
        ));
        *slowest = p99(&found)?;
        let what = format!("beside: {plural}, {how}: p99 of an answer");
        figures.push(figure(what, *slowest, "s"));
    }
    Ok(slowest)
}

/// Changes so many objects of a kind, one after the other.
async fn change<K>(client: Client, kind: Kind, changed: usize, turn: usize) -> Result<()>
where
    K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned
        + Send
        + 'static,
{
    let api = Api::<K>::namespaced(client, NAMESPACE);
    let mut pace = tokio::time::interval(Duration::from_secs(1) / PACE);
    let mut under_way = JoinSet::new();
    for number in 0..changed {
        pace.tick().await;
        let (api, name, patch) = (api.clone(), (kind.name)(number), (kind.change)(turn));
        under_way.spawn(async move {
            let patch = Patch::Merge(patch);
            api.patch(&name, &PatchParams::default(), &patch).await
        });
    }
    while let Some(done) = under_way.join_next().await {
        done??;
    }
    Ok(())
}

/// One whose version is not there.
fn deployment(number: usize) -> Value {
    let name = format!("model-{number:05}");
    json!({
        "apiVersion": "windlass.dev/v1alpha1", "kind": "ModelDeployment", "metadata": {"name": name},
        "spec": {"model": name, "version": 1, "replicas": 1, "runtime": "mlserver"},
    })
}

/// One of a deployment that is not there.
fn monitor(number: usize) -> Value {
    json!({
        "apiVersion": "windlass.dev/v1alpha1", "kind": "DriftMonitor", "metadata": {"name": format!("monitor-{number:05}")},
        "spec": {"deployment": "nowhere", "mode": "Observe", "window": {"every": "1h"}},
    })
}
