//! After a training: the reference follows a promotion, and trainings that come to nothing open the circuit.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;
use windlass_api::Outcome;
use windlass_api::condition::{DRIFTED, READY, RETRAINING, STALLED};

use super::world::World;
use crate::fixtures::{at, object, said};

#[test]
fn after_a_promotion_the_reference_follows_and_only_its_own_windows_count() {
    let mut world = World::new(json!({"mode": "Observe"}));
    world.windows(&["Drifted", "Drifted"]);
    assert!(world.is(DRIFTED));
    world.now += 60;
    world.settle().serves(2).judge(0, "Drifted").settle();
    let known = world.known();
    assert_eq!(
        known.last().map(|window| window.version.as_str()),
        Some("churn-1"),
        "it was under way when churn-2 took over"
    );
    assert_eq!(world.status().reference.as_deref(), Some("churn-2"));
    assert!(
        !world.is(DRIFTED) && !world.is(READY),
        "{}",
        world.said(READY)
    );
    // What was left of the old one's, and the first of the new one's own.
    world.window("NotEnoughData");
    world.window("Drifted");
    assert!(
        !world.is(DRIFTED),
        "one window of its own: {}",
        world.said(DRIFTED)
    );
    world.window("Drifted");
    assert!(world.is(DRIFTED));
}

#[test]
fn what_a_version_was_found_in_before_another_served_in_between_counts_no_more() {
    let mut world = World::new(json!({"retrain": {"cooldown": "0s"}}));
    world
        .windows(&["Drifted", "Drifted"])
        .trained(Some("Pass"), 0);
    world.window("Drifted");
    world.serves(2).windows(&["Healthy", "Healthy"]);
    world.quarantined(2).serves(1);
    let again = at(world.now);
    let has_own = |world: &World| {
        let newest = world.known().pop();
        newest.is_some_and(|one| one.version == "churn-1" && one.end > again)
    };
    while !has_own(&world) {
        world.window("Drifted");
    }
    assert_eq!(world.made.len(), 1, "{}", world.said(RETRAINING));
    assert!(
        !world.is(DRIFTED),
        "one window of its own: {}",
        world.said(DRIFTED)
    );
    world.window("Drifted");
    assert_eq!(world.made.len(), 2, "{}", world.said(RETRAINING));
}

#[test]
fn a_version_that_was_only_trained_moves_nothing() {
    let mut world = World::new(json!({}));
    world
        .windows(&["Drifted", "Drifted"])
        .trained(Some("Pass"), 0);
    world.windows(&["Drifted", "Drifted"]);
    assert_eq!(world.status().reference.as_deref(), Some("churn-1"));
    assert!(world.is(DRIFTED));
}

/// Asks for a training, has it end so, and lets the cooldown pass.
fn round(world: &mut World, verdict: &str) {
    let made = world.made.len();
    world.windows(&["Drifted", "Drifted"]);
    assert_eq!(world.made.len(), made + 1, "{}", world.said(RETRAINING));
    world.trained(Some(verdict), 0);
    if verdict == "Pass" {
        let number = world.versions.last().map(|one| one.spec.version);
        world.quarantined(number.expect("a version"));
    }
    world.windows(&["NotEnoughData"; 10]);
}

#[test]
fn what_came_of_each_training_is_written_down() {
    let mut world = World::new(json!({"retrain": {"maxConsecutiveRejects": 20}}));
    for verdict in ["Fail", "Inconclusive", "TrainingFailed", "Pass"] {
        round(&mut world, verdict);
    }
    world.windows(&["Drifted", "Drifted"]);
    world.training_jobs.retain(|job| job.status.is_some());
    world.windows(&["NotEnoughData"; 10]);
    world
        .windows(&["Drifted", "Drifted"])
        .trained(Some("Pass"), 0);
    let number = world.versions.last().map_or(0, |one| one.spec.version);
    world.serves(number);
    world.windows(&["Healthy", "Healthy", "Healthy"]);
    let outcomes: Vec<_> = world
        .status()
        .retrainings
        .iter()
        .map(|one| one.outcome)
        .collect();
    let expected = [
        Outcome::Rejected,
        Outcome::Rejected,
        Outcome::Failed,
        Outcome::RolledBack,
        Outcome::Deleted,
        Outcome::Held,
    ];
    assert_eq!(outcomes, expected.map(Some));
}

