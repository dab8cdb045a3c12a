//! ModelVersion: one decision a test.

mod model;
mod publication;
mod registration;
mod retention;

use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use serde_json::{Value, json};
use windlass_api::condition::{APPROVED, READY, RECONCILING, STALLED, VALIDATED};
use windlass_api::{
    Action, Approval, AuditLine, ModelDeployment, ModelDeploymentStatus, ModelVersion,
    ModelVersionStatus, Review, ReviewDecision, RolloutEvent, is_true,
};

use super::{Around, Observed, is_good, plan};
use crate::fixtures::{
    as_kept, assert_restricted, at, digest, disrupted, ended, given, is_so, object, pod, presets,
    readable, said, steps, version, waiting,
};
use crate::{Child, Plan, Step};

#[derive(Clone)]
struct World {
    observed: Observed,
    /// The Job as it was made; the cache holds less of it.
    made: Option<Job>,
    now: i64,
    writes: usize,
}

fn world(against: bool) -> World {
    let mut candidate = version(2, '2', None);
    let validation = json!({
        "dataset": {"uri": "pvc://holdout/rows", "label": "churned"}, "metrics": [{"name": "rocAuc", "min": "0.8"}], "segments": ["country = 'DE'"],
        "against": if against { json!({"version": "Champion"}) } else { Value::Null }
    });
    Arc::make_mut(&mut candidate).spec.validation = Some(object(validation));
    let observed = Observed {
        version: candidate,
        job: None,
        pods: Vec::new(),
        registration: None,
        registration_pods: Vec::new(),
        publications: Vec::new(),
        publication_pods: Vec::new(),
        serving: Some("churn-1".to_owned()),
        champion: Some(version(1, '1', Some("Pass"))),
        deployments: Vec::new(),
        around: Around::default(),
        claims: Arc::new(["models".to_owned(), "holdout".to_owned()].into()),
        presets: presets(),
        agent_image: "agent:1".to_owned(),
    };
    World {
        observed,
        made: None,
        now: 0,
        writes: 0,
    }
}

fn verdict(verdict: &str) -> String {
    json!({"kind": "Evaluation", "verdict": verdict, "message": format!("it is {verdict}"), "rows": 500, "champion": "churn-1",
        "metrics": [{"name": "rocAuc", "rows": 500, "value": 0.81, "interval": [0.8, 0.82], "verdict": verdict}],
        "baseline": {"uri": "pvc://models/b", "digest": digest('b'), "files": 1, "bytes": 1}})
    .to_string()
}

fn failure(reason: &str) -> String {
    json!({"kind": "Failure", "reason": reason, "message": format!("it was {reason}")}).to_string()
}

impl World {
    fn plan(&self) -> Plan<ModelVersionStatus> {
        let mut kept = self.observed.clone();
        as_kept(&mut kept.pods, &mut kept.job);
        plan(&kept, at(self.now))
    }

    /// What the agent of the validation's Job is told.
    fn arguments(&self) -> Vec<String> {
        let job = self.made.as_ref().expect("a Job");
        let spec = job.spec.clone().expect("a spec").template.spec;
        spec.expect("a pod").containers[0]
            .args
            .clone()
            .expect("arguments")
    }

    fn status(&self) -> ModelVersionStatus {
        self.observed.version.status.clone().unwrap_or_default()
    }

    fn said(&self, type_: &str) -> String {
        said(&self.status().conditions, type_)
    }

    fn is(&self, type_: &str) -> bool {
        is_true(&self.status().conditions, type_)
    }

    fn reconcile(&mut self, crash: bool) -> bool {
        let plan = self.plan();
        let before = self.writes;
        for step in plan.steps {
            let Step::Apply(Child::Job(mut wanted)) = step else {
                panic!("not a step of a ModelVersion: {step:?}")
            };
            let whole = wanted.clone();
            crate::jobs::trim(&mut wanted);
            if self
                .observed
                .job
                .as_ref()
                .is_none_or(|live| !is_so(&*wanted, &**live))
            {
                assert!(
                    self.observed.job.is_none(),
                    "the pods of a Job cannot be changed"
                );
                self.observed.job = Some(Arc::new(*wanted));
                self.made = Some(*whole);
                self.writes += 1;
            }
        }
        if !crash && plan.status != self.status() {
            Arc::make_mut(&mut self.observed.version).status = Some(plan.status);
            self.writes += 1;
        }
        before != self.writes
    }

