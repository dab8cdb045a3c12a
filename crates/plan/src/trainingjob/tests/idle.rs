//! GPUs that are held and not used: what is said, when, and what is stopped for it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use proptest::prelude::*;
use serde_json::{Value, json};
use windlass_api::condition::{FAILED, GPUS_IDLE, READY};

use super::world::World;
use crate::fixtures::{at, object};
use crate::pods;
use crate::trainingjob::{GpuUse, Utilization};

/// Ten minutes, as [`training`] has it.
const WINDOW: i64 = 600;

/// So many workers of two GPUs each.
fn training(workers: i32, action: &str) -> Value {
    json!({
        "model": null, "output": null, "inputs": [],
        "idleGPUs": {"below": "5", "for": "10m", "action": action},
        "workers": {"replicas": workers, "template": {"spec": {"containers": [
            {"name": "trainer", "image": "trainer:1", "command": ["train"], "resources": {"limits": {"nvidia.com/gpu": 2}}}
        ]}}}
    })
}

/// A job all of whose workers have run for so long, while nothing was heard of their GPUs.
fn running(spec: Value, seconds: i64) -> World {
    let mut world = World::new(spec);
    world.observed.utilization = Utilization::Awaited;
    world.settle();
    let started = world.now;
    world.every_pod(|pod| runs(pod, started));
    world.wait(seconds).settle();
    world
}

fn runs(mut pod: Pod, since: i64) -> Pod {
    let state = json!({"running": {"startedAt": at(since)}});
    pod.status = Some(object(json!({"phase": "Running", "containerStatuses": [
        {"name": "trainer", "image": "", "imageID": "", "ready": true, "restartCount": 0, "state": state}
    ]})));
    pod
}

/// The GPUs of each worker, by rank; of what is not here, nothing is measured.
fn measured(world: &mut World, by_rank: &[(i64, i64)]) {
    let pods = world.observed.pods.iter();
    let alive = pods.filter(|pod| pods::is_alive(pod) && pod.metadata.deletion_timestamp.is_none());
    let known: BTreeMap<String, GpuUse> = alive
        .filter_map(|pod| {
            let rank = usize::try_from(pods::rank(pod)?).ok()?;
            let (used, idle) = *by_rank.get(rank)?;
            Some((pod.name_any(), GpuUse { used, idle }))
        })
        .collect();
    world.observed.utilization = Utilization::Known(known);
    world.settle();
}

/// The condition up to its first comma or colon.
fn short(world: &World) -> String {
    let said = world.said(GPUS_IDLE);
    said.split_once(": ")
        .map_or(said.clone(), |(head, _)| head.to_owned())
}

/// What it is about, how long the attempt ran, what is heard where nothing is measured, what is measured, what is said.
type Row = (
    &'static str,
    i64,
    Utilization,
    &'static [(i64, i64)],
    &'static str,
);

#[test]
fn what_is_measured_becomes_a_condition() {
    let rows: [Row; 9] = [
        ("no Prometheus", 700, Utilization::Off, &[], "absent"),
        ("not asked yet", 700, Utilization::Awaited, &[], "absent"),
        (
            "no answer for long",
            700,
            Utilization::NotAnswered,
            &[],
            "Unknown PrometheusNotAnswering",
        ),
        (
            "the attempt is young",
            599,
            Utilization::Off,
            &[(0, 2), (0, 2)],
            "absent",
        ),
        (
            "all idle",
            600,
            Utilization::Off,
            &[(0, 2), (0, 2)],
            "True AllIdle",
        ),
        (
            "one worker is idle",
            600,
            Utilization::Off,
            &[(2, 0), (0, 2)],
            "True SomeIdle",
        ),
        (
            "one GPU is idle, of others nothing is known",
            600,
            Utilization::Off,
            &[(0, 1)],
            "True SomeIdle",
        ),
        (
            "all used",
            600,
            Utilization::Off,
            &[(2, 0), (2, 0)],
            "False InUse",
        ),
        (
            "one used, of others nothing is known",
            600,
            Utilization::Off,
            &[(1, 0)],
            "False InUse",
        ),
    ];
    for (what, ran, utilization, by_rank, expected) in rows {
        let mut world = running(training(2, "Report"), ran);
        if by_rank.is_empty() {
            world.observed.utilization = utilization;
            world.settle();
        } else {
            measured(&mut world, by_rank);
        }
        assert_eq!(short(&world), expected, "{what}");
        assert_eq!(
            world.status().idle_gpus.is_some(),
            expected.starts_with("True"),
            "{what}"
        );
        assert_eq!(world.made(), 1, "{what}: nothing is stopped");
    }
}

