//! The field's libraries say the same: 2160 cases of numpy, scipy, scikit-learn, statsmodels and fairlearn, which
//! `reference/generate.py` makes; ends of intervals that none of them has are by the published formulas.

use serde_json::Value;
use windlass_statistics::Interval;
use windlass_statistics::fairness::Disparity;
use windlass_statistics::mean::Mean;
use windlass_statistics::metric::Metric;
use windlass_statistics::normal;
use windlass_statistics::paired::{Advantage, holm};
use windlass_statistics::proportion::{Proportion, difference};
use windlass_statistics::sample::Sample;

/// Relative, of statistics and metrics.
const OF_VALUES: f64 = 1e-12;
/// Relative, of p-values and ends of intervals.
const OF_ENDS: f64 = 1e-6;

fn assert_near(found: f64, expected: f64, tolerance: f64, what: &Value) {
    let is_near = (found - expected).abs() <= tolerance * expected.abs().max(1e-300)
        || (expected == 0.0 && found.abs() <= 1e-15)
        // Of what is made of terms of about 1, what is left of rounding is no smaller.
        || (tolerance < 1e-9 && (found - expected).abs() <= 4.0 * f64::EPSILON);
    let mut short = what.to_string();
    short.truncate(short.floor_char_boundary(400));
    assert!(is_near, "{found} is not {expected} in {short}");
}

fn numbers(value: &Value) -> Vec<f64> {
    let all = value.as_array().expect("a list");
    // What JSON has no number for is a word: nan, inf, -inf.
    let of = |one: &Value| one.as_f64().or_else(|| one.as_str()?.parse().ok());
    all.iter().map(|one| of(one).expect("a number")).collect()
}

fn places(value: &Value) -> Vec<usize> {
    let all = value.as_array().expect("a list").iter();
    all.map(|one| usize::try_from(one.as_u64().expect("a place")).expect("small"))
        .collect()
}

fn proportion_of(successes: &Value, trials: &Value) -> Proportion {
    Proportion {
        successes: successes.as_u64().expect("a count"),
        trials: trials.as_u64().expect("a count"),
    }
}

fn assert_ends(found: Interval, case: &Value) {
    let expected = numbers(&case["expected"]);
    assert_near(found.lower, expected[0], OF_ENDS, case);
    assert_near(found.upper, expected[1], OF_ENDS, case);
}

/// A field that may be null.
fn given<T>(value: &Value, read: fn(&Value) -> T) -> Option<T> {
    (!value.is_null()).then(|| read(value))
}

fn metric_of(case: &Value) -> Metric {
    let name = case["metric"].as_str().expect("a name");
    name.parse().expect("one")
}

/// The rows of a case.
struct Rows {
    labels: Vec<f64>,
    answers: Vec<f64>,
    width: usize,
    weights: Option<Vec<f64>>,
    queries: Option<Vec<usize>>,
}

impl Rows {
    fn of(case: &Value) -> Self {
        let width = case["width"].as_u64().expect("a width");
        Self {
            labels: numbers(&case["labels"]),
            answers: numbers(&case["answers"]),
            width: usize::try_from(width).expect("small"),
            weights: given(&case["weights"], numbers),
            queries: given(&case["queries"], places),
        }
    }

    fn sample(&self) -> Sample<'_> {
        let mut sample = Sample::of_classes(&self.labels, &self.answers, self.width);
        if let Some(weights) = &self.weights {
            sample = sample.weighted(weights);
        }
        if let Some(queries) = &self.queries {
            sample = sample.in_queries(queries);
        }
        sample
    }
}

/// The value, and what rows add to it.
fn value(case: &Value) {
    let (metric, rows) = (metric_of(case), Rows::of(case));
    let (sample, expected) = (rows.sample(), case["expected"].as_f64().expect("a number"));
    let found = metric.estimate(&sample, 0.95).expect("a value");
    assert_near(found.value, expected, OF_VALUES, case);
    if let Some(Interval { lower, upper }) = found.interval {
        assert!(lower <= upper, "{lower} to {upper} of {case}");
    }
    let influence = metric.influence(&sample).expect("a value");
    assert_near(influence.value, expected, OF_VALUES, case);
    let sum: f64 = influence.of_rows.iter().sum();
    let size: f64 = influence.of_rows.iter().map(|one| one.abs()).sum();
    assert!(sum.abs() <= 1e-12 * size.max(1.0), "{sum} of {case}");
}

