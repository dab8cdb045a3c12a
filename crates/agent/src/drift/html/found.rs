//! What is wrong with the data, or worth telling of them.

use std::fmt::Write as _;

use super::super::results::Found;
use super::super::saying;
use super::{Set, Table, none, table, written};

/// How many are told, at most.
const TOLD: usize = 200;

/// The findings, what breaks the data first.
pub fn section(findings: &[Found]) -> String {
    if findings.is_empty() {
        return "<p>Nothing was found to be wrong with them.</p>\n".to_owned();
    }
    let breaks = findings.iter().filter(|found| found.breaks).count();
    let mut page = String::new();
    if breaks > 0 {
        page.push_str("<p class=\"warning\"><strong>A person has to look at the data.</strong> What breaks them makes columns incomparable with what they were: it is no drift, and nothing should be trained on it.</p>\n");
    }
    let mut ordered: Vec<&Found> = findings.iter().collect();
    ordered.sort_by_key(|found| !found.breaks);
    let rows: Vec<Vec<String>> = ordered.iter().take(TOLD).map(|found| row(found)).collect();
    page.push_str(&table(&Table {
        caption: "Findings about the data",
        class: "",
        columns: &[
            ("Finding", Set::Text),
            ("What it is", Set::Word),
            ("p-value", Set::Number),
        ],
        rows: &rows,
    }));
    let more = findings.len().saturating_sub(TOLD);
    if more > 0 {
        let more = saying::counted(more as u64, "more finding");
        let _ = writeln!(page, "<p>{more}: in <code>report.json</code>.</p>");
    }
    page
}

fn row(found: &Found) -> Vec<String> {
    let p_value = found.finding.as_ref().map(|finding| finding.p_value);
    vec![
        written(&found.words),
        if found.breaks {
            "<strong>breaks the data</strong>"
        } else {
            "worth knowing"
        }
        .to_owned(),
        p_value.map_or_else(none, |p| saying::p_value(p).replace('<', "&lt;")),
    ]
}
