//! The payload log of `windlass-agent proxy`.

#[path = "../common/mod.rs"]
mod common;
mod protocols;
mod spool;

use std::time::{Duration, Instant};

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float64Type, Int64Type, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use common::proxy::{INFER, Proxy, logged, request, upstream};
use common::{Place, names};

/// A logged row's `request_id`, `origin`, `distance` and `prediction`.
type Flight = (String, Option<String>, Option<f64>, Option<f64>);

/// The rows of a log of flights, each with its time in milliseconds; every one has the model and the version.
fn flights(batch: &RecordBatch) -> Vec<(i64, Flight)> {
    let text = |name: &str, row: usize| {
        let column = batch[name].as_string::<i32>();
        column.is_valid(row).then(|| column.value(row).to_owned())
    };
    let number = |name: &str, row: usize| {
        let column = batch[name].as_primitive::<Float64Type>();
        column.is_valid(row).then(|| column.value(row))
    };
    let time = batch["timestamp"].as_primitive::<TimestampMicrosecondType>();
    (0..batch.num_rows())
        .map(|row| {
            assert_eq!(
                (
                    text("model", row).as_deref(),
                    text("version", row).as_deref()
                ),
                (Some("flights"), Some("flights-3"))
            );
            let flight = (
                text("request_id", row).expect("an id"),
                text("origin", row),
                number("distance", row),
                number("prediction", row),
            );
            (time.value(row) / 1000, flight)
        })
        .collect()
}

