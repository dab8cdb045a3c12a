//! Metrics that are means over the rows, and what is made of such.

use crate::influence::{Estimate, Influence, Scale};
use crate::sample::{Accepts, Sample};
use crate::sum::sum;
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
    /// What labels and answers it takes.
    pub fn accepts(self) -> Accepts {
        match self {
            Self::Log | Self::Brier => Accepts::Probabilities,
            Self::Square | Self::Absolute | Self::AbsolutePercentage | Self::Pinball(_) => {
                Accepts::Numbers
            }
        }
    }

    /// The loss of a row.
    pub fn of(self, sample: &Sample<'_>, row: usize) -> f64 {
        let (label, answers) = (sample.label(row), sample.probabilities(row));
        let apart = answers[0] - label;
        match self {
            Self::Log => {
                let within = |p: f64| p.clamp(f64::EPSILON, 1.0 - f64::EPSILON);
                match answers {
                    [one] if sample.class(row) == 1 => -within(*one).ln(),
                    [one] => -(-within(*one)).ln_1p(),
                    all => -within(all[sample.class(row)]).ln(),
                }
            }
            Self::Brier => match answers {
                [_] => apart * apart,
                all => {
                    let square = |(class, p): (usize, &f64)| {
                        let is = f64::from(u8::from(class == sample.class(row)));
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

    /// The mean. Interval: mean ± z · s/√n by the central limit theorem, from 0.
    ///
    /// # Errors
    /// A row that is not what the loss takes.
    pub fn mean(self, sample: &Sample<'_>, confidence: f64) -> Result<Estimate, StatisticsError> {
        let mut estimate = self
            .influence(sample)?
            .estimate(Scale::Identity, confidence);
        estimate.interval = estimate
            .interval
            .map(|interval| interval.clamped(0.0, f64::INFINITY));
        Ok(estimate)
    }

    /// The influence of the rows on the mean.
    ///
    /// # Errors
    /// As [`Loss::mean`].
    pub fn influence(self, sample: &Sample<'_>) -> Result<Influence, StatisticsError> {
        sample.check(self.accepts())?;
        Ok(Influence::of_mean(sample, |row| self.of(sample, row)))
    }
}

/// Root of the mean of (answer - label)², in the label's unit. Interval: the root of the mean's.
///
/// # Errors
/// A label or an answer that is no finite number.
pub fn rmse(sample: &Sample<'_>, confidence: f64) -> Result<Estimate, StatisticsError> {
    let squares = Loss::Square.mean(sample, confidence)?;
    Ok(Estimate {
        value: squares.value.sqrt(),
        interval: squares.interval.map(|interval| interval.map(f64::sqrt)),
    })
}

/// The influence of the rows on the root mean square error.
///
/// # Errors
/// As [`rmse`].
pub fn rmse_influence(sample: &Sample<'_>) -> Result<Influence, StatisticsError> {
    let mut influence = Loss::Square.influence(sample)?;
    let value = influence.value.sqrt();
    let slope = if value > 0.0 {
        1.0 / (2.0 * value)
    } else {
        0.0
    };
    influence.value = value;
    influence.of_rows.iter_mut().for_each(|row| *row *= slope);
    Ok(influence)
}

/// 1 less the squared errors' share of the labels' spread, at most 1. Interval: of the influence function, on the scale
/// of ln(1 - R²).
///
/// # Errors
/// As [`rmse`]; that all labels are the same.
pub fn r_squared(sample: &Sample<'_>, confidence: f64) -> Result<Estimate, StatisticsError> {
    Ok(r_squared_influence(sample)?.estimate(Scale::LogOfRest, confidence))
}

/// The influence of the rows on R².
///
/// # Errors
/// As [`r_squared`].
pub fn r_squared_influence(sample: &Sample<'_>) -> Result<Influence, StatisticsError> {
    sample.check(Accepts::Numbers)?;
    let rows = || 0..sample.rows();
    let total = sample.total_weight();
    let mean = sum(rows().map(|row| sample.weight(row) * sample.label(row))) / total;
    let error = |row: usize| Loss::Square.of(sample, row);
    let spread = |row: usize| (sample.label(row) - mean).powi(2);
    let errors = sum(rows().map(|row| sample.weight(row) * error(row)));
    let spreads = sum(rows().map(|row| sample.weight(row) * spread(row)));
    if spreads <= 0.0 {
        return Err(StatisticsError::Undefined {
            what: "all labels are the same: there is no spread to explain",
        });
    }
    let share = errors / spreads;
    Ok(Influence::new(sample, 1.0 - share, |row| {
        (share * spread(row) - error(row)) / spreads
    }))
}

/// How many bins the calibration error has.
pub const CALIBRATION_BINS: usize = 10;

/// Expected calibration error: in ten bins of equal width over [0, 1] by the answer's probability, the mean over the rows
/// of |share that is right - mean probability| (Naeini, Cooper & Hauskrecht 2015). Of two classes it is the probability
/// of class 1 and whether it is 1; of more that of the answered class and whether it is right (Guo et al. 2017).
///
/// A bin's gap is not 0 by chance, so the value is too large on few rows. Interval: of all models whose gaps are those
/// seen times one factor, the errors of those to which the value is no surprise, |value - mean| <= z · s. There the sizes
/// of the gaps have means and spreads of their own (the folded normal law: Leone, Nelson & Nottingham 1961), so the
/// excess is taken off. The value can lie above the interval where it is of chance alone.
///
/// # Errors
/// A row that has no class, an answer that is no probability.
pub fn expected_calibration_error(
    sample: &Sample<'_>,
    confidence: f64,
) -> Result<Estimate, StatisticsError> {
    let bins = gaps(sample)?;
    let total = sample.total_weight();
    let value = sum(bins.iter().map(|(gap, _)| gap.abs())) / total;
    let z = crate::normal::two_sided(confidence);
    // How far the value lies above what is seen at most, or at least, where the gaps are so many times as large.
    let above = |factor: f64, z: f64| {
        let (mut mean, mut variance) = (0.0, 0.0);
        for (gap, squares) in bins.iter().filter(|(_, squares)| *squares > 0.0) {
            let (of_bin, of_spread) = folded(factor * gap.abs() / total, squares.sqrt() / total);
            mean += of_bin;
            variance += of_spread;
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
    Ok(Estimate {
        value,
        interval: Some(interval.clamped(0.0, 1.0)),
    })
}

/// Mean and variance of the size of what is normal about `mean` with the standard deviation `error`.
fn folded(mean: f64, error: f64) -> (f64, f64) {
    let z = mean / error;
    let density = (2.0 / std::f64::consts::PI).sqrt() * (-z * z / 2.0).exp();
    let size = error * density + mean * (1.0 - 2.0 * crate::normal::cdf(-z));
    (size, mean * mean + error * error - size * size)
}

/// The influence of the rows on the expected calibration error.
///
/// # Errors
/// As [`expected_calibration_error`].
pub fn expected_calibration_error_influence(
    sample: &Sample<'_>,
) -> Result<Influence, StatisticsError> {
    let bins = gaps(sample)?;
    let total = sample.total_weight();
    let value = sum(bins.iter().map(|(gap, _)| gap.abs())) / total;
    Ok(Influence::new(sample, value, |row| {
        let (bin, gap) = gap(sample, row);
        (bins[bin].0.signum() * gap - value) / total
    }))
}

/// Of each bin the sum of (right - probability), and of its squares.
fn gaps(sample: &Sample<'_>) -> Result<[(f64, f64); CALIBRATION_BINS], StatisticsError> {
    sample.check(Accepts::Probabilities)?;
    let mut bins = [(0.0, 0.0); CALIBRATION_BINS];
    for row in 0..sample.rows() {
        let (bin, gap) = gap(sample, row);
        let gap = sample.weight(row) * gap;
        bins[bin].0 += gap;
        bins[bin].1 += gap * gap;
    }
    Ok(bins)
}

/// The bin of a row, and (right - probability).
fn gap(sample: &Sample<'_>, row: usize) -> (usize, f64) {
    let (probability, is_right) = match sample.probabilities(row) {
        [one] => (*one, sample.class(row) == 1),
        all => {
            let answered = sample.answered_class(row);
            (all[answered], answered == sample.class(row))
        }
    };
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // in [0, 10]
    let bin = ((probability * 10.0) as usize).min(CALIBRATION_BINS - 1);
    (bin, f64::from(u8::from(is_right)) - probability)
}
