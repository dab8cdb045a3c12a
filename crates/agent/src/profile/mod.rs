//! `windlass-agent profile`, and how a profile is made: what drift is measured against.
//!
//! ```text
//!   files ──reading (lanes)──> sketch: columns, units, ids ──document──> Profile, as JSON
//!   features that a model was asked about ──Profiles──> the same, in the order of their rows
//! ```

pub mod column;
pub mod document;
pub mod look;
pub mod reading;
pub mod room;
pub mod sampled;
pub mod sketch;
pub mod times;
pub mod units;

use std::collections::BTreeSet;
use std::num::NonZeroU16;
use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeListArray, Float64Array, StringArray};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Float64Type};
use bytes::Bytes;
use tracing::info;
use windlass_api::agent::{
    Distribution, Encoding, FailureReason, FailureReport, FetchReport, Profile, Report, Signature,
    Tree,
};
use windlass_statistics::mean::Mean;

use self::column::{Column, Kind};
use self::reading::{Asking, Reading, Told};
use self::room::Room;
use self::sampled::{Which, key};
use self::sketch::{Asked, Roles};
use self::times::ByTime;
use crate::address::Address;
use crate::arguments::{DataFormat, EngineArguments, Pair};
use crate::data::encode::{RawFeature, Values};
use crate::data::{Reasons, file};
use crate::progress::Progress;
use crate::report::{OrFail, chain, failure, is_passing};
use crate::tree;

/// Bins of a number.
pub(crate) const BINS: usize = 10;

/// How many categories are told by their names.
pub(crate) const MOST_CATEGORIES: usize = 10_000;

/// Name of the model's answer among the columns of a profile.
pub const PREDICTION: &str = "prediction";

/// Name of the category that stands for all that a profile does not name, where it had too many to name.
pub(crate) const OTHER: &str = "(all other)";

/// The payload log's own columns, whose names no feature may have.
pub const LOG_COLUMNS: [&str; 5] = ["request_id", "timestamp", "model", "version", PREDICTION];

/// Reasons of what is wrong with data that somebody named.
pub(crate) const REASONS: Reasons = Reasons {
    what: "the data",
    not_found: FailureReason::InputNotFound,
    unreadable: FailureReason::InputUnreadable,
    column: FailureReason::ColumnNotFound,
};

/// Arguments of `windlass-agent profile`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// The data: a file or a folder, here or at an address. What was found is told as a table.
    #[arg(value_name = "DATA", required_unless_present = "dataset")]
    pub data: Option<String>,
    /// The same, for a program.
    #[arg(long, value_name = "URI", conflicts_with = "data")]
    pub dataset: Option<String>,
    /// Its format; without it, by its name.
    #[arg(long, value_enum)]
    pub format: Option<DataFormat>,
    /// A model's signature: its inputs are the columns.
    #[arg(long, value_name = "FILE")]
    pub signature: Option<String>,
    /// A column; without any and without a signature, all of them.
    #[arg(long = "column", value_name = "COLUMN")]
    pub columns: Vec<String>,
    /// What a column of texts is taken for, where its rows say otherwise: `Text`, or `Category`.
    #[arg(long = "column-kind", value_name = "COLUMN=KIND")]
    pub kinds: Vec<Pair>,
    /// The column whose rows of one value are not independent, such as `user_id`.
    #[arg(long, value_name = "COLUMN", allow_hyphen_values = true)]
    pub unit: Option<String>,
    /// The column with the time of a row: the profile then also has what there is of each hour of the week and of each month, and of
    /// stretches of the time, so that a window can be compared with its own season.
    #[arg(long, value_name = "COLUMN", allow_hyphen_values = true)]
    pub time: Option<String>,
    /// A predicate in SQL whose rows have a profile of their own too.
    #[arg(long = "segment", value_name = "PREDICATE", allow_hyphen_values = true)]
    pub segments: Vec<String>,
    /// Where the profile goes: the file, or with `/` at its end the folder that gets `profile.json`.
    #[arg(long, short, value_name = "URI")]
    pub output: String,
    /// What counts Parquet data.
    #[command(flatten)]
    pub engine: EngineArguments,
}

