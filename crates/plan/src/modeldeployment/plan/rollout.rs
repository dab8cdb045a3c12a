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

use std::time::Duration;

use jiff::SignedDuration;
use kube::ResourceExt;
use windlass_api::{
    Action, CanaryStatus, ModelDeploymentStatus, ModelVersion, RolloutOutcome, RolloutRecord,
    StableStatus, Strategy, Surge,
};

use super::conditions::NEVER_READY;
use super::made::Made;
use super::traffic::Split;
use super::words::{began, held, lasts};
use super::{Reconcile, replicas};
use crate::modeldeployment::analysis::{self, Finding, Seen};
use crate::modeldeployment::children;
use crate::modeldeployment::evidence::{Evidence, is_due};
use crate::modeldeployment::gateway::Taken;
use crate::modeldeployment::readings::Names;
use crate::modeldeployment::stages::{Stage, stages_digest};
use crate::{Note, Plan, Problem, pods};

/// How often a roll-out is looked at.
pub(super) const LOOK: Duration = Duration::from_secs(2);
/// How long after a decision its pods may be asked for, and be counted as asked for with it.
const MOMENT: SignedDuration = SignedDuration::from_secs(4);
/// How often pods of a step may be lost, each time to be awaited anew: a node may go, a server that ends by itself may not.
const MOST_INTERRUPTIONS: i32 = 3;
/// What is said of a route that a Gateway has to take.
const NOT_TAKEN: &str = "the Gateway has not taken the route yet";
/// How long the pods of a canary find no room until they take the place of others.
const NO_ROOM: SignedDuration = SignedDuration::from_secs(10);

/// A roll-out's two sides.
pub(super) struct Pair<'a> {
    pub(super) stable: &'a ModelVersion,
    pub(super) target: &'a ModelVersion,
    pub(super) of_stable: &'a Made,
    pub(super) of_target: &'a Made,
}

/// How many pods each side is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sizes {
    stable: i32,
    canary: i32,
}

