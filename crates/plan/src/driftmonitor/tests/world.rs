//! A deployment with its monitors, and all that happens to them: what tests and properties play with.

use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use serde_json::{Value, json};
use windlass_api::{
    CAUSE, DriftMonitor, DriftMonitorStatus, ModelDeployment, ModelVersion, TrainingJob,
    TrainingJobStatus, WindowStatus, is_true, labels,
};

use crate::driftmonitor::{Engine, Observed, plan};
use crate::fixtures::{as_kept, at, digest, ended, is_so, object, pod, said, version};
use crate::{Child, Doomed, Plan, Step};

/// A monitor, and what is its own.
#[derive(Clone)]
pub struct Side {
    pub monitor: Arc<DriftMonitor>,
    pub jobs: Vec<Arc<Job>>,
    pub pods: Vec<Arc<Pod>>,
}

#[derive(Clone)]
pub struct World {
    pub sides: Vec<Side>,
    pub deployment: Option<Arc<ModelDeployment>>,
    pub versions: Vec<Arc<ModelVersion>>,
    pub training_jobs: Vec<Arc<TrainingJob>>,
    pub claims: Vec<String>,
    pub engine: Option<Engine>,
    pub now: i64,
    /// Since when the operator reads what Jobs found.
    pub reading_since: i64,
    /// Until when the one before it did.
    pub read_until: Option<i64>,
    /// Status patches.
    pub status_writes: usize,
    /// All writes.
    pub writes: usize,
    /// The TrainingJobs that were ever made, and when.
    pub made: Vec<(i64, String)>,
    pub notes: Vec<String>,
}

pub fn monitor(name: &str, spec: Value) -> DriftMonitor {
    let training = json!({"model": "churn", "output": {"uri": "pvc://models/churn", "format": "LightGBM"},
        "validation": {"dataset": {"uri": "pvc://data/holdout", "label": "churned"}, "metrics": [{"name": "rocAuc", "min": "0.7"}]},
        "workers": {"replicas": 1, "template": {"spec": {"containers": [{"name": "t", "image": "t:1", "command": ["t"], "resources": {"limits": {"nvidia.com/gpu": 2}}}]}}}});
    let mut whole = json!({
        "deployment": "churn", "window": {"every": "60s", "size": "120s", "minSamples": 100},
        "triggerWhen": {"windows": 2, "outOf": 3}, "mode": "Enforce",
        "retrain": {"template": {"metadata": {"labels": {"team": "growth"}}, "spec": training}, "cooldown": "10m"},
        "performance": {"labels": {"uri": "pvc://labels/churn", "column": "churned"}, "metric": "rocAuc", "min": "0.7"}
    });
    merge(&mut whole, spec);
    object(
        json!({"apiVersion": "windlass.dev/v1alpha1", "kind": "DriftMonitor",
        "metadata": {"name": name, "namespace": "growth", "uid": format!("uid-{name}"), "generation": 1}, "spec": whole}),
    )
}

/// Objects are merged, all else is taken.
fn merge(whole: &mut Value, more: Value) {
    match (whole, more) {
        (Value::Object(all), Value::Object(more)) => {
            for (key, value) in more {
                merge(all.entry(key).or_insert(Value::Null), value);
            }
        }
        (whole, more) => *whole = more,
    }
}

/// What serves since when, what served before, and what is tried.
pub fn deployment(stable: Option<i64>, since: i64, history: &Value) -> Arc<ModelDeployment> {
    let stable =
        stable.map(|number| json!({"version": format!("churn-{number}"), "since": at(since)}));
    Arc::new(object(
        json!({"apiVersion": "windlass.dev/v1alpha1", "kind": "ModelDeployment", "metadata": {"name": "churn", "namespace": "growth"},
        "spec": {"model": "churn", "runtime": "mlserver", "observe": {"logPayloads": {"uri": "pvc://predictions/churn"}}},
        "status": {"stable": stable, "history": history}}),
    ))
}

