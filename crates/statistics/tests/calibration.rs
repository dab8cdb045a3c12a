//! How often the statistics are wrong, by simulation with fixed seeds.

use std::collections::BTreeMap;

use windlass_statistics::bins;
use windlass_statistics::metric::Metric;
use windlass_statistics::paired::Advantage;
use windlass_statistics::psi::{Categories, Psi};
use windlass_statistics::sample::Sample;

/// Splitmix64 (Steele, Lea & Flood 2014).
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In (0, 1).
    fn uniform(&mut self) -> f64 {
        (f64::from(u32::try_from(self.bits() >> 32).expect("32 bits")) + 0.5) / 4_294_967_296.0
    }

    fn normal(&mut self) -> f64 {
        windlass_statistics::normal::quantile(self.uniform())
    }
}

fn index_of_numbers(reference: &[f64], window: &[f64]) -> Psi {
    let edges = bins::edges(reference, 10);
    let counts = |values: &[f64]| bins::counts(&edges, values.iter().copied());
    Psi::of_counts(&counts(reference), &counts(window))
}

/// Rows of levels with the shares of Zipf's law.
fn categories(random: &mut Random, rows: usize, levels: u32) -> Categories {
    let mut ends = Vec::new();
    for level in 1..=levels {
        ends.push(ends.last().copied().unwrap_or(0.0) + 1.0 / f64::from(level));
    }
    let total = ends[ends.len() - 1];
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for _ in 0..rows {
        let at = random.uniform() * total;
        let level = ends.partition_point(|end| *end <= at);
        *counts.entry(level.to_string()).or_default() += 1;
    }
    Categories {
        levels: counts,
        nulls: 0,
    }
}

#[test]
fn without_drift_a_column_drifts_in_fewer_than_one_window_of_a_hundred() {
    let mut random = Random(1);
    for size in [500, 1000, 5000] {
        let (mut alarms, mut windows, mut sum) = (0, 0, 0.0);
        let (mut squares, mut variances) = (0.0, 0.0);
        for _ in 0..100 {
            let reference: Vec<f64> = (0..size).map(|_| random.normal()).collect();
            let window: Vec<f64> = (0..size).map(|_| random.normal()).collect();
            let psi = index_of_numbers(&reference, &window);
            alarms += u32::from(psi.lower(0.95) > 0.1);
            windows += 1;
            sum += psi.value;
            squares += psi.value * psi.value;
            variances += psi.standard_error * psi.standard_error;
        }
        let mean = sum / f64::from(windows);
        let bias = 18.0 / f64::from(u32::try_from(size).expect("small"));
        assert!(
            mean.abs() < bias * 0.12,
            "{size} rows: the mean is {mean}, the bias that was taken off {bias}"
        );
        // Above 1: the variance is cut from below where it is least.
        let ratio = variances / squares;
        assert!(
            (1.0..1.9).contains(&ratio),
            "{size} rows: the variance is taken {ratio} times as large as it is"
        );
        assert_eq!(alarms, 0, "{size} rows of a number");
        for levels in [10, 100, 1000] {
            let mut alarms = 0;
            for _ in 0..20 {
                let (reference, window) = (
                    categories(&mut random, size, levels),
                    categories(&mut random, size, levels),
                );
                alarms += u32::from(Psi::of_categories(&reference, &window).lower(0.95) > 0.1);
            }
            assert_eq!(alarms, 0, "{size} rows of {levels} levels");
        }
    }
}

#[test]
fn a_shift_of_one_standard_deviation_is_found_in_five_hundred_rows() {
    let mut random = Random(2);
    for _ in 0..100 {
        let reference: Vec<f64> = (0..2000).map(|_| random.normal()).collect();
        let window: Vec<f64> = (0..500).map(|_| random.normal() + 1.0).collect();
        let psi = index_of_numbers(&reference, &window);
        assert!(psi.lower(0.95) > 0.2, "{psi:?}");
    }
}

