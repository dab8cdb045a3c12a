//! Numbers by rank: a summary in bounded memory that adds up over parts of the data, and takes a number in nanoseconds.
//!
//! ```text
//!   numbers ──guide: about which cell──> cell ──> its count and sum
//!              in no cell ──> the cell beside it, while that is small
//!                         └─> a cell of its own ──> neighbours are one where there are too many
//!   a cell that is too large ──> cells, by what of it came last
//! ```
//!
//! Absent on purpose: anything but finite numbers.

mod cells;
mod guide;

pub use cells::Cell;
use cells::Cells;
use guide::{Guide, Places};
use serde::{Deserialize, Serialize};

/// How many numbers are taken in at once.
const BATCH: usize = 8192;

/// A summary of numbers by their rank.
///
/// It is exact while there are at most as many distinct numbers as it may have cells. From there on neighbours share a cell,
/// which is of no more than about two in `most` of all numbers; a number that is more frequent keeps a cell of its own. Where
/// cells begin is learned from the first numbers and mended as others come: a cell that has become too large is cut where its
/// newest numbers lie, and what it held before counts where their mean was.
///
/// By how much a rank may be wrong is known when all is done ([`Ranks::rank_error`]); unlike that of KLL (Karnin, Lang &
/// Liberty 2016) it is no promise for any order of numbers, however malicious. For that it takes a fifth of the time
/// (docs/decisions/0018). As in the q-digest (Shrivastava et al. 2004) and the t-digest (Dunning & Ertl 2019), cells add up.
/// What it holds depends on the order of numbers, and on nothing else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ranks {
    most: usize,
    rows: u64,
    cells: Cells,
    /// Numbers that no cell is on both sides of, ascending: a cell begins there.
    kept: Vec<f64>,
    #[serde(skip)]
    work: Work,
}

/// What is used again from batch to batch.
#[derive(Clone, Debug, Default)]
struct Work {
    guide: Guide,
    counts: Vec<u32>,
    sums: Vec<f64>,
    places: Places,
}

/// It is of no summary what the next batch will use again.
impl PartialEq for Work {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Ranks {
    /// A summary of at most so many cells, from 16 to 32,768.
    pub fn new(most: usize) -> Self {
        Self {
            most: most.clamp(16, 1 << 15),
            rows: 0,
            cells: Cells::default(),
            kept: Vec::new(),
            work: Work::default(),
        }
    }

    /// A summary of what is compared with another, which begins new cells here ([`Ranks::starts`]): no cell of it is on both
    /// sides of such a number, so that counts between them are exact.
    pub fn beside(mut starts: Vec<f64>, most: usize) -> Self {
        starts.sort_by(f64::total_cmp);
        starts.dedup();
        // With fewer there would be too many cells whatever is done.
        let most = most.max(2 * starts.len());
        Self {
            kept: starts,
            ..Self::new(most)
        }
    }

    /// Where its cells begin; where one is of a single number, also what is just above it.
    pub fn starts(&self) -> Vec<f64> {
        let starts = |cell: Cell| {
            let above = (!cell.is_shared()).then(|| cell.last.next_up());
            [Some(cell.first), above]
        };
        self.cells.all().flat_map(starts).flatten().collect()
    }

    /// Adds numbers, which are finite.
    pub fn add(&mut self, numbers: &[f64]) {
        for batch in numbers.chunks(BATCH) {
            self.take(batch);
        }
    }

    /// Adds what others have. A rank is then wrong by no more than it was in all of them, and by those of a cell: the more are
    /// added at once, the less.
    pub fn merge<'a>(&mut self, others: impl IntoIterator<Item = &'a Self>) {
        let others: Vec<&Self> = others.into_iter().filter(|one| one.rows > 0).collect();
        let all: Vec<&Cells> = std::iter::once(&self.cells)
            .chain(others.iter().map(|one| &one.cells))
            .collect();
        let cells = Cells::merged(&all);
        self.rows += others.iter().map(|one| one.rows).sum::<u64>();
        self.cells = cells;
        self.compact();
    }

    /// The same of at most so many cells.
    #[must_use]
    pub fn shrunk(&self, most: usize) -> Self {
        let mut all = Self {
            most: most.clamp(16, self.most),
            kept: Vec::new(),
            ..self.clone()
        };
        all.compact();
        all
    }

    /// Gives back what was kept for the next numbers.
    pub fn rest(&mut self) {
        self.work = Work::default();
    }

    /// How many numbers were added.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The least number; absent without any.
    pub fn least(&self) -> Option<f64> {
        self.cells.firsts().first().copied()
    }

