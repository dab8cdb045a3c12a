//! Performance with labels that came later: of users, of classes, by segment, and of labels that do not fit.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use windlass_agent::drift::results::Results;
use windlass_api::agent::{DriftReport, FailureReason, FailureReport, Performance, WindowVerdict};

use crate::{Random, Rows, START, batch, drift_of, payload, reference, rows, write};

/// Answers with labels that they are mostly right about: of so many of ten.
fn right(traffic: &mut Rows, seed: u64, of_ten: impl Fn(usize) -> f64) -> Vec<f64> {
    let mut random = Random(seed);
    let mut labels = Vec::new();
    for (row, prediction) in traffic.prediction.iter_mut().enumerate() {
        let label = f64::from(u8::from(random.next() < 0.5));
        let is_right = random.next() * 10.0 < of_ten(row);
        let answer = if is_right { label } else { 1.0 - label };
        *prediction = Some(0.1 + 0.8 * answer);
        labels.push(label);
    }
    labels
}

fn write_labels(folder: &Path, labels: impl Iterator<Item = (String, String)>) {
    let head = std::iter::once("request_id,late".to_owned());
    let lines = head.chain(labels.map(|(id, label)| format!("{id},{label}")));
    let content = lines.collect::<Vec<String>>().join("\n");
    std::fs::write(folder.join("labels.csv"), content).expect("written");
}

async fn judged(folder: &Path, more: &[&str]) -> Result<DriftReport, FailureReport> {
    let labels = folder.join("labels.csv").display().to_string();
    let output = folder.join("out").display().to_string();
    // What is drawn here is not what the reference's answers were.
    let mut line = vec!["--labels", &labels, "--label", "late", "--output", &output];
    line.extend(["--ignore", "prediction"]);
    line.extend(more);
    drift_of(folder, &line).await
}

fn results(folder: &Path) -> Results {
    let text = std::fs::read_to_string(folder.join("out/report.json")).expect("results");
    serde_json::from_str(&text).expect("results")
}

fn of(report: DriftReport) -> Performance {
    report.performance.expect("asked for")
}

const ACCURACY: [&str; 4] = ["--metric", "accuracy", "--metric-min", "0.7"];

#[tokio::test]
async fn a_label_counts_once_however_often_its_request_is_logged() {
    let folder = tempfile::tempdir().expect("a folder");
    reference(folder.path()).await;
    let mut traffic = rows(1000, 2, 0.0);
    let labels = right(&mut traffic, 5, |_| 9.0);
    payload(folder.path(), &traffic, START);
    // The same requests once more, each with the other answer.
    let mut again = rows(1000, 2, 0.0);
    again.prediction = traffic
        .prediction
        .iter()
        .map(|answer| answer.map(|answer| 1.0 - answer))
        .collect();
    payload(folder.path(), &again, START + 5000);
    let ids = traffic.ids.iter().cloned();
    write_labels(
        folder.path(),
        ids.zip(labels.iter().map(ToString::to_string)),
    );
    let performance = of(judged(folder.path(), &ACCURACY).await.expect("a verdict"));
    assert_eq!((performance.rows, performance.fallen), (1000, false));
    assert!(
        performance.value.is_some_and(|value| value > 0.85),
        "{performance:?}"
    );
}

#[tokio::test]
async fn labels_of_no_request_of_the_window_are_none() {
    let folder = tempfile::tempdir().expect("a folder");
    reference(folder.path()).await;
    payload(folder.path(), &rows(1000, 2, 0.0), START);
    let others = (0..1000).map(|row| (format!("other#{row}"), "1".to_owned()));
    write_labels(folder.path(), others);
    let report = judged(folder.path(), &ACCURACY).await.expect("a verdict");
    assert_eq!(report.verdict, WindowVerdict::Healthy);
    assert!(
        report
            .message
            .contains("accuracy is not known on 0 labelled rows"),
        "{}",
        report.message
    );
    let performance = of(report);
    assert_eq!(
        (performance.rows, performance.value, performance.fallen),
        (0, None, false)
    );
}

