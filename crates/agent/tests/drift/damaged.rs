//! Profiles whose files were cut or changed: each is refused with its name, or judged, and none ends the program.

use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use windlass_agent::report::exit_code;
use windlass_api::agent::{FailureReason, FailureReport, Report};

use crate::by_hand::{by_hand, profiled, write_grouped};
use crate::rows_kept::made;
use crate::{Rows, batch, rows};

/// Numbers, names, texts and vectors, with units and a segment.
async fn whole(folder: &Path) -> Vec<u8> {
    let at = |name: &str| folder.join(name);
    let of = |seed: u64| {
        let kept = made(200, seed, 0.1, 0.0);
        let traffic: Rows = rows(200, seed, 0.0);
        let others = batch(&traffic, 0).project(&[2, 3, 4]).expect("columns");
        let fields = kept.schema_ref().fields().iter();
        let fields = fields.chain(others.schema_ref().fields().iter());
        let names = fields.map(|field| field.name().clone());
        let columns = kept.columns().iter().chain(others.columns());
        let both: Vec<_> = names.zip(columns.cloned()).collect();
        arrow::array::RecordBatch::try_from_iter(both).expect("columns of one length")
    };
    write_grouped(&at("data.parquet"), &of(1), 100);
    write_grouped(&at("new.parquet"), &of(2), 100);
    let line = ["--unit", "user", "--segment", "temp > 5"];
    profiled(folder, "data.parquet", "whole.json", &line).await;
    std::fs::read(at("whole.json")).expect("a profile")
}

const LINE: [&str; 6] = [
    "--unit",
    "user",
    "--min-samples",
    "30",
    "--segment",
    "temp > 5",
];

/// A changed profile as a reference and as a window. Where it is refused, that is by its name and for good.
async fn judged(folder: &Path, content: &[u8]) -> usize {
    let path = folder.join("damaged.json");
    std::fs::write(&path, content).expect("written");
    let pairs = [
        ("damaged.json", "new.parquet"),
        ("whole.json", "damaged.json"),
    ];
    let mut refused = 0;
    for (reference, current) in pairs {
        let found = by_hand(folder, reference, current, &LINE).await;
        if let Err(failure) = found
            && failure.reason == FailureReason::ReferenceUnreadable
        {
            assert_told(failure, &path);
            refused += 1;
        }
    }
    refused
}

fn assert_told(failure: FailureReport, path: &Path) {
    let path = path.display().to_string();
    assert!(failure.message.contains(&path), "{}", failure.message);
    assert_eq!(exit_code(&Report::Failure(failure)), 65);
}

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    })
}

/// What happened to a file.
#[derive(Clone, Debug)]
enum Damage {
    Cut(usize),
    Flipped(usize, u8),
    /// Another digit, which leaves it JSON.
    Digit(usize, u8),
    Twice(usize, usize),
}

impl Damage {
    fn of(&self, whole: &[u8]) -> Vec<u8> {
        let mut content = whole.to_vec();
        match *self {
            Self::Cut(at) => content.truncate(at % whole.len()),
            Self::Flipped(at, bit) => content[at % whole.len()] ^= 1 << (bit % 8),
            Self::Digit(at, digit) => {
                let digits = (0..whole.len()).filter(|at| whole[*at].is_ascii_digit());
                let digits: Vec<usize> = digits.collect();
                content[digits[at % digits.len()]] = b'0' + digit % 10;
            }
            Self::Twice(from, length) => {
                let from = from % whole.len();
                let part = whole[from..(from + length % 64).min(whole.len())].to_vec();
                content.splice(from..from, part);
            }
        }
        content
    }
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        any::<usize>().prop_map(Damage::Cut),
        any::<(usize, u8)>().prop_map(|(at, bit)| Damage::Flipped(at, bit)),
        any::<(usize, u8)>().prop_map(|(at, digit)| Damage::Digit(at, digit)),
        any::<(usize, usize)>().prop_map(|(at, length)| Damage::Twice(at, length)),
    ]
}

#[test]
fn whatever_bytes_of_a_profile_are_cut_or_changed_nothing_ends_in_a_panic() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let whole = runtime.block_on(whole(folder.path()));
    assert_eq!(runtime.block_on(judged(folder.path(), &whole)), 0);
    let damages = prop::collection::vec(damage(), 1..3);
    let outcome = runner(192).run(&damages, |damages| {
        let changed = damages.iter().fold(whole.clone(), |content, damage| {
            if content.is_empty() {
                content
            } else {
                damage.of(&content)
            }
        });
        runtime.block_on(judged(folder.path(), &changed));
        Ok(())
    });
    outcome.expect("it holds");
}

