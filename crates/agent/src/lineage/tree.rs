//! A graph as a tree that begins at the version: up to what it came from, down to what it led to. Each edge is in it once,
//! so that the loop of a retraining ends.

use std::collections::BTreeSet;

use super::graph::{Edge, Graph, Kind, Node, NodeId, Presence, Relation};

/// A graph, as a person walks it.
#[derive(Clone, Debug, PartialEq)]
pub struct Tree<'g> {
    /// The version.
    pub root: &'g Node<'g>,
    /// What it came from.
    pub came_from: Vec<Branch<'g>>,
    /// What it led to.
    pub led_to: Vec<Branch<'g>>,
}

/// A node in its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Branch<'g> {
    /// How it belongs to what stands above it: `made by`.
    pub words: &'static str,
    /// What it is.
    pub kind: Kind,
    /// The node.
    pub node: &'g Node<'g>,
    /// What is said of the edge; may be empty.
    pub note: &'g str,
    /// Whether the node was there before, with all that is said of it.
    pub is_repeated: bool,
    /// What lies behind it.
    pub branches: Vec<Branch<'g>>,
}

impl Branch<'_> {
    /// The branch as one line: `made by TrainingJob a: by ann, 2 attempts`.
    pub fn line(&self) -> String {
        let mut line = format!("{} {}", self.words, title(self.kind, self.node));
        let facts = if self.is_repeated {
            "see above".to_owned()
        } else {
            self.node.facts.join(", ")
        };
        let said: Vec<&str> = [self.note, facts.as_str()]
            .into_iter()
            .filter(|text| !text.is_empty())
            .collect();
        if !said.is_empty() {
            line.push_str(": ");
            line.push_str(&said.join("; "));
        }
        line
    }
}

/// The kind and name of a node, and whether it is gone.
pub fn title(kind: Kind, node: &Node<'_>) -> String {
    let title = match kind {
        Kind::Validation => kind.as_str().to_owned(),
        Kind::Code
        | Kind::Image
        | Kind::Data
        | Kind::Step
        | Kind::Attempt
        | Kind::TrainingJob
        | Kind::ModelVersion
        | Kind::Report
        | Kind::Baseline
        | Kind::ModelDeployment
        | Kind::DriftMonitor => format!("{} {}", kind.as_str(), node.name),
    };
    match node.presence {
        Presence::There => title,
        Presence::Gone => format!("{title} (gone)"),
    }
}

/// The tree of a graph.
pub fn tree<'g>(graph: &'g Graph<'g>) -> Tree<'g> {
    let mut walk = Walk {
        graph,
        printed: BTreeSet::new(),
        shown: BTreeSet::from([&graph.root]),
        expanded: BTreeSet::from([&graph.root]),
    };
    let came_from = walk.up(&graph.root);
    walk.expanded = BTreeSet::from([&graph.root]);
    let led_to = walk.down(&graph.root);
    Tree {
        root: graph.node(&graph.root),
        came_from,
        led_to,
    }
}

struct Walk<'g> {
    graph: &'g Graph<'g>,
    /// Edges that are in the tree.
    printed: BTreeSet<&'g Edge>,
    /// Nodes that are.
    shown: BTreeSet<&'g NodeId>,
    /// Nodes that were gone on from, in the direction of the walk.
    expanded: BTreeSet<&'g NodeId>,
}

impl<'g> Walk<'g> {
    /// What lies before a node. Versions before the version follow each other without going deeper: there may be hundreds.
    fn up(&mut self, id: &'g NodeId) -> Vec<Branch<'g>> {
        let mut branches = Vec::new();
        for (edge, note) in self.graph.edges_to(id) {
            let is_own = edge.from == self.graph.root && edge.relation != Relation::Parent;
            if is_own || !self.printed.insert(edge) {
                continue;
            }
            let words = match edge.relation {
                Relation::Parent if *id != self.graph.root => "which is a child of",
                relation => relation.upward(),
            };
            let mut branch = self.branch(words, &edge.from, note);
            let is_parent = edge.relation == Relation::Parent;
            // Which versions served in a deployment, or came before one that drifted, is not what this one came from.
            let is_end = [Kind::ModelVersion, Kind::ModelDeployment].contains(&edge.from.kind);
            if is_end && !is_parent || !self.expanded.insert(&edge.from) {
                branches.push(branch);
            } else if is_parent {
                branches.push(branch);
                branches.extend(self.up(&edge.from));
            } else {
                branch.branches = self.up(&edge.from);
                branches.push(branch);
            }
        }
        branches
    }

    /// What came of a node. Of a validation, also what else it read.
    fn down(&mut self, id: &'g NodeId) -> Vec<Branch<'g>> {
        let mut branches = Vec::new();
        if id.kind == Kind::Validation {
            for (edge, note) in self.graph.edges_to(id) {
                if self.printed.insert(edge) {
                    branches.push(self.branch(edge.relation.upward(), &edge.from, note));
                }
            }
        }
        for (edge, note) in self.graph.edges_from(id) {
            if edge.to == self.graph.root || !self.printed.insert(edge) {
                continue;
            }
            let mut branch = self.branch(edge.relation.downward(), &edge.to, note);
            if edge.to.kind != Kind::ModelVersion && self.expanded.insert(&edge.to) {
                branch.branches = self.down(&edge.to);
            }
            branches.push(branch);
        }
        branches
    }

    fn branch(&mut self, words: &'static str, id: &'g NodeId, note: &'g str) -> Branch<'g> {
        let of = self.graph.node(id);
        let is_new = self.shown.insert(id);
        Branch {
            words,
            kind: id.kind,
            node: of,
            note,
            is_repeated: !is_new && !of.facts.is_empty(),
            branches: Vec::new(),
        }
    }
}
