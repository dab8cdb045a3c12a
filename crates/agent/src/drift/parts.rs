//! Columns of a reference in some parts of its time: what a profile says of each part, added up.

use windlass_api::agent::{CategoryPart, ColumnTimes, NumberPart};
use windlass_statistics::mean::Mean;
use windlass_statistics::psi::Categories;
use windlass_statistics::ranks::{Cell, Ranks};

use super::sides::{Held, SideColumn};
use crate::profile::BINS;

/// A column of a reference that is counted by time.
pub struct Parted<'a> {
    whole: &'a SideColumn,
    values: Values<'a>,
}

enum Values<'a> {
    Number {
        /// Of each bin, where its numbers stand.
        cells: Vec<Cell>,
        parts: &'a [NumberPart],
    },
    Category {
        levels: &'a [String],
        parts: &'a [CategoryPart],
    },
}

impl<'a> Parted<'a> {
    /// Of a column; absent where it is not counted by time.
    pub fn of(whole: &'a SideColumn) -> Option<Self> {
        let values = match (&whole.held, whole.by_time.as_ref()?) {
            (Held::Number { ranks, .. }, ColumnTimes::Number { edges, parts }) => Values::Number {
                cells: cells(ranks, edges),
                parts,
            },
            (Held::Category(_), ColumnTimes::Category { levels, parts }) => {
                Values::Category { levels, parts }
            }
            (
                Held::Number { .. } | Held::Category(_) | Held::Text(_) | Held::Embedding { .. },
                _,
            ) => return None,
        };
        Some(Self { whole, values })
    }

    /// The column in these parts, with bins of its own.
    pub fn only(&self, which: &[usize]) -> SideColumn {
        let (held, nulls) = match &self.values {
            Values::Number { cells, parts } => numbers(cells, which, parts),
            Values::Category { levels, parts } => names(levels, which, parts),
        };
        SideColumn {
            name: self.whole.name.clone(),
            nulls,
            other_type: self.whole.other_type,
            worth: self.whole.worth,
            share_effect: self.whole.share_effect,
            held,
            by_time: None,
        }
    }
}

/// Where the numbers of each bin stand: from the least to the greatest of all that the reference has there.
fn cells(ranks: &Ranks, edges: &[f64]) -> Vec<Cell> {
    let mut all = ranks.cells().peekable();
    let ends = edges.iter().map(Some).chain([None]);
    let cell = |end: Option<&f64>| {
        let mut bin: Option<Cell> = None;
        while let Some(next) = all.next_if(|next| end.is_none_or(|end| next.first < *end)) {
            let rows = bin.map_or(0, |bin| bin.rows) + next.rows;
            let first = bin.map_or(next.first, |bin| bin.first);
            #[allow(clippy::cast_precision_loss)] // counts of rows
            let share = next.rows as f64 / rows as f64;
            let before = bin.map_or(next.mean(), |bin| bin.mean());
            let mean = before + (next.mean() - before) * share;
            bin = Some(Cell::with_mean(first, next.last, mean, rows));
        }
        // A bin of none is of what lies between two cells.
        bin.unwrap_or_else(|| Cell::of(end.map_or(0.0, |end| end.next_down()), 0))
    };
    ends.map(cell).collect()
}

fn numbers(cells: &[Cell], which: &[usize], parts: &[NumberPart]) -> (Held, u64) {
    let mut rows = vec![0; cells.len()];
    let (mut mean, mut nulls) = (Mean::default(), 0);
    for part in which.iter().filter_map(|at| parts.get(*at)) {
        let NumberPart(without, centre, deviation, counts) = part;
        let there = counts.iter().sum();
        mean.merge(&Mean::known(there, *centre, *deviation));
        nulls += without;
        for (all, count) in rows.iter_mut().zip(counts) {
            *all += count;
        }
    }
    let filled = cells.iter().zip(&rows).filter(|(_, rows)| **rows > 0);
    let filled =
        filled.map(|(cell, rows)| Cell::with_mean(cell.first, cell.last, cell.mean(), *rows));
    let ranks = Ranks::of_cells(filled);
    let (edges, _) = ranks.bins(BINS);
    let held = Held::Number {
        edges,
        ranks: Box::new(ranks),
        mean,
    };
    (held, nulls)
}

