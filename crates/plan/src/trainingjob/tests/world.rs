//! A cluster that holds one TrainingJob: it does what plans say, and a test does what the world does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use serde_json::{Value, json};
use windlass_api::{TrainingJob, TrainingJobStatus, condition, is_true, labels};

use crate::fixtures::{as_kept, at, digest, disrupted, ended, is_so, object, pod_of, said};
use crate::gpus::claims::DeviceClaims;
use crate::trainingjob::{Observed, Rooms, Schedulers, Utilization, plan};
use crate::{Child, Doomed, Plan, Step};

#[derive(Clone)]
pub struct World {
    pub observed: Observed,
    pub now: i64,
    pub deleted: bool,
    /// Steps whose program has ended well at some time.
    pub ended_steps: BTreeSet<String>,
    /// Names of PodGroups.
    pub groups: BTreeSet<String>,
    /// Steps that changed something.
    pub changes: Vec<String>,
    /// Statuses that were written.
    pub writes: usize,
}

pub fn job(spec: Value) -> TrainingJob {
    let mut whole = json!({
        "model": "churn", "output": {"uri": "pvc://models/churn", "format": "LightGBM"},
        "inputs": [{"name": "events", "uri": "pvc://events/2026-10", "format": "Parquet"}],
        "workers": {"replicas": 1, "template": {"spec": {"containers": [{"name": "trainer", "image": "trainer:1", "command": ["python", "train.py"]}]}}}
    });
    let (Value::Object(all), Value::Object(more)) = (&mut whole, spec) else {
        panic!("objects")
    };
    all.extend(more);
    object(json!({
        "apiVersion": "windlass.dev/v1alpha1", "kind": "TrainingJob",
        "metadata": {"name": "a", "namespace": "growth", "uid": "0123456789abcdef", "generation": 1},
        "spec": whole
    }))
}

/// What the first worker of a good run leaves.
pub fn trained() -> String {
    json!({"kind": "Training", "inputs": [{"name": "events", "uri": "pvc://events/2026-10", "digest": digest('e'), "files": 1, "bytes": 5}],
        "output": {"uri": "pvc://models/churn/a-01234567/1/model", "digest": digest('d'), "files": 2, "bytes": 10}, "metrics": {"rocAuc": 0.8},
        "environment": {"architecture": "x86_64", "kernel": "Linux 6.1.0"}})
    .to_string()
}

pub fn failure(reason: &str, exit_code: Option<i32>) -> String {
    json!({"kind": "Failure", "reason": reason, "message": format!("it was {reason}"), "exitCode": exit_code}).to_string()
}

/// A cluster that has Kubernetes' own gang scheduling and no other.
pub fn only_native() -> Schedulers {
    Schedulers {
        kueue: false,
        native: Ok(()),
        kai: false,
        volcano: false,
        device_claims: DeviceClaims::Served,
    }
}

impl World {
    pub fn new(spec: Value) -> Self {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let observed = Observed {
            job: Arc::new(job(spec)),
            children: Vec::new(),
            pods: Vec::new(),
            others: Vec::new(),
            versions: Vec::new(),
            champion: None,
            claims: Arc::new(names(&["models", "events"])),
            service_accounts: Arc::new(names(&["default"])),
            claim_templates: Arc::default(),
            queue: BTreeMap::new(),
            schedulers: only_native(),
            progress: None,
            room: Rooms::Unknown,
            utilization: Utilization::Off,
            agent_image: "agent:1".to_owned(),
            input_cache: None,
        };
        Self {
            observed,
            now: 0,
            deleted: false,
            ended_steps: BTreeSet::new(),
            groups: BTreeSet::new(),
            changes: Vec::new(),
            writes: 0,
        }
    }

    pub fn now(&self) -> Timestamp {
        at(self.now)
    }

    pub fn plan(&self) -> Plan<TrainingJobStatus> {
        let mut kept = self.observed.clone();
        as_kept(&mut kept.pods, &mut kept.children);
        plan(&kept, self.now())
    }

    /// The Jobs that the next plan makes.
    pub fn jobs(&self) -> Vec<Job> {
        let all = self.plan().steps.into_iter();
        all.filter_map(|step| match step {
            Step::Apply(Child::Job(job)) => Some(*job),
            _ => None,
        })
        .collect()
    }

    /// The first of them.
    pub fn job(&self) -> Job {
        self.jobs().into_iter().next().expect("a Job")
    }

    pub fn status(&self) -> TrainingJobStatus {
        self.observed.job.status.clone().unwrap_or_default()
    }

    pub fn said(&self, type_: &str) -> String {
        said(&self.status().conditions, type_)
    }

