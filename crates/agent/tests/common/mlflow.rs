//! A real MLflow server over SQLite, where `scripts/install-mlflow.sh` put it, and a proxy that cuts connections.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Place;

pub const USER: &str = "ann";
pub const PASSWORD: &str = "a long password of hers";

/// `mlflow server`, with its store and its log in the folder `mlflow` of a place.
pub struct Mlflow {
    child: Child,
    pub uri: String,
    runtime: tokio::runtime::Runtime,
}

impl Drop for Mlflow {
    fn drop(&mut self) {
        // What it started is in the group that it leads.
        let group = i32::try_from(self.child.id()).ok();
        if let Some(group) = group.and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

/// The address of a database of its.
fn store(place: &Place, name: &str) -> String {
    format!("sqlite:///{}", place.path("mlflow").join(name).display())
}

/// The program where the project's own script put it.
fn program() -> Option<PathBuf> {
    let cache = match std::env::var_os("XDG_CACHE_HOME") {
        Some(cache) if !cache.is_empty() => PathBuf::from(cache),
        _ => PathBuf::from(std::env::var_os("HOME")?).join(".cache"),
    };
    let mut places: Vec<PathBuf> = std::fs::read_dir(cache.join("windlass"))
        .ok()?
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("mlflow-"))
        .map(|entry| entry.path())
        .filter(|place| place.join("complete").is_file())
        .collect();
    places.sort();
    Some(places.pop()?.join("bin/mlflow"))
}

impl Mlflow {
    /// One that anyone may use.
    pub fn start(place: &Place) -> Option<Self> {
        Self::serve(place, &[])
    }

    /// One that [`USER`] may use, with [`PASSWORD`].
    pub fn with_users(place: &Place) -> Option<Self> {
        let users = format!(
            "[mlflow]\ndefault_permission = EDIT\ndatabase_uri = {}\nadmin_username = {USER}\nadmin_password = {PASSWORD}\n\
             authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n",
            store(place, "users.db")
        );
        let users = place.file("mlflow/users.ini", users);
        Self::serve(
            place,
            &[("MLFLOW_AUTH_CONFIG_PATH", &users.to_string_lossy())],
        )
    }

    fn serve(place: &Place, users: &[(&str, &str)]) -> Option<Self> {
        let Some(program) = program() else {
            println!(
                "skipped: there is no MLflow in the cache; scripts/install-mlflow.sh puts it there, or says why it cannot"
            );
            return None;
        };
        let log = place.file("mlflow/log", "");
        let log = std::fs::File::create(log).expect("a log");
        let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = address.expect("a port").port().to_string();
        let mut command = Command::new(program);
        command
            .args([
                "server",
                "--workers",
                "1",
                "--host",
                "127.0.0.1",
                "--port",
                &port,
            ])
            .args(["--backend-store-uri", &store(place, "store.db")])
            .arg("--default-artifact-root")
            .arg(place.path("mlflow/artifacts"));
        if !users.is_empty() {
            command.args(["--app-name", "basic-auth"]);
        }
        let child = command
            .envs(users.iter().copied())
            .env("MLFLOW_FLASK_SERVER_SECRET_KEY", "of no use elsewhere")
            .env("MLFLOW_DISABLE_TELEMETRY", "true")
            .env("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
            .current_dir(place.path("mlflow"))
            .process_group(0)
            .stdout(log.try_clone().expect("the log"))
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .expect("mlflow starts");
        let mlflow = Self {
            child,
            uri: format!("http://127.0.0.1:{port}"),
            runtime: tokio::runtime::Runtime::new().expect("a runtime"),
        };
        mlflow.wait(place);
        Some(mlflow)
    }

    fn wait(&self, place: &Place) {
        let started = Instant::now();
        let health = format!("{}/health", self.uri);
        let is_up = || {
            let answer = self.runtime.block_on(reqwest::get(&health));
            answer.is_ok_and(|answer| answer.status().is_success())
        };
        while !is_up() {
            assert!(
                started.elapsed() < Duration::from_secs(120),
                "MLflow does not serve: {}",
                place.read("mlflow/log")
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// MLflow's own answer to a question by `GET`.
    pub fn get(&self, path: &str, query: &[(&str, &str)]) -> Value {
        self.send(reqwest::Method::GET, path, query, &Value::Null)
    }

    /// MLflow's own answer to a request with a body.
    pub fn send(
        &self,
        method: reqwest::Method,
        path: &str,
        query: &[(&str, &str)],
        body: &Value,
    ) -> Value {
        let mut request = reqwest::Client::new()
            .request(method, format!("{}/api/2.0/mlflow/{path}", self.uri))
            .basic_auth(USER, Some(PASSWORD))
            .query(query);
        if !body.is_null() {
            request = request.json(body);
        }
        self.runtime.block_on(async {
            let answer = request.send().await.expect("an answer");
            let status = answer.status();
            let text = answer.text().await.expect("a body");
            assert!(status.is_success(), "{path}: {status}: {text}");
            serde_json::from_str(&text).expect("JSON")
        })
    }
}

/// Passes requests on, each on a connection of its own, until it has passed `most`: of every later one the client never
/// gets an answer.
pub struct Cutter {
    pub uri: String,
    pub seen: Arc<AtomicUsize>,
}

/// What becomes of the request that is cut.
#[derive(Clone, Copy, Debug)]
pub enum Cut {
    /// The server never sees it.
    Before,
    /// The server does what it asks for, and the answer is lost.
    After,
}

impl Cutter {
    /// Its thread waits for connections until the test's process ends.
    pub fn start(server: &str, most: usize, cut: Cut) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let server = server.trim_start_matches("http://").to_owned();
        let seen = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&seen);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let mut client = client.expect("a connection");
                let Some(request) = read_request(&client) else {
                    continue;
                };
                let is_cut = counted.fetch_add(1, Ordering::SeqCst) >= most;
                if is_cut && matches!(cut, Cut::Before) {
                    continue;
                }
                let answer = answer(&server, &request);
                if !is_cut {
                    let _ = client.write_all(&answer);
                }
                let _ = client.shutdown(Shutdown::Both);
            }
        });
        Self {
            uri: format!("http://{address}"),
            seen,
        }
    }
}

/// A request with its body, which asks for the connection to be closed.
fn read_request(client: &TcpStream) -> Option<Vec<u8>> {
    let mut reader = BufReader::new(client);
    let (mut request, mut length) = (Vec::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
        if line == "\r\n" {
            break;
        }
        request.extend_from_slice(line.as_bytes());
    }
    request.extend_from_slice(b"connection: close\r\n\r\n");
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    request.extend_from_slice(&body);
    Some(request)
}

/// What the server answers, with its head.
fn answer(server: &str, request: &[u8]) -> Vec<u8> {
    let mut server = TcpStream::connect(server).expect("the server");
    server.write_all(request).expect("sent");
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).expect("an answer");
    answer
}
