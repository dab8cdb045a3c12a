//! Two samples of numbers in their order, as the steps of their cumulated distributions.

mod conversion;

use super::gaps::{self, Gap};
use super::{Effect, Scale};
use crate::cells::Cells;
use crate::float;
pub use conversion::Conversion;

/// The mean of Kolmogorov's statistic, √N times the largest difference, where there is no drift: √(π/2) ln 2 (Marsaglia, Tsang & Wang 2003).
const KOLMOGOROV_MEAN: f64 = 0.868_731_160_636_159_2;
/// What its square seldom passes by chance: in 5 of 100.
const KOLMOGOROV_SQUARE: f64 = 1.844;
/// What part of the mean is taken off at least: where the distance is largest is looked for too, so a large one is still
/// larger than that at the place where it truly is. By simulation of shifts from a quarter to one deviation.
const LEAST_PART: f64 = 0.4;
/// About two standard errors of Anderson & Darling's (1952) statistic, the mean of the squares of gaps of cumulated shares.
const ANDERSON_DARLING_DOUBT: f64 = 1.5;

/// What stands at each number of a reference or a window: exact counts, or those of a table of bounded size
/// ([`Cells`]) or of a sketch, whose cells stand where their means are.
#[derive(Clone, Debug, PartialEq)]
pub struct Steps {
    /// Ascending, each but once.
    ordered: Vec<Step>,
    /// How many rows there are (m, n).
    rows: [f64; 2],
    /// How many independent rows they are worth.
    effective: [f64; 2],
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Step {
    at: f64,
    /// Rows of the reference and of the window.
    rows: [f64; 2],
}

impl Steps {
    /// Of (number, rows), ascending, of the reference and of the window. Numbers are finite. Equal ones are one step,
    /// whichever sample they are of: a tie is never counted as a difference.
    pub fn new(
        reference: impl IntoIterator<Item = (f64, u64)>,
        window: impl IntoIterator<Item = (f64, u64)>,
    ) -> Self {
        let (mut old, mut new) = (
            reference.into_iter().peekable(),
            window.into_iter().peekable(),
        );
        let mut steps: Vec<Step> = Vec::new();
        let mut rows = [0.0; 2];
        loop {
            let side = match (old.peek(), new.peek()) {
                (None, None) => break,
                (Some(_), None) => 0,
                (None, Some(_)) => 1,
                (Some(old), Some(new)) => usize::from(new.0 < old.0),
            };
            let next = if side == 0 { old.next() } else { new.next() };
            let (at, count) = next.expect("it was looked at");
            let count = float(count);
            rows[side] += count;
            match steps.last_mut() {
                Some(last) if last.at >= at => last.rows[side] += count,
                _ => {
                    let mut rows = [0.0; 2];
                    rows[side] = count;
                    steps.push(Step { at, rows });
                }
            }
        }
        Self {
            ordered: steps,
            rows,
            effective: rows,
        }
    }

    /// Of numbers that were counted in cells, after [`Cells::settle`].
    pub fn of_cells(reference: &Cells<u64>, window: &Cells<u64>) -> Self {
        let points = |cells: &Cells<u64>| -> Vec<(f64, u64)> {
            cells.points().map(|(at, rows)| (at, *rows)).collect()
        };
        Self::new(points(reference), points(window))
    }

    /// The same distributions of fewer rows, as many as they would be if they were independent; a design effect is at least
    /// 1, of the reference and of the window: that of cumulated shares ([`super::units`]).
    #[must_use]
    pub fn thinned(mut self, design_effects: [f64; 2]) -> Self {
        for (side, effect) in design_effects.into_iter().enumerate() {
            self.effective[side] = self.rows[side] / effect;
        }
        self
    }

    /// The two cumulated shares, F of the reference and G of the window, after each step but the last, with what lies
    /// between it and the next.
    fn cumulated(&self) -> impl Iterator<Item = ([f64; 2], f64)> {
        let mut sums = [0.0; 2];
        self.ordered.windows(2).map(move |pair| {
            for (sum, rows) in sums.iter_mut().zip(pair[0].rows) {
                *sum += rows;
            }
            let shares = [sums[0] / self.rows[0], sums[1] / self.rows[1]];
            (shares, pair[1].at - pair[0].at)
        })
    }

    fn is_void(&self) -> bool {
        self.rows.iter().any(|rows| *rows <= 0.0) || self.ordered.len() < 2
    }

