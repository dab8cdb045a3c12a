//! How cost grows with objects: an idle operator, and more and more TrainingJobs that go through it.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::ResourceExt as _;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;
use windlass_api::TrainingJob;
use windlass_testcluster::{Options, Shape};

use crate::answers::{all_answered, answers, p99};
use crate::bare::{self, Bare};
use crate::count::{between, until_statuses};
use crate::player::takes_over;
use crate::shared::figures::{Figure, bytes, count, figure, goal};
use crate::shared::objects::{AT_ONCE, All as _, create, has_ended, training_job};
use crate::support::audit::{Mark, Write, mark, read, writes_of};
use crate::support::operator::Operator;
use crate::support::{Bed, settled};

const USER: &str = "bench-growth";
const NAMESPACE: &str = "bench";
/// How long an operator without objects is looked at.
const IDLE: Duration = Duration::from_secs(30);
/// How many of the jobs the bare client does as well.
const RACE: usize = 1000;
/// TrainingJobs that are made one after the other to see how soon they are answered, and how many a second.
const PACED: usize = 600;
const PACE: u32 = 20;
/// How long a restarted operator may take to lead over all of them.
const SERVES: Duration = Duration::from_secs(5);
/// What 10,000 may take, at the highest, and what a finished one may take that has nothing left, in bytes.
const PEAK: f64 = 64.0 * 1024.0 * 1024.0;
const FINISHED: f64 = 1.5e3;

/// The whole.
pub async fn measure(jobs: usize, finished: usize, figures: &mut Vec<Figure>) -> Result<()> {
    let bed = Bed::up(Options::new("bench-growth", Shape::Api).with_audit_log()).await?;
    bare::install(&bed)?;
    let client = bed.client().await?;
    let spaces = [jobs, finished].map(paced_in);
    let spaces = [NAMESPACE, &spaces[0], &spaces[1]];
    let _jobs_end = takes_over(&bed, &client, &spaces).await?;
    let mut operator = Operator::lead(&bed, USER)?;
    let empty = idle(&operator, figures).await?;
    let floor = floor(&bed, jobs.min(RACE)).await?;
    figures.push(figure("growth: bare client", floor, "jobs/s"));

    let sizes = [jobs / 100, jobs / 10, jobs];
    let mut made = 0;
    for size in sizes {
        let name = |what: &str| format!("growth: {size}: {what}");
        let start = (mark(&bed.cluster), operator.cpu()?);
        let statuses = crate::count::statuses(&operator);
        let api = Api::<TrainingJob>::namespaced(client.clone(), NAMESPACE);
        create(&api, (made..size).map(training_job)).await?;
        let more = size - made;
        until_statuses(&operator, statuses + 2 * more).await?;
        let used = operator.cpu()?.saturating_sub(start.1);
        made = size;
        let rate = count(more) / took(&bed, USER, NAMESPACE, start.0)?;
        figures.push(figure(name("completed"), rate, "jobs/s"));
        if more >= RACE {
            let ratio = rate / floor;
            let what = name("of the bare client's rate");
            figures.push(goal(what, ratio, "1", ">= 0.9", ratio >= 0.9));
        }
        let each = used.as_secs_f64() * 1000.0 / count(2 * more);
        let what = name("CPU a change (2 a job)");
        figures.push(goal(what, each, "ms", "<= 1.5", each <= 1.5));
        settled(Duration::from_secs(3), Duration::from_mins(1), async || {
            writes_of(&bed.cluster, USER, start.0).len()
        })
        .await;
        let written = writes_of(&bed.cluster, USER, start.0).len();
        let exact = written == 3 * more;
        let what = name("writes a job");
        figures.push(goal(what, count(written) / count(more), "1", "3", exact));
        let (resident, peak) = operator.memory()?;
        figures.push(figure(name("memory"), bytes(resident), "B"));
        figures.push(if size >= 10_000 {
            let holds = bytes(peak) <= PEAK;
            goal(name("memory: peak"), bytes(peak), "B", "<= 64 MiB", holds)
        } else {
            figure(name("memory: peak"), bytes(peak), "B")
        });
        ensure!(operator.stop()?.success(), "the operator did not stop well");
        operator = restarted(&bed, size, figures).await?;
    }
    let answer = paced(&bed, &operator, jobs, figures).await?;
    if finished > made + PACED {
        // While nobody looks: it is not begun with before its status says that it is over.
        let before = operator.memory()?.0;
        ensure!(operator.stop()?.success(), "the operator did not stop well");
        leave_finished(&client, made..finished - PACED).await?;
        let more = count(finished - PACED - made);
        operator = restarted(&bed, finished, figures).await?;
        let each = (bytes(operator.memory()?.0) - bytes(before)) / more;
        let what = format!("growth: {finished}: memory of each finished job, children gone");
        let holds = each <= FINISHED;
        figures.push(goal(what, each, "B", "<= 1.5 kB", holds));
        let of_all = (bytes(operator.memory()?.0) - empty) / count(finished);
        let what = format!("growth: {finished}: memory of each");
        figures.push(figure(what, of_all, "B"));
        let then = paced(&bed, &operator, finished, figures).await?;
        let ratio = then / answer;
        let what = format!("growth: {finished}: p99 of an answer, to that at {jobs}");
        figures.push(goal(what, ratio, "1", "<= 1.5", ratio <= 1.5));
    }
    ensure!(operator.stop()?.success(), "the operator did not stop well");
    Ok(())
}

