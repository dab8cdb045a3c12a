//! `windlass-agent profile`, and how a profile is made: what drift is measured against.

use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::DataType;
use bytes::Bytes;
use futures::TryStreamExt;
use windlass_api::agent::{
    ColumnProfile, Distribution, Encoding, FailureReason, FailureReport, Feature, FetchReport,
    Profile, Report, Signature, Tree,
};
use windlass_statistics::bins;
use windlass_statistics::cells::Cells;
use windlass_statistics::mean::Mean;

use crate::address::Address;
use crate::arguments::DataFormat;
use crate::data::Reasons;
use crate::data::encode::{RawFeature, Values};
use crate::data::scan::Scan;
use crate::report::{OrFail, chain, failure};
use crate::tree;

/// Bins of a number.
pub(crate) const BINS: usize = 10;

/// In how many cells the numbers of a column are counted, where there are more of them: a bin is about a hundred.
const NUMBER_CELLS: usize = 1024;

/// How many categories are counted by their names.
const MOST_CATEGORIES: usize = 10_000;

/// Name of the model's answer among the columns of a profile.
pub const PREDICTION: &str = "prediction";

/// Name of the category that stands for all that a profile does not name, where it had too many to name.
pub(crate) const OTHER: &str = "(all other)";

/// The payload log's own columns, whose names no feature may have.
pub const LOG_COLUMNS: [&str; 5] = ["request_id", "timestamp", "model", "version", PREDICTION];

/// Arguments of `windlass-agent profile`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Address of the data.
    #[arg(long, value_name = "URI")]
    pub dataset: String,
    /// Its format.
    #[arg(long, value_enum)]
    pub format: DataFormat,
    /// A model's signature: its inputs are the columns.
    #[arg(long, value_name = "FILE")]
    pub signature: Option<String>,
    /// A column; without any and without a signature, all of them.
    #[arg(long = "column", value_name = "COLUMN")]
    pub columns: Vec<String>,
    /// Where the profile goes: the file, or with `/` at its end the folder that gets `profile.json`.
    #[arg(long, value_name = "URI")]
    pub output: String,
}

/// Runs the command.
pub async fn run(arguments: Arguments) -> Result<Report, FailureReport> {
    let address = Address::parse(&arguments.dataset).or_fail(FailureReason::InvalidArguments)?;
    let output = Address::parse(&arguments.output).or_fail(FailureReason::InvalidArguments)?;
    let output = if arguments.output.ends_with('/') {
        output.child("profile.json")
    } else {
        output
    };
    let reasons = Reasons {
        what: "the data",
        not_found: FailureReason::InputNotFound,
        unreadable: FailureReason::InputUnreadable,
        column: FailureReason::ColumnNotFound,
    };
    let scan = Scan::open(&address, arguments.format, reasons).await?;
    let mut features = match &arguments.signature {
        Some(path) => signature(path).await?.inputs,
        None if arguments.columns.is_empty() => {
            let fields = scan.schema().fields().iter();
            fields
                .map(|field| guessed(field.name(), field.data_type()))
                .collect()
        }
        None => Vec::new(),
    };
    for name in &arguments.columns {
        features.push(guessed(name, scan.data_type(name)?));
    }
    for feature in &features {
        scan.data_type(&feature.name)?;
    }
    let names = features.iter().map(|feature| feature.name.as_str());
    let mut profiles = Profiles::new(names);
    let mut batches = scan.batches();
    while let Some(batch) = batches.try_next().await? {
        let batch = batch.after(profiles.rows());
        let raw: Result<Vec<RawFeature>, FailureReport> = features
            .iter()
            .map(|feature| RawFeature::read(&batch, feature))
            .collect();
        profiles.add(batch.rows(), &raw?);
    }
    let tree = write_json(&output, &profiles.profile()).await?;
    Ok(Report::Fetch(FetchReport { tree }))
}

