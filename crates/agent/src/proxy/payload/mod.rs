//! Reads the rows out of a request and its answer, by the protocol that they are in.
//!
//! ```text
//!   open_inference (JSON, binary tensors, gRPC) ─┐
//!   v1 (instances, predictions) ─────────────────┼──> Payload ──> rows of the log, counts, comparisons
//!   open_ai (messages, streamed or not) ─────────┘
//! ```
//!
//! Runs in the log's own thread, and where answers of two versions are compared. Absent on purpose: compressed messages of
//! gRPC, and streams of it; such a request is counted as dropped.

mod json;
mod open_ai;
mod open_inference;
mod v1;

use windlass_api::agent::{Encoding, Signature, prediction_bin};
use windlass_statistics::sample::most_probable;

pub use self::open_ai::{Chat, event_text};
use super::arguments::Protocol;
use crate::data::answers::{Raw, place_of};

/// The rows of one request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Payload {
    /// The request's own `id`.
    pub id: Option<String>,
    /// How many rows.
    pub count: usize,
    /// Values in each row.
    pub width: usize,
    /// Their names, where the request says them.
    pub names: Option<Vec<String>>,
    /// The values: rows × width, row by row.
    pub cells: Vec<Cell>,
    /// The answer to each row; of several classes the code of the most probable. Empty where bodies are not read.
    pub predictions: Vec<Cell>,
    /// What the OpenAI protocol says beside.
    pub chat: Option<Chat>,
}

/// A value of an input tensor.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// A null or NaN.
    Null,
    /// A number, or a truth value as 0 and 1.
    Number(f64),
    /// A text, of a BYTES tensor.
    Text(String),
}

impl Cell {
    /// As a number.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Null | Self::Text(_) => None,
        }
    }

    /// As a text.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Null | Self::Number(_) => None,
        }
    }

    /// As a category: decoded from its place in the list, where it is a code.
    pub fn category<'a>(&'a self, categories: &'a [String]) -> Option<&'a str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Number(code) => categories.get(place_of(*code)?).map(String::as_str),
            Self::Null => None,
        }
    }
}

/// The bodies of a request and its answer.
#[derive(Clone, Copy, Debug)]
pub struct Bodies<'a> {
    /// The request's.
    pub request: &'a [u8],
    /// The answer's, where that was good.
    pub response: Option<&'a [u8]>,
    /// How they are written.
    pub form: Form,
}

/// How bodies are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// In JSON. Where a length is given, tensors follow after so many bytes of it, as they lie in memory.
    Json {
        /// The request's length.
        request: Option<usize>,
        /// The answer's length.
        response: Option<usize>,
    },
    /// As messages of gRPC.
    Grpc,
}

impl Form {
    /// JSON and nothing after it.
    pub const JSON: Self = Self::Json {
        request: None,
        response: None,
    };
}

/// Reads a request, and its answer where that was good; absent when the request cannot be read, or does not fit the
/// signature.
pub fn parse(
    protocol: Protocol,
    bodies: Bodies<'_>,
    signature: Option<&Signature>,
) -> Option<Payload> {
    match protocol {
        Protocol::OpenInference => open_inference::parse(bodies, classes(signature)),
        Protocol::V1 => v1::parse(bodies, signature),
        Protocol::OpenAI => return open_ai::parse(bodies, signature),
        Protocol::Raw => {
            return Some(Payload {
                count: 1,
                ..Payload::default()
            });
        }
    }
    .filter(|payload| signature.is_none_or(|signature| signature.width() == payload.width))
}

/// The classes of a model.
pub fn classes(signature: Option<&Signature>) -> &[String] {
    signature.map_or(&[], |signature| &signature.output.classes)
}

/// Cuts an answer's values into one for each row, by the rules of [`Output`](windlass_api::agent::Output); none where they
/// are not that many.
fn predictions(cells: &[Cell], rows: usize, classes: &[String]) -> Vec<Cell> {
    if cells.is_empty() || !cells.len().is_multiple_of(rows) {
        return Vec::new();
    }
    cells
        .chunks(cells.len() / rows)
        .map(|row| prediction(row, classes))
        .collect()
}

