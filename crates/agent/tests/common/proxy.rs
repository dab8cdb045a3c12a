//! A proxy in front of a small model server, over loopback.

use std::convert::Infallible;
use std::io::BufRead;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tokio::net::TcpListener;
use windlass_api::agent::Observations;

use super::{Place, names};

pub const INFER: &str = "/v2/models/flights/infer";

/// A model server that says the sum of each row. `x-sleep`: milliseconds to wait; `x-status`: the status to say.
async fn answer(
    request: Request<Incoming>,
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
                .map(|row| row.iter().sum())
                .collect();
            serde_json::json!({"model_name": "flights", "outputs": [{"name": "p", "shape": [rows], "datatype": "FP64", "data": sums}]}).to_string()
        }
        _ => format!("{{\"path\": \"{path}\", \"bytes\": {}}}", body.len()),
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

pub async fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service_fn(answer)),
            );
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
