//! How effects are distributed, by simulation: for the tests of distances.

use super::Effect;
use crate::mean::Mean;
use crate::random::Random;

/// What was seen of an effect, again and again.
#[derive(Debug)]
pub(super) struct Law {
    /// The mean of its value.
    pub(super) value: f64,
    /// The mean of what is left after the correction, on the scale that chance adds on.
    pub(super) bias: f64,
    /// The mean of what is taken off.
    pub(super) excess: f64,
    /// The mean of the variance that it is said to have, over the one that it has.
    pub(super) ratio: f64,
    /// How often its p-value is at most 0.05.
    pub(super) significant: f64,
}

pub(super) fn law_of(runs: u32, mut draw: impl FnMut() -> Effect) -> Law {
    let (mut left, mut value, mut excess, mut variance) = (
        Mean::default(),
        Mean::default(),
        Mean::default(),
        Mean::default(),
    );
    let mut significant = 0;
    for _ in 0..runs {
        let effect = draw();
        left.add(effect.corrected());
        value.add(effect.value());
        excess.add(effect.excess());
        variance.add(effect.standard_error().powi(2));
        significant += u32::from(effect.p_value() <= 0.05);
    }
    let mean = |mean: &Mean| mean.value().expect("there are runs");
    Law {
        value: mean(&value),
        bias: mean(&left),
        excess: mean(&excess),
        ratio: mean(&variance) / left.variance().expect("there are runs"),
        significant: f64::from(significant) / f64::from(runs),
    }
}

/// Counts of rows that fall into cells of these weights.
pub(super) fn draw(random: &mut Random, weights: &[f64], rows: u32) -> Vec<u64> {
    let mut ends = Vec::with_capacity(weights.len());
    let mut total = 0.0;
    for weight in weights {
        total += weight;
        ends.push(total);
    }
    let mut counts = vec![0; weights.len()];
    for _ in 0..rows {
        let at = random.uniform() * total;
        counts[ends.partition_point(|end| *end <= at)] += 1;
    }
    counts
}
