//! How often a monitor of a hundred columns says that there is drift where there is none, and how soon it finds what there
//! is; beside it, what others say of the same draws by default.
//!
//! `make bench-statistics` runs it and writes `target/bench/statistics-drift.json`. Thirty columns are categories of 10 to
//! 1,000 levels, seventy are numbers; the reference is a draw too. What is counted as a false alarm is stricter than the
//! verdict `Drifted`, for which by default three of ten columns have to drift: it is that any column of the window is named.
//! And drift is found when any is.

#[path = "../tests/simulation/mod.rs"]
mod simulation;

use std::path::Path;

use serde_json::{Value, json};
use simulation::drift::peers::PEERS;
use simulation::drift::{Judged, Rows, Setting, monitors, share};
use windlass_statistics::drift::verdict::Verdict;

/// Columns that drift, of a hundred: to a PSI of 0.25, where the threshold is 0.2.
const DRIFTED: usize = 30;

struct Report {
    figures: Vec<Value>,
}

impl Report {
    fn tell(&mut self, name: &str, value: f64, goal: &str, holds: bool) {
        let said = if holds { "holds" } else { "DOES NOT HOLD" };
        println!("{name:88} {value:.4}   {goal:10} {said}");
        self.figures.push(json!({
            "name": name, "value": value, "unit": "1", "goal": goal, "holds": holds
        }));
    }

    fn print(&mut self, name: &str, value: f64) {
        self.tell(name, value, "printed", true);
    }
}

fn main() {
    let mut report = Report {
        figures: Vec::new(),
    };
    let independent = |reference, window| Setting {
        reference,
        window,
        rows: Rows::Independent,
        drifted: 0,
    };
    for (at, (reference, window)) in [
        (500, 500),
        (10_000, 500),
        (1000, 1000),
        (5000, 5000),
        (50_000, 50_000),
        (1_000_000, 1_000_000),
    ]
    .into_iter()
    .enumerate()
    {
        let setting = independent(reference, window);
        let of = format!("{reference} against {window} rows");
        quiet(&mut report, &of, setting, 1000, 200 + at as u64);
        loud(&mut report, &of, setting, 1000, 300 + at as u64);
    }
    for (at, (rows, answers, count)) in [
        (500, 1, 100),
        (5000, 1, 100),
        (20_000, 1, 100),
        (100_000, 1, 100),
        (1_000_000, 1, 100),
        (5000, 4, 100),
        (20_000, 4, 100),
        (100_000, 4, 50),
    ]
    .into_iter()
    .enumerate()
    {
        let setting = Setting {
            rows: Rows::OfUsers { answers },
            ..independent(rows, rows)
        };
        let of = format!("{rows} rows, 20 a user of {answers} different");
        quiet(&mut report, &of, setting, count, 400 + at as u64);
        if rows >= 100_000 {
            loud(&mut report, &of, setting, 100, 500 + at as u64);
        }
    }
    write(&report.figures);
    let missed = report
        .figures
        .iter()
        .filter(|figure| figure["holds"] == false);
    let missed = missed.count();
    if missed > 0 {
        eprintln!("{missed} of {} figures do not hold", report.figures.len());
        std::process::exit(1);
    }
}

fn is_named(judged: &Judged) -> bool {
    matches!(judged.verdict, Verdict::Drifting | Verdict::Drifted)
}

/// Without drift: ten windows of each monitor.
fn quiet(report: &mut Report, of: &str, setting: Setting, count: u64, seed: u64) {
    let all = monitors(setting, count, 10, seed);
    let windows: Vec<&Judged> = all.iter().flatten().collect();
    let named = share(&windows, |one| is_named(one));
    let name = format!("no drift, {of}: windows with any column named");
    report.tell(&name, named, "<= 0.001", named <= 0.001);
    let drifted = share(&windows, |one| one.verdict == Verdict::Drifted);
    let name = format!("no drift, {of}: windows Drifted");
    report.tell(&name, drifted, "<= 0.001", drifted <= 0.001);
    let few = share(&windows, |one| one.verdict == Verdict::NotEnoughData);
    if few > 0.0 {
        report.print(&format!("no drift, {of}: windows NotEnoughData"), few);
    }
    for (at, peer) in PEERS.iter().enumerate() {
        let name = |what: &str| format!("peer: {peer}: no drift, {of}: {what}");
        let (drifted, looked) = windows.iter().fold((0, 0), |(drifted, looked), one| {
            (drifted + one.peers[at][0], looked + one.peers[at][1])
        });
        report.print(&name("columns"), ratio(drifted, looked));
        let any = share(&windows, |one| one.peers[at][0] > 0);
        report.print(&name("windows with any column"), any);
    }
}

/// With drift in thirty columns: two windows of each monitor.
fn loud(report: &mut Report, of: &str, setting: Setting, count: u64, seed: u64) {
    let setting = Setting {
        drifted: DRIFTED,
        ..setting
    };
    let all = monitors(setting, count, 2, seed);
    let found = share(&all, |windows| windows.iter().any(is_named));
    let name = format!("drift, {of}: found within 2 windows");
    report.tell(&name, found, ">= 0.99", found >= 0.99);
    let windows: Vec<&Judged> = all.iter().flatten().collect();
    let (named, rightly) = windows.iter().fold((0, 0), |(named, rightly), one| {
        (named + one.drifted, rightly + one.rightly)
    });
    let wrong = ratio(named - rightly, named);
    let name = format!("drift, {of}: of the columns named, wrongly");
    report.tell(&name, wrong, "<= 0.05", wrong <= 0.05);
    let truly = ratio(rightly, windows.len() * DRIFTED);
    report.print(
        &format!("drift, {of}: of the columns that drift, named"),
        truly,
    );
    for least in [0.3, 0.2, 0.1] {
        let both = share(&all, |windows| {
            windows
                .iter()
                .all(|one| ratio(one.drifted, 100) + 1e-9 >= least)
        });
        let name = format!("drift, {of}: both windows Drifted by a share of {least}");
        report.print(&name, both);
    }
}

fn ratio(part: usize, all: usize) -> f64 {
    let float = |count: usize| f64::from(u32::try_from(count).expect("fewer"));
    float(part) / float(all.max(1))
}

fn write(figures: &[Value]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bench");
    std::fs::create_dir_all(&folder).expect("the folder is made");
    let text = serde_json::to_string_pretty(figures).expect("figures always serialize");
    std::fs::write(folder.join("statistics-drift.json"), text).expect("the figures are written");
}
