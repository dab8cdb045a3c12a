//! `windlass-agent evaluate`: judges a model through the server that will serve it.
//!
//! ```text
//!   data set ──batch by batch──> features ──the server's protocol──> answers of candidate (and champion)
//!   labels, answers, segments, groups ──a first look──> values of metrics ──┐
//!           └──spool, on disk──────────> the same rows ──a second look──────┴──> intervals ──gates──> verdict
//!   features, answers ─────────────────> baseline profile, worst slices
//! ```
//!
//! Each row is read and asked about once, in memory that does not grow with the rows.
//!
//! Absent on purpose: reading a model. Any format that can be served can be judged.

mod baseline;
pub mod gate;
mod judge;
mod rows;
pub(crate) mod segments;
pub mod server;
mod slices;
mod spool;

use std::time::Duration;

use futures::TryStreamExt;
use futures::future::try_join_all;
use jiff::Timestamp;
use serde::Serialize;
use tracing::{debug, info};
use windlass_api::Protocol;
use windlass_api::agent::{
    EvaluationReport, FailureReason, FailureReport, MetricResult, Profile, Report, Signature, Tree,
    Verdict, paths,
};

use windlass_statistics::metric::Metric;

use crate::address::Address;
use crate::arguments::{DataFormat, duration, time};
use crate::data::answers::{Answers, other_width};
use crate::data::encode::RawFeature;
use crate::data::scan::Scan;
use crate::data::{Dataset, Reasons, column};
use crate::profile::{signature, write_json};
use crate::report::{OrFail, failure};

use self::baseline::Baseline;
use self::gate::{DisparityGate, Gate};
use self::judge::{First, Judged};
use self::rows::{Reader, Rows};
use self::segments::{Groups, Segments};
use self::server::{Question, Server};
use self::slices::{Slice, Slices};
use self::spool::Spool;

/// Arguments of `windlass-agent evaluate`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// The model's name on the servers.
    #[arg(long, value_name = "NAME")]
    pub model_name: String,
    /// The protocol that its server speaks.
    #[arg(long, default_value = "OpenInference", value_parser = protocol)]
    pub protocol: Protocol,
    /// Address of the candidate's server.
    #[arg(long, value_name = "URL")]
    pub server: String,
    /// Address of the champion's server.
    #[arg(long, value_name = "URL")]
    pub champion_server: Option<String>,
    /// The champion's version, for the report.
    #[arg(long, value_name = "VERSION")]
    pub champion_name: Option<String>,
    /// The candidate's signature.
    #[arg(long, value_name = "FILE")]
    pub signature: Option<String>,
    /// The champion's signature; without it, the candidate's.
    #[arg(long, value_name = "FILE")]
    pub champion_signature: Option<String>,
    /// Address of the held-out data.
    #[arg(long, value_name = "URI")]
    pub dataset: String,
    /// Its format.
    #[arg(long, value_enum)]
    pub format: DataFormat,
    /// The column with the label.
    #[arg(long, value_name = "COLUMN")]
    pub label: String,
    /// The column with a row's time: for the window, and so that the baseline tells what there is of each season.
    #[arg(long, value_name = "COLUMN")]
    pub time_column: Option<String>,
    /// Rows before it are left out.
    #[arg(long, value_parser = time)]
    pub window_start: Option<Timestamp>,
    /// Rows from it on are left out.
    #[arg(long, value_parser = time)]
    pub window_end: Option<Timestamp>,
    /// The column with how much a row counts.
    #[arg(long, value_name = "COLUMN")]
    pub weight: Option<String>,
    /// The column that says of which query a row is one answer; `ndcg` needs it.
    #[arg(long, value_name = "COLUMN")]
    pub query: Option<String>,
    /// A metric and what it has to reach: `rocAuc,min=0.65`, `logLoss,max=0.7`. Without either it is seen,
    /// and compared with the champion where there is one.
    #[arg(
        long = "metric",
        value_name = "METRIC[,min=X][,max=X]",
        required = true
    )]
    pub metrics: Vec<Gate>,
    /// A difference between the groups of a column, and what it may be: `equalOpportunity,max=0.1,by=country`.
    #[arg(long = "disparity", value_name = "NAME[,max=X],by=COLUMN")]
    pub disparities: Vec<DisparityGate>,
    /// A segment that is judged by itself, as a predicate in SQL.
    #[arg(long = "segment", value_name = "PREDICATE")]
    pub segments: Vec<String>,
    /// A column whose every value is a segment.
    #[arg(long = "segment-by", value_name = "COLUMN")]
    pub segment_by: Vec<String>,
    /// Segments of fewer rows are not judged.
    #[arg(long, default_value_t = 200)]
    pub min_samples: u64,
    /// By how much a metric may be worse than the champion's.
    #[arg(long, default_value_t = 0.01)]
    pub margin: f64,
    /// Confidence of intervals and tests.
    #[arg(long, default_value_t = 0.95)]
    pub confidence: f64,
    /// The folder that `report.json` and `baseline.json` go to.
    #[arg(long, value_name = "URI")]
    pub output: Option<String>,
    /// How long the servers may take to become ready.
    #[arg(long, default_value = "120s", value_parser = duration)]
    pub ready_timeout: Duration,
    /// How long one request may take.
    #[arg(long, default_value = "60s", value_parser = duration)]
    pub request_timeout: Duration,
}

