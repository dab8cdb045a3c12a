//! What the Jobs of windows found: a small record each, in order; left with the Jobs while it is nothing new.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use windlass_api::agent::{DriftReport, Report, WindowVerdict};
use windlass_api::{DriftMonitorStatus, WindowStatus, labels};

use super::Reconcile;
use super::drift::persists;
use crate::driftmonitor::{Observed, children};
use crate::jobs::{self, JobState};
use crate::{Note, Plan, pods};

/// Windows that the status keeps.
const KEPT_WINDOWS: usize = 50;
/// Windows that may be left with their Jobs: as many as a CronJob keeps.
const UNWRITTEN: usize = 3;
/// Within this time after its end, what a window's Job found has been read, whoever leads.
const READ: SignedDuration = SignedDuration::from_mins(1);
/// Drifted columns that a window names.
const NAMED_COLUMNS: usize = 5;
/// Bytes of a window's message, and of a column's name: fifty windows are to be a small part of an object.
const MOST_MESSAGE: usize = 400;
const MOST_NAME: usize = 128;

impl Reconcile<'_> {
    /// The windows whose Jobs have ended and that are not written down, in order.
    pub(super) fn ended_windows(&self) -> Vec<WindowStatus> {
        let last = self.before.windows.last().map(|window| window.end);
        let mut ended: Vec<WindowStatus> = self
            .observed
            .jobs
            .iter()
            .filter(|job| window_end(job).is_some_and(|end| last.is_none_or(|last| end > last)))
            .filter_map(|job| self.window(job))
            .collect();
        ended.sort_by_key(|window| window.end);
        let mut all = self.before.windows.clone();
        for window in &mut ended {
            all.push(window.clone());
            let when = &self.monitor.spec.trigger_when;
            let is_enough = window.fallen || persists(when, &window.version, &all).is_some();
            if window.verdict == WindowVerdict::Drifted && !is_enough {
                window.verdict = WindowVerdict::Drifting;
            }
            if let Some(last) = all.last_mut() {
                last.verdict = window.verdict;
            }
        }
        ended
    }

    /// Whether a window was judged, and what was found went with its pod, as when a node is taken away: it was nothing new, or
    /// it would have been written down when it was found.
    fn is_lost(&self, job: &Job) -> bool {
        let ended = ended_at(job);
        self.pods_of(job).next().is_none()
            && ended.is_some_and(|ended| self.now.duration_since(ended) > READ)
    }

    /// Whether it went while nobody may have been there to read it: it may have been news. The window after it was begun by one
    /// who had.
    pub(super) fn is_unread(&self, job: &Job) -> bool {
        let newer = |other: &std::sync::Arc<Job>| window_end(other) > window_end(job);
        let Observed {
            reading_since,
            read_until,
            ..
        } = *self.observed;
        let between = |ended: Timestamp| {
            ended < reading_since + READ && read_until.is_none_or(|until| until < ended + READ)
        };
        self.pods_of(job).next().is_none()
            && jobs::state(job, self.pods_of(job), self.now) == JobState::Complete
            && ended_at(job).is_some_and(between)
            && !self.observed.jobs.iter().any(newer)
    }

    /// For how long windows that have ended may stay with their Jobs, if they say nothing new.
    pub(super) fn may_stay_unwritten(&self, ended: &[WindowStatus]) -> Option<Duration> {
        let last = self.before.windows.last()?;
        if ended.is_empty()
            || ended.len() > UNWRITTEN
            || !ended.iter().all(|one| says_as(one, last))
        {
            return None;
        }
        let of_ended = |job: &&std::sync::Arc<Job>| {
            window_end(job).is_some_and(|end| ended.iter().any(|window| window.end == end))
        };
        let jobs = self.observed.jobs.iter().filter(of_ended);
        let due = jobs.filter_map(|job| taken_away(job, self.now)).min()?;
        (due > self.now).then(|| self.until(due))
    }

    /// What the agent reports of a window. A pod that was taken away may have left a failure before another one came to a
    /// verdict.
    pub(super) fn report(&self, job: &Job) -> Option<DriftReport> {
        self.pods_of(job)
            .find_map(|pod| match pods::report(pod, pods::AGENT)? {
                Report::Drift(report) => Some(report),
                Report::Training(_)
                | Report::Evaluation(_)
                | Report::Fetch(_)
                | Report::Check(_)
                | Report::Delete(_)
                | Report::Labels(_)
                | Report::Publish(_)
                | Report::Failure(_) => None,
            })
    }

    /// What the Job of a window found, once it has ended.
    fn window(&self, job: &Job) -> Option<WindowStatus> {
        let end = window_end(job)?;
        let version = job.labels().get(labels::VERSION);
        let version = version.cloned().unwrap_or_default();
        if let Some(report) = self.report(job) {
            return Some(window_status(version, end, job, &report));
        }
        match jobs::state(job, self.pods_of(job), self.now) {
            JobState::Running | JobState::Settling => None,
            JobState::Complete if self.is_lost(job) || self.is_unread(job) => None,
            JobState::Complete | JobState::Failed => {
                let (reason, message) = self
                    .pods_of(job)
                    .filter(|pod| !pods::is_disrupted(pod))
                    .find_map(pods::failure)
                    .map_or(
                        ("ReportMissing".to_owned(), report_missing(job)),
                        |failure| (format!("{:?}", failure.reason), failure.message),
                    );
                Some(WindowStatus {
                    start: children::start_of(job).unwrap_or(end),
                    end,
                    version,
                    verdict: WindowVerdict::Failed,
                    rows: 0,
                    drifted: Vec::new(),
                    fallen: false,
                    reason: Some(reason),
                    message: cut(&message, MOST_MESSAGE),
                    digest: None,
                })
            }
        }
    }
}

