//! A cluster with a real node: needs root, mounts, and network namespaces.

mod common;

use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::{assert_nothing_is_left_of, devices};
use windlass_testcluster::process::wait_for;
use windlass_testcluster::{Cluster, Kubectl, Options, Shape, check_machine_for_node, image};

/// One real node at a time: a small machine has no room for more.
static MACHINE: Mutex<()> = Mutex::new(());

/// Says why, and gives nothing, where no real node can run.
fn machine() -> Option<MutexGuard<'static, ()>> {
    match check_machine_for_node() {
        Ok(()) => Some(MACHINE.lock().unwrap_or_else(PoisonError::into_inner)),
        Err(error) => {
            println!("skipped: {error:#}");
            None
        }
    }
}

fn up(name: &str, gpus: u32) -> (Cluster, Kubectl) {
    let cluster = Cluster::up(&Options::new(name, Shape::Node).with_gpus(gpus)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let tar = folder.path().join("busybox.tar");
    image::busybox("localhost/busybox:test")
        .unwrap()
        .write(&tar)
        .unwrap();
    cluster.load_image(&tar).unwrap();
    let kubectl = cluster.kubectl().unwrap();
    (cluster, kubectl)
}

fn wait_for_output(kubectl: &Kubectl, arguments: &[&str], wanted: impl Fn(&str) -> bool) -> String {
    let mut last = String::new();
    wait_for(&format!("{arguments:?}"), Duration::from_mins(1), || {
        last = kubectl.run(arguments).unwrap_or_default();
        Ok(wanted(&last))
    })
    .unwrap_or_else(|error| panic!("{error}: {last}"));
    last
}

const NAMESPACE: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: restricted, labels: {pod-security.kubernetes.io/enforce: restricted}}
";

const SERVICE: &str = r#"
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data, namespace: restricted}
spec: {accessModes: [ReadWriteMany], resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: restricted}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: restricted, labels: {app: web}}
spec:
  securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: web
    image: localhost/busybox:test
    args: [-c, "echo served > /data/page; exec busybox httpd -f -p 8080 -h /data"]
    securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}, readOnlyRootFilesystem: true}
    resources: {limits: {cpu: 200m, memory: 32Mi}}
    readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
    volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
---
apiVersion: batch/v1
kind: Job
metadata: {name: client, namespace: restricted}
spec:
  backoffLimit: 20
  template:
    spec:
      restartPolicy: OnFailure
      securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
      containers:
      - name: client
        image: localhost/busybox:test
        args: [-ec, "wget -q -O - http://web/page; echo asked > /data/asked"]
        securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
        volumeMounts: [{name: data, mountPath: /data}]
      volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
"#;

#[test]
fn a_pod_serves_under_its_services_name_and_down_leaves_nothing() {
    let Some(_machine) = machine() else { return };
    let name = "test-node";
    let devices_before = devices();
    let (cluster, kubectl) = up(name, 0);
    kubectl.apply(NAMESPACE).unwrap();
    // Without its service account a pod is refused, and that is made a little later.
    let account = [
        "--namespace=restricted",
        "get",
        "serviceaccount",
        "default",
        "-o",
        "name",
    ];
    wait_for_output(&kubectl, &account, |name| !name.is_empty());
    kubectl.apply(SERVICE).unwrap();
    let waiting = [
        "--namespace=restricted",
        "wait",
        "--for=condition=Complete",
        "job/client",
        "--timeout=90s",
    ];
    kubectl.run(&waiting).unwrap();
    let said = kubectl
        .run(&["--namespace=restricted", "logs", "job/client"])
        .unwrap();
    assert!(said.contains("served"), "{said}");
    let volume = cluster.volume_path("restricted", "data").unwrap();
    assert_eq!(fs::read_to_string(volume.join("asked")).unwrap(), "asked\n");
    cluster.down().unwrap();
    assert_nothing_is_left_of(name);
    assert_eq!(devices(), devices_before);
}

