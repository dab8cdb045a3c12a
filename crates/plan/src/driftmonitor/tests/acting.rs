//! Whether windows together are drift, and whether a training is asked for.

use kube::ResourceExt;
use serde_json::json;
use windlass_api::agent::WindowVerdict;
use windlass_api::condition::{DRIFTED, READY, RETRAINING, STALLED};
use windlass_api::{CAUSE, TriggerCause, asked};

use super::world::{World, report};
use crate::fixtures::{at, digest, object, readable};

#[test]
fn the_plan_that_asks_for_a_training() {
    let mut world = World::new(json!({}));
    world.windows(&["Healthy", "Drifted"]);
    world.now += 60;
    world.settle().judged(0, &report("Drifted"));
    insta::with_settings!({prepend_module_to_snapshot => false, snapshot_path => "../snapshots"}, {
        insta::assert_yaml_snapshot!("plan_that_asks_for_a_training", readable(&world.plan(0)));
    });
}

#[test]
fn drift_is_k_of_the_last_m_judged_windows() {
    let rows: [(&[&str], bool); 9] = [
        (&["Healthy", "Healthy"], false),
        (&["Drifted"], false),
        (&["Drifted", "Drifted"], true),
        (&["Drifted", "Healthy", "Drifted"], true),
        (&["Drifted", "Healthy", "Healthy", "Drifted"], false),
        (
            &[
                "Drifted",
                "NotEnoughData",
                "NotEnoughData",
                "NotEnoughData",
                "Drifted",
            ],
            true,
        ),
        (&["Failed", "Failed", "Failed"], false),
        (&["DataBroken", "DataBroken", "DataBroken"], false),
        (&["Drifted", "Failed", "DataBroken", "Healthy"], false),
    ];
    for (verdicts, expected) in rows {
        let mut world = World::new(json!({}));
        world.windows(verdicts);
        assert_eq!(
            (world.is(DRIFTED), world.made.len()),
            (expected, usize::from(expected)),
            "{verdicts:?}: {}",
            world.said(DRIFTED)
        );
    }
}

#[test]
fn a_window_that_drifts_alone_is_drifting_and_with_others_drifted() {
    let mut world =
        World::new(json!({"triggerWhen": {"windows": 3, "outOf": 4}, "mode": "Observe"}));
    world.windows(&["Drifted", "Drifted", "Healthy", "Drifted", "Drifted"]);
    let known = world.known();
    let verdicts: Vec<String> = known
        .iter()
        .map(|one| format!("{:?}", one.verdict))
        .collect();
    assert_eq!(
        verdicts,
        ["Drifting", "Drifting", "Healthy", "Drifted", "Drifted"]
    );
    let mut world = World::new(json!({}));
    world.window("Drifted");
    assert!(
        world.said(DRIFTED).starts_with("False Drifting: "),
        "{}",
        world.said(DRIFTED)
    );
    assert_eq!(world.said(READY), "True Drifting: it is Drifted");
    assert_eq!(world.status().phase.as_deref(), Some("Drifting"));
}

#[test]
fn broken_data_and_a_failed_evaluation_call_a_person_and_say_why() {
    let mut world = World::new(json!({}));
    world.window("DataBroken");
    assert_eq!(world.said(STALLED), "True DataBroken: it is DataBroken");
    world.now += 60;
    let failure = r#"{"kind":"Failure","reason":"LabelsUnreadable","message":"line 3 is garbage"}"#;
    world.settle().judged(1, failure).settle();
    assert_eq!(
        world.said(STALLED),
        "True LabelsUnreadable: line 3 is garbage"
    );
    world.window("Healthy");
    assert!(
        world.is(READY) && !world.is(STALLED),
        "{}",
        world.said(READY)
    );
}

