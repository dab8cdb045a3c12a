//! Two operators beside each other, each of which has the namespaces of its shard, as `shards` of the chart has them.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use windlass_testcluster::programs::{Program, ensure as built};

use crate::objects::{self, Looking};
use crate::support::audit::{self, Mark, Write};
use crate::support::operator::Operator;
use crate::support::{Bed, NAMESPACE, wait};
use crate::turn;

/// The namespace of the shard, and the one that has no label at first.
const SHARDED: &str = "sharded";
const MOVED: &str = "moved";
const REST: &str = "of-the-rest";
const FIRST: &str = "of-shard-a";
const SECOND: &str = "of-shard-a-too";
const SHARDS: (&str, &str) = ("WINDLASS_SHARDS", "a");
const SHARD: [(&str, &str); 2] = [SHARDS, ("WINDLASS_SHARD", "a")];
/// How long after it has another label a namespace is begun with, as `src/runtime/shards.rs` says.
const SETTLES: Duration = Duration::from_secs(20);

/// The rights that the chart gives with a shard, bound to our users.
fn rights() -> Result<String> {
    let helm = built(&[Program::Helm])?
        .remove(&Program::Helm)
        .context("helm")?;
    let folder = tempfile::tempdir()?;
    let mut command = Command::new(helm);
    command
        .args(["template", "windlass", "charts/windlass", "--namespace"])
        .args([NAMESPACE, "--set", "shards={a}"])
        .args(["--show-only", "templates/rbac.yaml"])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")));
    for name in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
        command.env(name, folder.path());
    }
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{said}");
    let rendered: Vec<Value> = serde_saphyr::from_multiple(&String::from_utf8(output.stdout)?)?;
    let users = [REST, FIRST, SECOND]
        .map(|user| json!({"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}));
    let manifests = rendered.into_iter().map(|mut object| {
        object["metadata"]["name"] = "with-shards".into();
        if !object["roleRef"].is_null() {
            object["roleRef"]["name"] = "with-shards".into();
            object["subjects"] = json!(users);
        }
        object.to_string()
    });
    Ok(manifests.collect::<Vec<_>>().join("\n---\n"))
}

/// Who wrote in a namespace since a place in the audit log, one turn after the other.
fn turns(bed: &Bed, namespace: &str, since: Mark) -> Vec<String> {
    let mut all: Vec<Write> = audit::read(&bed.cluster, since);
    all.retain(|write| {
        let is_theirs = [REST, FIRST, SECOND].contains(&write.user.as_str());
        is_theirs && write.namespace == namespace && write.counts()
    });
    all.sort_by(|one, other| one.at.cmp(&other.at));
    let mut turns: Vec<String> = all.into_iter().map(|write| write.user).collect();
    turns.dedup();
    turns
}

/// Waits for a Job, also of a namespace that has moved and of an operator whose Lease has to run out.
async fn until_job(look: &Looking, name: &str) {
    let there = async || look.jobs.get_opt(name).await.ok()?;
    wait(&format!("Job {name}"), Duration::from_mins(1), there).await;
}

#[tokio::test]
async fn no_object_is_worked_on_by_two_operators_and_none_by_nobody() -> Result<()> {
    let Some(turn) = turn().await else {
        return Ok(());
    };
    let bed = turn.bed;
    for namespace in [SHARDED, MOVED] {
        objects::namespace(bed, namespace).await?;
    }
    let kubectl = bed.cluster.kubectl()?;
    kubectl.apply(&rights()?)?;
    kubectl.run(&["label", "namespace", SHARDED, "windlass.dev/shard=a"])?;
    let client = bed.client().await?;
    let [sharded, moved] = [SHARDED, MOVED].map(|space| Looking::new(&client, space));
    let since = audit::mark(&bed.cluster);
    let asked = |name: &str| {
        let of = |space| objects::training(space, name, "");
        [of(SHARDED), of(MOVED)].join("---\n")
    };

    // The operator that knows of no shard has all; that of the shard waits until it has left something to it.
    let rest = Operator::lead_as(bed, REST, &[])?;
    let first = Operator::start_as(bed, FIRST, &SHARD)?;
    kubectl.apply(&asked("before"))?;
    until_job(&sharded, "before-1").await;
    until_job(&moved, "before-1").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(turns(bed, SHARDED, since), [REST]);

    // Upgraded to one that knows, it leaves the namespace of the shard to the other.
    assert!(rest.stop()?.success());
    let rest = Operator::lead_as(bed, REST, &[SHARDS])?;
    kubectl.apply(&asked("beside"))?;
    until_job(&sharded, "beside-1").await;
    until_job(&moved, "beside-1").await;
    assert_eq!(turns(bed, SHARDED, since), [REST, FIRST]);
    assert_eq!(turns(bed, MOVED, since), [REST]);

    // A namespace that is given another label is left at once, and begun with later.
    kubectl.run(&["label", "namespace", MOVED, "windlass.dev/shard=a"])?;
    let at = Instant::now();
    tokio::time::sleep(Duration::from_secs(1)).await;
    kubectl.apply(&asked("moved"))?;
    until_job(&moved, "moved-1").await;
    let took = at.elapsed();
    println!("a namespace that moves is begun with after {took:.1?}");
    assert!(took >= SETTLES, "{took:?}");
    until_job(&sharded, "moved-1").await;
    assert_eq!(turns(bed, MOVED, since), [REST, FIRST]);

    // A shard's operator that dies is followed by another of the same shard, and by no other.
    let second = Operator::start_as(bed, SECOND, &SHARD)?;
    first.kill()?;
    kubectl.apply(&asked("died"))?;
    until_job(&sharded, "died-1").await;
    until_job(&moved, "died-1").await;
    assert_eq!(turns(bed, SHARDED, since), [REST, FIRST, SECOND]);
    assert_eq!(turns(bed, MOVED, since), [REST, FIRST, SECOND]);

    // Without the shard, the first operator has all again, once that of the shard has stopped.
    assert!(rest.stop()?.success());
    let rest = Operator::start_as(bed, REST, &[])?;
    kubectl.apply(&asked("after"))?;
    until_job(&sharded, "after-1").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(turns(bed, SHARDED, since), [REST, FIRST, SECOND]);
    assert!(second.stop()?.success());
    kubectl.apply(&asked("alone"))?;
    until_job(&sharded, "alone-1").await;
    until_job(&moved, "alone-1").await;
    assert_eq!(turns(bed, SHARDED, since), [REST, FIRST, SECOND, REST]);
    assert!(rest.stop()?.success());
    kubectl.run(&["label", "namespace", SHARDED, MOVED, "windlass.dev/shard-"])?;
    let names = ["clusterrole", "clusterrolebinding"];
    for kind in names {
        kubectl.run(&["delete", kind, "with-shards"])?;
    }
    Ok(())
}
