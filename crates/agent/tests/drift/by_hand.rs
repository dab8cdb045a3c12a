//! Two data sets against each other, as a person compares them.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, RecordBatch, StringArray};
use arrow::datatypes::Float64Type;
use clap::Parser;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use windlass_agent::drift;
use windlass_agent::drift::results::Results;
use windlass_agent::profile;
use windlass_api::agent::{FailureReason, FailureReport, WindowVerdict};
use windlass_statistics::drift::method::Method;

use crate::{Line, ProfileLine, Random, write};

/// Rows of users with twenty each, in many row groups; numbers by user where these are alike.
fn made(rows: usize, seed: u64, shift: f64, alike: bool) -> RecordBatch {
    let mut random = Random(seed);
    let mut of_user = (0.0, 0.0);
    let (mut users, mut numbers, mut names) = (vec![], vec![], vec![]);
    for row in 0..rows {
        if row % 20 == 0 || !alike {
            of_user = (random.next(), random.next());
        }
        users.push(format!("u{}", row / 20));
        numbers.push(Some(of_user.0 * 10.0 + shift).filter(|_| row % 50 != 7));
        names.push(Some(if of_user.1 < 0.4 { "a" } else { "b" }));
    }
    RecordBatch::try_from_iter([
        ("user", Arc::new(StringArray::from(users)) as ArrayRef),
        ("number", Arc::new(Float64Array::from(numbers))),
        ("name", Arc::new(StringArray::from(names))),
    ])
    .expect("columns of one length")
}

pub fn write_grouped(path: &Path, batch: &RecordBatch, rows: usize) {
    let file = std::fs::File::create(path).expect("a file");
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(rows))
        .build();
    let mut writer =
        ArrowWriter::try_new(file, batch.schema(), Some(properties)).expect("a writer");
    writer.write(batch).expect("written");
    writer.close().expect("closed");
}

pub async fn by_hand(
    folder: &Path,
    reference: &str,
    current: &str,
    more: &[&str],
) -> Result<Results, FailureReport> {
    let at = |name: &str| folder.join(name).display().to_string();
    let (reference, current) = (at(reference), at(current));
    let line = ["drift", &reference, &current];
    let line = Line::parse_from(line.into_iter().chain(more.iter().copied()));
    drift::by_hand(&line.arguments).await
}

pub async fn profiled(folder: &Path, data: &str, to: &str, more: &[&str]) {
    let at = |name: &str| folder.join(name).display().to_string();
    let (data, to) = (at(data), at(to));
    let line = ["profile", &data, "-o", &to];
    let line = ProfileLine::parse_from(line.into_iter().chain(more.iter().copied()));
    profile::run(line.arguments).await.expect("a profile");
}

#[tokio::test]
async fn two_files_are_alike_or_not_and_what_moved_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    write_grouped(&at("old.parquet"), &made(20_000, 1, 0.0, false), 1500);
    write_grouped(&at("same.parquet"), &made(20_000, 2, 0.0, false), 700);
    write_grouped(&at("moved.parquet"), &made(20_000, 3, 2.5, false), 700);
    let more = ["--unit", "user"];
    let same = by_hand(folder.path(), "old.parquet", "same.parquet", &more).await;
    let same = same.expect("a verdict");
    assert_eq!(
        (same.verdict, same.columns.len()),
        (WindowVerdict::Healthy, 2)
    );
    assert_eq!((same.window.rows, same.reference.rows), (20_000, 20_000));
    for method in ["PSI", "KolmogorovSmirnov", "Wasserstein", "Hellinger"] {
        let line = [
            more[0],
            more[1],
            "--method",
            method,
            "--drifted-share",
            "0.5",
        ];
        let moved = by_hand(folder.path(), "old.parquet", "moved.parquet", &line).await;
        let moved = moved.expect("a verdict");
        assert_eq!(
            moved.verdict,
            WindowVerdict::Drifted,
            "{method}: {}",
            moved.message
        );
        let first = &moved.columns[0];
        assert_eq!((&*first.column, first.drifted), ("number", true));
        assert!(
            first.moved.starts_with("mean ") && first.moved.contains(" → 7."),
            "{}",
            first.moved
        );
        assert!(
            first
                .mean_shift
                .is_some_and(|shift| (0.7..1.0).contains(&shift))
        );
        assert!(!moved.columns[1].drifted, "{method}");
        let rows: u64 = first.cells.iter().map(|cell| cell.window).sum();
        assert_eq!(
            (rows, first.cells.last().map(|cell| cell.window)),
            (20_000, Some(400))
        );
    }
}

