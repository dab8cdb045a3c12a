//! Faults around the operator, of which none may lose an object, make a child twice or set off a storm of requests.
//!
//! ```text
//!   operator ──> Between (faults: support/befall.rs) ──> API server <── kwok plays nodes and pods
//! ```
//!
//! `server.rs`: an API server that is not well, or behind. `leaders.rs`: two replicas. `make test-faults` does all of it and
//! writes `target/faults.json`; `make test` does a part of each. `WINDLASS_FAULTS` is `all` for that; `WINDLASS_FAULT` is a
//! part of the name of those that are tried alone, such as `Silence`.

#[path = "../../benches/support/figures.rs"]
#[allow(dead_code, reason = "benchmarks use more of it")]
mod figures;
#[path = "../support/mod.rs"]
mod support;

// What the tests of crashes have is used here too: the roll-out, who plays for its pods, and what is compared in the end.
#[path = "../crashes/accounts.rs"]
mod accounts;
#[path = "../crashes/end.rs"]
#[allow(dead_code, reason = "the tests of crashes use more of it")]
mod end;
#[path = "../crashes/gateway.rs"]
#[allow(dead_code, reason = "the tests of crashes use more of it")]
mod gateway;
#[path = "../crashes/proxies.rs"]
mod proxies;
#[path = "../crashes/rollouts.rs"]
#[allow(dead_code, reason = "the tests of crashes use more of it")]
mod rollouts;
#[path = "../crashes/seen.rs"]
#[allow(dead_code, reason = "the tests of crashes use more of it")]
mod seen;

mod leaders;
mod objects;
mod server;

use std::sync::Arc;

use anyhow::Result;
use tokio::sync::{Mutex, MutexGuard};
use windlass_testcluster::programs::Program;
use windlass_testcluster::{Options, Shape};

use figures::{Figure, all_hold, table, write_to};
use support::Bed;

/// Whether all is asked for.
pub fn is_all() -> bool {
    std::env::var("WINDLASS_FAULTS").is_ok_and(|asked| asked == "all")
}

/// The cluster, in one test's hands.
pub struct Turn {
    /// The cluster and what is in it.
    pub bed: Arc<Bed>,
    _guard: MutexGuard<'static, ()>,
}

/// Waits for one's turn at the cluster; none, said aloud, where there can be no cluster.
pub async fn turn() -> Result<Option<Turn>> {
    static TURN: Mutex<()> = Mutex::const_new(());
    static BED: tokio::sync::OnceCell<Arc<Bed>> = tokio::sync::OnceCell::const_new();
    let guard = TURN.lock().await;
    let needed = Program::of(Shape::Kwok).iter();
    for program in needed.chain([&Program::Kubectl, &Program::Traefik]) {
        let path = program.path()?;
        if !path.exists() {
            let path = path.display();
            println!("skipped: {path} is not built; `make programs` builds it");
            return Ok(None);
        }
    }
    let made = BED.get_or_try_init(|| async {
        let options = Options::new("test-faults", Shape::Kwok)
            .with_audit_log()
            .with_pods_on_loopback();
        let bed = Bed::up(options).await?;
        gateway::install(&bed.cluster)?;
        anyhow::Ok(Arc::new(bed))
    });
    Ok(Some(Turn {
        bed: made.await?.clone(),
        _guard: guard,
    }))
}

/// Shows figures, writes down all that there are by now, and fails where a goal is missed.
pub fn show(more: Vec<Figure>) -> Result<()> {
    static ALL: std::sync::Mutex<Vec<Figure>> = std::sync::Mutex::new(Vec::new());
    table(&more);
    let holds = all_hold(&more);
    let mut all = ALL.lock().expect("no holder panics");
    all.extend(more);
    if is_all() {
        write_to("target/faults.json", &all)?;
        println!("written to target/faults.json");
    }
    holds
}
