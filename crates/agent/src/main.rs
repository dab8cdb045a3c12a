//! `windlass-agent`: what runs beside a user's trainer and model server, and on a laptop.

use std::os::unix::process::CommandExt as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing::debug;
use windlass_agent::program::{self, To, end, quietly, unless_told_to_stop};
use windlass_agent::{
    audit, cache, card, check, delete, digest, drift, evaluate, fetch, install, labels, lineage,
    profile, proxy, publish, report, run, verify,
};
use windlass_api::agent::{FailureReason, FailureReport};

/// Runs beside a user's trainer and model server, and on a laptop.
#[derive(Debug, Parser)]
#[command(version)]
struct CommandLine {
    #[command(flatten)]
    to: To,
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
    /// Counts how many predictions have a label, and how many of those are wrong.
    Labels(labels::Arguments),
    /// Makes a version of a model visible in MLflow.
    Publish(publish::Arguments),
    /// Reads the operator's log of decisions.
    Audit(audit::Arguments),
    /// Says what a version came from and what it led to.
    Lineage(lineage::Arguments),
    /// Writes a model card of a version.
    Card(card::Arguments),
}

/// The proxy as a program of its own, beside this one.
const PROXY: &str = "windlass-proxy";
/// The program that has Ballista count, beside this one.
const BALLISTA: &str = "windlass-ballista";

fn main() -> ExitCode {
    program::log();
    if std::env::args_os()
        .nth(1)
        .is_some_and(|command| command == "proxy")
    {
        become_the_proxy();
    }
    let line: CommandLine = match program::parsed() {
        Ok(line) => line,
        Err(end) => return end,
    };
    let to = line.to;
    let runtime = match program::runtime(&to) {
        Ok(runtime) => runtime,
        Err(end) => return end,
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
        Command::Profile(arguments) if arguments.engine.address.is_none() => {
            return program::profile(runtime, arguments, &to);
        }
        Command::Drift(arguments) if arguments.engine.address.is_none() => {
            return program::drift(runtime, arguments, &to);
        }
        Command::Profile(_) | Command::Drift(_) => Err(become_ballista()),
        Command::Labels(arguments) => runtime.block_on(unless_told_to_stop(labels::run(arguments))),
        Command::Publish(arguments) => {
            runtime.block_on(unless_told_to_stop(publish::run(arguments)))
        }
    };
    // What was interrupted may still copy files in a thread: nobody waits for that any more.
    runtime.shutdown_background();
    end(&outcome, &to)
}

/// Goes on as the proxy's own program, where it lies beside this one: beside every model server there is a proxy, and of a
/// program that can do all that the agent does most pages in memory would be of no use to it.
fn become_the_proxy() {
    let Ok(program) = std::env::current_exe().map(|agent| agent.with_file_name(PROXY)) else {
        return;
    };
    let arguments = std::env::args_os().skip(2);
    // It returns only where that cannot be.
    let why = std::process::Command::new(&program).args(arguments).exec();
    debug!("{}: {why}; this program is the proxy", program.display());
}

/// Goes on as the program that has Ballista count, where it lies beside this one; why it does not.
fn become_ballista() -> FailureReport {
    let program = std::env::current_exe().map(|agent| agent.with_file_name(BALLISTA));
    let why = match program {
        Ok(program) => {
            let arguments = std::env::args_os().skip(1);
            let why = std::process::Command::new(&program).args(arguments).exec();
            format!("{}: {why}", program.display())
        }
        Err(why) => why.to_string(),
    };
    report::failure(
        FailureReason::InvalidArguments,
        format!(
            "--engine needs the program {BALLISTA} beside this one, which the image windlass-ballista has: {why}"
        ),
    )
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_can_be_parsed() {
        CommandLine::command().debug_assert();
    }
}
