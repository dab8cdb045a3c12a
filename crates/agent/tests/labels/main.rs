//! `windlass-agent labels` on payload logs and labels made here, whose counts are known.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Int32Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use clap::Parser;
use parquet::arrow::ArrowWriter;
use windlass_agent::labels;
use windlass_api::agent::{FailureReason, FailureReport, LabelCounts, LabelsReport, Report};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    arguments: labels::Arguments,
}

/// 2013-04-01T00:00:00Z.
const START: i64 = 1_364_774_400_000;

fn write(path: &Path, batch: &RecordBatch) {
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    let file = std::fs::File::create(path).expect("a file");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
    writer.write(batch).expect("written");
    writer.close().expect("closed");
}

/// A file of the log: a second from row to row, from so many seconds on, and the ids `VERSION-SECOND`.
fn log_of(folder: &Path, version: &str, second: i64, answers: ArrayRef) {
    log_as(folder, version, second, answers, "pod-a", None);
}

/// The same, of a pod, with what requests were answered with.
fn log_as(
    folder: &Path,
    version: &str,
    second: i64,
    answers: ArrayRef,
    pod: &str,
    states: Option<&[i32]>,
) {
    let rows = i64::try_from(answers.len()).expect("few");
    let seconds = second..second + rows;
    let ids = seconds.clone().map(|at| format!("{version}-{at}"));
    let times = seconds.map(|at| (START + at * 1000) * 1000);
    let mut columns = vec![
        (
            "request_id",
            Arc::new(StringArray::from_iter_values(ids)) as ArrayRef,
        ),
        (
            "timestamp",
            Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC")),
        ),
        ("prediction", answers),
    ];
    if let Some(states) = states {
        columns.push(("status", Arc::new(Int32Array::from(states.to_vec()))));
    }
    let batch = RecordBatch::try_from_iter(columns).expect("columns of one length");
    let (first, last) = (START + second * 1000, START + (second + rows - 1) * 1000);
    let name = format!("payloads/{version}/{first}-{last}-{pod}.parquet");
    write(&folder.join(name), &batch);
}

fn numbers(all: &[Option<f64>]) -> ArrayRef {
    Arc::new(Float64Array::from(all.to_vec()))
}

/// A file of labels, of lines `id,label`.
fn label(folder: &Path, name: &str, lines: &[&str]) {
    std::fs::create_dir_all(folder.join("labels")).expect("a folder");
    let text = format!("id,late\n{}\n", lines.join("\n"));
    std::fs::write(folder.join("labels").join(name), text).expect("written");
}

/// What is counted of both versions, in spans from 0 and from 10 seconds on, until 20.
async fn counted(folder: &Path, more: &[&str]) -> Result<LabelsReport, FailureReport> {
    let at = |name: &str| folder.join(name).display().to_string();
    let (payloads, labels) = (at("payloads"), at("labels"));
    let line = [
        "x",
        "--payloads",
        &payloads,
        "--version",
        "m-2",
        "--version",
        "m-1",
        "--span-start",
        "2013-04-01T00:00:00Z",
        "--span-start",
        "2013-04-01T00:00:10Z",
        "--end",
        "2013-04-01T00:00:20Z",
        "--labels",
        &labels,
        "--join-on",
        "id",
        "--label",
    ];
    let column = if more.is_empty() { &["late"] } else { more };
    let line = Line::parse_from(line.iter().chain(column));
    match labels::run(line.arguments).await? {
        Report::Labels(report) => Ok(report),
        other => panic!("not a report of labels: {other:?}"),
    }
}

fn of(report: &LabelsReport, version: &str) -> [[u64; 3]; 2] {
    let counts = &report.versions[version];
    [0, 1].map(|span: usize| {
        let LabelCounts(predictions, labelled, wrong) = counts[span];
        [predictions, labelled, wrong]
    })
}

/// Both versions answer, a request a second: the canary from second 8 on, and of the stable version one has no answer.
fn both_answer(folder: &Path) {
    let sure = |rows: usize, answer: f64| vec![Some(answer); rows];
    let mut old = sure(10, 0.1);
    old[3] = None;
    log_of(folder, "m-1", -2, numbers(&old));
    log_of(folder, "m-1", 8, numbers(&sure(14, 0.1)));
    log_of(folder, "m-2", 8, numbers(&sure(6, 0.8)));
}

