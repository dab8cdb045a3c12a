//! Rows that belong together: a sample of whole units, by a hash of their names, so that it is the same in whatever parts the
//! rows come.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::{can_cast_types, cast};
use arrow::datatypes::{DataType, Float64Type};
use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;
use windlass_statistics::drift::column::Worth;
use windlass_statistics::drift::units::{DesignEffect, UnitMeans, Units};

use super::column::name;

/// A sample of units with all of their rows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UnitSample {
    /// How many rows are kept ([`super::room`]).
    room: usize,
    /// Hashes up to this are kept: half as many each time there are too many rows.
    most: u64,
    /// Rows that have a unit, in the sample or not.
    rows: u64,
    /// The unit of each row.
    units: Vec<u64>,
    /// Of each column, the bits of a number or the hash of a name, row by row.
    columns: Vec<Vec<u64>>,
}

/// What is kept of a column's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Numbers.
    Number,
    /// Names.
    Name,
    /// Whether there is one.
    Presence,
}

/// Fewer units of a sample say nothing of the others.
const LEAST_UNITS: usize = 30;

#[allow(clippy::cast_precision_loss)] // a count of rows
fn count(rows: u64) -> f64 {
    rows.max(1) as f64
}

/// Stands for no value.
const NONE: u64 = f64::NAN.to_bits();

/// The hash of a name; never that of none.
pub fn hash(name: &str) -> u64 {
    let hash = XxHash3_64::oneshot(name.as_bytes());
    if hash == NONE { hash + 1 } else { hash }
}

impl UnitSample {
    /// Of so many columns, and so many rows at most.
    pub fn new(columns: usize, room: usize) -> Self {
        Self {
            room,
            most: u64::MAX,
            rows: 0,
            units: Vec::new(),
            columns: vec![Vec::new(); columns],
        }
    }

    /// Takes rows. Those without a unit are of none, and left out. Columns may be not there.
    ///
    /// # Errors
    /// That units or names have no text.
    pub fn add(
        &mut self,
        units: &ArrayRef,
        columns: &[(Option<&ArrayRef>, Kept)],
    ) -> Result<(), String> {
        let texts = cast(units, &DataType::Utf8).map_err(|problem| problem.to_string())?;
        self.rows += (texts.len() - texts.null_count()) as u64;
        let hashes = texts.as_string::<i32>().iter().map(|text| text.map(hash));
        let kept: Vec<(usize, u64)> = hashes
            .enumerate()
            .filter_map(|(row, hash)| Some((row, hash.filter(|hash| *hash <= self.most)?)))
            .collect();
        if kept.is_empty() {
            return Ok(());
        }
        self.units.extend(kept.iter().map(|(_, unit)| *unit));
        for ((values, what), to) in columns.iter().zip(&mut self.columns) {
            match values {
                Some(values) => to.extend(bits(values, *what, &kept)?),
                None => to.extend(kept.iter().map(|_| NONE)),
            }
        }
        self.shrink();
        Ok(())
    }

    /// Takes what another has of other rows.
    pub fn merge(&mut self, other: &Self) {
        self.most = self.most.min(other.most);
        self.rows += other.rows;
        self.units.extend(&other.units);
        for (mine, theirs) in self.columns.iter_mut().zip(&other.columns) {
            mine.extend(theirs);
        }
        self.drop_beyond();
        self.shrink();
    }

    /// Takes other columns of the same rows: of as many rows as either has.
    pub fn append(&mut self, mut other: Self) {
        self.most = self.most.min(other.most);
        other.most = self.most;
        self.drop_beyond();
        other.drop_beyond();
        self.columns.append(&mut other.columns);
    }

    fn shrink(&mut self) {
        while self.units.len() > self.room && self.most > 0 {
            self.most /= 2;
            self.drop_beyond();
        }
    }

    fn drop_beyond(&mut self) {
        let most = self.most;
        let is_kept: Vec<bool> = self.units.iter().map(|unit| *unit <= most).collect();
        for column in self.columns.iter_mut().chain([&mut self.units]) {
            let mut kept = is_kept.iter();
            column.retain(|_| *kept.next().expect("one for each row"));
        }
    }

    /// What rows of a number are worth: by bins, with rows without a value in the last; deviations for its mean are by `centre`
    /// and `deviation`.
    pub fn of_number(&self, column: usize, edges: &[f64], centre: f64, deviation: f64) -> Worth {
        let number = |bits: u64| Some(f64::from_bits(bits)).filter(|number| number.is_finite());
        let bin = |bits: u64| {
            number(bits).map_or(edges.len() + 1, |number| {
                windlass_statistics::bins::bin(edges, number)
            })
        };
        let shares = self.shares(column, Units::of_bins(edges.len() + 2), bin);
        let mut means = UnitMeans::default();
        for rows in self.by_unit() {
            let values = rows
                .iter()
                .filter_map(|row| number(self.columns[column][*row]))
                .map(|number| (number - centre) / deviation)
                .filter(|number| number.is_finite());
            let (mut count, mut sum, mut squares) = (0, 0.0, 0.0);
            for value in values {
                count += 1;
                sum += value;
                squares += value * value;
            }
            means.add(count, sum, squares);
        }
        let mean = if self.is_too_small() {
            count(self.rows)
        } else {
            means.design_effect()
        };
        Worth { shares, mean }
    }

