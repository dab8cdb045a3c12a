//! The headings of Annex IV of Regulation (EU) 2024/1689, the technical documentation of a high-risk AI system: our words
//! for each of its points, what the record has to say under it, and what only people can.
//!
//! Absent on purpose: any claim that a system is of high risk, or that what is said is enough.

use std::collections::{BTreeMap, BTreeSet};

use windlass_api::{Decimal, DriftMonitor, Mode, ModelDeployment};

use super::data::job;
use super::trail::serving_words;
use super::{Record, paragraph, part};
use crate::card::document::{Block, Section};
use crate::card::notes::paragraphs;
use crate::lineage::graph::{Kind, NOT_DIGESTED, Object, Relation};
use crate::lineage::verdict;

/// The keys of notes: the numbers of the points.
pub const KEYS: [&str; 23] = [
    "1a", "1b", "1c", "1d", "1e", "1f", "1g", "1h", "2a", "2b", "2c", "2d", "2e", "2f", "2g", "2h",
    "3", "4", "5", "6", "7", "8", "9",
];

/// A point of the annex.
struct Point {
    key: &'static str,
    number: &'static str,
    heading: &'static str,
    /// What the record says of it.
    says: fn(&Record<'_>) -> Vec<String>,
    /// Whether that can be all there is to say.
    needs_a_person: bool,
}

const fn point(
    key: &'static str,
    number: &'static str,
    heading: &'static str,
    says: fn(&Record<'_>) -> Vec<String>,
    needs_a_person: bool,
) -> Point {
    Point {
        key,
        number,
        heading,
        says,
        needs_a_person,
    }
}

/// The points, under the heading of their group where they have one.
const POINTS: [Point; 23] = [
    point("1a", "1(a)", "Purpose, provider and version", version, true),
    point(
        "1b",
        "1(b)",
        "What it works together with",
        works_with,
        true,
    ),
    point("1c", "1(c)", "Versions of software", software, true),
    point("1d", "1(d)", "Forms in which it is offered", forms, true),
    point("1e", "1(e)", "Hardware that it is to run on", nothing, true),
    point(
        "1f",
        "1(f)",
        "Pictures of the product that it is part of",
        nothing,
        true,
    ),
    point(
        "1g",
        "1(g)",
        "What those who deploy it see and operate",
        nothing,
        true,
    ),
    point(
        "1h",
        "1(h)",
        "Instructions for those who deploy it",
        nothing,
        true,
    ),
    point("2a", "2(a)", "How it was developed", development, true),
    point(
        "2b",
        "2(b)",
        "Design: logic, choices and what it optimises",
        design,
        true,
    ),
    point(
        "2c",
        "2(c)",
        "Architecture and computing resources",
        resources,
        true,
    ),
    point(
        "2d",
        "2(d)",
        "Data: where it is from, how it was chosen, labelled and cleaned",
        data,
        true,
    ),
    point("2e", "2(e)", "Oversight by people", oversight, true),
    point("2f", "2(f)", "Changes that are foreseen", foreseen, true),
    point("2g", "2(g)", "Validation and tests", tests, false),
    point("2h", "2(h)", "Security against attacks", security, true),
    point(
        "3",
        "3",
        "Monitoring, functioning and control: what it can and cannot do",
        limits,
        true,
    ),
    point("4", "4", "Why these metrics suit it", metrics, true),
    point("5", "5", "Risk management", nothing, true),
    point("6", "6", "Changes over its lifetime", changes, false),
    point("7", "7", "Standards that were applied", nothing, true),
    point("8", "8", "EU declaration of conformity", nothing, true),
    point("9", "9", "Monitoring once it is in use", in_use, true),
];

/// The sections: an introduction, then one a point.
pub fn sections(record: &Record<'_>) -> Vec<Section> {
    let introduction = "The points of Annex IV of Regulation (EU) 2024/1689 (the AI Act) as it was published in 2024, in our own words. What the record knows stands under each; what it cannot know is left visibly empty until somebody writes it. Whether the annex applies to this model, and whether what is written is enough, is for people to judge.";
    let first = Section::new(
        "annex-iv",
        "Technical documentation (Annex IV)",
        vec![paragraph(introduction)],
    );
    let points = POINTS.iter().map(|point| section(record, point));
    std::iter::once(first).chain(points).collect()
}

fn section(record: &Record<'_>, point: &Point) -> Section {
    let said = (point.says)(record);
    let is_silent = said.is_empty();
    let mut blocks: Vec<Block> = said.into_iter().map(paragraph).collect();
    let written = record.notes.get(point.key).map(|text| paragraphs(text));
    match written.filter(|paragraphs| !paragraphs.is_empty()) {
        Some(written) => blocks.push(Block::Written(written)),
        None if is_silent || point.needs_a_person => {
            blocks.push(Block::Empty(point.key.to_owned()));
        }
        None => {}
    }
    let heading = format!("{} {}", point.number, point.heading);
    part(&format!("annex-iv-{}", point.key), &heading, blocks)
}

fn nothing(_: &Record<'_>) -> Vec<String> {
    Vec::new()
}

fn version(record: &Record<'_>) -> Vec<String> {
    let spec = &record.version.spec;
    let before = match &spec.parent {
        Some(parent) => format!("; {parent} served when it was made"),
        None => "; no version served before it".to_owned(),
    };
    vec![format!(
        "Version {} of the model {}{before}.",
        spec.version, spec.model
    )]
}

fn works_with(record: &Record<'_>) -> Vec<String> {
    let names = names(record, Kind::ModelDeployment);
    if names.is_empty() {
        return Vec::new();
    }
    vec![format!(
        "It answers requests of the Open Inference Protocol (version 2, HTTP) in the ModelDeployments {}.",
        names.join(", ")
    )]
}

fn software(record: &Record<'_>) -> Vec<String> {
    let images = &record.version.spec.images;
    if images.is_empty() {
        return Vec::new();
    }
    vec![format!(
        "The images that made it, by digest: {}.",
        images.join(", ")
    )]
}

fn forms(record: &Record<'_>) -> Vec<String> {
    let artifact = &record.version.spec.artifact;
    vec![format!(
        "Files in the format {} at {}, with the digest {}. {}",
        artifact.format,
        artifact.uri,
        record.version.digest().unwrap_or(NOT_DIGESTED),
        serving_words(record)
    )]
}

fn development(record: &Record<'_>) -> Vec<String> {
    let spec = &record.version.spec;
    let mut said = Vec::new();
    if let Some(by) = &spec.trained_by {
        let asked = match &by.monitor {
            Some(monitor) => format!(", which the DriftMonitor {monitor} asked for"),
            None => String::new(),
        };
        said.push(format!("The TrainingJob {} made it{asked}.", by.name));
    }
    if let Some(source) = &spec.source {
        said.push(format!(
            "The code is revision {} of {}.",
            source.revision, source.repository
        ));
    }
    let steps = job(record).map(|job| job.spec.steps.iter().map(|step| step.name.as_str()));
    let steps: Vec<&str> = steps.into_iter().flatten().collect();
    if !steps.is_empty() {
        said.push(format!("Steps before the training: {}.", steps.join(", ")));
    }
    said
}

fn design(record: &Record<'_>) -> Vec<String> {
    let count = record.version.spec.parameters.len();
    if count == 0 {
        return Vec::new();
    }
    vec![format!("Its {count} hyperparameters are under Parameters.")]
}

fn resources(record: &Record<'_>) -> Vec<String> {
    let Some(job) = job(record) else {
        return Vec::new();
    };
    let mut said = vec![format!("{} workers trained it.", job.spec.workers.replicas)];
    if let Some(status) = &job.status {
        let gpus = status.gpu_seconds.map_or(String::new(), |seconds| {
            format!(" and held GPUs for {seconds} seconds in all")
        });
        said.push(format!(
            "It took {} attempts{gpus}.",
            status.attempt.unwrap_or(1)
        ));
    }
    said
}

fn data(record: &Record<'_>) -> Vec<String> {
    let count = record.version.spec.inputs.len();
    if count == 0 {
        return Vec::new();
    }
    vec![format!(
        "{count} sets of data, each with its address and digest, and the checks that held, are under Data."
    )]
}

fn oversight(record: &Record<'_>) -> Vec<String> {
    vec![format!(
        "Approval before it serves: {:?}; {}.",
        record.version.spec.approval,
        super::identity::approval_words(record.version)
    )]
}

fn foreseen(record: &Record<'_>) -> Vec<String> {
    let mut said = Vec::new();
    for monitor in monitors(record) {
        let name = monitor.metadata.name.as_deref().unwrap_or_default();
        said.push(match (monitor.spec.mode, &monitor.spec.retrain) {
            (Mode::Enforce, Some(retrain)) => format!(
                "On drift the DriftMonitor {name} has a new version trained, at most once in {}; it has to pass its validation before it serves.",
                retrain.cooldown
            ),
            (Mode::Suggest, Some(_)) => format!(
                "On drift the DriftMonitor {name} prepares the training of a new version, which a person has to start."
            ),
            (Mode::Observe | Mode::Suggest | Mode::Enforce, _) => {
                format!("On drift the DriftMonitor {name} says so and changes nothing.")
            }
        });
    }
    for deployment in deployments(record) {
        let name = deployment.metadata.name.as_deref().unwrap_or_default();
        let weights = deployment.spec.rollout.steps.iter();
        let weights: Vec<String> = weights.map(|step| format!("{} %", step.weight)).collect();
        said.push(format!(
            "In the ModelDeployment {name} a new version takes traffic in steps of {}, and is taken back where it does worse.",
            weights.join(", ")
        ));
    }
    said
}

fn tests(record: &Record<'_>) -> Vec<String> {
    let spec = &record.version.spec;
    let status = record.version.status.as_ref();
    let (Some(asked), Some(found)) = (
        &spec.validation,
        status.and_then(|status| status.validation.as_ref()),
    ) else {
        return Vec::new();
    };
    let gates = asked.metrics.iter().map(|gate| gate.name.as_str());
    let mut said = vec![format!(
        "Judged on {} held-out rows of {} by {}: {}.",
        found.rows,
        asked.dataset.uri,
        gates.collect::<Vec<_>>().join(", "),
        verdict(found.verdict)
    )];
    if let Some(report) = &found.report {
        said.push(format!(
            "The full report lies at {} with the digest {}; the decision that rests on it is under Decisions.",
            report.uri, report.digest
        ));
    }
    said
}

fn security(_: &Record<'_>) -> Vec<String> {
    vec![
        "Before the files are served or judged, their digest is held against the record."
            .to_owned(),
    ]
}

/// How good it is overall and where it is worst, of what was judged.
fn limits(record: &Record<'_>) -> Vec<String> {
    let status = record.version.status.as_ref();
    let Some(found) = status.and_then(|status| status.validation.as_ref()) else {
        return Vec::new();
    };
    let overall = found.metrics.iter().filter(|one| one.segment.is_none());
    let values: Vec<String> = overall
        .filter_map(|one| Some(format!("{} {}", one.name, one.value.as_ref()?)))
        .collect();
    let segments = found.metrics.iter().filter_map(|one| one.segment.as_ref());
    let segments: BTreeSet<&String> = segments.collect();
    let mut said = Vec::new();
    if !values.is_empty() {
        said.push(format!("On all rows: {}.", values.join(", ")));
    }
    if !segments.is_empty() {
        said.push(format!(
            "{} groups of rows were judged by themselves; they are under Metrics, and where it does worst under its own heading.",
            segments.len()
        ));
    }
    said
}

fn metrics(record: &Record<'_>) -> Vec<String> {
    let Some(validation) = &record.version.spec.validation else {
        return Vec::new();
    };
    let gates = validation.metrics.iter().map(|gate| {
        let limit = |name: &str, limit: &Option<Decimal>| {
            limit
                .as_ref()
                .map_or(String::new(), |limit| format!(" {name} {limit}"))
        };
        format!(
            "{}{}{}",
            gate.name.as_str(),
            limit("at least", &gate.min),
            limit("at most", &gate.max)
        )
    });
    vec![format!(
        "Asked for: {}. A limit is held against the interval, not the value.",
        gates.collect::<Vec<_>>().join(", ")
    )]
}

fn changes(record: &Record<'_>) -> Vec<String> {
    let (root, edges) = (&record.graph.root, record.graph.edges.keys());
    let before = edges.filter(|edge| edge.relation == Relation::Parent && edge.from != *root);
    let before: Vec<&str> = before.map(|edge| edge.from.key.as_str()).collect();
    let mut said = vec![
        "The files of a version do not change: a change is another version. What happened to this one is under Decisions.".to_owned(),
    ];
    if !before.is_empty() {
        said.push(format!(
            "Versions that served before it: {}.",
            before.join(", ")
        ));
    }
    said
}

fn in_use(record: &Record<'_>) -> Vec<String> {
    let mut said = Vec::new();
    for monitor in monitors(record) {
        let spec = &monitor.spec;
        said.push(format!(
            "The DriftMonitor {} compares windows of {} of its traffic in {} with the rows that it was judged on, every {}.",
            monitor.metadata.name.as_deref().unwrap_or_default(),
            spec.window.size,
            spec.deployment,
            spec.window.every
        ));
        if let Some(performance) = &spec.performance {
            said.push(format!(
                "Once true outcomes come in, its {} may not fall below {}.",
                performance.metric.as_str(),
                performance.min
            ));
        }
    }
    said
}

/// The monitors that watch where it serves or served.
fn monitors<'a>(record: &Record<'a>) -> Vec<&'a DriftMonitor> {
    let nodes = record.graph.nodes.values();
    nodes
        .filter_map(|node| match node.object {
            Some(Object::DriftMonitor(monitor)) => Some(monitor),
            Some(_) | None => None,
        })
        .collect()
}

