//! The decisions on a TrainingJob.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use kube::ResourceExt;
use windlass_api::agent::{FailureReason, FailureReport, Report, TrainingReport};
use windlass_api::{
    Attempt, GangMode, SchedulingStatus, TrainingJob, TrainingJobStatus, condition, is_true, labels,
};

use super::children;
use super::observed::{GangScheduler, Observed};
use crate::conditions::Conditions;
use crate::jobs::{self, JobState};
use crate::{Child, Doomed, Note, Plan, Problem, Step, pods, template};

/// Attempts that the status keeps.
const KEPT_ATTEMPTS: usize = 10;

/// What is to be done about a TrainingJob.
pub fn plan(observed: &Observed, now: Timestamp) -> Plan<TrainingJobStatus> {
    let job = &*observed.job;
    let before = job.status.clone().unwrap_or_default();
    if job.metadata.deletion_timestamp.is_some() {
        // It goes, and its children with it: nothing new is started.
        return Plan::status_only(before);
    }
    if is_true(&before.conditions, condition::COMPLETE)
        || is_true(&before.conditions, condition::FAILED)
    {
        return finished(job, before, now);
    }
    Reconcile {
        observed,
        pods: pods::in_order(&observed.pods),
        job,
        before: &before,
        now,
    }
    .plan()
}

/// A job that has ended waits for its time to live.
fn finished(
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

struct Reconcile<'a> {
    observed: &'a Observed,
    /// The pods of all attempts, in order.
    pods: Vec<&'a Pod>,
    job: &'a TrainingJob,
    before: &'a TrainingJobStatus,
    now: Timestamp,
}

/// How the current attempt stands.
enum AttemptState<'a> {
    /// None has been started, or the last one's end is recorded.
    None,
    /// It was started, and its Job is not there: somebody took it away.
    Gone,
    /// Its Job is there and has not ended.
    Running,
    /// Its Job has ended, and its pods are still to be seen to.
    Settling,
    /// Its Job ended well.
    Succeeded,
    /// Its Job failed.
    Failed(&'a Job),
}