/// Why there is no value.
fn refused(case: &Value) {
    let (metric, rows) = (metric_of(case), Rows::of(case));
    let error = case["error"].as_str().expect("an error");
    let estimate = metric.estimate(&rows.sample(), 0.95);
    let Err(found) = estimate else {
        panic!("{estimate:?} of {case}");
    };
    assert_eq!(found.to_string(), error, "{case}");
    assert_eq!(metric.influence(&rows.sample()), Err(found), "{case}");
}

/// The interval of a metric, or that there is none.
fn ends(case: &Value) {
    let (metric, rows) = (metric_of(case), Rows::of(case));
    let confidence = case["confidence"].as_f64().expect("a number");
    let found = metric.estimate(&rows.sample(), confidence);
    match found.expect("a value").interval {
        Some(interval) if !case["expected"].is_null() => assert_ends(interval, case),
        found => assert!(
            found.is_none() && case["expected"].is_null(),
            "{found:?} of {case}"
        ),
    }
}

/// A comparison on the same rows: its value, interval and p-values.
fn advantage(case: &Value) {
    let number = |value: &Value| value.as_f64().expect("a number");
    let labels = numbers(&case["labels"]);
    let (one, two) = (numbers(&case["answers"][0]), numbers(&case["answers"][1]));
    let (mut one, mut two) = (Sample::new(&labels, &one), Sample::new(&labels, &two));
    let weights = given(&case["weights"], numbers);
    if let Some(weights) = &weights {
        (one, two) = (one.weighted(weights), two.weighted(weights));
    }
    let found = Advantage::new(metric_of(case), &one, &two).expect("a difference");
    let (margin, expected) = (number(&case["margin"]), &case["expected"]);
    assert_near(found.value, number(&expected["value"]), OF_VALUES, case);
    let interval = found.interval(number(&case["confidence"]));
    let ends = numbers(&expected["ends"]);
    for (found, expected) in [
        (interval.lower, ends[0]),
        (interval.upper, ends[1]),
        (found.p_inferior(margin), number(&expected["inferior"])),
        (found.p_within(margin), number(&expected["within"])),
    ] {
        assert_near(found, expected, OF_ENDS, case);
    }
}

/// The interval of a difference between groups.
fn disparity(case: &Value) {
    let (labels, answers) = (numbers(&case["labels"]), numbers(&case["answers"]));
    let name = case["disparity"].as_str().expect("a name");
    let disparity: Disparity = name.parse().expect("one");
    let confidence = case["confidence"].as_f64().expect("a number");
    let sample = Sample::new(&labels, &answers);
    let found = disparity.estimate(&sample, &places(&case["groups"]), confidence);
    assert_ends(found.expect("a value").interval.expect("one"), case);
}

