//! How much is written: nothing while nothing new is known.

use kube::ResourceExt;
use serde_json::json;
use windlass_api::agent::WindowVerdict;
use windlass_api::condition::READY;
use windlass_api::{DriftMonitorStatus, Retraining, WindowStatus};

use super::world::{World, report};
use crate::fixtures::{at, digest, object};

/// Fifty windows and twenty trainings, with all that they may have.
const LARGEST_STATUS: usize = 120_000;

#[test]
fn windows_that_say_nothing_new_are_left_with_their_jobs_and_written_with_the_fourth() {
    let mut world = World::new(json!({}));
    world.window("Healthy");
    let (writes, status) = (world.status_writes, world.status());
    for _ in 0..3 {
        world.window("Healthy");
        assert_eq!(
            (world.status_writes, world.status()),
            (writes, status.clone())
        );
    }
    assert_eq!(world.known().len(), 4);
    world.window("Healthy");
    assert_eq!(world.status_writes, writes + 1);
    assert_eq!(world.status().windows.len(), 5, "none is lost");
    assert!(world.is(READY));
}

#[test]
fn what_is_new_is_written_at_once_with_all_before_it() {
    for verdict in ["Drifted", "NotEnoughData", "DataBroken", "Failed"] {
        let mut world = World::new(json!({}));
        world.windows(&["Healthy", "Healthy", "Healthy"]);
        assert_eq!(world.status().windows.len(), 1);
        world.window(verdict);
        assert_eq!(world.status().windows.len(), 4, "{verdict}");
    }
}

/// A pod ends a moment before its Job does.
#[test]
fn what_the_pod_of_a_job_says_that_has_not_ended_yet_is_left_with_it_too() {
    let mut world = World::new(json!({}));
    world.window("Healthy");
    let writes = world.status_writes;
    world.now += 60;
    world.settle().judge(0, "Healthy");
    let ended = world.sides[0]
        .jobs
        .last_mut()
        .and_then(|job| std::sync::Arc::make_mut(job).status.take());
    world.settle();
    assert_eq!((world.status_writes, ended.is_some()), (writes, true));
}

#[test]
fn windows_that_were_left_are_written_before_their_jobs_go() {
    let mut world = World::new(json!({}));
    world.windows(&["Healthy", "Healthy"]);
    assert_eq!(world.status().windows.len(), 1);
    let monitor = std::sync::Arc::make_mut(&mut world.sides[0].monitor);
    // No other window ends for long.
    monitor.spec.window = object(json!({"schedule": "0 0 1 1 *"}));
    let again = world.plan(0).again.expect("it looks again");
    let kept = world.sides[0].jobs[1]
        .spec
        .as_ref()
        .and_then(|spec| spec.ttl_seconds_after_finished);
    assert!(
        again.as_secs() < u64::from(kept.unwrap_or(0).unsigned_abs()),
        "{again:?}"
    );
    world.now += i64::try_from(again.as_secs()).expect("seconds");
    world.settle();
    assert_eq!(world.status().windows.len(), 2);
}

/// A node is taken away, and with it the pods that have ended on it.
#[test]
fn what_was_found_and_went_with_its_pod_calls_nobody_and_windows_go_on() {
    let mut world = World::new(json!({"window": {"every": "10m", "size": "10m"}}));
    for _ in 0..3 {
        world.now += 600;
        world.settle().judge(0, "Healthy").settle();
    }
    assert_eq!(world.status().windows.len(), 1);
    world.sides[0].pods.clear();
    for _ in 0..3 {
        world.now += 600;
        world.settle().judge(0, "Healthy").settle();
    }
    assert!(world.is(READY), "{}", world.said(READY));
    assert_eq!(world.sides[0].jobs.len(), 6);
    let verdicts: Vec<_> = world.known().iter().map(|one| one.verdict).collect();
    assert_eq!(
        verdicts,
        [WindowVerdict::Healthy; 4],
        "two are not known any more"
    );
    // One that nobody could have read is told.
    world.now += 600;
    world.settle().judge(0, "Healthy");
    let name = world.sides[0].jobs.last().expect("one").name_any();
    world.sides[0].pods.clear();
    world.now += 20;
    world.settle();
    let said = world.said(READY);
    let expected = format!(
        "False ReportMissing: the evaluation of this window, Job {name}, ended without a report: its pod was taken away before what it found was read; see kubectl describe job {name} -n growth."
    );
    assert!(said.starts_with(&expected), "{said}");
}

/// An operator that was away cannot know whether it was news: it looks again.
#[test]
fn a_window_that_went_with_its_pod_while_nobody_was_there_is_judged_again() {
    let mut world = World::new(json!({"window": {"every": "10m", "size": "10m"}}));
    for _ in 0..3 {
        world.now += 600;
        world.settle().judge(0, "Healthy").settle();
    }
    world.now += 600;
    world.settle().judge(0, "Drifted");
    let names = |world: &World| -> Vec<String> {
        let mut names: Vec<_> = world.sides[0]
            .jobs
            .iter()
            .map(|job| job.name_any())
            .collect();
        names.sort();
        names
    };
    let known = names(&world);
    world.sides[0].pods.clear();
    world.now += 300;
    world.reading_since = world.now;
    // All that was not written down yet went with the node, and is looked at in order.
    for verdict in ["Healthy", "Healthy", "Drifted"] {
        world.settle().judge(0, verdict).settle();
    }
    assert_eq!(names(&world), known);
    let verdicts: Vec<_> = world.known().iter().map(|one| one.verdict).collect();
    let healthy = WindowVerdict::Healthy;
    assert_eq!(
        verdicts,
        [healthy, healthy, healthy, WindowVerdict::Drifting]
    );
    // This time it was read.
    let jobs = world.sides[0].jobs.clone();
    world.sides[0].pods.clear();
    world.now += 61;
    world.settle();
    assert_eq!(world.sides[0].jobs, jobs);
}

