//! Steps before the workers: in which order, how often, and what comes of them.

use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;
use serde_json::{Value, json};
use windlass_api::condition::{COMPLETE, FAILED, READY, RECONCILING, STALLED};
use windlass_api::{StepPhase, labels};

use super::world::{World, failure, trained};
use crate::fixtures::{assert_restricted, at, digest, object, steps, waiting};

/// `events` ─> extract ─> features ─> report, and labels that waits for extract.
pub fn pipeline() -> Value {
    json!({
        "steps": [
            {"name": "features", "inputs": ["extract"], "template": program("features")},
            {"name": "extract", "inputs": ["events"], "template": program("extract"), "retries": 4},
            {"name": "labels", "inputs": ["events"], "dependsOn": ["extract"], "template": program("labels")},
        ],
        "parameters": {"days": "7"},
    })
}

pub fn program(name: &str) -> Value {
    json!({"spec": {"containers": [{"name": "program", "image": format!("{name}:1"), "command": [name], "args": ["--all"]}]}})
}

fn arguments(job: &Job) -> Vec<String> {
    let pods = job
        .spec
        .as_ref()
        .and_then(|spec| spec.template.spec.as_ref());
    pods.and_then(|pods| pods.containers[0].args.clone())
        .expect("arguments")
}

fn follow(job: &Job, flag: &str) -> Vec<String> {
    let arguments = arguments(job);
    let pairs = arguments.windows(2);
    pairs
        .filter(|pair| pair[0] == flag)
        .map(|pair| pair[1].clone())
        .collect()
}

fn phases(world: &World) -> Vec<(String, StepPhase)> {
    let steps = world.status().steps.into_iter();
    steps.map(|step| (step.name, step.phase)).collect()
}

fn standing(rows: &[(&str, StepPhase)]) -> Vec<(String, StepPhase)> {
    rows.iter()
        .map(|(name, phase)| ((*name).to_owned(), *phase))
        .collect()
}

#[test]
fn steps_begin_when_what_they_name_is_there_side_by_side_and_the_workers_after_all() {
    use StepPhase::{Complete, Running, Waiting};
    let mut world = World::new(pipeline());
    assert_eq!(steps(&world.plan()), ["Apply Job/a-extract"]);
    world.settle();
    assert_eq!(
        phases(&world),
        standing(&[
            ("features", Waiting),
            ("extract", Running),
            ("labels", Waiting)
        ])
    );
    assert_eq!(
        world.said(READY),
        "False RunningSteps: 0 of 3 steps are complete; extract runs"
    );
    assert_eq!(world.status().steps[0].message, "waits for extract");
    world.step_ends("extract", '1').settle();
    assert_eq!(
        world.said(RECONCILING),
        "True RunningSteps: 1 of 3 steps are complete; features and labels run"
    );
    world.wait(9).step_ends("labels", '2').settle();
    assert_eq!((world.made(), world.status().attempt), (3, None));
    assert_eq!(
        phases(&world),
        standing(&[
            ("features", Running),
            ("extract", Complete),
            ("labels", Complete)
        ])
    );
    world.step_ends("features", '3').settle();
    assert_eq!(world.status().attempt, Some(1));
    let labels = &world.status().steps[2];
    assert_eq!((labels.started, labels.ended), (Some(at(0)), Some(at(9))));
    assert_eq!(labels.digest, Some(digest('2')));
    assert_eq!(
        labels.uri.as_deref(),
        Some("pvc://models/churn/a-01234567/steps/labels/a-labels-0")
    );
    world.succeeds(&trained()).settle();
    assert!(world.is(COMPLETE));
    assert_eq!(
        world.changes,
        [
            "made a-extract",
            "made a-features",
            "made a-labels",
            "made a-1",
            "version churn-1"
        ]
    );
    assert_eq!(world.writes, 5, "one for each change, and none between");
}

