//! Roll-outs that are judged by labels, which Jobs read now and then.

use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use serde_json::{Value, json};
use windlass_api::condition::READY;
use windlass_api::{LabelledSeen, RolloutOutcome, annotations, labels};

use super::world::World;
use crate::fixtures::{assert_restricted, at, ended, given, object, pod_of};
use crate::pods::AGENT;
use crate::{Child, Doomed, Step};

fn analysis(more: &Value) -> Value {
    let mut check = json!({
        "metric": "LabelledErrorRate", "notWorseThan": "0.05",
        "labels": {"uri": "s3://labels/churn", "column": "churned", "joinOn": "id"},
    });
    let all = check.as_object_mut().expect("an object");
    all.extend(more.as_object().expect("an object").clone());
    json!([check])
}

fn spec(more: &Value) -> Value {
    json!({"rollout": {
        "steps": [{"weight": 10, "hold": "60s"}, {"weight": 50, "hold": "60s"}], "minRequests": 100,
        "analysis": analysis(more),
    }})
}

/// A canary in its first step, which has requests, a minute and a second after the step began.
fn rolling(more: &Value) -> World {
    let mut world = World::rolling(spec(more));
    world.all_ready().settle().traffic(1500, 0);
    world.wait(61).settle();
    world
}

fn seen(world: &World) -> LabelledSeen {
    let canary = world.status().canary.expect("it rolls");
    canary.labelled.expect("labels are asked for")
}

fn analysed(world: &World) -> String {
    let canary = world.status().canary.expect("it rolls");
    canary.analysis.unwrap_or_default()
}

fn jobs(world: &World) -> Vec<String> {
    let all = world.observed.label_jobs.iter();
    all.map(|job| job.name_any()).collect()
}

/// The only Job, which is there.
fn job(world: &World) -> Arc<Job> {
    let [job] = &world.observed.label_jobs[..] else {
        panic!("one Job: {:?}", jobs(world));
    };
    job.clone()
}

/// The Job ends with this message, and the operator looks.
fn ends(world: &mut World, code: i32, message: &Value) {
    let name = job(world).name_any();
    let mut its = pod_of(&format!("{name}-x"), AGENT, &[].into());
    its.metadata.owner_references = Some(object(json!([{
        "apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": format!("uid-{name}"),
    }])));
    let its = ended(its, AGENT, code, &message.to_string());
    world.observed.label_pods = vec![Arc::new(its)];
    let type_ = if code == 0 { "Complete" } else { "Failed" };
    let live = Arc::make_mut(&mut world.observed.label_jobs[0]);
    live.status = Some(object(json!({"conditions": [{
        "type": type_, "status": "True", "lastTransitionTime": at(world.now).to_string(),
    }]})));
    world.settle();
}

/// Labels are read when it is time: predictions, labelled and wrong ones of the canary and the stable version, span by span.
fn read(world: &mut World, spans: &[[[u64; 3]; 2]]) {
    for _ in 0..500 {
        if !world.observed.label_jobs.is_empty() {
            break;
        }
        world.wait(10).settle();
    }
    let side = |side: usize| spans.iter().map(|span| span[side]).collect::<Vec<_>>();
    let labels: u64 = spans.iter().flatten().map(|counts| counts[1]).sum();
    let report = json!({
        "kind": "Labels", "labels": labels, "versions": {"churn-2": side(0), "churn-1": side(1)},
    });
    ends(world, 0, &report);
}

fn fails(world: &mut World) {
    let report = json!({
        "kind": "Failure", "reason": "LabelsUnreadable",
        "message": "the labels: s3://labels/churn: 403 Forbidden",
    });
    ends(world, 1, &report);
}

