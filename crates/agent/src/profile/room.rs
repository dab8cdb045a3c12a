//! How much memory counting may take, however many columns and segments are asked for.
//!
//! Rows are counted in [`LANES`] parts, each part all rows and those of every segment: what is kept of single rows would grow
//! with all of these. So there is one room for all, and each has its share. What hangs on it is the same for the same
//! question, whatever machine answers it.

use windlass_statistics::drift::bounded::ROWS;
use windlass_statistics::drift::classifier::MIN_UNITS;

use super::column::Kind;
use super::sketch::Asked;

/// In how many parts rows are counted, whatever works at it.
pub const LANES: usize = 8;
/// Values of rows by unit, over all columns, parts and segments: 128 MiB.
const UNIT_VALUES: usize = 16 << 20;
/// Rows of one part; more would tell no more.
const UNIT_ROWS: usize = 25_000;
/// Bytes of rows that are kept for a classifier.
const SAMPLE_BYTES: usize = 256 << 20;
/// Numbers of the vectors that are kept of a column: a profile has them, of 4 bytes each.
const SAMPLE_NUMBERS: usize = 400_000;
/// Bytes of a text that is kept, at most.
const TEXT_BYTES: usize = 4096;
/// Bytes of what is counted at once, and of one column in one part, about: a thousand cells of five numbers each.
const COUNTED_BYTES: usize = 512 << 20;
const COLUMN_BYTES: usize = 48 << 10;

/// What one part may keep of all rows, or of those of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Rows by unit.
    pub unit_rows: usize,
    /// Bytes of the rows of a column.
    sample_bytes: usize,
}

impl Room {
    /// Where so many segments are counted of these columns, beside all rows.
    pub fn of(columns: &[Asked], segments: usize) -> Self {
        let parts = LANES * (segments + 1);
        let many = columns.len().max(1);
        let is_sampled = |asked: &&Asked| asked.kind.is_sampled();
        let sampled = columns.iter().filter(is_sampled).count().max(1);
        Self {
            unit_rows: (UNIT_VALUES / parts / many).min(UNIT_ROWS),
            sample_bytes: SAMPLE_BYTES / parts / sampled,
        }
    }

    /// What all parts together may keep: as much of single rows as each of them was allowed.
    #[must_use]
    pub fn together(self) -> Self {
        Self {
            unit_rows: self.unit_rows * LANES,
            ..self
        }
    }

    /// How many rows of a column are kept for a classifier; 0 where they would be too few for it.
    pub fn sample(&self, kind: Kind) -> usize {
        let most = match kind {
            Kind::Number | Kind::Category => 0,
            Kind::Text => self.sample_bytes / TEXT_BYTES,
            Kind::Embedding(width) => {
                let width = width.max(1);
                (self.sample_bytes / 4 / width).min((SAMPLE_NUMBERS / width).max(3 * MIN_UNITS))
            }
        };
        if most < MIN_UNITS { 0 } else { most.min(ROWS) }
    }
}

/// How many columns are counted at once, where so many segments are beside all rows: what is done with is merged before more
/// are begun.
pub fn columns_at_once(segments: usize) -> usize {
    (COUNTED_BYTES / COLUMN_BYTES / LANES / (segments + 1)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(kinds: &[Kind]) -> Vec<Asked> {
        let asked = |kind: &Kind| Asked {
            name: String::new(),
            kind: *kind,
            starts: Vec::new(),
        };
        kinds.iter().map(asked).collect()
    }

    #[test]
    fn a_few_columns_have_all_that_is_of_use() {
        let kinds = [Kind::Number, Kind::Text, Kind::Embedding(100)];
        let room = Room::of(&asked(&kinds), 0);
        assert_eq!(room.together().unit_rows, 200_000);
        // A thousand of them have enough for users of a hundred rows.
        let wide = Room::of(&asked(&vec![Kind::Number; 1000]), 0);
        assert_eq!(wide.together().unit_rows, 16_776);
        assert_eq!(room.sample(Kind::Text), 2000);
        assert_eq!(room.sample(Kind::Embedding(100)), 2000);
        // What a profile holds of it is bounded too.
        assert_eq!(room.sample(Kind::Embedding(1000)), 400);
        // Of very wide ones there is room for no more, however few that are.
        assert_eq!(room.sample(Kind::Embedding(100_000)), 41);
        assert_eq!(room.sample(Kind::Embedding(1_000_000)), 0);
    }

    #[test]
    fn what_all_parts_keep_is_bounded_however_much_is_asked_for() {
        for (columns, segments) in [(1, 0), (50, 20), (1000, 0), (1000, 20), (3, 1000)] {
            let numbers = asked(&vec![Kind::Number; columns]);
            let room = Room::of(&numbers, segments);
            let parts = LANES * (segments + 1);
            assert!(room.unit_rows * columns * parts <= 16 << 20);
            let texts = Room::of(&asked(&vec![Kind::Text; columns]), segments);
            let bytes = texts.sample(Kind::Text) * 4096 * columns * parts;
            assert!(bytes <= 256 << 20, "{bytes}");
            let counted = columns_at_once(segments) * parts * COLUMN_BYTES;
            assert!(counted <= COUNTED_BYTES.max(parts * COLUMN_BYTES));
        }
        assert_eq!((columns_at_once(0), columns_at_once(20)), (1365, 65));
    }
}
