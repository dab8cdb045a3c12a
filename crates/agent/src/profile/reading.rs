//! Reads a data set in parallel, and always in the same parts, so that what is counted does not hang on how many work at it.
//!
//! ```text
//!   address ──files──> row groups ──eight lanes, by rows──┐
//!   columns ──slices, by bytes────────────────────────────┴──> (lane, slice) ──a task each──> Sketch ──merged in order──> one
//! ```
//!
//! Parquet is read with the reader that DataFusion itself reads it with, but names as keys: a name is then counted once for
//! all of its rows. Other formats are read with DataFusion, one row after the other.

use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::prelude::SessionContext;
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use object_store::ObjectMeta;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::async_reader::{ParquetRecordBatchStream, ParquetRecordBatchStreamBuilder};
use windlass_api::agent::FailureReport;

use super::column::Column;
use super::sketch::{Asked, Counter, Roles, Sketch};
use crate::address::{Address, AddressError};
use crate::arguments::DataFormat;
use crate::data::scan::{Scan, no_column};
use crate::data::stored::Stored;
use crate::data::{Reasons, aligned, column, file, merged};
use crate::evaluate::segments;
use crate::report::{chain, failure};

/// In how many parts rows are counted, whatever works at it.
const LANES: usize = 8;
/// How many bytes of columns are held of a row group at once.
const SLICE_BYTES: i64 = 128 << 20;
/// Rows of a batch.
const BATCH_ROWS: usize = 8192;
/// How many files' ends are read at once.
const OPENED_AT_ONCE: usize = 16;

/// A data set whose files and columns are known.
pub struct Reading {
    address: Address,
    reasons: Reasons,
    rows: Rows,
    schema: SchemaRef,
    session: SessionContext,
}

enum Rows {
    Parquet(Arc<Vec<ParquetFile>>),
    Other(Scan),
}

struct ParquetFile {
    meta: ObjectMeta,
    metadata: ArrowReaderMetadata,
}

/// What is read of it.
#[derive(Clone, Debug, Default)]
pub struct Asking {
    /// The columns that are counted.
    pub columns: Vec<Asked>,
    /// Those that say something of rows.
    pub roles: Roles,
    /// Rows from one time up to another, without it; by the column of that role.
    pub within: Option<(Timestamp, Timestamp)>,
    /// Predicates whose rows are counted by themselves too.
    pub segments: Vec<String>,
}

/// Tells how many rows were read.
pub type Told = Arc<dyn Fn(u64) + Send + Sync>;

impl Reading {
    /// Finds the files at an address that are wanted, and their columns. Files may go while they are looked at.
    ///
    /// # Errors
    /// The reason `unreadable` with the file that is not of the format; `not_found`.
    pub async fn open(
        address: &Address,
        format: DataFormat,
        reasons: Reasons,
        is_wanted: impl Fn(&ObjectMeta) -> bool,
    ) -> Result<Self, FailureReport> {
        if format != DataFormat::Parquet {
            let scan = Scan::open(address, format, reasons).await?;
            return Ok(Self {
                address: address.clone(),
                reasons,
                schema: Arc::clone(scan.schema()),
                session: scan.session().clone(),
                rows: Rows::Other(scan),
            });
        }
        let files = address.files().await.map_err(|problem| {
            let reason = match problem {
                AddressError::NotFound { .. } => reasons.not_found,
                _ => reasons.unreadable,
            };
            failure(reason, format!("{}: {}", reasons.what, chain(&problem)))
        })?;
        let files = files.into_iter().filter(file::is_data).filter(is_wanted);
        let opened: Vec<Option<ParquetFile>> = stream::iter(files)
            .map(|meta| opened(address, reasons, meta))
            .buffered(OPENED_AT_ONCE)
            .try_collect()
            .await?;
        let files: Vec<ParquetFile> = opened.into_iter().flatten().collect();
        let schemas: Vec<SchemaRef> = files
            .iter()
            .map(|file| Arc::clone(file.metadata.schema()))
            .collect();
        Ok(Self {
            address: address.clone(),
            reasons,
            schema: merged(&schemas),
            rows: Rows::Parquet(Arc::new(files)),
            session: SessionContext::new_with_config(crate::data::config(1)),
        })
    }

    /// Its columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// How many rows its files say that they have; absent where they do not.
    pub fn rows(&self) -> Option<u64> {
        match &self.rows {
            Rows::Parquet(files) => Some(files.iter().map(ParquetFile::rows).sum()),
            Rows::Other(_) => None,
        }
    }

