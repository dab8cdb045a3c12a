//! What is made: a whole plan to review, and what must hold of every pod.

use std::sync::Arc;

use serde_json::{Value, json};

use super::world::{World, trained};
use crate::fixtures::{assert_restricted, digest, given, object, readable, steps};

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
    without.observed.schedulers.native = Err("the cluster serves no scheduling.k8s.io".to_owned());
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
    let spec = world()
        .job()
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
    let spec = world().job().spec.expect("a spec");
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

/// A job with a trainer that has variables of its own, a container beside it, and this storage.
fn reading_from(storage: &Value, account: Option<&str>) -> World {
    let trainer = json!({"name": "trainer", "image": "trainer:1", "command": ["train"],
        "env": [{"name": "AWS_REGION", "value": "eu-central-1"}], "envFrom": [{"secretRef": {"name": "own"}}]});
    let beside = json!({"name": "beside", "image": "beside:1"});
    let spec = json!({"serviceAccountName": account, "initContainers": [{"name": "before", "image": "before:1"}], "containers": [trainer, beside]});
    let mut world = World::new(
        json!({"storage": storage, "workers": {"replicas": 1, "template": {"spec": spec}}}),
    );
    let accounts = ["reader", "own"].map(str::to_owned);
    Arc::make_mut(&mut world.observed.service_accounts).extend(accounts);
    world
}

#[test]
fn the_keys_of_a_storage_land_in_the_container_that_runs_the_agent_and_in_no_other() {
    let world = reading_from(&json!({"secretName": "keys"}), None);
    let pods = world.job().spec.and_then(|spec| spec.template.spec);
    let pods = pods.expect("pods");
    assert_eq!(given(&pods, "keys"), ["trainer"]);
    assert_eq!(given(&pods, "own"), ["trainer"], "the user's own stay");
    let sources = pods.containers[0].env_from.clone().expect("sources");
    let names: Vec<_> = sources
        .into_iter()
        .filter_map(|source| source.secret_ref.map(|secret| secret.name))
        .collect();
    assert_eq!(
        names,
        ["keys", "own"],
        "of the same key the last one counts"
    );
    let variables = pods.containers[0].env.clone().expect("variables");
    let region = variables.iter().find(|one| one.name == "AWS_REGION");
    assert_eq!(
        region.and_then(|one| one.value.as_deref()),
        Some("eu-central-1")
    );
    assert_eq!(pods.service_account_name, None);
}

#[test]
fn workers_run_as_the_account_of_the_storage_where_their_template_names_none() {
    for (account, expected) in [(None, "reader"), (Some("own"), "own")] {
        let world = reading_from(&json!({"serviceAccountName": "reader"}), account);
        let pods = world.job().spec.and_then(|spec| spec.template.spec);
        let pods = pods.expect("pods");
        assert_eq!(pods.service_account_name.as_deref(), Some(expected));
        assert_restricted(&pods);
        assert_eq!(given(&pods, "reader"), Vec::<String>::new());
    }
}

