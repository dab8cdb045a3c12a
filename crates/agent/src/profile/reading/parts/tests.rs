//! What is counted in parts elsewhere, against what this program counts.

use std::fs::File;
use std::path::{Path as LocalPath, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{
    ArrayRef, BooleanArray, FixedSizeListArray, Float64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::Float32Type;
use futures::FutureExt;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use windlass_statistics::random::Random;

use super::*;
use crate::arguments::DataFormat;
use crate::profile::column::Kind;
use crate::profile::reading::Told;
use crate::profile::{REASONS, document};

/// In microseconds.
const HOUR: i64 = 3_600_000_000;

/// Counts the last part first, each as if on a machine of its own.
#[derive(Debug)]
struct Elsewhere;

impl Engine for Elsewhere {
    fn answers(
        &self,
        work: Vec<u8>,
        parts: Vec<Vec<u8>>,
    ) -> BoxFuture<'_, Result<Vec<Vec<u8>>, FailureReport>> {
        async move {
            let mut answers = Vec::new();
            for part in parts.iter().rev() {
                answers.push(answer(&work, part).await);
            }
            answers.reverse();
            Ok(answers)
        }
        .boxed()
    }
}

/// Of rows that are written as Parquet.
#[derive(Clone, Debug)]
struct Data {
    seed: u64,
    files: usize,
    rows: usize,
    rows_of_a_group: usize,
    levels: u64,
    scale: f64,
    /// How many bytes of columns are counted at once.
    slice_bytes: i64,
}

fn data() -> impl Strategy<Value = Data> {
    let scales = prop::sample::select(vec![1.0, 1e-300, 1e300, 1e9, 0.0]);
    (
        any::<u64>(),
        1..4_usize,
        0..1500_usize,
        1..400_usize,
        1..600_u64,
        scales,
        prop::sample::select(vec![1, 2000, 1 << 30]),
    )
        .prop_map(
            |(seed, files, rows, rows_of_a_group, levels, scale, slice_bytes)| Data {
                seed,
                files,
                rows,
                rows_of_a_group,
                levels,
                scale,
                slice_bytes,
            },
        )
}

const SMALL: Data = Data {
    seed: 5,
    files: 2,
    rows: 3000,
    rows_of_a_group: 500,
    levels: 9,
    scale: 1.0,
    slice_bytes: 1 << 30,
};

impl Data {
    fn write(&self, folder: &LocalPath) {
        let mut random = Random::new(self.seed);
        for file in 0..self.files {
            let batch = self.batch(&mut random);
            let properties = WriterProperties::builder()
                .set_max_row_group_row_count(Some(self.rows_of_a_group))
                .build();
            let to = File::create(folder.join(format!("{file}.parquet"))).expect("a file");
            let writer = ArrowWriter::try_new(to, batch.schema(), Some(properties));
            let mut writer = writer.expect("a writer");
            writer.write(&batch).expect("written");
            writer.close().expect("closed");
        }
    }

    fn batch(&self, random: &mut Random) -> RecordBatch {
        let number = |random: &mut Random| match random.bits() % 20 {
            0 => None,
            1 => Some(f64::NAN),
            2 => Some(f64::INFINITY),
            3 => Some(-0.0),
            _ => Some(self.scale * random.normal()),
        };
        let numbers: Vec<Option<f64>> = (0..self.rows).map(|_| number(random)).collect();
        let mut below = |most: u64| random.bits() % most;
        let names: Vec<Option<String>> = (0..self.rows)
            .map(|_| match below(self.levels + 1) {
                0 => None,
                level => Some(format!("näme {level}")),
            })
            .collect();
        let users: Vec<String> = (0..self.rows).map(|_| format!("u{}", below(90))).collect();
        let ids: Vec<String> = (0..self.rows).map(|_| format!("{}", below(900))).collect();
        #[allow(clippy::cast_possible_wrap)] // small
        let times: Vec<i64> = (0..self.rows).map(|_| below(1000) as i64 * HOUR).collect();
        let flags: Vec<bool> = (0..self.rows).map(|_| below(2) == 0).collect();
        let texts: Vec<Option<String>> = (0..self.rows)
            .map(|_| Some(format!("a hat of {} crowns", below(9999))).filter(|_| below(9) > 0))
            .collect();
        #[allow(clippy::cast_precision_loss)] // small
        let vectors: Vec<Option<Vec<Option<f32>>>> = (0..self.rows)
            .map(|_| Some((0..3).map(|_| Some(below(1 << 20) as f32 / 7.0)).collect()))
            .collect();
        let vectors = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(vectors, 3);
        RecordBatch::try_from_iter([
            ("x", Arc::new(Float64Array::from(numbers)) as ArrayRef),
            ("name", Arc::new(StringArray::from(names))),
            ("flag", Arc::new(BooleanArray::from(flags))),
            ("text", Arc::new(StringArray::from(texts))),
            ("vector", Arc::new(vectors)),
            ("user", Arc::new(StringArray::from(users))),
            ("id", Arc::new(StringArray::from(ids))),
            ("at", Arc::new(TimestampMicrosecondArray::from(times))),
        ])
        .expect("columns of one length")
    }
}

/// All that can be asked for at once.
fn asking(has_starts: bool) -> Arc<Asking> {
    let column = |name: &str, kind, starts| Asked {
        name: name.to_owned(),
        kind,
        starts,
    };
    let starts = if has_starts {
        vec![-1.0, 0.0, f64::MIN_POSITIVE, 0.3, f64::INFINITY]
    } else {
        Vec::new()
    };
    let time = |hour: i64| Timestamp::from_microsecond(hour * HOUR).expect("a time");
    Arc::new(Asking {
        columns: vec![
            column("x", Kind::Number, starts),
            column("name", Kind::Category, Vec::new()),
            column("flag", Kind::Category, Vec::new()),
            column("text", Kind::Text, Vec::new()),
            column("vector", Kind::Embedding(3), Vec::new()),
            column("gone", Kind::Number, Vec::new()),
        ],
        roles: Roles {
            time: Some("at".to_owned()),
            unit: Some("user".to_owned()),
            id: Some("id".to_owned()),
            is_by_time: true,
        },
        within: Some((time(100), time(950))),
        segments: vec!["flag".to_owned(), "x > 0.5".to_owned()],
    })
}

async fn counted_by(
    folder: &LocalPath,
    counted_by: CountedBy,
    asking: &Arc<Asking>,
    slice_bytes: i64,
) -> Result<Vec<Sketch>, FailureReport> {
    let address = Address::parse(folder.to_str().expect("text")).expect("an address");
    let mut reading = Reading::open(&address, DataFormat::Parquet, REASONS, |_| true).await?;
    reading.slice_bytes = slice_bytes;
    let seen = Arc::new(AtomicU64::new(0));
    let to = Arc::clone(&seen);
    let told: Told = Arc::new(move |rows| {
        to.fetch_add(rows, Ordering::Relaxed);
    });
    let rows = reading.rows().expect("Parquet says it");
    let counted = reading.counted_by(counted_by).count(asking, &told).await?;
    assert!(seen.load(Ordering::Relaxed) >= rows, "each row is told");
    Ok(counted)
}

fn elsewhere() -> CountedBy {
    CountedBy::new(Arc::new(Elsewhere))
}

/// All of it, in a form in which two numbers of other bits are other texts; but for what has no order.
fn shown(sketches: &[Sketch]) -> String {
    let shown = sketches.iter().map(|sketch| {
        let Sketch {
            rows,
            columns,
            units,
            newest,
            ids: _,
            by_time,
        } = sketch;
        format!("{rows} {newest:?}\n{columns:?}\n{units:?}\n{by_time:?}\n")
    });
    shown.collect::<Vec<String>>().concat()
}

fn assert_same(here: &[Sketch], there: &[Sketch], asking: &Asking) {
    assert!(shown(here) == shown(there), "it was counted otherwise");
    for (here, there) in here.iter().zip(there) {
        assert_eq!(here.ids, there.ids);
    }
    let profile = |sketches: &[Sketch]| {
        let (columns, roles) = (&asking.columns, &asking.roles);
        let profile = document::profile(columns, roles, &asking.segments, sketches);
        serde_json::to_string(&profile).expect("JSON")
    };
    assert!(profile(here) == profile(there), "the profile is another");
}

#[test]
fn whatever_the_data_what_is_counted_elsewhere_is_what_is_counted_here_to_the_last_bit() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut runner = TestRunner::new(Config {
        cases: 16,
        failure_persistence: None,
        ..Config::default()
    });
    let cases = (data(), any::<bool>());
    let outcome = runner.run(&cases, |(data, has_starts)| {
        let folder = tempfile::tempdir().expect("a folder");
        data.write(folder.path());
        let asking = asking(has_starts);
        runtime.block_on(async {
            let bytes = data.slice_bytes;
            let here = counted_by(folder.path(), CountedBy::default(), &asking, bytes).await;
            let there = counted_by(folder.path(), elsewhere(), &asking, bytes).await;
            assert_same(&here.expect("counted"), &there.expect("counted"), &asking);
        });
        Ok(())
    });
    outcome.expect("it holds");
}

