//! What the record says of each point, as sentences; nothing where it knows nothing.

use std::collections::BTreeSet;

use kube::ResourceExt;
use windlass_api::{
    Decimal, DriftMonitor, MetricGate, Mode, ModelDeployment, MonitorWindow, Protocol, Strategy,
};

use crate::card::content::Record;
use crate::card::content::data::job;
use crate::card::content::identity::approval_words;
use crate::card::content::measured::{Terms, measured};
use crate::card::content::trail::{related, serving_words};
use crate::card::content::words::{counted, number_or};
use crate::lineage::graph::{NOT_DIGESTED, Relation};
use crate::lineage::verdict;

pub fn nothing(_: &Record<'_>) -> Vec<String> {
    Vec::new()
}

pub fn version(record: &Record<'_>) -> Vec<String> {
    let spec = &record.version.spec;
    let before = match (&spec.parent, &spec.trained_by) {
        (Some(parent), _) => format!("{parent} served when it was made"),
        (None, Some(_)) => "no version served when it was made".to_owned(),
        (None, None) => "what served before it is not recorded".to_owned(),
    };
    vec![format!(
        "Version {} of the model {}; {before}.",
        spec.version, spec.model
    )]
}

pub fn works_with(record: &Record<'_>) -> Vec<String> {
    let mut said = Vec::new();
    for deployment in deployments(record) {
        said.push(format!(
            "It answers requests of {} in the ModelDeployment {}.",
            protocol(deployment.spec.protocol),
            deployment.name_any()
        ));
    }
    let served = related(record, &[Relation::Served]).into_iter();
    said.extend(served.map(|name| format!("It served in the ModelDeployment {name}.")));
    said
}

fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::OpenInference => "the Open Inference Protocol (version 2, HTTP)",
        Protocol::OpenInferenceGRPC => "the Open Inference Protocol (version 2, gRPC)",
        Protocol::V1 => "the protocol of TensorFlow Serving and KServe (version 1, HTTP)",
        Protocol::OpenAI => "the OpenAI protocol (chat completions)",
    }
}

pub fn software(record: &Record<'_>) -> Vec<String> {
    let images = &record.version.spec.images;
    let mut said = Vec::new();
    if !images.is_empty() {
        let images = images.join(", ");
        said.push(format!("The images that made it, by digest: {images}."));
    }
    let names = ["framework", "kernel", "nvidiaDriver", "agent"];
    said.extend(environment(record, &names));
    said
}

/// What is recorded of what it was made on under these names.
fn environment(record: &Record<'_>, names: &[&str]) -> Option<String> {
    let environment = &record.version.spec.environment;
    let known = names.iter().filter_map(|name| {
        let value = environment.get(*name)?;
        Some(format!("{name} {value}"))
    });
    let known: Vec<String> = known.collect();
    (!known.is_empty()).then(|| format!("It was made on: {}.", known.join(", ")))
}

pub fn forms(record: &Record<'_>) -> Vec<String> {
    let artifact = &record.version.spec.artifact;
    vec![format!(
        "Files in the format {} at {}, with the digest {}. {}",
        artifact.format,
        artifact.uri,
        record.version.digest().unwrap_or(NOT_DIGESTED),
        serving_words(record)
    )]
}

