//! What is wrong with a single column, or worth telling of it.

use std::collections::{BTreeMap, BTreeSet};

use windlass_statistics::drift::bounded::Bounded;
use windlass_statistics::drift::classifier::MIN_UNITS;
use windlass_statistics::drift::column::steps;
use windlass_statistics::drift::embedding::Embeddings;
use windlass_statistics::drift::levels;
use windlass_statistics::drift::quality::{Allowed, Check, Finding, Problem};
use windlass_statistics::drift::words::percent;
use windlass_statistics::proportion::Proportion;
use windlass_statistics::psi::Categories;
use windlass_statistics::ranks::Ranks;

use super::{Findings, Mode, TOLD_SHARE};
use crate::drift::saying;
use crate::drift::sides::{Held, SideColumn, count, pooled};
use crate::drift::verdict::shortened;
use crate::profile::{OTHER, PREDICTION};

/// What share of rows may be not of the column's type.
const OTHER_TYPE: f64 = 0.01;
/// A column that had its most frequent value in more rows than this may have it in all.
const MOSTLY: f64 = 0.5;
/// One of no more values than this may be all there is in a window.
const FEW: usize = 50;
/// A factor of at least this, or of one over it, is no growth of the world's.
const SURE_FACTOR: f64 = 10.0;
/// In what share of rows a unit has to have changed.
const CONVERTED: f64 = 0.1;

/// Some of all rows.
fn share(some: u64, all: u64) -> Proportion {
    Proportion {
        successes: some,
        trials: all,
    }
}

/// How rows that are kept of a column are alike.
struct Alike {
    rows: u64,
    units: u64,
    /// How many of them are the same, at most.
    most: u64,
    different: usize,
}

impl Alike {
    fn of<'a, T, V: Ord>(kept: &'a Bounded<T>, value: impl Fn(&'a T) -> V) -> Self {
        let mut values: BTreeMap<V, u64> = BTreeMap::new();
        for row in kept.rows() {
            *values.entry(value(&row.what)).or_default() += 1;
        }
        let units: BTreeSet<u64> = kept.rows().map(|row| row.unit).collect();
        Self {
            rows: kept.rows().len() as u64,
            units: units.len() as u64,
            most: values.values().copied().max().unwrap_or(0),
            different: values.len(),
        }
    }

    /// Whether they are of few values, which come again.
    fn has_few(&self) -> bool {
        self.different <= FEW && (self.different as u64) < self.rows / 2
    }

    /// Of this reference, where what is counted of the window are units.
    fn check<'a>(&self, check: Check<'a>) -> Check<'a> {
        let design_effect = count(self.rows) / count(self.units.max(1));
        Check {
            design_effects: [design_effect.max(1.0), 1.0],
            ..check
        }
    }
}

