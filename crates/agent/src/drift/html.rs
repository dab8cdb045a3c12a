//! The report of a window as one HTML page: readable by itself, on paper, aloud and in the dark.
//!
//! ```text
//!   Results ────┬──> ranked (all columns) ─────────┐
//!               ├──> distributions (paired bars) ──┤
//!               ├──> found, performance, segments ─┼──> html
//!   history ────┴──> trend (window by window) ─────┤
//!                    glossary ─────────────────────┘
//! ```
//!
//! The same results give the same bytes. The page is HTML that can be read as XML. Shapes, fillings and words tell things
//! apart, never a colour alone. All text of the data goes through [`shown`] or [`written`]: names of columns and levels are
//! whatever a client sent.
//!
//! Absent on purpose: scripts, anything that is fetched, and anything folded away, which paper would not show.

mod distributions;
mod found;
mod glossary;
mod performance;
mod ranked;
mod segments;
mod trend;

use std::fmt::Write as _;

use super::results::{ColumnResult, Judged, Results};
use super::saying;
use crate::page::number::count;
use crate::page::{escape, head};

/// How many columns are drawn that drifted, at most; the table has all.
const DRAWN: usize = 100;
/// How many others.
const OTHERS_DRAWN: usize = 20;
/// Up to so many columns the table stands whole in its place; of more, the rest comes last.
const RANKED: usize = 60;
/// A name of the data is cut to so many letters.
const NAME: usize = 160;
/// A sentence.
const SENTENCE: usize = 4000;

/// What of a report no other page has.
const STYLE: &str = "
body { max-width: 72rem; }
small { color: var(--faint); font-weight: 400; }
table { font-size: 0.95rem; }
td.number, td.word, th.number, th.word { overflow-wrap: normal; }
caption p { margin: 0.2rem 0; }
.facts { width: auto; min-width: 40%; }
.verdict { display: inline-block; font-size: 2.2rem; font-weight: 700; line-height: 1.2; margin: 0.5rem 0; padding: 0.3rem 1rem; border: 0.2rem solid var(--ink); }
.verdict.Healthy { border-style: solid; border-color: var(--mark); }
.verdict.Drifting { border-style: dashed; border-color: var(--other); }
.verdict.Drifted, .verdict.Failed, .verdict.DataBroken { border-width: 0.2rem 0.2rem 0.2rem 0.9rem; border-color: var(--limit); }
.verdict.NotEnoughData { border-style: dotted; }
.why { font-size: 1.2rem; }
svg { display: block; height: auto; fill: var(--ink); font: 12px system-ui, sans-serif; }
.bar { width: 7.5rem; margin: 0.2rem 0 0 auto; }
.key { display: inline-block; width: 2.2rem; vertical-align: middle; }
.hollow { fill: none; stroke: var(--other); stroke-width: 1.2; }
.hollow circle { fill: var(--paper); }
.solid { fill: var(--mark); stroke: var(--mark); stroke-width: 1.2; }
.line { fill: none; stroke: var(--mark); stroke-width: 1.2; }
.upright { fill: none; stroke: var(--ink); stroke-width: 2; }
.threshold { fill: none; stroke: var(--limit); stroke-width: 1.2; stroke-dasharray: 3 2; }
.end { text-anchor: end; }
.own { font-style: italic; }
.faint { fill: var(--faint); }
.pairs { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(22rem, 100%), 1fr)); gap: 0.5rem 2rem; }
.pairs > section { min-width: 0; break-inside: avoid; }
.pairs h3 { margin: 1rem 0 0; font-size: 1rem; }
.pairs p { margin: 0.2rem 0; font-size: 0.9rem; }
.pairs svg { width: 100%; max-width: 30rem; }
.strip { width: 100%; max-width: 60rem; }
.strip rect { fill: var(--paper); stroke: var(--ink); }
.strip rect.Drifted, .strip rect.Failed, .strip rect.DataBroken { fill: var(--ink); }
.strip rect.Drifting { stroke-dasharray: 3 2; }
.strip rect.NotEnoughData { stroke: var(--rule); }
.strip .letter { text-anchor: middle; font-weight: 600; }
.strip .Drifted, .strip .Failed, .strip .DataBroken { fill: var(--paper); }
dt { font-weight: 600; margin-top: 0.6rem; }
dd { margin: 0 0 0 1.5rem; }
@media print { .pairs { grid-template-columns: 1fr 1fr; } table { font-size: 8pt; } th, td { padding: 0.15rem 0.3rem; } .bar { width: 2.4cm; } }
";

