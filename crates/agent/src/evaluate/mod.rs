//! `windlass-agent evaluate`: judges a model through the server that will serve it.
//!
//! ```text
//!   data set ──encode──> rows ──the server's protocol──> answers of candidate (and champion)
//!   labels, answers, segments, groups ──windlass-statistics──> metrics with intervals ──gates──> verdict
//!   features, answers ──────────────────────────────> baseline profile
//! ```
//!
//! Absent on purpose: reading a model. Any format that can be served can be judged. And constant memory: the rows that
//! are judged are held whole, since areas, quantiles and paired comparisons are exact.

pub mod gate;
mod judge;
mod rows;
mod segments;
pub mod server;
mod slices;

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tracing::info;
use windlass_api::Protocol;
use windlass_api::agent::{
    Encoding, EvaluationReport, FailureReason, FailureReport, MetricResult, Profile, Report,
    Signature, Tree, Verdict, paths,
};

use windlass_statistics::sample::{Sample, most_probable};

use crate::address::Address;
use crate::arguments::{DataFormat, duration, time};
use crate::data::answers::Answers;
use crate::data::encode::{RawFeature, Values};
use crate::data::{Dataset, Reasons, column};
use crate::profile::{PREDICTION, profile_of, signature, write_json};
use crate::report::{OrFail, failure};

use self::gate::{DisparityGate, Gate};
use self::judge::{Case, Judged, judge};
use self::rows::Known;
use self::segments::Groups;
use self::server::{Question, Server};
use self::slices::Slice;

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
    /// The column with a row's time, for the window.
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

    let mut data = Dataset::read(&address, arguments.format, REASONS).await?;
    within_window(&mut data, &arguments)?;
    let known = Known::read(
        &data,
        &arguments.label,
        &inputs.output.classes,
        arguments.weight.as_deref(),
        arguments.query.as_deref(),
    )?;
    let segments = segments::of(&data, &arguments.segments, &arguments.segment_by).await?;
    let groups = arguments
        .disparities
        .iter()
        .map(|gate| segments::groups(&data, &gate.by, arguments.min_samples));
    let groups: Vec<Groups> = groups.collect::<Result<_, _>>()?;
    let features = features(&data, &inputs)?;
    info!(
        rows = known.labels.len(),
        segments = segments.len(),
        "read {}",
        arguments.dataset
    );

    let candidate = ask(&arguments, &arguments.server, &inputs, &features).await?;
    let champion = match &arguments.champion_server {
        Some(base) => {
            let theirs = champion_inputs.as_ref().unwrap_or(&inputs);
            comparable(&inputs, theirs)?;
            let features = self::features(&data, theirs)?;
            Some(ask(&arguments, base, theirs, &features).await?)
        }
        None => None,
    };

    let case = Case {
        known: &known,
        candidate: &candidate,
        champion: champion.as_ref(),
        segments: &segments,
        groups: &groups,
    };
    let judged = judge(&arguments, &case)?;
    let slices = worst_slices(&arguments, &data, &known, &candidate);
    let profile = baseline(&inputs, features, &candidate);
    let found = Found {
        rows: known.labels.len() as u64,
        judged,
        slices,
        profile,
    };
    report(&arguments, found, output.as_ref()).await
}

/// What a server answers to all rows.
async fn ask(
    arguments: &Arguments,
    base: &str,
    signature: &Signature,
    features: &[RawFeature],
) -> Result<Answers, FailureReport> {
    let protocol = arguments.protocol;
    let question = Question::new(protocol, signature, features)?;
    let timeout = arguments.request_timeout;
    let server = Server::new(protocol, base, &arguments.model_name, timeout)?;
    server.wait_until_ready(arguments.ready_timeout).await?;
    server.predict(&question, &signature.output).await
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

/// Where the candidate does worst; nothing for rankings, whose rows have no loss of their own.
fn worst_slices(
    arguments: &Arguments,
    data: &Dataset,
    known: &Known,
    candidate: &Answers,
) -> Vec<Slice> {
    if known.queries.is_some() {
        return Vec::new();
    }
    let mut without = vec![arguments.label.as_str()];
    without.extend(arguments.time_column.as_deref());
    without.extend(arguments.weight.as_deref());
    let width = candidate.width.max(1);
    let sample = Sample::of_classes(&known.labels, &candidate.values, width);
    let slices = slices::worst(
        data,
        &without,
        &sample,
        arguments.min_samples,
        arguments.confidence,
    );
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
    slices
}

fn validate(arguments: &Arguments) -> Result<(), FailureReport> {
    let invalid = |message: &str| Err(failure(FailureReason::InvalidArguments, message));
    if !(arguments.confidence > 0.5 && arguments.confidence < 1.0) {
        return invalid("--confidence lies between 0.5 and 1");
    }
    if !(arguments.margin >= 0.0 && arguments.margin.is_finite()) {
        return invalid("--margin is at least 0");
    }
    if arguments.time_column.is_none()
        && (arguments.window_start.is_some() || arguments.window_end.is_some())
    {
        return invalid("--window-start and --window-end need --time-column");
    }
    Ok(())
}

fn within_window(data: &mut Dataset, arguments: &Arguments) -> Result<(), FailureReport> {
    let Some(name) = &arguments.time_column else {
        return Ok(());
    };
    let about = |problem: String| data.unreadable(&format!("column '{name}': {problem}"));
    let times = column::times(data.column(name)?).map_err(about)?;
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
    data.retain(&keep)
}

fn features(data: &Dataset, signature: &Signature) -> Result<Vec<RawFeature>, FailureReport> {
    signature
        .inputs
        .iter()
        .map(|feature| RawFeature::read(data, feature))
        .collect()
}

/// The profile of the rows as the payload log would have them: there, a category that the model does not know is null,
/// and of several classes the most probable is the prediction. Texts have none.
fn baseline(signature: &Signature, mut features: Vec<RawFeature>, answers: &Answers) -> Profile {
    for (input, feature) in signature.inputs.iter().zip(&mut features) {
        if let (Encoding::Category { categories }, Values::Category(texts)) =
            (&input.encoding, &mut feature.values)
        {
            for text in texts {
                text.take_if(|text| !categories.contains(text));
            }
        }
    }
    let mut inputs = signature.inputs.iter();
    features.retain(|_| {
        let input = inputs.next();
        input.is_some_and(|input| !matches!(input.encoding, Encoding::Text))
    });
    features.push(RawFeature {
        name: PREDICTION.to_owned(),
        values: predictions(&signature.output.classes, answers),
    });
    profile_of(answers.rows(), &features)
}

fn predictions(classes: &[String], answers: &Answers) -> Values {
    if answers.width <= 1 {
        return Values::Number(answers.values.iter().copied().map(Some).collect());
    }
    let name = |row| classes.get(most_probable(answers.of(row))).cloned();
    Values::Category((0..answers.rows()).map(name).collect())
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
