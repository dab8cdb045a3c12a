//! However many rows there are, they are judged in the same memory.

use std::fs::{File, read_to_string};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Float64Array, RecordBatch};
use parquet::arrow::ArrowWriter;
use serde_json::json;
use windlass_api::agent::{Report, Verdict};
use windlass_statistics::random::Random;

use super::common::Place;
use super::server::{Model, serve};

/// Columns that no model asks for.
const MORE_COLUMNS: usize = 60;
const BATCH: usize = 8000;

/// Rows of a label, a score that knows it a little, and many other numbers, in Parquet.
fn write(path: &Path, batches: usize) {
    let mut random = Random::new(7);
    let mut column = |of: &dyn Fn(f64) -> f64| -> Vec<f64> {
        (0..BATCH).map(|_| of(random.uniform())).collect()
    };
    let mut writer: Option<ArrowWriter<File>> = None;
    for _ in 0..batches {
        let label = column(&|chance| f64::from(u8::from(chance < 0.4)));
        let noise = column(&|chance| 0.7 * chance);
        let score = label
            .iter()
            .zip(noise)
            .map(|(label, noise)| 0.3 * label + noise);
        let score: Vec<f64> = score.collect();
        let mut columns = vec![("label".to_owned(), label), ("score".to_owned(), score)];
        columns.push(("one".to_owned(), column(&|_| 1.0)));
        for at in 0..MORE_COLUMNS {
            columns.push((format!("more_{at}"), column(&|chance| chance)));
        }
        let columns = columns
            .into_iter()
            .map(|(name, values)| (name, Arc::new(Float64Array::from(values)) as ArrayRef));
        let batch = RecordBatch::try_from_iter(columns).expect("a batch");
        let file = || File::create(path).expect("a file");
        let writer = writer.get_or_insert_with(|| {
            ArrowWriter::try_new(file(), batch.schema(), None).expect("a writer")
        });
        writer.write(&batch).expect("written");
        writer.flush().expect("a row group of its own");
    }
    writer.expect("some rows").close().expect("closed");
}

/// The most memory that an evaluation of so many rows holds, bytes.
async fn held(place: &Place, batches: usize) -> u64 {
    let data = place.path("holdout.parquet");
    write(&data, batches);
    let server = format!("http://{}", serve(Model::Repeats).await);
    let (data, signature) = (data.display().to_string(), place.path("signature.json"));
    let mut command = place.command(&[
        "evaluate",
        "--model-name",
        "flights",
        "--server",
        &server,
        "--dataset",
        &data,
        "--format",
        "Parquet",
        "--label",
        "label",
        "--metric",
        "rocAuc,min=0.6",
        "--metric",
        "logLoss",
        "--segment",
        "more_0 < 0.5",
        "--segment",
        "more_1 < 0.5",
        "--signature",
    ]);
    command
        .arg(signature)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = command.spawn().expect("the program starts");
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0;
    while child.try_wait().expect("waited for").is_none() {
        let status = read_to_string(&status).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        most = most.max(kilobytes.unwrap_or(0) * 1024);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let message = std::fs::read(place.path("message")).expect("a message");
    let Report::Evaluation(report) = serde_json::from_slice(&message).expect("a report") else {
        panic!("{}", String::from_utf8_lossy(&message))
    };
    let rows = (batches * BATCH) as u64;
    assert_eq!(
        (report.verdict, report.rows),
        (Verdict::Pass, rows),
        "{}",
        report.message
    );
    most
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_of_an_evaluation_does_not_grow_with_its_rows() {
    let place = Place::new();
    let inputs = json!([{"name": "one", "type": "Number"}, {"name": "score", "type": "Number"}]);
    let signature = json!({"inputs": inputs, "output": {"classes": ["0", "1"]}});
    place.file("signature.json", signature.to_string());
    let few = held(&place, 5).await;
    let many = held(&place, 25).await;
    let (few, many) = (few >> 20, many >> 20);
    println!("{few} MiB for 40,000 rows, {many} MiB for 200,000");
    // The columns of the other 160,000 rows alone are 77 MiB.
    assert!(many < few + 24, "{few} MiB and {many} MiB");
}
