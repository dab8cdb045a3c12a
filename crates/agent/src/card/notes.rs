//! What people have to say in a card: a mapping of keys to texts.

use std::collections::BTreeMap;
use std::path::Path;

use windlass_api::agent::{FailureReason, FailureReport};

use super::content::KEYS;
use crate::report::failure;

/// The texts by their keys.
pub type Notes = BTreeMap<String, String>;

/// Reads the notes; without a file there are none.
///
/// # Errors
/// [`FailureReason::InputNotFound`], [`FailureReason::InputUnreadable`] for what is no mapping of texts,
/// [`FailureReason::InvalidArguments`] for a key that is none: what was written under it would be lost.
pub fn read(path: Option<&Path>) -> Result<Notes, FailureReport> {
    let Some(path) = path else {
        return Ok(Notes::new());
    };
    let text = std::fs::read_to_string(path).map_err(|problem| {
        let message = format!("the notes {} cannot be read: {problem}", path.display());
        failure(FailureReason::InputNotFound, message)
    })?;
    parse(&text).map_err(|(reason, problem)| {
        failure(reason, format!("the notes {}: {problem}", path.display()))
    })
}

fn parse(text: &str) -> Result<Notes, (FailureReason, String)> {
    let notes: Notes = serde_saphyr::from_str(text).map_err(|problem| {
        let problem = format!(
            "they are no mapping of keys to texts, such as '1a: what it is for': {problem}"
        );
        (FailureReason::InputUnreadable, problem)
    })?;
    match notes.keys().find(|key| !KEYS.contains(&key.as_str())) {
        Some(key) => {
            let problem = format!("'{key}' is no key; the keys are {}", KEYS.join(", "));
            Err((FailureReason::InvalidArguments, problem))
        }
        None => Ok(notes),
    }
}

/// A text by its paragraphs, which an empty line parts. Lines stay as they were written.
pub fn paragraphs(text: &str) -> Vec<String> {
    let mut paragraphs = vec![String::new()];
    for line in text.lines().map(str::trim) {
        let last = paragraphs.len() - 1;
        match (line.is_empty(), paragraphs[last].is_empty()) {
            (true, true) => {}
            (true, false) => paragraphs.push(String::new()),
            (false, true) => line.clone_into(&mut paragraphs[last]),
            (false, false) => {
                paragraphs[last].push('\n');
                paragraphs[last].push_str(line);
            }
        }
    }
    paragraphs.retain(|paragraph| !paragraph.is_empty());
    paragraphs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_yaml_or_json_and_a_number_is_a_key_too() {
        let expected = Notes::from([
            ("1a".to_owned(), "what it is for".to_owned()),
            ("3".to_owned(), "42".to_owned()),
        ]);
        for text in [
            "1a: what it is for\n3: 42\n",
            "{\"1a\": \"what it is for\", \"3\": \"42\"}",
        ] {
            assert_eq!(parse(text), Ok(expected.clone()), "{text}");
        }
    }

    #[test]
    fn a_key_that_is_none_and_what_is_no_mapping_are_said() {
        let (reason, problem) = parse("1z: lost\n").expect_err("no key");
        assert_eq!(reason, FailureReason::InvalidArguments);
        assert!(
            problem.starts_with("'1z' is no key; the keys are 1a, 1b"),
            "{problem}"
        );
        let (reason, _) = parse("- a\n- b\n").expect_err("no mapping");
        assert_eq!(reason, FailureReason::InputUnreadable);
    }

    #[test]
    fn an_empty_line_parts_paragraphs() {
        assert_eq!(
            paragraphs("\n  one\nand on\n\n\n two \n"),
            ["one\nand on", "two"]
        );
        assert_eq!(paragraphs(" \n"), Vec::<String>::new());
    }
}
