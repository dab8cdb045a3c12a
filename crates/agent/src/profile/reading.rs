//! Reads a data set in parallel, and always in the same parts, so that what is counted does not hang on how many work at it.
//!
//! ```text
//!   address ──files──> row groups ──eight lanes, by rows──┐
//!   columns ──slices, by bytes────────────────────────────┴──> (lane, slice) ──a task each──> Sketch ──merged in order──> one
//! ```
//!
//! Parquet is read with the reader that DataFusion itself reads it with, but names as keys: a name is then counted once for
//! all of its rows. Other formats are read with DataFusion, one row after the other.
//!
//! Tasks are done here, or elsewhere ([`parts`]): what is merged is the same.

pub mod parts;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{Array as _, AsArray, BooleanArray, RecordBatch};
use arrow::compute::{filter_record_batch, prep_null_mask_filter};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::prelude::SessionContext;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt as _};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::async_reader::{ParquetRecordBatchStream, ParquetRecordBatchStreamBuilder};
use windlass_api::agent::{FailureReason, FailureReport};

use self::parts::CountedBy;
use super::column::Column;
use super::room::{self, LANES, Room};
use super::sketch::{Asked, Counter, Roles, Sketch};
use crate::address::{Address, AddressError};
use crate::arguments::DataFormat;
use crate::data::scan::{Scan, no_column};
use crate::data::stored::Stored;
use crate::data::{Reasons, aligned, column, file, merged};
use crate::evaluate::segments;
use crate::report::{chain, failure};

/// How many bytes of columns are held of a row group at once.
const SLICE_BYTES: i64 = 128 << 20;
/// Rows of a batch.
const BATCH_ROWS: usize = 8192;
/// How many files' ends are read at once.
const OPENED_AT_ONCE: usize = 16;
/// In how many parts of the data rows are looked at before they are counted.
const PARTS: usize = 4;
/// Bytes of files' ends that are kept: those of more files are read again when their rows are.
const HELD_BYTES: usize = 64 << 20;

/// A data set whose files and columns are known.
pub struct Reading {
    address: Address,
    reasons: Reasons,
    rows: Rows,
    schema: SchemaRef,
    session: SessionContext,
    /// How many bytes of columns are held of a row group at once.
    slice_bytes: i64,
    /// How many parts are counted at once.
    at_once: usize,
    counted_by: CountedBy,
}

enum Rows {
    Parquet(Arc<Vec<ParquetFile>>),
    Other(Box<Scan>),
}

