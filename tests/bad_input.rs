//! What a user gets wrong, on a real node: each ends in a condition that names the cause, soon, and what served goes on.
//!
//! Runs as root with the images of `make images`; says so and passes over it where they are not there.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use windlass_testcluster::{Cluster, Options, Shape, check_machine_for_node};

/// Seconds that a condition may take from when its cause can be seen.
const SOON: Duration = Duration::from_secs(10);
/// Seconds for pods to start and end on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);

struct Bench {
    cluster: Cluster,
}

fn images() -> PathBuf {
    std::env::var_os("IMAGES").map_or_else(
        || {
            windlass_testcluster::cache()
                .expect("a cache folder")
                .join("images")
        },
        PathBuf::from,
    )
}

/// The reason why these tests cannot run here.
fn obstacle() -> Option<String> {
    if let Err(error) = check_machine_for_node() {
        return Some(format!("{error:#}"));
    }
    ["windlass", "windlass-agent", "flights"]
        .iter()
        .map(|name| images().join(format!("{name}.tar")))
        .find(|path| !path.exists())
        .map(|path| format!("{} is missing; `make images` makes it", path.display()))
}

impl Bench {
    fn up() -> Self {
        let cluster =
            Cluster::up(&Options::new("bad-input", Shape::Node)).expect("the cluster comes up");
        for name in ["windlass", "windlass-agent", "flights"] {
            cluster
                .load_image(&images().join(format!("{name}.tar")))
                .expect("the image is loaded");
        }
        let bench = Self { cluster };
        let manifests =
            std::fs::read_to_string("deploy/windlass.yaml").expect("the rendered manifest");
        bench.apply(&local_images(&manifests));
        bench.kubectl(&[
            "-n",
            "windlass-system",
            "rollout",
            "status",
            "deployment/windlass",
            "--timeout=120s",
        ]);
        bench
    }

    fn kubectl(&self, arguments: &[&str]) -> String {
        self.cluster
            .kubectl()
            .expect("kubectl is built")
            .run(arguments)
            .unwrap_or_else(|error| panic!("kubectl {arguments:?}: {error:#}"))
    }

    fn apply(&self, manifests: &str) {
        self.cluster
            .kubectl()
            .expect("kubectl is built")
            .apply(manifests)
            .unwrap_or_else(|error| panic!("{error:#}\n{manifests}"));
    }

    fn namespace(&self, name: &str) {
        self.apply(&format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {{pod-security.kubernetes.io/enforce: restricted}}}}\n---\n\
             apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {{name: data, namespace: {name}}}\nspec: {{accessModes: [ReadWriteMany], resources: {{requests: {{storage: 1Gi}}}}}}\n"
        ));
        Self::until(PATIENCE, "the claim is bound", || {
            self.kubectl(&[
                "-n",
                name,
                "get",
                "pvc",
                "data",
                "-o",
                "jsonpath={.status.phase}",
            ]) == "Bound"
        });
    }

    fn write(&self, namespace: &str, path: &str, content: &str) {
        let file = self
            .cluster
            .volume_path(namespace, "data")
            .expect("the claim's folder")
            .join(path);
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("the folder is made");
        std::fs::write(file, content).expect("the file is written");
    }

    fn condition(&self, namespace: &str, object: &str, type_: &str) -> (String, String, String) {
        let path = format!(
            "jsonpath={{range .status.conditions[?(@.type==\"{type_}\")]}}{{.status}}|{{.reason}}|{{.message}}{{end}}"
        );
        let text = self.kubectl(&["-n", namespace, "get", object, "-o", &path]);
        let mut parts = text.splitn(3, '|').map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        (next(), next(), next())
    }

    fn until(patience: Duration, what: &str, mut is_so: impl FnMut() -> bool) {
        let start = Instant::now();
        while !is_so() {
            assert!(
                start.elapsed() < patience,
                "after {patience:?}: not yet so: {what}"
            );
            std::thread::sleep(Duration::from_millis(250));
        }
    }

    /// Waits until the object is stalled for a reason, and the message names the cause.
    fn stalls(
        &self,
        patience: Duration,
        namespace: &str,
        object: &str,
        reason: &str,
        cause: &[&str],
    ) {
        let start = Instant::now();
        loop {
            let (status, said, message) = self.condition(namespace, object, "Stalled");
            if status == "True" && said == reason {
                for word in cause {
                    assert!(
                        message.contains(word),
                        "{object}: {message:?} does not name {word:?}"
                    );
                }
                return;
            }
            assert!(
                start.elapsed() < patience,
                "{object}: after {patience:?} Stalled is {status:?} {said:?} {message:?}, and not {reason}\n{}",
                self.kubectl(&["-n", namespace, "get", "pods,jobs", "-o", "wide"])
            );
            std::thread::sleep(Duration::from_millis(250));
        }
    }
}

