//! The Open Inference Protocol, version 2: in JSON, in JSON with tensors after it as they lie in memory, and over gRPC.

use prost::Message;
use serde::Deserialize;

use super::json::{Cells, read};
use super::{Bodies, Cell, Form, Payload, cells_of, predictions};
use crate::data::tensors::{self, InferRequest, InferResponse, of_bytes};

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
    #[serde(default)]
    datatype: String,
    data: Option<Cells>,
    #[serde(default)]
    parameters: Parameters,
}

#[derive(Default, Deserialize)]
struct Parameters {
    binary_data_size: Option<usize>,
}

/// Reads a request, and its answer where that was good.
pub fn parse(bodies: Bodies<'_>, classes: &[String]) -> Option<Payload> {
    let (id, shape, cells) = match bodies.form {
        Form::Json { request, .. } => {
            let (json, after) = split(bodies.request, request)?;
            let Request { id, inputs } = read(json)?;
            let tensor = inputs.into_iter().next()?;
            let shape = tensor.shape.clone();
            (id, shape, tensor.cells(after)?)
        }
        Form::Grpc => {
            let request = InferRequest::decode(message(bodies.request)?).ok()?;
            let tensor = request.inputs.into_iter().next()?;
            let shape = tensor.shape.iter().map(|size| usize::try_from(*size).ok());
            let shape: Vec<usize> = shape.collect::<Option<_>>()?;
            let raw = request.raw_input_contents.into_iter().next();
            (Some(request.id), shape, values(tensor, raw)?)
        }
    };
    // A tensor of one dimension is rows of one value.
    let count = *shape.first()?;
    if count == 0 || cells.is_empty() || !cells.len().is_multiple_of(count) {
        return None;
    }
    let answer = bodies
        .response
        .and_then(|response| answer(response, bodies.form));
    Some(Payload {
        id: id.filter(|id| !id.is_empty()),
        count,
        width: cells.len() / count,
        predictions: predictions(&answer.unwrap_or_default(), count, classes),
        cells,
        ..Payload::default()
    })
}

/// The values of an answer's first output.
fn answer(response: &[u8], form: Form) -> Option<Vec<Cell>> {
    match form {
        Form::Json {
            response: length, ..
        } => {
            let (json, after) = split(response, length)?;
            let response: Response = read(json)?;
            response.outputs.into_iter().next()?.cells(after)
        }
        Form::Grpc => {
            let response = InferResponse::decode(message(response)?).ok()?;
            let raw = response.raw_output_contents.into_iter().next();
            values(response.outputs.into_iter().next()?, raw)
        }
    }
}

/// The JSON of a body, and what follows after it.
fn split(body: &[u8], length: Option<usize>) -> Option<(&[u8], &[u8])> {
    length.map_or(Some((body, &[])), |length| body.split_at_checked(length))
}

impl Tensor {
    /// Its values; `after` is what follows after the JSON, of which the first tensor has the first part.
    fn cells(self, after: &[u8]) -> Option<Vec<Cell>> {
        match (self.data, self.parameters.binary_data_size) {
            (Some(Cells(cells)), _) => Some(cells),
            (None, Some(size)) => of_bytes(&self.datatype, after.get(..size)?)
                .ok()
                .map(cells_of),
            (None, None) => None,
        }
    }
}

/// The values of a tensor of gRPC, which may lie beside it.
fn values(tensor: tensors::Tensor, raw: Option<Vec<u8>>) -> Option<Vec<Cell>> {
    let raw = match raw {
        Some(bytes) => of_bytes(&tensor.datatype, &bytes).ok()?,
        None => tensor.contents?.values(),
    };
    Some(cells_of(raw))
}

