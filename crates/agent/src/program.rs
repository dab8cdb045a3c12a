//! What both programs do at their beginning and at their end: the log, the report and the exit code.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use tracing::error;
use tracing_subscriber::EnvFilter;
use windlass_api::agent::environment::REPORT_BYTES;
use windlass_api::agent::{FailureReason, FailureReport, MAX_REPORT_BYTES, Report};

use crate::report;

/// Where the report goes, and how many bytes it may have there.
#[derive(Clone, Debug, clap::Args)]
pub struct To {
    /// File that the report is written to; without it `/dev/termination-log`, or standard output where that is absent.
    #[arg(long = "termination-message", global = true, value_name = "PATH")]
    path: Option<PathBuf>,
    /// How many bytes the report may have.
    #[arg(long = "report-bytes", global = true, env = REPORT_BYTES, default_value_t = MAX_REPORT_BYTES, value_name = "BYTES")]
    bytes: usize,
}

impl To {
    /// As far as it is told by arguments that could not be parsed.
    fn guessed() -> Self {
        Self {
            path: termination_message_of(std::env::args_os()),
            bytes: report_bytes_of(std::env::var(REPORT_BYTES).ok().as_deref()),
        }
    }
}

/// Has what is logged told on standard error, as `RUST_LOG` asks for.
pub fn log() {
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info")),
        )
        .with_writer(std::io::stderr)
        .init();
}

/// The command line; where it cannot be read, how the program ends.
pub fn parsed<L: clap::Parser>() -> Result<L, ExitCode> {
    match L::try_parse() {
        Ok(line) => Ok(line),
        Err(problem) if !problem.use_stderr() => problem.exit(),
        Err(problem) => {
            let failure = report::failure(FailureReason::InvalidArguments, problem.to_string());
            Err(end(&Err(failure), &To::guessed()))
        }
    }
}

/// What runs what waits; where there is none, how the program ends.
pub fn runtime(to: &To) -> Result<tokio::runtime::Runtime, ExitCode> {
    tokio::runtime::Runtime::new().map_err(|problem| {
        let failure = report::failure(FailureReason::Internal, problem.to_string());
        end(&Err(failure), to)
    })
}

/// Writes the report and says how the program ends.
pub fn end(outcome: &Result<Report, FailureReport>, to: &To) -> ExitCode {
    let report = match outcome.clone() {
        Ok(report) => report,
        Err(failure) => {
            error!(reason = ?failure.reason, "{}", failure.message);
            Report::Failure(failure)
        }
    };
    let report = report::fit(report, to.bytes);
    if let Err(problem) = report::write(&report, to.path.as_deref()) {
        error!("the report could not be written: {problem}");
        return ExitCode::FAILURE;
    }
    ExitCode::from(report::exit_code(&report))
}

/// The end of a command that writes no report.
pub fn quietly(outcome: Result<(), FailureReport>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            error!(reason = ?failure.reason, "{}", failure.message);
            ExitCode::from(report::exit_code(&Report::Failure(failure)))
        }
    }
}

/// The report's limit when the arguments could not be parsed.
fn report_bytes_of(variable: Option<&str>) -> usize {
    variable
        .and_then(|text| text.parse().ok())
        .unwrap_or(MAX_REPORT_BYTES)
}

/// The report's path in arguments that could not be parsed.
fn termination_message_of(arguments: impl Iterator<Item = OsString>) -> Option<PathBuf> {
    let mut arguments = arguments.take_while(|argument| argument != "--");
    while let Some(argument) = arguments.next() {
        let text = argument.to_string_lossy();
        if text == "--termination-message" {
            return arguments.next().map(PathBuf::from);
        }
        if let Some(path) = text.strip_prefix("--termination-message=") {
            return Some(PathBuf::from(path));
        }
    }
    None
}
