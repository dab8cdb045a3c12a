//! Processes that outlive the one that started them, and how they are ended.
//!
//! A process is known by its id *and* its start time, so that a signal never reaches a
//! stranger that got the same id later. Each also carries the cluster's folder in its
//! environment ([`MARK`]), which its children inherit: so what a killed `up` had started but
//! not yet written down is found as well.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use serde::{Deserialize, Serialize};

/// The environment variable that marks a cluster's processes with the cluster's folder.
pub const MARK: &str = "WINDLASS_TESTCLUSTER_FOLDER";

/// One process, and no other that has its id later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Process id.
    pub pid: i32,
    /// Start time in clock ticks since the machine started.
    pub start: u64,
}

impl Identity {
    /// The process that has this id now; none if there is none, or a zombie only.
    pub fn of(pid: i32) -> Option<Self> {
        let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold spaces and parentheses itself.
        let mut fields = line[line.rfind(')')? + 1..].split_whitespace();
        let state = fields.next()?;
        let start = fields.nth(18)?.parse().ok()?;
        (!matches!(state, "Z" | "X")).then_some(Self { pid, start })
    }

    /// This process.
    pub fn own() -> Result<Self> {
        let pid = i32::try_from(std::process::id()).context("a process id is an i32")?;
        Self::of(pid).context("reading this process's own start time")
    }

    /// Whether it still runs.
    pub fn is_alive(self) -> bool {
        self.reap();
        Self::of(self.pid) == Some(self)
    }

    /// Sends a signal, if it still runs.
    pub fn signal(self, signal: Signal) {
        if let (true, Some(pid)) = (self.is_alive(), Pid::from_raw(self.pid)) {
            // It may have ended in between: that is what was wanted.
            let _ = kill_process(pid, signal);
        }
    }

    /// Takes the exit status if it was our child and has ended, so that no zombie stays.
    fn reap(self) {
        if let Some(pid) = Pid::from_raw(self.pid) {
            let _ = waitpid(Some(pid), WaitOptions::NOHANG);
        }
    }
}

/// A program of a cluster: how it is started, so that it can be started again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Component {
    /// Such as `kube-apiserver`.
    pub name: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Set in addition to `PATH` and `HOME`, which are inherited.
    pub environment: BTreeMap<String, String>,
    /// What `nsenter` is told of the namespaces to run in; nothing is the caller's own.
    pub entering: Vec<String>,
    /// The process, once started.
    pub process: Option<Identity>,
}

impl Component {
    /// A component that runs in the caller's namespaces.
    pub fn new(name: &str, program: &Path, arguments: impl IntoIterator<Item = String>) -> Self {
        let mut command = vec![program.display().to_string()];
        command.extend(arguments);
        Self {
            name: name.to_owned(),
            command,
            environment: BTreeMap::new(),
            entering: Vec::new(),
            process: None,
        }
    }

    /// The same, in the namespaces that `nsenter` is told.
    #[must_use]
    pub fn within(mut self, entering: Vec<String>) -> Self {
        self.entering = entering;
        self
    }

    /// Where what it says goes.
    pub fn log(&self, folder: &Path) -> PathBuf {
        folder.join("logs").join(format!("{}.log", self.name))
    }

    /// Whether it runs.
    pub fn is_alive(&self) -> bool {
        self.process.is_some_and(Identity::is_alive)
    }

