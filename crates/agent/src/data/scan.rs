//! A data set that is read batch by batch.
//!
//! ```text
//!   address ──files──> schemas ──merged──> Scan ──batches──> Dataset, Dataset, …   in the order of files and rows
//!                                               ──sorted_by──> the same in the order of a column, spilled to disk
//! ```
//!
//! The schema of CSV and JSON is known when all rows have been read, so these are read twice.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::dataframe::DataFrame;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr_fn::{cast, ident};
use datafusion::logical_expr::{Expr, lit};
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::prelude::SessionContext;
use datafusion::scalar::ScalarValue;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectMeta;
use windlass_api::agent::FailureReport;

use super::engine::Engine;
use super::{Dataset, Reasons, aligned, file, format_name, listed, merged};
use crate::address::{Address, AddressError};
use crate::arguments::DataFormat;
use crate::report::{chain, failure};

/// How much memory a sort may use; what is more goes to disk.
const SORT_BYTES: usize = 256 << 20;

/// A data set whose files are known, and whose rows are not read yet.
pub struct Scan {
    reasons: Reasons,
    address: Address,
    format: DataFormat,
    session: SessionContext,
    files: Vec<(ObjectMeta, SchemaRef)>,
    schema: SchemaRef,
    sorted_by: Option<String>,
}

impl Scan {
    /// Finds the files at an address, and their columns.
    ///
    /// # Errors
    /// The reason `unreadable` and the file's name, where one is not of the format; `not_found`.
    pub async fn open(
        address: &Address,
        format: DataFormat,
        reasons: Reasons,
    ) -> Result<Self, FailureReport> {
        let files = address.files().await.map_err(|problem| {
            let reason = match problem {
                AddressError::NotFound { .. } => reasons.not_found,
                _ => reasons.unreadable,
            };
            failure(reason, format!("{}: {}", reasons.what, chain(&problem)))
        })?;
        let session = Engine::new(1, SORT_BYTES, None)?.serial;
        session.register_object_store(address.store_url().as_ref(), Arc::clone(address.store()));
        let mut scan = Self {
            reasons,
            address: address.clone(),
            format,
            session,
            files: Vec::new(),
            schema: merged(&[]),
            sorted_by: None,
        };
        for meta in files.into_iter().filter(file::is_data) {
            let schema = file::schema(&scan.session, address, &meta, format).await;
            let schema = schema.map_err(|problem| scan.of_file(&meta, &problem))?;
            scan.files.push((meta, schema));
        }
        let schemas: Vec<SchemaRef> = scan.files.iter().map(|file| Arc::clone(&file.1)).collect();
        scan.schema = merged(&schemas);
        Ok(scan)
    }

    /// The same rows in the order of a column, so that its equal values follow each other.
    ///
    /// # Errors
    /// As [`Scan::data_type`].
    pub fn sorted_by(mut self, column: &str) -> Result<Self, FailureReport> {
        self.data_type(column)?;
        self.sorted_by = Some(column.to_owned());
        Ok(self)
    }

    /// Its columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// What predicates are planned with.
    pub fn session(&self) -> &SessionContext {
        &self.session
    }

    /// The type of a column.
    ///
    /// # Errors
    /// The reason `column`, with the columns that there are.
    pub fn data_type(&self, name: &str) -> Result<&DataType, FailureReport> {
        match self.schema.field_with_name(name) {
            Ok(field) => Ok(field.data_type()),
            Err(_) => Err(no_column(
                &self.schema,
                name,
                self.address.uri(),
                self.reasons,
            )),
        }
    }

