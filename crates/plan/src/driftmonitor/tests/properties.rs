//! Whatever happens, in whatever order, and wherever it stops.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;
use windlass_api::agent::WindowVerdict;
use windlass_api::{TriggerCause, asked};

use super::world::World;
use crate::fixtures::at;
use kube::ResourceExt;

/// One thing that happens.
#[derive(Clone, Debug)]
enum Event {
    Judged(usize, &'static str),
    Trained(Option<&'static str>),
    /// The newest version serves, if it is good.
    Promoted,
    RolledBack,
    /// TrainingJobs that have ended are deleted, once a monitor knows of them: none is made, runs, ends and goes while we are
    /// stopped between making it and writing that down.
    Tidied,
    Waits(i64),
    /// Looked at, and stopped after so many steps.
    Stopped(usize, usize),
    /// Both plan on the same state.
    Together,
}

fn event() -> impl Strategy<Value = Event> {
    let verdict = || {
        prop::sample::select(vec![
            "Drifted",
            "Drifted",
            "Drifted",
            "Fallen",
            "Healthy",
            "DataBroken",
            "Failed",
            "NotEnoughData",
        ])
    };
    prop_oneof![
        6 => (0usize..2, verdict()).prop_map(|(side, verdict)| Event::Judged(side, verdict)),
        2 => prop::sample::select(vec![None, Some("Pass"), Some("Fail"), Some("None"), Some("TrainingFailed")]).prop_map(Event::Trained),
        1 => Just(Event::Promoted),
        1 => Just(Event::RolledBack),
        1 => Just(Event::Tidied),
        6 => (1i64..200).prop_map(Event::Waits),
        2 => (0usize..2, 0usize..3).prop_map(|(side, crash)| Event::Stopped(side, crash)),
        3 => Just(Event::Together),
    ]
}

impl World {
    fn happens(&mut self, event: &Event) {
        match *event {
            Event::Judged(side, verdict) => {
                self.judge(side, verdict);
            }
            Event::Trained(verdict) => {
                self.trained(verdict, 100);
            }
            Event::Promoted | Event::RolledBack => {
                let Some(newest) = self.versions.last().map(|one| one.spec.version) else {
                    return;
                };
                if newest > 1 && matches!(event, Event::Promoted) {
                    self.serves(newest);
                } else if newest > 1 {
                    self.quarantined(newest).serves(1);
                }
            }
            Event::Tidied => {
                let running = self.under_way();
                let known: Vec<String> = (0..self.sides.len())
                    .flat_map(|side| self.status_of(side).retrainings)
                    .map(|entry| entry.training_job)
                    .collect();
                self.training_jobs.retain(|job| {
                    let name = job.name_any();
                    running.contains(&name) || !known.contains(&name)
                });
            }
            Event::Waits(seconds) => self.now += seconds,
            Event::Stopped(side, crash) => {
                let side = side % self.sides.len();
                self.reconcile(side, crash);
            }
            Event::Together => {
                let plans: Vec<_> = (0..self.sides.len()).map(|side| self.plan(side)).collect();
                for (side, plan) in plans.into_iter().enumerate() {
                    self.apply(side, plan, usize::MAX);
                }
            }
        }
    }

    /// What has to hold of a training that was just made.
    fn is_due(
        &self,
        earlier: &[(i64, TriggerCause)],
        cooldown: i64,
    ) -> Result<TriggerCause, TestCaseError> {
        let job = self.training_jobs.last().expect("it was just made");
        let is_fall = job.annotations()[asked::VERDICT] == "PerformanceFallen";
        let cause = if is_fall {
            TriggerCause::PerformanceFallen
        } else {
            TriggerCause::Drift
        };
        let end = job.spec.window.as_ref().expect("a window").end;
        for (time, before) in earlier {
            let rests = self.now - time >= cooldown;
            let goes_before = is_fall && *before == TriggerCause::Drift;
            prop_assert!(rests || goes_before, "{:?}", self.made);
            prop_assert!(
                end > at(*time),
                "the same windows ask twice: {:?}",
                self.made
            );
        }
        Ok(cause)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// That no window is judged beside another or twice, and no name is made twice, is asserted by the world.
    #[test]
    fn one_drift_makes_one_training_whatever_happens_in_whatever_order(
        monitors in 1usize..3, events in prop::collection::vec(event(), 1..80),
    ) {
        let both = [("one", json!({"window": {"maxCatchUp": 3}})), ("two", json!({"window": {"every": "40s", "size": "60s"}}))];
        let mut world = World::of(&both[..monitors]);
        let mut asked: Vec<(i64, TriggerCause)> = Vec::new();
        for event in events {
            let event = match event {
                Event::Judged(side, verdict) => Event::Judged(side % monitors, verdict),
                other => other,
            };
            let made = world.made.len();
            world.happens(&event);
            prop_assert!(world.made.len() <= made + 1);
            if world.made.len() > made {
                let cause = world.is_due(&asked, 600)?;
                asked.push((world.now, cause));
                let newest = world.known().last().map(|one| one.verdict);
                prop_assert!(monitors > 1 || newest == Some(WindowVerdict::Drifted), "trained on {newest:?}");
            }
            prop_assert!(world.under_way().len() <= 1, "{:?}", world.under_way());
            for side in 0..monitors {
                let status = world.status_of(side);
                prop_assert!(status.windows.is_sorted_by(|one, next| one.end < next.end));
            }
        }
        let made = world.made.len();
        world.settle();
        for (time, name) in &world.made[made..] {
            prop_assert!(asked.iter().all(|(before, _)| before != time), "{name}");
        }
        let writes = world.writes;
        world.settle();
        prop_assert_eq!(writes, world.writes, "it has settled");
    }

    /// A training uses as much as its deadline lets it, and is deleted at any time.
    #[test]
    fn the_budget_is_never_passed(
        hours in 1i64..6, most in 1i32..3, own in prop::option::of(60i64..20_000),
        steps in prop::collection::vec((0u8..10, 1i64..4_000, 0i64..101, 0usize..3), 1..80),
    ) {
        let retrain = json!({"budget": {"gpuHours": hours.to_string(), "per": "3h"}, "cooldown": "0s", "maxConcurrent": most, "maxConsecutiveRejects": 1000, "template": {"spec": {"activeDeadlineSeconds": own}}});
        let mut world = World::new(json!({ "retrain": retrain, "triggerWhen": {"windows": 1} }));
        // When each that has ended did, and what it used.
        let mut used: Vec<(i64, i64)> = Vec::new();
        for (what, seconds, percent, crash) in steps {
            match what {
                0..4 => { world.judge(0, if percent % 2 == 0 { "Drifted" } else { "Fallen" }); }
                4..7 => {
                    for name in world.under_way() {
                        let job = world.training(&name);
                        // Its pods may take a minute to end after the deadline.
                        let most = 2 * (job.spec.active_deadline_seconds.expect("a deadline") + 60);
                        let mine = most * percent / 100;
                        let verdict = ["Fail", "TrainingFailed", "Pass"][crash];
                        if world.under_way().first() == Some(&name) {
                            let others: Vec<_> = world.training_jobs.iter().filter(|job| job.name_any() != name).cloned().collect();
                            world.training_jobs.retain(|job| job.name_any() == name);
                            world.trained(Some(verdict), mine);
                            world.training_jobs.extend(others);
                            used.push((world.now, mine));
                            if verdict == "Pass" {
                                let newest = world.versions.last().map_or(1, |one| one.spec.version);
                                world.quarantined(newest);
                            }
                        }
                    }
                }
                7 => {
                    let running = world.under_way();
                    // One that had ended, or has just been deleted while it ran, having used all.
                    let gone: Vec<Arc<_>> = std::mem::take(&mut world.training_jobs);
                    for job in gone.iter().filter(|job| running.contains(&job.name_any())) {
                        used.push((world.now, 2 * (job.spec.active_deadline_seconds.unwrap_or(0) + 60)));
                    }
                    world.reconcile(0, usize::MAX);
                }
                _ => world.now += seconds,
            }
            world.reconcile(0, if crash == 2 { usize::MAX } else { crash });
            world.reconcile(0, usize::MAX);
            let within: i64 = used.iter().filter(|(ended, _)| world.now - ended < 3 * 3600).map(|(_, used)| used).sum();
            let may: i64 = world.under_way().iter().map(|name| 2 * (world.training_job(name).and_then(|job| job.spec.active_deadline_seconds).unwrap_or(0) + 60)).sum();
            prop_assert!(within + may <= hours * 3600, "{within} used and {may} may be, of {}", hours * 3600);
        }
    }
}
