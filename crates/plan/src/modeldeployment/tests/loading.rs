//! How a model comes to its server: copied and verified, or mounted and verified there.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, PodSpec, Volume, VolumeMount};
use serde_json::{Value, json};
use windlass_api::agent::paths;

use super::world::World;
use crate::fixtures::{assert_restricted, digest, object};

/// The pods of a version whose files lie at an address.
fn pods_with(uri: &str, spec: Value) -> PodSpec {
    let mut world = World::new(spec);
    let artifact = &mut Arc::make_mut(&mut world.observed.versions[0]).spec.artifact;
    artifact.uri = uri.into();
    world.settle();
    let spec = world.observed.children[0].spec.template.spec.clone();
    let spec = spec.expect("pods");
    assert_restricted(&spec);
    spec
}

fn container<'a>(spec: &'a PodSpec, name: &str) -> &'a Container {
    let mut all = spec.init_containers.iter().flatten();
    all.find(|one| one.name == name).expect("a container")
}

fn arguments(spec: &PodSpec) -> String {
    let fetch = container(spec, "windlass-fetch");
    fetch.args.clone().expect("arguments").join(" ")
}

/// What is mounted into a container at a path.
fn mounted<'a>(container: &'a Container, path: &str) -> Option<&'a VolumeMount> {
    let mut all = container.volume_mounts.iter().flatten();
    all.find(|mount| mount.mount_path == path)
}

/// The volume of this name.
fn volume(spec: &PodSpec, name: &str) -> Volume {
    let mut all = spec.volumes.iter().flatten();
    all.find(|volume| volume.name == name)
        .expect("a volume")
        .clone()
}

/// The volume and the folder of it that the server loads from.
fn loaded(spec: &PodSpec) -> (Volume, Option<String>) {
    let mount = mounted(container(spec, "server"), paths::MODEL).expect("a model");
    assert_eq!(mount.read_only, Some(true));
    (volume(spec, &mount.name), mount.sub_path.clone())
}

fn pinned() -> String {
    format!("oci://registry.example/churn@{}", digest('c'))
}

#[test]
fn what_a_server_loads_is_what_was_verified_and_nothing_else() {
    let mount = json!({"fromClaim": "Mount"});
    for (uri, spec) in [
        ("pvc://models/churn/1/", json!({})),
        ("pvc://models/churn/1/", mount.clone()),
        ("pvc://models", mount.clone()),
        ("s3://models/churn/1", mount),
        (&pinned(), json!({})),
        (&format!("{}#models/1", pinned()), json!({})),
        ("oci://registry.example/churn:1#models", json!({})),
    ] {
        let pods = pods_with(uri, spec);
        let verified = mounted(container(&pods, "windlass-fetch"), paths::MODEL);
        let verified = verified.expect("the agent has it at the same path");
        let (volume, folder) = loaded(&pods);
        assert_eq!(
            (&verified.name, &verified.sub_path),
            (&volume.name, &folder),
            "{uri}"
        );
        let is_copied = arguments(&pods).ends_with("--to /windlass/model");
        assert_eq!(volume.empty_dir.is_some(), is_copied, "{uri}");
        // Where it is not copied, the agent cannot change it either.
        assert_eq!(verified.read_only, (!is_copied).then_some(true), "{uri}");
        let others = container(&pods, "server").volume_mounts.iter().flatten();
        assert_eq!(others.count(), 1, "{uri}");
    }
}

#[test]
fn an_image_that_is_named_by_its_digest_is_mounted_and_pulled_once() {
    let uri = format!("{}#models/1", pinned());
    let pods = pods_with(&uri, json!({}));
    let expected = format!(
        "fetch --uri {uri} --digest {} --mounted /windlass/model",
        digest('a')
    );
    assert_eq!(arguments(&pods), expected);
    let (volume, folder) = loaded(&pods);
    let reference = uri
        .trim_start_matches("oci://")
        .trim_end_matches("#models/1");
    let image: Volume = object(json!({
        "name": "windlass-model", "image": {"reference": reference, "pullPolicy": "IfNotPresent"},
    }));
    assert_eq!((volume, folder.as_deref()), (image, Some("models/1")));
}

#[test]
fn what_a_tag_names_is_copied_since_it_may_be_another_image_when_the_server_starts() {
    let uri = "oci://registry.example:5000/team/churn:1";
    let pods = pods_with(uri, json!({}));
    let expected = format!(
        "fetch --uri {uri} --digest {} --mounted /windlass/image --to /windlass/model",
        digest('a')
    );
    assert_eq!(arguments(&pods), expected);
    assert!(loaded(&pods).0.empty_dir.is_some());
    let fetch = container(&pods, "windlass-fetch");
    let image = mounted(fetch, "/windlass/image").expect("the image");
    assert_eq!((image.read_only, &image.sub_path), (Some(true), &None));
    let image = volume(&pods, &image.name).image.expect("an image");
    assert_eq!(image.pull_policy.as_deref(), Some("Always"));
    assert_eq!(
        image.reference.as_deref(),
        Some("registry.example:5000/team/churn:1")
    );
}

#[test]
fn a_claim_is_mounted_where_that_is_asked_for_and_in_a_pod_once() {
    let logged = json!({"logPayloads": {"uri": "pvc://models/log"}});
    let pods = pods_with(
        "pvc://models/churn/1/",
        json!({"fromClaim": "Mount", "observe": logged}),
    );
    assert!(
        arguments(&pods).ends_with("--mounted /windlass/model"),
        "{}",
        arguments(&pods)
    );
    let (volume, folder) = loaded(&pods);
    let claim = volume.persistent_volume_claim.expect("a claim");
    assert_eq!(claim.claim_name, "models");
    assert_eq!(folder.as_deref(), Some("churn/1"));
    let claims = pods.volumes.iter().flatten();
    let claims = claims.filter(|volume| volume.persistent_volume_claim.is_some());
    assert_eq!(claims.count(), 1);

    // Nobody asked for it.
    let pods = pods_with("pvc://models/churn/1/", json!({}));
    assert!(loaded(&pods).0.empty_dir.is_some());
    assert!(
        mounted(
            container(&pods, "windlass-fetch"),
            "/windlass/volumes/models"
        )
        .is_some()
    );
}

#[test]
fn another_way_to_come_is_other_pods_and_no_roll_out() {
    let mut world = World::serving(json!({}));
    let before = world.observed.children[0].spec.template.clone();
    world
        .edit(|spec| spec.from_claim = Some(windlass_api::FromClaim::Mount))
        .settle();
    assert_ne!(world.observed.children[0].spec.template, before);
    assert_eq!(world.canary(), None);
}
