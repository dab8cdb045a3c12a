//! What is counted of one column, batch by batch, in memory that does not grow with the rows, and adds up.

use std::borrow::Cow;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int32Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int32Type};
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use windlass_statistics::drift::bounded::hash;
use windlass_statistics::frequent::Frequent;
use windlass_statistics::mean::Mean;
use windlass_statistics::ranks::Ranks;

use super::room::{NAME_BYTES, Room};
use super::sampled::{Texts, Vectors, Which};

/// How many cells a number is counted in: ranks are right to some 0.2%.
const CELLS: usize = 1024;

/// What a column is counted as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// By rank.
    Number,
    /// By name.
    Category,
    /// As texts that are hardly ever the same.
    Text,
    /// As vectors of so many numbers.
    Embedding(usize),
}

impl Kind {
    /// Whether rows of it are kept.
    pub fn is_sampled(self) -> bool {
        match self {
            Self::Number | Self::Category => false,
            Self::Text | Self::Embedding(_) => true,
        }
    }
}

/// What a column of a type is counted as, as far as the type tells: names may be texts, and lists vectors ([`super::look`]).
///
/// # Errors
/// Why it is not, for people.
pub fn kind_of(data_type: &DataType) -> Result<Kind, &'static str> {
    match data_type {
        DataType::Boolean
        | DataType::Null
        | DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View => Ok(Kind::Category),
        DataType::Dictionary(_, values) => kind_of(values),
        numeric if numeric.is_numeric() => Ok(Kind::Number),
        time if time.is_temporal() => Err("times are not compared"),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
            Err("bytes are not compared")
        }
        nested if nested.is_nested() => {
            Err("structures, and lists that are not of numbers with a point, are not compared")
        }
        _ => Err("its type is not compared"),
    }
}

/// What was counted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Column {
    /// Of a number.
    Number(Box<Numbers>),
    /// Of a category.
    Category(Box<Names>),
    /// Of texts.
    Text(Box<Texts>),
    /// Of vectors.
    Embedding(Box<Vectors>),
}

/// What was counted of a number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Numbers {
    /// Its finite values by rank.
    pub ranks: Ranks,
    /// Their mean and spread.
    pub mean: Mean,
    /// Rows without a value; NaN is none.
    pub nulls: u64,
    /// Rows of plus or minus infinity.
    pub infinite: u64,
    /// Rows with what is no number.
    pub other_type: u64,
}

/// What was counted of a category.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Names {
    /// Its values by frequency.
    pub names: Frequent,
    /// Rows without a value.
    pub nulls: u64,
}

impl Column {
    /// Nothing counted.
    pub fn new(kind: Kind, room: Room) -> Self {
        let most = room.sample(kind);
        match kind {
            Kind::Number => Self::Number(Box::new(Numbers::of(Ranks::new(CELLS)))),
            Kind::Category => Self::Category(Box::default()),
            Kind::Text => Self::Text(Box::new(Texts::new(most))),
            Kind::Embedding(width) => Self::Embedding(Box::new(Vectors::new(width, most))),
        }
    }

    /// Nothing counted, of a number that is compared with one whose cells begin here.
    pub fn beside(starts: Vec<f64>) -> Self {
        Self::Number(Box::new(Numbers::of(Ranks::beside(starts, CELLS))))
    }

    /// Counts values. Which rows they are of matters to those of which rows are kept.
    ///
    /// # Errors
    /// Why they cannot be what is counted, whichever they are.
    pub fn add(&mut self, values: &ArrayRef, which: Which<'_>) -> Result<(), String> {
        match self {
            Self::Number(numbers) => numbers.add(values),
            Self::Category(names) => names.add(values),
            Self::Text(texts) => texts.add(values, which),
            Self::Embedding(vectors) => vectors.add(values, which),
        }
    }

    /// Counts rows without a value.
    pub fn add_nulls(&mut self, rows: usize) {
        let nulls = match self {
            Self::Number(numbers) => &mut numbers.nulls,
            Self::Category(names) => &mut names.nulls,
            Self::Text(texts) => &mut texts.nulls,
            Self::Embedding(vectors) => &mut vectors.nulls,
        };
        *nulls += rows as u64;
    }