/// It drifts, and something held the training back; then the newest window is broken or empty, or is as it should be.
#[test]
fn broken_data_never_calls_training_though_it_drifted_before() {
    for (verdict, reason) in [
        ("DataBroken", "DataBroken"),
        ("Failed", "EvaluationFailed"),
        ("NotEnoughData", "NotEnoughData"),
        ("Healthy", "Recovering"),
    ] {
        let mut world = World::new(json!({}));
        let other = object(
            json!({"apiVersion": "windlass.dev/v1alpha1", "kind": "TrainingJob", "metadata": {"name": "by-hand", "namespace": "growth"},
            "spec": {"model": "churn", "workers": {"template": {"spec": {}}}}}),
        );
        world.training_jobs.push(std::sync::Arc::new(other));
        world.windows(&["Drifted", "Drifted"]);
        assert!(
            world
                .said(RETRAINING)
                .starts_with("False OtherTrainingUnderWay: TrainingJob by-hand"),
            "{}",
            world.said(RETRAINING)
        );
        world.window(verdict);
        world.training_jobs.clear();
        world.settle();
        assert_eq!(world.made, [], "{verdict}");
        assert!(
            world
                .said(RETRAINING)
                .starts_with(&format!("False {reason}: ")),
            "{}",
            world.said(RETRAINING)
        );
        world.window("Drifted");
        let is_broken = matches!(verdict, "DataBroken" | "Failed");
        assert_eq!(world.made.len(), usize::from(!is_broken), "{verdict}");
        world.window("Drifted");
        assert_eq!(world.made.len(), 1, "{verdict}: {}", world.said(RETRAINING));
        let span = world.training_jobs[0].spec.window.clone();
        let start = span.expect("its windows").start;
        let known = world.known();
        let mut broken = known.iter().filter(|one| {
            matches!(
                one.verdict,
                WindowVerdict::DataBroken | WindowVerdict::Failed
            )
        });
        assert!(
            broken.all(|one| one.end <= start),
            "{verdict}: nothing broken is trained on"
        );
    }
}

#[test]
fn one_drift_makes_one_training_however_long_it_lasts() {
    let mut world = World::new(json!({}));
    world.windows(&["Drifted", "Drifted"]);
    assert_eq!(world.made.len(), 1);
    assert_eq!(
        world.said(RETRAINING),
        "True TrainingUnderWay: TrainingJob churn-v1-r1 is under way"
    );
    world.windows(&["Drifted"; 20]);
    assert_eq!(world.made.len(), 1, "one is under way, however long");
    let mut world = World::new(json!({}));
    world
        .windows(&["Drifted", "Drifted"])
        .trained(Some("Fail"), 0)
        .windows(&["Drifted"; 5]);
    assert_eq!(world.made.len(), 1, "the cooldown is not over");
    assert!(
        world.said(RETRAINING).starts_with("False Cooldown: ")
            && world.said(RETRAINING).contains("spec.retrain.cooldown"),
        "{}",
        world.said(RETRAINING)
    );
    world.windows(&["Drifted"; 10]);
    assert_eq!(
        world.made.len(),
        2,
        "it drifts on, and the cooldown is over"
    );
    assert_eq!(world.made[1].1, "churn-v1-r2");
}

#[test]
fn the_same_windows_never_ask_twice_though_the_training_was_deleted_since() {
    let mut world = World::new(json!({}));
    world
        .windows(&["Drifted", "Drifted"])
        .trained(Some("Fail"), 0);
    world.settle();
    world.training_jobs.clear();
    world.windows(&["NotEnoughData"; 30]);
    assert_eq!(world.made.len(), 1);
    assert!(
        world.said(RETRAINING).starts_with("False NotEnoughData"),
        "{}",
        world.said(RETRAINING)
    );
    // Another that is asked for later has another name.
    world.window("Drifted");
    assert_eq!(
        world.made.last().map(|made| made.1.as_str()),
        Some("churn-v1-r2")
    );
}

#[test]
fn a_training_that_was_made_just_before_a_crash_is_written_down_and_not_made_again() {
    let mut world = World::new(json!({}));
    world.window("Drifted");
    world.now += 60;
    world.settle().judged(0, &report("Drifted"));
    world.reconcile(0, 1);
    assert!(world.made.len() == 1 && world.status().last_trigger.is_none());
    world
        .trained(Some("Fail"), 77)
        .windows(&["Drifted", "Drifted"]);
    assert_eq!(world.made.len(), 1);
    let status = world.status();
    assert_eq!(
        status
            .last_trigger
            .map(|last| (last.training_job, last.version)),
        Some(("churn-v1-r1".to_owned(), "churn-1".to_owned()))
    );
    let entry = &status.retrainings[0];
    assert_eq!(
        (entry.gpu_seconds, entry.digest.clone()),
        (77, Some(digest('d')))
    );
    assert_eq!(
        entry.window.as_ref().map(|window| window.end),
        Some(at(120))
    );
}