    fn settle(&mut self) -> &mut Self {
        (0..10)
            .find(|_| !self.reconcile(false))
            .expect("it settles");
        self
    }

    fn job_ends(&mut self, type_: &str) -> &mut Self {
        let job: &mut Job = Arc::make_mut(self.observed.job.as_mut().expect("a Job"));
        job.status = Some(object(
            json!({"conditions": [{"type": type_, "status": "True", "lastTransitionTime": at(self.now)}]}),
        ));
        self
    }

    fn pod_ends(&mut self, name: &str, exit_code: i32, message: &str) -> &mut Self {
        self.observed.pods.push(Arc::new(ended(
            pod(name, &[].into()),
            "windlass-agent",
            exit_code,
            message,
        )));
        self
    }
}

#[test]
fn the_plan_that_starts_a_validation() {
    insta::with_settings!({prepend_module_to_snapshot => false}, {
        insta::assert_yaml_snapshot!("plan_that_starts_a_validation", readable(&world(true).plan()));
    });
}

#[test]
fn a_version_without_validation_is_registered_and_not_good() {
    let mut world = world(false);
    world.observed.version = version(2, '2', None);
    world.settle();
    assert!(
        world.is(READY) && world.said(VALIDATED).starts_with("Unknown Registered"),
        "{}",
        world.said(VALIDATED)
    );
    assert!(world.observed.job.is_none() && !is_good(&world.observed.version));
    assert_eq!(world.writes, 1);
}

#[test]
fn each_verdict_is_written_once_and_never_decided_again() {
    for (given, phase, validated) in [
        ("Pass", "Validated", "True"),
        ("Fail", "Rejected", "False"),
        ("Inconclusive", "Inconclusive", "Unknown"),
    ] {
        let mut world = world(true);
        world.settle();
        assert!(world.is(RECONCILING) && !is_good(&world.observed.version));
        world
            .pod_ends("p", 0, &verdict(given))
            .job_ends("Complete")
            .settle();
        assert_eq!(world.status().phase.as_deref(), Some(phase));
        assert!(
            world.said(VALIDATED).starts_with(validated),
            "{}",
            world.said(VALIDATED)
        );
        assert_eq!(
            (is_good(&world.observed.version), world.is(STALLED)),
            (given == "Pass", given != "Pass")
        );
        assert_eq!(world.writes, 3, "a Job and two statuses");
        let found = world.status().validation;
        world.observed.pods.clear();
        world.observed.job = None;
        world.now = 1_000_000;
        world.pod_ends("q", 0, &verdict("Fail")).settle();
        assert_eq!((world.status().validation, world.writes), (found, 3));
    }
}

#[test]
fn the_champion_is_another_version_and_only_where_one_is_asked_for() {
    let rows = [
        ("asked for", true, Some(1), Some("churn-1")),
        ("not asked for", false, Some(1), None),
        ("none serves", true, None, None),
        ("it is itself the champion", true, Some(2), None),
    ];
    for (name, against, champion, expected) in rows {
        let mut world = world(against);
        serves(&mut world, champion);
        world.settle();
        assert_eq!(world.status().champion.as_deref(), expected, "{name}");
        assert_eq!(
            world.arguments().contains(&"--champion-server".to_owned()),
            expected.is_some(),
            "{name}"
        );
    }
}

#[test]
fn the_champion_of_a_job_that_was_made_just_before_a_crash_is_the_one_it_was_made_with() {
    let mut world = world(true);
    world.reconcile(true);
    serves(&mut world, Some(5));
    world.settle();
    assert_eq!(world.status().champion.as_deref(), Some("churn-1"));
}

