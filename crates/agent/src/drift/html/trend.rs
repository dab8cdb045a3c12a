//! Window by window: the verdicts, the columns that matter, the performance.
//!
//! ```text
//!   verdicts  [H][H][N][d][D]        a letter a window, the newest at the right
//!
//!   temp           ● 7.9             a line a column; filled where it drifted; the stroke goes down to what it is at
//!   ---------------│---- 0.2         least; the dashed line is the threshold of this window
//!    ○──○      ○───┘
//! ```
//!
//! Windows stand side by side, whatever time lies between them. Where a window knows nothing of a column, or measured it by
//! another distance, the line is broken.

mod panel;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use windlass_api::agent::WindowVerdict;

use self::panel::{Panel, Point};
use super::super::results::{ColumnResult, Results};
use super::super::saying;
use super::{Set, Table, none, shown, table};
use crate::page::escape;
use crate::page::number::count;

/// How many windows before this one are shown.
const WINDOWS: usize = 60;
/// How many columns have a line.
const COLUMNS: usize = 10;
/// Of the strip of verdicts, in its own units.
const WIDTH: f64 = 720.0;
const BOX: f64 = 24.0;

/// What there is to see over time.
pub fn section(results: &Results, history: &[Results]) -> String {
    let newest = &history[history.len().saturating_sub(WINDOWS)..];
    let windows: Vec<&Results> = newest.iter().chain([results]).collect();
    if newest.is_empty() {
        return "<p>No results of earlier windows lie beside these.</p>\n".to_owned();
    }
    let mut page = strip(&windows);
    page.push_str("<div class=\"pairs\">\n");
    for (at, panel) in panels(&windows).iter().enumerate() {
        page.push_str(&panel.figure(&format!("t{at}"), &windows));
    }
    page.push_str("</div>\n");
    page.push_str(&listed(&windows));
    page
}

/// The letter that stands for a verdict.
const fn letter(verdict: WindowVerdict) -> &'static str {
    match verdict {
        WindowVerdict::Healthy => "H",
        WindowVerdict::Drifting => "d",
        WindowVerdict::Drifted => "D",
        WindowVerdict::NotEnoughData => "N",
        WindowVerdict::DataBroken => "B",
        WindowVerdict::Failed => "F",
    }
}

/// When a window was, in a word.
fn when(window: &Results) -> String {
    match window.window.end {
        Some(end) => saying::moment(end),
        None => "this window".to_owned(),
    }
}

fn strip(windows: &[&Results]) -> String {
    let all: f64 = windows.iter().map(|_| 1.0).sum();
    let wide = BOX.min(WIDTH / all);
    let mut page = format!(
        "<h3>Verdicts</h3>\n<svg class=\"strip\" viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"Verdicts of {} windows, the newest last; the table below has them\">\n",
        BOX + 18.0,
        windows.len()
    );
    let mut left = 0.0;
    for window in windows {
        let verdict = saying::verdict(window.verdict);
        let _ = writeln!(
            page,
            "<g><title>{}: {verdict}</title><rect class=\"{verdict}\" x=\"{:.1}\" y=\"1\" width=\"{:.1}\" height=\"{}\"/><text class=\"letter {verdict}\" x=\"{:.1}\" y=\"17\">{}</text></g>",
            when(window),
            left + 0.5,
            wide - 1.0,
            BOX - 2.0,
            left + wide / 2.0,
            letter(window.verdict)
        );
        left += wide;
    }
    let (first, last) = ends(windows);
    let _ = write!(
        page,
        "<text class=\"faint\" x=\"0\" y=\"{}\">{first} to {last}</text>\n</svg>\n<p class=\"legend\">",
        BOX + 14.0
    );
    let used: BTreeMap<&str, &str> = windows
        .iter()
        .map(|window| (letter(window.verdict), saying::verdict(window.verdict)))
        .collect();
    let words: Vec<String> = used
        .into_iter()
        .map(|(letter, verdict)| format!("{letter}: {verdict}"))
        .collect();
    let _ = writeln!(
        page,
        "The newest window is at the right. {}.</p>",
        words.join(", ")
    );
    page
}

/// When the first and the last window ended.
fn ends(windows: &[&Results]) -> (String, String) {
    let of = |window: Option<&&Results>| window.map(|window| when(window)).unwrap_or_default();
    (of(windows.first()), of(windows.last()))
}

/// A line for each metric and for each column that matters.
fn panels(windows: &[&Results]) -> Vec<Panel> {
    let mut panels = measured(windows);
    panels.extend(expected(windows));
    let now = windows.last().map_or(&[][..], |window| &window.columns);
    let of_windows: Vec<BTreeMap<&str, &ColumnResult>> = windows
        .iter()
        .map(|window| {
            let columns = window.columns.iter();
            columns
                .map(|column| (column.column.as_str(), column))
                .collect()
        })
        .collect();
    for name in matter(windows, now) {
        // The newest that knows it says by what distance, and what that has to pass.
        let newest = of_windows
            .iter()
            .rev()
            .find_map(|columns| columns.get(name));
        let Some(newest) = newest else {
            continue;
        };
        let point = |column: &&ColumnResult| Point {
            value: column.value,
            range: [column.lower, column.value],
            filled: column.drifted,
        };
        let points = of_windows.iter().map(|columns| {
            let column = columns.get(name)?;
            (column.method == newest.method).then(|| point(column))
        });
        panels.push(Panel {
            name: name.to_owned(),
            what: newest.method.title().to_owned(),
            points: points.collect(),
            limit: Some(newest.threshold),
        });
    }
    panels
}

