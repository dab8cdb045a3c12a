//! What is made: a whole plan to review, and what must hold of every pod.

use k8s_openapi::api::batch::v1::Job;
use serde_json::json;

use super::world::World;
use crate::fixtures::{assert_restricted, readable, steps};
use crate::trainingjob::GangScheduler;
use crate::{Child, Step};

fn world() -> World {
    World::new(json!({
        "parameters": {"learning_rate": "0.05"}, "framework": "PyTorch",
        "window": {"start": "2026-10-01T00:00:00Z", "end": "2026-11-01T00:00:00Z"},
        "workers": {"replicas": 2, "template": {"metadata": {"labels": {"team": "growth"}}, "spec": {"containers": [{
            "name": "trainer", "image": "trainer:1", "command": ["python"], "args": ["train.py"],
            "env": [{"name": "OMP_NUM_THREADS", "value": "4"}], "resources": {"limits": {"nvidia.com/gpu": 1}}
        }]}}}
    }))
}

fn job(world: &World) -> Job {
    let made = world.plan().steps.into_iter().find_map(|step| match step {
        Step::Apply(Child::Job(job)) => Some(*job),
        _ => None,
    });
    made.expect("a Job")
}

#[test]
fn the_first_plan_of_a_gang() {
    insta::with_settings!({snapshot_path => "../snapshots", prepend_module_to_snapshot => false}, {
        insta::assert_yaml_snapshot!("first_plan_of_a_gang", readable(&world().plan()));
    });
}

#[test]
fn a_gang_has_a_pod_group_and_a_service_and_one_worker_has_neither() {
    assert_eq!(
        steps(&world().plan()),
        [
            "Apply Service/a-workers",
            "Apply PodGroup/a-1",
            "Apply Job/a-1"
        ]
    );
    assert_eq!(steps(&World::new(json!({})).plan()), ["Apply Job/a-1"]);
    let mut without = world();
    without.observed.gang_scheduler =
        GangScheduler::None("the cluster serves no scheduling.k8s.io".to_owned());
    assert_eq!(
        steps(&without.plan()),
        ["Apply Service/a-workers", "Apply Job/a-1"]
    );
    assert_eq!(
        without
            .plan()
            .status
            .scheduling
            .map(|scheduling| scheduling.reason),
        Some("the cluster serves no scheduling.k8s.io".to_owned())
    );
    let mut never = world();
    never.edit(|spec| spec.scheduling.gang = windlass_api::GangMode::None);
    assert_eq!(
        steps(&never.plan()),
        ["Apply Service/a-workers", "Apply Job/a-1"]
    );
}

#[test]
fn the_pytorch_environment_names_rank_size_and_the_first_worker() {
    let spec = job(&world())
        .spec
        .and_then(|spec| spec.template.spec)
        .expect("pods");
    let variables = spec.containers[0].env.clone().expect("variables");
    let value = |name: &str| {
        variables
            .iter()
            .find(|variable| variable.name == name)
            .and_then(|variable| variable.value.clone())
    };
    assert_eq!(value("WORLD_SIZE").as_deref(), Some("2"));
    assert_eq!(value("MASTER_ADDR").as_deref(), Some("a-1-0.a-workers"));
    assert_eq!(value("PET_NNODES").as_deref(), Some("2"));
    assert_eq!(
        value("OMP_NUM_THREADS").as_deref(),
        Some("4"),
        "the user's own stay"
    );
    let rank = variables
        .iter()
        .find(|variable| variable.name == "RANK")
        .and_then(|variable| variable.value_from.clone());
    assert!(
        rank.and_then(|from| from.field_ref)
            .is_some_and(|field| field.field_path.contains("job-completion-index"))
    );
    assert_eq!(spec.subdomain.as_deref(), Some("a-workers"));
}

#[test]
fn every_pod_is_restricted_and_no_worker_is_replaced_alone() {
    let spec = job(&world()).spec.expect("a spec");
    assert_restricted(spec.template.spec.as_ref().expect("pods"));
    assert_eq!(
        (spec.backoff_limit, spec.completions, spec.parallelism),
        (Some(0), Some(2), Some(2))
    );
    let rules = spec.pod_failure_policy.expect("a policy").rules;
    assert_eq!(
        rules[0].action, "FailJob",
        "the Job itself says that it was disrupted, when the pod is gone"
    );
}

#[test]
fn the_fingerprint_is_of_what_makes_the_model_and_of_nothing_else() {
    let of = |change: fn(&mut windlass_api::TrainingJobSpec)| {
        let mut world = world();
        world.edit(change);
        world.plan().status.fingerprint.expect("a fingerprint")
    };
    let same = of(|_| ());
    assert_eq!(same, of(|spec| spec.backoff_limit = 9));
    assert_eq!(same, of(|spec| spec.ttl_seconds_after_finished = Some(5)));
    assert_ne!(
        same,
        of(|spec| drop(spec.parameters.insert("seed".to_owned(), "7".to_owned())))
    );
    assert_ne!(same, of(|spec| spec.window = None));
    assert_ne!(same, of(|spec| spec.workers.replicas = 3));
}
