//! Whether the gang's pods are scheduled all or none.

use k8s_openapi::api::batch::v1::Job;
use windlass_api::{GangMode, SchedulingStatus};

use super::Reconcile;
use crate::trainingjob::children;
use crate::trainingjob::observed::GangScheduler;

impl Reconcile<'_> {
    /// How the gang is scheduled: as the Job was made, where it is there already.
    pub(super) fn scheduling(&self, made: Option<&Job>) -> (bool, SchedulingStatus) {
        let (gang, status) = self.scheduling_now();
        let so = made.map_or(gang, children::is_gang);
        match (gang, so) {
            (true, true) | (false, false) => (gang, status),
            (false, true) => (true, native()),
            (true, false) => (
                false,
                SchedulingStatus {
                    gang: "None".to_owned(),
                    reason: "the cluster had no gang scheduler when the attempt was started"
                        .to_owned(),
                },
            ),
        }
    }

    fn scheduling_now(&self) -> (bool, SchedulingStatus) {
        let none = |reason: &str| {
            (
                false,
                SchedulingStatus {
                    gang: "None".to_owned(),
                    reason: reason.to_owned(),
                },
            )
        };
        match (self.job.spec.scheduling.gang, &self.observed.gang_scheduler) {
            (GangMode::None, _) => none("spec.scheduling.gang is None"),
            (GangMode::Auto, _) if self.job.spec.workers.replicas == 1 => {
                none("a gang of one pod needs no gang scheduling")
            }
            (GangMode::Auto, GangScheduler::None(why)) => none(why),
            (GangMode::Auto, GangScheduler::Native) => (true, native()),
        }
    }
}

fn native() -> SchedulingStatus {
    SchedulingStatus {
        gang: "PodGroup".to_owned(),
        reason: "the cluster serves scheduling.k8s.io/v1beta1".to_owned(),
    }
}
