//! How many pods there are: what changes that, and how stable version and canary follow it.

use std::sync::Arc;

use serde_json::{Value, json};
use windlass_api::condition::{AUTOSCALED, READY};
use windlass_api::{Autoscaling, labels};

use super::world::{World, deployment};
use crate::fixtures::{is_so, object, steps, version};
use crate::modeldeployment::autoscaling::{horizontal, scaled};
use crate::modeldeployment::{HttpRoute, trim_autoscaler};
use crate::{Child, Step};

fn by(metric: &str, target: &str) -> Value {
    json!({"autoscaling": {"minReplicas": 2, "maxReplicas": 20, "metric": metric, "target": target}})
}

/// What serves requests CPU.
fn with_cpu(mut spec: Value) -> Value {
    spec["runtime"] = Value::Null;
    spec["template"] = json!({"spec": {"containers": [
        {"name": "any", "image": "server:1", "resources": {"requests": {"cpu": "1"}}}
    ]}});
    spec
}

fn autoscaling(world: &World) -> Autoscaling {
    let spec = &world.observed.deployment.spec;
    spec.autoscaling.clone().expect("it is asked for")
}

/// An autoscaler asks for this many pods.
fn scale(world: &mut World, replicas: i32) {
    world.edit(|spec| spec.replicas = replicas).settle();
}

#[test]
fn cpu_is_told_of_the_model_server_alone() {
    let mut world = World::serving(with_cpu(by("CPU", "70")));
    let made = world.observed.autoscalers.horizontal.clone();
    let made = serde_json::to_value(&*made.expect("it is made")).expect("JSON");
    let expected = json!({
        "metadata": {
            "name": "churn", "namespace": "growth",
            "labels": {"app.kubernetes.io/managed-by": "windlass", "windlass.dev/role": "serving", "windlass.dev/deployment": "churn"},
            "ownerReferences": [{"kind": "ModelDeployment", "name": "churn", "uid": "uid-churn", "apiVersion": "windlass.dev/v1alpha1", "controller": true, "blockOwnerDeletion": true}],
        },
        "spec": {
            "scaleTargetRef": {"apiVersion": "windlass.dev/v1alpha1", "kind": "ModelDeployment", "name": "churn"},
            "minReplicas": 2, "maxReplicas": 20,
            "metrics": [{"type": "ContainerResource", "containerResource": {
                "container": "server", "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70},
            }}],
        },
    });
    assert!(is_so(&expected, &made), "{made:#}");
    let server = world.observed.children[0].spec.template.spec.clone();
    let mut containers = server.expect("pods").init_containers.into_iter().flatten();
    assert!(containers.any(|container| container.name == "server"));
    assert_eq!(
        world.said(AUTOSCALED),
        "True HorizontalPodAutoscaler: between 2 and 20 pods, by the HorizontalPodAutoscaler churn: CPU of 70"
    );
    let writes = world.writes;
    world.wait(1000).settle();
    assert_eq!(
        world.writes, writes,
        "nothing is written while nothing changes"
    );

    world.edit(|spec| spec.autoscaling = None).settle();
    assert_eq!(world.observed.autoscalers.horizontal, None);
    assert_eq!(world.said(AUTOSCALED), "absent");
    assert!(world.is(READY));
}

#[test]
fn a_model_server_that_requests_no_cpu_is_told_of() {
    let world = World::serving(by("CPU", "70"));
    assert_eq!(world.observed.autoscalers.horizontal, None);
    let said = world.said(AUTOSCALED);
    assert!(
        said.starts_with("False NoCPURequest: spec.autoscaling.metric: CPU"),
        "{said}"
    );
    assert!(said.contains("resources.requests.cpu"), "{said}");
    assert!(world.is(READY), "it serves all the same");
}

