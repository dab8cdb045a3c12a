//! A model server, whatever protocol it speaks.
//!
//! | protocol | readiness | a request |
//! |---|---|---|
//! | `OpenInference` | `GET /v2/health/ready`, `GET /v2/models/NAME/ready` | `POST /v2/models/NAME/infer`, a tensor of 1,000 rows |
//! | `OpenInferenceGRPC` | `ServerReady`, `ModelReady` | `ModelInfer`, the same |
//! | `V1` | `GET /v1/models/NAME` | `POST /v1/models/NAME:predict`, 1,000 instances |
//! | `OpenAI` | `GET /v1/models` names it | `POST /v1/chat/completions`, one row; several at once |
//!
//! Absent on purpose: repeating a request. A server that fails on a row is not one to serve.

mod grpc;
mod open_ai;
mod open_inference;
mod v1;

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use serde_json::Value;
use tokio::time::{Instant, sleep};
use windlass_api::Protocol;
use windlass_api::agent::{Encoding, FailureReason, FailureReport, Output, Signature};

use crate::data::answers::{Answers, Raw};
use crate::data::encode::{RawFeature, Tensor, Values};
use crate::report::{chain, failure};

/// Rows in one request.
const BATCH_ROWS: usize = 1000;
/// How many requests of one row are under way at once.
const IN_FLIGHT: usize = 8;
/// How long between two looks at a server that is not ready.
const POLL: Duration = Duration::from_millis(200);
/// How long one of these may take.
const POLL_TIMEOUT: Duration = Duration::from_secs(5);
/// How much of an error's body a message holds.
const MAX_BODY: usize = 300;

/// A model on a server.
pub struct Server {
    base: String,
    wire: Wire,
}

enum Wire {
    OpenInference(Http),
    Grpc(grpc::Grpc),
    V1(Http),
    OpenAi(Http),
}

/// A model behind an HTTP server.
struct Http {
    base: String,
    model: String,
    client: reqwest::Client,
}

/// What a server is asked about rows.
#[derive(Clone, Debug, PartialEq)]
pub enum Question {
    /// A tensor of numbers.
    Tensor(Tensor),
    /// A text a row.
    Texts(Vec<String>),
}

impl Question {
    /// What a server of a protocol is asked about features, which are in the order of the signature.
    ///
    /// # Errors
    /// [`FailureReason::InvalidArguments`], where the protocol has no way to ask it.
    pub fn new(
        protocol: Protocol,
        signature: &Signature,
        features: &[RawFeature],
    ) -> Result<Self, FailureReport> {
        let is_text = |encoding: &Encoding| matches!(encoding, Encoding::Text);
        let texts: Vec<usize> = (0..signature.inputs.len())
            .filter(|at| is_text(&signature.inputs[*at].encoding))
            .collect();
        let invalid = |message: String| Err(failure(FailureReason::InvalidArguments, message));
        match (protocol, texts.as_slice()) {
            (Protocol::OpenAI, [at]) => {
                let Values::Category(texts) = &features[*at].values else {
                    return invalid(format!("the input '{}' holds no texts", features[*at].name));
                };
                let texts = texts.iter().map(|text| text.clone().unwrap_or_default());
                Ok(Self::Texts(texts.collect()))
            }
            (Protocol::OpenAI, all) => invalid(format!(
                "the protocol OpenAI asks one text a row, and the model's signature names {} inputs of the type Text; name the column of the prompts as the one",
                all.len()
            )),
            (_, []) => Ok(Self::Tensor(Tensor::encode(signature, features))),
            (other, [at, ..]) => invalid(format!(
                "the protocol {} takes numbers, and the input '{}' of the model's signature is of the type Text; encode it as a Category, or use the protocol OpenAI",
                other.as_str(),
                signature.inputs[*at].name
            )),
        }
    }
}

impl Server {
    /// The model of a name on the server at `base`, `http://127.0.0.1:8081`; a request may take so long.
    pub fn new(
        protocol: Protocol,
        base: &str,
        model: &str,
        timeout: Duration,
    ) -> Result<Self, FailureReport> {
        let base = base.trim_end_matches('/').to_owned();
        let wire = match protocol {
            Protocol::OpenInference => Wire::OpenInference(Http::new(&base, model, timeout)?),
            Protocol::OpenInferenceGRPC => Wire::Grpc(grpc::Grpc::new(&base, model, timeout)?),
            Protocol::V1 => Wire::V1(Http::new(&base, model, timeout)?),
            Protocol::OpenAI => Wire::OpenAi(Http::new(&base, model, timeout)?),
        };
        Ok(Self { base, wire })
    }

