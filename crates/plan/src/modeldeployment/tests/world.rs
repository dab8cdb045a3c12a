//! A cluster that holds one ModelDeployment: it does what plans say, and a test does what the world does.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use serde_json::{Value, json};
use windlass_api::{
    CanaryStatus, ModelDeployment, ModelDeploymentStatus, ModelVersion, annotations, condition,
    is_true, labels,
};

use crate::fixtures::{as_kept, at, is_so, object, pod, presets, said, version};
use crate::modeldeployment::{
    Answer, Autoscalers, Evidence, Gateway, HttpRoute, Observed, Reading, Readings, Traffic, plan,
    sides,
};
use crate::{Child, Doomed, Plan, Step, pods};

/// In how many parts traffic comes.
const LOOKS: u64 = 20;

#[derive(Clone)]
pub struct World {
    pub observed: Observed,
    pub now: i64,
    /// What was compared so far.
    known: Option<Evidence>,
    budget: Option<Box<PodDisruptionBudget>>,
    /// The step and weight of each status with a canary, as they were written; those that are the same only once.
    pub weights: Vec<(String, i32, i32)>,
    /// How the route divided the traffic, one after the other.
    pub routes: Vec<Vec<(String, i64)>>,
    /// After how many writes the operator is killed, once: what is planned beyond is not done.
    pub killed_after: Option<usize>,
    /// Whether the spec lets pods that serve go before others are there.
    may_fall: bool,
    /// Statuses that were written, and steps that changed something.
    pub writes: usize,
    /// Statuses that were written though the roll-out is where it was: of what is said and what was compared.
    pub told: usize,
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
            services: Vec::new(),
            traffic: BTreeMap::new(),
            evidence: None,
            readings: Readings::NoPrometheus,
            label_jobs: Vec::new(),
            label_pods: Vec::new(),
            bake: None,
            monitors: Vec::new(),
            gateway: Gateway::default(),
            autoscalers: Autoscalers::default(),
            claims: Arc::new(["models".to_owned(), "predictions".to_owned()].into()),
            presets: presets(),
            agent_image: "agent:1".to_owned(),
        };
        Self {
            observed,
            known: None,
            budget: None,
            weights: Vec::new(),
            routes: Vec::new(),
            killed_after: None,
            may_fall: false,
            now: 0,
            writes: 0,
            told: 0,
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
        as_kept(&mut kept.label_pods, &mut kept.label_jobs);
        kept.evidence = self.evidence();
        plan(&kept, at(self.now))
    }

    /// How the sides compare, as the operator knows it.
    pub fn evidence(&self) -> Option<Evidence> {
        let now = sides(&self.observed.deployment)?;
        Some(now.evidence.after(self.known.as_ref()))
    }

    /// The operator is started again, and knows what is written.
    pub fn restarts(&mut self) {
        self.killed_after = None;
        self.known = None;
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
                let is_forced = self
                    .observed
                    .deployment
                    .annotations()
                    .contains_key(annotations::FORCE);
                assert!(
                    is_forced
                        || tried.is_none_or(|version| !quarantined
                            .contains(version.spec.fingerprint.as_ref().expect("one"))),
                    "{name} is in quarantine"
                );
            }
            if self.is_killed() {
                return true;
            }
            self.apply(step);
        }
        if self.is_killed() {
            return true;
        }
        let wanted = self.observed.deployment.spec.replicas;
        // A canary's pods come on top of what is asked for; those of the version that serves may not go for it.
        let answer = self.answering(stable);
        assert!(
            self.may_fall || answer >= answered.min(wanted),
            "{answered} pods answered, {answer} do now, {wanted} are asked for"
        );
        if !crashed && plan.status != self.status() {
            if let Some(canary) = &plan.status.canary {
                let now = (canary.version.clone(), canary.step, canary.weight);
                if self.weights.last() != Some(&now) {
                    self.weights.push(now);
                }
            }
            let before = self.status().canary;
            let is_told = plan
                .status
                .canary
                .as_ref()
                .zip(before.as_ref())
                .is_some_and(|(now, before)| {
                    let place = |one: &CanaryStatus| (one.step, one.step_started, one.since);
                    now != before && place(now) == place(before)
                });
            self.told += usize::from(is_told);
            Arc::make_mut(&mut self.observed.deployment).status = Some(plan.status);
            self.writes += 1;
        }
        writes != self.writes
    }

    /// Whether the operator is killed now. It is started again by that, and knows what is written.
    fn is_killed(&mut self) -> bool {
        let is_now = self.killed_after == Some(self.writes);
        if is_now {
            self.restarts();
        }
        is_now
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

    #[allow(clippy::too_many_lines)] // an arm for each kind
    fn apply(&mut self, step: Step) {
        match step {
            Step::Apply(Child::Service(wanted)) => {
                let all = &mut self.observed.services;
                match all
                    .iter_mut()
                    .find(|live| live.name_any() == wanted.name_any())
                {
                    Some(live) if **live == *wanted => {}
                    Some(live) => {
                        *live = Arc::new(*wanted);
                        self.writes += 1;
                    }
                    None => {
                        all.push(Arc::new(*wanted));
                        self.writes += 1;
                    }
                }
            }
            Step::Delete(Doomed::Service(name)) => {
                self.observed
                    .services
                    .retain(|live| live.name_any() != name);
                self.writes += 1;
            }
            Step::Apply(Child::HttpRoute(wanted)) => {
                let live = self.observed.gateway.route.as_ref();
                if live.is_none_or(|live| !is_so(&wanted.spec, &live.spec)) {
                    let before = live.and_then(|live| live.metadata.generation).unwrap_or(0);
                    let mut made: HttpRoute = *wanted;
                    made.metadata.generation = Some(before + 1);
                    made.status = live.and_then(|live| live.status.clone());
                    self.observed.gateway.route = Some(Arc::new(made));
                    let divided = self.routed();
                    self.routes.push(divided);
                    self.writes += 1;
                }
            }
            Step::Apply(Child::PodDisruptionBudget(wanted)) => {
                if self.budget.as_deref() != Some(&*wanted) {
                    self.budget = Some(wanted);
                    self.writes += 1;
                }
            }
            Step::Apply(Child::HorizontalPodAutoscaler(wanted)) => {
                let live = &mut self.observed.autoscalers.horizontal;
                if live.as_deref().map(|live| &live.spec) != Some(&wanted.spec) {
                    *live = Some(Arc::new(*wanted));
                    self.writes += 1;
                }
            }
            Step::Apply(Child::ScaledObject(wanted)) => {
                let live = &mut self.observed.autoscalers.scaled;
                if live.as_deref().map(|live| &live.spec) != Some(&wanted.spec) {
                    *live = Some(Arc::new(*wanted));
                    self.writes += 1;
                }
            }
            Step::Delete(Doomed::HorizontalPodAutoscaler(_)) => {
                self.observed.autoscalers.horizontal = None;
                self.writes += 1;
            }
            Step::Delete(Doomed::ScaledObject(_)) => {
                self.observed.autoscalers.scaled = None;
                self.writes += 1;
            }
            Step::Delete(Doomed::HttpRoute(_)) => {
                self.observed.gateway.route = None;
                self.writes += 1;
            }
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
            Step::Apply(Child::JobBeside(wanted)) => {
                let all = &mut self.observed.label_jobs;
                if all.iter().all(|live| live.name_any() != wanted.name_any()) {
                    let mut made = *wanted;
                    made.metadata.uid = Some(format!("uid-{}", made.name_any()));
                    all.push(Arc::new(made));
                    self.writes += 1;
                }
            }
            Step::Delete(Doomed::JobBeside(name)) => {
                self.observed
                    .label_jobs
                    .retain(|live| live.name_any() != name);
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

    /// What each side answers in the step.
    pub fn traffic(&mut self, requests: u64, canary_errors: u64) -> &mut Self {
        self.traffic_of(requests, [canary_errors, 0])
    }

    /// What each side answers in the step, with so many errors of the canary and of the stable version.
    pub fn traffic_of(&mut self, requests: u64, errors: [u64; 2]) -> &mut Self {
        let of = |requests, errors| Traffic {
            requests,
            errors,
            bounds_ms: vec![10.0, 100.0],
            counts: vec![requests, 0, 0],
            ..Traffic::default()
        };
        let Some(sides) = sides(&self.observed.deployment) else {
            return self;
        };
        let (canary, stable) = (sides.canary.to_owned(), sides.stable.to_owned());
        self.observed.traffic = [
            (stable, of(requests, errors[1])),
            (canary, of(requests, errors[0])),
        ]
        .into();
        // It came little by little, and is more of what came before.
        let mut all = sides.evidence.after(self.known.as_ref());
        if all.slow.iter().any(|slow| slow.slow_from().is_none()) {
            // The stable version's latencies are known before.
            let latencies = Traffic {
                requests: 0,
                ..of(1000, 0)
            };
            all.take(&Traffic::default(), &latencies);
        }
        for look in 0..LOOKS {
            let part = |all: u64| all * (look + 1) / LOOKS - all * look / LOOKS;
            all.take(
                &of(part(requests), part(errors[0])),
                &of(part(requests), part(errors[1])),
            );
        }
        self.known = Some(all);
        self
    }

    /// The spec lets pods that serve go before others are there.
    pub fn lets_capacity_fall(&mut self) -> &mut Self {
        self.may_fall = true;
        self
    }

    /// The stable version answers alone, with so many errors, and then the operator looks.
    pub fn served_alone(&mut self, requests: u64, errors: u64, canary: &Traffic) -> &mut Self {
        let sides = sides(&self.observed.deployment).expect("it rolls");
        let mut all = sides.evidence.after(self.known.as_ref());
        let stable = Traffic {
            requests,
            errors,
            ..Traffic::default()
        };
        all.take(canary, &stable);
        self.known = Some(all);
        self
    }

    /// What the query of this text answered in the last minutes, the newest last, each half a minute before the next.
    pub fn answered(&mut self, query: &str, answers: &[Answer]) -> &mut Self {
        let places = (0..answers.len()).rev();
        let reading = |(answer, place): (&Answer, usize)| Reading {
            at: at(self.now - 30 * i64::try_from(place).expect("small")),
            answer: answer.clone(),
        };
        let all = answers.iter().zip(places).map(reading).collect();
        self.observed.readings = Readings::Of([(query.to_owned(), all)].into());
        self
    }

    /// Of rows that both answered, how many they answered alike.
    pub fn agreement(&mut self, compared: u64, agreed: u64) -> &mut Self {
        let sides = sides(&self.observed.deployment).expect("it rolls");
        let mut all = sides.evidence.after(self.known.as_ref());
        for look in 0..LOOKS {
            let part = |all: u64| all * (look + 1) / LOOKS - all * look / LOOKS;
            let stable = Traffic {
                compared: part(compared),
                agreed: part(agreed),
                ..Traffic::default()
            };
            all.take(&Traffic::default(), &stable);
        }
        self.known = Some(all);
        self
    }

    /// The Gateway has taken the route as it is.
    pub fn route_is_taken(&mut self) -> &mut Self {
        self.gateway_says("Accepted", "True")
    }

    /// What the Gateway says of the route as it is.
    pub fn gateway_says(&mut self, type_: &str, status: &str) -> &mut Self {
        if let Some(route) = &mut self.observed.gateway.route {
            let route = Arc::make_mut(route);
            let said = json!({"parents": [{"conditions": [{
                "type": type_, "status": status, "observedGeneration": route.metadata.generation,
                "reason": "Said", "message": "so it is", "lastTransitionTime": "2026-01-01T00:00:00Z",
            }]}]});
            route.status = Some(serde_json::from_value(said).expect("a status"));
        }
        self
    }

    /// A person says something by an annotation.
    pub fn annotate(&mut self, name: &str, value: &str) -> &mut Self {
        let deployment = Arc::make_mut(&mut self.observed.deployment);
        let all = deployment.metadata.annotations.get_or_insert_default();
        all.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Which versions the main Service names; none where it names all.
    pub fn pinned(&self) -> Option<String> {
        self.selected("churn")
    }

    /// Which version a Service names.
    pub fn selected(&self, service: &str) -> Option<String> {
        let mut all = self.observed.services.iter();
        let found = all.find(|one| one.name_any() == service)?;
        let selector = found.spec.as_ref()?.selector.as_ref()?;
        selector.get(labels::VERSION).cloned()
    }

    /// The backends of the route's last rule, and their weights.
    pub fn routed(&self) -> Vec<(String, i64)> {
        let route = self.observed.gateway.route.as_ref();
        let backends = route.and_then(|route| {
            route.spec["rules"].as_array()?.last()?["backendRefs"]
                .as_array()
                .cloned()
        });
        let named = |one: &Value| Some((one["name"].as_str()?.to_owned(), one["weight"].as_i64()?));
        backends.iter().flatten().filter_map(named).collect()
    }

    /// The canary's pods get ready, its hold passes, and its traffic is good.
    pub fn step_passes(&mut self) -> &mut Self {
        self.all_ready()
            .traffic(0, 0)
            .settle()
            .traffic(1500, 0)
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