#[test]
fn a_step_is_run_by_the_agent_as_a_trainer_is_and_reads_by_digest_what_another_wrote() {
    let mut world = World::new(pipeline());
    let extract = world.job();
    assert_eq!(follow(&extract, "--input"), ["events=pvc://events/2026-10"]);
    assert_eq!(follow(&extract, "--input-format"), ["events=Parquet"]);
    assert_eq!(follow(&extract, "--parameter"), ["days=7"]);
    assert_eq!(
        follow(&extract, "--output"),
        ["pvc://models/churn/a-01234567/steps/extract/$(WINDLASS_POD_NAME)"]
    );
    let words = arguments(&extract);
    let at = words
        .iter()
        .position(|word| word == "--")
        .expect("a command");
    assert_eq!(words[at + 1..], ["extract", "--all"]);

    let labels = extract.metadata.labels.clone().expect("labels");
    assert_eq!(labels[labels::STEP], "extract");
    assert_eq!(labels[labels::TRAINING_JOB], "a");
    assert!(!labels.contains_key(labels::ATTEMPT));
    let owners = extract
        .metadata
        .owner_references
        .as_ref()
        .expect("an owner");
    assert_eq!(owners[0].uid, "0123456789abcdef");
    let spec = extract.spec.as_ref().expect("a spec");
    assert_eq!(spec.backoff_limit, Some(4));
    assert_eq!(spec.pod_replacement_policy.as_deref(), Some("Failed"));
    let rules = &spec.pod_failure_policy.as_ref().expect("a policy").rules;
    let actions: Vec<&str> = rules.iter().map(|rule| &*rule.action).collect();
    assert_eq!(actions, ["Ignore", "FailJob"]);
    let codes = rules[1].on_exit_codes.as_ref().expect("codes");
    assert_eq!(codes.container_name.as_deref(), Some("program"));
    assert_eq!(codes.values, [64, 65, 66]);
    let template = &spec.template;
    assert_eq!(
        template
            .metadata
            .as_ref()
            .and_then(|meta| meta.labels.clone()),
        Some(labels)
    );
    let pods = template.spec.as_ref().expect("pods");
    assert_restricted(pods);
    assert_eq!(pods.containers[0].image.as_deref(), Some("extract:1"));

    world.settle().step_ends("extract", '1');
    let next = world.jobs();
    assert_eq!(
        follow(&next[0], "--input"),
        ["extract=pvc://models/churn/a-01234567/steps/extract/a-extract-0"]
    );
    assert_eq!(
        follow(&next[0], "--input-digest"),
        [format!("extract={}", digest('1'))]
    );
    assert_eq!(
        follow(&next[1], "--input"),
        ["events=pvc://events/2026-10"],
        "labels only waits for extract"
    );
}

fn worker(world: &mut World) -> Job {
    world.settle().step_ends("extract", '1').settle();
    world.step_ends("labels", '2').step_ends("features", '3');
    world.job()
}

#[test]
fn workers_read_all_that_no_step_reads_or_what_they_name() {
    let job = worker(&mut World::new(pipeline()));
    assert_eq!(
        follow(&job, "--input-digest"),
        [
            format!("features={}", digest('3')),
            format!("labels={}", digest('2'))
        ]
    );
    assert_eq!(
        follow(&job, "--input"),
        [
            "features=pvc://models/churn/a-01234567/steps/features/a-features-0",
            "labels=pvc://models/churn/a-01234567/steps/labels/a-labels-0"
        ]
    );
    let mut spec = pipeline();
    spec["workers"] = json!({"inputs": ["labels", "events"], "template": program("train")});
    let job = worker(&mut World::new(spec));
    assert_eq!(
        follow(&job, "--input"),
        [
            "labels=pvc://models/churn/a-01234567/steps/labels/a-labels-0",
            "events=pvc://events/2026-10"
        ]
    );
}

