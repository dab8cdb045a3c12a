//! Classes, weights, rankings, and groups.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};
use windlass_api::agent::{Distribution, FailureReason, Profile, Verdict};

use super::server::{Model, serve};
use super::{evaluate, folder};

/// Writes rows and a signature; each row is `score,late,more`, where the second feature is `score`.
fn write(folder: &Path, rows: impl Iterator<Item = (f64, String, String)>, output: &Value) {
    let mut csv = "one,score,late,more\n".to_owned();
    for (score, label, more) in rows {
        writeln!(csv, "1,{score},{label},{more}").expect("a string");
    }
    std::fs::create_dir_all(folder.join("holdout")).expect("a folder");
    std::fs::write(folder.join("holdout/a.csv"), csv).expect("written");
    let inputs = json!([{"name": "one", "type": "Number"}, {"name": "score", "type": "Number"}]);
    let signature = json!({"inputs": inputs, "output": output});
    std::fs::write(folder.join("signature.json"), signature.to_string()).expect("written");
}

#[tokio::test]
async fn several_classes_are_judged_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let classes = ["cat", "dog", "cow"];
    // The model says the class's place; one row of ten is wrong.
    let rows = (0..600_u32).map(|row| {
        let label = row % 3;
        let says = if row % 10 == 9 {
            (label + 1) % 3
        } else {
            label
        };
        let label = classes[usize::try_from(label).expect("small")];
        (f64::from(says), label.to_owned(), String::new())
    });
    write(folder.path(), rows, &json!({"classes": classes}));
    let gates = [
        "--metric",
        "accuracy,min=0.85",
        "--metric",
        "f1Macro,min=0.8",
    ];
    let report = evaluate(folder.path(), Model::Repeats, &gates)
        .await
        .expect("a verdict");
    assert_eq!(report.verdict, Verdict::Pass, "{}", report.message);
    assert_eq!(report.metrics[0].value, Some(0.9));
    let baseline = std::fs::read(folder.path().join("out/baseline.json")).expect("a baseline");
    let baseline: Profile = serde_json::from_slice(&baseline).expect("a profile");
    let prediction = baseline.columns.last().expect("the prediction");
    let Distribution::Category { counts } = &prediction.distribution else {
        panic!("the prediction is a class")
    };
    assert_eq!((counts.len(), counts["cat"]), (3, 200));
}

#[tokio::test]
async fn of_two_classes_the_second_probability_counts() {
    let folder = folder();
    let one = evaluate(folder.path(), Model::Knows, &["--metric", "rocAuc"])
        .await
        .expect("a verdict");
    let path = folder.path().join("signature.json");
    let signature = std::fs::read(&path).expect("a signature");
    let mut signature: Value = serde_json::from_slice(&signature).expect("JSON");
    signature["output"] = json!({"classes": ["false", "true"]});
    std::fs::write(path, signature.to_string()).expect("written");
    let both = evaluate(folder.path(), Model::KnowsBoth, &["--metric", "rocAuc"])
        .await
        .expect("a verdict");
    assert_eq!(both.metrics, one.metrics);
}

#[tokio::test]
async fn a_champion_of_other_classes_is_not_compared() {
    let folder = tempfile::tempdir().expect("a folder");
    let rows = (0..300).map(|row| (f64::from(row % 2), format!("{}", row % 2), String::new()));
    write(folder.path(), rows, &json!({"classes": ["0", "1"]}));
    let theirs = folder.path().join("theirs.json");
    let signature = json!({"inputs": [{"name": "score", "type": "Number"}], "output": {"classes": ["a", "b", "c"]}});
    std::fs::write(&theirs, signature.to_string()).expect("written");
    let champion = format!("http://{}", serve(Model::Repeats).await);
    let theirs = theirs.display().to_string();
    let more = [
        "--metric",
        "accuracy",
        "--champion-server",
        &champion,
        "--champion-signature",
        &theirs,
    ];
    let failed = evaluate(folder.path(), Model::Repeats, &more)
        .await
        .expect_err("a failure");
    assert_eq!(failed.reason, FailureReason::InvalidArguments);
    assert!(failed.message.contains("a, b, c"), "{}", failed.message);
}

