//! Segments of a data set, each judged by itself.

use std::collections::BTreeMap;

use windlass_api::agent::{FailureReason, FailureReport};

use crate::data::{Dataset, column};
use crate::report::failure;

/// How many segments one column makes at most.
const MAX_VALUES: usize = 50;

/// Rows that a predicate chooses.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// The predicate, in SQL.
    pub predicate: String,
    /// Its rows, from 0.
    pub rows: Vec<usize>,
}

/// The segments of predicates, then those of columns.
pub async fn of(
    data: &Dataset,
    predicates: &[String],
    columns: &[String],
) -> Result<Vec<Segment>, FailureReport> {
    let mut segments = Vec::new();
    for predicate in predicates {
        let matches = data.matches(predicate).await?;
        let rows = matches
            .iter()
            .enumerate()
            .filter_map(|(row, is)| is.then_some(row))
            .collect();
        segments.push(Segment {
            predicate: predicate.clone(),
            rows,
        });
    }
    for name in columns {
        segments.extend(of_column(data, name)?);
    }
    Ok(segments)
}

fn of_column(data: &Dataset, name: &str) -> Result<Vec<Segment>, FailureReport> {
    let values = data.column(name)?;
    let is_text = !(values.data_type().is_numeric()
        || values.data_type() == &arrow::datatypes::DataType::Boolean);
    let texts = column::texts(values)
        .map_err(|problem| data.unreadable(&format!("column '{name}': {problem}")))?;
    let mut rows: BTreeMap<Option<String>, Vec<usize>> = BTreeMap::new();
    for (row, value) in texts.into_iter().enumerate() {
        rows.entry(value).or_default().push(row);
    }
    if rows.len() > MAX_VALUES {
        let message = format!(
            "segment-by '{name}': the column has {} values, and at most {MAX_VALUES} are judged; name segments as predicates instead",
            rows.len()
        );
        return Err(failure(FailureReason::InvalidArguments, message));
    }
    Ok(rows
        .into_iter()
        .map(|(value, rows)| Segment {
            predicate: equals(name, value.as_deref(), is_text),
            rows,
        })
        .collect())
}

/// That a column has a value, or none, in SQL.
pub(super) fn equals(name: &str, value: Option<&str>, is_text: bool) -> String {
    let column = quoted(name);
    match value {
        None => format!("{column} IS NULL"),
        Some(value) if is_text => format!("{column} = '{}'", value.replace('\'', "''")),
        Some(value) => format!("{column} = {value}"),
    }
}

/// A column's name as SQL has it: quoted where it is no plain word.
pub(super) fn quoted(name: &str) -> String {
    let is_plain = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && name
            .bytes()
            .next()
            .is_some_and(|byte| !byte.is_ascii_digit());
    if is_plain {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}
