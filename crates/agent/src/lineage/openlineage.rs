//! A graph as events of OpenLineage 2-0-2 (<https://openlineage.io>), a JSON document a line.
//!
//! ```text
//!   step of a TrainingJob ── START, COMPLETE ──> job <model>.training.<step>, run: of the TrainingJob's uid and the step
//!   TrainingJob ──────────── START, COMPLETE ──> job <model>.training,        run: the TrainingJob's uid
//!   validation ───────────── START, COMPLETE ──> job <model>.validation,      run: of the ModelVersion's uid
//!   deployment, it serves ── START ────────────> job <deployment>.serving,    run: of the ModelDeployment's uid
//! ```
//!
//! A job is what recurs, a run is one of its runs: so a job has the name of the model, not of the object. Files are data
//! sets, named as OpenLineage names those of object stores; a digest is a data set's version. A version that was
//! registered has no run: it is a `DatasetEvent`.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use url::Url;
use uuid::Uuid;
use windlass_api::{Action, ModelVersion, Source, StepPhase, TrainingJob};

use super::graph::{Graph, Kind, NodeId, Object, Place, Relation};

/// Who makes the events.
const PRODUCER: &str = concat!(
    "https://windlass.dev/windlass-agent/",
    env!("CARGO_PKG_VERSION")
);
/// Where the schema of an event lies.
const SCHEMA: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs";
/// What made a job.
const INTEGRATION: &str = "WINDLASS";

/// Why there can be no events.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "ModelVersion {0} has no metadata.creationTimestamp, and an OpenLineage event needs a time: take the object as the API server has it"
)]
pub struct NoTime(String);

/// The events, one a line.
///
/// # Errors
/// Where no time is known.
pub fn render(graph: &Graph<'_>) -> Result<String, NoTime> {
    let mut text = String::new();
    for event in events(graph)? {
        let _ = writeln!(text, "{event}");
    }
    Ok(text)
}

/// The events, in the order in which things happened.
fn events(graph: &Graph<'_>) -> Result<Vec<Value>, NoTime> {
    let version = graph.version();
    let created = version.metadata.creation_timestamp.as_ref();
    let created = created.ok_or_else(|| NoTime(graph.root.key.clone()))?.0;
    let writer = Writer {
        graph,
        version,
        created,
    };
    let run = graph
        .edges_to(&graph.root)
        .into_iter()
        .find(|(edge, _)| edge.relation == Relation::Made);
    let mut events = match run {
        Some((edge, _)) => writer.training(&edge.from),
        None => vec![writer.registered()],
    };
    events.extend(writer.validation());
    events.extend(writer.serving());
    Ok(events)
}

struct Writer<'g> {
    graph: &'g Graph<'g>,
    version: &'g ModelVersion,
    created: Timestamp,
}

/// A run with all that its events have in common.
struct Run {
    id: Uuid,
    facets: Map<String, Value>,
    job: String,
    job_facets: Map<String, Value>,
    inputs: Vec<Value>,
    outputs: Vec<Value>,
}

