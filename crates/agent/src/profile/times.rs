//! What is counted of a data set by its time: what a window is compared with may be of one season alone, and how far stretches of
//! a reference lie from each other tells what a window's distance is worth.
//!
//! ```text
//!   rows ──by the hour that they are in──┬──> hours of the week ──┐
//!                                        ├──> months of the year ─┼──> Parts: of each column, a small summary
//!                                        └──> stretches ──────────┘
//! ```
//!
//! Stretches are an hour long, or as much longer as it takes for there to be few of them. All times are in UTC: what people's
//! clocks show is not known here.

mod values;

use std::collections::BTreeMap;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take;
use serde::{Deserialize, Serialize};
use windlass_statistics::cells::Merge;
use windlass_statistics::drift::season::{Cycle, Seasons};
use windlass_statistics::mean::Mean;
use windlass_statistics::ranks::Ranks;

use super::column::Kind;
use values::{Run, Values};

/// How many stretches there are at most.
pub const MOST_STRETCHES: usize = 200;
/// How many names a category may have in one part: with more of them, it is not counted by time.
pub const MOST_NAMES: usize = 64;
/// How many numbers are taken into a summary at once.
const PENDING: usize = 256;

const HOUR: i64 = 3600;
const MICROSECONDS: i64 = 1_000_000;

/// Rows by time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ByTime {
    /// In how many cells numbers are counted in each part; with none, rows alone are.
    cells: usize,
    /// The times of the first row and of the last, in microseconds since 1970.
    span: Option<(i64, i64)>,
    hours: Seasons<Parts>,
    months: Seasons<Parts>,
    stretches: Stretches,
}

/// What was counted of each column in a part of the time; of none, where rows alone are counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Parts(Vec<Part>);

/// What was counted of a column in a part of the time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Part {
    /// Of what is not counted by time.
    Nothing,
    /// Of a number.
    Number(Box<Numbers>),
    /// Of a category.
    Category(Names),
}

/// Numbers in a part of the time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Numbers {
    ranks: Ranks,
    /// Those that are not in it yet.
    pending: Vec<f64>,
    /// Their mean and spread.
    pub mean: Mean,
    /// Rows without a value.
    pub nulls: u64,
}

/// Names in a part of the time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Names {
    /// Rows of each.
    pub levels: BTreeMap<String, u64>,
    /// Rows without one.
    pub nulls: u64,
    /// Whether there were too many to be counted.
    pub too_many: bool,
}

/// Stretches of time, of so many hours each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Stretches {
    hours: i64,
    parts: BTreeMap<i64, Stretch>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Stretch {
    rows: u64,
    what: Parts,
}

/// A part of the time, as it was counted.
#[derive(Clone, Debug, PartialEq)]
pub struct Counted<'a> {
    /// Which.
    pub place: i64,
    /// Its rows.
    pub rows: u64,
    /// The first weeks, or years, that it came in; of a stretch, none.
    pub occasions: Vec<i64>,
    /// What was counted of the columns.
    what: &'a Parts,
}

impl Counted<'_> {
    /// What was counted of a column, by its place among them.
    pub fn column(&self, place: usize) -> &Part {
        self.what.0.get(place).unwrap_or(&Part::Nothing)
    }
}

impl ByTime {
    /// Nothing counted; of columns, in so many cells, or not at all with none.
    pub fn new(cells: usize) -> Self {
        Self {
            cells,
            span: None,
            hours: Seasons::new(Cycle::HourOfWeek),
            months: Seasons::new(Cycle::MonthOfYear),
            stretches: Stretches {
                hours: 1,
                parts: BTreeMap::new(),
            },
        }
    }

