//! The payload log: rows of requests and their answers, as Parquet.
//!
//! ```text
//!   request's task ──try_send──> queue ──> the log's own thread: parse, collect ──> Parquet file
//!                     │ full: count as dropped
//! ```
//!
//! A response never waits for it: the queue is bounded, and what does not fit is counted. Parsing and writing
//! are in a thread of their own, so that neither a large request nor a slow volume holds up a response.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};
use windlass_api::agent::{SIGNATURE_FILE, Signature};

use super::capture::Captured;
use super::measurements::Measurements;
use super::payload::{self, guessed_rows};
use super::rows::{Identity, Rows};
use crate::address::Address;
use crate::report::chain;

/// How many requests wait for the log at most.
const QUEUE: usize = 1024;

/// After how many rows a file is written, however early it is.
const FILE_ROWS: usize = 20_000;

/// A request and its answer, on the way to the log.
#[derive(Debug)]
pub struct Entry {
    /// When the request came.
    pub received: Timestamp,
    /// The request's body.
    pub request: Captured,
    /// The answer's body; absent when the answer was none, or an error.
    pub response: Option<Captured>,
}

/// Where requests hand in what is to be logged.
#[derive(Clone, Debug)]
pub struct Inlet {
    sender: mpsc::Sender<Entry>,
    measurements: Arc<Measurements>,
}

impl Inlet {
    /// Hands in an entry; one that does not fit is counted as dropped.
    pub fn hand_in(&self, entry: Entry) {
        if let Err(
            mpsc::error::TrySendError::Full(entry) | mpsc::error::TrySendError::Closed(entry),
        ) = self.sender.try_send(entry)
        {
            self.measurements
                .dropped(guessed_rows(entry.request.beginning()));
        }
    }
}

/// What the log is to do.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its root; files go to a folder named by the version.
    pub to: Address,
    /// What every row says.
    pub identity: Identity,
    /// The file with the model's signature; read when the first request comes.
    pub signature: Option<PathBuf>,
    /// How long a row waits to be written.
    pub flush_every: Duration,
}

/// A log that runs. It ends, and writes what it has, once each inlet is dropped.
pub struct Running(std::thread::JoinHandle<()>);

impl Running {
    /// Waits for the end.
    pub async fn finished(self) {
        let joined = tokio::task::spawn_blocking(move || self.0.join()).await;
        if !matches!(joined, Ok(Ok(()))) {
            warn!("the payload log ended early");
        }
    }
}

/// Starts the log.
///
/// # Errors
/// When there is no thread to be had.
pub fn start(
    settings: Settings,
    measurements: Arc<Measurements>,
) -> std::io::Result<(Inlet, Running)> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let log = Log {
        settings,
        measurements: Arc::clone(&measurements),
        rows: None,
        signature: SignatureFile::NotRead,
        names: Names::default(),
    };
    let thread = std::thread::Builder::new().name("payload-log".to_owned());
    let thread = thread.spawn(move || runtime.block_on(log.run(receiver)))?;
    Ok((
        Inlet {
            sender,
            measurements,
        },
        Running(thread),
    ))
}

struct Log {
    settings: Settings,
    measurements: Arc<Measurements>,
    rows: Option<Rows>,
    signature: SignatureFile,
    names: Names,
}

impl Log {
    async fn run(mut self, mut entries: mpsc::Receiver<Entry>) {
        let mut flush_at = Instant::now() + self.settings.flush_every;
        loop {
            match timeout_at(flush_at, entries.recv()).await {
                Ok(Some(entry)) => self.take(entry).await,
                Ok(None) => break,
                Err(_) => {
                    self.flush().await;
                    flush_at = Instant::now() + self.settings.flush_every;
                }
            }
        }
        self.flush().await;
    }