/// Parses a protocol's name.
fn protocol(text: &str) -> Result<Protocol, String> {
    let known = Protocol::ALL.into_iter();
    let mut named = known.filter(|protocol| protocol.as_str() == text);
    named.next().ok_or_else(|| {
        let all = Protocol::ALL.map(Protocol::as_str).join(", ");
        format!("'{text}' is not a protocol; accepted are {all}")
    })
}

const REASONS: Reasons = Reasons {
    what: "the held-out data",
    not_found: FailureReason::DatasetUnreadable,
    unreadable: FailureReason::DatasetUnreadable,
    column: FailureReason::ColumnNotFound,
};

/// The full report, `report.json`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FullReport<'a> {
    verdict: Verdict,
    message: &'a str,
    rows: u64,
    confidence: f64,
    margin: f64,
    min_samples: u64,
    champion: Option<&'a str>,
    metrics: &'a [MetricResult],
    /// Where the candidate does worst, found unasked.
    worst_slices: &'a [Slice],
}

/// Runs the command.
pub async fn run(arguments: Arguments) -> Result<Report, FailureReport> {
    validate(&arguments)?;
    let address = Address::parse(&arguments.dataset).or_fail(FailureReason::InvalidArguments)?;
    let output = arguments
        .output
        .as_deref()
        .map(Address::parse)
        .transpose()
        .or_fail(FailureReason::InvalidArguments)?;
    let default = format!("{}/{}", paths::MODEL, windlass_api::agent::SIGNATURE_FILE);
    let inputs = signature(arguments.signature.as_deref().unwrap_or(&default)).await?;
    let champion_inputs = match &arguments.champion_signature {
        Some(path) if arguments.champion_server.is_some() => Some(signature(path).await?),
        Some(_) | None => None,
    };

    let mut asked = vec![Asked::new(&arguments, &arguments.server, &inputs)?];
    if let Some(base) = &arguments.champion_server {
        let theirs = champion_inputs.as_ref().unwrap_or(&inputs);
        comparable(&inputs, theirs)?;
        asked.push(Asked::new(&arguments, base, theirs)?);
    }
    let mut scan = Scan::open(&address, arguments.format, REASONS).await?;
    if let Some(query) = &arguments.query {
        scan = scan.sorted_by(query)?;
    }
    let found = look(&arguments, &scan, &asked).await?;
    report(&arguments, found, output.as_ref()).await
}