#[test]
fn why_a_training_was_asked_for_reads_the_same_after_a_crash() {
    let message = |world: &World| world.status().last_trigger.map(|last| last.message);
    let mut undisturbed = World::new(json!({}));
    undisturbed.windows(&["Drifted", "Drifted"]);
    let expected = message(&undisturbed);
    assert!(expected.is_some());
    let mut world = World::new(json!({}));
    world.window("Drifted");
    world.now += 60;
    world.settle().judged(0, &report("Drifted"));
    world.reconcile(0, 1);
    world.settle();
    assert_eq!(message(&world), expected);
}

/// Two plan on the same state; what the API server lets both do is one training.
#[test]
fn monitors_that_see_one_drift_at_the_same_moment_make_one_training() {
    let mut world = World::of(&[("rows", json!({})), ("answers", json!({}))]);
    world.window("Drifted");
    world.now += 60;
    world.settle().judge(0, "Drifted").judge(1, "Drifted");
    let plans = [world.plan(0), world.plan(1)];
    for (side, plan) in plans.into_iter().enumerate() {
        assert_eq!(plan.steps.len(), 1, "both ask");
        world.apply(side, plan, usize::MAX);
    }
    world.settle().windows(&["Drifted"; 3]);
    assert_eq!(world.made.len(), 1);
    // It is in the ledger of one of them; and the cooldown holds for both.
    let ledgers = [0, 1].map(|side| world.status_of(side).retrainings.len());
    assert_eq!(ledgers, [1, 0]);
    world.trained(Some("Fail"), 0).windows(&["Drifted"; 5]);
    assert_eq!(world.made.len(), 1);
    world.windows(&["Drifted"; 4]);
    assert_eq!(world.made.len(), 2);
}

#[test]
fn a_version_that_is_tried_or_may_be_taken_back_is_waited_for() {
    for (field, part) in [
        (
            json!({"canary": {"version": "churn-2", "step": 0, "weight": 10, "started": at(0), "since": at(0)}}),
            "roll-out of churn-2",
        ),
        (
            json!({"bake": {"version": "churn-0", "since": at(0), "until": at(90_000)}}),
            "is taken back if it drifts",
        ),
    ] {
        let mut world = World::new(json!({}));
        let mut whole = serde_json::to_value(world.deployment.as_deref()).expect("JSON");
        whole["status"]
            .as_object_mut()
            .expect("one")
            .extend(field.as_object().expect("one").clone());
        world.deployment = Some(std::sync::Arc::new(object(whole)));
        world.windows(&["Drifted", "Drifted", "Drifted"]);
        assert!(
            world.made.is_empty()
                && world.said(RETRAINING).starts_with("False RolloutUnderWay")
                && world.said(RETRAINING).contains(part),
            "{}",
            world.said(RETRAINING)
        );
    }
}

#[test]
fn no_training_is_asked_for_while_what_came_of_the_last_one_is_not_settled() {
    let rows: [(&str, &str, bool); 6] = [
        ("it has no verdict yet", "None", false),
        ("it is good, and its roll-out has not begun", "Pass", false),
        ("it was found bad", "Fail", true),
        ("it was found neither good nor bad", "Inconclusive", true),
        ("it was good and was rolled back", "Pass", true),
        ("it was good and was denied", "Pass", true),
    ];
    for (name, verdict, asks) in rows {
        let mut world = World::new(json!({}));
        world
            .windows(&["Drifted", "Drifted"])
            .trained(Some(verdict), 0);
        if name.contains("rolled back") {
            world.quarantined(2);
        }
        if name.contains("denied") {
            let version = std::sync::Arc::make_mut(&mut world.versions[1]);
            version.spec.review = Some(object(
                json!({"decision": "Denied", "by": "ann", "reason": "no"}),
            ));
        }
        // Long after the cooldown, and it still drifts.
        world.now += 1_000_000;
        world.windows(&["Drifted", "Drifted"]);
        assert_eq!(
            world.made.len() == 2,
            asks,
            "{name}: {}",
            world.said(RETRAINING)
        );
        if !asks {
            assert!(
                world
                    .said(RETRAINING)
                    .starts_with("False VersionAwaited: ModelVersion churn-2"),
                "{}",
                world.said(RETRAINING)
            );
        }
    }
}

