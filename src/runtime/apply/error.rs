//! Why a plan did not become so, and whether a person has to mend it.

use kube::core::Status;
use windlass_plan::Problem;

use super::{CATCH_UP, WRITE};

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

    /// Whether nothing went wrong: something else has to be seen or to go first.
    pub fn is_waiting(&self) -> bool {
        matches!(self, Self::Leaving { .. } | Self::Outdated { .. })
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
            | Self::Deposed
            | Self::Behind { .. } => None,
        }
    }
}

/// Whether the same request would be refused again: it is not valid, or a policy or a quota does not allow it.
fn is_refusal(status: &Status) -> bool {
    status.is_invalid() || status.is_forbidden() || status.code == 400
}
