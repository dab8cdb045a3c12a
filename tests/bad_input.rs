//! What a user gets wrong, on a real node: each ends in a condition that names the cause, soon, and what served goes on.
//!
//! Runs as root with the images of `make images`; says so and passes over it where they are not there.

#[path = "support/node.rs"]
mod node;

use std::io::Write as _;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use node::{Bench, LIGHTGBM, OUTPUT, PATIENCE, STORE, model_deployment, obstacle, training_job};

/// Seconds that a condition may take from when its cause can be seen, where a dozen pods start on two busy cores. What
/// it took is printed: on a machine with nothing else to do, less than 10.
const SOON: Duration = Duration::from_secs(40);

impl Bench {
    /// Asks the model `m`, with as many rows.
    fn ask(&self, namespace: &str, rows: usize) {
        let data: Vec<usize> = (0..rows).map(|row| row % 2).collect();
        let body = format!(
            "{{\"inputs\": [{{\"name\": \"predict\", \"datatype\": \"FP64\", \"shape\": [{rows}, 1], \"data\": {data:?}}}]}}"
        );
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(body.as_bytes()).expect("written");
        let path = file.path().display().to_string();
        self.kubectl(&["create", "--raw", &service(namespace, "infer"), "-f", &path]);
    }

    /// Waits until the object is stalled for a reason, and the message names the cause; no later than [`SOON`] after
    /// the cause could be seen.
    fn stalls(&self, seen: Seen, namespace: &str, object: &str, reason: &str, cause: &[&str]) {
        let start = Instant::now();
        let mut visible = (seen == Seen::AtOnce).then_some(start);
        loop {
            if visible.is_none() && self.shows(seen, namespace) {
                visible = Some(Instant::now());
            }
            let (status, said, message) = self.condition(namespace, object, "Stalled");
            if status == "True" && said == reason {
                for word in cause {
                    assert!(
                        message.contains(word),
                        "{object}: {message:?} does not name {word:?}"
                    );
                }
                let took = visible.map(|since| since.elapsed());
                println!("{object}: {reason} {took:.1?} after its cause could be seen");
                return;
            }
            let late = visible.is_some_and(|since| since.elapsed() > SOON);
            assert!(
                !late && start.elapsed() < PATIENCE,
                "{object}: {:?} after the start, {:?} after the cause could be seen, Stalled is {status:?} {said:?} {message:?}, and not {reason}\n{}",
                start.elapsed(),
                visible.map(|since| since.elapsed()),
                self.kubectl(&["-n", namespace, "get", "pods,jobs", "-o", "wide"])
            );
            std::thread::sleep(Duration::from_millis(250));
        }
    }

    /// Whether the cause can be seen in the namespace's pods or Deployments.
    fn shows(&self, seen: Seen, namespace: &str) -> bool {
        let (kind, path, words) = match seen {
            Seen::AtOnce => return true,
            Seen::Waiting => (
                "pods",
                "{..state.waiting.reason}",
                &["ErrImage", "ImagePullBackOff", "CreateContainerConfigError"][..],
            ),
            Seen::Ended => (
                "pods",
                "{range ..state.terminated}<{.exitCode}>{end}",
                &["<1>", "<64>", "<65>", "<66>"][..],
            ),
            Seen::NoProgress => (
                "deployments",
                "{..conditions[*].reason}",
                &["ProgressDeadlineExceeded"][..],
            ),
        };
        let output = format!("jsonpath={path}");
        let text = self.kubectl(&["-n", namespace, "get", kind, "-o", &output]);
        words.iter().any(|word| text.contains(word))
    }
}

/// Where the cause of a mistake is seen first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// In the manifest, as it is applied.
    AtOnce,
    /// In a container that waits.
    Waiting,
    /// In a container that ended badly.
    Ended,
    /// In a Deployment that does not get on.
    NoProgress,
}

