//! Rows of the payload log, collected for one batch of its spool.
//!
//! Columns, in this order: `request_id`, `timestamp`, `model`, `version`; the features and `prediction`; with OpenAI what
//! is said beside, with Raw the sizes; `status` and `latency_ms`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    Array as _, ArrayRef, Float64Builder, Int64Builder, ListBuilder, RecordBatch, StringArray,
    StringBuilder, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::error::ArrowError;
use jiff::Timestamp;
use windlass_api::agent::{Encoding, Signature};

use super::arguments::Protocol;
use super::payload::{Cell, Chat, Payload, categories, classes};
use super::request::MAX_ID;
use crate::profile::PREDICTION;

/// What the prompt of a chat is redacted by, whatever column it is in.
const PROMPT: &str = "prompt";

/// The place of a chat's messages among what is said beside.
const MESSAGES: usize = 1;

/// Columns that every row has a value in.
pub const ALWAYS: [&str; 4] = ["request_id", "timestamp", "model", "version"];

/// What a log is of.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The model's name.
    pub model: String,
    /// The name of the ModelVersion.
    pub version: String,
    /// The protocol that it is asked in.
    pub protocol: Protocol,
    /// Columns whose values are logged as null.
    pub redacted: BTreeSet<String>,
}

/// What is known of a request beside its bodies.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The request's id.
    pub id: String,
    /// When it came.
    pub received: Timestamp,
    /// The answer's status; absent where there was none.
    pub status: Option<u16>,
    /// From the request's head to the answer's end.
    pub latency: Duration,
    /// From the request's head to the first token of a streamed answer.
    pub first_token: Option<Duration>,
    /// Bytes of the request's body.
    pub request_bytes: u64,
    /// Bytes of the answer's body.
    pub response_bytes: u64,
}

/// Rows of the same columns.
#[derive(Debug)]
pub struct Rows {
    identity: Identity,
    request_ids: Vec<String>,
    timestamps: Vec<i64>,
    /// As the request names them.
    names: Option<Vec<String>>,
    features: Vec<Column>,
    prediction: Option<Column>,
    beside: Vec<Column>,
    status: Column,
    latency: Column,
    /// Whether features are null because it is not known which of them is redacted.
    withholds: bool,
    bytes: usize,
}

/// A column.
#[derive(Debug)]
struct Column {
    name: String,
    values: Values,
    is_redacted: bool,
}

#[derive(Debug)]
enum Values {
    Number(Float64Builder),
    Integer(Int64Builder),
    Category {
        categories: Vec<String>,
        values: StringBuilder,
    },
    /// Of so many numbers each.
    Vector {
        length: usize,
        values: ListBuilder<Float64Builder>,
    },
}

impl Values {
    fn numbers() -> Self {
        Self::Number(Float64Builder::new())
    }

    fn integers() -> Self {
        Self::Integer(Int64Builder::new())
    }

    fn categories(categories: &[String]) -> Self {
        Self::Category {
            categories: categories.to_vec(),
            values: StringBuilder::new(),
        }
    }

    fn texts() -> Self {
        Self::categories(&[])
    }

    fn of(encoding: &Encoding) -> Self {
        match encoding {
            Encoding::Vector { length } => Self::Vector {
                length: usize::from(length.get()),
                values: ListBuilder::new(Float64Builder::new()),
            },
            Encoding::Number | Encoding::Category { .. } | Encoding::Text => {
                categories(encoding).map_or_else(Self::numbers, Self::categories)
            }
        }
    }
}

impl Column {
    fn new(identity: &Identity, name: &str, values: Values) -> Self {
        Self {
            name: name.to_owned(),
            values,
            is_redacted: identity.redacted.contains(name),
        }
    }

    fn push(&mut self, cell: &Cell) {
        let cell = if self.is_redacted { &Cell::Null } else { cell };
        match &mut self.values {
            Values::Number(values) => values.append_option(cell.number()),
            Values::Integer(values) => values.append_null(),
            Values::Category { categories, values } => {
                values.append_option(cell.category(categories));
            }
            Values::Vector { values, .. } => values.append_null(),
        }
    }

    /// How many cells of a row it has.
    fn width(&self) -> usize {
        match &self.values {
            Values::Number(_) | Values::Integer(_) | Values::Category { .. } => 1,
            Values::Vector { length, .. } => *length,
        }
    }

