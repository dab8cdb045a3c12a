//! Real model servers: KServe's with a model of scikit-learn's, llama.cpp's with a language model of a few kilobytes, and
//! Triton as the chart's preset starts it.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use windlass_api::agent::{FailureReason, Verdict};

use super::common::installed::{Group, free_address, installed};
use super::protocols::prompts;
use super::{evaluate_at, folder};

/// A model behind a server of its own, both from Python programs beside this file.
struct Served {
    _group: Group,
    address: String,
    /// Where it speaks gRPC; empty where it does not.
    grpc: String,
}

impl Served {
    /// Makes the model with `arguments` and serves it under the name `flights`.
    fn start(
        server: &str,
        folder: &Path,
        arguments: &[&str],
        more: &[(&str, &str)],
    ) -> Option<Self> {
        let python = installed(server)?.join("bin/python");
        let of = |what: &str| {
            let name = format!("tests/evaluate/{}_{what}.py", server.replace('-', "_"));
            let log = File::create(folder.join(what)).expect("a log");
            let mut command = Command::new(&python);
            command
                .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(name))
                .arg(folder.join("model.file"))
                .current_dir(folder)
                .stdout(log.try_clone().expect("the log"))
                .stderr(log);
            command
        };
        let made = of("model").args(arguments).status().expect("Python runs");
        let log = std::fs::read_to_string(folder.join("model")).unwrap_or_default();
        assert!(made.success(), "{log}");
        let address = free_address();
        let mut command = of("server");
        command.args(["flights", &address.port().to_string()]);
        command.envs(more.iter().copied());
        Some(Self {
            _group: Group::start(&mut command),
            address: format!("http://{address}"),
            grpc: String::new(),
        })
    }
}

/// One that says what the column `known` says, as probabilities of both.
fn kserve(folder: &Path) -> Option<Served> {
    let model = ["holdout/a.csv", "known", "known", "temp", "origin=EWR,JFK"];
    Served::start("kserve", folder, &model, &[("PREDICT_PROBA", "true")])
}

const PATIENCE: [&str; 2] = ["--ready-timeout", "60s"];

#[tokio::test]
async fn a_model_behind_kserve_is_judged_over_v1_as_over_open_inference() {
    let folder = folder();
    let Some(served) = kserve(folder.path()) else {
        return;
    };
    let gates = ["--metric", "accuracy,min=0.85", "--metric", "rocAuc"];
    let of = async |protocol: &str| {
        let more = [&gates[..], &PATIENCE, &["--protocol", protocol]].concat();
        evaluate_at(folder.path(), &served.address, &more).await
    };
    // Two numbers a row, and no word of which is which.
    let refused = of("V1").await.expect_err("a failure");
    assert_eq!(refused.reason, FailureReason::ServerFailed);
    assert!(
        refused.message.contains("output.classes"),
        "{}",
        refused.message
    );

    let path = folder.path().join("signature.json");
    let signature = std::fs::read(&path).expect("a signature");
    let mut signature: Value = serde_json::from_slice(&signature).expect("JSON");
    signature["output"] = json!({"classes": ["false", "true"]});
    std::fs::write(path, signature.to_string()).expect("written");
    let v1 = of("V1").await.expect("a verdict");
    assert_eq!(
        (v1.verdict, v1.rows),
        (Verdict::Pass, 3000),
        "{}",
        v1.message
    );
    assert_eq!(v1.metrics[0].value, Some(0.9));
    assert_eq!(
        of("OpenInference").await.expect("a verdict").metrics,
        v1.metrics
    );
}

#[tokio::test]
async fn a_language_model_behind_llama_cpp_is_judged() {
    let folder = tempfile::tempdir().expect("a folder");
    prompts(folder.path());
    let model = ["late=wind 1", "on time=wind 0"];
    let Some(served) = Served::start("llama-cpp", folder.path(), &model, &[]) else {
        return;
    };
    let gates = ["--protocol", "OpenAI", "--metric", "accuracy,min=0.9"];
    let more = [&gates[..], &PATIENCE, &["--metric", "recallMacro"]].concat();
    let report = evaluate_at(folder.path(), &served.address, &more).await;
    let report = report.expect("a verdict");
    assert_eq!(report.verdict, Verdict::Pass, "{}", report.message);
    let values = report.metrics.iter().map(|metric| metric.value);
    let recall = f64::midpoint(280.0 / 300.0, 1.0);
    assert_eq!(values.collect::<Vec<_>>(), [Some(0.95), Some(recall)]);

    // A prompt that the model has no room for.
    let long = format!("prompt,late\n{},late\n", "wind 1 ".repeat(3000));
    std::fs::write(folder.path().join("holdout/b.csv"), long).expect("written");
    let failed = evaluate_at(folder.path(), &served.address, &more).await;
    let failed = failed.expect_err("a failure");
    assert_eq!(failed.reason, FailureReason::ServerFailed);
    assert!(
        failed.message.contains("rows 400 to 400") && failed.message.contains("context size"),
        "{}",
        failed.message
    );
}

