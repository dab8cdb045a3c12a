//! What of texts has moved: for people, once they are known to have.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::traits::Trait;
use super::vocabulary::{Vocabulary, words as words_of};
use crate::drift::bounded::{Bounded, dealt};
use crate::drift::shift::mean_shift;
use crate::drift::table::Table;
use crate::float;
use crate::mean::Mean;

/// What moves by chance in one of a hundred comparisons, over all words and traits that are looked at, is not named.
const LEVEL: f64 = 0.01;
/// Traits that have moved by fewer deviations are not named.
const NOTABLE: f64 = 0.2;
/// Nor are shares that have by less.
const NOTABLE_SHARE: f64 = 0.02;
/// Words that fewer texts of both sides have are not looked at.
const MIN_TEXTS: u64 = 10;
/// How many words are known.
const KNOWN: usize = 10_000;
const SALT: u64 = 0x766F_6361_6275;

/// A word of which more or fewer texts have one.
#[derive(Clone, Debug, PartialEq)]
pub struct WordMoved {
    /// It, in small letters; `#` for numbers.
    pub word: String,
    /// The share of texts that have it, of the reference and of the window.
    pub shares: [f64; 2],
}

/// A trait that has moved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TraitMoved {
    /// Which.
    pub of: Trait,
    /// Its means, of the reference and of the window.
    pub means: [f64; 2],
    /// By how many deviations of the texts of both sides.
    pub shift: f64,
}

/// Texts of one side.
pub(super) struct Side {
    texts: u64,
    /// How many texts have a word.
    words: BTreeMap<String, u64>,
    traits: Vec<Mean>,
    design_effect: f64,
}

impl Side {
    pub(super) fn of(texts: &Bounded<String>, design_effect: f64) -> Self {
        let mut side = Self {
            texts: 0,
            words: BTreeMap::new(),
            traits: vec![Mean::default(); Trait::ALL.len()],
            design_effect,
        };
        for text in texts.rows() {
            let text = super::excerpt(&text.what);
            side.texts += 1;
            let all: BTreeSet<Cow<'_, str>> = words_of(text).collect();
            for word in all {
                match side.words.get_mut(word.as_ref()) {
                    Some(count) => *count += 1,
                    None => drop(side.words.insert(word.into_owned(), 1)),
                }
            }
            for (mean, value) in side.traits.iter_mut().zip(Trait::of(text)) {
                mean.add(value);
            }
        }
        side
    }

    fn has(&self, word: &str) -> u64 {
        self.words.get(word).copied().unwrap_or(0)
    }
}

/// The words that have moved, those first whose share has changed most: by chi-square of texts with and without them, at a
/// level over all words that are looked at (Bonferroni).
pub(super) fn words(old: &Side, new: &Side) -> Vec<WordMoved> {
    let all: BTreeSet<&String> = old.words.keys().chain(new.words.keys()).collect();
    let is_looked_at = |word: &&&String| old.has(word) + new.has(word) >= MIN_TEXTS;
    let looked_at: Vec<&String> = all.iter().filter(is_looked_at).copied().collect();
    let level = LEVEL / float(looked_at.len()).max(1.0);
    let has_moved = |word: &&String| {
        let cells = |side: &Side| [side.has(word), side.texts - side.has(word)];
        let table = Table::new(&cells(old), &cells(new));
        let table = table.thinned([old.design_effect, new.design_effect]);
        table.chi_square().p_value <= level
    };
    let share = |side: &Side, word: &str| float(side.has(word)) / float(side.texts).max(1.0);
    let moved = looked_at.into_iter().filter(has_moved);
    let mut moved: Vec<WordMoved> = moved
        .map(|word| WordMoved {
            word: word.clone(),
            shares: [share(old, word), share(new, word)],
        })
        .collect();
    let by = |one: &WordMoved| (one.shares[1] - one.shares[0]).abs();
    moved.sort_by(|one, other| by(other).total_cmp(&by(one)));
    moved
}

/// The traits that have moved, the furthest first.
pub(super) fn traits(old: &Side, new: &Side) -> Vec<TraitMoved> {
    let effects = [old.design_effect, new.design_effect];
    let both = old.traits.iter().zip(&new.traits);
    let moved = Trait::ALL
        .into_iter()
        .zip(both)
        .filter_map(|(of, (before, after))| {
            let means = [before.value()?, after.value()?];
            let gap = means[1] - means[0];
            let mut all = *before;
            all.merge(after);
            // Welch's test is the same from either side, and one of them may have no spread.
            let there = mean_shift(before, after, effects);
            let effect = there.or_else(|| mean_shift(after, before, [effects[1], effects[0]]));
            let p_value = effect.map_or(if gap == 0.0 { 1.0 } else { 0.0 }, |one| one.p_value());
            let shift = gap / all.standard_deviation().max(f64::MIN_POSITIVE);
            let is_notable =
                shift.abs() >= NOTABLE && !(of.is_share() && gap.abs() < NOTABLE_SHARE);
            let is_moved = is_notable && p_value <= LEVEL / float(Trait::ALL.len());
            is_moved.then_some(TraitMoved { of, means, shift })
        });
    let mut moved: Vec<TraitMoved> = moved.collect();
    moved.sort_by(|one, other| other.shift.abs().total_cmp(&one.shift.abs()));
    moved
}

/// The share of a text's words that the reference has not among its most frequent, on average: of half of the reference's
/// units by the words of the other half, so that none is known for its own sake, and of the window's texts by the same words.
/// Absent where the difference may be chance's.
pub(super) fn unknown(
    reference: &Bounded<String>,
    window: &Bounded<String>,
    design_effect: f64,
) -> Option<[f64; 2]> {
    let is_learned = |unit: u64| dealt(unit, SALT).is_multiple_of(2);
    let learned = reference.rows().filter(|row| is_learned(row.unit));
    let known = Vocabulary::of(learned.map(|row| super::excerpt(&row.what)), KNOWN);
    let mean = |texts: &Bounded<String>, is_left: &dyn Fn(u64) -> bool| -> Mean {
        let left = texts.rows().filter(|row| is_left(row.unit));
        left.filter_map(|row| known.unknown(super::excerpt(&row.what)))
            .collect()
    };
    let before = mean(reference, &|unit| !is_learned(unit));
    // A unit of both sides whose words were learned is known by them.
    let after = mean(window, &|unit| !is_learned(unit));
    let effect = mean_shift(&before, &after, [design_effect; 2])?;
    (effect.p_value() <= LEVEL && effect.raw() >= NOTABLE)
        .then_some([before.value()?, after.value()?])
}