    /// Those of a row: a list of which none is a number is not there.
    fn push_all(&mut self, cells: &[Cell]) {
        let Values::Vector { values, .. } = &mut self.values else {
            for cell in cells {
                self.push(cell);
            }
            return;
        };
        let is_there = cells.iter().any(|cell| cell.number().is_some());
        if is_there && !self.is_redacted {
            let numbers = cells.iter().map(Cell::number);
            values.append_value(numbers);
        } else {
            values.append_null();
        }
    }

    fn push_number(&mut self, number: Option<f64>) {
        self.push(&number.map_or(Cell::Null, Cell::Number));
    }

    fn push_integer(&mut self, number: Option<i64>) {
        if let Values::Integer(values) = &mut self.values {
            values.append_option(number.filter(|_| !self.is_redacted));
        }
    }

    fn push_text(&mut self, text: Option<&str>) {
        if let Values::Category { values, .. } = &mut self.values {
            values.append_option(text.filter(|_| !self.is_redacted));
        }
    }
}

impl Rows {
    /// No rows yet, of the columns of a payload: named by the signature, else by itself, else `f0`, `f1`, ….
    pub fn new(identity: &Identity, signature: Option<&Signature>, payload: &Payload) -> Self {
        let column = |name: &str, values| Column::new(identity, name, values);
        let is_signed = signature.is_some_and(|signature| signature.width() == payload.width);
        let features: Vec<Column> = match (signature, &payload.names) {
            (Some(signature), _) if is_signed => signature
                .inputs
                .iter()
                .map(|feature| column(&feature.name, Values::of(&feature.encoding)))
                .collect(),
            (_, Some(names)) => names
                .iter()
                .map(|name| column(name, Values::numbers()))
                .collect(),
            (_, None) => (0..payload.width)
                .map(|index| column(&format!("f{index}"), Values::numbers()))
                .collect(),
        };
        let classes = classes(signature);
        let prediction = match identity.protocol {
            Protocol::Raw => None,
            Protocol::OpenAI if classes.is_empty() => Some(Values::texts()),
            _ if classes.len() > 2 => Some(Values::categories(classes)),
            _ => Some(Values::numbers()),
        };
        // A feature may have a name that the proxy has for its own column.
        let own = |name: &str, values| {
            let is_taken = features.iter().any(|feature| feature.name == name);
            let free = if is_taken {
                format!("windlass_{name}")
            } else {
                name.to_owned()
            };
            column(&free, values)
        };
        let beside = match identity.protocol {
            Protocol::OpenInference | Protocol::V1 => Vec::new(),
            Protocol::OpenAI => vec![
                own("requested_model", Values::texts()),
                own("messages", Values::texts()),
                own("finish_reason", Values::texts()),
                own("prompt_tokens", Values::integers()),
                own("completion_tokens", Values::integers()),
                own("first_token_ms", Values::numbers()),
            ],
            Protocol::Raw => vec![
                own("request_bytes", Values::integers()),
                own("response_bytes", Values::integers()),
            ],
        };
        let mut rows = Self {
            identity: identity.clone(),
            request_ids: Vec::new(),
            timestamps: Vec::new(),
            names: payload.names.clone(),
            prediction: prediction.map(|values| column(PREDICTION, values)),
            beside,
            status: own("status", Values::integers()),
            latency: own("latency_ms", Values::numbers()),
            features,
            withholds: false,
            bytes: 0,
        };
        rows.redact(is_signed && payload.width > 0);
        rows
    }

    /// Redacts what goes by another name, and whatever may be what is to be redacted.
    ///
    /// Where the signature does not name the features, a name that no column has may be that of any of them: clients may
    /// spell names as they like. What a chat's prompt is in is redacted as a whole: the messages, and the column that has
    /// the last of them.
    fn redact(&mut self, is_signed: bool) {
        let is_chat = self.identity.protocol == Protocol::OpenAI;
        let all = self.features.iter().chain(&self.prediction);
        let all = all.chain(&self.beside).chain([&self.status, &self.latency]);
        let names: BTreeSet<&str> = all.map(|column| column.name.as_str()).collect();
        let redacted = self.identity.redacted.iter().map(String::as_str);
        let has_features = is_chat || !self.features.is_empty();
        self.withholds = has_features
            && !is_signed
            && redacted
                .filter(|name| !(is_chat && *name == PROMPT))
                .any(|name| !names.contains(name));
        let mut prompt: Vec<&mut Column> = self.features.iter_mut().collect();
        if is_chat {
            prompt.extend(self.beside.get_mut(MESSAGES));
        }
        let is_redacted = self.withholds
            || is_chat
                && (self.identity.redacted.contains(PROMPT)
                    || prompt.iter().any(|column| column.is_redacted));
        if is_redacted {
            for column in prompt {
                column.is_redacted = true;
            }
        }
    }