#[test]
fn what_is_asked_of_the_rows_is_handed_to_the_agent() {
    let mut world = world(true);
    let version = Arc::make_mut(&mut world.observed.version);
    version.spec.validation = Some(object(json!({
        "dataset": {"uri": "pvc://holdout/rows", "label": "churned", "weight": "spend", "query": "session"},
        "protocol": "OpenInferenceGRPC",
        "metrics": [
            {"name": "pinball", "quantile": "0.90", "max": "3"},
            {"name": "ndcg", "places": 10, "min": "0.5"},
        ],
        "disparities": [{"name": "equalOpportunity", "by": "country, region", "max": "0.1"}, {"name": "equalisedOdds", "by": "plan"}],
        "against": {"version": "Champion"},
    })));
    world.reconcile(true);
    let arguments = world.arguments();
    let given = |name: &str| -> Vec<&str> {
        let pairs = arguments.windows(2).filter(|pair| pair[0] == name);
        pairs.map(|pair| pair[1].as_str()).collect()
    };
    assert_eq!(given("--protocol"), ["OpenInferenceGRPC"]);
    assert_eq!(given("--server"), ["http://127.0.0.1:8082"]);
    assert_eq!(given("--champion-server"), ["http://127.0.0.1:8085"]);
    assert_eq!(
        (given("--weight"), given("--query")),
        (vec!["spend"], vec!["session"])
    );
    assert_eq!(given("--metric"), ["pinball@0.9,max=3", "ndcg@10,min=0.5"]);
    assert_eq!(
        given("--disparity"),
        [
            "equalOpportunity,max=0.1,by=country, region",
            "equalisedOdds,by=plan"
        ]
    );
}

#[test]
fn a_champion_that_lies_in_an_image_is_mounted_for_its_server_and_for_the_agent() {
    let mut world = world(true);
    let image = format!("registry.example/churn@{}", digest('c'));
    let champion = world.observed.champion.as_mut().expect("a champion");
    Arc::make_mut(champion).spec.artifact.uri = windlass_api::Address(format!("oci://{image}#m"));
    world.settle();
    let job = world.made.as_ref().expect("a Job").spec.clone();
    let pods = job.expect("a spec").template.spec.expect("a pod");
    assert_restricted(&pods);
    let volumes = pods.volumes.iter().flatten();
    let named: Vec<_> = volumes
        .filter_map(|volume| Some((volume.name.as_str(), volume.image.as_ref()?)))
        .collect();
    let [("windlass-champion", source)] = named[..] else {
        panic!("{named:?}")
    };
    assert_eq!(source.reference.as_deref(), Some(&*image));
    let all = pods
        .containers
        .iter()
        .chain(pods.init_containers.iter().flatten());
    for (name, path) in [
        ("windlass-fetch-champion", "windlass-champion"),
        ("champion", "windlass-champion"),
        (crate::pods::AGENT, "windlass-champion"),
        ("windlass-fetch", "windlass-model"),
        ("server", "windlass-model"),
    ] {
        let container = all.clone().find(|one| one.name == name).expect(name);
        let mounts = container.volume_mounts.iter().flatten();
        let found = mounts.clone().find(|mount| mount.name == path);
        let found = found.expect(name);
        let folder = (path == "windlass-champion").then_some("m");
        assert_eq!(found.sub_path.as_deref(), folder, "{name}");
    }
}

#[test]
fn a_champion_that_no_longer_exists_is_told_and_nothing_passes_without_it() {
    let mut world = world(true);
    world.observed.champion = None;
    world.settle();
    let status = world.status();
    assert!(is_true(&status.conditions, STALLED));
    assert!(!is_good(&world.observed.version));
    assert_eq!(status.validation, None);
    let ready = said(&status.conditions, READY);
    assert!(
        ready.starts_with("False ChampionNotFound: spec.validation.against: churn-1 serves"),
        "{ready}"
    );
    // It is registered again.
    serves(&mut world, Some(1));
    world.settle();
    assert_eq!(world.status().champion.as_deref(), Some("churn-1"));
}

