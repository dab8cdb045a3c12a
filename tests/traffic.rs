//! Roll-outs on a real node, one after the other, behind a real Gateway and behind a Service, under constant load: no request
//! fails, whatever is promoted, given up, or killed.
//!
//! `WINDLASS_ROLLOUTS` says how many; `make test` does a few, `make test-rollouts` fifty.

#[path = "support/node.rs"]
mod node;

use std::time::{Duration, Instant};

use node::{Bench, PATIENCE, obstacle};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use windlass_testcluster::Addition;

const SPACE: &str = "traffic";
/// Versions that are rolled out in turn.
const VERSIONS: u32 = 4;

/// A server of the Open Inference Protocol: it is ready where its model is, and answers the same whatever its number, which
/// it says beside.
const SERVER: &str = "import http.server, json, os\n\
number = float(open(os.environ['WINDLASS_MODEL_DIRECTORY'] + '/model').read())\n\
outputs = [{'name': name, 'shape': [1], 'datatype': 'FP64', 'data': [value]} for name, value in (('p', 0.5), ('number', number))]\n\
answer = json.dumps({'model_name': 'm', 'outputs': outputs}).encode()\n\
class Handler(http.server.BaseHTTPRequestHandler):\n    protocol_version = 'HTTP/1.1'\n    def say(self, body):\n        self.send_response(200)\n        self.send_header('Content-Type', 'application/json')\n        self.send_header('Content-Length', str(len(body)))\n        self.end_headers()\n        self.wfile.write(body)\n    def do_GET(self):\n        self.say(b'{}')\n    def do_POST(self):\n        self.rfile.read(int(self.headers['Content-Length']))\n        self.say(answer)\n    def log_message(self, *words):\n        pass\n\
class Server(http.server.ThreadingHTTPServer):\n    request_queue_size = 128\n\
Server(('127.0.0.1', int(os.environ['WINDLASS_PORT'])), Handler).serve_forever()";

/// Asks each address again and again, some thirty times a second, half of the time over one connection; writes down what
/// failed, and once a second how much was asked and who answered.
const LOADER: &str = "import http.client, json, sys, threading, time\n\
body = json.dumps({'inputs': [{'name': 'x', 'shape': [1, 1], 'datatype': 'FP64', 'data': [1]}]})\n\
def ask(name, address, host, keep):\n    sent, failed, answers, told, connection = 0, [], {}, 0, None\n    while True:\n        try:\n            if connection is None:\n                connection = http.client.HTTPConnection(*address, timeout=20)\n            connection.request('POST', '/v2/models/m/infer', body, {'Content-Type': 'application/json', 'Host': host})\n            answer = connection.getresponse()\n            text = answer.read()\n            if answer.status == 200:\n                number = json.loads(text)['outputs'][1]['data'][0]\n                answers[number] = answers.get(number, 0) + 1\n            else:\n                failed.append([time.time(), answer.status, text[:300].decode(errors='replace')])\n            if not keep or answer.getheader('Connection') == 'close':\n                connection.close()\n                connection = None\n        except Exception as problem:\n            failed.append([time.time(), 0, repr(problem)])\n            connection = None\n        sent += 1\n        if time.time() - told > 1:\n            told = time.time()\n            print(json.dumps({'name': name, 'sent': sent, 'failed': failed[-5:], 'failures': len(failed), 'answers': answers}), flush=True)\n        time.sleep(0.03)\n\
for keep in (False, True):\n    for name, host, port in (('gateway', '10.201.0.1', 8000), ('service', 's', 8080)):\n        threading.Thread(target=ask, args=('%s-%s' % (name, 'kept' if keep else 'new'), (host, port), 'models.test' if name == 'gateway' else host, keep)).start()\n";

fn version(number: u32) -> String {
    format!(
        "apiVersion: windlass.dev/v1alpha1\nkind: ModelVersion\nmetadata: {{name: m-{number}, namespace: {SPACE}}}\n\
         spec: {{model: m, version: {number}, artifact: {{uri: \"pvc://data/models/{number}\", format: Plain}}}}\n---\n"
    )
}

fn deployment(name: &str, rollout: &str) -> String {
    format!(
        "apiVersion: windlass.dev/v1alpha1\nkind: ModelDeployment\nmetadata: {{name: {name}, namespace: {SPACE}}}\nspec:\n  model: m\n  version: 1\n  replicas: 2\n  progressDeadlineSeconds: 120\n\
         \x20 template: {{spec: {{containers: [{{name: server, image: \"localhost/flights:dev\", imagePullPolicy: IfNotPresent, command: [python3, -c, {SERVER:?}]}}]}}}}\n\
         \x20 rollout: {rollout}\n---\n"
    )
}

/// With these steps it is over soon; that errors are compared is another test's business.
const QUICK: &str = "minRequests: 5, steps: [{weight: 20, hold: 1s}, {weight: 60, hold: 1s}], analysis: [{metric: ErrorRate, notWorseThan: \"1\"}]";

fn routing() -> &'static str {
    "traffic: {gatewayRef: {name: windlass, namespace: gateway-system}, hostnames: [models.test]}"
}

impl Bench {
    fn field(&self, object: &str, path: &str) -> String {
        let path = format!("jsonpath={{{path}}}");
        self.kubectl(&["-n", SPACE, "get", object, "-o", &path])
    }

    fn patch(&self, name: &str, patch: &str) {
        self.kubectl(&[
            "-n",
            SPACE,
            "patch",
            "md",
            name,
            "--type=merge",
            "-p",
            patch,
        ]);
    }

