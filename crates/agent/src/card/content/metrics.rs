//! How good it is: metrics over all rows and by segment, where it does worst, and how differently groups are treated.

use std::collections::BTreeMap;

use serde_json::Value;
use windlass_api::agent::{MetricResult, Verdict};
use windlass_api::{Decimal, MetricGate, MetricStatus};

use super::words::{interval, number, number_or};
use super::{Record, paragraph};
use crate::card::document::{Block, Line, Section, Table, code, strong, text};
use crate::card::plot::{Limit, Plot, Row};
use crate::card::report::{Content, Report};
use crate::lineage::verdict;

/// Metrics, worst slices and, where the report has it, fairness.
pub fn sections(record: &Record<'_>) -> Vec<Section> {
    let mut sections = vec![metrics(record), slices(record)];
    if let Report::Read { content, .. } = record.report
        && let Some(fairness) = content.fairness.as_ref().filter(|one| !one.is_null())
    {
        sections.push(Section::new("fairness", "Fairness", differences(fairness)));
    }
    sections
}

/// A metric on a set of rows.
#[derive(Clone, Debug, PartialEq)]
struct Measured {
    name: String,
    segment: Option<String>,
    rows: String,
    value: Option<f64>,
    interval: Option<[f64; 2]>,
    champion: Option<f64>,
    verdict: Option<Verdict>,
}

impl From<&MetricResult> for Measured {
    fn from(result: &MetricResult) -> Self {
        Self {
            name: result.name.clone(),
            segment: result.segment.clone(),
            rows: result.rows.to_string(),
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
            rows: status.rows.to_string(),
            value: number(&status.value),
            interval: bounds.map(|(lower, upper)| [lower, upper]),
            champion: number(&status.champion),
            verdict: status.verdict,
        }
    }
}

/// All that was measured: the full report has it all, the version's status what fits.
fn measured(record: &Record<'_>) -> Vec<Measured> {
    if let Report::Read { content, .. } = record.report
        && !content.metrics.is_empty()
    {
        return content.metrics.iter().map(Measured::from).collect();
    }
    let status = record.version.status.iter();
    let found = status.filter_map(|status| status.validation.as_ref());
    found
        .flat_map(|found| &found.metrics)
        .map(Measured::from)
        .collect()
}

fn metrics(record: &Record<'_>) -> Section {
    let measured = measured(record);
    if measured.is_empty() {
        let nothing = paragraph("Nothing was measured: no validation has judged it.");
        return Section::new("metrics", "Metrics", vec![nothing]);
    }
    let mut blocks = vec![paragraph(source_words(record))];
    let mut by_name: BTreeMap<&str, Vec<&Measured>> = BTreeMap::new();
    let mut names = Vec::new();
    for one in &measured {
        let of_name = by_name.entry(&one.name).or_default();
        if of_name.is_empty() {
            names.push(one.name.as_str());
        }
        of_name.push(one);
    }
    for (at, name) in names.into_iter().enumerate() {
        blocks.push(Block::Plot(plot(record, at, name, &by_name[name])));
        blocks.push(table(record, name, &by_name[name]));
    }
    Section::new("metrics", "Metrics", blocks)
}

fn source_words(record: &Record<'_>) -> String {
    let marks = "In each plot a dot is this version with its interval as a whisker, a hollow diamond the champion on the same rows, and a dashed line a gate's limit; the table after it has the numbers.";
    match record.report {
        Report::Read {
            content,
            is_recorded,
        } => {
            let confidence = content.confidence.map_or(String::new(), |one| {
                format!(", its intervals at a confidence of {one}")
            });
            let recorded = if *is_recorded {
                "whose digest is the one that the version records"
            } else {
                "which the version does not name, so that nothing could be held against it"
            };
            let few = content.min_samples.map_or(String::new(), |few| {
                format!(" Segments of fewer than {few} rows are not judged.")
            });
            let margin = content.margin.map_or(String::new(), |margin| {
                format!(" Against the champion it may be worse by {margin}.")
            });
            format!(
                "From the validation's full report, {recorded}{confidence}.{few}{margin} {marks}"
            )
        }
        Report::Unreadable(_) | Report::None => format!("From the version's record. {marks}"),
    }
}

fn label(one: &Measured) -> &str {
    one.segment.as_deref().unwrap_or("all rows")
}

fn gate<'a>(record: &Record<'a>, name: &str) -> Option<&'a MetricGate> {
    let validation = record.version.spec.validation.as_ref()?;
    validation
        .metrics
        .iter()
        .find(|gate| gate.name.as_str() == name)
}

fn limits(gate: Option<&MetricGate>) -> Vec<Limit> {
    let limit = |name, limit: &Option<Decimal>| {
        let at = limit.as_ref()?.value().ok()?;
        Some(Limit { name, at })
    };
    gate.into_iter()
        .flat_map(|gate| [limit("min", &gate.min), limit("max", &gate.max)])
        .flatten()
        .collect()
}

fn plot(record: &Record<'_>, at: usize, name: &str, all: &[&Measured]) -> Plot {
    let limits = limits(gate(record, name));
    let mut description = format!("{name} on {} sets of rows, ", all.len());
    description
        .push_str("with its interval and the champion's value; the table after it has the numbers");
    Plot {
        id: format!("plot-{at}"),
        title: name.to_owned(),
        description,
        rows: all
            .iter()
            .map(|one| Row {
                label: label(one).to_owned(),
                value: one.value,
                interval: one.interval,
                champion: one.champion,
            })
            .collect(),
        limits,
    }
}

