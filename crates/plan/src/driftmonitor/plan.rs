//! The decisions on a DriftMonitor.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use windlass_api::agent::{DriftReport, Report, WindowVerdict};
use windlass_api::{
    Address, DriftMonitor, DriftMonitorStatus, GoDuration, Mode, ModelVersion, Retrain, Stored,
    Trigger, Window, WindowStatus, condition, is_true, labels,
};

use super::children;
use super::observed::Observed;
use crate::conditions::Conditions;
use crate::jobs::{self, JobState};
use crate::{Child, Note, Plan, Problem, Step, pods};

/// Windows that the status keeps.
const KEPT_WINDOWS: usize = 50;
/// Drifted columns that a window names.
const NAMED_COLUMNS: usize = 5;
/// After a window's end, so long is waited for the payload log to be written out.
const FLUSH: SignedDuration = SignedDuration::from_secs(6);

/// What is to be done about a DriftMonitor.
pub fn plan(observed: &Observed, now: Timestamp) -> Plan<DriftMonitorStatus> {
    let monitor = &*observed.monitor;
    let before = monitor.status.clone().unwrap_or_default();
    if monitor.metadata.deletion_timestamp.is_some() {
        return Plan::status_only(before);
    }
    let reconcile = Reconcile {
        observed,
        pods: pods::in_order(&observed.pods),
        monitor,
        before: &before,
        now,
    };
    reconcile.watched().map_or_else(
        |stop| reconcile.stopped(&stop),
        |watched| reconcile.watch(&watched),
    )
}

/// What windows are compared with.
struct Watched<'a> {
    version: &'a ModelVersion,
    baseline: &'a Stored,
    payloads: &'a Address,
    since: Timestamp,
    /// The version that is being tried beside it.
    canary: Option<&'a str>,
}

/// Why nothing can be watched now.
enum Stop {
    /// It comes by itself.
    Wait(Problem),
    /// A person has to do something.
    Mend(Problem),
}

struct Reconcile<'a> {
    observed: &'a Observed,
    /// The pods of all windows, in order.
    pods: Vec<&'a Pod>,
    monitor: &'a DriftMonitor,
    before: &'a DriftMonitorStatus,
    now: Timestamp,
}

