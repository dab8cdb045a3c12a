//! `windlass-agent`: what runs beside a user's trainer and model server, and on a laptop.
//!
//! ```text
//!   main ──> install, run, cache, fetch, delete, verify, publish, proxy, evaluate, profile, drift, labels, check, audit, lineage, card     (a subcommand each)
//!                 │      │          │          │        │      │                               │       │
//!                 v      v          v          v        v      v                               v       v
//!              address, tree, report        data, windlass-statistics                           objects
//! ```
//!
//! Each command takes all it needs from its arguments and its environment and ends with a
//! [`Report`](windlass_api::agent::Report) in the container's termination message.
//!
//! Absent on purpose: the Kubernetes API in all that runs in a cluster. Only `lineage` and `card`, which are for people,
//! list objects with a person's own kubeconfig; no pod gives the agent a token.

pub mod address;
pub mod arguments;
pub mod audit;
pub mod cache;
pub mod card;
pub mod check;
mod checkpoint;
pub mod data;
pub mod delete;
pub mod digest;
pub mod drift;
pub mod evaluate;
pub mod fetch;
mod http;
pub mod install;
pub mod labels;
pub mod lineage;
pub mod objects;
mod page;
pub mod profile;
pub mod program;
pub mod progress;
pub mod proxy;
pub mod publish;
pub mod report;
pub mod run;
pub mod signature;
pub mod tree;
pub mod verify;
