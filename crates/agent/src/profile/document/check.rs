//! Whether a profile that is read is one that could have been written: a file may have been cut, changed by hand or by a
//! disk, or be of another program. What is not as it is written here would be taken for what data say, or end the program.

mod times;

use std::collections::BTreeSet;
use std::fmt::Display;

use windlass_api::agent::{
    ColumnProfile, Distribution, NumberCell, Profile, Scores, SegmentProfile, TextRow, Times, Worth,
};

use super::vectors;

/// From here on, rows are not counted one by one in a number with a point.
const MOST_ROWS: u64 = 1 << 53;
/// Far more cells than are written of a number, and about as many as can be compared with.
const MOST_CELLS: usize = 1 << 14;

type Checked = Result<(), String>;

/// Says what of a profile is not as it is written.
///
/// # Errors
/// Where it is, and what is wrong with it.
pub fn check(profile: &Profile) -> Checked {
    part(profile.rows, &profile.columns, profile.times.as_ref())?;
    let mut names = BTreeSet::new();
    for SegmentProfile {
        segment,
        rows,
        columns,
        times,
    } in &profile.segments
    {
        let of = |problem: String| format!("segment \"{segment}\": {problem}");
        ensure(names.insert(segment), || of("it is there twice".to_owned()))?;
        let is_part = *rows <= profile.rows;
        ensure(is_part, || {
            of(format!("it has {rows} rows of {}", profile.rows))
        })?;
        part(*rows, columns, times.as_ref()).map_err(of)?;
    }
    profile.scores.as_ref().map_or(Ok(()), |scores| {
        of_scores(scores).map_err(|problem| format!("scores: {problem}"))
    })
}

fn ensure(is_so: bool, problem: impl FnOnce() -> String) -> Checked {
    if is_so { Ok(()) } else { Err(problem()) }
}

/// The columns of all rows, or of those of a segment.
fn part(rows: u64, columns: &[ColumnProfile], times: Option<&Times>) -> Checked {
    ensure(rows < MOST_ROWS, || {
        format!("{rows} rows are more than can be counted")
    })?;
    let mut names = BTreeSet::new();
    for column in columns {
        let of = |problem: String| format!("column '{}': {problem}", column.name);
        ensure(names.insert(&column.name), || {
            of("it is there twice".to_owned())
        })?;
        of_column(rows, column).map_err(of)?;
        if let Some(by_time) = &column.by_time {
            times::of_column(times, &column.distribution, by_time).map_err(of)?;
        }
    }
    if let Some(times) = times {
        times::of_times(rows, times).map_err(|problem| format!("times: {problem}"))?;
    }
    Ok(())
}

fn of_column(rows: u64, column: &ColumnProfile) -> Checked {
    if let Some(worth) = &column.worth {
        of_worth(worth)?;
    }
    let with_value = match &column.distribution {
        Distribution::Number {
            edges,
            counts,
            standard_deviation,
            cells,
            ..
        } => {
            ensure(*standard_deviation >= 0.0, || {
                format!("a standard deviation of {standard_deviation}")
            })?;
            of_bins(edges, counts)?;
            let all = sum(counts)?;
            if !cells.is_empty() {
                of_cells(cells, all)?;
            }
            all
        }
        Distribution::Category { counts } => sum(counts.values())?,
        Distribution::Text { rows, sample } => {
            of_texts(*rows, sample)?;
            *rows
        }
        Distribution::Embedding {
            width,
            sums,
            keys,
            vectors: of,
        } => {
            let (sums, kept) = vectors(*width, sums, keys, of)?;
            ensure(kept.rows().len() as u64 <= sums.rows(), || {
                more(kept.rows().len(), "vectors", sums.rows())
            })?;
            sums.rows()
        }
    };
    let all = sum(&[with_value, column.nulls, column.other_type])?;
    ensure(all <= rows, || more(all, "values", rows))
}

fn more(some: impl Display, what: &str, rows: u64) -> String {
    format!("{some} {what} of {rows} rows")
}

/// How many rows there are in all.
fn sum<'a>(counts: impl IntoIterator<Item = &'a u64>) -> Result<u64, String> {
    let mut counts = counts.into_iter();
    let all = counts.try_fold(0_u64, |all, rows| all.checked_add(*rows));
    let all = all.filter(|all| *all < MOST_ROWS);
    all.ok_or_else(|| "it has more rows than can be counted".to_owned())
}

/// Edges of bins, ascending, and one thing more of each bin.
fn of_bins(edges: &[f64], counts: &[u64]) -> Checked {
    ensure(counts.len() == edges.len() + 1, || {
        format!("{} edges of {} bins", edges.len(), counts.len())
    })?;
    ensure(edges.iter().all(|edge| edge.is_finite()), || {
        "an edge of bins that is no number".to_owned()
    })?;
    let is_ascending = edges.windows(2).all(|pair| pair[0] < pair[1]);
    ensure(is_ascending, || "edges of bins do not ascend".to_owned())
}

fn of_cells(cells: &[NumberCell], rows: u64) -> Checked {
    ensure(cells.len() <= MOST_CELLS, || {
        format!("{} cells of values", cells.len())
    })?;
    for NumberCell(first, last, mean, rows) in cells {
        let is_cell = first.is_finite() && last.is_finite() && first <= mean && mean <= last;
        ensure(is_cell && *rows > 0, || {
            format!("a cell of {rows} values from {first} to {last} with a mean of {mean}")
        })?;
    }
    let is_ascending = cells.windows(2).all(|pair| pair[0].0 <= pair[1].0);
    ensure(is_ascending, || "cells of values do not ascend".to_owned())?;
    let in_cells = sum(cells.iter().map(|cell| &cell.3))?;
    ensure(in_cells == rows, || {
        format!("{in_cells} values in its cells, and {rows} in its bins")
    })
}

fn of_texts(rows: u64, sample: &[TextRow]) -> Checked {
    ensure(sample.len() as u64 <= rows, || {
        more(sample.len(), "texts", rows)
    })
}

fn of_worth(worth: &Worth) -> Checked {
    let Worth {
        units: _,
        shares,
        unevenness,
        cumulated,
        mean,
    } = worth;
    for effect in [shares, cumulated, mean] {
        let is_effect = effect.is_finite() && *effect >= 1.0;
        ensure(is_effect, || {
            format!("what its rows are worth: a design effect of {effect}")
        })?;
    }
    let is_square = unevenness.is_finite() && *unevenness >= 0.0;
    ensure(is_square, || {
        format!("what its rows are worth: an unevenness of {unevenness}")
    })
}

fn of_scores(scores: &Scores) -> Checked {
    of_bins(&scores.edges, &scores.rows)?;
    sum(&scores.rows)?;
    let (bins, positives) = (scores.rows.len(), scores.positives.len());
    ensure(positives == bins, || {
        format!("{positives} counts of class 1 in {bins} bins")
    })?;
    let mut both = scores.positives.iter().zip(&scores.rows);
    let beyond = both.find(|(positives, rows)| positives > rows);
    beyond.map_or(Ok(()), |(positives, rows)| {
        Err(more(positives, "rows of class 1", *rows))
    })?;
    ensure(scores.threshold <= bins as u64, || {
        format!("a threshold at bin {} of {bins}", scores.threshold)
    })
}

#[cfg(test)]
mod tests;
