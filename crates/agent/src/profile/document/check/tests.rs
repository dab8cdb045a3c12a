use windlass_api::agent::{ColumnTimes, NumberPart, TimePart};

use super::*;

fn number() -> ColumnProfile {
    ColumnProfile {
        name: "x".to_owned(),
        nulls: 1,
        other_type: 0,
        distribution: Distribution::Number {
            edges: vec![1.0, 2.0],
            counts: vec![2, 3, 4],
            mean: 1.5,
            standard_deviation: 0.5,
            cells: vec![
                NumberCell(0.0, 0.5, 0.25, 2),
                NumberCell(1.0, 1.0, 1.0, 3),
                NumberCell(2.0, 3.0, 2.5, 4),
            ],
        },
        worth: Some(Worth {
            units: 5,
            shares: 2.0,
            unevenness: 0.0,
            cumulated: 2.0,
            mean: 1.0,
        }),
        by_time: Some(by_time()),
    }
}

fn profile() -> Profile {
    Profile {
        rows: 10,
        columns: vec![number()],
        unit: Some("user".to_owned()),
        segments: vec![SegmentProfile {
            segment: "x > 1".to_owned(),
            rows: 10,
            columns: vec![number()],
            times: Some(times()),
        }],
        scores: Some(Scores {
            edges: vec![0.5],
            rows: vec![4, 6],
            positives: vec![1, 6],
            threshold: 1,
        }),
        times: Some(times()),
    }
}

/// An hour, a month and two stretches.
fn times() -> Times {
    Times {
        column: "at".to_owned(),
        first: 0,
        last: 5_000_000_000,
        hours: vec![TimePart(72, 10, vec![0])],
        months: vec![TimePart(0, 10, vec![1970])],
        stretch_hours: 1,
        stretches: vec![TimePart(0, 6, vec![]), TimePart(1, 4, vec![])],
    }
}

fn by_time() -> ColumnTimes {
    let part = |counts: [u64; 2]| NumberPart(0, 1.5, 0.5, counts.to_vec());
    ColumnTimes::Number {
        edges: vec![1.5],
        parts: vec![part([5, 4]), part([5, 4]), part([3, 2]), part([2, 2])],
    }
}

type Change = fn(&mut Profile);

fn of_times(profile: &mut Profile) -> &mut Times {
    profile.times.as_mut().expect("they are there")
}

fn of_part(profile: &mut Profile) -> &mut NumberPart {
    match &mut profile.columns[0].by_time {
        Some(ColumnTimes::Number { parts, .. }) => &mut parts[0],
        other => unreachable!("it is a number: {other:?}"),
    }
}

fn of_number(profile: &mut Profile) -> (&mut Vec<f64>, &mut Vec<u64>, &mut Vec<NumberCell>) {
    match &mut profile.columns[0].distribution {
        Distribution::Number {
            edges,
            counts,
            cells,
            ..
        } => (edges, counts, cells),
        other => unreachable!("it is a number: {other:?}"),
    }
}

