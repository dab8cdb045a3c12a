//! Data that cannot be compared, or only in part: each has a verdict of its own, and none is "no drift".

use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int64Array, ListArray, NullArray,
    RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::Float64Type;
use windlass_agent::drift::results::Results;
use windlass_api::agent::{FailureReason, WindowVerdict};

use crate::by_hand::by_hand;
use crate::{Random, write};

const ROWS: usize = 2000;

fn numbers(seed: u64) -> Vec<f64> {
    let mut random = Random(seed);
    (0..ROWS).map(|_| random.next() * 40.0 - 10.0).collect()
}

/// A reference of a temperature and a name; and what is compared with it, with one column replaced.
async fn found(name: &str, with: ArrayRef) -> Results {
    let folder = tempfile::tempdir().expect("a folder");
    two(folder.path(), name, with, 1);
    let found = by_hand(folder.path(), "old.parquet", "new.parquet", &[]).await;
    found.expect("a verdict")
}

fn two(folder: &Path, name: &str, with: ArrayRef, seed: u64) {
    let columns = |seed: u64| {
        let names: Vec<&str> = (0..ROWS).map(|row| ["x", "y", "z"][row % 3]).collect();
        vec![
            (
                "temp",
                Arc::new(Float64Array::from(numbers(seed))) as ArrayRef,
            ),
            ("name", Arc::new(StringArray::from(names)) as ArrayRef),
        ]
    };
    let old = RecordBatch::try_from_iter(columns(seed)).expect("columns");
    let mut new = columns(seed + 1);
    match new.iter_mut().find(|(of, _)| *of == name) {
        Some(column) => column.1 = with,
        None => new.push((name, with)),
    }
    write(&folder.join("old.parquet"), &old);
    let new = RecordBatch::try_from_iter(new).expect("columns");
    write(&folder.join("new.parquet"), &new);
}

#[tokio::test]
async fn what_breaks_the_data_is_named() {
    let celsius = numbers(9);
    let fahrenheit: Vec<f64> = celsius.iter().map(|degrees| degrees * 1.8 + 32.0).collect();
    let third = |row: usize| !row.is_multiple_of(3);
    let cases: Vec<(&str, &str, ArrayRef, &str)> = vec![
        (
            "all null",
            "temp",
            Arc::new(Float64Array::from(vec![None; ROWS])),
            "no value in any row",
        ),
        (
            "of no type",
            "temp",
            Arc::new(NullArray::new(ROWS)),
            "no value in any row",
        ),
        (
            "a third is null",
            "temp",
            Arc::new(
                celsius
                    .iter()
                    .enumerate()
                    .map(|(row, degrees)| third(row).then_some(*degrees))
                    .collect::<Float64Array>(),
            ),
            "no value in 0% → 33",
        ),
        (
            "NaN",
            "temp",
            Arc::new(Float64Array::from_iter_values(
                celsius
                    .iter()
                    .enumerate()
                    .map(|(row, degrees)| if third(row) { *degrees } else { f64::NAN }),
            )),
            "no value in 0% → 33",
        ),
        (
            "infinite",
            "temp",
            Arc::new(Float64Array::from_iter_values(
                celsius
                    .iter()
                    .enumerate()
                    .map(|(row, degrees)| if third(row) { *degrees } else { f64::INFINITY }),
            )),
            "not of its type",
        ),
        (
            "constant",
            "temp",
            Arc::new(Float64Array::from(vec![7.0; ROWS])),
            "one value in all rows",
        ),
        (
            "in another unit",
            "temp",
            Arc::new(Float64Array::from(fahrenheit)),
            "°C to °F",
        ),
        (
            "words for numbers",
            "temp",
            Arc::new(StringArray::from_iter_values((0..ROWS).map(|row| {
                if row % 2 == 0 {
                    "warm".to_owned()
                } else {
                    "21".to_owned()
                }
            }))),
            "not of its type",
        ),
        (
            "a list",
            "temp",
            Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(
                (0..ROWS).map(|_| Some([Some(1.0)])),
            )),
            "not of its type",
        ),
    ];
    for (what, column, with, why) in cases {
        let found = found(column, with).await;
        assert_eq!(
            found.verdict,
            WindowVerdict::DataBroken,
            "{what}: {}",
            found.message
        );
        assert!(found.message.contains(why), "{what}: {}", found.message);
        assert!(found.message.contains(column), "{what}: {}", found.message);
    }
}

#[tokio::test]
async fn a_column_that_mostly_has_one_value_may_have_it_in_all_rows() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let of = |every: usize| {
        let rain = (0..ROWS).map(|row| if row % every == every - 1 { 2.5 } else { 0.0 });
        let rain = Arc::new(Float64Array::from_iter_values(rain)) as ArrayRef;
        let other = Arc::new(Float64Array::from(numbers(every as u64))) as ArrayRef;
        RecordBatch::try_from_iter([("rain", rain), ("other", other)]).expect("columns")
    };
    write(&at("old.parquet"), &of(12));
    write(&at("new.parquet"), &of(2 * ROWS));
    let found = by_hand(folder.path(), "old.parquet", "new.parquet", &[]).await;
    let found = found.expect("a verdict");
    assert_ne!(
        found.verdict,
        WindowVerdict::DataBroken,
        "{}",
        found.message
    );
    let told = found.findings.iter().map(|found| found.words.as_str());
    assert!(
        told.clone()
            .any(|words| words.starts_with("rain: one value in all rows")),
        "{:?}",
        found.findings
    );
}