#[test]
fn the_model_s_record_has_what_steps_wrote_even_where_the_report_was_cut() {
    let mut world = World::new(pipeline());
    worker(&mut world);
    let asked = {
        world.settle();
        world.status().fingerprint
    };
    // As the agent cuts it: the last inputs are gone.
    let features = json!({"name": "features", "uri": "pvc://models/churn/a-01234567/steps/features/a-features-0", "digest": digest('3'), "files": 1, "bytes": 3});
    let mut report: Value = serde_json::from_str(&trained()).expect("JSON");
    report["inputs"] = json!([features]);
    world.succeeds(&report.to_string()).settle();
    let version = &world.observed.versions[0].spec;
    let inputs = version.inputs.iter();
    let inputs: Vec<_> = inputs.map(|input| (&*input.name, &*input.digest)).collect();
    assert_eq!(
        inputs,
        [
            ("features", &*digest('3')),
            ("labels", &*digest('2')),
            ("extract", &*digest('1')),
        ]
    );
    assert_eq!(version.request_fingerprint, asked);
    assert_ne!(version.fingerprint, asked);
}

#[test]
fn data_is_checked_before_the_first_step_which_reads_it_by_its_digest() {
    let mut spec = pipeline();
    spec["inputs"] = json!([{"name": "events", "uri": "pvc://events/2026-10", "format": "Parquet", "checks": [{"column": "age", "min": "0"}]}]);
    let mut world = World::new(spec);
    assert_eq!(steps(&world.plan()), ["Apply Job/a-check"]);
    world.settle().data_holds();
    let extract = world.job();
    assert_eq!(
        follow(&extract, "--input-digest"),
        [format!("events={}", digest('e'))]
    );
    world.settle();
    assert_eq!(world.status().inputs[0].digest, digest('e'));
    world.step_ends("extract", '1').settle();
    assert_eq!(world.changes[0], "made a-check");
    assert_eq!(
        world
            .changes
            .iter()
            .filter(|change| *change == "made a-check")
            .count(),
        1
    );
}

#[test]
fn a_step_that_reports_the_files_of_others_as_its_own_fails() {
    let mut world = World::new(pipeline());
    world.settle();
    let digest = format!("sha256:{}", "1".repeat(64));
    let report = json!({"kind": "Training", "inputs": [],
        "output": {"uri": "pvc://models/churn/b-89abcdef/steps/extract/pod", "digest": digest, "files": 1, "bytes": 3}});
    world
        .job_ends("a-extract", 0, &report.to_string(), "Complete")
        .settle();
    let said = world.said(FAILED);
    assert!(
        said.contains("step extract") && said.contains("not below pvc://models/churn/a-01234567/"),
        "{said}"
    );
}

#[test]
fn a_step_that_fails_fails_the_job_names_itself_and_stops_the_others() {
    let mut world = World::new(pipeline());
    world.settle().step_ends("extract", '1').settle();
    world
        .step_fails("labels", 1, &failure("TrainerFailed", Some(1)))
        .settle();
    assert_eq!(
        world.said(FAILED),
        "True StepFailed: step labels failed at its first try: pod a-labels-0: TrainerFailed: it was TrainerFailed"
    );
    assert_eq!(
        world.changes.last().map(String::as_str),
        Some("deleted a-features")
    );
    assert_eq!(
        (world.made(), world.status().attempt),
        (3, None),
        "no worker is made"
    );
    let status = world.status();
    let [features, extract, labels] = &*status.steps else {
        panic!("three steps")
    };
    assert_eq!(extract.phase, StepPhase::Complete);
    assert_eq!(labels.phase, StepPhase::Failed);
    assert!(
        labels.message.contains("it was TrainerFailed"),
        "{}",
        labels.message
    );
    assert_eq!(features.phase, StepPhase::Waiting);
    assert_eq!(features.message, "it was stopped, as another step failed");
}

