//! One decision a test: what happens, and what is said.

use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use serde_json::{Value, json};
use windlass_api::CAUSE;
use windlass_api::condition::{COMPLETE, FAILED, READY, RECONCILING, STALLED, SUSPENDED};
use windlass_api::labels;

use super::world::{World, failure, trained};
use crate::Problem;
use crate::fixtures::{at, disrupted, object, steps, version, waiting};
use crate::trainingjob::refused;

fn gang() -> Value {
    json!({"workers": {"replicas": 3, "template": {"spec": {"containers": [{"name": "trainer", "image": "trainer:1", "command": ["train"]}]}}}})
}

#[test]
fn a_normal_run_costs_one_job_one_version_and_two_statuses() {
    let mut world = World::new(json!({}));
    world.settle();
    assert!(
        world
            .said(READY)
            .starts_with("False Running: attempt 1 is under way"),
        "{}",
        world.said(READY)
    );
    assert!(world.is(RECONCILING));
    world.wait(60).succeeds(&trained()).settle();
    assert_eq!(world.changes, ["made a-1", "version churn-1"]);
    assert_eq!(world.writes, 2);
    assert_eq!(
        world.said(COMPLETE),
        "True Complete: registered as ModelVersion churn-1"
    );
    assert_eq!(world.status().completion_time, Some(at(60)));
    let made = &world.observed.versions[0].spec;
    assert_eq!(
        made.trained_by.as_ref().map(|by| by.name.as_str()),
        Some("a")
    );
    assert_eq!(
        (
            made.inputs.len(),
            made.images.len(),
            made.training_metrics["rocAuc"].0.as_str()
        ),
        (1, 1, "0.8")
    );
    let environment: Vec<(&str, &str)> = made
        .environment
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(
        environment,
        [
            ("architecture", "x86_64"),
            ("framework", "Plain"),
            ("kernel", "Linux 6.1.0")
        ]
    );
}

#[test]
fn why_a_training_was_asked_for_is_in_the_record_of_its_model() {
    for (cause, expected) in [
        (None, None),
        (Some("nightly"), Some("nightly".to_owned())),
        (Some(""), None),
        (Some(&*"ž".repeat(600)), Some("ž".repeat(512))),
    ] {
        let mut world = World::new(json!({}));
        let job = Arc::make_mut(&mut world.observed.job);
        let annotations = job.metadata.annotations.get_or_insert_default();
        annotations.extend(cause.map(|cause| (CAUSE.to_owned(), cause.to_owned())));
        world.settle().succeeds(&trained()).settle();
        let made = &world.observed.versions[0].spec;
        let by = made.trained_by.as_ref().expect("a training");
        assert_eq!(by.cause, expected);
    }
}

#[test]
fn the_version_is_the_next_after_the_newest_and_names_its_parent() {
    let mut world = World::new(json!({}));
    world.observed.versions = vec![version(7, 'f', Some("Pass")), version(2, 'f', Some("Pass"))];
    world.observed.champion = Some("churn-2".to_owned());
    world.settle().succeeds(&trained()).settle();
    let made = world.observed.versions.last().expect("a version");
    assert_eq!(
        (made.spec.version, made.spec.parent.as_deref()),
        (8, Some("churn-2"))
    );
}

#[test]
fn a_version_is_found_by_its_model_its_training_its_monitor_and_its_parent() {
    let mut world = World::new(json!({}));
    let of_monitor = [(labels::MONITOR.to_owned(), "watch".to_owned())];
    Arc::make_mut(&mut world.observed.job).metadata.labels = Some(of_monitor.into());
    world.observed.versions = vec![version(2, 'f', Some("Pass"))];
    world.observed.champion = Some("churn-2".to_owned());
    world.settle().succeeds(&trained()).settle();
    let made = world.observed.versions.last().expect("a version");
    for (label, value) in [
        (labels::MODEL, "churn"),
        (labels::VERSION, "churn-3"),
        (labels::TRAINING_JOB, "a"),
        (labels::MONITOR, "watch"),
        (labels::PARENT, "churn-2"),
    ] {
        assert_eq!(
            made.labels().get(label).map(String::as_str),
            Some(value),
            "{label}"
        );
    }

    let mut first = World::new(json!({}));
    first.settle().succeeds(&trained()).settle();
    let made = first.observed.versions.last().expect("a version");
    assert!(!made.labels().contains_key(labels::PARENT));
}

