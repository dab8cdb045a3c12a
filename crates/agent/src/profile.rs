//! `windlass-agent profile`, and how a profile is made: what drift is measured against.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use windlass_api::agent::{
    ColumnProfile, Distribution, Encoding, FailureReason, FailureReport, Feature, FetchReport,
    Profile, Report, Signature, Tree,
};
use windlass_statistics::bins;
use windlass_statistics::mean::Mean;

use crate::address::Address;
use crate::arguments::DataFormat;
use crate::data::encode::{RawFeature, Values};
use crate::data::{Dataset, Reasons, column};
use crate::report::{OrFail, chain, failure};
use crate::tree;

/// Bins of a number.
pub(crate) const BINS: usize = 10;

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
    let data = Dataset::read(&address, arguments.format, reasons).await?;
    let mut features = match &arguments.signature {
        Some(path) => signature(path).await?.inputs,
        None if arguments.columns.is_empty() => data
            .columns()
            .iter()
            .map(|name| guessed(&data, name))
            .collect(),
        None => Vec::new(),
    };
    for name in &arguments.columns {
        data.column(name)?;
        features.push(guessed(&data, name));
    }
    let raw: Result<Vec<RawFeature>, FailureReport> = features
        .iter()
        .map(|feature| RawFeature::read(&data, feature))
        .collect();
    let profile = profile_of(data.rows(), &raw?);
    let tree = write_json(&output, &profile).await?;
    Ok(Report::Fetch(FetchReport { tree }))
}

/// A column that holds numbers is a number, any other a category.
fn guessed(data: &Dataset, name: &str) -> Feature {
    let is_number = data
        .column(name)
        .is_ok_and(|values| values.data_type().is_numeric() && column::numbers(values).is_ok());
    let encoding = if is_number {
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

/// The profile of features.
pub fn profile_of(rows: usize, features: &[RawFeature]) -> Profile {
    Profile {
        rows: rows as u64,
        columns: features.iter().map(column_profile).collect(),
    }
}

fn column_profile(feature: &RawFeature) -> ColumnProfile {
    let name = feature.name.clone();
    match &feature.values {
        Values::Number(values) => {
            let known: Vec<f64> = values.iter().copied().flatten().collect();
            let edges = bins::edges(&known, BINS);
            let counts = bins::counts(&edges, known.iter().copied());
            let mean: Mean = known.iter().copied().collect();
            let nulls = (values.len() - known.len()) as u64;
            ColumnProfile {
                name,
                nulls,
                distribution: numbers(edges, counts, &mean),
            }
        }
        Values::Category(values) => {
            let mut counts: BTreeMap<String, u64> = BTreeMap::new();
            for value in values.iter().flatten() {
                *counts.entry(value.clone()).or_default() += 1;
            }
            let nulls = values.iter().filter(|value| value.is_none()).count() as u64;
            ColumnProfile {
                name,
                nulls,
                distribution: Distribution::Category { counts },
            }
        }
    }
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