    async fn take(&mut self, entry: Entry) {
        if matches!(self.signature, SignatureFile::NotRead) {
            self.signature = read_signature(self.settings.signature.as_deref());
        }
        let response = entry.response.as_ref().and_then(Captured::content);
        let classes = self
            .signature
            .get()
            .map_or(&[][..], |signature| &signature.output.classes);
        let payload = entry
            .request
            .content()
            .and_then(|request| payload::parse(&request, response.as_deref(), classes));
        let Some(payload) =
            payload.filter(|payload| payload::fits(self.signature.get(), payload.rows[0].len()))
        else {
            self.measurements
                .dropped(guessed_rows(entry.request.beginning()));
            return;
        };
        let width = payload.rows[0].len();
        if self
            .rows
            .as_ref()
            .is_some_and(|rows| rows.width() != width || rows.len() >= FILE_ROWS)
        {
            self.flush().await;
        }
        let signature = self.signature.get();
        let rows = self
            .rows
            .get_or_insert_with(|| Rows::new(&self.settings.identity, signature, width));
        rows.push(payload, entry.received);
    }

    async fn flush(&mut self) {
        let Some(rows) = self.rows.take() else { return };
        let count = rows.len() as u64;
        match self.write(rows).await {
            Ok(()) => self.measurements.logged(count),
            Err(problem) => {
                warn!("{count} rows of the payload log are lost: {problem}");
                self.measurements.dropped(count);
            }
        }
    }

    async fn write(&mut self, rows: Rows) -> Result<(), String> {
        let name = self.names.next(rows.first(), rows.last());
        let folder = self.settings.to.child(&self.settings.identity.version);
        let content = rows.into_parquet().map_err(|problem| chain(&problem))?;
        let Some(local) = folder.local_path() else {
            return folder
                .child(&name)
                .write(content.into())
                .await
                .map_err(|problem| chain(&problem));
        };
        let write = || -> std::io::Result<()> {
            std::fs::create_dir_all(local)?;
            let partial = local.join(format!(".windlass-{name}"));
            let mut file = std::fs::File::create(&partial)?;
            std::io::Write::write_all(&mut file, &content)?;
            // A file that a reader sees is a file that is whole, even after the node has crashed.
            file.sync_all()?;
            std::fs::rename(&partial, local.join(&name))
        };
        write().map_err(|problem| format!("writing to {} failed: {problem}", folder.uri()))
    }
}

/// The model's signature, read with the first request.
enum SignatureFile {
    NotRead,
    Missing,
    Read(Signature),
}

impl SignatureFile {
    fn get(&self) -> Option<&Signature> {
        match self {
            Self::NotRead | Self::Missing => None,
            Self::Read(signature) => Some(signature),
        }
    }
}

fn read_signature(path: Option<&std::path::Path>) -> SignatureFile {
    let Some(path) = path else {
        return SignatureFile::Missing;
    };
    let content = match std::fs::read(path) {
        Ok(content) => content,
        Err(problem) => {
            info!(
                "no {SIGNATURE_FILE} at {}: columns are logged as f0, f1, … ({problem})",
                path.display()
            );
            return SignatureFile::Missing;
        }
    };
    serde_json::from_slice(&content)
        .inspect_err(|problem| {
            warn!(
                "{} cannot be read, columns are logged as f0, f1, …: {problem}",
                path.display()
            );
        })
        .map_or(SignatureFile::Missing, SignatureFile::Read)
}

/// Names of files: by the time of their rows and by the pod, never one twice.
#[derive(Debug, Default)]
struct Names {
    last: String,
    again: u32,
}

impl Names {
    fn next(&mut self, first: Timestamp, last: Timestamp) -> String {
        let pod = std::env::var("HOSTNAME").unwrap_or_else(|_| "local".to_owned());
        let name = format!("{}-{}-{pod}", first.as_millisecond(), last.as_millisecond());
        if name == self.last {
            self.again += 1;
            return format!("{name}.{}.parquet", self.again);
        }
        self.again = 0;
        self.last.clone_from(&name);
        format!("{name}.parquet")
    }
}