impl Reconcile<'_> {
    fn watched(&self) -> Result<Watched<'_>, Stop> {
        let name = &self.monitor.spec.deployment;
        let namespace = self.monitor.namespace().unwrap_or_default();
        let deployment = self.observed.deployment.as_deref().ok_or_else(|| {
            Stop::Mend(Problem::new("DeploymentNotFound", format!("spec.deployment: there is no ModelDeployment {name:?} in namespace {namespace:?}")))
        })?;
        let payloads = deployment.spec.observe.as_ref().and_then(|observe| observe.log_payloads.as_ref()).map(|log| &log.uri).ok_or_else(|| {
            Stop::Mend(Problem::new("PayloadsNotLogged", format!("spec.deployment: the ModelDeployment {name:?} logs no payloads; set its spec.observe.logPayloads")))
        })?;
        if let Some(performance) = &self.monitor.spec.performance {
            pods::check_claims(
                [("spec.performance.labels.uri", &performance.labels.uri)],
                &self.observed.claims,
                &namespace,
            )
            .map_err(Stop::Mend)?;
        }
        let stable = deployment
            .status
            .as_ref()
            .and_then(|status| status.stable.as_ref());
        let (Some(stable), Some(version)) = (stable, self.observed.serving.as_deref()) else {
            return Err(Stop::Wait(Problem::new(
                "NothingServes",
                format!("waiting until a version serves in the ModelDeployment {name:?}"),
            )));
        };
        let baseline = version.status.as_ref().and_then(|status| status.validation.as_ref()).and_then(|found| found.baseline.as_ref()).ok_or_else(|| {
            Stop::Mend(Problem::new("NoBaseline", format!("the version that serves, {}, has no baseline profile: it was never validated; give the TrainingJob a spec.validation", version.name_any())))
        })?;
        let canary = deployment
            .status
            .as_ref()
            .and_then(|status| status.canary.as_ref())
            .map(|canary| canary.version.as_str());
        Ok(Watched {
            version,
            baseline,
            payloads,
            since: stable.since,
            canary,
        })
    }

    fn conditions(&self) -> Conditions<'_> {
        Conditions::new(
            &self.before.conditions,
            self.monitor.metadata.generation,
            self.now,
        )
    }

    fn base(&self) -> DriftMonitorStatus {
        DriftMonitorStatus {
            observed_generation: self.monitor.metadata.generation,
            ..self.before.clone()
        }
    }

    fn stopped(&self, stop: &Stop) -> Plan<DriftMonitorStatus> {
        let (phase, stalled, problem) = match stop {
            Stop::Wait(problem) => ("Waiting", false, problem),
            Stop::Mend(problem) => ("Stalled", true, problem),
        };
        let mut status = self.base();
        status.phase = Some(phase.to_owned());
        status.conditions = self
            .conditions()
            .with(condition::READY, false, &problem.reason, &problem.message)
            .with(
                condition::RECONCILING,
                !stalled,
                &problem.reason,
                &problem.message,
            )
            .with(
                condition::STALLED,
                stalled,
                &problem.reason,
                &problem.message,
            )
            .finish();
        Plan::status_only(status)
    }

    fn watch(&self, watched: &Watched<'_>) -> Plan<DriftMonitorStatus> {
        let mut status = self.base();
        status.reference = Some(watched.version.name_any());
        let mut plan = Plan::status_only(DriftMonitorStatus::default());
        self.record_windows(&mut status, &mut plan);
        self.next_window(watched, &status, &mut plan);
        self.adopt_training(&watched.version.name_any(), &mut status);
        let drift = self.drift(&watched.version.name_any(), &status.windows);
        let waiting = drift
            .as_ref()
            .and_then(|drift| self.retrain(watched, drift, &mut status, &mut plan));
        self.say(&mut status, drift.as_deref(), waiting.as_deref());
        plan.status = status;
        plan
    }

    /// Writes down the windows whose Jobs have ended, in order.
    fn record_windows(&self, status: &mut DriftMonitorStatus, plan: &mut Plan<DriftMonitorStatus>) {
        let last = status.windows.last().map(|window| window.end);
        let mut ended: Vec<WindowStatus> = self
            .observed
            .jobs
            .iter()
            .filter(|job| window_end(job).is_some_and(|end| last.is_none_or(|last| end > last)))
            .filter_map(|job| self.window(job))
            .collect();
        ended.sort_by_key(|window| window.end);
        for window in ended {
            if status
                .windows
                .last()
                .is_none_or(|last| last.verdict != window.verdict)
            {
                let note = match window.verdict {
                    WindowVerdict::Healthy | WindowVerdict::NotEnoughData => {
                        Note::normal(&format!("{:?}", window.verdict), &window.message)
                    }
                    WindowVerdict::Drifted | WindowVerdict::DataBroken | WindowVerdict::Failed => {
                        Note::warning(&format!("{:?}", window.verdict), &window.message)
                    }
                };
                plan.notes.push(note);
            }
            status.verdict = Some(window.verdict);
            status.windows.push(window);
        }
        let surplus = status.windows.len().saturating_sub(KEPT_WINDOWS);
        status.windows.drain(..surplus);
    }

    fn pods_of<'a>(&'a self, job: &'a Job) -> impl Iterator<Item = &'a Pod> {
        let name = job.name_any();
        self.pods
            .iter()
            .copied()
            .filter(move |pod| pod.labels().get("batch.kubernetes.io/job-name") == Some(&name))
    }

    /// What the Job of a window found, once it has ended.
    fn window(&self, job: &Job) -> Option<WindowStatus> {
        let end = window_end(job)?;
        let version = job
            .labels()
            .get(labels::VERSION)
            .cloned()
            .unwrap_or_default();
        // A pod that was taken away may have left a failure before another one came to a verdict.
        let report = self
            .pods_of(job)
            .find_map(|pod| match pods::report(pod, pods::AGENT)? {
                Report::Drift(report) => Some(report),
                Report::Training(_)
                | Report::Evaluation(_)
                | Report::Fetch(_)
                | Report::Failure(_) => None,
            });
        if let Some(report) = report {
            return Some(window_status(version, end, &report));
        }
        match jobs::state(job, self.pods_of(job), self.now) {
            JobState::Running | JobState::Settling => None,
            JobState::Complete | JobState::Failed => {
                let (reason, message) = self
                    .pods_of(job)
                    .filter(|pod| !pods::is_disrupted(pod))
                    .find_map(pods::failure)
                    .map_or(
                        (
                            "ReportMissing".to_owned(),
                            "the evaluation ended without a report".to_owned(),
                        ),
                        |failure| (format!("{:?}", failure.reason), failure.message),
                    );
                let start = end - self.size();
                Some(WindowStatus {
                    start,
                    end,
                    version,
                    verdict: WindowVerdict::Failed,
                    rows: 0,
                    drifted: Vec::new(),
                    reason: Some(reason),
                    message,
                })
            }
        }
    }

    fn every(&self) -> SignedDuration {
        duration(&self.monitor.spec.window.every)
    }

    fn size(&self) -> SignedDuration {
        duration(&self.monitor.spec.window.size)
    }

    /// Starts the evaluation of the newest window that has ended, one at a time.
    fn next_window(
        &self,
        watched: &Watched<'_>,
        status: &DriftMonitorStatus,
        plan: &mut Plan<DriftMonitorStatus>,
    ) {
        let recorded = status.windows.last().map(|window| window.end);
        let newest_job = self
            .observed
            .jobs
            .iter()
            .filter_map(|job| window_end(job))
            .max();
        if newest_job > recorded {
            // In flight: its end wakes us.
            plan.again = Some(Duration::from_secs(5));
            return;
        }
        let every = self.every().as_secs().max(1);
        let end_second = (self.now - FLUSH).as_second().div_euclid(every) * every;
        let end = Timestamp::from_second(end_second).unwrap_or(self.now);
        if recorded.is_none_or(|recorded| end > recorded) && end > watched.since {
            let window = Window {
                start: end - self.size(),
                end,
            };
            let job = children::window_job(
                self.monitor,
                watched.version,
                watched.baseline,
                watched.payloads,
                &window,
                &self.observed.agent_image,
            );
            plan.steps.push(Step::Apply(Child::Job(Box::new(job))));
            plan.again = Some(Duration::from_secs(5));
            return;
        }
        let next = end + SignedDuration::from_secs(every) + FLUSH;
        plan.again = Some(
            Duration::try_from(next.duration_since(self.now)).unwrap_or(Duration::from_secs(1)),
        );
    }

    /// The windows that together are drift: k Drifted of the last m that were judged, all of the version that serves.
    fn drift(&self, serving: &str, windows: &[WindowStatus]) -> Option<Vec<WindowStatus>> {
        let trigger = &self.monitor.spec.trigger_when;
        let needed = usize::try_from(trigger.windows).unwrap_or(1);
        let out_of = trigger
            .out_of
            .and_then(|out_of| usize::try_from(out_of).ok())
            .unwrap_or(needed);
        let drifted: Vec<WindowStatus> = windows
            .iter()
            .rev()
            .filter(|window| {
                window.version == serving
                    && matches!(
                        window.verdict,
                        WindowVerdict::Healthy | WindowVerdict::Drifted
                    )
            })
            .take(out_of)
            .filter(|window| window.verdict == WindowVerdict::Drifted)
            .cloned()
            .collect();
        (drifted.len() >= needed).then_some(drifted)
    }

    /// Writes down a training that was asked for just before we stopped.
    fn adopt_training(&self, serving: &str, status: &mut DriftMonitorStatus) {
        let made =
            self.observed.training_jobs.iter().filter_map(|job| {
                Some((job.metadata.creation_timestamp.as_ref()?.0, job.name_any()))
            });
        let Some((time, name)) = made.max() else {
            return;
        };
        let known = status
            .last_trigger
            .as_ref()
            .is_some_and(|last| last.training_job == name || last.time >= time);
        if !known {
            let message =
                "the training was asked for, and the operator stopped before it wrote down why"
                    .to_owned();
            status.last_trigger = Some(Trigger {
                training_job: name,
                time,
                version: serving.to_owned(),
                message,
            });
        }
    }

    /// Asks for a training, once; or says why not now.
    fn retrain(
        &self,
        watched: &Watched<'_>,
        drift: &[WindowStatus],
        status: &mut DriftMonitorStatus,
        plan: &mut Plan<DriftMonitorStatus>,
    ) -> Option<String> {
        let retrain = match (self.monitor.spec.mode, &self.monitor.spec.retrain) {
            (Mode::Observe, _) | (_, None) => {
                return Some("spec.mode is Observe: no training is asked for".to_owned());
            }
            (Mode::Suggest | Mode::Enforce, Some(retrain)) => retrain,
        };
        if let Some(job) = self
            .observed
            .training_jobs
            .iter()
            .find(|job| !is_finished(job))
        {
            return Some(under_way(&job.name_any()));
        }
        if let Some(canary) = watched.canary {
            return Some(format!("the roll-out of {canary} is under way"));
        }
        if let Some(until) = self.cooldown_end(retrain, status)
            && until > self.now
        {
            return Some(format!(
                "no other training is asked for before {} (spec.retrain.cooldown)",
                until.strftime("%FT%TZ")
            ));
        }
        let (Some(start), Some(end)) = (
            drift.iter().map(|window| window.start).min(),
            drift.iter().map(|window| window.end).max(),
        ) else {
            return None;
        };
        let job = children::training_job(self.monitor, retrain, Window { start, end });
        let name = job.name_any();
        // One drift, one training: the same windows ask once, however long ago, and be the TrainingJob deleted since.
        let asked = status
            .last_trigger
            .as_ref()
            .is_some_and(|last| last.training_job == name);
        if asked
            || self
                .observed
                .training_jobs
                .iter()
                .any(|made| made.name_any() == name)
        {
            return Some(format!("TrainingJob {name} was made for it"));
        }
        let message = drift
            .first()
            .map(|window| window.message.clone())
            .unwrap_or_default();
        plan.steps
            .push(Step::Create(Child::TrainingJob(Box::new(job))));
        plan.notes.push(Note::normal(
            "TrainingRequested",
            format!("drift in {} windows: made TrainingJob {name}", drift.len()),
        ));
        status.last_trigger = Some(Trigger {
            training_job: name.clone(),
            time: self.now,
            version: watched.version.name_any(),
            message,
        });
        Some(under_way(&name))
    }

    /// When a training may be asked for again: counted from the newest one, be it only in the cluster (we stopped before writing it down).
    fn cooldown_end(&self, retrain: &Retrain, status: &DriftMonitorStatus) -> Option<Timestamp> {
        let newest = self
            .observed
            .training_jobs
            .iter()
            .filter_map(|job| job.metadata.creation_timestamp.as_ref())
            .map(|time| time.0)
            .max();
        let last = status
            .last_trigger
            .as_ref()
            .map(|trigger| trigger.time)
            .max(newest)?;
        Some(last + duration(&retrain.cooldown))
    }

    fn say(
        &self,
        status: &mut DriftMonitorStatus,
        drift: Option<&[WindowStatus]>,
        waiting: Option<&str>,
    ) {
        let newest = Self::latest(status).cloned();
        let newest = newest.as_ref();
        let held_up = self.held_up(status);
        let (ready, reason, said) = match newest {
            _ if held_up.is_some() => held_up.clone().map_or_else(Default::default, |problem| {
                (false, problem.reason, problem.message)
            }),
            None => (
                false,
                "WaitingForWindow".to_owned(),
                "the first window has not ended".to_owned(),
            ),
            Some(window) => match window.verdict {
                WindowVerdict::Healthy | WindowVerdict::Drifted | WindowVerdict::NotEnoughData => (
                    true,
                    format!("{:?}", window.verdict),
                    window.message.clone(),
                ),
                WindowVerdict::DataBroken => {
                    (false, "DataBroken".to_owned(), window.message.clone())
                }
                WindowVerdict::Failed => (
                    false,
                    window
                        .reason
                        .clone()
                        .unwrap_or_else(|| "EvaluationFailed".to_owned()),
                    window.message.clone(),
                ),
            },
        };
        let stalled = held_up.is_some()
            || newest.is_some_and(|window| {
                matches!(
                    window.verdict,
                    WindowVerdict::DataBroken | WindowVerdict::Failed
                )
            });
        let drifted = match drift {
            Some(windows) => {
                let waiting = waiting
                    .map(|waiting| format!("; {waiting}"))
                    .unwrap_or_default();
                (
                    true,
                    "Drifted",
                    format!("{} windows drifted: {said}{waiting}", windows.len()),
                )
            }
            None => (
                false,
                "NoDrift",
                "fewer windows drifted than spec.triggerWhen asks for".to_owned(),
            ),
        };
        status.phase = Some(
            if stalled {
                "Stalled"
            } else if drift.is_some() {
                "Drifted"
            } else {
                "Watching"
            }
            .to_owned(),
        );
        status.conditions = self
            .conditions()
            .with(condition::READY, ready, &reason, &said)
            .with(
                condition::RECONCILING,
                newest.is_none() && !stalled,
                &reason,
                &said,
            )
            .with(condition::STALLED, stalled, &reason, &said)
            .with(condition::DRIFTED, drifted.0, drifted.1, &drifted.2)
            .finish();
    }

    /// Why the evaluation that is under way does not start, if a person has to do something about it.
    fn held_up(&self, status: &DriftMonitorStatus) -> Option<Problem> {
        let recorded = status.windows.last().map(|window| window.end);
        let job = self
            .observed
            .jobs
            .iter()
            .find(|job| window_end(job) > recorded)?;
        self.pods_of(job).find_map(pods::problem)
    }

    /// The newest window of the version that serves.
    fn latest(status: &DriftMonitorStatus) -> Option<&WindowStatus> {
        status
            .windows
            .iter()
            .rev()
            .find(|window| Some(&window.version) == status.reference.as_ref())
    }
}