#[test]
fn how_long_it_is_kept_is_handed_to_the_version() {
    let retention = json!({"keep": 3, "artifacts": "Delete"});
    let mut world = World::new(json!({"retention": retention}));
    world.settle().succeeds(&trained()).settle();
    let made = &world.observed.versions[0].spec;
    assert_eq!(made.retention, Some(object(retention)));
}

#[test]
fn a_job_without_a_model_makes_no_version() {
    let mut world = World::new(json!({"model": null, "output": null}));
    world.settle().succeeds("").settle();
    assert!(world.is(COMPLETE));
    assert!(world.observed.versions.is_empty());
}

#[test]
fn backoff_limit_is_counted_exactly() {
    for limit in 0..4 {
        let mut world = World::new(json!({"backoffLimit": limit}));
        for _ in 0..10 {
            world
                .settle()
                .fails(1, &failure("TrainerFailed", Some(1)))
                .settle()
                .wait(300)
                .settle();
        }
        assert_eq!(
            i32::try_from(world.made()),
            Ok(limit + 1),
            "spec.backoffLimit {limit}"
        );
        assert_eq!(world.status().failures, limit + 1);
        assert!(
            world.said(FAILED).starts_with("True TrainerFailed"),
            "{}",
            world.said(FAILED)
        );
        assert!(world.is(STALLED));
    }
}

#[test]
fn a_preempted_worker_does_not_use_up_an_attempt() {
    for gone in [false, true] {
        let mut world = World::new(json!({"backoffLimit": 0, "workers": gang()["workers"]}));
        for _ in 0..5 {
            world.settle().is_preempted(gone).settle();
            world.wait(300).settle();
        }
        assert_eq!(
            (world.made(), world.status().failures),
            (6, 0),
            "its pod is gone: {gone}"
        );
        assert!(!world.has_ended());
        assert!(
            world
                .status()
                .attempts
                .iter()
                .all(|attempt| attempt.ended.is_none() || attempt.reason == "Disrupted")
        );
    }
}

#[test]
fn a_gang_goes_down_whole_as_soon_as_one_worker_is_preempted() {
    let mut world = World::new(gang());
    world.settle().is_being_preempted();
    assert!(world.reconcile());
    assert_eq!(
        world.changes.last().map(String::as_str),
        Some("deleted a-1")
    );
    world.settle();
    assert!(
        world.said(READY).contains("WaitingForPods"),
        "{}",
        world.said(READY)
    );
    world.pods_go().settle();
    assert_eq!((world.made(), world.status().failures), (2, 0));
}

#[test]
fn a_worker_that_ended_well_before_its_node_went_is_no_disruption() {
    let mut world = World::new(json!({}));
    world.settle().succeeds(&trained());
    let pod = Arc::make_mut(&mut world.observed.pods[0]);
    *pod = disrupted(pod.clone());
    world.settle();
    assert!(world.is(COMPLETE));
}

#[test]
fn what_a_repetition_cannot_mend_ends_the_job_at_once() {
    for reason in [
        "InvalidArguments",
        "InputNotFound",
        "InputUnreadable",
        "ColumnNotFound",
        "DigestMismatch",
        "SignatureInvalid",
        "TrainerNotStarted",
        "OutputMissing",
    ] {
        let mut world = World::new(gang());
        world.settle().fails(1, &failure(reason, None)).settle();
        assert_eq!(world.made(), 1, "{reason}");
        assert_eq!(
            world.said(FAILED),
            format!("True {reason}: it was {reason}")
        );
        assert_eq!(world.status().attempts[0].reason, reason);
    }
    for reason in [
        "TrainerFailed",
        "OutputNotWritten",
        "Interrupted",
        "Internal",
    ] {
        let mut world = World::new(json!({}));
        world.settle().fails(1, &failure(reason, Some(1))).settle();
        assert_eq!((world.made(), world.status().failures), (2, 1), "{reason}");
    }
}

