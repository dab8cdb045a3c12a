//! How good the model is: by labels, and by what its own scores let one expect.

use std::fmt::Write as _;

use super::super::results::{Expected, Results};
use super::super::saying;
use super::{Set, Table, none, shown, table};
use crate::page::number::count;

/// Where for more than this share of rows nothing is known of their scores, it is said.
const NOTABLE: f64 = 0.05;

/// Both, and what each means.
pub fn section(results: &Results) -> String {
    format!("{}{}", measured(results), expected(results))
}

fn measured(results: &Results) -> String {
    let Some(performance) = &results.performance else {
        return "<h3>With labels</h3>\n<p>No labels were given, or none could be looked at.</p>\n"
            .to_owned();
    };
    let share = saying::float(performance.rows) / saying::float(results.window.rows).max(1.0);
    let row = vec![
        shown(&performance.metric),
        saying::metric(performance.value, performance.interval),
        count(performance.rows),
        saying::percent(share),
        saying::fallen(performance).to_owned(),
    ];
    let mut page = format!(
        "<h3>With labels</h3>\n{}",
        table(&Table {
            caption: "The metric on the rows whose label is known",
            class: "",
            columns: &[
                ("Metric", Set::Word),
                ("Value (interval)", Set::Word),
                ("Labelled rows", Set::Number),
                ("Of all rows", Set::Number),
                ("Verdict", Set::Text),
            ],
            rows: &[row],
        })
    );
    if let Some(words) = saying::contradiction(results) {
        let _ = writeln!(page, "<p class=\"warning\">{words}</p>");
    }
    page
}

fn expected(results: &Results) -> String {
    if results.expected.is_empty() {
        return "<h3>Without labels</h3>\n<p>Nothing can be expected: the reference does not say what the model's scores mean, or the answers are no probabilities.</p>\n".to_owned();
    }
    let row = |expected: &Expected| {
        vec![
            shown(&expected.metric),
            saying::metric(Some(expected.value), Some(expected.interval)),
            expected
                .reference
                .filter(|value| value.is_finite())
                .map_or_else(none, |value| format!("{value:.3}")),
            saying::percent(expected.uncovered),
        ]
    };
    let rows: Vec<Vec<String>> = results.expected.iter().map(row).collect();
    let uncovered = results.expected.iter().map(|one| one.uncovered);
    let uncovered = uncovered.fold(0.0, f64::max);
    let caution = if uncovered > NOTABLE {
        format!(
            "<p class=\"warning\">Up to {} of the rows have scores that the reference has none of: of them nothing is known, and what is expected here may be far off.</p>\n",
            saying::percent(uncovered)
        )
    } else {
        String::new()
    };
    format!(
        "<h3>Without labels</h3>\n{}{caution}{MEANING}",
        table(&Table {
            caption: "What the model's own scores let one expect",
            class: "",
            columns: &[
                ("Metric", Set::Word),
                ("Expected (interval)", Set::Word),
                ("On the reference", Set::Number),
                ("Rows of unknown scores", Set::Number),
            ],
            rows: &rows,
        })
    )
}

const MEANING: &str = "<p><strong>What it is.</strong> On the reference it is known how often each score turned out to be right. If scores still mean that, the window's own scores say how good the model is to be expected on it (CBPE, confidence-based performance estimation), before any label has come. The interval is where the metric of all labels should then lie.</p>\n<p><strong>What it cannot see.</strong> It follows which rows come, and not what comes of them. Where rows like those of before now have other outcomes, scores mean something else than they did, and what is expected stays as it was while the model gets worse. Only labels show that.</p>\n";
