//! A cluster that holds one ModelDeployment: it does what plans say, and a test does what the world does.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus};
use kube::ResourceExt;
use serde_json::{Value, json};
use windlass_api::{
    ModelDeployment, ModelDeploymentStatus, ModelVersion, condition, is_true, labels,
};
use windlass_statistics::proportion::Proportion;
use windlass_statistics::sequential::Shares;

use crate::fixtures::{as_kept, at, is_so, object, pod, presets, said, version};
use crate::modeldeployment::{Errors, Observed, Traffic, plan};
use crate::{Child, Doomed, Plan, Step, pods};

/// In how many parts traffic comes.
const LOOKS: u64 = 20;

pub struct World {
    pub observed: Observed,
    pub now: i64,
    /// The errors of the roll-out that started then, and of this step of it.
    errors: Option<(Timestamp, i32, Errors)>,
    /// Statuses that were written, and steps that changed something.
    pub writes: usize,
}

pub fn deployment(spec: Value) -> ModelDeployment {
    let mut whole = json!({
        "model": "churn", "replicas": 3, "runtime": "mlserver",
        "observe": {"logPayloads": {"uri": "pvc://predictions/churn"}},
        "rollout": {"steps": [{"weight": 10, "hold": "60s"}, {"weight": 50, "hold": "60s"}], "minRequests": 100},
        "progressDeadlineSeconds": 300
    });
    let (Value::Object(all), Value::Object(more)) = (&mut whole, spec) else {
        panic!("objects")
    };
    all.extend(more);
    object(json!({
        "apiVersion": "windlass.dev/v1alpha1", "kind": "ModelDeployment",
        "metadata": {"name": "churn", "namespace": "growth", "uid": "uid-churn", "generation": 1},
        "spec": whole
    }))
}

impl World {
    pub fn new(spec: Value) -> Self {
        let observed = Observed {
            deployment: Arc::new(deployment(spec)),
            versions: vec![version(1, '1', Some("Pass"))],
            children: Vec::new(),
            pods: Vec::new(),
            traffic: BTreeMap::new(),
            errors: None,
            claims: Arc::new(["models".to_owned(), "predictions".to_owned()].into()),
            presets: presets(),
            agent_image: "agent:1".to_owned(),
        };
        Self {
            observed,
            errors: None,
            now: 0,
            writes: 0,
        }
    }

    /// Version 1 serves.
    pub fn serving(spec: Value) -> Self {
        let mut world = Self::new(spec);
        world.settle().all_ready().settle();
        assert_eq!(
            world.stable().as_deref(),
            Some("churn-1"),
            "{}",
            world.said(condition::READY)
        );
        world
    }

    /// Version 1 serves, and version 2 is tried.
    pub fn rolling(spec: Value) -> Self {
        let mut world = Self::serving(spec);
        world.add(version(2, '2', Some("Pass"))).settle();
        assert_eq!(
            world.canary().as_deref(),
            Some("churn-2"),
            "{}",
            world.said(condition::READY)
        );
        world
    }

    pub fn plan(&self) -> Plan<ModelDeploymentStatus> {
        let mut kept = self.observed.clone();
        as_kept(&mut kept.pods, []);
        plan(&kept, at(self.now))
    }

    pub fn status(&self) -> ModelDeploymentStatus {
        self.observed.deployment.status.clone().unwrap_or_default()
    }

    pub fn stable(&self) -> Option<String> {
        self.status().stable.map(|stable| stable.version)
    }

    pub fn canary(&self) -> Option<String> {
        self.status().canary.map(|canary| canary.version)
    }

    pub fn said(&self, type_: &str) -> String {
        said(&self.status().conditions, type_)
    }

    pub fn is(&self, type_: &str) -> bool {
        is_true(&self.status().conditions, type_)
    }

    /// Pods that answer.
    pub fn capacity(&self) -> i32 {
        self.observed
            .children
            .iter()
            .filter_map(|child| child.status.as_ref()?.ready_replicas)
            .sum()
    }

    /// Pods of the version that serves that answer; where none serves yet, all.
    fn answering(&self, stable: Option<String>) -> i32 {
        let Some(stable) = stable else {
            return self.capacity();
        };
        let of_stable = self
            .observed
            .children
            .iter()
            .filter(|child| child.labels()[labels::VERSION] == stable);
        of_stable
            .filter_map(|child| child.status.as_ref()?.ready_replicas)
            .sum()
    }

