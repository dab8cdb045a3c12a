//! That the run of a training that made no version is shown where `spec.tracking` asks for it.

use std::sync::Arc;

use kube::ResourceExt;
use serde_json::{Value, json};
use windlass_api::condition::{COMPLETE, FAILED, PUBLISHED};
use windlass_api::labels;

use super::world::{World, failure, trained};
use crate::fixtures::{assert_restricted, at, ended, object, pod};
use crate::publication::ROLE;
use crate::{Child, Step};

fn tracked() -> World {
    tracked_as(&json!({}))
}

/// With further fields of its spec.
fn tracked_as(more: &Value) -> World {
    let mut spec = json!({
        "parameters": {"learning_rate": "0.1"}, "backoffLimit": 0,
        "tracking": {"mlflow": {"uri": "http://mlflow.growth:5000", "secretName": "mlflow", "registeredModel": "churn"}},
    });
    if let (Some(spec), Some(more)) = (spec.as_object_mut(), more.as_object()) {
        spec.extend(more.clone());
    }
    World::new(spec)
}

fn failed() -> World {
    let mut world = tracked();
    world.settle().fails(1, &failure("TrainerFailed", Some(1)));
    world.settle();
    assert!(world.is(FAILED));
    world
}

/// Lets the Job that shows it end, its agent with this last word.
fn end(world: &mut World, exit_code: i32, message: &str) {
    let of_role = |labels: &std::collections::BTreeMap<String, String>| {
        labels.get(labels::ROLE).is_some_and(|role| role == ROLE)
    };
    let mut jobs = world.observed.children.iter_mut();
    let job = jobs.find(|job| of_role(job.labels())).expect("a Job");
    let job = Arc::make_mut(job);
    let type_ = if exit_code == 0 { "Complete" } else { "Failed" };
    job.status = Some(object(
        json!({"conditions": [{"type": type_, "status": "True", "lastTransitionTime": at(0)}]}),
    ));
    let (name, uid, labels) = (job.name_any(), job.uid(), job.labels().clone());
    world.observed.pods.retain(|pod| !of_role(pod.labels()));
    let mut pod = ended(
        pod(&format!("{name}-x"), &labels),
        "windlass-agent",
        exit_code,
        message,
    );
    pod.metadata.owner_references = Some(vec![object(
        json!({"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": uid}),
    )]);
    world.observed.pods.push(Arc::new(pod));
}

#[test]
fn the_run_of_a_training_that_failed_is_shown_by_a_job_that_alone_has_the_secret() {
    let mut world = tracked();
    world.settle().fails(1, &failure("TrainerFailed", Some(1)));
    // It has failed first, and is shown then.
    while !world.is(FAILED) {
        assert!(world.reconcile());
    }
    let plan = world.plan();
    let [Step::Apply(Child::Job(job))] = plan.steps.as_slice() else {
        panic!("one Job: {:?}", plan.steps)
    };
    let template = &job.spec.as_ref().expect("a spec").template;
    let spec = template.spec.as_ref().expect("a spec");
    assert_restricted(spec);
    let arguments = spec.containers[0].args.clone().expect("arguments");
    let arguments = arguments.join(" ");
    assert!(arguments.contains("--training-job"), "{arguments}");
    // Nothing is registered.
    for argument in ["registered-model", "alias"] {
        assert!(!arguments.contains(argument), "{arguments}");
    }
    let secret = spec.containers[0].env_from.as_ref().expect("the Secret");
    assert_eq!(secret.len(), 1);
    let annotations = template.metadata.as_ref().expect("metadata");
    let record = &annotations.annotations.as_ref().expect("a record")["windlass.dev/record"];
    let record: windlass_api::TrainingJob = serde_json::from_str(record).expect("a TrainingJob");
    assert_eq!(record.spec.parameters["learning_rate"], "0.1");
    assert_eq!(record.spec.tracking, None);
    let status = record.status.expect("a status");
    assert_eq!(
        (status.conditions.len(), status.conditions[0].type_.as_str()),
        (1, FAILED)
    );
    assert!(job.name_any().len() <= 63);

    world.settle();
    assert!(world.said(PUBLISHED).starts_with("Unknown Publishing"));
    let message = json!({"kind": "Publish", "runId": "r1", "wrote": 3}).to_string();
    end(&mut world, 0, &message);
    world.settle();
    assert!(
        world.said(PUBLISHED).starts_with("True"),
        "{}",
        world.said(PUBLISHED)
    );
    let shown = world.status().tracking.expect("it is shown");
    assert_eq!((&*shown.run_id, shown.model_version), ("r1", None));
    // Once shown, it is looked at no more.
    let writes = world.writes;
    world.wait(3600).settle();
    assert_eq!(world.writes, writes);
    assert!(world.plan().steps.is_empty());
}

#[test]
fn a_server_that_does_not_answer_delays_what_it_shows_and_nothing_else() {
    let mut world = failed();
    let message =
        json!({"kind": "Failure", "reason": "TrackingUnreachable", "message": "nobody answers"});
    end(&mut world, 1, &message.to_string());
    world.settle();
    assert!(
        world
            .said(PUBLISHED)
            .starts_with("False TrackingUnreachable: nobody answers. It is tried again"),
        "{}",
        world.said(PUBLISHED)
    );
    assert!(world.is(FAILED));
    // The Job goes by its own time to live, and the next one follows.
    let is_publication = |labels: &std::collections::BTreeMap<String, String>| {
        labels.get(labels::ROLE).is_some_and(|role| role == ROLE)
    };
    world
        .observed
        .children
        .retain(|job| !is_publication(job.labels()));
    world
        .observed
        .pods
        .retain(|pod| !is_publication(pod.labels()));
    assert_eq!(world.jobs().len(), 1);
}

#[test]
fn a_training_that_made_a_version_or_that_nobody_tracks_is_not_shown_by_itself() {
    let mut world = tracked();
    world.settle().succeeds(&trained()).settle();
    assert!(world.plan().steps.is_empty());
    assert_eq!(world.said(PUBLISHED), "absent");
    // Without a model there is no version.
    let mut world = tracked_as(&json!({"model": null, "output": null}));
    world.settle().succeeds(&trained()).settle();
    assert!(world.is(COMPLETE));
    assert!(world.said(PUBLISHED).starts_with("Unknown Publishing"));
    let message = json!({"kind": "Publish", "runId": "r1", "wrote": 3}).to_string();
    end(&mut world, 0, &message);
    world.settle();
    assert!(world.said(PUBLISHED).starts_with("True"));
    let mut world = World::new(json!({"backoffLimit": 0}));
    world.settle().fails(1, &failure("TrainerFailed", Some(1)));
    world.settle();
    assert!(world.is(FAILED) && world.plan().steps.is_empty());
}
