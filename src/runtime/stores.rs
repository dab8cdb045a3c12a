//! All that a reconcile reads: caches, each filled by one watch.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hash;
use std::marker::PhantomData;
use std::sync::Arc;

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Service, ServiceAccount};
use k8s_openapi::api::resource::v1::ResourceClaimTemplate;
use k8s_openapi::api::scheduling::v1beta1::PodGroup;
use kube::Resource;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::store::{Writer, WriterDropped};
use kube::runtime::reflector::{self, ObjectRef, Store};
use windlass_api::{DriftMonitor, ModelDeployment, ModelVersion, TrainingJob};
use windlass_plan::gpus::claims::{self, Devices};
use windlass_plan::trainingjob::{KueueWorkload, VolcanoPodGroup};

use super::index::Index;
use super::kept::{Form, Packed};

/// A cache of one kind, with its index.
pub struct Cache<K, F: Form<K> = K> {
    /// The objects, as they are kept.
    pub store: Store<F>,
    /// Their names by what they are found by.
    pub index: Index,
    /// TrainingJobs, by namespace and name, of which what has ended is to be let go of.
    letting_go: UnboundedSender<(String, String)>,
    kind: PhantomData<fn() -> K>,
}

/// A cache of one of our kinds.
pub type OurCache<K> = Cache<K, Packed<K>>;

impl<K, F: Form<K>> Clone for Cache<K, F> {
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            index: self.index.clone(),
            letting_go: self.letting_go.clone(),
            kind: PhantomData,
        }
    }
}

impl<K: Resource, F: Form<K>> Cache<K, F> {
    /// An empty cache, what fills it, and the TrainingJobs of which it is to let go.
    pub fn new() -> (Self, Writer<F>, UnboundedReceiver<(String, String)>) {
        let (store, writer) = reflector::store();
        let (letting_go, to_let_go) = unbounded();
        let cache = Self {
            store,
            index: Index::default(),
            letting_go,
            kind: PhantomData,
        };
        (cache, writer, to_let_go)
    }

    /// An object by its name.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.kept(namespace, name).map(|kept| kept.object())
    }

    /// An object as it is kept, by its name: enough to know who it is.
    pub fn kept(&self, namespace: &str, name: &str) -> Option<Arc<F>> {
        self.store.get(&ObjectRef::new(name).within(namespace))
    }

    /// The objects that carry a label, or of which something is so.
    pub fn labelled(&self, namespace: &str, what: &'static str, value: &str) -> Vec<Arc<K>> {
        self.index
            .names(namespace, what, value)
            .iter()
            .filter_map(|name| self.get(namespace, name))
            .collect()
    }

    /// The objects that carry a label and belong to the object with this uid.
    pub fn owned(
        &self,
        namespace: &str,
        label: &'static str,
        value: &str,
        uid: &str,
    ) -> Vec<Arc<K>> {
        let mut all = self.labelled(namespace, label, value);
        all.retain(|object| is_owned_by(&**object, uid));
        all
    }

    /// The objects of all namespaces of which something is so.
    pub fn everywhere(&self, what: &'static str, value: &str) -> Vec<Arc<K>> {
        self.index
            .everywhere(what, value)
            .iter()
            .filter_map(|(namespace, name)| self.get(namespace, name))
            .collect()
    }

    /// Forgets, soon, what has ended of a TrainingJob that is finished.
    pub fn let_go(&self, namespace: &str, training_job: &str) {
        // The other end is gone only while the process ends.
        let _ = self
            .letting_go
            .unbounded_send((namespace.to_owned(), training_job.to_owned()));
    }
}

/// Whether an object belongs to the one with this uid.
pub fn is_owned_by(object: &impl Resource, uid: &str) -> bool {
    let mut owners = object.meta().owner_references.iter().flatten();
    owners.any(|owner| owner.uid == uid)
}

/// Whether an object belongs to one of these.
pub fn is_owned_by_any<'a, K: Resource + 'a>(
    object: &impl Resource,
    owners: impl IntoIterator<Item = &'a Arc<K>>,
) -> bool {
    owners.into_iter().any(|owner| {
        let uid = owner.meta().uid.as_deref();
        uid.is_some_and(|uid| is_owned_by(object, uid))
    })
}

