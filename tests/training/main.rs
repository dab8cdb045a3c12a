//! Training on a real node: data that is checked first, gangs that start whole, attempts that go on from a checkpoint.
//!
//! Runs as root with the images of `make images`; says so and passes over it where they are not there.

#[path = "../support/node.rs"]
mod node;
mod pipeline;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use node::{Bench, OUTPUT, PATIENCE, obstacle, training_job};
use serde_json::Value;

/// Fake GPUs of the node.
const GPUS: u32 = 8;

#[test]
fn training_is_checked_scheduled_whole_and_goes_on_from_where_it_was() {
    if let Some(why) = obstacle() {
        println!("skipped: {why}");
        return;
    }
    let bench = Bench::up("training", GPUS);
    pipeline::keep_inputs_on_the_node(&bench);
    std::thread::scope(|scope| {
        for case in [
            data_that_is_not_fit_holds_no_gpu,
            data_that_is_fit_is_what_the_workers_read,
            an_exit_code_with_a_rule_fails_at_once,
            a_training_that_is_stopped_three_times_ends_as_one_that_never_was,
            a_trainer_that_ignores_sigterm_loses_no_checkpoint,
            a_job_that_is_deleted_leaves_its_last_checkpoint,
            two_jobs_with_one_output_address_keep_each_its_own,
            a_model_from_elsewhere_is_on_record_as_its_files_are,
            pipeline::steps_make_the_data_and_a_job_that_asks_for_the_same_takes_it_over,
            pipeline::an_input_is_fetched_once_for_all_pods_of_a_node,
        ] {
            let bench = &bench;
            scope.spawn(move || case(bench));
        }
    });
    pipeline::forget_inputs();
    // These want the whole node for themselves.
    two_gangs_that_do_not_fit_together_never_hold_half_each(&bench);
    a_gang_that_finds_no_room_starts_smaller_and_grows_at_a_checkpoint(&bench);
}

impl Bench {
    fn get(&self, namespace: &str, object: &str) -> Value {
        let text = self.kubectl(&["-n", namespace, "get", object, "-o", "json"]);
        serde_json::from_str(&text).expect("JSON")
    }

    fn ends(&self, namespace: &str, name: &str) -> Value {
        let object = format!("tj/{name}");
        Self::until(PATIENCE, &format!("{object} has ended"), || {
            ["Complete", "Failed"]
                .iter()
                .any(|type_| self.condition(namespace, &object, type_).0 == "True")
        });
        self.get(namespace, &object)["status"].clone()
    }

    fn completes(&self, namespace: &str, name: &str) -> Value {
        let status = self.ends(namespace, name);
        let (complete, _, _) = self.condition(namespace, &format!("tj/{name}"), "Complete");
        assert_eq!(complete, "True", "{name}: {status:#}");
        status
    }

    fn pods(&self, namespace: &str) -> Vec<Value> {
        let list = self.get(namespace, "pods");
        list["items"].as_array().cloned().unwrap_or_default()
    }
}

/// Asks for so many GPUs in each worker.
fn with_gpus(job: &str, gpus: u32) -> String {
    job.replace(
        "          imagePullPolicy: IfNotPresent",
        &format!("          imagePullPolicy: IfNotPresent\n          resources: {{limits: {{nvidia.com/gpu: {gpus}}}}}"),
    )
}

/// Runs so many workers.
fn with_replicas(job: &str, replicas: u32) -> String {
    job.replace(
        "  workers:\n",
        &format!("  workers:\n    replicas: {replicas}\n"),
    )
}

fn data_that_is_not_fit_holds_no_gpu(bench: &Bench) {
    const SPACE: &str = "unfit";
    bench.namespace(SPACE);
    bench.write(
        SPACE,
        "rows/a.csv",
        "age,plan\n31,free\n-4,free\n,team\n80,gold\n",
    );
    let more = "  inputs:\n  - name: people\n    uri: \"pvc://data/rows\"\n    format: CSV\n    checks:\n\
        \x20   - {column: age, min: \"0\", notNull: true}\n    - {column: plan, oneOf: [free, pro, team]}\n    - {minRows: 3}";
    bench.apply(&with_gpus(&training_job(SPACE, "job", "pass", more), 2));
    let status = bench.ends(SPACE, "job");
    let (failed, reason, message) = bench.condition(SPACE, "tj/job", "Failed");
    assert_eq!(
        (failed.as_str(), reason.as_str()),
        ("True", "CheckFailed"),
        "{message}"
    );
    for word in ["people", "age", "min", "-4", "1 of 4", "25", "plan", "gold"] {
        assert!(message.contains(word), "{message:?} does not name {word:?}");
    }
    let pods = bench.pods(SPACE);
    assert_eq!(pods.len(), 1, "the check's alone");
    assert!(!pods[0].to_string().contains("nvidia.com/gpu"));
    assert_eq!(status["attempts"], Value::Null);
}

