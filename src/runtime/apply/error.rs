//! Why a plan did not become so, and whether a person has to mend it.

use std::time::Duration;

use kube::core::Status;
use windlass_plan::Problem;

use super::{CATCH_UP, WRITE};
use crate::runtime::pauses::Fault;

/// Why a plan did not become so.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The API server said no, or did not answer as it should.
    #[error("{verb} {kind} {namespace}/{name}: {source}")]
    Write {
        /// What was tried.
        verb: &'static str,
        /// Kind of the object.
        kind: String,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// What was answered.
        source: Box<kube::Error>,
    },
    /// The API server did not answer in time.
    #[error("{verb} {kind} {namespace}/{name}: no answer within {WRITE:?}")]
    Timeout {
        /// What was tried.
        verb: &'static str,
        /// Kind of the object.
        kind: String,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// An object has the name that we need.
    #[error(
        "{kind} {namespace}/{name} is there already and belongs to somebody else; delete or rename it"
    )]
    Taken {
        /// Kind of the object.
        kind: String,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// The object of this name is on its way out.
    #[error("waiting until the old {kind} {namespace}/{name} is gone")]
    Leaving {
        /// Kind of the object.
        kind: String,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// The object is no longer the one that was planned on: what it is now, a watch brings.
    #[error("{kind} {namespace}/{name} changed while it was planned; it is looked at anew")]
    Outdated {
        /// Kind of the object.
        kind: String,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// The Lease has not been renewed for so long that another replica may lead.
    #[error(
        "nothing is written: the Lease has not been renewed in time, and another replica may lead"
    )]
    Deposed,
    /// The API server asked to be left alone for a while.
    #[error(
        "{verb} {kind} {namespace}/{name}: not sent, since the API server asked to be left alone for {after:.1?}"
    )]
    Spared {
        /// What was to be done.
        verb: &'static str,
        /// Kind of the object.
        kind: String,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// For how long still.
        after: Duration,
    },
    /// The cache does not show what was written.
    #[error(
        "the cache does not show {kind} {namespace}/{name} as it was written, after {CATCH_UP:?}"
    )]
    Behind {
        /// Kind of the object.
        kind: String,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

impl ApplyError {
    /// Whether something else has the name, or the fields.
    pub(super) fn is_conflict(&self) -> bool {
        matches!(self, Self::Write { source, .. }
            if matches!(&**source, kube::Error::Api(status) if status.is_conflict() || status.is_already_exists()))
    }

    /// Whether another owns the fields that were to be applied. That an object was changed at the same moment, or a quota, is a
    /// conflict too, and passes.
    pub(super) fn is_of_fields(&self) -> bool {
        matches!(self, Self::Write { source, .. }
            if matches!(&**source, kube::Error::Api(status) if status.is_conflict() && is_of_fields(status)))
    }

    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Timeout { .. }
            | Self::Spared { .. }
            | Self::Deposed
            | Self::Behind { .. }
            | Self::Outdated { .. } => Fault::Server,
            Self::Write { source, .. } => match &**source {
                kube::Error::Api(status) if status.code < 500 && status.code != 429 => Fault::Other,
                // It answered that it cannot, or nothing that could be understood.
                _ => Fault::Server,
            },
            Self::Taken { .. } | Self::Leaving { .. } => Fault::Other,
        }
    }

    /// Whether nothing went wrong: something else has to be seen or to go first.
    pub fn is_waiting(&self) -> bool {
        matches!(
            self,
            Self::Leaving { .. } | Self::Outdated { .. } | Self::Spared { .. }
        )
    }

    /// What a person has to mend, where that is why; absent for what passes by itself.
    pub fn problem(&self) -> Option<Problem> {
        match self {
            Self::Taken { .. } => Some(Problem::new("NameTaken", self.to_string())),
            Self::Write {
                kind,
                namespace,
                name,
                source,
                ..
            } => match &**source {
                kube::Error::Api(status) if is_refusal(status) => Some(Problem::new(
                    "Refused",
                    format!(
                        "the API server refuses {kind} {namespace}/{name}: {}; correct what it names here, or ask who set the rule",
                        status.message
                    ),
                )),
                _ => None,
            },
            Self::Timeout { .. }
            | Self::Leaving { .. }
            | Self::Outdated { .. }
            | Self::Spared { .. }
            | Self::Deposed
            | Self::Behind { .. } => None,
        }
    }
}

/// Whether the same request would be refused again: it is not valid, or a policy or a quota does not allow it.
fn is_refusal(status: &Status) -> bool {
    status.is_invalid() || status.is_forbidden() || status.code == 400
}

/// Whether what is in the way is who owns a field, as the API server says of an object that is applied.
fn is_of_fields(status: &Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes
        .into_iter()
        .any(|cause| cause.reason == "FieldManagerConflict")
}

#[cfg(test)]
mod tests {
    use kube::core::response::{StatusCause, StatusDetails};

    use super::*;

    fn refused(code: u16, cause: &str) -> ApplyError {
        let cause = StatusCause {
            reason: cause.to_owned(),
            message: String::new(),
            field: String::new(),
        };
        let details = StatusDetails {
            name: String::new(),
            group: String::new(),
            kind: String::new(),
            uid: String::new(),
            causes: vec![cause],
            retry_after_seconds: 0,
        };
        let reason = if code == 409 { "Conflict" } else { "Other" };
        let status = Status::failure("no", reason)
            .with_code(code)
            .with_details(details);
        ApplyError::Write {
            verb: "apply",
            kind: "Job".to_owned(),
            namespace: "growth".to_owned(),
            name: "churn-1".to_owned(),
            source: Box::new(kube::Error::Api(Box::new(status))),
        }
    }

    #[test]
    fn a_name_is_taken_where_another_owns_fields_and_not_by_any_conflict() {
        assert!(refused(409, "FieldManagerConflict").is_of_fields());
        assert!(!refused(409, "").is_of_fields());
        assert!(!refused(422, "FieldManagerConflict").is_of_fields());
    }

    #[test]
    fn what_the_server_is_at_fault_for_is_told_from_what_the_object_is() {
        let rows = [
            (400, Fault::Other),
            (403, Fault::Other),
            (409, Fault::Other),
            (422, Fault::Other),
            (429, Fault::Server),
            (500, Fault::Server),
            (503, Fault::Server),
        ];
        for (code, expected) in rows {
            assert_eq!(refused(code, "").fault(), expected, "{code}");
        }
    }
}
