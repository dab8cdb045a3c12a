//! Words, and which of them are known.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use unicode_segmentation::UnicodeSegmentation;

/// What stands for a word of digits: numbers are hardly ever the same, and that is no drift.
pub(super) const NUMBER: &str = "#";

/// The words of a text, in small letters.
pub(super) fn words(text: &str) -> impl Iterator<Item = Cow<'_, str>> {
    text.unicode_words().map(|word| {
        let is_digit = |one: char| one.is_numeric() || ".,:'".contains(one);
        if word.chars().all(is_digit) {
            Cow::Borrowed(NUMBER)
        } else if word.chars().any(char::is_uppercase) {
            Cow::Owned(word.to_lowercase())
        } else {
            Cow::Borrowed(word)
        }
    })
}

/// The most frequent words of some texts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vocabulary {
    words: BTreeSet<String>,
}

impl Vocabulary {
    /// Of texts: the words that most of them have, so many at most. Of as frequent ones those that come first in the
    /// alphabet.
    pub fn of<'a>(texts: impl IntoIterator<Item = &'a str>, most: usize) -> Self {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for text in texts {
            let of_text: BTreeSet<Cow<'_, str>> = words(text).collect();
            for word in of_text {
                *counts.entry(word.into_owned()).or_insert(0) += 1;
            }
        }
        let mut ranked: Vec<(String, u64)> = counts.into_iter().collect();
        // Stable: words of one count stay in their order.
        ranked.sort_by_key(|(_, texts)| std::cmp::Reverse(*texts));
        ranked.truncate(most);
        Self {
            words: ranked.into_iter().map(|(word, _)| word).collect(),
        }
    }

    /// How many words it has.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The share of a text's words that are not in it; absent where it has no words. Of the texts that it was made of it is
    /// smaller than of others like them: it is to be compared on others.
    pub fn unknown(&self, text: &str) -> Option<f64> {
        let (mut all, mut unknown) = (0_u64, 0_u64);
        for word in words(text) {
            all += 1;
            unknown += u64::from(!self.words.contains(word.as_ref()));
        }
        (all > 0).then(|| crate::float(unknown) / crate::float(all))
    }
}
