//! What is kept of columns whose rows have to be looked at themselves: texts, and vectors of one length.
//!
//! Of both so many rows are kept, chosen by a hash of their place in the data set and of what they hold, so that they are the same
//! rows in whatever parts these are read; of vectors also sums over all rows. The memory for it is bounded by [`super::room`].

use arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use serde::{Deserialize, Serialize};
use windlass_statistics::drift::bounded::{Bounded, hash};
use windlass_statistics::drift::embedding::{Embeddings, LARGEST};
use windlass_statistics::drift::text::excerpt;

/// So that which rows are kept has nothing to do with other hashes of the same numbers.
const SEED: u64 = 0x726F_7773;

/// Which rows values are of.
#[derive(Clone, Copy, Debug, Default)]
pub struct Which<'a> {
    /// A hash of each row's place ([`key`]).
    pub keys: &'a [u64],
    /// A hash of the unit that each is of; its key, where it is of none.
    pub units: &'a [u64],
}

/// The key of a row by its place among all rows, from 0.
pub fn key(place: u64) -> u64 {
    hash(SEED, &place.to_le_bytes())
}

/// The key and the unit of a value by its row's key and by what it is.
///
/// By places alone, rows at the same places of two data sets would be chosen together, and each two of them would be of one
/// unit. By what they hold as well they have nothing to do with each other, unless they are the same; and the same data keep the same
/// rows, on whichever side they are, and a profile of them too.
fn of_value(key: u64, unit: u64, bytes: &[u8]) -> (u64, u64) {
    let own = hash(key, bytes);
    (own, if unit == key { own } else { unit })
}

/// What was counted of texts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Texts {
    /// Some of them, each its beginning.
    pub sample: Bounded<String>,
    /// Rows with one.
    pub rows: u64,
    /// Rows without a value.
    pub nulls: u64,
    /// Rows with what is no text.
    pub other_type: u64,
}

impl Texts {
    /// Nothing counted; so many texts are kept at most.
    pub fn new(most: usize) -> Self {
        Self {
            sample: Bounded::new(most),
            rows: 0,
            nulls: 0,
            other_type: 0,
        }
    }

    /// Counts texts.
    ///
    /// # Errors
    /// Why they cannot be counted.
    pub fn add(&mut self, values: &ArrayRef, which: Which<'_>) -> Result<(), String> {
        let problem = |problem: arrow::error::ArrowError| problem.to_string();
        match values.data_type() {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {}
            DataType::Dictionary(_, of) => {
                return self.add(&cast(values, of).map_err(problem)?, which);
            }
            _ => {
                let nulls = values.logical_null_count() as u64;
                self.nulls += nulls;
                self.other_type += values.len() as u64 - nulls;
                return Ok(());
            }
        }
        let texts = cast(values, &DataType::Utf8).map_err(problem)?;
        let rows = which.keys.iter().zip(which.units);
        for (text, (key, unit)) in texts.as_string::<i32>().iter().zip(rows) {
            match text {
                Some(text) => {
                    self.rows += 1;
                    let text = excerpt(text);
                    let (key, unit) = of_value(*key, *unit, text.as_bytes());
                    self.sample.add(key, unit, || text.to_owned());
                }
                None => self.nulls += 1,
            }
        }
        Ok(())
    }

    /// Takes what others have counted.
    pub fn merge(&mut self, other: &Self) {
        self.sample.merge(other.sample.clone());
        self.rows += other.rows;
        self.nulls += other.nulls;
        self.other_type += other.other_type;
    }
}

/// What was counted of vectors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Vectors {
    /// Sums over all of them.
    pub sums: Embeddings,
    /// Some of them.
    pub sample: Bounded<Vec<f32>>,
    /// Rows without a value.
    pub nulls: u64,
    /// Rows with what is no vector of the length, or has what is no number in it.
    pub other_type: u64,
}

impl Vectors {
    /// Nothing counted, of vectors of so many numbers; so many are kept at most.
    pub fn new(width: usize, most: usize) -> Self {
        Self {
            sums: Embeddings::new(width),
            sample: Bounded::new(most),
            nulls: 0,
            other_type: 0,
        }
    }

