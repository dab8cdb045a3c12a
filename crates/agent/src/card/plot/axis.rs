//! From numbers to places.

use super::{Limit, Row, WIDTH};
use crate::page::number::rounded;

/// The ends of the axis, in the plot's units; marks reach a little further.
pub const LEFT: f64 = 8.0;
pub const RIGHT: f64 = WIDTH - 8.0;
/// About how many numbers stand at it.
const TICKS: f64 = 6.0;
/// More there cannot be, and a loop over them ends.
const MOST_TICKS: i32 = 20;
/// Numbers that differ by less than this share of themselves are one.
const ONE: f64 = 1e-9;
/// A limit that is further off than so many times what the rows span is only named.
const FAR: f64 = 3.0;

/// An axis that has a length.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Axis {
    low: f64,
    high: f64,
}

/// The axis for the rows that were judged, or for all where none was, and for limits that are not far off. None where
/// there is no number, and where they are too far from each other for a distance.
pub fn axis(rows: &[Row], limits: &[Limit]) -> Option<Axis> {
    let judged = rows.iter().filter(|row| row.is_judged).flat_map(numbers);
    let of_rows = range(judged).or_else(|| range(rows.iter().flat_map(numbers)))?;
    let about = of_rows.with_room();
    let far = FAR * (about.high - about.low);
    let limits = limits.iter().map(|limit| limit.at);
    let near = limits.filter(|at| (about.low - far..=about.high + far).contains(at));
    let axis = range(near.chain([of_rows.low, of_rows.high]))?.with_room();
    (axis.high - axis.low).is_normal().then_some(axis)
}

fn numbers(row: &Row) -> impl Iterator<Item = f64> + use<> {
    let interval = row.interval.into_iter().flatten();
    row.value.into_iter().chain(row.champion).chain(interval)
}

fn range(numbers: impl Iterator<Item = f64>) -> Option<Axis> {
    let finite = numbers.filter(|number| number.is_finite());
    finite.fold(None, |range: Option<Axis>, number| {
        let (low, high) = range.map_or((number, number), |range| (range.low, range.high));
        Some(Axis {
            low: low.min(number),
            high: high.max(number),
        })
    })
}

impl Axis {
    /// With some room at both ends; a single number has room about it, too.
    fn with_room(self) -> Self {
        let (span, size) = (self.high - self.low, self.low.abs().max(self.high.abs()));
        let room = match (span > ONE * size, size > 0.0) {
            (true, _) => 0.05 * span,
            (false, true) => 0.1 * size,
            (false, false) => 0.1,
        };
        Self {
            low: self.low - room,
            high: self.high + room,
        }
    }

    /// Where a number stands, at most at an end.
    pub fn place(&self, number: f64) -> f64 {
        let share = (number - self.low) / (self.high - self.low);
        LEFT + share.clamp(0.0, 1.0) * (RIGHT - LEFT)
    }

    /// Whether a number is on it.
    pub fn holds(&self, number: f64) -> bool {
        (self.low..=self.high).contains(&number)
    }

    /// The round numbers that stand at it.
    pub fn ticks(&self) -> Vec<(f64, String)> {
        let (times, power) = self.step();
        let step = times * 10_f64.powi(power);
        let first = (self.low / step).ceil();
        let ticks = (0..=MOST_TICKS).map(|at| (first + f64::from(at)) * step);
        ticks
            .take_while(|tick| *tick <= self.high)
            .map(|tick| (tick, rounded(tick, power)))
            .collect()
    }

    /// The distance of two: 1, 2 or 5 times a power of ten.
    #[allow(clippy::cast_possible_truncation)] // the power lies between -324 and 308
    fn step(&self) -> (f64, i32) {
        let rough = (self.high - self.low) / TICKS;
        let power = rough.log10().floor() as i32;
        let times = [1.0, 2.0, 5.0];
        let fits = |times: &f64| times * 10_f64.powi(power) >= rough;
        match times.into_iter().find(fits) {
            Some(times) => (times, power),
            None => (1.0, power + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Bound;
    use super::*;

    fn row(value: f64, interval: Option<[f64; 2]>, champion: Option<f64>) -> Row {
        Row {
            label: "all rows".to_owned(),
            rows: "5 rows".to_owned(),
            is_judged: true,
            value: Some(value),
            interval,
            champion,
            verdict: None,
        }
    }

    fn limit(at: f64) -> Limit {
        Limit {
            bound: Bound::Max,
            at,
            written: at.to_string(),
        }
    }

    /// The loop over them did not end where a step was too small to be seen beside the number.
    #[test]
    fn numbers_that_are_nearly_one_are_one_and_what_has_no_length_is_no_axis() {
        for row in [
            row(0.8, None, Some(0.800_000_000_000_000_2)),
            row(0.8312, None, Some(0.831_200_000_000_000_2)),
            row(
                0.999_999_999_999_999_8,
                Some([0.999_999_999_999_999_6, 1.0]),
                None,
            ),
            row(1e16, Some([1e16, 1e16 + 4.0]), None),
            row(0.0, None, None),
            row(1e308, None, None),
        ] {
            let axis = axis(std::slice::from_ref(&row), &[]).expect("an axis");
            let middle = axis.place(row.value.expect("a value"));
            assert!(
                (middle - f64::midpoint(LEFT, RIGHT)).abs() < 0.1,
                "{axis:?}"
            );
            let ticks = axis.ticks();
            assert!((2..=8).contains(&ticks.len()), "{ticks:?}");
        }
        for row in [
            row(1e308, Some([-1e308, 1e308]), None),
            row(f64::NAN, None, None),
            row(f64::MAX, None, None),
            row(5e-324, None, None),
        ] {
            assert_eq!(axis(&[row], &[]), None);
        }
    }

    #[test]
    fn a_limit_or_a_small_segment_that_is_far_off_does_not_stretch_it() {
        let mut rows = vec![row(12.3, Some([11.9, 12.8]), None)];
        let alone = axis(&rows, &[]).expect("an axis");
        assert_eq!(axis(&rows, &[limit(1000.0)]), Some(alone));
        assert!(!alone.holds(1000.0) && alone.place(1000.0) == RIGHT);
        assert!(axis(&rows, &[limit(14.0)]).expect("an axis").holds(14.0));
        rows.push(Row {
            is_judged: false,
            ..row(-80.0, Some([-200.0, 40.0]), None)
        });
        assert_eq!(axis(&rows, &[]), Some(alone));
        rows.remove(0);
        assert!(axis(&rows, &[]).expect("an axis").holds(-80.0));
    }

    #[test]
    fn ticks_are_round_numbers_within_it() {
        for (low, high, expected) in [
            (0.0, 1.0, vec!["0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
            (0.6425, 0.8075, vec!["0.65", "0.70", "0.75", "0.80"]),
            (-3.0, 17.0, vec!["0", "5", "10", "15"]),
            (
                145_000.0,
                310_000.0,
                vec![
                    "150\u{202f}000",
                    "200\u{202f}000",
                    "250\u{202f}000",
                    "300\u{202f}000",
                ],
            ),
            (3.1e-6, 4.9e-6, vec!["3.5e-6", "4.0e-6", "4.5e-6"]),
            (
                9e15,
                11e15,
                vec!["9.0e15", "9.5e15", "1.00e16", "1.05e16", "1.10e16"],
            ),
        ] {
            let ticks = Axis { low, high }.ticks();
            let words: Vec<String> = ticks.into_iter().map(|(_, words)| words).collect();
            assert_eq!(words, expected);
        }
    }
}
