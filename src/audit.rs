//! The audit log: every decision on a version, a JSON line each on standard output, among the operator's other lines.
//!
//! A line is written once the decision is in the version's status. A process may end between the two, so that who leads
//! writes the lines of the last minutes again, the same to the letter: `windlass-agent audit verify` passes over those.

use std::io::Write as _;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use tracing::error;
use windlass_api::{AuditLine, Decision, ModelVersion};

use crate::runtime::Context;
use crate::runtime::kept::Form as _;

/// How long ago a decision was made whose line may be missing: longer than it takes until another replica leads, or
/// until this one is started again after several crashes.
const MAY_BE_MISSING: SignedDuration = SignedDuration::from_mins(15);

/// Writes a decision's line.
pub fn log(version: &ModelVersion, decision: &Decision) {
    let line = AuditLine {
        namespace: version.namespace().unwrap_or_default(),
        name: version.name_any(),
        uid: version.uid().unwrap_or_default(),
        decision: decision.clone(),
    };
    // Not by way of the log, which a filter makes shorter.
    let text = serde_json::json!({"audit": line});
    if let Err(problem) = writeln!(std::io::stdout().lock(), "{text}") {
        error!(%problem, "the audit line {text} could not be written to standard output");
    }
}

/// Writes the lines anew that may be missing, at the beginning of a term.
pub fn log_recent(context: &Context, now: Timestamp) {
    for kept in context.stores.model_versions.store.state() {
        log_recent_of(&kept.object(), now);
    }
}

/// Writes those of a version anew that may be missing.
pub fn log_recent_of(version: &ModelVersion, now: Timestamp) {
    let decisions = version.status.iter().flat_map(|status| &status.decisions);
    // Of one that goes it is the last chance.
    let is_new = |decision: &&Decision| {
        version.is_retiring() || now.duration_since(decision.time) < MAY_BE_MISSING
    };
    for decision in decisions.skip_while(|decision| !is_new(decision)) {
        log(version, decision);
    }
}