/// What comes next in a roll-out.
pub(super) enum Next<'a> {
    /// The pods of a stage are awaited before it begins.
    AwaitPods,
    /// The Gateway is to know the pods of a stage before it begins.
    AwaitGateway,
    /// The pods of a stage that has begun are no longer ready.
    AwaitPodsAnew,
    /// A stage begins.
    Begin(&'a Stage),
    /// A stage goes on: what is known so far, and what is awaited beside evidence, where that is something.
    Hold { said: String, awaits: String },
    /// A stage goes on, and what is so whatever was counted.
    Say(String),
    /// A stage has passed, on this evidence.
    Pass(String),
    /// All stages have passed.
    Promote,
    /// The canary does harm, or its pods never get ready.
    RollBack(String),
    /// The same, and a person is to say what comes of it.
    HoldUp(String),
    /// It is held, and nobody has said anything.
    Stay,
    /// A person has the stage that it is held at begin anew.
    Resume,
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
                canary.step += 1;
                canary.step_started = None;
                canary.interruptions = 0;
                canary.since = self.now;
                canary.analysis = Some(said);
                let sizes = self.sizes(&canary, stable, target, self.asked(target));
                if self.has_ready(target, sizes.canary) {
                    let Some(stage) = self.stage(&canary) else {
                        // It has all that it needs to take over, and what would be asked next has just been answered.
                        let evidence = canary.analysis.unwrap_or_default();
                        self.promote(stable, target, &evidence, plan);
                        return Ok(());
                    };
                    self.begin(&mut canary, stage, sizes, plan);
                } else if let (Some(_), Some(passed)) = (self.stage(&canary), &mut canary.analysis)
                {
                    *passed = held(std::mem::take(passed), &awaits(stable, sizes));
                }
            }
            Next::Promote => {
                let evidence = canary.analysis.unwrap_or_default();
                self.promote(stable, target, &evidence, plan);
                return Ok(());
            }
            Next::RollBack(why) => {
                self.roll_back(stable, target, &why, plan);
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
        self.foretell(self.split(&canary, stable, target), plan);
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

    /// How many pods each side is to have.
    fn sizes(
        &self,
        canary: &CanaryStatus,
        stable: &ModelVersion,
        target: &ModelVersion,
        least: i32,
    ) -> Sizes {
        let rollout = &self.deployment.spec.rollout;
        let all = self.replicas();
        // There is room for the pods of one alone.
        if canary.in_place && canary.failure.is_some() {
            return Sizes {
                stable: all,
                canary: 0,
            };
        }
        if rollout.strategy == Strategy::Recreate {
            let are_gone = replicas::are_gone(self.child(stable));
            // Once there are some, they stay, whatever is left of the others.
            let wanted = if are_gone {
                all.max(1)
            } else {
                self.asked(target)
            };
            return Sizes {
                stable: 0,
                canary: wanted,
            };
        }
        let wanted = self.stage(canary).map_or(all.max(1), |stage| {
            match (
                rollout.strategy,
                self.routing().is_some() || canary.in_place,
            ) {
                (Strategy::Canary, false) => canary_replicas(stage.weight, all),
                (Strategy::Canary, true) => share_of_replicas(stage.weight, all),
                (Strategy::BlueGreen | Strategy::Shadow | Strategy::Recreate, _) => all.max(1),
            }
        });
        // A canary never shrinks on its way up, unless its pods are its share of the traffic.
        let wanted = if self.is_by_pods() && !canary.in_place {
            wanted
        } else {
            wanted.max(least.min(all))
        };
        if !canary.in_place {
            return Sizes {
                stable: all,
                canary: wanted,
            };
        }
        // One by one: a pod goes for the next one that is to come. The last one stays to serve if the canary is taken back.
        let stays = i32::from(all > 1);
        let wanted = wanted.min((all - stays).max(1));
        let ready = replicas::ready(self.child(target));
        Sizes {
            stable: (all - wanted.min(ready + 1)).max(stays),
            canary: wanted,
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

    fn begin(
        &self,
        canary: &mut CanaryStatus,
        stage: &Stage,
        sizes: Sizes,
        plan: &mut Plan<ModelDeploymentStatus>,
    ) {
        canary.step_started = Some(self.now);
        canary.step_replicas = Some(sizes.canary);
        canary.weight = stage.weight;
        canary.analysis = Some(lasts(stage, self.now));
        plan.notes.push(self.stage_started(canary, sizes));
    }

    /// All stages have passed, and all its pods are ready: who loses one then awaits it anew, and is not late.
    fn stand(&self, canary: &mut CanaryStatus, sizes: Sizes) {
        if canary.step_started.is_none() {
            canary.step_started = Some(self.now);
            canary.step_replicas = Some(sizes.canary);
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

    /// Whether the canary is compared with the stable version before it takes all the traffic: only where both have some.
    pub(super) fn is_analysed(&self) -> bool {
        match self.deployment.spec.rollout.strategy {
            Strategy::Canary | Strategy::Shadow => true,
            Strategy::BlueGreen | Strategy::Recreate => false,
        }
    }

    fn judge(&self, canary: &CanaryStatus) -> Finding {
        if !self.is_analysed() {
            return Finding::Good("all its pods are ready".to_owned());
        }
        let rollout = &self.deployment.spec.rollout;
        let stable = self.before.stable.as_ref();
        let of = |version: &str| {
            let traffic = self.observed.traffic.get(version);
            traffic.cloned().unwrap_or_default()
        };
        let meta = &self.deployment.metadata;
        let seen = Seen {
            canary: &of(&canary.version),
            stable: &stable.map(|stable| of(&stable.version)).unwrap_or_default(),
            stable_answers: stable
                .is_some_and(|stable| replicas::answering(self.child_of(&stable.version)) > 0),
            evidence: self.evidence(canary),
            readings: &self.observed.readings,
            names: Names {
                namespace: meta.namespace.as_deref().unwrap_or_default(),
                name: meta.name.as_deref().unwrap_or_default(),
                stable: stable.map_or("", |stable| &stable.version),
                canary: &canary.version,
            },
            since: began(canary),
            now: self.now,
            steps: self.stages.len(),
            is_last: usize::try_from(canary.step).is_ok_and(|at| at + 1 >= self.stages.len()),
            is_over: self.stage(canary).is_none(),
        };
        analysis::judge(
            &rollout.analysis,
            &seen,
            rollout.min_requests.unsigned_abs(),
        )
    }

    /// What comes next, told from how far the canary is, whether its pods are ready and how it does.
    fn next(
        &self,
        canary: &CanaryStatus,
        split: Split<'_>,
        sizes: Sizes,
        is_ready: bool,
    ) -> Next<'_> {
        if let Some(why) = self.aborted(canary) {
            return Next::RollBack(why);
        }
        if let Some(why) = &canary.failure {
            return self.held(canary, why);
        }
        let (said, is_good) = match self.judge(canary) {
            // Harm counts at any moment, also while the pods of a stage are still starting.
            Finding::Harm(why) => return self.fails(why),
            Finding::Good(said) => (said, true),
            Finding::Wait(said) => (said, false),
        };
        // A stage passes with all its pods or not at all, and so does the last one: also where there are fewer now.
        match (canary.step_started, self.stage(canary)) {
            // Pods that are not asked for yet are not late.
            (None, _) if sizes.canary == 0 => Next::AwaitPods,
            (None, _) if !is_ready => {
                let overdue = self.overdue(canary);
                overdue.map_or(Next::AwaitPods, |why| self.fails(why))
            }
            // More are asked for than the stage began with: none was lost, and it goes on with those that there are. Only
            // who takes all has to have all.
            (Some(_), stage) if !is_ready && !self.has_lost_any(canary, sizes) => match stage {
                Some(stage) => self.goes_on(canary, split, stage, said, is_good),
                None => Next::Say(format!("waiting until {} pods are ready", sizes.canary)),
            },
            (Some(_), _) if !is_ready && canary.interruptions < MOST_INTERRUPTIONS => {
                Next::AwaitPodsAnew
            }
            (Some(_), _) if !is_ready => self.fails(self.flaps(canary)),
            (None, Some(_)) if !split.is_known() => Next::AwaitGateway,
            (None, Some(stage)) => Next::Begin(stage),
            (Some(_), Some(stage)) => self.goes_on(canary, split, stage, said, is_good),
            (_, None) if self.is_taken(split) != Taken::Yes => Next::Hold {
                said,
                awaits: NOT_TAKEN.to_owned(),
            },
            // It goes on being judged until it takes all.
            (_, None) if is_good || self.is_let_pass(canary) => Next::Promote,
            (_, None) => Next::Hold {
                said,
                awaits: String::new(),
            },
        }
    }

    /// What comes next in a stage that has begun, and whose pods answer.
    fn goes_on(
        &self,
        canary: &CanaryStatus,
        split: Split<'_>,
        stage: &Stage,
        said: String,
        is_good: bool,
    ) -> Next<'_> {
        let started = began(canary);
        if self.now.duration_since(started) < stage.hold {
            return Next::Say(lasts(stage, started));
        }
        if self.is_taken(split) != Taken::Yes {
            let awaits = NOT_TAKEN.to_owned();
            return Next::Hold { said, awaits };
        }
        if self.is_let_pass(canary) {
            return Next::Pass(format!("{} let it pass; {said}", self.who()));
        }
        if is_good && !stage.pause {
            return Next::Pass(said);
        }
        let awaits = if is_good {
            self.waits_for_a_person(canary)
        } else {
            String::new()
        };
        Next::Hold { said, awaits }
    }

    /// Whether fewer of its pods are ready than when its stage began, or than are asked for where those are fewer.
    fn has_lost_any(&self, canary: &CanaryStatus, sizes: Sizes) -> bool {
        let began = canary.step_replicas.unwrap_or(sizes.canary);
        replicas::answering(self.child_of(&canary.version)) < began.min(sizes.canary)
    }

    /// What keeps the canary's pods from being ready, as far as can be told: one of them, or that they are not made at all.
    pub(super) fn hindrance(&self, canary: &CanaryStatus) -> Option<String> {
        let of_pods = self.pods_of(&canary.version).find_map(pods::hindrance);
        let of_pods = of_pods.map(|problem| problem.message);
        of_pods.or_else(|| self.not_made(canary))
    }

    /// Why no pods of the canary are made.
    fn not_made(&self, canary: &CanaryStatus) -> Option<String> {
        let problem = replicas::problem(self.child_of(&canary.version)?, self.deployment)?;
        (problem.reason == replicas::NOT_CREATED).then_some(problem.message)
    }

    /// How long the pods of a stage are waited for.
    fn deadline(&self) -> SignedDuration {
        SignedDuration::from_secs(children::deadline_seconds(self.deployment).into())
    }

    /// Why the pods of a stage are not waited for any longer.
    fn overdue(&self, canary: &CanaryStatus) -> Option<String> {
        if self.now.duration_since(canary.since) <= self.deadline() {
            return None;
        }
        let why = self
            .hindrance(canary)
            .unwrap_or_else(|| NEVER_READY.to_owned());
        Some(format!(
            "its pods were not ready within {}: {why}",
            replicas::deadline(self.deployment)
        ))
    }

    /// What is said of a canary whose pods come and go.
    fn flaps(&self, canary: &CanaryStatus) -> String {
        let why = self
            .hindrance(canary)
            .map_or_else(String::new, |why| format!(": {why}"));
        format!(
            "its pods were lost again and again, {} times in one step{why}",
            canary.interruptions + 1
        )
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
        evidence: &str,
        plan: &mut Plan<ModelDeploymentStatus>,
    ) {
        let name = target.name_any();
        self.note_event(plan, &name, Action::Promoted, evidence);
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
            message: evidence.to_owned(),
            time: self.now,
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

/// How many pods a canary of this weight has, beside all of the stable version's.
///
/// At most as many as the stable version has, which is half of the traffic: more would cost a multiple of what was asked for.
fn canary_replicas(weight: i32, replicas: i32) -> i32 {
    let (weight, replicas) = (i64::from(weight.clamp(0, 99)), i64::from(replicas));
    // canary / (canary + replicas) = weight / 100, rounded to the nearest pod, and never none.
    let rounded = (weight * replicas * 2 + (100 - weight)) / ((100 - weight) * 2);
    i32::try_from(rounded.min(replicas).max(1)).unwrap_or(i32::MAX)
}

/// How many of all pods a share of the traffic takes, rounded up, and never none.
fn share_of_replicas(weight: i32, replicas: i32) -> i32 {
    let (weight, replicas) = (i64::from(weight.clamp(0, 100)), i64::from(replicas));
    let wanted = (weight * replicas + 99) / 100;
    i32::try_from(wanted.clamp(1, replicas.max(1))).unwrap_or(i32::MAX)
}

/// The share of the traffic that a canary gets, in percent.
fn share(canary: i32, stable: i32) -> i32 {
    canary * 100 / (canary + stable).max(1)
}

#[cfg(test)]
mod tests {
    use super::{canary_replicas, share_of_replicas};

    #[test]
    fn no_step_asks_for_a_multiple_of_the_pods() {
        for (weight, replicas, expected) in [
            (1, 3, 1),
            (10, 10, 1),
            (20, 10, 3),
            (50, 3, 3),
            (90, 4, 4),
            (99, 1000, 1000),
            (50, 0, 1),
        ] {
            assert_eq!(
                canary_replicas(weight, replicas),
                expected,
                "{weight}% of {replicas}"
            );
        }
    }

    #[test]
    fn a_share_of_the_load_has_its_share_of_the_pods() {
        for (weight, replicas, expected) in [
            (1, 3, 1),
            (25, 4, 1),
            (26, 4, 2),
            (99, 10, 10),
            (0, 3, 1),
            (50, 0, 1),
        ] {
            assert_eq!(
                share_of_replicas(weight, replicas),
                expected,
                "{weight}% of {replicas}"
            );
        }
    }
}
