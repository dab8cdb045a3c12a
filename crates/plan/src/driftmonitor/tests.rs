//! DriftMonitor: one decision a test, and a property over restarts.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use proptest::prelude::*;
use serde_json::{Value, json};
use windlass_api::condition::{DRIFTED, READY, STALLED};
use windlass_api::{
    CAUSE, DriftMonitor, DriftMonitorStatus, ModelDeployment, TrainingJob, is_true,
};

use super::{Observed, plan};
use crate::fixtures::{
    as_kept, assert_restricted, at, digest, disrupted, ended, given, is_so, object, pod, readable,
    said, version, waiting,
};
use crate::{Child, Plan, Step};

struct World {
    observed: Observed,
    now: i64,
    writes: usize,
    /// The TrainingJobs that were ever made.
    made: Vec<String>,
}

fn monitor(spec: Value) -> DriftMonitor {
    let training = json!({"model": "churn", "output": {"uri": "pvc://models/churn", "format": "LightGBM"},
        "workers": {"replicas": 1, "template": {"spec": {"containers": [{"name": "t", "image": "t:1", "command": ["t"]}]}}}});
    let mut whole = json!({
        "deployment": "churn", "window": {"every": "60s", "size": "120s", "minSamples": 100},
        "triggerWhen": {"windows": 2, "outOf": 3}, "mode": "Enforce",
        "retrain": {"template": {"metadata": {"labels": {"team": "growth"}}, "spec": training}, "cooldown": "10m"},
        "performance": {"labels": {"uri": "pvc://labels/churn", "column": "churned"}, "metric": "rocAuc", "min": "0.7"}
    });
    let (Value::Object(all), Value::Object(more)) = (&mut whole, spec) else {
        panic!("objects")
    };
    all.extend(more);
    object(
        json!({"apiVersion": "windlass.dev/v1alpha1", "kind": "DriftMonitor",
        "metadata": {"name": "churn", "namespace": "growth", "uid": "uid-monitor", "generation": 1}, "spec": whole}),
    )
}

fn deployment(stable: Option<i64>, canary: Option<i64>) -> Arc<ModelDeployment> {
    let stable =
        stable.map(|number| json!({"version": format!("churn-{number}"), "since": at(-600)}));
    let canary = canary.map(|number| json!({"version": format!("churn-{number}"), "step": 0, "weight": 10, "started": at(0), "since": at(0)}));
    Arc::new(object(
        json!({"apiVersion": "windlass.dev/v1alpha1", "kind": "ModelDeployment", "metadata": {"name": "churn", "namespace": "growth"},
        "spec": {"model": "churn", "runtime": "mlserver", "observe": {"logPayloads": {"uri": "pvc://predictions/churn"}}},
        "status": {"stable": stable, "canary": canary}}),
    ))
}

fn report(verdict: &str) -> String {
    // The agent's own idea of the window is not what the window is known by.
    json!({"kind": "Drift", "verdict": verdict, "message": format!("it is {verdict}"), "start": at(0), "end": at(1), "rows": 400, "columns": 4, "drifted": 2,
        "top": [{"column": "age", "psi": 0.9, "lower": 0.8, "threshold": 0.2, "drifted": true, "moved": "up"}]})
    .to_string()
}

impl World {
    fn new(spec: Value) -> Self {
        let observed = Observed {
            monitor: Arc::new(monitor(spec)),
            deployment: Some(deployment(Some(1), None)),
            serving: Some(version(1, '1', Some("Pass"))),
            jobs: Vec::new(),
            pods: Vec::new(),
            training_jobs: Vec::new(),
            trained: Vec::new(),
            claims: Arc::new(["labels".to_owned()].into()),
            agent_image: "agent:1".to_owned(),
        };
        Self {
            observed,
            now: 10,
            writes: 0,
            made: Vec::new(),
        }
    }

    fn plan(&self) -> Plan<DriftMonitorStatus> {
        let mut kept = self.observed.clone();
        as_kept(&mut kept.pods, &mut kept.jobs);
        plan(&kept, at(self.now))
    }

    fn status(&self) -> DriftMonitorStatus {
        self.observed.monitor.status.clone().unwrap_or_default()
    }

    fn said(&self, type_: &str) -> String {
        said(&self.status().conditions, type_)
    }

    fn is(&self, type_: &str) -> bool {
        is_true(&self.status().conditions, type_)
    }

