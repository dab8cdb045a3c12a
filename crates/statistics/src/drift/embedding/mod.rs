//! Vectors of one length, such as embeddings: how far their mean has moved.
//!
//! What is kept of a data set are sums of its vectors, in [`GROUPS`] groups by the hash of a row's unit. Rows of one unit are
//! in one group, and groups are independent: how much their sums differ tells how well the mean is known, however rows of a
//! unit depend on each other (random groups: Wolter 2007, "Introduction to variance estimation", chapter 2). It takes memory
//! for 64 vectors, and it says more than variances by dimension do: how dimensions go together, which is what the chance of
//! a distance hangs on. All sums are whole numbers of 2⁻⁴⁰, so that they are the same to the last bit in whatever order rows
//! and parts come.
//!
//! A change that leaves the mean where it is, is not seen here: [`super::classifier`] sees some of them.

mod law;
mod whole;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::bounded::dealt;
use super::words::short;
use super::{Effect, Scale};
use crate::cells::Merge;
use crate::float;
use law::{Law, Side};
use whole::{fixed, number};

/// In how many groups sums are kept.
pub const GROUPS: u64 = 64;
/// Numbers of a vector are smaller than this, 2²².
pub const LARGEST: f64 = 4_194_304.0;
/// So that what a group is has nothing to do with what else is chosen by a unit's hash.
const SALT: u64 = 0x656D_6265_6464_696E;

/// Sums over vectors of one length.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Embeddings {
    width: usize,
    unfit: u64,
    /// Σ of the squares, by dimension.
    #[serde(with = "whole::text")]
    squares: Vec<i128>,
    groups: BTreeMap<u64, Group>,
}

/// Sums over the rows of some of the units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Group {
    rows: u64,
    #[serde(with = "whole::text")]
    sums: Vec<i128>,
}

impl Embeddings {
    /// Nothing seen, of vectors of so many numbers.
    pub fn new(width: usize) -> Self {
        Self {
            width,
            unfit: 0,
            squares: vec![0; width],
            groups: BTreeMap::new(),
        }
    }

    /// Takes one more vector, of a unit by its hash; of the hash of anything that is the row's own, where rows are
    /// independent (but not of its content alone). One of another length, or with a number that is not finite or not below
    /// [`LARGEST`], is counted as unfit, and no more.
    pub fn add<N: Copy + Into<f64>>(&mut self, unit: u64, vector: &[N]) {
        let is_fit = |number: &N| {
            let number: f64 = (*number).into();
            number.abs() < LARGEST
        };
        if vector.len() != self.width || !vector.iter().all(is_fit) {
            self.unfit += 1;
            return;
        }
        let group = dealt(unit, SALT) % GROUPS;
        let new = || Group {
            rows: 0,
            sums: vec![0; self.width],
        };
        let group = self.groups.entry(group).or_insert_with(new);
        group.rows += 1;
        let sums = group.sums.iter_mut().zip(&mut self.squares);
        for ((sum, square), number) in sums.zip(vector) {
            let number: f64 = (*number).into();
            *sum += fixed(number);
            *square += fixed(number * number);
        }
    }

    /// Takes what was seen of other rows, of vectors of the same length.
    pub fn merge(&mut self, other: &Self) {
        self.unfit += other.unfit;
        whole::add(&mut self.squares, &other.squares);
        for (at, theirs) in &other.groups {
            match self.groups.get_mut(at) {
                Some(mine) => {
                    mine.rows += theirs.rows;
                    whole::add(&mut mine.sums, &theirs.sums);
                }
                None => drop(self.groups.insert(*at, theirs.clone())),
            }
        }
    }

    /// How many numbers a vector has.
    pub fn width(&self) -> usize {
        self.width
    }

    /// How many vectors were taken.
    pub fn rows(&self) -> u64 {
        self.groups.values().map(|group| group.rows).sum()
    }

    /// How many were not.
    pub fn unfit(&self) -> u64 {
        self.unfit
    }

    /// In how many groups there are vectors: of at least as many units.
    pub fn groups(&self) -> u64 {
        self.groups.len() as u64
    }

    /// Whether all vectors are the same, as far as sums of parts of 2⁻⁴⁰ tell: to a deviation of 1e-6 where numbers are about 1.
    /// No vectors are not.
    pub fn is_constant(&self) -> bool {
        let rows = float(self.rows());
        let mut totals = vec![0; self.width];
        for group in self.groups.values() {
            whole::add(&mut totals, &group.sums);
        }
        let is_one = |(sum, square): (&i128, &i128)| {
            let mean = number(*sum) / rows;
            let variance = number(*square) / rows - mean * mean;
            // What is cut off of each number and each square; and what a sum is rounded to.
            variance <= (2.0 * mean.abs() + 1.0) * 1e-12 + mean * mean * 1e-14
        };
        rows > 0.0 && totals.iter().zip(&self.squares).all(is_one)
    }

    /// Whether all numbers of all vectors are 0, or next to it.
    pub fn is_zero(&self) -> bool {
        self.rows() > 0 && self.squares.iter().all(|sum| *sum == 0)
    }

