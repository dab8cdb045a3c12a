//! ModelDeployment: a new version takes traffic step by step, on evidence.
//!
//! ```text
//!   (nothing serves) ─> first version ─> stable ──newer good version──> canary: step 1 ─> step 2 … ─> all ─> stable
//!                                          ^                                │ harm, or never ready
//!                                          └──────── rolled back <──────────┘ (and into quarantine)
//! ```
//!
//! Never less capacity than asked: the stable version keeps all its replicas until the new one has its own, unless the spec
//! says otherwise (`strategy: Recreate`, `surge: Auto`).

mod analysis;
mod autoscaling;
mod children;
mod comparison;
mod evidence;
mod gateway;
mod labelled;
mod levels;
mod observed;
mod pace;
mod plan;
mod readings;
mod stages;
#[cfg(test)]
mod tests;
mod traffic;

pub use autoscaling::{
    Autoscalers, CUSTOM_METRICS_GROUP, KEDA_GROUP, KEDA_VERSION, ScaledObject,
    trim as trim_autoscaler,
};
pub use evidence::{Evidence, bake, sides};
pub use gateway::{GROUP as GATEWAY_GROUP, Gateway, HttpRoute, VERSION as GATEWAY_VERSION};
pub use labelled::ROLE as LABELS_ROLE;
pub use observed::Observed;
pub use plan::{plan, refused};
pub use readings::{Answer, KEPT as KEPT_READINGS, Query, Reading, Readings, queries};
pub use traffic::Traffic;
