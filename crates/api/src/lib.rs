//! The four kinds of `windlass.dev/v1alpha1`, and what the operator and its agent say to each other.
//!
//! ```text
//!   TrainingJob ──makes──> ModelVersion <──serves── ModelDeployment <──watches── DriftMonitor
//!        ^                                                                           │
//!        └───────────────────────────────makes──────────────────────────────────────┘
//! ```
//!
//! Types, defaults, CEL rules and printer columns. Absent on purpose: any client, any clock, any decision.

pub mod agent;
mod checks;
mod crd;
mod decision;
mod driftmonitor;
mod labelled;
mod modeldeployment;
mod modelversion;
mod quantities;
mod retention;
mod serving;
mod shared;
mod tracking;
mod trainingjob;

pub use checks::*;
pub use crd::{all as all_crds, to_yaml as crd_to_yaml};
pub use decision::*;
pub use driftmonitor::*;
pub use labelled::*;
pub use modeldeployment::*;
pub use modelversion::*;
pub use quantities::{Address, Decimal, GoDuration, Image, InvalidValue};
pub use retention::*;
pub use serving::*;
pub use shared::*;
pub use tracking::*;
pub use trainingjob::*;

/// The API group.
pub const GROUP: &str = "windlass.dev";
/// The version of the API.
pub const VERSION: &str = "v1alpha1";

/// Annotation of a TrainingJob: why it was asked for. It goes into the record of the model. A DriftMonitor writes it, and so
/// may whatever makes TrainingJobs on a schedule.
pub const CAUSE: &str = "windlass.dev/cause";

/// Annotations of a TrainingJob that a DriftMonitor asked for.
pub mod asked {
    /// Why: `Drift` or `PerformanceFallen`.
    pub const VERDICT: &str = "windlass.dev/drift-verdict";
    /// The version that was found drifted.
    pub const VERSION: &str = "windlass.dev/drifted-version";
    /// Digest of the full results of the newest window that asked for it, where they were written.
    pub const DIGEST: &str = "windlass.dev/drift-digest";
}

/// Annotation of a DriftMonitor, by which a person closes its circuit: the name of the TrainingJob that came to nothing last,
/// as `status.circuit` has it. Takes the verb `retrain`; [`annotations::BY`] says who.
pub const CLOSE_CIRCUIT: &str = "windlass.dev/close-circuit";

/// Annotations of a ModelDeployment, by which a person decides on its roll-out. Who writes one has to say who he is.
pub mod annotations {
    /// A step that waits for a person may pass: the version and the number of the step, from 1, such as `churn-3/2`. Takes the verb `promote`.
    pub const PROMOTE: &str = "windlass.dev/promote";
    /// A version that is in quarantine may be tried again: the version, which `spec.version` has to name by its number, and how often it was taken back so far, such as `churn-3/1`. Takes the verb `promote`.
    pub const FORCE: &str = "windlass.dev/force";
    /// A version that is tried is to be taken back: its name.
    pub const ABORT: &str = "windlass.dev/abort";
    /// Who wrote one of the others: the user's name, as the API server knows it.
    pub const BY: &str = "windlass.dev/by";
}

/// Labels on every child, by which people and the operator find them.
pub mod labels {
    /// The model's name.
    pub const MODEL: &str = "windlass.dev/model";
    /// The ModelVersion's name.
    pub const VERSION: &str = "windlass.dev/version";
    /// The TrainingJob's name.
    pub const TRAINING_JOB: &str = "windlass.dev/training-job";
    /// The ModelDeployment's name.
    pub const DEPLOYMENT: &str = "windlass.dev/deployment";
    /// The DriftMonitor's name.
    pub const MONITOR: &str = "windlass.dev/monitor";
    /// On a ModelVersion: the version that served when it was made.
    pub const PARENT: &str = "windlass.dev/parent";
    /// The attempt of a TrainingJob's gang.
    pub const ATTEMPT: &str = "windlass.dev/attempt";
    /// On the Job of an attempt: by which it is told whether the template of its workers is still the TrainingJob's.
    pub const TEMPLATE: &str = "windlass.dev/template";
    /// The step of a TrainingJob.
    pub const STEP: &str = "windlass.dev/step";
    /// What a pod is for: `training`, `validation`, `serving`, `drift`, `labels`, `retention`, `publication`.
    pub const ROLE: &str = "windlass.dev/role";
    /// On a ModelVersion, by a person: it is on legal hold, for this reason; retention leaves it alone.
    pub const LEGAL_HOLD: &str = "windlass.dev/legal-hold";
    /// On a namespace, by an administrator: the shard of the operator that works in it.
    pub const SHARD: &str = "windlass.dev/shard";
    /// Who made an object; always `windlass`.
    pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
    /// The standard name label.
    pub const NAME: &str = "app.kubernetes.io/name";
    /// The standard instance label.
    pub const INSTANCE: &str = "app.kubernetes.io/instance";
}
