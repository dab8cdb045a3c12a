//! What chance does to the distance of two mean vectors, from sums in groups.

use std::ops::Range;

use statrs::function::beta::beta_reg;

use super::Embeddings;
use super::whole::number;
use crate::float;

/// Fewer even groups than this do not tell how they differ, nor do uneven ones that are worth no more (Kish 1965).
const MIN_GROUPS: f64 = 8.0;
/// Degrees of freedom beyond which a law no longer changes.
const MOST_DEGREES: f64 = 5000.0;

/// A mean vector, and how it would differ from sample to sample: by a covariance V₁.
pub(super) struct Side {
    rows: f64,
    pub(super) mean: Vec<f64>,
    /// Of single rows, by dimension.
    pub(super) variances: Vec<f64>,
    /// Of each group, by how much it moves the mean: its sum less the mean of as many rows, over all rows. They add up to 0.
    residuals: Vec<Vec<f64>>,
    /// Of each group, its share of the rows.
    shares: Vec<f64>,
    /// tr V₁, and tr V₁².
    trace: f64,
    square: f64,
}

impl Side {
    pub(super) fn of(all: &Embeddings) -> Option<Self> {
        let groups: Vec<_> = all.groups.values().collect();
        let rows = float(all.rows());
        let shares: Vec<f64> = groups.iter().map(|one| float(one.rows) / rows).collect();
        let evenness: f64 = shares.iter().map(|share| share * share).sum();
        // Of no rows neither.
        if MIN_GROUPS * evenness > 1.0 || groups.is_empty() {
            return None;
        }
        let mut totals = vec![0; all.width];
        for group in &groups {
            super::whole::add(&mut totals, &group.sums);
        }
        let mean: Vec<f64> = totals.iter().map(|sum| number(*sum) / rows).collect();
        let variance = |(square, mean): (&i128, &f64)| {
            (number(*square) / rows - mean * mean).max(0.0) * rows / (rows - 1.0)
        };
        let variances = all.squares.iter().zip(&mean).map(variance).collect();
        let residual = |group: &&super::Group| -> Vec<f64> {
            let count = float(group.rows);
            let sums = group.sums.iter().zip(&mean);
            let apart = sums.map(|(sum, mean)| number(*sum) - mean * count);
            apart.map(|apart| apart / rows).collect()
        };
        let mut side = Self {
            rows,
            residuals: groups.iter().map(residual).collect(),
            shares,
            mean,
            variances,
            trace: 0.0,
            square: 0.0,
        };
        let squares = side.residuals.iter().map(|one| dot(one, one));
        side.trace = side.spared() * squares.sum::<f64>();
        side.square = Gram::of(&[&side]).square();
        Some(side)
    }

    /// Σ over groups of a power of their shares.
    fn power(&self, power: i32) -> f64 {
        self.shares.iter().map(|share| share.powi(power)).sum()
    }

    /// By how much a sum over residuals is too small, since their mean is their own: G/(G - 1) where groups are even.
    fn spared(&self) -> f64 {
        1.0 / (1.0 - self.power(2)).max(f64::MIN_POSITIVE)
    }

    /// δ'V₁δ, as estimated.
    pub(super) fn along(&self, gap: &[f64]) -> f64 {
        let all = self.residuals.iter().map(|one| dot(one, gap).powi(2));
        self.spared() * all.sum::<f64>()
    }

    /// By how much the mean's variance is larger than that of independent rows, at least 1.
    pub(super) fn design_effect(&self) -> f64 {
        let total: f64 = self.variances.iter().sum();
        if total > 0.0 {
            (self.trace * self.rows / total).max(1.0)
        } else {
            1.0
        }
    }

    /// The variance of the total of the variances, over its square: 2 tr Σ² / (m (tr Σ)²), as of normal rows.
    pub(super) fn doubt_of_total(&self) -> f64 {
        let effective = self.rows / self.design_effect();
        let evenness = self.square / self.trace.powi(2).max(f64::MIN_POSITIVE);
        2.0 * evenness.min(1.0) / (effective - 1.0).max(1.0)
    }

