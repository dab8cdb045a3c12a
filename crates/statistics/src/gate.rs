//! Whether evidence is enough: bounds of intervals against limits, candidate against champion, and what is lacking.
//!
//! Of limits on many metrics and segments: *Pass*, each bound holds by itself; *Fail*, one is broken, at Holm's correction
//! over all of them. Ten thousand segments of a good model break a few limits by chance.
//!
//! Against the champion there are two one-sided tests of each metric on each segment. *Fail*: the candidate is worse by
//! more than the margin, at Holm's correction over all of them, so that the chance of any wrong failure is at most
//! 1 - confidence. *Pass*: each shows non-inferiority at that level by itself. No correction is due there: passing needs
//! all of them (an intersection-union test, Berger 1982), so the chance of passing a model that is worse by the margin
//! anywhere is at most 1 - confidence already.

use crate::influence::Estimate;
use crate::paired::{Advantage, holm};
use crate::{float, normal};

/// A decision, from the best to the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Decision {
    /// It is shown to be good enough.
    Pass,
    /// Neither is shown.
    Inconclusive,
    /// It is shown not to be.
    Fail,
}

/// What a metric has to reach.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// At least this.
    pub min: Option<f64>,
    /// At most this.
    pub max: Option<f64>,
}

impl Limits {
    /// Whether the bounds of the interval hold; absent where nothing is asked.
    pub fn judge(self, estimate: Option<&Estimate>) -> Option<Decision> {
        let interval = estimate.and_then(|estimate| estimate.interval);
        let of = |limit: Option<f64>, decide: &dyn Fn(f64, f64, f64) -> Decision| {
            let limit = limit?;
            Some(interval.map_or(Decision::Inconclusive, |interval| {
                decide(limit, interval.lower, interval.upper)
            }))
        };
        let decide = |is_broken: bool, is_held: bool| match (is_broken, is_held) {
            (true, _) => Decision::Fail,
            (false, true) => Decision::Pass,
            (false, false) => Decision::Inconclusive,
        };
        let min = of(self.min, &|min, lower, upper| {
            decide(upper < min, lower >= min)
        });
        let max = of(self.max, &|max, lower, upper| {
            decide(lower > max, upper <= max)
        });
        min.max(max)
    }

    /// About how many rows it takes until an estimate that stays as it is on `rows` rows is decided; absent where it is
    /// already, where there is no interval, or where it lies on a limit.
    ///
    /// An interval's width falls with the root of the rows.
    pub fn rows_needed(self, estimate: &Estimate, rows: u64) -> Option<u64> {
        let interval = estimate.interval?;
        let value = estimate.value;
        let of = |limit: Option<f64>| {
            let limit = limit?;
            let undecided = interval.lower < limit && limit < interval.upper;
            let reach = if value > limit {
                value - interval.lower
            } else {
                interval.upper - value
            };
            undecided
                .then(|| scaled(rows, reach / (value - limit)))
                .flatten()
        };
        of(self.min).max(of(self.max))
    }
}

/// What is asked of one metric on some rows, and what is known of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Asked {
    /// What its interval has to reach.
    pub limits: Limits,
    /// Its value, with the interval at the confidence that is judged at; absent where it has none.
    pub estimate: Option<Estimate>,
    /// The comparison with the champion.
    pub against: Against,
}

/// A comparison with a champion.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Against {
    /// None is asked for.
    #[default]
    Nothing,
    /// It is asked for, and not defined on these rows.
    Undefined,
    /// It was made.
    Advantage(Advantage),
}

impl Against {
    /// What was found, where it was made.
    pub fn advantage(self) -> Option<Advantage> {
        match self {
            Self::Advantage(advantage) => Some(advantage),
            Self::Nothing | Self::Undefined => None,
        }
    }
}

impl From<Option<Advantage>> for Against {
    fn from(made: Option<Advantage>) -> Self {
        made.map_or(Self::Undefined, Self::Advantage)
    }
}

/// What was decided of it: against its limits, and against the champion; absent where that is not asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decided {
    /// Against its limits.
    pub limits: Option<Decision>,
    /// Against the champion.
    pub against: Option<Decision>,
}

impl Decided {
    /// The worse of the two.
    pub fn decision(self) -> Option<Decision> {
        self.limits.max(self.against)
    }
}

