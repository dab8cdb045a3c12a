//! Files that go while they are read, and what is told of how far reading has come.

use std::sync::atomic::AtomicBool;

use arrow::array::{ArrayRef, Float64Array, StringArray};
use parquet::arrow::ArrowWriter;

use super::*;
use crate::profile::column::Kind;
use crate::profile::{REASONS, document};

const ROWS: u32 = 1000;

fn write(path: &std::path::Path, first: u32) {
    let numbers = (first..first + ROWS).map(f64::from);
    let texts = (first..first + ROWS).map(|row| format!("text {row}"));
    let batch = RecordBatch::try_from_iter([
        (
            "number",
            Arc::new(Float64Array::from_iter_values(numbers)) as ArrayRef,
        ),
        ("text", Arc::new(StringArray::from_iter_values(texts))),
    ])
    .expect("columns of one length");
    let file = std::fs::File::create(path).expect("a file");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("written");
    writer.close().expect("closed");
}

/// A number and a text in so many files, each column read by itself, one part after the other.
async fn opened(folder: &std::path::Path, files: u32) -> (Reading, Arc<Asking>) {
    for file in 0..files {
        write(&folder.join(format!("{file}.parquet")), file * ROWS);
    }
    let address = Address::local("data", folder).expect("an address");
    let reading = Reading::open(&address, DataFormat::Parquet, REASONS, |_| true).await;
    let mut reading = reading.expect("files");
    (reading.slice_bytes, reading.at_once) = (1, 1);
    let asked = |name: &str, kind| Asked {
        name: name.to_owned(),
        kind,
        starts: Vec::new(),
    };
    let columns = vec![asked("number", Kind::Number), asked("text", Kind::Text)];
    let asking = Asking {
        columns,
        segments: vec!["number < 500".to_owned()],
        ..Asking::default()
    };
    (reading, Arc::new(asking))
}

fn profile(asking: &Asking, counted: &[Sketch]) -> windlass_api::agent::Profile {
    document::profile(&asking.columns, &asking.roles, &asking.segments, counted)
}

/// Does something to the last of three files when the first of both columns was read of all of them: the message of what comes
/// of it.
async fn counted_while(happens: impl Fn(&std::path::Path) + Send + Sync + 'static) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let (reading, asking) = opened(folder.path(), 3).await;
    // Half of what is told.
    let (path, seen) = (folder.path().join("2.parquet"), AtomicU64::new(0));
    let told: Told = Arc::new(move |rows| {
        let before = seen.fetch_add(rows, Ordering::Relaxed);
        let half = u64::from(ROWS) * 3 / 2;
        if before < half && before + rows >= half {
            happens(&path);
        }
    });
    let failure = reading.count(&asking, &told).await;
    let failure = failure.expect_err("columns of other rows");
    assert_eq!(failure.reason, FailureReason::InputUnreadable);
    failure.message
}

#[tokio::test]
async fn a_file_that_goes_or_is_cut_between_some_columns_and_others_is_a_failure_with_its_name() {
    let gone = counted_while(|path| std::fs::remove_file(path).expect("removed")).await;
    assert!(gone.contains("2.parquet was removed"), "{gone}");
    let cut = counted_while(|path| {
        let file = std::fs::File::options().write(true).open(path);
        file.expect("a file").set_len(100).expect("cut");
    });
    let cut = cut.await;
    assert!(cut.contains("2.parquet cannot be read as Parquet"), "{cut}");
}

/// Its columns lie where those of the one before did, so that they can be read.
#[tokio::test]
async fn a_file_that_is_written_anew_between_some_columns_and_others_is_a_failure_with_its_name() {
    let changed = counted_while(|path| write(path, 8 * ROWS)).await;
    assert!(changed.contains("2.parquet"), "{changed}");
}

/// What was read to its end may go.
#[tokio::test]
async fn a_file_that_goes_when_all_was_read_is_no_matter() {
    let folder = tempfile::tempdir().expect("a folder");
    let (reading, asking) = opened(folder.path(), 3).await;
    let (path, seen) = (folder.path().join("0.parquet"), AtomicU64::new(0));
    let told: Told = Arc::new(move |rows| {
        if seen.fetch_add(rows, Ordering::Relaxed) + rows == u64::from(3 * ROWS) {
            std::fs::remove_file(&path).expect("removed");
        }
    });
    let counted = reading.count(&asking, &told).await.expect("all of it");
    assert_eq!(counted[0].rows, u64::from(3 * ROWS));
}

