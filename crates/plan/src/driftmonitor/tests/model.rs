//! Every interleaving of what may become of a monitor that asks for a training after two windows that drift: see
//! [`crate::model`].
//!
//! Bounds: three windows of a minute each, and two monitors: one whose circuit opens at the first training that comes to
//! nothing, and one that goes on. Times are told apart as they are, since windows have theirs.

use std::sync::Arc;

use kube::ResourceExt;
use serde_json::{Value, json};
use windlass_api::agent::WindowVerdict;
use windlass_api::{CLOSE_CIRCUIT, Mode, TrainingJobStatus, condition};

use super::world::World;
use crate::model::{self, Model};

/// Minutes that pass.
const MINUTES: usize = 3;
/// When a world begins.
const BEGINS: i64 = 10;

#[derive(Clone, Copy, Debug)]
pub enum Event {
    Judged(&'static str),
    TrainingEnds(&'static str),
    TrainingIsDeleted,
    IsPromoted,
    IsRolledBack,
    Observes,
    Enforces,
    CircuitIsClosed,
    Minute,
}

impl World {
    fn minutes_left(&self) -> i64 {
        let most = i64::try_from(MINUTES + model::further()).expect("few");
        most - (self.now - BEGINS) / 60
    }

    fn is_judging(&self) -> bool {
        let mut jobs = self.sides[0].jobs.iter();
        jobs.any(|job| !crate::jobs::has_ended(job))
    }

    fn serving(&self) -> i64 {
        let status = self.deployment.as_ref().and_then(|one| one.status.as_ref());
        let stable = status.and_then(|status| status.stable.as_ref());
        let number = stable.and_then(|stable| stable.version.rsplit_once('-'));
        number.map_or(0, |(_, number)| number.parse().expect("a number"))
    }

    /// The newest version that is good, newer than what serves, and was not taken back.
    fn candidate(&self) -> Option<i64> {
        let status = self.deployment.as_ref()?.status.as_ref()?;
        let quarantined = |name: &str| status.quarantine.iter().any(|one| one.version == name);
        let good = self.versions.iter().filter(|version| {
            crate::modelversion::is_good(version) && !quarantined(&version.name_any())
        });
        let newest = good.map(|version| version.spec.version).max()?;
        (newest > self.serving()).then_some(newest)
    }

    fn mode(&mut self, mode: Mode) {
        let monitor = Arc::make_mut(&mut self.sides[0].monitor);
        monitor.spec.mode = mode;
        monitor.metadata.generation = monitor.metadata.generation.map(|known| known + 1);
    }
}

impl Model for World {
    const KIND: &'static str = "DriftMonitor";
    const ROUNDS: usize = 40;
    type Event = Event;

    fn events(&self) -> Vec<Event> {
        let mut all = Vec::new();
        if self.is_judging() {
            let verdicts = [
                "Healthy",
                "Drifted",
                "Fallen",
                "DataBroken",
                "NotEnoughData",
                "Failed",
            ];
            all.extend(verdicts.map(Event::Judged));
        }
        if !self.under_way().is_empty() {
            all.extend(["Pass", "Fail", "TrainingFailed"].map(Event::TrainingEnds));
        }
        if !self.training_jobs.is_empty() {
            all.push(Event::TrainingIsDeleted);
        }
        if self.candidate().is_some() {
            all.extend([Event::IsPromoted, Event::IsRolledBack]);
        }
        match self.sides[0].monitor.spec.mode {
            Mode::Enforce if self.made.is_empty() && self.now == BEGINS + 60 => {
                all.push(Event::Observes);
            }
            Mode::Observe => all.push(Event::Enforces),
            Mode::Enforce | Mode::Suggest => {}
        }
        let circuit = self.status().circuit;
        if circuit.is_some_and(|circuit| circuit.open)
            && self.sides[0].monitor.annotations().is_empty()
        {
            all.push(Event::CircuitIsClosed);
        }
        if self.minutes_left() > 0 {
            all.push(Event::Minute);
        }
        all
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Judged(verdict) => drop(self.judge(0, verdict)),
            Event::TrainingEnds(verdict) => drop(self.trained(Some(verdict), 100)),
            // One that is not known yet is not deleted: it was made a moment ago.
            Event::TrainingIsDeleted => {
                let known = self.status().retrainings;
                self.training_jobs.retain(|job| {
                    known
                        .iter()
                        .all(|entry| entry.training_job != job.name_any())
                });
            }
            Event::IsPromoted => {
                let newest = self.candidate().expect("one");
                self.serves(newest);
            }
            Event::IsRolledBack => {
                let newest = self.candidate().expect("one");
                self.quarantined(newest);
            }
            Event::Observes => self.mode(Mode::Observe),
            Event::Enforces => self.mode(Mode::Enforce),
            Event::CircuitIsClosed => {
                let job = self.status().circuit.expect("it is open").training_job;
                self.annotate(json!({ CLOSE_CIRCUIT: job }));
            }
            Event::Minute => self.now += 60,
        }
    }

    fn words(event: Event) -> &'static str {
        match event {
            Event::Judged("Healthy") => "a window is healthy",
            Event::Judged("Drifted") => "a window drifted",
            Event::Judged("Fallen") => "performance fell in a window",
            Event::Judged("DataBroken") => "the data of a window is broken",
            Event::Judged("NotEnoughData") => "a window has too little data",
            Event::Judged(_) => "the evaluation of a window fails",
            Event::TrainingEnds("Pass") => "the training makes a good version",
            Event::TrainingEnds("Fail") => "the training makes a bad version",
            Event::TrainingEnds(_) => "the training fails",
            Event::TrainingIsDeleted => "the training is deleted",
            Event::IsPromoted => "what was trained serves",
            Event::IsRolledBack => "what was trained is taken back",
            Event::Observes => "a person sets spec.mode to Observe",
            Event::Enforces => "a person sets spec.mode to Enforce",
            Event::CircuitIsClosed => "a person closes the circuit",
            Event::Minute => "a minute passes",
        }
    }

