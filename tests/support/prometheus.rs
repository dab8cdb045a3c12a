//! A real Prometheus, and what it scrapes: an exporter that plays DCGM's.
//!
//! The program is Debian's, taken out of its package: the package itself would bring a service and 100 MB.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use axum::Router;
use axum::extract::State;
use axum::routing::get;

/// What [`Exporter`] answers.
type Lines = Arc<Mutex<String>>;

/// Answers `/metrics` with what it was told last.
pub struct Exporter {
    lines: Lines,
    address: SocketAddr,
}

impl Exporter {
    /// Starts one on loopback, with nothing to tell. It belongs to the runtime that it is started in.
    pub async fn start() -> Result<Self> {
        let lines = Lines::default();
        let answer =
            async |State(lines): State<Lines>| lines.lock().expect("no holder panics").clone();
        let router = Router::new()
            .route("/metrics", get(answer))
            .with_state(lines.clone());
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { lines, address })
    }

    /// What it tells from now on.
    pub fn tell(&self, lines: String) {
        *self.lines.lock().expect("no holder panics") = lines;
    }
}

/// A running Prometheus. It is killed when this is dropped.
pub struct Prometheus {
    process: Child,
    address: SocketAddr,
}

impl Prometheus {
    /// Starts one that scrapes exporters every second: the first as they label their lines (`honor_labels`), the second
    /// with labels of its own, before which theirs are renamed `exported_…`, as a ServiceMonitor does it by default.
    pub fn start(folder: &Path, honoured: &Exporter, renamed: &Exporter) -> Result<Self> {
        Self::start_with(folder, honoured, renamed, "")
    }

    /// The same with rules, the text of a file of them, that are looked at every second.
    pub fn start_with(
        folder: &Path,
        honoured: &Exporter,
        renamed: &Exporter,
        rules: &str,
    ) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let rule_file = folder.join("rules.yaml");
        fs::write(&rule_file, rules)?;
        let own = "labels: {namespace: gpu-operator, pod: dcgm-exporter}";
        let configuration = folder.join("prometheus.yml");
        fs::write(
            &configuration,
            format!(
                "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: ['{}']\nscrape_configs:\n\
                 - {{job_name: honoured, honor_labels: true, static_configs: [{{targets: ['{}'], {own}}}]}}\n\
                 - {{job_name: renamed, static_configs: [{{targets: ['{}'], {own}}}]}}\n",
                rule_file.display(),
                honoured.address,
                renamed.address
            ),
        )?;
        let address = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let log = folder.join("prometheus.log");
        let process = Command::new(program()?)
            .arg(format!("--config.file={}", configuration.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()
            .context("starting prometheus")?;
        Ok(Self { process, address })
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // Of one that has ended already, there is nothing left to end.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The program, taken out of Debian's package at the first call.
fn program() -> Result<PathBuf> {
    let folder = windlass_testcluster::cache()?.join("prometheus");
    let program = folder.join("usr/bin/prometheus");
    if program.exists() {
        return Ok(program);
    }
    fs::create_dir_all(&folder)?;
    let lock = File::create(folder.join("lock"))?;
    lock.lock()?;
    if program.exists() {
        return Ok(program);
    }
    let partial = tempfile::tempdir_in(&folder)?;
    let download = || {
        run(
            partial.path(),
            &["apt-get", "download", "--quiet=2", "prometheus"],
        )
    };
    // A machine that never asked for a package knows of none.
    download().or_else(|_| {
        run(partial.path(), &["apt-get", "update", "--quiet=2"])?;
        download()
    })?;
    run(
        partial.path(),
        &[
            "sh",
            "-c",
            "dpkg-deb --fsys-tarfile prometheus_*.deb | tar --extract ./usr/bin/prometheus",
        ],
    )?;
    fs::rename(partial.path().join("usr"), folder.join("usr"))
        .context("putting prometheus into the cache")?;
    Ok(program)
}

fn run(folder: &Path, command: &[&str]) -> Result<()> {
    let output = Command::new(command[0])
        .args(&command[1..])
        .current_dir(folder)
        .output()
        .with_context(|| format!("running {}", command[0]))?;
    ensure!(
        output.status.success(),
        "{}: {}",
        command.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// How long Prometheus takes until it has seen a change of an exporter's, and the operator a change of Prometheus'.
pub const SEEN: Duration = Duration::from_secs(30);
