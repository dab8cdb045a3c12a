//! `windlass-agent digest`: what files are that somebody registers as a model, or writes into a manifest. Each is read once, and
//! none is kept.

use windlass_api::agent::{FailureReason, FailureReport, FetchReport, Report};

use crate::address::Address;
use crate::report::{OrFail, tree_failure};
use crate::tree;

/// Arguments of `windlass-agent digest`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Address of the files: a folder, a file, `pvc://`, `s3://`, `https://`.
    #[arg(value_name = "PATH|URI")]
    pub uri: String,
}

/// Reads all files there are.
///
/// # Errors
/// [`FailureReason::InputNotFound`] where there is none or they may not be read, [`FailureReason::InputUnreachable`] where
/// their store does not answer.
pub async fn run(arguments: Arguments) -> Result<Report, FailureReport> {
    let address = Address::parse(&arguments.uri).or_fail(FailureReason::InvalidArguments)?;
    let tree = tree::digest(&address).await;
    let tree = tree.map_err(|problem| tree_failure(&problem))?;
    Ok(Report::Fetch(FetchReport { tree }))
}