    /// Takes rows: their times, in microseconds since 1970, and what they have in each column, which may be not there. A row
    /// without a time is of no part.
    ///
    /// # Errors
    /// Why values cannot be counted.
    pub fn add(
        &mut self,
        times: &[Option<i64>],
        columns: &[(Kind, Option<&ArrayRef>)],
    ) -> Result<(), String> {
        let rows = times.iter().zip(0_u32..);
        let mut order: Vec<(i64, u32)> = rows
            .filter_map(|(time, row)| Some((time.as_ref()?.div_euclid(HOUR * MICROSECONDS), row)))
            .collect();
        if order.is_empty() {
            return Ok(());
        }
        for time in times.iter().flatten() {
            let (first, last) = self.span.unwrap_or((*time, *time));
            self.span = Some((first.min(*time), last.max(*time)));
        }
        order.sort_by_key(|(hour, _)| *hour);
        let in_order = UInt32Array::from_iter_values(order.iter().map(|(_, row)| *row));
        let columns = columns.iter().filter(|_| self.cells > 0);
        let of_rows = columns.map(|(kind, values)| match values {
            Some(values) => {
                let values =
                    take(values, &in_order, None).map_err(|problem| problem.to_string())?;
                Values::new(*kind, &values)
            }
            None => Ok(Values::none(*kind)),
        });
        let of_rows: Vec<Values> = of_rows.collect::<Result<_, String>>()?;
        let mut from = 0;
        for run in order.chunk_by(|one, next| one.0 == next.0) {
            let some = of_rows.iter();
            let some: Vec<Run<'_>> = some.map(|of| of.run(from, run.len())).collect();
            self.take(run[0].0, run.len() as u64, &some);
            from += run.len();
        }
        Ok(())
    }

    /// Rows of one hour since 1970.
    fn take(&mut self, hour: i64, rows: u64, columns: &[Run<'_>]) {
        let (time, cells) = (hour.saturating_mul(HOUR), self.cells);
        let mut parts = [
            self.hours.at_hour(time, 0, rows, Parts::default),
            self.months.at_hour(time, 0, rows, Parts::default),
            self.stretches.at_hour(hour, rows),
        ];
        for part in &mut parts {
            part.add(columns, cells);
        }
        self.stretches.shrink();
    }

    /// Takes what was counted of other rows.
    pub fn merge(&mut self, other: &Self) {
        if let Some((first, last)) = other.span {
            let (mine, own) = self.span.unwrap_or((first, last));
            self.span = Some((mine.min(first), own.max(last)));
        }
        self.hours.merge(&other.hours);
        self.months.merge(&other.months);
        self.stretches.merge(&other.stretches);
    }

    /// Takes what was counted of other columns of the same rows.
    pub fn append(&mut self, other: Self) {
        self.hours.zip(other.hours, Parts::append);
        self.months.zip(other.months, Parts::append);
        for (place, stretch) in other.stretches.parts {
            if let Some(mine) = self.stretches.parts.get_mut(&place) {
                mine.what.append(stretch.what);
            }
        }
    }

    /// The times of the first row and of the last, in microseconds since 1970; absent without rows.
    pub fn span(&self) -> Option<(i64, i64)> {
        self.span
    }

    /// Hours of the week that have rows, from Monday 00:00 on.
    pub fn hours(&self) -> Vec<Counted<'_>> {
        of_seasons(&self.hours)
    }

    /// Months that have rows, from January on.
    pub fn months(&self) -> Vec<Counted<'_>> {
        of_seasons(&self.months)
    }

    /// How many hours a stretch has, and those that have rows.
    pub fn stretches(&self) -> (i64, Vec<Counted<'_>>) {
        let parts = self.stretches.parts.iter();
        let parts = parts.map(|(place, stretch)| Counted {
            place: *place,
            rows: stretch.rows,
            occasions: Vec::new(),
            what: &stretch.what,
        });
        (self.stretches.hours, parts.collect())
    }
}

fn of_seasons(seasons: &Seasons<Parts>) -> Vec<Counted<'_>> {
    let counted = seasons.parts().map(|part| Counted {
        place: i64::from(part.season),
        rows: part.rows,
        occasions: part.occasions.into_iter().collect(),
        what: part.what,
    });
    counted.collect()
}

impl Merge for Parts {
    fn merge(&mut self, other: &Self) {
        if self.0.is_empty() {
            self.0.clone_from(&other.0);
            return;
        }
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            mine.merge(theirs);
        }
    }
}

impl Parts {
    fn add(&mut self, columns: &[Run<'_>], cells: usize) {
        if self.0.is_empty() {
            self.0.extend(columns.iter().map(|of| of.part(cells)));
        }
        for (part, some) in self.0.iter_mut().zip(columns) {
            part.add(some);
        }
    }

    fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }
}

