//! Windows that are compared with the reference's rows of their own season, and as far as its own windows lie from each other.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use clap::Parser;
use windlass_agent::drift;
use windlass_agent::drift::results::Results;
use windlass_agent::drift::{html, table};
use windlass_api::agent::{FailureReason, Profile, WindowVerdict};

use crate::by_hand::{by_hand, profiled, write_grouped};
use crate::{Line, Random};

/// 2024-01-01 00:00 in UTC, a Monday, in seconds.
const MONDAY: i64 = 1_704_067_200;
const HOUR: i64 = 3600;
const DAY: i64 = 24;

/// What traffic is like.
#[derive(Clone, Copy)]
struct Traffic {
    /// By how much its numbers lie higher.
    shift: f64,
    /// How far days lie from each other.
    unrest: f64,
    /// Whether nights and weekends are unlike working hours.
    has_seasons: bool,
}

const CALM: Traffic = Traffic {
    shift: 0.0,
    unrest: 0.0,
    has_seasons: true,
};

/// Rows of these hours, so many in each, from Monday on.
fn made(hours: std::ops::Range<i64>, each: i64, seed: u64, traffic: Traffic) -> RecordBatch {
    let mut random = Random(seed);
    let (mut times, mut amounts, mut steady, mut devices) = (vec![], vec![], vec![], vec![]);
    let mut of_day = 0.0;
    for hour in hours {
        if hour % DAY == 0 {
            of_day = (random.next() + random.next() - 1.0) * traffic.unrest;
        }
        let is_quiet = traffic.has_seasons && (hour / DAY % 7 >= 5 || hour % DAY < 8);
        for row in 0..each {
            times.push(Some((MONDAY + hour * HOUR + row * HOUR / each) * 1_000_000));
            let centre = if is_quiet { 2.0 } else { 8.0 };
            amounts.push(centre + random.next() * 4.0 + of_day + traffic.shift);
            steady.push(random.next());
            // Nobody is at their desk at night.
            let is_desk = !is_quiet && random.next() < 0.7;
            devices.push(if is_desk { "desk" } else { "phone" });
        }
    }
    let column = |array: ArrayRef| array;
    let times = TimestampMicrosecondArray::from(times).with_timezone("UTC");
    let ids = (0..devices.len()).map(|row| format!("{seed}#{row}"));
    RecordBatch::try_from_iter([
        (
            "request_id",
            column(Arc::new(StringArray::from_iter_values(ids))),
        ),
        ("timestamp", column(Arc::new(times))),
        ("amount", column(Arc::new(Float64Array::from(amounts)))),
        ("steady", column(Arc::new(Float64Array::from(steady)))),
        ("device", column(Arc::new(StringArray::from(devices)))),
    ])
    .expect("columns of one length")
}

const COLUMNS: [&str; 6] = [
    "--column", "amount", "--column", "steady", "--column", "device",
];
const TIME: [&str; 2] = ["--time", "timestamp"];

async fn found(folder: &Path, reference: &str, current: &str, more: &[&str]) -> Results {
    let line: Vec<&str> = COLUMNS.into_iter().chain(more.iter().copied()).collect();
    let found = by_hand(folder, reference, current, &line).await;
    found.expect("a verdict")
}

/// Six weeks, and windows of the eighth: a Saturday, the same with drift, and a Wednesday night.
fn weeks(folder: &Path) {
    let write = |name: &str, batch: &RecordBatch| {
        write_grouped(&folder.join(name), batch, 3000);
    };
    write("old.parquet", &made(0..6 * 168, 30, 1, CALM));
    let saturday = 7 * 168 + 5 * DAY;
    write(
        "saturday.parquet",
        &made(saturday..saturday + DAY, 30, 2, CALM),
    );
    let moved = Traffic { shift: 1.0, ..CALM };
    write(
        "moved.parquet",
        &made(saturday..saturday + DAY, 30, 3, moved),
    );
    let night = 7 * 168 + 2 * DAY;
    write("night.parquet", &made(night..night + 6, 100, 4, CALM));
}

