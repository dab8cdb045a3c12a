use super::*;
use crate::metric::Metric;
use crate::random::Random;
use crate::sample::Sample;

const ALL: [(ExpectedMetric, Metric); 5] = [
    (ExpectedMetric::Accuracy, Metric::Accuracy),
    (ExpectedMetric::Precision, Metric::Precision),
    (ExpectedMetric::Recall, Metric::Recall),
    (ExpectedMetric::F1, Metric::F1),
    (ExpectedMetric::RocAuc, Metric::RocAuc),
];

fn bin(reference: u64, positives: u64, window: u64) -> Bin {
    Bin {
        reference,
        positives,
        window,
    }
}

/// By hand, of the expected confusion matrix: shares 0.1, 0.4 and 0.8 of 50, 30 and 20 rows; 5 + 12 + 16 are of class 1.
#[test]
fn metrics_are_those_of_the_expected_confusion_matrix() {
    let many = 1_000_000_000;
    let bins = [
        bin(many, many / 10, 50),
        bin(many, many / 10 * 4, 30),
        bin(many, many / 10 * 8, 20),
    ];
    let expected = Expected::new(&bins, 1).expect("rows");
    let (tp, fp, missed, tn) = (28.0, 22.0, 5.0, 45.0);
    // 16·(45 + 18 + 4/2) + 12·(45 + 18/2) + 5·45/2 pairs.
    let pairs = 16.0 * 65.0 + 12.0 * 54.0 + 5.0 * 22.5;
    for (metric, value) in [
        (ExpectedMetric::Accuracy, (tp + tn) / 100.0),
        (ExpectedMetric::Precision, tp / (tp + fp)),
        (ExpectedMetric::Recall, tp / (tp + missed)),
        (ExpectedMetric::Specificity, tn / (tn + fp)),
        (ExpectedMetric::F1, 2.0 * tp / (2.0 * tp + fp + missed)),
        (ExpectedMetric::RocAuc, pairs / (33.0 * 67.0)),
    ] {
        let found = expected.estimate(metric, 0.95).expect("both classes");
        assert!(
            (found.value - value).abs() < 1e-7,
            "{metric:?}: {found:?} {value}"
        );
        assert!(expected.uncovered().abs() < 1e-12);
    }
    // Of accuracy, the variance is that of a hundred labels: 50·0.09 + 30·0.24 + 20·0.16 = 14.9.
    let found = expected
        .estimate(ExpectedMetric::Accuracy, 0.95)
        .expect("a value");
    let half = 1.959_963_984_540_054 * 14.9_f64.sqrt() / 100.0;
    let interval = found.interval.expect("one");
    assert!((interval.upper - interval.lower - 2.0 * half).abs() < 1e-6);
}

#[test]
fn slopes_are_the_changes_of_the_value() {
    let bins = [bin(200, 20, 50), bin(200, 90, 30), bin(200, 150, 20)];
    let expected = Expected::new(&bins, 1).expect("rows");
    for metric in [
        ExpectedMetric::Accuracy,
        ExpectedMetric::Precision,
        ExpectedMetric::Recall,
        ExpectedMetric::Specificity,
        ExpectedMetric::F1,
        ExpectedMetric::RocAuc,
    ] {
        let (value, slopes) = expected.value(metric).expect("a value");
        for (at, slope) in slopes.iter().enumerate() {
            let mut moved = expected.clone();
            moved.bins[at].share += 1e-6;
            let change = (moved.value(metric).expect("a value").0 - value) / 1e-6;
            assert!(
                (change - slope).abs() < 1e-4,
                "{metric:?} {at}: {change} {slope}"
            );
        }
    }
}

/// Scores in (0, 1), about so high, and labels of them: the model is overconfident, and the reference tells so.
fn rows(random: &mut Random, count: usize, about: f64) -> Vec<(f64, f64)> {
    let logistic = |x: f64| 1.0 / (1.0 + (-x).exp());
    let row = |_| {
        let logit = about + 1.2 * random.normal();
        let label = f64::from(u8::from(random.uniform() < logistic(logit)));
        (logistic(1.5 * logit), label)
    };
    (0..count).map(row).collect()
}

/// What the labels of the window show lies in the interval in about 95 of 100, though the window's scores are others'.
#[test]
fn what_labels_will_show_lies_in_the_interval() {
    let mut random = Random::new(31);
    let mut inside = [0; ALL.len()];
    let runs = 1000;
    for _ in 0..runs {
        let reference = rows(&mut random, 20_000, -0.5);
        let window = rows(&mut random, 1000, 0.3);
        let mut bins = [Bin::default(); 100];
        let place = |score: f64| bins_of(score);
        for (score, label) in &reference {
            bins[place(*score)].reference += 1;
            bins[place(*score)].positives += u64::from(*label > 0.5);
        }
        for (score, _) in &window {
            bins[place(*score)].window += 1;
        }
        let expected = Expected::new(&bins, 50).expect("rows");
        let labels: Vec<f64> = window.iter().map(|row| row.1).collect();
        let scores: Vec<f64> = window.iter().map(|row| row.0).collect();
        for (at, (metric, shown)) in ALL.into_iter().enumerate() {
            let shown = shown
                .estimate(&Sample::new(&labels, &scores), 0.95)
                .expect("both");
            let found = expected.estimate(metric, 0.95).expect("both classes");
            let interval = found.interval.expect("one");
            inside[at] += u32::from(interval.lower <= shown.value && shown.value <= interval.upper);
        }
    }
    println!("{inside:?} of {runs}");
    for (at, inside) in inside.into_iter().enumerate() {
        assert!(
            (930..=985).contains(&inside),
            "{:?}: {inside} of {runs}",
            ALL[at].0
        );
    }
}

/// The bin of a score, of a hundred.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // from 0 to 99
fn bins_of(score: f64) -> usize {
    ((score * 100.0) as usize).min(99)
}

#[test]
fn where_the_reference_has_no_scores_little_is_known() {
    let bins = [bin(1000, 100, 50), bin(0, 0, 50), bin(1000, 900, 0)];
    let expected = Expected::new(&bins, 1).expect("rows");
    assert!((expected.uncovered() - 0.5).abs() < 1e-12);
    let found = expected
        .estimate(ExpectedMetric::Precision, 0.95)
        .expect("a value");
    assert!((found.value - 0.5).abs() < 0.01, "{found:?}");
    let interval = found.interval.expect("one");
    assert!(interval.upper - interval.lower > 0.9, "{found:?}");
}

#[test]
fn what_is_not_defined_has_no_value() {
    assert_eq!(Expected::new(&[], 0), None);
    assert_eq!(Expected::new(&[bin(10, 5, 0)], 0), None);
    assert_eq!(Expected::new(&[bin(0, 0, 10)], 0), None);
    let none_answered = Expected::new(&[bin(10, 5, 10)], 1).expect("rows");
    assert_eq!(
        none_answered.estimate(ExpectedMetric::Precision, 0.95),
        None
    );
    assert!(
        none_answered
            .estimate(ExpectedMetric::Recall, 0.95)
            .is_some()
    );
}