#[tokio::test]
async fn all_that_is_told_are_the_rows_and_none_too_soon() {
    let folder = tempfile::tempdir().expect("a folder");
    let (reading, asking) = opened(folder.path(), 3).await;
    let (sum, is_half) = (
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let told: Told = {
        let (sum, is_half) = (Arc::clone(&sum), Arc::clone(&is_half));
        Arc::new(move |rows| {
            let all = sum.fetch_add(rows, Ordering::Relaxed) + rows;
            if all == u64::from(ROWS) * 3 / 2 {
                is_half.store(true, Ordering::Relaxed);
            }
        })
    };
    reading.count(&asking, &told).await.expect("files");
    assert_eq!(sum.load(Ordering::Relaxed), reading.rows().expect("known"));
    assert!(
        is_half.load(Ordering::Relaxed),
        "half is told when half is read"
    );
    // Odd numbers of rows add up too.
    let sum = Arc::new(AtomicU64::new(0));
    let to = Arc::clone(&sum);
    let told: Told = Arc::new(move |rows| {
        to.fetch_add(rows, Ordering::Relaxed);
    });
    let told = in_slices(&told, 3);
    for rows in [7, 1, 3].repeat(3) {
        told(rows);
    }
    assert_eq!(sum.load(Ordering::Relaxed), 11);
}

/// Of thousands of files not all ends are kept; what is counted is the same.
#[tokio::test]
async fn what_the_end_of_a_file_says_is_read_again_where_there_was_no_room_for_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut reading, asking) = opened(folder.path(), 3).await;
    let quiet: Told = Arc::new(|_| {});
    let held = reading.count(&asking, &quiet).await.expect("files");
    let Rows::Parquet(files) = &mut reading.rows else {
        unreachable!("it is Parquet")
    };
    let files = Arc::get_mut(files).expect("nobody else has them");
    assert!(files.iter().all(|file| file.held.is_some()));
    let mut room = 1;
    for file in files.iter_mut() {
        let metadata = file.held.take().expect("it was kept");
        *file = ParquetFile::new(file.meta.clone(), metadata, file.first, &mut room);
        assert!(file.held.is_none(), "a byte is no room");
    }
    let again = reading.count(&asking, &quiet).await.expect("files");
    assert_eq!(profile(&asking, &held), profile(&asking, &again));
}

#[tokio::test]
async fn columns_are_counted_so_many_at_once_that_memory_is_bounded() {
    let folder = tempfile::tempdir().expect("a folder");
    let (reading, _) = opened(folder.path(), 1).await;
    let Rows::Parquet(files) = &reading.rows else {
        unreachable!("it is Parquet")
    };
    let of = |columns: usize, segments: usize| {
        let column = Asked {
            name: "number".to_owned(),
            kind: Kind::Number,
            starts: Vec::new(),
        };
        let asking = Asking {
            columns: vec![column; columns],
            segments: vec![String::new(); segments],
            ..Asking::default()
        };
        let slices = slices(files, &asking, SLICE_BYTES);
        slices
            .iter()
            .map(|slice| slice.len())
            .collect::<Vec<usize>>()
    };
    assert_eq!(of(1000, 0), [1000]);
    assert_eq!(of(150, 20), [65, 65, 20]);
    assert_eq!(of(0, 0), [0]);
}

#[test]
fn parts_are_looked_at_from_one_end_to_the_other_and_each_but_once() {
    for (parts, expected) in [
        (0, vec![]),
        (1, vec![0]),
        (3, vec![0, 1, 2]),
        (4, vec![0, 1, 2, 3]),
        (10, vec![0, 3, 6, 9, 1, 2, 4, 5, 7, 8]),
    ] {
        let parts: Vec<usize> = (0..parts).collect();
        assert_eq!(spread(&parts), expected);
    }
}

/// However few rows a part has, as many are looked at as there are.
#[tokio::test]
async fn rows_are_looked_at_in_all_of_the_data() {
    let folder = tempfile::tempdir().expect("a folder");
    let (reading, _) = opened(folder.path(), 6).await;
    let looked_at = |most: usize| {
        let reading = &reading;
        async move {
            let some = reading.some(&["number"], most).await.expect("rows");
            let of = |batch: &RecordBatch| -> Vec<f64> {
                let numbers = batch
                    .column(0)
                    .as_primitive::<arrow::datatypes::Float64Type>();
                numbers.values().to_vec()
            };
            some.iter().flat_map(of).collect::<Vec<f64>>()
        }
    };
    // Of the first, the second, the fourth and the last of six files.
    assert_eq!(
        looked_at(8).await,
        [0.0, 1.0, 1000.0, 1001.0, 3000.0, 3001.0, 5000.0, 5001.0]
    );
    assert_eq!(looked_at(5500).await.len(), 5500);
    assert_eq!(looked_at(7000).await.len(), 6000);
}
