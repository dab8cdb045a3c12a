//! Numbers in their order, in bounded memory.

use crate::mean::Mean;

/// How many numbers are taken in before they are put in order.
const BATCH: usize = 1024;

/// What is added up at a number, and can be added up over neighbours.
pub trait Merge {
    /// Takes what another has.
    fn merge(&mut self, other: &Self);
}

impl Merge for u64 {
    fn merge(&mut self, other: &Self) {
        *self += other;
    }
}

impl Merge for Mean {
    fn merge(&mut self, other: &Self) {
        self.merge(other);
    }
}

impl<T: Merge, const N: usize> Merge for [T; N] {
    fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.iter_mut().zip(other) {
            mine.merge(theirs);
        }
    }
}

/// An ordered table from numbers to what is added up at each.
///
/// It is exact while there are at most as many distinct numbers as it may have cells. From there on the last binary digit
/// is no longer told apart, then the one before it, and so on: a cell is then a range of numbers, all cells of one binary
/// exponent of one width. So memory stays bounded, and which numbers lie in which cell does not depend on their order.
#[derive(Clone, Debug, PartialEq)]
pub struct Cells<T> {
    most: usize,
    /// How many of the last binary digits are not told apart.
    dropped: u32,
    sorted: Vec<(u64, T)>,
    unsorted: Vec<(u64, T)>,
}

impl<T: Merge> Cells<T> {
    /// A table of at most so many cells, of at least one.
    pub fn new(most: usize) -> Self {
        Self {
            most: most.max(1),
            dropped: 0,
            sorted: Vec::new(),
            unsorted: Vec::new(),
        }
    }

    /// Adds at a number, which is not NaN.
    pub fn add(&mut self, number: f64, what: T) {
        self.unsorted.push((key(number) >> self.dropped, what));
        if self.unsorted.len() >= BATCH.max(self.sorted.len()) {
            self.settle();
        }
    }

    /// Puts in order what was added.
    pub fn settle(&mut self) {
        self.sorted.append(&mut self.unsorted);
        self.sorted.sort_by_key(|(key, _)| *key);
        self.join();
        while self.sorted.len() > self.most {
            self.dropped += 1;
            self.sorted.iter_mut().for_each(|(key, _)| *key >>= 1);
            self.join();
        }
    }

    fn join(&mut self) {
        self.sorted.dedup_by(|later, kept| {
            let is_same = later.0 == kept.0;
            if is_same {
                kept.1.merge(&later.1);
            }
            is_same
        });
    }

    /// What was added, from the lowest cell to the highest, once [`Cells::settle`] has put it in order.
    pub fn all(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.sorted.iter().map(|(_, what)| what)
    }

    /// Where each cell begins: no number in it is lower, and every number in those before it is.
    pub fn starts(&self) -> impl Iterator<Item = f64> {
        self.sorted
            .iter()
            .map(|(key, _)| number(key << self.dropped))
    }

    /// How many cells there are.
    pub fn count(&self) -> usize {
        self.sorted.len()
    }

    /// Which cell a number lies in, from 0; absent where nothing was added there.
    pub fn place(&self, number: f64) -> Option<usize> {
        let key = key(number) >> self.dropped;
        let found = self.sorted.binary_search_by_key(&key, |(key, _)| *key);
        found.ok()
    }
}

/// A whole number in the order of numbers. The two zeros are the same.
fn key(number: f64) -> u64 {
    let bits = (number + 0.0).to_bits();
    if bits >> 63 == 0 {
        bits | 1 << 63
    } else {
        !bits
    }
}

fn number(key: u64) -> f64 {
    f64::from_bits(if key >> 63 == 1 {
        key & !(1 << 63)
    } else {
        !key
    })
}

#[cfg(test)]
#[allow(clippy::float_cmp)] // exact by construction
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn numbers_lie_in_their_order() {
        let all = [f64::NEG_INFINITY, -2.5, -1e-300, 0.0, 1e-300, 1.0, 7e8];
        assert!(all.is_sorted_by_key(|one| key(*one)));
        assert!(all.iter().all(|one| number(key(*one)) == *one));
        let mut cells = Cells::new(100);
        for one in [3.0, -0.0, -1.0, 0.0, 3.0] {
            cells.add(one, 1_u64);
        }
        cells.settle();
        assert_eq!(cells.starts().collect::<Vec<_>>(), [-1.0, 0.0, 3.0]);
        assert_eq!(cells.all().copied().collect::<Vec<_>>(), [1, 2, 2]);
        assert_eq!((cells.place(3.0), cells.place(2.0)), (Some(2), None));
    }

    #[test]
    fn a_table_stays_bounded_and_loses_nothing() {
        let mut random = Random::new(4);
        let numbers: Vec<f64> = (0..20_000).map(|_| random.normal()).collect();
        let of = |numbers: &mut dyn Iterator<Item = &f64>| {
            let mut cells = Cells::new(300);
            numbers.for_each(|number| cells.add(*number, 1_u64));
            cells.settle();
            cells
        };
        let cells = of(&mut numbers.iter());
        assert!((100..=300).contains(&cells.count()), "{}", cells.count());
        assert_eq!(cells.all().sum::<u64>(), 20_000);
        assert_eq!(of(&mut numbers.iter().rev()), cells);
        let starts: Vec<f64> = cells.starts().collect();
        for number in &numbers {
            let place = cells.place(*number).expect("it was added");
            assert!(starts[place] <= *number);
            assert!(starts.get(place + 1).is_none_or(|next| number < next));
        }
    }
}
