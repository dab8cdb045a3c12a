//! An input as a table of DataFusion's, read where it lies.
//!
//! ```text
//!   address ──files──> schemas ──┬─ Parquet: one table, its columns by name
//!                                ├─ CSV: a table for each header, all columns text
//!                                └─ JSON: a table of all keys, all columns text (json)
//!                                        └──union──> frame: each column by its name, null where a file has it not
//! ```
//!
//! A file's columns are taken by name, never by place: files of one input may have them in another order, or others.
//!
//! Absent on purpose: memory. A frame is a plan; each query reads the files again.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use bytes::Bytes;
use datafusion::catalog::TableProvider;
use datafusion::common::GetExt;
use datafusion::dataframe::DataFrame;
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::csv::CsvFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::expr_fn::{cast, ident};
use datafusion::logical_expr::{Expr, lit};
use datafusion::prelude::SessionContext;
use datafusion::scalar::ScalarValue;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::delimited::newline_delimited_stream;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use windlass_api::agent::{FailureReason, FailureReport};

use super::json;
use super::wording::Finding;
use crate::address::Address;
use crate::arguments::DataFormat;
use crate::data::file::{compression_of, is_data, table, url_of};
use crate::data::{format_name, listed, merged};
use crate::report::{OrFail, failure, tree_failure};
use crate::tree::TreeError;

/// How many files are opened at once.
const IN_FLIGHT: usize = 8;

/// An input that has a format.
pub(super) struct Source {
    /// The input's name.
    pub name: String,
    format: DataFormat,
    address: Address,
    root: ObjectStoreUrl,
    files: Vec<Opened>,
    /// All columns, in the order in which they come up; in CSV and JSON they are text.
    schema: SchemaRef,
    parts: Vec<Part>,
}

/// A file and its columns.
#[derive(Clone)]
struct Opened {
    meta: ObjectMeta,
    schema: SchemaRef,
}

/// Files that are read as one table.
struct Part {
    table: Arc<dyn TableProvider>,
    columns: SchemaRef,
}

impl Source {
    /// Reads the schemas of an input's files, not their rows (in JSON, where only the rows tell the keys, these too).
    ///
    /// # Errors
    /// [`FailureReason::InputNotFound`], [`FailureReason::InputUnreadable`] with the file that is not of the format.
    pub(super) async fn open(
        session: &SessionContext,
        name: &str,
        address: &Address,
        format: DataFormat,
        place: usize,
    ) -> std::result::Result<Self, FailureReport> {
        let files = address.files().await.map_err(|problem| {
            let mut failure = tree_failure(&TreeError::Address(problem));
            failure.message = format!("input '{name}': {}", failure.message);
            failure
        })?;
        // A host of its own for each input: two signed addresses of one host are two stores.
        let root =
            ObjectStoreUrl::parse(format!("input://{place}")).or_fail(FailureReason::Internal)?;
        session.register_object_store(root.as_ref(), Arc::clone(address.store()));
        let opened: Vec<Opened> =
            futures::stream::iter(files.into_iter().filter(is_data).map(|meta| async move {
                let schema = schema_of(session, address, &meta, format).await;
                match schema.and_then(|schema| without_twins(&schema).map(|()| schema)) {
                    Ok(schema) => Ok(Opened { meta, schema }),
                    Err(problem) => Err(unreadable(name, &meta, format, &problem)),
                }
            }))
            .buffered(IN_FLIGHT)
            .try_collect()
            .await?;
        let schemas: Vec<SchemaRef> = opened.iter().map(|file| Arc::clone(&file.schema)).collect();
        let schema = merged(&schemas);
        if schema.fields().is_empty() {
            let message = format!(
                "input '{name}': no file at its address holds a column in {}",
                format_name(format)
            );
            return Err(failure(FailureReason::InputUnreadable, message));
        }
        let mut source = Self {
            name: name.to_owned(),
            format,
            address: address.clone(),
            root,
            schema,
            files: opened,
            parts: Vec::new(),
        };
        let partitions = session.state().config().target_partitions();
        source.parts = source
            .parts_of(&source.files, partitions)
            .or_fail(FailureReason::Internal)?;
        Ok(source)
    }

    /// The columns and their types; in CSV and JSON all are text.
    pub(super) fn columns(&self) -> Vec<(String, DataType)> {
        self.schema
            .fields()
            .iter()
            .map(|field| (field.name().clone(), plain(field.data_type())))
            .collect()
    }

