//! The slices of the held-out rows on which a model does worst, found unasked.
//!
//! Each value of a column, and each quarter of a column of numbers, is a slice. It is named where the model's mean loss
//! on it is higher than on the other rows, and that is not chance: a one-sided test of two means, at Holm's correction over
//! all slices that were looked at. What is found this way decides nothing; it is where to look.
//!
//! Source: Chung, Kraska, Polyzotis, Tae & Whang (2019), "Slice Finder: automated data slicing for model validation", for
//! slices of one column.

use std::collections::BTreeMap;

use arrow::datatypes::SchemaRef;
use serde::Serialize;
use windlass_api::agent::FailureReport;
use windlass_statistics::cells::Cells;
use windlass_statistics::losses::Loss;
use windlass_statistics::mean::Mean;
use windlass_statistics::paired::holm;
use windlass_statistics::sample::{Accepts, Row};
use windlass_statistics::{Interval, normal};

use super::rows::Rows;
use super::segments::{equals, is_text, quoted};
use crate::data::Dataset;

/// How many are named.
const NAMED: usize = 5;
/// A column of more values is cut into quarters, or passed over where it is not of numbers.
const MOST_VALUES: usize = 30;
/// Into how many parts numbers are cut.
const PARTS: u64 = 4;
/// In how many cells numbers are taken, where there are more of them.
const NUMBER_CELLS: usize = 256;

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

/// What a row may cost; which of them it is shows when all rows were seen.
const LOSSES: [(&str, Accepts); 3] = [
    ("logLoss", Accepts::Probabilities),
    ("error", Accepts::Scores),
    ("absoluteError", Accepts::Numbers),
];

/// The mean of each loss, over the same rows.
type Losses = [Mean; LOSSES.len()];

/// Slices of rows as they come, in memory that does not grow with them.
pub struct Slices {
    columns: Vec<Sliced>,
    /// Which losses all rows have.
    is_defined: [bool; LOSSES.len()],
}

/// The values of a column.
struct Sliced {
    name: String,
    is_text: bool,
    /// Absent where there are too many.
    values: Option<BTreeMap<Option<String>, Losses>>,
    /// Of a column of numbers.
    numbers: Option<Cells<Losses>>,
    /// Rows without a number.
    without: Losses,
}

impl Slices {
    /// Of all columns of a data set, less those of these names.
    pub fn new(schema: &SchemaRef, less: &[&str]) -> Self {
        let columns = schema
            .fields()
            .iter()
            .filter(|field| !less.contains(&field.name().as_str()));
        let sliced = columns.map(|field| Sliced {
            name: field.name().clone(),
            is_text: is_text(field.data_type()),
            values: Some(BTreeMap::new()),
            numbers: field
                .data_type()
                .is_numeric()
                .then(|| Cells::new(NUMBER_CELLS)),
            without: Losses::default(),
        });
        Self {
            columns: sliced.collect(),
            is_defined: [true; LOSSES.len()],
        }
    }

    /// Takes rows, and the data that they are of.
    ///
    /// # Errors
    /// A column that cannot be read.
    pub fn add(&mut self, data: &Dataset, rows: &Rows) -> Result<(), FailureReport> {
        let mut losses = Vec::with_capacity(data.rows());
        for row in 0..data.rows() {
            let of = rows.candidate(row);
            for (is_defined, (_, accepts)) in self.is_defined.iter_mut().zip(LOSSES) {
                *is_defined &= of.check(accepts, row).is_ok();
            }
            losses.push(losses_of(&of, self.is_defined));
        }
        for column in &mut self.columns {
            column.add(data, &losses)?;
        }
        Ok(())
    }

