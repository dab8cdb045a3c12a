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
/// where they are of few additions: a cell is then a range of numbers, with some in `most` of all additions,
/// and a number of more additions has a cell of its own. So memory stays bounded. What is added up in a range is exact,
/// whatever the ranges are; where they lie depends on the order of the additions, and a range that many numbers come to
/// later is not divided.
#[derive(Clone, Debug, PartialEq)]
pub struct Cells<T> {
    most: usize,
    /// All additions that are in cells.
    additions: u64,
    ordered: Vec<Cell<T>>,
    unsorted: Vec<(f64, T)>,
}

/// From `low` to `high`, both in it.
#[derive(Clone, Debug, PartialEq)]
struct Cell<T> {
    low: f64,
    high: f64,
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

    /// Adds at a number, which is not NaN.
    pub fn add(&mut self, number: f64, what: T) {
        // The two zeros are the same.
        self.unsorted.push((number + 0.0, what));
        if self.unsorted.len() >= BATCH.max(self.ordered.len()) {
            self.settle();
        }
    }

    /// Puts in order what was added.
    pub fn settle(&mut self) {
        let mut more = std::mem::take(&mut self.unsorted);
        more.sort_by(|one, other| one.0.total_cmp(&other.0));
        self.additions += more.len() as u64;
        let cells = std::mem::take(&mut self.ordered);
        let of_more = more.drain(..).map(|(number, what)| Cell {
            low: number,
            high: number,
            additions: 1,
            what,
        });
        self.ordered = joined(cells, of_more);
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
        self.unsorted = more;
    }

    /// What was added, from the lowest cell to the highest, once [`Cells::settle`] has put it in order.
    pub fn all(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.ordered.iter().map(|cell| &cell.what)
    }

    /// The same, and whether a cell is of one number alone.
    pub fn all_told(&self) -> impl DoubleEndedIterator<Item = (&T, bool)> {
        let told = |cell: &Cell<T>| cell.low.total_cmp(&cell.high).is_eq();
        self.ordered
            .iter()
            .map(move |cell| (&cell.what, told(cell)))
    }

    /// Where each cell begins: no number in it is lower, and every number in those before it is.
    pub fn starts(&self) -> impl Iterator<Item = f64> {
        self.ordered.iter().map(|cell| cell.low)
    }

    /// How many cells there are.
    pub fn count(&self) -> usize {
        self.ordered.len()
    }

    /// Which cell a number lies in, from 0; absent where nothing was added there.
    pub fn place(&self, number: f64) -> Option<usize> {
        let place = self.ordered.partition_point(|cell| cell.low <= number);
        let place = place.checked_sub(1)?;
        (number <= self.ordered[place].high).then_some(place)
    }
}

impl<T: Merge> Cell<T> {
    fn take(&mut self, later: &Self) {
        self.high = self.high.max(later.high);
        self.additions += later.additions;
        self.what.merge(&later.what);
    }
}

/// Two tables in one, both from the lowest to the highest: what lies in a range of the first is taken into it.
fn joined<T: Merge>(
    first: Vec<Cell<T>>,
    second: impl ExactSizeIterator<Item = Cell<T>>,
) -> Vec<Cell<T>> {
    let mut all: Vec<Cell<T>> = Vec::with_capacity(first.len() + second.len());
    let mut push = |cell: Cell<T>| match all.last_mut() {
        Some(last) if cell.low <= last.high => last.take(&cell),
        _ => all.push(cell),
    };
    let (mut first, mut second) = (first.into_iter().peekable(), second.peekable());
    loop {
        let is_first = match (first.peek(), second.peek()) {
            (Some(one), Some(other)) => one.low <= other.low,
            (one, _) => one.is_some(),
        };
        let next = if is_first {
            first.next()
        } else {
            second.next()
        };
        match next {
            Some(cell) => push(cell),
            None => return all,
        }
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
        assert_eq!((cells.place(3.0), cells.place(2.0)), (Some(2), None));
        assert_eq!((cells.place(-2.0), cells.place(4.0)), (None, None));
    }

    #[test]
    fn a_table_stays_bounded_and_loses_nothing() {
        let mut random = Random::new(4);
        // Also in order, and with a number that is there very often.
        let mixed: Vec<f64> = (0..50_000)
            .map(|row| if row % 10 == 0 { 0.5 } else { random.normal() })
            .collect();
        let mut sorted = mixed.clone();
        sorted.sort_by(f64::total_cmp);
        let backwards: Vec<f64> = sorted.iter().rev().copied().collect();
        for numbers in [&mixed, &sorted, &backwards] {
            let cells = cells_of(numbers, 300);
            assert!((100..=300).contains(&cells.count()), "{}", cells.count());
            let counts: Vec<u64> = cells.all().copied().collect();
            assert_eq!(counts.iter().sum::<u64>(), 50_000);
            let often = cells.place(0.5).expect("it was added");
            for (place, count) in counts.iter().enumerate() {
                assert!(place == often || *count <= 4 * 50_000 / 300, "{count}");
            }
            let starts: Vec<f64> = cells.starts().collect();
            let mut found = vec![0; starts.len()];
            for number in numbers {
                let place = cells.place(*number).expect("it was added");
                assert!(starts[place] <= *number);
                assert!(starts.get(place + 1).is_none_or(|next| number < next));
                found[place] += 1;
            }
            assert_eq!(found, counts);
        }
    }
}
