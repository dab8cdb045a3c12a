//! A roll-out that has failed and waits for a person.

use serde_json::{Value, json};
use windlass_api::condition::{AVAILABLE, READY, RECONCILING, STALLED};
use windlass_api::{OnFailure, RolloutOutcome, TrafficBy, annotations};

use super::world::World;
use crate::fixtures::{object, version, waiting};

fn pausing(more: &Value) -> Value {
    let mut rollout = json!({
        "steps": [{"weight": 10, "hold": "60s"}, {"weight": 50, "hold": "60s"}], "minRequests": 100,
        "onFailure": "Pause",
    });
    let all = rollout.as_object_mut().expect("an object");
    all.extend(more.as_object().expect("an object").clone());
    json!({"rollout": rollout})
}

/// A canary that does harm in its second step, and is held for that.
fn held() -> World {
    let mut world = World::rolling(pausing(&json!({})));
    world.step_passes();
    assert_eq!(world.status().canary.expect("it rolls").step, 1);
    world.all_ready().traffic(0, 0).settle();
    harm(&mut world);
    world
}

fn harm(world: &mut World) {
    let notes = {
        world.traffic(2000, 400);
        world.plan().notes
    };
    world.settle();
    let said = notes.iter().find(|note| note.reason == "RolloutPaused");
    let said = said.map_or("", |note| note.message.as_str());
    assert!(said.contains("kubectl annotate"), "{notes:?}");
}

#[test]
fn a_canary_that_does_harm_gets_no_traffic_and_stays_to_be_looked_at() {
    let world = held();
    let canary = world.status().canary.expect("it stays");
    assert_eq!((canary.step, canary.weight), (1, 0));
    assert!(canary.step_started.is_none());
    let why = canary.failure.expect("why");
    assert!(why.contains("5xx") || why.contains("error"), "{why}");
    assert_eq!(world.pinned().as_deref(), Some("churn-1"));
    let traffic = world.status().traffic.expect("some");
    assert_eq!(traffic.by, TrafficBy::Service);
    assert_eq!(traffic.weights, [("churn-1".to_owned(), 100)].into());
    assert_eq!(
        world.children(),
        [("churn-v1".to_owned(), 3), ("churn-v2".to_owned(), 3)]
    );
    assert!(world.status().quarantine.is_empty() && world.status().last_rollout.is_none());
    assert!(world.is(AVAILABLE) && world.is(STALLED));
    assert!(!world.is(READY) && !world.is(RECONCILING));
    assert_eq!(world.status().phase.as_deref(), Some("Paused"));
    let said = world.said(STALLED);
    assert!(
        said.starts_with(
            "True RolloutPaused: churn-2 failed in step 2 and gets no traffic, churn-1 serves: "
        ),
        "{said}"
    );
    for part in [
        why.as_str(),
        "windlass.dev/abort=churn-2 ",
        "windlass.dev/promote=churn-2/2 ",
        "windlass.dev/version=churn-2",
    ] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
}

#[test]
fn nothing_but_a_person_ends_it() {
    let mut world = held();
    let (writes, status) = (world.writes, world.status());
    world.wait(100_000).settle();
    assert_eq!(world.writes, writes, "nothing is written while it waits");
    assert_eq!(world.status(), status);
    assert_eq!(world.canary().as_deref(), Some("churn-2"));
}

#[test]
fn only_an_abort_puts_it_in_quarantine() {
    let mut world = held();
    world
        .annotate(annotations::BY, "ada")
        .annotate(annotations::ABORT, "churn-2")
        .settle();
    assert_eq!(world.canary(), None);
    assert_eq!(world.children(), [("churn-v1".to_owned(), 3)]);
    let record = world.status().last_rollout.expect("a record");
    assert_eq!(record.outcome, RolloutOutcome::RolledBack);
    assert!(
        record
            .message
            .starts_with("ada took it back (windlass.dev/abort); it was held since "),
        "{record:?}"
    );
    assert_eq!(world.status().quarantine.len(), 1);
    assert!(world.is(READY));
}

