//! A proxy in front of a small model server, over loopback.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::BufRead;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tokio::net::TcpListener;
use windlass_api::agent::Observations;

use super::{Place, names};

pub const INFER: &str = "/v2/models/flights/infer";

/// A model server that says the sum of each row, and `more`. `x-sleep`: milliseconds to wait; `x-status`: the status to
/// say; `x-grpc-status`: the one to say in the trailers.
async fn answer(
    request: Request<Incoming>,
    more: f64,
) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
    let header = |name: &str| {
        request
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok()?.parse::<u64>().ok())
    };
    let (sleep, status) = (
        header("x-sleep").unwrap_or(0),
        header("x-status").unwrap_or(200),
    );
    let path = request.uri().to_string();
    // A server that compresses, where it is asked to.
    let compresses = request.headers().contains_key("accept-encoding");
    tokio::time::sleep(Duration::from_millis(sleep)).await;
    if path == "/stream" {
        let parts = futures::stream::unfold(0, |count| async move {
            if count == 3 {
                return None;
            }
            if count > 0 {
                tokio::time::sleep(Duration::from_millis(400)).await;
            }
            Some((
                Ok(Frame::data(Bytes::from(format!("part {count};")))),
                count + 1,
            ))
        });
        return Ok(Response::new(BodyExt::boxed(StreamBody::new(parts))));
    }
    if request.version() == Version::HTTP_2 {
        return Ok(over_http2(request).await);
    }
    if path == "/v1/chat/completions" {
        return Ok(chat());
    }
    let headers: BTreeMap<String, String> = request
        .headers()
        .iter()
        .map(|(name, value)| {
            (
                name.to_string(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            )
        })
        .collect();
    let headers = serde_json::json!(headers);
    let body = request
        .into_body()
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes)
        .unwrap_or_default();
    let said = match serde_json::from_slice::<serde_json::Value>(&body) {
        Ok(value) if status == 200 && value["inputs"].is_array() => {
            let tensor = &value["inputs"][0];
            let rows = usize::try_from(tensor["shape"][0].as_u64().unwrap_or(1)).unwrap_or(1);
            let data: Vec<f64> = tensor["data"]
                .as_array()
                .map(|data| {
                    data.iter()
                        .map(|value| value.as_f64().unwrap_or(0.0))
                        .collect()
                })
                .unwrap_or_default();
            let sums: Vec<f64> = data
                .chunks(data.len() / rows)
                .map(|row| row.iter().sum::<f64>() + more)
                .collect();
            serde_json::json!({"model_name": "flights", "outputs": [{"name": "p", "shape": [rows], "datatype": "FP64", "data": sums}]}).to_string()
        }
        Ok(value) if status == 200 && value["instances"].is_array() => {
            let instances = value["instances"].as_array().into_iter().flatten();
            let sums: Vec<f64> = instances
                .map(|row| {
                    row.as_array()
                        .into_iter()
                        .flatten()
                        .filter_map(serde_json::Value::as_f64)
                        .sum()
                })
                .collect();
            serde_json::json!({ "predictions": sums }).to_string()
        }
        _ => format!(
            "{{\"path\": \"{path}\", \"bytes\": {}, \"headers\": {headers}}}",
            body.len()
        ),
    };
    let said = if compresses {
        Bytes::from_static(b"\x1f\x8b as gzip writes it")
    } else {
        Bytes::from(said)
    };
    let mut response = Response::new(BodyExt::boxed(Full::from(said)));
    *response.status_mut() =
        StatusCode::from_u16(u16::try_from(status).expect("a status")).expect("a status");
    Ok(response)
}

/// The same bytes back, its headers as they came, and a status in the trailers.
async fn over_http2(request: Request<Incoming>) -> Response<BoxBody<Bytes, Infallible>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    let status = head.headers.get("x-grpc-status").cloned();
    let mut trailers = HeaderMap::new();
    trailers.insert(
        "grpc-status",
        status.unwrap_or(HeaderValue::from_static("0")),
    );
    trailers.insert("x-after", HeaderValue::from_static("all"));
    let frames = [Ok(Frame::data(body)), Ok(Frame::trailers(trailers))];
    let body = StreamBody::new(futures::stream::iter(frames));
    let mut response = Response::new(BodyExt::boxed(body));
    let headers = response.headers_mut();
    headers.insert("content-type", HeaderValue::from_static("application/grpc"));
    for name in ["te", "grpc-timeout", "x-request-id", "traceparent"] {
        if let Some(value) = head.headers.get(name) {
            let name = HeaderName::try_from(format!("x-got-{name}")).expect("a name");
            headers.insert(name, value.clone());
        }
    }
    response
}

/// Three tokens, a tenth of a second apart, after as long.
fn chat() -> Response<BoxBody<Bytes, Infallible>> {
    let parts = futures::stream::unfold(0, |count| async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let event = match count {
            0..3 => format!("{{\"choices\": [{{\"index\": 0, \"delta\": {{\"content\": \"{count} \"}}}}]}}"),
            3 => "{\"choices\": [{\"index\": 0, \"delta\": {}, \"finish_reason\": \"stop\"}], \"usage\": {\"prompt_tokens\": 5, \"completion_tokens\": 3}}".to_owned(),
            4 => "[DONE]".to_owned(),
            _ => return None,
        };
        Some((
            Ok(Frame::data(Bytes::from(format!("data: {event}\n\n")))),
            count + 1,
        ))
    });
    let mut response = Response::new(BodyExt::boxed(StreamBody::new(parts)));
    let kind = HeaderValue::from_static("text/event-stream; charset=utf-8");
    response.headers_mut().insert("content-type", kind);
    response
}