#[test]
fn a_fall_in_performance_goes_before_drift() {
    // It does not wait for more windows.
    let mut world = World::new(json!({}));
    world.window("Fallen");
    assert_eq!(world.made.len(), 1);
    assert_eq!(
        world.status().retrainings[0].cause,
        TriggerCause::PerformanceFallen
    );
    assert!(
        world
            .said(DRIFTED)
            .starts_with("True PerformanceFallen: a fall in performance in 1 window"),
        "{}",
        world.said(DRIFTED)
    );
    assert_eq!(
        world.training_jobs[0].annotations()[asked::VERDICT],
        "PerformanceFallen"
    );

    // What drifted shortly before belongs to it: there is more to train on.
    let mut world = World::new(json!({"triggerWhen": {"windows": 5}}));
    world.windows(&["Healthy", "Drifted", "Healthy", "Fallen"]);
    let window = world.training_jobs[0]
        .spec
        .window
        .clone()
        .expect("a window");
    assert_eq!((window.start, window.end), (at(0), at(240)));

    // Nor for the cooldown of a training that drift asked for; but there is no second within its own.
    let mut world = World::new(json!({}));
    world
        .windows(&["Drifted", "Drifted"])
        .trained(Some("Fail"), 0);
    world.window("Fallen");
    assert_eq!(world.made.len(), 2, "{}", world.said(RETRAINING));
    world.trained(Some("Fail"), 0).windows(&["Fallen"; 5]);
    assert_eq!(world.made.len(), 2);
    assert!(
        world.said(RETRAINING).starts_with("False Cooldown"),
        "{}",
        world.said(RETRAINING)
    );
    world.windows(&["Fallen"; 5]);
    assert_eq!(world.made.len(), 3, "{}", world.said(RETRAINING));

    // But one that is under way is waited for, unless more than one may be.
    for (most, made) in [(1, 1), (2, 2)] {
        let mut world = World::new(json!({"retrain": {"maxConcurrent": most}}));
        world.windows(&["Drifted", "Drifted", "Fallen", "Fallen"]);
        assert_eq!(
            world.made.len(),
            made,
            "maxConcurrent {most}: {}",
            world.said(RETRAINING)
        );
    }
}

#[test]
fn the_mode_says_what_is_done() {
    for (mode, made, suspended, said) in [
        ("Observe", 0, false, "False Observing"),
        ("Suggest", 1, true, "True TrainingSuggested"),
        ("Enforce", 1, false, "True TrainingUnderWay"),
    ] {
        let mut world = World::new(json!({"mode": mode}));
        world.windows(&["Drifted", "Drifted", "Drifted"]);
        assert!(world.is(DRIFTED));
        assert_eq!(world.made.len(), made, "{mode}");
        assert!(
            world.said(RETRAINING).starts_with(said),
            "{}",
            world.said(RETRAINING)
        );
        let Some(job) = world.training_jobs.first() else {
            continue;
        };
        assert_eq!(job.spec.suspend, suspended, "{mode}");
        assert_eq!(
            (
                job.labels()["team"].as_str(),
                job.labels()["windlass.dev/monitor"].as_str()
            ),
            ("growth", "churn")
        );
    }
}

#[test]
fn what_was_asked_for_carries_the_windows_the_verdict_and_its_digest() {
    let mut world = World::new(json!({}));
    world.windows(&["Drifted", "Drifted"]);
    let job = &world.training_jobs[0];
    let window = job.spec.window.clone().expect("a window");
    assert_eq!((window.start, window.end), (at(-60), at(120)));
    assert_eq!(
        job.annotations()[CAUSE],
        format!(
            "Drift of churn-1 from {} to {} ({}): it is Drifted",
            at(-60),
            at(120),
            digest('d')
        )
    );
    assert_eq!(job.annotations()[asked::DIGEST], digest('d'));
    assert_eq!(job.annotations()[asked::VERSION], "churn-1");
}

#[test]
fn the_name_of_a_training_fits_whatever_the_deployment_is_called() {
    let long = "a".repeat(40);
    let mut world = World::new(json!({ "deployment": long }));
    world
        .windows(&["Drifted", "Drifted"])
        .trained(Some("Fail"), 0);
    world.now += 6_000;
    world.windows(&["Drifted", "Drifted"]);
    assert_eq!(world.made.len(), 2);
    let mut long = World::new(json!({ "deployment": long }));
    let version = std::sync::Arc::make_mut(&mut long.versions[0]);
    version.spec.version = 1_000_000_000;
    long.windows(&["Drifted", "Drifted"]);
    for (_, name) in world.made.iter().chain(&long.made) {
        assert!(name.len() <= 52 && name.starts_with("aaaaa"), "{name}");
    }
}
