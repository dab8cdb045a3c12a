//! What must never become of a deployment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::ResourceExt;
use windlass_api::agent::Verdict;
use windlass_api::{CanaryStatus, Strategy, condition, labels};

use super::super::world::World;
use super::{By, Rolling};
use crate::fixtures::at;
use crate::model;
use crate::modelversion::{is_approved, verdict};

impl Rolling {
    /// Which part of the traffic each version gets, in percent.
    fn traffic(&self) -> BTreeMap<String, i64> {
        let world = &self.world;
        if world.observed.gateway.route.is_some() {
            let all = world.routed().into_iter();
            let some = all.filter(|(_, weight)| *weight > 0);
            return some
                .filter_map(|(service, weight)| Some((world.selected(&service)?, weight)))
                .collect();
        }
        if let Some(pinned) = world.pinned() {
            return [(pinned, 100)].into();
        }
        if world.observed.services.is_empty() {
            return BTreeMap::new();
        }
        let all = i64::from(world.capacity()).max(1);
        let mut parts = BTreeMap::new();
        for child in &world.observed.children {
            let version = child.labels()[labels::VERSION].clone();
            let ready = i64::from(self.ready(&version));
            if ready > 0 {
                parts.insert(version, ready * 100 / all);
            }
        }
        parts
    }

    /// Pods that answer, and are asked.
    fn serving(&self) -> i32 {
        let traffic = self.traffic();
        traffic.keys().map(|version| self.ready(version)).sum()
    }

    /// The same, of what serves and of what was neither taken back nor deleted.
    fn serving_well(&self) -> i32 {
        let stable = self.world.stable();
        let is_good = |name: &&String| {
            let version = self.version(name);
            stable.as_ref() == Some(*name)
                || version.is_some_and(|version| self.times_taken_back(version) == 0)
        };
        let traffic = self.traffic();
        let good = traffic.keys().filter(is_good);
        good.map(|version| self.ready(version)).sum()
    }