    /// Waits until the server and the model on it are ready.
    ///
    /// # Errors
    /// [`FailureReason::ServerNotReady`] with the last answer.
    pub async fn wait_until_ready(&self, patience: Duration) -> Result<(), FailureReport> {
        let end = Instant::now() + patience;
        loop {
            let problem = match self.is_ready().await {
                Ok(()) => return Ok(()),
                Err(problem) => problem,
            };
            if Instant::now() >= end {
                let message = format!(
                    "the model server at {} was not ready after {} s: {problem}",
                    self.base,
                    patience.as_secs()
                );
                return Err(failure(FailureReason::ServerNotReady, message));
            }
            sleep(POLL).await;
        }
    }

    async fn is_ready(&self) -> Result<(), String> {
        match &self.wire {
            Wire::OpenInference(http) => open_inference::is_ready(http).await,
            Wire::Grpc(grpc) => grpc.is_ready(POLL_TIMEOUT).await,
            Wire::V1(http) => v1::is_ready(http).await,
            Wire::OpenAi(http) => open_ai::is_ready(http).await,
        }
    }

    /// The model's answer for each row; there are so many rows before these, for messages.
    ///
    /// # Errors
    /// [`FailureReason::ServerFailed`] for an error, or for an answer that does not fit the rows or the signature's classes.
    pub async fn predict(
        &self,
        question: &Question,
        output: &Output,
        before: usize,
    ) -> Result<Answers, FailureReport> {
        match question {
            Question::Tensor(tensor) => self.of_tensor(tensor, output, before).await,
            Question::Texts(texts) => self.of_texts(texts, output, before).await,
        }
    }

    async fn of_tensor(
        &self,
        tensor: &Tensor,
        output: &Output,
        before: usize,
    ) -> Result<Answers, FailureReport> {
        let mut answers = Answers::default();
        for (batch, rows) in tensor.data.chunks(BATCH_ROWS * tensor.width).enumerate() {
            let first = before + batch * BATCH_ROWS;
            let count = rows.len() / tensor.width;
            let about = |problem: String| self.failed(first, count, &problem);
            let batch = Batch {
                tensor: &tensor.name,
                width: tensor.width,
                rows,
                id: format!("windlass-{first}"),
            };
            let raw = match &self.wire {
                Wire::OpenInference(http) => open_inference::infer(http, &batch).await,
                Wire::Grpc(grpc) => grpc.infer(&batch).await,
                Wire::V1(http) => v1::predict(http, &batch).await,
                Wire::OpenAi(_) => Err("its protocol takes texts, and no tensor".to_owned()),
            };
            let read = raw.and_then(|raw| Answers::read(output, raw, count));
            let read = read.map_err(about)?;
            answers.extend(read).map_err(about)?;
        }
        Ok(answers)
    }

    async fn of_texts(
        &self,
        texts: &[String],
        output: &Output,
        before: usize,
    ) -> Result<Answers, FailureReport> {
        let Wire::OpenAi(http) = &self.wire else {
            return Err(self.failed(
                before,
                texts.len(),
                "its protocol takes a tensor, and no texts",
            ));
        };
        if texts.is_empty() {
            return Ok(Answers::default());
        }
        let ask = |(row, text): (usize, String)| async move {
            let answer = open_ai::complete(http, &text).await;
            answer.map_err(|problem| self.failed(before + row, 1, &problem))
        };
        let all = texts.iter().cloned().enumerate();
        let answers: Vec<String> = stream::iter(all)
            .map(ask)
            .buffered(IN_FLIGHT)
            .try_collect()
            .await?;
        Answers::read(output, Raw::Texts(answers), texts.len())
            .map_err(|problem| self.failed(before, texts.len(), &problem))
    }

    /// That it failed on so many rows from this one on.
    pub fn failed(&self, first: usize, rows: usize, problem: &str) -> FailureReport {
        let last = first + rows.saturating_sub(1);
        let message = format!(
            "the model server at {} failed on rows {first} to {last}: {problem}",
            self.base
        );
        failure(FailureReason::ServerFailed, message)
    }
}

/// Rows of one request.
struct Batch<'a> {
    /// Name of the tensor.
    tensor: &'a str,
    /// Columns of a row.
    width: usize,
    /// The rows, one after the other; NaN stands for no value.
    rows: &'a [f64],
    /// The request's name.
    id: String,
}

impl Batch<'_> {
    /// How many rows.
    fn count(&self) -> usize {
        self.rows.len() / self.width
    }
}

impl Http {
    fn new(base: &str, model: &str, timeout: Duration) -> Result<Self, FailureReport> {
        let client = reqwest::Client::builder()
            .timeout(timeout)
            .no_proxy()
            .build();
        let client = client.map_err(|problem| failure(FailureReason::Internal, chain(&problem)))?;
        Ok(Self {
            base: base.to_owned(),
            model: model.to_owned(),
            client,
        })
    }

