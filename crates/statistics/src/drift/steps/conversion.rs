//! Whether a column has changed its unit: its values are what they were, times a scale and plus an offset, in some or in all
//! rows.
//!
//! A change of the world seldom looks like one: each of the known conversions is tried, and it is one only where it explains
//! nearly all of the difference.

use serde::{Deserialize, Serialize};

use super::{Step, Steps};
use crate::drift::quality::{Finding, Problem};
use crate::{Interval, normal};

/// Conversions that are tried, each also the other way round: name, the other way's name, scale and offset.
const KNOWN: [(&str, &str, f64, f64); 17] = [
    ("times 1,000", "a thousandth", 1000.0, 0.0),
    ("times a million", "a millionth", 1e6, 0.0),
    (
        "times 100 (a share to per cent)",
        "a hundredth (per cent to a share)",
        100.0,
        0.0,
    ),
    ("times 10", "a tenth", 10.0, 0.0),
    (
        "times 60 (minutes to seconds)",
        "a sixtieth (seconds to minutes)",
        60.0,
        0.0,
    ),
    (
        "times 3,600 (hours to seconds)",
        "a 3,600th (seconds to hours)",
        3600.0,
        0.0,
    ),
    (
        "times 24 (days to hours)",
        "a 24th (hours to days)",
        24.0,
        0.0,
    ),
    ("°C to °F", "°F to °C", 1.8, 32.0),
    ("°C to K", "K to °C", 1.0, 273.15),
    ("inches to centimetres", "centimetres to inches", 2.54, 0.0),
    ("metres to feet", "feet to metres", 1.0 / 0.3048, 0.0),
    ("miles to kilometres", "kilometres to miles", 1.609_344, 0.0),
    (
        "kilograms to pounds",
        "pounds to kilograms",
        1.0 / 0.453_592_37,
        0.0,
    ),
    ("gallons to litres", "litres to gallons", 3.785_411_784, 0.0),
    (
        "metres a second to kilometres an hour",
        "kilometres an hour to metres a second",
        3.6,
        0.0,
    ),
    (
        "radians to degrees",
        "degrees to radians",
        180.0 / std::f64::consts::PI,
        0.0,
    ),
    ("the sign turned", "the sign turned", -1.0, 0.0),
];

/// What part of the difference a conversion may leave unexplained.
const UNEXPLAINED: f64 = 0.25;
/// And what of cumulated shares, beside what chance makes: the world does not stand still while a unit changes.
const LEFT: f64 = 0.02;
/// Distances of two samples that chance passes in one of a hundred (Kolmogorov), and in one of ten thousand.
const SELDOM_BY_CHANCE: f64 = 1.63;
const HARDLY_BY_CHANCE: f64 = 2.23;
/// How far values of another unit have to lie from those of the old, in cumulated shares: else it is no matter.
const LEAST_APART: f64 = 0.3;
/// And how far for it to be plain: of values that lie in each other's midst, a wide and skewed column on a bad day looks like a
/// mixture with any of them.
const PLAINLY_APART: f64 = 0.7;
/// A factor that is not known is a unit only from here on (or from one over it).
const LEAST_FACTOR: f64 = 4.0;

/// In which rows the unit has changed.
#[derive(Clone, Copy)]
enum Converted {
    All,
    Some,
}

/// A conversion that is tried.
struct Candidate {
    name: String,
    scale: f64,
    offset: f64,
}

impl Candidate {
    fn both_ways((there, back, scale, offset): &(&str, &str, f64, f64)) -> [Self; 2] {
        [
            Self {
                name: (*there).to_owned(),
                scale: *scale,
                offset: *offset,
            },
            Self {
                name: (*back).to_owned(),
                scale: 1.0 / scale,
                offset: -offset / scale,
            },
        ]
    }
}

/// A change of unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Conversion {
    /// What it looks like.
    pub name: String,
    /// By what values are multiplied.
    pub scale: f64,
    /// What is added to them then.
    pub offset: f64,
    /// In what share of the rows, from 0 to 1.
    pub share: f64,
    /// The standard error of the share.
    pub standard_error: f64,
    /// The largest difference of cumulated shares that is left when the conversion is taken into account.
    pub left: f64,
    /// That without it.
    pub distance: f64,
    /// The p-value of that: how often chance makes as large a difference.
    pub p_value: f64,
    /// The largest difference of cumulated shares between values of the old unit and of the new one, from 0 to 1.
    pub apart: f64,
}

