//! `windlass-agent publish` with a real MLflow server, and what MLflow itself then says.

mod common;

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::Ordering;

use common::mlflow::{Cut, Cutter, Mlflow, PASSWORD, USER};
use common::{Ended, Place};
use serde_json::{Value, json};
use windlass_api::agent::{FailureReason, PublishReport, Report};

const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A version that was trained, validated and decided on.
fn version(model: &str, number: u32) -> Value {
    json!({
        "apiVersion": "windlass.dev/v1alpha1",
        "kind": "ModelVersion",
        "metadata": {
            "name": format!("{model}-{number}"), "namespace": "growth", "uid": format!("uid-{model}-{number}"),
            "creationTimestamp": "2026-11-01T10:00:00Z"
        },
        "spec": {
            "model": model, "version": number,
            "artifact": {"uri": format!("s3://models/{model}/{number}"), "digest": DIGEST, "format": "ONNX"},
            "fingerprint": "sha256:f00d",
            "source": {"repository": "https://example.com/churn.git", "revision": "4b825dc642cb6eb9a060e54bf8d69288fbee4904"},
            "parameters": {
                "learning_rate": "0.1", "empty": "", "features[0]": "tenure", "features(0)": "plan",
                "sql": "SELECT 'x' ".repeat(1000)
            },
            "inputs": [{"name": "history", "uri": "s3://data/history", "digest": DIGEST}],
            "trainedBy": {"name": "churn-nightly", "uid": format!("training-{model}-{number}")},
            "parent": format!("{model}-1"),
            "trainingMetrics": {"loss": "0.25"},
            "author": "rita"
        },
        "status": {
            "validation": {
                "verdict": "Pass", "message": "every gate holds", "rows": 2000,
                "metrics": [
                    {"name": "rocAuc", "rows": 2000, "value": "0.91", "lower": "0.89", "upper": "0.93"},
                    {"name": "rocAuc", "segment": "country = 'DE' AND age >= 30", "rows": 400, "value": "0.88", "lower": "0.84", "upper": "0.92"}
                ]
            },
            "decisions": [{
                "sequence": 2, "action": "Validated", "time": "2026-11-01T11:00:00Z", "actor": "windlass",
                "reason": "every gate holds", "previous": "sha256:1", "digest": "sha256:2"
            }]
        }
    })
}

fn command(place: &Place, uri: &str, version: &Value, more: &[&str]) -> Command {
    let file = place.file("version.json", version.to_string());
    let mut command = place.command(&["publish", "--tracking-uri", uri, "--version"]);
    command
        .arg(file)
        .args(more)
        .env("MLFLOW_TRACKING_USERNAME", USER)
        .env("MLFLOW_TRACKING_PASSWORD", PASSWORD);
    command
}

fn publish(place: &Place, uri: &str, version: &Value, more: &[&str]) -> Ended {
    place.ended(&mut command(place, uri, version, more))
}

fn published(ended: &Ended) -> &PublishReport {
    let Report::Publish(report) = &ended.report else {
        panic!("{:?}", ended.report)
    };
    assert_eq!(ended.output.status.code(), Some(0));
    report
}

/// `key` and `value` of a list of MLflow's.
fn pairs(list: &Value) -> BTreeMap<&str, &Value> {
    let list = list.as_array().expect("a list");
    list.iter()
        .map(|pair| (pair["key"].as_str().expect("a key"), &pair["value"]))
        .collect()
}

fn aliases(mlflow: &Mlflow, model: &str) -> Value {
    let found = mlflow.get("registered-models/get", &[("name", model)]);
    let aliases = &found["registered_model"]["aliases"];
    let aliases = aliases.as_array().map(Vec::as_slice).unwrap_or_default();
    let pairs = aliases.iter().map(|alias| {
        let name = alias["alias"].as_str().expect("a name");
        (name.to_owned(), alias["version"].clone())
    });
    Value::Object(pairs.collect())
}

fn versions(mlflow: &Mlflow, model: &str) -> Vec<Value> {
    let filter = format!("name = '{model}'");
    let found = mlflow.get("model-versions/search", &[("filter", &filter)]);
    let versions = found["model_versions"].as_array();
    versions.cloned().unwrap_or_default()
}

