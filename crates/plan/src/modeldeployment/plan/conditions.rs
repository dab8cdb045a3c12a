//! What is said of it all: the phase, the conditions and the counts of pods.

use std::sync::Arc;

use jiff::SignedDuration;
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;
use windlass_api::{
    CanaryStatus, ModelDeploymentStatus, ModelVersion, RolloutOutcome, condition, labels,
};

use super::scaling::Autoscaled;
use super::{Reconcile, replicas};
use crate::conditions::Conditions;
use crate::{Note, Plan, Problem, pods};

/// How long pods of a step may be coming until how many there are so far is written for itself.
const COMING: SignedDuration = SignedDuration::from_secs(30);
/// Why pods that run are not ready, as far as can be told from outside of them.
pub(super) const NEVER_READY: &str = "the model server runs, and does not say that it is ready; its log (kubectl logs POD -c server) says why";

/// What Ready, Reconciling and Stalled say.
struct Said {
    phase: &'static str,
    ready: bool,
    stalled: bool,
    reason: String,
    message: String,
}

impl Said {
    fn under_way(phase: &'static str, message: String) -> Self {
        Self {
            phase,
            ready: false,
            stalled: false,
            reason: phase.to_owned(),
            message,
        }
    }

    fn so(phase: &'static str, message: String) -> Self {
        Self {
            phase,
            ready: true,
            stalled: false,
            reason: phase.to_owned(),
            message,
        }
    }
}