#[derive(Clone)]
struct ParquetFile {
    meta: ObjectMeta,
    /// Of each row group, its rows and its bytes.
    groups: Vec<(u64, i64)>,
    /// The place of its first row among those of all files.
    first: u64,
    /// What its end says, where there was room to keep it.
    held: Option<ArrowReaderMetadata>,
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
    /// Finds the files at an address that are wanted, and their columns. A file that goes before it is opened is none of them;
    /// one that goes later, while its rows are read, is a failure.
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
                rows: Rows::Other(Box::new(scan)),
                slice_bytes: SLICE_BYTES,
                at_once: 1,
                counted_by: CountedBy::default(),
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
        let opened = stream::iter(files).map(|meta| opened(address, reasons, meta));
        let mut opened = opened.buffered(OPENED_AT_ONCE);
        let (mut files, mut schemas): (Vec<ParquetFile>, Vec<SchemaRef>) = (Vec::new(), Vec::new());
        let (mut first, mut room) = (0, HELD_BYTES);
        while let Some(file) = opened.try_next().await? {
            let Some((meta, metadata)) = file else {
                continue;
            };
            // Most files have the columns of the one before.
            if schemas.last() != Some(metadata.schema()) {
                schemas.push(Arc::clone(metadata.schema()));
            }
            let file = ParquetFile::new(meta, metadata, first, &mut room);
            first += file.rows();
            files.push(file);
        }
        Ok(Self::of_files(address, reasons, merged(&schemas), files))
    }

    fn of_files(
        address: &Address,
        reasons: Reasons,
        schema: SchemaRef,
        files: Vec<ParquetFile>,
    ) -> Self {
        let workers = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            address: address.clone(),
            reasons,
            schema,
            rows: Rows::Parquet(Arc::new(files)),
            session: SessionContext::new_with_config(crate::data::config(1)),
            slice_bytes: SLICE_BYTES,
            at_once: workers.min(LANES),
            counted_by: CountedBy::default(),
        }
    }

    /// The same, counted by something else than this program. What is not Parquet is counted here all the same: its rows are
    /// read one after the other.
    #[must_use]
    pub fn counted_by(self, counted_by: CountedBy) -> Self {
        Self { counted_by, ..self }
    }

    /// Where it lies.
    pub fn address(&self) -> &Address {
        &self.address
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
    /// That a file cannot be read to its end, goes, or is changed while it is read, with its name; that a segment is no
    /// predicate, or names a column that is not there; that a column's values cannot be counted.
    pub async fn count(
        &self,
        asking: &Arc<Asking>,
        told: &Told,
    ) -> Result<Vec<Sketch>, FailureReport> {
        match &self.rows {
            Rows::Other(scan) => self.count_scan(scan, asking, told).await,
            Rows::Parquet(files) => {
                let counted = self.count_files(files, asking, told).await?;
                self.check_unchanged(files).await?;
                Ok(counted)
            }
        }
    }

    /// What a predicate is, over these of its columns.
    ///
    /// # Errors
    /// That it is no predicate, or names a column that is not there.
    pub fn predicate(
        &self,
        schema: &SchemaRef,
        text: &str,
    ) -> Result<Arc<dyn PhysicalExpr>, FailureReport> {
        segments::predicate(&self.session, schema, text)
    }

    /// The columns that predicates are of.
    pub fn columns_of(&self, predicates: &[String]) -> Vec<String> {
        let names = segments::columns_of(&self.session, &self.schema, predicates);
        names.into_iter().collect()
    }

    /// Some of its rows, so many at most, of some columns: from several parts of the data, since the first may be unlike the others.
    /// They are the same each time.
    ///
    /// # Errors
    /// As [`Reading::count`].
    pub async fn some(
        &self,
        names: &[&str],
        most: usize,
    ) -> Result<Vec<RecordBatch>, FailureReport> {
        let schema = self.of_names(names.iter().copied());
        let parts = self.parts();
        let each = most.div_ceil(parts.len().clamp(1, PARTS));
        let (mut some, mut left) = (Vec::new(), most);
        for (at, part) in spread(&parts).into_iter().enumerate() {
            // Where these have fewer, others have more of them.
            let wanted = if at < PARTS { left.min(each) } else { left };
            if wanted == 0 {
                break;
            }
            let first = self.first_of(part, &schema, wanted).await?;
            left -= first.iter().map(RecordBatch::num_rows).sum::<usize>();
            some.extend(first);
        }
        Ok(some)
    }

    /// Its files, and of Parquet their row groups.
    fn parts(&self) -> Vec<(usize, usize)> {
        match &self.rows {
            Rows::Other(scan) => (0..scan.files()).map(|file| (file, 0)).collect(),
            Rows::Parquet(files) => {
                let of_file = |(file, of): (usize, &ParquetFile)| {
                    let groups = 0..of.groups.len();
                    groups.map(move |group| (file, group)).collect::<Vec<_>>()
                };
                files.iter().enumerate().flat_map(of_file).collect()
            }
        }
    }

    /// The first rows of a part, so many at most.
    async fn first_of(
        &self,
        (file, group): (usize, usize),
        schema: &SchemaRef,
        most: usize,
    ) -> Result<Vec<RecordBatch>, FailureReport> {
        let (mut first, mut left) = (Vec::new(), most);
        let mut take = |batch: &RecordBatch| -> Result<bool, String> {
            let (batch, _) = Span(None).of(batch, schema, None)?;
            let rows = batch.num_rows().min(left);
            first.push(batch.slice(0, rows));
            left -= rows;
            Ok(left > 0)
        };
        match &self.rows {
            Rows::Other(scan) => {
                let scan = scan.only(file);
                let mut batches = scan.batches();
                while let Some(batch) = batches.try_next().await? {
                    if !take(batch.batch()).map_err(|problem| scan.unreadable(&problem))? {
                        break;
                    }
                }
            }
            Rows::Parquet(files) => {
                let (place, file) = ((&self.address, self.reasons), &files[file]);
                let mut batches = batches(place, file, vec![group], schema).await?;
                while let Some(batch) = next(place, file, &mut batches).await? {
                    if !take(&batch).map_err(|problem| self.about(&problem))? {
                        break;
                    }
                }
            }
        }
        Ok(first)
    }

    /// Columns by their names; those that are not there are of no type.
    fn of_names<'a>(&self, names: impl Iterator<Item = &'a str>) -> SchemaRef {
        let fields = names.map(|name| {
            let field = self.schema.field_with_name(name);
            let data_type = field.map_or(DataType::Null, |field| field.data_type().clone());
            Field::new(name, data_type, true)
        });
        let mut fields: Vec<Field> = fields.collect();
        fields.dedup_by(|later, kept| later.name() == kept.name());
        Arc::new(Schema::new(fields))
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
        let schema = self.of_names(names.iter().copied().chain(time));
        let within = Span::new(self, &schema, within)?;
        let mut take = |batch: &RecordBatch| take(&within.of(batch, &schema, None)?.0);
        match &self.rows {
            Rows::Other(scan) => {
                let mut batches = scan.batches();
                while let Some(batch) = batches.try_next().await? {
                    take(batch.batch()).map_err(|problem| scan.unreadable(&problem))?;
                }
            }
            Rows::Parquet(files) => {
                for file in files.iter() {
                    let groups = (0..file.groups.len()).collect();
                    let place = (&self.address, self.reasons);
                    let mut batches = batches(place, file, groups, &schema).await?;
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
        let mut first = 0;
        while let Some(batch) = batches.try_next().await? {
            told(batch.rows() as u64);
            counting
                .add(batch.batch(), first)
                .map_err(|problem| scan.unreadable(&problem))?;
            first += batch.rows() as u64;
        }
        Ok(counting.sketches)
    }

    /// That a file was written anew while it was read: some of its columns would be of other rows than the others.
    ///
    /// One that is no longer there was read to its end, or else that has failed.
    async fn check_unchanged(&self, files: &[ParquetFile]) -> Result<(), FailureReport> {
        let store = self.address.store();
        let looked_at = stream::iter(files).map(|file| async move {
            let now = store.head(&file.meta.location).await.ok()?;
            (!is_same(&file.meta, &now)).then_some(&file.meta)
        });
        let mut looked_at = looked_at.buffered(OPENED_AT_ONCE);
        while let Some(changed) = looked_at.next().await {
            if let Some(meta) = changed {
                let place = (&self.address, self.reasons);
                return Err(meanwhile(place, &meta.location, "was changed"));
            }
        }
        Ok(())
    }

    async fn count_files(
        &self,
        files: &Arc<Vec<ParquetFile>>,
        asking: &Arc<Asking>,
        told: &Told,
    ) -> Result<Vec<Sketch>, FailureReport> {
        let lanes = lanes(files);
        let slices = slices(files, asking, self.slice_bytes);
        let told = &in_slices(told, slices.len());
        let tasks = slices.iter().flat_map(|columns| {
            lanes.iter().map(move |lane| Task {
                columns: Arc::clone(columns),
                lane: lane.clone(),
            })
        });
        let tasks: Vec<Task> = tasks.collect();
        let mut counted = match self.counted_by.engine() {
            Some(engine) if !tasks.is_empty() => {
                self.count_elsewhere(engine, files, tasks, asking, told)
                    .await?
            }
            Some(_) | None => self.count_here(files, tasks, asking, told),
        };
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
                        whole.append(slice);
                    }
                }
            }
        }
        Ok(all.unwrap_or_else(|| together(&[], asking, Vec::new())))
    }

    /// Tasks as this program does them, in their order.
    fn count_here<'a>(
        &'a self,
        files: &Arc<Vec<ParquetFile>>,
        tasks: Vec<Task>,
        asking: &'a Asking,
        told: &Told,
    ) -> BoxStream<'a, Result<Vec<Sketch>, FailureReport>> {
        let (files, told) = (Arc::clone(files), Arc::clone(told));
        let counted = stream::iter(tasks).map(move |task| {
            let reader = Reader {
                address: self.address.clone(),
                reasons: self.reasons,
                files: Arc::clone(&files),
                told: Arc::clone(&told),
            };
            let counting = self.counting(&task.columns, asking);
            async move { reader.run(task.lane, counting?).await }
        });
        counted.buffered(self.at_once).boxed()
    }

    fn counting(&self, columns: &[Asked], asking: &Asking) -> Result<Counting, FailureReport> {
        Counting::new(self, columns, asking, self.projected(columns, asking))
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
        let texts = columns.iter().filter(|asked| asked.kind.is_sampled());
        let texts: Vec<&str> = texts.map(|asked| asked.name.as_str()).collect();
        let fields = fields
            .filter(|field| wanted.contains(field.name().as_str()))
            .map(|field| {
                let name = field.name().as_str();
                let has_role = asking.roles.names().any(|role| role == name);
                // Of texts that are hardly ever the same, keys save nothing.
                let is_name = counted.contains(name) && !has_role && !texts.contains(&name);
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

/// What the end of a file says; nothing where it is gone.
async fn end_of(
    address: &Address,
    reasons: Reasons,
    meta: &ObjectMeta,
) -> Result<Option<ArrowReaderMetadata>, FailureReport> {
    let mut reader = Stored::new(address.store(), meta);
    match ArrowReaderMetadata::load_async(&mut reader, ArrowReaderOptions::new()).await {
        Ok(metadata) => Ok(Some(metadata)),
        Err(problem) if is_gone(&problem) => Ok(None),
        Err(problem) => Err(unreadable(address, reasons, meta, &problem)),
    }
}

async fn opened(
    address: &Address,
    reasons: Reasons,
    meta: ObjectMeta,
) -> Result<Option<(ObjectMeta, ArrowReaderMetadata)>, FailureReport> {
    let metadata = end_of(address, reasons, &meta).await?;
    Ok(metadata.map(|metadata| (meta, metadata)))
}

/// Whether a file is as it was when it was found, as far as its store tells.
fn is_same(then: &ObjectMeta, now: &ObjectMeta) -> bool {
    let is_same_tag = match (&then.e_tag, &now.e_tag) {
        // Of one store a list has them without the quotes.
        (Some(then), Some(now)) => then.trim_matches('"') == now.trim_matches('"'),
        // A list may be finer than what a store says of a file.
        (None, _) | (_, None) => then.last_modified.timestamp() == now.last_modified.timestamp(),
    };
    then.size == now.size && is_same_tag
}

/// That something befell a file while its rows were read: of these some columns would be counted and others not.
fn meanwhile((address, reasons): Place<'_>, location: &Path, what: &str) -> FailureReport {
    let name = location.filename().unwrap_or_default();
    let message = format!(
        "{} at {}: {name} {what} while it was read, so that what was counted is not of the same rows. Ask again when nothing removes or writes files there, and let what removes them leave those that are still to be looked at",
        reasons.what,
        address.uri()
    );
    failure(reasons.unreadable, message)
}

fn removed(place: Place<'_>, location: &Path) -> FailureReport {
    meanwhile(place, location, "was removed")
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
    /// A file whose first row has this place among all. What its end says is kept where there is room for it.
    fn new(meta: ObjectMeta, metadata: ArrowReaderMetadata, first: u64, room: &mut usize) -> Self {
        let of = metadata.metadata();
        let groups = of.row_groups().iter().map(|group| {
            let rows = u64::try_from(group.num_rows()).unwrap_or(0);
            (rows, group.total_byte_size())
        });
        let groups = groups.collect();
        let left = room.checked_sub(of.memory_size());
        *room = left.unwrap_or(*room);
        Self {
            meta,
            groups,
            first,
            held: left.map(|_| metadata),
        }
    }

    fn rows(&self) -> u64 {
        self.groups.iter().map(|(rows, _)| rows).sum()
    }

    /// The place of the first row of some row groups, which follow each other.
    fn first_of(&self, groups: &[usize]) -> u64 {
        let before = groups.first().copied().unwrap_or(0);
        let rows = self.groups.iter().take(before).map(|(rows, _)| rows);
        self.first + rows.sum::<u64>()
    }
}

/// Tells of rows as they are read, where they are read so many times, each time some of their columns: a row is read when its
/// last columns are.
fn in_slices(told: &Told, slices: usize) -> Told {
    let (told, slices) = (Arc::clone(told), slices.max(1) as u64);
    let seen = AtomicU64::new(0);
    Arc::new(move |rows| {
        let before = seen.fetch_add(rows, Ordering::Relaxed);
        told((before + rows) / slices - before / slices);
    })
}

/// Row groups of files, in their order.
type Lane = Vec<(usize, Vec<usize>)>;

/// Row groups in as many parts of about equal rows.
fn lanes(files: &[ParquetFile]) -> Vec<Lane> {
    let groups = files.iter().enumerate().flat_map(|(file, of)| {
        let groups = of.groups.iter().enumerate();
        groups.map(move |(group, (rows, _))| (file, group, *rows))
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

/// Columns in as many parts that what is held of a row group at once is bounded, and what is counted of them.
fn slices(files: &[ParquetFile], asking: &Asking, slice_bytes: i64) -> Vec<Arc<Vec<Asked>>> {
    let columns = &asking.columns;
    let groups = files.iter().flat_map(|file| &file.groups);
    let largest = groups.map(|(_, bytes)| *bytes);
    let parts = largest.max().unwrap_or(0).max(0) / slice_bytes + 1;
    let parts = usize::try_from(parts)
        .unwrap_or(1)
        .min(columns.len().max(1));
    let each = columns.len().div_ceil(parts);
    let segments = asking.segments.len();
    let time_cells = if asking.roles.time.is_some() && asking.roles.is_by_time {
        Room::of(columns, segments).time_cells
    } else {
        0
    };
    let (mut slices, mut rest) = (Vec::new(), columns.as_slice());
    while !rest.is_empty() {
        let many = room::at_once(rest, segments, time_cells).min(each);
        let (slice, others) = rest.split_at(many);
        slices.push(Arc::new(slice.to_vec()));
        rest = others;
    }
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
    let room = Room::of(&asking.columns, asking.segments.len()).together();
    let rooms = std::iter::once(room).chain(std::iter::repeat(room.of_segment()));
    let merged = |(parts, room): (Vec<Sketch>, Room)| {
        let mut all = Sketch::new(columns, &asking.roles, room);
        all.merge(&parts);
        all
    };
    of_kind.into_iter().zip(rooms).map(merged).collect()
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

    /// Where rows themselves are kept, with their places, of which this is the first.
    fn of(
        &self,
        batch: &RecordBatch,
        schema: &SchemaRef,
        first: Option<u64>,
    ) -> Result<(RecordBatch, Vec<u64>), String> {
        let problem = |problem: arrow::error::ArrowError| problem.to_string();
        let batch = if batch.schema_ref().fields() == schema.fields() {
            batch.clone()
        } else {
            aligned(batch, schema).map_err(problem)?
        };
        let rows = batch.num_rows() as u64;
        let places: Vec<u64> = first.map_or_else(Vec::new, |first| (first..first + rows).collect());
        let Some((place, start, end)) = self.0 else {
            return Ok((batch, places));
        };
        let times = column::times(batch.column(place))?;
        let is_within = |time: Option<i64>| time.is_some_and(|time| start <= time && time < end);
        let mask: BooleanArray = times
            .into_iter()
            .map(|time| Some(is_within(time)))
            .collect();
        let batch = filter_record_batch(&batch, &mask).map_err(problem)?;
        Ok((batch, kept(&places, &mask)))
    }
}

/// Those of the places that a mask keeps; there may be none.
fn kept(places: &[u64], mask: &BooleanArray) -> Vec<u64> {
    let both = places.iter().zip(mask.values());
    both.filter_map(|(place, is_kept)| is_kept.then_some(*place))
        .collect()
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
        let room = Room::of(&asking.columns, asking.segments.len());
        let mut sketches = vec![Sketch::new(columns, &asking.roles, room)];
        sketches.resize(
            asking.segments.len() + 1,
            Sketch::new(columns, &of_segments, room.of_segment()),
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

    /// Counts rows, of which the first has this place among all.
    fn add(&mut self, batch: &RecordBatch, first: u64) -> Result<(), String> {
        let problem = |problem: arrow::error::ArrowError| problem.to_string();
        let first = self.counter.is_sampled().then_some(first);
        let (batch, places) = self.span.of(batch, &self.schema, first)?;
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let (whole, of_segments) = self.sketches.split_at_mut(1);
        self.counter.add(&mut whole[0], &batch, &places)?;
        for (predicate, sketch) in self.predicates.iter().zip(of_segments) {
            let values = predicate
                .evaluate(&batch)
                .and_then(|values| values.into_array(batch.num_rows()))
                .map_err(|problem| problem.strip_backtrace())?;
            // What is null whatever the row is true for none.
            if let Some(mask) = values.as_boolean_opt() {
                let mask = match mask.null_count() {
                    0 => mask.clone(),
                    _ => prep_null_mask_filter(mask),
                };
                let rows = filter_record_batch(&batch, &mask).map_err(problem)?;
                if rows.num_rows() > 0 {
                    let places = kept(&places, &mask);
                    self.counter.add(sketch, &rows, &places)?;
                }
            }
        }
        Ok(())
    }
}

/// The same parts in another order: first some that lie as far from each other as can be, with the first and the last.
fn spread<T: Copy>(parts: &[T]) -> Vec<T> {
    let many = parts.len().min(PARTS);
    let far: Vec<usize> = (0..many)
        .map(|at| at * (parts.len() - 1) / (many - 1).max(1))
        .collect();
    let others = (0..parts.len()).filter(|at| !far.contains(at));
    far.iter()
        .copied()
        .chain(others)
        .map(|at| parts[at])
        .collect()
}

/// What one worker counts.
struct Task {
    columns: Arc<Vec<Asked>>,
    lane: Lane,
}

struct Reader {
    address: Address,
    reasons: Reasons,
    files: Arc<Vec<ParquetFile>>,
    told: Told,
}

impl Reader {
    /// Counts a lane in a task of its own, which may run beside others, and takes nothing with it if it ends in a panic.
    async fn run(self, lane: Lane, counting: Counting) -> Result<Vec<Sketch>, FailureReport> {
        let done = tokio::spawn(self.count(lane, counting)).await;
        done.unwrap_or_else(|problem| {
            let message = format!("reading was ended: {problem}");
            Err(failure(FailureReason::Internal, message))
        })
    }

    async fn count(self, lane: Lane, mut counting: Counting) -> Result<Vec<Sketch>, FailureReport> {
        let place = (&self.address, self.reasons);
        for (file, groups) in lane {
            let file = &self.files[file];
            let mut first = file.first_of(&groups);
            let mut batches = batches(place, file, groups, &counting.schema).await?;
            while let Some(batch) = next(place, file, &mut batches).await? {
                (self.told)(batch.num_rows() as u64);
                counting
                    .add(&batch, first)
                    .map_err(|problem| about(place, &problem))?;
                first += batch.num_rows() as u64;
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
async fn batches(
    (address, reasons): Place<'_>,
    file: &ParquetFile,
    groups: Vec<usize>,
    wanted: &SchemaRef,
) -> Result<ParquetRecordBatchStream<Stored>, FailureReport> {
    let metadata = match &file.held {
        Some(held) => Some(held.clone()),
        None => end_of(address, reasons, &file.meta).await?,
    };
    let gone = || removed((address, reasons), &file.meta.location);
    let metadata = metadata.ok_or_else(gone)?;
    let metadata = keyed(&metadata, wanted);
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

/// The next of them.
async fn next(
    (address, reasons): Place<'_>,
    file: &ParquetFile,
    batches: &mut ParquetRecordBatchStream<Stored>,
) -> Result<Option<RecordBatch>, FailureReport> {
    match batches.try_next().await {
        Ok(batch) => Ok(batch),
        Err(problem) if is_gone(&problem) => Err(removed((address, reasons), &file.meta.location)),
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

#[cfg(test)]
mod tests;