    /// Why a version may not have any traffic.
    fn is_barred(&self, name: &str) -> Option<&'static str> {
        let Some(version) = self.version(name) else {
            return Some("of which there is no record");
        };
        match verdict(version) {
            Some(Verdict::Pass) => {}
            Some(Verdict::Fail | Verdict::Inconclusive) => return Some("which was found bad"),
            None => return Some("which nobody found good"),
        }
        if !is_approved(version) {
            return Some("which nobody approved");
        }
        let is_quarantined = self.times_taken_back(version) > 0 && !self.is_forced(version);
        is_quarantined.then_some("which is in quarantine")
    }

    /// What served, or is kept to serve again, was good once.
    fn serves_or_did(&self) -> BTreeSet<String> {
        let status = self.world.status();
        let stable = status.stable.map(|one| one.version);
        stable
            .into_iter()
            .chain(status.bake.map(|bake| bake.version))
            .collect()
    }

    /// Whether what was counted of the canary shows that it does harm.
    fn does_harm(&self) -> bool {
        let [_, fails, _] = self.counted();
        let is_asked = !self.world.observed.traffic.is_empty();
        let says_so = self.reading() == Some(("bad", 0));
        fails || (is_asked && says_so)
    }

    /// How many pods a canary has at most where it is.
    fn allowed_pods(&self, canary: Option<&CanaryStatus>) -> i32 {
        let rollout = &self.world.observed.deployment.spec.rollout;
        let is_first = canary.is_none_or(|canary| canary.step == 0);
        if rollout.strategy == Strategy::Canary && is_first {
            1
        } else {
            self.wanted()
        }
    }

    /// What is wrong after a look, whole or not, at the world before.
    pub(super) fn is_wrong_after(&self, before: &Self) -> Option<String> {
        self.bars(before)
            .or_else(|| self.takes_away(before))
            .or_else(|| self.skips(before))
            .or_else(|| self.changes_what_serves(before))
    }

    /// No pods for, and no traffic to, what may not have any.
    fn bars(&self, before: &Self) -> Option<String> {
        let known = before.serves_or_did();
        for child in &self.world.observed.children {
            let version = &child.labels()[labels::VERSION];
            let asked = |world: &World| {
                let mut all = world.observed.children.iter();
                let found = all.find(|one| one.name_any() == child.name_any());
                found.and_then(|one| one.spec.replicas).unwrap_or(0)
            };
            let grows = asked(&self.world) > asked(&before.world);
            if grows
                && !known.contains(version)
                && let Some(why) = before.is_barred(version)
            {
                return Some(format!("pods are made of {version}, {why}"));
            }
        }
        let old = before.traffic();
        let status = before.world.status();
        let tried = status.canary.as_ref().map(|canary| &canary.version);
        let is_without_record =
            status.stable.is_none() || known.iter().any(|known| before.version(known).is_none());
        for version in self.traffic().keys() {
            let Some(why) = before
                .is_barred(version)
                .filter(|_| !known.contains(version))
            else {
                continue;
            };
            let is_new = !old.contains_key(version);
            let stays = self.by == By::Look && tried != Some(version) && !is_without_record;
            if is_new || stays {
                return Some(format!("traffic goes to {version}, {why}"));
            }
        }
        None
    }

    /// What serves well is not taken away for what does not serve.
    fn takes_away(&self, before: &Self) -> Option<String> {
        let (had, has) = (before.serving_well(), self.serving());
        if had > 0 && has == 0 && !before.does_harm() {
            return Some(format!("{had} pods served, and none does now"));
        }
        let stable = before.world.stable()?;
        let least = before.ready(&stable).min(before.wanted());
        let is_stable = self.world.stable().as_ref() == Some(&stable);
        let left = self.ready(&stable);
        (is_stable && left < least)
            .then(|| format!("{least} pods of {stable}, which serves, answered, and {left} do now"))
    }

    /// Weights rise, and no step is skipped.
    fn skips(&self, before: &Self) -> Option<String> {
        let (old, new) = (before.world.status().canary, self.world.status().canary);
        if let Some(canary) = new.as_ref().or(old.as_ref()) {
            let name = &canary.version;
            let same = old.as_ref().filter(|old| old.version == *name);
            let stable = before.world.stable().unwrap_or_default();
            let asked = |world: &World| {
                let mut all = world.observed.children.iter();
                let found = all.find(|one| one.labels()[labels::VERSION] == *name);
                found.and_then(|one| one.spec.replicas).unwrap_or(0)
            };
            let most = before.allowed_pods(same).max(asked(&before.world));
            let is_first = stable.is_empty() || before.version(&stable).is_none();
            if asked(&self.world) > most && new.is_some() && !is_first {
                return Some(format!("{name} has more pods than its step has"));
            }
            let is_routed = self.world.observed.gateway.route.is_some();
            let weight = same.map_or(0, |same| i64::from(same.weight));
            let (was, has) = [before, self]
                .map(|one| one.traffic())
                .map(|all| all.get(name).copied().unwrap_or(0))
                .into();
            if is_routed && has > weight.max(was) && before.ready(&stable) > 0 && new.is_some() {
                return Some(format!(
                    "{name} has {has}% of the traffic, and its step has {weight}%"
                ));
            }
            let answers = before.ready(name) > 0;
            let stays = new
                .as_ref()
                .is_some_and(|new| new.failure.is_none() && new.version == *name);
            let is_kept = same.is_some_and(|same| same.failure.is_none());
            let is_alone = before.ready(&stable) == 0 || was == 100;
            if self.by == By::Look
                && is_routed
                && has < was
                && answers
                && stays
                && is_kept
                && !is_alone
            {
                return Some(format!(
                    "{name} had {was}% of the traffic, and has {has}% now"
                ));
            }
        }
        let (old, new) = (old?, new?);
        if (&old.version, old.started) != (&new.version, new.started) {
            let is_at_the_beginning = new.step == 0 || old.failure.is_some();
            return (!is_at_the_beginning).then(|| "a canary begins in the middle".to_owned());
        }
        if new.failure.is_some() {
            return (new.weight != 0).then(|| "what failed has a share of the traffic".to_owned());
        }
        if new.weight < old.weight || new.step < old.step {
            return Some("a weight goes back, and nothing was taken back".to_owned());
        }
        if self.by == By::Look && before.does_harm() && old.failure.is_none() {
            return Some("what does harm goes on".to_owned());
        }
        if new.step == old.step {
            return None;
        }
        if new.step > old.step + 1 {
            return Some("a step is skipped".to_owned());
        }
        before.may_not_pass(&old).map(str::to_owned)
    }

    /// Why the step that a canary is at may not pass.
    fn may_not_pass(&self, canary: &CanaryStatus) -> Option<&'static str> {
        let Some(begun) = canary.step_started else {
            return Some("a step passes that has not begun");
        };
        if at(self.world.now).duration_since(begun).as_secs() < 60 {
            return Some("a step passes before its time");
        }
        if self.does_harm() {
            return Some("a step passes though it does harm");
        }
        if self.ready(&canary.version) < canary.step_replicas.unwrap_or(1) {
            return Some("a step passes without its pods");
        }
        let word = self.passage(canary);
        if self.annotation(windlass_api::annotations::PROMOTE) == Some(&word) {
            return None;
        }
        let steps = &self.world.observed.deployment.spec.rollout.steps;
        let step = usize::try_from(canary.step).unwrap_or(0);
        let is_canary = self.world.observed.deployment.spec.rollout.strategy == Strategy::Canary;
        if is_canary && steps.get(step).is_some_and(|step| step.pause) {
            return Some("a step passes though nobody let it");
        }
        let [_, _, is_known] = self.counted();
        let is_good = self.reading().is_some_and(|(said, _)| said == "good");
        let checks = &self.world.observed.deployment.spec.rollout.analysis;
        let is_shown = checks.is_empty() || if self.is_asked() { is_good } else { is_known };
        (!is_shown).then_some("a step passes on no evidence")
    }

    /// What serves changes to what has all its pods, and for a reason.
    fn changes_what_serves(&self, before: &Self) -> Option<String> {
        let (old, new) = (before.world.status(), self.world.status());
        let of = |status: &windlass_api::ModelDeploymentStatus| {
            status.stable.as_ref().map(|one| one.version.clone())
        };
        if of(&old) == of(&new) {
            return None;
        }
        let Some(stable) = of(&new) else {
            return Some("what serves is forgotten".to_owned());
        };
        if old.bake.as_ref().is_some_and(|bake| bake.version == stable) {
            let may = before.ready(&stable) > 0 && before.world.observed.bake.is_some();
            return (!may).then(|| format!("{stable} serves again, and cannot, or for no reason"));
        }
        if let Some(why) = before.is_barred(&stable) {
            return Some(format!("{stable} serves, {why}"));
        }
        if before.ready(&stable) < before.wanted() {
            return Some(format!("{stable} serves, and not all its pods are ready"));
        }
        let failed = old.canary.as_ref().filter(|one| one.failure.is_some());
        if failed.is_some_and(|canary| canary.version == stable) {
            return Some(format!("{stable} serves, which failed, and nobody let it"));
        }
        let has_record = of(&old).is_some_and(|old| before.version(&old).is_some());
        let Some(canary) = old.canary.filter(|_| has_record) else {
            return has_record.then(|| format!("{stable} serves, and was never tried"));
        };
        if canary.step + 1 < self.stages() {
            return Some(format!("{stable} serves, and steps are left"));
        }
        if canary.step < self.stages() {
            return before.may_not_pass(&canary).map(str::to_owned);
        }
        before
            .does_harm()
            .then(|| format!("{stable} serves, and does harm"))
    }

    /// What is wrong with a world in which a look changes nothing.
    pub(super) fn is_wrong_at_rest(&self) -> Option<String> {
        self.leaves_something()
            .or_else(|| self.is_not_as_it_says())
            .or_else(|| {
                let status = self.world.status();
                model::unexplained(&status.conditions, self.is_awaited())
            })
    }

    /// A deletion leaves nothing: of what is deleted itself, and of a version that has no part in it any more.
    fn leaves_something(&self) -> Option<String> {
        let mut deleted = self.world.clone();
        let now = Time(at(self.world.now));
        Arc::make_mut(&mut deleted.observed.deployment)
            .metadata
            .deletion_timestamp = Some(now);
        if !deleted.plan().steps.is_empty() {
            return Some("something is done though it is being deleted".to_owned());
        }
        let observed = &self.world.observed;
        let children = observed.children.iter().map(|one| &one.metadata);
        let services = observed.services.iter().map(|one| &one.metadata);
        let routes = observed.gateway.route.iter().map(|one| &one.metadata);
        let is_owned = |meta: &ObjectMeta| {
            let owners = meta.owner_references.iter().flatten();
            owners.into_iter().any(|one| one.uid == "uid-churn")
        };
        let mut all = children.chain(services).chain(routes);
        if let Some(left) = all.find(|meta| !is_owned(meta)) {
            return Some(format!("{:?} would outlive it", left.name));
        }
        let status = self.world.status();
        if status.stable.is_none() || self.world.plan().again.is_some() {
            return None;
        }
        let mut meant = self.serves_or_did();
        meant.extend(status.canary.map(|canary| canary.version));
        let is_without_record = meant.iter().any(|known| self.version(known).is_none());
        let of = |labels: &BTreeMap<String, String>| labels.get(labels::VERSION).cloned();
        let children = observed.children.iter().map(|one| of(one.labels()));
        let services = observed.services.iter().map(|one| of(one.labels()));
        let mut all = children.chain(services).flatten();
        let left = all.find(|version| !meant.contains(version))?;
        (!is_without_record).then(|| format!("something is left of {left}"))
    }

    /// Ready is what is asked for, with all its pods and all the traffic.
    fn is_not_as_it_says(&self) -> Option<String> {
        let stable = self.world.stable().unwrap_or_default();
        let is_available = self.world.is(condition::AVAILABLE);
        if is_available != (self.ready(&stable) > 0) {
            return Some("what it says of what serves is not so".to_owned());
        }
        if !self.world.is(condition::READY) {
            return None;
        }
        if self.ready(&stable) < self.wanted() {
            return Some("it says that it is ready, and lacks pods".to_owned());
        }
        let named = self.named().map(|number| format!("churn-{number}"));
        if named.is_some_and(|named| named != stable) {
            return Some("it says that it is ready, and another version is asked for".to_owned());
        }
        let traffic = self.traffic();
        let is_whole = traffic.len() == 1 && traffic.contains_key(&stable);
        (!is_whole)
            .then(|| format!("it says that {stable} serves, and traffic goes to {traffic:?}"))
    }

    /// Whether anything is under way.
    fn is_awaited(&self) -> bool {
        let children = &self.world.observed.children;
        let lacks_pods = children.iter().any(|child| {
            let ready = child.status.as_ref().and_then(|one| one.ready_replicas);
            ready < child.spec.replicas
        });
        let is_routed = self.world.observed.gateway.route.is_some();
        let route = is_routed && self.route_is().is_none();
        // Nobody knows of a version that is yet to be trained.
        let is_pending = self.world.status().phase.as_deref() == Some("Pending");
        self.world.plan().again.is_some() || lacks_pods || route || is_pending
    }
}