/// Reason of the condition, and the steps about autoscalers; what serves is there.
fn chosen(spec: Value, has: &[&str]) -> (String, Vec<String>) {
    let mut world = World::serving(spec);
    let known = &mut world.observed.autoscalers;
    known.has_keda = has.contains(&"KEDA");
    known.has_adapter = has.contains(&"adapter");
    known.prometheus = (has.contains(&"Prometheus")).then(|| "http://prometheus:9090".to_owned());
    (known.horizontal, known.scaled) = (None, None);
    let plan = world.plan();
    let mut about = steps(&plan);
    about.retain(|step| step.contains("Autoscaler") || step.contains("ScaledObject"));
    world.settle();
    let said = world.said(AUTOSCALED);
    let reason = said.split(' ').nth(1).unwrap_or_default();
    (reason.trim_end_matches(':').to_owned(), about)
}

#[test]
fn who_changes_the_number_of_pods_is_told_by_what_the_cluster_serves() {
    const HORIZONTAL: &str = "Apply HorizontalPodAutoscaler/churn";
    const SCALED: &str = "Apply ScaledObject/churn";
    for (metric, target, has, reason, step) in [
        (
            "Concurrency",
            "4",
            &["KEDA", "Prometheus"][..],
            "ScaledObject",
            Some(SCALED),
        ),
        (
            "Latency",
            "250ms",
            &["KEDA", "Prometheus", "adapter"],
            "ScaledObject",
            Some(SCALED),
        ),
        (
            "Latency",
            "250ms",
            &["KEDA", "adapter"],
            "HorizontalPodAutoscaler",
            Some(HORIZONTAL),
        ),
        (
            "Concurrency",
            "4",
            &["adapter"],
            "HorizontalPodAutoscaler",
            Some(HORIZONTAL),
        ),
        (
            "Concurrency",
            "4",
            &["KEDA"],
            "PrometheusNotConfigured",
            None,
        ),
        ("Latency", "1s", &["Prometheus"], "AutoscalerNotFound", None),
        ("Concurrency", "4", &[], "AutoscalerNotFound", None),
    ] {
        let (found, about) = chosen(by(metric, target), has);
        assert_eq!(found, reason, "{metric} with {has:?}");
        assert_eq!(about, Vec::from_iter(step), "{metric} with {has:?}");
    }
    for has in [&["KEDA", "Prometheus", "adapter"][..], &[]] {
        let (found, about) = chosen(with_cpu(by("CPU", "70")), has);
        assert_eq!(found, "HorizontalPodAutoscaler", "CPU with {has:?}");
        assert_eq!(about, [HORIZONTAL]);
    }
}

#[test]
fn what_is_missing_is_said_once_and_what_to_do() {
    let mut world = World::serving(by("Concurrency", "4"));
    let said = world.said(AUTOSCALED);
    for part in [
        "spec.autoscaling.metric",
        "keda.sh/v1alpha1",
        "custom.metrics.k8s.io",
        "install KEDA",
        "metric CPU",
        "spec.replicas asks for, 3",
    ] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    assert!(world.plan().notes.is_empty(), "it is told once");
    world.observed.autoscalers.has_keda = true;
    let notes = world.plan().notes;
    assert_eq!(notes.len(), 1);
    assert_eq!(notes[0].reason, "PrometheusNotConfigured");
    assert!(notes[0].message.contains("prometheus.url"), "{notes:?}");
}

#[test]
fn two_never_change_the_number_of_pods_at_once() {
    let mut world = World::serving(by("Concurrency", "4"));
    world.observed.autoscalers.has_adapter = true;
    world.settle();
    assert!(world.observed.autoscalers.horizontal.is_some());
    world.observed.autoscalers.has_keda = true;
    world.observed.autoscalers.prometheus = Some("http://prometheus:9090".to_owned());
    let plan = world.plan();
    let at = |wanted: &dyn Fn(&Step) -> bool| plan.steps.iter().position(wanted);
    let gone = at(
        &|step| matches!(step, Step::Delete(crate::Doomed::HorizontalPodAutoscaler(name)) if name == "churn"),
    );
    let made = at(&|step| matches!(step, Step::Apply(Child::ScaledObject(_))));
    assert!(gone.expect("the one goes") < made.expect("the other comes"));
    world.settle();
    assert!(world.observed.autoscalers.horizontal.is_none());
}

