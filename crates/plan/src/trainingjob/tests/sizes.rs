//! Attempts of fewer workers than are asked for: when, how many, and back.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::{Value, json};
use windlass_api::condition::{READY, STALLED};
use windlass_api::{agent, labels};

use super::world::{World, failure, trained};
use crate::fixtures::{at, object};
use crate::room::Room;
use crate::trainingjob::{RoomAge, Rooms};

/// Four workers of one GPU each, or two at least; patience of a minute.
fn elastic() -> Value {
    json!({
        "framework": "PyTorch", "checkpoint": {"uri": "pvc://models/checkpoints", "every": "1m", "keep": 3},
        "workers": {"replicas": 4, "minReplicas": 2, "shrinkAfter": "1m", "template": {"spec": {"containers": [
            {"name": "trainer", "image": "trainer:1", "command": ["train"], "resources": {"limits": {"nvidia.com/gpu": "1"}}}]}}}
    })
}

/// A node with so many GPUs that nobody holds.
fn room(gpus: u32) -> Rooms {
    let mut room = Room::default();
    room.add_node(object(json!({"metadata": {"name": "node"}, "status": {
        "conditions": [{"type": "Ready", "status": "True"}],
        "allocatable": {"pods": "110", "cpu": "64", "memory": "64Gi", "nvidia.com/gpu": gpus.to_string()}}})));
    Rooms::Known(Arc::new(room))
}

fn waiting(pod: Pod) -> Pod {
    let mut pod = pod;
    pod.status = Some(object(json!({"phase": "Pending", "conditions": [{
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "message": "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."}]})));
    pod
}

fn on_the_node(pod: Pod) -> Pod {
    let mut pod = pod;
    pod.spec.get_or_insert_default().node_name = Some("node".to_owned());
    pod.status = Some(object(json!({"phase": "Running"})));
    pod
}

/// The first attempt waits for its nodes, of which there is room for so many.
fn cramped(gpus: u32) -> World {
    let mut world = World::new(elastic());
    world.settle();
    world.every_pod(waiting).wait(5).settle();
    world.observed.room = room(gpus);
    world
}

fn sizes(world: &World) -> Vec<Option<i32>> {
    let attempts = world.status().attempts;
    attempts.iter().map(|attempt| attempt.workers).collect()
}

/// The pods of the newest attempt.
fn pods(world: &World) -> usize {
    let newest = world.status().attempt.map(|number| number.to_string());
    let pods = world.observed.pods.iter();
    pods.filter(|pod| pod.labels().get(labels::ATTEMPT) == newest.as_ref())
        .count()
}

/// The first worker says that it has a checkpoint, so many seconds old.
fn says(world: &mut World, checkpoint: Option<i64>) {
    let attempt = u32::try_from(world.status().attempt.unwrap_or(1)).expect("a number");
    world.observed.progress = Some(agent::Progress {
        attempt,
        step: Some(300),
        steps: Some(1000),
        seconds_left: Some(70),
        metrics: [("loss".to_owned(), 0.25)].into(),
        checkpoint: checkpoint
            .map(|age| (format!("{attempt}/000002-step-200"), at(world.now - age))),
        ..agent::Progress::default()
    });
}

#[test]
fn what_finds_no_room_in_its_time_is_followed_by_as_many_as_fit() {
    let mut world = cramped(3);
    assert_eq!(world.plan().again.map(|again| again.as_secs()), Some(55));
    world.wait(54).settle();
    assert_eq!(world.made(), 1, "it still has a second");
    world.wait(1).settle();
    let first = world.status().attempts[0].clone();
    assert_eq!(first.reason, "NoRoom");
    assert!(
        first
            .message
            .contains("the 4 workers of attempt 1 found no room for 60 s"),
        "{}",
        first.message
    );
    world.pods_go().settle();
    assert_eq!((world.made(), sizes(&world)), (2, vec![Some(4), Some(3)]));
    assert_eq!((world.status().failures, pods(&world)), (0, 3));
    // Before it, nothing but the room was lacking: it does not wait longer and longer.
    assert!(!world.said(READY).contains("BackingOff"));
}

#[test]
fn where_not_even_the_fewest_fit_the_gang_goes_on_waiting_and_looks_again() {
    for gpus in [0, 1] {
        let mut world = cramped(gpus);
        world.wait(600).settle();
        assert_eq!(
            (world.made(), world.status().attempt),
            (1, Some(1)),
            "{gpus}"
        );
        assert_eq!(world.plan().again.map(|again| again.as_secs()), Some(15));
        assert!(world.said(STALLED).starts_with("True Unschedulable"));
    }
    // The scheduler has another reason than room.
    let mut world = cramped(8);
    world.wait(600).settle();
    assert_eq!(world.made(), 1);
}

