//! The record of the model that an attempt made, and its fingerprint.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt;
use windlass_api::{
    Address, Artifact, CAUSE, Decimal, InputRecord, ModelVersion, ModelVersionSpec, TrainedBy,
    TrainingJob, agent, labels,
};

use crate::{digest, pods};

/// Metrics of a training that its record holds; the schema lets no more in.
const KEPT_METRICS: usize = 100;

/// The fingerprint of what is asked for, and once they are known of the inputs and images that were used: the same
/// gives the same model. What it covers and what it does not is written in `docs/reproducibility.md`.
pub fn fingerprint(job: &TrainingJob, inputs: &[InputRecord], images: &[String]) -> String {
    let spec = &job.spec;
    let digests: Vec<(&str, &str)> = inputs
        .iter()
        .map(|input| (input.name.as_str(), input.digest.as_str()))
        .collect();
    // An image's name is in the template; what a registry is called does not change a model.
    let images: BTreeSet<&str> = images
        .iter()
        .filter_map(|image| image.split_once('@').map(|(_, digest)| digest))
        .collect();
    let mut asked = serde_json::json!({
        "source": spec.source, "parameters": spec.parameters, "inputs": named(job), "window": spec.window,
        "framework": spec.framework, "workers": spec.workers, "format": spec.output.as_ref().map(|output| &output.format),
        "digests": digests, "images": images,
    });
    if !spec.steps.is_empty() {
        // How often a step is tried, and whether it is reused, makes nothing else of it.
        let steps = spec.steps.iter();
        asked["steps"] = steps
            .map(|step| serde_json::json!({"name": step.name, "inputs": step.inputs, "template": step.template}))
            .collect();
    }
    digest::of(&asked)
}

/// The inputs without their checks, which change no model.
fn named(job: &TrainingJob) -> Vec<(&str, &Address)> {
    let inputs = job.spec.inputs.iter();
    inputs
        .map(|input| (input.name.as_str(), &input.uri))
        .collect()
}

/// What a training read; what was checked with what its check found out. `known` is what it was told to read by digest:
/// a long report may lack its last ones, and it would have failed had it not read these.
pub fn inputs_read(training: &agent::TrainingReport, known: &[InputRecord]) -> Vec<InputRecord> {
    let reported = training.inputs.iter().map(|input| {
        let mut known = known.iter();
        let known =
            known.find(|record| record.name == input.name && record.digest == input.tree.digest);
        InputRecord {
            name: input.name.clone(),
            uri: input.tree.uri.clone(),
            digest: input.tree.digest.clone(),
            as_of: known.and_then(|record| record.as_of),
            profile: known.and_then(|record| record.profile.clone()),
        }
    });
    let is_reported = |name: &str| training.inputs.iter().any(|input| input.name == name);
    let rest = known.iter().filter(|record| !is_reported(&record.name));
    reported.chain(rest.cloned()).collect()
}

/// What an attempt made and from what.
pub struct Trained<'a> {
    /// What the first worker says.
    pub report: &'a agent::TrainingReport,
    /// Its output.
    pub output: &'a agent::Tree,
    /// What it read.
    pub inputs: Vec<InputRecord>,
    /// The images that it ran, by digest.
    pub images: Vec<String>,
    /// The fingerprint of all this.
    pub fingerprint: String,
    /// The same without the images.
    pub request_fingerprint: String,
    /// The version that served while it was trained.
    pub parent: Option<String>,
}

/// Bytes of a cause in a record.
const MOST_OF_CAUSE: usize = 1024;

/// Why the training was asked for, in its own words.
fn cause(job: &TrainingJob) -> Option<String> {
    let cause = job.annotations().get(CAUSE)?;
    let cause = &cause[..cause.floor_char_boundary(MOST_OF_CAUSE)];
    (!cause.is_empty()).then(|| cause.to_owned())
}

/// What the first worker says that it ran on, and the framework.
fn environment(job: &TrainingJob, report: &agent::TrainingReport) -> BTreeMap<String, String> {
    let mut environment = report.environment.clone();
    environment.insert("framework".to_owned(), format!("{:?}", job.spec.framework));
    environment
}

/// The record of the model that an attempt made.
pub fn model_version(job: &TrainingJob, number: i64, trained: Trained<'_>) -> ModelVersion {
    let spec = &job.spec;
    let model = spec.model.clone().unwrap_or_default();
    let monitor = job.labels().get(labels::MONITOR).cloned();
    let output = trained.output;
    let mut version = ModelVersion::new(
        &format!("{model}-{number}"),
        ModelVersionSpec {
            model: model.clone(),
            version: number,
            artifact: Artifact {
                uri: Address(output.uri.clone()),
                digest: Some(output.digest.clone()),
                format: spec
                    .output
                    .as_ref()
                    .map(|output| output.format.clone())
                    .unwrap_or_default(),
                bytes: i64::try_from(output.bytes).ok(),
                signature: None,
            },
            fingerprint: Some(trained.fingerprint),
            request_fingerprint: Some(trained.request_fingerprint),
            source: spec.source.clone(),
            parameters: spec.parameters.clone(),
            inputs: trained.inputs,
            images: trained.images,
            environment: environment(job, trained.report),
            window: spec.window.clone(),
            trained_by: Some(TrainedBy {
                name: job.name_any(),
                uid: job.uid().unwrap_or_default(),
                monitor: monitor.clone(),
                cause: cause(job),
            }),
            parent: trained.parent,
            training_metrics: trained
                .report
                .metrics
                .iter()
                .filter_map(|(name, value)| Some((name.clone(), Decimal::from_f64(*value)?)))
                .take(KEPT_METRICS)
                .collect(),
            validation: spec.validation.clone(),
            storage: spec.storage.clone(),
            author: spec.author.clone(),
            approval: spec.approval,
            retention: spec.retention.clone(),
            tracking: spec.tracking.clone(),
            review: None,
        },
    );
    version.metadata.namespace = job.namespace();
    let (name, own_name) = (job.name_any(), version.name_any());
    let monitor = monitor.unwrap_or_default();
    let deployment = job.labels().get(labels::DEPLOYMENT);
    let deployment = deployment.cloned().unwrap_or_default();
    let parent = version.spec.parent.clone().unwrap_or_default();
    version.metadata.labels = Some(pods::child_labels(
        &name,
        "model",
        &[
            (labels::MODEL, &model),
            (labels::VERSION, &own_name),
            (labels::TRAINING_JOB, &name),
            (labels::MONITOR, &monitor),
            (labels::DEPLOYMENT, &deployment),
            (labels::PARENT, &parent),
        ],
    ));
    version
}