#[test]
fn too_many_trainings_in_a_row_that_come_to_nothing_open_the_circuit_and_a_person_closes_it() {
    let mut world = World::new(json!({}));
    for verdict in ["Fail", "Pass", "TrainingFailed"] {
        assert!(
            !world.said(STALLED).starts_with("True"),
            "{}",
            world.said(STALLED)
        );
        round(&mut world, verdict);
    }
    let circuit = world.status().circuit.expect("a circuit");
    assert!(
        circuit.open && circuit.training_job == "churn-v1-r3",
        "{circuit:?}"
    );
    for part in [
        "churn-v1-r1 (Rejected), churn-v1-r2 (RolledBack), churn-v1-r3 (Failed)",
        "kubectl annotate --overwrite driftmonitor churn -n growth windlass.dev/close-circuit=churn-v1-r3 windlass.dev/by=YOUR-USER-NAME",
    ] {
        assert!(circuit.message.contains(part), "{}", circuit.message);
    }
    world.windows(&["Drifted"; 10]);
    assert_eq!(world.made.len(), 3);
    assert!(
        world
            .said(STALLED)
            .starts_with("True CircuitOpen: 3 trainings in a row"),
        "{}",
        world.said(STALLED)
    );
    assert!(world.is(READY), "windows are judged all the same");
    let opened = world
        .notes
        .iter()
        .filter(|note| note.starts_with("CircuitOpen"))
        .count();
    assert_eq!(opened, 1);
    // What was said of another opening closes nothing.
    world.annotate(json!({"windlass.dev/close-circuit": "churn-v1-r2", "windlass.dev/by": "ann"}));
    world.windows(&["Drifted"; 2]);
    assert_eq!(world.made.len(), 3);
    world.annotate(json!({"windlass.dev/close-circuit": "churn-v1-r3", "windlass.dev/by": "ann"}));
    world.settle();
    assert_eq!(world.made.len(), 4, "{}", world.said(RETRAINING));
    let circuit = world.status().circuit.expect("a circuit");
    assert_eq!(
        (circuit.open, circuit.message.as_str()),
        (false, "ann closed the circuit after churn-v1-r3")
    );
    // Those before count no more; three others open it again, whatever still stands there.
    world
        .trained(Some("Fail"), 0)
        .windows(&["NotEnoughData"; 10]);
    round(&mut world, "Fail");
    assert!(!world.status().circuit.expect("one").open);
    round(&mut world, "Fail");
    let circuit = world.status().circuit.expect("a circuit");
    assert!(
        circuit.open && circuit.training_job == "churn-v1-r6",
        "{circuit:?}"
    );
}

#[test]
fn a_newer_version_that_holds_closes_the_circuit_and_the_old_one_that_serves_again_does_not() {
    let mut world = World::new(json!({}));
    for _ in 0..3 {
        round(&mut world, "Fail");
    }
    // The same version again, as after a roll-back.
    world.serves(1).windows(&["Healthy"; 4]);
    assert!(world.status().circuit.expect("one").open);
    world.serves(9);
    world.windows(&["NotEnoughData", "Drifted"]);
    assert!(
        world.status().circuit.expect("one").open,
        "it has not shown that it holds"
    );
    world.windows(&["Healthy"]);
    let circuit = world.status().circuit.expect("a circuit");
    assert!(
        !circuit.open && circuit.message.contains("churn-9 serves since"),
        "{circuit:?}"
    );
}

