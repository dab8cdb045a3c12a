//! Parts of a data set that are counted elsewhere: what is sent there, and what comes back.
//!
//! ```text
//!   here: Reading ──Work (of all parts), Part (row groups, columns)──> Engine ──> there: answer ──> opens the part's files, counts
//!             │                                                          │
//!             └──merged in the parts' order <──sketches, bit by bit──────┘
//! ```
//!
//! A part is what one worker of this program would count, so what is merged is the same to the last bit. Numbers go as their
//! bits, in postcard's format; what is wrong with the data is an answer as well, and no fault of the engine's.
//!
//! Absent on purpose: any engine. That of Ballista is a program of its own (docs/decisions/0019).

use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt};
use jiff::Timestamp;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use windlass_api::agent::{FailureReason, FailureReport};

use super::{
    Asking, HELD_BYTES, Lane, ParquetFile, Reader, Reading, Sketch, Task, Told, opened, removed,
};
use crate::address::Address;
use crate::data::Reasons;
use crate::drift::payloads;
use crate::profile;
use crate::profile::sketch::{Asked, Roles};
use crate::report::{OrFail, failure};

/// What both sides have to be of, so that one reads what the other wrote.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (4)");

/// Counts parts elsewhere.
pub trait Engine: std::fmt::Debug + Send + Sync {
    /// What [`answer`] says of each part, in their order, wherever each was counted. All parts have `work` in common.
    ///
    /// # Errors
    /// That there is no answer: what the engine's own fault is, and what to do.
    fn answers(
        &self,
        work: Vec<u8>,
        parts: Vec<Vec<u8>>,
    ) -> BoxFuture<'_, Result<Vec<Vec<u8>>, FailureReport>>;
}

/// What counts: this program, if nothing else is named.
#[derive(Clone, Debug, Default)]
pub struct CountedBy(Option<Arc<dyn Engine>>);

impl CountedBy {
    /// By an engine.
    pub fn new(engine: Arc<dyn Engine>) -> Self {
        Self(Some(engine))
    }

    pub(super) fn engine(&self) -> Option<&dyn Engine> {
        self.0.as_deref()
    }
}

/// What all parts have in common.
#[derive(Serialize, Deserialize)]
struct Work {
    uri: String,
    /// Where it is a path, whatever folder who counts is in.
    path: Option<PathBuf>,
    /// What it is called in messages.
    what: String,
    /// Its columns, as an Arrow stream without batches.
    schema: Vec<u8>,
    columns: Vec<Asked>,
    roles: Roles,
    within: Option<(Timestamp, Timestamp)>,
    segments: Vec<String>,
}

/// A lane of some columns.
#[derive(Serialize, Deserialize)]
struct Part {
    files: Vec<PartFile>,
    /// Of the columns, the first of these, and how many there are.
    columns: (usize, usize),
}

#[derive(Serialize, Deserialize)]
struct PartFile {
    location: String,
    size: u64,
    /// The place of its first row among those of all files: which rows are kept hangs on their places.
    first: u64,
    groups: Vec<usize>,
}

#[derive(Serialize, Deserialize)]
enum Answer {
    Counted {
        sketches: Vec<Sketch>,
        /// Files that were not there: what was counted lacks their rows.
        gone: Vec<String>,
    },
    /// A failure, as JSON.
    Failed(String),
}

fn written(value: &impl Serialize) -> Vec<u8> {
    postcard::to_allocvec(&(VERSION, value)).expect("it has a format for all that these types hold")
}

fn read<T: DeserializeOwned>(bytes: &[u8], whose: &str) -> Result<T, FailureReport> {
    let (version, rest) = postcard::take_from_bytes::<&str>(bytes).unwrap_or(("unknown", &[]));
    if version != VERSION {
        let message = format!(
            "{whose} is of version {version}, and this is {VERSION}: the agent and the engine's scheduler and executors have to be of one version"
        );
        return Err(failure(FailureReason::Internal, message));
    }
    postcard::from_bytes(rest).map_err(|problem| {
        let message = format!("{whose} cannot be read: {problem}");
        failure(FailureReason::Internal, message)
    })
}

