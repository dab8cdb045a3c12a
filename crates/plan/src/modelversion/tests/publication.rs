//! What is shown of a version where `spec.tracking` asks for it.

use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;
use serde_json::json;
use windlass_api::condition::{PUBLISHED, READY, STALLED};
use windlass_api::{ModelVersion, ModelVersionStatus, is_true, labels};

use crate::fixtures::{
    as_kept, assert_restricted, at, digest, ended, given, object, pod, presets, said, version,
};
use crate::modelversion::{Around, Observed, plan};
use crate::{Child, Plan, Step};

/// `churn-2`, judged good, that is to be shown.
fn shown() -> Observed {
    let mut version = version(2, '2', Some("Pass"));
    Arc::make_mut(&mut version).spec.validation = Some(object(
        json!({"dataset": {"uri": "pvc://holdout/rows", "label": "churned"}, "metrics": [{"name": "rocAuc", "min": "0.8"}]}),
    ));
    Arc::make_mut(&mut version).spec.tracking = Some(object(
        json!({"mlflow": {"uri": "http://mlflow.growth:5000", "secretName": "mlflow", "experiment": "churn"}}),
    ));
    Observed {
        version,
        job: None,
        pods: Vec::new(),
        registration: None,
        registration_pods: Vec::new(),
        publications: Vec::new(),
        publication_pods: Vec::new(),
        serving: None,
        champion: None,
        deployments: Vec::new(),
        around: Around::default(),
        claims: Arc::default(),
        presets: presets(),
        agent_image: "agent:1".to_owned(),
    }
}

fn this(observed: &mut Observed) -> &mut ModelVersion {
    Arc::make_mut(&mut observed.version)
}

fn planned(observed: &Observed, now: i64) -> Plan<ModelVersionStatus> {
    let mut kept = observed.clone();
    as_kept(&mut kept.publication_pods, &mut kept.publications);
    plan(&kept, at(now))
}

/// Does what the plan says, until it says nothing new; the Jobs that were made.
fn settle(observed: &mut Observed, now: i64) -> Vec<Job> {
    let mut made = Vec::new();
    for _ in 0..10 {
        let plan = planned(observed, now);
        let status = Some(plan.status);
        if plan.steps.is_empty() && status == observed.version.status {
            return made;
        }
        for step in plan.steps {
            let Step::Apply(Child::Job(job)) = step else {
                panic!("not a step of a version that is shown: {step:?}")
            };
            let mut live = *job.clone();
            live.metadata.uid = Some(format!("uid of {}", job.name_any()));
            observed.publications.push(Arc::new(live));
            made.push(*job);
        }
        this(observed).status = status;
    }
    panic!("it is never done")
}

/// Lets the newest Job end, its agent with this last word.
fn end(observed: &mut Observed, exit_code: i32, message: &str) {
    let job = observed.publications.last_mut().expect("a Job");
    let type_ = if exit_code == 0 { "Complete" } else { "Failed" };
    Arc::make_mut(job).status = Some(object(
        json!({"conditions": [{"type": type_, "status": "True", "lastTransitionTime": at(0)}]}),
    ));
    let (name, uid) = (job.name_any(), job.uid().unwrap_or_default());
    let mut pod = ended(
        pod(&format!("{name}-x"), job.labels()),
        "windlass-agent",
        exit_code,
        message,
    );
    pod.metadata.owner_references = Some(vec![OwnerReference {
        uid,
        ..OwnerReference::default()
    }]);
    observed.publication_pods.push(Arc::new(pod));
}

fn published(run: &str) -> String {
    json!({"kind": "Publish", "runId": run, "modelVersion": "7", "wrote": 12}).to_string()
}

fn arguments(job: &Job) -> String {
    let spec = job
        .spec
        .as_ref()
        .and_then(|spec| spec.template.spec.as_ref());
    let arguments = spec.and_then(|spec| spec.containers[0].args.clone());
    arguments.expect("arguments").join(" ")
}

fn said_of(observed: &Observed) -> String {
    let status = observed.version.status.clone().unwrap_or_default();
    said(&status.conditions, PUBLISHED)
}

#[test]
fn a_version_is_shown_by_a_job_that_alone_has_the_secret_and_needs_no_rights() {
    let mut observed = shown();
    let made = settle(&mut observed, 0);
    let [job] = &made[..] else {
        panic!("one Job: {made:?}")
    };
    assert_eq!(
        arguments(job),
        "publish --tracking-uri http://mlflow.growth:5000 --version /windlass/record/record.json --experiment churn --unalias champion --unalias challenger"
    );
    let spec = job.spec.as_ref().expect("a spec");
    let pod = spec.template.spec.as_ref().expect("a pod");
    assert_restricted(pod);
    assert_eq!(given(pod, "mlflow"), ["windlass-agent"]);
    let metadata = spec.template.metadata.as_ref().expect("metadata");
    let record = &metadata.annotations.as_ref().expect("annotations")["windlass.dev/record"];
    let record: ModelVersion = serde_json::from_str(record).expect("a ModelVersion");
    assert_eq!(record.spec.fingerprint, Some(digest('2')));
    assert!(record.spec.validation.is_none() && record.spec.tracking.is_none());
    assert!(record.status.expect("a status").validation.is_some());
    assert!(
        job.name_any().len() <= 12 + "churn-2".len(),
        "{}",
        job.name_any()
    );
    assert_eq!(job.labels()[labels::ROLE], "publication");
    assert_eq!(
        said_of(&observed),
        format!("Unknown Publishing: Job {} shows it", job.name_any())
    );
}

