//! DriftMonitor: windows of traffic, one after the other, against the baseline of the version that served then.
//!
//! ```text
//!   schedule ──> Job (windlass-agent drift) ──> record ──> k of the last m, or a fall in performance
//!                                                                        │ gates: data, circuit, what is under way,
//!                                                                        v        cooldown, budget
//!   ledger of trainings <──── outcome of its version <──────────── one TrainingJob
//! ```

mod children;
mod observed;
mod plan;
mod schedule;
mod tenures;
#[cfg(test)]
mod tests;

use jiff::SignedDuration;
use windlass_api::GoDuration;

pub use observed::{Engine, Observed};
pub use plan::figures::{Column, Columns, Figures, Newest, figures};
pub use plan::told::{CloudEvent, told};
pub use plan::{plan, refused};
pub use tenures::tenures;

fn duration(text: &GoDuration) -> SignedDuration {
    // The CRD lets no other text in; a minute is what an object from before the rule would get.
    text.value()
        .ok()
        .and_then(|duration| SignedDuration::try_from(duration).ok())
        .unwrap_or(SignedDuration::from_mins(1))
}
