//! The three ways to install Windlass: the same objects, and each of them on a real API server.
//!
//! ```text
//!   charts/windlass ──scripts/generate.sh──> deploy/default ──kustomize──> deploy/windlass.yaml
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;
use windlass_api::Protocol;
use windlass_plan::presets::{Presets, Wanted};
use windlass_testcluster::process::wait_for;
use windlass_testcluster::programs::{Program, ensure};
use windlass_testcluster::{Cluster, Kubectl, Options, Shape};

const NAMESPACE: &str = "windlass-system";

/// An object's kind, namespace and name.
type Key = (String, String, String);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn program(program: Program) -> PathBuf {
    ensure(&[program]).unwrap().remove(&program).unwrap()
}

/// Helm, with folders of its own, so that it neither reads nor leaves anything of the user's.
struct Helm {
    program: PathBuf,
    folder: tempfile::TempDir,
}

impl Helm {
    fn new() -> Self {
        Self {
            program: program(Program::Helm),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).current_dir(root());
        for name in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            command.env(name, self.folder.path());
        }
        command
    }

    fn template(&self, values: &[&str]) -> Output {
        let mut arguments = vec![
            "template",
            "windlass",
            "charts/windlass",
            "--namespace",
            NAMESPACE,
        ];
        arguments.extend(values);
        self.command(&arguments).output().unwrap()
    }

    fn render(&self, values: &[&str]) -> BTreeMap<Key, Value> {
        objects(&printed(&self.template(values)))
    }
}

/// What a program printed; it has to have ended well.
fn printed(output: &Output) -> String {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn objects(yaml: &str) -> BTreeMap<Key, Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(yaml).unwrap();
    let mut objects = BTreeMap::new();
    for object in documents.into_iter().filter(|object| !object.is_null()) {
        let text = |pointer: &str| {
            object
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let key = (
            text("/kind"),
            text("/metadata/namespace"),
            text("/metadata/name"),
        );
        assert!(
            objects.insert(key.clone(), object).is_none(),
            "{key:?} is there twice"
        );
    }
    objects
}

fn key(kind: &str, name: &str) -> Key {
    (kind.to_owned(), NAMESPACE.to_owned(), name.to_owned())
}

/// Every string in a value, and every key.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(values) => values.iter().flat_map(texts).collect(),
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(name, value)| [name.as_str()].into_iter().chain(texts(value)))
            .collect(),
        _ => Vec::new(),
    }
}

#[test]
fn the_three_ways_hold_the_same_objects() {
    let chart = Helm::new().render(&[]);
    let kustomize = Command::new(program(Program::Kubectl))
        .args(["kustomize", "deploy/default"])
        .current_dir(root())
        .output()
        .unwrap();
    let kustomize = objects(&printed(&kustomize));
    let rendered = objects(&fs::read_to_string(root().join("deploy/windlass.yaml")).unwrap());

    let mut expected = chart;
    // Helm makes the namespace itself (--create-namespace), so that the chart can go into any.
    let namespace = ("Namespace".to_owned(), String::new(), NAMESPACE.to_owned());
    let labels = &kustomize[&namespace]["metadata"]["labels"];
    assert_eq!(labels["pod-security.kubernetes.io/enforce"], "restricted");
    expected.insert(namespace.clone(), kustomize[&namespace].clone());

    for (name, found) in [
        ("deploy/default", kustomize),
        ("deploy/windlass.yaml", rendered),
    ] {
        assert_eq!(
            found.keys().collect::<Vec<_>>(),
            expected.keys().collect::<Vec<_>>(),
            "{name}: run scripts/generate.sh"
        );
        for (key, object) in &expected {
            assert!(
                found[key] == *object,
                "{key:?} differs in {name}: run scripts/generate.sh"
            );
        }
    }
}

