//! Parts of the rows by themselves.

use std::fmt::Write as _;

use windlass_api::agent::WindowVerdict;

use super::super::results::Segment;
use super::super::saying;
use super::{Set, Table, distance, none, shown, table, written};
use crate::page::number::count;

/// How many are told, at most.
const TOLD: usize = 200;
/// How many columns of each.
const COLUMNS: usize = 5;

/// The segments, those first that ask for something.
pub fn section(segments: &[Segment]) -> String {
    if segments.is_empty() {
        return "<p>None were asked for.</p>\n".to_owned();
    }
    let mut ordered: Vec<&Segment> = segments.iter().collect();
    ordered.sort_by_key(|segment| weight(segment.verdict));
    let rows: Vec<Vec<String>> = ordered.iter().take(TOLD).map(|one| row(one)).collect();
    let mut page = table(&Table {
        caption: "The verdict on each segment, by the rule of the whole window",
        class: "",
        columns: &[
            ("Segment", Set::Text),
            ("Verdict", Set::Word),
            ("Rows, reference → window", Set::Word),
            ("Columns that drifted", Set::Text),
            ("Performance (interval)", Set::Text),
            ("Why", Set::Text),
        ],
        rows: &rows,
    });
    let more = segments.len().saturating_sub(TOLD);
    if more > 0 {
        let more = saying::counted(more as u64, "more segment");
        let _ = writeln!(page, "<p>{more}: in <code>report.json</code>.</p>");
    }
    page
}

/// Where it stands: what asks for something first.
const fn weight(verdict: WindowVerdict) -> u8 {
    match verdict {
        WindowVerdict::DataBroken => 0,
        WindowVerdict::Failed => 1,
        WindowVerdict::Drifted => 2,
        WindowVerdict::Drifting => 3,
        WindowVerdict::NotEnoughData => 4,
        WindowVerdict::Healthy => 5,
    }
}

fn row(segment: &Segment) -> Vec<String> {
    let [reference, window] = segment.rows;
    let performance = segment.performance.as_ref().map(|one| {
        let value = saying::metric(one.value, one.interval);
        let fallen = if one.fallen { ", fallen" } else { "" };
        format!("{} {value}{fallen}", shown(&one.metric))
    });
    vec![
        format!("<code>{}</code>", shown(&segment.segment)),
        saying::verdict(segment.verdict).to_owned(),
        format!("{} → {}", count(reference), count(window)),
        columns(segment),
        performance.unwrap_or_else(none),
        written(&segment.message),
    ]
}

fn columns(segment: &Segment) -> String {
    let drifted = segment.columns.iter().filter(|column| column.drifted);
    let many = drifted.clone().count();
    if segment.columns.is_empty() {
        return none();
    }
    let mut words = saying::drifted(&segment.columns);
    for (at, column) in drifted.take(COLUMNS).enumerate() {
        words.push_str(if at == 0 { ": " } else { ", " });
        let _ = write!(
            words,
            "<bdi>{}</bdi> ({}; {})",
            shown(&column.column),
            written(&column.moved),
            distance(column)
        );
    }
    if many > COLUMNS {
        let _ = write!(words, " and {} more", many - COLUMNS);
    }
    words
}
