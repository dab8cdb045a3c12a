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
use windlass_statistics::drift::bounded::Bounded;
use windlass_statistics::drift::decide::{Asked, Rule, judge};
use windlass_statistics::drift::embedding::{self, Embeddings};
use windlass_statistics::drift::verdict::Verdict;
use windlass_statistics::drift::{Effect, classifier};
use windlass_statistics::random::Random;

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
    vectors(&mut report);
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

/// Vectors of a hundred numbers, five hundred rows a side: without drift, and moved by 0.3 deviations in every dimension. Far
/// fewer windows than of columns, since a window is a hundred thousand draws.
fn vectors(report: &mut Report) {
    const ROWS: usize = 500;
    const WIDTH: usize = 100;
    let windows = 500;
    let mut random = Random::new(601);
    let mut draw = |mean: f64| {
        let (mut sums, mut rows) = (Embeddings::new(WIDTH), Bounded::new(ROWS));
        for _ in 0..ROWS {
            #[allow(clippy::cast_possible_truncation)] // of the size of 1
            let row: Vec<f32> = (0..WIDTH)
                .map(|_| (mean + random.normal()) as f32)
                .collect();
            let key = random.bits();
            sums.add(key, &row);
            rows.add(key, key, || row);
        }
        (sums, rows)
    };
    let is_named = |effect: Effect, threshold: f64| {
        let asked = Asked {
            column: "vector".to_owned(),
            effect,
            threshold,
            beside: None,
        };
        judge(&[asked], Rule::default())[0].has_drifted
    };
    for (name, mean) in [("no drift", 0.0), ("drift of 0.3 deviations", 0.3)] {
        let [mut by_mean, mut by_classifier, mut significant, mut bare] = [0; 4];
        for _ in 0..windows {
            let ((old, old_rows), (new, new_rows)) = (draw(0.0), draw(mean));
            let moved = embedding::distance(&old, &new).expect("rows").effect;
            let told = classifier::of_vectors(&old_rows, &new_rows).expect("rows");
            by_mean += usize::from(is_named(moved, 0.2));
            by_classifier += usize::from(is_named(told.effect, 0.1));
            significant += usize::from(told.effect.p_value() <= 0.05);
            // In units of one deviation of one dimension, as it is where there is none to norm by.
            bare += usize::from(moved.raw() * ratio(WIDTH, 1).sqrt() > 0.2);
        }
        let of = format!("{name}, {ROWS} vectors of {WIDTH} numbers: windows");
        for (what, named) in [("mean", by_mean), ("classifier", by_classifier)] {
            let share = ratio(named, windows);
            let (goal, holds) = if mean > 0.0 {
                (">= 0.99", share >= 0.99)
            } else {
                ("<= 0.002", share <= 0.002)
            };
            report.tell(&format!("{of} named by {what}"), share, goal, holds);
        }
        report.print(
            &format!("{of} significant by classifier at 5%"),
            ratio(significant, windows),
        );
        report.print(
            &format!("peer: a bare distance of means above 0.2: {of}"),
            ratio(bare, windows),
        );
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
