//! One watch a kind: what it brings goes into the store first, and is then told to those that it is news for.

use std::fmt::Debug;
use std::future::ready;

use futures::future::{BoxFuture, FutureExt, join_all};
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{Container, PersistentVolumeClaim, Pod, PodSpec, ServiceAccount};
use k8s_openapi::api::resource::v1::ResourceClaimTemplate;
use kube::api::Api;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::reflector::{self, ObjectRef, store::Writer};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use windlass_api::labels;
use windlass_plan::gpus::claims::{self, DeviceClaims};
use windlass_plan::trainingjob::{KueueWorkload, Schedulers};

use super::index::Index;
use super::metrics::Metrics;
use super::stores::{Cache, Stores};
use super::triggers::{Senders, Triggers, channels};

struct Starting {
    client: Client,
    metrics: Metrics,
    running: Vec<Run>,
}

/// Objects of a page of a list.
const PAGE: u32 = 50;

type Run = Box<dyn FnOnce(Stores, Senders) -> BoxFuture<'static, ()> + Send>;
type Touch<K> = fn(&Senders, &K, &Stores);

/// Builds the stores and the watches that fill them.
pub fn start(
    client: &Client,
    schedulers: &Schedulers,
    metrics: Metrics,
) -> (
    Stores,
    impl Future<Output = ()> + Send + use<>,
    Senders,
    Triggers,
) {
    let mut starting = Starting {
        client: client.clone(),
        metrics,
        running: Vec::new(),
    };
    let stores = Stores {
        training_jobs: starting.ours(|senders, job, _| senders.training_job(job)),
        model_versions: starting.ours(Senders::model_version),
        model_deployments: starting.ours(Senders::model_deployment),
        drift_monitors: starting.ours(|senders, monitor, _| senders.drift_monitor(monitor)),
        jobs: starting.children(windlass_plan::jobs::trim),
        pods: starting.children(trim_pod),
        services: starting.children(|_| {}),
        deployments: starting.children(|_| {}),
        pod_groups: schedulers.native.is_ok().then(|| starting.children(|_| {})),
        workloads: schedulers.kueue.then(|| starting.workloads()),
        volcano_pod_groups: schedulers.volcano.then(|| starting.children(|_| {})),
        claims: starting.presence::<PersistentVolumeClaim>(),
        service_accounts: starting.presence::<ServiceAccount>(),
        claim_templates: (schedulers.device_claims == DeviceClaims::Served)
            .then(|| starting.named::<ResourceClaimTemplate>(claims::trim)),
    };
    let (senders, triggers) = channels();
    let all: Vec<_> = starting
        .running
        .into_iter()
        .map(|run| run(stores.clone(), senders.clone()))
        .collect();
    (stores, join_all(all).map(|_| ()), senders, triggers)
}

