//! Uploads what is sealed in the spool, as Parquet, and deletes it there.
//!
//! In a thread of its own: a store that hangs holds up nothing but the spool. An upload that fails is tried again, ever
//! more seldom, for as long as the proxy runs. At the end each file is tried once more, at once; after that it is for the
//! next start.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use arrow::ipc::reader::StreamReader;
use jiff::Timestamp;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;
use tracing::warn;

use super::measurements::Measurements;
use super::spool::{Fill, Sealed};
use crate::address::Address;
use crate::report::chain;

/// How long it waits after the first failure, and at most.
pub const BACKOFF: [Duration; 2] = [Duration::from_secs(1), Duration::from_mins(1)];

/// What uploads.
pub struct Uploader {
    /// The log's root; files go to a folder named by the version.
    pub to: Address,
    /// What counts the rows.
    pub measurements: Arc<Measurements>,
    /// How full the spool is.
    pub fill: Fill,
    /// How long it waits after the first failure, and at most.
    pub backoff: [Duration; 2],
    /// Whether the proxy ends, so that nothing is waited for.
    pub is_ending: watch::Receiver<bool>,
}

/// A file as Parquet.
struct Converted {
    content: Vec<u8>,
    rows: u64,
    first: Timestamp,
    last: Timestamp,
}

impl Uploader {
    /// Starts a thread that uploads until nobody seals any more.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn start(
        mut self,
        mut sealed: UnboundedReceiver<Sealed>,
    ) -> std::io::Result<JoinHandle<()>> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let run = async move {
            while let Some(file) = sealed.recv().await {
                self.take(&file).await;
            }
        };
        let thread = std::thread::Builder::new().name("payload-upload".to_owned());
        thread.spawn(move || runtime.block_on(run))
    }

    async fn take(&mut self, file: &Sealed) {
        match convert(&file.path) {
            Ok(Some(converted)) => {
                let name = name(&file.path, converted.first, converted.last);
                let folder = self.to.child(file.version());
                let content = bytes::Bytes::from(converted.content);
                let mut backoff = self.backoff[0];
                loop {
                    let is_last = *self.is_ending.borrow();
                    let Err(problem) = write(&folder, &name, content.clone()).await else {
                        break;
                    };
                    self.measurements.upload_failed();
                    let (rows, place) = (converted.rows, file.path.display());
                    if is_last {
                        warn!("{rows} rows of the payload log stay in {place}: {problem}");
                        return;
                    }
                    warn!(
                        "{rows} rows of the payload log wait in the spool, and are tried again in {backoff:?}: {problem}"
                    );
                    // Nobody says so any more: as good as said.
                    let ends = self.is_ending.wait_for(|is_ending| *is_ending);
                    let _ = tokio::time::timeout(backoff, ends).await;
                    backoff = (backoff * 2).min(self.backoff[1]);
                }
                self.measurements.logged(converted.rows);
            }
            Ok(None) => warn!("{} holds no whole batch of rows", file.path.display()),
            Err(problem) => {
                warn!("{} is no Parquet and stays: {problem}", file.path.display());
                return;
            }
        }
        match std::fs::remove_file(&file.path) {
            Ok(()) => self.fill.gone(file.bytes),
            Err(problem) => warn!("{} is uploaded and stays: {problem}", file.path.display()),
        }
    }
}

/// Reads the batches of a file of the spool, up to where it is torn.
///
/// # Errors
/// Whatever the receiver of a batch says; and when the file cannot be opened.
pub fn read(
    path: &Path,
    mut each: impl FnMut(RecordBatch) -> Result<(), ParquetError>,
) -> Result<(), ParquetError> {
    let file = BufReader::new(File::open(path)?);
    let Ok(batches) = StreamReader::try_new(file, None) else {
        return Ok(());
    };
    for batch in batches {
        let Ok(batch) = batch else { break };
        each(batch)?;
    }
    Ok(())
}

/// A file of the spool as Parquet; absent where not one batch of it is whole.
fn convert(path: &Path) -> Result<Option<Converted>, ParquetError> {
    let mut writer: Option<ArrowWriter<Vec<u8>>> = None;
    let (mut rows, mut first, mut last) = (0, i64::MAX, i64::MIN);
    read(path, |batch| {
        let times = batch.column_by_name("timestamp");
        let times = times.and_then(|times| times.as_primitive_opt::<TimestampMicrosecondType>());
        for time in times.into_iter().flat_map(|times| times.iter().flatten()) {
            (first, last) = (first.min(time), last.max(time));
        }
        rows += batch.num_rows() as u64;
        let writer = match &mut writer {
            Some(writer) => writer,
            none => {
                let properties = WriterProperties::builder()
                    .set_compression(Compression::SNAPPY)
                    .build();
                let new = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties))?;
                none.insert(new)
            }
        };
        writer.write(&batch)
    })?;
    let Some(writer) = writer else {
        return Ok(None);
    };
    let time = |microseconds| Timestamp::from_microsecond(microseconds).unwrap_or_default();
    Ok(Some(Converted {
        content: writer.into_inner()?,
        rows,
        first: time(first),
        last: time(last),
    }))
}

