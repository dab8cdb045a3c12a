//! Which objects each change is news for.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::scheduler::{ScheduleRequest, scheduler};
use tokio::time::Instant;
use windlass_api::{DriftMonitor, ModelDeployment, ModelVersion, TrainingJob, labels};
use windlass_plan::modeldeployment::LABELS_ROLE;
use windlass_plan::modelversion::{PUBLICATION_ROLE, REGISTRATION_ROLE, RETENTION_ROLE};

use super::index::Index;
use super::kept::{BOUNDED, ENTRANCE, Fact, OF_DEPLOYMENT, OF_MODEL, Ours, Packed, STALLED};
use super::stores::{OurCache, Stores};

/// For how long news of what serves is gathered. When versions change places, a dozen pods come and go in no time: their
/// number is looked at, and written down, once for all of them.
const GATHERED: Duration = Duration::from_secs(1);

/// What each controller is to look at.
pub struct Triggers {
    /// TrainingJobs.
    pub training_jobs: UnboundedReceiver<ObjectRef<Packed<TrainingJob>>>,
    /// ModelVersions.
    pub model_versions: UnboundedReceiver<ObjectRef<Packed<ModelVersion>>>,
    /// ModelDeployments.
    pub model_deployments: BoxStream<'static, ObjectRef<Packed<ModelDeployment>>>,
    /// DriftMonitors.
    pub drift_monitors: UnboundedReceiver<ObjectRef<Packed<DriftMonitor>>>,
    open: Arc<AtomicBool>,
}

impl Triggers {
    /// From now on triggers are taken out. What happened before is seen by looking at everything once.
    pub fn open(&self) {
        self.open.store(true, Ordering::Release);
    }
}

/// The other ends, for the watches.
#[derive(Clone)]
pub struct Senders {
    training_jobs: Sender<TrainingJob>,
    model_versions: Sender<ModelVersion>,
    model_deployments: Sender<ModelDeployment>,
    /// The same, of which the news is gathered.
    serving: Sender<ModelDeployment>,
    drift_monitors: Sender<DriftMonitor>,
}

/// A sender of triggers for one kind, shut until this replica leads: until then nobody would take them out.
struct Sender<K: Ours> {
    open: Arc<AtomicBool>,
    channel: UnboundedSender<ObjectRef<Packed<K>>>,
}

impl<K: Ours> Clone for Sender<K> {
    fn clone(&self) -> Self {
        Self {
            open: self.open.clone(),
            channel: self.channel.clone(),
        }
    }
}

fn send<K: Ours>(sender: &Sender<K>, name: &str, namespace: &str) {
    if sender.open.load(Ordering::Acquire) {
        // The receiver is gone only while the process ends.
        let _ = sender
            .channel
            .unbounded_send(ObjectRef::new(name).within(namespace));
    }
}

impl Senders {
    /// A child is news for whatever its labels name.
    pub fn child<K: ResourceExt>(&self, child: &K) {
        let namespace = child.namespace().unwrap_or_default();
        let label = |name: &str| child.labels().get(name).map(String::as_str);
        match label(labels::ROLE) {
            Some("training") => label(labels::TRAINING_JOB)
                .into_iter()
                .for_each(|name| send(&self.training_jobs, name, &namespace)),
            Some("validation" | REGISTRATION_ROLE | RETENTION_ROLE | PUBLICATION_ROLE) => {
                if let Some(name) = label(labels::VERSION) {
                    send(&self.model_versions, name, &namespace);
                } else if let Some(name) = label(labels::TRAINING_JOB) {
                    send(&self.training_jobs, name, &namespace);
                }
            }
            Some("serving" | LABELS_ROLE) => label(labels::DEPLOYMENT)
                .into_iter()
                .for_each(|name| send(&self.serving, name, &namespace)),
            Some("drift") => label(labels::MONITOR)
                .into_iter()
                .for_each(|name| send(&self.drift_monitors, name, &namespace)),
            _ => {}
        }
    }

    /// Something about a TrainingJob is news that no object tells.
    pub fn training_job_named(&self, namespace: &str, name: &str) {
        send(&self.training_jobs, name, namespace);
    }

