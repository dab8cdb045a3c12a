//! What is wrong with the data, the segments or the server is named, and never a Pass.

use std::fmt::Write as _;
use std::path::Path;

use windlass_api::agent::{FailureReason, Verdict};

use super::server::Model;
use super::{evaluate, folder};

const GATE: [&str; 2] = ["--metric", "rocAuc,min=0.65"];

#[tokio::test]
async fn a_server_that_breaks_is_named() {
    let folder = folder();
    let more = [&GATE[..], &["--request-timeout", "500ms"]].concat();
    let path = folder.path().join("signature.json");
    let signature = std::fs::read_to_string(&path).expect("a signature");
    let classes = r#"{"output":{"classes":["false","true"]},"#;
    std::fs::write(path, signature.replacen('{', classes, 1)).expect("written");
    for (model, reason, why) in [
        (Model::Breaks, FailureReason::ServerFailed, "out of luck"),
        (Model::Nothing, FailureReason::ServerFailed, "no number"),
        (Model::NotANumber, FailureReason::ServerFailed, "not JSON"),
        (
            Model::OneTooFew,
            FailureReason::ServerFailed,
            "999 values for 1000 rows",
        ),
        (
            Model::OtherProtocol,
            FailureReason::ServerFailed,
            "outputs[0].data",
        ),
        (
            Model::Widens,
            FailureReason::ServerFailed,
            "it answers with 3 numbers a row, and did with 1 before",
        ),
        (Model::Hangs, FailureReason::ServerFailed, "timed out"),
        (Model::Absent, FailureReason::ServerNotReady, "503"),
    ] {
        let failed = evaluate(folder.path(), model, &more)
            .await
            .expect_err("a failure");
        assert_eq!(failed.reason, reason, "{}", failed.message);
        assert!(failed.message.contains(why), "{}", failed.message);
    }
}

fn rewrite(folder: &Path, change: impl Fn(usize, &str) -> String) {
    for name in ["holdout/a.csv", "holdout/b.csv"] {
        let text = std::fs::read_to_string(folder.join(name)).expect("rows");
        let lines = text.lines().enumerate();
        let lines: Vec<String> = lines.map(|(row, line)| change(row, line)).collect();
        std::fs::write(folder.join(name), lines.join("\n") + "\n").expect("written");
    }
}

#[tokio::test]
async fn rows_without_a_label_are_counted() {
    let folder = folder();
    rewrite(folder.path(), |row, line| {
        if row == 7 {
            line.replace("true", "").replace("false", "")
        } else {
            line.to_owned()
        }
    });
    let failed = evaluate(folder.path(), Model::Knows, &GATE)
        .await
        .expect_err("a failure");
    assert_eq!(failed.reason, FailureReason::DatasetUnreadable);
    assert!(
        failed
            .message
            .contains("2 of 3000 rows have no label, the first is row 6"),
        "{}",
        failed.message
    );
    rewrite(folder.path(), |_, line| line.replace("late", "outcome"));
    let failed = evaluate(folder.path(), Model::Knows, &GATE)
        .await
        .expect_err("a failure");
    assert_eq!(failed.reason, FailureReason::ColumnNotFound);
    assert!(failed.message.contains("'late'"), "{}", failed.message);
}

#[tokio::test]
async fn a_label_that_the_metric_does_not_know_is_named() {
    let folder = folder();
    rewrite(folder.path(), |row, line| {
        if row == 8 {
            line.replace("true", "2").replace("false", "2")
        } else {
            line.to_owned()
        }
    });
    let failed = evaluate(folder.path(), Model::Knows, &GATE)
        .await
        .expect_err("a failure");
    assert_eq!(failed.reason, FailureReason::DatasetUnreadable);
    assert!(
        failed.message.contains("the label of row 7 is not 0 or 1"),
        "{}",
        failed.message
    );
}

#[tokio::test]
async fn a_label_of_no_class_is_named() {
    let folder = folder();
    let path = folder.path().join("signature.json");
    let signature = std::fs::read_to_string(&path).expect("a signature");
    let classes = r#"{"output":{"classes":["false","true"]},"#;
    std::fs::write(path, signature.replacen('{', classes, 1)).expect("written");
    rewrite(folder.path(), |row, line| {
        if row == 8 {
            line.replace("true", "perhaps").replace("false", "perhaps")
        } else {
            line.to_owned()
        }
    });
    let failed = evaluate(folder.path(), Model::KnowsBoth, &GATE)
        .await
        .expect_err("a failure");
    assert_eq!(failed.reason, FailureReason::DatasetUnreadable);
    for word in ["row 7", "'perhaps'", "false, true"] {
        assert!(failed.message.contains(word), "{}", failed.message);
    }
}