/// The agent's report of a window; its own idea of the window is not what the window is known by.
pub fn report(verdict: &str) -> String {
    let (verdict, fallen) = match verdict {
        "Fallen" => ("Drifted", true),
        other => (other, false),
    };
    json!({"kind": "Drift", "verdict": verdict, "message": format!("it is {verdict}"), "start": at(0), "end": at(1), "rows": 400, "columns": 4, "drifted": 2,
        "top": [{"column": "age", "psi": 0.9, "lower": 0.8, "threshold": 0.2, "drifted": verdict == "Drifted", "moved": "up"}],
        "performance": {"rows": 300, "metric": "rocAuc", "value": 0.6, "interval": [0.5, 0.65], "fallen": fallen},
        "report": {"uri": "pvc://predictions/churn/drift/churn/1/report.json", "digest": digest('d'), "files": 1, "bytes": 10}})
    .to_string()
}

impl World {
    pub fn new(spec: Value) -> Self {
        Self::of(&[("churn", spec)])
    }

    /// Several monitors of one deployment.
    pub fn of(monitors: &[(&str, Value)]) -> Self {
        let side = |(name, spec): &(&str, Value)| Side {
            monitor: Arc::new(monitor(name, spec.clone())),
            jobs: Vec::new(),
            pods: Vec::new(),
        };
        Self {
            sides: monitors.iter().map(side).collect(),
            deployment: Some(deployment(Some(1), -600, &json!([]))),
            versions: vec![version(1, '1', Some("Pass"))],
            training_jobs: Vec::new(),
            claims: vec!["labels".to_owned(), "predictions".to_owned()],
            engine: None,
            now: 10,
            reading_since: -600,
            read_until: None,
            status_writes: 0,
            writes: 0,
            made: Vec::new(),
            notes: Vec::new(),
        }
    }

    pub fn observed(&self, side: usize) -> Observed {
        let Side {
            monitor,
            mut jobs,
            mut pods,
        } = self.sides[side].clone();
        as_kept(&mut pods, &mut jobs);
        let others = self.sides.iter().enumerate();
        Observed {
            monitor,
            deployment: self.deployment.clone(),
            versions: self.versions.clone(),
            jobs,
            pods,
            training_jobs: self.training_jobs.clone(),
            beside: others
                .filter(|(at, _)| *at != side)
                .map(|(_, one)| one.monitor.clone())
                .collect(),
            claims: Arc::new(self.claims.iter().cloned().collect()),
            agent_image: "agent:1".to_owned(),
            engine: self.engine.clone(),
            reading_since: at(self.reading_since),
            read_until: self.read_until.map(at),
        }
    }

    pub fn plan(&self, side: usize) -> Plan<DriftMonitorStatus> {
        plan(&self.observed(side), at(self.now))
    }

    pub fn status_of(&self, side: usize) -> DriftMonitorStatus {
        self.sides[side].monitor.status.clone().unwrap_or_default()
    }

    pub fn status(&self) -> DriftMonitorStatus {
        self.status_of(0)
    }

    pub fn said(&self, type_: &str) -> String {
        said(&self.status().conditions, type_)
    }

    pub fn is(&self, type_: &str) -> bool {
        is_true(&self.status().conditions, type_)
    }

    /// Does what was planned, and stops before a step where it is to crash there; whether it wrote anything.
    pub fn apply(&mut self, side: usize, plan: Plan<DriftMonitorStatus>, crash: usize) -> bool {
        let before = self.writes;
        let crashed = plan.steps.len() >= crash;
        for step in plan.steps.into_iter().take(crash) {
            match step {
                Step::Apply(Child::Job(wanted)) => self.apply_job(side, *wanted),
                Step::Create(Child::TrainingJob(job)) => {
                    // As the API server has it: a name is there once.
                    if self.training_job(&job.name_any()).is_some() {
                        return before != self.writes;
                    }
                    self.create(*job);
                }
                Step::Delete(Doomed::Job(name)) => {
                    let jobs = &mut self.sides[side].jobs;
                    jobs.retain(|job| job.name_any() != name);
                }
                other => panic!("not a step of a DriftMonitor: {other:?}"),
            }
            self.writes += 1;
        }
        if !crashed && plan.status != self.status_of(side) {
            Arc::make_mut(&mut self.sides[side].monitor).status = Some(plan.status);
            self.writes += 1;
            self.status_writes += 1;
        }
        if !crashed {
            let notes = plan.notes.into_iter();
            self.notes
                .extend(notes.map(|note| format!("{}: {}", note.reason, note.message)));
        }
        before != self.writes
    }

