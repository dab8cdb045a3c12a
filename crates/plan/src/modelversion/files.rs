//! Which files go with a version, and the Job that deletes them.
//!
//! Absent on purpose: a look at the files. What lies at an address the agent finds out, and deletes only what has the
//! digest that was recorded.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::PodSpec;
use kube::ResourceExt;
use windlass_api::{ArtifactPolicy, ModelVersion, Stored};

use super::children::{evaluation_address, labels_of};
use super::observed::Observed;
use crate::agent_job::{Terms, agent_job};
use crate::pods::{self, Agent, flag};
use crate::storage;

/// What a Job that deletes files is for, as its label says.
pub const ROLE: &str = "retention";

/// Seconds that the deletion may take.
const MAX_SECONDS: i64 = 6 * 3600;
/// How often it is tried again where a store does not answer.
const RETRIES: i32 = 3;

/// What becomes of a version's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Files {
    /// They stay, for this reason, in words: `churn-9 has them too`; none where nobody asked for anything else.
    Stay(Option<String>),
    /// These are deleted.
    Go(Vec<Stored>),
}

/// What becomes of the files of a version that goes.
pub(super) fn files(observed: &Observed) -> Files {
    let version = &*observed.version;
    let policy = version.spec.retention.as_ref().map(|of| of.artifacts);
    if policy != Some(ArtifactPolicy::Delete) {
        return Files::Stay(None);
    }
    let artifact = &version.spec.artifact;
    let uri = &artifact.uri.0;
    if uri.starts_with("https://") || artifact.uri.image().is_some() {
        return Files::Stay(Some(format!("{uri} can only be read")));
    }
    if is_whole_store(uri) {
        return Files::Stay(Some(format!("{uri} names no folder of their own")));
    }
    let Some(digest) = version.digest() else {
        return Files::Stay(Some("they were never digested".to_owned()));
    };
    let mut all = vec![Stored {
        uri: artifact.uri.clone(),
        digest: digest.to_owned(),
    }];
    all.extend(evaluation(version));
    let shared = observed.around.neighbours.iter().find_map(|neighbour| {
        let theirs = claimed(neighbour);
        let mut mine = all.iter().map(|stored| stored.uri.0.as_str());
        let uri = mine.find(|uri| theirs.iter().any(|their| overlap(uri, their)))?;
        Some(format!("{} has {uri} too", neighbour.name_any()))
    });
    shared.map_or(Files::Go(all), |why| Files::Stay(Some(why)))
}

/// The reports of a version's validation that lie where the operator had them written.
fn evaluation(version: &ModelVersion) -> Vec<Stored> {
    let folder = evaluation_address(version);
    let found = version
        .status
        .as_ref()
        .and_then(|status| status.validation.as_ref());
    let reports = found.into_iter().flat_map(|found| {
        let both = [found.report.clone(), found.baseline.clone()];
        both.into_iter().flatten()
    });
    let is_below = |stored: &Stored| {
        let (inner, outer) = (parts(&stored.uri.0), parts(&folder.0));
        inner.len() > outer.len() && inner.starts_with(&outer)
    };
    reports.filter(is_below).collect()
}

/// The addresses of a version that are not another's to delete: its own, and those of what it was made from.
fn claimed(version: &ModelVersion) -> Vec<String> {
    let inputs = version.spec.inputs.iter().map(|input| input.uri.clone());
    let own = [
        version.spec.artifact.uri.0.clone(),
        evaluation_address(version).0,
    ];
    own.into_iter().chain(inputs).collect()
}

/// An address as its scheme, its bucket or claim, and the parts of the path.
fn parts(uri: &str) -> Vec<&str> {
    let (scheme, rest) = uri.split_once("://").unwrap_or(("", uri));
    let path = rest
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".");
    [scheme].into_iter().chain(path).collect()
}

/// Whether two addresses are the same, or one lies in the other.
pub(super) fn overlap(one: &str, other: &str) -> bool {
    let (one, other) = (parts(one), parts(other));
    one.iter().zip(&other).all(|(one, other)| one == other)
}

/// Whether an address is a whole bucket or claim.
fn is_whole_store(uri: &str) -> bool {
    parts(uri).len() < 3
}

/// Name of the Job that deletes a version's files.
pub(super) fn job_name(version: &ModelVersion) -> String {
    format!("{}-retention", version.name_any())
}

/// The Job that deletes a version's files, as the account and with the keys that the version's own storage names.
pub(super) fn deletion_job(version: &ModelVersion, files: &[Stored], agent_image: &str) -> Job {
    let mut spec = PodSpec::default();
    let agent = Agent {
        image: agent_image,
        storage: version.spec.storage.as_ref(),
    };
    let mut arguments = vec!["delete".to_owned()];
    for Stored { uri, digest } in files {
        flag(&mut arguments, "uri", uri.0.clone());
        flag(&mut arguments, "digest", digest.clone());
    }
    let mut container = pods::agent_container(&mut spec, pods::AGENT, agent, arguments);
    let written = files.iter().map(|stored| &stored.uri);
    pods::mount_claims(&mut spec, &mut container, [], written);
    storage::run_as(&mut spec, agent.storage);
    let terms = Terms {
        name: job_name(version),
        role: ROLE,
        labels: labels_of(version),
        retries: RETRIES,
        max_seconds: MAX_SECONDS,
    };
    agent_job(version, spec, container, terms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_overlap_where_one_is_or_lies_in_the_other() {
        let rows = [
            ("s3://b/m/1", "s3://b/m/1", true),
            ("s3://b/m/1", "s3://b/m/1/", true),
            ("s3://b/m/1", "s3://b/m", true),
            ("s3://b/m", "s3://b/m/1", true),
            ("s3://b", "s3://b/m/1", true),
            ("pvc://b/./m//1", "pvc://b/m/1", true),
            ("s3://b/m/1", "s3://b/m/10", false),
            ("s3://b/m/1", "s3://b/m/1-evaluation", false),
            ("s3://b/m/1", "s3://other/m/1", false),
            ("s3://b/m/1", "pvc://b/m/1", false),
        ];
        for (one, other, expected) in rows {
            assert_eq!(overlap(one, other), expected, "{one} and {other}");
            assert_eq!(overlap(other, one), expected, "{other} and {one}");
        }
    }

    #[test]
    fn a_bucket_and_a_claim_are_no_folder() {
        for whole in ["s3://b", "s3://b/", "pvc://claim", "pvc://claim/./"] {
            assert!(is_whole_store(whole), "{whole}");
        }
        for part in ["s3://b/m", "pvc://claim/m/"] {
            assert!(!is_whole_store(part), "{part}");
        }
    }
}