pub fn development(record: &Record<'_>) -> Vec<String> {
    let spec = &record.version.spec;
    let mut said = Vec::new();
    if let Some(by) = &spec.trained_by {
        let asked = match &by.monitor {
            Some(monitor) => format!(", which the DriftMonitor {monitor} asked for"),
            None => String::new(),
        };
        said.push(format!("The TrainingJob {} made it{asked}.", by.name));
        if let Some(cause) = &by.cause {
            said.push(format!("Why: {cause}."));
        }
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

pub fn design(record: &Record<'_>) -> Vec<String> {
    match record.version.spec.parameters.len() {
        0 => Vec::new(),
        1 => vec!["Its one hyperparameter is under Parameters.".to_owned()],
        count => vec![format!("Its {count} hyperparameters are under Parameters.")],
    }
}

pub fn resources(record: &Record<'_>) -> Vec<String> {
    let mut said = Vec::new();
    if let Some(job) = job(record) {
        let workers = counted(job.spec.workers.replicas, "worker", "workers");
        said.push(format!("{workers} trained it."));
        if let Some(status) = &job.status {
            let gpus = status.gpu_seconds.map_or(String::new(), |seconds| {
                let seconds = counted(seconds, "second", "seconds");
                format!(" and held GPUs for {seconds} in all")
            });
            let attempts = counted(status.attempt.unwrap_or(1), "attempt", "attempts");
            said.push(format!("It took {attempts}{gpus}."));
        }
    }
    said.extend(environment(record, &["architecture", "cpus"]));
    said
}

pub fn data(record: &Record<'_>) -> Vec<String> {
    let count = record.version.spec.inputs.len();
    if count == 0 {
        return Vec::new();
    }
    let sets = counted(count, "set of data is", "sets of data are");
    vec![format!(
        "{sets} under Data, with address and digest, and the checks that are known."
    )]
}

pub fn oversight(record: &Record<'_>) -> Vec<String> {
    vec![format!(
        "Approval before it serves: {:?}; {}.",
        record.version.spec.approval,
        approval_words(record.version)
    )]
}

pub fn foreseen(record: &Record<'_>) -> Vec<String> {
    let mut said = Vec::new();
    for monitor in monitors(record) {
        let name = monitor.name_any();
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
        let rollout = &deployment.spec.rollout;
        let how = match rollout.strategy {
            Strategy::Canary => {
                let weights = rollout.steps.iter().filter_map(|step| step.weight);
                let weights: Vec<String> = weights.map(|weight| format!("{weight} %")).collect();
                format!("in steps of {}", weights.join(", "))
            }
            Strategy::BlueGreen => "at once, when all its pods are ready".to_owned(),
            Strategy::Shadow => "at once, after it has answered copies of the requests".to_owned(),
            Strategy::Recreate => "at once, when the old one is gone".to_owned(),
        };
        said.push(format!(
            "In the ModelDeployment {} a new version takes traffic {how}, and is taken back where it does worse.",
            deployment.name_any()
        ));
    }
    said
}

pub fn tests(record: &Record<'_>) -> Vec<String> {
    let (Some(asked), Some(found)) = (record.asked(), record.found()) else {
        return Vec::new();
    };
    let rows = counted(found.rows, "held-out row", "held-out rows");
    let mut said = vec![format!(
        "Judged on {rows} of {}: {}. {}",
        asked.dataset.uri,
        verdict(found.verdict),
        asked_for(record)
    )];
    let segments = asked.segments.iter().cloned();
    let by = asked.segment_by.iter();
    let segments: Vec<String> = segments
        .chain(by.map(|column| format!("each value of {column}")))
        .collect();
    if !segments.is_empty() {
        said.push(format!(
            "Each metric was computed by itself on: {}.",
            segments.join("; ")
        ));
    }
    if let Some(report) = &found.report {
        said.push(format!(
            "The full report lies at {} with the digest {}; the decision that rests on it is under Decisions.",
            report.uri, report.digest
        ));
    }
    said
}

pub fn security(record: &Record<'_>) -> Vec<String> {
    let said = match record.version.digest() {
        Some(_) => {
            "Before the files are served or judged, their digest is held against the record."
        }
        None => "No digest of the files is on record yet, so that nothing can be held against it.",
    };
    vec![said.to_owned()]
}

/// How good it is overall and where it is worst, of what was judged.
pub fn limits(record: &Record<'_>) -> Vec<String> {
    let measured = measured(record);
    let overall = measured.iter().filter(|one| one.segment.is_none());
    let values: Vec<String> = overall
        .map(|one| format!("{} {}", one.name, number_or(one.value, "not defined")))
        .collect();
    let segments = measured.iter().filter_map(|one| one.segment.as_ref());
    let segments: BTreeSet<&String> = segments.collect();
    let mut said = Vec::new();
    if !values.is_empty() {
        said.push(format!("On all rows: {}.", values.join(", ")));
    }
    if !segments.is_empty() {
        let groups = counted(segments.len(), "segment of rows is", "segments of rows are");
        said.push(format!(
            "{groups} under Metrics, differences between groups under Fairness, and where it does worst under its own heading."
        ));
    }
    said
}

pub fn metrics(record: &Record<'_>) -> Vec<String> {
    if record.asked().is_none() {
        return Vec::new();
    }
    let how = "A limit is held against the interval, not the value.";
    vec![format!("{} {how}", asked_for(record))]
}

/// What the validation asks for: metrics, differences between groups, and the comparison with the champion.
fn asked_for(record: &Record<'_>) -> String {
    let Some(asked) = record.asked() else {
        return String::new();
    };
    let with = |name: String, min: Option<&Decimal>, max: Option<&Decimal>| {
        let min = min.map_or(String::new(), |min| format!(" at least {min}"));
        let max = max.map_or(String::new(), |max| format!(" at most {max}"));
        format!("{name}{min}{max}")
    };
    let gate = |gate: &MetricGate| with(gate.as_reported(), gate.min.as_ref(), gate.max.as_ref());
    let gates = asked.metrics.iter().map(gate);
    let differences = asked.disparities.iter();
    let differences = differences.map(|one| with(one.as_reported(), None, one.max.as_ref()));
    let all: Vec<String> = gates.chain(differences).collect();
    let margin = match (&asked.against, Terms::of(record).margin) {
        (Some(_), Some(margin)) => {
            format!("; against the champion each metric may be worse by {margin}")
        }
        (Some(_), None) | (None, _) => String::new(),
    };
    format!("Asked for: {}{margin}.", all.join(", "))
}

pub fn changes(record: &Record<'_>) -> Vec<String> {
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

pub fn in_use(record: &Record<'_>) -> Vec<String> {
    let mut said = Vec::new();
    for monitor in monitors(record) {
        let spec = &monitor.spec;
        said.push(format!(
            "The DriftMonitor {} compares windows {} of its traffic in {} with the rows that it was judged on, {}.",
            monitor.name_any(),
            (spec.window.size.as_ref()).map_or_else(
                || "that follow each other".to_owned(),
                |size| format!("of {size}")
            ),
            spec.deployment,
            ends(&spec.window)
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

/// When windows end, in words.
fn ends(window: &MonitorWindow) -> String {
    match (&window.every, &window.schedule, &window.time_zone) {
        (Some(every), ..) => format!("every {every}"),
        (None, Some(schedule), zone) => {
            let zone = zone.as_deref().unwrap_or("UTC");
            format!("by the schedule {schedule} in the time zone {zone}")
        }
        (None, None, _) => "at no time that it says".to_owned(),
    }
}

/// The deployments in which it serves or is tried, that are there.
fn deployments<'a>(record: &Record<'a>) -> Vec<&'a ModelDeployment> {
    let names = related(record, &[Relation::Serves, Relation::Tried]);
    let all = &record.objects.deployments;
    names.iter().filter_map(|name| all.get(*name)).collect()
}

/// The monitors that watch where it serves.
fn monitors<'a>(record: &Record<'a>) -> Vec<&'a DriftMonitor> {
    let serves = related(record, &[Relation::Serves]);
    let all = record.objects.monitors.values();
    all.filter(|monitor| serves.contains(&monitor.spec.deployment.as_str()))
        .collect()
}