    /// Whether values are texts whatever they stand for.
    pub(super) fn is_text(&self) -> bool {
        self.format != DataFormat::Parquet
    }

    /// What is wrong when a rule speaks of a column: it has to be in every file; in JSON, where an absent key is a
    /// null, in one at least.
    pub(super) fn without(&self, column: &str) -> Option<Finding> {
        let lacks = |schema: &SchemaRef| schema.index_of(column).is_err();
        let (place, there) = if lacks(&self.schema) {
            (String::new(), &self.schema)
        } else {
            let file = self.files.iter().find(|file| lacks(&file.schema))?;
            if self.format == DataFormat::Json {
                return None;
            }
            (format!(" in {}", file_name(&file.meta)), &file.schema)
        };
        let names: Vec<&str> = there
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .collect();
        Some(Finding::NoColumn {
            input: self.name.clone(),
            column: column.to_owned(),
            instead: format!("{place}; its columns are {}", listed(&names)),
        })
    }

    /// The types that a column has in the files, each with the first file that has it so.
    pub(super) fn types(&self, column: &str) -> Vec<(DataType, String)> {
        let mut types: Vec<(DataType, String)> = Vec::new();
        for Opened { meta, schema } in &self.files {
            let Ok(field) = schema.field_with_name(column) else {
                continue;
            };
            let data_type = match field.data_type() {
                DataType::Null => DataType::Null,
                other => plain(other),
            };
            if !types.iter().any(|(known, _)| *known == data_type) {
                types.push((data_type, file_name(meta).to_owned()));
            }
        }
        types
    }

    /// All rows, each column by its name and of a plain type.
    pub(super) fn frame(&self, session: &SessionContext) -> Result<DataFrame> {
        self.frame_of(session, &self.parts)
    }

    fn frame_of(&self, session: &SessionContext, parts: &[Part]) -> Result<DataFrame> {
        let mut frames = parts.iter().map(|part| {
            let columns = self.schema.fields().iter().map(|field| {
                let plain = plain(field.data_type());
                column_of(&part.columns, field, &plain)
            });
            let columns: Result<Vec<Expr>> = columns.collect();
            session
                .read_table(Arc::clone(&part.table))?
                .select(columns?)
        });
        let first = frames
            .next()
            .expect("an input without files is not opened")?;
        frames.try_fold(first, |all, frame| all.union(frame?))
    }

    /// Which file cannot be read to its end, and why; absent when all can.
    pub(super) async fn culprit(&self, session: &SessionContext) -> Option<FailureReport> {
        for file in &self.files {
            let read = async {
                let parts = self.parts_of(std::slice::from_ref(file), 1)?;
                let mut rows = self.frame_of(session, &parts)?.execute_stream().await?;
                while rows.try_next().await?.is_some() {}
                Ok(())
            };
            if let Err(problem) = read.await {
                return Some(unreadable(&self.name, &file.meta, self.format, &problem));
            }
        }
        None
    }

    fn parts_of(&self, files: &[Opened], partitions: usize) -> Result<Vec<Part>> {
        match self.format {
            DataFormat::Parquet => {
                let table = self.listed(files, Arc::new(ParquetFormat::default()), &self.schema)?;
                let columns = Arc::clone(&self.schema);
                Ok(vec![Part { table, columns }])
            }
            DataFormat::Csv => {
                // A table takes columns by their place, so its files have the same ones in the same order.
                let mut groups: BTreeMap<(Vec<String>, String), Vec<Opened>> = BTreeMap::new();
                for file in files {
                    let names = file
                        .schema
                        .fields()
                        .iter()
                        .map(|field| field.name().clone());
                    let packed = compression_of(file_name(&file.meta)).get_ext();
                    groups
                        .entry((names.collect(), packed))
                        .or_default()
                        .push(file.clone());
                }
                groups
                    .into_values()
                    .map(|files| {
                        let format = Arc::new(csv(file_name(&files[0].meta)));
                        let columns = Arc::clone(&files[0].schema);
                        let table = self.listed(&files, format, &columns)?;
                        Ok(Part { table, columns })
                    })
                    .collect()
            }
            DataFormat::Json => {
                let metas: Vec<ObjectMeta> = files.iter().map(|file| file.meta.clone()).collect();
                let table = json::table(self.address.store(), &metas, &self.schema, partitions)?;
                let columns = Arc::clone(&self.schema);
                Ok(vec![Part { table, columns }])
            }
        }
    }