#[test]
fn an_adapter_that_is_away_for_a_while_takes_nothing_along() {
    let mut world = World::serving(by("Latency", "250ms"));
    world.observed.autoscalers.has_adapter = true;
    world.settle();
    world.observed.autoscalers.has_adapter = false;
    world.settle();
    assert!(world.observed.autoscalers.horizontal.is_some());
    assert!(world.said(AUTOSCALED).starts_with("True"));
    // One that goes by CPU is no reason to believe in it.
    let mut world = World::serving(with_cpu(by("CPU", "70")));
    world
        .edit(|spec| spec.autoscaling = object(by("Concurrency", "4")["autoscaling"].clone()))
        .settle();
    assert_eq!(world.observed.autoscalers.horizontal, None);
    assert!(
        world
            .said(AUTOSCALED)
            .starts_with("False AutoscalerNotFound")
    );
}

#[test]
fn a_query_is_of_this_deployment_alone_and_a_sum_over_its_pods() {
    let of = |metric: &str, target: &str, surge: &str| {
        let mut spec = by(metric, target);
        spec["rollout"] = json!({"surge": surge});
        let deployment = deployment(spec);
        let asked = deployment
            .spec
            .autoscaling
            .clone()
            .expect("it is asked for");
        let made = scaled(&deployment, &asked, "http://prometheus:9090/select/0");
        serde_json::to_value(&made).expect("JSON")
    };
    let made = of("Concurrency", "4", "Always");
    let pods = r#"{namespace="growth",pod=~"churn-v[0-9]+-[a-z0-9]+(-[a-z0-9]{5})?"}"#;
    let histogram = "windlass_proxy_request_duration_seconds";
    let expected = json!({
        "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject",
        "spec": {
            "scaleTargetRef": {"apiVersion": "windlass.dev/v1alpha1", "kind": "ModelDeployment", "name": "churn"},
            "minReplicaCount": 2, "maxReplicaCount": 20,
            "triggers": [{"type": "prometheus", "metricType": "AverageValue", "metadata": {
                "serverAddress": "http://prometheus:9090/select/0", "threshold": "4", "ignoreNullValues": "false",
                "query": format!("sum(rate({histogram}_sum{pods}[2m]))"),
            }}],
        },
    });
    assert!(is_so(&expected, &made), "{made:#}");
    let query = |made: &Value| {
        let query = &made["spec"]["triggers"][0]["metadata"]["query"];
        query.as_str().expect("a query").to_owned()
    };
    let made = of("Latency", "250ms", "Always");
    assert_eq!(made["spec"]["triggers"][0]["metadata"]["threshold"], "0.25");
    assert_eq!(
        query(&made),
        format!(
            r#"(histogram_quantile(0.95, sum by (le) (rate({histogram}_bucket{pods}[2m]))) * scalar(max(count by (version) (label_replace({histogram}_count{pods}, "version", "$1", "pod", "churn-(v[0-9]+)-.*"))))) >= 0 or 0 * sum({histogram}_count{pods})"#
        )
    );
    let made = of("Latency", "1m30s", "Auto");
    assert_eq!(made["spec"]["triggers"][0]["metadata"]["threshold"], "90");
    assert!(query(&made).contains(&format!("scalar(count({histogram}_count{pods}))")));
}

#[test]
fn an_adapter_is_asked_for_what_a_pod_is_to_have() {
    for (metric, target, name, value) in [
        ("Concurrency", "2.5", "windlass_proxy_concurrency", "2.5"),
        (
            "Latency",
            "250ms",
            "windlass_proxy_latency_p95_seconds",
            "0.25",
        ),
    ] {
        let deployment = deployment(by(metric, target));
        let asked = deployment
            .spec
            .autoscaling
            .clone()
            .expect("it is asked for");
        let made = serde_json::to_value(horizontal(&deployment, &asked)).expect("JSON");
        let expected = json!([{"type": "Pods", "pods": {
            "metric": {"name": name}, "target": {"type": "AverageValue", "averageValue": value},
        }}]);
        assert!(is_so(&expected, &made["spec"]["metrics"]), "{made:#}");
    }
}

