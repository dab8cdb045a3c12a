//! Reads data sets with DataFusion.
//!
//! ```text
//!   address ──files──> one table a file ──merged schema──> scan ──> Dataset, batch by batch, or whole
//!   Dataset ──column──> numbers, texts, times ──encode (Signature)──> rows of a tensor
//! ```
//!
//! Each file is read by itself, so that a message names the one that cannot be read. Column names are taken as they
//! are written, upper and lower case apart.

pub mod answers;
pub mod column;
pub mod encode;
pub(crate) mod engine;
pub(crate) mod file;
pub mod scan;
pub(crate) mod stored;
pub mod tensors;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::prelude::SessionConfig;
use futures::TryStreamExt;
use windlass_api::agent::{FailureReason, FailureReport};

use self::scan::Scan;
use crate::address::Address;
use crate::arguments::DataFormat;
use crate::report::{OrFail, failure};

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

/// Rows of a data set, or all of them.
pub struct Dataset {
    reasons: Reasons,
    uri: String,
    /// How many rows are before these, for messages.
    first: usize,
    /// How rows are counted, where it is not as they lie.
    counted: Option<String>,
    data: RecordBatch,
}

impl Dataset {
    /// Reads all files at an address, whole.
    ///
    /// # Errors
    /// As [`Scan::open`] and [`Scan::batches`].
    pub async fn read(
        address: &Address,
        format: DataFormat,
        reasons: Reasons,
    ) -> Result<Self, FailureReport> {
        let scan = Scan::open(address, format, reasons).await?;
        let batches: Vec<RecordBatch> = scan
            .batches()
            .map_ok(Self::into_batch)
            .try_collect()
            .await?;
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
            first: 0,
            counted: None,
            data,
        })
    }

    /// The same rows, with so many before them.
    #[must_use]
    pub fn after(self, first: usize) -> Self {
        Self { first, ..self }
    }

    /// The same rows, which are counted among those that were kept.
    #[must_use]
    pub fn counted_within(mut self, what: &str) -> Self {
        let how = format!("within {what}");
        self.counted = Some(match self.counted {
            Some(other) => format!("{how}, {other}"),
            None => how,
        });
        self
    }

    /// How many rows are before these.
    pub fn first(&self) -> usize {
        self.first
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
        let values = self.data.column_by_name(name);
        values.ok_or_else(|| scan::no_column(self.data.schema_ref(), name, &self.uri, self.reasons))
    }

    /// A column's values as numbers, see [`column::numbers`].
    ///
    /// # Errors
    /// That the column is not there, or the first row that holds no number.
    pub fn numbers(&self, name: &str) -> Result<Vec<Option<f64>>, FailureReport> {
        let numbers = column::numbers_after(self.column(name)?, self.first);
        numbers.map_err(|problem| self.about(name, &problem))
    }

    /// A column's values as texts, see [`column::texts`].
    ///
    /// # Errors
    /// That the column is not there, or that its type has no text.
    pub fn texts(&self, name: &str) -> Result<Vec<Option<String>>, FailureReport> {
        column::texts(self.column(name)?).map_err(|problem| self.about(name, &problem))
    }

    /// A column's values as lists of so many numbers, see [`column::vectors_after`].
    ///
    /// # Errors
    /// That the column is not there, or the first row that holds no such list.
    pub fn vectors(
        &self,
        name: &str,
        length: usize,
    ) -> Result<Vec<Option<Vec<f64>>>, FailureReport> {
        let vectors = column::vectors_after(self.column(name)?, length, self.first);
        vectors.map_err(|problem| self.about(name, &problem))
    }

    /// A failure about a column's values.
    pub fn about(&self, name: &str, problem: &str) -> FailureReport {
        self.unreadable(&format!("column '{name}': {problem}"))
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

    /// A failure about the rows.
    pub fn unreadable(&self, message: &str) -> FailureReport {
        let counted = self.counted.as_ref();
        let counted = counted.map_or_else(String::new, |how| format!(" (rows are counted {how})"));
        failure(
            self.reasons.unreadable,
            format!("{} at {}: {message}{counted}", self.reasons.what, self.uri),
        )
    }

    /// Keeps the rows for which `keep` is true.
    pub fn retain(&mut self, keep: &[bool]) -> Result<(), FailureReport> {
        let mask = arrow::array::BooleanArray::from(keep.to_vec());
        self.data = arrow::compute::filter_record_batch(&self.data, &mask)
            .or_fail(FailureReason::Internal)?;
        Ok(())
    }

    /// Its rows.
    pub fn batch(&self) -> &RecordBatch {
        &self.data
    }

    /// Its rows.
    pub fn into_batch(self) -> RecordBatch {
        self.data
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

pub(crate) fn aligned(
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