#[tokio::test]
async fn rows_count_as_much_as_their_weight() {
    let folder = tempfile::tempdir().expect("a folder");
    // Right where the weight is 3, wrong where it is 1.
    let rows = (0..400).map(|row| {
        let (label, is_right) = (row / 2 % 2, row % 2 == 0);
        let says = if is_right { label } else { 1 - label };
        let weight = if is_right { "3" } else { "1" };
        (f64::from(says), label.to_string(), weight.to_owned())
    });
    write(folder.path(), rows, &json!({}));
    let of = async |more: &[&str]| {
        let gates = [&["--metric", "accuracy"][..], more].concat();
        let report = evaluate(folder.path(), Model::Repeats, &gates).await;
        report.expect("a verdict").metrics[0].value
    };
    assert_eq!(of(&[]).await, Some(0.5));
    assert_eq!(of(&["--weight", "more"]).await, Some(0.75));
    let text = std::fs::read_to_string(folder.path().join("holdout/a.csv")).expect("rows");
    std::fs::write(
        folder.path().join("holdout/a.csv"),
        text.replacen(",3\n", ",-3\n", 1),
    )
    .expect("written");
    let gates = ["--metric", "accuracy", "--weight", "more"];
    let failed = evaluate(folder.path(), Model::Repeats, &gates)
        .await
        .expect_err("a negative weight");
    assert_eq!(failed.reason, FailureReason::DatasetUnreadable);
    assert!(
        failed.message.contains("row 0 holds -3"),
        "{}",
        failed.message
    );
}

#[tokio::test]
async fn a_ranking_is_judged_within_its_queries() {
    let folder = tempfile::tempdir().expect("a folder");
    // Three answers to each of 300 queries, the rows of a query far apart; the order is perfect in two of three.
    let rows = (0..900_u32).map(|row| {
        let (query, place) = (row % 300, row / 300);
        let score = if query % 3 == 0 { place } else { 3 - place };
        let relevance = 2 - place;
        (f64::from(score), relevance.to_string(), format!("q{query}"))
    });
    write(folder.path(), rows, &json!({}));
    let gates = ["--metric", "ndcg@3,min=0.8", "--query", "more"];
    let report = evaluate(folder.path(), Model::Repeats, &gates)
        .await
        .expect("a verdict");
    assert_eq!(report.verdict, Verdict::Pass, "{}", report.message);
    // Upside down it is (0/1 + 1/log2(3) + 2/2) / (2/1 + 1/log2(3)) = 0.6199.
    let third = (1.0 / 3.0_f64.log2() + 1.0) / (2.0 + 1.0 / 3.0_f64.log2());
    let expected = (2.0 + third) / 3.0;
    let value = report.metrics[0].value.expect("a value");
    assert!((value - expected).abs() < 1e-12, "{value} for {expected}");
    let refused = evaluate(folder.path(), Model::Repeats, &gates[..2])
        .await
        .expect_err("no query");
    assert_eq!(refused.reason, FailureReason::InvalidArguments);
    assert!(refused.message.contains("--query"), "{}", refused.message);
}

