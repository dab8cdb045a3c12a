//! Metrics and comparisons against values of scikit-learn 1.9.1 and numpy, on rows with ties.

#![allow(clippy::float_cmp)] // exact where it is used

use windlass_statistics::looks::{Pair, Tally};
use windlass_statistics::metric::Metric;
use windlass_statistics::paired::{Advantage, holm};
use windlass_statistics::proportion::Proportion;
use windlass_statistics::psi::{Categories, Psi};
use windlass_statistics::random::Random;
use windlass_statistics::sample::Sample;
use windlass_statistics::{Interval, StatisticsError};

const LABELS: [f64; 12] = [1., 0., 1., 1., 0., 0., 1., 0., 1., 0., 0., 1.];
const ANSWERS: [f64; 12] = [
    0.9, 0.4, 0.35, 0.8, 0.1, 0.6, 0.7, 0.4, 0.4, 0.2, 0.55, 0.65,
];
const OTHERS: [f64; 12] = [0.8, 0.5, 0.45, 0.6, 0.3, 0.4, 0.9, 0.2, 0.3, 0.35, 0.6, 0.7];

fn assert_near(found: f64, expected: f64, what: &str) {
    assert!(
        (found - expected).abs() <= 1e-12 * expected.abs().max(1.0),
        "{what}: {found} is not {expected}"
    );
}

#[test]
fn metrics_are_those_of_scikit_learn() {
    for (metric, expected) in [
        (Metric::Accuracy, 0.666_666_666_666_666_6),
        (Metric::Precision, 0.666_666_666_666_666_6),
        (Metric::Recall, 0.666_666_666_666_666_6),
        (Metric::F1, 0.666_666_666_666_666_6),
        (Metric::RocAuc, 0.805_555_555_555_555_6),
        (Metric::LogLoss, 0.512_252_377_164_333_3),
        (Metric::Brier, 0.173_125),
        (Metric::Rmse, 0.416_082_924_427_330_97),
        (Metric::Mae, 0.370_833_333_333_333_35),
    ] {
        let found = metric
            .estimate(&Sample::new(&LABELS, &ANSWERS), 0.95)
            .expect("a value");
        assert_near(found.value, expected, &metric.to_string());
        let Interval { lower, upper } = found.interval.expect("an interval");
        assert!(lower < found.value && found.value < upper, "{}", metric);
    }
}

#[test]
fn intervals_are_those_of_their_definitions() {
    let interval = |metric: Metric| {
        metric
            .estimate(&Sample::new(&LABELS, &ANSWERS), 0.95)
            .expect("a value")
            .interval
            .expect("one")
    };
    // Hall's, worked out with numpy: mean 0.5123, standard error 0.0964, skewness 0.2761.
    let loss = interval(Metric::LogLoss);
    assert_near(loss.lower, 0.333_546_888_869_519_8, "log loss, lower");
    assert_near(loss.upper, 0.713_409_610_301_577_2, "log loss, upper");
    // |0.8056 - area| = z s with s² = r · HM(area), worked out with numpy: 6 rows of either class, DeLong's variance 0.0196,
    // Hanley and McNeil's 0.0176, r = 1.0325.
    let area = interval(Metric::RocAuc);
    assert_near(area.lower, 0.461_293_324_099_062_8, "area, lower");
    assert_near(area.upper, 0.947_546_077_173_036_1, "area, upper");
    assert_eq!(
        interval(Metric::Accuracy),
        Proportion {
            successes: 8,
            trials: 12
        }
        .wilson(0.95)
    );
}

#[test]
fn comparisons_are_paired() {
    let area = Advantage::new(
        Metric::RocAuc,
        &Sample::new(&LABELS, &ANSWERS),
        &Sample::new(&LABELS, &OTHERS),
    )
    .expect("a difference");
    assert_near(area.value, 0.0, "areas");
    assert_near(
        area.standard_error,
        0.010_648_148_148_148_148_f64.sqrt(),
        "DeLong's covariance",
    );
    let loss = Advantage::new(
        Metric::LogLoss,
        &Sample::new(&LABELS, &ANSWERS),
        &Sample::new(&LABELS, &OTHERS),
    )
    .expect("a difference");
    assert_near(
        loss.value,
        0.015_193_463_066_162_894,
        "the other's loss is higher",
    );
    assert_near(
        loss.standard_error,
        0.073_287_754_902_500_67,
        "of the paired mean",
    );
    // One says 1 to all: right in 6 rows. The other is right in 8, of which 4 are 1: 2 rows to the first, 4 to the second.
    let right = Advantage::new(
        Metric::Accuracy,
        &Sample::new(&LABELS, &[0.9; 12]),
        &Sample::new(&LABELS, &ANSWERS),
    )
    .expect("a difference");
    let (better, worse) = (2.0, 4.0);
    assert_near(right.value, (better - worse) / 12.0, "accuracy");
    assert_near(right.centre, (better - worse) / 14.0, "accuracy, adjusted");
    for metric in Metric::PLAIN {
        let same = Advantage::new(
            metric,
            &Sample::new(&LABELS, &ANSWERS),
            &Sample::new(&LABELS, &ANSWERS),
        )
        .expect("a difference");
        assert_near(same.value, 0.0, &metric.to_string());
        assert!(same.p_within(0.0) >= 0.05, "{}", &metric.to_string());
    }
}

