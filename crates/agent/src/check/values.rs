//! What the values of a column are: its kind, and the expressions that read it.
//!
//! ```text
//!   text (CSV, JSON) ──looks──> the types that it may be of ─┐
//!   Parquet's own type ──────────────────────────────────────┴─> Kind ──> number, key, present, typed
//! ```
//!
//! Columns are named through the expression API alone: no name and no value of a user's becomes SQL.
//!
//! Absent on purpose: guesses from the first rows. A text column is of the kind that all its values look like.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int32Array, Int64Array, StringArray,
};
use arrow::datatypes::{DataType, Float64Type, TimeUnit};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::expr_fn::{cast, create_udf, ident};
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarUDF, Volatility, lit};
use windlass_api::ColumnType;

use crate::data::column as columns;

/// Bits of [`looks`]: what a text may be.
pub(super) mod look {
    /// Digits with or without a sign.
    pub const DIGITS: i32 = 1;
    /// Digits that 64 bits hold.
    pub const INTEGER: i32 = 2;
    /// A number of any kind, NaN and infinities too.
    pub const NUMBER: i32 = 4;
    /// `true` or `false`, in upper or lower case.
    pub const BOOLEAN: i32 = 8;
    /// A date or a time.
    pub const TIME: i32 = 16;
}

/// What a column's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Whole numbers of 64 bits.
    Integer,
    /// Numbers of any kind.
    Number,
    /// Text.
    Text,
    /// True and false.
    Boolean,
    /// Times and dates.
    Timestamp,
    /// No value at all.
    Empty,
    /// Lists, structures, bytes.
    Other,
}

impl Kind {
    /// Of a type of Arrow's.
    pub(super) fn of(data_type: &DataType) -> Self {
        match data_type {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::Text,
            DataType::Boolean => Self::Boolean,
            DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => Self::Timestamp,
            DataType::Null => Self::Empty,
            of if of.is_integer() => Self::Integer,
            of if of.is_numeric() => Self::Number,
            _ => Self::Other,
        }
    }

    /// Of texts that all look so; absent without any.
    pub(super) fn of_looks(looks: Option<i32>) -> Self {
        match looks {
            None => Self::Empty,
            Some(looks) if looks & look::BOOLEAN != 0 => Self::Boolean,
            Some(looks) if looks & look::INTEGER != 0 => Self::Integer,
            Some(looks) if looks & look::NUMBER != 0 => Self::Number,
            Some(looks) if looks & look::TIME != 0 => Self::Timestamp,
            Some(_) => Self::Text,
        }
    }

    /// That of a declared type.
    pub(super) fn declared(of: ColumnType) -> Self {
        match of {
            ColumnType::Integer => Self::Integer,
            ColumnType::Number => Self::Number,
            ColumnType::Text => Self::Text,
            ColumnType::Boolean => Self::Boolean,
            ColumnType::Timestamp => Self::Timestamp,
        }
    }

    /// Whether its values are numbers.
    pub(super) fn is_number(self) -> bool {
        matches!(self, Self::Integer | Self::Number)
    }
}

/// A column of an input.
#[derive(Clone, Debug)]
pub(super) struct Column {
    /// Its name.
    pub name: String,
    /// Its type in the table.
    pub data_type: DataType,
    /// What its values are.
    pub kind: Kind,
}

impl Column {
    /// Its values as they are.
    pub(super) fn raw(&self) -> Expr {
        ident(&self.name)
    }

    /// Whether the values are texts that may stand for something else.
    pub(super) fn is_text(&self) -> bool {
        self.data_type == DataType::Utf8
    }

    /// Its values as texts.
    pub(super) fn text(&self) -> Expr {
        if self.is_text() {
            self.raw()
        } else {
            cast(self.raw(), DataType::Utf8)
        }
    }

    /// Its values as numbers; what is none is null.
    pub(super) fn number(&self) -> Expr {
        if self.is_text() {
            NUMBER.call(vec![self.raw()])
        } else {
            cast(self.raw(), DataType::Float64)
        }
    }

    /// Its values as times; what is none is null.
    pub(super) fn time(&self) -> Expr {
        if self.is_text() {
            TIME.call(vec![self.raw()])
        } else {
            let zoned = matches!(self.data_type, DataType::Timestamp(_, Some(_)));
            cast(self.raw(), time_type(zoned))
        }
    }

    /// Which types its texts may be of, see [`look`].
    pub(super) fn looks(&self) -> Expr {
        LOOKS.call(vec![self.raw()])
    }

    /// Whether a value is NaN; false in what is no number.
    pub(super) fn nan(&self) -> Expr {
        if self.data_type.is_floating() || self.is_text() {
            NAN.call(vec![self.number()])
        } else {
            lit(false)
        }
    }

