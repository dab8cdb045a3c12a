//! Real model servers: KServe's with a model of scikit-learn's, and llama.cpp's with a language model of a few kilobytes.

use std::fs::File;
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
