//! A version whose manifest names no digest.

use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::PodSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;
use serde_json::{Value, json};
use windlass_api::condition::{READY, RECONCILING, STALLED};
use windlass_api::{Action, ModelDeployment, ModelVersion, ModelVersionStatus, labels};

use super::world;
use crate::fixtures::{as_kept, assert_restricted, at, digest, ended, object, pod, said};
use crate::modelversion::files::{Files, files};
use crate::modelversion::{Observed, fingerprint, plan};
use crate::{Child, Doomed, Plan, Step};

/// `churn-2`, trained elsewhere, of which it is known where it lies and how it is to be judged.
fn from_elsewhere() -> Observed {
    let mut observed = world(false).observed;
    let spec = &mut this(&mut observed).spec;
    (spec.artifact.digest, spec.fingerprint) = (None, None);
    observed
}

fn this(observed: &mut Observed) -> &mut ModelVersion {
    Arc::make_mut(&mut observed.version)
}

fn planned(observed: &Observed) -> Plan<ModelVersionStatus> {
    let mut kept = observed.clone();
    as_kept(&mut kept.registration_pods, &mut kept.registration);
    plan(&kept, at(0))
}

/// Writes a plan's status; the Job that it asks for.
fn done(observed: &mut Observed) -> Option<Job> {
    let plan = planned(observed);
    this(observed).status = Some(plan.status);
    let mut jobs = plan.steps.into_iter().map(|step| match step {
        Step::Apply(Child::Job(job)) => *job,
        other => panic!("not a step of a version that is registered: {other:?}"),
    });
    let job = jobs.next();
    assert!(jobs.next().is_none());
    job
}

/// The Job is there, and has ended with this word of the agent's.
fn ends(observed: &mut Observed, mut job: Job, exit_code: i32, message: &str) {
    let type_ = if exit_code == 0 { "Complete" } else { "Failed" };
    job.metadata.uid = Some("j-1".to_owned());
    job.status = Some(object(
        json!({"conditions": [{"type": type_, "status": "True", "lastTransitionTime": at(0)}]}),
    ));
    let name = format!("{}-x", job.name_any());
    let mut pod = ended(
        pod(&name, job.labels()),
        "windlass-agent",
        exit_code,
        message,
    );
    pod.metadata.owner_references = Some(vec![OwnerReference {
        uid: "j-1".to_owned(),
        ..OwnerReference::default()
    }]);
    observed.registration_pods = vec![Arc::new(pod)];
    observed.registration = Some(Arc::new(job));
}

/// A ModelDeployment to which this happened.
fn deployment_with(event: &Value) -> ModelDeployment {
    object(json!({
        "apiVersion": "windlass.dev/v1alpha1", "kind": "ModelDeployment",
        "metadata": {"name": "churn", "namespace": "growth"},
        "spec": {"model": "churn"},
        "status": {"history": [event]}
    }))
}

fn found() -> String {
    json!({"kind": "Fetch", "tree": {"uri": "pvc://models/churn/2", "digest": digest('7'), "files": 3, "bytes": 1234}}).to_string()
}

fn pods_of(job: &Job) -> &PodSpec {
    let spec = job
        .spec
        .as_ref()
        .and_then(|spec| spec.template.spec.as_ref());
    spec.expect("a pod")
}

fn status(observed: &Observed) -> ModelVersionStatus {
    observed.version.status.clone().unwrap_or_default()
}

fn said_of(observed: &Observed, type_: &str) -> String {
    said(&status(observed).conditions, type_)
}

