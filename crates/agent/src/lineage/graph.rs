//! The graph of what a version came from and what it led to: nodes and edges in one order, whatever order the objects
//! were in.
//!
//! ```text
//!   code, image, data ──> TrainingJob ──> ModelVersion ──> validation ──> report, baseline
//!                             ^                │
//!                             │                └──> ModelDeployment ──> DriftMonitor ──┐
//!                             └──────────────────────asked for─────────────────────────┘
//! ```
//!
//! An edge points from what was there first to what came of it.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use windlass_api::{
    Attempt, DriftMonitor, ModelDeployment, ModelVersion, Source, StepStatus, TrainingJob,
};

/// Hexadecimal digits of a digest that a person is shown.
const SHOWN_DIGITS: usize = 12;

/// What a node is. The order is that of the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A revision of a repository.
    Code,
    /// A container image.
    Image,
    /// Files that were read: an input, a step's output, a held-out data set.
    Data,
    /// A step of a TrainingJob.
    Step,
    /// An attempt of a TrainingJob's gang.
    Attempt,
    /// A training run.
    TrainingJob,
    /// A version of a model.
    ModelVersion,
    /// The validation of a version.
    Validation,
    /// What a validation found, in full.
    Report,
    /// The profile that drift is measured against.
    Baseline,
    /// What serves.
    ModelDeployment,
    /// What watches.
    DriftMonitor,
}

impl Kind {
    /// Its name for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Image => "image",
            Self::Data => "data",
            Self::Step => "step",
            Self::Attempt => "attempt",
            Self::TrainingJob => "TrainingJob",
            Self::ModelVersion => "ModelVersion",
            Self::Validation => "validation",
            Self::Report => "report",
            Self::Baseline => "baseline",
            Self::ModelDeployment => "ModelDeployment",
            Self::DriftMonitor => "DriftMonitor",
        }
    }
}

/// What tells a node from all others. Names that end in numbers are in the order of these: churn-9 before churn-10.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeId {
    /// What it is.
    pub kind: Kind,
    /// Unique among nodes of the kind.
    pub key: String,
}

impl Ord for NodeId {
    fn cmp(&self, other: &Self) -> Ordering {
        let one = (self.kind, stem_and_number(&self.key));
        let two = (other.kind, stem_and_number(&other.key));
        one.cmp(&two).then_with(|| self.key.cmp(&other.key))
    }
}

impl PartialOrd for NodeId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn stem_and_number(key: &str) -> (&str, u64) {
    let stem = key.trim_end_matches(|letter: char| letter.is_ascii_digit());
    (stem, key[stem.len()..].parse().unwrap_or(0))
}

/// Whether the object of a node is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It is, or the node is no object of the cluster: data, code, an image.
    There,
    /// Something names it, and it is no longer there.
    Gone,
}

/// Where files lie, and as what they are recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The address.
    pub uri: String,
    /// The digest, where one was recorded.
    pub digest: Option<String>,
}

