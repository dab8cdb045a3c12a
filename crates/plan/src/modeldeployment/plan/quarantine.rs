//! What was rolled back is not tried again, under whatever number it comes.

use kube::ResourceExt;
use windlass_api::{
    Action, ModelDeploymentStatus, ModelVersion, Quarantined, RolloutOutcome, RolloutRecord,
};

use super::{Reconcile, short};
use crate::modeldeployment::children;
use crate::modelversion::fingerprint;
use crate::{Child, Note, Plan, Step};

/// Records of quarantine that are kept.
const KEPT_QUARANTINE: usize = 50;

impl Reconcile<'_> {
    pub(super) fn is_quarantined(&self, version: &ModelVersion) -> bool {
        // What serves is good, whatever else has its fingerprint.
        !self.is_stable(version) && self.was_taken_back(version)
    }

    /// Whether a version is the one that serves.
    pub(super) fn is_stable(&self, version: &ModelVersion) -> bool {
        let stable = self.before.stable.as_ref();
        stable.is_some_and(|stable| stable.version == version.name_any())
    }

    /// Whether it, or another version of its fingerprint, was taken back before.
    pub(super) fn was_taken_back(&self, version: &ModelVersion) -> bool {
        self.before
            .quarantine
            .iter()
            .any(|entry| entry.fingerprint == fingerprint(version))
    }

    /// Writes down that the canary is taken back, and why. The next look takes its pods away, once it is written: whoever
    /// dies in between would find it half gone, and make it anew.
    pub(super) fn roll_back(
        &self,
        stable: &ModelVersion,
        target: &ModelVersion,
        why: &str,
        plan: &mut Plan<ModelDeploymentStatus>,
    ) {
        let name = target.name_any();
        // The steps so far would make more of it.
        let doomed = children::deployment_name(self.deployment, target);
        plan.steps.retain(|step| !matches!(step, Step::Apply(Child::Deployment(child)) if child.name_any() == doomed));
        self.condemn(target, why, plan);
        plan.status.canary = None;
        plan.notes.push(Note::warning(
            "RolledBack",
            format!(
                "{name} was rolled back, {} serves on: {why}",
                stable.name_any()
            ),
        ));
    }

    /// Writes down that a version was taken back, why, and that it is not to be tried again.
    pub(super) fn condemn(
        &self,
        version: &ModelVersion,
        why: &str,
        plan: &mut Plan<ModelDeploymentStatus>,
    ) {
        let (name, fingerprint) = (version.name_any(), fingerprint(version).to_owned());
        self.note_event(plan, &name, Action::RolledBack, why);
        let also = format!("its fingerprint, {fingerprint}, is not tried again");
        self.note_event(plan, &name, Action::Quarantined, &also);
        let all = &mut plan.status.quarantine;
        all.push(Quarantined {
            version: name.clone(),
            fingerprint,
            reason: short(why),
            time: self.now,
        });
        all.drain(..all.len().saturating_sub(KEPT_QUARANTINE));
        plan.status.last_rollout = Some(RolloutRecord {
            version: name,
            outcome: RolloutOutcome::RolledBack,
            message: short(why),
            time: self.now,
        });
    }
}