fn serves(world: &mut World, number: Option<i64>) {
    world.observed.champion = number.map(|number| version(number, '1', Some("Pass")));
    let champion = world.observed.champion.as_ref();
    world.observed.serving = champion.map(|champion| champion.name_any());
}

#[test]
fn an_evaluation_that_fails_is_named_and_starts_again_when_its_job_is_deleted() {
    for reason in [
        "ServerNotReady",
        "ServerFailed",
        "DatasetUnreadable",
        "ColumnNotFound",
        "DigestMismatch",
        "SignatureInvalid",
    ] {
        let mut world = world(false);
        world
            .settle()
            .pod_ends("p", 1, &failure(reason))
            .job_ends("Failed")
            .settle();
        assert!(
            world.said(STALLED).starts_with(&format!(
                "True {reason}: validation came to no verdict: it was {reason}"
            )),
            "{}",
            world.said(STALLED)
        );
        assert!(
            world
                .said(STALLED)
                .contains("delete the Job churn-2-validation")
        );
        assert!(world.status().validation.is_none());
        world.observed.job = None;
        world.observed.pods.clear();
        world.settle();
        assert!(
            world.observed.job.is_some() && !world.is(STALLED),
            "{reason}"
        );
    }
}

#[test]
fn a_pod_that_was_evicted_before_another_came_to_a_verdict_says_nothing() {
    for order in [["a", "b"], ["b", "a"]] {
        let mut world = world(false);
        world.settle();
        world.pod_ends(order[0], 1, &failure("Interrupted"));
        world.observed.pods[0] = Arc::new(disrupted((*world.observed.pods[0]).clone()));
        world
            .pod_ends(order[1], 0, &verdict("Pass"))
            .job_ends("Complete")
            .settle();
        assert!(is_good(&world.observed.version), "{}", world.said(READY));
    }
}

#[test]
fn a_job_that_ends_without_a_report_is_named_once_its_pods_must_have_been_seen() {
    let mut world = world(false);
    world.settle().job_ends("Failed").settle();
    assert!(
        world.is(RECONCILING),
        "its pod may only not have been seen yet"
    );
    assert!(world.plan().again.is_some());
    world.now = 11;
    world.settle();
    assert!(
        world.said(STALLED).starts_with("True ReportMissing"),
        "{}",
        world.said(STALLED)
    );
}

#[test]
fn what_a_person_has_to_mend_is_named_with_its_field_and_then_goes_on() {
    type Change = fn(&mut Observed);
    let rows: [(&str, &str, Change); 6] = [
        ("VolumeClaimNotFound", "spec.artifact.uri", |observed| {
            Arc::make_mut(&mut observed.claims).retain(|claim| claim != "models");
        }),
        (
            "VolumeClaimNotFound",
            "spec.validation.dataset.uri",
            |observed| Arc::make_mut(&mut observed.claims).retain(|claim| claim != "holdout"),
        ),
        ("ReportNotWritable", "spec.artifact.uri", |observed| {
            Arc::make_mut(&mut observed.version).spec.artifact.uri =
                "https://models.example/churn".into();
        }),
        ("ReportNotWritable", "spec.artifact.uri", |observed| {
            Arc::make_mut(&mut observed.version).spec.artifact.uri =
                "oci://registry.example/churn:2".into();
        }),
        ("RuntimeNotFound", "spec.validation.runtime", |observed| {
            observed.presets.presets.clear();
        }),
        ("RuntimeNotFound", "spec.validation.runtime", |observed| {
            "Unheard".clone_into(&mut Arc::make_mut(&mut observed.version).spec.artifact.format);
        }),
    ];
    for (reason, field, change) in rows {
        let mut world = world(false);
        change(&mut world.observed);
        world.settle();
        assert!(
            world
                .said(STALLED)
                .starts_with(&format!("True {reason}: {field}")),
            "{}",
            world.said(STALLED)
        );
        assert_eq!(
            (steps(&world.plan()).len(), world.writes),
            (0, 1),
            "{reason}"
        );
        let good = self::world(false).observed;
        world.observed.claims = good.claims;
        world.observed.presets = good.presets;
        Arc::make_mut(&mut world.observed.version).spec = good.version.spec.clone();
        world.settle();
        assert!(
            world.observed.job.is_some() && !world.is(STALLED),
            "{reason}"
        );
    }
}

