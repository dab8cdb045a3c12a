//! `windlass-agent evaluate` against model servers in this process.

mod bad_input;
mod classes;
#[path = "../common/mod.rs"]
mod common;
mod grpc;
mod protocols;
mod real;
mod rows;
mod server;
mod watched;

use std::fmt::Write as _;
use std::path::Path;

use clap::Parser;
use serde_json::json;
use windlass_agent::evaluate;
use windlass_api::agent::{
    Distribution, EvaluationReport, FailureReason, FailureReport, Profile, Report, Verdict,
};

use self::server::{Model, serve};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    arguments: evaluate::Arguments,
}

/// 3,000 rows: `known` is the label but for one row of ten; a temperature that is sometimes not there.
fn data(folder: &Path) {
    let mut csv = "known,temp,origin,late,at\n".to_owned();
    for row in 0..3000_u32 {
        let label = row % 3 == 0;
        let known = u8::from(label != (row * 7 % 10 == 0));
        let temp = if row % 50 == 7 {
            String::new()
        } else {
            format!("{}.5", row % 40)
        };
        let origin = match row % 100 {
            0 => "LGA",
            odd if odd % 2 == 1 => "JFK",
            _ => "EWR",
        };
        let day = 1 + row / 300;
        writeln!(
            csv,
            "{known},{temp},{origin},{label},2013-01-{day:02}T00:00:00Z"
        )
        .expect("a string");
    }
    std::fs::create_dir(folder.join("holdout")).expect("a folder");
    let (first, rest) =
        csv.split_at(csv.len() / 2 + csv[csv.len() / 2..].find('\n').expect("a line") + 1);
    std::fs::write(folder.join("holdout/a.csv"), first).expect("written");
    std::fs::write(
        folder.join("holdout/b.csv"),
        format!("known,temp,origin,late,at\n{rest}"),
    )
    .expect("written");
    let signature = json!({"inputs": [
        {"name": "known", "type": "Number"},
        {"name": "temp", "type": "Number"},
        {"name": "origin", "type": "Category", "categories": ["EWR", "JFK"]},
    ]});
    std::fs::write(folder.join("signature.json"), signature.to_string()).expect("written");
}

async fn evaluate(
    folder: &Path,
    model: Model,
    more: &[&str],
) -> Result<EvaluationReport, FailureReport> {
    let server = format!("http://{}", serve(model).await);
    evaluate_at(folder, &server, more).await
}

async fn evaluate_at(
    folder: &Path,
    server: &str,
    more: &[&str],
) -> Result<EvaluationReport, FailureReport> {
    let at = |name: &str| folder.join(name).display().to_string();
    let (dataset, signature, output) = (at("holdout"), at("signature.json"), at("out"));
    let line = [
        "x",
        "--model-name",
        "flights",
        "--server",
        server,
        "--signature",
        &signature,
        "--dataset",
        &dataset,
        "--format",
        "CSV",
        "--label",
        "late",
        "--output",
        &output,
    ];
    let mut line: Vec<&str> = line.into_iter().chain(more.iter().copied()).collect();
    if !more.contains(&"--ready-timeout") {
        line.extend(["--ready-timeout", "1s"]);
    }
    let arguments = Line::try_parse_from(line).expect("arguments").arguments;
    match evaluate::run(arguments).await? {
        Report::Evaluation(report) => Ok(report),
        other => panic!("not an evaluation: {other:?}"),
    }
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    data(folder.path());
    folder
}

#[tokio::test]
async fn a_good_model_passes_and_leaves_a_baseline() {
    let folder = folder();
    let more = [
        "--metric",
        "rocAuc,min=0.75",
        "--metric",
        "accuracy",
        "--segment",
        "origin = 'JFK'",
        "--segment-by",
        "origin",
    ];
    let report = evaluate(folder.path(), Model::Knows, &more)
        .await
        .expect("a verdict");
    assert_eq!(
        (report.verdict, report.rows),
        (Verdict::Pass, 3000),
        "{}",
        report.message
    );
    let accuracy = &report.metrics[1];
    assert_eq!(
        (accuracy.name.as_str(), accuracy.value, accuracy.verdict),
        ("accuracy", Some(0.9), None)
    );
    let segments: Vec<&str> = report
        .metrics
        .iter()
        .filter_map(|metric| metric.segment.as_deref())
        .collect();
    assert_eq!(segments.len(), 8);
    assert_eq!(
        (segments[0], segments[2], segments[6]),
        ("origin = 'JFK'", "origin = 'EWR'", "origin = 'LGA'")
    );
    // Thirty rows of LGA are below the least: seen, not judged.
    let rare = &report.metrics[8];
    assert_eq!((rare.rows, rare.verdict), (30, None));

    let baseline = std::fs::read(folder.path().join("out/baseline.json")).expect("a baseline");
    let baseline: Profile = serde_json::from_slice(&baseline).expect("a profile");
    let names: Vec<&str> = baseline
        .columns
        .iter()
        .map(|column| column.name.as_str())
        .collect();
    assert_eq!(
        (baseline.rows, names),
        (3000, vec!["known", "temp", "origin", "prediction"])
    );
    assert_eq!(baseline.columns[1].nulls, 60);
    let Distribution::Category { counts } = &baseline.columns[2].distribution else {
        panic!("a category")
    };
    // The payload log has no text for a category that the model does not know, and so neither has the baseline.
    assert_eq!(
        (counts["JFK"], counts.get("LGA"), baseline.columns[2].nulls),
        (1500, None, 30)
    );
    assert_eq!(report.baseline.expect("written").files, 1);
}

