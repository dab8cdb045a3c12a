//! Population Stability Index: how far a distribution has moved.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{float, normal};

/// Added to the count of each cell, in the reference and in the window, so that an empty cell has a logarithm.
const SMOOTHING: f64 = 0.5;

/// A level is pooled with the other rare ones when fewer rows than this are expected of it in either sample:
/// Cochran's (1954) rule for chi-square, of which the index is a first approximation.
const MIN_EXPECTED: f64 = 5.0;

/// The index of a window against a reference.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Psi {
    /// Σ (pᵢ - qᵢ) ln(pᵢ / qᵢ) over the cells, nats, not corrected: at least 0.
    pub raw: f64,
    /// `raw` less its mean without drift, (B - 1)(1/n + 1/m); may be below 0.
    pub value: f64,
    /// The standard error of `value`.
    pub standard_error: f64,
    /// Cells that either sample has rows in: B.
    pub cells: u64,
}

impl Psi {
    /// One-sided lower confidence bound.
    pub fn lower(&self, confidence: f64) -> f64 {
        self.value - normal::one_sided(confidence) * self.standard_error
    }

    /// The index of counts by cell, the same cells in both; 0 when either sample is empty.
    ///
    /// Source: Lewis (1994) for the index (Jeffreys' divergence, Jeffreys 1946); Yurdakul (2018), "Statistical
    /// properties of the Population Stability Index", for its law without drift: (1/n + 1/m) χ² with B - 1 degrees,
    /// whose mean is taken off. Away from that the law is about that of a noncentral χ², whose variance is 2k + 4λ in
    /// units of (1/n + 1/m)², with k = B - 1. The delta method's variance,
    /// Σ pᵢ aᵢ² - (Σ pᵢ aᵢ)² over n, with aᵢ = ln(pᵢ/qᵢ) + 1 - qᵢ/pᵢ, and likewise for the reference over m,
    /// is that of 4λ but at the observed shares, where it is on average 4(λ + k). So 2k is taken off it; 2k is also the
    /// least that the variance can be.
    /// Assumes independent rows, and some five expected in most cells.
    #[allow(clippy::many_single_char_names)] // the names of the equations
    pub fn of_counts(reference: &[u64], window: &[u64]) -> Self {
        let cells: Vec<(f64, f64)> = reference
            .iter()
            .zip(window)
            .filter(|(old, new)| **old + **new > 0)
            .map(|(old, new)| (float(*old), float(*new)))
            .collect();
        let (m, n) = cells
            .iter()
            .fold((0.0, 0.0), |(m, n), (old, new)| (m + old, n + new));
        let total_cells = cells.len() as u64;
        let count = float(cells.len());
        if m == 0.0 || n == 0.0 {
            return Self {
                raw: 0.0,
                value: 0.0,
                standard_error: 0.0,
                cells: total_cells,
            };
        }
        let share = |rows: f64, total: f64| (rows + SMOOTHING) / (total + SMOOTHING * count);
        let (mut raw, mut new_part, mut old_part) = (0.0, (0.0, 0.0), (0.0, 0.0));
        for (old, new) in cells {
            let (q, p) = (share(old, m), share(new, n));
            let log = (p / q).ln();
            raw += (p - q) * log;
            let (a, b) = (log + 1.0 - q / p, 1.0 - log - p / q);
            new_part = (new_part.0 + p * a, new_part.1 + p * a * a);
            old_part = (old_part.0 + q * b, old_part.1 + q * b * b);
        }
        let variance_of =
            |(mean, square): (f64, f64), rows: f64| (square - mean * mean).max(0.0) / rows;
        let each = 1.0 / n + 1.0 / m;
        let degrees = count - 1.0;
        let without_drift = 2.0 * degrees * each * each;
        let observed = variance_of(new_part, n) + variance_of(old_part, m);
        let variance = (observed - without_drift).max(without_drift);
        Self {
            raw,
            value: raw - degrees * each,
            standard_error: variance.sqrt(),
            cells: total_cells,
        }
    }

    /// The index of a category: rows by level, and rows without a value as a cell of their own.
    ///
    /// Levels of which fewer than five rows are expected (by the reference's shares, in either sample) are pooled,
    /// with levels that the reference does not have: the choice looks at the reference and the sizes alone, so it
    /// does not favour what happens to have moved.
    pub fn of_categories(reference: &Categories, window: &Categories) -> Self {
        let (m, n) = (reference.rows(), window.rows());
        let smaller = float(m.min(n));
        let is_kept = |count: u64| float(count) * smaller >= MIN_EXPECTED * float(m);
        let kept: BTreeSet<&str> = reference
            .levels
            .iter()
            .filter(|(_, count)| is_kept(**count))
            .map(|(level, _)| level.as_str())
            .collect();
        let cells = |side: &Categories| {
            let of = |level: &&str| side.levels.get(*level).copied().unwrap_or(0);
            let mut cells: Vec<u64> = kept.iter().map(of).collect();
            let others = side
                .levels
                .iter()
                .filter(|(level, _)| !kept.contains(level.as_str()));
            cells.push(others.map(|(_, count)| *count).sum());
            cells.push(side.nulls);
            cells
        };
        Self::of_counts(&cells(reference), &cells(window))
    }
}

/// Rows of a category by level.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Categories {
    /// Rows of each level.
    pub levels: BTreeMap<String, u64>,
    /// Rows without a value.
    pub nulls: u64,
}

impl Categories {
    /// All rows.
    pub fn rows(&self) -> u64 {
        self.levels.values().sum::<u64>() + self.nulls
    }
}
