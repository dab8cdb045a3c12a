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
/// It is exact while there are at most as many distinct numbers as it may have cells. From there on neighbours share a cell
/// where they are of few additions, and stand where their mean is; a number of more than about two in `most` of all
/// additions keeps a cell of its own. So memory stays bounded, and the order of additions is right but for those that share
/// a cell, whichever of them came first. (A t-digest, Dunning & Ertl 2019, of which each cell holds as much as another.)
#[derive(Clone, Debug, PartialEq)]
pub struct Cells<T> {
    most: usize,
    /// All additions that are in cells.
    additions: u64,
    ordered: Vec<Cell<T>>,
    unsorted: Vec<(f64, T)>,
}

#[derive(Clone, Debug, PartialEq)]
struct Cell<T> {
    /// The mean of its numbers.
    at: f64,
    /// Whether it is of one number alone.
    is_one: bool,
    additions: u64,
    what: T,
}

impl<T: Merge> Cells<T> {
    /// A table of at most so many cells, of at least two.
    pub fn new(most: usize) -> Self {
        Self {
            most: most.max(2),
            additions: 0,
            ordered: Vec::new(),
            unsorted: Vec::new(),
        }
    }

    /// Adds at a number, which is finite.
    pub fn add(&mut self, number: f64, what: T) {
        // The two zeros are the same.
        self.unsorted.push((number + 0.0, what));
        if self.unsorted.len() >= BATCH.max(self.ordered.len()) {
            self.settle();
        }
    }

    /// Puts in order what was added.
    pub fn settle(&mut self) {
        self.additions += self.unsorted.len() as u64;
        let more = self.unsorted.drain(..).map(|(number, what)| Cell {
            at: number,
            is_one: true,
            additions: 1,
            what,
        });
        self.ordered.extend(more);
        self.ordered
            .sort_by(|one, other| one.at.total_cmp(&other.at));
        self.ordered.dedup_by(|later, kept| {
            let is_same = later.at.total_cmp(&kept.at).is_eq();
            if is_same {
                kept.take(later);
            }
            is_same
        });
        if self.ordered.len() > self.most {
            let limit = self.additions.saturating_mul(2) / self.most as u64;
            self.ordered.dedup_by(|later, kept| {
                let is_small = kept.additions + later.additions <= limit;
                if is_small {
                    kept.take(later);
                }
                is_small
            });
        }
        self.ordered.shrink_to(self.most);
    }

    /// What was added, from the lowest cell to the highest, once [`Cells::settle`] has put it in order.
    pub fn all(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.ordered.iter().map(|cell| &cell.what)
    }

    /// The same, and whether a cell is of one number alone.
    pub fn all_told(&self) -> impl DoubleEndedIterator<Item = (&T, bool)> {
        self.ordered.iter().map(|cell| (&cell.what, cell.is_one))
    }

    /// Where each cell begins: at its number, if it is of one; else in the middle between the cell before and itself.
    pub fn starts(&self) -> impl Iterator<Item = f64> {
        let before = std::iter::once(None).chain(self.ordered.iter().map(Some));
        let both = before.zip(&self.ordered);
        both.map(|(before, cell)| match before {
            Some(before) if !cell.is_one => f64::midpoint(before.at, cell.at),
            _ => cell.at,
        })
    }

    /// Where each cell stands, the mean of its numbers, and what was added there, from the lowest to the highest.
    pub fn points(&self) -> impl Iterator<Item = (f64, &T)> {
        self.ordered.iter().map(|cell| (cell.at, &cell.what))
    }

    /// How many cells there are.
    pub fn count(&self) -> usize {
        self.ordered.len()
    }

    /// Which cell a number that was added counts to, from 0: the nearest. Absent where nothing was added.
    pub fn place(&self, number: f64) -> Option<usize> {
        let after = self.ordered.partition_point(|cell| cell.at <= number);
        let Some(before) = after.checked_sub(1) else {
            return (!self.ordered.is_empty()).then_some(0);
        };
        let is_nearer = |next: &Cell<T>| next.at - number < number - self.ordered[before].at;
        let next = self.ordered.get(after).filter(|next| is_nearer(next));
        Some(next.map_or(before, |_| after))
    }
}

impl<T: Merge> Cell<T> {
    #[allow(clippy::cast_precision_loss)] // counts of rows
    fn take(&mut self, later: &Self) {
        self.is_one &= later.is_one && later.at.total_cmp(&self.at).is_eq();
        let all = self.additions + later.additions;
        self.at += (later.at - self.at) * (later.additions as f64 / all as f64);
        self.additions = all;
        self.what.merge(&later.what);
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp)] // exact by construction
mod tests {
    use super::*;
    use crate::random::Random;

    fn cells_of(numbers: &[f64], most: usize) -> Cells<u64> {
        let mut cells = Cells::new(most);
        for number in numbers {
            cells.add(*number, 1);
        }
        cells.settle();
        cells
    }

    #[test]
    fn few_numbers_have_a_cell_each() {
        let cells = cells_of(&[3.0, -0.0, -1.0, 0.0, 3.0], 100);
        assert_eq!(cells.starts().collect::<Vec<_>>(), [-1.0, 0.0, 3.0]);
        assert_eq!(cells.all().copied().collect::<Vec<_>>(), [1, 2, 2]);
        let points: Vec<(f64, u64)> = cells.points().map(|(at, count)| (at, *count)).collect();
        assert_eq!(points, [(-1.0, 1), (0.0, 2), (3.0, 2)]);
        assert_eq!((cells.place(3.0), cells.place(0.0)), (Some(2), Some(1)));
        assert_eq!(cells_of(&[], 100).place(1.0), None);
    }

    #[test]
    fn a_table_stays_bounded_and_loses_nothing() {
        let mut random = Random::new(4);
        // Also in order, and with a number that is there very often; and first far apart, then close together.
        let mixed: Vec<f64> = (0..50_000)
            .map(|row| if row % 10 == 0 { 0.5 } else { random.normal() })
            .collect();
        let mut sorted = mixed.clone();
        sorted.sort_by(f64::total_cmp);
        let backwards: Vec<f64> = sorted.iter().rev().copied().collect();
        let closer: Vec<f64> = (0..50_000)
            .map(|row| 0.5 + random.normal() * if row < 20_000 { 1.0 } else { 1e-6 })
            .collect();
        for numbers in [&mixed, &sorted, &backwards, &closer] {
            let cells = cells_of(numbers, 300);
            assert!((100..=300).contains(&cells.count()), "{}", cells.count());
            let counts: Vec<u64> = cells.all().copied().collect();
            assert_eq!(counts.iter().sum::<u64>(), 50_000);
            let often = cells.place(0.5).expect("it was added");
            for (place, count) in counts.iter().enumerate() {
                assert!(place == often || *count <= 2 * 50_000 / 300, "{count}");
            }
            // What a cell counts begins and ends about where that of its numbers does.
            let mut ordered = numbers.clone();
            ordered.sort_by(f64::total_cmp);
            let mut before = 0;
            for (start, count) in cells.starts().zip(&counts) {
                let rank = ordered.partition_point(|number| *number < start);
                assert!(rank.abs_diff(before) <= 4 * 50_000 / 300, "{rank} {before}");
                before += usize::try_from(*count).expect("small");
            }
        }
    }
}