impl Conversion {
    /// Whether values of the new unit lie so far from those of the old that hardly anything else looks so.
    pub fn is_plain(&self) -> bool {
        self.apart >= PLAINLY_APART
    }

    /// The finding, where the share of rows passes `allowed` by its bound at the level.
    pub fn finding(&self, column: &str, allowed: f64, level: f64) -> Option<Finding> {
        let lower = self.share - normal::one_sided(1.0 - level) * self.standard_error;
        let interval = Interval::of_normal(self.share, self.standard_error, 1.0 - level);
        (lower > allowed && self.p_value <= level).then(|| Finding {
            column: Some(column.to_owned()),
            problem: Problem::UnitChanged {
                conversion: self.name.clone(),
                scale: self.scale,
                offset: self.offset,
            },
            value: self.share,
            interval: interval.clamped(0.0, 1.0),
            before: 0.0,
            p_value: self.p_value,
        })
    }
}

impl Steps {
    /// The conversion that explains how the window differs from the reference; absent where it does not differ for certain
    /// (its p-value is above 0.0001), or where none explains all but a quarter of it and all but what chance makes.
    ///
    /// The window's cumulated shares G are taken for (1 - w) F + w T, F those of the reference and T of what it would be
    /// after the conversion; w is by least squares over all steps. (A mixture with one unknown share: Titterington, Smith &
    /// Makov 1985, "Statistical analysis of finite mixture distributions", section 4.5.) Of several known ones, that is taken
    /// which leaves the least; one in all rows before a factor that is no known one, and that before one in some rows, which
    /// is one only where the new values lie plainly apart from the old ones. The
    /// share's standard error is the delta method's, of as many independent rows as [`Steps::thinned`] has it.
    pub fn conversion(&self) -> Option<Conversion> {
        if self.is_void() {
            return None;
        }
        let effect = self.kolmogorov_smirnov();
        let [m, n] = self.effective;
        let noise = 1.0 / (n * m / (n + m)).sqrt();
        if effect.raw() < HARDLY_BY_CHANCE * noise {
            return None;
        }
        let known: Vec<Candidate> = KNOWN.iter().flat_map(Candidate::both_ways).collect();
        let most = (UNEXPLAINED * effect.raw()).min(SELDOM_BY_CHANCE * noise + LEFT);
        let explained = |by: &Candidate, rows: Converted| {
            let found = self.explained_by(by.scale, by.offset, rows)?;
            let is_told = match rows {
                Converted::All => true,
                Converted::Some => found.apart >= PLAINLY_APART,
            };
            (is_told && found.left <= most).then(|| Conversion {
                name: by.name.clone(),
                scale: by.scale,
                offset: by.offset,
                share: found.share,
                standard_error: found.standard_error,
                left: found.left,
                distance: effect.raw(),
                p_value: effect.p_value(),
                apart: found.apart,
            })
        };
        let best = |rows| {
            let all = known.iter().filter_map(|by| explained(by, rows));
            all.min_by(|one, other| one.left.total_cmp(&other.left))
        };
        best(Converted::All)
            .or_else(|| explained(&self.factor()?, Converted::All))
            .or_else(|| best(Converted::Some))
    }

    /// A factor that is no known one: that of the medians, where it is large.
    fn factor(&self) -> Option<Candidate> {
        let [old, new] = [self.median(0), self.median(1)];
        let scale = new / old;
        let size = scale.abs();
        let is_large = size.is_finite() && (size >= LEAST_FACTOR || size <= 1.0 / LEAST_FACTOR);
        (is_large && size > 0.0).then(|| Candidate {
            name: format!("times {scale:.4}"),
            scale,
            offset: 0.0,
        })
    }

    fn median(&self, side: usize) -> f64 {
        let mut sum = 0.0;
        let half = self.ordered.iter().find(|step| {
            sum += step.rows[side];
            sum >= self.rows[side] / 2.0
        });
        half.map_or(f64::NAN, |step| step.at)
    }

