//! Speaking to the API server, by way of the kubectl that was built.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

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