#[test]
fn what_is_not_as_it_is_written_is_named_with_its_place() {
    assert_eq!(check(&profile()), Ok(()));
    let cases: [(Change, &str); 31] = [
        (|of| of.rows = u64::MAX, "rows are more than can be counted"),
        (|of| of.rows = 9, "column 'x': 10 values of 9 rows"),
        (
            |of| of.columns.push(number()),
            "column 'x': it is there twice",
        ),
        (|of| of.columns[0].nulls = 2, "11 values of 10 rows"),
        (|of| of.columns[0].nulls = u64::MAX, "more rows than can be"),
        (|of| of_number(of).1.truncate(2), "2 edges of 2 bins"),
        (
            |of| of_number(of).0.swap(0, 1),
            "edges of bins do not ascend",
        ),
        (|of| of_number(of).0[1] = f64::INFINITY, "no number"),
        (|of| of_number(of).1[0] = u64::MAX, "more rows than can be"),
        (
            |of| of_number(of).2[0].1 = -1.0,
            "a cell of 2 values from 0 to -1",
        ),
        (|of| of_number(of).2[0].2 = 7.0, "with a mean of 7"),
        (|of| of_number(of).2[1].3 = 0, "a cell of 0 values"),
        (|of| of_number(of).2.swap(0, 2), "cells of values do not"),
        (
            |of| of_number(of).2[1].3 = 2,
            "8 values in its cells, and 9 in its bins",
        ),
        (
            |of| of.columns[0].worth.as_mut().expect("it is there").shares = 0.0,
            "a design effect of 0",
        ),
        (
            |of| of.segments[0].rows = 11,
            "segment \"x > 1\": it has 11 rows of 10",
        ),
        (
            |of| of.segments.push(of.segments[0].clone()),
            "segment \"x > 1\": it is there twice",
        ),
        (
            |of| of.segments[0].columns[0].nulls = 2,
            "segment \"x > 1\": column 'x': 11 values",
        ),
        (
            |of| of.scores.as_mut().expect("they are there").positives[0] = 5,
            "scores: 5 rows of class 1 of 4 rows",
        ),
        (
            |of| of.scores.as_mut().expect("they are there").threshold = 3,
            "scores: a threshold at bin 3 of 2",
        ),
        (
            |of| of_times(of).hours[0].0 = 168,
            "times: hours: there is none of number Some(168)",
        ),
        (
            |of| of_times(of).months[0].1 = 11,
            "times: months: 11 rows of 10",
        ),
        (
            |of| of_times(of).stretches[1].0 = 0,
            "stretches do not ascend",
        ),
        (|of| of_times(of).stretch_hours = 0, "stretches of 0 hours"),
        (|of| of_times(of).first = i64::MAX, "it begins at"),
        (
            |of| of.times = None,
            "column 'x': values by time, and no times",
        ),
        (
            |of| drop(of_times(of).stretches.pop()),
            "values in 4 parts of the time, of which there are 3",
        ),
        (
            |of| of_part(of).0 = 9,
            "a part of the time: 18 values of 10",
        ),
        (
            |of| of_part(of).2 = -1.0,
            "a standard deviation of -1 by time",
        ),
        (|of| of_part(of).3.push(0), "1 edges of 3 bins"),
        (
            |of| {
                let levels = vec!["a".to_owned()];
                let parts = vec![];
                of.columns[0].by_time = Some(ColumnTimes::Category { levels, parts });
            },
            "its values by time are of another type",
        ),
    ];
    for (change, why) in cases {
        let mut changed = profile();
        change(&mut changed);
        let problem = check(&changed).expect_err(why);
        assert!(problem.contains(why), "{problem}, and not {why}");
    }
}

/// Sums that are too large would overflow where they are added up.
#[test]
fn sums_of_vectors_that_none_can_have_are_refused() {
    let sums = |squares: &str, of_group: &str, rows: u64| {
        serde_json::json!({
            "width": 2,
            "unfit": 0,
            "squares": squares,
            "groups": {"3": {"rows": rows, "sums": of_group}},
        })
    };
    let keys = [[1, 2]];
    let bytes = "AACAPwAAAEA=";
    let read = |sums: &serde_json::Value| vectors(2, sums, &keys, bytes).map(|_| ());
    assert_eq!(read(&sums("1 2", "3 -4", 5)), Ok(()));
    let most = i128::MAX.to_string();
    for (wrong, why) in [
        (sums("1", "3 -4", 5), "not of 2 numbers each"),
        (sums("1 2", "3", 5), "not of 2 numbers each"),
        (sums("1 2", "3 -4", 0), "groups"),
        (sums("-1 2", "3 -4", 5), "larger than"),
        (sums(&format!("1 {most}"), "3 -4", 5), "larger than"),
        (sums("1 2", &format!("{most} 1"), 5), "larger than"),
        (sums("1 2", "3 -4", u64::MAX), "larger than"),
        (sums("1 x", "3 -4", 5), "not whole numbers"),
    ] {
        let problem = read(&wrong).expect_err(why);
        assert!(problem.contains(why), "{problem}, and not {why}");
    }
    let strange = vectors(2, &sums("1 2", "3 -4", 5), &keys, "AADAfwAAAEA=");
    let strange = strange.expect_err("NaN");
    assert!(strange.contains("is NaN"), "{strange}");
}
