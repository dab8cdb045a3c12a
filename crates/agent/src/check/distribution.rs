//! `sameDistributionAs`: the columns of an input against the profile of the data that the champion was trained on.
//!
//! ```text
//!   rows ──one stream──> a Tally for each column of the profile ──> PSI, its lower bound
//! ```
//!
//! The statistic is that of `drift`: a column has moved when the lower confidence bound of its Population Stability
//! Index, the bias at these sizes taken off, is above what is allowed.
//!
//! Absent on purpose: columns that the profile has not. Nothing is known of how they were.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray};
use arrow::datatypes::DataType;
use datafusion::dataframe::DataFrame;
use datafusion::error::{DataFusionError, Result};
use futures::StreamExt;
use tracing::info;
use windlass_api::agent::{ColumnProfile, Distribution, Profile};

use super::prepared::Prepared;
use super::rules::{Rule, What};
use super::tally::Tally;
use super::values::{Column, Kind};
use super::wording::{Finding, counted, example};
use crate::data::engine::Engine;

/// Confidence of the bound, one-sided, as `drift` has it by default.
const CONFIDENCE: f64 = 0.95;

/// How many columns that moved a message names.
const NAMED: usize = 3;

/// Judges all rules about distributions of an input, in one reading of its rows.
pub(super) async fn judge(
    engine: &Engine,
    of: &Prepared<'_>,
    findings: &mut [Option<Finding>],
) -> Result<()> {
    let name = &of.source.name;
    let limits = of
        .rules
        .iter()
        .enumerate()
        .filter_map(|(place, rule)| match rule.what {
            What::SameDistribution { max_psi } if findings[place].is_none() => {
                Some((place, rule, max_psi))
            }
            _ => None,
        });
    let limits: Vec<_> = limits.collect();
    if limits.is_empty() {
        return Ok(());
    }
    let Some(reference) = &of.reference else {
        info!(
            input = name,
            "there is no profile to compare the distributions with, so they hold"
        );
        return Ok(());
    };
    let references: Vec<&ColumnProfile> = reference
        .columns
        .iter()
        .filter(|column| is_counted(column))
        .filter(|column| {
            let mut rules = limits.iter().map(|(_, rule, _)| &rule.column);
            rules.any(|of| of.as_ref().is_none_or(|of| *of == column.name))
        })
        .collect();
    let frame = of.source.frame(&engine.serial)?;
    let seen = Seen::read(frame, &of.columns, &references).await?;
    for (place, rule, max_psi) in limits {
        let compared = compared(rule, reference);
        if compared.is_empty() {
            let column = rule.column.as_deref().unwrap_or_default();
            info!(
                input = name,
                column, "the profile does not tell how it was distributed, so it holds"
            );
        }
        findings[place] = seen.judge(&compared, max_psi);
    }
    Ok(())
}

/// The columns of a profile that a rule speaks of.
fn compared<'a>(rule: &Rule, profile: &'a Profile) -> Vec<&'a ColumnProfile> {
    let columns = profile.columns.iter();
    columns
        .filter(|profile| is_counted(profile))
        .filter(|profile| {
            rule.column
                .as_ref()
                .is_none_or(|column| *column == profile.name)
        })
        .collect()
}

/// Whether a column is of what has cells that rows can be counted in: texts and vectors have none.
fn is_counted(profile: &ColumnProfile) -> bool {
    match profile.distribution {
        Distribution::Number { .. } | Distribution::Category { .. } => true,
        Distribution::Text { .. } | Distribution::Embedding { .. } => false,
    }
}

/// What was seen of each column, by its name.
#[derive(Default)]
struct Seen<'a> {
    columns: BTreeMap<&'a str, SeenColumn<'a>>,
    /// Columns whose values cannot be what the profile's were, and their types.
    unlike: BTreeMap<&'a str, DataType>,
}

struct SeenColumn<'a> {
    tally: Tally<'a>,
    /// Rows with what is no number, and one of them.
    strange: u64,
    strangest: Option<String>,
}

