//! Names by how often they come, in bounded memory, with Apache DataSketches.
//!
//! Exact while there are at most [`MOST`] different ones. From there on the most frequent are kept (Misra & Gries 1982, as
//! Anderson et al. 2017, "A high-performance algorithm for identifying frequent items in data streams", have it), each with
//! the least count that it can have had; what is missing there counts to all others. How many different names there were is
//! told to some 1.6% (HyperLogLog: Flajolet et al. 2007, with the estimator of Lang's historical inverse probability).

use std::collections::BTreeMap;

use datasketches::common::NumStdDev;
use datasketches::frequencies::{ErrorType, FrequentItemsSketch};
use datasketches::hll::{HllSketch, HllType, HllUnion};
use serde::{Deserialize, Serialize};

/// How many different names are counted exactly.
pub const MOST: usize = MAP * 3 / 4;
/// Places of the map, of which three quarters are used.
const MAP: usize = 1 << 14;
/// The logarithm of how many counters tell how many different names there are.
const COUNTERS: u8 = 12;

/// How often names came.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Frequent {
    names: FrequentItemsSketch<String>,
    distinct: HllSketch,
}

impl Default for Frequent {
    fn default() -> Self {
        Self {
            names: FrequentItemsSketch::new(MAP).expect("a power of two"),
            distinct: HllSketch::new(COUNTERS, HllType::Hll8).expect("from 4 to 21"),
        }
    }
}

impl Frequent {
    /// Takes a name that came so often.
    pub fn add(&mut self, name: &str, rows: u64) {
        self.names.update_with_count_ref(name, rows);
        self.distinct.update(name);
    }

    /// Takes the names that another has seen.
    pub fn merge(&mut self, other: &Self) {
        self.names.merge(&other.names);
        let mut both = HllUnion::new(COUNTERS).expect("from 4 to 21");
        both.update(&self.distinct);
        both.update(&other.distinct);
        self.distinct = both.to_sketch(HllType::Hll8);
    }

    /// Lays out what is kept by its names, and not by the way in which it came to be.
    ///
    /// When there are too many names to keep, which ones go depends on where they lie, and one that was written and read again
    /// lies elsewhere. Of two that are settled and have the same, the same comes, whether one was written or not.
    pub fn settle(&mut self) {
        let written = Written::from(self.clone());
        *self = Self::try_from(written).expect("it was written by the same");
    }

    /// How many names came, the same ones too.
    pub fn rows(&self) -> u64 {
        self.names.total_weight()
    }

    /// How many different names there were, to some 1.6%; exact where the counts are.
    pub fn distinct(&self) -> f64 {
        if self.is_exact() {
            crate::float(self.names.num_active_items())
        } else {
            self.distinct.estimate()
        }
    }

    /// How many there were at least, at 95% and one side.
    pub fn distinct_at_least(&self) -> f64 {
        if self.is_exact() {
            self.distinct()
        } else {
            self.distinct.lower_bound(NumStdDev::Two)
        }
    }

    /// Whether each name is counted exactly.
    pub fn is_exact(&self) -> bool {
        self.names.maximum_error() == 0
    }

    /// The most frequent names, so many at most, with the least that each can have come; of equals, those first in the
    /// alphabet. Also how often all others came.
    pub fn levels(&self, most: usize) -> (BTreeMap<String, u64>, u64) {
        let threshold = 0;
        let mut rows = self
            .names
            .frequent_items_with_threshold(ErrorType::NoFalseNegatives, threshold);
        rows.sort_by(|one, other| {
            let by_count = other.lower_bound().cmp(&one.lower_bound());
            by_count.then_with(|| one.item().cmp(other.item()))
        });
        let levels: BTreeMap<String, u64> = rows
            .into_iter()
            .take(most)
            .map(|row| (row.item().clone(), row.lower_bound()))
            .collect();
        let named: u64 = levels.values().sum();
        (levels, self.rows() - named)
    }
}

/// Both sketches as Apache DataSketches writes them, but for the order of what they hold: that of its bytes.
#[derive(Serialize, Deserialize)]
struct Written {
    names: Vec<u8>,
    distinct: Vec<u8>,
}

impl From<Frequent> for Written {
    fn from(frequent: Frequent) -> Self {
        Self {
            names: by_name(frequent.names.serialize()),
            distinct: by_coupon(frequent.distinct.serialize()),
        }
    }
}

impl TryFrom<Written> for Frequent {
    type Error = datasketches::error::Error;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        Ok(Self {
            names: FrequentItemsSketch::deserialize(&written.names)?,
            distinct: HllSketch::deserialize(&written.distinct)?,
        })
    }
}

/// Bytes before the counts of names, in a sketch that has any; how many there are is told by four of them.
const HEAD: usize = 32;
const COUNT: std::ops::Range<usize> = 8..12;

/// A sketch of names with these in their order. First all counts are written, and then all names, each with its length.
fn by_name(sketch: Vec<u8>) -> Vec<u8> {
    let Some((head, entries)) = sketch.split_at_checked(HEAD) else {
        return sketch;
    };
    let number = |bytes: &[u8]| -> usize {
        let bytes = bytes.try_into().expect("four bytes");
        u32::from_le_bytes(bytes) as usize
    };
    let (counts, mut names) = entries.split_at(8 * number(&head[COUNT]));
    let mut all: Vec<(&[u8], &[u8])> = Vec::with_capacity(counts.len() / 8);
    for count in counts.chunks_exact(8) {
        let (name, others) = names.split_at(4 + number(&names[..4]));
        all.push((name, count));
        names = others;
    }
    all.sort_unstable();
    let counts = all.iter().flat_map(|(_, count)| *count);
    let names = all.iter().flat_map(|(name, _)| *name);
    head.iter().chain(counts).chain(names).copied().collect()
}

