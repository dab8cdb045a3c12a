//! How a roll-out gets on: step by step, each with its pods, its hold and its evidence.
//!
//! ```text
//!   pods awaited ──ready──> step begins ──hold has passed, on good evidence──> next step … ──no more──> promoted
//!        ^                        │
//!        └── pods no longer ready ┘      (harm at any moment, or pods never ready: rolled back)
//! ```

use std::time::Duration;

use jiff::{SignedDuration, Timestamp, Unit};
use kube::ResourceExt;
use windlass_api::{
    Action, CanaryStatus, Compared, Counted, Decimal, ErrorsSeen, ModelDeploymentStatus,
    ModelVersion, RolloutOutcome, RolloutRecord, RolloutStep, StableStatus,
};
use windlass_statistics::proportion::Proportion;
use windlass_statistics::sequential::Shares;

use super::conditions::NEVER_READY;
use super::made::Made;
use super::{Reconcile, replicas};
use crate::modeldeployment::analysis::{self, Errors, Finding, Seen};
use crate::{Note, Plan, pods};

/// How often a roll-out is looked at.
const LOOK: Duration = Duration::from_secs(2);

/// How often pods of a step may be lost, each time to be awaited anew: a node may go, a server that ends by itself may not.
const MOST_INTERRUPTIONS: i32 = 3;

/// By how much the logarithm of the evidence moves until it is written down: what a restart of the operator loses at most.
const MOVED: f64 = 1.5;

/// A roll-out's two sides.
pub(super) struct Pair<'a> {
    pub(super) stable: &'a ModelVersion,
    pub(super) target: &'a ModelVersion,
    pub(super) of_stable: &'a Made,
    pub(super) of_target: &'a Made,
}

/// What comes next in a roll-out.
enum Next<'a> {
    /// The pods of a step are awaited before it begins.
    AwaitPods,
    /// The pods of a step that has begun are no longer ready.
    AwaitPodsAnew,
    /// A step begins.
    Begin(&'a RolloutStep),
    /// A step goes on, and what is known so far.
    Hold(String),
    /// A step has passed, on this evidence.
    Pass(String),
    /// All steps have passed.
    Promote,
    /// The canary does harm, or its pods never get ready.
    RollBack(String),
}