#[test]
fn what_the_autoscaler_says_stands_in_its_way_is_told_in_its_words() {
    let mut world = World::serving(with_cpu(by("CPU", "70")));
    let says = |world: &mut World, reason: &str, message: &str| {
        let made = world.observed.autoscalers.horizontal.as_mut().expect("one");
        let made = Arc::make_mut(made);
        made.status = Some(object(
            json!({"currentReplicas": 3, "desiredReplicas": 3, "conditions": [
                {"type": "AbleToScale", "status": "True", "reason": "Ready", "message": "at 14:01"},
                {"type": "ScalingActive", "status": "False", "reason": reason, "message": message, "lastTransitionTime": "2026-11-01T00:00:00Z"},
            ]}),
        ));
        trim_autoscaler(made);
    };
    says(
        &mut world,
        "FailedGetContainerResourceMetric",
        "no metrics of 3 pods",
    );
    let trimmed = world
        .observed
        .autoscalers
        .horizontal
        .as_ref()
        .and_then(|one| one.status.clone());
    let conditions = trimmed.and_then(|status| status.conditions).expect("some");
    assert_eq!(conditions[0].message, None, "it changes, and says nothing");
    world.reconcile();
    assert_eq!(
        world.said(AUTOSCALED),
        "False FailedGetContainerResourceMetric: the HorizontalPodAutoscaler churn does not get on: no metrics of 3 pods"
    );
    let writes = world.writes;
    says(
        &mut world,
        "FailedGetContainerResourceMetric",
        "no metrics of 2 pods",
    );
    world.reconcile();
    assert_eq!(world.writes, writes, "other numbers are no news");
    says(&mut world, "ScalingDisabled", "nothing is to be scaled");
    world.reconcile();
    assert!(world.said(AUTOSCALED).starts_with("True"));

    let mut world = World::serving(by("Concurrency", "4"));
    world.observed.autoscalers.has_keda = true;
    world.observed.autoscalers.prometheus = Some("http://prometheus:9090".to_owned());
    world.settle();
    let made = world.observed.autoscalers.scaled.as_mut().expect("one");
    Arc::make_mut(made).status = object(json!({"conditions": [
        {"type": "Active", "status": "False"},
        {"type": "Ready", "status": "False", "reason": "TriggerError", "message": "Prometheus is not there"},
    ]}));
    world.reconcile();
    assert_eq!(
        world.said(AUTOSCALED),
        "False TriggerError: the ScaledObject churn does not get on: Prometheus is not there"
    );
}

#[test]
fn bounds_hold_before_an_autoscaler_has_said_anything() {
    let mut world = World::new(by("Concurrency", "4"));
    world.edit(|spec| spec.replicas = 1).settle();
    assert_eq!(world.children(), [("churn-v1".to_owned(), 2)]);
    world.edit(|spec| spec.replicas = 50).settle();
    assert_eq!(world.children(), [("churn-v1".to_owned(), 20)]);
    assert_eq!(autoscaling(&world).max_replicas, 20);
}

#[test]
fn the_scale_subresource_counts_the_pods_of_canary_and_stable_version_alike() {
    let mut world = World::rolling(json!({"replicas": 4}));
    world.all_ready().traffic(0, 0).settle();
    assert_eq!(
        world.children(),
        [("churn-v1".to_owned(), 4), ("churn-v2".to_owned(), 1)]
    );
    let status = world.status();
    assert_eq!((status.replicas, status.ready_replicas), (5, 5));
    let selector = status.selector.expect("a selector");
    for child in &world.observed.children {
        let pods = child.spec.template.metadata.as_ref();
        let has = pods.and_then(|pods| pods.labels.as_ref()).expect("labels");
        for pair in selector.split(',') {
            let (key, value) = pair.split_once('=').expect("a pair");
            assert_eq!(has.get(key).map(String::as_str), Some(value), "{selector}");
        }
    }
    assert!(!selector.contains(labels::VERSION));
}

