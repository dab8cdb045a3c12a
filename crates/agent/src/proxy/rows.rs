//! Rows of the payload log, collected for one Parquet file.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Builder, RecordBatch, StringArray, StringBuilder, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use jiff::Timestamp;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use uuid::Uuid;
use windlass_api::agent::Signature;

use super::payload::{Cell, Payload, categories};
use crate::profile::PREDICTION;

/// What every row of a log says.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The model's name.
    pub model: String,
    /// The name of the ModelVersion.
    pub version: String,
}

/// Rows of one width.
#[derive(Debug)]
pub struct Rows {
    identity: Identity,
    request_ids: Vec<String>,
    timestamps: Vec<i64>,
    features: Vec<Column>,
    prediction: Column,
}

/// A feature's column.
#[derive(Debug)]
struct Column {
    name: String,
    values: Values,
}

#[derive(Debug)]
enum Values {
    Number(Float64Builder),
    Category {
        categories: Vec<String>,
        values: StringBuilder,
    },
}

impl Column {
    fn push(&mut self, cell: &Cell) {
        match &mut self.values {
            Values::Number(values) => values.append_option(cell.number()),
            Values::Category { categories, values } => {
                values.append_option(cell.category(categories));
            }
        }
    }
}

impl Rows {
    /// No rows yet; `width` values each, named by the signature, else `f0`, `f1`, ….
    pub fn new(identity: &Identity, signature: Option<&Signature>, width: usize) -> Self {
        let number = || Values::Number(Float64Builder::new());
        let features = match signature {
            Some(signature) => signature
                .inputs
                .iter()
                .map(|feature| {
                    let values = categories(&feature.encoding).map_or_else(number, |categories| {
                        Values::Category {
                            categories: categories.to_vec(),
                            values: StringBuilder::new(),
                        }
                    });
                    Column {
                        name: feature.name.clone(),
                        values,
                    }
                })
                .collect(),
            None => (0..width)
                .map(|index| Column {
                    name: format!("f{index}"),
                    values: number(),
                })
                .collect(),
        };
        Self {
            identity: identity.clone(),
            request_ids: Vec::new(),
            timestamps: Vec::new(),
            features,
            prediction: Column {
                name: PREDICTION.to_owned(),
                values: match signature.map(|signature| &signature.output.classes) {
                    Some(classes) if classes.len() > 2 => Values::Category {
                        categories: classes.clone(),
                        values: StringBuilder::new(),
                    },
                    Some(_) | None => number(),
                },
            },
        }
    }

    /// Values in a row.
    pub fn width(&self) -> usize {
        self.features.len()
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.timestamps.len()
    }

    /// The time of the earliest row.
    pub fn first(&self) -> Timestamp {
        time(self.timestamps.iter().min())
    }

    /// The time of the latest row.
    pub fn last(&self) -> Timestamp {
        time(self.timestamps.iter().max())
    }

    /// Adds the rows of one request.
    pub fn push(&mut self, payload: Payload, received: Timestamp) {
        let Payload {
            id,
            rows,
            predictions,
        } = payload;
        let id = id.unwrap_or_else(|| Uuid::new_v4().to_string());
        let is_single = rows.len() == 1;
        for (index, (row, prediction)) in rows.iter().zip(predictions).enumerate() {
            self.request_ids.push(if is_single {
                id.clone()
            } else {
                format!("{id}#{index}")
            });
            self.timestamps.push(received.as_microsecond());
            for (column, cell) in self.features.iter_mut().zip(row) {
                column.push(cell);
            }
            self.prediction.push(&prediction);
        }
    }

    /// The rows as a Parquet file.
    ///
    /// # Errors
    /// When two columns cannot be told apart, or a row is not of the width that was said.
    pub fn into_parquet(self) -> Result<Vec<u8>, ParquetError> {
        let batch = self.into_batch()?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .build();
        let mut content = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut content, batch.schema(), Some(properties))?;
        writer.write(&batch)?;
        writer.close()?;
        Ok(content)
    }

    fn into_batch(mut self) -> Result<RecordBatch, ParquetError> {
        let count = self.len();
        let utc: Arc<str> = Arc::from("UTC");
        let same = |text: &str| {
            Arc::new(StringArray::from_iter_values(std::iter::repeat_n(
                text, count,
            ))) as ArrayRef
        };
        let mut fields = vec![
            Field::new("request_id", DataType::Utf8, false),
            Field::new(
                "timestamp",
                DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::clone(&utc))),
                false,
            ),
            Field::new("model", DataType::Utf8, false),
            Field::new("version", DataType::Utf8, false),
        ];
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(std::mem::take(&mut self.request_ids))),
            Arc::new(
                TimestampMicrosecondArray::from(std::mem::take(&mut self.timestamps))
                    .with_timezone(utc),
            ),
            same(&self.identity.model),
            same(&self.identity.version),
        ];
        for Column { name, values } in self.features.into_iter().chain([self.prediction]) {
            let (kind, column): (DataType, ArrayRef) = match values {
                Values::Number(mut values) => (DataType::Float64, Arc::new(values.finish())),
                Values::Category { mut values, .. } => (DataType::Utf8, Arc::new(values.finish())),
            };
            fields.push(Field::new(name, kind, true));
            columns.push(column);
        }
        Ok(RecordBatch::try_new(
            Arc::new(Schema::new(fields)),
            columns,
        )?)
    }
}

fn time(microseconds: Option<&i64>) -> Timestamp {
    microseconds
        .and_then(|microseconds| Timestamp::from_microsecond(*microseconds).ok())
        .unwrap_or_default()
}
