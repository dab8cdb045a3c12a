//! Labels of a roll-out's predictions are read by Jobs, one at a time, and what they say goes into the status.
//!
//! ```text
//!   step begins ──> due ──> Job ──report──> status ──> due … (roll-out over: the Job goes)
//!                    ^       └─failed─> status: why ──longer pause──┘
//! ```

use jiff::SignedDuration;
use kube::ResourceExt;
use windlass_api::agent::{LabelsReport, Report};
use windlass_api::{CanaryStatus, LabelledSeen, LogPayloads, ModelDeploymentStatus};

use super::words::began;
use super::{Reconcile, short};
use crate::modeldeployment::children::{LabelsLook, labels_job};
use crate::modeldeployment::labelled::{Labels, begin, job_name, unseen};
use crate::modeldeployment::stages::span;
use crate::work::{Work, work};
use crate::{Child, Doomed, Note, Plan, Problem, Step, pods, template};

/// How long a row of the payload log waits to be uploaded where the spec does not say.
const FLUSH: SignedDuration = SignedDuration::from_secs(5);
/// So many of these later it lies there, of whichever version.
const FLUSHES: i32 = 3;

impl Reconcile<'_> {
    /// The check by labels, where the canary is compared with something.
    fn labels(&self) -> Option<Labels<'_>> {
        let checks = &self.deployment.spec.rollout.analysis;
        Labels::of(checks).filter(|_| self.is_analysed())
    }

    /// What is known of labels is of what is asked now, and of the step that goes on.
    pub(super) fn keep_labels(&self, canary: &mut CanaryStatus) {
        let stable = self.before.stable.as_ref();
        let Some((labels, stable)) = self.labels().zip(stable) else {
            canary.labelled = None;
            return;
        };
        let question = labels.question(&canary.version, canary.started, &stable.version);
        let is_of_it = |seen: &LabelledSeen| seen.question == question;
        let known = canary.labelled.take().filter(is_of_it);
        let mut seen = known.unwrap_or_else(|| unseen(question));
        if let Some(start) = canary.step_started {
            begin(&mut seen, start);
        }
        if let Some(why) = self.obstacle(&labels) {
            seen.problem = Some(why);
        }
        canary.labelled = Some(seen);
    }

    fn log(&self) -> Option<&LogPayloads> {
        let observe = self.deployment.spec.observe.as_ref()?;
        observe.log_payloads.as_ref()
    }

    /// What has to be mended before labels can be read at all.
    fn obstacle(&self, labels: &Labels<'_>) -> Option<String> {
        let Some(log) = self.log() else {
            return Some("spec.observe.logPayloads is not given, and labels are held against the predictions that are logged there: give it".to_owned());
        };
        if log.redact.iter().any(|column| column == "prediction") {
            return Some("spec.observe.logPayloads.redact names 'prediction', and labels are held against what is logged there: take it out".to_owned());
        }
        let field = format!("spec.rollout.analysis[{}].labels.uri", labels.number);
        let named = [(field.as_str(), &labels.asked.uri)];
        let namespace = self.deployment.namespace().unwrap_or_default();
        let there = pods::check_claims(named, &self.observed.claims, &namespace);
        there.err().map(|problem| problem.message)
    }

    /// Takes what the Job of a look has come to.
    pub(super) fn read_labels(
        &self,
        canary: &mut CanaryStatus,
        plan: &mut Plan<ModelDeploymentStatus>,
    ) {
        let version = canary.version.clone();
        let stable = self.before.stable.as_ref();
        let (Some(labels), Some(stable), Some(seen)) =
            (self.labels(), stable, &mut canary.labelled)
        else {
            return;
        };
        let name = job_name(self.deployment, seen);
        let mut jobs = self.observed.label_jobs.iter();
        let Some(job) = jobs.find(|job| job.name_any() == name) else {
            return;
        };
        let read = |report| match report {
            Report::Labels(report) => Some(report),
            Report::Training(_)
            | Report::Evaluation(_)
            | Report::Drift(_)
            | Report::Fetch(_)
            | Report::Check(_)
            | Report::Delete(_)
            | Report::Publish(_)
            | Report::Failure(_) => None,
        };
        let all = pods::in_order(&self.observed.label_pods);
        let begun = job.metadata.creation_timestamp.as_ref();
        let begun = begun.map_or(self.now, |time| time.0.min(self.now));
        let failure = match work(job, &all, self.now, "LabelsNotRead", read) {
            // What held it up does no more.
            Work::UnderWay(_) => {
                if seen.failures.is_none() && self.obstacle(&labels).is_none() {
                    seen.problem = None;
                }
                return;
            }
            // It may get on by itself, and its Job has a deadline.
            Work::HeldUp(problem) => {
                seen.problem = Some(told(&problem));
                return;
            }
            Work::Unread => Some(format!(
                "Job {name} ended, and its report was gone before it was read"
            )),
            Work::Failed(problem) => Some(told(&problem)),
            Work::Done(report) => {
                match of_both(&report, [&version, &stable.version], seen.spans.len()) {
                    Some([canary, stable]) => {
                        if !labels.take(seen, canary, stable) {
                            plan.notes.push(changed(&labels));
                        }
                        seen.labels = i64::try_from(report.labels).unwrap_or(i64::MAX);
                        None
                    }
                    None => Some(format!(
                        "Job {name} reported nothing of {version} and {}",
                        stable.version
                    )),
                }
            }
        };
        seen.looks = seen.looks.saturating_add(1);
        // What came since it began is read by the next one.
        seen.looked = Some(begun);
        if let Some(why) = &failure
            && seen.failures.is_none()
        {
            plan.notes.push(Note::warning(
                "LabelsNotRead",
                format!(
                    "the roll-out of {version} waits for labels, which could not be read: {why}"
                ),
            ));
        }
        seen.failures = failure
            .is_some()
            .then(|| seen.failures.unwrap_or(0).saturating_add(1));
        seen.problem = failure;
    }

    /// The Job of a look is made when it is time. One whose report is written down goes, and so do all when nothing rolls.
    pub(super) fn look_at_labels(&self, plan: &mut Plan<ModelDeploymentStatus>) {
        let seen = |canary: &Option<CanaryStatus>| {
            let canary = canary.as_ref().filter(|canary| canary.failure.is_none());
            canary.and_then(|canary| canary.labelled.clone())
        };
        let kept = [&self.before.canary, &plan.status.canary].map(|canary| {
            let seen = seen(canary);
            seen.map(|seen| job_name(self.deployment, &seen))
        });
        let jobs = &self.observed.label_jobs;
        let there = jobs
            .iter()
            .filter(|job| job.metadata.deletion_timestamp.is_none());
        let over = there
            .map(|job| job.name_any())
            .filter(|name| !kept.iter().flatten().any(|kept| kept == name));
        plan.steps
            .extend(over.map(|name| Step::Delete(Doomed::JobBeside(name))));
        if jobs.is_empty()
            && let Some(step) = self.next_look(plan)
        {
            plan.steps.push(step);
        }
    }

    /// The Job of the next look, where it is time for one.
    fn next_look(&self, plan: &Plan<ModelDeploymentStatus>) -> Option<Step> {
        let status = &plan.status;
        let (canary, stable) = (status.canary.as_ref()?, status.stable.as_ref()?);
        let (seen, labels) = (canary.labelled.as_ref()?, self.labels()?);
        let is_due = labels.due(seen, began(canary))? <= self.now;
        if canary.failure.is_some() || !is_due || self.obstacle(&labels).is_some() {
            return None;
        }
        let (log, resolved) = (self.log()?, status.resolved.as_ref()?);
        let flush = log.flush_every.as_ref().map_or(FLUSH, span);
        let unread = (flush * FLUSHES).max(labels.mature);
        let end = self.now.checked_sub(unread).ok()?;
        // Of a step that has only just begun nothing lies there yet.
        if seen.spans.first()?.start >= end {
            return None;
        }
        // What is wrong with it is said elsewhere.
        let serving = template::parse("spec.template", &resolved.template)
            .ok()?
            .spec?;
        let job = labels_job(&LabelsLook {
            deployment: self.deployment,
            seen,
            labels: labels.asked,
            payloads: &log.uri,
            versions: [&canary.version, &stable.version],
            end,
            serving: &serving,
            agent_image: &resolved.agent_image,
        });
        Some(Step::Apply(Child::JobBeside(Box::new(job))))
    }
}

fn told(problem: &Problem) -> String {
    short(&format!("{}: {}", problem.reason, problem.message))
}

/// What is reported of both, of so many spans at most.
fn of_both<'r>(
    report: &'r LabelsReport,
    versions: [&str; 2],
    spans: usize,
) -> Option<[&'r [windlass_api::agent::LabelCounts]; 2]> {
    let [canary, stable] = versions.map(|version| report.versions.get(version).map(Vec::as_slice));
    let both = [canary?, stable?];
    both.iter()
        .all(|counts| counts.len() <= spans)
        .then_some(both)
}

fn changed(labels: &Labels<'_>) -> Note {
    Note::warning(
        "LabelsChanged",
        format!(
            "some labels at {} that were taken as evidence are gone or say something else now, or predictions are gone from the payload log: of that step's predictions nothing more is taken until there are as many again. Only add labels while a roll-out goes on",
            labels.asked.uri
        ),
    )
}
