//! DriftMonitor: windows of traffic, one after the other, against the baseline of the version that serves.
//!
//! ```text
//!   every ──> Job (windlass-agent drift) ──> verdict ──> k of the last m Drifted ──> one TrainingJob, then cooldown
//! ```

mod children;
mod observed;
mod plan;
#[cfg(test)]
mod tests;

pub use observed::Observed;
pub use plan::{plan, refused};