fn runs(mlflow: &Mlflow, experiment: &str) -> Vec<Value> {
    let found = mlflow.get(
        "experiments/get-by-name",
        &[("experiment_name", experiment)],
    );
    let body =
        json!({"experiment_ids": [found["experiment"]["experiment_id"]], "run_view_type": "ALL"});
    let found = mlflow.send(reqwest::Method::POST, "runs/search", &[], &body);
    found["runs"].as_array().cloned().unwrap_or_default()
}

fn assert_parameters(run: &Value) {
    let parameters = pairs(&run["data"]["params"]);
    assert_eq!(parameters["learning_rate"], "0.1");
    assert_eq!(parameters["empty"], "");
    let sql = parameters["sql"].as_str().expect("a text");
    assert!(
        sql.len() <= 6000 && sql.contains("(11000 bytes, sha256:"),
        "{sql}"
    );
    let mut features: Vec<&Value> = parameters
        .iter()
        .filter(|(name, _)| name.starts_with("features_0_"))
        .map(|(_, value)| *value)
        .collect();
    features.sort_by_key(|value| value.as_str());
    assert_eq!(features, ["plan", "tenure"]);
}

fn assert_metrics(run: &Value) {
    let metrics: BTreeMap<&str, f64> = pairs(&run["data"]["metrics"])
        .into_iter()
        .map(|(name, value)| (name, value.as_f64().expect("a number")))
        .collect();
    let segment = "segment/country_DE_AND_age_ge_30/validation.rocAuc";
    let (lower, upper) = (format!("{segment}.lower"), format!("{segment}.upper"));
    let expected = BTreeMap::from([
        ("loss", 0.25),
        ("validation.rocAuc", 0.91),
        ("validation.rocAuc.lower", 0.89),
        ("validation.rocAuc.upper", 0.93),
        (segment, 0.88),
        (lower.as_str(), 0.84),
        (upper.as_str(), 0.92),
    ]);
    assert_eq!(metrics, expected);
}

fn assert_tags_and_inputs(run: &Value) {
    let tags = pairs(&run["data"]["tags"]);
    for (name, value) in [
        ("windlass.training_job_uid", "training-churn-3"),
        ("windlass.version_uid", "uid-churn-3"),
        ("windlass.version", "growth/churn-3"),
        ("windlass.digest", DIGEST),
        ("windlass.fingerprint", "sha256:f00d"),
        ("windlass.verdict", "Pass"),
        ("windlass.parent", "churn-1"),
        ("windlass.author", "rita"),
        ("mlflow.user", "rita"),
        ("mlflow.source.name", "https://example.com/churn.git"),
        (
            "mlflow.source.git.commit",
            "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
        ),
        (
            "windlass.segment.country_DE_AND_age_ge_30",
            "country = 'DE' AND age >= 30",
        ),
    ] {
        assert_eq!(tags[name], value, "{name}");
    }
    let input = &run["inputs"]["dataset_inputs"][0];
    assert_eq!(input["dataset"]["name"], "history");
    assert_eq!(input["dataset"]["source_type"], "s3");
    assert_eq!(input["dataset"]["digest"], DIGEST[7..43]);
    assert_eq!(pairs(&input["tags"])["windlass.digest"], DIGEST);
}

fn assert_registered(registered: &Value, published: &PublishReport) {
    assert_eq!(
        registered["version"].as_str(),
        published.model_version.as_deref()
    );
    assert_eq!(registered["source"], "s3://models/churn/3");
    assert_eq!(registered["run_id"], published.run_id);
    assert_eq!(registered["description"], "every gate holds");
    let tags = pairs(&registered["tags"]);
    for (name, value) in [
        ("windlass.version", "growth/churn-3"),
        ("windlass.digest", DIGEST),
        ("windlass.fingerprint", "sha256:f00d"),
        ("windlass.verdict", "Pass"),
        ("windlass.approval", "Automatic"),
        ("windlass.decisions", "2"),
        ("windlass.decisions.digest", "sha256:2"),
    ] {
        assert_eq!(tags[name], value, "{name}");
    }
}

