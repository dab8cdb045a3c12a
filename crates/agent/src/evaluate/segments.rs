//! Segments of a data set, each judged by itself, and groups that are compared.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::prelude::SessionContext;
use windlass_api::agent::{FailureReason, FailureReport};
use windlass_statistics::StatisticsError;
use windlass_statistics::classification::TwoByTwo;
use windlass_statistics::sample::{Accepts, Row};

use super::rows::Rows;
use crate::data::Dataset;
use crate::data::scan::Scan;
use crate::report::{OrFail, failure};

/// How many segments one column makes at most.
const MAX_VALUES: usize = 50;
/// How many segments are judged at most.
const MAX_SEGMENTS: usize = 1000;

/// Segments of rows: those of predicates, and the values of columns as they come up.
pub struct Segments {
    predicates: Vec<Predicate>,
    columns: Vec<ByValue>,
    /// How many there are.
    count: u32,
}

struct Predicate {
    text: String,
    expression: Arc<dyn PhysicalExpr>,
}

/// A column whose every value is a segment.
struct ByValue {
    column: String,
    is_text: bool,
    /// Their numbers.
    values: BTreeMap<Option<String>, u32>,
}

/// Which rows of a batch are of which segment: the segment's number, and its rows in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Members {
    segments: BTreeMap<u32, Vec<u32>>,
}

impl Segments {
    /// The segments of predicates in SQL, then those of columns.
    ///
    /// # Errors
    /// [`FailureReason::InvalidArguments`] for what is no predicate, and for too many; [`FailureReason::ColumnNotFound`]
    /// with the columns that there are.
    pub fn new(
        scan: &Scan,
        predicates: &[String],
        columns: &[String],
    ) -> Result<Self, FailureReport> {
        if predicates.len() > MAX_SEGMENTS {
            let message = format!(
                "{} segments are named, and at most {MAX_SEGMENTS} are judged: of so many some fail by chance, or none is ever decided",
                predicates.len()
            );
            return Err(failure(FailureReason::InvalidArguments, message));
        }
        let predicate = |text: &String| {
            Ok(Predicate {
                text: text.clone(),
                expression: planned(scan, text)?,
            })
        };
        let by_value = |column: &String| {
            Ok(ByValue {
                column: column.clone(),
                is_text: is_text(scan.data_type(column)?),
                values: BTreeMap::new(),
            })
        };
        let predicates: Result<Vec<Predicate>, FailureReport> =
            predicates.iter().map(predicate).collect();
        let columns: Result<Vec<ByValue>, FailureReport> = columns.iter().map(by_value).collect();
        let predicates = predicates?;
        Ok(Self {
            count: u32::try_from(predicates.len()).unwrap_or(u32::MAX),
            predicates,
            columns: columns?,
        })
    }

    /// How many there may be at most.
    pub fn most(&self) -> usize {
        self.predicates.len() + self.columns.len() * MAX_VALUES
    }

    /// How many have come up.
    pub fn count(&self) -> usize {
        self.count as usize
    }

    /// Which rows of a batch are of which segment.
    ///
    /// # Errors
    /// A predicate that cannot be evaluated on a row; a column of too many values.
    pub fn of(&mut self, data: &Dataset) -> Result<Members, FailureReport> {
        let mut members = Members::default();
        for (segment, predicate) in (0..).zip(&self.predicates) {
            let rows = predicate.matches(data)?;
            if !rows.is_empty() {
                members.segments.insert(segment, rows);
            }
        }
        for by_value in &mut self.columns {
            let values = data.texts(&by_value.column)?;
            for (row, value) in (0..).zip(values) {
                let count = &mut self.count;
                let segment = *by_value.values.entry(value).or_insert_with(|| {
                    *count += 1;
                    *count - 1
                });
                members.segments.entry(segment).or_default().push(row);
            }
            if by_value.values.len() > MAX_VALUES {
                return Err(too_many("segment-by", &by_value.column));
            }
        }
        Ok(members)
    }