/// The influence functions against a leave-one-out jackknife (Efron & Stein 1981), which they approach.
#[test]
fn standard_errors_agree_with_a_jackknife() {
    let mut random = 9_u64;
    let mut next = || {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        f64::from(u32::try_from(random >> 33).expect("31 bits")) / 2_147_483_648.0
    };
    let rows = 400;
    let labels: Vec<f64> = (0..rows)
        .map(|_| if next() < 0.4 { 1.0 } else { 0.0 })
        .collect();
    let mut noisy = |strength: f64| {
        labels
            .iter()
            .map(|label| next() * (1.0 - strength) + label * strength)
            .collect::<Vec<f64>>()
    };
    let (one, two) = (noisy(0.4), noisy(0.3));
    for metric in Metric::PLAIN {
        let found = Advantage::new(
            metric,
            &Sample::new(&labels, &one),
            &Sample::new(&labels, &two),
        )
        .expect("a difference");
        let sign = if metric.is_higher_better() { 1.0 } else { -1.0 };
        let without = |row: usize, values: &[f64]| {
            values
                .iter()
                .enumerate()
                .filter(|(at, _)| *at != row)
                .map(|(_, v)| *v)
                .collect::<Vec<f64>>()
        };
        let left_out: Vec<f64> = (0..rows)
            .map(|row| {
                let labels = without(row, &labels);
                let value = |answers: &[f64]| {
                    metric
                        .estimate(&Sample::new(&labels, &without(row, answers)), 0.95)
                        .expect("a value")
                        .value
                };
                sign * (value(&one) - value(&two))
            })
            .collect();
        let n = f64::from(u32::try_from(rows).expect("small"));
        let mean = left_out.iter().sum::<f64>() / n;
        let jackknife = ((n - 1.0) / n
            * left_out
                .iter()
                .map(|value| (value - mean).powi(2))
                .sum::<f64>())
        .sqrt();
        let ratio = found.standard_error / jackknife;
        assert!(
            (0.97..1.05).contains(&ratio),
            "{}: {} against {jackknife}",
            metric,
            found.standard_error
        );
    }
}

/// Scores that are told apart in a thousand steps only, in one look and in bounded memory.
#[test]
fn areas_of_many_scores_are_almost_as_they_are() {
    let mut random = Random::new(8);
    let rows = 100_000;
    let labels: Vec<f64> = (0..rows).map(|row| [0.0, 0.0, 1.0][row % 3]).collect();
    let mut scores = || -> Vec<f64> {
        let of = |label: &f64| 1.0 / (1.0 + (-random.normal() - label).exp());
        labels.iter().map(of).collect()
    };
    let (one, two) = (scores(), scores());
    let (one, two) = (Sample::new(&labels, &one), Sample::new(&labels, &two));
    for metric in [Metric::RocAuc, Metric::PrAuc] {
        let of = |sample: &Sample<'_>| {
            let mut tally = Tally::new(metric, 1, 1000);
            let added = sample.all().try_for_each(|row| tally.add(&row));
            added.expect("rows");
            tally.known().expect("a value")
        };
        let mut pair = Pair::new(metric, of(&one), of(&two));
        one.all()
            .zip(two.all())
            .for_each(|(one, two)| pair.add(&one, &two));
        let (found, apart) = pair.finding();
        let apart = apart.expect("a difference");
        let exact = metric.finding(&one).expect("a value");
        let exactly_apart = Advantage::new(metric, &one, &two).expect("a difference");
        let error = exact.standard_error().expect("one");
        for (what, found, exact) in [
            ("value", found.value(), exact.value()),
            (
                "standard error",
                found.standard_error().expect("one"),
                error,
            ),
            ("advantage", apart.value, exactly_apart.value),
            (
                "its error",
                apart.standard_error,
                exactly_apart.standard_error,
            ),
        ] {
            // A tenth of how well it is known.
            let off = (found - exact).abs();
            assert!(
                off > 0.0 && off < error / 10.0,
                "{metric}, {what}: {found}, {exact}, {error}"
            );
        }
    }
}

