//! What the pods are made from: what the proxy is told, its probes, and the preset.

use k8s_openapi::api::core::v1::{Container, Probe};
use k8s_openapi::api::policy::v1::PodDisruptionBudgetSpec;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Value, json};
use windlass_api::condition::{READY, STALLED};

use super::world::World;
use crate::fixtures::{assert_restricted, object, version};
use crate::{Child, Step, pods};

/// The agent's container and the model server's.
fn containers(world: &World) -> (Container, Container) {
    let spec = world.observed.children[0].spec.template.spec.clone();
    let spec = spec.expect("pods");
    assert_restricted(&spec);
    let mut all = spec
        .containers
        .into_iter()
        .chain(spec.init_containers.into_iter().flatten());
    let agent = all.find(|one| one.name == pods::AGENT).expect("the agent");
    (
        agent,
        all.find(|one| one.name == "server").expect("the server"),
    )
}

fn told(spec: Value) -> Vec<String> {
    let mut world = World::new(spec);
    world.settle();
    containers(&world).0.args.expect("arguments")
}

/// The value of each of these, as often as it is given.
fn values(arguments: &[String], name: &str) -> Vec<String> {
    let named = arguments.windows(2).filter(|pair| pair[0] == name);
    named.map(|pair| pair[1].clone()).collect()
}

#[test]
fn what_the_proxy_can_be_told_can_be_said_in_the_manifest() {
    let arguments = told(json!({
        "limits": {"concurrency": 8, "queue": 0, "queueWait": "2s", "timeout": "1m30s", "circuitFailures": 9},
        "observe": {"maxBodyBytes": "512Ki", "logPayloads": {
            "uri": "pvc://predictions/churn", "sample": "0.1", "redact": ["ssn", "name"],
            "maxSpoolBytes": "1Gi", "flushEvery": "30s",
        }},
        "rollout": {"strategy": "Shadow", "mirrorShare": "0.25"},
    }));
    for (name, expected) in [
        ("--concurrency", &["8"][..]),
        ("--queue", &["0"]),
        ("--queue-wait", &["2s"]),
        ("--timeout", &["1m30s"]),
        ("--circuit-failures", &["9"]),
        ("--body-limit", &["512Ki"]),
        ("--sample", &["0.1"]),
        ("--redact", &["ssn", "name"]),
        ("--spool-limit", &["1Gi"]),
        ("--flush-every", &["30s"]),
        ("--mirror-share", &["0.25"]),
    ] {
        assert_eq!(values(&arguments, name), expected, "{name}");
    }
}

#[test]
fn what_is_not_said_is_the_agent_s_to_know() {
    let arguments = told(json!({"limits": {}, "observe": {"maxBodyBytes": "1Mi"}}));
    for name in [
        "--concurrency",
        "--queue",
        "--queue-wait",
        "--timeout",
        "--circuit-failures",
        "--log-uri",
        "--redact",
        "--spool-limit",
        "--mirror-share",
    ] {
        assert!(values(&arguments, name).is_empty(), "{name}");
    }
    // Predictions are counted, too, of bodies that are small enough.
    assert_eq!(values(&arguments, "--body-limit"), ["1Mi"]);
}

#[test]
fn other_limits_are_other_pods() {
    let mut world = World::serving(json!({}));
    let before = world.observed.children[0].spec.template.clone();
    world
        .edit(|spec| spec.limits = Some(object(json!({"concurrency": 2}))))
        .settle();
    assert_ne!(world.observed.children[0].spec.template, before);
    assert_eq!(world.canary(), None, "and no roll-out");
}

/// For how many seconds a probe is repeated.
fn lasts(probe: &Probe) -> i32 {
    probe.period_seconds.unwrap_or(10) * probe.failure_threshold.unwrap_or(3)
}

#[test]
fn a_load_that_takes_long_is_waited_for_by_a_probe_and_by_the_roll_out() {
    let mut world = World::new(json!({"startupDeadlineSeconds": 1801}));
    world.settle();
    let (agent, server) = containers(&world);
    let probe = agent.startup_probe.expect("a start-up probe");
    assert_eq!(lasts(&probe), 1802);
    assert_eq!(
        probe.http_get,
        agent.readiness_probe.expect("a readiness probe").http_get,
        "the protocol's own health address"
    );
    assert_eq!(server.startup_probe, None);
    let deadline = world.observed.children[0].spec.progress_deadline_seconds;
    assert_eq!(deadline, Some(300 + 1801));

    let mut world = World::serving(json!({"startupDeadlineSeconds": 1801}));
    world.add(version(2, '2', Some("Pass"))).settle();
    world.wait(2000).settle();
    assert_eq!(
        world.canary().as_deref(),
        Some("churn-2"),
        "{}",
        world.said(READY)
    );
    world.wait(102).settle();
    assert_eq!(world.canary(), None);
    let record = world.status().last_rollout.expect("a record");
    assert!(
        record.message.contains(
            "spec.progressDeadlineSeconds and spec.startupDeadlineSeconds (2101 s together)"
        ),
        "{record:?}"
    );
}

#[test]
fn without_a_word_of_it_a_load_may_take_as_long_as_pods_may() {
    let mut world = World::new(json!({}));
    world.settle();
    let probe = containers(&world)
        .0
        .startup_probe
        .expect("a start-up probe");
    assert_eq!(lasts(&probe), 300);
    let deadline = world.observed.children[0].spec.progress_deadline_seconds;
    assert_eq!(deadline, Some(300));
}

