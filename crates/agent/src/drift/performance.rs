//! Performance of a window with labels that came later.

use std::collections::HashMap;

use arrow::array::RecordBatch;
use windlass_api::agent::{FailureReason, FailureReport, Performance};
use windlass_statistics::StatisticsError;
use windlass_statistics::sample::Sample;

use super::arguments::{Arguments, Window};
use super::{REQUEST_ID, TIME};
use crate::address::{Address, AddressError};
use crate::data::{Dataset, Reasons, column};
use crate::profile::PREDICTION;
use crate::profile::reading::Reading;
use crate::report::{OrFail, failure};

/// With fewer labelled rows an interval by normal approximation says too much.
const MIN_ROWS: u64 = 100;

const REASONS: Reasons = Reasons {
    what: "the labels",
    not_found: FailureReason::LabelsUnreadable,
    unreadable: FailureReason::LabelsUnreadable,
    column: FailureReason::LabelsUnreadable,
};

/// The metric on the rows of the window whose label is known; absent when no labels are asked for. Without a reading there are no
/// rows.
///
/// While there is no label file, no label has come yet: 0 rows. Of several labels for one request the last holds.
///
/// # Errors
/// [`FailureReason::LabelsUnreadable`] with the file or column.
pub async fn measure(
    arguments: &Arguments,
    reading: Option<&Reading>,
    window: &Window,
) -> Result<Option<Performance>, FailureReport> {
    let (Some(uri), Some(label), Some(metric)) =
        (&arguments.labels, &arguments.label, arguments.metric)
    else {
        return Ok(None);
    };
    let address = Address::parse(uri).or_fail(FailureReason::InvalidArguments)?;
    let mut performance = Performance {
        rows: 0,
        metric: metric.to_string(),
        value: None,
        interval: None,
        fallen: false,
    };
    if let Err(AddressError::NotFound { .. }) = address.files().await {
        return Ok(Some(performance));
    }
    let known = labels(&address, arguments, label).await?;
    let (mut labels, mut answers): (Vec<f64>, Vec<f64>) = (Vec::new(), Vec::new());
    if let Some(reading) = reading {
        let within = Some((TIME, window.start, window.end));
        let names = [REQUEST_ID, PREDICTION];
        let take = |batch: &RecordBatch| {
            let ids = column::texts(batch.column(0))?;
            let given = column::numbers(batch.column(1))?;
            for (id, answer) in ids.into_iter().zip(given) {
                let label = id.and_then(|id| known.get(&id));
                if let (Some(label), Some(answer)) = (label, answer) {
                    labels.push(*label);
                    answers.push(answer);
                }
            }
            Ok(())
        };
        reading.each(&names, within, take).await?;
    }
    performance.rows = labels.len() as u64;
    match metric.estimate(&Sample::new(&labels, &answers), arguments.confidence) {
        Ok(estimate) => {
            performance.value = Some(estimate.value);
            performance.interval = estimate
                .interval
                .map(|interval| [interval.lower, interval.upper]);
        }
        Err(problem @ StatisticsError::Label { .. }) => {
            let message = format!(
                "the labels at {uri}: {metric} cannot be computed from column '{label}': {problem}"
            );
            return Err(failure(FailureReason::LabelsUnreadable, message));
        }
        Err(_) => {}
    }
    let is_enough = performance.rows >= MIN_ROWS.min(arguments.min_samples);
    performance.fallen = match (performance.interval, arguments.metric_min) {
        (Some([_, upper]), Some(min)) => is_enough && upper < min,
        _ => false,
    };
    Ok(Some(performance))
}

async fn labels(
    address: &Address,
    arguments: &Arguments,
    label: &str,
) -> Result<HashMap<String, f64>, FailureReport> {
    let data = Dataset::read(address, arguments.labels_format, REASONS).await?;
    if data.columns().is_empty() {
        return Ok(HashMap::new());
    }
    let (ids, values) = (data.texts(&arguments.join_on)?, data.numbers(label)?);
    Ok(ids
        .into_iter()
        .zip(values)
        .filter_map(|(id, value)| Some((id?, value?)))
        .collect())
}
