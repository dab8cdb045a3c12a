//! Which version is asked for: the one of a number, or the newest that is good.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use windlass_api::ModelVersion;
use windlass_api::agent::Verdict;

use super::Reconcile;
use crate::Problem;
use crate::modelversion::{is_approved, is_good, verdict};

impl<'a> Reconcile<'a> {
    /// The version that is asked for.
    pub(super) fn target(&self) -> Result<&'a ModelVersion, Problem> {
        match &self.deployment.spec.version {
            IntOrString::Int(number) => self.numbered(*number),
            IntOrString::String(_) => self.latest(),
        }
    }

    /// The version of this number, unless it is known to be bad.
    fn numbered(&self, number: i32) -> Result<&'a ModelVersion, Problem> {
        let name = format!("{}-{number}", self.deployment.spec.model);
        let version = self.version(&name).ok_or_else(|| {
            Problem::new(
                "VersionNotFound",
                format!(
                    "spec.version: there is no ModelVersion {name:?}; register it, or name another"
                ),
            )
        })?;
        if version.is_retiring() {
            return Err(Problem::new(
                "VersionRetiring",
                format!(
                    "spec.version: {name} is being taken away, as its spec.retention says; if it can still stay, it does so by itself now that it is named"
                ),
            ));
        }
        if version.digest().is_none() {
            return Err(Problem::new(
                "VersionNotRegistered",
                format!(
                    "spec.version: the files of {name} are not digested yet; its conditions say how that stands"
                ),
            ));
        }
        let verdict = verdict(version);
        if verdict == Some(Verdict::Fail) {
            return Err(Problem::new(
                "VersionRejected",
                format!("spec.version: the validation of {name} failed; name another version"),
            ));
        }
        // What serves already has been found good before.
        if version.spec.validation.is_some() && verdict.is_none() && !self.is_stable(version) {
            return Err(Problem::new(
                "VersionNotValidated",
                format!(
                    "spec.version: the validation of {name} has come to no verdict yet; its conditions say how that stands"
                ),
            ));
        }
        if !is_approved(version) {
            let (reason, what) = match &version.spec.review {
                Some(review) => (
                    "VersionDenied",
                    format!("{} denied {name}: {}", review.by, review.reason),
                ),
                None => (
                    "AwaitingApproval",
                    format!("{name} is not approved yet, see its spec.review"),
                ),
            };
            return Err(Problem::new(reason, format!("spec.version: {what}")));
        }
        if self.is_quarantined(version) && !self.is_forced(version) {
            return Err(Problem::new(
                "VersionQuarantined",
                format!(
                    "spec.version: {name} was rolled back before (status.quarantine says why); name another version, or, to try it all the same: {}",
                    self.how_to_force(version)
                ),
            ));
        }
        Ok(version)
    }

    /// The newest version that passed its validation and was not rolled back before.
    fn latest(&self) -> Result<&'a ModelVersion, Problem> {
        let newest = self
            .observed
            .versions
            .iter()
            .map(AsRef::as_ref)
            .filter(|version| is_good(version) && !version.is_retiring())
            .filter(|version| !self.is_quarantined(version))
            .max_by_key(|version| version.spec.version);
        newest.ok_or_else(|| {
            let unjudged = self
                .observed
                .versions
                .iter()
                .filter(|version| !is_good(version))
                .filter(|version| version.spec.validation.is_none() || awaits_approval(version))
                .max_by_key(|version| version.spec.version)
                .map(|version| {
                    if awaits_approval(version) {
                        return format!("; {} waits for somebody's approval in its spec.review", version.name_any());
                    }
                    format!(
                        "; {} was registered without spec.validation and is not served as Latest: name its number in spec.version, or give its TrainingJob a spec.validation",
                        version.name_any()
                    )
                });
            Problem::new(
                "NoVersion",
                format!(
                    "waiting until a version of the model {:?} passes its validation{}",
                    self.deployment.spec.model,
                    unjudged.unwrap_or_default()
                ),
            )
        })
    }
}

/// Whether all that a version lacks is a person's word.
fn awaits_approval(version: &ModelVersion) -> bool {
    verdict(version) == Some(Verdict::Pass)
        && version.spec.review.is_none()
        && !is_approved(version)
}
