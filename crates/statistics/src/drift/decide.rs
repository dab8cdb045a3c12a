//! Which columns have drifted: on effect *and* evidence, over all columns at once.
//!
//! Neither does alone. A p-value is small for any difference in a window that is large enough; a distance is large by chance
//! in one that is small enough, and of a hundred columns some are always the largest.

use serde::{Deserialize, Serialize};

use super::Effect;
use crate::float;

/// What is asked of one column.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// Its name.
    pub column: String,
    /// How far it is from the reference.
    pub effect: Effect,
    /// What the distance has to pass, above 0.
    pub threshold: f64,
    /// What is asked of it beside; either is enough.
    pub beside: Option<Beside>,
}

/// Another distance of the same column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Beside {
    /// How far it is from the reference.
    pub effect: Effect,
    /// What that has to pass, above 0.
    pub threshold: f64,
}

/// When columns have drifted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// That of the one-sided lower bound which has to pass a column's threshold.
    pub confidence: f64,
    /// Of the columns that evidence is found for, what share may be wrong on average.
    pub false_discovery_rate: f64,
    /// Of what there has to be evidence.
    pub evidence: Evidence,
}

impl Default for Rule {
    fn default() -> Self {
        Self {
            confidence: 0.95,
            false_discovery_rate: 0.05,
            evidence: Evidence::OfDifference,
        }
    }
}

/// Of what there has to be evidence, over all columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// That a column differs from the reference at all: by a test of two samples. How far is the bound's matter.
    OfDifference,
    /// That its distance is above the threshold: of the columns that are named, no more than the share that may be wrong
    /// lie below theirs. Stricter, and slow in small windows.
    OfDistance,
}

/// What was found of a column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Column {
    /// Its name.
    pub column: String,
    /// The distance, less what chance adds.
    pub value: f64,
    /// Its one-sided lower bound.
    pub lower: f64,
    /// What that had to pass.
    pub threshold: f64,
    /// The p-value, corrected for the number of columns.
    pub p_value: f64,
    /// Whether it has drifted: by its bound and by its p-value.
    pub has_drifted: bool,
    /// Whether all of this is of what was asked beside: only that has passed.
    pub is_beside: bool,
}

/// The columns, those first that have drifted, and of these those first whose bound lies furthest above their threshold.
pub fn judge(asked: &[Asked], rule: Rule) -> Vec<Column> {
    let of = |effect: &Effect, threshold: f64| match rule.evidence {
        Evidence::OfDifference => effect.p_value(),
        Evidence::OfDistance => effect.p_within(threshold),
    };
    let p_value = |one: &Asked| {
        let p_value = of(&one.effect, one.threshold);
        // Of two questions to one column (Bonferroni).
        one.beside.map_or(p_value, |beside| {
            let other = of(&beside.effect, beside.threshold);
            (2.0 * p_value.min(other)).min(1.0)
        })
    };
    let p_values: Vec<f64> = asked.iter().map(p_value).collect();
    let corrected = benjamini_hochberg(&p_values);
    let judge = |(one, p_value): (&Asked, f64)| {
        let passes = |effect: &Effect, threshold: f64| effect.lower(rule.confidence) > threshold;
        let beside = one.beside.filter(|beside| {
            passes(&beside.effect, beside.threshold) && !passes(&one.effect, one.threshold)
        });
        let (effect, threshold) = beside.map_or((one.effect, one.threshold), |beside| {
            (beside.effect, beside.threshold)
        });
        Column {
            column: one.column.clone(),
            value: effect.value(),
            lower: effect.lower(rule.confidence),
            threshold,
            p_value,
            has_drifted: passes(&effect, threshold) && p_value <= rule.false_discovery_rate,
            is_beside: beside.is_some(),
        }
    };
    let mut columns: Vec<Column> = asked.iter().zip(corrected).map(judge).collect();
    columns.sort_by(|one, other| {
        let by_drift = other.has_drifted.cmp(&one.has_drifted);
        let reach = |column: &Column, value: f64| value / column.threshold;
        let by_bound = || reach(other, other.lower).total_cmp(&reach(one, one.lower));
        let by_value = || reach(other, other.value).total_cmp(&reach(one, one.value));
        let by_name = || one.column.cmp(&other.column);
        by_drift
            .then_with(by_bound)
            .then_with(by_value)
            .then_with(by_name)
    });
    columns
}

/// p-values corrected for their number, in the order of the given ones: of those that are at most q, on average no more than
/// a share q are wrong.
///
/// Source: Benjamini & Hochberg (1995), "Controlling the false discovery rate"; for independent tests, and for those that
/// depend positively on each other (Benjamini & Yekutieli 2001), as columns of the same rows do. A p-value that is no number
/// counts as 1.
pub fn benjamini_hochberg(p_values: &[f64]) -> Vec<f64> {
    let known: Vec<f64> = p_values
        .iter()
        .map(|p| if p.is_nan() { 1.0 } else { *p })
        .collect();
    let mut order: Vec<usize> = (0..known.len()).collect();
    order.sort_by(|a, b| known[*b].total_cmp(&known[*a]));
    let mut corrected = vec![1.0; known.len()];
    let mut least = 1.0_f64;
    for (before, row) in order.into_iter().enumerate() {
        let rank = float(known.len() - before);
        least = least.min(known[row] * float(known.len()) / rank);
        corrected[row] = least;
    }
    corrected
}

#[cfg(test)]
#[allow(clippy::float_cmp)] // exact by construction
mod tests {
    use super::*;
    use crate::drift::Scale;
    use crate::random::Random;

