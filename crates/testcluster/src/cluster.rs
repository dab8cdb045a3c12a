//! The handle on a cluster: bringing it up, using it, taking it down.
//!
//! ```text
//! up ──> lock(name) ──> whole? ──yes──────────────────────────> Cluster
//!                         │no
//!                         v
//!                  some died? ──start them again──> ready? ─────> Cluster
//!                         │ no record, or not ready
//!                         v
//!                  demolish, prepare, start one after the other ─> Cluster
//! ```

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::Signal;

use crate::control_plane::{Place, free_ports};
use crate::down::demolish;
use crate::kubectl::Kubectl;
use crate::process::{Component, Identity, wait_for};
use crate::programs::{self, Program};
use crate::record::{self, Options, Record, Shape};
use crate::{kwok, node, paths, supervisor};

/// How long to wait for a cluster of the same name that another living process uses.
const PATIENCE_FOR_OTHERS: Duration = Duration::from_secs(15 * 60);

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
        bring_up(options, Some(Identity::own()?))
    }

    /// Brings a cluster up that stays until somebody takes it down; one that is up is used as
    /// it is, and those of its programs that have died are started again, with their data.
    pub fn up_and_stay(options: &Options) -> Result<Self> {
        bring_up(options, None)
    }

    /// The handle on a cluster that is up.
    pub fn open(name: &str) -> Result<Self> {
        record::check_name(name)?;
        let record =
            Record::read(name)?.with_context(|| format!("there is no cluster '{name}'"))?;
        Ok(Self {
            folder: paths::cluster(name)?,
            record,
            is_scoped: false,
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

    /// The folder of `ca.crt`, `admin.crt` and `admin.key`, all PEM.
    pub fn pki_folder(&self) -> PathBuf {
        self.folder.join("pki")
    }

    /// The API server's audit log: one JSON object a line, one line a write (metadata only).
    /// It is there if [`Options::audit_log`] was asked for.
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

    /// The host folder behind a bound claim of the node shape.
    pub fn volume_path(&self, namespace: &str, claim: &str) -> Result<PathBuf> {
        node::volume_path(&self.kubectl()?, namespace, claim)
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

/// Takes a cluster down by name; it is no error if there is none.
pub fn down(name: &str) -> Result<()> {
    record::check_name(name)?;
    let _lock = lock(name)?;
    demolish(name)
}

/// Takes down a cluster whose owner has ended, if it is still that owner's.
pub fn down_orphan(name: &str) -> Result<()> {
    let _lock = lock(name)?;
    match Record::read(name)? {
        Some(record) if record.is_orphan() => demolish(name),
        _ => Ok(()),
    }
}

fn lock(name: &str) -> Result<std::fs::File> {
    paths::lock(&format!("cluster-{name}"), || {})
}

fn bring_up(options: &Options, owner: Option<Identity>) -> Result<Cluster> {
    options.check()?;
    if options.shape == Shape::Node {
        node::check_machine()?;
    }
    programs::ensure(Program::of(options.shape))?;
    sweep(&options.name)?;

    let name = options.name.as_str();
    let folder = paths::cluster(name)?;
    let started = Instant::now();
    let _lock = loop {
        let lock = lock(name)?;
        let Some(mut record) = Record::read(name).unwrap_or_default() else {
            break lock;
        };
        match record.owner {
            None if owner.is_some() => {
                bail!("a cluster '{name}' is up that stays: take it down, or choose another name")
            }
            None if record.options == *options
                && record.is_complete
                && record.boot == record::boot() =>
            {
                match mend(&mut record, &folder) {
                    Ok(()) => {
                        return Ok(Cluster {
                            record,
                            folder,
                            is_scoped: false,
                        });
                    }
                    Err(error) => {
                        eprintln!("'{name}' cannot be mended, and is made anew: {error:#}")
                    }
                }
            }
            Some(other) if Some(other) == owner => {
                bail!("this process has a cluster '{name}' already")
            }
            Some(other) if other.is_alive() => {
                drop(lock);
                if started.elapsed() > PATIENCE_FOR_OTHERS {
                    bail!(
                        "process {} has had a cluster '{name}' for too long",
                        other.pid
                    );
                }
                thread::sleep(Duration::from_millis(200));
                continue;
            }
            _ => {}
        }
        break lock;
    };
    demolish(name)?;
    let record = Record {
        options: options.clone(),
        owner,
        boot: record::boot(),
        port: 0,
        is_complete: false,
        components: Vec::new(),
    };
    match create(record, &folder) {
        Ok(record) => Ok(Cluster {
            record,
            folder,
            is_scoped: owner.is_some(),
        }),
        Err(error) => Err(
            match keep_logs(&folder).and_then(|logs| demolish(name).map(|()| logs)) {
                Ok(logs) => error.context(format!(
                    "bringing up '{name}' (its logs: {})",
                    logs.display()
                )),
                Err(second) => error.context(format!(
                    "bringing up '{name}', and taking it down again: {second:#}"
                )),
            },
        ),
    }
}

/// Moves the logs of a cluster that did not come up to where they stay.
fn keep_logs(folder: &Path) -> Result<PathBuf> {
    let name = folder
        .file_name()
        .context("a cluster's folder has a name")?;
    let kept = paths::cache()?.join("failed").join(name);
    let _ = std::fs::remove_dir_all(&kept);
    paths::create(&kept)?;
    std::fs::rename(folder.join("logs"), kept.join("logs")).context("keeping the logs")?;
    Ok(kept)
}

/// Takes down clusters whose owner has ended without a word.
fn sweep(except: &str) -> Result<()> {
    for name in record::names()?.iter().filter(|name| *name != except) {
        if Record::read(name).is_ok_and(|record| record.is_some_and(|record| record.is_orphan())) {
            down_orphan(name)?;
        }
    }
    Ok(())
}

fn create(mut record: Record, folder: &Path) -> Result<Record> {
    let options = record.options.clone();
    let name = options.name.as_str();
    paths::create(&folder.join("logs"))?;
    let programs = programs::ensure(Program::of(options.shape))?;
    let [outside_port, etcd, etcd_peer] = free_ports()?;
    record.port = outside_port;
    record.write()?;

    let is_node = options.shape == Shape::Node;
    let place = if is_node {
        Place {
            folder,
            entering: node::entering(name),
            address: node::ADDRESS,
            port: 6443,
            outside_port,
            etcd: (2379, 2380),
            audit_log: options.audit_log,
        }
    } else {
        Place {
            folder,
            entering: Vec::new(),
            address: Ipv4Addr::LOCALHOST,
            port: outside_port,
            outside_port,
            etcd: (etcd, etcd_peer),
            audit_log: options.audit_log,
        }
    };
    let authority = place.prepare()?;
    if is_node {
        node::prepare(name, folder, &authority)?;
    }
    let mut start = |component: Component| self::start(&mut record, folder, component);
    start(place.etcd(&programs))?;
    start(place.api_server(&programs))?;
    // The supervisor relays to a real node's API server, and ends a cluster with its owner.
    if is_node {
        start(supervisor::component(name)?)?;
        for component in node::early_components(name, folder, &programs) {
            start(component)?;
        }
    }
    wait_until_ready(&record, folder)?;
    let mut start = |component: Component| self::start(&mut record, folder, component);
    start(place.controller_manager(&programs))?;
    match options.shape {
        Shape::Api => {}
        Shape::Kwok => {
            start(place.scheduler(&programs))?;
            start(kwok::component(folder, &programs)?)?;
            kwok::make_nodes(&Kubectl::new(&folder.join("admin.kubeconfig"))?, &options)?;
        }
        Shape::Node => {
            start(place.scheduler(&programs))?;
            for component in node::late_components(name, folder, &programs) {
                start(component)?;
            }
            node::furnish(&record, folder)?;
        }
    }
    if !is_node && record.owner.is_some() {
        self::start(&mut record, folder, supervisor::component(name)?)?;
    }
    wait_until_usable(&record, folder)?;
    record.is_complete = true;
    record.write()?;
    Ok(record)
}

/// Starts a component and writes down that it runs.
fn start(record: &mut Record, folder: &Path, mut component: Component) -> Result<()> {
    component.start(folder)?;
    record.components.push(component);
    record.write()
}

/// Starts again those components that have ended.
fn mend(record: &mut Record, folder: &Path) -> Result<()> {
    for at in 0..record.components.len() {
        if !record.components[at].is_alive() {
            record.components[at].start(folder)?;
            record.write()?;
        }
    }
    wait_until_ready(record, folder)?;
    wait_until_usable(record, folder)
}

/// The API server answers that it is ready.
fn wait_until_ready(record: &Record, folder: &Path) -> Result<()> {
    let kubectl = Kubectl::new(&folder.join("admin.kubeconfig"))?;
    wait_for(
        "the API server's readiness",
        Duration::from_secs(120),
        || {
            for component in &record.components {
                component.check(folder)?;
            }
            let is_listening =
                std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, record.port)).is_ok();
            Ok(is_listening
                && kubectl
                    .run(&["get", "--raw=/readyz", "--request-timeout=5s"])
                    .is_ok())
        },
    )
}

/// Pods can be made: the controller manager has made their service account. A node is ready.
fn wait_until_usable(record: &Record, folder: &Path) -> Result<()> {
    let kubectl = Kubectl::new(&folder.join("admin.kubeconfig"))?;
    wait_for(
        "the default service account",
        Duration::from_secs(60),
        || {
            Ok(kubectl
                .run(&["get", "serviceaccount", "default", "--namespace=default"])
                .is_ok())
        },
    )?;
    match record.options.shape {
        Shape::Api => Ok(()),
        Shape::Kwok => kwok::wait_until_ready(&kubectl, record.options.fake_nodes),
        Shape::Node => node::wait_until_ready(record, folder, &kubectl),
    }
}
