//! Which objects carry which label, so that children are found without a scan over everything.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, RwLock};

use kube::ResourceExt;
use windlass_api::labels;
use windlass_plan::trainingjob::gang::JOB_UID;

/// The labels by which children are looked up.
const INDEXED: [&str; 6] = [
    labels::TRAINING_JOB,
    labels::VERSION,
    labels::DEPLOYMENT,
    labels::MONITOR,
    labels::MODEL,
    JOB_UID,
];

type Key = (String, &'static str, String);

/// Names of objects of one kind, by namespace and label.
#[derive(Clone, Default)]
pub struct Index(Arc<RwLock<HashMap<Key, BTreeSet<String>>>>);

impl Index {
    /// Notes an object's labels.
    pub fn insert<K: ResourceExt>(&self, object: &K) {
        let mut map = self.0.write().expect("no holder panics");
        for key in keys(object) {
            map.entry(key).or_default().insert(object.name_any());
        }
    }

    /// Forgets an object.
    pub fn remove<K: ResourceExt>(&self, object: &K) {
        let mut map = self.0.write().expect("no holder panics");
        for key in keys(object) {
            if let Some(names) = map.get_mut(&key) {
                names.remove(&object.name_any());
                if names.is_empty() {
                    map.remove(&key);
                }
            }
        }
    }

    /// Names of the objects that carry a label, in order. One may be gone by now.
    pub fn names(&self, namespace: &str, label: &'static str, value: &str) -> Vec<String> {
        let map = self.0.read().expect("no holder panics");
        map.get(&(namespace.to_owned(), label, value.to_owned()))
            .map(|names| names.iter().cloned().collect())
            .unwrap_or_default()
    }
}

fn keys<K: ResourceExt>(object: &K) -> impl Iterator<Item = Key> {
    let namespace = object.namespace().unwrap_or_default();
    INDEXED.iter().filter_map(move |label| {
        Some((
            namespace.clone(),
            *label,
            object.labels().get(*label)?.clone(),
        ))
    })
}
