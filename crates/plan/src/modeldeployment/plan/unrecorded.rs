//! What serves though its record is gone: its pods are left as they are, and what is tried beside it gets nothing by that.
//!
//! ```text
//!   record deleted ──> Service and route go on naming whom they name ──record is there again──> as before
//!                            └── what is tried does harm, or is taken back: its traffic and its pods go
//! ```

use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;
use windlass_api::{ModelDeploymentStatus, ModelVersion, labels};

use super::rollout::Next;
use super::traffic::Split;
use super::{Reconcile, replicas};
use crate::{Plan, Problem};

impl Reconcile<'_> {
    /// Whether a version is a canary beside one that serves, whose record is gone for now: nobody may say of it by that that it
    /// is good. Of one that failed, nobody may whatever serves.
    pub(super) fn is_tried_beside_what_serves(&self, target: &ModelVersion) -> bool {
        let canary = self.before.canary.as_ref();
        let tried = canary.filter(|canary| canary.version == target.name_any());
        let serves = replicas::answering(self.serves_without_record()) > 0;
        tried.is_some_and(|canary| serves || canary.failure.is_some())
    }

    /// What is wrong when the version that is asked for cannot serve and the record of the one that does was deleted.
    pub(super) fn without_record(&self, problem: Problem) -> Problem {
        let Some(stable) = &self.before.stable else {
            return problem;
        };
        Problem::new(
            "ServingRecordDeleted",
            format!(
                "the ModelVersion {0}, which serves, was deleted, or was registered anew and its files are not digested yet: its pods serve on as they are, and are neither scaled nor made again. Apply the record again, or name another version in spec.version ({1})",
                stable.version, problem.message
            ),
        )
    }

    /// The Deployment of what serves, by its name.
    pub(super) fn serves_without_record(&self) -> Option<&Deployment> {
        let stable = self.before.stable.as_ref()?;
        self.child_of(&stable.version)
    }

    /// One look at what serves without a record, where what is asked for cannot serve: what was tried beside it goes.
    pub(super) fn serve_on_without_record(&self, plan: &mut Plan<ModelDeploymentStatus>) {
        if self.before.stable.is_none() {
            return;
        }
        if replicas::answering(self.serves_without_record()) > 0 {
            self.stop_canary(plan, "what is asked for cannot serve");
        }
        self.leave_as_it_is(plan);
    }

    /// What serves without a record is left as it is; what may have no traffic beside it goes.
    fn leave_as_it_is(&self, plan: &mut Plan<ModelDeploymentStatus>) {
        self.direct(Split::Any, plan);
        let tried = self.before.canary.as_ref();
        let tried = tried.filter(|_| self.ends_trial(plan));
        let tried = tried.map(|canary| &canary.version);
        let there = self.observed.children.iter();
        let kept = there.filter(|child| {
            let is_tried =
                tried.is_some_and(|tried| child.labels().get(labels::VERSION) == Some(tried));
            !is_tried && !self.is_condemned(child)
        });
        self.delete_all_but(&kept.map(|child| child.name_any()).collect(), plan);
    }

    /// Whether a plan ends what was tried.
    fn ends_trial(&self, plan: &Plan<ModelDeploymentStatus>) -> bool {
        self.before.canary.is_some() && plan.status.canary.is_none()
    }

    /// The same while a version is tried beside it: it gets no further, but what does harm, or what a person takes back, is
    /// taken back all the same.
    pub(super) fn try_no_further(
        &self,
        target: &ModelVersion,
        plan: &mut Plan<ModelDeploymentStatus>,
    ) {
        self.leave_as_it_is(plan);
        let before = (self.before.canary.clone(), &self.before.stable);
        let (Some(mut canary), Some(stable)) = before else {
            return;
        };
        match self.does_harm(&canary) {
            Some(Next::RollBack(why)) => {
                self.roll_back(&stable.version, target, canary, &why, plan);
            }
            Some(Next::HoldUp(why)) => {
                self.hold_up(&mut canary, why);
                plan.status.canary = Some(canary);
            }
            _ => {}
        }
        plan.look_again(Some(super::rollout::LOOK));
    }

    /// Whether the pods of a Deployment may have no traffic, whatever else serves: of a version that was taken back.
    pub(super) fn is_condemned(&self, child: &Deployment) -> bool {
        let version = child.labels().get(labels::VERSION);
        let serves = self.before.stable.as_ref().map(|stable| &stable.version);
        let bakes = self.before.bake.as_ref().map(|bake| &bake.version);
        let mut taken_back = self.before.quarantine.iter();
        version != serves
            && version != bakes
            && taken_back.any(|entry| Some(&entry.version) == version)
    }

    /// Whether there are pods beside those of what serves that may have no traffic.
    pub(super) fn is_beside_what_failed(&self, plan: &Plan<ModelDeploymentStatus>) -> bool {
        let mut all = self.observed.children.iter();
        self.is_held() || self.ends_trial(plan) || all.any(|child| self.is_condemned(child))
    }

    /// Which version the Service names where nothing is known of what serves but that it answers: the one that it names, for
    /// as long as that one answers; and what serves, where what is beside it failed.
    pub(super) fn named_without_record(
        &self,
        plan: &Plan<ModelDeploymentStatus>,
    ) -> Option<String> {
        let answers = |version: &String| replicas::answering(self.child_of(version)) > 0;
        let serves = self.before.stable.as_ref().map(|stable| &stable.version);
        let name = self.deployment.name_any();
        let mut services = self.observed.services.iter();
        let live = services.find(|service| service.name_any() == name);
        let selector = live.and_then(|live| live.spec.as_ref()?.selector.as_ref());
        let named = selector.and_then(|selector| selector.get(labels::VERSION));
        let failed = serves.filter(|_| self.is_beside_what_failed(plan));
        failed.or(named).filter(|name| answers(name)).cloned()
    }
}
