//! Servers that `scripts/install-servers.sh` put into the cache, run for a test.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// The folder of a server; where it is not there, that is said.
pub fn installed(name: &str) -> Option<PathBuf> {
    let found = newest(name);
    if found.is_none() {
        println!(
            "skipped: there is no {name} in the cache; scripts/install-servers.sh puts it there, or says why it cannot"
        );
    }
    found
}

fn newest(name: &str) -> Option<PathBuf> {
    let cache = match std::env::var_os("XDG_CACHE_HOME") {
        Some(cache) if !cache.is_empty() => PathBuf::from(cache),
        _ => PathBuf::from(std::env::var_os("HOME")?).join(".cache"),
    };
    let mut places: Vec<PathBuf> = std::fs::read_dir(cache.join("windlass"))
        .ok()?
        .flatten()
        .filter(|entry| {
            let entry = entry.file_name().to_string_lossy().into_owned();
            let version = entry
                .strip_prefix(name)
                .and_then(|rest| rest.strip_prefix('-'));
            version.is_some_and(|version| version.starts_with(|first: char| first.is_ascii_digit()))
        })
        .map(|entry| entry.path())
        .filter(|place| place.join("complete").is_file())
        .collect();
    places.sort();
    places.pop()
}

/// An address of this machine that nobody listens at.
pub fn free_address() -> SocketAddr {
    let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    address.expect("an address that is free")
}

/// A program and all that it starts; they end with it.
pub struct Group {
    child: Child,
}

impl Group {
    pub fn start(command: &mut Command) -> Self {
        let child = command.process_group(0).stdin(Stdio::null()).spawn();
        Self {
            child: child.expect("the program starts"),
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let group = i32::try_from(self.child.id()).ok();
        if let Some(group) = group.and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.child.wait();
    }
}