#[tokio::test]
async fn a_saturday_is_no_drift_beside_saturdays_and_what_moved_on_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    weeks(folder.path());
    for window in ["saturday.parquet", "night.parquet"] {
        let by_all = found(folder.path(), "old.parquet", window, &[]).await;
        assert_eq!(by_all.verdict, WindowVerdict::Drifted, "{window}");
        assert_eq!((by_all.drifted(), by_all.compared_with), (2, None));
        let by_season = found(folder.path(), "old.parquet", window, &TIME).await;
        let message = &by_season.message;
        assert_eq!(by_season.verdict, WindowVerdict::Healthy, "{message}");
        assert_eq!(by_season.drifted(), 0, "{message}");
        // Desks are gone, and numbers low: at such hours they are.
        assert!(by_season.findings.is_empty(), "{:?}", by_season.findings);
    }
    let moved = found(folder.path(), "old.parquet", "moved.parquet", &TIME).await;
    assert_eq!(moved.verdict, WindowVerdict::Drifted, "{}", moved.message);
    assert_eq!((&*moved.columns[0].column, moved.drifted()), ("amount", 1));
    let said = &moved.columns[0].moved;
    assert!(
        said.starts_with("mean 4") && said.contains(" → 5"),
        "{said}"
    );
    let with = moved.compared_with.as_ref().expect("it has times");
    // Six Saturdays of 24 hours.
    assert_eq!(with.rows, 6 * 24 * 30);
    let words = "compared with the reference's rows of the same hours of the week (Saturday 00:00 to Sunday 00:00: 4320 rows)";
    assert!(with.words.starts_with(words), "{}", with.words);
    let page = html::html(&moved, &[]);
    let table = table::table(&moved, 400, false);
    for text in [page, table] {
        assert!(
            text.contains("rows of the same hours of the week"),
            "{text}"
        );
    }
}

/// A profile that was written, and the data that it was made of; on a monitor's side, a log.
#[tokio::test]
async fn what_is_found_of_a_season_is_the_same_of_a_profile_and_of_a_log() {
    let folder = tempfile::tempdir().expect("a folder");
    weeks(folder.path());
    let line: Vec<&str> = COLUMNS.into_iter().chain(TIME).collect();
    profiled(folder.path(), "old.parquet", "old.json", &line).await;
    profiled(folder.path(), "moved.parquet", "moved.json", &line).await;
    let of = |mut results: Results| {
        results.reference.name.clear();
        serde_json::to_string(&results).expect("JSON")
    };
    let by_data = found(folder.path(), "old.parquet", "moved.parquet", &TIME).await;
    let by_profile = found(folder.path(), "old.json", "moved.parquet", &TIME).await;
    assert_eq!(of(by_profile), of(by_data.clone()));
    let by_two = found(folder.path(), "old.json", "moved.json", &TIME).await;
    assert_eq!(by_two.verdict, by_data.verdict);
    assert_eq!(by_two.compared_with, by_data.compared_with);

    let log = folder.path().join("payloads/m-1");
    std::fs::create_dir_all(&log).expect("a folder");
    let at = |name: &str| folder.path().join(name).display().to_string();
    for (window, expected) in [
        ("saturday.parquet", WindowVerdict::Healthy),
        ("moved.parquet", WindowVerdict::Drifted),
    ] {
        std::fs::copy(folder.path().join(window), log.join("a.parquet")).expect("copied");
        let (reference, payloads, output) = (at("old.json"), at("payloads"), at("out"));
        let line = [
            "x",
            "--reference",
            &reference,
            "--payloads",
            &payloads,
            "--version",
            "m-1",
            "--window-start",
            "2024-02-24T00:00:00Z",
            "--window-end",
            "2024-02-25T00:00:00Z",
            "--output",
            &output,
        ];
        drift::run(Line::parse_from(line).arguments)
            .await
            .expect("a verdict");
        let written = std::fs::read(folder.path().join("out/report.json")).expect("results");
        let written: Results = serde_json::from_slice(&written).expect("results");
        assert_eq!(written.verdict, expected, "{}", written.message);
        let with = written.compared_with.expect("the log has times");
        assert_eq!(with.rows, 6 * 24 * 30, "{}", with.words);
    }
}

