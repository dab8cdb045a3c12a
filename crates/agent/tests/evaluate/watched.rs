//! A baseline that a validation leaves, and a payload log that is compared with it.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, ListArray, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::Float64Type;
use clap::Parser;
use parquet::arrow::ArrowWriter;
use serde_json::json;
use windlass_agent::drift;
use windlass_agent::drift::results::{Kind, Results};
use windlass_api::agent::{Distribution, Profile, WindowVerdict};
use windlass_statistics::drift::method::Method;

use super::evaluate;
use super::server::Model;

/// 2013-04-01T00:00:00Z in microseconds.
const START: i64 = 1_364_774_400_000_000;
const SEGMENT: &str = "country = 'DE'";
const WORDS: [&str; 10] = [
    "hat", "red", "fine", "late", "box", "soft", "large", "shop", "gift", "slow",
];

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    arguments: drift::Arguments,
}

/// A question of eight words, of which one row of `every` asks for a refund.
fn question(row: usize, seed: usize, every: usize) -> String {
    let word = |at: usize| {
        let mixed = (row * 8 + at + seed * 100_003).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        WORDS[(mixed >> 40) % WORDS.len()]
    };
    let mut words: Vec<&str> = (0..8).map(word).collect();
    if row.is_multiple_of(every) {
        words[3] = "refund";
    }
    words.join(" ")
}

/// Validates a model on 900 questions of which one is not there, and on these segments; what it leaves is the reference.
async fn validated(folder: &Path, segments: &[&str]) -> Profile {
    let mut csv = "question,country,late\n".to_owned();
    for row in 0..900 {
        let question = if row == 5 {
            String::new()
        } else {
            question(row, 1, usize::MAX)
        };
        let (country, label) = (["DE", "FR", "IT"][row % 3], ["late", "on time"][row % 2]);
        writeln!(csv, "{question},{country},{label}").expect("a string");
    }
    std::fs::create_dir(folder.join("holdout")).expect("a folder");
    std::fs::write(folder.join("holdout/a.csv"), csv).expect("written");
    let signature = json!({
        "inputs": [{"name": "question", "type": "Text"}],
        "output": {"classes": ["on time", "late"]},
    });
    std::fs::write(folder.join("signature.json"), signature.to_string()).expect("written");
    let gate = ["--protocol", "OpenAI", "--metric", "accuracy"].into_iter();
    let segments = segments.iter().flat_map(|segment| ["--segment", *segment]);
    let more: Vec<&str> = gate.chain(segments).collect();
    let report = evaluate(folder, Model::Knows, &more).await;
    report.expect("a verdict");
    let baseline = std::fs::read(folder.join("out/baseline.json")).expect("a baseline");
    serde_json::from_slice(&baseline).expect("a profile")
}

/// Six hundred questions as the proxy logs them; without any where the prompt is redacted.
fn logged(folder: &Path, every: Option<usize>) {
    let rows = 600;
    let questions = (0..rows).map(|row| every.map(|every| question(row, 2, every)));
    let questions: Vec<Option<String>> = questions.collect();
    let times = (0..rows).map(|row| START + i64::try_from(row).expect("small") * 1000);
    let ids = (0..rows).map(|row| format!("r{row}"));
    let countries = (0..rows).map(|row| ["DE", "FR", "IT"][row % 3]);
    let column = |array: ArrayRef| array;
    let batch = RecordBatch::try_from_iter([
        (
            "request_id",
            column(Arc::new(StringArray::from_iter_values(ids))),
        ),
        (
            "timestamp",
            column(Arc::new(
                TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"),
            )),
        ),
        ("question", column(Arc::new(StringArray::from(questions)))),
        (
            "country",
            column(Arc::new(StringArray::from_iter_values(countries))),
        ),
        (
            "prediction",
            column(Arc::new(Float64Array::from(vec![0.0; rows]))),
        ),
    ])
    .expect("columns of one length");
    let log = folder.join("payloads/flights-1");
    std::fs::create_dir_all(&log).expect("a folder");
    let file = std::fs::File::create(log.join("a.parquet")).expect("a file");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("written");
    writer.close().expect("closed");
}

/// A window of the log against the baseline, as a monitor has it compared.
async fn watched(folder: &Path, more: &[&str]) -> Results {
    let at = |name: &str| folder.join(name).display().to_string();
    let (reference, payloads, output) = (at("out/baseline.json"), at("payloads"), at("window"));
    let line = [
        "x",
        "--reference",
        &reference,
        "--payloads",
        &payloads,
        "--version",
        "flights-1",
        "--window-start",
        "2013-04-01T00:00:00Z",
        "--window-end",
        "2013-04-01T00:01:00Z",
        "--min-samples",
        "100",
        "--output",
        &output,
    ];
    let line = Line::parse_from(line.into_iter().chain(more.iter().copied()));
    drift::run(line.arguments).await.expect("a verdict");
    let written = std::fs::read(folder.join("window/report.json")).expect("results");
    serde_json::from_slice(&written).expect("results")
}