/// Counts a part where its data can be reached; failures are answers too.
pub async fn answer(work: &[u8], part: &[u8]) -> Vec<u8> {
    let answer = match counted(work, part).await {
        Ok((sketches, gone)) => Answer::Counted { sketches, gone },
        Err(failure) => {
            let failure = serde_json::to_string(&failure);
            Answer::Failed(failure.expect("a failure is texts and numbers"))
        }
    };
    written(&answer)
}

async fn counted(work: &[u8], part: &[u8]) -> Result<(Vec<Sketch>, Vec<String>), FailureReport> {
    let work: Work = read(work, "what is asked for")?;
    let part: Part = read(part, "what is asked for")?;
    let address = match &work.path {
        Some(path) => Address::local(&work.uri, path),
        None => Address::parse(&work.uri),
    };
    let address = address.or_fail(FailureReason::InvalidArguments)?;
    let reasons = reasons_of(&work.what);
    let Opened { files, lane, gone } = open(&address, reasons, part.files).await?;
    let reading = Reading::of_files(&address, reasons, schema_of(&work.schema)?, files);
    let (first, count) = part.columns;
    let asking = Asking {
        columns: work.columns,
        roles: work.roles,
        within: work.within,
        segments: work.segments,
    };
    let columns = asking.columns.iter().skip(first).take(count);
    let columns: Vec<Asked> = columns.cloned().collect();
    let counting = reading.counting(&columns, &asking)?;
    Ok((reading.reader().run(lane, counting).await?, gone))
}

/// Reasons of what is wrong with data that are called so.
fn reasons_of(what: &str) -> Reasons {
    let payloads = Some(payloads::REASONS).filter(|reasons| reasons.what == what);
    payloads.unwrap_or(profile::REASONS)
}

/// The files of a part.
struct Opened {
    files: Vec<ParquetFile>,
    lane: Lane,
    /// Those that are not there.
    gone: Vec<String>,
}

/// Opens the files of a part, and says which are gone since.
async fn open(
    address: &Address,
    reasons: Reasons,
    of: Vec<PartFile>,
) -> Result<Opened, FailureReport> {
    let (mut files, mut lane, mut room) = (Vec::new(), Lane::new(), HELD_BYTES);
    let mut gone = Vec::new();
    for PartFile {
        location,
        size,
        first,
        groups,
    } in of
    {
        #[allow(clippy::default_trait_access)] // a type of chrono's, which is no dependency of ours
        let meta = ObjectMeta {
            location: Path::parse(&location).or_fail(FailureReason::Internal)?,
            last_modified: Default::default(),
            size,
            e_tag: None,
            version: None,
        };
        let Some((meta, metadata)) = opened(address, reasons, meta).await? else {
            gone.push(location);
            continue;
        };
        let file = ParquetFile::new(meta, metadata, first, &mut room);
        if groups.iter().any(|group| *group >= file.groups.len()) {
            let message = format!(
                "{} at {}: {location} was changed while it was read: do it again",
                reasons.what,
                address.uri()
            );
            return Err(failure(reasons.unreadable, message));
        }
        lane.push((files.len(), groups));
        files.push(file);
    }
    Ok(Opened { files, lane, gone })
}

fn stream_of(schema: &SchemaRef) -> Result<Vec<u8>, FailureReport> {
    let mut bytes = Vec::new();
    let written = StreamWriter::try_new(&mut bytes, schema).and_then(|mut to| to.finish());
    written.or_fail(FailureReason::Internal)?;
    Ok(bytes)
}

fn schema_of(stream: &[u8]) -> Result<SchemaRef, FailureReport> {
    let reader = StreamReader::try_new(stream, None).or_fail(FailureReason::Internal)?;
    Ok(reader.schema())
}

