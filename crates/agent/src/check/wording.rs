//! What is said of a rule that does not hold.
//!
//! Absent on purpose: what the rules are (`rules`) and how they are counted (`rows`, `keys`, `distribution`).

use std::fmt::Write;

use windlass_api::agent::{FailureReason, FailureReport};

use super::rules::Rule;
use crate::report::failure;

/// How many broken rules a message names.
const NAMED: usize = 10;

/// How many characters of an example a message holds.
const EXAMPLE: usize = 60;

/// Why a rule does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// There is no such column: what there is instead.
    NoColumn {
        /// The input that has it not.
        input: String,
        /// The column.
        column: String,
        /// ` in b.csv`, and the columns that there are.
        instead: String,
    },
    /// The data break it: how many rows, and an example.
    Broken(String),
}

/// A rule of an input that does not hold.
pub(super) struct Broken<'a> {
    /// The input's name.
    pub input: &'a str,
    /// The rule.
    pub rule: &'a Rule,
    /// Why.
    pub finding: Finding,
}

impl Broken<'_> {
    /// `input 'events', column 'age', min 0: 14 of 1,000 rows (1.4%) are below it, the lowest is -3`.
    pub(super) fn sentence(&self) -> String {
        let Self {
            input,
            rule,
            finding,
        } = self;
        match finding {
            Finding::NoColumn {
                input,
                column,
                instead,
            } => {
                format!("input '{input}' has no column '{column}'{instead}")
            }
            Finding::Broken(why) => {
                let of = rule.subject();
                format!("input '{input}'{of}, {}: {why}", rule.what)
            }
        }
    }
}

/// The failure that broken rules make: [`FailureReason::ColumnNotFound`] where one column that is not there is all
/// that is wrong.
pub(super) fn failure_of(broken: &[Broken<'_>]) -> FailureReport {
    let mut sentences: Vec<String> = Vec::new();
    for sentence in broken.iter().map(Broken::sentence) {
        // Several rules may miss the same column.
        if !sentences.contains(&sentence) {
            sentences.push(sentence);
        }
    }
    let is_column = broken
        .iter()
        .all(|broken| matches!(broken.finding, Finding::NoColumn { .. }));
    let reason = if is_column && sentences.len() == 1 {
        FailureReason::ColumnNotFound
    } else {
        FailureReason::CheckFailed
    };
    let more = sentences.len().saturating_sub(NAMED);
    sentences.truncate(NAMED);
    let mut message = sentences.join("; ");
    if more > 0 {
        let _ = write!(message, "; and {more} more");
    }
    failure(reason, message)
}

/// `14 of 1,000 rows (1.4%)`.
pub(super) fn rows_of(part: u64, all: u64) -> String {
    format!(
        "{} of {} rows ({})",
        grouped(part),
        grouped(all),
        percent(part, all)
    )
}

/// A share as a percentage, which is 0 or 100 only where it is that.
#[allow(clippy::cast_precision_loss)] // counts of rows
fn percent(part: u64, all: u64) -> String {
    let percent = part as f64 / all.max(1) as f64 * 100.0;
    if part > 0 && percent < 0.1 {
        "less than 0.1%".to_owned()
    } else if part < all && percent > 99.9 {
        "more than 99.9%".to_owned()
    } else {
        let text = format!("{percent:.1}");
        format!("{}%", text.strip_suffix(".0").unwrap_or(&text))
    }
}

/// `row`s in the number that it is of them: `1 row holds`, `2 rows hold`.
pub(super) fn counted(rows: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(rows), if rows == 1 { one } else { many })
}

/// A count with a comma after each thousand.
pub(super) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A text as an example: on one line, and not longer than fits.
pub(super) fn example(text: &str) -> String {
    let mut short: String = text.chars().take(EXAMPLE).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// A number as an example.
pub(super) fn number(value: f64) -> String {
    if value != 0.0 && value.is_finite() && !(1e-6..1e15).contains(&value.abs()) {
        format!("{value:e}")
    } else {
        format!("{value}")
    }
}

#[cfg(test)]
mod tests {
    use super::super::rules::What;
    use super::*;

    fn rule(what: What) -> Rule {
        Rule {
            column: Some("age".to_owned()),
            what,
            max_share: 0.0,
        }
    }

    #[test]
    fn counts_and_shares_are_easy_to_read() {
        assert_eq!(rows_of(14, 1000), "14 of 1,000 rows (1.4%)");
        assert_eq!(
            rows_of(1, 1_234_567),
            "1 of 1,234,567 rows (less than 0.1%)"
        );
        assert_eq!(
            rows_of(999_999, 1_000_000),
            "999,999 of 1,000,000 rows (more than 99.9%)"
        );
        assert_eq!(rows_of(7, 7), "7 of 7 rows (100%)");
        assert_eq!(
            (number(-3.0), number(0.25), number(1e300)),
            ("-3".into(), "0.25".into(), "1e300".into())
        );
        assert_eq!(example(&"x\n".repeat(100)).chars().count(), 61);
    }

    #[test]
    fn ten_broken_rules_are_named_and_the_rest_counted() {
        let rule = rule(What::NotNull);
        let broken = |n: usize| Broken {
            input: "events",
            rule: &rule,
            finding: Finding::Broken(format!("{n} rows")),
        };
        let all: Vec<_> = (0..12).map(broken).collect();
        let failure = failure_of(&all);
        assert_eq!(failure.reason, FailureReason::CheckFailed);
        assert!(
            failure
                .message
                .starts_with("input 'events', column 'age', notNull: 0 rows; input"),
            "{}",
            failure.message
        );
        assert!(
            failure.message.ends_with("9 rows; and 2 more"),
            "{}",
            failure.message
        );
    }

    #[test]
    fn a_missing_column_is_all_that_is_wrong_or_one_of_several_things() {
        let rule = rule(What::NotNull);
        let missing = |column: &str| Broken {
            input: "events",
            rule: &rule,
            finding: Finding::NoColumn {
                input: "events".to_owned(),
                column: column.to_owned(),
                instead: "; its columns are a, b".to_owned(),
            },
        };
        let one = failure_of(&[missing("age"), missing("age")]);
        assert_eq!(one.reason, FailureReason::ColumnNotFound);
        assert_eq!(
            one.message,
            "input 'events' has no column 'age'; its columns are a, b"
        );
        assert_eq!(
            failure_of(&[missing("age"), missing("sex")]).reason,
            FailureReason::CheckFailed
        );
    }
}