impl<'a> Reconcile<'a> {
    /// One look at the roll-out: both sides are as the step asks for, and what comes next is written down.
    pub(super) fn roll(&self, pair: &Pair<'_>, plan: &mut Plan<ModelDeploymentStatus>) {
        let Pair { stable, target, .. } = *pair;
        let mut canary = self.canary(stable, target, plan);
        let wanted = self.canary_wanted(&canary, target);
        // Pods that are asked for only now have the whole deadline before them.
        if canary.step_started.is_none() && self.asked(target) < wanted {
            canary.since = self.now;
        }
        self.apply(stable, self.deployment.spec.replicas, pair.of_stable, plan);
        self.apply(target, wanted, pair.of_target, plan);
        self.delete_others(&[stable, target], plan);
        plan.again = Some(LOOK);

        let is_ready = self.has_ready(target, wanted);
        let finding = self.judge(&canary, &stable.name_any());
        match self.next(&canary, is_ready, finding) {
            Next::AwaitPods => {
                let said = format!("waiting until {wanted} pods are ready");
                self.await_pods(&mut canary, said);
            }
            // They are awaited for as long as at the step's beginning.
            Next::AwaitPodsAnew => {
                canary.step_started = None;
                canary.since = self.now;
                canary.interruptions += 1;
                let said =
                    format!("pods of the step are no longer ready; waiting until {wanted} are");
                self.await_pods(&mut canary, said);
            }
            Next::Begin(step) => {
                canary.step_started = Some(self.now);
                canary.weight = step.weight;
                canary.analysis = Some(lasts(step, self.now));
                plan.notes.push(self.step_started(&canary, wanted));
            }
            // The status is written where it has another thing to say, or the evidence has moved by much.
            Next::Hold(said) => {
                let before = canary.analysis.as_deref().unwrap_or_default();
                let is_other = without_numbers(before) != without_numbers(&said);
                if self.has_moved(&canary) || (is_other && self.is_asked(&canary)) {
                    canary.analysis = Some(said);
                    canary.errors = self.errors_seen(&canary);
                }
            }
            Next::Pass(said) => {
                canary.step += 1;
                canary.step_started = None;
                canary.interruptions = 0;
                canary.since = self.now;
                canary.analysis = Some(said);
            }
            Next::Promote => return self.promote(stable, target, plan),
            Next::RollBack(why) => return self.roll_back(stable, target, &why, plan),
        }
        // Where something is written anyway, it is too: after a restart of the operator it goes on from there.
        if self.before.canary.as_ref() != Some(&canary) {
            canary.errors = self.errors_seen(&canary);
        }
        plan.status.canary = Some(canary);
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
                let why = format!("it is tried beside {}", stable.name_any());
                self.note_event(plan, &name, Action::CanaryStarted, &why);
                CanaryStatus {
                    version: name,
                    step: 0,
                    weight: 0,
                    started: self.now,
                    since: self.now,
                    step_started: None,
                    interruptions: 0,
                    analysis: None,
                    errors: None,
                }
            }
        }
    }

    /// Says that pods are awaited; once all steps have passed, on what evidence they did is kept for the record.
    fn await_pods(&self, canary: &mut CanaryStatus, said: String) {
        if self.step(canary).is_some() {
            canary.analysis = Some(said);
        }
    }

    /// The step that the canary is at; none when all have passed.
    pub(super) fn step(&self, canary: &CanaryStatus) -> Option<&'a RolloutStep> {
        let at = usize::try_from(canary.step).unwrap_or(0);
        self.deployment.spec.rollout.steps.get(at)
    }

    /// What is written down of the comparison of errors. A step that only begins has none of its own.
    fn errors_seen(&self, canary: &CanaryStatus) -> Option<ErrorsSeen> {
        let mut errors = self.observed.errors?;
        let before = self.before.canary.as_ref();
        let is_same =
            before.is_some_and(|before| self.judged_step(before) == self.judged_step(canary));
        if !is_same {
            errors.step = Shares::new(errors.step.allowed);
        }
        Some(written(&errors))
    }

    /// The step whose errors are judged: the last one, also when all have passed.
    fn judged_step(&self, canary: &CanaryStatus) -> i32 {
        let last = self.deployment.spec.rollout.steps.len().saturating_sub(1);
        canary.step.min(i32::try_from(last).unwrap_or(i32::MAX))
    }

    /// Whether the evidence has moved by much since it was written down.
    fn has_moved(&self, canary: &CanaryStatus) -> bool {
        let (Some(now), Some(before)) = (&self.observed.errors, &canary.errors) else {
            return false;
        };
        let by = |now: f64, before: &Decimal| (now - before.value().unwrap_or(0.0)).abs();
        let of = |now: &Shares, before: &Compared| {
            let [worse, within] = now.evidence();
            by(worse, &before.worse).max(by(within, &before.within))
        };
        of(&now.step, &before.step) >= MOVED
    }

    /// Whether the canary's pods have been asked in this step.
    fn is_asked(&self, canary: &CanaryStatus) -> bool {
        self.observed.traffic.contains_key(&canary.version)
    }

    /// How many pods the canary is to have.
    fn canary_wanted(&self, canary: &CanaryStatus, target: &ModelVersion) -> i32 {
        let all = self.deployment.spec.replicas;
        let wanted = self
            .step(canary)
            .map_or(all.max(1), |step| canary_replicas(step.weight, all));
        // A canary never shrinks on its way up.
        wanted.max(self.asked(target).min(all))
    }

    /// How many pods a version's Deployment asks for.
    fn asked(&self, version: &ModelVersion) -> i32 {
        self.child(version)
            .and_then(|child| child.spec.replicas)
            .unwrap_or(0)
    }

    /// The share of the traffic that the canary has now, in percent: by pods that answer.
    pub(super) fn canary_share(&self, version: &str) -> i32 {
        let canary = replicas::answering(self.child_of(version));
        let (_, all) = replicas::total(&self.observed.children);
        share(canary, all - canary)
    }

    fn judge(&self, canary: &CanaryStatus, stable: &str) -> Finding {
        let rollout = &self.deployment.spec.rollout;
        let of = |version: &str| {
            let traffic = self.observed.traffic.get(version);
            traffic.cloned().unwrap_or_default()
        };
        let seen = Seen {
            canary: &of(&canary.version),
            stable: &of(stable),
            errors: self.observed.errors.as_ref(),
            steps: rollout.steps.len(),
            is_last: usize::try_from(canary.step).is_ok_and(|at| at + 1 >= rollout.steps.len()),
            is_over: self.step(canary).is_none(),
        };
        analysis::judge(
            &rollout.analysis,
            &seen,
            rollout.min_requests.unsigned_abs(),
        )
    }

    /// What comes next, told from how far the canary is, whether its pods are ready and how it does.
    fn next(&self, canary: &CanaryStatus, is_ready: bool, finding: Finding) -> Next<'a> {
        let (said, is_good) = match finding {
            // Harm counts at any moment, also while the pods of a step are still starting.
            Finding::Harm(why) => return Next::RollBack(why),
            Finding::Good(said) => (said, true),
            Finding::Wait(said) => (said, false),
        };
        // A step passes with all its pods or not at all, and so does the last one: also where there are fewer now.
        match (canary.step_started, self.step(canary)) {
            (None, _) if !is_ready => self.overdue(canary).map_or(Next::AwaitPods, Next::RollBack),
            (Some(_), _) if !is_ready && canary.interruptions < MOST_INTERRUPTIONS => {
                Next::AwaitPodsAnew
            }
            (Some(_), _) if !is_ready => Next::RollBack(self.flaps(canary)),
            (None, Some(step)) => Next::Begin(step),
            // It goes on being judged until it takes all.
            (_, None) if is_good => Next::Promote,
            (_, None) => Next::Hold(said),
            (Some(started), Some(step)) => {
                let is_over = self.now.duration_since(started) >= hold(step);
                match (is_over, is_good) {
                    (true, true) => Next::Pass(said),
                    (true, false) => Next::Hold(said),
                    (false, _) => Next::Hold(lasts(step, started)),
                }
            }
        }
    }

    /// Why the pods of a step are not waited for any longer.
    fn overdue(&self, canary: &CanaryStatus) -> Option<String> {
        let seconds = self.deployment.spec.progress_deadline_seconds;
        if self.now.duration_since(canary.since) <= SignedDuration::from_secs(seconds.into()) {
            return None;
        }
        let why = self
            .pods_of(&canary.version)
            .find_map(pods::hindrance)
            .map_or_else(|| NEVER_READY.to_owned(), |problem| problem.message);
        Some(format!(
            "its pods were not ready within spec.progressDeadlineSeconds ({seconds} s): {why}"
        ))
    }

    /// What is said of a canary whose pods come and go.
    fn flaps(&self, canary: &CanaryStatus) -> String {
        let why = self
            .pods_of(&canary.version)
            .find_map(pods::hindrance)
            .map_or_else(String::new, |problem| format!(": {}", problem.message));
        format!(
            "its pods were lost again and again, {} times in one step{why}",
            canary.interruptions + 1
        )
    }

    fn step_started(&self, canary: &CanaryStatus, wanted: i32) -> Note {
        Note::normal(
            "StepStarted",
            format!(
                "step {} of {}: {} takes {}% of the traffic",
                canary.step + 1,
                self.deployment.spec.rollout.steps.len(),
                canary.version,
                share(wanted, self.deployment.spec.replicas)
            ),
        )
    }

    fn promote(
        &self,
        stable: &ModelVersion,
        target: &ModelVersion,
        plan: &mut Plan<ModelDeploymentStatus>,
    ) {
        let name = target.name_any();
        let evidence = self
            .before
            .canary
            .as_ref()
            .and_then(|canary| canary.analysis.clone())
            .unwrap_or_default();
        self.note_event(plan, &name, Action::Promoted, &evidence);
        let why = format!("{name} serves in its place");
        self.note_event(plan, &stable.name_any(), Action::Retired, &why);
        plan.status.canary = None;
        plan.status.stable = Some(StableStatus {
            version: name.clone(),
            since: self.now,
        });
        plan.status.last_rollout = Some(RolloutRecord {
            version: name.clone(),
            outcome: RolloutOutcome::Promoted,
            message: evidence.clone(),
            time: self.now,
        });
        plan.notes.push(Note::normal(
            "Promoted",
            format!("{name} serves all traffic: {evidence}"),
        ));
    }
}

