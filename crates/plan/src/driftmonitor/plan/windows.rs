//! Windows: each is judged by a Job of its own, one at a time, and written down when that has ended.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use windlass_api::agent::{DriftReport, Report, WindowVerdict};
use windlass_api::{DriftMonitorStatus, Window, WindowStatus, labels};

use super::{Reconcile, Watched, duration};
use crate::driftmonitor::children;
use crate::jobs::{self, JobState};
use crate::{Child, Note, Plan, Step, pods};

/// Windows that the status keeps.
const KEPT_WINDOWS: usize = 50;
/// Drifted columns that a window names.
const NAMED_COLUMNS: usize = 5;
/// After a window's end, so long is waited for the payload log to be written out.
const FLUSH: SignedDuration = SignedDuration::from_secs(6);

impl Reconcile<'_> {
    /// Writes down the windows whose Jobs have ended, in order.
    pub(super) fn record_windows(
        &self,
        status: &mut DriftMonitorStatus,
        plan: &mut Plan<DriftMonitorStatus>,
    ) {
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
                | Report::Check(_)
                | Report::Delete(_)
                | Report::Publish(_)
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

    /// Starts the evaluation of the newest window that has ended, one at a time.
    pub(super) fn next_window(
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

    fn every(&self) -> SignedDuration {
        duration(&self.monitor.spec.window.every)
    }

    fn size(&self) -> SignedDuration {
        duration(&self.monitor.spec.window.size)
    }
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

pub(super) fn window_end(job: &Job) -> Option<Timestamp> {
    let seconds = job.name_any().rsplit('-').next()?.parse().ok()?;
    Timestamp::from_second(seconds).ok()
}