/// Each row has the status of its answer, and how long that took.
fn assert_statuses(batches: &[RecordBatch], expected: &[i64]) {
    let status = batches
        .iter()
        .flat_map(|batch| batch["status"].as_primitive::<Int64Type>());
    assert_eq!(status.flatten().collect::<Vec<_>>(), expected);
    let latency = batches
        .iter()
        .flat_map(|batch| batch["latency_ms"].as_primitive::<Float64Type>());
    let latency: Vec<f64> = latency.flatten().collect();
    assert_eq!(latency.len(), expected.len());
    assert!(
        latency
            .iter()
            .all(|latency| (0.0..20_000.0).contains(latency))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payloads_are_logged_under_the_names_of_the_signature() {
    let place = Place::new();
    let signature = place.file(
        "signature.json",
        r#"{"inputs": [{"name": "origin", "type": "Category", "categories": ["JFK", "LGA"]}, {"name": "distance", "type": "Number"}]}"#,
    );
    let mut proxy = Proxy::start(
        &place,
        upstream().await,
        &[
            "--log-uri",
            "pvc://logs/flights",
            "--signature",
            &signature.to_string_lossy(),
        ],
    );
    let answer: serde_json::Value = serde_json::from_slice(
        &proxy
            .infer(request("one", &[[1.0, 0.5]]))
            .await
            .bytes()
            .await
            .expect("a body"),
    )
    .expect("JSON");
    assert_eq!(answer["outputs"][0]["data"], serde_json::json!([1.5]));
    proxy
        .infer(request("two", &[[0.0, 10.0], [-1.0, 20.0]]))
        .await;
    let failed = proxy
        .client
        .post(proxy.at(INFER))
        .header("x-status", "500")
        .body(request("", &[[1.0, 7.0]]));
    assert_eq!(failed.send().await.expect("an answer").status(), 500);
    let observations = proxy
        .observe(|observations| observations.rows_logged == 4)
        .await;
    assert_eq!(
        (
            observations.requests,
            observations.errors,
            observations.rows_dropped
        ),
        (3, 1, 0)
    );
    assert_eq!(observations.version, "flights-3");

    let folder = place.path("volumes/logs/flights/flights-3");
    let batches = logged(&folder);
    let schema = batches[0].schema();
    let columns: Vec<&str> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    assert_eq!(
        columns,
        [
            "request_id",
            "timestamp",
            "model",
            "version",
            "origin",
            "distance",
            "prediction",
            "status",
            "latency_ms"
        ]
    );
    let (times, rows): (Vec<i64>, Vec<Flight>) = batches.iter().flat_map(flights).unzip();
    let jfk = |text: &str| Some(text.to_owned());
    assert_eq!(
        rows[..3],
        [
            ("one".to_owned(), jfk("LGA"), Some(0.5), Some(1.5)),
            ("two#0".to_owned(), jfk("JFK"), Some(10.0), Some(10.0)),
            ("two#1".to_owned(), None, Some(20.0), Some(19.0)),
        ]
    );
    assert_eq!(
        (rows[3].1.clone(), rows[3].2, rows[3].3),
        (jfk("LGA"), Some(7.0), None)
    );
    assert_statuses(&batches, &[200, 200, 200, 500]);
    assert_eq!(rows[3].0.len(), 36, "a UUID: {}", rows[3].0);
    let files = names(&folder);
    let first = format!("{}-", times.iter().min().expect("a time"));
    assert!(
        files[0].starts_with(&first) && files[0].contains("-pod-a-"),
        "{files:?} {first}"
    );
    proxy.terminate();
    proxy.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn predictions_are_logged_also_for_a_client_that_would_take_compressed_answers() {
    let place = Place::new();
    let proxy = Proxy::start(
        &place,
        upstream().await,
        &["--log-uri", "pvc://logs/flights"],
    );
    let sent = proxy
        .client
        .post(proxy.at(INFER))
        .header("accept-encoding", "gzip, deflate")
        .body(request("one", &[[1.0, 0.5]]));
    let answer = sent.send().await.expect("an answer").bytes().await;
    let answer: serde_json::Value =
        serde_json::from_slice(&answer.expect("a body")).expect("JSON, not compressed");
    assert_eq!(answer["outputs"][0]["data"], serde_json::json!([1.5]));
    proxy
        .observe(|observations| observations.rows_logged == 1)
        .await;
    let batches = logged(&place.path("volumes/logs/flights/flights-3"));
    let predictions = batches[0]["prediction"].as_primitive::<Float64Type>();
    assert_eq!(predictions.iter().collect::<Vec<_>>(), [Some(1.5)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_signature_columns_are_numbered_and_what_is_no_request_is_counted() {
    let place = Place::new();
    let missing = place.path("no-signature.json");
    let mut proxy = Proxy::start(
        &place,
        upstream().await,
        &[
            "--log-uri",
            &place.path("log").to_string_lossy(),
            "--signature",
            &missing.to_string_lossy(),
        ],
    );
    proxy.infer(request("a", &[[1.0, 2.0]])).await;
    proxy.infer(r#"{"id": "b", "inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP64", "data": [1, 2, 3]}]}"#).await;
    proxy.infer("this is no JSON").await;
    proxy
        .observe(|observations| observations.rows_dropped == 1)
        .await;
    // The rest is written at the end.
    proxy.terminate();
    proxy.end().await;
    let widths: Vec<Vec<String>> = logged(&place.path("log/flights-3"))
        .iter()
        .map(|batch| {
            batch
                .schema()
                .fields()
                .iter()
                .map(|field| field.name().clone())
                .filter(|name| name.starts_with('f'))
                .collect()
        })
        .collect();
    assert_eq!(widths, [vec!["f0", "f1"], vec!["f0", "f1", "f2"]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_too_large_for_the_log_is_counted_by_its_shape() {
    let place = Place::new();
    let proxy = Proxy::start(&place, upstream().await, &["--log-uri", "pvc://logs/x"]);
    let rows = vec![[0.123_456_789_f64, 0.987_654_321]; 900_000];
    let body = request("big", &rows);
    assert!(body.len() > 17 << 20);
    assert_eq!(proxy.infer(body).await.status(), 200);
    proxy
        .observe(|observations| observations.rows_dropped == 900_000)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_hangs_never_holds_up_a_response() {
    let place = Place::new();
    // A store that takes connections and never answers.
    let store = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}", store.local_addr().expect("an address"));
    let mut proxy = Proxy::start_with(
        &place,
        upstream().await,
        &[
            "--log-uri",
            "s3://logs/x",
            "--flush-every",
            "10ms",
            "--finish",
            "2s",
            "--spool-limit",
            "64Ki",
        ],
        &[
            ("AWS_ENDPOINT_URL", &endpoint),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_ACCESS_KEY_ID", "a"),
            ("AWS_SECRET_ACCESS_KEY", "b"),
            ("AWS_REGION", "us-east-1"),
        ],
    );
    proxy.infer(request("", &[[1.0, 2.0]])).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut slowest = Duration::ZERO;
    for _ in 0..1500 {
        let started = Instant::now();
        let answer = proxy.infer(request("", &[[1.0, 2.0], [3.0, 4.0]])).await;
        assert_eq!(answer.status(), 200);
        answer.bytes().await.expect("a body");
        slowest = slowest.max(started.elapsed());
    }
    let observations = proxy
        .observe(|observations| observations.requests == 1501)
        .await;
    println!("slowest response {slowest:?}, {observations:?}");
    assert_eq!(observations.rows_logged, 0);
    proxy.terminate();
    proxy.end().await;
    // What is past the spool's limit is dropped, and nothing else.
    assert!(
        (100..3000).contains(&observations.rows_dropped),
        "{observations:?}"
    );
    let spooled = std::fs::read_dir(place.path("spool/flights-3"))
        .expect("there")
        .flatten()
        .flat_map(|owner| {
            names(&owner.path())
                .into_iter()
                .map(move |name| owner.path().join(name))
        });
    let bytes: u64 = spooled
        .map(|file| std::fs::metadata(file).expect("there").len())
        .sum();
    assert!((1..=64 << 10).contains(&bytes), "{bytes} bytes");
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_as_large_as_may_be_leaves_room_for_its_answer() {
    let place = Place::new();
    let arguments = [
        "--log-uri",
        "pvc://logs/x",
        "--protocol",
        "V1",
        "--body-limit",
        "6Mi",
    ];
    let proxy = Proxy::start(&place, upstream().await, &arguments);
    let rows = 10_000;
    let mut body = format!("{{\"instances\": [{}[1]]}}", "[1], ".repeat(rows - 1));
    body.extend(std::iter::repeat_n(' ', (6 << 20) - body.len()));
    let sent = proxy.client.post(proxy.at("/v1/models/flights:predict"));
    let answer = sent.body(body).send().await.expect("an answer");
    answer.bytes().await.expect("a body");
    let observations = proxy
        .observe(|observations| observations.rows_logged + observations.rows_dropped > 0)
        .await;
    let logged = observations.rows_logged;
    assert_eq!((logged, observations.rows_dropped), (rows as u64, 0));
}
