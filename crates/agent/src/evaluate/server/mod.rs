//! A model server that speaks the Open Inference Protocol (V2) over HTTP.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use windlass_api::agent::{FailureReason, FailureReport};

use crate::data::encode::Tensor;
use crate::report::{chain, failure};

/// Rows in one request.
const BATCH_ROWS: usize = 1000;
/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(1);
/// How long between two looks at a server that is not ready.
const POLL: Duration = Duration::from_millis(200);
/// How much of an error's body a message holds.
const MAX_BODY: usize = 300;

/// A model on a server.
#[derive(Clone, Debug)]
pub struct Server {
    base: String,
    model: String,
    client: reqwest::Client,
}

impl Server {
    /// The model of a name on the server at `base`, `http://127.0.0.1:8081`.
    pub fn new(base: &str, model: &str) -> Result<Self, FailureReport> {
        let client = reqwest::Client::builder()
            .timeout(REQUEST_TIMEOUT)
            .no_proxy()
            .build();
        let client = client.map_err(|problem| failure(FailureReason::Internal, chain(&problem)))?;
        Ok(Self {
            base: base.trim_end_matches('/').to_owned(),
            model: model.to_owned(),
            client,
        })
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
        for path in [
            "/v2/health/ready".to_owned(),
            format!("/v2/models/{}/ready", self.model),
        ] {
            let request = self
                .client
                .get(format!("{}{path}", self.base))
                .timeout(Duration::from_secs(5));
            let answer = request.send().await.map_err(|problem| chain(&problem))?;
            if !answer.status().is_success() {
                return Err(format!("GET {path} is answered with {}", answer.status()));
            }
        }
        Ok(())
    }

    /// The model's answer for each row: the first value of its first output tensor.
    ///
    /// # Errors
    /// [`FailureReason::ServerFailed`] for an error, a shape that does not fit the rows, or a value that is no number.
    pub async fn predict(&self, tensor: &Tensor) -> Result<Vec<f64>, FailureReport> {
        let mut answers = Vec::with_capacity(tensor.rows());
        for (batch, rows) in tensor.data.chunks(BATCH_ROWS * tensor.width).enumerate() {
            let first = batch * BATCH_ROWS;
            let count = rows.len() / tensor.width;
            let about = |problem: String| {
                let last = first + count - 1;
                let message = format!(
                    "the model server at {} failed on rows {first} to {last}: {problem}",
                    self.base
                );
                failure(FailureReason::ServerFailed, message)
            };
            let answer = self
                .infer(&tensor.name, tensor.width, rows, first)
                .await
                .map_err(about)?;
            answers.extend(first_values(&answer, count).map_err(about)?);
        }
        Ok(answers)
    }

    async fn infer(
        &self,
        name: &str,
        width: usize,
        rows: &[f64],
        first: usize,
    ) -> Result<Value, String> {
        // serde_json writes NaN as null, which is how the protocol's servers take a missing value.
        let body = json!({
            "id": format!("windlass-{first}"),
            "inputs": [{"name": name, "shape": [rows.len() / width, width], "datatype": "FP64", "data": rows}],
        });
        let url = format!("{}/v2/models/{}/infer", self.base, self.model);
        let answer = self
            .client
            .post(url)
            .json(&body)
            .send()
            .await
            .map_err(|problem| chain(&problem))?;
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

/// One number for each of `rows`, from a response of the protocol.
fn first_values(answer: &Value, rows: usize) -> Result<Vec<f64>, String> {
    let data = answer
        .pointer("/outputs/0/data")
        .ok_or("its answer has no outputs[0].data")?;
    let mut flat = Vec::new();
    flatten(data, &mut flat);
    if rows == 0 || flat.is_empty() || flat.len() % rows != 0 {
        return Err(format!(
            "its answer holds {} values for {rows} rows",
            flat.len()
        ));
    }
    let value = |(row, value): (usize, &&Value)| {
        let number = value
            .as_f64()
            .or_else(|| value.as_bool().map(|is| f64::from(u8::from(is))));
        number.ok_or_else(|| {
            format!("its answer for the row {row} of the request is {value}, which is no number")
        })
    };
    let width = flat.len() / rows;
    flat.iter().step_by(width).enumerate().map(value).collect()
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
    use super::*;

    #[test]
    fn answers_of_all_shapes_give_the_first_value_of_a_row() {
        let of = |data: Value, rows| first_values(&json!({"outputs": [{"data": data}]}), rows);
        assert_eq!(of(json!([0.1, 0.9]), 2), Ok(vec![0.1, 0.9]));
        assert_eq!(of(json!([[0.1], [0.9]]), 2), Ok(vec![0.1, 0.9]));
        assert_eq!(of(json!([0.1, 0.2, 0.8, 0.3]), 2), Ok(vec![0.1, 0.8]));
        assert_eq!(
            of(json!([0.1, 0.9, 0.3]), 2),
            Err("its answer holds 3 values for 2 rows".to_owned())
        );
        assert!(of(json!([0.1, null]), 2).is_err());
        assert!(first_values(&json!({"error": "x"}), 1).is_err());
    }

    #[test]
    fn a_missing_value_is_null_on_the_wire() {
        assert_eq!(json!([1.0, f64::NAN]).to_string(), "[1.0,null]");
    }
}