fn data_that_is_fit_is_what_the_workers_read(bench: &Bench) {
    const SPACE: &str = "fit";
    bench.namespace(SPACE);
    bench.write(SPACE, "rows/a.csv", "age\n31\n4\n");
    let more = format!(
        "  model: m\n{OUTPUT}\n  inputs: [{{name: people, uri: \"pvc://data/rows\", format: CSV, checks: [{{column: age, type: Integer, min: \"0\"}}]}}]"
    );
    let script = "import os, shutil; shutil.copytree(os.environ['WINDLASS_INPUT_PEOPLE'], os.environ['WINDLASS_OUTPUT'] + '/seen')";
    bench.apply(&training_job(SPACE, "job", script, &more));
    let status = bench.completes(SPACE, "job");
    let version = bench.get(SPACE, "mv/m-1");
    assert_eq!(
        version["spec"]["inputs"][0]["digest"],
        status["inputs"][0]["digest"]
    );
    assert_eq!(version["spec"]["fingerprint"], status["fingerprint"]);
}

fn an_exit_code_with_a_rule_fails_at_once(bench: &Bench) {
    const SPACE: &str = "rules";
    bench.namespace(SPACE);
    let job = training_job(
        SPACE,
        "job",
        "import sys; print('no such layer'); sys.exit(3)",
        "  failureRules: [{exitCodes: [3], action: Fail}]",
    );
    bench.apply(&job.replace("backoffLimit: 0", "backoffLimit: 5"));
    let status = bench.ends(SPACE, "job");
    let (_, reason, message) = bench.condition(SPACE, "tj/job", "Failed");
    assert_eq!(reason, "TrainerFailed");
    assert!(
        message.starts_with("spec.failureRules[0] (exit code 3 of container trainer)"),
        "{message}"
    );
    let attempts = status["attempts"].as_array().expect("a list");
    assert_eq!(attempts.len(), 1);
    assert_eq!(
        (&attempts[0]["exitCode"], &attempts[0]["worker"]),
        (&3.into(), &0.into())
    );
    assert!(
        attempts[0]["logTail"]
            .as_str()
            .is_some_and(|tail| tail.contains("no such layer"))
    );
    assert!(attempts[0]["node"].is_string() && attempts[0]["started"].is_string());
}

/// A chain of hashes: whoever goes on from a wrong state ends at another. It keeps its state every fifth step.
const CHAIN: &str = r"
import hashlib, json, os, signal, sys, time
folder, resume = os.environ['WINDLASS_CHECKPOINTS'], os.environ['WINDLASS_RESUME_FROM']
step, state = 0, b'seed'
if resume:
    saved = json.load(open(resume))
    step, state = saved['step'], bytes.fromhex(saved['state'])
stopping = []
if not os.environ.get('STUBBORN'):
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(1))
else:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
def keep():
    path = f'{folder}/step-{step:06}'
    with open(path + '.tmp', 'w') as file:
        json.dump({'step': step, 'state': state.hex()}, file)
    os.rename(path + '.tmp', path)
    print('kept step', step, flush=True)
while step < 120:
    state = hashlib.sha256(state + bytes([step])).digest()
    step += 1
    if step % 5 == 0:
        keep()
    if stopping:
        keep()
        sys.exit(143)
    time.sleep(0.2)
open(os.environ['WINDLASS_OUTPUT'] + '/model', 'w').write(state.hex())
";

