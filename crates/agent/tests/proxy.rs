//! `windlass-agent proxy` in front of a small model server, over loopback.

mod common;

use std::convert::Infallible;
use std::io::BufRead;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, TimestampMicrosecondType};
use bytes::Bytes;
use common::{Place, names};
use futures::StreamExt;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tokio::net::TcpListener;
use windlass_api::agent::Observations;

const INFER: &str = "/v2/models/flights/infer";

/// A model server that says the sum of each row. `x-sleep`: milliseconds to wait; `x-status`: the status to say.
async fn answer(request: Request<Incoming>) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let (sleep, status) = (header("x-sleep").unwrap_or(0), header("x-status").unwrap_or(200));
    let path = request.uri().to_string();
    tokio::time::sleep(Duration::from_millis(sleep)).await;
    if path == "/stream" {
        let parts = futures::stream::unfold(0, |count| async move {
            if count == 3 {
                return None;
            }
            if count > 0 {
                tokio::time::sleep(Duration::from_millis(400)).await;
            }
            Some((Ok(Frame::data(Bytes::from(format!("part {count};")))), count + 1))
        });
        return Ok(Response::new(BodyExt::boxed(StreamBody::new(parts))));
    }
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let said = match serde_json::from_slice::<serde_json::Value>(&body) {
        Ok(value) if status == 200 && value["inputs"].is_array() => {
            let tensor = &value["inputs"][0];
            let rows = usize::try_from(tensor["shape"][0].as_u64().unwrap_or(1)).unwrap_or(1);
            let data: Vec<f64> =
                tensor["data"].as_array().map(|data| data.iter().map(|value| value.as_f64().unwrap_or(0.0)).collect()).unwrap_or_default();
            let sums: Vec<f64> = data.chunks(data.len() / rows).map(|row| row.iter().sum()).collect();
            serde_json::json!({"model_name": "flights", "outputs": [{"name": "p", "shape": [rows], "datatype": "FP64", "data": sums}]}).to_string()
        }
        _ => format!("{{\"path\": \"{path}\", \"bytes\": {}}}", body.len()),
    };
    let mut response = Response::new(BodyExt::boxed(Full::from(said)));
    *response.status_mut() = StatusCode::from_u16(u16::try_from(status).expect("a status")).expect("a status");
    Ok(response)
}

async fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)));
        }
    });
    address
}

struct Proxy {
    child: Child,
    listen: String,
    metrics: String,
    client: reqwest::Client,
}

impl Proxy {
    fn start(place: &Place, upstream: SocketAddr, arguments: &[&str]) -> Self {
        Self::start_with(place, upstream, arguments, &[])
    }

