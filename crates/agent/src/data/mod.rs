//! Reads data sets with DataFusion.
//!
//! ```text
//!   address ──files──> one table a file ──merged schema──> Dataset (a table "data" in memory)
//!   Dataset ──select──> batches ──column──> numbers, texts, times ──encode (Signature)──> rows of a tensor
//! ```
//!
//! Each file is read by itself, so that a message names the one that cannot be read. Column names are taken as they
//! are written, upper and lower case apart.
//!
//! Absent on purpose: constant memory. A data set that is judged is held in memory; the proxy's payloads of a window
//! and a held-out set are of that size.

pub mod answers;
pub mod column;
pub mod encode;
pub(crate) mod file;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::dataframe::DataFrame;
use datafusion::datasource::MemTable;
use datafusion::prelude::{Expr, SessionConfig, SessionContext};
use windlass_api::agent::{FailureReason, FailureReport};

use crate::address::{Address, AddressError};
use crate::arguments::DataFormat;
use crate::report::{OrFail, chain, failure};

/// How many columns that are there a message names.
const NAMED_COLUMNS: usize = 30;

/// Which failures the problems of a data set are.
#[derive(Clone, Copy, Debug)]
pub struct Reasons {
    /// What the data set is, for messages: `the held-out data`.
    pub what: &'static str,
    /// It is not there.
    pub not_found: FailureReason,
    /// It cannot be read.
    pub unreadable: FailureReason,
    /// It has not the column that is needed.
    pub column: FailureReason,
}

/// A data set, read.
pub struct Dataset {
    reasons: Reasons,
    uri: String,
    session: SessionContext,
    data: RecordBatch,
}

impl Dataset {
    /// Reads all files at an address.
    ///
    /// # Errors
    /// The reason `unreadable` and the file's name, where one is not of the format; `not_found`.
    pub async fn read(
        address: &Address,
        format: DataFormat,
        reasons: Reasons,
    ) -> Result<Self, FailureReport> {
        let files = match address.files().await {
            Ok(files) => files,
            Err(problem @ AddressError::NotFound { .. }) => {
                return Err(failure(
                    reasons.not_found,
                    format!("{}: {problem}", reasons.what),
                ));
            }
            Err(problem) => {
                return Err(failure(
                    reasons.unreadable,
                    format!("{}: {}", reasons.what, chain(&problem)),
                ));
            }
        };
        let session = session();
        let mut batches = Vec::new();
        for file in files.iter().filter(|file| file::is_data(file)) {
            let read = file::read(&session, address, file, format).await;
            let name = file.location.filename().unwrap_or_default();
            batches.extend(read.map_err(|problem| {
                let problem = problem.strip_backtrace();
                let message = format!(
                    "{} at {}: {name} cannot be read as {}: {problem}",
                    reasons.what,
                    address.uri(),
                    format_name(format)
                );
                failure(reasons.unreadable, message)
            })?);
        }
        Self::of_batches(address.uri(), &batches, reasons)
    }

    /// The data set that batches make, of whatever schemas.
    pub fn of_batches(
        uri: &str,
        batches: &[RecordBatch],
        reasons: Reasons,
    ) -> Result<Self, FailureReport> {
        let schemas: Vec<SchemaRef> = batches.iter().map(RecordBatch::schema).collect();
        let schema = merged(&schemas);
        let aligned: Result<Vec<RecordBatch>, _> = batches
            .iter()
            .map(|batch| aligned(batch, &schema))
            .collect();
        let data = aligned
            .and_then(|batches| concat_batches(&schema, &batches))
            .map_err(|problem| {
                failure(
                    reasons.unreadable,
                    format!("{} at {uri}: {problem}", reasons.what),
                )
            })?;
        Ok(Self {
            reasons,
            uri: uri.to_owned(),
            session: session(),
            data,
        })
    }

    /// How many rows.
    pub fn rows(&self) -> usize {
        self.data.num_rows()
    }

    /// The values of a column.
    ///
    /// # Errors
    /// The reason `column`, with the columns that there are.
    pub fn column(&self, name: &str) -> Result<&ArrayRef, FailureReport> {
        self.data.column_by_name(name).ok_or_else(|| {
            let schema = self.data.schema();
            let names: Vec<&str> = schema
                .fields()
                .iter()
                .map(|field| field.name().as_str())
                .collect();
            let message = format!(
                "{} at {} has no column '{name}'; its columns are {}",
                self.reasons.what,
                self.uri,
                listed(&names)
            );
            failure(self.reasons.column, message)
        })
    }

    /// The names of its columns.
    pub fn columns(&self) -> Vec<String> {
        self.data
            .schema()
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect()
    }

    /// A failure about a column's values.
    pub fn unreadable(&self, message: &str) -> FailureReport {
        failure(
            self.reasons.unreadable,
            format!("{} at {}: {message}", self.reasons.what, self.uri),
        )
    }

