//! `windlass-agent evaluate`.

use windlass_api::agent::{FailureReason, FailureReport, Report};

use crate::report::failure;

/// Arguments of `windlass-agent evaluate`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {}

/// Runs the command.
pub async fn run(_arguments: Arguments) -> Result<Report, FailureReport> {
    Err(failure(FailureReason::Internal, "not there yet"))
}
