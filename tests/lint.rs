//! Every manifest that is shipped, as others' tools read it: Helm's own lint, the schemas of all versions of Kubernetes
//! that Windlass is for, and what kube-score holds to be unwise.
//!
//! ```text
//!   charts/windlass ──helm template, each set of values──┐
//!   deploy/default ──kustomize───────────────────────────┼──> kubeconform -strict, 1.33 to 1.37
//!   deploy/windlass.yaml, deploy/examples, demo/manifests┘
//! ```

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::Value;
use windlass_testcluster::programs::{Program, Source, download, ensure};
use windlass_testcluster::schemas;

const NAMESPACE: &str = "windlass-system";

/// The sets of values that the chart is rendered with: what is optional off, on, and taken away.
const VALUES: [(&str, &[&str]); 6] = [
    ("shipped", &[]),
    (
        "all of it",
        &[
            "--set",
            "dashboard.enabled=true,alerts.enabled=true,alerts.labels.release=prometheus",
            "--set",
            "cloudEvents.url=https://broker.example/growth,cloudEvents.secretName=broker,cloudEvents.tokenFile=/etc/cloudevents/token",
            "--set",
            "prometheus.url=https://prometheus.monitoring:9091,prometheus.secretName=prometheus,prometheus.caFile=/etc/prometheus/ca.crt",
            "--set",
            "inputCache.hostPath=/var/cache/windlass,inputCache.namespaces={growth}",
            "--set",
            "rbac.ownerReferencesPermissionEnforcement=true,priorityClassName=system-cluster-critical,imagePullSecrets={regcred}",
            "--set-json",
            r#"nodeSelector={"kubernetes.io/arch":"amd64"}"#,
            "--set-json",
            r#"tolerations=[{"key":"infra","operator":"Exists"}]"#,
            "--set-json",
            r#"serviceAccount.annotations={"a":"b"}"#,
            "--api-versions",
            "monitoring.coreos.com/v1/PrometheusRule",
        ],
    ),
    (
        "a replica fewer",
        &["--set", "replicas=1,crds.keep=false,rbac.aggregate=false"],
    ),
    (
        "some namespaces",
        &["--set", "watchNamespaces={growth,risk}"],
    ),
    ("shards", &["--set", "shards={a,b}"]),
    (
        "as little as can be",
        &[
            "--set",
            "crds.install=false,networkPolicy.enabled=false,metrics.service=false,serviceAccountPolicy.enabled=false,approvalPolicy.enabled=false",
        ],
    ),
];

/// What is in a manifest and neither Kubernetes' nor ours: the alerts.
const PROMETHEUS_OPERATOR: Source = Source {
    module: "github.com/prometheus-operator/prometheus-operator",
    version: "v0.85.0",
    sum: "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=",
};

/// What needs a later Kubernetes than Windlass does, and the first that has it: device claims are `resource.k8s.io/v1` since.
const LATER: (&str, &str) = ("deploy/examples/gpu-claims.yaml", "v1.34");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn program(program: Program) -> PathBuf {
    ensure(&[program]).unwrap().remove(&program).unwrap()
}

fn helm(arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(program(Program::Helm));
    command.args(arguments).current_dir(root());
    for name in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
        command.env(name, folder.path());
    }
    command.output().unwrap()
}

/// What a program printed; it has to have ended well.
fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{}", said(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn said(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!(
        "{}{}",
        String::from_utf8_lossy(out),
        String::from_utf8_lossy(err)
    )
}

fn rendered(values: &[&str], version: &str) -> String {
    let mut arguments = vec!["template", "windlass", "charts/windlass"];
    arguments.extend(["--namespace", NAMESPACE, "--kube-version", version]);
    arguments.extend(values);
    printed(&helm(&arguments))
}

/// The YAML files below a folder, less what only kustomize reads.
fn manifests(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "yaml")
                && path
                    .file_name()
                    .is_some_and(|it| it != "kustomization.yaml")
            {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "there is no manifest in {folder}");
    found
}