/// A canary that has a fifth of the traffic, by a Gateway.
fn routed(replicas: i32) -> World {
    let mut world = World::new(json!({
        "replicas": replicas,
        "rollout": {
            "traffic": {"gatewayRef": {"name": "public"}},
            "steps": [{"weight": 20, "hold": "60s"}, {"weight": 50, "hold": "60s"}], "minRequests": 100,
        },
    }));
    world.observed.gateway.is_served = true;
    world.settle().all_ready().settle();
    world.route_is_taken().wait(10).settle();
    world.add(version(2, '2', Some("Pass"))).settle();
    for _ in 0..4 {
        world
            .all_ready()
            .settle()
            .route_is_taken()
            .wait(10)
            .settle();
    }
    world
}

#[test]
fn a_share_of_pods_stays_the_share_when_there_are_fewer() {
    let mut world = World::rolling(json!({
        "replicas": 100,
        "rollout": {"steps": [{"weight": 10, "hold": "600s"}], "minRequests": 100},
    }));
    world.all_ready().settle();
    let sizes = |world: &World| {
        let all = world.children();
        (all[0].1, all[1].1)
    };
    assert_eq!(sizes(&world), (100, 11));
    scale(&mut world, 20);
    assert_eq!(sizes(&world), (20, 2));
    let canary = world.status().canary.expect("it rolls on");
    assert_eq!(canary.interruptions, 0);
}

#[test]
fn a_canary_s_size_follows_its_share_of_the_load() {
    let mut world = routed(10);
    let canary = world.status().canary.expect("it rolls");
    assert_eq!(
        (canary.step, canary.weight),
        (0, 20),
        "{}",
        world.said(READY)
    );
    assert!(canary.step_started.is_some());
    let sizes = |world: &World| {
        let all = world.children();
        (all[0].1, all[1].1)
    };
    assert_eq!(sizes(&world), (10, 2));
    scale(&mut world, 20);
    assert_eq!(sizes(&world), (20, 4));
    world.all_ready().settle();
    scale(&mut world, 5);
    // It does not shrink on its way up.
    assert_eq!(sizes(&world), (5, 4));
    scale(&mut world, 20);
    let later = world.status().canary.expect("it rolls on");
    assert_eq!(
        (later.step, later.weight, later.started, later.step_started),
        (0, 20, canary.started, canary.step_started),
        "nothing begins anew"
    );
    let route: Option<Arc<HttpRoute>> = world.observed.gateway.route.clone();
    world.all_ready().settle();
    assert_eq!(
        world.observed.gateway.route, route,
        "and no weight is changed"
    );
}

#[test]
fn a_canary_by_share_of_replicas_follows_too() {
    let mut world = World::rolling(json!({"replicas": 9}));
    world.all_ready().traffic(0, 0).settle();
    assert_eq!(world.children()[1].1, 1);
    let before = world.status().canary.expect("it rolls");
    scale(&mut world, 45);
    assert_eq!(
        world.children(),
        [("churn-v1".to_owned(), 45), ("churn-v2".to_owned(), 5)]
    );
    let after = world.status().canary.expect("it rolls");
    assert_eq!(
        (
            after.step,
            after.started,
            after.step_started,
            after.interruptions
        ),
        (before.step, before.started, before.step_started, 0)
    );
}

#[test]
fn an_autoscaler_makes_no_new_pods_and_begins_no_roll_out() {
    let mut world = World::serving(with_cpu(by("CPU", "70")));
    let template = world.observed.children[0].spec.template.clone();
    let resolved = world.status().resolved;
    for replicas in [4, 12, 2] {
        scale(&mut world, replicas);
        world.all_ready().settle();
        assert_eq!(world.children(), [("churn-v1".to_owned(), replicas)]);
        assert_eq!(world.observed.children[0].spec.template, template);
        assert_eq!(world.canary(), None);
    }
    // Nor do other bounds.
    world
        .edit(|spec| spec.autoscaling.as_mut().expect("some").max_replicas = 30)
        .settle();
    assert_eq!(world.status().resolved, resolved);
    let bounds = world.observed.autoscalers.horizontal.as_ref();
    assert_eq!(bounds.map(|one| one.spec.max_replicas), Some(30));
}
