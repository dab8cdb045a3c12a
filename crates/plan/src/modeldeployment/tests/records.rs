//! What is on record of a decision: all that was known when it was made, and its digest in the version's chain.

use std::sync::Arc;

use serde_json::{Value, json};
use windlass_api::{Action, Quarantined, RolloutOutcome};
use windlass_statistics::proportion::Proportion;

use super::world::World;
use crate::digest;
use crate::fixtures::{at, version};
use crate::modeldeployment::{Answer, bake};

/// What the newest record of this action rests on, and that its digest is the one in the chain.
fn seen(world: &World, action: Action) -> Value {
    let status = world.status();
    let record = status.last_rollout.expect("a record");
    let seen = record.seen.expect("what it rests on");
    let mut events = status.history.iter().rev();
    let event = events.find(|event| event.version == record.version && event.action == action);
    let evidence = event.and_then(|event| event.evidence.clone());
    assert_eq!(evidence, Some(digest::of(&seen)), "{action:?}");
    seen.0
}

#[test]
fn a_promotion_rests_on_all_that_was_counted_up_to_it() {
    let mut world = World::rolling(json!({}));
    world.step_passes().step_passes();
    assert_eq!(world.stable().as_deref(), Some("churn-2"));
    let seen = seen(&world, Action::Promoted);
    let requests = |of: &str| seen["errors"][of]["canary"]["requests"].clone();
    assert_eq!(
        (requests("rollout"), requests("step")),
        (json!(3000), json!(1500))
    );
    let within: f64 = seen["errors"]["step"]["within"]
        .as_str()
        .and_then(|text| text.parse().ok())
        .expect("a number");
    assert!(within >= 20_f64.ln(), "{seen}");
}

#[test]
fn so_does_what_was_taken_back() {
    let mut world = World::rolling(json!({}));
    world.all_ready().traffic(0, 0).settle();
    world.traffic(2000, 400).settle();
    assert_eq!(world.canary(), None);
    let errors = seen(&world, Action::RolledBack)["errors"]["rollout"]["canary"].clone();
    assert_eq!(errors["requests"], 2000, "{errors}");
}

#[test]
fn and_what_was_taken_back_after_its_promotion() {
    let rollout = json!({"steps": [{"weight": 50, "hold": "60s"}], "bake": "10m"});
    let mut world = World::rolling(json!({ "rollout": rollout }));
    world.step_passes();
    assert_eq!(world.stable().as_deref(), Some("churn-2"));
    let mut share = bake(&world.status()).expect("errors are judged");
    for _ in 0..10 {
        share.take(Proportion {
            successes: 5,
            trials: 50,
        });
    }
    world.observed.bake = Some(share);
    world.wait(10).settle();
    assert_eq!(world.stable().as_deref(), Some("churn-1"));
    let errors = seen(&world, Action::RolledBack)["errors"].clone();
    assert_eq!(errors["requests"], 500, "{errors}");
}

#[test]
fn what_is_held_has_traffic_until_it_is_taken_from_it() {
    let rollout = json!({
        "steps": [{"weight": 10, "hold": "60s"}], "minRequests": 100, "onFailure": "Pause",
    });
    let mut world = World::rolling(json!({ "rollout": rollout }));
    world.all_ready().traffic(0, 0).settle();
    let before = world.status().traffic;
    let plan = world.traffic(2000, 400).plan();
    assert!(
        plan.status
            .canary
            .is_some_and(|canary| canary.failure.is_some())
    );
    assert_eq!(plan.status.traffic, before, "the Service names both still");
}

#[test]
fn a_quarantine_of_many_is_known_by_fingerprint_and_only_the_newest_whole() {
    let mut world = World::rolling(json!({}));
    let long = "é".repeat(200);
    let deployment = Arc::make_mut(&mut world.observed.deployment);
    let status = deployment.status.as_mut().expect("a status");
    status.quarantine = (0..600)
        .map(|number| Quarantined {
            version: format!("churn-{number}"),
            fingerprint: format!("sha256:{number}"),
            reason: long.clone(),
            time: at(0),
        })
        .collect();
    world.all_ready().traffic(0, 0).settle();
    world.traffic(2000, 400).settle();
    let status = world.status();
    assert_eq!(
        status.last_rollout.map(|last| last.outcome),
        Some(RolloutOutcome::RolledBack)
    );
    let all = status.quarantine;
    assert_eq!(
        (all.len(), all[0].fingerprint.as_str()),
        (500, "sha256:101")
    );
    assert_eq!(all[449].reason.len(), 100);
    assert_eq!(all[450].reason, long);
}

#[test]
fn prometheus_is_asked_before_a_version_without_traffic_gets_it_all() {
    let query = "errors{version=\"churn-2\"}";
    let mut world = World::serving(json!({"rollout": {
        "strategy": "BlueGreen", "preview": {"hold": "60s"},
        "analysis": [{
            "metric": "Prometheus", "query": "errors{version=\"{{ canary }}\"}", "max": "0.01", "count": 2,
        }],
    }}));
    world.add(version(2, '2', Some("Pass"))).settle();
    world.all_ready().settle().wait(120).settle();
    assert_eq!(
        world.stable().as_deref(),
        Some("churn-1"),
        "nothing was answered"
    );
    world
        .answered(query, &[Answer::Value(0.5), Answer::Value(0.5)])
        .settle();
    assert_eq!(
        world.canary().as_deref(),
        Some("churn-2"),
        "it may be the stable version's"
    );
    world
        .answered(query, &[Answer::Value(0.0), Answer::Value(0.0)])
        .settle();
    assert_eq!(world.stable().as_deref(), Some("churn-2"));
}
