//! Texts, without a model of language: whether those of a window are other texts than those of a reference, and what of them
//! has moved.
//!
//! ```text
//!   so many texts of either side (bounded) ──> hashed words and characters, traits ──> classifier ──> one verdict
//!                                          └─> shares of words, traits, words never seen ───────────> what moved, in words
//! ```
//!
//! Words are those of Unicode (UAX #29), in small letters; scripts that put no spaces between words are told by their
//! characters, three at a time. What a text means is not looked at: two that say the same in other words are different
//! texts, and the same words in another order nearly the same.

mod hashed;
mod moved;
mod traits;
mod vocabulary;

use super::bounded::Bounded;
use super::classifier::{self, Rows, Shape, Told};
use super::words::{percent, short};
pub use moved::{TraitMoved, WordMoved};
pub use traits::Trait;
pub use vocabulary::Vocabulary;

/// How much of a text is looked at, in bytes.
const LONGEST: usize = 4096;

/// The beginning of a text, as much of it as is looked at: what is to be kept of one, so that memory is bounded.
pub fn excerpt(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST)]
}

/// How texts have moved.
#[derive(Clone, Debug, PartialEq)]
pub struct Moved {
    /// How well a classifier tells them apart: the verdict.
    pub told: Told,
    /// The traits that have moved beyond chance, the furthest first.
    pub traits: Vec<TraitMoved>,
    /// The words of which more or fewer texts have one than chance lets them, those first whose share has changed most.
    pub words: Vec<WordMoved>,
    /// The share of words that are not among the most frequent of the reference, of the reference and of the window: absent
    /// where there are no words, or where the difference may be chance's.
    pub unknown: Option<[f64; 2]>,
}

/// How far texts of a window are from those of a reference: of so many of either, each its [`excerpt`]. Absent where either
/// side has fewer than [`classifier::MIN_UNITS`] units.
pub fn compare(reference: &Bounded<String>, window: &Bounded<String>) -> Option<Moved> {
    let rows = Rows::new(reference, window);
    let texts: Vec<&str> = rows.what.iter().map(|text| excerpt(text)).collect();
    let told = classifier::told(&rows.labels, hashed::features(&texts), Shape::Linear)?;
    let old = moved::Side::of(reference, told.design_effect);
    let new = moved::Side::of(window, told.design_effect);
    Some(Moved {
        told,
        traits: moved::traits(&old, &new),
        words: moved::words(&old, &new),
        unknown: moved::unknown(reference, window, told.design_effect),
    })
}

/// How many words and traits are named.
const NAMED: usize = 3;

impl Moved {
    /// What moved, in words: "'refund' 2% → 31% of texts, capitals 2% → 14%". Where the length has, it is said first: longer
    /// texts have more of every word.
    pub fn words(&self) -> String {
        let (lengths, others): (Vec<TraitMoved>, Vec<TraitMoved>) =
            self.traits.iter().partition(|one| !one.of.is_share());
        let mut said: Vec<String> = lengths.first().map(TraitMoved::words).into_iter().collect();
        let words: Vec<String> = self
            .words
            .iter()
            .take(NAMED)
            .map(WordMoved::words)
            .collect();
        if !words.is_empty() {
            said.push(format!("{} of texts", words.join(", ")));
        }
        said.extend(others.iter().take(NAMED).map(TraitMoved::words));
        if let Some([before, after]) = self.unknown {
            let (before, after) = (percent(before), percent(after));
            said.push(format!("words not known before {before} → {after}"));
        }
        if said.is_empty() {
            "no word and no trait by itself".to_owned()
        } else {
            said.join(", ")
        }
    }
}

impl WordMoved {
    fn words(&self) -> String {
        let [before, after] = self.shares;
        format!("'{}' {} → {}", self.word, percent(before), percent(after))
    }
}

impl TraitMoved {
    fn words(&self) -> String {
        let said = if self.of.is_share() { percent } else { short };
        let [before, after] = self.means.map(said);
        format!("{} {before} → {after}", self.of.title())
    }
}

#[cfg(test)]
mod tests;
