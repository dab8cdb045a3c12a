//! Steps and runs that were made before from the same are taken over.

use std::sync::Arc;

use serde_json::{Value, json};
use windlass_api::condition::{COMPLETE, READY};
use windlass_api::{StepPhase, TrainingJob, TrainingJobStatus};

use super::steps::program;
use super::world::{World, job, trained};
use crate::fixtures::{at, digest, object, steps};

type Change<'a> = &'a dyn Fn(&mut Value);

fn pipeline() -> Value {
    json!({"steps": [
        {"name": "extract", "inputs": ["events"], "reuse": "IfUnchanged", "template": program("extract")},
        {"name": "features", "inputs": ["extract"], "reuse": "IfUnchanged", "template": program("features")},
    ], "parameters": {"days": "7"}})
}

/// Another job, whose steps stand so.
fn other(name: &str, status: TrainingJobStatus) -> Arc<TrainingJob> {
    let mut other = job(pipeline());
    other.metadata.name = Some(name.to_owned());
    other.metadata.uid = Some(format!("uid-of-{name}"));
    other.status = Some(status);
    Arc::new(other)
}

/// A run whose two steps ended well.
fn ran(spec: Value) -> TrainingJobStatus {
    let mut world = World::new(spec);
    world.settle().data_holds().settle();
    world.step_ends("extract", '1').settle();
    world.step_ends("features", '2').settle();
    assert_eq!(world.status().attempt, Some(1));
    world.status()
}

/// What is left to be made by a job of this spec beside such a run.
fn made_beside(spec: Value, others: Vec<Arc<TrainingJob>>) -> World {
    let mut world = World::new(spec);
    world.observed.others = others;
    world.settle().data_holds().settle();
    world
}

#[test]
fn steps_that_another_job_ran_on_the_same_are_taken_over_and_say_from_which() {
    let world = made_beside(pipeline(), vec![other("b", ran(pipeline()))]);
    assert_eq!(
        world.changes,
        ["made a-check", "made a-1"],
        "inputs are digested, no step runs"
    );
    let [extract, features] = &*world.status().steps.clone() else {
        panic!("two steps")
    };
    for (step, digit) in [(extract, '1'), (features, '2')] {
        assert_eq!(step.phase, StepPhase::Reused);
        assert_eq!(step.reused_from.as_deref(), Some("b"));
        assert_eq!(step.message, "TrainingJob b made its output from the same");
        assert_eq!(step.digest, Some(digest(digit)));
        assert!(
            step.uri
                .as_deref()
                .is_some_and(|uri| uri.contains(&step.name))
        );
        assert!(step.fingerprint.is_some());
    }
    // From a third, the first is named still.
    let third = made_beside(pipeline(), vec![other("c", world.status())]);
    assert_eq!(third.status().steps[1].reused_from.as_deref(), Some("b"));
}

#[test]
fn what_is_not_the_same_runs() {
    let base = ran(pipeline());
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut spec = pipeline();
        change(&mut spec);
        spec
    };
    let rows: [(&str, Change<'_>, &[&str]); 6] = [
        (
            "a parameter",
            &|spec| spec["parameters"]["days"] = json!("8"),
            &["made a-extract"],
        ),
        (
            "the code",
            &|spec| spec["source"] = json!({"repository": "https://git/x", "revision": "2"}),
            &["made a-extract"],
        ),
        (
            "the window",
            &|spec| {
                spec["window"] =
                    json!({"start": "2026-01-01T00:00:00Z", "end": "2026-02-01T00:00:00Z"});
            },
            &["made a-extract"],
        ),
        (
            "its template",
            &|spec| spec["steps"][1]["template"] = program("other"),
            &["made a-features"],
        ),
        (
            "that it may be reused",
            &|spec| spec["steps"][1]["reuse"] = json!("Never"),
            &["made a-features"],
        ),
        (
            "only its retries",
            &|spec| spec["steps"][1]["retries"] = json!(9),
            &["made a-1"],
        ),
    ];
    for (what, change, expected) in rows {
        let world = made_beside(changed(change), vec![other("b", base.clone())]);
        assert_eq!(world.changes[1..], *expected, "{what}");
    }
    // Other data under the same address.
    let mut status = base.clone();
    status.steps[0].fingerprint = Some(digest('0'));
    let world = made_beside(pipeline(), vec![other("b", status)]);
    assert_eq!(world.changes[1..], ["made a-extract"]);
    // Not ended well, or without an output, or of the job itself.
    for phase in [StepPhase::Running, StepPhase::Failed, StepPhase::Waiting] {
        let mut status = base.clone();
        status.steps[0].phase = phase;
        let world = made_beside(pipeline(), vec![other("b", status)]);
        assert_eq!(world.changes[1..], ["made a-extract"], "{phase:?}");
    }
    let mut status = base.clone();
    status.steps[0].digest = None;
    let world = made_beside(pipeline(), vec![other("b", status)]);
    assert_eq!(world.changes[1..], ["made a-extract"]);
}

