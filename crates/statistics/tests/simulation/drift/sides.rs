//! What the agent keeps of a column, and decides by: its `profile/document.rs`, `profile/units.rs`, `drift/sides.rs` and
//! `drift/compare.rs`, of counts in place of rows. Of numbers of so few values its summary by rank is exact.

use std::collections::{BTreeMap, BTreeSet};

use windlass_statistics::bins;
use windlass_statistics::drift::column::{
    Category, Measured, Number, Worth, kept, of_category, of_number,
};
use windlass_statistics::drift::method::Method;
use windlass_statistics::drift::units::{DesignEffect, UnitMeans, Units};
use windlass_statistics::mean::Mean;
use windlass_statistics::psi::Categories;
use windlass_statistics::ranks::{Cell, Ranks};

use super::draws::Draw;
use super::populations::{Kind, Population};
use super::{BINS, float};

/// What is kept of a column.
pub struct Side {
    held: Held,
    worth: Worth,
}

enum Held {
    Number {
        /// Inner edges of bins; of a window there are none.
        edges: Vec<f64>,
        ranks: Box<Ranks>,
        mean: Mean,
    },
    Category(Categories),
}

impl Side {
    /// Of a reference: what its rows are worth is by its own cells.
    pub fn of_reference(population: &Population, draw: &Draw) -> Self {
        match &population.kind {
            Kind::Number(values) => {
                let (ranks, mean) = counted(values, &draw.counts);
                let (edges, _) = ranks.bins(BINS);
                Self {
                    worth: of_values(draw, values, &edges, &mean),
                    held: Held::Number { edges, ranks, mean },
                }
            }
            Kind::Category(names) => {
                let levels = categories(names, &draw.counts);
                let of = |worth| {
                    let side = Category {
                        levels: &levels,
                        worth,
                    };
                    of_levels(draw, names, &kept(&side, &side))
                };
                let shares = DesignEffect::of_levels(of);
                Self {
                    held: Held::Category(levels),
                    worth: Worth { shares, mean: 1.0 },
                }
            }
        }
    }

    /// Of a window: what its rows are worth is by the cells of the reference.
    pub fn of_window(population: &Population, draw: &Draw, reference: &Self) -> Self {
        match (&population.kind, &reference.held) {
            (Kind::Number(values), Held::Number { edges, mean, .. }) => {
                let worth = of_values(draw, values, edges, mean);
                let (ranks, mean) = counted(values, &draw.counts);
                let edges = Vec::new();
                Self {
                    held: Held::Number { edges, ranks, mean },
                    worth,
                }
            }
            (Kind::Category(names), Held::Category(levels)) => {
                let old = Category {
                    levels,
                    worth: reference.worth.shares,
                };
                let of_window = categories(names, &draw.counts);
                let of = |worth| {
                    let new = Category {
                        levels: &of_window,
                        worth,
                    };
                    of_levels(draw, names, &kept(&old, &new))
                };
                let shares = DesignEffect::of_levels(of);
                Self {
                    held: Held::Category(of_window),
                    worth: Worth { shares, mean: 1.0 },
                }
            }
            _ => unreachable!("both are of one population"),
        }
    }

    /// By how much variances of its shares are larger than those of as many independent rows.
    pub fn design_effect(&self) -> f64 {
        self.worth.shares.of_shares
    }

    /// The inner edges of a reference's bins; none of a category.
    pub fn edges(&self) -> &[f64] {
        match &self.held {
            Held::Number { edges, .. } => edges,
            Held::Category(_) => &[],
        }
    }

    /// How far a window is from it, by PSI.
    pub fn measured(&self, window: &Self) -> Measured {
        match (&self.held, &window.held) {
            (Held::Number { edges, .. }, Held::Number { .. }) => {
                of_number(&self.number(), &window.number(), edges, Method::Psi)
            }
            (Held::Category(old), Held::Category(new)) => {
                let of = |levels, side: &Self| Category {
                    levels,
                    worth: side.worth.shares,
                };
                let (old, new) = (of(old, self), of(new, window));
                of_category(&old, &new, &kept(&old, &new), Method::Psi)
            }
            _ => unreachable!("both are of one population"),
        }
    }

    fn number(&self) -> Number<'_> {
        let Held::Number { ranks, mean, .. } = &self.held else {
            unreachable!("it is asked of a number")
        };
        Number {
            ranks,
            mean,
            nulls: 0,
            worth: self.worth,
        }
    }
}

fn counted(values: &[f64], counts: &[u64]) -> (Box<Ranks>, Mean) {
    let seen = || {
        let seen = values.iter().zip(counts);
        seen.filter(|(_, rows)| **rows > 0)
    };
    let ranks = Ranks::of_cells(seen().map(|(value, rows)| Cell::of(*value, *rows)));
    let count: u64 = counts.iter().sum();
    let sum: f64 = seen().map(|(value, rows)| value * float(*rows)).sum();
    let mean = sum / float(count);
    let squares: f64 = seen()
        .map(|(value, rows)| (value - mean).powi(2) * float(*rows))
        .sum();
    let deviation = (squares / float(count - 1)).sqrt();
    (Box::new(ranks), Mean::known(count, mean, deviation))
}

fn categories(names: &[String], counts: &[u64]) -> Categories {
    let levels = names.iter().zip(counts).filter(|(_, rows)| **rows > 0);
    Categories {
        levels: levels.map(|(name, rows)| (name.clone(), *rows)).collect(),
        nulls: 0,
    }
}

/// What rows of a number are worth, by bins with rows without a value in the last, and by units of the reference's mean.
fn of_values(draw: &Draw, values: &[f64], edges: &[f64], reference: &Mean) -> Worth {
    if draw.users.is_empty() {
        return Worth::INDEPENDENT;
    }
    let bins: Vec<usize> = values
        .iter()
        .map(|value| bins::bin(edges, *value))
        .collect();
    let shares = draw.design_effect(Units::of_bins(edges.len() + 2), &bins);
    let (centre, deviation) = (
        reference.value().unwrap_or(0.0),
        reference.standard_deviation(),
    );
    let mut means = UnitMeans::default();
    for (user, times) in &draw.users {
        let (mut count, mut sum, mut squares) = (0, 0.0, 0.0);
        for (at, rows) in user {
            let value = (values[*at] - centre) / deviation;
            count += rows;
            sum += value * float(*rows);
            squares += value * value * float(*rows);
        }
        (0..*times).for_each(|_| means.add(count, sum, squares));
    }
    Worth {
        shares,
        mean: means.design_effect(),
    }
}

/// What rows of a category are worth, by the levels that are kept, all others, and none.
fn of_levels(draw: &Draw, names: &[String], kept: &BTreeSet<&str>) -> DesignEffect {
    if draw.users.is_empty() {
        return DesignEffect::NONE;
    }
    let numbered = kept.iter().enumerate();
    let places: BTreeMap<&str, usize> = numbered.map(|(place, level)| (*level, place)).collect();
    let cell_of: Vec<usize> = names
        .iter()
        .map(|name| places.get(name.as_str()).copied().unwrap_or(kept.len()))
        .collect();
    draw.design_effect(Units::of_levels(kept.len() + 2), &cell_of)
}
