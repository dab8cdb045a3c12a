//! What of a deployment two looks may tell apart.

use std::collections::BTreeMap;

use kube::ResourceExt;
use serde_json::{Value, json};
use windlass_api::{CanaryStatus, ModelDeploymentStatus, condition};

use super::super::world::World;
use super::{LONG, Rolling};
use crate::fixtures::at;
use crate::model::{self, Model};
use crate::modeldeployment::{Evidence, sides};
use crate::modelversion::verdict;

/// What counts come to: whether any are known, whether requests fail, and whether any are of this step. No decision tells
/// apart how many there are of them here.
fn classes(evidence: Option<&Evidence>) -> [bool; 3] {
    let errors = evidence.and_then(|evidence| evidence.errors);
    errors.map_or([false; 3], |errors| {
        let of_all = errors.rollout.candidate;
        let of_step = errors.step.candidate;
        [of_all.trials > 0, of_all.successes > 0, of_step.trials > 0]
    })
}

impl Rolling {
    /// What is counted of the canary, as the operator knows it.
    pub(super) fn counted(&self) -> [bool; 3] {
        classes(self.world.evidence().as_ref())
    }

    /// The same, as it is written.
    fn written(&self) -> [bool; 3] {
        let sides = sides(&self.world.observed.deployment);
        classes(sides.map(|sides| sides.evidence).as_ref())
    }

    /// Whether the operator knows more than is written.
    pub(super) fn has_counted(&self) -> bool {
        self.counted() != self.written()
            || self.world.observed.bake.is_some()
            || !self.world.observed.traffic.is_empty()
    }

    pub(super) fn all_that_matters(&self) -> Value {
        let World { observed, .. } = &self.world;
        let status = self.world.status();
        let mut children = BTreeMap::new();
        for child in &observed.children {
            let known = child.status.as_ref();
            let seen = known.and_then(|one| one.observed_generation);
            let is_seen = seen >= child.metadata.generation;
            let pods = known.map(|one| [one.replicas, one.ready_replicas]);
            let asked = child.spec.replicas;
            children.insert(child.name_any(), json!([asked, pods, is_seen]));
        }
        let services: BTreeMap<String, Option<String>> = observed
            .services
            .iter()
            .map(|service| service.name_any())
            .map(|name| (name.clone(), self.world.selected(&name)))
            .collect();
        let mut versions = BTreeMap::new();
        for version in &observed.versions {
            let review = version.spec.review.as_ref().map(|one| one.decision);
            versions.insert(version.name_any(), json!([verdict(version), review]));
        }
        let rollout = &observed.deployment.spec.rollout;
        let route = observed.gateway.route.as_ref().map(|route| &route.spec);
        let mut state = json!({
            "status": self.decided(&status), "children": children, "services": services, "versions": versions,
            "route": [json!(route), json!(self.route_is())], "asked": observed.deployment.spec.version,
            "annotations": observed.deployment.annotations(), "reading": self.reading(),
            "counted": [json!(self.counted()), json!(self.written()), json!(observed.traffic.len())], "bakes badly": observed.bake.is_some(),
            "free": self.is_free,
            "which": [json!(rollout.strategy), json!(rollout.on_failure), json!(rollout.traffic.is_some()), json!(rollout.analysis.len())],
        });
        model::aged(&mut state, at(self.world.now), LONG);
        state
    }

    /// What of a status is read again: not what is said, nor when and on what it was decided.
    fn decided(&self, status: &ModelDeploymentStatus) -> Value {
        let mut quarantine: Vec<_> = status.quarantine.iter().map(|one| &one.version).collect();
        quarantine.sort();
        let stable = status.stable.as_ref().map(|one| &one.version);
        let bake = status.bake.as_ref();
        let bake = bake.map(|bake| json!([bake.version, bake.until, bake.limit.is_some()]));
        let outcome = status.last_rollout.as_ref().map(|record| record.outcome);
        json!([
            Model::said(self),
            self.world.is(condition::AVAILABLE),
            stable,
            status.canary.as_ref().map(tried),
            bake,
            quarantine,
            outcome,
            status.traffic,
            status.resolved.is_some()
        ])
    }
}

fn tried(canary: &CanaryStatus) -> Value {
    json!([
        canary.version,
        canary.step,
        canary.weight,
        canary.since,
        canary.step_started,
        canary.step_replicas,
        canary.interruptions,
        canary.failure.is_some(),
        canary.said_before
    ])
}