/// Runs the command for a program.
pub async fn run(arguments: Arguments) -> Result<Report, FailureReport> {
    let (tree, _) = written(&arguments).await?;
    Ok(Report::Fetch(FetchReport { tree }))
}

/// Runs the command for a person; what was found of each column, a line each.
pub async fn by_hand(arguments: &Arguments) -> Result<String, FailureReport> {
    let (tree, profile) = written(arguments).await?;
    let mut lines = vec![format!("{} rows", profile.rows)];
    for column in &profile.columns {
        let said = match &column.distribution {
            Distribution::Number {
                mean,
                standard_deviation,
                ..
            } => format!("number, mean {mean:.4}, standard deviation {standard_deviation:.4}"),
            Distribution::Category { counts } => format!("category, {} levels", counts.len()),
            Distribution::Text { sample, .. } => format!("text, {} are kept", sample.len()),
            Distribution::Embedding { width, keys, .. } => {
                format!("embedding of {width} numbers, {} are kept", keys.len())
            }
        };
        let name = &column.name;
        lines.push(format!("{name}: {said}, {} without a value", column.nulls));
    }
    lines.push(format!("written to {} ({})", tree.uri, tree.digest));
    Ok(lines.join("\n"))
}

async fn written(arguments: &Arguments) -> Result<(Tree, Profile), FailureReport> {
    let output = Address::parse(&arguments.output).or_fail(FailureReason::InvalidArguments)?;
    let output = if arguments.output.ends_with('/') {
        output.child("profile.json")
    } else {
        output
    };
    let data = arguments.data.as_ref().or(arguments.dataset.as_ref());
    let uri = data.expect("one of them is required");
    let address = Address::parse(uri).or_fail(FailureReason::InvalidArguments)?;
    let format = match arguments.format {
        Some(format) => format,
        None => file::guessed(&address, REASONS).await?,
    };
    let roles = Roles {
        unit: arguments.unit.clone(),
        time: arguments.time.clone(),
        id: None,
        is_by_time: true,
    };
    let reading = Reading::open(&address, format, REASONS, |_| true).await?;
    check_time(&reading, &roles)?;
    let reading = reading.counted_by(arguments.engine.counted_by.clone());
    let columns = match &arguments.signature {
        Some(path) => of_signature(&signature(path).await?, &arguments.columns),
        None => arguments.columns.clone(),
    };
    let asked = asked(&reading, &columns, &arguments.kinds, &roles).await?;
    let profile = made(&reading, asked, roles, arguments.segments.clone()).await?;
    let tree = write_json(&output, &profile).await?;
    Ok((tree, profile))
}

/// That the column with the time is there, and has times.
///
/// # Errors
/// [`FailureReason::ColumnNotFound`]; [`FailureReason::InvalidArguments`] for one of another type.
pub(crate) fn check_time(reading: &Reading, roles: &Roles) -> Result<(), FailureReport> {
    let Some(name) = &roles.time else {
        return Ok(());
    };
    let (schema, uri) = (reading.schema(), reading.address().uri());
    let field = schema.field_with_name(name);
    let field = field.map_err(|_| crate::data::scan::no_column(schema, name, uri, REASONS))?;
    let none = arrow::array::new_empty_array(field.data_type());
    crate::data::column::times(&none)
        .map(|_| ())
        .map_err(|why| {
            let message = format!("the data at {uri}: --time {name}: {why}");
            failure(FailureReason::InvalidArguments, message)
        })
}

/// The profile of a data set.
pub(crate) async fn made(
    reading: &Reading,
    columns: Vec<Asked>,
    roles: Roles,
    segments: Vec<String>,
) -> Result<Profile, FailureReport> {
    let asking = Arc::new(Asking {
        columns,
        roles,
        within: None,
        segments,
    });
    let progress = Progress::new(reading.rows(), "rows");
    let shown = progress.clone();
    let told: Told = Arc::new(move |rows| shown.advance(rows));
    let counted = reading.count(&asking, &told).await;
    progress.finish();
    let counted = counted?;
    Ok(document::profile(
        &asking.columns,
        &asking.roles,
        &asking.segments,
        &counted,
    ))
}