#[test]
fn a_version_that_holds_begins_the_count_anew() {
    let mut world = World::new(json!({"retrain": {"maxConsecutiveRejects": 2}}));
    round(&mut world, "Fail");
    world
        .windows(&["Drifted", "Drifted"])
        .trained(Some("Pass"), 0)
        .settle();
    world.serves(3).windows(&["Healthy"; 12]);
    round(&mut world, "Fail");
    assert_eq!(world.status().circuit, None);
    round(&mut world, "Fail");
    assert!(world.status().circuit.is_some_and(|circuit| circuit.open));
}

#[test]
fn an_open_circuit_holds_for_all_monitors_of_the_deployment() {
    let mut world = World::of(&[("one", json!({})), ("two", json!({}))]);
    for _ in 0..3 {
        round(&mut world, "Fail");
    }
    let open = (0..2).filter(|side| world.status_of(*side).circuit.is_some_and(|one| one.open));
    assert_eq!(open.count(), 1);
    world.windows(&["Drifted"; 12]);
    assert_eq!(world.made.len(), 3);
}

/// Each version passes its validation, serves, and drifts as the one before did: training changes nothing.
#[test]
fn versions_that_are_promoted_and_drift_before_they_hold_open_the_circuit() {
    let mut world = World::new(json!({}));
    for number in 2..6 {
        world.windows(&["Drifted", "Drifted"]);
        assert_eq!(world.made.len(), number - 1, "{}", world.said(RETRAINING));
        world.trained(Some("Pass"), 0).settle();
        world.serves(i64::try_from(number).expect("few"));
        world.windows(&["NotEnoughData"; 10]);
    }
    let outcomes: Vec<_> = world
        .status()
        .retrainings
        .iter()
        .map(|one| one.outcome)
        .collect();
    let again = Some(Outcome::DriftedAgain);
    assert_eq!(outcomes, [again, again, again, None]);
    world.windows(&["Drifted"; 4]);
    assert_eq!(world.made.len(), 4);
    assert!(
        world.said(RETRAINING).starts_with("False CircuitOpen"),
        "{}",
        world.said(RETRAINING)
    );
}

/// What a person lets serve instead says nothing of it.
#[test]
fn a_version_that_a_person_replaces_by_another_is_superseded() {
    let mut world = World::new(json!({}));
    world
        .windows(&["Drifted", "Drifted"])
        .trained(Some("Pass"), 0)
        .settle();
    world.serves(2).windows(&["Drifted"]);
    world.serves(3).windows(&["NotEnoughData"]);
    let outcome = world.status().retrainings[0].outcome;
    assert_eq!(outcome, Some(Outcome::Superseded));
}

/// Deletes the first monitor, and makes one of this name.
fn recreated(world: &mut World, name: &str) {
    let gone = world.sides.remove(0);
    let spec = serde_json::to_value(&gone.monitor.spec).expect("JSON");
    let mut made = World::of(&[(name, spec)]).sides.remove(0);
    let metadata = &mut std::sync::Arc::make_mut(&mut made.monitor).metadata;
    metadata.uid = Some("another".to_owned());
    metadata.creation_timestamp = Some(Time(at(world.now)));
    world.sides.insert(0, made);
}

#[test]
fn the_circuit_outlives_its_monitor() {
    // Of the same name, of another, and with what TrainingJobs tell gone, but one that failed.
    for (name, is_tidied) in [("churn", false), ("other", false), ("other", true)] {
        let mut world = World::new(json!({}));
        for verdict in ["TrainingFailed", "Pass", "Fail"] {
            round(&mut world, verdict);
        }
        assert!(world.status().circuit.is_some_and(|circuit| circuit.open));
        recreated(&mut world, name);
        if is_tidied {
            world.training_jobs.truncate(1);
        }
        world.windows(&["Drifted"; 12]);
        assert_eq!(world.made.len(), 3, "{}", world.said(RETRAINING));
        let circuit = world.status().circuit.expect("a circuit");
        assert!(circuit.open && circuit.training_job == "churn-v1-r3");
    }
}

