//! Whether what a profile says of times is as it is written.

use std::collections::BTreeSet;

use windlass_api::agent::{CategoryPart, ColumnTimes, Distribution, NumberPart, TimePart, Times};

use super::{Checked, ensure, more, of_bins, sum};

/// Far more stretches than are written.
const MOST_STRETCHES: usize = 4096;

/// Rows by time, of so many in all.
pub fn of_times(rows: u64, times: &Times) -> Checked {
    ensure(times.first <= times.last, || {
        format!("it begins at {} and ends at {}", times.first, times.last)
    })?;
    let hours = times.stretch_hours;
    ensure((1..=1 << 40).contains(&hours), || {
        format!("stretches of {hours} hours")
    })?;
    ensure(times.stretches.len() <= MOST_STRETCHES, || {
        format!("{} stretches", times.stretches.len())
    })?;
    for (what, parts, places) in [
        ("hours", &times.hours, 0..168),
        ("months", &times.months, 0..12),
        ("stretches", &times.stretches, -(1 << 40)..1 << 40),
    ] {
        let outside = parts.iter().find(|part| !places.contains(&part.0));
        ensure(outside.is_none(), || {
            format!(
                "{what}: there is none of number {:?}",
                outside.map(|of| of.0)
            )
        })?;
        let is_ascending = parts.windows(2).all(|pair| pair[0].0 < pair[1].0);
        ensure(is_ascending, || format!("{what} do not ascend"))?;
        let all = sum(parts.iter().map(|part| &part.1))?;
        ensure(all <= rows, || {
            format!("{what}: {}", more(all, "rows", rows))
        })?;
    }
    Ok(())
}

/// A column's values by time.
pub fn of_column(
    times: Option<&Times>,
    distribution: &Distribution,
    by_time: &ColumnTimes,
) -> Checked {
    let Some(times) = times else {
        return Err("values by time, and no times".to_owned());
    };
    let parts = times.hours.iter().chain(&times.months);
    let parts: Vec<&TimePart> = parts.chain(&times.stretches).collect();
    match (distribution, by_time) {
        (Distribution::Number { .. }, ColumnTimes::Number { edges, parts: of }) => {
            are_many(of.len(), parts.len())?;
            for (NumberPart(nulls, mean, deviation, counts), part) in of.iter().zip(parts) {
                of_bins(edges, counts)?;
                let is_number = mean.is_finite() && deviation.is_finite() && *deviation >= 0.0;
                ensure(is_number, || {
                    format!("a mean of {mean} and a standard deviation of {deviation} by time")
                })?;
                are_of(*nulls, counts, part)?;
            }
        }
        (Distribution::Category { .. }, ColumnTimes::Category { levels, parts: of }) => {
            are_many(of.len(), parts.len())?;
            let known: BTreeSet<&String> = levels.iter().collect();
            ensure(known.len() == levels.len(), || {
                "a category by time is there twice".to_owned()
            })?;
            for (CategoryPart(nulls, counts), part) in of.iter().zip(parts) {
                ensure(counts.len() == levels.len(), || {
                    format!("{} counts of {} categories", counts.len(), levels.len())
                })?;
                are_of(*nulls, counts, part)?;
            }
        }
        (
            Distribution::Number { .. }
            | Distribution::Category { .. }
            | Distribution::Text { .. }
            | Distribution::Embedding { .. },
            _,
        ) => return Err("its values by time are of another type".to_owned()),
    }
    Ok(())
}

fn are_many(parts: usize, times: usize) -> Checked {
    ensure(parts == times, || {
        format!("values in {parts} parts of the time, of which there are {times}")
    })
}

fn are_of(nulls: u64, counts: &[u64], part: &TimePart) -> Checked {
    let all = sum(counts.iter().chain([&nulls]))?;
    ensure(all <= part.1, || {
        format!("a part of the time: {}", more(all, "values", part.1))
    })
}
