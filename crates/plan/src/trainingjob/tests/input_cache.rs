//! Inputs from the node's cache: which pods get it, and who may write to it.

use k8s_openapi::api::core::v1::{Container, PodSpec};
use serde_json::{Value, json};

use super::steps::program;
use super::world::{World, trained};
use crate::fixtures::{digest, given, object};
use crate::trainingjob::InputCache;

fn cache() -> InputCache {
    InputCache {
        host_path: "/var/cache/windlass/".to_owned(),
        bytes: 5000,
        namespaces: ["growth".to_owned()].into(),
    }
}

/// A job that reads a bucket, a web page and a claim, in a cluster with a cache.
fn reading(more: Value) -> World {
    let mut spec = json!({
        "storage": {"secretName": "keys"},
        "inputs": [
            {"name": "events", "uri": "s3://lake/events", "format": "Parquet"},
            {"name": "codes", "uri": "https://host/codes.csv"},
            {"name": "labels", "uri": "pvc://events/labels"},
        ],
    });
    let (Value::Object(all), Value::Object(more)) = (&mut spec, more) else {
        panic!("objects")
    };
    all.extend(more);
    let mut world = World::new(spec);
    world.observed.input_cache = Some(cache());
    world
}

fn pods(world: &World) -> PodSpec {
    let job = world.job();
    job.spec
        .and_then(|spec| spec.template.spec)
        .expect("a template")
}

fn fetcher(pods: &PodSpec) -> Option<&Container> {
    let mut init = pods.init_containers.iter().flatten();
    init.find(|container| container.name == "windlass-inputs")
}

/// Who mounts the cache, and whether only to read.
fn mounts(pods: &PodSpec) -> Vec<(&str, Option<bool>)> {
    let all = pods.init_containers.iter().flatten();
    all.chain(&pods.containers)
        .flat_map(|one| {
            let mounts = one.volume_mounts.iter().flatten();
            mounts
                .filter(|mount| mount.name == "windlass-input-cache")
                .map(|mount| (one.name.as_str(), mount.read_only))
        })
        .collect()
}

fn words(container: &Container) -> String {
    container.args.clone().unwrap_or_default().join(" ")
}

#[test]
fn what_is_on_a_network_is_fetched_before_the_trainer_which_may_only_read_it() {
    let pods = pods(&reading(json!({})));
    let fetch = fetcher(&pods).expect("a container that fetches");
    assert_eq!(
        words(fetch),
        "cache --folder /windlass/cache --size 5000 --input events=s3://lake/events --input codes=https://host/codes.csv"
    );
    assert_eq!(
        mounts(&pods),
        [("windlass-inputs", None), ("trainer", Some(true))]
    );
    let trainer = words(&pods.containers[0]);
    assert!(
        trainer.contains(" --input-cache /windlass/cache "),
        "{trainer}"
    );
    assert!(
        trainer.contains("--input labels=pvc://events/labels"),
        "{trainer}"
    );
    let volumes = pods.volumes.as_ref().expect("volumes");
    let paths: Vec<_> = volumes
        .iter()
        .filter_map(|volume| volume.host_path.as_ref())
        .map(|host| (host.path.as_str(), host.type_.as_deref()))
        .collect();
    assert_eq!(
        paths,
        [("/var/cache/windlass/growth", Some("DirectoryOrCreate"))],
        "each namespace has its own"
    );
}

#[test]
fn only_the_container_that_fetches_is_root_and_it_can_do_nothing_else() {
    let pods = pods(&reading(json!({})));
    let context = |container: &Container| container.security_context.clone().expect("a context");
    let fetch = context(fetcher(&pods).expect("a container that fetches"));
    assert_eq!(
        (fetch.run_as_user, fetch.run_as_non_root),
        (Some(0), Some(false))
    );
    assert_eq!(fetch.read_only_root_filesystem, Some(true));
    assert_eq!(fetch.allow_privilege_escalation, Some(false));
    let dropped = fetch.capabilities.and_then(|these| these.drop);
    assert_eq!(dropped, Some(vec!["ALL".to_owned()]));
    assert_eq!(context(&pods.containers[0]).run_as_user, None);
    let whole = pods.security_context.as_ref().expect("a context");
    assert_eq!(whole.run_as_non_root, Some(true));
}

