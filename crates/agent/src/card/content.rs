//! A record to a document: what a card says, in what order. Pure.

mod annex;
mod data;
mod identity;
mod metrics;
mod trail;
mod words;

use windlass_api::ModelVersion;
use windlass_api::agent::Verdict;

pub use self::annex::KEYS;
use super::document::{Block, Document, Inline, Line, Section, text};
use super::notes::Notes;
use super::report::Report;
use crate::lineage::graph::Graph;
use crate::lineage::verdict;
use crate::objects::Objects;

/// All that a card is made from.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    /// The objects of the namespace.
    pub objects: &'a Objects,
    /// The version.
    pub version: &'a ModelVersion,
    /// What it came from and led to.
    pub graph: &'a Graph<'a>,
    /// The validation's full report.
    pub report: &'a Report,
    /// What people wrote.
    pub notes: &'a Notes,
}

/// The card.
pub fn document(record: &Record<'_>) -> Document {
    let spec = &record.version.spec;
    let mut sections = vec![
        identity::what_it_is(record),
        identity::verdict_and_approval(record),
    ];
    sections.extend(metrics::sections(record));
    sections.extend([
        data::data(record),
        data::parameters(record),
        data::environment(record),
        trail::lineage(record),
        trail::decisions(record),
    ]);
    sections.extend(annex::sections(record));
    Document {
        title: format!("Model card: {}, version {}", spec.model, spec.version),
        summary: summary(record),
        sections,
        footer: footer(record),
    }
}

/// The verdict, the approval and where it serves, in a line.
fn summary(record: &Record<'_>) -> Line {
    let status = record.version.status.as_ref();
    let found = status.and_then(|status| status.validation.as_ref());
    let mut line = match found.map(|found| found.verdict) {
        Some(found @ Verdict::Pass) => {
            vec![
                Inline::Text("Its validation says ".to_owned()),
                Inline::Strong(verdict(found).to_owned()),
            ]
        }
        Some(found) => vec![
            Inline::Text("Its validation does not say Pass but ".to_owned()),
            Inline::Strong(verdict(found).to_owned()),
        ],
        None => text("It was not judged by a validation"),
    };
    line.extend(text(format!(
        "; {}. ",
        identity::approval_words(record.version)
    )));
    line.extend(text(trail::serving_words(record)));
    line
}

fn footer(record: &Record<'_>) -> Line {
    let metadata = &record.version.metadata;
    text(format!(
        "Made by windlass-agent {} from the ModelVersion {}/{}, uid {}, as its record was when the card was made.",
        env!("CARGO_PKG_VERSION"),
        record.objects.namespace,
        record.graph.root.key,
        metadata.uid.as_deref().unwrap_or("unknown"),
    ))
}

/// A paragraph of plain text.
fn paragraph(words: impl Into<String>) -> Block {
    Block::Paragraph(text(words))
}

/// A part of a section.
fn part(id: &str, heading: &str, blocks: Vec<Block>) -> Section {
    Section {
        depth: 3,
        ..Section::new(id, heading, blocks)
    }
}