    /// Keeps the rows for which `keep` is true.
    pub fn retain(&mut self, keep: &[bool]) -> Result<(), FailureReport> {
        let mask = arrow::array::BooleanArray::from(keep.to_vec());
        self.data = arrow::compute::filter_record_batch(&self.data, &mask)
            .or_fail(FailureReason::Internal)?;
        Ok(())
    }

    /// In which rows a predicate in SQL is true, in the order of the rows; null is not true.
    ///
    /// # Errors
    /// [`FailureReason::InvalidArguments`] for what is no predicate, [`FailureReason::ColumnNotFound`] with the
    /// columns that there are.
    pub async fn matches(&self, predicate: &str) -> Result<Vec<bool>, FailureReport> {
        let invalid = |problem: datafusion::error::DataFusionError| {
            let problem = problem.strip_backtrace();
            let columns = self.columns().join(", ");
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
            failure(
                reason,
                format!("the segment \"{predicate}\" {what}: {problem}; the columns are {columns}"),
            )
        };
        let frame = self.frame().map_err(invalid)?;
        let expression: Expr = self
            .session
            .parse_sql_expr(predicate, frame.schema())
            .map_err(invalid)?;
        let batches = frame
            .select(vec![expression.alias("matches")])
            .map_err(invalid)?
            .collect()
            .await
            .map_err(invalid)?;
        let mut matches = Vec::with_capacity(self.rows());
        for batch in batches {
            let Some(values) = batch
                .column(0)
                .as_any()
                .downcast_ref::<arrow::array::BooleanArray>()
            else {
                let message = format!(
                    "the segment \"{predicate}\" is not true or false, but {}",
                    batch.column(0).data_type()
                );
                return Err(failure(FailureReason::InvalidArguments, message));
            };
            matches.extend(values.iter().map(|value| value == Some(true)));
        }
        if matches.len() != self.rows() {
            let message =
                format!("the segment \"{predicate}\" does not say true or false for each row");
            return Err(failure(FailureReason::InvalidArguments, message));
        }
        Ok(matches)
    }

    /// Its rows.
    pub fn into_batch(self) -> RecordBatch {
        self.data
    }

    fn frame(&self) -> datafusion::error::Result<DataFrame> {
        let table = MemTable::try_new(self.data.schema(), vec![vec![self.data.clone()]])?;
        self.session.read_table(Arc::new(table))
    }
}

/// The names of columns for a message: the first of many.
pub(crate) fn listed(names: &[&str]) -> String {
    let there = names[..names.len().min(NAMED_COLUMNS)].join(", ");
    match names.len().saturating_sub(NAMED_COLUMNS) {
        0 => there,
        more => format!("{there} and {more} more"),
    }
}

/// A session of one partition: rows keep their order.
fn session() -> SessionContext {
    SessionContext::new_with_config(config(1))
}

/// How sessions are set: names of columns are taken as they are written, and texts are of one type.
pub(crate) fn config(partitions: usize) -> SessionConfig {
    let mut config = SessionConfig::new().with_target_partitions(partitions);
    config.options_mut().sql_parser.enable_ident_normalization = false;
    config
        .options_mut()
        .execution
        .parquet
        .schema_force_view_types = false;
    config
}

/// What a format is called in arguments.
pub fn format_name(format: DataFormat) -> &'static str {
    match format {
        DataFormat::Csv => "CSV",
        DataFormat::Parquet => "Parquet",
        DataFormat::Json => "JSON",
    }
}

/// One schema for all: columns by name, in the order in which they come up.
pub(crate) fn merged(schemas: &[SchemaRef]) -> SchemaRef {
    let mut fields: Vec<Field> = Vec::new();
    for schema in schemas {
        for field in schema.fields() {
            match fields.iter_mut().find(|known| known.name() == field.name()) {
                None => fields.push(Field::new(field.name(), field.data_type().clone(), true)),
                Some(known) => {
                    let wider = wider(known.data_type(), field.data_type());
                    *known = Field::new(field.name(), wider, true);
                }
            }
        }
    }
    Arc::new(Schema::new(fields))
}

/// A type that holds what either does: files of one data set are often guessed apart.
fn wider(one: &DataType, two: &DataType) -> DataType {
    match (one, two) {
        (one, two) if one == two => one.clone(),
        (DataType::Null, other) | (other, DataType::Null) => other.clone(),
        (one, two) if one.is_numeric() && two.is_numeric() => DataType::Float64,
        _ => DataType::Utf8,
    }
}

fn aligned(
    batch: &RecordBatch,
    schema: &SchemaRef,
) -> Result<RecordBatch, arrow::error::ArrowError> {
    let column = |field: &Arc<Field>| match batch.column_by_name(field.name()) {
        Some(values) => arrow::compute::cast(values, field.data_type()),
        None => Ok(arrow::array::new_null_array(
            field.data_type(),
            batch.num_rows(),
        )),
    };
    let columns: Result<Vec<ArrayRef>, _> = schema.fields().iter().map(column).collect();
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns?, &options)
}

/// Whether all values are null.
pub fn is_all_null(values: &ArrayRef) -> bool {
    values.logical_null_count() == values.len()
}