/// The page of a window, with the results of those before it, the oldest first; there may be none.
pub fn html(results: &Results, history: &[Results]) -> String {
    let verdict = saying::verdict(results.verdict);
    let title = match saying::span(&results.window) {
        Some(span) => format!("{verdict}: {}, {span}", cut(&results.window.name, NAME)),
        None => format!("{verdict}: {}", cut(&results.window.name, NAME)),
    };
    let mut page = head(&title, STYLE);
    let _ = write!(
        page,
        "<header>\n<h1>Drift report: <bdi>{}</bdi></h1>\n<p class=\"verdict {verdict}\">{verdict}</p>\n<p class=\"why\">{}</p>\n<p>{}</p>\n</header>\n",
        shown(&results.window.name),
        written(&results.message),
        saying::meaning(results.verdict),
    );
    let drawn = distributions::drawn(&results.columns);
    let mut sections = vec![
        ("compared", "What was compared", compared(results)),
        ("data", "The data", found::section(&results.findings)),
        (
            "columns",
            "Columns",
            ranked::section(&results.columns, &drawn),
        ),
        (
            "distributions",
            "Distributions",
            distributions::section(&results.columns, &drawn),
        ),
        ("time", "Over time", trend::section(results, history)),
        ("performance", "Performance", performance::section(results)),
        ("segments", "Segments", segments::section(&results.segments)),
        ("words", "What the words mean", glossary::section(results)),
    ];
    if let Some(rest) = ranked::rest(&results.columns, &drawn) {
        sections.push(("rest", "All other columns", rest));
    }
    page.push_str("<nav aria-label=\"Contents\">\n<ul>\n");
    for (id, heading, _) in &sections {
        let _ = writeln!(page, "<li><a href=\"#{id}\">{heading}</a></li>");
    }
    page.push_str("</ul>\n</nav>\n<main>\n");
    for (id, heading, body) in &sections {
        let _ = write!(
            page,
            "<section aria-labelledby=\"{id}\">\n<h2 id=\"{id}\">{heading}</h2>\n{body}</section>\n"
        );
    }
    let _ = write!(
        page,
        "</main>\n<footer>\n<p>Made of <code>report.json</code>, format {}, which has every number that is here and those that are not.</p>\n</footer>\n</body>\n</html>\n",
        results.format
    );
    page
}

/// Both data sets, and the rule.
fn compared(results: &Results) -> String {
    let sides = [&results.window, &results.reference];
    let of = |name: &str, cell: fn(&Judged) -> String| {
        let mut row = vec![name.to_owned()];
        row.extend(sides.map(cell));
        row
    };
    let mut rows = vec![
        of("Name", |side| format!("<bdi>{}</bdi>", shown(&side.name))),
        of("Time", |side| saying::span(side).unwrap_or_else(none)),
        of("Rows", |side| count(side.rows)),
        of("Worth in independent rows", |side| {
            escape(&independent(side))
        }),
    ];
    if sides.iter().any(|side| side.digest.is_some()) {
        rows.push(of("Digest", |side| match &side.digest {
            Some(digest) => format!("<code>{}</code>", shown(digest)),
            None => none(),
        }));
    }
    let mut page = table(&Table {
        caption: "The window, and the reference that it is compared with",
        class: "",
        columns: &[
            ("", Set::Text),
            ("Window", Set::Text),
            ("Reference", Set::Text),
        ],
        rows: &rows,
    });
    let settings = &results.settings;
    let fact = |name: &str, value: String| vec![name.to_owned(), value];
    let with = results.compared_with.iter();
    let with = with.map(|with| fact("The window is", written(&saying::compared_with(with))));
    let mut rows = with.collect::<Vec<_>>();
    rows.extend([
        fact(
            "A column drifts",
            format!(
                "when its distance lies above its threshold with a confidence of {}, and a test of both samples finds a difference; of the columns that it names no more than {} are wrong on average",
                saying::chosen_percent(settings.confidence),
                saying::chosen_percent(settings.false_discovery_rate)
            ),
        ),
        fact(
            "The window drifts",
            format!(
                "when {} of its columns do, or what is asked for of the predictions or the performance does not hold",
                saying::chosen_percent(settings.drifted_share)
            ),
        ),
        fact(
            "Nothing is said",
            format!(
                "of fewer than {} independent rows",
                count(settings.min_samples)
            ),
        ),
    ]);
    if let Some(unit) = &settings.unit {
        let unit = format!(
            "only from one <bdi>{}</bdi> to another: rows of the same one count as related",
            shown(unit)
        );
        rows.push(fact("Rows are independent", unit));
    }
    page.push_str(&table(&Table {
        caption: "The rule",
        class: "facts",
        columns: &[("", Set::Text), ("", Set::Text)],
        rows: &rows,
    }));
    page
}

