//! `windlass-agent install`.

use windlass_api::agent::{FailureReason, FailureReport};

use crate::report::failure;

/// Arguments of `windlass-agent install`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {}

/// Runs the command.
pub fn run(_arguments: &Arguments) -> Result<(), FailureReport> {
    Err(failure(FailureReason::Internal, "not there yet"))
}
