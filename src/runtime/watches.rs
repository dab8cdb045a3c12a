//! One watch a kind: what it brings goes into the store first, and is then told to those that it is news for.

use std::fmt::Debug;
use std::future::ready;

use futures::future::{BoxFuture, FutureExt};
use futures::stream::FuturesUnordered;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, ServiceAccount};
use k8s_openapi::api::resource::v1::ResourceClaimTemplate;
use kube::api::Api;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watcher_of};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use windlass_api::labels;
use windlass_plan::gpus::claims::{self, DeviceClaims};
use windlass_plan::modeldeployment::trim_autoscaler;
use windlass_plan::trainingjob::KueueWorkload;
use windlass_plan::{jobs, pods};

use super::apply::Kind;
use super::calm::Calm;
use super::discovery::Served;
use super::follow::{Differs, Follower, HasEnded, differs};
use super::guarded::Guarded;
use super::kept::{Form, Ours};
use super::metrics::Metrics;
use super::named::Named;
use super::namespaces::{Watch, merged};
use super::pauses::OfWatch;
use super::shards::Shard;
use super::stores::{Cache, OurCache, Stores};
use super::triggers::{Senders, Triggers, channels};

struct Starting {
    client: Client,
    namespaces: Vec<String>,
    shard: Shard,
    metrics: Metrics,
    calm: Calm,
    /// Whether TrainingJobs have been listed once.
    are_listed: watch::Sender<bool>,
    running: Vec<Run>,
}

/// What the API server answers where it no longer has a state that is asked for.
const GONE: u16 = 410;
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

type Run = Box<dyn FnOnce(Stores, Senders) -> BoxFuture<'static, ()> + Send>;
type Touch<K> = fn(&Senders, &K, &Stores);

/// Builds the stores and the watches that fill them: of these namespaces, or of all of a shard's where none is named.
pub fn start(
    client: &Client,
    Served {
        schedulers,
        routes,
        keda,
        metrics_of_pods: _,
    }: &Served,
    namespaces: &[String],
    shard: &Shard,
    metrics: Metrics,
    calm: &Calm,
) -> (
    Stores,
    impl Future<Output = ()> + Send + use<>,
    Senders,
    Triggers,
) {
    let mut starting = Starting {
        client: client.clone(),
        namespaces: namespaces.to_vec(),
        shard: shard.clone(),
        metrics,
        calm: calm.clone(),
        are_listed: watch::Sender::new(false),
        running: Vec::new(),
    };
    let stores = Stores {
        training_jobs: starting.ours(|senders, job, stores| {
            senders.training_job(job, stores);
            if job.is_finished() {
                stores.let_go_of(&job.namespace().unwrap_or_default(), &job.name_any());
            }
        }),
        model_versions: starting.ours(Senders::model_version),
        model_deployments: starting.ours(Senders::model_deployment),
        drift_monitors: starting.ours(Senders::drift_monitor),
        jobs: starting.children(jobs::trim, Some(jobs::has_ended)),
        pods: starting.children(pods::trim, Some(|pod| !pods::is_alive(pod))),
        services: starting.children(|_| {}, Some(|_| true)),
        deployments: starting.children(|_| {}, None),
        pod_disruption_budgets: starting.children(|budget| budget.status = None, None),
        autoscalers: starting.children(trim_autoscaler, None),
        scaled_objects: keda.then(|| starting.children(|_| {}, None)),
        http_routes: routes.then(|| starting.children(|_| {}, None)),
        pod_groups: (schedulers.native.is_ok()).then(|| starting.children(|_| {}, Some(|_| true))),
        workloads: schedulers.kueue.then(|| starting.workloads()),
        volcano_pod_groups: (schedulers.volcano).then(|| starting.children(|_| {}, Some(|_| true))),
        claims: Named::new(starting.presence::<PersistentVolumeClaim>()),
        service_accounts: Named::new(starting.presence::<ServiceAccount>()),
        claim_templates: (schedulers.device_claims == DeviceClaims::Served)
            .then(|| Named::new(starting.named::<ResourceClaimTemplate>(claims::trim))),
    };
    let (senders, triggers) = channels();
    // Each has its own waker: what one watch brings does not stir the others.
    let all: FuturesUnordered<_> = starting
        .running
        .into_iter()
        .map(|run| run(stores.clone(), senders.clone()))
        .collect();
    (stores, all.collect(), senders, triggers)
}

impl Starting {
    /// A watch of one of our four kinds.
    fn ours<K: Ours>(&mut self, touch: Touch<K>) -> OurCache<K> {
        self.add(&config(), |_| {}, What::every(touch))
    }

    /// A watch of the children of a kind, less what nothing reads; and which of them have ended.
    fn children<K, F>(&mut self, trim: fn(&mut K), has_ended: Option<HasEnded<K>>) -> Cache<K, F>
    where
        K: Kind + PartialEq,
        F: Form<K>,
    {
        let config = config().labels(&format!("{}=windlass", labels::MANAGED_BY));
        let trim = move |object: &mut K| {
            // Kubernetes' own way of counting pods that have ended.
            object.finalizers_mut().clear();
            trim(object);
        };
        let what = What {
            has_ended,
            differs: Some(differs),
            touch: |senders, child, _| senders.child(child),
        };
        self.add(&config, trim, what)
    }

