//! What is done about an attempt that failed, and what is written down of it.

use std::sync::Arc;

use serde_json::{Value, json};
use windlass_api::condition::{FAILED, READY};

use super::world::{World, failure, trained};
use crate::fixtures::{at, object};

fn ruled(rules: &Value) -> Value {
    json!({"backoffLimit": 1, "failureRules": rules, "workers": {"replicas": 2, "template": {"spec": {"containers": [
        {"name": "trainer", "image": "trainer:1", "command": ["train"], "resources": {"limits": {"nvidia.com/gpu": 4}}},
        {"name": "logger", "image": "logger:1"}
    ]}}}})
}

/// The same failure with a second container that ended with this code.
fn beside(world: &mut World, code: i32) {
    for pod in &mut world.observed.pods {
        let status = Arc::make_mut(pod).status.get_or_insert_default();
        let all = status.container_statuses.get_or_insert_default();
        all.push(object(json!({"name": "logger", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": {"terminated": {"exitCode": code}}})));
    }
}

#[test]
fn the_first_rule_that_fits_decides() {
    let said = |code: i32| failure("TrainerFailed", Some(code));
    let own = failure("OutputNotWritten", None);
    let missing = failure("InputNotFound", None);
    let rows: [(&str, Value, i32, String, i32, &str); 9] = [
        ("no rule", json!([]), 3, said(3), 0, "restart"),
        (
            "fails at once",
            json!([{"exitCodes": [1, 3], "action": "Fail"}]),
            3,
            said(3),
            0,
            "fail",
        ),
        (
            "another code",
            json!([{"exitCodes": [1, 2], "action": "Fail"}]),
            3,
            said(3),
            0,
            "restart",
        ),
        (
            "does not count",
            json!([{"exitCodes": [3], "action": "Ignore"}]),
            3,
            said(3),
            0,
            "ignore",
        ),
        (
            "the first",
            json!([{"exitCodes": [3], "action": "Restart"}, {"exitCodes": [3], "action": "Fail"}]),
            3,
            said(3),
            0,
            "restart",
        ),
        (
            "of another container",
            json!([{"exitCodes": [9], "container": "logger", "action": "Fail"}]),
            3,
            said(3),
            9,
            "fail",
        ),
        (
            "not of the trainer",
            json!([{"exitCodes": [9], "action": "Fail"}]),
            3,
            said(3),
            9,
            "restart",
        ),
        (
            "the agent's own code is none of the trainer's",
            json!([{"exitCodes": [1], "action": "Fail"}]),
            1,
            own,
            0,
            "restart",
        ),
        (
            "what cannot be mended fails without a rule",
            json!([{"exitCodes": [66], "action": "Ignore"}]),
            66,
            missing,
            0,
            "fail",
        ),
    ];
    for (name, rules, code, message, logger, expected) in rows {
        let mut world = World::new(ruled(&rules));
        world.settle().fails(code, &message);
        if logger != 0 {
            beside(&mut world, logger);
        }
        world.settle();
        let status = world.status();
        let found = match (world.is(FAILED), status.failures, world.made()) {
            (true, 1, 1) => "fail",
            (false, 1, 2) => "restart",
            (false, 0, 2) => "ignore",
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!(found, expected, "{name}");
        assert_eq!(status.attempts[0].ignored, expected == "ignore", "{name}");
    }
}

#[test]
fn a_rule_that_fails_the_job_is_named() {
    let mut world = World::new(ruled(&json!([{"exitCodes": [3], "action": "Fail"}])));
    let said = failure("TrainerFailed", Some(3));
    world.settle().fails(3, &said).settle();
    assert_eq!(
        world.said(FAILED),
        "True TrainerFailed: spec.failureRules[0] (exit code 3 of container trainer) fails the job: it was TrainerFailed"
    );
}

#[test]
fn what_is_ignored_for_ever_is_repeated_ever_more_slowly() {
    let mut world = World::new(ruled(&json!([{"exitCodes": [3], "action": "Ignore"}])));
    let said = failure("TrainerFailed", Some(3));
    for _ in 0..2 {
        world.settle().fails(3, &said).settle();
    }
    assert_eq!(world.made(), 2);
    assert!(
        world
            .said(READY)
            .starts_with("False BackingOff: attempt 3 starts in a while"),
        "{}",
        world.said(READY)
    );
    assert_eq!(world.plan().again, Some(std::time::Duration::from_secs(10)));
    world.wait(9).settle();
    assert_eq!(world.made(), 2);
    world.wait(1).settle();
    assert_eq!((world.made(), world.status().failures), (3, 0));
}

#[test]
fn an_attempt_is_written_down_from_its_start_to_its_end_with_the_worker_that_failed_first() {
    let mut world = World::new(ruled(&json!([])));
    world.wait(10).settle();
    let running = &world.status().attempts[0];
    assert_eq!(
        (running.started, running.ended, running.workers),
        (Some(at(10)), None, Some(2))
    );
    let scheduled =
        json!([{"type": "PodScheduled", "status": "True", "lastTransitionTime": at(20)}]);
    let ended = |at: i64, code: i32, message: &str| {
        let finished = crate::fixtures::at(at);
        json!({"phase": "Failed", "conditions": scheduled, "containerStatuses": [{"name": "trainer", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": code, "message": message, "finishedAt": finished}}}]})
    };
    let said = json!({"kind": "Failure", "reason": "TrainerFailed", "message": "the trainer ended with exit code 3", "exitCode": 3, "logTail": "step 7\nKeyError: 'age'\n",
        "resumed": {"from": "000001/000002-step-200", "skipped": ["000001/000003-step-300: torn"]}}).to_string();
    world.wait(60).fails(3, &said);
    // Both failed by themselves, and the second of them first.
    for (pod, status) in world
        .observed
        .pods
        .iter_mut()
        .zip([ended(65, 3, &said), ended(50, 3, &said)])
    {
        Arc::make_mut(pod).status = Some(object(status));
    }
    world.settle();
    let attempt = world.status().attempts[0].clone();
    assert_eq!(
        (attempt.worker, attempt.node.as_deref()),
        (Some(1), Some("node-a"))
    );
    assert_eq!(
        (attempt.exit_code, attempt.reason.as_str()),
        (Some(3), "TrainerFailed")
    );
    assert_eq!(attempt.log_tail, "step 7\nKeyError: 'age'");
    assert_eq!(attempt.message, "the trainer ended with exit code 3");
    assert_eq!(attempt.ended, Some(at(70)));
    assert_eq!(
        attempt.resumed_from.as_deref(),
        Some("000001/000002-step-200 (passed over 000001/000003-step-300: torn)")
    );
    // 45 and 30 seconds of four GPUs.
    assert_eq!(attempt.gpu_seconds, Some(4 * 75));
    assert_eq!(world.status().gpu_seconds, Some(300));
}

#[test]
fn a_worker_that_ran_out_of_memory_is_the_cause_of_those_that_then_missed_it() {
    let gang = json!({"backoffLimit": 3, "failureRules": [{"exitCodes": [137], "action": "Fail"}], "workers": {"replicas": 4, "template": {"spec": {"containers": [
        {"name": "trainer", "image": "trainer:1", "command": ["train"]}
    ]}}}});
    let ended = |seconds: i64, code: i32, reason: &str, message: &str| {
        json!({"phase": "Failed", "containerStatuses": [{"name": "trainer", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": code, "reason": reason, "message": message, "finishedAt": at(seconds)}}}]})
    };
    let lost = failure("TrainerFailed", Some(1));
    let killed = failure("TrainerFailed", Some(137));
    // The agent told of its trainer, or was killed with it; a moment earlier than the others, or in the same second.
    let rows = [
        (59, "Error", &*killed),
        (60, "Error", &*killed),
        (59, "OOMKilled", ""),
    ];
    for (when, reason, message) in rows {
        let mut world = World::new(gang.clone());
        world.settle().fails(1, &lost);
        let one = ended(60, 1, "Error", &lost);
        let all = [&one, &one, &ended(when, 137, reason, message), &one];
        for (pod, status) in world.observed.pods.iter_mut().zip(all) {
            Arc::make_mut(pod).status = Some(object(status.clone()));
        }
        world.settle();
        let attempt = world.status().attempts[0].clone();
        let found = (attempt.worker, attempt.exit_code);
        assert_eq!(found, (Some(2), Some(137)), "{when} {reason} {message}");
        assert!(
            world.said(FAILED).contains("spec.failureRules[0]"),
            "{}",
            world.said(FAILED)
        );
    }
    // One that was killed at the end of its grace period is no cause.
    let mut world = World::new(gang);
    world.settle().fails(1, &lost);
    let one = ended(60, 1, "Error", &lost);
    let all = [&ended(50, 137, "Error", ""), &one, &one, &one];
    for (pod, status) in world.observed.pods.iter_mut().zip(all) {
        Arc::make_mut(pod).status = Some(object(status.clone()));
    }
    world.settle();
    assert_eq!(world.status().attempts[0].worker, Some(1));
}

#[test]
fn gpu_seconds_are_summed_over_attempts_and_the_last_one_is_written_down_too() {
    let mut world = World::new(ruled(&json!([])));
    let scheduled = |world: &mut World, from: i64| {
        for pod in &mut world.observed.pods {
            let status = Arc::make_mut(pod).status.get_or_insert_default();
            status.conditions = Some(object(
                json!([{"type": "PodScheduled", "status": "True", "lastTransitionTime": at(from)}]),
            ));
        }
    };
    world.settle();
    scheduled(&mut world, 0);
    world
        .wait(10)
        .suspend(true)
        .settle()
        .pods_go()
        .suspend(false)
        .settle();
    scheduled(&mut world, 10);
    world.wait(5).succeeds(&trained());
    world.settle();
    let status = world.status();
    let each: Vec<Option<i64>> = status.attempts.iter().map(|one| one.gpu_seconds).collect();
    assert_eq!(each, [Some(80), Some(40)]);
    assert_eq!(status.gpu_seconds, Some(120));
    assert_eq!(status.attempts[1].reason, "Succeeded");
}

#[test]
fn a_job_that_somebody_else_manages_is_left_alone() {
    let mut world = World::new(json!({"managedBy": "kueue.x-k8s.io/multikueue"}));
    assert!(!world.reconcile());
    let mut ours = World::new(json!({"managedBy": "windlass.dev/controller"}));
    assert!(ours.reconcile());
}

#[test]
fn an_attempt_whose_job_somebody_deletes_is_written_down_and_repeated_without_counting() {
    let mut world = World::new(json!({"backoffLimit": 0}));
    world.settle();
    world.observed.children.clear();
    world.observed.pods.clear();
    // The cache may have yet to show a Job that was made just now.
    assert_eq!(world.plan().again, Some(std::time::Duration::from_secs(10)));
    assert!(!world.reconcile());
    world.wait(10).settle();
    let status = world.status();
    assert_eq!((status.attempt, status.failures), (Some(2), 0));
    assert_eq!(status.attempts[0].reason, "JobDeleted");
    assert_eq!(status.attempts[0].ended, Some(at(10)));
}

#[test]
fn a_pod_that_does_not_go_from_a_node_that_does_not_answer_is_told_and_waited_for() {
    let mut world = World::new(ruled(&json!([])));
    world
        .settle()
        .suspend(true)
        .settle()
        .suspend(false)
        .settle();
    let until = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(30));
    for pod in &mut world.observed.pods {
        Arc::make_mut(pod).metadata.deletion_timestamp = Some(until.clone());
    }
    assert_eq!(world.plan().again, Some(std::time::Duration::from_secs(90)));
    world.wait(89).settle();
    assert!(world.said(READY).starts_with("False WaitingForPods"));
    world.wait(1).settle();
    let said = world.said(windlass_api::condition::STALLED);
    assert!(
        said.starts_with(
            "True PodNotGone: pod a-1-0 of the attempt before does not go, since node node-a"
        ),
        "{said}"
    );
    assert_eq!(world.made(), 1);
    world.pods_go().settle();
    assert_eq!(world.made(), 2);
}