    /// Counts vectors.
    ///
    /// # Errors
    /// Why they cannot be counted.
    pub fn add(&mut self, values: &ArrayRef, which: Which<'_>) -> Result<(), String> {
        let Some(lists) = Lists::of(values)? else {
            let nulls = values.logical_null_count() as u64;
            self.nulls += nulls;
            self.other_type += values.len() as u64 - nulls;
            return Ok(());
        };
        let mut bytes = Vec::new();
        let rows = which.keys.iter().zip(which.units);
        for (row, (key, unit)) in rows.enumerate() {
            let Some(vector) = lists.get(row) else {
                self.nulls += 1;
                continue;
            };
            let is_fit = |number: &f64| number.abs() < LARGEST;
            if vector.len() != self.sums.width() || !vector.iter().all(is_fit) {
                self.other_type += 1;
                continue;
            }
            bytes.clear();
            bytes.extend(vector.iter().flat_map(|number| number.to_le_bytes()));
            let (key, unit) = of_value(*key, *unit, &bytes);
            self.sums.add(unit, vector);
            self.sample.add(key, unit, || narrowed(vector));
        }
        Ok(())
    }

    /// Takes what others have counted, of vectors of the same length.
    pub fn merge(&mut self, other: &Self) {
        self.sums.merge(&other.sums);
        self.sample.merge(other.sample.clone());
        self.nulls += other.nulls;
        self.other_type += other.other_type;
    }
}

#[allow(clippy::cast_possible_truncation)] // a classifier needs no more digits
fn narrowed(vector: &[f64]) -> Vec<f32> {
    vector.iter().map(|number| *number as f32).collect()
}

/// Lists of numbers, one after the other. A number that is not there is NaN.
pub struct Lists {
    numbers: Float64Array,
    /// Where each list begins and ends; absent where there is none.
    places: Vec<Option<(usize, usize)>>,
}

impl Lists {
    /// Of a column; absent where it has no lists of floating-point numbers.
    ///
    /// # Errors
    /// Why they cannot be read.
    pub fn of(values: &ArrayRef) -> Result<Option<Self>, String> {
        let place = |offset: i64| usize::try_from(offset).unwrap_or_default();
        let rows = 0..values.len();
        let (of, offsets): (&ArrayRef, Vec<(usize, usize)>) = match values.data_type() {
            DataType::FixedSizeList(_, _) => {
                let lists = values.as_fixed_size_list();
                let start = |row| place(i64::from(lists.value_offset(row)));
                let long = place(i64::from(lists.value_length()));
                let each = rows.map(|row| (start(row), start(row) + long));
                (lists.values(), each.collect())
            }
            DataType::List(_) => {
                let lists = values.as_list::<i32>();
                let offsets = lists.value_offsets().windows(2);
                let each = offsets.map(|pair| (place(pair[0].into()), place(pair[1].into())));
                (lists.values(), each.collect())
            }
            DataType::LargeList(_) => {
                let lists = values.as_list::<i64>();
                let offsets = lists.value_offsets().windows(2);
                let each = offsets.map(|pair| (place(pair[0]), place(pair[1])));
                (lists.values(), each.collect())
            }
            _ => return Ok(None),
        };
        if !of.data_type().is_floating() {
            return Ok(None);
        }
        let numbers = cast(of, &DataType::Float64).map_err(|problem| problem.to_string())?;
        let numbers = numbers.as_primitive::<Float64Type>();
        let numbers = if numbers.null_count() == 0 {
            numbers.clone()
        } else {
            let known = numbers.iter().map(|number| number.unwrap_or(f64::NAN));
            Float64Array::from_iter_values(known)
        };
        let offsets = offsets.into_iter().enumerate();
        let places = offsets.map(|(row, place)| values.is_valid(row).then_some(place));
        Ok(Some(Self {
            places: places.collect(),
            numbers,
        }))
    }