fn chain(namespace: &str, name: &str, more: &str) -> String {
    let spec = format!(
        "  model: {name}\n{OUTPUT}\n  checkpoint: {{uri: \"pvc://data/checkpoints\", every: 1s, keep: 2}}\n{more}"
    );
    let job = training_job(namespace, name, CHAIN, &spec);
    with_gpus(&job.replace("backoffLimit: 0", "backoffLimit: 3"), 1)
}

/// The whole checkpoints of a job on the claim, by their paths.
fn checkpoints(bench: &Bench, namespace: &str, attempt: u32) -> Vec<PathBuf> {
    let folder = bench
        .cluster
        .volume_path(namespace, "data")
        .expect("a folder");
    let jobs = std::fs::read_dir(folder.join("checkpoints"));
    let runs = jobs.into_iter().flatten().flatten();
    runs.filter_map(|run| std::fs::read_dir(run.path().join(format!("{attempt:06}"))).ok())
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.join("manifest.json").exists())
        .collect()
}

fn a_training_that_is_stopped_three_times_ends_as_one_that_never_was(bench: &Bench) {
    const SPACE: &str = "resumed";
    bench.namespace(SPACE);
    bench.apply(&with_replicas(&chain(SPACE, "calm", ""), 2));
    bench.completes(SPACE, "calm");
    let folder = bench.cluster.volume_path(SPACE, "data").expect("a folder");
    std::fs::remove_dir_all(folder.join("checkpoints")).expect("taken away");
    bench.apply(&with_replicas(&chain(SPACE, "stopped", ""), 2));
    for attempt in 1..=3 {
        Bench::until(
            PATIENCE,
            &format!("a checkpoint of attempt {attempt}"),
            || !checkpoints(bench, SPACE, attempt).is_empty(),
        );
        // Wherever it is just now.
        let moment = u64::from(
            std::time::UNIX_EPOCH
                .elapsed()
                .expect("a time")
                .subsec_micros()
                % 2000,
        );
        std::thread::sleep(Duration::from_millis(moment));
        println!("attempt {attempt} is stopped {moment} ms after its first checkpoint was seen");
        let pod = pod_of(bench, SPACE, attempt);
        match attempt {
            1 => evict(bench, SPACE, &pod),
            2 => drop(bench.kubectl(&[
                "-n",
                SPACE,
                "delete",
                "pod",
                &pod,
                "--grace-period=0",
                "--force",
            ])),
            _ => drop(bench.kubectl(&["-n", SPACE, "delete", "pod", &pod, "--wait=false"])),
        }
        Bench::until(PATIENCE, "the next attempt", || {
            bench.get(SPACE, "tj/stopped")["status"]["attempt"] == attempt + 1
        });
    }
    let status = bench.completes(SPACE, "stopped");
    let attempts = status["attempts"].as_array().expect("a list");
    assert_eq!(attempts.len(), 4, "{status:#}");
    assert_eq!(attempts[0]["reason"], "Disrupted");
    for attempt in &attempts[1..] {
        println!(
            "attempt {}: {} from {}",
            attempt["number"], attempt["reason"], attempt["resumedFrom"]
        );
    }
    assert!(attempts[3]["resumedFrom"].is_string(), "{status:#}");
    let digest = |version: &str| bench.get(SPACE, version)["spec"]["artifact"]["digest"].clone();
    assert_eq!(
        digest("mv/stopped-1"),
        digest("mv/calm-1"),
        "the same to the bit"
    );
    let sum: i64 = attempts
        .iter()
        .filter_map(|one| one["gpuSeconds"].as_i64())
        .sum();
    assert_eq!(status["gpuSeconds"], sum);
    assert!(sum > 20, "{sum} GPU-seconds");
}

/// The pod of the first worker of an attempt.
fn pod_of(bench: &Bench, namespace: &str, attempt: u32) -> String {
    let selector = format!(
        "windlass.dev/attempt={attempt},windlass.dev/training-job=stopped,batch.kubernetes.io/job-completion-index=0"
    );
    let path = "jsonpath={.items[0].metadata.name}";
    bench.kubectl(&["-n", namespace, "get", "pods", "-l", &selector, "-o", path])
}

