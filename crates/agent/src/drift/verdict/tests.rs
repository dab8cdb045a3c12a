use clap::Parser;
use windlass_statistics::drift::column::Worth;
use windlass_statistics::psi::Categories;

use super::super::compare::LeftOut;
use super::super::html::tests::{column, results};
use super::super::sides::{Held, SideColumn};
use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    arguments: Arguments,
}

fn arguments(line: &[&str]) -> Arguments {
    let line = ["drift", "a", "b"].into_iter().chain(line.iter().copied());
    Line::parse_from(line).arguments
}

/// So many columns, of which the first have drifted.
fn columns(all: usize, drifted: usize) -> Vec<ColumnResult> {
    let of = |at: usize| ColumnResult {
        drifted: at < drifted,
        ..column(&format!("c{at}"))
    };
    (0..all).map(of).collect()
}

fn named(left_out: usize) -> Vec<String> {
    (0..left_out).map(|at| format!("gone{at}")).collect()
}

#[test]
fn too_few_columns_that_could_be_compared_are_never_healthy() {
    let arguments = arguments(&["--drifted-share", "0.3"]);
    for (what, compared, drifted, left_out, expected) in [
        ("all were compared", 10, 2, 0, Reached::Healthy),
        ("as many as it takes", 10, 3, 0, Reached::Drifted),
        (
            "half was, and it is of that half",
            5,
            2,
            5,
            Reached::Drifted,
        ),
        ("half was, and stood still", 5, 1, 5, Reached::Healthy),
        ("fewer were, and stood still", 4, 0, 5, Reached::Unknown),
        (
            "fewer were, and not enough of all drifted",
            4,
            2,
            5,
            Reached::Unknown,
        ),
        (
            "fewer were, and enough of all drifted",
            4,
            3,
            5,
            Reached::Drifted,
        ),
        ("one of one", 1, 1, 9, Reached::Unknown),
    ] {
        let found = reached(&arguments, &columns(compared, drifted), left_out);
        assert_eq!(found, expected, "{what}");
    }
}

#[test]
fn what_could_not_be_compared_is_said() {
    let arguments = arguments(&["--min-samples", "50"]);
    let of = |compared: usize, drifted: usize, left_out: usize| {
        let results = Results {
            columns: columns(compared, drifted),
            not_compared: named(left_out),
            findings: Vec::new(),
            performance: None,
            ..results()
        };
        super::of(&arguments, &results)
    };
    let (verdict, message) = of(10, 0, 0);
    assert_eq!(verdict, WindowVerdict::Healthy);
    assert_eq!(message, "0 of 10 columns have drifted");
    let (verdict, message) = of(6, 0, 5);
    assert_eq!(verdict, WindowVerdict::Healthy);
    let said = "; 5 more could not be compared: gone0; gone1; gone2; and 2 more";
    assert!(message.ends_with(said), "{message}");
    let (verdict, message) = of(6, 6, 1);
    assert_eq!(verdict, WindowVerdict::Drifted);
    assert!(message.ends_with("1 more could not be compared: gone0"));
    let (verdict, message) = of(2, 1, 8);
    assert_eq!(verdict, WindowVerdict::NotEnoughData);
    let said = "only 2 of 10 columns could be compared, fewer than half";
    assert!(message.starts_with(said), "{message}");
    assert!(
        message.contains("1 of 2 columns have drifted: c0"),
        "{message}"
    );
}

#[test]
fn of_fewer_rows_than_tell_anything_nothing_is_said_whatever_is_asked_for() {
    let mut results = results();
    results.findings.clear();
    results.window.effective_rows = 1e9;
    for (asked, rows, expected) in [
        ("5", 29, "of fewer than 30 nothing follows"),
        ("100", 99, "at least 100 are asked for"),
    ] {
        results.window.rows = rows;
        let arguments = arguments(&["--min-samples", asked]);
        let (verdict, message) = of(&arguments, &results);
        assert_eq!(verdict, WindowVerdict::NotEnoughData);
        assert!(message.contains(expected), "{message}");
        results.window.rows = rows + 1;
        assert_ne!(of(&arguments, &results).0, WindowVerdict::NotEnoughData);
    }
    results.window.effective_rows = 12.0;
    let (verdict, message) = of(&arguments(&["--min-samples", "5"]), &results);
    assert_eq!(verdict, WindowVerdict::NotEnoughData);
    assert!(message.contains("worth 12 independent ones"), "{message}");
}

#[test]
fn a_segment_of_which_little_could_be_compared_says_why() {
    let arguments = arguments(&["--min-samples", "50"]);
    let side = Side {
        rows: 100,
        ..Side::default()
    };
    let of = |compared: usize, left_out: usize| {
        let left_out = named(left_out).into_iter().map(|column| LeftOut {
            column,
            why: "too few rows".to_owned(),
        });
        let found = Found {
            columns: columns(compared, 0),
            left_out: left_out.collect(),
        };
        of_segment(&arguments, Some(&side), &side, &found)
    };
    assert_eq!(of(3, 3).0, WindowVerdict::Healthy);
    let (verdict, message) = of(1, 2);
    assert_eq!(verdict, WindowVerdict::NotEnoughData);
    assert!(message.contains("only 1 of 3 columns"), "{message}");
    let (verdict, message) = of(0, 1);
    assert_eq!(verdict, WindowVerdict::NotEnoughData);
    assert!(message.ends_with("gone0: too few rows"), "{message}");
}

/// Units that are so large that hardly one is kept tell nothing; that is no reason to call rows alike.
#[test]
fn rows_whose_worth_is_not_known_are_told_from_rows_that_are_alike() {
    let arguments = arguments(&["--min-samples", "50", "--unit", "user"]);
    let side = |worth: f64| {
        let mut column = SideColumn {
            by_time: None,
            name: "x".to_owned(),
            nulls: 0,
            other_type: 0,
            worth: Worth::INDEPENDENT,
            share_effect: worth,
            held: Held::Category(Categories::default()),
        };
        column.worth.shares.of_shares = worth;
        Side {
            rows: 1200,
            columns: vec![column],
            ..Side::default()
        }
    };
    let found = Found {
        columns: columns(3, 0),
        left_out: Vec::new(),
    };
    for (effect, said) in [
        (1200.0, "1200 rows count as one"),
        (
            100.0,
            "1200 rows are worth 12 independent ones, since rows of one user",
        ),
    ] {
        let (verdict, message) = of_segment(&arguments, Some(&side(1.0)), &side(effect), &found);
        assert_eq!(verdict, WindowVerdict::NotEnoughData);
        assert!(message.starts_with(said), "{message}");
        let mut results = results();
        results.findings.clear();
        results.window.rows = 1200;
        results.window.effective_rows = side(effect).effective_rows();
        let (verdict, message) = of(&arguments, &results);
        assert_eq!(verdict, WindowVerdict::NotEnoughData);
        assert!(message.starts_with(said), "{message}");
    }
}