#[test]
fn a_pod_that_cannot_start_is_told() {
    let mut world = world(false);
    world.settle();
    world.observed.pods = vec![Arc::new(waiting(pod("p", &[].into()), "ImagePullBackOff"))];
    world.settle();
    assert!(
        world.said(STALLED).starts_with("True ImageNotFound"),
        "{}",
        world.said(STALLED)
    );
    world.observed.pods.clear();
    world.settle();
    assert!(world.is(RECONCILING));
}

#[test]
fn every_pod_is_restricted() {
    let mut world = world(true);
    world.settle();
    let spec = world
        .made
        .as_ref()
        .and_then(|job| job.spec.clone()?.template.spec)
        .expect("pods");
    assert_restricted(&spec);
}

#[test]
fn the_candidate_s_storage_is_handed_to_every_agent_and_to_no_model_server() {
    let mut world = world(true);
    let mut champion = version(1, '1', Some("Pass"));
    Arc::make_mut(&mut champion).spec.storage = Some(object(
        json!({"secretName": "keys-of-the-champion", "serviceAccountName": "champion"}),
    ));
    world.observed.champion = Some(champion);
    Arc::make_mut(&mut world.observed.version).spec.storage = Some(object(
        json!({"secretName": "keys", "serviceAccountName": "reader"}),
    ));
    world.settle();
    let job = world.made.as_ref().expect("a Job");
    let spec = job.spec.clone().and_then(|spec| spec.template.spec);
    let spec = spec.expect("pods");
    let agents = [
        "windlass-agent",
        "windlass-fetch",
        "windlass-fetch-champion",
    ];
    assert_eq!(given(&spec, "keys"), agents);
    assert_eq!(given(&spec, "keys-of-the-champion"), Vec::<String>::new());
    assert_eq!(spec.service_account_name.as_deref(), Some("reader"));
    assert_restricted(&spec);
}

/// The arguments of an init container.
fn arguments(world: &World, name: &str) -> String {
    let spec = world
        .made
        .as_ref()
        .and_then(|job| job.spec.clone()?.template.spec)
        .expect("pods");
    let mut all = spec.init_containers.into_iter().flatten();
    let container = all.find(|container| container.name == name);
    container
        .and_then(|container| container.args)
        .expect("arguments")
        .join(" ")
}

