//! The cells of a summary, column by column: what a number is looked up in is small and lies together.

use serde::{Deserialize, Serialize};

use super::guide::{number, ordered as ordered_bits};
use crate::float;

/// Numbers that are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// The least of them.
    pub first: f64,
    /// The greatest. Where it is the same, they all are.
    pub last: f64,
    /// How many there are.
    pub rows: u64,
    /// Their sum.
    pub sum: f64,
    /// How many numbers may be on the other side of where it begins than they count.
    pub(super) doubt: u64,
}

/// A sum that stays a number.
fn bounded(sum: f64) -> f64 {
    if sum.is_nan() {
        0.0
    } else {
        sum.clamp(f64::MIN, f64::MAX)
    }
}

impl Cell {
    /// So many of one number.
    pub fn of(number: f64, rows: u64) -> Self {
        Self {
            first: number,
            last: number,
            rows,
            sum: bounded(number * float(rows)),
            doubt: 0,
        }
    }

    /// So many numbers from one to another with this mean.
    pub fn with_mean(first: f64, last: f64, mean: f64, rows: u64) -> Self {
        Self {
            first,
            last,
            rows,
            sum: bounded(mean * float(rows)),
            doubt: 0,
        }
    }

    /// Whether it is of several numbers.
    pub fn is_shared(&self) -> bool {
        self.first < self.last
    }

    /// The mean of its numbers.
    pub fn mean(&self) -> f64 {
        if self.first >= self.last {
            return self.first;
        }
        // A sum that is no longer one says nothing.
        if self.sum.abs() >= f64::MAX {
            return f64::midpoint(self.first, self.last);
        }
        (self.sum / float(self.rows)).clamp(self.first, self.last)
    }

    /// Takes what the next cell has, or what lies within it.
    fn take(&mut self, other: &Self) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.rows += other.rows;
        self.sum = bounded(self.sum + other.sum);
    }
}

/// Cells, ascending and apart from each other; written cell by cell.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<Cell>", into = "Vec<Cell>")]
pub(super) struct Cells {
    /// Where each begins, and infinity, where there is any.
    firsts: Vec<f64>,
    lasts: Vec<f64>,
    rows: Vec<u64>,
    sums: Vec<f64>,
    doubts: Vec<u64>,
}

impl From<Vec<Cell>> for Cells {
    fn from(cells: Vec<Cell>) -> Self {
        cells.into_iter().collect()
    }
}

impl From<Cells> for Vec<Cell> {
    fn from(cells: Cells) -> Self {
        cells.all().collect()
    }
}

impl FromIterator<Cell> for Cells {
    fn from_iter<T: IntoIterator<Item = Cell>>(all: T) -> Self {
        let mut cells = Self::default();
        for cell in all {
            cells.push(&cell);
        }
        cells
    }
}

impl Cells {
    pub(super) fn len(&self) -> usize {
        self.lasts.len()
    }

    pub(super) fn firsts(&self) -> &[f64] {
        &self.firsts[..self.len()]
    }

    /// Where each begins, and infinity, where there is any.
    pub(super) fn firsts_and_end(&self) -> &[f64] {
        &self.firsts
    }

    pub(super) fn lasts(&self) -> &[f64] {
        &self.lasts
    }

    pub(super) fn rows(&self) -> &[u64] {
        &self.rows
    }

    pub(super) fn get(&self, at: usize) -> Option<Cell> {
        Some(Cell {
            last: *self.lasts.get(at)?,
            first: self.firsts[at],
            rows: self.rows[at],
            sum: self.sums[at],
            doubt: self.doubts[at],
        })
    }

    pub(super) fn all(&self) -> impl DoubleEndedIterator<Item = Cell> {
        (0..self.len()).map(|at| self.get(at).expect("it is one of them"))
    }

    /// Whether each is of one number.
    pub(super) fn are_alone(&self) -> bool {
        self.firsts() == self.lasts
    }

    fn push(&mut self, cell: &Cell) {
        self.firsts.pop();
        self.firsts.extend([cell.first, f64::INFINITY]);
        self.lasts.push(cell.last);
        self.rows.push(cell.rows);
        self.sums.push(cell.sum);
        self.doubts.push(cell.doubt);
    }

