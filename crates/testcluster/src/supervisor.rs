//! A small process beside a cluster: `testcluster supervise NAME`.
//!
//! It takes the cluster down when the process that the cluster belongs to has ended; and for a
//! real node it relays from loopback to the API server, and to the gateway if there is one, inside
//! the cluster's network namespace, and plays the GPUs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};
use std::{env, fs, thread};

use anyhow::{Context as _, Result, bail};

use crate::down::down_orphan;
use crate::process::Component;
use crate::record::{Record, Shape};
use crate::{gateway, gpu, node, paths, relay};

/// The supervisor of a cluster, as one of its components.
pub fn component(name: &str) -> Result<Component> {
    let program = own_program()?;
    Ok(Component::new(
        "supervisor",
        &program,
        ["supervise".to_owned(), name.to_owned()],
    ))
}

/// Does the supervisor's work; returns when the cluster has been taken down.
pub fn supervise(name: &str) -> Result<()> {
    let record = Record::read(name)?.with_context(|| format!("there is no cluster '{name}'"))?;
    if record.options.shape == Shape::Node {
        relay::outwards(name, record.port, node::API_PORT)?;
        if let Some(port) = record.gateway_port {
            relay::outwards(name, port, gateway::PORT)?;
        }
        offer_gpus(paths::cluster(name)?.join("kubelet"), record.options.gpus)?;
    }
    loop {
        thread::sleep(Duration::from_millis(500));
        if record.is_orphan() {
            return down_orphan(name);
        }
    }
}

fn offer_gpus(kubelet: PathBuf, count: u32) -> Result<()> {
    if count > 0 {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        thread::spawn(move || runtime.block_on(gpu::offer(&kubelet, count)));
    }
    Ok(())
}

/// The program `testcluster`: this one, or the one that lies beside a test's program, built
/// first if it is not there or older than its source.
fn own_program() -> Result<PathBuf> {
    if let Some(program) = env::var_os("WINDLASS_TESTCLUSTER") {
        return Ok(program.into());
    }
    let this = env::current_exe().context("finding this program")?;
    if this.file_stem().is_some_and(|stem| stem == "testcluster") {
        return Ok(this);
    }
    // A test's program is target/<profile>/deps/<test>-<hash>, an example's target/<profile>/examples/….
    let profile_folder = this
        .ancestors()
        .skip(1)
        .find(|folder| !folder.ends_with("deps") && !folder.ends_with("examples"))
        .context("a program lies in a folder")?;
    let program = profile_folder.join("testcluster");
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    if newest(&source.join("src")) > modified(&program) {
        build(source, profile_folder)?;
    }
    if !program.is_file() {
        bail!(
            "there is no {}: set WINDLASS_TESTCLUSTER to the program's path",
            program.display()
        );
    }
    Ok(program)
}

fn build(source: &Path, profile_folder: &Path) -> Result<()> {
    let target = profile_folder
        .parent()
        .context("a profile's folder lies in target")?;
    let profile = match profile_folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args([
            "build",
            "--quiet",
            "--package=windlass-testcluster",
            "--bin=testcluster",
            "--profile",
            profile,
        ])
        .arg("--target-dir")
        .arg(target)
        .current_dir(source)
        .stdin(Stdio::null())
        .status()
        .context("starting cargo to build testcluster")?;
    if !status.success() {
        bail!("building testcluster: cargo ended with {status}");
    }
    Ok(())
}

fn newest(folder: &Path) -> Option<SystemTime> {
    let files = walkdir::WalkDir::new(folder).into_iter().flatten();
    files
        .filter(|entry| entry.file_type().is_file())
        .filter_map(|entry| modified(entry.path()))
        .max()
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}