    /// The list of a row; absent where it has none.
    pub fn get(&self, row: usize) -> Option<&[f64]> {
        let (start, end) = self.places.get(row).copied().flatten()?;
        self.numbers.values().get(start..end)
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.places.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use arrow::array::{FixedSizeListArray, Int64Array, ListArray, StringArray};
    use arrow::datatypes::Float32Type;

    use super::*;

    fn keys(rows: u64) -> Vec<u64> {
        (0..rows).map(key).collect()
    }

    #[test]
    fn vectors_of_all_kinds_of_lists_are_the_same_and_what_is_none_is_told_apart() {
        let rows = [
            Some(vec![Some(1.0), Some(2.0)]),
            None,
            Some(vec![Some(3.0), Some(-4.0)]),
            Some(vec![Some(5.0), None]),
        ];
        let list = ListArray::from_iter_primitive::<Float32Type, _, _>(rows.clone());
        let fixed = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(rows.clone(), 2);
        let keys = keys(4);
        let which = Which {
            keys: &keys,
            units: &keys,
        };
        let counted = |values: ArrayRef| {
            let mut vectors = Vectors::new(2, 10);
            vectors.add(&values, which).expect("lists");
            vectors
        };
        let list = counted(Arc::new(list));
        assert_eq!(list, counted(Arc::new(fixed)));
        assert_eq!((list.sums.rows(), list.nulls, list.other_type), (2, 1, 1));
        let kept: Vec<&[f32]> = list.sample.rows().map(|row| row.what.as_slice()).collect();
        assert!(kept.len() == 2 && kept.contains(&[3.0, -4.0].as_slice()));
        // One that is longer, and one of another type.
        let longer = [Some(vec![Some(1.0); 3])];
        let longer = ListArray::from_iter_primitive::<Float32Type, _, _>(longer);
        assert_eq!(counted(Arc::new(longer)).other_type, 1);
        assert_eq!(
            counted(Arc::new(Int64Array::from(vec![1; 4]))).other_type,
            4
        );
    }

    /// Were they, the two sides would be paired: what one has at a place by chance the other's would be taken with.
    #[test]
    fn rows_at_the_same_places_of_two_data_sets_are_not_chosen_together_nor_of_one_unit() {
        let keys = keys(2000);
        let which = Which {
            keys: &keys,
            units: &keys,
        };
        let texts = |side: &str| {
            let texts = (0..2000).map(|row| format!("{row} {side}"));
            let mut kept = Texts::new(200);
            let values: ArrayRef = Arc::new(StringArray::from_iter_values(texts));
            kept.add(&values, which).expect("texts");
            kept
        };
        let vectors = |first: f32| {
            let rows = (0..2000).map(|row| {
                #[allow(clippy::cast_precision_loss)] // small
                Some([Some(first), Some(row as f32)])
            });
            let mut kept = Vectors::new(2, 200);
            let values: ArrayRef =
                Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(rows));
            kept.add(&values, which).expect("lists");
            kept
        };
        assert_eq!(texts("old"), texts("old"));
        assert_eq!(vectors(1.0), vectors(1.0));
        let place = |text: &String| text.split(' ').next().map(str::to_owned);
        let of_texts = ["old", "new"].map(|side| -> BTreeSet<(Option<String>, u64)> {
            let kept = texts(side).sample;
            let rows = kept.rows().map(|row| (place(&row.what), row.unit));
            rows.collect()
        });
        let of_vectors = [1.0, 2.0].map(|first| -> BTreeSet<(Option<String>, u64)> {
            let kept = vectors(first).sample;
            let rows = kept
                .rows()
                .map(|row| (Some(row.what[1].to_string()), row.unit));
            rows.collect()
        });
        for [old, new] in [of_texts, of_vectors] {
            let places = |of: &BTreeSet<(Option<String>, u64)>| -> BTreeSet<_> {
                of.iter().map(|(place, _)| place.clone()).collect()
            };
            // A tenth of a tenth is 20 of them, give or take.
            let together = places(&old).intersection(&places(&new)).count();
            assert!((5..45).contains(&together), "{together} of 200");
            let units = |of: &BTreeSet<(Option<String>, u64)>| -> BTreeSet<u64> {
                of.iter().map(|(_, unit)| *unit).collect()
            };
            assert_eq!(units(&old).intersection(&units(&new)).count(), 0);
        }
    }

    #[test]
    fn the_same_texts_are_kept_in_whatever_parts_they_come() {
        let texts: Vec<String> = (0..100).map(|row| format!("text {row}")).collect();
        let keys = keys(100);
        let part = |from: usize, to: usize| {
            let mut part = Texts::new(20);
            let values: ArrayRef = Arc::new(StringArray::from(texts[from..to].to_vec()));
            let which = Which {
                keys: &keys[from..to],
                units: &keys[from..to],
            };
            part.add(&values, which).expect("texts");
            part
        };
        let mut parts = part(60, 100);
        parts.merge(&part(0, 60));
        assert_eq!(parts, part(0, 100));
        assert_eq!((parts.rows, parts.sample.rows().len()), (100, 20));
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
        let mut strange = Texts::new(20);
        let which = Which {
            keys: &keys[..2],
            units: &keys[..2],
        };
        strange.add(&numbers, which).expect("counted");
        assert_eq!((strange.other_type, strange.nulls, strange.rows), (1, 1, 0));
    }
}
