//! Logs of the other protocols.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int64Type};

use crate::common::proxy::{Proxy, logged, upstream};
use crate::common::{Place, proxy::INFER};

fn text<'a>(batch: &'a RecordBatch, name: &str) -> Option<&'a str> {
    let column = batch[name].as_string::<i32>();
    column.is_valid(0).then(|| column.value(0))
}

fn integer(batch: &RecordBatch, name: &str) -> Option<i64> {
    batch[name]
        .as_primitive::<Int64Type>()
        .iter()
        .next()
        .flatten()
}

async fn post(proxy: &Proxy, path: &str, body: &'static str) {
    let sent = proxy
        .client
        .post(proxy.at(path))
        .header("x-request-id", "order-7")
        .body(body);
    sent.send()
        .await
        .expect("an answer")
        .bytes()
        .await
        .expect("a body");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_of_v1_are_rows_and_a_redacted_column_is_null() {
    let place = Place::new();
    let arguments = [
        "--log-uri",
        "pvc://logs/x",
        "--protocol",
        "V1",
        "--redact",
        "f0",
    ];
    let proxy = Proxy::start(&place, upstream().await, &arguments);
    post(
        &proxy,
        "/v1/models/flights:predict",
        r#"{"instances": [[1, 2], [3, 4.5]]}"#,
    )
    .await;
    proxy
        .observe(|observations| observations.rows_logged == 2)
        .await;
    let batches = logged(&place.path("volumes/logs/x/flights-3"));
    let numbers = |name: &str| {
        batches[0][name]
            .as_primitive::<Float64Type>()
            .iter()
            .collect::<Vec<_>>()
    };
    assert_eq!(numbers("f0"), [None, None]);
    assert_eq!(numbers("f1"), [Some(2.0), Some(4.5)]);
    assert_eq!(numbers("prediction"), [Some(3.0), Some(7.5)]);
    let ids: Vec<_> = batches[0]["request_id"]
        .as_string::<i32>()
        .iter()
        .flatten()
        .collect();
    assert_eq!(ids, ["order-7#0", "order-7#1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_streamed_chat_is_one_row_with_its_text_and_its_tokens() {
    let place = Place::new();
    let signature = place.file(
        "signature.json",
        r#"{"inputs": [{"name": "question", "type": "Text"}]}"#,
    );
    let signature = signature.to_string_lossy();
    let arguments = [
        "--log-uri",
        "pvc://logs/x",
        "--protocol",
        "OpenAI",
        "--signature",
        &signature,
    ];
    let proxy = Proxy::start(&place, upstream().await, &arguments);
    let asked =
        r#"{"model": "m", "stream": true, "messages": [{"role": "user", "content": "Count."}]}"#;
    post(&proxy, "/v1/chat/completions", asked).await;
    proxy
        .observe(|observations| observations.rows_logged == 1)
        .await;
    let batches = logged(&place.path("volumes/logs/x/flights-3"));
    let batch = &batches[0];
    assert_eq!(text(batch, "question"), Some("Count."));
    assert_eq!(text(batch, "prediction"), Some("0 1 2 "));
    assert_eq!(text(batch, "requested_model"), Some("m"));
    assert_eq!(text(batch, "finish_reason"), Some("stop"));
    assert!(text(batch, "messages").expect("there").contains("Count."));
    assert_eq!(
        (
            integer(batch, "prompt_tokens"),
            integer(batch, "completion_tokens")
        ),
        (Some(5), Some(3))
    );
    let first = batch["first_token_ms"]
        .as_primitive::<Float64Type>()
        .value(0);
    let all = batch["latency_ms"].as_primitive::<Float64Type>().value(0);
    assert!(first > 100.0 && first + 200.0 < all, "{first} of {all} ms");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_raw_requests_only_sizes_and_statuses_are_logged() {
    let place = Place::new();
    let proxy = Proxy::start(
        &place,
        upstream().await,
        &["--log-uri", "pvc://logs/x", "--protocol", "Raw"],
    );
    post(&proxy, "/anything", "12345").await;
    proxy
        .observe(|observations| observations.rows_logged == 1)
        .await;
    let batches = logged(&place.path("volumes/logs/x/flights-3"));
    assert_eq!(text(&batches[0], "request_id"), Some("order-7"));
    assert_eq!(
        (
            integer(&batches[0], "request_bytes"),
            integer(&batches[0], "status")
        ),
        (Some(5), Some(200))
    );
    assert!(integer(&batches[0], "response_bytes").expect("a size") > 20);
    assert!(batches[0].column_by_name("prediction").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tensors_after_the_json_are_logged() {
    let place = Place::new();
    let proxy = Proxy::start(&place, upstream().await, &["--log-uri", "pvc://logs/x"]);
    let json = r#"{"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP64", "parameters": {"binary_data_size": 16}}]}"#;
    let body = [
        json.as_bytes(),
        &[0.5_f64, 2.0].map(f64::to_le_bytes).concat(),
    ]
    .concat();
    let sent = proxy
        .client
        .post(proxy.at(INFER))
        .header("inference-header-content-length", json.len());
    sent.body(body)
        .send()
        .await
        .expect("an answer")
        .bytes()
        .await
        .expect("a body");
    let observations = proxy
        .observe(|observations| observations.rows_logged == 1)
        .await;
    assert_eq!(observations.rows_dropped, 0);
    let batches = logged(&place.path("volumes/logs/x/flights-3"));
    let number = |name: &str| batches[0][name].as_primitive::<Float64Type>().value(0);
    assert_eq!((number("f0"), number("f1")), (0.5, 2.0));
}

#[test]
fn what_rows_are_found_by_cannot_be_redacted() {
    let place = Place::new();
    let mut command = place.command(&[
        "proxy",
        "--model",
        "m",
        "--version",
        "m-1",
        "--redact",
        "timestamp",
    ]);
    let output = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("--redact timestamp"),
        "{said}"
    );
}
