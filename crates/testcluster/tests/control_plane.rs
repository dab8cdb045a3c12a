//! Clusters without a real node: they need no rights.

mod common;

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::assert_nothing_is_left_of;
use windlass_testcluster::process::wait_for;
use windlass_testcluster::{Cluster, Options, Shape, cache, down};

const JOB: &str = "
apiVersion: batch/v1
kind: Job
metadata: {name: train, namespace: default}
spec:
  parallelism: 4
  completions: 4
  template:
    spec:
      restartPolicy: Never
      containers:
      - {name: trainer, image: none, resources: {limits: {nvidia.com/gpu: 8}}}
";

#[test]
fn a_control_plane_makes_the_pods_of_a_job_and_leaves_nothing_behind() {
    let name = "test-api";
    let cluster = Cluster::up(&Options::new(name, Shape::Api)).unwrap();
    let kubectl = cluster.kubectl().unwrap();
    let version = kubectl.run(&["get", "--raw=/version"]).unwrap();
    assert!(version.contains("\"v1.37.2\""), "{version}");
    kubectl.apply(JOB).unwrap();
    wait_for("four pods", Duration::from_secs(30), || {
        Ok(kubectl.run(&["get", "pods", "-o", "name"])?.lines().count() == 4)
    })
    .unwrap();
    let kinds = kubectl
        .run(&["api-resources", "--api-group=scheduling.k8s.io"])
        .unwrap();
    assert!(kinds.contains("PodGroup"), "{kinds}");
    cluster.down().unwrap();
    assert_nothing_is_left_of(name);
}

#[test]
fn two_run_side_by_side_and_one_goes_alone() {
    let one = Cluster::up(&Options::new("test-side-1", Shape::Api)).unwrap();
    let two = Cluster::up(&Options::new("test-side-2", Shape::Api)).unwrap();
    one.kubectl()
        .unwrap()
        .run(&["create", "namespace", "only-in-one"])
        .unwrap();
    assert!(
        two.kubectl()
            .unwrap()
            .run(&["get", "namespace", "only-in-one"])
            .is_err()
    );
    drop(one);
    assert_nothing_is_left_of("test-side-1");
    two.kubectl()
        .unwrap()
        .run(&["get", "namespace", "default"])
        .unwrap();
}

#[test]
fn it_comes_up_again_with_its_data_after_its_programs_were_killed() {
    let options = Options::new("test-killed", Shape::Api);
    down(&options.name).unwrap();
    let cluster = Cluster::up_and_stay(&options).unwrap();
    cluster
        .kubectl()
        .unwrap()
        .run(&["create", "namespace", "kept"])
        .unwrap();
    for component in ["kube-apiserver", "etcd", "kube-controller-manager"] {
        cluster.kill(component).unwrap();
    }
    assert!(
        cluster
            .kubectl()
            .unwrap()
            .run(&["get", "namespaces", "--request-timeout=1s"])
            .is_err()
    );
    let cluster = Cluster::up_and_stay(&options).unwrap();
    cluster
        .kubectl()
        .unwrap()
        .run(&["get", "namespace", "kept"])
        .unwrap();
    cluster.down().unwrap();
    assert_nothing_is_left_of(&options.name);
}

#[test]
fn an_up_that_was_killed_half_way_does_not_stand_in_the_way() {
    let name = "test-half-way";
    down(name).unwrap();
    let mut up = Command::new(env!("CARGO_BIN_EXE_testcluster"))
        .args(["up", "--name", name])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let record = cache()
        .unwrap()
        .join("clusters")
        .join(name)
        .join("cluster.json");
    wait_for("the API server's start", Duration::from_secs(30), || {
        Ok(fs::read_to_string(&record).is_ok_and(|text| text.contains("kube-apiserver")))
    })
    .unwrap();
    up.kill().unwrap();
    up.wait().unwrap();
    let cluster = Cluster::up(&Options::new(name, Shape::Api)).unwrap();
    cluster
        .kubectl()
        .unwrap()
        .run(&["get", "namespaces"])
        .unwrap();
    drop(cluster);
    assert_nothing_is_left_of(name);
}

#[test]
fn a_cluster_ends_with_the_process_that_it_is_for() {
    let options = Options::new("test-owner", Shape::Api);
    let mut owner = Command::new("sleep").arg("600").spawn().unwrap();
    let cluster = Cluster::up_while(&options, i32::try_from(owner.id()).unwrap()).unwrap();
    cluster
        .kubectl()
        .unwrap()
        .run(&["get", "namespaces"])
        .unwrap();
    owner.kill().unwrap();
    owner.wait().unwrap();
    let folder = cluster.folder().to_owned();
    wait_for("the cluster's end", Duration::from_secs(20), || {
        Ok(!folder.exists())
    })
    .unwrap();
    // The supervisor removes the folder last, and then ends.
    wait_for("the supervisor's end", Duration::from_secs(5), || {
        Ok(windlass_testcluster::process::marked(&folder).is_empty())
    })
    .unwrap();
    assert_nothing_is_left_of(&options.name);
}

#[test]
fn the_audit_log_has_each_write_once_and_no_read() {
    let cluster = Cluster::up(&Options::new("test-audit", Shape::Api).with_audit_log()).unwrap();
    let kubectl = cluster.kubectl().unwrap();
    kubectl.run(&["create", "namespace", "written"]).unwrap();
    kubectl.run(&["get", "namespace", "written"]).unwrap();
    let log = fs::read_to_string(cluster.audit_log_path()).unwrap();
    let events: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of_namespace = |verb: &str| {
        events
            .iter()
            .filter(|event| event["verb"] == verb && event["user"]["username"] == "admin")
            .filter(|event| event["objectRef"]["name"] == "written")
            .count()
    };
    assert_eq!((of_namespace("create"), of_namespace("get")), (1, 0));
}

#[test]
fn a_job_finishes_on_nodes_that_do_not_exist() {
    let options = Options::new("test-kwok", Shape::Kwok)
        .with_fake_nodes(4)
        .with_gpus(8);
    let cluster = Cluster::up(&options).unwrap();
    let kubectl = cluster.kubectl().unwrap();
    kubectl.apply(JOB).unwrap();
    kubectl
        .run(&[
            "wait",
            "--for=condition=Complete",
            "job/train",
            "--timeout=60s",
        ])
        .unwrap();
    let nodes = kubectl
        .run(&["get", "pods", "-o", "jsonpath={.items[*].spec.nodeName}"])
        .unwrap();
    let mut nodes: Vec<&str> = nodes.split(' ').collect();
    nodes.sort_unstable();
    nodes.dedup();
    assert_eq!(nodes.len(), 4, "eight GPUs fill a node: {nodes:?}");
    drop(cluster);
    assert_nothing_is_left_of(&options.name);
}