#[test]
fn nothing_is_said_of_a_job_without_gpus_or_one_that_does_not_run() {
    let mut spec = training(1, "Fail");
    spec["workers"]["template"]["spec"]["containers"][0]["resources"] =
        json!({"limits": {"cpu": "1"}});
    let mut world = running(spec, 700);
    assert_eq!(world.observed.wants_utilization(), None);
    measured(&mut world, &[(0, 2)]);
    assert_eq!(world.said(GPUS_IDLE), "absent");

    let mut world = running(training(1, "Report"), 700);
    measured(&mut world, &[(0, 2)]);
    assert_eq!(short(&world), "True AllIdle");
    world.suspend(true).settle();
    assert_eq!(world.said(GPUS_IDLE), "absent");
    assert_eq!(world.status().idle_gpus, None);
    assert_eq!(world.observed.wants_utilization(), None);

    let mut world = World::new(training(1, "Report"));
    assert_eq!(world.observed.wants_utilization(), None, "none runs yet");
    world.settle();
    assert!(world.observed.wants_utilization().is_some());
    // Its workers have no node yet.
    world.wait(10_000);
    measured(&mut world, &[(0, 2)]);
    assert_eq!(world.said(GPUS_IDLE), "absent");
}

#[test]
fn what_is_not_measured_at_all_is_said_once_an_exporter_had_its_time() {
    let mut world = running(training(1, "Fail"), WINDOW);
    measured(&mut world, &[]);
    assert_eq!(world.said(GPUS_IDLE), "absent");
    let again = world.plan().again.map(|again| again.as_secs());
    assert_eq!(again, Some(120), "it is looked again");
    world.wait(120).settle();
    assert_eq!(short(&world), "Unknown NotMeasured");
    assert_eq!(
        world.said(FAILED),
        "absent",
        "never for what is not measured"
    );
}

#[test]
fn an_attempt_is_looked_at_once_it_is_old_enough() {
    let world = running(training(1, "Report"), 100);
    let again = world.plan().again.map(|again| again.as_secs());
    assert_eq!(again, Some(500));
    let mut without = running(training(1, "Report"), 100);
    without.observed.utilization = Utilization::Off;
    assert_eq!(without.plan().again, None);
}

#[test]
fn a_person_is_told_whose_gpus_are_idle_by_how_much_for_how_long_and_what_to_do() {
    let mut world = running(training(2, "Report"), WINDOW);
    measured(&mut world, &[(0, 2), (0, 2)]);
    let what_to_do =
        "; see what the trainer waits for (data, a lock, another worker), or ask for fewer GPUs";
    assert_eq!(
        world.said(GPUS_IDLE),
        format!("True AllIdle: all GPUs of its 2 workers, 4, stayed below 5 % for 10m{what_to_do}")
    );
    let mut world = running(training(12, "Report"), WINDOW);
    let mut by_rank = vec![(1, 1); 11];
    by_rank.push((1, 0));
    measured(&mut world, &by_rank);
    assert_eq!(
        world.said(GPUS_IDLE),
        format!(
            "True SomeIdle: 11 of the 24 GPUs of its 12 workers stayed below 5 % for 10m: 1 of worker 0, 1 of worker 1, \
             1 of worker 2, 1 of worker 3, 1 of worker 4, 1 of worker 5, 1 of worker 6, 1 of worker 7 and those of 3 more; \
             of 1 it is not known{what_to_do}"
        )
    );
    let counts = world.status().idle_gpus.expect("counts");
    assert_eq!((counts.idle, counts.held), (11, 24));
}

