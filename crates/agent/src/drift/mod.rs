//! `windlass-agent drift`: compares a window of traffic with a profile.
//!
//! ```text
//!   payload log ──rows of the window──> columns ──PSI against the profile──> drifted columns ──┐
//!   labels ──joined on request_id──> metric with interval ─────────────────────────────────────┴─> verdict
//! ```
//!
//! No data, too few data and broken data are verdicts of their own, never "no drift".
//!
//! Absent on purpose: what follows from a verdict (the operator's), and persistence over windows.

pub(crate) mod columns;
pub mod history;
pub mod html;
mod payloads;
mod performance;
pub mod results;
mod saying;
pub mod table;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use tracing::info;
use windlass_api::agent::{
    ColumnDrift, DriftReport, FailureReason, FailureReport, Performance, Report, WindowVerdict,
};
use windlass_statistics::metric::Metric;

use crate::address::Address;
use crate::arguments::{DataFormat, Pair, time};
use crate::profile::{self, PREDICTION, write_json};
use crate::report::{OrFail, failure};

/// How many columns the short report names.
const TOP: usize = 10;

/// Arguments of `windlass-agent drift`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Address of the profile that the window is compared with.
    #[arg(long, value_name = "URI")]
    pub reference: String,
    /// Its digest, as it was recorded.
    #[arg(long, value_name = "sha256:HEX")]
    pub reference_digest: Option<String>,
    /// Address of the payload log.
    #[arg(long, value_name = "URI")]
    pub payloads: String,
    /// The model version whose payloads are read.
    #[arg(long)]
    pub version: String,
    /// Start of the window, inclusive.
    #[arg(long, value_parser = time)]
    pub window_start: Timestamp,
    /// End of the window, exclusive.
    #[arg(long, value_parser = time)]
    pub window_end: Timestamp,
    /// With fewer rows nothing is said.
    #[arg(long, default_value_t = 500)]
    pub min_samples: u64,
    /// A column has drifted when the lower bound of its index lies above this.
    #[arg(long, default_value_t = 0.2)]
    pub threshold: f64,
    /// The threshold of one column.
    #[arg(long = "column-threshold", value_name = "COLUMN=X")]
    pub column_thresholds: Vec<Pair>,
    /// The window has drifted when at least this share of its columns has.
    #[arg(long, default_value_t = 0.3)]
    pub drifted_share: f64,
    /// The window has drifted when the predictions have, by this threshold; without it they count as a column.
    #[arg(long, value_name = "X")]
    pub prediction_threshold: Option<f64>,
    /// Address of the labels.
    #[arg(long, value_name = "URI")]
    pub labels: Option<String>,
    /// Their format.
    #[arg(long, value_enum, default_value = "CSV")]
    pub labels_format: DataFormat,
    /// The column with the label.
    #[arg(long, value_name = "COLUMN")]
    pub label: Option<String>,
    /// The column of the labels that holds the request's id.
    #[arg(long, value_name = "COLUMN", default_value = "request_id")]
    pub join_on: String,
    /// The metric of performance.
    #[arg(long)]
    pub metric: Option<Metric>,
    /// The performance has fallen when its whole interval lies below this.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub metric_min: Option<f64>,
    /// Confidence of bounds and intervals.
    #[arg(long, default_value_t = 0.95)]
    pub confidence: f64,
    /// The folder that the full report, `report.json`, goes to.
    #[arg(long, value_name = "URI")]
    pub output: Option<String>,
}

impl Arguments {
    fn thresholds(&self) -> Result<BTreeMap<&str, f64>, FailureReport> {
        let parse = |pair: &'_ Pair| {
            let value: Result<f64, _> = pair.value.parse();
            value.map_err(|_| {
                let message = format!(
                    "--column-threshold {}={}: '{}' is no number",
                    pair.name, pair.value, pair.value
                );
                failure(FailureReason::InvalidArguments, message)
            })
        };
        self.column_thresholds
            .iter()
            .map(|pair| Ok((pair.name.as_str(), parse(pair)?)))
            .collect()
    }

    fn threshold_of(&self, column: &str, thresholds: &BTreeMap<&str, f64>) -> f64 {
        match self.prediction_threshold {
            Some(threshold) if column == PREDICTION => threshold,
            Some(_) | None => thresholds.get(column).copied().unwrap_or(self.threshold),
        }
    }
}

/// The full report, `report.json`.
#[derive(Serialize)]
struct FullReport<'a> {
    #[serde(flatten)]
    report: &'a DriftReport,
    /// All columns, ranked.
    all: &'a [ColumnDrift],
}

