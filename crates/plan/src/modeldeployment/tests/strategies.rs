//! How traffic moves by each strategy, and what people say of it.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::json;
use windlass_api::condition::{AVAILABLE, READY, STALLED};
use windlass_api::{Action, RolloutOutcome, Surge, TrafficBy, annotations};
use windlass_statistics::proportion::Proportion;
use windlass_statistics::sequential::Share;

use super::world::World;
use crate::fixtures::{object, version};
use crate::modeldeployment::bake;

fn sizes(world: &World) -> Vec<(String, i32)> {
    let mut all = world.children();
    all.sort();
    all
}

fn named(children: &[(&str, i32)]) -> Vec<(String, i32)> {
    let own = |(name, replicas): &(&str, i32)| ((*name).to_owned(), *replicas);
    children.iter().map(own).collect()
}

/// Traffic by a Gateway that the cluster has.
fn behind_a_gateway(more: &serde_json::Value) -> World {
    let mut rollout = json!({
        "steps": [{"weight": 10, "hold": "60s"}, {"weight": 50, "hold": "60s"}],
        "traffic": {"gatewayRef": {"name": "public"}, "hostnames": ["churn.example"], "canaryWhen": [{"header": {"name": "x-preview", "value": "yes"}}]},
    });
    for (key, value) in more.as_object().expect("an object") {
        rollout[key] = value.clone();
    }
    let mut world = World::new(json!({ "rollout": rollout }));
    world.observed.gateway.is_served = true;
    world
        .settle()
        .all_ready()
        .settle()
        .route_is_taken()
        .wait(10)
        .settle();
    assert_eq!(
        world.stable().as_deref(),
        Some("churn-1"),
        "{}",
        world.said(READY)
    );
    world
}

/// The canary's pods are ready, and the Gateway knows them.
fn known(world: &mut World) -> &mut World {
    world.all_ready().settle().route_is_taken().wait(6).settle();
    world.route_is_taken().settle().route_is_taken()
}

#[test]
fn a_gateway_divides_the_traffic_by_weight_and_pods_go_once_it_sends_them_nothing() {
    let mut world = behind_a_gateway(&json!({}));
    assert_eq!(world.routed(), named_weights(&[("churn-v1", 100)]));
    assert_eq!(
        world.pinned().as_deref(),
        Some("churn-1"),
        "clients in the cluster get what serves"
    );
    world.add(version(2, '2', Some("Pass"))).settle();
    assert_eq!(sizes(&world), named(&[("churn-v1", 3), ("churn-v2", 1)]));
    assert_eq!(
        world.routed(),
        named_weights(&[("churn-v1", 100)]),
        "no pod answers yet"
    );
    world.all_ready().settle();
    assert_eq!(
        world.routed(),
        named_weights(&[("churn-v1", 100), ("churn-v2", 0)]),
        "the Gateway gets to know it first"
    );
    world.route_is_taken().settle();
    assert!(
        world
            .said(READY)
            .contains("waiting until the Gateway knows"),
        "{}",
        world.said(READY)
    );
    world.wait(6).settle();
    assert_eq!(
        world.routed(),
        named_weights(&[("churn-v1", 90), ("churn-v2", 10)])
    );
    assert_eq!(world.selected("churn-v2").as_deref(), Some("churn-2"));
    // No step passes before the Gateway has taken the route.
    world.traffic(1500, 0).wait(61).settle();
    assert_eq!(world.status().canary.map(|canary| canary.step), Some(0));
    assert!(
        world.said(READY).contains("has not taken the route yet"),
        "{}",
        world.said(READY)
    );
    world.route_is_taken().settle();
    assert_eq!(
        sizes(&world),
        named(&[("churn-v1", 3), ("churn-v2", 2)]),
        "half of the load, half of the pods"
    );
    world.all_ready().settle().route_is_taken();
    assert_eq!(
        world.routed(),
        named_weights(&[("churn-v1", 50), ("churn-v2", 50)])
    );
    world.traffic(1500, 0).wait(61).settle();
    world.all_ready().settle();
    assert_eq!(
        world.stable().as_deref(),
        Some("churn-2"),
        "{}",
        world.said(READY)
    );
    assert_eq!(world.routed(), named_weights(&[("churn-v2", 100)]));
    assert_eq!(
        sizes(&world),
        named(&[("churn-v1", 3), ("churn-v2", 3)]),
        "the route may still be the old one"
    );
    world.route_is_taken().settle();
    assert_eq!(sizes(&world).len(), 2, "Gateways say so a little early");
    world.wait(6).settle();
    assert_eq!(sizes(&world), named(&[("churn-v2", 3)]));
    assert_eq!(world.selected("churn-v1"), None, "its Service goes with it");
    let traffic = world.status().traffic.expect("it is told");
    assert_eq!(
        (traffic.by, traffic.weights.get("churn-2")),
        (TrafficBy::Gateway, Some(&100))
    );
}

