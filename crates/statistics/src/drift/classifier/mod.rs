//! How well a classifier tells rows of a window from those of a reference: what they differ in together, which no column by
//! itself shows.
//!
//! A classifier learns it of some rows and is tried on others. Its area under the ROC curve is the share of pairs, a row of
//! either, of which it says rightly which is the window's: 0.5 where there is no drift, whatever the classifier, and less is
//! chance. What is judged is 2 AUC - 1, from 0 to 1 (Somers' D).
//!
//! ```text
//!   rows of both sides ──(in nine blocks by unit)──> features ──> discriminant of blocks before ──> scores of this block ──> area
//! ```
//!
//! Blocks are tried one after the other, each by what was learned of those before it, the first third only learned of. So the
//! order of the labels in a block is chance's alone where there is no drift, whatever was learned: each area has a mean of 0.5
//! and a known variance, given all before (a martingale: Kim & Ramdas 2024, "Dimension-agnostic inference using cross
//! U-statistics", has the same for a sample in two). Of folds that learn of each other crosswise, as others do, the areas go
//! together: without drift the variance of their mean is up to twice that which DeLong's equation has for it (1.7 times in this
//! module's test, where 9 of 100 windows are significant at 5%).
//!
//! What is learned is a linear discriminant. Of vectors it is given products of their numbers too, in the directions in
//! which they vary most, and the length: it sees a mean that has moved in any direction; variances and correlations that
//! have changed in the sixteen foremost, all of them where a vector has no more numbers; and a length that has. It does not
//! see what leaves all of these as they are: third moments, rows that lie on other curves, and a variance that goes from one
//! small direction to another.

mod area;
mod discriminant;
mod features;
mod matrix;

use std::collections::BTreeSet;

use super::Effect;
use super::bounded::{Bounded, Kept, dealt};
use super::words::percent;
use crate::scores::Sides;
use crate::{Interval, normal};
use area::Block;
pub(super) use features::Shape;
pub(super) use matrix::Matrix;

/// Independent units that either side has to have at least.
pub const MIN_UNITS: usize = 30;
/// In how many blocks rows are tried, and how many of them are only learned of.
const BLOCKS: u64 = 9;
const LEARNED: u64 = 3;
/// So that the block of a unit has nothing to do with what else is chosen by its hash.
const SALT: u64 = 0x626C_6F63_6B73;

/// What a classifier has found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Told {
    /// 2 AUC - 1; 0 on average where there is no drift.
    pub effect: Effect,
    /// The area under the ROC curve, on rows that were not learned of.
    pub area: f64,
    /// On how many rows of the reference and of the window it was tried.
    pub rows: [u64; 2],
    /// By how much the area's variance is larger than that of independent rows.
    pub design_effect: f64,
}

impl Told {
    /// The two-sided interval of the area (DeLong, DeLong & Clarke-Pearson 1988).
    pub fn interval(&self, confidence: f64) -> Interval {
        let error = self.effect.standard_error() / 2.0;
        Interval::of_normal(self.area, error, confidence).clamped(0.0, 1.0)
    }

    /// What was found, in words.
    pub fn words(&self) -> String {
        format!("told apart in {} of pairs", percent(self.area))
    }
}

/// How well vectors of a window are told from those of a reference. Absent where they are not of one length on both sides, or
/// where either side has fewer than [`MIN_UNITS`] units.
///
/// Numbers are finite. Takes some seconds for ten thousand rows of a thousand numbers, and memory for all of them once more.
pub fn of_vectors(reference: &Bounded<Vec<f32>>, window: &Bounded<Vec<f32>>) -> Option<Told> {
    let rows = Rows::new(reference, window);
    let width = rows.what.first()?.len();
    if width == 0 || rows.what.iter().any(|row| row.len() != width) {
        return None;
    }
    let values = rows.what.iter().flat_map(|row| row.iter().copied());
    let matrix = Matrix::new(width, values.collect());
    told(&rows.labels, matrix, Shape::Quadratic)
}

/// A row's side, 0 of the reference and 1 of the window, its unit, and the block that it is tried in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Label {
    side: usize,
    unit: u64,
    block: u64,
}

/// Rows of both sides, those of one block after those of the one before.
pub(super) struct Rows<'a, T> {
    pub(super) labels: Vec<Label>,
    pub(super) what: Vec<&'a T>,
}