/// Runs the command.
pub async fn run(arguments: Arguments) -> Result<Report, FailureReport> {
    validate(&arguments)?;
    let thresholds = arguments.thresholds()?;
    let output = arguments
        .output
        .as_deref()
        .map(Address::parse)
        .transpose()
        .or_fail(FailureReason::InvalidArguments)?;
    let reference =
        profile::read(&arguments.reference, arguments.reference_digest.as_deref()).await?;
    let payloads = Address::parse(&arguments.payloads).or_fail(FailureReason::InvalidArguments)?;
    let data = payloads::read(
        &payloads.child(&arguments.version),
        arguments.window_start,
        arguments.window_end,
    )
    .await?;
    let rows = data.rows() as u64;

    let mut columns = Vec::new();
    let mut performance = None;
    let (verdict, message) = if rows < arguments.min_samples {
        let message = format!(
            "{rows} rows of {} in the window, and at least {} are asked for",
            arguments.version, arguments.min_samples
        );
        (WindowVerdict::NotEnoughData, message)
    } else if let Some(broken) = columns::broken(&reference, &data)? {
        (WindowVerdict::DataBroken, broken)
    } else {
        for column in &reference.columns {
            let threshold = arguments.threshold_of(&column.name, &thresholds);
            columns.push(columns::compare(
                column,
                &data,
                threshold,
                arguments.confidence,
            )?);
        }
        performance = performance::measure(&arguments, &data).await?;
        decide(&arguments, &columns, performance.as_ref())
    };
    // Those beyond their thresholds first, by how far.
    let rank = |column: &ColumnDrift| column.lower / column.threshold.max(f64::MIN_POSITIVE);
    columns.sort_by(|a, b| b.drifted.cmp(&a.drifted).then(rank(b).total_cmp(&rank(a))));
    info!(?verdict, rows, "{message}");
    let mut report = DriftReport {
        verdict,
        message,
        start: arguments.window_start,
        end: arguments.window_end,
        rows,
        columns: columns.len() as u64,
        drifted: columns.iter().filter(|column| column.drifted).count() as u64,
        top: columns.iter().take(TOP).cloned().collect(),
        performance,
        report: None,
    };
    if let Some(output) = output {
        let full = FullReport {
            report: &report,
            all: &columns,
        };
        report.report = Some(write_json(&output.child("report.json"), &full).await?);
    }
    Ok(Report::Drift(report))
}

fn validate(arguments: &Arguments) -> Result<(), FailureReport> {
    let invalid = |message: String| Err(failure(FailureReason::InvalidArguments, message));
    if arguments.window_start >= arguments.window_end {
        return invalid("--window-start lies before --window-end".to_owned());
    }
    if !(arguments.confidence > 0.5 && arguments.confidence < 1.0) {
        return invalid("--confidence lies between 0.5 and 1".to_owned());
    }
    if arguments.labels.is_some() && (arguments.label.is_none() || arguments.metric.is_none()) {
        return invalid("--labels needs --label and --metric".to_owned());
    }
    match arguments.metric {
        Some(metric) if arguments.metric_min.is_some() && !metric.is_higher_better() => invalid(
            format!("--metric-min says nothing about {metric}, which is better when it is lower"),
        ),
        Some(_) | None => Ok(()),
    }
}

#[allow(clippy::cast_precision_loss)] // counts of columns
fn decide(
    arguments: &Arguments,
    columns: &[ColumnDrift],
    performance: Option<&Performance>,
) -> (WindowVerdict, String) {
    let drifted: Vec<&ColumnDrift> = columns.iter().filter(|column| column.drifted).collect();
    let share = drifted.len() as f64 / columns.len().max(1) as f64;
    let mut why = Vec::new();
    if !drifted.is_empty() && share >= arguments.drifted_share {
        let names: Vec<String> = drifted
            .iter()
            .take(3)
            .map(|column| {
                format!(
                    "{} ({}, PSI {:.2})",
                    column.column, column.moved, column.value
                )
            })
            .collect();
        why.push(format!(
            "{} of {} columns have drifted: {}",
            drifted.len(),
            columns.len(),
            names.join(", ")
        ));
    }
    let prediction = drifted.iter().find(|column| column.column == PREDICTION);
    if let (Some(prediction), true) = (prediction, arguments.prediction_threshold.is_some()) {
        why.push(format!(
            "the predictions have drifted ({}, PSI {:.2})",
            prediction.moved, prediction.value
        ));
    }
    if let Some(Performance {
        metric,
        value: Some(value),
        interval: Some([lower, upper]),
        fallen: true,
        rows,
    }) = performance
    {
        let min = arguments.metric_min.unwrap_or_default();
        why.push(format!(
            "{metric} is {value:.3} [{lower:.3}, {upper:.3}] on {rows} labelled rows, below {min}"
        ));
    }
    if !why.is_empty() {
        return (WindowVerdict::Drifted, why.join("; "));
    }
    let mut message = format!(
        "{} of {} columns have drifted",
        drifted.len(),
        columns.len()
    );
    if let Some(performance) = performance {
        let value = performance
            .value
            .map_or_else(|| "not known".to_owned(), |value| format!("{value:.3}"));
        let measured = format!(
            "; {} is {value} on {} labelled rows",
            performance.metric, performance.rows
        );
        message.push_str(&measured);
    }
    (WindowVerdict::Healthy, message)
}
