//! What serves while the version that is to serve has no pod that answers.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::json;
use windlass_api::annotations;

use super::world::World;
use crate::fixtures::version;

fn names(world: &World) -> Vec<String> {
    let mut all: Vec<String> = world.children().into_iter().map(|(name, _)| name).collect();
    all.sort();
    all
}

/// Version 2 is tried by a Gateway, and has some of the traffic.
fn by_a_gateway() -> World {
    let mut world = World::new(json!({"rollout": {
        "steps": [{"weight": 10, "hold": "60s"}, {"weight": 50, "hold": "60s"}], "traffic": {"gatewayRef": {"name": "public"}},
    }}));
    world.observed.gateway.is_served = true;
    world
        .settle()
        .all_ready()
        .settle()
        .route_is_taken()
        .wait(10);
    world.settle().add(version(2, '2', Some("Pass"))).settle();
    world.all_ready().settle().route_is_taken().wait(6).settle();
    world.route_is_taken();
    assert_eq!(world.routed().len(), 2);
    world
}

#[test]
fn who_goes_back_to_a_version_whose_pods_are_lost_keeps_those_that_answer_until_it_does() {
    for mut world in [World::rolling(json!({})), by_a_gateway()] {
        world.lets_capacity_fall().all_ready().settle();
        world.ready(1, -3);
        world
            .edit(|spec| spec.version = IntOrString::Int(1))
            .settle();
        assert_eq!(world.canary(), None);
        assert_eq!(names(&world), ["churn-v1", "churn-v2"]);
        assert_ne!(world.pinned().as_deref(), Some("churn-1"));
        let sent: Vec<_> = world
            .routed()
            .into_iter()
            .filter(|(_, weight)| *weight > 0)
            .collect();
        assert!(
            sent.is_empty() || sent == [("churn-v2".to_owned(), 100)],
            "{sent:?}"
        );
        world.all_ready().settle().route_is_taken().wait(6).settle();
        assert_eq!(names(&world), ["churn-v1"]);
        let sent = world.routed();
        assert!(
            sent.is_empty() || sent == [("churn-v1".to_owned(), 100)],
            "{sent:?}"
        );
    }
}

#[test]
fn what_a_person_took_back_serves_in_nobodys_place() {
    let mut world = by_a_gateway();
    world
        .ready(1, -3)
        .annotate(annotations::ABORT, "churn-2")
        .settle();
    world.route_is_taken().wait(6).settle();
    assert_eq!(world.routed(), [("churn-v1".to_owned(), 100)]);
}
