//! Speaking to the API server, by way of the kubectl that was built.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::process::output;
use crate::programs::Program;

/// kubectl, for one cluster.
#[derive(Clone, Debug)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
}

impl Kubectl {
    /// For the cluster that the kubeconfig names.
    pub fn new(kubeconfig: &Path) -> Result<Self> {
        Ok(Self {
            program: Program::Kubectl.path()?,
            kubeconfig: kubeconfig.to_owned(),
        })
    }

    /// The command, to be given arguments.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env("KUBECONFIG", &self.kubeconfig);
        command
    }

    /// Runs it to its end; an error has what it said on stderr.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        output(self.command().args(arguments))
    }

    /// Applies manifests (YAML or JSON), server-side.
    pub fn apply(&self, manifests: &str) -> Result<()> {
        self.feed(
            &["apply", "--server-side", "--force-conflicts", "-f", "-"],
            manifests,
        )
    }

    /// Creates what must not be there yet; quicker than to apply it.
    pub fn create(&self, manifests: &str) -> Result<()> {
        self.feed(&["create", "--validate=false", "-f", "-"], manifests)
    }

    /// Whether the API server would take a manifest; nothing is written.
    pub fn would_create(&self, manifest: &str) -> bool {
        self.feed(&["create", "--dry-run=server", "-f", "-"], manifest)
            .is_ok()
    }

    /// Manifests as JSON; kubectl is the one that reads YAML here.
    pub(crate) fn manifests(&self, files: &[PathBuf]) -> Result<Vec<Value>> {
        let mut command = self.command();
        command.args([
            "create",
            "--dry-run=client",
            "--validate=false",
            "-o",
            "json",
        ]);
        for file in files {
            command.arg("-f").arg(file);
        }
        let text = output(&mut command)?;
        serde_json::Deserializer::from_str(&text)
            .into_iter()
            .collect::<Result<_, _>>()
            .context("reading manifests")
    }

    /// A file in base64, as objects hold one.
    pub(crate) fn base64(&self, file: &Path) -> Result<String> {
        let from = format!("--from-file=file={}", file.display());
        let secret = ["create", "secret", "generic", "file", &from];
        let shown = ["--dry-run=client", "-o", "jsonpath={.data.file}"];
        output(self.command().args(secret).args(shown))
    }

    fn feed(&self, arguments: &[&str], manifests: &str) -> Result<()> {
        let mut child = self
            .command()
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("starting kubectl")?;
        child
            .stdin
            .take()
            .context("stdin is piped")?
            .write_all(manifests.as_bytes())?;
        let result = child.wait_with_output()?;
        if !result.status.success() {
            bail!(
                "kubectl {}: {}",
                arguments[0],
                String::from_utf8_lossy(&result.stderr).trim_end()
            );
        }
        Ok(())
    }
}
