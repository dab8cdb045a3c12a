//! What is seen of a monitor elsewhere: figures, and events.

use jiff::SignedDuration;
use serde_json::json;
use windlass_api::agent::WindowVerdict;

use super::world::{World, report};
use crate::driftmonitor::{CloudEvent, figures, told};
use crate::fixtures::at;

#[test]
fn a_monitor_in_numbers_is_its_newest_window_and_what_became_of_its_trainings() {
    let mut world = World::new(json!({"retrain": {"budget": {"gpuHours": "4", "per": "10h"}}}));
    let empty = figures(&world.observed(0), &world.status(), at(world.now));
    // It serves since ten minutes.
    assert_eq!((empty.window, empty.due), (None, Some(at(-540 + 10))));
    assert_eq!(empty.budget, Some((0, 4 * 3600)));
    world
        .windows(&["Drifted", "Drifted"])
        .trained(Some("Fail"), 3600)
        .settle();
    world.windows(&["Healthy"; 3]);
    while world.known().len() == world.status().windows.len() {
        world.window("Healthy");
    }
    let found = figures(&world.observed(0), &world.status(), at(world.now));
    let newest = found.window.expect("a window");
    let last = world.known().pop().expect("a window");
    assert_eq!(
        (newest.end, newest.verdict, newest.rows),
        (last.end, WindowVerdict::Healthy, 400),
        "one that is not written down yet"
    );
    let columns = newest.columns.expect("columns");
    assert_eq!((columns.compared, columns.drifted), (4, 2));
    let column = &columns.top[0];
    assert_eq!((&*column.name, &*column.method), ("age", "PSI"));
    assert!((column.value - 0.9).abs() < 1e-9 && (column.lower - 0.8).abs() < 1e-9);
    let after = last.end + SignedDuration::from_secs(60 + 10);
    assert_eq!(found.due, Some(after), "its lateness after the next end");
    assert_eq!(found.retrainings, [("Rejected", 1)].into());
    assert_eq!(found.budget, Some((3600, 4 * 3600)));
    assert!(!found.is_circuit_open);

    world.sides[0].pods.clear();
    let found = figures(&world.observed(0), &world.status(), at(world.now));
    assert!(found.window.is_some_and(|newest| newest.columns.is_none()));
}

/// When the next window is due, in seconds.
fn due(world: &World) -> Option<i64> {
    let due = figures(&world.observed(0), &world.status(), at(world.now)).due;
    due.map(|due| due.duration_since(at(0)).as_secs())
}

/// What it found is lost with its node, and nobody waits for it.
#[test]
fn a_window_whose_report_went_with_its_pod_is_not_due_any_more() {
    let mut world = World::new(json!({"window": {"every": "10m", "size": "10m"}}));
    for _ in 0..2 {
        world.now += 600;
        world.settle().judge(0, "Healthy").settle();
    }
    assert_eq!(due(&world), Some(1800 + 10));
    world.now += 600;
    world.settle();
    assert_eq!(due(&world), Some(1800 + 10), "it is being looked at");
    world.judge(0, "Healthy").settle();
    world.sides[0].pods.clear();
    world.now += 61;
    world.settle();
    assert_eq!(world.known().len(), 1, "what is not written is lost");
    assert_eq!(due(&world), Some(2400 + 10));
}

#[test]
fn nothing_is_due_while_nothing_serves_and_then_it_is_from_there_on() {
    let mut world = World::new(json!({}));
    let made = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(0));
    let monitor = std::sync::Arc::make_mut(&mut world.sides[0].monitor);
    monitor.metadata.creation_timestamp = Some(made);
    assert_eq!(due(&world), Some(60 + 10));
    world.deployment = Some(super::world::deployment(None, 0, &json!([])));
    world.now = 90_000;
    assert_eq!(due(&world), None);
    world.serves(1).settle();
    assert_eq!(due(&world), Some(90_060 + 10));
    // What stands against it for a person to mend is no reason not to be told of.
    world.claims.clear();
    world.now += 600;
    world.settle();
    assert!(due(&world).is_some_and(|due| due < world.now));
}

