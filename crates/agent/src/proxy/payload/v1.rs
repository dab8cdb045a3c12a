//! The protocol of TensorFlow Serving and KServe, version 1: `instances` in, `predictions` out.

use serde::Deserialize;
use serde_json::{Map, Value};
use windlass_api::agent::Signature;

use super::json::{Cells, read};
use super::{Bodies, Cell, Payload, classes, prediction};

#[derive(Deserialize)]
struct Request {
    id: Option<String>,
    instances: Vec<Instance>,
}

/// An instance: values in the signature's order, or by their names.
#[derive(Deserialize)]
#[serde(untagged)]
enum Instance {
    Named(Map<String, Value>),
    Values(Cells),
}

#[derive(Deserialize)]
struct Response {
    predictions: Vec<Cells>,
}

/// Reads a request, and its answer where that was good.
pub fn parse(bodies: Bodies<'_>, signature: Option<&Signature>) -> Option<Payload> {
    let Request { id, instances } = read(bodies.request)?;
    let names = names(instances.first()?, signature);
    let count = instances.len();
    let (mut cells, mut width) = (Vec::new(), None);
    for instance in instances {
        let before = cells.len();
        match (instance, &names) {
            (Instance::Values(Cells(values)), None) => cells.extend(values),
            (Instance::Named(values), Some(names)) => {
                for (place, name) in names.iter().enumerate() {
                    let feature = signature.and_then(|signature| signature.inputs.get(place));
                    let width = feature.map_or(1, |feature| feature.encoding.width());
                    extend(&mut cells, values.get(name), width);
                }
            }
            (Instance::Values(_), Some(_)) | (Instance::Named(_), None) => return None,
        }
        if *width.get_or_insert(cells.len() - before) != cells.len() - before {
            return None;
        }
    }
    let width = width.filter(|width| *width > 0)?;
    let answer = bodies.response.and_then(read::<Response>);
    let answers = answer.filter(|answer| answer.predictions.len() == count);
    let predictions = match answers {
        Some(answers) => answers
            .predictions
            .iter()
            .map(|Cells(row)| match row.as_slice() {
                [] => Cell::Null,
                row => prediction(row, classes(signature)),
            })
            .collect(),
        None => vec![Cell::Null; count],
    };
    Some(Payload {
        id: id.filter(|id| !id.is_empty()),
        count,
        width,
        names,
        cells,
        predictions,
        ..Payload::default()
    })
}

/// The names of the values in each instance, where these are by name: the signature's, else those of the first.
fn names(first: &Instance, signature: Option<&Signature>) -> Option<Vec<String>> {
    match (first, signature) {
        (Instance::Values(_), _) => None,
        (Instance::Named(_), Some(signature)) => {
            let features = signature.inputs.iter();
            Some(features.map(|feature| feature.name.clone()).collect())
        }
        (Instance::Named(values), None) => {
            let mut names: Vec<String> = values.keys().cloned().collect();
            names.sort();
            Some(names)
        }
    }
}

/// One value, or a list of so many; nulls where it has not as many.
fn extend(cells: &mut Vec<Cell>, value: Option<&Value>, width: usize) {
    match value {
        _ if width == 1 => cells.push(cell(value)),
        Some(Value::Array(values)) if values.len() == width => {
            cells.extend(values.iter().map(|value| cell(Some(value))));
        }
        _ => cells.extend(std::iter::repeat_n(Cell::Null, width)),
    }
}

/// One value, which may be in a list by itself.
fn cell(value: Option<&Value>) -> Cell {
    match value {
        Some(Value::Number(number)) => number.as_f64().map_or(Cell::Null, Cell::Number),
        Some(Value::Bool(truth)) => Cell::Number(f64::from(u8::from(*truth))),
        Some(Value::String(text)) => Cell::Text(text.clone()),
        Some(Value::Array(values)) if values.len() == 1 => cell(values.first()),
        Some(Value::Array(_) | Value::Object(_) | Value::Null) | None => Cell::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Form;
    use super::*;
    use Cell::{Null, Number};

    fn of(request: &str, response: Option<&str>, signature: Option<&Signature>) -> Option<Payload> {
        let bodies = Bodies {
            request: request.as_bytes(),
            response: response.map(str::as_bytes),
            form: Form::JSON,
        };
        parse(bodies, signature)
    }

    #[test]
    fn instances_are_lists_or_single_values() {
        let request = r#"{"instances": [[1, 2.5], [NaN, "x"]]}"#;
        let payload =
            of(request, Some(r#"{"predictions": [0.1, [0.9]]}"#), None).expect("a payload");
        assert_eq!((payload.count, payload.width), (2, 2));
        assert_eq!(
            payload.cells,
            [Number(1.0), Number(2.5), Null, Cell::Text("x".to_owned())]
        );
        assert_eq!(payload.predictions, [Number(0.1), Number(0.9)]);
        let single = of(r#"{"instances": [1, 2]}"#, None, None).expect("a payload");
        assert_eq!((single.count, single.width), (2, 1));
        assert_eq!(single.predictions, [Null, Null]);
    }

    #[test]
    fn instances_by_name_are_in_the_order_of_the_signature() {
        let signature =
            r#"{"inputs": [{"name": "b", "type": "Number"}, {"name": "a", "type": "Number"}]}"#;
        let signature: Signature = serde_json::from_str(signature).expect("a signature");
        let request = r#"{"instances": [{"a": 1, "b": [2], "c": 3}, {"a": 4}]}"#;
        let payload = of(request, None, Some(&signature)).expect("a payload");
        assert_eq!(payload.cells, [Number(2.0), Number(1.0), Null, Number(4.0)]);
        let vectors = r#"{"inputs": [{"name": "b", "type": "Vector", "length": 2}, {"name": "a", "type": "Number"}]}"#;
        let vectors: Signature = serde_json::from_str(vectors).expect("a signature");
        let lists = r#"{"instances": [{"a": 1, "b": [2, 3]}, {"a": 4, "b": [5]}]}"#;
        let payload = of(lists, None, Some(&vectors)).expect("a payload");
        let expected = [
            Number(2.0),
            Number(3.0),
            Number(1.0),
            Null,
            Null,
            Number(4.0),
        ];
        assert_eq!(
            (payload.width, payload.cells.as_slice()),
            (3, expected.as_slice())
        );
        let payload = of(request, None, None).expect("a payload");
        assert_eq!(payload.names.expect("names"), ["a", "b", "c"]);
    }

    #[test]
    fn what_is_no_request_is_not_read() {
        for request in [
            "{}",
            r#"{"instances": []}"#,
            r#"{"instances": [[]]}"#,
            r#"{"instances": [[1], [1, 2]]}"#,
            r#"{"instances": [[1], {"a": 1}]}"#,
        ] {
            assert_eq!(of(request, None, None), None, "{request}");
        }
    }
}
