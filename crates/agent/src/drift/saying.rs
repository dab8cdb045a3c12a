//! What the HTML report and the terminal's table say in the same words.

use jiff::Timestamp;
use windlass_api::agent::{Performance, WindowVerdict};
use windlass_statistics::drift::method::Method;
use windlass_statistics::drift::words;

use super::results::{Cell, ColumnResult, ComparedWith, Judged, Kind, Results};
use crate::page::number::count;

/// What the cell is called that has the rows without a value; no level is, where it is the last.
const NO_VALUE: &str = "no value";
/// A p-value below this is only said to be.
const LEAST: f64 = 1e-4;

/// A verdict, as the API writes it.
pub const fn verdict(verdict: WindowVerdict) -> &'static str {
    match verdict {
        WindowVerdict::Healthy => "Healthy",
        WindowVerdict::Drifting => "Drifting",
        WindowVerdict::Drifted => "Drifted",
        WindowVerdict::NotEnoughData => "NotEnoughData",
        WindowVerdict::DataBroken => "DataBroken",
        WindowVerdict::Failed => "Failed",
    }
}

/// What a verdict means.
pub const fn meaning(verdict: WindowVerdict) -> &'static str {
    match verdict {
        WindowVerdict::Healthy => {
            "There were rows enough to tell, and not as much has moved as it takes."
        }
        WindowVerdict::Drifting => {
            "The window has drifted, and too few of the last ones have for anything to be done about it yet."
        }
        WindowVerdict::Drifted => {
            "What the model sees, answers or achieves is no longer what it was judged on."
        }
        WindowVerdict::NotEnoughData => {
            "There were too few rows to say anything. That is not the same as no drift."
        }
        WindowVerdict::DataBroken => {
            "The data cannot be compared as they are: a person has to look at them, and nothing should be trained on them."
        }
        WindowVerdict::Failed => "The evaluation itself failed: nothing is known of this window.",
    }
}

/// What a column holds.
pub const fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Number => "number",
        Kind::Category => "category",
        Kind::Text => "text",
        Kind::Embedding => "embedding",
    }
}

/// A distance, a bound or a threshold, in as many digits as messages have.
pub fn distance(value: f64) -> String {
    if value.is_finite() {
        words::short(value)
    } else {
        "not defined".to_owned()
    }
}

/// A number that somebody chose, as they wrote it.
pub fn chosen(value: f64) -> String {
    let written = value.to_string();
    if value.is_finite() && written.len() <= 8 {
        written
    } else {
        distance(value)
    }
}

/// A share that somebody chose.
pub fn chosen_percent(share: f64) -> String {
    // What a product adds to the digits that were written is taken off.
    format!("{}%", chosen((share * 1e6).round() / 1e4))
}

/// The only distance of the columns, where all have the same.
pub fn one_method(columns: &[ColumnResult]) -> Option<Method> {
    let first = columns.first()?.method;
    let is_same = |column: &ColumnResult| column.method == first;
    columns.iter().all(is_same).then_some(first)
}

/// A p-value.
pub fn p_value(p_value: f64) -> String {
    match p_value {
        p if p.is_nan() => "not defined".to_owned(),
        p if p < LEAST => "< 0.0001".to_owned(),
        p if p < 0.01 => format!("{p:.4}"),
        p => format!("{p:.2}"),
    }
}

/// How far a mean has moved.
pub fn mean_shift(column: &ColumnResult) -> Option<String> {
    let shift = column.mean_shift.filter(|shift| shift.is_finite())?;
    Some(format!("{shift:+.2} sd"))
}

/// A share of rows.
pub fn percent(share: f64) -> String {
    if share.is_finite() {
        words::percent(share)
    } else {
        "not known".to_owned()
    }
}

/// The share of rows without a value, in the reference and in the window.
pub fn nulls(column: &ColumnResult) -> Option<String> {
    let (_, none) = parted(&column.cells);
    let [before, after] = Shares::of(&column.cells).each(none?);
    Some(format!("{} → {}", percent(before), percent(after)))
}

/// The cells of values, and that of rows without one.
pub fn parted(cells: &[Cell]) -> (&[Cell], Option<&Cell>) {
    match cells.split_last() {
        Some((last, values)) if last.name == NO_VALUE => (values, Some(last)),
        Some(_) | None => (cells, None),
    }
}

/// From rows to shares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shares {
    /// All rows of the reference and of the window.
    all: [f64; 2],
}

impl Shares {
    /// Those of a column's cells.
    pub fn of(cells: &[Cell]) -> Self {
        let sum = |rows: fn(&Cell) -> u64| cells.iter().map(|cell| float(rows(cell))).sum();
        Self {
            all: [sum(|cell| cell.reference), sum(|cell| cell.window)],
        }
    }

    /// A cell's in the reference and in the window.
    pub fn each(self, cell: &Cell) -> [f64; 2] {
        let [reference, window] = self.all;
        [
            float(cell.reference) / reference.max(1.0),
            float(cell.window) / window.max(1.0),
        ]
    }
}

/// The time of a data set, where it has bounds.
pub fn span(judged: &Judged) -> Option<String> {
    match (judged.start, judged.end) {
        (Some(start), Some(end)) => Some(format!("{} to {}", moment(start), moment(end))),
        (Some(start), None) => Some(format!("from {}", moment(start))),
        (None, Some(end)) => Some(format!("until {}", moment(end))),
        (None, None) => None,
    }
}

/// A time, to the second where it has such.
pub fn moment(at: Timestamp) -> String {
    let written = at.strftime("%Y-%m-%d %H:%M:%S").to_string();
    format!("{} UTC", written.strip_suffix(":00").unwrap_or(&written))
}

