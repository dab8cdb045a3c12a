//! One decision a test: what happens, and what is said.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::DeploymentCondition;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use serde_json::json;
use windlass_api::condition::{AVAILABLE, READY, RECONCILING, STALLED};
use windlass_api::{ModelVersion, RolloutOutcome};
use windlass_statistics::random::Random;

use super::world::World;
use crate::fixtures::{assert_restricted, at, given, object, readable, steps, version, waiting};
use crate::modeldeployment::{Answer, refused};
use crate::{Child, Problem, Step};

fn in_format(mut version: Arc<ModelVersion>, format: &str) -> Arc<ModelVersion> {
    Arc::make_mut(&mut version).spec.artifact.format = format.to_owned();
    version
}

fn children(world: &World) -> Vec<(String, i32)> {
    world.children()
}

fn named(children: &[(&str, i32)]) -> Vec<(String, i32)> {
    children
        .iter()
        .map(|(name, replicas)| ((*name).to_owned(), *replicas))
        .collect()
}

#[test]
fn the_plan_that_starts_a_canary() {
    let mut world = World::serving(json!({}));
    world.add(version(2, '2', Some("Pass")));
    insta::with_settings!({snapshot_path => "../snapshots", prepend_module_to_snapshot => false}, {
        insta::assert_yaml_snapshot!("plan_that_starts_a_canary", readable(&world.plan()));
    });
}

/// The arguments with which a version's pods fetch the model.
fn fetched_with(world: &World, version: &str) -> String {
    let mut all = world.observed.children.iter();
    let child = all.find(|child| child.name_any() == version);
    let spec = child.and_then(|child| child.spec.template.spec.clone());
    let mut containers = spec
        .and_then(|spec| spec.init_containers)
        .into_iter()
        .flatten();
    let fetch = containers.find(|container| container.name == "windlass-fetch");
    fetch
        .and_then(|container| container.args)
        .expect("arguments")
        .join(" ")
}

#[test]
fn who_serves_says_whose_signature_a_model_has_to_have_and_its_record_where_it_lies() {
    let key = |name: &str| json!({"configMapKeyRef": {"name": name, "key": "pem"}});
    let mut world = World::new(json!({"signedBy": {"certificateAuthority": key("ours")}}));
    Arc::make_mut(&mut world.observed.versions[0])
        .spec
        .artifact
        .signature = Some(object(
        json!({"bundle": "pvc://models/1.sig", "signedBy": {"publicKey": key("theirs")}}),
    ));
    world.settle();
    let arguments = fetched_with(&world, "churn-v1");
    assert!(
        arguments.ends_with(
            "--certificate-authority /windlass/trust/ours/pem --signature pvc://models/1.sig"
        ),
        "{arguments}"
    );
    let spec = world.observed.children[0].spec.template.spec.clone();
    assert_restricted(&spec.expect("pods"));
}

#[test]
fn a_version_that_is_not_signed_as_asked_is_rolled_back_with_why_and_what_serves_serves_on() {
    does_not_serve("SignatureInvalid", "it is not signed");
}

#[test]
fn a_version_whose_files_are_others_is_rolled_back_with_why_and_what_serves_serves_on() {
    does_not_serve("DigestMismatch", "its files have another digest");
}

/// A canary whose files the agent refuses for this reason is rolled back.
fn does_not_serve(reason: &str, message: &str) {
    let signed_by = json!({"publicKey": {"configMapKeyRef": {"name": "keys", "key": "pem"}}});
    let mut world = World::rolling(json!({"signedBy": signed_by}));
    let said = json!({"kind": "Failure", "reason": reason, "message": message});
    let last = json!({"terminated": {"exitCode": 65, "message": said.to_string()}});
    world
        .pod("churn-2", |pod| {
            let mut pod = waiting(pod, "CrashLoopBackOff");
            let status = pod.status.as_mut().expect("a status");
            for container in status.container_statuses.iter_mut().flatten() {
                container.last_state = Some(object(last.clone()));
            }
            pod
        })
        .settle();
    assert!(world.said(READY).contains(message), "{}", world.said(READY));
    assert!(world.is(AVAILABLE));
    world.wait(301).settle();
    assert_eq!(world.canary(), None);
    assert_eq!(world.stable().as_deref(), Some("churn-1"));
    let record = world.status().last_rollout.expect("a record");
    assert_eq!(record.outcome, RolloutOutcome::RolledBack);
    assert!(record.message.contains(message), "{record:?}");
}