#[test]
fn the_cause_is_told_and_not_the_workers_that_were_stopped_for_it() {
    let mut world = World::new(gang());
    world
        .settle()
        .fails(2, "ValueError: no such layer")
        .settle();
    let attempt = &world.status().attempts[0];
    assert_eq!(attempt.exit_code, Some(2));
    assert!(
        attempt.log_tail.contains("ValueError: no such layer"),
        "{attempt:?}"
    );
}

#[test]
fn a_worker_that_ended_well_without_an_output_is_a_failure_that_repetition_cannot_mend() {
    let mut world = World::new(json!({}));
    world
        .settle()
        .succeeds(r#"{"kind":"Training","inputs":[]}"#)
        .settle();
    assert!(
        world.said(FAILED).starts_with("True OutputMissing"),
        "{}",
        world.said(FAILED)
    );
}

#[test]
fn a_trainer_that_reports_the_files_of_others_as_its_own_has_nothing_registered() {
    for uri in [
        "pvc://models/churn",
        "pvc://models/churn/b-89abcdef/1/model",
        "pvc://models/churn/a-012345678/1/model",
        "pvc://models/churn/a-01234567",
        "pvc://models/churn/a-01234567/../b-89abcdef/1/model",
        "pvc://models/churn/a-01234567/..",
        "s3://risk/models/fraud/7",
        "https://169.254.169.254/latest",
        "",
    ] {
        let mut world = World::new(json!({}));
        let forged = trained().replace("pvc://models/churn/a-01234567/1/model", uri);
        world.settle().succeeds(&forged).settle();
        let said = world.said(FAILED);
        assert!(
            said.starts_with("True OutputElsewhere")
                && said.contains("pvc://models/churn/a-01234567/"),
            "{uri}: {said}"
        );
        assert!(world.observed.versions.is_empty(), "{uri}");
    }
}

#[test]
fn a_run_whose_report_is_lost_is_repeated_and_counted() {
    let mut world = World::new(json!({}));
    world.settle().succeeds(&trained());
    world.observed.pods.clear();
    world.settle();
    assert_eq!(world.made(), 1, "the pods may only not have been seen yet");
    world.wait(11).settle();
    assert_eq!((world.made(), world.status().failures), (2, 1));
}

#[test]
fn what_a_person_has_to_mend_is_named_with_its_field_and_then_goes_on() {
    let template = |spec: Value| json!({"workers": {"replicas": 1, "template": {"spec": spec}}});
    let good = json!({"name": "trainer", "image": "trainer:1", "command": ["train"]});
    let rows: Vec<(&str, Value, &str, &str)> = vec![
        (
            "a missing claim of an input",
            json!({"inputs": [{"name": "x", "uri": "pvc://nowhere/x"}]}),
            "VolumeClaimNotFound",
            "spec.inputs[0].uri",
        ),
        (
            "a missing claim of the output",
            json!({"output": {"uri": "pvc://nowhere/x", "format": "ONNX"}}),
            "VolumeClaimNotFound",
            "spec.output.uri",
        ),
        (
            "a missing claim of the held-out rows",
            json!({"validation": {"dataset": {"uri": "pvc://nowhere/x", "label": "y"}, "metrics": [{"name": "rocAuc"}]}}),
            "VolumeClaimNotFound",
            "spec.validation.dataset.uri",
        ),
        (
            "a missing service account",
            template(json!({"serviceAccountName": "nobody", "containers": [good]})),
            "ServiceAccountNotFound",
            "spec.workers.template.spec.serviceAccountName",
        ),
        (
            "a missing service account of the storage",
            json!({"storage": {"serviceAccountName": "nobody"}}),
            "ServiceAccountNotFound",
            "spec.storage.serviceAccountName",
        ),
        (
            "a missing command",
            template(json!({"containers": [{"name": "trainer", "image": "trainer:1"}]})),
            "InvalidTemplate",
            "spec.workers.template.spec.containers[0].command",
        ),
        (
            "a field that is none",
            template(
                json!({"containers": [{"name": "t", "image": "i", "command": ["c"], "imagePullpolicy": "Never"}]}),
            ),
            "InvalidTemplate",
            "spec.workers.template.spec.containers[0].imagePullpolicy",
        ),
    ];
    for (name, spec, reason, field) in rows {
        let mut world = World::new(spec);
        world.settle();
        assert!(
            world
                .said(STALLED)
                .starts_with(&format!("True {reason}: {field}")),
            "{name}: {}",
            world.said(STALLED)
        );
        assert!(!world.is(RECONCILING) && world.made() == 0, "{name}");
        Arc::make_mut(&mut world.observed.claims).insert("nowhere".to_owned());
        Arc::make_mut(&mut world.observed.service_accounts).insert("nobody".to_owned());
        world.edit(|spec| {
            if reason == "InvalidTemplate" {
                spec.workers = object(template(json!({"containers": [good]}))["workers"].clone());
            }
        });
        world.settle();
        assert!(
            world.made() == 1 && !world.is(STALLED),
            "{name}: goes on when it is mended: {}",
            world.said(READY)
        );
    }
}

#[test]
fn a_pod_that_cannot_start_is_told_and_the_attempt_goes_on_when_it_can() {
    let unschedulable = |mut pod: k8s_openapi::api::core::v1::Pod, reason: &str| {
        pod.status = Some(object(
            json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": reason, "message": "0/3 nodes"}]}),
        ));
        pod
    };
    let mut world = World::new(json!({}));
    world
        .settle()
        .pod(|pod| waiting(pod, "ImagePullBackOff"))
        .settle();
    assert!(
        world.said(STALLED).starts_with(
            "True ImageNotFound: pod a-1-0, container trainer, image registry/missing:1"
        ),
        "{}",
        world.said(STALLED)
    );
    world.pod(|pod| waiting(pod, "ContainerCreating")).settle();
    assert!(world.said(READY).contains("Running"));
    world
        .wait(2)
        .pod(|pod| unschedulable(pod, "Unschedulable"))
        .settle();
    assert!(
        world.said(STALLED).starts_with("True Unschedulable"),
        "{}",
        world.said(STALLED)
    );
    world
        .pod(|pod| unschedulable(pod, "SchedulingGated"))
        .settle();
    assert!(
        !world.is(STALLED),
        "a pod that waits at a gate waits for somebody's go-ahead"
    );
    assert_eq!(world.made(), 1);
}

#[test]
fn a_suspended_job_has_no_pod_and_goes_on_with_the_next_attempt() {
    let mut world = World::new(gang());
    world.settle().suspend(true).settle();
    let going = |job: &Arc<Job>| job.metadata.deletion_timestamp.is_some();
    assert!(world.is(SUSPENDED) && world.observed.children.iter().all(going));
    world.suspend(false).settle();
    assert_eq!(
        world.made(),
        1,
        "while pods of the attempt before go, no other starts"
    );
    world.pods_go().settle();
    assert_eq!(
        (
            world.made(),
            world.status().attempt,
            world.status().failures
        ),
        (2, Some(2), 0)
    );
    assert_eq!(world.status().attempts[0].reason, "Suspended");
    world.succeeds(&trained()).settle();
    assert!(world.is(COMPLETE));
}

#[test]
fn a_job_suspended_and_resumed_before_its_pods_were_seen_waits_for_them() {
    let mut world = World::new(gang());
    world.settle();
    let unseen = std::mem::take(&mut world.observed.pods);
    world.suspend(true).settle().suspend(false).settle();
    assert_eq!(world.made(), 1, "its Job is there as long as they are");
    assert!(
        world
            .said(RECONCILING)
            .contains("waiting until Job a-1 is gone")
    );
    world.observed.pods = unseen;
    world.each_pod_of("a-1", |pod| {
        pod.metadata.deletion_timestamp = Some(Time(at(0)));
    });
    world.settle();
    assert_eq!(world.made(), 1);
    world.pods_go().settle();
    assert_eq!(world.made(), 2);
}

#[test]
fn a_job_that_something_else_holds_back_holds_no_attempt_for_more_than_a_minute() {
    let mut world = World::new(gang());
    world
        .settle()
        .suspend(true)
        .settle()
        .suspend(false)
        .settle();
    world.observed.pods.clear();
    assert_eq!(world.plan().again, Some(std::time::Duration::from_mins(1)));
    world.wait(59).settle();
    assert_eq!(world.made(), 1);
    world.wait(1).settle();
    assert_eq!(world.made(), 2);
}

/// Its Job stays until its pods are gone, and they end as they are told to.
#[test]
fn a_suspended_attempt_that_ends_with_a_failure_counts_as_none() {
    let mut world = World::new(json!({"backoffLimit": 0}));
    world.settle().suspend(true);
    // The Job goes, and that it does is not written down.
    world.reconcile_until(1);
    world
        .fails(143, &failure("Interrupted", Some(143)))
        .settle();
    world.suspend(false).pods_go().settle();
    let status = world.status();
    assert_eq!((status.attempt, status.failures), (Some(2), 0));
    assert!(!world.is(FAILED));
}

#[test]
fn a_job_that_is_made_suspended_starts_nothing() {
    let mut world = World::new(json!({"suspend": true}));
    world.settle();
    assert_eq!((world.made(), world.writes), (0, 1));
}

#[test]
fn the_deadline_counts_from_the_last_resume() {
    let mut world = World::new(json!({"activeDeadlineSeconds": 100}));
    world.settle().wait(90).settle();
    assert_eq!(
        world.plan().again,
        Some(std::time::Duration::from_secs(10)),
        "it is looked at again when the deadline comes"
    );
    world
        .suspend(true)
        .settle()
        .wait(1000)
        .suspend(false)
        .pods_go()
        .settle()
        .wait(99)
        .settle();
    assert!(!world.has_ended());
    world.wait(1).settle();
    assert!(
        world
            .said(FAILED)
            .starts_with("True DeadlineExceeded: spec.activeDeadlineSeconds"),
        "{}",
        world.said(FAILED)
    );
    assert!(world.observed.children.is_empty(), "its Job is taken away");
}

#[test]
fn a_run_that_ended_well_in_time_is_kept_however_late_it_is_looked_at() {
    let mut world = World::new(json!({"activeDeadlineSeconds": 100}));
    world
        .settle()
        .wait(50)
        .succeeds(&trained())
        .wait(500)
        .settle();
    assert!(world.is(COMPLETE), "{}", world.said(READY));
}

#[test]
fn a_job_goes_when_its_time_to_live_is_over_and_not_before() {
    let mut world = World::new(json!({"ttlSecondsAfterFinished": 60}));
    world
        .settle()
        .succeeds(&trained())
        .settle()
        .wait(59)
        .settle();
    assert!(!world.deleted);
    assert_eq!(world.plan().again, Some(std::time::Duration::from_secs(1)));
    world.wait(1).reconcile();
    assert!(world.deleted);
    let mut kept = World::new(json!({}));
    kept.settle()
        .succeeds(&trained())
        .settle()
        .wait(1_000_000)
        .reconcile();
    assert!(!kept.deleted);
}

#[test]
fn a_job_that_has_ended_stays_ended_and_speaks_of_its_newest_generation() {
    let mut world = World::new(json!({}));
    world.settle().succeeds(&trained()).settle();
    world.edit(|spec| spec.ttl_seconds_after_finished = Some(1000));
    world.observed.children.clear();
    world.observed.pods.clear();
    world.settle();
    assert_eq!(
        (world.status().observed_generation, world.made()),
        (Some(2), 1)
    );
    assert!(
        world
            .status()
            .conditions
            .iter()
            .all(|condition| condition.observed_generation == Some(2))
    );
}

#[test]
fn a_job_that_is_being_deleted_starts_nothing() {
    let mut world = World::new(json!({}));
    world.settle();
    world.observed.children.clear();
    world.observed.pods.clear();
    Arc::make_mut(&mut world.observed.job)
        .metadata
        .deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(1)));
    assert_eq!(steps(&world.plan()), Vec::<String>::new());
}

