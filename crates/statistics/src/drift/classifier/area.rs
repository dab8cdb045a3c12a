//! The area under the ROC curve of one block of rows, and how well it is known.

use std::collections::BTreeMap;

use crate::float;

/// A row that a score was given to by what was learned of others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Tried {
    pub(super) score: f64,
    /// 0 of the reference, 1 of the window.
    pub(super) side: usize,
    pub(super) unit: u64,
}

/// What was seen in a block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Block {
    pub(super) area: f64,
    pub(super) counts: [u64; 2],
    pub(super) rows: [f64; 2],
    /// The area's variance, were rows independent.
    pub(super) of_rows: f64,
    /// That by units.
    pub(super) of_units: f64,
}

impl Block {
    /// Absent with fewer than two rows of either side.
    ///
    /// Source: DeLong, DeLong & Clarke-Pearson (1988): a row's placement is the share of the other side's rows that it stands
    /// right to, ties counted half; variances of placements over rows. By units, what their rows add is added up first
    /// (Obuchowski 1997), also where a unit has rows on both sides.
    pub(super) fn of(mut tried: Vec<Tried>) -> Option<Self> {
        let count = |side| tried.iter().filter(|row| row.side == side).count() as u64;
        let counts = [count(0), count(1)];
        if counts.iter().any(|rows| *rows < 2) {
            return None;
        }
        let rows = counts.map(float);
        tried.sort_by(|one, other| one.score.total_cmp(&other.score));
        let mut placed: Vec<(Tried, f64)> = Vec::with_capacity(tried.len());
        let mut below = [0.0; 2];
        for tied in tried.chunk_by(|one, other| one.score - other.score == 0.0) {
            let at = |side| float(tied.iter().filter(|row| row.side == side).count());
            let at = [at(0), at(1)];
            let placement = |row: &Tried| {
                let other = 1 - row.side;
                let under = (below[other] + at[other] / 2.0) / rows[other];
                if row.side == 1 { under } else { 1.0 - under }
            };
            placed.extend(tied.iter().map(|row| (*row, placement(row))));
            below = [below[0] + at[0], below[1] + at[1]];
        }
        let of_window = placed.iter().filter(|(row, _)| row.side == 1);
        let area = of_window.map(|(_, placement)| placement).sum::<f64>() / rows[1];
        let (mut of_rows, mut units) = (0.0, BTreeMap::new());
        for (row, placement) in &placed {
            let adds = (placement - area) / (rows[row.side] * (rows[row.side] - 1.0)).sqrt();
            of_rows += adds * adds;
            *units.entry(row.unit).or_insert(0.0) += adds;
        }
        let of_units = units.into_values().map(|adds: f64| adds * adds).sum();
        Some(Self {
            area,
            counts,
            rows,
            of_rows,
            of_units,
        })
    }

    /// As how many pairs of rows it counts beside others.
    pub(super) fn weight(&self) -> f64 {
        self.rows[0] * self.rows[1] / (self.rows[0] + self.rows[1])
    }

    /// The area's variance without drift, of independent rows.
    pub(super) fn without_drift(&self) -> f64 {
        (self.rows[0] + self.rows[1] + 1.0) / (12.0 * self.rows[0] * self.rows[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(rows: &[(f64, usize, u64)]) -> Block {
        let rows = rows.iter().map(|(score, side, unit)| Tried {
            score: *score,
            side: *side,
            unit: *unit,
        });
        Block::of(rows.collect()).expect("rows of both sides")
    }

    /// By hand: of the window 3, 2 and 2, of the reference 1 and 2. Right are 3 pairs of 1, one of 2, and two halves.
    #[test]
    fn an_area_and_its_variance_by_hand() {
        let block = of(&[
            (3.0, 1, 1),
            (2.0, 1, 2),
            (2.0, 1, 3),
            (1.0, 0, 4),
            (2.0, 0, 5),
        ]);
        assert!((block.area - 5.0 / 6.0).abs() < 1e-12, "{block:?}");
        // Placements of the window 1, 3/4, 3/4; of the reference 1, 2/3.
        let of_window: f64 = 1.0 / 36.0 + 2.0 / 144.0;
        let expected = of_window / 6.0 + 2.0 / 36.0 / 2.0;
        assert!((block.of_rows - expected).abs() < 1e-12, "{block:?}");
        assert!((block.of_units - expected).abs() < 1e-12);
        assert!((block.weight() - 6.0 / 5.0).abs() < 1e-12);
        assert!((block.without_drift() - 6.0 / 72.0).abs() < 1e-12);
    }

    #[test]
    fn rows_of_a_unit_that_are_alike_count_once() {
        let rows: Vec<(f64, usize, u64)> = (0..100_u32)
            .map(|at| {
                let unit = u64::from(at / 10);
                (
                    f64::from((at / 10 * 7) % 10),
                    usize::from(at % 20 >= 10),
                    unit,
                )
            })
            .collect();
        let block = of(&rows);
        let ratio = block.of_units / block.of_rows;
        assert!((ratio - 10.0).abs() < 1e-9, "{ratio}");
        assert_eq!(Block::of(vec![]), None);
    }
}