#[tokio::test]
async fn a_reference_that_says_nothing_of_times_or_too_little_is_compared_as_a_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    weeks(folder.path());
    profiled(folder.path(), "old.parquet", "silent.json", &COLUMNS).await;
    let silent = std::fs::read(folder.path().join("silent.json")).expect("a profile");
    let silent: Profile = serde_json::from_slice(&silent).expect("a profile");
    assert_eq!(silent.times, None);
    write_grouped(
        &folder.path().join("few.parquet"),
        &made(0..3 * 168, 30, 1, CALM),
        3000,
    );
    // Of days that it knows, six are like this one: by all of its rows it drifted, and by its days it did not.
    for (reference, why, verdict, days) in [
        (
            "silent.json",
            "which does not say when they were",
            WindowVerdict::Drifted,
            0,
        ),
        (
            "few.parquet",
            "it has Saturday 00:00 in 3 weeks, and takes 4",
            WindowVerdict::Healthy,
            21,
        ),
    ] {
        let by_all = found(folder.path(), reference, "saturday.parquet", &TIME).await;
        assert_eq!(by_all.verdict, verdict, "{reference}");
        let with = by_all.compared_with.expect("the window has times");
        assert!(with.words.contains(why), "{}", with.words);
        assert_eq!(with.own_windows, days, "{reference}");
    }
    for (line, reason) in [
        (["--time", "steady"], FailureReason::InvalidArguments),
        (["--time", "when"], FailureReason::ColumnNotFound),
    ] {
        let wrong = by_hand(folder.path(), "old.parquet", "saturday.parquet", &line).await;
        let wrong = wrong.expect_err("it has no times");
        assert_eq!(wrong.reason, reason, "{}", wrong.message);
    }
}

#[tokio::test]
async fn a_segment_is_compared_with_its_own_season_too() {
    let folder = tempfile::tempdir().expect("a folder");
    weeks(folder.path());
    let line = ["--segment", "steady < 0.8"];
    let by_all = found(folder.path(), "old.parquet", "saturday.parquet", &line).await;
    assert_eq!(by_all.segments[0].verdict, WindowVerdict::Drifted);
    let line: Vec<&str> = line.into_iter().chain(TIME).collect();
    for (window, expected) in [
        ("saturday.parquet", WindowVerdict::Healthy),
        ("moved.parquet", WindowVerdict::Drifted),
    ] {
        let by_season = found(folder.path(), "old.parquet", window, &line).await;
        let segment = &by_season.segments[0];
        assert_eq!(segment.verdict, expected, "{}", segment.message);
        let with = segment.compared_with.as_ref().expect("it has times");
        assert!(with.words.contains("hours of the week"), "{}", with.words);
    }
}

/// Days lie up to half a deviation from each other: each is another than all of them together, and like all of them.
#[tokio::test]
async fn days_that_differ_as_days_do_are_no_drift_and_one_that_lies_further_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let unrest = Traffic {
        shift: 0.0,
        unrest: 1.2,
        has_seasons: false,
    };
    write_grouped(
        &folder.path().join("old.parquet"),
        &made(0..21 * DAY, 60, 5, unrest),
        5000,
    );
    let mut alarms = [0, 0];
    for day in 0..8 {
        let first = (40 + day) * DAY;
        let seed = 100 + u64::try_from(day).expect("small");
        let batch = made(first..first + DAY, 60, seed, unrest);
        write_grouped(&folder.path().join("new.parquet"), &batch, 5000);
        let by_rows = found(folder.path(), "old.parquet", "new.parquet", &[]).await;
        let by_days = found(folder.path(), "old.parquet", "new.parquet", &TIME).await;
        alarms[0] += by_rows.drifted();
        alarms[1] += by_days.drifted();
        let with = by_days.compared_with.expect("it has times");
        assert_eq!(with.own_windows, 21, "{}", with.words);
    }
    assert!(alarms[0] >= 3 && alarms[1] == 0, "{alarms:?}");
    let moved = Traffic {
        shift: 5.0,
        ..unrest
    };
    let first = 50 * DAY;
    let batch = made(first..first + DAY, 60, 200, moved);
    write_grouped(&folder.path().join("new.parquet"), &batch, 5000);
    let by_days = found(folder.path(), "old.parquet", "new.parquet", &TIME).await;
    assert_eq!(
        (&*by_days.columns[0].column, by_days.drifted()),
        ("amount", 1)
    );
    let page = html::html(&by_days, &[]);
    assert!(
        page.contains("21 windows of it, as long as this one"),
        "{page}"
    );
}
