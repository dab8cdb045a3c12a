use super::*;
use crate::drift::levels::Moved;
use crate::proportion::Proportion;
use crate::random::Random;

fn of(successes: u64, trials: u64) -> Proportion {
    Proportion { successes, trials }
}

const AGE: Check<'_> = Check {
    column: Some("age"),
    design_effects: [1.0; 2],
    level: 0.001,
};

const ALLOWED: Allowed = Allowed {
    share: Some(0.05),
    increase: 0.02,
};

fn missing(reference: Proportion, window: Proportion) -> Option<Finding> {
    AGE.share_of(Problem::Missing, [reference, window], ALLOWED)
}

#[test]
fn missing_values_are_found_where_the_bound_passes_what_is_allowed() {
    for (what, reference, window, expected) in [
        ("none", of(0, 10_000), of(0, 1000), false),
        ("as before", of(300, 10_000), of(30, 1000), false),
        ("two of three", of(0, 10_000), of(2, 3), false),
        ("five of six", of(0, 10_000), of(5, 6), true),
        ("one of two", of(0, 10_000), of(1, 2), false),
        ("six of a hundred", of(300, 10_000), of(6, 100), false),
        ("60 of a thousand", of(300, 10_000), of(60, 1000), false),
        (
            "900 of ten thousand",
            of(300, 10_000),
            of(900, 10_000),
            true,
        ),
        (
            "a little more, for certain",
            of(0, 1_000_000),
            of(1000, 1_000_000),
            false,
        ),
        ("less than before", of(900, 10_000), of(0, 1000), false),
        ("half before and now", of(5000, 10_000), of(500, 1000), true),
        ("all", of(0, 10_000), of(500, 500), true),
        ("an empty window", of(0, 10_000), of(0, 0), false),
        ("an empty reference", of(0, 0), of(500, 500), false),
    ] {
        assert_eq!(missing(reference, window).is_some(), expected, "{what}");
    }
}

#[test]
fn a_finding_has_its_interval_and_its_evidence() {
    let found = missing(of(300, 10_000), of(200, 1000)).expect("more");
    assert_eq!(found.column.as_deref(), Some("age"));
    assert!((found.value - 0.2).abs() < 1e-12 && (found.before - 0.03).abs() < 1e-12);
    // scipy 1.17: beta.ppf(0.0005, 200, 801), beta.ppf(0.9995, 201, 800).
    assert!(
        (found.interval.lower - 0.160_266_091_955_652_08).abs() < 1e-9,
        "{found:?}"
    );
    assert!(
        (found.interval.upper - 0.244_324_076_145_564_62).abs() < 1e-9,
        "{found:?}"
    );
    assert!(found.p_value < 1e-12);
    assert!(found.problem.is_break());
    // Rows of few users are no evidence.
    let few = Check {
        design_effects: [100.0; 2],
        ..AGE
    };
    let both = [of(300, 10_000), of(200, 1000)];
    assert_eq!(few.share_of(Problem::Missing, both, ALLOWED), None);
}

/// At a level of 1%, at most one of a hundred windows of the same shares is found.
#[test]
fn without_a_change_few_are_found() {
    let mut random = Random::new(55);
    let tight = Allowed {
        share: None,
        increase: 0.0,
    };
    let mut found = 0;
    for _ in 0..4000 {
        let mut draw = |rows: u64| {
            let hits = (0..rows).filter(|_| random.uniform() < 0.05).count();
            of(hits as u64, rows)
        };
        let both = [draw(1000), draw(500)];
        let check = Check { level: 0.01, ..AGE };
        found += u32::from(check.share_of(Problem::Duplicates, both, tight).is_some());
    }
    assert!((12..=60).contains(&found), "{found} of 4000");
}

#[test]
fn new_levels_are_a_surprise_where_the_reference_had_hardly_any_that_are_rare() {
    let find = |singletons, new| {
        let both = [of(singletons, 10_000), of(new, 1000)];
        let problem = Problem::NewLevels(vec!["x".to_owned()]);
        let allowed = Allowed {
            share: None,
            increase: 0.001,
        };
        AGE.share_of(problem, both, allowed)
    };
    // Of a reference in which 500 of 10,000 rows are the only ones of their level, 50 new of 1,000 are to be expected.
    assert_eq!(find(500, 50), None);
    let found = find(3, 50).expect("a surprise");
    assert!(!found.problem.is_break() && found.before < 0.001);
}

#[test]
fn lost_levels_are_one_finding() {
    let moved = Moved {
        new: Vec::new(),
        lost: vec![("b".to_owned(), 0.2), ("c".to_owned(), 0.1)],
    };
    let found = AGE.lost_levels(&moved, [1000, 200]).expect("two");
    assert_eq!(
        found.problem,
        Problem::LostLevels(vec!["b".to_owned(), "c".to_owned()])
    );
    assert!((found.before - 0.3).abs() < 1e-12 && found.p_value < 1e-15);
    let none = Moved {
        lost: Vec::new(),
        ..moved
    };
    assert_eq!(AGE.lost_levels(&none, [1000, 200]), None);
}

