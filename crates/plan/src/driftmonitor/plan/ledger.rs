//! What came of the trainings that this monitor asked for, and what they used: kept here, since TrainingJobs go.

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use windlass_api::agent::{Verdict, WindowVerdict};
use windlass_api::{
    DriftMonitorStatus, ModelVersion, Outcome, Retraining, ReviewDecision, TrainingJob,
    TrainingJobStatus, Window, WindowStatus, condition, is_true,
};

use super::Reconcile;
use super::drift::since_it_serves;
use super::watched::Watched;
use crate::driftmonitor::{children, duration};
use crate::{Note, Plan};

/// Trainings that are kept.
pub(super) const KEPT: usize = 20;
/// Within this time after a training has ended, its version is seen.
const SEEN: SignedDuration = SignedDuration::from_mins(1);

impl Reconcile<'_> {
    /// Brings the ledger up to date. While nothing can be watched, what is of versions stays open.
    pub(super) fn keep_ledger(
        &self,
        watched: Option<(&Watched<'_>, &[WindowStatus])>,
        plan: &mut Plan<DriftMonitorStatus>,
    ) {
        let Plan { status, notes, .. } = plan;
        self.adopt(watched.map(|(watched, _)| watched), status);
        for entry in &mut status.retrainings {
            if entry.outcome.is_none() {
                self.settle(watched, entry, notes);
            }
        }
        self.shorten(&mut status.retrainings);
    }

    /// Writes down how a training ended, what it used, and what came of it, as far as that is known.
    fn settle(
        &self,
        watched: Option<(&Watched<'_>, &[WindowStatus])>,
        entry: &mut Retraining,
        notes: &mut Vec<Note>,
    ) {
        let job = self.training_job(&entry.training_job);
        let version = self.version_of(entry, job);
        let status = job.and_then(|job| job.status.as_ref());
        // Either may be gone when this is looked at again.
        let made = version.map(ResourceExt::name_any);
        let made = made.or_else(|| status?.model_version.clone());
        entry.model_version = made.or(entry.model_version.take());
        let ended = status.filter(|status| status.is_finished());
        if entry.ended.is_none() {
            match (job, ended) {
                (Some(job), None) => {
                    entry.gpu_seconds = self.taken(job);
                    return;
                }
                (Some(_), Some(status)) => {
                    entry.ended = Some(status.completion_time.unwrap_or(self.now));
                    entry.gpu_seconds = status.gpu_seconds.unwrap_or(0);
                    // It may be gone when this is looked at again.
                }
                (None, _) => {
                    entry.ended = Some(self.now);
                    self.settle_deleted(entry, notes);
                }
            }
        }
        entry.outcome = match (version, ended, watched) {
            (None, Some(status), _) if is_true(&status.conditions, condition::FAILED) => {
                Some(Outcome::Failed)
            }
            // What became of a version is told by what serves.
            (_, _, None) => None,
            (Some(version), _, Some((watched, all))) => self.outcome(watched, all, entry, version),
            (None, _, Some(_)) if entry.model_version.is_some() => self.superseded(entry),
            (None, Some(_), Some(_)) => Some(Outcome::Unjudged),
            (None, None, Some(_)) => Some(Outcome::Deleted),
        };
    }

    /// What became of a version, once that is settled.
    fn outcome(
        &self,
        watched: &Watched<'_>,
        all: &[WindowStatus],
        entry: &Retraining,
        version: &ModelVersion,
    ) -> Option<Outcome> {
        let name = version.name_any();
        if watched.is_quarantined(version) {
            return Some(Outcome::RolledBack);
        }
        if name == watched.version.name_any() {
            return holds(watched, all).then_some(Outcome::Held);
        }
        if version.spec.version < watched.version.spec.version {
            let served = watched.tenures.iter();
            let mut served = served.filter_map(|tenure| self.version(&tenure.version));
            let next = served.find(|served| trained_for(served) == Some(name.as_str()));
            let drifted_again = next.is_some_and(|next| {
                let size = self.monitor.spec.window.size.as_ref().map(duration);
                let window = next.spec.window.as_ref();
                self.is_own(entry) || drifted_at_once(watched, size, &name, window)
            });
            return Some(if drifted_again {
                Outcome::DriftedAgain
            } else {
                Outcome::Superseded
            });
        }
        refused(version).or_else(|| {
            let is_judged = version.spec.validation.is_some() || verdict(version).is_some();
            (!is_judged).then_some(Outcome::Unjudged)
        })
    }

    /// Of a version that is not there: its record is gone, or is of a version from long before; or it is not seen yet.
    fn superseded(&self, entry: &Retraining) -> Option<Outcome> {
        let is_new = |ended: Timestamp| self.now.duration_since(ended) < SEEN;
        let is_awaited = entry.ended.is_some_and(is_new);
        (!is_awaited).then_some(Outcome::Superseded)
    }

    pub(super) fn training_job(&self, name: &str) -> Option<&TrainingJob> {
        let mut jobs = self.observed.training_jobs.iter();
        jobs.find(|job| job.name_any() == name).map(AsRef::as_ref)
    }

    /// The version that a training made, of those that are newer than what serves or serve.
    fn version_of(&self, entry: &Retraining, job: Option<&TrainingJob>) -> Option<&ModelVersion> {
        let status = job.and_then(|job| job.status.as_ref());
        let named = status.and_then(|status| status.model_version.as_deref());
        if let Some(name) = named.or(entry.model_version.as_deref()) {
            return self.version(name);
        }
        let of_it = |version: &&std::sync::Arc<ModelVersion>| {
            let by = version.spec.trained_by.as_ref();
            by.is_some_and(|by| by.name == entry.training_job)
        };
        let mut all = self.observed.versions.iter();
        all.find(of_it).map(AsRef::as_ref)
    }

    /// Keeps the newest. What goes is counted with what stays, as long as the budget's period covers it.
    pub(super) fn shorten(&self, entries: &mut Vec<Retraining>) {
        while entries.len() > KEPT {
            let gone = entries.remove(0);
            if self.counts(&gone)
                && let Some(next) = entries.iter_mut().find(|entry| entry.ended.is_some())
            {
                next.gpu_seconds = next.gpu_seconds.saturating_add(gone.gpu_seconds);
            }
        }
    }
}

/// Whether a version drifted from its beginning: whoever was not there cannot know else that it never held. `window` is what
/// the version after it was trained on, which begins with the first window that drifted.
fn drifted_at_once(
    watched: &Watched<'_>,
    size: Option<SignedDuration>,
    name: &str,
    window: Option<&Window>,
) -> bool {
    let mut tenures = watched.tenures.iter().rev();
    let tenure = tenures.find(|tenure| tenure.version == name);
    let first = tenure.and_then(|tenure| first_whole(watched, size, tenure.from));
    let (Some(first), Some(window)) = (first, window) else {
        return false;
    };
    window.start <= first
}

/// When the first window begins that has rows of a version alone: those before it reach back to where the version began, and
/// are cut there. Windows without a size begin where the one before ended.
fn first_whole(
    watched: &Watched<'_>,
    size: Option<SignedDuration>,
    from: Timestamp,
) -> Option<Timestamp> {
    let size = size.unwrap_or_default();
    let ends = from.checked_add(size - SignedDuration::from_secs(1)).ok()?;
    watched.schedule.next(ends)?.checked_sub(size).ok()
}

/// The version whose drift, or fall, a version was trained for, where a monitor asked for it.
fn trained_for(version: &ModelVersion) -> Option<&str> {
    let by = version.spec.trained_by.as_ref()?;
    by.monitor.as_ref()?;
    children::drifted_version(by.cause.as_deref()?)
}

/// Whether the version that serves has shown that it holds: it does not bake any more, and no window of its own has found
/// anything in it since.
pub(super) fn holds(watched: &Watched<'_>, all: &[WindowStatus]) -> bool {
    let serving = watched.version.name_any();
    let newest = all.iter().rev().find(|window| window.version == serving);
    !watched.bakes()
        && newest.is_some_and(|window| {
            window.verdict == WindowVerdict::Healthy && window.end > watched.since
        })
}

/// Whether it has held since it serves, be it drifting by now.
pub(super) fn has_held(watched: &Watched<'_>, all: &[WindowStatus]) -> bool {
    let serving = watched.version.name_any();
    let mut windows = since_it_serves(&serving, all);
    !watched.bakes()
        && windows
            .any(|window| window.verdict == WindowVerdict::Healthy && window.end > watched.since)
}

/// As an annotation has it.
pub(super) const FALLEN: &str = "PerformanceFallen";

/// When a TrainingJob was made.
pub(super) fn made(job: &TrainingJob) -> Option<Timestamp> {
    Some(job.metadata.creation_timestamp.as_ref()?.0)
}

pub(super) fn is_finished(job: &TrainingJob) -> bool {
    let status = job.status.as_ref();
    status.is_some_and(TrainingJobStatus::is_finished)
}

pub(super) fn verdict(version: &ModelVersion) -> Option<Verdict> {
    let found = version.status.as_ref()?.validation.as_ref()?;
    Some(found.verdict)
}

/// How a version was refused: by its validation, or by a person.
pub(super) fn refused(version: &ModelVersion) -> Option<Outcome> {
    let review = version.spec.review.as_ref();
    if review.is_some_and(|review| review.decision == ReviewDecision::Denied) {
        return Some(Outcome::Denied);
    }
    match verdict(version)? {
        Verdict::Fail | Verdict::Inconclusive => Some(Outcome::Rejected),
        Verdict::Pass => None,
    }
}
