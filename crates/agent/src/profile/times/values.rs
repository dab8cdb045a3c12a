//! Values of some rows in the order of their time, as they are counted.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int32Type};

use super::{Names, Numbers, Part};
use crate::profile::column::{Kind, name};

/// Values of a column.
pub enum Values {
    /// Of what is not counted by time.
    Nothing,
    /// Numbers: NaN where there is none, infinite where it is left out.
    Numbers(Vec<f64>),
    /// Places among some names.
    Names(Vec<Option<usize>>, StringArray),
    /// None in any row, of a column of this kind.
    Absent(Kind),
}

/// What some rows that follow each other have.
pub enum Run<'a> {
    /// What is not counted.
    Nothing,
    /// Finite numbers, and rows without any.
    Numbers {
        /// The numbers.
        there: Vec<f64>,
        /// Rows without one.
        nulls: u64,
    },
    /// Rows of names, and rows without any.
    Names {
        /// The names, with their rows.
        rows: Vec<(Cow<'a, str>, u64)>,
        /// Rows without one.
        nulls: u64,
    },
}

impl Values {
    /// Of a column that is counted so.
    ///
    /// # Errors
    /// Why they cannot be.
    pub fn new(kind: Kind, values: &ArrayRef) -> Result<Self, String> {
        match kind {
            Kind::Number => Ok(Self::Numbers(numbers(values)?)),
            Kind::Category => names(values),
            Kind::Text | Kind::Embedding(_) => Ok(Self::Nothing),
        }
    }

    /// Of a column that is not there.
    pub fn none(kind: Kind) -> Self {
        Self::Absent(kind)
    }

    /// Those of so many rows from one on.
    pub fn run(&self, from: usize, rows: usize) -> Run<'_> {
        match self {
            Self::Nothing | Self::Absent(Kind::Text | Kind::Embedding(_)) => Run::Nothing,
            Self::Absent(Kind::Number) => Run::Numbers {
                there: Vec::new(),
                nulls: rows as u64,
            },
            Self::Absent(Kind::Category) => Run::Names {
                rows: Vec::new(),
                nulls: rows as u64,
            },
            Self::Numbers(all) => {
                let all = &all[from..from + rows];
                let there = all.iter().copied().filter(|number| number.is_finite());
                Run::Numbers {
                    there: there.collect(),
                    nulls: all.iter().filter(|number| number.is_nan()).count() as u64,
                }
            }
            Self::Names(places, known) => {
                let mut counts: BTreeMap<usize, u64> = BTreeMap::new();
                let mut nulls = 0;
                for place in &places[from..from + rows] {
                    match place {
                        Some(place) => *counts.entry(*place).or_default() += 1,
                        None => nulls += 1,
                    }
                }
                let of_name = |(place, rows)| (name(known.value(place)), rows);
                Run::Names {
                    rows: counts.into_iter().map(of_name).collect(),
                    nulls,
                }
            }
        }
    }
}

impl Run<'_> {
    /// What they are added to, of which there is nothing yet.
    pub fn part(&self, cells: usize) -> Part {
        match self {
            Self::Nothing => Part::Nothing,
            Self::Numbers { .. } => Part::Number(Box::new(Numbers::new(cells))),
            Self::Names { .. } => Part::Category(Names::default()),
        }
    }
}

/// As [`crate::profile::column`] takes them for numbers.
fn numbers(values: &ArrayRef) -> Result<Vec<f64>, String> {
    let problem = |problem: arrow::error::ArrowError| problem.to_string();
    match values.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            let texts = cast(values, &DataType::Utf8).map_err(problem)?;
            let number = |text: Option<&str>| {
                let text = text.map(str::trim).filter(|text| !text.is_empty());
                text.map_or(f64::NAN, |text| match text.to_ascii_lowercase().as_str() {
                    "true" => 1.0,
                    "false" => 0.0,
                    other => other.parse().unwrap_or(f64::INFINITY),
                })
            };
            Ok(texts.as_string::<i32>().iter().map(number).collect())
        }
        DataType::Dictionary(_, of) => numbers(&cast(values, of).map_err(problem)?),
        number if number.is_numeric() || *number == DataType::Boolean => {
            let numbers = cast(values, &DataType::Float64).map_err(problem)?;
            let numbers = numbers.as_primitive::<Float64Type>().iter();
            Ok(numbers.map(|number| number.unwrap_or(f64::NAN)).collect())
        }
        _ => {
            let nulls = values.logical_nulls();
            let is_null = |row| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
            let number = |row| {
                if is_null(row) {
                    f64::NAN
                } else {
                    f64::INFINITY
                }
            };
            Ok((0..values.len()).map(number).collect())
        }
    }
}

fn names(values: &ArrayRef) -> Result<Values, String> {
    if let DataType::Dictionary(key, of) = values.data_type()
        && **key == DataType::Int32
        && **of == DataType::Utf8
    {
        let values = values.as_dictionary::<Int32Type>();
        let known = values.values().as_string::<i32>();
        let place = |key: i32| {
            let place = usize::try_from(key).ok()?;
            known.is_valid(place).then_some(place)
        };
        let places = values.keys().iter().map(|key| key.and_then(place));
        return Ok(Values::Names(places.collect(), known.clone()));
    }
    let texts = cast(values, &DataType::Utf8).map_err(|problem| problem.to_string())?;
    let texts = texts.as_string::<i32>();
    let mut known: HashMap<&str, usize> = HashMap::new();
    let mut listed = Vec::new();
    let mut place = |text| {
        *known.entry(text).or_insert_with(|| {
            listed.push(text);
            listed.len() - 1
        })
    };
    let places = texts.iter().map(|text| text.map(&mut place)).collect();
    Ok(Values::Names(places, StringArray::from(listed)))
}