pub async fn upstream() -> SocketAddr {
    upstream_that_adds(0.0).await
}

/// A server whose answers are so much larger.
pub async fn upstream_that_adds(more: f64) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    upstream_at(listener, more)
}

pub fn upstream_at(listener: TcpListener, more: f64) -> SocketAddr {
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let service = service_fn(move |request| answer(request, more));
                let builder = auto::Builder::new(TokioExecutor::new());
                let connection = builder.serve_connection(TokioIo::new(stream), service);
                let _ = connection.await;
            });
        }
    });
    address
}

pub struct Proxy {
    pub child: Child,
    pub listen: String,
    pub metrics: String,
    pub client: reqwest::Client,
}

impl Proxy {
    pub fn start(place: &Place, upstream: SocketAddr, arguments: &[&str]) -> Self {
        Self::start_with(place, upstream, arguments, &[])
    }

    pub fn start_with(
        place: &Place,
        upstream: SocketAddr,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        let mut child = place
            .command(&[
                "proxy",
                "--listen",
                "127.0.0.1:0",
                "--metrics-listen",
                "127.0.0.1:0",
                "--model",
                "flights",
                "--version",
                "flights-3",
            ])
            .args(["--upstream", &format!("http://{upstream}")])
            .args(if arguments.contains(&"--drain") {
                &[][..]
            } else {
                &["--drain", "1s"]
            })
            .args(if arguments.contains(&"--flush-every") {
                &[][..]
            } else {
                &["--flush-every", "100ms"]
            })
            .args(if arguments.contains(&"--spool") {
                Vec::new()
            } else {
                vec![
                    "--spool".to_owned(),
                    place.path("spool").to_string_lossy().into_owned(),
                ]
            })
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
                line.split_whitespace()
                    .find_map(|word| word.strip_prefix(name))
                    .map(|value| value.trim_matches('"').to_owned())
            };
            if let (Some(one), Some(other)) = (value("listen="), value("metrics=")) {
                (listen, metrics) = (one, other);
                break;
            }
        }
        std::thread::spawn(move || {
            lines
                .map_while(Result::ok)
                .for_each(|line| println!("proxy: {line}"));
        });
        assert!(!listen.is_empty(), "the proxy does not serve");
        Self {
            child,
            listen,
            metrics,
            client: reqwest::Client::new(),
        }
    }

    pub fn at(&self, path: &str) -> String {
        format!("http://{}{path}", self.listen)
    }

    pub async fn infer(&self, body: impl Into<reqwest::Body>) -> reqwest::Response {
        self.client
            .post(self.at(INFER))
            .body(body)
            .send()
            .await
            .expect("an answer")
    }

    pub async fn observations(&self) -> Observations {
        let text = self
            .client
            .get(format!("http://{}/observations", self.metrics))
            .send()
            .await
            .expect("an answer");
        serde_json::from_slice(&text.bytes().await.expect("a body")).expect("observations")
    }

    pub async fn observe(&self, condition: impl Fn(&Observations) -> bool) -> Observations {
        let started = Instant::now();
        loop {
            let observations = self.observations().await;
            if condition(&observations) {
                return observations;
            }
            assert!(
                started.elapsed() < Duration::from_secs(20),
                "it did not come: {observations:?}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits for a line of its metrics.
    pub async fn measure(&self, line: &str) {
        let started = Instant::now();
        loop {
            let metrics = format!("http://{}/metrics", self.metrics);
            let answer = self.client.get(metrics).send().await.expect("an answer");
            let text = answer.text().await.expect("a body");
            if text.lines().any(|there| there == line) {
                return;
            }
            assert!(
                started.elapsed() < Duration::from_secs(20),
                "{line} did not come: {text}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn terminate(&self) {
        let id = rustix::process::Pid::from_raw(i32::try_from(self.child.id()).expect("an id"))
            .expect("an id");
        rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("told");
    }

    pub async fn end(&mut self) {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it can be asked") {
                assert!(status.success(), "{status}");
                return;
            }
            assert!(
                started.elapsed() < Duration::from_secs(20),
                "it does not end"
            );
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

pub fn request(id: &str, rows: &[[f64; 2]]) -> String {
    let id = if id.is_empty() {
        String::new()
    } else {
        format!("\"id\": \"{id}\", ")
    };
    let data: Vec<f64> = rows.iter().flatten().copied().collect();
    format!(
        "{{{id}\"inputs\": [{{\"name\": \"predict\", \"shape\": [{}, 2], \"datatype\": \"FP64\", \"data\": {data:?}}}]}}",
        rows.len()
    )
}

pub fn logged(folder: &Path) -> Vec<RecordBatch> {
    let mut batches = Vec::new();
    for name in names(folder) {
        assert!(
            !name.split('/').any(|part| part.starts_with('.')),
            "{name} was left"
        );
        let file = std::fs::File::open(folder.join(name)).expect("opened");
        let reader = ParquetRecordBatchReaderBuilder::try_new(file)
            .expect("a Parquet file")
            .build()
            .expect("a reader");
        batches.extend(reader.map(|batch| batch.expect("a batch")));
    }
    batches
}
