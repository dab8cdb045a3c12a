//! All columns in a table, ranked: those that drifted first.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::super::results::ColumnResult;
use super::super::saying;
use super::{RANKED, Set, Table, distance, named, none, table, written};

/// How many times its threshold the end of a bar is.
const END: f64 = 4.0;
/// Where a bar begins and ends, in its own units; an arrow at its end reaches further.
const FROM: f64 = 2.0;
const TO: f64 = 112.0;

/// The table's beginning, or all of it. `drawn` has the places of the columns that are drawn below.
pub fn section(columns: &[ColumnResult], drawn: &[usize]) -> String {
    if columns.is_empty() {
        return "<p>No columns were compared.</p>\n".to_owned();
    }
    let first = of(columns, 0..columns.len().min(RANKED), drawn);
    let mut page = format!("<p>{}.</p>\n{LEGEND}{first}", saying::drifted(columns));
    let more = columns.len().saturating_sub(RANKED);
    if more > 0 {
        let _ = writeln!(
            page,
            "<p>{} follow in <a href=\"#rest\">a table at the end</a>.</p>",
            saying::counted(more as u64, "more column")
        );
    }
    page
}

/// What of the table does not stand in its place.
pub fn rest(columns: &[ColumnResult], drawn: &[usize]) -> Option<String> {
    (columns.len() > RANKED).then(|| of(columns, RANKED..columns.len(), drawn))
}

const LEGEND: &str = "<p class=\"legend\">A bar is the distance, from 0 to four times its threshold, with an arrow where it is more. It is filled where the column drifted. The dashed line is the threshold, the upright stroke what the distance is at least.</p>\n";

fn of(columns: &[ColumnResult], places: std::ops::Range<usize>, drawn: &[usize]) -> String {
    let drawn: BTreeSet<usize> = drawn.iter().copied().collect();
    let rows: Vec<Vec<String>> = places
        .filter_map(|at| columns.get(at).map(|column| (at, column)))
        .map(|(at, column)| row(column, drawn.contains(&at).then_some(at)))
        .collect();
    table(&Table {
        caption: "Columns, ranked by how far beyond its threshold each is",
        class: "",
        columns: &[
            ("Column", Set::Text),
            ("Drifted", Set::Word),
            ("What moved", Set::Text),
            ("Distance", Set::Number),
            ("At least", Set::Number),
            ("Threshold", Set::Number),
            ("p-value", Set::Number),
            ("Mean shift", Set::Number),
            ("No value", Set::Word),
        ],
        rows: &rows,
    })
}

fn row(column: &ColumnResult, drawn: Option<usize>) -> Vec<String> {
    let name = match drawn {
        Some(at) => format!("<a href=\"#c{at}\">{}</a>", named(column)),
        None => named(column),
    };
    vec![
        name,
        if column.drifted {
            "<strong>drifted</strong>"
        } else {
            "no"
        }
        .to_owned(),
        written(&column.moved),
        format!("{}{}", distance(column), bar(column)),
        saying::distance(column.lower),
        saying::chosen(column.threshold),
        saying::p_value(column.p_value).replace('<', "&lt;"),
        saying::mean_shift(column).unwrap_or_else(none),
        saying::nulls(column).unwrap_or_else(none),
    ]
}

/// The distance with its bound and its threshold; empty where there is none. The cells beside it have the numbers.
fn bar(column: &ColumnResult) -> String {
    let times = |value: f64| value / column.threshold;
    let (value, lower) = (times(column.value), times(column.lower));
    if !value.is_finite() || column.threshold <= 0.0 {
        return String::new();
    }
    let place = |times: f64| FROM + (times / END).clamp(0.0, 1.0) * (TO - FROM);
    let (width, threshold) = (place(value) - FROM, place(1.0));
    let class = if column.drifted { "solid" } else { "hollow" };
    let mut svg = format!(
        "<svg class=\"bar\" viewBox=\"0 0 120 14\" aria-hidden=\"true\"><path class=\"{class}\" d=\"M{FROM} 4h{width:.1}v6h-{width:.1}z\"/>"
    );
    if value > END {
        let _ = write!(svg, "<path class=\"{class}\" d=\"M{TO} 2l6 5l-6 5z\"/>");
    }
    if lower > 0.0 {
        let _ = write!(
            svg,
            "<path class=\"upright\" d=\"M{:.1} 1v12\"/>",
            place(lower)
        );
    }
    let _ = write!(
        svg,
        "<path class=\"threshold\" d=\"M{threshold:.1} 0v14\"/></svg>"
    );
    svg
}
