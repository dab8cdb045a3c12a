//! A null taken from the reference itself: how far its own windows lie from it.
//!
//! Where rows depend on each other in time (a day is like itself, and not quite like the next), no sum over units tells by
//! how much. The reference's windows do: of the same length as those that are judged, each against the rest.

use serde::{Deserialize, Serialize};
use statrs::function::beta::beta_reg;

use super::Effect;
use crate::float;
use crate::mean::Mean;

/// The least windows of a reference that a spread is taken from.
pub const MIN_WINDOWS: u64 = 8;

/// Distances of a reference's own windows from the rest of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spread {
    /// Of distances as they were measured, on the scale that chance adds on.
    distances: Mean,
    /// Of their cube roots.
    roots: Mean,
}

impl Spread {
    /// Takes the distance of one more window from the rest of the reference.
    pub fn add(&mut self, window: &Effect) {
        self.distances.add(window.measured);
        self.roots.add(root(window));
    }

    /// How many windows it has.
    pub fn windows(&self) -> u64 {
        self.distances.count
    }

    /// A window's effect with this null, where it is the wider one: what is taken off is the mean distance of the
    /// reference's windows, or what is taken off for chance if that is more; the standard error is at least their standard
    /// deviation; and the p-value is the larger of both. As it was, with fewer than [`MIN_WINDOWS`] windows.
    ///
    /// The p-value is that of one more window of the same law, by Student's t with K - 1 degrees at (x - mean) /
    /// (s √(1 + 1/K)) (Geisser 1993, "Predictive inference"), of the cube root of a distance that is about a sum of squares,
    /// which is close to normal (Wilson & Hilferty 1931). Assumes that windows of the reference are independent of each
    /// other, and that there was no drift among them.
    #[must_use]
    pub fn widened(&self, effect: Effect) -> Effect {
        let (Some(mean), Some(of_roots), true) = (
            self.distances.value(),
            self.roots.value(),
            self.windows() >= MIN_WINDOWS,
        ) else {
            return effect;
        };
        let windows = float(self.windows());
        let scale = self.roots.standard_deviation() * (1.0 + 1.0 / windows).sqrt();
        let above = root(&effect) - of_roots;
        let p_value = match (scale > 0.0, above > 0.0) {
            (true, _) => student_tail(above / scale, windows - 1.0),
            (false, true) => 0.0,
            (false, false) => 1.0,
        };
        let deviation = self.distances.standard_deviation();
        Effect {
            excess: effect.excess.max(mean),
            standard_error: effect.standard_error.max(deviation),
            error_without_drift: effect.error_without_drift.max(deviation),
            p_value: effect.p_value.max(p_value),
            ..effect
        }
    }
}

/// What of a distance is about normal: PSI and the squares of distances that are roots are about sums of squares. Distances
/// that are sums of sizes are closer to normal by themselves, and no further from it so.
fn root(effect: &Effect) -> f64 {
    effect.measured.max(0.0).cbrt()
}

/// How often a variable of Student's law is larger than t.
fn student_tail(t: f64, degrees: f64) -> f64 {
    let both = beta_reg(degrees / 2.0, 0.5, degrees / (degrees + t * t));
    if t > 0.0 {
        both / 2.0
    } else {
        1.0 - both / 2.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drift::table::{Distance, Table};
    use crate::random::Random;

    /// scipy 1.17: `t.sf`.
    #[test]
    fn tails_of_student_are_those_of_scipy() {
        for (t, degrees, expected) in [
            (2.0, 9.0, 0.038_276_411_885_350_504),
            (-1.0, 4.0, 0.813_049_516_849_970_5),
            (0.0, 7.0, 0.5),
            (6.0, 29.0, 7.963_954_213_087_344e-7),
        ] {
            let found = student_tail(t, degrees);
            assert!(
                (found / expected - 1.0).abs() < 1e-9,
                "{t} {degrees} {found}"
            );
        }
    }

    /// Days whose shares are drawn anew each day, about those of the reference.
    fn day(random: &mut Random, rows: u32, unrest: f64) -> Vec<u64> {
        let weights: Vec<f64> = (0..10).map(|_| (unrest * random.normal()).exp()).collect();
        crate::drift::tests_of_laws::draw(random, &weights, rows)
    }

    fn against_the_rest(days: &[Vec<u64>], at: usize) -> Effect {
        let mut rest = vec![0; 10];
        for (_, day) in days.iter().enumerate().filter(|(day, _)| *day != at) {
            rest.iter_mut()
                .zip(day)
                .for_each(|(all, rows)| *all += rows);
        }
        Table::new(&rest, &days[at]).effect(Distance::Psi)
    }

    /// Days that differ by more than their rows: PSI 0.09 on average. By rows every day alarms; by days, one of twenty.
    #[test]
    fn days_that_differ_as_days_do_are_no_evidence() {
        let mut random = Random::new(71);
        let (mut by_rows, mut by_days, mut far, runs) = (0, 0, 0, 400);
        for _ in 0..runs {
            let days: Vec<_> = (0..31).map(|_| day(&mut random, 5000, 0.3)).collect();
            let mut spread = Spread::default();
            (0..30).for_each(|at| spread.add(&against_the_rest(&days[..30], at)));
            let effect = against_the_rest(&days, 30);
            let widened = spread.widened(effect);
            by_rows += u32::from(effect.p_value() <= 0.05);
            by_days += u32::from(widened.p_value() <= 0.05);
            far += u32::from(widened.lower(0.95) > 0.05);
        }
        println!("{by_rows}, {by_days}, {far} of {runs}");
        assert!(by_rows > runs * 9 / 10, "{by_rows} of {runs}");
        assert!((8..=36).contains(&by_days), "{by_days} of {runs}");
        assert!(far <= 20, "{far} of {runs}");
    }

    #[test]
    fn a_day_unlike_all_others_is() {
        let mut random = Random::new(72);
        let mut days: Vec<_> = (0..30).map(|_| day(&mut random, 5000, 0.1)).collect();
        let mut spread = Spread::default();
        (0..30).for_each(|at| spread.add(&against_the_rest(&days, at)));
        days.push(vec![1500, 100, 800, 200, 500, 500, 500, 400, 200, 300]);
        let widened = spread.widened(against_the_rest(&days, 30));
        assert!(
            widened.p_value() < 1e-6 && widened.lower(0.95) > 0.2,
            "{widened:?}"
        );
    }

    #[test]
    fn a_spread_of_few_windows_changes_nothing_and_none_makes_more_sure() {
        let quiet = Table::new(&[1000, 1000], &[100, 102]).effect(Distance::Psi);
        let moved = Table::new(&[1000, 1000], &[300, 100]).effect(Distance::Psi);
        let mut spread = Spread::default();
        for _ in 0..7 {
            spread.add(&quiet);
        }
        assert_eq!(spread.widened(moved), moved);
        (0..30).for_each(|_| spread.add(&quiet));
        assert_eq!(spread.windows(), 37);
        let widened = spread.widened(moved);
        assert!(widened.excess() >= moved.excess());
        assert!(widened.standard_error() >= moved.standard_error());
        assert!(widened.p_value() >= moved.p_value());
    }
}
