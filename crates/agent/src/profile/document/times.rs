//! What was counted by time as a profile has it.

use std::collections::BTreeSet;

use windlass_api::agent::{CategoryPart, ColumnTimes, NumberPart, TimePart, Times};
use windlass_statistics::ranks::Ranks;

use super::{CELLS, finite};
use crate::profile::column::Column;
use crate::profile::times::{ByTime, Counted, Numbers, Part};

/// In how many bins numbers are written of each part: those of a season lie close together, and still have to be told apart.
const BINS: usize = 32;
/// How many names a category may have in all parts together: of more, none is written.
const MOST_LEVELS: usize = 256;

/// Rows by the time in this column; absent where none has one.
pub fn times(column: &str, by_time: &ByTime) -> Option<Times> {
    let (first, last) = by_time.span()?;
    let (stretch_hours, stretches) = by_time.stretches();
    let written = |parts: Vec<Counted<'_>>| {
        let parts = parts.into_iter();
        let parts = parts.map(|part| TimePart(part.place, part.rows, part.occasions));
        parts.collect::<Vec<TimePart>>()
    };
    Some(Times {
        column: column.to_owned(),
        first,
        last,
        hours: written(by_time.hours()),
        months: written(by_time.months()),
        stretch_hours,
        stretches: written(stretches),
    })
}

/// The values by time of a column, by its place among all; absent where it is not counted so.
pub fn of_column(by_time: &ByTime, place: usize, column: &Column) -> Option<ColumnTimes> {
    let (_, stretches) = by_time.stretches();
    let all = by_time.hours().into_iter().chain(by_time.months());
    let all: Vec<Counted<'_>> = all.chain(stretches).collect();
    let parts = all.iter().map(|part| part.column(place));
    match column {
        Column::Number(numbers) => of_numbers(&numbers.ranks, parts),
        Column::Category(_) => of_names(parts),
        Column::Text(_) | Column::Embedding(_) => None,
    }
}

fn of_numbers<'a>(whole: &Ranks, parts: impl Iterator<Item = &'a Part>) -> Option<ColumnTimes> {
    let (edges, _) = whole.shrunk(CELLS).bins(BINS);
    let written = |numbers: &Numbers| {
        let mean = finite(numbers.mean.value().unwrap_or(0.0));
        let deviation = finite(numbers.mean.standard_deviation());
        NumberPart(
            numbers.nulls,
            mean,
            deviation,
            numbers.ranks().counts(&edges),
        )
    };
    let parts = parts.map(|part| match part {
        Part::Number(numbers) => Some(written(numbers)),
        Part::Nothing | Part::Category(_) => None,
    });
    let parts: Vec<NumberPart> = parts.collect::<Option<_>>()?;
    (!parts.is_empty()).then_some(ColumnTimes::Number { edges, parts })
}

fn of_names<'a>(parts: impl Iterator<Item = &'a Part>) -> Option<ColumnTimes> {
    let known = parts.map(|part| match part {
        Part::Category(names) if !names.too_many => Some(names),
        Part::Category(_) | Part::Nothing | Part::Number(_) => None,
    });
    let known: Vec<_> = known.collect::<Option<_>>()?;
    let levels: BTreeSet<&String> = known.iter().flat_map(|names| names.levels.keys()).collect();
    if known.is_empty() || levels.len() > MOST_LEVELS {
        return None;
    }
    let parts = known.iter().map(|names| {
        let rows = levels.iter().map(|level| names.levels.get(*level));
        let rows = rows.map(|rows| rows.copied().unwrap_or(0));
        CategoryPart(names.nulls, rows.collect())
    });
    Some(ColumnTimes::Category {
        parts: parts.collect(),
        levels: levels.into_iter().cloned().collect(),
    })
}