#[tokio::test]
async fn a_segment_without_rows_or_of_one_class_decides_nothing() {
    let folder = folder();
    for (segment, why) in [
        ("origin = 'Mars'", "origin = 'Mars' (0 rows)"),
        ("late = true", "have the same label"),
    ] {
        let more = [&GATE[..], &["--segment", segment]].concat();
        let report = evaluate(folder.path(), Model::Knows, &more)
            .await
            .expect("a verdict");
        assert_eq!(report.verdict, Verdict::Inconclusive, "{}", report.message);
        assert!(report.message.contains(why), "{}", report.message);
        assert_eq!(report.metrics[1].verdict, Some(Verdict::Inconclusive));
    }
}

#[tokio::test]
async fn ten_thousand_segments_are_refused() {
    let folder = folder();
    let segments: Vec<String> = (0..10_000).map(|at| format!("temp > {at}")).collect();
    let mut more = GATE.to_vec();
    for segment in &segments {
        more.extend(["--segment", segment]);
    }
    let failed = evaluate(folder.path(), Model::Knows, &more)
        .await
        .expect_err("a failure");
    assert_eq!(failed.reason, FailureReason::InvalidArguments);
    assert!(
        failed.message.contains("10000 segments"),
        "{}",
        failed.message
    );

    let mut csv = "known,temp,origin,late,at\n".to_owned();
    for row in 0..10_000 {
        writeln!(csv, "1,1,o{row},true,2013-01-01T00:00:00Z").expect("a string");
    }
    std::fs::write(folder.path().join("holdout/c.csv"), csv).expect("written");
    for option in [
        "--segment-by=origin",
        "--disparity=equalOpportunity,by=origin",
    ] {
        let failed = evaluate(
            folder.path(),
            Model::Knows,
            &[&GATE[..], &[option]].concat(),
        )
        .await
        .expect_err("a failure");
        assert_eq!(failed.reason, FailureReason::InvalidArguments);
        assert!(
            failed.message.contains("more than 50 values"),
            "{}",
            failed.message
        );
    }
}

#[tokio::test]
async fn what_is_wrong_with_the_data_is_named() {
    let folder = folder();
    for (more, reason, why) in [
        (
            vec!["--segment", "origin = = 1"],
            FailureReason::InvalidArguments,
            "origin = = 1",
        ),
        (
            vec!["--segment", "nowhere = 1"],
            FailureReason::ColumnNotFound,
            "nowhere",
        ),
        (
            vec!["--segment", "temp + 1"],
            FailureReason::InvalidArguments,
            "not true or false",
        ),
        (
            vec!["--segment-by", "nowhere"],
            FailureReason::ColumnNotFound,
            "known, temp, origin, late, at",
        ),
        (
            vec!["--time-column", "origin"],
            FailureReason::DatasetUnreadable,
            "'origin'",
        ),
    ] {
        let failed = evaluate(folder.path(), Model::Knows, &[&GATE[..], &more].concat())
            .await
            .expect_err("a failure");
        assert_eq!(failed.reason, reason, "{}", failed.message);
        assert!(failed.message.contains(why), "{}", failed.message);
    }
    std::fs::write(
        folder.path().join("holdout/c.csv"),
        "known,temp,origin,late,at\n1,2\n",
    )
    .expect("written");
    let failed = evaluate(folder.path(), Model::Knows, &GATE)
        .await
        .expect_err("a ragged file");
    assert_eq!(failed.reason, FailureReason::DatasetUnreadable);
    assert!(failed.message.contains("c.csv"), "{}", failed.message);
    std::fs::write(
        folder.path().join("holdout/c.csv"),
        "known,temp,origin,late,at\n1,2,JFK,maybe,\n",
    )
    .expect("written");
    let failed = evaluate(folder.path(), Model::Knows, &GATE)
        .await
        .expect_err("a bad label");
    assert_eq!(failed.reason, FailureReason::DatasetUnreadable);
    assert!(failed.message.contains("maybe"), "{}", failed.message);
}
