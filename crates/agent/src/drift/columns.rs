//! Columns of a window against those of the reference.

use std::collections::BTreeMap;

use windlass_api::agent::{ColumnDrift, ColumnProfile, Distribution, FailureReport, Profile};
use windlass_statistics::bins;
use windlass_statistics::mean::Mean;
use windlass_statistics::psi::{Categories, Psi};

use crate::data::{Dataset, column, is_all_null};
use crate::profile::PREDICTION;

/// A difference of means below this many standard deviations is not what moved.
const NOTABLE_SHIFT: f64 = 0.1;

/// What keeps the rows from being compared, in words; absent when nothing does.
pub fn broken(reference: &Profile, data: &Dataset) -> Result<Option<String>, FailureReport> {
    let there = data.columns();
    let (mut missing, mut empty, mut not_numbers) = (Vec::new(), Vec::new(), Vec::new());
    for column in &reference.columns {
        let name = format!("'{}'", column.name);
        if !there.contains(&column.name) {
            missing.push(name);
            continue;
        }
        let values = data.column(&column.name)?;
        if is_all_null(values) && column.nulls < reference.rows {
            empty.push(name);
        } else if matches!(column.distribution, Distribution::Number { .. })
            && column::numbers(values).is_err()
        {
            not_numbers.push(name);
        }
    }
    let about = |columns: Vec<String>, what: &str| {
        (!columns.is_empty()).then(|| format!("{what}: {}", columns.join(", ")))
    };
    let found: Vec<String> = [
        about(
            missing,
            "columns of the reference that the payloads have not",
        ),
        about(empty, "columns without any value in the window"),
        about(
            not_numbers,
            "columns that are numbers in the reference but not in the payloads",
        ),
    ]
    .into_iter()
    .flatten()
    .collect();
    Ok((!found.is_empty()).then(|| found.join("; ")))
}

/// The drift of one column.
pub fn compare(
    reference: &ColumnProfile,
    data: &Dataset,
    threshold: f64,
    confidence: f64,
) -> Result<ColumnDrift, FailureReport> {
    let name = &reference.name;
    let about = |problem: String| data.unreadable(&format!("column '{name}': {problem}"));
    let values = data.column(name)?;
    let (psi, moved) = match &reference.distribution {
        Distribution::Number {
            edges,
            counts,
            mean,
            standard_deviation,
        } => {
            let values = column::numbers(values).map_err(about)?;
            let old = Numbers {
                counts: counts.clone(),
                nulls: reference.nulls,
                mean: *mean,
                deviation: *standard_deviation,
            };
            numbers(edges, &old, &values, name == PREDICTION)
        }
        Distribution::Category { counts } => {
            let old = Categories {
                levels: counts.clone(),
                nulls: reference.nulls,
            };
            let mut levels: BTreeMap<String, u64> = BTreeMap::new();
            let mut nulls = 0;
            for value in column::texts(values).map_err(about)? {
                match value {
                    Some(value) => *levels.entry(value).or_default() += 1,
                    None => nulls += 1,
                }
            }
            let new = Categories { levels, nulls };
            (Psi::of_categories(&old, &new), moved_category(&old, &new))
        }
    };
    let lower = psi.lower(confidence);
    Ok(ColumnDrift {
        column: name.clone(),
        psi: psi.value,
        lower,
        threshold,
        drifted: lower > threshold,
        moved,
    })
}

/// What is known of a number.
struct Numbers {
    counts: Vec<u64>,
    nulls: u64,
    mean: f64,
    deviation: f64,
}

fn numbers(
    edges: &[f64],
    old: &Numbers,
    values: &[Option<f64>],
    skip_nulls: bool,
) -> (Psi, String) {
    let known = || values.iter().copied().flatten();
    let spread: Mean = known().filter(|value| value.is_finite()).collect();
    let counts = bins::counts(edges, known());
    let nulls = values.iter().filter(|value| value.is_none()).count() as u64;
    let new = Numbers {
        counts,
        nulls,
        mean: spread.value().unwrap_or(0.0),
        deviation: spread.standard_deviation(),
    };
    let cells = |side: &Numbers| {
        let mut cells = side.counts.clone();
        // A request that failed has no answer: the rollout's business, not drift.
        if !skip_nulls {
            cells.push(side.nulls);
        }
        cells
    };
    (
        Psi::of_counts(&cells(old), &cells(&new)),
        moved_number(old, &new),
    )
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