fn named_weights(all: &[(&str, i64)]) -> Vec<(String, i64)> {
    let own = |(name, weight): &(&str, i64)| ((*name).to_owned(), *weight);
    all.iter().map(own).collect()
}

#[test]
fn harm_behind_a_gateway_takes_the_traffic_away_before_the_pods() {
    let mut world = behind_a_gateway(&json!({}));
    world.add(version(2, '2', Some("Pass"))).settle();
    known(&mut world);
    world.traffic(500, 250).settle();
    assert_eq!(world.canary(), None);
    assert_eq!(world.routed(), named_weights(&[("churn-v1", 100)]));
    assert_eq!(sizes(&world).len(), 2);
    world.route_is_taken().wait(6).settle();
    assert_eq!(sizes(&world), named(&[("churn-v1", 3)]));
}

#[test]
fn a_canary_without_a_pod_that_answers_gets_no_traffic() {
    let mut world = behind_a_gateway(&json!({}));
    world.add(version(2, '2', Some("Pass"))).settle();
    known(&mut world);
    assert_eq!(world.routed().len(), 2);
    world.ready(2, -1).settle();
    assert_eq!(world.routed(), named_weights(&[("churn-v1", 100)]));
    world.all_ready().settle();
    assert_eq!(
        world.routed(),
        named_weights(&[("churn-v1", 100), ("churn-v2", 0)]),
        "as if it were new"
    );
    known(&mut world);
    assert_eq!(
        world.routed(),
        named_weights(&[("churn-v1", 90), ("churn-v2", 10)])
    );
}

#[test]
fn a_route_that_is_refused_is_told_and_nothing_rolls_on_it() {
    let mut world = behind_a_gateway(&json!({}));
    world.add(version(2, '2', Some("Pass"))).settle();
    known(&mut world);
    world
        .gateway_says("Accepted", "False")
        .traffic(1500, 0)
        .wait(61)
        .settle();
    assert!(
        world
            .said(STALLED)
            .starts_with("True RouteRefused: spec.rollout.traffic.gatewayRef"),
        "{}",
        world.said(STALLED)
    );
    assert!(world.is(AVAILABLE));
    assert_eq!(world.status().canary.map(|canary| canary.step), Some(0));
    world.route_is_taken().settle();
    assert_eq!(world.status().canary.map(|canary| canary.step), Some(1));
}

#[test]
fn without_the_gateway_api_what_serves_serves_on() {
    let mut world = World::serving(json!({}));
    world
        .edit(|spec| spec.rollout.traffic = Some(object(json!({"gatewayRef": {"name": "public"}}))))
        .add(version(2, '2', Some("Pass")))
        .settle();
    assert!(
        world.said(STALLED).starts_with("True GatewayApiNotServed"),
        "{}",
        world.said(STALLED)
    );
    assert_eq!(sizes(&world), named(&[("churn-v1", 3)]));
    assert!(world.is(AVAILABLE));
}

fn preview(strategy: &str, more: &serde_json::Value) -> World {
    let mut rollout = json!({"strategy": strategy});
    for (key, value) in more.as_object().expect("an object") {
        rollout[key] = value.clone();
    }
    World::serving(json!({ "rollout": rollout }))
}