/// Writes windows down, and tells what is new of them.
pub(super) fn record_windows(ended: &[WindowStatus], plan: &mut Plan<DriftMonitorStatus>) {
    let status = &mut plan.status;
    for window in ended {
        let is_new = status
            .windows
            .last()
            .is_none_or(|last| last.verdict != window.verdict || last.fallen != window.fallen);
        if is_new {
            plan.notes.push(note(window));
        }
        status.verdict = Some(window.verdict);
        status.windows.push(window.clone());
    }
    let surplus = status.windows.len().saturating_sub(KEPT_WINDOWS);
    status.windows.drain(..surplus);
}

/// What is said of an evaluation that says nothing itself.
fn report_missing(job: &Job) -> String {
    let (name, namespace) = (job.name_any(), job.namespace().unwrap_or_default());
    let conditions = job.status.iter().flat_map(|status| &status.conditions);
    let failed = conditions
        .flatten()
        .find(|condition| condition.type_ == "Failed" && condition.status == "True");
    let why = failed.map_or_else(
        || "its pod was taken away before what it found was read".to_owned(),
        |failed| {
            let reason = failed.reason.as_deref().unwrap_or("Failed");
            let message = failed.message.as_deref().unwrap_or("no reason was given");
            format!("{reason}: {message}")
        },
    );
    format!(
        "the evaluation of this window, Job {name}, ended without a report: {why}; see kubectl describe job {name} -n {namespace}. Windows after it are judged all the same"
    )
}

/// When a Job ended.
fn ended_at(job: &Job) -> Option<Timestamp> {
    let conditions = job.status.as_ref()?.conditions.iter().flatten();
    conditions
        .filter(|condition| condition.status == "True")
        .filter_map(|condition| condition.last_transition_time.as_ref())
        .map(|time| time.0)
        .min()
}

/// The end of the window that a Job judges: a window is known by the Job that was made for it.
pub(super) fn window_end(job: &Job) -> Option<Timestamp> {
    let seconds = job.name_any().rsplit('-').next()?.parse().ok()?;
    Timestamp::from_second(seconds).ok()
}

/// Whether a window says of the same version what another says.
fn says_as(window: &WindowStatus, other: &WindowStatus) -> bool {
    let said = |one: &WindowStatus| {
        let one = one.clone();
        (
            one.version,
            one.verdict,
            one.drifted,
            one.fallen,
            one.reason,
        )
    };
    said(window) == said(other)
}

/// A while before a Job that has ended, or is just about to, is taken away.
fn taken_away(job: &Job, now: Timestamp) -> Option<Timestamp> {
    let kept = job.spec.as_ref()?.ttl_seconds_after_finished?;
    let ended = ended_at(job).unwrap_or(now);
    let kept = SignedDuration::from_secs(i64::from(kept) * 4 / 5);
    ended.checked_add(kept).ok()
}

/// What a report says of the window that ends at `end`.
fn window_status(version: String, end: Timestamp, job: &Job, report: &DriftReport) -> WindowStatus {
    let drifted = report.top.iter().filter(|column| column.drifted);
    let fallen = report.performance.as_ref();
    WindowStatus {
        start: children::start_of(job).unwrap_or(report.start),
        end,
        version,
        verdict: report.verdict,
        rows: i64::try_from(report.rows).unwrap_or(i64::MAX),
        drifted: drifted
            .take(NAMED_COLUMNS)
            .map(|column| cut(&column.column, MOST_NAME))
            .collect(),
        fallen: report.verdict == WindowVerdict::Drifted
            && fallen.is_some_and(|performance| performance.fallen),
        reason: None,
        message: cut(&report.message, MOST_MESSAGE),
        digest: report
            .report
            .as_ref()
            .map(|tree| cut(&tree.digest, MOST_NAME)),
    }
}

fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(most)])
}

fn note(window: &WindowStatus) -> Note {
    let said = format!("window up to {}: {}", window.end, window.message);
    match window.verdict {
        WindowVerdict::Healthy | WindowVerdict::NotEnoughData => {
            Note::normal(&format!("{:?}", window.verdict), said)
        }
        WindowVerdict::Drifted if window.fallen => Note::warning("PerformanceFallen", said),
        WindowVerdict::Drifting
        | WindowVerdict::Drifted
        | WindowVerdict::DataBroken
        | WindowVerdict::Failed => Note::warning(&format!("{:?}", window.verdict), said),
    }
}
