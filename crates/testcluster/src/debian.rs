//! A folder with a small Debian and Python packages in it: the root of an image.
//!
//! Where packages come from is the machine's own configuration: apt's sources name the mirror,
//! and pip's environment and configuration files the index. This crate names no host.
//!
//! ```text
//! debootstrap ──> partial/ ──pip──> partial/usr/local ──tidy──> rename to roots/<digest>
//! ```
//!
//! pip runs with the root's own interpreter and C library, so that what is chosen fits it, but
//! not in a chroot, so that the machine's configuration and certificates are seen.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

use crate::paths;
use crate::process::output;

/// What to put into a root.
#[derive(Clone, Debug)]
pub struct Debian {
    /// Such as `bookworm`.
    pub suite: String,
    /// Debian packages in addition to a minimal system.
    pub packages: Vec<String>,
    /// Python packages as pip takes them, such as `numpy==2.0`; they need `python3` among the packages.
    pub wheels: Vec<String>,
}

impl Debian {
    /// The root's folder in the cache, made at the first call; it is not to be changed.
    ///
    /// # Errors
    /// When this is not root, debootstrap is missing, or a package cannot be had.
    pub fn root(&self) -> Result<PathBuf> {
        let digest = self.digest();
        let folder = paths::cache()?.join("roots").join(&digest);
        let waiting = || eprintln!("the same root is being made elsewhere: waiting");
        let _lock = paths::lock(&format!("root-{digest}"), waiting)?;
        if folder.is_dir() {
            return Ok(folder);
        }
        if !rustix::process::geteuid().is_root() {
            bail!("a Debian root needs root to be made");
        }
        let partial = folder.with_extension("partial");
        if partial.exists() {
            crate::node::unmount_below(&partial)?;
            fs::remove_dir_all(&partial)
                .with_context(|| format!("removing {}", partial.display()))?;
        }
        let started = Instant::now();
        eprintln!(
            "making a Debian {} root ({} packages, {} wheels)",
            self.suite,
            self.packages.len(),
            self.wheels.len()
        );
        self.bootstrap(&partial)?;
        self.install_wheels(&partial)?;
        tidy(&partial)?;
        fs::rename(&partial, &folder).with_context(|| format!("renaming {}", partial.display()))?;
        eprintln!("made it in {:.0} s", started.elapsed().as_secs_f64());
        Ok(folder)
    }

    fn digest(&self) -> String {
        let mut digest = Sha256::new();
        // The first word changes when this module makes something else of the same arguments.
        digest.update(serde_json::json!(["2", self.suite, self.packages, self.wheels]).to_string());
        format!("{:x}", digest.finalize())[..16].to_owned()
    }

    fn bootstrap(&self, root: &Path) -> Result<()> {
        let mut packages = self.packages.clone();
        if !self.wheels.is_empty() {
            // pip itself, as a wheel that can be run where it lies.
            packages.push("python3-pip-whl".to_owned());
        }
        paths::create(root)?;
        let mut command = Command::new("debootstrap");
        command.arg("--variant=minbase");
        if !packages.is_empty() {
            command.arg(format!("--include={}", packages.join(",")));
        }
        command.arg(&self.suite).arg(root).args(mirror(&self.suite));
        let log_path = root.with_extension("log");
        let log = fs::File::create(&log_path)?;
        let status = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .status()
            .context("starting debootstrap: scripts/install-packages.sh installs it")?;
        if !status.success() {
            let text = fs::read_to_string(&log_path).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            bail!(
                "debootstrap ended with {status}:\n{}",
                lines[lines.len().saturating_sub(15)..].join("\n")
            );
        }
        Ok(())
    }

    fn install_wheels(&self, root: &Path) -> Result<()> {
        if self.wheels.is_empty() {
            return Ok(());
        }
        let python = Python::of(root)?;
        let pip = find(&root.join("usr/share/python-wheels"), |name| {
            name.starts_with("pip-")
        })
        .context("the root has no pip: is python3 among its packages?")?;
        let target = root
            .join("usr/local/lib")
            .join(&python.name)
            .join("dist-packages");
        let status = python
            .command()
            .arg(pip.join("pip"))
            .args([
                "install",
                "--no-compile",
                "--only-binary=:all:",
                "--no-cache-dir",
                "--root-user-action=ignore",
                "--quiet",
                "--target",
            ])
            .arg(&target)
            .args(&self.wheels)
            .stdin(Stdio::null())
            .stdout(std::io::stderr())
            .status()
            .context("starting the root's own Python")?;
        if !status.success() {
            bail!("pip ended with {status}");
        }
        install_scripts(root, &target.join("bin"))
    }
}

