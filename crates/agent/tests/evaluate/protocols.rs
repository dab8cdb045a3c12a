//! The same model behind each protocol gives the same verdict.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::json;
use windlass_api::agent::{FailureReason, Verdict};

use super::server::Model;
use super::{evaluate, evaluate_at, folder, grpc};

const GATES: [&str; 4] = ["--metric", "rocAuc,min=0.75", "--metric", "accuracy"];

#[tokio::test]
async fn every_protocol_carries_the_same_rows_and_answers() {
    let folder = folder();
    let http = evaluate(folder.path(), Model::Knows, &GATES)
        .await
        .expect("a verdict");
    assert_eq!(http.verdict, Verdict::Pass, "{}", http.message);
    let v1 = [&GATES[..], &["--protocol", "V1"]].concat();
    let v1 = evaluate(folder.path(), Model::Knows, &v1)
        .await
        .expect("a verdict");
    assert_eq!(v1.metrics, http.metrics);
    for model in [grpc::Model::Knows, grpc::Model::KnowsRaw] {
        let server = format!("http://{}", grpc::serve(model).await);
        let more = [&GATES[..], &["--protocol", "OpenInferenceGRPC"]].concat();
        let found = evaluate_at(folder.path(), &server, &more)
            .await
            .expect("a verdict");
        assert_eq!(found.metrics, http.metrics);
    }
}

#[tokio::test]
async fn a_grpc_server_that_fails_is_named() {
    let folder = folder();
    let more = [&GATES[..], &["--protocol", "OpenInferenceGRPC"]].concat();
    for (model, reason, why) in [
        (
            grpc::Model::Breaks,
            FailureReason::ServerFailed,
            "out of luck",
        ),
        (
            grpc::Model::NotANumber,
            FailureReason::ServerFailed,
            "finite",
        ),
        (
            grpc::Model::Absent,
            FailureReason::ServerNotReady,
            "ServerReady",
        ),
    ] {
        let server = format!("http://{}", grpc::serve(model).await);
        let failed = evaluate_at(folder.path(), &server, &more)
            .await
            .expect_err("a failure");
        assert_eq!(failed.reason, reason, "{}", failed.message);
        assert!(failed.message.contains(why), "{}", failed.message);
    }
    let nobody = evaluate_at(folder.path(), "http://127.0.0.1:9", &more)
        .await
        .expect_err("a failure");
    assert_eq!(nobody.reason, FailureReason::ServerNotReady);
}

/// Prompts with what is right: 400 rows, of which one in twenty is answered wrongly.
pub fn prompts(folder: &Path) {
    let mut csv = "prompt,late\n".to_owned();
    for row in 0..400 {
        let is_late = row % 4 == 0;
        let says_wind = is_late != (row % 20 == 1);
        let label = if is_late { "late" } else { "on time" };
        let wind = u8::from(says_wind);
        writeln!(csv, "is it late? wind {wind},{label}").expect("a string");
    }
    std::fs::create_dir(folder.join("holdout")).expect("a folder");
    std::fs::write(folder.join("holdout/a.csv"), csv).expect("written");
    let signature = json!({
        "inputs": [{"name": "prompt", "type": "Text"}],
        "output": {"classes": ["on time", "late"]},
    });
    std::fs::write(folder.join("signature.json"), signature.to_string()).expect("written");
}

#[tokio::test]
async fn a_language_model_is_judged_by_the_classes_that_it_names() {
    let folder = tempfile::tempdir().expect("a folder");
    prompts(folder.path());
    let more = [
        "--protocol",
        "OpenAI",
        "--metric",
        "accuracy,min=0.9",
        "--metric",
        "recallMacro",
    ];
    let report = evaluate(folder.path(), Model::Knows, &more)
        .await
        .expect("a verdict");
    assert_eq!(report.verdict, Verdict::Pass, "{}", report.message);
    assert_eq!(report.metrics[0].value, Some(0.95));
    // 280 of 300 that are on time, and all that are late.
    assert_eq!(
        report.metrics[1].value,
        Some(f64::midpoint(280.0 / 300.0, 1.0))
    );
    // What is none of the classes is wrong, whatever the label.
    let report = evaluate(folder.path(), Model::Guesses, &more)
        .await
        .expect("a verdict");
    assert_eq!(report.verdict, Verdict::Fail, "{}", report.message);
    assert_eq!(report.metrics[0].value, Some(0.0));
    let failed = evaluate(folder.path(), Model::Nothing, &more)
        .await
        .expect_err("a failure");
    assert_eq!(failed.reason, FailureReason::ServerFailed);
    assert!(failed.message.contains("rows 0 to 0"), "{}", failed.message);
    // A tensor cannot hold a prompt.
    let failed = evaluate(folder.path(), Model::Knows, &more[2..])
        .await
        .expect_err("a failure");
    assert_eq!(failed.reason, FailureReason::InvalidArguments);
    assert!(failed.message.contains("'prompt'"), "{}", failed.message);
}
