//! A metric in two looks at the same rows, in memory that does not grow with them.
//!
//! ```text
//!   rows ──first look──> Tally ──value──> Known ──second look──> Finding ──> Estimate
//!                                                         └──> Pair ──> Advantage over a champion
//! ```
//!
//! The first look adds up what the value is made of; the second how much each row moves it, which no row can tell before
//! the value is known. Rows come in the same order both times.

use std::fmt;

use crate::influence::{Estimate, Spread};
use crate::metric::Metric;
use crate::paired::{Advantage, Matched};
use crate::sample::Row;
use crate::sum::Sum;
use crate::{Interval, StatisticsError};

/// What a metric is made of.
pub(crate) trait Parts: Send + Sync {
    /// Takes a row, which is what the metric accepts.
    fn add(&mut self, row: &Row<'_>);

    /// The metric on all rows that were added; once, after the last.
    fn value(&mut self) -> Result<f64, StatisticsError>;

    /// What the row adds to the metric's spread. Of queries, what the query adds that ended before this row.
    fn influence(&mut self, row: &Row<'_>) -> Option<f64>;

    /// What the last query adds.
    fn last_influence(&mut self) -> Option<f64> {
        None
    }

    /// Whether the spread of an area is [`Spread::delong`].
    fn is_delong(&self) -> bool {
        false
    }

    /// The interval of the value; absent where there are too few rows for one.
    fn interval(&self, value: f64, spread: &Spread, confidence: f64) -> Option<Interval>;
}

/// A first look at rows.
pub struct Tally {
    metric: Metric,
    rows: usize,
    weight: Sum,
    parts: Box<dyn Parts>,
}

/// A metric whose value is known.
pub struct Known {
    metric: Metric,
    value: f64,
    is_delong: bool,
    parts: Box<dyn Parts>,
}

/// A metric whose value and spread are known.
pub struct Finding {
    value: f64,
    spread: Spread,
    parts: Box<dyn Parts>,
}

impl Tally {
    /// Of answers of so many numbers each. Scores are told apart in at most so many steps, see [`crate::cells::Cells`].
    pub fn new(metric: Metric, width: usize, most_scores: usize) -> Self {
        Self {
            metric,
            rows: 0,
            weight: Sum::default(),
            parts: metric.parts(width, most_scores),
        }
    }

    /// Takes a row.
    ///
    /// # Errors
    /// What is wrong with it; it has the number of rows that were there before.
    pub fn add(&mut self, row: &Row<'_>) -> Result<(), StatisticsError> {
        row.check(self.metric.accepts(), self.rows)?;
        self.rows += 1;
        self.weight.add(row.weight);
        if counts(self.metric, row) {
            self.parts.add(row);
        }
        Ok(())
    }

    /// The value.
    ///
    /// # Errors
    /// Why there is none.
    pub fn known(mut self) -> Result<Known, StatisticsError> {
        if self.weight.value() <= 0.0 {
            return Err(StatisticsError::Empty);
        }
        let value = self.parts.value()?;
        if !value.is_finite() {
            return Err(StatisticsError::Undefined {
                what: "the numbers are too large to compute with: scale them, or look for one that is out of place",
            });
        }
        Ok(Known {
            metric: self.metric,
            value,
            is_delong: self.parts.is_delong(),
            parts: self.parts,
        })
    }
}

/// Whether a row adds to a metric: one that weighs nothing is as if it was not there. A query's rows have no weights.
fn counts(metric: Metric, row: &Row<'_>) -> bool {
    row.weight > 0.0 || matches!(metric, Metric::Ndcg(_))
}

impl Known {
    /// The value.
    pub fn value(&self) -> f64 {
        self.value
    }

    /// What a row adds to the spread; nothing where it weighs nothing.
    pub(crate) fn influence(&mut self, row: &Row<'_>) -> Option<f64> {
        if counts(self.metric, row) {
            self.parts.influence(row)
        } else {
            None
        }
    }

    pub(crate) fn last_influence(&mut self) -> Option<f64> {
        self.parts.last_influence()
    }
}

impl Finding {
    /// The value.
    pub fn value(&self) -> f64 {
        self.value
    }

    /// The standard error: DeLong's of an area, where there are two classes and no weights. Absent with fewer than two
    /// rows.
    pub fn standard_error(&self) -> Option<f64> {
        standard_error(&self.spread, self.parts.is_delong())
    }

    /// The value with its interval.
    pub fn estimate(&self, confidence: f64) -> Estimate {
        Estimate {
            value: self.value,
            interval: self.parts.interval(self.value, &self.spread, confidence),
        }
    }
}

impl fmt::Debug for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = formatter.debug_struct("Finding");
        debug.field("value", &self.value);
        debug.field("spread", &self.spread).finish_non_exhaustive()
    }
}