#[test]
fn the_operator_is_as_safe_as_is_said() {
    let objects = Helm::new().render(&[]);
    assert!(
        objects.keys().all(|(kind, _, _)| kind != "Secret"),
        "there is a Secret"
    );
    for ((kind, _, name), object) in &objects {
        if kind != "ClusterRole" && kind != "Role" {
            continue;
        }
        for rule in object["rules"].as_array().unwrap() {
            let words = texts(rule);
            for word in [
                "*",
                "secrets",
                "pods/exec",
                "rbac.authorization.k8s.io",
                "admissionregistration.k8s.io",
                "escalate",
                "impersonate",
                "bind",
            ] {
                assert!(!words.contains(&word), "{kind} {name} allows {word}");
            }
        }
    }
    // Of users' roles, which the cluster's own view, edit and admin take in, nobody holds any by the chart.
    let bound = objects.iter().filter(|((kind, _, name), _)| {
        (kind == "ClusterRole" || kind == "Role") && name == "windlass"
    });
    let pairs: usize = bound
        .flat_map(|(_, role)| role["rules"].as_array().unwrap())
        .map(|rule| rule["verbs"].as_array().unwrap().len())
        .sum();
    assert!(
        pairs <= 35,
        "the operator has {pairs} pairs of rule and verb"
    );
    let deployment = &objects[&key("Deployment", "windlass")]["spec"];
    assert_eq!(deployment["replicas"], 2);
    let pod = &deployment["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["runAsUser"], 65532);
    assert_eq!(
        pod["securityContext"]["seccompProfile"]["type"],
        "RuntimeDefault"
    );
    let containers = pod["containers"].as_array().unwrap();
    assert_eq!(containers.len(), 1);
    assert_eq!(
        containers[0]["securityContext"]["readOnlyRootFilesystem"],
        true
    );
    assert_eq!(
        containers[0]["securityContext"]["allowPrivilegeEscalation"],
        false
    );
    assert_eq!(
        containers[0]["securityContext"]["capabilities"]["drop"][0],
        "ALL"
    );
}

#[test]
fn each_shard_has_an_operator_of_its_own() {
    let helm = Helm::new();
    let shipped = helm.render(&[]);
    let objects = helm.render(&["--set", "shards={a,b}"]);
    let count = |objects: &BTreeMap<Key, Value>, kind: &str| {
        objects.keys().filter(|(of, ..)| of == kind).count()
    };
    for kind in [
        "Deployment",
        "PodDisruptionBudget",
        "NetworkPolicy",
        "Service",
    ] {
        let more = count(&objects, kind) - count(&shipped, kind);
        assert_eq!(more, 2, "{kind}");
    }
    let mut selectors = std::collections::BTreeSet::new();
    for (name, shard) in [
        ("windlass", ""),
        ("windlass-shard-a", "a"),
        ("windlass-shard-b", "b"),
    ] {
        let deployment = &objects[&key("Deployment", name)]["spec"];
        let told = deployment.to_string();
        let of = |variable: &str, value: &str| {
            told.contains(&format!(r#"{{"name":"{variable}","value":"{value}"}}"#))
        };
        assert!(of("WINDLASS_SHARDS", "a,b"), "{told}");
        assert_eq!(
            told.contains(r#""WINDLASS_SHARD""#),
            !shard.is_empty(),
            "{told}"
        );
        assert!(shard.is_empty() || of("WINDLASS_SHARD", shard), "{told}");
        let selector = &deployment["selector"]["matchLabels"];
        let labels = &deployment["template"]["metadata"]["labels"];
        for (label, value) in selector.as_object().unwrap() {
            assert_eq!(&labels[label], value);
        }
        selectors.insert(selector.to_string());
        let budget = &objects[&key("PodDisruptionBudget", name)]["spec"]["selector"]["matchLabels"];
        let policy = &objects[&key("NetworkPolicy", name)]["spec"]["podSelector"]["matchLabels"];
        assert_eq!((budget, policy), (selector, selector));
    }
    assert_eq!(selectors.len(), 3, "{selectors:?}");
    let leases = objects[&key("Role", "windlass")]["rules"].to_string();
    assert!(
        leases.contains(r#"["windlass","windlass-a","windlass-b"]"#),
        "{leases}"
    );
    are_refused(
        &helm,
        &[
            ("shards={A}", "shards"),
            ("shards={a},watchNamespaces={growth}", "not both"),
        ],
    );
}

#[test]
fn with_namespaces_named_there_are_roles_in_these_alone() {
    let helm = Helm::new();
    let objects = helm.render(&["--set", "watchNamespaces={growth,risk}"]);
    let of = |kinds: &[&str]| -> Vec<(String, String, String)> {
        let keys = objects.keys();
        keys.filter(|(kind, _, _)| kinds.contains(&kind.as_str()))
            .cloned()
            .collect()
    };
    assert_eq!(of(&["ClusterRole", "ClusterRoleBinding"]), []);
    let rules = |namespace: &str, name: &str| {
        let key = ("Role".to_owned(), namespace.to_owned(), name.to_owned());
        objects[&key]["rules"].as_array().unwrap().clone()
    };
    let shipped = helm.render(&[]);
    let role = (
        "ClusterRole".to_owned(),
        String::new(),
        "windlass".to_owned(),
    );
    let mut expected = shipped[&role]["rules"].as_array().unwrap().clone();
    // Nodes are of no namespace.
    expected.retain(|rule| rule["resources"] != serde_json::json!(["nodes"]));
    assert!(expected.len() >= 8);
    for namespace in ["growth", "risk"] {
        assert_eq!(rules(namespace, "windlass-work"), expected);
        let key = (
            "RoleBinding".to_owned(),
            namespace.to_owned(),
            "windlass-work".to_owned(),
        );
        let subject = &objects[&key]["subjects"][0];
        assert_eq!(
            (&subject["name"], &subject["namespace"]),
            (&"windlass".into(), &NAMESPACE.into())
        );
        // What people may do is the same.
        for name in ["view", "edit", "approve", "release", "promote", "retrain"] {
            let name = format!("windlass-{name}");
            let key = ("ClusterRole".to_owned(), String::new(), name.clone());
            let shipped = shipped[&key]["rules"].as_array().unwrap();
            assert_eq!(&rules(namespace, &name), shipped);
        }
    }
    let namespaces: Vec<_> = of(&["Role", "RoleBinding"])
        .into_iter()
        .map(|(_, namespace, _)| namespace)
        .filter(|namespace| !["growth", "risk", NAMESPACE].contains(&namespace.as_str()))
        .collect();
    assert!(namespaces.is_empty(), "{namespaces:?}");
    let told = objects[&key("Deployment", "windlass")].to_string();
    assert!(
        told.contains(r#"{"name":"WINDLASS_WATCH_NAMESPACES","value":"growth,risk"}"#),
        "{told}"
    );
    // A refusal names what there is.
    let policies: Vec<_> = objects
        .iter()
        .filter(|((kind, _, _), _)| kind == "ValidatingAdmissionPolicy")
        .collect();
    assert!(policies.iter().any(|(_, policy)| {
        policy
            .to_string()
            .contains("the Role windlass-approve gives")
    }));
    assert!(
        policies
            .iter()
            .all(|(_, policy)| !policy.to_string().contains("ClusterRole"))
    );
}

#[test]
fn a_dashboard_and_alerts_are_there_where_they_are_wanted_and_can_be() {
    let helm = Helm::new();
    let (dashboard, alerts) = (
        key("ConfigMap", "windlass-dashboard"),
        key("PrometheusRule", "windlass"),
    );
    let shipped = helm.render(&[]);
    assert!(!shipped.contains_key(&dashboard) && !shipped.contains_key(&alerts));
    let wanted = [
        "--set",
        "dashboard.enabled=true,alerts.enabled=true,alerts.overdueSeconds=7200,alerts.labels.release=prometheus",
    ];
    let without = helm.render(&wanted);
    assert!(!without.contains_key(&alerts), "the kind is not served");
    let config_map = &without[&dashboard];
    assert_eq!(config_map["metadata"]["labels"]["grafana_dashboard"], "1");
    let board = config_map["data"]["windlass-drift.json"].as_str().unwrap();
    let board: Value = serde_json::from_str(board).unwrap();
    assert!(board["panels"].as_array().unwrap().len() >= 8);

    let mut values = wanted.to_vec();
    values.extend(["--api-versions", "monitoring.coreos.com/v1/PrometheusRule"]);
    let rule = &helm.render(&values)[&alerts];
    assert_eq!(rule["metadata"]["labels"]["release"], "prometheus");
    let rules_of = |group: usize| {
        let rules = &rule["spec"]["groups"][group]["rules"];
        rules.as_array().unwrap().clone()
    };
    let names_of = |rules: &[Value]| -> Vec<String> {
        let names = rules.iter().filter_map(|rule| rule["alert"].as_str());
        names.map(str::to_owned).collect()
    };
    let rules = rules_of(0);
    assert_eq!(
        names_of(&rules),
        [
            "WindlassDrifted",
            "WindlassDataBroken",
            "WindlassEvaluationFailed",
            "WindlassCircuitOpen",
            "WindlassNoWindowJudged",
            "WindlassEventsDropped"
        ]
    );
    let expression = rules[4]["expr"].as_str().unwrap();
    assert!(expression.ends_with("> 7200"), "{expression}");
    let said = rules[0]["annotations"]["summary"].as_str().unwrap();
    assert!(said.contains("{{ $labels.monitor }}"), "{said}");
    assert_eq!(
        names_of(&rules_of(1)),
        [
            "WindlassPayloadRowsDropped",
            "WindlassPayloadRowsUnread",
            "WindlassPayloadUploadsFail"
        ]
    );
}

#[test]
fn cloud_events_go_to_the_address_that_is_configured_and_the_network_lets_them() {
    let helm = Helm::new();
    let environment = |objects: &BTreeMap<Key, Value>| {
        let pod = &objects[&key("Deployment", "windlass")]["spec"]["template"]["spec"];
        texts(&pod["containers"][0]["env"]).join(" ")
    };
    let shipped = helm.render(&[]);
    assert!(!environment(&shipped).contains("WINDLASS_EVENTS"));
    let objects = helm.render(&[
        "--set",
        "cloudEvents.url=https://broker.example/growth,cloudEvents.secretName=broker,cloudEvents.tokenFile=/etc/cloudevents/token,networkPolicy.cloudEventsPorts={8443}",
    ]);
    let found = environment(&objects);
    for part in [
        "WINDLASS_EVENTS_URL value https://broker.example/growth",
        "WINDLASS_EVENTS_TOKEN_FILE value /etc/cloudevents/token",
    ] {
        assert!(found.contains(part), "{found}");
    }
    let pod = &objects[&key("Deployment", "windlass")]["spec"]["template"]["spec"];
    assert!(texts(&pod["volumes"]).contains(&"broker"));
    let is_open = |objects: &BTreeMap<Key, Value>| {
        let policy = &objects[&key("NetworkPolicy", "windlass")]["spec"]["egress"];
        policy.to_string().contains("8443")
    };
    assert!(is_open(&objects) && !is_open(&shipped));
}

/// The presets of the chart with these values.
fn presets(helm: &Helm, values: &[&str]) -> Presets {
    let objects = helm.render(values);
    let text = &objects[&key("ConfigMap", "windlass-presets")]["data"]["presets.yaml"];
    serde_saphyr::from_str(text.as_str().unwrap()).unwrap()
}

fn wanted<'a>(name: Option<&'a str>, format: &'a str, protocol: Protocol) -> Wanted<'a> {
    Wanted {
        field: "spec",
        name,
        format,
        protocol,
    }
}

#[test]
fn a_preset_is_found_by_format_and_protocol_and_its_image_and_resources_are_values() {
    let helm = Helm::new();
    let shipped = presets(&helm, &[]);
    // Which server it is without a word of it.
    for (format, protocol, name, image) in [
        (
            "MLflow",
            Protocol::OpenInference,
            "mlserver",
            "docker.io/seldonio/mlserver:",
        ),
        (
            "SKLearn",
            Protocol::OpenInferenceGRPC,
            "mlserver",
            "docker.io/seldonio/mlserver:",
        ),
        (
            "XGBoost",
            Protocol::OpenInference,
            "mlserver",
            "docker.io/seldonio/mlserver:",
        ),
        (
            "ONNX",
            Protocol::OpenInference,
            "onnx",
            "docker.io/openvino/model_server:",
        ),
        (
            "ONNX",
            Protocol::V1,
            "onnx",
            "docker.io/openvino/model_server:",
        ),
        (
            "PyTorch",
            Protocol::OpenInference,
            "triton",
            "nvcr.io/nvidia/tritonserver:",
        ),
        (
            "TorchScript",
            Protocol::OpenInferenceGRPC,
            "triton",
            "nvcr.io/nvidia/tritonserver:",
        ),
        (
            "TensorRT",
            Protocol::OpenInference,
            "triton",
            "nvcr.io/nvidia/tritonserver:",
        ),
        (
            "Safetensors",
            Protocol::OpenAI,
            "vllm",
            "docker.io/vllm/vllm-openai:",
        ),
        (
            "HuggingFace",
            Protocol::OpenAI,
            "vllm",
            "docker.io/vllm/vllm-openai:",
        ),
    ] {
        let (found, template) = shipped.template(wanted(None, format, protocol)).unwrap();
        assert_eq!(found, name, "{format}");
        let pod = windlass_plan::template::parse("presets", &template).unwrap();
        let server = pod.spec.unwrap().containers.remove(0);
        assert!(server.image.unwrap().starts_with(image), "{format}");
        // By which a number of pods can follow the CPU.
        let requests = server.resources.and_then(|it| it.requests).unwrap();
        assert!(requests.contains_key("cpu"), "{format}");
        let read_only = server.security_context.unwrap().read_only_root_filesystem;
        assert_eq!(read_only, Some(true), "{format}");
    }
    let digest = format!("sha256:{}", "0".repeat(64));
    let pinned = presets(
        &helm,
        &[
            "--set",
            &format!("triton.image.digest={digest}"),
            "--set-json",
            r#"triton.resources={"limits":{"nvidia.com/gpu":2}}"#,
        ],
    );
    let server = &pinned.presets["triton"].template.0["spec"]["containers"][0];
    assert_eq!(
        (
            &server["image"],
            &server["resources"]["limits"]["nvidia.com/gpu"]
        ),
        (
            &format!("nvcr.io/nvidia/tritonserver@{digest}").into(),
            &2.into()
        )
    );
}

#[test]
fn a_preset_of_ones_own_keeps_its_resources_also_under_the_name_of_one_that_is_shipped() {
    let helm = Helm::new();
    let own = presets(
        &helm,
        &[
            "--set-json",
            r#"presets.triton.template={"spec":{"containers":[{"name":"server","image":"own","resources":{"limits":{"nvidia.com/gpu":1}}}]}}"#,
        ],
    );
    let server = &own.presets["triton"].template.0["spec"]["containers"][0];
    let kept = serde_json::json!({"limits": {"nvidia.com/gpu": 1}});
    assert_eq!(server["resources"], kept);
}

#[test]
fn the_operator_can_read_the_presets_of_the_chart() {
    let helm = Helm::new();
    let presets = |values: &[&str]| presets(&helm, values);
    let shipped = presets(&[]);
    for format in shipped.presets["mlserver"].formats.keys() {
        let (_, template) = shipped
            .template(wanted(Some("mlserver"), format, Protocol::OpenInference))
            .unwrap();
        let pod = windlass_plan::template::parse("presets.mlserver.template", &template)
            .unwrap()
            .spec
            .unwrap();
        let environment = pod.containers[0].env.as_ref().unwrap();
        assert!(
            environment
                .iter()
                .any(|variable| variable.name == "MLSERVER_MODEL_IMPLEMENTATION"),
            "{format}"
        );
    }

    let other = presets(&[
        "--set",
        "mlserver.image.repository=localhost/mlserver",
        "--set-string",
        "mlserver.image.tag=9",
        "--set",
        "mlserver.image.pullPolicy=Never",
    ]);
    let container = other.presets["mlserver"]
        .template
        .0
        .pointer("/spec/containers/0")
        .unwrap();
    assert_eq!(
        (&container["image"], &container["imagePullPolicy"]),
        (&"localhost/mlserver:9".into(), &"Never".into())
    );
    let without = presets(&["--set", "presets.mlserver=null"]).presets;
    let names: Vec<_> = without.keys().map(String::as_str).collect();
    assert_eq!(names, ["onnx", "triton", "vllm"]);
}

#[test]
fn a_prometheus_is_told_reached_and_has_its_secret_mounted_and_none_is_by_default() {
    let helm = Helm::new();
    let of = |values: &[&str]| {
        let objects = helm.render(values);
        let pod = objects[&key("Deployment", "windlass")]["spec"]["template"]["spec"].clone();
        let policy = objects[&key("NetworkPolicy", "windlass")]["spec"]["egress"].clone();
        (pod, policy)
    };
    let (pod, policy) = of(&[]);
    assert!(!pod.to_string().contains("PROMETHEUS"));
    assert!(!policy.to_string().contains("9090"));
    let (pod, policy) = of(&[
        "--set",
        "prometheus.url=https://prometheus.monitoring:9091/prefix",
        "--set",
        "prometheus.secretName=prometheus-client",
        "--set",
        "prometheus.tokenFile=/etc/prometheus/token",
        "--set",
        "prometheus.caFile=/etc/prometheus/ca.crt",
        "--set",
        "networkPolicy.prometheusPorts={9091}",
    ]);
    let container = &pod["containers"][0];
    let variable = |name: &str| {
        let mut all = container["env"].as_array().unwrap().iter();
        all.find(|one| one["name"] == name).unwrap()["value"].clone()
    };
    for (name, value) in [
        ("URL", "https://prometheus.monitoring:9091/prefix"),
        ("TOKEN_FILE", "/etc/prometheus/token"),
        ("CA_FILE", "/etc/prometheus/ca.crt"),
    ] {
        assert_eq!(variable(&format!("WINDLASS_PROMETHEUS_{name}")), value);
    }
    assert_eq!(container["volumeMounts"][1]["mountPath"], "/etc/prometheus");
    assert_eq!(
        pod["volumes"][1]["secret"]["secretName"],
        "prometheus-client"
    );
    assert!(policy.to_string().contains(r#""port":9091"#), "{policy}");
}

#[test]
fn values_do_what_they_say_and_a_wrong_one_is_refused() {
    let helm = Helm::new();
    let objects = helm.render(&[
        "--set",
        "image.repository=localhost/windlass",
        "--set-string",
        "image.tag=dev",
        "--set",
        "image.pullPolicy=Never",
        "--set",
        "agent.image.repository=localhost/windlass-agent",
        "--set-string",
        "agent.image.tag=dev",
        "--set",
        "replicas=1",
        "--set",
        "networkPolicy.enabled=false",
        "--set",
        "crds.keep=false",
        "--set",
        "rbac.aggregate=false",
    ]);
    let container =
        &objects[&key("Deployment", "windlass")]["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(
        (&container["image"], &container["imagePullPolicy"]),
        (&"localhost/windlass:dev".into(), &"Never".into())
    );
    let agent = container["env"]
        .as_array()
        .unwrap()
        .iter()
        .find(|variable| variable["name"] == "WINDLASS_AGENT_IMAGE")
        .unwrap();
    assert_eq!(agent["value"], "localhost/windlass-agent:dev");
    assert!(
        !objects.contains_key(&key("PodDisruptionBudget", "windlass")),
        "the only replica could not be evicted"
    );
    assert!(!objects.contains_key(&key("NetworkPolicy", "windlass")));
    for ((kind, _, name), object) in &objects {
        assert!(
            kind != "CustomResourceDefinition" || object["metadata"].get("annotations").is_none(),
            "{name} is kept"
        );
        assert!(
            !object.to_string().contains("aggregate-to"),
            "{kind} {name} is aggregated"
        );
    }
    assert!(
        helm.render(&["--set", "crds.install=false"])
            .keys()
            .all(|(kind, _, _)| kind != "CustomResourceDefinition")
    );
    let digest = format!("sha256:{}", "0".repeat(64));
    let pinned = helm.render(&["--set", &format!("image.digest={digest}")]);
    let image = &pinned[&key("Deployment", "windlass")]["spec"]["template"]["spec"]["containers"]
        [0]["image"];
    assert_eq!(*image, format!("ghcr.io/windlass-dev/windlass@{digest}"));

    let cached = helm.render(&[
        "--set",
        "inputCache.hostPath=/var/cache/windlass,inputCache.namespaces={growth,risk}",
    ]);
    let told = |objects: &BTreeMap<Key, Value>, name: &str| {
        let pods = &objects[&key("Deployment", "windlass")]["spec"]["template"];
        let env = pods["spec"]["containers"][0]["env"].as_array().unwrap();
        let variable = env.iter().find(|variable| variable["name"] == name)?;
        variable["value"].as_str().map(str::to_owned)
    };
    for (name, value) in [
        ("WINDLASS_INPUT_CACHE_HOST_PATH", "/var/cache/windlass"),
        ("WINDLASS_INPUT_CACHE_SIZE", "100Gi"),
        ("WINDLASS_INPUT_CACHE_NAMESPACES", "growth,risk"),
    ] {
        assert_eq!(told(&cached, name).as_deref(), Some(value));
        assert_eq!(told(&objects, name), None, "it is off by itself");
    }

    are_refused(
        &helm,
        &[
            ("inputCache.hostPath=/var/cache/windlass", "namespaces"),
            (
                "inputCache.hostPath=cache,inputCache.namespaces={a}",
                "hostPath",
            ),
            ("inputCache.size=much", "size"),
            ("image.repositry=x", "repositry"),
            ("replicas=-1", "replicas"),
            ("image.pullPolicy=Sometimes", "pullPolicy"),
            ("metrics.port=80", "port"),
            ("watchNamespaces={Growth}", "watchNamespaces"),
            ("prometheus.url=prometheus:9090", "url"),
            ("presets.own.formats.ONNX.A=b", "template"),
        ],
    );
}

/// Values that the chart does not take, and what it names in saying so.
fn are_refused(helm: &Helm, values: &[(&str, &str)]) {
    for (value, named) in values {
        let output = helm.template(&["--set", value]);
        assert!(!output.status.success(), "{value} is accepted");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains(named), "{named} is not named in: {text}");
    }
}

/// Two namespaces with a Ballista cluster each, of which one has keys, an account and claims.
const TWO_CLUSTERS: [&str; 2] = [
    "--set",
    "ballista.enabled=true,ballista.namespaces[0].name=growth,ballista.namespaces[0].secretName=s3-growth,ballista.namespaces[0].serviceAccountName=reader,ballista.namespaces[0].claims={predictions,labels},ballista.namespaces[1].name=risk",
];

/// What the chart makes of Ballista's.
fn of_ballista(objects: &BTreeMap<Key, Value>) -> BTreeMap<Key, Value> {
    let of = objects
        .iter()
        .filter(|((.., name), _)| name.contains("ballista"));
    of.map(|(key, object)| (key.clone(), object.clone()))
        .collect()
}

#[test]
fn a_namespace_that_is_named_has_a_ballista_cluster_of_its_own_and_by_default_none_has() {
    let helm = Helm::new();
    let shipped = printed(&helm.template(&[]));
    assert!(!shipped.contains("WINDLASS_BALLISTA") && !shipped.contains("ballista-executor"));

    let objects = helm.render(&TWO_CLUSTERS);
    let made: Vec<_> = of_ballista(&objects).into_keys().collect();
    let expected = ["growth", "risk"].map(|namespace| {
        [
            ("Deployment", "windlass-ballista"),
            ("Deployment", "windlass-ballista-executors"),
            ("NetworkPolicy", "windlass-ballista"),
            ("NetworkPolicy", "windlass-ballista-executors"),
            ("PodDisruptionBudget", "windlass-ballista-executors"),
            ("Service", "windlass-ballista"),
        ]
        .map(|(kind, name)| (kind.to_owned(), namespace.to_owned(), name.to_owned()))
    });
    let mut expected = expected.concat();
    expected.sort();
    assert_eq!(made, expected);

    let operator = &objects[&key("Deployment", "windlass")]["spec"]["template"]["spec"];
    let environment = texts(&operator["containers"][0]["env"]).join(" ");
    for part in [
        "WINDLASS_BALLISTA value growth=ballista://windlass-ballista.growth.svc:50050,risk=ballista://windlass-ballista.risk.svc:50050",
        "WINDLASS_BALLISTA_IMAGE value ghcr.io/windlass-dev/windlass-ballista:0.1.0",
    ] {
        assert!(environment.contains(part), "{environment}");
    }

    // Keys, account and claims are those of the namespace, and of executors alone.
    let pod = |namespace: &str, name: &str| {
        let key = (
            "Deployment".to_owned(),
            namespace.to_owned(),
            name.to_owned(),
        );
        objects[&key]["spec"]["template"]["spec"].clone()
    };
    let executor = pod("growth", "windlass-ballista-executors");
    let container = &executor["containers"][0];
    assert_eq!(executor["serviceAccountName"], "reader");
    assert_eq!(container["envFrom"][0]["secretRef"]["name"], "s3-growth");
    let mounts = container["volumeMounts"].as_array().unwrap();
    for claim in ["predictions", "labels"] {
        let mount = mounts.iter().find(|mount| {
            mount["mountPath"] == format!("{}/{claim}", windlass_api::agent::paths::VOLUMES)
        });
        assert_eq!(mount.unwrap()["readOnly"], true, "{claim}");
        assert!(texts(&executor["volumes"]).contains(&claim));
    }
    for (namespace, name) in [
        ("growth", "windlass-ballista"),
        ("risk", "windlass-ballista"),
        ("risk", "windlass-ballista-executors"),
    ] {
        let pod = pod(namespace, name).to_string();
        for none in ["reader", "s3-growth", "predictions", "envFrom"] {
            assert!(!pod.contains(none), "{namespace}/{name} has {none}");
        }
    }
    // With one executor, its node could not be drained.
    let one = helm.render(&[&TWO_CLUSTERS[..], &["--set", "ballista.executors=1"]].concat());
    assert!(
        of_ballista(&one)
            .keys()
            .all(|(kind, ..)| kind != "PodDisruptionBudget")
    );
}

#[test]
fn a_ballista_cluster_that_others_would_reach_or_that_is_nobody_s_is_refused() {
    are_refused(
        &Helm::new(),
        &[
            ("ballista.enabled=true", "namespaces"),
            ("ballista.namespaces[0].claims={a}", "name"),
            ("ballista.namespaces={growth}", "namespaces"),
            ("ballista.executors=0", "executors"),
            (
                "ballista.enabled=true,ballista.namespaces[0].name=a,networkPolicy.enabled=false",
                "networkPolicy.enabled",
            ),
            (
                "ballista.enabled=true,ballista.namespaces[0].name=a,ballista.namespaces[1].name=a",
                "a namespace has one cluster",
            ),
        ],
    );
}

#[test]
fn nobody_but_the_windows_of_its_namespace_reaches_a_ballista_cluster() {
    let objects = of_ballista(&Helm::new().render(&TWO_CLUSTERS));
    let labels = |of: &Value| of.as_object().unwrap().clone();
    let pods: Vec<_> = objects
        .iter()
        .filter(|((kind, ..), _)| kind == "Deployment")
        .map(|(_, object)| labels(&object["spec"]["template"]["metadata"]["labels"]))
        .collect();
    let selects = |selector: &Value, pod: &serde_json::Map<String, Value>| {
        let wanted = selector["matchLabels"].as_object().unwrap();
        assert!(!wanted.is_empty(), "it would select all pods");
        wanted
            .iter()
            .all(|(name, value)| pod.get(name) == Some(value))
    };
    let window = [
        (windlass_api::labels::MANAGED_BY, "windlass"),
        (windlass_api::labels::ROLE, "drift"),
    ];
    let window = window.map(|(name, value)| (name.to_owned(), Value::from(value)));
    let window: serde_json::Map<_, _> = window.into_iter().collect();
    let mut trainer = window.clone();
    trainer.insert(windlass_api::labels::ROLE.to_owned(), "worker".into());
    for pod in &pods {
        let policies = objects.iter().filter(|((kind, ..), policy)| {
            kind == "NetworkPolicy" && selects(&policy["spec"]["podSelector"], pod)
        });
        // One for each of the two namespaces.
        let policies: Vec<_> = policies.map(|(_, policy)| &policy["spec"]).collect();
        assert_eq!(policies.len(), 2, "{pod:?}");
        let is_scheduler = pod["app.kubernetes.io/component"] == "ballista-scheduler";
        for policy in policies {
            assert_eq!(
                policy["policyTypes"],
                serde_json::json!(["Ingress", "Egress"])
            );
            let rules = policy["ingress"].as_array().unwrap();
            let from: Vec<&Value> = rules
                .iter()
                .flat_map(|rule| rule["from"].as_array().expect("who is named"))
                .collect();
            for peer in &from {
                // Without a selector of namespaces it is those of the policy's own.
                let names: Vec<&String> = peer.as_object().unwrap().keys().collect();
                assert_eq!(names, ["podSelector"]);
            }
            let lets_in = |pod| from.iter().any(|peer| selects(&peer["podSelector"], pod));
            assert!(pods.iter().any(lets_in), "they have to reach one another");
            assert_eq!(lets_in(&window), is_scheduler);
            assert!(!lets_in(&trainer));
        }
    }
}

#[test]
fn a_real_api_server_takes_ballista_clusters_where_only_restricted_pods_may_be() {
    let cluster = Cluster::up(&Options::new("test-install-ballista", Shape::Api)).unwrap();
    let kubectl = cluster.kubectl().unwrap();
    let helm = Helm::new();
    for namespace in ["growth", "risk", NAMESPACE] {
        let manifest = format!(
            "{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}, labels: {{pod-security.kubernetes.io/enforce: restricted}}}}}}"
        );
        kubectl.apply(&manifest).unwrap();
    }
    let account =
        "{apiVersion: v1, kind: ServiceAccount, metadata: {name: reader, namespace: growth}}";
    kubectl.apply(account).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), printed(&helm.template(&TWO_CLUSTERS))).unwrap();
    let path = file.path().to_str().unwrap();
    kubectl
        .run(&["apply", "--validate=strict", "-f", path])
        .unwrap();
    for namespace in ["growth", "risk"] {
        wait_for(
            "a scheduler and two executors",
            Duration::from_secs(30),
            || {
                let pods = kubectl.run(&["get", "pods", "-n", namespace, "-o", "name"])?;
                Ok(pods.lines().count() == 3)
            },
        )
        .unwrap();
    }
}

/// What has to be so after any way to install.
fn assert_installed(kubectl: &Kubectl, expected: &BTreeMap<Key, Value>) {
    kubectl
        .run(&[
            "wait",
            "--for=condition=Established",
            "--timeout=30s",
            "crd",
            "--all",
        ])
        .unwrap();
    for (kind, namespace, name) in expected.keys() {
        let namespace = if namespace.is_empty() {
            "default"
        } else {
            namespace
        };
        kubectl
            .run(&["get", kind, name, "-n", namespace, "-o", "name"])
            .unwrap();
    }
    kubectl
        .run(&["explain", "trainingjob.spec.workers"])
        .unwrap();
    // The pods come through admission, in a namespace that takes only restricted ones. No node runs them here.
    wait_for("the operator's two pods", Duration::from_secs(30), || {
        Ok(kubectl
            .run(&[
                "get",
                "pods",
                "-n",
                NAMESPACE,
                "-l",
                "app.kubernetes.io/component=operator",
                "-o",
                "name",
            ])?
            .lines()
            .count()
            == 2)
    })
    .unwrap();
}

fn assert_gone(kubectl: &Kubectl) {
    wait_for("the namespace to be gone", Duration::from_mins(1), || {
        Ok(kubectl.run(&["get", "namespace", NAMESPACE]).is_err())
    })
    .unwrap();
    let left = kubectl
        .run(&[
            "get",
            "clusterroles,clusterrolebindings",
            "-l",
            "app.kubernetes.io/name=windlass",
            "-o",
            "name",
        ])
        .unwrap();
    assert_eq!(left, "");
}

/// What the operator and people may do, as the API server sees it.
fn assert_permissions(kubectl: &Kubectl) {
    let can = |who: &str, [verb, resource]: [&str; 2]| {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let subresource = format!("--subresource={subresource}");
        let arguments = [
            "auth",
            "can-i",
            "--all-namespaces",
            "--as",
            who,
            verb,
            resource,
            &subresource,
        ];
        kubectl
            .command()
            .args(arguments)
            .output()
            .unwrap()
            .status
            .success()
    };
    let operator = format!("system:serviceaccount:{NAMESPACE}:windlass");
    for words in [
        ["list", "trainingjobs.windlass.dev"],
        ["create", "modelversions.windlass.dev"],
        ["delete", "modelversions.windlass.dev"],
        ["record", "modelversions.windlass.dev"],
        ["patch", "driftmonitors.windlass.dev/status"],
        ["patch", "jobs.batch"],
        ["watch", "pods"],
        ["create", "events.events.k8s.io"],
    ] {
        assert!(can(&operator, words), "the operator may not {words:?}");
    }
    for words in [
        ["list", "secrets"],
        ["get", "secrets"],
        ["create", "pods/exec"],
        ["create", "pods"],
        ["delete", "pods"],
        ["patch", "trainingjobs.windlass.dev"],
        ["patch", "modelversions.windlass.dev"],
        ["create", "clusterroles.rbac.authorization.k8s.io"],
        [
            "create",
            "validatingwebhookconfigurations.admissionregistration.k8s.io",
        ],
        ["get", "configmaps"],
        ["get", "leases.coordination.k8s.io"],
    ] {
        assert!(!can(&operator, words), "the operator may {words:?}");
    }
    kubectl
        .run(&[
            "create",
            "clusterrolebinding",
            "test-reader",
            "--clusterrole=view",
            "--user=reader",
        ])
        .unwrap();
    kubectl
        .run(&[
            "create",
            "clusterrolebinding",
            "test-writer",
            "--clusterrole=edit",
            "--user=writer",
        ])
        .unwrap();
    wait_for("the aggregated roles", Duration::from_secs(30), || {
        Ok(can("reader", ["list", "modeldeployments.windlass.dev"])
            && can("writer", ["create", "trainingjobs.windlass.dev"]))
    })
    .unwrap();
    assert!(!can("reader", ["create", "trainingjobs.windlass.dev"]));
    assert!(!can("writer", ["record", "modelversions.windlass.dev"]));
    assert!(
        !can("writer", ["patch", "modelversions.windlass.dev/status"]),
        "a verdict is the operator's to write"
    );
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, target) = entry
            .map(|entry| (entry.path(), to.join(entry.file_name())))
            .unwrap();
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

#[test]
fn all_three_install_on_a_real_api_server() {
    let cluster = Cluster::up(&Options::new("test-install", Shape::Api)).unwrap();
    let kubectl = cluster.kubectl().unwrap();
    let helm = Helm::new();
    let expected = helm.render(&[]);
    let helm_run = |arguments: &[&str]| {
        printed(
            &helm
                .command(arguments)
                .env("KUBECONFIG", cluster.kubeconfig_path())
                .output()
                .unwrap(),
        )
    };

    // Helm, from a release whose CRDs are older: an upgrade brings the new ones, which Helm's own crds/ folder does not.
    let older = tempfile::tempdir().unwrap();
    copy(&root().join("charts/windlass"), older.path());
    let crd = older.path().join("files/crds/driftmonitors.yaml");
    let text = fs::read_to_string(&crd).unwrap();
    assert!(text.contains("- dm\n"));
    fs::write(&crd, text.replace("- dm\n", "- drm\n")).unwrap();
    let short_name = || {
        kubectl
            .run(&[
                "get",
                "crd",
                "driftmonitors.windlass.dev",
                "-o",
                "jsonpath={.spec.names.shortNames[0]}",
            ])
            .unwrap()
    };
    let manifest = fs::read_to_string(root().join("deploy/default/namespace.yaml")).unwrap();
    kubectl.apply(&manifest).unwrap();
    helm_run(&[
        "install",
        "windlass",
        older.path().to_str().unwrap(),
        "--namespace",
        NAMESPACE,
    ]);
    assert_eq!(short_name(), "drm");
    helm_run(&[
        "upgrade",
        "windlass",
        "charts/windlass",
        "--namespace",
        NAMESPACE,
    ]);
    assert_eq!(short_name(), "dm");
    assert_installed(&kubectl, &expected);
    assert_permissions(&kubectl);
    // What users have made outlives the release.
    helm_run(&["uninstall", "windlass", "--namespace", NAMESPACE]);
    assert_eq!(
        kubectl
            .run(&["get", "crd", "-o", "name"])
            .unwrap()
            .lines()
            .count(),
        4
    );
    kubectl.run(&["delete", "namespace", NAMESPACE]).unwrap();
    kubectl.run(&["delete", "crd", "--all"]).unwrap();
    assert_gone(&kubectl);

    // The other two, client-side as people do it: a CRD that is too large for that would show here.
    let path = |path: &str| root().join(path).to_str().unwrap().to_owned();
    for (flag, path) in [
        ("-k", path("deploy/default")),
        ("-f", path("deploy/windlass.yaml")),
    ] {
        kubectl
            .run(&["apply", "--validate=strict", flag, &path])
            .unwrap();
        assert_installed(&kubectl, &expected);
        // Applied a second time, nothing would change: what was written is what the API server keeps.
        kubectl.run(&["diff", flag, &path]).unwrap();
        kubectl.run(&["delete", flag, &path]).unwrap();
        assert_gone(&kubectl);
    }
}
