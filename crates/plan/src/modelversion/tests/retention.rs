//! Retention: which versions stay, how the others go, and what becomes of their files.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use proptest::prelude::*;
use serde_json::{Value, json};
use windlass_api::condition::{READY, RECONCILING, STALLED, VALIDATED};
use windlass_api::{
    Action, ArtifactPolicy, AuditLine, ModelDeployment, ModelVersion, Retention, find_condition,
    labels,
};

use crate::fixtures::{
    assert_restricted, at, digest, ended, given, object, pod, presets, readable, said, version,
};
use crate::modelversion::files::{Files, files};
use crate::modelversion::plan::retention::{Kept, kept};
use crate::modelversion::{Around, Observed, may_go, plan, refused};
use crate::{Child, Doomed, Problem, Step};

/// `churn-<number>` of a training that keeps two, judged good.
fn bounded(number: i64, artifacts: ArtifactPolicy) -> Arc<ModelVersion> {
    let digit = char::from_digit(u32::try_from(number % 10).expect("small"), 10).expect("a digit");
    let mut version = version(number, digit, Some("Pass"));
    let one = Arc::make_mut(&mut version);
    one.spec.retention = Some(Retention { keep: 2, artifacts });
    one.metadata.resource_version = Some("1".to_owned());
    version
}

fn deployment(spec: Value, status: Value) -> Arc<ModelDeployment> {
    let mut whole = json!({
        "apiVersion": "windlass.dev/v1alpha1", "kind": "ModelDeployment",
        "metadata": {"name": "churn", "namespace": "growth"},
        "spec": {"model": "churn", "runtime": "mlserver"},
    });
    let (Some(all), Value::Object(more)) = (whole["spec"].as_object_mut(), spec) else {
        panic!("objects")
    };
    all.extend(more);
    whole["status"] = status;
    Arc::new(object(whole))
}

fn serving(version: &str) -> Arc<ModelDeployment> {
    deployment(
        json!({}),
        json!({"stable": {"version": version, "since": at(0)}}),
    )
}

fn observed(version: Arc<ModelVersion>, siblings: Vec<Arc<ModelVersion>>) -> Observed {
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
        around: Around {
            siblings,
            ..Around::default()
        },
        claims: Arc::new(["models".to_owned()].into()),
        presets: presets(),
        agent_image: "agent:1".to_owned(),
    }
}

/// The first of five.
fn first_of_five() -> Observed {
    let of = |number| bounded(number, ArtifactPolicy::Delete);
    observed(of(1), (2..=5).map(of).collect())
}

fn this(observed: &mut Observed) -> &mut ModelVersion {
    Arc::make_mut(&mut observed.version)
}

fn sibling(observed: &mut Observed, number: i64) -> &mut ModelVersion {
    let mut all = observed.around.siblings.iter_mut();
    let found = all.find(|sibling| sibling.spec.version == number);
    Arc::make_mut(found.expect("a sibling"))
}

fn unjudged(version: &mut ModelVersion) {
    version.spec.validation = Some(object(
        json!({"dataset": {"uri": "s3://holdout/rows", "label": "churned"}, "metrics": [{"name": "rocAuc"}]}),
    ));
    version.status = None;
}

fn training_job(spec: Value, uid: &str) -> Value {
    let mut whole = json!({"workers": {"template": {"spec": {"containers": [{"name": "trainer", "image": "a", "command": ["a"]}]}}}});
    let (Value::Object(all), Value::Object(more)) = (&mut whole, spec) else {
        panic!("objects")
    };
    all.extend(more);
    json!({"apiVersion": "windlass.dev/v1alpha1", "kind": "TrainingJob", "metadata": {"name": "a", "namespace": "growth", "uid": uid}, "spec": whole})
}

type Change = fn(&mut Observed);

