//! Who schedules a gang, and what becomes of an attempt in a queue.

use std::sync::Arc;

use serde_json::{Value, json};
use windlass_api::condition::{READY, STALLED};

use super::world::{World, trained};
use crate::fixtures::{at, steps};
use crate::gpus::claims::DeviceClaims;
use crate::trainingjob::gang::{Backend, KueueWorkload, Schedulers, native};
use crate::{Child, Step};

fn workers(replicas: i32) -> Value {
    json!({"replicas": replicas, "template": {"spec": {"containers": [{"name": "trainer", "image": "t:1", "command": ["t"]}]}}})
}

/// A cluster that has these.
fn cluster(served: &[&str]) -> Schedulers {
    let has = |name: &str| served.contains(&name);
    let native = has("PodGroup").then_some(());
    Schedulers {
        kueue: has("Kueue"),
        native: native.ok_or_else(|| "none".to_owned()),
        kai: has("KAI"),
        volcano: has("Volcano"),
        device_claims: DeviceClaims::Served,
    }
}

/// What is chosen, or the reason why the job stalls.
fn chosen(scheduling: &Value, replicas: i32, schedulers: Schedulers) -> String {
    let mut world = World::new(json!({"scheduling": scheduling, "workers": workers(replicas)}));
    world.observed.schedulers = schedulers;
    let status = world.plan().status;
    status.scheduling.map_or_else(
        || crate::fixtures::said(&status.conditions, STALLED),
        |scheduling| scheduling.gang,
    )
}

#[test]
fn a_queue_decides_first_then_the_size_of_the_gang_then_what_there_is() {
    let (auto, queued) = (json!({}), json!({"queueName": "team-a"}));
    let all = || cluster(&["Kueue", "PodGroup", "KAI", "Volcano"]);
    let rows = [
        (&auto, 1, all(), "None"),
        (&auto, 2, all(), "PodGroup"),
        (&auto, 2, cluster(&["Kueue", "KAI", "Volcano"]), "KAI"),
        (&auto, 2, cluster(&["Kueue", "Volcano"]), "Volcano"),
        (&auto, 2, cluster(&["Kueue"]), "None"),
        (&queued, 1, all(), "Kueue"),
        (&queued, 2, cluster(&["PodGroup", "KAI", "Volcano"]), "KAI"),
        (&queued, 2, cluster(&["PodGroup", "Volcano"]), "Volcano"),
    ];
    for (scheduling, replicas, cluster, expected) in rows {
        let told = format!("{scheduling} {replicas} {cluster:?}");
        assert_eq!(chosen(scheduling, replicas, cluster), expected, "{told}");
    }
    for mode in ["PodGroup", "Kueue", "KAI", "Volcano", "None"] {
        let queue = matches!(mode, "Kueue").then_some("team-a");
        let scheduling = json!({"gang": mode, "queueName": queue});
        assert_eq!(chosen(&scheduling, 2, all()), mode);
    }
}

#[test]
fn what_the_cluster_does_not_have_is_named_and_waited_for() {
    let nothing = || cluster(&[]);
    let rows = [
        (
            json!({"queueName": "team-a"}),
            "True QueueNotFound: spec.scheduling.queueName: names queue \"team-a\"",
        ),
        (
            json!({"gang": "PodGroup"}),
            "True GangSchedulerNotFound: spec.scheduling.gang: is PodGroup, but none",
        ),
        (
            json!({"gang": "Kueue", "queueName": "a"}),
            "True GangSchedulerNotFound: spec.scheduling.gang: is Kueue",
        ),
        (
            json!({"gang": "KAI"}),
            "True GangSchedulerNotFound: spec.scheduling.gang: is KAI",
        ),
        (
            json!({"gang": "Volcano"}),
            "True GangSchedulerNotFound: spec.scheduling.gang: is Volcano",
        ),
    ];
    for (scheduling, expected) in rows {
        let said = chosen(&scheduling, 2, nothing());
        assert!(said.starts_with(expected), "{said}");
    }
}

