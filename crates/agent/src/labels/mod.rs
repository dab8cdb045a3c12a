//! `windlass-agent labels`: counts how many predictions of versions have a label by now, and how many of those are wrong.
//!
//! ```text
//!   labels ──request's id──> first label of each ──┐
//!   payload log, version by version ──row by row───┴─> (version, span) ──> predictions, labelled, wrong
//! ```
//!
//! Of several labels for one prediction the first counts, in the order of the files' names: where files are named by their time,
//! what was counted once is not taken back by one that comes later, so that who looks again and again finds that counts only
//! grow. Of several rows with one id the first counts, too: a client that sends one again gives no more evidence by it.
//!
//! A request that was answered well and without a prediction, or with NaN, is a wrong one: else a version would look the
//! better, the less it answers.
//!
//! Absent on purpose: what follows from the counts (the operator's).

mod wrong;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use jiff::Timestamp;
use tracing::info;
use windlass_api::agent::{FailureReason, FailureReport, LabelCounts, LabelsReport, Report};

use self::wrong::{Answers, is_wrong};
use crate::address::{Address, AddressError};
use crate::arguments::{DataFormat, time};
use crate::data::scan::no_column;
use crate::data::{Reasons, column};
use crate::drift::{REQUEST_ID, TIME, payloads};
use crate::profile::PREDICTION;
use crate::profile::reading::Reading;
use crate::report::{OrFail, failure};

/// The payload log's column with what a request was answered with.
const STATUS: &str = "status";

const REASONS: Reasons = Reasons {
    what: "the labels",
    not_found: FailureReason::LabelsUnreadable,
    unreadable: FailureReason::LabelsUnreadable,
    column: FailureReason::LabelsUnreadable,
};

/// Arguments of `windlass-agent labels`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Address of the payload log.
    #[arg(long, value_name = "URI")]
    pub payloads: String,
    /// A model version whose predictions are counted.
    #[arg(long = "version", required = true)]
    pub versions: Vec<String>,
    /// Start of a span, inclusive: it lasts until the next one, and the last one until the end.
    #[arg(long = "span-start", value_name = "TIME", required = true, value_parser = time)]
    pub starts: Vec<Timestamp>,
    /// End of the last span, exclusive.
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub end: Timestamp,
    /// Address of the labels.
    #[arg(long, value_name = "URI")]
    pub labels: String,
    /// Their format.
    #[arg(long, value_enum, default_value = "CSV")]
    pub labels_format: DataFormat,
    /// The column with the true answer.
    #[arg(long, value_name = "COLUMN")]
    pub label: String,
    /// The column of the labels that holds the request's id.
    #[arg(long, value_name = "COLUMN", default_value = "request_id")]
    pub join_on: String,
}

impl Arguments {
    fn validate(&self) -> Result<(), FailureReport> {
        let said = if !self.starts.is_sorted_by(|one, next| one < next) {
            "--span-start: each span has to begin after the one before"
        } else if self.starts.iter().any(|start| *start > self.end) {
            "--span-start: each span has to begin before --end"
        } else {
            return Ok(());
        };
        Err(failure(FailureReason::InvalidArguments, said))
    }
}

/// Labels by the request's id.
struct Labels {
    known: HashMap<Box<str>, Box<str>>,
    /// Whether they are stored as texts.
    are_texts: bool,
}

/// Runs the command.
///
/// While there is no label file no label has come yet, and of a version without a log there are no predictions.
///
/// # Errors
/// [`FailureReason::LabelsUnreadable`] with the file, the column, or the label that is no answer of the model's kind;
/// [`FailureReason::InputUnreadable`] with the file of the log that is no Parquet.
pub async fn run(arguments: Arguments) -> Result<Report, FailureReport> {
    arguments.validate()?;
    let payloads = Address::parse(&arguments.payloads).or_fail(FailureReason::InvalidArguments)?;
    let labels = read(&arguments).await?;
    let mut report = LabelsReport {
        labels: labels.known.len() as u64,
        ..LabelsReport::default()
    };
    let mut all = Vec::new();
    for version in &arguments.versions {
        all.push(count(&arguments, &payloads.child(version), &labels).await?);
    }
    // Labels that are like the answers of no version are not those of this model. Where they are like another's, it is this
    // version that answers what is no answer.
    let is_like =
        |counted: &Found| counted.unlike.is_none() && counted.counts.iter().any(|of| of.1 > 0);
    let are_its = all.iter().any(is_like);
    for (version, mut counted) in arguments.versions.iter().zip(all) {
        if let Some(why) = counted.unlike.filter(|_| !are_its) {
            let (labels, column) = (&arguments.labels, &arguments.label);
            let said =
                format!("the labels at {labels}: column '{column}': {why}, version {version}");
            return Err(failure(FailureReason::LabelsUnreadable, said));
        }
        for (counts, unlike) in counted.counts.iter_mut().zip(counted.unlike_each) {
            counts.1 += unlike;
            counts.2 += unlike;
        }
        info!(version, counts = ?counted.counts, "predictions, labelled, wrong");
        report.versions.insert(version.clone(), counted.counts);
    }
    Ok(Report::Labels(report))
}