#[tokio::test]
async fn questions_are_compared_with_those_that_the_model_was_judged_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let baseline = validated(folder.path(), &[SEGMENT]).await;
    let of = |columns: &[windlass_api::agent::ColumnProfile]| match &columns[0].distribution {
        Distribution::Text { rows, sample } => (*rows, sample.clone()),
        other => panic!("no texts: {other:?}"),
    };
    let (rows, sample) = of(&baseline.columns);
    // One that is not there is asked, and logged, as the empty text.
    assert_eq!(
        (rows, baseline.columns[0].nulls, sample.len()),
        (900, 0, 900)
    );
    assert!(sample.iter().any(|row| row.2.is_empty()));
    let (rows, in_segment) = of(&baseline.segments[0].columns);
    assert_eq!((rows, in_segment.len()), (300, 300));
    // A row is the same one in a segment.
    assert!(in_segment.iter().all(|row| sample.contains(row)));

    logged(folder.path(), Some(usize::MAX));
    let same = watched(folder.path(), &[]).await;
    let column = same.columns.iter().find(|of| of.column == "question");
    let column = column.unwrap_or_else(|| panic!("not compared: {same:?}"));
    assert_eq!(
        (column.kind, column.method, column.drifted),
        (Kind::Text, Method::DomainClassifier, false)
    );

    logged(folder.path(), Some(2));
    let moved = watched(folder.path(), &["--segment", SEGMENT]).await;
    assert_eq!(moved.verdict, WindowVerdict::Drifted, "{}", moved.message);
    let of_segment = &moved.segments[0].columns;
    for columns in [&moved.columns, of_segment] {
        let column = columns.iter().find(|of| of.column == "question");
        let column = column.unwrap_or_else(|| panic!("not compared: {moved:?}"));
        assert!(
            column.drifted && column.moved.contains("'refund'"),
            "{column:?}"
        );
    }
}

#[tokio::test]
async fn questions_that_are_redacted_are_not_missed_whatever_they_are_called() {
    let folder = tempfile::tempdir().expect("a folder");
    validated(folder.path(), &[]).await;
    logged(folder.path(), None);
    for redacted in ["prompt", "messages", "question"] {
        let found = watched(folder.path(), &["--ignore", redacted]).await;
        assert_ne!(found.verdict, WindowVerdict::DataBroken, "{redacted}");
        assert!(found.columns.iter().all(|of| of.column != "question"));
    }
    let missed = watched(folder.path(), &["--ignore", "country"]).await;
    assert_eq!(missed.verdict, WindowVerdict::DataBroken);
}

/// All rows and 63 segments share the room of 64 parts: 128 texts of 4 kB in each.
#[tokio::test]
async fn of_many_segments_fewer_questions_are_kept_so_that_memory_is_bounded() {
    let folder = tempfile::tempdir().expect("a folder");
    let segments: Vec<String> = (0..63).map(|at| format!("country <> 'x{at}'")).collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let baseline = validated(folder.path(), &segments).await;
    let of_segments = baseline.segments.iter().map(|of| &of.columns[0]);
    for column in of_segments.chain([&baseline.columns[0]]) {
        let Distribution::Text { rows, sample } = &column.distribution else {
            panic!("no texts: {column:?}")
        };
        assert_eq!((*rows, sample.len()), (900, 128));
    }
}

/// A row's embedding: three numbers, of which the first is shifted.
fn vector(row: usize, seed: usize, shift: f64) -> [f64; 3] {
    let number = |at: usize| {
        let mixed = (row * 3 + at + seed * 100_003).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        f64::from(u32::try_from((mixed >> 20) % 1000).expect("small")) / 1000.0
    };
    [number(0) + shift, number(1), number(2)]
}

/// Validates a model on 900 rows that come one in three hours, each with an embedding but for one.
async fn validated_on_vectors(folder: &Path) -> Profile {
    let mut csv = "known,embedding,late,at\n".to_owned();
    let start = jiff::Timestamp::from_microsecond(START).expect("a time");
    for row in 0..900 {
        let embedding = if row == 5 {
            String::new()
        } else {
            format!("\"{:?}\"", vector(row, 1, 0.0))
        };
        let hours = jiff::SignedDuration::from_hours(i64::try_from(row).expect("small") * 3);
        let (label, at) = (row % 2, start - hours);
        writeln!(csv, "{label},{embedding},{label},{at}").expect("a string");
    }
    std::fs::create_dir(folder.join("holdout")).expect("a folder");
    std::fs::write(folder.join("holdout/a.csv"), csv).expect("written");
    let signature = json!({"inputs": [
        {"name": "known", "type": "Number"},
        {"name": "embedding", "type": "Vector", "length": 3},
    ]});
    std::fs::write(folder.join("signature.json"), signature.to_string()).expect("written");
    let line = ["--metric", "accuracy", "--time-column", "at"];
    let report = evaluate(folder, Model::Knows, &line).await;
    let report = report.expect("a verdict");
    assert_eq!(report.metrics[0].value, Some(1.0), "{}", report.message);
    let baseline = std::fs::read(folder.join("out/baseline.json")).expect("a baseline");
    serde_json::from_slice(&baseline).expect("a profile")
}