    /// The worst, the one that is worse by most first. Slices of fewer than `min_rows` rows are not looked at.
    pub fn worst(self, min_rows: u64, confidence: f64) -> Vec<Slice> {
        let Some(which) = self.is_defined.iter().position(|is| *is) else {
            return Vec::new();
        };
        let of = LOSSES[which].0;
        let mut found = Vec::new();
        for column in self.columns {
            let slices = column.slices(which);
            for (at, (predicate, inside)) in slices.iter().enumerate() {
                // The slices of a column are all rows.
                let mut outside = Mean::default();
                let others = slices.iter().enumerate().filter(|(other, _)| *other != at);
                others.for_each(|(_, (_, mean))| outside.merge(mean));
                let is_small = inside.count < min_rows || outside.count < min_rows;
                if let Some(predicate) = predicate.clone().filter(|_| !is_small) {
                    found.extend(compare(predicate, of, *inside, outside, confidence));
                }
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
        let by_most =
            |one: &Slice, other: &Slice| other.worse_by.lower.total_cmp(&one.worse_by.lower);
        slices.sort_by(by_most);
        slices.truncate(NAMED);
        slices
    }
}

impl Sliced {
    fn add(&mut self, data: &Dataset, losses: &[Losses]) -> Result<(), FailureReport> {
        if let Some(values) = &mut self.values {
            // What has no text (a list, a structure) is no slice.
            let Ok(texts) = data.texts(&self.name) else {
                self.values = None;
                return Ok(());
            };
            for (text, of) in texts.into_iter().zip(losses) {
                merge(values.entry(text).or_default(), of);
            }
            if values.len() > MOST_VALUES {
                self.values = None;
            }
        }
        if let Some(numbers) = &mut self.numbers {
            for (number, of) in data.numbers(&self.name)?.into_iter().zip(losses) {
                match number {
                    Some(number) => numbers.add(number, *of),
                    None => merge(&mut self.without, of),
                }
            }
        }
        Ok(())
    }

    /// Predicates, and the losses of the rows that they choose; together all rows. One part alone has no predicate.
    fn slices(self, which: usize) -> Vec<(Option<String>, Mean)> {
        let (name, is_text) = (self.name, self.is_text);
        if let Some(values) = self.values {
            let of = |(value, losses): (Option<String>, Losses)| {
                let predicate = equals(&name, value.as_deref(), is_text);
                (Some(predicate), losses[which])
            };
            return values.into_iter().map(of).collect();
        }
        let Some(numbers) = self.numbers else {
            return Vec::new();
        };
        let mut slices = parts(&name, numbers, which);
        slices.push((Some(equals(&name, None, false)), self.without[which]));
        slices
    }
}

/// Quarters of a column of numbers.
fn parts(name: &str, mut cells: Cells<Losses>, which: usize) -> Vec<(Option<String>, Mean)> {
    cells.settle();
    let rows: u64 = cells.all().map(|losses| losses[which].count).sum();
    let (mut part, mut seen) = (1, 0);
    let mut parts: Vec<(Option<f64>, Mean)> = vec![(None, Mean::default())];
    for (start, losses) in cells.starts().zip(cells.all()) {
        if seen > 0 && seen * PARTS >= part * rows {
            parts.push((Some(start), Mean::default()));
            part = seen * PARTS / rows + 1;
        }
        seen += losses[which].count;
        if let Some((_, mean)) = parts.last_mut() {
            mean.merge(&losses[which]);
        }
    }
    let column = quoted(name);
    let edges: Vec<Option<f64>> = parts.iter().map(|(start, _)| *start).collect();
    let predicate = |at: usize| {
        let from = edges[at].map(|edge| format!("{column} >= {edge}"));
        let to = edges.get(at + 1).copied().flatten();
        let to = to.map(|edge| format!("{column} < {edge}"));
        let both: Vec<String> = from.into_iter().chain(to).collect();
        (!both.is_empty()).then(|| both.join(" AND "))
    };
    let all = parts.iter().enumerate();
    all.map(|(at, (_, mean))| (predicate(at), *mean)).collect()
}

/// What a row costs, of the losses that it has.
fn losses_of(row: &Row<'_>, is_defined: [bool; LOSSES.len()]) -> Losses {
    let is_wrong = || f64::from(u8::from(row.class() != row.answered_class()));
    let of: [&dyn Fn() -> f64; LOSSES.len()] =
        [&|| Loss::Log.of(row), &is_wrong, &|| Loss::Absolute.of(row)];
    let mut losses = Losses::default();
    for ((mean, of), is_defined) in losses.iter_mut().zip(of).zip(is_defined) {
        if is_defined {
            mean.add(of());
        }
    }
    losses
}

fn merge(into: &mut Losses, more: &Losses) {
    for (mean, more) in into.iter_mut().zip(more) {
        mean.merge(more);
    }
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};

    use super::super::rows::Known;
    use super::*;
    use crate::data::answers::Answers;

    /// The worst slices of rows with a town and an age, some of which are answered at random, and all others well.
    fn worst(is_bad: impl Fn(&str, f64) -> bool, less: &[&str], min_rows: u64) -> Vec<Slice> {
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
        let rows = Rows {
            candidate: Answers {
                width: 1,
                values: answers.collect(),
            },
            known: Known {
                labels: labels.clone(),
                ..Known::default()
            },
            ..Rows::default()
        };
        let batch = RecordBatch::try_from_iter([
            ("town", Arc::new(StringArray::from(towns)) as ArrayRef),
            ("age", Arc::new(Float64Array::from(ages)) as ArrayRef),
        ]);
        let batch = batch.expect("a batch");
        let mut slices = Slices::new(&batch.schema(), less);
        let data = Dataset::of_batches("rows", &[batch], super::super::REASONS);
        slices
            .add(&data.expect("a data set"), &rows)
            .expect("slices");
        slices.worst(min_rows, 0.95)
    }

    #[test]
    fn a_slice_that_does_worse_is_found_and_named() {
        let found = worst(|town, _| town == "Kiel", &[], 200);
        assert_eq!(found[0].predicate, "town = 'Kiel'");
        assert_eq!((found[0].rows, found[0].of), (2000, "logLoss"));
        assert!(found[0].worse_by.lower > 0.3, "{:?}", found[0]);

        let found = worst(|_, age| age >= 65.0, &[], 200);
        assert!(found[0].predicate.starts_with("age >= 6"), "{found:?}");
        assert!((1400..1600).contains(&found[0].rows), "{found:?}");
        assert!(worst(|_, age| age >= 65.0, &["age"], 200).is_empty());
    }

    #[test]
    fn where_no_slice_does_worse_none_is_named() {
        assert_eq!(worst(|_, _| false, &[], 200), []);
        // Nor one of too few rows.
        assert_eq!(worst(|town, _| town == "Kiel", &[], 3000), []);
    }
}
