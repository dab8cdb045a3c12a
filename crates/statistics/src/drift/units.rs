//! Rows that are not independent: those of one unit (a user, a device) are more like each other than like others.
//!
//! Twenty rows of a user who is always the same tell what one does. By how much their variances are larger than those of
//! independent rows is the design effect; rows over it are what they are worth. It is taken from sums over whole units, which
//! add up over parts of the data as long as each unit is in one part. A sample of the units, by a hash of their names, is
//! enough, and takes memory that does not grow with them.

use serde::{Deserialize, Serialize};

use crate::float;

/// Sums over units of what their rows hold by cell: of bins of a number, or levels of a category.
///
/// All are whole, so that they are the same whatever the order of units; exact up to some four thousand million rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Units {
    count: u64,
    rows: u64,
    /// Σ over units of the square of their rows.
    squares: u64,
    cells: Vec<Sums>,
    /// The same of rows in a cell or one before it; empty for levels, which have no order.
    cumulated: Vec<Sums>,
}

/// Of rows in a cell, by unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Sums {
    rows: u64,
    /// Σ of the squares.
    squares: u64,
    /// Σ of rows in the cell times all rows of the unit.
    products: u64,
}

/// By how much variances are larger than those of as many independent rows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DesignEffect {
    /// How many units there were.
    pub units: u64,
    /// Of shares of cells, on average (Rao & Scott's): at least 1.
    pub of_shares: f64,
    /// The square of the variation coefficient of the cells' own effects.
    pub unevenness: f64,
    /// Of cumulated shares, the largest: what numbers in their order go by. `of_shares` where there is no order.
    pub of_cumulated: f64,
}

impl DesignEffect {
    /// Of rows that are independent.
    pub const NONE: Self = Self {
        units: 0,
        of_shares: 1.0,
        unevenness: 0.0,
        of_cumulated: 1.0,
    };
}

impl DesignEffect {
    /// Of a category, whose cells hang on it: levels keep a cell where enough independent rows of them are expected
    /// ([`super::levels::kept`]). `of` measures it in the cells that a given one makes.
    ///
    /// It is measured in the cells of independent rows, and again in those that it makes; the larger of both makes no cell that
    /// it was not measured in. The second alone may be far less than the first, as where no level keeps a cell: nothing is
    /// seen of rows that are all in one. Taken for what they are worth, all levels would keep theirs again, as if rows were
    /// independent.
    pub fn of_levels(of: impl Fn(Self) -> Self) -> Self {
        let first = of(Self::NONE);
        let second = of(first);
        Self {
            of_shares: second.of_shares.max(first.of_shares),
            of_cumulated: second.of_cumulated.max(first.of_cumulated),
            ..second
        }
    }
}

impl Sums {
    fn add(&mut self, rows: u64, of_unit: u64) {
        self.rows += rows;
        self.squares += rows * rows;
        self.products += rows * of_unit;
    }

    fn merge(&mut self, other: Self) {
        self.rows += other.rows;
        self.squares += other.squares;
        self.products += other.products;
    }
}

impl Units {
    /// Nothing seen, of so many bins in their order.
    pub fn of_bins(bins: usize) -> Self {
        Self {
            cells: vec![Sums::default(); bins],
            cumulated: vec![Sums::default(); bins.saturating_sub(1)],
            ..Self::default()
        }
    }

    /// Nothing seen, of so many levels (those that [`super::levels::kept`] has, and the cells after them).
    pub fn of_levels(levels: usize) -> Self {
        Self {
            cells: vec![Sums::default(); levels],
            ..Self::default()
        }
    }

    /// Takes all rows of one more unit: (cell, rows) of the cells that it has rows in, ascending.
    pub fn add(&mut self, unit: &[(usize, u64)]) {
        let of_unit: u64 = unit.iter().map(|(_, rows)| rows).sum();
        if of_unit == 0 {
            return;
        }
        self.count += 1;
        self.rows += of_unit;
        self.squares += of_unit * of_unit;
        let (mut so_far, mut next) = (0, unit.iter().peekable());
        for (cell, rows) in unit {
            self.cells[*cell].add(*rows, of_unit);
        }
        for (cell, sums) in self.cumulated.iter_mut().enumerate() {
            if let Some((_, rows)) = next.next_if(|(at, _)| *at == cell) {
                so_far += rows;
            }
            sums.add(so_far, of_unit);
        }
    }