#[test]
fn each_model_of_a_validation_is_loaded_with_the_signature_that_its_own_record_asks_for() {
    let mut world = world(true);
    let key = |name: &str| json!({"configMapKeyRef": {"name": name, "key": "pem"}});
    let mut champion = version(1, '1', Some("Pass"));
    Arc::make_mut(&mut champion).spec.artifact.signature = Some(object(
        json!({"signedBy": {"certificateAuthority": key("authorities")}}),
    ));
    world.observed.champion = Some(champion);
    Arc::make_mut(&mut world.observed.version)
        .spec
        .artifact
        .signature = Some(object(
        json!({"bundle": "pvc://signatures/2.sig", "signedBy": {"publicKey": key("keys")}}),
    ));
    world.settle();
    assert!(
        world
            .said(STALLED)
            .starts_with("True VolumeClaimNotFound: spec.artifact.signature.bundle"),
        "{}",
        world.said(STALLED)
    );
    Arc::make_mut(&mut world.observed.claims).insert("signatures".to_owned());
    world.settle();
    let of_candidate = arguments(&world, "windlass-fetch");
    assert!(
        of_candidate
            .ends_with("--public-key /windlass/trust/keys/pem --signature pvc://signatures/2.sig"),
        "{of_candidate}"
    );
    let of_champion = arguments(&world, "windlass-fetch-champion");
    assert!(
        of_champion.ends_with("--certificate-authority /windlass/trust/authorities/pem"),
        "{of_champion}"
    );
    let job = world.made.as_ref().expect("a Job");
    let spec = job.spec.clone().and_then(|spec| spec.template.spec);
    let spec = spec.expect("pods");
    assert_restricted(&spec);
    let mounts = |path: &str| {
        let all = spec.init_containers.iter().flatten();
        all.chain(&spec.containers)
            .filter(|container| {
                let mut mounts = container.volume_mounts.iter().flatten();
                mounts.any(|mount| mount.mount_path == path && mount.read_only == Some(true))
            })
            .map(|container| container.name.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(mounts("/windlass/trust/keys"), ["windlass-fetch"]);
    assert_eq!(
        mounts("/windlass/trust/authorities"),
        ["windlass-fetch-champion"]
    );
    assert_eq!(mounts("/windlass/volumes/signatures"), ["windlass-fetch"]);
}

#[test]
fn a_signature_that_is_only_on_record_is_not_asked_for() {
    let mut world = world(false);
    Arc::make_mut(&mut world.observed.version)
        .spec
        .artifact
        .signature = Some(object(json!({"bundle": "pvc://elsewhere/2.sig"})));
    world.settle();
    let of_candidate = arguments(&world, "windlass-fetch");
    assert!(!of_candidate.contains("signature"), "{of_candidate}");
}

#[test]
fn one_that_is_being_deleted_is_left_to_go() {
    let mut world = world(false);
    let version: &mut ModelVersion = Arc::make_mut(&mut world.observed.version);
    version.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(1)));
    assert!(world.plan().steps.is_empty());
}

fn actions(world: &World) -> Vec<(Action, String)> {
    let decisions = world.status().decisions;
    decisions
        .into_iter()
        .map(|one| (one.action, one.actor))
        .collect()
}

/// Every record follows the one before, and says what its digest is over.
fn assert_chain(world: &World) {
    let version = &world.observed.version;
    let decisions = world.status().decisions;
    for (at, decision) in decisions.iter().enumerate() {
        let line = AuditLine {
            namespace: version.namespace().unwrap_or_default(),
            name: version.name_any(),
            uid: version.uid().unwrap_or_default(),
            decision: decision.clone(),
        };
        assert_eq!(line.digest(), decision.digest);
        if at > 0 {
            assert_eq!(decision.previous.as_ref(), Some(&decisions[at - 1].digest));
            assert_eq!(decision.sequence, decisions[at - 1].sequence + 1);
        }
    }
}

fn judged(verdict_of: &str) -> World {
    let mut world = world(false);
    world.settle();
    world
        .pod_ends("p", 0, &verdict(verdict_of))
        .job_ends("Complete")
        .settle();
    world
}

#[test]
fn a_good_version_waits_for_a_word_where_one_is_asked_for() {
    for (approval, word, ready, reason) in [
        (Approval::Automatic, None, true, "ValidationPassed"),
        (Approval::Manual, None, false, "AwaitingApproval"),
        (Approval::FourEyes, None, false, "AwaitingApproval"),
        (
            Approval::Manual,
            Some(ReviewDecision::Approved),
            true,
            "ValidationPassed",
        ),
        (
            Approval::Manual,
            Some(ReviewDecision::Denied),
            false,
            "Denied",
        ),
        (
            Approval::Automatic,
            Some(ReviewDecision::Denied),
            false,
            "Denied",
        ),
    ] {
        let mut world = judged("Pass");
        let spec = &mut Arc::make_mut(&mut world.observed.version).spec;
        spec.approval = approval;
        spec.author = Some("ann".to_owned());
        spec.review = word.map(|decision| Review {
            decision,
            by: "rita".to_owned(),
            reason: "I looked".to_owned(),
        });
        world.settle();
        let what = format!("{approval:?}, {word:?}");
        assert_eq!(world.is(READY), ready, "{what}");
        assert!(
            world.said(READY).contains(reason),
            "{what}: {}",
            world.said(READY)
        );
        assert_eq!(is_good(&world.observed.version), ready, "{what}");
        assert_eq!(world.is(STALLED), reason == "Denied", "{what}");
        assert_eq!(
            world.is(RECONCILING),
            reason == "AwaitingApproval",
            "{what}"
        );
        assert!(world.is(VALIDATED), "{what}");
        assert_chain(&world);
    }
}

