//! Reads the rows out of a request and its answer in the Open Inference Protocol.
//!
//! Runs in the log's own thread. Absent on purpose: binary tensors; such a request is counted as dropped.

use serde::Deserialize;
use serde_json::Value;
use windlass_api::agent::{Encoding, Signature};
use windlass_statistics::sample::most_probable;

use crate::data::answers::place_of;

/// The rows of one request.
#[derive(Clone, Debug, PartialEq)]
pub struct Payload {
    /// The request's `id`.
    pub id: Option<String>,
    /// Rows of the first input tensor, each as long as the tensor is wide.
    pub rows: Vec<Vec<Cell>>,
    /// The first output tensor's answer for each row; of several classes the code of the most probable.
    pub predictions: Vec<Cell>,
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

    /// As a category: decoded from its place in the list, where it is a code.
    pub fn category<'a>(&'a self, categories: &'a [String]) -> Option<&'a str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Number(code) => categories.get(place_of(*code)?).map(String::as_str),
            Self::Null => None,
        }
    }
}

#[derive(Deserialize)]
struct Request {
    id: Option<String>,
    inputs: Vec<Tensor>,
}

#[derive(Deserialize)]
struct Response {
    outputs: Vec<Tensor>,
}

#[derive(Deserialize)]
struct Tensor {
    #[serde(default)]
    shape: Vec<usize>,
    data: Vec<Value>,
}

impl Tensor {
    /// The values in row-major order; nested lists are allowed by the protocol.
    fn cells(self) -> Vec<Cell> {
        let mut cells = Vec::with_capacity(self.data.len());
        self.data
            .into_iter()
            .for_each(|value| flatten(value, &mut cells));
        cells
    }
}

fn flatten(value: Value, cells: &mut Vec<Cell>) {
    match value {
        Value::Array(values) => values.into_iter().for_each(|value| flatten(value, cells)),
        Value::Number(number) => cells.push(number.as_f64().map_or(Cell::Null, Cell::Number)),
        Value::Bool(truth) => cells.push(Cell::Number(f64::from(u8::from(truth)))),
        Value::String(text) => cells.push(Cell::Text(text)),
        Value::Null | Value::Object(_) => cells.push(Cell::Null),
    }
}

/// Reads a request, and its answer where that was good; absent when the request cannot be read.
///
/// `classes` are those of the model's signature.
pub fn parse(request: &[u8], response: Option<&[u8]>, classes: &[String]) -> Option<Payload> {
    let Request { id, inputs } = read(request)?;
    let tensor = inputs.into_iter().next()?;
    let shape = tensor.shape.clone();
    let cells = tensor.cells();
    // A tensor of one dimension is rows of one value.
    let rows = *shape.first()?;
    if rows == 0 || !cells.len().is_multiple_of(rows) || cells.is_empty() {
        return None;
    }
    let width = cells.len() / rows;
    let rows: Vec<Vec<Cell>> = cells.chunks(width).map(<[Cell]>::to_vec).collect();
    let predictions = predictions(response, rows.len(), classes);
    Some(Payload {
        id: id.filter(|id| !id.is_empty()),
        rows,
        predictions,
    })
}

/// The first output's answer for each row, by the rules of [`Output`](windlass_api::agent::Output).
fn predictions(response: Option<&[u8]>, rows: usize, classes: &[String]) -> Vec<Cell> {
    let outputs = response
        .and_then(read::<Response>)
        .and_then(|response| response.outputs.into_iter().next());
    let cells = outputs.map(Tensor::cells).unwrap_or_default();
    if cells.is_empty() || !cells.len().is_multiple_of(rows) {
        return vec![Cell::Null; rows];
    }
    cells
        .chunks(cells.len() / rows)
        .map(|row| prediction(row, classes.len()))
        .collect()
}

/// The answer that the numbers of a row are: of two classes the probability of the second, of more the most probable's
/// code; else the first.
fn prediction(row: &[Cell], classes: usize) -> Cell {
    if classes < 2 || row.len() != classes {
        return row[0].clone();
    }
    if classes == 2 {
        return row[1].clone();
    }
    let numbers: Option<Vec<f64>> = row.iter().map(Cell::number).collect();
    numbers.map_or(Cell::Null, |numbers| {
        let code = u32::try_from(most_probable(&numbers)).unwrap_or_default();
        Cell::Number(f64::from(code))
    })
}

fn read<T: for<'de> Deserialize<'de>>(content: &[u8]) -> Option<T> {
    serde_json::from_slice(content)
        .or_else(|_| serde_json::from_slice(&without_nan(content)))
        .ok()
}