impl Reconcile<'_> {
    fn plan(&self) -> Plan<TrainingJobStatus> {
        let mut plan = self.advance();
        if let Some(left) = self.deadline_left(&plan.status)
            && !is_true(&plan.status.conditions, condition::FAILED)
            && !is_true(&plan.status.conditions, condition::COMPLETE)
        {
            plan.again = Some(plan.again.map_or(left, |again| again.min(left)));
        }
        plan
    }

    fn advance(&self) -> Plan<TrainingJobStatus> {
        if self.job.spec.suspend {
            return self.suspended();
        }
        let attempt = self.attempt();
        // What has ended well is not thrown away because nobody looked in time.
        let has_ended_well = matches!(attempt, AttemptState::Succeeded | AttemptState::Settling);
        if !has_ended_well
            && self
                .deadline_left(self.before)
                .is_some_and(|left| left.is_zero())
        {
            let seconds = self.job.spec.active_deadline_seconds.unwrap_or_default();
            let mut plan = self.failed(
                self.before.clone(),
                &Problem::new(
                    "DeadlineExceeded",
                    format!(
                        "spec.activeDeadlineSeconds: the job did not end within {seconds} seconds"
                    ),
                ),
            );
            plan.steps = self.end_attempts();
            return plan;
        }
        match attempt {
            AttemptState::None | AttemptState::Gone => self.start(),
            AttemptState::Running => self.running(),
            AttemptState::Settling => Plan {
                again: Some(Duration::from_secs(1)),
                ..Plan::status_only(self.before.clone())
            },
            AttemptState::Succeeded => self.succeeded(),
            AttemptState::Failed(child) => self.attempt_failed(child),
        }
    }

    /// The time that is left until the deadline; zero when it has passed.
    fn deadline_left(&self, status: &TrainingJobStatus) -> Option<Duration> {
        let end =
            status.start_time? + SignedDuration::from_secs(self.job.spec.active_deadline_seconds?);
        Some(Duration::try_from(end.duration_since(self.now)).unwrap_or(Duration::ZERO))
    }

    fn attempt(&self) -> AttemptState<'_> {
        let Some(number) = self.before.attempt else {
            return AttemptState::None;
        };
        if self
            .before
            .attempts
            .iter()
            .any(|ended| ended.number == number)
        {
            return AttemptState::None;
        }
        let name = children::job_name(self.job, number);
        match self
            .observed
            .children
            .iter()
            .find(|child| child.name_any() == name)
        {
            None => AttemptState::Gone,
            Some(child) => match jobs::state(child, self.pods_of(number), self.now) {
                JobState::Complete => AttemptState::Succeeded,
                JobState::Failed => AttemptState::Failed(child),
                JobState::Running => AttemptState::Running,
                JobState::Settling => AttemptState::Settling,
            },
        }
    }

    fn pods_of(&self, attempt: i32) -> impl Iterator<Item = &Pod> {
        self.pods
            .iter()
            .copied()
            .filter(move |pod| is_of(pod, attempt))
    }

    fn base(&self) -> TrainingJobStatus {
        TrainingJobStatus {
            observed_generation: self.job.metadata.generation,
            ..self.before.clone()
        }
    }

    fn conditions(&self) -> Conditions<'_> {
        Conditions::new(
            &self.before.conditions,
            self.job.metadata.generation,
            self.now,
        )
    }

    /// Takes the Jobs of attempts that have not ended away.
    fn end_attempts(&self) -> Vec<Step> {
        let alive =
            self.observed.children.iter().filter(|child| {
                !jobs::has_ended(child) && child.metadata.deletion_timestamp.is_none()
            });
        let names: BTreeSet<String> = alive.map(|child| child.name_any()).collect();
        names
            .into_iter()
            .map(|name| Step::Delete(Doomed::Job(name)))
            .collect()
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
        if let AttemptState::Running = self.attempt() {
            self.record(
                &mut status,
                "Suspended",
                "the job was suspended".to_owned(),
                None,
            );
        }
        Plan {
            steps: self.end_attempts(),
            ..Plan::status_only(status)
        }
    }

    /// What can be known to be wrong before a pod is made.
    fn check(&self) -> Result<PodTemplateSpec, Problem> {
        const TEMPLATE: &str = "spec.workers.template";
        let worker = template::parse(TEMPLATE, &self.job.spec.workers.template)?;
        let spec = worker.spec.as_ref().expect("parse checked it");
        if spec.containers[0]
            .command
            .as_ref()
            .is_none_or(Vec::is_empty)
        {
            return Err(Problem::new(
                "InvalidTemplate",
                format!(
                    "{TEMPLATE}.spec.containers[0].command: is required: the agent runs the trainer, and cannot know the image's own entry point"
                ),
            ));
        }
        if let Some(name) = &spec.service_account_name
            && !self.observed.service_accounts.contains(name)
        {
            return Err(Problem::new(
                "ServiceAccountNotFound",
                format!(
                    "{TEMPLATE}.spec.serviceAccountName: the ServiceAccount {name:?} does not exist in namespace {:?}; create it, or correct the name",
                    self.job.namespace().unwrap_or_default()
                ),
            ));
        }
        let inputs: Vec<(String, _)> = self
            .job
            .spec
            .inputs
            .iter()
            .enumerate()
            .map(|(at, input)| (format!("spec.inputs[{at}].uri"), &input.uri))
            .collect();
        let named = inputs
            .iter()
            .map(|(field, address)| (field.as_str(), *address))
            .chain(
                self.job
                    .spec
                    .output
                    .iter()
                    .map(|output| ("spec.output.uri", &output.uri)),
            )
            .chain(
                self.job
                    .spec
                    .validation
                    .iter()
                    .map(|validation| ("spec.validation.dataset.uri", &validation.dataset.uri)),
            );
        pods::check_claims(
            named,
            &self.observed.claims,
            &self.job.namespace().unwrap_or_default(),
        )?;
        Ok(worker)
    }

    fn start(&self) -> Plan<TrainingJobStatus> {
        let worker = match self.check() {
            Ok(worker) => worker,
            Err(problem) => return self.stalled(&problem),
        };
        let number = self.before.attempt.unwrap_or(0) + 1;
        let name = children::job_name(self.job, number);
        // Its Job is there when we stopped between making it and writing it down.
        let made = self
            .observed
            .children
            .iter()
            .find(|child| child.name_any() == name);
        if let Some(going) = made.filter(|child| child.metadata.deletion_timestamp.is_some()) {
            return Plan::status_only(self.progressing(
                "WaitingForPods",
                &format!("waiting until Job {} is gone", going.name_any()),
            ));
        }
        // Never two attempts alive at the same time.
        if let Some(pod) = self
            .pods
            .iter()
            .find(|pod| pods::is_alive(pod) && !(made.is_some() && is_of(pod, number)))
        {
            let message = format!(
                "waiting until pod {} of the attempt before is gone",
                pod.name_any()
            );
            return Plan::status_only(self.progressing("WaitingForPods", &message));
        }
        let (gang, scheduling) = self.scheduling(made.map(AsRef::as_ref));
        let mut status = self.progressing(
            "Running",
            &format!(
                "attempt {number} is under way, as Job {}",
                children::job_name(self.job, number)
            ),
        );
        status.attempt = Some(number);
        status.start_time.get_or_insert(self.now);
        status.fingerprint = Some(children::fingerprint(self.job, &[]));
        status.scheduling = Some(scheduling);
        let image = made
            .and_then(|made| children::agent_image(made))
            .unwrap_or_else(|| self.observed.agent_image.clone());
        let agent_image = status.agent_image.get_or_insert(image).clone();

        let mut steps: Vec<Step> = children::service(self.job)
            .map(|service| Step::Apply(Child::Service(Box::new(service))))
            .into_iter()
            .collect();
        if gang {
            steps.push(Step::Apply(Child::PodGroup(Box::new(children::pod_group(
                self.job, number,
            )))));
        }
        // A Job's pods cannot be changed: one that is there is taken as it is.
        if made.is_none() {
            steps.push(Step::Apply(Child::Job(Box::new(children::indexed_job(
                self.job,
                number,
                &worker,
                &agent_image,
                gang,
            )))));
        }
        let notes = vec![Note::normal(
            "AttemptStarted",
            format!("started attempt {number}"),
        )];
        Plan {
            steps,
            status,
            notes,
            again: None,
        }
    }

    /// How the gang is scheduled: as the Job was made, where it is there already.
    fn scheduling(&self, made: Option<&Job>) -> (bool, SchedulingStatus) {
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

    fn progressing(&self, reason: &str, message: &str) -> TrainingJobStatus {
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

    fn stalled(&self, problem: &Problem) -> Plan<TrainingJobStatus> {
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

    fn running(&self) -> Plan<TrainingJobStatus> {
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
        if let Some(problem) = self.pods_of(number).find_map(pods::problem) {
            return self.stalled(&problem);
        }
        let message = format!(
            "attempt {number} is under way, as Job {}",
            children::job_name(self.job, number)
        );
        Plan::status_only(self.progressing("Running", &message))
    }

    fn succeeded(&self) -> Plan<TrainingJobStatus> {
        let number = self.before.attempt.unwrap_or(1);
        if self.job.spec.model.is_none() {
            return self.complete(None, "all workers ended well");
        }
        let uid = self.job.uid().unwrap_or_default();
        if let Some(made) = self.observed.versions.iter().find(|version| {
            version
                .spec
                .trained_by
                .as_ref()
                .is_some_and(|by| by.uid == uid)
        }) {
            let name = made.name_any();
            return self.complete(
                Some(name.clone()),
                &format!("registered as ModelVersion {name}"),
            );
        }
        let Some((pod, training)) = self.training_report(number) else {
            let problem = Problem::new(
                "ReportMissing",
                "the first worker ended well but left no report: its pod was taken away before it was read",
            );
            return self.count_failure(&problem, None);
        };
        let Some(output) = &training.output else {
            return self.failed(
                self.base(),
                &Problem::new(
                    "OutputMissing",
                    "the first worker ended well but reported no output",
                ),
            );
        };
        let newest = self
            .observed
            .versions
            .iter()
            .map(|version| version.spec.version)
            .max()
            .unwrap_or(0);
        let version = children::model_version(
            self.job,
            newest + 1,
            &training,
            output,
            pods::images(pod),
            self.observed.champion.clone(),
        );
        let name = version.name_any();
        let mut plan = self.complete(
            Some(name.clone()),
            &format!("registered as ModelVersion {name}"),
        );
        plan.steps
            .push(Step::Create(Child::ModelVersion(Box::new(version))));
        plan
    }

    fn training_report(&self, attempt: i32) -> Option<(&Pod, TrainingReport)> {
        self.pods_of(attempt).find_map(|pod| {
            let trainer = pod.spec.as_ref()?.containers.first()?;
            match pods::report(pod, &trainer.name)? {
                Report::Training(training) if rank(pod) == Some(0) => Some((pod, training)),
                _ => None,
            }
        })
    }

    fn complete(&self, version: Option<String>, message: &str) -> Plan<TrainingJobStatus> {
        let mut status = self.base();
        status.phase = Some("Complete".to_owned());
        status.completion_time = Some(self.now);
        status.model_version = version;
        status.conditions = self
            .conditions()
            .with(condition::READY, true, "Complete", message)
            .with(condition::RECONCILING, false, "Complete", message)
            .with(condition::STALLED, false, "Complete", message)
            .with(condition::COMPLETE, true, "Complete", message)
            .finish();
        Plan {
            notes: vec![Note::normal("Complete", message)],
            again: self
                .job
                .spec
                .ttl_seconds_after_finished
                .and_then(|ttl| u64::try_from(ttl).ok())
                .map(Duration::from_secs),
            ..Plan::status_only(status)
        }
    }

    fn failed(&self, mut status: TrainingJobStatus, problem: &Problem) -> Plan<TrainingJobStatus> {
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
            again: self
                .job
                .spec
                .ttl_seconds_after_finished
                .and_then(|ttl| u64::try_from(ttl).ok())
                .map(Duration::from_secs),
            ..Plan::status_only(status)
        }
    }

    fn record(
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

    fn disrupted(&self) -> Plan<TrainingJobStatus> {
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

    fn attempt_failed(&self, child: &Job) -> Plan<TrainingJobStatus> {
        let number = self.before.attempt.unwrap_or(1);
        if jobs::is_disrupted(child) || self.pods_of(number).any(pods::is_disrupted) {
            return self.disrupted();
        }
        let Some(failure) = self.failure(number) else {
            let message = child
                .status
                .as_ref()
                .and_then(|status| status.conditions.as_ref())
                .and_then(|conditions| {
                    conditions
                        .iter()
                        .find(|condition| condition.type_ == "Failed")
                })
                .and_then(|condition| condition.message.clone())
                .unwrap_or_else(|| "the Job failed and gave no reason".to_owned());
            return self.count_failure(&Problem::new("WorkerFailed", message), None);
        };
        let tail = if failure.log_tail.is_empty() {
            String::new()
        } else {
            format!("; it printed last: {}", failure.log_tail.trim_end())
        };
        let problem = Problem::new(
            &format!("{:?}", failure.reason),
            format!("{}{tail}", failure.message),
        );
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

    fn count_failure(&self, problem: &Problem, exit_code: Option<i32>) -> Plan<TrainingJobStatus> {
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
}

fn native() -> SchedulingStatus {
    SchedulingStatus {
        gang: "PodGroup".to_owned(),
        reason: "the cluster serves scheduling.k8s.io/v1beta1".to_owned(),
    }
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

fn is_of(pod: &Pod, attempt: i32) -> bool {
    pod.labels()
        .get(labels::ATTEMPT)
        .is_some_and(|label| *label == attempt.to_string())
}

fn rank(pod: &Pod) -> Option<i32> {
    pod.labels()
        .get("batch.kubernetes.io/job-completion-index")?
        .parse()
        .ok()
}
