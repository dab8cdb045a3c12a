//! About which cell a number is in, without a search: a table over even steps of numbers, or of their bits.

use super::cells::Cells;

/// How many steps the table has.
const STEPS: usize = 8192;
/// What share of the cells may lie beyond the table on either side, of several that are tried.
const TRIMMED: [usize; 3] = [0, 128, 24];

/// Of a number that is in no cell.
const OUTSIDE: u16 = u16::MAX;

/// Where numbers are.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    /// The cell of each, or [`OUTSIDE`].
    of: Vec<u16>,
    /// Those that are in none.
    pub(super) outside: Vec<f64>,
}

impl Places {
    /// Numbers of these cells, which are ascending, each with its place among them; of so many cells in all.
    pub(super) fn within<'a>(
        &'a self,
        which: &[usize],
        cells: usize,
        numbers: &'a [f64],
    ) -> impl Iterator<Item = (usize, f64)> + 'a {
        let mut slots = vec![OUTSIDE; cells];
        for (slot, at) in (0..).zip(which) {
            slots[*at] = slot;
        }
        let slot = move |(number, place): (&f64, &u16)| {
            let slot = *slots.get(usize::from(*place))?;
            (slot != OUTSIDE).then_some((usize::from(slot), *number))
        };
        numbers.iter().zip(&self.of).filter_map(slot)
    }
}

/// The table.
///
/// Bits of numbers grow with them: even steps of these are about even steps of their logarithm, which suits numbers of many
/// sizes. Of several tables that one is taken in which fewest cells share a step with a number's own.
#[derive(Clone, Debug, Default)]
pub(super) struct Guide {
    by: By,
    low: f64,
    scale: f64,
    /// Of each step, the last cell that begins at or before its start.
    steps: Vec<u16>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum By {
    #[default]
    Number,
    Bits,
}

impl By {
    #[allow(clippy::cast_precision_loss)] // the steps are coarser
    fn place(self, number: f64) -> f64 {
        match self {
            Self::Number => number,
            Self::Bits => ordered(number) as f64,
        }
    }
}

/// A whole number that grows as the number does.
pub(super) fn ordered(number: f64) -> i64 {
    flipped(number.to_bits().cast_signed())
}

/// The number that it is of.
pub(super) fn number(ordered: i64) -> f64 {
    f64::from_bits(flipped(ordered).cast_unsigned())
}

/// Of what is negative, all bits but the sign the other way round.
fn flipped(bits: i64) -> i64 {
    bits ^ ((bits >> 63).cast_unsigned() >> 1).cast_signed()
}

impl Guide {
    /// For these cells.
    pub(super) fn new(cells: &Cells) -> Self {
        let mut best: Option<(u64, Self)> = None;
        for by in [By::Number, By::Bits] {
            for trimmed in TRIMMED {
                let Some(guide) = Self::over(cells.firsts(), by, trimmed) else {
                    continue;
                };
                let cost = guide.cost(cells);
                if best.as_ref().is_none_or(|(least, _)| cost < *least) {
                    best = Some((cost, guide));
                }
            }
        }
        let mut guide = best.map_or_else(Self::default, |(_, guide)| guide);
        guide.fill(cells.firsts());
        guide
    }

    fn over(firsts: &[f64], by: By, trimmed: usize) -> Option<Self> {
        let cut = firsts.len().checked_div(trimmed).unwrap_or(0);
        let low = by.place(*firsts.get(cut)?);
        let high = by.place(*firsts.get(firsts.len() - 1 - cut)?);
        #[allow(clippy::cast_precision_loss)] // a constant
        let scale = STEPS as f64 / (high - low);
        (scale.is_finite() && scale > 0.0).then(|| Self {
            by,
            low,
            scale,
            steps: Vec::new(),
        })
    }

    /// How many cells are passed on the way to numbers, about: half of those that begin in the step of their own.
    fn cost(&self, cells: &Cells) -> u64 {
        let (mut cost, mut step, mut begun) = (0, None, 0);
        for (first, rows) in cells.firsts().iter().zip(cells.rows()) {
            let its = Some(self.step(*first));
            begun = if its == step { begun + 1 } else { 0 };
            step = its;
            cost += rows * begun;
        }
        cost
    }

    /// A step begins with the last cell of the steps before it: by the very arithmetic that numbers are looked up with.
    fn fill(&mut self, firsts: &[f64]) {
        if self.scale <= 0.0 {
            return;
        }
        let mut begins = vec![0_u16; STEPS + 2];
        for (at, first) in (0..).zip(firsts) {
            begins[self.step(*first) + 1] = at;
        }
        let mut last = 0;
        let latest = |begin: &u16| {
            last = last.max(*begin);
            last
        };
        self.steps = begins[..=STEPS].iter().map(latest).collect();
    }

    fn step(&self, number: f64) -> usize {
        step((self.by.place(number) - self.low) * self.scale)
    }

    /// Counts numbers and sums them up by cell, and says where each is; those that are in no cell are put aside.
    pub(super) fn count(
        &self,
        cells: &Cells,
        numbers: &[f64],
        counts: &mut [u32],
        sums: &mut [f64],
        places: &mut Places,
    ) {
        let (low, scale) = (self.low, self.scale);
        let by = self.by;
        let mut to = Counted {
            cells,
            steps: &self.steps,
            counts,
            sums,
            places,
        };
        // The loop is made for each of the two by itself.
        match by {
            _ if self.steps.is_empty() => to.all(numbers, |_| 0.0),
            By::Number => to.all(numbers, |number| (number - low) * scale),
            By::Bits => to.all(numbers, |number| (By::Bits.place(number) - low) * scale),
        }
    }
}

/// The nearest step. A number of which 2⁵² is added has the whole part in its last bits: that is quicker than a conversion.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)] // a few bits; a constant
fn step(place: f64) -> usize {
    const WHOLE: f64 = 4_503_599_627_370_496.0;
    let within = place.max(0.0).min(STEPS as f64);
    (within + WHOLE).to_bits() as usize & (2 * STEPS - 1)
}

struct Counted<'a> {
    cells: &'a Cells,
    steps: &'a [u16],
    counts: &'a mut [u32],
    sums: &'a mut [f64],
    places: &'a mut Places,
}

impl Counted<'_> {
    fn all(&mut self, numbers: &[f64], place: impl Fn(f64) -> f64) {
        let (firsts, lasts) = (self.cells.firsts_and_end(), self.cells.lasts());
        let cells = lasts.len();
        let (firsts, nexts) = (&firsts[..cells], &firsts[1..]);
        let (counts, sums) = (&mut self.counts[..cells], &mut self.sums[..cells]);
        let Places { of, outside } = &mut *self.places;
        of.clear();
        of.resize(numbers.len(), OUTSIDE);
        for (number, its) in numbers.iter().zip(of) {
            // The two zeros are the same.
            let number = number + 0.0;
            let from = self.steps.get(step(place(number)));
            let mut at = from.map_or(0, |at| usize::from(*at));
            while nexts[at] <= number {
                at += 1;
            }
            if firsts[at] <= number && number <= lasts[at] {
                counts[at] += 1;
                sums[at] += number;
                #[allow(clippy::cast_possible_truncation)] // there are at most 32,768
                let place = at as u16;
                *its = place;
            } else {
                outside.push(number);
            }
        }
    }
}
