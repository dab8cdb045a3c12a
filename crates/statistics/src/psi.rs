//! Population Stability Index: how far a distribution has moved.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::cells::Merge;
use crate::drift::levels;
use crate::drift::table::{Distance, Table};
use crate::normal;

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
    /// Source: Lewis (1994) for the index (Jeffreys' divergence, Jeffreys 1946); [`crate::drift::table`] for its law, of
    /// which this is one of several distances. Assumes independent rows, and some five expected in most cells.
    pub fn of_counts(reference: &[u64], window: &[u64]) -> Self {
        Self::of_table(&Table::new(reference, window))
    }

    /// The index of a category: rows by level, those without a value as a cell of their own, and rare levels pooled
    /// ([`levels`]), with those that the reference does not have.
    pub fn of_categories(reference: &Categories, window: &Categories) -> Self {
        Self::of_table(&levels::table(reference, window, [1.0; 2]))
    }

    fn of_table(table: &Table) -> Self {
        let effect = table.effect(Distance::Psi);
        Self {
            raw: effect.raw(),
            value: effect.value(),
            standard_error: effect.standard_error(),
            cells: table.cells() as u64,
        }
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

impl Merge for Categories {
    fn merge(&mut self, other: &Self) {
        for (level, rows) in &other.levels {
            match self.levels.get_mut(level) {
                Some(mine) => *mine += rows,
                None => drop(self.levels.insert(level.clone(), *rows)),
            }
        }
        self.nulls += other.nulls;
    }
}
