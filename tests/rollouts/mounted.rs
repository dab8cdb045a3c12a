//! Models that are mounted and not copied: in an image that is named by its digest, and in a claim where that is asked for.

use std::time::Duration;

use serde_json::json;
use windlass_testcluster::image::Image;

use crate::STEADY;
use crate::ground::{Asked, Deployment, Ground};
use crate::load::{Load, Target};
use crate::node::{Bench, PATIENCE};
use crate::seen::condition;

/// The ModelDeployment.
const NAME: &str = "mounted";
/// The model `m`'s versions in images, by what is wrong with them.
const IN_IMAGE: u32 = 21;
const OTHERS_DIGEST: u32 = 22;
const MISSING: u32 = 23;
/// One that lies in the claim.
const IN_CLAIM: u32 = 2;

/// What is asked here.
pub fn target(pause: f64) -> Target {
    Target::service(STEADY, NAME, pause)
}

/// An image that is served, two that cannot be, and a claim.
pub fn go(ground: &Ground, load: &Load<'_>) {
    let image = image(ground);
    let register = |number: u32, image: &str, more: &str| {
        ground.bench.apply(&format!(
            "apiVersion: windlass.dev/v1alpha1\nkind: ModelVersion\nmetadata: {{name: m-{number}, namespace: {STEADY}}}\n\
             spec: {{model: m, version: {number}, artifact: {{uri: \"oci://{image}#models/m\", format: Plain{more}}}}}\n"
        ));
    };
    let other = format!(", digest: \"sha256:{}\"", "0".repeat(64));
    // Nobody has said its digest: it is what is found in the image.
    register(IN_IMAGE, &image, "");
    register(OTHERS_DIGEST, &image, &other);
    let missing = format!("localhost/nothing@sha256:{}", "1".repeat(64));
    register(MISSING, &missing, &other);
    Bench::until(PATIENCE, "the image is digested", || {
        let path = "jsonpath={.status.artifact.files}";
        let get = ["-n", STEADY, "get", &format!("mv/m-{IN_IMAGE}"), "-o", path];
        ground.bench.kubectl(&get) == "2"
    });

    let asked = Asked {
        replicas: 1,
        rollout: "{minRequests: 5, steps: [{weight: 50, hold: 1s}], analysis: [{metric: ErrorRate, notWorseThan: \"0.5\"}]}",
    };
    let deployment = ground.deploy(STEADY, NAME, &asked);
    deployment.until_serves(1);
    load.until_it_comes(&[NAME]);
    deployment.ask_for(IN_IMAGE);
    deployment.until_serves(IN_IMAGE);
    until_answered_by(load, IN_IMAGE);

    deployment.ask_for(OTHERS_DIGEST);
    until_said(
        deployment,
        "is not what was recorded: its digest is sha256:",
    );
    deployment.ask_for(MISSING);
    until_said(deployment, &missing);

    let by_claim = json!({"version": IN_CLAIM, "fromClaim": "Mount"});
    deployment.change(&by_claim);
    deployment.until_serves(IN_CLAIM);
    until_answered_by(load, IN_CLAIM);
    let counted = load.of(NAME);
    println!("{NAME}: {counted:?}");
    assert!(counted.is_good(), "{counted:?}");
    assert_eq!((counted.by(OTHERS_DIGEST), counted.by(MISSING)), (0, 0));
    ground.seen.assert_always_available(&deployment.key());
}

/// An image on the node with a model's files in a folder of it, and beside that folder what is none of them. The node knows
/// it by its digest.
fn image(ground: &Ground) -> String {
    const TAG: &str = "localhost/model:1";
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).expect("written");
        path
    };
    let tar = folder.path().join("image.tar");
    Image::scratch(TAG)
        .with_file(
            &file("model", &IN_IMAGE.to_string()),
            "models/m/model",
            0o644,
        )
        .with_file(&file("more", "more"), "models/m/deep/more", 0o644)
        .with_file(&file("beside", "beside"), "models/beside", 0o644)
        .write(&tar)
        .expect("an image");
    let cluster = &ground.bench.cluster;
    cluster.load_image(&tar).expect("the image is loaded");
    cluster.name_by_digest(TAG).expect("its digest")
}

fn until_answered_by(load: &Load<'_>, version: u32) {
    Bench::until(PATIENCE, "the version answers", || {
        load.of(NAME).by(version) > 5
    });
}

/// Waits until Ready says why the pods of a version do not get on; what serves serves on.
fn until_said(deployment: Deployment<'_>, words: &str) {
    deployment.until(&format!("it says {words:?}"), |now| {
        condition(now, "Ready").2.contains(words)
    });
    println!("{NAME}: {}", condition(&deployment.now(), "Ready").2);
    std::thread::sleep(Duration::from_secs(1));
    let stable = deployment.field("/status/stable/version");
    assert_eq!(stable, format!("m-{IN_IMAGE}"));
}
