//! `windlass-agent drift` on payload logs and data made here.

mod bad_input;
mod bucket;
mod by_hand;
mod damaged;
mod limits;
mod performance;
mod rows_kept;
mod seasons;

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use clap::Parser;
use parquet::arrow::ArrowWriter;
use windlass_agent::{drift, profile};
use windlass_api::agent::{DriftReport, FailureReason, FailureReport, Report, WindowVerdict};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    arguments: drift::Arguments,
}

#[derive(Parser)]
struct ProfileLine {
    #[command(flatten)]
    arguments: profile::Arguments,
}

/// 2013-04-01T00:00:00Z.
const START: i64 = 1_364_774_400_000;

/// Splitmix64, for numbers in [0, 1).
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        f64::from(u32::try_from((z ^ (z >> 31)) >> 32).expect("32 bits")) / 4_294_967_296.0
    }
}

struct Rows {
    ids: Vec<String>,
    temp: Vec<Option<f64>>,
    carrier: Vec<Option<&'static str>>,
    prediction: Vec<Option<f64>>,
}

fn rows(count: usize, seed: u64, shift: f64) -> Rows {
    let mut random = Random(seed);
    let mut made = Rows {
        ids: vec![],
        temp: vec![],
        carrier: vec![],
        prediction: vec![],
    };
    for row in 0..count {
        made.ids.push(format!("r{seed}#{row}"));
        made.temp.push(Some(random.next() * 10.0 + shift));
        made.carrier
            .push(Some(if random.next() < 0.3 { "UA" } else { "DL" }));
        made.prediction.push(Some(random.next()));
    }
    made
}

fn batch(rows: &Rows, first_ms: i64) -> RecordBatch {
    let times =
        (0..rows.ids.len()).map(|row| (first_ms + i64::try_from(row).expect("small")) * 1000);
    let column = |array: ArrayRef| array;
    RecordBatch::try_from_iter([
        (
            "request_id",
            column(Arc::new(StringArray::from(rows.ids.clone()))),
        ),
        (
            "timestamp",
            column(Arc::new(
                TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"),
            )),
        ),
        (
            "temp",
            column(Arc::new(Float64Array::from(rows.temp.clone()))),
        ),
        (
            "carrier",
            column(Arc::new(StringArray::from(rows.carrier.clone()))),
        ),
        (
            "prediction",
            column(Arc::new(Float64Array::from(rows.prediction.clone()))),
        ),
    ])
    .expect("columns of one length")
}

fn write(path: &Path, batch: &RecordBatch) {
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    let file = std::fs::File::create(path).expect("a file");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
    writer.write(batch).expect("written");
    writer.close().expect("closed");
}

fn payload(folder: &Path, rows: &Rows, first_ms: i64) {
    let last = first_ms + i64::try_from(rows.ids.len()).expect("small") - 1;
    write(
        &folder.join(format!(
            "payloads/flights-1/{first_ms}-{last}-pod-a.parquet"
        )),
        &batch(rows, first_ms),
    );
}

/// A reference of 5,000 rows.
async fn reference(folder: &Path) {
    write(
        &folder.join("data.parquet"),
        &batch(&rows(5000, 1, 0.0), START),
    );
    let at = |name: &str| folder.join(name).display().to_string();
    let line = [
        "x",
        "--dataset",
        &at("data.parquet"),
        "--format",
        "Parquet",
        "--output",
        &at("baseline.json"),
    ];
    let columns = [
        "--column",
        "temp",
        "--column",
        "carrier",
        "--column",
        "prediction",
    ];
    let line = ProfileLine::parse_from(line.into_iter().chain(columns));
    profile::run(line.arguments).await.expect("a profile");
}

