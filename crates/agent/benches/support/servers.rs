//! The servers and the proxies that are measured.

use std::convert::Infallible;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

/// A server that answers each request with its own body, in one thread: hyper's, which reads no body.
pub fn echo() -> SocketAddr {
    serve(service_fn(|request: Request<Incoming>| async {
        Ok::<_, Infallible>(Response::new(request.into_body()))
    }))
}

/// A server that reads each request of the Open Inference Protocol and answers with the sum of its numbers, in one thread:
/// the least that a model server does.
pub fn sums() -> SocketAddr {
    serve(service_fn(|request: Request<Incoming>| async {
        let body = request.into_body().collect().await.expect("a body");
        let asked: Value = serde_json::from_slice(&body.to_bytes()).expect("JSON");
        let data = asked["inputs"][0]["data"].as_array();
        let sum: f64 = data.into_iter().flatten().filter_map(Value::as_f64).sum();
        let output = json!({"name": "predict", "shape": [1], "datatype": "FP64", "data": [sum]});
        let answer = json!({"model_name": "m", "outputs": [output]}).to_string();
        let mut response = Response::new(Full::<Bytes>::from(answer));
        let kind = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        Ok::<_, Infallible>(response)
    }))
}

fn serve<S, B>(service: S) -> SocketAddr
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    listener.set_nonblocking(true).expect("set");
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).expect("no delays");
                let stream = TokioIo::new(stream);
                let connection = http1::Builder::new().serve_connection(stream, service.clone());
                tokio::spawn(connection);
            }
        });
    });
    address
}

/// Passes bytes on to a server and back and does not look at them, in one thread: what no proxy can be cheaper than.
pub fn forwarder(upstream: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    listener.set_nonblocking(true).expect("set");
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            while let Ok((mut client, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let server = tokio::net::TcpStream::connect(upstream).await;
                    let mut server = server.expect("a connection");
                    for stream in [&client, &server] {
                        stream.set_nodelay(true).expect("no delays");
                    }
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
    });
    address
}

/// A program that is ended when it is not needed any more.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `windlass-agent proxy`.
pub struct Agent {
    child: Ended,
    listen: SocketAddr,
    metrics: SocketAddr,
}

