//! What is allowed of the data of a window: each limit by itself, and what it is when nothing is said.

use std::path::Path;

use windlass_api::agent::{DriftReport, WindowVerdict};

use crate::{START, drift_of, payload, reference, rows};

/// The verdict and its message on a window, by these arguments: that of its data, whatever one column has drifted.
async fn of(folder: &Path, more: &[&str]) -> (WindowVerdict, String) {
    let mut line = vec!["--drifted-share", "1"];
    line.extend(more);
    let DriftReport {
        verdict, message, ..
    } = drift_of(folder, &line).await.expect("a verdict");
    (verdict, message)
}

#[tokio::test]
async fn rows_without_a_value_break_by_their_share_and_by_its_increase() {
    let folder = tempfile::tempdir().expect("a folder");
    reference(folder.path()).await;
    let mut some = rows(1000, 2, 0.0);
    for row in 0..80 {
        some.temp[row * 12] = None;
    }
    payload(folder.path(), &some, START);
    // 8% of rows, of none before.
    for (line, expected) in [
        (&["--max-null-increase", "0.2"][..], WindowVerdict::Healthy),
        (&["--max-null-increase", "0.03"], WindowVerdict::DataBroken),
        (
            &["--max-null-increase", "0.2", "--max-null-fraction", "0.03"],
            WindowVerdict::DataBroken,
        ),
        (
            &["--max-null-increase", "0.2", "--max-null-fraction", "0.2"],
            WindowVerdict::Healthy,
        ),
    ] {
        let (verdict, message) = of(folder.path(), line).await;
        assert_eq!(verdict, expected, "{line:?}: {message}");
        if verdict == WindowVerdict::DataBroken {
            assert!(message.contains("temp: no value in 0% → 8"), "{message}");
        }
    }
}

#[tokio::test]
async fn names_that_are_new_are_told_or_break_or_are_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    reference(folder.path()).await;
    let mut new = rows(1000, 2, 0.0);
    for row in 0..60 {
        new.carrier[row * 16] = Some("ZZ");
    }
    payload(folder.path(), &new, START);
    three(folder.path(), "--new-categories", "new levels 'ZZ'").await;
}

#[tokio::test]
async fn numbers_beyond_all_of_the_reference_are_told_or_break_or_are_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    reference(folder.path()).await;
    let mut far = rows(1000, 2, 0.0);
    for row in 0..60 {
        far.temp[row * 16] = Some(10.5);
    }
    payload(folder.path(), &far, START);
    three(
        folder.path(),
        "--beyond-range",
        "temp: above all of the reference",
    )
    .await;
}

#[tokio::test]
async fn requests_that_come_twice_are_told_or_break_or_are_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    reference(folder.path()).await;
    let mut twice = rows(1000, 2, 0.0);
    for row in 0..100 {
        twice.ids[row * 10] = twice.ids[row * 10 + 1].clone();
    }
    payload(folder.path(), &twice, START);
    three(folder.path(), "--duplicates", "duplicates: 0% → 10%").await;
}

/// Warned of, which is the default; a break; or nothing at all.
async fn three(folder: &Path, flag: &str, words: &str) {
    let output = folder.join("out");
    let to = output.display().to_string();
    let told = |line: &[&str]| {
        let mut all = vec!["--output", &to];
        all.extend(line);
        let all: Vec<String> = all.into_iter().map(str::to_owned).collect();
        let output = output.clone();
        async move {
            let all: Vec<&str> = all.iter().map(String::as_str).collect();
            let (verdict, message) = of(folder, &all).await;
            let written = std::fs::read_to_string(output.join("report.json")).expect("results");
            (verdict, message, written.contains(words))
        }
    };
    for line in [&[][..], &[flag, "Warn"]] {
        let (verdict, message, is_told) = told(line).await;
        assert_eq!(
            (verdict, is_told),
            (WindowVerdict::Healthy, true),
            "{message}"
        );
    }
    let (verdict, message, is_told) = told(&[flag, "Break"]).await;
    assert_eq!(
        (verdict, is_told),
        (WindowVerdict::DataBroken, true),
        "{message}"
    );
    assert!(message.contains(words), "{message}");
    let (verdict, message, is_told) = told(&[flag, "Ignore"]).await;
    assert_eq!(
        (verdict, is_told),
        (WindowVerdict::Healthy, false),
        "{message}"
    );
}

#[tokio::test]
async fn a_newest_row_that_is_older_than_it_may_be_breaks_the_data() {
    let folder = tempfile::tempdir().expect("a folder");
    reference(folder.path()).await;
    // The newest comes a second after the window's start, which is a minute long.
    payload(folder.path(), &rows(1000, 2, 0.0), START);
    for (line, expected) in [
        (&[][..], WindowVerdict::Healthy),
        (&["--max-age", "5m"], WindowVerdict::Healthy),
        (&["--max-age", "60s"], WindowVerdict::Healthy),
        (&["--max-age", "58s"], WindowVerdict::DataBroken),
    ] {
        let (verdict, message) = of(folder.path(), line).await;
        assert_eq!(verdict, expected, "{line:?}: {message}");
    }
    let (_, message) = of(folder.path(), &["--max-age", "10s"]).await;
    assert!(message.contains("may be 10 s"), "{message}");
}

/// Windows of one length before it had 600 rows each.
#[tokio::test]
async fn far_more_rows_than_windows_had_are_told_or_break_or_are_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    reference(folder.path()).await;
    let minute = 60_000;
    let judged = |at: i64, more: &[&str]| {
        let (start, end) = (START + at * minute, START + (at + 1) * minute);
        let time = |milliseconds| {
            let time = jiff::Timestamp::from_millisecond(milliseconds).expect("a time");
            time.to_string()
        };
        let to = folder.path().join(format!("out/{}", end / 1000));
        let line = [
            "--window-start".to_owned(),
            time(start),
            "--window-end".to_owned(),
            time(end),
            "--output".to_owned(),
            to.display().to_string(),
        ];
        let line: Vec<String> = line
            .into_iter()
            .chain(more.iter().map(|word| (*word).to_owned()))
            .collect();
        let folder = folder.path();
        async move {
            let line: Vec<&str> = line.iter().map(String::as_str).collect();
            of(folder, &line).await
        }
    };
    for at in 0..6 {
        let seed = u64::try_from(at).expect("small") + 10;
        payload(folder.path(), &rows(600, seed, 0.0), START + at * minute);
        let (verdict, message) = judged(at, &["--volume", "Break"]).await;
        assert_eq!(verdict, WindowVerdict::Healthy, "{at}: {message}");
    }
    payload(folder.path(), &rows(2000, 99, 0.0), START + 6 * minute);
    let (verdict, message) = judged(6, &["--volume", "Break"]).await;
    assert_eq!(verdict, WindowVerdict::DataBroken, "{message}");
    assert!(message.contains("2000 rows (usual 600"), "{message}");
    for mode in ["Warn", "Ignore"] {
        let (verdict, message) = judged(6, &["--volume", mode]).await;
        assert_eq!(verdict, WindowVerdict::Healthy, "{mode}: {message}");
    }
}
