//! The V1 protocol of TensorFlow Serving and KServe, over HTTP.
//!
//! Sources: TensorFlow Serving, "RESTful API"; KServe, "V1 protocol".

use serde_json::{Value, json};

use super::{Batch, Http, values};
use crate::data::answers::Raw;

/// KServe says `ready`, TensorFlow Serving the state of each version.
pub(super) async fn is_ready(http: &Http) -> Result<(), String> {
    let path = format!("/v1/models/{}", http.model);
    let answer = http.get(&path).await?;
    // A server that says no more than 200 is ready.
    let status: Value = answer.json().await.unwrap_or_default();
    let is_ready = status
        .get("ready")
        .is_none_or(|ready| *ready != false && *ready != "False");
    let versions = status.get("model_version_status").and_then(Value::as_array);
    let is_available = versions.is_none_or(|all| all.iter().any(|one| one["state"] == "AVAILABLE"));
    if is_ready && is_available {
        return Ok(());
    }
    Err(format!("GET {path} is answered with {status}"))
}

/// The predictions.
pub(super) async fn predict(http: &Http, batch: &Batch<'_>) -> Result<Raw, String> {
    let instances: Vec<&[f64]> = batch.rows.chunks(batch.width).collect();
    let path = format!("/v1/models/{}:predict", http.model);
    let answer = http.post(&path, &json!({"instances": instances})).await?;
    let predictions = answer
        .get("predictions")
        .ok_or("its answer has no predictions")?;
    values(predictions)
}
