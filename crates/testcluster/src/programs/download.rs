//! Go modules of which only files are wanted.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

/// A Go module in a version, pinned by the checksum of its content.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    /// Its path, such as `k8s.io/kubernetes`.
    pub module: &'static str,
    /// Its version, such as `v1.37.2`.
    pub version: &'static str,
    /// `h1:…`, as `go.sum` has it.
    pub sum: &'static str,
}

/// What `go mod download -json` prints.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    dir: Option<PathBuf>,
    sum: Option<String>,
    error: Option<String>,
}

/// The folder of a module in Go's own cache; it is downloaded once.
///
/// # Errors
/// When it cannot be had, or is not what is pinned.
pub fn download(source: &Source) -> Result<PathBuf> {
    let what = format!("{}@{}", source.module, source.version);
    let folder = tempfile::tempdir().context("making a folder for go to work in")?;
    let answered = Command::new("go")
        .args(["mod", "download", "-json", &what])
        // Outside of any module.
        .current_dir(folder.path())
        .env("GOFLAGS", "")
        .env("GOWORK", "off")
        .stdin(Stdio::null())
        .output()
        .context("starting `go`: is Go installed and on PATH?")?;
    let answer: Answer = serde_json::from_slice(&answered.stdout).with_context(|| {
        let said = String::from_utf8_lossy(&answered.stderr);
        format!("downloading {what}: {}", said.trim())
    })?;
    if let Some(error) = answer.error {
        bail!("downloading {what}: {error}");
    }
    ensure!(
        answer.sum.as_deref() == Some(source.sum),
        "{what} is {}, not {}: it is another than the one that was looked at",
        answer.sum.unwrap_or_default(),
        source.sum
    );
    answer
        .dir
        .with_context(|| format!("go does not say where {what} lies"))
}
