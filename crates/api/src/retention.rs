//! How many versions of a model are kept, and what becomes of the files of one that goes.

use jiff::Timestamp;
use kube::{KubeSchema, ResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ModelVersion, labels};

/// How long a version is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Retention {
    /// How many versions of the model are kept: this one goes once so many newer ones are there and nothing needs it. What serves or is tried, its parent, the newest that is good, what is being judged or waits for approval, and what is on legal hold stays.
    #[schemars(range(min = 1, max = 1000))]
    pub keep: i32,
    /// What becomes of the files then. `Retain`: they stay. `Delete`: a Job deletes them first, with the rights of `storage`, if they are what was recorded and no other ModelVersion of the namespace has them.
    #[serde(default)]
    pub artifacts: ArtifactPolicy,
}

/// What becomes of the files of a version that goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ArtifactPolicy {
    /// They stay.
    #[default]
    Retain,
    /// A Job deletes them.
    Delete,
}

/// That a version is to go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Retiring {
    /// Since when. Nothing takes the version up any more.
    pub since: Timestamp,
    /// When it was decided for good, with the record `Retired`; before that it stays where something needs it after all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided: Option<Timestamp>,
}

impl ModelVersion {
    /// Whether it is to go: nothing may take it up any more.
    pub fn is_retiring(&self) -> bool {
        let status = self.status.as_ref();
        status.is_some_and(|status| status.retiring.is_some())
    }

    /// Whether somebody put it on legal hold: retention leaves it alone.
    pub fn is_held(&self) -> bool {
        self.labels().contains_key(labels::LEGAL_HOLD)
    }
}