    /// Counts: all rows, and those of each segment.
    ///
    /// # Errors
    /// That a file cannot be read to its end, with its name; that a segment is no predicate, or names a column that is not
    /// there; that a column's values cannot be counted.
    pub async fn count(
        &self,
        asking: &Arc<Asking>,
        told: &Told,
    ) -> Result<Vec<Sketch>, FailureReport> {
        match &self.rows {
            Rows::Other(scan) => self.count_scan(scan, asking, told).await,
            Rows::Parquet(files) => self.count_parquet(files, asking, told).await,
        }
    }

    /// Hands over rows of some columns, batch by batch, in their order: those from one time up to another by a column with it.
    /// Columns that are not there are empty.
    ///
    /// # Errors
    /// As [`Reading::count`].
    pub async fn each(
        &self,
        names: &[&str],
        within: Option<(&str, Timestamp, Timestamp)>,
        mut take: impl FnMut(&RecordBatch) -> Result<(), String>,
    ) -> Result<(), FailureReport> {
        let time = within.map(|(time, _, _)| time);
        let fields = names.iter().copied().chain(time).map(|name| {
            let field = self.schema.field_with_name(name);
            let data_type = field.map_or(DataType::Null, |field| field.data_type().clone());
            Field::new(name, data_type, true)
        });
        let mut fields: Vec<Field> = fields.collect();
        fields.dedup_by(|later, kept| later.name() == kept.name());
        let schema = Arc::new(Schema::new(fields));
        let span = Span::new(self, &schema, within)?;
        let mut take = |batch: &RecordBatch| take(&span.of(batch, &schema)?);
        match &self.rows {
            Rows::Other(scan) => {
                let mut batches = scan.batches();
                while let Some(batch) = batches.try_next().await? {
                    take(batch.batch()).map_err(|problem| scan.unreadable(&problem))?;
                }
            }
            Rows::Parquet(files) => {
                for file in files.iter() {
                    let groups = (0..file.metadata.metadata().num_row_groups()).collect();
                    let place = (&self.address, self.reasons);
                    let mut batches = batches(place, file, groups, &schema)?;
                    while let Some(batch) = next(place, file, &mut batches).await? {
                        take(&batch).map_err(|problem| self.about(&problem))?;
                    }
                }
            }
        }
        Ok(())
    }

    fn about(&self, problem: &str) -> FailureReport {
        about((&self.address, self.reasons), problem)
    }

    async fn count_scan(
        &self,
        scan: &Scan,
        asking: &Arc<Asking>,
        told: &Told,
    ) -> Result<Vec<Sketch>, FailureReport> {
        let mut counting = Counting::new(self, &asking.columns, asking, Arc::clone(scan.schema()))?;
        let mut batches = scan.batches();
        while let Some(batch) = batches.try_next().await? {
            told(batch.rows() as u64);
            counting
                .add(batch.batch())
                .map_err(|problem| scan.unreadable(&problem))?;
        }
        Ok(counting.sketches)
    }

    async fn count_parquet(
        &self,
        files: &Arc<Vec<ParquetFile>>,
        asking: &Arc<Asking>,
        told: &Told,
    ) -> Result<Vec<Sketch>, FailureReport> {
        let lanes = lanes(files);
        let slices = slices(files, &asking.columns);
        let workers = std::thread::available_parallelism().map_or(2, usize::from);
        let workers = workers.min(LANES);
        let tasks = slices.iter().flat_map(|columns| {
            let lanes = lanes.iter();
            lanes.map(move |lane| (Arc::clone(columns), lane.clone()))
        });
        let tasks: Vec<(Arc<Vec<Asked>>, Lane)> = tasks.collect();
        let is_first = |at: usize| at < lanes.len();
        let counted = stream::iter(tasks.into_iter().enumerate()).map(|(at, (columns, lane))| {
            let counting = Counting::new(self, &columns, asking, self.projected(&columns, asking));
            let task = Task {
                address: self.address.clone(),
                reasons: self.reasons,
                files: Arc::clone(files),
                told: is_first(at).then(|| Arc::clone(told)),
            };
            async move {
                let work = task.run(lane, counting?);
                let done = tokio::spawn(work).await;
                done.unwrap_or_else(|problem| {
                    let message = format!("reading was ended: {problem}");
                    Err(failure(
                        windlass_api::agent::FailureReason::Internal,
                        message,
                    ))
                })
            }
        });
        let mut counted = counted.buffered(workers);
        let mut all: Option<Vec<Sketch>> = None;
        for columns in &slices {
            let mut parts: Vec<Vec<Sketch>> = Vec::new();
            for _ in &lanes {
                let Some(part) = counted.try_next().await? else {
                    break;
                };
                parts.push(part);
            }
            let slice = together(columns, asking, parts);
            match &mut all {
                None => all = Some(slice),
                Some(all) => {
                    for (whole, slice) in all.iter_mut().zip(slice) {
                        whole.columns.extend(slice.columns);
                        whole.append_units(slice.units);
                    }
                }
            }
        }
        Ok(all.unwrap_or_else(|| together(&[], asking, Vec::new())))
    }