#[test]
fn it_has_the_keys_and_the_trainers_own_words_on_stores() {
    let trainer = json!({"name": "trainer", "image": "trainer:1", "command": ["train"],
        "env": [{"name": "AWS_REGION", "value": "eu-central-1"}], "envFrom": [{"secretRef": {"name": "own"}}]});
    let world = reading(
        json!({"workers": {"replicas": 1, "template": {"spec": {"containers": [trainer]}}}}),
    );
    let pods = pods(&world);
    assert_eq!(given(&pods, "keys"), ["trainer", "windlass-inputs"]);
    assert_eq!(given(&pods, "own"), ["trainer", "windlass-inputs"]);
    let env = fetcher(&pods).and_then(|fetch| fetch.env.clone());
    assert!(
        env.expect("variables")
            .iter()
            .any(|one| one.name == "AWS_REGION")
    );
}

#[test]
fn a_templates_own_mount_of_the_cache_is_to_read_only() {
    let own = json!({"name": "windlass-input-cache", "mountPath": "/mine"});
    let container =
        |name: &str| json!({"name": name, "image": "x:1", "command": ["x"], "volumeMounts": [own]});
    let template = json!({"spec": {"initContainers": [container("before")], "containers": [container("trainer"), container("beside")]}});
    let pods = pods(&reading(
        json!({"workers": {"replicas": 1, "template": template}}),
    ));
    let writers: Vec<_> = mounts(&pods)
        .into_iter()
        .filter(|(_, read_only)| read_only.is_none())
        .collect();
    assert_eq!(writers, [("windlass-inputs", None)]);
    assert_eq!(mounts(&pods).len(), 5);
}

#[test]
fn pods_are_as_they_were_where_there_is_no_cache_or_it_is_of_no_use() {
    let without = |change: fn(&mut World)| {
        let mut world = reading(json!({}));
        change(&mut world);
        let pods = pods(&world);
        assert_eq!(mounts(&pods), []);
        assert!(fetcher(&pods).is_none());
        assert!(!words(&pods.containers[0]).contains("--input-cache"));
        pods
    };
    let off = without(|world| world.observed.input_cache = None);
    let elsewhere = without(|world| {
        let cache = world.observed.input_cache.as_mut().expect("a cache");
        cache.namespaces = ["other".to_owned()].into();
    });
    assert_eq!(off, elsewhere, "a namespace that is not named");
    without(|world| {
        world.edit(|spec| spec.inputs.retain(|input| input.name == "labels"));
    });
}

#[test]
fn an_agent_from_before_an_upgrade_is_not_asked_for_what_it_may_not_know() {
    let mut world = reading(json!({}));
    world.settle().fails(1, "").reconcile();
    assert_eq!(mounts(&pods(&world)).len(), 2);
    world.observed.agent_image = "agent:2".to_owned();
    assert_eq!(mounts(&pods(&world)), []);
}

#[test]
fn what_was_checked_is_looked_for_by_its_digest() {
    let mut world = reading(json!({}));
    world.edit(|spec| {
        spec.inputs.retain(|input| input.name == "events");
        spec.inputs[0].checks = object(json!([{"minRows": 1}]));
    });
    let check = pods(&world);
    assert_eq!(mounts(&check), [], "a check streams what it reads");
    world.settle().data_holds();
    let worker = pods(&world);
    let told = words(fetcher(&worker).expect("a container that fetches"));
    let expected = format!(
        "--input events=s3://lake/events --input-digest events={}",
        digest('e')
    );
    assert!(told.contains(&expected), "{told}");
}

#[test]
fn steps_use_it_too() {
    let world = reading(json!({
        "steps": [{"name": "extract", "inputs": ["events"], "template": program("extract")}],
    }));
    let step = pods(&world);
    assert_eq!(
        mounts(&step),
        [("windlass-inputs", None), ("program", Some(true))]
    );
    let told = words(fetcher(&step).expect("a container that fetches"));
    assert!(told.ends_with("--input events=s3://lake/events"), "{told}");
}

#[test]
fn the_fingerprint_of_a_complete_job_is_the_same_with_and_without_it() {
    let fingerprint = |with: bool| {
        let mut world = reading(json!({}));
        world.observed.input_cache = with.then(cache);
        world.settle().succeeds(&trained());
        for pod in &mut world.observed.pods {
            let status = std::sync::Arc::make_mut(pod).status.get_or_insert_default();
            let init = |name: &str| json!({"name": name, "image": "agent:1", "imageID": format!("agent@{}", digest('7')), "ready": true, "restartCount": 0});
            let mut all = vec![init("windlass-install")];
            all.extend(with.then(|| init("windlass-inputs")));
            status.init_container_statuses = Some(object(json!(all)));
        }
        world.settle();
        world.status().fingerprint.expect("a fingerprint")
    };
    assert_eq!(fingerprint(true), fingerprint(false));
}

#[test]
fn only_the_namespaces_that_are_named_are_served() {
    assert!(cache().serves("growth"));
    assert!(!cache().serves("growt"));
    assert!(!cache().serves(""));
}
