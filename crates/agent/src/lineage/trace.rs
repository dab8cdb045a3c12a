//! Objects to a graph: pure, and the same for the same objects.
//!
//! `origin` finds what a version came from, `effect` what it led to. What is named and not among the objects becomes a
//! node that is gone.

mod effect;
mod origin;

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::ResourceExt;
use windlass_api::agent::Verdict;
use windlass_api::{DriftMonitor, ModelDeployment, ModelVersion, ReviewDecision, TrainingJob};

use super::graph::{Edge, Graph, Kind, NOT_DIGESTED, Node, NodeId, Object, Relation, short};
use crate::objects::Objects;

/// All that a version came from and led to, as far as the objects tell.
pub fn trace<'a>(objects: &'a Objects, version: &'a ModelVersion) -> Graph<'a> {
    let root = id(Kind::ModelVersion, version.name_any());
    let mut trace = Trace {
        objects,
        version,
        graph: Graph {
            namespace: objects.namespace.clone(),
            root: root.clone(),
            nodes: BTreeMap::new(),
            edges: BTreeMap::new(),
        },
    };
    trace.put(root, version_node(version));
    trace.parents();
    trace.run();
    trace.validation();
    trace.deployments();
    trace.monitors();
    trace.children();
    trace.results();
    trace.graph
}

/// A graph that is being made.
struct Trace<'a> {
    objects: &'a Objects,
    version: &'a ModelVersion,
    graph: Graph<'a>,
}

impl<'a> Trace<'a> {
    fn root(&self) -> NodeId {
        self.graph.root.clone()
    }

    /// Puts a node in, if it is not there.
    fn put(&mut self, id: NodeId, node: Node<'a>) {
        self.graph.nodes.entry(id).or_insert(node);
    }

    /// Puts an edge in. Both nodes have to be there.
    fn join(&mut self, from: &NodeId, relation: Relation, to: &NodeId, note: impl Into<String>) {
        debug_assert!(self.graph.nodes.contains_key(from), "{from:?}");
        debug_assert!(self.graph.nodes.contains_key(to), "{to:?}");
        let edge = Edge {
            from: from.clone(),
            relation,
            to: to.clone(),
        };
        self.graph.edges.entry(edge).or_insert_with(|| note.into());
    }

    /// The node of a version, there or gone.
    fn version_of(&mut self, name: &str) -> NodeId {
        let (objects, id) = (self.objects, id(Kind::ModelVersion, name));
        let node = match objects.versions.get(name) {
            Some(version) => version_node(version),
            None => Node::gone(name, Vec::new()),
        };
        self.put(id.clone(), node);
        id
    }

    /// The node of a deployment, there or gone.
    fn deployment_of(&mut self, name: &str) -> NodeId {
        let (objects, id) = (self.objects, id(Kind::ModelDeployment, name));
        let node = match objects.deployments.get(name) {
            Some(deployment) => deployment_node(deployment),
            None => Node::gone(name, Vec::new()),
        };
        self.put(id.clone(), node);
        id
    }

    /// The node of a monitor, there or gone.
    fn monitor_of(&mut self, name: &str) -> NodeId {
        let (objects, id) = (self.objects, id(Kind::DriftMonitor, name));
        let node = match objects.monitors.get(name) {
            Some(monitor) => monitor_node(monitor),
            None => Node::gone(name, Vec::new()),
        };
        self.put(id.clone(), node);
        id
    }

    /// The node of a TrainingJob, and the job if it is there. Another one of the same name, with another uid, is not it.
    fn job_of(&mut self, name: &str, uid: Option<&str>) -> (NodeId, Option<&'a TrainingJob>) {
        let objects = self.objects;
        let of_name = objects.jobs.get(name);
        let is_it = |job: &&TrainingJob| match (uid, job.metadata.uid.as_deref()) {
            (Some(uid), Some(its)) => uid == its,
            (None, _) | (_, None) => true,
        };
        if let Some(job) = of_name.filter(is_it) {
            let id = id(Kind::TrainingJob, name);
            self.put(id.clone(), job_node(job));
            return (id, Some(job));
        }
        let uid = uid.unwrap_or_default();
        let mut facts = Vec::new();
        if !uid.is_empty() {
            facts.push(format!("uid {uid}"));
        }
        if of_name.is_some() {
            facts.push("the TrainingJob that has this name now is another one".to_owned());
        }
        let id = id(Kind::TrainingJob, format!("{name} {uid}").trim());
        self.put(id.clone(), Node::gone(name, facts));
        (id, None)
    }
}

fn id(kind: Kind, key: impl Into<String>) -> NodeId {
    NodeId {
        kind,
        key: key.into(),
    }
}

fn version_node(version: &ModelVersion) -> Node<'_> {
    let artifact = &version.spec.artifact;
    let digest = version.digest().map_or(NOT_DIGESTED, short);
    let mut facts = vec![format!("{}, {digest}", artifact.format)];
    if let Some(created) = &version.metadata.creation_timestamp {
        facts.push(format!("made {}", created.0));
    }
    if let Some(found) = version
        .status
        .iter()
        .find_map(|one| one.validation.as_ref())
    {
        facts.push(format!("validation: {}", verdict(found.verdict)));
    }
    if let Some(review) = &version.spec.review {
        let decision = match review.decision {
            ReviewDecision::Approved => "approved",
            ReviewDecision::Denied => "denied",
        };
        facts.push(format!("{decision} by {}", review.by));
    }
    Node::there(version.name_any(), facts).of(Object::ModelVersion(version))
}

fn job_node(job: &TrainingJob) -> Node<'_> {
    let mut facts = Vec::new();
    if let Some(author) = &job.spec.author {
        facts.push(format!("by {author}"));
    }
    if let Some(status) = &job.status {
        facts.extend(span(status.start_time, status.completion_time));
        if let Some(attempts) = status.attempt {
            facts.push(match attempts {
                1 => "1 attempt".to_owned(),
                more => format!("{more} attempts"),
            });
        }
        if let Some(seconds) = status.gpu_seconds.filter(|seconds| *seconds > 0) {
            facts.push(format!("{seconds} GPU-seconds"));
        }
    }
    Node::there(job.name_any(), facts).of(Object::TrainingJob(job))
}

fn deployment_node(deployment: &ModelDeployment) -> Node<'_> {
    let stable = deployment.status.iter().find_map(|one| one.stable.as_ref());
    let facts = stable.map(|stable| format!("{} serves there", stable.version));
    Node::there(deployment.name_any(), facts.into_iter().collect())
        .of(Object::ModelDeployment(deployment))
}

fn monitor_node(monitor: &DriftMonitor) -> Node<'_> {
    let facts = vec![format!("mode {:?}", monitor.spec.mode)];
    Node::there(monitor.name_any(), facts).of(Object::DriftMonitor(monitor))
}

/// A verdict as it is written in a status.
pub fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "Pass",
        Verdict::Fail => "Fail",
        Verdict::Inconclusive => "Inconclusive",
    }
}

/// From when to when.
fn span(start: Option<Timestamp>, end: Option<Timestamp>) -> Option<String> {
    match (start, end) {
        (Some(start), Some(end)) => Some(format!("{start} to {end}")),
        (Some(start), None) => Some(format!("since {start}")),
        (None, Some(end)) => Some(format!("until {end}")),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests;