    /// Takes what was seen of other units, of the same cells.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.rows += other.rows;
        self.squares += other.squares;
        let mine = self.cells.iter_mut().chain(&mut self.cumulated);
        for (mine, theirs) in mine.zip(other.cells.iter().chain(&other.cumulated)) {
            mine.merge(*theirs);
        }
    }

    /// How many units were seen.
    pub fn units(&self) -> u64 {
        self.count
    }

    /// The design effect; with fewer than two units, all of their rows are taken for one.
    ///
    /// Source: the variance of a ratio of sums over units, Σ (xᵤ - p nᵤ)² U/(U - 1) over the square of all rows (Cochran
    /// 1977, "Sampling techniques", section 9A), over p (1 - p) / N, that of as many independent rows; over cells the mean of
    /// (1 - p) times it, over (B - 1) (Rao & Scott 1981). Effects below 1 count as 1. Assumes independent units; where units
    /// are few, say fewer than thirty, it is uncertain.
    pub fn design_effect(&self) -> DesignEffect {
        if self.count < 2 {
            let all = float(self.rows).max(1.0);
            return DesignEffect {
                units: self.count,
                of_shares: all,
                unevenness: 0.0,
                of_cumulated: all,
            };
        }
        let (mut weight, mut sum, mut square) = (0.0, 0.0, 0.0);
        for (share, effect) in self.cells.iter().filter_map(|sums| self.effect(*sums)) {
            weight += 1.0 - share;
            sum += (1.0 - share) * effect;
            square += (1.0 - share) * effect * effect;
        }
        if weight <= 0.0 {
            return DesignEffect {
                units: self.count,
                ..DesignEffect::NONE
            };
        }
        let mean = sum / weight;
        let of_shares = mean.max(1.0);
        let cumulated = self.cumulated.iter().filter_map(|sums| self.effect(*sums));
        DesignEffect {
            units: self.count,
            of_shares,
            unevenness: (square / weight / (mean * mean) - 1.0).max(0.0),
            of_cumulated: cumulated
                .map(|(_, effect)| effect)
                .fold(of_shares, f64::max),
        }
    }

    /// The share of rows in a cell, and its design effect; absent where all rows or none are in it.
    fn effect(&self, sums: Sums) -> Option<(f64, f64)> {
        if sums.rows == 0 || sums.rows == self.rows {
            return None;
        }
        let (rows, units) = (float(self.rows), float(self.count));
        let share = float(sums.rows) / rows;
        let residuals = float(sums.squares) - 2.0 * share * float(sums.products)
            + share * share * float(self.squares);
        let variance = residuals.max(0.0) * units / (units - 1.0) / rows;
        Some((share, variance / (share * (1.0 - share))))
    }
}

/// Sums over units of a number's mean, in units of the reference's deviation from the reference's mean, so that no digits
/// are lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnitMeans {
    count: f64,
    rows: f64,
    squares: f64,
    sum: f64,
    sum_squares: f64,
    products: f64,
    /// Σ over rows of the square of their numbers.
    row_squares: f64,
}

impl UnitMeans {
    /// Takes all numbers of one more unit: how many, their sum and the sum of their squares.
    pub fn add(&mut self, count: u64, sum: f64, square_sum: f64) {
        if count == 0 {
            return;
        }
        let rows = float(count);
        self.count += 1.0;
        self.rows += rows;
        self.squares += rows * rows;
        self.sum += sum;
        self.sum_squares += sum * sum;
        self.products += sum * rows;
        self.row_squares += square_sum;
    }

    /// Takes what was seen of other units.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.rows += other.rows;
        self.squares += other.squares;
        self.sum += other.sum;
        self.sum_squares += other.sum_squares;
        self.products += other.products;
        self.row_squares += other.row_squares;
    }

    /// The design effect of the mean, at least 1; with fewer than two units, all rows are taken for one. As that of shares.
    pub fn design_effect(&self) -> f64 {
        if self.count < 2.0 {
            return self.rows.max(1.0);
        }
        let mean = self.sum / self.rows;
        let residuals = self.sum_squares - 2.0 * mean * self.products + mean * mean * self.squares;
        let variance = self.row_squares / self.rows - mean * mean;
        if variance <= 0.0 {
            return 1.0;
        }
        let of_units = residuals.max(0.0) * self.count / (self.count - 1.0) / self.rows;
        (of_units / variance).max(1.0)
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp)] // exact by construction
mod tests;
