//! `windlass-agent`: what runs beside a user's trainer and model server, and on a laptop.
//!
//! ```text
//!   main ──> install, run, cache, fetch, verify, proxy, evaluate, profile, drift, check     (a subcommand each)
//!                 │      │      │      │               │          │        │      │
//!                 v      v      v      v               v          v        v      v
//!              address, tree, signature, report     data, windlass-statistics
//! ```
//!
//! Each command takes all it needs from its arguments and its environment and ends with a
//! [`Report`](windlass_api::agent::Report) in the container's termination message.
//!
//! Absent on purpose: the Kubernetes API. The agent holds no token and asks no API server.

pub mod address;
pub mod arguments;
pub mod audit;
pub mod cache;
pub mod check;
mod checkpoint;
pub mod data;
pub mod drift;
pub mod evaluate;
pub mod fetch;
mod http;
pub mod install;
pub mod profile;
pub mod proxy;
pub mod report;
pub mod run;
pub mod signature;
pub mod tree;
pub mod verify;
