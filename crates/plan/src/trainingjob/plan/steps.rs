//! The steps before the workers: each is begun as soon as what it reads and waits for is there, several at once.
//!
//! ```text
//!   Waiting ──> Running ──> Complete          what is Complete or Reused stays so, and is never run again;
//!      │  ^        │  └───> Failed            one that fails fails the job
//!      │  └────────┘ suspended
//!      └──────────────────> Reused            another TrainingJob's, of the same fingerprint
//! ```
//!
//! Absent on purpose: how often a pod is repeated, which its Job sees to.

mod graph;
mod seen;

use std::time::Duration;

use k8s_openapi::api::core::v1::PodTemplateSpec;
use kube::ResourceExt;
use windlass_api::{
    InputRecord, Reuse, StepPhase, StepStatus, TrainingJob, TrainingJobStatus, TrainingStep,
};

use self::seen::Seen;
use super::Reconcile;
use crate::trainingjob::children;
use crate::trainingjob::gang::{self, Backend};
use crate::{Child, Doomed, Note, Plan, Problem, Step, template};

/// Whether a decision on a job reads what other jobs made.
pub fn reads_others(job: &TrainingJob) -> bool {
    let mut steps = job.spec.steps.iter();
    steps.any(|step| step.reuse == Reuse::IfUnchanged)
}

/// How the steps stand.
pub(super) enum Steps {
    /// All of them have ended well.
    Ended(Vec<StepStatus>),
    /// Not all have: this is to be done.
    Pending(Box<Plan<TrainingJobStatus>>),
}

/// What a walk over the steps comes to.
#[derive(Default)]
struct Walk {
    /// In the order of the walk.
    statuses: Vec<StepStatus>,
    steps: Vec<Step>,
    notes: Vec<Note>,
    /// What a step that runs, or would, cannot get on for.
    problems: Vec<Problem>,
    /// What is waited for that is no step.
    awaited: Vec<String>,
    again: Option<Duration>,
    failed: Option<Problem>,
}

impl Walk {
    fn status(&self, name: &str) -> Option<&StepStatus> {
        self.statuses.iter().find(|status| status.name == name)
    }

    fn names_in(&self, phase: StepPhase) -> Vec<&str> {
        let all = self.statuses.iter().filter(|step| step.phase == phase);
        all.map(|step| step.name.as_str()).collect()
    }

    fn look_again(&mut self, after: Duration) {
        self.again = Some(self.again.map_or(after, |again| again.min(after)));
    }
}

/// Whether a step is done with, and well.
pub(super) fn has_ended_well(step: &StepStatus) -> bool {
    match step.phase {
        StepPhase::Complete | StepPhase::Reused => true,
        StepPhase::Waiting | StepPhase::Running | StepPhase::Failed => false,
    }
}