#[test]
fn a_version_and_its_run_are_in_mlflow_whole_and_once() {
    let place = Place::new();
    let Some(mlflow) = Mlflow::start(&place.path("mlflow")) else {
        return;
    };
    let object = version("churn", 3);
    let ended = publish(&place, &mlflow.uri, &object, &["--alias", "champion"]);
    let first = published(&ended);
    assert!(first.wrote > 5, "{first:?}");

    let runs_there = runs(&mlflow, "growth/churn");
    assert_eq!(runs_there.len(), 1);
    let run = &runs_there[0];
    assert_eq!(run["info"]["run_id"], first.run_id);
    assert_eq!(run["info"]["status"], "FINISHED");
    assert_eq!(run["info"]["run_name"], "churn-3");
    assert_eq!(run["info"]["start_time"], 1_793_527_200_000_i64);
    assert_eq!(run["info"]["end_time"], 1_793_530_800_000_i64);
    assert_parameters(run);
    assert_metrics(run);
    assert_tags_and_inputs(run);

    let versions_there = versions(&mlflow, "churn");
    assert_eq!(versions_there.len(), 1);
    let registered = &versions_there[0];
    assert_registered(registered, first);
    assert_eq!(
        aliases(&mlflow, "churn"),
        json!({"champion": first.model_version})
    );

    let again = publish(&place, &mlflow.uri, &object, &["--alias", "champion"]);
    let again = published(&again);
    assert_eq!(again.wrote, 0);
    assert_eq!(
        (&again.run_id, &again.model_version),
        (&first.run_id, &first.model_version)
    );
    assert_eq!(runs(&mlflow, "growth/churn"), runs_there);
    assert_eq!(versions(&mlflow, "churn"), versions_there);
}

/// A training that failed after its second epoch.
fn training(uid: &str) -> Value {
    json!({
        "apiVersion": "windlass.dev/v1alpha1", "kind": "TrainingJob",
        "metadata": {
            "name": "churn-nightly", "namespace": "growth", "uid": uid, "creationTimestamp": "2026-11-01T10:00:00Z",
            "labels": {"windlass.dev/monitor": "churn"}
        },
        "spec": {
            "model": "churn", "author": "rita", "parameters": {"learning_rate": "0.1"}, "workers": {"template": {}},
            "source": {"repository": "https://example.com/churn.git", "revision": "4b825dc"}
        },
        "status": {
            "conditions": [{
                "type": "Failed", "status": "True", "reason": "BackoffLimitExceeded",
                "message": "attempt 4 failed: exit code 1", "lastTransitionTime": "2026-11-01T11:00:00Z"
            }],
            "attempt": 4, "gpuSeconds": 7200, "fingerprint": "sha256:f00d",
            "startTime": "2026-11-01T10:00:00Z", "completionTime": "2026-11-01T11:00:00Z",
            "inputs": [{"name": "history", "uri": "s3://data/history", "digest": DIGEST, "files": 3, "bytes": 300}],
            "progress": {"observed": "2026-11-01T10:50:00Z", "epoch": 2, "metrics": {"loss": "0.7"}}
        }
    })
}

