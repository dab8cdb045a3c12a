//! That a version is shown where `spec.tracking` asks for it.
//!
//! ```text
//!   judged ── what is shown is other than what is so ──> a Job shows it ──ended well──> Published
//!                             ^                             │ failed
//!                             └──── ten minutes later ──────┘
//! ```
//!
//! One Job at a time, so that an older state never overwrites a newer one. Nothing else waits for it: a server that does
//! not answer delays what it shows, and no more.

use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use windlass_api::agent::{PublishReport, Report};
use windlass_api::{ModelVersionStatus, TrackingStatus, condition, find_condition};

use super::work::{Work, work};
use super::{Reconcile, retirement};
use crate::conditions::{Conditions, Truth};
use crate::modelversion::publication::{KEPT_SECONDS, Publication};
use crate::{Child, Note, Plan, Problem, Step, jobs, pods};

/// The reason of the condition while a Job is at work.
const PUBLISHING: &str = "Publishing";

/// What is so with what is shown.
enum Shown {
    /// It is shown as it is.
    Yes(TrackingStatus),
    /// It will be, and what is shown until then is as it was.
    Soon(String),
    /// It cannot be, for now.
    No(Problem),
}

impl Reconcile<'_> {
    /// Has a version shown where its spec asks for it, and says in its status how that stands.
    pub(super) fn publish(&self, plan: &mut Plan<ModelVersionStatus>) {
        let Some(tracking) = &self.version.spec.tracking else {
            return;
        };
        let is_judged = self.version.spec.validation.is_none() || plan.status.validation.is_some();
        let is_registered = self.version.digest().is_some();
        let is_going = retirement::is_decided(self.before);
        if !is_registered || !is_judged || is_going {
            let said = find_condition(&self.before.conditions, condition::PUBLISHED).cloned();
            let conditions = &mut plan.status.conditions;
            conditions.retain(|one| one.type_ != condition::PUBLISHED);
            conditions.extend(said);
            return;
        }
        let wanted = Publication::of(self.observed, &tracking.mlflow, &plan.status);
        let shown = self.shown(&wanted, plan);
        self.say_shown(&wanted, shown, plan);
    }

    fn shown(&self, wanted: &Publication, plan: &mut Plan<ModelVersionStatus>) -> Shown {
        let digest = wanted.digest();
        if let Some(shown) = self
            .before
            .tracking
            .as_ref()
            .filter(|of| of.digest == digest)
        {
            return Shown::Yes(shown.clone());
        }
        let name = wanted.job_name(self.version);
        let jobs = &self.observed.publications;
        if let Some(job) = jobs.iter().find(|job| job.name_any() == name) {
            return self.outcome(job, digest, plan);
        }
        if let Some(other) = jobs.iter().find(|job| !jobs::has_ended(job)) {
            return Shown::Soon(format!("Job {} has to end first", other.name_any()));
        }
        match wanted.job(self.version, &self.observed.agent_image) {
            Ok(job) => {
                plan.steps.push(Step::Apply(Child::Job(Box::new(job))));
                Shown::Soon(format!("Job {name} shows it"))
            }
            Err(problem) => Shown::No(problem),
        }
    }

    /// How the Job stands that shows a version.
    fn outcome(&self, job: &Job, digest: String, plan: &mut Plan<ModelVersionStatus>) -> Shown {
        let all = pods::in_order(&self.observed.publication_pods);
        let name = job.name_any();
        let read = |report| match report {
            Report::Publish(report) => Some(report),
            Report::Training(_)
            | Report::Evaluation(_)
            | Report::Drift(_)
            | Report::Fetch(_)
            | Report::Check(_)
            | Report::Delete(_)
            | Report::Failure(_) => None,
        };
        match work(job, &all, self.now, "NotPublished", read) {
            Work::Done(PublishReport {
                run_id,
                model_version,
                ..
            }) => Shown::Yes(TrackingStatus {
                digest,
                time: self.now,
                run_id,
                model_version,
            }),
            Work::UnderWay(again) => {
                plan.look_again(again);
                Shown::Soon(format!("Job {name} shows it"))
            }
            Work::HeldUp(problem) => Shown::No(problem),
            Work::Unread => Self::tried_again(
                &name,
                &Problem::new("NotPublished", "what the agent said is not known"),
            ),
            Work::Failed(problem) => Self::tried_again(&name, &problem),
        }
    }

    fn tried_again(job: &str, problem: &Problem) -> Shown {
        let minutes = KEPT_SECONDS / 60;
        let message = format!(
            "{}. It is tried again once Job {job} has gone, {minutes} minutes after its end",
            problem.message
        );
        Shown::No(Problem::new(&problem.reason, message))
    }

    fn say_shown(&self, wanted: &Publication, shown: Shown, plan: &mut Plan<ModelVersionStatus>) {
        let (truth, reason, message) = match shown {
            Shown::Yes(shown) => {
                let message = format!(
                    "{} shows it as version {} of run {}",
                    wanted.uri(),
                    shown.model_version,
                    shown.run_id
                );
                plan.status.tracking = Some(shown);
                (Truth::True, condition::PUBLISHED.to_owned(), message)
            }
            Shown::Soon(message) => (Truth::Unknown, PUBLISHING.to_owned(), message),
            Shown::No(problem) => {
                let said = find_condition(&self.before.conditions, condition::PUBLISHED);
                if said.is_none_or(|said| said.reason != problem.reason) {
                    plan.notes
                        .push(Note::warning(&problem.reason, &problem.message));
                }
                (Truth::False, problem.reason, problem.message)
            }
        };
        let (before, generation) = (&self.before.conditions, self.version.metadata.generation);
        let told = Conditions::new(before, generation, self.now).with(
            condition::PUBLISHED,
            truth,
            &reason,
            &message,
        );
        let conditions = &mut plan.status.conditions;
        conditions.retain(|one| one.type_ != condition::PUBLISHED);
        conditions.extend(told.finish());
    }
}