fn of_signature(signature: &Signature, more: &[String]) -> Vec<String> {
    let inputs = signature.inputs.iter();
    let inputs = inputs.filter(|input| !matches!(input.encoding, Encoding::Text));
    let names = inputs.map(|input| input.name.clone());
    names.chain(more.iter().cloned()).collect()
}

/// What columns are counted as, by their types and some of their rows: those that are named, or all that can be and say nothing
/// else of rows.
///
/// # Errors
/// [`FailureReason::ColumnNotFound`]; [`FailureReason::InvalidArguments`] for one that is named and cannot be counted, or is
/// said to be what it cannot be; that rows cannot be read.
pub(crate) async fn asked(
    reading: &Reading,
    named: &[String],
    kinds: &[Pair],
    roles: &Roles,
) -> Result<Vec<Asked>, FailureReport> {
    let (schema, uri) = (reading.schema(), reading.address().uri());
    let no_column = |name: &str| crate::data::scan::no_column(schema, name, uri, REASONS);
    let all = schema.fields().iter().map(|field| field.name());
    let all = all.filter(|name| !roles.names().any(|role| role == *name));
    let columns: Vec<&String> = if named.is_empty() {
        all.collect()
    } else {
        named.iter().collect()
    };
    let mut types = Vec::new();
    for name in &columns {
        let field = schema.field_with_name(name).map_err(|_| no_column(name))?;
        types.push(field.data_type());
    }
    for pair in kinds {
        schema
            .field_with_name(&pair.name)
            .map_err(|_| no_column(&pair.name))?;
    }
    let both = columns.iter().zip(&types);
    let looked_at = both.filter(|(_, data_type)| look::is_needed(data_type));
    let looked_at: Vec<&str> = looked_at.map(|(name, _)| name.as_str()).collect();
    let rows = some_rows(reading, &looked_at).await?;
    let mut asked = Vec::new();
    for (name, data_type) in columns.iter().zip(types) {
        let said = kinds.iter().rfind(|pair| pair.name == **name);
        let place = looked_at.iter().position(|looked_at| looked_at == name);
        let values = place.and_then(|place| rows.get(place));
        let kind = match said {
            Some(said) => said_kind(said, data_type),
            None => look::kind(data_type, values),
        };
        match kind {
            Ok(kind) => asked.push(Asked {
                name: (*name).clone(),
                kind,
                starts: Vec::new(),
            }),
            Err(why) if named.is_empty() && said.is_none() => {
                info!(column = name, "is left out: {why}");
            }
            Err(why) => {
                let message = format!("the data at {uri}: column '{name}': {why}");
                return Err(failure(FailureReason::InvalidArguments, message));
            }
        }
    }
    Ok(asked)
}

/// What somebody says that a column is.
fn said_kind(said: &Pair, data_type: &DataType) -> Result<Kind, String> {
    let is_text = look::is_needed(data_type) && !data_type.is_nested();
    match said.value.as_str() {
        "Text" if is_text => Ok(Kind::Text),
        "Category" if is_text => Ok(Kind::Category),
        "Text" | "Category" => Err(format!(
            "--column-kind {}={}: its type is {data_type}, and only texts are either",
            said.name, said.value
        )),
        other => Err(format!(
            "--column-kind {}={other}: accepted are Text and Category",
            said.name
        )),
    }
}

/// Rows of some columns, each by itself; nothing where there are none.
async fn some_rows(reading: &Reading, names: &[&str]) -> Result<Vec<ArrayRef>, FailureReport> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let batches = reading.some(names, look::ROWS).await?;
    let column = |place: usize| {
        let parts: Vec<&dyn arrow::array::Array> = batches
            .iter()
            .map(|batch| batch.column(place).as_ref())
            .collect();
        concat(&parts).or_fail(FailureReason::Internal)
    };
    if batches.is_empty() {
        return Ok(Vec::new());
    }
    (0..names.len()).map(column).collect()
}

