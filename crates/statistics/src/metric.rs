//! Metrics of a model's answers against labels, each with its interval.
//!
//! Every interval assumes that rows are independent (for NDCG: queries): where one user or one hour has many rows, it is
//! too narrow.

use std::fmt::{self, Display};
use std::str::FromStr;

use crate::StatisticsError;
use crate::calibration::Gaps;
use crate::classification::{Average, Classes, OfClass};
use crate::influence::{Estimate, Influence};
use crate::looks::{Finding, Known, Parts, Spreading, Tally};
use crate::losses::{Explained, Loss, MeanLoss};
use crate::sample::{Accepts, Sample};
use crate::scores::{Area, Areas, Gains};

/// A metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    /// The share of rows whose class is right. Interval: Wilson (1927).
    Accuracy,
    /// The mean of the recalls of the classes that are there as labels (Brodersen et al. 2010). Interval: that of a sum
    /// of independent shares, put together from Wilson's of each by MOVER (Zou & Donner 2008).
    BalancedAccuracy,
    /// [`OfClass::Precision`] of class 1. Interval: Wilson.
    Precision,
    /// The mean of [`OfClass::Precision`] over the classes that are there, as label or as answer. Interval: MOVER over
    /// Wilson's of each class.
    PrecisionMacro,
    /// [`OfClass::Recall`] of class 1. Interval: Wilson.
    Recall,
    /// The mean of [`OfClass::Recall`] over the classes that are there, as label or as answer. Interval: MOVER.
    RecallMacro,
    /// [`OfClass::F1`] of class 1. Interval: Wilson's of Jaccard's index J through 2J / (1 + J) (Hand, Christen & Kirielle
    /// 2021, eq. 4).
    F1,
    /// The mean of [`OfClass::F1`] over the classes that are there. Interval: the delta method (Takahashi et al. 2022), on
    /// the logit scale.
    F1Macro,
    /// [`OfClass::F1`] over the rows, which is the accuracy. Interval: Wilson.
    F1Micro,
    /// Area under the ROC curve: the probability that a positive row scores above a negative one, ties counted half (Mann &
    /// Whitney 1947). Of more than two classes the mean of each against the others, as scikit-learn's `ovr` and `macro`.
    ///
    /// Interval: all areas to which the measured one is no surprise, with a variance that depends on the area as Hanley &
    /// McNeil's (1982) does (Newcombe 2006, "Confidence intervals for an effect size measure based on the Mann-Whitney
    /// statistic", part 2, method 5), times (r·m + 15)/(m + 15): r is how many times as large DeLong's (DeLong, DeLong &
    /// Clarke-Pearson 1988) is at the measured one, and m how many rows the rarer class has, since of few rows DeLong's is
    /// too small as often as not. With weights or more classes the influence function's stands for DeLong's, from which it
    /// differs by n/(n-1), and Kish's (1965) effective numbers for those of rows; of more classes, those of the class with
    /// the smallest rarer side.
    RocAuc,
    /// Area under the precision-recall curve as average precision, Σ (Rₙ - Rₙ₋₁) Pₙ over the distinct scores from the
    /// highest, which interpolates nothing (Boyd, Eng & Page 2013). Of more than two classes the mean of each against the
    /// others. Interval: Wilson's of a share of the positive rows, as many as give it the influence function's variance,
    /// which is first taken partly for that of as many as there are, as the variance of the area under the ROC curve is.
    /// Without negative rows it is refused, where scikit-learn says 1.
    PrAuc,
    /// The mean of [`Loss::Log`]. Interval: of a mean of skewed terms (Hall 1992), from 0.
    LogLoss,
    /// The mean of [`Loss::Brier`]. Interval: as of the log loss.
    Brier,
    /// Expected calibration error: in ten bins of equal width over [0, 1] by the answer's probability, the mean over the
    /// rows of |share that is right - mean probability| (Naeini, Cooper & Hauskrecht 2015). Of two classes it is the
    /// probability of class 1 and whether it is 1; of more that of the answered class and whether it is right (Guo et al.
    /// 2017).
    ///
    /// A bin's gap is not 0 by chance, so the value is too large on few rows. Interval: of all models whose gaps are those
    /// seen times one factor, the errors of those to which what is seen, less the excess that chance makes, is no surprise;
    /// the value can lie above the interval where it is of chance alone.
    ExpectedCalibrationError,
    /// Root of the mean of (answer - label)², in the label's unit. Interval: the root of the mean's.
    Rmse,
    /// The mean of [`Loss::Absolute`]. Interval: as of the log loss.
    Mae,
    /// The mean of [`Loss::AbsolutePercentage`]. Interval: as of the log loss.
    Mape,
    /// 1 less the squared errors' share of the labels' spread, at most 1 (Kvålseth 1985, "Cautionary note about R²", R₁²).
    /// Interval: of the influence function, on the scale of ln(1 - R²). Where all labels are the same it is refused, where
    /// scikit-learn says 0 or 1.
    RSquared,
    /// The mean of [`Loss::Pinball`] at so many thousandths. Interval: as of the log loss.
    Pinball(u16),
    /// Normalised discounted cumulative gain of so many first places of each query, the mean over the queries.
    ///
    /// Source: Järvelin & Kekäläinen (2002), with the gain itself and the discount log₂(place + 1); rows of one score share
    /// the mean gain of their places (McSherry & Najork 2008). A query without any gain counts 0, as scikit-learn has it; one row alone is a query like others. Weights are not taken.
    /// Interval: of a mean over the queries, which are independent of each other.
    Ndcg(u32),
}

