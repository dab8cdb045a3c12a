//! The values of a column as numbers, lists of numbers, texts and times.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, TimeUnit, TimestampMicrosecondType};

use crate::profile::sampled::Lists;

/// The values as numbers: true is 1, texts are parsed, null and an empty text are absent.
///
/// # Errors
/// A sentence with the first row, from 0, that holds no number.
pub fn numbers(values: &ArrayRef) -> Result<Vec<Option<f64>>, String> {
    numbers_after(values, 0)
}

/// The same, of rows that have so many before them.
///
/// # Errors
/// As [`numbers`], with the row's number among all.
pub fn numbers_after(values: &ArrayRef, first: usize) -> Result<Vec<Option<f64>>, String> {
    if let DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View = values.data_type() {
        let parse = |(row, text): (usize, Option<String>)| match text.as_deref().map(str::trim) {
            None | Some("") => Ok(None),
            Some(text) => match text.to_ascii_lowercase().as_str() {
                "true" => Ok(Some(1.0)),
                "false" => Ok(Some(0.0)),
                other => other
                    .parse()
                    .map(Some)
                    .map_err(|_| format!("row {} holds '{text}', which is no number", first + row)),
            },
        };
        return texts(values)?.into_iter().enumerate().map(parse).collect();
    }
    if matches!(values.data_type(), DataType::Null) {
        return Ok(vec![None; values.len()]);
    }
    let is_number =
        values.data_type().is_numeric() || matches!(values.data_type(), DataType::Boolean);
    if !is_number {
        return Err(format!(
            "its type is {}, which is no number",
            values.data_type()
        ));
    }
    let numbers = cast(values, &DataType::Float64).map_err(|problem| problem.to_string())?;
    Ok(numbers
        .as_primitive::<Float64Type>()
        .iter()
        .map(|value| value.filter(|value| !value.is_nan()))
        .collect())
}

/// The values as texts; null is absent.
///
/// # Errors
/// A sentence, where values of the type have no text.
pub fn texts(values: &ArrayRef) -> Result<Vec<Option<String>>, String> {
    let texts = cast(values, &DataType::Utf8).map_err(|problem| problem.to_string())?;
    Ok(texts
        .as_string::<i32>()
        .iter()
        .map(|text| text.map(str::to_owned))
        .collect())
}

/// The values as lists of so many numbers: a text is one as JSON has it, null and an empty text are absent. There are so many
/// rows before these.
///
/// # Errors
/// A sentence with the first row that holds no such list, or a number in it that is none.
pub fn vectors_after(
    values: &ArrayRef,
    length: usize,
    first: usize,
) -> Result<Vec<Option<Vec<f64>>>, String> {
    let fitting = |row: usize, vector: Vec<f64>| {
        let row = first + row;
        if vector.len() != length {
            let found = vector.len();
            return Err(format!(
                "row {row} holds a list of {found} numbers, and the model's signature says {length}"
            ));
        }
        if vector.iter().all(|number| number.is_finite()) {
            return Ok(vector);
        }
        Err(format!(
            "row {row} holds a list with what is no finite number"
        ))
    };
    if let DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View = values.data_type() {
        let read = |(row, text): (usize, Option<String>)| match text.as_deref().map(str::trim) {
            None | Some("") => Ok(None),
            Some(text) => {
                let vector: Vec<f64> = serde_json::from_str(text).map_err(|_| {
                    let row = first + row;
                    format!(
                        "row {row} holds '{text}', which is no list of numbers such as [0.5, -1]"
                    )
                })?;
                fitting(row, vector).map(Some)
            }
        };
        return texts(values)?.into_iter().enumerate().map(read).collect();
    }
    if matches!(values.data_type(), DataType::Null) {
        return Ok(vec![None; values.len()]);
    }
    let floats = |of: &arrow::datatypes::FieldRef| {
        let is_number = of.data_type().is_numeric();
        let of = of.as_ref().clone().with_data_type(DataType::Float64);
        is_number.then(|| std::sync::Arc::new(of))
    };
    let wanted = match values.data_type() {
        DataType::List(of) => floats(of).map(DataType::List),
        DataType::LargeList(of) => floats(of).map(DataType::LargeList),
        DataType::FixedSizeList(of, size) => {
            floats(of).map(|of| DataType::FixedSizeList(of, *size))
        }
        _ => None,
    };
    let none = || {
        format!(
            "its type is {}, which is no list of numbers",
            values.data_type()
        )
    };
    let values = cast(values, &wanted.ok_or_else(none)?).map_err(|problem| problem.to_string())?;
    let lists = Lists::of(&values)?.ok_or_else(|| "it holds no lists".to_owned())?;
    let read = |row| match lists.get(row) {
        Some(vector) => fitting(row, vector.to_vec()).map(Some),
        None => Ok(None),
    };
    (0..lists.rows()).map(read).collect()
}

