//! Findings that are about shares of rows.

use statrs::function::gamma::ln_gamma;

use super::{Finding, Problem};
use crate::drift::levels::Moved;
use crate::proportion::{Proportion, exact};
use crate::{float, normal};

/// Of which column something is asked, and how sure one has to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Check<'a> {
    /// The column; absent where it is of all rows.
    pub column: Option<&'a str>,
    /// By how much rows that are not independent make variances larger, of the reference and of the window; 1 where they
    /// are.
    pub design_effects: [f64; 2],
    /// The chance of a wrong finding.
    pub level: f64,
}

/// What is allowed of a share of rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Allowed {
    /// The share itself, whatever it was in the reference; absent where that does not matter.
    pub share: Option<f64>,
    /// By how much it may be larger than in the reference.
    pub increase: f64,
}

impl Check<'_> {
    /// A finding where more rows are of a kind than is allowed: missing, of another type, new levels, duplicates.
    ///
    /// `reference` and `window` are rows of that kind among all rows. For new levels, of which a reference has none, they are
    /// the rows of levels that it has in one row only: as large is the share of levels that it has not seen (Good 1953, "The
    /// population frequencies of species"). Bounds are by Clopper and Pearson's (1934) intervals, which are right for a single
    /// row too, and for the increase MOVER (Zou & Donner 2008) of two of them; the p-value is one-sided, of no increase, by
    /// the pooled standard error.
    pub fn share_of(
        &self,
        problem: Problem,
        [reference, window]: [Proportion; 2],
        allowed: Allowed,
    ) -> Option<Finding> {
        let (q, p) = (reference.value()?, window.value()?);
        let [m, n] = self.worth([reference.trials, window.trials]);
        let (old, new) = (exact(q, m, self.level), exact(p, n, self.level));
        let below = ((p - new.lower).powi(2) + (old.upper - q).powi(2)).sqrt();
        let is_too_much = allowed.share.is_some_and(|most| new.lower > most);
        let pooled = (q * m + p * n) / (m + n);
        let variance = pooled * (1.0 - pooled) * (1.0 / m + 1.0 / n);
        (is_too_much || p - q - below > allowed.increase).then(|| Finding {
            p_value: if variance > 0.0 {
                normal::cdf(-(p - q) / variance.sqrt())
            } else {
                1.0
            },
            before: q,
            ..self.finding(problem, p, n)
        })
    }

    /// A finding where more of a window's rows lie beyond the reference's last value, below or above, than is allowed.
    ///
    /// `rows` are those beyond among all of the window; `reference` is how many rows the reference has. Whatever the
    /// distribution, without drift the k furthest of n + m rows are all the window's with probability
    /// n! (n+m-k)! / ((n-k)! (n+m)!) (Gumbel & von Schelling 1950, "The distribution of the number of exceedances"); with
    /// equal values it is less. Rows that are not independent count as fewer.
    pub fn beyond_range(
        &self,
        problem: Problem,
        rows: Proportion,
        reference: u64,
        allowed: f64,
    ) -> Option<Finding> {
        let share = rows.value()?;
        let [m, n] = self.worth([reference, rows.trials]);
        let k = share * n;
        let logarithm = ln_gamma(n + 1.0) + ln_gamma(n + m - k + 1.0)
            - ln_gamma(n - k + 1.0)
            - ln_gamma(n + m + 1.0);
        let p_value = logarithm.exp().min(1.0);
        let is_much = exact(share, n, self.level).lower > allowed;
        (p_value <= self.level && is_much).then(|| Finding {
            p_value,
            ..self.finding(problem, share, n)
        })
    }

    /// A finding where a window of so many rows has one value only, and that is no chance: `most_frequent` is the rows of the
    /// reference's most frequent value (rows without a value are one) among all of its rows.
    ///
    /// All of n independent rows have it with probability qⁿ; q is taken for as large as its upper bound lets it be.
    pub fn constant(&self, most_frequent: Proportion, window: u64) -> Option<Finding> {
        let before = most_frequent.value()?;
        let [m, n] = self.worth([most_frequent.trials, window]);
        let p_value = exact(before, m, 0.05).upper.powf(n);
        (n > 0.0 && p_value <= self.level).then(|| Finding {
            before,
            p_value,
            ..self.finding(Problem::Constant, 1.0, n)
        })
    }

    /// A finding where levels are lost: `moved` says which, at its own level. What it says of before is their share of the
    /// reference's rows; how many rows there are is of reference and window.
    pub fn lost_levels(&self, moved: &Moved, rows: [u64; 2]) -> Option<Finding> {
        let largest = moved.lost.first()?.1;
        let before: f64 = moved.lost.iter().map(|(_, share)| share).sum();
        let [m, n] = self.worth(rows);
        let names = moved.lost.iter().map(|(level, _)| level.clone());
        Some(Finding {
            before: before.min(1.0),
            p_value: (1.0 - exact(largest, m, 0.05).lower).powf(n),
            ..self.finding(Problem::LostLevels(names.collect()), 0.0, n)
        })
    }

    /// How many independent rows those of reference and window are worth.
    fn worth(&self, [reference, window]: [u64; 2]) -> [f64; 2] {
        let [old, new] = self.design_effects;
        [float(reference) / old, float(window) / new]
    }

    /// Of a share of so many rows, with its interval.
    fn finding(&self, problem: Problem, share: f64, rows: f64) -> Finding {
        Finding {
            column: self.column.map(str::to_owned),
            problem,
            value: share,
            interval: exact(share, rows, self.level / 2.0),
            before: 0.0,
            p_value: 1.0,
        }
    }
}
