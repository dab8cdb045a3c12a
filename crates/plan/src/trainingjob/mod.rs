//! TrainingJob: a gang of workers that is started whole, fails whole and is repeated whole.
//!
//! ```text
//!   (made) ─> steps ─> attempt 1 ─fails─> attempt 2 … ─ends well─> ModelVersion ─> Complete
//!                          │ suspend: pods go, resume: next attempt      └─ more failures than backoffLimit, or one that
//!                          └──────────────────────────────────────────────  a repetition cannot mend ─> Failed
//! ```

mod children;
pub mod gang;
mod input_cache;
mod observed;
mod plan;
#[cfg(test)]
mod tests;
mod utilization;

pub use gang::{KueueWorkload, QueueWord, Schedulers, VolcanoPodGroup};
pub use input_cache::InputCache;
pub use observed::{Observed, RoomAge, Rooms};
pub use plan::{plan, reads_others, refused};
pub use utilization::{GpuUse, Threshold, Utilization};
