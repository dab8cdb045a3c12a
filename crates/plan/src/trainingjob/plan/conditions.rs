//! What is said of a job: that it gets on, that a person has to mend something, or how it ended.

use windlass_api::{TrainingJobStatus, condition};

use super::Reconcile;
use crate::conditions::Conditions;
use crate::trainingjob::children;
use crate::{Note, Plan, Problem};

impl Reconcile<'_> {
    pub(super) fn conditions(&self) -> Conditions<'_> {
        Conditions::new(
            &self.before.conditions,
            self.job.metadata.generation,
            self.now,
        )
    }

    pub(super) fn progressing(&self, reason: &str, message: &str) -> TrainingJobStatus {
        let mut status = self.base();
        status.phase = Some("Running".to_owned());
        status.conditions = self
            .conditions()
            .with(condition::READY, false, reason, message)
            .with(condition::RECONCILING, true, reason, message)
            .with(condition::STALLED, false, reason, message)
            .finish();
        status
    }

    /// An attempt has been started, and nothing is known to be wrong with it.
    pub(super) fn under_way(&self, number: i32) -> TrainingJobStatus {
        let name = children::job_name(self.job, number);
        self.progressing(
            "Running",
            &format!("attempt {number} is under way, as Job {name}"),
        )
    }

    pub(super) fn stalled(&self, problem: &Problem) -> Plan<TrainingJobStatus> {
        let mut status = self.base();
        status.phase = Some("Pending".to_owned());
        status.conditions = self
            .conditions()
            .with(condition::READY, false, &problem.reason, &problem.message)
            .with(
                condition::RECONCILING,
                false,
                &problem.reason,
                &problem.message,
            )
            .with(condition::STALLED, true, &problem.reason, &problem.message)
            .finish();
        let notes = self.note_if_new(&problem.reason, &problem.message);
        Plan {
            notes,
            ..Plan::status_only(status)
        }
    }

    fn note_if_new(&self, reason: &str, message: &str) -> Vec<Note> {
        let known = windlass_api::find_condition(&self.before.conditions, condition::READY)
            .is_some_and(|ready| ready.reason == reason);
        if known {
            Vec::new()
        } else {
            vec![Note::warning(reason, message)]
        }
    }

    pub(super) fn complete(
        &self,
        version: Option<String>,
        message: &str,
    ) -> Plan<TrainingJobStatus> {
        self.ended_for("Complete", version, message)
    }

    /// The job has ended well, for this reason.
    pub(super) fn ended_for(
        &self,
        reason: &str,
        version: Option<String>,
        message: &str,
    ) -> Plan<TrainingJobStatus> {
        let mut status = self.base();
        status.phase = Some("Complete".to_owned());
        status.completion_time = Some(self.now);
        status.model_version = version;
        status.conditions = self
            .conditions()
            .with(condition::READY, true, reason, message)
            .with(condition::RECONCILING, false, reason, message)
            .with(condition::STALLED, false, reason, message)
            .with(condition::COMPLETE, true, reason, message)
            .finish();
        Plan {
            notes: vec![Note::normal(reason, message)],
            again: self.time_to_live(),
            ..Plan::status_only(status)
        }
    }

    pub(super) fn failed(
        &self,
        mut status: TrainingJobStatus,
        problem: &Problem,
    ) -> Plan<TrainingJobStatus> {
        status.observed_generation = self.job.metadata.generation;
        status.phase = Some("Failed".to_owned());
        status.completion_time = Some(self.now);
        status.conditions = self
            .conditions()
            .with(condition::READY, false, &problem.reason, &problem.message)
            .with(
                condition::RECONCILING,
                false,
                &problem.reason,
                &problem.message,
            )
            .with(condition::STALLED, true, &problem.reason, &problem.message)
            .with(condition::FAILED, true, &problem.reason, &problem.message)
            .finish();
        Plan {
            notes: vec![Note::warning(&problem.reason, &problem.message)],
            again: self.time_to_live(),
            ..Plan::status_only(status)
        }
    }
}