#[tokio::test]
async fn a_feature_that_has_the_name_of_one_of_the_log_s_own_columns_is_refused() {
    let folder = folder();
    let signature = json!({"inputs": [{"name": "version", "type": "Number"}]});
    let path = folder.path().join("signature.json");
    std::fs::write(path, signature.to_string()).expect("written");
    let failure = evaluate(folder.path(), Model::Knows, &["--metric", "rocAuc"])
        .await
        .expect_err("refused");
    assert_eq!(failure.reason, FailureReason::InputUnreadable);
    assert!(
        failure.message.contains("'version'") && failure.message.contains("request_id"),
        "{}",
        failure.message
    );
}

#[tokio::test]
async fn a_model_that_knows_nothing_fails() {
    let folder = folder();
    let report = evaluate(
        folder.path(),
        Model::Guesses,
        &["--metric", "rocAuc,min=0.65"],
    )
    .await
    .expect("a verdict");
    assert_eq!(report.verdict, Verdict::Fail);
    assert!(
        report.message.contains("rocAuc 0.5000"),
        "{}",
        report.message
    );
}

#[tokio::test]
async fn a_window_with_too_few_rows_is_inconclusive() {
    let folder = folder();
    let window = [
        "--time-column",
        "at",
        "--window-start",
        "2013-01-02T00:00:00Z",
        "--window-end",
        "2013-01-03T00:00:00Z",
    ];
    let gate = ["--metric", "rocAuc,min=0.65", "--min-samples", "400"];
    let report = evaluate(
        folder.path(),
        Model::Knows,
        &[&window[..], &gate[..]].concat(),
    )
    .await
    .expect("a verdict");
    assert_eq!(
        (report.verdict, report.rows),
        (Verdict::Inconclusive, 300),
        "{}",
        report.message
    );
}

#[tokio::test]
async fn a_champion_is_compared_on_the_same_rows() {
    let folder = folder();
    let of = |model| {
        let folder = folder.path();
        async move { (folder, format!("http://{}", serve(model).await)) }
    };
    for (candidate, champion, expected) in [
        (Model::Knows, Model::Guesses, Verdict::Pass),
        (Model::Guesses, Model::Knows, Verdict::Fail),
        (Model::Knows, Model::Knows, Verdict::Pass),
    ] {
        let (folder, champion) = of(champion).await;
        let more = [
            "--metric",
            "rocAuc,min=0.4",
            "--champion-server",
            &champion,
            "--champion-name",
            "flights-1",
        ];
        let report = evaluate(folder, candidate, &more).await.expect("a verdict");
        assert_eq!(report.verdict, expected, "{}", report.message);
        assert_eq!(report.champion.as_deref(), Some("flights-1"));
        assert!(report.metrics[0].champion.is_some());
    }
}

#[tokio::test]
async fn what_would_decide_and_the_worst_slices_are_told_unasked() {
    let folder = folder();
    // From Newark the model is wrong as often as not.
    for name in ["holdout/a.csv", "holdout/b.csv"] {
        let path = folder.path().join(name);
        let text = std::fs::read_to_string(&path).expect("rows");
        let flipped = text.lines().enumerate().map(|(row, line)| {
            if !line.contains("EWR") || row % 4 > 1 {
                return format!("{line}\n");
            }
            let (was, is) = if line.contains("true") {
                ("true", "false")
            } else {
                ("false", "true")
            };
            format!("{}\n", line.replace(was, is))
        });
        std::fs::write(path, flipped.collect::<String>()).expect("written");
    }
    let report = evaluate(
        folder.path(),
        Model::Knows,
        &["--metric", "accuracy,min=0.73"],
    )
    .await
    .expect("a verdict");
    assert_eq!(report.verdict, Verdict::Inconclusive, "{}", report.message);
    println!("{}", report.message);
    let said = report
        .message
        .split("about ")
        .nth(1)
        .expect("how many rows");
    let rows: u64 = said
        .split(' ')
        .next()
        .expect("a word")
        .parse()
        .expect("a number");
    assert!(rows > 3000, "{}", report.message);
    assert!(said.contains("rows would decide"), "{}", report.message);

    let found = std::fs::read(folder.path().join("out/report.json")).expect("a report");
    let found: serde_json::Value = serde_json::from_slice(&found).expect("JSON");
    println!("{}", found["worstSlices"]);
    let worst = &found["worstSlices"][0];
    assert_eq!(
        worst["predicate"], "origin = 'EWR'",
        "{}",
        found["worstSlices"]
    );
}