#[test]
#[allow(clippy::too_many_lines)] // one table
fn each_reason_keeps_a_version_by_itself() {
    let rows: [(&str, Change, Option<Kept>); 25] = [
        ("nothing keeps it", |_| {}, None),
        (
            "no retention",
            |o| this(o).spec.retention = None,
            Some(Kept::Unbounded),
        ),
        (
            "on legal hold",
            |o| {
                let held = (labels::LEGAL_HOLD.into(), "case-7".into());
                this(o).labels_mut().extend([held]);
            },
            Some(Kept::LegalHold),
        ),
        (
            "on legal hold without a reason",
            |o| {
                let held = (labels::LEGAL_HOLD.into(), String::new());
                this(o).labels_mut().extend([held]);
            },
            Some(Kept::LegalHold),
        ),
        (
            "one newer than it",
            |o| o.around.siblings.truncate(1),
            Some(Kept::Newest),
        ),
        ("two newer", |o| o.around.siblings.truncate(2), None),
        (
            "two newer, one of which goes",
            |o| {
                o.around.siblings.truncate(2);
                let status = sibling(o, 2).status.get_or_insert_default();
                status.retiring = Some(object(json!({"since": at(0)})));
            },
            Some(Kept::Newest),
        ),
        (
            "it keeps more than the others do",
            |o| this(o).spec.retention.as_mut().expect("one").keep = 5,
            Some(Kept::Newest),
        ),
        (
            "it serves",
            |o| o.deployments.push(serving("churn-1")),
            Some(Kept::Serves),
        ),
        (
            "it is tried",
            |o| {
                let canary = json!({"version": "churn-1", "step": 0, "weight": 0, "started": at(0), "since": at(0)});
                o.deployments
                    .push(deployment(json!({}), json!({"canary": canary})));
            },
            Some(Kept::Tried),
        ),
        (
            "its pods are kept warm",
            |o| {
                let child = json!({"metadata": {"name": "churn-v1"}, "spec": {"selector": {}, "template": {}}});
                o.around.children.push(Arc::new(object(child)));
            },
            Some(Kept::HasPods),
        ),
        (
            "its number is asked for",
            |o| {
                o.deployments
                    .push(deployment(json!({"version": 1}), json!({})));
            },
            Some(Kept::AskedFor),
        ),
        (
            "another number is asked for",
            |o| {
                o.deployments
                    .push(deployment(json!({"version": 11}), json!({})));
            },
            None,
        ),
        (
            "the parent of what serves",
            |o| {
                o.deployments.push(serving("churn-3"));
                sibling(o, 3).spec.parent = Some("churn-1".to_owned());
            },
            Some(Kept::Parent),
        ),
        (
            "the parent of what does not",
            |o| {
                o.deployments.push(serving("churn-4"));
                sibling(o, 3).spec.parent = Some("churn-1".to_owned());
            },
            None,
        ),
        (
            "no other is good",
            |o| {
                for number in 2..=5 {
                    sibling(o, number).status = None;
                }
            },
            Some(Kept::NewestGood),
        ),
        (
            "all that are newer are in quarantine",
            |o| {
                let quarantine: Vec<Value> = ["2", "3", "4", "5"]
                    .map(|digit| json!({"version": "churn", "fingerprint": digest(digit.chars().next().expect("one")), "reason": "harm", "time": at(0)}))
                    .into();
                o.deployments
                    .push(deployment(json!({}), json!({"quarantine": quarantine})));
            },
            Some(Kept::NewestGood),
        ),
        (
            "it is being judged",
            |o| unjudged(this(o)),
            Some(Kept::Validating),
        ),
        (
            "its files are being digested",
            |o| {
                this(o).spec.validation = None;
                this(o).spec.artifact.digest = None;
            },
            Some(Kept::Validating),
        ),
        (
            "it cannot be judged until a person does something",
            |o| {
                unjudged(this(o));
                let stalled = json!({"conditions": [{"type": "Stalled", "status": "True", "reason": "RuntimeNotFound", "message": "", "lastTransitionTime": at(0)}]});
                this(o).status = Some(object(stalled));
            },
            None,
        ),
        (
            "it waits for approval",
            |o| this(o).spec.approval = windlass_api::Approval::Manual,
            Some(Kept::AwaitingApproval),
        ),
        (
            "one that is being judged is compared with it",
            |o| {
                unjudged(sibling(o, 5));
                sibling(o, 5).status = Some(object(json!({"champion": "churn-1"})));
            },
            Some(Kept::Champion),
        ),
        (
            "a monitor compares with it",
            |o| {
                let monitor = json!({"apiVersion": "windlass.dev/v1alpha1", "kind": "DriftMonitor", "metadata": {"name": "churn"},
                    "spec": {"deployment": "churn", "window": {"every": "1m", "size": "1m"}}, "status": {"reference": "churn-1"}});
                o.around.monitors.push(Arc::new(object(monitor)));
            },
            Some(Kept::Reference),
        ),
        (
            "the training that made it has not ended",
            |o| {
                this(o).spec.trained_by = Some(object(json!({"name": "a", "uid": "uid-a"})));
                o.around
                    .training_jobs
                    .push(Arc::new(object(training_job(json!({}), "uid-a"))));
            },
            Some(Kept::Training),
        ),
        (
            "a training reads its files",
            |o| {
                let inputs = json!([{"name": "base", "uri": "pvc://models/churn/1/model"}]);
                let job = training_job(json!({"inputs": inputs}), "uid-b");
                o.around.training_jobs.push(Arc::new(object(job)));
            },
            Some(Kept::Training),
        ),
    ];
    for (name, change, expected) in rows {
        let mut observed = first_of_five();
        change(&mut observed);
        let status = observed.version.status.clone().unwrap_or_default();
        assert_eq!(kept(&observed, &status), expected, "{name}");
    }
}

