//! A training is asked for: once for a drift, and not while something stands against it.

use kube::ResourceExt;
use windlass_api::{DriftMonitorStatus, Mode, Retraining, Trigger, TriggerCause, WindowStatus};

use super::Reconcile;
use super::drift::Drift;
use super::gates::{Held, under_way};
use super::ledger::is_finished;
use super::watched::Watched;
use crate::driftmonitor::children;
use crate::{Child, Note, Plan, Step};

impl Reconcile<'_> {
    /// Asks for a training, once; or says why not now.
    pub(super) fn retrain(
        &self,
        watched: &Watched<'_>,
        drift: Option<&Drift>,
        all: &[WindowStatus],
        plan: &mut Plan<DriftMonitorStatus>,
    ) -> Held {
        let job = self.training_job_under_way(&plan.status);
        if let Some(job) = job
            && drift.is_none_or(|drift| drift.cause == TriggerCause::Drift)
        {
            return under_way(job);
        }
        // Only a fall in performance may ask for one more.
        match (self.ask(watched, drift, all, plan), job) {
            (Held::By(..) | Held::Until(..) | Held::Person(..), Some(job)) => under_way(job),
            (held, _) => held,
        }
    }

    fn ask(
        &self,
        watched: &Watched<'_>,
        drift: Option<&Drift>,
        all: &[WindowStatus],
        plan: &mut Plan<DriftMonitorStatus>,
    ) -> Held {
        let retrain = match (self.monitor.spec.mode, &self.monitor.spec.retrain) {
            (Mode::Observe, _) => {
                return Held::By(
                    "Observing",
                    "spec.mode is Observe: no training is asked for".to_owned(),
                );
            }
            (Mode::Suggest | Mode::Enforce, None) => {
                return Held::Person(
                    "TemplateMissing",
                    "spec.retrain: there is no template of a TrainingJob, so that nothing can be asked for; give spec.retrain.template, or set spec.mode to Observe".to_owned(),
                );
            }
            (Mode::Suggest | Mode::Enforce, Some(retrain)) => retrain,
        };
        if retrain.template.spec.validation.is_none() {
            return Held::Person(
                "ValidationMissing",
                "spec.retrain.template.spec.validation: there is none, so that nothing would judge what is trained: it would not serve, and if a person let it, there would be no baseline to watch it by; give one, or set spec.mode to Observe".to_owned(),
            );
        }
        let open = plan.status.circuit.as_ref().filter(|circuit| circuit.open);
        if let Some(circuit) = open {
            return Held::Person("CircuitOpen", circuit.message.clone());
        }
        let Some((drift, window)) = drift.and_then(|drift| Some((drift, drift.span()?))) else {
            return Held::By("NoDrift", "nothing asks for a training".to_owned());
        };
        let allowance = match self.gates(watched, retrain, drift, all, &plan.status) {
            Ok(allowance) => allowance,
            Err(held) => return held,
        };
        let Some(newest) = drift.windows.first() else {
            return Held::By("NoDrift", "nothing asks for a training".to_owned());
        };
        let asked = self.asked(&plan.status);
        let job = children::training_job(&children::Asking {
            monitor: self.monitor,
            retrain,
            version: watched.version,
            known: &asked.keys().map(String::as_str).collect::<Vec<_>>(),
            window: window.clone(),
            newest,
            cause: drift.cause,
            deadline: allowance.deadline,
        });
        let (name, version) = (job.name_any(), watched.version.name_any());
        plan.notes.push(Note::normal(
            "TrainingRequested",
            format!(
                "{} in {} of {version}, from {} to {}: made TrainingJob {name}",
                said(drift.cause),
                drift.count(),
                window.start,
                window.end
            ),
        ));
        plan.status.retrainings.push(Retraining {
            training_job: name.clone(),
            time: self.now,
            cause: drift.cause,
            window: Some(window),
            digest: newest.digest.clone(),
            gpu_seconds: if job.spec.suspend {
                0
            } else {
                allowance.gpu_seconds
            },
            ended: None,
            model_version: None,
            outcome: None,
        });
        self.shorten(&mut plan.status.retrainings);
        plan.status.last_trigger = Some(Trigger {
            training_job: name,
            time: self.now,
            version,
            message: newest.message.clone(),
        });
        let held = under_way(&job);
        plan.steps
            .push(Step::Create(Child::TrainingJob(Box::new(job))));
        held
    }

    /// A training that this monitor asked for and that is under way.
    fn training_job_under_way(
        &self,
        status: &DriftMonitorStatus,
    ) -> Option<&windlass_api::TrainingJob> {
        let entries = status
            .retrainings
            .iter()
            .filter(|entry| entry.ended.is_none());
        let mut jobs = entries.filter_map(|entry| self.training_job(&entry.training_job));
        jobs.find(|job| !is_finished(job))
    }
}

/// A cause, for a person.
pub(super) fn said(cause: TriggerCause) -> &'static str {
    match cause {
        TriggerCause::Drift => "drift",
        TriggerCause::PerformanceFallen => "a fall in performance",
    }
}