    /// The number of each segment and what it is called, those of predicates first, then of each column by its values.
    pub fn named(&self) -> Vec<(usize, String)> {
        let predicates = self
            .predicates
            .iter()
            .map(|predicate| predicate.text.clone());
        let of_columns = self.columns.iter().flat_map(|by_value| {
            by_value.values.iter().map(|(value, segment)| {
                let name = equals(&by_value.column, value.as_deref(), by_value.is_text);
                (*segment as usize, name)
            })
        });
        predicates.enumerate().chain(of_columns).collect()
    }
}

impl Members {
    /// The segments with rows, and these.
    pub fn all(&self) -> impl Iterator<Item = (usize, &[u32])> {
        let all = self.segments.iter();
        all.map(|(segment, rows)| (*segment as usize, rows.as_slice()))
    }

    /// The segments of each of so many rows.
    pub fn by_row(&self, rows: usize) -> Vec<Vec<u32>> {
        let mut by_row = vec![Vec::new(); rows];
        for (segment, rows) in &self.segments {
            for row in rows {
                by_row[*row as usize].push(*segment);
            }
        }
        by_row
    }

    /// From the segments of each row.
    pub fn of_rows(by_row: &[Vec<u32>]) -> Self {
        let mut members = Self::default();
        for (row, segments) in (0..).zip(by_row) {
            for segment in segments {
                members.segments.entry(*segment).or_default().push(row);
            }
        }
        members
    }
}

impl Predicate {
    /// The rows for which it is true; null is not true.
    fn matches(&self, data: &Dataset) -> Result<Vec<u32>, FailureReport> {
        let batch = data.batch();
        let evaluate = || {
            let values = self.expression.evaluate(batch)?;
            values.into_array(batch.num_rows())
        };
        let values = evaluate().map_err(|problem| refused(&self.text, data.batch(), &problem))?;
        // What is null whatever the row is true for none.
        let Some(matches) = values.as_boolean_opt() else {
            return Ok(Vec::new());
        };
        let is_true = |row: &u32| {
            let row = *row as usize;
            matches.is_valid(row) && matches.value(row)
        };
        let rows = u32::try_from(matches.len()).or_fail(FailureReason::Internal)?;
        Ok((0..rows).filter(is_true).collect())
    }
}

/// A predicate in SQL on the rows.
fn planned(scan: &Scan, text: &str) -> Result<Arc<dyn PhysicalExpr>, FailureReport> {
    predicate(scan.session(), scan.schema(), text)
}

/// The columns that predicates name; none of one that is no predicate.
pub(crate) fn columns_of(
    session: &SessionContext,
    schema: &SchemaRef,
    predicates: &[String],
) -> BTreeSet<String> {
    let columns = DFSchema::try_from(Arc::clone(schema));
    let Ok(columns) = columns else {
        return BTreeSet::new();
    };
    let named = predicates
        .iter()
        .filter_map(|text| session.parse_sql_expr(text, &columns).ok());
    named
        .flat_map(|expression| {
            let columns = expression.column_refs().into_iter();
            columns
                .map(|column| column.name.clone())
                .collect::<Vec<String>>()
        })
        .collect()
}

/// A predicate in SQL on rows of these columns.
///
/// # Errors
/// [`FailureReason::InvalidArguments`] for what is none; [`FailureReason::ColumnNotFound`] with the columns that there are.
pub(crate) fn predicate(
    session: &SessionContext,
    schema: &SchemaRef,
    text: &str,
) -> Result<Arc<dyn PhysicalExpr>, FailureReport> {
    let plan = || -> DataFusionResult<(Arc<dyn PhysicalExpr>, DataType)> {
        let columns = DFSchema::try_from(Arc::clone(schema))?;
        let expression = session.parse_sql_expr(text, &columns)?;
        let expression = session.create_physical_expr(expression, &columns)?;
        let gives = expression.data_type(schema)?;
        Ok((expression, gives))
    };
    match plan() {
        Ok((expression, DataType::Boolean | DataType::Null)) => Ok(expression),
        Ok((_, other)) => {
            let message = format!("the segment \"{text}\" is not true or false, but {other}");
            Err(failure(FailureReason::InvalidArguments, message))
        }
        Err(problem) => {
            let empty = arrow::array::RecordBatch::new_empty(Arc::clone(schema));
            Err(refused(text, &empty, &problem))
        }
    }
}

