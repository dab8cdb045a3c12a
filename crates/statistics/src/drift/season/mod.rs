//! Seasons: a Monday morning against Monday mornings, a December against Decembers.
//!
//! What a window is compared with is, where the reference is long enough, what the reference has of the same seasons alone:
//! hours of the week, or months. Else the evening differs from the whole day's mean every evening, and is no drift. Where the
//! reference has too little of a season, the whole of it is better than little: then it is said so.
//!
//! Times are seconds since 1970 in UTC, each with the offset that local time had then, which the caller gives: people's week
//! follows the clock on the wall.

mod calendar;
mod chosen;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::cells::Merge;
use crate::float;

use calendar::{Local, MONTHS, WEEKDAYS};
pub use chosen::{Chosen, Reference, Why};

/// What comes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cycle {
    /// The 168 hours of a week, from Monday 00:00.
    HourOfWeek,
    /// The 12 months of a year.
    MonthOfYear,
}

/// How many weeks or years a season is remembered to have come in: no more are asked for.
const REMEMBERED: usize = 8;
/// Windows of at least so many seconds, three days, have a week's hours in them, more or less.
const LONG: i64 = 3 * 86_400;

impl Cycle {
    /// What tells windows of such a length apart, in seconds: hours of the week where they are shorter than three days, else
    /// months.
    pub fn of_window(seconds: i64) -> Self {
        if seconds < LONG {
            Self::HourOfWeek
        } else {
            Self::MonthOfYear
        }
    }

    /// In how many weeks, or years, a season has to have come at least: what comes once cannot be told from what happened
    /// then.
    pub const fn least_occasions(self) -> usize {
        match self {
            Self::HourOfWeek => 4,
            Self::MonthOfYear => 2,
        }
    }

    /// The season that a time is in, from 0.
    pub fn season(self, time: i64, offset: i32) -> u16 {
        self.place(time, offset).0
    }

    /// The season that a time is in, from 0, and which week or year it is of.
    fn place(self, time: i64, offset: i32) -> (u16, i64) {
        let local = Local::of(time, offset);
        match self {
            Self::HourOfWeek => (local.hour_of_week(), local.week()),
            Self::MonthOfYear => (local.month() - 1, local.year()),
        }
    }

    /// A season's name: "Monday 09:00", "March".
    pub fn name(self, season: u16) -> String {
        match self {
            Self::HourOfWeek => {
                let day = WEEKDAYS[usize::from(season / 24) % 7];
                format!("{day} {:02}:00", season % 24)
            }
            Self::MonthOfYear => MONTHS[usize::from(season) % 12].to_owned(),
        }
    }

    const fn occasions(self) -> &'static str {
        match self {
            Self::HourOfWeek => "weeks",
            Self::MonthOfYear => "years",
        }
    }

    const fn seasons(self) -> &'static str {
        match self {
            Self::HourOfWeek => "hours of the week",
            Self::MonthOfYear => "months",
        }
    }
}

/// What was counted of a season.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted<T> {
    /// Which, from 0.
    pub season: u16,
    /// Its rows.
    pub rows: u64,
    /// The weeks or years that it came in: the first few.
    pub occasions: BTreeSet<i64>,
    /// What its rows add up to.
    pub what: T,
}

/// What rows add up to, by season.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seasons<T> {
    cycle: Cycle,
    parts: BTreeMap<u16, Part<T>>,
}

/// Of one season.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part<T> {
    rows: u64,
    /// The weeks or years that it came in: the first few.
    occasions: BTreeSet<i64>,
    what: T,
}

impl<T: Merge> Merge for Part<T> {
    fn merge(&mut self, other: &Self) {
        self.rows += other.rows;
        self.occasions.extend(&other.occasions);
        while self.occasions.len() > REMEMBERED {
            self.occasions.pop_last();
        }
        self.what.merge(&other.what);
    }
}

