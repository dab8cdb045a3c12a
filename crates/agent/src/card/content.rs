//! A record to a document: what a card says, in what order. Pure.

mod annex;
mod data;
mod identity;
mod measured;
mod metrics;
mod trail;
mod words;

use windlass_api::agent::Verdict;
use windlass_api::{ModelVersion, Validation, ValidationStatus};

pub use self::annex::KEYS;
use super::document::{
    Block, Column, Document, Inline, Kind, Line, Section, Table, column, strong, text,
};
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

impl<'a> Record<'a> {
    /// What its validation asks for.
    fn asked(&self) -> Option<&'a Validation> {
        self.version.spec.validation.as_ref()
    }

    /// What its validation found.
    fn found(&self) -> Option<&'a ValidationStatus> {
        self.version.status.as_ref()?.validation.as_ref()
    }
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

/// What speaks against it, the verdict, the approval and where it serves, in a line.
fn summary(record: &Record<'_>) -> Line {
    let mut line = Vec::new();
    for against in trail::against(record) {
        line.push(Inline::Strong(against));
        line.extend(text(" "));
    }
    match record.found().map(|found| found.verdict) {
        Some(found @ Verdict::Pass) => {
            line.extend(text("Its validation says "));
            line.extend(strong(verdict(found)));
        }
        Some(found) => {
            line.extend(text("Its validation does not say Pass but "));
            line.extend(strong(verdict(found)));
        }
        None => line.extend(text("It was not judged by a validation")),
    }
    line.extend(text(format!(
        "; {}. {}",
        identity::approval_words(record.version),
        trail::serving_words(record)
    )));
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

/// A table of names and what they are.
fn facts(caption: &str, rows: Vec<Vec<Line>>) -> Block {
    const COLUMNS: [Column; 2] = [column("", Kind::Text), column("", Kind::Text)];
    Block::Table(Table::new(caption, &COLUMNS, rows))
}

/// A row of it.
fn fact(name: &str, value: Line) -> Vec<Line> {
    vec![text(name), value]
}

/// A part of a section.
fn part(id: &str, heading: &str, blocks: Vec<Block>) -> Section {
    Section {
        depth: 3,
        ..Section::new(id, heading, blocks)
    }
}
