//! How often intervals hold the truth, and how often a model that is worse passes, by simulation.
//!
//! `make bench-statistics` runs it and writes `target/bench/statistics.json`.

#[path = "../tests/simulation/mod.rs"]
mod simulation;

use std::path::Path;

use serde_json::{Value, json};
use simulation::{areas, coverage, coverage_of, coverage_paired, metrics, passes};
use windlass_statistics::fairness::Disparity;
use windlass_statistics::metric::Metric;

const RUNS: u32 = 10_000;
const ROWS: usize = 1000;

fn main() {
    let mut figures = Vec::new();
    let mut tell = |name: String, value: f64, goal: &str, holds: bool| {
        println!(
            "{name:55} {value:.4}   {goal:12} {}",
            if holds { "holds" } else { "DOES NOT HOLD" }
        );
        figures
            .push(json!({"name": name, "value": value, "unit": "1", "goal": goal, "holds": holds}));
    };
    let within = |share: f64| (0.94..=0.96).contains(&share);
    for metric in metrics() {
        let share = coverage(metric, RUNS, ROWS, 21);
        tell(
            format!("coverage: {metric}"),
            share,
            "0.94 to 0.96",
            within(share),
        );
    }
    for metric in metrics() {
        let share = coverage_paired(metric, RUNS, ROWS, 22);
        // Calibration errors that may both be of chance, and areas, are compared more carefully than is needed.
        let is_careful = matches!(metric, Metric::ExpectedCalibrationError | Metric::RocAuc);
        let (goal, holds) = if is_careful {
            (">= 0.94", share >= 0.94)
        } else {
            ("0.94 to 0.96", within(share))
        };
        let name = format!("coverage of a comparison: {metric}");
        tell(name, share, goal, holds);
    }
    for disparity in [
        Disparity::DemographicParity,
        Disparity::EqualOpportunity,
        Disparity::EqualisedOdds,
    ] {
        let share = coverage_of(disparity, RUNS, ROWS, 23);
        tell(
            format!("coverage: {disparity:?}"),
            share,
            ">= 0.94",
            share >= 0.94,
        );
    }
    for (champion, positives, rows) in [
        (0.8, 20, 200),
        (0.95, 20, 200),
        (0.95, 60, 200),
        (0.99, 60, 200),
        (0.95, 300, 1000),
        (0.99, 300, 1000),
    ] {
        let found = areas(champion, positives, rows, RUNS, 26);
        let of = format!("rocAuc {champion}, {positives} of {rows} rows positive");
        let cover = found.cover;
        tell(format!("coverage: {of}"), cover, ">= 0.94", cover >= 0.94);
        let passes = found.pass_at_margin;
        tell(
            format!("gate: {of}, worse by the margin, passes"),
            passes,
            "<= 0.05",
            passes <= 0.05,
        );
    }
    let worse = passes(0.01, RUNS, 3000, 24);
    tell(
        "gate: worse by the margin on one segment, passes".to_owned(),
        worse,
        "<= 0.05",
        worse <= 0.05,
    );
    for rows in [3000, 9000, 30_000] {
        let same = passes(0.0, RUNS / 10, rows, 25);
        tell(
            format!("gate: no difference, {rows} rows, passes"),
            same,
            "printed",
            true,
        );
    }
    write(&figures);
    let missed = figures.iter().filter(|figure| figure["holds"] == false);
    let missed = missed.count();
    if missed > 0 {
        eprintln!("{missed} of {} figures do not hold", figures.len());
        std::process::exit(1);
    }
}

fn write(figures: &[Value]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bench");
    std::fs::create_dir_all(&folder).expect("the folder is made");
    let text = serde_json::to_string_pretty(figures).expect("figures always serialize");
    std::fs::write(folder.join("statistics.json"), text).expect("the figures are written");
}