impl Reconcile<'_> {
    /// The conditions, from what is planned and what is there.
    pub(super) fn say(
        &self,
        plan: &mut Plan<ModelDeploymentStatus>,
        outcome: Result<Option<&ModelVersion>, Problem>,
    ) {
        let status = &plan.status;
        let wanted = self.replicas();
        let counted = self.counted(status, outcome.as_ref().ok().copied().flatten());
        let stable = status.stable.as_ref().map(|stable| stable.version.as_str());
        let serving = stable.and_then(|stable| self.child_of(stable));
        let stable_ready = replicas::answering(serving);
        let available = stable.is_some() && (stable_ready > 0 || wanted == 0);
        let Said {
            phase,
            ready,
            stalled,
            reason,
            message,
        } = self.said(status, outcome, serving);
        let mut conditions = Conditions::new(
            &self.before.conditions,
            self.deployment.metadata.generation,
            self.now,
        )
        .with(condition::READY, ready, &reason, &message)
        .with(
            condition::AVAILABLE,
            available,
            if available { "Serving" } else { "NotServing" },
            &available_message(stable, stable_ready),
        )
        .with(
            condition::RECONCILING,
            !ready && !stalled,
            &reason,
            &message,
        )
        .with(condition::STALLED, stalled, &reason, &message);
        if let Some(Autoscaled {
            truth,
            reason,
            message,
        }) = self.autoscaled(status)
        {
            conditions = conditions.with(condition::AUTOSCALED, truth, &reason, &message);
        }
        let known = windlass_api::find_condition(&self.before.conditions, condition::READY)
            .is_some_and(|before| before.reason == reason);
        if stalled && !known {
            plan.notes.push(Note::warning(&reason, &message));
        }
        let status = &mut plan.status;
        status.phase = Some(phase.to_owned());
        status.conditions = conditions.finish();
        if *status != *self.before || !self.awaits_pods(status) {
            (status.replicas, status.ready_replicas) = counted;
        }
    }

    /// Pods, and how many of them answer: of the versions that are to have some, once that is known.
    fn counted(&self, status: &ModelDeploymentStatus, first: Option<&ModelVersion>) -> (i32, i32) {
        let first = first.map(ResourceExt::name_any);
        let named = [
            first.as_ref(),
            status.stable.as_ref().map(|stable| &stable.version),
            status.canary.as_ref().map(|canary| &canary.version),
            status.bake.as_ref().map(|bake| &bake.version),
        ];
        let is_meant = |child: &&Arc<Deployment>| {
            let version = child.labels().get(labels::VERSION);
            status.stable.is_none() || named.contains(&version)
        };
        replicas::total(self.observed.children.iter().filter(is_meant))
    }

    /// Whether pods of a step are still coming: that they are all there is written soon, and how many there are with it.
    fn awaits_pods(&self, status: &ModelDeploymentStatus) -> bool {
        status.canary.as_ref().is_some_and(|canary| {
            canary.step_started.is_none() && self.now.duration_since(canary.since) < COMING
        })
    }

    /// What Ready, Reconciling and Stalled say. What a person has to mend comes first, but a roll-out that does not
    /// get on ends by itself, and a pod that has no part in what is asked for says nothing.
    fn said(
        &self,
        status: &ModelDeploymentStatus,
        outcome: Result<Option<&ModelVersion>, Problem>,
        serving: Option<&Deployment>,
    ) -> Said {
        let wanted = self.replicas();
        let first = match outcome {
            Ok(first) => first,
            Err(problem) => {
                let waits = problem.reason == "NoVersion" && status.stable.is_none();
                return Said {
                    phase: if waits { "Pending" } else { "Degraded" },
                    ready: false,
                    stalled: !waits,
                    reason: problem.reason,
                    message: problem.message,
                };
            }
        };
        // What serves without a record is not what is asked for, however ready it is.
        if let (Some(first), Some(stable)) = (first, &status.stable) {
            let (name, ready) = (first.name_any(), replicas::ready(self.child(first)));
            return self.starting(
                Some(&name),
                format!(
                    "{ready} of {wanted} pods of {name} are ready; {}, whose record was deleted, serves until all are",
                    stable.version
                ),
            );
        }
        if let Some(canary) = &status.canary {
            return match &canary.failure {
                Some(why) => self.held_up(canary, why),
                None => self.rolling(canary),
            };
        }
        let Some(stable) = &status.stable else {
            let ready: i32 = self
                .observed
                .children
                .iter()
                .map(|child| replicas::ready(Some(child)))
                .sum();
            return self.starting(None, format!("{ready} of {wanted} pods are ready"));
        };
        let (ready, updated) = (replicas::ready(serving), replicas::updated(serving));
        if replicas::updated_and_ready(serving) < wanted {
            return self.starting(
                Some(&stable.version),
                format!(
                    "{ready} of {wanted} pods are ready, {updated} of them are as spec asks for"
                ),
            );
        }
        match status
            .last_rollout
            .as_ref()
            .filter(|record| record.outcome == RolloutOutcome::RolledBack)
        {
            Some(record) => Said::so(
                "RolledBack",
                format!("{} was rolled back: {}", record.version, record.message),
            ),
            None => Said::so(
                "Serving",
                format!("{} serves{}", stable.version, kept(status)),
            ),
        }
    }

    fn held_up(&self, canary: &CanaryStatus, why: &str) -> Said {
        Said {
            phase: "Paused",
            ready: false,
            stalled: true,
            reason: "RolloutPaused".to_owned(),
            message: self.said_of_held(canary, why),
        }
    }

    fn rolling(&self, canary: &CanaryStatus) -> Said {
        let held_up = self
            .hindrance(canary)
            .map_or_else(String::new, |why| format!("; {why}"));
        let said = canary.analysis.clone().unwrap_or_default();
        let version = &canary.version;
        let in_place = if canary.in_place {
            "; its pods take the place of others, since there is no room for both"
        } else {
            ""
        };
        let message = match self.stage(canary) {
            // Who has how much of the traffic changes with each pod that comes, and is told once they are there.
            Some(_) if canary.step_started.is_none() => format!(
                "{version} is tried, step {}: {said}{held_up}{in_place}",
                canary.step + 1
            ),
            Some(_) => format!(
                "{version} is tried, step {}, {}% of the traffic: {said}{held_up}{in_place}",
                canary.step + 1,
                self.canary_share(canary)
            ),
            None if self.stages.is_empty() => {
                format!("{version} takes the place of what served: {said}{held_up}")
            }
            None => format!(
                "{version} has passed all steps, and takes over when all its pods are ready: {said}{held_up}{in_place}"
            ),
        };
        Said::under_way("Rolling", message)
    }

    /// Pods are on their way; or one of them does not start, which nobody but a person will mend.
    fn starting(&self, version: Option<&str>, message: String) -> Said {
        let problem = match version {
            Some(version) => self.pods_of(version).find_map(pods::problem),
            None => self.pods.iter().copied().find_map(pods::problem),
        };
        let of_version = |child: &&Deployment| {
            version.is_none_or(|version| {
                child.labels().get(labels::VERSION).map(String::as_str) == Some(version)
            })
        };
        let deployments = self.observed.children.iter().map(AsRef::as_ref);
        let stuck = || {
            deployments
                .filter(of_version)
                .find_map(|child| replicas::problem(child, self.deployment))
        };
        match problem.or_else(stuck) {
            Some(problem) => Said {
                phase: "Degraded",
                ready: false,
                stalled: true,
                reason: problem.reason,
                message: problem.message,
            },
            None => Said::under_way("Starting", message),
        }
    }
}

/// What is said of a version that is kept warm.
fn kept(status: &ModelDeploymentStatus) -> String {
    status.bake.as_ref().map_or_else(String::new, |bake| {
        format!(
            "; {} is kept until {}, to serve again if it does harm",
            bake.version, bake.until
        )
    })
}

fn available_message(stable: Option<&str>, ready: i32) -> String {
    stable.map_or_else(
        || "no version serves yet".to_owned(),
        |stable| format!("{ready} pods of {stable} are ready"),
    )
}