#[test]
fn its_files_are_digested_before_anything_else() {
    let mut observed = from_elsewhere();
    let job = done(&mut observed).expect("a Job");
    assert_eq!(job.name_any(), "churn-2-digest");
    assert_eq!(job.labels()[labels::ROLE], "registration");
    let pods = pods_of(&job);
    assert_restricted(pods);
    let uri = observed.version.spec.artifact.uri.0.clone();
    let arguments = pods.containers[0].args.clone().unwrap_or_default();
    assert_eq!(arguments, ["digest".to_owned(), uri]);
    let expected = "Registering: Job churn-2-digest digests its files";
    assert_eq!(said_of(&observed, READY), format!("False {expected}"));
    assert_eq!(said_of(&observed, RECONCILING), format!("True {expected}"));
    // Nothing is recorded of what is not known, and nothing is known by an empty name.
    assert!(status(&observed).decisions.is_empty());
    assert_eq!(fingerprint(&observed.version), "");

    // One Job, until it ends.
    observed.registration = Some(Arc::new(job));
    let again = planned(&observed);
    assert!(again.steps.is_empty());
    assert_eq!(again.status, status(&observed));
}

#[test]
fn an_image_is_mounted_to_be_digested_as_the_registry_has_it_now() {
    let mut observed = from_elsewhere();
    let uri = "oci://registry.example/churn:2#models/2";
    this(&mut observed).spec.artifact.uri = uri.into();
    let job = done(&mut observed).expect("a Job");
    let pods = pods_of(&job);
    assert_restricted(pods);
    let agent = &pods.containers[0];
    let arguments = agent.args.clone().unwrap_or_default().join(" ");
    assert_eq!(arguments, format!("digest {uri} --mounted /windlass/image"));
    let mounts = agent.volume_mounts.iter().flatten();
    let mount = mounts
        .clone()
        .find(|mount| mount.mount_path == "/windlass/image");
    let mount = mount.expect("the image");
    assert_eq!(mount.sub_path.as_deref(), Some("models/2"));
    let volumes = pods.volumes.iter().flatten();
    let volume = volumes.clone().find(|volume| volume.name == mount.name);
    let image = volume.and_then(|volume| volume.image.clone());
    let expected = object(json!({"reference": "registry.example/churn:2", "pullPolicy": "Always"}));
    assert_eq!(image, Some(expected));
}

#[test]
fn what_was_found_is_on_record_and_what_every_load_is_held_against() {
    let mut observed = from_elsewhere();
    let job = done(&mut observed).expect("a Job");
    ends(&mut observed, job, 0, &found());
    assert!(done(&mut observed).is_none());
    let now = status(&observed);
    let artifact = now.artifact.expect("what was found");
    assert_eq!(
        (artifact.digest, artifact.files, artifact.bytes),
        (digest('7'), 3, 1234)
    );
    assert_eq!(observed.version.digest(), Some(&*digest('7')));
    assert_eq!(fingerprint(&observed.version), digest('7'));
    let [created] = &now.decisions[..] else {
        panic!("one record: {:?}", now.decisions)
    };
    assert_eq!(created.action, Action::Created);
    assert_eq!(created.evidence, Some(digest('7')));

    // Then as any other, also when the Job and its pods are gone.
    observed.registration = None;
    observed.registration_pods.clear();
    let job = done(&mut observed).expect("a Job");
    assert_eq!(job.labels()[labels::ROLE], "validation");
    let fetch = pods_of(&job).init_containers.iter().flatten();
    let mut arguments = fetch.filter_map(|container| container.args.clone());
    assert!(arguments.any(|all| all.join(" ").contains(&format!("--digest {}", digest('7')))));
    assert_eq!(status(&observed).decisions.len(), 1);
}

#[test]
fn a_version_that_is_only_to_be_on_record_is_ready_once_it_is_digested() {
    let mut observed = from_elsewhere();
    this(&mut observed).spec.validation = None;
    let job = done(&mut observed).expect("a Job");
    assert!(said_of(&observed, READY).starts_with("False Registering"));
    ends(&mut observed, job, 0, &found());
    done(&mut observed);
    assert!(done(&mut observed).is_none());
    assert!(said_of(&observed, READY).starts_with("True Registered"));
}

