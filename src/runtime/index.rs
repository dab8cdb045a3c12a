//! Which objects carry which label, and of which what else is so, that they are found without a scan over everything.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use kube::Resource;
use windlass_api::labels;
use windlass_plan::trainingjob::gang::JOB_UID;

use super::kept::{ENTRANCE, Fact};

/// The labels by which children are looked up.
const INDEXED: [&str; 5] = [
    labels::TRAINING_JOB,
    labels::VERSION,
    labels::DEPLOYMENT,
    labels::MONITOR,
    JOB_UID,
];

type Key = (String, &'static str, String);

/// Names of objects of one kind in their order, by namespace and label, or fact. Most lists are of one name, for which a
/// tree would take three times the memory.
#[derive(Clone, Default)]
pub struct Index(Arc<RwLock<HashMap<Key, Vec<Box<str>>>>>);

impl Index {
    /// Notes what an object is found by.
    pub fn insert(&self, namespace: &str, name: &str, found_by: &[Fact]) {
        let mut map = self.0.write().expect("no holder panics");
        for (what, value) in found_by {
            let names = map
                .entry((namespace.to_owned(), *what, value.clone()))
                .or_insert_with(|| Vec::with_capacity(1));
            if let Err(place) = names.binary_search_by(|there| (**there).cmp(name)) {
                names.insert(place, name.into());
            }
        }
    }

    /// Forgets an object, which was found by this.
    pub fn remove(&self, namespace: &str, name: &str, found_by: &[Fact]) {
        let mut map = self.0.write().expect("no holder panics");
        for (what, value) in found_by {
            let key = (namespace.to_owned(), *what, value.clone());
            if let Some(names) = map.get_mut(&key) {
                if let Ok(place) = names.binary_search_by(|there| (**there).cmp(name)) {
                    names.remove(place);
                }
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
            .map(|names| names.iter().map(ToString::to_string).collect())
            .unwrap_or_default()
    }

    /// The same in all namespaces: namespaces and names. This one is a scan.
    pub fn everywhere(&self, what: &'static str, value: &str) -> Vec<(String, String)> {
        let map = self.0.read().expect("no holder panics");
        map.iter()
            .filter(|((_, fact, of), _)| *fact == what && of == value)
            .flat_map(|((namespace, ..), names)| {
                names
                    .iter()
                    .map(|name| (namespace.clone(), name.to_string()))
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

/// Whether these are news for the same others: by their labels, and by the entrances that no two may share. What else is so
/// with them may differ.
pub fn same_others(one: &[Fact], two: &[Fact]) -> bool {
    let of = |all: &[Fact]| -> Vec<Fact> {
        let counts = |what| INDEXED.contains(what) || *what == ENTRANCE;
        all.iter()
            .filter(|(what, _)| counts(what))
            .cloned()
            .collect()
    };
    of(one) == of(two)
}

#[cfg(test)]
mod tests {
    use super::super::kept::{UNDER_WAY, so};
    use super::*;

    #[test]
    fn another_label_or_another_host_name_is_news_for_those_before_and_another_state_is_not() {
        let label = |value: &str| (labels::DEPLOYMENT, value.to_owned());
        let entrance = |host: &str| (ENTRANCE, format!("edge/public {host} /"));
        let before = [label("churn"), entrance("one.test")];
        let is_same = |now: &[Fact]| same_others(&before, now);
        assert!(is_same(&[
            label("churn"),
            entrance("one.test"),
            so(UNDER_WAY)
        ]));
        assert!(!is_same(&[label("churn"), entrance("two.test")]));
        assert!(!is_same(&[label("churn")]));
        assert!(!is_same(&[label("fraud"), entrance("one.test")]));
    }
}
