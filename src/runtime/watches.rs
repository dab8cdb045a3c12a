//! One watch a kind: what it brings goes into the store first, and is then told to those that it is news for.

use std::fmt::Debug;
use std::future::ready;

use futures::channel::mpsc::UnboundedReceiver;
use futures::future::{BoxFuture, FutureExt, join_all};
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{Container, PersistentVolumeClaim, Pod, PodSpec, ServiceAccount};
use k8s_openapi::api::resource::v1::ResourceClaimTemplate;
use kube::api::Api;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watcher_of};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use windlass_api::{TrainingJob, labels};
use windlass_plan::gpus::claims::{self, DeviceClaims};
use windlass_plan::trainingjob::{KueueWorkload, Schedulers};
use windlass_plan::{jobs, pods};

use super::index::found_by_labels;
use super::kept::{Fact, Form, Ours};
use super::metrics::Metrics;
use super::stores::{Cache, OurCache, Stores};
use super::triggers::{Senders, Triggers, channels};

struct Starting {
    client: Client,
    metrics: Metrics,
    /// Whether TrainingJobs have been listed once.
    are_listed: watch::Sender<bool>,
    running: Vec<Run>,
}

/// Objects of a page of a list.
const PAGE: u32 = 50;

/// What is to be done about the objects of a watch.
struct What<K> {
    /// Of kinds that are forgotten once their TrainingJob is finished: whether one has ended.
    has_ended: Option<HasEnded<K>>,
    /// Of kinds of which a change is news only where something differs that is kept: whether it does.
    differs: Option<Differs<K>>,
    /// Tells whom one concerns.
    touch: Touch<K>,
}

impl<K> What<K> {
    /// Every change is news.
    fn every(touch: Touch<K>) -> Self {
        Self {
            has_ended: None,
            differs: None,
            touch,
        }
    }
}

/// Whether two states of an object differ in more than that one is the later.
fn differs<K: ResourceExt + Clone + PartialEq>(before: &K, now: &K) -> bool {
    let mut before = before.clone();
    before.meta_mut().resource_version = now.resource_version();
    before != *now
}

