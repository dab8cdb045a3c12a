//! Every interleaving of what may become of a deployment that a new version is to take over: see [`crate::model`].
//!
//! Bounds: two versions and two pods, two steps (one pod, then both); each version is found good or bad once, and one is
//! taken back twice at most. Time goes by five minutes, and ages past that are alike: every hold, deadline and bake here is
//! shorter. A canary loses pods once in a step. The deployments: one that has never served, whose versions a person approves;
//! one by replicas that bakes, one that is held for a person where it fails, one by a Gateway, and one that turns from blue to
//! green on what Prometheus says, each from where version 2 comes and from further on; and three of these again, of which
//! versions come and go, and a person names one or the other, while they roll.

mod state;
mod wrong;

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use serde_json::{Value, json};
use windlass_api::{
    Approval, CanaryStatus, ModelDeploymentStatus, ModelVersion, Review, ReviewDecision,
    annotations, condition, labels,
};
use windlass_statistics::proportion::Proportion;

use super::world::World;
use crate::fixtures::{at, object, version};
use crate::model::{self, Model};
use crate::modeldeployment::{Answer, Readings, bake};
use crate::modelversion::{fingerprint, verdict};

/// Time goes by so many seconds; times past this are alike.
const LONG: i64 = 301;
/// What Prometheus is asked.
const QUERY: &str = "q";
/// Requests that both sides answer at a time, and the canary's that fail where it does harm.
const REQUESTS: u64 = 1500;
const FAILED: u64 = 700;

/// A world, and what was done last.
#[derive(Clone)]
struct Rolling {
    world: World,
    by: By,
    /// Whether versions come and go, and a person says which is to serve.
    is_free: bool,
}