    /// Adds counts and sums, but for those of some cells; all of them are 0 then.
    pub(super) fn fold(&mut self, counts: &mut [u32], sums: &mut [f64], but: &[usize]) {
        for at in but {
            (counts[*at], sums[*at]) = (0, 0.0);
        }
        for (rows, count) in self.rows.iter_mut().zip(counts) {
            *rows += u64::from(*count);
            *count = 0;
        }
        for (sum, more) in self.sums.iter_mut().zip(sums) {
            *sum = bounded(*sum + *more);
            *more = 0.0;
        }
    }

    /// Takes a number beside a cell into it.
    pub(super) fn extend(&mut self, at: usize, number: f64) {
        self.firsts[at] = self.firsts[at].min(number);
        self.lasts[at] = self.lasts[at].max(number);
        self.rows[at] += 1;
        self.sums[at] = bounded(self.sums[at] + number);
    }

    /// The same with some cells replaced, and with others between them.
    pub(super) fn replaced(&self, which: &[usize], by: Vec<Vec<Cell>>, more: Vec<Cell>) -> Self {
        let mut by = which.iter().zip(by).peekable();
        let mut mine: Vec<Cell> = Vec::with_capacity(self.len() + more.len());
        for (at, cell) in self.all().enumerate() {
            match by.next_if(|(place, _)| **place == at) {
                Some((_, cells)) => mine.extend(cells),
                None => mine.push(cell),
            }
        }
        ordered(mine, more).into_iter().collect()
    }

    /// Neighbours as one while they are of so many numbers at most together, and on one side of what is kept.
    pub(super) fn compacted(&self, limit: u64, kept: &[f64]) -> Self {
        let mut cells = Self::default();
        let mut open: Option<Cell> = None;
        let mut edges = kept.iter().peekable();
        for cell in self.all() {
            let mut is_cut = false;
            while edges.next_if(|edge| **edge <= cell.first).is_some() {
                is_cut = true;
            }
            match open.as_mut() {
                Some(last) if !is_cut && last.rows + cell.rows <= limit => last.take(&cell),
                Some(last) => {
                    cells.push(last);
                    open = Some(cell);
                }
                None => open = Some(cell),
            }
        }
        if let Some(last) = &open {
            cells.push(last);
        }
        cells
    }

    /// Those of several, ascending by their means. Where two overlap, either ends between their means; a number that has a
    /// cell of its own keeps it.
    pub(super) fn merged(of: &[&Self]) -> Self {
        let mut all: Vec<Cell> = of.iter().flat_map(|one| one.all()).collect();
        all.sort_by(|one, other| one.mean().total_cmp(&other.mean()));
        let mut cells: Vec<Cell> = Vec::with_capacity(all.len());
        for mut cell in all {
            match cells.last_mut() {
                Some(last) if last.last >= cell.first => {
                    let both_alone = !last.is_shared() && !cell.is_shared();
                    if both_alone || last.mean() >= cell.mean() {
                        last.take(&cell);
                    } else {
                        apart(last, &mut cell);
                        cells.push(cell);
                    }
                }
                _ => cells.push(cell),
            }
        }
        for cell in &mut cells {
            cell.doubt = of.iter().map(|one| one.doubt_at(cell.first)).sum();
        }
        cells.into_iter().collect()
    }

    /// How many numbers may be on the other side of this one than they count, where those of a cell are all taken to be on
    /// one side.
    fn doubt_at(&self, number: f64) -> u64 {
        let after = self.firsts().partition_point(|first| *first < number);
        let within = after.checked_sub(1).filter(|at| number <= self.lasts[*at]);
        within.map_or(self.doubt(after), |at| self.uncertain(at))
    }

    fn doubt(&self, at: usize) -> u64 {
        self.doubts.get(at).copied().unwrap_or(0)
    }

    /// How many numbers may be on the other side of one within this cell than they count.
    pub(super) fn uncertain(&self, at: usize) -> u64 {
        let shared = self.firsts[at] < self.lasts[at];
        let rows = if shared { self.rows[at] } else { 0 };
        self.doubt(at).max(self.doubt(at + 1)) + rows
    }
}