impl Reconcile<'_> {
    /// What is wrong in the steps themselves. They cannot be changed: the job fails.
    pub(super) fn wrong_steps(&self) -> Option<Plan<TrainingJobStatus>> {
        let steps = &self.job.spec.steps;
        let mut templates = (0..steps.len()).map(|at| self.step_template(at));
        let wrong = graph::order(steps).err();
        let wrong = wrong.or_else(|| templates.find_map(Result::err))?;
        Some(self.failed(self.base(), &wrong))
    }

    /// What steps need that is not there yet.
    pub(super) fn check_steps(&self) -> Result<(), Problem> {
        let steps = self.job.spec.steps.iter().enumerate();
        let recorded = |step: &TrainingStep| self.recorded_step(&step.name);
        let left = steps.filter(|(_, step)| !recorded(step).is_some_and(has_ended_well));
        for (at, _) in left {
            let step = self.step_template(at)?;
            let template = format!("spec.steps[{at}].template");
            let mend = format!("set {template}.spec.schedulerName to kai-scheduler");
            gang::check_share(&template, &step, &Backend::None, &mend)?;
            let spec = step.spec.unwrap_or_default();
            let field = format!("{template}.spec.serviceAccountName");
            self.check_account(&field, spec.service_account_name.as_deref())?;
            self.check_devices(&template, &spec)?;
        }
        Ok(())
    }

    fn step_template(&self, at: usize) -> Result<PodTemplateSpec, Problem> {
        let field = format!("spec.steps[{at}].template");
        let parsed = template::parse(&field, &self.job.spec.steps[at].template)?;
        let spec = parsed.spec.as_ref().expect("parse checked it");
        let command = &spec.containers[0].command;
        if command.as_ref().is_none_or(Vec::is_empty) {
            return Err(Problem::new(
                "InvalidTemplate",
                format!(
                    "{field}.spec.containers[0].command: is required: the agent runs the step's program, and cannot know the image's own entry point"
                ),
            ));
        }
        Ok(parsed)
    }

    /// Begins what can be begun, and says how all stand. `inputs` are those that were checked.
    pub(super) fn steps(&self, inputs: &[InputRecord]) -> Steps {
        let steps = &self.job.spec.steps;
        let order = graph::order(steps).unwrap_or_default();
        let mut walk = Walk::default();
        for step in order {
            self.visit(step, inputs, &mut walk);
        }
        let place = |status: &StepStatus| steps.iter().position(|step| step.name == status.name);
        walk.statuses.sort_by_key(place);
        if walk.failed.is_none() && walk.statuses.iter().all(has_ended_well) {
            return Steps::Ended(walk.statuses);
        }
        Steps::Pending(Box::new(self.under_steps(walk, inputs)))
    }

    fn visit(&self, step: &TrainingStep, inputs: &[InputRecord], walk: &mut Walk) {
        let recorded = self.recorded_step(&step.name);
        let running = |since: Option<jiff::Timestamp>| StepStatus {
            name: step.name.clone(),
            phase: StepPhase::Running,
            started: since.or(Some(self.now)),
            ..StepStatus::default()
        };
        let since = recorded.and_then(|recorded| recorded.started);
        let records = children::records(inputs, &walk.statuses);
        let status = match self.seen(step, &records) {
            Seen::Ended(status) => status,
            Seen::Failed(status, problem) => {
                walk.failed.get_or_insert(problem);
                status
            }
            Seen::Running { problem, again } => {
                walk.problems.extend(problem);
                if let Some(again) = again {
                    walk.look_again(again);
                }
                running(since)
            }
            Seen::Unread(name) => {
                walk.steps.push(Step::Delete(Doomed::Job(name)));
                running(since)
            }
            Seen::Going(what) => {
                walk.awaited.push(what);
                waiting(step, "for what is left of an earlier try")
            }
            Seen::NotMade => self.begin_step(step, &records, walk),
        };
        walk.statuses.push(status);
    }

    /// The step has no Job: it waits, is taken over from another run, or is started.
    fn begin_step(
        &self,
        step: &TrainingStep,
        records: &[InputRecord],
        walk: &mut Walk,
    ) -> StepStatus {
        let mut awaited: Vec<&str> = graph::awaited(step, &self.job.spec.steps)
            .filter(|one| !walk.status(&one.name).is_some_and(has_ended_well))
            .map(|one| one.name.as_str())
            .collect();
        awaited.dedup();
        if !awaited.is_empty() {
            return waiting(step, &format!("for {}", listed(&awaited)));
        }
        let fingerprint = children::step_fingerprint(self.job, step, records);
        if let Some(status) = self.taken_over(step, fingerprint.as_ref()) {
            walk.notes.push(Note::normal(
                "StepReused",
                format!("step {}: {}", step.name, status.message),
            ));
            return status;
        }
        let at = self.job.spec.steps.iter().position(|one| one == step);
        if let Some(Ok(template)) = at.map(|at| self.step_template(at)) {
            let image = self.before.agent_image.as_ref();
            let image = image.unwrap_or(&self.observed.agent_image);
            let made = children::step_job(self.job, step, template, &self.agent(image), records);
            walk.notes.push(Note::normal(
                "StepStarted",
                format!("started step {}, as Job {}", step.name, made.name_any()),
            ));
            walk.steps.push(Step::Apply(Child::Job(Box::new(made))));
        }
        StepStatus {
            name: step.name.clone(),
            phase: StepPhase::Running,
            started: Some(self.now),
            ..StepStatus::default()
        }
    }

    /// The output of another run that was made from the same: that which was made last.
    fn taken_over(&self, step: &TrainingStep, fingerprint: Option<&String>) -> Option<StepStatus> {
        let fingerprint = fingerprint.filter(|_| step.reuse == Reuse::IfUnchanged)?;
        let others = self.observed.others.iter();
        let made = others
            .filter(|other| other.uid() != self.job.uid())
            .flat_map(|other| {
                let steps = other.status.iter().flat_map(|status| &status.steps);
                steps.map(|made| (other.name_any(), made))
            });
        let (owner, made) = made
            .filter(|(_, made)| has_ended_well(made) && made.digest.is_some())
            .filter(|(_, made)| made.fingerprint.as_ref() == Some(fingerprint))
            .max_by_key(|(owner, made)| (made.ended, owner.clone()))?;
        let from = made.reused_from.clone().unwrap_or(owner);
        Some(StepStatus {
            name: step.name.clone(),
            phase: StepPhase::Reused,
            started: None,
            ended: Some(self.now),
            uri: made.uri.clone(),
            digest: made.digest.clone(),
            fingerprint: Some(fingerprint.clone()),
            message: format!("TrainingJob {from} made its output from the same"),
            reused_from: Some(from),
        })
    }

    /// Steps are still to end: what is done, and what is said of it.
    fn under_steps(&self, walk: Walk, inputs: &[InputRecord]) -> Plan<TrainingJobStatus> {
        let message = progress(&walk);
        let mut plan = if let Some(failed) = &walk.failed {
            let mut plan = self.failed(self.base(), failed);
            plan.steps = self.end_attempts();
            plan
        } else {
            let mut plan = self.steps_in_progress(&walk, &message);
            plan.steps = walk.steps;
            plan.notes.extend(walk.notes);
            plan
        };
        let status = &mut plan.status;
        status.steps = walk.statuses;
        status.inputs = inputs.to_vec();
        status.start_time.get_or_insert(self.now);
        status
            .agent_image
            .get_or_insert_with(|| self.observed.agent_image.clone());
        if walk.failed.is_some() {
            self.rest_steps(status, "it was stopped, as another step failed");
        }
        plan
    }

    fn steps_in_progress(&self, walk: &Walk, message: &str) -> Plan<TrainingJobStatus> {
        let is_of_a_node = |problem: &&Problem| problem.reason == "Unschedulable";
        let mut problems = walk.problems.iter();
        let mut plan = if let Some(problem) = problems.find(|one| !is_of_a_node(one)) {
            self.stalled(problem)
        } else if let Some(problem) = walk.problems.first() {
            // The scheduler says something else whenever a node changes.
            let (waiting, again) = self.renewed(&problem.message);
            let mut plan = self.stalled(&Problem::new(&problem.reason, &*waiting.message));
            plan.status.waiting = Some(waiting);
            plan.again = again;
            plan
        } else {
            Plan::status_only(self.progressing("RunningSteps", message))
        };
        plan.look_again(walk.again);
        plan
    }

    /// While the job is stopped no step runs: one that had not ended begins anew when the job goes on. One that has
    /// ended well stays so.
    pub(super) fn rest_steps(&self, status: &mut TrainingJobStatus, why: &str) {
        let records = children::records(&status.inputs, &status.steps);
        for standing in &mut status.steps {
            let mut steps = self.job.spec.steps.iter();
            let step = steps.find(|step| step.name == standing.name);
            let Some(step) = step.filter(|_| standing.phase == StepPhase::Running) else {
                continue;
            };
            match self.seen(step, &records) {
                Seen::Ended(ended) => *standing = ended,
                // Its Job has ended, and is looked at when the job goes on.
                Seen::Failed(..) | Seen::Unread(_) | Seen::Running { again: Some(_), .. } => {}
                Seen::Running { .. } | Seen::Going(_) | Seen::NotMade => {
                    *standing = waiting(step, "");
                    why.clone_into(&mut standing.message);
                }
            }
        }
    }

    fn recorded_step(&self, name: &str) -> Option<&StepStatus> {
        self.before.steps.iter().find(|step| step.name == name)
    }
}

fn waiting(step: &TrainingStep, what: &str) -> StepStatus {
    StepStatus {
        name: step.name.clone(),
        phase: StepPhase::Waiting,
        message: format!("waits {what}"),
        ..StepStatus::default()
    }
}

/// `2 of 5 steps are complete; features and labels run`.
fn progress(walk: &Walk) -> String {
    let ended = walk.statuses.iter().filter(|step| has_ended_well(step));
    let (ended, all) = (ended.count(), walk.statuses.len());
    let are = if all == 1 { "step is" } else { "steps are" };
    let running = walk.names_in(StepPhase::Running);
    let now = match (running.as_slice(), walk.awaited.as_slice()) {
        ([], awaited) => format!("waiting until {} is gone", listed(awaited)),
        ([one], _) => format!("{one} runs"),
        (several, _) => format!("{} run", listed(several)),
    };
    format!("{ended} of {all} {are} complete; {now}")
}

/// `a`, `a and b`, `a, b and c`.
fn listed<T: AsRef<str>>(names: &[T]) -> String {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    match names.as_slice() {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [all @ .., last] => format!("{} and {last}", all.join(", ")),
    }
}
