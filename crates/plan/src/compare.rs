//! Whether a live object is already as it is wanted: every wanted field is there, and equal.
//!
//! What the server adds (defaults, bookkeeping) is ignored; another's edit of a field of ours is seen.
//! What we no longer want is seen by the digest of the wish, which `apply` keeps in an annotation.

use serde_json::Value;

use crate::quantity::quantity;

/// The annotation that holds the digest of what was applied last.
pub const APPLIED: &str = "windlass.dev/applied";

/// Whether `live` holds all that `wanted` says.
pub fn is_so(wanted: &Value, live: &Value) -> bool {
    match (wanted, live) {
        (Value::Object(wanted), Value::Object(live)) => {
            wanted.iter().all(|(key, value)| match live.get(key) {
                Some(live) => is_so(value, live),
                None => is_nothing(value),
            })
        }
        (Value::Array(wanted), Value::Array(live)) => {
            wanted.len() == live.len()
                && wanted
                    .iter()
                    .zip(live)
                    .all(|(wanted, live)| is_so(wanted, live))
        }
        (Value::String(wanted), Value::String(live)) => {
            wanted == live
                || matches!((quantity(wanted), quantity(live)), (Some(a), Some(b)) if (a - b).abs() <= f64::EPSILON * a.abs())
        }
        (wanted, live) => wanted == live,
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(is_nothing),
        Value::Bool(truth) => !truth,
        Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::is_so;
    use serde_json::json;

    #[test]
    fn what_the_server_adds_is_ignored_and_what_another_edits_is_seen() {
        let wanted =
            json!({"spec": {"replicas": 2, "cpu": "1000m", "env": [{"name": "A", "value": ""}]}});
        for (live, expected, why) in [
            (
                json!({"spec": {"replicas": 2, "cpu": "1", "env": [{"name": "A"}], "default": 1}}),
                true,
                "defaults and canonical quantities",
            ),
            (
                json!({"spec": {"replicas": 3, "cpu": "1", "env": [{"name": "A"}]}}),
                false,
                "another's edit",
            ),
            (
                json!({"spec": {"replicas": 2, "cpu": "2", "env": [{"name": "A"}]}}),
                false,
                "another quantity",
            ),
            (
                json!({"spec": {"replicas": 2, "cpu": "1", "env": [{"name": "A"}, {"name": "B"}]}}),
                false,
                "one more in a list",
            ),
            (
                json!({"spec": {"cpu": "1", "env": [{"name": "A"}]}}),
                false,
                "a field that is missing",
            ),
        ] {
            assert_eq!(is_so(&wanted, &live), expected, "{why}");
        }
    }
}