    fn apply_job(&mut self, side: usize, mut wanted: Job) {
        let jobs = &mut self.sides[side].jobs;
        let is_there = |job: &&Arc<Job>| job.name_any() == wanted.name_any();
        if let Some(live) = jobs.iter().find(is_there) {
            panic!(
                "{} is judged twice: {}",
                wanted.name_any(),
                is_so(&wanted, &**live)
            );
        }
        let under_way = jobs.iter().filter(|job| !crate::jobs::has_ended(job));
        assert_eq!(under_way.count(), 0, "one window at a time");
        wanted.metadata.creation_timestamp = Some(Time(at(self.now)));
        jobs.push(Arc::new(wanted));
    }

    fn create(&mut self, mut job: TrainingJob) {
        let name = job.name_any();
        let mut before = self.made.iter();
        assert!(
            before.all(|(_, made)| *made != name),
            "{name} is made twice"
        );
        job.metadata.creation_timestamp = Some(Time(at(self.now)));
        self.made.push((self.now, name));
        self.training_jobs.push(Arc::new(job));
    }

    pub fn training_job(&self, name: &str) -> Option<&TrainingJob> {
        let mut jobs = self.training_jobs.iter();
        jobs.find(|job| job.name_any() == name).map(AsRef::as_ref)
    }

    pub fn reconcile(&mut self, side: usize, crash: usize) -> bool {
        let plan = self.plan(side);
        self.apply(side, plan, crash)
    }

    /// Every monitor is looked at until none writes any more.
    pub fn settle(&mut self) -> &mut Self {
        let sides = self.sides.len();
        (0..40)
            .find(|_| {
                let wrote: Vec<bool> = (0..sides)
                    .map(|side| self.reconcile(side, usize::MAX))
                    .collect();
                !wrote.contains(&true)
            })
            .expect("it settles");
        self
    }

    /// The window of a monitor that is being looked at ends so.
    pub fn judged_of(&mut self, side: usize, exit_code: i32, message: &str) -> &mut Self {
        let now = at(self.now);
        let side = &mut self.sides[side];
        let mut jobs = side.jobs.iter_mut();
        let Some(job) = jobs.find(|job| !crate::jobs::has_ended(job)) else {
            return self;
        };
        let job = Arc::make_mut(job);
        job.status = Some(object(
            json!({"conditions": [{"type": if exit_code == 0 { "Complete" } else { "Failed" }, "status": "True", "lastTransitionTime": now}]}),
        ));
        let its = [("batch.kubernetes.io/job-name".to_owned(), job.name_any())].into();
        side.pods.push(Arc::new(ended(
            pod(&job.name_any(), &its),
            "windlass-agent",
            exit_code,
            message,
        )));
        self
    }

    pub fn judged(&mut self, exit_code: i32, message: &str) -> &mut Self {
        self.judged_of(0, exit_code, message)
    }

    pub fn judge(&mut self, side: usize, verdict: &str) -> &mut Self {
        match verdict {
            "Failed" => self.judged_of(side, 1, ""),
            verdict => self.judged_of(side, 0, &report(verdict)),
        }
    }

    /// The next window ends, and each monitor finds this in it.
    pub fn window(&mut self, verdict: &str) -> &mut Self {
        self.now += 60;
        self.settle();
        for side in 0..self.sides.len() {
            self.judge(side, verdict);
        }
        self.settle()
    }

    pub fn windows(&mut self, verdicts: &[&str]) -> &mut Self {
        for verdict in verdicts {
            self.window(verdict);
        }
        self
    }

    /// All windows that are known: those that were written down, and those that are with their Jobs.
    pub fn known(&self) -> Vec<WindowStatus> {
        let mut world = Self {
            notes: Vec::new(),
            made: Vec::new(),
            sides: self.sides.clone(),
            deployment: None,
            versions: Vec::new(),
            training_jobs: Vec::new(),
            claims: Vec::new(),
            engine: None,
            ..*self
        };
        // What cannot be watched is written down as it is.
        world.reconcile(0, usize::MAX);
        world.status().windows
    }

