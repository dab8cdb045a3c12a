//! `windlass-agent lineage`: from a version to everything that it came from and everything that it led to.
//!
//! ```text
//!   objects ──trace──> Graph ──> text, mermaid, openlineage
//! ```
//!
//! All but reading the objects is pure: the same objects give the same bytes.

pub mod graph;
mod mermaid;
mod openlineage;
pub(crate) mod text;
mod trace;
pub(crate) mod tree;
mod visible;

use std::io::Write as _;

use windlass_api::agent::{FailureReason, FailureReport};

pub(crate) use mermaid::render as mermaid;
pub use trace::trace;
pub(crate) use trace::verdict;
pub(crate) use visible::visible;

use crate::objects::Selection;
use crate::report::failure;

/// Arguments of `windlass-agent lineage`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    selection: Selection,
    /// How it is written.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// How a graph is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// A tree for a terminal.
    Text,
    /// A Mermaid flow chart.
    Mermaid,
    /// OpenLineage events, one a line.
    Openlineage,
}

/// Runs it.
///
/// # Errors
/// As [`Selection::read`]; [`FailureReason::InputUnreadable`] where OpenLineage's events lack what they need.
pub async fn run(arguments: Arguments) -> Result<(), FailureReport> {
    let objects = arguments.selection.read().await?;
    let version = objects.version(&arguments.selection.name)?;
    let graph = trace(&objects, version);
    let text = match arguments.output {
        Output::Text => text::render(&graph),
        Output::Mermaid => mermaid(&graph),
        Output::Openlineage => openlineage::render(&graph)
            .map_err(|problem| failure(FailureReason::InputUnreadable, problem.to_string()))?,
    };
    print(&text)
}

/// Writes to standard output. Who reads it may have read enough, as `head` does.
fn print(text: &str) -> Result<(), FailureReport> {
    let mut output = std::io::stdout().lock();
    let written = output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush());
    match written {
        Ok(()) => Ok(()),
        Err(problem) if problem.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        Err(problem) => {
            let message = format!("standard output cannot be written: {problem}");
            Err(failure(FailureReason::OutputNotWritten, message))
        }
    }
}

#[cfg(test)]
pub(crate) mod fixture {
    //! The objects of `tests/lineage/growth.json`.

    use super::graph::Graph;
    use crate::objects::Objects;

    pub(crate) const GROWTH: &str = include_str!("../../tests/lineage/growth.json");

    pub(crate) fn objects() -> Objects {
        Objects::parse(GROWTH, "churn-3", None).expect("objects")
    }

    pub(crate) fn graph<'a>(objects: &'a Objects, name: &str) -> Graph<'a> {
        super::trace(objects, objects.version(name).expect("a version"))
    }
}