    /// Whether there is a value: not null, and in a column of numbers not NaN.
    pub(super) fn present(&self) -> Expr {
        let there = self.raw().is_not_null();
        if self.kind.is_number() {
            there.and(!self.nan())
        } else {
            there
        }
    }

    /// Its values as texts that are the same where the values are: `1`, `1.0` and `+01` are one number. Null where
    /// there is no value.
    pub(super) fn key(&self, kind: Kind) -> Expr {
        match kind {
            Kind::Integer | Kind::Number => NUMBER_KEY.call(vec![self.text()]),
            Kind::Boolean => BOOLEAN_KEY.call(vec![self.text()]),
            Kind::Text | Kind::Timestamp | Kind::Empty | Kind::Other => self.text(),
        }
    }

    /// Its values as a predicate sees them: texts as what they stand for.
    pub(super) fn typed(&self) -> Expr {
        if !self.is_text() {
            return self.raw();
        }
        match self.kind {
            Kind::Integer => INTEGER.call(vec![self.raw()]),
            Kind::Number => self.number(),
            Kind::Boolean => BOOLEAN.call(vec![self.raw()]),
            Kind::Timestamp => self.time(),
            Kind::Text | Kind::Empty | Kind::Other => self.raw(),
        }
    }
}

/// Microseconds, in UTC or without a zone.
fn time_type(zoned: bool) -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, zoned.then(|| "UTC".into()))
}

/// What a key is of a value that the user wrote.
pub(super) fn key_of(text: &str, kind: Kind) -> Option<String> {
    match kind {
        Kind::Integer | Kind::Number => number_key(text),
        Kind::Boolean => Some(text.trim().to_ascii_lowercase()),
        Kind::Text | Kind::Timestamp | Kind::Empty | Kind::Other => Some(text.to_owned()),
    }
}

