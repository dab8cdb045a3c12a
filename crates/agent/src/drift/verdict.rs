//! The verdict on a window, and why, in words.

use windlass_api::agent::{Performance, WindowVerdict};

use super::arguments::Arguments;
use super::results::{ColumnResult, Results};
use super::sides::{Side, count};
use crate::profile::PREDICTION;

/// Of a reference with fewer rows nothing follows.
const LEAST_REFERENCE: u64 = 30;
/// How many columns a message names.
const NAMED: usize = 3;

/// Says what the window is, of all that was found of it.
pub fn settle(arguments: &Arguments, results: &mut Results) {
    let (verdict, message) = of(arguments, results);
    results.verdict = verdict;
    results.message = message;
}

fn of(arguments: &Arguments, results: &Results) -> (WindowVerdict, String) {
    let (rows, least) = (results.window.rows, arguments.min_samples);
    // Also far too few rows, where that is to break them.
    let broken: Vec<&str> = results
        .findings
        .iter()
        .filter(|found| found.breaks)
        .map(|found| found.words.as_str())
        .collect();
    if !broken.is_empty() {
        return (WindowVerdict::DataBroken, listed(&broken));
    }
    if rows < least {
        let message = format!(
            "{rows} rows of {} in the window, and at least {least} are asked for",
            results.window.name
        );
        return (WindowVerdict::NotEnoughData, message);
    }
    if results.reference.rows < LEAST_REFERENCE {
        let message = format!(
            "the reference {} has {} rows: of so few nothing follows",
            results.reference.name, results.reference.rows
        );
        return (WindowVerdict::NotEnoughData, message);
    }
    if results.columns.is_empty() {
        let message = format!(
            "no column of the reference {} can be compared: times, bytes, lists and structures are not",
            results.reference.name
        );
        return (WindowVerdict::NotEnoughData, message);
    }
    if results.window.effective_rows < count(least) {
        let unit = arguments.unit.as_deref().unwrap_or("their unit");
        let message = format!(
            "{rows} rows are worth {:.0} independent ones, since rows of one {unit} are alike, and at least {least} are asked for",
            results.window.effective_rows
        );
        return (WindowVerdict::NotEnoughData, message);
    }
    let mut why = Vec::new();
    if is_reached(arguments, &results.columns) {
        why.push(drifted(&results.columns));
    }
    let prediction = results
        .columns
        .iter()
        .find(|column| column.column == PREDICTION);
    let prediction = prediction.filter(|column| column.drifted);
    if let (Some(prediction), true) = (prediction, arguments.prediction_threshold.is_some()) {
        why.push(format!(
            "the predictions have drifted ({})",
            moved(prediction)
        ));
    }
    if let Some(Performance {
        metric,
        value: Some(value),
        interval: Some([lower, upper]),
        fallen: true,
        rows,
    }) = &results.performance
    {
        let min = arguments.metric_min.unwrap_or_default();
        why.push(format!(
            "{metric} is {value:.3} [{lower:.3}, {upper:.3}] on {rows} labelled rows, below {min}"
        ));
    }
    if !why.is_empty() {
        return (WindowVerdict::Drifted, why.join("; "));
    }
    let mut message = drifted(&results.columns);
    if let Some(performance) = &results.performance {
        let value = performance.value;
        let value = value.map_or_else(|| "not known".to_owned(), |value| format!("{value:.3}"));
        message.push_str(&format!(
            "; {} is {value} on {} labelled rows",
            performance.metric, performance.rows
        ));
    }
    // Also with a column that drifted, where that are fewer than it takes: Drifting is of several windows.
    (WindowVerdict::Healthy, message)
}

/// The verdict on a segment, and why.
pub fn of_segment(
    arguments: &Arguments,
    reference: Option<&Side>,
    window: &Side,
    columns: &[ColumnResult],
) -> (WindowVerdict, String) {
    let least = arguments.min_samples;
    let worth = window.effective_rows();
    let not_enough = |message: String| (WindowVerdict::NotEnoughData, message);
    if reference.is_some_and(|reference| reference.rows < LEAST_REFERENCE) {
        return not_enough("the reference has hardly a row of this segment".to_owned());
    }
    if reference.is_none() {
        return not_enough(
            "the reference says nothing of this segment: it is judged where the validation of the version names it too"
                .to_owned(),
        );
    }
    if window.rows < least || worth < count(least) {
        return not_enough(format!(
            "{} rows, worth {worth:.0} independent ones, and at least {least} are asked for",
            window.rows
        ));
    }
    let verdict = if is_reached(arguments, columns) {
        WindowVerdict::Drifted
    } else {
        WindowVerdict::Healthy
    };
    (verdict, drifted(columns))
}

/// Whether as many columns have drifted as it takes.
fn is_reached(arguments: &Arguments, columns: &[ColumnResult]) -> bool {
    let drifted = columns.iter().filter(|column| column.drifted).count() as u64;
    // A share of 0.3 of 10 columns is 3 of them, whatever 0.3 * 10 is in binary.
    let needed = arguments.drifted_share * count(columns.len() as u64);
    drifted > 0 && count(drifted) + 1e-9 >= needed
}

fn drifted(columns: &[ColumnResult]) -> String {
    let all: Vec<&ColumnResult> = columns.iter().filter(|column| column.drifted).collect();
    let mut message = format!("{} of {} columns have drifted", all.len(), columns.len());
    if !all.is_empty() {
        let names = all.iter().take(NAMED);
        let names = names.map(|column| format!("{} ({})", column.column, moved(column)));
        message.push_str(": ");
        message.push_str(&names.collect::<Vec<String>>().join(", "));
    }
    message
}

fn moved(column: &ColumnResult) -> String {
    format!(
        "{}, {} {:.2}",
        column.moved,
        column.method.title(),
        column.value
    )
}

/// The first of several, and how many more.
fn listed(all: &[&str]) -> String {
    let named = all[..all.len().min(NAMED)].join("; ");
    match all.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named}; and {more} more"),
    }
}