fn evict(bench: &Bench, namespace: &str, pod: &str) {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    write!(
        file,
        "{{\"apiVersion\": \"policy/v1\", \"kind\": \"Eviction\", \"metadata\": {{\"name\": \"{pod}\", \"namespace\": \"{namespace}\"}}}}"
    )
    .expect("written");
    let path = file.path().display().to_string();
    let raw = format!("/api/v1/namespaces/{namespace}/pods/{pod}/eviction");
    bench.kubectl(&["create", "--raw", &raw, "-f", &path]);
}

fn a_trainer_that_ignores_sigterm_loses_no_checkpoint(bench: &Bench) {
    const SPACE: &str = "stubborn";
    bench.namespace(SPACE);
    let job = chain(SPACE, "stubborn", "").replace(
        "          imagePullPolicy",
        "          env: [{name: STUBBORN, value: \"yes\"}]\n          imagePullPolicy",
    );
    bench.apply(&job);
    Bench::until(PATIENCE, "a checkpoint", || {
        !checkpoints(bench, SPACE, 1).is_empty()
    });
    bench.kubectl(&[
        "-n",
        SPACE,
        "patch",
        "tj/stubborn",
        "--type=merge",
        "-p",
        "{\"spec\": {\"suspend\": true}}",
    ]);
    let since = Instant::now();
    Bench::until(PATIENCE, "its pod is gone", || bench.pods(SPACE).is_empty());
    assert!(
        since.elapsed() < Duration::from_secs(45),
        "it went in {:?}",
        since.elapsed()
    );
    bench.kubectl(&[
        "-n",
        SPACE,
        "patch",
        "tj/stubborn",
        "--type=merge",
        "-p",
        "{\"spec\": {\"suspend\": false}}",
    ]);
    let status = bench.completes(SPACE, "stubborn");
    let from = status["attempts"][1]["resumedFrom"]
        .as_str()
        .expect("it went on");
    assert!(from.starts_with("000001/"), "{from}");
}

fn a_job_that_is_deleted_leaves_its_last_checkpoint(bench: &Bench) {
    const SPACE: &str = "deleted";
    bench.namespace(SPACE);
    // None is taken before the end, which the trainer learns of by SIGTERM.
    bench.apply(&chain(SPACE, "deleted", "").replace("every: 1s", "every: 1h"));
    Bench::until(PATIENCE, "it trains", || {
        let log = bench.cluster.kubectl().expect("kubectl is built");
        let pods = "job-name=deleted-1";
        log.run(&["-n", SPACE, "logs", "-l", pods, "-c", "trainer"])
            .is_ok_and(|said| said.contains("kept step"))
    });
    assert!(checkpoints(bench, SPACE, 1).is_empty());
    bench.kubectl(&["-n", SPACE, "delete", "tj/deleted", "--timeout=60s"]);
    Bench::until(PATIENCE, "its pod is gone", || bench.pods(SPACE).is_empty());
    let left = checkpoints(bench, SPACE, 1);
    assert_eq!(left.len(), 1, "{left:?}");
}

fn two_jobs_with_one_output_address_keep_each_its_own(bench: &Bench) {
    const SPACE: &str = "shared";
    bench.namespace(SPACE);
    for name in ["a", "b"] {
        let script = format!(
            "import os; open(os.environ['WINDLASS_OUTPUT'] + '/model', 'w').write('{name}')"
        );
        let more = format!("  model: {name}\n{OUTPUT}");
        bench.apply(&training_job(SPACE, name, &script, &more));
    }
    let folder = bench.cluster.volume_path(SPACE, "data").expect("a folder");
    for name in ["a", "b"] {
        bench.completes(SPACE, name);
        let uri = bench.get(SPACE, &format!("mv/{name}-1"))["spec"]["artifact"]["uri"].clone();
        let path = uri
            .as_str()
            .and_then(|uri| uri.strip_prefix("pvc://data/"))
            .expect("an address");
        let model = std::fs::read_to_string(folder.join(path).join("model")).expect("the model");
        assert_eq!(model, name);
    }
}

