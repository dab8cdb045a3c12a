//! Rules that compare rows with each other: `unique`, and `in`, a foreign key.
//!
//! ```text
//!   unique:  keys ─────────────────────┐
//!   in:      keys of the rows, 1, 0 ───┼─group by key─> rows of each key ──> how many break it, and the worst key
//!            keys of the other, 0, 1 ──┘                (spills to the work folder when memory is short)
//! ```
//!
//! Absent on purpose: a join. Grouping both sides by their key needs no more memory than there is.

use datafusion::dataframe::DataFrame;
use datafusion::error::Result;
use datafusion::functions_aggregate::expr_fn::{count, first_value, max, sum};
use datafusion::logical_expr::expr_fn::ident;
use datafusion::logical_expr::lit;

use super::rows::{Query, allowed, is_too_many, whole};
use super::rules::Rule;
use super::values::{Column, Kind};
use super::wording::{example, grouped, rows_of};

/// The columns of a query.
const KEY: &str = "key";
const ROWS: &str = "rows";
const OTHER: &str = "other";

/// What is wrong with a column that has to be unique; absent where it is.
pub(super) async fn unique(
    rule: &Rule,
    column: &Column,
    frame: DataFrame,
    rows: u64,
) -> Result<Option<String>> {
    let repeated = frame
        .select(vec![column.key(column.kind).alias(KEY)])?
        .filter(ident(KEY).is_not_null())?
        .aggregate(vec![ident(KEY)], vec![count(lit(1)).alias(ROWS)])?
        .filter(ident(ROWS).gt(lit(1_i64)))?;
    let Groups {
        rows: there,
        keys,
        worst,
        worst_rows,
    } = groups_of(repeated).await?;
    // The first row of each value is not one too many.
    let repeated = there - keys;
    if !is_too_many(repeated, rows, rule.max_share) {
        return Ok(None);
    }
    let verb = if repeated == 1 { "repeats" } else { "repeat" };
    let values = if keys == 1 {
        "1 value is".to_owned()
    } else {
        format!("{} values are", grouped(keys))
    };
    Ok(Some(format!(
        "{} {verb} the value of another: {values} there more than once, '{}' {} times{}",
        rows_of(repeated, rows),
        example(&worst),
        grouped(worst_rows),
        allowed(rule.max_share)
    )))
}

/// A column, and the rows that it is of.
pub(super) struct Side<'a> {
    /// The column.
    pub column: &'a Column,
    /// All rows of its input.
    pub frame: DataFrame,
}

/// What is wrong with a column whose values have to be in another; absent where they are.
pub(super) async fn foreign(
    rule: &Rule,
    one: Side<'_>,
    other: Side<'_>,
    rows: u64,
) -> Result<Option<String>> {
    // Numbers are compared as numbers where both are; a code such as 007 is not one where the other is text.
    let is_empty = |kind| kind == Kind::Empty;
    let kinds = (one.column.kind, other.column.kind);
    let kind = match kinds {
        (one, other) if one.is_number() && (other.is_number() || is_empty(other)) => Kind::Number,
        (Kind::Boolean, Kind::Boolean) => Kind::Boolean,
        _ => Kind::Text,
    };
    let side = |side: Side<'_>, mine: i64, others: i64| {
        side.frame
            .select(vec![
                side.column.key(kind).alias(KEY),
                lit(mine).alias(ROWS),
                lit(others).alias(OTHER),
            ])?
            .filter(ident(KEY).is_not_null())
    };
    let absent = side(one, 1, 0)?
        .union(side(other, 0, 1)?)?
        .aggregate(
            vec![ident(KEY)],
            vec![sum(ident(ROWS)).alias(ROWS), max(ident(OTHER)).alias(OTHER)],
        )?
        .filter(ident(OTHER).eq(lit(0_i64)))?;
    let Groups {
        rows: absent_rows,
        keys,
        worst,
        worst_rows,
    } = groups_of(absent).await?;
    if !is_too_many(absent_rows, rows, rule.max_share) {
        return Ok(None);
    }
    let verb = if absent_rows == 1 { "holds" } else { "hold" };
    let said = if keys == 1 {
        format!("'{}' is not there", example(&worst))
    } else {
        let times = if worst_rows == 1 {
            "1 row".to_owned()
        } else {
            format!("{} rows", grouped(worst_rows))
        };
        format!(
            "{} values are not there, such as '{}' in {times}",
            grouped(keys),
            example(&worst)
        )
    };
    Ok(Some(format!(
        "{} {verb} a value that is not in it: {said}{}",
        rows_of(absent_rows, rows),
        allowed(rule.max_share)
    )))
}

/// Groups by their key.
struct Groups {
    /// Rows of all.
    rows: u64,
    /// How many keys.
    keys: u64,
    /// The key with the most rows.
    worst: String,
    /// Its rows.
    worst_rows: u64,
}

async fn groups_of(groups: DataFrame) -> Result<Groups> {
    let order = vec![ident(ROWS).sort(false, false), ident(KEY).sort(true, false)];
    let mut query = Query::default();
    let all = query.add(sum(ident(ROWS)));
    let keys = query.add(count(lit(1)));
    let worst = query.add(first_value(ident(KEY), order));
    let worst_rows = query.add(max(ident(ROWS)));
    let answer = query.run(groups).await?;
    Ok(Groups {
        rows: whole(&answer[all]),
        keys: whole(&answer[keys]),
        worst: match &answer[worst] {
            datafusion::common::ScalarValue::Utf8(Some(text)) => text.clone(),
            _ => String::new(),
        },
        worst_rows: whole(&answer[worst_rows]),
    })
}
