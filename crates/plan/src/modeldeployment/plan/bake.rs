//! What is still watched once a new version has taken all the traffic, while the one before is kept.

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use windlass_api::{
    Action, BakeStatus, Decimal, ModelDeploymentStatus, ModelVersion, StableStatus, Strategy,
    condition, is_true,
};
use windlass_statistics::proportion::Proportion;

use super::{Reconcile, replicas, seen};
use crate::modeldeployment::analysis;
use crate::modeldeployment::evidence::{LEAST_LIMIT, allowed_errors, record_bake, write_bake};
use crate::modeldeployment::stages::span;
use crate::{Note, Plan};

/// How long the pods of a version that had all the traffic at once are kept at least: until every node and every client has
/// been told that it goes elsewhere.
const LEAST: SignedDuration = SignedDuration::from_secs(30);
/// Confidence in the share of errors that the version before had.
const CONFIDENCE: f64 = 0.95;

/// What a look at a version that bakes comes to.
pub(super) enum Watched {
    /// It takes all the traffic; the Deployment of the one before stays, if there is one.
    Serves(Option<String>),
    /// All traffic is given back to the one before: the next look does it.
    TakenBack,
}

impl Reconcile<'_> {
    /// What is kept of the version that served, now that another is promoted.
    pub(super) fn bake(&self, stable: &ModelVersion) -> Option<BakeStatus> {
        let rollout = &self.deployment.spec.rollout;
        let lasts = match rollout.strategy {
            Strategy::Canary => span(&rollout.bake),
            Strategy::BlueGreen | Strategy::Shadow => span(&rollout.bake).max(LEAST),
            Strategy::Recreate => SignedDuration::ZERO,
        };
        if lasts.is_zero()
            || self
                .before
                .canary
                .as_ref()
                .is_some_and(|canary| canary.in_place)
        {
            return None;
        }
        // Where nothing is known of the version before, there is nothing that the new one could be held against.
        let before = Some(self.errors_of(&stable.name_any())).filter(|before| before.trials > 0);
        let judged = allowed_errors(&rollout.analysis).zip(before);
        let limit = judged.map(|(allowed, before)| {
            let most = before.wilson(CONFIDENCE).upper + allowed;
            Decimal::from(format!("{:.5}", most.clamp(LEAST_LIMIT, 0.999)).as_str())
        });
        Some(BakeStatus {
            version: stable.name_any(),
            digest: stable.digest().map(str::to_owned),
            since: self.now,
            until: self.now.checked_add(lasts).unwrap_or(Timestamp::MAX),
            limit,
            recorded: None,
            errors: None,
            worse: None,
        })
    }

    /// The errors of the stable version, over the whole roll-out or, where that is not known, in its last stage.
    fn errors_of(&self, stable: &str) -> Proportion {
        let compared = self
            .observed
            .evidence
            .as_ref()
            .and_then(|evidence| evidence.errors);
        let compared = compared
            .map(|errors| errors.rollout.stable_so_far())
            .unwrap_or_default();
        if compared.trials > 0 {
            return compared;
        }
        self.observed
            .traffic
            .get(stable)
            .map(|traffic| Proportion {
                successes: traffic.errors.min(traffic.requests),
                trials: traffic.requests,
            })
            .unwrap_or_default()
    }

    /// Whether the version before is kept.
    pub(super) fn bakes(&self) -> bool {
        self.before.bake.is_some()
    }

    /// One look at a version that serves, and may bake.
    pub(super) fn watch(
        &self,
        stable: &ModelVersion,
        plan: &mut Plan<ModelDeploymentStatus>,
    ) -> Watched {
        let bake = self.before.bake.as_ref();
        let kept = bake.and_then(|bake| Some((bake, self.child_of(&bake.version)?)));
        let Some((bake, old)) = kept else {
            plan.status.bake = None;
            return Watched::Serves(None);
        };
        if self.now >= bake.until {
            plan.status.bake = None;
            plan.notes.push(Note::normal(
                "Baked",
                format!(
                    "{} has held; the pods of {} go",
                    stable.name_any(),
                    bake.version
                ),
            ));
            return Watched::Serves(None);
        }
        plan.look_again(Some(super::rollout::LOOK));
        // Where what could serve in its place is gone, there is nothing to go back to.
        let is_warm = replicas::answering(Some(old)) > 0 && self.version(&bake.version).is_some();
        if let Some(why) = self.harm(stable, bake).filter(|_| is_warm) {
            self.take_back(stable, bake, &why, plan);
            return Watched::TakenBack;
        }
        if let Some(share) = &self.observed.bake
            && let Some(bake) = &mut plan.status.bake
        {
            record_bake(share, bake, self.now);
        }
        Watched::Serves(Some(old.name_any()))
    }

    /// Why the version that serves since a while does harm.
    fn harm(&self, stable: &ModelVersion, bake: &BakeStatus) -> Option<String> {
        if let Some(why) = self.observed.bake.as_ref().and_then(analysis::harm_alone) {
            return Some(why);
        }
        let name = stable.name_any();
        self.observed.monitors.iter().find_map(|monitor| {
            let status = monitor.status.as_ref()?;
            let newest = status.windows.last()?;
            // A window that a promotion cuts begins with the second of it.
            let began = bake.since.as_second();
            let is_of_it = newest.version == name && newest.start.as_second() >= began;
            (is_of_it && is_true(&status.conditions, condition::DRIFTED)).then(|| {
                format!(
                    "the DriftMonitor {} finds since then: {}",
                    monitor.name_any(),
                    newest.message
                )
            })
        })
    }

    /// Gives all traffic back to the version before.
    fn take_back(
        &self,
        stable: &ModelVersion,
        bake: &BakeStatus,
        why: &str,
        plan: &mut Plan<ModelDeploymentStatus>,
    ) {
        let (name, old) = (stable.name_any(), bake.version.clone());
        let mut known = bake.clone();
        if let Some(share) = &self.observed.bake {
            write_bake(share, &mut known, self.now);
        }
        self.condemn(stable, why, seen(&known), plan);
        let again = format!("{name} was taken back, and it serves again");
        self.note_event(plan, &old, Action::Promoted, &again);
        plan.status.bake = None;
        plan.status.stable = Some(StableStatus {
            version: old.clone(),
            since: self.now,
            digest: bake.digest.clone(),
        });
        plan.notes.push(Note::warning(
            "RolledBack",
            format!("{name} was taken back after it was promoted, {old} serves again: {why}"),
        ));
    }
}