#[test]
fn a_person_has_the_step_begin_anew_with_nothing_counted() {
    let mut world = held();
    let before = world.status().canary.expect("it is held");
    world
        .annotate(annotations::BY, "ada")
        .annotate(annotations::PROMOTE, "churn-2/2")
        .wait(10);
    let notes = world.plan().notes;
    assert!(
        notes
            .iter()
            .any(|note| note.reason == "RolloutResumed" && note.message.contains("ada")),
        "{notes:?}"
    );
    world.settle();
    let canary = world.status().canary.expect("it rolls");
    assert_eq!((canary.step, canary.weight, canary.failure), (1, 50, None));
    assert!(canary.started > before.started && canary.step_started.is_some());
    assert_eq!(world.pinned(), None, "it has its share again");
    // The same word does not let the step pass, too.
    world.traffic(50, 0).wait(61).settle();
    assert_eq!(world.status().canary.expect("it rolls").step, 1);
    assert_eq!(world.stable().as_deref(), Some("churn-1"));
    // And what does harm again is held again, by the same word still standing.
    harm(&mut world);
    let canary = world.status().canary.expect("it is held");
    assert!(canary.failure.is_some());
    assert!(
        world
            .said(STALLED)
            .contains("take windlass.dev/promote off, which was said before"),
        "{}",
        world.said(STALLED)
    );
}

#[test]
fn one_that_is_good_after_all_is_promoted() {
    let mut world = held();
    world
        .annotate(annotations::PROMOTE, "churn-2/2")
        .wait(10)
        .settle();
    world.traffic(3000, 0).wait(61).settle();
    world.all_ready().settle().all_ready().settle();
    assert_eq!(
        world.stable().as_deref(),
        Some("churn-2"),
        "{}",
        world.said(READY)
    );
    assert!(world.status().quarantine.is_empty());
}

#[test]
fn what_was_said_of_a_step_before_it_was_held_does_not_begin_it_anew() {
    let mut world = World::rolling(pausing(&json!({})));
    world.annotate(annotations::PROMOTE, "churn-2/1");
    world.all_ready().traffic(0, 0).reconcile();
    world.traffic(2000, 400).settle();
    let canary = world.status().canary.expect("it is held");
    assert!(canary.failure.is_some(), "{}", world.said(READY));
}

#[test]
fn pods_that_never_get_ready_are_held_too() {
    let mut world = World::rolling(pausing(&json!({})));
    world.pod("churn-2", |pod| waiting(pod, "ImagePullBackOff"));
    world.wait(301).settle();
    let canary = world.status().canary.expect("it is held");
    assert!(
        canary
            .failure
            .expect("why")
            .contains("spec.progressDeadlineSeconds")
    );
    assert_eq!(
        world.children().len(),
        2,
        "its pods are there to be looked at"
    );
    assert!(world.is(STALLED) && world.is(AVAILABLE));
}

#[test]
fn pods_that_took_the_place_of_others_give_it_back() {
    let mut world = World::serving(pausing(&json!({"surge": "Auto"})));
    world
        .lets_capacity_fall()
        .add(version(2, '2', Some("Pass")))
        .settle();
    let unscheduled = json!([{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no room"}]);
    world.pod("churn-2", |mut pod| {
        pod.status.get_or_insert_default().conditions = Some(object(unscheduled.clone()));
        pod
    });
    world.wait(11).settle();
    assert!(world.status().canary.expect("it rolls").in_place);
    world.observed.pods.clear();
    world
        .all_ready()
        .settle()
        .all_ready()
        .traffic(0, 0)
        .settle();
    world.traffic(2000, 400).settle();
    assert_eq!(
        world.children(),
        [("churn-v1".to_owned(), 3), ("churn-v2".to_owned(), 0)]
    );
    assert!(world.status().canary.expect("it is held").failure.is_some());
}

#[test]
fn another_version_another_plan_and_another_policy_end_it() {
    let mut world = held();
    world.add(version(3, '3', Some("Pass"))).settle();
    assert_eq!(world.canary().as_deref(), Some("churn-3"));
    let canary = world.status().canary.expect("it rolls");
    assert_eq!((canary.step, canary.failure), (0, None));

    let mut world = held();
    world
        .edit(|spec| spec.rollout.steps[0].weight = Some(20))
        .settle();
    let canary = world.status().canary.expect("it rolls");
    assert_eq!((canary.step, canary.failure), (0, None));

    let mut world = held();
    world
        .edit(|spec| spec.rollout.on_failure = OnFailure::Rollback)
        .settle();
    assert_eq!(world.canary(), None);
    assert_eq!(world.status().quarantine.len(), 1);
}