    fn asked(column: &str, measured: f64, standard_error: f64, p_value: f64) -> Asked {
        Asked {
            column: column.to_owned(),
            effect: Effect {
                scale: Scale::Plain,
                measured,
                excess: 0.0,
                standard_error,
                error_without_drift: standard_error,
                p_value,
            },
            threshold: 0.2,
            beside: None,
        }
    }

    /// scipy 1.17: `false_discovery_control(p, method='bh')`.
    #[test]
    fn p_values_are_corrected_as_in_scipy() {
        let found = benjamini_hochberg(&[0.01, 0.041, 0.03, 0.5, 0.039, 0.001]);
        let expected = [0.03, 0.0492, 0.0492, 0.5, 0.0492, 0.006];
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
        assert_eq!(benjamini_hochberg(&[]), Vec::<f64>::new());
        assert_eq!(benjamini_hochberg(&[f64::NAN, 0.01]), [1.0, 0.02]);
    }

    #[test]
    fn a_column_drifts_by_its_bound_and_by_its_p_value_and_by_neither_alone() {
        let columns = judge(
            &[
                asked("large by chance", 0.5, 0.3, 0.04),
                asked("small in a large window", 0.02, 0.001, 1e-30),
                asked("sure of its bound alone", 0.5, 0.01, 0.5),
                asked("drifted", 0.4, 0.05, 1e-9),
                asked("on the threshold", 0.2, 0.0, 1e-9),
                asked("drifted further", 4.0, 0.5, 1e-9),
            ],
            Rule::default(),
        );
        let drifted = |column: &Column| column.has_drifted.then(|| column.column.clone());
        let found: Vec<String> = columns.iter().filter_map(drifted).collect();
        assert_eq!(found, ["drifted further", "drifted"]);
        assert_eq!(columns[2].column, "sure of its bound alone");
    }

    #[test]
    fn evidence_is_weighed_against_the_number_of_columns() {
        let mut all = vec![asked("moved", 0.5, 0.1, 0.01)];
        assert!(judge(&all, Rule::default())[0].has_drifted);
        all.extend((0..99).map(|at| asked(&format!("{at}"), 0.0, 0.1, 0.6)));
        assert!(!judge(&all, Rule::default())[0].has_drifted);
        // Where many have moved, the same evidence is enough for each.
        for one in &mut all[..40] {
            one.effect = asked("", 0.5, 0.1, 0.01).effect;
        }
        let found = judge(&all, Rule::default());
        assert_eq!(found.iter().filter(|one| one.has_drifted).count(), 40);
    }

    #[test]
    fn evidence_of_the_distance_asks_for_more() {
        let of_distance = Rule {
            evidence: Evidence::OfDistance,
            ..Rule::default()
        };
        let mut all = vec![asked("moved", 0.4, 0.1, 1e-9)];
        assert!(judge(&all, of_distance)[0].has_drifted);
        all.extend((0..9).map(|at| asked(&format!("{at}"), 0.0, 0.1, 0.6)));
        assert!(!judge(&all, of_distance)[0].has_drifted);
        assert!(judge(&all, Rule::default())[0].has_drifted);
    }

    #[test]
    fn what_is_asked_beside_is_enough_by_itself_and_costs_evidence() {
        let with = |measured: f64, beside: f64, p_value: f64| {
            let other = asked("", beside, 0.02, p_value);
            let beside = Beside {
                effect: other.effect,
                threshold: 0.3,
            };
            let asked = Asked {
                beside: Some(beside),
                ..asked("x", measured, 0.02, 0.5)
            };
            judge(&[asked], Rule::default()).remove(0)
        };
        let by_other = with(0.1, 0.4, 0.02);
        assert!(by_other.has_drifted && by_other.is_beside);
        assert_eq!((by_other.value, by_other.threshold), (0.4, 0.3));
        assert!((by_other.p_value - 0.04).abs() < 1e-12);
        // Of two questions, the evidence for one has to be twice as good.
        assert!(!with(0.1, 0.4, 0.03).has_drifted);
        let by_both = with(0.4, 0.9, 1e-9);
        assert!(by_both.has_drifted && !by_both.is_beside);
        let by_none = with(0.1, 0.31, 1e-9);
        assert!(!by_none.has_drifted && !by_none.is_beside);
        assert_eq!(by_none.threshold, 0.2);
    }

    #[test]
    fn columns_that_are_equal_are_in_the_order_of_their_names() {
        let all = [asked("b", 0.1, 0.1, 0.6), asked("a", 0.1, 0.1, 0.6)];
        let names = judge(&all, Rule::default())
            .into_iter()
            .map(|one| one.column);
        assert_eq!(names.collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(judge(&[], Rule::default()), []);
    }

    /// Sixty of a hundred columns have not moved: of those found, at most 5 of 100 are among them.
    #[test]
    fn of_what_is_found_no_more_is_wrong_than_may_be() {
        let mut random = Random::new(91);
        let (mut share, runs) = (0.0, 2000_u32);
        for _ in 0..runs {
            let mut p_value = |mean: f64| crate::normal::cdf(-(mean + random.normal()));
            let p_values: Vec<f64> = (0..100)
                .map(|at| p_value(if at < 40 { 2.5 } else { 0.0 }))
                .collect();
            let found = benjamini_hochberg(&p_values);
            let at_most = |from: usize| found[from..].iter().filter(|p| **p <= 0.05).count();
            share += float(at_most(40)) / float(at_most(0).max(1)) / f64::from(runs);
        }
        // 60% of the level, as Benjamini and Hochberg have it.
        assert!((0.025..0.035).contains(&share), "{share}");
    }
}
