//! Which window is to be judged next: each once, in order, one at a time, and of one version.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use windlass_api::{DriftMonitorStatus, PassedOver, Window, WindowStatus};

use super::Reconcile;
use super::records::window_end;
use super::watched::{Watched, baseline};
use crate::driftmonitor::{children, duration};
use crate::jobs::{self, JobState};
use crate::{Child, Doomed, Note, Plan, Step};

/// How soon an evaluation that is under way is looked at again, where nothing else tells of it.
const LOOK: Duration = Duration::from_secs(5);
/// After a window that cannot be, the next one is looked for so much later.
const LATER: SignedDuration = SignedDuration::from_mins(1);

/// A window that has ended, and nobody has looked at.
struct Due {
    window: Window,
    version: String,
}

impl Reconcile<'_> {
    /// Starts the evaluation of the next window that has ended, one at a time.
    pub(super) fn next_window(
        &self,
        watched: &Watched<'_>,
        all: &[WindowStatus],
        plan: &mut Plan<DriftMonitorStatus>,
    ) {
        self.say_passed_over(watched, all, None, plan);
        let last = all.last().map(|window| window.end);
        let newer = self.observed.jobs.iter();
        let newer: Vec<_> = newer.filter(|job| window_end(job) > last).collect();
        let is_under_way = |job: &&std::sync::Arc<Job>| {
            let state = jobs::state(job, self.pods_of(job), self.now);
            matches!(state, JobState::Running | JobState::Settling)
        };
        if newer.iter().any(is_under_way) {
            // Its end wakes us.
            plan.look_again(Some(LOOK));
            return;
        }
        if let Some(job) = newer.iter().find(|job| self.is_unread(job)) {
            // The window is judged again.
            plan.steps.push(Step::Delete(Doomed::Job(job.name_any())));
            plan.look_again(Some(LOOK));
            return;
        }
        let last = newer
            .iter()
            .filter_map(|job| window_end(job))
            .max()
            .max(last);
        let watermark = self.watermark();
        if let Some(due) = self.due(watched, last, watermark) {
            if let Some(job) = self.job(watched, &due) {
                self.say_passed_over(watched, all, Some(due.window.end), plan);
                plan.steps.push(Step::Apply(Child::Job(Box::new(job))));
            }
            plan.look_again(Some(LOOK));
            return;
        }
        let next = watched.schedule.next(watermark.max(watched.since));
        let next = next.map_or(self.now + LATER, |end| end + self.lateness());
        plan.look_again(Some(self.until(next)));
    }

    fn lateness(&self) -> SignedDuration {
        duration(&self.monitor.spec.window.lateness)
    }

    /// Rows up to this time are there.
    fn watermark(&self) -> Timestamp {
        let watermark = self.now.checked_sub(self.lateness());
        watermark.unwrap_or(Timestamp::MIN)
    }

    /// The oldest of the newest windows that have ended and are to be judged. At first that is the newest alone: a new monitor
    /// does not look into the past.
    fn due(
        &self,
        watched: &Watched<'_>,
        last: Option<Timestamp>,
        watermark: Timestamp,
    ) -> Option<Due> {
        let Some(last) = last else {
            let end = watched.schedule.newest(watched.since, watermark, 1).pop()?;
            return self.due_at(watched, end);
        };
        let most = usize::try_from(self.monitor.spec.window.max_catch_up).unwrap_or(1);
        let first = watched.tenures.first().map_or(last, |tenure| tenure.from);
        let after = last.max(first);
        let mut ends = watched.schedule.newest(after, watermark, most);
        // A version's last window ends with it.
        let changes = watched.tenures.iter().filter_map(|tenure| tenure.until);
        ends.extend(changes.filter(|end| *end > after && *end <= watermark));
        ends.sort();
        ends.dedup();
        let mut due: Vec<Due> = ends
            .into_iter()
            .filter_map(|end| self.due_at(watched, end))
            .collect();
        due.drain(..due.len().saturating_sub(most));
        due.into_iter().next()
    }

    /// The window that ends then, if there is something to compare it with.
    fn due_at(&self, watched: &Watched<'_>, end: Timestamp) -> Option<Due> {
        let tenure = watched
            .tenures
            .iter()
            .find(|tenure| tenure.ends_within(end))?;
        self.version(&tenure.version).and_then(baseline)?;
        // What a promotion cuts off is the first part of the window that would have ended later.
        let moment = end.checked_sub(SignedDuration::from_secs(1)).ok()?;
        let whole = watched.schedule.next(moment)?;
        let start = match &self.monitor.spec.window.size {
            Some(size) => whole.checked_sub(duration(size)).ok(),
            None => watched.schedule.before(whole),
        };
        let start = start.unwrap_or(tenure.from).max(tenure.from);
        (start < end).then(|| Due {
            window: Window { start, end },
            version: tenure.version.clone(),
        })
    }

    /// Columns that the payload log has as null.
    fn redacted(&self) -> &[String] {
        let deployment = self.observed.deployment.as_ref();
        let observe = deployment.and_then(|deployment| deployment.spec.observe.as_ref());
        let log = observe.and_then(|observe| observe.log_payloads.as_ref());
        log.map_or(&[], |log| &log.redact)
    }

    fn job(&self, watched: &Watched<'_>, due: &Due) -> Option<Job> {
        let version = self.version(&due.version)?;
        let next = watched.schedule.next(due.window.end)?;
        let before = watched.schedule.before(next)?;
        Some(children::window_job(&children::Evaluation {
            monitor: self.monitor,
            version,
            baseline: baseline(version)?,
            payloads: watched.payloads,
            redacted: self.redacted(),
            window: &due.window,
            period: next.duration_since(before),
            agent_image: &self.observed.agent_image,
            engine: self.engine().ok()?,
        }))
    }

    /// Says which windows lie between two that were looked at.
    fn say_passed_over(
        &self,
        watched: &Watched<'_>,
        all: &[WindowStatus],
        newest: Option<Timestamp>,
        plan: &mut Plan<DriftMonitorStatus>,
    ) {
        let Some(last) = self.before.windows.last().map(|window| window.end) else {
            return;
        };
        let jobs = self.observed.jobs.iter().filter_map(|job| window_end(job));
        let mut ends: Vec<Timestamp> = jobs.chain(newest).filter(|end| *end > last).collect();
        ends.extend(
            all.iter()
                .map(|window| window.end)
                .filter(|end| *end >= last),
        );
        ends.sort();
        ends.dedup();
        for pair in ends.windows(2) {
            // Of what was before the first version that is known nobody can say anything.
            let first = watched.tenures.first().map_or(pair[0], |one| one.from);
            let Some((windows, first, last)) = watched.schedule.count(pair[0].max(first), pair[1])
            else {
                continue;
            };
            let found = PassedOver {
                windows,
                first,
                last,
            };
            let known = plan.status.passed_over.as_ref();
            if known.is_some_and(|known| known.last >= found.last) {
                continue;
            }
            plan.notes.push(Note::warning(
                "WindowsPassedOver",
                format!("{windows} windows, which ended from {first} to {last}, were passed over: there was nothing to compare them with, or more of them ended while none could be looked at than spec.window.maxCatchUp"),
            ));
            plan.status.passed_over = Some(found);
        }
    }
}
