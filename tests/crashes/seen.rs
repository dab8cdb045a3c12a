//! What a roll-out looked like on its way, change by change, from watches of the API server.
//!
//! A way is what one thing showed, one after the other: the steps of the status, the weights of the route, how many pods a
//! Deployment was to have. It has each state once, so that two runs of other pace have the same ways.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Service;
use kube::api::{Api, DynamicObject};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::task::JoinSet;
use windlass_api::{
    AuditLine, Decision, DriftMonitor, ModelDeployment, ModelDeploymentStatus, ModelVersion,
    Strategy, TrainingJob, labels,
};

use super::gateway;

/// What was shown, one after the other, by what showed it.
pub type Ways = BTreeMap<String, Vec<String>>;

/// What was seen in one namespace.
#[derive(Clone, Default)]
pub struct Seen {
    /// The ways.
    pub ways: Ways,
    /// The newest status.
    pub status: Option<ModelDeploymentStatus>,
    /// Since when version 2 is in its second step.
    pub second_step: Option<Instant>,
    /// The step that began last, and when.
    begun: Option<(i32, Timestamp)>,
    /// Ready pods of each Deployment.
    ready: BTreeMap<String, i32>,
    /// The uid of what is there, by kind and name.
    uids: BTreeMap<String, String>,
    /// The decisions on each version.
    decisions: BTreeMap<String, Vec<Decision>>,
}

/// Everything that was seen, by namespace, for as long as this is held.
#[derive(Clone)]
pub struct Watching {
    all: Arc<Mutex<HashMap<String, Seen>>>,
    _tasks: Arc<JoinSet<()>>,
}

impl Watching {
    /// Watches all namespaces.
    pub fn start(client: &Client) -> Self {
        let all = Arc::new(Mutex::new(HashMap::<String, Seen>::new()));
        let mut tasks = JoinSet::new();
        let deployments = Api::<ModelDeployment>::all(client.clone());
        tasks.spawn(each(deployments, all.clone(), Seen::model_deployment));
        let deployments = Api::<Deployment>::all(client.clone());
        tasks.spawn(each(deployments, all.clone(), Seen::deployment));
        let services = Api::<Service>::all(client.clone());
        tasks.spawn(each(services, all.clone(), Seen::service));
        let jobs = Api::<Job>::all(client.clone());
        tasks.spawn(each(jobs, all.clone(), Seen::job));
        let trainings = Api::<TrainingJob>::all(client.clone());
        tasks.spawn(each(trainings, all.clone(), Seen::thing));
        let versions = Api::<ModelVersion>::all(client.clone());
        tasks.spawn(each(versions, all.clone(), Seen::version));
        let monitors = Api::<DriftMonitor>::all(client.clone());
        tasks.spawn(each(monitors, all.clone(), Seen::monitor));
        let routes = Api::<DynamicObject>::all_with(client.clone(), &gateway::routes());
        let of_all = all.clone();
        tasks.spawn(async move {
            let mut changes = changes(watcher(routes, watcher::Config::default()));
            while let Some((route, is_there)) = changes.next().await {
                note(&of_all, &route, is_there, Seen::route);
            }
        });
        Self {
            all,
            _tasks: Arc::new(tasks),
        }
    }

    /// What was seen in a namespace so far.
    pub fn of(&self, namespace: &str) -> Seen {
        lock(&self.all).get(namespace).cloned().unwrap_or_default()
    }

    /// Since when version 2 is in its second step.
    pub fn second_step(&self, namespace: &str) -> Option<Instant> {
        lock(&self.all).get(namespace)?.second_step
    }
}

fn lock(all: &Mutex<HashMap<String, Seen>>) -> MutexGuard<'_, HashMap<String, Seen>> {
    all.lock().expect("no holder panics")
}

