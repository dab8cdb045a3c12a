//! The operator is killed between any two of its writes, and goes on from where it was.

use serde_json::{Value, json};

use super::world::World;
use crate::fixtures::version;
use crate::{Doomed, Step};

/// What a roll-out came to: the version that serves, the Deployments, whom the Service names, how the route divided the
/// traffic, and the steps and weights on the way.
type End = (
    Option<String>,
    Vec<(String, i32)>,
    Option<String>,
    Vec<Vec<(String, i64)>>,
    Vec<(String, i32, i32)>,
);

/// A whole roll-out, with the operator killed after so many writes; how it ended, and how many writes it took.
fn roll(rollout: &Value, is_good: bool, killed_after: Option<usize>) -> (End, usize) {
    let mut world = World::new(json!({ "rollout": rollout }));
    world.observed.gateway.is_served = rollout.get("traffic").is_some();
    world.lets_capacity_fall();
    world.killed_after = killed_after;
    let errors = if is_good { 0 } else { 700 };
    world
        .settle()
        .all_ready()
        .settle()
        .route_is_taken()
        .wait(10)
        .settle();
    world.add(version(2, '2', Some("Pass"))).settle();
    for _ in 0..6 {
        world.all_ready().settle().route_is_taken().wait(6).settle();
        world.route_is_taken().settle().route_is_taken();
        world.traffic(1500, errors).wait(61).settle();
    }
    world
        .all_ready()
        .settle()
        .route_is_taken()
        .wait(700)
        .settle();
    let mut children = world.children();
    children.sort();
    let end = (
        world.stable(),
        children,
        world.pinned(),
        world.routes.clone(),
        world.weights.clone(),
    );
    (end, world.writes)
}

#[test]
fn a_roll_out_ends_as_if_the_operator_had_not_been_killed() {
    let steps = json!([{"weight": 10, "hold": "60s"}, {"weight": 50, "hold": "60s"}]);
    let mut points = 0;
    for (what, rollout) in [
        ("by replicas", json!({"steps": steps})),
        (
            "by replicas, with a bake",
            json!({"steps": steps, "bake": "10m"}),
        ),
        (
            "by a Gateway",
            json!({"steps": steps, "traffic": {"gatewayRef": {"name": "public"}}}),
        ),
        (
            "BlueGreen",
            json!({"strategy": "BlueGreen", "preview": {"hold": "60s"}}),
        ),
        ("Recreate", json!({"strategy": "Recreate"})),
    ] {
        for is_good in [true, false] {
            let (expected, writes) = roll(&rollout, is_good, None);
            let is_judged = rollout.get("strategy").is_none();
            let serves = if is_good || !is_judged {
                "churn-2"
            } else {
                "churn-1"
            };
            assert_eq!(expected.0.as_deref(), Some(serves), "{what}");
            for after in 0..writes {
                let (end, _) = roll(&rollout, is_good, Some(after));
                assert_eq!(
                    end, expected,
                    "{what}, {is_good}, killed after {after} writes"
                );
                points += 1;
            }
        }
    }
    println!("killed at {points} points");
    assert!(points >= 100, "{points}");
}

/// Of one whose pods went first, an operator that died before it was written would find half, and make it anew.
#[test]
fn a_canary_that_is_taken_back_goes_once_that_is_written() {
    let mut world = World::rolling(json!({}));
    world.all_ready().settle().traffic(1500, 700);
    let plan = world.plan();
    assert_eq!(plan.status.canary, None, "it does harm");
    let goes = |step: &Step| matches!(step, Step::Delete(Doomed::Deployment(_)));
    assert!(!plan.steps.iter().any(goes), "{:?}", plan.steps);
    world.settle();
    assert_eq!(world.children(), [("churn-v1".to_owned(), 3)]);
}
