//! Devices that workers are given: claims of DRA, slices, shares of a GPU; what is counted, and what is said.

use std::sync::Arc;

use serde_json::{Value, json};
use windlass_api::condition::STALLED;

use super::world::{World, trained};
use crate::fixtures::{at, object};
use crate::gpus::claims::DeviceClaims;
use crate::trainingjob::Rooms;
use crate::trainingjob::gang::Schedulers;
use crate::{Child, Step};

/// A worker's template: what its pod's spec has besides, and its annotations.
fn template(more: Value, annotations: &Value) -> Value {
    let mut spec = json!({"containers": [{"name": "trainer", "image": "t:1", "command": ["t"]}]});
    let (Value::Object(all), Value::Object(more)) = (&mut spec, more) else {
        panic!("objects")
    };
    all.extend(more);
    json!({"metadata": {"annotations": annotations}, "spec": spec})
}

fn gang(template: &Value, scheduling: &Value) -> World {
    World::new(json!({"scheduling": scheduling, "workers": {"replicas": 2, "template": template}}))
}

fn claims(claims: &Value) -> Value {
    template(json!({"resourceClaims": claims}), &json!({}))
}

/// The templates of the namespace: one of two GPUs and a network card, one of a slice.
fn with_claim_templates(mut world: World) -> World {
    let devices = |all: &[(&str, i64)]| {
        let all = all
            .iter()
            .map(|(class, count)| ((*class).to_owned(), *count));
        all.collect()
    };
    let templates = [
        (
            "two".to_owned(),
            devices(&[("gpu.example.com", 2), ("nic.example.com", 1)]),
        ),
        ("slice".to_owned(), devices(&[("mig.example.com", 1)])),
    ];
    world.observed.claim_templates = Arc::new(templates.into());
    world
}

fn with_kai(mut world: World) -> World {
    world.observed.schedulers = Schedulers {
        kai: true,
        ..super::world::only_native()
    };
    world
}

/// All pods have had a node since the start.
fn scheduled(world: &mut World) {
    for pod in &mut world.observed.pods {
        let status = Arc::make_mut(pod).status.get_or_insert_default();
        status.conditions = Some(object(
            json!([{"type": "PodScheduled", "status": "True", "lastTransitionTime": at(0)}]),
        ));
    }
}

/// What the first attempt says of a gang of two that ran for ten seconds: the GPUs of each worker, and the seconds.
fn counted(mut world: World) -> (Option<String>, Option<i64>) {
    world.settle();
    scheduled(&mut world);
    world.wait(10).succeeds(&trained()).settle();
    let attempt = world.status().attempts[0].clone();
    assert_eq!(attempt.reason, "Succeeded");
    assert_eq!(world.status().gpu_seconds, attempt.gpu_seconds);
    (
        attempt.gpus_per_worker.map(|gpus| gpus.0),
        attempt.gpu_seconds,
    )
}

#[test]
fn gpus_are_counted_whether_by_limits_by_claims_or_by_shares() {
    let limits = |limits: Value| {
        template(
            json!({"containers": [{"name": "trainer", "image": "t:1", "command": ["t"], "resources": {"limits": limits}}]}),
            &json!({}),
        )
    };
    let of = |name: &str| json!({"name": name, "resourceClaimTemplateName": name});
    let share = |annotations: Value| template(json!({}), &annotations);
    let rows = [
        (limits(json!({"cpu": "8"})), None),
        (limits(json!({"nvidia.com/gpu": 4})), Some(("4", 80))),
        (limits(json!({"nvidia.com/mig-1g.5gb": 1})), Some(("1", 20))),
        (limits(json!({"nvidia.com/gpu.shared": 2})), Some(("2", 40))),
        (claims(&json!([of("two")])), Some(("2", 40))),
        (claims(&json!([of("two"), of("slice")])), Some(("3", 60))),
        (
            claims(&json!([{"name": "channel", "resourceClaimName": "two"}])),
            None,
        ),
        (share(json!({"gpu-fraction": "0.5"})), Some(("0.5", 10))),
        (share(json!({"gpu-fraction": "0.33"})), Some(("0.33", 7))),
        (
            share(json!({"gpu-fraction": "0.25", "gpu-fraction-num-devices": "4"})),
            Some(("1", 20)),
        ),
        (share(json!({"gpu-memory": "2000"})), Some(("1", 20))),
        // KAI's own admission refuses these.
        (share(json!({"gpu-fraction": "half"})), None),
        (share(json!({"gpu-fraction": "1.5"})), None),
        (share(json!({"gpu-fraction": "-0.5"})), None),
        (share(json!({"gpu-memory": "0"})), None),
        (
            share(json!({"gpu-fraction": "0.5", "gpu-fraction-num-devices": "0"})),
            None,
        ),
    ];
    for (template, expected) in rows {
        let world = with_kai(with_claim_templates(gang(&template, &json!({}))));
        let (gpus, seconds) = counted(world);
        let found = gpus.as_deref().zip(seconds);
        assert_eq!(found, expected, "{template}");
    }
}

