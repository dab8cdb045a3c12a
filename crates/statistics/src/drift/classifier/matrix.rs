//! Rows of numbers side by side, and the few sums over them that all else is made of.

/// Rows of one length. Numbers are of 32 bits, as embeddings are: half of the memory, and of the time that it takes to read.
#[derive(Clone, Debug)]
pub(in crate::drift) struct Matrix<V = Vec<f32>> {
    width: usize,
    values: V,
}

impl Matrix {
    /// Of all numbers, row by row.
    pub(in crate::drift) fn new(width: usize, values: Vec<f32>) -> Self {
        Self { width, values }
    }

    pub(super) fn rows_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        self.values.chunks_exact_mut(self.width)
    }
}

impl<V: AsRef<[f32]>> Matrix<V> {
    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn count(&self) -> usize {
        self.values.as_ref().len() / self.width
    }

    pub(in crate::drift) fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.values.as_ref().chunks_exact(self.width)
    }

    pub(super) fn row(&self, at: usize) -> &[f32] {
        &self.values.as_ref()[at * self.width..][..self.width]
    }

    /// The first so many rows.
    pub(super) fn first(&self, rows: usize) -> Matrix<&[f32]> {
        Matrix {
            width: self.width,
            values: &self.values.as_ref()[..rows * self.width],
        }
    }
}

/// The inner product, in eight sums side by side.
pub(super) fn dot(row: &[f32], other: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (ones, others) = (row.chunks_exact(8), other.chunks_exact(8));
    let rest = ones.remainder().iter().zip(others.remainder());
    let rest: f64 = rest.map(|(a, b)| f64::from(*a) * b).sum();
    for (a, b) in ones.zip(others) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += f64::from(*a) * b;
        }
    }
    sums.iter().sum::<f64>() + rest
}

/// Adds a row, so many times.
pub(super) fn add(sums: &mut [f64], row: &[f32], times: f64) {
    for (sum, value) in sums.iter_mut().zip(row) {
        *sum += times * f64::from(*value);
    }
}

/// The inner product of two vectors.
pub(super) fn inner(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(a, b)| a * b).sum()
}
