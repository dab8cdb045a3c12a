//! What was counted as a profile, and a profile as what was counted: what is computed of either is the same.

use std::collections::BTreeMap;

use windlass_api::agent::{
    ColumnProfile, Distribution, NumberCell, Profile, SegmentProfile, Worth,
};
use windlass_statistics::drift::column::{Category, Worth as Effects, kept};
use windlass_statistics::drift::units::DesignEffect;
use windlass_statistics::mean::Mean;
use windlass_statistics::psi::Categories;
use windlass_statistics::ranks::{Cell, Ranks};

use super::column::{Column, Names, Numbers};
use super::sketch::{Asked, Roles, Sketch};
use super::units::UnitSample;
use super::{BINS, MOST_CATEGORIES, OTHER};

/// How many cells of a number are written: ranks are right to some 0.4%.
const CELLS: usize = 256;

/// The profile of what was counted: of all rows, and then of each segment.
pub fn profile(asked: &[Asked], roles: &Roles, segments: &[String], counted: &[Sketch]) -> Profile {
    let mut of_segments = counted.iter();
    let whole = of_segments.next();
    let segments = segments.iter().zip(of_segments);
    Profile {
        rows: whole.map_or(0, |sketch| sketch.rows),
        columns: whole.map_or_else(Vec::new, |sketch| columns(asked, sketch)),
        unit: roles.unit.clone(),
        segments: segments
            .map(|(segment, sketch)| SegmentProfile {
                segment: segment.clone(),
                rows: sketch.rows,
                columns: columns(asked, sketch),
            })
            .collect(),
        scores: None,
    }
}

fn columns(asked: &[Asked], sketch: &Sketch) -> Vec<ColumnProfile> {
    let numbered = asked.iter().zip(&sketch.columns).enumerate();
    numbered
        .map(|(place, (asked, column))| {
            let mut profile = of_column(&asked.name, column);
            let units = sketch.units.as_ref();
            profile.worth = units.map(|units| written(worth(units, place, &profile.distribution)));
            profile
        })
        .collect()
}

/// The profile of a column.
pub fn of_column(name: &str, column: &Column) -> ColumnProfile {
    let (nulls, distribution) = match column {
        Column::Number(numbers) => of_numbers(numbers),
        Column::Category(names) => of_names(names),
    };
    let other_type = match column {
        Column::Number(numbers) => numbers.other_type + numbers.infinite,
        Column::Category(_) => 0,
    };
    ColumnProfile {
        name: name.to_owned(),
        nulls,
        other_type,
        distribution,
        worth: None,
    }
}

fn of_numbers(numbers: &Numbers) -> (u64, Distribution) {
    let ranks = numbers.ranks.shrunk(CELLS);
    let (edges, counts) = ranks.bins(BINS);
    let cell = |cell: Cell| NumberCell(cell.first, cell.last, cell.mean(), cell.rows);
    let distribution = Distribution::Number {
        edges,
        counts,
        mean: finite(numbers.mean.value().unwrap_or(0.0)),
        standard_deviation: finite(numbers.mean.standard_deviation()),
        cells: ranks.cells().map(cell).collect(),
    };
    (numbers.nulls, distribution)
}

/// What JSON can hold: near the end of what numbers there are, what is computed of them may be none.
pub fn finite(number: f64) -> f64 {
    if number.is_nan() {
        return 0.0;
    }
    number.clamp(f64::MIN, f64::MAX)
}

fn of_names(names: &Names) -> (u64, Distribution) {
    let counts = levels(names);
    (names.nulls, Distribution::Category { counts })
}

/// A category's levels: the most frequent by their names, the others under [`OTHER`].
pub fn levels(names: &Names) -> BTreeMap<String, u64> {
    let (mut levels, others) = names.names.levels(MOST_CATEGORIES);
    if others > 0 {
        *levels.entry(OTHER.to_owned()).or_default() += others;
    }
    levels
}

/// What rows are worth, by the cells of a distribution: it is the reference's.
pub fn worth(units: &UnitSample, column: usize, distribution: &Distribution) -> Effects {
    match distribution {
        Distribution::Number {
            edges,
            mean,
            standard_deviation,
            ..
        } => units.of_number(column, edges, *mean, *standard_deviation),
        Distribution::Category { counts } => {
            let levels = Categories {
                levels: counts.clone(),
                nulls: 0,
            };
            // Which levels keep a cell hangs on what rows are worth, and that on the cells: twice is enough.
            let of = |worth| {
                let side = Category {
                    levels: &levels,
                    worth,
                };
                units.of_category(column, kept(&side, &side).into_iter())
            };
            Effects {
                shares: of(of(DesignEffect::NONE)),
                mean: 1.0,
            }
        }
    }
}