/// The object that a node stands for, where there is one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Object<'a> {
    /// A version.
    ModelVersion(&'a ModelVersion),
    /// A training.
    TrainingJob(&'a TrainingJob),
    /// An attempt of one.
    Attempt(&'a Attempt),
    /// A step of one.
    Step(&'a StepStatus),
    /// What serves.
    ModelDeployment(&'a ModelDeployment),
    /// What watches.
    DriftMonitor(&'a DriftMonitor),
    /// A revision of a repository.
    Code(&'a Source),
}

/// A node.
#[derive(Clone, Debug, PartialEq)]
pub struct Node<'a> {
    /// Its name for people; together with the kind it says what it is.
    pub name: String,
    /// What is said of it, in short phrases.
    pub facts: Vec<String>,
    /// Whether its object is there.
    pub presence: Presence,
    /// Where its files lie, of a node that is files.
    pub place: Option<Place>,
    /// Its object.
    pub object: Option<Object<'a>>,
}

impl<'a> Node<'a> {
    /// Something that is there.
    pub fn there(name: impl Into<String>, facts: Vec<String>) -> Self {
        Self {
            name: name.into(),
            facts,
            presence: Presence::There,
            place: None,
            object: None,
        }
    }

    /// Something that is named and no longer there.
    pub fn gone(name: impl Into<String>, facts: Vec<String>) -> Self {
        Self {
            presence: Presence::Gone,
            ..Self::there(name, facts)
        }
    }

    /// The same with its object.
    #[must_use]
    pub fn of(self, object: Object<'a>) -> Self {
        Self {
            object: Some(object),
            ..self
        }
    }

    /// The same with where its files lie.
    #[must_use]
    pub fn at(self, place: Place) -> Self {
        Self {
            place: Some(place),
            ..self
        }
    }
}

/// How two nodes belong together. The order is that of the edges of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Relation {
    /// A TrainingJob made a version.
    Made,
    /// A DriftMonitor asked for a TrainingJob.
    Asked,
    /// Code was run.
    Code,
    /// Data was read.
    Input,
    /// A step wrote data.
    Wrote,
    /// A step's output was taken over from another TrainingJob.
    TakenOver,
    /// A step that nothing reads belongs to a TrainingJob.
    StepOf,
    /// An image was run.
    Image,
    /// An attempt belongs to a TrainingJob.
    AttemptOf,
    /// A version was judged.
    Judged,
    /// A version was what another was compared with.
    Compared,
    /// A version serves.
    Serves,
    /// A version served.
    Served,
    /// A version is tried.
    Tried,
    /// A version was tried.
    WasTried,
    /// A version was taken back.
    RolledBack,
    /// A version is not tried again.
    Quarantined,
    /// A deployment is watched.
    Watched,
    /// Windows of a version's traffic were judged.
    Monitored,
    /// A version's traffic was found drifted, and a training was asked for.
    Drifted,
    /// A version was taken as the result of another TrainingJob.
    Result,
    /// A version served when another was made.
    Parent,
}

impl Relation {
    /// What stands before the node that the edge comes from: "made by" a TrainingJob.
    pub fn upward(self) -> &'static str {
        match self {
            Self::Made => "made by",
            Self::Asked => "asked for by",
            Self::Code => "from",
            Self::Input => "read",
            Self::Wrote => "written by",
            Self::TakenOver => "taken over from",
            Self::StepOf => "with",
            Self::Image | Self::AttemptOf => "in",
            Self::Judged => "judged",
            Self::Compared => "compared with",
            Self::Serves => "serves",
            Self::Served => "served",
            Self::Tried => "tries",
            Self::WasTried => "tried",
            Self::RolledBack => "took back",
            Self::Quarantined => "keeps out",
            Self::Watched => "watches",
            Self::Monitored => "looked at",
            Self::Drifted => "found drifted:",
            Self::Result => "took",
            Self::Parent => "child of",
        }
    }

    /// What stands before the node that the edge leads to: "serves in" a ModelDeployment.
    pub fn downward(self) -> &'static str {
        match self {
            Self::Made => "made",
            Self::Asked => "asked for",
            Self::Code | Self::Image => "run by",
            Self::Input => "read by",
            Self::Wrote => "wrote",
            Self::TakenOver => "taken over by",
            Self::StepOf => "step of",
            Self::AttemptOf => "attempt of",
            Self::Judged => "judged in",
            Self::Compared => "compared in",
            Self::Serves => "serves in",
            Self::Served => "served in",
            Self::Tried => "is tried in",
            Self::WasTried => "was tried in",
            Self::RolledBack => "was taken back in",
            Self::Quarantined => "is kept out of",
            Self::Watched => "watched by",
            Self::Monitored => "looked at by",
            Self::Drifted => "found drifted by",
            Self::Result => "taken as the result of",
            Self::Parent => "parent of",
        }
    }
}

/// An edge.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    /// What was there first.
    pub from: NodeId,
    /// How they belong together.
    pub relation: Relation,
    /// What came of it.
    pub to: NodeId,
}

/// What a version came from and what it led to.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph<'a> {
    /// The namespace of the objects.
    pub namespace: String,
    /// The version that it is about; it is among the nodes.
    pub root: NodeId,
    /// The nodes.
    pub nodes: BTreeMap<NodeId, Node<'a>>,
    /// The edges, each with what is to be said of it, which may be nothing.
    pub edges: BTreeMap<Edge, String>,
}

impl<'a> Graph<'a> {
    /// A node that an edge or the root names.
    pub fn node(&self, id: &NodeId) -> &Node<'a> {
        self.nodes
            .get(id)
            .expect("a node is put in before an edge that names it")
    }

    /// The edges that lead to a node, by relation, then by where they come from.
    pub fn edges_to<'g>(&'g self, id: &NodeId) -> Vec<(&'g Edge, &'g str)> {
        let mut edges: Vec<_> = self
            .edges
            .iter()
            .filter(|(edge, _)| edge.to == *id)
            .map(|(edge, note)| (edge, note.as_str()))
            .collect();
        edges.sort_by_key(|(edge, _)| (edge.relation, &edge.from));
        edges
    }

    /// The edges that come from a node, by relation, then by where they lead to.
    pub fn edges_from<'g>(&'g self, id: &NodeId) -> Vec<(&'g Edge, &'g str)> {
        let edges = self.edges.iter().filter(|(edge, _)| edge.from == *id);
        edges.map(|(edge, note)| (edge, note.as_str())).collect()
    }

    /// The version that it is about.
    pub fn version(&self) -> &'a ModelVersion {
        match self.node(&self.root).object {
            Some(Object::ModelVersion(version)) => version,
            Some(_) | None => unreachable!("the root is a version that is there"),
        }
    }
}

/// What stands for the digest of a version that is not on record yet.
pub const NOT_DIGESTED: &str = "not digested yet";

/// A digest as a person is shown it: `sha256:` and twelve digits.
pub fn short(digest: &str) -> &str {
    let start = digest.find(':').map_or(0, |at| at + 1);
    digest.get(..start + SHOWN_DIGITS).unwrap_or(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_end_in_numbers_are_in_the_order_of_these() {
        let id = |kind, key: &str| NodeId {
            kind,
            key: key.to_owned(),
        };
        let mut ids = [
            id(Kind::ModelVersion, "churn-10"),
            id(Kind::ModelVersion, "churn-9"),
            id(Kind::Code, "z"),
            id(Kind::ModelVersion, "a-11"),
            id(Kind::ModelVersion, "churn-99999999999999999999999"),
        ];
        ids.sort();
        let keys: Vec<&str> = ids.iter().map(|id| id.key.as_str()).collect();
        assert_eq!(
            keys,
            [
                "z",
                "a-11",
                "churn-99999999999999999999999",
                "churn-9",
                "churn-10"
            ]
        );
    }

    #[test]
    fn a_digest_is_shown_by_its_first_digits() {
        assert_eq!(
            short(&format!("sha256:{}", "ab".repeat(32))),
            "sha256:abababababab"
        );
        assert_eq!((short("short"), short("")), ("short", ""));
    }
}
