//! ModelVersion: the record, and its validation in the runtime that will serve it.
//!
//! ```text
//!   (made) ─ no digest named ─> a Job: windlass-agent digest ─> status.artifact
//!      ├──── no validation asked for ─> Registered
//!      └──── a Job: fetch model(s) ─> model server(s) as sidecars <─ windlass-agent evaluate ─> verdict
//! ```
//!
//! Where a person's word is asked for, a version that was found good waits for it (`spec.review`). Whatever happens to a
//! version, here or in a roll-out, becomes a record of a chain in its status.
//!
//! Where `spec.retention` is given, a version goes once enough newer ones are there and nothing needs it: see
//! `plan/retention.rs` for what does, and `plan/retirement.rs` for how.
//!
//! Where `spec.tracking` is given, a Job shows the version elsewhere, each time that something of it is other than what is
//! shown: see `plan/publication.rs`. Nothing waits for it.
//!
//! A Job that could not come to a verdict stays, for its logs; when a person deletes it, validation starts again.

mod children;
mod decisions;
mod files;
mod observed;
mod plan;
mod registration;
#[cfg(test)]
mod tests;

pub use crate::publication::ROLE as PUBLICATION_ROLE;
pub use decisions::is_approved;
pub use files::ROLE as RETENTION_ROLE;
pub use observed::{Around, Observed};
pub use plan::retention::may_go;
pub use plan::{fingerprint, is_good, plan, refused, verdict};
pub use registration::ROLE as REGISTRATION_ROLE;
