//! Segments of a data set, each judged by itself.

use std::collections::BTreeMap;

use windlass_api::agent::{FailureReason, FailureReport};

use crate::data::{Dataset, column};
use crate::report::failure;

/// How many segments one column makes at most.
const MAX_VALUES: usize = 50;
/// How many segments are judged at most.
const MAX_SEGMENTS: usize = 1000;

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
    if predicates.len() > MAX_SEGMENTS {
        let message = format!(
            "{} segments are named, and at most {MAX_SEGMENTS} are judged: of so many some fail by chance, or none is ever decided",
            predicates.len()
        );
        return Err(failure(FailureReason::InvalidArguments, message));
    }
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

/// Rows by the group that they are of.
#[derive(Clone, Debug, PartialEq)]
pub struct Groups {
    /// The value of each group; absent for no value.
    pub names: Vec<Option<String>>,
    /// The rows that are of one, from 0.
    pub rows: Vec<usize>,
    /// The group of each of these rows.
    pub of_rows: Vec<usize>,
}

/// The groups that the values of a column are, less those of fewer than `min_rows` rows.
pub fn groups(data: &Dataset, name: &str, min_rows: u64) -> Result<Groups, FailureReport> {
    let mut groups = Groups {
        names: Vec::new(),
        rows: Vec::new(),
        of_rows: Vec::new(),
    };
    let values = by_value(data, "disparity by", name)?;
    let large = values
        .into_iter()
        .filter(|(_, rows)| rows.len() as u64 >= min_rows);
    for (group, (value, rows)) in large.enumerate() {
        groups
            .of_rows
            .extend(std::iter::repeat_n(group, rows.len()));
        groups.rows.extend(rows);
        groups.names.push(value);
    }
    Ok(groups)
}

fn of_column(data: &Dataset, name: &str) -> Result<Vec<Segment>, FailureReport> {
    let is_text = is_text(data.column(name)?);
    let rows = by_value(data, "segment-by", name)?;
    Ok(rows
        .into_iter()
        .map(|(value, rows)| Segment {
            predicate: equals(name, value.as_deref(), is_text),
            rows,
        })
        .collect())
}

/// The rows of each value of a column, which has not too many of them.
fn by_value(
    data: &Dataset,
    what: &str,
    name: &str,
) -> Result<BTreeMap<Option<String>, Vec<usize>>, FailureReport> {
    let texts = column::texts(data.column(name)?)
        .map_err(|problem| data.unreadable(&format!("column '{name}': {problem}")))?;
    values_of(texts, MAX_VALUES).ok_or_else(|| {
        let message = format!(
            "{what} '{name}': the column has more than {MAX_VALUES} values, which is too many to judge each; name segments as predicates instead"
        );
        failure(FailureReason::InvalidArguments, message)
    })
}

/// The rows of each value, where there are at most so many values.
pub(super) fn values_of(
    texts: Vec<Option<String>>,
    most: usize,
) -> Option<BTreeMap<Option<String>, Vec<usize>>> {
    let mut rows: BTreeMap<Option<String>, Vec<usize>> = BTreeMap::new();
    for (row, value) in texts.into_iter().enumerate() {
        rows.entry(value).or_default().push(row);
        if rows.len() > most {
            return None;
        }
    }
    Some(rows)
}

/// Whether values are written in quotes in SQL.
pub(super) fn is_text(values: &arrow::array::ArrayRef) -> bool {
    let is_plain = values.data_type().is_numeric()
        || values.data_type() == &arrow::datatypes::DataType::Boolean;
    !is_plain
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