    fn ask_for(&self, name: &str, version: u32, rollout: &str) {
        self.patch(
            name,
            &format!("{{\"spec\": {{\"version\": {version}, \"rollout\": {rollout}}}}}"),
        );
    }

    fn until_serves(&self, name: &str, version: u32) {
        let object = format!("md/{name}");
        let start = Instant::now();
        loop {
            let stable = self.field(&object, ".status.stable.version");
            let (ready, reason, message) = self.condition(SPACE, &object, "Ready");
            let generation = self.field(&object, ".metadata.generation");
            let observed = self.field(&object, ".status.observedGeneration");
            if stable == format!("m-{version}") && ready == "True" && generation == observed {
                return;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "{name} does not serve version {version}: {stable}, {reason}: {message}\n{}",
                self.kubectl(&["-n", SPACE, "get", "pods,httproutes", "-o", "wide"])
            );
            std::thread::sleep(Duration::from_millis(300));
        }
    }

    /// What the loader has counted: for each way the requests, those that failed, and how.
    fn loaded(&self) -> Vec<serde_json::Value> {
        let log = self.kubectl(&["-n", SPACE, "logs", "loader", "--tail=40"]);
        let mut newest = std::collections::BTreeMap::new();
        for line in log.lines() {
            if let Ok(value) = serde_json::from_str::<serde_json::Value>(line) {
                newest.insert(value["name"].to_string(), value);
            }
        }
        newest.into_values().collect()
    }

    fn assert_nothing_failed(&self, after: &str) {
        let loaded = self.loaded();
        assert_eq!(loaded.len(), 4, "{loaded:?}");
        for one in loaded {
            assert_eq!(one["failures"], 0, "after {after}: {one}");
        }
    }

    /// Ends the operator's process as `kill -9` does.
    fn kill_operator(&self) {
        self.kubectl(&[
            "-n",
            "windlass-system",
            "delete",
            "pod",
            "-l",
            "app.kubernetes.io/name=windlass",
            "--grace-period=0",
            "--force",
            "--wait=false",
        ]);
    }
}

#[test]
fn no_request_fails_through_roll_outs_that_are_promoted_given_up_and_killed() {
    if let Some(why) = obstacle() {
        println!("skipped: {why}");
        return;
    }
    let rounds =
        std::env::var("WINDLASS_ROLLOUTS").map_or(6, |text| text.parse().expect("a number"));
    let bench = Bench::up_with("rollouts", Addition::Gateway);
    bench.namespace(SPACE);
    for number in 1..=VERSIONS {
        bench.write(
            SPACE,
            &format!("models/{number}/model"),
            &number.to_string(),
        );
        bench.apply(&version(number));
    }
    bench.apply(&deployment("g", &format!("{{{QUICK}, {}}}", routing())));
    bench.apply(&deployment("s", &format!("{{{QUICK}}}")));
    for name in ["g", "s"] {
        bench.until_serves(name, 1);
    }
    assert_eq!(bench.field("md/g", ".status.traffic.by"), "Gateway");
    bench.apply(&format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: loader, namespace: {SPACE}}}\nspec:\n  securityContext: {{runAsNonRoot: true, runAsUser: 65532, seccompProfile: {{type: RuntimeDefault}}}}\n  containers:\n  - name: loader\n    image: localhost/flights:dev\n    imagePullPolicy: IfNotPresent\n\
         \x20   command: [python3, -c, {LOADER:?}]\n    securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}\n"
    ));
    Bench::until(PATIENCE, "the load comes", || {
        bench.condition(SPACE, "pod/loader", "Ready").0 == "True" && bench.loaded().len() == 4
    });

    let mut random = StdRng::seed_from_u64(7);
    let (mut serves, start) = (1, Instant::now());
    for round in 0..rounds {
        let next = (serves + random.random_range(0..VERSIONS - 1)) % VERSIONS + 1;
        let strategies = ["Canary", "BlueGreen", "Shadow"];
        let strategy = strategies[random.random_range(0..strategies.len())];
        let bake = if random.random_bool(0.3) { "3s" } else { "0s" };
        let analysis = match strategy {
            // The shadow has to have been sent copies, and to have answered: otherwise nothing could be compared.
            "Shadow" => "[{\"metric\": \"Agreement\", \"min\": \"0.5\"}]",
            _ => "[{\"metric\": \"ErrorRate\", \"notWorseThan\": \"1\"}]",
        };
        bench.ask_for("g", next, &format!("{{\"bake\": \"{bake}\"}}"));
        bench.ask_for(
            "s",
            next,
            &format!(
                "{{\"strategy\": \"{strategy}\", \"bake\": \"{bake}\", \"analysis\": {analysis}}}"
            ),
        );
        let mut what = format!("round {round}: {next}, {strategy}, bake {bake}");
        std::thread::sleep(Duration::from_millis(random.random_range(0..9000)));
        match random.random_range(0..4) {
            0 => {
                what += ", the operator is killed";
                bench.kill_operator();
                serves = next;
            }
            1 => {
                what += ", given up";
                for name in ["g", "s"] {
                    bench.ask_for(name, serves, "{}");
                }
            }
            _ => serves = next,
        }
        for name in ["g", "s"] {
            bench.until_serves(name, serves);
        }
        println!("{what}, after {:.0?}", start.elapsed());
        bench.assert_nothing_failed(&what);
    }
    // What is deleted in the end was there for all of it.
    let loaded = bench.loaded();
    println!("{loaded:#?}");
    for one in &loaded {
        assert!(one["sent"].as_u64().is_some_and(|sent| sent > 100), "{one}");
    }
}