/// More of them than are kept, in each part: which ones go depends on where they lie.
#[tokio::test(flavor = "multi_thread")]
async fn of_more_names_than_are_kept_the_same_are_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = Data {
        seed: 3,
        files: 2,
        rows: 70_000,
        rows_of_a_group: 17_500,
        levels: 60_000,
        ..SMALL
    };
    data.write(folder.path());
    let asking = Arc::new(Asking {
        within: None,
        segments: Vec::new(),
        ..asking(false).as_ref().clone()
    });
    let here = counted_by(
        folder.path(),
        CountedBy::default(),
        &asking,
        data.slice_bytes,
    )
    .await;
    let there = counted_by(folder.path(), elsewhere(), &asking, data.slice_bytes).await;
    let (here, there) = (here.expect("counted"), there.expect("counted"));
    let crate::profile::column::Column::Category(names) = &here[0].columns[1] else {
        unreachable!("it is a category")
    };
    assert!(!names.names.is_exact());
    assert_same(&here, &there, &asking);
}

#[tokio::test]
async fn what_is_wrong_with_data_is_told_as_it_is_here() {
    let folder = tempfile::tempdir().expect("a folder");
    SMALL.write(folder.path());
    let torn = folder.path().join("1.parquet");
    let mut bytes = std::fs::read(&torn).expect("read");
    bytes[400..9000].fill(0xff);
    std::fs::write(&torn, bytes).expect("written");
    let asking = asking(false);
    let here = counted_by(
        folder.path(),
        CountedBy::default(),
        &asking,
        SMALL.slice_bytes,
    )
    .await;
    let there = counted_by(folder.path(), elsewhere(), &asking, SMALL.slice_bytes).await;
    let here = here.expect_err("it cannot be read");
    assert!(here.message.contains("1.parquet"), "{}", here.message);
    assert_eq!(here, there.expect_err("it cannot be read"));
}

