//! Two replicas, one leader.

use std::time::{Duration, Instant};

use anyhow::Result;
use rustix::process::Signal;

use crate::objects::{self, Looking};
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

/// Nobody writes after another has begun to.
fn only_one_writes(bed: &Bed, start: audit::Mark) {
    let mut all: Vec<Write> = audit::read(&bed.cluster, start)
        .into_iter()
        .filter(|write| write.counts() && write.user.starts_with("leading-"))
        .collect();
    all.sort_by(|a, b| a.at.cmp(&b.at));
    let mut writers: Vec<&str> = all.iter().map(|write| write.user.as_str()).collect();
    writers.dedup();
    assert_eq!(writers, ["leading-1", "leading-2", "leading-3"], "{all:#?}");
}
