//! Two replicas, one leader.

use std::time::{Duration, Instant};

use anyhow::Result;
use rustix::process::Signal;

use windlass_testcluster::process::Identity as Process;

use crate::objects::{self, Looking, PATIENCE};
use crate::support::audit::{self, Write};
use crate::support::operator::Operator;
use crate::support::{Bed, wait};
use crate::turn;

/// How long the Lease holds, as `src/runtime/lease.rs` says.
const LEASE: Duration = Duration::from_secs(15);

/// A stop hands over at once. A crash hands over when the Lease has run out, not before. Only one ever writes.
#[tokio::test]
async fn one_leads_and_another_takes_over_when_it_stops_or_dies() -> Result<()> {
    let Some(turn) = turn().await else {
        return Ok(());
    };
    let (bed, space) = (turn.bed, "leading");
    let kubectl = bed.cluster.kubectl()?;
    objects::namespace(bed, space).await?;
    let start = audit::mark(&bed.cluster);
    let first = Operator::lead(bed, "leading-1")?;
    let second = Operator::start(bed, "leading-2")?;
    let look = Looking::new(&bed.client().await?, space);
    kubectl.apply(&objects::training(space, "one", ""))?;
    look.until_job("one-1", None).await;
    assert!(first.leads() && !second.leads());

    let stopped = Instant::now();
    assert!(first.stop()?.success());
    wait("the second to lead", LEASE, async || {
        second.leads().then_some(())
    })
    .await;
    let took = stopped.elapsed();
    println!("after a stop, the other leads within {took:.1?}");
    assert!(
        took < Duration::from_secs(5),
        "a stop hands over at once, not after {took:?}"
    );
    kubectl.apply(&objects::training(space, "two", ""))?;
    look.until_job("two-1", None).await;

    let third = Operator::start(bed, "leading-3")?;
    second.signal(Signal::KILL)?;
    let died = Instant::now();
    kubectl.apply(&objects::training(space, "three", ""))?;
    wait(
        "the third to lead",
        LEASE + Duration::from_secs(10),
        async || third.leads().then_some(()),
    )
    .await;
    let took = died.elapsed();
    println!("after a crash, the other leads within {took:.1?}");
    // It may have been renewed up to some seconds before.
    assert!(
        took > Duration::from_secs(5),
        "a Lease that has not run out was taken after {took:?}"
    );
    look.until_job("three-1", None).await;
    only_one_writes(bed, start);
    assert!(third.stop()?.success());
    drop(second);
    Ok(())
}

/// A leader that is frozen for longer than its Lease, in the midst of its work, writes nothing when it goes on.
#[tokio::test]
async fn a_leader_that_was_frozen_writes_nothing_afterwards() -> Result<()> {
    let Some(turn) = turn().await else {
        return Ok(());
    };
    let (bed, space) = (turn.bed, "frozen");
    let kubectl = bed.cluster.kubectl()?;
    objects::namespace(bed, space).await?;
    let start = audit::mark(&bed.cluster);
    let first = Operator::lead(bed, "frozen-1")?;
    let second = Operator::start(bed, "frozen-2")?;
    let look = Looking::new(&bed.client().await?, space);
    // Twenty jobs at once: there is always something that it is about to write.
    let jobs = |from: u32| {
        let all = (from..from + 20).map(|at| objects::training(space, &format!("job-{at}"), ""));
        all.collect::<Vec<_>>().join("---\n")
    };
    kubectl.apply(&jobs(0))?;
    first.signal(Signal::STOP)?;
    kubectl.apply(&jobs(20))?;
    wait(
        "the second to lead",
        LEASE + Duration::from_secs(10),
        async || second.leads().then_some(()),
    )
    .await;
    look.until_job("job-39-1", None).await;
    first.signal(Signal::CONT)?;
    wait("the first to end", PATIENCE, async || {
        first.has_ended().then_some(())
    })
    .await;
    only_these_write(bed, start, "frozen-", &["frozen-1", "frozen-2"]);
    assert!(second.stop()?.success());
    drop(first);
    Ok(())
}

/// An API server that is away for longer than a Lease: who led gives up in time, and one leads when it is back.
#[tokio::test]
async fn nobody_leads_without_an_api_server_and_one_does_when_it_is_back() -> Result<()> {
    let Some(turn) = turn().await else {
        return Ok(());
    };
    let (bed, space) = (turn.bed, "away");
    let kubectl = bed.cluster.kubectl()?;
    objects::namespace(bed, space).await?;
    let first = Operator::lead(bed, "away-1")?;
    let second = Operator::start(bed, "away-2")?;
    let server = bed.cluster.pid("kube-apiserver").and_then(Process::of);
    let server = server.expect("an API server");
    server.signal(Signal::STOP);
    let stopped = Instant::now();
    let given_up = wait("the leader to give up", LEASE, async || {
        first.has_ended().then(|| stopped.elapsed())
    });
    let given_up = given_up.await;
    server.signal(Signal::CONT);
    println!("without an API server, the leader gave up after {given_up:.1?}");
    assert!(given_up < LEASE, "{given_up:?}");
    wait("the second to lead", Duration::from_mins(1), async || {
        second.leads().then_some(())
    })
    .await;
    kubectl.apply(&objects::training(space, "after", ""))?;
    let look = Looking::new(&bed.client().await?, space);
    look.until_job("after-1", None).await;
    assert!(second.stop()?.success());
    drop(first);
    Ok(())
}

/// Nobody writes after another has begun to.
fn only_one_writes(bed: &Bed, start: audit::Mark) {
    only_these_write(
        bed,
        start,
        "leading-",
        &["leading-1", "leading-2", "leading-3"],
    );
}

/// These write, one after the other, and no one when the next has begun to.
fn only_these_write(bed: &Bed, start: audit::Mark, prefix: &str, expected: &[&str]) {
    let mut all: Vec<Write> = audit::read(&bed.cluster, start)
        .into_iter()
        .filter(|write| write.counts() && write.user.starts_with(prefix))
        .collect();
    all.sort_by(|a, b| a.at.cmp(&b.at));
    let mut writers: Vec<&str> = all.iter().map(|write| write.user.as_str()).collect();
    writers.dedup();
    assert_eq!(writers, expected, "{all:#?}");
}
