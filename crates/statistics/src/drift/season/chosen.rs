//! What was chosen of a reference, and why.

use super::Cycle;
use crate::drift::words::percent;

/// What a window is compared with.
#[derive(Clone, Debug, PartialEq)]
pub struct Reference<T> {
    pub(super) cycle: Cycle,
    /// Which of the reference's rows.
    pub chosen: Chosen,
    /// How many.
    pub rows: u64,
    /// What they add up to.
    pub what: T,
}

/// Which of a reference's rows a window is compared with.
#[derive(Clone, Debug, PartialEq)]
pub enum Chosen {
    /// Those of the window's seasons.
    SameSeasons {
        /// Which these are, ascending.
        seasons: Vec<u16>,
        /// How far the window's shares of them are from the reference's.
        apart: f64,
    },
    /// All of them.
    All(Why),
}

/// Why a window is compared with all of a reference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Why {
    /// It has no rows.
    NoRows,
    /// It has all seasons that the reference has.
    Everything,
    /// A season of it came in fewer weeks or years of the reference than it takes.
    TooSeldom {
        /// Which.
        season: u16,
        /// In how many it came.
        occasions: usize,
    },
    /// The reference has fewer rows of its seasons than it takes.
    TooFew {
        /// How many.
        rows: u64,
    },
    /// Its rows are not spread over its seasons as the reference's are.
    OtherMix {
        /// How far, as total variation.
        apart: f64,
    },
}

impl<T> Reference<T> {
    /// Which rows of the reference were used, and why, as a sentence.
    pub fn words(&self) -> String {
        let (cycle, rows) = (self.cycle, self.rows);
        let why = match &self.chosen {
            Chosen::SameSeasons { seasons, .. } => {
                let (same, said) = (cycle.seasons(), spans(cycle, seasons));
                return format!(
                    "compared with the reference's rows of the same {same} ({said}: {rows} rows)"
                );
            }
            Chosen::All(Why::NoRows) => "the window has none".to_owned(),
            Chosen::All(Why::Everything) => {
                format!("the window has all of its {}", cycle.seasons())
            }
            Chosen::All(Why::TooSeldom { season, occasions }) => format!(
                "it has {} in {occasions} {}, and takes {}",
                cycle.name(*season),
                cycle.occasions(),
                cycle.least_occasions()
            ),
            Chosen::All(Why::TooFew { rows }) => {
                format!("it has only {rows} of the same {}", cycle.seasons())
            }
            Chosen::All(Why::OtherMix { apart }) => format!(
                "{} of the window's would have to lie in other {} for both to be spread alike",
                percent(*apart),
                cycle.seasons()
            ),
        };
        format!("compared with all {rows} rows of the reference: {why}")
    }
}

/// Seasons as people say them, those that follow each other as one.
pub(super) fn spans(cycle: Cycle, seasons: &[u16]) -> String {
    let runs = seasons.chunk_by(|one, next| one + 1 == *next);
    let run = |run: &[u16]| match (run, cycle) {
        ([one], Cycle::MonthOfYear) => cycle.name(*one),
        ([first, .., last], Cycle::MonthOfYear) => {
            format!("{} to {}", cycle.name(*first), cycle.name(*last))
        }
        ([first, ..], Cycle::HourOfWeek) => {
            let end = (run[run.len() - 1] + 1) % 168;
            format!("{} to {}", cycle.name(*first), cycle.name(end))
        }
        ([], _) => String::new(),
    };
    let said: Vec<String> = runs.map(run).collect();
    let more = said.len().saturating_sub(3);
    if more > 0 {
        format!("{} and {more} more", said[..3].join(", "))
    } else {
        said.join(", ")
    }
}