    /// Names of the Deployments and how many pods each is to have.
    pub fn children(&self) -> Vec<(String, i32)> {
        self.observed
            .children
            .iter()
            .map(|child| (child.name_any(), child.spec.replicas.unwrap_or(1)))
            .collect()
    }

    pub fn reconcile(&mut self) -> bool {
        self.reconcile_until(usize::MAX)
    }

    /// Plans, applies this many steps at most, and stops there: the status is written after all steps only.
    pub fn reconcile_until(&mut self, crash: usize) -> bool {
        let plan = self.plan();
        let (writes, answered) = (self.writes, self.answering(self.stable()));
        let crashed = plan.steps.len() >= crash;
        let quarantined: Vec<String> = plan
            .status
            .quarantine
            .iter()
            .map(|entry| entry.fingerprint.clone())
            .collect();
        let stable = plan
            .status
            .stable
            .as_ref()
            .map(|stable| stable.version.clone());
        for step in plan.steps.into_iter().take(crash) {
            if let Step::Apply(Child::Deployment(child)) = &step {
                let name = child.labels()[labels::VERSION].clone();
                let tried =
                    self.observed.versions.iter().find(|version| {
                        version.name_any() == name && Some(&name) != stable.as_ref()
                    });
                assert!(
                    tried.is_none_or(|version| !quarantined
                        .contains(version.spec.fingerprint.as_ref().expect("one"))),
                    "{name} is in quarantine"
                );
            }
            self.apply(step);
        }
        let wanted = self.observed.deployment.spec.replicas;
        // A canary's pods come on top of what is asked for; those of the version that serves may not go for it.
        let answer = self.answering(stable);
        assert!(
            answer >= answered.min(wanted),
            "{answered} pods answered, {answer} do now, {wanted} are asked for"
        );
        if !crashed && plan.status != self.status() {
            Arc::make_mut(&mut self.observed.deployment).status = Some(plan.status);
            self.writes += 1;
        }
        writes != self.writes
    }

