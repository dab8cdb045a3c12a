//! Which versions stay, and why: one policy, told from what is observed.
//!
//! A version goes once as many newer ones of its model are there as its own `spec.retention` keeps. So nobody's manifest
//! speaks for another's version, and trainings that all say the same keep that many.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use windlass_api::agent::Verdict;
use windlass_api::{
    ArtifactPolicy, ModelDeployment, ModelVersion, ModelVersionStatus, Retention, TrainingJob,
    condition, is_true,
};

use super::{fingerprint, is_approved, is_good};
use crate::modelversion::files;
use crate::modelversion::observed::Observed;

/// Why a version stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::modelversion) enum Kept {
    /// Nobody said that it may go.
    Unbounded,
    /// Somebody put it on legal hold.
    LegalHold,
    /// It is one of the newest.
    Newest,
    /// It serves.
    Serves,
    /// It is tried beside the one that serves.
    Tried,
    /// Pods of it are kept, whatever for.
    HasPods,
    /// A ModelDeployment names its number.
    AskedFor,
    /// It served before one that serves or is tried, and is what one goes back to.
    Parent,
    /// It is the newest that is good: what `Latest` takes.
    NewestGood,
    /// It is being judged.
    Validating,
    /// It waits for a person's word.
    AwaitingApproval,
    /// One that is being judged is compared with it.
    Champion,
    /// A DriftMonitor compares traffic with its baseline.
    Reference,
    /// A TrainingJob that has not ended made it, or reads its files.
    Training,
}

impl Kept {
    /// Whether the end of it is no news for the version: it has to be looked for.
    pub(super) fn ends_untold(self) -> bool {
        match self {
            Self::HasPods | Self::Reference | Self::Training => true,
            Self::Unbounded
            | Self::LegalHold
            | Self::Newest
            | Self::Serves
            | Self::Tried
            | Self::AskedFor
            | Self::Parent
            | Self::NewestGood
            | Self::Validating
            | Self::AwaitingApproval
            | Self::Champion => false,
        }
    }

    /// The reason in words: `it serves`.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Unbounded => "it has no spec.retention",
            Self::LegalHold => "it is on legal hold",
            Self::Newest => "it is one of the newest",
            Self::Serves => "it serves",
            Self::Tried => "it is tried",
            Self::HasPods => "pods of it are kept",
            Self::AskedFor => "a ModelDeployment names it",
            Self::Parent => "it is the parent of one that serves or is tried",
            Self::NewestGood => "it is the newest that is good",
            Self::Validating => "it is being judged",
            Self::AwaitingApproval => "it waits for approval",
            Self::Champion => "one that is being judged is compared with it",
            Self::Reference => "a DriftMonitor compares traffic with it",
            Self::Training => "a TrainingJob made it or reads it, and has not ended",
        }
    }
}

/// Whether a version may have to go, told from the names of all versions of its model alone: what is around it need not
/// be looked up for one of the newest.
pub fn may_go<'a>(version: &ModelVersion, names: impl IntoIterator<Item = &'a str>) -> bool {
    let Some(retention) = &version.spec.retention else {
        return false;
    };
    let number = |name: &str| name.rsplit_once('-')?.1.parse::<i64>().ok();
    let is_newer = |name: &&str| number(name) > Some(version.spec.version);
    version.is_retiring() || names.into_iter().filter(is_newer).count() >= keep(retention)
}

/// Why a version stays that is to have this status; nothing where it goes.
pub(in crate::modelversion) fn kept(
    observed: &Observed,
    status: &ModelVersionStatus,
) -> Option<Kept> {
    let version = &*observed.version;
    let Some(retention) = &version.spec.retention else {
        return Some(Kept::Unbounded);
    };
    let name = version.name_any();
    let roles = [
        (Kept::LegalHold, version.is_held()),
        (Kept::Newest, newer(observed) < keep(retention)),
        (Kept::Serves, all(observed, stable).any(|one| one == name)),
        (Kept::Tried, all(observed, canary).any(|one| one == name)),
        (Kept::HasPods, !observed.around.children.is_empty()),
        (Kept::AskedFor, is_asked_for(observed)),
        (Kept::Parent, is_parent(observed)),
        (Kept::NewestGood, is_newest_good(observed)),
        (Kept::Validating, is_being_judged(version, status)),
        (Kept::AwaitingApproval, awaits_approval(version, status)),
        (Kept::Champion, is_champion(observed)),
        (Kept::Reference, is_reference(observed)),
        (Kept::Training, is_in_training(observed, retention)),
    ];
    roles
        .into_iter()
        .find(|(_, is_so)| *is_so)
        .map(|(kept, _)| kept)
}