impl<T: Merge + Clone> Seasons<T> {
    /// Nothing seen.
    pub fn new(cycle: Cycle) -> Self {
        Self {
            cycle,
            parts: BTreeMap::new(),
        }
    }

    /// Of parts that were counted before.
    pub fn of_parts(cycle: Cycle, parts: impl IntoIterator<Item = Counted<T>>) -> Self {
        let mut all = Self::new(cycle);
        for Counted {
            season,
            rows,
            occasions,
            what,
        } in parts
        {
            let part = Part {
                rows,
                occasions,
                what,
            };
            all.put(season, part);
        }
        all
    }

    /// What was counted of each season that has rows, in their order.
    pub fn parts(&self) -> impl Iterator<Item = Counted<&T>> {
        self.parts.iter().map(|(season, part)| Counted {
            season: *season,
            rows: part.rows,
            occasions: part.occasions.clone(),
            what: &part.what,
        })
    }

    /// Takes what was counted of other columns of the same rows: of each season, what both have.
    pub fn zip(&mut self, other: Self, mut with: impl FnMut(&mut T, T)) {
        for (season, part) in other.parts {
            match self.parts.get_mut(&season) {
                Some(mine) => with(&mut mine.what, part.what),
                None => drop(self.parts.insert(season, part)),
            }
        }
    }

    /// Takes one more row: what it adds, at a time in seconds since 1970 in UTC, where local time was so many seconds ahead.
    pub fn add(&mut self, time: i64, offset: i32, what: T) {
        let (season, occasion) = self.cycle.place(time, offset);
        let part = Part {
            rows: 1,
            occasions: BTreeSet::from([occasion]),
            what,
        };
        self.put(season, part);
    }

    /// What a row of a time adds to, made where there is none yet: for tables that take rows one by one.
    pub fn at(&mut self, time: i64, offset: i32, new: impl FnOnce() -> T) -> &mut T {
        self.at_hour(time, offset, 1, new)
    }

    /// The same of so many rows, all within one hour.
    pub fn at_hour(
        &mut self,
        time: i64,
        offset: i32,
        rows: u64,
        new: impl FnOnce() -> T,
    ) -> &mut T {
        let (season, occasion) = self.cycle.place(time, offset);
        let part = self.parts.entry(season).or_insert_with(|| Part {
            rows: 0,
            occasions: BTreeSet::new(),
            what: new(),
        });
        part.rows += rows;
        part.occasions.insert(occasion);
        while part.occasions.len() > REMEMBERED {
            part.occasions.pop_last();
        }
        &mut part.what
    }

    /// Takes what was seen of other rows, of the same cycle.
    pub fn merge(&mut self, other: &Self) {
        for (season, part) in &other.parts {
            self.put(*season, part.clone());
        }
    }

    fn put(&mut self, season: u16, part: Part<T>) {
        match self.parts.get_mut(&season) {
            Some(mine) => mine.merge(&part),
            None => drop(self.parts.insert(season, part)),
        }
    }

    /// How many rows there are in all.
    pub fn rows(&self) -> u64 {
        self.parts.values().map(|part| part.rows).sum()
    }

    /// All of it, whatever the season; absent without rows.
    pub fn whole(&self) -> Option<T> {
        merged(self.parts.values())
    }

    /// Rows by season: of a window, what [`Seasons::reference`] asks for.
    pub fn shares(&self) -> Shares {
        Shares {
            rows: self
                .parts
                .iter()
                .map(|(season, part)| (*season, part.rows))
                .collect(),
        }
    }

    /// What a window is compared with, and why; absent without rows.
    pub fn reference(&self, window: &Shares, rule: Rule) -> Option<Reference<T>> {
        let chosen = self.choose(window, rule);
        let (what, rows) = match &chosen {
            Chosen::SameSeasons { seasons, .. } => {
                let parts = || seasons.iter().filter_map(|season| self.parts.get(season));
                (merged(parts())?, parts().map(|part| part.rows).sum())
            }
            Chosen::All(_) => (self.whole()?, self.rows()),
        };
        Some(Reference {
            cycle: self.cycle,
            chosen,
            rows,
            what,
        })
    }

