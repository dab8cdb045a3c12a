//! What has ended of monitors' windows, kept together: that of one monitor is one text.
//!
//! ```text
//!   churn-1800000000 (Job) ─┐                        a Job that runs, and its pod, are in the store, as all else
//!   churn-1800003600 (Job) ─┴─> churn: one text <──of("growth", "churn")── the DriftMonitor, which alone asks for them
//! ```
//!
//! A monitor's Jobs and pods stay for five windows, for what they found. In a store each would take a kilobyte and a half, of
//! which a tenth is its own: the rest is who it is, three times over, and by what it is found.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::marker::PhantomData;
use std::sync::{Arc, RwLock};

use kube::{Resource, ResourceExt};

use super::kept::{Form, Text};

/// Namespace and name of a monitor.
pub type Place = (String, String);

/// What has ended of windows, of one kind.
pub struct Shelf<K, F> {
    state: Arc<RwLock<State>>,
    kind: PhantomData<fn() -> (K, F)>,
}

#[derive(Default)]
struct State {
    bundles: Bundles,
    /// What a list has brought that is not whole yet.
    listed: Bundles,
}

type Bundles = HashMap<Place, Bundle>;

/// What there is of one monitor.
struct Bundle {
    /// By what their names are told, so that one that is not among them is not looked for.
    marks: Box<[u64]>,
    text: Text,
}

impl<K, F> Default for Shelf<K, F> {
    fn default() -> Self {
        Self {
            state: Arc::default(),
            kind: PhantomData,
        }
    }
}

impl<K, F> Clone for Shelf<K, F> {
    fn clone(&self) -> Self {
        Self {
            state: self.state.clone(),
            kind: PhantomData,
        }
    }
}

impl<K: Resource, F: Form<K>> Shelf<K, F> {
    /// Puts an object there; what it was before.
    pub fn put(&self, place: &Place, object: &K) -> Option<K> {
        let mut state = self.state.write().expect("no holder panics");
        put::<K, F>(&mut state.bundles, place, object)
    }

    /// Takes the object of this name away.
    pub fn take(&self, place: &Place, name: &str) -> Option<K> {
        let mut state = self.state.write().expect("no holder panics");
        let Entry::Occupied(mut entry) = state.bundles.entry(place.clone()) else {
            return None;
        };
        if !entry.get().may_have(name) {
            return None;
        }
        let mut all = F::apart(&entry.get().text);
        let at = all.iter().position(|one| one.name_any() == name)?;
        let taken = all.remove(at);
        if all.is_empty() {
            entry.remove();
        } else {
            entry.insert(Bundle::of::<K, F>(&all.iter().collect::<Vec<_>>()));
        }
        Some(taken)
    }

    /// What there is of a monitor, in order.
    pub fn of(&self, namespace: &str, monitor: &str) -> Vec<K> {
        let state = self.state.read().expect("no holder panics");
        let bundle = state
            .bundles
            .get(&(namespace.to_owned(), monitor.to_owned()));
        bundle.map_or_else(Vec::new, |bundle| F::apart(&bundle.text))
    }

    /// An object by its name: a Job's is the monitor's and when the window ends, a pod's has a word more.
    pub fn find(&self, namespace: &str, name: &str) -> Option<K> {
        let state = self.state.read().expect("no holder panics");
        if state.bundles.is_empty() {
            return None;
        }
        let ends = name.rmatch_indices('-').take(2);
        let mut bundles = ends.filter_map(|(end, _)| {
            let place = (namespace.to_owned(), name[..end].to_owned());
            state.bundles.get(&place)
        });
        let bundle = bundles.find(|bundle| bundle.may_have(name))?;
        let mut all = F::apart(&bundle.text).into_iter();
        all.find(|one| one.name_any() == name)
    }

    /// The monitors of which there is something.
    pub fn places(&self) -> Vec<Place> {
        let state = self.state.read().expect("no holder panics");
        state.bundles.keys().cloned().collect()
    }

    /// A list begins.
    pub fn begin(&self) {
        let mut state = self.state.write().expect("no holder panics");
        state.listed = Bundles::new();
    }

    /// It brings an object.
    pub fn list(&self, place: &Place, object: &K) {
        let mut state = self.state.write().expect("no holder panics");
        put::<K, F>(&mut state.listed, place, object);
    }

    /// It is whole, and what it brought is what there is; an object of each monitor of which there is nothing any more.
    pub fn end(&self) -> Vec<K> {
        let mut state = self.state.write().expect("no holder panics");
        let listed = std::mem::take(&mut state.listed);
        let before = std::mem::replace(&mut state.bundles, listed);
        let gone = before.iter();
        gone.filter(|(place, _)| !state.bundles.contains_key(*place))
            .filter_map(|(_, bundle)| F::apart(&bundle.text).pop())
            .collect()
    }
}

fn put<K: Resource, F: Form<K>>(bundles: &mut Bundles, place: &Place, object: &K) -> Option<K> {
    let name = object.meta().name.as_deref().unwrap_or_default();
    let mut all = bundles
        .get(place)
        .map_or_else(Vec::new, |bundle| F::apart(&bundle.text));
    let at = all.iter().position(|one| one.name_any() == name);
    let before = at.map(|at| all.remove(at));
    let mut now: Vec<&K> = all.iter().chain([object]).collect();
    now.sort_by_key(|one| one.name_any());
    bundles.insert(place.clone(), Bundle::of::<K, F>(&now));
    before
}

