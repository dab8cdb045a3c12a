//! The columns of an input, checked before a GPU is taken.

use std::path::Path;

use datafusion::prelude::SessionContext;
use windlass_api::agent::{FailureReason, FailureReport};

use crate::address::Address;
use crate::arguments::DataFormat;
use crate::data::file::{format_of, is_data};
use crate::report::{OrFail, failure};

/// How many columns that are there a message names.
const NAMED_COLUMNS: usize = 30;

/// Reads the schema of each file in `folder` and says which required column is not there.
///
/// A column has to be in every file; in JSON, where an absent key is a null, in one at least.
///
/// # Errors
/// [`FailureReason::InputUnreadable`] for a file that is not of the format, [`FailureReason::ColumnNotFound`].
pub(super) async fn check(
    input: &str,
    folder: &Path,
    format: DataFormat,
    required: &[&str],
) -> Result<(), FailureReport> {
    let address = Address::local(input, folder).or_fail(FailureReason::Internal)?;
    let files = address
        .files()
        .await
        .or_fail(FailureReason::InputUnreadable)?;
    let session = SessionContext::new();
    let mut union: Vec<String> = Vec::new();
    for file in files.iter().filter(|file| is_data(file)) {
        let name = file.location.filename().unwrap_or_default();
        let schema = format_of(format, name)
            .infer_schema(
                &session.state(),
                address.store(),
                std::slice::from_ref(file),
            )
            .await
            .map_err(|problem| {
                let problem = problem.strip_backtrace();
                let message =
                    format!("input '{input}': {name} cannot be read as {format:?}: {problem}");
                failure(FailureReason::InputUnreadable, message)
            })?;
        let columns: Vec<String> = schema
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect();
        if format != DataFormat::Json {
            has_all(input, Some(name), &columns, required)?;
        }
        for column in columns {
            if !union.contains(&column) {
                union.push(column);
            }
        }
    }
    if union.is_empty() {
        let message =
            format!("input '{input}': no file at its address holds a column in {format:?}");
        return Err(failure(FailureReason::InputUnreadable, message));
    }
    has_all(input, None, &union, required)
}

fn has_all(
    input: &str,
    file: Option<&str>,
    columns: &[String],
    required: &[&str],
) -> Result<(), FailureReport> {
    let Some(missing) = required
        .iter()
        .find(|required| !columns.iter().any(|column| column == *required))
    else {
        return Ok(());
    };
    let there = columns
        .iter()
        .take(NAMED_COLUMNS)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ");
    let more = match columns.len().saturating_sub(NAMED_COLUMNS) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let place = file.map(|file| format!(" in {file}")).unwrap_or_default();
    let message =
        format!("input '{input}' has no column '{missing}'{place}; its columns are {there}{more}");
    Err(failure(FailureReason::ColumnNotFound, message))
}
