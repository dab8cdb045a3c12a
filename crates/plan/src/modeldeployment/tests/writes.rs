//! How often a status is written: for what somebody waits for, and not for each pod that comes or goes.

use serde_json::json;
use windlass_api::condition::READY;

use super::world::World;
use crate::fixtures::version;

/// Two pods serve, and a version is tried in two steps, of one pod and of two.
fn tried() -> World {
    let mut world = World::serving(json!({"replicas": 2, "rollout": {
        "steps": [{"weight": 20, "hold": "20s"}, {"weight": 50, "hold": "20s"}], "minRequests": 10,
    }}));
    world.add(version(2, '2', Some("Pass")));
    world
}

#[test]
fn a_roll_out_of_two_steps_takes_five_statuses_and_three_changes_of_deployments() {
    let mut world = tried();
    let before = world.writes;
    for second in 0..120 {
        world.reconcile();
        if second % 3 == 0 {
            world.sync();
        }
        if second % 3 == 2 {
            world.all_ready();
        }
        world.traffic_of(60, [0, 0]).wait(1);
    }
    assert_eq!(
        world.stable().as_deref(),
        Some("churn-2"),
        "{}",
        world.said(READY)
    );
    assert_eq!(world.children().len(), 1);
    assert_eq!(world.writes - before, 8);
    let status = world.status();
    assert_eq!((status.replicas, status.ready_replicas), (2, 2));
}

#[test]
fn pods_that_get_ready_one_by_one_are_one_write() {
    let mut world = World::serving(json!({"replicas": 5, "rollout": {
        "steps": [{"weight": 50, "hold": "20s"}], "minRequests": 10,
    }}));
    world.add(version(2, '2', Some("Pass"))).reconcile();
    world.sync();
    let writes = world.writes;
    for _ in 0..4 {
        world.ready(2, 1).wait(1).settle();
        assert_eq!(world.writes, writes, "{}", world.said(READY));
    }
    world.ready(2, 1).wait(1).settle();
    assert_eq!(world.writes, writes + 1);
    assert!(
        world.said(READY).contains("50% of the traffic"),
        "{}",
        world.said(READY)
    );
}

#[test]
fn pods_that_are_coming_are_counted_with_what_is_written_next_or_after_a_while() {
    let mut world = tried();
    world.reconcile();
    world.sync();
    let (writes, counted) = (world.writes, |world: &World| world.status().replicas);
    world.wait(29).settle();
    assert_eq!(
        (world.writes, counted(&world)),
        (writes, 2),
        "alone they are no news yet"
    );
    world.wait(1).settle();
    assert_eq!(
        (world.writes, counted(&world)),
        (writes + 1, 3),
        "they do not come at once"
    );
    let mut world = tried();
    world.reconcile();
    world.sync().all_ready().wait(1).settle();
    assert_eq!(counted(&world), 3, "the step has begun");
}
