//! The field's libraries say the same: 639 cases of numpy, scipy, scikit-learn, statsmodels and fairlearn, which
//! `reference/generate.py` makes.

use serde_json::Value;
use windlass_statistics::Interval;
use windlass_statistics::fairness::Disparity;
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
    all.iter()
        .map(|one| one.as_f64().expect("a number"))
        .collect()
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

fn check(case: &Value) {
    let number = |field: &str| case[field].as_f64().expect("a number");
    match case["kind"].as_str().expect("a kind") {
        "metric" => {
            let (labels, answers) = (numbers(&case["labels"]), numbers(&case["answers"]));
            let width = usize::try_from(case["width"].as_u64().expect("a width")).expect("small");
            let weights = (!case["weights"].is_null()).then(|| numbers(&case["weights"]));
            let queries = (!case["queries"].is_null()).then(|| places(&case["queries"]));
            let mut sample = Sample::of_classes(&labels, &answers, width);
            if let Some(weights) = &weights {
                sample = sample.weighted(weights);
            }
            if let Some(queries) = &queries {
                sample = sample.in_queries(queries);
            }
            let metric: Metric = case["metric"]
                .as_str()
                .expect("a name")
                .parse()
                .expect("one");
            let found = metric.estimate(&sample, 0.95).expect("a value");
            assert_near(found.value, number("expected"), OF_VALUES, case);
            let influence = metric.influence(&sample).expect("a value");
            assert_near(influence.value, number("expected"), OF_VALUES, case);
            let sum: f64 = influence.of_rows.iter().sum();
            let size: f64 = influence.of_rows.iter().map(|one| one.abs()).sum();
            assert!(sum.abs() <= 1e-12 * size.max(1.0), "{sum} of {case}");
        }
        "interval" => {
            let proportion = proportion_of(&case["successes"], &case["trials"]);
            let found = match case["method"].as_str() {
                Some("wilson") => proportion.wilson(number("confidence")),
                _ => proportion.clopper_pearson(number("confidence")),
            };
            assert_ends(found, case);
        }
        "newcombe" => {
            let of = |field: &str| proportion_of(&case[field][0], &case[field][1]);
            let found = difference(of("one"), of("two"), number("confidence")).expect("trials");
            assert_ends(found.interval, case);
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
    #[allow(clippy::cast_precision_loss)] // below 2^53
    let of = |row: i64| {
        let label = f64::from(u8::from(row * 7919 % 1000 < 400));
        let score = (row * 104_729 % 1_000_003) as f64 / 1_000_003.0;
        (label + shift, score + shift)
    };
    let (labels, answers): (Vec<f64>, Vec<f64>) = (0..rows).map(of).unzip();
    let sample = Sample::new(&labels, &answers);
    let metric: Metric = case["metric"]
        .as_str()
        .expect("a name")
        .parse()
        .expect("one");
    let found = metric.known(&sample).expect("a value");
    let expected = case["expected"].as_f64().expect("a number");
    assert_near(found.value(), expected, OF_VALUES, case);
}

#[test]
fn the_libraries_of_the_field_say_the_same() {
    let file: Value = serde_json::from_str(include_str!("reference/cases.json")).expect("JSON");
    let cases = file["cases"].as_array().expect("a list");
    assert!(
        cases.len() >= 600 && file["count"] == cases.len(),
        "{}",
        cases.len()
    );
    cases.iter().for_each(check);
}
