//! One watch a kind, and which objects each change is news for.

use std::fmt::Debug;
use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::future::{BoxFuture, FutureExt, join_all};
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{Container, PersistentVolumeClaim, Pod, PodSpec, ServiceAccount};
use kube::api::Api;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::reflector::{self, ObjectRef, store::Writer};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use windlass_api::{DriftMonitor, ModelDeployment, ModelVersion, TrainingJob, labels};

use super::index::Index;
use super::metrics::Metrics;
use super::stores::{Cache, Stores};

/// What each controller is to look at.
pub struct Triggers {
    /// TrainingJobs.
    pub training_jobs: UnboundedReceiver<ObjectRef<TrainingJob>>,
    /// ModelVersions.
    pub model_versions: UnboundedReceiver<ObjectRef<ModelVersion>>,
    /// ModelDeployments.
    pub model_deployments: UnboundedReceiver<ObjectRef<ModelDeployment>>,
    /// DriftMonitors.
    pub drift_monitors: UnboundedReceiver<ObjectRef<DriftMonitor>>,
    open: Arc<AtomicBool>,
}

impl Triggers {
    /// From now on triggers are taken out. What happened before is seen by looking at everything once.
    pub fn open(&self) {
        self.open.store(true, Ordering::Release);
    }
}

#[derive(Clone)]
struct Senders {
    training_jobs: Sender<TrainingJob>,
    model_versions: Sender<ModelVersion>,
    model_deployments: Sender<ModelDeployment>,
    drift_monitors: Sender<DriftMonitor>,
}

/// A sender of triggers for one kind, shut until this replica leads: until then nobody would take them out.
struct Sender<K: Resource<DynamicType = ()>> {
    open: Arc<AtomicBool>,
    channel: UnboundedSender<ObjectRef<K>>,
}

impl<K: Resource<DynamicType = ()>> Clone for Sender<K> {
    fn clone(&self) -> Self {
        Self {
            open: self.open.clone(),
            channel: self.channel.clone(),
        }
    }
}

fn send<K: Resource<DynamicType = ()>>(sender: &Sender<K>, name: &str, namespace: &str) {
    if sender.open.load(Ordering::Acquire) {
        // The receiver is gone only while the process ends.
        let _ = sender
            .channel
            .unbounded_send(ObjectRef::new(name).within(namespace));
    }
}

impl Senders {
    /// A child is news for whatever its labels name.
    fn child<K: ResourceExt>(&self, child: &K) {
        let namespace = child.namespace().unwrap_or_default();
        let label = |name: &str| child.labels().get(name).map(String::as_str);
        match label(labels::ROLE) {
            Some("training") => label(labels::TRAINING_JOB)
                .into_iter()
                .for_each(|name| send(&self.training_jobs, name, &namespace)),
            Some("validation") => label(labels::VERSION)
                .into_iter()
                .for_each(|name| send(&self.model_versions, name, &namespace)),
            Some("serving") => label(labels::DEPLOYMENT)
                .into_iter()
                .for_each(|name| send(&self.model_deployments, name, &namespace)),
            Some("drift") => label(labels::MONITOR)
                .into_iter()
                .for_each(|name| send(&self.drift_monitors, name, &namespace)),
            _ => {}
        }
    }

    fn training_job(&self, job: &TrainingJob) {
        let namespace = job.namespace().unwrap_or_default();
        send(&self.training_jobs, &job.name_any(), &namespace);
        if let Some(monitor) = job.labels().get(labels::MONITOR) {
            send(&self.drift_monitors, monitor, &namespace);
        }
    }

    fn model_version(&self, version: &ModelVersion, stores: &Stores) {
        let namespace = version.namespace().unwrap_or_default();
        send(&self.model_versions, &version.name_any(), &namespace);
        if let Some(by) = &version.spec.trained_by {
            send(&self.training_jobs, &by.name, &namespace);
        }
        for deployment in stores.model_deployments.store.state() {
            if deployment.namespace().as_deref() == Some(&namespace)
                && deployment.spec.model == version.spec.model
            {
                self.model_deployment(&deployment, stores);
            }
        }
    }

    fn model_deployment(&self, deployment: &ModelDeployment, stores: &Stores) {
        let namespace = deployment.namespace().unwrap_or_default();
        send(&self.model_deployments, &deployment.name_any(), &namespace);
        for monitor in stores.drift_monitors.store.state() {
            if monitor.namespace().as_deref() == Some(&namespace)
                && monitor.spec.deployment == deployment.name_any()
            {
                send(&self.drift_monitors, &monitor.name_any(), &namespace);
            }
        }
    }