async fn write(folder: &Address, name: &str, content: bytes::Bytes) -> Result<(), String> {
    let Some(local) = folder.local_path() else {
        let file = folder.child(name);
        return file.write(content).await.map_err(|problem| chain(&problem));
    };
    let write = || -> std::io::Result<()> {
        std::fs::create_dir_all(local)?;
        let partial = local.join(format!(".windlass-{name}"));
        let mut file = File::create(&partial)?;
        std::io::Write::write_all(&mut file, &content)?;
        // A file that a reader sees is a file that is whole, even after the node has crashed.
        file.sync_all()?;
        std::fs::rename(&partial, local.join(name))
    };
    write().map_err(|problem| format!("writing to {} failed: {problem}", folder.uri()))
}

/// The name of a file: by the time of its rows, by the pod, and by where it lay in the spool. So no two have one name, and one
/// that is uploaded again has the same.
fn name(spooled: &Path, first: Timestamp, last: Timestamp) -> String {
    let pod = std::env::var("HOSTNAME").unwrap_or_else(|_| "local".to_owned());
    let part = |path: Option<&Path>| {
        let name = path.and_then(Path::file_stem).unwrap_or_default();
        name.to_string_lossy().into_owned()
    };
    let (owner, number) = (part(spooled.parent()), part(Some(spooled)));
    let (first, last) = (first.as_millisecond(), last.as_millisecond());
    format!("{first}-{last}-{pod}-{owner}-{number}.parquet")
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use arrow::array::{ArrayRef, Int64Array};
    use tokio::sync::mpsc::unbounded_channel;

    use super::super::spool::Spool;
    use super::*;

    /// A long time: a test that waits for it fails.
    const LONG: Duration = Duration::from_hours(1);

    /// Uploads one file to a place that cannot be written to, and has it end once `before` was done.
    fn end_while_it_waits(before: impl FnOnce(&Path)) -> (tempfile::TempDir, Arc<Measurements>) {
        let root = tempfile::tempdir().expect("a folder");
        let obstacle = root.path().join("log");
        std::fs::write(&obstacle, "in the way").expect("written");
        let (seal, sealed) = unbounded_channel();
        let spool = root.path().join("spool");
        let mut spool = Spool::open(&spool, "m-1", 1 << 20, LONG, seal).expect("a spool");
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..3));
        let batch = RecordBatch::try_from_iter([("a", column)]).expect("a batch");
        spool.append(&batch).expect("spooled");
        let measurements = Arc::new(Measurements::default());
        let (end, is_ending) = watch::channel(false);
        let uploader = Uploader {
            to: Address::parse(&obstacle.to_string_lossy()).expect("an address"),
            measurements: Arc::clone(&measurements),
            fill: spool.fill(),
            backoff: [LONG, LONG],
            is_ending,
        };
        let thread = uploader.start(sealed).expect("a thread");
        drop(spool);
        let started = Instant::now();
        while measurements.uploads_failed() == 0 {
            assert!(started.elapsed() < Duration::from_secs(20));
            std::thread::sleep(Duration::from_millis(5));
        }
        before(&obstacle);
        end.send_replace(true);
        while !thread.is_finished() {
            assert!(started.elapsed() < Duration::from_secs(20), "it waits");
            std::thread::sleep(Duration::from_millis(5));
        }
        (root, measurements)
    }

    #[test]
    fn an_upload_that_waits_when_the_proxy_ends_is_tried_once_more() {
        let remove = |obstacle: &Path| std::fs::remove_file(obstacle).expect("removed");
        let (root, measurements) = end_while_it_waits(remove);
        assert_eq!(measurements.observations("v").rows_logged, 3);
        let files = std::fs::read_dir(root.path().join("log/m-1")).expect("there");
        assert_eq!(files.count(), 1);
        assert!(
            !root
                .path()
                .join("spool/m-1/")
                .read_dir()
                .is_ok_and(|mut owners| owners.next().is_some())
        );
    }

    #[test]
    fn an_upload_that_fails_at_the_end_leaves_its_file_to_the_next_start() {
        let (root, measurements) = end_while_it_waits(|_| {});
        assert_eq!(measurements.uploads_failed(), 2);
        assert_eq!(measurements.observations("v").rows_logged, 0);
        let owners = std::fs::read_dir(root.path().join("spool/m-1")).expect("there");
        let files: Vec<_> = owners
            .flatten()
            .flat_map(|owner| std::fs::read_dir(owner.path()).expect("there"))
            .collect();
        assert_eq!(files.len(), 1);
    }
}