impl Writer<'_> {
    /// The steps of a TrainingJob, then its workers.
    fn training(&self, run: &NodeId) -> Vec<Value> {
        let job = match self.graph.node(run).object {
            Some(Object::TrainingJob(job)) => Some(job),
            Some(_) | None => None,
        };
        let mut events = self.steps(run);
        let status = job.and_then(|job| job.status.as_ref());
        let ended = status.and_then(|status| status.completion_time);
        let ended = ended.unwrap_or(self.created);
        let started = status.and_then(|status| status.start_time);
        let training = self.training_run(run, job);
        events.push(self.run_event("START", started.unwrap_or(ended), &training));
        events.push(self.run_event("COMPLETE", ended, &training));
        events
    }

    fn training_run(&self, run: &NodeId, job: Option<&TrainingJob>) -> Run {
        let spec = &self.version.spec;
        let mut run_facets = Map::new();
        if let Some(window) = &spec.window {
            let times = json!({
                "nominalStartTime": window.start.to_string(), "nominalEndTime": window.end.to_string(),
            });
            put(&mut run_facets, "nominalTime", &facet::NOMINAL_TIME, times);
        }
        if let Some(parent) = self.asked_by(run) {
            put(&mut run_facets, "parent", &facet::PARENT, parent);
        }
        if !spec.parameters.is_empty() {
            let parameters = spec.parameters.iter();
            let parameters = parameters.map(|(name, value)| json!({"key": name, "value": value}));
            let parameters = json!({ "parameters": parameters.collect::<Vec<_>>() });
            put(
                &mut run_facets,
                "executionParameters",
                &facet::PARAMETERS,
                parameters,
            );
        }
        let mut tags = Vec::new();
        if let Some(by) = &spec.trained_by {
            tags.push(tag("trainingJob", &by.name));
        }
        if let Some(fingerprint) = &spec.fingerprint {
            tags.push(tag("fingerprint", fingerprint));
        }
        tags.extend(spec.images.iter().map(|image| tag("image", image)));
        put(
            &mut run_facets,
            "tags",
            &facet::TAGS,
            json!({ "tags": tags }),
        );

        let mut job_facets = job_type("BATCH", "TRAINING");
        let described = format!("Training of the model {}", spec.model);
        let described = json!({ "description": described });
        put(
            &mut job_facets,
            "documentation",
            &facet::JOB_DOCUMENTATION,
            described,
        );
        if let Some(location) = spec.source.as_ref().and_then(location) {
            put(
                &mut job_facets,
                "sourceCodeLocation",
                &facet::SOURCE_CODE,
                location,
            );
        }
        let author = spec.author.as_ref();
        let author = author.or(job.and_then(|job| job.spec.author.as_ref()));
        if let Some(author) = author {
            let owners = json!({"owners": [{"name": author, "type": "AUTHOR"}]});
            put(&mut job_facets, "ownership", &facet::OWNERSHIP, owners);
        }
        Run {
            id: self.training_id(),
            facets: run_facets,
            job: format!("{}.training", spec.model),
            job_facets,
            inputs: self.read_by(run),
            outputs: vec![self.model(Role::Output)],
        }
    }

    /// The TrainingJob's uid.
    fn training_id(&self) -> Uuid {
        let by = self.version.spec.trained_by.as_ref();
        run_id(by.map_or("", |by| by.uid.as_str()))
    }

    /// The monitor that asked for the run, as the run that this one belongs to.
    fn asked_by(&self, run: &NodeId) -> Option<Value> {
        let edges = self.graph.edges_to(run);
        let (edge, _) = edges
            .iter()
            .find(|(edge, _)| edge.relation == Relation::Asked)?;
        let Some(Object::DriftMonitor(monitor)) = self.graph.node(&edge.from).object else {
            return None;
        };
        let id = run_id(monitor.metadata.uid.as_deref()?);
        let job = self.job(&format!("{}.drift", edge.from.key), Map::new());
        Some(json!({"run": {"runId": id.to_string()}, "job": job}))
    }

    fn steps(&self, run: &NodeId) -> Vec<Value> {
        let mut events = Vec::new();
        for (id, node) in &self.graph.nodes {
            let Some(Object::Step(step)) = node.object else {
                continue;
            };
            let (Some(started), Some(ended), StepPhase::Complete) =
                (step.started, step.ended, step.phase)
            else {
                continue;
            };
            let model = &self.version.spec.model;
            let whole = json!({
                "run": {"runId": self.training_id().to_string()}, "job": self.job(&format!("{model}.training"), Map::new()),
            });
            let mut run_facets = Map::new();
            put(&mut run_facets, "parent", &facet::PARENT, whole);
            let written = self.graph.edges_from(id).into_iter();
            let written = written.filter(|(edge, _)| edge.relation == Relation::Wrote);
            let step = Run {
                id: derived(
                    &format!("{} {}", run.key, id.key),
                    &self.training_id().to_string(),
                ),
                facets: run_facets,
                job: format!("{model}.training.{}", step.name),
                job_facets: job_type("BATCH", "STEP"),
                inputs: self.read_by(id),
                outputs: written
                    .filter_map(|(edge, _)| self.files(&edge.to, None, Role::Output))
                    .collect(),
            };
            events.push((started, self.run_event("START", started, &step)));
            events.push((ended, self.run_event("COMPLETE", ended, &step)));
        }
        events.sort_by_key(|(when, _)| *when);
        events.into_iter().map(|(_, event)| event).collect()
    }

    /// The validation, once it came to a verdict. A model that is not good enough is a good answer, too.
    fn validation(&self) -> Vec<Value> {
        let Some(status) = &self.version.status else {
            return Vec::new();
        };
        let Some(found) = &status.validation else {
            return Vec::new();
        };
        let id = NodeId {
            kind: Kind::Validation,
            key: self.graph.root.key.clone(),
        };
        let mut judged = status.decisions.iter();
        let judged = judged.find(|decision| decision.action == Action::Validated);
        let judged = judged.map_or(self.created, |decision| decision.time);
        let mut run_facets = Map::new();
        let mut tags = vec![tag("verdict", super::verdict(found.verdict))];
        tags.extend(
            found
                .champion
                .iter()
                .map(|champion| tag("champion", champion)),
        );
        put(
            &mut run_facets,
            "tags",
            &facet::TAGS,
            json!({ "tags": tags }),
        );
        let mut inputs = vec![self.model(Role::Input)];
        inputs.extend(self.read_by(&id));
        let written = self.graph.edges_from(&id).into_iter();
        let written = written.filter(|(edge, _)| edge.relation == Relation::Wrote);
        let run = Run {
            id: self.derived_from_version("validation"),
            facets: run_facets,
            job: format!("{}.validation", self.version.spec.model),
            job_facets: job_type("BATCH", "VALIDATION"),
            inputs,
            outputs: written
                .filter_map(|(edge, _)| {
                    self.files(&edge.to, Some(edge.to.kind.as_str()), Role::Output)
                })
                .collect(),
        };
        vec![
            self.run_event("START", self.created, &run),
            self.run_event("COMPLETE", judged, &run),
        ]
    }

    /// A run for each deployment in which it serves now; it has no end yet.
    fn serving(&self) -> Vec<Value> {
        let mut events = Vec::new();
        for (edge, _) in self.graph.edges_from(&self.graph.root) {
            let Some(Object::ModelDeployment(deployment)) = self.graph.node(&edge.to).object else {
                continue;
            };
            let stable = deployment.status.iter().find_map(|one| one.stable.as_ref());
            let (Relation::Serves, Some(stable)) = (edge.relation, stable) else {
                continue;
            };
            let observe = deployment.spec.observe.as_ref();
            let log = observe.and_then(|observe| observe.log_payloads.as_ref());
            let log = log.map(|log| Place {
                uri: log.uri.join(&self.graph.root.key).0,
                digest: None,
            });
            let uid = deployment.metadata.uid.clone().unwrap_or_default();
            let run = Run {
                id: derived(&format!("serving {}", self.graph.root.key), &uid),
                facets: Map::new(),
                job: format!("{}.serving", edge.to.key),
                job_facets: job_type("SERVICE", "SERVING"),
                inputs: vec![self.model(Role::Input)],
                outputs: log
                    .iter()
                    .map(|log| self.data_set(log, Some("payload log"), Role::Output))
                    .collect(),
            };
            events.push(self.run_event("START", stable.since, &run));
        }
        events
    }

    /// A version that was registered: its files, and nothing that made them.
    fn registered(&self) -> Value {
        json!({
            "eventTime": self.created.to_string(), "producer": PRODUCER,
            "schemaURL": format!("{SCHEMA}/DatasetEvent"), "dataset": self.model(Role::Alone),
        })
    }

    fn run_event(&self, kind: &str, time: Timestamp, run: &Run) -> Value {
        json!({
            "eventType": kind, "eventTime": time.to_string(), "producer": PRODUCER,
            "schemaURL": format!("{SCHEMA}/RunEvent"),
            "run": {"runId": run.id.to_string(), "facets": run.facets},
            "job": self.job(&run.job, run.job_facets.clone()),
            "inputs": run.inputs, "outputs": run.outputs,
        })
    }

    fn job(&self, name: &str, facets: Map<String, Value>) -> Value {
        let mut job = json!({"namespace": self.graph.namespace, "name": name});
        if !facets.is_empty() {
            job["facets"] = Value::Object(facets);
        }
        job
    }

    /// The data sets that a run read.
    fn read_by(&self, run: &NodeId) -> Vec<Value> {
        let edges = self.graph.edges_to(run).into_iter();
        edges
            .filter(|(edge, _)| edge.relation == Relation::Input)
            .filter_map(|(edge, _)| {
                let name = self.graph.node(&edge.from).name.as_str();
                self.files(&edge.from, Some(name), Role::Input)
            })
            .collect()
    }

    fn files(&self, id: &NodeId, described: Option<&str>, role: Role) -> Option<Value> {
        let place = self.graph.node(id).place.as_ref()?;
        Some(self.data_set(place, described, role))
    }

    fn data_set(&self, place: &Place, described: Option<&str>, role: Role) -> Value {
        self.set_of(place, &facets_of(place, described), role)
    }

    fn set_of(&self, place: &Place, facets: &Map<String, Value>, role: Role) -> Value {
        let (namespace, name) = named(&place.uri, &self.graph.namespace);
        let mut set = json!({"namespace": namespace, "name": name, "facets": facets});
        match role {
            Role::Input => set["inputFacets"] = json!({}),
            Role::Output => set["outputFacets"] = json!({}),
            Role::Alone => {}
        }
        set
    }

    /// The model's files.
    fn model(&self, role: Role) -> Value {
        let artifact = &self.version.spec.artifact;
        let place = Place {
            uri: artifact.uri.0.clone(),
            digest: self.version.digest().map(str::to_owned),
        };
        let described = format!("The model {}, {}", self.graph.root.key, artifact.format);
        let mut facets = facets_of(&place, Some(&described));
        let type_ = json!({"datasetType": "MODEL", "subType": artifact.format});
        put(&mut facets, "datasetType", &facet::DATASET_TYPE, type_);
        let mut set = self.set_of(&place, &facets, role);
        if let (Role::Output, Some(bytes)) = (role, self.version.bytes()) {
            let mut facets = Map::new();
            put(
                &mut facets,
                "outputStatistics",
                &facet::OUTPUT,
                json!({ "size": bytes }),
            );
            set["outputFacets"] = Value::Object(facets);
        }
        set
    }

    fn derived_from_version(&self, what: &str) -> Uuid {
        let uid = self.version.metadata.uid.clone().unwrap_or_default();
        derived(&format!("{what} {}", self.graph.root.key), &uid)
    }
}

