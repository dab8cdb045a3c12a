//! What is asked of a metric, and how a result is told.

use std::str::FromStr;

use windlass_api::agent::{MetricResult, Verdict};
use windlass_statistics::fairness::Disparity;
use windlass_statistics::gate::{Decision, Limits};
use windlass_statistics::metric::Metric;

/// `rocAuc,min=0.65`: a metric and what it has to reach.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    /// The metric.
    pub metric: Metric,
    /// What it has to reach.
    pub limits: Limits,
}

impl FromStr for Gate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split(',').map(str::trim);
        let mut gate = Self {
            metric: parts.next().unwrap_or_default().parse()?,
            limits: Limits::default(),
        };
        for part in parts {
            let (name, value) = part
                .split_once('=')
                .ok_or_else(|| format!("'{part}' in '{text}' is not min=… or max=…"))?;
            let value: f64 = value
                .parse()
                .map_err(|_| format!("'{value}' in '{text}' is no number"))?;
            match name {
                "min" => gate.limits.min = Some(value),
                "max" => gate.limits.max = Some(value),
                other => return Err(format!("'{other}' in '{text}' is neither min nor max")),
            }
        }
        Ok(gate)
    }
}

/// `equalOpportunity,max=0.1,by=country`: a difference between the groups of a column, and what it may be. The column is the
/// rest of the text, whatever it holds.
#[derive(Clone, Debug, PartialEq)]
pub struct DisparityGate {
    /// The difference.
    pub disparity: Disparity,
    /// At most this.
    pub max: Option<f64>,
    /// The column.
    pub by: String,
}

impl DisparityGate {
    /// As reports have it.
    pub fn name(&self) -> String {
        format!("{} by {}", self.disparity, self.by)
    }

    /// What it has to reach.
    pub fn limits(&self) -> Limits {
        Limits {
            min: None,
            max: self.max,
        }
    }
}

impl FromStr for DisparityGate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (before, by) = text
            .split_once(",by=")
            .filter(|(_, by)| !by.is_empty())
            .ok_or_else(|| format!("'{text}' does not end with by=COLUMN"))?;
        let (name, max) = match before.split_once(",max=") {
            Some((name, max)) => {
                let number: Result<f64, _> = max.parse();
                let number = number.map_err(|_| format!("'{max}' in '{text}' is no number"))?;
                (name, Some(number))
            }
            None => (before, None),
        };
        Ok(Self {
            disparity: name.parse()?,
            max,
            by: by.to_owned(),
        })
    }
}

/// A decision as reports have it.
pub fn verdict(decision: Decision) -> Verdict {
    match decision {
        Decision::Pass => Verdict::Pass,
        Decision::Inconclusive => Verdict::Inconclusive,
        Decision::Fail => Verdict::Fail,
    }
}

/// The metric in words: `rocAuc 0.764 [0.751, 0.777] on origin = 'JFK'`.
pub fn words(result: &MetricResult) -> String {
    let value = result.value.map_or_else(
        || " is not defined".to_owned(),
        |value| format!(" {value:.4}"),
    );
    let interval = result
        .interval
        .map(|[lower, upper]| format!(" [{lower:.4}, {upper:.4}]"))
        .unwrap_or_default();
    let segment = result
        .segment
        .as_ref()
        .map(|segment| format!(" on {segment}"))
        .unwrap_or_default();
    format!(
        "{}{value}{interval}{segment} ({} rows)",
        result.name, result.rows
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_asked_for_is_found_in_a_report_by_its_name() {
        let gate = |json| serde_json::from_value::<windlass_api::MetricGate>(json).expect("one");
        for (json, name) in [
            (json!({"name": "rocAuc", "min": "0.6"}), "rocAuc"),
            (
                json!({"name": "pinball", "quantile": "0.90"}),
                "pinball@0.9",
            ),
            (
                json!({"name": "pinball", "quantile": "0.025"}),
                "pinball@0.025",
            ),
            (json!({"name": "ndcg", "places": 10}), "ndcg@10"),
        ] {
            let asked = gate(json).as_reported();
            let judged: Gate = asked.parse().expect("a gate");
            assert_eq!(
                (asked.as_str(), judged.metric.to_string()),
                (name, asked.clone())
            );
        }
        let asked: windlass_api::DisparityGate =
            serde_json::from_value(json!({"name": "equalOpportunity", "by": "land, region"}))
                .expect("one");
        let judged: DisparityGate = "equalOpportunity,by=land, region".parse().expect("one");
        assert_eq!(asked.as_reported(), judged.name());
    }

    #[test]
    fn a_gate_is_read_as_it_is_written() {
        let gate: Gate = "pinball@0.9,min=0.1,max=0.8".parse().expect("a gate");
        assert_eq!(gate.metric, Metric::Pinball(900));
        assert_eq!((gate.limits.min, gate.limits.max), (Some(0.1), Some(0.8)));
        for text in ["auc", "rocAuc,most=1", "rocAuc,min", "rocAuc,min=x"] {
            assert!(text.parse::<Gate>().is_err(), "{text}");
        }
        let gate: DisparityGate = "equalOpportunity,max=0.1,by=land, region"
            .parse()
            .expect("one");
        assert_eq!((gate.max, gate.by.as_str()), (Some(0.1), "land, region"));
        assert_eq!(gate.name(), "equalOpportunity by land, region");
        for text in [
            "equalOpportunity",
            "parity,by=x",
            "equalOpportunity,max=x,by=y",
            "equalisedOdds,by=",
        ] {
            assert!(text.parse::<DisparityGate>().is_err(), "{text}");
        }
    }
}
