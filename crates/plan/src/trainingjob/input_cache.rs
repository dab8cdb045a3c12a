//! The cache of inputs that the nodes of some namespaces keep, as the administrator has set it up.

use std::collections::BTreeSet;

/// Where nodes keep what pods read from object stores, how much of it, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputCache {
    /// The folder on every node; each namespace has one of its own in it.
    pub host_path: String,
    /// How many bytes a node keeps for a namespace.
    pub bytes: u64,
    /// The namespaces whose pods use it: they have to allow pods with `hostPath` volumes.
    pub namespaces: BTreeSet<String>,
}

impl InputCache {
    /// Whether pods of a namespace use it.
    pub fn serves(&self, namespace: &str) -> bool {
        self.namespaces.contains(namespace)
    }
}
