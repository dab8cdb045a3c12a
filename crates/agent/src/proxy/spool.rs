//! The payload log on local disk, before it is uploaded: streams of Arrow IPC, one batch after the other.
//!
//! ```text
//!   --spool/VERSION/OWNER/000001.arrows     open: batches are added, each on disk before the next
//!                        /000000.arrows     sealed: waits to be uploaded, then deleted
//! ```
//!
//! A crash tears at most the last batch off; all before it is read. Each proxy has a folder of its own and holds a lock on
//! it; at its start it takes over the folders that nobody holds a lock on any more, whatever version they are of.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use tokio::sync::mpsc::UnboundedSender;
use tracing::{info, warn};
use uuid::Uuid;

/// After how many rows a file is sealed, however early it is.
const FILE_ROWS: usize = 20_000;
/// After how many bytes.
const FILE_BYTES: u64 = 8 << 20;
/// How the files are called.
const EXTENSION: &str = "arrows";

/// Why rows could not be spooled.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// There is as much in it as there may be.
    #[error("the spool is full")]
    Full,
    /// The rows are no batch of one schema.
    #[error("the rows cannot be written: {0}")]
    Rows(#[from] ArrowError),
    /// The disk.
    #[error("writing to the spool failed: {0}")]
    Disk(#[from] io::Error),
}

/// A folder of the spool that this program holds a lock on. It goes with the last of its files.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// The version that its rows are of.
    version: String,
    /// The lock goes when it is closed.
    _lock: File,
}

impl Folder {
    /// Takes a folder; absent where somebody else has it.
    fn take(path: PathBuf) -> io::Result<Option<Self>> {
        let lock = File::open(&path)?;
        if lock.try_lock().is_err() {
            return Ok(None);
        }
        let version = path.parent().and_then(Path::file_name);
        Ok(Some(Self {
            version: version.unwrap_or_default().to_string_lossy().into_owned(),
            path,
            _lock: lock,
        }))
    }

    /// A new one.
    fn make(root: &Path, version: &str) -> io::Result<Self> {
        loop {
            let path = root.join(version).join(Uuid::new_v4().to_string());
            std::fs::create_dir_all(&path)?;
            // Another proxy that starts at this moment may have taken it for an abandoned one.
            if let Ok(Some(folder)) = Self::take(path) {
                return Ok(folder);
            }
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Files that were not uploaded keep it.
        let _ = std::fs::remove_dir(&self.path);
    }
}

/// A file that waits to be uploaded.
#[derive(Debug)]
pub struct Sealed {
    /// Where it lies.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    folder: Arc<Folder>,
}

impl Sealed {
    /// The version that its rows are of.
    pub fn version(&self) -> &str {
        &self.folder.version
    }
}

/// How full a spool is, for all who look.
#[derive(Clone, Debug, Default)]
pub struct Fill(Arc<AtomicU64>);

impl Fill {
    /// Bytes that are in it.
    pub fn bytes(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// A file of so many bytes is gone.
    pub fn gone(&self, bytes: u64) {
        self.0.fetch_sub(bytes, Relaxed);
    }
}

/// The spool of one proxy.
pub struct Spool {
    folder: Arc<Folder>,
    limit: u64,
    seal_after: Duration,
    fill: Fill,
    sealed: UnboundedSender<Sealed>,
    open: Option<Open>,
    number: u32,
}

/// The file that is written to.
struct Open {
    path: PathBuf,
    file: File,
    /// Encodes into memory: so a batch is written at once, and its size is known before.
    writer: StreamWriter<Vec<u8>>,
    schema: SchemaRef,
    bytes: u64,
    rows: usize,
    opened: Instant,
}

impl Spool {
    /// Opens a spool below `root`, of so many bytes at most, and hands over what others have left there. A file is sealed
    /// `seal_after` its first rows.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(
        root: &Path,
        version: &str,
        limit: u64,
        seal_after: Duration,
        sealed: UnboundedSender<Sealed>,
    ) -> io::Result<Self> {
        let folder = Arc::new(Folder::make(root, version)?);
        let spool = Self {
            folder,
            limit,
            seal_after,
            fill: Fill::default(),
            sealed,
            open: None,
            number: 0,
        };
        spool.take_over(root);
        Ok(spool)
    }