fn a_model_from_elsewhere_is_on_record_as_its_files_are(bench: &Bench) {
    const SPACE: &str = "elsewhere";
    bench.namespace(SPACE);
    bench.write(SPACE, "models/churn/1/model", "weights");
    bench.write(SPACE, "models/churn/1/vocabulary/words", "a b");
    for (name, version, folder) in [("churn-1", 1, "churn/1"), ("churn-2", 2, "churn/2")] {
        bench.apply(&format!(
            "apiVersion: windlass.dev/v1alpha1\nkind: ModelVersion\nmetadata: {{name: {name}, namespace: {SPACE}}}\n\
             spec:\n  model: churn\n  version: {version}\n  artifact: {{uri: \"pvc://data/models/{folder}\", format: ONNX}}\n"
        ));
    }
    Bench::until(PATIENCE, "the model is on record", || {
        bench.condition(SPACE, "mv/churn-1", "Ready").0 == "True"
    });
    let status = bench.get(SPACE, "mv/churn-1")["status"].clone();
    let folder = bench.cluster.volume_path(SPACE, "data").expect("a folder");
    let agent = std::env::var_os("WINDLASS_AGENT_BINARY").expect("the agent's program");
    let said = tempfile::NamedTempFile::new().expect("a file");
    let ended = std::process::Command::new(agent)
        .arg("--termination-message")
        .arg(said.path())
        .arg("digest")
        .arg(folder.join("models/churn/1"))
        .status()
        .expect("the agent runs");
    assert!(ended.success());
    let told: Value = serde_json::from_reader(said.as_file()).expect("a report");
    assert_eq!(
        status["artifact"]["digest"], told["tree"]["digest"],
        "{told:#}"
    );
    assert_eq!(status["artifact"]["files"], 2);
    assert_eq!(status["decisions"][0]["evidence"], told["tree"]["digest"]);

    let stalled = || bench.condition(SPACE, "mv/churn-2", "Stalled");
    Bench::until(PATIENCE, "the other is missed", || stalled().0 == "True");
    let (_, reason, message) = stalled();
    assert_eq!(reason, "InputNotFound", "{message}");
    assert!(message.contains("models/churn/2"), "{message}");
    // Somebody brings it.
    bench.write(SPACE, "models/churn/2/model", "weights");
    bench.kubectl(&["-n", SPACE, "delete", "job", "churn-2-digest"]);
    Bench::until(PATIENCE, "it is on record as well", || {
        bench.condition(SPACE, "mv/churn-2", "Ready").0 == "True"
    });
}