#[test]
fn the_event_comes_once_and_the_transition_time_is_when_they_became_idle() {
    let mut world = running(training(1, "Report"), WINDOW);
    measured(&mut world, &[(2, 0)]);
    world.wait(60);
    let known = BTreeMap::from([("a-1-0".to_owned(), GpuUse { used: 0, idle: 2 })]);
    world.observed.utilization = Utilization::Known(known);
    let notes = world.plan().notes;
    assert_eq!(notes.len(), 1);
    assert_eq!(notes[0].reason, "GPUsIdle");
    let became = world.now();
    world.settle();
    world.wait(60).settle();
    assert_eq!(world.plan().notes, []);
    let status = world.status();
    let said = windlass_api::find_condition(&status.conditions, GPUS_IDLE).expect("it is said");
    assert_eq!(said.last_transition_time.0, became);
    measured(&mut world, &[(1, 1)]);
    assert_eq!(world.plan().notes, [], "it still is so");
    measured(&mut world, &[(2, 0)]);
    assert_eq!(short(&world), "False InUse");
}

#[test]
fn gpus_that_come_and_go_in_a_large_gang_are_written_down_once_in_ten_minutes() {
    let mut world = running(training(4, "Report"), WINDOW);
    measured(&mut world, &[(1, 1), (2, 0), (2, 0), (2, 0)]);
    let writes = world.writes;
    for second in 0..60 {
        world.wait(10);
        if second % 2 == 0 {
            measured(&mut world, &[(2, 0), (1, 1), (1, 1), (2, 0)]);
        } else {
            measured(&mut world, &[(1, 1), (2, 0), (2, 0), (1, 1)]);
        }
    }
    assert_eq!(world.writes - writes, 1);
    // What is another truth is said at once.
    measured(&mut world, &[(0, 2); 4]);
    assert_eq!(short(&world), "True AllIdle");
    assert_eq!(world.writes - writes, 2);
}

#[test]
fn what_was_said_stays_until_the_first_answer_after_a_restart_and_an_end_costs_no_write_more() {
    let mut world = running(training(1, "Report"), WINDOW);
    measured(&mut world, &[(0, 2)]);
    let writes = world.writes;
    world.observed.utilization = Utilization::Awaited;
    world.settle();
    assert_eq!(short(&world), "True AllIdle");
    assert_eq!(world.writes, writes);
    world.succeeds("").settle();
    assert_eq!(world.writes, writes + 1);
    assert_eq!(world.said(GPUS_IDLE), "absent");
    assert_eq!(world.status().idle_gpus, None);
}

#[test]
fn fail_ends_the_attempt_and_the_job_and_only_when_all_gpus_are_idle() {
    let mut world = running(training(2, "Fail"), WINDOW);
    measured(&mut world, &[(0, 2), (1, 1)]);
    assert_eq!(short(&world), "True SomeIdle");
    measured(&mut world, &[(0, 2), (0, 1)]);
    assert_eq!(short(&world), "True SomeIdle", "of one it is not known");
    assert_eq!(world.changes, ["made a-1"]);
    measured(&mut world, &[(0, 2), (0, 2)]);
    assert_eq!(world.changes, ["made a-1", "deleted a-1"]);
    let failed = world.said(FAILED);
    assert!(
        failed.starts_with("True GPUsIdle: all GPUs of its 2 workers, 4, stayed below 5 % for 10m")
            && failed.ends_with("the attempt was stopped, as spec.idleGPUs.action is Fail"),
        "{failed}"
    );
    let status = world.status();
    assert_eq!(status.attempts[0].reason, "GPUsIdle");
    assert_eq!(status.failures, 1);
    assert_eq!(world.said(GPUS_IDLE), "absent", "nothing is held any more");
}

#[test]
fn restart_repeats_the_gang_and_counts() {
    let mut spec = training(1, "Restart");
    spec["backoffLimit"] = json!(1);
    let mut world = running(spec, WINDOW);
    measured(&mut world, &[(0, 2)]);
    assert_eq!(world.status().failures, 1);
    assert_eq!(world.status().attempts[0].reason, "GPUsIdle");
    assert_eq!(world.said(FAILED), "absent");
    world.pods_go().wait(300).settle();
    assert_eq!(world.changes, ["made a-1", "deleted a-1", "made a-2"]);
    // The new attempt has its own time.
    let started = world.now;
    world.every_pod(|pod| runs(pod, started));
    world.wait(WINDOW - 1);
    measured(&mut world, &[(0, 2)]);
    assert_eq!(world.status().failures, 1, "{}", world.said(READY));
    world.wait(1);
    measured(&mut world, &[(0, 2)]);
    assert!(
        world
            .said(FAILED)
            .starts_with("True GPUsIdle: the last of 2 attempts failed and spec.backoffLimit is 1"),
        "{}",
        world.said(FAILED)
    );
}