impl Metric {
    /// All that have no parameter.
    pub const PLAIN: [Self; 18] = [
        Self::Accuracy,
        Self::BalancedAccuracy,
        Self::Precision,
        Self::PrecisionMacro,
        Self::Recall,
        Self::RecallMacro,
        Self::F1,
        Self::F1Macro,
        Self::F1Micro,
        Self::RocAuc,
        Self::PrAuc,
        Self::LogLoss,
        Self::Brier,
        Self::ExpectedCalibrationError,
        Self::Rmse,
        Self::Mae,
        Self::Mape,
        Self::RSquared,
    ];

    /// Its name in manifests and reports, less its parameter.
    fn word(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::BalancedAccuracy => "balancedAccuracy",
            Self::Precision => "precision",
            Self::PrecisionMacro => "precisionMacro",
            Self::Recall => "recall",
            Self::RecallMacro => "recallMacro",
            Self::F1 => "f1",
            Self::F1Macro => "f1Macro",
            Self::F1Micro => "f1Micro",
            Self::RocAuc => "rocAuc",
            Self::PrAuc => "prAuc",
            Self::LogLoss => "logLoss",
            Self::Brier => "brier",
            Self::ExpectedCalibrationError => "expectedCalibrationError",
            Self::Rmse => "rmse",
            Self::Mae => "mae",
            Self::Mape => "mape",
            Self::RSquared => "r2",
            Self::Pinball(_) => "pinball",
            Self::Ndcg(_) => "ndcg",
        }
    }

    /// Whether a larger value is a better one.
    pub fn is_higher_better(self) -> bool {
        match self {
            Self::Accuracy
            | Self::BalancedAccuracy
            | Self::Precision
            | Self::PrecisionMacro
            | Self::Recall
            | Self::RecallMacro
            | Self::F1
            | Self::F1Macro
            | Self::F1Micro
            | Self::RocAuc
            | Self::PrAuc
            | Self::RSquared
            | Self::Ndcg(_) => true,
            Self::LogLoss
            | Self::Brier
            | Self::ExpectedCalibrationError
            | Self::Rmse
            | Self::Mae
            | Self::Mape
            | Self::Pinball(_) => false,
        }
    }

    /// The least and the greatest value that it can have.
    pub fn range(self) -> (f64, f64) {
        match self {
            Self::Accuracy
            | Self::BalancedAccuracy
            | Self::Precision
            | Self::PrecisionMacro
            | Self::Recall
            | Self::RecallMacro
            | Self::F1
            | Self::F1Macro
            | Self::F1Micro
            | Self::RocAuc
            | Self::PrAuc
            | Self::ExpectedCalibrationError
            | Self::Ndcg(_) => (0.0, 1.0),
            Self::RSquared => (f64::NEG_INFINITY, 1.0),
            Self::LogLoss
            | Self::Brier
            | Self::Rmse
            | Self::Mae
            | Self::Mape
            | Self::Pinball(_) => (0.0, f64::INFINITY),
        }
    }

    /// What labels and answers it takes.
    pub fn accepts(self) -> Accepts {
        match self {
            Self::Accuracy
            | Self::BalancedAccuracy
            | Self::Precision
            | Self::PrecisionMacro
            | Self::Recall
            | Self::RecallMacro
            | Self::F1
            | Self::F1Macro
            | Self::F1Micro
            | Self::RocAuc
            | Self::PrAuc => Accepts::Scores,
            Self::LogLoss | Self::Brier | Self::ExpectedCalibrationError => Accepts::Probabilities,
            Self::Rmse | Self::Mae | Self::Mape | Self::RSquared | Self::Pinball(_) => {
                Accepts::Numbers
            }
            Self::Ndcg(_) => Accepts::Relevances,
        }
    }

    /// Whether it is a share of rows of classes, or an area, or a mean of such.
    pub(crate) fn is_of_classes(self) -> bool {
        self.accepts() == Accepts::Scores
    }

    /// What it is made of, for answers of so many numbers each.
    pub(crate) fn parts(self, width: usize, most_scores: usize) -> Box<dyn Parts> {
        let classes = |average| Box::new(Classes::new(average, width)) as Box<dyn Parts>;
        let areas = |area| Box::new(Areas::new(area, width, most_scores)) as Box<dyn Parts>;
        let loss = |loss| Box::new(MeanLoss::new(loss)) as Box<dyn Parts>;
        match self {
            Self::Accuracy | Self::F1Micro => classes(Average::Rows),
            Self::BalancedAccuracy => classes(Average::OfLabels(OfClass::Recall)),
            Self::Precision => classes(Average::Binary(OfClass::Precision)),
            Self::PrecisionMacro => classes(Average::Macro(OfClass::Precision)),
            Self::Recall => classes(Average::Binary(OfClass::Recall)),
            Self::RecallMacro => classes(Average::Macro(OfClass::Recall)),
            Self::F1 => classes(Average::Binary(OfClass::F1)),
            Self::F1Macro => classes(Average::Macro(OfClass::F1)),
            Self::RocAuc => areas(Area::Roc),
            Self::PrAuc => areas(Area::PrecisionRecall),
            Self::LogLoss => loss(Loss::Log),
            Self::Brier => loss(Loss::Brier),
            Self::Mae => loss(Loss::Absolute),
            Self::Mape => loss(Loss::AbsolutePercentage),
            Self::Pinball(thousandths) => loss(Loss::Pinball(f64::from(thousandths) / 1000.0)),
            Self::Rmse => Box::new(MeanLoss::root(Loss::Square)),
            Self::RSquared => Box::new(Explained::default()),
            Self::ExpectedCalibrationError => Box::new(Gaps::default()),
            Self::Ndcg(first) => Box::new(Gains::new(first)),
        }
    }

    /// By how much one value is better than another.
    pub(crate) fn better_by(self, one: f64, other: f64) -> f64 {
        if self.is_higher_better() {
            one - other
        } else {
            other - one
        }
    }

    /// The metric on rows, with its interval at `confidence`.
    ///
    /// # Errors
    /// A [`StatisticsError`] that says why there is no value: which row, which class is not there.
    pub fn estimate(
        self,
        sample: &Sample<'_>,
        confidence: f64,
    ) -> Result<Estimate, StatisticsError> {
        Ok(self.finding(sample)?.estimate(confidence))
    }

    /// The metric on rows, and how well it is known.
    ///
    /// # Errors
    /// As [`Metric::estimate`].
    pub fn finding(self, sample: &Sample<'_>) -> Result<Finding, StatisticsError> {
        let mut second = Spreading::new(self.known(sample)?);
        sample.all().for_each(|row| second.add(&row));
        Ok(second.finding())
    }

    /// The metric, and what each row (for NDCG: each query) adds to its spread.
    ///
    /// # Errors
    /// As [`Metric::estimate`].
    pub fn influence(self, sample: &Sample<'_>) -> Result<Influence, StatisticsError> {
        let mut known = self.known(sample)?;
        let of_rows = sample.all().filter_map(|row| known.influence(&row));
        let mut of_rows: Vec<f64> = of_rows.collect();
        of_rows.extend(known.last_influence());
        Ok(Influence {
            value: known.value(),
            of_rows,
        })
    }

    /// The metric on rows.
    ///
    /// # Errors
    /// As [`Metric::estimate`].
    pub fn known(self, sample: &Sample<'_>) -> Result<Known, StatisticsError> {
        sample.check(self.accepts())?;
        let mut first = Tally::new(self, sample.width(), usize::MAX);
        sample.all().try_for_each(|row| first.add(&row))?;
        first.known()
    }
}

