//! The verdict on a window, and why, in words.

use std::fmt::Write as _;

use windlass_api::agent::{Performance, WindowVerdict};

use super::arguments::{Arguments, LEAST_ROWS};
use super::compare::Found;
use super::performance::MIN_ROWS;
use super::results::{ColumnResult, Results, Segment};
use super::sides::{Side, count};
use crate::profile::PREDICTION;

/// How many columns a message names.
const NAMED: usize = 3;
/// How many letters a message has of a name, or of a sentence with names in it.
const LONGEST: usize = 160;

/// Says what the window is, of all that was found of it.
pub fn settle(arguments: &Arguments, results: &mut Results) {
    let (verdict, message) = of(arguments, results);
    results.verdict = verdict;
    results.message = message;
}

fn of(arguments: &Arguments, results: &Results) -> (WindowVerdict, String) {
    let (rows, least) = (results.window.rows, arguments.least_rows());
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
            "{rows} rows of {} in the window, and {}",
            results.window.name,
            asked_for(arguments)
        );
        return (WindowVerdict::NotEnoughData, message);
    }
    if results.reference.rows < LEAST_ROWS {
        let message = format!(
            "the reference {} has {} rows: of so few nothing follows",
            results.reference.name, results.reference.rows
        );
        return (WindowVerdict::NotEnoughData, message);
    }
    if results.columns.is_empty() {
        let message = format!(
            "no column of the reference {} can be compared: times, bytes, structures, and lists that are not of numbers are not, nor what has too few rows",
            results.reference.name
        );
        return (WindowVerdict::NotEnoughData, message);
    }
    if results.window.effective_rows < count(least) {
        let message = worth_too_little(arguments, rows, results.window.effective_rows);
        return (WindowVerdict::NotEnoughData, message);
    }
    let mut why = Vec::new();
    let reached = reached(arguments, &results.columns, results.not_compared.len());
    let not_compared = left_out(&results.not_compared);
    if reached == Reached::Drifted {
        why.push(format!("{}{not_compared}", drifted(&results.columns)));
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
    why.extend(
        results
            .performance
            .as_ref()
            .and_then(|of| fallen(arguments, of)),
    );
    if !why.is_empty() {
        return (WindowVerdict::Drifted, why.join("; "));
    }
    if reached == Reached::Unknown {
        let message = too_few_compared(&results.columns, &results.not_compared);
        return (WindowVerdict::NotEnoughData, message);
    }
    let mut message = format!("{}{not_compared}", drifted(&results.columns));
    if let Some(performance) = &results.performance {
        let value = performance.value;
        let value = value.map_or_else(|| "not known".to_owned(), |value| format!("{value:.3}"));
        let _ = write!(
            message,
            "; {} is {value} on {} labelled rows",
            performance.metric, performance.rows
        );
        if let (Some([lower, upper]), Some(min)) = (performance.interval, arguments.metric_min)
            && upper < min
        {
            let _ = write!(message, ", [{lower:.3}, {upper:.3}], below {min}: ");
            if performance.rows < MIN_ROWS {
                let _ = write!(message, "of fewer than {MIN_ROWS} that is no fall");
            } else {
                message.push_str("that may be chance in one of many windows, and is no fall yet");
            }
        }
    }
    // Also with a column that drifted, where that are fewer than it takes: Drifting is of several windows.
    (WindowVerdict::Healthy, message)
}

/// That the performance has fallen, where it has.
fn fallen(arguments: &Arguments, performance: &Performance) -> Option<String> {
    let Performance {
        metric,
        value: Some(value),
        interval: Some([lower, upper]),
        fallen: true,
        rows,
    } = performance
    else {
        return None;
    };
    let min = arguments.metric_min.unwrap_or_default();
    Some(format!(
        "{metric} is {value:.3} [{lower:.3}, {upper:.3}] on {rows} labelled rows, below {min}"
    ))
}

/// Adds to a segment what labels show of it. Where they show that the performance has fallen, it has drifted, whatever was to
/// be compared.
pub fn settle_segment(arguments: &Arguments, segment: &mut Segment, performance: Performance) {
    if let Some(why) = fallen(arguments, &performance) {
        segment.verdict = WindowVerdict::Drifted;
        segment.message = format!("{why}; {}", segment.message);
    }
    segment.performance = Some(performance);
}

/// The verdict on a segment, and why.
pub fn of_segment(
    arguments: &Arguments,
    reference: Option<&Side>,
    window: &Side,
    Found { columns, left_out }: &Found,
) -> (WindowVerdict, String) {
    let least = arguments.least_rows();
    let worth = window.effective_rows();
    let not_enough = |message: String| (WindowVerdict::NotEnoughData, message);
    if reference.is_some_and(|reference| reference.rows < LEAST_ROWS) {
        return not_enough("the reference has hardly a row of this segment".to_owned());
    }
    if reference.is_none() {
        return not_enough(
            "the reference says nothing of this segment: it is judged where the validation of the version names it too"
                .to_owned(),
        );
    }
    if window.rows < least {
        return not_enough(format!(
            "{} rows, and {}",
            window.rows,
            asked_for(arguments)
        ));
    }
    if worth < count(least) {
        return not_enough(worth_too_little(arguments, window.rows, worth));
    }
    if columns.is_empty() {
        let why = left_out
            .iter()
            .map(|of| format!("{}: {}", of.column, of.why));
        let why: Vec<String> = why.collect();
        let why = listed(&why.iter().map(String::as_str).collect::<Vec<_>>());
        return not_enough(format!(
            "no column of this segment could be compared: {why}"
        ));
    }
    let names: Vec<String> = left_out.iter().map(|of| of.column.clone()).collect();
    let found = |verdict| {
        let message = format!("{}{}", drifted(columns), self::left_out(&names));
        (verdict, message)
    };
    match reached(arguments, columns, names.len()) {
        Reached::Drifted => found(WindowVerdict::Drifted),
        Reached::Healthy => found(WindowVerdict::Healthy),
        Reached::Unknown => not_enough(too_few_compared(columns, &names)),
    }
}