    /// Whether features are null because it is not known which of them is redacted.
    pub fn withholds(&self) -> bool {
        self.withholds
    }

    /// Whether a payload has these columns.
    pub fn fit(&self, payload: &Payload) -> bool {
        let width: usize = self.features.iter().map(Column::width).sum();
        width == payload.width && self.names == payload.names
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.timestamps.len()
    }

    /// About how many bytes they take.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds the rows of one request.
    pub fn push(&mut self, payload: &Payload, facts: &Facts) {
        // It is written with each row: a long one would be more than all the rest.
        let own = payload.id.as_ref().filter(|id| id.len() <= MAX_ID);
        let id = own.unwrap_or(&facts.id);
        let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
        for index in 0..payload.count {
            self.request_ids.push(if payload.count == 1 {
                id.clone()
            } else {
                format!("{id}#{index}")
            });
            self.timestamps.push(facts.received.as_microsecond());
            let mut row = &payload.cells[index * payload.width..][..payload.width];
            for column in &mut self.features {
                let (cells, rest) = row.split_at(column.width().min(row.len()));
                column.push_all(cells);
                let texts = cells.iter().filter_map(Cell::text);
                self.bytes += 8 * cells.len() + texts.map(str::len).sum::<usize>();
                row = rest;
            }
            if let Some(column) = &mut self.prediction {
                let cell = payload.predictions.get(index).unwrap_or(&Cell::Null);
                column.push(cell);
                self.bytes += cell.text().map_or(0, str::len);
            }
            self.push_beside(payload.chat.as_ref(), facts);
            self.status.push_integer(facts.status.map(i64::from));
            self.latency.push_number(Some(milliseconds(facts.latency)));
            self.bytes += 2 * id.len() + 32;
        }
    }

    /// In the order of [`Rows::new`].
    fn push_beside(&mut self, chat: Option<&Chat>, facts: &Facts) {
        match self.beside.as_mut_slice() {
            [model, messages, reason, prompt, completion, first] => {
                let chat = chat.cloned().unwrap_or_default();
                self.bytes += chat.messages.as_ref().map_or(0, String::len);
                model.push_text(chat.model.as_deref());
                messages.push_text(chat.messages.as_deref());
                reason.push_text(chat.finish_reason.as_deref());
                prompt.push_integer(chat.prompt_tokens);
                completion.push_integer(chat.completion_tokens);
                first.push_number(facts.first_token.map(|time| time.as_secs_f64() * 1000.0));
            }
            [request, response] => {
                let bytes = |bytes: u64| i64::try_from(bytes).ok();
                request.push_integer(bytes(facts.request_bytes));
                response.push_integer(bytes(facts.response_bytes));
            }
            _ => {}
        }
    }

