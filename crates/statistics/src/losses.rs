//! Metrics that are means over the rows, and what is made of such.

use crate::influence::{Scale, Spread};
use crate::looks::Parts;
use crate::sample::Row;
use crate::sum::{Sum, sum};
use crate::{Interval, StatisticsError};

/// A loss of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Loss {
    /// -ln of the probability of the right class, nats; it is kept 2.2e-16 away from 0 and 1, as scikit-learn does.
    Log,
    /// (probability - label)², of two classes in [0, 1]; of more the sum over the classes, in [0, 2] (Brier 1950).
    Brier,
    /// (answer - label)², in the label's unit squared.
    Square,
    /// |answer - label|, in the label's unit.
    Absolute,
    /// |answer - label| / |label|, of 1; the label is kept 2.2e-16 away from 0, as scikit-learn does.
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

/// The mean of a loss, or its root. Interval: mean ± z · s/√n by the central limit theorem, from 0; of the root the root
/// of the mean's.
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
        let slope = self.slope();
        let of_mean = if slope > 0.0 {
            spread.standard_error()? / slope
        } else {
            0.0
        };
        let interval = Interval::of_normal(self.mean, of_mean, confidence);
        let interval = interval.clamped(0.0, f64::INFINITY);
        Some(if self.is_root {
            interval.map(f64::sqrt)
        } else {
            interval
        })
    }
}

/// R². Interval: of the influence function, on the scale of ln(1 - R²).
#[derive(Clone, Debug, Default)]
pub(crate) struct Explained {
    weight: Sum,
    errors: Sum,
    /// The first label, from which all are measured: their spread is not lost beside their size.
    origin: Option<f64>,
    labels: Sum,
    squares: Sum,
    mean: f64,
    spreads: f64,
    share: f64,
}

impl Parts for Explained {
    fn add(&mut self, row: &Row<'_>) {
        let label = row.label - *self.origin.get_or_insert(row.label);
        self.weight.add(row.weight);
        self.errors.add(row.weight * Loss::Square.of(row));
        self.labels.add(row.weight * label);
        self.squares.add(row.weight * label * label);
    }

    fn value(&mut self) -> Result<f64, StatisticsError> {
        let labels = self.labels.value();
        let mean = labels / self.weight.value();
        self.mean = self.origin.unwrap_or(0.0) + mean;
        self.spreads = self.squares.value() - mean * labels;
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

/// How many bins the calibration error has.
pub const CALIBRATION_BINS: usize = 10;

/// The expected calibration error.
///
/// Interval: of all models whose gaps are those seen times one factor, the errors of those to which the value is no
/// surprise, |value - mean| <= z · s. There the sizes of the gaps have means and spreads of their own (the folded normal
/// law: Leone, Nelson & Nottingham 1961), so the excess that chance makes is taken off.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gaps {
    weight: Sum,
    bins: [Gap; CALIBRATION_BINS],
    value: f64,
}

/// A bin's sum of (right - probability), and of its squares.
#[derive(Clone, Copy, Debug, Default)]
struct Gap {
    sum: Sum,
    squares: Sum,
}

impl Parts for Gaps {
    fn add(&mut self, row: &Row<'_>) {
        let (bin, gap) = gap(row);
        let gap = row.weight * gap;
        self.weight.add(row.weight);
        self.bins[bin].sum.add(gap);
        self.bins[bin].squares.add(gap * gap);
    }

    fn value(&mut self) -> Result<f64, StatisticsError> {
        let all = sum(self.bins.iter().map(|bin| bin.sum.value().abs()));
        self.value = all / self.weight.value();
        Ok(self.value)
    }

    fn influence(&mut self, row: &Row<'_>) -> Option<f64> {
        let (bin, gap) = gap(row);
        let derivative = self.bins[bin].sum.value().signum() * gap - self.value;
        Some(row.weight * derivative / self.weight.value())
    }

    fn interval(&self, value: f64, _spread: &Spread, confidence: f64) -> Option<Interval> {
        let total = self.weight.value();
        let z = crate::normal::two_sided(confidence);
        // How far the value lies above what is seen at most, or at least, where the gaps are so many times as large.
        let above = |factor: f64, z: f64| {
            let (mut mean, mut variance) = (0.0, 0.0);
            for bin in &self.bins {
                let (gap, squares) = (bin.sum.value().abs(), bin.squares.value());
                if squares > 0.0 {
                    let (of_bin, spread) = folded(factor * gap / total, squares.sqrt() / total);
                    mean += of_bin;
                    variance += spread;
                }
            }
            value - (mean + z * variance.sqrt())
        };
        let factor = |z: f64| {
            let (mut low, mut high) = (0.0, 1.0);
            if above(low, z) <= 0.0 {
                return 0.0;
            }
            while above(high, z) > 0.0 && high < 1e6 {
                high *= 2.0;
            }
            for _ in 0..80 {
                let middle = f64::midpoint(low, high);
                if above(middle, z) > 0.0 {
                    low = middle;
                } else {
                    high = middle;
                }
            }
            f64::midpoint(low, high)
        };
        let interval = Interval {
            lower: value * factor(z),
            upper: value * factor(-z),
        };
        Some(interval.clamped(0.0, 1.0))
    }
}

/// Mean and variance of the size of what is normal about `mean` with the standard deviation `error`.
fn folded(mean: f64, error: f64) -> (f64, f64) {
    let z = mean / error;
    let density = (2.0 / std::f64::consts::PI).sqrt() * (-z * z / 2.0).exp();
    let size = error * density + mean * (1.0 - 2.0 * crate::normal::cdf(-z));
    (size, mean * mean + error * error - size * size)
}

/// The bin of a row, and (right - probability).
fn gap(row: &Row<'_>) -> (usize, f64) {
    let (probability, is_right) = match row.answers {
        [one] => (*one, row.class() == 1),
        all => {
            let answered = row.answered_class();
            (all[answered], answered == row.class())
        }
    };
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // in [0, 10]
    let bin = ((probability * 10.0) as usize).min(CALIBRATION_BINS - 1);
    (bin, f64::from(u8::from(is_right)) - probability)
}
