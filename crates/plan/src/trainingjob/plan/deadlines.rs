//! How long a job may take, and how long it is kept once it has ended.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use windlass_api::{TrainingJob, TrainingJobStatus, condition, is_true};

use super::Reconcile;
use super::attempt::AttemptState;
use super::queue::queued_since;
use super::record::Ending;
use crate::{Doomed, Plan, Problem, Step};

/// A job that has ended waits for its time to live.
pub(super) fn finished(
    job: &TrainingJob,
    mut status: TrainingJobStatus,
    now: Timestamp,
) -> Plan<TrainingJobStatus> {
    status.observed_generation = job.metadata.generation;
    for condition in &mut status.conditions {
        condition.observed_generation = job.metadata.generation;
    }
    let mut plan = Plan::status_only(status);
    if let (Some(ttl), Some(ended)) = (
        job.spec.ttl_seconds_after_finished,
        plan.status.completion_time,
    ) {
        let left = ended + SignedDuration::from_secs(ttl) - now;
        match Duration::try_from(SignedDuration::try_from(left).unwrap_or_default()) {
            Ok(left) if !left.is_zero() => plan.again = Some(left),
            _ => plan
                .steps
                .push(Step::Delete(Doomed::TrainingJob(job.name_any()))),
        }
    }
    plan
}

impl Reconcile<'_> {
    /// The time that is left until the deadline; zero when it has passed. It stands while an attempt waits in a queue.
    pub(super) fn deadline_left(&self, status: &TrainingJobStatus) -> Option<Duration> {
        let end =
            status.start_time? + SignedDuration::from_secs(self.job.spec.active_deadline_seconds?);
        let now = queued_since(status).unwrap_or(self.now);
        Some(Duration::try_from(end.duration_since(now)).unwrap_or(Duration::ZERO))
    }

    /// The deadline has passed: the job fails, and its pods go. How the attempt ended that was the last is written down.
    pub(super) fn overdue(&self, attempt: &AttemptState<'_>) -> Plan<TrainingJobStatus> {
        let seconds = self.job.spec.active_deadline_seconds.unwrap_or_default();
        let message =
            format!("spec.activeDeadlineSeconds: the job did not end within {seconds} seconds");
        let problem = Problem::new("DeadlineExceeded", message);
        let mut status = self.base();
        match attempt {
            AttemptState::Failed(child) => {
                let plan = self.attempt_failed(child);
                // It would have failed without a deadline, too.
                if is_true(&plan.status.conditions, condition::FAILED) {
                    return plan;
                }
                let told = plan.status;
                (status.attempts, status.failures) = (told.attempts, told.failures);
                status.gpu_seconds = told.gpu_seconds;
            }
            AttemptState::Running(_) => self.record(&mut status, Ending::of(&problem)),
            AttemptState::None
            | AttemptState::Gone
            | AttemptState::Settling
            | AttemptState::Succeeded(_) => {}
        }
        self.rest_steps(&mut status, "it was stopped at the deadline of the job");
        let mut plan = self.failed(status, &problem);
        plan.steps = self.end_attempts();
        plan
    }

    /// How long a job that ends now is kept; for ever, where nothing is said.
    pub(super) fn time_to_live(&self) -> Option<Duration> {
        self.job
            .spec
            .ttl_seconds_after_finished
            .and_then(|ttl| u64::try_from(ttl).ok())
            .map(Duration::from_secs)
    }
}