#[test]
fn the_first_version_serves_when_all_its_pods_are_ready() {
    let mut world = World::new(json!({}));
    world.settle();
    assert_eq!(children(&world), named(&[("churn-v1", 3)]));
    assert!(!world.is(AVAILABLE) && world.is(RECONCILING));
    world.ready(1, 2).settle();
    assert_eq!(world.stable(), None);
    world.ready(1, 1).settle();
    assert_eq!(world.stable().as_deref(), Some("churn-1"));
    assert!(world.is(READY) && world.is(AVAILABLE));
    assert_eq!(
        world.said(AVAILABLE),
        "True Serving: 3 pods of churn-1 are ready"
    );
    let writes = world.writes;
    world.wait(1000).settle();
    assert_eq!(
        world.writes, writes,
        "nothing is written while nothing rolls"
    );
}

#[test]
fn a_version_that_nobody_judges_is_named_where_latest_waits() {
    let mut world = World::new(json!({}));
    world.observed.versions = vec![version(1, '1', None)];
    Arc::make_mut(&mut world.observed.versions[0])
        .spec
        .validation = None;
    world.settle();
    assert!(
        world
            .said(READY)
            .contains("churn-1 was registered without spec.validation"),
        "{}",
        world.said(READY)
    );
}

#[test]
fn without_a_good_version_it_waits_and_says_for_what() {
    for verdict in [None, Some("Fail"), Some("Inconclusive")] {
        let mut world = World::new(json!({}));
        world.observed.versions = vec![version(1, '1', verdict)];
        world.settle();
        assert!(
            world
                .said(READY)
                .starts_with("False NoVersion: waiting until"),
            "{}",
            world.said(READY)
        );
        assert!(!world.is(STALLED) && world.is(RECONCILING) && world.observed.children.is_empty());
    }
}

#[test]
fn a_roll_out_goes_step_by_step_and_the_stable_version_keeps_all_its_pods() {
    let mut world = World::rolling(json!({}));
    assert_eq!(children(&world), named(&[("churn-v1", 3), ("churn-v2", 1)]));
    assert_eq!(world.status().canary.map(|canary| canary.weight), Some(0));
    world.all_ready().settle();
    assert_eq!(world.status().canary.map(|canary| canary.weight), Some(10));
    world.traffic(500, 0).wait(59).settle();
    assert_eq!(
        world.status().canary.map(|canary| canary.step),
        Some(0),
        "a step lasts at least its hold"
    );
    world.wait(2).settle();
    assert_eq!(children(&world), named(&[("churn-v1", 3), ("churn-v2", 3)]));
    world.step_passes();
    assert_eq!(world.stable().as_deref(), Some("churn-2"));
    assert_eq!(children(&world), named(&[("churn-v2", 3)]));
    assert_eq!(
        world.status().last_rollout.map(|record| record.outcome),
        Some(RolloutOutcome::Promoted)
    );
    assert!(world.is(READY), "{}", world.said(READY));
}

#[test]
fn only_a_canary_that_has_shown_that_it_is_no_worse_takes_all_and_the_status_is_written_seldom() {
    let mut world = World::rolling(json!({}));
    world.step_passes().all_ready().traffic(0, 0).settle();
    let seen = world.status().canary.and_then(|canary| canary.errors);
    let seen = seen.expect("what was seen is kept as a step begins");
    assert_eq!(
        (seen.rollout.canary.requests, seen.step.canary.requests),
        (1500, 0)
    );
    // A few errors more than the stable version has, which may be chance.
    world.traffic_of(1400, [28, 22]).wait(61).settle();
    assert_eq!(world.canary().as_deref(), Some("churn-2"));
    let said = world.said(READY);
    assert!(said.contains("is not shown yet; about"), "{said}");
    let writes = world.writes;
    world.traffic_of(150, [3, 2]).wait(10).settle();
    let now = world.said(READY);
    assert_eq!(
        world.writes, writes,
        "numbers alone are not written: {said}, {now}"
    );
    // An operator that is started anew has asked nobody yet.
    world.observed.traffic.clear();
    world.wait(1).settle();
    assert_eq!(world.writes, writes, "nor what is not known for a moment");
    world.traffic_of(300, [6, 4]).wait(10).settle();
    assert_eq!(world.writes, writes, "nor evidence, so soon");
    world.traffic_of(300, [6, 4]).wait(300).settle();
    assert_eq!(world.writes, writes + 1, "which is in time");
    world.traffic(3000, 0).settle();
    assert_eq!(world.stable().as_deref(), Some("churn-2"));
}

#[test]
fn a_step_takes_one_write_at_most_for_what_is_compared_in_it_however_often_it_is_looked_at() {
    let mut random = Random::new(61);
    let mut world = World::rolling(json!({"rollout": {
        "steps": [{"weight": 10, "hold": "5m"}, {"weight": 50, "hold": "5m"}], "minRequests": 10,
    }}));
    let mut looks = 0;
    while world.canary().is_some() && looks < 3000 {
        let errors = [(); 2].map(|()| u64::from(random.uniform() < 0.3));
        world.all_ready().traffic_of(30, errors).wait(2).settle();
        looks += 1;
    }
    println!("{} writes in {looks} looks", world.told);
    assert_eq!(world.stable().as_deref(), Some("churn-2"));
    assert!(looks >= 300, "{looks}");
    assert!(world.told <= 2, "{}", world.told);
}