    /// Half of the variance of the estimate of tr V₁.
    fn doubt(&self) -> f64 {
        self.square * self.spared() * self.power(2)
    }
}

/// Products of residuals of different groups, of one side or of two.
struct Gram<'a> {
    sides: &'a [&'a Side],
    /// Where those of each side are.
    places: Vec<Range<usize>>,
    /// Row by row; 0 on the diagonal.
    products: Vec<Vec<f64>>,
}

impl<'a> Gram<'a> {
    /// What residuals of one side have in common since they add up to 0, -tr V₁ by the shares of both groups on average, is
    /// taken off.
    fn of(sides: &'a [&'a Side]) -> Self {
        let mut end = 0;
        let mut places = Vec::new();
        let mut all = Vec::new();
        for side in sides {
            places.push(end..end + side.residuals.len());
            end += side.residuals.len();
            let groups = side.residuals.iter().zip(&side.shares);
            all.extend(groups.map(|(residual, share)| (*side, residual, *share)));
        }
        let mut products = vec![vec![0.0; all.len()]; all.len()];
        for (at, (side, one, share)) in all.iter().enumerate() {
            for (before, (of, other, other_share)) in all.iter().enumerate().take(at) {
                let common = if std::ptr::eq(*side, *of) {
                    side.trace * share * other_share
                } else {
                    0.0
                };
                let product = dot(one, other) + common;
                products[at][before] = product;
                products[before][at] = product;
            }
        }
        Self {
            sides,
            places,
            products,
        }
    }

    /// By how much a sum over residuals of different groups of these sides is too small, since none is taken twice.
    fn factor(&self, sides: &[usize]) -> f64 {
        let spared: f64 = sides
            .iter()
            .map(|side| self.sides[*side].spared())
            .product();
        let missed = |side: usize| {
            let one = &self.sides[side];
            match sides.iter().filter(|other| **other == side).count() {
                0 | 1 => 1.0,
                2 => 1.0 - one.power(2),
                _ => 1.0 - 3.0 * one.power(2) + 2.0 * one.power(3),
            }
        };
        let kept: f64 = (0..self.sides.len()).map(missed).product();
        spared / kept.max(f64::MIN_POSITIVE)
    }

    /// tr V²: the sum of the squares of products. That of a group with itself has a mean of its trace squared more, and is
    /// left out.
    fn square(&self) -> f64 {
        let mut total = 0.0;
        for (one, first) in self.places.iter().enumerate() {
            for (other, second) in self.places.iter().enumerate() {
                let rows = self.products[first.clone()].iter();
                let squares = rows.map(|row| dot(&row[second.clone()], &row[second.clone()]));
                total += squares.sum::<f64>() * self.factor(&[one, other]);
            }
        }
        total
    }

    /// tr V³: the sum of products of three different groups, each with the next.
    fn cube(&self) -> f64 {
        let mut total = 0.0;
        for (one, first) in self.places.iter().enumerate() {
            for (other, second) in self.places.iter().enumerate() {
                for (third, through) in self.places.iter().enumerate() {
                    let mut sum = 0.0;
                    for i in first.clone() {
                        for j in second.clone() {
                            let (a, b) = (&self.products[i], &self.products[j]);
                            sum += a[j] * dot(&a[through.clone()], &b[through.clone()]);
                        }
                    }
                    total += sum * self.factor(&[one, other, third]);
                }
            }
        }
        total
    }
}

/// What the square of the distance is without drift: of a covariance V of the difference of the means.
pub(super) struct Law {
    /// tr V, tr V² and tr V³.
    pub(super) trace: f64,
    pub(super) square: f64,
    cube: f64,
    /// Half of the variance of the estimate of tr V.
    doubt: f64,
}