    /// Takes what others of its kind have counted, all at once.
    pub fn merge<'a>(&mut self, others: impl Iterator<Item = &'a Self>) {
        match self {
            Self::Number(mine) => {
                let numbers = others.filter_map(|other| match other {
                    Self::Number(numbers) => Some(numbers.as_ref()),
                    Self::Category(_) | Self::Text(_) | Self::Embedding(_) => None,
                });
                mine.merge(&numbers.collect::<Vec<_>>());
            }
            Self::Category(mine) => {
                for other in others {
                    if let Self::Category(names) = other {
                        mine.names.merge(&names.names);
                        mine.nulls += names.nulls;
                    }
                }
            }
            Self::Text(mine) => {
                for other in others {
                    if let Self::Text(texts) = other {
                        mine.merge(texts);
                    }
                }
            }
            Self::Embedding(mine) => {
                for other in others {
                    if let Self::Embedding(vectors) = other {
                        mine.merge(vectors);
                    }
                }
            }
        }
    }

    /// Gives back what was kept for the next rows: there are none. What is left is the same if it is written and read.
    pub fn rest(&mut self) {
        match self {
            Self::Number(numbers) => numbers.ranks.rest(),
            Self::Category(names) => names.names.settle(),
            Self::Text(_) | Self::Embedding(_) => {}
        }
    }

    /// What it is counted as.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Number(_) => Kind::Number,
            Self::Category(_) => Kind::Category,
            Self::Text(_) => Kind::Text,
            Self::Embedding(vectors) => Kind::Embedding(vectors.sums.width()),
        }
    }

    /// Rows without a value.
    pub fn nulls(&self) -> u64 {
        match self {
            Self::Number(numbers) => numbers.nulls,
            Self::Category(names) => names.nulls,
            Self::Text(texts) => texts.nulls,
            Self::Embedding(vectors) => vectors.nulls,
        }
    }

    /// Rows with what is not of its type, or infinite.
    pub fn other_type(&self) -> u64 {
        match self {
            Self::Number(numbers) => numbers.other_type + numbers.infinite,
            Self::Category(_) => 0,
            Self::Text(texts) => texts.other_type,
            Self::Embedding(vectors) => vectors.other_type,
        }
    }
}

impl Numbers {
    fn of(ranks: Ranks) -> Self {
        Self {
            ranks,
            mean: Mean::default(),
            nulls: 0,
            infinite: 0,
            other_type: 0,
        }
    }

    fn add(&mut self, values: &ArrayRef) -> Result<(), String> {
        let problem = |problem: arrow::error::ArrowError| problem.to_string();
        match values.data_type() {
            DataType::Float64 => self.take(values.as_primitive::<Float64Type>()),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                let (numbers, strange) = parsed(values)?;
                self.take(&numbers);
                // They were taken for none.
                self.other_type += strange;
                self.nulls -= strange;
            }
            DataType::Dictionary(_, of) => return self.add(&cast(values, of).map_err(problem)?),
            DataType::Null => self.nulls += values.len() as u64,
            number if number.is_numeric() || *number == DataType::Boolean => {
                let numbers = cast(values, &DataType::Float64).map_err(problem)?;
                self.take(numbers.as_primitive::<Float64Type>());
            }
            // Also a time, whatever it is kept as.
            _ => {
                let nulls = values.logical_null_count() as u64;
                self.nulls += nulls;
                self.other_type += values.len() as u64 - nulls;
            }
        }
        Ok(())
    }

    fn take(&mut self, values: &Float64Array) {
        self.nulls += values.null_count() as u64;
        match values.nulls().filter(|nulls| nulls.null_count() > 0) {
            None => self.take_all(values.values()),
            Some(nulls) => {
                let mut there = Vec::with_capacity(values.len() - nulls.null_count());
                for (from, to) in nulls.valid_slices() {
                    there.extend_from_slice(&values.values()[from..to]);
                }
                self.take_all(&there);
            }
        }
    }

    fn take_all(&mut self, numbers: &[f64]) {
        let mean = Mean::of(numbers);
        // One that is not finite makes the mean so.
        if mean.value().is_none_or(f64::is_finite) && mean.standard_deviation().is_finite() {
            self.mean.merge(&mean);
            self.ranks.add(numbers);
            return;
        }
        let finite: Vec<f64> = numbers
            .iter()
            .copied()
            .filter(|number| number.is_finite())
            .collect();
        let nans = numbers.iter().filter(|number| number.is_nan()).count();
        self.nulls += nans as u64;
        self.infinite += (numbers.len() - finite.len() - nans) as u64;
        // Of numbers near the end of what there are, the spread is no number, or not even the mean: these count by rank alone.
        let mean = Mean::of(&finite);
        if mean.value().is_some_and(f64::is_finite) && mean.standard_deviation().is_finite() {
            self.mean.merge(&mean);
        }
        self.ranks.add(&finite);
    }

    fn merge(&mut self, others: &[&Self]) {
        self.ranks.merge(others.iter().map(|other| &other.ranks));
        for other in others {
            self.mean.merge(&other.mean);
            self.nulls += other.nulls;
            self.infinite += other.infinite;
            self.other_type += other.other_type;
        }
    }
}

