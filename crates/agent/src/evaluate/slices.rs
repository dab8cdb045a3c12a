//! The slices of the held-out rows on which a model does worst, found unasked.
//!
//! Each value of a column, and each quarter of a column of numbers, is a slice. It is named where the model's mean loss
//! on it is higher than on the other rows, and that is not chance: a one-sided test of two means, at Holm's correction over
//! all slices that were looked at. What is found this way decides nothing; it is where to look.
//!
//! Source: Chung, Kraska, Polyzotis, Tae & Whang (2019), "Slice Finder: automated data slicing for model validation", for
//! slices of one column.

use arrow::array::Array as _;
use serde::Serialize;
use windlass_statistics::losses::Loss;
use windlass_statistics::mean::Mean;
use windlass_statistics::paired::holm;
use windlass_statistics::sample::{Accepts, Sample};
use windlass_statistics::{Interval, bins, normal};

use super::segments::{equals, is_text, quoted, values_of};
use crate::data::{Dataset, column};

/// How many are named.
const NAMED: usize = 5;
/// A column of more values is cut into quarters, or passed over where it is not of numbers.
const MOST_VALUES: usize = 30;
/// Into how many parts numbers are cut.
const PARTS: usize = 4;

/// A slice on which the model does worse than on the other rows.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Slice {
    /// As a segment could name it.
    pub predicate: String,
    /// Its rows.
    pub rows: u64,
    /// What the loss is: `logLoss`, `error` (the share of wrong classes) or `absoluteError`.
    pub of: &'static str,
    /// The mean loss on it.
    pub loss: f64,
    /// The mean loss on all other rows.
    pub elsewhere: f64,
    /// The interval of the difference.
    pub worse_by: Interval,
}

/// The worst slices, the one that is worse by most first. Slices of fewer than `min_rows` rows are not looked at.
pub fn worst(
    data: &Dataset,
    without: &[&str],
    sample: &Sample<'_>,
    min_rows: u64,
    confidence: f64,
) -> Vec<Slice> {
    let (of, losses) = losses(sample);
    let all: Mean = losses.iter().copied().collect();
    let mut found = Vec::new();
    for name in data.columns() {
        if without.contains(&name.as_str()) {
            continue;
        }
        for (predicate, rows) in of_column(data, &name) {
            let inside: Mean = rows.iter().map(|row| losses[*row]).collect();
            if inside.count < min_rows || all.count - inside.count < min_rows {
                continue;
            }
            let mut is_inside = vec![false; losses.len()];
            for row in rows {
                is_inside[row] = true;
            }
            let outside = losses.iter().zip(is_inside).filter(|(_, is)| !is);
            let outside: Mean = outside.map(|(loss, _)| *loss).collect();
            found.extend(compare(predicate, of, inside, outside, confidence));
        }
    }
    let p_values: Vec<f64> = found.iter().map(|(_, p)| *p).collect();
    let alpha = 1.0 - confidence;
    let mut slices: Vec<Slice> = found
        .into_iter()
        .zip(holm(&p_values))
        .filter(|(_, adjusted)| *adjusted <= alpha)
        .map(|((slice, _), _)| slice)
        .collect();
    let by_most = |one: &Slice, other: &Slice| other.worse_by.lower.total_cmp(&one.worse_by.lower);
    slices.sort_by(by_most);
    slices.truncate(NAMED);
    slices
}

/// A slice against all other rows, and the p-value of its being no worse.
fn compare(
    predicate: String,
    of: &'static str,
    inside: Mean,
    outside: Mean,
    confidence: f64,
) -> Option<(Slice, f64)> {
    let (loss, elsewhere) = (inside.value()?, outside.value()?);
    let error = inside.standard_error()?.hypot(outside.standard_error()?);
    let apart = loss - elsewhere;
    // What is left of rounding is no difference.
    let is_more = apart > 1e-9 * (loss.abs() + elsewhere.abs()) && error > 0.0;
    let p = if is_more {
        normal::cdf(-apart / error)
    } else {
        1.0
    };
    let slice = Slice {
        predicate,
        rows: inside.count,
        of,
        loss,
        elsewhere,
        worse_by: Interval::of_normal(apart, error, confidence),
    };
    Some((slice, p))
}

/// What each row costs, by what labels and answers are.
fn losses(sample: &Sample<'_>) -> (&'static str, Vec<f64>) {
    let rows = 0..sample.rows();
    let of = |loss: Loss| rows.clone().map(|row| loss.of(sample, row)).collect();
    if sample.check(Accepts::Probabilities).is_ok() {
        return ("logLoss", of(Loss::Log));
    }
    if sample.check(Accepts::Scores).is_ok() {
        let is_wrong = |row| sample.class(row) != sample.answered_class(row);
        let wrong = rows.map(|row| f64::from(u8::from(is_wrong(row))));
        return ("error", wrong.collect());
    }
    ("absoluteError", of(Loss::Absolute))
}

