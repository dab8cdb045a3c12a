//! Two samples by cell: a table of two rows.

use serde::{Deserialize, Serialize};
use statrs::function::gamma::gamma_ur;

use super::divergence::{self, Kernel};
use super::{Effect, Scale, gaps};
use crate::float;

/// Fewer rows than this are not expected of a cell in either sample: Cochran's (1954) rule for chi-square, of which the
/// divergences are first approximations.
pub const MIN_EXPECTED: f64 = 5.0;

/// A distance between the shares of cells. Those from 0 to 1 are 0 where the samples are the same, and 1 where they have no
/// cell in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Distance {
    /// Population Stability Index, nats, from 0: Σ (p - q) ln(p / q). Lewis (1994); Jeffreys (1946).
    Psi,
    /// Jensen-Shannon distance, from 0 to 1: the root of the divergence in bits. Lin (1991); Endres & Schindelin (2003).
    JensenShannon,
    /// Hellinger distance, from 0 to 1: the root of 1 - Σ √(p q). Hellinger (1909).
    Hellinger,
    /// The root of ½ Σ (p - q)² / (p + q), from 0 to 1: what chi-square over its rows is in two samples of one size
    /// (Cohen's w, 1988), so that it does not hang on how large they are. Le Cam (1986).
    ChiSquare,
    /// Cramér's V of the table, from 0 to 1, with Bergsma's correction: Cramér (1946); Bergsma (2013), "A bias-correction
    /// for Cramér's V and Tschuprow's T". Of samples of very different size it is small, however different they are:
    /// [`Distance::ChiSquare`] is not.
    CramersV,
    /// Total variation, from 0 to 1: ½ Σ |p - q|. Also half of the L1 distance.
    TotalVariation,
}

impl Distance {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Psi,
        Self::JensenShannon,
        Self::Hellinger,
        Self::ChiSquare,
        Self::CramersV,
        Self::TotalVariation,
    ];
}

/// Rows of a reference and of a window by cell: what bins of a number or levels of a category hold.
///
/// Rows that are not independent count as fewer ([`Table::thinned`]), so counts need not be whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// (reference, window) of each cell that either has rows in.
    pub(super) cells: Vec<(f64, f64)>,
    /// All rows of the reference (m), and of the window (n).
    pub(super) rows: (f64, f64),
    /// How much more the null's variance is than that of as many even degrees: (1 + its square) of Rao & Scott.
    pub(super) unevenness: f64,
}

/// A two-sample chi-square test.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChiSquare {
    /// X².
    pub statistic: f64,
    /// Its degrees of freedom: cells less one, fewer where rows are not independent in an uneven way.
    pub degrees: f64,
    /// How often it is as large or larger where both samples are of one distribution.
    pub p_value: f64,
}

impl Table {
    /// Of counts by cell, the same cells in both.
    pub fn new(reference: &[u64], window: &[u64]) -> Self {
        let both = reference.iter().zip(window);
        Self::of_cells(both.map(|(old, new)| (float(*old), float(*new))))
    }

    /// Of counts by bin of an ordered column, in their order, and rows without a value as a cell of their own. Neighbours
    /// are one cell where fewer than [`MIN_EXPECTED`] rows are expected of one in either sample, by the reference's shares:
    /// the choice looks at the reference and the sizes alone, so it does not favour what happens to have moved.
    ///
    /// `effective` is how many independent rows the reference and the window are worth.
    pub fn of_bins(
        reference: &[u64],
        window: &[u64],
        nulls: [u64; 2],
        effective: [f64; 2],
    ) -> Self {
        let total = reference.iter().sum::<u64>() + nulls[0];
        let enough = MIN_EXPECTED * float(total) / effective[0].min(effective[1]);
        let mut cells: Vec<(f64, f64)> = Vec::new();
        let mut is_full = true;
        for (old, new) in reference.iter().zip(window) {
            match cells.last_mut().filter(|_| !is_full) {
                Some(last) => *last = (last.0 + float(*old), last.1 + float(*new)),
                None => cells.push((float(*old), float(*new))),
            }
            is_full = cells.last().is_some_and(|last| last.0 >= enough);
        }
        if !is_full && cells.len() > 1 {
            let (old, new) = cells.pop().expect("there are two at least");
            let last = cells.last_mut().expect("there is one more");
            *last = (last.0 + old, last.1 + new);
        }
        cells.push((float(nulls[0]), float(nulls[1])));
        Self::of_cells(cells)
    }