    /// How full it is.
    pub fn fill(&self) -> Fill {
        self.fill.clone()
    }

    /// Hands over the files in folders that nobody holds.
    fn take_over(&self, root: &Path) {
        let below = |folder: &Path| -> Vec<PathBuf> {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
            paths.sort();
            paths
        };
        for path in below(root).iter().flat_map(|version| below(version)) {
            let Ok(Some(folder)) = Folder::take(path) else {
                continue;
            };
            let folder = Arc::new(folder);
            let files = below(&folder.path).into_iter();
            let files = files.filter(|path| path.extension().is_some_and(|is| is == EXTENSION));
            for path in files {
                info!(
                    "{} was left by an earlier run and is uploaded",
                    path.display()
                );
                let bytes = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
                self.hand_over(path, bytes, Arc::clone(&folder));
                self.fill.0.fetch_add(bytes, Relaxed);
            }
        }
    }

    fn hand_over(&self, path: PathBuf, bytes: u64, folder: Arc<Folder>) {
        let file = Sealed {
            path,
            bytes,
            folder,
        };
        // Without anyone who uploads, it stays for the next start.
        let _ = self.sealed.send(file);
    }

    /// Adds rows. They are on disk when this returns.
    ///
    /// # Errors
    /// When they are not.
    pub fn append(&mut self, batch: &RecordBatch) -> Result<(), SpoolError> {
        let schema = batch.schema();
        if self.open.as_ref().is_some_and(|open| open.schema != schema) {
            self.seal();
        }
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.create(&schema)?,
        };
        let added = self.write(&mut open, batch);
        let is_large = open.rows >= FILE_ROWS || open.bytes >= FILE_BYTES;
        let is_usable = !matches!(added, Err(SpoolError::Rows(_)));
        if open.rows > 0 || is_usable {
            self.open = Some(open);
        }
        if is_large || !is_usable {
            self.seal();
        }
        added
    }

    fn create(&mut self, schema: &SchemaRef) -> Result<Open, SpoolError> {
        let path = self
            .folder
            .path
            .join(format!("{:06}.{EXTENSION}", self.number));
        self.number += 1;
        Ok(Open {
            file: File::create_new(&path)?,
            path,
            writer: StreamWriter::try_new(Vec::new(), schema)?,
            schema: Arc::clone(schema),
            bytes: 0,
            rows: 0,
            opened: Instant::now(),
        })
    }

    fn write(&self, open: &mut Open, batch: &RecordBatch) -> Result<(), SpoolError> {
        open.writer.write(batch)?;
        let content = open.writer.get_ref();
        let size = content.len() as u64;
        let written = if self.fill.bytes() + size > self.limit {
            Err(SpoolError::Full)
        } else {
            open.file
                .write_all(content)
                .and_then(|()| open.file.sync_data())
                .map_err(SpoolError::Disk)
        };
        match written {
            Ok(()) => {
                open.writer.get_mut().clear();
                open.bytes += size;
                open.rows += batch.num_rows();
                self.fill.0.fetch_add(size, Relaxed);
                Ok(())
            }
            Err(problem) => {
                // The schema is said once, at the beginning: a file that is still without it is begun anew.
                if open.rows == 0 {
                    open.writer = StreamWriter::try_new(Vec::new(), &open.schema)?;
                } else {
                    open.writer.get_mut().clear();
                }
                // What was written of the batch is taken off again, or nothing after it could be read.
                open.file.set_len(open.bytes)?;
                open.file.seek(SeekFrom::Start(open.bytes))?;
                Err(problem)
            }
        }
    }

    /// When the open file is to be sealed.
    pub fn seal_at(&self) -> Option<Instant> {
        self.open.as_ref().map(|open| open.opened + self.seal_after)
    }