/// What is said of a step that has begun.
fn lasts(step: &RolloutStep, started: Timestamp) -> String {
    let end = started + hold(step);
    let end = end.round(Unit::Second).unwrap_or(end);
    format!("the step lasts until {end} at least")
}

/// What is said, whatever was counted.
fn without_numbers(said: &str) -> String {
    let is_counted = |letter: &char| letter.is_ascii_digit() || *letter == '.';
    said.chars().filter(|letter| !is_counted(letter)).collect()
}

/// A comparison of errors, as a status has it.
fn written(errors: &Errors) -> ErrorsSeen {
    let number = |text: String| Decimal::from(text.as_str());
    let counted = |counts: Proportion| Counted {
        requests: i64::try_from(counts.trials).unwrap_or(i64::MAX),
        errors: i64::try_from(counts.successes).unwrap_or(i64::MAX),
    };
    let of = |shares: &Shares| {
        let [worse, within] = shares.evidence();
        Compared {
            canary: counted(shares.candidate),
            stable: counted(shares.stable),
            worse: number(format!("{worse:.4}")),
            within: number(format!("{within:.4}")),
        }
    };
    ErrorsSeen {
        allowed: number(errors.rollout.allowed.to_string()),
        rollout: of(&errors.rollout),
        step: of(&errors.step),
    }
}

/// How long a step lasts at least.
fn hold(step: &RolloutStep) -> SignedDuration {
    step.hold
        .value()
        .ok()
        .and_then(|hold| SignedDuration::try_from(hold).ok())
        .unwrap_or_default()
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

/// The share of the traffic that a canary gets, in percent.
fn share(canary: i32, stable: i32) -> i32 {
    canary * 100 / (canary + stable).max(1)
}

#[cfg(test)]
mod tests {
    use super::canary_replicas;

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
}