async fn drift_of(folder: &Path, more: &[&str]) -> Result<DriftReport, FailureReport> {
    let at = |name: &str| folder.join(name).display().to_string();
    let (baseline, payloads) = (at("baseline.json"), at("payloads"));
    let line = [
        "x",
        "--reference",
        &baseline,
        "--payloads",
        &payloads,
        "--version",
        "flights-1",
    ];
    let usual = [
        ["--window-start", "2013-04-01T00:00:00Z"],
        ["--window-end", "2013-04-01T00:01:00Z"],
        ["--min-samples", "500"],
    ];
    let usual = usual.into_iter().filter(|[name, _]| !more.contains(name));
    let line = line.into_iter().chain(usual.flatten());
    let arguments = Line::parse_from(line.chain(more.iter().copied())).arguments;
    match drift::run(arguments).await? {
        Report::Drift(report) => Ok(report),
        other => panic!("not a report of drift: {other:?}"),
    }
}

#[tokio::test]
async fn traffic_like_the_reference_is_healthy() {
    let folder = tempfile::tempdir().expect("a folder");
    reference(folder.path()).await;
    payload(folder.path(), &rows(600, 2, 0.0), START);
    payload(folder.path(), &rows(600, 3, 0.0), START + 10_000);
    let report = drift_of(folder.path(), &[]).await.expect("a verdict");
    assert_eq!(
        (report.verdict, report.rows, report.columns, report.drifted),
        (WindowVerdict::Healthy, 1200, 3, 0)
    );
}

#[tokio::test]
async fn a_shift_is_found_and_told_in_words() {
    let folder = tempfile::tempdir().expect("a folder");
    reference(folder.path()).await;
    payload(folder.path(), &rows(1000, 2, 6.0), START);
    let report = drift_of(
        folder.path(),
        &["--output", &folder.path().join("out").display().to_string()],
    )
    .await;
    let report = report.expect("a verdict");
    assert_eq!(
        (report.verdict, report.drifted),
        (WindowVerdict::Drifted, 1)
    );
    assert_eq!(report.top[0].column, "temp");
    assert!(
        report.top[0].moved.starts_with("mean 4.9 → 10."),
        "{}",
        report.top[0].moved
    );
    assert!(report.message.contains("temp"), "{}", report.message);
    assert!(folder.path().join("out/report.json").is_file());
    let calm = drift_of(folder.path(), &["--column-threshold", "temp=90"])
        .await
        .expect("a verdict");
    assert_eq!(calm.verdict, WindowVerdict::Healthy);
    let one_of_three = drift_of(folder.path(), &["--drifted-share", "0.5"])
        .await
        .expect("a verdict");
    assert_eq!(
        (one_of_three.verdict, one_of_three.drifted),
        (WindowVerdict::Healthy, 1)
    );
}

#[tokio::test]
async fn predictions_alone_are_enough_where_they_have_a_threshold() {
    let folder = tempfile::tempdir().expect("a folder");
    reference(folder.path()).await;
    let mut moved = rows(1000, 2, 0.0);
    moved.prediction = moved
        .prediction
        .into_iter()
        .map(|p| p.map(|p| p * p * p))
        .collect();
    payload(folder.path(), &moved, START);
    let share = ["--drifted-share", "0.9"];
    assert_eq!(
        drift_of(folder.path(), &share)
            .await
            .expect("a verdict")
            .verdict,
        WindowVerdict::Healthy
    );
    let both = [share[0], share[1], "--prediction-threshold", "0.1"];
    assert_eq!(
        drift_of(folder.path(), &both)
            .await
            .expect("a verdict")
            .verdict,
        WindowVerdict::Drifted
    );
}

#[tokio::test]
async fn rows_outside_of_the_window_do_not_count() {
    let folder = tempfile::tempdir().expect("a folder");
    reference(folder.path()).await;
    // Half of its rows lie before the window; the last file lies after it and is no Parquet at all.
    payload(folder.path(), &rows(1000, 2, 0.0), START - 500);
    let late = folder.path().join(format!(
        "payloads/flights-1/{}-{}-pod-a.parquet",
        START + 60_001,
        START + 61_000
    ));
    std::fs::write(late, "not read").expect("written");
    let report = drift_of(folder.path(), &[]).await.expect("a verdict");
    assert_eq!(report.rows, 500);
}

