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
/// Rows that the agent keeps of whole units, of a hundred columns (its `profile/room.rs`).
const KEPT_ROWS: u64 = (16 << 20) / 100;

/// Rows of a column by cell, and by unit.
pub struct Draw {
    pub counts: Vec<u64>,
    /// The same of its parts, where there are several: the rows in their order, in parts of one size.
    pub parts: Vec<Vec<u64>>,
    /// (cell, rows) of users that were sampled, and how many are like this; empty where rows are independent.
    pub users: Vec<(Vec<(usize, u64)>, u64)>,
}

/// How many users a sample of whole ones has, by hashes of their names: half of them each time that there are too many rows.
/// It is the same users in all columns.
pub fn sampled_users(random: &mut Random, rows: u64, how: Rows) -> u64 {
    let mut users = match how {
        Rows::Independent => 0,
        Rows::OfUsers { .. } => rows / OF_USER,
    };
    while users * OF_USER > KEPT_ROWS {
        users = binomial(random, users, 0.5);
    }
    users
}

/// So many rows of cells of these shares, of which so many users are sampled, in so many parts.
pub fn draw(
    random: &mut Random,
    shares: &[f64],
    [rows, sampled]: [u64; 2],
    how: Rows,
    parts: u64,
) -> Draw {
    let mut all = Draw {
        counts: vec![0; shares.len()],
        parts: Vec::new(),
        users: Vec::new(),
    };
    for part in 0..parts {
        let of_part = |all: u64| all * (part + 1) / parts - all * part / parts;
        let counts = match how {
            Rows::Independent => multinomial(random, shares, of_part(rows)),
            Rows::OfUsers { answers } => {
                let (kept, users) = (of_part(sampled), of_part(rows / OF_USER));
                let mut counts = all.sample(random, shares, kept, answers);
                // Of those that are not sampled no more is known than their sum.
                let others = multinomial(random, shares, users.saturating_sub(kept) * answers);
                let each = OF_USER / answers;
                for (count, answers) in counts.iter_mut().zip(others) {
                    *count += answers * each;
                }
                counts
            }
        };
        for (sum, count) in all.counts.iter_mut().zip(&counts) {
            *sum += count;
        }
        if parts > 1 {
            all.parts.push(counts);
        }
    }
    all
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
    /// Takes so many users, and says how many rows they have in each cell.
    fn sample(
        &mut self,
        random: &mut Random,
        shares: &[f64],
        users: u64,
        answers: u64,
    ) -> Vec<u64> {
        let mut counts = vec![0; shares.len()];
        if answers == 1 {
            let users = multinomial(random, shares, users);
            for (cell, users) in users
                .into_iter()
                .enumerate()
                .filter(|(_, users)| *users > 0)
            {
                counts[cell] = users * OF_USER;
                self.users.push((vec![(cell, OF_USER)], users));
            }
            return counts;
        }
        let mut ends = Vec::with_capacity(shares.len());
        for share in shares {
            ends.push(ends.last().copied().unwrap_or(0.0) + share);
        }
        for _ in 0..users {
            let answer = |_| {
                let at = random.uniform();
                let cell = ends.partition_point(|end| *end <= at);
                (cell.min(shares.len() - 1), OF_USER / answers)
            };
            let mut user: Vec<(usize, u64)> = (0..answers).map(answer).collect();
            user.sort_unstable();
            for (cell, rows) in &user {
                counts[*cell] += rows;
            }
            self.users.push((together(user), 1));
        }
        counts
    }

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
    // Seldom asked for, and dear.
    let mut at_mode: Option<f64> = None;
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
        let h = *at_mode.get_or_insert_with(|| ln_gamma(mode + 1.0) + ln_gamma(n - mode + 1.0));
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