/// A month is one, where a window is of a day; how its rows are spread over names is drift all the same.
#[tokio::test]
async fn a_column_of_few_values_that_has_one_of_them_has_drifted_and_is_not_broken() {
    let found = found("name", Arc::new(StringArray::from(vec!["x"; ROWS]))).await;
    assert_eq!(found.verdict, WindowVerdict::Drifted, "{}", found.message);
    assert!(
        found
            .findings
            .iter()
            .any(|found| found.words.contains("one value in all rows"))
    );
}

#[tokio::test]
async fn a_value_that_is_rare_and_low_and_a_column_that_is_hardly_ever_there_are_compared() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let of = |low: usize, there: usize| {
        let flags = (0..10_000).map(|row| if row % 100 < low { 0.0 } else { 1.0 });
        let codes = (0..10_000).map(|row| (row % 1000 < there).then_some("code"));
        RecordBatch::try_from_iter([
            (
                "flag",
                Arc::new(Float64Array::from_iter_values(flags)) as ArrayRef,
            ),
            ("code", Arc::new(codes.collect::<StringArray>()) as ArrayRef),
        ])
        .expect("columns")
    };
    // Of a code that mostly is not there, less is no break either.
    write(&at("old.parquet"), &of(5, 250));
    write(&at("new.parquet"), &of(5, 100));
    let found = by_hand(folder.path(), "old.parquet", "new.parquet", &[]).await;
    let found = found.expect("a verdict");
    assert_ne!(
        found.verdict,
        WindowVerdict::DataBroken,
        "{}",
        found.message
    );
    assert!(
        found
            .findings
            .iter()
            .any(|found| found.words.contains("no value in 75% → 90%"))
    );
    write(&at("old.parquet"), &of(5, 1));
    write(&at("new.parquet"), &of(50, 0));
    let found = by_hand(folder.path(), "old.parquet", "new.parquet", &[]).await;
    let found = found.expect("a verdict");
    assert_eq!(found.verdict, WindowVerdict::Drifted, "{}", found.message);
    assert_eq!((&*found.columns[0].column, found.drifted()), ("flag", 1));
}

#[tokio::test]
async fn numbers_near_the_end_of_what_there_are_end_nothing() {
    for huge in [1e85, 1e200, f64::MAX] {
        let mut temperatures = numbers(7);
        temperatures[5] = huge;
        let found = found("temp", Arc::new(Float64Array::from(temperatures))).await;
        assert_eq!(
            found.verdict,
            WindowVerdict::Healthy,
            "{huge}: {}",
            found.message
        );
        let text = serde_json::to_string(&found).expect("JSON");
        assert!(serde_json::from_str::<Results>(&text).is_ok(), "{huge}");
    }
}

#[tokio::test]
async fn a_reference_without_rows_or_columns_is_not_enough_data() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    two(
        folder.path(),
        "temp",
        Arc::new(Float64Array::from(numbers(5))),
        1,
    );
    std::fs::write(at("empty.csv"), "temp,name\n").expect("written");
    let times = TimestampMicrosecondArray::from_iter_values(0..2000);
    let times =
        RecordBatch::try_from_iter([("at", Arc::new(times) as ArrayRef)]).expect("a column");
    write(&at("times.parquet"), &times);
    for (reference, current, why) in [
        ("empty.csv", "new.parquet", "has 0 rows"),
        ("times.parquet", "times.parquet", "no column"),
    ] {
        let found = by_hand(folder.path(), reference, current, &[]).await;
        let found = found.expect("a verdict");
        assert_eq!(found.verdict, WindowVerdict::NotEnoughData, "{reference}");
        assert!(found.message.contains(why), "{}", found.message);
    }
}

#[tokio::test]
async fn a_column_that_is_gone_or_called_otherwise_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let of = |name: &str, seed: u64| {
        let numbers = Arc::new(Float64Array::from(numbers(seed))) as ArrayRef;
        let other = Arc::new(Float64Array::from(self::numbers(seed + 50))) as ArrayRef;
        RecordBatch::try_from_iter([(name, numbers), ("other", other)]).expect("columns")
    };
    write(&at("old.parquet"), &of("temp", 1));
    for (name, why) in [
        ("Temp", "'Temp' is, in other letters"),
        ("heat", "column 'temp' of the reference is not there"),
    ] {
        write(&at("new.parquet"), &of(name, 2));
        let found = by_hand(folder.path(), "old.parquet", "new.parquet", &[]).await;
        let found = found.expect("a verdict");
        assert_eq!(found.verdict, WindowVerdict::DataBroken);
        assert!(found.message.contains(why), "{}", found.message);
    }
}

