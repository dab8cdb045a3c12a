//! Columns whose rows are looked at themselves: texts, and vectors of one length.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, Float64Array, Int64Array, ListArray, RecordBatch, StringArray,
};
use arrow::datatypes::Float32Type;
use windlass_agent::drift::results::{ColumnResult, Kind, Results};
use windlass_api::agent::{FailureReason, WindowVerdict};
use windlass_statistics::drift::method::Method;

use crate::Random;
use crate::by_hand::{by_hand, profiled, write_grouped};

const WORDS: [&str; 20] = [
    "hat", "red", "fine", "late", "box", "soft", "large", "again", "shop", "good", "bad", "colour",
    "thread", "paper", "gift", "fast", "slow", "price", "size", "return",
];

fn vectors(rows: impl Iterator<Item = Vec<f32>>) -> ArrayRef {
    let rows = rows.map(|row| Some(row.into_iter().map(Some)));
    Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(rows))
}

/// Reviews of eight words of which so many texts have "refund", and vectors of three even numbers, the first of which is
/// shifted.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // numbers of a few digits
pub fn made(rows: usize, seed: u64, refunds: f64, shift: f64) -> RecordBatch {
    let mut random = Random(seed);
    let mut reviews = Vec::new();
    let mut all = Vec::new();
    for _ in 0..rows {
        let mut word = || WORDS[(random.next() * 20.0) as usize];
        let mut words: Vec<&str> = (0..8).map(|_| word()).collect();
        if random.next() < refunds {
            words[3] = "refund";
        }
        reviews.push(words.join(" "));
        let mut number = || random.next() as f32;
        all.push(vec![number() + shift as f32, number(), number()]);
    }
    let users = (0..rows).map(|row| format!("u{}", row / 4));
    RecordBatch::try_from_iter([
        (
            "user",
            Arc::new(StringArray::from_iter_values(users)) as ArrayRef,
        ),
        ("review", Arc::new(StringArray::from(reviews))),
        ("vector", vectors(all.into_iter())),
    ])
    .expect("columns of one length")
}

/// The same with another column of this name.
fn with(whole: &RecordBatch, name: &str, values: ArrayRef) -> RecordBatch {
    let names = whole.schema_ref().fields().iter();
    let names = names.map(|field| field.name().clone());
    let mut columns: Vec<(String, ArrayRef)> = names.zip(whole.columns().to_vec()).collect();
    let mut all = columns.iter_mut();
    let column = all.find(|(of, _)| of == name).expect("it is there");
    column.1 = values;
    RecordBatch::try_from_iter(columns).expect("columns")
}

fn column<'a>(found: &'a Results, name: &str) -> &'a ColumnResult {
    let mut columns = found.columns.iter();
    let column = columns.find(|column| column.column == name);
    column.unwrap_or_else(|| panic!("{name}: {found:?}"))
}

async fn compared(folder: &Path, current: &RecordBatch, more: &[&str]) -> Results {
    write_grouped(&folder.join("old.parquet"), &made(4000, 1, 0.0, 0.0), 900);
    write_grouped(&folder.join("new.parquet"), current, 700);
    let mut line = vec!["--unit", "user"];
    line.extend(more);
    let found = by_hand(folder, "old.parquet", "new.parquet", &line).await;
    found.expect("a verdict")
}

#[tokio::test]
async fn texts_and_vectors_that_are_alike_are_healthy_and_told_for_what_they_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let found = compared(folder.path(), &made(3000, 2, 0.0, 0.0), &[]).await;
    assert_eq!(found.verdict, WindowVerdict::Healthy, "{}", found.message);
    let (review, vector) = (column(&found, "review"), column(&found, "vector"));
    assert_eq!(
        (review.kind, review.method),
        (Kind::Text, Method::DomainClassifier)
    );
    assert_eq!(
        (vector.kind, vector.method),
        (Kind::Embedding, Method::MeanEmbedding)
    );
    assert!(vector.value < 0.05 && review.value < 0.1, "{found:?}");
}

