//! What was measured, on what terms, and what was asked of it.

use windlass_api::agent::{MetricResult, Verdict};
use windlass_api::{Decimal, MetricStatus};
use windlass_statistics::fairness::Disparity;

use super::Record;
use crate::card::document::{Line, strong, text};
use crate::card::plot::{Bound, Limit};
use crate::card::report::{Content, Report};
use crate::lineage::verdict;

/// A metric on a set of rows, or a difference between groups of rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    pub name: String,
    pub segment: Option<String>,
    pub rows: u64,
    pub value: Option<f64>,
    pub interval: Option<[f64; 2]>,
    pub champion: Option<f64>,
    pub verdict: Option<Verdict>,
}

impl From<&MetricResult> for Measured {
    fn from(result: &MetricResult) -> Self {
        Self {
            name: result.name.clone(),
            segment: result.segment.clone(),
            rows: result.rows,
            value: result.value,
            interval: result.interval,
            champion: result.champion,
            verdict: result.verdict,
        }
    }
}

impl From<&MetricStatus> for Measured {
    fn from(status: &MetricStatus) -> Self {
        let number = |decimal: &Option<Decimal>| decimal.as_ref().and_then(|one| one.value().ok());
        let bounds = number(&status.lower).zip(number(&status.upper));
        Self {
            name: status.name.clone(),
            segment: status.segment.clone(),
            rows: u64::try_from(status.rows).unwrap_or_default(),
            value: number(&status.value),
            interval: bounds.map(|(lower, upper)| [lower, upper]),
            champion: number(&status.champion),
            verdict: status.verdict,
        }
    }
}

impl Measured {
    /// Of a difference between groups what it is and their column; a metric is none.
    pub fn difference(&self) -> Option<(&str, &str)> {
        let (name, column) = self.name.split_once(" by ")?;
        name.parse::<Disparity>().is_ok().then_some((name, column))
    }

    /// The verdict, or why there is none.
    pub fn verdict_cell(&self, limits: &[Limit], terms: &Terms) -> Line {
        let is_compared = self.champion.is_some() && self.difference().is_none();
        match self.verdict {
            Some(found) => strong(verdict(found)),
            None if limits.is_empty() && !is_compared => text("no limit"),
            None if self.rows < terms.min_samples => text("too few rows"),
            None => text("not judged"),
        }
    }
}

/// The report that was read.
pub fn full_report<'a>(record: &Record<'a>) -> Option<&'a Content> {
    match record.report {
        Report::Read { content, .. } => Some(content),
        Report::None | Report::Unreadable(_) => None,
    }
}

/// All that was measured: the full report has it all, the version's status what fits.
pub fn measured(record: &Record<'_>) -> Vec<Measured> {
    let full = full_report(record).filter(|content| !content.metrics.is_empty());
    match (full, record.found()) {
        (Some(content), _) => content.metrics.iter().map(Measured::from).collect(),
        (None, Some(found)) => found.metrics.iter().map(Measured::from).collect(),
        (None, None) => Vec::new(),
    }
}

/// How it was judged: as the full report has it, else as the version asks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Terms {
    /// Confidence of the intervals.
    pub confidence: Option<String>,
    /// By how much it may be worse than the champion.
    pub margin: Option<String>,
    /// Rows that a segment needs to be judged.
    pub min_samples: u64,
}

impl Terms {
    pub fn of(record: &Record<'_>) -> Self {
        let full = full_report(record);
        let asked = record.asked();
        let against = asked.and_then(|asked| asked.against.as_ref());
        let number = |of_report: Option<f64>, of_spec: Option<&Decimal>| {
            let of_report = of_report.map(|number| number.to_string());
            of_report.or_else(|| of_spec.map(|number| number.0.clone()))
        };
        let few = asked.and_then(|asked| u64::try_from(asked.min_samples).ok());
        Self {
            confidence: number(
                full.and_then(|full| full.confidence),
                against.map(|against| &against.confidence),
            ),
            margin: number(
                full.and_then(|full| full.margin),
                against.map(|against| &against.margin),
            ),
            min_samples: full.and_then(|full| full.min_samples).or(few).unwrap_or(0),
        }
    }
}