#[test]
fn the_run_of_a_training_that_failed_is_in_mlflow_and_nothing_is_registered() {
    let place = Place::new();
    let Some(mlflow) = Mlflow::start(&place.path("mlflow")) else {
        return;
    };
    let publish = |job: &Value| {
        let file = place.file("job.json", job.to_string());
        let mut command = place.command(&["publish", "--tracking-uri", &mlflow.uri]);
        command.arg("--training-job").arg(file);
        place.ended(&mut command)
    };
    let ended = publish(&training("t-1"));
    let first = published(&ended);
    assert_eq!(first.model_version, None);
    let there = runs(&mlflow, "growth/churn");
    assert_eq!(there.len(), 1);
    let run = &there[0];
    assert_eq!(run["info"]["run_id"], first.run_id);
    assert_eq!(run["info"]["status"], "FAILED");
    assert_eq!(run["info"]["run_name"], "churn-nightly");
    assert_eq!(run["info"]["end_time"], 1_793_530_800_000_i64);
    assert_eq!(pairs(&run["data"]["params"])["learning_rate"], "0.1");
    assert_eq!(run["data"]["metrics"][0]["key"], "loss");
    assert_eq!(run["data"]["metrics"][0]["value"], 0.7);
    let tags = pairs(&run["data"]["tags"]);
    for (name, value) in [
        ("mlflow.note.content", "attempt 4 failed: exit code 1"),
        ("mlflow.user", "rita"),
        ("mlflow.source.git.commit", "4b825dc"),
        ("windlass.failure", "BackoffLimitExceeded"),
        ("windlass.training_job", "churn-nightly"),
        ("windlass.drift_monitor", "churn"),
        ("windlass.attempts", "4"),
        ("windlass.gpu_seconds", "7200"),
        ("windlass.fingerprint", "sha256:f00d"),
    ] {
        assert_eq!(tags[name], value, "{name}");
    }
    let input = &run["inputs"]["dataset_inputs"][0]["dataset"];
    assert_eq!(input["name"], "history");
    assert_eq!(versions(&mlflow, "churn"), Vec::<Value>::new());

    assert_eq!(published(&publish(&training("t-1"))).wrote, 0);
    publish(&training("t-2"));
    assert_eq!(runs(&mlflow, "growth/churn").len(), 2);

    let mut well = training("t-3");
    well["status"]["conditions"][0]["type"] = json!("Complete");
    let refused = publish(&well);
    assert_eq!(refused.failure().reason, FailureReason::InputUnreadable);
    assert!(refused.failure().message.contains("with its ModelVersion"));
    // Without a model there is no version to show it with.
    well["spec"]["model"] = Value::Null;
    published(&publish(&well));
    let alone = &runs(&mlflow, "growth/churn-nightly")[0];
    assert_eq!(alone["info"]["status"], "FINISHED");
    assert!(!pairs(&alone["data"]["tags"]).contains_key("windlass.failure"));
    well["status"]["conditions"] = json!([]);
    let refused = publish(&well);
    assert!(refused.failure().message.contains("has not ended"));
}

#[test]
fn a_version_is_told_as_it_grows_and_a_newer_one_becomes_champion() {
    let place = Place::new();
    let Some(mlflow) = Mlflow::start(&place.path("mlflow")) else {
        return;
    };
    let whole = version("churn", 1);
    let mut new = whole.clone();
    new.as_object_mut().expect("an object").remove("status");
    new["spec"]["approval"] = json!("Manual");
    let first = publish(&place, &mlflow.uri, &new, &["--alias", "challenger"]);
    let first = published(&first).clone();
    let registered = versions(&mlflow, "churn");
    assert_eq!(
        pairs(&registered[0]["tags"])["windlass.approval"],
        "Awaited"
    );

    // Its verdict, a review, and what a person wrote into MLflow themselves.
    let described = json!({"name": "churn", "version": first.model_version, "description": "mine"});
    mlflow.send(
        reqwest::Method::PATCH,
        "model-versions/update",
        &[],
        &described,
    );
    let mut judged = whole.clone();
    judged["spec"]["approval"] = json!("Manual");
    judged["spec"]["review"] = json!({"decision": "Approved", "by": "rita", "reason": "good"});
    let more = ["--alias", "champion", "--unalias", "challenger"];
    let second = publish(&place, &mlflow.uri, &judged, &more);
    let second = published(&second);
    assert_eq!(
        (&second.run_id, &second.model_version),
        (&first.run_id, &first.model_version)
    );
    let registered = versions(&mlflow, "churn");
    assert_eq!(registered[0]["description"], "mine");
    let tags = pairs(&registered[0]["tags"]);
    assert_eq!(
        (tags["windlass.approval"], tags["windlass.verdict"]),
        (&json!("Approved"), &json!("Pass"))
    );
    assert_eq!(
        aliases(&mlflow, "churn"),
        json!({"champion": first.model_version})
    );
    assert_eq!(
        published(&publish(&place, &mlflow.uri, &judged, &more)).wrote,
        0
    );

    // A newer version, tried, then all traffic goes to it.
    let newer = version("churn", 2);
    let tried = publish(&place, &mlflow.uri, &newer, &["--alias", "challenger"]);
    let number = published(&tried).model_version.clone();
    assert_eq!(
        aliases(&mlflow, "churn"),
        json!({"champion": first.model_version, "challenger": number})
    );
    // What names another version is not the older one's to take away.
    let none = publish(&place, &mlflow.uri, &judged, &["--unalias", "challenger"]);
    assert_eq!(published(&none).wrote, 0);
    let moved = publish(&place, &mlflow.uri, &newer, &more);
    assert_eq!(published(&moved).wrote, 2);
    assert_eq!(aliases(&mlflow, "churn"), json!({"champion": number}));
    assert_eq!(
        (
            versions(&mlflow, "churn").len(),
            runs(&mlflow, "growth/churn").len()
        ),
        (2, 2)
    );
}