#[test]
fn a_query_decides_by_answers_in_a_row_alone_and_what_is_no_answer_is_told_and_waits() {
    use Answer::{Failed, Nothing, Refused, Several, Value};
    let query = "errors{version=\"churn-2\"}";
    let mut world = World::rolling(json!({"rollout": {
        "steps": [{"weight": 10, "hold": "60s"}, {"weight": 50, "hold": "60s"}],
        "analysis": [{
            "metric": "Prometheus", "query": "errors{version=\"{{ canary }}\"}", "max": "0.01", "count": 2,
        }],
    }}));
    world.all_ready().settle().traffic(500, 0).wait(90).settle();
    assert!(
        world.said(READY).contains("was given no Prometheus"),
        "{}",
        world.said(READY)
    );
    for (answer, part) in [
        (
            Refused("1:7: parse error".to_owned()),
            "is refused by Prometheus: 1:7: parse error",
        ),
        (
            Failed("connection refused".to_owned()),
            "has no answer: connection refused",
        ),
        (Nothing, "answers nothing"),
        (Several(3), "answers 3 series"),
        (Value(f64::NAN), "answers NaN"),
        (
            Value(0.5),
            "answers 0.5 (0.01 or less is good), 1 of 2 times one after the other",
        ),
    ] {
        let answers = [answer.clone()];
        world.wait(31).answered(query, &answers).wait(10).settle();
        assert_eq!(
            world.status().canary.map(|canary| canary.step),
            Some(0),
            "{answer:?}"
        );
        let said = world.said(READY);
        assert!(said.contains("spec.rollout.analysis[0].query "), "{said}");
        assert!(said.contains(part), "{said}");
    }
    world.answered(query, &[Value(0.01), Value(0.0)]).settle();
    assert_eq!(world.status().canary.map(|canary| canary.step), Some(1));
    // What was answered in the step before says nothing in the next one.
    world.all_ready().settle().traffic(500, 0).wait(61);
    world
        .answered(query, &[Value(0.0), Failed(String::new())])
        .settle();
    assert_eq!(world.canary().as_deref(), Some("churn-2"));
    world.answered(query, &[Value(0.02), Value(0.02)]).settle();
    assert_eq!(world.stable().as_deref(), Some("churn-1"));
    assert!(
        world
            .said(READY)
            .contains("answers 0.02 (0.01 or less is good), 2 times one after the other"),
        "{}",
        world.said(READY)
    );
}

#[test]
fn low_traffic_extends_a_step_and_never_passes_one() {
    let mut world = World::rolling(json!({}));
    world
        .all_ready()
        .settle()
        .traffic(99, 0)
        .wait(100_000)
        .settle();
    assert_eq!(world.status().canary.map(|canary| canary.step), Some(0));
    assert!(
        world.said(READY).contains("99 of 100 requests"),
        "{}",
        world.said(READY)
    );
}

#[test]
fn harm_at_any_moment_rolls_back_and_what_failed_is_never_tried_again() {
    for moment in [
        "while the first pods start",
        "in the first step",
        "while the pods of the second step start",
        "in the second step",
    ] {
        let mut world = World::rolling(json!({}));
        match moment {
            "while the first pods start" => {}
            "in the first step" => drop(world.all_ready().settle()),
            "while the pods of the second step start" => drop(world.step_passes()),
            _ => drop(world.step_passes().all_ready().settle()),
        }
        assert_eq!(world.canary().as_deref(), Some("churn-2"), "{moment}");
        world.traffic(500, 250).settle();
        assert_eq!(children(&world), named(&[("churn-v1", 3)]), "{moment}");
        assert_eq!(
            world.status().last_rollout.map(|record| record.outcome),
            Some(RolloutOutcome::RolledBack),
            "{moment}"
        );
        assert!(
            world
                .said(READY)
                .starts_with("True RolledBack: churn-2 was rolled back: errors 250/"),
            "{moment}: {}",
            world.said(READY)
        );
        world.observed.traffic.clear();
        world.add(version(3, '2', Some("Pass"))).settle();
        assert_eq!(
            world.canary(),
            None,
            "{moment}: another version of the same fingerprint"
        );
        world.add(version(4, '4', Some("Pass"))).settle();
        assert_eq!(
            world.canary().as_deref(),
            Some("churn-4"),
            "{moment}: a new one is tried"
        );
    }
}