/// Each number varies by 1/12, all three by a quarter: a shift of 0.2 is 0.4 of the deviation of all, and 0.69 of its own. Of two
/// even numbers 0.2 apart, one of the window is the larger in 68% of pairs.
#[tokio::test]
async fn texts_and_vectors_that_moved_are_found_and_what_moved_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let moved = made(3000, 2, 0.3, 0.2);
    let found = compared(folder.path(), &moved, &[]).await;
    assert_eq!(
        (found.verdict, found.drifted()),
        (WindowVerdict::Drifted, 2)
    );
    let (review, vector) = (column(&found, "review"), column(&found, "vector"));
    assert!((vector.value - 0.4).abs() < 0.03, "{vector:?}");
    assert!(
        vector.moved.contains("most in dimension 0 (+0.6") || vector.moved.contains("(+0.7"),
        "{vector:?}"
    );
    let said = &review.moved;
    assert!(
        said.starts_with("told apart in ") && said.contains("'refund' 0% → "),
        "{said}"
    );
    let by_classifier = compared(folder.path(), &moved, &["--method", "DomainClassifier"]).await;
    let vector = column(&by_classifier, "vector");
    assert_eq!(vector.method, Method::DomainClassifier);
    assert!(
        vector.drifted && (vector.value - 0.36).abs() < 0.06,
        "{vector:?}"
    );
    assert!(vector.moved.starts_with("told apart in 6"), "{vector:?}");
    // It is the same when it is read as JSON, and on the page and in the table.
    let text = serde_json::to_string(&by_classifier).expect("JSON");
    assert_eq!(
        serde_json::from_str::<Results>(&text).expect("as it was"),
        by_classifier
    );
    let page = windlass_agent::drift::html::html(&found, &[]);
    let table = windlass_agent::drift::table::table(&found, 200, false);
    for words in ["embedding", "text", "told apart in"] {
        assert!(page.contains(words) && table.contains(words), "{words}");
    }
}

/// A profile that was written, the data that it was made of, and whatever parts these are read in: the same to the last bit.
#[tokio::test]
async fn what_is_found_of_rows_does_not_hang_on_how_they_were_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    write_grouped(&at("old.parquet"), &made(4000, 1, 0.0, 0.0), 333);
    write_grouped(&at("new.parquet"), &made(3000, 2, 0.1, 0.1), 500);
    let line = [
        "--unit",
        "user",
        "--segment",
        "user < 'u5'",
        "--method",
        "DomainClassifier",
    ];
    profiled(folder.path(), "old.parquet", "old.json", &line[..4]).await;
    profiled(folder.path(), "old.parquet", "again.json", &line[..4]).await;
    let read = |name: &str| std::fs::read(at(name)).expect("a profile");
    assert!(read("old.json") == read("again.json"));
    let of = |results: Results| {
        let mut results = results;
        results.reference.name.clear();
        serde_json::to_string(&results).expect("JSON")
    };
    let by_data = by_hand(folder.path(), "old.parquet", "new.parquet", &line).await;
    let by_data = by_data.expect("a verdict");
    assert_eq!(
        by_data.segments[0].columns.len(),
        2,
        "{:?}",
        by_data.segments
    );
    let by_data = of(by_data);
    for _ in 0..2 {
        let by_profile = by_hand(folder.path(), "old.json", "new.parquet", &line).await;
        assert_eq!(of(by_profile.expect("a verdict")), by_data);
    }
    // The same rows in other parts: which are kept hangs on their places alone, so both profiles say the same.
    profiled(folder.path(), "new.parquet", "new.json", &line[..4]).await;
    let both = by_hand(folder.path(), "old.json", "new.json", &line).await;
    let mut both = both.expect("a verdict");
    both.window
        .name
        .clone_from(&at("new.parquet").display().to_string());
    assert_eq!(of(both), by_data);
}

#[tokio::test]
async fn what_is_no_text_or_no_vector_of_the_length_breaks_the_data() {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = made(3000, 2, 0.0, 0.0);
    let longer = vectors((0..3000).map(|_| vec![1.0; 4]));
    let beyond = vectors((0..3000).map(|_| vec![f32::NAN, 0.0, 1.0]));
    let numbers = Arc::new(Int64Array::from(vec![7; 3000])) as ArrayRef;
    let none = Arc::new(StringArray::from(vec![None::<&str>; 3000])) as ArrayRef;
    for (name, values, why) in [
        ("vector", longer, "vector: not of its type: 0% → 100%"),
        ("vector", beyond, "vector: not of its type: 0% → 100%"),
        (
            "vector",
            Arc::new(Float64Array::from(vec![1.0; 3000])) as ArrayRef,
            "not of its type",
        ),
        ("review", numbers, "review: not of its type: 0% → 100%"),
        ("review", none, "column 'review' has no value in any row"),
    ] {
        let found = compared(folder.path(), &with(&whole, name, values), &[]).await;
        assert_eq!(
            found.verdict,
            WindowVerdict::DataBroken,
            "{}",
            found.message
        );
        assert!(found.message.contains(why), "{}", found.message);
    }
}