/// The columns that matter: those that drifted now, those that drifted in most windows before, those that rank first.
fn matter<'a>(windows: &[&'a Results], now: &[ColumnResult]) -> Vec<&'a str> {
    let ranks: BTreeMap<&str, usize> = now
        .iter()
        .enumerate()
        .map(|(rank, column)| (column.column.as_str(), rank))
        .collect();
    let mut times: BTreeMap<&'a str, usize> = BTreeMap::new();
    for window in windows {
        for column in &window.columns {
            *times.entry(&column.column).or_default() += usize::from(column.drifted);
        }
    }
    let mut names: Vec<&'a str> = times.keys().copied().collect();
    names.sort_by_key(|name| {
        let rank = ranks.get(name).copied();
        let drifts = rank.is_some_and(|rank| now[rank].drifted);
        let times = times.get(name).copied().unwrap_or(0);
        let seldom = if drifts { 0 } else { usize::MAX - times };
        (!drifts, seldom, rank.unwrap_or(usize::MAX))
    });
    names.truncate(COLUMNS);
    names
}

/// Metrics on labelled rows.
fn measured(windows: &[&Results]) -> Vec<Panel> {
    let newest = windows.iter().rev();
    let metric = newest
        .filter_map(|window| window.performance.as_ref())
        .map(|performance| performance.metric.as_str())
        .next();
    let Some(metric) = metric else {
        return Vec::new();
    };
    let point = |window: &&Results| {
        let performance = window.performance.as_ref()?;
        let value = performance.value?;
        (performance.metric == metric).then(|| Point {
            value,
            range: performance.interval.unwrap_or([value, value]),
            filled: performance.fallen,
        })
    };
    vec![Panel {
        name: metric.to_owned(),
        what: "with labels; filled where it has fallen".to_owned(),
        points: windows.iter().map(point).collect(),
        limit: None,
    }]
}

/// Metrics as they are to be expected.
fn expected(windows: &[&Results]) -> Vec<Panel> {
    let now = windows.last().map_or(&[][..], |window| &window.expected);
    let panel = |metric: &str| {
        let point = |window: &&Results| {
            let mut all = window.expected.iter();
            let expected = all.find(|one| one.metric == metric)?;
            Some(Point {
                value: expected.value,
                range: expected.interval,
                filled: false,
            })
        };
        Panel {
            name: metric.to_owned(),
            what: "expected without labels".to_owned(),
            points: windows.iter().map(point).collect(),
            limit: None,
        }
    };
    now.iter()
        .take(COLUMNS)
        .map(|one| panel(&one.metric))
        .collect()
}

/// The windows in a table, the newest first.
fn listed(windows: &[&Results]) -> String {
    let row = |window: &&Results| {
        let drifted = window.columns.iter().filter(|column| column.drifted);
        let names: Vec<String> = drifted
            .clone()
            .take(3)
            .map(|column| format!("<bdi>{}</bdi>", shown(&column.column)))
            .collect();
        let many = drifted.count();
        let mut columns = names.join(", ");
        if many > names.len() {
            let _ = write!(columns, " and {} more", many - names.len());
        }
        vec![
            when(window),
            saying::verdict(window.verdict).to_owned(),
            count(window.window.rows),
            if many == 0 { none() } else { columns },
            window
                .performance
                .as_ref()
                .map_or_else(none, |one| escape(&saying::metric(one.value, one.interval))),
        ]
    };
    let rows: Vec<Vec<String>> = windows.iter().rev().map(row).collect();
    table(&Table {
        caption: "The windows, the newest first",
        class: "",
        columns: &[
            ("End", Set::Word),
            ("Verdict", Set::Word),
            ("Rows", Set::Number),
            ("Columns that drifted", Set::Text),
            ("Performance (interval)", Set::Word),
        ],
        rows: &rows,
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{column, results};
    use super::*;

    fn window(columns: &[(&str, bool)]) -> Results {
        let columns = columns.iter().map(|(name, drifted)| ColumnResult {
            drifted: *drifted,
            ..column(name)
        });
        Results {
            columns: columns.collect(),
            ..results()
        }
    }

    #[test]
    fn columns_matter_that_drift_now_then_that_drifted_often_then_by_rank() {
        let history = [
            window(&[("once", true), ("often", true), ("x", false)]),
            window(&[("often", true), ("gone", false), ("x", false)]),
        ];
        let now = window(&[
            ("now", true),
            ("x", false),
            ("once", false),
            ("often", false),
        ]);
        let windows: Vec<&Results> = history.iter().chain([&now]).collect();
        let names = matter(&windows, &now.columns);
        assert_eq!(names, ["now", "often", "once", "x", "gone"]);
    }

    #[test]
    fn a_line_is_broken_where_a_window_knows_nothing_comparable() {
        let mut history = [window(&[("a", false)]), window(&[]), window(&[("a", true)])];
        history[2].columns[0].method = windlass_statistics::drift::method::Method::Hellinger;
        let now = window(&[("a", true)]);
        let windows: Vec<&Results> = history.iter().chain([&now]).collect();
        let panels: Vec<Panel> = panels(&windows)
            .into_iter()
            .filter(|panel| panel.name == "a")
            .collect();
        let known: Vec<bool> = panels[0].points.iter().map(Option::is_some).collect();
        assert_eq!(known, [true, false, false, true]);
    }

    #[test]
    fn no_more_windows_are_shown_than_there_is_room_for() {
        let history = vec![window(&[("a", false)]); 200];
        let page = section(&window(&[("a", true)]), &history);
        assert_eq!(page.matches("<rect").count(), WINDOWS + 1);
        assert!(section(&window(&[]), &[]).contains("No results of earlier windows"));
    }
}
