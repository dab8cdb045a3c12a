//! Which rows of a reference a window is compared with: a Saturday with Saturdays, where the reference has seen enough of them.
//!
//! What is seasonal is compared with rows of its own season: columns of numbers, and of names where these are few. What else
//! there is is compared with all rows, and so are new names and ranges: what the reference has ever had is nothing new.

use std::collections::{BTreeMap, BTreeSet};

use windlass_api::agent::{TimePart, Times};
use windlass_statistics::cells::Merge;
use windlass_statistics::drift::season::{Chosen, Counted, Cycle, Rule, Seasons, Shares};

use super::parts::Parted;
use super::results::Judged;
use super::sides::{Side, SideColumn};
use super::verdict::shortened;

/// How many columns are named.
const NAMED: usize = 3;
const SECOND: i64 = 1_000_000;

/// When a window was, in seconds since 1970, and how long it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its start.
    pub start: i64,
    /// Its length.
    pub length: i64,
}

impl Span {
    /// Of a window: as long as was said, or from its first row to its last.
    pub fn of(judged: &Judged, window: &Side) -> Option<Self> {
        let said = judged.start.zip(judged.end);
        let said = said.map(|(start, end)| (start.as_microsecond(), end.as_microsecond()));
        let rows = || window.times.as_ref().map(|times| (times.first, times.last));
        let (start, end) = said.or_else(rows)?;
        Some(Self {
            start: start.div_euclid(SECOND),
            length: (end - start).div_euclid(SECOND).max(1),
        })
    }
}

/// What a window is compared with.
pub struct Season {
    /// The rows of its season, where they do; columns that are not counted by time are as in the whole.
    same: Option<Same>,
    /// What tells seasons apart.
    pub cycle: Cycle,
    /// Which rows these are and why, as a sentence.
    pub words: String,
}

struct Same {
    side: Side,
    /// Columns that are of the season.
    columns: BTreeSet<String>,
}

/// Parts of the time, by their places among all.
#[derive(Clone)]
struct Places(Vec<usize>);

impl Merge for Places {
    fn merge(&mut self, other: &Self) {
        self.0.extend(&other.0);
    }
}

impl Season {
    /// Of a window; absent where it is not known when its rows were.
    pub fn of(reference: &Side, window: &Side, span: Option<Span>) -> Option<Self> {
        let (of_window, span) = (window.times.as_ref()?, span?);
        let cycle = Cycle::of_window(span.length);
        let Some(times) = &reference.times else {
            let rows = reference.rows;
            return Some(Self {
                same: None,
                cycle,
                words: format!(
                    "compared with all {rows} rows of the reference, which does not say when they were"
                ),
            });
        };
        let shares = parts(of_window, cycle).1;
        let shares = shares.iter().map(|part| (season(part), part.1));
        let (before, counted) = parts(times, cycle);
        let counted = counted.iter().enumerate().map(|(place, part)| Counted {
            season: season(part),
            rows: part.1,
            occasions: part.2.iter().copied().collect(),
            what: Places(vec![before + place]),
        });
        let seasons = Seasons::of_parts(cycle, counted);
        let found = seasons.reference(&Shares::of(shares), Rule::default())?;
        let mut words = found.words();
        let same = match found.chosen {
            Chosen::All(_) => None,
            Chosen::SameSeasons { .. } => {
                let same = Same::of(reference, &found.what.0, found.rows);
                words.push_str(&same.others());
                Some(same)
            }
        };
        Some(Self { same, cycle, words })
    }

    /// The rows that the window is compared with.
    pub fn side<'a>(&'a self, whole: &'a Side) -> &'a Side {
        self.same.as_ref().map_or(whole, |same| &same.side)
    }

    /// Whether these are of its season alone.
    pub fn is_own(&self) -> bool {
        self.same.is_some()
    }

    /// A column of its season, and how many rows that has; absent where it is compared with all rows.
    pub fn column(&self, name: &str) -> Option<(&SideColumn, u64)> {
        let same = self.same.as_ref()?;
        let is_of_it = same.columns.contains(name);
        Some((same.side.column(name).filter(|_| is_of_it)?, same.side.rows))
    }
}

impl Same {
    fn of(reference: &Side, which: &[usize], rows: u64) -> Self {
        let mut columns = BTreeSet::new();
        let of_season = |column: &SideColumn| match Parted::of(column) {
            Some(parted) => {
                columns.insert(column.name.clone());
                parted.only(which)
            }
            None => column.clone(),
        };
        let side = Side {
            rows,
            columns: reference.columns.iter().map(of_season).collect(),
            ..Side::default()
        };
        Self { side, columns }
    }

    /// Which columns are compared with all rows all the same.
    fn others(&self) -> String {
        let all = self.side.columns.iter().map(|column| column.name.as_str());
        let others: Vec<&str> = all.filter(|name| !self.columns.contains(*name)).collect();
        if others.is_empty() {
            return String::new();
        }
        let named: Vec<String> = others
            .iter()
            .take(NAMED)
            .map(|name| shortened(name))
            .collect();
        let more = match others.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!(
            "; with all of its rows, {}{more}: texts, vectors, and columns of many names are not counted by season",
            named.join(", ")
        )
    }
}

/// The parts of a cycle, and how many others there are before them.
fn parts(times: &Times, cycle: Cycle) -> (usize, &[TimePart]) {
    match cycle {
        Cycle::HourOfWeek => (0, &times.hours),
        Cycle::MonthOfYear => (times.hours.len(), &times.months),
    }
}

fn season(part: &TimePart) -> u16 {
    u16::try_from(part.0).expect("a profile is looked at when it is read")
}

/// Stretches of a reference's time by their season: those that are compared with each other.
pub fn alike(times: &Times, cycle: Option<Cycle>) -> BTreeMap<i64, i64> {
    let key = |place: i64| {
        let hour = place * times.stretch_hours;
        match cycle {
            None => 0,
            // Stretches of a day or less divide a week: those that begin at one hour of it are of the same hours.
            Some(Cycle::HourOfWeek) => hour.rem_euclid(168),
            Some(cycle) => {
                let middle = (hour + times.stretch_hours / 2).saturating_mul(3600);
                i64::from(cycle.season(middle, 0))
            }
        }
    };
    let places = times.stretches.iter().map(|part| part.0);
    places.map(|place| (place, key(place))).collect()
}

#[cfg(test)]
mod tests;
