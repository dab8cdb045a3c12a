//! Workers near each other: what each backend is told.

use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;
use serde_json::{Value, json};
use windlass_api::condition::STALLED;

use super::world::World;
use crate::trainingjob::gang::Schedulers;
use crate::{Child, Step};

const RACK: &str = "example.com/rack";

/// A gang of three that is packed so, on a cluster that has every scheduler.
fn packed(mut scheduling: Value, topology: &Value) -> World {
    scheduling["topology"] = topology.clone();
    let template =
        json!({"spec": {"containers": [{"name": "trainer", "image": "t:1", "command": ["t"]}]}});
    let mut world = World::new(
        json!({"scheduling": scheduling, "workers": {"replicas": 3, "template": template}}),
    );
    world.observed.schedulers = Schedulers {
        kueue: true,
        kai: true,
        volcano: true,
        ..super::world::only_native()
    };
    world
}

/// The Job of the first attempt, and the constraints of its PodGroup.
fn made(world: &World) -> (Job, Option<Value>) {
    let steps = world.plan().steps;
    let job = steps.iter().find_map(|step| match step {
        Step::Apply(Child::Job(job)) => Some((**job).clone()),
        _ => None,
    });
    let constraints = steps.iter().find_map(|step| match step {
        Step::Apply(Child::PodGroup(group)) => group.spec.scheduling_constraints.as_ref(),
        _ => None,
    });
    let constraints = constraints.map(|all| serde_json::to_value(all).expect("JSON"));
    (job.expect("a Job"), constraints)
}

/// What there is at a path of the Job: `/spec/template/spec/affinity`.
fn part(job: &Job, pointer: &str) -> Value {
    let job = serde_json::to_value(job).expect("JSON");
    job.pointer(pointer).cloned().unwrap_or_default()
}

/// The pod affinity that holds the pods of the first attempt together.
fn term() -> Value {
    json!({
        "labelSelector": {"matchLabels": {"windlass.dev/training-job": "a", "windlass.dev/attempt": "1"}},
        "topologyKey": RACK
    })
}

const AFFINITY: &str = "/spec/template/spec/affinity";
const ANNOTATIONS: &str = "/spec/template/metadata/annotations";

#[test]
fn kubernetes_own_gangs_are_packed_by_their_pod_group_and_never_spread() {
    for mode in [json!({}), json!({"mode": "Required"})] {
        let mut topology = mode;
        topology["packWithin"] = json!(RACK);
        let (job, constraints) = made(&packed(json!({"gang": "PodGroup"}), &topology));
        assert_eq!(constraints, Some(json!({"topology": [{"key": RACK}]})));
        assert_eq!(
            part(&job, AFFINITY),
            json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term()]}})
        );
    }
    let preferred = json!({"packWithin": RACK, "mode": "Preferred"});
    let (job, constraints) = made(&packed(json!({"gang": "PodGroup"}), &preferred));
    assert_eq!(constraints, None, "a PodGroup knows no preference");
    assert_eq!(
        part(&job, AFFINITY),
        json!({"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": term()}]}})
    );
}

#[test]
fn pods_select_their_own_attempt_by_labels_that_they_carry() {
    let (job, _) = made(&packed(
        json!({"gang": "None"}),
        &json!({"packWithin": RACK}),
    ));
    let term =
        "/podAffinity/requiredDuringSchedulingIgnoredDuringExecution/0/labelSelector/matchLabels";
    let selected = part(&job, &format!("{AFFINITY}{term}"));
    let carried = part(&job, "/spec/template/metadata/labels");
    let selected = selected.as_object().expect("labels");
    assert_eq!(selected.len(), 2);
    for (label, value) in selected {
        assert_eq!(carried.get(label), Some(value), "{label}");
    }
}

#[test]
fn a_gang_of_one_is_near_itself() {
    for gang in ["PodGroup", "None"] {
        let mut world = packed(json!({"gang": gang}), &json!({"packWithin": RACK}));
        Arc::make_mut(&mut world.observed.job).spec.workers.replicas = 1;
        assert_eq!(part(&made(&world).0, AFFINITY), Value::Null);
    }
}

#[test]
fn what_the_template_says_of_affinity_is_kept() {
    let own = json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "zone"}]}, "nodeAffinity": {}});
    let mut world = packed(json!({"gang": "None"}), &json!({"packWithin": RACK}));
    let job = Arc::make_mut(&mut world.observed.job);
    job.spec.workers.template.0["spec"]["affinity"] = own;
    let affinity = part(&made(&world).0, AFFINITY);
    let terms = &affinity["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    assert_eq!(terms, &json!([{"topologyKey": "zone"}, term()]));
    assert_eq!(affinity["nodeAffinity"], json!({}));
}

#[test]
fn kueue_is_told_by_an_annotation_of_the_pods() {
    let rows = [
        ("Required", "kueue.x-k8s.io/podset-required-topology"),
        ("Preferred", "kueue.x-k8s.io/podset-preferred-topology"),
    ];
    for (mode, annotation) in rows {
        let topology = json!({"packWithin": RACK, "mode": mode});
        let (job, _) = made(&packed(json!({"queueName": "team-a"}), &topology));
        assert_eq!(part(&job, ANNOTATIONS), json!({annotation: RACK}));
        assert_eq!(part(&job, AFFINITY), Value::Null);
    }
}

#[test]
fn kai_is_told_by_annotations_of_the_job() {
    let rows = [
        ("Required", "kai.scheduler/topology-required-placement"),
        ("Preferred", "kai.scheduler/topology-preferred-placement"),
    ];
    for (mode, annotation) in rows {
        let topology = json!({"packWithin": RACK, "mode": mode, "name": "network"});
        let (job, _) = made(&packed(json!({"gang": "KAI"}), &topology));
        assert_eq!(
            part(&job, "/metadata/annotations"),
            json!({annotation: RACK, "kai.scheduler/topology": "network", "kai.scheduler/batch-min-member": "3"})
        );
        assert_eq!(part(&job, AFFINITY), Value::Null);
    }
}

#[test]
fn what_a_scheduler_cannot_do_is_said_before_anything_is_made() {
    let rows = [
        (
            json!({"gang": "Volcano"}),
            "True TopologyNotSupported: spec.scheduling.topology: Volcano schedules this gang",
        ),
        (
            json!({"gang": "KAI"}),
            "True TopologyNotSupported: spec.scheduling.topology.name: is required, since KAI schedules this gang",
        ),
    ];
    for (scheduling, expected) in rows {
        for mode in ["Required", "Preferred"] {
            let topology = json!({"packWithin": RACK, "mode": mode});
            let mut world = packed(scheduling.clone(), &topology);
            world.settle();
            let said = world.said(STALLED);
            assert!(said.starts_with(expected), "{said}");
            assert_eq!(world.made(), 0);
        }
    }
}

#[test]
fn where_workers_are_placed_is_no_part_of_what_a_model_is_made_from() {
    let fingerprint = |world: &World| world.plan().status.fingerprint.expect("a fingerprint");
    let mut spread = packed(json!({"gang": "PodGroup"}), &json!({"packWithin": RACK}));
    let packed = fingerprint(&spread);
    let job = Arc::make_mut(&mut spread.observed.job);
    job.spec.scheduling.topology = None;
    assert_eq!(fingerprint(&spread), packed);
}