/// The decisions on all that is asked, in its order: limits by [`judge_all`], comparisons by [`non_inferior`].
///
/// `again(at, confidence)` is the estimate of one of them at a higher confidence.
pub fn decide(
    asked: &[Asked],
    margin: f64,
    confidence: f64,
    again: impl FnMut(usize, f64) -> Option<Estimate>,
) -> Vec<Decided> {
    let limits: Vec<Limits> = asked.iter().map(|one| one.limits).collect();
    let estimates: Vec<Option<Estimate>> = asked.iter().map(|one| one.estimate).collect();
    let is_compared = |one: &&Asked| one.against != Against::Nothing;
    let against = asked.iter().filter(is_compared);
    let against: Vec<Option<Advantage>> = against.map(|one| one.against.advantage()).collect();
    let limits = judge_all(&limits, &estimates, confidence, again);
    let mut against = non_inferior(&against, margin, confidence).into_iter();
    let both = asked.iter().zip(limits).map(|(asked, limits)| Decided {
        limits,
        against: is_compared(&asked).then(|| against.next()).flatten(),
    });
    both.collect()
}

/// The decision on the whole: that of the worst, and no *Pass* where there are too few rows.
pub fn overall(
    decisions: impl IntoIterator<Item = Option<Decision>>,
    are_enough: bool,
) -> Decision {
    let least = if are_enough {
        Decision::Pass
    } else {
        Decision::Inconclusive
    };
    decisions.into_iter().flatten().fold(least, Decision::max)
}

/// The decisions on several estimates against their limits, in their order; absent where nothing is asked.
///
/// `estimates` are those at `confidence`; `again(at, confidence)` is one of them at a higher confidence, asked for only
/// where a limit looks broken.
///
/// Source: Holm (1979), by intervals in place of p-values: with k limits not yet found broken, a limit is broken that lies
/// outside its interval at 1 - (1 - confidence)/k. So the chance that any limit is called broken that is not is at most
/// 1 - confidence.
pub fn judge_all(
    limits: &[Limits],
    estimates: &[Option<Estimate>],
    confidence: f64,
    mut again: impl FnMut(usize, f64) -> Option<Estimate>,
) -> Vec<Option<Decision>> {
    let judge = |(limits, estimate): (&Limits, &Option<Estimate>)| limits.judge(estimate.as_ref());
    let mut decisions: Vec<Option<Decision>> = limits.iter().zip(estimates).map(judge).collect();
    let mut left = decisions.iter().flatten().count();
    let mut suspects: Vec<usize> = (0..decisions.len())
        .filter(|at| decisions[*at] == Some(Decision::Fail))
        .collect();
    while !suspects.is_empty() {
        let corrected = 1.0 - (1.0 - confidence) / float(left);
        let (broken, rest): (Vec<usize>, Vec<usize>) = suspects.into_iter().partition(|at| {
            left == 1 || limits[*at].judge(again(*at, corrected).as_ref()) == Some(Decision::Fail)
        });
        if broken.is_empty() {
            for at in &rest {
                decisions[*at] = Some(Decision::Inconclusive);
            }
            break;
        }
        left -= broken.len();
        suspects = rest;
    }
    decisions
}

/// The decisions on comparisons with a champion, in their order; one that could not be made is inconclusive.
pub fn non_inferior(
    advantages: &[Option<Advantage>],
    margin: f64,
    confidence: f64,
) -> Vec<Decision> {
    let alpha = 1.0 - confidence;
    let p_values: Vec<f64> = advantages
        .iter()
        .map(|advantage| advantage.map_or(1.0, |advantage| advantage.p_within(margin)))
        .collect();
    let decide = |(advantage, adjusted): (&Option<Advantage>, f64)| match advantage {
        Some(_) if adjusted <= alpha => Decision::Fail,
        Some(advantage) if advantage.p_inferior(margin) <= alpha => Decision::Pass,
        Some(_) | None => Decision::Inconclusive,
    };
    advantages.iter().zip(holm(&p_values)).map(decide).collect()
}

/// About how many rows it takes until an advantage that stays as it is on `rows` rows shows non-inferiority, or its
/// contrary; absent where it lies on the margin.
pub fn rows_to_compare(
    advantage: &Advantage,
    margin: f64,
    confidence: f64,
    rows: u64,
) -> Option<u64> {
    let distance = advantage.centre + margin;
    let error = advantage.errors[usize::from(distance < 0.0)];
    scaled(rows, normal::one_sided(confidence) * error / distance)
}

