//! Before the first attempt, the data is checked: by a Job without GPUs, so that none is held for data that is not fit.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use windlass_api::agent::{CheckReport, CheckedInput, Report};
use windlass_api::{Address, InputRecord, Stored, TrainingJobStatus};

use super::Reconcile;
use super::failure::{as_problem, is_final};
use crate::jobs::{JobState, Without};
use crate::trainingjob::children;
use crate::{Child, Doomed, Note, Plan, Problem, Step, jobs, pods};

/// How the data stands.
pub(super) enum Data {
    /// Every check holds, of the inputs as they are here; none where nothing is to be checked.
    Fit(Vec<InputRecord>),
    /// Not known yet, or not fit: this is to be done.
    NotFit(Box<Plan<TrainingJobStatus>>),
}

impl Reconcile<'_> {
    pub(super) fn data(&self) -> Data {
        let known = self.before.attempt.is_some() || !self.before.inputs.is_empty();
        if known || !children::needs_check(self.job) {
            return Data::Fit(self.before.inputs.clone());
        }
        let name = children::check_name(self.job);
        let child = self
            .observed
            .children
            .iter()
            .find(|child| child.name_any() == name);
        match child {
            None => not_fit(match self.pods.iter().find(|pod| pods::is_alive(pod)) {
                // Of a check that was taken away: its end must not be taken for the new one's.
                Some(pod) => self.awaiting(&format!("pod {}", pod.name_any())),
                None => self.check_data(),
            }),
            Some(child) if child.metadata.deletion_timestamp.is_some() => {
                not_fit(self.awaiting(&format!("Job {name}")))
            }
            Some(child) => self.judge_data(child),
        }
    }

    fn awaiting(&self, what: &str) -> Plan<TrainingJobStatus> {
        let message = format!("waiting until {what} of the check before is gone");
        Plan::status_only(self.checking("WaitingForPods", &message))
    }

    /// The Job is made.
    fn check_data(&self) -> Plan<TrainingJobStatus> {
        let mut status = self.checking_data();
        let image = self.observed.agent_image.clone();
        let image = status.agent_image.get_or_insert(image).clone();
        let champion = self.observed.champion.as_ref().and_then(|name| {
            let mut versions = self.observed.versions.iter();
            versions.find(|version| version.name_any() == *name)
        });
        let made = children::check_job(self.job, champion.map(AsRef::as_ref), &image);
        Plan {
            steps: vec![Step::Apply(Child::Job(Box::new(made)))],
            notes: vec![Note::normal(
                "CheckingData",
                "started to check the inputs, before any worker is",
            )],
            ..Plan::status_only(status)
        }
    }

    /// The Job is there: what comes of it.
    fn judge_data(&self, child: &Job) -> Data {
        let name = child.name_any();
        let its_pods = || self.pods_of_job(&name);
        not_fit(match jobs::state(child, its_pods(), self.now) {
            JobState::Running => {
                let checking = || Plan::status_only(self.checking_data());
                if let Some(problem) = its_pods().find_map(pods::problem) {
                    return not_fit(self.stalled(&problem));
                }
                match jobs::without_pods(child, its_pods(), self.now) {
                    Some(Without::Refused(problem)) => self.stalled(&problem),
                    Some(Without::Awaited(left)) => Plan {
                        again: Some(left),
                        ..checking()
                    },
                    None => checking(),
                }
            }
            JobState::Settling => Plan {
                again: Some(Duration::from_secs(1)),
                ..Plan::status_only(self.before.clone())
            },
            JobState::Complete => match its_pods().find_map(check_report) {
                Some(report) => return self.read(report),
                // Its pod was taken away before it was read.
                None => Plan {
                    steps: vec![Step::Delete(Doomed::Job(child.name_any()))],
                    ..Plan::status_only(self.checking_data())
                },
            },
            JobState::Failed => {
                let failures = its_pods().filter_map(pods::failure);
                let told = failures.min_by_key(|failure| !is_final(failure.reason));
                let problem = told.map_or_else(
                    || Problem::new("CheckNotRun", jobs::failed_message(child)),
                    |failure| as_problem(&failure),
                );
                self.failed(self.base(), &problem)
            }
        })
    }

    /// What was read: of every input its digest, or nothing is trained on.
    fn read(&self, report: CheckReport) -> Data {
        let named = report.inputs.into_iter();
        let mut read: BTreeMap<String, CheckedInput> =
            named.map(|input| (input.name.clone(), input)).collect();
        let (mut records, mut unknown) = (Vec::new(), Vec::new());
        for input in &self.job.spec.inputs {
            match read.remove(&input.name) {
                Some(checked) => records.push(record(checked, &input.uri)),
                None => unknown.push(&*input.name),
            }
        }
        if unknown.is_empty() {
            return Data::Fit(records);
        }
        let message = format!(
            "the report of the check has no digest of {}: it had no room for all inputs; give fewer to one TrainingJob, or shorter addresses",
            unknown.join(", ")
        );
        not_fit(self.failed(self.base(), &Problem::new("ReportTruncated", message)))
    }

    fn checking_data(&self) -> TrainingJobStatus {
        let name = children::check_name(self.job);
        self.checking(
            "CheckingData",
            &format!(
                "the inputs are being checked, by Job {name}; no worker is started before that"
            ),
        )
    }

    fn checking(&self, reason: &str, message: &str) -> TrainingJobStatus {
        let mut status = self.progressing(reason, message);
        status.start_time.get_or_insert(self.now);
        status
    }
}

fn not_fit(plan: Plan<TrainingJobStatus>) -> Data {
    Data::NotFit(Box::new(plan))
}

fn check_report(pod: &Pod) -> Option<CheckReport> {
    match pods::report(pod, pods::AGENT)? {
        Report::Check(report) => Some(report),
        Report::Training(_)
        | Report::Evaluation(_)
        | Report::Drift(_)
        | Report::Fetch(_)
        | Report::Delete(_)
        | Report::Labels(_)
        | Report::Publish(_)
        | Report::Failure(_) => None,
    }
}

/// A report that had no room for an address leaves it out: it is as the job says it.
fn record(input: CheckedInput, uri: &Address) -> InputRecord {
    let read = input.tree.uri;
    InputRecord {
        name: input.name,
        uri: if read.is_empty() { uri.0.clone() } else { read },
        digest: input.tree.digest,
        as_of: input.as_of,
        profile: input.profile.map(|profile| Stored {
            uri: Address(profile.uri),
            digest: profile.digest,
        }),
    }
}