#[test]
fn the_version_that_is_registered_has_the_storage_of_its_job() {
    let storage = json!({"secretName": "keys", "serviceAccountName": "reader"});
    let mut world = reading_from(&storage, None);
    world.settle().succeeds(&trained()).settle();
    let made = world.observed.versions.last().expect("a version");
    assert_eq!(made.spec.storage, world.observed.job.spec.storage);
    assert_eq!(
        serde_json::to_value(&made.spec).expect("JSON")["storage"],
        storage
    );
    let mut without = World::new(json!({}));
    without.settle().succeeds(&trained()).settle();
    let made = without.observed.versions.last().expect("a version");
    let written = serde_json::to_value(&made.spec).expect("JSON");
    assert_eq!(
        written.get("storage"),
        None,
        "what is not given is not written"
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
    assert_eq!(
        same,
        of(|spec| spec.storage = Some(object(json!({"secretName": "keys"}))))
    );
    assert_ne!(
        same,
        of(|spec| drop(spec.parameters.insert("seed".to_owned(), "7".to_owned())))
    );
    assert_ne!(same, of(|spec| spec.window = None));
    assert_ne!(same, of(|spec| spec.workers.replicas = 3));
}

/// The value of a variable as the worker of rank 1 sees it.
fn second_sees(framework: &str, name: &str) -> Option<String> {
    let mut world = world();
    let framework = object(json!(framework));
    world.edit(|spec| spec.framework = framework);
    let spec = world.job().spec.and_then(|spec| spec.template.spec);
    let variables = spec.expect("pods").containers[0].env.clone()?;
    let found = variables.iter().find(|variable| variable.name == name)?;
    if found.value_from.is_some() {
        return Some("1".to_owned());
    }
    let value = found.value.clone()?;
    Some(value.replace("$(WINDLASS_TASK_INDEX)", "1"))
}

#[test]
fn each_framework_finds_its_workers_in_its_own_words() {
    let rows = [
        ("PyTorch", "PET_NODE_RANK", "1"),
        ("PyTorch", "MASTER_PORT", "29500"),
        ("JAX", "JAX_COORDINATOR_ADDRESS", "a-1-0.a-workers:29500"),
        ("JAX", "JAX_NUM_PROCESSES", "2"),
        ("JAX", "JAX_PROCESS_ID", "1"),
        (
            "TensorFlow",
            "TF_CONFIG",
            r#"{"cluster":{"worker":["a-1-0.a-workers:29500","a-1-1.a-workers:29500"]},"task":{"type":"worker","index":1}}"#,
        ),
        ("XGBoost", "DMLC_TRACKER_URI", "a-1-0.a-workers"),
        ("XGBoost", "DMLC_TASK_ID", "1"),
        ("XGBoost", "DMLC_NUM_WORKER", "2"),
        ("Plain", "WINDLASS_HOSTS", "a-1-0.a-workers,a-1-1.a-workers"),
    ];
    for (framework, name, expected) in rows {
        assert_eq!(
            second_sees(framework, name).as_deref(),
            Some(expected),
            "{framework} {name}"
        );
    }
    assert_eq!(second_sees("Plain", "MASTER_ADDR"), None);
}

#[test]
fn a_trainer_that_goes_on_from_checkpoints_is_told_where_they_are() {
    let mut world = world();
    let checkpoint = object(json!({"uri": "pvc://models/checkpoints", "every": "30s", "keep": 2}));
    world.edit(|spec| {
        spec.checkpoint = Some(checkpoint);
        spec.workers.template.0["spec"]["terminationGracePeriodSeconds"] = json!(120);
    });
    let spec = world
        .job()
        .spec
        .and_then(|spec| spec.template.spec)
        .expect("pods");
    let arguments = spec.containers[0]
        .args
        .clone()
        .expect("arguments")
        .join(" ");
    for part in [
        "--checkpoint pvc://models/checkpoints/a-01234567 --checkpoint-every 30s --checkpoint-keep 2",
        "--grace-period 100s",
        "--world-size 2",
    ] {
        assert!(arguments.contains(part), "{part} in {arguments}");
    }
    let writable = spec.containers[0]
        .volume_mounts
        .iter()
        .flatten()
        .any(|mount| mount.mount_path.ends_with("/models") && mount.read_only.is_none());
    assert!(writable);
}

#[test]
fn the_fingerprint_of_a_complete_job_is_also_of_its_images_and_data_and_not_of_its_checks() {
    let ended_with = |image: char, input: char, checks: Value| {
        let mut world = world();
        world.edit(|spec| spec.inputs[0].checks = object(checks));
        world.settle().data_holds().settle();
        let asked = world.status().fingerprint;
        world.succeeds(&trained().replace(&digest('e'), &digest(input)));
        for pod in &mut world.observed.pods {
            let text = serde_json::to_string(&**pod).expect("JSON");
            let text = text.replace(&digest('9'), &digest(image));
            *pod = std::sync::Arc::new(serde_json::from_str(&text).expect("a pod"));
        }
        world.settle();
        let ended = world.status().fingerprint;
        assert_ne!(asked, ended);
        let version = world.observed.versions[0].spec.fingerprint.clone();
        assert_eq!(version, ended, "a version and its run have one fingerprint");
        ended
    };
    let none = || json!([]);
    let same = ended_with('9', 'e', none());
    assert_eq!(same, ended_with('9', 'e', none()));
    assert_eq!(
        same,
        ended_with('9', 'e', json!([{"column": "age", "notNull": true}]))
    );
    assert_ne!(same, ended_with('8', 'e', none()));
    assert_ne!(same, ended_with('9', 'c', none()));
}