impl Part {
    fn add(&mut self, some: &Run<'_>) {
        match (self, some) {
            (Self::Number(mine), Run::Numbers { there, nulls }) => mine.add(there, *nulls),
            (Self::Category(mine), Run::Names { rows, nulls }) => {
                mine.nulls += nulls;
                for (name, rows) in rows {
                    mine.add(name, *rows);
                }
            }
            (Self::Nothing | Self::Number(_) | Self::Category(_), _) => {}
        }
    }

    fn merge(&mut self, other: &Self) {
        match (self, other) {
            (Self::Number(mine), Self::Number(theirs)) => mine.merge(theirs),
            (Self::Category(mine), Self::Category(theirs)) => mine.merge(theirs),
            (Self::Nothing | Self::Number(_) | Self::Category(_), _) => {}
        }
    }
}

impl Numbers {
    fn new(cells: usize) -> Self {
        Self {
            ranks: Ranks::new(cells),
            pending: Vec::new(),
            mean: Mean::default(),
            nulls: 0,
        }
    }

    fn add(&mut self, there: &[f64], nulls: u64) {
        self.nulls += nulls;
        let mean = Mean::of(there);
        // Of numbers near the end of what there are, neither may be one: these count by rank alone.
        if mean.value().is_some_and(f64::is_finite) && mean.standard_deviation().is_finite() {
            self.mean.merge(&mean);
        }
        self.pending.extend_from_slice(there);
        if self.pending.len() >= PENDING {
            self.settle();
        }
    }

    fn settle(&mut self) {
        self.ranks.add(&self.pending);
        self.ranks.rest();
        self.pending = Vec::new();
    }

    fn merge(&mut self, other: &Self) {
        self.settle();
        let mut other = other.clone();
        other.settle();
        self.ranks.merge([&other.ranks]);
        self.mean.merge(&other.mean);
        self.nulls += other.nulls;
    }

    /// All of them by rank.
    pub fn ranks(&self) -> Ranks {
        let mut all = self.clone();
        all.settle();
        all.ranks
    }
}

impl Names {
    fn add(&mut self, name: &str, rows: u64) {
        if self.too_many {
            return;
        }
        match self.levels.get_mut(name) {
            Some(count) => *count += rows,
            None => drop(self.levels.insert(name.to_owned(), rows)),
        }
        if self.levels.len() > MOST_NAMES {
            self.give_up();
        }
    }

    fn merge(&mut self, other: &Self) {
        self.nulls += other.nulls;
        if other.too_many {
            self.give_up();
        }
        for (name, rows) in &other.levels {
            self.add(name, *rows);
        }
    }

    fn give_up(&mut self) {
        self.too_many = true;
        self.levels = BTreeMap::new();
    }
}

/// The next longer stretches: each begins where one of the shorter does, and up to a week they divide it.
fn longer(hours: i64) -> i64 {
    match hours {
        1 => 3,
        3 => 6,
        6 => 12,
        12 => 24,
        24 => 168,
        hours => hours.saturating_mul(4),
    }
}

impl Stretches {
    fn at_hour(&mut self, hour: i64, rows: u64) -> &mut Parts {
        let place = hour.div_euclid(self.hours);
        let stretch = self.parts.entry(place).or_default();
        stretch.rows += rows;
        &mut stretch.what
    }

    /// However they were counted, they are as long as it takes for all of them.
    fn merge(&mut self, other: &Self) {
        let mut other = other.clone();
        while self.hours < other.hours {
            self.lengthen();
        }
        while other.hours < self.hours {
            other.lengthen();
        }
        for (place, stretch) in other.parts {
            self.put(place, stretch);
        }
        self.shrink();
    }

    fn put(&mut self, place: i64, stretch: Stretch) {
        match self.parts.get_mut(&place) {
            Some(mine) => {
                mine.rows += stretch.rows;
                mine.what.merge(&stretch.what);
            }
            None => drop(self.parts.insert(place, stretch)),
        }
    }

    fn shrink(&mut self) {
        while self.parts.len() > MOST_STRETCHES {
            self.lengthen();
        }
    }

    fn lengthen(&mut self) {
        let before = self.hours;
        self.hours = longer(before);
        for (place, stretch) in std::mem::take(&mut self.parts) {
            let place = place.saturating_mul(before).div_euclid(self.hours);
            self.put(place, stretch);
        }
    }
}

#[cfg(test)]
mod tests;
