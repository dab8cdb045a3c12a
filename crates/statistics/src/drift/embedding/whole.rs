//! Sums that are whole numbers of 2⁻⁴⁰: the same in any order.

/// 2⁴⁰.
const PARTS: f64 = 1_099_511_627_776.0;

/// A number as so many parts, cut towards 0: off by less than 1e-12.
#[allow(clippy::cast_possible_truncation)] // cut on purpose; of 64 bits it is one instruction
pub(super) fn fixed(number: f64) -> i128 {
    let parts = number * PARTS;
    if parts.abs() < 9e18 {
        i128::from(parts as i64)
    } else {
        parts as i128
    }
}

/// The number that parts are.
#[allow(clippy::cast_precision_loss)] // rounded once
pub(super) fn number(parts: i128) -> f64 {
    parts as f64 / PARTS
}

/// Adds what another has.
pub(super) fn add(mine: &mut [i128], theirs: &[i128]) {
    for (mine, theirs) in mine.iter_mut().zip(theirs) {
        *mine += theirs;
    }
}

/// As one text with a space between numbers: not every reader of JSON takes whole numbers of 128 bits.
pub(super) mod text {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(parts: &[i128], serializer: S) -> Result<S::Ok, S::Error> {
        let parts: Vec<String> = parts.iter().map(i128::to_string).collect();
        serializer.serialize_str(&parts.join(" "))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<i128>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parts = text.split_ascii_whitespace().map(str::parse);
        let parts: Result<Vec<i128>, _> = parts.collect();
        parts.map_err(|problem| D::Error::custom(format!("sums are not whole numbers: {problem}")))
    }
}