/// The root's own Python, run by the root's own loader.
struct Python {
    root: PathBuf,
    loader: PathBuf,
    /// Such as `python3.11`.
    name: String,
}

impl Python {
    fn of(root: &Path) -> Result<Self> {
        let name =
            fs::read_link(root.join("usr/bin/python3")).context("the root has no python3")?;
        let loader = [root.join("lib64"), root.join("lib")]
            .iter()
            .find_map(|folder| find(folder, |name| name.starts_with("ld-linux-")));
        Ok(Self {
            root: root.to_owned(),
            loader: loader.context("the root has no loader")?,
            name: name
                .file_name()
                .context("a link to a name")?
                .to_string_lossy()
                .into_owned(),
        })
    }

    fn command(&self) -> Command {
        let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
        let libraries: Vec<String> = ["lib", "usr/lib"]
            .iter()
            .map(|folder| self.root.join(folder).join(&triplet).display().to_string())
            .collect();
        let mut command = Command::new(&self.loader);
        command
            .arg("--library-path")
            .arg(libraries.join(":"))
            .arg(self.root.join("usr/bin").join(&self.name))
            .env("PYTHONHOME", self.root.join("usr"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env_remove("PYTHONPATH");
        command
    }
}

/// Moves the commands that wheels bring to where they are found, started by the root's Python.
fn install_scripts(root: &Path, from: &Path) -> Result<()> {
    let to = root.join("usr/local/bin");
    paths::create(&to)?;
    for script in fs::read_dir(from).into_iter().flatten().flatten() {
        let bytes = fs::read(script.path())?;
        let target = to.join(script.file_name());
        let first_line = bytes
            .iter()
            .position(|byte| *byte == b'\n')
            .unwrap_or(bytes.len());
        let is_python = bytes.starts_with(b"#!")
            && String::from_utf8_lossy(&bytes[..first_line]).contains("python");
        let starts_through_shell = bytes.starts_with(b"#!/bin/sh\n'''exec'");
        if is_python || starts_through_shell {
            // pip wrote this machine's path of the interpreter; a long one as three lines of shell.
            let skipped = if starts_through_shell { 3 } else { 1 };
            let rest = bytes
                .split_inclusive(|byte| *byte == b'\n')
                .skip(skipped)
                .collect::<Vec<_>>()
                .concat();
            fs::write(
                &target,
                [b"#!/usr/bin/python3\n".as_slice(), &rest].concat(),
            )?;
            fs::set_permissions(&target, fs::metadata(script.path())?.permissions())?;
        } else {
            fs::copy(script.path(), &target)?;
        }
    }
    match fs::remove_dir_all(from) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).context("removing the moved commands")
        }
        _ => Ok(()),
    }
}

/// Removes what an image does without.
fn tidy(root: &Path) -> Result<()> {
    for folder in [
        "var/cache/apt/archives",
        "var/lib/apt/lists",
        "usr/share/doc",
        "usr/share/man",
        "usr/share/locale",
        "var/cache/debconf",
        "usr/share/python-wheels",
    ] {
        for entry in fs::read_dir(root.join(folder))
            .into_iter()
            .flatten()
            .flatten()
        {
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            }
            .with_context(|| format!("removing {}", path.display()))?;
        }
    }
    let python = root.join("usr/bin/python");
    if root.join("usr/bin/python3").exists() && fs::symlink_metadata(&python).is_err() {
        symlink("python3", &python)?;
    }
    Ok(())
}

/// The mirror that this machine's apt uses for Debian; none leaves debootstrap its own.
fn mirror(suite: &str) -> Option<String> {
    let format = "$(REPO_URI) $(CODENAME) $(ORIGIN)";
    let said = output(Command::new("apt-get").args([
        "indextargets",
        "--format",
        format,
        "Created-By: Packages",
    ]))
    .ok()?;
    let targets: Vec<Vec<&str>> = said.lines().map(|line| line.split(' ').collect()).collect();
    let debian = || {
        targets
            .iter()
            .filter(|target| target.get(2) == Some(&"Debian"))
    };
    debian()
        .find(|target| target.get(1) == Some(&suite))
        .or_else(|| debian().next())
        .and_then(|target| target.first())
        .map(|&mirror| mirror.to_owned())
}

fn find(folder: &Path, is_wanted: impl Fn(&str) -> bool) -> Option<PathBuf> {
    let mut found = fs::read_dir(folder).ok()?.flatten();
    found
        .find(|entry| is_wanted(&entry.file_name().to_string_lossy()))
        .map(|entry| entry.path())
}
