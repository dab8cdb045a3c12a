//! Uploads what is sealed in the spool, as Parquet, and deletes it there.
//!
//! In a thread of its own: a store that hangs holds up nothing but the spool. An upload that fails is tried again, ever
//! more seldom, for as long as the proxy runs; after that it is for the next start.

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
use tracing::warn;

use super::measurements::Measurements;
use super::spool::{Fill, Sealed};
use crate::address::Address;
use crate::report::chain;

/// How long it waits after the first failure, and at most.
const BACKOFF: [Duration; 2] = [Duration::from_secs(1), Duration::from_mins(1)];

/// What uploads.
pub struct Uploader {
    /// The log's root; files go to a folder named by the version.
    pub to: Address,
    /// What counts the rows.
    pub measurements: Arc<Measurements>,
    /// How full the spool is.
    pub fill: Fill,
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
    pub fn start(self, mut sealed: UnboundedReceiver<Sealed>) -> std::io::Result<JoinHandle<()>> {
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

    async fn take(&self, file: &Sealed) {
        match convert(&file.path) {
            Ok(Some(converted)) => {
                let name = name(&file.path, converted.first, converted.last);
                let folder = self.to.child(file.version());
                let mut backoff = BACKOFF[0];
                let content = bytes::Bytes::from(converted.content);
                while let Err(problem) = write(&folder, &name, content.clone()).await {
                    self.measurements.upload_failed();
                    warn!(
                        "{} rows of the payload log wait in the spool, and are tried again in {backoff:?}: {problem}",
                        converted.rows
                    );
                    tokio::time::sleep(backoff).await;
                    backoff = (backoff * 2).min(BACKOFF[1]);
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
