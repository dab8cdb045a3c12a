//! A real MLflow server over SQLite, where `scripts/install-servers.sh` put it, and a proxy that cuts connections.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::installed::{Group, free_address, installed};

pub const USER: &str = "ann";
pub const PASSWORD: &str = "a long password of hers";

/// `mlflow server`, with its store and its log in a folder.
pub struct Mlflow {
    _group: Group,
    pub address: SocketAddr,
    pub uri: String,
    runtime: tokio::runtime::Runtime,
}

/// The address of a database of its.
fn store(folder: &Path, name: &str) -> String {
    format!("sqlite:///{}", folder.join(name).display())
}

impl Mlflow {
    /// One that anyone on this machine may use.
    pub fn start(folder: &Path) -> Option<Self> {
        std::fs::create_dir_all(folder).expect("a folder");
        Self::serve(folder, &[])
    }

    /// One that [`USER`] may use, with [`PASSWORD`].
    pub fn with_users(folder: &Path) -> Option<Self> {
        let users = format!(
            "[mlflow]\ndefault_permission = EDIT\ndatabase_uri = {}\nadmin_username = {USER}\nadmin_password = {PASSWORD}\n\
             authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n",
            store(folder, "users.db")
        );
        std::fs::create_dir_all(folder).expect("a folder");
        let path = folder.join("users.ini");
        std::fs::write(&path, users).expect("a file");
        let users = path;
        Self::serve(
            folder,
            &[("MLFLOW_AUTH_CONFIG_PATH", &users.to_string_lossy())],
        )
    }

    fn serve(folder: &Path, users: &[(&str, &str)]) -> Option<Self> {
        let program = installed("mlflow")?.join("bin/mlflow");
        let log = std::fs::File::create(folder.join("log")).expect("a log");
        let address = free_address();
        let mut command = Command::new(program);
        command
            .args([
                "server",
                "--workers",
                "1",
                "--host",
                &address.ip().to_string(),
                "--port",
                &address.port().to_string(),
                "--allowed-hosts",
                "*",
            ])
            .args(["--backend-store-uri", &store(folder, "store.db")])
            .arg("--default-artifact-root")
            .arg(folder.join("artifacts"));
        if !users.is_empty() {
            command.args(["--app-name", "basic-auth"]);
        }
        command
            .envs(users.iter().copied())
            .env("MLFLOW_FLASK_SERVER_SECRET_KEY", "of no use elsewhere")
            .env("MLFLOW_DISABLE_TELEMETRY", "true")
            .env("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
            .current_dir(folder)
            .stdout(log.try_clone().expect("the log"))
            .stderr(log);
        let mlflow = Self {
            _group: Group::start(&mut command),
            address,
            uri: format!("http://{address}"),
            runtime: tokio::runtime::Runtime::new().expect("a runtime"),
        };
        mlflow.wait(folder);
        Some(mlflow)
    }

    fn wait(&self, folder: &Path) {
        let started = Instant::now();
        let health = format!("{}/health", self.uri);
        let is_up = || {
            let answer = self.runtime.block_on(reqwest::get(&health));
            answer.is_ok_and(|answer| answer.status().is_success())
        };
        while !is_up() {
            assert!(
                started.elapsed() < Duration::from_mins(2),
                "MLflow does not serve: {}",
                std::fs::read_to_string(folder.join("log")).unwrap_or_default()
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
