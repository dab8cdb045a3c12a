//! What comes next in a roll-out: told from how far the canary is, whether its pods are ready, and how it does.

use jiff::SignedDuration;
use windlass_api::CanaryStatus;

use super::super::conditions::NEVER_READY;
use super::super::traffic::Split;
use super::super::words::{began, lasts};
use super::super::{Reconcile, replicas};
use super::sizes::Sizes;
use crate::modeldeployment::analysis::{self, Finding, Seen};
use crate::modeldeployment::children;
use crate::modeldeployment::gateway::Taken;
use crate::modeldeployment::readings::Names;
use crate::modeldeployment::stages::Stage;
use crate::pods;

/// How often pods of a step may be lost, each time to be awaited anew: a node may go, a server that ends by itself may not.
const MOST_INTERRUPTIONS: i32 = 3;
/// What is said of a route that a Gateway has to take.
const NOT_TAKEN: &str = "the Gateway has not taken the route yet";

/// What comes next in a roll-out.
pub(in crate::modeldeployment::plan) enum Next<'a> {
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
    fn judge(&self, canary: &CanaryStatus) -> Finding {
        let rollout = &self.deployment.spec.rollout;
        let (is_compared, is_asked) = (self.is_analysed(), self.is_asked_of());
        if !is_compared && !is_asked {
            return Finding::Good("all its pods are ready".to_owned());
        }
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
            labelled: canary.labelled.as_ref(),
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
            is_compared,
        };
        let least = if is_compared {
            rollout.min_requests.unsigned_abs()
        } else {
            0
        };
        analysis::judge(&rollout.analysis, &seen, least)
    }

    /// What comes of a canary that does harm, or that a person takes back; nothing where neither is so, or it is held already.
    pub(in crate::modeldeployment::plan) fn does_harm(
        &self,
        canary: &CanaryStatus,
    ) -> Option<Next<'static>> {
        if let Some(why) = self.aborted(canary) {
            return Some(Next::RollBack(why));
        }
        match self.judge(canary) {
            Finding::Harm(why) if canary.failure.is_none() => Some(self.fails(why)),
            Finding::Harm(_) | Finding::Good(_) | Finding::Wait(_) => None,
        }
    }

    /// What comes next, told from how far the canary is, whether its pods are ready and how it does.
    pub(super) fn next(
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
    pub(in crate::modeldeployment::plan) fn hindrance(
        &self,
        canary: &CanaryStatus,
    ) -> Option<String> {
        let of_pods = self.pods_of(&canary.version).find_map(pods::hindrance);
        let of_pods = of_pods.map(|problem| problem.message);
        of_pods.or_else(|| self.not_made(canary))
    }

    /// Why no pods of the canary are made.
    pub(super) fn not_made(&self, canary: &CanaryStatus) -> Option<String> {
        let problem = replicas::problem(self.child_of(&canary.version)?, self.deployment)?;
        (problem.reason == replicas::NOT_CREATED).then_some(problem.message)
    }

    /// How long the pods of a stage are waited for.
    pub(super) fn deadline(&self) -> SignedDuration {
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
}