#[test]
fn one_job_at_a_time_reads_the_labels_of_both_versions_since_the_step_began() {
    let mut world = World::rolling(json!({
        "rollout": spec(&json!({}))["rollout"], "storage": {"secretName": "keys"}, "runtime": null,
        "template": {"spec": {"serviceAccountName": "writer", "containers": [{"name": "s", "image": "s"}]}},
    }));
    world.wait(200).settle();
    assert_eq!(jobs(&world), [""; 0], "no step has begun");
    world
        .all_ready()
        .settle()
        .traffic(1500, 0)
        .wait(59)
        .settle();
    assert_eq!(jobs(&world), [""; 0], "it is not time yet");
    world.wait(1).settle();
    let made = job(&world);
    assert_eq!(
        made.name_any(),
        format!("churn-{}-1", seen(&world).question)
    );
    assert_eq!(made.labels()[labels::DEPLOYMENT], "churn");
    let its = made.spec.as_ref().expect("one").template.spec.as_ref();
    let its = its.expect("a pod");
    assert_restricted(its);
    assert_eq!(its.service_account_name.as_deref(), Some("writer"));
    assert_eq!(given(its, "keys"), [AGENT]);
    let arguments = its.containers[0].args.as_ref().expect("some").join(" ");
    let (start, end) = (at(200), at(245));
    assert_eq!(
        arguments,
        format!(
            "labels --payloads pvc://predictions/churn --version churn-2 --version churn-1 --span-start {start} --end {end} --labels s3://labels/churn --labels-format Parquet --label churned --join-on id"
        )
    );
    // However long it takes, there is no other.
    world.wait(1200).settle();
    assert_eq!(jobs(&world), [made.name_any()]);
    read(&mut world, &[[[400, 0, 0], [900, 0, 0]]]);
    assert_eq!(jobs(&world), [""; 0], "what it reported is written down");
    // It looks the more seldom the longer the step goes on: a tenth of 1,260 seconds.
    world.wait(125).settle();
    assert_eq!(jobs(&world), [""; 0]);
    world.wait(1).settle();
    assert_eq!(
        job(&world).name_any(),
        format!("churn-{}-2", seen(&world).question)
    );
}

/// What the only Job was told of times: the starts of spans, and the end.
fn told(world: &World) -> Vec<String> {
    let job = job(world);
    let its = job.spec.as_ref().expect("one").template.spec.as_ref();
    let arguments = its.expect("a pod").containers[0].args.clone();
    let arguments = arguments.unwrap_or_default();
    let pairs = arguments.windows(2);
    let times = pairs.filter(|pair| ["--span-start", "--end"].contains(&pair[0].as_str()));
    times.map(|pair| pair[1].clone()).collect()
}

#[test]
fn predictions_are_counted_once_they_are_old_enough_to_have_their_labels() {
    let labels = json!({"uri": "s3://labels/churn", "column": "churned", "matureAfter": "1h"});
    let mut world = rolling(&json!({ "labels": labels }));
    world.wait(3500).settle();
    assert_eq!(jobs(&world), [""; 0], "none is an hour old");
    assert!(
        analysed(&world).contains("has not been read in this step yet, next at about"),
        "{}",
        analysed(&world)
    );
    world.wait(60).settle();
    let end = world.now - 3600;
    assert_eq!(told(&world), [at(0).to_string(), at(end).to_string()]);
}

#[test]
fn of_a_step_that_has_only_just_begun_nothing_is_read() {
    let mut world = World::rolling(spec(&json!({"interval": "5s"})));
    world.all_ready().settle().traffic(1500, 0);
    world.wait(14).settle();
    assert_eq!(jobs(&world), [""; 0], "nothing is uploaded yet");
    world.wait(2).settle();
    assert_eq!(told(&world), [at(0).to_string(), at(1).to_string()]);
    read(&mut world, &[[[800, 200, 0], [2000, 500, 0]]]);
    world.wait(60).settle();
    read(&mut world, &[[[900, 300, 0], [2000, 600, 0]]]);
    let began = |world: &World| world.status().canary.and_then(|canary| canary.step_started);
    let first = began(&world);
    for _ in 0..20 {
        if began(&world).is_some() && began(&world) != first {
            break;
        }
        world.all_ready().wait(1).settle();
    }
    world.wait(6).settle();
    assert_ne!(began(&world), first, "the second step");
    let times = told(&world);
    let end = times.last().expect("an end").clone();
    assert_eq!(times.len(), 2, "not yet of the second step: {times:?}");
    assert!(times[0] < end, "{times:?}");
}

