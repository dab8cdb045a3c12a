//! What was counted as a profile, and a profile as what was counted: what is computed of either is the same.

mod check;
pub mod times;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize as _;
use windlass_api::agent::{
    ColumnProfile, Distribution, NumberCell, Profile, SegmentProfile, TextRow, Worth,
};
use windlass_statistics::drift::bounded::Bounded;
use windlass_statistics::drift::column::{Category, Worth as Effects, kept};
use windlass_statistics::drift::embedding::{Embeddings, LARGEST};
use windlass_statistics::drift::units::DesignEffect;
use windlass_statistics::mean::Mean;
use windlass_statistics::psi::Categories;
use windlass_statistics::ranks::{Cell, Ranks};

use super::column::{Column, Names, Numbers};
use super::sampled::{Texts, Vectors};
use super::sketch::{Asked, Roles, Sketch};
use super::units::UnitSample;
use super::{BINS, MOST_CATEGORIES, OTHER};
pub use check::check;

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
        times: whole.and_then(|sketch| of_times(roles, sketch)),
        unit: roles.unit.clone(),
        segments: segments
            .map(|(segment, sketch)| SegmentProfile {
                segment: segment.clone(),
                rows: sketch.rows,
                columns: columns(asked, sketch),
                times: of_times(roles, sketch),
            })
            .collect(),
        scores: None,
    }
}

/// Rows by their time, where columns are counted by it.
pub fn of_times(roles: &Roles, sketch: &Sketch) -> Option<windlass_api::agent::Times> {
    times::times(roles.time.as_deref()?, sketch.by_time.as_ref()?)
}

fn columns(asked: &[Asked], sketch: &Sketch) -> Vec<ColumnProfile> {
    let numbered = asked.iter().zip(&sketch.columns).enumerate();
    numbered
        .map(|(place, (asked, column))| {
            let mut profile = of_column(&asked.name, column);
            let units = sketch.units.as_ref();
            profile.worth = units.map(|units| written(worth(units, place, &profile.distribution)));
            let by_time = sketch.by_time.as_ref();
            profile.by_time = by_time.and_then(|of| times::of_column(of, place, column));
            profile
        })
        .collect()
}

/// The profile of a column.
pub fn of_column(name: &str, column: &Column) -> ColumnProfile {
    let distribution = match column {
        Column::Number(numbers) => of_numbers(numbers),
        Column::Category(names) => Distribution::Category {
            counts: levels(names),
        },
        Column::Text(texts) => of_texts(texts),
        Column::Embedding(vectors) => of_vectors(vectors),
    };
    ColumnProfile {
        name: name.to_owned(),
        nulls: column.nulls(),
        other_type: column.other_type(),
        distribution,
        worth: None,
        by_time: None,
    }
}

fn of_numbers(numbers: &Numbers) -> Distribution {
    let ranks = numbers.ranks.shrunk(CELLS);
    let (edges, counts) = ranks.bins(BINS);
    let cell = |cell: Cell| NumberCell(cell.first, cell.last, cell.mean(), cell.rows);
    Distribution::Number {
        edges,
        counts,
        mean: finite(numbers.mean.value().unwrap_or(0.0)),
        standard_deviation: finite(numbers.mean.standard_deviation()),
        cells: ranks.cells().map(cell).collect(),
    }
}

fn of_texts(texts: &Texts) -> Distribution {
    let row = |(key, row): (u64, &windlass_statistics::drift::bounded::Kept<String>)| {
        TextRow(key, row.unit, row.what.clone())
    };
    Distribution::Text {
        rows: texts.rows,
        sample: texts.sample.keyed().map(row).collect(),
    }
}

fn of_vectors(vectors: &Vectors) -> Distribution {
    let rows = vectors.sample.rows();
    let bytes = rows.flat_map(|row| row.what.iter().flat_map(|number| number.to_le_bytes()));
    let keyed = vectors.sample.keyed();
    Distribution::Embedding {
        width: vectors.sums.width() as u64,
        sums: serde_json::to_value(&vectors.sums).expect("texts and whole numbers"),
        keys: keyed.map(|(key, row)| [key, row.unit]).collect(),
        vectors: STANDARD.encode(bytes.collect::<Vec<u8>>()),
    }
}

/// Texts that were written, as they were kept.
pub fn texts(sample: &[TextRow]) -> Bounded<String> {
    let mut texts = Bounded::new(sample.len());
    for TextRow(key, unit, text) in sample {
        texts.add(*key, *unit, || text.clone());
    }
    texts
}

/// Vectors that were written: their sums, and those that were kept.
///
/// # Errors
/// What is not as it is written.
pub fn vectors(
    width: u64,
    sums: &serde_json::Value,
    keys: &[[u64; 2]],
    vectors: &str,
) -> Result<(Embeddings, Bounded<Vec<f32>>), String> {
    let sums = Embeddings::deserialize(sums).map_err(|problem| problem.to_string())?;
    sums.check()?;
    let bytes = STANDARD.decode(vectors);
    let bytes = bytes.map_err(|problem| format!("its vectors are no base64: {problem}"))?;
    let (numbers, rest) = bytes.as_chunks::<4>();
    let all: Vec<f32> = numbers.iter().map(|of| f32::from_le_bytes(*of)).collect();
    let wide = usize::try_from(width).unwrap_or(usize::MAX);
    let is_whole = wide > 0 && rest.is_empty() && wide.checked_mul(keys.len()) == Some(all.len());
    if sums.width() != wide || !is_whole {
        return Err(format!(
            "its {} vectors are not of {width} numbers each",
            keys.len()
        ));
    }
    let strange = all.iter().find(|number| {
        let size = f64::from(**number).abs();
        size.is_nan() || size > LARGEST
    });
    if let Some(strange) = strange {
        return Err(format!("a number of its vectors is {strange}"));
    }
    let mut kept = Bounded::new(keys.len());
    for ([key, unit], vector) in keys.iter().zip(all.chunks_exact(wide)) {
        kept.add(*key, *unit, || vector.to_vec());
    }
    Ok((sums, kept))
}

