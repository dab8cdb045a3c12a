//! What a version is, how it was judged, and who approved it.

use windlass_api::{Approval, ModelVersion, ReviewDecision};

use super::words::bytes;
use super::{Record, paragraph};
use crate::card::document::{Block, Line, Section, Table, code, strong, text};
use crate::lineage::graph::NOT_DIGESTED;
use crate::lineage::verdict;

pub fn what_it_is(record: &Record<'_>) -> Section {
    let (spec, metadata) = (&record.version.spec, &record.version.metadata);
    let artifact = &spec.artifact;
    let mut rows = vec![
        fact("Model", text(spec.model.as_str())),
        fact("Version", text(spec.version.to_string())),
        fact("Format", text(artifact.format.as_str())),
        fact("Files", code(artifact.uri.0.as_str())),
        fact(
            "Digest of the files",
            code(record.version.digest().unwrap_or(NOT_DIGESTED)),
        ),
    ];
    if let Some(size) = record.version.bytes() {
        rows.push(fact("Size", text(bytes(size))));
    }
    if let Some(fingerprint) = &spec.fingerprint {
        rows.push(fact("Fingerprint", code(fingerprint.as_str())));
    }
    if let Some(created) = &metadata.creation_timestamp {
        rows.push(fact("Recorded", text(created.0.to_string())));
    }
    if let Some(author) = &spec.author {
        rows.push(fact("Author of the training", text(author.as_str())));
    }
    rows.push(fact(
        "Record",
        code(format!(
            "ModelVersion {}/{}",
            record.objects.namespace, record.graph.root.key
        )),
    ));
    let table = facts("What the version is", rows);
    let fingerprint = "The same fingerprint gives the same model: it is over the source, the parameters, the inputs' digests, the window, the images and the templates.";
    let mut blocks = vec![table];
    if spec.fingerprint.is_some() {
        blocks.push(paragraph(fingerprint));
    }
    Section::new("what-it-is", "What it is", blocks)
}

pub fn verdict_and_approval(record: &Record<'_>) -> Section {
    let version = record.version;
    let status = version.status.as_ref();
    let mut rows = Vec::new();
    match status.and_then(|status| status.validation.as_ref()) {
        Some(found) => {
            rows.push(fact("Verdict", strong(verdict(found.verdict))));
            rows.push(fact("Why", text(found.message.as_str())));
            rows.push(fact("Rows that were judged", text(found.rows.to_string())));
            let champion = found.champion.as_deref().unwrap_or("no version");
            rows.push(fact("Compared with", text(champion)));
            if let Some(report) = &found.report {
                rows.push(fact(
                    "Digest of the full report",
                    code(report.digest.as_str()),
                ));
            }
        }
        None => rows.push(fact("Verdict", text("none: no validation has judged it"))),
    }
    rows.push(fact(
        "Approval that is asked for",
        text(policy(version.spec.approval)),
    ));
    match &version.spec.review {
        Some(review) => {
            let decision = match review.decision {
                ReviewDecision::Approved => "Approved",
                ReviewDecision::Denied => "Denied",
            };
            rows.push(fact("Review", strong(decision)));
            rows.push(fact("Reviewed by", text(review.by.as_str())));
            rows.push(fact("Reason of the review", text(review.reason.as_str())));
        }
        None => rows.push(fact("Review", text("none"))),
    }
    let blocks = vec![facts("How it was judged and approved", rows)];
    Section::new("verdict-and-approval", "Verdict and approval", blocks)
}

fn policy(approval: Approval) -> &'static str {
    match approval {
        Approval::Automatic => "Automatic: none beside the validation",
        Approval::Manual => "Manual: a person who may approve it",
        Approval::FourEyes => "FourEyes: a person who may approve it and is not its author",
    }
}

/// Who approved it, as a part of a sentence.
pub fn approval_words(version: &ModelVersion) -> String {
    match (&version.spec.review, version.spec.approval) {
        (Some(review), _) => match review.decision {
            ReviewDecision::Approved => format!("{} approved it", review.by),
            ReviewDecision::Denied => format!("{} denied it", review.by),
        },
        (None, Approval::Automatic) => "no person's approval is asked for".to_owned(),
        (None, Approval::Manual | Approval::FourEyes) => "it awaits approval".to_owned(),
    }
}

/// A table of names and what they are.
pub fn facts(caption: &str, rows: Vec<Vec<Line>>) -> Block {
    Block::Table(Table {
        caption: caption.to_owned(),
        head: vec!["What".to_owned(), "Value".to_owned()],
        rows,
    })
}

/// A row of it.
pub fn fact(name: &str, value: Line) -> Vec<Line> {
    vec![text(name), value]
}