#[test]
fn files_that_cannot_be_read_are_told_and_tried_again_once_the_job_is_deleted() {
    let mut observed = from_elsewhere();
    let job = done(&mut observed).expect("a Job");
    let failure =
        json!({"kind": "Failure", "reason": "InputNotFound", "message": "nothing lies there"});
    ends(&mut observed, job, 66, &failure.to_string());
    assert!(done(&mut observed).is_none());
    assert_eq!(
        said_of(&observed, STALLED),
        "True InputNotFound: spec.artifact.uri: its files were not digested: nothing lies there. Mend it, then delete the Job churn-2-digest to try again"
    );
    let files = files(&observed);
    assert!(matches!(files, Files::Stay(_)), "{files:?}");
    observed.registration = None;
    observed.registration_pods.clear();
    assert!(done(&mut observed).is_some());
}

#[test]
fn a_report_that_nobody_could_read_is_asked_for_again() {
    let mut observed = from_elsewhere();
    let job = done(&mut observed).expect("a Job");
    ends(&mut observed, job, 0, &found());
    observed.registration_pods.clear();
    // The cache may have yet to show the pod.
    assert!(planned(&observed).steps.is_empty());
    let mut later = observed.clone();
    as_kept(&mut later.registration_pods, &mut later.registration);
    let plan = plan(&later, at(60));
    let steps = plan.steps;
    assert!(
        matches!(&steps[..], [Step::Delete(Doomed::Job(name))] if name == "churn-2-digest"),
        "{steps:?}"
    );
}

#[test]
fn what_happened_before_it_was_on_record_is_recorded_after_that_it_was_made() {
    let mut observed = from_elsewhere();
    let event = json!({"version": "churn-2", "action": "CanaryStarted", "time": at(0), "reason": "of the one of this name before"});
    observed.deployments = vec![Arc::new(deployment_with(&event))];
    let job = done(&mut observed).expect("a Job");
    assert!(status(&observed).decisions.is_empty());
    ends(&mut observed, job, 0, &found());
    done(&mut observed);
    let actions: Vec<Action> = status(&observed)
        .decisions
        .iter()
        .map(|decision| decision.action)
        .collect();
    assert_eq!(actions, [Action::Created, Action::CanaryStarted]);
}

#[test]
fn nothing_is_digested_any_more_once_it_is_decided_that_it_goes() {
    let mut observed = from_elsewhere();
    let retiring = json!({"since": at(0), "decided": at(0)});
    this(&mut observed).status = Some(object(json!({"retiring": retiring})));
    this(&mut observed).spec.retention = Some(object(json!({"keep": 1})));
    // Its files were said to stay, as nobody knew what they are.
    let mut job = Job::default();
    job.metadata.name = Some("churn-2-digest".to_owned());
    ends(&mut observed, job, 0, &found());
    let plan = planned(&observed);
    assert_eq!(plan.status.artifact, None);
    let makes = |step: &Step| matches!(step, Step::Apply(_));
    assert!(!plan.steps.iter().any(makes), "{:?}", plan.steps);
}

#[test]
fn a_report_of_a_pod_of_another_job_counts_for_nothing() {
    let mut observed = from_elsewhere();
    let job = done(&mut observed).expect("a Job");
    ends(&mut observed, job, 0, &found());
    let mut other = (*observed.registration_pods[0]).clone();
    other.metadata.owner_references = None;
    observed.registration_pods = vec![Arc::new(other)];
    done(&mut observed);
    assert!(status(&observed).artifact.is_none());
}

#[test]
fn a_claim_that_is_not_there_is_waited_for() {
    let mut observed = from_elsewhere();
    this(&mut observed).spec.artifact.uri = windlass_api::Address("pvc://nowhere/2".to_owned());
    assert!(done(&mut observed).is_none());
    assert!(
        said_of(&observed, STALLED).starts_with("True VolumeClaimNotFound: spec.artifact.uri"),
        "{}",
        said_of(&observed, STALLED)
    );
}
