//! Which objects carry which label, and of which what else is so, that they are found without a scan over everything.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, RwLock};

use kube::Resource;
use windlass_api::labels;
use windlass_plan::trainingjob::gang::JOB_UID;

use super::kept::Fact;

/// The labels by which children are looked up.
const INDEXED: [&str; 5] = [
    labels::TRAINING_JOB,
    labels::VERSION,
    labels::DEPLOYMENT,
    labels::MONITOR,
    JOB_UID,
];

type Key = (String, &'static str, String);

/// Names of objects of one kind, by namespace and label, or fact.
#[derive(Clone, Default)]
pub struct Index(Arc<RwLock<HashMap<Key, BTreeSet<String>>>>);

impl Index {
    /// Notes what an object is found by.
    pub fn insert(&self, namespace: &str, name: &str, found_by: &[Fact]) {
        let mut map = self.0.write().expect("no holder panics");
        for (what, value) in found_by {
            map.entry((namespace.to_owned(), *what, value.clone()))
                .or_default()
                .insert(name.to_owned());
        }
    }

    /// Forgets an object, which was found by this.
    pub fn remove(&self, namespace: &str, name: &str, found_by: &[Fact]) {
        let mut map = self.0.write().expect("no holder panics");
        for (what, value) in found_by {
            let key = (namespace.to_owned(), *what, value.clone());
            if let Some(names) = map.get_mut(&key) {
                names.remove(name);
                if names.is_empty() {
                    map.remove(&key);
                }
            }
        }
    }

    /// Names of the objects that carry a label, or of which something is so, in order. One may be gone by now.
    pub fn names(&self, namespace: &str, what: &'static str, value: &str) -> Vec<String> {
        let map = self.0.read().expect("no holder panics");
        map.get(&(namespace.to_owned(), what, value.to_owned()))
            .map(|names| names.iter().cloned().collect())
            .unwrap_or_default()
    }

    /// The same in all namespaces: namespaces and names. This one is a scan.
    pub fn everywhere(&self, what: &'static str, value: &str) -> Vec<(String, String)> {
        let map = self.0.read().expect("no holder panics");
        map.iter()
            .filter(|((_, fact, of), _)| *fact == what && of == value)
            .flat_map(|((namespace, ..), names)| {
                names.iter().map(|name| (namespace.clone(), name.clone()))
            })
            .collect()
    }
}

/// The labels by which an object is found.
pub fn labels_of<K: Resource>(object: &K) -> Vec<Fact> {
    let labels = object.meta().labels.as_ref();
    INDEXED
        .iter()
        .filter_map(|label| Some((*label, labels?.get(*label)?.clone())))
        .collect()
}

/// Whether these are found by the same labels, whatever else is so with them.
pub fn same_labels(one: &[Fact], two: &[Fact]) -> bool {
    let of = |all: &[Fact]| -> Vec<Fact> {
        let labels = all.iter().filter(|(what, _)| INDEXED.contains(what));
        labels.cloned().collect()
    };
    of(one) == of(two)
}
