//! What is written down of a cluster, so that any later process can use it or end it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::paths;
use crate::process::{Component, Identity};
use crate::programs::Program;

/// Which programs a cluster is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub enum Shape {
    /// etcd, API server and controller manager on loopback: for tests of controllers.
    Api,
    /// Also a scheduler, and nodes and pods that kwok plays: for scale.
    Kwok,
    /// A real node in a network namespace of its own: for end-to-end tests and the demo.
    Node,
}

/// What a cluster of any shape can have besides; built only when it is asked for.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    clap::ValueEnum,
)]
pub enum Addition {
    /// Kueue's manager, CRDs and webhooks: it admits Jobs by quota.
    Kueue,
    /// JobSet's manager, CRD and webhooks: it repeats sets of Jobs whole.
    Jobset,
    /// Traefik, Gateway API's CRDs and the Gateway `gateway-system/windlass`: it splits requests
    /// between a real node's pods.
    Gateway,
}

impl Addition {
    /// The program that it is.
    pub fn program(self) -> Program {
        match self {
            Self::Kueue => Program::Kueue,
            Self::Jobset => Program::Jobset,
            Self::Gateway => Program::Traefik,
        }
    }
}

/// What to bring up.
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a switch by itself, and may be on with any other"
)]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// Lower-case letters, digits and dashes, at most 30; two clusters have two names.
    pub name: String,
    /// Which programs it is made of.
    pub shape: Shape,
    /// Whether the API server writes down every write: see [`crate::Cluster::audit_log_path`].
    pub audit_log: bool,
    /// Whether reads are written down as well.
    #[serde(default)]
    pub audits_reads: bool,
    /// How many fake GPUs the real node offers, or each fake node.
    pub gpus: u32,
    /// How many nodes kwok plays; only the KWOK shape has any.
    pub fake_nodes: u32,
    /// Whether the pods that kwok plays have addresses of loopback, where a test can answer for them. Services have no
    /// endpoints then: the API server takes none of loopback.
    #[serde(default)]
    pub pods_on_loopback: bool,
    /// Whether the pods of Jobs that kwok plays run until somebody else ends them.
    #[serde(default)]
    pub jobs_stay: bool,
    /// What it has besides.
    #[serde(default)]
    pub with: BTreeSet<Addition>,
    /// Feature gates of the control plane that are on, beside that of native gang scheduling.
    #[serde(default)]
    pub feature_gates: BTreeSet<String>,
}

impl Options {
    /// A cluster of this name and shape: no audit log, 8 GPUs a node, 10 fake nodes in the KWOK shape,
    /// nothing besides, no feature gate on but that of native gang scheduling.
    pub fn new(name: impl Into<String>, shape: Shape) -> Self {
        Self {
            name: name.into(),
            shape,
            audit_log: false,
            audits_reads: false,
            gpus: 8,
            fake_nodes: 10,
            pods_on_loopback: false,
            jobs_stay: false,
            with: BTreeSet::new(),
            feature_gates: BTreeSet::new(),
        }
    }

    /// The same, with an audit log.
    #[must_use]
    pub fn with_audit_log(mut self) -> Self {
        self.audit_log = true;
        self
    }

    /// The same, with an audit log that has every request, reads too: much more, and each is waited for.
    #[must_use]
    pub fn with_audit_log_of_reads(mut self) -> Self {
        self.audits_reads = true;
        self.with_audit_log()
    }

    /// The same, with so many fake GPUs a node.
    #[must_use]
    pub fn with_gpus(mut self, gpus: u32) -> Self {
        self.gpus = gpus;
        self
    }

    /// The same, with so many nodes that kwok plays.
    #[must_use]
    pub fn with_fake_nodes(mut self, fake_nodes: u32) -> Self {
        self.fake_nodes = fake_nodes;
        self
    }

    /// The same, with pods of kwok's that have addresses of loopback.
    #[must_use]
    pub fn with_pods_on_loopback(mut self) -> Self {
        self.pods_on_loopback = true;
        self
    }

    /// The same, with pods of Jobs that kwok starts and does not end: a test writes how they ended, and what they left.
    #[must_use]
    pub fn with_jobs_that_stay(mut self) -> Self {
        self.jobs_stay = true;
        self
    }

