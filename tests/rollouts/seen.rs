//! What the API server tells of ModelDeployments, their routes and their endpoints, from the first moment on: how many pods
//! could be asked at every one of them, and what was said.

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufReader;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::Value;
use windlass_testcluster::Cluster;

const DEPLOYMENTS: &str = "modeldeployments";
const ROUTES: &str = "httproutes";
const SLICES: &str = "endpointslices";

/// Follows the objects of a cluster.
pub struct Seen {
    view: Arc<Mutex<View>>,
    watches: Mutex<Vec<Child>>,
}

/// What has been told so far; objects are known by `namespace/name`.
#[derive(Default)]
pub struct View {
    objects: BTreeMap<&'static str, BTreeMap<String, Value>>,
    /// ModelDeployments that had all the pods that they ask for.
    full: BTreeSet<String>,
    /// The fewest pods that a full one has had, and what was so then.
    least: BTreeMap<String, (usize, String)>,
    /// What Ready said, each thing once, in turn.
    said: BTreeMap<String, Vec<String>>,
    /// ModelDeployments that were not available any more, and what was said then.
    unavailable: BTreeMap<String, String>,
}

impl Seen {
    /// From now on.
    pub fn of(cluster: &Cluster) -> Self {
        let view = Arc::<Mutex<View>>::default();
        let watch = |kind| follow(cluster, kind, Arc::clone(&view));
        let watches = Mutex::new([DEPLOYMENTS, ROUTES, SLICES].map(watch).into());
        Self { view, watches }
    }

    fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().expect("no holder panics")
    }

    /// A ModelDeployment as it was told last; null before.
    pub fn deployment(&self, name: &str) -> Value {
        let view = self.view();
        let known = view.objects.get(DEPLOYMENTS);
        let found = known.and_then(|known| known.get(name));
        found.cloned().unwrap_or_default()
    }

    /// What Ready of a ModelDeployment has said so far, each thing once.
    pub fn said(&self, name: &str) -> Vec<String> {
        self.view().said.get(name).cloned().unwrap_or_default()
    }

    /// The fewest pods that a ModelDeployment has had that could be asked, since it had all that it asks for.
    pub fn least(&self, name: &str) -> Option<(usize, String)> {
        self.view().least.get(name).cloned()
    }

    /// That a ModelDeployment had as many pods as it asks for, at every moment since it had them first.
    pub fn assert_never_short(&self, name: &str) {
        for watch in self.watches.lock().expect("no holder panics").iter_mut() {
            let ended = watch.try_wait().expect("its state can be asked");
            assert!(ended.is_none(), "nothing is told any more: {ended:?}");
        }
        let view = self.view();
        let wanted = wanted(&view.objects[DEPLOYMENTS][name]);
        let (least, when) = view.least.get(name).expect("it was full once");
        assert!(
            *least >= wanted,
            "{name} had {least} pods of {wanted}: {when}"
        );
    }

    /// That a ModelDeployment was available ever since it was first.
    pub fn assert_always_available(&self, name: &str) {
        let view = self.view();
        assert!(
            !view.unavailable.contains_key(name),
            "{:?}",
            view.unavailable.get(name)
        );
    }
}

impl Drop for Seen {
    fn drop(&mut self) {
        for watch in self.watches.lock().expect("no holder panics").iter_mut() {
            // Of one that has ended already, there is nothing left to end.
            let _ = watch.kill();
            let _ = watch.wait();
        }
    }
}

