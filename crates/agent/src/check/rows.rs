//! Rules that each row keeps or breaks by itself: all of an input's in one aggregation.
//!
//! ```text
//!   rule ──> Breach (which rows break it; an example among them) ─┐
//!   rule ──> Breach ──────────────────────────────────────────────┴─> one query of counts ──> Finding
//! ```
//!
//! A rule may be broken in several ways, each with its own words: a value below the least one, and what is no number.
//! No row is in two of them.

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::functions::expr_fn::{coalesce, concat};
use datafusion::functions_aggregate::expr_fn::{bit_and, count, max, min};
use datafusion::logical_expr::expr_fn::{bitwise_and, cast};
use datafusion::logical_expr::{Expr, ExprFunctionExt, lit};
use datafusion::prelude::DataFrame;
use windlass_api::ColumnType;

use super::predicate::Predicate;
use super::rules::{Bound, Rule, What};
use super::values::{Column, Kind, key_of, look};
use super::wording::{counted, example, number, rows_of};

/// How many columns an example of a predicate shows.
const SHOWN_COLUMNS: usize = 4;

/// One way to break a rule.
pub(super) struct Breach {
    /// Which rows do.
    broken: Expr,
    /// Of the rows that do: an aggregate that picks an example.
    example: Option<Expr>,
    /// What one row does: `is below it`.
    one: &'static str,
    /// What several do.
    many: &'static str,
    /// What introduces the example: `, the lowest is `.
    such_as: &'static str,
}

/// What was counted of a breach.
struct Counted<'a> {
    breach: &'a Breach,
    rows: u64,
    example: Option<String>,
}

/// The ways in which a rule of a column can be broken by a row; none where it is no such rule.
pub(super) fn breaches(rule: &What, column: &Column) -> Vec<Breach> {
    match rule {
        What::Type(of) => type_breach(*of, column).into_iter().collect(),
        What::NotNull => vec![Breach {
            broken: !column.present(),
            example: None,
            one: "has no value",
            many: "have no value",
            such_as: "",
        }],
        What::Min(bound) => {
            let least = lit(in_the_precision_of(column, bound));
            vec![Breach {
                broken: column.number().lt(least).and(!column.nan()),
                example: Some(min(column.number())),
                one: "is below it",
                many: "are below it",
                such_as: ", the lowest is ",
            }]
            .into_iter()
            .chain(no_numbers(column))
            .collect()
        }
        What::Max(bound) => {
            let most = lit(in_the_precision_of(column, bound));
            vec![Breach {
                broken: column.number().gt(most).and(!column.nan()),
                example: Some(max(column.number())),
                one: "is above it",
                many: "are above it",
                such_as: ", the highest is ",
            }]
            .into_iter()
            .chain(no_numbers(column))
            .collect()
        }
        What::OneOf(values) => {
            let kind = column.kind;
            let keys = values.iter().filter_map(|value| key_of(value, kind));
            vec![Breach {
                broken: column
                    .present()
                    .and(column.key(kind).in_list(keys.map(lit).collect(), true)),
                example: Some(min(column.text())),
                one: "holds something else",
                many: "hold something else",
                such_as: ", such as ",
            }]
        }
        What::Present
        | What::Unique
        | What::In(_)
        | What::NewestWithin { .. }
        | What::MinRows(_)
        | What::MaxRows(_)
        | What::Predicate(_)
        | What::SameDistribution { .. } => Vec::new(),
    }
}

/// Texts that do not look like the type. A column of Parquet is of its type or not, whatever its rows.
fn type_breach(of: ColumnType, column: &Column) -> Option<Breach> {
    let bit = match of {
        ColumnType::Number => look::NUMBER,
        ColumnType::Integer => look::DIGITS,
        ColumnType::Boolean => look::BOOLEAN,
        ColumnType::Timestamp => look::TIME,
        ColumnType::Text => return None,
    };
    let looks = bitwise_and(column.looks(), lit(bit));
    Some(Breach {
        broken: column.present().and(looks.eq(lit(0))),
        example: Some(min(column.text())),
        one: "does not look like it",
        many: "do not look like it",
        such_as: ", such as ",
    })
}

/// Values that no bound can be held against.
fn no_numbers(column: &Column) -> Vec<Breach> {
    let mut breaches = Vec::new();
    if column.is_text() {
        breaches.push(Breach {
            broken: column.raw().is_not_null().and(column.number().is_null()),
            example: Some(min(column.text())),
            one: "holds no number",
            many: "hold no number",
            such_as: ", such as ",
        });
    }
    breaches.push(Breach {
        broken: column.nan(),
        example: None,
        one: "is NaN",
        many: "are NaN",
        such_as: "",
    });
    breaches
}

/// A bound as a 32-bit float has it where the column is of these: 0.1 is not above 0.1 because it was rounded.
fn in_the_precision_of(column: &Column, bound: &Bound) -> f64 {
    match column.data_type {
        #[allow(clippy::cast_possible_truncation)] // that is what the column's values went through
        DataType::Float32 => f64::from(bound.value as f32),
        _ => bound.value,
    }
}

/// Rows for which a predicate is false.
pub(super) fn of_predicate(predicate: &Predicate, columns: &[Column]) -> Breach {
    let shown = predicate
        .columns
        .iter()
        .filter_map(|name| columns.iter().find(|column| column.name == *name))
        .take(SHOWN_COLUMNS);
    let mut parts: Vec<Expr> = Vec::new();
    for column in shown {
        let comma = if parts.is_empty() { "" } else { ", " };
        parts.push(lit(format!("{comma}{} = ", column.name)));
        parts.push(coalesce(vec![
            cast(column.raw(), DataType::Utf8),
            lit("null"),
        ]));
    }
    Breach {
        broken: !predicate.expression.clone(),
        example: (!parts.is_empty()).then(|| min(concat(parts))),
        one: "breaks it",
        many: "break it",
        such_as: ", such as ",
    }
}