/// Has two cells end before each other, between their means, which differ.
fn apart(low: &mut Cell, high: &mut Cell) {
    let middle = f64::midpoint(low.mean(), high.mean());
    let begin = if !low.is_shared() {
        low.last.next_up()
    } else if !high.is_shared() {
        high.first
    } else {
        middle.max(low.mean().next_up())
    };
    low.last = low.last.min(begin.next_down()).max(low.first);
    high.first = high.first.max(begin).min(high.last);
}

/// Puts numbers in their order, as whole numbers: that takes half of the time.
pub(super) fn sort(numbers: &mut [f64]) {
    let mut keys: Vec<i64> = numbers.iter().map(|number| ordered_bits(*number)).collect();
    keys.sort_unstable();
    for (to, key) in numbers.iter_mut().zip(keys) {
        *to = number(key);
    }
}

/// Sorted numbers, each once with how often it is there.
pub(super) fn grouped(sorted: &[f64]) -> Vec<Cell> {
    let groups = sorted.chunk_by(|one, next| one.total_cmp(next).is_eq());
    groups
        .map(|group| Cell::of(group[0], group.len() as u64))
        .collect()
}

/// What a cell that is too large becomes, by its newest numbers in their order: cells of at most so many of these, a number
/// that is more frequent by itself. What the cell held before counts to that of them where its mean was, and is in doubt where
/// they begin, with what is so where it begins or ends.
pub(super) fn cut(cell: Cell, end: u64, sorted: &[f64], most: u64) -> Vec<Cell> {
    let mut cells: Vec<Cell> = Vec::new();
    let mut is_open = false;
    for group in grouped(sorted) {
        if group.rows > most {
            cells.push(group);
            is_open = false;
            continue;
        }
        match cells.last_mut().filter(|_| is_open) {
            Some(last) if last.rows + group.rows <= most => last.take(&group),
            _ => cells.push(group),
        }
        is_open = true;
    }
    let mean = cell.mean();
    let distance = |one: &Cell| (one.first - mean).max(mean - one.last).max(0.0);
    // A number by itself stays by itself.
    let places = cells.iter().enumerate();
    let nearest = places
        .filter(|(_, one)| one.rows <= most)
        .min_by(|one, other| distance(one.1).total_cmp(&distance(other.1)));
    // It is of several numbers, and no longer known which.
    let before = Cell {
        first: mean,
        last: mean.next_up(),
        ..cell
    };
    match nearest.map(|(at, _)| at) {
        Some(at) if is_between(&cells, at, mean) => cells[at].take(&before),
        _ => {
            let place = cells.partition_point(|one| one.first <= before.last);
            match place.checked_sub(1).filter(|at| cells[*at].last >= mean) {
                Some(at) => cells[at].take(&before),
                None => cells.insert(place, before),
            }
        }
    }
    for (at, one) in cells.iter_mut().enumerate() {
        one.doubt = if at == 0 {
            cell.doubt
        } else {
            cell.doubt.max(end) + cell.rows
        };
    }
    cells
}

/// Whether a cell can reach to a number, and just above it, without touching another.
fn is_between(cells: &[Cell], at: usize, number: f64) -> bool {
    let is_above_last = at
        .checked_sub(1)
        .is_none_or(|before| cells[before].last < number);
    let is_below_next = cells
        .get(at + 1)
        .is_none_or(|next| number.next_up() < next.first);
    is_above_last && is_below_next
}

/// Two ascending lists as one; what is the same number in both is one cell. What comes between two of the first is in doubt as
/// much as where the next begins.
fn ordered(mine: Vec<Cell>, more: Vec<Cell>) -> Vec<Cell> {
    let mut all: Vec<Cell> = Vec::with_capacity(mine.len() + more.len());
    let (mut one, mut other) = (mine.into_iter().peekable(), more.into_iter().peekable());
    loop {
        let is_other = match (one.peek(), other.peek()) {
            (None, None) => return all,
            (mine, more) => {
                more.is_some_and(|more| mine.is_none_or(|mine| more.first < mine.first))
            }
        };
        let next = if is_other {
            let doubt = one.peek().map_or(0, |cell| cell.doubt);
            other.next().map(|cell| Cell { doubt, ..cell })
        } else {
            one.next()
        };
        let next = next.expect("it was looked at");
        match all.last_mut().filter(|last| last.last >= next.first) {
            Some(last) => last.take(&next),
            None => all.push(next),
        }
    }
}