    pub fn is(&self, type_: &str) -> bool {
        is_true(&self.status().conditions, type_)
    }

    pub fn has_ended(&self) -> bool {
        self.is(condition::COMPLETE) || self.is(condition::FAILED)
    }

    /// Plans and applies once; true when something changed.
    pub fn reconcile(&mut self) -> bool {
        self.reconcile_until(usize::MAX)
    }

    /// Plans, applies this many steps at most, and stops there: the status is written after all steps only.
    pub fn reconcile_until(&mut self, crash: usize) -> bool {
        let plan = self.plan();
        let before = (self.changes.len(), self.writes);
        let crashed = plan.steps.len() >= crash;
        for step in plan.steps.into_iter().take(crash) {
            self.apply(step);
        }
        if !crashed && !self.deleted && plan.status != self.status() {
            Arc::make_mut(&mut self.observed.job).status = Some(plan.status);
            self.writes += 1;
        }
        before != (self.changes.len(), self.writes)
    }

    /// Reconciles until nothing changes any more.
    pub fn settle(&mut self) -> &mut Self {
        for _ in 0..20 {
            if !self.reconcile() {
                return self;
            }
        }
        panic!("never settles: {:?}", self.changes);
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Apply(Child::Job(wanted)) => {
                match self
                    .observed
                    .children
                    .iter()
                    .find(|child| child.name_any() == wanted.name_any())
                {
                    Some(live) => assert!(
                        is_so(&*wanted, &**live),
                        "the pods of a Job cannot be changed"
                    ),
                    None => self.make(*wanted),
                }
            }
            Step::Apply(Child::PodGroup(group)) => drop(self.groups.insert(group.name_any())),
            Step::Apply(_) => {}
            Step::Delete(Doomed::PodGroup(name)) => {
                let its = format!("{name}-");
                let is_alive = self.alive().iter().any(|pod| pod.starts_with(&its));
                assert!(!is_alive, "pods of {name} may be alive");
                self.groups.remove(&name);
            }
            Step::Create(Child::ModelVersion(version)) => {
                assert!(
                    self.observed
                        .versions
                        .iter()
                        .all(|made| made.name_any() != version.name_any()),
                    "{} is there",
                    version.name_any()
                );
                self.changes.push(format!("version {}", version.name_any()));
                self.observed.versions.push(Arc::new(*version));
            }
            Step::Delete(Doomed::Job(name)) => {
                self.observed
                    .children
                    .retain(|child| child.name_any() != name);
                let now = Time(self.now());
                self.each_pod_of(&name, |pod| {
                    pod.metadata.deletion_timestamp = Some(now.clone());
                });
                self.changes.push(format!("deleted {name}"));
            }
            Step::Delete(Doomed::JobAfterItsPods(name)) => {
                let now = Time(self.now());
                self.each_pod_of(&name, |pod| {
                    pod.metadata.deletion_timestamp = Some(now.clone());
                });
                for child in &mut self.observed.children {
                    if child.name_any() == name {
                        Arc::make_mut(child).metadata.deletion_timestamp = Some(now.clone());
                    }
                }
                self.changes.push(format!("deleted {name}"));
            }
            Step::Delete(Doomed::TrainingJob(_)) => self.deleted = true,
            other => panic!("not a step of a TrainingJob: {other:?}"),
        }
    }

    pub fn each_pod_of(&mut self, job: &str, change: impl Fn(&mut Pod)) {
        for pod in &mut self.observed.pods {
            let of = pod.labels().get("batch.kubernetes.io/job-name");
            if of.is_some_and(|of| of == job) {
                change(Arc::make_mut(pod));
            }
        }
    }

    fn make(&mut self, job: Job) {
        if let Some(step) = job.labels().get(labels::STEP) {
            self.assert_may_begin(step);
        } else {
            assert!(
                self.alive().is_empty(),
                "a new attempt while pods of another live: {:?}",
                self.alive()
            );
            let spec = &self.observed.job.spec;
            let ended = |name: &String| self.ended_steps.contains(name);
            let all_ended = spec.steps.iter().all(|step| ended(&step.name));
            let is_worker = job.labels().contains_key(labels::ATTEMPT);
            assert!(
                !is_worker || all_ended || !self.observed.others.is_empty(),
                "a worker before all steps have ended"
            );
        }
        let (name, spec) = (job.name_any(), job.spec.clone().expect("a spec"));
        let container = &spec.template.spec.as_ref().expect("a pod").containers[0].name;
        for index in 0..spec.completions.unwrap_or(1) {
            let mut labels = spec
                .template
                .metadata
                .clone()
                .and_then(|meta| meta.labels)
                .unwrap_or_default();
            labels.insert("batch.kubernetes.io/job-name".to_owned(), name.clone());
            labels.insert(
                "batch.kubernetes.io/job-completion-index".to_owned(),
                index.to_string(),
            );
            self.observed.pods.push(Arc::new(pod_of(
                &format!("{name}-{index}"),
                container,
                &labels,
            )));
        }
        self.changes.push(format!("made {name}"));
        self.observed.children.push(Arc::new(job));
    }

    /// A step begins once: after all that it names, and not again once it has ended well.
    fn assert_may_begin(&self, name: &str) {
        let status = self.status();
        let ended = |name: &str| {
            let mut steps = status.steps.iter();
            steps.any(|step| step.name == name && step.digest.is_some())
        };
        assert!(!ended(name), "step {name} is made again");
        let spec = &self.observed.job.spec;
        let step = spec.steps.iter().find(|step| step.name == name);
        let step = step.expect("a step of the spec");
        for awaited in step.inputs.iter().chain(&step.depends_on) {
            let is_input = spec.inputs.iter().any(|input| input.name == *awaited);
            // What it was told to read, it was told by the digest of one that has ended.
            let has_ended = self.ended_steps.contains(awaited) || ended(awaited);
            let is_reused = self.observed.others.iter().any(|other| {
                let steps = other.status.iter().flat_map(|status| &status.steps);
                steps.map(|step| &step.name).any(|step| step == awaited)
            });
            assert!(
                is_input || has_ended || is_reused,
                "{name} before {awaited}"
            );
        }
        let of_step = |pod: &&String| pod.starts_with(&format!("a-{name}-"));
        assert_eq!(self.alive().iter().find(of_step), None);
    }

    fn alive(&self) -> Vec<String> {
        self.observed
            .pods
            .iter()
            .filter(|pod| crate::pods::is_alive(pod))
            .map(|pod| pod.name_any())
            .collect()
    }

    fn running(&self, is: impl Fn(&Job) -> bool) -> Option<usize> {
        let mut children = self.observed.children.iter();
        children.position(|child| !crate::jobs::has_ended(child) && is(child))
    }

    /// The newest attempt's Job, if it runs.
    fn training(&self) -> Option<usize> {
        self.running(|child| child.labels().contains_key(labels::ATTEMPT))
    }

    fn end(&mut self, at_index: usize, type_: &str, reason: &str) {
        let now = self.now();
        let child = Arc::make_mut(&mut self.observed.children[at_index]);
        child.status = Some(object(
            json!({"conditions": [{"type": type_, "status": "True", "reason": reason, "message": "as its Job says", "lastTransitionTime": now}]}),
        ));
    }

    fn each_pod(&mut self, change: impl Fn(i32, Pod) -> Pod) {
        let Some(running) = self.training() else {
            return;
        };
        let attempt = self.observed.children[running].labels()[labels::ATTEMPT].clone();
        for pod in self
            .observed
            .pods
            .iter_mut()
            .filter(|pod| pod.labels().get(labels::ATTEMPT) == Some(&attempt))
        {
            let index = pod.labels()["batch.kubernetes.io/job-completion-index"]
                .parse()
                .expect("a number");
            *pod = Arc::new(change(index, (**pod).clone()));
        }
    }

    /// The Job that checks the data, if it runs, ends so.
    fn check_ends(&mut self, exit_code: i32, message: &str, type_: &str) -> &mut Self {
        self.job_ends("a-check", exit_code, message, type_)
    }

    /// A Job of one pod ends so, if it runs.
    pub fn job_ends(
        &mut self,
        name: &str,
        exit_code: i32,
        message: &str,
        type_: &str,
    ) -> &mut Self {
        let Some(at) = self.running(|child| child.name_any() == name) else {
            return self;
        };
        for one in &mut self.observed.pods {
            if one
                .labels()
                .get(crate::jobs::NAME_LABEL)
                .map(String::as_str)
                == Some(name)
            {
                let program = one.spec.as_ref().expect("a spec").containers[0]
                    .name
                    .clone();
                *one = Arc::new(ended((**one).clone(), &program, exit_code, message));
            }
        }
        self.end(at, type_, "as its Job says");
        self
    }

    /// A step ends well; its output has the digest of this digit.
    pub fn step_ends(&mut self, name: &str, digit: char) -> &mut Self {
        let job = format!("a-{name}");
        if self.running(|child| child.name_any() == job).is_some() {
            self.ended_steps.insert(name.to_owned());
        }
        let read = json!([{"name": "events", "uri": "pvc://events/2026-10", "digest": digest('e'), "files": 1, "bytes": 5}]);
        let report = json!({"kind": "Training", "inputs": read,
            "output": {"uri": format!("pvc://models/churn/a-01234567/steps/{name}/{job}-0"), "digest": digest(digit), "files": 1, "bytes": 3}});
        self.job_ends(&job, 0, &report.to_string(), "Complete")
    }

    /// A step fails in the end.
    pub fn step_fails(&mut self, name: &str, exit_code: i32, message: &str) -> &mut Self {
        self.job_ends(&format!("a-{name}"), exit_code, message, "Failed")
    }

    /// A step ends well, and its pod is taken away before anybody read what it wrote.
    pub fn step_is_not_known(&mut self, name: &str) -> &mut Self {
        self.job_ends(&format!("a-{name}"), 0, "", "Complete")
            .wait(15)
    }

    /// Every check of the data holds.
    pub fn data_holds(&mut self) -> &mut Self {
        let report = json!({"kind": "Check", "rules": 1, "inputs": [{"name": "events", "uri": "pvc://events/2026-10", "digest": digest('e'), "asOf": "2026-10-31T23:59:59.5Z", "files": 1, "bytes": 5, "rows": 9}]});
        self.check_ends(0, &report.to_string(), "Complete")
    }

    /// A check of the data does not hold.
    pub fn data_fails(&mut self) -> &mut Self {
        self.check_ends(65, &failure("CheckFailed", None), "Failed")
    }

    /// The pod of the check is taken away before anybody read what it found.
    pub fn data_is_not_known(&mut self) -> &mut Self {
        self.check_ends(0, "", "Complete").wait(15)
    }

    /// Every worker ends well; the first leaves this.
    pub fn succeeds(&mut self, message: &str) -> &mut Self {
        self.each_pod(|index, pod| ended(pod, "trainer", 0, if index == 0 { message } else { "" }));
        self.training()
            .into_iter()
            .for_each(|at| self.end(at, "Complete", "CompletionsReached"));
        self
    }

    /// The last worker fails with this, the others are stopped for it.
    pub fn fails(&mut self, exit_code: i32, message: &str) -> &mut Self {
        let last = self.observed.job.spec.workers.replicas - 1;
        self.each_pod(|index, pod| {
            if index == last {
                ended(pod, "trainer", exit_code, message)
            } else {
                ended(pod, "trainer", 143, &failure("Interrupted", Some(143)))
            }
        });
        self.training()
            .into_iter()
            .for_each(|at| self.end(at, "Failed", "BackoffLimitExceeded"));
        self
    }

    /// A worker is preempted; the rest of the gang fails for it, and the pod may already be gone.
    pub fn is_preempted(&mut self, gone: bool) -> &mut Self {
        self.each_pod(|index, pod| {
            if index == 0 {
                disrupted(ended(pod, "trainer", 143, ""))
            } else {
                ended(pod, "trainer", 1, &failure("TrainerFailed", Some(1)))
            }
        });
        self.training()
            .into_iter()
            .for_each(|at| self.end(at, "Failed", "PodFailurePolicy"));
        if gone {
            self.observed
                .pods
                .retain(|pod| !crate::pods::is_disrupted(pod));
        }
        self
    }

    /// A worker is being preempted and still has its time of grace.
    pub fn is_being_preempted(&mut self) -> &mut Self {
        self.each_pod(|index, pod| if index == 0 { disrupted(pod) } else { pod });
        self
    }

    /// Pods that were deleted are gone, and the Jobs that waited for that.
    pub fn pods_go(&mut self) -> &mut Self {
        self.observed
            .pods
            .retain(|pod| pod.metadata.deletion_timestamp.is_none());
        self.observed
            .children
            .retain(|child| child.metadata.deletion_timestamp.is_none());
        self
    }

    pub fn pod(&mut self, change: impl Fn(Pod) -> Pod) -> &mut Self {
        self.each_pod(|index, pod| if index == 0 { change(pod) } else { pod });
        self
    }

    pub fn every_pod(&mut self, change: impl Fn(Pod) -> Pod) -> &mut Self {
        self.each_pod(|_, pod| change(pod));
        self
    }

    pub fn wait(&mut self, seconds: i64) -> &mut Self {
        self.now += seconds;
        self
    }

    pub fn edit(&mut self, change: impl FnOnce(&mut windlass_api::TrainingJobSpec)) -> &mut Self {
        let job = Arc::make_mut(&mut self.observed.job);
        change(&mut job.spec);
        job.metadata.generation = job.metadata.generation.map(|generation| generation + 1);
        self
    }

    pub fn suspend(&mut self, suspend: bool) -> &mut Self {
        self.edit(|spec| spec.suspend = suspend)
    }

    pub fn made(&self) -> usize {
        self.changes
            .iter()
            .filter(|change| change.starts_with("made") && !change.ends_with("-check"))
            .count()
    }
}