/// Reads the rows, asks the models, and looks at what they answer twice.
async fn look(
    arguments: &Arguments,
    scan: &Scan,
    asked: &[Asked<'_>],
) -> Result<Found, FailureReport> {
    let candidate = &asked[0];
    let columns = rows::Columns {
        label: &arguments.label,
        classes: &candidate.signature.output.classes,
        weight: arguments.weight.as_deref(),
        query: arguments.query.as_deref(),
    };
    columns_are_there(arguments, scan, asked)?;
    let mut segments = Segments::new(scan, &arguments.segments, &arguments.segment_by)?;
    let disparities = arguments.disparities.iter();
    let groups = disparities.map(|gate| Groups::new(scan, &gate.by));
    let groups: Vec<Groups> = groups.collect::<Result<_, _>>()?;

    let mut reader = Reader::new(columns);
    let mut first = First::new(arguments, segments.most(), groups);
    let mut spool = Spool::new();
    let mut slices = sliced(arguments, scan);
    let time = arguments.time_column.as_deref();
    let mut baseline = Baseline::new(candidate.signature, &arguments.segments, time);
    let mut batches = scan.batches();
    while let Some(batch) = batches.try_next().await? {
        let batch = within_window(batch, arguments)?.after(reader.rows());
        let Some(known) = reader.read(&batch)? else {
            continue;
        };
        if known.labels.is_empty() {
            continue;
        }
        let members = segments.of(&batch)?;
        let answers = asked.iter().map(|model| model.answers(&batch));
        let mut answers = try_join_all(answers).await?.into_iter();
        let (features, answered) = answers.next().unwrap_or_default();
        let times = match time {
            Some(name) => times(&batch, name)?,
            None => Vec::new(),
        };
        baseline.add(features, &times, &answered, &known.labels, &members);
        let rows = Rows {
            known,
            candidate: answered,
            champion: answers.next().map(|(_, answered)| answered),
            members,
        };
        first.add(&rows, &batch, &segments)?;
        if let Some(slices) = &mut slices {
            slices.add(&batch, &rows)?;
        }
        spool.keep(&rows)?;
        debug!(rows = reader.rows(), "judged");
    }
    if let Some(problem) = reader.lacking() {
        return Err(scan.unreadable(&problem));
    }
    info!(
        rows = reader.rows(),
        segments = segments.count(),
        "read {}",
        arguments.dataset
    );
    let mut second = first.second(&segments);
    for rows in spool.rows()? {
        second.add(&rows?);
    }
    let worst = |slices: Slices| slices.worst(arguments.min_samples, arguments.confidence);
    Ok(Found {
        rows: reader.rows() as u64,
        judged: second.judged(),
        slices: slices.map(worst).unwrap_or_default(),
        profile: baseline.profile(),
    })
}

/// Before anyone is asked anything.
fn columns_are_there(
    arguments: &Arguments,
    scan: &Scan,
    asked: &[Asked<'_>],
) -> Result<(), FailureReport> {
    let inputs = asked.iter().flat_map(|model| &model.signature.inputs);
    let inputs = inputs.map(|input| input.name.as_str());
    let named = [
        Some(&arguments.label),
        arguments.weight.as_ref(),
        arguments.time_column.as_ref(),
    ];
    let named = named.into_iter().flatten().map(String::as_str);
    for name in named.chain(inputs) {
        scan.data_type(name)?;
    }
    Ok(())
}

/// A model that is asked.
struct Asked<'a> {
    server: Server,
    signature: &'a Signature,
    protocol: Protocol,
    patience: Duration,
    /// Whether it has been waited for.
    is_ready: tokio::sync::OnceCell<()>,
    /// How many numbers it answers with.
    width: std::sync::OnceLock<usize>,
}

impl<'a> Asked<'a> {
    fn new(
        arguments: &Arguments,
        base: &str,
        signature: &'a Signature,
    ) -> Result<Self, FailureReport> {
        let (protocol, timeout) = (arguments.protocol, arguments.request_timeout);
        Ok(Self {
            server: Server::new(protocol, base, &arguments.model_name, timeout)?,
            signature,
            protocol,
            patience: arguments.ready_timeout,
            is_ready: tokio::sync::OnceCell::new(),
            width: std::sync::OnceLock::new(),
        })
    }

    /// The features of rows, and what the model answers.
    async fn answers(&self, data: &Dataset) -> Result<(Vec<RawFeature>, Answers), FailureReport> {
        let features: Result<Vec<RawFeature>, FailureReport> = self
            .signature
            .inputs
            .iter()
            .map(|feature| RawFeature::read(data, feature))
            .collect();
        let features = features?;
        let question = Question::new(self.protocol, self.signature, &features)?;
        let ready = || self.server.wait_until_ready(self.patience);
        self.is_ready.get_or_try_init(ready).await?;
        let output = &self.signature.output;
        let answers = self.server.predict(&question, output, data.first()).await?;
        let width = *self.width.get_or_init(|| answers.width);
        if answers.width != width {
            let problem = other_width(answers.width, width);
            return Err(self.server.failed(data.first(), data.rows(), &problem));
        }
        Ok((features, answers))
    }
}

/// Two models are compared on the same labels, so they answer with the same classes.
fn comparable(candidate: &Signature, champion: &Signature) -> Result<(), FailureReport> {
    let (ours, theirs) = (&candidate.output.classes, &champion.output.classes);
    if ours == theirs {
        return Ok(());
    }
    let listed = |classes: &[String]| match classes {
        [] => "one number".to_owned(),
        classes => format!("the classes {}", classes.join(", ")),
    };
    let message = format!(
        "the candidate answers with {}, and the champion with {}: they cannot be compared; validate without `against`",
        listed(ours),
        listed(theirs)
    );
    Err(failure(FailureReason::InvalidArguments, message))
}

/// Where the candidate may do worst; nothing for rankings, whose rows have no loss of their own.
fn sliced(arguments: &Arguments, scan: &Scan) -> Option<Slices> {
    let mut less = vec![arguments.label.as_str()];
    less.extend(arguments.time_column.as_deref());
    less.extend(arguments.weight.as_deref());
    let is_of_rows = arguments.query.is_none();
    is_of_rows.then(|| Slices::new(scan.schema(), &less))
}

fn validate(arguments: &Arguments) -> Result<(), FailureReport> {
    let invalid = |message: &str| Err(failure(FailureReason::InvalidArguments, message));
    if !(arguments.confidence > 0.5 && arguments.confidence < 1.0) {
        return invalid("--confidence lies between 0.5 and 1");
    }
    if !(arguments.margin >= 0.0 && arguments.margin.is_finite()) {
        return invalid("--margin is at least 0");
    }
    let is_ranking = |gate: &Gate| matches!(gate.metric, Metric::Ndcg(_));
    if arguments.query.is_none() && arguments.metrics.iter().any(is_ranking) {
        return invalid(
            "ndcg needs --query, the column that says of which query a row is one answer",
        );
    }
    if arguments.time_column.is_none()
        && (arguments.window_start.is_some() || arguments.window_end.is_some())
    {
        return invalid("--window-start and --window-end need --time-column");
    }
    Ok(())
}

/// The times of rows, in microseconds since 1970.
fn times(data: &Dataset, name: &str) -> Result<Vec<Option<i64>>, FailureReport> {
    let times = column::times(data.column(name)?);
    times.map_err(|problem| data.about(name, &problem))
}

/// The rows in the window; without one, all of them, also those without a time.
fn within_window(mut data: Dataset, arguments: &Arguments) -> Result<Dataset, FailureReport> {
    let bounds = (arguments.window_start, arguments.window_end);
    let Some(name) = arguments
        .time_column
        .as_ref()
        .filter(|_| bounds != (None, None))
    else {
        return Ok(data);
    };
    let times = times(&data, name)?;
    let start = arguments
        .window_start
        .map_or(i64::MIN, Timestamp::as_microsecond);
    let end = arguments
        .window_end
        .map_or(i64::MAX, Timestamp::as_microsecond);
    let keep: Vec<bool> = times
        .iter()
        .map(|time| time.is_some_and(|time| start <= time && time < end))
        .collect();
    data.retain(&keep)?;
    Ok(data.counted_within("the window"))
}

/// All that was found.
struct Found {
    rows: u64,
    judged: Judged,
    slices: Vec<Slice>,
    profile: Profile,
}

async fn report(
    arguments: &Arguments,
    found: Found,
    output: Option<&Address>,
) -> Result<Report, FailureReport> {
    let Found {
        rows,
        judged,
        slices,
        profile,
    } = found;
    let Judged {
        verdict,
        message,
        metrics,
    } = judged;
    let champion = arguments
        .champion_server
        .as_ref()
        .map(|_| arguments.champion_name.clone().unwrap_or_default());
    let full = FullReport {
        verdict,
        message: &message,
        rows,
        confidence: arguments.confidence,
        margin: arguments.margin,
        min_samples: arguments.min_samples,
        champion: champion.as_deref(),
        metrics: &metrics,
        worst_slices: &slices,
    };
    let (report, baseline): (Option<Tree>, Option<Tree>) = match output {
        Some(output) => (
            Some(write_json(&output.child("report.json"), &full).await?),
            Some(write_json(&output.child("baseline.json"), &profile).await?),
        ),
        None => (None, None),
    };
    for slice in &slices {
        info!(
            rows = slice.rows,
            "{} {:.4} on {}, {:.4} elsewhere",
            slice.of,
            slice.loss,
            slice.predicate,
            slice.elsewhere
        );
    }
    info!(?verdict, rows, "{message}");
    Ok(Report::Evaluation(EvaluationReport {
        verdict,
        message,
        rows,
        metrics,
        champion,
        report,
        baseline,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A card is tested with a report that was not written by this program: it has to be as if it were.
    #[test]
    fn the_report_that_cards_are_tested_with_has_the_fields_of_one() {
        let kept: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/lineage/report.json")).expect("JSON");
        let written = FullReport {
            verdict: Verdict::Pass,
            message: "",
            rows: 0,
            confidence: 0.95,
            margin: 0.01,
            min_samples: 200,
            champion: None,
            metrics: &[],
            worst_slices: &[],
        };
        let written = serde_json::to_value(&written).expect("our own types always serialize");
        let names = |value: &serde_json::Value| -> Vec<String> {
            let fields = value.as_object().expect("an object");
            fields.keys().cloned().collect()
        };
        assert_eq!(names(&kept), names(&written));
        let metrics: Vec<MetricResult> =
            serde_json::from_value(kept["metrics"].clone()).expect("metrics");
        let again = serde_json::to_value(metrics).expect("our own types always serialize");
        assert_eq!(again, kept["metrics"]);
        let names = kept["metrics"].as_array().expect("metrics").iter();
        let mut names = names.filter_map(|metric| metric["name"].as_str());
        assert!(names.any(|name| {
            let disparity: Option<DisparityGate> = name
                .split_once(" by ")
                .and_then(|(name, by)| format!("{name},by={by}").parse().ok());
            disparity.is_some_and(|gate| gate.name() == name)
        }));
    }
}
