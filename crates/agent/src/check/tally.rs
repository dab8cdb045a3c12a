//! The values of a column, counted in the cells of its reference, and how far they have moved.

use std::collections::BTreeMap;

use arrow::array::ArrayRef;
use windlass_api::agent::{ColumnDrift, ColumnProfile, Distribution};
use windlass_statistics::bins;
use windlass_statistics::drift::method::Method;
use windlass_statistics::mean::Mean;
use windlass_statistics::psi::{Categories, Psi};

use crate::data::column;
use crate::profile::column::name;
use crate::profile::document::pooled_as;
use crate::profile::{OTHER, PREDICTION};

/// A difference of means below this many standard deviations is not what moved.
const NOTABLE_SHIFT: f64 = 0.1;

/// How many levels that the reference has not are kept by their names.
const MAX_NEW_LEVELS: usize = 1000;

/// The values of a column, counted in the cells of its reference: in memory that the reference bounds.
pub(crate) struct Tally<'a> {
    reference: &'a ColumnProfile,
    nulls: u64,
    seen: Seen,
}

enum Seen {
    Number { counts: Vec<u64>, mean: Mean },
    Category { levels: BTreeMap<String, u64> },
}

impl<'a> Tally<'a> {
    /// Nothing counted.
    pub(crate) fn of(reference: &'a ColumnProfile) -> Self {
        let seen = match &reference.distribution {
            Distribution::Number { edges, .. } => Seen::Number {
                counts: vec![0; edges.len() + 1],
                mean: Mean::default(),
            },
            Distribution::Category { .. } => Seen::Category {
                levels: BTreeMap::new(),
            },
            Distribution::Text { .. } | Distribution::Embedding { .. } => {
                unreachable!("texts and vectors are left out before")
            }
        };
        Self {
            reference,
            nulls: 0,
            seen,
        }
    }

    /// Counts values.
    ///
    /// # Errors
    /// A sentence, where the reference is of numbers and a value is none.
    pub(crate) fn add(&mut self, values: &ArrayRef) -> Result<(), String> {
        match (&mut self.seen, &self.reference.distribution) {
            (Seen::Number { counts, mean }, Distribution::Number { edges, .. }) => {
                for value in column::numbers(values)? {
                    let Some(value) = value else {
                        self.nulls += 1;
                        continue;
                    };
                    // The profile has what is infinite in its end bins too, or not at all.
                    counts[bins::bin(edges, value)] += 1;
                    if value.is_finite() {
                        mean.add(value);
                    }
                }
            }
            (Seen::Category { levels }, Distribution::Category { counts }) => {
                for value in column::texts(values)? {
                    let Some(value) = value else {
                        self.nulls += 1;
                        continue;
                    };
                    let value = name(&value).into_owned();
                    // Levels that the reference has not are of one cell; their names are for the words alone.
                    let is_named = levels.len() < counts.len() + MAX_NEW_LEVELS
                        || counts.contains_key(&value)
                        || levels.contains_key(&value);
                    let name = if is_named { value } else { OTHER.to_owned() };
                    *levels.entry(name).or_default() += 1;
                }
            }
            (Seen::Number { .. } | Seen::Category { .. }, _) => {
                unreachable!("a tally is made for its reference")
            }
        }
        Ok(())
    }

    /// How far the column has moved.
    pub(crate) fn drift(&self, threshold: f64, confidence: f64) -> ColumnDrift {
        let column = self.reference.name.clone();
        let (psi, moved) = self.index();
        let lower = psi.lower(confidence);
        ColumnDrift {
            column,
            method: Method::Psi.name().to_owned(),
            value: psi.value,
            lower,
            threshold,
            drifted: lower > threshold,
            moved,
        }
    }