#[test]
fn a_start_up_probe_of_the_template_s_own_counts() {
    let probe = json!({"exec": {"command": ["/ready"]}, "failureThreshold": 7});
    let mut world = World::new(json!({
        "runtime": null,
        "template": {"spec": {"containers": [{"name": "any", "image": "server:1", "startupProbe": probe}]}},
    }));
    world.settle();
    let (agent, server) = containers(&world);
    assert_eq!(agent.startup_probe, None);
    assert_eq!(server.startup_probe, Some(object(probe)));
    assert!(agent.readiness_probe.is_some());
}

#[test]
fn a_preset_is_chosen_by_the_format_and_written_down() {
    let of_format = |format: &str, protocol: &str| {
        let mut world = World::new(json!({"runtime": null, "protocol": protocol}));
        let version = std::sync::Arc::make_mut(&mut world.observed.versions[0]);
        format.clone_into(&mut version.spec.artifact.format);
        let pod =
            |image: &str| json!({"spec": {"containers": [{"name": "server", "image": image}]}});
        let more: crate::presets::Presets = object(json!({"presets": {
            "onnx": {"formats": {"ONNX": {}}, "protocols": ["OpenInference"], "template": pod("onnx:1")},
            "vllm": {"formats": {"HuggingFace": {}}, "protocols": ["OpenAI"], "template": pod("vllm:1")},
        }}));
        world.observed.presets.presets.extend(more.presets);
        world.settle();
        world
    };
    for (format, protocol, runtime, image) in [
        ("LightGBM", "OpenInference", "mlserver", "mlserver:1"),
        ("ONNX", "OpenInference", "onnx", "onnx:1"),
        ("HuggingFace", "OpenAI", "vllm", "vllm:1"),
    ] {
        let mut world = of_format(format, protocol);
        let resolved = world.status().resolved.expect("it is taken down");
        assert_eq!(resolved.runtime.as_deref(), Some(runtime));
        assert_eq!(containers(&world).1.image.as_deref(), Some(image));
        // It does not change under it, whatever the chart has by now.
        world.observed.presets.presets.clear();
        world.all_ready().settle();
        assert_eq!(containers(&world).1.image.as_deref(), Some(image));
        assert!(world.is(READY), "{}", world.said(READY));
    }
    let world = of_format("HuggingFace", "OpenInference");
    let said = world.said(STALLED);
    assert!(
        said.starts_with("True ProtocolNotSpoken: spec.protocol: ")
            && said.contains("\"vllm\" does over: OpenAI"),
        "{said}"
    );
}

/// The PodDisruptionBudget that so many replicas have.
fn budget(replicas: i32) -> Option<PodDisruptionBudgetSpec> {
    let mut world = World::new(json!({"replicas": replicas}));
    let mut all = Vec::new();
    for _ in 0..3 {
        all.extend(world.plan().steps);
        world.reconcile();
    }
    all.into_iter().find_map(|step| match step {
        Step::Apply(Child::PodDisruptionBudget(budget)) => budget.spec,
        _ => None,
    })
}

#[test]
fn a_drain_takes_a_part_of_the_pods_and_never_the_only_one_of_many() {
    let two = budget(2).expect("a budget");
    assert_eq!(
        two.max_unavailable,
        Some(IntOrString::String("25%".to_owned()))
    );
    assert_eq!(two.min_available, None);
    let selected = two.selector.and_then(|selector| selector.match_labels);
    let selected = selected.expect("a selector");
    let mut world = World::new(json!({"replicas": 2}));
    world.settle();
    let template = &world.observed.children[0].spec.template;
    let labels = template
        .metadata
        .as_ref()
        .and_then(|meta| meta.labels.clone());
    let labels = labels.expect("labels");
    for (label, value) in &selected {
        assert_eq!(labels.get(label), Some(value), "{label}");
    }
    assert!(
        !selected.contains_key(windlass_api::labels::VERSION),
        "canary and stable version are of one budget: {selected:?}"
    );
    assert!(budget(1).is_none(), "a single pod may be taken");
}

#[test]
fn pods_of_a_version_go_to_different_zones_and_nodes_unless_the_template_says_otherwise() {
    let spread = |more: Value| {
        let mut world = World::new(more);
        world.settle();
        let template = world.observed.children[0].spec.template.clone();
        let labels = template.metadata.and_then(|meta| meta.labels);
        let spec = template.spec.expect("pods");
        (
            spec.topology_spread_constraints.unwrap_or_default(),
            labels.expect("labels"),
        )
    };
    let (constraints, labels) = spread(json!({"replicas": 3}));
    let keys: Vec<_> = constraints
        .iter()
        .map(|one| one.topology_key.as_str())
        .collect();
    assert_eq!(
        keys,
        ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
    );
    for constraint in &constraints {
        // One node, or one zone, is no reason to wait.
        assert_eq!(
            (constraint.max_skew, constraint.when_unsatisfiable.as_str()),
            (1, "ScheduleAnyway")
        );
        let selected = constraint
            .label_selector
            .clone()
            .and_then(|one| one.match_labels);
        let selected = selected.expect("a selector");
        assert!(
            selected.contains_key(windlass_api::labels::VERSION),
            "each version by itself"
        );
        assert!(
            selected
                .iter()
                .all(|(label, value)| labels.get(label) == Some(value))
        );
    }
    let own = json!([{"maxSkew": 2, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule"}]);
    let (constraints, _) = spread(
        json!({"replicas": 3, "runtime": null, "template": {"spec": {
            "containers": [{"name": "any", "image": "server:1"}], "topologySpreadConstraints": own,
        }}}),
    );
    let keys: Vec<_> = constraints
        .iter()
        .map(|one| one.topology_key.as_str())
        .collect();
    assert_eq!(keys, ["rack"]);
}