/// The answer that the values of a row are: of two classes the probability of the second, of more the most probable's
/// code; else the first. The name of one of two classes is its probability.
fn prediction(row: &[Cell], classes: &[String]) -> Cell {
    if let (Cell::Text(text), [first, second]) = (&row[0], classes) {
        if text == second {
            return Cell::Number(1.0);
        }
        if text == first {
            return Cell::Number(0.0);
        }
    }
    if classes.len() < 2 || row.len() != classes.len() {
        return row[0].clone();
    }
    if classes.len() == 2 {
        return row[1].clone();
    }
    let numbers: Option<Vec<f64>> = row.iter().map(Cell::number).collect();
    numbers.map_or(Cell::Null, |numbers| {
        let code = u32::try_from(most_probable(&numbers)).unwrap_or_default();
        Cell::Number(f64::from(code))
    })
}

/// Values as they lie in memory.
fn cells_of(raw: Raw) -> Vec<Cell> {
    match raw {
        Raw::Numbers(numbers) => numbers
            .into_iter()
            .map(|number| {
                if number.is_nan() {
                    Cell::Null
                } else {
                    Cell::Number(number)
                }
            })
            .collect(),
        Raw::Texts(texts) => texts.into_iter().map(Cell::Text).collect(),
    }
}

/// The bin of answers that are no number, such as NaN: beyond those of all numbers and classes.
const NO_NUMBER: i32 = i32::MAX;

/// The bin that a prediction is counted in: of more than two classes the class's code, else the number's bin.
pub fn bin(prediction: &Cell, classes: &[String]) -> Option<i32> {
    let code = match prediction {
        Cell::Null => return Some(NO_NUMBER),
        Cell::Number(number) if classes.len() <= 2 => {
            return Some(prediction_bin(*number).unwrap_or(NO_NUMBER));
        }
        Cell::Text(_) if classes.len() <= 2 => return None,
        Cell::Number(code) => place_of(*code).filter(|code| *code < classes.len()),
        Cell::Text(text) => classes.iter().position(|class| class == text),
    };
    code.and_then(|code| i32::try_from(code).ok())
}

/// Whether two answers to one row are the same: the same class, or numbers that differ by no more than 1% of the larger
/// one. Absent where they cannot be compared.
pub fn agree(one: &Cell, other: &Cell, classes: &[String]) -> Option<bool> {
    const PART: f64 = 0.01;
    match (one, other) {
        (Cell::Number(one), Cell::Number(other)) => Some(match classes.len() {
            0 | 1 => (one - other).abs() <= PART * one.abs().max(other.abs()),
            2 => (*one > 0.5) == (*other > 0.5),
            _ => one.total_cmp(other).is_eq(),
        }),
        (Cell::Text(one), Cell::Text(other)) => Some(one == other),
        // One that gives no number at all answers otherwise than one that does.
        (Cell::Null, other) | (other, Cell::Null) => (*other != Cell::Null).then_some(false),
        (Cell::Text(text), Cell::Number(_)) | (Cell::Number(_), Cell::Text(text))
            if classes.len() > 2 =>
        {
            let number = one.number().or(other.number())?;
            Some(classes.get(place_of(number)?) == Some(text))
        }
        _ => None,
    }
}

/// How many rows a request holds that is not read: by the first `"shape":[N`, else 1.
pub fn guessed_rows(beginning: &[u8]) -> u64 {
    const KEY: &[u8] = b"\"shape\"";
    let beginning = &beginning[..beginning.len().min(4096)];
    let Some(at) = beginning
        .windows(KEY.len())
        .position(|window| window == KEY)
    else {
        return 1;
    };
    let digits: String = beginning[at + KEY.len()..]
        .iter()
        .skip_while(|byte| byte.is_ascii_whitespace() || matches!(byte, b':' | b'['))
        .take_while(|byte| byte.is_ascii_digit())
        .map(|byte| char::from(*byte))
        .collect();
    digits.parse().unwrap_or(1).clamp(1, 1_000_000)
}