    /// The columns that are read for these: with the names as keys, and those that say something of rows.
    fn projected(&self, columns: &[Asked], asking: &Asking) -> SchemaRef {
        let mut wanted: std::collections::BTreeSet<&str> =
            columns.iter().map(|asked| asked.name.as_str()).collect();
        let counted = wanted.clone();
        wanted.extend(asking.roles.names());
        let of_segments = segments::columns_of(&self.session, &self.schema, &asking.segments);
        wanted.extend(of_segments.iter().map(String::as_str));
        let fields = self.schema.fields().iter();
        let fields = fields
            .filter(|field| wanted.contains(field.name().as_str()))
            .map(|field| {
                let name = field.name().as_str();
                let has_role = asking.roles.names().any(|role| role == name);
                let is_name = counted.contains(name) && !has_role;
                Field::new(field.name(), as_keys(field.data_type(), is_name), true)
            });
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }
}

/// Names as keys.
fn as_keys(data_type: &DataType, is_counted: bool) -> DataType {
    match data_type {
        DataType::Utf8 if is_counted => {
            DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
        }
        other => other.clone(),
    }
}

async fn opened(
    address: &Address,
    reasons: Reasons,
    meta: ObjectMeta,
) -> Result<Option<ParquetFile>, FailureReport> {
    let mut reader = Stored::new(address.store(), &meta);
    match ArrowReaderMetadata::load_async(&mut reader, ArrowReaderOptions::new()).await {
        Ok(metadata) => Ok(Some(ParquetFile { meta, metadata })),
        Err(problem) if is_gone(&problem) => Ok(None),
        Err(problem) => Err(unreadable(address, reasons, &meta, &problem)),
    }
}

/// Whether a file was removed since it was seen.
fn is_gone(problem: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(problem);
    while let Some(error) = next {
        if let Some(object_store::Error::NotFound { .. }) = error.downcast_ref() {
            return true;
        }
        next = error.source();
    }
    false
}