/// The name of a level: of a longer text than [`NAME_BYTES`] its beginning, and a hash of all of it, so that memory is bounded and
/// two that differ stay two.
pub fn name(text: &str) -> Cow<'_, str> {
    if text.len() <= NAME_BYTES {
        return Cow::Borrowed(text);
    }
    let hash = hash(0, text.as_bytes());
    let tail = format!("…{hash:016x}");
    let head = &text[..text.floor_char_boundary(NAME_BYTES - tail.len())];
    Cow::Owned(format!("{head}{tail}"))
}

/// Texts as numbers, and how many are none; an empty one is no value.
fn parsed(values: &ArrayRef) -> Result<(Float64Array, u64), String> {
    let texts = cast(values, &DataType::Utf8).map_err(|problem| problem.to_string())?;
    let mut strange = 0;
    let parse = |text: Option<&str>| {
        let text = text.map(str::trim).filter(|text| !text.is_empty())?;
        let number = match text.to_ascii_lowercase().as_str() {
            "true" => Some(1.0),
            "false" => Some(0.0),
            other => other.parse().ok(),
        };
        strange += u64::from(number.is_none());
        number
    };
    let numbers = texts.as_string::<i32>().iter().map(parse).collect();
    Ok((numbers, strange))
}

impl Names {
    fn add(&mut self, values: &ArrayRef) -> Result<(), String> {
        let problem = |problem: arrow::error::ArrowError| problem.to_string();
        if let DataType::Dictionary(key, of) = values.data_type()
            && **key == DataType::Int32
            && **of == DataType::Utf8
        {
            let values = values.as_dictionary::<Int32Type>();
            self.add_keys(values.keys(), values.values());
            return Ok(());
        }
        let texts = cast(values, &DataType::Utf8).map_err(problem)?;
        let texts = texts.as_string::<i32>();
        let mut counts: HashMap<&str, u64> = HashMap::new();
        for text in texts {
            match text {
                Some(text) => *counts.entry(text).or_default() += 1,
                None => self.nulls += 1,
            }
        }
        // In an order that does not hang on a hash.
        let mut counts: Vec<(&str, u64)> = counts.into_iter().collect();
        counts.sort_unstable();
        for (text, rows) in counts {
            self.names.add(&name(text), rows);
        }
        Ok(())
    }