/// What the one query is made of, and what it counted.
#[derive(Default)]
pub(super) struct Query {
    aggregates: Vec<Expr>,
}

impl Query {
    /// Adds an aggregate; its place in the answer.
    pub(super) fn add(&mut self, aggregate: Expr) -> usize {
        let place = self.aggregates.len();
        self.aggregates.push(aggregate.alias(format!("a{place}")));
        place
    }

    /// Adds the counts of breaches; the place of the first.
    pub(super) fn add_breaches(&mut self, breaches: &[Breach]) -> Result<usize> {
        let first = self.aggregates.len();
        for Breach {
            broken, example, ..
        } in breaches
        {
            self.add(count(lit(1)).filter(broken.clone()).build()?);
            let example = match example {
                Some(example) => example.clone().filter(broken.clone()).build()?,
                None => min(lit(ScalarValue::Utf8(None))),
            };
            self.add(example);
        }
        Ok(first)
    }

    /// Runs it: the values of the one row.
    pub(super) async fn run(self, frame: DataFrame) -> Result<Vec<ScalarValue>> {
        let batches = frame
            .aggregate(Vec::new(), self.aggregates)?
            .collect()
            .await?;
        let row = batches
            .iter()
            .find(|batch| batch.num_rows() > 0)
            .expect("an aggregation without groups has one row");
        row.columns()
            .iter()
            .map(|column| ScalarValue::try_from_array(column, 0))
            .collect()
    }
}

/// How many rows.
pub(super) fn count_rows() -> Expr {
    count(lit(1))
}

/// Which types all values of a column look like.
pub(super) fn common_looks(column: &Column) -> Expr {
    bit_and(column.looks())
}

/// The newest time of a column, microseconds since 1970.
pub(super) fn newest(column: &Column) -> Expr {
    max(cast(column.time(), DataType::Int64))
}

/// A count in the answer.
pub(super) fn whole(value: &ScalarValue) -> u64 {
    match value {
        ScalarValue::Int64(Some(count)) => u64::try_from(*count).unwrap_or(0),
        ScalarValue::UInt64(Some(count)) => *count,
        _ => 0,
    }
}

/// What the answer says of a rule's breaches, from the place of the first; absent where the rule holds.
pub(super) fn judge(
    rule: &Rule,
    breaches: &[Breach],
    answer: &[ScalarValue],
    rows: u64,
) -> Option<String> {
    let found: Vec<Counted> = breaches
        .iter()
        .zip(answer.chunks(2))
        .map(|(breach, pair)| Counted {
            breach,
            rows: whole(&pair[0]),
            example: shown(&pair[1], &rule.what),
        })
        .filter(|found| found.rows > 0)
        .collect();
    let broken: u64 = found.iter().map(|found| found.rows).sum();
    if !is_too_many(broken, rows, rule.max_share) {
        return None;
    }
    let said = match found.as_slice() {
        [one] => format!("{} {}{}", rows_of(broken, rows), one.verb(), one.such_as()),
        several => {
            let each: Vec<String> = several
                .iter()
                .map(|one| {
                    let rows = counted(one.rows, one.breach.one, one.breach.many);
                    format!("{rows}{}", one.such_as())
                })
                .collect();
            format!(
                "{} break it: {}",
                rows_of(broken, rows),
                each.join(", and ")
            )
        }
    };
    Some(said + &allowed(rule.max_share))
}

/// Whether more rows break a rule than may.
#[allow(clippy::cast_precision_loss)] // counts of rows
pub(super) fn is_too_many(broken: u64, rows: u64, max_share: f64) -> bool {
    // A quotient is rounded as a decimal is: a share that is exactly the limit holds.
    broken > 0 && broken as f64 / rows as f64 > max_share
}

/// What is said of a share that may break a rule.
pub(super) fn allowed(max_share: f64) -> String {
    if max_share > 0.0 {
        format!("; a share of {max_share} may")
    } else {
        String::new()
    }
}

impl Counted<'_> {
    fn verb(&self) -> &'static str {
        if self.rows == 1 {
            self.breach.one
        } else {
            self.breach.many
        }
    }

    fn such_as(&self) -> String {
        match &self.example {
            Some(example) => format!("{}{example}", self.breach.such_as),
            None => String::new(),
        }
    }
}

fn shown(value: &ScalarValue, what: &What) -> Option<String> {
    match value {
        ScalarValue::Float64(Some(value)) => Some(number(*value)),
        ScalarValue::Utf8(Some(text)) => Some(match what {
            What::Predicate(_) => example(text),
            _ => format!("'{}'", example(text)),
        }),
        _ => None,
    }
}

/// Whether a rule makes no sense for a column, in words.
pub(super) fn misfit(what: &What, column: &Column, is_parquet: bool) -> Option<String> {
    let is_number = column.kind.is_number()
        || column.is_text() && matches!(column.kind, Kind::Text | Kind::Empty);
    let of = || {
        if is_parquet {
            format!("the column's type is {}", column.data_type)
        } else {
            format!("the column is of the type {:?}", column.kind)
        }
    };
    match what {
        What::Min(_) | What::Max(_) if !is_number => Some(format!(
            "it is a bound for numbers, and {}; a predicate can compare other values",
            of()
        )),
        What::NewestWithin { .. } if !(column.is_text() || column.kind == Kind::Timestamp) => {
            Some(format!("it is about times, and {}", of()))
        }
        What::OneOf(_) | What::Unique | What::In(_) if column.kind == Kind::Other => {
            Some(format!("its values cannot be compared: {}", of()))
        }
        _ => None,
    }
}
