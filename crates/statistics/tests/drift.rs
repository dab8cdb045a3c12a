//! A monitor of a hundred columns is quiet without drift and finds drift; `make bench-statistics` does it more often.

#[path = "simulation/mod.rs"]
mod simulation;

use simulation::drift::draws::{binomial, multinomial};
use simulation::drift::{Judged, Rows, Setting, monitors, share};
use windlass_statistics::drift::verdict::Verdict;
use windlass_statistics::mean::Mean;
use windlass_statistics::random::Random;

fn setting(rows: u64, drifted: usize) -> Setting {
    Setting {
        reference: rows,
        window: rows,
        rows: Rows::Independent,
        drifted,
        shown: 2,
    }
}

/// Whether a peer names any column of each window that it was shown.
fn names_any(judged: &[Judged], peer: usize) -> bool {
    let mut shown = judged
        .iter()
        .filter_map(|one| one.peers.as_ref())
        .peekable();
    shown.peek().is_some() && shown.all(|said| said[peer].drifted > 0)
}

fn windows(setting: Setting, monitors_of: u64, seed: u64) -> Vec<Judged> {
    let all = monitors(setting, monitors_of, 10, seed);
    all.into_iter().flatten().collect()
}

#[test]
fn without_drift_no_column_of_a_hundred_drifts_in_a_hundred_windows() {
    for (rows, seed) in [(500, 101), (5000, 102)] {
        let judged = windows(setting(rows, 0), 10, seed);
        assert_eq!(judged.len(), 100);
        assert!(
            share(&judged, |one| one.verdict == Verdict::Healthy) >= 1.0,
            "{rows}"
        );
        // What a bare threshold says of the same draws.
        assert!(names_any(&judged, 3), "{rows}");
    }
}

#[test]
fn drift_in_thirty_columns_is_found_at_once_in_windows_of_any_size() {
    for (rows, seed) in [(500, 103), (5000, 104), (1_000_000, 105)] {
        let judged = windows(setting(rows, 30), 4, seed);
        let found = share(&judged, |one| one.drifted > 0);
        let (all, rightly) = judged.iter().fold((0, 0), |(all, rightly), one| {
            (all + one.drifted, rightly + one.rightly)
        });
        println!("{rows}: found in {found}, {rightly} of {all} rightly");
        assert!(found >= 0.95, "{rows}: {found}");
        // Evidence is such that of those that are named 5 of 100 may not have drifted.
        assert!((all - rightly) * 100 <= all, "{rows}: {rightly} of {all}");
    }
    // In a window that is large enough, all thirty.
    let judged = windows(setting(1_000_000, 30), 2, 106);
    assert!(share(&judged, |one| one.verdict == Verdict::Drifted) >= 1.0);
}

#[test]
fn rows_of_users_are_counted_by_users() {
    for (rows, answers, expected) in [
        // 25 users who are always the same are not 500 rows.
        (500, 1, Verdict::NotEnoughData),
        // Of a category with a thousand levels hardly two users share one.
        (20_000, 1, Verdict::Healthy),
        (5000, 4, Verdict::Healthy),
        (40_000, 1, Verdict::Healthy),
        (40_000, 4, Verdict::Healthy),
    ] {
        let setting = Setting {
            rows: Rows::OfUsers { answers },
            ..setting(rows, 0)
        };
        let judged = windows(setting, 2, 107);
        assert!(
            share(&judged, |one| one.verdict == expected) >= 1.0,
            "{rows} {answers}"
        );
        // A bare test says of some column that it has drifted.
        assert!(names_any(&judged, 4), "{rows} {answers}");
    }
}

/// Of few rows and many, by both of the ways in which they are drawn.
#[test]
fn counts_have_the_moments_of_their_law() {
    let mut random = Random::new(109);
    for (trials, p) in [(20, 0.1), (500, 0.005), (500, 0.3), (1_000_000, 0.62)] {
        let draws = (0..40_000).map(|_| binomial(&mut random, trials, p));
        let all: Mean = draws
            .map(|count| f64::from(u32::try_from(count).expect("small")))
            .collect();
        let trials = f64::from(u32::try_from(trials).expect("small"));
        let (mean, variance) = (all.value().expect("some"), all.variance().expect("some"));
        let expected = trials * p * (1.0 - p);
        assert!(
            (mean - trials * p).abs() < 4.0 * (expected / 40_000.0).sqrt(),
            "{trials} {p}"
        );
        assert!(
            (variance / expected - 1.0).abs() < 0.04,
            "{trials} {p}: {variance}"
        );
    }
    let counts = multinomial(&mut random, &[0.5, 0.0, 0.5], 1001);
    assert_eq!((counts.iter().sum::<u64>(), counts[1]), (1001, 0));
}