#[test]
fn a_job_that_was_made_just_before_a_crash_is_taken_as_it_is() {
    let mut world = World::new(gang());
    let made_it = world.plan().steps.len();
    world.reconcile_until(made_it);
    assert_eq!(
        (world.made(), world.writes),
        (1, 0),
        "the Job is there, and the status is not"
    );
    world.observed.agent_image = "agent:2".to_owned();
    world.observed.schedulers.native = Err("gone".to_owned());
    world.settle();
    assert_eq!((world.made(), world.status().attempt), (1, Some(1)));
    assert_eq!(
        world.status().agent_image.as_deref(),
        Some("agent:1"),
        "what its pods were made with"
    );
    assert_eq!(
        world.status().scheduling.map(|scheduling| scheduling.gang),
        Some("PodGroup".to_owned())
    );
}

#[test]
fn a_job_suspended_between_a_crash_and_its_status_never_has_two_gangs() {
    let mut world = World::new(gang());
    let made_it = world.plan().steps.len();
    world.reconcile_until(made_it);
    // The simulator itself refuses a Job beside pods that live.
    world.suspend(true).settle().suspend(false).settle();
    assert_eq!(world.made(), 1);
    world.pods_go().settle();
    assert_eq!(world.made(), 2);
}

#[test]
fn a_version_made_just_before_a_crash_is_not_made_again() {
    let mut world = World::new(json!({}));
    world.settle().succeeds(&trained());
    world.reconcile_until(1);
    assert_eq!(world.observed.versions.len(), 1);
    world.settle();
    assert_eq!(
        (
            world.observed.versions.len(),
            world.status().model_version.as_deref()
        ),
        (1, Some("churn-1"))
    );
}

