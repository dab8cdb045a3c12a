//! A cluster of the chart's on a real node: a window that a DriftMonitor has counted there, an executor killed meanwhile.
//!
//! `make test-ballista-node` runs it. The model, and that it serves, are played: what is tested begins with the monitor.

#[path = "../cluster/data.rs"]
mod data;
mod node;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use self::data::Data;
use self::node::{Node, until};

const SPACE: &str = "growth";
const DAY: u64 = 86_400;
/// For pods to start, and for a window to be counted, on a busy machine.
const PATIENCE: Duration = Duration::from_mins(8);

/// The day before today, in seconds: the window that a new monitor looks at first.
fn yesterday() -> (u64, u64) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let today = now.expect("after 1970").as_secs() / DAY * DAY;
    (today - DAY, today)
}

/// A model that is taken to be good, and to serve for days, and its payload log.
fn serve(node: &Node) {
    let (from, until) = yesterday();
    let micros = |seconds: u64| i64::try_from(seconds * 1_000_000).expect("a time");
    let volume = node.volume(SPACE, "data");
    let reference = tempfile::tempdir().expect("a folder");
    Data::large().write(reference.path());
    let digest = node::profile(reference.path(), &volume.join("baseline.json"));
    let log = Data::large().asked(micros(from), micros(until));
    log.write(&volume.join("payloads/m-1"));
    node::open(&volume);
    node.apply(&format!(
        "apiVersion: windlass.dev/v1alpha1\nkind: ModelVersion\nmetadata: {{name: m-1, namespace: {SPACE}}}\nspec: {{model: m, version: 1, artifact: {{uri: 'pvc://data/model', digest: 'sha256:{zeros}', format: Plain}}}}\n---\n\
         apiVersion: windlass.dev/v1alpha1\nkind: ModelDeployment\nmetadata: {{name: m, namespace: {SPACE}}}\nspec:\n  model: m\n  version: 1\n  observe: {{logPayloads: {{uri: 'pvc://data/payloads'}}}}\n\
         \x20 template: {{spec: {{containers: [{{name: server, image: 'localhost/nothing:dev', imagePullPolicy: Never}}]}}}}\n",
        zeros = "0".repeat(64)
    ));
    node.patch_status(SPACE, "modelversion/m-1", &format!(
        r#"{{"validation": {{"verdict": "Pass", "message": "played", "rows": 900, "baseline": {{"uri": "pvc://data/baseline.json", "digest": "{digest}"}}}}}}"#
    ));
    let since = node::time(from - 7 * DAY);
    node.patch_status(
        SPACE,
        "modeldeployment/m",
        &format!(r#"{{"stable": {{"version": "m-1", "since": "{since}"}}}}"#),
    );
}

fn monitor(name: &str, engine: &str) -> String {
    format!(
        "apiVersion: windlass.dev/v1alpha1\nkind: DriftMonitor\nmetadata: {{name: {name}, namespace: {SPACE}}}\n\
         spec: {{deployment: m, window: {{every: 24h}}, mode: Observe, unit: user, engine: {engine}}}\n"
    )
}

/// The full results of a monitor's window.
fn results(node: &Node, name: &str) -> String {
    let (_, end) = yesterday();
    let path = format!("payloads/drift/{name}/{end}/report.json");
    let file = node.volume(SPACE, "data").join(path);
    std::fs::read_to_string(file).expect("the full results")
}

fn wait_for_verdict(node: &Node, name: &str) -> String {
    let object = format!("driftmonitor/{name}");
    let ask = || node.get(SPACE, &object, "{.status.windows[0].verdict}");
    until(PATIENCE, "a verdict", || !ask().is_empty());
    ask()
}

#[test]
fn a_window_that_a_cluster_counts_is_judged_as_by_one_pod_though_an_executor_is_killed() {
    if std::env::var_os("WINDLASS_BALLISTA_NODE").is_none() {
        println!("skipped: `make test-ballista-node` runs it");
        return;
    }
    let node = Node::up("ballista-node", SPACE);
    serve(&node);
    node.apply(&monitor("one", "DataFusion"));
    let verdict = wait_for_verdict(&node, "one");
    assert_ne!(verdict, "Failed", "{}", node.said(SPACE, "one"));

    node.apply(&monitor("many", "Ballista"));
    let executors = node.executors(SPACE);
    assert_eq!(executors.len(), 2);
    until(PATIENCE, "a part that is counted", || {
        node.counted(SPACE, &executors[0]) > 0
    });
    node.kill(SPACE, &executors[0]);
    let counted = || node.get(SPACE, "driftmonitor/many", "{.status.windows[0].verdict}");
    assert_eq!(
        counted(),
        "",
        "all was counted before: make the data larger"
    );
    assert_eq!(
        wait_for_verdict(&node, "many"),
        verdict,
        "{}",
        node.said(SPACE, "many")
    );
    assert!(node.counted(SPACE, &executors[1]) > 0);
    assert!(
        results(&node, "one") == results(&node, "many"),
        "the results are not the same bytes"
    );
    // A new one takes the place of the one that is gone, and whoever asks next has both.
    node.rolled_out(SPACE, "windlass-ballista-executors");
    assert_eq!(node.executors(SPACE).len(), 2);
}
