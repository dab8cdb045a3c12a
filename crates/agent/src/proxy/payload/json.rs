//! JSON as clients and servers write it: nested lists of values, and Python's `NaN`.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::Cell;

/// Values in row-major order; nested lists are allowed.
#[derive(Debug, Default)]
pub struct Cells(pub Vec<Cell>);

impl<'de> Deserialize<'de> for Cells {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut cells = Vec::new();
        Flat(&mut cells).deserialize(deserializer)?;
        Ok(Self(cells))
    }
}

/// Adds all values in a value to a list; straight from the text, because a tree of them would be most of the log's work.
struct Flat<'a>(&'a mut Vec<Cell>);

impl<'de> DeserializeSeed<'de> for Flat<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Flat<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value or a list of values")
    }

    fn visit_bool<E>(self, truth: bool) -> Result<(), E> {
        self.0.push(Cell::Number(f64::from(u8::from(truth))));
        Ok(())
    }

    #[allow(clippy::cast_precision_loss)] // the nearest that a float has
    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        self.0.push(Cell::Number(number as f64));
        Ok(())
    }

    #[allow(clippy::cast_precision_loss)] // the nearest that a float has
    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        self.0.push(Cell::Number(number as f64));
        Ok(())
    }

    fn visit_f64<E>(self, number: f64) -> Result<(), E> {
        self.0.push(Cell::Number(number));
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.0.push(Cell::Text(text.to_owned()));
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.0.push(Cell::Null);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        while sequence.next_element_seed(Flat(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        self.0.push(Cell::Null);
        Ok(())
    }
}

/// Reads a body.
pub fn read<T: for<'de> Deserialize<'de>>(content: &[u8]) -> Option<T> {
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