/// On the real scheduler: two gangs that need three quarters of the node's GPUs each.
fn two_gangs_that_do_not_fit_together_never_hold_half_each(bench: &Bench) {
    const SPACE: &str = "gangs";
    bench.namespace(SPACE);
    for name in ["a", "b"] {
        let job = training_job(SPACE, name, "import time; time.sleep(8)", "");
        bench.apply(&with_gpus(&with_replicas(&job, 3), GPUS / 4));
    }
    let (mut waited, start) = (false, Instant::now());
    loop {
        assert!(start.elapsed() < PATIENCE, "both have ended");
        let mut placed: BTreeMap<String, usize> = BTreeMap::new();
        for pod in bench.pods(SPACE) {
            let ended = matches!(
                pod["status"]["phase"].as_str(),
                Some("Succeeded" | "Failed")
            );
            if pod["spec"]["nodeName"].is_string() && !ended {
                let job = pod["metadata"]["labels"]["windlass.dev/training-job"].as_str();
                *placed
                    .entry(job.unwrap_or_default().to_owned())
                    .or_default() += 1;
            }
        }
        assert!(placed.len() < 2, "both hold GPUs: {placed:?}");
        let jobs = bench.get(SPACE, "tj");
        let items = jobs["items"].as_array().expect("a list");
        assert!(items.iter().all(|job| job["status"]["attempt"].is_null()
            || job["status"]["scheduling"]["gang"] == "PodGroup"));
        waited |= items.iter().any(|job| {
            let message = job["status"]["waiting"]["message"]
                .as_str()
                .unwrap_or_default();
            message.starts_with("3 of 3 workers find no node")
        });
        let complete = |job: &&Value| job["status"]["phase"] == "Complete";
        if items.iter().filter(complete).count() == 2 {
            break;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(waited, "the one that waited said so");
}

/// Counts, and notes with each step how many workers there are; ends a few steps after there are four.
const COUNT: &str = r"
import json, os, sys, time
folder, resume = os.environ['WINDLASS_CHECKPOINTS'], os.environ['WINDLASS_RESUME_FROM']
size = int(os.environ['WINDLASS_WORLD_SIZE'])
if os.environ['WINDLASS_RANK'] != '0':
    time.sleep(3600 if size < 4 else 3)
    sys.exit(0)
sizes = json.load(open(resume)) if resume else []
def write(path, value):
    with open(path + '.tmp', 'w') as file:
        json.dump(value, file)
    os.rename(path + '.tmp', path)
while sizes.count(4) < 10:
    sizes.append(size)
    write(f'{folder}/step-{len(sizes):06}', sizes)
    write(os.environ['WINDLASS_PROGRESS'], {'step': len(sizes), 'steps': 1000, 'metrics': {'size': size}})
    time.sleep(0.3)
write(os.environ['WINDLASS_OUTPUT'] + '/sizes.json', sizes)
";

/// Six of eight GPUs are somebody else's, and then they are not.
fn a_gang_that_finds_no_room_starts_smaller_and_grows_at_a_checkpoint(bench: &Bench) {
    const SPACE: &str = "elastic";
    bench.namespace(SPACE);
    bench.apply(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: somebody, namespace: default}\nspec:\n  terminationGracePeriodSeconds: 0\n  containers:\n\
         \x20 - {name: a, image: localhost/flights:dev, imagePullPolicy: Never, command: [sleep, \"3600\"], resources: {limits: {nvidia.com/gpu: 6}}}\n",
    );
    Bench::until(PATIENCE, "somebody holds six GPUs", || {
        bench.get("default", "pod/somebody")["status"]["phase"] == "Running"
    });
    let spec = format!(
        "  model: m\n{OUTPUT}\n  checkpoint: {{uri: \"pvc://data/checkpoints\", every: 1s, keep: 2}}\n"
    );
    let job = with_replicas(&training_job(SPACE, "job", COUNT, &spec), 4).replace(
        "    replicas: 4\n",
        "    replicas: 4\n    minReplicas: 1\n    shrinkAfter: 20s\n",
    );
    bench.apply(&with_gpus(&job, 2));
    let status = || bench.get(SPACE, "tj/job")["status"].clone();
    Bench::until(PATIENCE, "it says what is free", || {
        let message = status()["waiting"]["message"].to_string();
        message.contains("4 of 4 workers find no node, nvidia.com/gpu: 8 asked, 2 free")
    });
    Bench::until(
        PATIENCE,
        "a smaller one runs, and says how far it is",
        || {
            let status = status();
            // Asked in its first second, it cannot say yet how long it takes.
            status["attempts"][1]["workers"] == 1 && status["progress"]["secondsLeft"].is_number()
        },
    );
    let progress = status()["progress"].clone();
    assert!(
        progress["secondsLeft"]
            .as_i64()
            .is_some_and(|left| left > 30),
        "{progress}"
    );
    assert_eq!(progress["metrics"]["size"], "1");
    bench.kubectl(&["-n", "default", "delete", "pod", "somebody"]);
    let status = bench.completes(SPACE, "job");
    let attempts = status["attempts"].as_array().expect("attempts").clone();
    let told: Vec<(i64, &str)> = attempts
        .iter()
        .map(|attempt| {
            (
                attempt["workers"].as_i64().unwrap_or(0),
                attempt["reason"].as_str().unwrap_or_default(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [(4, "NoRoom"), (1, "Grown"), (4, "Succeeded")],
        "{status:#}"
    );
    assert!(attempts[2]["resumedFrom"].is_string() && attempts[2]["running"].is_string());
    assert_eq!(status["failures"], Value::Null);
    let version = bench.get(SPACE, "mv/m-1");
    let uri = version["spec"]["artifact"]["uri"]
        .as_str()
        .expect("an address")
        .to_owned();
    let folder = bench.cluster.volume_path(SPACE, "data").expect("a folder");
    let path = folder
        .join(uri.trim_start_matches("pvc://data/"))
        .join("sizes.json");
    let sizes: Vec<i64> =
        serde_json::from_str(&std::fs::read_to_string(path).expect("written")).expect("JSON");
    let ones = sizes.iter().filter(|size| **size == 1).count();
    assert!(
        ones > 20 && sizes.len() == ones + 10,
        "it went on from its checkpoint: {sizes:?}"
    );
}
