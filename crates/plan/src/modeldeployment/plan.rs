//! The decisions on a ModelDeployment.
//!
//! ```text
//!   target ──> made ──┬─ nothing serves yet ──> first ────────────────────────────┬──> conditions
//!                     ├─ it serves already ───> apply, watch (bake) ──────────────┤
//!                     └─ another one serves ──> rollout (does harm: quarantine) ──┘
//!                                              each: traffic
//! ```

mod bake;
mod conditions;
mod held;
mod looks;
mod made;
mod people;
mod quarantine;
mod replicas;
mod rollout;
mod scaling;
mod stand_in;
mod target;
mod traffic;
mod unrecorded;
mod words;

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde::Serialize;
use windlass_api::{
    Action, ModelDeployment, ModelDeploymentStatus, ModelVersion, RolloutEvent, SeenThen,
    StableStatus, labels,
};

use self::bake::Watched;
use self::made::Made;
use self::rollout::Pair;
use self::traffic::Split;
use super::children;
use super::gateway;
use super::observed::Observed;
use super::stages::{Stage, stages};
use crate::{Child, Doomed, Note, Plan, Problem, Step, digest, pods};

/// Events that are kept.
const KEPT_EVENTS: usize = 50;
/// What is known, as a record of a decision keeps it.
fn seen(known: &impl Serialize) -> SeenThen {
    SeenThen(serde_json::to_value(known).expect("our own types always serialize"))
}

/// Bytes of an event's reason.
const MOST_REASON: usize = 1024;

/// A reason as it is kept: it may have what a server said last.
fn short(why: &str) -> String {
    why[..why.floor_char_boundary(MOST_REASON)].to_owned()
}

/// What is to be done about a ModelDeployment.
pub fn plan(observed: &Observed, now: Timestamp) -> Plan<ModelDeploymentStatus> {
    let deployment = &*observed.deployment;
    let before = deployment.status.clone().unwrap_or_default();
    if deployment.metadata.deletion_timestamp.is_some() {
        return Plan::status_only(before);
    }
    let reconcile = Reconcile::new(observed, &before, now);
    let mut plan = Plan::status_only(reconcile.base());
    let outcome = reconcile.advance(&mut plan);
    reconcile.autoscale(&mut plan);
    reconcile.look_at_labels(&mut plan);
    reconcile.say(&mut plan, outcome);
    plan
}

/// What is to be said when the API server refused a step of the plan: what serves is as it was.
pub fn refused(
    observed: &Observed,
    problem: &Problem,
    now: Timestamp,
) -> Plan<ModelDeploymentStatus> {
    let deployment = &*observed.deployment;
    let before = deployment.status.clone().unwrap_or_default();
    let reconcile = Reconcile::new(observed, &before, now);
    let mut plan = Plan::status_only(reconcile.base());
    reconcile.say(&mut plan, Err(problem.clone()));
    plan
}

struct Reconcile<'a> {
    observed: &'a Observed,
    /// The pods of all versions, in order.
    pods: Vec<&'a Pod>,
    deployment: &'a ModelDeployment,
    before: &'a ModelDeploymentStatus,
    stages: Vec<Stage>,
    /// What stands against traffic by a Gateway.
    routing_problem: Option<Problem>,
    now: Timestamp,
}

impl<'a> Reconcile<'a> {
    fn new(observed: &'a Observed, before: &'a ModelDeploymentStatus, now: Timestamp) -> Self {
        let deployment = &*observed.deployment;
        let rollout = &deployment.spec.rollout;
        let routing = rollout.traffic.as_ref();
        Self {
            observed,
            pods: pods::in_order(&observed.pods),
            deployment,
            before,
            stages: stages(rollout),
            routing_problem: routing
                .and_then(|routing| gateway::problem(deployment, routing, &observed.gateway)),
            now,
        }
    }

    fn base(&self) -> ModelDeploymentStatus {
        let selector: Vec<String> = children::selector(self.deployment)
            .into_iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        ModelDeploymentStatus {
            observed_generation: self.deployment.metadata.generation,
            selector: Some(selector.join(",")),
            ..self.before.clone()
        }
    }

