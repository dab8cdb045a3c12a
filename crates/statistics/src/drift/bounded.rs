//! So many rows of a data set, whatever its size: the same rows whichever way the data were cut and in whatever order they
//! came, for what has to look at rows themselves.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

use crate::cells::Merge;
use crate::random::Random;

/// How many rows of either side are enough for [`super::classifier`]: what it says of 2 AUC - 1 is known to 0.02.
pub const ROWS: usize = 2000;

/// A hash that is the same on every machine and in every version (XXH3, of 64 bits): for keys of rows and units, and for
/// n-grams of texts.
pub fn hash(seed: u64, bytes: &[u8]) -> u64 {
    XxHash3_64::oneshot_with_seed(seed, bytes)
}

/// A key, dealt out anew: what is chosen by it has nothing to do with what was chosen by the key itself, nor by another salt.
pub(super) fn dealt(key: u64, salt: u64) -> u64 {
    Random::new(key ^ salt).bits()
}

/// The rows with the least keys.
///
/// Source: Cohen & Kaplan (2007), "Summarizing data using bottom-k sketches": where keys are hashes, it is a random sample
/// without replacement, and of two parts of the data the least keys of both are those of the whole. A key is of one row: of a
/// request's id, or of a file's name and the row's number; of a row's content alone it would keep one of those that are the same,
/// and they would count for less than they are. A key that comes twice is one row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bounded<T> {
    most: usize,
    seen: u64,
    rows: BTreeMap<u64, Kept<T>>,
}

impl<T: Clone> Merge for Bounded<T> {
    fn merge(&mut self, other: &Self) {
        self.merge(other.clone());
    }
}

/// A row that is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Kept<T> {
    /// The hash of the unit that it is of; its key, where rows are independent.
    pub unit: u64,
    /// What is kept of it.
    pub what: T,
}

impl<T> Bounded<T> {
    /// Nothing seen; at most so many rows will be kept, at least one.
    pub fn new(most: usize) -> Self {
        Self {
            most: most.max(1),
            seen: 0,
            rows: BTreeMap::new(),
        }
    }

    /// Takes one more row: what is kept of it is made only where it is kept, which is seldom once there are many.
    pub fn add(&mut self, key: u64, unit: u64, what: impl FnOnce() -> T) {
        self.seen += 1;
        let is_full = self.rows.len() >= self.most;
        let is_kept = !is_full || self.rows.last_key_value().is_some_and(|last| key < *last.0);
        if is_kept {
            let kept = || Kept { unit, what: what() };
            self.rows.entry(key).or_insert_with(kept);
            self.cut();
        }
    }

    /// Takes the rows of another part of the data.
    pub fn merge(&mut self, other: Self) {
        self.seen += other.seen;
        for (key, kept) in other.rows {
            self.rows.entry(key).or_insert(kept);
        }
        self.cut();
    }

    /// How many rows there were.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Those that are kept, in the order of their keys.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &Kept<T>> {
        self.rows.values()
    }

    /// The same, each with its key: what [`Bounded::add`] makes of them again is the same.
    pub fn keyed(&self) -> impl ExactSizeIterator<Item = (u64, &Kept<T>)> {
        self.rows.iter().map(|(key, kept)| (*key, kept))
    }

    fn cut(&mut self) {
        while self.rows.len() > self.most {
            self.rows.pop_last();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(rows: impl IntoIterator<Item = u64>) -> Bounded<u64> {
        let mut bounded = Bounded::new(50);
        for row in rows {
            bounded.add(hash(1, &row.to_le_bytes()), row / 10, || row);
        }
        bounded
    }

    #[test]
    fn the_same_rows_are_kept_whatever_the_parts_and_their_order() {
        let all = of(0..1000);
        let mut parts = of((700..1000).rev());
        parts.merge(of(300..700));
        parts.merge(of(0..300));
        assert_eq!(parts, all);
        assert_eq!((all.seen(), all.rows().len()), (1000, 50));
        // And they are of all of them.
        let low = all.rows().filter(|kept| kept.what < 500).count();
        assert!((15..=35).contains(&low), "{low} of 50");
        assert!(all.rows().all(|kept| kept.unit == kept.what / 10));
    }

    #[test]
    fn few_rows_are_all_kept_and_a_key_that_comes_twice_is_one_row() {
        let mut few = of(0..20);
        few.merge(of(0..20));
        assert_eq!((few.seen(), few.rows().len()), (40, 20));
    }

    /// XXH3 of nothing, as its specification has it.
    #[test]
    fn a_hash_is_that_of_other_programs() {
        assert_eq!(hash(0, b""), 0x2D06_8005_38D3_94C2);
    }
}
