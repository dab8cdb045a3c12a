//! Findings about how many rows there are, and how old the newest is.

use serde::{Deserialize, Serialize};
use statrs::function::beta::beta_reg;

use super::{Finding, Problem};
use crate::mean::Mean;
use crate::{Interval, float};

/// The least windows that one more is foretold from.
const MIN_WINDOWS: u64 = 5;

/// What is to be expected of one more window, of those before: of its rows, or of the age of its newest row in seconds.
///
/// By Student's t with K - 1 degrees, at the logarithms (Geisser 1993, "Predictive inference"): rates vary by factors. The
/// windows are of one length and, where traffic has hours and days, of the same hour and day. Counts vary by chance alone
/// too, with a variance of 1/mean of the logarithm (Poisson 1837): that is the least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Prediction {
    logarithms: Mean,
}

impl Prediction {
    /// Takes one more window: its rows or seconds, at least 0.
    pub fn add(&mut self, value: f64) {
        self.logarithms.add(value.max(0.0).ln_1p());
    }

    /// Takes the windows that another has seen.
    pub fn merge(&mut self, other: &Self) {
        self.logarithms.merge(&other.logarithms);
    }

    /// The usual value, and the spread of logarithms about it; absent with too few windows.
    fn law(&self) -> Option<(f64, f64, f64)> {
        let windows = self.logarithms.count;
        let middle = self.logarithms.value().filter(|_| windows >= MIN_WINDOWS)?;
        let of_chance = (-middle).exp();
        let variance = self.logarithms.variance()?.max(of_chance);
        let spread = (variance * (1.0 + 1.0 / float(windows))).sqrt();
        Some((middle, spread, float(windows - 1)))
    }
}

/// How often a variable of Student's law is further from 0 than t.
fn both_tails(t: f64, degrees: f64) -> f64 {
    beta_reg(degrees / 2.0, 0.5, degrees / (degrees + t * t))
}

/// The t that Student's law passes, on either side, with this probability.
fn quantile(tails: f64, degrees: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    while both_tails(high, degrees) > tails && high < 1e9 {
        high *= 2.0;
    }
    for _ in 0..100 {
        let middle = f64::midpoint(low, high);
        if both_tails(middle, degrees) > tails {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

fn finding(problem: Problem, value: f64, prediction: &Prediction, tails: f64) -> Option<Finding> {
    let (middle, spread, degrees) = prediction.law()?;
    let half = quantile(tails, degrees) * spread;
    let t = (value.max(0.0).ln_1p() - middle) / spread;
    Some(Finding {
        column: None,
        problem,
        value,
        interval: Interval {
            lower: (middle - half).exp_m1().max(0.0),
            upper: (middle + half).exp_m1(),
        },
        before: middle.exp_m1(),
        p_value: both_tails(t, degrees),
    })
}

/// A finding where a window has more rows or fewer than is to be expected, by this factor (above 1) at least.
pub fn volume(rows: u64, prediction: &Prediction, factor: f64, level: f64) -> Option<Finding> {
    let rows = float(rows);
    finding(Problem::Volume, rows, prediction, level).filter(|found| {
        let is_much = rows > factor * found.before || rows * factor < found.before;
        is_much && found.p_value <= level
    })
}

/// A finding where a window's newest row is older, in seconds, than is to be expected and than is allowed.
pub fn stale(age: f64, prediction: &Prediction, allowed: f64, level: f64) -> Option<Finding> {
    // One side: none is too fresh.
    finding(Problem::Stale, age, prediction, 2.0 * level)
        .filter(|found| age > allowed && age > found.before && found.p_value / 2.0 <= level)
}
