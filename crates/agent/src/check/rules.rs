//! The rules of checks, resolved from the command line: what makes no sense ends here, before any data is read.
//!
//! ```text
//!   --check NAME=JSON ──parse──> Check (crates/api) ──rules_of──> Rule, one each, in the manifest's order
//! ```
//!
//! Absent on purpose: whether a rule suits the column that it speaks of; that needs the data.

use std::fmt;
use std::time::Duration;

use serde_json::Value;
use windlass_api::{Check, ColumnOf, ColumnType, Decimal};

/// How far a column may have moved when the check says nothing.
const MAX_PSI: f64 = 0.2;

/// One rule of a check.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rule {
    /// The column that it speaks of; absent where it speaks of the whole input.
    pub column: Option<String>,
    /// What has to hold.
    pub what: What,
    /// The share of rows that may break it, in [0, 1).
    pub max_share: f64,
}

impl Rule {
    /// `, column 'age'`; nothing where the rule is about how many rows there are.
    pub(super) fn subject(&self) -> String {
        match (&self.column, &self.what) {
            (None, _) | (_, What::MinRows(_) | What::MaxRows(_)) => String::new(),
            (Some(column), _) => format!(", column '{column}'"),
        }
    }
}

/// What has to hold.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum What {
    /// The column is there.
    Present,
    /// The column is of the type.
    Type(ColumnType),
    /// No value is missing.
    NotNull,
    /// No value is below.
    Min(Bound),
    /// No value is above.
    Max(Bound),
    /// Each value is one of these.
    OneOf(Vec<String>),
    /// No value is there twice.
    Unique,
    /// Each value is in that column.
    In(ColumnOf),
    /// The newest value is at most so old.
    NewestWithin {
        /// As it was written.
        text: String,
        /// What it stands for.
        age: Duration,
    },
    /// At least so many rows.
    MinRows(u64),
    /// At most so many rows.
    MaxRows(u64),
    /// Not false for any row.
    Predicate(String),
    /// As in the reference.
    SameDistribution {
        /// How far a column may have moved.
        max_psi: f64,
    },
}

/// A bound as it was written, and its number.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bound {
    pub text: String,
    pub value: f64,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Present => write!(f, "column"),
            Self::Type(of) => write!(f, "type {of:?}"),
            Self::NotNull => write!(f, "notNull"),
            Self::Min(bound) => write!(f, "min {}", bound.text),
            Self::Max(bound) => write!(f, "max {}", bound.text),
            Self::OneOf(values) => write!(f, "oneOf {}", few(values)),
            Self::Unique => write!(f, "unique"),
            Self::In(ColumnOf { input, column }) => {
                write!(f, "in column '{column}' of input '{input}'")
            }
            Self::NewestWithin { text, .. } => write!(f, "newestWithin {text}"),
            Self::MinRows(rows) => write!(f, "minRows {rows}"),
            Self::MaxRows(rows) => write!(f, "maxRows {rows}"),
            Self::Predicate(predicate) => write!(f, "predicate \"{predicate}\""),
            Self::SameDistribution { max_psi } => {
                write!(f, "sameDistributionAs Champion, maxPsi {max_psi}")
            }
        }
    }
}

/// The first values of a list, for a message.
fn few(values: &[String]) -> String {
    const NAMED: usize = 5;
    let named: Vec<String> = values
        .iter()
        .take(NAMED)
        .map(|v| format!("'{v}'"))
        .collect();
    match values.len().saturating_sub(NAMED) {
        0 => format!("[{}]", named.join(", ")),
        more => format!("[{} and {more} more]", named.join(", ")),
    }
}

/// Reads a check as it is in a manifest.
///
/// # Errors
/// A sentence with the field that is wrong.
pub(super) fn parse(json: &str) -> Result<Check, String> {
    let value: Value =
        serde_json::from_str(json).map_err(|problem| format!("it is no JSON: {problem}"))?;
    let Value::Object(fields) = &value else {
        return Err("it is no JSON object".to_owned());
    };
    // One field at a time, so that a message names the one that is wrong.
    for (name, content) in fields {
        let alone = Value::Object([(name.clone(), content.clone())].into_iter().collect());
        serde_json::from_value::<Check>(alone).map_err(|problem| format!(".{name}: {problem}"))?;
    }
    let check: Check =
        serde_json::from_value(value.clone()).map_err(|problem| problem.to_string())?;
    // What the type does not know is not in what it writes; a misspelt rule would hold for ever.
    let known = serde_json::to_value(&check).map_err(|problem| problem.to_string())?;
    match unknown(&value, &known) {
        Some(path) => Err(format!("{path} is no field of a check")),
        None => Ok(check),
    }
}

