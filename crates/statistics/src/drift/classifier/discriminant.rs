//! The linear discriminant of two samples, where there are fewer rows than features too.

use super::matrix::{self, Matrix};
use crate::float;

/// The least part of the covariance that is taken for a sphere's.
const LEAST_SHRINKAGE: f64 = 1e-3;
/// Each row is paired with so many after it, to see how features go together.
const PAIRS: usize = 8;
/// Conjugate gradients stop after so many steps, or where no more than this part is left of the difference of means.
const STEPS: usize = 60;
const LEFT: f64 = 1e-3;

/// The direction w in which the two sides differ most beside how they vary: Σ w = μ₁ - μ₀. Absent with fewer than two rows of
/// either, or where nothing varies.
///
/// Source: Fisher (1936); with Σ drawn towards a sphere, (1 - ρ) S + ρ μ I, as Ledoit & Wolf (2004), "A well-conditioned
/// estimator for large-dimensional covariance matrices", theorem 2.1, have it: ρ = β² / (α² + β²), α² = tr Σ² - μ² d and
/// β² = (E|x|⁴ - tr Σ²) / n, with tr Σ² from products of different rows. It is solved by conjugate gradients (Hestenes & Stiefel
/// 1952), for which no matrix of features by features is made.
pub(super) fn fit<V: AsRef<[f32]>>(rows: &Matrix<V>, sides: &[usize]) -> Option<Vec<f64>> {
    let learned = Learned::of(rows, sides)?;
    let gap: Vec<f64> = learned.means[1]
        .iter()
        .zip(&learned.means[0])
        .map(|(new, old)| new - old)
        .collect();
    let sphere = learned.sphere();
    Some(solve(&gap, |along| {
        let (shrinkage, variance) = sphere;
        let mut through = learned.covariance(along);
        for (out, by) in through.iter_mut().zip(along) {
            *out = (1.0 - shrinkage) * *out + shrinkage * variance * by;
        }
        through
    }))
}

struct Learned<'a, V> {
    rows: &'a Matrix<V>,
    sides: &'a [usize],
    /// Of the reference and of the window.
    means: [Vec<f64>; 2],
    shares: [f64; 2],
    /// The mean variance of a feature, within a side.
    variance: f64,
    /// The mean of the fourth power of the distance from a side's mean.
    fourth: f64,
}

impl<'a, V: AsRef<[f32]>> Learned<'a, V> {
    fn of(rows: &'a Matrix<V>, sides: &'a [usize]) -> Option<Self> {
        let count = |side| float(sides.iter().filter(|of| **of == side).count());
        let counts = [count(0), count(1)];
        if counts.iter().any(|rows| *rows < 2.0) {
            return None;
        }
        let mut means = [vec![0.0; rows.width()], vec![0.0; rows.width()]];
        for (row, side) in rows.rows().zip(sides) {
            matrix::add(&mut means[*side], row, 1.0 / counts[*side]);
        }
        let all = counts[0] + counts[1];
        let (mut second, mut fourth) = (0.0, 0.0);
        for (row, side) in rows.rows().zip(sides) {
            let apart = row.iter().zip(&means[*side]);
            let square: f64 = apart.map(|(x, mean)| (f64::from(*x) - mean).powi(2)).sum();
            second += square / all;
            fourth += square * square / all;
        }
        (second > 0.0).then(|| Self {
            rows,
            sides,
            means,
            shares: counts.map(|rows| rows / all),
            variance: second / float(rows.width()),
            fourth,
        })
    }

    /// Which part of the covariance is taken for a sphere's, and the variance of that.
    fn sphere(&self) -> (f64, f64) {
        let of_squares = self.of_squares();
        let width = float(self.rows.width());
        let alpha = (of_squares - self.variance * self.variance * width).max(0.0);
        let beta = ((self.fourth - of_squares) / float(self.rows.count())).max(0.0);
        let shrinkage = if alpha + beta > 0.0 {
            beta / (alpha + beta)
        } else {
            1.0
        };
        (shrinkage.max(LEAST_SHRINKAGE), self.variance)
    }