    /// The rows, as they are read.
    ///
    /// # Errors
    /// The reason `unreadable` and the file's name, where one cannot be read to its end.
    pub fn batches(&self) -> BoxStream<'_, Result<Dataset, FailureReport>> {
        if let Some(column) = &self.sorted_by {
            let all = async move {
                let sorted = self
                    .frame()?
                    .sort_by(vec![ident(column)])?
                    .execute_stream()
                    .await?;
                Ok::<_, DataFusionError>(sorted)
            };
            let all = stream::once(all).try_flatten();
            return all
                .map(|batch| {
                    let batch = batch.map_err(|problem| self.of_rows(&problem))?;
                    Ok(self.dataset(batch))
                })
                .boxed();
        }
        let of_file = move |(meta, schema): &'_ (ObjectMeta, SchemaRef)| {
            let (meta, schema) = (meta.clone(), Arc::clone(schema));
            let open = async move {
                let rows = self.rows(&meta, schema).await;
                let rows = rows.map_err(|problem| self.of_file(&meta, &problem))?;
                Ok::<_, FailureReport>(rows.map(move |batch| {
                    let batch = batch.map_err(|problem| self.of_file(&meta, &problem))?;
                    let batch = aligned(&batch, &self.schema)
                        .map_err(|problem| self.of_file(&meta, &problem.into()))?;
                    Ok(self.dataset(batch))
                }))
            };
            stream::once(open).try_flatten()
        };
        stream::iter(&self.files).flat_map(of_file).boxed()
    }

    /// A failure about the rows.
    pub fn unreadable(&self, message: &str) -> FailureReport {
        let empty = RecordBatch::new_empty(Arc::clone(&self.schema));
        self.dataset(empty).unreadable(message)
    }

    fn dataset(&self, data: RecordBatch) -> Dataset {
        Dataset {
            reasons: self.reasons,
            uri: self.address.uri().to_owned(),
            first: 0,
            sorted_by: self.sorted_by.clone(),
            data,
        }
    }

    fn table(&self, meta: &ObjectMeta, schema: SchemaRef) -> datafusion::error::Result<DataFrame> {
        let format = file::format_of(self.format, meta.location.filename().unwrap_or_default());
        let urls = vec![file::url_of(&self.address.store_url(), &meta.location)?];
        self.session.read_table(file::table(urls, format, schema)?)
    }

    async fn rows(
        &self,
        meta: &ObjectMeta,
        schema: SchemaRef,
    ) -> datafusion::error::Result<SendableRecordBatchStream> {
        self.table(meta, schema)?.execute_stream().await
    }

    /// All rows, each column by its name and of one type.
    fn frame(&self) -> datafusion::error::Result<DataFrame> {
        let of_file = |(meta, schema): &(ObjectMeta, SchemaRef)| {
            let columns = self.schema.fields().iter().map(|field| {
                let name = field.name();
                let values = match schema.field_with_name(name) {
                    Ok(there) if there.data_type() == field.data_type() => ident(name),
                    Ok(_) => cast(ident(name), field.data_type().clone()),
                    Err(_) => lit(ScalarValue::try_from(field.data_type())?),
                };
                Ok(values.alias(name))
            });
            let columns: datafusion::error::Result<Vec<Expr>> = columns.collect();
            self.table(meta, Arc::clone(schema))?.select(columns?)
        };
        let mut frames = self.files.iter().map(of_file);
        match frames.next() {
            Some(first) => frames.try_fold(first?, |all, frame| all.union(frame?)),
            None => self.session.read_empty(),
        }
    }

    fn of_file(&self, meta: &ObjectMeta, problem: &DataFusionError) -> FailureReport {
        let name = meta.location.filename().unwrap_or_default();
        let (what, format) = (self.reasons.what, format_name(self.format));
        let message = format!(
            "{what} at {}: {name} cannot be read as {format}: {}",
            self.address.uri(),
            problem.strip_backtrace()
        );
        failure(self.reasons.unreadable, message)
    }

    fn of_rows(&self, problem: &DataFusionError) -> FailureReport {
        let message = format!(
            "{} at {}: {}",
            self.reasons.what,
            self.address.uri(),
            problem.strip_backtrace()
        );
        failure(self.reasons.unreadable, message)
    }
}

/// That a column is not there, with those that are.
pub(super) fn no_column(
    schema: &SchemaRef,
    name: &str,
    uri: &str,
    reasons: Reasons,
) -> FailureReport {
    let names: Vec<&str> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    let message = format!(
        "{} at {uri} has no column '{name}'; its columns are {}",
        reasons.what,
        listed(&names)
    );
    failure(reasons.column, message)
}
