//! What of a ModelVersion is to be in MLflow, in MLflow's words.

use std::collections::BTreeMap;

use windlass_api::agent::Verdict;
use windlass_api::{
    Approval, Decimal, InputRecord, ModelVersion, ReviewDecision, ValidationStatus,
};

use super::names::{self, MAX_NAME, MAX_PARAMETER, MAX_TAG};

/// The tag that the run of a version nobody trained here, and every registered version, is found again by.
pub(super) const VERSION_UID: &str = "windlass.version_uid";
/// The tag that a training's run is found again by.
const TRAINING_JOB_UID: &str = "windlass.training_job_uid";
/// Bytes that a segment's words may have: a metric's name is put behind them.
const MAX_SEGMENT: usize = 150;
/// Characters of a data set's digest that MLflow keeps.
const DATASET_DIGEST: usize = 36;

/// Key and value, as MLflow has parameters and tags.
pub(super) type Texts = BTreeMap<String, String>;

/// A version and its run.
pub(super) struct Record {
    /// `<namespace>/<name>`.
    pub name: String,
    /// The model's name.
    pub model: String,
    /// The experiment where none is named: `<namespace>/<model>`.
    pub experiment: String,
    pub run: Run,
    pub version: Version,
}

/// The run that made it.
pub(super) struct Run {
    /// Name of the ModelVersion.
    pub name: String,
    /// The tag that it is found again by; one of `tags`.
    pub key: &'static str,
    /// When the version was registered, and when its verdict was told (before that, the same), in milliseconds since 1970.
    pub started: i64,
    pub ended: i64,
    pub parameters: Texts,
    /// By name.
    pub metrics: BTreeMap<String, Metric>,
    pub tags: Texts,
    pub datasets: Vec<Dataset>,
}

/// A metric's value and when it was taken, in milliseconds since 1970.
pub(super) struct Metric {
    pub value: f64,
    pub time: i64,
}

/// An input of the training.
pub(super) struct Dataset {
    pub name: String,
    /// The beginning of the digest, which is what MLflow has room for.
    pub short_digest: String,
    pub digest: String,
    /// MLflow's kinds of sources: `s3`, `http`, `local`, else the address's scheme.
    pub source_type: String,
    /// JSON with the address.
    pub source: String,
}

/// The version in the registry.
pub(super) struct Version {
    /// Where the model lies.
    pub source: String,
    pub tags: Texts,
    /// The message of the verdict, once there is one.
    pub description: Option<String>,
}

impl Record {
    /// # Errors
    /// A sentence that says what the object lacks: a manifest that was never applied has neither uid nor time.
    pub fn of(version: &ModelVersion) -> Result<Self, String> {
        let meta = &version.metadata;
        let lacking = |field: &str| {
            format!(
                "the ModelVersion has no {field}: take it from the cluster, `kubectl get modelversion NAME -o json`"
            )
        };
        let name = meta.name.clone().ok_or_else(|| lacking("metadata.name"))?;
        let namespace = meta.namespace.as_ref();
        let namespace = namespace.ok_or_else(|| lacking("metadata.namespace"))?;
        let uid = meta.uid.as_ref().ok_or_else(|| lacking("metadata.uid"))?;
        let made = meta.creation_timestamp.as_ref();
        let started = made.ok_or_else(|| lacking("metadata.creationTimestamp"))?;
        let started = started.0.as_millisecond();
        let ended = verdict_time(version).unwrap_or(started);
        let full_name = format!("{namespace}/{name}");
        let shared = shared_tags(version, &full_name, uid);
        let segments = segments(version);
        let spec = &version.spec;
        let run = Run {
            name,
            key: spec
                .trained_by
                .as_ref()
                .map_or(VERSION_UID, |_| TRAINING_JOB_UID),
            started,
            ended,
            parameters: parameters(&spec.parameters),
            metrics: metrics(version, &segments, started, ended),
            tags: run_tags(version, &shared, &segments),
            datasets: spec.inputs.iter().map(dataset).collect(),
        };
        Ok(Self {
            name: full_name,
            model: spec.model.clone(),
            experiment: format!("{namespace}/{}", spec.model),
            run,
            version: Version {
                source: spec.artifact.uri.to_string(),
                tags: version_tags(version, shared),
                description: validation(version).map(|found| names::cut(&found.message, MAX_TAG)),
            },
        })
    }
}

fn validation(version: &ModelVersion) -> Option<&ValidationStatus> {
    version.status.as_ref()?.validation.as_ref()
}

/// When the verdict was told, in milliseconds since 1970.
fn verdict_time(version: &ModelVersion) -> Option<i64> {
    validation(version)?;
    let decisions = &version.status.as_ref()?.decisions;
    let validated = decisions
        .iter()
        .find(|decision| decision.action == windlass_api::Action::Validated)?;
    Some(validated.time.as_millisecond())
}