/// A profile that was written, the data that it was made of, and whatever parts these are read in: the same to the last bit.
#[tokio::test]
async fn what_is_found_does_not_hang_on_how_it_was_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    write_grouped(&at("old.parquet"), &made(30_000, 1, 0.0, true), 999);
    write_grouped(&at("new.parquet"), &made(9000, 2, 1.0, true), 500);
    let segments = ["--unit", "user", "--segment", "name = 'a'"];
    profiled(folder.path(), "old.parquet", "old.json", &segments).await;
    let of = |results: Results| {
        let mut results = results;
        results.reference.name.clear();
        serde_json::to_string(&results).expect("JSON")
    };
    let by_data = by_hand(folder.path(), "old.parquet", "new.parquet", &segments).await;
    let by_data = of(by_data.expect("a verdict"));
    for _ in 0..3 {
        let by_profile = by_hand(folder.path(), "old.json", "new.parquet", &segments).await;
        assert_eq!(of(by_profile.expect("a verdict")), by_data);
    }
    // Both profiles: the window's cells are its own then, and distances nearly the same.
    profiled(folder.path(), "new.parquet", "new.json", &segments).await;
    let exact = by_hand(folder.path(), "old.json", "new.parquet", &segments).await;
    let both = by_hand(folder.path(), "old.json", "new.json", &segments).await;
    let (exact, both) = (exact.expect("a verdict"), both.expect("a verdict"));
    assert_eq!(exact.verdict, both.verdict);
    for (one, other) in exact.columns.iter().zip(&both.columns) {
        assert!((one.value - other.value).abs() < 0.02, "{one:?} {other:?}");
    }
    assert_eq!(both.segments.len(), 1);
    assert_eq!(both.segments[0].rows, exact.segments[0].rows);
}

/// A shift of 0.4 deviations has a PSI of 0.16: by that alone it would be none.
#[tokio::test]
async fn a_mean_that_moved_is_drift_beside_psi_and_is_told_for_what_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    write(&at("old.parquet"), &made(20_000, 1, 0.0, false));
    // Even numbers up to ten have a deviation of 2.89; those that moved by 0.9 have a PSI below 0.2 only without their ends.
    let one = made(20_000, 2, 0.0, false);
    let numbers = one.column(1).as_primitive::<Float64Type>().iter();
    let tilted = numbers.map(|number| number.map(|number| 10.0 * (number / 10.0).powf(0.72)));
    let tilted = Arc::new(tilted.collect::<Float64Array>()) as ArrayRef;
    let columns = [
        ("user", one.column(0).clone()),
        ("number", tilted),
        ("name", one.column(2).clone()),
    ];
    write(
        &at("new.parquet"),
        &RecordBatch::try_from_iter(columns).expect("columns"),
    );
    let of = |line: &'static [&'static str]| {
        let folder = folder.path();
        async move {
            let found = by_hand(folder, "old.parquet", "new.parquet", line).await;
            let found = found.expect("a verdict");
            let column = found
                .columns
                .into_iter()
                .find(|column| column.column == "number");
            column.expect("it was compared")
        }
    };
    let moved = of(&["--unit", "user"]).await;
    assert!(moved.drifted, "{moved:?}");
    assert_eq!(moved.method, Method::MeanShift);
    let shift = moved.mean_shift.expect("spread");
    assert!(
        (moved.value - shift).abs() < 0.01 && (0.25..0.35).contains(&shift),
        "{moved:?}"
    );
    assert!((moved.threshold - 0.2).abs() < 1e-12);
    let quiet = of(&["--unit", "user", "--threshold", "0.5"]).await;
    assert!(
        !quiet.drifted && quiet.method == Method::Psi && quiet.value < 0.2,
        "{quiet:?}"
    );
}

/// A message of thousands of letters would be no message.
#[tokio::test]
async fn long_names_of_columns_are_cut_in_messages_and_kept_in_the_results() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let name = format!("first{}last", "x".repeat(5000));
    let of = |shift: f64| {
        let numbers = made(3000, 4, shift, false).column(1).clone();
        RecordBatch::try_from_iter([(name.as_str(), numbers)]).expect("a column")
    };
    write(&at("old.parquet"), &of(0.0));
    write(&at("new.parquet"), &of(5.0));
    let found = by_hand(folder.path(), "old.parquet", "new.parquet", &[]).await;
    let found = found.expect("a verdict");
    assert_eq!(found.verdict, WindowVerdict::Drifted);
    assert_eq!(found.columns[0].column, name);
    assert!(found.message.len() < 600, "{}", found.message);
    assert!(found.message.contains("firstxxx") && found.message.contains("xxxlast"));
    assert!(found.short().top[0].column.len() < 200);
}