impl Law {
    pub(super) fn of(old: &Side, new: &Side) -> Self {
        let sides = [old, new];
        let gram = Gram::of(&sides);
        let trace = old.trace + new.trace;
        // What the traces of a covariance can be, of as many dimensions.
        let least = trace * trace / float(old.mean.len());
        let square = gram.square().clamp(least, trace * trace);
        let least = square * square / trace;
        let cube = gram.cube().clamp(least, square.powf(1.5).max(least));
        Self {
            trace,
            square,
            cube,
            doubt: old.doubt() + new.doubt(),
        }
    }

    /// The variance of the square of the distance less tr V, which is an estimate.
    pub(super) fn variance_without_drift(&self) -> f64 {
        2.0 * (self.square + self.doubt)
    }

    /// How often the square of the distance is as large or larger.
    ///
    /// Source: a quadratic form of normal variables is about c + β χ² of f degrees, β = tr V³ / tr V², f = (tr V²)³ / (tr V³)²
    /// and c = tr V - β f, which has its first three moments (Pearson 1959, "Note on an approximation to the distribution of
    /// non-central χ²"; Zhang 2013, "Analysis of variance for functional data"). With c = 0 it is Box's (1954), of two. That
    /// β f is estimated makes an F of it, with as many degrees in the denominator as its variance tells (Satterthwaite 1946;
    /// Brunner, Dette & Munk 1997, "Box-type approximations in nonparametric factorial designs").
    pub(super) fn p_value(&self, square: f64) -> f64 {
        if self.trace <= 0.0 {
            return if square > 0.0 { 0.0 } else { 1.0 };
        }
        let degrees = self.square.powi(3) / self.cube.powi(2);
        let scale = self.square * self.square / self.cube;
        let ratio = (square - (self.trace - scale)) / scale;
        let of_scale = scale * scale / self.doubt.max(f64::MIN_POSITIVE);
        f_tail(ratio, degrees.min(MOST_DEGREES), of_scale.min(MOST_DEGREES))
    }
}

/// How often a variable of Fisher's law is larger than x.
fn f_tail(x: f64, numerator: f64, denominator: f64) -> f64 {
    // What is no number is no evidence.
    if x.is_nan() || x <= 0.0 {
        return 1.0;
    }
    let part = denominator / (denominator + numerator * x);
    beta_reg(denominator / 2.0, numerator / 2.0, part)
}

