//! The chat completions of the OpenAI protocol.

use serde_json::{Value, json};

use super::Http;

/// How many tokens an answer may have: a class or a number is short.
const MOST_TOKENS: u32 = 64;

pub(super) async fn is_ready(http: &Http) -> Result<(), String> {
    let answer = http.get("/v1/models").await?;
    let answer: Value = answer
        .json()
        .await
        .map_err(|problem| format!("GET /v1/models is not answered with JSON: {problem}"))?;
    // llama.cpp has one id, and lists the other names of the model beside it.
    let models = answer["data"].as_array().into_iter().flatten();
    let names = models.flat_map(|model| {
        let aliases = model["aliases"].as_array().into_iter().flatten();
        std::iter::once(&model["id"]).chain(aliases)
    });
    let ids: Vec<String> = names
        .filter_map(|name| Some(name.as_str()?.to_owned()))
        .collect();
    if ids.contains(&http.model) {
        return Ok(());
    }
    Err(format!(
        "GET /v1/models names no model '{}', but: {}",
        http.model,
        ids.join(", ")
    ))
}

/// The answer to a prompt, as little by chance as the server allows.
pub(super) async fn complete(http: &Http, prompt: &str) -> Result<String, String> {
    let body = json!({
        "model": http.model,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": MOST_TOKENS,
        "temperature": 0,
        "seed": 0,
        "stream": false,
    });
    let answer = http.post("/v1/chat/completions", &body).await?;
    let content = answer.pointer("/choices/0/message/content");
    let text = content
        .and_then(Value::as_str)
        .ok_or("its answer has no text at choices[0].message.content")?
        .trim();
    let is_cut = answer.pointer("/choices/0/finish_reason") == Some(&json!("length"));
    if text.is_empty() && is_cut {
        return Err(format!(
            "its answer was cut after {MOST_TOKENS} tokens and holds no text: a model that thinks before it answers has to be served so that it does not"
        ));
    }
    Ok(text.to_owned())
}
