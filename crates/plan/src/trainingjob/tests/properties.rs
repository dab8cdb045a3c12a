//! Whatever happens in whatever order, with crashes in between.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;
use windlass_api::{StepPhase, TrainingJobStatus};

use super::steps::pipeline;
use super::world::{World, failure, trained};
use crate::fixtures::{at, readable};

#[derive(Clone, Copy, Debug)]
enum Event {
    Reconcile,
    Crash(usize),
    Succeeds,
    DataHolds,
    DataFails,
    DataIsNotKnown,
    Fails,
    FailsForGood,
    IsPreempted(bool),
    IsBeingPreempted,
    PodsGo,
    Suspend,
    Resume,
    JobIsDeleted,
    StepEnds(usize),
    StepFails(usize),
    StepIsNotKnown(usize),
    Wait(i64),
    Shuffle,
}

const STEPS: [&str; 3] = ["extract", "features", "labels"];

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        6 => Just(Event::Reconcile),
        2 => (0usize..4).prop_map(Event::Crash),
        1 => Just(Event::Succeeds),
        3 => Just(Event::DataHolds),
        1 => Just(Event::DataFails),
        1 => Just(Event::DataIsNotKnown),
        2 => Just(Event::Fails),
        1 => Just(Event::FailsForGood),
        1 => any::<bool>().prop_map(Event::IsPreempted),
        1 => Just(Event::IsBeingPreempted),
        3 => Just(Event::PodsGo),
        1 => Just(Event::Suspend),
        2 => Just(Event::Resume),
        1 => Just(Event::JobIsDeleted),
        4 => (0usize..3).prop_map(Event::StepEnds),
        1 => (0usize..9).prop_map(|step| if step < 3 { Event::StepFails(step) } else { Event::StepEnds(step % 3) }),
        1 => (0usize..3).prop_map(Event::StepIsNotKnown),
        1 => (0i64..30).prop_map(Event::Wait),
        1 => Just(Event::Shuffle),
    ];
    prop::collection::vec(event, 1..60)
}

fn happen(world: &mut World, event: Event) {
    match event {
        Event::Reconcile => drop(world.reconcile()),
        Event::Crash(after) => drop(world.reconcile_until(after)),
        Event::Succeeds => drop(world.succeeds(&trained())),
        Event::DataHolds => drop(world.data_holds()),
        Event::DataFails => drop(world.data_fails()),
        Event::DataIsNotKnown => drop(world.data_is_not_known()),
        Event::Fails => drop(world.fails(1, &failure("TrainerFailed", Some(1)))),
        Event::FailsForGood => drop(world.fails(1, &failure("ColumnNotFound", None))),
        Event::IsPreempted(gone) => drop(world.is_preempted(gone)),
        Event::IsBeingPreempted => drop(world.is_being_preempted()),
        Event::PodsGo => drop(world.pods_go()),
        Event::Suspend => drop(world.suspend(true)),
        Event::Resume => drop(world.suspend(false)),
        Event::JobIsDeleted => {
            let Some(gone) = world.observed.children.pop() else {
                return;
            };
            let name = gone.metadata.name.clone().unwrap_or_default();
            let of_step = name.strip_prefix("a-").filter(|step| STEPS.contains(step));
            let is_written = of_step.is_none_or(|step| has_ended_well(&world.status(), step));
            if crate::jobs::has_ended(&gone) && !is_written {
                // Two faults at once: the step is made anew beside what a crashed operator had begun after it. What that
                // read is recorded as it read it, so that nothing is told wrong; a write more for each step would be
                // the price of preventing it.
                world.observed.children.push(gone);
                return;
            }
            for pod in &mut world.observed.pods {
                if pod
                    .metadata
                    .name
                    .as_ref()
                    .is_some_and(|pod| pod.starts_with(&format!("{name}-")))
                {
                    Arc::make_mut(pod).metadata.deletion_timestamp =
                        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(0)));
                }
            }
        }
        Event::StepEnds(step) => drop(world.step_ends(STEPS[step], '1')),
        Event::StepFails(step) => {
            let report = failure("TrainerFailed", Some(1));
            let _ = world.step_fails(STEPS[step], 1, &report);
        }
        Event::StepIsNotKnown(step) => drop(world.step_is_not_known(STEPS[step])),
        Event::Wait(seconds) => world.now += seconds,
        Event::Shuffle => {
            world.observed.pods.reverse();
            world.observed.children.reverse();
            world.observed.versions.reverse();
        }
    }
}

fn inputs(checked: bool) -> serde_json::Value {
    let checks = if checked {
        json!([{"column": "age", "notNull": true}])
    } else {
        json!([])
    };
    json!([{"name": "events", "uri": "pvc://events/2026-10", "format": "Parquet", "checks": checks}])
}