    /// The same, with this besides.
    #[must_use]
    pub fn with(mut self, addition: Addition) -> Self {
        self.with.insert(addition);
        self
    }

    /// The same, with a feature gate of the control plane on.
    #[must_use]
    pub fn with_feature_gate(mut self, gate: impl Into<String>) -> Self {
        self.feature_gates.insert(gate.into());
        self
    }

    /// Every program that it needs.
    pub fn programs(&self) -> Vec<Program> {
        let additions = self.with.iter().map(|addition| addition.program());
        Program::of(self.shape)
            .iter()
            .copied()
            .chain(additions)
            .collect()
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.with.contains(&Addition::Gateway) && self.shape != Shape::Node {
            bail!(
                "a gateway sends requests to pods, and only a real node's have addresses: ask for the shape 'node' with it"
            );
        }
        check_name(&self.name)
    }
}

/// Refuses what cannot be a cluster's name: it becomes part of paths, and of a namespace's name.
pub fn check_name(name: &str) -> Result<()> {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() || name.len() > 30 || !name.bytes().all(good) || name.starts_with('-') {
        bail!(
            "'{name}' is no cluster name: 1 to 30 lower-case letters, digits and dashes, no dash first"
        );
    }
    Ok(())
}

/// A cluster as it is written down in its folder.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// What was asked for.
    pub options: Options,
    /// The process that it ends with; none if it stays until somebody says `down`.
    pub owner: Option<Identity>,
    /// The machine's start: process ids of an earlier one mean nothing.
    pub boot: String,
    /// Port of the API server on loopback.
    pub port: u16,
    /// Port of the gateway on loopback; none if there is none.
    #[serde(default)]
    pub gateway_port: Option<u16>,
    /// Whether bringing it up came to its end.
    pub is_complete: bool,
    /// Its programs, in the order in which they are started.
    pub components: Vec<Component>,
}

impl Record {
    /// Reads the record of a cluster; none if there is none.
    pub fn read(name: &str) -> Result<Option<Self>> {
        let path = path(&paths::cluster(name)?);
        let Ok(text) = fs::read(&path) else {
            return Ok(None);
        };
        let mut record: Self =
            serde_json::from_slice(&text).with_context(|| format!("reading {}", path.display()))?;
        if record.boot != boot() {
            record.owner = record.owner.map(|owner| Identity {
                start: u64::MAX,
                ..owner
            });
            record
                .components
                .iter_mut()
                .for_each(|component| component.process = None);
        }
        Ok(Some(record))
    }

    /// Writes it down, whole or not at all.
    pub fn write(&self) -> Result<()> {
        let folder = paths::cluster(&self.options.name)?;
        let path = path(&folder);
        let partial = path.with_extension("partial");
        paths::write(&partial, serde_json::to_vec_pretty(self)?)?;
        fs::rename(&partial, &path).with_context(|| format!("writing {}", path.display()))
    }

    /// Whether it ends with a process that has ended.
    pub fn is_orphan(&self) -> bool {
        self.owner.is_some_and(|owner| !owner.is_alive())
    }
}

fn path(folder: &Path) -> PathBuf {
    folder.join("cluster.json")
}

/// The names of all clusters that are written down.
pub fn names() -> Result<Vec<String>> {
    let Ok(entries) = fs::read_dir(paths::clusters()?) else {
        return Ok(Vec::new());
    };
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| check_name(name).is_ok())
        .collect();
    names.sort();
    Ok(names)
}

/// The machine's start, as an id.
pub fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .unwrap_or_default()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_is_refused_where_no_pod_has_an_address() {
        let options = |shape| Options::new("dev", shape).with(Addition::Gateway);
        for shape in [Shape::Api, Shape::Kwok] {
            assert!(options(shape).check().is_err(), "{shape:?}");
        }
        assert!(options(Shape::Node).check().is_ok());
    }

    #[test]
    fn a_name_that_could_leave_its_folder_is_refused() {
        for bad in ["", "../x", "a/b", "A", "-a", "a b", &"a".repeat(31)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        for good in ["dev", "two-2", "0"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
    }
}
