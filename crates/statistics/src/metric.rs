//! Metrics of a model's answers against labels, each with its interval.
//!
//! Every interval assumes that rows are independent (for NDCG: queries): where one user or one hour has many rows, it is
//! too narrow.

use std::fmt::{self, Display};
use std::str::FromStr;

use crate::StatisticsError;
use crate::classification::{
    self, Average, OfClass, accuracy, accuracy_influence, balanced_accuracy,
    balanced_accuracy_influence,
};
use crate::influence::{Estimate, Influence};
use crate::losses::{
    Loss, expected_calibration_error, expected_calibration_error_influence, r_squared,
    r_squared_influence, rmse, rmse_influence,
};
use crate::sample::{Accepts, Sample};
use crate::scores::{
    average_precision, average_precision_influence, ndcg, ndcg_influence, roc_auc,
    roc_auc_influence,
};

/// A metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    /// [`accuracy`].
    Accuracy,
    /// [`balanced_accuracy`].
    BalancedAccuracy,
    /// [`OfClass::Precision`] of class 1.
    Precision,
    /// The mean of [`OfClass::Precision`] over the classes.
    PrecisionMacro,
    /// [`OfClass::Recall`] of class 1.
    Recall,
    /// The mean of [`OfClass::Recall`] over the classes.
    RecallMacro,
    /// [`OfClass::F1`] of class 1.
    F1,
    /// The mean of [`OfClass::F1`] over the classes.
    F1Macro,
    /// [`OfClass::F1`] over the rows.
    F1Micro,
    /// [`roc_auc`].
    RocAuc,
    /// [`average_precision`].
    PrAuc,
    /// The mean of [`Loss::Log`].
    LogLoss,
    /// The mean of [`Loss::Brier`].
    Brier,
    /// [`expected_calibration_error`].
    ExpectedCalibrationError,
    /// [`rmse`].
    Rmse,
    /// The mean of [`Loss::Absolute`].
    Mae,
    /// The mean of [`Loss::AbsolutePercentage`].
    Mape,
    /// [`r_squared`].
    RSquared,
    /// The mean of [`Loss::Pinball`] at so many thousandths.
    Pinball(u16),
    /// [`ndcg`] of so many first places.
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

    /// The metric on rows, with its interval at `confidence`.
    ///
    /// # Errors
    /// A [`StatisticsError`] that says why there is no value: which row, which class is not there.
    pub fn estimate(
        self,
        sample: &Sample<'_>,
        confidence: f64,
    ) -> Result<Estimate, StatisticsError> {
        let of_class = |what, average| classification::of_class(what, average, sample, confidence);
        match self {
            Self::Accuracy => accuracy(sample, confidence),
            Self::BalancedAccuracy => balanced_accuracy(sample, confidence),
            Self::Precision => of_class(OfClass::Precision, Average::Binary),
            Self::PrecisionMacro => of_class(OfClass::Precision, Average::Macro),
            Self::Recall => of_class(OfClass::Recall, Average::Binary),
            Self::RecallMacro => of_class(OfClass::Recall, Average::Macro),
            Self::F1 => of_class(OfClass::F1, Average::Binary),
            Self::F1Macro => of_class(OfClass::F1, Average::Macro),
            Self::F1Micro => of_class(OfClass::F1, Average::Micro),
            Self::RocAuc => roc_auc(sample, confidence),
            Self::PrAuc => average_precision(sample, confidence),
            Self::ExpectedCalibrationError => expected_calibration_error(sample, confidence),
            Self::Rmse => rmse(sample, confidence),
            Self::RSquared => r_squared(sample, confidence),
            Self::Ndcg(first) => ndcg(sample, first, confidence),
            Self::LogLoss | Self::Brier | Self::Mae | Self::Mape | Self::Pinball(_) => {
                self.loss().mean(sample, confidence)
            }
        }
    }

    /// The metric, and what each row (for NDCG: each query) adds to its spread.
    ///
    /// # Errors
    /// As [`Metric::estimate`].
    pub fn influence(self, sample: &Sample<'_>) -> Result<Influence, StatisticsError> {
        let of_class = |what, average| classification::of_class_influence(what, average, sample);
        match self {
            Self::Accuracy => accuracy_influence(sample),
            Self::BalancedAccuracy => balanced_accuracy_influence(sample),
            Self::Precision => of_class(OfClass::Precision, Average::Binary),
            Self::PrecisionMacro => of_class(OfClass::Precision, Average::Macro),
            Self::Recall => of_class(OfClass::Recall, Average::Binary),
            Self::RecallMacro => of_class(OfClass::Recall, Average::Macro),
            Self::F1 => of_class(OfClass::F1, Average::Binary),
            Self::F1Macro => of_class(OfClass::F1, Average::Macro),
            Self::F1Micro => of_class(OfClass::F1, Average::Micro),
            Self::RocAuc => roc_auc_influence(sample),
            Self::PrAuc => average_precision_influence(sample),
            Self::ExpectedCalibrationError => expected_calibration_error_influence(sample),
            Self::Rmse => rmse_influence(sample),
            Self::RSquared => r_squared_influence(sample),
            Self::Ndcg(first) => ndcg_influence(sample, first),
            Self::LogLoss | Self::Brier | Self::Mae | Self::Mape | Self::Pinball(_) => {
                self.loss().influence(sample)
            }
        }
    }

    /// The loss whose mean it is, or is made of.
    fn loss(self) -> Loss {
        match self {
            Self::LogLoss => Loss::Log,
            Self::Brier => Loss::Brier,
            Self::Mae => Loss::Absolute,
            Self::Mape => Loss::AbsolutePercentage,
            Self::Pinball(thousandths) => Loss::Pinball(f64::from(thousandths) / 1000.0),
            _ => Loss::Square,
        }
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
