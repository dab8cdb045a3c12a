//! How a cache keeps the objects of a kind.
//!
//! What there is a lot of, our own and what is made for them, is kept packed, less what nothing reads: that takes a
//! twentieth of the memory that their types do, of which a `PodSpec` without a single field takes two kilobytes. Most of what is written of an object is written of the others of its kind as well; it is kept once, as a
//! pattern for them.

use std::any::TypeId;
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::{Arc, LazyLock, Mutex};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::Resource;
use lz4_flex::block::{compress_prepend_size_with_dict, decompress_size_prepended_with_dict};
use serde::de::{DeserializeOwned, Deserializer};
use serde::{Deserialize, Serialize};
use windlass_api::{condition, is_true};
use windlass_plan::modeldeployment::HttpRoute;

use super::apply::Kind;
use super::index::labels_of;

/// What an object is found by: a label or one of the words below, and its value.
pub type Fact = (&'static str, String);

/// It is stalled. Without a value.
pub const STALLED: &str = "stalled";
/// The model that it is of.
pub const OF_MODEL: &str = "model";
/// The model that it is of, where its `spec.retention` may take it away.
pub const BOUNDED: &str = "bounded";
/// The ModelDeployment that it watches.
pub const OF_DEPLOYMENT: &str = "deployment";
/// What no two may share: a Gateway, and a host name and a path there.
pub const ENTRANCE: &str = "entrance";
/// It has workers, or a canary, under way, or a version that bakes. Without a value.
pub const UNDER_WAY: &str = "under way";
/// It has steps that another may take over. Without a value.
pub const HAS_STEPS: &str = "steps";

/// A fact without a value.
pub fn so(what: &'static str) -> Fact {
    (what, String::new())
}

/// A kind that is kept packed.
pub trait Ours: Kind {
    /// What is so with it, by its status; of our four kinds.
    fn conditions(&self) -> &[Condition] {
        &[]
    }

    /// What it is found by, beside its labels and that it is stalled.
    fn facts(&self) -> Vec<Fact> {
        Vec::new()
    }

    /// Whether nothing more will be done for it, so that what was made for it need not be remembered.
    fn is_finished(&self) -> bool {
        false
    }
}

impl Ours for Job {}
impl Ours for Pod {}
impl Ours for Deployment {}
impl Ours for Service {}
impl Ours for PodDisruptionBudget {}
impl Ours for HttpRoute {}
impl Ours for HorizontalPodAutoscaler {}

/// The form in which a cache keeps objects `K`.
pub trait Form<K>: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + 'static {
    /// Brings an object into this form; and the object itself, where it would have to be made anew.
    fn keep(object: K) -> (Self, Option<Arc<K>>);
    /// The object itself.
    fn object(self: &Arc<Self>) -> Arc<K>;
    /// What the object is found by.
    fn found_by(&self) -> Cow<'_, [Fact]>;
    /// Several objects as one text.
    fn together(objects: &[&K]) -> Text;
    /// The objects of such a text.
    fn apart(text: &Text) -> Vec<K>;
    /// Whether another state of it differs in no more than that one is the later; absent where that takes the objects
    /// themselves.
    fn is_same(&self, _other: &Self) -> Option<bool> {
        None
    }
}

/// As it is.
impl<K> Form<K> for K
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize,
    K: Send + Sync + 'static,
{
    fn keep(object: K) -> (Self, Option<Arc<K>>) {
        (object, None)
    }

    fn object(self: &Arc<Self>) -> Arc<K> {
        self.clone()
    }

    fn found_by(&self) -> Cow<'_, [Fact]> {
        labels_of(self).into()
    }

    fn together(objects: &[&K]) -> Text {
        Text::of::<Vec<K>>(objects)
    }

    fn apart(text: &Text) -> Vec<K> {
        text.read()
    }
}

/// Bytes of a pattern at most.
const PATTERN: usize = 16 * 1024;

/// For each kind the text of the object that was the longest when it was packed.
static PATTERNS: LazyLock<Mutex<HashMap<TypeId, Arc<[u8]>>>> = LazyLock::new(Mutex::default);

/// A compressed text: what objects are written as.
#[derive(Clone, Debug)]
pub struct Text {
    bytes: Box<[u8]>,
    pattern: Arc<[u8]>,
}

impl Text {
    /// What is written as an object of kind `K` is, compressed with the pattern of that kind.
    fn of<K: 'static>(object: &(impl Serialize + ?Sized)) -> Self {
        let text = serde_json::to_vec(object).expect("an object always serializes");
        let pattern = pattern::<K>(&text);
        let bytes = compress_prepend_size_with_dict(&text, &pattern);
        // A piece of memory of just its size, where there is one: it stays for long, among what does not.
        let bytes = Box::from(&*bytes);
        Self { bytes, pattern }
    }

    fn read<K: DeserializeOwned>(&self) -> K {
        let text = decompress_size_prepended_with_dict(&self.bytes, &self.pattern)
            .expect("it was compressed here");
        serde_json::from_slice(&text).expect("it was read from what it is written as")
    }

    fn is_same(&self, other: &Self) -> bool {
        self.bytes == other.bytes && Arc::ptr_eq(&self.pattern, &other.pattern)
    }

    /// Bytes that are its own.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// What a text of a kind is written as differences from. It is another only where the text is much longer than all that
