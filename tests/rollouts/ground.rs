//! What these tests stand on: one cluster, used by one after the other, and what they say to ModelDeployments on it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use windlass_api::agent::METRICS_PORT;
use windlass_testcluster::Addition;

use crate::node::{Bench, PATIENCE};
use crate::seen::{Seen, condition};

const SERVER: &str = include_str!("server.py");

/// A cluster with a Gateway, and what has been seen of it.
pub struct Ground {
    /// The cluster.
    pub bench: Bench,
    /// What was told of it.
    pub seen: Seen,
}

/// How many tests use the cluster or wait for it, and the cluster. Who is the last takes it down.
static SHARED: Mutex<(usize, Option<Arc<Ground>>)> = Mutex::new((0, None));
/// Whose turn it is: two at once would be too much for two processors.
static TURN: Mutex<()> = Mutex::new(());

/// A test that uses the cluster.
struct User;

impl Drop for User {
    fn drop(&mut self) {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.0 -= 1;
        if shared.0 == 0 {
            shared.1 = None;
        }
    }
}

/// Runs a test on the cluster, which is made for the first one.
pub fn stand(test: impl FnOnce(&Ground)) {
    SHARED.lock().unwrap_or_else(PoisonError::into_inner).0 += 1;
    let _user = User;
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let ground = {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        let ground = shared.1.get_or_insert_with(|| Arc::new(Ground::new()));
        Arc::clone(ground)
    };
    test(&ground);
}

impl Ground {
    fn new() -> Self {
        let bench = Bench::up_with("rollouts", Addition::Gateway);
        let seen = Seen::of(&bench.cluster);
        Self { bench, seen }
    }

    /// Registers a version of the model `m` whose files say its number. `more` is added to its spec.
    pub fn register(&self, space: &str, number: u32, more: &str) {
        let path = format!("models/{number}/model");
        self.bench.write(space, &path, &number.to_string());
        self.bench.apply(&format!(
            "apiVersion: windlass.dev/v1alpha1\nkind: ModelVersion\nmetadata: {{name: m-{number}, namespace: {space}}}\n\
             spec: {{model: m, version: {number}, artifact: {{uri: \"pvc://data/models/{number}\", format: Plain}}{more}}}\n"
        ));
    }

    /// Has the model of a number misbehave from now on.
    pub fn misbehaves(&self, space: &str, number: u32, mode: &str) {
        self.bench.write(space, &format!("modes/{number}"), mode);
    }

    /// Makes a ModelDeployment that serves the model's first version by [`SERVER`].
    pub fn deploy<'a>(
        &'a self,
        space: &'static str,
        name: &'static str,
        asked: &Asked<'_>,
    ) -> Deployment<'a> {
        let Asked { replicas, rollout } = asked;
        self.bench.apply(&format!(
            "apiVersion: windlass.dev/v1alpha1\nkind: ModelDeployment\nmetadata: {{name: {name}, namespace: {space}}}\nspec:\n  model: m\n  version: 1\n  replicas: {replicas}\n  progressDeadlineSeconds: 600\n\
             \x20 template: {{spec: {{volumes: [{{name: claim, persistentVolumeClaim: {{claimName: data}}}}], containers: [{{name: server, image: {GOOD_IMAGE:?}, imagePullPolicy: IfNotPresent, command: [python3, -c, {SERVER:?}], volumeMounts: [{{name: claim, mountPath: /claim, readOnly: true}}]}}]}}}}\n\
             \x20 rollout: {rollout}\n"
        ));
        Deployment {
            ground: self,
            space,
            name,
        }
    }
}

/// The image that the server runs in.
pub const GOOD_IMAGE: &str = "localhost/flights:dev";

/// What is asked for of a ModelDeployment.
pub struct Asked<'a> {
    /// Pods.
    pub replicas: u32,
    /// `spec.rollout`.
    pub rollout: &'a str,
}

/// A ModelDeployment.
#[derive(Clone, Copy)]
pub struct Deployment<'a> {
    /// Where it is.
    pub ground: &'a Ground,
    /// Its namespace.
    pub space: &'static str,
    /// Its name.
    pub name: &'static str,
}

