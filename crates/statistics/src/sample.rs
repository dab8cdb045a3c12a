//! Rows that a model is judged on.

use crate::{StatisticsError, float};

/// An answer of at least this is class 1, where an answer is one number.
pub const THRESHOLD: f64 = 0.5;

/// What labels and answers a metric takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepts {
    /// Labels are classes, 0 and 1 for answers of one number, 0 to K - 1 for K numbers; answers are any scores.
    Scores,
    /// The same; answers are probabilities.
    Probabilities,
    /// Labels and answers are numbers, one each.
    Numbers,
    /// Labels are relevances of at least 0, answers are any scores, one each.
    Relevances,
}

/// A row, with what a model answered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row<'a> {
    /// What is right.
    pub label: f64,
    /// One number, the probability of class 1 or the value itself; or a probability for each class.
    pub answers: &'a [f64],
    /// How much it counts.
    pub weight: f64,
    /// The query that it is of. Rows of one query follow each other.
    pub query: Option<usize>,
}

impl Row<'_> {
    /// Its class.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // checked: a small whole number
    pub fn class(&self) -> usize {
        self.label as usize
    }

    /// The class that the answer is: at [`THRESHOLD`], or the first of the most probable.
    pub fn answered_class(&self) -> usize {
        if let [one] = self.answers {
            return usize::from(*one >= THRESHOLD);
        }
        most_probable(self.answers)
    }

    /// The score of a class.
    pub fn score(&self, class: usize) -> f64 {
        match self.answers {
            [one] if class == 1 => *one,
            [one] => 1.0 - one,
            all => all[class],
        }
    }

    /// Whether it is what a metric takes; it is the row of this number, from 0.
    ///
    /// # Errors
    /// What is not, and what is accepted.
    pub fn check(&self, accepts: Accepts, row: usize) -> Result<(), StatisticsError> {
        if !(self.weight.is_finite() && self.weight >= 0.0) {
            return Err(StatisticsError::Weight { row });
        }
        if self.answers.is_empty() {
            let accepted = "one number at least";
            return Err(StatisticsError::Prediction { row, accepted });
        }
        let (label, classes) = (self.label, float(self.answers.len()));
        let (is_accepted, accepted) = match accepts {
            Accepts::Scores | Accepts::Probabilities if self.answers.len() == 1 => {
                ([0.0, 1.0].contains(&label), "0 or 1")
            }
            Accepts::Scores | Accepts::Probabilities => (
                label.fract() == 0.0 && label >= 0.0 && label < classes,
                "a whole number from 0 to one less than there are classes",
            ),
            Accepts::Numbers => (label.is_finite(), "a finite number"),
            Accepts::Relevances => (
                label.is_finite() && label >= 0.0,
                "a finite number of at least 0",
            ),
        };
        if !is_accepted {
            return Err(StatisticsError::Label { row, accepted });
        }
        let (is_accepted, accepted): (fn(f64) -> bool, _) = match accepts {
            Accepts::Probabilities => (
                |answer| (0.0..=1.0).contains(&answer),
                "a probability in [0, 1]",
            ),
            Accepts::Scores => (f64::is_finite, "a finite number"),
            Accepts::Numbers | Accepts::Relevances if self.answers.len() == 1 => {
                (f64::is_finite, "a finite number")
            }
            Accepts::Numbers | Accepts::Relevances => (
                |_| false,
                "one number, but as many as there are classes: this metric is of numbers",
            ),
        };
        if self.answers.iter().all(|answer| is_accepted(*answer)) {
            return Ok(());
        }
        Err(StatisticsError::Prediction { row, accepted })
    }
}

/// Labels, answers and weights of rows, in the same order.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    labels: &'a [f64],
    answers: &'a [f64],
    width: usize,
    weights: Option<&'a [f64]>,
    queries: Option<&'a [usize]>,
}

impl<'a> Sample<'a> {
    /// Rows with one number as the answer: the probability of class 1, or the value itself.
    pub fn new(labels: &'a [f64], answers: &'a [f64]) -> Self {
        Self {
            labels,
            answers,
            width: 1,
            weights: None,
            queries: None,
        }
    }

    /// Rows with a probability for each of `width` classes as the answer, row by row.
    pub fn of_classes(labels: &'a [f64], answers: &'a [f64], width: usize) -> Self {
        Self {
            width,
            ..Self::new(labels, answers)
        }
    }

