//! What came of the trainings that this monitor asked for, and what they used: kept here, since TrainingJobs go.

use jiff::Timestamp;
use kube::ResourceExt;
use windlass_api::agent::{Verdict, WindowVerdict};
use windlass_api::{
    DriftMonitorStatus, ModelVersion, Outcome, Retraining, ReviewDecision, TrainingJob,
    TrainingJobStatus, Trigger, TriggerCause, WindowStatus, asked, condition, is_true, labels,
};

use super::Reconcile;
use super::watched::Watched;

/// Trainings that are kept.
const KEPT: usize = 20;

impl Reconcile<'_> {
    /// Brings the ledger up to date.
    pub(super) fn keep_ledger(
        &self,
        watched: &Watched<'_>,
        all: &[WindowStatus],
        status: &mut DriftMonitorStatus,
    ) {
        self.adopt(watched, status);
        for entry in &mut status.retrainings {
            if entry.outcome.is_none() {
                self.settle(watched, all, entry);
            }
        }
        self.shorten(&mut status.retrainings);
    }

    /// Writes down trainings that were asked for just before we stopped.
    fn adopt(&self, watched: &Watched<'_>, status: &mut DriftMonitorStatus) {
        let name = self.monitor.name_any();
        let oldest = status.retrainings.first().map(|entry| entry.time);
        let forgotten = oldest.filter(|_| status.retrainings.len() >= KEPT);
        let ours = self.observed.training_jobs.iter().filter(|job| {
            job.labels().get(labels::MONITOR) == Some(&name)
                && made(job).is_some_and(|made| forgotten.is_none_or(|oldest| made > oldest))
        });
        for job in ours {
            let training_job = job.name_any();
            let known = &status.retrainings;
            if known.iter().any(|entry| entry.training_job == training_job) {
                continue;
            }
            let said = |name: &str| job.annotations().get(name).cloned();
            let is_fall = said(asked::VERDICT).is_some_and(|said| said == FALLEN);
            status.retrainings.push(Retraining {
                training_job,
                time: made(job).unwrap_or(self.now),
                cause: if is_fall {
                    TriggerCause::PerformanceFallen
                } else {
                    TriggerCause::Drift
                },
                window: job.spec.window.clone(),
                digest: said(asked::DIGEST),
                gpu_seconds: self.reserved(job),
                ended: None,
                model_version: None,
                outcome: None,
            });
            status.retrainings.sort_by_key(|entry| entry.time);
            let message = said(windlass_api::CAUSE).unwrap_or_default();
            let version = said(asked::VERSION);
            let trigger = Trigger {
                training_job: job.name_any(),
                time: made(job).unwrap_or(self.now),
                version: version.unwrap_or_else(|| watched.version.name_any()),
                message,
            };
            let last = status.last_trigger.as_ref();
            if last.is_none_or(|last| last.time < trigger.time) {
                status.last_trigger = Some(trigger);
            }
        }
    }

    /// Writes down how a training ended, what it used, and what came of it, as far as that is known.
    fn settle(&self, watched: &Watched<'_>, all: &[WindowStatus], entry: &mut Retraining) {
        let job = self.training_job(&entry.training_job);
        let version = self.version_of(entry, job);
        if let Some(version) = version {
            entry.model_version = Some(version.name_any());
        }
        let status = job.and_then(|job| job.status.as_ref());
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
                }
                // What it used nobody knows: it counts as all that it was given.
                (None, _) => entry.ended = Some(self.now),
            }
        }
        entry.outcome = match (version, ended) {
            (Some(version), _) => outcome(watched, all, version),
            (None, Some(status)) if is_true(&status.conditions, condition::FAILED) => {
                Some(Outcome::Failed)
            }
            // Its record is gone, or is of a version from long before.
            (None, _) if entry.model_version.is_some() => Some(Outcome::Superseded),
            (None, Some(status)) if status.model_version.is_some() => Some(Outcome::Superseded),
            (None, Some(_)) => Some(Outcome::Unjudged),
            (None, None) => Some(Outcome::Deleted),
        };
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

/// What became of a version, once that is settled.
fn outcome(watched: &Watched<'_>, all: &[WindowStatus], version: &ModelVersion) -> Option<Outcome> {
    let name = version.name_any();
    if watched.is_quarantined(version) {
        return Some(Outcome::RolledBack);
    }
    if name == watched.version.name_any() {
        return holds(watched, all).then_some(Outcome::Held);
    }
    if version.spec.version < watched.version.spec.version {
        return Some(Outcome::Superseded);
    }
    refused(version).or_else(|| {
        let is_judged = version.spec.validation.is_some() || verdict(version).is_some();
        (!is_judged).then_some(Outcome::Unjudged)
    })
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