#[test]
fn pods_that_never_get_ready_roll_back_with_the_reason() {
    let mut world = World::rolling(json!({}));
    world
        .pod("churn-2", |pod| waiting(pod, "CrashLoopBackOff"))
        .settle();
    assert!(
        world.said(READY).contains("pod churn-2-pod"),
        "what holds it up is said: {}",
        world.said(READY)
    );
    assert!(
        !world.is(STALLED) && world.is(RECONCILING),
        "it ends by itself"
    );
    world.wait(301).settle();
    let record = world.status().last_rollout.expect("a record");
    assert_eq!(record.outcome, RolloutOutcome::RolledBack);
    assert!(
        record
            .message
            .contains("progressDeadlineSeconds (300 s): pod churn-2-pod"),
        "{}",
        record.message
    );
    assert_eq!(world.capacity(), 3);
}

#[test]
fn a_canary_whose_pods_are_lost_in_a_step_is_not_waited_for_for_ever() {
    let mut world = World::rolling(json!({}));
    world.all_ready().settle().ready(2, -1).wait(61).settle();
    assert!(
        world.said(READY).contains("waiting until 1 pods are ready"),
        "{}",
        world.said(READY)
    );
    world.traffic(500, 0).wait(200).settle();
    assert_eq!(
        world.status().canary.map(|canary| canary.step),
        Some(0),
        "no step passes without its pods"
    );
    world.wait(200).settle();
    assert_eq!(
        world.status().last_rollout.map(|record| record.outcome),
        Some(RolloutOutcome::RolledBack)
    );
}

#[test]
fn what_serves_is_good_though_another_version_of_its_fingerprint_failed() {
    let mut world = World::serving(json!({}));
    world
        .add(version(2, '1', Some("Pass")))
        .settle()
        .traffic(500, 250)
        .settle();
    assert_eq!(world.stable().as_deref(), Some("churn-1"));
    world.settle();
    assert!(
        world.is(READY) && world.capacity() == 3,
        "{}",
        world.said(READY)
    );
}

#[test]
fn latest_passes_over_a_version_that_is_to_go() {
    let mut world = World::serving(json!({}));
    let mut retiring = version(2, '2', Some("Pass"));
    let status = Arc::make_mut(&mut retiring).status.get_or_insert_default();
    status.retiring = Some(object(json!({"since": at(0)})));
    world.add(retiring).settle();
    assert_eq!(
        (world.stable().as_deref(), world.canary()),
        (Some("churn-1"), None)
    );
    world.add(version(3, '3', Some("Pass"))).settle();
    assert_eq!(world.canary().as_deref(), Some("churn-3"));
}

#[test]
fn a_version_that_cannot_be_had_is_named_and_what_served_serves_on() {
    let rows = [
        (9, "VersionNotFound"),
        (3, "VersionRejected"),
        (2, "VersionQuarantined"),
        (4, "VersionRetiring"),
        (5, "VersionNotRegistered"),
        (6, "VersionNotValidated"),
    ];
    for (number, reason) in rows {
        let mut world = World::rolling(json!({}));
        let mut retiring = version(4, '4', Some("Pass"));
        let status = Arc::make_mut(&mut retiring).status.get_or_insert_default();
        status.retiring = Some(object(json!({"since": at(0)})));
        let mut unregistered = version(5, '5', None);
        Arc::make_mut(&mut unregistered).spec.artifact.digest = None;
        let mut unjudged = version(6, '6', None);
        Arc::make_mut(&mut unjudged).spec.validation = Some(object(json!({
            "dataset": {"uri": "pvc://data/holdout", "label": "late"},
            "metrics": [{"name": "rocAuc", "min": "0.5"}],
        })));
        world
            .traffic(500, 250)
            .settle()
            .add(version(3, '3', Some("Fail")))
            .add(retiring)
            .add(unregistered)
            .add(unjudged);
        world
            .edit(|spec| spec.version = IntOrString::Int(number))
            .settle();
        assert!(
            world
                .said(STALLED)
                .starts_with(&format!("True {reason}: spec.version")),
            "{}",
            world.said(STALLED)
        );
        assert!(world.is(AVAILABLE) && !world.is(READY));
        assert_eq!(children(&world), named(&[("churn-v1", 3)]));
        world
            .edit(|spec| spec.version = IntOrString::Int(1))
            .settle();
        assert!(world.is(READY), "{}", world.said(READY));
    }
}

#[test]
fn a_fixed_version_is_served_unjudged_and_a_newer_one_is_left_alone() {
    let mut world = World::serving(json!({}));
    world
        .add(version(2, '2', None))
        .add(version(3, '3', Some("Pass")));
    world
        .edit(|spec| spec.version = IntOrString::Int(2))
        .settle();
    assert_eq!(world.canary().as_deref(), Some("churn-2"));
    world.step_passes().step_passes();
    assert_eq!(world.stable().as_deref(), Some("churn-2"));
}

