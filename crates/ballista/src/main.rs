//! `windlass-ballista`: has a Ballista cluster count what `windlass-agent` would count itself, to the same bits.
//!
//! ```text
//!   windlass-agent drift --engine ballista://…  ──goes on as──> windlass-ballista drift
//!                                                                 │ client: a plan, a partition a part
//!                                                                 v
//!                                          windlass-ballista scheduler ──parts──> windlass-ballista executor, executor, …
//!                                                 lane: each partition is counted by the agent's own code
//! ```
//!
//! Scheduler and executors are programs of ours because Ballista's own do not know our node of a plan ([`codec`]).
//!
//! Absent on purpose: statistics, formats, verdicts. All of these are the agent's.

mod client;
mod codec;
mod lane;
mod logged;
mod servers;

use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use windlass_agent::arguments::EngineArguments;
use windlass_agent::profile::reading::parts::CountedBy;
use windlass_agent::program::{self, To, end, quietly, unless_told_to_stop};
use windlass_agent::report::failure;
use windlass_agent::{drift, profile};
use windlass_api::agent::{FailureReason, FailureReport};

use self::client::Ballista;

/// Has a Ballista cluster count what windlass-agent would.
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
    /// Makes the profile of a data set.
    Profile(Box<profile::Arguments>),
    /// Compares a window of traffic with a profile.
    Drift(Box<drift::Arguments>),
    /// Gives parts to executors.
    Scheduler(servers::SchedulerArguments),
    /// Counts parts.
    Executor(servers::ExecutorArguments),
}

fn main() -> ExitCode {
    program::log();
    logged::told();
    let line: CommandLine = match program::parsed() {
        Ok(line) => line,
        Err(end) => return end,
    };
    let to = line.to;
    let runtime = match program::runtime(&to) {
        Ok(runtime) => runtime,
        Err(end) => return end,
    };
    match line.command {
        Command::Profile(mut arguments) => match connect(&mut arguments.engine) {
            Ok(()) => program::profile(runtime, *arguments, &to),
            Err(failure) => end(&Err(failure), &to),
        },
        Command::Drift(mut arguments) => match connect(&mut arguments.engine) {
            Ok(()) => program::drift(runtime, *arguments, &to),
            Err(failure) => end(&Err(failure), &to),
        },
        Command::Scheduler(arguments) => {
            let outcome = runtime.block_on(unless_told_to_stop(servers::scheduler(arguments)));
            runtime.shutdown_background();
            quietly(outcome)
        }
        // Told to stop, it ends what it counts first.
        Command::Executor(arguments) => {
            let outcome = runtime.block_on(servers::executor(arguments));
            runtime.shutdown_background();
            quietly(outcome)
        }
    }
}

/// Makes what counts of its address.
fn connect(engine: &mut EngineArguments) -> Result<(), FailureReport> {
    let Some(address) = &engine.address else {
        let message = "--engine ballista://HOST:PORT is missing; windlass-agent counts without it";
        return Err(failure(FailureReason::InvalidArguments, message));
    };
    engine.counted_by = CountedBy::new(Arc::new(Ballista::at(address)?));
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use clap::CommandFactory;

    use super::*;

    /// Crates, each with its versions.
    fn locked(lock: &str) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut crates: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for package in lock.split("[[package]]").skip(1) {
            let field = |name| package.lines().find_map(|line| line.strip_prefix(name));
            let (name, version) = (field("name = "), field("version = "));
            let versions = crates.entry(name.expect("a name")).or_default();
            versions.insert(version.expect("a version"));
        }
        crates
    }

    /// Of another version of a crate, an executor may count what the agent would not. Either may have more versions of one:
    /// for what the other does not need.
    #[test]
    fn what_both_workspaces_build_is_of_one_version() {
        let mine = locked(include_str!("../Cargo.lock"));
        let theirs = locked(include_str!("../../../Cargo.lock"));
        assert!(mine["\"datafusion\""].len() == 1 && theirs.len() > 400);
        let is_other = |(name, mine): &(&&str, &BTreeSet<&str>)| {
            let theirs = theirs.get(**name);
            theirs.is_some_and(|theirs| !(theirs.is_subset(mine) || mine.is_subset(theirs)))
        };
        let others: Vec<_> = mine.iter().filter(is_other).collect();
        assert!(others.is_empty(), "of other versions here: {others:?}");
    }

    #[test]
    fn the_command_line_can_be_parsed() {
        CommandLine::command().debug_assert();
    }
}