#[test]
fn holm_by_hand() {
    let adjusted = holm(&[0.01, 0.04, 0.03, 0.005]);
    for (found, expected) in adjusted.iter().zip([0.03, 0.06, 0.06, 0.02]) {
        assert_near(*found, expected, "adjusted");
    }
    assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
    assert_eq!(holm(&[]), Vec::<f64>::new());
}

#[test]
fn the_index_by_numpy() {
    let psi = Psi::of_counts(&[100, 200, 300, 400], &[90, 110, 150, 150]);
    assert_near(psi.raw, 0.077_535_530_468_858_18, "raw");
    assert_near(psi.raw - psi.value, 0.009, "bias: 3 (1/1000 + 1/500)");
    assert!(psi.lower(0.95) < psi.value);
    assert_near(
        Psi::of_counts(&[10, 20], &[10, 20]).raw,
        0.0,
        "the same counts",
    );
    assert_eq!(Psi::of_counts(&[5, 0, 5], &[5, 0, 5]).cells, 2);
    assert_eq!(Psi::of_counts(&[5, 5], &[0, 0]).value, 0.0);
}

#[test]
fn rare_levels_are_pooled_and_nulls_are_not() {
    let categories = |levels: &[(&str, u64)], nulls| Categories {
        levels: levels
            .iter()
            .map(|(level, count)| ((*level).to_owned(), *count))
            .collect(),
        nulls,
    };
    let reference = categories(&[("a", 600), ("b", 396), ("rare", 2), ("rarer", 2)], 0);
    let window = categories(&[("a", 300), ("b", 198), ("new", 2)], 0);
    assert_eq!(Psi::of_categories(&reference, &window).cells, 3);
    let without = categories(&[("a", 300), ("b", 198)], 200);
    let found = Psi::of_categories(&reference, &without);
    assert_eq!(found.cells, 4);
    assert!(found.lower(0.95) > 0.2, "{found:?}");
    let new = categories(&[("a", 300), ("b", 198), ("new", 200)], 0);
    assert!(Psi::of_categories(&reference, &new).lower(0.95) > 0.2);
}

#[test]
fn rows_that_a_metric_cannot_take_are_named() {
    let of = |metric: Metric, labels: &[f64], answers: &[f64]| {
        metric
            .estimate(&Sample::new(labels, answers), 0.95)
            .expect_err("no value")
    };
    assert_eq!(of(Metric::RocAuc, &[], &[]), StatisticsError::Empty);
    // Numbers whose squares are beyond all numbers.
    let large = of(Metric::Rmse, &[1e200, 0.0], &[-1e200, 0.0]).to_string();
    assert!(large.contains("too large to compute with"), "{large}");
    let none = Metric::Mae.estimate(&Sample::of_classes(&[1.0], &[], 0), 0.95);
    let none = none.expect_err("no answer").to_string();
    assert!(none.contains("one number at least"), "{none}");
    assert_eq!(
        of(Metric::RocAuc, &[1.0], &[0.1, 0.2]),
        StatisticsError::Length {
            labels: 1,
            predictions: 2
        }
    );
    assert_eq!(
        of(Metric::RocAuc, &[1.0, 1.0], &[0.1, 0.2]),
        StatisticsError::OneClass { rows: 2 }
    );
    assert!(matches!(
        of(Metric::LogLoss, &[1.0, 2.0], &[0.1, 0.2]),
        StatisticsError::Label { row: 1, .. }
    ));
    assert!(matches!(
        of(Metric::LogLoss, &[1.0, 0.0], &[0.1, 1.2]),
        StatisticsError::Prediction { row: 1, .. }
    ));
    assert!(matches!(
        of(Metric::Mae, &[1.0, 0.0], &[f64::NAN, 0.1]),
        StatisticsError::Prediction { row: 0, .. }
    ));
    assert!(matches!(
        of(Metric::Precision, &[1.0], &[0.1]),
        StatisticsError::Undefined { .. }
    ));
    let one = Metric::LogLoss
        .estimate(&Sample::new(&[1.0], &[0.5]), 0.95)
        .expect("a value");
    assert_eq!((one.value, one.interval), (std::f64::consts::LN_2, None));
    let area = Metric::RocAuc
        .estimate(&Sample::new(&[1.0, 0.0], &[0.9, 0.1]), 0.95)
        .expect("both classes");
    assert_eq!((area.value, area.interval), (1.0, None));
}
