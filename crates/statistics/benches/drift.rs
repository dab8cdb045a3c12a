//! How often a monitor of a hundred columns says that there is drift where there is none, and how soon it finds what there
//! is; beside it, what others say of the same draws by default.
//!
//! `make bench-statistics` runs it and writes `target/bench/statistics-drift.json`. Thirty columns are categories of 10 to
//! 1,000 levels, seventy are numbers, of which twenty have no variance or no mean; the reference is a draw too. Each is judged
//! as the agent does: by PSI with the mean's shift beside it, and where users have twenty rows each by a design effect that is
//! estimated of a sample of users. Two things are counted as false alarms: the verdict `Drifted`, for which by default three of
//! ten columns have to drift, and that any column of the window is named, which is much stricter. Drift is found when a column
//! is named.
//!
//! `FEWER=10` makes a tenth of the windows, for a look.

#[path = "../tests/simulation/mod.rs"]
mod simulation;

use std::path::Path;

use serde_json::{Value, json};
use simulation::drift::peers::PEERS;
use simulation::drift::{Judged, Rows, Said, Setting, monitors};
use windlass_statistics::drift::bounded::Bounded;
use windlass_statistics::drift::decide::{Asked, Rule, judge};
use windlass_statistics::drift::embedding::{self, Embeddings};
use windlass_statistics::drift::verdict::Verdict;
use windlass_statistics::drift::{Effect, classifier};
use windlass_statistics::proportion::Proportion;
use windlass_statistics::random::Random;

/// Columns that drift, of a hundred: to a PSI of 0.25, where the threshold is 0.2.
const DRIFTED: usize = 30;

/// Windows of each monitor where nothing drifts.
const WINDOWS: usize = 5;
/// Monitors whose first windows are shown to the peers.
const SHOWN: u64 = 100;

struct Report {
    figures: Vec<Value>,
    /// By how much fewer windows there are than there should be.
    fewer: u64,
}

impl Report {
    fn tell(&mut self, name: &str, value: f64, goal: &str, holds: bool) {
        self.told(name, value, goal, holds, None);
    }

    /// A share of windows, or of columns: with how many there were, and the one-sided 95% bound of what it may be at most. (Of
    /// windows of one reference that is not quite so: they are alike.)
    fn share(&mut self, name: &str, of: Proportion, goal: &str, holds: bool) {
        let upper = of.clopper_pearson(0.9).upper;
        let value = of.value().unwrap_or_default();
        self.told(name, value, goal, holds, Some((of.trials, upper)));
    }

    fn told(&mut self, name: &str, value: f64, goal: &str, holds: bool, of: Option<(u64, f64)>) {
        let said = if holds { "holds" } else { "DOES NOT HOLD" };
        let bound = of.map_or_else(String::new, |(trials, upper)| {
            format!("at most {upper:.5} ({trials})")
        });
        println!("{name:96} {value:.5} {bound:26} {goal:10} {said}");
        let mut figure = json!({
            "name": name, "value": value, "unit": "1", "goal": goal, "holds": holds
        });
        if let Some((trials, upper)) = of {
            figure["of"] = json!(trials);
            figure["upper"] = json!(upper);
        }
        self.figures.push(figure);
    }

    fn print(&mut self, name: &str, value: f64) {
        self.tell(name, value, "printed", true);
    }

    fn print_share(&mut self, name: &str, of: Proportion) {
        self.share(name, of, "printed", true);
    }
}