#[test]
fn what_a_step_reads_decides_by_its_content_and_not_by_its_address() {
    let base = ran(pipeline());
    let mut spec = pipeline();
    spec["inputs"] = json!([{"name": "events", "uri": "pvc://events/copy", "format": "Parquet"}]);
    let world = made_beside(spec, vec![other("b", base.clone())]);
    assert_eq!(world.changes[1..], ["made a-1"]);
    // A first step that is run anew and writes the same: the second is not; where it writes something else, it is.
    let mut spec = pipeline();
    spec["steps"][0]["reuse"] = json!("Never");
    let rows = [
        ('1', "made a-1", StepPhase::Reused),
        ('7', "made a-features", StepPhase::Running),
    ];
    for (wrote, next, phase) in rows {
        let mut world = made_beside(spec.clone(), vec![other("b", base.clone())]);
        assert_eq!(world.changes[1..], ["made a-extract"]);
        world.step_ends("extract", wrote).settle();
        assert_eq!(world.changes[2..], [next]);
        assert_eq!(world.status().steps[1].phase, phase);
    }
}

#[test]
fn of_several_runs_the_last_is_taken_in_whatever_order_they_are_known() {
    let early = ran(pipeline());
    let mut late = early.clone();
    for step in &mut late.steps {
        step.ended = Some(at(99));
        step.uri = Some(format!("pvc://models/late/{}", step.name));
    }
    for order in [[0, 1], [1, 0]] {
        let both = [other("z", early.clone()), other("b", late.clone())];
        let world = made_beside(pipeline(), order.map(|at| both[at].clone()).to_vec());
        assert_eq!(world.status().steps[0].reused_from.as_deref(), Some("b"));
    }
}

#[test]
fn a_step_that_asks_for_no_reuse_can_be_reused_though_its_data_was_never_checked() {
    let mut spec = pipeline();
    for at in 0..2 {
        spec["steps"][at]["reuse"] = json!("Never");
    }
    let base = ran(spec);
    assert!(base.inputs.is_empty(), "nothing was checked");
    let world = made_beside(pipeline(), vec![other("b", base)]);
    assert_eq!(world.changes, ["made a-check", "made a-1"]);
}

fn with_reuse(more: Value) -> Value {
    let mut spec = json!({"reuse": "IfUnchanged"});
    let (Value::Object(all), Value::Object(more)) = (&mut spec, more) else {
        panic!("objects")
    };
    all.extend(more);
    spec
}

/// A job that ran, of this spec, and its version.
fn trained_before(spec: Value) -> World {
    let mut world = World::new(spec);
    world.settle().data_holds().settle();
    world.succeeds(&trained()).settle();
    assert!(world.is(COMPLETE));
    world
}

#[test]
fn a_run_whose_model_was_made_from_the_same_trains_nothing() {
    let before = trained_before(json!({}));
    let mut world = World::new(with_reuse(json!({})));
    world.observed.versions = before.observed.versions.clone();
    assert_eq!(
        steps(&world.plan()),
        ["Apply Job/a-check"],
        "the data's digest has to be known"
    );
    world.settle().data_holds().settle();
    assert_eq!(world.changes, ["made a-check"]);
    for condition in [READY, COMPLETE] {
        assert_eq!(
            world.said(condition),
            "True Reused: version churn-1 of TrainingJob a was made from the same; nothing was trained"
        );
    }
    let status = world.status();
    assert_eq!(status.model_version.as_deref(), Some("churn-1"));
    assert_eq!(status.fingerprint, before.status().fingerprint);
    assert_eq!((status.attempt, world.observed.versions.len()), (None, 1));
}

#[test]
fn a_version_that_is_to_go_is_not_taken() {
    let before = trained_before(json!({}));
    let mut world = World::new(with_reuse(json!({})));
    world.observed.versions = before.observed.versions.clone();
    let version = Arc::make_mut(&mut world.observed.versions[0]);
    let status = version.status.get_or_insert_default();
    status.retiring = Some(object(json!({"since": at(0)})));
    world.settle().data_holds().settle();
    assert_eq!(world.changes, ["made a-check", "made a-1"]);
}

