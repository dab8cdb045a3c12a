//! The payload log: rows of requests and their answers.
//!
//! ```text
//!   request's task ──try_send──> queue ──> the log's own thread: parse, count, collect ──> spool ──> upload
//!                     │ full: count as dropped
//! ```
//!
//! A response never waits for it: the queue is bounded, and what does not fit is counted. Parsing and writing are in a
//! thread of their own, so that neither a large request nor a slow volume holds up a response. That thread looks at its
//! queue now and then ([`REST`]), and is not woken for each request. What it takes is on disk within [`SPOOL_AFTER`].

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::time::sleep_until;
use tracing::warn;

use super::capture::Captured;
use super::measurements::Measurements;
use super::outcome::Loss;
use super::payload::{self, Bodies, Form, Payload, guessed_rows};
use super::rows::{Facts, Identity, Rows};
use super::signature::SignatureFile;
use super::spool::{Fill, Spool, SpoolError};
use super::upload::{BACKOFF, Uploader};
use crate::address::Address;

/// How many requests wait for the log at most. What they keep is bounded by the bytes of their bodies, too.
const QUEUE: usize = 8192;

/// How long rows wait to be on disk: well within the second that a crash may cost.
const SPOOL_AFTER: Duration = Duration::from_millis(400);

/// How long the log's thread leaves its queue alone once it is empty. To be woken costs more than to read a row, for who
/// wakes as for who is woken.
const REST: Duration = Duration::from_millis(2);

/// How many bytes of rows wait to be on disk at most.
const BATCH_BYTES: usize = 1 << 20;

/// A request and its answer, on the way to the log.
#[derive(Debug)]
pub struct Entry {
    /// What is known of it.
    pub facts: Facts,
    /// How the bodies are written.
    pub form: Form,
    /// The request's body.
    pub request: Captured,
    /// The answer's body; absent when the answer was none, or an error.
    pub response: Option<Captured>,
    /// What it is wanted for.
    pub wanted: Wanted,
}

/// What a request is wanted for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Its rows are logged.
    pub rows: bool,
    /// Its predictions are counted.
    pub predictions: bool,
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
            self.lose(&entry.request, entry.wanted, Loss::Behind);
        }
    }

    /// Counts a request that cannot be logged.
    pub fn lose(&self, request: &Captured, wanted: Wanted, why: Loss) {
        if wanted.rows {
            let rows = guessed_rows(request.beginning());
            self.measurements.dropped(rows, why);
        }
    }
}

/// What the log is to do.
#[derive(Debug)]
pub struct Settings {
    /// Where rows go; without it predictions are counted and nothing is logged.
    pub to: Option<Destination>,
    /// What every row says.
    pub identity: Identity,
    /// The model's signature.
    pub signature: Arc<SignatureFile>,
}

/// Where rows go.
#[derive(Debug)]
pub struct Destination {
    /// The log's root; files go to a folder named by the version.
    pub uri: Address,
    /// The folder that rows are in until they are uploaded.
    pub spool: PathBuf,
    /// How many bytes may be in it.
    pub spool_limit: u64,
    /// How long a row waits to be uploaded.
    pub flush_every: Duration,
}

/// A log that runs. It ends, and uploads what it has, once it is told to, or each inlet is dropped.
pub struct Running {
    threads: Vec<JoinHandle<()>>,
    fill: Fill,
    end: watch::Sender<bool>,
}

impl Running {
    /// How full its spool is.
    pub fn fill(&self) -> Fill {
        self.fill.clone()
    }

