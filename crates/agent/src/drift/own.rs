//! Windows of the reference itself, as long as the one that is judged: how far these lie from each other is no drift.
//!
//! Rows of one day are like each other in what no unit tells. By rows, each day would then be another; by the days of the
//! reference, one is only where it is further from them than they are from each other
//! ([`windlass_statistics::drift::spread`]).

use std::collections::BTreeSet;

use windlass_statistics::drift::column::Measured;
use windlass_statistics::drift::method::Method;
use windlass_statistics::drift::spread::{MIN_WINDOWS, Spread};

use super::compare::measured;
use super::parts::Parted;
use super::seasons::{Season, Span, alike};
use super::sides::Side;

/// Windows of a reference.
pub struct OwnWindows<'a> {
    whole: &'a Side,
    windows: Vec<Window>,
}

/// Parts of the time, by their places among all: of the window, and of what it is held against.
struct Window {
    own: Vec<usize>,
    rest: Vec<usize>,
}

/// How far windows of a reference lie from the rest of it, of one column.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spreads {
    effect: Spread,
    /// Of what is asked beside.
    shift: Spread,
}

impl<'a> OwnWindows<'a> {
    /// Of a reference, as long as the window that is judged and beginning at the same time of the day, each held against others
    /// of its season where the window is. Absent where there are too few of so many rows as a window needs, or where the
    /// reference is not known in parts that are so short.
    pub fn of(
        whole: &'a Side,
        season: Option<&Season>,
        span: Option<Span>,
        least_rows: u64,
    ) -> Option<Self> {
        let (times, span) = (whole.times.as_ref()?, span?);
        let seconds = times.stretch_hours.checked_mul(3600)?;
        let each = (span.length + seconds / 2) / seconds;
        let (first, last) = (times.stretches.first()?.0, times.stretches.last()?.0);
        if each < 1 {
            return None;
        }
        let season = season.filter(|season| season.is_own());
        let keys = alike(times, season.map(|season| season.cycle));
        let before = times.hours.len() + times.months.len();
        let number = |place: i64| (place - span.start.div_euclid(seconds)).div_euclid(each);
        let start = |number: i64| span.start.div_euclid(seconds) + number * each;
        let mut windows = Vec::new();
        let numbers: BTreeSet<i64> = keys.keys().map(|place| number(*place)).collect();
        for at in numbers {
            let (from, to) = (start(at), start(at) + each);
            // At either end, what is only partly there is no window.
            if from < first || to > last + 1 {
                continue;
            }
            let stretches = || times.stretches.iter().enumerate();
            let is_own = |place: i64| (from..to).contains(&place);
            let own = stretches().filter(|(_, part)| is_own(part.0));
            let rows: u64 = own.clone().map(|(_, part)| part.1).sum();
            let seasons: BTreeSet<i64> = own.clone().map(|(_, part)| keys[&part.0]).collect();
            let rest =
                stretches().filter(|(_, part)| !is_own(part.0) && seasons.contains(&keys[&part.0]));
            let of_rest: u64 = rest.clone().map(|(_, part)| part.1).sum();
            if rows >= least_rows && of_rest >= least_rows {
                let place = |(at, _)| before + at;
                windows.push(Window {
                    own: own.map(place).collect(),
                    rest: rest.map(place).collect(),
                });
            }
        }
        (windows.len() as u64 >= MIN_WINDOWS).then_some(Self { whole, windows })
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.windows.len() as u64
    }

    /// How far they lie from the rest in a column, by a distance; nothing where it is not counted by time.
    pub fn spreads(&self, column: &str, method: Method) -> Spreads {
        let mut spreads = Spreads::default();
        let column = self.whole.column(column);
        let Some(parted) = column.and_then(Parted::of) else {
            return spreads;
        };
        for Window { own, rest } in &self.windows {
            let (own, rest) = (parted.only(own), parted.only(rest));
            if let Some(found) = measured(&rest, &own, method) {
                spreads.effect.add(&found.effect);
                if let Some(shift) = &found.shift {
                    spreads.shift.add(shift);
                }
            }
        }
        spreads
    }
}

impl Spreads {
    /// What was measured of a window, where the reference's own windows lie as far from each other as they do.
    #[must_use]
    pub fn widened(&self, measured: Measured) -> Measured {
        Measured {
            effect: self.effect.widened(measured.effect),
            shift: measured.shift.map(|shift| self.shift.widened(shift)),
            ..measured
        }
    }
}

#[cfg(test)]
mod tests;
