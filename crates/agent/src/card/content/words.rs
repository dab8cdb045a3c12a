//! Numbers, sizes and rules of the API in words.

use windlass_api::{Check, ColumnType};

use crate::page::number::{count, number};

/// A number that may not be there.
pub fn number_or(value: Option<f64>, otherwise: &str) -> String {
    value.map_or_else(|| otherwise.to_owned(), number)
}

/// An interval that may not be there.
pub fn interval(interval: Option<[f64; 2]>) -> String {
    match interval {
        Some([lower, upper]) => format!("{} to {}", number(lower), number(upper)),
        None => "none".to_owned(),
    }
}

/// So many things: `1 attempt`, `2 attempts`.
pub fn counted(how_many: impl TryInto<u64>, one: &str, many: &str) -> String {
    match how_many.try_into().unwrap_or_default() {
        1 => format!("1 {one}"),
        how_many => format!("{} {many}", count(how_many)),
    }
}

/// A size in bytes, and in larger units where it has more than a thousand.
pub fn bytes(bytes: i64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    #[allow(clippy::cast_precision_loss)] // it is rounded to a tenth
    let mut size = bytes as f64;
    let mut unit = None;
    for name in UNITS {
        if size < 1024.0 {
            break;
        }
        size /= 1024.0;
        unit = Some(name);
    }
    match unit {
        Some(unit) => format!("{size:.1} {unit} ({} bytes)", count(bytes)),
        None => counted(bytes, "byte", "bytes"),
    }
}

/// A check of data in words: `late: is there, is a Number, has no missing value`.
pub fn check(check: &Check) -> String {
    let mut rules = Vec::new();
    if let Some(type_) = check.type_ {
        rules.push(format!("is of the type {}", column_type(type_)));
    }
    if check.not_null {
        rules.push("has no missing value".to_owned());
    }
    if let Some(min) = &check.min {
        rules.push(format!("is at least {min}"));
    }
    if let Some(max) = &check.max {
        rules.push(format!("is at most {max}"));
    }
    if !check.one_of.is_empty() {
        rules.push(format!("is one of {}", check.one_of.join(", ")));
    }
    if check.unique {
        rules.push("has no value twice".to_owned());
    }
    if let Some(other) = &check.in_ {
        rules.push(format!(
            "is in the column {} of {}",
            other.column, other.input
        ));
    }
    if let Some(age) = &check.newest_within {
        rules.push(format!("has a time not older than {age}"));
    }
    if let Some(rows) = check.min_rows {
        rules.push(format!("has at least {}", counted(rows, "row", "rows")));
    }
    if let Some(rows) = check.max_rows {
        rules.push(format!("has at most {}", counted(rows, "row", "rows")));
    }
    if let Some(predicate) = &check.predicate {
        rules.push(format!("satisfies {predicate}"));
    }
    if check.same_distribution_as.is_some() {
        let most = check.max_psi.as_ref().map_or("0.2", |most| &most.0);
        rules.push(format!(
            "is distributed as the data of the version that served, PSI at most {most}"
        ));
    }
    if rules.is_empty() {
        rules.push("is there".to_owned());
    }
    if let Some(share) = &check.max_share {
        rules.push(format!(
            "with up to a share of {share} of the rows left out"
        ));
    }
    let of = check.column.as_deref().unwrap_or("all rows");
    format!("{of}: {}", rules.join(", "))
}

fn column_type(type_: ColumnType) -> &'static str {
    match type_ {
        ColumnType::Number => "Number",
        ColumnType::Integer => "Integer",
        ColumnType::Text => "Text",
        ColumnType::Boolean => "Boolean",
        ColumnType::Timestamp => "Timestamp",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_in_units_that_a_person_reads() {
        assert_eq!(bytes(0), "0 bytes");
        assert_eq!(bytes(1023), "1023 bytes");
        assert_eq!(bytes(1536), "1.5 KiB (1536 bytes)");
        assert_eq!(
            bytes(5 * 1024 * 1024 * 1024),
            "5.0 GiB (5\u{202f}368\u{202f}709\u{202f}120 bytes)"
        );
    }

    #[test]
    fn a_check_is_told_in_words() {
        let of = |json: serde_json::Value| check(&serde_json::from_value(json).expect("a check"));
        assert_eq!(of(serde_json::json!({"column": "late"})), "late: is there");
        assert_eq!(
            of(
                serde_json::json!({"column": "age", "type": "Integer", "notNull": true, "min": "18", "maxShare": "0.01"})
            ),
            "age: is of the type Integer, has no missing value, is at least 18, with up to a share of 0.01 of the rows left out"
        );
        assert_eq!(
            of(
                serde_json::json!({"minRows": 1000, "predicate": "a < b", "sameDistributionAs": "Champion"})
            ),
            "all rows: has at least 1000 rows, satisfies a < b, is distributed as the data of the version that served, PSI at most 0.2"
        );
    }
}