impl<'a> Seen<'a> {
    /// Reads the rows once.
    async fn read(
        frame: DataFrame,
        columns: &[Column],
        references: &[&'a ColumnProfile],
    ) -> Result<Self> {
        let mut seen: Vec<(&'a ColumnProfile, SeenColumn<'a>)> = Vec::new();
        let mut selected = Vec::new();
        let mut unlike = BTreeMap::new();
        for reference in references {
            let Some(column) = columns.iter().find(|column| column.name == reference.name) else {
                continue;
            };
            let is_unlike = match reference.distribution {
                Distribution::Number { .. } => {
                    matches!(column.kind, Kind::Timestamp | Kind::Other) && !column.is_text()
                }
                Distribution::Category { .. }
                | Distribution::Text { .. }
                | Distribution::Embedding { .. } => column.kind == Kind::Other,
            };
            if is_unlike {
                unlike.insert(reference.name.as_str(), column.data_type.clone());
                continue;
            }
            let place = selected.len();
            let values = match reference.distribution {
                Distribution::Number { .. } => column.number(),
                Distribution::Category { .. }
                | Distribution::Text { .. }
                | Distribution::Embedding { .. } => column.text(),
            };
            selected.push(values.alias(format!("v{place}")));
            selected.push(column.text().alias(format!("t{place}")));
            let column = SeenColumn {
                tally: Tally::of(reference),
                strange: 0,
                strangest: None,
            };
            seen.push((reference, column));
        }
        if seen.is_empty() {
            return Ok(Self {
                unlike,
                ..Self::default()
            });
        }
        let mut rows = frame.select(selected)?.execute_stream().await?;
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            for (place, (_, column)) in seen.iter_mut().enumerate() {
                let (values, texts) = (batch.column(2 * place), batch.column(2 * place + 1));
                column
                    .tally
                    .add(values)
                    .map_err(DataFusionError::Execution)?;
                let texts = texts.as_string::<i32>();
                for row in
                    (0..batch.num_rows()).filter(|row| values.is_null(*row) && texts.is_valid(*row))
                {
                    column.strange += 1;
                    column
                        .strangest
                        .get_or_insert_with(|| texts.value(row).to_owned());
                }
            }
        }
        Ok(Self {
            columns: seen
                .into_iter()
                .map(|(reference, column)| (reference.name.as_str(), column))
                .collect(),
            unlike,
        })
    }

    /// What is wrong with the columns that a rule speaks of; absent where they have not moved.
    fn judge(&self, references: &[&ColumnProfile], max_psi: f64) -> Option<Finding> {
        let mut wrong = Vec::new();
        for reference in references {
            let name = &reference.name;
            if let Some(data_type) = self.unlike.get(name.as_str()) {
                wrong.push(format!(
                    "'{name}' was something else in the champion's data, and is {data_type}"
                ));
                continue;
            }
            let Some(column) = self.columns.get(name.as_str()) else {
                wrong.push(format!(
                    "'{name}' was in the champion's data and is not there"
                ));
                continue;
            };
            if let Some(strange) = &column.strangest {
                let holds = counted(column.strange, "row holds", "rows hold");
                wrong.push(format!(
                    "'{name}' was a number in the champion's data, and {holds} none, such as '{}'",
                    example(strange)
                ));
                continue;
            }
            let drift = column.tally.drift(max_psi, CONFIDENCE);
            info!(
                column = name,
                psi = drift.value,
                lower = drift.lower,
                "{}",
                drift.moved
            );
            if drift.drifted {
                wrong.push(format!(
                    "'{name}' has moved ({}): its PSI is {:.2}, at least {:.2}",
                    drift.moved, drift.value, drift.lower
                ));
            }
        }
        if wrong.is_empty() {
            return None;
        }
        let more = match wrong.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(", and {more} more columns"),
        };
        let all = references.len();
        let of = if all == 1 {
            String::new()
        } else {
            format!("{} of {all} columns: ", wrong.len())
        };
        wrong.truncate(NAMED);
        Some(Finding::Broken(format!("{of}{}{more}", wrong.join(", "))))
    }
}