/// What JSON can hold: near the end of what numbers there are, what is computed of them may be none.
pub fn finite(number: f64) -> f64 {
    if number.is_nan() {
        return 0.0;
    }
    number.clamp(f64::MIN, f64::MAX)
}

/// A category's levels: the most frequent by their names, the others under [`OTHER`].
pub fn levels(names: &Names) -> BTreeMap<String, u64> {
    let (mut levels, others) = names.names.levels(MOST_CATEGORIES);
    if others > 0 {
        *levels.entry(OTHER.to_owned()).or_default() += others;
    }
    levels
}

/// What rows are worth, by the cells of a distribution: it is the reference's. Of texts and vectors that is of rows without a value
/// alone: what else they are worth is told by the rows that are kept.
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
            let of = |worth| {
                let side = Category {
                    levels: &levels,
                    worth,
                };
                units.of_category(column, kept(&side, &side).into_iter())
            };
            Effects {
                shares: DesignEffect::of_levels(of),
                mean: 1.0,
            }
        }
        Distribution::Text { .. } | Distribution::Embedding { .. } => Effects {
            shares: units.of_presence(column),
            mean: 1.0,
        },
    }
}

fn written(effects: Effects) -> Worth {
    Worth {
        units: effects.shares.units,
        shares: finite(effects.shares.of_shares),
        unevenness: effects.shares.unevenness,
        cumulated: finite(effects.shares.of_cumulated),
        mean: finite(effects.mean),
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
    let (before, after) = (finite(before), finite(after));
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
    use crate::profile::room::Room;
    use crate::profile::sampled::{Which, key};

    #[test]
    fn a_profile_that_was_written_says_what_it_said() {
        let mut random = Random::new(4);
        let numbers: Vec<f64> = (0..40_000).map(|_| random.normal()).collect();
        let mut column = Column::new(Kind::Number, Room::of(&[], 0));
        let values = std::sync::Arc::new(arrow::array::Float64Array::from(numbers));
        column
            .add(&(values as arrow::array::ArrayRef), Which::default())
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

    #[test]
    fn rows_that_are_kept_are_read_as_they_were_to_the_last_bit() {
        let mut random = Random::new(5);
        let rows: Vec<Option<Vec<Option<f64>>>> = (0..200)
            .map(|_| Some((0..3).map(|_| Some(random.normal())).collect()))
            .collect();
        let keys: Vec<u64> = (0..200).map(key).collect();
        let which = Which {
            keys: &keys,
            units: &keys,
        };
        let lists =
            arrow::array::ListArray::from_iter_primitive::<arrow::datatypes::Float64Type, _, _>(
                rows,
            );
        let mut counted = Vectors::new(3, 50);
        counted
            .add(
                &(std::sync::Arc::new(lists) as arrow::array::ArrayRef),
                which,
            )
            .expect("lists");
        let texts_of: Vec<String> = (0..200).map(|row| format!("\"{row}\" é\n")).collect();
        let mut of_texts = Texts::new(50);
        let texts_of = arrow::array::StringArray::from(texts_of);
        of_texts
            .add(
                &(std::sync::Arc::new(texts_of) as arrow::array::ArrayRef),
                which,
            )
            .expect("texts");
        let again = |column: &Column| -> Distribution {
            let profile = of_column("x", column);
            let text = serde_json::to_string(&profile).expect("JSON");
            let read: ColumnProfile = serde_json::from_str(&text).expect("as it was");
            assert_eq!(read, profile);
            read.distribution
        };
        let read = again(&Column::Embedding(Box::new(counted.clone())));
        let Distribution::Embedding {
            width,
            sums,
            keys,
            vectors: of,
        } = &read
        else {
            unreachable!("it is of vectors")
        };
        let (found, kept) = vectors(*width, sums, keys, of).expect("as it was");
        let all = |sample: &Bounded<Vec<f32>>| -> Vec<(u64, Vec<f32>)> {
            let rows = sample.keyed();
            rows.map(|(key, row)| (key, row.what.clone())).collect()
        };
        assert_eq!(found, counted.sums);
        assert_eq!(all(&kept), all(&counted.sample));
        assert!(vectors(4, sums, keys, of).is_err());
        assert!(vectors(*width, sums, &keys[1..], of).is_err());
        let read = again(&Column::Text(Box::new(of_texts.clone())));
        let Distribution::Text { rows, sample } = &read else {
            unreachable!("it is of texts")
        };
        assert_eq!((*rows, sample.len()), (200, 50));
        let kept: Vec<String> = texts(sample).rows().map(|row| row.what.clone()).collect();
        let before = of_texts.sample.rows().map(|row| row.what.clone());
        assert_eq!(kept, before.collect::<Vec<_>>());
    }
}