#[test]
fn a_gang_without_a_fewest_is_always_whole() {
    let mut spec = elastic();
    let workers = spec["workers"].as_object_mut().expect("workers");
    workers.remove("minReplicas");
    workers.remove("shrinkAfter");
    let mut world = World::new(spec);
    world.settle();
    world.every_pod(waiting).wait(5).settle();
    world.observed.room = room(3);
    world.wait(3600).settle();
    assert_eq!((world.made(), sizes(&world)), (1, vec![Some(4)]));
}

#[test]
fn a_gang_that_lost_a_node_goes_on_with_those_that_fit() {
    for (gpus, expected) in [(1, 2), (2, 2), (3, 3), (9, 4)] {
        let mut world = World::new(elastic());
        world.settle();
        world.observed.room = room(gpus);
        world.is_preempted(true).settle().pods_go().settle();
        assert_eq!(sizes(&world), [Some(4), Some(expected)], "{gpus} GPUs");
    }
    // What is being asked for is awaited, and what cannot be known changes nothing.
    let mut world = World::new(elastic());
    world.settle();
    world.observed.room = Rooms::Asked;
    world.is_preempted(true).settle().pods_go().settle();
    assert_eq!(world.made(), 1);
    world.observed.room = Rooms::Unknown;
    world.settle();
    assert_eq!(sizes(&world), [Some(4), Some(4)]);
}

/// An attempt of two workers that has run for a while.
fn small() -> World {
    let mut world = cramped(2);
    world.wait(60).settle().pods_go().settle();
    assert_eq!(sizes(&world), [Some(4), Some(2)]);
    world.every_pod(on_the_node).wait(300).settle();
    world
}

#[test]
fn it_grows_at_a_fresh_checkpoint_when_there_is_room_and_not_before() {
    let mut world = small();
    world.observed.room = room(4);
    world.settle();
    assert_eq!(world.made(), 2, "no checkpoint is known of");
    says(&mut world, Some(121));
    world.settle();
    assert_eq!(world.made(), 2, "it is too old");
    says(&mut world, Some(20));
    world.observed.room = room(0);
    world.settle();
    assert_eq!(world.made(), 2, "there is no room beside those that run");
    assert_eq!(world.plan().again.map(|again| again.as_secs()), Some(15));
    world.observed.room = room(1);
    world.settle();
    let grown = world.status().attempts[1].clone();
    assert_eq!(grown.reason, "Grown");
    assert!(
        grown
            .message
            .contains("there is room for 3 workers: attempt 2, with 2,"),
        "{}",
        grown.message
    );
    world.observed.room = room(3);
    world.pods_go().settle();
    assert_eq!(sizes(&world), [Some(4), Some(2), Some(3)]);
    assert_eq!((world.status().failures, pods(&world)), (0, 3));
    world.succeeds(&trained()).settle();
    assert!(world.is(windlass_api::condition::COMPLETE));
}

#[test]
fn a_try_to_grow_that_found_no_room_is_repeated_ever_later() {
    let mut world = small();
    for (round, pause) in [(1, 30), (2, 60), (3, 120)] {
        world.observed.room = room(4);
        says(&mut world, Some(0));
        world.settle().pods_go().settle();
        assert_eq!(sizes(&world).last(), Some(&Some(4)), "round {round}");
        // It was not so: another was faster.
        world.every_pod(waiting).wait(5).settle();
        world.observed.room = room(2);
        world.wait(60).settle().pods_go().settle();
        assert_eq!(sizes(&world).last(), Some(&Some(2)), "round {round}");
        world.every_pod(on_the_node);
        world.observed.room = room(4);
        let next = pause * 2;
        let made = world.made();
        world.wait(next - 1);
        says(&mut world, Some(0));
        world.settle();
        assert_eq!(world.made(), made, "round {round}: before {next} s");
        world.wait(1);
    }
}

#[test]
fn without_checkpoints_it_does_not_grow() {
    let mut spec = elastic();
    spec.as_object_mut().expect("a spec").remove("checkpoint");
    let mut world = World::new(spec);
    world.settle();
    world.every_pod(waiting).wait(5).settle();
    world.observed.room = room(2);
    world.wait(60).settle().pods_go().settle();
    world.every_pod(on_the_node).wait(3600);
    world.observed.room = room(8);
    says(&mut world, Some(0));
    world.settle();
    assert_eq!((world.made(), sizes(&world).last()), (2, Some(&Some(2))));
}

#[test]
fn a_failed_attempt_of_fewer_is_repeated_with_as_many_as_fit_then() {
    let mut world = small();
    world.observed.room = room(4);
    world.fails(1, &failure("TrainerFailed", Some(1))).settle();
    assert_eq!(sizes(&world).last(), Some(&Some(4)));
    assert_eq!(world.status().failures, 1);
}

