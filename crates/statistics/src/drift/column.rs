//! One column of a window against the same column of a reference: by what was counted of both.

use std::collections::BTreeSet;

use super::levels;
use super::method::Method;
use super::shift::mean_shift;
use super::steps::Steps;
use super::table::{Distance, Table};
use super::units::DesignEffect;
use super::{Effect, decide};
use crate::float;
use crate::mean::Mean;
use crate::psi::Categories;
use crate::ranks::{Cell, Ranks};

/// What was counted of a number, in the reference or in the window.
#[derive(Clone, Copy, Debug)]
pub struct Number<'a> {
    /// Its values by rank.
    pub ranks: &'a Ranks,
    /// Their mean and spread.
    pub mean: &'a Mean,
    /// Rows without a value.
    pub nulls: u64,
    /// What its rows are worth.
    pub worth: Worth,
}

/// By how much variances are larger than those of as many independent rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Worth {
    /// Of shares.
    pub shares: DesignEffect,
    /// Of the mean.
    pub mean: f64,
}

impl Worth {
    /// Of rows that are independent.
    pub const INDEPENDENT: Self = Self {
        shares: DesignEffect::NONE,
        mean: 1.0,
    };
}

/// How far a column is from its reference.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// By what distance: for a category, of those of numbers alone, total variation.
    pub method: Method,
    /// The distance.
    pub effect: Effect,
    /// Beside PSI, of a number with a spread: how far its mean has moved. PSI is slow to see it.
    pub shift: Option<Effect>,
    /// How far the mean has moved, in deviations of the reference, with its sign; of a number with a spread.
    pub mean_shift: Option<f64>,
    /// Rows of reference and window by cell: what tables are of.
    pub cells: Vec<[u64; 2]>,
}

impl Measured {
    /// What is asked of it among all columns. A mean that moved by more deviations than PSI may be is enough by itself: with
    /// the same threshold it sees less than half of the shift that PSI asks for (of normal numbers, PSI is its square).
    pub fn asked(&self, column: &str, threshold: f64) -> decide::Asked {
        decide::Asked {
            column: column.to_owned(),
            effect: self.effect,
            threshold,
            beside: self
                .shift
                .map(|effect| decide::Beside { effect, threshold }),
        }
    }
}

/// How far a number has moved. `edges` are inner edges of bins in which cells of the reference begin; cells of the window
/// begin where those of the reference do ([`Ranks::beside`]), or nearly so.
///
/// Kolmogorov and Smirnov's distance is the largest difference of cumulated shares where cells of the reference begin: where
/// these are exact it is never more than the true one, and less by no more than a cell. It, and Wasserstein's distance, are of
/// rows with a value alone.
pub fn of_number(
    reference: &Number<'_>,
    window: &Number<'_>,
    edges: &[f64],
    method: Method,
) -> Measured {
    let method = match method {
        // These are of vectors and texts.
        Method::MeanEmbedding | Method::DomainClassifier => Method::KolmogorovSmirnov,
        other => other,
    };
    let shares = [reference, window].map(|side| side.worth.shares);
    let counts = [reference, window].map(|side| side.ranks.counts(edges));
    let nulls = [reference.nulls, window.nulls];
    let shift = mean_shift(
        reference.mean,
        window.mean,
        [reference.worth.mean, window.worth.mean],
    );
    let thinned = |steps: Steps| steps.thinned(shares.map(|effect| effect.of_cumulated));
    let by_rank = || thinned(aligned(reference.ranks, window.ranks)).kolmogorov_smirnov();
    let effect = match (method.distance(), method) {
        (Some(distance), _) => table(&counts, nulls, shares).effect(distance),
        // Where all of the reference is one number there are no deviations.
        (None, Method::Wasserstein) => {
            let steps = thinned(steps(reference.ranks, window.ranks));
            steps.wasserstein().unwrap_or_else(by_rank)
        }
        (None, Method::MeanShift) => shift.unwrap_or_else(by_rank),
        (None, _) => by_rank(),
    };
    let is_lower = window.mean.value() < reference.mean.value();
    let signed = |shift: Effect| if is_lower { -shift.raw() } else { shift.raw() };
    let cells = counts[0].iter().zip(&counts[1]);
    let cells = cells.map(|(old, new)| [*old, *new]).chain([nulls]);
    Measured {
        method,
        effect,
        shift: shift.filter(|_| method == Method::Psi),
        mean_shift: shift.map(signed),
        cells: cells.collect(),
    }
}