    async fn get(&self, path: &str) -> Result<reqwest::Response, String> {
        let request = self
            .client
            .get(format!("{}{path}", self.base))
            .timeout(POLL_TIMEOUT);
        let answer = request.send().await.map_err(|problem| chain(&problem))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        Err(format!("GET {path} is answered with {}", answer.status()))
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Value, String> {
        let url = format!("{}{path}", self.base);
        let request = self.client.post(url).json(body);
        let answer = request.send().await.map_err(|problem| chain(&problem))?;
        let status = answer.status();
        let content = answer.bytes().await.map_err(|problem| chain(&problem))?;
        if !status.is_success() {
            let text = String::from_utf8_lossy(&content);
            return Err(format!(
                "HTTP {status}: {}",
                &text[..text.floor_char_boundary(MAX_BODY)]
            ));
        }
        serde_json::from_slice(&content)
            .map_err(|problem| format!("its answer is not JSON: {problem}"))
    }
}

/// The values of JSON lists, however deeply they lie in each other: all numbers or all texts.
///
/// # Errors
/// A sentence with the first value that is neither.
fn values(data: &Value) -> Result<Raw, String> {
    let mut flat = Vec::new();
    flatten(data, &mut flat);
    if flat.first().is_some_and(|first| first.is_string()) {
        let text = |value: &&Value| value.as_str().map(str::to_owned);
        return flat
            .iter()
            .map(|value| text(value).ok_or_else(|| format!("its answer holds {value} among texts")))
            .collect::<Result<_, String>>()
            .map(Raw::Texts);
    }
    let number = |(at, value): (usize, &&Value)| {
        let number = value
            .as_f64()
            .or_else(|| value.as_bool().map(|is| f64::from(u8::from(is))));
        number.ok_or_else(|| format!("the value {at} of its answer is {value}, which is no number"))
    };
    let numbers: Result<Vec<f64>, String> = flat.iter().enumerate().map(number).collect();
    numbers.map(Raw::Numbers)
}

fn flatten<'a>(value: &'a Value, into: &mut Vec<&'a Value>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| flatten(value, into)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            into.push(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use windlass_api::agent::Feature;

    use super::*;

    #[test]
    fn values_of_all_shapes_are_read_in_their_order() {
        let numbers = |all: &[f64]| Ok(Raw::Numbers(all.to_vec()));
        assert_eq!(values(&json!([0.1, 0.9])), numbers(&[0.1, 0.9]));
        assert_eq!(values(&json!([[0.1], [true]])), numbers(&[0.1, 1.0]));
        let texts = Raw::Texts(vec!["a".to_owned(), "b".to_owned()]);
        assert_eq!(values(&json!([["a"], ["b"]])), Ok(texts));
        assert!(values(&json!([0.1, null])).is_err());
        assert!(values(&json!(["a", 1])).is_err());
    }

    #[test]
    fn what_is_asked_follows_the_protocol() {
        let feature = |name: &str, encoding| Feature {
            name: name.to_owned(),
            encoding,
        };
        let raw = |name: &str, values| RawFeature {
            name: name.to_owned(),
            values,
        };
        let of = |inputs: Vec<Feature>| Signature {
            inputs,
            ..Signature::default()
        };
        let numbers = of(vec![feature("wind", Encoding::Number)]);
        let texts = of(vec![feature("prompt", Encoding::Text)]);
        let wind = [raw("wind", Values::Number(vec![Some(1.0)]))];
        let prompt = [raw(
            "prompt",
            Values::Category(vec![Some("well?".to_owned()), None]),
        )];
        let asked = Question::new(Protocol::OpenAI, &texts, &prompt).expect("a question");
        assert_eq!(
            asked,
            Question::Texts(vec!["well?".to_owned(), String::new()])
        );
        for protocol in [
            Protocol::OpenInference,
            Protocol::OpenInferenceGRPC,
            Protocol::V1,
        ] {
            let asked = Question::new(protocol, &numbers, &wind).expect("a question");
            assert!(matches!(asked, Question::Tensor(_)));
            let refused = Question::new(protocol, &texts, &prompt).expect_err("refused");
            assert!(refused.message.contains("'prompt'"), "{}", refused.message);
        }
        let refused = Question::new(Protocol::OpenAI, &numbers, &wind).expect_err("refused");
        assert_eq!(refused.reason, FailureReason::InvalidArguments);
    }

    #[test]
    fn a_missing_value_is_null_on_the_wire() {
        assert_eq!(json!([1.0, f64::NAN]).to_string(), "[1.0,null]");
    }
}
