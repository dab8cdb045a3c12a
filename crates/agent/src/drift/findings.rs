//! What is wrong with the data of a window, or worth telling of them.

use clap::ValueEnum;
use windlass_statistics::drift::column::steps;
use windlass_statistics::drift::levels;
use windlass_statistics::drift::quality::{self, Allowed, Check, Finding, Prediction, Problem};
use windlass_statistics::drift::words;
use windlass_statistics::proportion::Proportion;

use super::results::{Found, Results};
use super::saying;
use super::sides::{Held, Side, SideColumn, count, pooled};
use crate::profile::{OTHER, PREDICTION};

/// The chance of a wrong finding, over all columns and all that is looked for.
const LEVEL: f64 = 0.001;
/// How many things are looked for in a column.
const CHECKS: f64 = 8.0;
/// What share of rows may be of levels that are new, or beyond the range, before it is told.
const TOLD_SHARE: f64 = 0.01;
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

/// What a finding is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum Mode {
    /// It is told.
    Warn,
    /// The data are broken.
    Break,
    /// It is not looked for.
    Ignore,
}

/// What is allowed of data.
#[derive(Clone, Debug, clap::Args)]
pub struct Quality {
    /// The share of rows without a value that a column may have, whatever it had before.
    #[arg(long, value_name = "X")]
    pub max_null_fraction: Option<f64>,
    /// By how much that share may be larger than it was.
    #[arg(long, value_name = "X", default_value_t = 0.05)]
    pub max_null_increase: f64,
    /// What levels are taken for that the reference has not, or that are gone.
    #[arg(long, value_enum, default_value = "Warn", value_name = "MODE")]
    pub new_categories: Mode,
    /// What numbers are taken for that lie beyond all of the reference.
    #[arg(long, value_enum, default_value = "Warn", value_name = "MODE")]
    pub beyond_range: Mode,
    /// What rows are taken for that are there more than once, by their id.
    #[arg(long, value_enum, default_value = "Warn", value_name = "MODE")]
    pub duplicates: Mode,
    /// What far fewer or far more rows than usual are taken for.
    #[arg(long, value_enum, default_value = "Warn", value_name = "MODE")]
    pub volume: Mode,
    /// How old the newest row may be at the end of the window.
    #[arg(long, value_name = "DURATION", value_parser = crate::arguments::duration)]
    pub max_age: Option<std::time::Duration>,
}

/// By what factor a window has to have more rows than usual, or fewer.
const VOLUME: f64 = 2.0;

/// Whether a window has far more rows than those of its length before it, or far fewer.
pub fn volume(quality: &Quality, window: &Results, before: &[Results]) -> Option<Found> {
    let length = |of: &Results| {
        let (start, end) = (of.window.start?, of.window.end?);
        Some(end.duration_since(start))
    };
    let mut usual = Prediction::default();
    let alike = before.iter().filter(|one| length(one) == length(window));
    alike.for_each(|one| usual.add(count(one.window.rows)));
    let mode = quality.volume;
    let finding = quality::volume(window.window.rows, &usual, VOLUME, LEVEL)?;
    (mode != Mode::Ignore).then(|| Found {
        breaks: mode == Mode::Break,
        words: words::of_finding(&finding),
        finding: Some(finding),
    })
}

/// What was found, what breaks the data first.
pub struct Findings<'a> {
    quality: &'a Quality,
    level: f64,
    all: Vec<Found>,
}

impl<'a> Findings<'a> {
    /// Nothing found yet, of so many columns.
    pub fn new(quality: &'a Quality, columns: usize) -> Self {
        Self {
            quality,
            level: LEVEL / (CHECKS * count(columns.max(1) as u64)),
            all: Vec::new(),
        }
    }

    /// All of it.
    pub fn all(mut self) -> Vec<Found> {
        self.all.sort_by_key(|found| !found.breaks);
        self.all
    }

    /// Something that no numbers tell.
    pub fn say(&mut self, breaks: bool, words: String) {
        self.all.push(Found {
            breaks,
            words,
            finding: None,
        });
    }

    fn push(&mut self, finding: Option<Finding>, mode: Mode) {
        if let Some(finding) = finding.filter(|_| mode != Mode::Ignore) {
            self.all.push(Found {
                breaks: mode == Mode::Break,
                words: words::of_finding(&finding),
                finding: Some(finding),
            });
        }
    }

    /// Looks at columns: those that the window's files do not have are `absent`.
    pub fn look(&mut self, reference: &Side, window: &Side, there: &[String]) {
        for old in &reference.columns {
            if !there.contains(&old.name) {
                let alike = there
                    .iter()
                    .find(|name| name.to_lowercase() == old.name.to_lowercase());
                let words = match alike {
                    Some(alike) => format!(
                        "column '{}' of the reference is not there; '{alike}' is, in other letters",
                        old.name
                    ),
                    None => format!("column '{}' of the reference is not there", old.name),
                };
                self.say(true, words);
            } else if let Some(new) = window.column(&old.name) {
                self.look_at(reference.rows, window.rows, old, new);
            }
        }
        self.duplicates(window);
    }

