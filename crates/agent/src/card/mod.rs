//! `windlass-agent card`: a model card of a version, as one HTML page or as Markdown.
//!
//! ```text
//!   objects, report.json, notes ──content──> Document ──> html, markdown
//! ```
//!
//! All but reading is pure: the same record gives the same bytes, so that a card can be kept under version control and
//! its changes read.
//!
//! Absent on purpose: scripts, and anything that the page would fetch. What nobody wrote down is left visibly empty.

mod content;
mod document;
mod html;
mod markdown;
mod notes;
mod plot;
mod report;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use windlass_api::agent::{FailureReason, FailureReport};

use self::content::Record;
use crate::lineage::trace;
use crate::objects::Selection;
use crate::report::failure;

/// Arguments of `windlass-agent card`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    selection: Selection,
    /// The validation's report.json. Without it, the one that the version names is read, if it can be.
    #[arg(long, value_name = "URI-OR-FILE")]
    report: Option<String>,
    /// A YAML or JSON mapping of keys to texts: what people have to say under the headings of Annex IV. The card names
    /// the key of each.
    #[arg(long, value_name = "FILE")]
    notes: Option<PathBuf>,
    /// The file to write, which ends in .html or .md.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
}

/// How a card is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Html,
    Markdown,
}

impl Format {
    fn of(path: &Path) -> Result<Self, FailureReport> {
        let extension = path.extension().map(OsStr::to_ascii_lowercase);
        match extension.as_ref().and_then(|ending| ending.to_str()) {
            Some("html" | "htm") => Ok(Self::Html),
            Some("md" | "markdown") => Ok(Self::Markdown),
            Some(_) | None => {
                let message = format!(
                    "--output {} does not say which format: it has to end in .html or .md",
                    path.display()
                );
                Err(failure(FailureReason::InvalidArguments, message))
            }
        }
    }
}

/// Runs it.
///
/// # Errors
/// As [`Selection::read`]; [`FailureReason::InvalidArguments`] for an output or notes that are not what they have to be;
/// [`FailureReason::DigestMismatch`] for a report that is not the one that was recorded;
/// [`FailureReason::OutputNotWritten`].
pub async fn run(arguments: Arguments) -> Result<(), FailureReport> {
    let format = Format::of(&arguments.output)?;
    let notes = notes::read(arguments.notes.as_deref())?;
    let objects = arguments.selection.read().await?;
    let version = objects.version(&arguments.selection.name)?;
    let report = report::find(version, arguments.report.as_deref()).await?;
    let graph = trace(&objects, version);
    let record = Record {
        objects: &objects,
        version,
        graph: &graph,
        report: &report,
        notes: &notes,
    };
    let document = content::document(&record);
    let text = match format {
        Format::Html => html::render(&document),
        Format::Markdown => markdown::render(&document),
    };
    std::fs::write(&arguments.output, text).map_err(|problem| {
        let message = format!(
            "{} cannot be written: {problem}",
            arguments.output.display()
        );
        failure(FailureReason::OutputNotWritten, message)
    })
}

#[cfg(test)]
mod tests;
