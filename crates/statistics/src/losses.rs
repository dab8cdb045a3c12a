//! Metrics that are means over the rows, and what is made of such.

use crate::influence::{Scale, Spread};
use crate::looks::Parts;
use crate::sample::Row;
use crate::sum::{Sum, sum};
use crate::{Interval, StatisticsError};

/// A loss of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Loss {
    /// -ln of the probability of the right class, nats (Good 1952, "Rational decisions"); it is kept 2.2e-16 away from 0 and 1, as scikit-learn does.
    Log,
    /// (probability - label)², of two classes in [0, 1]; of more the sum over the classes, in [0, 2] (Brier 1950).
    Brier,
    /// (answer - label)², in the label's unit squared (Gauss 1823).
    Square,
    /// |answer - label|, in the label's unit (Hyndman & Koehler 2006, "Another look at measures of forecast accuracy", 2.1).
    Absolute,
    /// |answer - label| / |label|, of 1 (Hyndman & Koehler 2006, 2.2, without their hundred); the label is kept 2.2e-16 away from 0, as scikit-learn does.
    AbsolutePercentage,
    /// The pinball loss of the quantile that is answered, in (0, 1) (Koenker & Bassett 1978), in the label's unit.
    Pinball(f64),
}

impl Loss {
    /// The loss of a row.
    pub fn of(self, row: &Row<'_>) -> f64 {
        let (label, answers) = (row.label, row.answers);
        let apart = answers[0] - label;
        match self {
            Self::Log => {
                let within = |p: f64| p.clamp(f64::EPSILON, 1.0 - f64::EPSILON);
                match answers {
                    [one] if row.class() == 1 => -within(*one).ln(),
                    [one] => -(-within(*one)).ln_1p(),
                    all => -within(all[row.class()]).ln(),
                }
            }
            Self::Brier => match answers {
                [_] => apart * apart,
                all => {
                    let square = |(class, p): (usize, &f64)| {
                        let is = f64::from(u8::from(class == row.class()));
                        (p - is).powi(2)
                    };
                    sum(all.iter().enumerate().map(square))
                }
            },
            Self::Square => apart * apart,
            Self::Absolute => apart.abs(),
            Self::AbsolutePercentage => apart.abs() / label.abs().max(f64::EPSILON),
            Self::Pinball(quantile) if apart > 0.0 => (1.0 - quantile) * apart,
            Self::Pinball(quantile) => -quantile * apart,
        }
    }
}

/// The mean of a loss, or its root. Interval: [`Spread::of_skewed_mean`], from 0; of the root the root of the mean's.
#[derive(Clone, Debug)]
pub(crate) struct MeanLoss {
    loss: Loss,
    is_root: bool,
    weight: Sum,
    losses: Sum,
    mean: f64,
}

impl MeanLoss {
    pub(crate) fn new(loss: Loss) -> Self {
        Self {
            loss,
            is_root: false,
            weight: Sum::default(),
            losses: Sum::default(),
            mean: 0.0,
        }
    }

    pub(crate) fn root(loss: Loss) -> Self {
        Self {
            is_root: true,
            ..Self::new(loss)
        }
    }

    /// The derivative of the value by the mean.
    fn slope(&self) -> f64 {
        match (self.is_root, self.mean.sqrt()) {
            (false, _) => 1.0,
            (true, root) if root > 0.0 => 1.0 / (2.0 * root),
            (true, _) => 0.0,
        }
    }
}

impl Parts for MeanLoss {
    fn add(&mut self, row: &Row<'_>) {
        self.weight.add(row.weight);
        self.losses.add(row.weight * self.loss.of(row));
    }

    fn value(&mut self) -> Result<f64, StatisticsError> {
        self.mean = self.losses.value() / self.weight.value();
        Ok(if self.is_root {
            self.mean.sqrt()
        } else {
            self.mean
        })
    }

    fn influence(&mut self, row: &Row<'_>) -> Option<f64> {
        let apart = self.loss.of(row) - self.mean;
        Some(row.weight * self.slope() * apart / self.weight.value())
    }

    fn interval(&self, _value: f64, spread: &Spread, confidence: f64) -> Option<Interval> {
        let of_mean = spread.of_skewed_mean(confidence)?;
        let slope = self.slope();
        let interval = if slope > 0.0 {
            of_mean.map(|apart| self.mean + apart / slope)
        } else {
            Interval {
                lower: self.mean,
                upper: self.mean,
            }
        };
        let interval = interval.clamped(0.0, f64::INFINITY);
        Some(if self.is_root {
            interval.map(f64::sqrt)
        } else {
            interval
        })
    }
}

/// R². Interval: of the influence function, on the scale of ln(1 - R²).
///
/// The labels' spread about their mean is kept as West (1979), "Updating mean and variance estimates: an improved method",
/// does, so that it is not lost beside their size.
#[derive(Clone, Debug, Default)]
pub(crate) struct Explained {
    weight: Sum,
    errors: Sum,
    mean: f64,
    squares: Sum,
    spreads: f64,
    share: f64,
}

impl Parts for Explained {
    fn add(&mut self, row: &Row<'_>) {
        self.weight.add(row.weight);
        self.errors.add(row.weight * Loss::Square.of(row));
        let apart = row.label - self.mean;
        self.mean += apart * (row.weight / self.weight.value());
        self.squares
            .add(row.weight * apart * (row.label - self.mean));
    }

    fn value(&mut self) -> Result<f64, StatisticsError> {
        self.spreads = self.squares.value();
        if self.spreads <= 0.0 {
            return Err(StatisticsError::Undefined {
                what: "all labels are the same: there is no spread to explain",
            });
        }
        self.share = self.errors.value() / self.spreads;
        Ok(1.0 - self.share)
    }

    fn influence(&mut self, row: &Row<'_>) -> Option<f64> {
        let spread = (row.label - self.mean).powi(2);
        let apart = self.share * spread - Loss::Square.of(row);
        Some(row.weight * apart / self.spreads)
    }

    fn interval(&self, value: f64, spread: &Spread, confidence: f64) -> Option<Interval> {
        Some(Scale::LogOfRest.interval(value, spread.standard_error()?, confidence))
    }
}