/// Why rows that there are enough of are not: what they are worth.
fn worth_too_little(arguments: &Arguments, rows: u64, worth: f64) -> String {
    let unit = arguments.unit.as_deref().unwrap_or("their unit");
    let asked_for = asked_for(arguments);
    // Those of one unit, or of units of which nothing is known.
    if worth < 1.5 {
        return format!(
            "{rows} rows count as one, and {asked_for}: they are of one {unit}, or too few whole ones are among the rows that are kept to tell what a row is worth; fewer segments or columns leave room for more"
        );
    }
    format!(
        "{rows} rows are worth {worth:.0} independent ones, since rows of one {unit} are alike, and {asked_for}"
    )
}

/// How many rows there would have to be.
fn asked_for(arguments: &Arguments) -> String {
    let least = arguments.least_rows();
    if arguments.min_samples < least {
        format!("of fewer than {least} nothing follows, whatever is asked for")
    } else {
        format!("at least {least} are asked for")
    }
}

/// Whether as many columns have drifted as it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reached {
    Drifted,
    Healthy,
    /// Too few were compared to say so.
    Unknown,
}

/// Whether as many columns have drifted as it takes, where so many others could not be compared.
///
/// The share is of those that were compared: of the others nothing is known, and to count them as still would hide drift behind
/// columns that have too few rows. That holds while those that were compared stand for all. Where they are fewer than half they
/// do not: the window has then drifted only if those that drifted are enough of all columns, whatever the others did (a
/// training is dear), and is never Healthy; as with too few rows, it says nothing.
fn reached(arguments: &Arguments, columns: &[ColumnResult], left_out: usize) -> Reached {
    let drifted = columns.iter().filter(|column| column.drifted).count() as u64;
    // A share of 0.3 of 10 columns is 3 of them, whatever 0.3 * 10 is in binary.
    let is_enough = |of: usize| {
        let needed = arguments.drifted_share * count(of as u64);
        drifted > 0 && count(drifted) + 1e-9 >= needed
    };
    let compared = columns.len();
    if compared >= left_out {
        if is_enough(compared) {
            Reached::Drifted
        } else {
            Reached::Healthy
        }
    } else if is_enough(compared + left_out) {
        Reached::Drifted
    } else {
        Reached::Unknown
    }
}

/// Which columns are not compared, to be said after what was found of the others.
fn left_out(names: &[String]) -> String {
    if names.is_empty() {
        return String::new();
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    format!(
        "; {} more could not be compared: {}",
        names.len(),
        listed(&names)
    )
}

fn too_few_compared(columns: &[ColumnResult], left_out: &[String]) -> String {
    let names: Vec<&str> = left_out.iter().map(String::as_str).collect();
    format!(
        "only {} of {} columns could be compared, fewer than half, and these do not stand for the others: {}; of them, {}",
        columns.len(),
        columns.len() + left_out.len(),
        listed(&names),
        drifted(columns)
    )
}

fn drifted(columns: &[ColumnResult]) -> String {
    let all: Vec<&ColumnResult> = columns.iter().filter(|column| column.drifted).collect();
    let mut message = format!("{} of {} columns have drifted", all.len(), columns.len());
    if !all.is_empty() {
        let names = all.iter().take(NAMED);
        let names =
            names.map(|column| format!("{} ({})", shortened(&column.column), moved(column)));
        message.push_str(": ");
        message.push_str(&names.collect::<Vec<String>>().join(", "));
    }
    message
}

fn moved(column: &ColumnResult) -> String {
    format!(
        "{}, {} {:.2}",
        shortened(&column.moved),
        column.method.title(),
        column.value
    )
}

/// A name or a sentence, as much of it as a message has room for: of a longer one both ends, for either may tell it from others.
pub fn shortened(text: &str) -> String {
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    let start: String = text.chars().take(LONGEST / 2).collect();
    let end: Vec<char> = text.chars().rev().take(LONGEST / 2 - 1).collect();
    format!("{start}…{}", end.into_iter().rev().collect::<String>())
}

/// The first of several, and how many more.
fn listed(all: &[&str]) -> String {
    let named = all.iter().take(NAMED).map(|words| shortened(words));
    let named = named.collect::<Vec<String>>().join("; ");
    match all.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named}; and {more} more"),
    }
}

#[cfg(test)]
mod tests;