/// What the model says depends on the features alone: the same rows, the same answers.
#[tokio::test]
async fn a_champion_behind_the_same_kind_of_server_is_no_better_than_itself() {
    let folder = folder();
    let Some(served) = kserve(folder.path()) else {
        return;
    };
    let signature = folder.path().join("signature.json");
    let text = std::fs::read_to_string(&signature).expect("a signature");
    let text = text.replacen('{', r#"{"output":{"classes":["false","true"]},"#, 1);
    std::fs::write(&signature, text).expect("written");
    let more = [
        "--protocol",
        "V1",
        "--metric",
        "logLoss",
        "--champion-server",
    ];
    let more = [&more[..], &[&served.address], &PATIENCE].concat();
    let report = evaluate_at(folder.path(), &served.address, &more).await;
    let report = report.expect("a verdict");
    assert_eq!(report.verdict, Verdict::Pass, "{}", report.message);
    assert_eq!(report.metrics[0].champion, report.metrics[0].value);
}

/// What the chart's preset runs, with its folder for models in `folder`.
fn preset(name: &str, folder: &Path) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts/windlass/values.yaml");
    let values = std::fs::read_to_string(path).expect("the chart's values");
    let values: Value = serde_saphyr::from_str(&values).expect("YAML");
    let server = &values["presets"][name]["template"]["spec"]["containers"][0];
    assert_eq!(server["command"], json!(["/bin/sh", "-ec"]));
    let script = server["args"][0].as_str().expect("a script");
    script.replace("/tmp/", &format!("{}/tmp/", folder.display()))
}

/// One that says what the column `known` says; Triton knows its inputs and outputs by the file beside it.
fn triton(folder: &Path) -> Option<Served> {
    let place = installed("triton")?;
    let packages = std::fs::read_dir(place.join("lib"))
        .expect("a folder")
        .next();
    let packages = packages
        .expect("one")
        .expect("readable")
        .path()
        .join("site-packages");
    let server = packages.join("pytriton/tritonserver");
    let model = folder.join("model");
    for made in [&model, &folder.join("tmp"), &folder.join("bin")] {
        std::fs::create_dir(made).expect("a folder");
    }
    let program = format!(
        "import sys\nsys.path.insert(0, '{}')\n{}",
        packages.display(),
        include_str!("triton_model.py")
    );
    let config = r#"backend: "python"
max_batch_size: 1000
input [{ name: "predict" data_type: TYPE_FP64 dims: [3] }]
output [{ name: "late" data_type: TYPE_FP64 dims: [1] }]
"#;
    // Where its backends lie is the one thing that an image of Triton's knows by itself.
    let tritonserver = format!(
        "#!/bin/sh\nexec {0}/bin/tritonserver \"$@\" --backend-directory={0}/backends\n",
        server.display()
    );
    for (path, text) in [
        (model.join("model.py"), program.as_str()),
        (model.join("config.pbtxt"), config),
        (folder.join("bin/tritonserver"), &tritonserver),
    ] {
        std::fs::write(path, text).expect("written");
    }
    let all = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder.join("bin/tritonserver"), all).expect("a mode");
    let [http, grpc, metrics] = [free_address(), free_address(), free_address()];
    let log = File::create(folder.join("log")).expect("a log");
    let path = std::env::var("PATH").expect("a path");
    let mut command = Command::new("/bin/sh");
    command
        .args(["-ec", &preset("triton", folder)])
        .env("PATH", format!("{}:{path}", folder.join("bin").display()))
        .env("WINDLASS_MODEL_NAME", "flights")
        .env("WINDLASS_MODEL_DIRECTORY", &model)
        .env("WINDLASS_PORT", http.port().to_string())
        .env("WINDLASS_PORT_GRPC", grpc.port().to_string())
        .env("WINDLASS_PORT_METRICS", metrics.port().to_string())
        .stdout(log.try_clone().expect("the log"))
        .stderr(log);
    Some(Served {
        _group: Group::start(&mut command),
        address: format!("http://{http}"),
        grpc: format!("http://{grpc}"),
    })
}

#[tokio::test]
async fn a_model_behind_triton_as_the_preset_starts_it_is_judged_over_both_of_its_protocols() {
    let folder = folder();
    let Some(served) = triton(folder.path()) else {
        return;
    };
    let gates = ["--metric", "accuracy,min=0.85", "--metric", "rocAuc"];
    let of = async |protocol: &str, address: &str| {
        let more = [&gates[..], &PATIENCE, &["--protocol", protocol]].concat();
        evaluate_at(folder.path(), address, &more).await
    };
    let grpc = of("OpenInferenceGRPC", &served.grpc)
        .await
        .expect("a verdict");
    assert_eq!(
        (grpc.verdict, grpc.rows, grpc.metrics[0].value),
        (Verdict::Pass, 3000, Some(0.9)),
        "{}",
        grpc.message
    );
    // Its JSON has no word for a value that is missing.
    let refused = of("OpenInference", &served.address).await;
    let refused = refused.expect_err("a failure");
    assert_eq!(refused.reason, FailureReason::ServerFailed);
    assert!(
        refused.message.contains("rows 0 to 999"),
        "{}",
        refused.message
    );

    for file in ["a", "b"] {
        let path = folder.path().join(format!("holdout/{file}.csv"));
        let rows = std::fs::read_to_string(&path).expect("rows");
        std::fs::write(path, rows.replace(",,", ",20.5,")).expect("written");
    }
    let http = of("OpenInference", &served.address).await;
    let http = http.expect("a verdict");
    let grpc = of("OpenInferenceGRPC", &served.grpc)
        .await
        .expect("a verdict");
    assert_eq!(http.metrics, grpc.metrics);
}