#[test]
fn without_a_word_of_the_user_it_is_said_at_five_percent_for_half_an_hour() {
    let mut spec = training(1, "Fail");
    spec["idleGPUs"] = Value::Null;
    let mut world = running(spec, 1799);
    measured(&mut world, &[(0, 2)]);
    assert_eq!(world.said(GPUS_IDLE), "absent");
    world.wait(1).settle();
    assert_eq!(short(&world), "True AllIdle");
    let threshold = world.observed.wants_utilization().expect("it runs");
    assert_eq!(
        (threshold.below.as_str(), threshold.window.as_secs()),
        ("5", 1800)
    );
    assert_eq!(world.made(), 1);
}

#[test]
fn a_worker_that_has_ended_holds_nothing_and_a_shared_gpu_counts_as_what_is_held() {
    let mut world = running(training(2, "Report"), WINDOW);
    world.pod(|mut pod| {
        pod.status.as_mut().expect("a status").phase = Some("Succeeded".to_owned());
        pod
    });
    measured(&mut world, &[(2, 0), (0, 2)]);
    assert_eq!(short(&world), "True AllIdle");
    assert_eq!(world.status().idle_gpus.map(|counts| counts.held), Some(2));
    // Measured more often than held: in use by one measure is in use.
    let mut world = running(training(1, "Fail"), WINDOW);
    measured(&mut world, &[(1, 3)]);
    assert_eq!(short(&world), "True SomeIdle");
    assert_eq!(world.status().idle_gpus.map(|counts| counts.idle), Some(1));
}

fn gpu_use() -> impl Strategy<Value = Option<(i64, i64)>> {
    prop::option::weighted(0.8, (0i64..4, 0i64..4))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever is measured and whatever is not: an attempt is stopped only where every GPU of every worker is known to
    /// be idle for as long as it takes, and what is said agrees with what was measured.
    #[test]
    fn nothing_is_stopped_unless_all_is_known_to_be_idle(
        by_rank in prop::collection::vec(gpu_use(), 1..4), ran in 0i64..1400, fails in any::<bool>(), answers in 0u8..4,
    ) {
        let workers = i32::try_from(by_rank.len()).expect("few");
        let mut world = running(training(workers, if fails { "Fail" } else { "Restart" }), ran);
        let known: BTreeMap<String, GpuUse> = by_rank.iter().enumerate()
            .filter_map(|(rank, of)| of.map(|(used, idle)| (format!("a-1-{rank}"), GpuUse { used, idle })))
            .collect();
        world.observed.utilization = match answers {
            0 => Utilization::Off,
            1 => Utilization::NotAnswered,
            _ => Utilization::Known(known),
        };
        world.reconcile();
        let whole = answers > 1 && ran >= WINDOW && by_rank.iter().all(|of| matches!(of, Some((0, idle)) if *idle >= 2));
        let stopped = world.changes.iter().any(|change| change == "deleted a-1");
        prop_assert_eq!(stopped, whole);
        prop_assert_eq!(world.status().failures, i32::from(whole));
        let said = short(&world);
        let any_idle = by_rank.iter().flatten().any(|(used, idle)| *used < 2 && *idle > 0);
        let any_used = by_rank.iter().flatten().any(|(used, _)| *used > 0);
        let expected = match answers {
            _ if whole || ran < WINDOW => "absent",
            0 => "absent",
            1 => "Unknown PrometheusNotAnswering",
            _ if any_idle => "True SomeIdle",
            _ if any_used => "False InUse",
            _ if ran < WINDOW + 120 => "absent",
            _ => "Unknown NotMeasured",
        };
        prop_assert_eq!(said, expected);
        // A second look at the same writes nothing.
        let (changes, writes) = (world.changes.len(), world.writes);
        if !stopped {
            world.settle();
            prop_assert_eq!((changes, writes), (world.changes.len(), world.writes));
        }
    }
}