/// Bytes before what a small sketch of how many names there were knows of each, in four bytes; and which byte tells that it is
/// such a one.
const COUPONS: usize = 12;
const MODE: usize = 7;
const IS_SET: u8 = 1;

/// A sketch of how many names there were, with what it knows of each in its order.
fn by_coupon(mut sketch: Vec<u8>) -> Vec<u8> {
    if sketch[MODE] & 3 == IS_SET {
        let (coupons, _) = sketch[COUPONS..].as_chunks_mut::<4>();
        coupons.sort_unstable();
    }
    sketch
}

#[cfg(test)]
#[allow(clippy::float_cmp)] // exact by construction
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn few_names_are_counted_exactly_however_they_are_parted() {
        let (mut all, mut parts) = (
            Frequent::default(),
            [Frequent::default(), Frequent::default()],
        );
        for row in 0..9000_u64 {
            let name = format!("n{}", row % 700);
            all.add(&name, 1);
            parts[usize::from(row % 3 == 0)].add(&name, 1);
        }
        let [mut one, other] = parts;
        one.merge(&other);
        assert!(one.is_exact() && one.rows() == 9000);
        assert_eq!(one.levels(1000), all.levels(1000));
        assert_eq!(one.distinct(), 700.0);
        let (levels, others) = one.levels(10);
        assert_eq!((levels.len(), others), (10, 9000 - 130));
        assert!(
            levels.contains_key("n0") && !levels.contains_key("n699"),
            "{levels:?}"
        );
        assert_eq!(Frequent::default().levels(3), (BTreeMap::new(), 0));
    }

    /// Zipf's law over 100,000 names, as they come, the frequent ones first, and last; in one part and in four. The error is
    /// within what Anderson et al. promise of each: 3.5 of all names over the places of the map, and that within what is known;
    /// and of how many there are, within three deviations of Flajolet et al., 1.04 over the root of the counters.
    #[test]
    fn of_a_hundred_thousand_names_the_frequent_ones_are_right_in_whatever_order_they_come() {
        const ROWS: usize = 400_000;
        let mut random = Random::new(8);
        let harmonic = 100_000_f64.ln();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let drawn: Vec<u64> = (0..ROWS)
            .map(|_| (random.uniform() * harmonic).exp() as u64)
            .collect();
        let mut exact: BTreeMap<u64, u64> = BTreeMap::new();
        for name in &drawn {
            *exact.entry(*name).or_default() += 1;
        }
        let mut first = drawn.clone();
        first.sort_unstable();
        let last: Vec<u64> = first.iter().rev().copied().collect();
        for (order, names) in [("drawn", &drawn), ("first", &first), ("last", &last)] {
            for parts in [1, 4] {
                let mut all = Frequent::default();
                for part in names.chunks(ROWS / parts) {
                    let mut of_part = Frequent::default();
                    for name in part {
                        of_part.add(&name.to_string(), 1);
                    }
                    all.merge(&of_part);
                }
                let of = format!("{order} in {parts}");
                assert!(!all.is_exact(), "{of}");
                let promised = 3.5 / crate::float(MAP) * crate::float(ROWS);
                let known = crate::float(all.names.maximum_error());
                println!("{of}: {known}, at most {promised:.1}; {}", all.distinct());
                assert!(known <= promised, "{of}: {known} {promised}");
                let distinct = crate::float(exact.len());
                let apart = (all.distinct() / distinct - 1.0).abs();
                let most = 3.0 * 1.04 / f64::from(1_u32 << COUNTERS).sqrt();
                assert!(apart < most, "{of}: {apart}");
                assert!(all.distinct_at_least() < distinct * 1.02, "{of}");
                let (levels, others) = all.levels(1000);
                assert_eq!(levels.values().sum::<u64>() + others, ROWS as u64);
                for (name, rows) in exact.iter().filter(|(_, rows)| **rows > 400) {
                    let found = levels[&name.to_string()];
                    let missing = crate::float(rows - found);
                    assert!(missing <= known, "{of}: {name}: {found} {rows}");
                }
            }
        }
    }

    /// Few names and very many, and counts of how many there are in each of the ways in which they are kept.
    #[test]
    fn what_is_settled_goes_on_alike_whether_it_was_written_or_not() {
        let mut random = Random::new(5);
        for levels in [0, 3, 20, 300, 9000, 40_000, 200_000_u32] {
            let mut parts = [Frequent::default(), Frequent::default()];
            for row in 0..levels {
                let name = format!("name {}", random.bits() % u64::from(levels));
                parts[usize::from(row % 3 == 0)].add(&name, 1 + random.bits() % 7);
            }
            parts.iter_mut().for_each(Frequent::settle);
            let merged = |parts: &[Frequent]| {
                let mut all = Frequent::default();
                for part in parts {
                    all.merge(part);
                }
                all
            };
            let read = parts.clone().map(|part| {
                let written = serde_json::to_vec(&part).expect("JSON");
                serde_json::from_slice::<Frequent>(&written).expect("as it was")
            });
            for (part, read) in parts.iter().zip(&read) {
                // Also where in its table each name lies.
                assert_eq!(format!("{:?}", part.names), format!("{:?}", read.names));
                assert_eq!(part.distinct, read.distinct, "{levels}");
            }
            let (here, there) = (merged(&parts), merged(&read));
            assert_eq!(here.levels(10_000), there.levels(10_000), "{levels} levels");
            assert_eq!(here.distinct, there.distinct, "{levels} levels");
            assert_eq!(here.rows(), there.rows());
        }
    }
}