/// How many rows there are, and how many they are worth where that is fewer.
pub fn rows(judged: &Judged) -> String {
    let rows = counted(judged.rows, "row");
    let worth = judged.effective_rows;
    if worth.is_finite() && worth >= 0.0 && worth < 0.95 * float(judged.rows) {
        format!("{rows}, worth {} independent ones", count(whole(worth)))
    } else {
        rows
    }
}

/// Which rows of the reference a window is compared with.
pub fn compared_with(with: &ComparedWith) -> String {
    let words = &with.words;
    match with.own_windows {
        0 => words.clone(),
        many => format!(
            "{words}; {} windows of it, as long as this one, tell how far windows lie from each other without drift",
            count(many)
        ),
    }
}

/// A number of things.
pub fn counted(many: u64, what: &str) -> String {
    match many {
        1 => format!("1 {what}"),
        many => format!("{} {what}s", count(many)),
    }
}

/// `3 of 12 columns drifted`.
pub fn drifted(columns: &[ColumnResult]) -> String {
    let drifted = columns.iter().filter(|column| column.drifted).count();
    let all = counted(columns.len() as u64, "column");
    format!("{} of {all} drifted", count(drifted as u64))
}

/// A metric's value with its interval.
pub fn metric(value: Option<f64>, interval: Option<[f64; 2]>) -> String {
    let value = value.filter(|value| value.is_finite());
    let Some(value) = value else {
        return "not defined".to_owned();
    };
    match interval.filter(|ends| ends.iter().all(|end| end.is_finite())) {
        Some([lower, upper]) => format!("{value:.3} ({lower:.3} to {upper:.3})"),
        None => format!("{value:.3}"),
    }
}

/// What labels say of the performance.
pub const fn fallen(performance: &Performance) -> &'static str {
    match (performance.fallen, performance.value) {
        (true, _) => "It has fallen: the whole interval lies below what is allowed.",
        (false, Some(_)) => "It is not shown to have fallen.",
        (false, None) => "Nothing can be said of it.",
    }
}

/// What labels say of a metric, held against what the scores let one expect: absent unless they contradict each other.
pub fn contradiction(results: &Results) -> Option<String> {
    let measured = results.performance.as_ref()?;
    let [lower, upper] = measured.interval?;
    let is_same = |expected: &&super::results::Expected| expected.metric == measured.metric;
    let expected = results.expected.iter().find(is_same)?;
    let [least, most] = expected.interval;
    let side = if upper < least {
        "below"
    } else if lower > most {
        "above"
    } else {
        return None;
    };
    Some(format!(
        "What labels show lies {side} all that the scores let one expect: rows may mean something else than they did."
    ))
}

/// A count as a number to reckon with.
#[allow(clippy::cast_precision_loss)] // shares need no more than 53 bits
pub fn float(count: u64) -> f64 {
    count as f64
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // it is finite and not below 0
fn whole(number: f64) -> u64 {
    number.round() as u64
}

#[cfg(test)]
#[allow(clippy::float_cmp)] // exact by construction
mod tests {
    use super::*;

    fn cell(name: &str, reference: u64, window: u64) -> Cell {
        Cell {
            name: name.to_owned(),
            from: None,
            to: None,
            reference,
            window,
        }
    }

    #[test]
    fn only_the_last_cell_has_the_rows_without_a_value() {
        let cells = [
            cell("no value", 1, 1),
            cell("a", 2, 1),
            cell("no value", 1, 2),
        ];
        let (values, none) = parted(&cells);
        assert_eq!((values.len(), none.map(|none| none.window)), (2, Some(2)));
        assert_eq!(Shares::of(&cells).each(&cells[2]), [0.25, 0.5]);
        assert_eq!(parted(&cells[..2]).1, None);
        assert_eq!(parted(&[]).1, None);
        // An empty window is no share of it, and no number that is none.
        assert_eq!(Shares::of(&[cell("a", 0, 0)]).each(&cells[0]), [1.0, 1.0]);
    }

    #[test]
    fn p_values_are_never_nothing() {
        let all = [0.0, 5e-5, 0.0012, 0.049, 1.0, f64::NAN].map(p_value);
        assert_eq!(
            all,
            [
                "< 0.0001",
                "< 0.0001",
                "0.0012",
                "0.05",
                "1.00",
                "not defined"
            ]
        );
    }

    #[test]
    fn what_was_chosen_is_as_it_was_written() {
        assert_eq!(
            [0.2, 0.01, 1.0, 1.0 / 3.0].map(chosen),
            ["0.2", "0.01", "1", "0.333"]
        );
        assert_eq!([0.95, 0.3, 0.07].map(chosen_percent), ["95%", "30%", "7%"]);
        assert_eq!(chosen(f64::NAN), "not defined");
    }

    #[test]
    fn rows_say_what_they_are_worth_where_that_is_less() {
        let judged = |rows, effective_rows| {
            super::rows(&Judged {
                rows,
                effective_rows,
                ..Judged::default()
            })
        };
        assert_eq!(judged(1, 1.0), "1 row");
        assert_eq!(judged(1200, 1190.0), "1200 rows");
        assert_eq!(judged(1200, 60.4), "1200 rows, worth 60 independent ones");
        assert_eq!(judged(1200, f64::NAN), "1200 rows");
    }

    #[test]
    fn a_time_has_seconds_where_they_matter() {
        let at = |text: &str| moment(text.parse().expect("a time"));
        assert_eq!(at("2026-11-01T06:00:00Z"), "2026-11-01 06:00 UTC");
        assert_eq!(at("2026-11-01T06:00:07.5Z"), "2026-11-01 06:00:07 UTC");
    }
}