impl<'a, T> Rows<'a, T> {
    pub(super) fn new(reference: &'a Bounded<T>, window: &'a Bounded<T>) -> Self {
        let label = |side| {
            move |kept: &'a Kept<T>| {
                let label = Label {
                    side,
                    unit: kept.unit,
                    block: dealt(kept.unit, SALT) % BLOCKS,
                };
                (label, &kept.what)
            }
        };
        let old = reference.rows().map(label(0));
        let mut all: Vec<(Label, &T)> = old.chain(window.rows().map(label(1))).collect();
        // Those of a side stay in the order of their keys.
        all.sort_by_key(|(label, _)| (label.block, label.side));
        let (labels, what) = all.into_iter().unzip();
        Self { labels, what }
    }
}

/// What a classifier finds in rows that are labelled and in the order of their blocks.
pub(super) fn told(labels: &[Label], rows: Matrix, shape: Shape) -> Option<Told> {
    let units = |side| -> BTreeSet<u64> {
        let of_side = labels.iter().filter(|label| label.side == side);
        of_side.map(|label| label.unit).collect()
    };
    if units(0).len() < MIN_UNITS || units(1).len() < MIN_UNITS {
        return None;
    }
    let rows = features::of(rows, shape);
    let sides: Vec<usize> = labels.iter().map(|label| label.side).collect();
    let mut blocks = Vec::new();
    for block in LEARNED..BLOCKS {
        let start = labels.partition_point(|label| label.block < block);
        let end = labels.partition_point(|label| label.block <= block);
        let Some(direction) = discriminant::fit(&rows.first(start), &sides[..start]) else {
            continue;
        };
        let tried = (start..end).map(|at| area::Tried {
            score: matrix::dot(rows.row(at), &direction),
            side: labels[at].side,
            unit: labels[at].unit,
        });
        blocks.extend(Block::of(tried.collect()));
    }
    together(&blocks)
}

/// The mean of the areas of all blocks, by how well each is known.
///
/// Source: the variance without drift is that of Mann & Whitney (1947), (n + m + 1) / (12 n m), exact for scores without
/// ties, whatever their law; elsewhere DeLong's, by units (Obuchowski 1997, "Nonparametric analysis of clustered ROC curve
/// data"), beside that which the area itself has it have (Hanley & McNeil 1982), so that an area of 1 is not certain. The
/// p-value is one-sided: what tells worse than chance does is chance.
fn together(blocks: &[Block]) -> Option<Told> {
    let weight: f64 = blocks.iter().map(Block::weight).sum();
    if weight <= 0.0 {
        return None;
    }
    let mean = |of: fn(&Block) -> f64| -> f64 {
        let each = blocks.iter().map(|block| block.weight() * of(block));
        each.sum::<f64>() / weight
    };
    let variance = |of: fn(&Block) -> f64| -> f64 {
        let each = blocks
            .iter()
            .map(|block| block.weight().powi(2) * of(block));
        each.sum::<f64>() / (weight * weight)
    };
    let area = mean(|block| block.area);
    let by_rows = variance(|block| block.of_rows);
    let by_units = variance(|block| block.of_units);
    let design_effect = if by_rows > 0.0 {
        (by_units / by_rows).max(1.0)
    } else {
        1.0
    };
    let count = |side: usize| blocks.iter().map(|block| block.rows[side]).sum::<f64>();
    let sides = Sides {
        negative: count(0) / design_effect,
        positive: count(1) / design_effect,
    };
    let law = sides.area_variance(area.min(1.0 - 0.5 / sides.negative.min(sides.positive)));
    let known = law * sides.ratio(by_rows.max(by_units), law);
    let without_drift = variance(Block::without_drift) * design_effect;
    let z = (area - 0.5) / without_drift.sqrt();
    let effect = Effect {
        error_without_drift: 2.0 * without_drift.sqrt(),
        ..Effect::plain([2.0 * area - 1.0, 0.0], 2.0 * known.sqrt(), normal::cdf(-z))
    };
    let rows = [0, 1].map(|side| blocks.iter().map(|block| block.counts[side]).sum());
    Some(Told {
        effect,
        area,
        rows,
        design_effect,
    })
}

#[cfg(test)]
mod tests;