/// The values as times, in microseconds since 1970 in UTC; a time without a zone is taken as UTC, null is absent.
///
/// # Errors
/// A sentence, where a value is no time.
pub fn times(values: &ArrayRef) -> Result<Vec<Option<i64>>, String> {
    let of_type =
        |zone: Option<&str>| DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into));
    let times = match values.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => parsed(values, false)?,
        DataType::Timestamp(_, Some(_)) => {
            cast(values, &of_type(Some("UTC"))).map_err(|problem| problem.to_string())?
        }
        DataType::Timestamp(_, None) | DataType::Date32 | DataType::Date64 | DataType::Null => {
            cast(values, &of_type(None)).map_err(|problem| problem.to_string())?
        }
        other => return Err(format!("its type is {other}, which is no time")),
    };
    Ok(times
        .as_primitive::<TimestampMicrosecondType>()
        .iter()
        .collect())
}

/// Texts as times in microseconds, UTC; what is no time is null where `safe`.
///
/// # Errors
/// A sentence, where a text is no time and it is not `safe`.
pub(crate) fn parsed(values: &ArrayRef, safe: bool) -> Result<ArrayRef, String> {
    let options = arrow::compute::CastOptions {
        safe,
        ..Default::default()
    };
    let zoned = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    arrow::compute::cast_with_options(values, &zoned, &options)
        .map_err(|problem| problem.to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BooleanArray, FixedSizeListArray, Int64Array, ListArray, StringArray};
    use arrow::datatypes::Int64Type;

    use super::*;

    #[test]
    fn labels_of_all_kinds_are_numbers() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec![
            Some("true"),
            Some("False"),
            Some("0.5"),
            Some(""),
            None,
        ]));
        assert_eq!(
            numbers(&texts),
            Ok(vec![Some(1.0), Some(0.0), Some(0.5), None, None])
        );
        let flags: ArrayRef = Arc::new(BooleanArray::from(vec![true, false]));
        assert_eq!(numbers(&flags), Ok(vec![Some(1.0), Some(0.0)]));
        let bad: ArrayRef = Arc::new(StringArray::from(vec!["1", "late"]));
        assert_eq!(
            numbers(&bad),
            Err("row 1 holds 'late', which is no number".to_owned())
        );
    }

    #[test]
    fn lists_of_numbers_of_all_kinds_are_vectors_and_others_are_named() {
        let rows = [
            Some(vec![Some(1), Some(2)]),
            None,
            Some(vec![Some(3), Some(-4)]),
        ];
        let whole: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(
            rows.clone(),
        ));
        let fixed: ArrayRef = Arc::new(FixedSizeListArray::from_iter_primitive::<Int64Type, _, _>(
            rows, 2,
        ));
        let texts: ArrayRef = Arc::new(StringArray::from(vec![
            Some("[1, 2]"),
            Some(" "),
            Some("[3,-4.0]"),
        ]));
        let expected = vec![Some(vec![1.0, 2.0]), None, Some(vec![3.0, -4.0])];
        for values in [&whole, &fixed, &texts] {
            assert_eq!(vectors_after(values, 2, 0), Ok(expected.clone()));
            let problem = vectors_after(values, 3, 10).expect_err("another length");
            assert!(
                problem.starts_with("row 10 holds a list of 2 numbers"),
                "{problem}"
            );
        }
        let gap = [Some(vec![Some(1), None])];
        let gap: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(gap));
        let text: ArrayRef = Arc::new(StringArray::from(vec!["1, 2"]));
        let number: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        for (values, why) in [
            (gap, "row 0 holds a list with what is no finite number"),
            (text, "row 0 holds '1, 2', which is no list of numbers"),
            (number, "its type is Int64, which is no list of numbers"),
        ] {
            let problem = vectors_after(&values, 2, 0).expect_err(why);
            assert!(problem.contains(why), "{problem}");
        }
    }

    #[test]
    fn times_of_all_kinds_are_times() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec![
            Some("2013-01-01T00:00:00Z"),
            Some("2013-01-01 01:00:00"),
            Some("2013-01-01T02:00:00+02:00"),
            None,
        ]));
        let start = 1_356_998_400_000_000;
        assert_eq!(
            times(&texts),
            Ok(vec![
                Some(start),
                Some(start + 3_600_000_000),
                Some(start),
                None
            ])
        );
        let bad: ArrayRef = Arc::new(StringArray::from(vec!["yesterday"]));
        assert!(times(&bad).is_err());
        let whole: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        assert!(times(&whole).is_err());
    }
}