    /// Kolmogorov and Smirnov's distance of two samples, from 0 to 1: the largest difference of the cumulated shares.
    ///
    /// Source: Smirnov (1939) for the limit of the p-value, with the correction of Stephens (1970), "Use of the
    /// Kolmogorov-Smirnov, Cramér-von Mises and related statistics without extensive tables", at n m / (n + m). With ties the
    /// p-value is larger than it need be, never smaller (Noether 1963). What is taken off for chance is the statistic's mean
    /// without drift, less where the distance is larger than chance makes it; the standard error is that of the two shares
    /// where the distance is (the delta method; larger than need be where there is no drift).
    pub fn kolmogorov_smirnov(&self) -> Effect {
        if self.is_void() {
            return Effect::none(Scale::Plain);
        }
        let [m, n] = self.effective;
        let mut largest = ([0.0; 2], 0.0_f64);
        for (shares, _) in self.cumulated() {
            let gap = (shares[1] - shares[0]).abs();
            if gap > largest.1 {
                largest = (shares, gap);
            }
        }
        let ([old, new], distance) = largest;
        let root = (n * m / (n + m)).sqrt();
        let square = (root * distance).powi(2);
        let of_drift = if square > KOLMOGOROV_SQUARE {
            (1.0 - KOLMOGOROV_SQUARE / square).sqrt()
        } else {
            0.0
        };
        let variance = old * (1.0 - old) / m + new * (1.0 - new) / n;
        let excess = KOLMOGOROV_MEAN / root * (1.0 - of_drift).max(LEAST_PART);
        // Samples that do not overlap may still do so.
        let standard_error = variance.max(0.25 / (n * n) + 0.25 / (m * m)).sqrt();
        let p_value = kolmogorov((root + 0.12 + 0.11 / root) * distance);
        Effect::plain([distance, excess], standard_error, p_value)
    }

    /// Wasserstein's distance of order 1, ∫ |F - G|, over the standard deviation of the reference: how far a row has moved
    /// on average, in deviations; absent where the reference has no spread or fewer than two rows.
    ///
    /// Source: Vallender (1974), "Calculation of the Wasserstein distance between probability distributions on the line";
    /// del Barrio, Giné & Matrán (1999) for its normal limit, whose variance is the delta method's, of ∫ sign(F - G) over
    /// what lies above a row. The deviation is an estimate too: (kurtosis - 1) / 4m of the square is added for it. The
    /// p-value is that of [`Steps::kolmogorov_smirnov`].
    pub fn wasserstein(&self) -> Option<Effect> {
        if self.rows[1] <= 0.0 {
            return None;
        }
        let (deviation, kurtosis) = self.reference_spread()?;
        let [m, n] = self.effective;
        let each = 1.0 / m + 1.0 / n;
        let (mut gaps, mut signs) = (Vec::new(), Vec::with_capacity(self.ordered.len()));
        let total = self.rows[0] + self.rows[1];
        for ([old, new], width) in self.cumulated() {
            let width = width / deviation;
            let pooled = (old * self.rows[0] + new * self.rows[1]) / total;
            let size = new - old;
            gaps.push(Gap {
                size,
                error: (pooled * (1.0 - pooled) * each).max(0.0).sqrt(),
                weight: width,
            });
            signs.push(if size == 0.0 {
                0.0
            } else {
                size.signum() * width
            });
        }
        let (measured, excess) = gaps::sum(&gaps, ANDERSON_DARLING_DOUBT);
        // Of each row, the integral of the sign from it to the last step.
        let mut above = 0.0;
        let mut moments = [(0.0, 0.0); 2];
        for (at, step) in self.ordered.iter().enumerate().rev() {
            above += signs.get(at).copied().unwrap_or(0.0);
            for (side, (mean, square)) in moments.iter_mut().enumerate() {
                let share = step.rows[side] / self.rows[side];
                *mean += share * above;
                *square += share * above * above;
            }
        }
        let variance = |side: usize| {
            let (mean, square) = moments[side];
            (square - mean * mean).max(0.0) / self.effective[side]
        };
        let of_deviation = measured * measured * (kurtosis - 1.0) / (4.0 * m);
        let standard_error = (variance(0) + variance(1) + of_deviation).sqrt();
        let p_value = self.kolmogorov_smirnov().p_value;
        Some(Effect::plain([measured, excess], standard_error, p_value))
    }

    /// Standard deviation and kurtosis of the reference.
    fn reference_spread(&self) -> Option<(f64, f64)> {
        let m = self.rows[0];
        if m < 2.0 {
            return None;
        }
        let mean = self
            .ordered
            .iter()
            .map(|step| step.at * (step.rows[0] / m))
            .sum::<f64>();
        let moment = |power: i32| {
            let of_step = |step: &Step| (step.at - mean).powi(power) * (step.rows[0] / m);
            self.ordered.iter().map(of_step).sum::<f64>()
        };
        let variance = moment(2);
        (variance > 0.0 && variance.is_finite()).then(|| {
            let kurtosis = moment(4) / (variance * variance);
            ((variance * m / (m - 1.0)).sqrt(), kurtosis.max(1.0))
        })
    }
}

/// How often Kolmogorov's statistic is as large as x or larger.
///
/// Source: Kolmogorov (1933); the other series, of theta functions, below x = 1.18 (Feller 1948), where this one needs
/// many terms.
fn kolmogorov(x: f64) -> f64 {
    use std::f64::consts::PI;
    if x <= 0.0 {
        return 1.0;
    }
    if x < 1.18 {
        let odd = [1.0, 3.0, 5.0, 7.0];
        let terms = odd.map(|k: f64| (-k * k * PI * PI / (8.0 * x * x)).exp());
        return 1.0 - (2.0 * PI).sqrt() / x * terms.iter().sum::<f64>();
    }
    let term = |k: f64| 2.0 * (-2.0 * k * k * x * x).exp();
    term(1.0) - term(2.0) + term(3.0) - term(4.0)
}

#[cfg(test)]
#[allow(clippy::float_cmp)] // exact by construction
mod tests;
