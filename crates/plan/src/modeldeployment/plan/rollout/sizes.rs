//! How many pods each side of a roll-out is to have.

use windlass_api::{CanaryStatus, ModelVersion, Strategy};

use super::super::{Reconcile, replicas};

/// How many pods each side is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    pub stable: i32,
    pub canary: i32,
}

impl Reconcile<'_> {
    /// How many pods each side is to have.
    pub(super) fn sizes(
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
pub(super) fn share(canary: i32, stable: i32) -> i32 {
    canary * 100 / (canary + stable).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

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