/// It goes when half of the parts, the first columns of all rows, are counted.
#[tokio::test]
async fn a_file_that_goes_while_it_is_counted_elsewhere_is_a_failure_with_its_name() {
    #[derive(Debug)]
    struct Losing(PathBuf);
    impl Engine for Losing {
        fn answers(
            &self,
            work: Vec<u8>,
            parts: Vec<Vec<u8>>,
        ) -> BoxFuture<'_, Result<Vec<Vec<u8>>, FailureReport>> {
            async move {
                let mut answers = Vec::new();
                for (at, part) in parts.iter().enumerate() {
                    if at == parts.len() / 2 {
                        let _ = std::fs::remove_file(&self.0);
                    }
                    answers.push(answer(&work, part).await);
                }
                Ok(answers)
            }
            .boxed()
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    SMALL.write(folder.path());
    let asking = asking(false);
    let path = folder.path().join("1.parquet");
    let losing = CountedBy::new(Arc::new(Losing(path.clone())));
    let there = counted_by(folder.path(), losing, &asking, 1).await;
    assert!(!path.exists());
    let problem = there.expect_err("columns of other rows");
    assert_eq!(problem.reason, FailureReason::InputUnreadable);
    let words = "1.parquet was removed";
    assert!(problem.message.contains(words), "{}", problem.message);
}

/// An executor without the claim, or with the keys of another store: for it there is nothing at the address.
#[tokio::test]
async fn data_that_only_this_program_reaches_are_not_taken_for_none() {
    #[derive(Debug)]
    struct Unmounted(PathBuf);
    impl Engine for Unmounted {
        fn answers(
            &self,
            work: Vec<u8>,
            parts: Vec<Vec<u8>>,
        ) -> BoxFuture<'_, Result<Vec<Vec<u8>>, FailureReport>> {
            async move {
                let aside = self.0.with_extension("aside");
                std::fs::rename(&self.0, &aside).expect("it is there");
                let mut answers = Vec::new();
                for part in &parts {
                    answers.push(answer(&work, part).await);
                }
                std::fs::rename(&aside, &self.0).expect("it was there");
                Ok(answers)
            }
            .boxed()
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    std::fs::create_dir(&data).expect("a folder");
    SMALL.write(&data);
    let unmounted = CountedBy::new(Arc::new(Unmounted(data.clone())));
    let counted = counted_by(&data, unmounted, &asking(false), SMALL.slice_bytes).await;
    let problem = counted.expect_err("not one row was counted");
    assert_eq!(problem.reason, FailureReason::InputUnreachable);
    for part in ["0.parquet", "executors", "AWS_*"] {
        assert!(problem.message.contains(part), "{}", problem.message);
    }
}

#[tokio::test]
async fn an_engine_of_another_version_is_told_from_one_that_counts() {
    #[derive(Debug)]
    struct Older;
    impl Engine for Older {
        fn answers(
            &self,
            _: Vec<u8>,
            parts: Vec<Vec<u8>>,
        ) -> BoxFuture<'_, Result<Vec<Vec<u8>>, FailureReport>> {
            let answer = postcard::to_allocvec(&("0.0.1 (1)", 7)).expect("bytes");
            async move { Ok(vec![answer; parts.len()]) }.boxed()
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    SMALL.write(folder.path());
    let older = CountedBy::new(Arc::new(Older));
    let counted = counted_by(folder.path(), older, &asking(false), SMALL.slice_bytes).await;
    let problem = counted.expect_err("another version");
    assert!(problem.message.contains("0.0.1 (1)"), "{}", problem.message);
    // The other way round: what an older one is asked.
    let asked = postcard::to_allocvec(&("9.9.9 (1)", 7)).expect("bytes");
    let answer: Answer = read(&answer(&asked, &asked).await, "an answer").expect("of this one");
    let Answer::Failed(failure) = answer else {
        unreachable!("it is of another version")
    };
    assert!(failure.contains("9.9.9 (1)"), "{failure}");
}