#[test]
fn an_upgrade_of_the_operator_changes_no_later_attempt() {
    let mut world = World::new(json!({}));
    world.settle();
    world.observed.agent_image = "agent:2".to_owned();
    world.fails(1, "").settle();
    let spec = world.observed.children[1]
        .spec
        .clone()
        .and_then(|spec| spec.template.spec)
        .expect("pods");
    assert_eq!(
        spec.init_containers.expect("one")[0].image.as_deref(),
        Some("agent:1")
    );
}

#[test]
fn the_status_keeps_ten_attempts() {
    let mut world = World::new(json!({"backoffLimit": 50}));
    for _ in 0..15 {
        world.settle().fails(1, "").settle().wait(300);
    }
    let attempts = world.status().attempts;
    assert_eq!(
        (attempts.len(), attempts[0].number, attempts[9].number),
        (10, 6, 15)
    );
}

#[test]
fn a_deadline_that_has_passed_does_not_hurry_the_wait_for_pods() {
    let mut world = World::new(json!({"activeDeadlineSeconds": 100}));
    world.settle().wait(100).succeeds(&trained());
    // The cache shows the Job's end before its pods'.
    for pod in &mut world.observed.pods {
        Arc::make_mut(pod).status = None;
    }
    let again = world.plan().again;
    assert_eq!(again, Some(std::time::Duration::from_secs(1)));
}