    fn look_at(&mut self, old_rows: u64, rows: u64, old: &SideColumn, new: &SideColumn) {
        let check = Check {
            column: Some(&old.name),
            design_effects: [old, new].map(|side| side.worth.shares.of_shares),
            level: self.level,
        };
        let of = |part: u64, all: u64| Proportion {
            successes: part,
            trials: all,
        };
        let nulls = of(old.nulls, old_rows);
        // What mostly has no value may have even less.
        let is_mostly_empty = nulls.value().is_some_and(|share| share > MOSTLY);
        if rows > 0 && new.nulls == rows && old.nulls < old_rows {
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
            let both = [nulls, of(new.nulls, rows)];
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
        let both = [of(old.other_type, old_rows), of(new.other_type, rows)];
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
                let is_one = |ranks: &windlass_statistics::ranks::Ranks| {
                    ranks
                        .most_frequent()
                        .is_some_and(|(_, most)| most == ranks.rows())
                };
                let most = ranks
                    .most_frequent()
                    .map_or(1, |(_, rows)| rows)
                    .max(old.nulls);
                if is_one(of_window) && new.nulls == 0 {
                    let has_few = ranks.is_exact() && ranks.cells().count() <= FEW;
                    self.constant(check.constant(of(most, old_rows), rows), has_few);
                }
                self.ranges(check, old_rows, ranks, of_window);
                let steps = steps(ranks, of_window);
                let effects = [old, new].map(|side| side.worth.shares.of_cumulated);
                let conversion = steps.thinned(effects).conversion();
                let found = conversion.and_then(|of| {
                    let found = of.finding(&old.name, CONVERTED, check.level)?;
                    Some((of, found))
                });
                if let Some((of, found)) = found {
                    // Amounts that grew twofold, or a temperature about zero, may look like a unit; and delays do on a bad day.
                    let size = of.scale.abs();
                    let is_far =
                        of.offset.abs() > 0.0 || size >= SURE_FACTOR || size <= 1.0 / SURE_FACTOR;
                    let is_sure = is_far && of.is_plain();
                    let mode = if is_sure { Mode::Break } else { Mode::Warn };
                    self.push(Some(found), mode);
                }
            }
            (Held::Category(levels), Held::Category(of_window)) => {
                let window = pooled(levels, of_window);
                let most = levels.levels.values().copied().max().unwrap_or(0);
                let seen = of_window.levels.iter().filter(|(_, rows)| **rows > 0);
                let mut seen = seen.map(|(name, _)| name.as_str());
                if seen.next().is_some_and(|only| only != OTHER)
                    && seen.next().is_none()
                    && new.nulls == 0
                {
                    let has_few = levels.levels.len() <= FEW;
                    let found = check.constant(of(most.max(old.nulls), old_rows), rows);
                    self.constant(found, has_few);
                }
                if !levels.levels.contains_key(OTHER) {
                    self.levels(check, levels, &window);
                }
            }
            (Held::Text(_), Held::Text(_)) | (Held::Embedding { .. }, Held::Embedding { .. }) => {}
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

    /// One value in all rows. Of a column that mostly had one (rain, where it is dry), or that has few (a month), that is told,
    /// and no break.
    fn constant(&mut self, finding: Option<Finding>, has_few: bool) {
        let is_mostly = finding.as_ref().is_some_and(|found| found.before > MOSTLY);
        let mode = if is_mostly || has_few {
            Mode::Warn
        } else {
            Mode::Break
        };
        self.push(finding, mode);
    }

    fn ranges(
        &mut self,
        check: Check<'_>,
        old_rows: u64,
        reference: &windlass_statistics::ranks::Ranks,
        window: &windlass_statistics::ranks::Ranks,
    ) {
        let (Some(least), Some(greatest)) = (reference.least(), reference.greatest()) else {
            return;
        };
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // counts of rows
        let of = |rows: f64| Proportion {
            successes: (rows.round() as u64).min(window.rows()),
            trials: window.rows(),
        };
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
        reference: &windlass_statistics::psi::Categories,
        window: &windlass_statistics::psi::Categories,
    ) {
        let mode = self.quality.new_categories;
        let [old, new] = [reference, window].map(|side| side.rows());
        let worth = [
            count(old) / check.design_effects[0],
            count(new) / check.design_effects[1],
        ];
        let moved = levels::moved(reference, window, worth, check.level);
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
        self.push(check.lost_levels(&moved, [old, new]), mode);
    }

    fn duplicates(&mut self, window: &Side) {
        let Some((again, rows)) = window.duplicates else {
            return;
        };
        let check = Check {
            column: None,
            design_effects: [1.0; 2],
            level: self.level,
        };
        let of = |successes, trials| Proportion { successes, trials };
        let allowed = Allowed {
            share: Some(TOLD_SHARE),
            increase: 1.0,
        };
        let both = [of(0, rows.max(1)), of(again, rows)];
        let found = check.share_of(Problem::Duplicates, both, allowed);
        self.push(found, self.quality.duplicates);
    }

    /// Looks at how old the newest row is at the end of the window, microseconds since 1970.
    pub fn age(&mut self, window: &Side, end: i64) {
        let (Some(most), Some(newest)) = (self.quality.max_age, window.newest) else {
            return;
        };
        let age = end.saturating_sub(newest).max(0) / 1_000_000;
        if age > i64::try_from(most.as_secs()).unwrap_or(i64::MAX) {
            let words = format!(
                "the newest row is {age} s older than the end of the window, and may be {} s",
                most.as_secs()
            );
            self.say(true, words);
        }
    }
}