    fn reconcile_until(&mut self, crash: usize) -> bool {
        let plan = self.plan();
        let before = self.writes;
        let crashed = plan.steps.len() >= crash;
        for step in plan.steps.into_iter().take(crash) {
            self.writes += 1;
            match step {
                Step::Apply(Child::Job(wanted)) => {
                    assert!(
                        self.observed
                            .jobs
                            .iter()
                            .all(|job| job.name_any() != wanted.name_any()
                                || is_so(&*wanted, &**job))
                    );
                    assert!(
                        self.observed
                            .jobs
                            .iter()
                            .filter(|job| !crate::jobs::has_ended(job))
                            .count()
                            == 0,
                        "one window at a time"
                    );
                    self.observed.jobs.push(Arc::new(*wanted));
                }
                Step::Create(Child::TrainingJob(mut job)) => {
                    assert!(
                        !self.made.contains(&job.name_any()),
                        "{} is made twice",
                        job.name_any()
                    );
                    job.metadata.creation_timestamp = Some(Time(at(self.now)));
                    self.made.push(job.name_any());
                    self.observed.training_jobs.push(Arc::new(*job));
                }
                other => panic!("not a step of a DriftMonitor: {other:?}"),
            }
        }
        if !crashed && plan.status != self.status() {
            Arc::make_mut(&mut self.observed.monitor).status = Some(plan.status);
            self.writes += 1;
        }
        before != self.writes
    }

    fn settle(&mut self) -> &mut Self {
        (0..10)
            .find(|_| !self.reconcile_until(usize::MAX))
            .expect("it settles");
        self
    }

    /// The window that is being looked at ends so.
    fn judged(&mut self, exit_code: i32, message: &str) -> &mut Self {
        let now = at(self.now);
        let Some(job) = self
            .observed
            .jobs
            .iter_mut()
            .find(|job| !crate::jobs::has_ended(job))
        else {
            return self;
        };
        let job = Arc::make_mut(job);
        job.status = Some(object(
            json!({"conditions": [{"type": if exit_code == 0 { "Complete" } else { "Failed" }, "status": "True", "lastTransitionTime": now}]}),
        ));
        let its = [("batch.kubernetes.io/job-name".to_owned(), job.name_any())].into();
        self.observed.pods.push(Arc::new(ended(
            pod(&job.name_any(), &its),
            "windlass-agent",
            exit_code,
            message,
        )));
        self
    }

    /// The next window ends, and this is found in it.
    fn window(&mut self, verdict: &str) -> &mut Self {
        self.now += 60;
        self.settle();
        if verdict == "Failed" {
            self.judged(1, "")
        } else {
            self.judged(0, &report(verdict))
        };
        self.settle()
    }

    fn windows(&mut self, verdicts: &[&str]) -> &mut Self {
        for verdict in verdicts {
            self.window(verdict);
        }
        self
    }

    fn training_ends(&mut self) -> &mut Self {
        for job in &mut self.observed.training_jobs {
            let conditions = json!([{"type": "Complete", "status": "True", "reason": "Complete", "message": "", "lastTransitionTime": at(self.now)}]);
            Arc::make_mut(job).status = Some(object(json!({ "conditions": conditions })));
        }
        self
    }

    fn serves(&mut self, number: i64) -> &mut Self {
        self.observed.deployment = Some(deployment(Some(number), None));
        self.observed.serving = Some(version(number, '2', Some("Pass")));
        self
    }
}

#[test]
fn the_plan_that_asks_for_a_training() {
    let mut world = World::new(json!({}));
    world.windows(&["Healthy", "Drifted"]);
    world.now += 60;
    world.settle().judged(0, &report("Drifted"));
    insta::with_settings!({prepend_module_to_snapshot => false}, {
        insta::assert_yaml_snapshot!("plan_that_asks_for_a_training", readable(&world.plan()));
    });
}

#[test]
fn a_window_is_judged_once_in_order_and_known_by_the_job_that_was_made_for_it() {
    let mut world = World::new(json!({}));
    world.windows(&["Healthy", "NotEnoughData", "Healthy"]);
    let ends: Vec<_> = world
        .status()
        .windows
        .iter()
        .map(|window| window.end)
        .collect();
    assert_eq!(ends.len(), 4 - 1);
    assert!(
        ends.is_sorted_by(|one, next| next.as_second() - one.as_second() == 60),
        "{ends:?}"
    );
    let writes = world.writes;
    world.settle();
    world.observed.jobs.reverse();
    world.settle();
    assert_eq!(
        world.writes, writes,
        "a restart over unchanged objects writes nothing"
    );
    assert_eq!(world.status().windows[0].drifted, ["age"]);
}