#[test]
fn blue_and_green_change_at_once_and_the_old_one_stays_warm_for_a_while() {
    let mut world = preview("BlueGreen", &json!({"preview": {"hold": "60s"}}));
    assert_eq!(world.pinned().as_deref(), Some("churn-1"));
    world.add(version(2, '2', Some("Pass"))).settle();
    assert_eq!(sizes(&world), named(&[("churn-v1", 3), ("churn-v2", 3)]));
    assert_eq!(world.selected("churn-preview").as_deref(), Some("churn-2"));
    world.all_ready().settle().wait(59).settle();
    assert_eq!(
        world.pinned().as_deref(),
        Some("churn-1"),
        "its preview lasts"
    );
    world.wait(2).settle();
    assert_eq!(
        (world.stable().as_deref(), world.pinned().as_deref()),
        (Some("churn-2"), Some("churn-2"))
    );
    assert_eq!(sizes(&world), named(&[("churn-v1", 3), ("churn-v2", 3)]));
    assert_eq!(world.selected("churn-preview"), None);
    assert!(
        world.said(READY).contains("churn-1 is kept until"),
        "{}",
        world.said(READY)
    );
    world.wait(31).settle();
    assert_eq!(sizes(&world), named(&[("churn-v2", 3)]));
    let writes = world.writes;
    world.wait(1000).settle();
    assert_eq!(writes, world.writes);
}

#[test]
fn a_shadow_is_judged_by_copies_of_the_requests_and_has_no_traffic() {
    let agree = json!({"analysis": [{"metric": "ErrorRate", "notWorseThan": "0.01"}, {"metric": "Agreement", "min": "0.9"}]});
    let mut world = preview("Shadow", &agree);
    world
        .add(version(2, '2', Some("Pass")))
        .settle()
        .all_ready()
        .settle();
    assert_eq!(world.pinned().as_deref(), Some("churn-1"));
    world.traffic(1500, 0).settle();
    assert!(
        world
            .said(READY)
            .contains("no answers of both to compare yet"),
        "{}",
        world.said(READY)
    );
    world.agreement(1000, 990).settle();
    assert_eq!(
        world.stable().as_deref(),
        Some("churn-2"),
        "{}",
        world.said(READY)
    );

    let mut world = preview(
        "Shadow",
        &json!({"analysis": [{"metric": "Agreement", "min": "0.9"}]}),
    );
    world
        .add(version(2, '2', Some("Pass")))
        .settle()
        .all_ready()
        .settle();
    world.traffic(1500, 0).agreement(1000, 500).settle();
    assert_eq!(
        (world.stable().as_deref(), world.canary()),
        (Some("churn-1"), None)
    );
    let record = world.status().last_rollout.expect("a record");
    assert!(
        record.message.contains("500/1000 rows answered alike"),
        "{record:?}"
    );
}

#[test]
fn recreate_takes_the_old_pods_away_first_and_brings_them_back_where_the_new_ones_do_not_come() {
    for comes in [true, false] {
        let mut world = preview("Recreate", &json!({}));
        world
            .lets_capacity_fall()
            .add(version(2, '2', Some("Pass")));
        world.reconcile();
        assert_eq!(
            sizes(&world),
            named(&[("churn-v1", 0)]),
            "the new one waits until they are gone"
        );
        world.settle();
        assert_eq!(sizes(&world), named(&[("churn-v1", 0), ("churn-v2", 3)]));
        assert!(!world.is(AVAILABLE));
        if comes {
            world.all_ready().settle();
            assert_eq!(
                world.stable().as_deref(),
                Some("churn-2"),
                "{}",
                world.said(READY)
            );
            assert_eq!(sizes(&world), named(&[("churn-v2", 3)]));
        } else {
            world.wait(301).settle().all_ready().settle();
            assert_eq!(
                (world.stable().as_deref(), world.canary()),
                (Some("churn-1"), None)
            );
            assert_eq!(sizes(&world), named(&[("churn-v1", 3)]));
        }
        assert!(world.is(AVAILABLE));
    }
}