#[test]
fn what_is_around_one_of_the_newest_is_not_looked_up() {
    let names = |of: &[&'static str]| of.to_vec();
    let version = bounded(2, ArtifactPolicy::Retain);
    let rows = [
        (names(&["churn-1", "churn-2", "churn-3"]), false),
        (names(&["churn-2", "churn-3", "churn-11"]), true),
        (names(&["churn-2", "churn-3", "churn-x"]), false),
    ];
    for (names, expected) in rows {
        assert_eq!(may_go(&version, names.clone()), expected, "{names:?}");
        let mut retiring = (*version).clone();
        let status = retiring.status.get_or_insert_default();
        status.retiring = Some(object(json!({"since": at(0)})));
        assert!(may_go(&retiring, names.clone()));
        let mut unbounded = (*version).clone();
        unbounded.spec.retention = None;
        assert!(!may_go(&unbounded, names));
    }
    // It is not found to be on its way for want of knowledge.
    let mut alone = first_of_five();
    alone.around = Around::default();
    let status = alone.version.status.clone().unwrap_or_default();
    assert_eq!(kept(&alone, &status), Some(Kept::Newest));
}

/// Several versions of a model, which do as their plans say.
struct Registry {
    versions: Vec<Arc<ModelVersion>>,
    deployments: Vec<Arc<ModelDeployment>>,
    jobs: Vec<Arc<Job>>,
    /// The Job that was made last, whole.
    made: Option<Job>,
    pods: Vec<Arc<Pod>>,
    now: i64,
    writes: u64,
    gone: Vec<String>,
    told: Vec<String>,
}

impl Registry {
    fn new(numbers: impl IntoIterator<Item = i64>, artifacts: ArtifactPolicy) -> Self {
        let mut registry = Self {
            versions: numbers
                .into_iter()
                .map(|number| bounded(number, artifacts))
                .collect(),
            deployments: Vec::new(),
            jobs: Vec::new(),
            made: None,
            pods: Vec::new(),
            now: 0,
            writes: 0,
            gone: Vec::new(),
            told: Vec::new(),
        };
        registry.settle();
        registry
    }

    fn names(&self) -> Vec<String> {
        self.versions.iter().map(|one| one.name_any()).collect()
    }

    fn get(&self, name: &str) -> &ModelVersion {
        let mut all = self.versions.iter();
        all.find(|one| one.name_any() == name).expect("it is there")
    }

    fn change(&mut self, name: &str, change: impl FnOnce(&mut ModelVersion)) {
        self.writes += 1;
        let written = self.writes.to_string();
        let mut all = self.versions.iter_mut();
        let one = all.find(|one| one.name_any() == name);
        let one = Arc::make_mut(one.expect("it is there"));
        change(one);
        one.metadata.resource_version = Some(written);
    }

    fn said(&self, name: &str, type_: &str) -> String {
        let status = self.get(name).status.clone().unwrap_or_default();
        said(&status.conditions, type_)
    }

    fn job(&self, name: &str) -> Option<Arc<Job>> {
        let mut jobs = self.jobs.iter();
        jobs.find(|job| job.name_any() == name).cloned()
    }

    fn observed(&self, name: &str) -> Observed {
        let version = Arc::new(self.get(name).clone());
        let others: Vec<_> = self
            .versions
            .iter()
            .filter(|one| one.name_any() != name)
            .cloned()
            .collect();
        let mut observed = observed(version, others.clone());
        observed.deployments.clone_from(&self.deployments);
        observed.job = self.job(&format!("{name}-validation"));
        observed.around.job = self.job(&format!("{name}-retention"));
        observed.around.pods = match observed.around.job {
            Some(_) => self.pods.clone(),
            None => Vec::new(),
        };
        if observed.version.is_retiring() {
            observed.around.neighbours = others;
        }
        observed
    }

    /// Plans and applies; ends before the status is written where it crashes.
    fn reconcile(&mut self, name: &str, crash: bool) -> bool {
        let before = self.writes;
        let plan = plan(&self.observed(name), at(self.now));
        for step in plan.steps {
            match step {
                Step::Apply(Child::Job(job)) if self.job(&job.name_any()).is_some() => {}
                Step::Apply(Child::Job(mut job)) => {
                    self.made = Some(*job.clone());
                    crate::jobs::trim(&mut job);
                    self.jobs.push(Arc::new(*job));
                    self.writes += 1;
                }
                Step::Delete(Doomed::Job(name)) => {
                    self.jobs.retain(|job| job.name_any() != name);
                    self.writes += 1;
                }
                Step::Delete(Doomed::ModelVersion(doomed)) => {
                    let version = self.get(name);
                    assert_eq!(doomed.name, name);
                    assert_eq!(doomed.uid, version.uid());
                    assert_eq!(doomed.resource_version, version.resource_version());
                    let last = version.status.as_ref().and_then(|one| one.decisions.last());
                    let last = last.expect("a record");
                    assert_eq!((last.action, &last.deployment), (Action::Retired, &None));
                    self.gone.push(doomed.name);
                    self.versions.retain(|one| one.name_any() != name);
                    self.writes += 1;
                    return true;
                }
                other => panic!("not a step of a ModelVersion: {other:?}"),
            }
        }
        if !crash && Some(&plan.status) != self.get(name).status.as_ref() {
            self.told
                .extend(plan.notes.iter().map(|note| note.reason.clone()));
            self.change(name, |version| version.status = Some(plan.status));
        }
        before != self.writes
    }

    /// The newest looks first, so that the order is nobody's luck.
    fn settle(&mut self) -> &mut Self {
        for _ in 0..50 {
            let mut names = self.names();
            names.reverse();
            let changes = names
                .iter()
                .filter(|name| self.names().contains(name) && self.reconcile(name, false))
                .count();
            if changes == 0 {
                return self;
            }
        }
        panic!("never settles")
    }

    fn wait(&mut self, seconds: i64) -> &mut Self {
        self.now += seconds;
        self.settle()
    }

    fn job_ends(&mut self, type_: &str) -> &mut Self {
        let ended_at = at(self.now);
        let job = self.jobs.last_mut().expect("a Job");
        Arc::make_mut(job).status = Some(object(
            json!({"conditions": [{"type": type_, "status": "True", "lastTransitionTime": ended_at}]}),
        ));
        self
    }

    fn pod_ends(&mut self, exit_code: i32, message: &Value) -> &mut Self {
        let made = pod("p", &[].into());
        let ended = ended(made, "windlass-agent", exit_code, &message.to_string());
        self.pods = vec![Arc::new(ended)];
        self
    }
}

#[test]
fn the_oldest_goes_first_after_half_a_minute_and_its_record_is_there_before() {
    let mut registry = Registry::new(1..=5, ArtifactPolicy::Retain);
    let marked = |registry: &Registry| {
        let all = registry.versions.iter();
        let marked = all.filter(|one| one.is_retiring());
        marked.map(|one| one.spec.version).collect::<Vec<_>>()
    };
    assert_eq!(marked(&registry), [1, 2, 3]);
    assert!(
        registry.said("churn-1", READY).starts_with(
            "False Retiring: 2 newer versions of churn are there, and spec.retention keeps 2: it goes after 2026-11-01T00:00:30Z"
        ),
        "{}",
        registry.said("churn-1", READY)
    );
    registry.wait(29);
    assert_eq!(registry.gone, Vec::<String>::new());
    registry.wait(1);
    assert_eq!(registry.gone, ["churn-1", "churn-2", "churn-3"]);
    assert_eq!(registry.names(), ["churn-4", "churn-5"]);
    assert!(registry.jobs.is_empty(), "nobody asked for the files");
    let writes = registry.writes;
    registry.wait(1_000);
    assert_eq!(registry.writes, writes);
}

#[test]
fn what_serves_its_parent_and_what_is_held_stay_and_go_once_they_are_free() {
    let mut registry = Registry::new(1..=2, ArtifactPolicy::Retain);
    registry.change("churn-1", |one| {
        one.labels_mut()
            .insert(labels::LEGAL_HOLD.into(), "case-7".into());
    });
    for number in 3..=8 {
        let mut next = bounded(number, ArtifactPolicy::Retain);
        Arc::make_mut(&mut next).spec.parent = Some(format!("churn-{}", number - 1));
        registry.versions.push(next);
    }
    registry.deployments = vec![serving("churn-4")];
    registry.settle().wait(30);
    let left = ["churn-1", "churn-3", "churn-4", "churn-7", "churn-8"];
    assert_eq!(registry.names(), left);

    registry.deployments = vec![serving("churn-8")];
    registry.change("churn-1", |one| one.labels_mut().clear());
    registry.settle().wait(30);
    assert_eq!(registry.gone[3..], ["churn-1", "churn-3", "churn-4"]);
    assert_eq!(registry.names(), ["churn-7", "churn-8"]);
}

#[test]
fn one_that_is_needed_after_all_stays_as_it_was() {
    let mut registry = Registry::new(1..=3, ArtifactPolicy::Retain);
    assert!(registry.get("churn-1").is_retiring());
    registry.deployments = vec![deployment(json!({"version": 1}), json!({}))];
    registry.wait(30);
    assert!(!registry.get("churn-1").is_retiring() && registry.gone.is_empty());
    assert_eq!(registry.told, ["Retiring", "Kept"]);
    assert!(
        registry
            .said("churn-1", READY)
            .starts_with("True Registered")
    );
    let records = registry.get("churn-1").status.clone().unwrap_or_default();
    assert!(
        records
            .decisions
            .iter()
            .all(|one| one.action != Action::Retired)
    );
}

#[test]
fn the_last_record_is_part_of_the_chain_and_a_crash_at_any_moment_loses_neither_it_nor_the_end() {
    let mut registry = Registry::new(1..=3, ArtifactPolicy::Delete);
    registry.now = 30;
    // It is decided, and whoever decided it ends before it is written.
    registry.reconcile("churn-1", true);
    assert!(registry.jobs.is_empty(), "not before it is on record");
    registry.reconcile("churn-1", false);
    let version = registry.get("churn-1").clone();
    let decisions = version.status.clone().unwrap_or_default().decisions;
    let [.., before, last] = &*decisions else {
        panic!("two records")
    };
    assert_eq!((last.action, last.time), (Action::Retired, at(30)));
    assert_eq!(
        last.reason,
        "2 newer versions of churn are there, and spec.retention keeps 2; its files are deleted first"
    );
    assert_eq!(last.previous.as_ref(), Some(&before.digest));
    assert_eq!(last.evidence.as_deref(), version.digest());
    let line = AuditLine {
        namespace: version.namespace().unwrap_or_default(),
        name: version.name_any(),
        uid: version.uid().unwrap_or_default(),
        decision: last.clone(),
    };
    assert_eq!(line.digest(), last.digest);

    // The Job is made, and again nothing is written.
    registry.reconcile("churn-1", true);
    assert_eq!(registry.jobs.len(), 1);
    registry.settle();
    assert_eq!(registry.jobs.len(), 1);
    let retired = |registry: &Registry| {
        let status = registry.get("churn-1").status.clone().unwrap_or_default();
        let all = status.decisions.into_iter();
        all.filter(|one| one.action == Action::Retired).count()
    };
    assert_eq!(retired(&registry), 1);
    registry.pod_ends(0, &json!({"kind": "Delete", "deleted": []}));
    registry.job_ends("Complete").settle();
    assert_eq!(registry.gone, ["churn-1"]);
}

#[test]
fn the_plan_that_deletes_the_files() {
    let mut registry = Registry::new(1..=3, ArtifactPolicy::Delete);
    registry.now = 30;
    registry.reconcile("churn-1", false);
    let plan = plan(&registry.observed("churn-1"), at(30));
    insta::with_settings!({prepend_module_to_snapshot => false, snapshot_path => "../snapshots"}, {
        insta::assert_yaml_snapshot!("plan_that_deletes_the_files", readable(&plan));
    });
}

#[test]
fn the_files_go_with_the_version_s_own_rights_and_with_the_reports_on_it() {
    let mut registry = Registry::new(1..=3, ArtifactPolicy::Delete);
    registry.change("churn-1", |one| {
        one.spec.storage = Some(object(
            json!({"secretName": "keys", "serviceAccountName": "writer"}),
        ));
        let found = one.status.as_mut().and_then(|one| one.validation.as_mut());
        let found = found.expect("a verdict");
        let stored = |name: &str| {
            Some(object(
                json!({"uri": format!("pvc://models/churn/1/{name}"), "digest": digest('c')}),
            ))
        };
        found.report = stored("model-evaluation/report.json");
        // Not where the operator had it written.
        found.baseline = stored("elsewhere/baseline.json");
    });
    registry.wait(30);
    let job = registry.made.clone().expect("a Job");
    assert_eq!(job.name_any(), "churn-1-retention");
    let spec = job.spec.and_then(|spec| spec.template.spec).expect("pods");
    assert_restricted(&spec);
    assert_eq!(given(&spec, "keys"), ["windlass-agent"]);
    assert_eq!(spec.service_account_name.as_deref(), Some("writer"));
    assert_eq!(
        spec.containers[0].args.as_deref().unwrap_or_default(),
        [
            "delete",
            "--uri",
            "pvc://models/churn/1/model",
            "--digest",
            &digest('a'),
            "--uri",
            "pvc://models/churn/1/model-evaluation/report.json",
            "--digest",
            &digest('c'),
        ]
    );
    assert!(registry.said("churn-1", RECONCILING).starts_with("True"));
}

#[test]
fn a_deletion_that_fails_is_told_and_tried_again_only_when_its_job_is_deleted() {
    let mut registry = Registry::new(1..=4, ArtifactPolicy::Delete);
    registry.wait(30);
    assert_eq!(registry.jobs.len(), 1, "one after the other");
    let failure =
        json!({"kind": "Failure", "reason": "DigestMismatch", "message": "it is another"});
    registry.pod_ends(65, &failure).job_ends("Failed").settle();
    let said = registry.said("churn-1", STALLED);
    assert!(
        said.starts_with(
            "True DigestMismatch: its files were not deleted, and its record stays: it is another"
        ) && said.contains("delete the Job churn-1-retention"),
        "{said}"
    );
    assert!(
        registry
            .said("churn-1", VALIDATED)
            .starts_with("Unknown Registered")
    );
    // It holds up no other.
    assert_eq!(registry.jobs.len(), 2);
    registry.pod_ends(0, &json!({"kind": "Delete", "deleted": []}));
    registry.job_ends("Complete").settle();
    assert_eq!(registry.gone, ["churn-2"]);
    let writes = registry.writes;
    registry.wait(100_000);
    assert_eq!(registry.writes, writes, "it is not tried again by itself");

    registry.jobs.clear();
    registry.pods.clear();
    registry.settle();
    assert_eq!(registry.jobs.len(), 1);
    assert!(registry.said("churn-1", STALLED).starts_with("False"));
    registry.pod_ends(0, &json!({"kind": "Delete", "deleted": []}));
    registry.job_ends("Complete").settle();
    assert_eq!(registry.gone, ["churn-2", "churn-1"]);
}

#[test]
fn a_legal_hold_stops_what_has_been_decided() {
    let mut registry = Registry::new(1..=3, ArtifactPolicy::Delete);
    registry.wait(30);
    assert_eq!(registry.jobs.len(), 1);
    let hold = |one: &mut ModelVersion| {
        one.labels_mut()
            .insert(labels::LEGAL_HOLD.into(), "case-7".into());
    };
    registry.change("churn-1", hold);
    registry.wait(1_000);
    assert!(registry.jobs.is_empty() && registry.gone.is_empty());
    assert!(
        registry
            .said("churn-1", STALLED)
            .starts_with("True LegalHold")
    );

    registry.change("churn-1", |one| one.labels_mut().clear());
    registry.settle();
    assert_eq!(registry.jobs.len(), 1);
    registry.pod_ends(0, &json!({"kind": "Delete", "deleted": []}));
    registry.job_ends("Complete");
    // Between the end of the Job and that of the object.
    registry.change("churn-1", hold);
    registry.wait(1_000);
    assert!(registry.gone.is_empty());
    registry.change("churn-1", |one| one.labels_mut().clear());
    registry.settle();
    assert_eq!(registry.gone, ["churn-1"]);
}

#[test]
fn what_stands_in_the_way_is_told_with_its_field() {
    let mut registry = Registry::new(1..=3, ArtifactPolicy::Delete);
    registry.change("churn-1", |one| {
        one.spec.artifact.uri = "pvc://gone/churn/1/model".into();
    });
    registry.wait(30);
    let stalled = registry.said("churn-1", STALLED);
    assert!(
        stalled.starts_with("True VolumeClaimNotFound: spec.artifact.uri"),
        "{stalled}"
    );
    assert!(registry.gone.is_empty() && registry.jobs.is_empty());

    let problem = Problem::new("Refused", "the API server says no");
    let plan = refused(&registry.observed("churn-1"), &problem, at(40));
    assert!(plan.status.retiring.is_some());
    assert_eq!(
        said(&plan.status.conditions, STALLED),
        "True Refused: the API server says no"
    );
    assert!(find_condition(&plan.status.conditions, VALIDATED).is_some());
}

#[test]
fn files_that_another_version_has_too_stay_and_go_with_the_last() {
    type Change = fn(&mut Observed);
    fn neighbour<'a>(observed: &'a mut Observed, uri: &str) -> &'a mut ModelVersion {
        let mut other = version(7, '7', Some("Pass"));
        let one = Arc::make_mut(&mut other);
        one.metadata.name = Some("fraud-7".to_owned());
        one.spec.artifact.uri = uri.into();
        observed.around.neighbours = vec![other];
        Arc::make_mut(&mut observed.around.neighbours[0])
    }
    let rows: [(&str, Change, Option<&str>); 11] = [
        ("nobody has them", |_| {}, None),
        (
            "another has others",
            |o| {
                neighbour(o, "pvc://models/fraud/1/model");
            },
            None,
        ),
        (
            "another has the same",
            |o| {
                neighbour(o, "pvc://models/churn/1/model/");
            },
            Some("fraud-7 has pvc://models/churn/1/model too"),
        ),
        (
            "another lies inside",
            |o| {
                neighbour(o, "pvc://models/churn/1/model/inner");
            },
            Some("fraud-7 has"),
        ),
        (
            "another lies around it",
            |o| {
                neighbour(o, "pvc://models/churn");
            },
            Some("fraud-7 has"),
        ),
        (
            "another was made from it",
            |o| {
                let other = neighbour(o, "pvc://models/fraud/1/model");
                other.spec.inputs = vec![object(
                    json!({"name": "base", "uri": "pvc://models/churn/1/model", "digest": digest('a')}),
                )];
            },
            Some("fraud-7 has"),
        ),
        (
            "the reports on another lie around it",
            |o| {
                this(o).spec.artifact.uri = "pvc://models/m-evaluation/x".into();
                neighbour(o, "pvc://models/m");
            },
            Some("fraud-7 has"),
        ),
        (
            "they are a whole claim",
            |o| this(o).spec.artifact.uri = "pvc://models".into(),
            Some("pvc://models names no folder of their own"),
        ),
        (
            "they are a whole bucket",
            |o| this(o).spec.artifact.uri = "s3://models/".into(),
            Some("s3://models/ names no folder of their own"),
        ),
        (
            "they can only be read",
            |o| this(o).spec.artifact.uri = "https://models.example/churn".into(),
            Some("https://models.example/churn can only be read"),
        ),
        (
            "they are part of an image",
            |o| this(o).spec.artifact.uri = "oci://registry.example/churn:1".into(),
            Some("oci://registry.example/churn:1 can only be read"),
        ),
    ];
    for (name, change, expected) in rows {
        let mut observed = first_of_five();
        change(&mut observed);
        match (files(&observed), expected) {
            (Files::Go(all), None) => assert_eq!(all.len(), 1, "{name}"),
            (Files::Stay(Some(why)), Some(expected)) => {
                assert!(why.starts_with(expected), "{name}: {why}");
            }
            (found, _) => panic!("{name}: {found:?}"),
        }
    }

    let mut registry = Registry::new(1..=4, ArtifactPolicy::Delete);
    for name in ["churn-1", "churn-2"] {
        registry.change(name, |one| {
            one.spec.artifact.uri = "pvc://models/churn/shared".into();
        });
    }
    registry.wait(30);
    assert_eq!(registry.gone, ["churn-1"], "with its files where they are");
    assert_eq!(registry.jobs.len(), 1);
    assert_eq!(registry.jobs[0].name_any(), "churn-2-retention");
}

