//! Classes that were answered against those that were right.

use crate::influence::{Estimate, Influence, Scale};
use crate::proportion::{Proportion, wilson};
use crate::sample::{Accepts, Sample};
use crate::{Interval, StatisticsError, float};

/// How a metric of one class becomes one of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Average {
    /// That of class 1, where there are two.
    Binary,
    /// Over the rows: each row is one decision.
    Micro,
    /// The mean over the classes that are there, as label or as answer, however many rows each has.
    Macro,
}

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

pub(crate) const NO_POSITIVE_ANSWER: &str = "no row was answered with class 1";
pub(crate) const NO_POSITIVE_LABEL: &str = "no row has the label 1";
pub(crate) const NO_POSITIVE: &str = "no row has class 1, as label or as answer";

/// What the rows of one class weigh.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    /// Of this class, and answered so.
    hits: f64,
    /// Of this class.
    labels: f64,
    /// Answered with this class.
    answers: f64,
}

/// Rows by their class and answer.
struct Classes<'a> {
    sample: Sample<'a>,
    /// Class and answered class of each row.
    rows: Vec<(usize, usize)>,
    counts: Vec<Counts>,
}

impl<'a> Classes<'a> {
    fn new(sample: Sample<'a>) -> Result<Self, StatisticsError> {
        sample.check(Accepts::Scores)?;
        let rows: Vec<(usize, usize)> = (0..sample.rows())
            .map(|row| (sample.class(row), sample.answered_class(row)))
            .collect();
        let mut counts = vec![Counts::default(); sample.classes()];
        for (row, (label, answer)) in rows.iter().enumerate() {
            let weight = sample.weight(row);
            counts[*label].labels += weight;
            counts[*answer].answers += weight;
            if label == answer {
                counts[*label].hits += weight;
            }
        }
        Ok(Self {
            sample,
            rows,
            counts,
        })
    }

    /// The metric of a class; nothing where it has no denominator.
    fn value(&self, what: OfClass, class: usize) -> Option<f64> {
        let of = self.counts[class];
        let (over, under) = match what {
            OfClass::Precision => (of.hits, of.answers),
            OfClass::Recall => (of.hits, of.labels),
            OfClass::F1 => (2.0 * of.hits, of.labels + of.answers),
        };
        (under > 0.0).then(|| over / under)
    }

    /// The classes that are there.
    fn present(&self) -> Vec<usize> {
        let is_there = |class: &usize| {
            let of = self.counts[*class];
            of.labels > 0.0 || of.answers > 0.0
        };
        (0..self.counts.len()).filter(is_there).collect()
    }

    /// The influence of the rows on the metric of a class; 0 without a denominator, as scikit-learn has it.
    fn influence(&self, what: OfClass, class: usize) -> Influence {
        let of = self.counts[class];
        let value = self.value(what, class).unwrap_or(0.0);
        let unit = |is: bool| f64::from(u8::from(is));
        Influence::new(&self.sample, value, |row| {
            let (is, says) = (self.rows[row].0 == class, self.rows[row].1 == class);
            let (is, says) = (unit(is), unit(says));
            let over = |under: f64, what: f64| if under > 0.0 { what / under } else { 0.0 };
            match what {
                OfClass::Precision => over(of.answers, says * (is - value)),
                OfClass::Recall => over(of.labels, is * (says - value)),
                OfClass::F1 => over(
                    of.labels + of.answers,
                    2.0 * is * says - value * (is + says),
                ),
            }
        })
    }

    /// The influence of the rows on the share that is right.
    fn accuracy(&self) -> Influence {
        let is_right = |row: usize| f64::from(u8::from(self.rows[row].0 == self.rows[row].1));
        Influence::of_mean(&self.sample, is_right)
    }

    /// The influence of the rows on the mean of the metric over classes.
    fn mean_of(&self, what: OfClass, classes: &[usize]) -> Influence {
        let of = |class: &usize| self.influence(what, *class);
        let all: Vec<Influence> = classes.iter().map(of).collect();
        Influence::mean_of(&all)
    }

    /// Wilson's interval of a share of some rows.
    fn share(
        &self,
        among: impl Fn(usize) -> bool,
        is_so: impl Fn(usize) -> bool,
        z: f64,
    ) -> Interval {
        let (mut weight, mut squares, mut hits) = (0.0, 0.0, 0.0);
        for row in (0..self.rows.len()).filter(|row| among(*row)) {
            let of = self.sample.weight(row);
            weight += of;
            squares += of * of;
            hits += if is_so(row) { of } else { 0.0 };
        }
        // Kish's (1965) effective number of rows; their number, where all weigh the same.
        let trials = if squares > 0.0 {
            weight * weight / squares
        } else {
            0.0
        };
        wilson(if weight > 0.0 { hits / weight } else { 0.0 }, trials, z)
    }

    fn of_class(&self, what: OfClass, class: usize, z: f64) -> Interval {
        let is_right = |row: usize| self.rows[row].0 == self.rows[row].1;
        match what {
            OfClass::Precision => self.share(|row| self.rows[row].1 == class, is_right, z),
            OfClass::Recall => self.share(|row| self.rows[row].0 == class, is_right, z),
            // Jaccard's index is a share of the rows that have the class at all.
            OfClass::F1 => self
                .share(
                    |row| self.rows[row].0 == class || self.rows[row].1 == class,
                    is_right,
                    z,
                )
                .map(|jaccard| 2.0 * jaccard / (1.0 + jaccard)),
        }
    }
}