/// What of a model is in MLflow, without what differs from one making to the next.
fn state(mlflow: &Mlflow, model: &str) -> String {
    let without_ids = |mut value: Value, ids: &[&str]| {
        for id in ids {
            *value.pointer_mut(id).unwrap_or(&mut Value::Null) = Value::Null;
        }
        // No order is promised.
        for list in ["/data/params", "/data/metrics", "/data/tags", "/tags"] {
            if let Some(Value::Array(list)) = value.pointer_mut(list) {
                list.sort_by_key(|pair| pair["key"].to_string());
            }
        }
        value
    };
    let runs = runs(mlflow, &format!("growth/{model}"));
    let runs: Vec<Value> = runs
        .into_iter()
        .map(|run| {
            let info = [
                "/info/run_id",
                "/info/run_uuid",
                "/info/experiment_id",
                "/info/artifact_uri",
            ];
            without_ids(run, &info)
        })
        .collect();
    let versions: Vec<Value> = versions(mlflow, model)
        .into_iter()
        .map(|version| {
            let ids = ["/run_id", "/creation_timestamp", "/last_updated_timestamp"];
            without_ids(version, &ids)
        })
        .collect();
    let all = json!({"runs": runs, "versions": versions, "aliases": aliases(mlflow, model)});
    all.to_string().replace(model, "MODEL")
}

#[test]
fn a_connection_that_is_cut_at_any_request_is_mended_by_the_same_command() {
    let place = Place::new();
    let Some(mlflow) = Mlflow::start(&place.path("mlflow")) else {
        return;
    };
    let more = ["--alias", "champion"];
    let whole = Cutter::start(&mlflow.uri, usize::MAX, Cut::Before);
    published(&publish(&place, &whole.uri, &version("whole", 3), &more));
    let requests = whole.seen.load(Ordering::SeqCst);
    let expected = state(&mlflow, "whole");
    assert!(requests > 10, "{requests} requests");
    for most in 0..requests {
        for cut in [Cut::Before, Cut::After] {
            let model = format!("cut{most}{cut:?}").to_lowercase();
            let object = version(&model, 3);
            let cutter = Cutter::start(&mlflow.uri, most, cut);
            let ended = publish(&place, &cutter.uri, &object, &more);
            let failure = ended.failure();
            assert_eq!(
                failure.reason,
                FailureReason::TrackingUnreachable,
                "{failure:?}"
            );
            assert_eq!(ended.output.status.code(), Some(1));
            published(&publish(&place, &mlflow.uri, &object, &more));
            assert_eq!(state(&mlflow, &model), expected, "{model}");
            let again = publish(&place, &mlflow.uri, &object, &more);
            assert_eq!(published(&again).wrote, 0, "{model}");
        }
    }
}