#[test]
fn drift_is_k_of_the_last_m_judged_windows() {
    let rows: [(&[&str], bool); 9] = [
        (&["Healthy", "Healthy"], false),
        (&["Drifted"], false),
        (&["Drifted", "Drifted"], true),
        (&["Drifted", "Healthy", "Drifted"], true),
        (&["Drifted", "Healthy", "Healthy", "Drifted"], false),
        (
            &[
                "Drifted",
                "NotEnoughData",
                "NotEnoughData",
                "NotEnoughData",
                "Drifted",
            ],
            true,
        ),
        (&["Failed", "Failed", "Failed"], false),
        (&["DataBroken", "DataBroken", "DataBroken"], false),
        (&["Drifted", "Failed", "DataBroken", "Healthy"], false),
    ];
    for (verdicts, expected) in rows {
        let mut world = World::new(json!({}));
        world.windows(verdicts);
        assert_eq!(
            (world.is(DRIFTED), world.made.len()),
            (expected, usize::from(expected)),
            "{verdicts:?}: {}",
            world.said(DRIFTED)
        );
    }
}

#[test]
fn broken_data_and_a_failed_evaluation_call_a_person_and_say_why() {
    let mut world = World::new(json!({}));
    world.window("DataBroken");
    assert_eq!(world.said(STALLED), "True DataBroken: it is DataBroken");
    world.now += 60;
    world
        .settle()
        .judged(
            1,
            r#"{"kind":"Failure","reason":"LabelsUnreadable","message":"line 3 is garbage"}"#,
        )
        .settle();
    assert_eq!(
        world.said(STALLED),
        "True LabelsUnreadable: line 3 is garbage"
    );
    world.window("Healthy");
    assert!(
        world.is(READY) && !world.is(STALLED),
        "{}",
        world.said(READY)
    );
}

#[test]
fn one_drift_makes_one_training_however_long_it_lasts() {
    let mut world = World::new(json!({}));
    world.windows(&["Drifted", "Drifted"]);
    assert_eq!(world.made.len(), 1);
    assert!(
        world.said(DRIFTED).contains("is under way"),
        "{}",
        world.said(DRIFTED)
    );
    world.windows(&["Drifted"; 20]);
    assert_eq!(world.made.len(), 1, "one is under way, however long");
    let mut world = World::new(json!({}));
    world
        .windows(&["Drifted", "Drifted"])
        .training_ends()
        .windows(&["Drifted"; 5]);
    assert_eq!(world.made.len(), 1, "the cooldown is not over");
    assert!(
        world.said(DRIFTED).contains("spec.retrain.cooldown"),
        "{}",
        world.said(DRIFTED)
    );
    world.windows(&["Drifted"; 10]);
    assert_eq!(
        world.made.len(),
        2,
        "it drifts on, and the cooldown is over"
    );
}

#[test]
fn the_same_windows_never_ask_twice_though_the_training_was_deleted_since() {
    let mut world = World::new(json!({}));
    world.windows(&["Drifted", "Drifted"]).training_ends();
    world.observed.training_jobs.clear();
    world.windows(&["NotEnoughData"; 30]);
    assert_eq!(world.made.len(), 1);
    let last = world.status().last_trigger;
    world.windows(&["NotEnoughData"; 30]);
    assert_eq!(world.status().last_trigger, last);
}

#[test]
fn a_training_that_was_made_just_before_a_crash_is_written_down_and_not_made_again() {
    let mut world = World::new(json!({}));
    world.window("Drifted");
    world.now += 60;
    world.settle().judged(0, &report("Drifted"));
    world.reconcile_until(1);
    assert!(world.made.len() == 1 && world.status().last_trigger.is_none());
    world.training_ends().windows(&["Drifted", "Drifted"]);
    assert_eq!(world.made.len(), 1);
    assert_eq!(
        world.status().last_trigger.map(|last| last.training_job),
        world.made.first().cloned()
    );
}

#[test]
fn no_training_is_asked_for_while_a_new_version_is_tried() {
    let mut world = World::new(json!({}));
    world.observed.deployment = Some(deployment(Some(1), Some(2)));
    world.windows(&["Drifted", "Drifted", "Drifted"]);
    assert!(
        world.made.is_empty() && world.said(DRIFTED).contains("roll-out of churn-2"),
        "{}",
        world.said(DRIFTED)
    );
}