#[test]
fn each_backend_finds_what_it_looks_for_and_a_job_tells_what_it_was_made_for() {
    let of = |gang: &str, queue: Option<&str>| {
        let mut world = World::new(json!({
            "scheduling": {"gang": gang, "queueName": queue, "priorityClassName": "batch"}, "workers": workers(3)
        }));
        world.observed.schedulers = cluster(&["Kueue", "PodGroup", "KAI", "Volcano"]);
        let (steps, mut job) = (steps(&world.plan()), world.job());
        let whole = serde_json::to_value(&job).expect("JSON");
        crate::jobs::trim(&mut job);
        (steps, whole, Backend::of(&job))
    };
    let at = |job: &Value, pointer: &str| job.pointer(pointer).cloned().unwrap_or_default();

    let (steps, job, backend) = of("Kueue", Some("team-a"));
    assert_eq!(steps, ["Apply Service/a-workers", "Apply Job/a-1"]);
    assert_eq!(
        at(&job, "/metadata/labels/kueue.x-k8s.io~1queue-name"),
        "team-a"
    );
    assert_eq!(at(&job, "/spec/suspend"), true);
    assert_eq!(at(&job, "/spec/template/spec/priorityClassName"), "batch");
    assert_eq!(
        backend,
        Backend::Kueue {
            queue: "team-a".to_owned()
        }
    );

    let (steps, job, backend) = of("PodGroup", None);
    assert_eq!(steps[1], "Apply PodGroup/a-1");
    assert_eq!(
        at(&job, "/spec/template/spec/schedulingGroup/podGroupName"),
        "a-1"
    );
    assert_eq!(at(&job, "/spec/suspend"), Value::Null);
    assert_eq!(backend, Backend::Native);

    let (steps, job, backend) = of("KAI", Some("team-a"));
    assert_eq!(steps.len(), 2);
    assert_eq!(
        at(
            &job,
            "/metadata/annotations/kai.scheduler~1batch-min-member"
        ),
        "3"
    );
    assert_eq!(
        at(&job, "/spec/template/metadata/labels/kai.scheduler~1queue"),
        "team-a"
    );
    assert_eq!(
        at(&job, "/spec/template/spec/schedulerName"),
        "kai-scheduler"
    );
    assert_eq!(
        backend,
        Backend::Kai {
            queue: Some("team-a".to_owned())
        }
    );

    let (steps, job, backend) = of("Volcano", Some("team-a"));
    assert_eq!(steps[1], "Apply PodGroup of Volcano/a-1");
    assert_eq!(
        at(
            &job,
            "/spec/template/metadata/annotations/scheduling.k8s.io~1group-name"
        ),
        "a-1"
    );
    assert_eq!(backend.name(), "Volcano");
}

#[test]
fn volcanos_pod_group_is_as_volcano_reads_it() {
    let mut world = World::new(
        json!({"scheduling": {"gang": "Volcano", "queueName": "team-a", "priorityClassName": "batch"}, "workers": workers(3)}),
    );
    world.observed.schedulers = cluster(&["Volcano"]);
    let group = world.plan().steps.into_iter().find_map(|step| match step {
        Step::Apply(Child::VolcanoPodGroup(group)) => Some(*group),
        _ => None,
    });
    let group = serde_json::to_value(group.expect("a PodGroup")).expect("JSON");
    assert_eq!(
        (&group["apiVersion"], &group["kind"], &group["spec"]),
        (
            &json!("scheduling.volcano.sh/v1beta1"),
            &json!("PodGroup"),
            &json!({"minMember": 3, "queue": "team-a", "priorityClassName": "batch"})
        )
    );
}