fn follow(cluster: &Cluster, kind: &'static str, view: Arc<Mutex<View>>) -> Child {
    let mut watch = cluster
        .kubectl()
        .expect("kubectl is built")
        .command()
        .args(["get", kind, "--all-namespaces", "--output=json"])
        .args(["--watch", "--output-watch-events"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("kubectl starts");
    let told = BufReader::new(watch.stdout.take().expect("it is piped"));
    std::thread::spawn(move || {
        let events = serde_json::Deserializer::from_reader(told).into_iter::<Value>();
        for mut event in events.map_while(Result::ok) {
            let object = event["object"].take();
            let mut view = view.lock().expect("no holder panics");
            view.take(kind, event["type"] == "DELETED", object);
        }
    });
    watch
}

impl View {
    fn take(&mut self, kind: &'static str, is_gone: bool, object: Value) {
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
        let space = text("namespace").to_owned();
        let name = format!("{space}/{}", text("name"));
        if kind == DEPLOYMENTS {
            self.hear(&name, &object);
        }
        let known = self.objects.entry(kind).or_default();
        if is_gone {
            known.remove(&name);
        } else {
            known.insert(name, object);
        }
        self.count(&space);
    }

    fn hear(&mut self, name: &str, deployment: &Value) {
        let (_, reason, message) = condition(deployment, "Ready");
        let said = format!("{reason}: {message}");
        let all = self.said.entry(name.to_owned()).or_default();
        if all.last() != Some(&said) {
            all.push(said);
        }
        let known = self.objects.get(DEPLOYMENTS).and_then(|all| all.get(name));
        let was = known.is_some_and(|before| condition(before, "Available").0 == "True");
        let (is, reason, message) = condition(deployment, "Available");
        if was && is != "True" {
            let said = format!(
                "{reason}: {message}; {}",
                all.last().expect("it was just said")
            );
            self.unavailable.insert(name.to_owned(), said);
        }
    }

    /// Counts anew what can be asked in a namespace.
    fn count(&mut self, space: &str) {
        let Some(deployments) = self.objects.get(DEPLOYMENTS) else {
            return;
        };
        let here = format!("{space}/");
        for (name, deployment) in deployments
            .iter()
            .filter(|(name, _)| name.starts_with(&here))
        {
            let services = self.services(name, deployment);
            let ready = self.ready(space, &services);
            if ready >= wanted(deployment) {
                self.full.insert(name.clone());
            }
            let before = self.least.get(name).map_or(usize::MAX, |(least, _)| *least);
            if ready < before && self.full.contains(name) {
                let when = format!("behind {services:?}, status {}", deployment["status"]);
                self.least.insert(name.clone(), (ready, when));
            }
        }
    }

    /// The Services that share the traffic of a ModelDeployment.
    fn services(&self, name: &str, deployment: &Value) -> BTreeSet<String> {
        let is_routed = !deployment["spec"]["rollout"]["traffic"].is_null();
        let route = self.objects.get(ROUTES).and_then(|routes| routes.get(name));
        let Some(route) = route.filter(|_| is_routed) else {
            let (_, own) = name.split_once('/').expect("a namespace and a name");
            return BTreeSet::from([own.to_owned()]);
        };
        let rules = route["spec"]["rules"].as_array().into_iter().flatten();
        let backends = rules
            .filter_map(|rule| rule["backendRefs"].as_array())
            .flatten();
        backends
            .filter(|backend| backend["weight"] != 0)
            .filter_map(|backend| Some(backend["name"].as_str()?.to_owned()))
            .collect()
    }

    /// How many pods behind these Services are ready.
    fn ready(&self, space: &str, services: &BTreeSet<String>) -> usize {
        let slices = self
            .objects
            .get(SLICES)
            .into_iter()
            .flat_map(BTreeMap::values);
        let serving = slices.filter(|slice| {
            let metadata = &slice["metadata"];
            let service = metadata["labels"]["kubernetes.io/service-name"].as_str();
            metadata["namespace"] == space && service.is_some_and(|name| services.contains(name))
        });
        let endpoints = serving
            .filter_map(|slice| slice["endpoints"].as_array())
            .flatten();
        let ready = endpoints.filter(|endpoint| endpoint["conditions"]["ready"] != false);
        let pods: BTreeSet<&str> = ready
            .filter_map(|endpoint| endpoint["targetRef"]["name"].as_str())
            .collect();
        pods.len()
    }
}

fn wanted(deployment: &Value) -> usize {
    let replicas = deployment["spec"]["replicas"].as_u64().unwrap_or(1);
    usize::try_from(replicas).expect("it is small")
}

/// Status, reason and message of a condition; empty where it is not there.
pub fn condition(object: &Value, type_: &str) -> (String, String, String) {
    let all = object["status"]["conditions"].as_array();
    let found = all.into_iter().flatten().find(|one| one["type"] == type_);
    let text = |field: &str| {
        let found = found.and_then(|one| one[field].as_str());
        found.unwrap_or_default().to_owned()
    };
    (text("status"), text("reason"), text("message"))
}