#[test]
fn what_a_monitor_left_is_taken_over_by_one_of_those_beside() {
    let names = [
        ("a", json!({"mode": "Observe", "retrain": null})),
        ("b", json!({})),
        ("c", json!({})),
        ("d", json!({})),
    ];
    let mut world = World::of(&names);
    let asks = world.sides.remove(1);
    world.sides.insert(0, asks);
    for _ in 0..3 {
        round(&mut world, "Fail");
    }
    world.sides.remove(0);
    world.settle();
    let open: Vec<_> = (0..3)
        .map(|side| world.status_of(side).circuit.is_some_and(|one| one.open))
        .collect();
    assert_eq!(open, [false, true, false]);
    world.windows(&["Drifted"; 12]);
    assert_eq!(world.made.len(), 3);
}

/// A newer version has come to serve since: what was asked for before says nothing of it.
#[test]
fn what_was_asked_for_an_older_version_opens_no_circuit_of_a_new_monitor() {
    let mut world = World::new(json!({}));
    for _ in 0..3 {
        round(&mut world, "TrainingFailed");
    }
    world.serves(9).windows(&["Healthy"; 4]);
    recreated(&mut world, "churn");
    world.windows(&["Healthy"; 4]);
    assert_eq!(world.status().circuit, None);
    assert_eq!(world.status().retrainings.len(), 3);
}

/// Who was not there cannot know that a version held, but where it drifted from its beginning.
#[test]
fn a_version_that_served_before_a_monitor_was_made_anew_drifted_again_only_where_it_did_from_its_beginning()
 {
    for (first, expected) in [
        ("Healthy", Outcome::Superseded),
        ("Drifted", Outcome::DriftedAgain),
    ] {
        for name in ["churn", "other"] {
            let mut world = World::new(json!({"retrain": {"cooldown": "0s"}}));
            world
                .windows(&["Drifted", "Drifted"])
                .trained(Some("Pass"), 0)
                .settle();
            world.serves(2).windows(&["NotEnoughData"]);
            world.windows(&[first; 4]).windows(&["Drifted", "Drifted"]);
            assert_eq!(world.made.len(), 2, "{}", world.said(RETRAINING));
            let known = world.status().retrainings[0].outcome;
            assert_eq!(known, (first == "Healthy").then_some(Outcome::Held));
            world.trained(Some("Pass"), 0).settle();
            world.serves(3).windows(&["NotEnoughData"]);
            recreated(&mut world, name);
            world.windows(&["NotEnoughData"]);
            let status = world.status();
            assert_eq!(
                status.retrainings[0].outcome,
                Some(expected),
                "{first} {name}"
            );
            assert_eq!(status.retrainings[1].outcome, None, "it serves yet");
        }
    }
}

/// Windows slide by less than their size, and no whole number of them is as long: the first whole one begins after the first
/// end.
#[test]
fn a_version_drifted_from_its_beginning_where_its_first_whole_window_did_wherever_that_begins() {
    for (first, expected) in [
        ("Drifted", Outcome::DriftedAgain),
        ("Healthy", Outcome::Superseded),
    ] {
        let mut world =
            World::new(json!({"retrain": {"cooldown": "0s"}, "window": {"size": "90s"}}));
        world
            .windows(&["Drifted", "Drifted"])
            .trained(Some("Pass"), 0)
            .settle();
        // It serves ten seconds before a window ends: two are cut, and the whole one begins in ninety seconds less fifty.
        world.now += 40;
        world.serves(2);
        world.now -= 40;
        let cut = ["NotEnoughData"; 3];
        world.windows(&cut).windows(&[first]);
        let windows = world.known();
        let whole = windows.last().expect("a window");
        let whole = whole.end.duration_since(whole.start).as_secs();
        assert_eq!(whole, 90, "{windows:#?}");
        world.windows(&["Drifted", "Drifted"]);
        assert_eq!(world.made.len(), 2, "{}", world.said(RETRAINING));
        world.trained(Some("Pass"), 0).settle();
        world.serves(3).windows(&["NotEnoughData"]);
        recreated(&mut world, "churn");
        world.windows(&["NotEnoughData"]);
        let outcome = world.status().retrainings[0].outcome;
        assert_eq!(outcome, Some(expected), "{first}");
    }
}