fn unreadable(
    address: &Address,
    reasons: Reasons,
    meta: &ObjectMeta,
    problem: &(dyn std::error::Error + 'static),
) -> FailureReport {
    let name = meta.location.filename().unwrap_or_default();
    let message = format!(
        "{} at {}: {name} cannot be read as Parquet: {}",
        reasons.what,
        address.uri(),
        chain(problem)
    );
    failure(reasons.unreadable, message)
}

impl ParquetFile {
    fn rows(&self) -> u64 {
        let rows = self.metadata.metadata().file_metadata().num_rows();
        u64::try_from(rows).unwrap_or(0)
    }
}

/// Row groups of files, in their order.
type Lane = Vec<(usize, Vec<usize>)>;

/// Row groups in as many parts of about equal rows.
fn lanes(files: &[ParquetFile]) -> Vec<Lane> {
    let groups = files.iter().enumerate().flat_map(|(file, of)| {
        let groups = of.metadata.metadata().row_groups().iter().enumerate();
        groups.map(move |(group, of)| (file, group, u64::try_from(of.num_rows()).unwrap_or(0)))
    });
    let groups: Vec<(usize, usize, u64)> = groups.collect();
    let total: u64 = groups.iter().map(|(_, _, rows)| rows).sum();
    let mut lanes: Vec<Lane> = Vec::new();
    let (mut before, mut of_last) = (0, None);
    for (file, group, rows) in groups {
        let lane = before * LANES as u64 / total.max(1);
        before += rows;
        if of_last != Some(lane) {
            of_last = Some(lane);
            lanes.push(Lane::new());
        }
        let lane = lanes.last_mut().expect("there is one");
        match lane.last_mut().filter(|(last, _)| *last == file) {
            Some((_, groups)) => groups.push(group),
            None => lane.push((file, vec![group])),
        }
    }
    lanes
}

/// Columns in as many parts that what is held of a row group at once is bounded.
fn slices(files: &[ParquetFile], columns: &[Asked]) -> Vec<Arc<Vec<Asked>>> {
    let largest = files.iter().flat_map(|file| {
        let groups = file.metadata.metadata().row_groups().iter();
        groups.map(parquet::file::metadata::RowGroupMetaData::total_byte_size)
    });
    let parts = largest.max().unwrap_or(0).max(0) / SLICE_BYTES + 1;
    let parts = usize::try_from(parts)
        .unwrap_or(1)
        .min(columns.len().max(1));
    let each = columns.len().div_ceil(parts).max(1);
    let slices: Vec<_> = columns
        .chunks(each)
        .map(|slice| Arc::new(slice.to_vec()))
        .collect();
    if slices.is_empty() {
        return vec![Arc::default()];
    }
    slices
}

/// What parts make together: all rows, and those of each segment.
fn together(columns: &[Asked], asking: &Asking, parts: Vec<Vec<Sketch>>) -> Vec<Sketch> {
    let mut of_kind: Vec<Vec<Sketch>> = vec![Vec::new(); asking.segments.len() + 1];
    for part in parts {
        for (to, sketch) in of_kind.iter_mut().zip(part) {
            to.push(sketch);
        }
    }
    let merged = |parts: Vec<Sketch>| {
        let mut all = Sketch::new(columns, &asking.roles);
        all.merge(&parts);
        all
    };
    of_kind.into_iter().map(merged).collect()
}

/// Counts what is read: all rows within the time, and of these those of each segment.
struct Counting {
    counter: Counter,
    sketches: Vec<Sketch>,
    predicates: Vec<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
    span: Span,
}

/// Rows from one time up to another, and with the columns that are wanted.
struct Span(Option<(usize, i64, i64)>);

impl Span {
    fn new(
        of: &Reading,
        schema: &SchemaRef,
        within: Option<(&str, Timestamp, Timestamp)>,
    ) -> Result<Self, FailureReport> {
        let Some((name, start, end)) = within else {
            return Ok(Self(None));
        };
        let place = schema.index_of(name);
        let place = place.map_err(|_| no_column(&of.schema, name, of.address.uri(), of.reasons))?;
        Ok(Self(Some((
            place,
            start.as_microsecond(),
            end.as_microsecond(),
        ))))
    }

    fn of(&self, batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, String> {
        let problem = |problem: arrow::error::ArrowError| problem.to_string();
        let batch = if batch.schema_ref().fields() == schema.fields() {
            batch.clone()
        } else {
            aligned(batch, schema).map_err(problem)?
        };
        let Some((place, start, end)) = self.0 else {
            return Ok(batch);
        };
        let times = column::times(batch.column(place))?;
        let is_within = |time: Option<i64>| time.is_some_and(|time| start <= time && time < end);
        let mask: BooleanArray = times
            .into_iter()
            .map(|time| Some(is_within(time)))
            .collect();
        filter_record_batch(&batch, &mask).map_err(problem)
    }
}

impl Counting {
    fn new(
        of: &Reading,
        columns: &[Asked],
        asking: &Asking,
        schema: SchemaRef,
    ) -> Result<Self, FailureReport> {
        let predicates: Result<Vec<_>, FailureReport> = asking
            .segments
            .iter()
            .map(|text| segments::predicate(&of.session, &schema, text))
            .collect();
        // Ids are looked at once, among all rows.
        let of_segments = Roles {
            id: None,
            ..asking.roles.clone()
        };
        let mut sketches = vec![Sketch::new(columns, &asking.roles)];
        sketches.resize(
            asking.segments.len() + 1,
            Sketch::new(columns, &of_segments),
        );
        let time = asking.roles.time.as_deref();
        let within = time.zip(asking.within);
        let within = within.map(|(name, (start, end))| (name, start, end));
        Ok(Self {
            counter: Counter::new(columns, &asking.roles, &schema),
            sketches,
            predicates: predicates?,
            span: Span::new(of, &schema, within)?,
            schema,
        })
    }

    fn add(&mut self, batch: &RecordBatch) -> Result<(), String> {
        let problem = |problem: arrow::error::ArrowError| problem.to_string();
        let batch = self.span.of(batch, &self.schema)?;
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let (whole, of_segments) = self.sketches.split_at_mut(1);
        self.counter.add(&mut whole[0], &batch)?;
        for (predicate, sketch) in self.predicates.iter().zip(of_segments) {
            let values = predicate
                .evaluate(&batch)
                .and_then(|values| values.into_array(batch.num_rows()))
                .map_err(|problem| problem.strip_backtrace())?;
            // What is null whatever the row is true for none.
            if let Some(mask) = values.as_boolean_opt() {
                let rows = filter_record_batch(&batch, mask).map_err(problem)?;
                if rows.num_rows() > 0 {
                    self.counter.add(sketch, &rows)?;
                }
            }
        }
        Ok(())
    }
}

struct Task {
    address: Address,
    reasons: Reasons,
    files: Arc<Vec<ParquetFile>>,
    /// Where rows are counted once only.
    told: Option<Told>,
}

impl Task {
    async fn run(self, lane: Lane, mut counting: Counting) -> Result<Vec<Sketch>, FailureReport> {
        let place = (&self.address, self.reasons);
        for (file, groups) in lane {
            let file = &self.files[file];
            let mut batches = batches(place, file, groups, &counting.schema)?;
            while let Some(batch) = next(place, file, &mut batches).await? {
                if let Some(told) = &self.told {
                    told(batch.num_rows() as u64);
                }
                counting
                    .add(&batch)
                    .map_err(|problem| about(place, &problem))?;
            }
        }
        for sketch in &mut counting.sketches {
            sketch.columns.iter_mut().for_each(Column::rest);
        }
        Ok(counting.sketches)
    }
}

/// Where data are, and which failures their problems are.
type Place<'a> = (&'a Address, Reasons);

fn about((address, reasons): Place<'_>, problem: &str) -> FailureReport {
    let message = format!("{} at {}: {problem}", reasons.what, address.uri());
    failure(reasons.unreadable, message)
}

/// The batches of some row groups of a file, with the columns that a schema names.
fn batches(
    (address, reasons): Place<'_>,
    file: &ParquetFile,
    groups: Vec<usize>,
    wanted: &SchemaRef,
) -> Result<ParquetRecordBatchStream<Stored>, FailureReport> {
    let metadata = keyed(&file.metadata, wanted);
    let fields = metadata.schema().fields().iter().enumerate();
    let places = fields
        .filter(|(_, field)| wanted.index_of(field.name()).is_ok())
        .map(|(place, _)| place);
    let mask = ProjectionMask::roots(metadata.parquet_schema(), places.collect::<Vec<_>>());
    let reader = Stored::new(address.store(), &file.meta);
    ParquetRecordBatchStreamBuilder::new_with_metadata(reader, metadata)
        .with_projection(mask)
        .with_row_groups(groups)
        .with_batch_size(BATCH_ROWS)
        .build()
        .map_err(|problem| unreadable(address, reasons, &file.meta, &problem))
}

/// The next of them; none where the file is gone.
async fn next(
    (address, reasons): Place<'_>,
    file: &ParquetFile,
    batches: &mut ParquetRecordBatchStream<Stored>,
) -> Result<Option<RecordBatch>, FailureReport> {
    match batches.try_next().await {
        Ok(batch) => Ok(batch),
        Err(problem) if is_gone(&problem) => Ok(None),
        Err(problem) => Err(unreadable(address, reasons, &file.meta, &problem)),
    }
}

/// The same file with those names read as keys that are to be.
fn keyed(metadata: &ArrowReaderMetadata, wanted: &SchemaRef) -> ArrowReaderMetadata {
    let fields = metadata.schema().fields().iter().map(|field| {
        let is_key = wanted
            .field_with_name(field.name())
            .is_ok_and(|wanted| matches!(wanted.data_type(), DataType::Dictionary(..)));
        let data_type = as_keys(field.data_type(), is_key);
        Arc::new(field.as_ref().clone().with_data_type(data_type))
    });
    let schema = Schema::new_with_metadata(
        fields.collect::<Vec<_>>(),
        metadata.schema().metadata().clone(),
    );
    let options = ArrowReaderOptions::new().with_schema(Arc::new(schema));
    let again = ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options);
    // What cannot be read so is read as it is, and cast.
    again.unwrap_or_else(|_| metadata.clone())
}
