//! A predicate in SQL over an input's columns.
//!
//! ```text
//!   text ──DataFusion's parser──> expression ──no subquery, aggregate, chance──boolean──> on the columns as they are read
//! ```
//!
//! This is the one place where a user's text is SQL. It is parsed as a single expression over the input's columns: no
//! table is known to the session, and what would look beyond the row is refused.

use std::collections::BTreeSet;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, SchemaError};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, ExprSchemable};
use datafusion::prelude::SessionContext;

use super::source::reason;
use super::values::Column;

/// Why a text is no predicate.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It names a column that is not there.
    NoColumn(String),
    /// It is no predicate, in words.
    Invalid(String),
}

/// A predicate that can be evaluated.
#[derive(Debug)]
pub(super) struct Predicate {
    /// On the columns as they are read.
    pub expression: Expr,
    /// The columns that it names, in alphabetical order.
    pub columns: BTreeSet<String>,
}

/// Parses a predicate over columns.
pub(super) fn parse(
    session: &SessionContext,
    columns: &[Column],
    text: &str,
) -> std::result::Result<Predicate, Refused> {
    let schema = typed_schema(columns).map_err(refused)?;
    let expression = session
        .parse_sql_expr(text, &schema)
        .map_err(refused)?
        .unalias_nested()
        .data;
    let names: BTreeSet<String> = expression
        .column_refs()
        .into_iter()
        .map(|column| column.name.clone())
        .collect();
    if let Some(what) = looks_beyond(&expression).map_err(refused)? {
        return Err(Refused::Invalid(format!(
            "it holds {what}: a predicate speaks of one row"
        )));
    }
    if expression.is_volatile() {
        return Err(Refused::Invalid("it leaves something to chance".to_owned()));
    }
    let gives = session
        .create_physical_expr(expression.clone(), &schema)
        .and_then(|expression| expression.data_type(schema.as_arrow()))
        .map_err(refused)?;
    if gives != DataType::Boolean {
        return Err(Refused::Invalid(format!(
            "it is not true or false, but {gives}"
        )));
    }
    let read = |expression: Expr| match &expression {
        Expr::Column(column) => Ok(columns
            .iter()
            .find(|there| there.name == column.name)
            .map_or(Transformed::no(expression.clone()), |there| {
                Transformed::yes(there.typed())
            })),
        _ => Ok(Transformed::no(expression)),
    };
    let expression = expression.transform_up(read).map_err(refused)?.data;
    Ok(Predicate {
        expression,
        columns: names,
    })
}

/// The columns that a predicate names; all, where that cannot be told before their kinds are known.
pub(super) fn columns_of(
    session: &SessionContext,
    columns: &[Column],
    text: &str,
) -> BTreeSet<String> {
    typed_schema(columns)
        .and_then(|schema| session.parse_sql_expr(text, &schema))
        .map_or_else(
            |_| columns.iter().map(|column| column.name.clone()).collect(),
            |expression| {
                let names = expression.column_refs().into_iter();
                names.map(|column| column.name.clone()).collect()
            },
        )
}

/// The columns as the predicate sees them.
fn typed_schema(columns: &[Column]) -> Result<DFSchema> {
    let read: Vec<Field> = columns
        .iter()
        .map(|column| Field::new(&column.name, column.data_type.clone(), true))
        .collect();
    let read = DFSchema::try_from(Schema::new(read))?;
    let fields: Result<Vec<Field>> = columns
        .iter()
        .map(|column| {
            Ok(Field::new(
                &column.name,
                column.typed().get_type(&read)?,
                true,
            ))
        })
        .collect();
    DFSchema::try_from(Schema::new(fields?))
}

