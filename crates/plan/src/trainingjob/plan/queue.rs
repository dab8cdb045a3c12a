//! An attempt that stands in a queue of Kueue's: it waits, it is let in, and its room may be taken back.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use windlass_api::TrainingJobStatus;

use super::Reconcile;
use super::record::Ending;
use super::size::Resize;
use crate::trainingjob::children;
use crate::trainingjob::gang::{self, Backend};
use crate::{Plan, Problem};

/// Since when the attempt that is under way waits in a queue of Kueue's; nothing where it was let in, or is in none.
pub(super) fn queued_since(status: &TrainingJobStatus) -> Option<Timestamp> {
    let scheduling = status.scheduling.as_ref()?;
    let attempt = status.attempt_under_way()?;
    let is_queued = scheduling.gang == gang::KUEUE_NAME && attempt.admitted.is_none();
    attempt.started.filter(|_| is_queued)
}

impl Reconcile<'_> {
    /// What is to be done about an attempt in a queue; nothing where it is in none, or was let in before.
    pub(super) fn in_queue(&self, child: &Job) -> Option<Plan<TrainingJobStatus>> {
        let Backend::Kueue { queue } = Backend::of(child) else {
            return None;
        };
        let number = self.before.attempt.unwrap_or(1);
        let admitted = self
            .current()
            .is_some_and(|attempt| attempt.admitted.is_some());
        match (gang::is_queued(child), admitted) {
            (true, false) => {
                let plan = self.waits_in_queue(number, &queue);
                Some(Resize::or(self.shrink(&Backend::of(child)), plan))
            }
            // The Job would be started again as it is; a new attempt goes on from the newest checkpoint.
            (true, true) => {
                let how = format!("Kueue took back the room of queue {queue}");
                let ending = Ending::of(&Problem::new("Disrupted", how.clone()));
                let mut plan = self.disrupted_by(&how, ending);
                plan.steps = self.end_attempts();
                Some(plan)
            }
            (false, false) => {
                let mut status = self.under_way(number);
                // The time in the queue is left out of the job's.
                let queued = queued_since(&status).map(|since| self.now.duration_since(since));
                status.start_time = Some(
                    (status.start_time)
                        .map_or(self.now, |since| since + queued.unwrap_or_default()),
                );
                let mut attempts = status.attempts.iter_mut();
                if let Some(attempt) = attempts.find(|attempt| attempt.number == number) {
                    attempt.admitted = Some(self.now);
                }
                Some(Plan::status_only(status))
            }
            (false, true) => None,
        }
    }

    /// It waits, and what for, in Kueue's words.
    fn waits_in_queue(&self, number: i32, queue: &str) -> Plan<TrainingJobStatus> {
        let name = children::job_name(self.job, number);
        let Some(word) = self.observed.queue.get(&name) else {
            return Plan::status_only(self.queued(number, queue));
        };
        let message = format!(
            "attempt {number}, Job {name}, waits in queue {queue} of Kueue: {}",
            word.message
        );
        let (waiting, again) = self.renewed(&message);
        let mut plan = match word.problem {
            Some(reason) => self.stalled(&Problem::new(reason, waiting.message.clone())),
            None => Plan::status_only(self.queued_for(&waiting.message)),
        };
        plan.status.waiting = Some(waiting);
        plan.again = again;
        plan
    }

    fn queued_for(&self, message: &str) -> TrainingJobStatus {
        let mut status = self.progressing("Queued", message);
        status.phase = Some("Pending".to_owned());
        status
    }

    /// It waits, and Kueue has not said yet what for.
    pub(super) fn queued(&self, number: i32, queue: &str) -> TrainingJobStatus {
        let name = children::job_name(self.job, number);
        self.queued_for(&format!(
            "attempt {number}, Job {name}, waits in queue {queue} of Kueue, which has not said yet for what"
        ))
    }
}