type Run = Box<dyn FnOnce(Stores, Senders) -> BoxFuture<'static, ()> + Send>;
type Touch<K> = fn(&Senders, &K, &Stores);
type HasEnded<K> = fn(&K) -> bool;
type Differs<K> = fn(&K, &K) -> bool;
/// A new cache, what fills it, and the TrainingJobs of which it is to let go.
type New<K, F> = (Cache<K, F>, Writer<F>, UnboundedReceiver<(String, String)>);

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
        are_listed: watch::Sender::new(false),
        running: Vec::new(),
    };
    let stores = Stores {
        training_jobs: starting.ours(|senders, job, stores| {
            senders.training_job(job);
            if job.is_finished() {
                stores.let_go_of(&job.namespace().unwrap_or_default(), &job.name_any());
            }
        }),
        model_versions: starting.ours(Senders::model_version),
        model_deployments: starting.ours(Senders::model_deployment),
        drift_monitors: starting.ours(|senders, monitor, _| senders.drift_monitor(monitor)),
        jobs: starting.children(jobs::trim, Some(jobs::has_ended)),
        pods: starting.children(trim_pod, Some(|pod| !pods::is_alive(pod))),
        services: starting.children(|_| {}, Some(|_| true)),
        deployments: starting.children(|_| {}, None),
        pod_groups: (schedulers.native.is_ok()).then(|| starting.children(|_| {}, Some(|_| true))),
        workloads: schedulers.kueue.then(|| starting.workloads()),
        volcano_pod_groups: (schedulers.volcano).then(|| starting.children(|_| {}, Some(|_| true))),
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
    fn ours<K: Ours>(&mut self, touch: Touch<K>) -> OurCache<K> {
        let api: Api<DeserializeGuard<K>> = Api::all(self.client.clone());
        let kept = OurCache::new();
        let (known, metrics) = (kept.0.clone(), self.metrics.clone());
        let stream = watcher_of(api, config())
            .default_backoff()
            .filter_map(move |event| ready(readable(event, &known, &metrics)));
        self.add(stream, kept, What::every(touch))
    }

    /// A watch of the children of a kind, less what nothing reads; and which of them have ended.
    fn children<K>(&mut self, trim: fn(&mut K), has_ended: Option<HasEnded<K>>) -> Cache<K>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + PartialEq + DeserializeOwned,
        K: Send + Sync + 'static,
    {
        let config = config().labels(&format!("{}=windlass", labels::MANAGED_BY));
        let stream = watcher_of(Api::<K>::all(self.client.clone()), config)
            .default_backoff()
            .modify(move |object| {
                object.managed_fields_mut().clear();
                // Kubernetes' own way of counting pods that have ended.
                object.finalizers_mut().clear();
                trim(object);
            });
        let what = What {
            has_ended,
            differs: Some(differs),
            touch: |senders, child, _| senders.child(child),
        };
        self.add(stream, Cache::new(), what)
    }

    /// A watch of what Kueue says of Jobs; it labels nothing as ours, and only what is of a Job of ours is news.
    fn workloads(&mut self) -> Cache<KueueWorkload> {
        let stream = watcher_of(Api::<KueueWorkload>::all(self.client.clone()), config())
            .default_backoff()
            .modify(|object| {
                object.managed_fields_mut().clear();
                object.annotations_mut().clear();
            });
        let what = What::every(|senders, workload: &KueueWorkload, stores: &Stores| {
            let namespace = workload.namespace().unwrap_or_default();
            let owners = workload.metadata.owner_references.iter().flatten();
            for owner in owners.filter(|owner| owner.kind == "Job") {
                if let Some(job) = stores.jobs.get(&namespace, &owner.name) {
                    senders.child(&*job);
                }
            }
        });
        self.add(stream, Cache::new(), what)
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
        let stream = watcher_of(Api::<K>::all(self.client.clone()), config())
            .default_backoff()
            .modify(move |object| {
                object.managed_fields_mut().clear();
                object.annotations_mut().clear();
                trim(object);
            });
        let what = What::every(|senders, object: &K, stores| {
            senders.namespace(&object.namespace().unwrap_or_default(), stores);
        });
        self.add(stream, Cache::new(), what)
    }

    fn add<K, F>(
        &mut self,
        stream: impl Stream<Item = watcher::Result<Event<K>>> + Send + 'static,
        (cache, writer, to_let_go): New<K, F>,
        what: What<K>,
    ) -> Cache<K, F>
    where
        K: Resource<DynamicType = ()> + Send + Sync + 'static,
        F: Form<K>,
    {
        let (mine, metrics) = (cache.clone(), self.metrics.clone());
        let are_listed = self.are_listed.clone();
        let run = move |stores: Stores, senders: Senders| {
            let follower = Follower {
                cache: mine,
                writer,
                metrics,
                has_ended: what.has_ended,
                differs: what.differs,
                training_jobs: stores.training_jobs.clone(),
                are_listed,
                touch: move |object: &K| (what.touch)(&senders, object, &stores),
            };
            follower.follow(stream, to_let_go).boxed()
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

/// Fills a store from a watch, and tells whom it concerns, after the store shows it.
struct Follower<K, F: Form<K>, T> {
    cache: Cache<K, F>,
    writer: Writer<F>,
    metrics: Metrics,
    has_ended: Option<HasEnded<K>>,
    differs: Option<Differs<K>>,
    training_jobs: OurCache<TrainingJob>,
    /// Whether these have been listed once.
    are_listed: watch::Sender<bool>,
    touch: T,
}

impl<K, F, T> Follower<K, F, T>
where
    K: Resource<DynamicType = ()> + Send + Sync + 'static,
    F: Form<K>,
    T: Fn(&K) + Send,
{
    async fn follow(
        mut self,
        stream: impl Stream<Item = watcher::Result<Event<K>>> + Send,
        mut to_let_go: UnboundedReceiver<(String, String)>,
    ) {
        let kind = K::kind(&()).into_owned();
        if self.has_ended.is_some() {
            // Which of them are left behind is known by then: they are never all in memory at once.
            // Not by `Store::wait_until_ready`, which wakes one of those that wait.
            let _ = self.are_listed.subscribe().wait_for(|are| *are).await;
        }
        let mut stream = std::pin::pin!(stream);
        loop {
            tokio::select! {
                event = stream.next() => match event {
                    Some(Ok(event)) => self.take(event),
                    Some(Err(error)) => {
                        self.metrics.watch_failed(&kind);
                        tracing::warn!(kind, %error, "a watch failed and is taken up again");
                    }
                    None => return,
                },
                Some((namespace, name)) = to_let_go.next() => self.let_go(&namespace, &name),
            }
        }
    }

    fn take(&mut self, event: Event<K>) {
        match event {
            Event::Apply(object) if self.is_left_behind(&object) => self.forget(&object),
            Event::Apply(object) => {
                let (namespace, name) = identity(&object);
                self.index(&namespace, &name, &object);
                let before = (self.differs).and_then(|_| self.cache.get(&namespace, &name));
                self.writer
                    .apply_watcher_event(&Event::Apply(F::keep(object)));
                let Some(now) = self.cache.get(&namespace, &name) else {
                    return;
                };
                let is_news = match (self.differs, before) {
                    (Some(differs), Some(before)) => differs(&before, &now),
                    _ => true,
                };
                if is_news {
                    (self.touch)(&now);
                }
            }
            Event::InitApply(object) if self.is_left_behind(&object) => {}
            Event::InitApply(object) => {
                let (namespace, name) = identity(&object);
                self.index(&namespace, &name, &object);
                self.writer
                    .apply_watcher_event(&Event::InitApply(F::keep(object)));
            }
            Event::Delete(object) => {
                self.forget(&object);
                if !self.is_left_behind(&object) {
                    (self.touch)(&object);
                }
            }
            Event::Init => self.writer.apply_watcher_event(&Event::Init),
            Event::InitDone => self.listed(),
        }
    }

    /// Notes what an object is found by from now on.
    fn index(&self, namespace: &str, name: &str, object: &K) {
        let found_by = found_by::<K, F>(object);
        if let Some(before) = self.cache.get(namespace, name) {
            let found_before = self::found_by::<K, F>(&before);
            if found_before == found_by {
                return;
            }
            self.cache.index.remove(namespace, name, found_before);
            if before.meta().labels != object.meta().labels {
                // News for whom it was labelled for, too.
                (self.touch)(&before);
            }
        }
        self.cache.index.insert(namespace, name, found_by);
    }

    /// What changed while the watch was away is seen only by looking at everything once, and at what is gone.
    fn listed(&mut self) {
        // The store shows what a list brings only when the list is whole; until then it shows what was there before.
        let before = self.cache.store.state();
        self.writer.apply_watcher_event(&Event::InitDone);
        if K::kind(&()) == TrainingJob::kind(&()) {
            self.are_listed.send_replace(true);
        }
        for before in before {
            let (namespace, name) = identity(&*before);
            if self.cache.kept(&namespace, &name).is_none() {
                let before = before.object();
                let found_by = found_by::<K, F>(&before);
                self.cache.index.remove(&namespace, &name, found_by);
                (self.touch)(&before);
            }
        }
        for kept in self.cache.store.state() {
            (self.touch)(&kept.object());
        }
    }

    /// Whether an object has ended and is of a TrainingJob that is finished: nothing will be decided on it any more.
    fn is_left_behind(&self, object: &K) -> bool {
        let Some(has_ended) = self.has_ended else {
            return false;
        };
        let labels = object.meta().labels.as_ref();
        let label = |name: &str| labels?.get(name).map(String::as_str);
        if label(labels::ROLE) != Some("training") || !has_ended(object) {
            return false;
        }
        let namespace = object.meta().namespace.as_deref().unwrap_or_default();
        label(labels::TRAINING_JOB)
            .and_then(|name| self.training_jobs.kept(namespace, name))
            .is_some_and(|job| job.is_finished())
    }

    /// Forgets what has ended of a TrainingJob that is finished.
    fn let_go(&mut self, namespace: &str, training_job: &str) {
        let its = (self.cache).labelled(namespace, labels::TRAINING_JOB, training_job);
        for object in its {
            if self.is_left_behind(&object) {
                self.forget(&object);
            }
        }
    }

    fn forget(&mut self, object: &K) {
        let (namespace, name) = identity(object);
        if let Some(kept) = self.cache.kept(&namespace, &name) {
            let found_by = found_by::<K, F>(&kept.object());
            self.cache.index.remove(&namespace, &name, found_by);
            self.writer
                .apply_watcher_event(&Event::Delete(F::clone(&kept)));
        }
    }
}

fn identity(object: &impl ResourceExt) -> (String, String) {
    (object.namespace().unwrap_or_default(), object.name_any())
}

/// What an object is found by.
fn found_by<K: Resource, F: Form<K>>(object: &K) -> Vec<Fact> {
    let mut all = found_by_labels(object);
    all.extend(F::facts(object));
    all
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
fn readable<K: Ours>(
    event: watcher::Result<Event<DeserializeGuard<K>>>,
    known: &OurCache<K>,
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

    use k8s_openapi::api::batch::v1::Job;
    use kube::core::error_boundary::InvalidObject;
    use serde_json::json;

    use super::*;

    fn job(name: &str, owner: &str) -> Job {
        let mut job = Job::default();
        job.metadata.name = Some(name.to_owned());
        job.metadata.namespace = Some("growth".to_owned());
        let labels = [(labels::TRAINING_JOB, owner), (labels::ROLE, "training")];
        let owned = labels.map(|(label, value)| (label.to_owned(), value.to_owned()));
        job.metadata.labels = Some(owned.into());
        job
    }

    /// A TrainingJob `a` that has ended well, and `b` that has not.
    fn training_jobs() -> OurCache<TrainingJob> {
        let (cache, mut writer, _) = OurCache::new();
        for (name, is_complete) in [("a", "True"), ("b", "False")] {
            let job = serde_json::from_value(json!({
                "apiVersion": "windlass.dev/v1alpha1", "kind": "TrainingJob",
                "metadata": {"name": name, "namespace": "growth"},
                "spec": {"workers": {"template": {}}},
                "status": {"conditions": [{
                    "type": "Complete", "status": is_complete, "reason": "Test", "message": "",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }]},
            }));
            let job: TrainingJob = job.expect("a TrainingJob");
            writer.apply_watcher_event(&Event::InitApply(Form::keep(job)));
        }
        writer.apply_watcher_event(&Event::InitDone);
        cache
    }

    /// What the cache holds after these events, and after what is left behind by `a` was let go where that is asked
    /// for; and what was touched, in order.
    fn followed(
        events: Vec<Event<Job>>,
        has_ended: Option<HasEnded<Job>>,
        let_go: bool,
    ) -> (Cache<Job>, Vec<(String, String)>) {
        let (cache, writer, _) = Cache::<Job>::new();
        let touched = Mutex::new(Vec::new());
        let touch = |job: &Job| {
            let owner = job.labels()[labels::TRAINING_JOB].clone();
            touched
                .lock()
                .expect("a list")
                .push((job.name_any(), owner));
        };
        let mut follower = Follower {
            cache: cache.clone(),
            writer,
            metrics: Metrics::new(),
            has_ended,
            differs: Some(differs),
            training_jobs: training_jobs(),
            are_listed: watch::Sender::new(false),
            touch,
        };
        for event in events {
            follower.take(event);
        }
        if let_go {
            follower.let_go("growth", "a");
        }
        drop(follower);
        (cache, touched.into_inner().expect("a list"))
    }

    fn pair(name: &str, owner: &str) -> (String, String) {
        (name.to_owned(), owner.to_owned())
    }

    #[test]
    fn what_went_while_the_watch_was_away_is_news_for_its_owner() {
        let (cache, touched) = followed(
            vec![
                Event::Init,
                Event::InitApply(job("a-1", "a")),
                Event::InitApply(job("b-1", "b")),
                Event::InitDone,
                Event::Init,
                Event::InitApply(job("b-1", "b")),
                Event::InitDone,
            ],
            None,
            false,
        );
        assert_eq!(touched[2..], [pair("a-1", "a"), pair("b-1", "b")]);
        let names = |owner| cache.index.names("growth", labels::TRAINING_JOB, owner);
        assert!(names("a").is_empty());
        assert_eq!(names("b"), ["b-1"]);
    }

    #[test]
    fn an_object_whose_label_was_changed_is_found_by_the_new_one_alone_and_is_news_for_both() {
        let (cache, touched) = followed(
            vec![Event::Apply(job("a-1", "a")), Event::Apply(job("a-1", "b"))],
            None,
            false,
        );
        let names = |owner| cache.index.names("growth", labels::TRAINING_JOB, owner);
        assert!(names("a").is_empty());
        assert_eq!(names("b"), ["a-1"]);
        assert_eq!(touched[1..], [pair("a-1", "a"), pair("a-1", "b")]);
    }

    #[test]
    fn what_has_ended_is_forgotten_with_a_training_job_that_is_finished_and_not_before() {
        let ended = |job: &Job| job.name_any().ends_with('1');
        let all = || {
            vec![
                Event::Init,
                Event::InitApply(job("a-1", "a")),
                Event::InitApply(job("a-2", "a")),
                Event::InitApply(job("b-1", "b")),
                Event::InitDone,
                Event::Apply(job("a-1", "a")),
                Event::Delete(job("a-1", "a")),
            ]
        };
        let names =
            |cache: &Cache<Job>, owner| cache.index.names("growth", labels::TRAINING_JOB, owner);
        let (cache, touched) = followed(all(), Some(ended), false);
        assert_eq!(names(&cache, "a"), ["a-2"]);
        assert_eq!(names(&cache, "b"), ["b-1"]);
        assert!(cache.get("growth", "a-1").is_none());
        // It is no news, either.
        assert!(!touched.contains(&pair("a-1", "a")));

        // It ends only after all were read.
        let mut later = all();
        later.truncate(5);
        let (cache, _) = followed(later, Some(|_| false), true);
        assert_eq!(names(&cache, "a"), ["a-1", "a-2"]);
    }

    #[test]
    fn what_differs_in_nothing_that_is_kept_is_no_news() {
        let of = |version: &str, active| {
            let mut job = job("b-1", "b");
            job.metadata.resource_version = Some(version.to_owned());
            job.status.get_or_insert_default().active = Some(active);
            Event::Apply(job)
        };
        let events = vec![of("1", 0), of("2", 0), of("3", 1)];
        let (cache, touched) = followed(events, None, false);
        assert_eq!(touched.len(), 2);
        let kept = cache.get("growth", "b-1").expect("a Job");
        assert_eq!(kept.metadata.resource_version.as_deref(), Some("3"));
    }

    #[test]
    fn an_object_of_ours_comes_out_as_it_went_in() {
        let kept = training_jobs();
        let job = kept.get("growth", "a").expect("a TrainingJob");
        assert_eq!(job.name_any(), "a");
        assert_eq!(
            job.status.as_ref().map(|status| status.conditions.len()),
            Some(1)
        );
        let packed = kept.kept("growth", "a").expect("a TrainingJob");
        assert!(packed.is_finished());
        assert!(
            !kept
                .kept("growth", "b")
                .expect("a TrainingJob")
                .is_finished()
        );
    }

    #[test]
    fn an_object_that_has_become_unreadable_goes_when_it_is_deleted() {
        let cache = training_jobs();
        let unreadable = |name: &str| {
            let mut metadata = job(name, "a").metadata;
            metadata.labels = None;
            let error = "no longer a TrainingJob".to_owned();
            DeserializeGuard(Err(InvalidObject { error, metadata }))
        };
        let metrics = Metrics::new();
        let read = |event| readable(Ok(event), &cache, &metrics);
        assert!(read(Event::Apply(unreadable("a"))).is_none());
        let gone = read(Event::Delete(unreadable("a")));
        assert!(matches!(gone, Some(Ok(Event::Delete(job))) if job.name_any() == "a"));
        assert!(read(Event::Delete(unreadable("c"))).is_none());
    }
}
