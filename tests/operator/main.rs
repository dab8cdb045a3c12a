//! The operator against a real API server, as a process of its own with no more than the shipped rights.
//!
//! No pod runs in this cluster (etcd, API server, controller manager): where a test needs the end of a pod, it plays
//! the kubelet by writing the pod's status, and says so. One cluster serves all tests, a namespace each. They run one
//! after the other: a Lease has one holder, and what an operator wrote is counted.

#[path = "../support/mod.rs"]
mod support;

mod accounts;
mod approval;
mod attacks;
mod autoscaling;
mod drift;
mod labels;
mod leading;
mod lineage;
mod mending;
mod namespaces;
mod objects;
mod permissions;
mod promotions;
mod queries;
mod retention;
mod schedulers;
mod seeing;
mod shards;
mod steps;
mod waiting;
mod writing;

use std::path::PathBuf;
use std::sync::OnceLock;

use anyhow::Result;
use tokio::sync::{Mutex, MutexGuard};
use windlass_testcluster::programs::Program;
use windlass_testcluster::{Cluster, Options, Shape};

use support::audit::{self, Mark};
use support::{Bed, GROUP};

/// The cluster, in one test's hands. It goes down when this process ends.
pub struct Turn {
    /// The cluster and what is in it.
    pub bed: &'static Bed,
    since: Mark,
    _guard: MutexGuard<'static, ()>,
}

/// Whatever a test is about: the operator asked for nothing that the chart's role does not give it.
impl Drop for Turn {
    fn drop(&mut self) {
        permissions::keep(&self.bed.cluster);
        let all = audit::requests_of(&self.bed.cluster, GROUP, self.since);
        let denied: Vec<_> = all.iter().filter(|one| one.denied.is_some()).collect();
        if !std::thread::panicking() {
            let said: Vec<_> = denied.iter().map(|one| one.said()).collect();
            assert!(said.is_empty(), "the operator was denied {said:#?}");
        }
    }
}

/// Waits for one's turn at the cluster; none, said aloud, where there can be no cluster.
pub async fn turn() -> Option<Turn> {
    static TURN: Mutex<()> = Mutex::const_new(());
    static BED: OnceLock<Option<Bed>> = OnceLock::new();
    let guard = TURN.lock().await;
    let bed = BED.get_or_init(|| {
        if let Some(missing) = missing_program() {
            println!(
                "skipped: {} is not built; `make programs` builds it",
                missing.display()
            );
            return None;
        }
        Some(set_up().expect("a cluster with Windlass' objects in it"))
    });
    let bed = bed.as_ref()?;
    // What another test left is written on by the operator of this one: a roll-out whose pods never come is given up after
    // ten minutes, and a monitor has windows.
    let left = [
        "modeldeployments,driftmonitors",
        "--all",
        "--all-namespaces",
    ];
    let delete = [&["delete", "--wait=false"], &left[..]].concat();
    let kubectl = bed.cluster.kubectl().expect("kubectl is built");
    kubectl.run(&delete).expect("what is left goes");
    Some(Turn {
        bed,
        since: audit::mark(&bed.cluster),
        _guard: guard,
    })
}

fn set_up() -> Result<Bed> {
    Bed::new(Cluster::up(
        &Options::new("test-operator", Shape::Api).with_audit_log_of_reads(),
    )?)
}

/// A program of the cluster that is not there: building it takes minutes, and is no test's business.
fn missing_program() -> Option<PathBuf> {
    let programs = Program::of(Shape::Api).iter().chain([&Program::Kubectl]);
    programs
        .filter_map(|program| program.path().ok())
        .find(|path| !path.exists())
}
