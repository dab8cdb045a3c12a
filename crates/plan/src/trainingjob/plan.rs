//! The decisions on a TrainingJob.
//!
//! ```text
//!   attempt ──┬─> none ──────────> data (fit?) ─> steps ─> reuse ─> pace (when?) ─> start (gang)
//!             ├─> gone ──────────> the next attempt
//!             ├─> running ───────> disrupted? stalled? idle? or under way
//!             ├─> succeeded ─────> success
//!             └─> failed ────────> failure (rules) ─> the next attempt, or the end
//! ```
//!
//! Above them stand `suspend`, and the deadlines.

mod attempt;
mod conditions;
mod data;
mod deadlines;
mod devices;
mod failure;
mod idle;
mod pace;
mod publication;
mod queue;
mod record;
mod reuse;
mod rules;
mod seen;
mod size;
mod start;
mod steps;
mod success;
mod waiting;

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use windlass_api::{TrainingJob, TrainingJobStatus, condition};

use self::attempt::AttemptState;
use self::record::Ending;
use self::size::Resize;
pub use self::steps::reads_others;
use super::gang::Backend;
use super::observed::Observed;
use crate::jobs::Without;
use crate::trainingjob::children;
use crate::{Doomed, Note, Plan, Problem, Step, jobs, pods};

/// What is to be done about a TrainingJob.
pub fn plan(observed: &Observed, now: Timestamp) -> Plan<TrainingJobStatus> {
    let job = &*observed.job;
    let before = job.status.clone().unwrap_or_default();
    if job.metadata.deletion_timestamp.is_some() {
        // It goes, and its children with it: nothing new is started.
        return Plan::status_only(before);
    }
    if job.spec.managed_by != windlass_api::MANAGED_BY_WINDLASS {
        return Plan::status_only(before);
    }
    if before.is_finished() {
        let mut plan = deadlines::finished(job, before, now);
        publication::publish(observed, &mut plan, now);
        return plan;
    }
    Reconcile::new(observed, &before, now).plan()
}

/// What is to be said when the API server refused a step of the plan.
pub fn refused(observed: &Observed, problem: &Problem, now: Timestamp) -> Plan<TrainingJobStatus> {
    let job = &*observed.job;
    let before = job.status.clone().unwrap_or_default();
    if before.is_finished() {
        return Plan::status_only(before);
    }
    let reconcile = Reconcile::new(observed, &before, now);
    let mut plan = reconcile.stalled(problem);
    reconcile.note_gpus(&mut plan);
    plan
}

struct Reconcile<'a> {
    observed: &'a Observed,
    /// The pods of all attempts, in order.
    pods: Vec<&'a Pod>,
    job: &'a TrainingJob,
    before: &'a TrainingJobStatus,
    now: Timestamp,
}

impl<'a> Reconcile<'a> {
    fn new(observed: &'a Observed, before: &'a TrainingJobStatus, now: Timestamp) -> Self {
        Self {
            observed,
            pods: pods::in_order(&observed.pods),
            job: &observed.job,
            before,
            now,
        }
    }
}

