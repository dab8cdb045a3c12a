//! How often intervals hold the truth, how often a model that is worse passes, and how roll-outs end, by simulation.
//!
//! `make bench-statistics` runs it and writes `target/bench/statistics.json`.

#[path = "../tests/simulation/mod.rs"]
mod simulation;

use std::path::Path;

use serde_json::{Value, json};
use simulation::rollouts::{
    LEVELS, Traffic, bound, by_peeking, by_threshold, decide, ever_wrong, found_late, median,
};
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
    rollouts(&mut tell);
    write(&figures);
    let missed = figures.iter().filter(|figure| figure["holds"] == false);
    let missed = missed.count();
    if missed > 0 {
        eprintln!("{missed} of {} figures do not hold", figures.len());
        std::process::exit(1);
    }
}

/// Roll-outs by the share of errors: how often a canary is wrongly taken back, and how soon rightly.
fn rollouts(tell: &mut impl FnMut(String, f64, &str, bool)) {
    for share in [0.0, 0.001, 0.01, 0.05] {
        for ratio in [1, 4, 19] {
            let traffic = Traffic {
                canary: share,
                stable: share,
                ratio,
            };
            let ended = decide(traffic, RUNS, 31);
            let of = format!("roll-out: no difference, {share} of errors, {ratio} to 1");
            let wrong = ended.share_harmed();
            tell(format!("{of}: taken back"), wrong, "<= 0.01", wrong <= 0.01);
            let requests = median(&ended.passed);
            tell(format!("{of}: passes, requests"), requests, "printed", true);
        }
    }
    for ratio in [1, 4, 19] {
        let traffic = |canary| Traffic {
            canary,
            stable: 0.01,
            ratio,
        };
        let ended = decide(traffic(0.04), RUNS, 32);
        let of = format!("roll-out: 4% against 1% of errors, {ratio} to 1");
        let found = ended.share_harmed();
        tell(format!("{of}: taken back"), found, ">= 0.99", found >= 0.99);
        let requests = median(&ended.harmed);
        let (goal, holds) = match ratio {
            1 => ("printed", true),
            _ => ("<= 600", requests <= 600.0),
        };
        tell(format!("{of}: requests"), requests, goal, holds);
        let least = bound(traffic(0.04), LEVELS[0]);
        tell(format!("{of}: information bound"), least, "printed", true);
        let [harm, pass] = ever_wrong(traffic(0.015), 4000, RUNS, 33);
        let of = format!("roll-out: worse by what is allowed, {ratio} to 1, 200 looks");
        tell(
            format!("{of}: ever called worse"),
            harm,
            "<= 0.01",
            harm <= 0.01,
        );
        tell(
            format!("{of}: ever called no worse"),
            pass,
            "<= 0.05",
            pass <= 0.05,
        );
    }
    late(tell);
    // What others do, on the same traffic.
    let of = |canary| Traffic {
        canary,
        stable: 0.01,
        ratio: 4,
    };
    for (what, checks) in [
        ("threshold, 1 failed check of 10", [10, 1]),
        ("threshold, 3 failed checks of 10", [10, 3]),
    ] {
        let same = by_threshold(of(0.01), checks, RUNS, 34);
        let worse = by_threshold(of(0.04), checks, RUNS, 35);
        let name = |what_of: &str| format!("peer: {what}: {what_of}");
        tell(
            name("no difference, taken back"),
            same.share_harmed(),
            "printed",
            true,
        );
        tell(
            name("4% against 1%, taken back"),
            worse.share_harmed(),
            "printed",
            true,
        );
        tell(
            name("4% against 1%, requests"),
            median(&worse.harmed),
            "printed",
            true,
        );
    }
    let peeked = by_peeking(of(0.01), 100, 0.05, RUNS, 36);
    let name = "peer: z test at 5%, 100 looks: no difference, significant";
    tell(name.to_owned(), peeked, "printed", true);
}

/// Harm that begins after so many good requests of one step.
fn late(tell: &mut impl FnMut(String, f64, &str, bool)) {
    let traffic = Traffic {
        canary: 0.01,
        stable: 0.01,
        ratio: 4,
    };
    for good in [2_000, 20_000] {
        let [all, begun] = found_late(traffic, (good, 0.04), LEVELS[0], RUNS / 10, 37);
        let of = format!("roll-out: 4% against 1% of errors after {good} good requests");
        let (slow, soon) = (median(&all.0), median(&begun.0));
        let name = format!("{of}: requests, by all that was seen");
        tell(name, slow, "printed", true);
        let holds = soon <= slow || good < 10_000;
        let name = format!("{of}: requests, by bets that begin late");
        tell(name, soon, "no more", holds);
        let wrong = begun.1;
        let name = format!("{of}: called worse before");
        tell(name, wrong, "<= 0.01", wrong <= 0.01);
    }
    // Worse by just what is allowed, for good.
    let worst = Traffic {
        canary: 0.015,
        ..traffic
    };
    let [_, (_, wrong)] = found_late(worst, (20_000, 0.015), LEVELS[0], RUNS / 10, 38);
    let name =
        "roll-out: worse by what is allowed, 1,000 looks, bets that begin late: ever called worse";
    tell(name.to_owned(), wrong, "<= 0.01", wrong <= 0.01);
}

fn write(figures: &[Value]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bench");
    std::fs::create_dir_all(&folder).expect("the folder is made");
    let text = serde_json::to_string_pretty(figures).expect("figures always serialize");
    std::fs::write(folder.join("statistics.json"), text).expect("the figures are written");
}
