//! How one step stands, told from what is recorded, its Job and its pods.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use windlass_api::agent::{Report, TrainingReport};
use windlass_api::{InputRecord, StepPhase, StepStatus, TrainingStep};

use super::has_ended_well;
use crate::jobs::{JobState, Without};
use crate::trainingjob::children;
use crate::trainingjob::plan::Reconcile;
use crate::trainingjob::plan::failure::{as_problem, is_final};
use crate::trainingjob::plan::record::shortened;
use crate::{Problem, jobs, pods};

/// How a step stands.
pub(super) enum Seen {
    /// It ended well, now or before.
    Ended(StepStatus),
    /// It failed, for good.
    Failed(StepStatus, Problem),
    /// Its Job is there and has not ended, or is still to be seen to.
    Running {
        /// What it cannot get on for.
        problem: Option<Problem>,
        /// When to look again.
        again: Option<Duration>,
    },
    /// The Job of this name ended well, and the pod that told what it wrote was taken away before it was read.
    Unread(String),
    /// What is left of an earlier try is going.
    Going(String),
    /// It has no Job.
    NotMade,
}

impl Reconcile<'_> {
    pub(super) fn seen(&self, step: &TrainingStep, records: &[InputRecord]) -> Seen {
        let recorded = self.recorded_step(&step.name);
        if let Some(recorded) = recorded.filter(|recorded| has_ended_well(recorded)) {
            return Seen::Ended(recorded.clone());
        }
        let name = children::step_job_name(self.job, &step.name);
        let mut all = self.observed.children.iter();
        let Some(child) = all.find(|child| child.name_any() == name) else {
            let alive = self.pods_of_job(&name).find(|pod| pods::is_alive(pod));
            return alive.map_or(Seen::NotMade, |pod| {
                Seen::Going(format!("pod {}", pod.name_any()))
            });
        };
        if child.metadata.deletion_timestamp.is_some() {
            return Seen::Going(format!("Job {name}"));
        }
        match jobs::state(child, self.pods_of_job(&name), self.now) {
            JobState::Running => self.running_step(child),
            JobState::Settling => Seen::Running {
                problem: None,
                again: Some(Duration::from_secs(1)),
            },
            JobState::Complete => match self.pods_of_job(&name).find_map(step_report) {
                Some(report) => {
                    let output = report.output.as_ref();
                    match output.and_then(|it| children::output_elsewhere(self.job, &it.uri)) {
                        Some(problem) => {
                            let message = format!("step {}: {}", step.name, problem.message);
                            self.failed_step(step, Problem::new(&problem.reason, message))
                        }
                        None => Seen::Ended(self.ended_step(step, &report, records)),
                    }
                }
                None => Seen::Unread(child.name_any()),
            },
            JobState::Failed => {
                let problem = self.step_failure(step, child);
                self.failed_step(step, problem)
            }
        }
    }

    fn failed_step(&self, step: &TrainingStep, problem: Problem) -> Seen {
        let status = StepStatus {
            phase: StepPhase::Failed,
            ended: Some(self.now),
            message: shortened(&problem.message),
            ..self.begun(step)
        };
        Seen::Failed(status, problem)
    }

    fn running_step(&self, child: &Job) -> Seen {
        let its_pods = || self.pods_of_job(child.metadata.name.as_deref().unwrap_or_default());
        let problem = its_pods().find_map(pods::problem);
        match jobs::without_pods(child, its_pods(), self.now) {
            Some(Without::Refused(problem)) => Seen::Running {
                problem: Some(problem),
                again: None,
            },
            Some(Without::Awaited(left)) => Seen::Running {
                problem,
                again: Some(left),
            },
            None => Seen::Running {
                problem,
                again: None,
            },
        }
    }

    fn ended_step(
        &self,
        step: &TrainingStep,
        report: &TrainingReport,
        records: &[InputRecord],
    ) -> StepStatus {
        // What was not checked has the digest with which it was read.
        let read = children::inputs_read(report, records);
        StepStatus {
            phase: StepPhase::Complete,
            ended: Some(self.now),
            uri: report.output.as_ref().map(|output| output.uri.clone()),
            digest: report.output.as_ref().map(|output| output.digest.clone()),
            fingerprint: children::step_fingerprint(self.job, step, &read),
            ..self.begun(step)
        }
    }

    fn begun(&self, step: &TrainingStep) -> StepStatus {
        let recorded = self.recorded_step(&step.name);
        StepStatus {
            name: step.name.clone(),
            started: recorded
                .and_then(|recorded| recorded.started)
                .or(Some(self.now)),
            ..StepStatus::default()
        }
    }

    /// Which step failed, in which of its tries, and the agent's own words of it.
    fn step_failure(&self, step: &TrainingStep, child: &Job) -> Problem {
        let name = child.name_any();
        let failed = self
            .pods_of_job(&name)
            .filter(|pod| !pods::is_disrupted(pod));
        let failed = failed.filter_map(|pod| Some((pod, pods::failure(pod)?)));
        let failed: Vec<_> = failed.collect();
        let tries = match failed.len() {
            0 | 1 => "at its first try".to_owned(),
            tries => format!("at its try {tries}"),
        };
        // What a repetition cannot mend tells more than what came before it; else the last.
        let told = failed
            .iter()
            .max_by_key(|(pod, failure)| (is_final(failure.reason), pods::ended_at(pod)));
        let why = told.map_or_else(
            || jobs::failed_message(child),
            |(pod, failure)| {
                let problem = as_problem(failure);
                format!(
                    "pod {}: {}: {}",
                    pod.name_any(),
                    problem.reason,
                    problem.message
                )
            },
        );
        Problem::new(
            "StepFailed",
            format!("step {} failed {tries}: {why}", step.name),
        )
    }
}

fn step_report(pod: &Pod) -> Option<TrainingReport> {
    pods::reports(pod).find_map(|report| match report {
        Report::Training(report) if report.output.is_some() => Some(report),
        Report::Training(_)
        | Report::Check(_)
        | Report::Delete(_)
        | Report::Evaluation(_)
        | Report::Drift(_)
        | Report::Fetch(_)
        | Report::Labels(_)
        | Report::Publish(_)
        | Report::Failure(_) => None,
    })
}