    /// Reconciles, and lets the Deployment controller work, until nothing changes any more.
    pub fn settle(&mut self) -> &mut Self {
        for _ in 0..30 {
            let changed = self.reconcile();
            self.sync();
            if !changed && !self.reconcile() {
                return self;
            }
        }
        panic!("never settles: {}", self.said(condition::READY));
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Apply(Child::Service(_)) => {}
            Step::Apply(Child::Deployment(wanted)) => {
                match self
                    .observed
                    .children
                    .iter_mut()
                    .find(|child| child.name_any() == wanted.name_any())
                {
                    Some(live) if is_so(&*wanted, &**live) => {}
                    Some(live) => {
                        let live = Arc::make_mut(live);
                        live.spec = wanted.spec.clone();
                        live.metadata.generation =
                            live.metadata.generation.map(|generation| generation + 1);
                        // Pods go at once where fewer are asked for.
                        if let Some(status) = &mut live.status {
                            status.ready_replicas = status
                                .ready_replicas
                                .map(|ready| ready.min(wanted.spec.replicas.unwrap_or(1)));
                        }
                        self.writes += 1;
                    }
                    None => {
                        let mut made = *wanted;
                        made.metadata.generation = Some(1);
                        self.observed.children.push(Arc::new(made));
                        self.writes += 1;
                    }
                }
            }
            Step::Delete(Doomed::Deployment(name)) => {
                self.observed
                    .children
                    .retain(|child| child.name_any() != name);
                self.writes += 1;
            }
            other => panic!("not a step of a ModelDeployment: {other:?}"),
        }
    }

    /// The Deployment controller has seen what was applied, and made pods; none is ready by that.
    pub fn sync(&mut self) -> &mut Self {
        for child in &mut self.observed.children {
            let child = Arc::make_mut(child);
            let replicas = child.spec.replicas.unwrap_or(1);
            let ready = child
                .status
                .as_ref()
                .and_then(|status| status.ready_replicas)
                .unwrap_or(0)
                .min(replicas);
            child.status = Some(DeploymentStatus {
                observed_generation: child.metadata.generation,
                replicas: Some(replicas),
                updated_replicas: Some(replicas),
                ready_replicas: Some(ready),
                ..DeploymentStatus::default()
            });
        }
        self
    }

    fn change_ready(&mut self, change: impl Fn(&Deployment, i32) -> i32) -> &mut Self {
        for child in &mut self.observed.children {
            let child = Arc::make_mut(child);
            let ready = child
                .status
                .as_ref()
                .and_then(|status| status.ready_replicas)
                .unwrap_or(0);
            let changed = change(child, ready);
            if let Some(status) = &mut child.status {
                status.ready_replicas = Some(changed.clamp(0, status.replicas.unwrap_or(0)));
            }
        }
        self
    }

    /// All pods that there are become ready.
    pub fn all_ready(&mut self) -> &mut Self {
        self.change_ready(|_, _| i32::MAX)
    }

    /// One pod more, or fewer, of the version of this number is ready.
    pub fn ready(&mut self, number: i64, by: i32) -> &mut Self {
        let name = format!("churn-v{number}");
        self.change_ready(|child, ready| {
            if child.name_any() == name {
                ready + by
            } else {
                ready
            }
        })
    }

    pub fn add(&mut self, version: Arc<ModelVersion>) -> &mut Self {
        self.observed.versions.push(version);
        self
    }

    /// What is counted of each side in the step, and not how their errors compare.
    pub fn traffic_counted(&mut self, requests: u64, canary_errors: u64) -> &mut Self {
        let (errors, kept) = (self.observed.errors, self.errors);
        self.traffic(requests, canary_errors);
        (self.observed.errors, self.errors) = (errors, kept);
        self
    }

    /// What each side answers in the step.
    pub fn traffic(&mut self, requests: u64, canary_errors: u64) -> &mut Self {
        let of = |errors| Traffic {
            requests,
            errors,
            bounds_ms: vec![10.0, 100.0],
            counts: vec![requests, 0, 0],
        };
        let (Some(stable), Some(canary)) = (self.stable(), self.canary()) else {
            return self;
        };
        self.observed.traffic = [(stable, of(0)), (canary, of(canary_errors))].into();
        // It came little by little, and is more of what came before.
        let at = self.status().canary.expect("a canary");
        let (started, step) = (at.started, at.step.min(1));
        let mut all = match self.errors.take() {
            Some((then, before, all)) if then == started && before == step => all,
            Some((then, _, all)) if then == started => Errors {
                step: Shares::new(0.01),
                ..all
            },
            _ => Errors::new(0.01),
        };
        for look in 0..LOOKS {
            let part = |all: u64| all * (look + 1) / LOOKS - all * look / LOOKS;
            let of = |successes| Proportion {
                successes,
                trials: part(requests),
            };
            all.take(of(part(canary_errors)), of(0));
        }
        self.errors = Some((started, step, all));
        self.observed.errors = Some(all);
        self
    }

    /// The canary's pods get ready, its hold passes, and its traffic is good.
    pub fn step_passes(&mut self) -> &mut Self {
        self.all_ready()
            .traffic(0, 0)
            .settle()
            .traffic(500, 0)
            .wait(61)
            .settle()
    }

    pub fn wait(&mut self, seconds: i64) -> &mut Self {
        self.now += seconds;
        self
    }

    pub fn edit(
        &mut self,
        change: impl FnOnce(&mut windlass_api::ModelDeploymentSpec),
    ) -> &mut Self {
        let deployment = Arc::make_mut(&mut self.observed.deployment);
        change(&mut deployment.spec);
        deployment.metadata.generation = deployment
            .metadata
            .generation
            .map(|generation| generation + 1);
        self
    }

    /// A pod of this version, changed so.
    pub fn pod(
        &mut self,
        version: &str,
        change: impl Fn(k8s_openapi::api::core::v1::Pod) -> k8s_openapi::api::core::v1::Pod,
    ) -> &mut Self {
        let all = [(labels::VERSION.to_owned(), version.to_owned())].into();
        let made = change(pod(&format!("{version}-pod"), &all));
        assert!(pods::is_alive(&made));
        self.observed.pods = vec![Arc::new(made)];
        self
    }
}
