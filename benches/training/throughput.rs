//! TrainingJobs from creation to completion: how quickly, beside the bare client; and what that takes.
//!
//! Both are timed by the audit log, from the first creation to the last status. The bare client comes first, in the same
//! cluster; what it made stays, so that the operator has the fuller API server of the two.

use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use kube::api::Api;
use windlass_api::TrainingJob;
use windlass_testcluster::{Options, Shape};

use crate::bare::{self, Bare};
use crate::count::{between, reconciles, statuses, until_statuses};
use crate::shared::figures::{Figure, bytes, count, figure, goal};
use crate::shared::objects::{All as _, create, has_ended, training_job};
use crate::support::audit::{Mark, Write, mark, read};
use crate::support::operator::Operator;
use crate::support::{Bed, settled};

const USER: &str = "bench-training";
const NAMESPACE: &str = "bench";
const BARE: &str = "bare";
/// Fake nodes: each has room for 250 pods.
const NODES: u32 = 40;
/// What the operator may hold at its highest, in bytes.
const PEAK: f64 = 64.0 * 1024.0 * 1024.0;
/// How many of the jobs the bare client does as well: it takes as long as the operator, which is most of an hour for all.
const RACE: usize = 3000;
/// How many jobs that was promised of.
const PROMISED: usize = 10_000;
/// What a finished TrainingJob with its Job and its pod may add to an idle operator, in bytes.
const EACH: f64 = 64e3;

/// The bare client, the operator, and the operator started again over what it did.
pub async fn measure(jobs: usize, figures: &mut Vec<Figure>) -> Result<()> {
    let options = Options::new("bench-training", Shape::Kwok)
        .with_audit_log()
        .with_fake_nodes(NODES);
    let bed = Bed::up(options).await?;
    bare::install(&bed)?;
    figures.push(figure("throughput: jobs", count(jobs), "1"));

    let beside = jobs.min(RACE);
    figures.push(figure(
        "throughput: jobs beside the bare client's",
        count(beside),
        "1",
    ));
    let start = mark(&bed.cluster);
    Bare::new(&bed, BARE, BARE, false)
        .await?
        .run(beside)
        .await?;
    let floor = count(beside) / took(&bed, BARE, BARE, beside, start)?;
    figures.push(figure("throughput: bare client", floor, "jobs/s"));

    let operator = Operator::lead(&bed, USER)?;
    let empty = bytes(operator.memory()?.0);
    figures.push(goal("memory: idle", empty, "B", "< 25 MB", empty < 25e6));
    bed.namespace(NAMESPACE)?;
    let rate = trained(&bed, &operator, 0..beside, "", figures).await?;
    if jobs > beside {
        trained(&bed, &operator, beside..jobs, " (all others)", figures).await?;
    }
    memory(&operator, jobs, empty, figures)?;
    figures.push(figure("throughput: operator", rate, "jobs/s"));
    figures.push(goal(
        "throughput: operator to bare client",
        rate / floor,
        "1",
        ">= 0.9",
        rate >= 0.9 * floor,
    ));
    ensure!(operator.stop()?.success(), "the operator did not stop well");

    let start = mark(&bed.cluster);
    let operator = Operator::lead(&bed, USER)?;
    let looked_at = async || operator.cpu().unwrap_or_default();
    settled(Duration::from_secs(5), Duration::from_mins(2), looked_at).await;
    let (idle, peak) = operator.memory()?;
    let each = (bytes(idle) - empty) / count(jobs);
    figures.push(goal(
        "memory: each finished job, after a restart",
        each,
        "B",
        "< 64 kB",
        each < EACH,
    ));
    figures.push(figure("memory: highest of the restart", bytes(peak), "B"));
    let written = writes_of(&bed, start).len();
    figures.push(goal(
        "writes on restart",
        count(written),
        "1",
        "0",
        written == 0,
    ));
    ensure!(operator.stop()?.success(), "the operator did not stop well");
    Ok(())
}

