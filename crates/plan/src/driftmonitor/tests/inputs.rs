//! What is wrong or missing is named, and it goes on once it is mended.

use std::sync::Arc;

use serde_json::{Value, json};
use windlass_api::Outcome;
use windlass_api::condition::{READY, RETRAINING, STALLED};

use super::world::{World, deployment};
use crate::fixtures::{at, object, version};

#[test]
fn what_is_missing_is_named() {
    type Change = fn(&mut World);
    let rows: [(&str, bool, Change); 9] = [
        ("DeploymentNotFound", true, |world| world.deployment = None),
        ("NothingServes", false, |world| {
            world.deployment = Some(deployment(None, 0, &json!([])));
        }),
        ("NoBaseline", true, |world| {
            world.versions = vec![version(1, '1', None)];
        }),
        ("ServingRecordDeleted", true, |world| world.versions.clear()),
        ("VolumeClaimNotFound", true, |world| world.claims.clear()),
        ("PayloadsNotLogged", true, |world| {
            let deployment = Arc::make_mut(world.deployment.as_mut().expect("one"));
            deployment.spec.observe = None;
        }),
        ("ReferenceInFuture", true, |world| {
            world.deployment = Some(deployment(Some(1), 90_000, &json!([])));
        }),
        ("ReferenceInFuture", true, |world| {
            let version = Arc::make_mut(&mut world.versions[0]);
            version.spec.window = Some(object(json!({"start": at(0), "end": at(90_000)})));
        }),
        ("ModelDiffers", true, |world| {
            let deployment = Arc::make_mut(world.deployment.as_mut().expect("one"));
            deployment.spec.model = "other".to_owned();
        }),
    ];
    for (reason, stalled, change) in rows {
        let mut world = World::new(json!({}));
        change(&mut world);
        world.now = 70;
        world.settle();
        assert!(
            world.said(READY).starts_with(&format!("False {reason}: ")),
            "{}",
            world.said(READY)
        );
        assert_eq!((world.is(STALLED), world.writes), (stalled, 1), "{reason}");
        assert_eq!(world.made, []);
        let mended = World::new(json!({}));
        world.deployment = mended.deployment;
        world.versions = mended.versions;
        world.claims = mended.claims;
        world.window("Healthy");
        assert!(
            world.is(READY),
            "{reason}: goes on when it is mended: {}",
            world.said(READY)
        );
    }
}

#[test]
fn a_reference_from_the_future_is_looked_at_again_when_its_time_has_come() {
    let mut world = World::new(json!({}));
    world.deployment = Some(deployment(Some(1), 9_000, &json!([])));
    let again = world.plan(0).again.expect("it looks again");
    world.now += i64::try_from(again.as_secs()).expect("seconds");
    world.settle();
    assert!(!world.is(STALLED), "{}", world.said(STALLED));
}

#[test]
fn a_schedule_that_is_none_is_named() {
    let rows = [
        (json!({"schedule": "0 0 31 2 *"}), "ScheduleNeverFires"),
        (json!({"schedule": "every day"}), "ScheduleInvalid"),
        (
            json!({"schedule": "0 6 * * *", "timeZone": "Mars/Olympus"}),
            "TimeZoneUnknown",
        ),
    ];
    for (window, reason) in rows {
        let mut all = json!({"every": null});
        let fields: &mut serde_json::Map<String, Value> = all.as_object_mut().expect("one");
        fields.extend(window.as_object().expect("one").clone());
        let mut world = World::new(json!({ "window": all }));
        world.settle();
        assert!(
            world
                .said(STALLED)
                .starts_with(&format!("True {reason}: spec.window.")),
            "{}",
            world.said(STALLED)
        );
        assert!(world.sides[0].jobs.is_empty());
    }
}

#[test]
fn a_template_that_is_absent_is_named_and_windows_are_judged_all_the_same() {
    let mut world = World::new(json!({"retrain": null}));
    world.windows(&["Drifted", "Drifted"]);
    assert!(
        world
            .said(STALLED)
            .starts_with("True TemplateMissing: spec.retrain: "),
        "{}",
        world.said(STALLED)
    );
    assert!(world.said(RETRAINING).starts_with("False TemplateMissing"));
    assert!(world.is(READY));
}

/// Windows that had ended when something began to stand against it are not lost.
#[test]
fn what_was_found_before_is_written_down_though_nothing_can_be_watched_now() {
    let mut world = World::new(json!({}));
    world.windows(&["Healthy", "Healthy", "Healthy"]);
    assert_eq!(world.status().windows.len(), 1);
    world.deployment = None;
    world.settle();
    assert_eq!(world.status().windows.len(), 3);
}

#[test]
fn a_template_that_nothing_would_judge_is_named_and_windows_are_judged_all_the_same() {
    let mut world = World::new(json!({"retrain": {"template": {"spec": {"validation": null}}}}));
    world.windows(&["Drifted", "Drifted"]);
    assert!(
        world
            .said(STALLED)
            .starts_with("True ValidationMissing: spec.retrain.template.spec.validation: "),
        "{}",
        world.said(STALLED)
    );
    assert!(world.is(READY) && world.made.is_empty());
}

/// A TrainingJob may be gone by the time that something can be watched again.
#[test]
fn what_a_training_used_is_written_down_though_nothing_can_be_watched_now() {
    for (verdict, outcome) in [("Pass", None), ("TrainingFailed", Some(Outcome::Failed))] {
        let mut world = World::new(json!({"retrain": {"budget": {"gpuHours": "4", "per": "10h"}}}));
        world.windows(&["Drifted", "Drifted"]);
        let deployment = world.deployment.take();
        world.settle().trained(Some(verdict), 77).settle();
        let versions = std::mem::take(&mut world.versions);
        world.training_jobs.clear();
        world.settle();
        let entry = world.status().retrainings.remove(0);
        assert_eq!((entry.gpu_seconds, entry.outcome), (77, outcome));
        assert!(entry.ended.is_some());
        world.deployment = deployment;
        world.versions = versions;
        world.settle();
        let entry = world.status().retrainings.remove(0);
        assert_eq!(
            (entry.gpu_seconds, entry.outcome),
            (77, outcome),
            "{verdict}"
        );
        assert_eq!(entry.model_version.is_some(), verdict == "Pass");
    }
}
