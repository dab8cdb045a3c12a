//! Constant load, from a pod of its own: what came of every request, told by who answered it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ground::Ground;
use crate::node::{Bench, PATIENCE};

const PROGRAM: &str = include_str!("load.py");
/// The Gateway's address.
const GATEWAY: (&str, u16) = ("10.201.0.1", 8000);
/// The port of every Service.
const PORT: u16 = 8080;

/// What is asked again and again.
#[derive(Clone, Debug, Serialize)]
pub struct Target {
    name: String,
    address: String,
    port: u16,
    host: String,
    /// Seconds from one request to the next.
    pause: f64,
    /// Whether all go over one connection, as far as they are let.
    keep: bool,
    /// Headers beside those that every request has.
    headers: BTreeMap<String, String>,
}

impl Target {
    /// What the Service of a ModelDeployment is asked, which it is called by.
    pub fn service(space: &str, deployment: &str, pause: f64) -> Self {
        let address = format!("{deployment}.{space}");
        Self {
            name: deployment.to_owned(),
            host: address.clone(),
            address,
            port: PORT,
            pause,
            keep: false,
            headers: BTreeMap::new(),
        }
    }

    /// What the Gateway is asked under a host name.
    pub fn gateway(name: &str, host: &str, pause: f64) -> Self {
        Self {
            name: name.to_owned(),
            address: GATEWAY.0.to_owned(),
            port: GATEWAY.1,
            host: host.to_owned(),
            pause,
            keep: false,
            headers: BTreeMap::new(),
        }
    }

    /// The same with a header, under another name.
    pub fn with(&self, name: &str, header: &str, value: &str) -> Self {
        let mut headers = self.headers.clone();
        headers.insert(header.to_owned(), value.to_owned());
        Self {
            name: name.to_owned(),
            headers,
            ..self.clone()
        }
    }

    /// The same over one connection, under another name.
    pub fn kept(&self) -> Self {
        Self {
            name: format!("{}-kept", self.name),
            keep: true,
            ..self.clone()
        }
    }
}

/// What came of the requests to a target since its first good answer.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Counted {
    /// All of them.
    pub sent: u64,
    /// Those that no version's pod answered: what goes wrong on the way to one.
    pub failures: u64,
    /// The last few of these.
    #[allow(
        dead_code,
        reason = "it is for people, who read all of it where a test fails"
    )]
    pub failed: Vec<serde_json::Value>,
    /// Those that a pod's proxy answered in place of a model server that did not.
    pub refused: u64,
    /// Those that a model server answered with an error, by the version's number.
    pub errors: BTreeMap<String, u64>,
    /// Good answers, by the version's number.
    pub answers: BTreeMap<String, u64>,
}

impl Counted {
    /// Whether a version's model answered each of them well.
    pub fn is_good(&self) -> bool {
        self.failures == 0 && self.refused == 0 && self.errors.is_empty()
    }

    /// How many a version answered well.
    pub fn by(&self, version: u32) -> u64 {
        let number = format!("{version}.0");
        self.answers.get(&number).copied().unwrap_or_default()
    }
}

/// A pod that sends requests.
pub struct Load<'a> {
    ground: &'a Ground,
    space: &'static str,
}

impl<'a> Load<'a> {
    /// Starts one; what does not answer yet is asked until it does, and counted from then on.
    pub fn start(ground: &'a Ground, space: &'static str, targets: &[Target]) -> Self {
        let targets = serde_json::to_string(targets).expect("they can be written");
        ground.bench.apply(&format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: load, namespace: {space}}}\nspec:\n  securityContext: {{runAsNonRoot: true, runAsUser: 65532, seccompProfile: {{type: RuntimeDefault}}}}\n  containers:\n  - name: load\n    image: localhost/flights:dev\n    imagePullPolicy: IfNotPresent\n\
             \x20   command: [python3, -c, {PROGRAM:?}, {targets:?}]\n    resources: {{requests: {{cpu: 100m}}}}\n    securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}\n"
        ));
        Self { ground, space }
    }

    /// What has come of it all, by the targets' names. A kubelet that does not answer at once is asked again.
    pub fn all(&self) -> BTreeMap<String, Counted> {
        let mut all = BTreeMap::new();
        Bench::until(PATIENCE, "the load says what came of it", || {
            all = self.told();
            !all.is_empty()
        });
        all
    }

    /// The same as far as it is told now: nothing before the load has begun, or where its log cannot be read.
    fn told(&self) -> BTreeMap<String, Counted> {
        let Ok(kubectl) = self.ground.bench.cluster.kubectl() else {
            return BTreeMap::new();
        };
        let log = kubectl.run(&["-n", self.space, "logs", "load", "--tail=2"]);
        let log = log.unwrap_or_default();
        let mut lines = log.lines().rev();
        let newest = lines.find_map(|line| serde_json::from_str(line).ok());
        newest.unwrap_or_default()
    }

    /// What has come of the requests to one.
    pub fn of(&self, name: &str) -> Counted {
        let mut all = self.all();
        all.remove(name)
            .unwrap_or_else(|| panic!("{name} is no target: {all:?}"))
    }

    /// Waits until these are answered.
    pub fn until_it_comes(&self, names: &[&str]) {
        Bench::until(PATIENCE, "the load comes", || {
            let all = self.told();
            let is_answered = |name: &&str| all.get(*name).is_some_and(|one| one.sent > 0);
            names.iter().all(is_answered)
        });
    }

    /// Waits until this many more requests have been sent to one, and returns what came of them all.
    pub fn goes_on(&self, name: &str, more: u64) -> Counted {
        let before = self.of(name).sent;
        Bench::until(PATIENCE, "the load goes on", || {
            self.of(name).sent >= before + more
        });
        self.of(name)
    }
}