    /// A TrainingJob is news for itself, for the monitor that asked for it, and for those that wait for any of its model.
    pub fn training_job(&self, job: &TrainingJob, stores: &Stores) {
        let namespace = job.namespace().unwrap_or_default();
        send(&self.training_jobs, &job.name_any(), &namespace);
        if let Some(monitor) = job.labels().get(labels::MONITOR) {
            send(&self.drift_monitors, monitor, &namespace);
        }
        let Some(model) = &job.spec.model else {
            return;
        };
        let (serving, watching) = (
            &stores.model_deployments.index,
            &stores.drift_monitors.index,
        );
        let monitors = serving
            .names(&namespace, OF_MODEL, model)
            .into_iter()
            .flat_map(|deployment| watching.names(&namespace, OF_DEPLOYMENT, &deployment));
        for monitor in monitors {
            send(&self.drift_monitors, &monitor, &namespace);
        }
    }

    /// A ModelVersion is news for itself, for the job that trained it, for what serves its model, and for the others of
    /// its model that may have to go.
    pub fn model_version(&self, version: &ModelVersion, stores: &Stores) {
        let namespace = version.namespace().unwrap_or_default();
        send(&self.model_versions, &version.name_any(), &namespace);
        if let Some(by) = &version.spec.trained_by {
            send(&self.training_jobs, &by.name, &namespace);
        }
        let of_model =
            stores
                .model_deployments
                .index
                .names(&namespace, OF_MODEL, &version.spec.model);
        for name in of_model {
            self.model_deployment_named(&namespace, &name, stores);
        }
        self.bounded(&namespace, &version.spec.model, stores);
    }

    /// Something about a model is news for its versions that may have to go.
    fn bounded(&self, namespace: &str, model: &str, stores: &Stores) {
        let versions = &stores.model_versions.index;
        for name in versions.names(namespace, BOUNDED, model) {
            send(&self.model_versions, &name, namespace);
        }
    }

    /// A ModelDeployment is news for itself, for the monitors that watch it, for the versions that something happened to, and
    /// for others that want the same host name, which one of them has.
    pub fn model_deployment(&self, deployment: &ModelDeployment, stores: &Stores) {
        let namespace = deployment.namespace().unwrap_or_default();
        self.model_deployment_named(&namespace, &deployment.name_any(), stores);
        let history = deployment.status.iter().flat_map(|status| &status.history);
        let versions: BTreeSet<&str> = history.map(|event| event.version.as_str()).collect();
        for version in versions {
            send(&self.model_versions, version, &namespace);
        }
        self.bounded(&namespace, &deployment.spec.model, stores);
        let itself = (namespace, deployment.name_any());
        for (namespace, name) in beside(
            &itself,
            &deployment.facts(),
            &stores.model_deployments.index,
        ) {
            send(&self.model_deployments, &name, &namespace);
        }
    }

    fn model_deployment_named(&self, namespace: &str, name: &str, stores: &Stores) {
        send(&self.model_deployments, name, namespace);
        let watching = &stores.drift_monitors.index;
        for monitor in watching.names(namespace, OF_DEPLOYMENT, name) {
            send(&self.drift_monitors, &monitor, namespace);
        }
    }

    /// A DriftMonitor is news for itself, for what it watches, and for the others that watch the same: one drift that two of
    /// them see makes one training.
    pub fn drift_monitor(&self, monitor: &DriftMonitor, stores: &Stores) {
        let namespace = monitor.namespace().unwrap_or_default();
        send(&self.drift_monitors, &monitor.name_any(), &namespace);
        let watching = &stores.drift_monitors.index;
        for other in watching.names(&namespace, OF_DEPLOYMENT, &monitor.spec.deployment) {
            if other != monitor.name_any() {
                send(&self.drift_monitors, &other, &namespace);
            }
        }
        send(
            &self.model_deployments,
            &monitor.spec.deployment,
            &namespace,
        );
    }

