//! Characters that nobody sees and that change what is seen around them: marks that turn the direction of text, and
//! spaces without a width. Wherever people read what users wrote, such a character is named instead.

use std::borrow::Cow;

/// The text, with `⟨U+202E⟩` in place of a character that is not seen. Those that join letters or part them, which some
/// scripts and emoji are written with, stay.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let shown = text.chars().map(|letter| {
        if is_hidden(letter) {
            format!("⟨U+{:04X}⟩", u32::from(letter))
        } else {
            letter.to_string()
        }
    });
    Cow::Owned(shown.collect())
}

fn is_hidden(letter: char) -> bool {
    matches!(
        letter,
        '\u{061c}'
            | '\u{200b}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'
            | '\u{2066}'..='\u{2069}'
            | '\u{feff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_turns_text_is_named_and_letters_of_all_scripts_stay() {
        assert_eq!(visible("a\u{202e}b\u{feff}"), "a⟨U+202E⟩b⟨U+FEFF⟩");
        for text in [
            "plan = 'x'",
            "עיר = \"ירושלים\"",
            "می\u{200c}خواهم",
            "東京",
            "1\u{202f}000",
        ] {
            assert_eq!(visible(text), text);
        }
    }
}
