//! How fast `windlass-agent verify` goes through a signed tree of 2 GB, on two processors at most.
//!
//! `make bench-verify` runs it and writes `target/bench/verify.json`. The tree lies in memory (`/dev/shm`) where there is
//! room, so that it is the agent that is measured and not a disk. Beside it, in the same run: the same bytes read and not
//! hashed, and hashed by one thread. Each figure is the best of three runs of the whole program, its start included.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "bytes and speeds, for people"
)]

#[path = "support/processors.rs"]
mod processors;

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{KeyPair, SigningKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Bytes of the tree, where there is room for it.
const BYTES: u64 = 2_000_000_000;
/// What is read at once, here as in the agent.
const BUFFER: usize = 1 << 20;
/// Bytes of a shard.
const SHARD: u64 = 100_000_000;
/// Runs, of which the best counts.
const RUNS: usize = 3;
/// GB/s that are promised, on two processors.
const GOAL: f64 = 0.8;
const TYPE: &str = "application/vnd.in-toto+json";

fn main() {
    processors::take_two();
    let folder = tempfile::tempdir_in(place()).expect("a folder is made");
    let bytes = BYTES.min(free(folder.path()) / 2);
    let mut figures = Figures::default();
    figures.tell("size of the tree", bytes as f64 / 1e9, "GB", "", true);

    let many = Tree::make(folder.path(), "many", bytes, 10);
    figures.floor(&many);
    for (name, shard) in [("files", None), ("shards", Some(SHARD))] {
        figures.verify(&format!("verify, 10 files, {name}"), &many, shard);
    }
    fs::remove_dir_all(&many.root).expect("removed");
    let one = Tree::make(folder.path(), "one", bytes, 1);
    for (name, shard) in [("files", None), ("shards", Some(SHARD))] {
        figures.verify(&format!("verify, 1 file, {name}"), &one, shard);
    }
    figures.write();
}

/// Where the tree goes: into memory, where there is room for it.
fn place() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() && free(memory) > 2 * BYTES {
        return memory.to_owned();
    }
    std::env::temp_dir()
}

/// What is free on a disk, bytes.
fn free(folder: &Path) -> u64 {
    let disk = rustix::fs::statvfs(folder).expect("a disk");
    disk.f_bavail * disk.f_frsize
}

/// Files of one size, and a key to sign them with.
struct Tree {
    root: PathBuf,
    files: Vec<PathBuf>,
    bytes: u64,
    key: KeyPair,
}

impl Tree {
    fn make(folder: &Path, name: &str, bytes: u64, count: u64) -> Self {
        let root = folder.join(name);
        fs::create_dir(&root).expect("made");
        let files: Vec<PathBuf> = (0..count)
            .map(|at| root.join(format!("part-{at}.bin")))
            .collect();
        let mut content: Vec<u8> = (0..BUFFER).map(|at| (at * 31 % 251) as u8).collect();
        for (at, path) in files.iter().enumerate() {
            let mut file = fs::File::create(path).expect("made");
            let mut left = bytes / count;
            while left > 0 {
                content[0] = (left / BUFFER as u64 + at as u64) as u8;
                let now = left.min(BUFFER as u64);
                file.write_all(&content[..now as usize]).expect("written");
                left -= now;
            }
        }
        let key = KeyPair::generate().expect("a key");
        fs::write(folder.join("key.pub"), key.public_key_pem()).expect("written");
        Self {
            root,
            files,
            bytes: bytes / count * count,
            key,
        }
    }

    /// Reads all files one after the other, and gives each piece to somebody.
    fn read(&self, mut each: impl FnMut(&[u8])) {
        let mut buffer = vec![0; BUFFER];
        for path in &self.files {
            let mut file = fs::File::open(path).expect("opened");
            loop {
                let read = file.read(&mut buffer).expect("read");
                if read == 0 {
                    break;
                }
                each(&buffer[..read]);
            }
        }
    }

    /// The resources of its manifest.
    fn resources(&self, shard: Option<u64>) -> Vec<(String, [u8; 32])> {
        let mut resources = Vec::new();
        for path in &self.files {
            let name = path.file_name().expect("a name").to_string_lossy();
            let size = fs::metadata(path).expect("there").len();
            let step = shard.unwrap_or(size);
            let mut file = fs::File::open(path).expect("opened");
            for start in (0..size).step_by(step as usize) {
                let mut hash = Sha256::new();
                let mut part = Read::take(&mut file, step);
                std::io::copy(&mut part, &mut hash).expect("hashed");
                let end = size.min(start + step);
                let name =
                    shard.map_or_else(|| name.to_string(), |_| format!("{name}:{start}:{end}"));
                resources.push((name, hash.finalize().into()));
            }
        }
        resources.sort();
        resources
    }