    /// Ends it with what was handed in so far: a request that is still in flight does not hold it up. Nothing is left alone
    /// any more: what could not be uploaded is tried once, and stays on disk.
    pub async fn finished(self) {
        self.end.send_replace(true);
        let join = || self.threads.into_iter().all(|thread| thread.join().is_ok());
        if !matches!(tokio::task::spawn_blocking(join).await, Ok(true)) {
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
    let mut threads = Vec::new();
    let mut fill = Fill::default();
    let (end, is_ending) = watch::channel(false);
    let spool = match settings.to {
        None => None,
        Some(to) => {
            let (seal, sealed) = mpsc::unbounded_channel();
            let version = &settings.identity.version;
            let spool = Spool::open(&to.spool, version, to.spool_limit, to.flush_every, seal);
            // Whatever is wrong with the log, requests are served.
            let spool = spool.inspect_err(|problem| {
                let folder = to.spool.display();
                warn!("no payloads are logged: --spool {folder} cannot be written to: {problem}");
            });
            if let Ok(spool) = &spool {
                fill = spool.fill();
                let uploader = Uploader {
                    to: to.uri,
                    measurements: Arc::clone(&measurements),
                    fill: fill.clone(),
                    backoff: BACKOFF,
                    is_ending: is_ending.clone(),
                };
                threads.push(uploader.start(sealed)?);
            }
            spool.ok()
        }
    };
    let log = Log {
        identity: settings.identity,
        signature: settings.signature,
        measurements: Arc::clone(&measurements),
        rows: None,
        spool,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    let thread = std::thread::Builder::new().name("payload-log".to_owned());
    let thread = thread.spawn(move || runtime.block_on(log.run(receiver, is_ending)))?;
    // It ends before what it seals for.
    threads.insert(0, thread);
    let inlet = Inlet {
        sender,
        measurements,
    };
    Ok((inlet, Running { threads, fill, end }))
}

struct Log {
    identity: Identity,
    signature: Arc<SignatureFile>,
    measurements: Arc<Measurements>,
    /// Rows that are not yet on disk, and since when.
    rows: Option<(Rows, Instant)>,
    spool: Option<Spool>,
}

impl Log {
    async fn run(
        mut self,
        mut entries: mpsc::Receiver<Entry>,
        mut is_ending: watch::Receiver<bool>,
    ) {
        let mut received = Vec::new();
        loop {
            let due = self.due();
            let is_due = async {
                match due {
                    None => std::future::pending().await,
                    Some(due) => sleep_until(due.into()).await,
                }
            };
            let count = tokio::select! {
                count = entries.recv_many(&mut received, QUEUE) => Some(count),
                () = is_due => None,
                // Nobody says so any more: as good as said. What waits is taken still, and nothing comes after it.
                _ = is_ending.wait_for(|is_ending| *is_ending), if !entries.is_closed() => {
                    entries.close();
                    None
                }
            };
            // Each gives back what it keeps once it is read, before all are.
            for entry in received.drain(..) {
                self.take(&entry);
            }
            if count == Some(0) {
                break;
            }
            // Not only after a pause: under load there is none.
            if self.due().is_some_and(|due| due <= Instant::now()) {
                self.do_what_is_due(Instant::now());
            }
            if entries.is_empty() {
                tokio::time::sleep(REST).await;
            }
        }
        self.write();
    }

    /// When there is something to do, whether or not an entry comes.
    fn due(&self) -> Option<Instant> {
        let write = self.rows.as_ref().map(|(_, since)| *since + SPOOL_AFTER);
        let seal = self.spool.as_ref().and_then(Spool::seal_at);
        write.into_iter().chain(seal).min()
    }

    fn do_what_is_due(&mut self, now: Instant) {
        let is_sealed = self
            .spool
            .as_ref()
            .and_then(Spool::seal_at)
            .is_some_and(|at| at <= now);
        self.write();
        if let (true, Some(spool)) = (is_sealed, &mut self.spool) {
            spool.seal();
        }
    }

    fn take(&mut self, entry: &Entry) {
        let Some(payload) = self.read(entry) else {
            if entry.wanted.rows {
                let rows = guessed_rows(entry.request.beginning());
                self.measurements.dropped(rows, Loss::Unreadable);
            }
            return;
        };
        let signature = self.signature.get();
        if entry.wanted.predictions {
            let classes = payload::classes(signature);
            let predictions = payload.predictions.iter();
            let bins = predictions.filter_map(|prediction| payload::bin(prediction, classes));
            self.measurements.predicted(bins);
        }
        if !entry.wanted.rows {
            return;
        }
        if self.spool.is_none() {
            let rows = u64::try_from(payload.count).unwrap_or(u64::MAX);
            self.measurements.dropped(rows, Loss::SpoolFull);
            return;
        }
        if self
            .rows
            .as_ref()
            .is_some_and(|(rows, _)| !rows.fit(&payload) || rows.bytes() >= BATCH_BYTES)
        {
            self.write();
        }
        let (rows, _) = self.rows.get_or_insert_with(|| {
            let rows = Rows::new(&self.identity, self.signature.get(), &payload);
            (rows, Instant::now())
        });
        if rows.withholds() {
            self.measurements.withheld(payload.count as u64);
        }
        rows.push(&payload, &entry.facts);
    }

    fn read(&self, entry: &Entry) -> Option<Payload> {
        let request = entry.request.content().unwrap_or_default();
        let response = entry.response.as_ref().and_then(Captured::content);
        let bodies = Bodies {
            request,
            response,
            form: entry.form,
        };
        payload::parse(self.identity.protocol, bodies, self.signature.get())
    }

    /// Puts the rows on disk.
    fn write(&mut self) {
        let (Some((rows, _)), Some(spool)) = (self.rows.take(), &mut self.spool) else {
            return;
        };
        let count = rows.len() as u64;
        let written = rows.into_batch().map_err(SpoolError::Rows);
        let Err(problem) = written.and_then(|batch| spool.append(&batch)) else {
            return;
        };
        if !matches!(problem, SpoolError::Full) {
            warn!("{count} rows of the payload log are lost: {problem}");
        }
        self.measurements.dropped(count, Loss::SpoolFull);
    }
}