/// What a data set is to an event.
#[derive(Clone, Copy)]
enum Role {
    Input,
    Output,
    Alone,
}

/// The standard's own facets, by the name and version of their schema.
mod facet {
    /// Name of the file, version.
    pub(super) type Facet = (&'static str, &'static str);

    pub(super) const NOMINAL_TIME: Facet = ("NominalTimeRunFacet", "1-0-1");
    pub(super) const PARENT: Facet = ("ParentRunFacet", "1-2-0");
    pub(super) const TAGS: Facet = ("TagsRunFacet", "1-0-0");
    pub(super) const PARAMETERS: Facet = ("ExecutionParametersRunFacet", "1-0-0");
    pub(super) const JOB_TYPE: Facet = ("JobTypeJobFacet", "2-0-4");
    pub(super) const JOB_DOCUMENTATION: Facet = ("DocumentationJobFacet", "1-1-0");
    pub(super) const SOURCE_CODE: Facet = ("SourceCodeLocationJobFacet", "1-1-0");
    pub(super) const OWNERSHIP: Facet = ("OwnershipJobFacet", "1-0-1");
    pub(super) const VERSION: Facet = ("DatasetVersionDatasetFacet", "1-0-1");
    pub(super) const DATA_DOCUMENTATION: Facet = ("DocumentationDatasetFacet", "1-1-0");
    pub(super) const OUTPUT: Facet = ("OutputStatisticsOutputDatasetFacet", "1-0-2");
    pub(super) const DATASET_TYPE: Facet = ("DatasetTypeDatasetFacet", "1-0-1");
}