/// The path of a field that was read but is not known.
fn unknown(read: &Value, known: &Value) -> Option<String> {
    let fields = read.as_object()?;
    fields.iter().find_map(|(name, content)| {
        match known.get(name) {
            Some(known) => unknown(content, known).map(|rest| format!(".{name}{rest}")),
            // A default is not written.
            None if FIELDS.contains(&name.as_str()) => None,
            None => Some(format!(".{name}")),
        }
    })
}

/// Fields that are not written when they have their default.
const FIELDS: [&str; 15] = [
    "column",
    "type",
    "notNull",
    "min",
    "max",
    "oneOf",
    "unique",
    "in",
    "newestWithin",
    "minRows",
    "maxRows",
    "predicate",
    "sameDistributionAs",
    "maxPsi",
    "maxShare",
];

/// The rules of a check.
///
/// # Errors
/// A sentence with the field that makes no sense.
pub(super) fn rules_of(check: &Check) -> Result<Vec<Rule>, String> {
    let decimal = |field: &str, decimal: &Decimal| {
        decimal
            .value()
            .map_err(|problem| format!(".{field}: {problem}"))
    };
    let bound = |field: &str, text: &Decimal| {
        decimal(field, text).map(|value| Bound {
            text: text.0.clone(),
            value,
        })
    };
    let rows = |field: &str, rows: i64| {
        u64::try_from(rows).map_err(|_| format!(".{field}: {rows} is below 0"))
    };
    let max_share = match &check.max_share {
        Some(share) => decimal("maxShare", share)?,
        None => 0.0,
    };
    if !(0.0..1.0).contains(&max_share) {
        return Err(format!(
            ".maxShare: {max_share} is not at least 0 and below 1"
        ));
    }
    let max_psi = match &check.max_psi {
        Some(psi) => decimal("maxPsi", psi)?,
        None => MAX_PSI,
    };
    if max_psi <= 0.0 {
        return Err(format!(".maxPsi: {max_psi} is not above 0"));
    }
    if check.max_psi.is_some() && check.same_distribution_as.is_none() {
        return Err(".maxPsi is a limit of sameDistributionAs, which is not given".to_owned());
    }
    let mut of_column = Vec::new();
    of_column.extend(check.type_.map(What::Type));
    of_column.extend(check.not_null.then_some(What::NotNull));
    if let Some(min) = &check.min {
        of_column.push(What::Min(bound("min", min)?));
    }
    if let Some(max) = &check.max {
        of_column.push(What::Max(bound("max", max)?));
    }
    of_column.extend((!check.one_of.is_empty()).then(|| What::OneOf(check.one_of.clone())));
    of_column.extend(check.unique.then_some(What::Unique));
    of_column.extend(check.in_.clone().map(What::In));
    if let Some(duration) = &check.newest_within {
        let age = duration
            .value()
            .map_err(|problem| format!(".newestWithin: {problem}"))?;
        let text = duration.0.clone();
        of_column.push(What::NewestWithin { text, age });
    }
    if !of_column.is_empty() && check.column.is_none() {
        return Err(format!(
            ".column is required: {} speaks of a column",
            of_column[0]
        ));
    }
    let mut whats = of_column;
    if let Some(least) = check.min_rows {
        whats.push(What::MinRows(rows("minRows", least)?));
    }
    if let Some(most) = check.max_rows {
        whats.push(What::MaxRows(rows("maxRows", most)?));
    }
    if let (Some(least), Some(most)) = (check.min_rows, check.max_rows)
        && least > most
    {
        return Err(format!(".minRows: {least} is above maxRows, {most}"));
    }
    whats.extend(check.predicate.clone().map(What::Predicate));
    whats.extend(
        check
            .same_distribution_as
            .map(|_| What::SameDistribution { max_psi }),
    );
    if whats.is_empty() {
        if check.column.is_none() {
            return Err("it has no rule and no column".to_owned());
        }
        whats.push(What::Present);
    }
    let column = &check.column;
    Ok(whats
        .into_iter()
        .map(|what| Rule {
            column: column.clone(),
            what,
            max_share,
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(json: &str) -> Result<Vec<Rule>, String> {
        rules_of(&parse(json)?)
    }

    #[test]
    fn what_makes_no_sense_is_named_by_its_field() {
        for (json, says) in [
            ("{", "no JSON"),
            ("[]", "no JSON object"),
            (r#"{"column":"a","notnull":true}"#, ".notnull is no field"),
            (
                r#"{"column":"a","notNull":"yes"}"#,
                ".notNull: invalid type",
            ),
            (
                r#"{"column":"a","type":"Float"}"#,
                ".type: unknown variant `Float`",
            ),
            (
                r#"{"column":"a","in":{"input":"b"}}"#,
                ".in: missing field `column`",
            ),
            (
                r#"{"column":"a","in":{"input":"b","column":"c","of":1}}"#,
                ".in.of is no field",
            ),
            (
                r#"{"column":"a","min":"low"}"#,
                ".min: \"low\" is not a decimal number",
            ),
            (r#"{"column":"a","min":1}"#, ".min: invalid type"),
            (r#"{"column":"a","newestWithin":"2 days"}"#, ".newestWithin"),
            (r#"{"min":"1"}"#, ".column is required: min 1"),
            (
                r#"{"unique":true,"minRows":1}"#,
                ".column is required: unique",
            ),
            (r#"{"minRows":-1}"#, ".minRows: -1"),
            (
                r#"{"minRows":3,"maxRows":2}"#,
                ".minRows: 3 is above maxRows, 2",
            ),
            (r#"{"minRows":3,"maxPsi":"0.1"}"#, ".maxPsi is a limit"),
            (
                r#"{"sameDistributionAs":"Champion","maxPsi":"0"}"#,
                ".maxPsi: 0",
            ),
            (
                r#"{"column":"a","unique":true,"maxShare":"1"}"#,
                ".maxShare: 1",
            ),
            (
                r#"{"column":"a","unique":true,"maxShare":"-0.1"}"#,
                ".maxShare: -0.1",
            ),
            ("{}", "no rule"),
        ] {
            let problem = rules(json).expect_err(json);
            assert!(problem.contains(says), "{json}: {problem}");
        }
    }

    #[test]
    fn a_check_is_its_rules_in_the_order_of_the_manifest() {
        let all = r#"{"column":"a b","type":"Number","notNull":true,"min":"0","max":"1.5","oneOf":["1"],"unique":true,
            "in":{"input":"b","column":"c"},"newestWithin":"26h","minRows":1,"maxRows":2,"predicate":"a > 0",
            "sameDistributionAs":"Champion","maxShare":"0.01"}"#;
        let rules = rules(all).expect("rules");
        let names: Vec<String> = rules.iter().map(|rule| rule.what.to_string()).collect();
        assert_eq!(
            names,
            [
                "type Number",
                "notNull",
                "min 0",
                "max 1.5",
                "oneOf ['1']",
                "unique",
                "in column 'c' of input 'b'",
                "newestWithin 26h",
                "minRows 1",
                "maxRows 2",
                "predicate \"a > 0\"",
                "sameDistributionAs Champion, maxPsi 0.2",
            ]
        );
        assert!(
            rules
                .iter()
                .all(|rule| rule.column.as_deref() == Some("a b"))
        );
        assert!(
            rules
                .iter()
                .all(|rule| (rule.max_share - 0.01).abs() < 1e-12)
        );
    }

    #[test]
    fn a_column_alone_has_to_be_there() {
        let rules =
            rules(r#"{"column":"a","notNull":false,"oneOf":[],"min":null}"#).expect("rules");
        assert_eq!(rules.len(), 1);
        assert_eq!(rules[0].what, What::Present);
    }
}
