//! Rows that are kept on disk until they are looked at again.
//!
//! ```text
//!   Rows, Rows, … ──Spool, a file without a name──> the same, in the same order
//! ```
//!
//! What is kept of a row is what it is judged by: label, weight, query, answers and segments; not its features.

use std::fs::File;
use std::io::{BufReader, BufWriter, Seek};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, FixedSizeListArray, Float64Array, ListArray, RecordBatch, UInt32Array,
    UInt64Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Float64Type, UInt32Type, UInt64Type};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use windlass_api::agent::{FailureReason, FailureReport};

use super::rows::{Known, Rows};
use super::segments::Members;
use crate::data::answers::Answers;
use crate::report::failure;

const LABEL: &str = "label";
const WEIGHT: &str = "weight";
const QUERY: &str = "query";
const CANDIDATE: &str = "candidate";
const CHAMPION: &str = "champion";
const SEGMENTS: &str = "segments";

/// Rows on disk.
pub struct Spool {
    writer: Option<StreamWriter<BufWriter<File>>>,
}

impl Spool {
    /// Nothing kept.
    pub fn new() -> Self {
        Self { writer: None }
    }

    /// Keeps rows; all have the same columns, and answers of one width.
    ///
    /// # Errors
    /// [`FailureReason::Internal`], where the disk does not take them.
    pub fn keep(&mut self, rows: &Rows) -> Result<(), FailureReport> {
        let mut keep = || -> Result<(), ArrowError> {
            let batch = batch_of(rows)?;
            if self.writer.is_none() {
                let file = BufWriter::new(tempfile::tempfile()?);
                self.writer = Some(StreamWriter::try_new(file, batch.schema_ref())?);
            }
            match &mut self.writer {
                Some(writer) => writer.write(&batch),
                None => Ok(()),
            }
        };
        keep().map_err(|problem| on_disk(&problem))
    }

    /// What was kept, from the first row on.
    ///
    /// # Errors
    /// [`FailureReason::Internal`], where the disk does not give it back.
    pub fn rows(self) -> Result<impl Iterator<Item = Result<Rows, FailureReport>>, FailureReport> {
        let open = |writer: StreamWriter<BufWriter<File>>| {
            let mut file = writer.into_inner()?.into_inner().map_err(|problem| {
                ArrowError::IoError("writing".to_owned(), problem.into_error())
            })?;
            file.rewind()?;
            StreamReader::try_new(BufReader::new(file), None)
        };
        let reader = self.writer.map(open).transpose();
        let reader = reader.map_err(|problem| on_disk(&problem))?;
        let read = |batch: Result<RecordBatch, ArrowError>| {
            let batch = batch.map_err(|problem| on_disk(&problem))?;
            rows_of(&batch).ok_or_else(|| on_disk(&"a column is not as it was written"))
        };
        Ok(reader.into_iter().flatten().map(read))
    }
}

fn on_disk(problem: &dyn std::fmt::Display) -> FailureReport {
    let message = format!(
        "the rows that were judged could not be kept in the folder for temporary files ({}): {problem}",
        std::env::temp_dir().display()
    );
    failure(FailureReason::Internal, message)
}

fn batch_of(rows: &Rows) -> Result<RecordBatch, ArrowError> {
    let known = &rows.known;
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        (LABEL, Arc::new(Float64Array::from(known.labels.clone()))),
        (CANDIDATE, lists(&rows.candidate)?),
    ];
    if let Some(champion) = &rows.champion {
        columns.push((CHAMPION, lists(champion)?));
    }
    if let Some(weights) = &known.weights {
        columns.push((WEIGHT, Arc::new(Float64Array::from(weights.clone()))));
    }
    if let Some(queries) = &known.queries {
        columns.push((QUERY, Arc::new(UInt64Array::from(queries.clone()))));
    }
    let by_row = rows.members.by_row(known.labels.len());
    let offsets = OffsetBuffer::from_lengths(by_row.iter().map(Vec::len));
    let field = Arc::new(Field::new_list_field(DataType::UInt32, false));
    let values = Arc::new(UInt32Array::from(by_row.concat()));
    let segments = ListArray::try_new(field, offsets, values, None)?;
    columns.push((SEGMENTS, Arc::new(segments)));
    RecordBatch::try_from_iter(columns)
}

/// Answers as lists of one length.
fn lists(answers: &Answers) -> Result<ArrayRef, ArrowError> {
    let width = i32::try_from(answers.width)
        .map_err(|_| ArrowError::InvalidArgumentError("an answer is too long".to_owned()))?;
    let field = Arc::new(Field::new_list_field(DataType::Float64, false));
    let values = Arc::new(Float64Array::from(answers.values.clone()));
    Ok(Arc::new(FixedSizeListArray::try_new(
        field, width, values, None,
    )?))
}

fn rows_of(batch: &RecordBatch) -> Option<Rows> {
    let numbers = |name: &str| {
        let values = batch.column_by_name(name)?;
        Some(values.as_primitive_opt::<Float64Type>()?.values().to_vec())
    };
    let answers = |name: &str| {
        let lists = batch.column_by_name(name)?.as_fixed_size_list_opt()?;
        let values = lists.values().as_primitive_opt::<Float64Type>()?;
        Some(Answers {
            width: usize::try_from(lists.value_length()).ok()?,
            values: values.values().to_vec(),
        })
    };
    let queries = batch
        .column_by_name(QUERY)
        .and_then(|values| Some(values.as_primitive_opt::<UInt64Type>()?.values().to_vec()));
    let segments = batch.column_by_name(SEGMENTS)?.as_list_opt::<i32>()?;
    let by_row = segments.iter().map(|segments| {
        let segments = segments?;
        Some(segments.as_primitive_opt::<UInt32Type>()?.values().to_vec())
    });
    let by_row: Option<Vec<Vec<u32>>> = by_row.collect();
    Some(Rows {
        known: Known {
            labels: numbers(LABEL)?,
            weights: numbers(WEIGHT),
            queries,
        },
        candidate: answers(CANDIDATE)?,
        champion: answers(CHAMPION),
        members: Members::of_rows(&by_row?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_as_they_were_kept() {
        let rows = |first: u32, members: &[&[u32]]| {
            let labels: Vec<f64> = (0..3).map(|row| f64::from(first + row)).collect();
            let members: Vec<Vec<u32>> = members.iter().map(|one| one.to_vec()).collect();
            Rows {
                candidate: Answers {
                    width: 2,
                    values: (0..6).map(|at| f64::from(first) / f64::from(at)).collect(),
                },
                champion: Some(Answers {
                    width: 1,
                    values: labels.clone(),
                }),
                known: Known {
                    weights: Some(vec![0.5; 3]),
                    queries: Some(vec![7, 7, 8]),
                    labels,
                },
                members: Members::of_rows(&members),
            }
        };
        let all = [rows(1, &[&[], &[0, 3], &[3]]), rows(9, &[&[1], &[], &[]])];
        let mut spool = Spool::new();
        for rows in &all {
            spool.keep(rows).expect("kept");
        }
        let found: Result<Vec<Rows>, _> = spool.rows().expect("a file").collect();
        assert_eq!(found.expect("rows"), all);
        assert_eq!(Spool::new().rows().expect("nothing").count(), 0);
    }
}
