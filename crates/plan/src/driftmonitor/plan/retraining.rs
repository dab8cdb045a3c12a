//! Whether windows together are drift, and whether a training is asked for: once for a drift, and not while one is
//! under way, a roll-out goes on, or the cooldown lasts.

use jiff::Timestamp;
use kube::ResourceExt;
use windlass_api::agent::{Verdict, WindowVerdict};
use windlass_api::{
    DriftMonitorStatus, Mode, Retrain, TrainingJob, TrainingJobStatus, Trigger, Window,
    WindowStatus,
};

use super::{Reconcile, Watched, duration};
use crate::driftmonitor::children;
use crate::{Child, Note, Plan, Step};

impl Reconcile<'_> {
    /// The windows that together are drift: k Drifted of the last m that were judged, all of the version that serves.
    pub(super) fn drift(
        &self,
        serving: &str,
        windows: &[WindowStatus],
    ) -> Option<Vec<WindowStatus>> {
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
    pub(super) fn adopt_training(&self, serving: &str, status: &mut DriftMonitorStatus) {
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
    pub(super) fn retrain(
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
        if let Some(why) = self.not_now(watched, retrain, status) {
            return Some(why);
        }
        let (Some(start), Some(end)) = (
            drift.iter().map(|window| window.start).min(),
            drift.iter().map(|window| window.end).max(),
        ) else {
            return None;
        };
        let message = drift
            .first()
            .map(|window| window.message.clone())
            .unwrap_or_default();
        let window = Window { start, end };
        let job = children::training_job(self.monitor, retrain, window, &message);
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

    /// What stands against a training for now.
    fn not_now(
        &self,
        watched: &Watched<'_>,
        retrain: &Retrain,
        status: &DriftMonitorStatus,
    ) -> Option<String> {
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
        if let Some(why) = self.in_hand(watched) {
            return Some(why);
        }
        if let Some(until) = self.cooldown_end(retrain, status)
            && until > self.now
        {
            return Some(format!(
                "no other training is asked for before {} (spec.retrain.cooldown)",
                until.strftime("%FT%TZ")
            ));
        }
        None
    }

    /// What came of an earlier training and may yet serve: until that is settled, another would be a second for one drift.
    fn in_hand(&self, watched: &Watched<'_>) -> Option<String> {
        let newer = self
            .observed
            .trained
            .iter()
            .filter(|version| version.spec.version > watched.version.spec.version)
            .max_by_key(|version| version.spec.version)?;
        let name = newer.name_any();
        let status = newer.status.as_ref();
        let verdict = status.and_then(|status| status.validation.as_ref());
        match verdict.map(|found| found.verdict) {
            Some(Verdict::Fail | Verdict::Inconclusive) => None,
            Some(Verdict::Pass) if watched.quarantined.contains(&name) => None,
            Some(Verdict::Pass) => Some(format!("ModelVersion {name} is good and is yet to serve")),
            // A version that nobody asked to be validated is for a person to roll out.
            None if newer.spec.validation.is_none() => None,
            None => Some(format!("ModelVersion {name} is yet to be judged")),
        }
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
}

fn under_way(name: &str) -> String {
    format!("TrainingJob {name} is under way")
}

fn is_finished(job: &TrainingJob) -> bool {
    job.status
        .as_ref()
        .is_some_and(TrainingJobStatus::is_finished)
}