    /// Says what of sums that were read is not as they are written: then none is larger than so many vectors make it, so that
    /// they can be added up, and all are of one length.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn check(&self) -> Result<(), String> {
        let is_of_width = |sums: &[i128]| sums.len() == self.width;
        let mut groups = self.groups.values();
        if !is_of_width(&self.squares) || !groups.all(|group| is_of_width(&group.sums)) {
            return Err(format!("its sums are not of {} numbers each", self.width));
        }
        let is_none = |(at, group): (&u64, &Group)| *at >= GROUPS || group.rows == 0;
        if self.groups.iter().any(is_none) {
            return Err("its sums are of groups that there are none of".to_owned());
        }
        let mut rows = self.groups.values().map(|group| group.rows);
        let rows = rows.try_fold(0_u64, u64::checked_add);
        let most = |rows: u64, each: f64| i128::from(rows).checked_mul(fixed(each));
        let squares = rows.and_then(|rows| most(rows, LARGEST * LARGEST));
        let is_bounded = |group: &Group| {
            let most = most(group.rows, LARGEST).unwrap_or(0).unsigned_abs();
            group.sums.iter().all(|sum| sum.unsigned_abs() <= most)
        };
        let are_squares = |most: i128| self.squares.iter().all(|sum| (0..=most).contains(sum));
        if squares.is_some_and(are_squares) && self.groups.values().all(is_bounded) {
            Ok(())
        } else {
            Err("its sums are larger than so many vectors can make them".to_owned())
        }
    }
}

impl Merge for Embeddings {
    fn merge(&mut self, other: &Self) {
        self.merge(other);
    }
}

/// How vectors have moved.
#[derive(Clone, Debug, PartialEq)]
pub struct Moved {
    /// The distance of the means.
    pub effect: Effect,
    /// By how much the mean's variance is larger than that of independent rows, of the reference and of the window.
    pub design_effects: [f64; 2],
    /// The window's total deviation over the reference's.
    pub spread: f64,
    /// The dimension whose mean has moved by the most of its own deviations, from 0, and by how many.
    pub foremost: Option<(usize, f64)>,
}

/// The distance of the mean vectors over the total deviation of the reference, the root of the sum of its variances: 0.5
/// where each dimension has moved by half of its deviation, whatever their number and their scale. Absent where lengths
/// differ, where the reference has no spread, or where rows of either side are of too few units to be worth eight even groups.
///
/// Source: Chen & Qin (2010), "A two-sample test for high-dimensional data with applications to gene-set testing": of the
/// square of the distance Σ₁/m + Σ₂/n is taken off, in total, and what is left has a mean of δ² and a variance of 2 tr V² +
/// 4 δ'Vδ, with V = Σ₁/m + Σ₂/n; it needs no more rows than dimensions. It is MMD with a linear kernel (Gretton et al. 2012).
/// V and its powers' traces are estimated from groups ([`law`]), with what is unsure of them. The p-value is that of a χ² with
/// three moments as estimated, over a χ² for the estimate: Welch's test of one dimension, and close to a normal law where many
/// dimensions vary by themselves. Assumes independent units, none of which has most of the rows.
pub fn distance(reference: &Embeddings, window: &Embeddings) -> Option<Moved> {
    if reference.width != window.width {
        return None;
    }
    let (old, new) = (Side::of(reference)?, Side::of(window)?);
    let total: f64 = old.variances.iter().sum();
    if total <= 0.0 {
        return None;
    }
    let gap: Vec<f64> = new.mean.iter().zip(&old.mean).map(|(p, q)| p - q).collect();
    let square: f64 = gap.iter().map(|gap| gap * gap).sum();
    let law = Law::of(&old, &new);
    let without_drift = law.variance_without_drift();
    // Of what is estimated of 4 δ'Vδ, 4 tr V² are chance's on average: twice what is there without drift.
    let observed = 4.0 * (old.along(&gap) + new.along(&gap)) - 2.0 * law.square;
    let measured = square / total;
    let of_total = measured * measured * old.doubt_of_total();
    let variance = observed.max(without_drift) / (total * total) + of_total;
    let effect = Effect {
        scale: Scale::Square,
        measured,
        excess: law.trace / total,
        standard_error: variance.sqrt(),
        error_without_drift: without_drift.sqrt() / total,
        p_value: law.p_value(square),
    };
    let new_total: f64 = new.variances.iter().sum();
    let shifts = gap.iter().zip(&old.variances).enumerate();
    let shifts = shifts.filter(|(_, (_, variance))| **variance > 0.0);
    let shifts = shifts.map(|(at, (gap, variance))| (at, gap / variance.sqrt()));
    Some(Moved {
        effect,
        design_effects: [old.design_effect(), new.design_effect()],
        spread: (new_total / total).sqrt(),
        foremost: shifts.max_by(|one, other| one.1.abs().total_cmp(&other.1.abs())),
    })
}

impl Moved {
    /// What moved, in words.
    pub fn words(&self) -> String {
        let by = short(self.effect.value());
        let spread = short(self.spread);
        let first = format!("mean moved by {by} of the deviation");
        let foremost = self.foremost.map_or_else(String::new, |(at, by)| {
            let sign = if by < 0.0 { "-" } else { "+" };
            format!(", most in dimension {at} ({sign}{})", short(by.abs()))
        });
        if (self.spread - 1.0).abs() >= 0.1 {
            format!("{first}{foremost}, deviation × {spread}")
        } else {
            format!("{first}{foremost}")
        }
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp)] // exact by construction
mod tests;