/// Who did what was done last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// People and the cluster.
    Others,
    /// The operator, up to its status.
    Look,
    /// The operator, which was killed.
    Crash,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    VersionComes(i64),
    IsJudged(i64, &'static str),
    IsReviewed(i64, ReviewDecision),
    VersionIsDeleted(i64),
    PodsCome,
    PodsGetReady,
    PodIsLost(i64),
    AnswersWell,
    AnswersBadly,
    PrometheusSays(&'static str),
    BakesBadly,
    RouteIs(&'static str),
    Promotes,
    Aborts,
    Names(i64),
    NamesLatest,
    Forces,
    Restarts,
    Minutes,
}

/// A version of this number that is to be judged, and that a person has to approve where it says so.
fn unjudged(number: i64, approval: Approval) -> Arc<ModelVersion> {
    let digit = char::from_digit(u32::try_from(number).expect("small"), 10).expect("a digit");
    let mut made = version(number, digit, None);
    let spec = &mut Arc::make_mut(&mut made).spec;
    spec.approval = approval;
    let validation = json!({"dataset": {"uri": "pvc://holdout/rows", "label": "churned"}, "metrics": [{"name": "rocAuc", "min": "0.8"}]});
    spec.validation = Some(object(validation));
    made
}

fn judged(version: &mut Arc<ModelVersion>, found: &str) {
    let status = json!({"validation": {"verdict": found, "message": "judged", "rows": 500}});
    Arc::make_mut(version).status = Some(object(status));
}

impl Rolling {
    /// What is given beside this; before it has served, or while version 1 serves.
    fn of(rollout: Value, serves: bool) -> Self {
        let mut world = World::new(json!({"replicas": 2, "observe": null, "rollout": rollout}));
        world.observed.gateway.is_served = true;
        // Who takes back what bakes may have fewer pods to go back to: how many there have to be is told in `wrong`.
        world.lets_capacity_fall();
        world.observed.versions = vec![unjudged(1, Approval::Automatic)];
        let mut rolling = Self {
            world,
            by: By::Others,
            is_free: !serves,
        };
        if serves {
            judged(&mut rolling.world.observed.versions[0], "Pass");
            while !rolling.rests() {
                rolling.goes_well();
            }
            assert_eq!(rolling.world.stable().as_deref(), Some("churn-1"));
        }
        rolling
    }

    /// Version 1 serves, and version 2 is there, and was found good.
    fn trying(rollout: &Value) -> Self {
        let mut rolling = Self::of(rollout.clone(), true);
        let mut made = unjudged(2, Approval::Automatic);
        judged(&mut made, "Pass");
        rolling.world.add(made);
        rolling
    }

    /// The same, all having gone well until this is so.
    fn until(rollout: &Value, is_so: impl Fn(&ModelDeploymentStatus) -> bool) -> Self {
        let mut rolling = Self::trying(rollout);
        for _ in 0..Self::ROUNDS {
            if is_so(&rolling.world.status()) {
                let unsaid = Arc::make_mut(&mut rolling.world.observed.deployment);
                unsaid.metadata.annotations = None;
                return rolling;
            }
            rolling.goes_well();
        }
        panic!("it never is");
    }

    fn free(mut self) -> Self {
        self.is_free = true;
        self
    }

    fn version(&self, name: &str) -> Option<&Arc<ModelVersion>> {
        let mut all = self.world.observed.versions.iter();
        all.find(|version| version.name_any() == name)
    }

    fn version_of(&mut self, number: i64) -> &mut Arc<ModelVersion> {
        let mut all = self.world.observed.versions.iter_mut();
        let found = all.find(|version| version.spec.version == number);
        found.expect("it is there")
    }

    fn annotation(&self, name: &str) -> Option<&String> {
        self.world.observed.deployment.annotations().get(name)
    }

    /// How many pods of a version are ready.
    fn ready(&self, version: &str) -> i32 {
        let mut all = self.world.observed.children.iter();
        let child = all.find(|child| child.labels()[labels::VERSION] == version);
        child
            .and_then(|child| child.status.as_ref()?.ready_replicas)
            .unwrap_or(0)
    }

    fn wanted(&self) -> i32 {
        self.world.observed.deployment.spec.replicas
    }

    /// How often a version of this fingerprint was taken back.
    fn times_taken_back(&self, version: &ModelVersion) -> usize {
        let status = self.world.status();
        let mut all = status.quarantine;
        all.retain(|entry| entry.fingerprint == fingerprint(version));
        all.len()
    }

    fn is_forced(&self, version: &ModelVersion) -> bool {
        let word = format!("{}/{}", version.name_any(), self.times_taken_back(version));
        self.annotation(annotations::FORCE) == Some(&word)
    }

    /// The version that is named by its number.
    fn named(&self) -> Option<i64> {
        match &self.world.observed.deployment.spec.version {
            IntOrString::Int(number) => Some((*number).into()),
            IntOrString::String(_) => None,
        }
    }

    fn names(&mut self, version: IntOrString) {
        self.world.edit(|spec| spec.version = version);
    }

    /// What a person says to let the step of a canary pass.
    fn passage(&self, canary: &CanaryStatus) -> String {
        let step = canary.step.saturating_add(1).min(self.stages());
        format!("{}/{step}", canary.version)
    }

    fn stages(&self) -> i32 {
        let rollout = &self.world.observed.deployment.spec.rollout;
        let stages = crate::modeldeployment::stages::stages(rollout);
        i32::try_from(stages.len()).expect("few")
    }

    /// Whether what Prometheus says is judged.
    fn is_asked(&self) -> bool {
        let checks = &self.world.observed.deployment.spec.rollout.analysis;
        checks.iter().any(|check| check.query.is_some())
    }

    /// What Prometheus said last, and when.
    fn reading(&self) -> Option<(&'static str, i64)> {
        let Readings::Of(all) = &self.world.observed.readings else {
            return None;
        };
        let last = all.get(QUERY)?.last()?;
        let said = match last.answer {
            Answer::Value(value) if value > 0.5 => "bad",
            Answer::Value(_) => "good",
            _ => "nothing",
        };
        let age = at(self.world.now).duration_since(last.at).as_secs();
        Some((said, age))
    }

    /// What the Gateway says of the route as it is.
    fn route_is(&self) -> Option<String> {
        let route = self.world.observed.gateway.route.as_ref()?;
        let parent = route.status.as_ref()?.parents.first()?;
        let said = parent.conditions.first()?;
        (said.observed_generation == route.metadata.generation).then(|| said.status.clone())
    }

    /// What was counted is of one step, and of one that bakes.
    fn counts_anew(&mut self, before: Option<&CanaryStatus>) {
        let status = self.world.status();
        let place = |one: &CanaryStatus| (one.started, one.step, one.step_started);
        if status.canary.as_ref().map(place) != before.map(place) {
            self.world.observed.traffic.clear();
            self.world.observed.readings = Readings::Of([].into());
        }
        if status.bake.is_none() {
            self.world.observed.bake = None;
        }
    }

    /// The operator, started again, knows what is written.
    fn restarts(&mut self) {
        self.world.restarts();
        self.world.observed.traffic.clear();
        self.world.observed.bake = None;
    }

    fn bakes_badly(&mut self) {
        let mut share = bake(&self.world.status()).expect("errors are judged");
        for _ in 0..10 {
            share.take(Proportion {
                successes: 20,
                trials: 50,
            });
        }
        self.world.observed.bake = Some(share);
    }

    /// What may happen to versions, and what people may say of which is to serve.
    fn events_of_versions(&self) -> Vec<Event> {
        let mut all = Vec::new();
        if !self.is_free {
            return all;
        }
        for number in [1, 2] {
            let name = format!("churn-{number}");
            let Some(version) = self.version(&name) else {
                all.push(Event::VersionComes(number));
                continue;
            };
            all.push(Event::VersionIsDeleted(number));
            if verdict(version).is_none() {
                all.extend(["Pass", "Fail"].map(|found| Event::IsJudged(number, found)));
            }
            if version.spec.approval == Approval::Manual && version.spec.review.is_none() {
                let words = [ReviewDecision::Approved, ReviewDecision::Denied];
                all.extend(words.map(|word| Event::IsReviewed(number, word)));
            }
            let is_named = self.named() == Some(number);
            if !is_named {
                all.push(Event::Names(number));
            }
            let times = self.times_taken_back(version);
            if is_named && times > 0 && times < 2 && !self.is_forced(version) {
                all.push(Event::Forces);
            }
        }
        if self.named().is_some() {
            all.push(Event::NamesLatest);
        }
        all
    }

    /// What may happen to pods.
    fn events_of_pods(&self) -> Vec<Event> {
        let mut all = Vec::new();
        let status = self.world.status();
        let children = &self.world.observed.children;
        let lags = children.iter().any(|child| {
            let seen = child
                .status
                .as_ref()
                .and_then(|one| one.observed_generation);
            seen < child.metadata.generation
        });
        if lags {
            all.push(Event::PodsCome);
        }
        let is_less = |child: &Arc<k8s_openapi::api::apps::v1::Deployment>| {
            let ready = child.status.as_ref().and_then(|one| one.ready_replicas);
            ready < child.spec.replicas
        };
        if lags || children.iter().any(|child| is_less(child)) {
            all.push(Event::PodsGetReady);
        }
        for number in [1, 2] {
            let name = format!("churn-{number}");
            let canary = status.canary.as_ref().filter(|one| one.version == name);
            let is_few = canary.is_none_or(|canary| canary.interruptions < 1);
            if self.ready(&name) > 0 && is_few {
                all.push(Event::PodIsLost(number));
            }
        }
        all
    }

    /// What may come to be known of a version that is tried, or bakes.
    fn events_of_evidence(&self) -> Vec<Event> {
        let mut all = Vec::new();
        let status = self.world.status();
        if let Some(canary) = &status.canary {
            let answers = self.ready(&canary.version) > 0 && canary.failure.is_none();
            let [_, fails, is_known] = self.counted();
            if answers && !self.is_asked() && !is_known {
                all.push(Event::AnswersWell);
            }
            if answers && !self.is_asked() && !fails {
                all.push(Event::AnswersBadly);
            }
            if self.is_asked() {
                let said = self.reading().filter(|(_, age)| *age == 0);
                let said = said.map(|(said, _)| said);
                let others = ["good", "bad", "nothing"].into_iter();
                let others = others.filter(|other| Some(*other) != said);
                all.extend(others.map(Event::PrometheusSays));
            }
            if self.annotation(annotations::PROMOTE) != Some(&self.passage(canary)) {
                all.push(Event::Promotes);
            }
            if self.annotation(annotations::ABORT) != Some(&canary.version) {
                all.push(Event::Aborts);
            }
        }
        let is_judged = status.bake.is_some_and(|bake| bake.limit.is_some());
        if is_judged && self.world.observed.bake.is_none() {
            all.push(Event::BakesBadly);
        }
        all
    }
}

impl Model for Rolling {
    const KIND: &'static str = "ModelDeployment";
    const ROUNDS: usize = 40;
    type Event = Event;

    fn events(&self) -> Vec<Event> {
        let mut all = self.events_of_versions();
        all.extend(self.events_of_pods());
        all.extend(self.events_of_evidence());
        if self.world.observed.gateway.route.is_some() {
            let said = self.route_is();
            let others = ["True", "False"].into_iter();
            let others = others.filter(|other| said.as_deref() != Some(*other));
            all.extend(others.map(Event::RouteIs));
        }
        if self.has_counted() {
            all.push(Event::Restarts);
        }
        all.push(Event::Minutes);
        all
    }

    fn happens(&mut self, event: Event) {
        self.by = By::Others;
        let canary = self.world.canary().unwrap_or_default();
        match event {
            Event::VersionComes(number) => {
                self.world.add(unjudged(number, self.approval()));
            }
            Event::IsJudged(number, found) => judged(self.version_of(number), found),
            Event::IsReviewed(number, decision) => {
                let review: Review =
                    object(json!({"decision": decision, "by": "ada", "reason": "seen"}));
                Arc::make_mut(self.version_of(number)).spec.review = Some(review);
            }
            Event::VersionIsDeleted(number) => {
                let all = &mut self.world.observed.versions;
                all.retain(|version| version.spec.version != number);
            }
            Event::PodsCome => drop(self.world.sync()),
            Event::PodsGetReady => drop(self.world.sync().all_ready()),
            Event::PodIsLost(number) => drop(self.world.ready(number, -1)),
            Event::AnswersWell => drop(self.world.traffic(REQUESTS, 0)),
            Event::AnswersBadly => drop(self.world.traffic(REQUESTS, FAILED)),
            Event::PrometheusSays(what) => {
                let answer = match what {
                    "good" => Answer::Value(0.0),
                    "bad" => Answer::Value(1.0),
                    _ => Answer::Failed("it is down".to_owned()),
                };
                // One that is asked nothing does no harm.
                if self.ready(&canary) > 0 {
                    self.world.traffic(REQUESTS, 0);
                }
                self.world.answered(QUERY, &[answer]);
            }
            Event::BakesBadly => self.bakes_badly(),
            Event::RouteIs(status) => drop(self.world.gateway_says("Accepted", status)),
            Event::Promotes => {
                let status = self.world.status().canary.expect("it rolls");
                let word = self.passage(&status);
                self.world.annotate(annotations::PROMOTE, &word);
            }
            Event::Aborts => drop(self.world.annotate(annotations::ABORT, &canary)),
            Event::Names(number) => {
                self.names(IntOrString::Int(i32::try_from(number).expect("small")));
            }
            Event::NamesLatest => self.names(IntOrString::String("Latest".to_owned())),
            Event::Forces => {
                let number = self.named().expect("one is named");
                let version = self.version_of(number).clone();
                let word = format!("{}/{}", version.name_any(), self.times_taken_back(&version));
                self.world.annotate(annotations::FORCE, &word);
            }
            Event::Restarts => self.restarts(),
            Event::Minutes => drop(self.world.wait(LONG)),
        }
    }

    fn words(event: Event) -> &'static str {
        match event {
            Event::VersionComes(_) => "a version is registered",
            Event::IsJudged(_, "Pass") => "a version is found good",
            Event::IsJudged(..) => "a version is found bad",
            Event::IsReviewed(_, ReviewDecision::Approved) => "a person approves a version",
            Event::IsReviewed(_, ReviewDecision::Denied) => "a person denies a version",
            Event::VersionIsDeleted(_) => "a version is deleted",
            Event::PodsCome => "pods are made",
            Event::PodsGetReady => "pods get ready",
            Event::PodIsLost(_) => "a pod is lost",
            Event::AnswersWell => "the canary answers well",
            Event::AnswersBadly => "the canary's requests fail",
            Event::PrometheusSays("good") => "Prometheus says that it is good",
            Event::PrometheusSays("bad") => "Prometheus says that it is bad",
            Event::PrometheusSays(_) => "Prometheus is down",
            Event::BakesBadly => "requests fail while it bakes",
            Event::RouteIs("True") => "the Gateway takes the route",
            Event::RouteIs(_) => "the Gateway refuses the route",
            Event::Promotes => "a person lets it pass",
            Event::Aborts => "a person takes it back",
            Event::Names(_) => "a person names a version",
            Event::NamesLatest => "a person asks for the latest version",
            Event::Forces => "a person forces what was taken back",
            Event::Restarts => "the operator is started again",
            Event::Minutes => "five minutes pass",
        }
    }

    /// Writes that the next look makes beside its status.
    fn steps(&self) -> usize {
        let mut next = self.world.clone();
        let before = (next.writes, next.status());
        next.reconcile();
        next.writes - before.0 - usize::from(next.status() != before.1)
    }

    fn looks(&mut self, crash: usize) {
        let before = self.world.status().canary;
        self.by = By::Look;
        if crash < usize::MAX {
            self.by = By::Crash;
            self.world.killed_after = Some(self.world.writes + crash);
        }
        self.world.reconcile();
        self.counts_anew(before.as_ref());
        if self.by == By::Crash {
            self.restarts();
        }
    }

    fn state(&self) -> Value {
        self.all_that_matters()
    }

    fn said(&self) -> Option<String> {
        let status = self.world.status();
        let types = [condition::READY];
        model::said(status.phase.as_ref(), &status.conditions, &types)
    }

    fn wrong(&self, before: &Self) -> Option<String> {
        match self.by {
            By::Others => None,
            By::Look | By::Crash => self.is_wrong_after(before),
        }
    }

    fn stuck(&self) -> Option<String> {
        self.is_wrong_at_rest()
    }

    fn goes_well(&mut self) {
        let before = self.world.status();
        self.by = By::Look;
        if self.world.reconcile() {
            self.counts_anew(before.canary.as_ref());
            return;
        }
        self.by = By::Others;
        self.world.sync().all_ready().route_is_taken();
        for version in &mut self.world.observed.versions {
            if verdict(version).is_none() {
                judged(version, "Pass");
            }
        }
        if let Some(canary) = before.canary {
            self.world.traffic(REQUESTS, 0);
            // What was said before is taken off first.
            let word = self.passage(&canary);
            let said = self.annotation(annotations::PROMOTE) == Some(&word);
            let word = if said { "" } else { word.as_str() };
            self.world.annotate(annotations::PROMOTE, word);
        }
        self.world.wait(LONG);
        if self.is_asked() {
            self.world.answered(QUERY, &[Answer::Value(0.0)]);
        }
    }

    fn rests(&self) -> bool {
        let mut next = self.world.clone();
        if next.reconcile() {
            return false;
        }
        let waits = self.world.status().phase.as_deref() == Some("Pending");
        let serves = self.world.is(condition::READY) && self.world.status().bake.is_none();
        serves || self.world.is(condition::STALLED) || waits && !self.is_judging()
    }
}

impl Rolling {
    /// Whether a version is still to be judged.
    fn is_judging(&self) -> bool {
        let mut all = self.world.observed.versions.iter();
        all.any(|version| verdict(version).is_none())
    }

    /// What is asked of a person before a version may serve: of one deployment alone.
    fn approval(&self) -> Approval {
        let rollout = &self.world.observed.deployment.spec.rollout;
        if rollout.analysis.is_empty() {
            Approval::Manual
        } else {
            Approval::Automatic
        }
    }
}

#[test]
fn whatever_becomes_of_a_deployment_is_in_the_docs_and_nothing_of_it_is_wrong() {
    let steps = json!([{"weight": 10, "hold": "60s"}, {"weight": 60, "hold": "60s"}]);
    let errors = json!([{"metric": "ErrorRate", "notWorseThan": "0.01"}]);
    let asked = json!([{"metric": "Prometheus", "query": QUERY, "max": "0.01", "count": 1}]);
    let by_replicas = json!({"steps": steps, "analysis": errors, "bake": "60s"});
    let with_a_person = json!({
        "steps": [{"weight": 10, "hold": "60s"}, {"weight": 60, "hold": "60s", "pause": true}],
        "analysis": errors, "onFailure": "Pause",
    });
    let by_a_gateway =
        json!({"steps": steps, "analysis": errors, "traffic": {"gatewayRef": {"name": "public"}}});
    let blue_green =
        json!({"strategy": "BlueGreen", "analysis": asked, "preview": {"hold": "60s"}});
    let unjudged = json!({"steps": steps, "analysis": [], "bake": "0s"});
    let begun = |at: i32| {
        move |status: &ModelDeploymentStatus| {
            let canary = status.canary.as_ref();
            canary.is_some_and(|canary| canary.step == at && canary.step_started.is_some())
        }
    };
    let bakes = |status: &ModelDeploymentStatus| status.bake.is_some();
    let found = model::explore(vec![
        Rolling::of(unjudged, false),
        Rolling::trying(&by_replicas),
        Rolling::until(&by_replicas, begun(1)),
        Rolling::until(&by_replicas, bakes),
        Rolling::until(&with_a_person, begun(1)),
        Rolling::trying(&by_a_gateway),
        Rolling::until(&by_a_gateway, begun(0)),
        Rolling::until(&by_a_gateway, begun(1)),
        Rolling::trying(&blue_green),
        Rolling::until(&blue_green, begun(0)),
        Rolling::until(&by_replicas, begun(0)).free(),
        Rolling::until(&by_a_gateway, begun(0)).free(),
        Rolling::until(&blue_green, begun(0)).free(),
    ]);
    assert!(found.worlds >= 1000, "{}", found.worlds);
    found.is_in_the_docs();
}