fn check(case: &Value) {
    let number = |field: &str| case[field].as_f64().expect("a number");
    match case["kind"].as_str().expect("a kind") {
        "metric" => value(case),
        "refused" => refused(case),
        "ends" => ends(case),
        "advantage" => advantage(case),
        "disparity" => disparity(case),
        "mean" => {
            let mean: Mean = numbers(&case["values"]).into_iter().collect();
            assert_ends(mean.interval(number("confidence")).expect("two"), case);
        }
        "interval" => {
            let proportion = proportion_of(&case["successes"], &case["trials"]);
            let found = match case["method"].as_str() {
                Some("wilson") => proportion.wilson(number("confidence")),
                _ => proportion.clopper_pearson(number("confidence")),
            };
            assert_ends(found, case);
        }
        kind @ ("newcombe" | "bounds") => {
            let of = |field: &str| proportion_of(&case[field][0], &case[field][1]);
            let found = difference(of("one"), of("two"), number("confidence")).expect("trials");
            let bounds = Interval {
                lower: found.lower_bound,
                upper: found.upper_bound,
            };
            let is_of_one_side = kind == "bounds";
            assert_ends(
                if is_of_one_side {
                    bounds
                } else {
                    found.interval
                },
                case,
            );
        }
        "quantile" => assert_near(
            normal::quantile(number("p")),
            number("expected"),
            OF_VALUES,
            case,
        ),
        "cdf" => assert_near(normal::cdf(number("x")), number("expected"), OF_ENDS, case),
        "holm" => {
            let found = holm(&numbers(&case["p_values"]));
            for (found, expected) in found.iter().zip(numbers(&case["expected"])) {
                assert_near(*found, expected, OF_ENDS, case);
            }
        }
        "delong" => {
            let labels = numbers(&case["labels"]);
            let (one, two) = (numbers(&case["scores"][0]), numbers(&case["scores"][1]));
            let (one, two) = (Sample::new(&labels, &one), Sample::new(&labels, &two));
            let expected = numbers(&case["expected"]);
            let found = Metric::RocAuc.finding(&one).expect("a value");
            let error = found.standard_error().expect("two of each");
            assert_near(error * error, expected[0], OF_VALUES, case);
            let apart = Advantage::new(Metric::RocAuc, &one, &two).expect("a difference");
            assert_near(apart.standard_error.powi(2), expected[1], OF_VALUES, case);
        }
        "fairness" => {
            let (labels, answers) = (numbers(&case["labels"]), numbers(&case["answers"]));
            let sample = Sample::new(&labels, &answers);
            let groups = places(&case["groups"]);
            let all = [
                Disparity::DemographicParity,
                Disparity::EqualOpportunity,
                Disparity::EqualisedOdds,
            ];
            for (disparity, expected) in all.into_iter().zip(numbers(&case["expected"])) {
                let found = disparity.estimate(&sample, &groups, 0.95).expect("a value");
                assert_near(found.value, expected, OF_VALUES, case);
                let interval = found.interval.expect("one");
                assert!(interval.lower <= found.value && found.value <= interval.upper);
            }
        }
        "long" => long(case),
        other => panic!("no kind {other}"),
    }
}

/// Ten million rows that the script makes by the same rule.
fn long(case: &Value) {
    let rows: i64 = 10_000_000;
    let shift = case["shift"].as_f64().expect("a number");
    let steps = case["steps"].as_i64().unwrap_or(1_000_003);
    #[allow(clippy::cast_precision_loss)] // below 2^53
    let of = |row: i64| {
        let label = f64::from(u8::from(row * 7919 % 1000 < 400));
        let score = (row * 104_729 % steps) as f64 / steps as f64;
        (label + shift, score + shift)
    };
    let (mut labels, answers): (Vec<f64>, Vec<f64>) = (0..rows).map(of).unzip();
    if let Some(first) = case["first"].as_f64() {
        labels[0] = first;
    }
    let divisor = case["divisor"].as_f64().unwrap_or(97.0);
    let counts = case["counts"].as_i64();
    #[allow(clippy::cast_precision_loss)] // below 2^53
    let weight = |counts: i64| move |row: i64| (row * 31 % counts + 1) as f64 / divisor;
    let weights: Option<Vec<f64>> = counts.map(|counts| (0..rows).map(weight(counts)).collect());
    let mut sample = Sample::new(&labels, &answers);
    if let Some(weights) = &weights {
        sample = sample.weighted(weights);
    }
    let found = metric_of(case).known(&sample).expect("a value");
    let expected = case["expected"].as_f64().expect("a number");
    assert_near(found.value(), expected, OF_VALUES, case);
}

#[test]
fn the_libraries_of_the_field_say_the_same() {
    let file: Value = serde_json::from_str(include_str!("reference/cases.json")).expect("JSON");
    let cases = file["cases"].as_array().expect("a list");
    assert!(
        cases.len() >= 2000 && file["count"] == cases.len(),
        "{}",
        cases.len()
    );
    cases.iter().for_each(check);
}
