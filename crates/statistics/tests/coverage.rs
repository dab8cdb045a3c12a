//! 95% intervals hold the truth in about 95 of 100 samples; `make bench-statistics` does it ten times as often.

#[path = "simulation/mod.rs"]
mod simulation;

use simulation::{coverage, coverage_of, coverage_paired, metrics};
use windlass_statistics::fairness::Disparity;
use windlass_statistics::metric::Metric;

const RUNS: u32 = 1000;
const ROWS: usize = 1000;
/// What lies within three standard errors of 94 to 96%, at this number of runs.
const ACCEPTED: std::ops::RangeInclusive<f64> = 0.925..=0.975;

#[test]
fn intervals_of_metrics_hold_the_truth() {
    for metric in metrics() {
        let share = coverage(metric, RUNS, ROWS, 11);
        println!("{metric}: {share}");
        assert!(ACCEPTED.contains(&share), "{metric}: {share}");
    }
}

#[test]
fn intervals_of_comparisons_hold_the_truth() {
    for metric in metrics() {
        let share = coverage_paired(metric, RUNS, ROWS, 12);
        println!("{metric}: {share}");
        // Of sizes that may both be of chance, the difference varies less than it is taken to.
        let is_wider = metric == Metric::ExpectedCalibrationError && share >= *ACCEPTED.start();
        assert!(is_wider || ACCEPTED.contains(&share), "{metric}: {share}");
    }
}

#[test]
fn intervals_of_differences_between_groups_hold_the_truth() {
    for disparity in [
        Disparity::DemographicParity,
        Disparity::EqualOpportunity,
        Disparity::EqualisedOdds,
    ] {
        let share = coverage_of(disparity, RUNS, ROWS, 13);
        println!("{disparity:?}: {share}");
        // With two rates the correction makes it wider.
        assert!(share >= *ACCEPTED.start(), "{disparity:?}: {share}");
    }
}

#[test]
fn a_model_that_is_worse_by_the_margin_on_one_segment_passes_in_one_of_twenty_at_most() {
    let worse = simulation::passes(0.01, RUNS, 3000, 14);
    let same = simulation::passes(0.0, RUNS, 9000, 15);
    println!("worse by the margin on one segment: {worse}; the same: {same}");
    // Three standard errors above 5%, at this number of runs.
    assert!(worse <= 0.071, "{worse}");
    assert!(same >= 0.5, "{same}");
}

/// Where positive rows are few, or an area is near 1, a normal interval about it would be wrong in one of three.
#[test]
fn areas_of_few_positive_rows_and_near_one_are_not_taken_for_more_than_they_are() {
    for (champion, positives, rows) in [
        (0.8, 5, 200),
        (0.8, 20, 200),
        (0.95, 5, 200),
        (0.95, 20, 200),
        (0.95, 60, 200),
        (0.99, 20, 200),
        (0.99, 60, 200),
        (0.99, 300, 1000),
    ] {
        let found = simulation::areas(champion, positives, rows, RUNS, 16);
        let (truth, margin) = (found.pass_at_truth, found.pass_at_margin);
        println!("{champion} of {positives} in {rows}: {truth} {margin}");
        assert!(
            truth <= 0.06,
            "{champion} of {positives} in {rows}: {truth}"
        );
        assert!(
            margin <= 0.071,
            "{champion} of {positives} in {rows}: {margin}"
        );
    }
}
