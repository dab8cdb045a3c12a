//! `windlass-agent audit verify`: whether the records of decisions on versions are all there, and as they were written.
//!
//! ```text
//!   {"audit": {…, "decision": {"sequence": 2, "previous": <digest of 1>, "digest": <over this one>, …}}}
//!
//!   logs ──lines──> Chains ──┐
//!                            ├──> what is missing, changed, out of its place
//!   versions ──statuses──────┘
//! ```
//!
//! The operator writes such a line for every decision, among its other lines, which are passed over. It may write one
//! twice, the same to the letter. Each version has a chain of its own.
//!
//! What the logs alone cannot tell: that the last records of a chain are missing, or a chain as a whole. The versions'
//! `status.decisions` tell it (`--versions`).

mod chains;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use windlass_api::agent::{FailureReason, FailureReport};

use crate::objects::versions_of;
use crate::report::failure;
use chains::{Chains, Extent, Log};

/// Problems that are named; the others are counted.
const NAMED: usize = 20;

/// Arguments of `windlass-agent audit`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Says whether records were changed, left out or put in another order.
    Verify {
        /// The operator's log, such as `kubectl logs` gives it; `-` is standard input. Several are those of several processes.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// The logs begin in the midst: chains may lack their first records.
        #[arg(long)]
        partial: bool,
        /// When they begin, where that is known: nothing that was decided later may be missing.
        #[arg(long, value_name = "TIME")]
        since: Option<Timestamp>,
        /// What `kubectl get modelversions -A -o json` printed before the logs were taken: no record of theirs may be missing.
        #[arg(long, value_name = "FILE")]
        versions: Option<PathBuf>,
    },
}

/// Runs it.
///
/// # Errors
/// [`FailureReason::DigestMismatch`] with each line that is wrong; [`FailureReason::InputNotFound`] for a file that
/// cannot be read, and where no record is in any of them; [`FailureReason::InputUnreadable`] for what is no list of
/// versions.
pub fn run(arguments: &Arguments) -> Result<(), FailureReport> {
    let Command::Verify {
        files,
        partial,
        since,
        versions,
    } = &arguments.command;
    let extent = match files.as_slice() {
        _ if *partial || since.is_some() => Extent::Since(*since),
        [_] => Extent::Whole,
        _ => Extent::Several,
    };
    let mut chains = Chains::new(extent);
    for file in files {
        chains.take_all(read(file)?);
    }
    if let Some(path) = versions {
        chains.compare(&versions_of(path)?);
    }
    if chains.is_empty() {
        let files: Vec<_> = files
            .iter()
            .map(|file| file.display().to_string())
            .collect();
        let message = format!(
            "{} has no record of a decision: is it the operator's log, of a process that led?",
            files.join(", ")
        );
        return Err(failure(FailureReason::InputNotFound, message));
    }
    match chains.conclude() {
        Ok(said) => {
            println!("{said}");
            Ok(())
        }
        Err(problems) => {
            problems
                .iter()
                .take(NAMED)
                .for_each(|one| println!("{one}"));
            let message = match problems.len() {
                count if count > NAMED => format!(
                    "{count} records are not as they were written; the first {NAMED} were named"
                ),
                count => format!("{count} records are not as they were written"),
            };
            Err(failure(FailureReason::DigestMismatch, message))
        }
    }
}

/// The records of a file.
fn read(file: &Path) -> Result<Log, FailureReport> {
    let unreadable = |problem: std::io::Error| {
        let message = format!("{}: {problem}", file.display());
        failure(FailureReason::InputNotFound, message)
    };
    let lines: Box<dyn BufRead> = if file == Path::new("-") {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(file).map_err(unreadable)?))
    };
    let mut log = Log::new(file.display().to_string());
    for (at, line) in lines.split(b'\n').enumerate() {
        log.take(at + 1, &line.map_err(unreadable)?);
    }
    Ok(log)
}
