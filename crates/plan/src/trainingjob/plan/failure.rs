//! An attempt failed: by the cluster's doing, in a way that a repetition may mend, or for good.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use windlass_api::agent::{FailureReason, FailureReport};
use windlass_api::{Attempt, TrainingJobStatus};

use super::Reconcile;
use crate::{Note, Plan, Problem, jobs, pods};

/// Attempts that the status keeps.
const KEPT_ATTEMPTS: usize = 10;

impl Reconcile<'_> {
    pub(super) fn attempt_failed(&self, child: &Job) -> Plan<TrainingJobStatus> {
        let number = self.before.attempt.unwrap_or(1);
        if jobs::is_disrupted(child) || self.pods_of(number).any(pods::is_disrupted) {
            return self.disrupted();
        }
        let Some(failure) = self.failure(number) else {
            return self.count_failure(&Problem::new("WorkerFailed", job_message(child)), None);
        };
        let problem = as_problem(&failure);
        if is_final(failure.reason) {
            let mut status = self.base();
            self.record(
                &mut status,
                &problem.reason,
                problem.message.clone(),
                failure.exit_code,
            );
            status.failures += 1;
            return self.failed(status, &problem);
        }
        self.count_failure(&problem, failure.exit_code)
    }

    pub(super) fn disrupted(&self) -> Plan<TrainingJobStatus> {
        let number = self.before.attempt.unwrap_or(1);
        let mut status = self.progressing("Disrupted", &format!("attempt {number} was disrupted by the cluster and is repeated; this does not count against spec.backoffLimit"));
        self.record(
            &mut status,
            "Disrupted",
            "a pod was preempted, evicted or lost with its node".to_owned(),
            None,
        );
        Plan {
            notes: vec![Note::normal(
                "Disrupted",
                format!("attempt {number} was disrupted and is repeated"),
            )],
            again: Some(Duration::ZERO),
            ..Plan::status_only(status)
        }
    }

    /// The failure that tells most: what a repetition cannot mend before what it can, and the cause before those
    /// that were stopped for it.
    fn failure(&self, attempt: i32) -> Option<FailureReport> {
        let told = |failure: &FailureReport| {
            (
                !is_final(failure.reason),
                failure.reason == FailureReason::Interrupted
                    || matches!(failure.exit_code, Some(137 | 143)),
            )
        };
        self.pods_of(attempt)
            .filter_map(pods::failure)
            .min_by_key(told)
    }

    pub(super) fn count_failure(
        &self,
        problem: &Problem,
        exit_code: Option<i32>,
    ) -> Plan<TrainingJobStatus> {
        let number = self.before.attempt.unwrap_or(1);
        let limit = self.job.spec.backoff_limit;
        let failures = self.before.failures + 1;
        if failures > limit {
            let mut status = self.base();
            self.record(
                &mut status,
                &problem.reason,
                problem.message.clone(),
                exit_code,
            );
            status.failures = failures;
            let attempts = if failures == 1 {
                "the attempt".to_owned()
            } else {
                format!("the last of {failures} attempts")
            };
            let problem = Problem::new(
                &problem.reason,
                format!(
                    "{attempts} failed and spec.backoffLimit is {limit}: {}",
                    problem.message
                ),
            );
            return self.failed(status, &problem);
        }
        let message = format!(
            "attempt {number} failed ({failures} of {limit} that spec.backoffLimit allows) and is repeated: {}",
            problem.message
        );
        let mut status = self.progressing("AttemptFailed", &message);
        self.record(
            &mut status,
            &problem.reason,
            problem.message.clone(),
            exit_code,
        );
        status.failures = failures;
        Plan {
            notes: vec![Note::warning("AttemptFailed", message)],
            again: Some(Duration::ZERO),
            ..Plan::status_only(status)
        }
    }

    /// Writes down how the current attempt ended.
    pub(super) fn record(
        &self,
        status: &mut TrainingJobStatus,
        reason: &str,
        message: String,
        exit_code: Option<i32>,
    ) {
        let number = self.before.attempt.unwrap_or(1);
        status.attempts.push(Attempt {
            number,
            ended: self.now,
            reason: reason.to_owned(),
            message,
            exit_code,
        });
        let surplus = status.attempts.len().saturating_sub(KEPT_ATTEMPTS);
        status.attempts.drain(..surplus);
    }
}

/// What the Job itself says of why it failed.
fn job_message(child: &Job) -> String {
    child
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref())
        .and_then(|conditions| {
            conditions
                .iter()
                .find(|condition| condition.type_ == "Failed")
        })
        .and_then(|condition| condition.message.clone())
        .unwrap_or_else(|| "the Job failed and gave no reason".to_owned())
}

/// A failure in the worker's own words.
fn as_problem(failure: &FailureReport) -> Problem {
    let tail = if failure.log_tail.is_empty() {
        String::new()
    } else {
        format!("; it printed last: {}", failure.log_tail.trim_end())
    };
    Problem::new(
        &format!("{:?}", failure.reason),
        format!("{}{tail}", failure.message),
    )
}

/// Failures that a repetition cannot mend.
fn is_final(reason: FailureReason) -> bool {
    match reason {
        FailureReason::InvalidArguments
        | FailureReason::InputNotFound
        | FailureReason::InputUnreadable
        | FailureReason::ColumnNotFound
        | FailureReason::DigestMismatch
        | FailureReason::TrainerNotStarted
        | FailureReason::OutputMissing
        | FailureReason::LabelsUnreadable
        | FailureReason::DatasetUnreadable
        | FailureReason::ReferenceUnreadable => true,
        FailureReason::TrainerFailed
        | FailureReason::OutputNotWritten
        | FailureReason::ServerNotReady
        | FailureReason::ServerFailed
        | FailureReason::Interrupted
        | FailureReason::Internal => false,
    }
}