/// Of the rows of DL nine of ten answers are right, of those of UA three.
#[tokio::test]
async fn a_segment_whose_performance_has_fallen_is_found_where_the_whole_holds() {
    let folder = tempfile::tempdir().expect("a folder");
    reference(folder.path()).await;
    let mut traffic = rows(2000, 2, 0.0);
    let carriers = traffic.carrier.clone();
    let labels = right(&mut traffic, 5, |row| {
        if carriers[row] == Some("UA") {
            3.0
        } else {
            9.5
        }
    });
    payload(folder.path(), &traffic, START);
    let ids = traffic.ids.iter().cloned();
    write_labels(
        folder.path(),
        ids.zip(labels.iter().map(ToString::to_string)),
    );
    let line = [
        "--metric",
        "accuracy",
        "--metric-min",
        "0.6",
        "--segment",
        "carrier = 'UA'",
        "--segment",
        "carrier = 'DL' AND prediction > 0.5",
    ];
    let report = judged(folder.path(), &line).await.expect("a verdict");
    assert_eq!(report.verdict, WindowVerdict::Healthy, "{}", report.message);
    let found = results(folder.path());
    let measured = |at: usize| found.segments[at].performance.clone().expect("asked for");
    let (fallen, holds) = (measured(0), measured(1));
    assert!(
        fallen.fallen && (450..750).contains(&fallen.rows),
        "{fallen:?}"
    );
    assert!(
        (fallen.value.expect("rows") - 0.3).abs() < 0.06,
        "{fallen:?}"
    );
    assert!(
        !holds.fallen && (holds.value.expect("rows") - 0.95).abs() < 0.04,
        "{holds:?}"
    );
    assert_eq!(found.segments[0].verdict, WindowVerdict::Drifted);
    assert!(
        found.segments[0].message.contains("accuracy is 0."),
        "{:?}",
        found.segments[0]
    );
    let wrong = judged(
        folder.path(),
        &["--metric", "accuracy", "--segment", "land = 1"],
    )
    .await;
    assert_eq!(
        wrong.expect_err("no such column").reason,
        FailureReason::ColumnNotFound
    );
}

/// Twenty rows of a user are all right or all wrong: a thousand rows say what fifty do.
#[tokio::test]
async fn rows_of_one_unit_do_not_make_an_interval_narrow() {
    let folder = tempfile::tempdir().expect("a folder");
    reference(folder.path()).await;
    let mut traffic = rows(1000, 2, 0.0);
    let mut draws = Random(10);
    let of_unit: Vec<f64> = (0..50)
        .map(|_| if draws.next() < 0.6 { 10.0 } else { 0.0 })
        .collect();
    let labels = right(&mut traffic, 5, |row| of_unit[row / 20]);
    let whole = batch(&traffic, START);
    let users = (0..1000).map(|row| format!("u{}", row / 20));
    let mut columns: Vec<(String, ArrayRef)> = whole
        .schema_ref()
        .fields()
        .iter()
        .zip(whole.columns())
        .map(|(field, column)| (field.name().clone(), Arc::clone(column)))
        .collect();
    columns.push((
        "user".to_owned(),
        Arc::new(StringArray::from_iter_values(users)),
    ));
    let path = format!("payloads/flights-1/{START}-{}-pod-a.parquet", START + 999);
    write(
        &folder.path().join(path),
        &RecordBatch::try_from_iter(columns).expect("columns"),
    );
    let ids = traffic.ids.iter().cloned();
    write_labels(
        folder.path(),
        ids.zip(labels.iter().map(ToString::to_string)),
    );
    let by_rows = of(judged(folder.path(), &ACCURACY).await.expect("a verdict"));
    let mut line = ACCURACY.to_vec();
    line.extend(["--unit", "user", "--min-samples", "40"]);
    let by_units = of(judged(folder.path(), &line).await.expect("a verdict"));
    let width = |of: &Performance| {
        let [lower, upper] = of.interval.expect("rows");
        upper - lower
    };
    assert_eq!(by_rows.value, by_units.value);
    let times = width(&by_units) / width(&by_rows);
    assert!(
        (times - 20.0_f64.sqrt()).abs() < 0.4,
        "{times} {by_rows:?} {by_units:?}"
    );
    // What rows alone would call a fall is none of fifty users.
    assert!(
        by_rows.fallen && !by_units.fallen,
        "{by_rows:?} {by_units:?}"
    );
}