/// `rocAuc`, `pinball@0.9`, `ndcg@10`.
impl Display for Metric {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.word();
        match self {
            Self::Pinball(thousandths) => {
                write!(formatter, "{word}@{}", f64::from(*thousandths) / 1000.0)
            }
            Self::Ndcg(first) => write!(formatter, "{word}@{first}"),
            _ => formatter.write_str(word),
        }
    }
}

impl FromStr for Metric {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(metric) = Self::PLAIN.into_iter().find(|metric| metric.word() == text) {
            return Ok(metric);
        }
        match text.split_once('@') {
            Some(("pinball", quantile)) => {
                thousandths(quantile).map(Self::Pinball).ok_or_else(|| {
                    format!(
                        "'{text}': the quantile lies between 0 and 1, in thousandths: pinball@0.9"
                    )
                })
            }
            Some(("ndcg", first)) => first
                .parse()
                .ok()
                .filter(|first| *first > 0)
                .map(Self::Ndcg)
                .ok_or_else(|| format!("'{text}': how many places is a number from 1: ndcg@10")),
            _ => {
                let names: Vec<&str> = Self::PLAIN.iter().map(|metric| metric.word()).collect();
                Err(format!(
                    "'{text}' is not a metric; accepted are {}, pinball@<quantile>, ndcg@<places>",
                    names.join(", ")
                ))
            }
        }
    }
}

/// A quantile in (0, 1) in thousandths.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // checked
fn thousandths(text: &str) -> Option<u16> {
    let quantile: f64 = text.parse().ok()?;
    let thousandths = quantile * 1000.0;
    let whole = thousandths.round();
    let is_one = (1.0..=999.0).contains(&whole) && (thousandths - whole).abs() < 1e-9;
    is_one.then_some(whole as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_written() {
        let mut all = Metric::PLAIN.to_vec();
        all.extend([Metric::Pinball(900), Metric::Pinball(25), Metric::Ndcg(10)]);
        for metric in all {
            assert_eq!(metric.to_string().parse(), Ok(metric));
        }
        assert_eq!(Metric::Pinball(900).to_string(), "pinball@0.9");
        for text in [
            "auc",
            "pinball",
            "pinball@1",
            "pinball@0.12345",
            "ndcg@0",
            "ndcg@x",
            "ndcg",
        ] {
            assert!(text.parse::<Metric>().is_err(), "{text}");
        }
    }
}
