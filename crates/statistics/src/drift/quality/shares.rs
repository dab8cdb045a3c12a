//! Findings that are about shares of rows.

use statrs::function::gamma::ln_gamma;

use super::{Finding, Problem};
use crate::drift::levels::Moved;
use crate::proportion::{Proportion, exact};
use crate::{float, normal};

/// Rows of a kind among all rows, of a reference and of a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shares {
    /// Of the reference. For new levels, of which it has none: levels that it has in one row only, for as large is the share
    /// of levels that it has not seen (Good 1953, "The population frequencies of species").
    pub reference: Proportion,
    /// Of the window.
    pub window: Proportion,
    /// By how much rows that are not independent make variances larger, of either; 1 where they are.
    pub design_effects: [f64; 2],
}

/// What is allowed of a share of rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Allowed {
    /// The share itself, whatever it was in the reference; absent where that does not matter.
    pub share: Option<f64>,
    /// By how much it may be larger than in the reference.
    pub increase: f64,
}

impl Shares {
    /// The shares q and p of reference and window, and how many independent rows they are of.
    fn known(&self) -> [(f64, f64); 2] {
        let of = |side: Proportion, effect: f64| {
            (
                side.value().unwrap_or_default(),
                float(side.trials) / effect,
            )
        };
        [
            of(self.reference, self.design_effects[0]),
            of(self.window, self.design_effects[1]),
        ]
    }

    /// One-sided lower bound of the window's share, and of its increase; by Clopper and Pearson's (1934) intervals, which are
    /// right for a single row too, and MOVER (Zou & Donner 2008) of two of them.
    fn lower(&self, level: f64) -> (f64, f64) {
        let [(q, m), (p, n)] = self.known();
        let (old, new) = (exact(q, m, level), exact(p, n, level));
        let below = ((p - new.lower).powi(2) + (old.upper - q).powi(2)).sqrt();
        (new.lower, p - q - below)
    }

    /// One-sided, of no increase: by the pooled standard error.
    fn p_value(&self) -> f64 {
        let [(q, m), (p, n)] = self.known();
        let pooled = (q * m + p * n) / (m + n);
        let variance = pooled * (1.0 - pooled) * (1.0 / m + 1.0 / n);
        if variance > 0.0 {
            normal::cdf(-(p - q) / variance.sqrt())
        } else {
            1.0
        }
    }
}

/// A finding where more rows are of a kind than is allowed: missing, of another type, new levels, duplicates.
pub fn share_of(
    problem: Problem,
    column: Option<&str>,
    shares: &Shares,
    allowed: Allowed,
    level: f64,
) -> Option<Finding> {
    if shares.window.trials == 0 || shares.reference.trials == 0 {
        return None;
    }
    let (share, increase) = shares.lower(level);
    let is_too_much = allowed.share.is_some_and(|most| share > most);
    let [(before, _), (value, worth)] = shares.known();
    (is_too_much || increase > allowed.increase).then(|| Finding {
        column: column.map(str::to_owned),
        problem,
        value,
        interval: exact(value, worth, level / 2.0),
        before,
        p_value: shares.p_value(),
    })
}

/// A finding where more of a window's rows lie beyond the reference's last value, below or above, than is allowed.
///
/// `rows` are those beyond among all of the window; `reference` is how many rows the reference has. Whatever the
/// distribution, without drift the k furthest of n + m rows are all the window's with probability
/// n! (n+m-k)! / ((n-k)! (n+m)!) (Gumbel & von Schelling 1950, "The distribution of the number of exceedances"); with equal
/// values it is less. Rows that are not independent count as fewer.
pub fn beyond_range(
    problem: Problem,
    column: &str,
    rows: Proportion,
    reference: u64,
    design_effects: [f64; 2],
    [allowed, level]: [f64; 2],
) -> Option<Finding> {
    let share = rows.value()?;
    let (m, n) = (
        float(reference) / design_effects[0],
        float(rows.trials) / design_effects[1],
    );
    let k = float(rows.successes) / design_effects[1];
    let p_value = (ln_gamma(n + 1.0) + ln_gamma(n + m - k + 1.0)
        - ln_gamma(n - k + 1.0)
        - ln_gamma(n + m + 1.0))
    .exp()
    .min(1.0);
    let lower = exact(share, n, level).lower;
    (p_value <= level && lower > allowed).then(|| Finding {
        column: Some(column.to_owned()),
        problem,
        value: share,
        interval: exact(share, n, level / 2.0),
        before: 0.0,
        p_value,
    })
}

/// A finding where a window has one value only, and that is no chance: `most_frequent` is the rows of the reference's most
/// frequent value (rows without a value are one) among all of its rows.
///
/// All of n independent rows have it with probability qⁿ; q is taken for as large as its upper bound lets it be.
pub fn constant(
    column: &str,
    most_frequent: Proportion,
    window: u64,
    design_effects: [f64; 2],
    level: f64,
) -> Option<Finding> {
    let before = most_frequent.value()?;
    let (m, n) = (
        float(most_frequent.trials) / design_effects[0],
        float(window) / design_effects[1],
    );
    let upper = exact(before, m, 0.05).upper;
    let p_value = upper.powf(n);
    (n > 0.0 && p_value <= level).then(|| Finding {
        column: Some(column.to_owned()),
        problem: Problem::Constant,
        value: 1.0,
        interval: exact(1.0, n, level / 2.0),
        before,
        p_value,
    })
}

/// A finding where levels are lost: `moved` says which, at its own level. Their share is of the reference's rows.
pub fn lost_levels(column: &str, moved: &Moved, reference: u64, window: f64) -> Option<Finding> {
    let largest = moved.lost.first()?.1;
    let before: f64 = moved.lost.iter().map(|(_, share)| share).sum();
    Some(Finding {
        column: Some(column.to_owned()),
        problem: Problem::LostLevels(moved.lost.iter().map(|(level, _)| level.clone()).collect()),
        value: 0.0,
        interval: exact(0.0, window, 0.025),
        before: before.min(1.0),
        p_value: (1.0 - exact(largest, float(reference), 0.05).lower).powf(window),
    })
}