    pub fn training(&mut self, name: &str) -> &mut TrainingJob {
        let mut jobs = self.training_jobs.iter_mut();
        let job = jobs.find(|job| job.name_any() == name);
        Arc::make_mut(job.unwrap_or_else(|| panic!("no TrainingJob {name}")))
    }

    pub fn under_way(&self) -> Vec<String> {
        let jobs = self.training_jobs.iter();
        let running = jobs.filter(|job| {
            let status = job.status.as_ref();
            !status.is_some_and(TrainingJobStatus::is_finished)
        });
        running.map(|job| job.name_any()).collect()
    }

    /// What trains ends, well or not, and has used so much; what it made is found so, if anything.
    pub fn trained(&mut self, verdict: Option<&str>, gpu_seconds: i64) -> &mut Self {
        for name in self.under_way() {
            let number = 1 + self
                .versions
                .iter()
                .map(|one| one.spec.version)
                .max()
                .unwrap_or(0);
            let made = verdict.filter(|verdict| *verdict != "TrainingFailed");
            let type_ = if verdict == Some("TrainingFailed") {
                "Failed"
            } else {
                "Complete"
            };
            let ended = at(self.now);
            self.training(&name).status = Some(object(json!({
                "conditions": [{"type": type_, "status": "True", "reason": type_, "message": "", "lastTransitionTime": ended}],
                "completionTime": ended, "gpuSeconds": gpu_seconds,
                "modelVersion": made.map(|_| format!("churn-{number}")),
            })));
            if let Some(verdict) = made {
                let mut made = version(number, '2', Some(verdict).filter(|one| *one != "None"));
                let spec = &mut Arc::make_mut(&mut made).spec;
                spec.validation = Some(object(
                    json!({"dataset": {"uri": "pvc://data/h", "label": "late"}, "metrics": [{"name": "rocAuc", "min": "0.5"}]}),
                ));
                let job = self.training_job(&name).expect("it was just there");
                let (monitor, cause) = (&job.labels()[labels::MONITOR], &job.annotations()[CAUSE]);
                spec.window.clone_from(&job.spec.window);
                spec.trained_by = Some(object(
                    json!({"name": name, "uid": "uid", "monitor": monitor, "cause": cause}),
                ));
                let metadata = &mut Arc::make_mut(&mut made).metadata;
                metadata.creation_timestamp = Some(Time(ended));
                metadata
                    .labels
                    .get_or_insert_default()
                    .insert(labels::DEPLOYMENT.to_owned(), "churn".to_owned());
                self.versions.push(made);
            }
        }
        self
    }

    /// A version serves from now on.
    pub fn serves(&mut self, number: i64) -> &mut Self {
        let now = self.now;
        let before = self.deployment.as_ref().and_then(|one| one.status.as_ref());
        let mut status = before.cloned().unwrap_or_default();
        let event = |version: &str, time: jiff::Timestamp| {
            object(json!({"version": version, "action": "Promoted", "time": time, "reason": "r"}))
        };
        if let (true, Some(stable)) = (status.history.is_empty(), &status.stable) {
            status.history.push(event(&stable.version, stable.since));
        }
        let name = format!("churn-{number}");
        status.history.push(event(&name, at(now)));
        status.stable = Some(object(json!({"version": name, "since": at(now)})));
        if self.versions.iter().all(|one| one.spec.version != number) {
            self.versions.push(version(number, '3', Some("Pass")));
        }
        let deployment = self
            .deployment
            .get_or_insert_with(|| deployment(None, 0, &json!([])));
        Arc::make_mut(deployment).status = Some(status);
        self
    }

    /// A version was taken back, and is not tried again.
    pub fn quarantined(&mut self, number: i64) -> &mut Self {
        let deployment = Arc::make_mut(self.deployment.as_mut().expect("one"));
        let status = deployment.status.get_or_insert_default();
        status.quarantine.push(object(
            json!({"version": format!("churn-{number}"), "fingerprint": "x", "reason": "errors", "time": at(self.now)}),
        ));
        self
    }

    pub fn annotate(&mut self, annotations: Value) -> &mut Self {
        let monitor = Arc::make_mut(&mut self.sides[0].monitor);
        monitor.metadata.annotations = Some(object(annotations));
        self
    }
}