/// Puts a facet in, with who made it and where its schema lies.
fn put(facets: &mut Map<String, Value>, key: &str, facet: &facet::Facet, mut content: Value) {
    let (schema, version) = facet;
    content["_producer"] = json!(PRODUCER);
    content["_schemaURL"] = json!(format!(
        "https://openlineage.io/spec/facets/{version}/{schema}.json#/$defs/{schema}"
    ));
    facets.insert(key.to_owned(), content);
}

fn facets_of(place: &Place, described: Option<&str>) -> Map<String, Value> {
    let mut facets = Map::new();
    if let Some(digest) = &place.digest {
        let version = json!({ "datasetVersion": digest });
        put(&mut facets, "version", &facet::VERSION, version);
    }
    if let Some(described) = described {
        let described = json!({ "description": described });
        put(
            &mut facets,
            "documentation",
            &facet::DATA_DOCUMENTATION,
            described,
        );
    }
    facets
}

fn tag(key: &str, value: &str) -> Value {
    json!({"key": key, "value": value, "source": INTEGRATION})
}

fn job_type(processing: &str, job: &str) -> Map<String, Value> {
    let mut facets = Map::new();
    let content = json!({"processingType": processing, "integration": INTEGRATION, "jobType": job});
    put(&mut facets, "jobType", &facet::JOB_TYPE, content);
    facets
}

