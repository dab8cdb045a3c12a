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
use datafusion::catalog::streaming::StreamingTable;
use datafusion::dataframe::DataFrame;
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::expr_fn::ident;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::prelude::SessionContext;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use object_store::ObjectMeta;
use windlass_api::agent::{FailureReason, FailureReport};

use super::engine::Engine;
use super::{Dataset, Reasons, aligned, file, format_name, listed, merged};
use crate::address::{Address, AddressError};
use crate::arguments::DataFormat;
use crate::report::{chain, failure};

/// How much memory a sort may use; what is more goes to disk.
const SORT_BYTES: usize = 256 << 20;

/// Rows of a batch: as many as a model server is asked about at once.
const BATCH_ROWS: usize = 1000;

/// A data set whose files are known, and whose rows are not read yet.
#[derive(Clone)]
pub struct Scan {
    reasons: Reasons,
    address: Address,
    format: DataFormat,
    session: SessionContext,
    files: Arc<Vec<(ObjectMeta, SchemaRef)>>,
    schema: SchemaRef,
    sorted_by: Option<String>,
}

impl std::fmt::Debug for Scan {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = formatter.debug_struct("Scan");
        debug
            .field("address", &self.address.uri())
            .finish_non_exhaustive()
    }
}

/// The rows of a data set in their own order, as DataFusion reads them.
impl PartitionStream for Scan {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let rows = self.clone().in_order();
        let rows = rows.map_err(|problem| DataFusionError::Execution(problem.message));
        Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            rows,
        ))
    }
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
        let runtime = Engine::new(1, SORT_BYTES, None)?.serial.runtime_env();
        let config = super::config(1).with_batch_size(BATCH_ROWS);
        let session = SessionContext::new_with_config_rt(config, runtime);
        session.register_object_store(address.store_url().as_ref(), Arc::clone(address.store()));
        let mut opened = Vec::new();
        let mut scan = Self {
            reasons,
            address: address.clone(),
            format,
            session,
            files: Arc::default(),
            schema: merged(&[]),
            sorted_by: None,
        };
        for meta in files.into_iter().filter(file::is_data) {
            let schema = file::schema(&scan.session, address, &meta, format).await;
            let schema = schema.map_err(|problem| scan.of_file(&meta, &problem))?;
            opened.push((meta, schema));
        }
        let schemas: Vec<SchemaRef> = opened.iter().map(|file| Arc::clone(&file.1)).collect();
        scan.schema = merged(&schemas);
        scan.files = Arc::new(opened);
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

    /// How many files it has.
    pub fn files(&self) -> usize {
        self.files.len()
    }

    /// The same columns of one of its files.
    #[must_use]
    pub fn only(&self, file: usize) -> Self {
        Self {
            files: Arc::new(self.files.get(file).cloned().into_iter().collect()),
            ..self.clone()
        }
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
        let rows = match &self.sorted_by {
            Some(column) => stream::once(self.sorted(column)).try_flatten().boxed(),
            None => self.clone().in_order(),
        };
        rows.map_ok(|batch| self.dataset(batch)).boxed()
    }

    /// The rows in their own order.
    fn in_order(self) -> BoxStream<'static, Result<RecordBatch, FailureReport>> {
        let files = self.files.len();
        let of_file = move |place: usize| {
            let scan = self.clone();
            let open = async move {
                let (meta, schema) = scan.files[place].clone();
                let rows = scan.rows(&meta, schema).await;
                let rows = rows.map_err(|problem| scan.of_file(&meta, &problem))?;
                Ok::<_, FailureReport>(rows.map(move |batch| {
                    let batch = batch.map_err(|problem| scan.of_file(&meta, &problem))?;
                    aligned(&batch, &scan.schema)
                        .map_err(|problem| scan.of_file(&meta, &problem.into()))
                }))
            };
            stream::once(open).try_flatten()
        };
        stream::iter(0..files).flat_map(of_file).boxed()
    }

    /// The rows in the order of a column.
    async fn sorted(
        &self,
        column: &str,
    ) -> Result<impl Stream<Item = Result<RecordBatch, FailureReport>> + use<'_>, FailureReport>
    {
        let all = Arc::new(Self {
            sorted_by: None,
            ..self.clone()
        });
        let sort = async {
            let table = StreamingTable::try_new(Arc::clone(&self.schema), vec![all])?;
            let rows = self.session.read_table(Arc::new(table))?;
            rows.sort_by(vec![ident(column)])?.execute_stream().await
        };
        let column = column.to_owned();
        let rows = sort.await;
        let rows = rows.map_err(|problem| self.not_sorted(&column, &problem))?;
        Ok(rows.map_err(move |problem| self.not_sorted(&column, &problem)))
    }

    fn not_sorted(&self, column: &str, problem: &DataFusionError) -> FailureReport {
        match problem.find_root() {
            // A file that cannot be read is already told.
            DataFusionError::Execution(message) => failure(self.reasons.unreadable, message),
            other => {
                let (what, uri) = (self.reasons.what, self.address.uri());
                let problem = other.strip_backtrace();
                let message =
                    format!("{what} at {uri} cannot be put in the order of '{column}': {problem}");
                failure(FailureReason::Internal, message)
            }
        }
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
            counted: self
                .sorted_by
                .as_ref()
                .map(|column| format!("in the order of '{column}'")),
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
}

/// That a column is not there, with those that are.
pub(crate) fn no_column(
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