impl Bundle {
    fn of<K: Resource, F: Form<K>>(objects: &[&K]) -> Self {
        let marks = objects.iter().map(|object| mark(&object.name_any()));
        Self {
            marks: marks.collect(),
            text: F::together(objects),
        }
    }

    fn may_have(&self, name: &str) -> bool {
        self.marks.contains(&mark(name))
    }
}

fn mark(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

/// The monitor of which a Job, or the pod of a Job, is, if it is of one: by the Job's name, which nobody changes.
pub fn place<K: Resource<DynamicType = ()>>(object: &K) -> Option<Place> {
    let meta = object.meta();
    let job = if K::kind(&()) == "Job" {
        meta.name.as_deref()
    } else {
        let mut owners = meta.owner_references.iter().flatten();
        let owner = owners.find(|owner| owner.kind == "Job");
        owner.map(|owner| owner.name.as_str())
    };
    let (monitor, _) = job?.rsplit_once('-')?;
    let namespace = meta.namespace.clone().unwrap_or_default();
    Some((namespace, monitor.to_owned()))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    use super::super::kept::Packed;
    use super::*;

    type Pods = Shelf<Pod, Packed<Pod>>;

    /// The pod of a window, with a report of ten columns.
    fn pod(monitor: &str, end: i64) -> Pod {
        let column = |number: i64| json!({"column": format!("column_{number}"), "method": "PSI", "value": 0.02, "lower": 0.01, "threshold": 0.2, "drifted": false, "moved": format!("mean {number} → 4")});
        let report = json!({"kind": "Drift", "verdict": "Healthy", "top": (0..10).map(column).collect::<Vec<_>>()});
        let uid = format!("{:032x}", mark(&format!("{monitor} {end}")));
        let pod = serde_json::from_value(json!({
            "metadata": {
                "name": format!("{monitor}-{end}-x7k2p"), "namespace": "growth", "resourceVersion": end.to_string(), "uid": uid,
                "labels": {"windlass.dev/monitor": monitor, "batch.kubernetes.io/controller-uid": uid},
                "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": format!("{monitor}-{end}"), "uid": uid, "controller": true}],
            },
            "status": {"phase": "Succeeded", "containerStatuses": [{
                "name": "windlass-agent", "image": "agent", "imageID": "agent", "ready": false, "restartCount": 0,
                "state": {"terminated": {"exitCode": 0, "message": report.to_string()}},
            }]},
        }));
        pod.expect("a pod")
    }

    fn names(shelf: &Pods, monitor: &str) -> Vec<String> {
        let all = shelf.of("growth", monitor);
        all.iter().map(ResourceExt::name_any).collect()
    }

    #[test]
    fn pods_come_out_as_they_went_in_and_are_found_by_their_monitor_and_by_their_names() {
        let shelf = Pods::default();
        let put = |one: &Pod| shelf.put(&place(one).expect("of a window"), one);
        assert_eq!(put(&pod("churn", 120)), None);
        assert_eq!(put(&pod("churn", 60)), None);
        assert_eq!(put(&pod("churn-eu", 60)), None);
        assert_eq!(put(&pod("churn", 60)), Some(pod("churn", 60)));
        assert_eq!(
            names(&shelf, "churn"),
            ["churn-120-x7k2p", "churn-60-x7k2p"]
        );
        assert_eq!(shelf.of("growth", "churn-eu"), [pod("churn-eu", 60)]);
        for (name, there) in [
            ("churn-60-x7k2p", true),
            ("churn-eu-60-x7k2p", true),
            ("churn-60-other", false),
            ("churn-180-x7k2p", false),
            ("churn", false),
        ] {
            assert_eq!(shelf.find("growth", name).is_some(), there, "{name}");
            assert!(shelf.find("other", name).is_none(), "{name}");
        }
        let place = place(&pod("churn", 60)).expect("of a window");
        assert_eq!(shelf.take(&place, "churn-60-x7k2p"), Some(pod("churn", 60)));
        assert_eq!(shelf.take(&place, "churn-60-x7k2p"), None);
        assert_eq!(names(&shelf, "churn"), ["churn-120-x7k2p"]);
        shelf.take(&place, "churn-120-x7k2p");
        let left: Vec<_> = shelf.places().into_iter().map(|(_, of)| of).collect();
        assert_eq!(left, ["churn-eu"]);
    }

    /// Two thousand monitors have ten thousand of them.
    #[test]
    fn five_windows_of_a_monitor_take_less_than_one_in_a_store() {
        let shelf = Pods::default();
        for monitor in ["churn", "fraud"] {
            for number in 0..5 {
                let pod = pod(monitor, 1_800_000_000 + 3600 * number);
                shelf.put(&place(&pod).expect("of a window"), &pod);
            }
        }
        let state = shelf.state.read().expect("no holder panics");
        let bundle = &state.bundles[&("growth".to_owned(), "fraud".to_owned())];
        let bytes = bundle.text.len() + size_of_val(&*bundle.marks) + size_of::<Bundle>();
        assert!(bytes < 1000, "{bytes}");
    }
}