fn written(effects: Effects) -> Worth {
    Worth {
        units: effects.shares.units,
        shares: effects.shares.of_shares,
        unevenness: effects.shares.unevenness,
        cumulated: effects.shares.of_cumulated,
        mean: effects.mean,
    }
}

/// What rows are worth, as it was written.
pub fn effects(worth: Option<&Worth>) -> Effects {
    worth.map_or(Effects::INDEPENDENT, |worth| Effects {
        shares: DesignEffect {
            units: worth.units,
            of_shares: worth.shares,
            unevenness: worth.unevenness,
            of_cumulated: worth.cumulated,
        },
        mean: worth.mean,
    })
}

/// A number's values by rank, as they were written. Of a profile that has bins alone, values lie evenly in these; in the first
/// and the last of them, about as far as in its neighbour.
pub fn ranks(edges: &[f64], counts: &[u64], cells: &[NumberCell]) -> Ranks {
    let cell = |NumberCell(first, last, mean, rows): &NumberCell| {
        Cell::with_mean(*first, *last, *mean, *rows)
    };
    if !cells.is_empty() {
        return Ranks::of_cells(cells.iter().map(cell));
    }
    let (Some(first), Some(last)) = (edges.first(), edges.last()) else {
        return Ranks::new(CELLS);
    };
    let width = |pair: Option<&[f64]>| pair.map_or(1.0, |pair| pair[1] - pair[0]);
    let before = first - width(edges.get(..2));
    let after = last
        + width(
            edges
                .len()
                .checked_sub(2)
                .and_then(|from| edges.get(from..)),
        );
    let begins = std::iter::once(before).chain(edges.iter().copied());
    let ends = edges.iter().map(|edge| edge.next_down()).chain([after]);
    let bins = begins.zip(ends).zip(counts);
    let bins = bins.filter(|(_, rows)| **rows > 0);
    Ranks::of_cells(bins.map(|((first, last), rows)| {
        Cell::with_mean(first, last, f64::midpoint(first, last), *rows)
    }))
}

/// Mean and spread, as they were written.
pub fn mean(counts: &[u64], mean: f64, standard_deviation: f64) -> Mean {
    Mean::known(counts.iter().sum(), mean, standard_deviation)
}

/// A category's levels, those that a profile does not name under [`OTHER`] where it has pooled its rare ones.
pub fn pooled_as(
    reference: &BTreeMap<String, u64>,
    levels: &BTreeMap<String, u64>,
) -> BTreeMap<String, u64> {
    if !reference.contains_key(OTHER) {
        return levels.clone();
    }
    let mut pooled = BTreeMap::new();
    for (level, rows) in levels {
        let is_named = reference.contains_key(level);
        let name = if is_named { level.as_str() } else { OTHER };
        *pooled.entry(name.to_owned()).or_default() += rows;
    }
    pooled
}

#[cfg(test)]
mod tests {
    use windlass_statistics::random::Random;

    use super::*;
    use crate::profile::column::Kind;

    #[test]
    fn a_profile_that_was_written_says_what_it_said() {
        let mut random = Random::new(4);
        let numbers: Vec<f64> = (0..40_000).map(|_| random.normal()).collect();
        let mut column = Column::new(Kind::Number);
        let values = std::sync::Arc::new(arrow::array::Float64Array::from(numbers));
        column
            .add(&(values as arrow::array::ArrayRef))
            .expect("numbers");
        let profile = of_column("x", &column);
        let text = serde_json::to_string(&profile).expect("JSON");
        let read: ColumnProfile = serde_json::from_str(&text).expect("as it was");
        assert_eq!(read, profile);
        let Distribution::Number {
            edges,
            counts,
            cells,
            ..
        } = &read.distribution
        else {
            unreachable!("it is a number")
        };
        let again = ranks(edges, counts, cells);
        assert_eq!(again.counts(edges), *counts);
        assert_eq!(again.rows(), 40_000);
        // Of one without cells, its bins are the cells.
        let of_bins = ranks(edges, counts, &[]);
        assert_eq!(of_bins.counts(edges), *counts);
        assert_eq!(of_bins.starts()[1..], edges[..]);
    }
}