/// What somebody may have written in place of a part.
fn strange() -> impl Strategy<Value = Option<Value>> {
    prop::sample::select(vec![
        None,
        Some(Value::Null),
        Some(json!(0)),
        Some(json!(-1)),
        Some(json!(0.5)),
        Some(json!(1e308)),
        Some(json!(-1e308)),
        Some(json!(u64::MAX)),
        Some(json!(1_u64 << 52)),
        Some(json!("")),
        Some(json!("x")),
        Some(json!([])),
        Some(json!([[]])),
        Some(json!({})),
        Some(json!(true)),
    ])
}

/// Takes steps from the whole to a part of it, and puts something else there, or nothing at all.
fn replaced(at: &mut Value, steps: &[usize], by: Option<&Value>) {
    let step = steps.first().copied().unwrap_or(0);
    let rest = steps.get(1..).unwrap_or_default();
    match at {
        Value::Array(all) if !all.is_empty() => {
            let place = step % all.len();
            match (&all[place], by) {
                (Value::Array(_) | Value::Object(_), _) if !rest.is_empty() => {
                    replaced(&mut all[place], rest, by);
                }
                (_, Some(by)) => all[place] = by.clone(),
                (_, None) => drop(all.remove(place)),
            }
        }
        Value::Object(all) if !all.is_empty() => {
            let name = all.keys().nth(step % all.len()).cloned();
            let name = name.expect("there are so many");
            match (&all[&name], by) {
                (Value::Array(_) | Value::Object(_), _) if !rest.is_empty() => {
                    replaced(&mut all[&name], rest, by);
                }
                (_, Some(by)) => drop(all.insert(name, by.clone())),
                (_, None) => drop(all.remove(&name)),
            }
        }
        other => *other = by.cloned().unwrap_or(Value::Null),
    }
}

#[test]
fn whatever_part_of_a_profile_is_missing_or_another_nothing_ends_in_a_panic() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let whole = runtime.block_on(whole(folder.path()));
    let whole: Value = serde_json::from_slice(&whole).expect("a profile");
    let change = (prop::collection::vec(any::<usize>(), 1..8), strange());
    let mut refused = 0;
    let refused_of = std::cell::RefCell::new(&mut refused);
    let outcome = runner(320).run(&change, |(steps, by)| {
        let mut changed = whole.clone();
        replaced(&mut changed, &steps, by.as_ref());
        let content = serde_json::to_vec(&changed).expect("JSON");
        **refused_of.borrow_mut() += runtime.block_on(judged(folder.path(), &content));
        Ok(())
    });
    outcome.expect("it holds");
    // Most of such changes make no sense, and that is seen.
    assert!(refused > 200, "{refused}");
}

#[tokio::test]
async fn a_damaged_profile_is_refused_with_its_path_and_what_is_wrong() {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = whole(folder.path()).await;
    let text = String::from_utf8(whole.clone()).expect("JSON");
    let cut = text[..text.len() / 2].to_owned();
    let cases = [
        (cut, "EOF while parsing"),
        (String::new(), "EOF while parsing"),
        ("[]".to_owned(), "expected"),
        (
            text.replacen("\"rows\":200", "\"rows\":\"many\"", 1),
            "expected u64",
        ),
        (
            text.replacen("\"rows\":200", "\"rows\":100", 1),
            "of 100 rows",
        ),
        (
            text.replacen("\"columns\"", "\"colums\"", 1),
            "missing field `columns`",
        ),
        (
            text.replacen("\"edges\":[", "\"edges\":[-1e300,", 1),
            "edges of",
        ),
        (
            text.replacen("\"mean\":", "\"mean\":1e999,\"m\":", 1),
            "out of range",
        ),
    ];
    for (content, why) in cases {
        let path = folder.path().join("damaged.json");
        std::fs::write(&path, content).expect("written");
        for pair in [
            ["damaged.json", "new.parquet"],
            ["new.parquet", "damaged.json"],
        ] {
            let failure = by_hand(folder.path(), pair[0], pair[1], &LINE).await;
            let failure = failure.expect_err(why);
            assert_eq!(failure.reason, FailureReason::ReferenceUnreadable);
            assert!(failure.message.contains(why), "{}", failure.message);
            assert!(failure.message.contains("make it anew"));
            assert_told(failure, &path);
        }
    }
}
