//! Data that is checked before a worker is started.

use k8s_openapi::api::batch::v1::Job;
use serde_json::{Value, json};
use windlass_api::condition::{COMPLETE, FAILED, READY, STALLED};

use super::world::{World, trained};
use crate::fixtures::{assert_restricted, at, digest, object, steps, version, waiting};

fn checked() -> Value {
    json!({
        "inputs": [{"name": "events", "uri": "pvc://events/2026-10", "format": "Parquet", "checks": [{"column": "age", "min": "0"}]}],
        "workers": {"replicas": 2, "template": {"spec": {"containers": [{"name": "trainer", "image": "trainer:1", "command": ["train"], "resources": {"limits": {"nvidia.com/gpu": 8}}}]}}}
    })
}

fn arguments(job: &Job) -> Vec<String> {
    let pods = job
        .spec
        .as_ref()
        .and_then(|spec| spec.template.spec.as_ref());
    let args = pods.and_then(|pods| pods.containers[0].args.clone());
    args.expect("arguments")
}

fn follow(arguments: &[String], flag: &str) -> Vec<String> {
    let pairs = arguments.windows(2);
    pairs
        .filter(|pair| pair[0] == flag)
        .map(|pair| pair[1].clone())
        .collect()
}

#[test]
fn no_worker_is_started_and_no_gpu_is_asked_for_before_the_data_is_known_to_be_fit() {
    let mut world = World::new(checked());
    assert_eq!(steps(&world.plan()), ["Apply Job/a-check"]);
    let job = world.job();
    let spec = job
        .spec
        .as_ref()
        .and_then(|spec| spec.template.spec.as_ref());
    let spec = spec.expect("pods");
    assert_restricted(spec);
    assert_eq!(crate::gpus::of_pod(spec), 0);
    assert_eq!(spec.containers.len(), 1);
    assert_eq!(
        follow(&arguments(&job), "--check"),
        [r#"events={"column":"age","min":"0"}"#]
    );
    world.settle();
    assert!(
        world.said(READY).starts_with("False CheckingData"),
        "{}",
        world.said(READY)
    );
    assert_eq!((world.made(), world.status().attempt), (0, None));
    world.wait(30).data_holds().settle();
    assert_eq!((world.made(), world.status().attempt), (1, Some(1)));
    assert_eq!(world.status().inputs[0].digest, digest('e'));
    world.succeeds(&trained()).settle();
    assert!(world.is(COMPLETE));
    assert_eq!(
        world.changes,
        ["made a-check", "made a-1", "version churn-1"]
    );
    assert_eq!(world.writes, 3);
}

#[test]
fn workers_read_the_data_that_was_checked_or_none() {
    let mut world = World::new(checked());
    world.settle().data_holds();
    let arguments = arguments(&world.job());
    assert_eq!(
        follow(&arguments, "--input-digest"),
        [format!("events={}", digest('e'))]
    );
    assert_eq!(
        follow(&arguments, "--input-as-of"),
        ["events=2026-10-31T23:59:59.5Z"]
    );
    assert!(
        !arguments.contains(&"--input-format".to_owned()),
        "it is not read twice"
    );
}

#[test]
fn data_that_is_not_fit_fails_the_job_before_a_worker_is_made() {
    let mut world = World::new(checked());
    world.settle().data_fails().settle();
    assert_eq!(world.said(FAILED), "True CheckFailed: it was CheckFailed");
    assert_eq!((world.made(), world.status().gpu_seconds), (0, None));
    assert!(world.status().attempts.is_empty());
}

#[test]
fn inputs_whose_digest_the_check_had_no_room_for_are_not_trained_on() {
    let mut world = World::new(checked());
    world.settle().data_holds();
    let more = object(json!({"name": "labels", "uri": "pvc://events/labels"}));
    world.edit(|spec| spec.inputs.push(more));
    world.settle();
    let said = world.said(FAILED);
    assert!(
        said.starts_with("True ReportTruncated: the report of the check has no digest of labels"),
        "{said}"
    );
}

#[test]
fn an_address_that_the_check_had_no_room_for_is_the_jobs_own() {
    let mut world = World::new(checked());
    world.settle().data_holds();
    world.pod(|mut pod| {
        let status = pod.status.as_mut().expect("a status");
        for container in status.container_statuses.iter_mut().flatten() {
            let ended = container
                .state
                .as_mut()
                .and_then(|state| state.terminated.as_mut());
            let message = ended
                .and_then(|ended| ended.message.as_mut())
                .expect("a report");
            *message = message.replace("\"pvc://events/2026-10\"", "\"\"");
        }
        pod
    });
    world.settle();
    assert_eq!(world.status().inputs[0].uri, "pvc://events/2026-10");
}

#[test]
fn a_check_that_nobody_could_read_is_made_again() {
    let mut world = World::new(checked());
    world.settle().data_is_not_known().settle();
    let made: Vec<&String> = world.changes.iter().collect();
    assert_eq!(made, ["made a-check", "deleted a-check", "made a-check"]);
    world.data_holds().settle();
    assert_eq!(world.made(), 1);
}

#[test]
fn a_job_suspended_while_its_data_is_checked_checks_it_when_it_is_resumed() {
    let mut world = World::new(checked());
    world.settle().suspend(true).settle();
    world.suspend(false).settle();
    assert!(
        world.said(READY).contains("waiting until Job a-check"),
        "{}",
        world.said(READY)
    );
    world.pods_go().settle().data_holds().settle();
    assert_eq!((world.made(), world.status().attempt), (1, Some(1)));
}

#[test]
fn a_check_that_cannot_start_is_told() {
    let mut world = World::new(checked());
    world.settle();
    let pod = (*world.observed.pods[0]).clone();
    world.observed.pods[0] = std::sync::Arc::new(waiting(pod, "ImagePullBackOff"));
    world.settle();
    assert!(
        world
            .said(STALLED)
            .starts_with("True ImageNotFound: pod a-check-0"),
        "{}",
        world.said(STALLED)
    );
}

#[test]
fn the_deadline_counts_the_time_of_the_check() {
    let mut spec = checked();
    spec["activeDeadlineSeconds"] = json!(100);
    let mut world = World::new(spec);
    world.settle().wait(100).settle();
    assert!(
        world.said(FAILED).starts_with("True DeadlineExceeded"),
        "{}",
        world.said(FAILED)
    );
    assert!(world.observed.children.is_empty(), "the check goes, too");
}

#[test]
fn an_attempt_that_was_started_before_checks_had_a_job_is_left_alone() {
    let mut world = World::new(checked());
    let status = json!({"attempt": 1, "conditions": [], "attempts": [{"number": 1, "ended": at(0), "reason": "Disrupted", "message": ""}]});
    std::sync::Arc::make_mut(&mut world.observed.job).status = Some(object(status));
    world.settle();
    assert_eq!(world.changes, ["made a-2"]);
}

#[test]
fn data_is_compared_with_the_champions_where_it_has_a_profile() {
    let mut spec = checked();
    spec["inputs"][0]["checks"] = json!([{"sameDistributionAs": "Champion"}]);
    let mut world = World::new(spec);
    let mut champion = (*version(4, 'f', Some("Pass"))).clone();
    champion.spec.inputs = object(json!([
        {"name": "events", "uri": "pvc://events/2026-09", "digest": digest('c'), "profile": {"uri": "pvc://profiles/4/events.json", "digest": digest('d')}},
        {"name": "others", "uri": "pvc://events/others", "digest": digest('c'), "profile": {"uri": "pvc://profiles/4/others.json", "digest": digest('d')}}
    ]));
    world.observed.versions = vec![std::sync::Arc::new(champion)];
    let without = arguments(&world.job());
    assert_eq!(follow(&without, "--reference"), [""; 0], "nothing serves");
    assert_eq!(
        follow(&without, "--profile-to"),
        ["pvc://models/churn/a-01234567/data"]
    );
    world.observed.champion = Some("churn-4".to_owned());
    let job = world.job();
    assert_eq!(
        follow(&arguments(&job), "--reference"),
        ["events=pvc://profiles/4/events.json"]
    );
    let pods = job.spec.and_then(|spec| spec.template.spec).expect("pods");
    let claims: Vec<String> = pods
        .volumes
        .into_iter()
        .flatten()
        .filter_map(|volume| Some(volume.persistent_volume_claim?.claim_name))
        .collect();
    assert_eq!(claims, ["events", "models", "profiles"]);
}
