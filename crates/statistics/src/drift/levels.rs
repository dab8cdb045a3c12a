//! Levels of a category: rare ones pooled, rows without a value as a cell of their own, and those that are new or gone.

use std::collections::BTreeSet;

use crate::float;
use crate::proportion::exact;
use crate::psi::Categories;

use super::table::{MIN_EXPECTED, Table};

/// The levels that keep a cell of their own: those of which [`MIN_EXPECTED`] rows are expected, by the reference's shares,
/// in either sample. The choice looks at the reference and the sizes alone, so it does not favour what happens to have moved.
///
/// `effective` is how many independent rows the reference and the window are worth.
pub fn kept(reference: &Categories, effective: [f64; 2]) -> BTreeSet<&str> {
    let total = float(reference.rows());
    let smaller = effective[0].min(effective[1]);
    let is_kept = |count: u64| float(count) * smaller >= MIN_EXPECTED * total;
    let levels = reference.levels.iter();
    levels
        .filter(|(_, count)| is_kept(**count))
        .map(|(level, _)| level.as_str())
        .collect()
}

/// Rows by cell: of each level that is kept, of all others, and without a value.
pub fn cells(kept: &BTreeSet<&str>, side: &Categories) -> Vec<u64> {
    let of = |level: &&str| side.levels.get(*level).copied().unwrap_or(0);
    let mut cells: Vec<u64> = kept.iter().map(of).collect();
    let others = side
        .levels
        .iter()
        .filter(|(level, _)| !kept.contains(level.as_str()));
    cells.push(others.map(|(_, count)| *count).sum());
    cells.push(side.nulls);
    cells
}

/// A reference and a window by cell. `design_effects`: by how much rows that are not independent make variances larger, of
/// either; 1 where they are.
pub fn table(reference: &Categories, window: &Categories, design_effects: [f64; 2]) -> Table {
    let effective = [
        float(reference.rows()) / design_effects[0],
        float(window.rows()) / design_effects[1],
    ];
    let kept = kept(reference, effective);
    Table::new(&cells(&kept, reference), &cells(&kept, window)).thinned(design_effects)
}

/// Levels that one side has and the other has not.
#[derive(Clone, Debug, PartialEq)]
pub struct Moved {
    /// Those of the window that the reference has not, the most frequent first: their share of the window's rows.
    pub new: Vec<(String, f64)>,
    /// Those of the reference that the window has not, although it should: their share of the reference's rows, the most
    /// frequent first. That a level is not seen is no surprise where few rows of it are expected: only those are named that
    /// would be missed by chance in one of `1 / level` windows at most, over all levels (Bonferroni).
    pub lost: Vec<(String, f64)>,
}

