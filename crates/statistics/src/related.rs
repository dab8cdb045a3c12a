//! Metrics of rows that are not independent: those of one unit (a user, a device) are more like each other than like others.
//!
//! What each row adds to a metric ([`crate::influence`]) is added up by unit. By how much these sums vary more than as many
//! independent rows would is the metric's design effect: the interval of independent rows is wider by its root.

use std::collections::BTreeMap;

use crate::influence::Estimate;
use crate::metric::Metric;
use crate::sample::Sample;
use crate::sum::Sum;
use crate::{Interval, StatisticsError, float};

/// Of fewer units nothing is known of how they differ.
pub const MIN_UNITS: usize = 30;

/// A metric of rows of units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OfUnits {
    /// The metric; its interval is absent with fewer than [`MIN_UNITS`] units.
    pub estimate: Estimate,
    /// How many units there are.
    pub units: usize,
    /// By how much the metric's variance is larger than that of as many independent rows, at least 1.
    pub design_effect: f64,
}

/// A metric of rows that belong to these units, one for each row.
///
/// Source: the infinitesimal jackknife over units (Efron 1982; Liang & Zeger 1986 have the same of regressions):
/// U/(U - 1) Σᵤ (Σⱼ φⱼ)², over n/(n - 1) Σⱼ φⱼ². The ends of the interval are moved away from the value by the root of it,
/// and no further than the metric goes. Assumes that units are independent, and that none has most of the rows.
///
/// # Errors
/// As [`Metric::estimate`].
pub fn estimate(
    metric: Metric,
    sample: &Sample<'_>,
    units: &[u64],
    confidence: f64,
) -> Result<OfUnits, StatisticsError> {
    let mut estimate = metric.estimate(sample, confidence)?;
    let influence = metric.influence(sample)?;
    let mut by_unit: BTreeMap<u64, Sum> = BTreeMap::new();
    let mut squares = Sum::default();
    for (unit, adds) in units.iter().zip(&influence.of_rows) {
        by_unit.entry(*unit).or_default().add(*adds);
        squares.add(adds * adds);
    }
    let degrees = |count: usize| float(count) / (float(count) - 1.0).max(1.0);
    let of_units = by_unit.values().map(|sum| sum.value().powi(2));
    let of_units = degrees(by_unit.len()) * of_units.sum::<f64>();
    let of_rows = degrees(influence.of_rows.len()) * squares.value();
    let design_effect = if of_rows > 0.0 {
        (of_units / of_rows).max(1.0)
    } else {
        1.0
    };
    let value = estimate.value;
    let (least, most) = metric.range();
    estimate.interval = estimate
        .interval
        .filter(|_| by_unit.len() >= MIN_UNITS)
        .map(|interval| {
            let away = |end: f64| value + (end - value) * design_effect.sqrt();
            Interval {
                lower: away(interval.lower),
                upper: away(interval.upper),
            }
            .clamped(least, most)
        });
    Ok(OfUnits {
        estimate,
        units: by_unit.len(),
        design_effect,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    const METRICS: [Metric; 5] = [
        Metric::Accuracy,
        Metric::RocAuc,
        Metric::F1,
        Metric::LogLoss,
        Metric::Rmse,
    ];

    /// So many users, each with one label and score in all of its rows.
    fn users(random: &mut Random, users: u64, rows: usize) -> (Vec<f64>, Vec<f64>, Vec<u64>) {
        let (mut labels, mut answers, mut units) = (vec![], vec![], vec![]);
        for user in 0..users {
            let label = f64::from(u8::from(random.uniform() < 0.4));
            let answer = (0.3 * label + 0.7 * random.uniform()).clamp(0.01, 0.99);
            labels.extend(std::iter::repeat_n(label, rows));
            answers.extend(std::iter::repeat_n(answer, rows));
            units.extend(std::iter::repeat_n(user, rows));
        }
        (labels, answers, units)
    }

    #[test]
    fn twenty_rows_of_a_user_who_is_always_the_same_say_what_one_does() {
        let width = |metric: Metric, rows| {
            let (labels, answers, units) = users(&mut Random::new(3), 400, rows);
            let sample = Sample::new(&labels, &answers);
            let found = estimate(metric, &sample, &units, 0.95).expect("two classes");
            let interval = found.estimate.interval.expect("units enough");
            (interval.upper - interval.lower, found.design_effect)
        };
        for metric in METRICS {
            let ((one, none), (twenty, effect)) = (width(metric, 1), width(metric, 20));
            assert!((none - 1.0).abs() < 1e-9, "{metric} {none}");
            assert!((effect - 20.0).abs() < 0.1, "{metric} {effect}");
            assert!((twenty / one - 1.0).abs() < 0.05, "{metric} {one} {twenty}");
        }
    }

    #[test]
    fn rows_that_are_independent_are_worth_what_they_are() {
        let (labels, answers, _) = users(&mut Random::new(5), 4000, 1);
        let units: Vec<u64> = (0..4000).map(|row| row / 20).collect();
        let sample = Sample::new(&labels, &answers);
        for metric in METRICS {
            let found = estimate(metric, &sample, &units, 0.95).expect("two classes");
            assert_eq!(found.units, 200);
            assert!(found.design_effect < 1.5, "{metric} {found:?}");
        }
    }

    #[test]
    fn of_few_units_there_is_no_interval_and_no_end_lies_beyond_the_metric() {
        let (labels, answers, units) = users(&mut Random::new(7), 29, 100);
        let sample = Sample::new(&labels, &answers);
        let found = estimate(Metric::Accuracy, &sample, &units, 0.95).expect("rows");
        assert_eq!((found.estimate.interval, found.units), (None, 29));
        let right = vec![1.0; 4000];
        let mut wrong = right.clone();
        wrong[..40].fill(0.0);
        let units: Vec<u64> = (0..4000).map(|row| row / 40).collect();
        let found = estimate(Metric::Accuracy, &Sample::new(&right, &wrong), &units, 0.95);
        let found = found.expect("rows");
        let interval = found.estimate.interval.expect("units enough");
        assert!(found.design_effect > 30.0, "{found:?}");
        assert!(interval.upper <= 1.0 && interval.lower < 0.985, "{found:?}");
    }

    /// Users who differ: of intervals at 95%, as many have what is true as it takes.
    #[test]
    fn intervals_of_users_who_differ_have_what_is_true() {
        let mut random = Random::new(11);
        let (mut holds, mut holds_by_rows, runs) = (0, 0, 400);
        for _ in 0..runs {
            let (mut labels, mut answers, mut units) = (vec![], vec![], vec![]);
            for user in 0..150_u64 {
                // Of half of the users nine of ten rows are right, of the others five.
                let right = if random.uniform() < 0.5 { 0.9 } else { 0.5 };
                for _ in 0..20 {
                    labels.push(1.0);
                    answers.push(f64::from(u8::from(random.uniform() < right)));
                    units.push(user);
                }
            }
            let sample = Sample::new(&labels, &answers);
            let has = |found: Estimate| {
                let interval = found.interval.expect("rows");
                u32::from(interval.lower <= 0.7 && 0.7 <= interval.upper)
            };
            let found = estimate(Metric::Accuracy, &sample, &units, 0.95).expect("rows");
            holds += has(found.estimate);
            holds_by_rows += has(Metric::Accuracy.estimate(&sample, 0.95).expect("rows"));
        }
        assert!(holds >= runs * 92 / 100, "{holds} of {runs}");
        assert!(
            holds_by_rows < runs * 80 / 100,
            "{holds_by_rows} of {runs}: units would be of no use"
        );
    }
}