impl Deployment<'_> {
    /// Namespace and name.
    pub fn key(&self) -> String {
        format!("{}/{}", self.space, self.name)
    }

    /// As it was told last.
    pub fn now(&self) -> Value {
        self.ground.seen.deployment(&self.key())
    }

    /// A field of it, by its JSON pointer, as text; empty where it is not there.
    pub fn field(&self, pointer: &str) -> String {
        match self.now().pointer(pointer) {
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => String::new(),
        }
    }

    /// Changes its spec, and waits until the change is seen here too.
    pub fn change(&self, spec: &Value) {
        let patch = serde_json::json!({ "spec": spec }).to_string();
        let generation = self.ground.bench.kubectl(&[
            "-n",
            self.space,
            "patch",
            "modeldeployment",
            self.name,
            "--type=merge",
            "-p",
            &patch,
            "-o",
            "jsonpath={.metadata.generation}",
        ]);
        let generation: u64 = generation.parse().expect("a number");
        self.until("the change is told", |now| {
            now["metadata"]["generation"].as_u64() >= Some(generation)
        });
    }

    /// Asks for a version.
    pub fn ask_for(&self, version: u32) {
        self.change(&serde_json::json!({ "version": version }));
    }

    /// Waits until something is so of it, which may take two starts of pods.
    pub fn until(&self, what: &str, is_so: impl Fn(&Value) -> bool) {
        let start = Instant::now();
        while !is_so(&self.now()) {
            assert!(
                start.elapsed() < PATIENCE * 2,
                "{}: after {:?} not yet so: {what}; it says {:?}\n{}\n{}",
                self.key(),
                start.elapsed(),
                condition(&self.now(), "Ready"),
                self.now()["status"],
                self.ground.bench.kubectl(&[
                    "-n",
                    self.space,
                    "get",
                    "pods,httproutes",
                    "-o",
                    "wide"
                ])
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits until a version serves, and nothing else is asked for.
    pub fn until_serves(&self, version: u32) {
        let name = format!("m-{version}");
        self.until(&format!("{name} serves"), |now| {
            now["status"]["stable"]["version"] == name.as_str()
                && condition(now, "Ready").0 == "True"
                && now["metadata"]["generation"] == now["status"]["observedGeneration"]
        });
    }

    /// Waits until a version is tried, with this part of the traffic at least.
    pub fn until_tried(&self, version: u32, weight: i64) {
        let name = format!("m-{version}");
        self.until(&format!("{name} is tried with {weight}%"), |now| {
            let canary = &now["status"]["canary"];
            canary["version"] == name.as_str() && canary["weight"].as_i64() >= Some(weight)
        });
    }

    /// Waits until it is stalled for a reason, in words that have all of these, of which an Event tells too.
    pub fn until_stalled(&self, reason: &str, words: &[&str]) {
        self.until(&format!("it is stalled: {reason} {words:?}"), |now| {
            let (status, said, message) = condition(now, "Stalled");
            status == "True" && said == reason && words.iter().all(|word| message.contains(word))
        });
        println!(
            "{}: {reason}: {}",
            self.key(),
            condition(&self.now(), "Stalled").2
        );
        self.until_told(reason, words);
        self.assert_serves_on();
    }

    /// Waits until a version is taken back, for a reason that has these words, and is not tried again.
    pub fn until_taken_back(&self, version: u32, words: &[&str]) {
        let name = format!("m-{version}");
        self.until(&format!("{name} is taken back"), |now| {
            let last = &now["status"]["lastRollout"];
            last["version"] == name.as_str() && last["outcome"] == "RolledBack"
        });
        let why = self.field("/status/lastRollout/message");
        println!("{}: {name} was rolled back: {why}", self.key());
        for word in words {
            assert!(why.contains(word), "{why:?} does not say {word:?}");
        }
        self.until_told("RolledBack", &[&format!("{name} was ")]);
        let quarantine = self.now()["status"]["quarantine"].clone();
        let all = quarantine.as_array().into_iter().flatten();
        assert!(
            all.into_iter().any(|one| one["version"] == name.as_str()),
            "{quarantine}"
        );
    }

    /// Waits until an Event tells of it under this reason, in words that have all of these; an operator that was ended by its probes on a busy machine may have
    /// taken it along.
    pub fn until_told(&self, reason: &str, words: &[&str]) {
        let kubectl = |arguments: &[&str]| self.ground.bench.kubectl(arguments);
        let of = format!("involvedObject.name={},reason={reason}", self.name);
        let events = [
            "-n",
            self.space,
            "get",
            "events",
            "-o",
            "jsonpath={range .items[*]}{.message}{'\\n'}{end}",
            "--field-selector",
            &of,
        ];
        let start = Instant::now();
        let is_told = || {
            let all = kubectl(&events);
            let has_all = |said: &str| words.iter().all(|word| said.contains(word));
            all.lines().any(|said| !said.is_empty() && has_all(said))
        };
        while !is_told() {
            let path = "jsonpath={.items[*].status.containerStatuses[*].restartCount}";
            let restarts = kubectl(&["-n", "windlass-system", "get", "pods", "-o", path]);
            let has_begun_anew = restarts.contains(|digit| ('1'..='9').contains(&digit));
            if has_begun_anew && start.elapsed() > Duration::from_secs(20) {
                println!(
                    "{}: no Event tells of {reason}: the operator began anew",
                    self.key()
                );
                return;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "no Event tells of {reason} {words:?}"
            );
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// That the first version is the one that serves.
    pub fn assert_serves_on(&self) {
        assert_eq!(self.field("/status/stable/version"), "m-1");
        assert_eq!(condition(&self.now(), "Available").0, "True");
    }

    /// How many requests the proxies of a version's pods have seen fail.
    pub fn failed_of(&self, version: u32) -> u64 {
        let kubectl = |arguments: &[&str]| self.ground.bench.kubectl(arguments);
        let of = format!(
            "windlass.dev/deployment={},windlass.dev/version=m-{version}",
            self.name
        );
        let pods = kubectl(&[
            "-n",
            self.space,
            "get",
            "pods",
            "-l",
            &of,
            "-o",
            "jsonpath={.items[*].metadata.name}",
        ]);
        assert!(!pods.is_empty(), "version {version} has pods");
        let failed = pods.split_whitespace().map(|pod| {
            let path = format!(
                "/api/v1/namespaces/{}/pods/{pod}:{METRICS_PORT}/proxy/metrics",
                self.space
            );
            let metrics = kubectl(&["get", "--raw", &path]);
            let lines = metrics.lines().filter_map(|line| {
                let (name, value) = line.rsplit_once(' ')?;
                let is_failed = ["5xx", "unanswered"].iter().any(|class| {
                    name == format!("windlass_proxy_requests_total{{code_class=\"{class}\"}}")
                });
                is_failed.then(|| value.parse::<f64>().expect("a number"))
            });
            let counts: Vec<f64> = lines.collect();
            assert_eq!(counts.len(), 2, "{metrics}");
            counts.iter().sum::<f64>()
        });
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // counts
        let failed = failed.sum::<f64>() as u64;
        failed
    }
}