fn logged_vectors(folder: &Path, shift: f64) {
    let rows = 600;
    let times = (0..rows).map(|row| START + i64::try_from(row).expect("small") * 1000);
    let ids = (0..rows).map(|row| format!("r{row}"));
    let vectors = (0..rows).map(|row| Some(vector(row, 2, shift).map(Some)));
    let known = (0..rows).map(|row| f64::from(u8::from(row % 2 == 1)));
    let prediction = known.clone().map(|known| 0.1 + 0.8 * known);
    let column = |array: ArrayRef| array;
    let batch = RecordBatch::try_from_iter([
        (
            "request_id",
            column(Arc::new(StringArray::from_iter_values(ids))),
        ),
        (
            "timestamp",
            column(Arc::new(
                TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"),
            )),
        ),
        (
            "known",
            column(Arc::new(Float64Array::from_iter_values(known))),
        ),
        (
            "embedding",
            column(Arc::new(
                ListArray::from_iter_primitive::<Float64Type, _, _>(vectors),
            )),
        ),
        (
            "prediction",
            column(Arc::new(Float64Array::from_iter_values(prediction))),
        ),
    ])
    .expect("columns of one length");
    let log = folder.join("payloads/flights-1");
    std::fs::create_dir_all(&log).expect("a folder");
    let file = std::fs::File::create(log.join("a.parquet")).expect("a file");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("written");
    writer.close().expect("closed");
}

#[tokio::test]
async fn embeddings_are_compared_with_those_that_the_model_was_judged_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let baseline = validated_on_vectors(folder.path()).await;
    let Distribution::Embedding { width, keys, .. } = &baseline.columns[1].distribution else {
        panic!("no vectors: {:?}", baseline.columns[1])
    };
    assert_eq!((*width, keys.len(), baseline.columns[1].nulls), (3, 899, 1));
    for (shift, drifted) in [(0.0, false), (0.3, true)] {
        logged_vectors(folder.path(), shift);
        let found = watched(folder.path(), &[]).await;
        let column = found.columns.iter().find(|of| of.column == "embedding");
        let column = column.unwrap_or_else(|| panic!("not compared: {found:?}"));
        assert_eq!(
            (column.kind, column.method, column.drifted),
            (Kind::Embedding, Method::MeanEmbedding, drifted),
            "{column:?}"
        );
    }
}

#[tokio::test]
async fn a_list_that_is_not_as_long_as_the_signature_says_is_named_with_its_row() {
    let folder = tempfile::tempdir().expect("a folder");
    validated_on_vectors(folder.path()).await;
    let csv = "known,embedding,late,at\n1,\"[1, 2, 3]\",1,\n1,\"[1, 2]\",1,\n";
    std::fs::write(folder.path().join("holdout/a.csv"), csv).expect("written");
    let failed = evaluate(folder.path(), Model::Knows, &["--metric", "accuracy"]).await;
    let failed = failed.expect_err("no such list");
    let why =
        "column 'embedding': row 1 holds a list of 2 numbers, and the model's signature says 3";
    assert!(failed.message.contains(why), "{}", failed.message);
}

/// 900 rows, one in three hours, are sixteen weeks.
#[tokio::test]
async fn a_baseline_knows_the_seasons_of_its_rows_where_a_column_has_their_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let baseline = validated_on_vectors(folder.path()).await;
    let times = baseline.times.as_ref().expect("a column has them");
    assert_eq!((times.column.as_str(), times.hours.len()), ("at", 56));
    assert_eq!((times.last, times.stretch_hours), (START, 24));
    let is_by_time = |name: &str| {
        let column = baseline.columns.iter().find(|column| column.name == name);
        column.expect("it is there").by_time.is_some()
    };
    let known = ["known", "prediction", "embedding"].map(is_by_time);
    assert_eq!(known, [true, true, false]);
    logged_vectors(folder.path(), 0.0);
    let found = watched(folder.path(), &[]).await;
    let with = found.compared_with.expect("both have times");
    assert!(
        with.words.starts_with("compared with all 900 rows"),
        "{}",
        with.words
    );
}