    /// What rows of a category are worth: by the levels that are kept, all others, and none.
    pub fn of_category<'a>(
        &self,
        column: usize,
        kept: impl ExactSizeIterator<Item = &'a str>,
    ) -> DesignEffect {
        let count = kept.len();
        let places: BTreeMap<u64, usize> = kept
            .enumerate()
            .map(|(place, level)| (hash(level), place))
            .collect();
        let cell = |bits: u64| match bits {
            NONE => count + 1,
            level => places.get(&level).copied().unwrap_or(count),
        };
        self.shares(column, Units::of_levels(count + 2), cell)
    }

    /// What rows are worth for the share of them without a value.
    pub fn of_presence(&self, column: usize) -> DesignEffect {
        let cell = |bits: u64| usize::from(bits == NONE);
        self.shares(column, Units::of_levels(2), cell)
    }

    /// Whether units are so large that hardly one is in the sample: nothing is known of what their rows are worth.
    fn is_too_small(&self) -> bool {
        self.most < u64::MAX && self.by_unit().len() < LEAST_UNITS
    }

    fn shares(&self, column: usize, mut units: Units, cell: impl Fn(u64) -> usize) -> DesignEffect {
        if self.is_too_small() {
            let all = count(self.rows);
            return DesignEffect {
                units: 0,
                of_shares: all,
                unevenness: 0.0,
                of_cumulated: all,
            };
        }
        let values = &self.columns[column];
        for rows in self.by_unit() {
            let mut cells: BTreeMap<usize, u64> = BTreeMap::new();
            for row in rows {
                *cells.entry(cell(values[row])).or_default() += 1;
            }
            let cells: Vec<(usize, u64)> = cells.into_iter().collect();
            units.add(&cells);
        }
        units.design_effect()
    }

    /// The rows of each unit.
    fn by_unit(&self) -> Vec<Vec<usize>> {
        let mut rows: Vec<usize> = (0..self.units.len()).collect();
        rows.sort_by_key(|row| self.units[*row]);
        rows.chunk_by(|one, next| self.units[*one] == self.units[*next])
            .map(<[usize]>::to_vec)
            .collect()
    }
}