#[test]
fn a_word_makes_nothing_good_that_is_not() {
    let mut world = judged("Fail");
    Arc::make_mut(&mut world.observed.version).spec.review = Some(Review {
        decision: ReviewDecision::Approved,
        by: "rita".to_owned(),
        reason: "I like it".to_owned(),
    });
    world.settle();
    assert!(!world.is(READY) && world.is(STALLED) && world.is(APPROVED));
    assert!(!is_good(&world.observed.version));
}

#[test]
fn what_happens_to_a_version_is_a_chain_and_each_once() {
    let mut world = judged("Pass");
    let rita = || "rita".to_owned();
    let spec = &mut Arc::make_mut(&mut world.observed.version).spec;
    spec.review = Some(Review {
        decision: ReviewDecision::Approved,
        by: rita(),
        reason: "I looked".to_owned(),
    });
    world.settle();
    let ours = || "windlass".to_owned();
    let mut expected = vec![
        (Action::Created, ours()),
        (Action::Validated, ours()),
        (Action::Approved, rita()),
    ];
    assert_eq!(actions(&world), expected);

    let event = |version: &str, action, second| RolloutEvent {
        version: version.to_owned(),
        action,
        time: at(second),
        reason: "so it was".to_owned(),
        evidence: None,
    };
    let with = |history: Vec<RolloutEvent>| {
        let mut deployment: ModelDeployment = object(json!({
            "apiVersion": "windlass.dev/v1alpha1", "kind": "ModelDeployment",
            "metadata": {"name": "churn", "namespace": "growth"}, "spec": {"model": "churn"},
        }));
        deployment.status = Some(ModelDeploymentStatus {
            history,
            ..Default::default()
        });
        vec![Arc::new(deployment)]
    };
    let mut history = vec![
        event("churn-2", Action::CanaryStarted, 100),
        event("churn-1", Action::Retired, 200),
        event("churn-2", Action::Promoted, 200),
    ];
    world.observed.deployments = with(history.clone());
    world.settle();
    expected.extend([(Action::CanaryStarted, ours()), (Action::Promoted, ours())]);
    assert_eq!(actions(&world), expected);
    assert_eq!(
        world.status().decisions[4].deployment.as_deref(),
        Some("churn")
    );
    assert_chain(&world);

    // A hundred more: the oldest go, and nothing of what was there comes back.
    for round in 0..60 {
        history.push(event("churn-2", Action::RolledBack, 300 + 2 * round));
        history.push(event("churn-2", Action::CanaryStarted, 301 + 2 * round));
        let surplus = history.len().saturating_sub(50);
        history.drain(..surplus);
        world.observed.deployments = with(history.clone());
        world.settle();
    }
    let decisions = world.status().decisions;
    assert_eq!(decisions.len(), 100);
    assert_eq!(decisions.last().map(|last| last.sequence), Some(125));
    assert!(decisions.iter().all(|one| one.action != Action::Created));
    assert_chain(&world);
}

#[test]
fn a_word_that_comes_while_the_job_settles_is_recorded_once() {
    let mut world = world(true);
    Arc::make_mut(&mut world.observed.version).spec.approval = Approval::Manual;
    world.settle().job_ends("Complete");
    let review: Review = object(json!({"decision": "Approved", "by": "ada", "reason": "seen"}));
    Arc::make_mut(&mut world.observed.version).spec.review = Some(review);
    for _ in 0..3 {
        world.reconcile(false);
        world.now += 1;
    }
    world.now += 60;
    world.settle();
    let decisions = world.status().decisions;
    let words = decisions
        .iter()
        .filter(|one| one.action == Action::Approved);
    assert_eq!(words.count(), 1, "{decisions:?}");
}
