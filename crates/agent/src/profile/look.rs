//! What a column holds, where its type does not tell: names that come again or texts that hardly ever do, and how long its
//! vectors are. Rows from all over the data tell.

use std::collections::HashMap;

use arrow::array::{ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;

use super::column::{Kind, kind_of};
use super::sampled::Lists;

/// How many rows are looked at.
pub const ROWS: usize = 1000;
/// Of fewer nothing is learned.
const LEAST: usize = 30;
/// Texts have so many words on average, or so many letters of scripts that put no spaces between words.
const WORDS: f64 = 3.0;
const LETTERS: f64 = 10.0;

/// Whether rows have to be looked at to tell what a column of a type holds.
pub fn is_needed(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, of) => is_needed(of),
        DataType::List(of) | DataType::LargeList(of) | DataType::FixedSizeList(of, _) => {
            of.data_type().is_floating()
        }
        _ => false,
    }
}

/// What a column is counted as, by its type and some of its rows; `None` where there are none.
///
/// # Errors
/// Why it is not, for people.
pub fn kind(data_type: &DataType, rows: Option<&ArrayRef>) -> Result<Kind, String> {
    if !is_needed(data_type) {
        return kind_of(data_type).map_err(str::to_owned);
    }
    if let DataType::FixedSizeList(_, width) = data_type {
        let width = usize::try_from(*width).unwrap_or_default();
        return if width > 0 {
            Ok(Kind::Embedding(width))
        } else {
            Err("its lists are empty".to_owned())
        };
    }
    if data_type.is_nested() && !matches!(data_type, DataType::Dictionary(_, _)) {
        let width = rows.and_then(width);
        let width = width.ok_or("its lists are not of one length, and are not compared");
        return Ok(Kind::Embedding(width?));
    }
    let is_text = rows.is_some_and(is_text);
    Ok(if is_text { Kind::Text } else { Kind::Category })
}

/// The length that most lists have, where most of them have one.
fn width(first: &ArrayRef) -> Option<usize> {
    let lists = Lists::of(first).ok()??;
    let mut lengths: HashMap<usize, usize> = HashMap::new();
    let mut all = 0;
    for list in (0..lists.rows()).filter_map(|row| lists.get(row)) {
        *lengths.entry(list.len()).or_default() += 1;
        all += 1;
    }
    let is_most = |(length, rows): &(usize, usize)| *length > 0 && rows * 2 > all;
    lengths.into_iter().find(is_most).map(|(length, _)| length)
}

#[allow(clippy::cast_precision_loss)] // some thousand
fn is_text(first: &ArrayRef) -> bool {
    let Ok(texts) = cast(first, &DataType::Utf8) else {
        return false;
    };
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let (mut rows, mut words, mut letters) = (0, 0, 0);
    for text in texts.as_string::<i32>().iter().flatten() {
        *seen.entry(text).or_default() += 1;
        rows += 1;
        words += text.split_whitespace().count();
        let is_beyond = |letter: &char| letter.is_alphabetic() && !letter.is_ascii();
        letters += text.chars().filter(is_beyond).count();
    }
    let mean = |of: usize| of as f64 / rows.max(1) as f64;
    rows >= LEAST && seen.len() * 2 >= rows && (mean(words) >= WORDS || mean(letters) >= LETTERS)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Array, ListArray, StringArray};
    use arrow::datatypes::Float64Type;

    use super::*;

    /// What it is, its texts, and what these are taken for.
    type Row<'a> = (&'a str, &'a dyn Fn(usize) -> String, Kind);

    fn of_texts(text: &dyn Fn(usize) -> String) -> Kind {
        let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..200).map(text)));
        kind(&DataType::Utf8, Some(&texts)).expect("it can be counted")
    }

    #[test]
    fn texts_are_told_from_names_by_their_words_and_by_how_often_they_come() {
        let rows: [Row<'_>; 8] = [
            (
                "reviews",
                &|row| format!("a fine hat, number {row}"),
                Kind::Text,
            ),
            (
                "what comes again",
                &|row| format!("a fine hat, number {}", row % 50),
                Kind::Category,
            ),
            (
                "ids",
                &|row| format!("550e8400-e29b-41d4-a716-{row:012}"),
                Kind::Category,
            ),
            ("digests", &|row| format!("{row:064x}"), Kind::Category),
            (
                "times",
                &|row| format!("2026-11-01 06:{row}"),
                Kind::Category,
            ),
            (
                "names of people",
                &|row| format!("Ada {row}"),
                Kind::Category,
            ),
            (
                "without spaces",
                &|row| format!("これはとても良い帽子です{row}"),
                Kind::Text,
            ),
            ("empty", &|_| String::new(), Kind::Category),
        ];
        for (what, text, expected) in rows {
            assert_eq!(of_texts(text), expected, "{what}");
        }
        let few: ArrayRef = Arc::new(StringArray::from(vec!["a fine red hat"; 1]));
        assert_eq!(kind(&DataType::Utf8, Some(&few)), Ok(Kind::Category));
        assert_eq!(kind(&DataType::Utf8, None), Ok(Kind::Category));
    }

    #[test]
    fn vectors_have_the_length_that_most_lists_have() {
        let lists = |lengths: &[usize]| -> Result<Kind, String> {
            let rows = lengths.iter().map(|length| Some(vec![Some(0.5); *length]));
            let lists = ListArray::from_iter_primitive::<Float64Type, _, _>(rows);
            kind(
                &lists.data_type().clone(),
                Some(&(Arc::new(lists) as ArrayRef)),
            )
        };
        assert_eq!(lists(&[3, 3, 2]), Ok(Kind::Embedding(3)));
        for none in [&[1, 2, 3][..], &[0, 0], &[]] {
            assert!(lists(none).is_err(), "{none:?}");
        }
        let whole = DataType::new_list(DataType::Int64, true);
        assert!(kind(&whole, None).is_err());
    }
}
