//! What a version is, how it was judged, and who approved it.

use kube::ResourceExt;
use windlass_api::agent::Verdict;
use windlass_api::{
    Approval, ArtifactPolicy, ArtifactSignature, ModelVersion, Retention, ReviewDecision, labels,
};

use super::words::{bytes, counted};
use super::{Record, fact, facts, paragraph};
use crate::card::document::{Line, Section, code, strong, text};
use crate::lineage::graph::NOT_DIGESTED;
use crate::lineage::verdict;
use crate::page::number::count;

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
    if let Some(signature) = &artifact.signature {
        rows.push(fact("Signature of the files", text(signed(signature))));
    }
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
    if let Some(cause) = spec.trained_by.as_ref().and_then(|by| by.cause.as_ref()) {
        rows.push(fact("Why it was trained", text(cause.as_str())));
    }
    rows.push(fact(
        "Record",
        code(format!(
            "ModelVersion {}/{}",
            record.objects.namespace, record.graph.root.key
        )),
    ));
    rows.extend(where_else(record.version));
    let table = facts("What the version is", rows);
    let fingerprint = "The same fingerprint gives the same model: it is over the source, the parameters, the inputs' digests, the window, the images and the templates.";
    let mut blocks = vec![table];
    if spec.fingerprint.is_some() {
        blocks.push(paragraph(fingerprint));
    }
    Section::new("what-it-is", "What it is", blocks)
}

fn signed(signature: &ArtifactSignature) -> &'static str {
    match &signature.signed_by {
        Some(_) => "it has one, and nothing loads them without",
        None => "it has one, which is verified where a ModelDeployment asks for it",
    }
}

/// Where the version is shown too, and how long it stays.
fn where_else(version: &ModelVersion) -> Vec<Vec<Line>> {
    let mut rows = Vec::new();
    let shown = version
        .status
        .as_ref()
        .and_then(|one| one.tracking.as_ref());
    if let (Some(tracking), Some(shown)) = (&version.spec.tracking, shown) {
        rows.push(fact("MLflow", code(tracking.mlflow.uri.as_str())));
        rows.push(fact("Run in MLflow", code(shown.run_id.as_str())));
        let number = shown.model_version.as_deref();
        rows.extend(number.map(|number| fact("Version in MLflow", text(number))));
    }
    if let Some(retention) = &version.spec.retention {
        rows.push(fact("Kept", text(kept(retention))));
    }
    if let Some(reason) = version.labels().get(labels::LEGAL_HOLD) {
        rows.push(fact("Legal hold", text(reason.as_str())));
    }
    rows
}

fn kept(retention: &Retention) -> String {
    let files = match retention.artifacts {
        ArtifactPolicy::Retain => "the files stay",
        ArtifactPolicy::Delete => "the files are deleted",
    };
    let newer = counted(retention.keep, "newer version is", "newer versions are");
    format!("until {newer} there and nothing needs it; {files} then")
}

pub fn verdict_and_approval(record: &Record<'_>) -> Section {
    let version = record.version;
    let mut rows = Vec::new();
    match record.found() {
        Some(found) => {
            rows.push(fact("Verdict", strong(verdict(found.verdict))));
            rows.push(fact("Why", text(found.message.as_str())));
            rows.push(fact("Rows that were judged", text(count(found.rows))));
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

/// Who approved it, as a part of a sentence. What its validation does not let through awaits nobody.
pub fn approval_words(version: &ModelVersion) -> String {
    let found = version
        .status
        .as_ref()
        .and_then(|one| one.validation.as_ref());
    match (&version.spec.review, version.spec.approval) {
        (Some(review), _) => match review.decision {
            ReviewDecision::Approved => format!("{} approved it", review.by),
            ReviewDecision::Denied => format!("{} denied it", review.by),
        },
        (None, Approval::Automatic) => "no person's approval is asked for".to_owned(),
        (None, Approval::Manual | Approval::FourEyes) => match found.map(|found| found.verdict) {
            Some(Verdict::Pass) => "it awaits approval".to_owned(),
            Some(Verdict::Fail | Verdict::Inconclusive) | None => {
                "nobody has reviewed it".to_owned()
            }
        },
    }
}