    /// A claim or an account may be what an object waits for; only those that are stalled ask.
    pub fn namespace(&self, namespace: &str, stores: &Stores) {
        fn tell<K: Ours>(sender: &Sender<K>, namespace: &str, cache: &OurCache<K>) {
            for name in cache.index.names(namespace, STALLED, "") {
                send(sender, &name, namespace);
            }
        }
        tell(&self.training_jobs, namespace, &stores.training_jobs);
        tell(&self.model_versions, namespace, &stores.model_versions);
        tell(
            &self.model_deployments,
            namespace,
            &stores.model_deployments,
        );
        tell(&self.drift_monitors, namespace, &stores.drift_monitors);
    }
}

/// The others that want an entrance that one has, or had, of which this is so.
fn beside(itself: &(String, String), facts: &[Fact], index: &Index) -> BTreeSet<(String, String)> {
    let entrances = facts.iter().filter(|(what, _)| *what == ENTRANCE);
    let mut all: BTreeSet<_> = entrances
        .flat_map(|(_, entrance)| index.everywhere(ENTRANCE, entrance))
        .collect();
    all.remove(itself);
    all
}

/// Each once, however often it comes within [`GATHERED`] of its first time.
fn gathered<K: Ours>(
    news: impl Stream<Item = ObjectRef<Packed<K>>> + Send + 'static,
) -> impl Stream<Item = ObjectRef<Packed<K>>> + Send + 'static {
    scheduler(news.map(|message| ScheduleRequest {
        message,
        run_at: Instant::now() + GATHERED,
    }))
}

/// The two ends, shut until [`Triggers::open`].
pub fn channels() -> (Senders, Triggers) {
    let open = Arc::new(AtomicBool::new(false));
    let (training_jobs, for_training_jobs) = unbounded();
    let (model_versions, for_model_versions) = unbounded();
    let (model_deployments, for_model_deployments) = unbounded();
    let (serving, for_serving) = unbounded();
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
            serving: Sender {
                open: open.clone(),
                channel: serving,
            },
            drift_monitors: Sender {
                open: open.clone(),
                channel: drift_monitors,
            },
        },
        Triggers {
            training_jobs: for_training_jobs,
            model_versions: for_model_versions,
            model_deployments: stream::select(for_model_deployments, gathered(for_serving)).boxed(),
            drift_monitors: for_drift_monitors,
            open,
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_is_news_for_the_others_of_all_namespaces_that_want_one_of_its_host_names() {
        let index = Index::default();
        let at = |host: &str| (ENTRANCE, format!("edge/public {host} /"));
        let pair = |namespace: &str, name: &str| (namespace.to_owned(), name.to_owned());
        index.insert("growth", "a", &[at("one.test"), at("two.test")]);
        index.insert("growth", "b", &[at("two.test"), at("three.test")]);
        index.insert("risk", "a", &[at("one.test"), at("two.test")]);
        index.insert("risk", "c", &[at("three.test")]);
        let beside = |facts: &[Fact]| beside(&pair("growth", "a"), facts, &index);
        let both = [pair("growth", "b"), pair("risk", "a")];
        assert_eq!(beside(&[at("one.test"), at("two.test")]), both.into());
        let of_model = (OF_MODEL, "edge/public two.test /".to_owned());
        assert!(beside(&[of_model]).is_empty());
    }

    #[tokio::test]
    async fn what_comes_several_times_in_no_time_is_looked_at_once() {
        let name = |name: &str| ObjectRef::<Packed<ModelDeployment>>::new(name).within("growth");
        let (sender, receiver) = unbounded();
        let mut gathered = std::pin::pin!(gathered(receiver));
        let send = |one: &str| sender.unbounded_send(name(one)).expect("it is read");
        for one in ["a", "b", "a"] {
            send(one);
        }
        let began = Instant::now();
        let mut two = [gathered.next().await, gathered.next().await];
        two.sort_by_key(|one| one.as_ref().map(|one| one.name.clone()));
        assert_eq!(two, [Some(name("a")), Some(name("b"))]);
        assert!(began.elapsed() >= GATHERED);
        // Later news of it is news again, and is waited for no longer because more of it comes.
        send("a");
        let began = Instant::now();
        let more = async {
            tokio::time::sleep(GATHERED / 2).await;
            send("a");
        };
        let (next, ()) = tokio::join!(gathered.next(), more);
        assert_eq!(next, Some(name("a")));
        assert!(began.elapsed() < GATHERED * 3 / 2);
    }
}
