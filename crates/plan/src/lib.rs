//! The head of the operator: every decision, as a pure function.
//!
//! ```text
//!   Observed (what is known, resolved) ── plan(&Observed, now) ──> Plan (steps, status, notes, when to look again)
//! ```
//!
//! Absent on purpose, and kept so by the list of dependencies: a client, a clock, randomness, `async`,
//! the environment. Time and ids are arguments. The same input gives the same bytes.

mod agent_job;
pub mod compare;
pub mod conditions;
pub mod digest;
pub mod driftmonitor;
#[cfg(test)]
mod fixtures;
pub mod gpus;
pub mod jobs;
#[cfg(test)]
mod model;
pub mod modeldeployment;
pub mod modelversion;
pub mod outcome;
pub mod pods;
pub mod presets;
pub mod publication;
pub mod quantity;
pub mod reports;
pub mod room;
pub mod storage;
pub mod template;
pub mod trainingjob;
pub mod trust;
mod work;

pub use outcome::{Child, Doomed, Note, Plan, Problem, Severity, Step, Unchanged};
