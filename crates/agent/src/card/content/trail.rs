//! What a version came from and led to, and who decided what about it.

use windlass_api::{AuditLine, Decision};

use super::{Record, paragraph};
use crate::card::document::{Block, Item, Section, Table, code, text};
use crate::lineage::graph::Relation;
use crate::lineage::mermaid;
use crate::lineage::tree::{Branch, tree};

pub fn lineage(record: &Record<'_>) -> Section {
    let tree = tree(record.graph);
    let part = |name: &str, branches: &[Branch<'_>]| Item {
        line: if branches.is_empty() {
            format!("{name}: nothing that the objects tell")
        } else {
            name.to_owned()
        },
        items: branches.iter().map(item).collect(),
    };
    let list = vec![
        part("Came from", &tree.came_from),
        part("Led to", &tree.led_to),
    ];
    let blocks = vec![Block::List(list), Block::Mermaid(mermaid(record.graph))];
    Section::new("lineage", "Lineage", blocks)
}

fn item(branch: &Branch<'_>) -> Item {
    Item {
        line: branch.line(),
        items: branch.branches.iter().map(item).collect(),
    }
}

/// Where it serves, in a sentence.
pub fn serving_words(record: &Record<'_>) -> String {
    let edges = record.graph.edges_from(&record.graph.root);
    let of = |relation: Relation| -> Vec<&str> {
        let edges = edges.iter().filter(|(edge, _)| edge.relation == relation);
        edges.map(|(edge, _)| edge.to.key.as_str()).collect()
    };
    let (serves, tried) = (of(Relation::Serves), of(Relation::Tried));
    let kept_out = of(Relation::Quarantined);
    let mut words = Vec::new();
    if !serves.is_empty() {
        words.push(format!("It serves in {}.", serves.join(", ")));
    }
    if !tried.is_empty() {
        words.push(format!("It is tried in {}.", tried.join(", ")));
    }
    if !kept_out.is_empty() {
        words.push(format!(
            "It did harm and is kept out of {}.",
            kept_out.join(", ")
        ));
    }
    if words.is_empty() {
        words.push("It serves nowhere.".to_owned());
    }
    words.join(" ")
}

pub fn decisions(record: &Record<'_>) -> Section {
    let status = record.version.status.iter();
    let decisions: Vec<&Decision> = status.flat_map(|status| &status.decisions).collect();
    if decisions.is_empty() {
        let nothing = paragraph("No decisions are recorded.");
        return Section::new("decisions", "Decisions", vec![nothing]);
    }
    let rows = decisions.iter().map(|one| {
        let actor = match &one.deployment {
            Some(deployment) => format!("{} (in {deployment})", one.actor),
            None => one.actor.clone(),
        };
        vec![
            text(one.sequence.to_string()),
            text(one.time.to_string()),
            text(actor),
            text(format!("{:?}", one.action)),
            text(one.reason.as_str()),
            code(one.digest.as_str()),
        ]
    });
    let head = [
        "Number",
        "Time",
        "Actor",
        "Action",
        "Reason",
        "Digest of the record",
    ];
    let blocks = vec![
        Block::Table(Table {
            caption: "What happened to the version, the newest last".to_owned(),
            head: head.map(str::to_owned).to_vec(),
            rows: rows.collect(),
        }),
        paragraph(chain_words(record, &decisions)),
    ];
    Section::new("decisions", "Decisions", blocks)
}

/// Whether each record has the digest that it says, and follows the one before.
fn chain_words(record: &Record<'_>, decisions: &[&Decision]) -> String {
    let metadata = &record.version.metadata;
    let broken = decisions.iter().enumerate().find(|(at, decision)| {
        let line = AuditLine {
            namespace: record.objects.namespace.clone(),
            name: record.graph.root.key.clone(),
            uid: metadata.uid.clone().unwrap_or_default(),
            decision: Decision::clone(decision),
        };
        let before = at.checked_sub(1).map(|before| decisions[before]);
        let follows = before.is_none_or(|before| {
            decision.previous.as_ref() == Some(&before.digest)
                && decision.sequence == before.sequence + 1
        });
        line.digest() != decision.digest || !follows
    });
    match (broken, decisions.first()) {
        (Some((_, broken)), _) => format!(
            "Record {} is not as it was written: its digest, or that of the record before it, is another.",
            broken.sequence
        ),
        (None, Some(first)) if first.sequence > 1 => format!(
            "Each record has the digest that it names and that of the one before it; those before number {} are in the operator's audit log alone.",
            first.sequence
        ),
        (None, _) => {
            "Each record has the digest that it names and that of the one before it.".to_owned()
        }
    }
}
