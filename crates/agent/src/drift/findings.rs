//! What is wrong with the data of a window, or worth telling of them.

mod columns;

use clap::ValueEnum;
use windlass_statistics::drift::quality::{self, Allowed, Check, Finding, Prediction, Problem};
use windlass_statistics::drift::words;
use windlass_statistics::proportion::Proportion;

use super::results::{Found, Results};
use super::seasons::Season;
use super::sides::{Side, count};

/// The chance of a wrong finding, over all columns and all that is looked for.
const LEVEL: f64 = 0.001;
/// How many things are looked for in a column.
const CHECKS: f64 = 8.0;
/// What share of rows may be of levels that are new, or beyond the range, before it is told.
const TOLD_SHARE: f64 = 0.01;

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
        self.push_as(finding, mode, None);
    }

    /// The same in words of one's own, where there are any.
    fn push_as(&mut self, finding: Option<Finding>, mode: Mode, said: Option<String>) {
        if let Some(finding) = finding.filter(|_| mode != Mode::Ignore) {
            self.all.push(Found {
                breaks: mode == Mode::Break,
                words: said.unwrap_or_else(|| words::of_finding(&finding)),
                finding: Some(finding),
            });
        }
    }

    /// Looks at columns: those that the window's files do not have are `absent`. Of what is usual, the reference's rows of the
    /// window's season tell, where it has them.
    pub fn look(
        &mut self,
        reference: &Side,
        season: Option<&Season>,
        window: &Side,
        there: &[String],
    ) {
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
                let usual = season.and_then(|season| season.column(&old.name));
                let usual = usual.unwrap_or((old, reference.rows));
                self.look_at([reference.rows, window.rows], old, usual, new);
            }
        }
        self.duplicates(window);
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