#[test]
fn what_served_serves_on_when_a_claim_or_a_runtime_is_missing() {
    for (reason, field) in [
        ("VolumeClaimNotFound", "spec.observe.logPayloads.uri"),
        ("RuntimeNotFound", "spec.runtime"),
        ("InvalidTemplate", "spec.template"),
    ] {
        let mut world = World::serving(json!({}));
        match reason {
            "VolumeClaimNotFound" => {
                Arc::make_mut(&mut world.observed.claims).remove("predictions");
            }
            "RuntimeNotFound" => drop(world.edit(|spec| spec.runtime = Some("nosuch".to_owned()))),
            _ => drop(world.edit(|spec| {
                spec.runtime = None;
                spec.template = Some(windlass_api::PodTemplate(
                    json!({"spec": {"containers": []}}),
                ));
            })),
        }
        world.add(version(2, '2', Some("Pass"))).settle();
        assert!(
            world
                .said(STALLED)
                .starts_with(&format!("True {reason}: {field}")),
            "{}",
            world.said(STALLED)
        );
        assert!(world.is(AVAILABLE) && world.capacity() == 3, "{reason}");
        Arc::make_mut(&mut world.observed.claims).insert("predictions".to_owned());
        world.edit(|spec| {
            spec.runtime = Some("mlserver".to_owned());
            spec.template = None;
        });
        world.settle();
        assert!(
            !world.is(STALLED) && world.canary().is_some(),
            "{reason}: goes on when it is mended"
        );
    }
}

#[test]
fn a_bad_version_together_with_other_changes_touches_no_pod_that_serves() {
    let mut world = World::serving(json!({}));
    let before = world.observed.children[0].spec.template.clone();
    world.observed.agent_image = "agent:2".to_owned();
    world
        .edit(|spec| spec.version = IntOrString::Int(9))
        .settle();
    assert_eq!(world.observed.children[0].spec.template, before);
    world.edit(|spec| spec.replicas = 5).settle();
    assert_eq!(
        (&world.observed.children[0].spec.template, children(&world)),
        (&before, named(&[("churn-v1", 5)]))
    );
}

#[test]
fn an_upgrade_of_the_operator_changes_no_pod_until_the_object_is_changed() {
    let mut world = World::serving(json!({}));
    let writes = world.writes;
    world.observed.agent_image = "agent:2".to_owned();
    world.observed.presets = crate::presets::Presets::default();
    world.settle();
    assert_eq!(world.writes, writes);
}

#[test]
fn each_version_runs_with_the_preset_for_its_own_format() {
    let mut world = World::serving(json!({}));
    world
        .add(in_format(version(2, '2', Some("Pass")), "XGBoost"))
        .settle();
    let implementation = |world: &World, at: usize| {
        let spec = world.observed.children[at]
            .spec
            .template
            .spec
            .clone()
            .expect("pods");
        let server = spec
            .init_containers
            .expect("sidecars")
            .into_iter()
            .find(|container| container.name == "server")
            .expect("a server");
        server
            .env
            .expect("variables")
            .into_iter()
            .find(|variable| variable.name == "MLSERVER_MODEL_IMPLEMENTATION")
            .and_then(|variable| variable.value)
            .expect("one")
    };
    assert_eq!(
        (
            implementation(&world, 0).as_str(),
            implementation(&world, 1).as_str()
        ),
        (
            "mlserver_lightgbm.LightGBMModel",
            "mlserver_xgboost.XGBoostModel"
        )
    );
    world.edit(|spec| spec.replicas = 4).settle();
    assert_eq!(
        implementation(&world, 0),
        "mlserver_lightgbm.LightGBMModel",
        "also when the object is changed meanwhile"
    );
    world.step_passes().step_passes();
    assert_eq!(
        world.stable().as_deref(),
        Some("churn-2"),
        "{}",
        world.said(READY)
    );
    assert_eq!(implementation(&world, 0), "mlserver_xgboost.XGBoostModel");
}

#[test]
fn pods_of_the_first_version_that_cannot_start_are_told_within_the_first_look() {
    let mut world = World::new(json!({}));
    world
        .settle()
        .pod("churn-1", |pod| waiting(pod, "ErrImagePull"))
        .settle();
    assert!(
        world
            .said(STALLED)
            .starts_with("True ImageNotFound: pod churn-1-pod"),
        "{}",
        world.said(STALLED)
    );
}

#[test]
fn a_newer_version_takes_over_from_one_that_is_still_starting_without_a_gap() {
    let mut world = World::new(json!({}));
    world
        .settle()
        .ready(1, 2)
        .add(version(2, '2', Some("Pass")))
        .settle();
    assert_eq!(
        children(&world),
        named(&[("churn-v1", 3), ("churn-v2", 3)]),
        "two pods answer: they stay until the others do"
    );
    world.ready(2, 3).settle();
    assert_eq!(
        (world.stable().as_deref(), children(&world)),
        (Some("churn-2"), named(&[("churn-v2", 3)]))
    );
    let mut world = World::new(json!({}));
    world.settle().add(version(2, '2', Some("Pass"))).settle();
    assert_eq!(
        children(&world),
        named(&[("churn-v2", 3)]),
        "one that never answered goes at once"
    );
}

