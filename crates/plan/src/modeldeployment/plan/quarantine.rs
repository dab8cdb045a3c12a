//! What was rolled back is not tried again, under whatever number it comes.

use kube::ResourceExt;
use windlass_api::{
    Action, CanaryStatus, ModelDeploymentStatus, ModelVersion, Quarantined, RolloutOutcome,
    RolloutRecord, SeenThen,
};

use super::{Reconcile, seen, short};
use crate::modeldeployment::children;
use crate::modelversion::fingerprint;
use crate::{Child, Note, Plan, Step, digest};

/// Versions in quarantine that are known: what is forgotten may be tried again.
const KEPT_QUARANTINE: usize = 500;
/// Of these, the newest, whose reasons are kept whole.
const KEPT_REASONS: usize = 50;
/// Bytes of the others' reasons.
const SHORT_REASON: usize = 100;

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
        stable: &str,
        target: &ModelVersion,
        canary: CanaryStatus,
        why: &str,
        plan: &mut Plan<ModelDeploymentStatus>,
    ) {
        let name = target.name_any();
        // The steps so far would make more of it.
        let doomed = children::deployment_name(self.deployment, target);
        plan.steps.retain(|step| !matches!(step, Step::Apply(Child::Deployment(child)) if child.name_any() == doomed));
        self.condemn(target, why, seen(&self.with_evidence(canary)), plan);
        plan.status.canary = None;
        plan.notes.push(Note::warning(
            "RolledBack",
            format!("{name} was rolled back, {stable} serves on: {why}"),
        ));
    }

    /// Writes down that a version was taken back, why, on what was seen, and that it is not to be tried again.
    pub(super) fn condemn(
        &self,
        version: &ModelVersion,
        why: &str,
        seen: SeenThen,
        plan: &mut Plan<ModelDeploymentStatus>,
    ) {
        let (name, fingerprint) = (version.name_any(), fingerprint(version).to_owned());
        let evidence = Some(digest::of(&seen));
        self.note_decision(plan, &name, Action::RolledBack, why, evidence.clone());
        let also = format!("its fingerprint, {fingerprint}, is not tried again");
        self.note_decision(plan, &name, Action::Quarantined, &also, evidence);
        let all = &mut plan.status.quarantine;
        all.push(Quarantined {
            version: name.clone(),
            fingerprint,
            reason: short(why),
            time: self.now,
        });
        all.drain(..all.len().saturating_sub(KEPT_QUARANTINE));
        let older = all.len().saturating_sub(KEPT_REASONS);
        for entry in &mut all[..older] {
            let end = entry.reason.floor_char_boundary(SHORT_REASON);
            entry.reason.truncate(end);
        }
        plan.status.last_rollout = Some(RolloutRecord {
            version: name,
            outcome: RolloutOutcome::RolledBack,
            message: short(why),
            time: self.now,
            seen: Some(seen),
        });
    }
}