#[test]
fn a_wrong_password_is_told_and_printed_nowhere() {
    let place = Place::new();
    let Some(mlflow) = Mlflow::with_users(&place.path("mlflow")) else {
        return;
    };
    let object = version("churn", 3);
    published(&publish(&place, &mlflow.uri, &object, &[]));
    let wrong = "hush-hush";
    for (user, password, token) in [
        (Some(USER), Some(wrong), None),
        (None, None, Some(wrong)),
        (None, None, None),
    ] {
        let mut command = command(&place, &mlflow.uri, &object, &[]);
        command
            .env_remove("MLFLOW_TRACKING_USERNAME")
            .env_remove("MLFLOW_TRACKING_PASSWORD")
            .env("RUST_LOG", "trace");
        let variables = [
            ("MLFLOW_TRACKING_USERNAME", user),
            ("MLFLOW_TRACKING_PASSWORD", password),
            ("MLFLOW_TRACKING_TOKEN", token),
        ];
        for (name, value) in variables {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        let ended = place.ended(&mut command);
        let failure = ended.failure();
        assert_eq!(failure.reason, FailureReason::TrackingRefused);
        assert_eq!(ended.output.status.code(), Some(65));
        for said in [
            "GET /api/2.0/mlflow/experiments/get-by-name",
            "401",
            "MLFLOW_TRACKING_",
            &mlflow.uri,
        ] {
            assert!(failure.message.contains(said), "{}", failure.message);
        }
        let printed = [ended.output.stdout.clone(), ended.output.stderr.clone()].concat();
        let printed = String::from_utf8_lossy(&printed);
        // `ann:hush-hush`, as it goes over the line.
        for secret in [wrong, "YW5uOmh1c2gtaHVzaA"] {
            assert!(!printed.contains(secret), "{printed}");
            assert!(!failure.message.contains(secret), "{}", failure.message);
        }
    }
}

#[test]
fn what_is_wrong_with_a_server_or_a_version_is_told() {
    let place = Place::new();
    let object = version("churn", 3);
    // No one listens on a port that was just given back.
    let address =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let nowhere = format!("http://{}", address.expect("a port"));
    let ended = publish(&place, &nowhere, &object, &[]);
    let failure = ended.failure();
    assert_eq!(failure.reason, FailureReason::TrackingUnreachable);
    assert!(failure.message.contains(&nowhere), "{}", failure.message);
    assert!(
        failure.message.contains("Connection refused"),
        "{}",
        failure.message
    );
    assert_eq!(ended.output.status.code(), Some(1));

    let manifest = json!({"apiVersion": "windlass.dev/v1alpha1", "kind": "ModelVersion", "metadata": {"name": "churn-3"}, "spec": object["spec"]});
    let ended = publish(&place, &nowhere, &manifest, &[]);
    assert_eq!(ended.failure().reason, FailureReason::InputUnreadable);
    assert!(ended.failure().message.contains("metadata.namespace"));
    let ended = publish(&place, &nowhere, &json!({"kind": "Pod"}), &[]);
    assert_eq!(ended.failure().reason, FailureReason::InputUnreadable);
    let ended = publish(
        &place,
        &nowhere,
        &object,
        &["--alias", "a", "--unalias", "a"],
    );
    assert_eq!(ended.failure().reason, FailureReason::InvalidArguments);

    let Some(mlflow) = Mlflow::start(&place.path("mlflow")) else {
        return;
    };
    let ended = publish(&place, &format!("{}/elsewhere", mlflow.uri), &object, &[]);
    assert_eq!(ended.failure().reason, FailureReason::TrackingRefused);
    assert!(
        ended.failure().message.contains("--tracking-uri"),
        "{}",
        ended.failure().message
    );
    let ended = publish(&place, &mlflow.uri, &object, &["--alias", "v1"]);
    let message = &ended.failure().message;
    assert_eq!(ended.failure().reason, FailureReason::TrackingRefused);
    for said in [
        "POST /api/2.0/mlflow/registered-models/alias",
        "INVALID_PARAMETER_VALUE",
        "reserved",
    ] {
        assert!(message.contains(said), "{message}");
    }
    let body = json!({"experiment_id": runs(&mlflow, "growth/churn")[0]["info"]["experiment_id"]});
    mlflow.send(reqwest::Method::POST, "experiments/delete", &[], &body);
    let ended = publish(&place, &mlflow.uri, &object, &[]);
    assert_eq!(ended.failure().reason, FailureReason::TrackingRefused);
    assert!(
        ended.failure().message.contains("--experiment"),
        "{}",
        ended.failure().message
    );
}
