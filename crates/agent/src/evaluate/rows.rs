//! Rows that models are judged on, with what is known of each.

use windlass_api::agent::FailureReport;
use windlass_statistics::sample::Row;

use super::segments::Members;
use crate::data::Dataset;
use crate::data::answers::{Answers, class_of, place_of};

/// Which columns hold what is known of rows.
pub struct Columns<'a> {
    /// The label.
    pub label: &'a str,
    /// The classes that labels name; none for numbers.
    pub classes: &'a [String],
    /// How much a row counts.
    pub weight: Option<&'a str>,
    /// Which query it is of.
    pub query: Option<&'a str>,
}

/// What is known of rows but for answers: labels, weights and queries.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Known {
    /// The labels; of classes, their places from 0.
    pub labels: Vec<f64>,
    /// How much each row counts; absent where all count the same.
    pub weights: Option<Vec<f64>>,
    /// The query of each row. Rows of one query follow each other, also from batch to batch.
    pub queries: Option<Vec<u64>>,
}

/// Rows with all that they are judged by.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// What is known.
    pub known: Known,
    /// What the candidate answered.
    pub candidate: Answers,
    /// What the champion did, where there is one.
    pub champion: Option<Answers>,
    /// Which segments they are of.
    pub members: Members,
}

impl Rows {
    /// A row with the candidate's answer.
    pub fn candidate(&self, row: usize) -> Row<'_> {
        self.known.row(row, &self.candidate)
    }

    /// A row with the champion's answer, where there is one.
    pub fn champion(&self, row: usize) -> Option<Row<'_>> {
        let answers = self.champion.as_ref()?;
        Some(self.known.row(row, answers))
    }
}

impl Known {
    fn row<'a>(&self, row: usize, answers: &'a Answers) -> Row<'a> {
        let query = self.queries.as_ref().map(|queries| queries[row]);
        Row {
            label: self.labels[row],
            answers: answers.of(row),
            weight: self.weights.as_ref().map_or(1.0, |weights| weights[row]),
            query: query.and_then(|query| usize::try_from(query).ok()),
        }
    }
}

/// Rows without a value: how many, and the first.
#[derive(Clone, Copy, Default)]
struct Missing {
    rows: usize,
    first: usize,
}

/// Reads batches of rows, one after the other.
pub struct Reader<'a> {
    columns: Columns<'a>,
    rows: usize,
    /// Rows without a label, a weight, a query.
    missing: [Missing; 3],
    /// The query of the last row, and how many there were before it.
    query: Option<String>,
    queries: u64,
}

impl<'a> Reader<'a> {
    /// Nothing read.
    pub fn new(columns: Columns<'a>) -> Self {
        Self {
            columns,
            rows: 0,
            missing: [Missing::default(); 3],
            query: None,
            queries: 0,
        }
    }

    /// How many rows were read.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// What is known of a batch; nothing once a row lacked what is asked for, which is counted to the end.
    ///
    /// # Errors
    /// With the first row whose label, weight or query is none.
    pub fn read(&mut self, data: &Dataset) -> Result<Option<Known>, FailureReport> {
        self.rows += data.rows();
        let first = data.first();
        let labels = whole(&mut self.missing[0], first, labels(data, &self.columns)?);
        let weights = match self.columns.weight {
            Some(name) => Some(whole(&mut self.missing[1], first, weights(data, name)?)),
            None => None,
        };
        let queries = match self.columns.query {
            Some(name) => {
                let queries = self.queries(data, name)?;
                Some(whole(&mut self.missing[2], first, queries))
            }
            None => None,
        };
        let is_whole = self.missing.iter().all(|missing| missing.rows == 0);
        Ok(is_whole.then_some(Known {
            labels,
            weights,
            queries,
        }))
    }

    /// What the rows lack, in words; absent when nothing is.
    pub fn lacking(&self) -> Option<String> {
        let names = [
            ("label", Some(self.columns.label)),
            ("weight", self.columns.weight),
            ("query", self.columns.query),
        ];
        let all = names.into_iter().zip(self.missing);
        let mut lacking = all.filter(|(_, missing)| missing.rows > 0);
        let ((what, name), missing) = lacking.next()?;
        Some(format!(
            "{what} '{}': {} of {} rows have no {what}, the first is row {}",
            name.unwrap_or_default(),
            missing.rows,
            self.rows,
            missing.first
        ))
    }

    fn queries(&mut self, data: &Dataset, name: &str) -> Result<Vec<Option<u64>>, FailureReport> {
        let place = |text: Option<String>| {
            let text = text?;
            if self.query.as_ref() != Some(&text) {
                self.query = Some(text);
                self.queries += 1;
            }
            Some(self.queries)
        };
        Ok(data.texts(name)?.into_iter().map(place).collect())
    }
}

fn labels(data: &Dataset, columns: &Columns<'_>) -> Result<Vec<Option<f64>>, FailureReport> {
    let (name, classes) = (columns.label, columns.classes);
    if classes.is_empty() {
        return data.numbers(name);
    }
    let class = |(row, text): (usize, Option<String>)| {
        let Some(text) = text.filter(|text| !text.trim().is_empty()) else {
            return Ok(None);
        };
        let unknown = || {
            let (row, listed) = (data.first() + row, classes.join(", "));
            let problem = format!(
                "row {row} holds '{text}', which is none of the classes of the model's signature: {listed}"
            );
            data.about(name, &problem)
        };
        place(&text, classes).map(Some).ok_or_else(unknown)
    };
    data.texts(name)?
        .into_iter()
        .enumerate()
        .map(class)
        .collect()
}

/// The place of a class by its name, or by its place as a number.
#[allow(clippy::cast_precision_loss)] // a place among some classes
fn place(text: &str, classes: &[String]) -> Option<f64> {
    let by_name = class_of(text, classes);
    let by_place = || {
        let number: f64 = text.trim().parse().ok()?;
        place_of(number).filter(|place| *place < classes.len())
    };
    by_name.or_else(by_place).map(|place| place as f64)
}

fn weights(data: &Dataset, name: &str) -> Result<Vec<Option<f64>>, FailureReport> {
    let weights = data.numbers(name)?;
    let is_none = |weight: &f64| !(weight.is_finite() && *weight >= 0.0);
    let of_rows = weights.iter().enumerate();
    let mut bad = of_rows.filter_map(|(row, weight)| Some((row, weight.filter(is_none)?)));
    match bad.next() {
        Some((row, weight)) => {
            let row = data.first() + row;
            let problem =
                format!("row {row} holds {weight}, which is no finite number of at least 0");
            Err(data.about(name, &problem))
        }
        None => Ok(weights),
    }
}

/// The values that are there; the others are counted. There are so many rows before these.
fn whole<T>(missing: &mut Missing, before: usize, values: Vec<Option<T>>) -> Vec<T> {
    let rows = values.len();
    let gap = values.iter().position(Option::is_none);
    if let (Some(gap), 0) = (gap, missing.rows) {
        missing.first = before + gap;
    }
    let there: Vec<T> = values.into_iter().flatten().collect();
    missing.rows += rows - there.len();
    there
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_a_class_by_name_or_by_place() {
        let classes = ["cat", "dog", "2"].map(str::to_owned);
        let places =
            ["dog", " Cat ", "1", "1.0", "2", "3", "cow"].map(|text| place(text, &classes));
        assert_eq!(
            places,
            [
                Some(1.0),
                Some(0.0),
                Some(1.0),
                Some(1.0),
                Some(2.0),
                None,
                None
            ]
        );
    }
}