/// The inner product, in eight sums side by side.
fn dot(one: &[f64], other: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (ones, others) = (one.chunks_exact(8), other.chunks_exact(8));
    let rest = ones.remainder().iter().zip(others.remainder());
    let rest: f64 = rest.map(|(a, b)| a * b).sum();
    for (a, b) in ones.zip(others) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mean::Mean;
    use crate::random::Random;

    /// Of one degree it is Student's (scipy 1.17: `t.sf(2, 9)`), twice; of two it has a closed form.
    #[test]
    fn tails_of_fisher_are_the_known_ones() {
        let of_one = f_tail(4.0, 1.0, 9.0);
        assert!((of_one / (2.0 * 0.038_276_411_885_350_504) - 1.0).abs() < 1e-9);
        for (x, denominator) in [(3.0, 20.0), (0.5, 5000.0), (8.0, 63.0)] {
            let expected = (1.0_f64 + 2.0 * x / denominator).powf(-denominator / 2.0);
            let found = f_tail(x, 2.0, denominator);
            assert!((found / expected - 1.0).abs() < 1e-9, "{x} {found}");
        }
        assert!((f_tail(-1.0, 3.0, 3.0) - 1.0).abs() < 1e-15);
        // Of many degrees its logarithm is about normal, with a variance of 2/f + 2/d.
        let z = (2.0_f64 / 5000.0 + 2.0 / 5000.0).sqrt();
        let found = f_tail((2.0 * z).exp(), 5000.0, 5000.0);
        assert!((found - 0.022_75).abs() < 1e-4, "{found}");
    }

    /// V of rows with variances of 4, 1, 1, … is that over m and over n: with fewer rows than dimensions, with fewer than
    /// groups, and with many.
    #[test]
    fn traces_are_right_on_average() {
        let mut random = Random::new(591);
        let mut draw = |rows: usize, width: usize| {
            let mut all = Embeddings::new(width);
            for _ in 0..rows {
                let mut row: Vec<f64> = (0..width).map(|_| random.normal()).collect();
                row[0] *= 2.0;
                all.add(random.bits(), &row);
            }
            Side::of(&all).expect("rows")
        };
        for (rows, width, runs) in [
            ([100, 60], 150, 100),
            ([16, 900], 8, 1200),
            ([500, 500], 1, 400),
        ] {
            let mut means = [Mean::default(); 3];
            for _ in 0..runs {
                let (old, new) = (draw(rows[0], width), draw(rows[1], width));
                let (sides, trace) = ([&old, &new], old.trace + new.trace);
                let gram = Gram::of(&sides);
                let found = [trace, gram.square(), gram.cube()];
                means
                    .iter_mut()
                    .zip(found)
                    .for_each(|(mean, one)| mean.add(one));
            }
            let each = 1.0 / float(rows[0]) + 1.0 / float(rows[1]);
            for (power, mean) in (1..).zip(means) {
                let one = 4.0_f64.powi(power) + float(width - 1);
                let expected = one * each.powi(power);
                let error = mean.standard_error().expect("runs") / expected;
                let found = mean.value().expect("runs") / expected;
                println!("{rows:?} × {width}: {found} ± {error}");
                assert!(
                    (found - 1.0).abs() < 2.5 * error + 0.015,
                    "{rows:?} × {width}: {found}"
                );
            }
        }
    }

    /// Box's law, of two moments, would have a third of 52 here.
    #[test]
    fn a_law_has_the_third_moment_too() {
        let mut random = Random::new(593);
        let mut draw = || {
            let mut all = Embeddings::new(4);
            for _ in 0..300 {
                let mut row = [0.0; 4].map(|_: f64| random.normal());
                row[0] *= 2.0;
                all.add(random.bits(), &row);
            }
            Side::of(&all).expect("rows")
        };
        let cubes = (0..300).map(|_| Law::of(&draw(), &draw()).cube * 150.0_f64.powi(3));
        let mean: Mean = cubes.collect();
        let found = mean.value().expect("runs");
        println!("{found} ± {:?}", mean.standard_error());
        assert!((found / 67.0 - 1.0).abs() < 0.12, "{found}");
    }

    /// Of one dimension it is Welch's test: t² of about so many degrees.
    #[test]
    fn a_law_of_one_direction_is_that_of_student() {
        let law = Law {
            trace: 5.0,
            square: 25.0,
            cube: 125.0,
            doubt: 1.0,
        };
        assert!((law.variance_without_drift() - 52.0).abs() < 1e-12);
        let expected = f_tail(4.0, 1.0, 25.0);
        assert!((law.p_value(20.0) - expected).abs() < 1e-12);
        // Of four even ones it is Box's: all of the trace in a χ² of four degrees.
        let law = Law {
            square: 25.0 / 4.0,
            cube: 125.0 / 16.0,
            ..law
        };
        let expected = f_tail(2.0, 4.0, 25.0);
        assert!((law.p_value(10.0) - expected).abs() < 1e-12);
        // One of 4 and four of 1/4: β is that of the large one, nearly, and the others are about constant.
        let law = Law {
            square: 16.25,
            cube: 64.0625,
            ..law
        };
        let scale = 16.25 * 16.25 / 64.0625;
        let degrees = 16.25_f64.powi(3) / 64.0625_f64.powi(2);
        let expected = f_tail((20.0 - (5.0 - scale)) / scale, degrees, scale * scale);
        assert!((law.p_value(20.0) - expected).abs() < 1e-12);
        assert!((law.p_value(0.1) - 1.0).abs() < 1e-12);
    }
}
