//! The profile of an input's columns, made from a stream: what the next data are compared with.
//!
//! ```text
//!   rows ──first reading──> numbers: a sample of each, its mean   categories: their counts
//!        ──second reading─> rows in the bins that the samples' quantiles cut
//! ```
//!
//! The same files make the same profile. Memory is bounded by the number of columns: a sample of 20,000 numbers, or
//! 10,000 different texts, of each.
//!
//! Absent: times, lists and structures, and columns that name their row (ids), which no distribution describes.

use std::collections::{BTreeMap, HashMap};

use arrow::array::ArrayRef;
use datafusion::dataframe::DataFrame;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::Expr;
use futures::StreamExt;
use tracing::info;
use windlass_api::agent::{ColumnProfile, Distribution, Profile};
use windlass_statistics::bins;
use windlass_statistics::mean::Mean;

use super::values::{Column, Kind};
use crate::data::column;
use crate::profile::{BINS, OTHER, numbers};

/// How many numbers of a column the quantiles are taken from; the share of a bin is then off by some 0.2%.
const SAMPLE: usize = 20_000;

/// How many categories a profile names; the others are one.
const CATEGORIES: usize = 200;

/// How many different texts are counted: a column with more is no category.
const TEXTS: usize = 10_000;

/// A column of so many rows, no two of them the same, names its rows.
const ID_ROWS: usize = 200;

/// Reads the rows, twice where they are more than the samples hold.
pub(super) async fn profile(
    input: &str,
    frame: impl Fn() -> Result<DataFrame>,
    columns: &[Column],
    rows: u64,
) -> Result<Profile> {
    let mut taken: Vec<(&Column, Taken)> = columns
        .iter()
        .filter_map(|column| Taken::of(column.kind).map(|taken| (column, taken)))
        .collect();
    each(frame()?, &mut taken, Taken::add).await?;
    let mut kept = Vec::new();
    for (column, taken) in taken {
        match taken.binned(column.kind) {
            Ok(binned) => kept.push((column, binned)),
            Err(why) => info!(
                input,
                column = column.name,
                "is left out of the profile: {why}"
            ),
        }
    }
    let is_open = |binned: &Binned| matches!(binned, Binned::Number { counts: None, .. });
    if kept.iter().any(|(_, binned)| is_open(binned)) {
        let (mut open, closed): (Vec<_>, Vec<_>) =
            kept.into_iter().partition(|(_, binned)| is_open(binned));
        each(frame()?, &mut open, Binned::add).await?;
        kept = closed.into_iter().chain(open).collect();
    }
    // In the order of the input's columns.
    let mut by_name: HashMap<&str, Binned> = kept
        .into_iter()
        .map(|(column, binned)| (column.name.as_str(), binned))
        .collect();
    let columns = columns
        .iter()
        .filter_map(|column| Some(by_name.remove(column.name.as_str())?.profile(&column.name)))
        .collect();
    Ok(Profile {
        rows,
        columns,
        ..Profile::default()
    })
}

/// Hands each batch of each column to its counter, in the order of the rows.
async fn each<T>(
    frame: DataFrame,
    counters: &mut [(&Column, T)],
    add: fn(&mut T, &ArrayRef) -> std::result::Result<(), String>,
) -> Result<()> {
    if counters.is_empty() {
        return Ok(());
    }
    let selected: Vec<Expr> = counters
        .iter()
        .enumerate()
        .map(|(place, (column, _))| {
            let values = if column.kind.is_number() {
                column.number()
            } else {
                column.text()
            };
            values.alias(format!("v{place}"))
        })
        .collect();
    for mut stream in frame.select(selected)?.execute_stream_partitioned().await? {
        while let Some(batch) = stream.next().await {
            let batch = batch?;
            for ((_, counter), values) in counters.iter_mut().zip(batch.columns()) {
                add(counter, values).map_err(DataFusionError::Execution)?;
            }
        }
    }
    Ok(())
}

/// What is taken from a column in the first reading.
enum Taken {
    Number {
        nulls: u64,
        sample: Sample,
        mean: Mean,
        /// Rows with minus and plus infinity.
        infinite: [u64; 2],
    },
    Category {
        nulls: u64,
        counts: HashMap<String, u64>,
        /// There are more different texts than are counted.
        is_full: bool,
    },
}

impl Taken {
    fn of(kind: Kind) -> Option<Self> {
        match kind {
            Kind::Integer | Kind::Number => Some(Self::Number {
                nulls: 0,
                sample: Sample::default(),
                mean: Mean::default(),
                infinite: [0; 2],
            }),
            Kind::Text | Kind::Boolean => Some(Self::Category {
                nulls: 0,
                counts: HashMap::new(),
                is_full: false,
            }),
            Kind::Timestamp | Kind::Empty | Kind::Other => None,
        }
    }

