//! Texts as vectors of one length, without a table of words.

use super::traits::Trait;
use super::vocabulary::words;
use crate::drift::bounded::hash;
use crate::drift::classifier::Matrix;

/// Places for words, and for characters three at a time.
const WORDS: usize = 1024;
const CHARACTERS: usize = 512;
const TRAITS: usize = Trait::ALL.len();
const WIDTH: usize = WORDS + CHARACTERS + TRAITS;
/// Places that fewer texts than this have something in say nothing of either side.
const MIN_TEXTS: usize = 10;
const OF_WORDS: u64 = 1;
const OF_CHARACTERS: u64 = 2;

/// A row for each text: words and triples of characters, each added or taken off at a place by its hash, as the logarithm of
/// how often, over the length of all; and the traits.
///
/// Source: Weinberger, Dasgupta, Langford, Smola & Attenberg (2009), "Feature hashing for large scale multitask learning": with
/// signs by another part of the hash, inner products are right on average.
pub(super) fn features(texts: &[&str]) -> Matrix {
    let mut values = vec![0.0; WIDTH * texts.len()];
    for (row, text) in values.chunks_exact_mut(WIDTH).zip(texts) {
        fill(row, text);
    }
    let mut counts = vec![0; WIDTH];
    for row in values.chunks_exact(WIDTH) {
        for (count, value) in counts.iter_mut().zip(row) {
            *count += usize::from(value.abs() > 0.0);
        }
    }
    for row in values.chunks_exact_mut(WIDTH) {
        for (value, count) in row.iter_mut().zip(&counts) {
            if *count < MIN_TEXTS {
                *value = 0.0;
            }
        }
    }
    Matrix::new(WIDTH, values)
}

#[allow(clippy::cast_possible_truncation)] // of the size of 1, or logarithms
fn fill(row: &mut [f32], text: &str) {
    let (of_words, rest) = row.split_at_mut(WORDS);
    let (of_characters, traits) = rest.split_at_mut(CHARACTERS);
    for word in words(text) {
        count(of_words, hash(OF_WORDS, word.as_bytes()));
        let ends = format!(" {word} ");
        let starts: Vec<usize> = ends.char_indices().map(|(at, _)| at).collect();
        for (at, start) in starts.iter().enumerate() {
            let end = starts.get(at + 3).copied();
            // The last triple ends where the word does.
            if at + 3 <= starts.len() {
                let triple = &ends[*start..end.unwrap_or(ends.len())];
                count(of_characters, hash(OF_CHARACTERS, triple.as_bytes()));
            }
        }
    }
    scale(of_words);
    scale(of_characters);
    for ((value, number), of) in traits.iter_mut().zip(Trait::of(text)).zip(Trait::ALL) {
        let number = if of.is_share() {
            number
        } else {
            number.ln_1p()
        };
        *value = number as f32;
    }
}

#[allow(clippy::cast_possible_truncation)] // a place
fn count(places: &mut [f32], hash: u64) {
    let at = (hash % places.len() as u64) as usize;
    places[at] += if hash >> 63 == 0 { 1.0 } else { -1.0 };
}

fn scale(places: &mut [f32]) {
    for value in &mut *places {
        *value = value.abs().ln_1p().copysign(*value);
    }
    let length = places.iter().map(|value| value * value).sum::<f32>().sqrt();
    if length > 0.0 {
        for value in places.iter_mut() {
            *value /= length;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_the_same_vector_everywhere_and_case_is_no_matter() {
        let mut rows = [vec![0.0; WIDTH], vec![0.0; WIDTH], vec![0.0; WIDTH]];
        for (row, text) in rows
            .iter_mut()
            .zip(["Zwei Äpfel", "zwei äpfel", "drei Birnen"])
        {
            fill(row, text);
        }
        assert_eq!(rows[0][..WORDS + CHARACTERS], rows[1][..WORDS + CHARACTERS]);
        let together = |one: &[f32], other: &[f32]| -> f32 {
            let places = one[..WORDS].iter().zip(&other[..WORDS]);
            places.map(|(a, b)| a * b).sum()
        };
        assert!((together(&rows[0], &rows[0]) - 1.0).abs() < 1e-6);
        assert!(together(&rows[0], &rows[2]).abs() < 1e-6);
        // Two words and their triples: " zw", "zwe", "wei", "ei " and " äp", "äpf", "pfe", "fel", "el ".
        let seen = |range: std::ops::Range<usize>| {
            rows[0][range]
                .iter()
                .filter(|value| value.abs() > 0.0)
                .count()
        };
        assert_eq!((seen(0..WORDS), seen(WORDS..WORDS + CHARACTERS)), (2, 9));
    }

    #[test]
    fn what_few_texts_have_says_nothing() {
        let mut texts = vec!["often"; 20];
        texts.extend(["seldom"; 9]);
        let rows = features(&texts);
        let rows: Vec<&[f32]> = rows.rows().collect();
        let words = |row: &[f32]| {
            row[..WORDS]
                .iter()
                .filter(|value| value.abs() > 0.0)
                .count()
        };
        assert_eq!((words(rows[0]), words(rows[25])), (1, 0));
    }

    #[test]
    fn texts_without_a_word_in_common_have_nothing_in_common_on_average_and_repeats_count_for_less()
    {
        let rows: Vec<Vec<f32>> = (0..60_u32)
            .map(|text| {
                let words: Vec<String> = (0..40).map(|word| format!("w{text}x{word}")).collect();
                let mut row = vec![0.0; WIDTH];
                fill(&mut row, &words.join(" "));
                row
            })
            .collect();
        let (mut sum, mut pairs) = (0.0, 0.0);
        for (at, one) in rows.iter().enumerate() {
            for other in &rows[..at] {
                let places = one[..WORDS].iter().zip(&other[..WORDS]);
                sum += places.map(|(a, b)| a * b).sum::<f32>();
                pairs += 1.0;
            }
        }
        assert!((sum / pairs).abs() < 0.004, "{}", sum / pairs);
        let mut row = vec![0.0; WIDTH];
        fill(&mut row, "often often often seldom");
        let mut sizes: Vec<f32> = row[..WORDS].iter().map(|value| value.abs()).collect();
        sizes.sort_by(|one, other| other.total_cmp(one));
        assert!((sizes[0] / sizes[1] - 2.0).abs() < 1e-5, "{sizes:?}");
    }
}