#[test]
fn a_gpu_pod_gets_its_devices_and_one_too_many_waits() {
    let Some(_machine) = machine() else { return };
    let (_cluster, kubectl) = up("test-gpu", 4);
    let pod = |name: &str, gpus: u32| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: default}}\nspec:\n  restartPolicy: Never\n  \
             containers:\n  - {{name: main, image: 'localhost/busybox:test', args: [-c, 'env; exec sleep 600'], \
             resources: {{limits: {{nvidia.com/gpu: {gpus}}}}}}}\n"
        )
    };
    kubectl.apply(&pod("three", 3)).unwrap();
    let said = wait_for_output(&kubectl, &["logs", "three"], |said| {
        said.contains("NVIDIA_VISIBLE_DEVICES=")
    });
    let devices = said
        .lines()
        .find_map(|line| line.strip_prefix("NVIDIA_VISIBLE_DEVICES="))
        .unwrap();
    assert_eq!(devices.split(',').count(), 3, "{devices}");
    kubectl.apply(&pod("two", 2)).unwrap();
    let condition = [
        "get",
        "pod",
        "two",
        "-o",
        "jsonpath={.status.conditions[?(@.type=='PodScheduled')].message}",
    ];
    wait_for_output(&kubectl, &condition, |message| {
        message.contains("Insufficient nvidia.com/gpu")
    });
}

#[test]
fn a_gang_that_does_not_fit_starts_none_of_its_pods() {
    let Some(_machine) = machine() else { return };
    let (_cluster, kubectl) = up("test-gang", 8);
    let gang = |name: &str, gpus: u32| {
        format!(
            "apiVersion: scheduling.k8s.io/v1beta1\nkind: PodGroup\nmetadata: {{name: {name}, namespace: default}}\n\
             spec: {{schedulingPolicy: {{gang: {{minCount: 3}}}}}}\n---\n\
             apiVersion: batch/v1\nkind: Job\nmetadata: {{name: {name}, namespace: default}}\n\
             spec:\n  parallelism: 3\n  completions: 3\n  completionMode: Indexed\n  template:\n    spec:\n      \
             restartPolicy: Never\n      schedulingGroup: {{podGroupName: {name}}}\n      \
             containers:\n      - {{name: main, image: 'localhost/busybox:test', args: [-c, 'true'], \
             resources: {{limits: {{nvidia.com/gpu: {gpus}}}}}}}\n"
        )
    };
    kubectl.apply(&gang("large", 3)).unwrap();
    let condition = [
        "get",
        "podgroup",
        "large",
        "-o",
        "jsonpath={.status.conditions[*].reason}",
    ];
    wait_for_output(&kubectl, &condition, |reason| reason == "Unschedulable");
    let nodes = [
        "get",
        "pods",
        "-l",
        "job-name=large",
        "-o",
        "jsonpath={.items[*].spec.nodeName}",
    ];
    assert_eq!(
        kubectl.run(&nodes).unwrap(),
        "",
        "two of three would fit, and none may start"
    );
    kubectl.apply(&gang("small", 2)).unwrap();
    kubectl
        .run(&[
            "wait",
            "--for=condition=Complete",
            "job/small",
            "--timeout=60s",
        ])
        .unwrap();
}

#[test]
fn it_comes_up_again_after_each_of_its_programs_was_killed() {
    let Some(_machine) = machine() else { return };
    let name = "test-node-killed";
    let (mut cluster, kubectl) = up(name, 2);
    let pod = "
apiVersion: v1
kind: Pod
metadata: {name: stays, namespace: default}
spec:
  containers: [{name: main, image: 'localhost/busybox:test', args: [-c, 'exec sleep 600']}]
";
    kubectl.apply(pod).unwrap();
    kubectl
        .run(&[
            "wait",
            "--for=condition=Ready",
            "pod/stays",
            "--timeout=60s",
        ])
        .unwrap();
    for (component, _) in cluster.components() {
        cluster.kill(&component).unwrap();
    }
    cluster.mend().unwrap();
    assert!(cluster.components().iter().all(|(_, is_alive)| *is_alive));
    let restarts = [
        "get",
        "pod",
        "stays",
        "-o",
        "jsonpath={.status.containerStatuses[0].restartCount}",
    ];
    assert_eq!(
        kubectl.run(&restarts).unwrap(),
        "0",
        "containers outlive the programs around them"
    );
    // Now without containerd's and the kubelet's help: their mounts and cgroups are left to `down`.
    for component in ["kubelet", "containerd"] {
        cluster.kill(component).unwrap();
    }
    drop(cluster);
    assert_nothing_is_left_of(name);
}