/// What a metric or a difference that has this name in reports has to reach.
pub fn limits(record: &Record<'_>, name: &str) -> Vec<Limit> {
    let Some(asked) = record.asked() else {
        return Vec::new();
    };
    let metrics = asked
        .metrics
        .iter()
        .filter(|gate| gate.as_reported() == name);
    let of_metrics = metrics.flat_map(|gate| {
        let (min, max) = (gate.min.as_ref(), gate.max.as_ref());
        [(Bound::Min, min), (Bound::Max, max)]
    });
    let differences = asked.disparities.iter();
    let differences = differences.filter(|gate| gate.as_reported() == name);
    let of_differences = differences.map(|gate| (Bound::Max, gate.max.as_ref()));
    let limits = of_metrics.chain(of_differences);
    let limits = limits.filter_map(|(bound, limit)| {
        Some(Limit {
            bound,
            at: limit?.value().ok()?,
            written: limit?.0.clone(),
        })
    });
    limits.collect()
}

/// Limits in words: `min 0.7, max 0.9`.
pub fn limits_words(limits: &[Limit]) -> Option<String> {
    let words: Vec<String> = limits.iter().map(Limit::words).collect();
    (!words.is_empty()).then(|| words.join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_metric_of_the_status_is_read_as_one_of_the_report_is() {
        let status: MetricStatus = serde_json::from_value(json!({
            "name": "rocAuc", "segment": "plan = 'basic'", "rows": 300, "value": "0.75", "lower": "0.7", "upper": "0.8",
            "champion": "0.72", "verdict": "Pass",
        }))
        .expect("a metric");
        let result: MetricResult = serde_json::from_value(json!({
            "name": "rocAuc", "segment": "plan = 'basic'", "rows": 300, "value": 0.75, "interval": [0.7, 0.8],
            "champion": 0.72, "verdict": "Pass",
        }))
        .expect("a metric");
        assert_eq!(Measured::from(&status), Measured::from(&result));
    }

    fn one(name: &str) -> Measured {
        Measured {
            name: name.to_owned(),
            segment: None,
            rows: 300,
            value: Some(0.5),
            interval: None,
            champion: None,
            verdict: None,
        }
    }

    #[test]
    fn differences_between_groups_are_told_from_metrics() {
        for (name, expected) in [
            ("rocAuc", None),
            ("pinball@0.9", None),
            (
                "equalOpportunity by land, region",
                Some(("equalOpportunity", "land, region")),
            ),
            (
                "demographicParity by 'a' by b",
                Some(("demographicParity", "'a' by b")),
            ),
            ("taken by me", None),
        ] {
            assert_eq!(one(name).difference(), expected);
        }
    }

    #[test]
    fn without_a_verdict_it_is_said_why() {
        let limit = Limit {
            bound: Bound::Min,
            at: 0.5,
            written: "0.5".to_owned(),
        };
        let terms = |min_samples| Terms {
            min_samples,
            ..Terms::default()
        };
        let asked = std::slice::from_ref(&limit);
        let mut one = one("f1");
        assert_eq!(one.verdict_cell(&[], &terms(200)), text("no limit"));
        assert_eq!(one.verdict_cell(asked, &terms(301)), text("too few rows"));
        assert_eq!(one.verdict_cell(asked, &terms(300)), text("not judged"));
        // What is compared with the champion is judged, where there are rows enough.
        one.champion = Some(0.4);
        assert_eq!(one.verdict_cell(&[], &terms(301)), text("too few rows"));
        one.verdict = Some(Verdict::Fail);
        assert_eq!(one.verdict_cell(asked, &terms(200)), strong("Fail"));
    }
}