impl Starting {
    /// A watch of one of our four kinds; one that cannot be read holds up no other.
    fn ours<K>(&mut self, touch: Touch<K>) -> Cache<K>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let api: Api<DeserializeGuard<K>> = Api::all(self.client.clone());
        let (cache, writer) = empty_cache();
        let (known, metrics) = (cache.clone(), self.metrics.clone());
        let stream = watch(api, config())
            .default_backoff()
            .filter_map(move |event| ready(readable(event, &known, &metrics)));
        self.add(stream, cache, writer, touch)
    }

    /// A watch of the children of a kind, less what nothing reads.
    fn children<K>(&mut self, trim: fn(&mut K)) -> Cache<K>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let config = config().labels(&format!("{}=windlass", labels::MANAGED_BY));
        let stream = watch(Api::<K>::all(self.client.clone()), config)
            .default_backoff()
            .modify(move |object| {
                object.managed_fields_mut().clear();
                trim(object);
            });
        let (cache, writer) = empty_cache();
        self.add(stream, cache, writer, |senders, child, _| {
            senders.child(child);
        })
    }

    /// A watch of what Kueue says of Jobs; it labels nothing as ours, and only what is of a Job of ours is news.
    fn workloads(&mut self) -> Cache<KueueWorkload> {
        let stream = watch(Api::<KueueWorkload>::all(self.client.clone()), config())
            .default_backoff()
            .modify(|object| {
                object.managed_fields_mut().clear();
                object.annotations_mut().clear();
            });
        let (cache, writer) = empty_cache();
        self.add(stream, cache, writer, |senders, workload, stores| {
            let namespace = workload.namespace().unwrap_or_default();
            let owners = workload.metadata.owner_references.iter().flatten();
            for owner in owners.filter(|owner| owner.kind == "Job") {
                if let Some(job) = stores.jobs.get(&namespace, &owner.name) {
                    senders.child(&*job);
                }
            }
        })
    }

    /// A watch of metadata only: that something is there.
    fn presence<K>(&mut self) -> Cache<PartialObjectMeta<K>>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        self.named::<PartialObjectMeta<K>>(|_| {})
    }

    /// A watch of what manifests name and others make, less what nothing reads.
    fn named<K>(&mut self, trim: fn(&mut K)) -> Cache<K>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let stream = watch(Api::<K>::all(self.client.clone()), config())
            .default_backoff()
            .modify(move |object| {
                object.managed_fields_mut().clear();
                object.annotations_mut().clear();
                trim(object);
            });
        let (cache, writer) = empty_cache();
        self.add(stream, cache, writer, |senders, object, stores| {
            senders.namespace(&object.namespace().unwrap_or_default(), stores);
        })
    }

    fn add<K>(
        &mut self,
        stream: impl Stream<Item = watcher::Result<Event<K>>> + Send + 'static,
        cache: Cache<K>,
        writer: Writer<K>,
        touch: Touch<K>,
    ) -> Cache<K>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + 'static,
    {
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

/// How a watch lists what is there. Page by page, which is why it is not asked for just any state: that comes in one
/// piece, of which the text and all objects would be in memory at once, and of that much would stay with the process.
fn config() -> watcher::Config {
    watcher::Config::default().page_size(PAGE)
}

fn empty_cache<K>() -> (Cache<K>, Writer<K>)
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let (store, writer) = reflector::store();
    let index = Index::default();
    (Cache { store, index }, writer)
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
        // The store shows what a list brings only when the list is whole; until then it shows what was there before.
        let listed_before = matches!(event, Event::InitDone).then(|| cache.store.state());
        if let Event::Apply(object) | Event::InitApply(object) = &event {
            let before = cache.store.get(&ObjectRef::from_obj(object));
            if let Some(before) = before.filter(|before| before.labels() != object.labels()) {
                cache.index.remove(&*before);
                // News for whom it was labelled for, too.
                touch(&before);
            }
            cache.index.insert(object);
        }
        writer.apply_watcher_event(&event);
        match &event {
            Event::Apply(object) => touch(object),
            Event::Delete(object) => {
                cache.index.remove(object);
                touch(object);
            }
            // What changed while the watch was away is seen only by looking at everything once, and at what is gone.
            Event::InitDone => {
                for before in listed_before.into_iter().flatten() {
                    if cache.store.get(&ObjectRef::from_obj(&*before)).is_none() {
                        cache.index.remove(&*before);
                        touch(&before);
                    }
                }
                for object in cache.store.state() {
                    touch(&object);
                }
            }
            Event::Init | Event::InitApply(_) => {}
        }
    }
}

/// Of what a pod was asked to be, its containers' names and its node are read; the rest is most of it.
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
            node_name: spec.node_name.take(),
            ..PodSpec::default()
        };
    }
    pod.annotations_mut().clear();
}