async fn each<K>(api: Api<K>, all: Arc<Mutex<HashMap<String, Seen>>>, take: fn(&mut Seen, &K, bool))
where
    K: kube::Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let mut changes = changes(watcher(api, watcher::Config::default()));
    while let Some((object, is_there)) = changes.next().await {
        note(&all, &object, is_there, take);
    }
}

fn note<K: ResourceExt>(
    all: &Mutex<HashMap<String, Seen>>,
    object: &K,
    is_there: bool,
    take: fn(&mut Seen, &K, bool),
) {
    let namespace = object.namespace().unwrap_or_default();
    take(lock(all).entry(namespace).or_default(), object, is_there);
}

/// The objects of a watch as they change, and whether each is there still.
pub fn changes<K: Clone + Send + 'static>(
    events: impl futures::Stream<Item = watcher::Result<watcher::Event<K>>> + Send + 'static,
) -> impl futures::Stream<Item = (K, bool)> + Unpin {
    let changes = events.default_backoff().filter_map(|event| {
        let change = match event {
            Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => {
                Some((object, true))
            }
            Ok(watcher::Event::Delete(object)) => Some((object, false)),
            Ok(watcher::Event::Init | watcher::Event::InitDone) => None,
            Err(error) => {
                eprintln!("a watch of the test's failed and is taken up again: {error}");
                None
            }
        };
        std::future::ready(change)
    });
    Box::pin(changes)
}

impl Seen {
    fn shows(&mut self, what: impl Into<String>, state: String) {
        let way = self.ways.entry(what.into()).or_default();
        if way.last() != Some(&state) {
            way.push(state);
        }
    }

    fn model_deployment(&mut self, deployment: &ModelDeployment, is_there: bool) {
        let Some(status) = deployment.status.as_ref().filter(|_| is_there) else {
            return;
        };
        self.status = Some(status.clone());
        if let Some(canary) = &status.canary {
            // While pods of a step are awaited, the step is not yet; and when all have passed, there is none any more.
            let rollout = &deployment.spec.rollout;
            let steps = match rollout.strategy {
                Strategy::BlueGreen => 1,
                _ => rollout.steps.len(),
            };
            let is_step = usize::try_from(canary.step).is_ok_and(|step| step < steps);
            if let Some(started) = canary.step_started.filter(|_| is_step) {
                let again = match self.begun {
                    Some((step, before)) if step == canary.step && before != started => ", again",
                    _ => "",
                };
                self.begun = Some((canary.step, started));
                let state = format!(
                    "{} at step {} with {}%{again}",
                    canary.version, canary.step, canary.weight
                );
                self.shows("steps", state);
                if canary.step >= 1 {
                    self.second_step.get_or_insert_with(Instant::now);
                }
            }
        } else if let Some(stable) = &status.stable {
            self.shows("steps", format!("{} serves", stable.version));
        }
        if let Some(traffic) = &status.traffic {
            let weights = traffic.weights.iter();
            let weights: Vec<String> = weights
                .map(|(version, weight)| format!("{version} {weight}"))
                .collect();
            let state = format!("by {:?}: {}", traffic.by, weights.join(", "));
            self.shows("traffic by the status", state);
        }
        let kept = status.bake.as_ref().map_or("none", |bake| &bake.version);
        self.shows("kept", kept.to_owned());
    }

    fn deployment(&mut self, deployment: &Deployment, is_there: bool) {
        let name = deployment.name_any();
        let asked = deployment.spec.replicas.unwrap_or_default();
        let state = if is_there {
            format!("{asked} pods")
        } else {
            "gone".to_owned()
        };
        self.shows(format!("Deployment {name}"), state);
        let status = deployment.status.as_ref().filter(|_| is_there);
        let ready = status.and_then(|status| status.ready_replicas).unwrap_or(0);
        self.ready.insert(name, ready);
        let all: i32 = self.ready.values().sum();
        // Once there were as many as are asked for, there are never fewer.
        let state = if all < 2 { "too few" } else { "enough" };
        self.shows("ready pods", state.to_owned());
    }