/// The operator's TrainingJobs of these numbers; how many a second.
async fn trained(
    bed: &Bed,
    operator: &Operator,
    numbers: Range<usize>,
    which: &str,
    figures: &mut Vec<Figure>,
) -> Result<f64> {
    let (jobs, all) = (numbers.len(), numbers.end);
    let name = |what: &str| format!("{what}{which}");
    let api = Api::<TrainingJob>::namespaced(bed.client().await?, NAMESPACE);
    let (start, before) = (mark(&bed.cluster), operator.cpu()?);
    let (looks, statuses) = (reconciles(operator), statuses(operator));
    create(&api, numbers.map(training_job)).await?;
    until_statuses(operator, statuses + 2 * jobs).await?;
    let cpu = operator.cpu()?.checked_sub(before).unwrap_or_default();
    let complete = until_complete(&api, all).await?;
    figures.push(goal(
        name("throughput: complete"),
        count(complete),
        "1",
        "all",
        complete == all,
    ));
    let writes = writes_of(bed, start);
    let refused = writes.iter().filter(|write| write.code >= 300).count();
    figures.push(goal(
        name("throughput: writes a job"),
        count(writes.len()) / count(jobs),
        "1",
        "<= 3",
        writes.len() <= 3 * jobs,
    ));
    figures.push(goal(
        name("throughput: writes refused"),
        count(refused),
        "1",
        "0",
        refused == 0,
    ));
    let milliseconds = cpu.as_secs_f64() * 1000.0;
    let each = milliseconds / count(2 * jobs);
    figures.push(goal(
        name("CPU a state change (2 a job)"),
        each,
        "ms",
        "<= 1.5",
        each <= 1.5,
    ));
    figures.push(figure(
        name("CPU a write (3 a job)"),
        milliseconds / count(3 * jobs),
        "ms",
    ));
    figures.push(figure(
        name("throughput: reconciles a job"),
        count(reconciles(operator) - looks) / count(jobs),
        "1",
    ));
    Ok(count(jobs) / took(bed, USER, NAMESPACE, jobs, start)?)
}

/// What the operator holds. The promise is of ten thousand jobs: fewer neither keep nor break it.
fn memory(operator: &Operator, jobs: usize, empty: f64, figures: &mut Vec<Figure>) -> Result<()> {
    let (resident, peak) = operator.memory()?;
    let (resident, peak) = (bytes(resident), bytes(peak));
    figures.push(if jobs >= PROMISED {
        goal("memory: peak", peak, "B", "<= 64 MiB", peak <= PEAK)
    } else {
        figure("memory: peak", peak, "B")
    });
    let growth = (peak - empty) / count(jobs);
    figures.push(figure("memory: peak, growth a job", growth, "B"));
    figures.push(figure("memory: after the jobs", resident, "B"));
    Ok(())
}

/// Waits until all have ended well, or for two minutes.
async fn until_complete(api: &Api<TrainingJob>, jobs: usize) -> Result<usize> {
    let started = Instant::now();
    loop {
        let complete = api.all().await?.iter().filter(|job| has_ended(job)).count();
        if complete >= jobs || started.elapsed() > Duration::from_mins(2) {
            return Ok(complete);
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

fn writes_of(bed: &Bed, start: Mark) -> Vec<Write> {
    crate::support::audit::writes_of(&bed.cluster, USER, start)
}

/// Seconds from the first creation of a TrainingJob in a namespace to the last status that a user wrote.
fn took(bed: &Bed, user: &str, namespace: &str, jobs: usize, start: Mark) -> Result<f64> {
    let mut all = read(&bed.cluster, start);
    all.retain(|write| write.namespace == namespace && write.code < 300);
    let created = all
        .iter()
        .filter(|write| write.kind() == "create trainingjobs");
    let first = created.map(|write| &write.at).min().context("a creation")?;
    let statuses = || {
        all.iter()
            .filter(|write| write.user == user && write.kind() == "patch trainingjobs/status")
    };
    ensure!(
        statuses().count() >= 2 * jobs,
        "{} statuses of {user} for {jobs} jobs",
        statuses().count()
    );
    let last = statuses().map(|write| &write.at).max();
    between(first, last.context("a status")?)
}