#[test]
fn a_failure_for_good_is_told_also_when_the_deadline_has_passed() {
    let mut world = World::new(json!({"activeDeadlineSeconds": 100}));
    let said = failure("InvalidArguments", Some(64));
    world.settle().wait(50).fails(64, &said).wait(500).settle();
    assert!(
        world.said(FAILED).starts_with("True InvalidArguments"),
        "{}",
        world.said(FAILED)
    );
}

#[test]
fn the_attempt_that_the_deadline_ends_is_written_down() {
    let mut world = World::new(json!({"activeDeadlineSeconds": 100}));
    world.settle().wait(100).settle();
    let reasons = |world: &World| -> Vec<String> {
        let attempts = world.status().attempts;
        attempts.into_iter().map(|ended| ended.reason).collect()
    };
    assert_eq!(reasons(&world), ["DeadlineExceeded"]);

    let mut world = World::new(json!({"activeDeadlineSeconds": 100, "backoffLimit": 3}));
    world.settle().wait(50);
    let said = failure("TrainerFailed", Some(1));
    world.fails(1, &said).wait(500).settle();
    assert_eq!(reasons(&world), ["TrainerFailed"]);
    assert!(world.said(FAILED).starts_with("True DeadlineExceeded"));
    assert_eq!(world.status().failures, 1);
}

#[test]
fn a_job_whose_pods_may_not_be_made_is_said_to_be_so_after_seconds() {
    let mut world = World::new(json!({}));
    world.settle();
    world.observed.pods.clear();
    let started = json!({"startTime": at(0)});
    Arc::make_mut(&mut world.observed.children[0]).status = Some(object(started));
    assert_eq!(world.plan().again, Some(std::time::Duration::from_secs(5)));
    world.settle();
    assert!(!world.is(STALLED));
    world.wait(5).settle();
    let said = world.said(STALLED);
    assert!(
        said.starts_with("True PodsNotCreated: no pod of Job a-1")
            && said.contains("kubectl describe job a-1 -n growth"),
        "{said}"
    );
}

