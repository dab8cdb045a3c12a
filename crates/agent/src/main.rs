//! `windlass-agent`: what runs beside a user's trainer and model server, and on a laptop.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tracing::error;
use tracing_subscriber::EnvFilter;
use windlass_agent::report::OrFail;
use windlass_agent::{
    audit, cache, card, check, delete, digest, drift, evaluate, fetch, install, lineage, profile,
    proxy, publish, report, run, verify,
};
use windlass_api::agent::environment::REPORT_BYTES;
use windlass_api::agent::{FailureReason, FailureReport, MAX_REPORT_BYTES, Report};

/// Runs beside a user's trainer and model server, and on a laptop.
#[derive(Debug, Parser)]
#[command(version)]
struct CommandLine {
    /// File that the report is written to; without it `/dev/termination-log`, or standard output where that is absent.
    #[arg(long, global = true, value_name = "PATH")]
    termination_message: Option<PathBuf>,
    /// How many bytes the report may have.
    #[arg(long, global = true, env = REPORT_BYTES, default_value_t = MAX_REPORT_BYTES, value_name = "BYTES")]
    report_bytes: usize,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Copies this program into a folder that other containers see.
    Install(install::Arguments),
    /// Fetches inputs, runs a trainer, uploads what it wrote and reports.
    Run(run::Arguments),
    /// Tests data before a training takes a GPU.
    Check(check::Arguments),
    /// Keeps inputs on a node by digest, for all who read the same.
    Cache(cache::Arguments),
    /// Says what the digest of a tree of files is.
    Digest(digest::Arguments),
    /// Fetches a tree of files and verifies its digest.
    Fetch(fetch::Arguments),
    /// Deletes trees of files that have the digests that were recorded.
    Delete(delete::Arguments),
    /// Says whether files are those that were recorded, and those that somebody signed.
    Verify(verify::Arguments),
    /// Stands in front of a model server: measures it and logs payloads.
    Proxy(proxy::Arguments),
    /// Judges a model through the server that will serve it.
    Evaluate(evaluate::Arguments),
    /// Makes the profile of a data set.
    Profile(profile::Arguments),
    /// Compares a window of traffic with a profile.
    Drift(drift::Arguments),
    /// Makes a version of a model visible in MLflow.
    Publish(publish::Arguments),
    /// Reads the operator's log of decisions.
    Audit(audit::Arguments),
    /// Says what a version came from and what it led to.
    Lineage(lineage::Arguments),
    /// Writes a model card of a version.
    Card(card::Arguments),
}

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info")),
        )
        .with_writer(std::io::stderr)
        .init();
    let line = match CommandLine::try_parse() {
        Ok(line) => line,
        Err(problem) if !problem.use_stderr() => problem.exit(),
        Err(problem) => {
            let failure = report::failure(FailureReason::InvalidArguments, problem.to_string());
            let to = To {
                path: termination_message_of(std::env::args_os()),
                bytes: report_bytes_of(std::env::var(REPORT_BYTES).ok().as_deref()),
            };
            return end(&Err(failure), &to);
        }
    };
    let to = To {
        path: line.termination_message,
        bytes: line.report_bytes,
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(problem) => {
            let failure = report::failure(FailureReason::Internal, problem.to_string());
            return end(&Err(failure), &to);
        }
    };
    let outcome = match line.command {
        Command::Install(arguments) => return quietly(install::run(&arguments)),
        Command::Audit(arguments) => return quietly(audit::run(&arguments)),
        Command::Proxy(arguments) => {
            let outcome = runtime.block_on(proxy::run(arguments));
            runtime.shutdown_background();
            return quietly(outcome);
        }
        Command::Cache(arguments) => {
            let outcome = runtime.block_on(unless_told_to_stop(cache::run(arguments)));
            runtime.shutdown_background();
            return quietly(outcome);
        }
        Command::Lineage(arguments) => {
            let outcome = runtime.block_on(unless_told_to_stop(lineage::run(arguments)));
            runtime.shutdown_background();
            return quietly(outcome);
        }
        Command::Card(arguments) => {
            let outcome = runtime.block_on(unless_told_to_stop(card::run(arguments)));
            runtime.shutdown_background();
            return quietly(outcome);
        }
        Command::Verify(arguments) => {
            let outcome = runtime.block_on(unless_told_to_stop(verify::run(arguments)));
            runtime.shutdown_background();
            return quietly(outcome);
        }
        Command::Run(arguments) => runtime.block_on(run::run(arguments)),
        Command::Check(arguments) => runtime.block_on(unless_told_to_stop(check::run(arguments))),
        Command::Digest(arguments) => runtime.block_on(unless_told_to_stop(digest::run(arguments))),
        Command::Fetch(arguments) => runtime.block_on(unless_told_to_stop(fetch::run(arguments))),
        Command::Delete(arguments) => runtime.block_on(unless_told_to_stop(delete::run(arguments))),
        Command::Evaluate(arguments) => {
            runtime.block_on(unless_told_to_stop(evaluate::run(arguments)))
        }
        Command::Profile(arguments) => {
            runtime.block_on(unless_told_to_stop(profile::run(arguments)))
        }
        Command::Drift(arguments) => runtime.block_on(unless_told_to_stop(drift::run(arguments))),
        Command::Publish(arguments) => {
            runtime.block_on(unless_told_to_stop(publish::run(arguments)))
        }
    };
    // What was interrupted may still copy files in a thread: nobody waits for that any more.
    runtime.shutdown_background();
    end(&outcome, &to)
}

/// Where the report goes, and how many bytes it may have there.
struct To {
    path: Option<PathBuf>,
    bytes: usize,
}

/// The command's outcome, unless the agent is told to stop first. In a container the agent is the first process,
/// which no signal ends that it does not listen to.
async fn unless_told_to_stop<T>(
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

/// Writes the report and says how the program ends.
fn end(outcome: &Result<Report, FailureReport>, to: &To) -> ExitCode {
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
fn quietly(outcome: Result<(), FailureReport>) -> ExitCode {
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
fn termination_message_of(arguments: impl Iterator<Item = std::ffi::OsString>) -> Option<PathBuf> {
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