    fn of_cells(cells: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let is_seen = |(old, new): &(f64, f64)| old + new > 0.0;
        let cells: Vec<(f64, f64)> = cells.into_iter().filter(is_seen).collect();
        let add = |(m, n): (f64, f64), (old, new): &(f64, f64)| (m + old, n + new);
        Self {
            rows: cells.iter().fold((0.0, 0.0), add),
            cells,
            unevenness: 0.0,
        }
    }

    /// The same shares of fewer rows: as many as they would be if they were independent. A design effect (at least 1) is
    /// by how much the rows' dependence makes variances larger; of the reference, and of the window.
    ///
    /// Source: Rao & Scott (1981), "The analysis of categorical data from complex sample surveys", their first-order
    /// correction, as Scott & Rao (1981) have it for two samples.
    #[must_use]
    pub fn thinned(mut self, [reference, window]: [f64; 2]) -> Self {
        for (old, new) in &mut self.cells {
            *old /= reference;
            *new /= window;
        }
        self.rows = (self.rows.0 / reference, self.rows.1 / window);
        self
    }

    /// The square of the variation coefficient of the design effects of cells: where they are uneven, chance varies more.
    /// (Rao & Scott's second-order correction, Satterthwaite 1946.)
    #[must_use]
    pub fn uneven(mut self, unevenness: f64) -> Self {
        self.unevenness = unevenness;
        self
    }

    /// How many cells have rows.
    pub fn cells(&self) -> usize {
        self.cells.len()
    }

    /// How many independent rows the reference and the window are worth.
    pub fn rows(&self) -> (f64, f64) {
        self.rows
    }

    /// 1/n + 1/m.
    pub(super) fn each(&self) -> f64 {
        1.0 / self.rows.1 + 1.0 / self.rows.0
    }

    /// Cells less one.
    pub(super) fn degrees(&self) -> f64 {
        float(self.cells.len().saturating_sub(1))
    }

    /// Whether there is nothing to compare: a sample is empty, or both have all rows in one cell.
    pub(super) fn is_void(&self) -> bool {
        self.rows.0 <= 0.0 || self.rows.1 <= 0.0 || self.cells.len() < 2
    }

    /// Pearson's chi-square of the two samples, on (cells - 1) degrees; 0 on 0 degrees where there is nothing to compare.
    ///
    /// Source: Pearson (1911), "On the probability that two independent distributions of frequency are really samples from
    /// the same population". The reference is a sample too: to take its shares for the truth, as a test of one sample does,
    /// makes chance alarm more the larger the window is beside it. Assumes some five expected in most cells.
    pub fn chi_square(&self) -> ChiSquare {
        if self.is_void() {
            return ChiSquare {
                statistic: 0.0,
                degrees: 0.0,
                p_value: 1.0,
            };
        }
        let (m, n) = self.rows;
        let of_cell = |(old, new): &(f64, f64)| (new / n - old / m).powi(2) / (old + new);
        let statistic = self.cells.iter().map(of_cell).sum::<f64>() * n * m;
        let stretch = 1.0 + self.unevenness;
        let (statistic, degrees) = (statistic / stretch, self.degrees() / stretch);
        ChiSquare {
            statistic,
            degrees,
            p_value: if statistic > 0.0 {
                gamma_ur(degrees / 2.0, statistic / 2.0)
            } else {
                1.0
            },
        }
    }

    /// A distance of the window from the reference, its p-value that of [`Table::chi_square`].
    pub fn effect(&self, distance: Distance) -> Effect {
        let square = |kernel| divergence::effect(self, kernel, Scale::Square);
        match distance {
            Distance::Psi => divergence::effect(self, Kernel::Psi, Scale::Plain),
            Distance::JensenShannon => square(Kernel::JensenShannon),
            Distance::Hellinger => square(Kernel::Hellinger),
            Distance::ChiSquare => square(Kernel::ChiSquare(0.5)),
            Distance::CramersV => divergence::cramers_v(self),
            Distance::TotalVariation => gaps::total_variation(self),
        }
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp)] // exact by construction
mod tests;
