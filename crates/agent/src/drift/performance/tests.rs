//! How often windows are said to have fallen.

use clap::Parser;
use windlass_statistics::random::Random;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    arguments: Arguments,
}

const ROWS: usize = 400;
const WINDOWS: usize = 2000;

/// Of windows of a model that is right in this share of its answers: whether the interval lies below 0.8, and whether that is
/// called a fall.
fn windows(right: f64, windows: usize, units: Option<&[u64]>) -> (usize, usize) {
    let line = ["drift", "--metric", "accuracy", "--metric-min", "0.8"];
    let arguments = Line::parse_from(line).arguments;
    let asked = Asked {
        metric: arguments.metric.expect("it was given"),
        arguments: &arguments,
        uri: "labels.csv",
        label: "late",
    };
    let mut random = Random::new(8);
    let (mut below, mut fallen) = (0, 0);
    for _ in 0..windows {
        let labels: Vec<f64> = (0..ROWS)
            .map(|_| f64::from(u8::from(random.uniform() < 0.5)))
            .collect();
        let answers: Vec<f64> = labels
            .iter()
            .map(|label| {
                let answer = if random.uniform() < right {
                    *label
                } else {
                    1.0 - *label
                };
                0.1 + 0.8 * answer
            })
            .collect();
        let found = asked.performance(&Sample::new(&labels, &answers), units);
        let found = found.expect("labels that can be read");
        let [_, upper] = found.interval.expect("an interval");
        below += usize::from(upper < 0.8);
        fallen += usize::from(found.fallen);
    }
    (below, fallen)
}

/// A monitor of hours looks at 8,760 windows a year, and trains for each that has fallen.
#[test]
fn a_model_that_is_just_good_enough_hardly_ever_falls_by_chance() {
    let alone: Vec<u64> = (0..ROWS as u64).collect();
    for units in [None, Some(alone.as_slice())] {
        let (below, fallen) = windows(0.8, WINDOWS, units);
        // 2.5% of them are below by chance, and 0.05% may be called a fall.
        assert!((25..90).contains(&below), "{below}");
        assert!(fallen <= 4, "{fallen} of {WINDOWS}");
    }
}

#[test]
fn a_model_that_has_become_worse_is_found_in_nearly_every_window() {
    let (_, fallen) = windows(0.68, 200, None);
    assert!(fallen >= 190, "{fallen} of 200");
}

/// A monitor may look at windows of few rows; of as few labels an interval by normal approximation says too much.
#[test]
fn of_fewer_labels_than_an_interval_takes_there_is_no_fall_however_few_rows_are_asked_for() {
    let line = [
        "drift",
        "--metric",
        "accuracy",
        "--metric-min",
        "0.8",
        "--min-samples",
        "20",
    ];
    let arguments = Line::parse_from(line).arguments;
    let asked = Asked {
        metric: arguments.metric.expect("it was given"),
        arguments: &arguments,
        uri: "labels.csv",
        label: "late",
    };
    let fallen = |rows: usize| {
        let labels: Vec<f64> = (0..rows)
            .map(|row| f64::from(u8::from(row % 2 == 0)))
            .collect();
        // One of four is right.
        let is_right = |row: usize| row.is_multiple_of(4);
        let answer = |(row, label): (usize, &f64)| if is_right(row) { *label } else { 1.0 - label };
        let answers: Vec<f64> = labels.iter().enumerate().map(answer).collect();
        let found = asked.performance(&Sample::new(&labels, &answers), None);
        found.expect("labels that can be read").fallen
    };
    assert_eq!(
        [20, 60, 99, 100, 400].map(fallen),
        [false, false, false, true, true]
    );
}
