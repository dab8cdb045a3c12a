//! `windlass-agent digest`: what files are that somebody registers as a model, or writes into a manifest. Each is read once, and
//! none is kept.

use std::path::PathBuf;

use windlass_api::agent::{FailureReport, FetchReport, Report};

use crate::report::tree_failure;
use crate::{fetch, tree};

/// Arguments of `windlass-agent digest`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Address of the files: a folder, a file, `pvc://`, `s3://`, `https://`.
    #[arg(value_name = "PATH|URI")]
    pub uri: String,
    /// The folder that the address is mounted as, where it is an image's.
    #[arg(long, value_name = "DIR")]
    pub mounted: Option<PathBuf>,
}

/// Reads all files there are.
///
/// # Errors
/// `InputNotFound` where there is none or they may not be read, `InputUnreachable` where their store does not answer.
pub async fn run(arguments: Arguments) -> Result<Report, FailureReport> {
    let address = fetch::at(&arguments.uri, arguments.mounted.as_deref())?;
    if arguments.mounted.is_some() {
        // It would be refused each time that it is loaded.
        fetch::all_can_be_verified(&address).await?;
    }
    let tree = tree::digest(&address).await;
    let tree = tree.map_err(|problem| tree_failure(&problem))?;
    Ok(Report::Fetch(FetchReport { tree }))
}