#[test]
fn kueues_labels_pass_through_and_its_queue_may_be_given_by_one() {
    let mut world = World::new(json!({"workers": workers(2)}));
    world.observed.schedulers = cluster(&["Kueue", "PodGroup"]);
    Arc::make_mut(&mut world.observed.job).metadata.labels = Some(
        [
            ("kueue.x-k8s.io/queue-name", "team-b"),
            ("kueue.x-k8s.io/priority-class", "urgent"),
            ("team", "b"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into(),
    );
    let labels = world.job().metadata.labels.expect("labels");
    assert_eq!(labels["kueue.x-k8s.io/queue-name"], "team-b");
    assert_eq!(labels["kueue.x-k8s.io/priority-class"], "urgent");
    assert!(!labels.contains_key("team"));
}

/// A world whose first attempt stands in a queue of Kueue's.
fn in_queue() -> World {
    let mut world = World::new(
        json!({"backoffLimit": 0, "activeDeadlineSeconds": 100, "scheduling": {"queueName": "team-a"}, "workers": workers(2)}),
    );
    world.observed.schedulers = cluster(&["Kueue", "PodGroup"]);
    world.settle();
    world
}

fn suspend(world: &mut World, suspended: bool) {
    let child = world.observed.children.last_mut().expect("a Job");
    let spec = Arc::make_mut(child).spec.get_or_insert_default();
    spec.suspend = Some(suspended);
    if suspended {
        world.observed.pods.clear();
    }
}

#[test]
fn an_attempt_waits_in_its_queue_without_using_up_the_deadline() {
    let mut world = in_queue();
    let pods = std::mem::take(&mut world.observed.pods);
    assert!(
        world
            .said(READY)
            .starts_with("False Queued: attempt 1, Job a-1, waits in queue team-a"),
        "{}",
        world.said(READY)
    );
    let written = world.writes;
    world.wait(1000).settle();
    assert_eq!(world.writes, written, "nothing is written while it waits");
    suspend(&mut world, false);
    world.observed.pods = pods;
    world.settle();
    let status = world.status();
    assert_eq!(
        (status.start_time, status.attempts[0].admitted),
        (Some(at(1000)), Some(at(1000)))
    );
    assert!(world.said(READY).starts_with("False Running"));
    world.wait(99).settle();
    assert!(!world.has_ended());
    world.succeeds(&trained()).settle();
    assert!(world.is(windlass_api::condition::COMPLETE));
}

#[test]
fn the_deadline_stands_in_the_queue_also_for_a_job_that_has_run_before() {
    let mut world = in_queue();
    let pods = std::mem::take(&mut world.observed.pods);
    suspend(&mut world, false);
    world.observed.pods = pods;
    world.settle().wait(60);
    // Preempted after a minute of 100 s; an hour in the queue; let in again.
    suspend(&mut world, true);
    world.settle().wait(3600).settle();
    assert!(!world.has_ended(), "{}", world.said(READY));
    suspend(&mut world, false);
    world.settle();
    assert_eq!(world.status().start_time, Some(at(3600)));
    world.wait(39).settle();
    assert!(!world.has_ended());
    world.wait(1).settle();
    assert!(world.is(windlass_api::condition::FAILED));
}

#[test]
fn a_queue_of_kueues_by_label_and_another_gang_are_told_and_not_both_taken() {
    for gang in ["PodGroup", "None"] {
        let mut world = World::new(json!({"scheduling": {"gang": gang}, "workers": workers(2)}));
        world.observed.schedulers = cluster(&["Kueue", "PodGroup"]);
        let queue = ("kueue.x-k8s.io/queue-name".to_owned(), "team-b".to_owned());
        Arc::make_mut(&mut world.observed.job).metadata.labels = Some([queue].into());
        world.settle();
        let said = world.said(windlass_api::condition::STALLED);
        assert!(
            said.starts_with(
                "True SchedulingConflict: metadata.labels: kueue.x-k8s.io/queue-name is team-b"
            ),
            "{said}"
        );
        assert_eq!(world.made(), 0);
    }
}

#[test]
fn room_that_is_taken_back_ends_the_attempt_and_does_not_count() {
    let mut world = in_queue();
    suspend(&mut world, false);
    world.settle().wait(50);
    suspend(&mut world, true);
    world.settle();
    let status = world.status();
    assert_eq!((status.attempt, status.failures), (Some(2), 0));
    assert_eq!(status.attempts[0].reason, "Disrupted");
    assert!(
        status.attempts[0]
            .message
            .contains("took back the room of queue team-a"),
        "{}",
        status.attempts[0].message
    );
    assert_eq!(world.changes, ["made a-1", "deleted a-1", "made a-2"]);
    assert!(world.said(READY).starts_with("False Queued: attempt 2"));
}

#[test]
fn the_shapes_of_kubernetes_135_and_136_are_recognised_and_declined() {
    let version = |name: &str, kinds: &[&str]| {
        let kinds = kinds.iter().map(|kind| (*kind).to_owned()).collect();
        (name.to_owned(), kinds)
    };
    let classes = || version("v1", &["PriorityClass"]);
    let rows = [
        (
            vec![classes(), version("v1beta1", &["PodGroup", "Workload"])],
            None,
        ),
        (
            vec![classes(), version("v1alpha2", &["PodGroup", "Workload"])],
            Some("v1alpha2 of Kubernetes 1.36"),
        ),
        (
            vec![classes(), version("v1alpha1", &["Workload"])],
            Some("v1alpha1 of Kubernetes 1.35"),
        ),
        (
            vec![classes()],
            Some("does not serve scheduling.k8s.io/v1beta1"),
        ),
        (
            vec![classes(), version("v1beta1", &["Workload"])],
            Some("does not serve"),
        ),
    ];
    for (versions, expected) in rows {
        let why = native(&versions).err();
        assert_eq!(why.is_some(), expected.is_some(), "{versions:?}");
        if let (Some(why), Some(expected)) = (why, expected) {
            assert!(why.contains(expected), "{why}");
        }
    }
}

/// Makes the scheduler say this of the workers from this rank on.
fn scheduler_says(world: &mut World, from: i32, message: &str) {
    for pod in &mut world.observed.pods {
        if crate::pods::rank(pod).is_some_and(|rank| rank >= from) {
            Arc::make_mut(pod).status = Some(crate::fixtures::object(
                json!({"phase": "Pending", "conditions": [
                    {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
                ]}),
            ));
        }
    }
}

#[test]
fn workers_that_find_no_node_are_counted_with_what_they_ask_for() {
    let mut workers = workers(4);
    workers["template"]["spec"]["containers"][0]["resources"] =
        json!({"limits": {"nvidia.com/gpu": 4, "cpu": "8"}});
    let mut world = World::new(json!({"workers": workers}));
    world.settle();
    scheduler_says(
        &mut world,
        1,
        "minCount (4) cannot be satisfied: 2 scheduled",
    );
    let again = world.plan().again;
    assert_eq!(
        again,
        Some(std::time::Duration::from_secs(2)),
        "the scheduler has yet to look at the others"
    );
    assert!(!world.is(STALLED));
    scheduler_says(
        &mut world,
        3,
        "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
    );
    world.wait(2).settle();
    assert_eq!(
        world.said(STALLED),
        "True Unschedulable: 3 of 4 workers find no node, nvidia.com/gpu: 12 asked; the scheduler says of pod a-1-3: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
    );
}

#[test]
fn what_the_scheduler_says_is_renewed_at_most_once_a_minute() {
    let mut world = World::new(json!({"workers": workers(2)}));
    world.settle();
    scheduler_says(&mut world, 0, "first");
    world.wait(10).settle();
    let written = world.writes;
    for second in 0..50 {
        scheduler_says(&mut world, 0, &format!("word {second}"));
        world.wait(1).settle();
    }
    assert_eq!(world.writes, written);
    assert_eq!(world.plan().again, Some(std::time::Duration::from_secs(10)));
    world.wait(10).settle();
    assert_eq!(world.writes, written + 1);
    let waiting = world.status().waiting.expect("it waits");
    assert_eq!((waiting.since, waiting.observed), (at(10), at(70)));
    assert!(waiting.message.ends_with("word 49"), "{}", waiting.message);
    for pod in &mut world.observed.pods {
        Arc::make_mut(pod).status = Some(crate::fixtures::object(json!({"phase": "Running"})));
    }
    world.settle();
    assert_eq!(world.status().waiting, None);
    assert!(world.said(READY).starts_with("False Running"));
}

/// A Workload that waits, with Kueue 0.18.3's own words.
fn workload(reason: &str, message: &str) -> KueueWorkload {
    crate::fixtures::object(json!({"metadata": {}, "status": {"conditions": [
        {"type": "QuotaReserved", "status": "False", "reason": reason, "message": message, "lastTransitionTime": at(0)}
    ]}}))
}

#[test]
fn what_kueue_waits_for_is_told_and_what_it_will_never_have_calls_a_person() {
    let rows = [
        (
            "Pending",
            "couldn't assign flavors to pod set main: insufficient unused quota for nvidia.com/gpu in flavor plain, 4 more needed",
            "False Queued",
        ),
        (
            "Pending",
            "couldn't assign flavors to pod set main: insufficient quota for nvidia.com/gpu in flavor plain, previously considered podsets requests (0) + current podset request (12) > maximum capacity (8)",
            "False QuotaNeverFits",
        ),
        (
            "Pending",
            "couldn't assign flavors to pod set main: resource amd.com/gpu unavailable in ClusterQueue",
            "False QuotaNeverFits",
        ),
        (
            "Inadmissible",
            "LocalQueue nowhere doesn't exist",
            "False QueueNotFound",
        ),
    ];
    for (reason, message, expected) in rows {
        let mut world = in_queue();
        let said_by_kueue = workload(reason, message).waits_for().expect("it waits");
        world.observed.queue.insert("a-1".to_owned(), said_by_kueue);
        world.settle();
        let said = world.said(READY);
        assert!(
            said.starts_with(expected) && said.ends_with(message),
            "{said}"
        );
        assert_eq!(world.is(STALLED), expected != "False Queued");
    }
}

#[test]
fn kueues_words_are_renewed_at_most_once_a_minute_and_forgotten_when_it_runs() {
    let mut world = in_queue();
    let say = |world: &mut World, message: &str| {
        let said_by_kueue = workload("Pending", message).waits_for().expect("it waits");
        world.observed.queue.insert("a-1".to_owned(), said_by_kueue);
        world.settle();
    };
    say(&mut world, "8 more needed");
    let written = world.writes;
    for needed in 0..59 {
        world.wait(1);
        say(&mut world, &format!("{needed} more needed"));
    }
    assert_eq!(world.writes, written);
    world.wait(1);
    say(&mut world, "2 more needed");
    assert_eq!(world.writes, written + 1);
    world.observed.queue.clear();
    suspend(&mut world, false);
    world.settle();
    assert_eq!(world.status().waiting, None);
}

#[test]
fn a_workload_that_has_its_room_waits_for_nothing() {
    let reserved: KueueWorkload = crate::fixtures::object(
        json!({"metadata": {}, "status": {"conditions": [
            {"type": "QuotaReserved", "status": "True", "reason": "QuotaReserved", "message": "", "lastTransitionTime": at(0)}
        ]}}),
    );
    assert_eq!(reserved.waits_for(), None);
    assert_eq!(KueueWorkload::default().waits_for(), None);
}

#[test]
fn the_group_of_an_attempt_goes_when_the_next_one_starts() {
    let mut world = World::new(json!({"workers": workers(2)}));
    world.settle();
    assert_eq!(world.groups, ["a-1".to_owned()].into());
    world.suspend(true).settle().suspend(false).settle();
    assert_eq!(
        world.groups,
        ["a-1".to_owned()].into(),
        "its pods are alive"
    );
    world.pods_go().settle();
    assert_eq!(world.groups, ["a-2".to_owned()].into());
    // It is sent where it is lost by a crash, and is nothing where it is done.
    world.suspend(true).settle().pods_go().suspend(false);
    world.reconcile_until(1);
    world.settle();
    assert_eq!(world.groups, ["a-3".to_owned()].into());
}