/// An operator that has nothing to do; what it holds.
async fn idle(operator: &Operator, figures: &mut Vec<Figure>) -> Result<f64> {
    settled(Duration::from_secs(3), Duration::from_mins(1), async || {
        operator.cpu().unwrap_or_default()
    })
    .await;
    let before = operator.cpu()?;
    tokio::time::sleep(IDLE).await;
    let used = operator.cpu()?.saturating_sub(before).as_secs_f64();
    let of_a_core = 100.0 * used / IDLE.as_secs_f64();
    let what = "idle: CPU, of one core";
    figures.push(goal(what, of_a_core, "%", "<= 0.1", of_a_core <= 0.1));
    let empty = bytes(operator.memory()?.0);
    figures.push(goal("idle: memory", empty, "B", "<= 15 MB", empty <= 15e6));
    Ok(empty)
}

/// Jobs a second of the bare client.
async fn floor(bed: &Bed, jobs: usize) -> Result<f64> {
    let start = mark(&bed.cluster);
    Bare::new(bed, "bare", "bare", true)
        .await?
        .run(jobs)
        .await?;
    Ok(count(jobs) / took(bed, "bare", "bare", start)?)
}

/// Another operator leads over what is there, and has nothing to write.
async fn restarted(bed: &Bed, size: usize, figures: &mut Vec<Figure>) -> Result<Operator> {
    let (start, began) = (mark(&bed.cluster), Instant::now());
    let operator = Operator::lead(bed, USER)?;
    let took = began.elapsed();
    let what = format!("growth: {size}: a restart, until it leads");
    let seconds = took.as_secs_f64();
    figures.push(goal(what, seconds, "s", "<= 5", took <= SERVES));
    settled(Duration::from_secs(5), Duration::from_mins(2), async || {
        operator.cpu().unwrap_or_default()
    })
    .await;
    let written = writes_of(&bed.cluster, USER, start).len();
    let what = format!("growth: {size}: writes of a restart");
    figures.push(goal(what, count(written), "1", "0", written == 0));
    Ok(operator)
}

/// TrainingJobs that come one after the other: how soon each is answered, 99 of 100.
async fn paced(
    bed: &Bed,
    operator: &Operator,
    size: usize,
    figures: &mut Vec<Figure>,
) -> Result<f64> {
    let namespace = paced_in(size);
    let api = Api::<TrainingJob>::namespaced(bed.client().await?, &namespace);
    let (start, statuses) = (mark(&bed.cluster), crate::count::statuses(operator));
    let mut pace = tokio::time::interval(Duration::from_secs(1) / PACE);
    let mut under_way = tokio::task::JoinSet::new();
    for number in 0..PACED {
        pace.tick().await;
        let (api, object) = (api.clone(), serde_json::from_value(training_job(number))?);
        under_way.spawn(async move { api.create(&PostParams::default(), &object).await });
    }
    while let Some(made) = under_way.join_next().await {
        made??;
    }
    until_statuses(operator, statuses + 2 * PACED).await?;
    let is_change = |write: &Write| write.kind() == "create trainingjobs";
    let of = |write: &Write| {
        let name = write.name.strip_suffix("-1").unwrap_or(&write.name);
        (write.namespace == namespace).then(|| name.to_owned())
    };
    let all = answers(bed, USER, start, is_change, of)?;
    let name = format!("growth: {size}");
    figures.push(all_answered(&name, all.len(), PACED));
    let slowest = p99(&all)?;
    let what = format!("{name}: p99 of an answer, at {PACE} jobs a second");
    figures.push(goal(what, slowest, "s", "<= 0.1", slowest <= 0.1));
    Ok(slowest)
}

/// Where the TrainingJobs are that come one after the other beside so many others.
fn paced_in(size: usize) -> String {
    format!("paced-{size}")
}

/// TrainingJobs that ended long ago, with nothing left of them but themselves.
async fn leave_finished(client: &kube::Client, numbers: std::ops::Range<usize>) -> Result<()> {
    let api = Api::<TrainingJob>::namespaced(client.clone(), NAMESPACE);
    // One that went through says what all of them say.
    let all = api.all().await?;
    let like = all.iter().find(|job| has_ended(job));
    let status = like.and_then(|job| job.status.clone());
    ensure!(status.is_some(), "no TrainingJob has ended");
    let (api, status) = (&api, &json!({"status": status}));
    stream::iter(numbers)
        .map(|number| async move {
            let object = training_job(number);
            let object: TrainingJob = serde_json::from_value(object)?;
            let name = object.name_any();
            api.create(&PostParams::default(), &object).await?;
            api.patch_status(&name, &PatchParams::default(), &Patch::Merge(status))
                .await?;
            anyhow::Ok(())
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

/// Seconds from the first creation of a TrainingJob in a namespace to the last status that a user wrote.
fn took(bed: &Bed, user: &str, namespace: &str, start: Mark) -> Result<f64> {
    let mut all = read(&bed.cluster, start);
    all.retain(|write| write.namespace == namespace && write.code < 300);
    let of = |kind: &str, user: Option<&str>| {
        let found = all.iter().filter(move |write| {
            write.kind() == kind && user.is_none_or(|user| write.user == user)
        });
        found.map(|write| write.at.clone()).collect::<Vec<_>>()
    };
    let (created, said) = (
        of("create trainingjobs", None),
        of("patch trainingjobs/status", Some(user)),
    );
    match (created.iter().min(), said.iter().max()) {
        (Some(first), Some(last)) => between(first, last),
        _ => anyhow::bail!("{user} did nothing in {namespace}"),
    }
}
