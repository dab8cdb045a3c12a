//! `windlass-agent check` on files made here, as a Job runs it.

#[path = "../common/mod.rs"]
mod common;
mod distributions;
mod files;
mod names;
mod rules;

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Float32Array, Float64Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray,
};
use common::{Ended, Place};
use parquet::arrow::ArrowWriter;
use windlass_api::agent::{CheckReport, FailureReason, Report};

fn write(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns
            .into_iter()
            .map(|(name, values)| (name, values, true)),
    )
    .expect("columns of one length");
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    let file = std::fs::File::create(path).expect("a file");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("written");
    writer.close().expect("closed");
}

/// The three formats, whose input of a place lies in a folder of its name.
const FORMATS: [&str; 3] = ["CSV", "JSON", "Parquet"];

/// Ten people: `id` 0 to 9, `age` with -3, -1 and two missing, `state`, `joined`.
fn people(place: &Place) {
    let ages = [
        Some(31),
        Some(-3),
        None,
        Some(44),
        Some(-1),
        Some(0),
        None,
        Some(7),
        Some(18),
        Some(99),
    ];
    let states = [
        "on", "on", "off", "on", "On", "off", "off", "on", "on", "lost",
    ];
    let mut csv = "id,age,state,Joined At\n".to_owned();
    let mut json = String::new();
    for (id, (age, state)) in ages.iter().zip(states).enumerate() {
        let age_text = age.map(|age| age.to_string()).unwrap_or_default();
        let day = id % 9 + 1;
        writeln!(csv, "{id},{age_text},{state},2026-01-0{day} 10:00:00").expect("text");
        let row = serde_json::json!({"id": id, "age": age, "state": state, "Joined At": format!("2026-01-0{}T10:00:00Z", id % 9 + 1)});
        writeln!(json, "{row}").expect("text");
    }
    place.file("CSV/a.csv", csv);
    place.file("JSON/a.json", json);
    let joined = (0..10).map(|id| (20_454 + id % 9) * 86_400_000_000 + 36_000_000_000);
    write(
        &place.path("Parquet/a.parquet"),
        vec![
            ("id", Arc::new(Int64Array::from_iter_values(0..10))),
            ("age", Arc::new(Int64Array::from(ages.to_vec()))),
            ("state", Arc::new(StringArray::from(states.to_vec()))),
            (
                "Joined At",
                Arc::new(TimestampMicrosecondArray::from_iter_values(joined).with_timezone("UTC")),
            ),
        ],
    );
}

/// Checks an input called `in` in a folder of the place.
fn check(place: &Place, folder: &str, format: &str, checks: &[&str]) -> Ended {
    with(place, folder, format, checks, &[])
}

fn with(place: &Place, folder: &str, format: &str, checks: &[&str], more: &[&str]) -> Ended {
    let mut arguments = vec![
        "check".to_owned(),
        format!("--input=in={}", place.path(folder).display()),
        format!("--input-format=in={format}"),
    ];
    arguments.extend(checks.iter().map(|check| format!("--check=in={check}")));
    arguments.extend(more.iter().map(|&argument| argument.to_owned()));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    place.agent(&arguments)
}

fn held(ended: &Ended) -> &CheckReport {
    let Report::Check(report) = &ended.report else {
        panic!("no good end: {:?}", ended.report)
    };
    assert_eq!(ended.output.status.code(), Some(0));
    report
}

fn message(ended: &Ended, reason: FailureReason) -> String {
    let failure = ended.failure();
    assert_eq!(failure.reason, reason, "{}", failure.message);
    failure.message.clone()
}

/// A check, and what is said of it; nothing where it holds.
type Row = (&'static str, &'static str);

fn table(place: &Place, folder: &str, format: &str, rows: &[Row]) {
    let holding: Vec<&str> = rows
        .iter()
        .filter(|(_, says)| says.is_empty())
        .map(|(json, _)| *json)
        .collect();
    held(&check(place, folder, format, &holding));
    for (json, says) in rows.iter().filter(|(_, says)| !says.is_empty()) {
        assert_eq!(
            message(
                &check(place, folder, format, &[json]),
                FailureReason::CheckFailed
            ),
            format!("input 'in'{says}"),
            "{format} {json}"
        );
    }
}