/// The caches.
#[derive(Clone)]
pub struct Stores {
    /// TrainingJobs.
    pub training_jobs: OurCache<TrainingJob>,
    /// ModelVersions.
    pub model_versions: OurCache<ModelVersion>,
    /// ModelDeployments.
    pub model_deployments: OurCache<ModelDeployment>,
    /// DriftMonitors.
    pub drift_monitors: OurCache<DriftMonitor>,
    /// Jobs of ours.
    pub jobs: Cache<Job>,
    /// Pods of ours.
    pub pods: Cache<Pod>,
    /// Services of ours.
    pub services: Cache<Service>,
    /// Deployments of ours.
    pub deployments: Cache<Deployment>,
    /// PodGroups of ours, where the cluster serves them.
    pub pod_groups: Option<Cache<PodGroup>>,
    /// PodGroups of Volcano's that are ours, where the cluster serves them.
    pub volcano_pod_groups: Option<Cache<VolcanoPodGroup>>,
    /// Kueue's Workloads, where the cluster serves them.
    pub workloads: Option<Cache<KueueWorkload>>,
    /// That claims are there.
    pub claims: Cache<PartialObjectMeta<PersistentVolumeClaim>>,
    /// That service accounts are there.
    pub service_accounts: Cache<PartialObjectMeta<ServiceAccount>>,
    /// What ResourceClaimTemplates ask for, where the cluster serves them.
    pub claim_templates: Option<Cache<ResourceClaimTemplate>>,
}

impl Stores {
    /// Waits until every cache has been filled once.
    pub async fn wait_until_ready(&self) -> Result<(), WriterDropped> {
        self.training_jobs.store.wait_until_ready().await?;
        self.model_versions.store.wait_until_ready().await?;
        self.model_deployments.store.wait_until_ready().await?;
        self.drift_monitors.store.wait_until_ready().await?;
        self.jobs.store.wait_until_ready().await?;
        self.pods.store.wait_until_ready().await?;
        self.services.store.wait_until_ready().await?;
        self.deployments.store.wait_until_ready().await?;
        self.claims.store.wait_until_ready().await?;
        self.service_accounts.store.wait_until_ready().await?;
        if let Some(pod_groups) = &self.pod_groups {
            pod_groups.store.wait_until_ready().await?;
        }
        if let Some(workloads) = &self.workloads {
            workloads.store.wait_until_ready().await?;
        }
        if let Some(pod_groups) = &self.volcano_pod_groups {
            pod_groups.store.wait_until_ready().await?;
        }
        if let Some(templates) = &self.claim_templates {
            templates.store.wait_until_ready().await?;
        }
        Ok(())
    }

    /// Forgets what a finished TrainingJob leaves behind: nothing more is decided on it.
    pub fn let_go_of(&self, namespace: &str, training_job: &str) {
        self.jobs.let_go(namespace, training_job);
        self.pods.let_go(namespace, training_job);
        self.services.let_go(namespace, training_job);
        if let Some(pod_groups) = &self.pod_groups {
            pod_groups.let_go(namespace, training_job);
        }
        if let Some(pod_groups) = &self.volcano_pod_groups {
            pod_groups.let_go(namespace, training_job);
        }
    }

    /// Names of all claims in a namespace.
    pub fn claims_in(&self, namespace: &str) -> BTreeSet<String> {
        names_in(&self.claims.store, namespace)
    }

    /// Names of all service accounts in a namespace.
    pub fn service_accounts_in(&self, namespace: &str) -> BTreeSet<String> {
        names_in(&self.service_accounts.store, namespace)
    }

    /// All ResourceClaimTemplates in a namespace by name, each with the devices that it asks for.
    pub fn claim_templates_in(&self, namespace: &str) -> BTreeMap<String, Devices> {
        let templates = self.claim_templates.iter();
        templates
            .flat_map(|cache| there_in(&cache.store, namespace))
            .filter_map(|template| {
                Some((template.metadata.name.clone()?, claims::devices(&template)))
            })
            .collect()
    }
}

fn names_in<K>(store: &Store<K>, namespace: &str) -> BTreeSet<String>
where
    K: Resource + Clone + 'static,
    K::DynamicType: Eq + Hash + Clone,
{
    there_in(store, namespace)
        .into_iter()
        .filter_map(|object| object.meta().name.clone())
        .collect()
}

/// The objects of a namespace that are there and are not being deleted.
fn there_in<K>(store: &Store<K>, namespace: &str) -> Vec<Arc<K>>
where
    K: Resource + Clone + 'static,
    K::DynamicType: Eq + Hash + Clone,
{
    let mut all = store.state();
    all.retain(|object| {
        object.meta().namespace.as_deref() == Some(namespace)
            && object.meta().deletion_timestamp.is_none()
    });
    all
}