#[test]
fn of_many_columns_ten_are_shown() {
    let names: Vec<_> = (0..30)
        .map(|number| json!({"column": format!("c{number}"), "method": "Hellinger", "value": 0.9, "lower": 0.8, "threshold": 0.2, "drifted": true, "moved": "up"}))
        .collect();
    let mut said: serde_json::Value = serde_json::from_str(&report("Drifted")).expect("JSON");
    said["top"] = json!(names);
    let mut world = World::new(json!({}));
    world.now += 60;
    world.settle().judged(0, &said.to_string()).settle();
    let found = figures(&world.observed(0), &world.status(), at(world.now));
    let columns = found.window.and_then(|newest| newest.columns);
    assert_eq!(columns.map(|columns| columns.top.len()), Some(10));
}

/// The next window ends so, and what is told of all that is written then.
fn tells(world: &mut World, verdict: &str) -> Vec<CloudEvent> {
    world.now += 60;
    let mut all = Vec::new();
    for look in 0..10 {
        if look == 5 {
            world.judge(0, verdict);
        }
        let before = world.sides[0].monitor.clone();
        world.reconcile(0, usize::MAX);
        all.extend(told(&before, &world.status()));
    }
    all
}

fn kinds(events: &[CloudEvent]) -> Vec<String> {
    let each = events.iter();
    each.map(|event| {
        let kind = event.kind.trim_start_matches("dev.windlass.driftmonitor.");
        let verdict = event.data["verdict"].as_str().unwrap_or_default();
        format!("{kind} {verdict}").trim_end().to_owned()
    })
    .collect()
}

#[test]
fn what_is_new_is_told_once() {
    let mut world = World::new(json!({"retrain": {"cooldown": "0s", "maxConsecutiveRejects": 1}}));
    let first = tells(&mut world, "Healthy");
    assert_eq!(kinds(&first), ["verdict.changed Healthy"]);
    for _ in 0..5 {
        assert_eq!(tells(&mut world, "Healthy"), [], "it is as it was");
    }
    assert_eq!(
        kinds(&tells(&mut world, "Drifted")),
        ["verdict.changed Drifting"]
    );
    let drifted = tells(&mut world, "Drifted");
    assert_eq!(
        kinds(&drifted),
        ["verdict.changed Drifted", "training.requested"]
    );
    let asked = serde_json::to_value(&drifted[1]).expect("JSON");
    assert_eq!(asked["specversion"], "1.0");
    assert_eq!(
        asked["type"],
        "dev.windlass.driftmonitor.training.requested"
    );
    assert_eq!(
        asked["source"],
        "/apis/windlass.dev/v1alpha1/namespaces/growth/driftmonitors/churn"
    );
    assert_eq!(
        (
            &asked["subject"],
            &asked["data"]["trainingJob"],
            &asked["data"]["version"]
        ),
        (
            &json!("churn-v1-r1"),
            &json!("churn-v1-r1"),
            &json!("churn-1")
        )
    );
    assert_eq!(asked["data"]["deployment"], "churn");
    world.trained(Some("Fail"), 0);
    assert_eq!(kinds(&tells(&mut world, "Drifted")), ["circuit.opened"]);
    world.annotate(json!({"windlass.dev/close-circuit": "churn-v1-r1", "windlass.dev/by": "ann"}));
    let closed = tells(&mut world, "Healthy");
    assert_eq!(
        kinds(&closed),
        [
            "circuit.closed",
            "training.requested",
            "verdict.changed Healthy"
        ]
    );
    let ids: std::collections::BTreeSet<_> = [first, drifted, closed]
        .concat()
        .into_iter()
        .map(|event| event.id)
        .collect();
    assert_eq!(ids.len(), 6, "each is known by its id");
}
