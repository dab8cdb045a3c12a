//! Names and texts that MLflow takes.
//!
//! The limits are those of MLflow's `utils/validation.py`: names of letters, digits, `_`, `.`, `-`, spaces and `/`, at
//! most 250 of them, none of which would be another path when it is taken for one.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// Bytes that the name of a parameter, metric or tag may have.
pub(super) const MAX_NAME: usize = 250;
/// Bytes that the value of a parameter may have.
pub(super) const MAX_PARAMETER: usize = 6000;
/// Bytes that the value of a tag and a description may have: what every store of MLflow's keeps.
pub(super) const MAX_TAG: usize = 5000;

/// How many digits of a digest tell names apart.
const DISTINGUISHING: usize = 8;

/// A name of at most `most` bytes for each of the texts: itself where MLflow takes it, else its words.
///
/// No two names are the same, small and capital letters taken alike, as some databases do: where two would be, and where
/// one would be too long, the beginning of the text's SHA-256 is put at its end.
pub(super) fn distinct<'a>(
    texts: impl Iterator<Item = &'a str>,
    most: usize,
) -> BTreeMap<&'a str, String> {
    let mut uses: BTreeMap<String, usize> = BTreeMap::new();
    let texts: std::collections::BTreeSet<&str> = texts.collect();
    for text in &texts {
        *uses.entry(name(text).to_ascii_lowercase()).or_default() += 1;
    }
    let distinct = |text: &'a str| {
        let mut name = name(text);
        let is_shared = uses
            .get(&name.to_ascii_lowercase())
            .is_some_and(|uses| *uses > 1);
        if is_shared || name.len() > most {
            name.truncate(name.floor_char_boundary(most - DISTINGUISHING - 1));
            name.push('_');
            name.push_str(&hexadecimal(text)[..DISTINGUISHING]);
        }
        (text, name)
    };
    texts.into_iter().map(distinct).collect()
}

/// A text of at most `most` bytes; one that was longer ends with its digest, so that two texts stay two.
pub(super) fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = format!("… ({} bytes, sha256:{})", text.len(), hexadecimal(text));
    format!(
        "{}{end}",
        &text[..text.floor_char_boundary(most - end.len())]
    )
}

/// Itself where MLflow takes it, else its words.
fn name(text: &str) -> String {
    let is_path = |part: &str| !part.is_empty() && part != "." && part != "..";
    let is_taken = text
        .chars()
        .all(|character| is_word(character) || character == ' ' || character == '/')
        && text.split('/').all(is_path);
    if is_taken {
        return text.to_owned();
    }
    match words(text).as_str() {
        empty @ ("" | "." | "..") => format!("_{empty}"),
        words => words.to_owned(),
    }
}

/// `origin = 'JFK' AND delay >= 5` as `origin_JFK_AND_delay_ge_5`.
fn words(text: &str) -> String {
    let mut words = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let kind = Kind::of(first);
        let end = rest.find(|next| Kind::of(next) != kind);
        let (run, after) = rest.split_at(end.unwrap_or(rest.len()));
        match kind {
            Kind::Word => words.push(run),
            Kind::Operator => words.extend(operator(run)),
            Kind::Gap => {}
        }
        rest = after;
    }
    words.join("_")
}

/// What a character of a text is for its name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Word,
    Operator,
    Gap,
}

impl Kind {
    fn of(character: char) -> Self {
        match character {
            '<' | '>' | '=' | '!' => Self::Operator,
            word if is_word(word) => Self::Word,
            _ => Self::Gap,
        }
    }
}

/// SQL's comparisons in letters; equality goes without saying.
fn operator(text: &str) -> Option<&'static str> {
    match text {
        "<" => Some("lt"),
        "<=" => Some("le"),
        ">" => Some("gt"),
        ">=" => Some("ge"),
        "<>" | "!=" => Some("ne"),
        _ => None,
    }
}

fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '_' | '.' | '-')
}

/// SHA-256 of a text in hexadecimal digits.
fn hexadecimal(text: &str) -> String {
    let mut digits = String::new();
    for byte in Sha256::digest(text) {
        write!(digits, "{byte:02x}").expect("a String takes all");
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_of(texts: &[&str]) -> Vec<String> {
        let names = distinct(texts.iter().copied(), 40);
        texts.iter().map(|text| names[text].clone()).collect()
    }

    #[test]
    fn what_mlflow_takes_stays_and_the_rest_becomes_words() {
        for (text, name) in [
            ("learning_rate", "learning_rate"),
            ("optimizer/lr", "optimizer/lr"),
            ("two words", "two words"),
            ("origin = 'JFK'", "origin_JFK"),
            ("delay <> -5 AND x >= 0.5", "delay_ne_-5_AND_x_ge_0.5"),
            ("pinball@0.9", "pinball_0.9"),
            ("/root", "root"),
            ("a//b", "a_b"),
            ("../up", ".._up"),
            ("..", "_.."),
            ("…", "_"),
            ("", "_"),
        ] {
            assert_eq!(names_of(&[text]), [name], "{text}");
        }
    }

    #[test]
    fn no_two_texts_have_one_name() {
        let names = names_of(&["delay > 5", "(delay > 5)", "Köln", "k ln!", "LR", "lr", "x"]);
        let mut low: Vec<String> = names.iter().map(|name| name.to_lowercase()).collect();
        low.sort();
        low.dedup();
        assert_eq!(low.len(), names.len(), "{names:?}");
        assert!(names[0].starts_with("delay_gt_5_"), "{names:?}");
        assert_eq!(names[6], "x");
        let long = ["a".repeat(100), format!("{}b", "a".repeat(99))];
        let names = names_of(&[&long[0], &long[1]]);
        assert_ne!(names[0], names[1]);
        assert!(names.iter().all(|name| name.len() == 40), "{names:?}");
    }

    #[test]
    fn a_long_text_is_cut_and_stays_distinct() {
        assert_eq!(cut("short", MAX_TAG), "short");
        let (one, two) = (
            cut(&"ü".repeat(6000), MAX_TAG),
            cut(&"ü".repeat(6001), MAX_TAG),
        );
        assert_ne!(one, two);
        assert!(
            one.len() <= MAX_TAG && one.len() > MAX_TAG - 4,
            "{}",
            one.len()
        );
        assert!(one.contains("(12000 bytes, sha256:"), "{one}");
    }
}
