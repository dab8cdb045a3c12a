//! Classes that were answered against those that were right.

use crate::influence::{Scale, Spread};
use crate::looks::Parts;
use crate::proportion::{Proportion, wilson};
use crate::sample::Row;
use crate::sum::Sum;
use crate::{Interval, StatisticsError, float, normal};

/// A metric of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfClass {
    /// TP / (TP + FP): of the rows that were answered so, those that are.
    Precision,
    /// TP / (TP + FN): of the rows that are so, those that were answered so.
    Recall,
    /// 2 TP / (2 TP + FP + FN), van Rijsbergen (1979).
    F1,
}

/// How a metric of one class becomes one of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Average {
    /// Over the rows: each row is one decision, with one label and one answer, so that all three are the accuracy.
    Rows,
    /// That of class 1, where there are two.
    Binary(OfClass),
    /// The mean over the classes that are there, as label or as answer, however many rows each has.
    Macro(OfClass),
    /// The mean over the classes that are there as labels.
    OfLabels(OfClass),
}

pub(crate) const NO_POSITIVE_ANSWER: &str = "no row was answered with class 1";
pub(crate) const NO_POSITIVE_LABEL: &str = "no row has the label 1";
pub(crate) const NO_POSITIVE: &str = "no row has class 1, as label or as answer";

/// What some rows weigh, and as how many rows they count.
#[derive(Clone, Copy, Debug, Default)]
struct Weight {
    sum: Sum,
    squares: Sum,
}

impl Weight {
    fn add(&mut self, weight: f64) {
        self.sum.add(weight);
        self.squares.add(weight * weight);
    }

    fn value(self) -> f64 {
        self.sum.value()
    }

    /// Kish's (1965) effective number of rows; their number, where all weigh the same.
    fn trials(self) -> f64 {
        let (sum, squares) = (self.sum.value(), self.squares.value());
        if squares > 0.0 {
            sum * sum / squares
        } else {
            0.0
        }
    }

    /// Wilson's interval of the share that weighs so much.
    fn share(self, hits: f64, z: f64) -> Interval {
        let all = self.value();
        wilson(if all > 0.0 { hits / all } else { 0.0 }, self.trials(), z)
    }
}

/// The rows of one class.
#[derive(Clone, Copy, Debug, Default)]
struct Class {
    /// Of this class, and answered so.
    hits: Sum,
    /// Of this class.
    labels: Weight,
    /// Answered with this class.
    answers: Weight,
    /// Either.
    either: Weight,
}

impl Class {
    /// The metric; nothing where it has no denominator.
    fn value(&self, what: OfClass) -> Option<f64> {
        let hits = self.hits.value();
        let (over, under) = match what {
            OfClass::Precision => (hits, self.answers.value()),
            OfClass::Recall => (hits, self.labels.value()),
            OfClass::F1 => (2.0 * hits, self.labels.value() + self.answers.value()),
        };
        (under > 0.0).then(|| over / under)
    }

    fn interval(&self, what: OfClass, z: f64) -> Interval {
        let hits = self.hits.value();
        match what {
            OfClass::Precision => self.answers.share(hits, z),
            OfClass::Recall => self.labels.share(hits, z),
            // Jaccard's index is a share of the rows that have the class at all.
            OfClass::F1 => self
                .either
                .share(hits, z)
                .map(|jaccard| 2.0 * jaccard / (1.0 + jaccard)),
        }
    }

    /// ∂/∂w of the metric of a row that is of the class or not, and is answered so or not; 0 without a denominator, as
    /// scikit-learn has it.
    fn derivative(&self, what: OfClass, is: bool, says: bool) -> f64 {
        let value = self.value(what).unwrap_or(0.0);
        let (labels, answers) = (self.labels.value(), self.answers.value());
        let (is, says) = (f64::from(u8::from(is)), f64::from(u8::from(says)));
        let (under, over) = match what {
            OfClass::Precision => (answers, says * (is - value)),
            OfClass::Recall => (labels, is * (says - value)),
            OfClass::F1 => (labels + answers, 2.0 * is * says - value * (is + says)),
        };
        if under > 0.0 { over / under } else { 0.0 }
    }
}

/// A metric of rows by class and answered class.
#[derive(Clone, Debug)]
pub(crate) struct Classes {
    average: Average,
    all: Weight,
    hits: Sum,
    each: Vec<Class>,
    /// The classes that the metric is the mean over.
    of: Vec<usize>,
    value: f64,
}

impl Classes {
    pub(crate) fn new(average: Average, width: usize) -> Self {
        Self {
            average,
            all: Weight::default(),
            hits: Sum::default(),
            each: vec![Class::default(); width.max(2)],
            of: Vec::new(),
            value: 0.0,
        }
    }

    fn there(&self, is_there: impl Fn(&Class) -> bool) -> Vec<usize> {
        (0..self.each.len())
            .filter(|class| is_there(&self.each[*class]))
            .collect()
    }