    /// Each name once, whatever the number of rows.
    fn add_keys(&mut self, keys: &Int32Array, names: &ArrayRef) {
        let names = names.as_string::<i32>();
        let mut counts = vec![0_u64; names.len()];
        let place = |key: i32| usize::try_from(key).unwrap_or(usize::MAX);
        if keys.null_count() == 0 {
            for key in keys.values() {
                if let Some(count) = counts.get_mut(place(*key)) {
                    *count += 1;
                }
            }
        } else {
            for key in keys {
                match key.and_then(|key| counts.get_mut(place(key))) {
                    Some(count) => *count += 1,
                    None => self.nulls += 1,
                }
            }
        }
        for (at, rows) in counts.into_iter().enumerate().filter(|(_, rows)| *rows > 0) {
            if names.is_null(at) {
                self.nulls += rows;
            } else {
                self.names.add(&name(names.value(at)), rows);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        BooleanArray, Date32Array, Decimal128Array, Int64Array, ListArray, StringArray,
    };

    use super::*;

    fn counted(kind: Kind, values: impl Array + 'static) -> Column {
        let mut column = Column::new(kind, Room::of(&[], 0));
        column
            .add(&(Arc::new(values) as ArrayRef), Which::default())
            .expect("counted");
        column
    }

    fn numbers(values: impl Array + 'static) -> Numbers {
        match counted(Kind::Number, values) {
            Column::Number(numbers) => *numbers,
            other => unreachable!("it is a number: {other:?}"),
        }
    }

    #[test]
    fn what_is_no_number_is_told_apart_from_what_is_not_there() {
        let nan = numbers(Float64Array::from(vec![
            Some(1.0),
            None,
            Some(f64::NAN),
            Some(f64::INFINITY),
            Some(3.0),
            Some(f64::NEG_INFINITY),
        ]));
        assert_eq!((nan.ranks.rows(), nan.nulls, nan.infinite), (2, 2, 2));
        assert_eq!(nan.mean.value(), Some(2.0));
        let texts = numbers(StringArray::from(vec![
            Some("1.5"),
            Some(" 2 "),
            Some("late"),
            Some(""),
            None,
            Some("true"),
        ]));
        assert_eq!(
            (texts.ranks.rows(), texts.nulls, texts.other_type),
            (3, 2, 1)
        );
        let list = ListArray::from_iter_primitive::<Float64Type, _, _>([
            Some(vec![Some(1.0)]),
            None,
            Some(vec![]),
        ]);
        let list = numbers(list);
        assert_eq!((list.ranks.rows(), list.nulls, list.other_type), (0, 1, 2));
    }

    #[test]
    fn numbers_of_all_types_are_numbers() {
        let large = numbers(Int64Array::from(vec![(1 << 60) + 1, 5]));
        assert_eq!(large.ranks.greatest(), Some(1_152_921_504_606_846_976.0));
        let decimal = Decimal128Array::from(vec![12_345, -5])
            .with_precision_and_scale(10, 2)
            .expect("a type");
        assert_eq!(numbers(decimal).ranks.greatest(), Some(123.45));
        assert_eq!(numbers(Date32Array::from(vec![1])).other_type, 1);
        let flags = numbers(BooleanArray::from(vec![Some(true), None, Some(false)]));
        assert_eq!((flags.ranks.rows(), flags.nulls), (2, 1));
        // As one of a column that is far beyond what a spread can tell.
        let huge = numbers(Float64Array::from(vec![1e300, -1e300, 1.0]));
        assert_eq!((huge.ranks.rows(), huge.infinite), (3, 0));
    }

    #[test]
    fn names_are_counted_alike_whether_they_come_as_keys_or_as_texts() {
        let texts = StringArray::from(vec![Some("b"), Some("a"), None, Some("b"), Some("")]);
        let keys = cast(
            &texts,
            &DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
        )
        .expect("keys");
        let mut of_keys = Column::new(Kind::Category, Room::of(&[], 0));
        of_keys.add(&keys, Which::default()).expect("counted");
        for column in [counted(Kind::Category, texts), of_keys] {
            let Column::Category(names) = column else {
                unreachable!("it is a category")
            };
            let (levels, others) = names.names.levels(10);
            let expected =
                [("", 1), ("a", 1), ("b", 2)].map(|(name, rows)| (name.to_owned(), rows));
            assert_eq!((levels, others), (expected.into(), 0));
            assert_eq!(names.nulls, 1);
        }
    }

    #[test]
    fn long_names_that_differ_stay_two_and_take_bounded_memory() {
        let long = |end: &str| format!("{}{end}", "é".repeat(5000));
        let texts = StringArray::from(vec![long("a"), long("b"), long("a"), "é".to_owned()]);
        let type_of_keys =
            DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        let keys = cast(&texts, &type_of_keys).expect("keys");
        let mut of_keys = Column::new(Kind::Category, Room::of(&[], 0));
        of_keys.add(&keys, Which::default()).expect("counted");
        for column in [counted(Kind::Category, texts), of_keys] {
            let Column::Category(names) = column else {
                unreachable!("it is a category")
            };
            let (levels, _) = names.names.levels(10);
            let mut rows: Vec<u64> = levels.values().copied().collect();
            rows.sort_unstable();
            assert_eq!(rows, [1, 1, 2], "{levels:?}");
            assert!(levels.keys().all(|name| name.len() <= NAME_BYTES));
            assert!(levels.contains_key("é") && levels.contains_key(&*name(&long("a"))));
        }
    }

    #[test]
    fn parts_add_up() {
        let mut all = counted(Kind::Number, Float64Array::from(vec![1.0, 2.0]));
        let more = [
            counted(Kind::Number, Float64Array::from(vec![Some(3.0), None])),
            counted(Kind::Number, Float64Array::from(vec![6.0])),
        ];
        all.merge(more.iter());
        let Column::Number(numbers) = all else {
            unreachable!("it is a number")
        };
        assert_eq!((numbers.ranks.rows(), numbers.nulls), (4, 1));
        assert_eq!(numbers.mean.value(), Some(3.0));
    }
}
