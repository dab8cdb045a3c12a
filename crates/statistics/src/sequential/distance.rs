//! How far apart two distributions are, however often they are looked at.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Interval, float};

/// Values of each side before the first look.
const FIRST: u64 = 64;
/// By how much both sides have to have grown until the next.
const GROWTH: f64 = 1.5;

/// The largest difference between two cumulated distributions (Kolmogorov and Smirnov's distance), of values that were
/// counted in ordered bins, and an interval for it that holds at all looks at once.
///
/// A look is worth its share of the chance of being wrong: the k-th of them 6/(π k)². It is taken when both sides have grown
/// by half since the one before, so that there are few. The interval is that of Dvoretzky, Kiefer and Wolfowitz with the
/// constant of Massart (1990), "The tight constant in the Dvoretzky–Kiefer–Wolfowitz inequality", for each side half of the
/// chance; it is the part that all looks so far have in common. Assumes independent values of one distribution on each side,
/// and that how many there are does not depend on which they are. Counting in bins can make the distance smaller, never larger.
#[derive(Clone, Debug, PartialEq)]
pub struct Distance {
    sides: [BTreeMap<i32, u64>; 2],
    levels: [f64; 2],
    looks: u32,
    next: u64,
    value: f64,
    lower: f64,
    upper: f64,
}

impl Distance {
    /// Nothing seen yet. The chance that the lower end ever lies above the distance, and that the upper one ever lies below.
    pub const fn new(level_of_lower: f64, level_of_upper: f64) -> Self {
        Self {
            sides: [BTreeMap::new(), BTreeMap::new()],
            levels: [level_of_lower, level_of_upper],
            looks: 0,
            next: FIRST,
            value: 0.0,
            lower: 0.0,
            upper: 1.0,
        }
    }

    /// Goes on after so many looks, with the interval that they had in common, and without what they counted: a look is of
    /// what comes from now on, and worth what is left to it. `looks` may be more than there were, and not fewer.
    #[must_use]
    pub fn resumed(self, looks: u32, interval: Interval) -> Self {
        Self {
            looks,
            lower: interval.lower,
            upper: interval.upper,
            ..self
        }
    }

    /// The chance that the lower end ever lies above the distance, and that the upper one ever lies below.
    pub const fn levels(&self) -> [f64; 2] {
        self.levels
    }

    /// How often it was looked at.
    pub const fn looks(&self) -> u32 {
        self.looks
    }

    /// Takes what was counted of both sides since the last look, by bin.
    pub fn take(&mut self, counted: [&BTreeMap<i32, u64>; 2]) {
        for (side, counted) in self.sides.iter_mut().zip(counted) {
            for (bin, count) in counted {
                *side.entry(*bin).or_default() += count;
            }
        }
        let [a, b] = self.counts();
        if a.min(b) < self.next {
            return;
        }
        self.looks += 1;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // counts are far below
        let next = (float(a.min(b)) * GROWTH) as u64;
        self.next = next;
        self.value = farthest(&self.sides, [a, b]);
        let share = 6.0 / (std::f64::consts::PI * f64::from(self.looks)).powi(2);
        let within = |level: f64| -> f64 {
            let of = |count: u64| ((4.0 / (level * share)).ln() / (2.0 * float(count))).sqrt();
            of(a) + of(b)
        };
        self.lower = self.lower.max(self.value - within(self.levels[0]));
        self.upper = self.upper.min(self.value + within(self.levels[1]));
    }

    /// How many values each side has had.
    pub fn counts(&self) -> [u64; 2] {
        [0, 1].map(|side: usize| self.sides[side].values().sum())
    }

    /// The distance at the last look.
    pub const fn value(&self) -> f64 {
        self.value
    }

    /// Where the distance lies; [0, 1] before the first look.
    pub const fn interval(&self) -> Interval {
        Interval {
            lower: self.lower,
            upper: self.upper,
        }
    }
}

fn farthest(sides: &[BTreeMap<i32, u64>; 2], counts: [u64; 2]) -> f64 {
    let bins: BTreeSet<i32> = sides.iter().flat_map(|side| side.keys().copied()).collect();
    let mut cumulated = [0_u64; 2];
    bins.into_iter().fold(0.0_f64, |most, bin| {
        for (cumulated, side) in cumulated.iter_mut().zip(sides) {
            *cumulated += side.get(&bin).copied().unwrap_or(0);
        }
        let [a, b] = [0, 1].map(|side: usize| float(cumulated[side]) / float(counts[side]));
        most.max((a - b).abs())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn the_distance_is_the_largest_difference_of_the_cumulated_shares() {
        let mut distance = Distance::new(0.01, 0.05);
        let a = [(1, 60), (2, 40)].into();
        let b = [(1, 20), (2, 30), (7, 50)].into();
        distance.take([&a, &b]);
        assert!((distance.value() - 0.5).abs() < 1e-12);
        let radius = |level: f64| {
            2.0 * ((4.0 / (level * 6.0 / std::f64::consts::PI.powi(2))).ln() / 200.0_f64).sqrt()
        };
        let interval = distance.interval();
        assert!((interval.lower - (0.5 - radius(0.01))).abs() < 1e-12);
        assert!((interval.upper - (0.5 + radius(0.05)).min(1.0)).abs() < 1e-12);
    }

    #[test]
    fn what_was_written_down_goes_on_with_what_is_left_of_the_chance_to_be_wrong() {
        let of = |a: u64, b: u64| BTreeMap::from([(1, a), (2, b)]);
        let mut before = Distance::new(0.01, 0.05);
        before.take([&of(4000, 6000), &of(4000, 6000)]);
        let mut resumed = Distance::new(0.01, 0.05).resumed(before.looks(), before.interval());
        assert_eq!(resumed.interval(), before.interval());
        let mut fresh = Distance::new(0.01, 0.05);
        for one in [&mut resumed, &mut fresh] {
            one.take([&of(50, 50), &of(50, 50)]);
        }
        assert_eq!((resumed.looks(), fresh.looks()), (2, 1));
        // The second look is worth a quarter of the first; what was known before is known.
        assert_eq!(resumed.interval(), before.interval());
        assert!(fresh.interval().upper > before.interval().upper);
    }

    #[test]
    fn the_interval_holds_at_all_looks_at_once_and_gets_narrow() {
        let mut random = Random::new(3);
        let mut wrong = 0;
        let mut widest = 0.0_f64;
        for _ in 0..300 {
            let mut distance = Distance::new(0.05, 0.05);
            let mut ever = false;
            for _ in 0..200 {
                let mut draw = |shift: f64| -> BTreeMap<i32, u64> {
                    let mut counts = BTreeMap::new();
                    for _ in 0..50 {
                        let bin = if random.uniform() < 0.3 + shift { 1 } else { 2 };
                        *counts.entry(bin).or_default() += 1;
                    }
                    counts
                };
                let (a, b) = (draw(0.1), draw(0.0));
                distance.take([&a, &b]);
                let Interval { lower, upper } = distance.interval();
                ever |= !(lower..=upper).contains(&0.1);
            }
            wrong += u32::from(ever);
            let Interval { lower, upper } = distance.interval();
            widest = widest.max(upper - lower);
        }
        assert!(wrong <= 30, "{wrong} of 300");
        assert!(widest < 0.12, "{widest}");
    }
}