#[test]
fn each_mistake_ends_in_a_condition_that_names_it() {
    if let Some(why) = obstacle() {
        println!("skipped: {why}");
        return;
    }
    let bench = Bench::up("bad-input", 0);
    std::thread::scope(|scope| {
        for case in [
            a_missing_claim,
            a_missing_service_account,
            a_missing_image,
            a_trainer_that_exits_1,
            an_input_without_the_named_column,
            an_output_that_was_never_written,
            labels_that_are_garbage,
            outcomes_that_are_garbage,
            a_server_that_never_gets_ready,
            a_byte_that_was_changed,
            a_first_server_that_never_gets_ready,
            a_pod_that_may_not_be_made,
            a_missing_secret_and_then_an_object_store,
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
        Seen::AtOnce,
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
        Seen::AtOnce,
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
        Seen::Waiting,
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
        Seen::Ended,
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
        Seen::Ended,
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
    bench.stalls(
        Seen::Ended,
        "output",
        "tj/job",
        "OutputMissing",
        &["output"],
    );
}

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
        Seen::Ended,
        "labels",
        "mv/garbage-1",
        "DatasetUnreadable",
        &["late", "holdout", "perhaps", "garbage-1-validation"],
    );
}

/// Outcomes that come in later, for a monitor: what serves goes on serving, and the monitor says what it cannot read.
fn outcomes_that_are_garbage(bench: &Bench) {
    const SPACE: &str = "outcomes";
    bench.namespace(SPACE);
    let rows = "0,0\n1,1\n".repeat(300);
    bench.write(SPACE, "holdout/a.csv", &format!("age,late\n{rows}"));
    bench.write(SPACE, "outcomes/a.csv", "request_id,late\nr#1,perhaps\n");
    let validation = "  validation: {dataset: {uri: \"pvc://data/holdout\", format: CSV, label: late}, metrics: [{name: rocAuc, min: \"0.5\"}], runtime: mlserver}";
    let output = OUTPUT.replace("Plain", "LightGBM");
    let more = format!("  model: m\n{output}\n{validation}");
    bench.apply(&training_job(SPACE, "job", LIGHTGBM, &more));
    bench.apply(&format!(
        "apiVersion: windlass.dev/v1alpha1\nkind: ModelDeployment\nmetadata: {{name: m, namespace: {SPACE}}}\nspec: {{model: m, replicas: 1, runtime: mlserver, observe: {{logPayloads: {{uri: \"pvc://data/payloads\"}}}}}}\n---\n\
         apiVersion: windlass.dev/v1alpha1\nkind: DriftMonitor\nmetadata: {{name: m, namespace: {SPACE}}}\nspec:\n  deployment: m\n  window: {{every: 10s, size: 20s, minSamples: 20}}\n\
         \x20 performance: {{labels: {{uri: \"pvc://data/outcomes\", format: CSV, column: late}}, metric: rocAuc, min: \"0.5\"}}\n"
    ));
    Bench::until(PATIENCE, "the version serves", || {
        bench.condition(SPACE, "md/m", "Ready").0 == "True"
    });
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                bench.ask(SPACE, 50);
                std::thread::sleep(Duration::from_secs(1));
            }
        });
        let judged = std::panic::catch_unwind(AssertUnwindSafe(|| {
            bench.stalls(
                Seen::Ended,
                SPACE,
                "dm/m",
                "LabelsUnreadable",
                &["late", "perhaps", "outcomes"],
            );
        }));
        done.store(true, Ordering::Relaxed);
        if let Err(panic) = judged {
            std::panic::resume_unwind(panic);
        }
    });
    assert_eq!(bench.condition(SPACE, "md/m", "Available").0, "True");
}

/// Where the API server passes requests on to the model `m`.
fn service(namespace: &str, what: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/services/m:8080/proxy/v2/models/m/{what}")
}