#[test]
fn no_training_is_asked_for_while_what_came_of_the_last_one_is_not_settled() {
    let rows: [(&str, Option<&str>, bool); 5] = [
        ("it has no verdict yet", None, false),
        (
            "it is good, and its roll-out has not begun",
            Some("Pass"),
            false,
        ),
        ("it was found bad", Some("Fail"), true),
        (
            "it was found neither good nor bad",
            Some("Inconclusive"),
            true,
        ),
        ("it was good and was rolled back", Some("Pass"), true),
    ];
    for (name, verdict, asks) in rows {
        let mut world = World::new(json!({}));
        world.windows(&["Drifted", "Drifted"]).training_ends();
        assert_eq!(world.observed.training_jobs.len(), 1);
        let cause = &world.observed.training_jobs[0].annotations()[CAUSE];
        assert!(
            cause.starts_with("drift from 2026-1") && cause.contains("Z: "),
            "{cause}"
        );
        let mut trained = version(2, '2', verdict);
        Arc::make_mut(&mut trained).spec.validation = Some(object(
            json!({"dataset": {"uri": "pvc://data/h", "label": "late"}, "metrics": [{"name": "rocAuc", "min": "0.5"}]}),
        ));
        world.observed.trained = vec![trained];
        if name.contains("rolled back") {
            let deployment = Arc::make_mut(world.observed.deployment.as_mut().expect("one"));
            let quarantine = &mut deployment.status.as_mut().expect("one").quarantine;
            quarantine.push(object(json!({"version": "churn-2", "fingerprint": "x", "reason": "errors", "time": at(0)})));
        }
        // Long after the cooldown, and it still drifts.
        world.now += 1_000_000;
        world.windows(&["Drifted", "Drifted"]);
        assert_eq!(world.observed.training_jobs.len() == 2, asks, "{name}");
    }
}

#[test]
fn after_a_promotion_the_reference_follows_and_only_its_own_windows_count() {
    let mut world = World::new(json!({"mode": "Observe"}));
    world.windows(&["Drifted", "Drifted"]);
    assert!(world.is(DRIFTED));
    world.now += 60;
    world
        .settle()
        .serves(2)
        .judged(0, &report("Drifted"))
        .settle();
    assert_eq!(
        world
            .status()
            .windows
            .last()
            .map(|window| window.version.as_str()),
        Some("churn-1"),
        "it was under way when churn-2 took over"
    );
    assert_eq!(world.status().reference.as_deref(), Some("churn-2"));
    assert!(
        !world.is(DRIFTED) && !world.is(READY),
        "{}",
        world.said(READY)
    );
    world.windows(&["Drifted"]);
    assert!(!world.is(DRIFTED), "one window of its own");
    world.window("Drifted");
    assert!(world.is(DRIFTED));
}

#[test]
fn the_mode_says_what_is_done() {
    for (mode, made, suspended) in [
        ("Observe", 0, false),
        ("Suggest", 1, true),
        ("Enforce", 1, false),
    ] {
        let mut world = World::new(json!({"mode": mode}));
        world.windows(&["Drifted", "Drifted", "Drifted"]);
        assert!(world.is(DRIFTED));
        assert_eq!(world.made.len(), made, "{mode}");
        let Some(job) = world.observed.training_jobs.first() else {
            continue;
        };
        let (job, windows): (&TrainingJob, _) = (job, world.status().windows);
        assert_eq!(job.spec.suspend, suspended, "{mode}");
        assert_eq!(
            job.spec.window.as_ref().map(|window| window.end),
            Some(windows[1].end)
        );
        assert_eq!(
            (
                job.labels()["team"].as_str(),
                job.labels()["windlass.dev/monitor"].as_str()
            ),
            ("growth", "churn")
        );
    }
}

#[test]
fn what_is_missing_is_named() {
    type Change = fn(&mut Observed);
    let rows: [(&str, bool, Change); 5] = [
        ("DeploymentNotFound", true, |observed| {
            observed.deployment = None;
        }),
        ("NothingServes", false, |observed| {
            observed.deployment = Some(deployment(None, None));
        }),
        ("NoBaseline", true, |observed| {
            observed.serving = Some(version(1, '1', None));
        }),
        ("VolumeClaimNotFound", true, |observed| {
            Arc::make_mut(&mut observed.claims).clear();
        }),
        ("PayloadsNotLogged", true, |observed| {
            let deployment: &mut ModelDeployment =
                Arc::make_mut(observed.deployment.as_mut().expect("one"));
            deployment.spec.observe = None;
        }),
    ];
    for (reason, stalled, change) in rows {
        let mut world = World::new(json!({}));
        change(&mut world.observed);
        world.now = 70;
        world.settle();
        assert!(
            world.said(READY).starts_with(&format!("False {reason}: ")),
            "{}",
            world.said(READY)
        );
        assert_eq!((world.is(STALLED), world.writes), (stalled, 1), "{reason}");
        world.observed = Observed {
            monitor: world.observed.monitor,
            ..World::new(json!({})).observed
        };
        world.window("Healthy");
        assert!(
            world.is(READY),
            "{reason}: goes on when it is mended: {}",
            world.said(READY)
        );
    }
}