/// What a world of versions is made from.
#[derive(Clone, Debug)]
struct Seed {
    judged: u8,
    is_held: bool,
    parent: Option<i64>,
    approval: bool,
}

fn seeds() -> impl Strategy<Value = Vec<Seed>> {
    let seed = (
        0u8..3,
        prop::bool::weighted(0.1),
        prop::option::of(1i64..10),
        prop::bool::weighted(0.1),
    );
    let seed = seed.prop_map(|(judged, is_held, parent, approval)| Seed {
        judged,
        is_held,
        parent,
        approval,
    });
    prop::collection::vec(seed, 1..10)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_version_of_a_protected_kind_goes_and_no_more_are_left_than_are_kept_or_protected(
        seeds in seeds(), keep in 1i32..4, stable in 1i64..10, canary in prop::option::of(1i64..10), asked in prop::option::of(1i32..10),
    ) {
        let mut registry = Registry::new([], ArtifactPolicy::Retain);
        for (number, seed) in (1i64..).zip(&seeds) {
            let mut one = bounded(number, ArtifactPolicy::Retain);
            let version = Arc::make_mut(&mut one);
            version.spec.retention.as_mut().expect("one").keep = keep;
            version.spec.parent = seed.parent.map(|parent| format!("churn-{parent}"));
            match seed.judged {
                0 => version.status = None,
                1 => unjudged(version),
                _ => {}
            }
            if seed.is_held {
                version.labels_mut().insert(labels::LEGAL_HOLD.into(), "x".into());
            }
            if seed.approval {
                version.spec.approval = windlass_api::Approval::Manual;
            }
            registry.versions.push(one);
        }
        let mut status = json!({"stable": {"version": format!("churn-{stable}"), "since": at(0)}});
        if let Some(canary) = canary {
            status["canary"] = json!({"version": format!("churn-{canary}"), "step": 0, "weight": 0, "started": at(0), "since": at(0)});
        }
        let spec = asked.map_or_else(|| json!({}), |asked| json!({"version": asked}));
        registry.deployments = vec![deployment(spec, status)];
        let all = registry.versions.clone();
        let count = i64::try_from(all.len()).expect("few");
        let good = |number: i64| {
            let seed = &seeds[usize::try_from(number - 1).expect("from 1")];
            seed.judged == 2 && !seed.approval
        };
        let newest_good = (1..=count).rev().find(|number| good(*number));
        let used: Vec<i64> = [Some(stable), canary].into_iter().flatten().collect();
        let protected: BTreeSet<i64> = (1..=count)
            .filter(|number| {
                let seed = &seeds[usize::try_from(number - 1).expect("from 1")];
                let is_parent = used.iter().any(|child| {
                    *child <= count && seeds[usize::try_from(child - 1).expect("from 1")].parent == Some(*number) && child != number
                });
                used.contains(number) || asked.map(i64::from) == Some(*number) || seed.is_held || is_parent
                    || newest_good == Some(*number) || seed.judged == 1 || seed.approval
            })
            .collect();
        registry.settle().wait(30).wait(30);
        let left: BTreeSet<i64> = registry.versions.iter().map(|one| one.spec.version).collect();
        let newest: BTreeSet<i64> = (1..=count).rev().take(usize::try_from(keep).expect("few")).collect();
        prop_assert!(left.is_superset(&protected), "{left:?} lacks some of {protected:?}");
        prop_assert!(left.is_superset(&newest), "{left:?} lacks some of {newest:?}");
        let needed: BTreeSet<i64> = protected.union(&newest).copied().collect();
        prop_assert_eq!(&left, &needed, "more are left than are kept or protected");
        let mut sorted = registry.gone.clone();
        sorted.sort();
        prop_assert_eq!(&sorted, &registry.gone, "the oldest first");
        prop_assert!(registry.versions.iter().all(|one| !one.is_retiring()));
    }
}