fn a_server_that_never_gets_ready(bench: &Bench) {
    const SPACE: &str = "server";
    bench.namespace(SPACE);
    let serve = |version| bench.apply(&model_deployment(SPACE, version));
    bench.train_plain(SPACE, "good", "good", "");
    serve(1);
    Bench::until(PATIENCE, "version 1 serves", || {
        bench.condition(SPACE, "md/m", "Ready").0 == "True"
    });
    bench.train_plain(SPACE, "bad", "bad", "");
    serve(2);
    Bench::until(PATIENCE, "version 2 is rolled back", || {
        assert_eq!(
            bench.condition(SPACE, "md/m", "Available").0,
            "True",
            "what served before goes on"
        );
        // kubectl panics where the answer is not 200.
        bench.kubectl(&["get", "--raw", &service(SPACE, "ready")]);
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
    // Events follow the status that they tell of.
    let time = |reason: &str| {
        let path =
            format!("jsonpath={{range .items[?(@.reason==\"{reason}\")]}}{{.eventTime}}{{end}}");
        let text = || bench.kubectl(&["-n", SPACE, "get", "events", "-o", &path]);
        Bench::until(PATIENCE, reason, || !text().is_empty());
        text().parse::<jiff::Timestamp>().expect("a time")
    };
    let took = time("RolledBack")
        .duration_since(time("RolloutStarted"))
        .unsigned_abs();
    println!(
        "md/m: rolled back {took:.1?} after the roll-out began, 15 s of which are its deadline"
    );
    assert!(took < Duration::from_secs(15) + SOON, "{took:?}");
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

/// Files in which somebody changed a byte after they were recorded are neither served nor judged.
fn a_byte_that_was_changed(bench: &Bench) {
    const SPACE: &str = "byte";
    bench.namespace(SPACE);
    bench.train_plain(SPACE, "first", "good", "");
    bench.apply(&model_deployment(SPACE, 1));
    Bench::until(PATIENCE, "version 1 serves", || {
        bench.condition(SPACE, "md/m", "Ready").0 == "True"
    });
    bench.train_plain(SPACE, "second", "good ", "");
    let recorded = |field: &str| {
        let path = format!("jsonpath={{.spec.artifact.{field}}}");
        bench.kubectl(&["-n", SPACE, "get", "mv", "m-2", "-o", &path])
    };
    let (uri, digest) = (recorded("uri"), recorded("digest"));
    let folder = uri.strip_prefix("pvc://data/").expect("on the claim");
    let volume = bench.cluster.volume_path(SPACE, "data").expect("a folder");
    let file = volume.join(folder).join("model");
    assert_eq!(std::fs::read(&file).expect("the model"), b"good ");
    std::fs::write(&file, b"good!").expect("another byte");

    bench.apply(&model_deployment(SPACE, 2));
    // A version of somebody else's with the same files: it is to be judged before it serves.
    bench.apply(&format!(
        "apiVersion: windlass.dev/v1alpha1\nkind: ModelVersion\nmetadata: {{name: other-1, namespace: {SPACE}}}\nspec:\n  model: other\n  version: 1\n\
         \x20 artifact: {{uri: \"{uri}\", digest: \"{digest}\", format: LightGBM}}\n\
         \x20 validation: {{dataset: {{uri: \"pvc://data/holdout\", format: CSV, label: late}}, metrics: [{{name: rocAuc, min: \"0.5\"}}], runtime: mlserver}}\n"
    ));
    bench.stalls(
        Seen::Ended,
        SPACE,
        "mv/other-1",
        "DigestMismatch",
        &[&uri, &digest],
    );
    Bench::until(PATIENCE, "version 2 is rolled back", || {
        // kubectl panics where the answer is not 200.
        bench.kubectl(&["get", "--raw", &service(SPACE, "ready")]);
        let path = "jsonpath={.status.lastRollout.outcome}";
        bench.kubectl(&["-n", SPACE, "get", "md", "m", "-o", path]) == "RolledBack"
    });
    let path = "jsonpath={.status.stable.version} {.status.quarantine[0].version} {.status.lastRollout.message}";
    let record = bench.kubectl(&["-n", SPACE, "get", "md", "m", "-o", path]);
    assert!(record.starts_with("m-1 m-2 "), "{record}");
    assert!(
        record.contains(&digest) && record.contains("digest"),
        "{record}"
    );
    assert_eq!(bench.condition(SPACE, "md/m", "Available").0, "True");
    let path = "jsonpath={.status.validation}{.status.conditions[?(@.type==\"Validated\")].status}";
    let verdict = bench.kubectl(&["-n", SPACE, "get", "mv", "other-1", "-o", path]);
    assert_ne!(verdict, "True", "it has no verdict");
}

/// With nothing that served before, there is nothing to go back to: a person is called.
fn a_first_server_that_never_gets_ready(bench: &Bench) {
    const SPACE: &str = "first";
    bench.namespace(SPACE);
    let script = "import os; open(os.environ['WINDLASS_OUTPUT'] + '/model', 'w').write('bad')";
    let more = format!("  model: m\n{OUTPUT}");
    bench.apply(&training_job(SPACE, "bad", script, &more));
    bench.apply(&model_deployment(SPACE, 1));
    bench.stalls(
        Seen::NoProgress,
        SPACE,
        "md/m",
        "ProgressDeadlineExceeded",
        &[
            "m-v1",
            "spec.progressDeadlineSeconds (15 s)",
            "model server",
        ],
    );
}

/// A policy of the namespace that lets the Job be made, but none of its pods.
fn a_pod_that_may_not_be_made(bench: &Bench) {
    const SPACE: &str = "policy";
    bench.namespace(SPACE);
    let job = training_job(SPACE, "job", "pass", "").replace(
        "        containers:",
        "        securityContext: {runAsNonRoot: false, runAsUser: 0}\n        containers:",
    );
    bench.apply(&job);
    bench.stalls(
        Seen::AtOnce,
        SPACE,
        "tj/job",
        "PodsNotCreated",
        &["job-1", "kubectl describe job job-1 -n policy"],
    );
}

/// Keys that are not there are named; once they are, a model is trained, judged and served over a real S3.
fn a_missing_secret_and_then_an_object_store(bench: &Bench) {
    const SPACE: &str = "store";
    bench.namespace(SPACE);
    let rows = "0,0\n1,1\n".repeat(300);
    bench.write(
        SPACE,
        "s3/growth/holdout/a.csv",
        &format!("age,late\n{rows}"),
    );
    bench.object_store(SPACE);
    let more = "  model: m\n  storage: {secretName: keys}\n  inputs: [{name: rows, uri: \"s3://growth/holdout\", format: CSV, checks: [{column: age}]}]\n\
        \x20 output: {uri: \"s3://growth/models\", format: LightGBM}\n\
        \x20 validation: {dataset: {uri: \"s3://growth/holdout\", format: CSV, label: late}, metrics: [{name: rocAuc, min: \"0.5\"}], runtime: mlserver}";
    bench.apply(&training_job(SPACE, "job", LIGHTGBM, more));
    bench.apply(&format!(
        "apiVersion: windlass.dev/v1alpha1\nkind: ModelDeployment\nmetadata: {{name: m, namespace: {SPACE}}}\nspec: {{model: m, replicas: 1, runtime: mlserver, storage: {{secretName: keys}}, observe: {{logPayloads: {{uri: \"s3://growth/payloads\"}}}}}}\n"
    ));
    bench.stalls(
        Seen::Waiting,
        SPACE,
        "tj/job",
        "ContainerNotStarted",
        &["keys", "not found"],
    );
    bench.apply(&format!(
        "{{apiVersion: v1, kind: Secret, metadata: {{name: keys, namespace: {SPACE}}}, stringData: {STORE}}}"
    ));
    Bench::until(PATIENCE, "the model serves", || {
        bench.condition(SPACE, "md/m", "Ready").0 == "True"
    });
    bench.ask(SPACE, 50);
    let volume = bench.cluster.volume_path(SPACE, "data").expect("a folder");
    Bench::until(PATIENCE, "the payload log is in the object store", || {
        std::fs::read_dir(volume.join("s3/growth/payloads/m-1"))
            .is_ok_and(|mut files| files.next().is_some())
    });

    // The same files as somebody registers them who knows only where they lie; MLServer is asked by gRPC.
    let of_trained = |field: &str| {
        let path = format!("jsonpath={{.spec.artifact.{field}}}");
        bench.kubectl(&["-n", SPACE, "get", "mv", "m-1", "-o", &path])
    };
    bench.apply(&format!(
        "apiVersion: windlass.dev/v1alpha1\nkind: ModelVersion\nmetadata: {{name: elsewhere-1, namespace: {SPACE}}}\nspec:\n  model: elsewhere\n  version: 1\n  storage: {{secretName: keys}}\n\
        \x20 artifact: {{uri: \"{}\", format: LightGBM}}\n\
        \x20 validation: {{dataset: {{uri: \"s3://growth/holdout\", format: CSV, label: late}}, metrics: [{{name: rocAuc, min: \"0.5\"}}], runtime: mlserver, protocol: OpenInferenceGRPC}}\n",
        of_trained("uri")
    ));
    Bench::until(PATIENCE, "it is judged", || {
        bench.condition(SPACE, "mv/elsewhere-1", "Validated").0 == "True"
    });
    let path = "jsonpath={.status.artifact.digest}";
    let digest = bench.kubectl(&["-n", SPACE, "get", "mv", "elsewhere-1", "-o", path]);
    assert_eq!(digest, of_trained("digest"));
}