#[test]
fn a_circuit_that_was_closed_stays_so_though_its_monitor_is_made_anew() {
    // A training was asked for since, so that it must have been closed; or a person says so of the new one too.
    for (name, asks) in [("churn", true), ("other", true), ("churn", false)] {
        let mut world = World::new(json!({}));
        for _ in 0..3 {
            round(&mut world, "Fail");
        }
        assert!(world.status().circuit.is_some_and(|circuit| circuit.open));
        let said = json!({"windlass.dev/close-circuit": "churn-v1-r3", "windlass.dev/by": "ann"});
        world.annotate(said.clone()).settle();
        if asks {
            round(&mut world, "Fail");
        }
        world.notes.clear();
        recreated(&mut world, name);
        if !asks {
            world.annotate(said);
        }
        world.settle();
        assert!(
            world.status().circuit.is_none_or(|circuit| !circuit.open),
            "{name} {asks}"
        );
        let told = world
            .notes
            .iter()
            .any(|note| note.starts_with("CircuitOpen"));
        assert!(!told, "{name} {asks}: {:?}", world.notes);
        // Three others open it again.
        for _ in world.made.len()..6 {
            assert!(world.status().circuit.is_none_or(|circuit| !circuit.open));
            round(&mut world, "Fail");
        }
        let circuit = world.status().circuit.expect("a circuit");
        assert!(circuit.open && circuit.training_job == "churn-v1-r6");
    }
}

/// Two monitors; the circuit of the first is open, and it cannot look any more.
fn with_one_that_cannot_look() -> World {
    let mut world = World::of(&[("one", json!({})), ("two", json!({}))]);
    for _ in 0..3 {
        round(&mut world, "Fail");
    }
    assert!(world.status().circuit.is_some_and(|circuit| circuit.open));
    let monitor = std::sync::Arc::make_mut(&mut world.sides[0].monitor);
    monitor.spec.window = object(json!({"schedule": "0 0 30 2 *"}));
    world.windows(&["Drifted"; 2]);
    let said = said(&world.status_of(1).conditions, RETRAINING);
    assert!(said.starts_with("False CircuitOpen"), "{said}");
    world
}

#[test]
fn an_open_circuit_whose_monitor_cannot_look_is_closed_by_a_person() {
    let mut world = with_one_that_cannot_look();
    world.annotate(json!({"windlass.dev/close-circuit": "churn-v1-r3", "windlass.dev/by": "ann"}));
    world.settle();
    assert!(!world.status().circuit.expect("one").open);
    assert_eq!(world.made.len(), 4, "the other asks");

    // Nor does it take a template.
    let mut world = World::new(json!({}));
    for _ in 0..3 {
        round(&mut world, "Fail");
    }
    let monitor = std::sync::Arc::make_mut(&mut world.sides[0].monitor);
    monitor.spec.retrain = None;
    world.annotate(json!({"windlass.dev/close-circuit": "churn-v1-r3", "windlass.dev/by": "ann"}));
    world.settle();
    assert!(!world.status().circuit.expect("one").open);
}

#[test]
fn an_open_circuit_whose_monitor_cannot_look_holds_up_no_other_once_a_newer_version_holds() {
    let mut world = with_one_that_cannot_look();
    world.serves(9).windows(&["NotEnoughData", "Healthy"]);
    world.windows(&["Drifted", "Drifted"]);
    assert!(world.status().circuit.expect("one").open, "it cannot look");
    assert_eq!(world.made.len(), 4, "the other asks");
}