#[test]
fn what_serves_stays_though_its_record_is_deleted() {
    let mut world = World::serving(json!({}));
    world.observed.versions = vec![version(2, '2', Some("Pass"))];
    world.settle();
    assert!(
        world.capacity() == 3 && world.is(AVAILABLE),
        "{}",
        world.said(AVAILABLE)
    );
    assert!(
        world
            .said(READY)
            .starts_with("False Starting: 0 of 3 pods of churn-2 are ready; churn-1, whose"),
        "what serves is not what is asked for: {}",
        world.said(READY)
    );
    does_not_get_on(
        &mut world,
        2,
        "Progressing",
        "False",
        "ProgressDeadlineExceeded",
    );
    world.reconcile();
    assert!(
        world
            .said(STALLED)
            .starts_with("True ProgressDeadlineExceeded")
    );
    world.observed.versions.clear();
    world.settle();
    assert_eq!(world.capacity(), 3);
    assert!(
        world
            .said(STALLED)
            .starts_with("True ServingRecordDeleted: the ModelVersion churn-1"),
        "{}",
        world.said(STALLED)
    );
    let mut world = World::serving(json!({}));
    world.edit(|spec| spec.replicas = 2).reconcile();
    world.observed.versions = vec![version(2, '2', Some("Pass"))];
    world.reconcile();
    assert_eq!(
        world.capacity(),
        2,
        "also when its Deployment has just been changed"
    );
}

#[test]
fn what_serves_is_left_alone_while_its_record_is_made_anew() {
    for asked in [
        IntOrString::Int(1),
        IntOrString::String("Latest".to_owned()),
    ] {
        let mut world = World::serving(json!({}));
        world.edit(|spec| spec.version = asked.clone()).settle();
        let before = children(&world);
        let mut anew = version(1, '1', None);
        Arc::make_mut(&mut anew).spec.artifact.digest = None;
        world.observed.versions = vec![anew];
        world.edit(|spec| spec.replicas = 5).settle();
        assert_eq!(children(&world), before, "{asked:?}");
        assert!(
            world
                .said(STALLED)
                .contains("its files are not digested yet"),
            "{}",
            world.said(STALLED)
        );
    }
}

#[test]
fn replicas_are_followed_while_nothing_rolls_and_while_something_does() {
    let mut world = World::serving(json!({}));
    world.edit(|spec| spec.replicas = 5).settle();
    assert!(
        world.said(READY).starts_with("False Starting: 3 of 5"),
        "{}",
        world.said(READY)
    );
    assert!(world.is(AVAILABLE));
    world
        .all_ready()
        .settle()
        .edit(|spec| spec.replicas = 0)
        .settle();
    assert!(world.is(READY) && children(&world) == named(&[("churn-v1", 0)]));
    let mut world = World::rolling(json!({}));
    world.step_passes().edit(|spec| spec.replicas = 6).settle();
    assert_eq!(children(&world), named(&[("churn-v1", 6), ("churn-v2", 6)]));
    world.edit(|spec| spec.replicas = 2).settle();
    assert_eq!(children(&world), named(&[("churn-v1", 2), ("churn-v2", 2)]));
}

#[test]
fn a_canary_that_is_no_longer_asked_for_goes() {
    let mut world = World::rolling(json!({}));
    world.add(version(3, '3', Some("Pass"))).settle();
    assert_eq!(
        (world.canary().as_deref(), children(&world)),
        (Some("churn-3"), named(&[("churn-v1", 3), ("churn-v3", 1)]))
    );
    world
        .edit(|spec| spec.version = IntOrString::Int(1))
        .settle();
    assert_eq!(
        (world.canary(), children(&world)),
        (None, named(&[("churn-v1", 3)]))
    );
}

#[test]
fn every_pod_is_restricted_and_never_taken_before_another_is_ready() {
    for step in World::new(json!({})).plan().steps {
        let Step::Apply(Child::Deployment(child)) = step else {
            continue;
        };
        assert_restricted(child.spec.template.spec.as_ref().expect("pods"));
        let rolling = child
            .spec
            .strategy
            .and_then(|strategy| strategy.rolling_update)
            .expect("a rolling update");
        assert_eq!(rolling.max_unavailable, Some(IntOrString::Int(0)));
    }
}