    fn choose(&self, window: &Shares, rule: Rule) -> Chosen {
        let total = window.total();
        if total == 0 {
            return Chosen::All(Why::NoRows);
        }
        // A season of few of the window's rows may be missing: it is not compared by itself.
        let usual = float(total) / float(window.rows.len());
        let is_much = |rows: u64| float(rows) >= rule.least_share * usual;
        let much = window.rows.iter().filter(|(_, rows)| is_much(**rows));
        let seasons: Vec<u16> = much.map(|(season, _)| *season).collect();
        let has = |season: &u16| {
            self.parts
                .get(season)
                .map_or(0, |part| part.occasions.len())
        };
        let fewest = seasons.iter().min_by_key(|season| has(season));
        if let Some(season) = fewest.filter(|season| has(season) < self.cycle.least_occasions()) {
            return Chosen::All(Why::TooSeldom {
                season: *season,
                occasions: has(season),
            });
        }
        if self.parts.keys().all(|season| seasons.contains(season)) {
            return Chosen::All(Why::Everything);
        }
        let of = |season: &u16| self.parts.get(season).map_or(0, |part| part.rows);
        let rows: u64 = seasons.iter().map(of).sum();
        if rows < rule.least_rows {
            return Chosen::All(Why::TooFew { rows });
        }
        let covered: u64 = seasons.iter().map(|season| window.rows[season]).sum();
        let gap = |season: &u16| {
            let old = float(of(season)) / float(rows);
            let new = float(window.rows[season]) / float(covered);
            (new - old).abs() / 2.0
        };
        let apart: f64 = seasons.iter().map(gap).sum();
        if apart > rule.most_apart {
            return Chosen::All(Why::OtherMix { apart });
        }
        Chosen::SameSeasons { seasons, apart }
    }
}

fn merged<'a, T: Merge + Clone + 'a>(parts: impl IntoIterator<Item = &'a Part<T>>) -> Option<T> {
    let mut parts = parts.into_iter();
    let mut all = parts.next()?.what.clone();
    parts.for_each(|part| all.merge(&part.what));
    Some(all)
}

/// Rows of a window by season.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shares {
    rows: BTreeMap<u16, u64>,
}

impl Shares {
    /// Of seasons and their rows.
    pub fn of(rows: impl IntoIterator<Item = (u16, u64)>) -> Self {
        let mut shares = Self::default();
        for (season, rows) in rows {
            *shares.rows.entry(season).or_insert(0) += rows;
        }
        shares
    }

    /// Takes one more row.
    pub fn add(&mut self, cycle: Cycle, time: i64, offset: i32) {
        *self.rows.entry(cycle.place(time, offset).0).or_insert(0) += 1;
    }

    /// Takes those of another part.
    pub fn merge(&mut self, other: &Self) {
        for (season, rows) in &other.rows {
            *self.rows.entry(*season).or_insert(0) += rows;
        }
    }

    fn total(&self) -> u64 {
        self.rows.values().sum()
    }
}

/// When the same seasons of a reference are enough.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// The least rows of the reference, of all of the window's seasons together.
    pub least_rows: u64,
    /// Seasons of fewer of the window's rows are not asked for: this part of what its seasons have on average.
    pub least_share: f64,
    /// How far the window's shares of its seasons may be from the reference's, as total variation. Merged rows are as the
    /// reference has them: a window of another mix differs from it by its hours.
    pub most_apart: f64,
}

impl Default for Rule {
    fn default() -> Self {
        Self {
            least_rows: 500,
            least_share: 0.1,
            most_apart: 0.2,
        }
    }
}

#[cfg(test)]
mod tests;
