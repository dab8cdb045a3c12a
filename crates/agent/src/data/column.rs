//! The values of a column as numbers, texts and times.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, TimeUnit, TimestampMicrosecondType};

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

    use arrow::array::{BooleanArray, Int64Array, StringArray};

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
