//! What is wrong with a window's data, by their counts: a person's business, whatever has drifted.
//!
//! Each finding is of effect and evidence: what was measured passes what is allowed by its one-sided bound, so that a few
//! rows are no alarm, nor is a difference that nobody minds. A level is the chance of a wrong finding; where many columns are
//! looked at, it is divided by how many (Bonferroni), which costs little: broken data are broken beyond doubt.

mod rates;
mod shares;

use serde::{Deserialize, Serialize};

use crate::Interval;
pub use rates::{Prediction, stale, volume};
pub use shares::{Allowed, Check};

/// Something about a window's data that is not as it was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Of which column; absent where it is of all rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// What it is.
    pub problem: Problem,
    /// What was measured in the window: a share, a factor, seconds or rows, by the problem.
    pub value: f64,
    /// The interval of the value; of a rate, that in which it was to be expected.
    pub interval: Interval,
    /// The same in the reference.
    pub before: f64,
    /// How often chance alone brings about as much, or more.
    pub p_value: f64,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Problem {
    /// Rows without a value.
    Missing,
    /// Values that are not of the column's type.
    OtherType,
    /// Rows with levels that the reference has not, the most frequent first.
    NewLevels(Vec<String>),
    /// Levels of the reference that should have been seen, and were not; the most frequent first.
    LostLevels(Vec<String>),
    /// Values below all of the reference.
    BelowRange,
    /// Values above all of the reference.
    AboveRange,
    /// Values in another unit: times a scale, plus an offset.
    UnitChanged {
        /// What it looks like, such as "°C to °F".
        conversion: String,
        /// By what values are multiplied.
        scale: f64,
        /// What is added to them then.
        offset: f64,
    },
    /// One value in all rows.
    Constant,
    /// Rows that are there more than once.
    Duplicates,
    /// The newest row is older than it should be: seconds.
    Stale,
    /// Far fewer rows than there should be, or far more.
    Volume,
}

impl Problem {
    /// Whether what the column says can no longer be taken for what it said before: the data are broken. What is not may be
    /// the world's doing, and is only told.
    pub fn is_break(&self) -> bool {
        match self {
            Self::Missing
            | Self::OtherType
            | Self::UnitChanged { .. }
            | Self::Constant
            | Self::Stale => true,
            Self::NewLevels(_)
            | Self::LostLevels(_)
            | Self::BelowRange
            | Self::AboveRange
            | Self::Duplicates
            | Self::Volume => false,
        }
    }
}

#[cfg(test)]
mod tests;