    /// Starts it in a session of its own, so that neither the terminal nor the caller's end stops it.
    pub fn start(&mut self, folder: &Path) -> Result<()> {
        let log_path = self.log(folder);
        paths_create_parent(&log_path)?;
        let log = File::options().create(true).append(true).open(&log_path)?;
        // `nsenter` and `setsid` both replace themselves: the id is the program's own.
        let mut command = Command::new(if self.entering.is_empty() {
            "setsid"
        } else {
            "nsenter"
        });
        if !self.entering.is_empty() {
            command.args(&self.entering).arg("setsid");
        }
        command
            .args(&self.command)
            .current_dir(folder)
            .env_clear()
            .envs(std::env::vars_os().filter(|(key, _)| key == "PATH" || key == "HOME"))
            .envs(&self.environment)
            .env(MARK, folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let child = command
            .spawn()
            .with_context(|| format!("starting {}", self.name))?;
        let pid = i32::try_from(child.id()).context("a process id is an i32")?;
        let Some(process) = Identity::of(pid) else {
            bail!("{} ended at once:\n{}", self.name, tail(&log_path));
        };
        self.process = Some(process);
        Ok(())
    }

    /// An error with the log's end if it does not run any more.
    pub fn check(&self, folder: &Path) -> Result<()> {
        if self.is_alive() {
            return Ok(());
        }
        bail!(
            "{} has ended; the end of its log:\n{}",
            self.name,
            tail(&self.log(folder))
        )
    }
}

fn paths_create_parent(path: &Path) -> Result<()> {
    path.parent().map_or(Ok(()), crate::paths::create)
}

/// The last lines of a log.
fn tail(path: &Path) -> String {
    let text = fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}

/// Every living process that carries the cluster's mark, except this one.
pub fn marked(folder: &Path) -> Vec<Identity> {
    let wanted = format!("{MARK}={}", folder.display());
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| *pid != own)
        .filter_map(|pid| {
            let identity = Identity::of(pid)?;
            let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
            environment
                .split(|byte| *byte == 0)
                .any(|entry| entry == wanted.as_bytes())
                .then_some(identity)
        })
        .collect()
}

/// Kills all that `find` names, again and again until it names none.
pub fn end_all(find: impl Fn() -> Vec<Identity>, patience: Duration) -> Result<()> {
    let started = Instant::now();
    loop {
        let living: Vec<Identity> = find()
            .into_iter()
            .filter(|identity| identity.is_alive())
            .collect();
        if living.is_empty() {
            return Ok(());
        }
        if started.elapsed() > patience {
            bail!(
                "these processes do not end: {:?}",
                living
                    .iter()
                    .map(|identity| identity.pid)
                    .collect::<Vec<_>>()
            );
        }
        for identity in living {
            identity.signal(Signal::KILL);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until `ready` says so; the error says what was awaited.
pub fn wait_for(
    what: &str,
    patience: Duration,
    mut ready: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let started = Instant::now();
    while !ready()? {
        if started.elapsed() > patience {
            bail!("{what}: not so after {:.0} s", patience.as_secs_f64());
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// Runs a command to its end and returns what it said; an error has its stderr.
pub fn output(command: &mut Command) -> Result<String> {
    let result = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("running {command:?}"))?;
    if !result.status.success() {
        bail!(
            "{command:?} ended with {}:\n{}",
            result.status,
            String::from_utf8_lossy(&result.stderr).trim_end()
        );
    }
    Ok(String::from_utf8_lossy(&result.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_id_and_its_start() {
        let own = Identity::own().unwrap();
        assert!(own.is_alive());
        assert!(
            !Identity {
                start: own.start + 1,
                ..own
            }
            .is_alive(),
            "another with the same id is a stranger"
        );
    }

    #[test]
    fn a_component_runs_is_found_by_its_mark_and_ends() {
        let folder = tempfile::tempdir().unwrap();
        let mut component = Component::new("sleeper", Path::new("sleep"), ["600".to_owned()]);
        component.start(folder.path()).unwrap();
        assert!(component.is_alive());
        wait_for("the mark", Duration::from_secs(5), || {
            Ok(marked(folder.path()).len() == 1)
        })
        .unwrap();
        end_all(|| marked(folder.path()), Duration::from_secs(5)).unwrap();
        // The mark goes first, and then the process.
        wait_for("its end", Duration::from_secs(5), || {
            Ok(!component.is_alive())
        })
        .unwrap();
        assert!(component.check(folder.path()).is_err());
    }
}
