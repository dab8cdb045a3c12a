//! Rows of a column, drawn as counts.

use statrs::function::gamma::ln_gamma;
use windlass_statistics::drift::units::{DesignEffect, Units};
use windlass_statistics::random::Random;

/// How rows come.
#[derive(Clone, Copy, Debug)]
pub enum Rows {
    /// Each by itself.
    Independent,
    /// Twenty a user, who gives so many answers, each 20 / answers times; and the monitor knows of it.
    OfUsers { answers: u64 },
}

const OF_USER: u64 = 20;

/// Rows of a column by cell, and by unit.
pub struct Draw {
    pub counts: Vec<u64>,
    /// (cell, rows) of users, and how many are like this; empty where rows are independent.
    pub users: Vec<(Vec<(usize, u64)>, u64)>,
}

/// So many rows of cells of these shares.
pub fn draw(random: &mut Random, shares: &[f64], rows: u64, how: Rows) -> Draw {
    match how {
        Rows::Independent => Draw {
            counts: multinomial(random, shares, rows),
            users: Vec::new(),
        },
        Rows::OfUsers { answers: 1 } => {
            let users = multinomial(random, shares, rows / OF_USER);
            let of_cell = users.iter().enumerate();
            Draw {
                users: of_cell
                    .map(|(cell, users)| (vec![(cell, OF_USER)], *users))
                    .collect(),
                counts: users.iter().map(|users| users * OF_USER).collect(),
            }
        }
        Rows::OfUsers { answers } => {
            let mut ends = Vec::with_capacity(shares.len());
            for share in shares {
                ends.push(ends.last().copied().unwrap_or(0.0) + share);
            }
            let (mut counts, mut users) = (vec![0; shares.len()], Vec::new());
            for _ in 0..rows / OF_USER {
                let mut user: Vec<(usize, u64)> = (0..answers)
                    .map(|_| {
                        let at = random.uniform();
                        let cell = ends.partition_point(|end| *end <= at);
                        (cell.min(shares.len() - 1), OF_USER / answers)
                    })
                    .collect();
                user.sort_unstable();
                for (cell, rows) in &user {
                    counts[*cell] += rows;
                }
                users.push((together(user), 1));
            }
            Draw { counts, users }
        }
    }
}

/// Cells in their order, each but once.
fn together(mut cells: Vec<(usize, u64)>) -> Vec<(usize, u64)> {
    cells.dedup_by(|later, kept| {
        let is_same = later.0 == kept.0;
        if is_same {
            kept.1 += later.1;
        }
        is_same
    });
    cells
}

impl Draw {
    /// What its rows are worth, in cells that cells of the draw are put together to.
    pub fn design_effect(&self, mut units: Units, cell_of: &[usize]) -> DesignEffect {
        if self.users.is_empty() {
            return DesignEffect::NONE;
        }
        for (user, times) in &self.users {
            let mut cells: Vec<_> = user
                .iter()
                .map(|(at, rows)| (cell_of[*at], *rows))
                .collect();
            cells.sort_unstable();
            let user = together(cells);
            for _ in 0..*times {
                units.add(&user);
            }
        }
        units.design_effect()
    }
}

/// How many of a number of trials succeed.
///
/// Source: Hörmann (1993), "The generation of binomial random variates", algorithm BTRS; by inversion where few do.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)] // counts of rows
#[allow(clippy::cast_sign_loss, clippy::many_single_char_names)] // the names of the algorithm
pub fn binomial(random: &mut Random, trials: u64, p: f64) -> u64 {
    if trials == 0 || p <= 0.0 {
        return 0;
    }
    if p >= 1.0 {
        return trials;
    }
    if p > 0.5 {
        return trials - binomial(random, trials, 1.0 - p);
    }
    let (n, q) = (trials as f64, 1.0 - p);
    if n * p < 10.0 {
        let (mut at, mut left) = (q.powf(n), random.uniform());
        let mut k = 0;
        while left > at && k < trials {
            left -= at;
            k += 1;
            at *= (n - k as f64 + 1.0) / k as f64 * (p / q);
        }
        return k;
    }
    let spread = (n * p * q).sqrt();
    let b = 1.15 + 2.53 * spread;
    let a = -0.0873 + 0.0248 * b + 0.01 * p;
    let (c, v_r) = (n * p + 0.5, 0.92 - 4.2 / b);
    let alpha = (2.83 + 5.1 / b) * spread;
    let mode = ((n + 1.0) * p).floor();
    let h = ln_gamma(mode + 1.0) + ln_gamma(n - mode + 1.0);
    loop {
        let (u, v) = (random.uniform() - 0.5, random.uniform());
        let us = 0.5 - u.abs();
        let k = ((2.0 * a / us + b) * u + c).floor();
        if k < 0.0 || k > n {
            continue;
        }
        if us >= 0.07 && v <= v_r {
            return k as u64;
        }
        let v = (v * alpha / (a / (us * us) + b)).ln();
        if v <= h - ln_gamma(k + 1.0) - ln_gamma(n - k + 1.0) + (k - mode) * (p / q).ln() {
            return k as u64;
        }
    }
}

/// Counts of so many rows by cell.
pub fn multinomial(random: &mut Random, shares: &[f64], rows: u64) -> Vec<u64> {
    let (mut rows_left, mut share_left) = (rows, shares.iter().sum::<f64>());
    let mut counts = Vec::with_capacity(shares.len());
    for (at, share) in shares.iter().enumerate() {
        let count = if at + 1 == shares.len() {
            rows_left
        } else {
            binomial(random, rows_left, share / share_left)
        };
        counts.push(count);
        rows_left -= count;
        share_left -= share;
    }
    counts
}