#[test]
fn what_labels_say_decides_and_what_they_do_not_say_holds() {
    for (what, canary, stable, outcome, part) in [
        (
            "no label at all",
            [800, 0, 0],
            [2000, 0, 0],
            "holds",
            "0 of 800 predictions of the canary could be compared by their labels yet: no label has come; 100 are needed",
        ),
        (
            "labels of the stable version alone",
            [800, 0, 0],
            [2000, 90, 0],
            "holds",
            "there are 90 labels, of other predictions or of those of one version alone. Where that stays so, look at the label's joinOn",
        ),
        (
            "too few",
            [800, 12, 0],
            [2000, 50, 0],
            "holds",
            "12 of 800 predictions of the canary could be compared by their labels yet; 100 are needed (about 8 more minutes at 12 a minute",
        ),
        ("enough", [800, 100, 2], [2000, 250, 5], "passes", ""),
        (
            "worse by more than is allowed, which may be chance",
            [800, 100, 9],
            [2000, 250, 5],
            "holds",
            "100 of 800 predictions of the canary could be compared by their labels yet; labels call 9/100 predictions wrong against 5/250 of the stable version: the share of wrong predictions lies higher by 7.0 percentage points (5.0 are allowed), which may be chance",
        ),
    ] {
        let mut world = rolling(&json!({}));
        read(&mut world, &[[canary, stable]]);
        world.wait(40).settle();
        let status = world.status();
        let canary = status.canary.expect("it rolls");
        let passed = canary.step == 1;
        assert_eq!(passed, outcome == "passes", "{what}: {}", analysed(&world));
        assert!(
            analysed(&world).contains(part),
            "{what}: {}",
            analysed(&world)
        );
    }
}

/// Labels that are looked at again and again, so many more of each side each time.
fn read_often(world: &mut World, looks: u64, canary: [u64; 3], stable: [u64; 3]) {
    for look in 1..=looks {
        if world.status().canary.is_none() {
            return;
        }
        let of = |each: [u64; 3]| each.map(|count| count * look);
        read(world, &[[of(canary), of(stable)]]);
    }
}

#[test]
fn harm_that_labels_show_takes_the_canary_back_though_all_requests_succeed() {
    let mut world = rolling(
        &json!({"labels": {"uri": "s3://labels/churn", "column": "churned", "minSamples": 100_000}}),
    );
    read_often(&mut world, 12, [100, 30, 9], [400, 120, 6]);
    let status = world.status();
    let last = status.last_rollout.expect("it is decided");
    assert_eq!(last.outcome, RolloutOutcome::RolledBack);
    assert!(
        last.message.contains("of the stable version: the share of wrong predictions is higher by more than the 5.0 percentage points that are allowed"),
        "{}",
        last.message
    );
    assert_eq!(status.quarantine.len(), 1);
    let seen = last.seen.expect("what was known").0;
    assert!(
        seen["labelled"]["compared"]["canary"]["hits"].as_i64() > Some(9),
        "{seen}"
    );
    assert_eq!(jobs(&world), [""; 0], "its Jobs go with it");
}

