//! Digests over what a thing is made from.

use std::fmt::Write;

use serde::Serialize;
use sha2::{Digest, Sha256};

/// `sha256:<hex>` of a value's JSON, its keys in order.
pub fn of(value: &impl Serialize) -> String {
    format!("sha256:{}", hex(value))
}

/// The first ten hexadecimal digits, for a name.
pub fn short(value: &impl Serialize) -> String {
    hex(value)[..10].to_owned()
}

fn hex(value: &impl Serialize) -> String {
    // A Value's maps are ordered by key, so the order of a struct's fields does not matter.
    let value = serde_json::to_value(value).expect("our own types always serialize");
    let bytes = serde_json::to_vec(&value).expect("a JSON value always serializes");
    Sha256::digest(&bytes)
        .iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_order_of_keys_does_not_matter_and_every_value_does() {
        let one: serde_json::Value = serde_json::from_str(r#"{"a":1,"b":[2]}"#).expect("JSON");
        let same: serde_json::Value = serde_json::from_str(r#"{"b":[2],"a":1}"#).expect("JSON");
        let other: serde_json::Value = serde_json::from_str(r#"{"b":[3],"a":1}"#).expect("JSON");
        assert_eq!(super::of(&one), super::of(&same));
        assert_ne!(super::of(&one), super::of(&other));
    }
}