fn under_way(name: &str) -> String {
    format!("TrainingJob {name} is under way")
}

fn is_finished(job: &windlass_api::TrainingJob) -> bool {
    job.status.as_ref().is_some_and(|status| {
        is_true(&status.conditions, condition::COMPLETE)
            || is_true(&status.conditions, condition::FAILED)
    })
}

fn window_end(job: &Job) -> Option<Timestamp> {
    let seconds = job.name_any().rsplit('-').next()?.parse().ok()?;
    Timestamp::from_second(seconds).ok()
}

fn duration(text: &GoDuration) -> SignedDuration {
    // The CRD lets no other text in; a minute is what an object from before the rule would get.
    text.value()
        .ok()
        .and_then(|duration| SignedDuration::try_from(duration).ok())
        .unwrap_or(SignedDuration::from_mins(1))
}

/// What a report says of the window that ends at `end`: a window is known by the Job that was made for it.
fn window_status(version: String, end: Timestamp, report: &DriftReport) -> WindowStatus {
    WindowStatus {
        start: report.start,
        end,
        version,
        verdict: report.verdict,
        rows: i64::try_from(report.rows).unwrap_or(i64::MAX),
        drifted: report
            .top
            .iter()
            .filter(|column| column.drifted)
            .take(NAMED_COLUMNS)
            .map(|column| column.column.clone())
            .collect(),
        reason: None,
        message: report.message.clone(),
    }
}