/// How many a retention keeps.
fn keep(retention: &Retention) -> usize {
    // The CRD lets no number below 1 in.
    usize::try_from(retention.keep).unwrap_or(1).max(1)
}

/// How many newer versions there are that stay.
pub(super) fn newer(observed: &Observed) -> usize {
    let siblings = observed.around.siblings.iter();
    siblings
        .filter(|sibling| sibling.spec.version > observed.version.spec.version)
        .filter(|sibling| sibling.metadata.deletion_timestamp.is_none() && !sibling.is_retiring())
        .count()
}

/// Something of each ModelDeployment of the model.
fn all(
    observed: &Observed,
    of: fn(&ModelDeployment) -> Option<&str>,
) -> impl Iterator<Item = &str> {
    let deployments = observed.deployments.iter();
    deployments.filter_map(move |deployment| of(deployment))
}

fn stable(deployment: &ModelDeployment) -> Option<&str> {
    let stable = deployment.status.as_ref()?.stable.as_ref()?;
    Some(&stable.version)
}

fn canary(deployment: &ModelDeployment) -> Option<&str> {
    let canary = deployment.status.as_ref()?.canary.as_ref()?;
    Some(&canary.version)
}

fn is_asked_for(observed: &Observed) -> bool {
    let number = observed.version.spec.version;
    let mut deployments = observed.deployments.iter();
    deployments.any(|deployment| match deployment.spec.version {
        IntOrString::Int(asked) => i64::from(asked) == number,
        IntOrString::String(_) => false,
    })
}

fn is_parent(observed: &Observed) -> bool {
    let name = observed.version.name_any();
    let mut in_use = all(observed, stable).chain(all(observed, canary));
    in_use.any(|child| {
        let mut siblings = observed.around.siblings.iter();
        siblings.any(|sibling| {
            sibling.name_any() == child && sibling.spec.parent.as_ref() == Some(&name)
        })
    })
}

/// What was rolled back is not what `Latest` takes, however new it is.
fn is_newest_good(observed: &Observed) -> bool {
    let statuses = || observed.deployments.iter().flat_map(|one| &one.status);
    let would_serve = |version: &ModelVersion| {
        let mut quarantine = statuses().flat_map(|status| &status.quarantine);
        is_good(version) && quarantine.all(|entry| entry.fingerprint != fingerprint(version))
    };
    let version = &*observed.version;
    let siblings = observed.around.siblings.iter();
    let mut newer = siblings
        .filter(|sibling| sibling.spec.version > version.spec.version && !sibling.is_retiring());
    would_serve(version) && !newer.any(|sibling| would_serve(sibling))
}

/// Whether its digest or a verdict is on its way. Where only a person can help it on, nothing is.
fn is_being_judged(version: &ModelVersion, status: &ModelVersionStatus) -> bool {
    let is_unjudged = version.spec.validation.is_some() && status.validation.is_none();
    (is_unjudged || version.digest().is_none()) && !is_true(&status.conditions, condition::STALLED)
}

/// Whether all that a version lacks to serve is a person's word.
fn awaits_approval(version: &ModelVersion, status: &ModelVersionStatus) -> bool {
    let may_serve = match (&version.spec.validation, &status.validation) {
        (None, _) => true,
        (Some(_), Some(found)) => found.verdict == Verdict::Pass,
        (Some(_), None) => false,
    };
    may_serve && version.spec.review.is_none() && !is_approved(version)
}

fn is_champion(observed: &Observed) -> bool {
    let name = observed.version.name_any();
    let statuses = observed.around.siblings.iter().flat_map(|one| &one.status);
    statuses
        .filter(|status| status.validation.is_none())
        .any(|status| status.champion.as_ref() == Some(&name))
}

fn is_reference(observed: &Observed) -> bool {
    let name = observed.version.name_any();
    let monitors = observed.around.monitors.iter();
    let mut references = monitors.filter_map(|monitor| monitor.status.as_ref()?.reference.as_ref());
    references.any(|reference| *reference == name) || !observed.around.windows.is_empty()
}

fn is_in_training(observed: &Observed, retention: &Retention) -> bool {
    let spec = &observed.version.spec;
    let made = |job: &TrainingJob| {
        let by = spec.trained_by.as_ref();
        by.is_some_and(|by| job.metadata.uid.as_ref() == Some(&by.uid))
    };
    let reads = |job: &TrainingJob| {
        let mut inputs = job.spec.inputs.iter();
        inputs.any(|input| files::overlap(&input.uri.0, &spec.artifact.uri.0))
    };
    let are_deleted = retention.artifacts == ArtifactPolicy::Delete;
    let mut jobs = observed.around.training_jobs.iter();
    jobs.any(|job| made(job) || (are_deleted && reads(job)))
}
