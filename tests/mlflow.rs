//! On a real node: a version is shown in a real MLflow by a Job of its namespace, which alone has the password; a server
//! that does not answer delays that and nothing else.

#[path = "../crates/agent/tests/common/installed.rs"]
mod installed;
#[path = "../crates/agent/tests/common/mlflow.rs"]
#[allow(
    dead_code,
    reason = "the agent's own tests cut connections and ask for more"
)]
mod mlflow;
#[path = "support/node.rs"]
mod node;

use serde_json::{Value, json};

use mlflow::{Mlflow, PASSWORD, USER};
use node::{Bench, PATIENCE};

const SPACE: &str = "shown";
const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A version that somebody trained elsewhere, shown at this address.
fn version(number: u32, uri: &str) -> String {
    json!({
        "apiVersion": "windlass.dev/v1alpha1", "kind": "ModelVersion",
        "metadata": {"name": format!("churn-{number}"), "namespace": SPACE},
        "spec": {
            "model": "churn", "version": number,
            "artifact": {"uri": format!("pvc://data/churn/{number}"), "digest": DIGEST, "format": "ONNX"},
            "parameters": {"learning_rate": "0.1"},
            "trainingMetrics": {"loss": "0.25"},
            "tracking": {"mlflow": {"uri": uri, "secretName": "mlflow"}},
        },
    })
    .to_string()
}

#[test]
fn a_version_is_shown_in_mlflow_and_a_server_that_does_not_answer_holds_up_nothing() {
    if let Some(obstacle) = node::obstacle() {
        println!("skipped: {obstacle}");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let bench = Bench::up("mlflow", 0);
    let Some(mlflow) = Mlflow::with_users(folder.path()) else {
        return;
    };
    let server = bench
        .cluster
        .let_reach(mlflow.address)
        .expect("pods reach this machine");
    let uri = format!("http://{server}");
    bench.namespace(SPACE);
    let published =
        |name: &str| bench.condition(SPACE, &format!("modelversion/{name}"), "Published");
    let ready = |name: &str| {
        bench
            .condition(SPACE, &format!("modelversion/{name}"), "Ready")
            .0
    };

    // Without its Secret nothing is shown, and who looks at the version sees why.
    bench.apply(&version(1, &uri));
    Bench::until(PATIENCE, "the Secret is missed", || {
        published("churn-1").0 == "False"
    });
    let (_, reason, message) = published("churn-1");
    assert_eq!(reason, "ContainerNotStarted", "{message}");
    assert!(message.contains("mlflow"), "{message}");
    assert_eq!(ready("churn-1"), "True");
    bench.apply(
        &json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mlflow", "namespace": SPACE},
            "stringData": {"MLFLOW_TRACKING_USERNAME": USER, "MLFLOW_TRACKING_PASSWORD": PASSWORD},
        })
        .to_string(),
    );
    Bench::until(PATIENCE, "it is shown", || published("churn-1").0 == "True");
    let shown = mlflow.get("model-versions/get", &[("name", "churn"), ("version", "1")]);
    let shown = &shown["model_version"];
    let tag = |name: &str| {
        let mut tags = shown["tags"].as_array().into_iter().flatten();
        let tag = tags.find(|tag| tag["key"] == name);
        tag.map_or(Value::Null, |tag| tag["value"].clone())
    };
    assert_eq!(tag("windlass.digest"), DIGEST, "{shown}");
    let run = shown["run_id"].as_str().expect("a run");
    let run = mlflow.get("runs/get", &[("run_id", run)]);
    assert_eq!(
        run["run"]["data"]["params"],
        json!([{"key": "learning_rate", "value": "0.1"}])
    );
    assert_eq!(run["run"]["data"]["metrics"][0]["key"], "loss");

    // One whose server is not there is ready all the same, and shown once it is.
    let elsewhere = format!("http://{}:9", server.ip());
    bench.apply(&version(2, &elsewhere));
    Bench::until(PATIENCE, "nobody answers", || {
        published("churn-2").1 == "TrackingUnreachable"
    });
    assert_eq!(ready("churn-2"), "True");
    bench.apply(&version(2, &uri));
    Bench::until(PATIENCE, "it is shown", || published("churn-2").0 == "True");

    // A training that fails makes no version; its run is shown all the same.
    let tracking = format!(
        "  tracking: {{mlflow: {{uri: '{uri}', secretName: mlflow}}}}\n  parameters: {{depth: '3'}}\n"
    );
    bench.apply(&node::training_job(
        SPACE,
        "trains",
        "raise SystemExit(3)",
        &tracking,
    ));
    Bench::until(PATIENCE, "its run is shown", || {
        bench.condition(SPACE, "tj/trains", "Published").0 == "True"
    });
    assert_eq!(bench.condition(SPACE, "tj/trains", "Failed").0, "True");
    let run = run_of(&bench, &mlflow, "tj/trains");
    assert_eq!(run["info"]["status"], "FAILED");
    assert_eq!(
        run["data"]["params"],
        json!([{"key": "depth", "value": "3"}])
    );
    // So is one that ends well and has no model.
    bench.apply(&node::training_job(SPACE, "reports", "pass", &tracking));
    Bench::until(PATIENCE, "its run is shown", || {
        bench.condition(SPACE, "tj/reports", "Published").0 == "True"
    });
    let run = run_of(&bench, &mlflow, "tj/reports");
    assert_eq!(run["info"]["status"], "FINISHED");

    // What serves is the champion.
    bench.train_plain(SPACE, "first", "good", &tracking);
    bench.apply(&node::model_deployment(SPACE, 1));
    Bench::until(PATIENCE, "its version is shown", || {
        published("m-1").0 == "True"
    });
    Bench::until(PATIENCE, "it is the champion", || {
        let said = mlflow.get("registered-models/get", &[("name", "m")]);
        said["registered_model"]["aliases"] == json!([{"alias": "champion", "version": "1"}])
    });
}

/// What MLflow has of an object's run.
fn run_of(bench: &Bench, mlflow: &Mlflow, object: &str) -> Value {
    let path = "jsonpath={.status.tracking.runId}";
    let id = bench.kubectl(&["-n", SPACE, "get", object, "-o", path]);
    mlflow.get("runs/get", &[("run_id", &id)])["run"].clone()
}