#[test]
fn where_there_is_no_room_for_both_pods_change_places_one_by_one_if_that_is_allowed() {
    let unschedulable = json!([{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes: insufficient nvidia.com/gpu"}]);
    for surge in ["Always", "Auto"] {
        let rollout = json!({"surge": surge, "steps": [{"weight": 50, "hold": "60s"}]});
        let mut world = World::rolling(json!({ "rollout": rollout }));
        world.lets_capacity_fall().pod("churn-2", |mut pod| {
            let status = pod.status.get_or_insert_default();
            status.conditions = Some(object(unschedulable.clone()));
            pod
        });
        world.wait(11).settle();
        let in_place = world.status().canary.is_some_and(|canary| canary.in_place);
        assert_eq!(in_place, surge == "Auto");
        if surge == "Always" {
            assert_eq!(sizes(&world), named(&[("churn-v1", 3), ("churn-v2", 3)]));
            continue;
        }
        assert_eq!(
            sizes(&world)[0],
            ("churn-v1".to_owned(), 2),
            "one makes room for one"
        );
        world.ready(2, 1).settle();
        assert_eq!(sizes(&world)[0], ("churn-v1".to_owned(), 1));
        assert!(
            world.said(READY).contains("there is no room for both"),
            "{}",
            world.said(READY)
        );
        world.ready(2, 2).settle();
        world.traffic(1500, 0).wait(61).settle();
        world.ready(2, 3).settle();
        assert_eq!(
            world.stable().as_deref(),
            Some("churn-2"),
            "{}",
            world.said(READY)
        );
        assert_eq!(sizes(&world), named(&[("churn-v2", 3)]));
    }
}

#[test]
fn a_pause_waits_for_a_person_and_says_how() {
    let rollout = json!({"steps": [{"weight": 10, "hold": "10s"}, {"pause": true}, {"weight": 50, "hold": "10s"}]});
    let mut world = World::rolling(json!({ "rollout": rollout }));
    world.annotate(annotations::BY, "alice");
    world.step_passes().traffic(1500, 0).wait(1000).settle();
    let canary = world.status().canary.expect("a canary");
    assert_eq!((canary.step, canary.weight), (1, 10), "the weight stays");
    let said = world.said(READY);
    assert!(said.contains("kubectl annotate --overwrite modeldeployment churn windlass.dev/promote=churn-2/2 windlass.dev/by=YOUR-USER-NAME"), "{said}");
    // Another step, or another version, is not meant.
    for other in ["churn-2/1", "churn-3/2", ""] {
        world.annotate(annotations::PROMOTE, other).settle();
        assert_eq!(
            world.status().canary.map(|canary| canary.step),
            Some(1),
            "{other}"
        );
    }
    world.annotate(annotations::PROMOTE, "churn-2/2").settle();
    let canary = world.status().canary.expect("a canary");
    assert_eq!(canary.step, 2);
    world.step_passes().all_ready().settle();
    assert_eq!(world.stable().as_deref(), Some("churn-2"));
}

#[test]
fn a_person_may_let_a_model_pass_that_has_too_few_requests_to_be_judged() {
    let mut world = World::rolling(json!({"rollout": {"steps": [{"weight": 50, "hold": "60s"}]}}));
    world
        .all_ready()
        .settle()
        .traffic(20, 0)
        .wait(100_000)
        .settle();
    assert_eq!(world.status().canary.map(|canary| canary.step), Some(0));
    world
        .annotate(annotations::BY, "alice")
        .annotate(annotations::PROMOTE, "churn-2/1");
    world.settle().all_ready().settle();
    assert_eq!(
        world.stable().as_deref(),
        Some("churn-2"),
        "{}",
        world.said(READY)
    );
    let record = world.status().last_rollout.expect("a record");
    assert!(
        record
            .message
            .starts_with("alice let it pass; the canary has answered 20 of 100"),
        "{record:?}"
    );
}

#[test]
fn a_person_may_take_a_canary_back_and_what_was_said_before_says_nothing() {
    let mut world = World::serving(json!({}));
    world
        .annotate(annotations::BY, "bob")
        .annotate(annotations::ABORT, "churn-2");
    world
        .add(version(2, '2', Some("Pass")))
        .settle()
        .all_ready()
        .settle();
    assert_eq!(
        world.canary().as_deref(),
        Some("churn-2"),
        "it was said of another roll-out"
    );
    world.annotate(annotations::ABORT, "").settle();
    world.annotate(annotations::ABORT, "churn-2").settle();
    assert_eq!(
        world.canary(),
        None,
        "taken off and put on again it is said of this one"
    );
    let mut world = World::rolling(json!({}));
    world
        .annotate(annotations::BY, "bob")
        .annotate(annotations::ABORT, "churn-2")
        .settle();
    assert_eq!(world.canary(), None);
    let record = world.status().last_rollout.expect("a record");
    assert_eq!(record.outcome, RolloutOutcome::RolledBack);
    assert!(record.message.starts_with("bob took it back"), "{record:?}");
}

#[test]
fn what_is_in_quarantine_is_tried_again_only_by_force_and_each_time_anew() {
    let mut world = World::rolling(json!({}));
    world.traffic(500, 250).settle();
    world
        .edit(|spec| spec.version = IntOrString::Int(2))
        .settle();
    let said = world.said(STALLED);
    assert!(said.contains("windlass.dev/force=churn-2/1"), "{said}");
    world.annotate(annotations::FORCE, "churn-2/2").settle();
    assert_eq!(world.canary(), None);
    world
        .wait(5)
        .annotate(annotations::BY, "carol")
        .annotate(annotations::FORCE, "churn-2/1")
        .settle();
    assert_eq!(world.canary().as_deref(), Some("churn-2"));
    let event = world.status().history.last().cloned().expect("an event");
    assert_eq!(event.action, Action::CanaryStarted);
    assert!(event.reason.contains("as carol wants"), "{event:?}");
    world.traffic(500, 250).settle();
    assert_eq!(world.canary(), None, "once is not for ever");
    let said = world.said(STALLED);
    assert!(said.contains("windlass.dev/force=churn-2/2"), "{said}");
}

/// Version 2 was promoted and bakes.
fn baking() -> World {
    let rollout = json!({"steps": [{"weight": 50, "hold": "60s"}], "bake": "10m"});
    let mut world = World::rolling(json!({ "rollout": rollout }));
    world.step_passes().all_ready().settle();
    assert_eq!(
        world.stable().as_deref(),
        Some("churn-2"),
        "{}",
        world.said(READY)
    );
    world
}

#[test]
fn the_version_before_is_kept_while_the_new_one_bakes_and_gets_no_traffic() {
    let mut world = baking();
    assert_eq!(sizes(&world), named(&[("churn-v1", 3), ("churn-v2", 3)]));
    assert_eq!(world.pinned().as_deref(), Some("churn-2"));
    world.wait(601).settle();
    assert_eq!(sizes(&world), named(&[("churn-v2", 3)]));
    assert_eq!(world.pinned(), None, "there is only one left");
    assert_eq!(world.status().bake, None);
}

fn errors_of(world: &mut World, errors: u64, requests: u64) {
    let mut share = bake(&world.status()).expect("errors are judged");
    for _ in 0..10 {
        share.take(Proportion {
            successes: errors / 10,
            trials: requests / 10,
        });
    }
    world.observed.bake = Some(share);
}

#[test]
fn errors_after_the_promotion_give_the_traffic_back_at_once() {
    let mut world = baking();
    errors_of(&mut world, 0, 500);
    world.wait(10).settle();
    assert_eq!(world.stable().as_deref(), Some("churn-2"));
    errors_of(&mut world, 50, 500);
    world.wait(10).settle();
    world.observed.bake = None;
    world.settle();
    assert_eq!(
        (world.stable().as_deref(), world.status().bake),
        (Some("churn-1"), None)
    );
    assert_eq!(sizes(&world), named(&[("churn-v1", 3)]));
    assert!(
        world
            .said(READY)
            .starts_with("True RolledBack: churn-2 was rolled back: errors 50/500"),
        "{}",
        world.said(READY)
    );
    let reason = world
        .status()
        .quarantine
        .last()
        .map(|entry| entry.version.clone());
    assert_eq!(reason.as_deref(), Some("churn-2"));
    world.add(version(3, '2', Some("Pass"))).settle();
    assert_eq!(
        world.canary(),
        None,
        "nor is another of its fingerprint tried"
    );
}

#[test]
fn drift_after_the_promotion_gives_the_traffic_back_and_older_drift_does_not() {
    let monitor = |start: &str, version: &str| {
        object(json!({
            "apiVersion": "windlass.dev/v1alpha1", "kind": "DriftMonitor",
            "metadata": {"name": "watch", "namespace": "growth"},
            "spec": {"deployment": "churn", "window": {"every": "1h", "size": "1h"}},
            "status": {
                "conditions": [{"type": "Drifted", "status": "True", "reason": "Drifted", "message": "so it is", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
                "windows": [{"start": start, "end": "2027-01-01T00:00:00Z", "version": version, "verdict": "Drifted", "rows": 900, "message": "age lies 0.4 higher"}],
            },
        }))
    };
    for (start, of, expected) in [
        ("2026-12-01T00:00:00Z", "churn-2", "churn-1"),
        ("2025-01-01T00:00:00Z", "churn-2", "churn-2"),
        ("2026-12-01T00:00:00Z", "churn-1", "churn-2"),
        // The very second of the promotion, which is told more finely.
        ("2026-11-15T00:00:00Z", "churn-2", "churn-1"),
        ("2026-11-14T23:59:59Z", "churn-2", "churn-2"),
    ] {
        let mut world = baking();
        let status = &mut Arc::make_mut(&mut world.observed.deployment).status;
        let bake = status.as_mut().and_then(|status| status.bake.as_mut());
        bake.expect("it bakes").since = "2026-11-15T00:00:00.7Z".parse().expect("a time");
        world.observed.monitors = vec![Arc::new(monitor(start, of))];
        world.settle();
        assert_eq!(world.stable().as_deref(), Some(expected), "{start} {of}");
    }
}

#[test]
fn a_version_that_does_harm_after_its_promotion_stays_where_nothing_is_left_to_go_back_to() {
    let mut world = baking();
    world.ready(1, -3);
    world.observed.bake = Some(Share::resumed(
        0.01,
        Proportion {
            successes: 90,
            trials: 100,
        },
        [50.0, 0.0],
    ));
    world.settle();
    assert_eq!(world.stable().as_deref(), Some("churn-2"));
}

#[test]
fn an_autoscaler_that_asks_for_more_pods_loses_none() {
    let rollout = json!({"steps": [{"weight": 50, "hold": "600s"}]});
    let mut world = World::rolling(json!({ "rollout": rollout }));
    world.all_ready().settle();
    let began = world.status().canary.and_then(|canary| canary.step_started);
    for replicas in 4..10 {
        world.edit(|spec| spec.replicas = replicas).wait(5).settle();
        let said = world.said(READY);
        assert!(said.contains("the step lasts until"), "{said}");
        world.all_ready().settle();
    }
    let canary = world.status().canary.expect("it is not taken back");
    assert_eq!((canary.interruptions, canary.step_started), (0, began));
    // For more there is no room: the step goes on with those that there are, and only who takes all has to have all.
    world.edit(|spec| spec.replicas = 20).wait(600);
    world.traffic(1000, 0).settle();
    let canary = world.status().canary.expect("it waits");
    assert_eq!(canary.step, 1);
    let said = world.said(READY);
    assert!(said.contains("has passed all steps"), "{said}");
    world.all_ready().settle();
    assert_eq!(world.stable().as_deref(), Some("churn-2"));
}

#[test]
fn another_strategy_in_mid_roll_out_begins_anew_and_keeps_what_serves() {
    let steps = json!([{"weight": 10, "hold": "60s"}, {"weight": 50, "hold": "60s"}]);
    let mut world = World::rolling(json!({"rollout": {"steps": steps, "surge": "Auto"}}));
    world.step_passes().all_ready().settle();
    assert_eq!(world.status().canary.map(|canary| canary.step), Some(1));
    let preview = json!({"strategy": "BlueGreen", "preview": {"hold": "600s", "pause": true}});
    world
        .edit(|spec| spec.rollout = object(preview))
        .settle()
        .all_ready()
        .settle();
    assert_eq!(
        world.stable().as_deref(),
        Some("churn-1"),
        "its preview has only begun"
    );
    assert_eq!(world.pinned().as_deref(), Some("churn-1"));
    assert_eq!(world.status().canary.map(|canary| canary.weight), Some(0));
    // And back: the pods of the preview get no more of the traffic than a first step.
    world
        .edit(|spec| spec.rollout = object(json!({"steps": steps})))
        .settle();
    assert_eq!(sizes(&world), named(&[("churn-v1", 3), ("churn-v2", 1)]));
    world.all_ready().settle();
    assert_eq!(world.status().canary.map(|canary| canary.weight), Some(10));
}

#[test]
fn pods_that_change_places_do_so_only_while_that_is_allowed() {
    let mut world = World::rolling(
        json!({"rollout": {"surge": "Auto", "steps": [{"weight": 50, "hold": "60s"}]}}),
    );
    let deployment = Arc::make_mut(&mut world.observed.deployment);
    let canary = deployment
        .status
        .as_mut()
        .and_then(|status| status.canary.as_mut());
    canary.expect("a canary").in_place = true;
    world
        .edit(|spec| spec.rollout.surge = Surge::Always)
        .settle();
    assert_eq!(sizes(&world)[0], ("churn-v1".to_owned(), 3));
}

#[test]
fn a_record_of_the_same_name_with_other_files_is_another_version() {
    let mut world = World::serving(json!({}));
    let digest = "sha256:0000000000000000000000000000000000000000000000000000000000000009";
    Arc::make_mut(&mut world.observed.versions[0])
        .spec
        .artifact
        .digest = Some(digest.to_owned());
    Arc::make_mut(&mut world.observed.versions[0]).status = None;
    let before = world.observed.children.clone();
    world.settle();
    assert!(
        world.said(STALLED).starts_with("True ServingRecordDeleted"),
        "{}",
        world.said(STALLED)
    );
    assert_eq!(
        world.observed.children, before,
        "what serves is left as it is"
    );
}

#[test]
fn the_host_name_of_another_stays_another_s() {
    let mut world = behind_a_gateway(&json!({}));
    let mut older = (*world.observed.deployment).clone();
    older.metadata.name = Some("older".to_owned());
    older.metadata.uid = Some("older".to_owned());
    older.metadata.creation_timestamp = Some(object(json!("2020-01-01T00:00:00Z")));
    if let Some(routing) = &mut older.spec.rollout.traffic {
        routing.hostnames = vec!["older.example".to_owned()];
    }
    let younger = Arc::make_mut(&mut world.observed.deployment);
    younger.metadata.creation_timestamp = Some(object(json!("2021-01-01T00:00:00Z")));
    world.observed.gateway.others = vec![Arc::new(older)];
    let before = world.observed.gateway.route.clone();
    world
        .edit(|spec| {
            let routing = spec.rollout.traffic.as_mut().expect("a routing");
            routing.hostnames = vec!["older.example".to_owned()];
        })
        .settle();
    assert!(
        world.said(STALLED).starts_with("True HostnameTaken"),
        "{}",
        world.said(STALLED)
    );
    assert_eq!(world.observed.gateway.route, before);
}

#[test]
fn a_version_that_bakes_is_held_against_what_the_one_before_really_had() {
    let mut world = preview(
        "BlueGreen",
        &json!({"preview": {"hold": "60s"}, "bake": "10m"}),
    );
    world
        .add(version(2, '2', Some("Pass")))
        .settle()
        .all_ready()
        .settle();
    // In its preview the new one has no requests, and the old one fails three times in a hundred.
    let nothing = crate::modeldeployment::Traffic::default();
    world.served_alone(2000, 60, &nothing);
    world.wait(61).settle();
    assert_eq!(world.stable().as_deref(), Some("churn-2"));
    let limit = world
        .status()
        .bake
        .and_then(|bake| bake.limit)
        .expect("a limit");
    let limit = limit.value().expect("a number");
    assert!((0.04..0.06).contains(&limit), "{limit}");
    // Of one of which nothing is known nothing is said.
    let mut world = preview("BlueGreen", &json!({"bake": "10m"}));
    world
        .add(version(2, '2', Some("Pass")))
        .settle()
        .all_ready()
        .settle();
    assert_eq!(world.status().bake.map(|bake| bake.limit), Some(None));
}

#[test]
fn a_canary_is_not_promoted_because_the_record_of_what_serves_is_gone() {
    let mut world = preview("BlueGreen", &json!({"preview": {"pause": true}}));
    world
        .add(version(2, '2', Some("Pass")))
        .settle()
        .all_ready()
        .settle();
    let record = world.observed.versions.remove(0);
    world.settle();
    assert_eq!(world.stable().as_deref(), Some("churn-1"));
    assert!(
        world.said(STALLED).starts_with("True ServingRecordDeleted"),
        "{}",
        world.said(STALLED)
    );
    assert_eq!(world.pinned().as_deref(), Some("churn-1"));
    world.add(record).settle();
    assert_eq!(world.canary().as_deref(), Some("churn-2"));
}

#[test]
fn what_is_kept_warm_grows_with_what_serves() {
    let mut world = baking();
    world.edit(|spec| spec.replicas = 5).settle();
    assert_eq!(sizes(&world), named(&[("churn-v1", 5), ("churn-v2", 5)]));
}
