//! How soon the operator answers to changes, from the audit log.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;

use crate::shared::figures::{Figure, count, goal};
use crate::support::Bed;
use crate::support::audit::{Mark, Write, read};

/// From each change of an object to the operator's first write for it after that. `is_change` tells changes from what else is
/// written; `of` names the object that a write is for.
pub fn answers(
    bed: &Bed,
    user: &str,
    since: Mark,
    is_change: impl Fn(&Write) -> bool,
    of: impl Fn(&Write) -> Option<String>,
) -> Result<Vec<Duration>> {
    let mut all = read(&bed.cluster, since);
    all.sort_by(|one, other| one.at.cmp(&other.at));
    let mut waiting = HashMap::<String, Timestamp>::new();
    let mut answers = Vec::new();
    for write in all.iter().filter(|write| write.code < 300) {
        let Some(name) = of(write) else {
            continue;
        };
        let at: Timestamp = write.at.parse()?;
        if write.user == user && write.counts() {
            if let Some(asked) = waiting.remove(&name) {
                answers.push(at.duration_since(asked).try_into()?);
            }
        } else if is_change(write) {
            waiting.entry(name).or_insert(at);
        }
    }
    answers.sort_unstable();
    Ok(answers)
}

/// What 99 of 100 took no longer than, in seconds.
pub fn p99(all: &[Duration]) -> Result<f64> {
    let at = all.len() * 99 / 100;
    let found = all.get(at.min(all.len().saturating_sub(1)));
    Ok(found.context("nothing was answered")?.as_secs_f64())
}

/// That all were answered.
pub fn all_answered(name: &str, answered: usize, changed: usize) -> Figure {
    let missing = changed.saturating_sub(answered);
    let name = format!("{name}: changes without an answer");
    goal(name, count(missing), "1", "0", missing == 0)
}