    /// A watch of what Kueue says of Jobs; it labels nothing as ours, and only what is of a Job of ours is news.
    fn workloads(&mut self) -> Cache<KueueWorkload> {
        let what = What::every(|senders, workload: &KueueWorkload, stores: &Stores| {
            let namespace = workload.namespace().unwrap_or_default();
            let owners = workload.metadata.owner_references.iter().flatten();
            for owner in owners.filter(|owner| owner.kind == "Job") {
                if let Some(job) = stores.jobs.get(&namespace, &owner.name) {
                    senders.child(&*job);
                }
            }
        });
        self.add(&config(), |object| object.annotations_mut().clear(), what)
    }

    /// A watch of metadata only: that something is there.
    fn presence<K: Kind>(&mut self) -> Cache<PartialObjectMeta<K>> {
        self.named::<PartialObjectMeta<K>>(|_| {})
    }

    /// A watch of what manifests name and others make, less what nothing reads.
    fn named<K: Kind>(&mut self, trim: fn(&mut K)) -> Cache<K> {
        let trim = move |object: &mut K| {
            object.annotations_mut().clear();
            trim(object);
        };
        let what = What::every(|senders, object: &K, stores| {
            senders.namespace(&object.namespace().unwrap_or_default(), stores);
        });
        self.add(&config(), trim, what)
    }

    /// A watch, of which objects that cannot be read hold up no other. Of those that can, `trim` takes what nothing reads.
    fn add<K, F>(
        &mut self,
        config: &watcher::Config,
        trim: impl Fn(&mut K) + Send + 'static,
        What {
            has_ended,
            differs,
            touch,
        }: What<K>,
    ) -> Cache<K, F>
    where
        K: Kind,
        F: Form<K>,
    {
        let (cache, writer, to_let_go) = Cache::new();
        let watch = |api: Api<Guarded<K>>| {
            let (known, metrics) = (cache.clone(), self.metrics.clone());
            self.shard
                .of(watched(api, config.clone()).backoff(OfWatch::new(self.calm.clone())))
                .filter_map(move |event| ready(readable(event, &known, &metrics)))
        };
        let client = || self.client.clone();
        let stream = if self.namespaces.is_empty() {
            watch(Api::all(client())).boxed()
        } else {
            let of_one = |namespace: &String| {
                let api = Api::namespaced(client(), namespace);
                Watch::new(namespace, watch(api))
            };
            let watches = self.namespaces.iter().map(of_one).collect();
            merged(watches, cache.clone()).boxed()
        };
        let stream = stream.map_ok(move |event| event.modify(&trim));
        let (mine, metrics) = (cache.clone(), self.metrics.clone());
        let are_listed = self.are_listed.clone();
        let run = move |stores: Stores, senders: Senders| {
            let follower = Follower {
                cache: mine,
                writer,
                metrics,
                has_ended,
                differs,
                training_jobs: stores.training_jobs.clone(),
                are_listed,
                touch: move |object: &K| touch(&senders, object, &stores),
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

/// A watch that begins anew where the API server no longer has the state that it goes on from. kube's own does so where an
/// event says it; where the answer to its request does, it asks for the same state for ever.
fn watched<K>(
    api: Api<K>,
    config: watcher::Config,
) -> impl Stream<Item = watcher::Result<Event<K>>> + Send
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let begin = move || watcher_of(api.clone(), config.clone()).boxed();
    stream::unfold((begin(), begin), |(mut watch, begin)| async {
        let event = watch.next().await?;
        if matches!(&event, Err(watcher::Error::WatchStartFailed(kube::Error::Api(status))) if status.code == GONE)
        {
            watch = begin();
        }
        Some((event, (watch, begin)))
    })
}

/// Takes objects that cannot be read out of a watch, and says so. One that could be read before, and goes, goes.
fn readable<K: Resource<DynamicType = ()> + Clone, F: Form<K>>(
    event: watcher::Result<Event<Guarded<K>>>,
    known: &Cache<K, F>,
    metrics: &Metrics,
) -> Option<watcher::Result<Event<K>>> {
    if let Ok(Event::Delete(Guarded(Err(invalid)))) = &event {
        let (namespace, name) = (&invalid.metadata.namespace, &invalid.metadata.name);
        let known = known.get(namespace.as_deref()?, name.as_deref()?)?;
        return Some(Ok(Event::Delete(K::clone(&known))));
    }
    let read = |guard: Guarded<K>| match guard.0 {
        Ok(object) => Some(object),
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
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
    use kube::core::error_boundary::InvalidObject;

    use super::*;
    use crate::runtime::follow::tests::training_jobs;

    #[test]
    fn an_object_that_has_become_unreadable_goes_when_it_is_deleted() {
        let cache = training_jobs();
        let unreadable = |name: &str| {
            let metadata = ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some("growth".to_owned()),
                ..ObjectMeta::default()
            };
            let error = "no longer a TrainingJob".to_owned();
            Guarded(Err(InvalidObject { error, metadata }))
        };
        let metrics = Metrics::new();
        let read = |event| readable(Ok(event), &cache, &metrics);
        assert!(read(Event::Apply(unreadable("a"))).is_none());
        let gone = read(Event::Delete(unreadable("a")));
        assert!(matches!(gone, Some(Ok(Event::Delete(job))) if job.name_any() == "a"));
        assert!(read(Event::Delete(unreadable("c"))).is_none());
    }
}