/// The deployments in which it serves, served or was tried, that are there.
fn deployments<'a>(record: &Record<'a>) -> Vec<&'a ModelDeployment> {
    let edges = record.graph.edges_from(&record.graph.root);
    let mut by_name = BTreeMap::new();
    for (edge, _) in edges {
        if let Some(Object::ModelDeployment(one)) = record.graph.node(&edge.to).object {
            by_name.insert(edge.to.key.clone(), one);
        }
    }
    by_name.into_values().collect()
}

/// The names of the nodes of a kind.
fn names(record: &Record<'_>, kind: Kind) -> Vec<String> {
    let nodes = record.graph.nodes.iter();
    let of_kind = nodes.filter(|(id, _)| id.kind == kind);
    of_kind.map(|(_, node)| node.name.clone()).collect()
}

#[cfg(test)]
mod tests_of_points {
    use super::*;

    #[test]
    fn each_point_has_its_own_key_and_all_nine_are_there() {
        let keys: Vec<&str> = POINTS.iter().map(|point| point.key).collect();
        assert_eq!(keys, KEYS);
        let numbers: BTreeSet<char> = keys.iter().filter_map(|key| key.chars().next()).collect();
        assert_eq!(numbers, "123456789".chars().collect());
        for point in &POINTS {
            let plain: String = point
                .number
                .chars()
                .filter(|letter| letter.is_alphanumeric())
                .collect();
            assert_eq!(plain, point.key);
        }
    }
}
