//! The payload log that the proxy writes: `<version>/<startMs>-<endMs>-<pod>.parquet`.

use jiff::Timestamp;
use object_store::ObjectMeta;
use windlass_api::agent::{FailureReason, FailureReport};

use crate::address::Address;
use crate::arguments::DataFormat;
use crate::data::Reasons;
use crate::profile::reading::Reading;

/// Reasons of what is wrong with a payload log.
pub(crate) const REASONS: Reasons = Reasons {
    what: "the payload log",
    not_found: FailureReason::InputNotFound,
    unreadable: FailureReason::InputUnreadable,
    column: FailureReason::ColumnNotFound,
};

/// The log of a version, of files that may have rows from `start` up to `end`. Where there is none, there are no rows.
///
/// Files may be added while it is read. A file that is gone when it is to be opened is left out; one that goes later, while
/// its rows are counted, is a failure: a verdict would be on some of them.
///
/// # Errors
/// [`FailureReason::InputUnreadable`] with the name of the file that is no Parquet.
pub async fn open(
    folder: &Address,
    start: Timestamp,
    end: Timestamp,
) -> Result<Option<Reading>, FailureReport> {
    let is_wanted = |file: &ObjectMeta| may_hold(file, start, end);
    match Reading::open(folder, DataFormat::Parquet, REASONS, is_wanted).await {
        Ok(reading) => Ok(Some(reading).filter(|reading| !reading.schema().fields().is_empty())),
        Err(problem) if problem.reason == FailureReason::InputNotFound => Ok(None),
        Err(problem) => Err(problem),
    }
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
