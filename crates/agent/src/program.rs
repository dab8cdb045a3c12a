//! What programs do at their beginning and at their end: the log, the report and the exit code; and the commands that several
//! of them have.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tracing::error;
use tracing_subscriber::EnvFilter;
use windlass_api::agent::environment::REPORT_BYTES;
use windlass_api::agent::{FailureReason, FailureReport, MAX_REPORT_BYTES, Report};

use crate::drift::table;
use crate::report::OrFail;
use crate::{drift, profile, report};

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
pub fn runtime(to: &To) -> Result<Runtime, ExitCode> {
    Runtime::new().map_err(|problem| {
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

/// Makes a profile, for a person or for a program.
pub fn profile(runtime: Runtime, arguments: profile::Arguments, to: &To) -> ExitCode {
    if arguments.data.is_some() {
        let outcome = runtime.block_on(unless_told_to_stop(profile::by_hand(&arguments)));
        runtime.shutdown_background();
        return quietly(outcome.map(|said| println!("{said}")));
    }
    let outcome = runtime.block_on(unless_told_to_stop(profile::run(arguments)));
    runtime.shutdown_background();
    end(&outcome, to)
}

/// Compares data with a reference, for a person or for a program.
pub fn drift(runtime: Runtime, arguments: drift::Arguments, to: &To) -> ExitCode {
    if !arguments.is_by_hand() {
        let outcome = runtime.block_on(unless_told_to_stop(drift::run(arguments)));
        runtime.shutdown_background();
        return end(&outcome, to);
    }
    let work = async {
        let results = drift::by_hand(&arguments).await?;
        drift::write_page(&arguments, &results).await?;
        Ok(results)
    };
    let outcome = runtime.block_on(unless_told_to_stop(work));
    runtime.shutdown_background();
    match outcome {
        Ok(results) => {
            print!("{}", table::for_standard_output(&results));
            ExitCode::from(table::exit_code(results.verdict))
        }
        Err(failure) => quietly(Err(failure)),
    }
}

/// The command's outcome, unless the agent is told to stop first. In a container the agent is the first process,
/// which no signal ends that it does not listen to.
pub async fn unless_told_to_stop<T>(
    work: impl Future<Output = Result<T, FailureReport>>,
) -> Result<T, FailureReport> {
    let listen = |kind| signal(kind).or_fail(FailureReason::Internal);
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    tokio::select! {
        outcome = work => return outcome,
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Err(report::failure(
        FailureReason::Interrupted,
        "the agent was told to stop before it was done",
    ))
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