fn table(record: &Record<'_>, name: &str, all: &[&Measured]) -> Block {
    let limits: Vec<String> = limits(gate(record, name))
        .iter()
        .map(|limit| format!("{} {}", limit.name, limit.at))
        .collect();
    let asked = match limits.as_slice() {
        [] => "no limit is asked for".to_owned(),
        limits => format!("asked for: {}", limits.join(", ")),
    };
    let rows = all.iter().map(|one| {
        vec![
            text(label(one)),
            text(one.rows.as_str()),
            text(number_or(one.value, "not defined")),
            text(interval(one.interval)),
            text(number_or(one.champion, "none")),
            one.verdict
                .map_or_else(|| text("not judged"), |one| strong(verdict(one))),
        ]
    });
    Block::Table(Table {
        caption: format!("{name} over all rows and by segment; {asked}"),
        head: [
            "Rows of", "Number", "Value", "Interval", "Champion", "Verdict",
        ]
        .map(str::to_owned)
        .to_vec(),
        rows: rows.collect(),
    })
}

fn slices(record: &Record<'_>) -> Section {
    let blocks = match record.report {
        Report::Read { content, .. } => worst(content),
        Report::Unreadable(stored) => vec![
            paragraph(
                "The validation's full report names them; it could not be read from where this card was made. Give it with --report:",
            ),
            Block::Paragraph(code(stored.uri.0.as_str())),
        ],
        Report::None => vec![paragraph(
            "Nothing is known of it: the version names no full report of a validation.",
        )],
    };
    Section::new("worst-slices", "Where it does worst", blocks)
}

fn worst(content: &Content) -> Vec<Block> {
    if content.worst_slices.is_empty() {
        return vec![paragraph(
            "No value of a column, and no quarter of a column of numbers, was found on which it does worse than on the other rows.",
        )];
    }
    let rows = content.worst_slices.iter().map(|slice| {
        vec![
            code(slice.predicate.as_str()),
            text(slice.rows.to_string()),
            text(slice.of.as_str()),
            text(number(slice.loss)),
            text(number(slice.elsewhere)),
            text(interval(Some([slice.worse_by.lower, slice.worse_by.upper]))),
        ]
    });
    let head = [
        "Slice",
        "Rows",
        "Loss",
        "Mean on it",
        "Mean elsewhere",
        "Worse by",
    ];
    vec![
        paragraph(
            "Found unasked among the values of all columns, with a correction for how many were looked at. They decide nothing; they are where to look.",
        ),
        Block::Table(Table {
            caption: "Slices of the held-out rows on which the mean loss is higher than elsewhere"
                .to_owned(),
            head: head.map(str::to_owned).to_vec(),
            rows: rows.collect(),
        }),
    ]
}

/// Whatever the report says of groups: a list of things with fields is a table of them.
fn differences(fairness: &Value) -> Vec<Block> {
    let items = match fairness {
        Value::Array(items) => items.clone(),
        other => vec![other.clone()],
    };
    let mut head: Vec<String> = Vec::new();
    for field in items
        .iter()
        .filter_map(Value::as_object)
        .flat_map(serde_json::Map::keys)
    {
        if !head.contains(field) {
            head.push(field.clone());
        }
    }
    if head.is_empty() {
        return vec![paragraph(plain(fairness))];
    }
    let row = |item: &Value| -> Vec<Line> {
        let cells = head
            .iter()
            .map(|field| item.get(field).map_or(String::new(), plain));
        cells.map(text).collect()
    };
    let rows = items.iter().map(row).collect();
    vec![Block::Table(Table {
        caption: "How differently groups are treated, as the validation's report has it".to_owned(),
        head: head.clone(),
        rows,
    })]
}

/// A value of JSON as a person reads it.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(value) => value.to_string(),
        Value::Number(value) => match value.as_f64() {
            Some(value) if value.fract() != 0.0 => number(value),
            Some(_) | None => value.to_string(),
        },
        Value::String(value) => value.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| format!("{name} {}", plain(value)))
            .collect::<Vec<_>>()
            .join(", "),
    }
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

    #[test]
    fn what_a_report_says_of_groups_is_a_table_of_it() {
        let blocks = differences(&json!([
            {"name": "demographicParity", "column": "plan", "value": 0.123_456, "interval": {"lower": 0.1, "upper": 0.2}},
            {"name": "equalOpportunity", "column": "plan", "groups": 3},
        ]));
        let [Block::Table(table)] = blocks.as_slice() else {
            panic!("a table: {blocks:?}")
        };
        let mut head = table.head.clone();
        head.sort();
        assert_eq!(head, ["column", "groups", "interval", "name", "value"]);
        let value = table
            .head
            .iter()
            .position(|name| name == "value")
            .expect("there");
        assert_eq!(table.rows[0][value], text("0.1235"));
        assert_eq!(table.rows[1][value], text(""));
        let interval = table
            .head
            .iter()
            .position(|name| name == "interval")
            .expect("there");
        assert_eq!(table.rows[0][interval], text("lower 0.1000, upper 0.2000"));
    }
}