#[tokio::test]
async fn numbers_of_other_types_are_compared_as_numbers() {
    let whole = Int64Array::from_iter_values(numbers(3).into_iter().map(|number| {
        #[allow(clippy::cast_possible_truncation)]
        let whole = number.round() as i64;
        whole
    }));
    let decimal = Decimal128Array::from_iter_values(numbers(3).into_iter().map(|number| {
        #[allow(clippy::cast_possible_truncation)]
        let hundredths = (number * 100.0).round() as i128;
        hundredths
    }));
    let decimal = decimal.with_precision_and_scale(20, 2).expect("a type");
    let texts = StringArray::from_iter_values(numbers(3).iter().map(ToString::to_string));
    for with in [
        Arc::new(whole) as ArrayRef,
        Arc::new(decimal),
        Arc::new(texts),
    ] {
        let found = found("temp", with).await;
        assert_eq!(found.verdict, WindowVerdict::Healthy, "{}", found.message);
        assert_eq!(found.columns.len(), 2);
    }
    // What the reference has not is not compared: of it nothing is known.
    let times = TimestampMicrosecondArray::from_iter_values(0..2000).with_timezone("Europe/Berlin");
    let flags = BooleanArray::from(vec![true; ROWS]);
    for with in [Arc::new(times) as ArrayRef, Arc::new(flags)] {
        let found = found("more", with).await;
        assert_eq!(
            (found.verdict, found.columns.len()),
            (WindowVerdict::Healthy, 2)
        );
    }
}

#[tokio::test]
async fn whole_numbers_beyond_what_a_number_holds_and_names_without_end_are_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let of = |seed: i64| {
        let large = (0..60_000).map(|row| i64::MAX - (row * 7 + seed) % 1000);
        let names = (0..60_000).map(|row| format!("n{}", (row * 31 + seed) % 50_000));
        RecordBatch::try_from_iter([
            (
                "large",
                Arc::new(Int64Array::from_iter_values(large)) as ArrayRef,
            ),
            (
                "",
                Arc::new(StringArray::from_iter_values(names)) as ArrayRef,
            ),
            (
                "größe \u{202e}",
                Arc::new(StringArray::from(vec!["日本"; 60_000])) as ArrayRef,
            ),
        ])
        .expect("columns")
    };
    write(&at("old.parquet"), &of(1));
    write(&at("new.parquet"), &of(500));
    let found = by_hand(folder.path(), "old.parquet", "new.parquet", &[]).await;
    let found = found.expect("a verdict");
    assert_eq!(
        (found.verdict, found.columns.len()),
        (WindowVerdict::Healthy, 3),
        "{}",
        found.message
    );
}

#[tokio::test]
async fn files_that_cannot_be_read_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    two(
        folder.path(),
        "temp",
        Arc::new(Float64Array::from(numbers(5))),
        1,
    );
    let whole = std::fs::read(at("new.parquet")).expect("a file");
    std::fs::write(at("torn.parquet"), &whole[..whole.len() - 20]).expect("written");
    let mut middle = whole.clone();
    middle[40..4000].fill(0xff);
    std::fs::write(at("middle.parquet"), middle).expect("written");
    std::fs::write(at("ragged.csv"), "temp,name\n1,x\n2,y,3\n").expect("written");
    std::fs::write(at("empty.csv"), "temp,name\n").expect("written");
    for (name, why) in [
        ("torn.parquet", "torn.parquet cannot be read as Parquet"),
        ("ragged.csv", "ragged.csv cannot be read as CSV"),
        ("gone.parquet", "gone.parquet"),
    ] {
        let failed = by_hand(folder.path(), "old.parquet", name, &[]).await;
        let failed = failed.expect_err("cannot be read");
        let reasons = [FailureReason::InputUnreadable, FailureReason::InputNotFound];
        assert!(reasons.contains(&failed.reason), "{failed:?}");
        assert!(failed.message.contains(why), "{}", failed.message);
    }
    // Pages have no checksums: what is in them is then not what it was.
    match by_hand(folder.path(), "old.parquet", "middle.parquet", &[]).await {
        Ok(found) => assert_eq!(
            found.verdict,
            WindowVerdict::DataBroken,
            "{}",
            found.message
        ),
        Err(failed) => assert!(failed.message.contains("middle.parquet"), "{failed:?}"),
    }
    let none = by_hand(folder.path(), "old.parquet", "empty.csv", &[]).await;
    let none = none.expect("a verdict");
    assert_eq!(
        (none.verdict, none.window.rows),
        (WindowVerdict::NotEnoughData, 0)
    );
    let unit = by_hand(
        folder.path(),
        "old.parquet",
        "new.parquet",
        &["--unit", "user"],
    )
    .await;
    assert_eq!(
        unit.expect_err("no such column").reason,
        FailureReason::ColumnNotFound
    );
}
