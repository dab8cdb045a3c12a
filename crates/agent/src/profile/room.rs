//! How much memory counting may take, however many columns and segments are asked for.
//!
//! Rows are counted in [`LANES`] parts, each part all rows and those of every segment: what is kept of single rows would grow
//! with all of these. So there is one room for all, and each has its share. What hangs on it is the same for the same
//! question, whatever machine answers it.

use windlass_statistics::drift::bounded::ROWS;
use windlass_statistics::drift::classifier::MIN_UNITS;
use windlass_statistics::drift::embedding::GROUPS;
use windlass_statistics::frequent::MOST as MOST_LEVELS;

use super::column::Kind;
use super::sketch::Asked;
use super::times::{MOST_NAMES, MOST_STRETCHES};

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
/// Bytes of what is counted at once.
const COUNTED_BYTES: usize = 512 << 20;
/// Bytes of a level's name, at most.
pub const NAME_BYTES: usize = 256;
/// Bytes of what is counted of columns by time, in all parts of it together, once rows were merged.
const TIME_BYTES: usize = 256 << 20;
/// The hours of a week, the months of a year, and stretches.
const TIME_PARTS: usize = 168 + 12 + MOST_STRETCHES;
/// Cells of a number in a part of the time. With more it is hardly better known, with fewer not well enough.
const TIME_CELLS: usize = 64;
const LEAST_TIME_CELLS: usize = 16;
/// Bytes of a cell.
const CELL_BYTES: usize = 40;
/// Bytes of numbers that are in no cell yet.
const PENDING_BYTES: usize = 4 << 10;
/// Bytes of a name's place and count.
const COUNT_BYTES: usize = 48;

/// What one part may keep of all rows, or of those of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Rows by unit.
    pub unit_rows: usize,
    /// The same of those of a segment.
    segment_unit_rows: usize,
    /// Bytes of the rows of a column.
    sample_bytes: usize,
    /// Cells of a number in a part of the time; with none, columns are not counted by it.
    pub time_cells: usize,
}

impl Room {
    /// Where so many segments are counted of these columns, beside all rows.
    pub fn of(columns: &[Asked], segments: usize) -> Self {
        let parts = LANES * (segments + 1);
        let many = columns.len().max(1);
        // The verdict is on all rows: they have half of the room, whatever segments there are.
        let of_whole = if segments > 0 {
            UNIT_VALUES / 2
        } else {
            UNIT_VALUES
        };
        let of_segments = UNIT_VALUES - of_whole;
        let of_segment = of_segments / LANES / segments.max(1);
        let is_sampled = |asked: &&Asked| asked.kind.is_sampled();
        let sampled = columns.iter().filter(is_sampled).count().max(1);
        Self {
            unit_rows: (of_whole / LANES / many).min(UNIT_ROWS),
            segment_unit_rows: (of_segment / many).min(UNIT_ROWS),
            sample_bytes: SAMPLE_BYTES / parts / sampled,
            time_cells: time_cells(many * (segments + 1)),
        }
    }

    /// What all parts together may keep: as much of single rows as each of them was allowed.
    #[must_use]
    pub fn together(self) -> Self {
        Self {
            unit_rows: self.unit_rows * LANES,
            segment_unit_rows: self.segment_unit_rows * LANES,
            ..self
        }
    }

