//! Data on its way to the workers: made by steps, and kept on the node.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::node::{Bench, OUTPUT, STORE, training_job};

/// The namespace whose pods keep inputs on their node.
const CACHED: &str = "cached";

/// The folder on the node that inputs are kept in: in memory, since nothing is kept on a disk that is all but full.
const FOLDER: &str = "/dev/shm/windlass-test-input-cache";

/// Tells the operator of a cache on the nodes.
pub fn keep_inputs_on_the_node(bench: &Bench) {
    forget_inputs();
    let path = format!("WINDLASS_INPUT_CACHE_HOST_PATH={FOLDER}");
    let spaces = format!("WINDLASS_INPUT_CACHE_NAMESPACES={CACHED}");
    let deployment = ["-n", "windlass-system", "deployment/windlass"];
    bench.kubectl(&[&["set", "env"], &deployment[..], &[&path, &spaces]].concat());
    let wait = ["--timeout=120s"];
    bench.kubectl(&[&["rollout", "status"], &deployment[..], &wait].concat());
}

/// Takes what is kept away.
pub fn forget_inputs() {
    match std::fs::remove_dir_all(FOLDER) {
        Err(problem) if problem.kind() != std::io::ErrorKind::NotFound => {
            panic!("{FOLDER}: {problem}")
        }
        _ => {}
    }
}

/// A step in Python that reads these inputs.
fn step(name: &str, inputs: &str, script: &str) -> String {
    format!(
        "  - name: {name}\n    inputs: {inputs}\n    reuse: IfUnchanged\n    template:\n      spec:\n        containers:\n        - name: {name}\n\
         \x20         image: localhost/flights:dev\n          imagePullPolicy: IfNotPresent\n          command: [python3, -c, {script:?}]\n"
    )
}