/// What writes the texts, or embeds them, has failed: that a classifier tells them apart is not that the world has moved.
#[tokio::test]
async fn one_text_or_one_vector_in_all_rows_breaks_the_data() {
    let folder = tempfile::tempdir().expect("a folder");
    let texts = |text: &str| Arc::new(StringArray::from(vec![text; 3000])) as ArrayRef;
    let one = |number: f32| vectors((0..3000).map(move |_| vec![number, 0.0, -number]));
    let whole = made(3000, 2, 0.0, 0.0);
    for (name, values, why) in [
        ("review", texts("sorry, no answer"), "'sorry, no answer'"),
        (
            "review",
            texts(""),
            "one text in all 2000 rows that are kept of it, ''",
        ),
        (
            "vector",
            one(0.0),
            "vector: one vector in all 3000 rows, of zeros",
        ),
        ("vector", one(0.7), "vector: one vector in all 3000 rows;"),
    ] {
        let found = compared(folder.path(), &with(&whole, name, values), &[]).await;
        let message = &found.message;
        assert_eq!(found.verdict, WindowVerdict::DataBroken, "{message}");
        assert!(message.contains(why), "{message}");
    }
    // Of one user alone, all of it may be one text.
    let few = made(40, 2, 0.0, 0.0);
    let user = Arc::new(StringArray::from(vec!["u1"; 40])) as ArrayRef;
    let few = with(&few, "user", user);
    let few = with(&few, "review", Arc::new(StringArray::from(vec!["hat"; 40])));
    let found = compared(folder.path(), &few, &["--min-samples", "30"]).await;
    assert_ne!(
        found.verdict,
        WindowVerdict::DataBroken,
        "{}",
        found.message
    );
}

/// A month of which most reviews are the same few looks like names; the profile that it is compared with says that they are texts.
#[tokio::test]
async fn a_column_is_what_it_is_in_the_profile_that_is_the_window() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let few = made(4000, 1, 0.0, 0.0);
    let few = with(
        &few,
        "review",
        Arc::new(StringArray::from_iter_values(
            (0..4000).map(|row| format!("the fine red hat, size {}", row % 300)),
        )),
    );
    write_grouped(&at("old.parquet"), &few, 900);
    write_grouped(&at("new.parquet"), &made(3000, 2, 0.0, 0.0), 700);
    profiled(
        folder.path(),
        "new.parquet",
        "new.json",
        &["--unit", "user"],
    )
    .await;
    let line = ["--unit", "user"];
    let found = by_hand(folder.path(), "old.parquet", "new.json", &line).await;
    let found = found.expect("a verdict");
    assert_eq!(column(&found, "review").kind, Kind::Text);
    assert_eq!(found.verdict, WindowVerdict::Drifted, "{}", found.message);
    // Whoever says otherwise has to count it anew.
    for pair in [["old.parquet", "new.json"], ["new.json", "old.parquet"]] {
        let line = ["--unit", "user", "--column-kind", "review=Category"];
        let wrong = by_hand(folder.path(), pair[0], pair[1], &line).await;
        let wrong = wrong.expect_err("it is of texts");
        assert_eq!(wrong.reason, FailureReason::InvalidArguments);
        assert!(
            wrong.message.contains("counted as Text"),
            "{}",
            wrong.message
        );
    }
}

/// What comes first need not be like the rest: of four files the first is of another month, when nobody wrote.
#[tokio::test]
async fn what_a_column_holds_is_told_by_all_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let (whole, other) = (made(1200, 1, 0.0, 0.0), made(1200, 2, 0.0, 0.0));
    let quiet = with(
        &whole,
        "review",
        Arc::new(StringArray::from(vec!["none"; 1200])),
    );
    for side in ["old", "new"] {
        std::fs::create_dir(at(side)).expect("a folder");
        for (file, batch) in [&quiet, &whole, &other, &whole].into_iter().enumerate() {
            write_grouped(&at(&format!("{side}/{file}.parquet")), batch, 500);
        }
        std::fs::create_dir(at(&format!("{side}-csv"))).expect("a folder");
        for (file, batch) in [&quiet, &whole, &other].into_iter().enumerate() {
            let texts = batch.column(1).as_string::<i32>().iter().flatten();
            let lines: Vec<&str> = ["review"].into_iter().chain(texts).collect();
            let path = at(&format!("{side}-csv/{file}.csv"));
            std::fs::write(path, lines.join("\n")).expect("written");
        }
    }
    for [old, new] in [["old", "new"], ["old-csv", "new-csv"]] {
        let found = by_hand(folder.path(), old, new, &[]).await;
        let found = found.expect("a verdict");
        assert_eq!(column(&found, "review").kind, Kind::Text, "{old}");
    }
}

