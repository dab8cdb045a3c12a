//! TrainingJobs in numbers: how much is written for one, how quickly ten thousand go through, how soon gangs are whole
//! again after nodes were lost, and what a thousand gangs cost that wait.
//!
//! `make bench-training` runs it and writes `target/bench/training.json`. Clusters are real but for their nodes and
//! pods, which kwok plays; all of it shares this machine's cores, so that only figures of one run compare.
//!
//! | part of `WINDLASS_BENCH_PARTS` | about | size |
//! |---|---|---|
//! | `writes` | writes of one TrainingJob over its life | |
//! | `alone` | the operator's own writes a second, where nothing else is at work | a fifth of `WINDLASS_BENCH_JOBS` |
//! | `throughput` | from creation to completion, memory, CPU; the first 3,000 beside the bare client | `WINDLASS_BENCH_JOBS` (10,000) |
//! | `recovery` | a tenth of the nodes is lost under gangs of 8; JobSet beside it | `WINDLASS_BENCH_NODES` (500), a fifth as many gangs |
//! | `waiting` | gangs that do not fit | `WINDLASS_BENCH_WAITING` (1,000) |
//!
//! What the words mean:
//!
//! - A **write** is a request of the operator's that changes the cluster, told from the API server's audit log; its Lease
//!   and its Events are apart, as everywhere in this project.
//! - A **state change** is a status of a TrainingJob that was written: it runs, it is complete. That is two a job, the
//!   strictest reading; some thirteen changes of Jobs and pods that the operator has to read come with them.
//! - The **bare client** sends the same requests, byte for byte as the planner makes them (server-side apply of the Job,
//!   two of the status), as quickly as it can, eight at once as the operator does, from a program that is optimised as the
//!   operator is, under the same audit log. It decides nothing, keeps no cache and waits for none. Its TrainingJobs are of
//!   a copy of the kind in another group, which the operator does not see.
//!
//! The operator is held against the bare client twice, since a machine has two limits. End to end (`throughput`) both
//! have the same number of TrainingJobs made for them, and the second status of each follows the end of its Job: what
//! limits both is the Job controller, the scheduler and kwok, which write four times as much. On its own (`alone`) those
//! are not there, and what limits is the API server, or the operator. There, the bare client sends the Events as well,
//! since they are as much work for the server; beside it stands what it does without them.

#[path = "../support/mod.rs"]
mod shared;
#[path = "../../tests/support/mod.rs"]
mod support;

mod alone;
mod bare;
mod count;
mod recovery;
mod throughput;
mod waiting;
mod writes;

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use shared::figures::{Figure, print, write};

/// What can be run, in this order.
const PARTS: [&str; 5] = ["writes", "alone", "throughput", "recovery", "waiting"];

#[tokio::main]
async fn main() -> Result<()> {
    let parts = std::env::var("WINDLASS_BENCH_PARTS").unwrap_or_else(|_| PARTS.join(","));
    let parts: Vec<&str> = parts.split(',').collect();
    if let Some(unknown) = parts.iter().find(|part| !PARTS.contains(part)) {
        anyhow::bail!("WINDLASS_BENCH_PARTS: there is no part {unknown:?}, only {PARTS:?}");
    }
    let mut figures: Vec<Figure> = Vec::new();
    let mut broken = Vec::new();
    for part in PARTS.into_iter().filter(|part| parts.contains(part)) {
        eprintln!("{part} …");
        let started = Instant::now();
        let outcome = match part {
            "writes" => writes::measure(&mut figures).await,
            "alone" => alone::measure(size("JOBS", 10_000)? / 5, &mut figures).await,
            "throughput" => throughput::measure(size("JOBS", 10_000)?, &mut figures).await,
            "recovery" => recovery::measure(size("NODES", 500)?, &mut figures).await,
            _ => waiting::measure(size("WAITING", 1000)?, &mut figures).await,
        };
        eprintln!("{part}: {:.0} s", started.elapsed().as_secs_f64());
        // What the other parts found is not lost with it.
        if let Err(error) = outcome {
            eprintln!("{part} could not be measured: {error:?}");
            broken.push(part);
        }
        write("training", &figures)?;
    }
    print("training", &figures)?;
    ensure!(broken.is_empty(), "could not be measured: {broken:?}");
    Ok(())
}

/// A number from the environment, `WINDLASS_BENCH_…`.
fn size(name: &str, default: usize) -> Result<usize> {
    let name = format!("WINDLASS_BENCH_{name}");
    match std::env::var(&name) {
        Ok(text) => text
            .parse()
            .with_context(|| format!("{name} has to be a number")),
        Err(_) => Ok(default),
    }
}
