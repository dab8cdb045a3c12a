//! Two operators with a namespace each, beside one with both.

use std::time::Duration;

use anyhow::{Result, ensure};
use kube::Client;
use kube::api::Api;
use windlass_api::TrainingJob;
use windlass_testcluster::{Options, Shape};

use crate::bare::{self, Bare};
use crate::count::{between, until_statuses};
use crate::player::takes_over;
use crate::shared::figures::{Figure, count, figure, goal};
use crate::shared::objects::{create, training_job};
use crate::support::Bed;
use crate::support::audit::{Mark, mark, read};
use crate::support::operator::Operator;

const SPACES: [&str; 2] = ["one", "two"];
const USERS: [&str; 2] = ["bench-shard-rest", "bench-shard-a"];

/// So many TrainingJobs in each of two namespaces.
pub async fn measure(jobs: usize, figures: &mut Vec<Figure>) -> Result<()> {
    let bed = Bed::up(Options::new("bench-shards", Shape::Api).with_audit_log()).await?;
    bare::install(&bed)?;
    let client = bed.client().await?;
    let _jobs_end = takes_over(&bed, &client, &SPACES).await?;
    let kubectl = bed.cluster.kubectl()?;
    kubectl.run(&["label", "namespace", SPACES[1], "windlass.dev/shard=a"])?;
    kubectl.apply(&more_rights())?;
    figures.push(figure(
        "shards: jobs in each of two namespaces",
        count(jobs),
        "1",
    ));

    // Two bare clients at once: what the API server can do.
    let start = mark(&bed.cluster);
    let both = ["bare-one", "bare-two"]
        .map(|name| async { Bare::new(&bed, name, name, true).await?.run(jobs).await });
    futures::future::try_join_all(both).await?;
    let floor = count(2 * jobs) / took(&bed, &["bare-one", "bare-two"], start)?;
    figures.push(figure("shards: two bare clients", floor, "jobs/s"));

    let alone = Operator::lead(&bed, USERS[0])?;
    let one = rate(&bed, &client, &[&alone], 0..jobs).await?;
    figures.push(figure("shards: one operator", one, "jobs/s"));
    ensure!(alone.stop()?.success(), "the operator did not stop well");

    let shards = ("WINDLASS_SHARDS", "a");
    let rest = Operator::lead_with(&bed, USERS[0], &[shards])?;
    let of_a = Operator::lead_with(&bed, USERS[1], &[shards, ("WINDLASS_SHARD", "a")])?;
    // Each has read the objects of before.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let before = [rest.cpu()?, of_a.cpu()?];
    let two = rate(&bed, &client, &[&rest, &of_a], jobs..2 * jobs).await?;
    figures.push(figure("shards: two operators", two, "jobs/s"));
    for ((operator, before), which) in [&rest, &of_a]
        .into_iter()
        .zip(before)
        .zip(["first", "second"])
    {
        let used = operator.cpu()?.saturating_sub(before).as_secs_f64();
        let what = format!("shards: CPU of the {which} a change (2 a job)");
        figures.push(figure(what, used * 1000.0 / count(2 * jobs), "ms"));
    }
    // Twice as much, or as much as the API server takes.
    let most = (2.0 * one).min(0.9 * floor);
    let ratio = two / most;
    let what = "shards: two operators, to twice one or 0.9 of the bare clients";
    figures.push(goal(what, ratio, "1", ">= 1", ratio >= 1.0));
    ensure!(
        rest.stop()?.success() && of_a.stop()?.success(),
        "an operator did not stop well"
    );
    Ok(())
}

/// Jobs a second of these operators, with as many in each namespace.
async fn rate(
    bed: &Bed,
    client: &Client,
    operators: &[&Operator],
    numbers: std::ops::Range<usize>,
) -> Result<f64> {
    let start = mark(&bed.cluster);
    let jobs = numbers.len();
    let each = 2 * SPACES.len() * jobs / operators.len();
    let before: Vec<usize> = operators
        .iter()
        .map(|one| crate::count::statuses(one))
        .collect();
    let made = SPACES.map(|space| {
        let api = Api::<TrainingJob>::namespaced(client.clone(), space);
        let numbers = numbers.clone();
        async move { create(&api, numbers.map(training_job)).await }
    });
    futures::future::try_join_all(made).await?;
    for (operator, before) in operators.iter().zip(before) {
        until_statuses(operator, before + each).await?;
    }
    Ok(count(2 * jobs) / took(bed, &USERS, start)?)
}

/// Seconds from the first creation of a TrainingJob to the last status that one of these wrote.
fn took(bed: &Bed, users: &[&str], start: Mark) -> Result<f64> {
    let all = read(&bed.cluster, start);
    let created = all
        .iter()
        .filter(|write| write.kind() == "create trainingjobs");
    let said = all.iter().filter(|write| {
        write.kind() == "patch trainingjobs/status" && users.contains(&write.user.as_str())
    });
    let (first, last) = (
        created.map(|write| &write.at).min(),
        said.map(|write| &write.at).max(),
    );
    match (first, last) {
        (Some(first), Some(last)) => between(first, last),
        _ => anyhow::bail!("{users:?} did nothing"),
    }
}

/// What the chart gives besides where there are shards.
fn more_rights() -> String {
    let group = "rbac.authorization.k8s.io";
    let subjects = format!(
        "[{{kind: Group, name: {}, apiGroup: {group}}}]",
        crate::support::GROUP
    );
    format!(
        "apiVersion: {group}/v1\nkind: ClusterRole\nmetadata: {{name: bench-shards}}\n\
         rules:\n- {{apiGroups: [''], resources: [namespaces], verbs: [list, watch]}}\n\
         - {{apiGroups: [coordination.k8s.io], resources: [leases], verbs: [create, get, patch]}}\n---\n\
         apiVersion: {group}/v1\nkind: ClusterRoleBinding\nmetadata: {{name: bench-shards}}\n\
         roleRef: {{apiGroup: {group}, kind: ClusterRole, name: bench-shards}}\nsubjects: {subjects}\n"
    )
}