    /// How well the window is explained by a share of converted values; absent where converted values are hardly any others.
    fn explained_by(&self, scale: f64, offset: f64, rows: Converted) -> Option<Explained> {
        let convert = |step: &Step| (step.at * scale + offset, step.rows[0] / self.rows[0]);
        let converted: Vec<(f64, f64)> = self.ordered.iter().map(convert).collect();
        let points = self.beside(&converted);
        // The sums of all steps but the last, where all are 1.
        let mut sums = [0.0; 3];
        let cumulated: Vec<[f64; 3]> = points
            .iter()
            .map(|rows| {
                for (sum, rows) in sums.iter_mut().zip(rows) {
                    *sum += rows;
                }
                sums
            })
            .collect();
        let (mut product, mut square, mut apart) = (0.0, 0.0, 0.0_f64);
        for [old, new, other] in &cumulated {
            let (moved, would_be) = (new - old, other - old);
            product += moved * would_be;
            square += would_be * would_be;
            apart = apart.max(would_be.abs());
        }
        if apart < LEAST_APART {
            return None;
        }
        let estimate = (product / square).clamp(0.0, 1.0);
        let share = match rows {
            Converted::All => 1.0,
            Converted::Some => estimate,
        };
        let left = cumulated.iter().map(|[old, new, other]| {
            let expected = (1.0 - share) * old + share * other;
            (new - expected).abs()
        });
        let left = left.fold(0.0, f64::max);
        // What a row at each point adds to the share: the sum of the weights from it on.
        let (mut above, mut moments) = (0.0, [(0.0, 0.0); 3]);
        for (rows, [old, _, other]) in points.iter().zip(&cumulated).rev() {
            above += (other - old) / square;
            for ((mean, of_square), rows) in moments.iter_mut().zip(rows) {
                *mean += rows * above;
                *of_square += rows * above * above;
            }
        }
        let [old, new, other] = moments.map(|(mean, square)| (square - mean * mean).max(0.0));
        let of_reference = (1.0 - share).powi(2) * old + share * share * other;
        let variance = new / self.effective[1] + of_reference / self.effective[0];
        Some(Explained {
            share: estimate,
            standard_error: variance.sqrt(),
            left,
            apart,
        })
    }

    /// At each point of either, the shares of rows of the reference, of the window, and of what is beside them. Numbers that
    /// are the same but for rounding are one point.
    fn beside(&self, converted: &[(f64, f64)]) -> Vec<[f64; 3]> {
        let mine = self.ordered.iter().map(|step| {
            let rows = [
                step.rows[0] / self.rows[0],
                step.rows[1] / self.rows[1],
                0.0,
            ];
            (step.at, rows)
        });
        let theirs = converted.iter().map(|(at, rows)| (*at, [0.0, 0.0, *rows]));
        let mut all: Vec<(f64, [f64; 3])> = mine.chain(theirs).collect();
        all.sort_by(|one, other| one.0.total_cmp(&other.0));
        let mut points: Vec<(f64, [f64; 3])> = Vec::with_capacity(all.len());
        for (at, rows) in all {
            match points.last_mut() {
                Some((last, sums)) if at - *last <= 1e-9 * at.abs().max(last.abs()) => {
                    for (sum, rows) in sums.iter_mut().zip(rows) {
                        *sum += rows;
                    }
                }
                _ => points.push((at, rows)),
            }
        }
        points.into_iter().map(|(_, rows)| rows).collect()
    }
}

struct Explained {
    share: f64,
    standard_error: f64,
    left: f64,
    apart: f64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn counted(values: impl IntoIterator<Item = f64>) -> Vec<(f64, u64)> {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        sorted.into_iter().map(|value| (value, 1)).collect()
    }

    fn steps(old: &[f64], new: impl IntoIterator<Item = f64>) -> Steps {
        Steps::new(counted(old.iter().copied()), counted(new))
    }

    /// Temperatures, degrees Celsius; to a tenth.
    fn temperatures(random: &mut Random, rows: usize) -> Vec<f64> {
        let of = |random: &mut Random| (120.0 + 80.0 * random.normal()).round() / 10.0;
        (0..rows).map(|_| of(random)).collect()
    }

    fn amounts(random: &mut Random, rows: usize) -> Vec<f64> {
        (0..rows)
            .map(|_| (3.0 + 0.8 * random.normal()).exp())
            .collect()
    }