#[tokio::test]
async fn too_few_rows_and_no_folder_are_not_enough_data() {
    let folder = tempfile::tempdir().expect("a folder");
    reference(folder.path()).await;
    let none = drift_of(folder.path(), &[]).await.expect("a verdict");
    assert_eq!((none.verdict, none.rows), (WindowVerdict::NotEnoughData, 0));
    payload(folder.path(), &rows(499, 2, 20.0), START);
    let few = drift_of(folder.path(), &[]).await.expect("a verdict");
    assert_eq!((few.verdict, few.rows), (WindowVerdict::NotEnoughData, 499));
}

#[tokio::test]
async fn a_column_that_is_empty_or_gone_is_broken_data() {
    let folder = tempfile::tempdir().expect("a folder");
    reference(folder.path()).await;
    let mut empty = rows(800, 2, 0.0);
    empty.temp = vec![None; 800];
    payload(folder.path(), &empty, START);
    let report = drift_of(folder.path(), &[]).await.expect("a verdict");
    assert_eq!(report.verdict, WindowVerdict::DataBroken);
    assert!(report.message.contains("'temp'"), "{}", report.message);

    let path = folder.path().join(format!(
        "payloads/flights-1/{START}-{}-pod-a.parquet",
        START + 799
    ));
    let whole = batch(&rows(800, 2, 0.0), START);
    write(&path, &whole.project(&[0, 1, 2, 4]).expect("columns"));
    let report = drift_of(folder.path(), &[]).await.expect("a verdict");
    assert_eq!(report.verdict, WindowVerdict::DataBroken);
    assert!(report.message.contains("'carrier'"), "{}", report.message);
}

#[tokio::test]
async fn labels_tell_that_performance_has_fallen() {
    let folder = tempfile::tempdir().expect("a folder");
    reference(folder.path()).await;
    let traffic = rows(1000, 2, 0.0);
    payload(folder.path(), &traffic, START);
    let labels = folder.path().join("labels");
    let at = labels.display().to_string();
    let more = [
        "--labels",
        &at,
        "--label",
        "late",
        "--metric",
        "rocAuc",
        "--metric-min",
        "0.7",
    ];
    let before = drift_of(folder.path(), &more)
        .await
        .expect("a verdict")
        .performance
        .expect("asked for");
    assert_eq!((before.rows, before.value), (0, None));

    // Labels that have nothing to do with the predictions, for three rows of four.
    std::fs::create_dir(&labels).expect("a folder");
    let of = |row: usize| {
        format!(
            "{},{}\n",
            traffic.ids[row],
            if row.is_multiple_of(2) {
                "true"
            } else {
                "false"
            }
        )
    };
    let content: String = (0..1000).filter(|row| row % 4 != 0).map(of).collect();
    std::fs::write(labels.join("a.csv"), format!("request_id,late\n{content}")).expect("written");
    let report = drift_of(folder.path(), &more).await.expect("a verdict");
    let performance = report.performance.expect("asked for");
    assert_eq!((performance.rows, performance.fallen), (750, true));
    assert_eq!(report.verdict, WindowVerdict::Drifted);

    for (content, why) in [
        ("\u{0}\u{1}\u{ff}garbage\nmore, garbage, here\n", "b.csv"),
        ("request_id,late\nr2#1,maybe\n", "'late'"),
        ("request,late\nr2#1,1\n", "no column 'request_id'"),
    ] {
        std::fs::remove_file(labels.join("a.csv")).ok();
        std::fs::write(labels.join("b.csv"), content).expect("written");
        let failed = drift_of(folder.path(), &more).await.expect_err("no labels");
        assert_eq!(
            failed.reason,
            FailureReason::LabelsUnreadable,
            "{}",
            failed.message
        );
        assert!(failed.message.contains(why), "{}", failed.message);
    }
}

#[tokio::test]
async fn a_reference_that_was_changed_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    reference(folder.path()).await;
    let failed = drift_of(folder.path(), &["--reference-digest", "sha256:00"])
        .await
        .expect_err("another digest");
    assert_eq!(failed.reason, FailureReason::DigestMismatch);
    std::fs::write(folder.path().join("baseline.json"), "{").expect("written");
    let failed = drift_of(folder.path(), &[]).await.expect_err("no profile");
    assert_eq!(failed.reason, FailureReason::ReferenceUnreadable);
}
