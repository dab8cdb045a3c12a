//! The completions of the OpenAI protocol, streamed or not.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use windlass_api::agent::{Encoding, Signature};

use super::json::read;
use super::{Bodies, Cell, Payload, classes, prediction};

/// What the protocol says beside the prompt and the answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chat {
    /// The model that was asked for.
    pub model: Option<String>,
    /// The messages, as JSON; or the prompt.
    pub messages: Option<String>,
    /// Tokens of the prompt, as the server counts them.
    pub prompt_tokens: Option<i64>,
    /// Tokens of the answer.
    pub completion_tokens: Option<i64>,
    /// Why the answer ended.
    pub finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Request {
    model: Option<String>,
    messages: Option<Box<RawValue>>,
    prompt: Option<Value>,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    content: Option<Value>,
}

/// An answer, or an event of one.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Answer {
    choices: Vec<Choice>,
    usage: Option<Usage>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Choice {
    index: u64,
    message: Option<Part>,
    delta: Option<Part>,
    text: Option<String>,
    finish_reason: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Part {
    content: Option<String>,
    reasoning_content: Option<String>,
    tool_calls: Option<Value>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct Usage {
    prompt_tokens: Option<i64>,
    completion_tokens: Option<i64>,
}

/// What an event of a stream says: whether it carries a token, and how many tokens there were, where it says that.
pub fn event_text(event: &[u8]) -> (bool, Option<u64>) {
    let Ok(answer) = serde_json::from_slice::<Answer>(event) else {
        return (false, None);
    };
    let is_said = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    let carries = answer.choices.iter().any(|choice| {
        let delta = choice.delta.as_ref();
        let delta = delta.is_some_and(|delta| {
            is_said(&delta.content)
                || is_said(&delta.reasoning_content)
                || delta.tool_calls.is_some()
        });
        delta || is_said(&choice.text)
    });
    let tokens = answer.usage.and_then(|usage| usage.completion_tokens);
    (
        carries,
        tokens.and_then(|tokens| u64::try_from(tokens).ok()),
    )
}

/// Reads a request, and its answer where that was good: one row. Its value is the last thing that the user said, where the
/// signature names one text; its prediction is the answer's text.
pub fn parse(bodies: Bodies<'_>, signature: Option<&Signature>) -> Option<Payload> {
    let request: Request = read(bodies.request)?;
    let (prompt, messages) = match (&request.messages, &request.prompt) {
        (Some(messages), _) => (last_of_user(messages.get()), messages.get().to_owned()),
        (None, Some(prompt)) => {
            let text = prompt.as_str().map(str::to_owned);
            (text.clone(), text.unwrap_or_else(|| prompt.to_string()))
        }
        (None, None) => return None,
    };
    let mut chat = Chat {
        model: request.model,
        messages: Some(messages),
        ..Chat::default()
    };
    let text = bodies
        .response
        .and_then(|response| answer(response, &mut chat));
    let text = text.map_or(Cell::Null, Cell::Text);
    let cells: Vec<Cell> = match signature.map(|signature| signature.inputs.as_slice()) {
        Some([feature]) if feature.encoding == Encoding::Text => {
            vec![prompt.map_or(Cell::Null, Cell::Text)]
        }
        Some(_) | None => Vec::new(),
    };
    Some(Payload {
        count: 1,
        width: cells.len(),
        cells,
        predictions: vec![prediction(&[text], classes(signature))],
        chat: Some(chat),
        ..Payload::default()
    })
}

fn last_of_user(messages: &str) -> Option<String> {
    let messages: Vec<Message> = serde_json::from_str(messages).ok()?;
    let last = messages
        .into_iter()
        .rfind(|message| message.role == "user")?;
    match last.content? {
        Value::String(text) => Some(text),
        Value::Array(parts) => {
            let texts = parts.iter().filter_map(|part| part["text"].as_str());
            Some(texts.collect::<Vec<_>>().join("\n"))
        }
        _ => None,
    }
}

/// The text of an answer's first choice; what else it says goes into the chat.
fn answer(response: &[u8], chat: &mut Chat) -> Option<String> {
    let mut text = None;
    let mut take = |answer: Answer| {
        if let Some(usage) = answer.usage {
            chat.prompt_tokens = usage.prompt_tokens.or(chat.prompt_tokens);
            chat.completion_tokens = usage.completion_tokens.or(chat.completion_tokens);
        }
        let Some(choice) = answer.choices.into_iter().find(|choice| choice.index == 0) else {
            return;
        };
        chat.finish_reason = choice.finish_reason.or(chat.finish_reason.take());
        let part = choice.message.or(choice.delta);
        if let Some(more) = part.and_then(|part| part.content).or(choice.text) {
            text.get_or_insert_with(String::new).push_str(&more);
        }
    };
    if let Some(whole) = read::<Answer>(response) {
        take(whole);
    } else {
        for line in response.split(|byte| *byte == b'\n') {
            let event = line.strip_prefix(b"data:").map(<[u8]>::trim_ascii);
            if let Some(event) = event.and_then(|event| serde_json::from_slice(event).ok()) {
                take(event);
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::Form;
    use super::*;

    const REQUEST: &str = r#"{"model": "m", "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": [{"type": "text", "text": "Hello"}]}]}"#;

    fn of(request: &str, response: &str, signature: Option<&Signature>) -> Option<Payload> {
        let bodies = Bodies {
            request: request.as_bytes(),
            response: Some(response.as_bytes()),
            form: Form::JSON,
        };
        parse(bodies, signature)
    }

    #[test]
    fn an_answer_is_the_same_whether_it_is_streamed_or_not() {
        let whole = r#"{"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi there"}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 9, "completion_tokens": 2}}"#;
        let streamed = concat!(
            "data: {\"choices\": [{\"index\": 0, \"delta\": {\"role\": \"assistant\"}, \"finish_reason\": null}]}\n\n",
            "data: {\"choices\": [{\"index\": 0, \"delta\": {\"content\": \"Hi\"}}]}\r\n\r\n",
            "data: {\"choices\": [{\"index\": 1, \"delta\": {\"content\": \"Ho\"}}]}\n\n",
            "data: {\"choices\": [{\"index\": 0, \"delta\": {\"content\": \" there\"}, \"finish_reason\": \"stop\"}]}\n\n",
            "data: {\"choices\": [], \"usage\": {\"prompt_tokens\": 9, \"completion_tokens\": 2}}\n\n",
            "data: [DONE]\n\n",
        );
        let signature = r#"{"inputs": [{"name": "prompt", "type": "Text"}]}"#;
        let signature: Signature = serde_json::from_str(signature).expect("a signature");
        let whole = of(REQUEST, whole, Some(&signature)).expect("a payload");
        assert_eq!(whole.cells, [Cell::Text("Hello".to_owned())]);
        assert_eq!(whole.predictions, [Cell::Text("Hi there".to_owned())]);
        let chat = whole.chat.as_ref().expect("a chat");
        assert_eq!(
            (chat.prompt_tokens, chat.completion_tokens),
            (Some(9), Some(2))
        );
        assert_eq!(chat.finish_reason.as_deref(), Some("stop"));
        assert!(
            chat.messages
                .as_ref()
                .expect("messages")
                .contains("Be brief.")
        );
        assert_eq!(of(REQUEST, streamed, Some(&signature)), Some(whole));
    }

    #[test]
    fn a_plain_prompt_is_its_message_and_what_asks_nothing_is_not_read() {
        let answer = r#"{"choices": [{"index": 0, "text": "4"}]}"#;
        let payload = of(r#"{"prompt": "2+2"}"#, answer, None).expect("a payload");
        assert_eq!(payload.predictions, [Cell::Text("4".to_owned())]);
        let chat = payload.chat.expect("a chat");
        assert_eq!(chat.messages.as_deref(), Some("2+2"));
        assert_eq!(payload.width, 0);
        assert_eq!(of(r#"{"model": "m"}"#, answer, None), None);
    }

    #[test]
    fn an_event_carries_a_token_where_it_says_something() {
        for (event, said) in [
            (
                r#"{"choices": [{"delta": {"content": "a"}}]}"#,
                (true, None),
            ),
            (
                r#"{"choices": [{"delta": {"reasoning_content": "a"}}]}"#,
                (true, None),
            ),
            (
                r#"{"choices": [{"delta": {"role": "assistant", "content": ""}}]}"#,
                (false, None),
            ),
            (r#"{"choices": [{"text": "a"}]}"#, (true, None)),
            (
                r#"{"choices": [], "usage": {"completion_tokens": 7}}"#,
                (false, Some(7)),
            ),
            ("[DONE]", (false, None)),
        ] {
            assert_eq!(event_text(event.as_bytes()), said, "{event}");
        }
    }
}
