//! Means of independent values and their intervals.

use serde::{Deserialize, Serialize};

use crate::{Interval, float};

/// Count, mean and spread of values, one by one and in constant memory.
///
/// Source: Welford (1962) for the update, Chan, Golub & LeVeque (1979) for [`Mean::merge`]; stable when the spread
/// is small beside the mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Mean {
    /// How many values.
    pub count: u64,
    centre: f64,
    /// Sum of squared distances from the mean.
    squares: f64,
}

impl Mean {
    /// Of values, which are finite: as one by one, in a fraction of the time.
    pub fn of(values: &[f64]) -> Self {
        if values.is_empty() {
            return Self::default();
        }
        let count = values.len() as u64;
        let centre = in_lanes(values, |value| value) / float(count);
        // What the sum's rounding left of the mean is taken into account (Chan, Golub & LeVeque 1983, "Algorithms for computing
        // the sample variance", their corrected two-pass algorithm).
        let left = in_lanes(values, |value| value - centre) / float(count);
        let squares = in_lanes(values, |value| (value - centre) * (value - centre));
        Self {
            count,
            centre: centre + left,
            squares: (squares - float(count) * left * left).max(0.0),
        }
    }

    /// What has this mean and this standard deviation (n - 1 in the denominator).
    pub fn known(count: u64, mean: f64, standard_deviation: f64) -> Self {
        let degrees = float(count.saturating_sub(1));
        Self {
            count,
            centre: if count > 0 { mean } else { 0.0 },
            squares: standard_deviation * standard_deviation * degrees,
        }
    }

    /// Takes one more value, which is finite.
    pub fn add(&mut self, value: f64) {
        self.count += 1;
        let before = value - self.centre;
        self.centre += before / float(self.count);
        self.squares += before * (value - self.centre);
    }

    /// Takes the values that another has seen.
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            *self = *other;
            return;
        }
        let (mine, theirs) = (float(self.count), float(other.count));
        let (total, apart) = (mine + theirs, other.centre - self.centre);
        self.centre += apart * (theirs / total);
        self.squares += other.squares + apart * apart * mine * theirs / total;
        self.count += other.count;
    }

    /// The arithmetic mean; absent without values.
    pub fn value(&self) -> Option<f64> {
        (self.count > 0).then_some(self.centre)
    }

    /// The variance with n - 1 in the denominator; absent with fewer than two values.
    pub fn variance(&self) -> Option<f64> {
        (self.count > 1).then(|| self.squares / float(self.count - 1))
    }

    /// The standard deviation, n - 1 in the denominator; 0 with fewer than two values.
    pub fn standard_deviation(&self) -> f64 {
        self.variance().unwrap_or(0.0).sqrt()
    }

    /// The standard error of the mean, s / √n; absent with fewer than two values.
    pub fn standard_error(&self) -> Option<f64> {
        self.variance()
            .map(|variance| (variance / float(self.count)).sqrt())
    }

    /// The interval mean ± z·s/√n; absent with fewer than two values.
    ///
    /// By the central limit theorem (normal approximation): assumes independent values of finite variance, and
    /// enough of them (some hundreds for losses with a long tail).
    pub fn interval(&self, confidence: f64) -> Option<Interval> {
        Some(Interval::of_normal(
            self.centre,
            self.standard_error()?,
            confidence,
        ))
    }
}

/// A sum in eight lanes, which a processor adds up at once.
fn in_lanes(values: &[f64], term: impl Fn(f64) -> f64) -> f64 {
    let mut lanes = [0.0; 8];
    let chunks = values.chunks_exact(8);
    let rest: f64 = chunks.remainder().iter().map(|value| term(*value)).sum();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += term(*value);
        }
    }
    lanes.iter().sum::<f64>() + rest
}

impl FromIterator<f64> for Mean {
    fn from_iter<T: IntoIterator<Item = f64>>(values: T) -> Self {
        let mut mean = Self::default();
        values.into_iter().for_each(|value| mean.add(value));
        mean
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_spread_by_hand() {
        let mean: Mean = [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]
            .into_iter()
            .collect();
        assert_eq!(mean.value(), Some(5.0));
        assert!((mean.variance().expect("two") - 32.0 / 7.0).abs() < 1e-15);
        let interval = mean.interval(0.95).expect("two");
        assert!(
            (interval.upper - (5.0 + 1.959_963_984_540_054 * (4.0_f64 / 7.0).sqrt())).abs() < 1e-12
        );
    }

    #[test]
    fn a_small_spread_about_a_large_mean_is_not_lost() {
        let mean: Mean = [1e9 + 4.0, 1e9 + 7.0, 1e9 + 13.0, 1e9 + 16.0]
            .into_iter()
            .collect();
        assert_eq!(mean.variance(), Some(30.0));
    }

    #[test]
    fn merged_is_as_seen_at_once() {
        let values: Vec<f64> = (0..100).map(|i| f64::from(i * i % 17)).collect();
        let mut first: Mean = values[..30].iter().copied().collect();
        first.merge(&values[30..].iter().copied().collect());
        let all: Mean = values.into_iter().collect();
        assert!((first.value().unwrap() - all.value().unwrap()).abs() < 1e-12);
        assert!((first.variance().unwrap() - all.variance().unwrap()).abs() < 1e-12);
    }

    #[test]
    fn of_a_slice_it_is_as_one_by_one() {
        let values: Vec<f64> = (0..1003)
            .map(|row| 1e9 + f64::from(row * row % 101))
            .collect();
        for count in [0, 1, 7, 8, 1003] {
            // Of the same values about 0, where no digits are lost.
            let about_zero: Mean = values[..count].iter().map(|value| value - 1e9).collect();
            let at_once = Mean::of(&values[..count]);
            assert_eq!(at_once.count, about_zero.count);
            let apart = |one: Option<f64>, other: Option<f64>| match (one, other) {
                (Some(one), Some(other)) => (one - other).abs(),
                (one, other) => f64::from(u8::from(one != other)),
            };
            let mean = about_zero.value().map(|mean| mean + 1e9);
            assert!(apart(at_once.value(), mean) < 2e-7);
            assert!(apart(at_once.variance(), about_zero.variance()) < 1e-9);
            let known = Mean::known(
                at_once.count,
                at_once.value().unwrap_or(0.0),
                at_once.standard_deviation(),
            );
            assert!((known.standard_deviation() - at_once.standard_deviation()).abs() < 1e-9);
        }
    }

    #[test]
    fn one_value_has_no_interval() {
        assert_eq!([3.0].into_iter().collect::<Mean>().interval(0.95), None);
        assert_eq!(Mean::default().value(), None);
    }
}
