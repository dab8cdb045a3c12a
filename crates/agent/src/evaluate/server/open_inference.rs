//! The Open Inference Protocol, version 2, over HTTP.

use serde_json::json;

use super::{Batch, Http, values};
use crate::data::answers::Raw;

pub(super) async fn is_ready(http: &Http) -> Result<(), String> {
    http.get("/v2/health/ready").await?;
    http.get(&format!("/v2/models/{}/ready", http.model))
        .await?;
    Ok(())
}

/// The values of the first output tensor.
pub(super) async fn infer(http: &Http, batch: &Batch<'_>) -> Result<Raw, String> {
    // serde_json writes NaN as null, which is how the protocol's servers take a missing value.
    let body = json!({
        "id": batch.id,
        "inputs": [{
            "name": batch.tensor,
            "shape": [batch.count(), batch.width],
            "datatype": "FP64",
            "data": batch.rows,
        }],
    });
    let path = format!("/v2/models/{}/infer", http.model);
    let answer = http.post(&path, &body).await?;
    let data = answer
        .pointer("/outputs/0/data")
        .ok_or("its answer has no outputs[0].data")?;
    values(data)
}
