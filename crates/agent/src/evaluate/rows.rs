//! The rows that models are judged on, with what is known of each.

use std::collections::HashMap;

use windlass_api::agent::FailureReport;
use windlass_statistics::sample::Sample;

use crate::data::answers::{Answers, class_of, place_of};
use crate::data::{Dataset, column};

/// What is known of rows but for answers: labels, weights and queries.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Known {
    /// The labels; of classes, their places from 0.
    pub labels: Vec<f64>,
    /// How much each row counts; absent where all count the same.
    pub weights: Option<Vec<f64>>,
    /// The query of each row, from 0 in the order in which they come up.
    pub queries: Option<Vec<usize>>,
}

/// Rows of a sample, those of one query together.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    labels: Vec<f64>,
    weights: Option<Vec<f64>>,
    /// Where each query begins, and after the last the number of rows.
    starts: Option<Vec<usize>>,
    candidate: Answers,
    champion: Option<Answers>,
}

impl Known {
    /// Reads the columns of a data set.
    ///
    /// # Errors
    /// With the first row that has no label, no weight or no query, or one that is none.
    pub fn read(
        data: &Dataset,
        label: &str,
        classes: &[String],
        weight: Option<&str>,
        query: Option<&str>,
    ) -> Result<Self, FailureReport> {
        Ok(Self {
            labels: labels(data, label, classes)?,
            weights: weight.map(|name| weights(data, name)).transpose()?,
            queries: query.map(|name| queries(data, name)).transpose()?,
        })
    }

    /// Some of the rows, or all, with what models answered.
    pub fn rows(
        &self,
        rows: Option<&[usize]>,
        candidate: &Answers,
        champion: Option<&Answers>,
    ) -> Rows {
        let mut order: Vec<usize> = match rows {
            Some(rows) => rows.to_vec(),
            None => (0..self.labels.len()).collect(),
        };
        let mut starts = None;
        if let Some(queries) = &self.queries {
            order.sort_by_key(|row| queries[*row]);
            starts = Some(starts_of(order.iter().map(|row| queries[*row])));
        }
        let take = |values: &[f64]| -> Vec<f64> { order.iter().map(|row| values[*row]).collect() };
        Rows {
            labels: take(&self.labels),
            weights: self.weights.as_deref().map(take),
            starts,
            candidate: candidate.select(&order),
            champion: champion.map(|champion| champion.select(&order)),
        }
    }
}

impl Rows {
    /// How many.
    pub fn count(&self) -> usize {
        self.labels.len()
    }

    /// With the candidate's answers.
    pub fn candidate(&self) -> Sample<'_> {
        self.sample(&self.candidate)
    }

    /// With the champion's, where there is one.
    pub fn champion(&self) -> Option<Sample<'_>> {
        self.champion.as_ref().map(|answers| self.sample(answers))
    }

    fn sample<'a>(&'a self, answers: &'a Answers) -> Sample<'a> {
        let mut sample = Sample::of_classes(&self.labels, &answers.values, answers.width.max(1));
        if let Some(weights) = &self.weights {
            sample = sample.weighted(weights);
        }
        if let Some(starts) = &self.starts {
            sample = sample.in_queries(starts);
        }
        sample
    }
}

/// Where each query begins in rows that lie together by query, and the number of rows.
fn starts_of(queries: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut starts = Vec::new();
    let (mut before, mut count) = (None, 0);
    for query in queries {
        if before != Some(query) {
            starts.push(count);
            before = Some(query);
        }
        count += 1;
    }
    starts.push(count);
    starts
}

fn labels(data: &Dataset, name: &str, classes: &[String]) -> Result<Vec<f64>, FailureReport> {
    let about = |problem: String| data.unreadable(&format!("label '{name}': {problem}"));
    let values = if classes.is_empty() {
        column::numbers(data.column(name)?).map_err(about)?
    } else {
        let texts = column::texts(data.column(name)?).map_err(about)?;
        let listed = classes.join(", ");
        let class = |(row, text): (usize, Option<String>)| {
            let Some(text) = text.filter(|text| !text.trim().is_empty()) else {
                return Ok(None);
            };
            let unknown = || {
                format!(
                    "row {row} holds '{text}', which is none of the classes of the model's signature: {listed}"
                )
            };
            place(&text, classes).map(Some).ok_or_else(unknown)
        };
        let places: Result<Vec<Option<f64>>, String> =
            texts.into_iter().enumerate().map(class).collect();
        places.map_err(about)?
    };
    whole(values, "label").map_err(about)
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

fn weights(data: &Dataset, name: &str) -> Result<Vec<f64>, FailureReport> {
    let about = |problem: String| data.unreadable(&format!("weight '{name}': {problem}"));
    let values = column::numbers(data.column(name)?).map_err(about)?;
    let weights = whole(values, "weight").map_err(about)?;
    let is_none = |weight: &f64| !(weight.is_finite() && *weight >= 0.0);
    match weights.iter().position(is_none) {
        Some(row) => Err(about(format!(
            "row {row} holds {}, which is no finite number of at least 0",
            weights[row]
        ))),
        None => Ok(weights),
    }
}

fn queries(data: &Dataset, name: &str) -> Result<Vec<usize>, FailureReport> {
    let about = |problem: String| data.unreadable(&format!("query '{name}': {problem}"));
    let texts = column::texts(data.column(name)?).map_err(about)?;
    let mut known = HashMap::new();
    let texts = whole(texts, "query").map_err(about)?;
    let place = |text: String| {
        let next = known.len();
        *known.entry(text).or_insert(next)
    };
    Ok(texts.into_iter().map(place).collect())
}

/// The values, where each row has one.
fn whole<T>(values: Vec<Option<T>>, what: &str) -> Result<Vec<T>, String> {
    let missing = values.iter().filter(|value| value.is_none()).count();
    if missing > 0 {
        return Err(format!("{missing} of {} rows have no {what}", values.len()));
    }
    Ok(values.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_one_query_lie_together() {
        let known = Known {
            labels: vec![0.0, 1.0, 2.0, 3.0, 4.0],
            weights: None,
            queries: Some(vec![0, 1, 0, 1, 2]),
        };
        let answers = Answers {
            width: 1,
            values: known.labels.clone(),
        };
        let rows = known.rows(None, &answers, None);
        assert_eq!(rows.labels, [0.0, 2.0, 1.0, 3.0, 4.0]);
        assert_eq!(rows.starts, Some(vec![0, 2, 4, 5]));
        assert_eq!(rows.candidate.values, rows.labels);
        let some = known.rows(Some(&[1, 2, 3]), &answers, Some(&answers));
        assert_eq!(some.labels, [2.0, 1.0, 3.0]);
        assert_eq!(
            (some.starts.as_deref(), some.count()),
            (Some(&[0, 1, 3][..]), 3)
        );
        assert_eq!(known.rows(Some(&[]), &answers, None).starts, Some(vec![0]));
    }

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
