//! A version is tried, and the record of the one that serves is deleted.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::json;
use windlass_api::annotations;
use windlass_api::condition::STALLED;

use super::world::World;
use crate::fixtures::version;

fn without_record(world: &mut World) -> &mut World {
    let all = &mut world.observed.versions;
    all.retain(|version| version.spec.version != 1);
    world.settle()
}

#[test]
fn a_preview_gets_no_traffic_by_that() {
    let rollout = json!({"strategy": "BlueGreen", "preview": {"hold": "60s"}});
    let mut world = World::rolling(json!({ "rollout": rollout }));
    world.all_ready().observed.versions.clear();
    world.settle();
    assert!(world.said(STALLED).contains("ServingRecordDeleted"));
    assert_eq!(world.pinned().as_deref(), Some("churn-1"));
    // Once nothing of it answers, what answers is better than nothing.
    world.lets_capacity_fall().ready(1, -3).settle();
    assert_eq!(world.pinned(), None);
}

#[test]
fn what_failed_gets_none_either_and_does_not_become_what_serves() {
    let rollout = json!({"steps": [{"weight": 50, "hold": "60s"}], "onFailure": "Pause"});
    let mut world = World::rolling(json!({ "rollout": rollout }));
    world.all_ready().settle().traffic(1500, 700).settle();
    assert!(world.status().canary.expect("it is held").failure.is_some());
    for asked in [2, 7] {
        let mut world = world.clone();
        world.edit(|spec| spec.version = IntOrString::Int(asked));
        without_record(&mut world);
        assert_eq!(world.pinned().as_deref(), Some("churn-1"), "{asked}");
        world.lets_capacity_fall().ready(1, -3).settle();
        assert_eq!(world.stable().as_deref(), Some("churn-1"), "{asked}");
    }
}

#[test]
fn harm_takes_it_back_all_the_same_and_so_does_a_person() {
    let steps = json!([{"weight": 50, "hold": "60s"}]);
    let by_a_gateway = json!({"steps": steps, "traffic": {"gatewayRef": {"name": "public"}}});
    for rollout in [json!({"steps": steps}), by_a_gateway] {
        for does_harm in [true, false] {
            let mut world = World::new(json!({ "rollout": rollout }));
            world.observed.gateway.is_served = true;
            world
                .settle()
                .all_ready()
                .settle()
                .route_is_taken()
                .wait(10);
            world.settle().add(version(2, '2', Some("Pass"))).settle();
            world.all_ready().settle().route_is_taken().wait(6).settle();
            without_record(&mut world);
            assert_eq!(world.children().len(), 2, "it gets no further");
            if does_harm {
                world.traffic(1500, 700).settle();
            } else {
                world.annotate(annotations::ABORT, "churn-2").settle();
            }
            assert_eq!(world.canary(), None);
            assert_eq!(world.status().quarantine.len(), 1);
            assert_eq!(world.children(), [("churn-v1".to_owned(), 3)]);
            let sent = world.routed();
            assert!(
                sent.is_empty() || sent == [("churn-v1".to_owned(), 100)],
                "{sent:?}"
            );
        }
    }
}

#[test]
fn what_is_tried_without_a_record_of_its_own_goes() {
    let mut world = World::rolling(json!({}));
    world.all_ready().settle().observed.versions.clear();
    world.settle();
    assert_eq!(world.canary(), None);
    assert_eq!(world.children(), [("churn-v1".to_owned(), 3)]);
    assert_eq!(world.stable().as_deref(), Some("churn-1"));
}
