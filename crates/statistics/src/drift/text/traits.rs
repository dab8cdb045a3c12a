//! What of a text is a number.

use serde::{Deserialize, Serialize};
use unicode_segmentation::UnicodeSegmentation;

/// A number that a text has: as a column by itself, it takes the distances of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Trait {
    /// Its length in characters, as people count them (extended grapheme clusters).
    Characters,
    /// Its words, as Unicode has them (UAX #29).
    Words,
    /// Its sentences (UAX #29).
    Sentences,
    /// The share of its characters that are letters, of any script.
    Letters,
    /// The share that are digits or other numbers.
    Digits,
    /// The share that are neither letters, nor digits, nor white space: punctuation, symbols, emoji.
    Marks,
    /// The share of its letters that are not of ASCII: accents, and other scripts.
    BeyondAscii,
    /// The share of its letters that are capitals.
    Capitals,
}

impl Trait {
    /// All of them, in the order of [`Trait::of`].
    pub const ALL: [Self; 8] = [
        Self::Characters,
        Self::Words,
        Self::Sentences,
        Self::Letters,
        Self::Digits,
        Self::Marks,
        Self::BeyondAscii,
        Self::Capitals,
    ];

    /// All traits of a text. Shares of a text without such characters are 0.
    pub fn of(text: &str) -> [f64; 8] {
        let mut counts = [0.0; 6];
        let [all, letters, digits, marks, beyond, capitals] = &mut counts;
        for one in text.chars() {
            *all += 1.0;
            if one.is_alphabetic() {
                *letters += 1.0;
                *beyond += f64::from(u8::from(!one.is_ascii()));
                *capitals += f64::from(u8::from(one.is_uppercase()));
            } else if one.is_numeric() {
                *digits += 1.0;
            } else if !one.is_whitespace() {
                *marks += 1.0;
            }
        }
        let [all, letters, digits, marks, beyond, capitals] = counts;
        let share = |part: f64, of: f64| if of > 0.0 { part / of } else { 0.0 };
        let characters = text.graphemes(true).count();
        let (words, sentences) = (
            text.unicode_words().count(),
            text.unicode_sentences().count(),
        );
        [
            crate::float(characters),
            crate::float(words),
            crate::float(sentences),
            share(letters, all),
            share(digits, all),
            share(marks, all),
            share(beyond, letters),
            share(capitals, letters),
        ]
    }

    /// Its name, in columns that are made of a text's traits.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Characters => "characters",
            Self::Words => "words",
            Self::Sentences => "sentences",
            Self::Letters => "letters",
            Self::Digits => "digits",
            Self::Marks => "marks",
            Self::BeyondAscii => "beyondAscii",
            Self::Capitals => "capitals",
        }
    }

    /// What it is, as people say it.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Characters => "characters",
            Self::Words => "words",
            Self::Sentences => "sentences",
            Self::Letters => "letters",
            Self::Digits => "digits",
            Self::Marks => "punctuation and symbols",
            Self::BeyondAscii => "letters beyond ASCII",
            Self::Capitals => "capitals",
        }
    }

    /// Whether it lies between 0 and 1.
    pub const fn is_share(self) -> bool {
        match self {
            Self::Characters | Self::Words | Self::Sentences => false,
            Self::Letters | Self::Digits | Self::Marks | Self::BeyondAscii | Self::Capitals => true,
        }
    }
}