fn parameters(parameters: &BTreeMap<String, String>) -> Texts {
    let names = names::distinct(parameters.keys().map(String::as_str), MAX_NAME);
    names
        .into_iter()
        .map(|(original, name)| (name, names::cut(&parameters[original], MAX_PARAMETER)))
        .collect()
}

/// The segments' predicates and their names in MLflow.
fn segments(version: &ModelVersion) -> BTreeMap<&str, String> {
    let metrics = validation(version).map_or(&[][..], |found| &found.metrics);
    let predicates = metrics
        .iter()
        .filter_map(|metric| metric.segment.as_deref());
    names::distinct(predicates, MAX_SEGMENT)
}

/// Those of the trainer under their own names, those of the validation as `validation.rocAuc`, with the bounds of its
/// interval as `validation.rocAuc.lower` and `.upper`, on a segment as `segment/origin_JFK/validation.rocAuc`.
fn metrics(
    version: &ModelVersion,
    segments: &BTreeMap<&str, String>,
    started: i64,
    ended: i64,
) -> BTreeMap<String, Metric> {
    let trained = &version.spec.training_metrics;
    let mut names = names::distinct(
        trained.keys().map(String::as_str),
        MAX_NAME - "training.".len(),
    );
    let mut all = BTreeMap::new();
    for (name, value) in trained {
        let (Some(name), Ok(value)) = (names.remove(name.as_str()), value.value()) else {
            continue;
        };
        let is_ours = name.starts_with("validation.") || name.starts_with("segment/");
        let name = if is_ours {
            format!("training.{name}")
        } else {
            name
        };
        all.insert(
            name,
            Metric {
                value,
                time: started,
            },
        );
    }
    let Some(found) = validation(version) else {
        return all;
    };
    let mut put = |name: String, value: Option<&Decimal>| {
        if let Some(value) = value.and_then(|value| value.value().ok()) {
            all.insert(name, Metric { value, time: ended });
        }
    };
    let names = names::distinct(found.metrics.iter().map(|metric| metric.name.as_str()), 80);
    for metric in &found.metrics {
        let folder = metric
            .segment
            .as_deref()
            .and_then(|segment| segments.get(segment));
        let folder = folder.map_or(String::new(), |segment| format!("segment/{segment}/"));
        let name = format!("{folder}validation.{}", names[metric.name.as_str()]);
        put(format!("{name}.lower"), metric.lower.as_ref());
        put(format!("{name}.upper"), metric.upper.as_ref());
        put(name, metric.value.as_ref());
    }
    all
}

fn dataset(input: &InputRecord) -> Dataset {
    let scheme = input
        .uri
        .split_once("://")
        .map_or("local", |(scheme, _)| scheme);
    let (source_type, field) = match scheme {
        "http" | "https" => ("http", "url"),
        "file" => ("local", "uri"),
        other => (other, "uri"),
    };
    let hexadecimal = input.digest.trim_start_matches("sha256:");
    Dataset {
        name: input.name.clone(),
        short_digest: hexadecimal.chars().take(DATASET_DIGEST).collect(),
        digest: input.digest.clone(),
        source_type: source_type.to_owned(),
        source: serde_json::json!({ field: input.uri }).to_string(),
    }
}

/// What the run and the registered version both have.
fn shared_tags(version: &ModelVersion, name: &str, uid: &str) -> Texts {
    let spec = &version.spec;
    let verdict = validation(version).map(|found| match found.verdict {
        Verdict::Pass => "Pass",
        Verdict::Fail => "Fail",
        Verdict::Inconclusive => "Inconclusive",
    });
    texts([
        (VERSION_UID, Some(uid)),
        ("windlass.version", Some(name)),
        ("windlass.digest", version.digest()),
        ("windlass.format", Some(spec.artifact.format.as_str())),
        ("windlass.fingerprint", spec.fingerprint.as_deref()),
        ("windlass.verdict", verdict),
    ])
}

fn run_tags(version: &ModelVersion, shared: &Texts, segments: &BTreeMap<&str, String>) -> Texts {
    let spec = &version.spec;
    let source = spec.source.as_ref();
    let repository = source.map(|source| source.repository.as_str());
    let trained_by = spec.trained_by.as_ref();
    let mut tags = texts([
        ("mlflow.source.type", trained_by.map(|_| "JOB")),
        ("mlflow.source.name", repository),
        ("mlflow.source.git.repoURL", repository),
        (
            "mlflow.source.git.commit",
            source.map(|source| source.revision.as_str()),
        ),
        ("mlflow.user", spec.author.as_deref()),
        (TRAINING_JOB_UID, trained_by.map(|by| by.uid.as_str())),
        (
            "windlass.training_job",
            trained_by.map(|by| by.name.as_str()),
        ),
        (
            "windlass.drift_monitor",
            trained_by.and_then(|by| by.monitor.as_deref()),
        ),
        ("windlass.artifact", Some(&*spec.artifact.uri.to_string())),
        ("windlass.parent", spec.parent.as_deref()),
        ("windlass.author", spec.author.as_deref()),
    ]);
    tags.extend(shared.clone());
    for (predicate, name) in segments {
        tags.insert(
            format!("windlass.segment.{name}"),
            names::cut(predicate, MAX_TAG),
        );
    }
    tags
}

