//! Figures: what was measured, what was promised, and whether it holds.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;

/// One line of the result, as every benchmark of the project writes it.
#[derive(Serialize)]
pub struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
    goal: Option<String>,
    holds: Option<bool>,
}

/// A figure that nothing was promised of.
pub fn figure(name: impl Into<String>, value: f64, unit: &'static str) -> Figure {
    Figure {
        name: name.into(),
        value,
        unit,
        goal: None,
        holds: None,
    }
}

/// A figure with a promise.
pub fn goal(
    name: impl Into<String>,
    value: f64,
    unit: &'static str,
    goal: &str,
    holds: bool,
) -> Figure {
    Figure {
        name: name.into(),
        value,
        unit,
        goal: Some(goal.to_owned()),
        holds: Some(holds),
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "counts of a benchmark are far below 2^52"
)]
pub fn count(number: usize) -> f64 {
    number as f64
}

#[allow(clippy::cast_precision_loss, reason = "memory is far below 2^52 bytes")]
pub fn bytes(number: u64) -> f64 {
    number as f64
}

/// Writes figures down as `target/bench/NAME.json`.
pub fn write(name: &str, figures: &[Figure]) -> Result<()> {
    write_to(&format!("target/bench/{name}.json"), figures)
}

/// Writes them down in a file of this path below the checkout.
pub fn write_to(path: &str, figures: &[Figure]) -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(&path, serde_json::to_string_pretty(figures)?)
        .with_context(|| format!("writing {}", path.display()))
}

/// Prints the table, writes it down, and fails where a goal is missed.
pub fn print(name: &str, figures: &[Figure]) -> Result<()> {
    table(figures);
    write(name, figures)?;
    println!("written to target/bench/{name}.json");
    all_hold(figures)
}

/// Fails where a goal is missed.
pub fn all_hold(figures: &[Figure]) -> Result<()> {
    let missed = figures.iter().filter(|figure| figure.holds == Some(false));
    let missed: Vec<&str> = missed.map(|figure| figure.name.as_str()).collect();
    ensure!(missed.is_empty(), "a goal is missed: {missed:?}");
    Ok(())
}

/// Prints the table.
pub fn table(figures: &[Figure]) {
    println!(
        "{:<58} {:>14} {:<6} {:<24}",
        "figure", "value", "unit", "goal"
    );
    for figure in figures {
        let held = figure
            .holds
            .map_or("", |holds| if holds { " holds" } else { " MISSED" });
        println!(
            "{:<58} {:>14.2} {:<6} {:<24}{held}",
            figure.name,
            figure.value,
            figure.unit,
            figure.goal.as_deref().unwrap_or("")
        );
    }
}