fn main() {
    let fewer = std::env::var("FEWER").ok().and_then(|by| by.parse().ok());
    let mut report = Report {
        figures: Vec::new(),
        fewer: fewer.unwrap_or(1),
    };
    let independent = |reference, window| Setting {
        reference,
        window,
        rows: Rows::Independent,
        drifted: 0,
        shown: 0,
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
        loud(&mut report, &of, setting, 250, 300 + at as u64);
    }
    for (at, (rows, answers, count)) in [
        (500, 1, 20),
        (5000, 1, 20),
        (20_000, 1, 400),
        (100_000, 1, 400),
        (1_000_000, 1, 400),
        (5000, 4, 400),
        (20_000, 4, 100),
        (100_000, 4, 40),
        (1_000_000, 4, 20),
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
        // Of fewer users nothing is said, and is not to be.
        if rows / 20 * answers >= 1000 {
            loud(&mut report, &of, setting, count.min(200), 500 + at as u64);
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

fn of<T>(all: &[T], holds: impl Fn(&T) -> bool) -> Proportion {
    Proportion {
        successes: all.iter().filter(|one| holds(one)).count() as u64,
        trials: all.len() as u64,
    }
}

fn is_at_most(of: Proportion, share: f64) -> bool {
    of.value().is_some_and(|value| value <= share)
}

fn is_at_least(of: Proportion, share: f64) -> bool {
    of.value().is_some_and(|value| value >= share)
}

/// What a peer said of the windows that it was shown.
fn said(windows: &[&Judged], peer: usize) -> Vec<Said> {
    let shown = windows.iter().filter_map(|one| one.peers);
    shown.map(|said| said[peer]).collect()
}

/// Without drift.
fn quiet(report: &mut Report, name: &str, setting: Setting, count: u64, seed: u64) {
    let setting = Setting {
        shown: SHOWN.min(count) / report.fewer,
        ..setting
    };
    let all = monitors(setting, count / report.fewer, WINDOWS, seed);
    let windows: Vec<&Judged> = all.iter().flatten().collect();
    let drifted = of(&windows, |one| one.verdict == Verdict::Drifted);
    let holds = is_at_most(drifted, 0.001);
    let of_it = format!("no drift, {name}: windows Drifted");
    report.share(&of_it, drifted, "<= 0.001", holds);
    let named = of(&windows, |one| is_named(one));
    let holds = is_at_most(named, 0.001);
    let of_it = format!("no drift, {name}: windows with any column named");
    report.share(&of_it, named, "<= 0.001", holds);
    let by_mean = windows.iter().map(|one| one.by_mean as u64).sum();
    let of_it = format!("no drift, {name}: columns named by their mean alone");
    let columns = Proportion {
        successes: by_mean,
        trials: windows.len() as u64 * 100,
    };
    report.print_share(&of_it, columns);
    let few = of(&windows, |one| one.verdict == Verdict::NotEnoughData);
    if few.successes > 0 {
        report.print_share(&format!("no drift, {name}: windows NotEnoughData"), few);
    }
    for (at, peer) in PEERS.iter().enumerate() {
        let said = said(&windows, at);
        let of_it = |what: &str| format!("peer: {peer}: no drift, {name}: {what}");
        let columns = Proportion {
            successes: said.iter().map(|one| one.drifted as u64).sum(),
            trials: said.iter().map(|one| one.looked as u64).sum(),
        };
        report.print_share(&of_it("columns"), columns);
        let any = of(&said, |one| one.drifted > 0);
        report.print_share(&of_it("windows with any column"), any);
        let many = of(&said, |one| ratio(one.drifted, one.looked) + 1e-9 >= 0.3);
        report.print_share(&of_it("windows with three of ten columns"), many);
    }
}

/// With drift in thirty columns: two windows of each monitor.
fn loud(report: &mut Report, name: &str, setting: Setting, count: u64, seed: u64) {
    let setting = Setting {
        drifted: DRIFTED,
        shown: SHOWN.min(count) / report.fewer / 4,
        ..setting
    };
    let all = monitors(setting, count / report.fewer, 2, seed);
    let found = of(&all, |windows| windows.iter().any(is_named));
    let of_it = format!("drift, {name}: found within 2 windows");
    report.share(&of_it, found, ">= 0.99", is_at_least(found, 0.99));
    let windows: Vec<&Judged> = all.iter().flatten().collect();
    let sum = |of: fn(&Judged) -> usize| windows.iter().map(|one| of(one)).sum::<usize>();
    let (named, rightly) = (sum(|one| one.drifted), sum(|one| one.rightly));
    let wrong = ratio(named - rightly, named);
    let of_it = format!("drift, {name}: of the columns named, wrongly");
    report.tell(&of_it, wrong, "<= 0.05", wrong <= 0.05);
    let truly = ratio(rightly, windows.len() * DRIFTED);
    report.print(
        &format!("drift, {name}: of the columns that drift, named"),
        truly,
    );
    let by_mean = ratio(sum(|one| one.by_mean), named);
    report.print(
        &format!("drift, {name}: of the columns named, by their mean alone"),
        by_mean,
    );
    for least in [0.3, 0.2, 0.1] {
        let both = of(&all, |windows| {
            windows
                .iter()
                .all(|one| ratio(one.drifted, 100) + 1e-9 >= least)
        });
        let of_it = format!("drift, {name}: both windows Drifted by a share of {least}");
        report.print_share(&of_it, both);
    }
    for (at, peer) in PEERS.iter().enumerate() {
        let said = said(&windows, at);
        let (named, rightly) = said.iter().fold((0, 0), |(named, rightly), one| {
            (named + one.drifted, rightly + one.rightly)
        });
        let of_it = |what: &str| format!("peer: {peer}: drift, {name}: {what}");
        let wrong = ratio(named - rightly, named);
        report.print(&of_it("of the columns named, wrongly"), wrong);
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