/// Reads a signature.
pub async fn signature(path: &str) -> Result<Signature, FailureReport> {
    let address = Address::parse(path).or_fail(FailureReason::InvalidArguments)?;
    let content = address.read().await.map_err(|problem| {
        let message = format!("the model's signature: {problem}; the trainer writes it as signature.json beside the model");
        failure(FailureReason::InputNotFound, message)
    })?;
    let signature: Signature = serde_json::from_slice(&content).map_err(|problem| {
        failure(
            FailureReason::InputUnreadable,
            format!("the model's signature at {path}: {problem}"),
        )
    })?;
    let mut names = BTreeSet::new();
    if let Some(twice) = signature
        .inputs
        .iter()
        .find(|input| !names.insert(input.name.as_str()))
    {
        let message = format!(
            "the model's signature at {path} names the input '{}' twice",
            twice.name
        );
        return Err(failure(FailureReason::InputUnreadable, message));
    }
    if let Some(taken) = signature
        .inputs
        .iter()
        .find(|input| LOG_COLUMNS.contains(&input.name.as_str()))
    {
        let message = format!(
            "the model's signature at {path} names an input '{}', which is the name of one of the payload log's own columns ({}); give the feature another name",
            taken.name,
            LOG_COLUMNS.join(", ")
        );
        return Err(failure(FailureReason::InputUnreadable, message));
    }
    if let [only] = signature.output.classes.as_slice() {
        let message = format!(
            "the model's signature at {path} names one class, '{only}': name all of them, or none for a model that answers with one number"
        );
        return Err(failure(FailureReason::InputUnreadable, message));
    }
    if signature.inputs.is_empty() {
        return Err(failure(
            FailureReason::InputUnreadable,
            format!("the model's signature at {path} names no input"),
        ));
    }
    Ok(signature)
}

/// Reads a profile, and verifies its digest where one was recorded.
///
/// # Errors
/// [`FailureReason::ReferenceUnreadable`], with where in the file what is wrong; [`FailureReason::DigestMismatch`];
/// [`FailureReason::InputUnreachable`] where its store may answer when it is asked again.
pub(crate) async fn read(uri: &str, expected: Option<&str>) -> Result<Profile, FailureReport> {
    let address = Address::parse(uri).or_fail(FailureReason::InvalidArguments)?;
    let unreadable = |problem: String| {
        failure(
            FailureReason::ReferenceUnreadable,
            format!("the profile at {uri}: {problem}"),
        )
    };
    let damaged = |problem: String| {
        let advice = "it was cut or changed, or is no profile: make it anew (windlass-agent profile; of a model's baseline, the validation)";
        unreadable(format!("{problem}; {advice}"))
    };
    let content = address.read().await.map_err(|problem| {
        let mut failure = unreadable(chain(&problem));
        if is_passing(&problem) {
            failure.reason = FailureReason::InputUnreachable;
        }
        failure
    })?;
    let Tree { digest, .. } = tree::of_file(&address, &content);
    if let Some(expected) = expected.filter(|expected| **expected != digest) {
        let message = format!(
            "the profile at {uri} is not what was recorded: its digest is {digest}, but {expected} was expected"
        );
        return Err(failure(FailureReason::DigestMismatch, message));
    }
    let profile: Profile =
        serde_json::from_slice(&content).map_err(|problem| damaged(problem.to_string()))?;
    document::check(&profile).map_err(damaged)?;
    if profile.columns.is_empty() || profile.rows == 0 {
        return Err(unreadable("it has no columns or no rows".to_owned()));
    }
    Ok(profile)
}

/// The profile of features, made batch by batch in memory that does not grow with the rows.
pub struct Profiles {
    rows: usize,
    room: Room,
    columns: Vec<(Asked, Option<Column>)>,
    /// By the time in this column, where one has it.
    times: Option<(String, ByTime)>,
}

