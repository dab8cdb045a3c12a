//! What is asked for cannot serve, which is told before anything is tried; or its pods never come up.

use serde_json::json;

use crate::ground::{Asked, Deployment, GOOD_IMAGE, Ground};
use crate::load::Load;
use crate::node::{Bench, LIGHTGBM, OUTPUT, PATIENCE, training_job};
use crate::{CRASHES, SPACE, TURNS};

/// The ModelDeployment.
pub const NAME: &str = "versions";

const UNAPPROVED: u32 = TURNS + 1;
const UNJUDGED: u32 = TURNS + 2;
/// What is trained next.
const REJECTED: u32 = TURNS + 3;
const MISSING: u32 = 99;

/// One mistake after the other.
pub fn go(ground: &Ground, load: &Load<'_>) {
    ground.register(SPACE, UNAPPROVED, ", approval: Manual");
    let validation = |dataset: &str| {
        format!(
            "validation: {{dataset: {{uri: \"pvc://data/{dataset}\", format: CSV, label: late}}, metrics: [{{name: rocAuc, min: \"0.5\"}}], runtime: mlserver}}"
        )
    };
    ground.register(SPACE, UNJUDGED, &format!(", {}", validation("nowhere")));
    // What it is told is late never is.
    let rows = "0,1\n1,0\n".repeat(300);
    ground
        .bench
        .write(SPACE, "holdout/a.csv", &format!("age,late\n{rows}"));
    let output = OUTPUT
        .replace("Plain", "LightGBM")
        .replace("models", "trained");
    let more = format!("  model: m\n{output}\n  {}", validation("holdout"));
    let job = training_job(SPACE, "rejected", LIGHTGBM, &more).replace(
        "          command:",
        "          resources: {requests: {cpu: 200m}}\n          command:",
    );
    ground.bench.apply(&job);

    let asked = Asked {
        replicas: 1,
        rollout: "{minRequests: 5, steps: [{weight: 50, hold: 1s}], analysis: [{metric: ErrorRate, notWorseThan: \"0.2\"}]}",
    };
    let deployment = ground.deploy(SPACE, NAME, &asked);
    deployment.until_serves(1);
    load.until_it_comes(&[NAME]);

    deployment.ask_for(MISSING);
    deployment.until_stalled("VersionNotFound", &["spec.version", "m-99", "register it"]);
    deployment.ask_for(UNAPPROVED);
    deployment.until_stalled(
        "AwaitingApproval",
        &["m-10 is not approved yet", "spec.review"],
    );
    deployment.ask_for(UNJUDGED);
    deployment.until_stalled(
        "VersionNotValidated",
        &["m-11", "no verdict", "its conditions"],
    );
    deployment.change(&json!({"version": "Latest"}));
    deployment.until_stalled("NoVersion", &["passes its validation", "spec.validation"]);
    // It is trained and judged before.
    Bench::until(PATIENCE * 2, "the validation fails", || {
        let path = "jsonpath={.items[*].status.validation.verdict}";
        ground
            .bench
            .kubectl(&["-n", SPACE, "get", "mv", "-o", path])
            == "Fail"
    });
    deployment.ask_for(REJECTED);
    deployment.until_stalled("VersionRejected", &["the validation of m-12 failed"]);
    assert_only_the_first_has_pods(deployment);

    a_model_that_crashes_on_load(deployment);
    an_image_that_cannot_be_pulled(deployment);
    let counted = load.goes_on(NAME, 20);
    println!("{NAME}: {counted:?}");
    assert_eq!(
        counted.answers.keys().collect::<Vec<_>>(),
        ["1.0"],
        "{counted:?}"
    );
    assert_eq!(counted.answers["1.0"], counted.sent, "{counted:?}");
    ground.seen.assert_never_short(&deployment.key());
    ground.seen.assert_always_available(&deployment.key());
}

fn a_model_that_crashes_on_load(deployment: Deployment<'_>) {
    deployment.change(&json!({"version": CRASHES, "progressDeadlineSeconds": 20}));
    let why = [
        "spec.progressDeadlineSeconds (20 s)",
        "container server",
        "made by a newer library",
    ];
    deployment.until_taken_back(CRASHES, &why);
    deployment.until_stalled(
        "VersionQuarantined",
        &["m-8", "status.quarantine", "windlass.dev/force=m-8/1"],
    );
    // Neither a change of something else nor naming it anew has it tried again.
    deployment.change(&json!({"version": 1, "progressDeadlineSeconds": 21}));
    deployment.until_serves(1);
    deployment.ask_for(CRASHES);
    deployment.until_stalled("VersionQuarantined", &["m-8"]);
    assert_only_the_first_has_pods(deployment);
}

fn an_image_that_cannot_be_pulled(deployment: Deployment<'_>) {
    const BAD_IMAGE: &str = "localhost/nothing:dev";
    deployment.ask_for(1);
    deployment.until_serves(1);
    let template = deployment.now()["spec"]["template"].clone();
    let with = |image: &str| {
        let mut template = template.clone();
        template["spec"]["containers"][0]["image"] = image.into();
        template["spec"]["containers"][0]["imagePullPolicy"] = "Never".into();
        json!({"template": template})
    };
    deployment.change(&with(BAD_IMAGE));
    deployment.until_stalled("ImageNotFound", &["container server", BAD_IMAGE]);
    deployment.change(&with(GOOD_IMAGE));
    deployment.until_serves(1);
}

fn assert_only_the_first_has_pods(deployment: Deployment<'_>) {
    Bench::until(PATIENCE, "only the first version has pods", || {
        let of = format!("windlass.dev/deployment={}", deployment.name);
        let get = [
            "-n",
            deployment.space,
            "get",
            "deployments",
            "-l",
            &of,
            "-o",
            "name",
        ];
        deployment.ground.bench.kubectl(&get).trim() == "deployment.apps/versions-v1"
    });
}