/// A column that holds numbers is a number, any other a category.
fn guessed(name: &str, data_type: &DataType) -> Feature {
    let encoding = if data_type.is_numeric() {
        Encoding::Number
    } else {
        Encoding::Category {
            categories: Vec::new(),
        }
    };
    Feature {
        name: name.to_owned(),
        encoding,
    }
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
/// [`FailureReason::ReferenceUnreadable`], [`FailureReason::DigestMismatch`].
pub(crate) async fn read(uri: &str, expected: Option<&str>) -> Result<Profile, FailureReport> {
    let address = Address::parse(uri).or_fail(FailureReason::InvalidArguments)?;
    let unreadable = |problem: String| {
        failure(
            FailureReason::ReferenceUnreadable,
            format!("the reference profile at {uri}: {problem}"),
        )
    };
    let content = address
        .read()
        .await
        .map_err(|problem| unreadable(chain(&problem)))?;
    let Tree { digest, .. } = tree::of_file(&address, &content);
    if let Some(expected) = expected.filter(|expected| **expected != digest) {
        let message = format!(
            "the reference profile at {uri} is not what was recorded: its digest is {digest}, but {expected} was expected"
        );
        return Err(failure(FailureReason::DigestMismatch, message));
    }
    let profile: Profile =
        serde_json::from_slice(&content).map_err(|problem| unreadable(problem.to_string()))?;
    if profile.columns.is_empty() || profile.rows == 0 {
        return Err(unreadable("it has no columns or no rows".to_owned()));
    }
    Ok(profile)
}

/// The profile of features, made batch by batch in memory that does not grow with the rows.
pub struct Profiles {
    rows: usize,
    columns: Vec<Counted>,
}

/// The values of a feature, counted.
struct Counted {
    name: String,
    nulls: u64,
    numbers: Cells<u64>,
    mean: Mean,
    /// The categories; absent of a number.
    categories: Option<BTreeMap<String, u64>>,
}

impl Profiles {
    /// Of features of these names.
    pub fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let counted = |name: &str| Counted {
            name: name.to_owned(),
            nulls: 0,
            numbers: Cells::new(NUMBER_CELLS),
            mean: Mean::default(),
            categories: None,
        };
        Self {
            rows: 0,
            columns: names.map(counted).collect(),
        }
    }

    /// How many rows were taken.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Takes rows, each of the features in its place.
    pub fn add(&mut self, rows: usize, features: &[RawFeature]) {
        self.rows += rows;
        for (column, feature) in self.columns.iter_mut().zip(features) {
            column.add(&feature.values);
        }
    }

    /// What was counted.
    pub fn profile(self) -> Profile {
        Profile {
            rows: self.rows as u64,
            columns: self.columns.into_iter().map(Counted::profile).collect(),
        }
    }
}

impl Counted {
    fn add(&mut self, values: &Values) {
        match values {
            Values::Number(values) => {
                for value in values {
                    match value.filter(|value| value.is_finite()) {
                        Some(value) => {
                            self.numbers.add(value, 1);
                            self.mean.add(value);
                        }
                        None => self.nulls += 1,
                    }
                }
            }
            Values::Category(values) => {
                let categories = self.categories.get_or_insert_default();
                for value in values {
                    match value {
                        Some(value) => count(categories, value),
                        None => self.nulls += 1,
                    }
                }
            }
        }
    }

    fn profile(mut self) -> ColumnProfile {
        let distribution = if let Some(counts) = self.categories {
            Distribution::Category { counts }
        } else {
            self.numbers.settle();
            let (edges, counts) = bins::of_cells(&self.numbers, BINS);
            numbers(edges, counts, &self.mean)
        };
        ColumnProfile {
            name: self.name,
            nulls: self.nulls,
            distribution,
        }
    }
}

/// Counts a category, under its name or among all others.
fn count(categories: &mut BTreeMap<String, u64>, category: &str) {
    if let Some(count) = categories.get_mut(category) {
        *count += 1;
        return;
    }
    let is_full = categories.len() >= MOST_CATEGORIES;
    let name = if is_full { OTHER } else { category };
    *categories.entry(name.to_owned()).or_default() += 1;
}

/// The distribution of a number.
pub(crate) fn numbers(edges: Vec<f64>, counts: Vec<u64>, mean: &Mean) -> Distribution {
    Distribution::Number {
        edges,
        counts,
        mean: mean.value().unwrap_or(0.0),
        standard_deviation: mean.standard_deviation(),
    }
}

/// Writes a document as JSON; the tree that it makes.
pub async fn write_json(
    to: &Address,
    document: &impl serde::Serialize,
) -> Result<Tree, FailureReport> {
    let content = serde_json::to_vec_pretty(document).or_fail(FailureReason::Internal)?;
    let tree = tree::of_file(to, &content);
    to.write(Bytes::from(content))
        .await
        .or_fail(FailureReason::OutputNotWritten)?;
    Ok(tree)
}