    /// Signs it, as `model_signing sign key` does.
    fn sign(&self, shard: Option<u64>) {
        let resources = self.resources(shard);
        let mut root = Sha256::new();
        for (_, digest) in &resources {
            root.update(digest);
        }
        let listed: Vec<Value> = resources
            .iter()
            .map(|(name, digest)| json!({"name": name, "digest": hex(digest), "algorithm": "sha256"}))
            .collect();
        let method = if shard.is_some() { "shards" } else { "files" };
        let mut serialization =
            json!({"method": method, "hash_type": "sha256", "allow_symlinks": false});
        if let Some(shard) = shard {
            serialization["shard_size"] = json!(shard);
        }
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": "model", "digest": {"sha256": hex(&root.finalize())}}],
            "predicateType": "https://model_signing/signature/v1.0",
            "predicate": {"resources": listed, "serialization": serialization},
        });
        let payload = statement.to_string();
        let signed = format!("DSSEv1 {} {TYPE} {} {payload}", TYPE.len(), payload.len());
        let signature = self.key.sign(signed.as_bytes()).expect("signed");
        let bundle = json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {"publicKey": {"hint": ""}},
            "dsseEnvelope": {
                "payload": STANDARD.encode(payload), "payloadType": TYPE,
                "signatures": [{"sig": STANDARD.encode(signature)}],
            },
        });
        fs::write(self.root.join("model.sig"), bundle.to_string()).expect("written");
    }

    /// Runs `windlass-agent verify`: how long it took, and the most memory that it held, bytes.
    fn verify(&self) -> (Duration, u64) {
        let start = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_windlass-agent"))
            .arg("verify")
            .arg(&self.root)
            .arg("--public-key")
            .arg(self.root.with_file_name("key.pub"))
            .env("RUST_LOG", "error")
            .stdout(Stdio::null())
            .spawn()
            .expect("the program starts");
        let mut most = 0;
        loop {
            most = most.max(held(child.id()));
            if let Some(status) = child.try_wait().expect("waited for") {
                assert!(status.success(), "it is verified");
                return (start.elapsed(), most);
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// The most memory that a process has held so far, bytes; 0 where that is not told.
fn held(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The shortest of some runs, seconds.
fn best(mut run: impl FnMut() -> Duration) -> f64 {
    let all = (0..RUNS).map(|_| run());
    all.min().unwrap_or_default().as_secs_f64()
}

#[derive(Default)]
struct Figures(Vec<Value>);

impl Figures {
    fn tell(&mut self, name: &str, value: f64, unit: &str, goal: &str, holds: bool) {
        println!(
            "{name:45} {value:8.3} {unit:5} {goal:12} {}",
            if holds { "holds" } else { "DOES NOT HOLD" }
        );
        self.0.push(
            json!({"name": name, "value": value, "unit": unit, "goal": goal, "holds": holds}),
        );
    }

    fn speed(&mut self, name: &str, bytes: u64, seconds: f64, goal: Option<f64>) {
        let speed = bytes as f64 / 1e9 / seconds;
        let said = goal.map_or_else(|| "printed".to_owned(), |goal| format!(">= {goal}"));
        self.tell(
            name,
            speed,
            "GB/s",
            &said,
            goal.is_none_or(|goal| speed >= goal),
        );
    }

    /// What no verification can be faster than, and what one thread does.
    fn floor(&mut self, tree: &Tree) {
        let timed = |each: &mut dyn FnMut(&[u8])| {
            let start = Instant::now();
            tree.read(each);
            start.elapsed()
        };
        let seconds = best(|| {
            timed(&mut |bytes| {
                std::hint::black_box(bytes);
            })
        });
        self.speed("read and not hashed, one thread", tree.bytes, seconds, None);
        let seconds = best(|| {
            let mut hash = Sha256::new();
            let took = timed(&mut |bytes| hash.update(bytes));
            std::hint::black_box(hash.finalize());
            took
        });
        self.speed("SHA-256, one thread", tree.bytes, seconds, None);
    }

    fn verify(&mut self, name: &str, tree: &Tree, shard: Option<u64>) {
        tree.sign(shard);
        let mut most = 0;
        let seconds = best(|| {
            let (took, held) = tree.verify();
            most = most.max(held);
            took
        });
        let processors = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let name = format!("{name}, {processors} processors");
        self.speed(&name, tree.bytes, seconds, Some(GOAL));
        let megabytes = most as f64 / 1e6;
        self.tell(
            &format!("{name}: memory"),
            megabytes,
            "MB",
            "<= 100",
            megabytes <= 100.0,
        );
    }

    fn write(&self) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bench");
        fs::create_dir_all(&folder).expect("the folder is made");
        let text = serde_json::to_string_pretty(&self.0).expect("figures always serialize");
        fs::write(folder.join("verify.json"), text).expect("the figures are written");
    }
}
