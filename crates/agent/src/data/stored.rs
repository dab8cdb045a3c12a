//! A Parquet file in an object store, as its reader asks for parts of it.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, TryFutureExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};

/// How much of a file's end is read at once, so that one request is enough for what most files say of themselves.
const END_BYTES: usize = 64 << 10;

/// The file.
#[derive(Clone, Debug)]
pub struct Stored {
    store: Arc<dyn ObjectStore>,
    location: Path,
    size: u64,
}

impl Stored {
    /// A file of a store.
    pub fn new(store: &Arc<dyn ObjectStore>, meta: &ObjectMeta) -> Self {
        Self {
            store: Arc::clone(store),
            location: meta.location.clone(),
            size: meta.size,
        }
    }
}

fn external(problem: object_store::Error) -> ParquetError {
    ParquetError::External(Box::new(problem))
}

impl AsyncFileReader for Stored {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes>> {
        let bytes = self.store.get_range(&self.location, range);
        bytes.map_err(external).boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>>> {
        async move {
            let bytes = self.store.get_ranges(&self.location, &ranges).await;
            bytes.map_err(external)
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>>> {
        let size = self.size;
        async move {
            let reader = ParquetMetaDataReader::new()
                .with_arrow_reader_options(options)
                .with_prefetch_hint(Some(END_BYTES));
            Ok(Arc::new(reader.load_and_finish(self, size).await?))
        }
        .boxed()
    }
}