/// What was found of one version, span by span.
struct Found {
    /// Without those that are unlike their labels.
    counts: Vec<LabelCounts>,
    /// Predictions that are none that their label could be.
    unlike_each: Vec<u64>,
    /// Why the first of them is.
    unlike: Option<String>,
}

async fn read(arguments: &Arguments) -> Result<Labels, FailureReport> {
    let address = Address::parse(&arguments.labels).or_fail(FailureReason::InvalidArguments)?;
    let mut labels = Labels {
        known: HashMap::new(),
        are_texts: false,
    };
    if let Err(AddressError::NotFound { .. }) = address.files().await {
        return Ok(labels);
    }
    let reading = Reading::open(&address, arguments.labels_format, REASONS, |_| true).await?;
    let schema = reading.schema();
    if schema.fields().is_empty() {
        return Ok(labels);
    }
    let names = [arguments.join_on.as_str(), arguments.label.as_str()];
    for name in names {
        if schema.field_with_name(name).is_err() {
            return Err(no_column(schema, name, &arguments.labels, REASONS));
        }
    }
    labels.are_texts = is_text(reading.schema().field_with_name(names[1]).ok());
    let take = |batch: &RecordBatch| {
        let ids = column::texts(batch.column(0))?;
        // One column may be both.
        let given = column::texts(batch.column(batch.num_columns() - 1))?;
        for (id, label) in ids.into_iter().zip(given) {
            let label = label.filter(|label| !label.trim().is_empty());
            if let (Some(id), Some(label)) = (id.filter(|id| !id.is_empty()), label)
                && let Entry::Vacant(place) = labels.known.entry(id.into())
            {
                place.insert(label.trim().into());
            }
        }
        Ok(())
    };
    reading.each(&names, None, take).await?;
    Ok(labels)
}

fn is_text(field: Option<&arrow::datatypes::Field>) -> bool {
    let data_type = field.map(arrow::datatypes::Field::data_type);
    matches!(
        data_type,
        Some(DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
    )
}

/// What is counted of one version, span by span.
async fn count(
    arguments: &Arguments,
    folder: &Address,
    labels: &Labels,
) -> Result<Found, FailureReport> {
    let mut found = Found {
        counts: vec![LabelCounts::default(); arguments.starts.len()],
        unlike_each: vec![0; arguments.starts.len()],
        unlike: None,
    };
    let (start, end) = (arguments.starts[0], arguments.end);
    let Some(reading) = payloads::open(folder, start, end).await? else {
        return Ok(found);
    };
    let starts: Vec<i64> = (arguments.starts.iter())
        .map(|start| start.as_microsecond())
        .collect();
    let names = [REQUEST_ID, PREDICTION, STATUS, TIME];
    let answers = Answers {
        are_texts: is_text(reading.schema().field_with_name(PREDICTION).ok()),
        labels_are_texts: labels.are_texts,
    };
    let mut known: HashSet<&str> = HashSet::new();
    let take = |batch: &RecordBatch| {
        let ids = column::texts(batch.column(0))?;
        let given = column::texts(batch.column(1))?;
        let states = column::texts(batch.column(2))?;
        let times = column::times(batch.column(3))?;
        for (((id, answer), time), state) in ids.into_iter().zip(given).zip(times).zip(states) {
            let answer = answer.filter(|answer| answer != "NaN");
            // A request that failed has no prediction, and is judged as an error.
            let is_answered = answer.is_some() || state.is_some_and(|state| state.starts_with('2'));
            let (Some(id), Some(time), true) = (id, time, is_answered) else {
                continue;
            };
            let span = starts
                .partition_point(|start| *start <= time)
                .wrapping_sub(1);
            let Some(LabelCounts(predictions, labelled, wrong)) = found.counts.get_mut(span) else {
                continue;
            };
            *predictions += 1;
            let Some((id, label)) = labels.known.get_key_value(id.as_str()) else {
                continue;
            };
            if !known.insert(id) {
                continue;
            }
            match answer.map_or(Ok(true), |answer| is_wrong(&answer, label, answers)) {
                Ok(is_wrong) => {
                    *labelled += 1;
                    *wrong += u64::from(is_wrong);
                }
                Err(why) => {
                    found.unlike_each[span] += 1;
                    found
                        .unlike
                        .get_or_insert_with(|| format!("the label of request {id} {why}"));
                }
            }
        }
        Ok(())
    };
    reading.each(&names, Some((TIME, start, end)), take).await?;
    Ok(found)
}
