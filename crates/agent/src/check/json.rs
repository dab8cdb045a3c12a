//! JSON lines as a table of texts, read as a stream.
//!
//! ```text
//!   file ──chunks──unpacked──> lines ──serde_json──> object ──> texts: 1 is "1", true is "true", [1] is "[1]"
//! ```
//!
//! DataFusion's own reader takes each column's type from some first rows, or holds a file in memory to guess it, and
//! fails at a value of another type. Here each value is kept as it is written, so that a check can count it.
//!
//! Absent on purpose: columns inside of objects. They are texts of JSON.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::StreamExt;
use object_store::{ObjectMeta, ObjectStore};
use serde_json::{Map, Value};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio_util::io::StreamReader;

use super::source::unpacked;

/// A longer line is no row.
const MAX_LINE_BYTES: u64 = 64 << 20;

/// Rows of a batch.
const BATCH_ROWS: usize = 4096;

/// Bytes of a batch's lines, where they are long.
const BATCH_BYTES: usize = 8 << 20;

/// More keys than this are no columns.
const MAX_KEYS: usize = 10_000;

/// All keys of a file's objects, each a text.
pub(super) async fn schema_of(
    store: &Arc<dyn ObjectStore>,
    file: &ObjectMeta,
) -> Result<SchemaRef> {
    let mut keys: BTreeSet<String> = BTreeSet::new();
    let mut lines = Lines::open(store, file).await?;
    while let Some(object) = lines.next().await? {
        for key in object.into_iter().map(|(key, _)| key) {
            if !keys.contains(&key) {
                keys.insert(key);
            }
        }
        if keys.len() > MAX_KEYS {
            let message = format!("its objects have more than {MAX_KEYS} different keys");
            return Err(DataFusionError::Execution(message));
        }
    }
    let fields: Vec<Field> = keys
        .into_iter()
        .map(|key| Field::new(key, DataType::Utf8, true))
        .collect();
    Ok(Arc::new(Schema::new(fields)))
}

/// The table that files make; it is read by at most so many streams at once.
pub(super) fn table(
    store: &Arc<dyn ObjectStore>,
    files: &[ObjectMeta],
    schema: &SchemaRef,
    partitions: usize,
) -> Result<Arc<dyn TableProvider>> {
    let each = files.len().div_ceil(partitions.max(1)).max(1);
    let streams = files.chunks(each).map(|files| -> Arc<dyn PartitionStream> {
        Arc::new(Files {
            store: Arc::clone(store),
            metas: files.to_vec(),
            schema: Arc::clone(schema),
        })
    });
    let table = StreamingTable::try_new(Arc::clone(schema), streams.collect())?;
    Ok(Arc::new(table))
}

/// Files that are read one after the other.
#[derive(Clone, Debug)]
struct Files {
    store: Arc<dyn ObjectStore>,
    metas: Vec<ObjectMeta>,
    schema: SchemaRef,
}

impl PartitionStream for Files {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut stream = RecordBatchReceiverStream::builder(Arc::clone(&self.schema), 2);
        let (send, files) = (stream.tx(), self.clone());
        stream.spawn(async move {
            for file in &files.metas {
                let mut lines = Lines::open(&files.store, file).await?;
                while let Some(batch) = lines.batch(&files.schema).await? {
                    if send.send(Ok(batch)).await.is_err() {
                        // Nobody reads on.
                        return Ok(());
                    }
                }
            }
            Ok(())
        });
        stream.build()
    }
}

/// The lines of a file.
struct Lines {
    reader: BufReader<Box<dyn tokio::io::AsyncRead + Send + Unpin>>,
    line: Vec<u8>,
    number: usize,
}

impl Lines {
    async fn open(store: &Arc<dyn ObjectStore>, file: &ObjectMeta) -> Result<Self> {
        let chunks = unpacked(store, file).await?;
        let reader = StreamReader::new(chunks.map(|chunk| chunk.map_err(io::Error::other)));
        Ok(Self {
            reader: BufReader::new(Box::new(reader)),
            line: Vec::new(),
            number: 0,
        })
    }

    /// The next object; empty lines are passed over.
    async fn next(&mut self) -> Result<Option<Map<String, Value>>> {
        loop {
            self.line.clear();
            self.number += 1;
            let mut limited = (&mut self.reader).take(MAX_LINE_BYTES);
            let read = limited.read_until(b'\n', &mut self.line).await?;
            if read == 0 {
                return Ok(None);
            }
            let problem =
                |what: &str| DataFusionError::Execution(format!("line {} {what}", self.number));
            if read as u64 == MAX_LINE_BYTES {
                return Err(problem("is longer than 64 MiB"));
            }
            if self.line.trim_ascii().is_empty() {
                continue;
            }
            return match serde_json::from_slice(&self.line) {
                Ok(Value::Object(object)) => Ok(Some(object)),
                Ok(_) => Err(problem("is no JSON object")),
                Err(error) => Err(problem(&format!("is no JSON: {error}"))),
            };
        }
    }

    /// The next rows.
    async fn batch(&mut self, schema: &SchemaRef) -> Result<Option<RecordBatch>> {
        let mut columns: Vec<StringBuilder> = schema
            .fields()
            .iter()
            .map(|_| StringBuilder::new())
            .collect();
        let (mut rows, mut bytes) = (0, 0);
        while rows < BATCH_ROWS && bytes < BATCH_BYTES {
            let Some(object) = self.next().await? else {
                break;
            };
            rows += 1;
            bytes += self.line.len();
            for (field, column) in schema.fields().iter().zip(&mut columns) {
                match object.get(field.name()) {
                    None | Some(Value::Null) => column.append_null(),
                    Some(Value::String(text)) => column.append_value(text),
                    Some(value) => column.append_value(value.to_string()),
                }
            }
        }
        if rows == 0 {
            return Ok(None);
        }
        let arrays: Vec<ArrayRef> = columns
            .iter_mut()
            .map(|column| Arc::new(column.finish()) as ArrayRef)
            .collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options)?;
        Ok(Some(batch))
    }
}