#[test]
fn of_several_tries_what_a_repetition_cannot_mend_is_told_and_disruptions_are_not_counted() {
    let mut world = World::new(pipeline());
    world.settle();
    let first = (*world.observed.pods[0]).clone();
    let more = |name: &str,
                change: &dyn Fn(
        k8s_openapi::api::core::v1::Pod,
    ) -> k8s_openapi::api::core::v1::Pod| {
        let mut pod = change(first.clone());
        pod.metadata.name = Some(name.to_owned());
        Arc::new(pod)
    };
    let failed = |reason: &'static str, code| {
        move |pod| crate::fixtures::ended(pod, "program", code, &failure(reason, Some(code)))
    };
    let pods = [
        more("a-extract-x", &failed("TrainerFailed", 1)),
        more("a-extract-y", &|pod| {
            crate::fixtures::disrupted(failed("Interrupted", 143)(pod))
        }),
    ];
    world.observed.pods.extend(pods);
    let mine = Arc::new(failed("InputNotFound", 66)(first.clone()));
    world.observed.pods[0] = mine;
    let job = Arc::make_mut(&mut world.observed.children[0]);
    job.status = Some(object(
        json!({"conditions": [{"type": "Failed", "status": "True", "lastTransitionTime": at(0)}]}),
    ));
    world.settle();
    assert_eq!(
        world.said(FAILED),
        "True StepFailed: step extract failed at its try 2: pod a-extract-0: InputNotFound: it was InputNotFound"
    );
}

#[test]
fn a_step_whose_word_nobody_could_read_is_run_again() {
    let mut world = World::new(pipeline());
    world.settle().step_is_not_known("extract").settle();
    assert_eq!(
        world.changes,
        ["made a-extract", "deleted a-extract", "made a-extract"]
    );
    assert_eq!(world.status().steps[1].started, Some(at(15)));
    world.step_ends("extract", '1').settle();
    assert_eq!(world.made(), 4);
}

#[test]
fn a_step_whose_job_somebody_deleted_is_made_again_once_its_pod_is_gone() {
    let mut world = World::new(pipeline());
    world.settle();
    world.observed.children.clear();
    world.settle();
    assert_eq!(world.made(), 1);
    assert_eq!(
        world.said(READY),
        "False RunningSteps: 0 of 3 steps are complete; waiting until pod a-extract-0 is gone"
    );
    world.observed.pods.clear();
    world.settle();
    assert_eq!(world.changes, ["made a-extract", "made a-extract"]);
}

#[test]
fn a_suspended_job_keeps_what_its_steps_made_and_runs_the_others_anew() {
    let mut world = World::new(pipeline());
    world.settle().step_ends("extract", '1').settle();
    // Its word is not read before the job is suspended.
    world.step_ends("labels", '2').suspend(true).settle();
    assert_eq!(
        world.changes.last().map(String::as_str),
        Some("deleted a-features")
    );
    assert_eq!(
        phases(&world),
        standing(&[
            ("features", StepPhase::Waiting),
            ("extract", StepPhase::Complete),
            ("labels", StepPhase::Complete)
        ])
    );
    // Jobs and pods of what has ended are not needed any more.
    world.observed.children.clear();
    world.pods_go().settle();
    let made = world.made();
    world.suspend(false).settle();
    assert_eq!(
        world.changes.last().map(String::as_str),
        Some("made a-features")
    );
    assert_eq!(world.made(), made + 1);
    world.step_ends("features", '3').settle();
    assert_eq!(world.status().attempt, Some(1));
}

#[test]
fn a_step_that_failed_while_the_job_was_suspended_fails_it_when_it_is_resumed() {
    let mut world = World::new(pipeline());
    world
        .settle()
        .step_fails("extract", 65, &failure("ColumnNotFound", None));
    world.suspend(true).settle();
    assert!(!world.is(FAILED));
    world.suspend(false).settle();
    assert!(
        world.said(FAILED).contains("step extract failed"),
        "{}",
        world.said(FAILED)
    );
}

#[test]
fn a_deadline_stops_steps_and_keeps_what_they_made() {
    let mut spec = pipeline();
    spec["activeDeadlineSeconds"] = json!(60);
    let mut world = World::new(spec);
    world.settle();
    assert_eq!(world.plan().again.map(|left| left.as_secs()), Some(60));
    world
        .wait(59)
        .step_ends("extract", '1')
        .settle()
        .wait(1)
        .settle();
    assert!(world.said(FAILED).starts_with("True DeadlineExceeded"));
    assert!(
        world
            .observed
            .children
            .iter()
            .all(|child| crate::jobs::has_ended(child))
    );
    assert_eq!(
        world.status().steps[0].message,
        "it was stopped at the deadline of the job"
    );
    assert_eq!(world.status().steps[1].phase, StepPhase::Complete);
}