#[test]
fn what_is_shown_is_on_record_and_shown_once() {
    let mut observed = shown();
    settle(&mut observed, 0);
    end(&mut observed, 0, &published("r1"));
    assert!(settle(&mut observed, 60).is_empty());
    let status = observed.version.status.clone().expect("a status");
    let tracking = status.tracking.expect("what is shown");
    assert_eq!(
        (&*tracking.run_id, tracking.model_version.as_deref()),
        ("r1", Some("7"))
    );
    assert_eq!(
        said_of(&observed),
        "True Published: http://mlflow.growth:5000 shows it as version 7 of run r1"
    );
    // The Job goes, as it was asked to.
    observed.publications.clear();
    observed.publication_pods.clear();
    assert!(settle(&mut observed, 3600).is_empty());
    assert!(is_true(
        &observed
            .version
            .status
            .clone()
            .unwrap_or_default()
            .conditions,
        PUBLISHED
    ));
}

#[test]
fn one_that_is_being_judged_is_shown_afterwards() {
    let mut observed = shown();
    this(&mut observed).status = None;
    let plan = planned(&observed, 0);
    let is_publication = |step: &Step| matches!(step, Step::Apply(Child::Job(job)) if job.labels()[labels::ROLE] == "publication");
    assert!(!plan.steps.iter().any(is_publication), "{:?}", plan.steps);
}

#[test]
fn one_that_begins_to_serve_is_shown_again_by_its_alias() {
    let mut observed = shown();
    settle(&mut observed, 0);
    end(&mut observed, 0, &published("r1"));
    settle(&mut observed, 60);
    observed.serving = Some("churn-2".to_owned());
    let made = settle(&mut observed, 120);
    assert_eq!(made.len(), 1);
    assert!(
        arguments(&made[0]).ends_with("--alias champion --unalias challenger"),
        "{}",
        arguments(&made[0])
    );
    // What was shown stays on record until then.
    let status = observed.version.status.clone().unwrap_or_default();
    assert!(status.tracking.is_some());
    end(&mut observed, 0, &published("r1"));
    assert!(settle(&mut observed, 180).is_empty());
    assert!(said_of(&observed).starts_with("True Published"));
}

#[test]
fn an_older_state_never_follows_a_newer_one() {
    let mut observed = shown();
    let first = settle(&mut observed, 0);
    observed.serving = Some("churn-2".to_owned());
    assert!(settle(&mut observed, 10).is_empty());
    assert_eq!(
        said_of(&observed),
        format!(
            "Unknown Publishing: Job {} has to end first",
            first[0].name_any()
        )
    );
    end(&mut observed, 0, &published("r1"));
    assert_eq!(settle(&mut observed, 20).len(), 1);
}

#[test]
fn a_server_that_does_not_answer_delays_what_it_shows_and_nothing_else() {
    let mut observed = shown();
    settle(&mut observed, 0);
    let word = json!({"kind": "Failure", "reason": "TrackingUnreachable", "message": "connection refused"});
    end(&mut observed, 1, &word.to_string());
    let plan = planned(&observed, 60);
    assert_eq!(plan.notes.len(), 1);
    assert!(settle(&mut observed, 60).is_empty());
    assert!(planned(&observed, 60).notes.is_empty());
    let said = said_of(&observed);
    assert!(
        said.starts_with(
            "False TrackingUnreachable: connection refused. It is tried again once Job churn-2-p"
        ),
        "{said}"
    );
    let conditions = observed
        .version
        .status
        .clone()
        .unwrap_or_default()
        .conditions;
    assert!(is_true(&conditions, READY) && !is_true(&conditions, STALLED));
    // Kubernetes takes the Job away, and the next one follows.
    let before = observed.publications.pop().expect("a Job").name_any();
    observed.publication_pods.clear();
    let made = settle(&mut observed, 700);
    assert_eq!(made[0].name_any(), before);
}

#[test]
fn what_is_too_large_for_a_pod_is_said() {
    let mut observed = shown();
    this(&mut observed)
        .spec
        .parameters
        .insert("sql".to_owned(), "x".repeat(300_000));
    assert!(settle(&mut observed, 0).is_empty());
    let said = said_of(&observed);
    assert!(
        said.starts_with("False RecordTooLarge: the record has 301"),
        "{said}"
    );
}

#[test]
fn what_is_no_longer_asked_for_is_not_spoken_of() {
    let mut observed = shown();
    settle(&mut observed, 0);
    this(&mut observed).spec.tracking = None;
    settle(&mut observed, 10);
    assert_eq!(said_of(&observed), "absent");
}
