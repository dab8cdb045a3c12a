//! What is read of an operator and of the audit log, in numbers.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use windlass_testcluster::Cluster;

use crate::support::audit::{Mark, Write, writes_of};
use crate::support::operator::Operator;

/// How many statuses of TrainingJobs an operator says that it has written.
pub fn statuses(operator: &Operator) -> usize {
    counted(
        operator,
        "windlass_writes_total",
        "verb=\"patch status of\"",
    )
}

/// How many times an operator says that it has looked at a TrainingJob.
pub fn reconciles(operator: &Operator) -> usize {
    counted(operator, "windlass_reconciles_total", "outcome=\"ok\"")
}

/// What one of the operator's counters says of TrainingJobs.
fn counted(operator: &Operator, counter: &str, label: &str) -> usize {
    let text = operator.get("/metrics").unwrap_or_default();
    let mut lines = text.lines().filter(|line| {
        line.starts_with(counter) && line.contains("kind=\"TrainingJob\"") && line.contains(label)
    });
    lines
        .next()
        .and_then(|line| line.rsplit(' ').next()?.parse().ok())
        .unwrap_or_default()
}

/// Waits until an operator has written so many statuses; an error where none comes for two minutes.
pub async fn until_statuses(operator: &Operator, wanted: usize) -> Result<()> {
    let (mut best, mut since) = (0, Instant::now());
    loop {
        let now = statuses(operator);
        if now >= wanted {
            return Ok(());
        }
        if now > best {
            (best, since) = (now, Instant::now());
        }
        ensure!(
            since.elapsed() < Duration::from_mins(2),
            "{best} of {wanted} statuses, and no more; the operator said:\n{}",
            operator.said()
        );
        // Each answer is work for the operator: seldom enough that it is not what is measured.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// A user's writes in a namespace.
pub fn writes_in(cluster: &Cluster, user: &str, namespace: &str, since: Mark) -> Vec<Write> {
    let mut all = writes_of(cluster, user, since);
    all.retain(|write| write.namespace == namespace);
    all
}

/// Seconds from the first to the last of these writes.
pub fn seconds(writes: &[Write]) -> Result<f64> {
    let first = writes.iter().map(|write| &write.at).min();
    let last = writes.iter().map(|write| &write.at).max();
    between(first.context("a write")?, last.context("a write")?)
}

/// Seconds between two times of the audit log.
pub fn between(from: &str, to: &str) -> Result<f64> {
    let (from, to): (Timestamp, Timestamp) = (from.parse()?, to.parse()?);
    Ok(to.duration_since(from).as_secs_f64())
}