    fn steps(&self) -> usize {
        self.plan(0).steps.len()
    }

    fn looks(&mut self, crash: usize) {
        self.reconcile(0, crash);
    }

    fn state(&self) -> Value {
        let side = &self.sides[0];
        let jobs = side
            .jobs
            .iter()
            .map(|job| json!([job.name_any(), job.status]));
        let pods = side
            .pods
            .iter()
            .map(|pod| json!([pod.name_any(), pod.status]));
        let trainings = self.training_jobs.iter();
        let trainings = trainings.map(|job| {
            json!([
                job.name_any(),
                job.metadata.creation_timestamp,
                job.spec.window,
                job.status
            ])
        });
        let versions = self.versions.iter();
        let versions = versions.map(|version| {
            json!([
                version.name_any(),
                version.metadata.creation_timestamp,
                version.status
            ])
        });
        json!({
            "now": self.now, "status": model::status(&self.status()), "mode": side.monitor.spec.mode,
            "annotations": side.monitor.annotations(), "rejects": json!(side.monitor.spec.retrain),
            "jobs": jobs.collect::<Vec<_>>(), "pods": pods.collect::<Vec<_>>(), "trainings": trainings.collect::<Vec<_>>(),
            "versions": versions.collect::<Vec<_>>(), "deployment": self.deployment.as_ref().map(|one| &one.status),
        })
    }

    fn said(&self) -> Option<String> {
        let status = self.status();
        let types = [condition::READY, condition::RETRAINING];
        model::said(status.phase.as_ref(), &status.conditions, &types)
    }

    fn wrong(&self, before: &Self) -> Option<String> {
        let under_way = self.under_way();
        if under_way.len() > 1 {
            return Some(format!("two trainings at a time: {under_way:?}"));
        }
        let status = self.status();
        if !status.windows.is_sorted_by(|one, next| one.end < next.end) {
            return Some("windows out of their order".to_owned());
        }
        if self.made.len() == before.made.len() {
            return None;
        }
        let job = self.training_jobs.last()?;
        let end = job.spec.window.as_ref()?.end;
        let earlier = before
            .made
            .last()
            .map(|(made, _)| crate::fixtures::at(*made));
        if earlier.is_some_and(|earlier| end <= earlier) {
            return Some("a second training for one drift".to_owned());
        }
        if before.sides[0].monitor.spec.mode != Mode::Enforce {
            return Some("a training that nobody lets be".to_owned());
        }
        let newest = self.known().last().map(|one| one.verdict);
        (newest != Some(WindowVerdict::Drifted)).then(|| format!("trained on {newest:?}"))
    }

    fn stuck(&self) -> Option<String> {
        let status = self.status();
        let mut running = self.training_jobs.iter();
        let is_lost = status.retrainings.iter().any(|entry| entry.ended.is_none())
            && running.all(|job| {
                job.status
                    .as_ref()
                    .is_some_and(TrainingJobStatus::is_finished)
            });
        if is_lost {
            return Some("it waits for a training that is not there".to_owned());
        }
        let is_awaited = self.plan(0).again.is_some() || self.is_judging();
        model::unexplained(&status.conditions, is_awaited)
    }

    fn goes_well(&mut self) {
        if self.reconcile(0, usize::MAX) {
            return;
        }
        self.trained(Some("Pass"), 100);
        if let Some(newest) = self.candidate() {
            self.serves(newest);
        }
        if self.is_judging() {
            self.judge(0, "Healthy");
        } else {
            self.now += 60;
        }
    }

    fn rests(&self) -> bool {
        let is_settled = self
            .status()
            .retrainings
            .iter()
            .all(|entry| entry.ended.is_some());
        self.is(condition::READY)
            && is_settled
            && self.under_way().is_empty()
            && !self.is(condition::STALLED)
            || self.status().circuit.is_some_and(|circuit| circuit.open)
    }
}

#[test]
fn whatever_becomes_of_a_monitor_is_in_the_docs_and_nothing_of_it_is_wrong() {
    let of = |rejects: i32| {
        World::new(json!({
            "window": {"every": "60s", "size": "60s"}, "triggerWhen": {"windows": 2, "outOf": 2},
            "retrain": {"cooldown": "60s", "maxConsecutiveRejects": rejects},
        }))
    };
    let found = model::explore(vec![of(1), of(3)]);
    assert!(found.worlds >= 1000, "{}", found.worlds);
    found.is_in_the_docs();
}