    /// A claim or an account may be what an object waits for; only those that are stalled ask.
    fn namespace(&self, namespace: &str, stores: &Stores) {
        fn stalled<K: ResourceExt>(
            object: &K,
            namespace: &str,
            conditions: Option<&[k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition]>,
        ) -> bool {
            object.namespace().as_deref() == Some(namespace)
                && conditions
                    .is_some_and(|all| windlass_api::is_true(all, windlass_api::condition::STALLED))
        }
        for job in stores.training_jobs.store.state() {
            if stalled(
                &*job,
                namespace,
                job.status.as_ref().map(|status| &*status.conditions),
            ) {
                send(&self.training_jobs, &job.name_any(), namespace);
            }
        }
        for version in stores.model_versions.store.state() {
            if stalled(
                &*version,
                namespace,
                version.status.as_ref().map(|status| &*status.conditions),
            ) {
                send(&self.model_versions, &version.name_any(), namespace);
            }
        }
        for deployment in stores.model_deployments.store.state() {
            if stalled(
                &*deployment,
                namespace,
                deployment.status.as_ref().map(|status| &*status.conditions),
            ) {
                send(&self.model_deployments, &deployment.name_any(), namespace);
            }
        }
        for monitor in stores.drift_monitors.store.state() {
            if stalled(
                &*monitor,
                namespace,
                monitor.status.as_ref().map(|status| &*status.conditions),
            ) {
                send(&self.drift_monitors, &monitor.name_any(), namespace);
            }
        }
    }
}

struct Starting {
    client: Client,
    metrics: Metrics,
    running: Vec<Run>,
}

type Run = Box<dyn FnOnce(Stores, Senders) -> BoxFuture<'static, ()> + Send>;
type Touch<K> = fn(&Senders, &K, &Stores);

/// Builds the stores and the watches that fill them.
pub fn start(
    client: &Client,
    native_gangs: bool,
    metrics: Metrics,
) -> (Stores, impl Future<Output = ()> + Send + use<>, Triggers) {
    let mut starting = Starting {
        client: client.clone(),
        metrics,
        running: Vec::new(),
    };
    let stores = Stores {
        training_jobs: starting.ours(|senders, job, _| senders.training_job(job)),
        model_versions: starting.ours(Senders::model_version),
        model_deployments: starting.ours(Senders::model_deployment),
        drift_monitors: starting.ours(|senders, monitor, _| {
            send(
                &senders.drift_monitors,
                &monitor.name_any(),
                &monitor.namespace().unwrap_or_default(),
            );
        }),
        jobs: starting.children(|_| {}),
        pods: starting.children(trim_pod),
        services: starting.children(|_| {}),
        deployments: starting.children(|_| {}),
        pod_groups: native_gangs.then(|| starting.children(|_| {})),
        claims: starting.presence::<PersistentVolumeClaim>(),
        service_accounts: starting.presence::<ServiceAccount>(),
    };
    let (senders, triggers) = channels();
    let all: Vec<_> = starting
        .running
        .into_iter()
        .map(|run| run(stores.clone(), senders.clone()))
        .collect();
    (stores, join_all(all).map(|_| ()), triggers)
}

fn channels() -> (Senders, Triggers) {
    let open = Arc::new(AtomicBool::new(false));
    let (training_jobs, for_training_jobs) = unbounded();
    let (model_versions, for_model_versions) = unbounded();
    let (model_deployments, for_model_deployments) = unbounded();
    let (drift_monitors, for_drift_monitors) = unbounded();
    (
        Senders {
            training_jobs: Sender {
                open: open.clone(),
                channel: training_jobs,
            },
            model_versions: Sender {
                open: open.clone(),
                channel: model_versions,
            },
            model_deployments: Sender {
                open: open.clone(),
                channel: model_deployments,
            },
            drift_monitors: Sender {
                open: open.clone(),
                channel: drift_monitors,
            },
        },
        Triggers {
            training_jobs: for_training_jobs,
            model_versions: for_model_versions,
            model_deployments: for_model_deployments,
            drift_monitors: for_drift_monitors,
            open,
        },
    )
}