fn parsed(path: &Path) -> Value {
    serde_saphyr::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// The schemas of all versions, written once.
fn schemas() -> &'static Path {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let rules = download(&PROMETHEUS_OPERATOR)
            .unwrap()
            .join("example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml");
        let mut crds: Vec<Value> = manifests("crds").iter().map(|path| parsed(path)).collect();
        assert_eq!(crds.len(), 4);
        crds.push(parsed(&rules));
        std::thread::scope(|scope| {
            for version in &schemas::KUBERNETES {
                let (folder, crds) = (folder.path(), &crds);
                scope.spawn(move || {
                    let written = schemas::write(folder, version, crds).unwrap();
                    assert!(written > 100, "{} has {written} kinds", version.version);
                });
            }
        });
        folder
    });
    folder.path()
}

/// What kubeconform says of files, for one version of Kubernetes.
fn kubeconform(version: &str, files: &[PathBuf]) -> Output {
    Command::new(program(Program::Kubeconform))
        .args(["-strict", "-summary", "-output", "json"])
        .args(["-kubernetes-version", version.trim_start_matches('v')])
        .arg("-schema-location")
        .arg(schemas().join(schemas::LOCATION))
        .args(files)
        .output()
        .unwrap()
}

/// All manifests that are shipped, with a name for each, as files below a folder.
fn shipped(folder: &Path, version: &str) -> Vec<PathBuf> {
    let mut files = manifests("deploy/examples");
    files.extend(manifests("demo/manifests"));
    files.push(root().join("deploy/windlass.yaml"));
    files.push(root().join("deploy/default/namespace.yaml"));
    let mut put = |name: &str, text: String| {
        let path = folder.join(format!("{name}.yaml"));
        fs::write(&path, text).unwrap();
        files.push(path);
    };
    for (name, values) in VALUES {
        put(name, rendered(values, version));
    }
    let kustomized = Command::new(program(Program::Kubectl))
        .args(["kustomize", "deploy/default"])
        .current_dir(root())
        .output()
        .unwrap();
    put("kustomized", printed(&kustomized));
    files
}

#[test]
fn helm_has_nothing_to_say_of_the_chart() {
    for (name, values) in VALUES {
        let mut arguments = vec!["lint", "--strict", "charts/windlass"];
        arguments.extend(["--namespace", NAMESPACE]);
        // Only rendering asks what a cluster serves.
        let values = values
            .split(|value| *value == "--api-versions")
            .next()
            .unwrap();
        arguments.extend(values);
        let output = helm(&arguments);
        assert!(output.status.success(), "{name}: {}", said(&output));
    }
}

#[test]
fn every_manifest_is_of_the_schema_of_every_version_of_kubernetes() {
    let folder = tempfile::tempdir().unwrap();
    for source in &schemas::KUBERNETES {
        let version = source.version;
        let mut files = shipped(folder.path(), version);
        if version < LATER.1 {
            let later = root().join(LATER.0);
            files.retain(|path| *path != later);
            let output = kubeconform(version, &[later]);
            let text = said(&output);
            assert!(
                text.contains("could not find schema for ResourceClaimTemplate"),
                "{version} has what it did not: {text}"
            );
        }
        let output = kubeconform(version, &files);
        assert!(output.status.success(), "{version}: {}", said(&output));
        let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
        let count = |name: &str| summary["summary"][name].as_u64().unwrap();
        // Each of the renderings has some thirty.
        assert!(count("valid") > 150, "{version}: {summary}");
        assert_eq!(count("skipped"), 0, "{version}: {summary}");
    }
}

