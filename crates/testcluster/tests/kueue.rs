//! Kueue's own manager beside a cluster: what the operator's side relies on.

mod common;

use std::time::Duration;

use common::assert_nothing_is_left_of;
use serde_json::{Value, json};
use windlass_testcluster::process::wait_for;
use windlass_testcluster::{Addition, Cluster, Kubectl, Options, Shape, down};

/// Eight GPUs, and who waits for them may take them from who matters less.
const QUEUES: &str = "
apiVersion: kueue.x-k8s.io/v1beta2
kind: ResourceFlavor
metadata: {name: plain}
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: ClusterQueue
metadata: {name: gpus}
spec:
  namespaceSelector: {}
  preemption: {withinClusterQueue: LowerPriority}
  resourceGroups:
  - coveredResources: [nvidia.com/gpu]
    flavors:
    - name: plain
      resources:
      - {name: nvidia.com/gpu, nominalQuota: 8}
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: LocalQueue
metadata: {name: team, namespace: default}
spec: {clusterQueue: gpus}
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: WorkloadPriorityClass
metadata: {name: urgent}
value: 1000
";

/// A suspended Job of so many pods of four GPUs, which run until they are deleted.
fn job(name: &str, queue: &str, pods: u32, priority: Option<&str>) -> String {
    let mut labels = json!({"kueue.x-k8s.io/queue-name": queue});
    if let Some(priority) = priority {
        labels["kueue.x-k8s.io/priority-class"] = priority.into();
    }
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": "default", "labels": labels},
        "spec": {
            "suspend": true,
            "parallelism": pods,
            "completions": pods,
            "template": {
                "metadata": {"annotations": {"testcluster.windlass.dev/stays": "yes"}},
                "spec": {"restartPolicy": "Never", "containers": [{
                    "name": "trainer",
                    "image": "none",
                    "resources": {"limits": {"nvidia.com/gpu": 4}},
                }]},
            },
        },
    })
    .to_string()
}

/// What the API server has under a kind and a name.
fn get(kubectl: &Kubectl, kind: &str, name: &str) -> Value {
    let text = kubectl.run(&["get", kind, name, "-o", "json"]).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The Workload that Kueue made for a Job, once it is there.
fn workload_of(kubectl: &Kubectl, job: &str) -> Option<Value> {
    let text = kubectl
        .run(&["get", "workloads.kueue.x-k8s.io", "-o", "json"])
        .unwrap();
    let workloads: Value = serde_json::from_str(&text).unwrap();
    let mut items = workloads["items"].as_array().unwrap().iter();
    items
        .find(|workload| workload["metadata"]["ownerReferences"][0]["name"] == job)
        .cloned()
}

/// `status`, `reason` and `message` of a condition of the Job's Workload, joined; empty without one.
fn condition(kubectl: &Kubectl, job: &str, kind: &str) -> String {
    let workload = workload_of(kubectl, job).unwrap_or_default();
    let conditions = workload["status"]["conditions"].as_array();
    let found = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == kind);
    found.map_or_else(String::new, |condition| {
        ["status", "reason", "message"]
            .map(|field| condition[field].as_str().unwrap_or_default())
            .join(" ")
    })
}

fn wait_for_condition(kubectl: &Kubectl, job: &str, kind: &str, beginning: &str) {
    let what = format!("{kind} of {job}: {beginning}");
    wait_for(&what, Duration::from_secs(30), || {
        Ok(condition(kubectl, job, kind).starts_with(beginning))
    })
    .unwrap_or_else(|error| {
        panic!("{error:#}; it is '{}'", condition(kubectl, job, kind));
    });
}

fn wait_until_suspended(kubectl: &Kubectl, job: &str, wanted: bool) {
    let what = format!("{job}: suspend {wanted}");
    wait_for(&what, Duration::from_secs(30), || {
        Ok(get(kubectl, "job", job)["spec"]["suspend"] == wanted)
    })
    .unwrap();
}

fn wait_for_ready_pods(kubectl: &Kubectl, job: &str, wanted: u32) {
    let what = format!("{wanted} ready pods of {job}");
    wait_for(&what, Duration::from_secs(30), || {
        Ok(get(kubectl, "job", job)["status"]["ready"]
            .as_u64()
            .unwrap_or(0)
            == u64::from(wanted))
    })
    .unwrap();
}