impl Agent {
    /// In front of a server; logs every payload, or none.
    pub fn start(folder: &Path, upstream: SocketAddr, logs: bool) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_windlass-agent"));
        command
            .args([
                "proxy",
                "--listen",
                "127.0.0.1:0",
                "--metrics-listen",
                "127.0.0.1:0",
            ])
            .args(["--model", "m", "--version", "m-1"])
            .args(["--upstream", &format!("http://{upstream}")]);
        if logs {
            command
                .arg("--log-uri")
                .arg(folder.join("log"))
                .arg("--spool")
                .arg(folder.join("spool"));
        }
        let mut child = command
            .env("NO_COLOR", "1")
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let (listen, metrics) = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| {
                let value = |name: &str| {
                    let mut words = line.split_whitespace();
                    let value = words.find_map(|word| word.strip_prefix(name))?;
                    value.trim_matches('"').parse().ok()
                };
                Some((value("listen=")?, value("metrics=")?))
            })
            .expect("the proxy serves");
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            child: Ended(child),
            listen,
            metrics,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.listen
    }

    /// Rows that were logged, those that wait in the spool among them after a while, and rows that were dropped.
    pub fn rows(&self) -> (f64, f64) {
        // As long as a file is filled.
        std::thread::sleep(Duration::from_secs(8));
        let mut stream = TcpStream::connect(self.metrics).expect("a connection");
        let asked = "GET /observations HTTP/1.1\r\nhost: agent\r\nconnection: close\r\n\r\n";
        stream.write_all(asked.as_bytes()).expect("it is sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it is read");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
        let body: Value = serde_json::from_str(body).expect("observations");
        let of = |name: &str| body[name].as_f64().expect("a number");
        (of("rowsLogged"), of("rowsDropped"))
    }

    /// What the kernel says of its memory under a name of `/proc/PID/status`, bytes; 0 where that is not told.
    pub fn memory(&self, kind: &str) -> u64 {
        let path = format!("/proc/{}/status", self.child.0.id());
        let status = fs::read_to_string(path).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(kind));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kilobytes.unwrap_or(0) * 1024
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// Waits until a program takes connections.
fn wait_for(address: SocketAddr, child: &mut Ended) -> Result<(), String> {
    let started = Instant::now();
    while started.elapsed() < Duration::from_mins(1) {
        if TcpStream::connect(address).is_ok() {
            return Ok(());
        }
        if let Ok(Some(status)) = child.0.try_wait() {
            return Err(format!("it ended: {status}"));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Err("it takes no connections within a minute".to_owned())
}

/// KServe's agent, as it stands in front of a model server.
pub struct KserveAgent {
    _child: Ended,
    address: SocketAddr,
}

impl KserveAgent {
    /// In front of a server; or why it cannot be had. It sends each request and each answer to a log, where one is named.
    pub fn start(upstream: SocketAddr, log: Option<SocketAddr>) -> Result<Self, String> {
        let program = kserve_agent()?;
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let probe = format!(
            "{{\"tcpSocket\":{{\"host\":\"127.0.0.1\",\"port\":{}}}}}",
            upstream.port()
        );
        let child = Command::new(program)
            .args(["--port", &address.port().to_string()])
            .args(["--component-port", &upstream.port().to_string()])
            .args(log.map(|log| format!("--log-url=http://{log}/")))
            .env("SERVING_READINESS_PROBE", probe)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|problem| problem.to_string())?;
        let mut child = Ended(child);
        wait_for(address, &mut child)?;
        Ok(Self {
            _child: child,
            address,
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Where the program lies, which the test cluster builds.
fn kserve_agent() -> Result<PathBuf, String> {
    let cluster =
        std::env::var_os("TESTCLUSTER").ok_or("TESTCLUSTER names no program that builds it")?;
    let output = Command::new(cluster)
        .args(["which", "kserve-agent"])
        .output()
        .map_err(|problem| format!("the test cluster's program does not start: {problem}"))?;
    let path = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    if output.status.success() && path.is_file() {
        return Ok(path);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!(
        "the test cluster has no kserve-agent: {}",
        said.lines().last().unwrap_or("it says nothing")
    ))
}

/// MLServer, with a model that says the sum of a row.
pub struct MlServer {
    _child: Ended,
    address: SocketAddr,
}

const MODEL: &str = r#"
from mlserver import MLModel
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput


class Sum(MLModel):
    async def load(self) -> bool:
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        data = list(payload.inputs[0].data)
        output = ResponseOutput(name="predict", shape=[1], datatype="FP64", data=[float(sum(data))])
        return InferenceResponse(model_name=self.name, outputs=[output])
"#;

impl MlServer {
    /// In the folder that `scripts/install-servers.sh mlserver` prints; or why it cannot be had.
    pub fn start(folder: &Path) -> Result<Self, String> {
        let place = std::env::var_os("MLSERVER").filter(|place| !place.is_empty());
        let place = place.ok_or("MLSERVER names no folder with bin/mlserver")?;
        let model = folder.join("mlserver");
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let settings = serde_json::json!({
            "host": "127.0.0.1", "http_port": address.port(), "grpc_port": free_port(),
            "metrics_port": free_port(), "parallel_workers": 0, "debug": false,
        });
        let named = serde_json::json!({"name": "m", "implementation": "model.Sum"});
        let write = || -> std::io::Result<Child> {
            fs::create_dir_all(&model)?;
            fs::write(model.join("model.py"), MODEL)?;
            fs::write(model.join("settings.json"), settings.to_string())?;
            fs::write(model.join("model-settings.json"), named.to_string())?;
            Command::new(Path::new(&place).join("bin/mlserver"))
                .args(["start", "."])
                .current_dir(&model)
                .env("PYTHONPATH", &model)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
        };
        let mut child = Ended(write().map_err(|problem| problem.to_string())?);
        wait_for(address, &mut child)?;
        // It takes connections before it has its model.
        std::thread::sleep(Duration::from_secs(5));
        Ok(Self {
            _child: child,
            address,
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