#[test]
fn the_storage_is_handed_to_fetch_and_proxy_and_never_to_the_model_server() {
    let own = json!({"spec": {"serviceAccountName": "own", "containers": [{"name": "server", "image": "server:1"}, {"name": "beside", "image": "beside:1"}]}});
    let rows = [
        (json!({}), "reader"),
        (json!({"runtime": null, "template": own}), "own"),
    ];
    for (mut spec, account) in rows {
        let is_own = account == "own";
        spec["storage"] = json!({"secretName": "keys", "serviceAccountName": "reader"});
        let mut world = World::serving(spec);
        let pods = |world: &World| world.observed.children[0].spec.template.spec.clone();
        let before = pods(&world).expect("pods");
        assert_eq!(given(&before, "keys"), ["windlass-agent", "windlass-fetch"]);
        assert_eq!(before.service_account_name.as_deref(), Some(account));
        assert_restricted(&before);
        world
            .edit(|spec| spec.storage = Some(object(json!({"secretName": "others"}))))
            .settle();
        let after = pods(&world).expect("pods");
        assert_eq!(given(&after, "keys"), Vec::<String>::new());
        assert_eq!(
            given(&after, "others"),
            ["windlass-agent", "windlass-fetch"]
        );
        let names = [&after.service_account_name, &after.service_account];
        assert_eq!(names, [&is_own.then(|| account.to_owned()); 2]);
    }
}

#[test]
fn one_that_is_being_deleted_is_left_to_go() {
    let mut world = World::rolling(json!({}));
    Arc::make_mut(&mut world.observed.deployment)
        .metadata
        .deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(1)));
    assert_eq!(steps(&world.plan()), Vec::<String>::new());
}

/// The Deployment controller says that the pods of version `number` do not get on.
fn does_not_get_on(world: &mut World, number: i64, type_: &str, status: &str, reason: &str) {
    let name = format!("churn-v{number}");
    let children = &mut world.observed.children;
    let child = children.iter_mut().find(|child| child.name_any() == name);
    let child = Arc::make_mut(child.expect("a Deployment"));
    child.status.as_mut().expect("a status").conditions = Some(vec![DeploymentCondition {
        type_: Some(type_.to_owned()),
        status: Some(status.to_owned()),
        reason: Some(reason.to_owned()),
        message: Some("exceeded quota: pods=1".to_owned()),
        ..DeploymentCondition::default()
    }]);
}

#[test]
fn a_first_version_that_never_gets_ready_is_a_person_s_to_look_at_after_the_deadline() {
    let mut world = World::new(json!({}));
    world.settle();
    does_not_get_on(
        &mut world,
        1,
        "Progressing",
        "False",
        "ProgressDeadlineExceeded",
    );
    world.reconcile();
    assert!(world.is(STALLED) && !world.is(RECONCILING));
    let said = world.said(STALLED);
    assert!(
        said.starts_with("True ProgressDeadlineExceeded: the pods of Deployment churn-v1")
            && said.contains("spec.progressDeadlineSeconds (300 s)")
            && said.contains("the model server runs, and does not say that it is ready"),
        "{said}"
    );
}

#[test]
fn a_change_whose_pods_do_not_start_is_not_ready_by_the_pods_before_it() {
    let mut world = World::serving(json!({}));
    let child = Arc::make_mut(&mut world.observed.children[0]);
    let status = child.status.as_mut().expect("a status");
    // One of the template before is among the three that answer; one of the three new ones does not.
    (
        status.replicas,
        status.updated_replicas,
        status.ready_replicas,
    ) = (Some(4), Some(3), Some(3));
    world.reconcile();
    assert!(
        world.is(AVAILABLE) && !world.is(READY),
        "{}",
        world.said(READY)
    );
}

#[test]
fn pods_that_may_not_be_made_are_told_in_the_api_server_s_words() {
    let mut world = World::new(json!({}));
    world.settle();
    does_not_get_on(&mut world, 1, "ReplicaFailure", "True", "FailedCreate");
    world.reconcile();
    let said = world.said(STALLED);
    assert!(
        said.starts_with("True PodsNotCreated") && said.ends_with("exceeded quota: pods=1"),
        "{said}"
    );
}

#[test]
fn a_canary_whose_pods_may_not_be_made_says_so_and_is_taken_back_for_it() {
    let mut world = World::rolling(json!({}));
    does_not_get_on(&mut world, 2, "ReplicaFailure", "True", "FailedCreate");
    world.reconcile();
    let said = world.said(READY);
    assert!(
        said.contains("churn-2 is tried") && said.ends_with("exceeded quota: pods=1"),
        "{said}"
    );
    world.wait(301).reconcile();
    let last = world.status().last_rollout.expect("one ended");
    assert_eq!(last.outcome, RolloutOutcome::RolledBack);
    assert!(last.message.ends_with("exceeded quota: pods=1"), "{last:?}");
}