#[test]
fn a_job_is_admitted_another_waits_for_quota_and_an_urgent_one_takes_it() {
    let options = Options::new("test-kueue", Shape::Kwok)
        .with_fake_nodes(2)
        .with(Addition::Kueue);
    let cluster = Cluster::up(&options).unwrap();
    let kubectl = cluster.kubectl().unwrap();
    kubectl.apply(QUEUES).unwrap();

    kubectl.apply(&job("first", "team", 2, None)).unwrap();
    wait_for_condition(&kubectl, "first", "Admitted", "True Admitted ");
    wait_until_suspended(&kubectl, "first", false);
    wait_for_ready_pods(&kubectl, "first", 2);

    kubectl.apply(&job("second", "team", 1, None)).unwrap();
    wait_for_condition(
        &kubectl,
        "second",
        "QuotaReserved",
        "False Pending couldn't assign flavors to pod set main: insufficient unused quota",
    );
    wait_until_suspended(&kubectl, "second", true);

    kubectl
        .apply(&job("third", "team", 2, Some("urgent")))
        .unwrap();
    wait_for_condition(&kubectl, "first", "Preempted", "True InClusterQueue ");
    wait_until_suspended(&kubectl, "first", true);
    wait_for_condition(&kubectl, "third", "Admitted", "True Admitted ");
    wait_for_ready_pods(&kubectl, "third", 2);
    wait_for_condition(&kubectl, "first", "QuotaReserved", "False Pending ");

    drop(cluster);
    assert_nothing_is_left_of(&options.name);
}

#[test]
fn what_can_never_be_admitted_says_why() {
    let options = Options::new("test-kueue-never", Shape::Api).with(Addition::Kueue);
    let cluster = Cluster::up(&options).unwrap();
    let kubectl = cluster.kubectl().unwrap();
    kubectl.apply(QUEUES).unwrap();
    kubectl.apply(&job("astray", "nowhere", 1, None)).unwrap();
    wait_for_condition(
        &kubectl,
        "astray",
        "QuotaReserved",
        "False Inadmissible LocalQueue nowhere doesn't exist",
    );
    kubectl.apply(&job("too-large", "team", 3, None)).unwrap();
    wait_for_condition(
        &kubectl,
        "too-large",
        "QuotaReserved",
        "False Pending couldn't assign flavors to pod set main: insufficient quota for nvidia.com/gpu",
    );
    for job in ["astray", "too-large"] {
        wait_until_suspended(&kubectl, job, true);
    }
}

#[test]
fn its_webhooks_default_refuse_and_convert() {
    let options = Options::new("test-kueue-webhooks", Shape::Api).with(Addition::Kueue);
    let cluster = Cluster::up(&options).unwrap();
    let kubectl = cluster.kubectl().unwrap();
    kubectl.apply(QUEUES).unwrap();

    let unsuspended = job("running", "team", 1, None).replace("\"suspend\":true,", "");
    kubectl
        .create(&unsuspended.replace("team", "nowhere"))
        .unwrap();
    wait_until_suspended(&kubectl, "running", true);

    let flavor_without_quota = "
apiVersion: kueue.x-k8s.io/v1beta2
kind: ClusterQueue
metadata: {name: wrong}
spec:
  resourceGroups:
  - coveredResources: [cpu]
    flavors:
    - name: plain
      resources:
      - {name: memory, nominalQuota: 8}
";
    let refusal = kubectl.create(flavor_without_quota).unwrap_err();
    assert!(
        format!("{refusal:#}").contains("vclusterqueue.kb.io"),
        "{refusal:#}"
    );

    let old = get(&kubectl, "clusterqueues.v1beta1.kueue.x-k8s.io", "gpus");
    assert_eq!(old["apiVersion"], "kueue.x-k8s.io/v1beta1");
    // `cohort` became `cohortName` in v1beta2: a round trip goes through the manager.
    let patch = r#"{"spec": {"cohort": "all"}}"#;
    kubectl
        .run(&[
            "patch",
            "clusterqueues.v1beta1.kueue.x-k8s.io",
            "gpus",
            "--type=merge",
            "-p",
            patch,
        ])
        .unwrap();
    let new = get(&kubectl, "clusterqueues.v1beta2.kueue.x-k8s.io", "gpus");
    assert_eq!(new["spec"]["cohortName"], "all");
}

#[test]
fn two_clusters_have_two_and_one_that_was_killed_comes_up_again() {
    let other = Options::new("test-kueue-other", Shape::Api).with(Addition::Kueue);
    let other = Cluster::up(&other).unwrap();
    let options = Options::new("test-kueue-killed", Shape::Api).with(Addition::Kueue);
    down(&options.name).unwrap();
    let cluster = Cluster::up_and_stay(&options).unwrap();
    let kubectl = cluster.kubectl().unwrap();
    kubectl.apply(QUEUES).unwrap();
    cluster.kill("kueue").unwrap();
    assert!(
        kubectl.apply(&job("early", "team", 1, None)).is_err(),
        "its webhooks answer no more"
    );
    let cluster = Cluster::up_and_stay(&options).unwrap();
    assert!(cluster.pid("kueue").is_some());
    kubectl.apply(&job("late", "team", 1, None)).unwrap();
    wait_until_suspended(&kubectl, "late", false);
    assert!(workload_of(&other.kubectl().unwrap(), "late").is_none());
    cluster.down().unwrap();
    assert_nothing_is_left_of(&options.name);
    assert!(other.pid("kueue").is_some());
}