/// Python writes `NaN` and `Infinity`, which are no JSON; outside of texts they become `null`.
fn without_nan(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len());
    let (mut in_text, mut rest) = (false, content);
    while let Some((byte, after)) = rest.split_first() {
        if in_text && *byte == b'\\' && !after.is_empty() {
            out.extend_from_slice(&rest[..2]);
            rest = &rest[2..];
            continue;
        }
        in_text ^= *byte == b'"';
        let token = [b"-Infinity".as_slice(), b"Infinity", b"NaN"]
            .into_iter()
            .find(|token| rest.starts_with(token));
        match token {
            Some(token) if !in_text => {
                out.extend_from_slice(b"null");
                rest = &rest[token.len()..];
            }
            _ => {
                out.push(*byte);
                rest = after;
            }
        }
    }
    out
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

/// Whether rows of this width can be logged in the columns of a signature.
pub fn fits(signature: Option<&Signature>, width: usize) -> bool {
    signature.is_none_or(|signature| signature.inputs.len() == width)
}

/// Whether a column holds categories, and which.
pub fn categories(encoding: &Encoding) -> Option<&[String]> {
    match encoding {
        Encoding::Number => None,
        Encoding::Category { categories } => Some(categories),
        Encoding::Text => Some(&[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Cell::{Null, Number};

    #[test]
    fn rows_are_those_of_the_first_tensor() {
        let request = br#"{"id":"a","inputs":[{"name":"x","shape":[2,2],"datatype":"FP64","data":[1,2.5,null,4]},{"name":"y","shape":[1],"data":[9]}]}"#;
        let response = br#"{"outputs":[{"name":"p","shape":[2],"data":[0.1,0.9]}]}"#;
        let payload = parse(request, Some(response), &[]).expect("a payload");
        assert_eq!(payload.id.as_deref(), Some("a"));
        assert_eq!(
            payload.rows,
            vec![vec![Number(1.0), Number(2.5)], vec![Null, Number(4.0)]]
        );
        assert_eq!(payload.predictions, vec![Number(0.1), Number(0.9)]);
    }

    #[test]
    fn nested_data_and_pythons_nan_are_read() {
        let request =
            br#"{"inputs":[{"name":"NaN \"x","shape":[2,2],"data":[[1,NaN],[-Infinity,true]]}]}"#;
        let payload = parse(request, None, &[]).expect("a payload");
        assert_eq!(
            payload.rows,
            vec![vec![Number(1.0), Null], vec![Null, Number(1.0)]]
        );
        assert_eq!(payload.predictions, vec![Null, Null]);
    }

    #[test]
    fn what_is_no_request_is_not_read() {
        for request in [
            "",
            "{}",
            "[]",
            r#"{"inputs":[]}"#,
            r#"{"inputs":[{"shape":[0],"data":[]}]}"#,
            r#"{"inputs":[{"shape":[3],"data":[1,2]}]}"#,
        ] {
            assert_eq!(parse(request.as_bytes(), None, &[]), None, "{request}");
        }
    }

    #[test]
    fn an_answer_that_cannot_be_read_is_no_prediction() {
        let request = br#"{"inputs":[{"shape":[1,1],"data":[1]}]}"#;
        for response in [
            "",
            r#"{"error":"no"}"#,
            r#"{"outputs":[{"shape":[0],"data":[]}]}"#,
        ] {
            assert_eq!(
                parse(request, Some(response.as_bytes()), &[])
                    .expect("a payload")
                    .predictions,
                vec![Null]
            );
        }
    }

    #[test]
    fn a_prediction_of_classes_is_one_value() {
        let request = br#"{"inputs":[{"shape":[2,1],"data":[1,2]}]}"#;
        let of = |data: &str, classes: &[&str]| {
            let response = format!(r#"{{"outputs":[{{"data":{data}}}]}}"#);
            let classes: Vec<String> = classes.iter().map(|&class| class.to_owned()).collect();
            parse(request, Some(response.as_bytes()), &classes)
                .expect("a payload")
                .predictions
        };
        assert_eq!(
            of("[0.9, 0.1, 0.2, 0.8]", &["no", "yes"]),
            [Number(0.1), Number(0.8)]
        );
        assert_eq!(
            of("[0.1, 0.2, 0.7, 0.6, 0.4, 0]", &["a", "b", "c"]),
            [Number(2.0), Number(0.0)]
        );
        assert_eq!(of("[0.3, 0.4]", &["no", "yes"]), [Number(0.3), Number(0.4)]);
        assert_eq!(of("[0.9, 0.1, 0.2, 0.8]", &[]), [Number(0.9), Number(0.2)]);
    }

    #[test]
    fn a_code_that_is_in_no_list_is_null() {
        let categories = ["red".to_owned(), "blue".to_owned()];
        assert_eq!(Number(1.0).category(&categories), Some("blue"));
        for unknown in [-1.0, 2.0, 0.5, f64::NAN] {
            assert_eq!(Number(unknown).category(&categories), None);
        }
        assert_eq!(
            Cell::Text("red".to_owned()).category(&categories),
            Some("red")
        );
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