#[test]
fn steps_that_are_taken_away_under_way_begin_anew_and_leave_no_promotion_without_pods() {
    let steps = json!({"replicas": 10, "rollout": {"minRequests": 100, "steps": [
        {"weight": 10, "hold": "60s"}, {"weight": 20, "hold": "60s"}, {"weight": 50, "hold": "60s"}]}});
    let mut world = World::rolling(steps);
    world.step_passes();
    world.all_ready().settle();
    assert_eq!(world.status().canary.map(|canary| canary.step), Some(1));
    world.edit(|spec| spec.rollout.steps.truncate(1)).settle();
    let canary = world.status().canary.expect("a canary");
    assert_eq!(
        (canary.step, canary.step_started.is_some()),
        (0, true),
        "it begins anew"
    );
    world.traffic(500, 0).wait(59).settle();
    assert_eq!(world.stable().as_deref(), Some("churn-1"));
    world.step_passes();
    assert_eq!(
        children(&world),
        named(&[("churn-v1", 10), ("churn-v2", 10)]),
        "all its pods are made first"
    );
    world.all_ready().settle();
    assert_eq!(world.stable().as_deref(), Some("churn-2"));
}

#[test]
fn the_record_of_a_promotion_has_the_evidence_also_when_pods_were_awaited_after_the_last_step() {
    let rollout = json!({"minRequests": 100, "steps": [{"weight": 10, "hold": "60s"}]});
    let mut world = World::rolling(json!({"replicas": 10, "rollout": rollout}));
    world.step_passes();
    assert_eq!(world.stable().as_deref(), Some("churn-1"));
    assert!(
        world.said(READY).contains("has passed all steps"),
        "{}",
        world.said(READY)
    );
    world.all_ready().settle();
    let record = world.status().last_rollout.expect("a record");
    assert_eq!(record.outcome, RolloutOutcome::Promoted);
    assert!(
        record.message.contains("500") && !record.message.contains("waiting"),
        "{}",
        record.message
    );
}

#[test]
fn pods_that_are_asked_for_late_have_the_whole_deadline_before_them() {
    let mut world = World::rolling(json!({}));
    world.wait(299).edit(|spec| spec.replicas = 60).settle();
    world.wait(299).settle();
    assert_eq!(world.canary().as_deref(), Some("churn-2"));
    world.wait(2).settle();
    assert_eq!(world.canary(), None, "and no more than that");
}

#[test]
fn what_the_api_server_refuses_is_said_and_what_serves_is_said_to_serve() {
    let mut world = World::serving(json!({}));
    world.add(version(2, '2', Some("Pass")));
    let problem = Problem::new(
        "Refused",
        "the API server refuses Deployment growth/churn-v2",
    );
    let plan = refused(&world.observed, &problem, at(world.now));
    assert!(plan.steps.is_empty());
    Arc::make_mut(&mut world.observed.deployment).status = Some(plan.status);
    assert!(world.is(STALLED) && world.is(AVAILABLE) && !world.is(READY));
    assert!(world.said(STALLED).starts_with("True Refused"));
    assert_eq!(plan.notes.len(), 1, "one Event");
    let again = refused(&world.observed, &problem, at(world.now + 60));
    assert_eq!(again.status, world.status(), "nothing new is written");
    assert!(again.notes.is_empty());
}

#[test]
fn a_canary_whose_pods_come_and_go_is_rolled_back() {
    let mut world = World::rolling(json!({}));
    for _ in 0..3 {
        world.all_ready().settle().wait(30).settle();
        world.ready(2, -1).settle();
        assert_eq!(world.canary().as_deref(), Some("churn-2"));
    }
    world.all_ready().settle().ready(2, -1).settle();
    assert_eq!(world.canary(), None);
    let record = world.status().last_rollout.expect("a record");
    assert!(
        record.message.contains("4 times in one step"),
        "{}",
        record.message
    );
}

#[test]
fn an_autoscaler_changes_no_pod_after_an_upgrade_of_the_operator() {
    let mut world = World::serving(json!({}));
    let image = |world: &World| {
        let spec = &world.observed.children[0].spec.template.spec;
        spec.as_ref().expect("a pod").containers[0].image.clone()
    };
    world.observed.agent_image = "agent:2".to_owned();
    world.edit(|spec| spec.replicas = 5).settle();
    assert_eq!(children(&world), named(&[("churn-v1", 5)]));
    assert_eq!(image(&world).as_deref(), Some("agent:1"));
    world.edit(|spec| spec.rollout.min_requests = 7).settle();
    assert_eq!(
        image(&world).as_deref(),
        Some("agent:1"),
        "nor how it is rolled out"
    );
    world
        .edit(|spec| spec.progress_deadline_seconds = 7)
        .settle();
    assert_eq!(image(&world).as_deref(), Some("agent:2"));
}
