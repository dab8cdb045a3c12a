//! What manifests name and others make: what of it a namespace has, put together once and kept until something changes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use k8s_openapi::api::resource::v1::ResourceClaimTemplate;
use kube::Resource;
use kube::core::PartialObjectMeta;
use serde::Serialize;
use serde::de::DeserializeOwned;
use windlass_plan::gpus::claims::{self, Devices};

use super::stores::Cache;

/// Objects of a kind, those of each namespace together.
pub struct Named<K: Together> {
    /// The objects.
    pub cache: Cache<K>,
    all: Arc<Mutex<All<K::Whole>>>,
}

/// A kind of which the objects of a namespace are looked at together.
pub trait Together:
    Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize + Send + Sync + 'static
{
    /// What they are together.
    type Whole: Send + Sync + 'static;
    /// Puts those together that are there.
    fn together(all: &[Arc<Self>]) -> Self::Whole;
}

/// Names.
impl<K> Together for PartialObjectMeta<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize,
    K: Send + Sync + 'static,
{
    type Whole = BTreeSet<String>;

    fn together(all: &[Arc<Self>]) -> BTreeSet<String> {
        let names = all.iter().filter_map(|object| object.metadata.name.clone());
        names.collect()
    }
}

/// Names, each with the devices that are asked for.
impl Together for ResourceClaimTemplate {
    type Whole = BTreeMap<String, Devices>;

    fn together(all: &[Arc<Self>]) -> BTreeMap<String, Devices> {
        let named = |template: &Arc<Self>| {
            let name = template.metadata.name.clone()?;
            Some((name, claims::devices(template)))
        };
        all.iter().filter_map(named).collect()
    }
}

/// What was put together, by namespace, when there had been so many changes.
struct All<W> {
    changes: u64,
    of: HashMap<String, Arc<W>>,
}

impl<K: Together> Named<K> {
    /// Of a cache.
    pub fn new(cache: Cache<K>) -> Self {
        let all = All {
            changes: 0,
            of: HashMap::new(),
        };
        Self {
            cache,
            all: Arc::new(Mutex::new(all)),
        }
    }

    /// What a namespace has of it, less what is being deleted.
    pub fn within(&self, namespace: &str) -> Arc<K::Whole> {
        // Asked first: what changes from here on is seen the next time.
        let changes = self.cache.changes();
        let mut all = self.all.lock().expect("no holder panics");
        if all.changes != changes {
            all.of.clear();
            all.changes = changes;
        }
        if let Some(whole) = all.of.get(namespace) {
            return whole.clone();
        }
        let mut there = self.cache.store.state();
        there.retain(|object| {
            object.meta().namespace.as_deref() == Some(namespace)
                && object.meta().deletion_timestamp.is_none()
        });
        let whole = Arc::new(K::together(&there));
        all.of.insert(namespace.to_owned(), whole.clone());
        whole
    }
}

impl<K: Together> Clone for Named<K> {
    fn clone(&self) -> Self {
        Self {
            cache: self.cache.clone(),
            all: self.all.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::PersistentVolumeClaim;
    use kube::runtime::watcher::Event;

    use super::*;

    #[test]
    fn what_a_namespace_has_is_what_the_cache_has_now() {
        let (cache, mut writer, _) = Cache::<PartialObjectMeta<PersistentVolumeClaim>>::new();
        let named = Named::new(cache.clone());
        let claim = |name: &str, namespace: &str| {
            let mut claim = PartialObjectMeta::<PersistentVolumeClaim>::default();
            claim.metadata.name = Some(name.to_owned());
            claim.metadata.namespace = Some(namespace.to_owned());
            claim
        };
        let mut tell = |event: Event<PartialObjectMeta<PersistentVolumeClaim>>| {
            writer.apply_watcher_event(&event);
            cache.has_changed();
        };
        let there = |namespace: &str| {
            let all: Vec<String> = named.within(namespace).iter().cloned().collect();
            all.join(" ")
        };
        assert_eq!(there("growth"), "");
        tell(Event::Apply(claim("models", "growth")));
        tell(Event::Apply(claim("events", "growth")));
        tell(Event::Apply(claim("other", "elsewhere")));
        assert_eq!(there("growth"), "events models");
        assert!(Arc::ptr_eq(
            &named.within("growth"),
            &named.within("growth")
        ));
        tell(Event::Delete(claim("models", "growth")));
        assert_eq!(there("growth"), "events");
        let mut leaving = claim("events", "growth");
        leaving.metadata.deletion_timestamp = Some(
            k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(jiff::Timestamp::UNIX_EPOCH),
        );
        tell(Event::Apply(leaving));
        assert_eq!(there("growth"), "");
    }
}