#[test]
fn what_is_wrong_in_a_manifest_is_told_for_every_version() {
    let folder = tempfile::tempdir().unwrap();
    let chart = rendered(&[], "v1.37.2");
    let job = fs::read_to_string(root().join("deploy/examples/pytorch-gang.yaml")).unwrap();
    for (what, text, right, wrong, part) in [
        (
            "a field that is none",
            &chart,
            "automountServiceAccountToken: true",
            "automountServiceAccountTokens: true",
            "automountServiceAccountTokens",
        ),
        (
            "a number that is a text",
            &chart,
            "terminationGracePeriodSeconds: 15",
            "terminationGracePeriodSeconds: soon",
            "terminationGracePeriodSeconds",
        ),
        (
            "a kind that is none",
            &chart,
            "kind: PodDisruptionBudget",
            "kind: PodDisruptionBudgets",
            "could not find schema",
        ),
        (
            "a field of ours that is none",
            &job,
            "  framework: PyTorch",
            "  frameworks: PyTorch",
            "frameworks",
        ),
        (
            "a field of its metadata that is none",
            &job,
            "metadata:\n",
            "metadata:\n  titel: gang\n",
            "titel",
        ),
    ] {
        assert!(text.contains(right), "{what}: there is no {right}");
        let path = folder.path().join("wrong.yaml");
        fs::write(&path, text.replacen(right, wrong, 1)).unwrap();
        for source in &schemas::KUBERNETES {
            let output = kubeconform(source.version, std::slice::from_ref(&path));
            let text = said(&output);
            assert!(!output.status.success(), "{what} is right: {text}");
            assert!(text.contains(part), "{what}: {text}");
        }
    }
}

/// That each container says how much of a node's disk it takes.
const EPHEMERAL_STORAGE: &str = "container-ephemeral-storage-request-and-limit";

/// What kube-score holds to be critical.
fn critical(manifest: &str) -> BTreeSet<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rendered.yaml");
    fs::write(&path, manifest).unwrap();
    let output = Command::new(program(Program::KubeScore))
        .args(["score", "--output-format", "ci"])
        .args(["--kubernetes-version", "v1.33"])
        // A leader that is throttled loses its Lease, and it is the one that has work. An annotation would take the limit
        // of memory along, which there has to be.
        .arg("--ignore-container-cpu-limit")
        // It writes to no disk but its log, which the kubelet cuts; and a node that does not count its disk would have no room
        // for one that asks for some.
        .args(["--ignore-test", EPHEMERAL_STORAGE])
        .arg(&path)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("[OK]"),
        "it scored nothing: {}",
        said(&output)
    );
    let lines = text.lines().filter(|line| line.starts_with("[CRITICAL]"));
    lines.map(str::to_owned).collect()
}

#[test]
fn kube_score_has_nothing_critical_to_say_of_the_chart() {
    // The last set takes the NetworkPolicy away, which is critical and what was asked for.
    let ((_, least), others) = VALUES.split_last().unwrap();
    for (name, values) in others {
        let found = critical(&rendered(values, "v1.33.13"));
        assert!(found.is_empty(), "{name}: {found:#?}");
    }
    let without = critical(&rendered(least, "v1.33.13"));
    assert!(
        without.len() == 1 && without.iter().all(|line| line.contains("NetworkPolicy")),
        "{without:#?}"
    );
    let shipped = rendered(&[], "v1.33.13");
    for (right, wrong) in [
        (
            "\n          readOnlyRootFilesystem: true",
            "\n          readOnlyRootFilesystem: false",
        ),
        ("memory: 128Mi", "nvidia.com/gpu: 1"),
    ] {
        assert!(shipped.contains(right));
        assert!(
            !critical(&shipped.replacen(right, wrong, 1)).is_empty(),
            "{wrong} passes"
        );
    }
}

#[test]
fn each_test_that_the_threat_model_names_is_there() {
    let text = fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let mut named = 0;
    for span in text.split('`').skip(1).step_by(2) {
        let Some((file, name)) = span.split_once(".rs::") else {
            continue;
        };
        let source = fs::read_to_string(root().join(format!("{file}.rs")))
            .unwrap_or_else(|error| panic!("{span}: {error}"));
        assert!(
            source.contains(&format!("fn {name}(")),
            "SECURITY.md names {span}, which is not there"
        );
        named += 1;
    }
    assert!(named > 30, "{named} tests are named");
}