/// One step cuts what two others work on side by side; the workers read what these wrote.
pub fn steps_make_the_data_and_a_job_that_asks_for_the_same_takes_it_over(bench: &Bench) {
    const SPACE: &str = "steps";
    const TO: &str = "open(os.environ['WINDLASS_OUTPUT'] + '/n', 'w').write";
    bench.namespace(SPACE);
    bench.write(SPACE, "rows/a.txt", "3 5 8 x");
    let cut = format!(
        "import os; rows = open(os.environ['WINDLASS_INPUT_ROWS'] + '/a.txt').read().split(); {TO}(' '.join(r for r in rows if r.isdigit()))"
    );
    let of_numbers = |what: &str| {
        format!(
            "import os; numbers = [int(n) for n in open(os.environ['WINDLASS_INPUT_CUT'] + '/n').read().split()]; {TO}(str({what}))"
        )
    };
    let steps = [
        step("cut", "[rows]", &cut),
        step("sum", "[cut]", &of_numbers("sum(numbers)")),
        step("most", "[cut]", &of_numbers("max(numbers)")),
    ];
    let more = format!(
        "  model: m\n{OUTPUT}\n  inputs: [{{name: rows, uri: \"pvc://data/rows\"}}]\n  steps:\n{}",
        steps.concat()
    );
    let script = format!(
        "import os; read = lambda name: open(os.environ['WINDLASS_INPUT_' + name] + '/n').read(); {TO}(read('SUM') + ' ' + read('MOST'))"
    );
    for (job, version) in [("first", "mv/m-1"), ("second", "mv/m-2")] {
        bench.apply(&training_job(SPACE, job, &script, &more));
        bench.completes(SPACE, job);
        let uri = bench.get(SPACE, version)["spec"]["artifact"]["uri"].clone();
        let path = uri.as_str().and_then(|uri| uri.strip_prefix("pvc://data/"));
        let volume = bench.cluster.volume_path(SPACE, "data").expect("a folder");
        let model = volume.join(path.expect("an address")).join("n");
        assert_eq!(std::fs::read_to_string(model).expect("the model"), "16 8");
    }
    let steps = |job: &str| {
        let status = bench.get(SPACE, &format!("tj/{job}"))["status"].clone();
        status["steps"].as_array().cloned().expect("steps")
    };
    let (first, second) = (steps("first"), steps("second"));
    let time = |step: &Value, of: &str| step[of].as_str().unwrap_or_default().to_owned();
    let cut = time(&first[0], "ended");
    assert!(!cut.is_empty(), "{first:#?}");
    for step in &first[1..] {
        assert!(time(step, "started") >= cut, "{first:#?}");
    }
    for (one, two) in first.iter().zip(&second) {
        assert_eq!(
            (&one["phase"], &two["phase"]),
            (&"Complete".into(), &"Reused".into())
        );
        assert_eq!(two["reusedFrom"], "first");
        assert_eq!(one["digest"], two["digest"]);
    }
    let version = bench.get(SPACE, "mv/m-1");
    let recorded = version["spec"]["inputs"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let named: Vec<&str> = recorded
        .iter()
        .filter_map(|input| input["name"].as_str())
        .collect();
    for name in ["rows", "cut", "sum", "most"] {
        assert!(named.contains(&name), "{recorded:#?}");
    }
}

/// Two trainings on one node, as a user without rights there, read what lies in an object store.
pub fn an_input_is_fetched_once_for_all_pods_of_a_node(bench: &Bench) {
    // The pods mount a folder of the node, and what fetches into it is root.
    bench.namespace_under("privileged", CACHED);
    let rows = "age\n".to_owned() + &"31\n4\n".repeat(500);
    bench.write(CACHED, "s3/growth/rows/a.csv", &rows);
    bench.object_store(CACHED);
    bench.apply(&format!(
        "{{apiVersion: v1, kind: Secret, metadata: {{name: keys, namespace: {CACHED}}}, stringData: {STORE}}}"
    ));
    let script = "import os\n\
        path = os.environ['WINDLASS_INPUT_ROWS'] + '/a.csv'\n\
        assert os.path.realpath(path).startswith('/windlass/cache/'), os.path.realpath(path)\n\
        try:\n    open(path, 'a')\n    raise SystemExit('it could write')\nexcept OSError:\n    pass\n\
        rows = open(path).read().split()\n\
        open(os.environ['WINDLASS_OUTPUT'] + '/n', 'w').write(str(len(rows)))\n";
    let more = "  model: m\n  output: {uri: \"s3://growth/models\", format: Plain}\n  storage: {secretName: keys}\n\
        \x20 inputs: [{name: rows, uri: \"s3://growth/rows\", format: CSV, checks: [{column: age, type: Integer}]}]";
    let mut kept = None;
    for job in ["first", "second"] {
        bench.apply(&training_job(CACHED, job, script, more));
        let status = bench.completes(CACHED, job);
        let digest = status["inputs"][0]["digest"]
            .as_str()
            .expect("a digest")
            .to_owned();
        let pod = bench.pods(CACHED).into_iter().find(|pod| {
            pod["metadata"]["labels"]["windlass.dev/training-job"] == job
                && pod["metadata"]["labels"]["windlass.dev/attempt"] == "1"
        });
        let pod = pod.expect("the worker's pod")["metadata"]["name"].clone();
        let pod = pod.as_str().expect("a name");
        let said = |container| bench.kubectl(&["-n", CACHED, "logs", pod, "-c", container]);
        let trainer = said("trainer");
        assert!(
            trainer.contains("it is in the node's cache"),
            "{trainer}\n{}",
            said("windlass-inputs")
        );
        let file = find(&Path::new(FOLDER).join(CACHED), "a.csv", &digest);
        let of = std::fs::metadata(&file).expect("it is kept");
        let seen = (of.ino(), of.uid(), of.mode() & 0o222 & !0o200);
        assert_eq!(seen.1, 0, "what is kept is root's");
        assert_eq!(seen.2, 0, "and nobody else's to write");
        assert_eq!(*kept.get_or_insert(seen), seen, "it was fetched once");
    }
}

/// The file of this name that is kept under a digest.
fn find(folder: &Path, name: &str, digest: &str) -> PathBuf {
    let hex = digest.trim_start_matches("sha256:");
    let entries = std::fs::read_dir(folder).expect("the namespace's folder");
    let entries: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    let entry = entries
        .iter()
        .find(|path| path.to_string_lossy().contains(hex));
    let entry = entry.unwrap_or_else(|| panic!("{digest} is not in {entries:?}"));
    entry.join("files").join(name)
}