/// What an expression holds that is not about one row.
fn looks_beyond(expression: &Expr) -> Result<Option<&'static str>> {
    let mut found = None;
    expression.apply(|part| {
        let what = match part {
            Expr::ScalarSubquery(_)
            | Expr::Exists(_)
            | Expr::InSubquery(_)
            | Expr::SetComparison(_) => "a subquery",
            Expr::AggregateFunction(_) | Expr::GroupingSet(_) => "an aggregate",
            Expr::WindowFunction(_) => "a window",
            Expr::Placeholder(_) => "a placeholder",
            Expr::Unnest(_) => "an unnest",
            _ => return Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue),
        };
        found = Some(what);
        Ok(datafusion::common::tree_node::TreeNodeRecursion::Stop)
    })?;
    Ok(found)
}

#[allow(clippy::needless_pass_by_value)] // for map_err
fn refused(problem: DataFusionError) -> Refused {
    match problem.find_root() {
        DataFusionError::SchemaError(error, _) => match error.as_ref() {
            SchemaError::FieldNotFound { field, .. } => Refused::NoColumn(field.flat_name()),
            _ => Refused::Invalid(reason(&problem)),
        },
        _ => Refused::Invalid(reason(&problem)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::values::Kind;
    use super::*;
    use crate::data::config;

    fn parsed(text: &str) -> std::result::Result<Predicate, Refused> {
        let column = |name: &str, data_type, kind| Column {
            name: name.to_owned(),
            data_type,
            kind,
        };
        let columns = [
            column("age", DataType::Utf8, Kind::Integer),
            column("Two Words", DataType::Utf8, Kind::Text),
            column("arrived", DataType::Utf8, Kind::Timestamp),
            column("departed", DataType::Utf8, Kind::Timestamp),
            column("delay", DataType::Float64, Kind::Number),
        ];
        parse(&SessionContext::new_with_config(config(1)), &columns, text)
    }

    #[test]
    fn a_predicate_names_its_columns() {
        for (text, names) in [
            ("age >= 0", &["age"][..]),
            (
                "arrived >= departed AND age + 1 < 200",
                &["age", "arrived", "departed"],
            ),
            (
                "\"Two Words\" LIKE 'A%' OR delay IS NULL",
                &["Two Words", "delay"],
            ),
            ("arrived > '2026-01-01'", &["arrived"]),
            (
                "arrived - departed < INTERVAL '2 days'",
                &["arrived", "departed"],
            ),
            ("age BETWEEN 0 AND 130", &["age"]),
            (
                "CASE WHEN age > 3 THEN delay > 1 ELSE true END",
                &["age", "delay"],
            ),
            ("true", &[]),
        ] {
            let predicate = parsed(text).unwrap_or_else(|refused| panic!("{text}: {refused:?}"));
            let named: Vec<&str> = predicate.columns.iter().map(String::as_str).collect();
            assert_eq!(named, names, "{text}");
        }
    }

    #[test]
    fn what_is_no_predicate_is_refused() {
        for (text, says) in [
            ("age >=", ""),
            ("age >= 0; DROP TABLE x", ""),
            ("SELECT 1", ""),
            ("age + 1", "not true or false, but Int64"),
            ("NULL", "not true or false"),
            ("'x'", "not true or false"),
            ("age > (SELECT 3)", "a subquery"),
            ("EXISTS (SELECT 1)", "a subquery"),
            ("age IN (SELECT 1)", "a subquery"),
            ("age IN (SELECT age FROM other)", ""),
            ("sum(age) > 3", "an aggregate"),
            ("count(*) > 3", ""),
            ("row_number() OVER () > 3", ""),
            ("age > $1", ""),
            ("age AND true", ""),
            ("no_such_function(age)", "no_such_function"),
            ("*", ""),
        ] {
            match parsed(text) {
                Err(Refused::Invalid(why)) => assert!(why.contains(says), "{text}: {why}"),
                other => panic!("{text}: {other:?}"),
            }
        }
        for (text, column) in [
            ("Age > 0", "Age"),
            ("aged > 0 AND age > 0", "aged"),
            ("t.age > 0", "t.age"),
        ] {
            assert_eq!(
                parsed(text).err(),
                Some(Refused::NoColumn(column.to_owned())),
                "{text}"
            );
        }
    }
}