#[test]
fn a_quota_that_lets_some_of_the_workers_be_made_is_told() {
    let mut world = World::new(
        json!({"workers": {"replicas": 4, "template": {"spec": {"containers": [{"name": "trainer", "image": "trainer:1", "command": ["train"]}]}}}}),
    );
    world.settle();
    world.observed.pods.truncate(2);
    let started = json!({"startTime": at(0), "active": 2});
    Arc::make_mut(&mut world.observed.children[0]).status = Some(object(started));
    world.wait(5).settle();
    assert!(!world.is(STALLED), "{}", world.said(STALLED));
    world.wait(1).settle();
    let said = world.said(STALLED);
    assert!(
        said.starts_with("True PodsNotCreated: only 2 of 4 pods of Job a-1"),
        "{said}"
    );
    // One that goes may be followed by another.
    world.observed.pods[0] = {
        let mut pod = (*world.observed.pods[0]).clone();
        pod.metadata.deletion_timestamp = Some(Time(at(6)));
        Arc::new(pod)
    };
    world.settle();
    assert!(!world.is(STALLED), "{}", world.said(STALLED));
}

#[test]
fn a_job_that_somebody_else_holds_back_is_told_after_a_while() {
    let mut world = World::new(json!({}));
    world.settle();
    world.observed.pods.clear();
    let job = Arc::make_mut(&mut world.observed.children[0]);
    job.metadata.creation_timestamp = Some(Time(at(0)));
    job.spec.as_mut().expect("a spec").suspend = Some(true);
    assert_eq!(world.plan().again, Some(std::time::Duration::from_secs(30)));
    world.wait(30).settle();
    let said = world.said(STALLED);
    assert!(
        said.starts_with("True JobHeld: Job a-1 is suspended, and not by Windlass"),
        "{said}"
    );
}

#[test]
fn an_attempt_of_another_template_makes_way_for_one_that_is_made_from_it() {
    let changed = |world: &mut World| {
        world.edit(|spec| {
            spec.workers.template.0["spec"]["containers"][0]["image"] = "trainer:2".into();
        });
    };
    // It was suspended, changed and resumed while nobody looked.
    let mut world = World::new(json!({"backoffLimit": 0}));
    world.settle().wait(60);
    changed(&mut world);
    world.settle();
    let status = world.status();
    assert_eq!(status.attempts[0].reason, "TemplateChanged");
    assert_eq!(status.failures, 0);
    world.pods_go().settle();
    assert_eq!(world.status().attempt, Some(2));
    let job = &world.observed.children[0];
    let spec = job
        .spec
        .as_ref()
        .and_then(|spec| spec.template.spec.as_ref());
    let image = spec.and_then(|spec| spec.containers[0].image.as_deref());
    assert_eq!(image, Some("trainer:2"));

    // What one of another template made is not recorded as this one's.
    let mut world = World::new(json!({"backoffLimit": 0}));
    world.settle().wait(60).succeeds(&trained());
    changed(&mut world);
    world.settle();
    assert!(world.observed.versions.is_empty());
    assert_eq!(world.status().attempts[0].reason, "TemplateChanged");
}

#[test]
fn a_container_of_somebody_elses_that_comes_first_in_a_pod_hides_no_report() {
    let mut world = World::new(json!({}));
    world.settle().succeeds(&trained());
    world.pod(|mut pod| {
        let spec = pod.spec.as_mut().expect("a spec");
        let proxy = object(json!({"name": "istio-proxy"}));
        spec.containers.insert(0, proxy);
        pod
    });
    world.settle();
    assert_eq!(world.observed.versions.len(), 1);
}

#[test]
fn what_the_api_server_refuses_is_said_once() {
    let mut world = World::new(json!({}));
    let problem = Problem::new("Refused", "the API server refuses Job growth/a-1: no");
    let plan = refused(&world.observed, &problem, at(0));
    assert_eq!(plan.notes.len(), 1);
    Arc::make_mut(&mut world.observed.job).status = Some(plan.status);
    assert!(world.said(STALLED).starts_with("True Refused: the API"));
    let again = refused(&world.observed, &problem, at(60));
    assert_eq!(again.status, world.status());
    assert!(again.notes.is_empty());
}
