//! One file of a data set: whether it holds rows, how it is packed, and where a DataFusion session finds it.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::common::parsers::CompressionTypeVariant;
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::csv::CsvFormat;
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::datasource::file_format::json::JsonFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{
    ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl,
};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::prelude::SessionContext;
use object_store::ObjectMeta;
use object_store::path::Path;
use url::Url;
use windlass_api::agent::{FailureReason, FailureReport};

use super::Reasons;
use crate::address::Address;
use crate::arguments::DataFormat;
use crate::report::{chain, failure};

/// Files beside the data, such as `_SUCCESS`, and empty ones hold no rows.
pub(crate) fn is_data(file: &ObjectMeta) -> bool {
    file.size > 0
        && !file
            .location
            .filename()
            .is_some_and(|name| name.starts_with('_'))
}

/// The columns of a file.
pub(super) async fn schema(
    session: &SessionContext,
    address: &Address,
    file: &ObjectMeta,
    format: DataFormat,
) -> Result<SchemaRef> {
    let format = format_of(format, file.location.filename().unwrap_or_default());
    let files = std::slice::from_ref(file);
    format
        .infer_schema(&session.state(), address.store(), files)
        .await
}

/// The table that files of one format and schema make.
pub(crate) fn table(
    urls: Vec<ListingTableUrl>,
    format: Arc<dyn FileFormat>,
    schema: SchemaRef,
) -> Result<Arc<dyn TableProvider>> {
    let options = ListingOptions::new(format).with_file_extension("");
    let config = ListingTableConfig::new_with_multi_paths(urls)
        .with_listing_options(options)
        .with_schema(schema);
    Ok(Arc::new(ListingTable::try_new(config)?))
}

/// Where a session finds a file of the store that it knows by `root`.
pub(crate) fn url_of(root: &ObjectStoreUrl, location: &Path) -> Result<ListingTableUrl> {
    let mut url: Url = root
        .as_str()
        .parse()
        .map_err(|problem| DataFusionError::External(Box::new(problem)))?;
    // A path in a store may itself hold percent signs.
    url.set_path(&format!("/{}", location.as_ref().replace('%', "%25")));
    ListingTableUrl::try_new(url, None)
}

/// The format of a data set, by the name of its first file: what packs it is at its end, if anything.
///
/// # Errors
/// [`FailureReason::InvalidArguments`], where the name tells nothing; the reason `not_found`.
pub(crate) async fn guessed(
    address: &Address,
    reasons: Reasons,
) -> std::result::Result<DataFormat, FailureReport> {
    let files = address.files().await.map_err(|problem| {
        let message = format!("{}: {}", reasons.what, chain(&problem));
        failure(reasons.not_found, message)
    })?;
    let first = files.iter().find(|file| is_data(file));
    let name = first
        .and_then(|file| file.location.filename())
        .unwrap_or_default();
    let name = name.to_ascii_lowercase();
    let packed = [".gz", ".zst", ".bz2", ".xz"];
    let bare = packed.iter().find_map(|end| name.strip_suffix(end));
    match bare.unwrap_or(&name).rsplit('.').next() {
        Some("parquet" | "parq" | "pq") => Ok(DataFormat::Parquet),
        Some("csv") => Ok(DataFormat::Csv),
        Some("json" | "jsonl" | "ndjson") => Ok(DataFormat::Json),
        _ => {
            let message = format!(
                "{} at {}: '{name}' does not tell its format: say --format CSV, Parquet or JSON",
                reasons.what,
                address.uri()
            );
            Err(failure(FailureReason::InvalidArguments, message))
        }
    }
}

/// How a file is packed, by its name.
pub(crate) fn compression_of(name: &str) -> FileCompressionType {
    let variant = match name.rsplit('.').next() {
        Some("gz") => CompressionTypeVariant::GZIP,
        Some("zst") => CompressionTypeVariant::ZSTD,
        Some("bz2") => CompressionTypeVariant::BZIP2,
        Some("xz") => CompressionTypeVariant::XZ,
        _ => CompressionTypeVariant::UNCOMPRESSED,
    };
    FileCompressionType::from(variant)
}

/// How DataFusion reads a file of this name.
pub(crate) fn format_of(format: DataFormat, name: &str) -> Arc<dyn FileFormat> {
    let compression = compression_of(name);
    // Types are guessed from all rows: a column that is whole for a thousand rows may not be in the next.
    match format {
        DataFormat::Csv => Arc::new(
            CsvFormat::default()
                .with_has_header(true)
                .with_schema_infer_max_rec(usize::MAX)
                .with_file_compression_type(compression),
        ),
        DataFormat::Json => Arc::new(
            JsonFormat::default()
                .with_schema_infer_max_rec(usize::MAX)
                .with_file_compression_type(compression),
        ),
        DataFormat::Parquet => Arc::new(ParquetFormat::default()),
    }
}