impl Reading {
    /// Tasks as an engine does them, in their order.
    pub(super) async fn count_elsewhere<'a>(
        &'a self,
        engine: &dyn Engine,
        files: &[ParquetFile],
        tasks: Vec<Task>,
        asking: &'a Asking,
        told: &Told,
    ) -> Result<BoxStream<'a, Result<Vec<Sketch>, FailureReport>>, FailureReport> {
        // What makes no sense is told here, where nothing was begun yet.
        if let Some(task) = tasks.first() {
            self.counting(&task.columns, asking)?;
        }
        let path = self.address.local_path();
        let path = path.filter(|_| !self.address.uri().starts_with("pvc://"));
        let work = Work {
            uri: self.address.uri().to_owned(),
            path: path.map(std::path::Path::to_owned),
            what: self.reasons.what.to_owned(),
            schema: stream_of(&self.schema)?,
            columns: asking.columns.clone(),
            roles: asking.roles.clone(),
            within: asking.within,
            segments: asking.segments.clone(),
        };
        let mut first = 0;
        let mut parts = Vec::with_capacity(tasks.len());
        for (at, task) in tasks.iter().enumerate() {
            let part = Part {
                files: sent(files, &task.lane),
                columns: (first, task.columns.len()),
            };
            parts.push(written(&part));
            let is_of_others = |next: &Task| !Arc::ptr_eq(&next.columns, &task.columns);
            if tasks.get(at + 1).is_some_and(is_of_others) {
                first += task.columns.len();
            }
        }
        let answers = engine.answers(written(&work), parts).await?;
        if answers.len() != tasks.len() {
            let message = format!(
                "of {} parts that were to be counted the engine has counted {}",
                tasks.len(),
                answers.len()
            );
            return Err(failure(FailureReason::Internal, message));
        }
        for task in &tasks {
            told(rows_of(files, &task.lane));
        }
        let answered = stream::iter(tasks.into_iter().zip(answers));
        let sketches = answered.then(move |(task, answer)| async move {
            let (sketches, gone) = sketches(&answer, &task.columns, asking)?;
            self.check_gone(&gone).await?;
            Ok(sketches)
        });
        Ok(sketches.boxed())
    }

    /// What was not there for who counted is a failure: gone since it was found, or never there for them, who have not the claim
    /// or are at another store. Either way rows would be missing, and that would be taken for what the data say.
    async fn check_gone(&self, gone: &[String]) -> Result<(), FailureReport> {
        if let Some(location) = gone.first() {
            let path = Path::parse(location).or_fail(FailureReason::Internal)?;
            if let Err(object_store::Error::NotFound { .. }) =
                self.address.store().head(&path).await
            {
                return Err(removed((&self.address, self.reasons), &path));
            }
            let name = path.filename().unwrap_or_default();
            let message = format!(
                "{} at {}: {name} is there for this program, and was not for the engine's executors; they need the claims, the keys and the endpoint (AWS_*) that this program has",
                self.reasons.what,
                self.address.uri()
            );
            return Err(failure(FailureReason::InputUnreachable, message));
        }
        Ok(())
    }

    fn reader(&self) -> Reader {
        let files = match &self.rows {
            super::Rows::Parquet(files) => Arc::clone(files),
            super::Rows::Other(_) => Arc::default(),
        };
        Reader {
            address: self.address.clone(),
            reasons: self.reasons,
            files,
            told: Arc::new(|_| ()),
        }
    }
}

fn rows_of(files: &[ParquetFile], lane: &Lane) -> u64 {
    let groups = lane.iter().flat_map(|(file, groups)| {
        let of = &files[*file].groups;
        groups.iter().map(|group| of[*group].0)
    });
    groups.sum()
}

fn sent(files: &[ParquetFile], lane: &Lane) -> Vec<PartFile> {
    let of = |(file, groups): &(usize, Vec<usize>)| PartFile {
        location: files[*file].meta.location.to_string(),
        size: files[*file].meta.size,
        first: files[*file].first,
        groups: groups.clone(),
    };
    lane.iter().map(of).collect()
}

/// What an answer says, if it is to what was asked; and which files were not there.
fn sketches(
    answer: &[u8],
    columns: &[Asked],
    asking: &Asking,
) -> Result<(Vec<Sketch>, Vec<String>), FailureReport> {
    let (sketches, gone) = match read(answer, "what the engine has counted")? {
        Answer::Counted { sketches, gone } => (sketches, gone),
        Answer::Failed(failure) => {
            let failure: FailureReport =
                serde_json::from_str(&failure).or_fail(FailureReason::Internal)?;
            return Err(failure);
        }
    };
    let is_of = |sketch: &Sketch| {
        let kinds = sketch.columns.iter().map(super::Column::kind);
        kinds.eq(columns.iter().map(|asked| asked.kind))
    };
    if sketches.len() != asking.segments.len() + 1 || !sketches.iter().all(is_of) {
        let message = "what the engine has counted is not what was asked for";
        return Err(failure(FailureReason::Internal, message));
    }
    Ok((sketches, gone))
}

#[cfg(test)]
mod tests;