    fn index(&self) -> (Psi, String) {
        let nulls = self.reference.nulls;
        match (&self.seen, &self.reference.distribution) {
            (
                Seen::Number { counts, mean },
                Distribution::Number {
                    counts: old_counts,
                    mean: old_mean,
                    standard_deviation,
                    ..
                },
            ) => {
                let old = Numbers {
                    counts: old_counts.clone(),
                    nulls,
                    mean: *old_mean,
                    deviation: *standard_deviation,
                };
                let new = Numbers {
                    counts: counts.clone(),
                    nulls: self.nulls,
                    mean: mean.value().unwrap_or(0.0),
                    deviation: mean.standard_deviation(),
                };
                // A request that failed has no answer: the rollout's business, not drift.
                let skip_nulls = self.reference.name == PREDICTION;
                let psi = Psi::of_counts(&old.cells(skip_nulls), &new.cells(skip_nulls));
                (psi, moved_number(&old, &new))
            }
            (Seen::Category { levels }, Distribution::Category { counts }) => {
                let old = Categories {
                    levels: counts.clone(),
                    nulls,
                };
                let new = Categories {
                    levels: pooled_as(counts, levels),
                    nulls: self.nulls,
                };
                (Psi::of_categories(&old, &new), moved_category(&old, &new))
            }
            (Seen::Number { .. } | Seen::Category { .. }, _) => {
                unreachable!("a tally is made for its reference")
            }
        }
    }
}

/// What is known of a number.
struct Numbers {
    counts: Vec<u64>,
    nulls: u64,
    mean: f64,
    deviation: f64,
}

impl Numbers {
    fn cells(&self, skip_nulls: bool) -> Vec<u64> {
        let mut cells = self.counts.clone();
        if !skip_nulls {
            cells.push(self.nulls);
        }
        cells
    }
}

fn moved_number(old: &Numbers, new: &Numbers) -> String {
    let null_share =
        |side: &Numbers| share(side.nulls, side.counts.iter().sum::<u64>() + side.nulls);
    let (old_nulls, new_nulls) = (null_share(old), null_share(new));
    if (new_nulls - old_nulls).abs() >= 0.1 {
        return format!("no value {} → {}", percent(old_nulls), percent(new_nulls));
    }
    if (new.mean - old.mean).abs() >= NOTABLE_SHIFT * old.deviation
        || (new.deviation - old.deviation).abs() <= f64::EPSILON * old.deviation
    {
        return format!("mean {} → {}", short(old.mean), short(new.mean));
    }
    format!(
        "standard deviation {} → {}",
        short(old.deviation),
        short(new.deviation)
    )
}

fn moved_category(old: &Categories, new: &Categories) -> String {
    let of = |side: &Categories, level: &str| {
        share(side.levels.get(level).copied().unwrap_or(0), side.rows())
    };
    let nulls = (share(old.nulls, old.rows()), share(new.nulls, new.rows()));
    let most = old
        .levels
        .keys()
        .chain(new.levels.keys())
        .map(|level| (of(old, level), of(new, level), format!("'{level}'")))
        .chain([(nulls.0, nulls.1, "no value".to_owned())])
        .max_by(|a, b| (a.1 - a.0).abs().total_cmp(&(b.1 - b.0).abs()));
    most.map_or_else(String::new, |(before, after, level)| {
        format!("{level} {} → {}", percent(before), percent(after))
    })
}

#[allow(clippy::cast_precision_loss)] // counts of rows
fn share(part: u64, all: u64) -> f64 {
    if all == 0 {
        0.0
    } else {
        part as f64 / all as f64
    }
}

fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 0.0 && percent < 10.0 {
        format!("{percent:.1}%")
    } else {
        format!("{percent:.0}%")
    }
}

/// About three digits.
fn short(value: f64) -> String {
    match value.abs() {
        size if size == 0.0 || (100.0..1e6).contains(&size) => format!("{value:.0}"),
        size if (1.0..100.0).contains(&size) => format!("{value:.1}"),
        size if (0.001..1.0).contains(&size) => format!("{value:.3}"),
        _ => format!("{value:.2e}"),
    }
}
