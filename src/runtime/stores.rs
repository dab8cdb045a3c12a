//! All that a reconcile reads: caches, each filled by one watch.

use std::marker::PhantomData;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::resource::v1::ResourceClaimTemplate;
use k8s_openapi::api::scheduling::v1beta1::PodGroup;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::store::{Writer, WriterDropped};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::{Resource, ResourceExt};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use windlass_api::{DriftMonitor, ModelDeployment, ModelVersion, TrainingJob, labels};
use windlass_plan::modeldeployment::{HttpRoute, ScaledObject};
use windlass_plan::trainingjob::{KueueWorkload, VolcanoPodGroup};

use super::index::Index;
use super::kept::{Form, Packed};
use super::named::Named;
use super::shelf::Shelf;

/// A cache of one kind, with its index.
pub struct Cache<K, F: Form<K> = K> {
    /// The objects, as they are kept.
    pub store: Store<F>,
    /// Their names by what they are found by.
    pub index: Index,
    /// What has ended of monitors' windows: it is not in the store.
    pub(super) shelf: Shelf<K, F>,
    /// TrainingJobs, by namespace and name, of which what has ended is to be let go of.
    letting_go: UnboundedSender<(String, String)>,
    /// Wakes those who wait for something to be so in it.
    changed: Arc<Notify>,
    /// How many changes there were.
    changes: Arc<AtomicU64>,
    kind: PhantomData<fn() -> K>,
}

/// A cache of a kind that is kept packed.
pub type OurCache<K> = Cache<K, Packed<K>>;

impl<K, F: Form<K>> Clone for Cache<K, F> {
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            index: self.index.clone(),
            shelf: self.shelf.clone(),
            letting_go: self.letting_go.clone(),
            changed: self.changed.clone(),
            changes: self.changes.clone(),
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
            shelf: Shelf::default(),
            letting_go,
            changed: Arc::default(),
            changes: Arc::default(),
            kind: PhantomData,
        };
        (cache, writer, to_let_go)
    }

    /// An object by its name.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        let stored = self.stored(namespace, name).map(|kept| kept.object());
        stored.or_else(|| self.shelf.find(namespace, name).map(Arc::new))
    }

    /// An object as it is kept, by its name: enough to know who it is.
    pub fn kept(&self, namespace: &str, name: &str) -> Option<Arc<F>> {
        let shelved = || Some(Arc::new(F::keep(self.shelf.find(namespace, name)?).0));
        self.stored(namespace, name).or_else(shelved)
    }

    /// The same, of those that are kept by themselves.
    pub(super) fn stored(&self, namespace: &str, name: &str) -> Option<Arc<F>> {
        self.store.get(&ObjectRef::new(name).within(namespace))
    }

    /// The objects that carry a label, or of which something is so. What has ended of a window is found by its monitor alone.
    pub fn labelled(&self, namespace: &str, what: &'static str, value: &str) -> Vec<Arc<K>> {
        let names = self.index.names(namespace, what, value);
        let stored = names.iter().filter_map(|name| self.stored(namespace, name));
        let mut all: Vec<_> = stored.map(|kept| kept.object()).collect();
        if what == labels::MONITOR {
            let shelved = self.shelf.of(namespace, value);
            all.extend(shelved.into_iter().map(Arc::new));
        }
        all
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

    /// Namespaces and names of the objects of which something is so.
    pub fn names(&self, what: &'static str, value: &str) -> Vec<(String, String)> {
        self.index.everywhere(what, value)
    }

    /// The objects of all namespaces of which something is so.
    pub fn everywhere(&self, what: &'static str, value: &str) -> Vec<Arc<K>> {
        self.names(what, value)
            .iter()
            .filter_map(|(namespace, name)| self.get(namespace, name))
            .collect()
    }

    /// All objects of a namespace.
    pub(super) fn within(&self, namespace: &str) -> Vec<Arc<K>> {
        let is_there = |other: Option<String>| other.as_deref() == Some(namespace);
        let stored = self.store.state().into_iter();
        let stored = stored.filter(|kept| is_there(kept.namespace()));
        let mut all: Vec<_> = stored.map(|kept| kept.object()).collect();
        for (other, monitor) in self.shelf.places() {
            if other == namespace {
                all.extend(self.shelf.of(namespace, &monitor).into_iter().map(Arc::new));
            }
        }
        all
    }

    /// Wakes those who wait, after an object came, changed or went.
    pub fn has_changed(&self) {
        self.changes.fetch_add(1, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// How many changes there were.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Waits until something is so in it; whether it is.
    pub async fn until(&self, patience: Duration, is_so: impl Fn() -> bool) -> bool {
        let end = Instant::now() + patience;
        loop {
            // From here on no change is missed.
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if is_so() {
                return true;
            }
            if timeout_at(end, changed).await.is_err() {
                return is_so();
            }
        }
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
    pub jobs: OurCache<Job>,
    /// Pods of ours.
    pub pods: OurCache<Pod>,
    /// Services of ours.
    pub services: OurCache<Service>,
    /// Deployments of ours.
    pub deployments: OurCache<Deployment>,
    /// PodDisruptionBudgets of ours.
    pub pod_disruption_budgets: OurCache<PodDisruptionBudget>,
    /// HorizontalPodAutoscalers of ours.
    pub autoscalers: OurCache<HorizontalPodAutoscaler>,
    /// ScaledObjects of ours, where the cluster serves them.
    pub scaled_objects: Option<Cache<ScaledObject>>,
    /// HTTPRoutes of ours, where the cluster serves them.
    pub http_routes: Option<OurCache<HttpRoute>>,
    /// PodGroups of ours, where the cluster serves them.
    pub pod_groups: Option<Cache<PodGroup>>,
    /// PodGroups of Volcano's that are ours, where the cluster serves them.
    pub volcano_pod_groups: Option<Cache<VolcanoPodGroup>>,
    /// Kueue's Workloads, where the cluster serves them.
    pub workloads: Option<Cache<KueueWorkload>>,
    /// That claims are there.
    pub claims: Named<PartialObjectMeta<PersistentVolumeClaim>>,
    /// That service accounts are there.
    pub service_accounts: Named<PartialObjectMeta<ServiceAccount>>,
    /// What ResourceClaimTemplates ask for, where the cluster serves them.
    pub claim_templates: Option<Named<ResourceClaimTemplate>>,
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
        self.pod_disruption_budgets.store.wait_until_ready().await?;
        self.autoscalers.store.wait_until_ready().await?;
        if let Some(scaled) = &self.scaled_objects {
            scaled.store.wait_until_ready().await?;
        }
        self.claims.cache.store.wait_until_ready().await?;
        self.service_accounts.cache.store.wait_until_ready().await?;
        if let Some(routes) = &self.http_routes {
            routes.store.wait_until_ready().await?;
        }
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
            templates.cache.store.wait_until_ready().await?;
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
}
