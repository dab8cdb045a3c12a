//! How far probabilities are from how often they are right.

use std::sync::LazyLock;

use crate::influence::Spread;
use crate::looks::Parts;
use crate::sample::Row;
use crate::sum::{Sum, sum};
use crate::{Interval, StatisticsError};

/// How many bins the calibration error has.
pub const CALIBRATION_BINS: usize = 10;

/// The expected calibration error.
///
/// Interval: of all models whose gaps are those seen times one factor, the errors of those to which what is seen is no
/// surprise, |seen - mean| <= z · s. What is seen is the sum of the gaps' sizes less the excess that chance makes of them
/// ([`Sizes`]), whose mean and spread depend on how large the gaps are.
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
    /// How many rows, and the sum of the squares of their weights.
    rows: u32,
    weights: Sum,
}

impl Gap {
    /// Its standard error: rows that are all right, or all wrong, are taken for half a row that is not.
    fn error(&self) -> f64 {
        let of_row = self.weights.value() / f64::from(self.rows.max(1));
        (self.squares.value() + of_row / 4.0).sqrt()
    }
}

impl Parts for Gaps {
    fn add(&mut self, row: &Row<'_>) {
        let (bin, gap) = gap(row);
        let gap = row.weight * gap;
        self.weight.add(row.weight);
        self.bins[bin].sum.add(gap);
        self.bins[bin].squares.add(gap * gap);
        self.bins[bin].rows = self.bins[bin].rows.saturating_add(1);
        self.bins[bin].weights.add(row.weight * row.weight);
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

    fn interval(&self, _value: f64, _spread: &Spread, confidence: f64) -> Option<Interval> {
        let total = self.weight.value();
        let z = crate::normal::two_sided(confidence);
        // Of each gap how many standard errors it is large, and this error.
        let bins = self.bins.iter().filter(|bin| bin.error() > 0.0);
        let gaps: Vec<(f64, f64)> = bins
            .map(|bin| (bin.sum.value().abs() / bin.error(), bin.error()))
            .collect();
        let none: f64 = gaps.iter().map(|(_, error)| error * SIZES.law(0.0).0).sum();
        let seen: f64 = gaps.iter().map(|(gap, error)| error * SIZES.of(*gap)).sum();
        // Less than without any gap is seen by chance alone; and a gap that looks like none may be one.
        let seen = seen.max(none);
        let gaps: Vec<(f64, f64)> = gaps
            .into_iter()
            .map(|(gap, error)| (gap.max(LEAST_ERRORS), error))
            .collect();
        let all: f64 = gaps.iter().map(|(gap, error)| gap * error).sum();
        // How far what is seen lies above what is seen at most, or at least, where the gaps are so many times as large.
        let above = |factor: f64, z: f64| {
            let (mut mean, mut variance) = (0.0, 0.0);
            for (gap, error) in &gaps {
                let (of_gap, spread) = SIZES.law(factor * gap);
                mean += error * of_gap;
                variance += error * error * spread;
            }
            seen - (mean + z * variance.sqrt())
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
            lower: all * factor(z) / total,
            upper: all * factor(-z) / total,
        };
        Some(interval.clamped(0.0, 1.0))
    }
}

/// How far gaps are looked up; one that is larger by errors is as large as it looks.
const MOST_ERRORS: f64 = 12.0;
const STEP: f64 = 0.01;
/// As how large a gap is taken at least, by errors, when it is asked how large all may be.
const LEAST_ERRORS: f64 = 0.5;

static SIZES: LazyLock<Sizes> = LazyLock::new(Sizes::new);

/// The size of a gap γ that is known with an error of 1, normally.
///
/// What is seen of it, |γ + Z|, is too large: 0.8 where there is no gap at all. Its excess, taken as if the gap were as large
/// as it looks, is taken off five times over, each time what is left of it (the iterated correction of a bias by its own
/// estimate: Hall 1992, "The bootstrap and Edgeworth expansion", section 1.4). What is then left of it is 0.3 where there
/// is no gap, at most 0.1 from half an error on, and 0.03 from four.
struct Sizes {
    /// By the size that is seen.
    corrected: Vec<f64>,
    /// By the gap: mean and variance of the corrected size.
    laws: Vec<(f64, f64)>,
}

impl Sizes {
    fn new() -> Self {
        let gaps: Vec<f64> = std::iter::successors(Some(0.0), |gap| Some(gap + STEP))
            .take_while(|gap| *gap <= MOST_ERRORS + STEP)
            .collect();
        let mut corrected = gaps.clone();
        for _ in 0..5 {
            let left = gaps
                .iter()
                .map(|gap| gap - mean_and_variance(&corrected, *gap).0);
            let left: Vec<f64> = left.collect();
            corrected
                .iter_mut()
                .zip(left)
                .for_each(|(size, left)| *size += left);
        }
        let laws = gaps.iter().map(|gap| mean_and_variance(&corrected, *gap));
        Self {
            laws: laws.collect(),
            corrected,
        }
    }

    /// The corrected size of a gap that looks as large.
    fn of(&self, seen: f64) -> f64 {
        between(&self.corrected, seen, |size| *size).unwrap_or(seen)
    }

    /// Mean and variance of the corrected size of a gap.
    fn law(&self, gap: f64) -> (f64, f64) {
        let mean = between(&self.laws, gap, |law| law.0);
        let variance = between(&self.laws, gap, |law| law.1);
        (mean.unwrap_or(gap), variance.unwrap_or(1.0))
    }
}

/// Mean and variance of what is tabled by the size |gap + Z|.
fn mean_and_variance(table: &[f64], gap: f64) -> (f64, f64) {
    // The trapezoidal rule is as good as exact for the normal density.
    let points = (-80_i32..=80).map(|at| f64::from(at) / 10.0);
    let (mut weights, mut mean, mut square) = (0.0, 0.0, 0.0);
    for z in points {
        let weight = (-z * z / 2.0).exp();
        let seen = (gap + z).abs();
        let size = between(table, seen, |size| *size).unwrap_or(seen);
        weights += weight;
        mean += weight * size;
        square += weight * size * size;
    }
    let mean = mean / weights;
    (mean, square / weights - mean * mean)
}

/// What lies between the two next in a table of steps; absent beyond its end.
fn between<T>(table: &[T], at: f64, value: impl Fn(&T) -> f64) -> Option<f64> {
    let place = at / STEP;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    // beyond the table it is not looked up
    let before = place as usize;
    let (low, high) = (value(table.get(before)?), value(table.get(before + 1)?));
    Some(low + (high - low) * place.fract())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_a_gap_is_right_but_where_it_is_of_chance_alone() {
        for (gap, most) in [
            (0.0, 0.36),
            (0.5, 0.06),
            (1.0, 0.1),
            (2.0, 0.1),
            (4.0, 0.03),
        ] {
            let (mean, variance) = SIZES.law(gap);
            assert!((mean - gap).abs() < most, "{gap}: {mean}");
            assert!((0.5..2.0).contains(&variance), "{gap}: {variance}");
        }
        assert_eq!(SIZES.law(1e6), (1e6, 1.0));
        assert!((SIZES.of(8.0) - 8.0).abs() < 1e-3);
    }
}