pub(crate) fn standard_error(spread: &Spread, is_delong: bool) -> Option<f64> {
    if is_delong {
        spread.delong()
    } else {
        spread.standard_error()
    }
}

/// A second look at rows.
pub struct Spreading {
    of: Known,
    spread: Spread,
}

impl Spreading {
    /// Of a metric whose value is known.
    pub fn new(of: Known) -> Self {
        Self {
            of,
            spread: Spread::default(),
        }
    }

    /// Takes a row that was taken before.
    pub fn add(&mut self, row: &Row<'_>) {
        if let Some(influence) = self.of.influence(row) {
            self.spread.add(influence, class_of(&self.of, row));
        }
    }

    /// What was found.
    pub fn finding(mut self) -> Finding {
        if let Some(influence) = self.of.last_influence() {
            self.spread.add(influence, None);
        }
        Finding {
            value: self.of.value,
            spread: self.spread,
            parts: self.of.parts,
        }
    }
}

/// Classes are told apart for DeLong's variance alone.
fn class_of(of: &Known, row: &Row<'_>) -> Option<usize> {
    of.is_delong.then(|| row.class())
}

/// A second look at rows that two models answered.
pub struct Pair {
    metric: Metric,
    candidate: Spreading,
    champion: Spreading,
    apart: Spread,
    matched: Matched,
}

impl Pair {
    /// Of a metric whose value is known for both.
    pub fn new(metric: Metric, candidate: Known, champion: Known) -> Self {
        Self {
            metric,
            candidate: Spreading::new(candidate),
            champion: Spreading::new(champion),
            apart: Spread::default(),
            matched: Matched::default(),
        }
    }

    /// Takes a row that was taken before, with the answers of either.
    pub fn add(&mut self, candidate: &Row<'_>, champion: &Row<'_>) {
        let class = class_of(&self.candidate.of, candidate);
        let (one, two) = (&mut self.candidate, &mut self.champion);
        let influences = (one.of.influence(candidate), two.of.influence(champion));
        self.take(influences, class);
        if let Metric::Accuracy | Metric::Recall = self.metric
            && counts(self.metric, candidate)
        {
            self.matched.add(candidate, champion);
        }
    }

    /// What was found of the candidate, and its advantage.
    ///
    /// # Errors
    /// The second, where there are too few rows (of each class).
    pub fn finding(mut self) -> (Finding, Result<Advantage, StatisticsError>) {
        let (one, two) = (&mut self.candidate, &mut self.champion);
        let last = (one.of.last_influence(), two.of.last_influence());
        self.take(last, None);
        let apart = standard_error(&self.apart, self.candidate.of.is_delong);
        let (one, two) = (self.candidate.finding(), self.champion.finding());
        let advantage = Advantage::of(self.metric, [&one, &two], apart, &self.matched);
        (one, advantage)
    }

    /// Takes what a row or a query adds to either.
    fn take(&mut self, influences: (Option<f64>, Option<f64>), class: Option<usize>) {
        if let (Some(one), Some(two)) = influences {
            self.candidate.spread.add(one, class);
            self.champion.spread.add(two, class);
            self.apart.add(self.metric.better_by(one, two), class);
        }
    }
}
