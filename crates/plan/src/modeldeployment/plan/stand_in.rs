//! What serves in place of a version that has no pod that answers: the one that a person, or a deletion, has just ended the
//! trial of. It is no worse than nothing.

use kube::ResourceExt;
use windlass_api::{ModelVersion, Strategy, Surge, TrafficBy};

use super::{Reconcile, replicas};

impl<'a> Reconcile<'a> {
    /// The version that has some of the traffic and answers, while the one that is to have all does not.
    pub(super) fn stands_in(&self, stable: &ModelVersion) -> Option<&'a ModelVersion> {
        let rollout = &self.deployment.spec.rollout;
        // Where there is no room for both, it has to go first.
        let is_narrow = rollout.surge == Surge::Auto && self.replicas() <= 1;
        let answers = |version: &ModelVersion| replicas::answering(self.child(version)) > 0;
        if rollout.strategy != Strategy::Canary || is_narrow || answers(stable) {
            return None;
        }
        let traffic = self.before.traffic.as_ref()?;
        let has_some = |version: &ModelVersion| {
            let weight = traffic.weights.get(&version.name_any());
            traffic.by == TrafficBy::Replicas || weight.is_some_and(|weight| *weight > 0)
        };
        let all = self.observed.versions.iter().map(AsRef::as_ref);
        all.filter(|version| version.name_any() != stable.name_any())
            .filter(|version| !self.was_taken_back(version) && answers(version))
            .filter(|version| has_some(version))
            .max_by_key(|version| version.spec.version)
    }
}
