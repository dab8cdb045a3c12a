//! A roll-out that has failed and waits for a person, as `rollout.onFailure: Pause` asks for.
//!
//! ```text
//!   roll-out ──harm, or never ready──> held: no traffic, its pods stay ──abort───> rolled back, and in quarantine
//!      ^                                        │
//!      └────────the step begins anew <──promote─┘
//! ```

use kube::ResourceExt;
use windlass_api::{CanaryStatus, ModelDeploymentStatus, OnFailure, Strategy, labels};

use super::Reconcile;
use super::rollout::Next;
use crate::modeldeployment::evidence::Evidence;
use crate::{Note, Plan};

impl Reconcile<'_> {
    /// Whether one that fails waits for a person. Where nothing would serve meanwhile, it does not.
    fn pauses(&self) -> bool {
        let rollout = &self.deployment.spec.rollout;
        match rollout.strategy {
            Strategy::Canary | Strategy::BlueGreen | Strategy::Shadow => {
                rollout.on_failure == OnFailure::Pause
            }
            Strategy::Recreate => false,
        }
    }

    /// What comes next when a version has failed.
    pub(super) fn fails(&self, why: String) -> Next<'static> {
        if self.pauses() {
            Next::HoldUp(why)
        } else {
            Next::RollBack(why)
        }
    }

    /// What comes next for one that is held.
    pub(super) fn held(&self, canary: &CanaryStatus, why: &str) -> Next<'static> {
        if !self.pauses() {
            Next::RollBack(why.to_owned())
        } else if self.is_let_pass(canary) {
            Next::Resume
        } else {
            Next::Stay
        }
    }

    /// Whether a roll-out is held, as it is written.
    pub(super) fn is_held(&self) -> bool {
        let canary = self.before.canary.as_ref();
        canary.is_some_and(|canary| canary.failure.is_some())
    }

    /// Takes its traffic from a canary. What was said so far was not said of this.
    pub(super) fn hold_up(&self, canary: &mut CanaryStatus, why: String) {
        let last = i32::try_from(self.stages.len()).unwrap_or(i32::MAX) - 1;
        canary.step = canary.step.min(last.max(0));
        canary.weight = 0;
        canary.step_started = None;
        canary.analysis = None;
        canary.failure = Some(why);
        canary.said_before = self.said_so_far();
    }

    /// Has the step begin anew. What was counted before says nothing of it, and who let it begin does not let it pass.
    pub(super) fn resume(&self, canary: &mut CanaryStatus, plan: &mut Plan<ModelDeploymentStatus>) {
        let why = canary.failure.clone().unwrap_or_default();
        self.forget_failure(canary);
        canary.since = self.now;
        canary.interruptions = 0;
        let said = format!("{} had the step begin anew", self.who());
        plan.notes.push(Note::normal(
            "RolloutResumed",
            format!("{}: {said}, which was held since {why}", canary.version),
        ));
        canary.analysis = Some(said);
        canary.said_before = self.said_so_far();
    }

    /// What was counted up to a failure says nothing of what begins anew.
    pub(super) fn forget_failure(&self, canary: &mut CanaryStatus) {
        if canary.failure.take().is_some() {
            canary.started = self.now;
            Evidence::forget(canary);
        }
    }

    /// What is said of a roll-out that is held: why, what serves, and what to do.
    pub(super) fn said_of_held(&self, canary: &CanaryStatus, why: &str) -> String {
        let stable = self.before.stable.as_ref();
        let stable = stable.map_or("what served before", |stable| stable.version.as_str());
        format!(
            "{} failed in step {} and gets no traffic, {stable} serves: {why}. Its pods are left to be looked at (kubectl get pods -l {}={},{}={}). {}",
            canary.version,
            canary.step + 1,
            labels::DEPLOYMENT,
            self.deployment.name_any(),
            labels::VERSION,
            canary.version,
            self.how_to_decide(canary)
        )
    }
}
