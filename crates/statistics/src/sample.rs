//! Rows that a model is judged on.

use std::ops::Range;

use crate::sum::sum;
use crate::{StatisticsError, float};

/// An answer of at least this is class 1, where an answer is one number.
pub const THRESHOLD: f64 = 0.5;

/// Labels, answers and weights of rows, in the same order.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    labels: &'a [f64],
    answers: &'a [f64],
    width: usize,
    weights: Option<&'a [f64]>,
    queries: Option<&'a [usize]>,
}

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

    /// The rows of each query.
    ///
    /// # Errors
    /// That no queries were given, or not of these rows.
    pub fn queries(&self) -> Result<impl Iterator<Item = Range<usize>>, StatisticsError> {
        let undefined = |what| StatisticsError::Undefined { what };
        let starts = self.queries.ok_or(undefined("rows are of no query"))?;
        let is_ascending = starts.is_sorted() && starts.last() == Some(&self.rows());
        if starts.first() != Some(&0) || !is_ascending {
            return Err(undefined(
                "queries do not go from the first row to the last",
            ));
        }
        Ok(starts.windows(2).map(|pair| pair[0]..pair[1]))
    }

    /// How many rows.
    pub fn rows(&self) -> usize {
        self.labels.len()
    }

    /// How many classes there are; 2 where an answer is one number.
    pub fn classes(&self) -> usize {
        self.width.max(2)
    }

    /// Whether all rows count the same.
    pub fn is_unweighted(&self) -> bool {
        self.weights.is_none()
    }

    /// The label of a row.
    pub fn label(&self, row: usize) -> f64 {
        self.labels[row]
    }

    /// The answer for a row, where it is one number.
    pub fn answer(&self, row: usize) -> f64 {
        self.answers[row * self.width]
    }

    /// How much a row counts.
    pub fn weight(&self, row: usize) -> f64 {
        self.weights.map_or(1.0, |weights| weights[row])
    }

    /// How much all rows count.
    pub fn total_weight(&self) -> f64 {
        self.weights.map_or_else(
            || float(self.rows()),
            |weights| sum(weights.iter().copied()),
        )
    }

    /// The class of a row.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // checked: a small whole number
    pub fn class(&self, row: usize) -> usize {
        self.labels[row] as usize
    }

    /// The class that the answer is: at [`THRESHOLD`], or the first of the most probable.
    pub fn answered_class(&self, row: usize) -> usize {
        let answer = self.probabilities(row);
        if let [one] = answer {
            return usize::from(*one >= THRESHOLD);
        }
        most_probable(answer)
    }

    /// The score of a class for a row.
    pub fn score(&self, row: usize, class: usize) -> f64 {
        match self.probabilities(row) {
            [one] if class == 1 => *one,
            [one] => 1.0 - one,
            all => all[class],
        }
    }

    /// The numbers of an answer.
    pub fn probabilities(&self, row: usize) -> &'a [f64] {
        &self.answers[row * self.width..][..self.width]
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
        if let Some(weights) = self.weights {
            if weights.len() != rows {
                return Err(StatisticsError::Weights {
                    labels: rows,
                    weights: weights.len(),
                });
            }
            let is_weight = |weight: &f64| weight.is_finite() && *weight >= 0.0;
            if let Some(row) = weights.iter().position(|weight| !is_weight(weight)) {
                return Err(StatisticsError::Weight { row });
            }
        }
        if rows == 0 || self.total_weight() <= 0.0 {
            return Err(StatisticsError::Empty);
        }
        let most = float(self.classes() - 1);
        let (is_label, accepted): (&dyn Fn(f64) -> bool, _) = match accepts {
            Accepts::Scores | Accepts::Probabilities if self.width == 1 => {
                (&|label| [0.0, 1.0].contains(&label), "0 or 1")
            }
            Accepts::Scores | Accepts::Probabilities => (
                &|label| label.fract() == 0.0 && (0.0..=most).contains(&label),
                "a whole number from 0 to one less than there are classes",
            ),
            Accepts::Numbers => (&f64::is_finite, "a finite number"),
            Accepts::Relevances => (
                &|label| label.is_finite() && label >= 0.0,
                "a finite number of at least 0",
            ),
        };
        if let Some(row) = self.labels.iter().position(|label| !is_label(*label)) {
            return Err(StatisticsError::Label { row, accepted });
        }
        let (is_answer, accepted): (&dyn Fn(f64) -> bool, _) = match accepts {
            Accepts::Probabilities => (
                &|answer| (0.0..=1.0).contains(&answer),
                "a probability in [0, 1]",
            ),
            Accepts::Scores | Accepts::Numbers | Accepts::Relevances => {
                (&f64::is_finite, "a finite number")
            }
        };
        if let Some(at) = self.answers.iter().position(|answer| !is_answer(*answer)) {
            return Err(StatisticsError::Prediction {
                row: at / self.width,
                accepted,
            });
        }
        Ok(())
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
        let binary = Sample::new(&[0.0, 1.0], &[0.49, 0.5]);
        assert_eq!((binary.answered_class(0), binary.answered_class(1)), (0, 1));
        let three = Sample::of_classes(&[2.0, 0.0], &[0.2, 0.4, 0.4, 0.5, 0.3, 0.2], 3);
        assert_eq!((three.answered_class(0), three.answered_class(1)), (1, 0));
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
        assert_eq!(weighted(&[0.0, 0.0]), StatisticsError::Empty);
        assert_eq!(weighted(&[1.0, -1.0]), StatisticsError::Weight { row: 1 });
        assert!(matches!(weighted(&[1.0]), StatisticsError::Weights { .. }));
    }
}