    /// What may be kept of the rows of a segment.
    #[must_use]
    pub fn of_segment(self) -> Self {
        Self {
            unit_rows: self.segment_unit_rows,
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

/// Of so many columns, those of segments by themselves.
fn time_cells(columns: usize) -> usize {
    let cells = (TIME_BYTES / TIME_PARTS / CELL_BYTES / columns).min(TIME_CELLS);
    if cells < LEAST_TIME_CELLS { 0 } else { cells }
}

/// Bytes of what is counted of a column by time in one part, at most and about.
fn bytes_by_time(kind: Kind, cells: usize) -> usize {
    let of_a_part = match kind {
        Kind::Number => cells * CELL_BYTES + PENDING_BYTES,
        Kind::Category => MOST_NAMES * (NAME_BYTES + CELL_BYTES),
        Kind::Text | Kind::Embedding(_) => 0,
    };
    TIME_PARTS * of_a_part
}

/// Bytes of what is counted of a column in one part, at most and about, but for rows that are kept of it.
fn bytes(kind: Kind) -> usize {
    match kind {
        // A thousand cells of five numbers each.
        Kind::Number => 48 << 10,
        Kind::Category => MOST_LEVELS * (NAME_BYTES + COUNT_BYTES),
        Kind::Text => 1 << 10,
        // Sums of 16 bytes by groups of units, and those of squares.
        Kind::Embedding(width) => {
            let sums = usize::try_from(GROUPS)
                .unwrap_or(usize::MAX)
                .saturating_add(1);
            sums.saturating_mul(16).saturating_mul(width)
        }
    }
}

/// How many of these columns, from the first on, are counted at once, where so many segments are beside all rows: what is done
/// with is merged before more are begun. One at least. By time, they are counted in so many cells, or not with none.
pub fn at_once(columns: &[Asked], segments: usize, time_cells: usize) -> usize {
    let room = COUNTED_BYTES / LANES / (segments + 1);
    let mut taken = 0_usize;
    let fits = |asked: &&Asked| {
        taken = taken.saturating_add(bytes(asked.kind));
        if time_cells > 0 {
            taken = taken.saturating_add(bytes_by_time(asked.kind, time_cells));
        }
        taken <= room
    };
    columns.iter().take_while(fits).count().max(1)
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
            let of_segments = room.of_segment().unit_rows * segments;
            assert!((room.unit_rows + of_segments) * columns * LANES <= 16 << 20);
            let texts = Room::of(&asked(&vec![Kind::Text; columns]), segments);
            let bytes = texts.sample(Kind::Text) * 4096 * columns * parts;
            assert!(bytes <= 256 << 20, "{bytes}");
        }
    }

    #[test]
    fn as_many_columns_are_counted_at_once_as_there_is_room_for_what_they_may_hold() {
        let at_once =
            |kind: Kind, segments: usize| super::at_once(&asked(&vec![kind; 2000]), segments, 0);
        assert_eq!(
            (at_once(Kind::Number, 0), at_once(Kind::Number, 20)),
            (1365, 65)
        );
        // Twelve thousand names of 256 bytes each are 3.6 MiB, in each of 8 or of 168 parts.
        assert_eq!(
            (at_once(Kind::Category, 0), at_once(Kind::Category, 20)),
            (17, 1)
        );
        // Of vectors it is their width that counts.
        let of_vectors = [8, 1000, 100_000].map(|width| at_once(Kind::Embedding(width), 0));
        assert_eq!(of_vectors, [2000, 64, 1]);
        let mixed = [Kind::Number, Kind::Embedding(100_000), Kind::Number];
        assert_eq!(super::at_once(&asked(&mixed), 0, 0), 1);
        assert_eq!(super::at_once(&[], 0, 0), 1);
        for segments in [0, 3, 20, 1000] {
            for kind in [
                Kind::Number,
                Kind::Category,
                Kind::Text,
                Kind::Embedding(768),
            ] {
                let counted = at_once(kind, segments) * bytes(kind) * LANES * (segments + 1);
                let of_one = bytes(kind) * LANES * (segments + 1);
                assert!(counted <= COUNTED_BYTES.max(of_one), "{kind:?} {segments}");
            }
        }
    }

    #[test]
    fn by_time_fewer_columns_are_counted_at_once_and_of_too_many_none_are() {
        let cells = |columns: usize, segments: usize| {
            Room::of(&asked(&vec![Kind::Number; columns]), segments).time_cells
        };
        assert_eq!([cells(50, 0), cells(500, 0), cells(50, 9)], [64, 35, 35]);
        assert_eq!([cells(2000, 0), cells(100, 20)], [0, 0]);
        for kind in [Kind::Number, Kind::Category] {
            let columns = asked(&vec![kind; 2000]);
            let many = super::at_once(&columns, 0, 64);
            let counted = many * (bytes(kind) + bytes_by_time(kind, 64)) * LANES;
            assert!(many < 40 && counted <= COUNTED_BYTES, "{kind:?}: {many}");
        }
        let texts = asked(&vec![Kind::Text; 2000]);
        assert_eq!(super::at_once(&texts, 0, 64), super::at_once(&texts, 0, 0));
    }

    /// A thousand columns and twenty segments: half of the room is that of all rows, on which the verdict is.
    #[test]
    fn segments_leave_all_rows_enough_to_tell_what_they_are_worth() {
        let wide = asked(&vec![Kind::Number; 1000]);
        let rows = |segments: usize| Room::of(&wide, segments).together();
        assert_eq!((rows(0).unit_rows, rows(20).unit_rows), (16_776, 8384));
        assert_eq!(
            (
                rows(1).of_segment().unit_rows,
                rows(20).of_segment().unit_rows
            ),
            (8384, 416)
        );
    }
}
