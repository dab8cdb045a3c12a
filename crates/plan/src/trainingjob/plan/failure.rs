//! An attempt failed: by the cluster's doing, in a way that a repetition may mend, or for good.

use std::time::Duration;

use jiff::SignedDuration;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use windlass_api::TrainingJobStatus;
use windlass_api::agent::{FailureReason, FailureReport};

use super::Reconcile;
use super::record::Ending;
use super::rules::{self, Action};
use crate::{Note, Plan, Problem, jobs, pods};

/// The worker that failed, and what it left.
pub(super) struct Failed<'a> {
    pub pod: &'a Pod,
    pub report: FailureReport,
}

impl Reconcile<'_> {
    pub(super) fn attempt_failed(&self, child: &Job) -> Plan<TrainingJobStatus> {
        let number = self.before.attempt.unwrap_or(1);
        if jobs::is_disrupted(child) || self.pods_of(number).any(pods::is_disrupted) {
            return self.disrupted();
        }
        let Some(failed) = self.first_failed(number) else {
            let problem = Problem::new("WorkerFailed", jobs::failed_message(child));
            return self.count_failure(&problem, Ending::of(&problem));
        };
        let problem = as_problem(&failed.report);
        let ending = Ending::failed(&problem, &failed);
        match rules::action(&self.job.spec, &failed) {
            (Action::Fail, rule) => {
                let mut status = self.base();
                self.record(&mut status, ending);
                status.failures += 1;
                let problem = match rule {
                    Some(rule) => Problem::new(
                        &problem.reason,
                        format!("{rule} fails the job: {}", problem.message),
                    ),
                    None => problem,
                };
                self.failed(status, &problem)
            }
            (Action::Ignore, rule) => {
                let rule = rule.unwrap_or_default();
                let message = format!(
                    "attempt {number} failed and is repeated; {rule} lets it not count against spec.backoffLimit: {}",
                    problem.message
                );
                let ending = Ending {
                    is_ignored: true,
                    ..ending
                };
                self.repeated(Note::warning("AttemptIgnored", message), ending)
            }
            (Action::Restart, _) => self.count_failure(&problem, ending),
        }
    }

    pub(super) fn disrupted(&self) -> Plan<TrainingJobStatus> {
        let number = self.before.attempt.unwrap_or(1);
        let taken = self.pods_of(number).find(|pod| pods::is_disrupted(pod));
        let how = taken
            .and_then(pods::disruption)
            .unwrap_or_else(|| "a pod was preempted, evicted or lost with its node".to_owned());
        let ending = Ending::of(&Problem::new("Disrupted", how.clone())).on(taken);
        self.disrupted_by(&how, ending)
    }

    /// The attempt's Job is not there, though it was made: somebody took it away, or the cache has yet to show it.
    pub(super) fn gone(&self) -> Plan<TrainingJobStatus> {
        /// How far a cache may lag behind another, after a new leader has filled both.
        const LAG: SignedDuration = SignedDuration::from_secs(10);
        let number = self.before.attempt.unwrap_or(1);
        let started = self.current().and_then(|attempt| attempt.started);
        if let Some(left) = started.and_then(|started| self.left(started + LAG)) {
            return Plan {
                again: Some(left),
                ..Plan::status_only(self.before.clone())
            };
        }
        let message = format!("the Job of attempt {number} was deleted by somebody");
        let mut status = self.progressing(
            "JobDeleted",
            &format!(
                "{message}; the attempt is repeated and does not count against spec.backoffLimit"
            ),
        );
        self.record(&mut status, Ending::new("JobDeleted", &message));
        Plan {
            notes: vec![Note::warning("JobDeleted", message)],
            again: Some(Duration::ZERO),
            ..Plan::status_only(status)
        }
    }

    /// The attempt was ended by the cluster, and is repeated.
    pub(super) fn disrupted_by(&self, how: &str, ending: Ending) -> Plan<TrainingJobStatus> {
        let number = self.before.attempt.unwrap_or(1);
        let message = format!(
            "attempt {number} was disrupted by the cluster and is repeated; this does not count against spec.backoffLimit: {how}"
        );
        self.repeated(Note::normal("Disrupted", message), ending)
    }

    /// The attempt is over, as the note says, and the next one follows.
    pub(super) fn repeated(&self, note: Note, ending: Ending) -> Plan<TrainingJobStatus> {
        let mut status = self.progressing(&note.reason, &note.message);
        self.record(&mut status, ending);
        Plan {
            notes: vec![note],
            again: Some(Duration::ZERO),
            ..Plan::status_only(status)
        }
    }

    /// The worker that tells most: what a repetition cannot mend before what it can, the cause before those that were
    /// stopped for it, and of several the one that ended first. The kubelet tells whole seconds: within one, who was killed,
    /// as by the kernel for want of memory, is the cause of those that then missed it.
    fn first_failed(&self, attempt: i32) -> Option<Failed<'_>> {
        let told = |failed: &Failed<'_>| {
            let report = &failed.report;
            (
                !is_final(report.reason),
                report.reason == FailureReason::Interrupted || pods::was_killed(failed.pod),
                pods::ended_at(failed.pod),
                report.exit_code != Some(137),
            )
        };
        self.pods_of(attempt)
            .filter_map(|pod| {
                let report = pods::failure(pod)?;
                Some(Failed { pod, report })
            })
            .min_by_key(told)
    }

    pub(super) fn count_failure(
        &self,
        problem: &Problem,
        ending: Ending,
    ) -> Plan<TrainingJobStatus> {
        let number = self.before.attempt.unwrap_or(1);
        let limit = self.job.spec.backoff_limit;
        let failures = self.before.failures + 1;
        if failures > limit {
            let mut status = self.base();
            self.record(&mut status, ending);
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
        let mut plan = self.repeated(Note::warning("AttemptFailed", message), ending);
        plan.status.failures = failures;
        plan
    }
}

/// A failure in the worker's own words.
pub(super) fn as_problem(failure: &FailureReport) -> Problem {
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
pub(super) fn is_final(reason: FailureReason) -> bool {
    match reason {
        FailureReason::InvalidArguments
        | FailureReason::InputNotFound
        | FailureReason::InputUnreadable
        | FailureReason::ColumnNotFound
        | FailureReason::CheckFailed
        | FailureReason::DigestMismatch
        | FailureReason::SignatureInvalid
        | FailureReason::TrainerNotStarted
        | FailureReason::OutputMissing
        | FailureReason::LabelsUnreadable
        | FailureReason::DatasetUnreadable
        | FailureReason::ReferenceUnreadable
        | FailureReason::TrackingRefused => true,
        FailureReason::InputUnreachable
        | FailureReason::TrainerFailed
        | FailureReason::OutputNotWritten
        | FailureReason::CheckpointUnreadable
        | FailureReason::ServerNotReady
        | FailureReason::ServerFailed
        | FailureReason::TrackingUnreachable
        | FailureReason::Interrupted
        | FailureReason::NotDeleted
        | FailureReason::Internal => false,
    }
}