#[tokio::test]
async fn predictions_of_each_span_are_counted_with_those_that_have_a_label_and_those_that_are_wrong()
 {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let none = counted(folder, &[]).await.expect("counts");
    assert_eq!(none.labels, 0);
    assert_eq!(of(&none, "m-2"), [[0; 3]; 2], "no log and no label yet");

    both_answer(folder);
    let none = counted(folder, &[]).await.expect("counts");
    assert_eq!(of(&none, "m-1"), [[9, 0, 0], [10, 0, 0]]);
    assert_eq!(of(&none, "m-2"), [[2, 0, 0], [4, 0, 0]]);

    // Of requests before the first span, after the last, without an answer, and of nobody: none of these counts.
    let beside = ["m-1--1,1", "m-1-20,1", "m-1-1,1", "m-9-9,1", "m-1-5,", ",1"];
    label(
        folder,
        "1.csv",
        &[&beside[..], &["m-1-2,0", "m-1-4,1", "m-2-8,true"]].concat(),
    );
    let first = counted(folder, &[]).await.expect("counts");
    assert_eq!(of(&first, "m-1"), [[9, 2, 1], [10, 0, 0]]);
    assert_eq!(of(&first, "m-2"), [[2, 1, 0], [4, 0, 0]]);
    assert_eq!(first.labels, 7, "with those that are of no prediction here");

    // Late ones, of the first span too; and of one that has a label the first one counts.
    label(
        folder,
        "2.csv",
        &["m-1-2,1", "m-1-19,1", "m-2-9,0", "m-2-10,0", "m-2-13,1"],
    );
    let second = counted(folder, &[]).await.expect("counts");
    assert_eq!(of(&second, "m-1"), [[9, 2, 1], [10, 1, 1]]);
    assert_eq!(of(&second, "m-2"), [[2, 2, 1], [4, 2, 1]]);
}

#[tokio::test]
async fn names_of_classes_are_held_against_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let names = StringArray::from(vec![Some("cat"), Some("dog"), None, Some("cat")]);
    log_of(folder, "m-2", 0, Arc::new(names));
    label(folder, "1.csv", &["m-2-0,Cat", "m-2-1,cat", "m-2-2,dog"]);
    let report = counted(folder, &[]).await.expect("counts");
    assert_eq!(of(&report, "m-2"), [[3, 2, 1], [0, 0, 0]]);
    // Places of classes are no names: that all of them are wrong would be said of both versions alike.
    label(folder, "1.csv", &["m-2-0,0", "m-2-1,1"]);
    let failed = counted(folder, &[]).await.expect_err("a failure");
    assert_eq!(failed.reason, FailureReason::LabelsUnreadable);
    let parts = [
        "labels: column 'late': the label of request m-2-0 is 0",
        "answered a text",
        "version m-2",
    ];
    for part in parts {
        assert!(failed.message.contains(part), "{}", failed.message);
    }
}

#[tokio::test]
async fn who_answers_nothing_is_wrong_and_a_request_that_failed_is_no_prediction() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let answers = numbers(&[Some(0.8), None, Some(f64::NAN), None, Some(0.8)]);
    let states = [200, 200, 200, 503, 200];
    log_as(folder, "m-2", 0, answers, "pod-a", Some(&states));
    let ids = ["m-2-0,1", "m-2-1,1", "m-2-2,1", "m-2-3,1"];
    label(folder, "1.csv", &ids);
    let report = counted(folder, &[]).await.expect("counts");
    assert_eq!(of(&report, "m-2"), [[4, 3, 2], [0, 0, 0]]);
}

#[tokio::test]
async fn a_request_that_is_sent_again_is_labelled_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    for pod in ["pod-a", "pod-b"] {
        log_as(folder, "m-2", 0, numbers(&[Some(0.8); 3]), pod, None);
    }
    label(folder, "1.csv", &["m-2-0,0", "m-2-1,1"]);
    let report = counted(folder, &[]).await.expect("counts");
    assert_eq!(of(&report, "m-2"), [[6, 2, 1], [0, 0, 0]]);
}

#[tokio::test]
async fn answers_that_no_label_is_like_are_wrong_where_the_other_version_has_such_as_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    log_of(folder, "m-1", 0, numbers(&[Some(0.8); 3]));
    log_of(folder, "m-2", 0, numbers(&[Some(3.7), Some(0.8)]));
    label(folder, "1.csv", &["m-1-0,1", "m-2-0,1", "m-2-1,1"]);
    let report = counted(folder, &[]).await.expect("counts");
    assert_eq!(of(&report, "m-2"), [[2, 2, 1], [0, 0, 0]]);
    assert_eq!(of(&report, "m-1"), [[3, 1, 0], [0, 0, 0]]);
}

#[tokio::test]
async fn what_cannot_be_read_is_told_with_its_place_and_nothing_is_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    both_answer(folder);
    label(folder, "1.csv", &["m-1-2,0", "m-2-8,1"]);
    let failed = counted(folder, &["churned"]).await.expect_err("no column");
    assert_eq!(failed.reason, FailureReason::LabelsUnreadable);
    for part in ["'churned'", "late", "labels"] {
        assert!(failed.message.contains(part), "{}", failed.message);
    }
    let failed = counted(folder, &["late", "--labels-format", "Parquet"]).await;
    let failed = failed.expect_err("no Parquet");
    assert_eq!(failed.reason, FailureReason::LabelsUnreadable);
    assert!(failed.message.contains("1.csv"), "{}", failed.message);
    let torn = format!("payloads/m-2/{}-{}-pod-b.parquet", START, START + 9000);
    std::fs::write(folder.join(torn), "torn").expect("written");
    let failed = counted(folder, &[]).await.expect_err("a torn log");
    assert_eq!(failed.reason, FailureReason::InputUnreadable);
    assert!(
        failed.message.contains("pod-b.parquet"),
        "{}",
        failed.message
    );
    let failed = counted(folder, &["late", "--span-start", "2013-04-01T00:00:05Z"]).await;
    let failed = failed.expect_err("spans that do not follow each other");
    assert_eq!(failed.reason, FailureReason::InvalidArguments);
}