fn bits(values: &ArrayRef, what: Kept, rows: &[(usize, u64)]) -> Result<Vec<u64>, String> {
    let problem = |problem: arrow::error::ArrowError| problem.to_string();
    let wanted = match what {
        Kept::Number => DataType::Float64,
        Kept::Name => DataType::Utf8,
        Kept::Presence => {
            let nulls = values.logical_nulls();
            let is_null = |row| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
            let of = |(row, _): &(usize, u64)| if is_null(*row) { NONE } else { 0 };
            return Ok(rows.iter().map(of).collect());
        }
    };
    // What the column itself has as another type is no value here.
    if !can_cast_types(values.data_type(), &wanted) {
        return Ok(vec![NONE; rows.len()]);
    }
    if what == Kept::Name {
        let texts = cast(values, &DataType::Utf8).map_err(problem)?;
        let texts = texts.as_string::<i32>();
        let of = |(row, _): &(usize, u64)| {
            if texts.is_null(*row) {
                NONE
            } else {
                hash(&name(texts.value(*row)))
            }
        };
        return Ok(rows.iter().map(of).collect());
    }
    let numbers = cast(values, &DataType::Float64).map_err(problem)?;
    let numbers = numbers.as_primitive::<Float64Type>();
    let of = |(row, _): &(usize, u64)| {
        if numbers.is_null(*row) {
            NONE
        } else {
            numbers.value(*row).to_bits()
        }
    };
    Ok(rows.iter().map(of).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, StringArray};

    use super::*;

    /// Users with twenty rows each, which are all the same.
    fn users(from: u32, to: u32) -> (ArrayRef, ArrayRef, ArrayRef) {
        let rows = (from..to).flat_map(|user| std::iter::repeat_n(user, 20));
        let users: Vec<u32> = rows.collect();
        (
            Arc::new(StringArray::from_iter_values(
                users.iter().map(|user| format!("u{user}")),
            )),
            Arc::new(Float64Array::from_iter_values(
                users.iter().map(|user| f64::from(user * 7919 % 1000)),
            )),
            Arc::new(StringArray::from_iter_values(
                users
                    .iter()
                    .map(|user| if user % 3 == 0 { "a" } else { "b" }),
            )),
        )
    }

    fn sample(parts: &[(u32, u32)]) -> UnitSample {
        let mut all: Option<UnitSample> = None;
        for (from, to) in parts {
            let (unit, number, name) = users(*from, *to);
            let mut one = UnitSample::new(2, 1_000_000);
            let columns = [(Some(&number), Kept::Number), (Some(&name), Kept::Name)];
            one.add(&unit, &columns).expect("texts");
            match &mut all {
                Some(all) => all.merge(&one),
                None => all = Some(one),
            }
        }
        all.expect("a part")
    }

    #[test]
    fn twenty_rows_of_a_user_who_is_always_the_same_are_worth_one() {
        let sample = sample(&[(0, 500)]);
        let worth = sample.of_number(0, &[250.0, 500.0, 750.0], 500.0, 288.0);
        for effect in [
            worth.shares.of_shares,
            worth.shares.of_cumulated,
            worth.mean,
        ] {
            assert!((effect - 20.0).abs() < 1.0, "{effect}");
        }
        let names = sample.of_category(1, ["a", "b"].into_iter());
        assert!(
            (names.of_shares - 20.0).abs() < 1.0 && names.units == 500,
            "{names:?}"
        );
    }

    #[test]
    fn a_sample_is_of_whole_units_and_the_same_in_whatever_parts_they_come() {
        // 60,000 users with 20 rows each are more than is kept.
        let at_once = sample(&[(0, 60_000)]);
        let parted = sample(&[(40_000, 60_000), (0, 25_000), (25_000, 40_000)]);
        assert!(at_once.units.len() < 1_000_000, "{}", at_once.units.len());
        assert!(at_once.by_unit().iter().all(|rows| rows.len() == 20));
        let sorted = |sample: &UnitSample| {
            let mut units = sample.units.clone();
            units.sort_unstable();
            units
        };
        assert_eq!(sorted(&at_once), sorted(&parted));
        let of = |sample: &UnitSample| sample.of_number(0, &[500.0], 500.0, 288.0).shares;
        assert_eq!(of(&at_once), of(&parted));
    }

    /// Three devices of 800,000 rows: the sample has none of them, or one.
    #[test]
    fn of_units_that_are_too_large_to_be_kept_nothing_is_known() {
        let mut sample = UnitSample::new(2, 1_000_000);
        for device in 0..3 {
            let rows = 800_000;
            let unit: ArrayRef = Arc::new(StringArray::from(vec![["a", "b", "c"][device]; rows]));
            let number: ArrayRef =
                Arc::new(Float64Array::from_iter_values((0..800_000).map(f64::from)));
            let columns = [(Some(&number), Kept::Number); 2];
            sample.add(&unit, &columns).expect("texts");
        }
        let worth = sample.of_number(0, &[4e5], 4e5, 2e5);
        assert!(worth.shares.of_shares > 1e6, "{worth:?}");
    }

    #[test]
    fn rows_of_a_user_who_never_writes_are_worth_one_and_long_names_are_their_own_levels() {
        let rows = 6000;
        let user = |row: usize| row / 20;
        let unit: ArrayRef = Arc::new(StringArray::from_iter_values(
            (0..rows).map(|row| format!("u{}", user(row))),
        ));
        let text = |row: usize| (!user(row).is_multiple_of(4)).then_some("a hat");
        let texts: ArrayRef = Arc::new((0..rows).map(text).collect::<StringArray>());
        let long = |row: usize| format!("{}{}", "x".repeat(5000), user(row) % 2);
        let names: ArrayRef = Arc::new(StringArray::from_iter_values((0..rows).map(long)));
        let mut sample = UnitSample::new(2, 100_000);
        let columns = [(Some(&texts), Kept::Presence), (Some(&names), Kept::Name)];
        sample.add(&unit, &columns).expect("texts");
        let effect = sample.of_presence(0).of_shares;
        assert!((effect - 20.0).abs() < 1.0, "{effect}");
        let levels = [long(0), long(20)].map(|long| name(&long).into_owned());
        let effect = sample.of_category(1, levels.iter().map(String::as_str));
        assert!((effect.of_shares - 20.0).abs() < 1.0, "{effect:?}");
    }

    #[test]
    fn rows_without_a_unit_are_left_out() {
        let unit: ArrayRef = Arc::new(StringArray::from(vec![None, Some("a"), None]));
        let number: ArrayRef = Arc::new(Float64Array::from(vec![1.0, 2.0, 3.0]));
        let mut sample = UnitSample::new(1, 100);
        let columns = [(Some(&number), Kept::Number)];
        sample.add(&unit, &columns).expect("texts");
        assert_eq!(sample.units.len(), 1);
    }
}