/// The manifest with the images of this node in place of those of the registries.
fn local_images(manifests: &str) -> String {
    [
        (
            "ghcr.io/windlass-dev/windlass-agent:",
            "localhost/windlass-agent:dev",
        ),
        ("ghcr.io/windlass-dev/windlass:", "localhost/windlass:dev"),
        ("docker.io/seldonio/mlserver:", "localhost/flights:dev"),
    ]
    .iter()
    .fold(manifests.to_owned(), |text, (remote, local)| {
        let (mut out, mut rest) = (String::new(), text.as_str());
        while let Some(at) = rest.find(remote) {
            let tag = rest[at..]
                .find(['\'', '"', '\n'])
                .unwrap_or(rest.len() - at);
            out.push_str(&rest[..at]);
            out.push_str(local);
            rest = &rest[at + tag..];
        }
        out + rest
    })
}

/// A TrainingJob in Python; `more` is added to its spec.
fn training_job(namespace: &str, name: &str, script: &str, more: &str) -> String {
    format!(
        "apiVersion: windlass.dev/v1alpha1\nkind: TrainingJob\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec:\n  backoffLimit: 0\n\
         {more}\n  workers:\n    template:\n      spec:\n        containers:\n        - name: trainer\n          image: localhost/flights:dev\n\
         \x20         imagePullPolicy: IfNotPresent\n          command: [python3, -c, {script:?}]\n"
    )
}

const OUTPUT: &str = "  output: {uri: \"pvc://data/models\", format: Plain}";

#[test]
fn each_mistake_ends_in_a_condition_that_names_it() {
    if let Some(why) = obstacle() {
        println!("skipped: {why}");
        return;
    }
    let bench = Bench::up();
    std::thread::scope(|scope| {
        for case in [
            a_missing_claim,
            a_missing_service_account,
            a_missing_image,
            a_trainer_that_exits_1,
            an_input_without_the_named_column,
            an_output_that_was_never_written,
            labels_that_are_garbage,
            a_server_that_never_gets_ready,
        ] {
            let bench = &bench;
            scope.spawn(move || case(bench));
        }
    });
}

fn a_missing_claim(bench: &Bench) {
    bench.namespace("claim");
    bench.apply(&training_job(
        "claim",
        "job",
        "pass",
        "  inputs: [{name: rows, uri: \"pvc://nowhere/rows\"}]",
    ));
    bench.stalls(
        SOON,
        "claim",
        "tj/job",
        "VolumeClaimNotFound",
        &["spec.inputs[0].uri", "nowhere"],
    );
}

fn a_missing_service_account(bench: &Bench) {
    bench.namespace("account");
    let job = training_job("account", "job", "pass", "").replace(
        "        containers:",
        "        serviceAccountName: nobody\n        containers:",
    );
    bench.apply(&job);
    bench.stalls(
        SOON,
        "account",
        "tj/job",
        "ServiceAccountNotFound",
        &["spec.workers.template.spec.serviceAccountName", "nobody"],
    );
}

fn a_missing_image(bench: &Bench) {
    bench.namespace("image");
    bench.apply(
        &training_job("image", "job", "pass", "")
            .replace("localhost/flights:dev", "localhost/nothing:dev")
            .replace("IfNotPresent", "Never"),
    );
    bench.stalls(
        PATIENCE,
        "image",
        "tj/job",
        "ImageNotFound",
        &["localhost/nothing:dev"],
    );
}

fn a_trainer_that_exits_1(bench: &Bench) {
    bench.namespace("trainer");
    bench.apply(&training_job(
        "trainer",
        "job",
        "import sys; print('the rate is not a number'); sys.exit(1)",
        "",
    ));
    bench.stalls(
        PATIENCE,
        "trainer",
        "tj/job",
        "TrainerFailed",
        &["1", "the rate is not a number"],
    );
    assert_eq!(bench.condition("trainer", "tj/job", "Failed").0, "True");
}

fn an_input_without_the_named_column(bench: &Bench) {
    bench.namespace("column");
    bench.write("column", "rows/a.csv", "age,plan\n1,free\n");
    bench.apply(&training_job("column", "job", "pass", "  inputs: [{name: rows, uri: \"pvc://data/rows\", format: CSV, checks: [{column: income}]}]"));
    bench.stalls(
        PATIENCE,
        "column",
        "tj/job",
        "ColumnNotFound",
        &["income", "rows", "age"],
    );
}

fn an_output_that_was_never_written(bench: &Bench) {
    bench.namespace("output");
    bench.apply(&training_job(
        "output",
        "job",
        "pass",
        &format!("  model: nothing\n{OUTPUT}"),
    ));
    bench.stalls(PATIENCE, "output", "tj/job", "OutputMissing", &["output"]);
}