impl Reconcile<'_> {
    fn plan(&self) -> Plan<TrainingJobStatus> {
        let mut plan = self.advance();
        // One that has passed does not hurry what is waited for in spite of it.
        if let Some(left) = self.deadline_left(&plan.status)
            && !left.is_zero()
            && !plan.status.is_finished()
        {
            plan.look_again(Some(left));
        }
        if plan.status.attempt_under_way().is_some() {
            plan.look_again(self.judged_in());
        }
        self.note_gpus(&mut plan);
        plan
    }

    fn advance(&self) -> Plan<TrainingJobStatus> {
        if self.job.spec.suspend {
            return self.suspended();
        }
        let attempt = self.attempt();
        // What has ended well is not thrown away because nobody looked in time.
        let has_ended_well = matches!(attempt, AttemptState::Succeeded(_) | AttemptState::Settling);
        if !has_ended_well
            && self
                .deadline_left(self.before)
                .is_some_and(|left| left.is_zero())
        {
            return self.overdue(&attempt);
        }
        match attempt {
            AttemptState::None => self.start(),
            AttemptState::Gone => self.gone(),
            AttemptState::Running(child) => self.running(child),
            AttemptState::Settling => Plan {
                again: Some(Duration::from_secs(1)),
                ..Plan::status_only(self.before.clone())
            },
            // What it made is not what the job now says that it makes.
            AttemptState::Succeeded(child) if children::is_made_otherwise(self.job, child) => {
                self.changed(self.before.attempt.unwrap_or(1))
            }
            AttemptState::Succeeded(_) => self.succeeded(),
            AttemptState::Failed(child) => self.attempt_failed(child),
        }
    }

    fn base(&self) -> TrainingJobStatus {
        let mut status = self.before.clone();
        status.observed_generation = self.job.metadata.generation;
        status.waiting = None;
        self.note_what_was_said(&mut status);
        status
    }

    /// How long it is until then; nothing once it is past.
    fn left(&self, until: Timestamp) -> Option<Duration> {
        let left = Duration::try_from(until.duration_since(self.now));
        left.ok().filter(|left| !left.is_zero())
    }

    /// Takes away what has not ended.
    fn end_attempts(&self) -> Vec<Step> {
        self.end_each(Doomed::Job)
    }

    /// The same where there may be pods that have not been seen: the Jobs stay until those are gone, and what comes next
    /// waits for that.
    fn end_unseen_attempts(&self) -> Vec<Step> {
        self.end_each(Doomed::JobAfterItsPods)
    }

    fn end_each(&self, doomed: fn(String) -> Doomed) -> Vec<Step> {
        let alive =
            self.observed.children.iter().filter(|child| {
                !jobs::has_ended(child) && child.metadata.deletion_timestamp.is_none()
            });
        let names: BTreeSet<String> = alive.map(|child| child.name_any()).collect();
        names
            .into_iter()
            .map(|name| Step::Delete(doomed(name)))
            .collect()
    }

    fn running(&self, child: &Job) -> Plan<TrainingJobStatus> {
        let number = self.before.attempt.unwrap_or(1);
        // The gang goes down whole, now: a pod that is taken away is soon gone, and with it the reason why the others failed.
        if self
            .pods_of(number)
            .any(|pod| pods::is_disrupted(pod) && !pods::is_done(pod))
        {
            let mut plan = self.disrupted();
            plan.steps = self.end_attempts();
            return plan;
        }
        if children::is_made_otherwise(self.job, child) {
            return self.changed(number);
        }
        if let Some(plan) = self.in_queue(child) {
            return plan;
        }
        let unschedulable = |problem: &Problem| problem.reason == "Unschedulable";
        let mut problems = self.pods_of(number).filter_map(pods::problem);
        if let Some(problem) = problems.find(|problem| !unschedulable(problem)) {
            return self.stalled(&problem);
        }
        if let Some(plan) = self.stopped_as_idle() {
            return plan;
        }
        let backend = Backend::of(child);
        if let Some(plan) = self.waiting(number) {
            return Resize::or(self.shrink(&backend), plan);
        }
        let plan = match jobs::without_pods(child, self.pods_of(number), self.now) {
            Some(Without::Refused(problem)) => self.stalled(&problem),
            Some(Without::Awaited(left)) => Plan {
                again: Some(left),
                ..Plan::status_only(self.under_way(number))
            },
            None => Plan::status_only(self.under_way(number)),
        };
        Resize::or(self.grow(&backend), plan)
    }

    /// The workers' template was changed, while the job was suspended and nobody looked: the attempt makes way for one that
    /// is made from it.
    fn changed(&self, number: i32) -> Plan<TrainingJobStatus> {
        let message = format!(
            "attempt {number} was made from a spec.workers.template that has been changed since, and is repeated; this does not count against spec.backoffLimit"
        );
        self.makes_way(self.end_unseen_attempts(), "TemplateChanged", message)
    }

    /// The attempt is ended, and the next one follows.
    fn makes_way(
        &self,
        steps: Vec<Step>,
        reason: &str,
        message: String,
    ) -> Plan<TrainingJobStatus> {
        let ending = Ending::new(reason, &message);
        Plan {
            steps,
            ..self.repeated(Note::normal(reason, message), ending)
        }
    }

    fn suspended(&self) -> Plan<TrainingJobStatus> {
        let mut status = self.base();
        status.phase = Some("Suspended".to_owned());
        status.start_time = None;
        let message = "spec.suspend is true; set it to false to run the job";
        status.conditions = self
            .conditions()
            .with(condition::READY, false, "Suspended", message)
            .with(condition::RECONCILING, false, "Suspended", message)
            .with(condition::STALLED, false, "Suspended", message)
            .with(condition::SUSPENDED, true, "Suspended", message)
            .finish();
        if let AttemptState::Running(_) = self.attempt() {
            self.record(
                &mut status,
                Ending::new("Suspended", "the job was suspended"),
            );
        }
        self.rest_steps(&mut status, "it was stopped, as the job was suspended");
        Plan {
            steps: self.end_unseen_attempts(),
            ..Plan::status_only(status)
        }
    }
}