    /// tr Σ²: the mean of the squares of products of different rows, each from its side's mean.
    fn of_squares(&self) -> f64 {
        let count = self.rows.count();
        let centred = |at: usize| -> Vec<f64> {
            let mean = &self.means[self.sides[at]];
            let row = self.rows.row(at).iter();
            row.zip(mean)
                .map(|(x, mean)| f64::from(*x) - mean)
                .collect()
        };
        let (mut sum, mut pairs) = (0.0, 0.0);
        for at in 0..count {
            let one = centred(at);
            for step in 1..=PAIRS.min(count - 1) {
                let other = (at + step) % count;
                let mean = &self.means[self.sides[other]];
                let product = matrix::dot(self.rows.row(other), &one) - matrix::inner(mean, &one);
                sum += product * product;
                pairs += 1.0;
            }
        }
        sum / f64::max(pairs, 1.0)
    }

    /// S v, of the covariance within sides.
    fn covariance(&self, along: &[f64]) -> Vec<f64> {
        let count = float(self.rows.count());
        let mut through = vec![0.0; along.len()];
        for row in self.rows.rows() {
            matrix::add(&mut through, row, matrix::dot(row, along) / count);
        }
        for (mean, share) in self.means.iter().zip(self.shares) {
            let by = share * matrix::inner(mean, along);
            for (out, mean) in through.iter_mut().zip(mean) {
                *out -= by * mean;
            }
        }
        through
    }
}

/// x of A x = b, for a symmetric A whose product with a vector is given.
fn solve(right: &[f64], through: impl Fn(&[f64]) -> Vec<f64>) -> Vec<f64> {
    let mut found = vec![0.0; right.len()];
    let mut left = right.to_vec();
    let mut along = right.to_vec();
    let mut square = matrix::inner(&left, &left);
    let enough = square * LEFT * LEFT;
    for _ in 0..STEPS {
        if square <= enough {
            break;
        }
        let image = through(&along);
        let step = square / matrix::inner(&along, &image).max(f64::MIN_POSITIVE);
        for (at, out) in found.iter_mut().enumerate() {
            *out += step * along[at];
            left[at] -= step * image[at];
        }
        let next = matrix::inner(&left, &left);
        let turn = next / square;
        for (by, left) in along.iter_mut().zip(&left) {
            *by = left + turn * *by;
        }
        square = next;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn equations_are_solved() {
        let through = |v: &[f64]| vec![4.0 * v[0] + v[1], v[0] + 3.0 * v[1]];
        let found = solve(&[1.0, 2.0], through);
        assert!((found[0] - 1.0 / 11.0).abs() < 1e-9 && (found[1] - 7.0 / 11.0).abs() < 1e-9);
        assert!(solve(&[0.0, 0.0], through).iter().all(|x| x.abs() < 1e-12));
    }

    /// Of two features with a correlation of 0.9, of which the first has moved: Σ⁻¹ (1, 0) is along (1, -0.9).
    #[test]
    #[allow(clippy::cast_possible_truncation)]
    fn a_direction_takes_off_what_goes_with_what_has_moved() {
        let mut random = Random::new(21);
        let (mut values, mut sides) = (Vec::new(), Vec::new());
        for at in 0..20_000 {
            let (one, own) = (random.normal(), random.normal());
            let moved = f64::from(u8::from(at % 2 == 1));
            values.push((one + moved) as f32);
            values.push((0.9 * one + 0.19_f64.sqrt() * own) as f32);
            sides.push(at % 2);
        }
        let rows = Matrix::new(2, values);
        let found = fit(&rows, &sides).expect("rows of both sides");
        assert!((found[1] / found[0] + 0.9).abs() < 0.02, "{found:?}");
        let learned = Learned::of(&rows, &sides).expect("rows");
        // tr Σ² is 2 (1 + 0.81).
        assert!((learned.of_squares() / 3.62 - 1.0).abs() < 0.05);
        assert!(learned.sphere().0 < 0.01);
        // That one side lies elsewhere is no variance.
        let through = learned.covariance(&[1.0, 0.0]);
        assert!((through[0] - 1.0).abs() < 0.03 && (through[1] - 0.9).abs() < 0.03);
        assert!((learned.variance - 1.0).abs() < 0.03);
    }

    #[test]
    #[allow(clippy::cast_possible_truncation)]
    fn a_covariance_of_few_rows_is_taken_for_a_sphere() {
        let mut random = Random::new(22);
        let values = (0..60 * 200).map(|_| random.normal() as f32);
        let rows = Matrix::new(200, values.collect());
        let sides: Vec<usize> = (0..60).map(|at| at % 2).collect();
        let learned = Learned::of(&rows, &sides).expect("rows");
        assert!(learned.sphere().0 > 0.8, "{:?}", learned.sphere());
        assert_eq!(fit(&rows.first(3), &[0, 0, 1]), None);
    }
}