/// A number as text, the same for all ways to write it; exact for digits of any length. Absent for NaN.
///
/// What is no number stays as it is: it is another value than any number.
fn number_key(text: &str) -> Option<String> {
    let text = text.trim();
    let Ok(number) = text.parse::<f64>() else {
        return Some(text.to_owned());
    };
    if number.is_nan() {
        return None;
    }
    let (minus, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    if !digits
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.')
    {
        return Some(match number {
            0.0 => "0".to_owned(),
            number => format!("{number}"),
        });
    }
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let (whole, part) = (whole.trim_start_matches('0'), part.trim_end_matches('0'));
    Some(match (whole, part) {
        ("", "") => "0".to_owned(),
        (whole, "") => format!("{minus}{whole}"),
        ("", part) => format!("{minus}0.{part}"),
        (whole, part) => format!("{minus}{whole}.{part}"),
    })
}

fn boolean(text: &str) -> Option<bool> {
    let text = text.trim();
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

fn number(text: &str) -> Option<f64> {
    text.trim().parse().ok()
}

fn integer(text: &str) -> Option<i64> {
    text.trim().parse().ok()
}

/// What a text may be, but for a time.
fn look_of(text: &str) -> i32 {
    let text = text.trim();
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let fits = if integer(text).is_some() {
            look::INTEGER
        } else {
            0
        };
        return look::DIGITS | look::NUMBER | fits;
    }
    if number(text).is_some() {
        look::NUMBER
    } else if boolean(text).is_some() {
        look::BOOLEAN
    } else {
        0
    }
}

/// Whether a text may be a time at all: what follows is dear.
fn may_be_time(text: &str) -> bool {
    let text = text.trim();
    text.len() >= 10 && text.as_bytes()[0].is_ascii_digit() && text.as_bytes()[4] == b'-'
}

fn times_of(texts: &StringArray) -> Result<ArrayRef> {
    let texts: StringArray = texts
        .iter()
        .map(|text| text.map(str::trim).filter(|text| may_be_time(text)))
        .collect();
    let texts: ArrayRef = Arc::new(texts);
    columns::parsed(&texts, true).map_err(DataFusionError::Execution)
}

fn looks_of(texts: &StringArray) -> Result<ArrayRef> {
    let times = times_of(texts)?;
    let looks: Int32Array = texts
        .iter()
        .enumerate()
        .map(|(row, text)| {
            let time = if times.is_valid(row) { look::TIME } else { 0 };
            text.map(|text| look_of(text) | time)
        })
        .collect();
    Ok(Arc::new(looks))
}

/// A function of texts.
fn of_texts(
    name: &str,
    gives: DataType,
    function: impl Fn(&StringArray) -> Result<ArrayRef> + Send + Sync + 'static,
) -> ScalarUDF {
    let called = move |arguments: &[ColumnarValue]| {
        let arrays = ColumnarValue::values_to_arrays(arguments)?;
        function(arrays[0].as_string()).map(ColumnarValue::Array)
    };
    create_udf(
        name,
        vec![DataType::Utf8],
        gives,
        Volatility::Immutable,
        Arc::new(called),
    )
}

/// A function of texts, one by one, whose values make an array.
fn of_each<T, A>(name: &str, gives: DataType, function: fn(&str) -> Option<T>) -> ScalarUDF
where
    A: Array + FromIterator<Option<T>> + 'static,
    T: 'static,
{
    of_texts(name, gives, move |texts| {
        let values: A = texts.iter().map(|text| text.and_then(function)).collect();
        Ok(Arc::new(values))
    })
}

static LOOKS: LazyLock<ScalarUDF> = LazyLock::new(|| of_texts("looks", DataType::Int32, looks_of));
static TIME: LazyLock<ScalarUDF> = LazyLock::new(|| of_texts("time", time_type(true), times_of));
static NUMBER: LazyLock<ScalarUDF> =
    LazyLock::new(|| of_each::<f64, Float64Array>("number", DataType::Float64, number));
static INTEGER: LazyLock<ScalarUDF> =
    LazyLock::new(|| of_each::<i64, Int64Array>("integer", DataType::Int64, integer));
static BOOLEAN: LazyLock<ScalarUDF> =
    LazyLock::new(|| of_each::<bool, BooleanArray>("boolean", DataType::Boolean, boolean));
static NUMBER_KEY: LazyLock<ScalarUDF> =
    LazyLock::new(|| of_each::<String, StringArray>("number_key", DataType::Utf8, number_key));
static BOOLEAN_KEY: LazyLock<ScalarUDF> = LazyLock::new(|| {
    of_each::<String, StringArray>("boolean_key", DataType::Utf8, |text| {
        key_of(text, Kind::Boolean)
    })
});
static NAN: LazyLock<ScalarUDF> = LazyLock::new(|| {
    let called = |arguments: &[ColumnarValue]| {
        let arrays = ColumnarValue::values_to_arrays(arguments)?;
        let numbers = arrays[0].as_primitive::<Float64Type>();
        let is_nan: BooleanArray = numbers
            .iter()
            .map(|value| Some(value.is_some_and(f64::is_nan)))
            .collect();
        Ok(ColumnarValue::Array(Arc::new(is_nan)))
    };
    create_udf(
        "is_nan",
        vec![DataType::Float64],
        DataType::Boolean,
        Volatility::Immutable,
        Arc::new(called),
    )
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_key_however_it_is_written() {
        for (texts, key) in [
            (&["1", "1.0", "+01", " 1 ", "1e0", "1."][..], Some("1")),
            (&["-1.50", "-1.5", "-15e-1"], Some("-1.5")),
            (&["0", "-0", "0.0", "-0.0", "0e5", "-0e0"], Some("0")),
            (&["0.25", ".25", "00.250"], Some("0.25")),
            (
                &["12345678901234567890123"],
                Some("12345678901234567890123"),
            ),
            (
                &["12345678901234567890124"],
                Some("12345678901234567890124"),
            ),
            (&["NaN", "nan"], None),
            (&["n/a"], Some("n/a")),
            (&["A07"], Some("A07")),
        ] {
            for text in texts {
                assert_eq!(number_key(text).as_deref(), key, "{text}");
            }
        }
    }

    #[test]
    fn a_text_is_of_the_kind_that_all_its_values_look_like() {
        let kind = |texts: &[&str]| {
            let texts: StringArray = texts
                .iter()
                .map(|text| (!text.is_empty()).then_some(*text))
                .collect();
            let looks = looks_of(&texts).expect("looks");
            let looks = looks.as_primitive::<arrow::datatypes::Int32Type>();
            Kind::of_looks(looks.iter().flatten().reduce(|a, b| a & b))
        };
        for (texts, expected) in [
            (&["1", "-2", "", "+3"][..], Kind::Integer),
            (&["1", "2.5", "1e3", "NaN"], Kind::Number),
            (&["1", "99999999999999999999"], Kind::Number),
            (&["True", "false", ""], Kind::Boolean),
            (
                &["2026-01-01", "2026-01-01 10:00:00", "2026-01-01T00:00:00Z"],
                Kind::Timestamp,
            ),
            (&["2026-13-01"], Kind::Text),
            (&["1", "true"], Kind::Text),
            (&["1", "n/a"], Kind::Text),
            (&["0", "1"], Kind::Integer),
            (&["", ""], Kind::Empty),
            (&["1234567890"], Kind::Integer),
        ] {
            assert_eq!(kind(texts), expected, "{texts:?}");
        }
    }
}