/// Rows by which a width shrinks by a factor.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // checked
fn scaled(rows: u64, factor: f64) -> Option<u64> {
    let wanted = (float(rows) * factor * factor).ceil();
    (wanted.is_finite() && wanted < 1e15).then_some(wanted as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Interval;

    fn estimate(value: f64, lower: f64, upper: f64) -> Estimate {
        Estimate {
            value,
            interval: Some(Interval { lower, upper }),
        }
    }

    #[test]
    fn a_limit_is_decided_by_the_bounds() {
        use Decision::{Fail, Inconclusive, Pass};
        for (what, min, max, lower, upper, expected) in [
            (
                "the interval lies above",
                Some(0.65),
                None,
                0.66,
                0.74,
                Pass,
            ),
            (
                "the lower bound is what is asked",
                Some(0.65),
                None,
                0.65,
                0.74,
                Pass,
            ),
            (
                "the point alone lies above",
                Some(0.65),
                None,
                0.64,
                0.74,
                Inconclusive,
            ),
            (
                "the interval lies below",
                Some(0.75),
                None,
                0.64,
                0.74,
                Fail,
            ),
            ("a loss below its most", None, Some(0.75), 0.64, 0.74, Pass),
            (
                "a loss about its most",
                None,
                Some(0.7),
                0.64,
                0.74,
                Inconclusive,
            ),
            ("a loss above its most", None, Some(0.6), 0.64, 0.74, Fail),
            ("between both", Some(0.1), Some(0.8), 0.64, 0.74, Pass),
            (
                "undecided below, broken above",
                Some(0.7),
                Some(0.6),
                0.64,
                0.74,
                Fail,
            ),
        ] {
            let limits = Limits { min, max };
            assert_eq!(
                limits.judge(Some(&estimate(0.7, lower, upper))),
                Some(expected),
                "{what}"
            );
            assert_eq!(limits.judge(None), Some(Inconclusive), "{what}");
        }
        assert_eq!(
            Limits::default().judge(Some(&estimate(0.7, 0.6, 0.8))),
            None
        );
    }

    /// A value known to a standard error, at any confidence.
    fn normal_estimate(value: f64, error: f64, confidence: f64) -> Estimate {
        Estimate {
            value,
            interval: Some(Interval::of_normal(value, error, confidence)),
        }
    }

    fn judged(values: &[f64]) -> Vec<Option<Decision>> {
        let limits = vec![
            Limits {
                min: Some(0.0),
                max: None
            };
            values.len()
        ];
        let at = |at: usize, confidence| Some(normal_estimate(values[at], 1.0, confidence));
        let estimates: Vec<Option<Estimate>> = (0..values.len()).map(|row| at(row, 0.95)).collect();
        judge_all(&limits, &estimates, 0.95, at)
    }

    #[test]
    fn one_limit_of_many_that_looks_broken_by_chance_is_not() {
        use Decision::{Fail, Inconclusive, Pass};
        assert_eq!(judged(&[-2.0]), [Some(Fail)]);
        let mut many = vec![3.0; 20];
        many.push(-2.0);
        let found = judged(&many);
        assert_eq!(found[20], Some(Inconclusive));
        assert!(found[..20].iter().all(|one| *one == Some(Pass)));
        // What is broken beyond doubt stays so among any number.
        many.push(-9.0);
        assert_eq!(judged(&many)[21], Some(Fail));
    }

    #[test]
    fn what_is_broken_leaves_the_others_less_to_correct_for() {
        use Decision::{Fail, Inconclusive};
        // 2.20 lies between the two-sided bounds at 0.05/2 (2.241) and at 0.05 (1.960).
        assert_eq!(judged(&[-2.2, 0.5]), [Some(Inconclusive); 2]);
        assert_eq!(judged(&[-2.2, -9.0]), [Some(Fail); 2]);
        assert_eq!(
            judge_all(&[Limits::default()], &[None], 0.95, |_, _| None),
            [None]
        );
    }

    #[test]
    fn limits_are_seldom_called_broken_that_are_not() {
        // A hundred metrics that lie on their limits, again and again.
        let mut random = crate::random::Random::new(11);
        let rounds = 2000;
        let wrong = (0..rounds).filter(|_| {
            let values: Vec<f64> = (0..100).map(|_| random.normal()).collect();
            judged(&values).contains(&Some(Decision::Fail))
        });
        // Only the lower of the two sides can be broken: half of 5%.
        let share = float(wrong.count()) / float(rounds);
        assert!((0.015..0.036).contains(&share), "{share}");
    }

    #[test]
    fn what_is_lacking_is_said_in_rows() {
        let limits = Limits {
            min: Some(0.625),
            max: None,
        };
        // Its lower bound lies four times as far as the limit does.
        assert_eq!(
            limits.rows_needed(&estimate(0.75, 0.25, 0.8), 100),
            Some(1600)
        );
        assert_eq!(
            limits.rows_needed(&estimate(0.5, 0.4, 1.0), 100),
            Some(1600)
        );
        assert_eq!(limits.rows_needed(&estimate(0.7, 0.66, 0.8), 100), None);
        assert_eq!(limits.rows_needed(&estimate(0.625, 0.6, 0.7), 100), None);
        let advantage = Advantage {
            value: 0.0,
            centre: 0.0,
            standard_error: 0.02,
            errors: [0.02; 2],
        };
        let wanted = rows_to_compare(&advantage, 0.01, 0.95, 100).expect("a number");
        assert_eq!(wanted, 1083); // (1.6449 · 2)² · 100
        let there = Advantage {
            errors: [0.02 * (100.0_f64 / 1083.0).sqrt(); 2],
            ..advantage
        };
        assert!(there.p_inferior(0.01) <= 0.05);
        assert_eq!(
            rows_to_compare(
                &Advantage {
                    centre: -0.01,
                    ..advantage
                },
                0.01,
                0.95,
                9
            ),
            None
        );
    }

    #[test]
    fn a_champion_is_beaten_matched_or_not_decided() {
        let of = |value, standard_error| {
            Some(Advantage {
                value,
                centre: value,
                standard_error,
                errors: [standard_error; 2],
            })
        };
        let all = [of(0.0, 0.001), of(-0.1, 0.001), of(0.0, 0.5), None];
        assert_eq!(
            non_inferior(&all, 0.01, 0.95),
            [
                Decision::Pass,
                Decision::Fail,
                Decision::Inconclusive,
                Decision::Inconclusive
            ]
        );
    }

    #[test]
    fn what_is_asked_of_some_is_decided_of_those_and_the_worst_is_the_whole() {
        use Decision::{Fail, Inconclusive, Pass};
        let advantage = |value| Advantage {
            value,
            centre: value,
            standard_error: 0.001,
            errors: [0.001; 2],
        };
        let min = Limits {
            min: Some(0.6),
            max: None,
        };
        let asked = [
            Asked::default(),
            Asked {
                limits: min,
                estimate: Some(estimate(0.7, 0.65, 0.75)),
                against: Against::Advantage(advantage(0.0)),
            },
            Asked {
                against: Against::Undefined,
                ..Asked::default()
            },
            Asked {
                limits: min,
                estimate: Some(estimate(0.7, 0.65, 0.75)),
                against: Against::Advantage(advantage(-0.1)),
            },
        ];
        let decided = decide(&asked, 0.01, 0.95, |_, _| None);
        let all: Vec<_> = decided
            .iter()
            .map(|one| (one.limits, one.against))
            .collect();
        assert_eq!(
            all,
            [
                (None, None),
                (Some(Pass), Some(Pass)),
                (None, Some(Inconclusive)),
                (Some(Pass), Some(Fail)),
            ]
        );
        let whole =
            |of: &[Decided], are_enough| overall(of.iter().map(|one| one.decision()), are_enough);
        assert_eq!(whole(&decided, true), Fail);
        assert_eq!(whole(&decided[..3], true), Inconclusive);
        assert_eq!(whole(&decided[..2], true), Pass);
        assert_eq!(whole(&decided[..2], false), Inconclusive);
        assert_eq!(whole(&decided, false), Fail);
    }

    #[test]
    fn one_of_many_that_looks_worse_by_chance_does_not_fail() {
        let of = |value| {
            Some(Advantage {
                value,
                centre: value,
                standard_error: 1.0,
                errors: [1.0; 2],
            })
        };
        let mut many = vec![of(0.0); 20];
        many.push(of(-2.0));
        assert_eq!(non_inferior(&[of(-2.0)], 0.01, 0.95), [Decision::Fail]);
        assert!(!non_inferior(&many, 0.01, 0.95).contains(&Decision::Fail));
    }
}