    fn version(&self, name: &str) -> Option<&'a ModelVersion> {
        self.observed
            .versions
            .iter()
            .map(AsRef::as_ref)
            .find(|version| version.name_any() == name)
    }

    /// The version of this name, with the files that it had: one that was registered anew is on record once its files are
    /// digested, if they are the same.
    fn on_record(&self, name: &str, digest: Option<&str>) -> Option<&'a ModelVersion> {
        let version = self.version(name)?;
        let now = version.digest()?;
        digest.is_none_or(|before| before == now).then_some(version)
    }

    fn child(&self, version: &ModelVersion) -> Option<&'a Deployment> {
        let name = children::deployment_name(self.deployment, version);
        self.observed
            .children
            .iter()
            .map(AsRef::as_ref)
            .find(|child| child.name_any() == name)
    }

    /// The Deployment of a version by its name, which may be all that is left of it.
    fn child_of(&self, version: &str) -> Option<&'a Deployment> {
        self.observed
            .children
            .iter()
            .map(AsRef::as_ref)
            .find(|child| {
                child
                    .labels()
                    .get(labels::VERSION)
                    .is_some_and(|label| label == version)
            })
    }

    /// Whether a version has this many pods that are ready.
    fn has_ready(&self, version: &ModelVersion, wanted: i32) -> bool {
        let child = self.child(version);
        child.is_some() && replicas::ready(child) >= wanted
    }

    fn pods_of(&self, version: &str) -> impl Iterator<Item = &'a Pod> {
        let is_of = move |pod: &&Pod| {
            let label = pod.labels().get(labels::VERSION);
            label.is_some_and(|label| label == version)
        };
        self.pods.iter().copied().filter(is_of)
    }

    /// The steps; and the version that is to be the first to serve, while it is not ready.
    fn advance(
        &self,
        plan: &mut Plan<ModelDeploymentStatus>,
    ) -> Result<Option<&'a ModelVersion>, Problem> {
        let stable = self
            .before
            .stable
            .as_ref()
            .and_then(|stable| self.on_record(&stable.version, stable.digest.as_deref()));
        let target = match (self.target(), stable) {
            (Ok(target), _) => target,
            // What served before goes on serving, whatever is wrong with what is asked for.
            (Err(problem), Some(stable)) => {
                self.serve_on(stable, plan)?;
                return Err(problem);
            }
            (Err(problem), None) => {
                // Of what serves without a record, the Service can still be kept; its pods are left as they are.
                self.serve_on_without_record(plan);
                return Err(self.without_record(problem));
            }
        };
        if let Err(problem) = self.check_claims().and_then(|()| self.check_routing()) {
            if let Some(stable) = stable {
                self.serve_on(stable, plan)?;
            }
            return Err(problem);
        }
        let made = self.made(target, &mut plan.status)?;
        if stable.is_none() && self.is_tried_beside_what_serves(target) {
            self.try_no_further(target, plan);
            let problem = format!("{} is tried beside it", target.name_any());
            return Err(self.without_record(Problem::new("VersionTried", problem)));
        }
        match stable {
            None => return Ok((!self.first(target, &made, plan)).then_some(target)),
            Some(stable) if stable.name_any() == target.name_any() => {
                self.stop_canary(plan, &format!("{} is asked for", stable.name_any()));
                self.serve(stable, &made, plan)?;
            }
            Some(stable) => {
                let resolved = plan
                    .status
                    .resolved
                    .as_ref()
                    .expect("made has just taken it down");
                let of_stable = self.made_from(resolved, stable)?;
                self.roll(
                    &Pair {
                        stable,
                        target,
                        of_stable: &of_stable,
                        of_target: &made,
                    },
                    plan,
                )?;
            }
        }
        Ok(None)
    }

    /// All traffic goes to one version; that of the one before is kept while this one bakes.
    fn serve(
        &self,
        stable: &'a ModelVersion,
        made: &Made,
        plan: &mut Plan<ModelDeploymentStatus>,
    ) -> Result<(), Problem> {
        let Watched::Serves(baked) = self.watch(stable, plan) else {
            return Ok(());
        };
        let stand_in = self.stands_in(stable);
        let split = Split::All(stand_in.unwrap_or(stable));
        self.apply(stable, self.replicas(), made, plan);
        // The traffic is elsewhere before pods go.
        self.direct(split, plan);
        let mut kept = vec![children::deployment_name(self.deployment, stable)];
        if let Some(child) = baked {
            self.keep_warm(made, plan);
            kept.push(child);
        }
        kept.extend(stand_in.map(|version| children::deployment_name(self.deployment, version)));
        // What was taken back in favour of this one goes once this one answers; where there is one place alone, before.
        let answers = replicas::answering(self.child(stable)) > 0;
        if answers || self.routing().is_none() || self.replicas() <= 1 {
            self.delete_others(split, &kept, plan);
        }
        self.delete_services(plan);
        self.refused_route(split).map_or(Ok(()), Err)
    }

    /// The version before, while it is kept, has as many pods as the one that serves: it may have to take its place.
    fn keep_warm(&self, made: &Made, plan: &mut Plan<ModelDeploymentStatus>) {
        let Some(bake) = &self.before.bake else {
            return;
        };
        let wanted = self.replicas();
        let child = self.child_of(&bake.version);
        let asked = child.and_then(|child| child.spec.replicas);
        let Some(old) = self
            .on_record(&bake.version, bake.digest.as_deref())
            .filter(|_| asked.is_some_and(|asked| asked < wanted))
        else {
            return;
        };
        let resolved = plan.status.resolved.as_ref();
        let of_old = resolved.and_then(|resolved| self.made_from(resolved, old).ok());
        self.apply(old, wanted, of_old.as_ref().unwrap_or(made), plan);
    }

    /// The claim that payloads are logged to has to be there.
    fn check_claims(&self) -> Result<(), Problem> {
        let named = self
            .deployment
            .spec
            .observe
            .as_ref()
            .and_then(|observe| observe.log_payloads.as_ref())
            .map(|log| ("spec.observe.logPayloads.uri", &log.uri));
        pods::check_claims(
            named,
            &self.observed.claims,
            &self.deployment.namespace().unwrap_or_default(),
        )
    }

    /// Keeps what serves as it is: its replicas are what is asked for, its pods are not touched.
    fn serve_on(
        &self,
        stable: &'a ModelVersion,
        plan: &mut Plan<ModelDeploymentStatus>,
    ) -> Result<(), Problem> {
        self.stop_canary(plan, "what is asked for cannot serve");
        // Whatever else was changed on the object together with the version waits until the version is right.
        let Some(resolved) = &self.before.resolved else {
            let kept = [children::deployment_name(self.deployment, stable)];
            self.delete_others(Split::All(stable), &kept, plan);
            return Ok(());
        };
        let made = self.made_from(resolved, stable)?;
        self.serve(stable, &made, plan)
    }

    /// The first version: there is nothing to compare it with. Whether it serves.
    fn first(
        &self,
        target: &'a ModelVersion,
        made: &Made,
        plan: &mut Plan<ModelDeploymentStatus>,
    ) -> bool {
        let replicas = self.replicas();
        self.apply(target, replicas, made, plan);
        let ready = self.has_ready(target, replicas);
        // Of what serves without a record nothing is known but that it answers: all that does is served.
        let is_alone = self.before.stable.is_none();
        let split = if is_alone {
            Split::All(target)
        } else {
            Split::Any
        };
        self.direct(split, plan);
        // Another version may be answering: one that was still starting, or that served and whose record is gone. It goes once
        // this one is on record as the one that serves, and traffic goes to it.
        let others = self
            .observed
            .children
            .iter()
            .filter(|child| replicas::answering(Some(child)) > 0 && !self.is_condemned(child))
            .map(|child| child.name_any());
        let kept = others
            .chain([children::deployment_name(self.deployment, target)])
            .collect();
        self.delete_all_but(&kept, plan);
        self.stop_canary(
            plan,
            "nothing serves any more that it could be tried beside",
        );
        if ready {
            self.note_event(
                plan,
                &target.name_any(),
                Action::Promoted,
                "nothing served before",
            );
            plan.status.stable = Some(StableStatus {
                version: target.name_any(),
                since: self.now,
                digest: target.digest().map(str::to_owned),
            });
            plan.notes.push(Note::normal(
                "Serving",
                format!("{} serves", target.name_any()),
            ));
        }
        ready
    }

    /// Takes a canary away that did no harm.
    fn stop_canary(&self, plan: &mut Plan<ModelDeploymentStatus>, why: &str) {
        if let Some(canary) = plan.status.canary.take() {
            self.note_event(plan, &canary.version, Action::CanaryStopped, why);
        }
    }

    /// Writes down what happened to a version, with the status that makes it so.
    fn note_event(
        &self,
        plan: &mut Plan<ModelDeploymentStatus>,
        version: &str,
        action: Action,
        why: &str,
    ) {
        let canary = self.before.canary.as_ref();
        let seen = canary.filter(|canary| canary.version == version);
        self.note_decision(plan, version, action, why, seen.map(digest::of));
    }

    /// The same of a decision that rests on what has this digest.
    fn note_decision(
        &self,
        plan: &mut Plan<ModelDeploymentStatus>,
        version: &str,
        action: Action,
        why: &str,
        evidence: Option<String>,
    ) {
        plan.status.history.push(RolloutEvent {
            version: version.to_owned(),
            action,
            time: self.now,
            reason: short(why),
            evidence,
        });
        let surplus = plan.status.history.len().saturating_sub(KEPT_EVENTS);
        plan.status.history.drain(..surplus);
    }

    fn apply(
        &self,
        version: &ModelVersion,
        replicas: i32,
        made: &Made,
        plan: &mut Plan<ModelDeploymentStatus>,
    ) {
        let child = children::version_deployment(
            self.deployment,
            version,
            replicas,
            &made.server,
            &made.agent_image,
        );
        plan.steps
            .push(Step::Apply(Child::Deployment(Box::new(child))));
    }

    fn delete_all_but(&self, kept: &BTreeSet<String>, plan: &mut Plan<ModelDeploymentStatus>) {
        let there = self
            .observed
            .children
            .iter()
            .filter(|child| child.metadata.deletion_timestamp.is_none());
        let doomed: BTreeSet<String> = there
            .map(|child| child.name_any())
            .filter(|name| !kept.contains(name))
            .collect();
        plan.steps.extend(
            doomed
                .into_iter()
                .map(|name| Step::Delete(Doomed::Deployment(name))),
        );
    }
}