#[test]
fn an_attempt_keeps_the_count_that_it_was_made_with() {
    let two = json!([{"name": "gpus", "resourceClaimTemplateName": "two"}]);
    let mut world = with_claim_templates(gang(&claims(&two), &json!({})));
    world.settle();
    scheduled(&mut world);
    Arc::make_mut(&mut world.observed.claim_templates).clear();
    world.wait(10).succeeds(&trained()).settle();
    assert_eq!(world.status().gpu_seconds, Some(40));

    // One that was begun before this was written down is counted as the templates are now.
    let mut world = with_claim_templates(gang(&claims(&two), &json!({})));
    world.settle();
    scheduled(&mut world);
    let job = Arc::make_mut(&mut world.observed.job);
    job.status.as_mut().expect("a status").attempts[0].gpus_per_worker = None;
    world.wait(10).succeeds(&trained()).settle();
    assert_eq!(world.status().gpu_seconds, Some(40));
}

#[test]
fn a_claim_template_that_is_not_there_is_named_and_waited_for() {
    let both = claims(&json!([
        {"name": "channel", "resourceClaimName": "made-by-hand"},
        {"name": "gpus", "resourceClaimTemplateName": "eight"}
    ]));
    let mut world = with_claim_templates(gang(&both, &json!({})));
    world.settle();
    assert_eq!(
        world.said(STALLED),
        "True ClaimTemplateNotFound: spec.workers.template.spec.resourceClaims[1].resourceClaimTemplateName: the ResourceClaimTemplate \"eight\" does not exist in namespace \"growth\"; create it, or correct the name"
    );
    assert_eq!(world.made(), 0, "nothing is started without its devices");
    let eight = [("gpu.example.com".to_owned(), 8)];
    let templates = Arc::make_mut(&mut world.observed.claim_templates);
    templates.insert("eight".to_owned(), eight.into());
    world.settle();
    assert!(!world.is(STALLED));
    assert_eq!(world.made(), 1);
}

#[test]
fn a_cluster_without_claims_is_told_apart_from_a_missing_template() {
    let two = json!([{"name": "gpus", "resourceClaimTemplateName": "two"}]);
    let mut world = gang(&claims(&two), &json!({}));
    world.observed.schedulers.device_claims = DeviceClaims::NotServed;
    world.settle();
    let said = world.said(STALLED);
    assert!(
        said.starts_with(
            "True ClaimTemplateNotFound: spec.workers.template.spec.resourceClaims[0]"
        ) && said.contains("does not serve resource.k8s.io/v1"),
        "{said}"
    );
}

#[test]
fn steps_ask_for_devices_as_workers_do() {
    let step = |template: &Value| {
        World::new(json!({"steps": [{"name": "features", "template": template}]}))
    };
    let mut world = step(&claims(
        &json!([{"name": "gpus", "resourceClaimTemplateName": "eight"}]),
    ));
    world.settle();
    let said = world.said(STALLED);
    assert!(
        said.starts_with("True ClaimTemplateNotFound: spec.steps[0].template.spec.resourceClaims[0].resourceClaimTemplateName:"),
        "{said}"
    );
    let share = json!({"gpu-fraction": "0.5"});
    let mut world = step(&template(json!({}), &share));
    world.settle();
    let said = world.said(STALLED);
    assert!(
        said.starts_with(
            "True ShareNotSupported: spec.steps[0].template.metadata.annotations[\"gpu-fraction\"]:"
        ) && said.contains("set spec.steps[0].template.spec.schedulerName to kai-scheduler"),
        "{said}"
    );
    let mut world = step(&template(json!({"schedulerName": "kai-scheduler"}), &share));
    world.settle();
    assert!(!world.is(STALLED), "{}", world.said(STALLED));
}

#[test]
fn claims_runtime_class_and_gang_reach_the_pods_as_they_were_written() {
    let mut worker = claims(&json!([
        {"name": "gpus", "resourceClaimTemplateName": "two"}, {"name": "channel", "resourceClaimName": "shared"}
    ]));
    worker["spec"]["runtimeClassName"] = json!("nvidia");
    worker["spec"]["containers"][0]["resources"] =
        json!({"claims": [{"name": "gpus"}, {"name": "channel"}]});
    let world = with_claim_templates(gang(&worker, &json!({})));
    let steps = world.plan().steps;
    let job = steps.iter().find_map(|step| match step {
        Step::Apply(Child::Job(job)) => Some(serde_json::to_value(&**job).expect("JSON")),
        _ => None,
    });
    let pod = &job.expect("a Job")["spec"]["template"]["spec"];
    for path in [
        "/resourceClaims",
        "/runtimeClassName",
        "/containers/0/resources/claims",
    ] {
        assert_eq!(pod.pointer(path), worker["spec"].pointer(path), "{path}");
    }
    assert_eq!(pod["schedulingGroup"]["podGroupName"], "a-1");
    // A claim that is made for each pod is never one of its group's.
    let group = steps.iter().find_map(|step| match step {
        Step::Apply(Child::PodGroup(group)) => Some(group),
        _ => None,
    });
    assert_eq!(group.expect("a PodGroup").spec.resource_claims, None);
}

