//! What a version came from and led to, and who decided what about it.

use windlass_api::{Action, AuditLine, Decision};

use super::{Record, paragraph};
use crate::card::document::{
    Block, Column, Inline, Item, Kind, Line, Section, Table, code, column, text,
};
use crate::lineage::graph::Relation;
use crate::lineage::mermaid;
use crate::lineage::tree::{Branch, tree};

const DECISION: [Column; 5] = [
    column("Number", Kind::Number),
    column("Action", Kind::Word),
    column("Reason, and digest of the record", Kind::Prose),
    column("Actor", Kind::Text),
    column("Time", Kind::Word),
];

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

/// The names of the ModelDeployments to which the version is related so.
pub fn related<'a>(record: &Record<'a>, relations: &[Relation]) -> Vec<&'a str> {
    let edges = record.graph.edges_from(&record.graph.root).into_iter();
    let edges = edges.map(|(edge, _)| edge);
    let of_relation = edges.filter(|edge| relations.contains(&edge.relation));
    of_relation.map(|edge| edge.to.key.as_str()).collect()
}

/// Where it serves, in a sentence.
pub fn serving_words(record: &Record<'_>) -> String {
    let serves = related(record, &[Relation::Serves]);
    let tried = related(record, &[Relation::Tried]);
    let mut words = Vec::new();
    if !serves.is_empty() {
        words.push(format!("It serves in {}.", serves.join(", ")));
    }
    if !tried.is_empty() {
        words.push(format!("It is tried in {}.", tried.join(", ")));
    }
    if words.is_empty() {
        words.push("It serves nowhere.".to_owned());
    }
    words.join(" ")
}

/// What speaks against it, a sentence each.
pub fn against(record: &Record<'_>) -> Vec<String> {
    let kept_out = related(record, &[Relation::Quarantined]);
    let mut taken_back = related(record, &[Relation::RolledBack]);
    taken_back.retain(|name| !kept_out.contains(name));
    let mut sentences = Vec::new();
    if !kept_out.is_empty() {
        sentences.push(format!(
            "It did harm and is kept out of {}.",
            kept_out.join(", ")
        ));
    }
    if !taken_back.is_empty() {
        sentences.push(format!("It was taken back in {}.", taken_back.join(", ")));
    }
    if broken(record).is_some() {
        sentences.push("What is recorded of its decisions does not hold together.".to_owned());
    }
    sentences
}

fn recorded<'a>(record: &Record<'a>) -> &'a [Decision] {
    let status = record.version.status.as_ref();
    status.map_or(&[], |status| &status.decisions)
}

pub fn decisions(record: &Record<'_>) -> Section {
    let decisions = recorded(record);
    let Some(first) = decisions.first() else {
        let nothing = paragraph("No decisions are recorded.");
        return Section::new("decisions", "Decisions", vec![nothing]);
    };
    let rows = decisions.iter().map(|one| {
        let actor = match &one.deployment {
            Some(deployment) => format!("{} (in {deployment})", one.actor),
            None => one.actor.clone(),
        };
        vec![
            text(one.sequence.to_string()),
            text(format!("{:?}", one.action)),
            reason_and_digests(one),
            text(actor),
            text(one.time.to_string()),
        ]
    });
    let caption = "What happened to the version, the newest last";
    let table = Block::Table(Table::new(caption, &DECISION, rows.collect()));
    let blocks = match broken(record) {
        Some(warning) => vec![Block::Warning(text(warning)), table],
        None => vec![table, paragraph(whole_words(first))],
    };
    Section::new("decisions", "Decisions", blocks)
}

fn reason_and_digests(decision: &Decision) -> Line {
    let mut line = text(decision.reason.as_str());
    line.push(Inline::Break);
    line.extend(code(decision.digest.as_str()));
    if let Some(evidence) = &decision.evidence {
        line.extend([Inline::Break, Inline::Text("It rests on ".to_owned())]);
        line.extend(code(evidence.as_str()));
    }
    line
}

/// What does not hold together: each record has the digest that it says and follows the one before, and the verdict
/// rests on the report that the status names.
fn broken(record: &Record<'_>) -> Option<String> {
    let decisions = recorded(record);
    let metadata = &record.version.metadata;
    let is_broken = |(at, decision): &(usize, &Decision)| {
        let line = AuditLine {
            namespace: record.objects.namespace.clone(),
            name: record.graph.root.key.clone(),
            uid: metadata.uid.clone().unwrap_or_default(),
            decision: Decision::clone(decision),
        };
        let before = at.checked_sub(1).map(|before| &decisions[before]);
        let follows = before.is_none_or(|before| {
            decision.previous.as_ref() == Some(&before.digest)
                && decision.sequence == before.sequence + 1
        });
        line.digest() != decision.digest || !follows
    };
    if let Some((_, broken)) = decisions.iter().enumerate().find(is_broken) {
        return Some(format!(
            "Record {} is not as it was written: its digest, or that of the record before it, is another.",
            broken.sequence
        ));
    }
    let report = record.found()?.report.as_ref()?;
    let mut judged = decisions.iter().rev();
    let judged = judged.find(|one| one.action == Action::Validated)?;
    let evidence = judged.evidence.as_ref()?;
    (*evidence != report.digest).then(|| {
        format!(
            "The verdict of record {} rests on another report than the one that the version names: {evidence}, and not {}.",
            judged.sequence, report.digest
        )
    })
}

fn whole_words(first: &Decision) -> String {
    let before = if first.sequence > 1 {
        format!(
            "; those before number {} are in the operator's audit log alone",
            first.sequence
        )
    } else {
        String::new()
    };
    format!("Each record has the digest that it names and that of the one before it{before}.")
}
