//! Metrics of models, their intervals, comparisons and distances between distributions.
//!
//! ```text
//!   sample (rows, weights) ──> classification, scores (cells), losses ──┐
//!   normal ──> proportion (Wilson, Clopper-Pearson, Newcombe) ──────────┼──> metric ──> paired (against a champion, Holm)
//!          ──> influence (what a row adds) ──looks (two over the rows)──┘      related (rows of the same unit)
//!                                              fairness (between groups)       gate (pass, fail, how much more is needed)
//!          ──> bins, cells, ranks ──> drift (distances, columns, windows, quality), psi     histogram (latency quantiles)
//! ```
//!
//! Rows are slices of one length, labels and predictions in the same order, or come one by one ([`looks`]). A confidence is the two-sided level of
//! an interval, such as 0.95.
//!
//! Absent on purpose: I/O, a clock, randomness (tests bring a seeded generator), Kubernetes.

pub mod bins;
pub mod calibration;
pub mod cells;
pub mod classification;
pub mod drift;
pub mod fairness;
pub mod frequent;
pub mod gate;
pub mod histogram;
pub mod influence;
pub mod looks;
pub mod losses;
pub mod mean;
pub mod metric;
pub mod normal;
pub mod paired;
pub mod proportion;
pub mod psi;
pub mod random;
pub mod ranks;
pub mod related;
pub mod sample;
pub mod scores;
pub mod sequential;
pub mod sum;

use serde::{Deserialize, Serialize};

/// A confidence interval, `lower <= upper`, in the units of what it is about.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Its lower end.
    pub lower: f64,
    /// Its upper end.
    pub upper: f64,
}

impl Interval {
    /// The interval of an estimate that is normal about its value: `value ± z · standard_error`.
    pub fn of_normal(value: f64, standard_error: f64, confidence: f64) -> Self {
        let half = normal::two_sided(confidence) * standard_error;
        Self {
            lower: value - half,
            upper: value + half,
        }
    }

    /// The part of it that lies between two bounds.
    #[must_use]
    pub fn clamped(self, least: f64, most: f64) -> Self {
        Self {
            lower: self.lower.clamp(least, most),
            upper: self.upper.clamp(least, most),
        }
    }

    /// Its image under an increasing function.
    #[must_use]
    pub fn map(self, function: impl Fn(f64) -> f64) -> Self {
        Self {
            lower: function(self.lower),
            upper: function(self.upper),
        }
    }
}

/// Why something has no value on the rows that were given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatisticsError {
    /// There is no row.
    #[error("there are no rows")]
    Empty,
    /// Labels and predictions are not of one length.
    #[error("there are {labels} labels but {predictions} predictions")]
    Length {
        /// How many labels.
        labels: usize,
        /// How many predictions.
        predictions: usize,
    },
    /// Labels and weights are not of one length.
    #[error("there are {labels} labels but {weights} weights")]
    Weights {
        /// How many labels.
        labels: usize,
        /// How many weights.
        weights: usize,
    },
    /// A weight is not finite, or below 0.
    #[error("the weight of row {row} is not a finite number of at least 0")]
    Weight {
        /// The row, from 0.
        row: usize,
    },
    /// A label of a classification is neither 0 nor 1, or a label is no number.
    #[error("the label of row {row} is not {accepted}")]
    Label {
        /// The row, from 0.
        row: usize,
        /// What is accepted.
        accepted: &'static str,
    },
    /// A prediction is not finite, or is no probability where one is needed.
    #[error("the prediction for row {row} is not {accepted}")]
    Prediction {
        /// The row, from 0.
        row: usize,
        /// What is accepted.
        accepted: &'static str,
    },
    /// All labels are the same.
    #[error("all {rows} rows have the same label")]
    OneClass {
        /// How many rows.
        rows: usize,
    },
    /// A ratio whose denominator is 0.
    #[error("{what}")]
    Undefined {
        /// What there is none of.
        what: &'static str,
    },
}

/// A count as a number. Exact to 2^53.
#[allow(clippy::cast_precision_loss)] // counts of rows are far below 2^53
pub(crate) fn float(count: impl TryInto<u64>) -> f64 {
    count.try_into().map_or(f64::NAN, |count: u64| count as f64)
}