/// The one before read all but what ended after it.
#[test]
fn of_windows_that_went_with_their_pods_those_are_judged_again_that_nobody_was_there_to_read() {
    let mut world = World::new(json!({"window": {"every": "10m", "size": "10m"}}));
    for _ in 0..3 {
        world.now += 600;
        world.settle().judge(0, "Healthy").settle();
    }
    let read_until = world.now + 120;
    world.now += 600;
    // It begins one yet, and stops before that has ended.
    world.settle();
    world.now += 60;
    world.judge(0, "Drifted");
    let begun = world.sides[0].jobs.clone();
    world.sides[0].pods.clear();
    world.now += 300;
    world.reading_since = world.now;
    for (until, again) in [(Some(read_until), 1), (Some(world.now), 0), (None, 3)] {
        let mut world = World {
            sides: world.sides.clone(),
            deployment: world.deployment.clone(),
            engine: world.engine.clone(),
            versions: world.versions.clone(),
            claims: world.claims.clone(),
            read_until: until,
            training_jobs: Vec::new(),
            made: Vec::new(),
            notes: Vec::new(),
            ..world
        };
        for _ in 0..4 {
            world.settle().judge(0, "Healthy").settle();
        }
        assert_eq!(world.sides[0].jobs.len(), begun.len());
        let is_new = |job: &&std::sync::Arc<k8s_openapi::api::batch::v1::Job>| !begun.contains(job);
        let judged = world.sides[0].jobs.iter().filter(is_new).count();
        assert_eq!(judged, again, "{until:?}");
    }
}

#[test]
fn an_evaluation_that_fails_without_a_report_says_what_its_job_does() {
    let mut world = World::new(json!({}));
    world.now += 60;
    world.settle().judge(0, "Healthy");
    world.sides[0].pods.clear();
    let job = world.sides[0].jobs.last_mut().expect("one");
    std::sync::Arc::make_mut(job).status = Some(object(
        json!({"conditions": [{"type": "Failed", "status": "True", "reason": "DeadlineExceeded", "message": "Job was active longer than specified deadline", "lastTransitionTime": at(world.now)}]}),
    ));
    world.now += 20;
    world.settle();
    let said = world.said(READY);
    let expected = "ended without a report: DeadlineExceeded: Job was active longer than specified deadline; see kubectl describe job";
    assert!(said.contains(expected), "{said}");
}

#[test]
fn a_resync_or_a_restart_writes_nothing_however_it_stands() {
    let rows: [&[&str]; 6] = [
        &[],
        &["Healthy", "Healthy"],
        &["Drifted"],
        &["Drifted", "Drifted", "Drifted"],
        &["DataBroken"],
        &["Failed"],
    ];
    for verdicts in rows {
        let mut world = World::new(json!({}));
        world.settle().windows(verdicts);
        let writes = world.writes;
        for look in 0..45 {
            world.now += i64::from(look == 20);
            world.sides[0].jobs.reverse();
            world.sides[0].pods.reverse();
            world.settle();
        }
        assert_eq!(world.writes, writes, "{verdicts:?}");
    }
}

#[test]
fn while_drift_lasts_and_nothing_is_done_about_it_nothing_is_written_for_long() {
    let mut world = World::new(json!({"mode": "Observe"}));
    world.windows(&["Drifted"; 4]);
    let writes = world.status_writes;
    world.windows(&["Drifted"; 12]);
    assert_eq!(world.status_writes - writes, 3);
}

#[test]
fn the_status_keeps_fifty_windows_and_is_a_small_part_of_an_object() {
    let mut world = World::new(json!({}));
    world.windows(&["Healthy", "NotEnoughData"].repeat(28));
    assert_eq!(world.status().windows.len(), 50);

    let long = "ä".repeat(5_000);
    let names: Vec<_> = (0..10)
        .map(|_| json!({"column": long, "psi": 0.9, "lower": 0.8, "threshold": 0.2, "drifted": true, "moved": long}))
        .collect();
    let mut told: serde_json::Value = serde_json::from_str(&report("Drifted")).expect("JSON");
    told["top"] = json!(names);
    told["message"] = json!(long);
    let mut world = World::new(json!({}));
    world.now += 60;
    world.settle().judged(0, &told.to_string()).settle();
    let window = world.status().windows[0].clone();
    let entry: Retraining = object(
        json!({"trainingJob": "a".repeat(52), "time": at(0), "cause": "PerformanceFallen", "digest": digest('d'),
        "window": {"start": at(0), "end": at(1)}, "gpuSeconds": i64::MAX, "ended": at(1), "modelVersion": "a".repeat(52), "outcome": "Superseded"}),
    );
    let status = DriftMonitorStatus {
        windows: vec![window; 50],
        retrainings: vec![entry; 20],
        ..world.status()
    };
    let bytes = serde_json::to_vec(&status).expect("JSON").len();
    assert!(bytes < LARGEST_STATUS, "{bytes}");
    let one: &WindowStatus = &status.windows[0];
    assert_eq!(one.drifted.len(), 5);
}