    /// The greatest.
    pub fn greatest(&self) -> Option<f64> {
        self.cells.all().last().map(|cell| cell.last)
    }

    /// Its cells, ascending.
    pub fn cells(&self) -> impl DoubleEndedIterator<Item = Cell> {
        self.cells.all()
    }

    /// A summary of these cells, ascending and apart from each other.
    pub fn of_cells(cells: impl IntoIterator<Item = Cell>) -> Self {
        let cells: Cells = cells.into_iter().collect();
        Self {
            most: cells.len().clamp(16, 1 << 15),
            rows: cells.all().map(|cell| cell.rows).sum(),
            cells,
            kept: Vec::new(),
            work: Work::default(),
        }
    }

    /// The most frequent number that has a cell of its own, and how often it is there.
    pub fn most_frequent(&self) -> Option<(f64, u64)> {
        let alone = self.cells.all().filter(|cell| !cell.is_shared());
        alone
            .map(|cell| (cell.first, cell.rows))
            .max_by_key(|(_, rows)| *rows)
    }

    /// Whether each distinct number has a cell of its own.
    pub fn is_exact(&self) -> bool {
        (0..self.cells.len()).all(|at| self.cells.uncertain(at) == 0)
    }

    /// By which share of all numbers a rank may be wrong at most: by those of a cell that is of several numbers, and by those
    /// that may count on the other side of where they are.
    pub fn rank_error(&self) -> f64 {
        let uncertain = (0..self.cells.len()).map(|at| self.cells.uncertain(at));
        crate::float(uncertain.max().unwrap_or(0)) / crate::float(self.rows.max(1))
    }

    /// How many numbers are below this one, to [`Ranks::rank_error`]: within a cell they lie evenly.
    pub fn below(&self, number: f64) -> f64 {
        let firsts = self.cells.firsts();
        let after = firsts.partition_point(|first| *first < number);
        let whole = after.saturating_sub(1);
        let sum: u64 = self.cells.rows()[..whole].iter().sum();
        let of = |rows: u64| crate::float(rows);
        match self.cells.get(whole).filter(|_| after > 0) {
            None => of(sum),
            Some(cell) if number > cell.last => of(sum + cell.rows),
            Some(cell) => {
                let share = (number - cell.first) / (cell.last - cell.first);
                let share = if share.is_nan() { 0.5 } else { share };
                of(sum) + of(cell.rows) * share.clamp(0.0, 1.0)
            }
        }
    }