    #[test]
    fn known_conversions_are_named_with_scale_and_offset() {
        let mut random = Random::new(41);
        let cold = temperatures(&mut random, 3000);
        let warm = temperatures(&mut random, 1000);
        let found = steps(&cold, warm.iter().map(|c| c * 1.8 + 32.0)).conversion();
        let found = found.expect("a change");
        assert_eq!(found.name, "°C to °F");
        assert!((found.scale - 1.8).abs() < 1e-12 && (found.offset - 32.0).abs() < 1e-12);
        assert!(found.share > 0.97 && found.left < 0.06, "{found:?}");
        assert!(found.is_plain(), "{found:?}");
        let back = steps(
            &cold.iter().map(|c| c * 1.8 + 32.0).collect::<Vec<_>>(),
            warm.clone(),
        );
        assert_eq!(back.conversion().expect("a change").name, "°F to °C");
        let old = amounts(&mut random, 3000);
        for (name, scale) in [
            ("times 1,000", 1000.0),
            ("a thousandth", 0.001),
            ("a hundredth (per cent to a share)", 0.01),
            ("inches to centimetres", 2.54),
            ("pounds to kilograms", 0.453_592_37),
            ("the sign turned", -1.0),
            ("times 3,600 (hours to seconds)", 3600.0),
        ] {
            let new = amounts(&mut random, 1000);
            let found = steps(&old, new.into_iter().map(|value| value * scale));
            let found = found.conversion().expect(name);
            assert_eq!(found.name, name, "{found:?}");
            let finding = found.finding("amount", 0.05, 0.001).expect(name);
            assert!(finding.problem.is_break() && finding.interval.upper > 0.99);
        }
    }

    #[test]
    fn a_factor_that_is_not_known_is_found_where_it_is_large() {
        let mut random = Random::new(42);
        let old = amounts(&mut random, 3000);
        let of = |scale: f64, random: &mut Random| {
            let new = amounts(random, 2000);
            steps(&old, new.into_iter().map(|value| value * scale)).conversion()
        };
        let found = of(4321.0, &mut random).expect("a factor");
        assert!((found.scale / 4321.0 - 1.0).abs() < 0.1, "{found:?}");
        assert_eq!(of(1.3, &mut random), None);
    }

    #[test]
    fn a_part_of_the_rows_in_another_unit_is_found_with_its_share() {
        let mut random = Random::new(43);
        let old = temperatures(&mut random, 20_000);
        let mut inside = 0;
        for _ in 0..100 {
            let new: Vec<f64> = temperatures(&mut random, 5000)
                .into_iter()
                .map(|c| {
                    let is_other = random.uniform() < 0.2;
                    if is_other { c * 1.8 + 32.0 } else { c }
                })
                .collect();
            let found = steps(&old, new).conversion().expect("a fifth");
            assert_eq!(found.name, "°C to °F", "{found:?}");
            let finding = found.finding("temp", 0.05, 0.01).expect("a fifth");
            inside += u32::from(finding.interval.lower < 0.2 && finding.interval.upper > 0.2);
        }
        assert!(inside >= 95, "{inside} of 100");
    }

    /// Delays of flights: most a little early, some hours late, and none of them in another unit on a bad day.
    #[test]
    fn a_skewed_column_on_a_bad_day_is_plainly_in_no_other_unit() {
        let mut random = Random::new(45);
        let delays = |random: &mut Random, rows: usize, scale: f64, shift: f64| -> Vec<f64> {
            let of =
                |random: &mut Random| (3.3 + 0.8 * random.normal()).exp() * scale - 35.0 + shift;
            (0..rows).map(|_| of(random).round()).collect()
        };
        let old = delays(&mut random, 50_000, 1.0, 0.0);
        let mut told = 0;
        for scale in [0.5, 0.7, 1.0, 1.4, 1.8, 2.5] {
            for shift in [-15.0, 0.0, 10.0, 25.0] {
                for _ in 0..3 {
                    let day = delays(&mut random, 900, scale, shift);
                    let found = steps(&old, day).conversion();
                    told += u32::from(found.is_some());
                    assert!(found.as_ref().is_none_or(|of| !of.is_plain()), "{found:?}");
                }
            }
        }
        println!("a unit that is not plain was told of in {told} of 72");
    }

    #[test]
    fn the_world_may_change_without_a_change_of_unit() {
        let mut random = Random::new(44);
        let cold = temperatures(&mut random, 5000);
        let mut warm = |change: fn(f64) -> f64| {
            let new = temperatures(&mut random, 2000).into_iter().map(change);
            steps(&cold, new).conversion()
        };
        assert_eq!(warm(|c| c), None, "no change");
        assert_eq!(warm(|c| c + 8.0), None, "a summer");
        assert_eq!(warm(|c| c + 15.0), None, "a hot summer");
        assert_eq!(warm(|c| 12.0 + (c - 12.0) * 2.0), None, "more spread");
        assert_eq!(warm(|_| 12.0), None, "a constant");
        assert_eq!(
            warm(|c| if c > 12.0 { 0.0 } else { c }),
            None,
            "zeros for the high ones"
        );
        assert_eq!(Steps::new([], [(1.0, 5)]).conversion(), None);
    }
}