fn names(levels: &[String], which: &[usize], parts: &[CategoryPart]) -> (Held, u64) {
    let mut rows = vec![0; levels.len()];
    let mut nulls = 0;
    for CategoryPart(without, counts) in which.iter().filter_map(|at| parts.get(*at)) {
        nulls += without;
        for (all, count) in rows.iter_mut().zip(counts) {
            *all += count;
        }
    }
    let there = levels.iter().cloned().zip(rows);
    let levels = there.filter(|(_, rows)| *rows > 0).collect();
    (Held::Category(Categories { levels, nulls }), nulls)
}

#[cfg(test)]
mod tests {
    use windlass_statistics::drift::column::Worth;

    use super::*;

    fn column(held: Held, by_time: ColumnTimes) -> SideColumn {
        SideColumn {
            name: "x".to_owned(),
            nulls: 3,
            other_type: 0,
            worth: Worth::INDEPENDENT,
            share_effect: 1.0,
            held,
            by_time: Some(by_time),
        }
    }

    #[test]
    fn numbers_of_some_parts_lie_where_those_of_the_whole_do_in_bins_of_their_own() {
        let all: Vec<f64> = (0..640).map(|row| f64::from(row % 64)).collect();
        let mut ranks = Ranks::new(1024);
        ranks.add(&all);
        let (edges, counts) = ranks.bins(32);
        let part = |from: usize, to: usize, mean: f64| {
            let counts = counts.iter().enumerate();
            let counts = counts.map(|(at, rows)| if (from..to).contains(&at) { *rows } else { 0 });
            NumberPart(1, mean, 2.0, counts.collect())
        };
        // The lower quarter, the next one, and the rest.
        let parts = vec![part(0, 8, 7.5), part(8, 16, 23.5), part(16, 32, 47.5)];
        let held = Held::Number {
            edges: ranks.bins(10).0,
            mean: Mean::of(&all),
            ranks: Box::new(ranks),
        };
        let whole = column(held, ColumnTimes::Number { edges, parts });
        let parted = Parted::of(&whole).expect("it is counted by time");
        let low = parted.only(&[0, 1]);
        let Held::Number { edges, ranks, mean } = &low.held else {
            panic!("it is a number")
        };
        assert_eq!((ranks.rows(), low.nulls), (320, 2));
        assert_eq!((ranks.least(), ranks.greatest()), (Some(0.0), Some(31.0)));
        assert!((mean.value().expect("some") - 15.5).abs() < 1e-9);
        // Two numbers are in a cell, and ten in a bin.
        assert!((8..=10).contains(&edges.len()), "{edges:?}");
        let counts = ranks.counts(edges);
        assert!(
            counts.iter().all(|rows| (20..=60).contains(rows)),
            "{counts:?}"
        );
        let none = parted.only(&[]);
        let Held::Number { edges, ranks, .. } = &none.held else {
            panic!("it is a number")
        };
        assert_eq!((ranks.rows(), edges.len(), none.nulls), (0, 0, 0));
    }

    #[test]
    fn names_of_some_parts_are_those_that_are_there() {
        let levels = ["a", "b", "c"].map(str::to_owned);
        let parts = vec![
            CategoryPart(1, vec![5, 0, 0]),
            CategoryPart(0, vec![1, 2, 0]),
            CategoryPart(4, vec![0, 0, 9]),
        ];
        let all = Categories {
            levels: levels.iter().cloned().map(|level| (level, 9)).collect(),
            nulls: 5,
        };
        let by_time = ColumnTimes::Category {
            levels: levels.to_vec(),
            parts,
        };
        let whole = column(Held::Category(all), by_time);
        let some = Parted::of(&whole).expect("by time").only(&[0, 1]);
        let Held::Category(found) = &some.held else {
            panic!("it is a category")
        };
        let expected = [("a".to_owned(), 6), ("b".to_owned(), 2)];
        assert_eq!(found.levels, expected.into());
        assert_eq!((found.nulls, some.nulls), (1, 1));
        let without = SideColumn {
            by_time: None,
            ..whole
        };
        assert!(Parted::of(&without).is_none());
    }
}
