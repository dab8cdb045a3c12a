//! Ids, traces and metrics.

use serde_json::Value;

use crate::common::Place;
use crate::common::proxy::{INFER, Proxy, upstream};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// What the server got.
async fn got(answer: reqwest::Response) -> Value {
    let body = answer.bytes().await.expect("a body");
    serde_json::from_slice::<Value>(&body).expect("JSON")["headers"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_keeps_its_id_and_its_trace_and_gets_them_where_it_has_none() {
    let place = Place::new();
    let proxy = Proxy::start(&place, upstream().await, &[]);
    let sent = proxy
        .client
        .post(proxy.at(INFER))
        .header("x-request-id", "order-7")
        .header("traceparent", PARENT)
        .header("tracestate", "vendor=1");
    let answer = sent.body("{}").send().await.expect("an answer");
    assert_eq!(answer.headers()["x-request-id"], "order-7");
    let headers = got(answer).await;
    assert_eq!(headers["x-request-id"], "order-7");
    assert_eq!(headers["traceparent"], PARENT);
    assert_eq!(headers["tracestate"], "vendor=1");

    let answer = proxy.infer("{}").await;
    let id = answer.headers()["x-request-id"]
        .to_str()
        .expect("a text")
        .to_owned();
    assert_eq!(id.len(), 36, "a UUID: {id}");
    let headers = got(answer).await;
    assert_eq!(headers["x-request-id"], id.as_str());
    let parent = headers["traceparent"].as_str().expect("a trace");
    assert_eq!(parent.len(), PARENT.len(), "{parent}");
    assert!(
        parent.starts_with("00-") && parent.ends_with("-00"),
        "{parent}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_have_the_trace_of_an_example_for_who_asks_for_open_metrics() {
    let place = Place::new();
    let proxy = Proxy::start(&place, upstream().await, &[]);
    let sent = proxy
        .client
        .post(proxy.at(INFER))
        .header("traceparent", PARENT);
    sent.body("{}")
        .send()
        .await
        .expect("an answer")
        .bytes()
        .await
        .expect("a body");
    proxy
        .observe(|observations| observations.requests == 1)
        .await;
    let metrics = async |accept: &str| {
        let asked = proxy
            .client
            .get(format!("http://{}/metrics", proxy.metrics));
        let answer = asked
            .header("accept", accept)
            .send()
            .await
            .expect("an answer");
        let kind = answer.headers()["content-type"]
            .to_str()
            .expect("a text")
            .to_owned();
        (kind, answer.text().await.expect("a body"))
    };
    let (kind, text) =
        metrics("application/openmetrics-text; version=1.0.0,text/plain;q=0.5").await;
    assert!(
        kind.starts_with("application/openmetrics-text; version=1.0.0"),
        "{kind}"
    );
    assert!(
        text.contains("# {trace_id=\"0af7651916cd43dd8448eb211c80319c\"}"),
        "{text}"
    );
    assert!(text.ends_with("# EOF\n"));
    let (kind, text) = metrics("*/*").await;
    assert!(kind.starts_with("text/plain"), "{kind}");
    assert!(
        text.contains("windlass_proxy_request_duration_seconds_bucket{le=\"10\"} 1"),
        "{text}"
    );
    assert!(!text.contains("trace_id"));
}