fn refused(
    text: &str,
    columns: &arrow::array::RecordBatch,
    problem: &DataFusionError,
) -> FailureReport {
    let problem = problem.strip_backtrace();
    let schema = columns.schema();
    let names: Vec<&str> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    let (reason, what) = if problem.contains("No field named") {
        (
            FailureReason::ColumnNotFound,
            "names a column that is not there",
        )
    } else {
        (
            FailureReason::InvalidArguments,
            "is no SQL predicate on the data",
        )
    };
    let names = names.join(", ");
    let message = format!("the segment \"{text}\" {what}: {problem}; the columns are {names}");
    failure(reason, message)
}

/// Rows by the value of a column, for a difference between groups.
pub struct Groups {
    column: String,
    values: BTreeMap<Option<String>, [TwoByTwo; 2]>,
}

/// The groups that are large enough.
pub struct Compared {
    /// The value of each; absent for no value.
    pub names: Vec<Option<String>>,
    /// Their rows by label and the candidate's answer.
    pub candidate: Vec<TwoByTwo>,
    /// By label and the champion's answer.
    pub champion: Vec<TwoByTwo>,
}

impl Groups {
    /// Of the values of a column.
    ///
    /// # Errors
    /// That it is not there.
    pub fn new(scan: &Scan, column: &str) -> Result<Self, FailureReport> {
        scan.data_type(column)?;
        Ok(Self {
            column: column.to_owned(),
            values: BTreeMap::new(),
        })
    }

    /// The column.
    pub fn column(&self) -> &str {
        &self.column
    }

    /// Takes rows, whose values are these.
    ///
    /// # Errors
    /// Why rows cannot be compared: the first that has no class.
    pub fn add(
        &mut self,
        values: Vec<Option<String>>,
        first: usize,
        rows: &Rows,
    ) -> Result<(), StatisticsError> {
        for (row, value) in values.into_iter().enumerate() {
            let [candidate, champion] = self.values.entry(value).or_default();
            let take = |counts: &mut TwoByTwo, of: Row<'_>| {
                of.check(Accepts::Scores, first + row)?;
                counts.add(&of);
                Ok(())
            };
            take(candidate, rows.candidate(row))?;
            if let Some(of) = rows.champion(row) {
                take(champion, of)?;
            }
        }
        Ok(())
    }

    /// Whether there are few enough to compare.
    ///
    /// # Errors
    /// [`FailureReason::InvalidArguments`], where there are not.
    pub fn check(&self) -> Result<(), FailureReport> {
        if self.values.len() > MAX_VALUES {
            return Err(too_many("disparity by", &self.column));
        }
        Ok(())
    }

    /// Those of at least so many rows.
    pub fn of_at_least(self, rows: u64) -> Compared {
        let mut compared = Compared {
            names: Vec::new(),
            candidate: Vec::new(),
            champion: Vec::new(),
        };
        for (name, [candidate, champion]) in self.values {
            if candidate.rows() >= rows {
                compared.names.push(name);
                compared.candidate.push(candidate);
                compared.champion.push(champion);
            }
        }
        compared
    }
}

fn too_many(what: &str, column: &str) -> FailureReport {
    let message = format!(
        "{what} '{column}': the column has more than {MAX_VALUES} values, which is too many to judge each; name segments as predicates instead"
    );
    failure(FailureReason::InvalidArguments, message)
}

/// Whether values are written in quotes in SQL.
pub(super) fn is_text(data_type: &DataType) -> bool {
    !(data_type.is_numeric() || *data_type == DataType::Boolean)
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
