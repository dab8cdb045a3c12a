//! A real Kubernetes on one machine, for tests and for the demo.
//!
//! Three shapes: [`Shape::Api`] (a control plane on loopback, for tests of controllers),
//! [`Shape::Kwok`] (also a scheduler and nodes that kwok plays, for scale) and [`Shape::Node`]
//! (a real kubelet and container runtime in a network namespace of their own, for end-to-end
//! tests). The programs are built from their Go modules at first use.
//!
//! ```no_run
//! use windlass_testcluster::{Cluster, Options, Shape};
//!
//! # fn main() -> anyhow::Result<()> {
//! let cluster = Cluster::up(&Options::new("my-test", Shape::Api).with_audit_log())?;
//! println!("{}", cluster.kubeconfig_path().display());
//! # Ok(()) // dropping it takes it down
//! # }
//! ```
//!
//! ```text
//! cluster ──> bring_up, down ──> control_plane, node, kwok, kueue, jobset, gateway ──> process, certificates ──> paths
//!    │              │
//!    v              v
//! record        programs (built by `go`)       image, debian: what runs in the node
//!                   ^
//!                   │
//!               schemas (what other versions of Kubernetes take, for who checks manifests)
//! ```
//!
//! Deliberately absent: an asynchronous interface and a client of Kubernetes (what little is
//! said to the API server is said by kubectl), image registries, more than one real node, and
//! any persistence beyond the machine's run. Errors are `anyhow`'s: whoever calls this shows
//! them to a person and does not tell them apart.

mod bring_up;
mod certificates;
mod cluster;
mod control_plane;
pub mod debian;
mod down;
mod gateway;
mod gpu;
pub mod image;
mod jobset;
mod kubectl;
mod kueue;
mod kwok;
mod node;
mod paths;
pub mod process;
pub mod programs;
mod record;
mod relay;
pub mod schemas;
mod supervisor;

pub use cluster::Cluster;
pub use down::down;
pub use kubectl::Kubectl;
pub use node::check_machine as check_machine_for_node;
pub use paths::cache;
pub use record::{Addition, Options, Shape, names};
pub use supervisor::supervise;