fn independent(side: &Judged) -> String {
    if side.effective_rows.is_finite() {
        format!("{:.0}", side.effective_rows)
    } else {
        "not known".to_owned()
    }
}

/// How the cells of a column of a table are set.
#[derive(Clone, Copy)]
enum Set {
    /// Text that may be broken into lines.
    Text,
    /// Numbers, at the right and never broken.
    Number,
    /// A word, never broken.
    Word,
}

/// A table; its caption and its cells are HTML. The first cell of a row is its name.
struct Table<'a> {
    caption: &'a str,
    class: &'a str,
    /// Where none has a name, there is no head.
    columns: &'a [(&'a str, Set)],
    rows: &'a [Vec<String>],
}

fn table(table: &Table) -> String {
    let class = |set: Set| match set {
        Set::Text => "",
        Set::Number => " class=\"number\"",
        Set::Word => " class=\"word\"",
    };
    let mut page = format!(
        "<div class=\"table\" role=\"group\" aria-label=\"{0}\" tabindex=\"0\">\n<table class=\"{1}\">\n<caption>{0}</caption>\n",
        table.caption, table.class
    );
    if table.columns.iter().any(|(name, _)| !name.is_empty()) {
        page.push_str("<thead>\n<tr>");
        for (name, set) in table.columns {
            let tag = if name.is_empty() { "td" } else { "th" };
            let scope = if name.is_empty() {
                ""
            } else {
                " scope=\"col\""
            };
            let _ = write!(page, "<{tag}{scope}{}>{name}</{tag}>", class(*set));
        }
        page.push_str("</tr>\n</thead>\n");
    }
    page.push_str("<tbody>\n");
    for row in table.rows {
        page.push_str("<tr>");
        for (at, (cell, (_, set))) in row.iter().zip(table.columns).enumerate() {
            let (tag, scope) = match at {
                0 => ("th", " scope=\"row\""),
                _ => ("td", ""),
            };
            let _ = write!(page, "<{tag}{scope}{}>{cell}</{tag}>", class(*set));
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody>\n</table>\n</div>\n");
    page
}

/// A name of the data, as text that can stand anywhere: cut where it is long, and said where there is none.
fn shown(name: &str) -> String {
    if name.trim().is_empty() {
        return "(empty)".to_owned();
    }
    escape(&cut(name, NAME))
}

/// A sentence with names of the data in it.
fn written(sentence: &str) -> String {
    escape(&cut(sentence, SENTENCE))
}

/// Of a long text both ends: what tells it from others may be at either.
fn cut(text: &str, letters: usize) -> String {
    let all = text.chars().count();
    if all <= letters {
        return text.to_owned();
    }
    let half = letters / 2;
    let start: String = text.chars().take(half).collect();
    let end: String = text.chars().skip(all - half).collect();
    format!("{start}…{end}")
}

/// A column's name and what it holds.
fn named(column: &ColumnResult) -> String {
    format!(
        "<bdi>{}</bdi> <small>{}</small>",
        shown(&column.column),
        saying::kind(column.kind)
    )
}

/// The distance of a column, and by which it is.
fn distance(column: &ColumnResult) -> String {
    format!(
        "{} {}",
        column.method.title(),
        saying::distance(column.value)
    )
}

fn none() -> String {
    "–".to_owned()
}

#[cfg(test)]
pub(in crate::drift) mod tests;