    fn listed(
        &self,
        files: &[Opened],
        format: Arc<dyn FileFormat>,
        schema: &SchemaRef,
    ) -> Result<Arc<dyn TableProvider>> {
        let urls: Result<Vec<_>> = files
            .iter()
            .map(|file| url_of(&self.root, &file.meta.location))
            .collect();
        table(urls?, format, Arc::clone(schema))
    }
}

/// A column of a part under its name, null where the part has it not.
fn column_of(part: &Schema, field: &Field, plain: &DataType) -> Result<Expr> {
    let name = field.name();
    let values = match part.field_with_name(name) {
        Ok(there) if there.data_type() == plain => ident(name),
        Ok(_) => cast(ident(name), plain.clone()),
        Err(_) => lit(ScalarValue::try_from(plain)?),
    };
    Ok(values.alias(name))
}

/// CSV whose columns are all text. A value may hold line ends, so a file is not cut into ranges.
fn csv(name: &str) -> CsvFormat {
    CsvFormat::default()
        .with_has_header(true)
        .with_newlines_in_values(true)
        .with_schema_infer_max_rec(0)
        .with_file_compression_type(compression_of(name))
}

async fn schema_of(
    session: &SessionContext,
    address: &Address,
    file: &ObjectMeta,
    format: DataFormat,
) -> Result<SchemaRef> {
    let format: Arc<dyn FileFormat> = match format {
        DataFormat::Json => return json::schema_of(address.store(), file).await,
        DataFormat::Csv => {
            // Of a format that infers from files, two columns of one name would come out as one.
            let chunks = unpacked(address.store(), file).await?.map_err(|problem| {
                object_store::Error::Generic {
                    store: "unpacking",
                    source: Box::new(problem),
                }
            });
            let lines = newline_delimited_stream(chunks).map_err(DataFusionError::from);
            let (schema, _) = csv(file_name(file))
                .infer_schema_from_stream(&session.state(), 0, lines)
                .await?;
            return Ok(Arc::new(schema));
        }
        DataFormat::Parquet => Arc::new(ParquetFormat::default()),
    };
    format
        .infer_schema(
            &session.state(),
            address.store(),
            std::slice::from_ref(file),
        )
        .await
}

/// The content of a file, unpacked.
pub(super) async fn unpacked(
    store: &Arc<dyn ObjectStore>,
    file: &ObjectMeta,
) -> Result<BoxStream<'static, Result<Bytes>>> {
    let chunks = store
        .get(&file.location)
        .await?
        .into_stream()
        .map_err(DataFusionError::from);
    compression_of(file_name(file)).convert_stream(chunks.boxed())
}

/// Two columns of one name cannot be told apart.
fn without_twins(schema: &Schema) -> Result<()> {
    let mut names: Vec<&String> = schema.fields().iter().map(|field| field.name()).collect();
    names.sort();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(DataFusionError::Execution(format!(
            "it has two columns with the name '{}'",
            pair[0]
        ))),
        None => Ok(()),
    }
}

/// One type for all ways to keep the same values.
fn plain(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, values) => plain(values),
        DataType::RunEndEncoded(_, values) => plain(values.data_type()),
        DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => DataType::Utf8,
        other => other.clone(),
    }
}

fn file_name(file: &ObjectMeta) -> &str {
    file.location.filename().unwrap_or_default()
}

fn unreadable(
    input: &str,
    file: &ObjectMeta,
    format: DataFormat,
    problem: &DataFusionError,
) -> FailureReport {
    let mut message = format!(
        "input '{input}': {} cannot be read as {}: ",
        file_name(file),
        format_name(format)
    );
    let _ = write!(message, "{}", reason(problem));
    failure(FailureReason::InputUnreadable, message)
}

/// What DataFusion says, on one line.
pub(super) fn reason(problem: &DataFusionError) -> String {
    let text = problem.strip_backtrace();
    let words: Vec<&str> = text.split_whitespace().collect();
    // Our own words need no class.
    let text = words.join(" ");
    text.strip_prefix("Execution error: ")
        .map_or(text.clone(), str::to_owned)
}
