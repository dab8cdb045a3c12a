//! What a version was made from: data, parameters, code and images.

use kube::ResourceExt;
use windlass_api::{InputRecord, TrainingJob};

use super::words::check;
use super::{Record, fact, facts, paragraph};
use crate::card::document::{Block, Column, Kind, Section, Table, code, column, text};
use crate::lineage::graph::Object;

const INPUT: [Column; 5] = [
    column("Input", Kind::Text),
    column("Address", Kind::Text),
    column("Digest", Kind::Text),
    column("As of", Kind::Word),
    column("Profile of its columns", Kind::Text),
];
const CHECK: [Column; 2] = [column("Input", Kind::Text), column("Check", Kind::Text)];
const PARAMETER: [Column; 2] = [column("Name", Kind::Text), column("Value", Kind::Text)];
const METRIC: [Column; 2] = [column("Name", Kind::Text), column("Value", Kind::Number)];

/// The TrainingJob that made it, if it is still there.
pub fn job<'a>(record: &Record<'a>) -> Option<&'a TrainingJob> {
    let by = record.version.spec.trained_by.as_ref()?;
    record
        .graph
        .nodes
        .values()
        .find_map(|node| match node.object {
            Some(Object::TrainingJob(job)) => {
                let is_it = job.metadata.uid.as_ref().is_none_or(|uid| *uid == by.uid);
                (job.name_any() == by.name && is_it).then_some(job)
            }
            Some(_) | None => None,
        })
}

pub fn data(record: &Record<'_>) -> Section {
    let spec = &record.version.spec;
    let mut blocks = Vec::new();
    if spec.inputs.is_empty() {
        blocks.push(paragraph("No data that it was made from is recorded."));
    } else {
        blocks.push(inputs(&spec.inputs));
    }
    if let Some(window) = &spec.window {
        blocks.push(paragraph(format!(
            "It was trained on the span of data from {} up to, and without, {}.",
            window.start, window.end
        )));
    }
    blocks.push(checks(record));
    blocks.extend(held_out(record));
    Section::new("data", "Data", blocks)
}

fn held_out(record: &Record<'_>) -> Option<Block> {
    let asked = record.asked()?;
    let dataset = &asked.dataset;
    let mut rows = vec![
        fact("Address", code(dataset.uri.0.as_str())),
        fact("Format", text(dataset.format.as_str())),
        fact("Column with the true answer", code(dataset.label.as_str())),
    ];
    for (what, column) in [
        ("Column with the time", &dataset.time_column),
        ("Column with how much a row counts", &dataset.weight),
        ("Column with the query of a ranking", &dataset.query),
    ] {
        if let Some(column) = column {
            rows.push(fact(what, code(column.as_str())));
        }
    }
    rows.push(fact("Protocol", text(asked.protocol.as_str())));
    if let Some(runtime) = &asked.runtime {
        rows.push(fact("Runtime", text(runtime.as_str())));
    }
    let caption = "The held-out rows that it was judged on, and how its model server was asked";
    Some(facts(caption, rows))
}

fn inputs(records: &[InputRecord]) -> Block {
    let rows = records.iter().map(|input| {
        let as_of = input
            .as_of
            .map_or("not recorded".to_owned(), |time| time.to_string());
        let profile = input.profile.as_ref();
        vec![
            text(input.name.as_str()),
            code(input.uri.as_str()),
            code(input.digest.as_str()),
            text(as_of),
            profile.map_or_else(|| text("none"), |profile| code(profile.uri.0.as_str())),
        ]
    });
    let caption = "The data that it was made from: inputs, and outputs of steps";
    Block::Table(Table::new(caption, &INPUT, rows.collect()))
}

/// The checks that held before a worker was started; the TrainingJob has them.
fn checks(record: &Record<'_>) -> Block {
    let Some(job) = job(record) else {
        return paragraph(match record.version.spec.trained_by {
            Some(_) => {
                "Which checks of the data held before the training is not known: its TrainingJob is no longer there."
            }
            None => "It was registered, not trained here; no checks of its data are known.",
        });
    };
    let rows: Vec<_> = job
        .spec
        .inputs
        .iter()
        .flat_map(|input| {
            let checks = input.checks.iter();
            checks.map(|one| vec![text(input.name.as_str()), text(check(one))])
        })
        .collect();
    if rows.is_empty() {
        return paragraph("No checks of the data were asked for before the training.");
    }
    let caption = "Checks of the data, which held before a worker was started";
    Block::Table(Table::new(caption, &CHECK, rows))
}

pub fn parameters(record: &Record<'_>) -> Section {
    let spec = &record.version.spec;
    let mut blocks = Vec::new();
    if spec.parameters.is_empty() {
        blocks.push(paragraph("No hyperparameters are recorded."));
    } else {
        let parameters = spec.parameters.iter();
        let rows = parameters.map(|(name, value)| vec![code(name.as_str()), code(value.as_str())]);
        let caption = "Hyperparameters of the training";
        let table = Table::new(caption, &PARAMETER, rows.collect());
        blocks.push(Block::Table(table));
    }
    if !spec.training_metrics.is_empty() {
        let metrics = spec.training_metrics.iter();
        let rows = metrics.map(|(name, value)| vec![code(name.as_str()), text(value.0.as_str())]);
        let caption = "Metrics that the trainer itself reported; no gate rests on them";
        let table = Table::new(caption, &METRIC, rows.collect());
        blocks.push(Block::Table(table));
    }
    Section::new("parameters", "Parameters", blocks)
}

pub fn environment(record: &Record<'_>) -> Section {
    let spec = &record.version.spec;
    let mut rows = Vec::new();
    if let Some(source) = &spec.source {
        rows.push(fact("Repository", code(source.repository.as_str())));
        rows.push(fact("Revision", code(source.revision.as_str())));
    }
    for image in &spec.images {
        rows.push(fact("Image", code(image.as_str())));
    }
    if let Some(job) = job(record) {
        if !spec.environment.contains_key("framework") {
            rows.push(fact("Framework", text(format!("{:?}", job.spec.framework))));
        }
        rows.push(fact("Workers", text(job.spec.workers.replicas.to_string())));
        if let Some(image) = job.status.iter().find_map(|one| one.agent_image.as_ref()) {
            rows.push(fact("Image of the agent", code(image.as_str())));
        }
    }
    let mut blocks = vec![if rows.is_empty() {
        paragraph("No code and no images are recorded.")
    } else {
        facts("The code and the images that made it", rows)
    }];
    if !spec.environment.is_empty() {
        let environment = spec.environment.iter();
        let rows = environment.map(|(name, value)| vec![code(name.as_str()), text(value.as_str())]);
        let caption = "What it was made on, as the first worker found it";
        let table = Table::new(caption, &PARAMETER, rows.collect());
        blocks.push(Block::Table(table));
    }
    Section::new("environment", "Environment", blocks)
}