/// Where the code lies, where that is an address: `git@host:path` is written as one.
fn location(source: &Source) -> Option<Value> {
    let repository = &source.repository;
    let url = if let Ok(url) = Url::parse(repository) {
        url
    } else {
        let (host, path) = repository.split_once(':')?;
        let is_host = host.contains('@') && !host.contains('/');
        is_host
            .then(|| Url::parse(&format!("ssh://{host}/{path}")))?
            .ok()?
    };
    Some(json!({
        "type": "git", "url": url.as_str(), "repoUrl": repository, "version": source.revision,
    }))
}

/// A data set's namespace and name, as OpenLineage names files: the store, and the path in it. A claim is one of its
/// Kubernetes namespace.
fn named(uri: &str, namespace: &str) -> (String, String) {
    let (scheme, rest) = uri.split_once("://").unwrap_or(("file", uri));
    let (store, path) = match scheme {
        "file" => ("", rest),
        _ => rest.split_once('/').unwrap_or((rest, "")),
    };
    let path = path.trim_end_matches('/');
    let name = if path.is_empty() { "/" } else { path };
    let store = match scheme {
        "file" => "file".to_owned(),
        "pvc" => format!("pvc://{namespace}/{store}"),
        other => format!("{other}://{store}"),
    };
    (store, name.to_owned())
}

/// The id of the run that an object is: its uid.
fn run_id(uid: &str) -> Uuid {
    Uuid::parse_str(uid).unwrap_or_else(|_| derived("run", uid))
}

/// An id of our own, the same for the same object and the same words (RFC 9562, version 8).
fn derived(what: &str, uid: &str) -> Uuid {
    let hash = Sha256::digest(format!("windlass.dev {uid} {what}"));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests;