#[test]
fn who_is_to_take_all_has_to_have_shown_by_labels_that_it_is_no_worse() {
    let mut world = rolling(&json!({}));
    read(&mut world, &[[[800, 100, 2], [2000, 250, 5]]]);
    world
        .all_ready()
        .settle()
        .traffic(1500, 0)
        .wait(61)
        .settle();
    assert_eq!(world.status().canary.expect("it rolls").step, 1);
    // What was read in the step before is not enough.
    assert!(
        analysed(&world)
            .contains("labels has not been read in this step yet, next at about 2026-11-01T"),
        "{}",
        analysed(&world)
    );
    let few = [[800, 100, 2], [2000, 250, 5]];
    read(&mut world, &[few, [[300, 10, 0], [300, 10, 0]]]);
    world.wait(40).settle();
    let said = analysed(&world);
    assert!(
        said.starts_with("110 of 1100 predictions of the canary could be compared by their labels yet; labels call 2/110 predictions wrong against 5/260")
            && said.contains("that the share of wrong predictions is higher by no more than 5.0 percentage points is not shown yet; about ")
            && said.contains("more labelled predictions of the canary would show it (about "),
        "{said}"
    );
    // Labels of the first step that come late count as well.
    for look in 1..=8 {
        if world.status().canary.is_none() {
            break;
        }
        world.all_ready().settle();
        read(
            &mut world,
            &[
                [
                    [800, 100 + 50 * look, 2 + look],
                    [2000, 250 + 100 * look, 5 + 2 * look],
                ],
                [[300, 10 + 20 * look, 0], [300, 10 + 20 * look, 0]],
            ],
        );
    }
    world.all_ready().settle();
    assert_eq!(
        world.stable().as_deref(),
        Some("churn-2"),
        "{}",
        world.said(READY)
    );
    assert_eq!(jobs(&world), [""; 0]);
}

#[test]
fn labels_that_cannot_be_read_are_told_and_tried_again_ever_more_seldom_and_decide_nothing() {
    let mut world = rolling(&json!({}));
    let mut pauses = Vec::new();
    for _ in 0..8 {
        let before = world.now;
        while world.observed.label_jobs.is_empty() {
            world.wait(10).settle();
        }
        pauses.push(world.now - before);
        fails(&mut world);
        world.wait(31).settle();
        let said = analysed(&world);
        assert!(
            said.contains("spec.rollout.analysis[0].labels cannot be read, and the step waits: LabelsUnreadable: the labels: s3://labels/churn: 403 Forbidden; it is tried again, next at about"),
            "{said}"
        );
        let canary = world
            .status()
            .canary
            .expect("it is neither taken back nor promoted");
        assert_eq!(canary.step, 0);
    }
    assert!(
        pauses.is_sorted_by(|one, next| *one <= *next + 10),
        "{pauses:?}"
    );
    assert!(
        (3500..=3700).contains(&pauses[7]),
        "an hour at most: {pauses:?}"
    );
    // What was good before is still known, and once they can be read again the step passes.
    read(&mut world, &[[[800, 100, 2], [2000, 250, 5]]]);
    assert_eq!(world.status().canary.expect("it rolls").step, 1);
    assert_eq!(seen(&world).failures, None);
}

#[test]
fn a_failure_after_good_evidence_passes_no_step_and_takes_nothing_back() {
    let mut world = World::rolling(spec(&json!({})));
    world.all_ready().settle().traffic(10, 0).wait(61).settle();
    read(&mut world, &[[[800, 200, 2], [2000, 400, 5]]]);
    while world.observed.label_jobs.is_empty() {
        world.wait(10).settle();
    }
    fails(&mut world);
    world.traffic(1500, 0).wait(40).settle();
    assert_eq!(
        world.status().canary.expect("it rolls").step,
        0,
        "{}",
        analysed(&world)
    );
    assert_eq!(seen(&world).compared.canary.requests, 200);
}

#[test]
fn a_report_that_is_read_twice_counts_once_and_a_restart_forgets_nothing() {
    let mut world = rolling(&json!({}));
    read(&mut world, &[[[800, 40, 2], [2000, 90, 5]]]);
    let before = seen(&world);
    // As after a restart: nothing is in memory but what the status has. The next report has the same labels.
    read(&mut world, &[[[900, 40, 2], [2200, 90, 5]]]);
    let after = seen(&world);
    assert_eq!(after.compared, before.compared);
    assert_eq!((after.looks, after.predictions), (2, 900));
    // Killed before the status is written, the report is read again.
    world.wait(120).settle();
    let name = job(&world).name_any();
    world.killed_after = Some(world.writes);
    read(&mut world, &[[[900, 60, 2], [2200, 120, 5]]]);
    assert_eq!(seen(&world).compared.canary.requests, 60);
    assert!(!jobs(&world).contains(&name));
}