    /// The number below which a share of all lies, to [`Ranks::rank_error`]; absent without numbers.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let wanted = share.clamp(0.0, 1.0) * crate::float(self.rows);
        let mut below = 0.0;
        for cell in self.cells.all() {
            let rows = crate::float(cell.rows);
            if below + rows >= wanted {
                let within = ((wanted - below) / rows).clamp(0.0, 1.0);
                return Some(cell.first + (cell.last - cell.first) * within);
            }
            below += rows;
        }
        self.greatest()
    }

    /// The edges of at most `bins` bins of about equal counts, as [`crate::bins::edges`] has them, and the counts in these
    /// bins. An edge is where a cell begins.
    pub fn bins(&self, bins: usize) -> (Vec<f64>, Vec<u64>) {
        let (Some(first), true) = (self.least(), bins >= 2) else {
            return (Vec::new(), vec![self.rows]);
        };
        if self.cells.len() == 1 && self.is_exact() {
            return (vec![first, first.next_up()], vec![0, self.rows, 0]);
        }
        let (bins, mut bin, mut seen) = (bins as u64, 1, 0);
        let (mut edges, mut counts) = (Vec::new(), vec![0]);
        for cell in self.cells.all() {
            // What is as frequent as a bin begins one, whatever is below it.
            let is_frequent = cell.rows * bins >= self.rows;
            if seen > 0 && (is_frequent || seen * bins >= bin * self.rows) {
                edges.push(cell.first);
                counts.push(0);
                bin = seen * bins / self.rows + 1;
            }
            seen += cell.rows;
            *counts.last_mut().expect("one more than edges") += cell.rows;
        }
        (edges, counts)
    }

    /// How many numbers lie in each bin; one longer than the edges. Exact where cells begin at the edges; else by
    /// [`Ranks::below`].
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // counts of rows
    pub fn counts(&self, edges: &[f64]) -> Vec<u64> {
        let mut before = 0;
        let ends = edges.iter().map(|edge| self.below(*edge).round() as u64);
        let bin = |end: u64| {
            let rows = end.saturating_sub(before);
            before = before.max(end);
            rows
        };
        ends.chain([self.rows]).map(bin).collect()
    }

    /// Of how many numbers a cell may be: about two in `most` of all.
    fn limit(&self) -> u64 {
        2 * self.rows / self.most as u64
    }

    fn take(&mut self, numbers: &[f64]) {
        let mut work = std::mem::take(&mut self.work);
        work.places.outside.clear();
        self.rows += numbers.len() as u64;
        if self.cells.len() == 0 {
            let outside = &mut work.places.outside;
            outside.extend(numbers.iter().map(|number| number + 0.0));
        } else {
            if work.counts.len() != self.cells.len() {
                work.counts = vec![0; self.cells.len()];
                work.sums = vec![0.0; self.cells.len()];
                work.guide = Guide::new(&self.cells);
            }
            work.count(&self.cells, numbers);
        }
        let crowded = self.crowded(&work.counts);
        let split = self.split(&work, &crowded, numbers);
        self.cells.fold(&mut work.counts, &mut work.sums, &crowded);
        let mut outside = std::mem::take(&mut work.places.outside);
        if crowded.is_empty() && self.is_compact() {
            self.absorb(&mut outside);
        }
        if !(outside.is_empty() && crowded.is_empty()) {
            cells::sort(&mut outside);
            let alone = cells::grouped(&outside);
            self.cells = self.cells.replaced(&crowded, split, alone);
            self.compact();
            work.counts.clear();
        }
        work.places.outside = outside;
        self.work = work;
    }

    /// Whether neighbours share cells already.
    fn is_compact(&self) -> bool {
        self.cells.len() * 2 >= self.most && !self.cells.are_alone()
    }

    /// Cells that are too large, and of more than one number.
    fn crowded(&self, counts: &[u32]) -> Vec<usize> {
        let limit = self.limit();
        let (firsts, lasts) = (self.cells.firsts(), self.cells.lasts());
        let rows = self.cells.rows().iter().zip(counts);
        let is_crowded = |(at, (rows, count)): (usize, (&u64, &u32))| {
            let is_large = *count > 0 && rows + u64::from(*count) > limit;
            (is_large && firsts[at] < lasts[at]).then_some(at)
        };
        rows.enumerate().filter_map(is_crowded).collect()
    }

    /// What each crowded cell becomes, by its numbers in this batch.
    fn split(&self, work: &Work, crowded: &[usize], numbers: &[f64]) -> Vec<Vec<Cell>> {
        if crowded.is_empty() {
            return Vec::new();
        }
        let mut members: Vec<Vec<f64>> = vec![Vec::new(); crowded.len()];
        let within = work.places.within(crowded, self.cells.len(), numbers);
        for (at, number) in within {
            members[at].push(number + 0.0);
        }
        let most = (self.limit() / 2).max(1);
        let mut split = Vec::with_capacity(crowded.len());
        for (at, mut numbers) in crowded.iter().zip(members) {
            cells::sort(&mut numbers);
            let cell = self.cells.get(*at).expect("it is one of them");
            let end = self.cells.get(at + 1).map_or(0, |next| next.doubt);
            split.push(cells::cut(cell, end, &numbers, most));
        }
        split
    }

    /// Numbers that lie between two cells go into the nearer one that is small and of several numbers, if there is one.
    fn absorb(&mut self, outside: &mut Vec<f64>) {
        let limit = self.limit();
        let (cells, kept) = (&mut self.cells, &self.kept);
        outside.retain(|number| {
            let after = cells.firsts().partition_point(|first| first <= number);
            let fits = |at: usize| {
                let cell = cells.get(at)?;
                let is_free = cell.is_shared() && cell.rows < limit;
                let mine = kept.partition_point(|edge| *edge <= cell.first);
                let its = kept.partition_point(|edge| edge <= number);
                let apart = (cell.first - number).max(number - cell.last);
                (is_free && mine == its).then_some((at, apart))
            };
            let before = after.checked_sub(1).and_then(fits);
            let both = [before, fits(after)].into_iter().flatten();
            let nearest = both.min_by(|one, other| one.1.total_cmp(&other.1));
            if let Some((at, _)) = nearest {
                cells.extend(at, *number);
            }
            nearest.is_none()
        });
    }

    /// Makes neighbours one where there are too many cells.
    fn compact(&mut self) {
        if self.cells.len() > self.most {
            let limit = self.limit();
            self.cells = self.cells.compacted(limit, &self.kept);
        }
        self.work.counts.clear();
    }
}

impl Work {
    fn count(&mut self, cells: &Cells, numbers: &[f64]) {
        self.guide.count(
            cells,
            numbers,
            &mut self.counts,
            &mut self.sums,
            &mut self.places,
        );
    }
}

#[cfg(test)]
mod tests;