#[test]
fn values_beyond_the_reference_are_a_surprise_by_how_many_there_are() {
    let beyond = |rows, reference, design_effects, allowed| {
        let check = Check {
            design_effects,
            ..AGE
        };
        check.beyond_range(Problem::AboveRange, rows, reference, allowed)
    };
    // In windows as large as the reference one row lies beyond in one of two, ten in one of a thousand.
    assert_eq!(beyond(of(5, 1000), 1000, [1.0; 2], 0.0), None);
    let found = beyond(of(12, 1000), 1000, [1.0; 2], 0.0).expect("a surprise");
    // 1000·999·…·989 / (2000·1999·…·1989).
    assert!(
        (found.p_value / 2.361_703_487_317_98e-4 - 1.0).abs() < 1e-9,
        "{found:?}"
    );
    assert_eq!(beyond(of(12, 1000), 1000, [1.0; 2], 0.01), None);
    assert_eq!(beyond(of(12, 1000), 1000, [20.0; 2], 0.0), None);
    // One of ten rows, beyond a million: chance's are one of ten thousand windows' ten rows.
    assert!(beyond(of(1, 10), 1_000_000, [1.0; 2], 0.0).is_some());
    assert_eq!(beyond(of(0, 10), 1000, [1.0; 2], 0.0), None);
    assert_eq!(beyond(of(0, 0), 1000, [1.0; 2], 0.0), None);
}

#[test]
fn a_constant_column_is_one_where_the_reference_was_not() {
    let find = |most, window, effect| {
        let check = Check {
            design_effects: [effect; 2],
            ..AGE
        };
        check.constant(of(most, 1000), window)
    };
    assert!(find(500, 100, 1.0).is_some());
    assert!(find(500, 9, 1.0).is_none());
    // 995 of 1,000 rows had it: a hundred that all do are no surprise, ten thousand are.
    assert!(find(995, 100, 1.0).is_none());
    // 99 of a hundred had it, and for all that is known 995 of a thousand.
    assert!(find(990, 1000, 1.0).is_none());
    assert!(find(980, 10_000, 1.0).is_some());
    assert!(find(500, 100, 20.0).is_none());
    assert!(find(1000, 10_000, 1.0).is_none());
    assert!(find(500, 0, 1.0).is_none());
}

fn prediction(values: &[f64]) -> Prediction {
    let mut all = Prediction::default();
    for value in values {
        all.add(*value);
    }
    all
}

#[test]
fn volume_is_a_finding_by_a_factor_and_beyond_what_was_seen() {
    let steady = prediction(&[1000.0, 1100.0, 950.0, 1020.0, 980.0, 1050.0, 1010.0, 990.0]);
    for (what, rows, expected) in [
        ("as ever", 1000, false),
        ("more, by less than the factor", 1900, false),
        ("thrice", 3000, true),
        ("a tenth", 100, true),
        ("none", 0, true),
    ] {
        let found = volume(rows, &steady, 2.0, 0.001);
        assert_eq!(found.is_some(), expected, "{what}: {found:?}");
    }
    let found = volume(0, &steady, 2.0, 0.001).expect("none came");
    assert!(
        found.interval.lower > 500.0 && found.interval.upper < 2000.0,
        "{found:?}"
    );
    assert!(
        (found.before - 1_011.606_063_499_137_3).abs() < 1e-6,
        "{found:?}"
    );
    // Traffic that varies by factors is allowed to.
    let uneven = prediction(&[100.0, 9000.0, 400.0, 2500.0, 50.0, 6000.0, 900.0, 200.0]);
    assert_eq!(volume(3000, &uneven, 2.0, 0.001), None);
    assert_eq!(volume(0, &prediction(&[1000.0; 4]), 2.0, 0.001), None);
    // Five windows of two rows each: none may come by chance.
    assert_eq!(volume(0, &prediction(&[2.0; 8]), 2.0, 0.001), None);
}

#[test]
fn a_window_is_stale_where_its_newest_row_is_older_than_ever() {
    let ages = prediction(&[1.0, 3.0, 2.0, 5.0, 1.0, 2.0, 4.0, 2.0, 3.0, 1.0]);
    assert_eq!(stale(4.0, &ages, 60.0, 0.001), None);
    assert_eq!(stale(50.0, &ages, 60.0, 0.001), None);
    let found = stale(7200.0, &ages, 60.0, 0.001).expect("two hours");
    assert!(found.problem.is_break() && found.p_value < 1e-3);
    assert_eq!(stale(0.0, &ages, 0.0, 0.001), None);
}

#[test]
fn predictions_of_parts_add_up() {
    let (mut one, other) = (prediction(&[1.0, 2.0, 3.0]), prediction(&[4.0, 5.0]));
    one.merge(&other);
    let all = prediction(&[1.0, 2.0, 3.0, 4.0, 5.0]);
    let of = |prediction| volume(900, prediction, 2.0, 0.01).expect("many").before;
    assert!((of(&one) - of(&all)).abs() < 1e-9);
}