fn version_tags(version: &ModelVersion, shared: Texts) -> Texts {
    let review = version.spec.review.as_ref();
    let approval = match (review.map(|review| review.decision), version.spec.approval) {
        (Some(ReviewDecision::Approved), _) => "Approved",
        (Some(ReviewDecision::Denied), _) => "Denied",
        (None, Approval::Automatic) => "Automatic",
        (None, Approval::Manual | Approval::FourEyes) => "Awaited",
    };
    let decisions = version.status.as_ref().map(|status| &status.decisions);
    let last = decisions.and_then(|decisions| decisions.last());
    // A status holds the newest records; the number of the last counts all of them.
    let count = last.map(|last| last.sequence.to_string());
    let mut tags = texts([
        ("windlass.approval", Some(approval)),
        ("windlass.reviewer", review.map(|review| review.by.as_str())),
        ("windlass.decisions", count.as_deref()),
        (
            "windlass.decisions.digest",
            last.map(|last| last.digest.as_str()),
        ),
    ]);
    tags.extend(shared);
    tags
}

fn texts<const COUNT: usize>(tags: [(&str, Option<&str>); COUNT]) -> Texts {
    let present = tags.into_iter().filter_map(|(name, value)| {
        let value = value.filter(|value| !value.is_empty())?;
        Some((name.to_owned(), names::cut(value, MAX_TAG)))
    });
    present.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn version(change: impl FnOnce(&mut Value)) -> ModelVersion {
        let mut version = json!({
            "apiVersion": "windlass.dev/v1alpha1", "kind": "ModelVersion",
            "metadata": {"name": "churn-3", "namespace": "growth", "uid": "u-3", "creationTimestamp": "2026-11-01T00:00:00Z"},
            "spec": {
                "model": "churn", "version": 3,
                "artifact": {"uri": "s3://models/churn/3", "digest": format!("sha256:{}", "a".repeat(64)), "format": "ONNX"}
            }
        });
        change(&mut version);
        serde_json::from_value(version).expect("a ModelVersion")
    }

    fn record(change: impl FnOnce(&mut Value)) -> Record {
        Record::of(&version(change)).expect("it is whole")
    }

    #[test]
    fn a_version_that_was_never_in_a_cluster_is_told() {
        for field in ["name", "namespace", "uid", "creationTimestamp"] {
            let taken = version(|version| {
                version["metadata"]
                    .as_object_mut()
                    .expect("an object")
                    .remove(field);
            });
            let problem = Record::of(&taken).err().expect("a problem");
            assert!(problem.contains(&format!("metadata.{field}")), "{problem}");
        }
    }

    #[test]
    fn a_run_is_that_of_its_training_or_else_of_the_version() {
        let imported = record(|_| {});
        assert_eq!(imported.run.tags[imported.run.key], "u-3");
        assert_eq!(imported.experiment, "growth/churn");
        assert_eq!(imported.run.started, imported.run.ended);
        assert_eq!(imported.version.tags["windlass.approval"], "Automatic");
        assert!(!imported.version.tags.contains_key("windlass.verdict"));
        let trained = record(|version| {
            version["spec"]["trainedBy"] = json!({"name": "churn-nightly", "uid": "t-1"});
        });
        assert_eq!(trained.run.tags[trained.run.key], "t-1");
    }

    #[test]
    fn a_trainers_metrics_do_not_hide_those_of_the_validation() {
        let record = record(|version| {
            version["spec"]["trainingMetrics"] = json!({"loss": "0.5", "validation.rocAuc": "1"});
            version["status"] = json!({"validation": {
                "verdict": "Pass", "message": "good", "rows": 10,
                "metrics": [
                    {"name": "rocAuc", "rows": 10, "value": "0.9", "lower": "0.8", "upper": "0.95"},
                    {"name": "rocAuc", "segment": "origin = 'JFK'", "rows": 5, "value": "0.7"},
                    {"name": "rocAuc", "segment": "origin = 'J/K'", "rows": 5, "value": "0.6"}
                ]
            }});
        });
        let metrics: Vec<(&str, f64)> = record
            .run
            .metrics
            .iter()
            .map(|(name, metric)| (name.as_str(), metric.value))
            .collect();
        assert_eq!(
            metrics,
            [
                ("loss", 0.5),
                ("segment/origin_JFK/validation.rocAuc", 0.7),
                ("segment/origin_J_K/validation.rocAuc", 0.6),
                ("training.validation.rocAuc", 1.0),
                ("validation.rocAuc", 0.9),
                ("validation.rocAuc.lower", 0.8),
                ("validation.rocAuc.upper", 0.95),
            ]
        );
        assert_eq!(
            record.run.tags["windlass.segment.origin_JFK"],
            "origin = 'JFK'"
        );
        assert_eq!(record.version.description.as_deref(), Some("good"));
    }
}