/// Takes objects that cannot be read out of a watch, and says so. One that could be read before, and goes, goes.
fn readable<K: Resource<DynamicType = ()> + Clone + 'static>(
    event: watcher::Result<Event<DeserializeGuard<K>>>,
    known: &Cache<K>,
    metrics: &Metrics,
) -> Option<watcher::Result<Event<K>>> {
    if let Ok(Event::Delete(DeserializeGuard(Err(invalid)))) = &event {
        let (namespace, name) = (&invalid.metadata.namespace, &invalid.metadata.name);
        let known = known.get(namespace.as_deref()?, name.as_deref()?)?;
        return Some(Ok(Event::Delete(K::clone(&known))));
    }
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures::stream;
    use k8s_openapi::api::batch::v1::Job;
    use kube::core::error_boundary::InvalidObject;

    use super::*;

    fn job(name: &str, owner: &str) -> Job {
        let mut job = Job::default();
        job.metadata.name = Some(name.to_owned());
        job.metadata.namespace = Some("growth".to_owned());
        job.metadata.labels = Some([(labels::TRAINING_JOB.to_owned(), owner.to_owned())].into());
        job
    }

    /// What the cache holds after these events, and what was touched, in order.
    async fn followed(events: Vec<Event<Job>>) -> (Cache<Job>, Vec<(String, String)>) {
        let (cache, writer) = empty_cache();
        let touched = Mutex::new(Vec::new());
        let touch = |job: &Job| {
            let owner = job.labels()[labels::TRAINING_JOB].clone();
            touched
                .lock()
                .expect("a list")
                .push((job.name_any(), owner));
        };
        let events = stream::iter(events.into_iter().map(Ok));
        follow(events, writer, cache.clone(), Metrics::new(), touch).await;
        (cache, touched.into_inner().expect("a list"))
    }

    fn pair(name: &str, owner: &str) -> (String, String) {
        (name.to_owned(), owner.to_owned())
    }

    #[tokio::test]
    async fn what_went_while_the_watch_was_away_is_news_for_its_owner() {
        let (cache, touched) = followed(vec![
            Event::Init,
            Event::InitApply(job("a-1", "a")),
            Event::InitApply(job("b-1", "b")),
            Event::InitDone,
            Event::Init,
            Event::InitApply(job("b-1", "b")),
            Event::InitDone,
        ])
        .await;
        assert_eq!(touched[2..], [pair("a-1", "a"), pair("b-1", "b")]);
        let names = |owner| cache.index.names("growth", labels::TRAINING_JOB, owner);
        assert!(names("a").is_empty());
        assert_eq!(names("b"), ["b-1"]);
    }

    #[tokio::test]
    async fn an_object_whose_label_was_changed_is_found_by_the_new_one_alone_and_is_news_for_both()
    {
        let (cache, touched) = followed(vec![
            Event::Apply(job("a-1", "a")),
            Event::Apply(job("a-1", "b")),
        ])
        .await;
        let names = |owner| cache.index.names("growth", labels::TRAINING_JOB, owner);
        assert!(names("a").is_empty());
        assert_eq!(names("b"), ["a-1"]);
        assert_eq!(touched[1..], [pair("a-1", "a"), pair("a-1", "b")]);
    }

    #[tokio::test]
    async fn an_object_that_has_become_unreadable_goes_when_it_is_deleted() {
        let (cache, _) = followed(vec![Event::Apply(job("a-1", "a"))]).await;
        let unreadable = |name: &str| {
            let metadata = job(name, "a").metadata;
            let error = "no longer a Job".to_owned();
            DeserializeGuard(Err(InvalidObject { error, metadata }))
        };
        let metrics = Metrics::new();
        let read = |event| readable(Ok(event), &cache, &metrics);
        assert!(read(Event::Apply(unreadable("a-1"))).is_none());
        let gone = read(Event::Delete(unreadable("a-1")));
        assert!(matches!(gone, Some(Ok(Event::Delete(job))) if job.name_any() == "a-1"));
        assert!(read(Event::Delete(unreadable("a-2"))).is_none());
    }
}