/// were before it, so that there are few.
fn pattern<K: 'static>(text: &[u8]) -> Arc<[u8]> {
    let text = &text[..text.len().min(PATTERN)];
    let mut patterns = PATTERNS.lock().expect("no holder panics");
    let pattern = patterns.entry(TypeId::of::<K>()).or_default();
    if text.len() > pattern.len() + pattern.len() / 4 {
        *pattern = text.into();
    }
    pattern.clone()
}

/// An object as compressed text, beside what is asked of it most: who it is, and whether it stays. Of its metadata no more
/// than that is beside the text.
pub struct Packed<K> {
    meta: ObjectMeta,
    is_finished: bool,
    found_by: Box<[Fact]>,
    text: Text,
    kind: PhantomData<fn() -> K>,
}

impl<K: Ours> Packed<K> {
    /// Whether nothing more will be done for it.
    pub fn is_finished(&self) -> bool {
        self.is_finished
    }

    fn of(object: &mut K) -> Self {
        // It is kept once, beside the text, which so stays the same while nothing else changes.
        let resource_version = object.meta_mut().resource_version.take();
        let text = Text::of::<K>(object);
        object.meta_mut().resource_version = resource_version;
        let meta = object.meta();
        let mut found_by = labels_of(&*object);
        found_by.extend(object.facts());
        let is_stalled = is_true(object.conditions(), condition::STALLED);
        found_by.extend(is_stalled.then(|| so(STALLED)));
        Self {
            meta: ObjectMeta {
                name: meta.name.clone(),
                namespace: meta.namespace.clone(),
                uid: meta.uid.clone(),
                resource_version: meta.resource_version.clone(),
                deletion_timestamp: meta.deletion_timestamp.clone(),
                ..ObjectMeta::default()
            },
            is_finished: object.is_finished(),
            found_by: found_by.into(),
            text,
            kind: PhantomData,
        }
    }

    fn unpack(&self) -> K {
        let mut object: K = self.text.read();
        let resource_version = &mut object.meta_mut().resource_version;
        resource_version.clone_from(&self.meta.resource_version);
        object
    }
}

impl<K: Ours> Form<K> for Packed<K> {
    fn keep(mut object: K) -> (Self, Option<Arc<K>>) {
        (Self::of(&mut object), Some(Arc::new(object)))
    }

    fn object(self: &Arc<Self>) -> Arc<K> {
        Arc::new(self.unpack())
    }

    fn found_by(&self) -> Cow<'_, [Fact]> {
        Cow::Borrowed(&self.found_by)
    }

    fn is_same(&self, other: &Self) -> Option<bool> {
        Some(self.text.is_same(&other.text))
    }

    fn together(objects: &[&K]) -> Text {
        Text::of::<Vec<K>>(objects)
    }

    fn apart(text: &Text) -> Vec<K> {
        text.read()
    }
}

impl<K> Clone for Packed<K> {
    fn clone(&self) -> Self {
        Self {
            meta: self.meta.clone(),
            is_finished: self.is_finished,
            found_by: self.found_by.clone(),
            text: self.text.clone(),
            kind: PhantomData,
        }
    }
}

impl<K> Debug for Packed<K> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (namespace, name) = (&self.meta.namespace, &self.meta.name);
        write!(formatter, "Packed({namespace:?}, {name:?})")
    }
}

/// kube's controller is one of kinds that can be read; this one is read as the kind that it packs.
impl<'de, K: Ours> Deserialize<'de> for Packed<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        K::deserialize(deserializer).map(|mut object| Self::of(&mut object))
    }
}

impl<K: Ours> Resource for Packed<K> {
    type DynamicType = ();
    type Scope = K::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        K::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        K::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        K::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        K::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(version: &str, phase: &str) -> Packed<Pod> {
        let pod = serde_json::json!({
            "metadata": {"name": "a-1-0", "namespace": "growth", "resourceVersion": version},
            "status": {"phase": phase},
        });
        let pod: Pod = serde_json::from_value(pod).expect("a pod");
        Form::keep(pod).0
    }

    #[test]
    fn a_later_state_is_the_same_where_nothing_else_differs() {
        let kept = pod("1", "Pending");
        let is_same = |other: &Packed<Pod>| Form::<Pod>::is_same(&kept, other);
        assert_eq!(is_same(&pod("2", "Pending")), Some(true));
        assert_eq!(is_same(&pod("1", "Running")), Some(false));
    }

    #[test]
    fn what_objects_have_in_common_is_kept_once() {
        let pod = |number: usize| {
            let arguments: Vec<String> = (0..100)
                .map(|one| format!("{one:x}.{}", one * one))
                .collect();
            let pod = serde_json::json!({
                "metadata": {"name": format!("a-{number}"), "resourceVersion": "7"},
                "spec": {"containers": [{"name": "trainer", "args": arguments}]},
            });
            serde_json::from_value::<Pod>(pod).expect("a pod")
        };
        let packed = |number| Arc::new(Packed::of(&mut pod(number)));
        let (_first, second) = (packed(1), packed(2));
        assert!(second.text.len() < 100, "{} bytes", second.text.len());
        assert_eq!(second.unpack(), pod(2));
    }

    #[test]
    fn a_pod_comes_out_as_it_went_in() {
        let kept = Arc::new(pod("7", "Running"));
        let pod: Arc<Pod> = kept.object();
        assert_eq!(pod.metadata.resource_version.as_deref(), Some("7"));
        assert_eq!(kept.meta().resource_version.as_deref(), Some("7"));
        let phase = pod
            .status
            .as_ref()
            .and_then(|status| status.phase.as_deref());
        assert_eq!(phase, Some("Running"));
    }
}
