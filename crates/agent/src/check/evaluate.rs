//! Whether the rules of an input hold.
//!
//! ```text
//!   rules ──one query──> counts of all that a row keeps or breaks by itself (rows)
//!         ──a query each──> unique, in (keys)
//!         ──one stream──> sameDistributionAs (distribution)
//!                └──> a Finding for each rule that does not hold
//! ```

use std::collections::BTreeMap;

use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use jiff::Timestamp;
use windlass_api::ColumnType;
use windlass_api::agent::{FailureReason, FailureReport};

use super::distribution;
use super::keys::{self, Side};
use super::predicate::{self, Predicate, Refused};
use super::prepared::Prepared;
use super::rows::{self, Breach, Query};
use super::rules::{Rule, What};
use super::source::reason;
use super::values::{Column, Kind};
use super::wording::{Finding, grouped};
use crate::data::engine::Engine;
use crate::report::failure;

/// What was found of an input: its rows, and for each rule why it does not hold.
pub(super) struct Found {
    pub rows: u64,
    pub findings: Vec<Option<Finding>>,
}

/// What one query answers of a rule.
enum Asked {
    Breaches(Vec<Breach>, usize),
    Newest(usize),
}

/// Checks the rules of one of the inputs, at the time `now`.
///
/// # Errors
/// [`FailureReason::InvalidArguments`] for a rule that makes no sense for its column,
/// [`FailureReason::InputUnreadable`] for a file that cannot be read to its end.
pub(super) async fn evaluate(
    engine: &Engine,
    inputs: &[Prepared<'_>],
    of: &Prepared<'_>,
    now: Timestamp,
) -> std::result::Result<Found, FailureReport> {
    let name = &of.source.name;
    let mut findings: Vec<Option<Finding>> = of
        .rules
        .iter()
        .map(|rule| {
            of.missing(engine, rule)
                .or_else(|| missing_elsewhere(inputs, rule))
        })
        .collect();
    let mut predicates: BTreeMap<usize, Predicate> = BTreeMap::new();
    for (place, rule) in of.rules.iter().enumerate() {
        if findings[place].is_some() {
            continue;
        }
        let misfit = rule_column(of, rule)
            .and_then(|column| rows::misfit(&rule.what, column, !of.source.is_text()));
        let misfit = misfit.or_else(|| misfit_elsewhere(inputs, rule));
        if let Some(why) = misfit {
            return Err(invalid(name, rule, &why));
        }
        if let What::Predicate(text) = &rule.what {
            match predicate::parse(&engine.parallel, &of.columns, text) {
                Ok(predicate) => {
                    predicates.insert(place, predicate);
                }
                Err(Refused::NoColumn(column)) => {
                    return Err(invalid(
                        name,
                        rule,
                        &format!("there is no column '{column}'"),
                    ));
                }
                Err(Refused::Invalid(why)) => return Err(invalid(name, rule, &why)),
            }
        }
        if let What::Type(declared) = &rule.what {
            findings[place] = type_of_files(of, rule, *declared).map(Finding::Broken);
        }
    }
    let rows = by_row(engine, of, &mut findings, &predicates, now).await?;
    for (place, rule) in of.rules.iter().enumerate() {
        if findings[place].is_none() {
            findings[place] = whole(engine, inputs, of, rule, rows).await?;
        }
    }
    if let Err(problem) = distribution::judge(engine, of, &mut findings).await {
        return Err(unreadable_or(engine, inputs, of, &problem).await);
    }
    Ok(Found { rows, findings })
}

fn rule_column<'a>(of: &'a Prepared<'_>, rule: &Rule) -> Option<&'a Column> {
    of.column(rule.column.as_deref()?)
}

fn invalid(input: &str, rule: &Rule, why: &str) -> FailureReport {
    let of = rule.subject();
    failure(
        FailureReason::InvalidArguments,
        format!("input '{input}'{of}, {}: {why}", rule.what),
    )
}

fn other<'a>(inputs: &'a [Prepared<'a>], rule: &'a Rule) -> Option<(&'a Prepared<'a>, &'a str)> {
    let What::In(other) = &rule.what else {
        return None;
    };
    let input = inputs
        .iter()
        .find(|input| input.source.name == other.input)?;
    Some((input, &other.column))
}

fn missing_elsewhere(inputs: &[Prepared<'_>], rule: &Rule) -> Option<Finding> {
    let (input, column) = other(inputs, rule)?;
    input.source.without(column)
}

fn misfit_elsewhere(inputs: &[Prepared<'_>], rule: &Rule) -> Option<String> {
    let (input, column) = other(inputs, rule)?;
    rows::misfit(&rule.what, input.column(column)?, !input.source.is_text())
}

/// The type of a column in Parquet, in each of its files.
fn type_of_files(of: &Prepared<'_>, rule: &Rule, declared: ColumnType) -> Option<String> {
    if of.source.is_text() {
        return None;
    }
    let fits = |kind: Kind| match declared {
        ColumnType::Number => kind.is_number(),
        ColumnType::Integer => kind == Kind::Integer,
        ColumnType::Text => kind == Kind::Text,
        ColumnType::Boolean => kind == Kind::Boolean,
        ColumnType::Timestamp => kind == Kind::Timestamp,
    } || kind == Kind::Empty;
    let types = of.source.types(rule.column.as_deref()?);
    let (data_type, file) = types
        .iter()
        .find(|(data_type, _)| !fits(Kind::of(data_type)))?;
    Some(format!("it is {data_type} in {file}"))
}

/// All rules that are about single rows, or how many there are. The number of rows.
async fn by_row(
    engine: &Engine,
    of: &Prepared<'_>,
    findings: &mut [Option<Finding>],
    predicates: &BTreeMap<usize, Predicate>,
    now: Timestamp,
) -> std::result::Result<u64, FailureReport> {
    match answered(engine, of, findings, predicates, now).await {
        Ok(rows) => return Ok(rows),
        Err(problem) => {
            if let Some(culprit) = of.source.culprit(&engine.serial).await {
                return Err(culprit);
            }
            // The files can be read, so it is a predicate that cannot be computed for some row.
            let mut is_found = false;
            for (place, predicate) in predicates {
                let mut query = Query::default();
                let breach = rows::of_predicate(predicate, &of.columns);
                let alone = async {
                    query.add_breaches(std::slice::from_ref(&breach))?;
                    query.run(of.source.frame(&engine.parallel)?).await
                };
                if let Err(problem) = alone.await {
                    let why = format!("it cannot be computed for every row: {}", reason(&problem));
                    findings[*place] = Some(Finding::Broken(why));
                    is_found = true;
                }
            }
            if !is_found {
                return Err(failed(of, &problem));
            }
        }
    }
    answered(engine, of, findings, predicates, now)
        .await
        .map_err(|problem| failed(of, &problem))
}

async fn answered(
    engine: &Engine,
    of: &Prepared<'_>,
    findings: &mut [Option<Finding>],
    predicates: &BTreeMap<usize, Predicate>,
    now: Timestamp,
) -> Result<u64> {
    let mut query = Query::default();
    let count = query.add(rows::count_rows());
    let mut asked: Vec<(usize, Asked)> = Vec::new();
    for (place, rule) in of.rules.iter().enumerate() {
        if findings[place].is_some() {
            continue;
        }
        let breaches = match (predicates.get(&place), rule_column(of, rule)) {
            (Some(predicate), _) => vec![rows::of_predicate(predicate, &of.columns)],
            (None, Some(column)) => {
                if matches!(rule.what, What::NewestWithin { .. }) {
                    asked.push((place, Asked::Newest(query.add(rows::newest(column)))));
                }
                let is_type = matches!(rule.what, What::Type(_));
                // The type of a column in Parquet is not that of its rows.
                if is_type && !of.source.is_text() {
                    continue;
                }
                rows::breaches(&rule.what, column)
            }
            (None, None) => Vec::new(),
        };
        if !breaches.is_empty() {
            let first = query.add_breaches(&breaches)?;
            asked.push((place, Asked::Breaches(breaches, first)));
        }
    }
    let answer = query.run(of.source.frame(&engine.parallel)?).await?;
    let rows = rows::whole(&answer[count]);
    for (place, asked) in asked {
        let rule = &of.rules[place];
        let why = match asked {
            Asked::Breaches(breaches, first) => {
                rows::judge(rule, &breaches, &answer[first..], rows)
            }
            Asked::Newest(newest) => age(&rule.what, &answer[newest], now),
        };
        findings[place] = why.map(Finding::Broken);
    }
    Ok(rows)
}

/// What is wrong with the newest time.
fn age(what: &What, newest: &ScalarValue, now: Timestamp) -> Option<String> {
    let What::NewestWithin { age, .. } = what else {
        return None;
    };
    let newest = match newest {
        ScalarValue::Int64(Some(micros)) => Timestamp::from_microsecond(*micros).ok(),
        _ => None,
    };
    let Some(newest) = newest else {
        return Some("there is no time in it".to_owned());
    };
    let old = now.duration_since(newest);
    (old.unsigned_abs() > *age && old.is_positive()).then(|| {
        let hours = old.as_hours();
        let (count, unit) = match hours {
            0 => (old.as_mins(), "min"),
            1..72 => (hours, "h"),
            _ => (hours / 24, "days"),
        };
        format!("the newest is {newest}, which is {count} {unit} ago")
    })
}

/// A rule that is about all rows together.
async fn whole(
    engine: &Engine,
    inputs: &[Prepared<'_>],
    of: &Prepared<'_>,
    rule: &Rule,
    rows: u64,
) -> std::result::Result<Option<Finding>, FailureReport> {
    let session = &engine.parallel;
    let found = match &rule.what {
        What::MinRows(least) => Ok((rows < *least).then(|| there_are(rows))),
        What::MaxRows(most) => Ok((rows > *most).then(|| there_are(rows))),
        What::Unique => {
            let Some(column) = rule_column(of, rule) else {
                return Ok(None);
            };
            match of.source.frame(session) {
                Ok(frame) => keys::unique(rule, column, frame, rows).await,
                Err(problem) => Err(problem),
            }
        }
        What::In(_) => {
            let (Some(column), Some((input, other))) = (rule_column(of, rule), other(inputs, rule))
            else {
                return Ok(None);
            };
            let Some(other) = input.column(other) else {
                return Ok(None);
            };
            let both = of
                .source
                .frame(session)
                .and_then(|one| Ok((one, input.source.frame(session)?)));
            match both {
                Ok((one, two)) => {
                    let one = Side { column, frame: one };
                    let two = Side {
                        column: other,
                        frame: two,
                    };
                    keys::foreign(rule, one, two, rows).await
                }
                Err(problem) => Err(problem),
            }
        }
        What::Present
        | What::Type(_)
        | What::NotNull
        | What::Min(_)
        | What::Max(_)
        | What::OneOf(_)
        | What::NewestWithin { .. }
        | What::Predicate(_)
        | What::SameDistribution { .. } => Ok(None),
    };
    match found {
        Ok(why) => Ok(why.map(Finding::Broken)),
        Err(problem) => Err(unreadable_or(engine, inputs, of, &problem).await),
    }
}

fn there_are(rows: u64) -> String {
    match rows {
        0 => "it has no rows".to_owned(),
        1 => "it has 1 row".to_owned(),
        rows => format!("it has {} rows", grouped(rows)),
    }
}

/// The file that cannot be read, of any input; else a fault that is not the data's.
async fn unreadable_or(
    engine: &Engine,
    inputs: &[Prepared<'_>],
    of: &Prepared<'_>,
    problem: &DataFusionError,
) -> FailureReport {
    for input in inputs {
        if let Some(culprit) = input.source.culprit(&engine.serial).await {
            return culprit;
        }
    }
    failed(of, problem)
}

/// A query that failed although all files can be read.
pub(super) fn failed(of: &Prepared<'_>, problem: &DataFusionError) -> FailureReport {
    let advice = match problem.find_root() {
        DataFusionError::ResourcesExhausted(_) => {
            "; give it more --memory, or more room in its --work-dir"
        }
        _ => "",
    };
    failure(
        FailureReason::Internal,
        format!(
            "input '{}' could not be checked: {}{advice}",
            of.source.name,
            reason(problem)
        ),
    )
}