    fn start_with(place: &Place, upstream: SocketAddr, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut child = place
            .command(&["proxy", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", "--model", "flights", "--version", "flights-3"])
            .args(["--upstream", &format!("http://{upstream}")])
            .args(if arguments.contains(&"--drain") { &[][..] } else { &["--drain", "1s"] })
            .args(if arguments.contains(&"--flush-every") { &[][..] } else { &["--flush-every", "100ms"] })
            .args(arguments)
            .env("HOSTNAME", "pod-a")
            .env("NO_COLOR", "1")
            .envs(variables.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut lines = std::io::BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let (mut listen, mut metrics) = (String::new(), String::new());
        for line in lines.by_ref() {
            let line = line.expect("a line");
            let value = |name: &str| {
                line.split_whitespace().find_map(|word| word.strip_prefix(name)).map(|value| value.trim_matches('"').to_owned())
            };
            if let (Some(one), Some(other)) = (value("listen="), value("metrics=")) {
                (listen, metrics) = (one, other);
                break;
            }
        }
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| println!("proxy: {line}")));
        assert!(!listen.is_empty(), "the proxy does not serve");
        Self { child, listen, metrics, client: reqwest::Client::new() }
    }

    fn at(&self, path: &str) -> String {
        format!("http://{}{path}", self.listen)
    }

    async fn infer(&self, body: impl Into<reqwest::Body>) -> reqwest::Response {
        self.client.post(self.at(INFER)).body(body).send().await.expect("an answer")
    }

    async fn observations(&self) -> Observations {
        let text = self.client.get(format!("http://{}/observations", self.metrics)).send().await.expect("an answer");
        serde_json::from_slice(&text.bytes().await.expect("a body")).expect("observations")
    }

    async fn observe(&self, condition: impl Fn(&Observations) -> bool) -> Observations {
        let started = Instant::now();
        loop {
            let observations = self.observations().await;
            if condition(&observations) {
                return observations;
            }
            assert!(started.elapsed() < Duration::from_secs(20), "it did not come: {observations:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn terminate(&self) {
        let id = rustix::process::Pid::from_raw(i32::try_from(self.child.id()).expect("an id")).expect("an id");
        rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("told");
    }

    async fn end(&mut self) {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it can be asked") {
                assert!(status.success(), "{status}");
                return;
            }
            assert!(started.elapsed() < Duration::from_secs(20), "it does not end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn request(id: &str, rows: &[[f64; 2]]) -> String {
    let id = if id.is_empty() { String::new() } else { format!("\"id\": \"{id}\", ") };
    let data: Vec<f64> = rows.iter().flatten().copied().collect();
    format!("{{{id}\"inputs\": [{{\"name\": \"predict\", \"shape\": [{}, 2], \"datatype\": \"FP64\", \"data\": {data:?}}}]}}", rows.len())
}

fn logged(folder: &Path) -> Vec<RecordBatch> {
    let mut batches = Vec::new();
    for name in names(folder) {
        assert!(!name.split('/').any(|part| part.starts_with('.')), "{name} was left");
        let file = std::fs::File::open(folder.join(name)).expect("opened");
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("a Parquet file").build().expect("a reader");
        batches.extend(reader.map(|batch| batch.expect("a batch")));
    }
    batches
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payloads_are_logged_under_the_names_of_the_signature() {
    let place = Place::new();
    let signature = place.file(
        "signature.json",
        r#"{"inputs": [{"name": "origin", "type": "Category", "categories": ["JFK", "LGA"]}, {"name": "distance", "type": "Number"}]}"#,
    );
    let mut proxy = Proxy::start(&place, upstream().await, &["--log-uri", "pvc://logs/flights", "--signature", &signature.to_string_lossy()]);
    let answer: serde_json::Value =
        serde_json::from_slice(&proxy.infer(request("one", &[[1.0, 0.5]])).await.bytes().await.expect("a body")).expect("JSON");
    assert_eq!(answer["outputs"][0]["data"], serde_json::json!([1.5]));
    proxy.infer(request("two", &[[0.0, 10.0], [-1.0, 20.0]])).await;
    let failed = proxy.client.post(proxy.at(INFER)).header("x-status", "500").body(request("", &[[1.0, 7.0]]));
    assert_eq!(failed.send().await.expect("an answer").status(), 500);
    let observations = proxy.observe(|observations| observations.rows_logged == 4).await;
    assert_eq!((observations.requests, observations.errors, observations.rows_dropped), (3, 1, 0));
    assert_eq!(observations.version, "flights-3");

    let folder = place.path("volumes/logs/flights/flights-3");
    let batches = logged(&folder);
    let schema = batches[0].schema();
    let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(columns, ["request_id", "timestamp", "model", "version", "origin", "distance", "prediction"]);
    let mut rows = Vec::new();
    let mut times = Vec::new();
    for batch in &batches {
        let text = |name: &str, row: usize| {
            let column = batch.column_by_name(name).expect("a column").as_string::<i32>();
            column.is_valid(row).then(|| column.value(row).to_owned())
        };
        let number = |name: &str, row: usize| {
            let column = batch.column_by_name(name).expect("a column").as_primitive::<Float64Type>();
            column.is_valid(row).then(|| column.value(row))
        };
        for row in 0..batch.num_rows() {
            assert_eq!((text("model", row).as_deref(), text("version", row).as_deref()), (Some("flights"), Some("flights-3")));
            times.push(batch["timestamp"].as_primitive::<TimestampMicrosecondType>().value(row) / 1000);
            rows.push((text("request_id", row).expect("an id"), text("origin", row), number("distance", row), number("prediction", row)));
        }
    }
    let jfk = |text: &str| Some(text.to_owned());
    assert_eq!(rows[..3], [
        ("one".to_owned(), jfk("LGA"), Some(0.5), Some(1.5)),
        ("two#0".to_owned(), jfk("JFK"), Some(10.0), Some(10.0)),
        ("two#1".to_owned(), None, Some(20.0), Some(19.0)),
    ]);
    assert_eq!((rows[3].1.clone(), rows[3].2, rows[3].3), (jfk("LGA"), Some(7.0), None));
    assert_eq!(rows[3].0.len(), 36, "a UUID: {}", rows[3].0);
    let files = names(&folder);
    let first = format!("{}-", times.iter().min().expect("a time"));
    assert!(files[0].starts_with(&first) && files[0].ends_with("-pod-a.parquet"), "{files:?} {first}");
    proxy.terminate();
    proxy.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_signature_columns_are_numbered_and_what_is_no_request_is_counted() {
    let place = Place::new();
    let missing = place.path("no-signature.json");
    let mut proxy = Proxy::start(&place, upstream().await, &["--log-uri", &place.path("log").to_string_lossy(), "--signature", &missing.to_string_lossy()]);
    proxy.infer(request("a", &[[1.0, 2.0]])).await;
    proxy.infer(r#"{"id": "b", "inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP64", "data": [1, 2, 3]}]}"#).await;
    proxy.infer("this is no JSON").await;
    proxy.observe(|observations| observations.rows_dropped == 1).await;
    // The rest is written at the end.
    proxy.terminate();
    proxy.end().await;
    let widths: Vec<Vec<String>> = logged(&place.path("log/flights-3"))
        .iter()
        .map(|batch| batch.schema().fields().iter().map(|field| field.name().clone()).filter(|name| name.starts_with('f')).collect())
        .collect();
    assert_eq!(widths, [vec!["f0", "f1"], vec!["f0", "f1", "f2"]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_stream_through_and_everything_else_is_as_it_was() {
    let place = Place::new();
    let proxy = Proxy::start(&place, upstream().await, &[]);
    let started = Instant::now();
    let mut parts = proxy.client.post(proxy.at("/stream")).send().await.expect("an answer").bytes_stream();
    let first = parts.next().await.expect("a part").expect("a part");
    assert_eq!(first, "part 0;");
    assert!(started.elapsed() < Duration::from_millis(350), "the first part waited for the rest: {:?}", started.elapsed());
    let rest: Vec<Bytes> = parts.map(|part| part.expect("a part")).collect().await;
    assert_eq!(rest.concat(), b"part 1;part 2;");

    // A body past what is kept for the log passes, too.
    let large = vec![b'x'; 20 << 20];
    let answer = proxy.infer(large).await.text().await.expect("a body");
    assert!(answer.contains(&format!("\"bytes\": {}", 20 << 20)), "{answer}");
    let answer = proxy.client.get(proxy.at("/v2/health/ready?x=%20y")).send().await.expect("an answer");
    assert!(answer.text().await.expect("a body").contains("/v2/health/ready?x=%20y"));
    // Probes are not requests to the model.
    assert_eq!(proxy.observe(|observations| observations.requests == 2).await.errors, 0);
    let text = proxy.client.get(format!("http://{}/metrics", proxy.metrics)).send().await.expect("an answer");
    assert!(text.text().await.expect("a body").contains("windlass_proxy_requests_total{code_class=\"2xx\"} 2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_too_large_for_the_log_is_counted_by_its_shape() {
    let place = Place::new();
    let proxy = Proxy::start(&place, upstream().await, &["--log-uri", "pvc://logs/x"]);
    let rows = vec![[0.123_456_789_f64, 0.987_654_321]; 900_000];
    let body = request("big", &rows);
    assert!(body.len() > 17 << 20);
    assert_eq!(proxy.infer(body).await.status(), 200);
    proxy.observe(|observations| observations.rows_dropped == 900_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_not_there_is_a_502_that_says_so() {
    let place = Place::new();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let proxy = Proxy::start(&place, nobody, &["--log-uri", "pvc://logs/x"]);
    let answer = proxy.infer(request("", &[[1.0, 2.0]])).await;
    assert_eq!(answer.status(), 502);
    let body: serde_json::Value = serde_json::from_slice(&answer.bytes().await.expect("a body")).expect("JSON");
    assert!(body["error"].as_str().expect("a text").contains(&nobody.to_string()), "{body}");
    let observations = proxy.observe(|observations| observations.requests == 1).await;
    assert_eq!(observations.errors, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_gives_up_on_a_slow_server_is_an_error() {
    let place = Place::new();
    let proxy = Proxy::start(&place, upstream().await, &[]);
    let request = proxy.client.post(proxy.at(INFER)).header("x-sleep", "60000").timeout(Duration::from_millis(200));
    assert!(request.send().await.is_err());
    assert_eq!(proxy.observe(|observations| observations.requests == 1).await.errors, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_the_proxy_drains() {
    let place = Place::new();
    let mut proxy = Proxy::start(&place, upstream().await, &["--drain", "2s", "--log-uri", "pvc://logs/x", "--flush-every", "1h"]);
    let (good, address) = (Arc::new(AtomicU64::new(0)), proxy.at(INFER));
    let told = Instant::now();
    // Clients go on until the endpoint is withdrawn, which is before the drain is over.
    let clients: Vec<_> = (0..8)
        .map(|client| {
            let (good, address) = (Arc::clone(&good), address.clone());
            tokio::spawn(async move {
                // Half of them over connections that stay open.
                let connection = reqwest::Client::builder().pool_max_idle_per_host(client % 2 * 4).build().expect("a client");
                let mut count = 0;
                while told.elapsed() < Duration::from_millis(2000) {
                    let answer = connection.post(&address).body(request("", &[[1.0, 2.0]])).send().await.expect("an answer");
                    assert_eq!(answer.status(), 200);
                    answer.bytes().await.expect("a body");
                    good.fetch_add(1, SeqCst);
                    count += 1;
                    if count % 10 == 0 {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    // One that is in flight when the drain is over.
    let slow = proxy.client.post(&address).header("x-sleep", "3000").body(request("slow", &[[1.0, 2.0]])).send();
    let slow = tokio::spawn(slow);
    tokio::time::sleep(Duration::from_millis(100)).await;
    proxy.terminate();
    for client in clients {
        client.await.expect("no request failed");
    }
    let answer = slow.await.expect("it ran").expect("the request in flight was answered");
    assert_eq!(answer.status(), 200);
    assert!(answer.text().await.expect("a body").contains("3.0"));
    proxy.end().await;
    let rows: usize = logged(&place.path("volumes/logs/x/flights-3")).iter().map(RecordBatch::num_rows).sum();
    let good = usize::try_from(good.load(SeqCst)).expect("a count");
    println!("{good} requests while it drained");
    assert!(good > 50);
    assert_eq!(rows, good + 1, "every row is in the log");
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
        &["--log-uri", "s3://logs/x", "--flush-every", "10ms", "--finish", "2s"],
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
    let observations = proxy.observe(|observations| observations.requests == 1501).await;
    println!("slowest response {slowest:?}, {observations:?}");
    assert_eq!(observations.rows_logged, 0);
    proxy.terminate();
    proxy.end().await;
    assert!(observations.rows_dropped >= 2 * (1500 - 1024), "{observations:?}");
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
}