#[tokio::test]
async fn a_difference_between_groups_holds_a_model_up() {
    let folder = tempfile::tempdir().expect("a folder");
    // Of the positives, women are found in 9 of 10 cases and men in 5; a third group has too few rows.
    let rows = (0..2010).map(|row| {
        let group = match row {
            2000.. => "other",
            _ if row % 2 == 0 => "women",
            _ => "men",
        };
        let label = row / 2 % 2;
        let found = match group {
            "men" => row / 4 % 10 < 5,
            _ => row / 4 % 10 < 9,
        };
        let says = if label == 1 && found { 0.9 } else { 0.1 };
        (says, label.to_string(), group.to_owned())
    });
    write(folder.path(), rows, &json!({}));
    let of = async |disparity: &str| {
        let gates = ["--metric", "accuracy", "--disparity", disparity];
        let report = evaluate(folder.path(), Model::Repeats, &gates).await;
        report.expect("a verdict")
    };
    let report = of("equalOpportunity,max=0.1,by=more").await;
    assert_eq!(report.verdict, Verdict::Fail, "{}", report.message);
    assert!(
        report.message.contains("equalOpportunity by more 0.4000")
            && report.message.contains("lowest for men, highest for women"),
        "{}",
        report.message
    );
    let difference = report.metrics.last().expect("one");
    assert_eq!((difference.rows, difference.segment.as_ref()), (2000, None));
    assert_eq!(
        of("equalOpportunity,max=0.6,by=more").await.verdict,
        Verdict::Pass
    );
    // Seen, and not judged.
    let report = of("demographicParity,by=more").await;
    assert_eq!(report.verdict, Verdict::Pass);
    assert_eq!(report.metrics.last().expect("one").verdict, None);
    // One group alone shows no equality.
    let report = of("equalisedOdds,max=0.1,by=one").await;
    assert_eq!(report.verdict, Verdict::Inconclusive, "{}", report.message);
    assert!(
        report.message.contains("fewer than two groups"),
        "{}",
        report.message
    );
}

#[tokio::test]
async fn a_perfect_order_of_few_rows_proves_little() {
    let folder = tempfile::tempdir().expect("a folder");
    // Two of 400 rows are positive, and both stand above all others.
    let rows = (0..400).map(|row| {
        let label = u8::from(row % 200 == 7);
        let score = f64::from(label) * 0.5 + f64::from(row) / 1000.0;
        (score, label.to_string(), String::new())
    });
    write(folder.path(), rows, &json!({"classes": ["0", "1"]}));
    for gate in [
        "rocAuc,min=0.9",
        "prAuc,min=0.9",
        "expectedCalibrationError,max=0.001",
    ] {
        let report = evaluate(folder.path(), Model::Repeats, &["--metric", gate]).await;
        let report = report.expect("a verdict");
        assert_ne!(report.verdict, Verdict::Pass, "{gate}: {}", report.message);
    }
}

#[tokio::test]
async fn a_metric_of_numbers_does_not_take_the_probability_of_the_first_class() {
    let folder = tempfile::tempdir().expect("a folder");
    let rows = (0..300).map(|row| (f64::from(row % 3), (row % 3).to_string(), String::new()));
    write(folder.path(), rows, &json!({"classes": ["0", "1", "2"]}));
    let failed = evaluate(folder.path(), Model::Repeats, &["--metric", "rmse,max=3"]).await;
    let failed = failed.expect_err("a failure");
    assert_eq!(failed.reason, FailureReason::ServerFailed);
    assert!(
        failed.message.contains("as many as there are classes"),
        "{}",
        failed.message
    );
}

#[tokio::test]
async fn queries_lie_together_whatever_file_their_rows_are_in() {
    let folder = tempfile::tempdir().expect("a folder");
    let rows = (0..600_u32).map(|row| {
        let place = row / 200;
        (
            f64::from(3 - place),
            (2 - place).to_string(),
            (row % 200).to_string(),
        )
    });
    write(folder.path(), rows, &json!({}));
    let text = std::fs::read_to_string(folder.path().join("holdout/a.csv")).expect("rows");
    let (header, rest) = text.split_once('\n').expect("a header");
    for (file, lines) in rest.lines().collect::<Vec<_>>().chunks(20).enumerate() {
        let lines = lines.join("\n");
        let path = folder.path().join(format!("holdout/part-{file}.csv"));
        std::fs::write(path, format!("{header}\n{lines}\n")).expect("written");
    }
    std::fs::remove_file(folder.path().join("holdout/a.csv")).expect("removed");
    let gates = ["--metric", "ndcg@3,min=0.9", "--query", "more"];
    let report = evaluate(folder.path(), Model::Repeats, &gates).await;
    let report = report.expect("a verdict");
    assert_eq!(
        (report.verdict, report.rows),
        (Verdict::Pass, 600),
        "{}",
        report.message
    );
    assert_eq!(report.metrics[0].value, Some(1.0));
}