    fn mean(&self, what: OfClass) -> f64 {
        let value = |class: &usize| self.each[*class].value(what).unwrap_or(0.0);
        let all: Sum = self.of.iter().map(value).collect();
        all.value() / float(self.of.len())
    }

    /// The interval of the mean of shares that are independent of each other.
    fn mover(&self, what: OfClass, z: f64) -> Interval {
        let (mut mean, mut below, mut above) = (0.0, 0.0, 0.0);
        for class in &self.of {
            let class = &self.each[*class];
            let value = class.value(what).unwrap_or(0.0);
            let interval = class.interval(what, z);
            mean += value;
            below += (value - interval.lower).powi(2);
            above += (interval.upper - value).powi(2);
        }
        let count = float(self.of.len());
        Interval {
            lower: (mean - below.sqrt()) / count,
            upper: (mean + above.sqrt()) / count,
        }
        .clamped(0.0, 1.0)
    }
}

impl Parts for Classes {
    fn add(&mut self, row: &Row<'_>) {
        let (label, answer, weight) = (row.class(), row.answered_class(), row.weight);
        self.all.add(weight);
        self.each[label].labels.add(weight);
        self.each[label].either.add(weight);
        self.each[answer].answers.add(weight);
        if label == answer {
            self.hits.add(weight);
            self.each[label].hits.add(weight);
        } else {
            self.each[answer].either.add(weight);
        }
    }

    fn value(&mut self) -> Result<f64, StatisticsError> {
        self.value = match self.average {
            Average::Rows => self.hits.value() / self.all.value(),
            Average::Binary(_) if self.each.len() > 2 => {
                return Err(StatisticsError::Undefined {
                    what: "there are more than two classes: ask for the macro or the micro average",
                });
            }
            Average::Binary(what) => {
                let missing = match what {
                    OfClass::Precision => NO_POSITIVE_ANSWER,
                    OfClass::Recall => NO_POSITIVE_LABEL,
                    OfClass::F1 => NO_POSITIVE,
                };
                self.of = vec![1];
                let value = self.each[1].value(what);
                value.ok_or(StatisticsError::Undefined { what: missing })?
            }
            Average::Macro(what) => {
                self.of = self.there(|class| class.either.value() > 0.0);
                self.mean(what)
            }
            Average::OfLabels(what) => {
                self.of = self.there(|class| class.labels.value() > 0.0);
                self.mean(what)
            }
        };
        Ok(self.value)
    }

    fn influence(&mut self, row: &Row<'_>) -> Option<f64> {
        let (label, answer) = (row.class(), row.answered_class());
        let derivative = match self.average {
            Average::Rows => {
                let is_right = f64::from(u8::from(label == answer));
                (is_right - self.value) / self.all.value()
            }
            Average::Binary(what) | Average::Macro(what) | Average::OfLabels(what) => {
                let of = |class: &usize| {
                    self.each[*class].derivative(what, label == *class, answer == *class)
                };
                self.of.iter().map(of).sum::<f64>() / float(self.of.len())
            }
        };
        Some(row.weight * derivative)
    }

    fn interval(&self, value: f64, spread: &Spread, confidence: f64) -> Option<Interval> {
        let z = normal::two_sided(confidence);
        Some(match self.average {
            Average::Rows => self.all.share(self.hits.value(), z),
            Average::Binary(what) => self.each[1].interval(what, z),
            Average::Macro(OfClass::F1) => {
                Scale::Logit.interval(value, spread.standard_error()?, confidence)
            }
            Average::Macro(what) | Average::OfLabels(what) => self.mover(what, z),
        })
    }
}

/// Rows of two classes by label and answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TwoByTwo {
    /// Label 1, answer 1.
    pub true_positives: u64,
    /// Label 0, answer 1.
    pub false_positives: u64,
    /// Label 1, answer 0.
    pub false_negatives: u64,
    /// Label 0, answer 0.
    pub true_negatives: u64,
}

impl TwoByTwo {
    /// Takes a row, by its label and by its answer at [`crate::sample::THRESHOLD`].
    pub fn add(&mut self, row: &Row<'_>) {
        let count = match (row.class(), row.answered_class()) {
            (1, 1) => &mut self.true_positives,
            (0, 1) => &mut self.false_positives,
            (1, _) => &mut self.false_negatives,
            _ => &mut self.true_negatives,
        };
        *count += 1;
    }

    /// How many rows.
    pub fn rows(self) -> u64 {
        self.selected().trials
    }

    /// Answered with 1 among all.
    pub fn selected(self) -> Proportion {
        let successes = self.true_positives + self.false_positives;
        Proportion {
            successes,
            trials: successes + self.false_negatives + self.true_negatives,
        }
    }

    /// Answered with 1 among those of label 1.
    pub fn true_positive_rate(self) -> Proportion {
        Proportion {
            successes: self.true_positives,
            trials: self.true_positives + self.false_negatives,
        }
    }

    /// Answered with 1 among those of label 0.
    pub fn false_positive_rate(self) -> Proportion {
        Proportion {
            successes: self.false_positives,
            trials: self.false_positives + self.true_negatives,
        }
    }
}
