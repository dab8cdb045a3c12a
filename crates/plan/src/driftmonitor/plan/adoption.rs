//! Trainings that are not in the ledger: those that were asked for just before we stopped, and those of monitors that are gone.
//!
//! What a monitor knew goes with it, and its circuit with that. So what it asked for is taken over from the TrainingJobs and
//! ModelVersions that are left: by a monitor of the same name, or by the first of those beside.

use std::collections::BTreeSet;

use jiff::Timestamp;
use kube::ResourceExt;
use windlass_api::{
    CAUSE, DriftMonitor, DriftMonitorStatus, ModelVersion, Outcome, Retraining, TrainingJob,
    Trigger, TriggerCause, asked, labels,
};

use super::Reconcile;
use super::ledger::{FALLEN, KEPT, is_finished, made, refused};
use super::watched::Watched;
use crate::driftmonitor::children;

impl Reconcile<'_> {
    /// Writes down what is not.
    pub(super) fn adopt(&self, watched: Option<&Watched<'_>>, status: &mut DriftMonitorStatus) {
        let oldest = status.retrainings.first().map(|entry| entry.time);
        let forgotten = oldest.filter(|_| status.retrainings.len() >= KEPT);
        let mut known: BTreeSet<String> = names(status);
        let jobs = self.observed.training_jobs.iter().filter(|job| {
            let deployment = job.labels().get(labels::DEPLOYMENT);
            deployment == Some(&self.monitor.spec.deployment)
                && self.is_ours(job.labels().get(labels::MONITOR))
                && made(job).is_some_and(|made| forgotten.is_none_or(|oldest| made > oldest))
        });
        for job in jobs {
            // Whether one that has ended is of the past is told by what serves: until something does, it waits.
            let is_open = watched.is_none() && is_finished(job);
            if !is_open && known.insert(job.name_any()) {
                self.take_over(watched, job, status);
            }
        }
        let Some(watched) = watched else {
            return;
        };
        let others = self.observed.beside.iter();
        known.extend(others.filter_map(|one| one.status.as_ref()).flat_map(names));
        for version in &self.observed.versions {
            // What a full ledger has forgotten stays so.
            if status.retrainings.len() < KEPT
                && let Some(entry) = self.left_by(watched, version)
                && known.insert(entry.training_job.clone())
            {
                status.retrainings.push(entry);
            }
        }
        status.retrainings.sort_by_key(|entry| entry.time);
    }

    /// Whether what a monitor asked for is ours: we are it, or it is gone, and we are the first of those that train.
    fn is_ours(&self, monitor: Option<&String>) -> bool {
        let Some(monitor) = monitor else {
            return false;
        };
        let own = self.monitor.name_any();
        if *monitor == own {
            return true;
        }
        let others = || self.observed.beside.iter();
        let trains = |one: &DriftMonitor| one.spec.retrain.is_some();
        trains(self.monitor)
            && others().all(|other| other.name_any() != *monitor)
            && others().all(|other| !trains(other) || own < other.name_any())
    }

    /// Whether this monitor itself asked for a training, so that it has seen what came of it.
    pub(super) fn is_own(&self, entry: &Retraining) -> bool {
        let made = self.monitor.metadata.creation_timestamp.as_ref();
        let job = self.training_job(&entry.training_job);
        let by = job.and_then(|job| job.labels().get(labels::MONITOR));
        made.is_none_or(|made| entry.time >= made.0)
            && by.is_none_or(|by| *by == self.monitor.name_any())
    }

    fn take_over(
        &self,
        watched: Option<&Watched<'_>>,
        job: &TrainingJob,
        status: &mut DriftMonitorStatus,
    ) {
        let said = |name: &str| job.annotations().get(name).cloned();
        let is_fall = said(asked::VERDICT).is_some_and(|said| said == FALLEN);
        let time = made(job).unwrap_or(self.now);
        let drifted = said(asked::VERSION);
        let is_past = watched.is_some_and(|watched| is_past(watched, job, drifted.as_deref()));
        let done = job.status.as_ref().filter(|_| is_past);
        status.retrainings.push(Retraining {
            training_job: job.name_any(),
            time,
            cause: if is_fall {
                TriggerCause::PerformanceFallen
            } else {
                TriggerCause::Drift
            },
            window: job.spec.window.clone(),
            digest: said(asked::DIGEST),
            gpu_seconds: done
                .map_or_else(|| self.reserved(job), |done| done.gpu_seconds.unwrap_or(0)),
            ended: done.map(|done| done.completion_time.unwrap_or(self.now)),
            model_version: done.and_then(|done| done.model_version.clone()),
            outcome: done.map(|_| Outcome::Superseded),
        });
        status.retrainings.sort_by_key(|entry| entry.time);
        let last = status.last_trigger.as_ref();
        if last.is_none_or(|last| last.time < time) {
            let serving = watched.map(|watched| watched.version.name_any());
            let serving = serving.or_else(|| status.reference.clone());
            status.last_trigger = Some(Trigger {
                training_job: job.name_any(),
                time,
                version: drifted.or(serving).unwrap_or_default(),
                // As who asked for it would have written it down.
                message: children::found_in_newest(&said(CAUSE).unwrap_or_default()).to_owned(),
            });
        }
    }

    /// What a version tells of the training that made it and is gone, where that came to nothing.
    fn left_by(&self, watched: &Watched<'_>, version: &ModelVersion) -> Option<Retraining> {
        let by = version.spec.trained_by.as_ref()?;
        let deployment = version.labels().get(labels::DEPLOYMENT);
        let is_of_it = deployment == Some(&self.monitor.spec.deployment)
            && self.is_ours(by.monitor.as_ref())
            && version.spec.version > watched.version.spec.version;
        let is_quarantined = watched.is_quarantined(version);
        let outcome = if is_quarantined {
            Some(Outcome::RolledBack)
        } else {
            refused(version)
        };
        let outcome = outcome.filter(|_| is_of_it)?;
        let time: Timestamp = version.metadata.creation_timestamp.as_ref()?.0;
        let cause = by.cause.as_deref().unwrap_or_default();
        Some(Retraining {
            training_job: by.name.clone(),
            time,
            cause: if cause.starts_with(FALLEN) {
                TriggerCause::PerformanceFallen
            } else {
                TriggerCause::Drift
            },
            window: version.spec.window.clone(),
            digest: None,
            gpu_seconds: 0,
            ended: Some(time),
            model_version: Some(version.name_any()),
            outcome: Some(outcome),
        })
    }
}

fn names(status: &DriftMonitorStatus) -> BTreeSet<String> {
    let entries = status.retrainings.iter();
    entries.map(|entry| entry.training_job.clone()).collect()
}

/// Whether a training that has ended is of the time before the version that serves: it was asked for an older one, and what it
/// made never served.
fn is_past(watched: &Watched<'_>, job: &TrainingJob, drifted: Option<&str>) -> bool {
    let number = drifted.and_then(children::number_of);
    let made = job.status.as_ref();
    let made = made.and_then(|status| status.model_version.as_deref());
    let has_served = |name: &str| watched.tenures.iter().any(|one| one.version == name);
    is_finished(job)
        && number.is_some_and(|number| number < watched.version.spec.version)
        && !made.is_some_and(has_served)
}
