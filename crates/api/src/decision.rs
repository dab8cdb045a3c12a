//! Who decided what about a version, on what evidence: a chain of records, each with the digest of the one before.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// How many records a status holds; older ones are in the operator's audit log.
pub const KEPT_DECISIONS: usize = 100;

/// Who has to say that a version may serve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Approval {
    /// Nobody: its validation does.
    #[default]
    Automatic,
    /// A person who holds the verb `approve` on it, in `spec.review`.
    Manual,
    /// Such a person who is not the author of the training.
    FourEyes,
}

/// What a person says of a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Review {
    /// `Approved` or `Denied`.
    pub decision: ReviewDecision,
    /// Who says so: the name of the user who writes it, as `kubectl auth whoami` tells it.
    #[schemars(length(min = 1, max = 253))]
    pub by: String,
    /// Why.
    #[schemars(length(min = 1, max = 1024))]
    pub reason: String,
}

/// What is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ReviewDecision {
    /// It may serve, if its validation allows it.
    Approved,
    /// It may not.
    Denied,
}

/// What happened to a version.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Action {
    /// Its record was made.
    Created,
    /// Its validation came to a verdict.
    Validated,
    /// A person approved it.
    Approved,
    /// A person denied it.
    Denied,
    /// It is tried beside the one that serves.
    CanaryStarted,
    /// It is no longer tried, since another version was asked for.
    CanaryStopped,
    /// All traffic goes to it.
    Promoted,
    /// It was taken back.
    RolledBack,
    /// Neither it nor another version of its fingerprint is tried again.
    Quarantined,
    /// In a ModelDeployment: another version serves in its place. Without one: its retention takes it away, and this is its
    /// last record.
    Retired,
}

/// One record of the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Decision {
    /// Its number, from 1.
    pub sequence: i64,
    /// What happened.
    pub action: Action,
    /// When.
    pub time: Timestamp,
    /// Who: the name of a user, or `windlass`.
    #[schemars(length(max = 253))]
    pub actor: String,
    /// The ModelDeployment that it happened in, where it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub deployment: Option<String>,
    /// Why.
    #[schemars(length(max = 1024))]
    pub reason: String,
    /// Digest of what it rests on: of the validation's report, or of what the analysis of a roll-out saw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71))]
    pub evidence: Option<String>,
    /// Digest of the record before; absent from the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71))]
    pub previous: Option<String>,
    /// `sha256:<hex>` over the JSON of the version's namespace, name and uid and of all of the above, without spaces, its keys in order.
    #[schemars(length(max = 71))]
    pub digest: String,
}

/// What happened to a version in a ModelDeployment; it becomes a record of the version's chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RolloutEvent {
    /// Name of the ModelVersion.
    #[schemars(length(max = 63))]
    pub version: String,
    /// What happened.
    pub action: Action,
    /// When.
    pub time: Timestamp,
    /// Why.
    #[schemars(length(max = 1024))]
    pub reason: String,
    /// Digest of what the analysis saw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71))]
    pub evidence: Option<String>,
}

impl AuditLine {
    /// What [`Decision::digest`] has to be.
    pub fn digest(&self) -> String {
        let mut content = serde_json::to_value(self).expect("our own types always serialize");
        if let Some(decision) = content["decision"].as_object_mut() {
            decision.remove("digest");
        }
        let mut text = String::new();
        write_in_order(&content, &mut text);
        let hash = Sha256::digest(text.as_bytes());
        let hex = |mut text: String, byte: &u8| {
            let _ = write!(text, "{byte:02x}");
            text
        };
        hash.iter().fold("sha256:".to_owned(), hex)
    }
}

/// JSON without spaces, the keys of each object in order, in whatever order a value's map has them.
fn write_in_order(value: &Value, text: &mut String) {
    match value {
        Value::Object(fields) => {
            let sorted: BTreeMap<_, _> = fields.iter().collect();
            text.push('{');
            for (at, (key, value)) in sorted.into_iter().enumerate() {
                text.push_str(if at > 0 { "," } else { "" });
                let _ = write!(text, "{}:", Value::from(key.as_str()));
                write_in_order(value, text);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (at, item) in items.iter().enumerate() {
                text.push_str(if at > 0 { "," } else { "" });
                write_in_order(item, text);
            }
            text.push(']');
        }
        other => {
            let _ = write!(text, "{other}");
        }
    }
}

/// A line of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditLine {
    /// The version's namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// What was decided.
    pub decision: Decision,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> AuditLine {
        AuditLine {
            namespace: "growth".to_owned(),
            name: "churn-7".to_owned(),
            uid: "11111111-2222-3333-4444-555555555555".to_owned(),
            decision: Decision {
                sequence: 1,
                action: Action::Created,
                time: Timestamp::UNIX_EPOCH,
                actor: "ann".to_owned(),
                deployment: None,
                reason: "it was \"registered\"".to_owned(),
                evidence: None,
                previous: None,
                digest: String::new(),
            },
        }
    }

    /// `printf '{"decision":{"action":"Created",…},"name":…}' | sha256sum` gives the same.
    #[test]
    fn a_digest_is_over_json_that_anybody_can_write() {
        let mut text = String::new();
        let mut content = serde_json::to_value(line()).expect("JSON");
        content["decision"]
            .as_object_mut()
            .expect("fields")
            .remove("digest");
        write_in_order(&content, &mut text);
        assert_eq!(
            text,
            r#"{"decision":{"action":"Created","actor":"ann","reason":"it was \"registered\"","sequence":1,"time":"1970-01-01T00:00:00Z"},"name":"churn-7","namespace":"growth","uid":"11111111-2222-3333-4444-555555555555"}"#
        );
    }

    #[test]
    fn every_field_is_in_the_digest_but_the_digest() {
        let digest = line().digest();
        let changes: [fn(&mut AuditLine); 10] = [
            |line| line.namespace.push('a'),
            |line| line.name.push('a'),
            |line| line.uid.push('a'),
            |line| line.decision.sequence = 2,
            |line| line.decision.action = Action::Approved,
            |line| line.decision.time = Timestamp::MAX,
            |line| line.decision.actor.push('a'),
            |line| line.decision.deployment = Some("a".to_owned()),
            |line| line.decision.evidence = Some("a".to_owned()),
            |line| line.decision.previous = Some("a".to_owned()),
        ];
        for change in changes {
            let mut other = line();
            change(&mut other);
            assert_ne!(other.digest(), digest, "{other:?}");
        }
        let mut same = line();
        same.decision.digest = "a".to_owned();
        assert_eq!(same.digest(), digest);
    }
}