/// The population's index is known, for its shares are given.
#[test]
fn the_lower_bound_lies_above_the_truth_in_about_one_window_of_twenty() {
    let mut random = Random(3);
    let (old, new) = ([0.1, 0.2, 0.3, 0.4], [0.25, 0.25, 0.25, 0.25]);
    let truth: f64 = old
        .iter()
        .zip(new)
        .map(|(q, p): (&f64, f64)| (p - q) * (p / q).ln())
        .sum();
    let draw = |random: &mut Random, shares: [f64; 4], rows: u32| {
        let mut counts = [0; 4];
        for _ in 0..rows {
            let mut left = random.uniform();
            let cell = shares
                .iter()
                .position(|share| {
                    left -= share;
                    left < 0.0
                })
                .unwrap_or(3);
            counts[cell] += 1;
        }
        counts
    };
    let above = (0..2000)
        .filter(|_| {
            let (reference, window) = (draw(&mut random, old, 1000), draw(&mut random, new, 500));
            Psi::of_counts(&reference, &window).lower(0.95) > truth
        })
        .count();
    assert!((40..=140).contains(&above), "{above} of 2000");
}

#[test]
fn intervals_hold_the_truth_as_often_as_they_say() {
    let mut random = Random(4);
    // Scores of two normals one apart: the area is Φ(1/√2). Answers that are calibrated: the Brier score's mean is 1/6.
    let area = windlass_statistics::normal::cdf(std::f64::consts::FRAC_1_SQRT_2);
    let (mut areas, mut briers, runs) = (0, 0, 1000);
    for _ in 0..runs {
        let labels: Vec<f64> = (0..300)
            .map(|row| f64::from(u8::from(row % 3 == 0)))
            .collect();
        let scores: Vec<f64> = labels.iter().map(|label| random.normal() + label).collect();
        let interval = Metric::RocAuc
            .estimate(&Sample::new(&labels, &scores), 0.95)
            .expect("a value")
            .interval
            .expect("one");
        areas += u32::from(interval.lower <= area && area <= interval.upper);
        let answers: Vec<f64> = (0..300).map(|_| random.uniform()).collect();
        let labels: Vec<f64> = answers
            .iter()
            .map(|p| f64::from(u8::from(random.uniform() < *p)))
            .collect();
        let interval = Metric::Brier
            .estimate(&Sample::new(&labels, &answers), 0.95)
            .expect("a value")
            .interval
            .expect("one");
        briers += u32::from(interval.lower <= 1.0 / 6.0 && 1.0 / 6.0 <= interval.upper);
    }
    for (what, count) in [("areas", areas), ("Brier scores", briers)] {
        assert!((930..=970).contains(&count), "{what}: {count} of {runs}");
    }
}

#[test]
fn a_candidate_that_is_worse_by_the_margin_passes_in_one_of_twenty() {
    let mut random = Random(5);
    // The champion's Brier score is p(1-p) + 0; the candidate's is higher by the square of what it is off, 0.01.
    let (runs, mut passes) = (2000, 0);
    for _ in 0..runs {
        let champion: Vec<f64> = (0..400).map(|_| 0.2 + 0.6 * random.uniform()).collect();
        let candidate: Vec<f64> = champion
            .iter()
            .map(|p| p + if random.bits() & 1 == 0 { 0.1 } else { -0.1 })
            .collect();
        let labels: Vec<f64> = champion
            .iter()
            .map(|p| f64::from(u8::from(random.uniform() < *p)))
            .collect();
        let advantage = {
            let sample = |answers| Sample::new(&labels, answers);
            Advantage::new(Metric::Brier, &sample(&candidate), &sample(&champion))
        }
        .expect("a difference");
        passes += u32::from(advantage.p_inferior(0.01) <= 0.05);
    }
    assert!((60..=140).contains(&passes), "{passes} of {runs}");
}