impl Starting {
    /// A watch of one of our four kinds; one that cannot be read holds up no other.
    fn ours<K>(&mut self, touch: Touch<K>) -> Cache<K>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let api: Api<DeserializeGuard<K>> = Api::all(self.client.clone());
        let metrics = self.metrics.clone();
        let stream = watch(api, watcher::Config::default().any_semantic())
            .default_backoff()
            .filter_map(move |event| ready(readable(event, &metrics)));
        self.add(stream, touch)
    }

    /// A watch of the children of a kind, less what nothing reads.
    fn children<K>(&mut self, trim: fn(&mut K)) -> Cache<K>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let config = watcher::Config::default()
            .labels(&format!("{}=windlass", labels::MANAGED_BY))
            .any_semantic();
        let stream = watch(Api::<K>::all(self.client.clone()), config)
            .default_backoff()
            .modify(move |object| {
                object.managed_fields_mut().clear();
                trim(object);
            });
        self.add(stream, |senders, child, _| senders.child(child))
    }

    /// A watch of metadata only: that something is there.
    fn presence<K>(&mut self) -> Cache<PartialObjectMeta<K>>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let stream = watch(
            Api::<PartialObjectMeta<K>>::all(self.client.clone()),
            watcher::Config::default().any_semantic(),
        )
        .default_backoff()
        .modify(|object| {
            object.managed_fields_mut().clear();
            object.annotations_mut().clear();
        });
        self.add(stream, |senders, object, stores| {
            senders.namespace(&object.namespace().unwrap_or_default(), stores);
        })
    }

    fn add<K>(
        &mut self,
        stream: impl Stream<Item = watcher::Result<Event<K>>> + Send + 'static,
        touch: Touch<K>,
    ) -> Cache<K>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + 'static,
    {
        let (store, writer) = reflector::store();
        let index = Index::default();
        let cache = Cache { store, index };
        let (mine, metrics) = (cache.clone(), self.metrics.clone());
        let run = move |stores: Stores, senders: Senders| {
            follow(stream, writer, mine, metrics, move |object: &K| {
                touch(&senders, object, &stores);
            })
            .boxed()
        };
        self.running.push(Box::new(run));
        cache
    }
}

/// Fills a store from a watch, and tells whom it concerns, after the store shows it.
async fn follow<K>(
    stream: impl Stream<Item = watcher::Result<Event<K>>> + Send,
    mut writer: Writer<K>,
    cache: Cache<K>,
    metrics: Metrics,
    touch: impl Fn(&K) + Send,
) where
    K: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + 'static,
{
    let kind = K::kind(&()).into_owned();
    let mut stream = std::pin::pin!(stream);
    while let Some(event) = stream.next().await {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                metrics.watch_failed(&kind);
                tracing::warn!(kind, %error, "a watch failed and is taken up again");
                continue;
            }
        };
        if let Event::Apply(object) | Event::InitApply(object) = &event {
            cache.index.insert(object);
        }
        writer.apply_watcher_event(&event);
        match &event {
            Event::Apply(object) => touch(object),
            Event::Delete(object) => {
                cache.index.remove(object);
                touch(object);
            }
            // What changed while the watch was away is seen only by looking at everything once.
            Event::InitDone => cache
                .store
                .state()
                .iter()
                .for_each(|object: &Arc<K>| touch(object)),
            Event::Init | Event::InitApply(_) => {}
        }
    }
}

/// Of what a pod was asked to be, its containers' names are read; the rest is most of it.
fn trim_pod(pod: &mut Pod) {
    if let Some(spec) = &mut pod.spec {
        let name = |container: Container| Container {
            name: container.name,
            ..Container::default()
        };
        *spec = PodSpec {
            containers: std::mem::take(&mut spec.containers)
                .into_iter()
                .map(name)
                .collect(),
            ..PodSpec::default()
        };
    }
    pod.annotations_mut().clear();
}

/// Takes objects that cannot be read out of a watch, and says so.
fn readable<K: Resource<DynamicType = ()>>(
    event: watcher::Result<Event<DeserializeGuard<K>>>,
    metrics: &Metrics,
) -> Option<watcher::Result<Event<K>>> {
    let read = |guard: DeserializeGuard<K>| match guard.0 {
        Ok(mut object) => {
            // Who owns which field is a large part of an object, and nothing reads it here.
            object.managed_fields_mut().clear();
            Some(object)
        }
        Err(invalid) => {
            let kind = K::kind(&()).into_owned();
            metrics.unreadable(&kind);
            tracing::error!(kind, namespace = ?invalid.metadata.namespace, name = ?invalid.metadata.name, error = invalid.error, "an object cannot be read and is left alone");
            None
        }
    };
    Some(Ok(match event {
        Ok(Event::Apply(guard)) => Event::Apply(read(guard)?),
        Ok(Event::InitApply(guard)) => Event::InitApply(read(guard)?),
        Ok(Event::Delete(guard)) => Event::Delete(read(guard)?),
        Ok(Event::Init) => Event::Init,
        Ok(Event::InitDone) => Event::InitDone,
        Err(error) => return Some(Err(error)),
    }))
}