/// The slices of a column: predicates, and their rows.
fn of_column(data: &Dataset, name: &str) -> Vec<(String, Vec<usize>)> {
    let Ok(values) = data.column(name) else {
        return Vec::new();
    };
    let Ok(texts) = column::texts(values) else {
        return Vec::new();
    };
    if let Some(by_value) = values_of(texts, MOST_VALUES) {
        let is_text = is_text(values);
        return by_value
            .into_iter()
            .map(|(value, rows)| (equals(name, value.as_deref(), is_text), rows))
            .collect();
    }
    let is_number = values.data_type().is_numeric();
    match column::numbers(values) {
        Ok(numbers) if is_number => parts(name, &numbers),
        Ok(_) | Err(_) => Vec::new(),
    }
}

/// Quarters of a column of numbers, and its rows without one.
fn parts(name: &str, numbers: &[Option<f64>]) -> Vec<(String, Vec<usize>)> {
    let there: Vec<f64> = numbers
        .iter()
        .flatten()
        .copied()
        .filter(|one| one.is_finite())
        .collect();
    let edges = bins::edges(&there, PARTS);
    let mut rows = vec![Vec::new(); edges.len() + 1];
    let mut without = Vec::new();
    for (row, number) in numbers.iter().enumerate() {
        match number {
            Some(number) => rows[bins::bin(&edges, *number)].push(row),
            None => without.push(row),
        }
    }
    let column = quoted(name);
    let predicate = |part: usize| {
        let from = part
            .checked_sub(1)
            .map(|at| format!("{column} >= {}", edges[at]));
        let to = edges.get(part).map(|edge| format!("{column} < {edge}"));
        let both: Vec<String> = from.into_iter().chain(to).collect();
        both.join(" AND ")
    };
    let parts = rows.into_iter().enumerate();
    parts
        .map(|(part, rows)| (predicate(part), rows))
        .filter(|(predicate, _)| !predicate.is_empty())
        .chain([(equals(name, None, false), without)])
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};

    use super::*;

    /// Rows of which those from Kiel above 30 are answered at random, and all others well.
    fn rows(is_bad: impl Fn(&str, f64) -> bool) -> (Dataset, Vec<f64>, Vec<f64>) {
        let mut random = windlass_statistics::random::Random::new(3);
        let count = 6000;
        let towns: Vec<&str> = (0..count)
            .map(|row| ["Kiel", "Bonn", "Ulm"][row % 3])
            .collect();
        let ages: Vec<f64> = (0..count).map(|_| 20.0 + 60.0 * random.uniform()).collect();
        let labels: Vec<f64> = (0..count)
            .map(|_| f64::from(u8::from(random.uniform() < 0.4)))
            .collect();
        let answers = (0..count).map(|row| {
            if is_bad(towns[row], ages[row]) {
                0.4
            } else {
                0.1 + 0.8 * labels[row]
            }
        });
        let answers: Vec<f64> = answers.collect();
        let batch = RecordBatch::try_from_iter([
            ("town", Arc::new(StringArray::from(towns)) as ArrayRef),
            ("age", Arc::new(Float64Array::from(ages)) as ArrayRef),
        ]);
        let data = Dataset::of_batches("rows", &[batch.expect("a batch")], super::super::REASONS);
        (data.expect("a data set"), labels, answers)
    }

    #[test]
    fn a_slice_that_does_worse_is_found_and_named() {
        let (data, labels, answers) = rows(|town, _| town == "Kiel");
        let found = worst(&data, &[], &Sample::new(&labels, &answers), 200, 0.95);
        assert_eq!(found[0].predicate, "town = 'Kiel'");
        assert_eq!((found[0].rows, found[0].of), (2000, "logLoss"));
        assert!(found[0].worse_by.lower > 0.3, "{:?}", found[0]);

        let (data, labels, answers) = rows(|_, age| age >= 65.0);
        let found = worst(&data, &[], &Sample::new(&labels, &answers), 200, 0.95);
        assert!(found[0].predicate.starts_with("age >= 6"), "{found:?}");
        assert!(worst(&data, &["age"], &Sample::new(&labels, &answers), 200, 0.95).is_empty());
    }

    #[test]
    fn where_no_slice_does_worse_none_is_named() {
        let (data, labels, answers) = rows(|_, _| false);
        assert_eq!(
            worst(&data, &[], &Sample::new(&labels, &answers), 200, 0.95),
            []
        );
        // Nor one of too few rows.
        let (data, labels, answers) = rows(|town, _| town == "Kiel");
        assert_eq!(
            worst(&data, &[], &Sample::new(&labels, &answers), 3000, 0.95),
            []
        );
    }
}