/// Whether a column holds categories, and which.
pub fn categories(encoding: &Encoding) -> Option<&[String]> {
    match encoding {
        Encoding::Number | Encoding::Vector { .. } => None,
        Encoding::Category { categories } => Some(categories),
        Encoding::Text => Some(&[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Cell::{Null, Number};

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn text(text: &str) -> Cell {
        Cell::Text(text.to_owned())
    }

    #[test]
    fn a_prediction_of_classes_is_one_value() {
        let of = |cells: &[f64], classes: &[&str]| {
            let cells: Vec<Cell> = cells.iter().copied().map(Number).collect();
            predictions(&cells, 2, &names(classes))
        };
        assert_eq!(
            of(&[0.9, 0.1, 0.2, 0.8], &["no", "yes"]),
            [Number(0.1), Number(0.8)]
        );
        assert_eq!(
            of(&[0.1, 0.2, 0.7, 0.6, 0.4, 0.0], &["a", "b", "c"]),
            [Number(2.0), Number(0.0)]
        );
        assert_eq!(of(&[0.3, 0.4], &["no", "yes"]), [Number(0.3), Number(0.4)]);
        assert_eq!(of(&[0.9, 0.1, 0.2, 0.8], &[]), [Number(0.9), Number(0.2)]);
        assert_eq!(of(&[0.9, 0.1, 0.2], &[]), []);
        let named = predictions(&[text("yes"), text("no")], 2, &names(&["no", "yes"]));
        assert_eq!(named, [Number(1.0), Number(0.0)]);
    }

    #[test]
    fn a_code_that_is_in_no_list_is_null() {
        let categories = names(&["red", "blue"]);
        assert_eq!(Number(1.0).category(&categories), Some("blue"));
        for unknown in [-1.0, 2.0, 0.5, f64::NAN] {
            assert_eq!(Number(unknown).category(&categories), None);
        }
        assert_eq!(text("red").category(&categories), Some("red"));
    }

    #[test]
    fn predictions_are_counted_by_class_or_by_the_bin_of_the_number() {
        let classes = names(&["a", "b", "c"]);
        assert_eq!(bin(&Number(2.0), &classes), Some(2));
        assert_eq!(bin(&text("b"), &classes), Some(1));
        assert_eq!(bin(&text("x"), &classes), None);
        assert_eq!(bin(&Number(3.0), &classes), None);
        assert_eq!(bin(&Number(0.7), &[]), prediction_bin(0.7));
        assert_eq!(
            bin(&Number(0.7), &names(&["no", "yes"])),
            prediction_bin(0.7)
        );
        for none in [Null, Number(f64::NAN), Number(f64::INFINITY)] {
            assert_eq!(bin(&none, &[]), Some(NO_NUMBER));
        }
        assert_eq!(bin(&Null, &classes), Some(NO_NUMBER));
        assert_eq!(bin(&text("x"), &[]), None);
    }

    #[test]
    fn answers_agree_by_class_or_within_a_hundredth() {
        let (two, three) = (names(&["no", "yes"]), names(&["a", "b", "c"]));
        for (one, other, classes, same) in [
            (Number(100.0), Number(99.0), &[][..], Some(true)),
            (Number(100.0), Number(98.9), &[], Some(false)),
            (Number(0.0), Number(0.0), &[], Some(true)),
            (Number(0.6), Number(0.9), &two, Some(true)),
            (Number(0.4), Number(0.6), &two, Some(false)),
            (Number(1.0), Number(1.0), &three, Some(true)),
            (Number(1.0), Number(2.0), &three, Some(false)),
            (Number(1.0), text("b"), &three, Some(true)),
            (text("a"), text("b"), &[], Some(false)),
            (Null, Number(1.0), &[], Some(false)),
            (Number(1.0), Null, &three, Some(false)),
            (Null, Null, &[], None),
            (text("a"), Number(1.0), &[], None),
        ] {
            assert_eq!(agree(&one, &other, classes), same, "{one:?} {other:?}");
        }
    }

    #[test]
    fn rows_of_an_unread_request_are_guessed() {
        assert_eq!(
            guessed_rows(br#"{"inputs":[{"name":"x","shape": [ 64, 3]"#),
            64
        );
        assert_eq!(guessed_rows(b""), 1);
        assert_eq!(guessed_rows(br#"{"shape":["#), 1);
    }
}