/// Whether a step has ended well, by the status.
fn has_ended_well(status: &TrainingJobStatus, name: &str) -> bool {
    let mut steps = status.steps.iter();
    steps.any(|step| {
        step.name == name && matches!(step.phase, StepPhase::Complete | StepPhase::Reused)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// That no two attempts overlap is asserted by the simulator itself, wherever a Job is made.
    #[test]
    fn attempts_never_overlap_failures_are_counted_exactly_and_one_version_comes_of_it(
        events in events(), limit in 0i32..3, replicas in 1i32..4, deadline in prop::option::of(20i64..200), checked in any::<bool>(),
    ) {
        let mut world = World::new(json!({"backoffLimit": limit, "activeDeadlineSeconds": deadline, "inputs": inputs(checked),
            "workers": {"replicas": replicas, "template": {"spec": {"containers": [{"name": "trainer", "image": "t:1", "command": ["t"]}]}}}}));
        for event in events {
            let had_ended = world.has_ended();
            happen(&mut world, event);
            let status = world.status();
            let real = status.attempts.iter().filter(|attempt| attempt.ended.is_some() && !["Disrupted", "Suspended", "DeadlineExceeded", "Succeeded", "JobDeleted"].contains(&attempt.reason.as_str())).count();
            prop_assert!(status.failures <= limit + 1);
            prop_assert_eq!(usize::try_from(status.failures), Ok(real), "{:?}", status.attempts);
            prop_assert!(world.observed.versions.len() <= 1);
            prop_assert!(!checked || world.made() == 0 || !status.inputs.is_empty() || world.writes == 0 || status.attempt.is_none(), "no worker before its data is known to be fit");
            prop_assert!(!had_ended || world.has_ended(), "what has ended stays ended");
        }
        // In the end, left alone, it comes to rest; and if it succeeds then, exactly one version comes of it.
        world.suspend(false).pods_go();
        for _ in 0..4 {
            world.data_holds().settle().wait(300).pods_go();
        }
        world.succeeds(&trained()).settle();
        if world.is(windlass_api::condition::COMPLETE) {
            prop_assert_eq!(world.observed.versions.len(), 1);
        }
        prop_assert!(world.has_ended(), "{}", world.said("Ready"));
    }

    /// The simulator itself asserts, wherever a Job is made: a step's after what it names, once, and not beside another
    /// try of it; an attempt's after all steps.
    #[test]
    fn steps_begin_after_what_they_name_once_and_the_workers_after_all_of_them(
        events in events(), deadline in prop::option::of(100i64..200), checked in any::<bool>(),
    ) {
        let mut spec = pipeline();
        spec["inputs"] = inputs(checked);
        spec["activeDeadlineSeconds"] = json!(deadline);
        let mut world = World::new(spec);
        for event in events {
            let before = world.status();
            happen(&mut world, event);
            let status = world.status();
            for step in &world.observed.job.spec.steps {
                let has_begun = status.steps.iter().any(|one| one.name == step.name && one.phase != StepPhase::Waiting);
                for awaited in step.inputs.iter().chain(&step.depends_on).filter(|name| *name != "events") {
                    prop_assert!(!has_begun || has_ended_well(&status, awaited), "{} before {awaited}", step.name);
                }
                prop_assert!(!has_ended_well(&before, &step.name) || has_ended_well(&status, &step.name), "what {} made is forgotten", step.name);
            }
            prop_assert!(status.attempt.is_none() || STEPS.iter().all(|step| has_ended_well(&status, step)));
        }
        world.suspend(false).pods_go();
        for _ in 0..6 {
            world.data_holds().settle();
            for step in STEPS {
                world.step_ends(step, '1').settle();
            }
            world.wait(20).pods_go();
        }
        prop_assert!(world.has_ended() || world.status().attempt.is_some(), "{}", world.said("Ready"));
    }

    /// A restart over unchanged objects, from stores in any order, writes nothing.
    #[test]
    fn a_plan_over_what_was_applied_is_empty_and_does_not_depend_on_the_order_of_stores(events in events(), steps in any::<bool>()) {
        let mut world = World::new(json!({"steps": if steps { pipeline()["steps"].clone() } else { json!([]) }, "workers": {"replicas": 3, "template": {"spec": {"containers": [{"name": "trainer", "image": "t:1", "command": ["t"]}]}}}}));
        for event in events {
            happen(&mut world, event);
            let first = serde_json::to_string(&readable(&world.plan())).expect("JSON");
            happen(&mut world, Event::Shuffle);
            let second = serde_json::to_string(&readable(&world.plan())).expect("JSON");
            prop_assert_eq!(first, second);
        }
        // What waits for its next attempt has got there by now.
        world.settle().wait(300).settle();
        let written = (world.changes.len(), world.writes);
        world.wait(5);
        happen(&mut world, Event::Shuffle);
        world.reconcile();
        // A Job whose pods are not seen may be settled by now; nothing else changes by time.
        if !world.observed.pods.is_empty() {
            prop_assert_eq!(written, (world.changes.len(), world.writes));
        }
    }
}
