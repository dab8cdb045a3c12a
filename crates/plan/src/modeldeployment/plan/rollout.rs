//! How a roll-out gets on: stage by stage, each with its pods, its hold and its evidence.
//!
//! ```text
//!   pods awaited ──ready──> stage begins ──hold has passed, on good evidence──> next stage … ──no more──> promoted
//!        ^                        │
//!        └── pods no longer ready ┘      (harm at any moment, or pods never ready: rolled back)
//! ```
//!
//! What is done follows from the status as it is written; what is decided is written, and done by the next look. So a crash
//! in between repeats what was done, and skips nothing.

mod next;
mod sizes;

use std::time::Duration;

use jiff::SignedDuration;
use kube::ResourceExt;
use windlass_api::{
    Action, AnalysisMetric, CanaryStatus, ModelDeploymentStatus, ModelVersion, RolloutOutcome,
    RolloutRecord, StableStatus, Strategy, Surge,
};

pub(super) use next::Next;
use sizes::{Sizes, share};

use super::made::Made;
use super::traffic::Split;
use super::words::{began, held, lasts};
use super::{Reconcile, replicas, seen};
use crate::modeldeployment::children;
use crate::modeldeployment::evidence::{Evidence, is_due};
use crate::modeldeployment::stages::{Stage, stages_digest};
use crate::{Note, Plan, Problem, digest, pods};

/// How often a roll-out is looked at.
pub(super) const LOOK: Duration = Duration::from_secs(2);
/// How long after a decision its pods may be asked for, and be counted as asked for with it.
const MOMENT: SignedDuration = SignedDuration::from_secs(4);
/// How long the pods of a canary find no room until they take the place of others.
const NO_ROOM: SignedDuration = SignedDuration::from_secs(10);

/// A roll-out's two sides.
pub(super) struct Pair<'a> {
    pub(super) stable: &'a ModelVersion,
    pub(super) target: &'a ModelVersion,
    pub(super) of_stable: &'a Made,
    pub(super) of_target: &'a Made,
}

