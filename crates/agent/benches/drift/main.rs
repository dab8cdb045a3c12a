//! What of `make bench-drift` is a program of its own: makes the data, reads them as barely as can be, and compares numbers
//! that are in memory already. `drift.py` beside it runs all of it, the agent, and the peers.
//!
//! ```text
//!   drift make FILE ROWS NUMBERS NAMES GROUP SEED SHIFT     a Parquet file; numbers of several laws, names of 10 to 1,000 levels
//!   drift floor FILE…                                       DataFusion's scan, and of each number least, greatest, histogram
//!   drift kolmogorov ROWS                                   Kolmogorov and Smirnov's distance of two normal samples
//!   drift psi ROWS                                          PSI of the same, in ten bins
//! ```

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "rows and seconds, for people"
)]

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{
    ArrayRef, AsArray, DictionaryArray, Float64Array, Int32Array, RecordBatch, StringArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use futures::StreamExt;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use windlass_statistics::drift::column::{Number, Worth, of_number};
use windlass_statistics::drift::method::Method;
use windlass_statistics::mean::Mean;
use windlass_statistics::random::Random;
use windlass_statistics::ranks::Ranks;

/// Levels of names, in turn.
const LEVELS: [usize; 5] = [10, 30, 100, 300, 1000];
/// Bins of the histogram of the floor.
const BINS: usize = 64;
/// Cells of a summary, as the agent has them.
const CELLS: usize = 1024;

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |word: &str| word.parse::<usize>().expect("a number");
    match words.as_slice() {
        ["make", file, rows, numbers, names, group, seed, shift] => make(
            Path::new(file),
            [number(rows), number(numbers), number(names), number(group)],
            number(seed) as u64,
            shift.parse().expect("a number"),
        ),
        ["floor", files @ ..] => {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            for file in files {
                runtime.block_on(floor(file));
            }
        }
        ["kolmogorov", rows] => compare(number(rows), Method::KolmogorovSmirnov),
        ["psi", rows] => compare(number(rows), Method::Psi),
        _ => println!("run by `make bench-drift`"),
    }
}

fn make(file: &Path, [rows, numbers, names, group]: [usize; 4], seed: u64, shift: f64) {
    let mut random = Random::new(seed);
    let file = File::create(file).expect("a file");
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(Some(group))
        .build();
    let mut writer = None;
    let mut left = rows;
    while left > 0 {
        let count = left.min(group);
        left -= count;
        let mut columns: Vec<(String, ArrayRef)> = Vec::new();
        for at in 0..numbers {
            let values = (0..count)
                .map(|_| draw(&mut random, at) + shift * f64::from(u8::from(at % 10 == 0)));
            columns.push((
                format!("number_{at}"),
                Arc::new(Float64Array::from_iter_values(values)),
            ));
        }
        for at in 0..names {
            let levels = LEVELS[at % LEVELS.len()];
            let level = |random: &mut Random| {
                // More of the first than of the last.
                let place = random.uniform();
                ((place * place) * levels as f64) as i32
            };
            let keys = Int32Array::from_iter_values((0..count).map(|_| level(&mut random)));
            let values = (0..levels).map(|level| format!("level {level}"));
            let values = Arc::new(StringArray::from_iter_values(values));
            let names = DictionaryArray::new(keys, values);
            // As texts, as most files have them.
            let texts = cast(&names, &DataType::Utf8).expect("texts");
            columns.push((format!("name_{at}"), texts));
        }
        let batch = RecordBatch::try_from_iter(columns).expect("columns of one length");
        let writer = writer.get_or_insert_with(|| {
            let file = file.try_clone().expect("a file");
            ArrowWriter::try_new(file, batch.schema(), Some(properties.clone())).expect("a writer")
        });
        writer.write(&batch).expect("written");
        writer.flush().expect("a group");
    }
    writer.expect("rows").close().expect("closed");
}

/// A number of one of five laws.
fn draw(random: &mut Random, at: usize) -> f64 {
    match at % 5 {
        0 => random.normal() * 15.0 + 50.0,
        1 => (random.normal() * 1.5).exp(),
        2 => (random.uniform() * 100.0).floor(),
        3 if random.uniform() < 0.6 => 0.0,
        3 => random.normal().abs(),
        _ => random.uniform(),
    }
}

/// Of each number least, greatest and a histogram over a range that is known before; names are read alone.
async fn floor(file: &str) {
    let mut config = SessionConfig::new().with_target_partitions(2);
    config
        .options_mut()
        .execution
        .parquet
        .schema_force_view_types = false;
    let session = SessionContext::new_with_config(config);
    let frame = session
        .read_parquet(file, ParquetReadOptions::default())
        .await
        .expect("a file");
    let parts = frame.execute_stream_partitioned().await.expect("a plan");
    let work = parts.into_iter().map(|mut part| {
        tokio::spawn(async move {
            let mut seen: Vec<(f64, f64, [u64; BINS])> = Vec::new();
            while let Some(batch) = part.next().await {
                let batch = batch.expect("rows");
                seen.resize(batch.num_columns(), (f64::MAX, f64::MIN, [0; BINS]));
                for (column, (least, greatest, counts)) in batch.columns().iter().zip(&mut seen) {
                    if *column.data_type() != DataType::Float64 {
                        continue;
                    }
                    for value in column.as_primitive::<Float64Type>().values() {
                        *least = least.min(*value);
                        *greatest = greatest.max(*value);
                        let bin = (value * 0.64).clamp(0.0, 63.0) as usize;
                        counts[bin] += 1;
                    }
                }
            }
            seen
        })
    });
    let work: Vec<_> = work.collect();
    let mut sum = 0.0;
    for part in work {
        let seen = part.await.expect("it ends well");
        sum += seen
            .iter()
            .map(|(least, greatest, counts)| least + greatest + counts[3] as f64)
            .sum::<f64>();
    }
    println!("{sum}");
}

/// Seconds for two samples in memory: prints them, the distance, and what is known of its error.
fn compare(rows: usize, method: Method) {
    let mut random = Random::new(5);
    let mut draw =
        |shift: f64| -> Vec<f64> { (0..rows).map(|_| random.normal() + shift).collect() };
    let (old, new) = (draw(0.0), draw(0.05));
    let mut least = f64::MAX;
    let mut told = String::new();
    for _ in 0..5 {
        let start = Instant::now();
        let mut reference = Ranks::new(CELLS);
        reference.add(&old);
        let reference = reference.shrunk(256);
        let mut window = Ranks::beside(reference.starts(), CELLS);
        window.add(&new);
        let (edges, _) = reference.bins(10);
        let (mean, new_mean) = (Mean::of(&old), Mean::of(&new));
        let side = |ranks, mean| Number {
            ranks,
            mean,
            nulls: 0,
            worth: Worth::INDEPENDENT,
        };
        let found = of_number(
            &side(&reference, &mean),
            &side(&window, &new_mean),
            &edges,
            method,
        );
        least = least.min(start.elapsed().as_secs_f64());
        told = format!("{} {}", found.effect.raw(), reference.rank_error());
    }
    println!("{least} {told}");
}