#[test]
fn a_share_of_a_gpu_goes_to_kai_or_is_refused() {
    let half = |more: Value| template(more, &json!({"gpu-fraction": "0.5"}));
    let gangs = |world: &World| world.plan().status.scheduling.map(|one| one.gang);
    let whole = template(json!({}), &json!({}));

    // KAI is taken where it is there: nobody else can be meant. For a whole GPU it is not the first choice.
    let world = with_kai(gang(&half(json!({})), &json!({})));
    assert_eq!(gangs(&world).as_deref(), Some("KAI"));
    let world = with_kai(gang(&half(json!({})), &json!({"queueName": "team-a"})));
    assert_eq!(gangs(&world).as_deref(), Some("KAI"));
    let world = with_kai(gang(&whole, &json!({})));
    assert_eq!(gangs(&world).as_deref(), Some("PodGroup"));

    let rows = [
        (
            json!({}),
            "gpu-fraction",
            ", and PodGroup schedules this gang: set spec.scheduling.gang to KAI",
        ),
        (
            json!({"gang": "None"}),
            "gpu-fraction",
            "which KAI alone gives: set spec.scheduling.gang to KAI",
        ),
        (
            json!({}),
            "gpu-memory",
            ", and PodGroup schedules this gang",
        ),
    ];
    for (scheduling, annotation, expected) in rows {
        let mut world = gang(&template(json!({}), &json!({annotation: "1"})), &scheduling);
        world.settle();
        let said = world.said(STALLED);
        let field = format!(
            "True ShareNotSupported: spec.workers.template.metadata.annotations[{annotation:?}]:"
        );
        assert!(
            said.starts_with(&field) && said.contains(expected),
            "{said}"
        );
        assert_eq!(world.made(), 0);
    }

    // Whoever names KAI's scheduler in the template knows what they do.
    let mut world = gang(
        &half(json!({"schedulerName": "kai-scheduler"})),
        &json!({"gang": "None"}),
    );
    world.settle();
    assert_eq!(world.made(), 1);
}

#[test]
fn workers_that_wait_say_which_devices_they_ask_for() {
    let two = json!([{"name": "gpus", "resourceClaimTemplateName": "two"}]);
    let rows = [
        (
            claims(&two),
            "0/3 nodes are available: 3 cannot allocate all claims.",
            "2 of 2 workers find no node, gpu.example.com: 4 asked by resource claims; the scheduler says of pod a-1-0: 0/3 nodes are available: 3 cannot allocate all claims.",
        ),
        (
            template(
                json!({"containers": [{"name": "trainer", "image": "t:1", "command": ["t"], "resources": {"limits": {"deviceclass.resource.kubernetes.io/gpu.example.com": 3}}}]}),
                &json!({}),
            ),
            "0/3 nodes are available: 3 cannot allocate all claims.",
            "2 of 2 workers find no node, deviceclass.resource.kubernetes.io/gpu.example.com: 6 asked; the scheduler says of pod a-1-0: 0/3 nodes are available: 3 cannot allocate all claims.",
        ),
        (
            claims(&two),
            "0/3 nodes are available: 3 Insufficient cpu.",
            "2 of 2 workers find no node; the scheduler says of pod a-1-0: 0/3 nodes are available: 3 Insufficient cpu.",
        ),
        (
            template(json!({}), &json!({"gpu-fraction": "0.75"})),
            "no room",
            "2 of 2 workers find no node, gpu-fraction: 1.5 asked; the scheduler says of pod a-1-0: no room",
        ),
        (
            template(
                json!({}),
                &json!({"gpu-memory": "2000", "gpu-fraction-num-devices": "2"}),
            ),
            "no room",
            "2 of 2 workers find no node, gpu-memory: 8000 MiB asked; the scheduler says of pod a-1-0: no room",
        ),
    ];
    for (template, said, expected) in rows {
        let mut world = with_kai(with_claim_templates(gang(&template, &json!({}))));
        world.observed.room = Rooms::Known(Arc::default());
        world.settle();
        for pod in &mut world.observed.pods {
            Arc::make_mut(pod).status = Some(object(json!({"phase": "Pending", "conditions": [
                {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": said}
            ]})));
        }
        world.wait(2).settle();
        assert_eq!(
            world.status().waiting.map(|one| one.message).as_deref(),
            Some(expected)
        );
    }
}