#[test]
fn another_question_begins_anew_and_what_was_said_of_another_is_not_taken_for_it() {
    let mut world = rolling(&json!({}));
    read(&mut world, &[[[800, 40, 2], [2000, 90, 5]]]);
    world.wait(120).settle();
    let before = job(&world).name_any();
    world.edit(|spec| {
        let labels = spec.rollout.analysis[0].labels.as_mut().expect("labels");
        labels.column = "left".to_owned();
    });
    world.settle();
    let now = seen(&world);
    assert_eq!((now.looks, now.compared.canary.requests), (0, 0));
    assert!(!jobs(&world).contains(&before), "{:?}", jobs(&world));
    // What is asked for at least is no other question.
    read(&mut world, &[[[800, 40, 2], [2000, 90, 5]]]);
    world.edit(|spec| {
        let labels = spec.rollout.analysis[0].labels.as_mut().expect("labels");
        labels.min_samples = 30;
    });
    world.settle();
    assert_eq!(world.status().canary.expect("it rolls").step, 1);
    assert_eq!(seen(&world).compared.canary.requests, 40);
}

#[test]
fn what_stands_against_reading_them_is_told_with_its_field_and_no_job_is_made() {
    let rows = [
        (
            json!({"observe": null}),
            "spec.observe.logPayloads is not given",
        ),
        (
            json!({"observe": {"logPayloads": {"uri": "pvc://predictions/churn", "redact": ["prediction"]}}}),
            "spec.observe.logPayloads.redact names 'prediction'",
        ),
        (
            json!({"rollout": {
                "steps": [{"weight": 10, "hold": "60s"}],
                "analysis": analysis(&json!({"labels": {"uri": "pvc://labels/churn", "column": "churned"}})),
            }}),
            "spec.rollout.analysis[0].labels.uri: the PersistentVolumeClaim \"labels\" does not exist",
        ),
    ];
    for (more, part) in rows {
        let mut whole = spec(&json!({}));
        let all = whole.as_object_mut().expect("an object");
        all.extend(more.as_object().expect("an object").clone());
        let mut world = World::rolling(whole);
        world.all_ready().settle().traffic(1500, 0);
        world.wait(200).settle();
        assert_eq!(jobs(&world), [""; 0], "{part}");
        assert!(
            analysed(&world).contains(part),
            "{part}: {}",
            analysed(&world)
        );
        assert_eq!(world.stable().as_deref(), Some("churn-1"));
    }
}

#[test]
fn jobs_go_with_the_roll_out_and_where_nothing_is_compared_there_are_none() {
    let mut world = rolling(&json!({}));
    let name = job(&world).name_any();
    world
        .annotate(annotations::ABORT, "churn-2")
        .annotate(annotations::BY, "ann");
    world.settle();
    assert_eq!(jobs(&world), [""; 0], "{name}");

    let mut blue_green = spec(&json!({}));
    blue_green["rollout"] = json!({"strategy": "BlueGreen", "preview": {"hold": "300s"}, "analysis": analysis(&json!({}))});
    let mut world = World::rolling(blue_green);
    world.all_ready().settle().wait(200).settle();
    assert_eq!(jobs(&world), [""; 0]);
    assert!(world.status().canary.expect("it rolls").labelled.is_none());
}

#[test]
fn what_is_done_about_labels_comes_last_and_holds_up_nothing() {
    let mut world = World::rolling(spec(&json!({})));
    world.all_ready().settle().traffic(1500, 0).wait(61);
    let steps = world.plan().steps;
    let (last, others) = steps.split_last().expect("some");
    assert!(matches!(last, Step::Apply(Child::JobBeside(_))) && last.is_beside());
    assert!(
        others
            .iter()
            .all(|step| !matches!(step, Step::Apply(Child::JobBeside(_))))
    );
    assert!(Step::Delete(Doomed::JobBeside(String::new())).is_beside());
}