/// Acted upon is what chance hardly makes in fifty windows: an interval that lies below by itself is told, and is no fall.
#[tokio::test]
async fn an_interval_that_lies_hardly_below_is_told_and_is_no_fall() {
    let folder = tempfile::tempdir().expect("a folder");
    reference(folder.path()).await;
    let mut traffic = rows(1000, 2, 0.0);
    let labels = right(&mut traffic, 5, |_| 8.0);
    payload(folder.path(), &traffic, START);
    let ids = traffic.ids.iter().cloned();
    write_labels(
        folder.path(),
        ids.zip(labels.iter().map(ToString::to_string)),
    );
    let line = ["--metric", "accuracy"];
    let measured = of(judged(folder.path(), &line).await.expect("a verdict"));
    let [_, upper] = measured.interval.expect("rows");
    for (above, verdict) in [
        (0.001, WindowVerdict::Healthy),
        (0.05, WindowVerdict::Drifted),
    ] {
        let min = (upper + above).to_string();
        let line = ["--metric", "accuracy", "--metric-min", &min];
        let report = judged(folder.path(), &line).await.expect("a verdict");
        assert_eq!(report.verdict, verdict, "{}", report.message);
        let is_told = report.message.contains("is no fall yet");
        assert_eq!(
            is_told,
            verdict == WindowVerdict::Healthy,
            "{}",
            report.message
        );
        assert_eq!(of(report).fallen, verdict == WindowVerdict::Drifted);
    }
}

const CLASSES: [&str; 3] = ["early", "late", "on time"];

/// A log of a model that answers with a name, right in eight of ten rows; and the names that are right.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // below 3
fn of_classes(folder: &Path) -> (Vec<String>, Vec<usize>) {
    let traffic = rows(1000, 2, 0.0);
    let mut random = Random(9);
    let labels: Vec<usize> = (0..1000).map(|_| (random.next() * 3.0) as usize).collect();
    let answers = labels.iter().map(|label| {
        let is_right = random.next() < 0.8;
        CLASSES[if is_right { *label } else { (*label + 1) % 3 }]
    });
    let answers = Arc::new(StringArray::from_iter_values(answers)) as ArrayRef;
    let whole = batch(&traffic, START);
    let columns = whole.schema_ref().fields().iter().zip(whole.columns());
    let columns = columns.map(|(field, column)| {
        let is_answer = field.name() == "prediction";
        let column = if is_answer { &answers } else { column };
        (field.name().clone(), Arc::clone(column))
    });
    let path = format!("payloads/flights-1/{START}-{}-pod-a.parquet", START + 999);
    let columns = RecordBatch::try_from_iter(columns).expect("columns");
    write(&folder.join(path), &columns);
    (traffic.ids, labels)
}

#[tokio::test]
async fn answers_that_are_names_of_classes_are_judged_by_labels_that_are_names() {
    let folder = tempfile::tempdir().expect("a folder");
    reference(folder.path()).await;
    let (ids, labels) = of_classes(folder.path());
    let names = labels.iter().map(|label| CLASSES[*label].to_owned());
    write_labels(folder.path(), ids.iter().cloned().zip(names));
    for (metric, min, fallen) in [
        ("accuracy", "0.7", false),
        ("accuracy", "0.9", true),
        ("f1Macro", "0.7", false),
    ] {
        let line = ["--metric", metric, "--metric-min", min];
        let performance = of(judged(folder.path(), &line).await.expect("a verdict"));
        assert_eq!(
            (performance.rows, performance.fallen),
            (1000, fallen),
            "{metric} {min}"
        );
        assert!(
            (performance.value.expect("rows") - 0.8).abs() < 0.04,
            "{performance:?}"
        );
    }
    // Places of classes say nothing of names.
    write_labels(
        folder.path(),
        ids.iter()
            .cloned()
            .zip(labels.iter().map(ToString::to_string)),
    );
    let failed = judged(folder.path(), &ACCURACY).await.expect_err("numbers");
    assert_eq!(failed.reason, FailureReason::LabelsUnreadable);
    assert!(
        failed
            .message
            .contains("write the names of the classes there"),
        "{}",
        failed.message
    );
}
