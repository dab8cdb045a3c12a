//! Data sets of several files, made from a seed.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use windlass_statistics::random::Random;

/// Files of as many row groups each, all with different rows.
pub struct Data {
    seed: u64,
    files: usize,
    groups: usize,
    rows: usize,
    shift: f64,
    /// Microseconds of requests, of whom they are the payload log.
    asked: Option<(i64, i64)>,
}

#[allow(
    dead_code,
    reason = "not every program that includes this module uses all of it"
)]
impl Data {
    /// Enough for eight parts.
    pub fn small() -> Self {
        Self {
            seed: 1,
            files: 4,
            groups: 4,
            rows: 1500,
            shift: 0.0,
            asked: None,
        }
    }

    /// As the payload log of requests from then up to then, in microseconds.
    pub fn asked(self, from: i64, until: i64) -> Self {
        let asked = Some((from, until));
        Self { asked, ..self }
    }

    /// As many, from elsewhere.
    pub fn drifted() -> Self {
        Self {
            seed: 2,
            shift: 1.5,
            ..Self::small()
        }
    }

    /// Enough for each part to take a second or more.
    pub fn large() -> Self {
        Self {
            seed: 3,
            rows: 30_000,
            ..Self::small()
        }
    }

    /// Writes it; the folder.
    pub fn write(&self, folder: &Path) -> PathBuf {
        std::fs::create_dir_all(folder).expect("a folder");
        let mut random = Random::new(self.seed);
        for file in 0..self.files {
            let to = File::create(folder.join(format!("{file}.parquet"))).expect("a file");
            let properties = WriterProperties::builder()
                .set_max_row_group_row_count(Some(self.rows))
                .build();
            let first = self.group(&mut random);
            let mut writer =
                ArrowWriter::try_new(to, first.schema(), Some(properties)).expect("a writer");
            writer.write(&first).expect("written");
            for _ in 1..self.groups {
                writer.write(&self.group(&mut random)).expect("written");
            }
            writer.close().expect("closed");
        }
        folder.to_owned()
    }

    fn group(&self, random: &mut Random) -> RecordBatch {
        let mut columns: Vec<(String, ArrayRef)> = Vec::new();
        let numbers = |random: &mut Random, of: &dyn Fn(f64) -> f64| -> ArrayRef {
            let number = |random: &mut Random| match random.bits() % 50 {
                0 => None,
                1 => Some(f64::NAN),
                2 => Some(f64::INFINITY),
                _ => Some(of(random.normal() + self.shift)),
            };
            let numbers: Vec<Option<f64>> = (0..self.rows).map(|_| number(random)).collect();
            Arc::new(Float64Array::from(numbers))
        };
        columns.push((
            "spend".to_owned(),
            numbers(random, &|z| (3.0 * z + 4.0).exp()),
        ));
        for number in 0..6 {
            let scale = 10_f64.powi(3 * number - 9);
            columns.push((format!("x{number}"), numbers(random, &|z| scale * z)));
        }
        let names = |random: &mut Random, of: &dyn Fn(u64) -> String| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(
                (0..self.rows).map(|_| of(random.bits())),
            ))
        };
        let plans = ["free", "pro", "team"];
        columns.push((
            "plan".to_owned(),
            names(random, &|bits| {
                plans[usize::from(bits % 7 > 3) + usize::from(bits % 7 > 5)].to_owned()
            }),
        ));
        columns.push((
            "page".to_owned(),
            names(random, &|bits| format!("page {}", bits % 90_000)),
        ));
        columns.push((
            "user".to_owned(),
            names(random, &|bits| format!("user {}", bits % 5000)),
        ));
        if let Some((from, until)) = self.asked {
            let rows = i64::try_from(self.rows).expect("few");
            let times = (0..rows).map(|row| from + (until - from) * row / rows);
            let times = TimestampMicrosecondArray::from_iter_values(times);
            let times: ArrayRef = Arc::new(times.with_timezone("UTC"));
            columns.push(("timestamp".to_owned(), times));
            let id = |bits| format!("{bits:016x}");
            columns.push(("request_id".to_owned(), names(random, &id)));
        }
        RecordBatch::try_from_iter(columns).expect("columns of one length")
    }
}