#[test]
fn a_run_that_differs_or_does_not_ask_trains() {
    let before = trained_before(json!({}));
    let gate = json!({"dataset": {"uri": "pvc://events/holdout", "format": "CSV", "label": "y"}, "metrics": [{"name": "rocAuc", "min": "0.5"}]});
    let rows = [
        (
            "it does not ask",
            json!({"inputs": [{"name": "events", "uri": "pvc://events/2026-10", "format": "Parquet", "checks": [{"column": "a", "notNull": true}]}]}),
        ),
        (
            "a parameter",
            with_reuse(json!({"parameters": {"days": "8"}})),
        ),
        (
            "what is good enough",
            with_reuse(json!({ "validation": gate })),
        ),
        (
            "the workers",
            with_reuse(json!({"workers": {"template": program("other")}})),
        ),
        (
            "a step",
            with_reuse(
                json!({"steps": [{"name": "extract", "reuse": "Never", "template": program("x")}]}),
            ),
        ),
    ];
    for (what, spec) in rows {
        let mut world = World::new(spec);
        world.observed.versions = before.observed.versions.clone();
        world
            .settle()
            .data_holds()
            .settle()
            .step_ends("extract", '1')
            .settle();
        assert_eq!(world.status().attempt, Some(1), "{what}");
    }
    // Other data under the same address.
    let mut world = World::new(with_reuse(json!({})));
    let mut version = (*before.observed.versions[0]).clone();
    version.spec.request_fingerprint = Some(digest('0'));
    world.observed.versions = vec![Arc::new(version)];
    world.settle().data_holds().settle();
    assert_eq!(world.status().attempt, Some(1));
}

#[test]
fn a_run_whose_steps_differ_trains_though_no_worker_reads_what_they_wrote() {
    let with = |program_of_step: &str| {
        with_reuse(json!({
            "steps": [{"name": "extract", "template": program(program_of_step)}],
            "workers": {"inputs": ["events"], "template": program("train")},
        }))
    };
    let run = |spec: Value| {
        let mut world = World::new(spec);
        world.settle().data_holds().settle();
        world
    };
    let mut before = run(with("one"));
    before.step_ends("extract", '1').settle();
    let pods = &mut before.observed.pods;
    let worker = Arc::make_mut(pods.last_mut().expect("a worker"));
    *worker = crate::fixtures::ended(worker.clone(), "program", 0, &trained());
    let last = before.observed.children.last_mut().expect("a Job");
    Arc::make_mut(last).status = Some(crate::fixtures::object(
        json!({"conditions": [{"type": "Complete", "status": "True", "lastTransitionTime": at(0)}]}),
    ));
    before.settle();
    assert!(before.is(COMPLETE));
    for (program, attempt) in [("one", None), ("other", Some(1))] {
        let mut world = run(with(program));
        world.observed.versions = before.observed.versions.clone();
        world.step_ends("extract", '1').settle();
        assert_eq!(world.status().attempt, attempt, "{program}");
    }
}

#[test]
fn a_version_that_is_registered_while_an_attempt_runs_does_not_end_it() {
    let before = trained_before(json!({}));
    let mut world = World::new(with_reuse(json!({})));
    world.settle().data_holds();
    // The Job of the attempt is made, and we stop before we write it down.
    world.reconcile_until(1);
    assert_eq!(world.changes.last().map(String::as_str), Some("made a-1"));
    world.observed.versions = before.observed.versions.clone();
    world.settle();
    assert_eq!(world.status().attempt, Some(1));
    assert!(!world.is(COMPLETE));
}

#[test]
fn a_reused_run_ends_after_its_steps() {
    let spec = || with_reuse(pipeline());
    let mut before = World::new(spec());
    before.settle().data_holds().settle();
    before.step_ends("extract", '1').settle();
    before.step_ends("features", '2').settle();
    let mut report: Value = serde_json::from_str(&trained()).expect("JSON");
    report["inputs"] = json!([]);
    before.succeeds(&report.to_string()).settle();
    assert!(before.is(COMPLETE));
    let mut world = World::new(spec());
    world.observed.versions = before.observed.versions.clone();
    world.observed.others = vec![other("b", before.status())];
    world.settle().data_holds().settle();
    assert_eq!(world.changes, ["made a-check"]);
    assert!(world.said(COMPLETE).starts_with("True Reused"));
    assert_eq!(world.status().steps[1].phase, StepPhase::Reused);
}
