//! Taking a cluster down: its processes, then whatever of the kernel's it holds, then its files.
//!
//! Works from the cluster's name alone, so that it also works when bringing it up was killed
//! half way. Nothing here waits for a program's own, orderly end: the data is thrown away.

use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::process::{Identity, end_all, marked};
use crate::record::{self, Record};
use crate::{node, paths};

/// Takes a cluster down by name; it is no error if there is none.
///
/// # Errors
/// When a process does not end, or something cannot be removed.
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

/// The lock of whoever brings a cluster up or takes it down.
pub fn lock(name: &str) -> Result<File> {
    paths::lock(&format!("cluster-{name}"), || {})
}

/// Takes down what there is of a cluster. The caller holds the cluster's lock.
pub fn demolish(name: &str) -> Result<()> {
    let folder = paths::cluster(name)?;
    // A record that cannot be read must not keep the cluster alive: the marks find its processes.
    let record = Record::read(name).ok().flatten();
    let own = Identity::own()?;
    let written: Vec<Identity> = record
        .iter()
        .flat_map(|record| &record.components)
        .filter_map(|component| component.process)
        .filter(|process| *process != own)
        .collect();
    let processes = || {
        let mut all = marked(&folder);
        all.extend(
            written
                .iter()
                .filter(|identity| !all.contains(identity))
                .copied()
                .collect::<Vec<_>>(),
        );
        all
    };
    end_all(processes, Duration::from_secs(20))?;
    node::demolish(name, &folder)?;
    remove(&paths::run_time(name))?;
    remove(&folder)
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", folder.display()))
        }
        _ => Ok(()),
    }
}