impl Findings<'_> {
    /// Looks at a column that both have: so many rows of the reference, and of the window. What is usual, in so many rows, tells
    /// how many have no value, and which are always there; what is new, or beyond the range, is so for all of the reference.
    pub(super) fn look_at(
        &mut self,
        [old_rows, rows]: [u64; 2],
        old: &SideColumn,
        (usual, usual_rows): (&SideColumn, u64),
        new: &SideColumn,
    ) {
        let check = Check {
            column: Some(&old.name),
            design_effects: [old, new].map(|side| side.share_effect),
            level: self.level,
        };
        let nulls = share(usual.nulls, usual_rows);
        // What mostly has no value may have even less.
        let is_mostly_empty = nulls.value().is_some_and(|share| share > MOSTLY);
        if rows > 0 && new.nulls == rows && usual.nulls < usual_rows {
            // Told only where it is no chance.
            if check.constant(nulls, rows).is_some() {
                let words = format!("column '{}' has no value in any row", old.name);
                self.say(!is_mostly_empty, words);
            }
            return;
        }
        // A request that failed has no answer: the roll-out's business.
        if old.name != PREDICTION {
            let allowed = Allowed {
                share: self.quality.max_null_fraction,
                increase: self.quality.max_null_increase,
            };
            let both = [nulls, share(new.nulls, rows)];
            let found = check.share_of(Problem::Missing, both, allowed);
            let is_limited = self.quality.max_null_fraction.is_some();
            let mode = if is_mostly_empty && !is_limited {
                Mode::Warn
            } else {
                Mode::Break
            };
            self.push(found, mode);
        }
        let allowed = Allowed {
            share: None,
            increase: OTHER_TYPE,
        };
        let both = [share(old.other_type, old_rows), share(new.other_type, rows)];
        self.push(
            check.share_of(Problem::OtherType, both, allowed),
            Mode::Break,
        );
        match (&old.held, &new.held) {
            (
                Held::Number { ranks, .. },
                Held::Number {
                    ranks: of_window, ..
                },
            ) => {
                let usual = (usual, usual_rows);
                self.numbers(
                    check,
                    [old, new],
                    usual,
                    [ranks, of_window],
                    [old_rows, rows],
                );
            }
            (Held::Category(levels), Held::Category(of_window)) => {
                let most = match &usual.held {
                    Held::Category(usual) => usual,
                    Held::Number { .. } | Held::Text(_) | Held::Embedding { .. } => levels,
                };
                self.names(
                    check,
                    [usual_rows, rows],
                    [levels, most, of_window],
                    new.nulls,
                );
            }
            (Held::Text(texts), Held::Text(of_window)) => self.texts(check, texts, of_window),
            (
                Held::Embedding { sums, sample },
                Held::Embedding {
                    sums: of_window,
                    sample: new_sample,
                },
            ) => self.vectors(check, [sums, of_window], [sample, new_sample]),
            (before, now) => {
                let kind = |held: &Held| saying::kind(held.kind());
                let words = format!(
                    "column '{}' was a {} and is a {}",
                    old.name,
                    kind(before),
                    kind(now)
                );
                self.say(true, words);
            }
        }
    }

    fn numbers(
        &mut self,
        check: Check<'_>,
        [old, new]: [&SideColumn; 2],
        (usual, usual_rows): (&SideColumn, u64),
        [ranks, of_window]: [&Ranks; 2],
        [old_rows, rows]: [u64; 2],
    ) {
        let is_one = |ranks: &Ranks| {
            ranks
                .most_frequent()
                .is_some_and(|(_, most)| most == ranks.rows())
        };
        let most = match &usual.held {
            Held::Number { ranks, .. } => ranks.most_frequent(),
            Held::Category(_) | Held::Text(_) | Held::Embedding { .. } => None,
        };
        let most = most.map_or(1, |(_, rows)| rows).max(usual.nulls);
        if is_one(of_window) && new.nulls == 0 {
            let has_few = ranks.is_exact() && ranks.cells().count() <= FEW;
            self.constant(check.constant(share(most, usual_rows), rows), has_few);
        }
        self.ranges(check, old_rows, ranks, of_window);
        let effects = [old, new].map(|side| side.worth.shares.of_cumulated);
        let converted = |ranks: &Ranks| {
            let of = steps(ranks, of_window).thinned(effects).conversion()?;
            let found = of.finding(&old.name, CONVERTED, check.level)?;
            Some((of, found))
        };
        // What is larger at this season each time is in no other unit.
        let is_unusual = |_: &_| match &usual.held {
            Held::Number { ranks, .. } => converted(ranks).is_some(),
            Held::Category(_) | Held::Text(_) | Held::Embedding { .. } => true,
        };
        let found = converted(ranks).filter(is_unusual);
        if let Some((of, found)) = found {
            // Amounts that grew twofold, or a temperature about zero, may look like a unit; and delays do on a bad day.
            let size = of.scale.abs();
            let is_far = of.offset.abs() > 0.0 || size >= SURE_FACTOR || size <= 1.0 / SURE_FACTOR;
            let is_sure = is_far && of.is_plain();
            let mode = if is_sure { Mode::Break } else { Mode::Warn };
            self.push(Some(found), mode);
        }
    }

    fn names(
        &mut self,
        check: Check<'_>,
        [usual_rows, rows]: [u64; 2],
        [levels, usual, of_window]: [&Categories; 3],
        nulls: u64,
    ) {
        let window = pooled(levels, of_window);
        let most = usual.levels.values().copied().max().unwrap_or(0);
        let seen = of_window.levels.iter().filter(|(_, rows)| **rows > 0);
        let mut seen = seen.map(|(name, _)| name.as_str());
        if seen.next().is_some_and(|only| only != OTHER) && seen.next().is_none() && nulls == 0 {
            let has_few = levels.levels.len() <= FEW;
            let most = share(most.max(usual.nulls), usual_rows);
            let found = check.constant(most, rows);
            self.constant(found, has_few);
        }
        if !levels.levels.contains_key(OTHER) {
            self.levels(check, levels, usual, &window);
        }
    }

    /// One text in all rows that are kept of the window, such as the empty one: what writes them has failed, and no classifier
    /// is needed to tell. Evidence counts units.
    fn texts(&mut self, check: Check<'_>, old: &Bounded<String>, new: &Bounded<String>) {
        let of_window = Alike::of(new, String::as_str);
        let Some(only) = new.rows().next().filter(|_| of_window.different == 1) else {
            return;
        };
        let before = Alike::of(old, String::as_str);
        let most = share(before.most, before.rows);
        let finding = before.check(check).constant(most, of_window.units);
        let said = finding.as_ref().map(|finding| {
            format!(
                "{}: one text in all {} rows that are kept of it, '{}'; the most frequent was {} of them",
                check.column.unwrap_or_default(),
                of_window.rows,
                shortened(&only.what),
                percent(finding.before)
            )
        });
        self.constant_as(finding, before.has_few(), said);
    }

    /// One vector in all rows: what embeds them has failed, or does nothing any more.
    fn vectors(
        &mut self,
        check: Check<'_>,
        [old, new]: [&Embeddings; 2],
        [old_rows, new_rows]: [&Bounded<Vec<f32>>; 2],
    ) {
        if !new.is_constant() || old.is_constant() {
            return;
        }
        // Of 0 there are two.
        let bits = |row: &Vec<f32>| -> Vec<u32> {
            row.iter().map(|number| (number + 0.0).to_bits()).collect()
        };
        let of_window = Alike::of(new_rows, bits);
        let before = Alike::of(old_rows, bits);
        let is_kept = |rows: &Alike| rows.rows >= MIN_UNITS as u64;
        // Where there was no room for rows, the sums tell that not all are the same, and how many units there are at least.
        let most = if is_kept(&before) {
            share(before.most, before.rows)
        } else {
            share(1, old.rows())
        };
        let units = if is_kept(&of_window) {
            of_window.units
        } else {
            new.groups()
        };
        let finding = before.check(check).constant(most, units);
        let which = if new.is_zero() { ", of zeros" } else { "" };
        let said = finding.as_ref().map(|finding| {
            format!(
                "{}: one vector in all {} rows{which}; the most frequent was {} of them",
                check.column.unwrap_or_default(),
                new.rows(),
                percent(finding.before)
            )
        });
        self.constant_as(finding, is_kept(&before) && before.has_few(), said);
    }

    /// One value in all rows. Of a column that mostly had one (rain, where it is dry), or that has few (a month), that is told,
    /// and no break.
    fn constant(&mut self, finding: Option<Finding>, has_few: bool) {
        self.constant_as(finding, has_few, None);
    }

    /// The same in other words.
    fn constant_as(&mut self, finding: Option<Finding>, has_few: bool, words: Option<String>) {
        let is_mostly = finding.as_ref().is_some_and(|found| found.before > MOSTLY);
        let mode = if is_mostly || has_few {
            Mode::Warn
        } else {
            Mode::Break
        };
        self.push_as(finding, mode, words);
    }

    fn ranges(&mut self, check: Check<'_>, old_rows: u64, reference: &Ranks, window: &Ranks) {
        let (Some(least), Some(greatest)) = (reference.least(), reference.greatest()) else {
            return;
        };
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // counts of rows
        let of = |rows: f64| share((rows.round() as u64).min(window.rows()), window.rows());
        let below = of(window.below(least));
        let above = of(count(window.rows()) - window.below(greatest.next_up()));
        let mode = self.quality.beyond_range;
        for (problem, rows) in [(Problem::BelowRange, below), (Problem::AboveRange, above)] {
            self.push(
                check.beyond_range(problem, rows, old_rows, TOLD_SHARE),
                mode,
            );
        }
    }

    fn levels(
        &mut self,
        check: Check<'_>,
        reference: &Categories,
        usual: &Categories,
        window: &Categories,
    ) {
        let mode = self.quality.new_categories;
        let moved = |reference: &Categories| {
            let rows = [reference, window].map(Categories::rows);
            let worth = [
                count(rows[0]) / check.design_effects[0],
                count(rows[1]) / check.design_effects[1],
            ];
            (levels::moved(reference, window, worth, check.level), rows)
        };
        let ((moved, [old, new]), (gone, of_usual)) = (moved(reference), moved(usual));
        let of_new = moved.new.iter().map(|(name, _)| window.levels[name]);
        let rows = Proportion {
            successes: of_new.sum(),
            trials: new,
        };
        let once = reference.levels.values().filter(|rows| **rows == 1).count();
        let seen_once = Proportion {
            successes: once as u64,
            trials: old,
        };
        let names = moved.new.iter().map(|(name, _)| name.clone()).collect();
        let allowed = Allowed {
            share: None,
            increase: TOLD_SHARE,
        };
        let found = check.share_of(Problem::NewLevels(names), [seen_once, rows], allowed);
        self.push(found, mode);
        self.push(check.lost_levels(&gone, of_usual), mode);
    }
}