#[test]
fn a_resumed_job_begins_whole() {
    let mut world = small();
    world.suspend(true).settle().pods_go().settle();
    world.observed.room = room(2);
    world.suspend(false).settle();
    assert_eq!(sizes(&world).last(), Some(&Some(4)));
}

#[test]
fn other_sizes_make_another_fingerprint() {
    let mut whole = World::new(elastic());
    whole.settle().succeeds(&trained()).settle();
    let mut small = small();
    small.succeeds(&trained()).settle();
    assert_ne!(small.status().fingerprint, whole.status().fingerprint);
}

#[test]
fn room_is_asked_for_only_where_it_is_of_use() {
    let seconds = |world: &World| match world.observed.wants_room()? {
        RoomAge::AtMost(age) => Some(age.as_secs()),
        RoomAge::AsOfNow => Some(0),
    };
    let mut world = World::new(elastic());
    assert_eq!(seconds(&world), None);
    world.settle();
    assert_eq!(seconds(&world), None, "it runs, whole");
    world.every_pod(waiting);
    assert_eq!(seconds(&world), Some(15));
    assert_eq!(seconds(&small()), Some(15));
    let mut ended = small();
    ended.is_preempted(true).reconcile();
    assert_eq!(seconds(&ended), Some(0));
    let mut rigid = World::new(json!({}));
    rigid.settle();
    rigid.every_pod(waiting);
    assert_eq!(seconds(&rigid), Some(60), "for what is said of it");
    rigid.suspend(true);
    assert_eq!(seconds(&rigid), None);
}

#[test]
fn what_is_free_is_told_and_what_no_node_has() {
    let mut rigid = World::new({
        let mut spec = elastic();
        spec["workers"]
            .as_object_mut()
            .expect("workers")
            .remove("minReplicas");
        spec["workers"]
            .as_object_mut()
            .expect("workers")
            .remove("shrinkAfter");
        spec
    });
    rigid.settle();
    rigid.every_pod(waiting).wait(5);
    rigid.observed.room = room(3);
    rigid.settle();
    assert!(
        rigid.said(READY).contains(
            "4 of 4 workers find no node, nvidia.com/gpu: 4 asked, 3 free; the scheduler says"
        ),
        "{}",
        rigid.said(READY)
    );
    rigid.observed.room = Rooms::Known(Arc::new(Room::default()));
    rigid.wait(61).settle();
    assert!(
        rigid
            .said(READY)
            .contains("nvidia.com/gpu: 4 asked, and no node that they may be on has any"),
        "{}",
        rigid.said(READY)
    );
}

#[test]
fn progress_is_written_down_at_most_once_a_minute_and_is_of_its_attempt() {
    let mut world = World::new(json!({}));
    world.settle();
    let written = world.writes;
    world.wait(10);
    says(&mut world, None);
    world.settle();
    let progress = world.status().progress.expect("it was asked");
    assert_eq!(
        (progress.step, progress.steps, progress.seconds_left),
        (Some(300), Some(1000), Some(70))
    );
    assert_eq!(progress.metrics["loss"].to_string(), "0.25");
    assert_eq!((progress.observed, world.writes), (at(10), written + 1));
    world.observed.progress.as_mut().expect("it is there").step = Some(310);
    world.wait(30).settle();
    assert_eq!(world.writes, written + 1, "not yet a minute");
    world.wait(30).settle();
    assert_eq!(
        world.status().progress.and_then(|progress| progress.step),
        Some(310)
    );
    world.wait(600).settle();
    assert_eq!(world.writes, written + 2, "nothing new");
    // The next attempt has not said anything yet.
    world.fails(1, &failure("TrainerFailed", Some(1))).settle();
    assert_eq!(
        (world.status().attempt, world.status().progress),
        (Some(2), None)
    );
    // A trainer that says nothing is no news.
    world.observed.progress = Some(agent::Progress {
        attempt: 2,
        ..agent::Progress::default()
    });
    world.settle();
    assert_eq!(world.status().progress, None);
}

#[test]
fn what_an_attempt_went_on_from_is_known_though_its_pods_vanish() {
    let mut world = World::new(elastic());
    world.settle();
    let resumed = agent::Resumed {
        from: Some("000001/000002-step-200".to_owned()),
        ..agent::Resumed::default()
    };
    world.observed.progress = Some(agent::Progress {
        attempt: 1,
        resumed: Some(resumed),
        ..agent::Progress::default()
    });
    world.settle();
    let running = world.status().attempts[0].clone();
    assert_eq!(
        running.resumed_from.as_deref(),
        Some("000001/000002-step-200")
    );
    world.is_preempted(true).settle();
    let ended = world.status().attempts[0].clone();
    assert!(ended.ended.is_some());
    assert_eq!(ended.resumed_from, running.resumed_from);
    assert_eq!(world.status().progress, None);
}
