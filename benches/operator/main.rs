//! The operator in numbers: what objects of all four kinds cost at once, how that grows, and what two shards do.
//!
//! `make bench-operator` runs it and writes `target/bench/operator.json`, with the table of `docs/scale.md`. The clusters are
//! a real control plane without nodes: a Job is said to be complete by this program as soon as it is there, so that what
//! limits is the API server, or the operator. All of it shares this machine's cores: figures of one run compare, and no others.
//!
//! | part of `WINDLASS_BENCH_PARTS` | about | size |
//! |---|---|---|
//! | `growth` | an operator with no object, and with a hundred, a thousand, ten thousand TrainingJobs: rate beside the bare client, CPU, memory, a restart; then with many more that are finished | `WINDLASS_BENCH_JOBS` (10,000), `WINDLASS_BENCH_FINISHED` (50,000 in all) |
//! | `beside` | TrainingJobs, ModelDeployments and DriftMonitors that are changed at the same time, beside each kind alone | `WINDLASS_BENCH_EACH` (2,000 of each kind) |
//! | `shards` | two operators with a namespace each, beside one with both | a fifth of `WINDLASS_BENCH_JOBS` |
//!
//! What the words mean:
//!
//! - A **write** is a request of the operator's that changes the cluster, told from the API server's audit log; its Lease and
//!   its Events are apart, as everywhere in this project.
//! - A **change** is a status of a TrainingJob that was written: it runs, it is complete.
//! - The **bare client** (`benches/training/bare.rs`) sends the same requests, byte for byte, and decides nothing.
//! - An **answer** is the operator's first write for an object after a change of its: the time between is from the audit log,
//!   from the change as the API server got it to the write as it got it. That is the watch, the queue, and the plan.

#[allow(dead_code, reason = "the other benchmark uses all of it")]
#[path = "../training/bare.rs"]
mod bare;
#[allow(dead_code, reason = "the other benchmark uses all of it")]
#[path = "../training/count.rs"]
mod count;
#[path = "../support/mod.rs"]
mod shared;
#[path = "../../tests/support/mod.rs"]
mod support;

mod answers;
mod beside;
mod growth;
mod player;
mod shards;

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use shared::figures::{Figure, print, write};

/// What can be run, in this order.
const PARTS: [&str; 3] = ["growth", "beside", "shards"];

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
            "growth" => {
                let finished = size("FINISHED", 50_000)?;
                growth::measure(size("JOBS", 10_000)?, finished, &mut figures).await
            }
            "beside" => beside::measure(size("EACH", 2000)?, &mut figures).await,
            _ => shards::measure(size("JOBS", 10_000)? / 5, &mut figures).await,
        };
        eprintln!("{part}: {:.0} s", started.elapsed().as_secs_f64());
        // What the other parts found is not lost with it.
        if let Err(error) = outcome {
            eprintln!("{part} could not be measured: {error:?}");
            broken.push(part);
        }
        write("operator", &figures)?;
    }
    print("operator", &figures)?;
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