fn table(counts: &[Vec<u64>; 2], nulls: [u64; 2], shares: [DesignEffect; 2]) -> Table {
    let effects = shares.map(|effect| effect.of_shares);
    let worth = |side: usize| {
        let rows = counts[side].iter().sum::<u64>() + nulls[side];
        float(rows) / effects[side]
    };
    let mut filled = (0..counts[0].len()).filter(|bin| counts[0][*bin] > 0);
    let table = match (filled.next(), filled.next()) {
        // All of the reference is one number, or in one bin: what is elsewhere is new, however little is expected there.
        (Some(only), None) => {
            let elsewhere = |side: usize| counts[side].iter().sum::<u64>() - counts[side][only];
            let cells = |side: usize| [counts[side][only], elsewhere(side), nulls[side]];
            Table::new(&cells(0), &cells(1))
        }
        _ => Table::of_bins(&counts[0], &counts[1], nulls, [worth(0), worth(1)]),
    };
    table.thinned(effects).uneven(unevenness(shares))
}

/// The larger of both.
fn unevenness([one, two]: [DesignEffect; 2]) -> f64 {
    one.unevenness.max(two.unevenness)
}

fn points(ranks: &Ranks) -> impl Iterator<Item = (f64, u64)> {
    ranks.cells().map(|cell| (cell.mean(), cell.rows))
}

/// Both, cell by cell of the reference: its numbers where their mean is, and the window's where theirs is. The window's beyond
/// the reference's range are by its own cells.
pub fn steps(reference: &Ranks, window: &Ranks) -> Steps {
    let both = side_by_side(reference, window);
    let moved = both.iter().map(|cell| (cell.window_mean(), cell.rows));
    Steps::new(points(reference), moved)
}

/// The same, with the window's where the reference's are.
pub fn aligned(reference: &Ranks, window: &Ranks) -> Steps {
    let both = side_by_side(reference, window);
    let at = |cell: &Beside| cell.at.unwrap_or_else(|| cell.window_mean());
    let moved = both.iter().map(|cell| (at(cell), cell.rows));
    Steps::new(points(reference), moved)
}

/// Numbers of the window in one cell of the reference, or beyond its range.
struct Beside {
    /// Which; absent beyond.
    place: Option<usize>,
    /// Where the reference's numbers in it stand.
    at: Option<f64>,
    rows: u64,
    sum: f64,
    first: f64,
    last: f64,
}

impl Beside {
    fn window_mean(&self) -> f64 {
        let mean = self.sum / float(self.rows);
        if mean.is_finite() {
            mean.clamp(self.first, self.last)
        } else {
            f64::midpoint(self.first, self.last)
        }
    }
}

fn side_by_side(reference: &Ranks, window: &Ranks) -> Vec<Beside> {
    let cells: Vec<Cell> = reference.cells().collect();
    let place = |mean: f64| {
        let (first, last) = (cells.first()?, cells.last()?);
        let place = cells
            .partition_point(|one| one.first <= mean)
            .checked_sub(1)?;
        let before = &cells[place];
        // What lies between two cells is of the one below, unless that is of one number.
        let is_of_it = mean <= before.last || before.is_shared();
        (mean >= first.first && mean <= last.last && is_of_it).then_some(place)
    };
    let mut both: Vec<Beside> = Vec::new();
    for cell in window.cells() {
        let mean = cell.mean();
        let place = place(mean);
        let sum = mean * float(cell.rows);
        match both
            .last_mut()
            .filter(|last| place.is_some() && last.place == place)
        {
            Some(last) => {
                last.rows += cell.rows;
                last.sum += sum;
                last.last = cell.last;
            }
            None => both.push(Beside {
                place,
                at: place.map(|place| cells[place].mean()),
                rows: cell.rows,
                sum,
                first: cell.first,
                last: cell.last,
            }),
        }
    }
    both
}

/// A category's levels, in the reference or in the window, and what its rows are worth.
#[derive(Clone, Copy, Debug)]
pub struct Category<'a> {
    /// Rows by level.
    pub levels: &'a Categories,
    /// What they are worth.
    pub worth: DesignEffect,
}

/// The levels that keep a cell of their own: see [`levels::kept`].
pub fn kept<'a>(reference: &Category<'a>, window: &Category<'_>) -> BTreeSet<&'a str> {
    let worth = [reference, window].map(|side| float(side.levels.rows()) / side.worth.of_shares);
    levels::kept(reference.levels, worth)
}

/// How far a category has moved, by the levels that are kept, all others, and none.
pub fn of_category(
    reference: &Category<'_>,
    window: &Category<'_>,
    kept: &BTreeSet<&str>,
    method: Method,
) -> Measured {
    let shares = [reference.worth, window.worth];
    let (distance, method) = match method.distance() {
        Some(distance) => (distance, method),
        None => (Distance::TotalVariation, Method::TotalVariation),
    };
    let counts = [reference, window].map(|side| levels::cells(kept, side.levels));
    let table = Table::new(&counts[0], &counts[1]).thinned(shares.map(|effect| effect.of_shares));
    let cells = counts[0].iter().zip(&counts[1]);
    Measured {
        method,
        effect: table.uneven(unevenness(shares)).effect(distance),
        shift: None,
        mean_shift: None,
        cells: cells.map(|(old, new)| [*old, *new]).collect(),
    }
}

#[cfg(test)]
mod tests;
