//! The handle on a cluster.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::Signal;

use crate::bring_up::{bring_up, mend};
use crate::down::{down, lock};
use crate::kubectl::Kubectl;
use crate::process::{Component, Identity, wait_for};
use crate::record::{self, Options, Record, Shape};
use crate::{node, paths, relay};

/// A cluster that is up.
///
/// One from [`Cluster::up`] goes down when this is dropped, or when the process ends in
/// whatever way. One from [`Cluster::up_and_stay`] or [`Cluster::open`] stays.
#[derive(Debug)]
pub struct Cluster {
    record: Record,
    folder: PathBuf,
    is_scoped: bool,
}

impl Cluster {
    /// Brings a cluster up for this process, building what is missing first.
    ///
    /// What an earlier, killed process left under this name is taken down before; a living
    /// process that has the name is waited for.
    ///
    /// # Errors
    /// When a program cannot be built or started, or a cluster of this name is up that stays.
    pub fn up(options: &Options) -> Result<Self> {
        let record = bring_up(options, Some(Identity::own()?))?;
        Self::of(record, true)
    }

    /// Brings a cluster up that goes down when another process ends: a script's, for example.
    ///
    /// # Errors
    /// As [`Cluster::up`]; and when there is no such process.
    pub fn up_while(options: &Options, pid: i32) -> Result<Self> {
        let owner = Identity::of(pid).with_context(|| format!("there is no process {pid}"))?;
        Self::of(bring_up(options, Some(owner))?, false)
    }

    /// Brings a cluster up that stays until somebody takes it down; one that is up is used as
    /// it is, and those of its programs that have died are started again, with their data.
    pub fn up_and_stay(options: &Options) -> Result<Self> {
        let record = bring_up(options, None)?;
        Self::of(record, false)
    }

    /// The handle on a cluster that is up.
    pub fn open(name: &str) -> Result<Self> {
        record::check_name(name)?;
        let record =
            Record::read(name)?.with_context(|| format!("there is no cluster '{name}'"))?;
        Self::of(record, false)
    }

    fn of(record: Record, is_scoped: bool) -> Result<Self> {
        let folder = paths::cluster(&record.options.name)?;
        Ok(Self {
            record,
            folder,
            is_scoped,
        })
    }

    /// The cluster's name.
    pub fn name(&self) -> &str {
        &self.record.options.name
    }

    /// What it is made of.
    pub fn shape(&self) -> Shape {
        self.record.options.shape
    }

    /// The folder of everything that belongs to it.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// An administrator's kubeconfig, which works outside of the cluster's namespace.
    pub fn kubeconfig_path(&self) -> PathBuf {
        self.folder.join("admin.kubeconfig")
    }

    /// The API server's address on loopback.
    pub fn server(&self) -> String {
        format!("https://127.0.0.1:{}", self.record.port)
    }

    /// The address on loopback that leads to its gateway; none without [`crate::Addition::Gateway`].
    pub fn gateway(&self) -> Option<SocketAddr> {
        let port = self.record.gateway_port?;
        Some((Ipv4Addr::LOCALHOST, port).into())
    }

    /// The folder of `ca.crt`, `admin.crt` and `admin.key`, all PEM.
    pub fn pki_folder(&self) -> PathBuf {
        self.folder.join("pki")
    }

    /// The API server's audit log: one JSON object a line, one line a write (metadata only), and with
    /// [`Options::audits_reads`] one or two a read. It is there if [`Options::audit_log`] was asked for.
    pub fn audit_log_path(&self) -> PathBuf {
        self.folder.join("audit.log")
    }

    /// Where a program of the cluster writes what it says.
    pub fn log_path(&self, component: &str) -> PathBuf {
        self.folder.join("logs").join(format!("{component}.log"))
    }

    /// kubectl as the administrator.
    pub fn kubectl(&self) -> Result<Kubectl> {
        Kubectl::new(&self.kubeconfig_path())
    }

    /// The names of its programs, and whether each runs.
    pub fn components(&self) -> Vec<(String, bool)> {
        self.record
            .components
            .iter()
            .map(|component| (component.name.clone(), component.is_alive()))
            .collect()
    }

    /// The process id of one of its programs, if it runs.
    pub fn pid(&self, component: &str) -> Option<i32> {
        let component = self
            .record
            .components
            .iter()
            .find(|candidate| candidate.name == component)?;
        component
            .process
            .filter(|process| process.is_alive())
            .map(|process| process.pid)
    }

    /// Kills one of its programs with SIGKILL, and returns when it is gone: for tests of what
    /// happens without it.
    pub fn kill(&self, component: &str) -> Result<()> {
        let process = self
            .component(component)?
            .process
            .context("it was never started")?;
        process.signal(Signal::KILL);
        wait_for(
            &format!("the end of {component}"),
            Duration::from_secs(10),
            || Ok(!process.is_alive()),
        )
    }

    /// Starts again what [`Cluster::kill`] (or anything else) ended, with its data, and waits
    /// until the API server is ready.
    pub fn mend(&mut self) -> Result<()> {
        let _lock = lock(self.name())?;
        mend(&mut self.record, &self.folder)
    }

    /// Loads an image (a tar as [`crate::image`] makes it) into the node.
    pub fn load_image(&self, tar: &Path) -> Result<()> {
        node::load_image(&self.record, &self.folder, tar)
    }

    /// Makes an image that was loaded known by its digest too; the name by which it then is: `repository@sha256:…`.
    pub fn name_by_digest(&self, name: &str) -> Result<String> {
        node::name_by_digest(&self.record, name)
    }

    /// The host folder behind a bound claim of the node shape.
    pub fn volume_path(&self, namespace: &str, claim: &str) -> Result<PathBuf> {
        node::volume_path(&self.kubectl()?, namespace, claim)
    }

    /// Lets the node and its pods reach a server of this machine, for as long as this process runs; returns the address
    /// that they use.
    pub fn let_reach(&self, server: SocketAddr) -> Result<SocketAddr> {
        relay::inwards(self.name(), server)
    }

    /// Takes it down: no process, mount, cgroup, namespace or file is left.
    pub fn down(mut self) -> Result<()> {
        self.is_scoped = false;
        down(self.name())
    }

    fn component(&self, name: &str) -> Result<&Component> {
        let found = self
            .record
            .components
            .iter()
            .find(|component| component.name == name);
        found.with_context(|| format!("cluster '{}' has no {name}", self.name()))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.is_scoped
            && let Err(error) = down(self.name())
        {
            eprintln!("taking the cluster '{}' down: {error:#}", self.name());
        }
    }
}