/// The share of rows whose class is right. Interval: Wilson (1927).
///
/// # Errors
/// A row that has no class.
pub fn accuracy(sample: &Sample<'_>, confidence: f64) -> Result<Estimate, StatisticsError> {
    let classes = Classes::new(*sample)?;
    let is_right = |row: usize| classes.rows[row].0 == classes.rows[row].1;
    Ok(Estimate {
        value: classes.accuracy().value,
        interval: Some(classes.share(|_| true, is_right, crate::normal::two_sided(confidence))),
    })
}

/// The influence of the rows on the accuracy.
///
/// # Errors
/// A row that has no class.
pub fn accuracy_influence(sample: &Sample<'_>) -> Result<Influence, StatisticsError> {
    Ok(Classes::new(*sample)?.accuracy())
}

/// The mean of the recalls of the classes that are there as labels (Brodersen et al. 2010). Interval: that of a sum of
/// independent shares, put together from Wilson's of each by MOVER (Zou & Donner 2008).
///
/// # Errors
/// A row that has no class.
pub fn balanced_accuracy(
    sample: &Sample<'_>,
    confidence: f64,
) -> Result<Estimate, StatisticsError> {
    let classes = Classes::new(*sample)?;
    let labelled = labelled(&classes);
    Ok(Estimate {
        value: classes.mean_of(OfClass::Recall, &labelled).value,
        interval: Some(mover(&classes, OfClass::Recall, &labelled, confidence)),
    })
}

/// The influence of the rows on the balanced accuracy.
///
/// # Errors
/// A row that has no class.
pub fn balanced_accuracy_influence(sample: &Sample<'_>) -> Result<Influence, StatisticsError> {
    let classes = Classes::new(*sample)?;
    Ok(classes.mean_of(OfClass::Recall, &labelled(&classes)))
}

fn labelled(classes: &Classes<'_>) -> Vec<usize> {
    let is_labelled = |class: &usize| classes.counts[*class].labels > 0.0;
    (0..classes.counts.len()).filter(is_labelled).collect()
}

/// The interval of the mean of shares that are independent of each other.
fn mover(classes: &Classes<'_>, what: OfClass, of: &[usize], confidence: f64) -> Interval {
    let z = crate::normal::two_sided(confidence);
    let (mut mean, mut below, mut above) = (0.0, 0.0, 0.0);
    for class in of {
        let value = classes.value(what, *class).unwrap_or(0.0);
        let interval = classes.of_class(what, *class, z);
        mean += value;
        below += (value - interval.lower).powi(2);
        above += (interval.upper - value).powi(2);
    }
    let count = float(of.len());
    Interval {
        lower: (mean - below.sqrt()) / count,
        upper: (mean + above.sqrt()) / count,
    }
    .clamped(0.0, 1.0)
}

/// Precision, recall or F1.
///
/// | average | interval |
/// |---|---|
/// | binary | precision and recall: Wilson (1927); F1: Wilson's of Jaccard's index J through 2J / (1 + J) (Hand, Christen & Kirielle 2021, eq. 4) |
/// | micro | each row has one label and one answer, so that all three are the accuracy: Wilson |
/// | macro | precision and recall: MOVER over Wilson's of each class (Zou & Donner 2008); F1: the delta method (Takahashi et al. 2022), on the logit scale |
///
/// # Errors
/// A row that has no class; for [`Average::Binary`], that the metric has no denominator.
pub fn of_class(
    what: OfClass,
    average: Average,
    sample: &Sample<'_>,
    confidence: f64,
) -> Result<Estimate, StatisticsError> {
    let influence = of_class_influence(what, average, sample)?;
    let classes = Classes::new(*sample)?;
    let z = crate::normal::two_sided(confidence);
    let interval = match (average, what) {
        (Average::Binary, _) => Some(classes.of_class(what, 1, z)),
        (Average::Micro, _) => accuracy(sample, confidence)?.interval,
        (Average::Macro, OfClass::Precision | OfClass::Recall) => {
            Some(mover(&classes, what, &classes.present(), confidence))
        }
        (Average::Macro, OfClass::F1) => influence.interval(Scale::Logit, confidence),
    };
    Ok(Estimate {
        value: influence.value,
        interval,
    })
}

/// The influence of the rows on precision, recall or F1.
///
/// # Errors
/// As [`of_class`].
pub fn of_class_influence(
    what: OfClass,
    average: Average,
    sample: &Sample<'_>,
) -> Result<Influence, StatisticsError> {
    let classes = Classes::new(*sample)?;
    match average {
        Average::Binary => {
            let missing = match what {
                OfClass::Precision => NO_POSITIVE_ANSWER,
                OfClass::Recall => NO_POSITIVE_LABEL,
                OfClass::F1 => NO_POSITIVE,
            };
            if sample.classes() > 2 {
                return Err(StatisticsError::Undefined {
                    what: "there are more than two classes: ask for the macro or the micro average",
                });
            }
            let undefined = StatisticsError::Undefined { what: missing };
            classes.value(what, 1).ok_or(undefined)?;
            Ok(classes.influence(what, 1))
        }
        Average::Micro => accuracy_influence(sample),
        Average::Macro => Ok(classes.mean_of(what, &classes.present())),
    }
}

/// Counts of rows by label and answer at [`crate::sample::THRESHOLD`], of two classes.
///
/// # Errors
/// A row that has no class.
pub fn shares_of_two(sample: &Sample<'_>) -> Result<TwoByTwo, StatisticsError> {
    let classes = Classes::new(*sample)?;
    let mut counts = TwoByTwo::default();
    for row in &classes.rows {
        match row {
            (1, 1) => counts.true_positives += 1,
            (0, 1) => counts.false_positives += 1,
            (1, _) => counts.false_negatives += 1,
            _ => counts.true_negatives += 1,
        }
    }
    Ok(counts)
}

/// Rows by label and answer.
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
