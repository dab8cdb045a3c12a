//! What stands against a training for now: looked at in this order, and the first is said.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::ResourceExt;
use windlass_api::agent::{Verdict, WindowVerdict};
use windlass_api::{
    DriftMonitorStatus, Retrain, TrainingJob, TriggerCause, WindowStatus, asked, labels,
};

use super::Reconcile;
use super::budget::Allowance;
use super::circuit::closed;
use super::drift::Drift;
use super::ledger::{FALLEN, has_held, is_finished, made, refused, verdict};
use super::watched::Watched;
use crate::driftmonitor::duration;

/// How it stands with retraining.
#[derive(Clone, Debug)]
pub(super) enum Held {
    /// A training that a monitor asked for is under way.
    UnderWay(&'static str, String),
    /// None is, for this reason.
    By(&'static str, String),
    /// None is, and it is looked at again then.
    Until(Timestamp, &'static str, String),
    /// A person has to do something.
    Person(&'static str, String),
}

/// A training that a monitor of the deployment asked for.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub time: Timestamp,
    pub cause: TriggerCause,
}

impl Reconcile<'_> {
    /// What all monitors of the deployment asked for, by the name of the TrainingJob: what they wrote down, and what is there.
    pub(super) fn asked(&self, status: &DriftMonitorStatus) -> BTreeMap<String, Asked> {
        let others = self.observed.beside.iter();
        let others = others.filter_map(|monitor| monitor.status.as_ref());
        let written = others
            .chain([status])
            .flat_map(|status| &status.retrainings)
            .map(|entry| {
                let asked = Asked {
                    time: entry.time,
                    cause: entry.cause,
                };
                (entry.training_job.clone(), asked)
            });
        let deployment = &self.monitor.spec.deployment;
        let there = self.observed.training_jobs.iter().filter_map(|job| {
            let is_ours = job.labels().get(labels::DEPLOYMENT) == Some(deployment);
            let time = made(job).filter(|_| is_ours)?;
            let said = job.annotations().get(asked::VERDICT);
            let cause = match said.map(String::as_str) {
                Some(FALLEN) => TriggerCause::PerformanceFallen,
                _ => TriggerCause::Drift,
            };
            Some((job.name_any(), Asked { time, cause }))
        });
        there.chain(written).collect()
    }

    /// What the next training may use, or what stands against it.
    pub(super) fn gates(
        &self,
        watched: &Watched<'_>,
        retrain: &Retrain,
        drift: &Drift,
        all: &[WindowStatus],
        status: &DriftMonitorStatus,
    ) -> Result<Allowance, Held> {
        data(drift, all)?;
        self.circuits(watched, all, status)?;
        let asked = self.asked(status);
        self.under_way(retrain, drift, &asked)?;
        rollout(watched)?;
        self.in_hand(watched)?;
        once(drift, &asked)?;
        self.cooldown(retrain, drift, &asked)?;
        self.allowance(retrain, &status.retrainings)
            .map_err(|spent| match spent.until {
                Some(until) => Held::Until(until, "BudgetSpent", spent.message),
                None => Held::By("BudgetSpent", spent.message),
            })
    }

    /// The circuit of one monitor holds for all that watch the same. What closes it is looked at here too: its own monitor
    /// may not be able to.
    fn circuits(
        &self,
        watched: &Watched<'_>,
        all: &[WindowStatus],
        status: &DriftMonitorStatus,
    ) -> Result<(), Held> {
        if let Some(circuit) = status.circuit.as_ref().filter(|circuit| circuit.open) {
            return Err(Held::Person("CircuitOpen", circuit.message.clone()));
        }
        let held = Some(watched).filter(|watched| has_held(watched, all));
        let open = self.observed.beside.iter().find(|monitor| {
            let circuit = monitor
                .status
                .as_ref()
                .and_then(|status| status.circuit.as_ref());
            circuit.is_some_and(|circuit| circuit.open && closed(monitor, circuit, held).is_none())
        });
        match open {
            Some(monitor) => Err(Held::Person(
                "CircuitOpen",
                format!(
                    "the circuit of the DriftMonitor {}, which watches the same deployment, is open: its status.circuit says why, and how to close it",
                    monitor.name_any()
                ),
            )),
            None => Ok(()),
        }
    }

    /// A training of the model that is under way is waited for, whoever made it; but a fall in performance need not wait for one
    /// that drift asked for, where more than one may be.
    fn under_way(
        &self,
        retrain: &Retrain,
        drift: &Drift,
        asked: &BTreeMap<String, Asked>,
    ) -> Result<(), Held> {
        let running: Vec<&TrainingJob> = self
            .observed
            .training_jobs
            .iter()
            .map(AsRef::as_ref)
            // One that is suspended, and that no monitor asked for, trains nothing: it is somebody's for another time.
            .filter(|job| !job.spec.suspend || asked.contains_key(&job.name_any()))
            .filter(|job| !is_finished(job))
            .collect();
        let Some(first) = running.first() else {
            return Ok(());
        };
        let most = usize::try_from(retrain.max_concurrent).unwrap_or(1);
        let is_for_drift = |job: &&TrainingJob| {
            let asked = asked.get(&job.name_any());
            asked.is_some_and(|asked| asked.cause == TriggerCause::Drift)
        };
        let goes_before = drift.cause == TriggerCause::PerformanceFallen;
        if running.len() < most && goes_before && running.iter().all(is_for_drift) {
            return Ok(());
        }
        let ours = running
            .iter()
            .find(|job| asked.contains_key(&job.name_any()));
        Err(match ours {
            Some(job) => under_way(job),
            None => Held::By(
                "OtherTrainingUnderWay",
                format!(
                    "TrainingJob {}, which no monitor asked for, trains the model already; it is waited for",
                    first.name_any()
                ),
            ),
        })
    }

    /// A newer version that may yet serve: until that is settled, another would be a second for one drift.
    fn in_hand(&self, watched: &Watched<'_>) -> Result<(), Held> {
        let newer = self.observed.versions.iter().filter(|version| {
            version.spec.version > watched.version.spec.version
                && refused(version).is_none()
                && !watched.is_quarantined(version)
        });
        let in_hand = newer.filter_map(|version| {
            let name = version.name_any();
            let said = match verdict(version) {
                Some(Verdict::Pass) => format!("ModelVersion {name} is good and is yet to serve; if it does not, see spec.version of the ModelDeployment and whether it awaits approval"),
                // A version that nobody asked to be validated is for a person to roll out.
                None if version.spec.validation.is_none() => return None,
                None => format!("ModelVersion {name} is yet to be judged"),
                Some(Verdict::Fail | Verdict::Inconclusive) => return None,
            };
            Some((version.spec.version, said))
        });
        match in_hand.max() {
            Some((_, said)) => Err(Held::By("VersionAwaited", said)),
            None => Ok(()),
        }
    }

    /// The cooldown, counted from the newest that any monitor of the deployment asked for. A fall in performance goes before
    /// drift: it may ask within it, but not twice.
    fn cooldown(
        &self,
        retrain: &Retrain,
        drift: &Drift,
        asked: &BTreeMap<String, Asked>,
    ) -> Result<(), Held> {
        let holds = |asked: &&Asked| match drift.cause {
            TriggerCause::Drift => true,
            TriggerCause::PerformanceFallen => asked.cause == TriggerCause::PerformanceFallen,
        };
        let last = asked.values().filter(holds).map(|asked| asked.time).max();
        let until = last.and_then(|last| last.checked_add(duration(&retrain.cooldown)).ok());
        match until.filter(|until| *until > self.now) {
            Some(until) => Err(Held::Until(
                until,
                "Cooldown",
                format!(
                    "no other training is asked for before {} (spec.retrain.cooldown)",
                    until.strftime("%FT%TZ")
                ),
            )),
            None => Ok(()),
        }
    }
}

/// Broken data calls a person, and never training; nor does what has passed by.
fn data(drift: &Drift, all: &[WindowStatus]) -> Result<(), Held> {
    let held = match all.last().map(|window| window.verdict) {
        Some(WindowVerdict::DataBroken) => (
            "DataBroken",
            "the data of the newest window is broken, as the condition Ready says: a person has to mend it before anything is trained on it",
        ),
        Some(WindowVerdict::Failed) => (
            "EvaluationFailed",
            "the newest window could not be judged, for the reason that the condition Ready gives; a training is asked for once one is judged that drifted",
        ),
        Some(WindowVerdict::NotEnoughData) => (
            "NotEnoughData",
            "the newest window has too few rows to say whether it goes on; a training is asked for once one is judged that drifted",
        ),
        _ if !drift.goes_on => (
            "Recovering",
            "the newest window is as it should be; a training is asked for if the next one drifts again",
        ),
        _ => return Ok(()),
    };
    Err(Held::By(held.0, held.1.to_owned()))
}

/// A version that is being tried is waited for, and one that may be taken back yet.
fn rollout(watched: &Watched<'_>) -> Result<(), Held> {
    let said = match watched.canary() {
        Some(canary) => format!(
            "the roll-out of {canary} is under way; if windows still drift once it has ended, a training is asked for"
        ),
        None if watched.bakes() => format!(
            "{} serves, and is taken back if it drifts until its bake is over (spec.rollout.bake of the ModelDeployment); a training is asked for after that",
            watched.version.name_any()
        ),
        None => return Ok(()),
    };
    Err(Held::By("RolloutUnderWay", said))
}

/// One drift, one training: only a window that ended since the last was asked for can ask again, however long ago that
/// was, and be the TrainingJob deleted since.
fn once(drift: &Drift, asked: &BTreeMap<String, Asked>) -> Result<(), Held> {
    let newest = drift.windows.iter().map(|window| window.end).max();
    let last = asked.iter().max_by_key(|(_, asked)| asked.time);
    match last {
        Some((name, asked)) if newest <= Some(asked.time) => Err(Held::By(
            "AlreadyAsked",
            format!("TrainingJob {name} was made for it; a window that drifts later may ask again"),
        )),
        Some(_) | None => Ok(()),
    }
}

/// What is said of a training that is under way.
pub(super) fn under_way(job: &TrainingJob) -> Held {
    let name = job.name_any();
    if job.spec.suspend {
        let namespace = job.namespace().unwrap_or_default();
        return Held::UnderWay(
            "TrainingSuggested",
            format!(
                "TrainingJob {name} is suspended; if it is what you want, resume it: kubectl patch trainingjob {name} -n {namespace} --type merge -p '{{\"spec\":{{\"suspend\":false}}}}'; if not, delete it"
            ),
        );
    }
    Held::UnderWay(
        "TrainingUnderWay",
        format!("TrainingJob {name} is under way"),
    )
}