    /// Rows that count as much as is said, each.
    #[must_use]
    pub fn weighted(self, weights: &'a [f64]) -> Self {
        Self {
            weights: Some(weights),
            ..self
        }
    }

    /// Rows of queries: those of query q are `starts[q]..starts[q + 1]`, and the last start is the number of rows.
    #[must_use]
    pub fn in_queries(self, starts: &'a [usize]) -> Self {
        Self {
            queries: Some(starts),
            ..self
        }
    }

    /// How many rows.
    pub fn rows(&self) -> usize {
        self.labels.len()
    }

    /// How many numbers an answer has.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The rows, in their order.
    pub fn all(&self) -> impl Iterator<Item = Row<'a>> + use<'a> {
        let sample = *self;
        let mut query = 0;
        (0..self.rows()).map(move |row| {
            let begins = |at: usize| {
                let starts = sample.queries.and_then(|starts| starts.get(at));
                starts.is_some_and(|start| *start <= row)
            };
            while begins(query + 1) {
                query += 1;
            }
            Row {
                label: sample.labels[row],
                answers: &sample.answers[row * sample.width..][..sample.width],
                weight: sample.weights.map_or(1.0, |weights| weights[row]),
                query: sample.queries.map(|_| query),
            }
        })
    }

    /// Whether these rows are what a metric takes.
    ///
    /// # Errors
    /// The first row that is not, and what is accepted.
    pub fn check(&self, accepts: Accepts) -> Result<(), StatisticsError> {
        let rows = self.rows();
        if self.answers.len() != rows * self.width {
            return Err(StatisticsError::Length {
                labels: rows,
                predictions: self.answers.len() / self.width.max(1),
            });
        }
        if let Some(weights) = self.weights
            && weights.len() != rows
        {
            return Err(StatisticsError::Weights {
                labels: rows,
                weights: weights.len(),
            });
        }
        if let Some(starts) = self.queries {
            let is_ascending = starts.is_sorted() && starts.last() == Some(&rows);
            if starts.first() != Some(&0) || !is_ascending {
                return Err(StatisticsError::Undefined {
                    what: "queries do not go from the first row to the last",
                });
            }
        }
        let mut numbered = self.all().enumerate();
        numbered.try_for_each(|(row, of)| of.check(accepts, row))
    }
}

/// The place of the largest number, the first of several; 0 where there is none.
pub fn most_probable(numbers: &[f64]) -> usize {
    let most = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    numbers.iter().position(|one| *one >= most).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_class_of_an_answer() {
        let answered = |sample: &Sample<'_>| -> Vec<usize> {
            sample.all().map(|row| row.answered_class()).collect()
        };
        let binary = Sample::new(&[0.0, 1.0], &[0.49, 0.5]);
        assert_eq!(answered(&binary), [0, 1]);
        let three = Sample::of_classes(&[2.0, 0.0], &[0.2, 0.4, 0.4, 0.5, 0.3, 0.2], 3);
        assert_eq!(answered(&three), [1, 0]);
        assert_eq!(three.check(Accepts::Probabilities), Ok(()));
    }

    #[test]
    fn a_row_that_is_not_accepted_is_named() {
        let of = |labels: &[f64], answers: &[f64], width| {
            let sample = Sample::of_classes(labels, answers, width);
            sample.check(Accepts::Probabilities).expect_err("refused")
        };
        assert!(matches!(
            of(&[0.0, 2.0], &[0.1, 0.2], 1),
            StatisticsError::Label { row: 1, .. }
        ));
        assert!(matches!(
            of(&[0.0, 2.0], &[0.1, 0.9, 0.2, 0.8], 2),
            StatisticsError::Label { row: 1, .. }
        ));
        assert!(matches!(
            of(&[0.0, 1.0], &[0.1, 0.9, f64::NAN, 0.8], 2),
            StatisticsError::Prediction { row: 1, .. }
        ));
        assert!(matches!(
            of(&[0.0, 1.0], &[0.1, 0.9, 0.2], 2),
            StatisticsError::Length { .. }
        ));
        let weighted = |weights: &[f64]| {
            let sample = Sample::new(&[0.0, 1.0], &[0.1, 0.2]).weighted(weights);
            sample.check(Accepts::Scores).expect_err("refused")
        };
        assert_eq!(weighted(&[1.0, -1.0]), StatisticsError::Weight { row: 1 });
        assert!(matches!(weighted(&[1.0]), StatisticsError::Weights { .. }));
    }
}
