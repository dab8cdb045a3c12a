//! The payload log that the proxy writes: `<version>/<startMs>-<endMs>-<pod>.parquet`.

use arrow::array::RecordBatch;
use bytes::Bytes;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use jiff::Timestamp;
use object_store::{ObjectMeta, ObjectStoreExt};
use windlass_api::agent::{FailureReason, FailureReport};

use crate::address::{Address, AddressError};
use crate::data::{Dataset, Reasons, column};
use crate::report::{chain, failure};

const REASONS: Reasons = Reasons {
    what: "the payload log",
    not_found: FailureReason::InputNotFound,
    unreadable: FailureReason::InputUnreadable,
    column: FailureReason::ColumnNotFound,
};

/// The rows of a version from `start` up to, but not with, `end`. Where there is no log, there are no rows.
///
/// Files may be added while it reads, and removed: a file that is gone when it is opened is left out.
///
/// # Errors
/// [`FailureReason::InputUnreadable`] with the name of the file that is no Parquet.
pub async fn read(
    folder: &Address,
    start: Timestamp,
    end: Timestamp,
) -> Result<Dataset, FailureReport> {
    let unreadable = |problem: String| {
        failure(
            FailureReason::InputUnreadable,
            format!("the payload log at {}: {problem}", folder.uri()),
        )
    };
    let files = match folder.files().await {
        Ok(files) => files,
        Err(AddressError::NotFound { .. }) => Vec::new(),
        Err(problem) => return Err(unreadable(chain(&problem))),
    };
    let mut batches = Vec::new();
    for file in files.iter().filter(|file| may_hold(file, start, end)) {
        let name = file.location.filename().unwrap_or_default();
        let content = match folder.store().get(&file.location).await {
            Ok(found) => found
                .bytes()
                .await
                .map_err(|problem| unreadable(format!("{name}: {}", chain(&problem))))?,
            Err(object_store::Error::NotFound { .. }) => continue,
            Err(problem) => return Err(unreadable(format!("{name}: {}", chain(&problem)))),
        };
        for batch in decode(content)
            .map_err(|problem| unreadable(format!("{name} cannot be read as Parquet: {problem}")))?
        {
            let data = Dataset::of_batches(folder.uri(), &[batch], REASONS)?;
            batches.extend(within(data, start, end)?);
        }
    }
    Dataset::of_batches(folder.uri(), &batches, REASONS)
}

/// Whether the file's name says that it has rows in the window; a name that says nothing is read.
fn may_hold(file: &ObjectMeta, start: Timestamp, end: Timestamp) -> bool {
    let Some(stem) = file
        .location
        .filename()
        .and_then(|name| name.strip_suffix(".parquet"))
    else {
        return false;
    };
    let mut parts = stem.splitn(3, '-').map(str::parse::<i64>);
    match (parts.next(), parts.next()) {
        // The window's ends are finer than the name's milliseconds.
        (Some(Ok(first)), Some(Ok(last))) => {
            last >= start.as_millisecond() && first <= end.as_millisecond()
        }
        _ => true,
    }
}

fn decode(content: Bytes) -> Result<Vec<RecordBatch>, String> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(content)
        .and_then(ParquetRecordBatchReaderBuilder::build);
    reader
        .map_err(|problem| problem.to_string())?
        .map(|batch| batch.map_err(|problem| problem.to_string()))
        .collect()
}

fn within(
    mut data: Dataset,
    start: Timestamp,
    end: Timestamp,
) -> Result<Option<RecordBatch>, FailureReport> {
    if data.rows() == 0 {
        return Ok(None);
    }
    let times = column::times(data.column("timestamp")?)
        .map_err(|problem| data.unreadable(&format!("column 'timestamp': {problem}")))?;
    let (start, end) = (start.as_microsecond(), end.as_microsecond());
    let keep: Vec<bool> = times
        .iter()
        .map(|time| time.is_some_and(|time| start <= time && time < end))
        .collect();
    data.retain(&keep)?;
    Ok(Some(data.into_batch()))
}