/// Where it was so before, nothing has broken: it is told, and no more.
#[tokio::test]
async fn one_text_in_all_rows_is_no_break_where_most_rows_had_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let mostly = |rows: usize, own: usize| {
        let whole = made(rows, 1, 0.0, 0.0);
        let texts = (0..rows).map(|row| {
            if row % 10 < own {
                format!("a fine red hat, number {row}")
            } else {
                "no comment at all".to_owned()
            }
        });
        with(
            &whole,
            "review",
            Arc::new(StringArray::from_iter_values(texts)),
        )
    };
    write_grouped(&at("old.parquet"), &mostly(4000, 3), 900);
    write_grouped(&at("new.parquet"), &mostly(3000, 0), 900);
    let line = ["--unit", "user", "--column-kind", "review=Text"];
    let found = by_hand(folder.path(), "old.parquet", "new.parquet", &line).await;
    let found = found.expect("a verdict");
    assert_ne!(
        found.verdict,
        WindowVerdict::DataBroken,
        "{}",
        found.message
    );
    let mut told = found.findings.iter();
    assert!(told.any(|found| found.words.starts_with("review: one text in all")));
}

/// Three of thirty users never write a review: a tenth of the rows, and far too few users to say that so many of all do not.
#[tokio::test]
async fn users_who_never_write_are_no_more_evidence_than_users_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let of = |seed: u64, silent: usize| {
        let whole = made(3000, seed, 0.0, 0.0);
        let users = (0..3000).map(|row| format!("u{}", row / 100));
        let reviews = whole.column(1).as_string::<i32>();
        let reviews = (0..3000).map(|row| (row / 100 >= silent).then(|| reviews.value(row)));
        let whole = with(&whole, "review", Arc::new(reviews.collect::<StringArray>()));
        with(
            &whole,
            "user",
            Arc::new(StringArray::from_iter_values(users)),
        )
    };
    write_grouped(&at("old.parquet"), &of(1, 0), 900);
    write_grouped(&at("new.parquet"), &of(2, 3), 900);
    let by_rows = by_hand(folder.path(), "old.parquet", "new.parquet", &[]).await;
    let by_rows = by_rows.expect("a verdict");
    assert_eq!(by_rows.verdict, WindowVerdict::DataBroken);
    assert!(
        by_rows.message.contains("review: no value"),
        "{}",
        by_rows.message
    );
    let line = ["--unit", "user"];
    profiled(folder.path(), "new.parquet", "new.json", &line).await;
    for current in ["new.parquet", "new.json"] {
        let by_users = by_hand(folder.path(), "old.parquet", current, &line).await;
        let by_users = by_users.expect("a verdict");
        let words = by_users.findings.iter().map(|found| found.words.as_str());
        let is_told = words
            .clone()
            .any(|words| words.contains("review: no value"));
        assert!(!is_told, "{current}: {:?}", words.collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_person_can_say_what_a_column_of_texts_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let current = made(3000, 2, 0.0, 0.0);
    let line = ["--column-kind", "review=Category"];
    let found = compared(folder.path(), &current, &line).await;
    assert_eq!(column(&found, "review").kind, Kind::Category);
    for (said, why) in [
        ("vector=Text", "only texts are either"),
        ("review=Number", "accepted are Text and Category"),
        ("gone=Text", "no column 'gone'"),
    ] {
        let line = ["--column-kind", said];
        let wrong = by_hand(folder.path(), "old.parquet", "new.parquet", &line).await;
        let wrong = wrong.expect_err("it makes no sense");
        let reasons = [
            FailureReason::InvalidArguments,
            FailureReason::ColumnNotFound,
        ];
        assert!(
            reasons.contains(&wrong.reason) && wrong.message.contains(why),
            "{wrong:?}"
        );
    }
}

#[tokio::test]
async fn of_too_few_rows_nothing_is_said_and_that_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let found = compared(
        folder.path(),
        &made(60, 2, 0.0, 0.0),
        &["--min-samples", "10"],
    )
    .await;
    // Sixty rows are of fifteen users.
    assert!(
        found.columns.iter().all(|column| column.column != "review"),
        "{found:?}"
    );
    let told = found
        .findings
        .iter()
        .any(|found| found.words.contains("column 'review' is not compared"));
    assert!(told, "{:?}", found.findings);
}

#[tokio::test]
async fn a_profile_that_was_changed_is_refused_and_the_column_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    compared(folder.path(), &made(3000, 2, 0.0, 0.0), &[]).await;
    profiled(
        folder.path(),
        "old.parquet",
        "old.json",
        &["--column", "vector"],
    )
    .await;
    let path = folder.path().join("old.json");
    let written = std::fs::read_to_string(&path).expect("a profile");
    std::fs::write(
        &path,
        written.replace("\"width\":3,\"sums\"", "\"width\":2,\"sums\""),
    )
    .expect("written");
    let failed = by_hand(folder.path(), "old.json", "new.parquet", &[]).await;
    let failed = failed.expect_err("no such vectors");
    assert_eq!(failed.reason, FailureReason::ReferenceUnreadable);
    assert!(
        failed.message.contains("column 'vector'"),
        "{}",
        failed.message
    );
}
