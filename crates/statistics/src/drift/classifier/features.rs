//! What a classifier is given of a row. Made of all rows without regard to their side, so that it favours none.

use super::matrix::{self, Matrix};
use crate::float;
use crate::random::Random;

/// In how many directions products are made.
const DIRECTIONS: usize = 16;
/// Of how many rows the directions are found, and in how many rounds: they need not be exact.
const ROWS_OF_DIRECTIONS: usize = 1500;
const ROUNDS: usize = 6;
/// Numbers further from their mean than so many deviations count as that far: a few rows do not make what is learned.
const FURTHEST: f64 = 5.0;

/// What is made of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::drift) enum Shape {
    /// Its numbers.
    Linear,
    /// Its numbers, products of those in the directions of most variance, and its length.
    Quadratic,
}

/// The features, each with a mean of 0 and a variance of 1, or 0 in all rows.
pub(super) fn of(mut rows: Matrix, shape: Shape) -> Matrix {
    standardise(&mut rows);
    match shape {
        Shape::Linear => rows,
        Shape::Quadratic => {
            let mut all = with_products(&rows);
            standardise(&mut all);
            all
        }
    }
}

#[allow(clippy::cast_possible_truncation)] // of some deviations
fn standardise(rows: &mut Matrix) {
    let count = float(rows.count()).max(1.0);
    let mut means = vec![0.0; rows.width()];
    for row in rows.rows() {
        matrix::add(&mut means, row, 1.0 / count);
    }
    let mut variances = vec![0.0; rows.width()];
    for row in rows.rows() {
        for (variance, (value, mean)) in variances.iter_mut().zip(row.iter().zip(&means)) {
            *variance += (f64::from(*value) - mean).powi(2) / count;
        }
    }
    // Below what 32 bits tell apart there is no spread.
    let scale = |(variance, mean): (&f64, &f64)| {
        if variance.sqrt() > 1e-6 * mean.abs() && *variance > 0.0 {
            1.0 / variance.sqrt()
        } else {
            0.0
        }
    };
    let scales: Vec<f64> = variances.iter().zip(&means).map(scale).collect();
    for row in rows.rows_mut() {
        for (value, (mean, scale)) in row.iter_mut().zip(means.iter().zip(&scales)) {
            let by = (f64::from(*value) - mean) * scale;
            *value = by.clamp(-FURTHEST, FURTHEST) as f32;
        }
    }
}

/// The numbers of rows, then all products of those along the directions, then the square of the length.
#[allow(clippy::cast_possible_truncation)] // of some deviations
fn with_products(rows: &Matrix) -> Matrix {
    let directions = directions(rows);
    let along: Vec<f64> = directions
        .iter()
        .map(|direction| {
            let squares = rows.rows().map(|row| matrix::dot(row, direction).powi(2));
            (squares.sum::<f64>() / float(rows.count())).sqrt()
        })
        .collect();
    let products = directions.len() * (directions.len() + 1) / 2;
    let width = rows.width() + products + 1;
    let mut values = Vec::with_capacity(width * rows.count());
    for row in rows.rows() {
        values.extend_from_slice(row);
        let place = |(direction, deviation): (&Vec<f64>, &f64)| {
            let by = matrix::dot(row, direction) / deviation.max(f64::MIN_POSITIVE);
            by.clamp(-FURTHEST, FURTHEST)
        };
        let places: Vec<f64> = directions.iter().zip(&along).map(place).collect();
        for (at, one) in places.iter().enumerate() {
            values.extend(places[at..].iter().map(|other| (one * other) as f32));
        }
        let length: f64 = row.iter().map(|value| f64::from(*value).powi(2)).sum();
        values.push(length as f32);
    }
    Matrix::new(width, values)
}

/// Orthonormal directions in which rows vary most; the axes, where there are no more of them.
///
/// Source: subspace iteration (Golub & Van Loan 2013, "Matrix computations", section 8.2.4), from signs of a seed.
fn directions(rows: &Matrix) -> Vec<Vec<f64>> {
    let width = rows.width();
    if width <= DIRECTIONS {
        let axis = |at| (0..width).map(move |other| f64::from(u8::from(at == other)));
        return (0..width).map(|at| axis(at).collect()).collect();
    }
    let mut random = Random::new(0x6469_7265);
    let mut start = || -> Vec<f64> { (0..width).map(|_| random.uniform() - 0.5).collect() };
    let mut found: Vec<Vec<f64>> = (0..DIRECTIONS).map(|_| start()).collect();
    // Blocks follow each other, and sides in them: every so many-th row is of all.
    let step = rows.count().div_ceil(ROWS_OF_DIRECTIONS).max(1);
    for _ in 0..ROUNDS {
        orthonormalise(&mut found);
        let mut next = vec![vec![0.0; width]; DIRECTIONS];
        for row in rows.rows().step_by(step) {
            for (sums, direction) in next.iter_mut().zip(&found) {
                matrix::add(sums, row, matrix::dot(row, direction));
            }
        }
        found = next;
    }
    orthonormalise(&mut found);
    found
}

/// Gram and Schmidt's; what lies in those before is 0.
fn orthonormalise(all: &mut [Vec<f64>]) {
    for at in 0..all.len() {
        let (before, rest) = all.split_at_mut(at);
        let one = &mut rest[0];
        let whole = matrix::inner(one, one).sqrt();
        for other in before.iter() {
            let part = matrix::inner(one, other);
            one.iter_mut().zip(other).for_each(|(a, b)| *a -= part * b);
        }
        let length = matrix::inner(one, one).sqrt();
        let by = if length > 1e-9 * whole && length > 0.0 {
            1.0 / length
        } else {
            0.0
        };
        for value in one.iter_mut() {
            *value *= by;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::cast_possible_truncation)]
    fn directions_are_those_of_most_variance() {
        let mut random = Random::new(11);
        let mut values = Vec::new();
        for _ in 0..2000 {
            let far = 10.0 * random.normal();
            for at in 0..40 {
                let along = if at % 2 == 0 { far } else { 0.0 };
                values.push((along + random.normal()) as f32);
            }
        }
        let found = directions(&Matrix::new(40, values));
        let first: f64 = found[0].iter().step_by(2).map(|part| part * part).sum();
        assert!(first > 0.999, "{first}");
        for (at, one) in found.iter().enumerate() {
            for (other, two) in found.iter().enumerate() {
                let expected = f64::from(u8::from(at == other));
                assert!((matrix::inner(one, two) - expected).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn a_feature_has_a_variance_of_one_or_none_at_all() {
        let values = vec![0.0; 300];
        let mut rows = Matrix::new(3, values);
        for (at, row) in rows.rows_mut().enumerate() {
            row[0] = 7.0;
            row[1] = if at % 2 == 0 { 1e6 } else { 1e6 + 100.0 };
        }
        standardise(&mut rows);
        let first = rows.row(0);
        assert!(first[0].abs() < 1e-9 && (first[1] + 1.0).abs() < 1e-3 && first[2].abs() < 1e-9);
    }

    #[test]
    fn a_row_far_out_is_no_further_than_five_deviations() {
        let mut values = vec![0.0; 1000];
        values[0] = 1e9;
        values[1] = -1.0;
        let mut rows = Matrix::new(1, values);
        standardise(&mut rows);
        assert!((f64::from(rows.row(0)[0]) - FURTHEST).abs() < 1e-6);
        assert!(rows.row(1)[0].abs() < 1.0);
    }
}