impl Profiles {
    /// Of these features, where so many segments are counted beside all rows. Whether one is of numbers or of names, its
    /// values tell; that it is of texts or vectors is said. So is the column that has the time of a row.
    pub fn new(asked: Vec<Asked>, segments: usize, time: Option<&str>) -> Self {
        let room = Room::of(&asked, segments);
        Self {
            rows: 0,
            room,
            columns: asked.into_iter().map(|asked| (asked, None)).collect(),
            times: time.map(|time| (time.to_owned(), ByTime::new(room.time_cells))),
        }
    }

    /// How many rows were taken.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Takes rows, each of the features in its place, and the place of each row among all rows of the data set: which texts
    /// are kept hangs on it alone. Their times, in microseconds since 1970, are there where a column has them.
    pub fn add(&mut self, places: &[u64], times: &[Option<i64>], features: &[RawFeature]) {
        self.rows += places.len();
        let is_sampled = self.columns.iter().any(|(of, _)| of.kind.is_sampled());
        let places = places.iter().filter(|_| is_sampled);
        let keys: Vec<u64> = places.map(|place| key(*place)).collect();
        let which = Which {
            keys: &keys,
            units: &keys,
        };
        let mut by_time = Vec::new();
        for ((asked, column), feature) in self.columns.iter_mut().zip(features) {
            let (kind, values): (Kind, ArrayRef) = match &feature.values {
                Values::Vector { length, values } => (asked.kind, vectors(*length, values)),
                Values::Number(values) => {
                    (Kind::Number, Arc::new(Float64Array::from(values.clone())))
                }
                Values::Category(values) => (
                    Kind::Category,
                    Arc::new(values.iter().map(Option::as_deref).collect::<StringArray>()),
                ),
            };
            let kind = if asked.kind.is_sampled() {
                asked.kind
            } else {
                kind
            };
            let column = column.get_or_insert_with(|| Column::new(kind, self.room));
            column
                .add(&values, which)
                .expect("numbers, texts and vectors can be counted");
            by_time.push((column.kind(), values));
        }
        if let Some((_, counted)) = &mut self.times {
            let columns = by_time.iter().map(|(kind, values)| (*kind, Some(values)));
            counted
                .add(times, &columns.collect::<Vec<_>>())
                .expect("numbers and texts can be counted");
        }
    }

    /// What was counted.
    pub fn profile(self) -> Profile {
        let by_time = self.times.as_ref().map(|(_, by_time)| by_time);
        let columns = self.columns.into_iter().enumerate();
        let columns = columns.map(|(place, (asked, column))| {
            let column = column.unwrap_or_else(|| Column::new(asked.kind, self.room));
            let mut profile = document::of_column(&asked.name, &column);
            profile.by_time = by_time.and_then(|of| document::times::of_column(of, place, &column));
            profile
        });
        let columns = columns.collect();
        let times = self.times.as_ref();
        Profile {
            rows: self.rows as u64,
            columns,
            times: times.and_then(|(name, by_time)| document::times::times(name, by_time)),
            ..Profile::default()
        }
    }
}

/// Vectors as a column.
fn vectors(length: NonZeroU16, values: &[Option<Vec<f64>>]) -> ArrayRef {
    let rows = values
        .iter()
        .map(|row| Some(row.as_ref()?.iter().copied().map(Some)));
    let length = i32::from(length.get());
    Arc::new(FixedSizeListArray::from_iter_primitive::<Float64Type, _, _>(rows, length))
}

/// The distribution of a number.
pub(crate) fn numbers(edges: Vec<f64>, counts: Vec<u64>, mean: &Mean) -> Distribution {
    Distribution::Number {
        edges,
        counts,
        mean: mean.value().unwrap_or(0.0),
        standard_deviation: mean.standard_deviation(),
        cells: Vec::new(),
    }
}

/// Writes a document as JSON, without a blank: a profile of a thousand columns is half as large so. The tree that it makes.
pub async fn write_json(
    to: &Address,
    document: &impl serde::Serialize,
) -> Result<Tree, FailureReport> {
    let content = serde_json::to_vec(document).or_fail(FailureReason::Internal)?;
    let tree = tree::of_file(to, &content);
    to.write(Bytes::from(content))
        .await
        .or_fail(FailureReason::OutputNotWritten)?;
    Ok(tree)
}
