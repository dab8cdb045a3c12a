//! `windlass-agent proxy`.

use windlass_api::agent::{FailureReason, FailureReport};

use crate::report::failure;

/// Arguments of `windlass-agent proxy`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {}

/// Runs the command.
pub async fn run(_arguments: Arguments) -> Result<(), FailureReport> {
    Err(failure(FailureReason::Internal, "not there yet"))
}
