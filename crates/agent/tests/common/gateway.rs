//! A real S3, where the project's own build of it lies.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{Ended, Place};

/// `versitygw` over the folder `s3` of a place, with the bucket `bucket`.
pub struct Gateway {
    child: Child,
    endpoint: String,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The program where the project's own build of it lies.
fn program() -> Option<PathBuf> {
    let bin = PathBuf::from(std::env::var_os("HOME")?).join(".cache/windlass/bin");
    let mut found: Vec<PathBuf> = std::fs::read_dir(bin)
        .ok()?
        .flatten()
        .map(|entry| entry.path().join("versitygw"))
        .collect();
    found.retain(|path| {
        path.is_file()
            && path
                .parent()
                .is_some_and(|parent| parent.to_string_lossy().contains("versitygw-"))
    });
    found.sort();
    found.pop()
}

impl Gateway {
    pub fn start(place: &Place) -> Option<Self> {
        let Some(program) = program() else {
            println!("skipped: there is no versitygw under ~/.cache/windlass/bin");
            return None;
        };
        std::fs::create_dir_all(place.path("s3/bucket")).expect("made");
        let port = TcpListener::bind("127.0.0.1:0")
            .expect("a port")
            .local_addr()
            .expect("an address")
            .port();
        let address = format!("127.0.0.1:{port}");
        let child = Command::new(program)
            .args([
                "--access", "key", "--secret", "secret", "--port", &address, "posix",
            ])
            .arg(place.path("s3"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("versitygw starts");
        let gateway = Self {
            child,
            endpoint: format!("http://{address}"),
        };
        let started = Instant::now();
        while std::net::TcpStream::connect(&address).is_err() {
            assert!(
                started.elapsed() < Duration::from_secs(20),
                "versitygw does not serve"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(gateway)
    }

    /// Serves no more.
    pub fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub fn agent(&self, place: &Place, arguments: &[&str]) -> Ended {
        place.ended(&mut self.command(place, arguments))
    }

    pub fn command(&self, place: &Place, arguments: &[&str]) -> Command {
        let mut command = place.command(arguments);
        command.envs([
            ("AWS_ENDPOINT_URL", self.endpoint.as_str()),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_ACCESS_KEY_ID", "key"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_REGION", "us-east-1"),
        ]);
        command
    }

    pub fn train(&self, place: &Place, arguments: &[&str], script: &str) -> Ended {
        let work = place.path("work");
        let work = work.to_string_lossy();
        let mut all = vec!["run", "--work-dir", &work];
        all.extend(arguments);
        all.extend(["--", "sh", "-c", script]);
        self.agent(place, &all)
    }
}