    /// The rows as a batch.
    ///
    /// # Errors
    /// When a row is not of the width that was said.
    pub fn into_batch(mut self) -> Result<RecordBatch, ArrowError> {
        let count = self.len();
        let utc: Arc<str> = Arc::from("UTC");
        let same = |text: &str| {
            Arc::new(StringArray::from_iter_values(std::iter::repeat_n(
                text, count,
            ))) as ArrayRef
        };
        let [id, timestamp, model, version] = ALWAYS;
        let time = DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::clone(&utc)));
        let mut fields = vec![
            Field::new(id, DataType::Utf8, false),
            Field::new(timestamp, time, false),
            Field::new(model, DataType::Utf8, false),
            Field::new(version, DataType::Utf8, false),
        ];
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(std::mem::take(&mut self.request_ids))),
            Arc::new(
                TimestampMicrosecondArray::from(std::mem::take(&mut self.timestamps))
                    .with_timezone(utc),
            ),
            same(&self.identity.model),
            same(&self.identity.version),
        ];
        let rest = self.features.into_iter().chain(self.prediction);
        let rest = rest.chain(self.beside).chain([self.status, self.latency]);
        for Column { name, values, .. } in rest {
            let (kind, column): (DataType, ArrayRef) = match values {
                Values::Number(mut values) => (DataType::Float64, Arc::new(values.finish())),
                Values::Integer(mut values) => (DataType::Int64, Arc::new(values.finish())),
                Values::Category { mut values, .. } => (DataType::Utf8, Arc::new(values.finish())),
                Values::Vector { mut values, .. } => {
                    let lists = values.finish();
                    (lists.data_type().clone(), Arc::new(lists))
                }
            };
            fields.push(Field::new(name, kind, true));
            columns.push(column);
        }
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{Float64Type, Int64Type};

    use super::*;

    fn identity(protocol: Protocol, redacted: &[&str]) -> Identity {
        Identity {
            model: "m".to_owned(),
            version: "m-1".to_owned(),
            protocol,
            redacted: redacted.iter().map(|&name| name.to_owned()).collect(),
        }
    }

    fn facts() -> Facts {
        Facts {
            id: "a".to_owned(),
            received: Timestamp::UNIX_EPOCH,
            status: Some(200),
            latency: Duration::from_micros(1500),
            first_token: None,
            request_bytes: 7,
            response_bytes: 9,
        }
    }

    fn names(batch: &RecordBatch) -> Vec<String> {
        let schema = batch.schema();
        let fields = schema.fields().iter().skip(ALWAYS.len());
        fields.map(|field| field.name().clone()).collect()
    }

    #[test]
    fn what_is_redacted_is_null_and_the_rest_is_there() {
        let payload = Payload {
            count: 1,
            width: 2,
            names: Some(vec!["age".to_owned(), "status".to_owned()]),
            cells: vec![Cell::Number(40.0), Cell::Number(3.0)],
            predictions: vec![Cell::Number(0.5)],
            ..Payload::default()
        };
        let identity = identity(Protocol::V1, &["age", "latency_ms"]);
        let mut rows = Rows::new(&identity, None, &payload);
        rows.push(&payload, &facts());
        let batch = rows.into_batch().expect("a batch");
        let expected = [
            "age",
            "status",
            "prediction",
            "windlass_status",
            "latency_ms",
        ];
        assert_eq!(names(&batch), expected);
        let number = |name: &str| batch[name].as_primitive::<Float64Type>();
        assert!(number("age").is_null(0) && number("latency_ms").is_null(0));
        assert!((number("status").value(0) - 3.0).abs() < 1e-9);
        assert_eq!(
            batch["windlass_status"]
                .as_primitive::<Int64Type>()
                .value(0),
            200
        );
    }

    #[test]
    fn features_without_names_are_withheld_where_one_of_them_may_be_redacted() {
        let payload = Payload {
            count: 1,
            width: 2,
            cells: vec![Cell::Number(40.0), Cell::Number(3.0)],
            predictions: vec![Cell::Number(0.5)],
            ..Payload::default()
        };
        let named = Payload {
            names: Some(vec!["weight".to_owned(), "height".to_owned()]),
            ..payload.clone()
        };
        let signature = r#"{"inputs": [{"name": "age", "type": "Number"}, {"name": "income", "type": "Number"}]}"#;
        let signature: Signature = serde_json::from_str(signature).expect("a signature");
        // What is redacted, the payload, its signature; which of the two is logged.
        for (redacted, payload, signature, is_withheld, expected) in [
            ("age", &payload, None, true, [false, false]),
            ("age", &payload, Some(&signature), false, [false, true]),
            ("f1", &payload, None, false, [true, false]),
            ("prediction", &payload, None, false, [true, true]),
            // The client may spell it otherwise.
            ("age", &named, None, true, [false, false]),
            ("weight", &named, None, false, [false, true]),
        ] {
            let mut rows = Rows::new(&identity(Protocol::V1, &[redacted]), signature, payload);
            assert_eq!(rows.withholds(), is_withheld, "{redacted}");
            rows.push(payload, &facts());
            let batch = rows.into_batch().expect("a batch");
            let is_logged = |index: usize| batch.column(ALWAYS.len() + index).is_valid(0);
            assert_eq!([is_logged(0), is_logged(1)], expected, "{redacted}");
            let prediction = batch[PREDICTION].is_valid(0);
            assert_eq!(prediction, redacted != "prediction", "{redacted}");
        }
    }

    #[test]
    fn the_prompt_of_a_chat_is_redacted_wherever_it_is() {
        let chat = |cells: Vec<Cell>| Payload {
            count: 1,
            width: cells.len(),
            cells,
            predictions: vec![Cell::Text("Hi".to_owned())],
            chat: Some(Chat {
                messages: Some("[Hello]".to_owned()),
                ..Chat::default()
            }),
            ..Payload::default()
        };
        let signature = r#"{"inputs": [{"name": "question", "type": "Text"}]}"#;
        let signature: Signature = serde_json::from_str(signature).expect("a signature");
        let (with, without) = (chat(vec![Cell::Text("Hello".to_owned())]), chat(Vec::new()));
        for (redacted, signature, messages, prediction) in [
            ("prompt", Some(&signature), false, true),
            ("messages", Some(&signature), false, true),
            ("question", Some(&signature), false, true),
            ("prediction", Some(&signature), true, false),
            ("finish_reason", Some(&signature), true, true),
            ("prompt", None, false, true),
            // Not known to be the prompt's, and it may be.
            ("question", None, false, true),
            ("prediction", None, true, false),
        ] {
            let payload = if signature.is_some() { &with } else { &without };
            let identity = identity(Protocol::OpenAI, &[redacted]);
            let mut rows = Rows::new(&identity, signature, payload);
            rows.push(payload, &facts());
            let batch = rows.into_batch().expect("a batch");
            assert_eq!(batch["messages"].is_valid(0), messages, "{redacted}");
            assert_eq!(batch[PREDICTION].is_valid(0), prediction, "{redacted}");
            if signature.is_some() {
                assert_eq!(batch["question"].is_valid(0), messages, "{redacted}");
            }
        }
    }

    #[test]
    fn a_vector_is_one_column_of_lists() {
        let signature = r#"{"inputs": [{"name": "v", "type": "Vector", "length": 2}, {"name": "x", "type": "Number"}]}"#;
        let signature: Signature = serde_json::from_str(signature).expect("a signature");
        let cells = [Some(1.0), None, Some(3.0), None, None, Some(6.0)];
        let cells = cells.map(|cell| cell.map_or(Cell::Null, Cell::Number));
        let payload = Payload {
            count: 2,
            width: 3,
            cells: cells.to_vec(),
            predictions: vec![Cell::Number(0.5); 2],
            ..Payload::default()
        };
        for redacted in [&[][..], &["v"]] {
            let identity = identity(Protocol::V1, redacted);
            let mut rows = Rows::new(&identity, Some(&signature), &payload);
            assert!(rows.fit(&payload) && !rows.withholds());
            rows.push(&payload, &facts());
            let batch = rows.into_batch().expect("a batch");
            assert_eq!(names(&batch)[..2], ["v", "x"]);
            let lists = batch["v"].as_list::<i32>();
            assert_eq!(
                (lists.is_valid(0), lists.is_valid(1)),
                (redacted.is_empty(), false)
            );
            if redacted.is_empty() {
                let first = lists.value(0);
                let first = first.as_primitive::<Float64Type>();
                assert_eq!(
                    (first.len(), first.value(0), first.is_null(1)),
                    (2, 1.0, true)
                );
            }
            let numbers = batch["x"].as_primitive::<Float64Type>();
            assert_eq!(numbers.values().to_vec(), [3.0, 6.0]);
        }
    }

    #[test]
    fn a_row_of_raw_has_sizes_and_no_prediction() {
        let payload = Payload {
            count: 1,
            ..Payload::default()
        };
        let mut rows = Rows::new(&identity(Protocol::Raw, &[]), None, &payload);
        rows.push(&payload, &facts());
        let batch = rows.into_batch().expect("a batch");
        let expected = ["request_bytes", "response_bytes", "status", "latency_ms"];
        assert_eq!(names(&batch), expected);
        assert_eq!(
            batch["response_bytes"].as_primitive::<Int64Type>().value(0),
            9
        );
    }

    #[test]
    fn a_chat_has_columns_of_its_own() {
        let payload = Payload {
            count: 1,
            predictions: vec![Cell::Text("Hi".to_owned())],
            chat: Some(Chat {
                messages: Some("[]".to_owned()),
                completion_tokens: Some(2),
                ..Chat::default()
            }),
            ..Payload::default()
        };
        let mut rows = Rows::new(&identity(Protocol::OpenAI, &["messages"]), None, &payload);
        rows.push(&payload, &facts());
        let batch = rows.into_batch().expect("a batch");
        assert!(batch["messages"].is_null(0));
        assert_eq!(batch["prediction"].as_string::<i32>().value(0), "Hi");
        assert_eq!(
            batch["completion_tokens"]
                .as_primitive::<Int64Type>()
                .value(0),
            2
        );
    }
}