/// Which levels are new, and which are lost. `effective` is how many independent rows the reference and the window are worth.
///
/// A level of share q is missed by all of n independent rows with probability (1 - q)ⁿ; q itself is known from the
/// reference's m, and taken for as small as its lower bound lets it be (Clopper & Pearson 1934, at 95%).
pub fn moved(
    reference: &Categories,
    window: &Categories,
    effective: [f64; 2],
    level: f64,
) -> Moved {
    let share = |count: u64, side: &Categories| float(count) / float(side.rows()).max(1.0);
    let sorted = |mut levels: Vec<(String, f64)>| {
        levels.sort_by(|one, other| other.1.total_cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
        levels
    };
    let has = |side: &Categories, name: &str| side.levels.get(name).is_some_and(|rows| *rows > 0);
    let new = window.levels.iter();
    let new = new
        .filter(|(name, rows)| **rows > 0 && !has(reference, name))
        .map(|(name, rows)| (name.clone(), share(*rows, window)));
    let least = level / float(reference.levels.len().max(1));
    let is_missed = |rows: u64| {
        let of_reference = exact(share(rows, reference), effective[0], 0.05);
        (1.0 - of_reference.lower).powf(effective[1]) <= least
    };
    let lost = reference.levels.iter();
    let lost = lost
        .filter(|(name, rows)| !has(window, name) && is_missed(**rows))
        .map(|(name, rows)| (name.clone(), share(*rows, reference)));
    Moved {
        new: sorted(new.collect()),
        lost: sorted(lost.collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drift::table::Distance;

    fn categories(levels: &[(&str, u64)], nulls: u64) -> Categories {
        let levels = levels.iter();
        Categories {
            levels: levels
                .map(|(level, count)| ((*level).to_owned(), *count))
                .collect(),
            nulls,
        }
    }

    #[test]
    fn a_level_is_pooled_where_too_few_independent_rows_of_it_are_expected() {
        let reference = categories(&[("a", 900), ("b", 90), ("c", 10)], 0);
        let window = categories(&[("a", 900), ("b", 90), ("c", 10)], 0);
        let of = |effects| kept(&reference, effects).len();
        assert_eq!(of([1000.0, 1000.0]), 3);
        // Five of 500 are expected.
        assert_eq!((of([1000.0, 500.0]), of([1000.0, 499.0])), (3, 2));
        assert_eq!(of([50.0, 1000.0]), 1);
        // 90 rows, as many as 4.5: a design effect of 20 pools them.
        let table = table(&reference, &window, [20.0; 2]);
        assert_eq!(table.cells(), 2);
        assert_eq!(table.rows(), (50.0, 50.0));
    }

    #[test]
    fn rows_without_a_value_are_a_cell_and_levels_that_are_new_one_with_rare_ones() {
        let reference = categories(&[("a", 900), ("rare", 3)], 97);
        let window = categories(&[("a", 700), ("new", 100)], 200);
        let kept = kept(&reference, [1000.0; 2]);
        assert_eq!(cells(&kept, &reference), [900, 3, 97]);
        assert_eq!(cells(&kept, &window), [700, 100, 200]);
        let only_nulls = categories(&[("a", 450)], 550);
        let effect = table(&reference, &only_nulls, [1.0; 2]).effect(Distance::Psi);
        assert!(effect.lower(0.95) > 0.5, "{effect:?}");
    }

    #[test]
    fn all_levels_new_is_a_distance_of_one() {
        let reference = categories(&[("a", 500), ("b", 500)], 0);
        let window = categories(&[("x", 500), ("y", 500)], 0);
        let effect = table(&reference, &window, [1.0; 2]).effect(Distance::Hellinger);
        assert!((effect.raw() - 1.0).abs() < 1e-12 && effect.lower(0.95) > 0.9);
    }

    #[test]
    fn new_levels_are_named_and_lost_ones_where_they_should_have_been_seen() {
        let reference = categories(&[("a", 800), ("b", 190), ("rare", 10)], 0);
        let window = categories(&[("a", 150), ("x", 10), ("y", 40), ("b", 0)], 0);
        let moved = moved(&reference, &window, [1000.0, 200.0], 0.01);
        assert_eq!(moved.new, [("y".to_owned(), 0.2), ("x".to_owned(), 0.05)]);
        // Of 'rare' two rows were expected: none of them is seen in one of seven windows.
        assert_eq!(moved.lost, [("b".to_owned(), 0.19)]);
        // Of few independent rows, none is surprising.
        let few = super::moved(&reference, &window, [1000.0, 10.0], 0.01);
        assert_eq!(few.lost, []);
        let many = super::moved(&reference, &window, [1000.0, 1e5], 0.01);
        assert_eq!(many.lost.len(), 2);
        let of_few = super::moved(&reference, &window, [5.0, 200.0], 0.01);
        assert_eq!(of_few.lost, []);
        let none = super::moved(
            &Categories::default(),
            &Categories::default(),
            [0.0; 2],
            0.01,
        );
        assert_eq!((none.new, none.lost), (Vec::new(), Vec::new()));
    }
}