/// Trains a model that the real server loads.
const LIGHTGBM: &str = "import os, json, numpy, lightgbm\n\
out = os.environ['WINDLASS_OUTPUT']\n\
rows = numpy.array([[0.0], [1.0]] * 50)\n\
data = lightgbm.Dataset(rows, rows[:, 0])\n\
lightgbm.train({'objective': 'binary', 'min_data_in_leaf': 1, 'verbose': -1}, data, 2).save_model(out + '/model.bst')\n\
json.dump({'inputs': [{'name': 'age', 'type': 'Number'}]}, open(out + '/signature.json', 'w'))";

fn labels_that_are_garbage(bench: &Bench) {
    bench.namespace("labels");
    bench.write(
        "labels",
        "holdout/a.csv",
        "age,late\n1,perhaps\n0,\u{0}\u{1}\n",
    );
    let validation = "  validation: {dataset: {uri: \"pvc://data/holdout\", format: CSV, label: late}, metrics: [{name: rocAuc, min: \"0.5\"}], runtime: mlserver}";
    let output = OUTPUT.replace("Plain", "LightGBM");
    let more = format!("  model: garbage\n{output}\n{validation}");
    bench.apply(&training_job("labels", "job", LIGHTGBM, &more));
    Bench::until(PATIENCE, "the version is registered", || {
        bench
            .kubectl(&["-n", "labels", "get", "mv", "-o", "name"])
            .contains("garbage-1")
    });
    bench.stalls(
        PATIENCE,
        "labels",
        "mv/garbage-1",
        "DatasetUnreadable",
        &["late", "holdout", "perhaps", "garbage-1-validation"],
    );
}

/// A server of the Open Inference Protocol that is ready only if the model says so.
const SERVER: &str = "import http.server, os\n\
class Handler(http.server.BaseHTTPRequestHandler):\n    def do_GET(self):\n        good = open(os.environ['WINDLASS_MODEL_DIRECTORY'] + '/model').read() == 'good'\n        self.send_response(200 if good else 503)\n        self.send_header('Content-Length', '0')\n        self.end_headers()\n    def log_message(self, *words):\n        pass\n\
http.server.ThreadingHTTPServer(('127.0.0.1', int(os.environ['WINDLASS_PORT'])), Handler).serve_forever()";

fn a_server_that_never_gets_ready(bench: &Bench) {
    const SPACE: &str = "server";
    bench.namespace(SPACE);
    let train = |name: &str, model: &str| {
        let script = format!(
            "import os; open(os.environ['WINDLASS_OUTPUT'] + '/model', 'w').write('{model}')"
        );
        bench.apply(&training_job(
            SPACE,
            name,
            &script,
            &format!("  model: m\n{OUTPUT}"),
        ));
        Bench::until(PATIENCE, "the training is complete", || {
            bench.condition(SPACE, &format!("tj/{name}"), "Complete").0 == "True"
        });
    };
    let serve = |version: u32| {
        bench.apply(&format!(
            "apiVersion: windlass.dev/v1alpha1\nkind: ModelDeployment\nmetadata: {{name: m, namespace: {SPACE}}}\nspec:\n  model: m\n  version: {version}\n  progressDeadlineSeconds: 15\n\
             \x20 template: {{spec: {{containers: [{{name: server, image: \"localhost/flights:dev\", imagePullPolicy: IfNotPresent, command: [python3, -c, {SERVER:?}]}}]}}}}\n"
        ));
    };
    train("good", "good");
    serve(1);
    Bench::until(PATIENCE, "version 1 serves", || {
        bench.condition(SPACE, "md/m", "Ready").0 == "True"
    });
    train("bad", "bad");
    serve(2);
    Bench::until(PATIENCE, "version 2 is rolled back", || {
        assert_eq!(
            bench.condition(SPACE, "md/m", "Available").0,
            "True",
            "what served before goes on"
        );
        bench.kubectl(&[
            "-n",
            SPACE,
            "get",
            "md",
            "m",
            "-o",
            "jsonpath={.status.lastRollout.outcome}",
        ]) == "RolledBack"
    });
    let record = bench.kubectl(&[
        "-n",
        SPACE,
        "get",
        "md",
        "m",
        "-o",
        "jsonpath={.status.lastRollout.message}{.status.quarantine[0].version}",
    ]);
    assert!(
        record.contains("not ready") && record.contains("m-2"),
        "{record}"
    );
    assert_eq!(
        bench.kubectl(&[
            "-n",
            SPACE,
            "get",
            "md",
            "m",
            "-o",
            "jsonpath={.status.stable.version}"
        ]),
        "m-1"
    );
}
