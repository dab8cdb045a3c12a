//! ModelDeployment: a new version takes traffic step by step, on evidence, by share of replicas.
//!
//! ```text
//!   (nothing serves) ─> first version ─> stable ──newer good version──> canary: step 1 ─> step 2 … ─> all ─> stable
//!                                          ^                                │ harm, or never ready
//!                                          └──────── rolled back <──────────┘ (and into quarantine)
//! ```
//!
//! Never less capacity than asked: the stable version keeps all its replicas until the new one has its own.

mod analysis;
mod children;
mod observed;
mod plan;
#[cfg(test)]
mod tests;

pub use analysis::{Errors, Traffic, allowed_errors};
pub use observed::Observed;
pub use plan::{plan, refused};