impl Reconcile<'_> {
    /// One look at the roll-out: both sides are as the stage asks for, and what comes next is written down.
    pub(super) fn roll(
        &self,
        pair: &Pair<'_>,
        plan: &mut Plan<ModelDeploymentStatus>,
    ) -> Result<(), Problem> {
        let Pair { stable, target, .. } = *pair;
        let mut canary = self.canary(stable, target, plan);
        let rollout = &self.deployment.spec.rollout;
        canary.in_place &= rollout.strategy == Strategy::Canary && rollout.surge == Surge::Auto;
        canary.said_before = self.still_said(&canary.said_before);
        let begins_anew = self.begins_anew(&mut canary);
        self.keep_labels(&mut canary);
        self.read_labels(&mut canary, plan);
        let split = self.split(&canary, stable, target);
        let least = if begins_anew { 0 } else { self.asked(target) };
        let sizes = self.sizes(&canary, stable, target, least);
        // Pods that are asked for only now have the whole deadline before them, give or take a moment.
        let waits_since = self.now.duration_since(canary.since);
        if canary.step_started.is_none()
            && self.asked(target) < sizes.canary
            && waits_since > MOMENT
        {
            canary.since = self.now;
        }
        self.apply(stable, sizes.stable, pair.of_stable, plan);
        if sizes.canary > 0 || self.asked(target) > 0 {
            self.apply(target, sizes.canary, pair.of_target, plan);
        }
        self.direct(split, plan);
        let kept =
            [stable, target].map(|version| children::deployment_name(self.deployment, version));
        self.delete_others(split, &kept, plan);
        self.delete_services(plan);
        plan.look_again(Some(LOOK));

        let is_ready = sizes.canary > 0 && self.has_ready(target, sizes.canary);
        match self.next(&canary, split, sizes, is_ready) {
            Next::AwaitPods => {
                self.make_room(&mut canary, plan);
                let said = awaits(stable, sizes);
                self.await_pods(&mut canary, said);
            }
            Next::AwaitGateway => {
                // Pods that were ready meanwhile, and are lost then, have the deadline before them.
                if self.now.duration_since(canary.since) > self.deadline() / 2 {
                    canary.since = self.now;
                }
                let said = "its pods are ready; waiting until the Gateway knows them".to_owned();
                self.await_pods(&mut canary, said);
            }
            // They are awaited for as long as at the stage's beginning.
            Next::AwaitPodsAnew => {
                canary.step_started = None;
                canary.since = self.now;
                canary.interruptions += 1;
                let wanted = sizes.canary;
                let said =
                    format!("pods of the step are no longer ready; waiting until {wanted} are");
                self.await_pods(&mut canary, said);
            }
            Next::Begin(stage) => self.begin(&mut canary, stage, sizes, plan),
            Next::Say(said) => {
                if self.stage(&canary).is_some() {
                    canary.analysis = Some(said);
                }
            }
            Next::Hold { said, awaits } => {
                if self.stage(&canary).is_none() {
                    self.stand(&mut canary, sizes);
                }
                if self.is_news(&canary, &said, &awaits) {
                    canary.analysis = Some(held(said, &awaits));
                }
            }
            Next::Pass(said) => {
                if self.pass(pair, &mut canary, said, plan) {
                    self.promote(stable, target, canary, plan);
                    return Ok(());
                }
            }
            Next::Promote => {
                self.promote(stable, target, canary, plan);
                return Ok(());
            }
            Next::RollBack(why) => {
                self.roll_back(&stable.name_any(), target, canary, &why, plan);
                return Ok(());
            }
            Next::HoldUp(why) => self.hold_up(&mut canary, why),
            // What is counted while it is held is not written down.
            Next::Stay => {
                plan.status.canary = Some(canary);
                return self.refused_route(split).map_or(Ok(()), Err);
            }
            Next::Resume => self.resume(&mut canary, plan),
        }
        // A Service that names the other one is yet to be made so.
        if canary.failure.is_none() {
            self.foretell(self.split(&canary, stable, target), plan);
        }
        // Where something is written anyway, it is too: after a restart of the operator it goes on from there.
        let is_written = self.before.canary.as_ref() != Some(&canary)
            || (self.has_moved(&canary) && is_due(canary.recorded, began(&canary), self.now));
        if let Some(evidence) = self.evidence(&canary).filter(|_| is_written) {
            evidence.write(&self.deployment.spec.rollout, &mut canary, self.now);
        }
        plan.status.canary = Some(canary);
        self.refused_route(split).map_or(Ok(()), Err)
    }

    /// How far the canary has come; one that is new is at its beginning.
    fn canary(
        &self,
        stable: &ModelVersion,
        target: &ModelVersion,
        plan: &mut Plan<ModelDeploymentStatus>,
    ) -> CanaryStatus {
        let name = target.name_any();
        match &self.before.canary {
            Some(canary) if canary.version == name => canary.clone(),
            _ => {
                plan.notes.push(Note::normal(
                    "RolloutStarted",
                    format!("{name} is tried beside {}", stable.name_any()),
                ));
                if let Some(old) = &self.before.canary {
                    let why = format!("{name} was asked for in its place");
                    self.note_event(plan, &old.version, Action::CanaryStopped, &why);
                }
                // What is tried next ends what was kept of the one before.
                plan.status.bake = None;
                let forced = if self.was_taken_back(target) {
                    format!(", though it was taken back before, as {} wants", self.who())
                } else {
                    String::new()
                };
                let why = format!("it is tried beside {}{forced}", stable.name_any());
                self.note_event(plan, &name, Action::CanaryStarted, &why);
                CanaryStatus {
                    version: name,
                    step: 0,
                    weight: 0,
                    started: self.now,
                    since: self.now,
                    step_started: None,
                    step_replicas: None,
                    steps_digest: None,
                    interruptions: 0,
                    analysis: None,
                    recorded: None,
                    errors: None,
                    slow: None,
                    slow_first_tokens: None,
                    slow_tokens: None,
                    alone: None,
                    disagreed: None,
                    predictions: None,
                    labelled: None,
                    in_place: false,
                    failure: None,
                    said_before: self.said_so_far(),
                }
            }
        }
    }

    /// Brings a canary back to its beginning where it went by other stages than the spec has now; whether it did.
    fn begins_anew(&self, canary: &mut CanaryStatus) -> bool {
        let now = stages_digest(&self.deployment.spec.rollout);
        let before = canary.steps_digest.replace(now);
        let is_other = before.is_some() && before != canary.steps_digest;
        if is_other {
            canary.step = 0;
            canary.weight = 0;
            canary.since = self.now;
            canary.step_started = None;
            canary.interruptions = 0;
            self.forget_failure(canary);
            // What was said was of a step of those.
            canary.said_before = self.said_so_far();
        }
        is_other
    }

    /// How traffic is divided at the stage that the status is at. Who has no pod that answers gets none.
    fn split<'s>(
        &self,
        canary: &CanaryStatus,
        stable: &'s ModelVersion,
        target: &'s ModelVersion,
    ) -> Split<'s> {
        let is_apart = self.deployment.spec.rollout.strategy != Strategy::Canary;
        let answers = replicas::answering(self.child(target)) > 0;
        let serves = replicas::answering(self.child(stable)) > 0;
        match (self.routing().is_some(), answers, serves) {
            _ if canary.failure.is_some() => return Split::All(stable),
            _ if is_apart => {}
            (_, false, _) => return Split::All(stable),
            (true, true, false) => return Split::All(target),
            (true, true, true) => return self.by_gateway(stable, target, canary.weight),
            (false, true, _) => {}
        }
        Split::Between {
            stable,
            canary: target,
            weight: canary.weight,
            is_known: true,
        }
    }

    /// Lets the canary's pods take the place of others, where they find no room and may.
    fn make_room(&self, canary: &mut CanaryStatus, plan: &mut Plan<ModelDeploymentStatus>) {
        let may = self.deployment.spec.rollout.surge == Surge::Auto && !canary.in_place;
        if !may || self.now.duration_since(canary.since) < NO_ROOM {
            return;
        }
        let unscheduled = self
            .pods_of(&canary.version)
            .find_map(|pod| pods::unschedulable(pod).map(str::to_owned));
        if let Some(why) = unscheduled.or_else(|| self.not_made(canary)) {
            canary.in_place = true;
            canary.since = self.now;
            plan.notes.push(Note::warning(
                "SwapsInPlace",
                format!(
                    "there is no room for pods of {} beside the others ({why}): they take the place of some of them, as spec.rollout.surge allows",
                    canary.version
                ),
            ));
        }
    }

    /// A stage has passed. Whether it was the last one, and the canary has all that it needs to take over: what would be
    /// asked next has just been answered.
    fn pass(
        &self,
        pair: &Pair<'_>,
        canary: &mut CanaryStatus,
        said: String,
        plan: &mut Plan<ModelDeploymentStatus>,
    ) -> bool {
        canary.step += 1;
        canary.step_started = None;
        canary.interruptions = 0;
        canary.since = self.now;
        let sizes = self.sizes(canary, pair.stable, pair.target, self.asked(pair.target));
        let is_ready = self.has_ready(pair.target, sizes.canary);
        match self.stage(canary) {
            Some(stage) if is_ready => self.begin(canary, stage, sizes, plan),
            Some(_) => canary.analysis = Some(held(said, &awaits(pair.stable, sizes))),
            None => canary.analysis = Some(said),
        }
        is_ready && self.stage(canary).is_none()
    }

    fn begin(
        &self,
        canary: &mut CanaryStatus,
        stage: &Stage,
        sizes: Sizes,
        plan: &mut Plan<ModelDeploymentStatus>,
    ) {
        canary.step_started = Some(self.now);
        canary.step_replicas = Some(sizes.canary);
        self.keep_labels(canary);
        canary.weight = stage.weight;
        canary.analysis = Some(lasts(stage, self.now));
        plan.notes.push(self.stage_started(canary, sizes));
    }

    /// All stages have passed, and all its pods are ready: who loses one then awaits it anew, and is not late.
    fn stand(&self, canary: &mut CanaryStatus, sizes: Sizes) {
        if canary.step_started.is_none() {
            canary.step_started = Some(self.now);
            canary.step_replicas = Some(sizes.canary);
            self.keep_labels(canary);
        }
    }

    /// Says that pods are awaited; once all stages have passed, on what evidence they did is kept for the record.
    fn await_pods(&self, canary: &mut CanaryStatus, said: String) {
        let before = canary.analysis.as_deref().unwrap_or_default();
        if (self.stage(canary).is_some() || self.stages.is_empty()) && !before.ends_with(&said) {
            canary.analysis = Some(said);
        }
    }

    /// The stage that the canary is at; none when all have passed.
    pub(super) fn stage(&self, canary: &CanaryStatus) -> Option<&Stage> {
        let at = usize::try_from(canary.step).unwrap_or(0);
        self.stages.get(at)
    }

    /// What is known of this canary, which may be one that has only just begun, or begins anew.
    fn evidence(&self, canary: &CanaryStatus) -> Option<&Evidence> {
        let before = self.before.canary.as_ref();
        let is_same = before.is_some_and(|before| {
            before.version == canary.version && before.started == canary.started
        });
        self.observed.evidence.as_ref().filter(|_| is_same)
    }

    /// The canary with all that is known of it.
    pub(super) fn with_evidence(&self, mut canary: CanaryStatus) -> CanaryStatus {
        if let Some(evidence) = self.evidence(&canary) {
            evidence.write(&self.deployment.spec.rollout, &mut canary, self.now);
        }
        canary
    }

    fn has_moved(&self, canary: &CanaryStatus) -> bool {
        let evidence = self.evidence(canary);
        evidence.is_some_and(|evidence| evidence.has_moved(canary))
    }

    /// How many pods a version's Deployment asks for.
    fn asked(&self, version: &ModelVersion) -> i32 {
        self.child(version)
            .and_then(|child| child.spec.replicas)
            .unwrap_or(0)
    }

    /// Whether a canary's share of the traffic is that of its pods.
    fn is_by_pods(&self) -> bool {
        self.deployment.spec.rollout.strategy == Strategy::Canary && self.routing().is_none()
    }

    /// The share of the traffic that the canary has now, in percent: by the route, or by pods that answer.
    pub(super) fn canary_share(&self, canary: &CanaryStatus) -> i32 {
        if !self.is_by_pods() {
            return canary.weight;
        }
        let of_canary = replicas::answering(self.child_of(&canary.version));
        let (_, all) = replicas::total(&self.observed.children);
        share(of_canary, all - of_canary)
    }

    /// Whether Prometheus is asked of one that gets no traffic until it gets all.
    fn is_asked_of(&self) -> bool {
        let rollout = &self.deployment.spec.rollout;
        let mut checks = rollout.analysis.iter();
        rollout.strategy == Strategy::BlueGreen
            && checks.any(|check| check.metric == AnalysisMetric::Prometheus)
    }

    /// Whether the canary is compared with the stable version before it takes all the traffic: only where both have some.
    pub(super) fn is_analysed(&self) -> bool {
        match self.deployment.spec.rollout.strategy {
            Strategy::Canary | Strategy::Shadow => true,
            Strategy::BlueGreen | Strategy::Recreate => false,
        }
    }

    fn stage_started(&self, canary: &CanaryStatus, sizes: Sizes) -> Note {
        let percent = if self.is_by_pods() {
            share(sizes.canary, sizes.stable)
        } else {
            canary.weight
        };
        Note::normal(
            "StepStarted",
            format!(
                "step {} of {}: {} takes {percent}% of the traffic",
                canary.step + 1,
                self.stages.len(),
                canary.version,
            ),
        )
    }

    fn promote(
        &self,
        stable: &ModelVersion,
        target: &ModelVersion,
        canary: CanaryStatus,
        plan: &mut Plan<ModelDeploymentStatus>,
    ) {
        let name = target.name_any();
        let canary = self.with_evidence(canary);
        let (seen, evidence) = (seen(&canary), canary.analysis.unwrap_or_default());
        let digest = Some(digest::of(&seen));
        self.note_decision(plan, &name, Action::Promoted, &evidence, digest);
        let why = format!("{name} serves in its place");
        self.note_event(plan, &stable.name_any(), Action::Retired, &why);
        plan.status.bake = self.bake(stable);
        plan.status.canary = None;
        if plan.status.bake.is_none() {
            self.foretell(Split::All(target), plan);
        }
        plan.status.stable = Some(StableStatus {
            version: name.clone(),
            since: self.now,
            digest: target.digest().map(str::to_owned),
        });
        plan.status.last_rollout = Some(RolloutRecord {
            version: name.clone(),
            outcome: RolloutOutcome::Promoted,
            message: evidence.clone(),
            time: self.now,
            seen: Some(seen),
        });
        plan.notes.push(Note::normal(
            "Promoted",
            format!("{name} serves all traffic: {evidence}"),
        ));
    }
}

/// What is said while pods are awaited.
fn awaits(stable: &ModelVersion, sizes: Sizes) -> String {
    if sizes.canary == 0 {
        return format!("waiting until the pods of {} are gone", stable.name_any());
    }
    format!("waiting until {} pods are ready", sizes.canary)
}
