//! What of a ModelVersion, or of a TrainingJob that made none, is to be in MLflow, in MLflow's words.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::Resource;
use windlass_api::agent::Verdict;
use windlass_api::{
    Approval, Decimal, InputRecord, ModelVersion, ReviewDecision, Source, TrainingJob,
    ValidationStatus, condition, find_condition, labels,
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

/// A run, and the version that it made.
pub(super) struct Record {
    /// `<namespace>/<name>`.
    pub name: String,
    /// The experiment where none is named: `<namespace>/<model>`, or the job's name where it makes no model.
    pub experiment: String,
    pub run: Run,
    pub version: Option<Version>,
}

/// A run.
pub(super) struct Run {
    /// Name of the ModelVersion, or of the TrainingJob that made none.
    pub name: String,
    /// The tag that it is found again by; one of `tags`.
    pub key: &'static str,
    /// When the version was registered, and when its verdict was told (before that, the same); of a training its start and
    /// its end. In milliseconds since 1970.
    pub started: i64,
    pub ended: i64,
    /// How it ended, as MLflow says it.
    pub status: &'static str,
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
    /// The model's name.
    pub model: String,
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
        let Identity {
            name,
            namespace,
            uid,
            made: started,
        } = Identity::of(version)?;
        let ended = verdict_time(version).unwrap_or(started);
        let full_name = format!("{namespace}/{name}");
        let shared = shared_tags(version, &full_name, &uid);
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
            status: "FINISHED",
            parameters: parameters(&spec.parameters),
            metrics: metrics(version, &segments, started, ended),
            tags: run_tags(version, &shared, &segments),
            datasets: spec.inputs.iter().map(dataset).collect(),
        };
        Ok(Self {
            name: full_name,
            experiment: format!("{namespace}/{}", spec.model),
            run,
            version: Some(Version {
                model: spec.model.clone(),
                source: spec.artifact.uri.to_string(),
                tags: version_tags(version, shared),
                description: validation(version).map(|found| names::cut(&found.message, MAX_TAG)),
            }),
        })
    }

    /// The run of a training that made no version: it failed, or has no model.
    ///
    /// # Errors
    /// As [`Record::of`]; that it has not ended, or made a version.
    pub fn of_training(job: &TrainingJob) -> Result<Self, String> {
        let Identity {
            name,
            namespace,
            uid,
            made,
        } = Identity::of(job)?;
        let (spec, status) = (&job.spec, job.status.clone().unwrap_or_default());
        let said = |type_: &str| {
            let said = find_condition(&status.conditions, type_);
            said.filter(|said| said.status == "True")
        };
        let failed = said(condition::FAILED);
        let ended = failed.or_else(|| said(condition::COMPLETE));
        let ended = ended.ok_or("the TrainingJob has not ended: its run is shown when it has")?;
        if failed.is_none() && spec.model.is_some() {
            return Err(
                "the TrainingJob ended well: its run is shown with its ModelVersion".to_owned(),
            );
        }
        let note = &ended.message;
        let milliseconds = |time: Option<Timestamp>| time.map(Timestamp::as_millisecond);
        let started = milliseconds(status.start_time).unwrap_or(made);
        let ended = milliseconds(status.completion_time).unwrap_or(started);
        let full_name = format!("{namespace}/{name}");
        let progress = status.progress.as_ref();
        let metrics = progress.map(|progress| {
            let names = names::distinct(progress.metrics.keys().map(String::as_str), MAX_NAME);
            let of = |(original, name): (&str, String)| {
                let value = progress.metrics[original].value().ok()?;
                let time = progress.observed.as_millisecond();
                Some((name, Metric { value, time }))
            };
            names.into_iter().filter_map(of).collect()
        });
        let labels = job.metadata.labels.as_ref();
        let monitor = labels.and_then(|labels| labels.get(labels::MONITOR));
        let mut tags = source_tags(spec.source.as_ref(), spec.author.as_deref());
        tags.extend(texts([
            ("mlflow.source.type", Some("JOB")),
            ("mlflow.note.content", Some(note)),
            (TRAINING_JOB_UID, Some(&uid)),
            ("windlass.training_job", Some(&name)),
            ("windlass.drift_monitor", monitor.map(String::as_str)),
            (
                "windlass.failure",
                failed.map(|failed| failed.reason.as_str()),
            ),
            ("windlass.fingerprint", status.fingerprint.as_deref()),
            (
                "windlass.attempts",
                status.attempt.map(|attempt| attempt.to_string()).as_deref(),
            ),
            (
                "windlass.gpu_seconds",
                status
                    .gpu_seconds
                    .map(|seconds| seconds.to_string())
                    .as_deref(),
            ),
        ]));
        let model = spec.model.as_ref().unwrap_or(&name);
        Ok(Self {
            experiment: format!("{namespace}/{model}"),
            run: Run {
                key: TRAINING_JOB_UID,
                started,
                ended,
                status: if failed.is_some() {
                    "FAILED"
                } else {
                    "FINISHED"
                },
                parameters: parameters(&spec.parameters),
                metrics: metrics.unwrap_or_default(),
                tags,
                datasets: status.inputs.iter().map(dataset).collect(),
                name,
            },
            name: full_name,
            version: None,
        })
    }
}

/// By what an object of the cluster is known.
struct Identity {
    name: String,
    namespace: String,
    uid: String,
    /// When it was made, in milliseconds since 1970.
    made: i64,
}

impl Identity {
    fn of<K: Resource<DynamicType = ()>>(object: &K) -> Result<Self, String> {
        let (meta, kind) = (object.meta().clone(), K::kind(&()));
        let lacking = |field: &str| {
            format!(
                "the {kind} has no {field}: take it from the cluster, `kubectl get {} NAME -o json`",
                kind.to_lowercase()
            )
        };
        let made = meta.creation_timestamp;
        Ok(Self {
            name: meta.name.ok_or_else(|| lacking("metadata.name"))?,
            namespace: meta
                .namespace
                .ok_or_else(|| lacking("metadata.namespace"))?,
            uid: meta.uid.ok_or_else(|| lacking("metadata.uid"))?,
            made: made
                .ok_or_else(|| lacking("metadata.creationTimestamp"))?
                .0
                .as_millisecond(),
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
    let trained_by = spec.trained_by.as_ref();
    let mut tags = source_tags(spec.source.as_ref(), spec.author.as_deref());
    tags.extend(texts([
        ("mlflow.source.type", trained_by.map(|_| "JOB")),
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
    ]));
    tags.extend(shared.clone());
    for (predicate, name) in segments {
        tags.insert(
            format!("windlass.segment.{name}"),
            names::cut(predicate, MAX_TAG),
        );
    }
    tags
}

/// Whose code it was, and who asked for it.
fn source_tags(source: Option<&Source>, author: Option<&str>) -> Texts {
    let repository = source.map(|source| source.repository.as_str());
    texts([
        ("mlflow.source.name", repository),
        ("mlflow.source.git.repoURL", repository),
        (
            "mlflow.source.git.commit",
            source.map(|source| source.revision.as_str()),
        ),
        ("mlflow.user", author),
        ("windlass.author", author),
    ])
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
        let registered = imported.version.expect("a version");
        assert_eq!(registered.tags["windlass.approval"], "Automatic");
        assert!(!registered.tags.contains_key("windlass.verdict"));
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
        let registered = record.version.expect("a version");
        assert_eq!(registered.description.as_deref(), Some("good"));
    }
}