/// Half of a profile of many columns would be blanks.
#[tokio::test]
async fn a_profile_is_written_without_a_blank() {
    let folder = tempfile::tempdir().expect("a folder");
    write(
        &folder.path().join("old.parquet"),
        &made(2000, 1, 0.0, true),
    );
    profiled(folder.path(), "old.parquet", "old.json", &[]).await;
    let written = std::fs::read_to_string(folder.path().join("old.json")).expect("a profile");
    assert!(!written.contains(char::is_whitespace), "{written}");
}

#[tokio::test]
async fn rows_of_users_who_are_always_the_same_are_worth_one_each() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    write(&at("old.parquet"), &made(6000, 1, 0.0, true));
    write(&at("new.parquet"), &made(6000, 2, 0.0, true));
    let few = ["--unit", "user", "--min-samples", "500"];
    let found = by_hand(folder.path(), "old.parquet", "new.parquet", &few).await;
    let found = found.expect("a verdict");
    assert_eq!(
        found.verdict,
        WindowVerdict::NotEnoughData,
        "{}",
        found.message
    );
    assert!(
        (found.window.effective_rows - 300.0).abs() < 30.0,
        "{found:?}"
    );
    assert!(
        found.message.contains("rows of one user are alike"),
        "{}",
        found.message
    );
    let enough = ["--unit", "user", "--min-samples", "200"];
    let found = by_hand(folder.path(), "old.parquet", "new.parquet", &enough).await;
    assert_eq!(found.expect("a verdict").verdict, WindowVerdict::Healthy);
}

#[tokio::test]
async fn a_segment_that_moved_is_found_where_the_whole_did_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let make = |seed: u64, shift: f64| {
        let mut random = Random(seed);
        let (mut countries, mut numbers) = (vec![], vec![]);
        for row in 0..20_000 {
            let is_small = row % 20 == 0;
            countries.push(if is_small { "DE" } else { "US" });
            numbers.push(random.next() * 10.0 + if is_small { shift } else { 0.0 });
        }
        RecordBatch::try_from_iter([
            (
                "country",
                Arc::new(StringArray::from(countries)) as ArrayRef,
            ),
            ("number", Arc::new(Float64Array::from(numbers))),
        ])
        .expect("columns of one length")
    };
    write(&at("old.parquet"), &make(1, 0.0));
    write(&at("new.parquet"), &make(2, 6.0));
    let line = ["--segment", "country = 'DE'", "--segment", "country = 'US'"];
    let found = by_hand(folder.path(), "old.parquet", "new.parquet", &line).await;
    let found = found.expect("a verdict");
    assert_eq!(found.verdict, WindowVerdict::Healthy, "{}", found.message);
    let of: Vec<(&str, WindowVerdict)> = found
        .segments
        .iter()
        .map(|segment| (segment.segment.as_str(), segment.verdict))
        .collect();
    assert_eq!(
        of,
        [
            ("country = 'DE'", WindowVerdict::Drifted),
            ("country = 'US'", WindowVerdict::Healthy)
        ]
    );
    assert!(
        found.segments[0].message.contains("number"),
        "{:?}",
        found.segments[0]
    );
    let wrong = by_hand(
        folder.path(),
        "old.parquet",
        "new.parquet",
        &["--segment", "land = 1"],
    );
    let wrong = wrong.await.expect_err("no such column");
    assert_eq!(
        wrong.reason,
        FailureReason::ColumnNotFound,
        "{}",
        wrong.message
    );
    let wrong = by_hand(
        folder.path(),
        "old.parquet",
        "new.parquet",
        &["--segment", "number +"],
    );
    assert_eq!(
        wrong.await.expect_err("no SQL").reason,
        FailureReason::InvalidArguments
    );
}

#[tokio::test]
async fn csv_and_json_are_read_as_well() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let mut random = Random(3);
    let (mut csv, mut json) = ("x,c\n".to_owned(), String::new());
    for _ in 0..3000 {
        let (x, c) = (random.next(), if random.next() < 0.5 { "a" } else { "b" });
        let _ = writeln!(csv, "{x},{c}");
        let (x, c) = (random.next(), if random.next() < 0.1 { "a" } else { "b" });
        let _ = writeln!(json, "{{\"x\": {x}, \"c\": \"{c}\"}}");
    }
    std::fs::write(at("old.csv"), csv).expect("written");
    std::fs::write(at("new.jsonl"), json).expect("written");
    let found = by_hand(folder.path(), "old.csv", "new.jsonl", &[]).await;
    let found = found.expect("a verdict");
    assert_eq!(found.verdict, WindowVerdict::Drifted, "{}", found.message);
    assert_eq!((&*found.columns[0].column, found.drifted()), ("c", 1));
    std::fs::write(at("old.dat"), "x").expect("written");
    let unknown = by_hand(folder.path(), "old.dat", "new.jsonl", &[]).await;
    let unknown = unknown.expect_err("no format");
    assert!(
        unknown.message.contains("say --format"),
        "{}",
        unknown.message
    );
}