/// The one message of a body of gRPC: a byte that says whether it is compressed, four of its length, and itself.
fn message(body: &[u8]) -> Option<&[u8]> {
    let ([is_compressed, length @ ..], rest) = body.split_first_chunk::<5>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    (*is_compressed == 0 && rest.len() == length).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::tensors::Contents;
    use Cell::{Null, Number};

    fn of(request: &[u8], response: Option<&[u8]>) -> Option<Payload> {
        let bodies = Bodies {
            request,
            response,
            form: Form::JSON,
        };
        parse(bodies, &[])
    }

    #[test]
    fn rows_are_those_of_the_first_tensor() {
        let request = br#"{"id":"a","inputs":[{"name":"x","shape":[2,2],"datatype":"FP64","data":[1,2.5,null,4]},{"name":"y","shape":[1],"data":[9]}]}"#;
        let response = br#"{"outputs":[{"name":"p","shape":[2],"data":[0.1,0.9]}]}"#;
        let payload = of(request, Some(response)).expect("a payload");
        assert_eq!(payload.id.as_deref(), Some("a"));
        assert_eq!((payload.count, payload.width), (2, 2));
        assert_eq!(payload.cells, [Number(1.0), Number(2.5), Null, Number(4.0)]);
        assert_eq!(payload.predictions, [Number(0.1), Number(0.9)]);
    }

    #[test]
    fn nested_data_and_pythons_nan_are_read() {
        let request =
            br#"{"inputs":[{"name":"NaN \"x","shape":[2,2],"data":[[1,NaN],[-Infinity,true]]}]}"#;
        let payload = of(request, None).expect("a payload");
        assert_eq!(payload.cells, [Number(1.0), Null, Null, Number(1.0)]);
        assert_eq!(payload.predictions, []);
    }

    #[test]
    fn what_is_no_request_is_not_read() {
        for request in [
            "",
            "{}",
            "[]",
            r#"{"inputs":[]}"#,
            r#"{"inputs":[{"shape":[1]}]}"#,
            r#"{"inputs":[{"shape":[0],"data":[]}]}"#,
            r#"{"inputs":[{"shape":[3],"data":[1,2]}]}"#,
        ] {
            assert_eq!(of(request.as_bytes(), None), None, "{request}");
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
            let payload = of(request, Some(response.as_bytes())).expect("a payload");
            assert_eq!(payload.predictions, []);
        }
    }

    #[test]
    fn tensors_after_the_json_are_read() {
        let json = br#"{"inputs":[{"shape":[2,1],"datatype":"FP32","parameters":{"binary_data_size":8}}]}"#;
        let numbers = [0.5_f32, f32::NAN].map(f32::to_le_bytes).concat();
        let request = [json.as_slice(), &numbers].concat();
        let answer = br#"{"outputs":[{"datatype":"INT64","shape":[2],"parameters":{"binary_data_size":16}}]}"#;
        let codes = [3_i64, -1].map(i64::to_le_bytes).concat();
        let response = [answer.as_slice(), &codes].concat();
        let bodies = |request| Bodies {
            request,
            response: Some(&response),
            form: Form::Json {
                request: Some(json.len()),
                response: Some(answer.len()),
            },
        };
        let payload = parse(bodies(&request), &[]).expect("a payload");
        assert_eq!(payload.cells, [Number(0.5), Null]);
        assert_eq!(payload.predictions, [Number(3.0), Number(-1.0)]);
        let cut = &request[..request.len() - 1];
        assert_eq!(parse(bodies(cut), &[]), None);
    }

    #[test]
    fn messages_of_grpc_are_read_unless_they_are_compressed() {
        let framed = |message: Vec<u8>| {
            let length = u32::try_from(message.len()).expect("small").to_be_bytes();
            [&[0], length.as_slice(), &message].concat()
        };
        let input = tensors::Tensor {
            datatype: "FP64".to_owned(),
            shape: vec![2, 1],
            ..tensors::Tensor::default()
        };
        let request = InferRequest {
            id: "a".to_owned(),
            inputs: vec![input.clone()],
            raw_input_contents: vec![[1.0_f64, 2.0].map(f64::to_le_bytes).concat()],
            ..InferRequest::default()
        };
        let output = tensors::Tensor {
            contents: Some(Contents {
                fp64: vec![0.25, 0.75],
                ..Contents::default()
            }),
            ..input
        };
        let response = InferResponse {
            outputs: vec![output],
            ..InferResponse::default()
        };
        let (mut request, response) = (
            framed(request.encode_to_vec()),
            framed(response.encode_to_vec()),
        );
        let read = |request: &[u8]| {
            let bodies = Bodies {
                request,
                response: Some(&response),
                form: Form::Grpc,
            };
            parse(bodies, &[])
        };
        let payload = read(&request).expect("a payload");
        assert_eq!(payload.id.as_deref(), Some("a"));
        assert_eq!(payload.cells, [Number(1.0), Number(2.0)]);
        assert_eq!(payload.predictions, [Number(0.25), Number(0.75)]);
        request[0] = 1;
        assert_eq!(read(&request), None);
    }
}