#[test]
fn an_evaluation_that_cannot_start_is_told() {
    let mut world = World::new(json!({}));
    world.now += 60;
    world.settle();
    let name = world.observed.jobs[0].name_any();
    world.observed.pods = vec![Arc::new(waiting(
        pod(
            "p",
            &[("batch.kubernetes.io/job-name".to_owned(), name)].into(),
        ),
        "ImagePullBackOff",
    ))];
    world.settle();
    assert!(
        world.said(STALLED).starts_with("True ImageNotFound"),
        "{}",
        world.said(STALLED)
    );
}

#[test]
fn a_pod_that_was_evicted_before_another_came_to_a_verdict_says_nothing() {
    let mut world = World::new(json!({}));
    world.now += 60;
    world.settle();
    let its = [(
        "batch.kubernetes.io/job-name".to_owned(),
        world.observed.jobs[0].name_any(),
    )]
    .into();
    let failure = r#"{"kind":"Failure","reason":"Interrupted","message":"stopped"}"#;
    world.observed.pods.push(Arc::new(disrupted(ended(
        pod("a", &its),
        "windlass-agent",
        1,
        failure,
    ))));
    world.judged(0, &report("Healthy")).settle();
    assert!(world.is(READY), "{}", world.said(READY));
}

#[test]
fn the_status_keeps_fifty_windows() {
    let mut world = World::new(json!({}));
    world.windows(&["Healthy"; 55]);
    assert_eq!(world.status().windows.len(), 50);
}

#[test]
fn every_pod_is_restricted_and_none_hangs_for_ever() {
    let mut world = World::new(json!({}));
    world.now += 60;
    world.settle();
    let spec = world.observed.jobs[0].spec.clone().expect("a spec");
    assert_restricted(spec.template.spec.as_ref().expect("pods"));
    assert!(spec.active_deadline_seconds.is_some());
    assert!(
        spec.template
            .spec
            .and_then(|spec| spec.containers[0].args.clone())
            .is_some_and(|arguments| arguments.contains(&digest('b')))
    );
}

#[test]
fn the_storage_is_handed_to_the_evaluation_and_the_training_has_its_own() {
    let mut world =
        World::new(json!({"storage": {"secretName": "keys", "serviceAccountName": "reader"}}));
    world.windows(&["Drifted", "Drifted"]);
    let spec = world.observed.jobs[0].spec.clone().expect("a spec");
    let pods = spec.template.spec.expect("pods");
    assert_eq!(given(&pods, "keys"), ["windlass-agent"]);
    assert_eq!(pods.service_account_name.as_deref(), Some("reader"));
    assert_restricted(&pods);
    assert_eq!(world.observed.training_jobs[0].spec.storage, None);
    let own = object(json!({"secretName": "of-the-training"}));
    let mut world = World::new(json!({}));
    let monitor = Arc::make_mut(&mut world.observed.monitor);
    let retrain = monitor.spec.retrain.as_mut().expect("a template");
    retrain.template.spec.storage = Some(own);
    world.windows(&["Drifted", "Drifted"]);
    let made = world.observed.training_jobs[0].spec.storage.clone();
    assert_eq!(
        made.and_then(|storage| storage.secret_name).as_deref(),
        Some("of-the-training")
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// That no window is evaluated beside another and no TrainingJob is made twice is asserted by the simulator.
    #[test]
    fn windows_stay_in_order_and_trainings_apart_whatever_is_crashed(events in prop::collection::vec((0u8..5, 0usize..4, 0i64..90), 1..60)) {
        let mut world = World::new(json!({}));
        let mut made_at = Vec::new();
        for (event, crash, seconds) in events {
            world.now += seconds;
            match event {
                0 | 1 => world.judged(0, &report("Drifted")),
                2 => world.judged(0, &report("Healthy")),
                3 => world.training_ends(),
                _ => {
                    world.observed.pods.reverse();
                    &mut world
                }
            };
            let made = world.made.len();
            world.reconcile_until(if crash == 3 { usize::MAX } else { crash });
            world.reconcile_until(usize::MAX);
            if world.made.len() > made {
                made_at.push(world.now);
            }
            prop_assert!(world.status().windows.is_sorted_by(|one, next| one.end < next.end));
        }
        prop_assert!(made_at.is_sorted_by(|one, next| next - one >= 600), "{made_at:?}");
        world.settle();
        let writes = world.writes;
        world.settle();
        prop_assert_eq!(writes, world.writes);
    }
}