    /// That something was made, has gone, or was made again.
    fn thing<K: Resource<DynamicType = ()>>(&mut self, object: &K, is_there: bool) {
        let name = format!("{} {}", K::kind(&()), object.name_any());
        let uid = object.uid().unwrap_or_default();
        if is_there {
            match self.uids.insert(name.clone(), uid.clone()) {
                None => self.shows(name, "made".to_owned()),
                Some(before) if before != uid => self.shows(name, "made again".to_owned()),
                Some(_) => {}
            }
        } else {
            self.shows(name, "gone".to_owned());
        }
    }

    /// Of the Jobs of windows, which are named after a time, only that there are two of one name is told.
    fn job(&mut self, job: &Job, is_there: bool) {
        let role = job.labels().get(labels::ROLE);
        if role.is_none_or(|role| role != "drift") {
            self.thing(job, is_there);
        } else if is_there {
            let uid = job.uid().unwrap_or_default();
            let before = self.uids.insert(job.name_any(), uid.clone());
            if before.is_some_and(|before| before != uid) {
                self.shows("Jobs of windows", "made again".to_owned());
            }
        }
    }

    fn version(&mut self, version: &ModelVersion, is_there: bool) {
        self.thing(version, is_there);
        let status = version.status.iter();
        let decisions = status.flat_map(|status| &status.decisions).cloned();
        self.decisions
            .insert(version.name_any(), decisions.collect());
    }

    fn monitor(&mut self, monitor: &DriftMonitor, is_there: bool) {
        self.thing(monitor, is_there);
        let status = monitor.status.as_ref();
        if let Some(reference) = status.and_then(|status| status.reference.clone()) {
            self.shows("reference", reference);
        }
    }

    /// The actions on record of each version.
    pub fn records(&self) -> BTreeMap<String, Vec<String>> {
        let actions = |all: &Vec<Decision>| {
            let actions = all.iter().map(|one| format!("{:?}", one.action));
            actions.collect()
        };
        let all = self.decisions.iter();
        all.map(|(version, decisions)| (version.clone(), actions(decisions)))
            .collect()
    }

    /// The decisions of which there is no line in the audit log of operators that said this.
    pub fn lost(&self, said: &str) -> Vec<String> {
        let lines = said
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let told: BTreeSet<String> = lines
            .filter_map(|line| serde_json::from_value::<AuditLine>(line.get("audit")?.clone()).ok())
            .map(|line| line.decision.digest)
            .collect();
        let all = self.decisions.iter();
        all.flat_map(|(version, decisions)| decisions.iter().map(move |one| (version, one)))
            .filter(|(_, decision)| !told.contains(&decision.digest))
            .map(|(version, decision)| {
                format!("no operator said of {version}: {:?}", decision.action)
            })
            .collect()
    }

    fn service(&mut self, service: &Service, is_there: bool) {
        let selector = service
            .spec
            .as_ref()
            .and_then(|spec| spec.selector.as_ref());
        let version = selector.and_then(|selector| selector.get(labels::VERSION));
        let state = match (is_there, version) {
            (false, _) => "gone".to_owned(),
            (true, None) => "to every version".to_owned(),
            (true, Some(version)) => format!("to {version}"),
        };
        self.shows(format!("Service {}", service.name_any()), state);
    }

    fn route(&mut self, route: &DynamicObject, is_there: bool) {
        let rules = route.data.pointer("/spec/rules").and_then(Value::as_array);
        let backends = rules.and_then(|rules| rules.last()?.get("backendRefs")?.as_array());
        let weights: Vec<String> = backends
            .into_iter()
            .flatten()
            .map(|backend| format!("{} {}", text(&backend["name"]), backend["weight"]))
            .collect();
        let state = if is_there {
            weights.join(", ")
        } else {
            "gone".to_owned()
        };
        self.shows("route", state);
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
