//! The validation's full report, `report.json`, as `evaluate` wrote it: what a card takes from it.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tracing::warn;
use windlass_api::agent::{FailureReason, FailureReport, MetricResult};
use windlass_api::{ModelVersion, Stored};

use crate::address::Address;
use crate::report::{OrFail, chain, failure};
use crate::tree;

/// How long the report may take that nobody asked for.
const MOST: Duration = Duration::from_secs(20);

/// What is known of the full report.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// The version has none.
    None,
    /// The version names one, and it cannot be read from here.
    Unreadable(Stored),
    /// It was read.
    Read {
        /// What it says.
        content: Box<Content>,
        /// Whether it is the one that the version names, by its digest; a version may name none.
        is_recorded: bool,
    },
}

/// What it says, as far as a card shows it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Content {
    /// Confidence of the intervals.
    pub confidence: Option<f64>,
    /// By how much it may be worse than the champion.
    pub margin: Option<f64>,
    /// Rows that a segment needs to be judged.
    pub min_samples: Option<u64>,
    /// All metrics, and the differences between groups after them.
    pub metrics: Vec<MetricResult>,
    /// Where it does worst, found unasked.
    pub worst_slices: Vec<Slice>,
}

/// A slice on which the model does worse than on the other rows.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Slice {
    /// As a segment could name it.
    pub predicate: String,
    /// Its rows.
    pub rows: u64,
    /// What the loss is: `logLoss`, `error` or `absoluteError`.
    pub of: String,
    /// The mean loss on it.
    pub loss: f64,
    /// The mean loss on all other rows.
    pub elsewhere: f64,
    /// The interval of the difference.
    pub worse_by: Bounds,
}

/// An interval.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Bounds {
    /// Its lower end.
    pub lower: f64,
    /// Its upper end.
    pub upper: f64,
}

/// The report that is given, which has to be readable; else the one that the version names, if it can be read.
///
/// # Errors
/// [`FailureReason::InputNotFound`] and [`FailureReason::InputUnreadable`] for one that was given;
/// [`FailureReason::DigestMismatch`] for any that is not the one that was recorded.
pub async fn find(version: &ModelVersion, given: Option<&str>) -> Result<Report, FailureReport> {
    let status = version.status.as_ref();
    let recorded = status.and_then(|status| status.validation.as_ref()?.report.as_ref());
    match (given, recorded) {
        (Some(given), _) => {
            let content = fetch(given).await?;
            read(&content, given, recorded)
        }
        (None, None) => Ok(Report::None),
        (None, Some(recorded)) => {
            let found = tokio::time::timeout(MOST, fetch(&recorded.uri.0)).await;
            match found {
                Ok(Ok(content)) => read(&content, &recorded.uri.0, Some(recorded)),
                Ok(Err(problem)) => {
                    warn!("{}", problem.message);
                    Ok(Report::Unreadable(recorded.clone()))
                }
                Err(_) => {
                    warn!(
                        "the report at {} did not come within {MOST:?}",
                        recorded.uri
                    );
                    Ok(Report::Unreadable(recorded.clone()))
                }
            }
        }
    }
}

async fn fetch(uri: &str) -> Result<Vec<u8>, FailureReport> {
    let address = Address::parse(uri).or_fail(FailureReason::InvalidArguments)?;
    let content = address.read().await.map_err(|problem| {
        let message = format!("the report at {uri}: {}", chain(&problem));
        failure(FailureReason::InputNotFound, message)
    })?;
    Ok(content.to_vec())
}

/// Reads it, and holds it against the digest that was recorded.
fn read(content: &[u8], uri: &str, recorded: Option<&Stored>) -> Result<Report, FailureReport> {
    if let Some(recorded) = recorded {
        let digest = digest_as(&recorded.uri.0, content)?;
        if digest != recorded.digest {
            let message = format!(
                "{uri} is not the report that was recorded: its digest is {digest}, and the version names {}",
                recorded.digest
            );
            return Err(failure(FailureReason::DigestMismatch, message));
        }
    }
    let unreadable = |problem: &dyn std::fmt::Display| {
        let message = format!("{uri} is no report of windlass-agent evaluate: {problem}");
        failure(FailureReason::InputUnreadable, message)
    };
    let document: Value =
        serde_json::from_slice(content).map_err(|problem| unreadable(&problem))?;
    if document.get("metrics").is_none() {
        return Err(unreadable(&"it has no metrics"));
    }
    let content: Content =
        serde_json::from_value(document).map_err(|problem| unreadable(&problem))?;
    Ok(Report::Read {
        content: Box::new(content),
        is_recorded: recorded.is_some(),
    })
}

/// The digest that a file has under the name that it was stored with: a copy may be called what it likes.
fn digest_as(uri: &str, content: &[u8]) -> Result<String, FailureReport> {
    let name = uri.rsplit('/').next().unwrap_or(uri);
    let stored = Address::local(uri, &Path::new("/").join(name));
    let stored = stored.or_fail(FailureReason::InputUnreadable)?;
    Ok(tree::of_file(&stored, content).digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lineage::fixture;

    const REPORT: &[u8] = include_bytes!("../../tests/lineage/report.json");

    #[test]
    fn a_report_is_the_one_that_was_recorded_or_none_is_taken() {
        let objects = fixture::objects();
        let version = objects.version("churn-3").expect("a version");
        let status = version.status.as_ref().expect("a status");
        let validation = status.validation.as_ref().expect("a validation");
        let recorded = validation.report.as_ref().expect("a report");
        let found = read(REPORT, "copy.json", Some(recorded)).expect("the report");
        let Report::Read {
            content,
            is_recorded,
        } = found
        else {
            panic!("it was read")
        };
        assert!(is_recorded);
        assert_eq!(content.worst_slices[0].predicate, "plan = 'basic'");
        assert!(content.metrics.len() > validation.metrics.len());

        let mut other = REPORT.to_vec();
        other.push(b' ');
        let problem = read(&other, "copy.json", Some(recorded)).expect_err("another");
        assert_eq!(problem.reason, FailureReason::DigestMismatch);
        let unrecorded = read(&other, "copy.json", None).expect("nothing to hold it against");
        assert!(matches!(
            unrecorded,
            Report::Read {
                is_recorded: false,
                ..
            }
        ));
        for other in ["[]", "{}", "{", "{\"metrics\": 3}"] {
            let problem = read(other.as_bytes(), "copy.json", None).expect_err("no report");
            assert_eq!(problem.reason, FailureReason::InputUnreadable, "{other}");
        }
    }
}
