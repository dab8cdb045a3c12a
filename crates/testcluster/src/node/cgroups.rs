//! The cgroup below which the node's pods run: `/windlass-NAME` in every hierarchy, so that
//! nothing is mixed with another node's and all of it can be found again.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::process::Identity;

/// The cgroup's path, as the kubelet is told it.
pub fn path(cluster: &str) -> String {
    format!("/windlass-{cluster}")
}

/// Where each hierarchy (several of version 1, or the one of version 2) is mounted.
fn hierarchies() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ');
            let (_, target, kind) = (fields.next()?, fields.next()?, fields.next()?);
            (kind == "cgroup" || kind == "cgroup2").then(|| PathBuf::from(target))
        })
        .collect()
}

fn roots(cluster: &str) -> impl Iterator<Item = PathBuf> {
    let name = path(cluster);
    hierarchies()
        .into_iter()
        .map(move |hierarchy| hierarchy.join(name.trim_start_matches('/')))
}

/// Makes the cgroup: the kubelet wants it to be there.
pub fn create(cluster: &str) -> Result<()> {
    for root in roots(cluster) {
        fs::create_dir_all(&root)
            .with_context(|| format!("making the cgroup {}", root.display()))?;
        // In version 1 a new cpuset has no CPUs until it is told.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let Some(parent) = root.parent() else {
                continue;
            };
            let path = root.join(file);
            let is_empty = fs::read_to_string(&path).is_ok_and(|text| text.trim().is_empty());
            if is_empty && let Ok(all) = fs::read_to_string(parent.join(file)) {
                // The root of version 2 has no such file.
                let _ = fs::write(&path, all);
            }
        }
    }
    Ok(())
}

/// The processes in the cgroup and below it.
pub fn processes(cluster: &str) -> Vec<Identity> {
    let mut found = Vec::new();
    for folder in roots(cluster).flat_map(|root| folders(&root)) {
        let pids = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
        for identity in pids
            .lines()
            .filter_map(|line| Identity::of(line.parse().ok()?))
        {
            if !found.contains(&identity) {
                found.push(identity);
            }
        }
    }
    found
}

/// Removes the cgroup and those below it; its processes have ended already.
pub fn remove(cluster: &str) -> Result<()> {
    let started = Instant::now();
    for root in roots(cluster) {
        // The kernel lets go of a cgroup a little after its last process has ended.
        while let Err(error) = folders(&root).iter().try_for_each(fs::remove_dir) {
            if started.elapsed() > Duration::from_secs(10) {
                return Err(error)
                    .with_context(|| format!("removing the cgroup {}", root.display()));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}

/// The folder and all below it, the deepest first.
fn folders(root: &Path) -> Vec<PathBuf> {
    let walk = walkdir::WalkDir::new(root)
        .contents_first(true)
        .into_iter()
        .flatten();
    walk.filter(|entry| entry.file_type().is_dir())
        .map(walkdir::DirEntry::into_path)
        .collect()
}
