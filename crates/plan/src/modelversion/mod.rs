//! ModelVersion: the record, and its validation in the runtime that will serve it.
//!
//! ```text
//!   (made) ─ no validation asked for ─> Registered
//!      └──── a Job: fetch model(s) ─> model server(s) as sidecars <─ windlass-agent evaluate ─> verdict
//! ```
//!
//! A Job that could not come to a verdict stays, for its logs; when a person deletes it, validation starts again.

mod children;
mod observed;
mod plan;
#[cfg(test)]
mod tests;

pub use observed::Observed;
pub use plan::{is_good, plan, refused};