    /// Hands the open file over to be uploaded.
    pub fn seal(&mut self) {
        let Some(open) = self.open.take() else { return };
        if open.rows > 0 {
            self.hand_over(open.path, open.bytes, Arc::clone(&self.folder));
        } else if let Err(problem) = std::fs::remove_file(&open.path) {
            warn!("{} is empty and stays: {problem}", open.path.display());
        }
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.seal();
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;

    use arrow::array::{ArrayRef, Int64Array};
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    use super::super::upload::read;
    use super::*;

    fn batch(name: &str, rows: i64) -> RecordBatch {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
        RecordBatch::try_from_iter([(name, column)]).expect("a batch")
    }

    fn open(root: &Path, limit: u64) -> (Spool, UnboundedReceiver<Sealed>) {
        let (sender, sealed) = unbounded_channel();
        let spool = Spool::open(root, "m-1", limit, Duration::from_secs(5), sender);
        (spool.expect("a spool"), sealed)
    }

    fn rows(path: &Path) -> usize {
        let mut rows = 0;
        let read = read(path, |batch| {
            rows += batch.num_rows();
            Ok(())
        });
        read.expect("it is read");
        rows
    }

    #[test]
    fn a_torn_batch_is_left_out_and_all_before_it_is_read() {
        let root = tempfile::tempdir().expect("a folder");
        let (mut spool, mut sealed) = open(root.path(), 1 << 20);
        spool.append(&batch("a", 10)).expect("spooled");
        let whole = spool.open.as_ref().expect("open").bytes;
        spool.append(&batch("a", 20)).expect("spooled");
        spool.seal();
        let file = sealed.try_recv().expect("sealed");
        assert_eq!(rows(&file.path), 30);
        for bytes in [file.bytes - 1, whole + 9, whole + 1, whole] {
            let torn = OpenOptions::new().write(true).open(&file.path);
            torn.expect("opened").set_len(bytes).expect("cut");
            assert_eq!(rows(&file.path), 10, "{bytes} of {}", file.bytes);
        }
        for bytes in [5, 0] {
            let torn = OpenOptions::new().write(true).open(&file.path);
            torn.expect("opened").set_len(bytes).expect("cut");
            assert_eq!(rows(&file.path), 0);
        }
    }

    #[test]
    fn a_full_spool_takes_nothing_until_there_is_room_again() {
        let root = tempfile::tempdir().expect("a folder");
        let (mut spool, mut sealed) = open(root.path(), 3000);
        spool.append(&batch("a", 100)).expect("there is room");
        let refused = loop {
            if let Err(problem) = spool.append(&batch("a", 100)) {
                break problem;
            }
        };
        assert!(matches!(refused, SpoolError::Full), "{refused}");
        assert!(spool.fill().bytes() <= 3000);
        spool.seal();
        assert!(matches!(
            spool.append(&batch("a", 100)),
            Err(SpoolError::Full)
        ));
        let file = sealed.try_recv().expect("sealed");
        assert_eq!(rows(&file.path) % 100, 0);
        spool.fill().gone(file.bytes);
        spool.append(&batch("a", 100)).expect("there is room again");
        spool.seal();
        assert_eq!(rows(&sealed.try_recv().expect("sealed").path), 100);
    }

    #[test]
    fn what_a_dead_proxy_left_is_taken_over_and_what_a_live_one_has_is_not() {
        let root = tempfile::tempdir().expect("a folder");
        let (mut dead, _) = open(root.path(), 1 << 20);
        let (mut live, _live) = open(root.path(), 1 << 20);
        dead.append(&batch("a", 1)).expect("spooled");
        live.append(&batch("a", 2)).expect("spooled");
        let left = dead.open.as_ref().expect("open").path.clone();
        // As after a kill: no seal, and the lock goes with the process.
        drop(dead);
        let (next, mut sealed) = open(root.path(), 1 << 20);
        let file = sealed.try_recv().expect("it is taken over");
        assert_eq!((&file.path, file.version()), (&left, "m-1"));
        assert!(sealed.try_recv().is_err());
        assert_eq!(next.fill().bytes(), file.bytes);
        std::fs::remove_file(&file.path).expect("removed");
        drop(file);
        assert!(!left.parent().expect("a folder").exists());
    }

    #[test]
    fn rows_of_other_columns_are_another_file() {
        let root = tempfile::tempdir().expect("a folder");
        let (mut spool, mut sealed) = open(root.path(), 1 << 20);
        spool.append(&batch("a", 1)).expect("spooled");
        spool.append(&batch("b", 2)).expect("spooled");
        assert_eq!(rows(&sealed.try_recv().expect("sealed").path), 1);
        assert!(spool.seal_at().is_some());
        spool.seal();
        assert_eq!(rows(&sealed.try_recv().expect("sealed").path), 2);
        assert!(spool.seal_at().is_none());
    }
}