    fn add(&mut self, values: &ArrayRef) -> std::result::Result<(), String> {
        match self {
            Self::Number {
                nulls,
                sample,
                mean,
                infinite,
            } => {
                for value in column::numbers(values)? {
                    match value {
                        None => *nulls += 1,
                        Some(value) if value.is_finite() => {
                            sample.add(value);
                            mean.add(value);
                        }
                        Some(value) => infinite[usize::from(value > 0.0)] += 1,
                    }
                }
            }
            Self::Category {
                nulls,
                counts,
                is_full,
            } => {
                for value in column::texts(values)? {
                    let Some(value) = value else {
                        *nulls += 1;
                        continue;
                    };
                    if let Some(count) = counts.get_mut(&value) {
                        *count += 1;
                    } else if counts.len() < TEXTS {
                        counts.insert(value, 1);
                    } else {
                        *is_full = true;
                    }
                }
            }
        }
        Ok(())
    }

    /// The cells of the column, or why it has none.
    fn binned(self, kind: Kind) -> std::result::Result<Binned, &'static str> {
        match self {
            Self::Number {
                nulls,
                sample,
                mean,
                infinite,
            } => {
                if sample.values.is_empty() {
                    return Err("it has no value");
                }
                if kind == Kind::Integer && sample.values.len() > ID_ROWS && sample.is_distinct() {
                    return Err("no whole number is there twice, as with ids");
                }
                let edges = bins::edges(&sample.values, BINS);
                let counts = sample.is_all().then(|| {
                    let mut counts = bins::counts(&edges, sample.values.iter().copied());
                    counts[0] += infinite[0];
                    *counts.last_mut().expect("a bin more than edges") += infinite[1];
                    counts
                });
                Ok(Binned::Number {
                    counting: vec![0; edges.len() + 1],
                    edges,
                    counts,
                    mean,
                    nulls,
                })
            }
            Self::Category {
                nulls,
                counts,
                is_full,
            } => {
                let rows: u64 = counts.values().sum();
                if counts.is_empty() {
                    return Err("it has no value");
                }
                if is_full || counts.len() > CATEGORIES && counts.len() as u64 * 2 > rows {
                    return Err("it has too many different texts to be a category");
                }
                Ok(Binned::Category {
                    nulls,
                    counts: pooled(counts),
                })
            }
        }
    }
}

/// The most frequent categories, and the others as one.
fn pooled(counts: HashMap<String, u64>) -> BTreeMap<String, u64> {
    let mut ranked: Vec<(String, u64)> = counts.into_iter().collect();
    ranked.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    if ranked.len() <= CATEGORIES {
        return ranked.into_iter().collect();
    }
    let rare = ranked.split_off(CATEGORIES - 1);
    let mut kept: BTreeMap<String, u64> = ranked.into_iter().collect();
    *kept.entry(OTHER.to_owned()).or_default() += rare.iter().map(|(_, count)| count).sum::<u64>();
    kept
}

/// The cells of a column.
enum Binned {
    Number {
        edges: Vec<f64>,
        /// Rows in each; absent while they have to be counted in a second reading.
        counts: Option<Vec<u64>>,
        counting: Vec<u64>,
        mean: Mean,
        nulls: u64,
    },
    Category {
        counts: BTreeMap<String, u64>,
        nulls: u64,
    },
}

impl Binned {
    fn add(&mut self, values: &ArrayRef) -> std::result::Result<(), String> {
        if let Self::Number {
            edges, counting, ..
        } = self
        {
            for value in column::numbers(values)?.into_iter().flatten() {
                counting[bins::bin(edges, value)] += 1;
            }
        }
        Ok(())
    }

    fn profile(self, name: &str) -> ColumnProfile {
        let (nulls, distribution) = match self {
            Self::Number {
                edges,
                counts,
                counting,
                mean,
                nulls,
            } => (nulls, numbers(edges, counts.unwrap_or(counting), &mean)),
            Self::Category { counts, nulls } => (nulls, Distribution::Category { counts }),
        };
        ColumnProfile {
            name: name.to_owned(),
            nulls,
            other_type: 0,
            distribution,
            worth: None,
            by_time: None,
        }
    }
}

/// Numbers of which each that was seen is among them with the same chance: Vitter's (1985) algorithm R, with a
/// generator that always begins the same.
#[derive(Default)]
struct Sample {
    values: Vec<f64>,
    seen: u64,
    state: u64,
}

impl Sample {
    fn add(&mut self, value: f64) {
        self.seen += 1;
        if self.values.len() < SAMPLE {
            self.values.push(value);
            return;
        }
        let place = usize::try_from(self.random() % self.seen).unwrap_or(usize::MAX);
        if let Some(there) = self.values.get_mut(place) {
            *there = value;
        }
    }

    fn is_all(&self) -> bool {
        self.seen == self.values.len() as u64
    }

    fn is_distinct(&self) -> bool {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.windows(2).all(|pair| pair[0] < pair[1])
    }

    /// Splitmix64 (Steele, Lea & Flood 2014).
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