#[test]
fn a_step_that_cannot_start_is_said_and_holds_up_no_other() {
    let mut world = World::new(pipeline());
    world.settle().step_ends("extract", '1').settle();
    for pod in &mut world.observed.pods {
        if pod.metadata.name.as_deref() == Some("a-labels-0") {
            *pod = Arc::new(waiting((**pod).clone(), "ImagePullBackOff"));
        }
    }
    world.step_ends("features", '3').settle();
    assert!(
        world
            .said(STALLED)
            .starts_with("True ImageNotFound: pod a-labels-0"),
        "{}",
        world.said(STALLED)
    );
    assert_eq!(world.status().steps[0].phase, StepPhase::Complete);
}

#[test]
fn what_is_wrong_in_steps_fails_the_job_before_anything_is_made() {
    let circle = json!([
        {"name": "extract", "dependsOn": ["features"], "template": program("a")},
        {"name": "features", "inputs": ["extract"], "template": program("b")},
    ]);
    let no_command = json!([{"name": "extract", "template": {"spec": {"containers": [{"name": "program", "image": "x"}]}}}]);
    let unknown = json!([{"name": "extract", "template": {"spec": {"nodeselector": {}, "containers": [{"name": "p", "image": "x", "command": ["x"]}]}}}]);
    let rows = [
        (
            circle,
            "True StepCycle: spec.steps: extract → features → extract: ",
        ),
        (
            no_command,
            "True InvalidTemplate: spec.steps[0].template.spec.containers[0].command: is required",
        ),
        (
            unknown,
            "True InvalidTemplate: spec.steps[0].template.spec.nodeselector: is not a field",
        ),
    ];
    for (steps, expected) in rows {
        let mut world = World::new(json!({ "steps": steps }));
        world.settle();
        assert!(
            world.said(FAILED).starts_with(expected),
            "{}",
            world.said(FAILED)
        );
        assert_eq!(world.changes, [""; 0]);
    }
}

#[test]
fn a_service_account_that_a_step_names_has_to_be_there() {
    let mut spec = pipeline();
    spec["steps"][1]["template"]["spec"]["serviceAccountName"] = json!("reader");
    let mut world = World::new(spec);
    world.settle();
    let expected = "True ServiceAccountNotFound: spec.steps[1].template.spec.serviceAccountName: ";
    assert!(
        world.said(STALLED).starts_with(expected),
        "{}",
        world.said(STALLED)
    );
    Arc::make_mut(&mut world.observed.service_accounts).insert("reader".to_owned());
    world.settle();
    assert_eq!(world.made(), 1);
    // A step that has ended does not need it any more.
    world.step_ends("extract", '1').settle();
    Arc::make_mut(&mut world.observed.service_accounts).remove("reader");
    world
        .step_ends("labels", '2')
        .step_ends("features", '3')
        .settle();
    assert_eq!(world.status().attempt, Some(1));
}

#[test]
fn a_crash_between_a_step_s_job_and_the_status_makes_no_second_job() {
    let mut world = World::new(pipeline());
    world.reconcile_until(1);
    assert_eq!((world.writes, world.made()), (0, 1));
    world.settle();
    assert_eq!(world.made(), 1);
    // The agent's image stays, though the operator was upgraded.
    world.observed.agent_image = "agent:2".to_owned();
    world.step_ends("extract", '1');
    let init = |job: &Job| {
        let pods = job
            .spec
            .as_ref()
            .and_then(|spec| spec.template.spec.clone());
        let init = pods.and_then(|pods| pods.init_containers).expect("init");
        init[0].image.clone()
    };
    assert_eq!(init(&world.job()).as_deref(), Some("agent:1"));
}
