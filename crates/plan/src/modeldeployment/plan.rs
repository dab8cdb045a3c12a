//! The decisions on a ModelDeployment.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use windlass_api::agent::Verdict;
use windlass_api::{
    CanaryStatus, ModelDeployment, ModelDeploymentStatus, ModelVersion, Quarantined, Resolved, RolloutOutcome, RolloutRecord, StableStatus,
    condition, labels,
};

use super::analysis::{self, Finding};
use super::children;
use super::observed::Observed;
use crate::conditions::Conditions;
use crate::modelversion::is_good;
use crate::{Child, Doomed, Note, Plan, Problem, Step, pods, template};

/// How often a roll-out is looked at.
const LOOK: Duration = Duration::from_secs(2);
/// Records of quarantine that are kept.
const KEPT_QUARANTINE: usize = 50;

/// What is to be done about a ModelDeployment.
pub fn plan(observed: &Observed, now: Timestamp) -> Plan<ModelDeploymentStatus> {
    let deployment = &*observed.deployment;
    let before = deployment.status.clone().unwrap_or_default();
    let reconcile = Reconcile { observed, deployment, before: &before, now };
    let mut plan = Plan::status_only(reconcile.base());
    let problem = reconcile.advance(&mut plan).err();
    reconcile.say(&mut plan, problem);
    plan
}

struct Reconcile<'a> {
    observed: &'a Observed,
    deployment: &'a ModelDeployment,
    before: &'a ModelDeploymentStatus,
    now: Timestamp,
}

/// What the pods are made from.
struct Made {
    server: PodTemplateSpec,
    agent_image: String,
}

/// By what a version is known in quarantine.
fn fingerprint(version: &ModelVersion) -> &str {
    version.spec.fingerprint.as_deref().unwrap_or(&version.spec.artifact.digest)
}

/// How many pods a canary of this weight has, beside all of the stable version's.
fn canary_replicas(weight: i32, replicas: i32) -> i32 {
    let (weight, replicas) = (i64::from(weight.clamp(0, 99)), i64::from(replicas));
    // canary / (canary + replicas) = weight / 100, rounded to the nearest pod, and never none.
    let rounded = (weight * replicas * 2 + (100 - weight)) / ((100 - weight) * 2);
    i32::try_from(rounded.max(1)).unwrap_or(i32::MAX)
}

impl<'a> Reconcile<'a> {
    fn base(&self) -> ModelDeploymentStatus {
        let selector: Vec<String> = children::selector(self.deployment).into_iter().map(|(key, value)| format!("{key}={value}")).collect();
        ModelDeploymentStatus {
            observed_generation: self.deployment.metadata.generation,
            selector: Some(selector.join(",")),
            ..self.before.clone()
        }
    }

    fn version(&self, name: &str) -> Option<&'a ModelVersion> {
        self.observed.versions.iter().map(AsRef::as_ref).find(|version| version.name_any() == name)
    }

    fn child(&self, version: &ModelVersion) -> Option<&'a Deployment> {
        let name = children::deployment_name(self.deployment, version);
        self.observed.children.iter().map(AsRef::as_ref).find(|child| child.name_any() == name)
    }

    fn is_quarantined(&self, version: &ModelVersion) -> bool {
        self.before.quarantine.iter().any(|entry| entry.fingerprint == fingerprint(version))
    }

    /// The version that is asked for.
    fn target(&self) -> Result<&'a ModelVersion, Problem> {
        let model = &self.deployment.spec.model;
        match &self.deployment.spec.version {
            IntOrString::Int(number) => {
                let name = format!("{model}-{number}");
                let version = self.version(&name).ok_or_else(|| Problem::new("VersionNotFound", format!("spec.version: there is no ModelVersion {name:?}; register it, or name another")))?;
                if version.status.as_ref().and_then(|status| status.validation.as_ref()).is_some_and(|found| found.verdict == Verdict::Fail) {
                    return Err(Problem::new("VersionRejected", format!("spec.version: the validation of {name} failed; name another version")));
                }
                if self.is_quarantined(version) {
                    return Err(Problem::new("VersionQuarantined", format!("spec.version: {name} was rolled back before (status.quarantine says why); name another version")));
                }
                Ok(version)
            }
            IntOrString::String(_) => {
                let newest = self.observed.versions.iter().map(AsRef::as_ref).filter(|version| is_good(version) && !self.is_quarantined(version)).max_by_key(|version| version.spec.version);
                newest.ok_or_else(|| Problem::new("NoVersion", format!("waiting until a version of the model {model:?} passes its validation")))
            }
        }
    }

    /// What pods are made from: taken down once for each change of the object, so that an upgrade changes nothing that runs.
    fn made(&self, target: &ModelVersion, status: &mut ModelDeploymentStatus) -> Result<Made, Problem> {
        let generation = self.deployment.metadata.generation.unwrap_or_default();
        let resolved = match &self.before.resolved {
            Some(resolved) if resolved.generation == generation => resolved.clone(),
            _ => {
                let spec = &self.deployment.spec;
                let template = match &spec.template {
                    Some(template) => template.clone(),
                    None => self.observed.presets.template("spec.runtime", spec.runtime.as_deref(), &target.spec.artifact.format)?,
                };
                Resolved { generation, agent_image: self.observed.agent_image.clone(), template }
            }
        };
        let field = if self.deployment.spec.template.is_some() { "spec.template" } else { "the runtime preset" };
        let server = template::parse(field, &resolved.template)?;
        let agent_image = resolved.agent_image.clone();
        status.resolved = Some(resolved);
        Ok(Made { server, agent_image })
    }

    fn advance(&self, plan: &mut Plan<ModelDeploymentStatus>) -> Result<(), Problem> {
        let stable = self.before.stable.as_ref().and_then(|stable| self.version(&stable.version));
        let target = match (self.target(), stable) {
            (Ok(target), _) => target,
            // What served before goes on serving, whatever is wrong with what is asked for.
            (Err(problem), Some(stable)) => {
                self.serve_on(stable, plan)?;
                return Err(problem);
            }
            (Err(problem), None) => return Err(problem),
        };
        let named = self.deployment.spec.observe.as_ref().and_then(|observe| observe.log_payloads.as_ref()).map(|log| ("spec.observe.logPayloads.uri", &log.uri));
        let checked = pods::check_claims(named, &self.observed.claims, &self.deployment.namespace().unwrap_or_default());
        let made = checked.and_then(|()| self.made(target, &mut plan.status))?;
        plan.steps.push(Step::Apply(Child::Service(Box::new(children::service(self.deployment)))));
        match stable {
            None => self.first(target, &made, plan),
            Some(stable) if stable.name_any() == target.name_any() => {
                if self.before.canary.is_some() {
                    plan.status.canary = None;
                }
                self.apply(stable, self.deployment.spec.replicas, &made, plan);
                self.delete_others(&[stable], plan);
            }
            Some(stable) => self.roll(stable, target, &made, plan),
        }
        Ok(())
    }

    /// Keeps what serves as it is: its replicas are what is asked for, its pods are not touched.
    fn serve_on(&self, stable: &'a ModelVersion, plan: &mut Plan<ModelDeploymentStatus>) -> Result<(), Problem> {
        plan.status.canary = None;
        self.delete_others(&[stable], plan);
        if self.deployment.spec.template.is_none() && self.before.resolved.is_none() {
            return Ok(());
        }
        let made = self.made(stable, &mut plan.status)?;
        plan.steps.push(Step::Apply(Child::Service(Box::new(children::service(self.deployment)))));
        self.apply(stable, self.deployment.spec.replicas, &made, plan);
        Ok(())
    }

    fn apply(&self, version: &ModelVersion, replicas: i32, made: &Made, plan: &mut Plan<ModelDeploymentStatus>) {
        let child = children::version_deployment(self.deployment, version, replicas, &made.server, &made.agent_image);
        plan.steps.push(Step::Apply(Child::Deployment(Box::new(child))));
    }

    fn delete_others(&self, kept: &[&ModelVersion], plan: &mut Plan<ModelDeploymentStatus>) {
        let kept: Vec<String> = kept.iter().map(|version| children::deployment_name(self.deployment, version)).collect();
        let doomed = self.observed.children.iter().filter(|child| !kept.contains(&child.name_any()) && child.metadata.deletion_timestamp.is_none());
        plan.steps.extend(doomed.map(|child| Step::Delete(Doomed::Deployment(child.name_any()))));
    }

    /// The first version: there is nothing to compare it with.
    fn first(&self, target: &'a ModelVersion, made: &Made, plan: &mut Plan<ModelDeploymentStatus>) {
        let replicas = self.deployment.spec.replicas;
        self.apply(target, replicas, made, plan);
        self.delete_others(&[target], plan);
        plan.status.canary = None;
        if ready_replicas(self.child(target)) >= replicas && self.child(target).is_some() {
            plan.status.stable = Some(StableStatus { version: target.name_any(), since: self.now });
            plan.notes.push(Note::normal("Serving", format!("{} serves", target.name_any())));
        }
    }

    fn roll(&self, stable: &'a ModelVersion, target: &'a ModelVersion, made: &Made, plan: &mut Plan<ModelDeploymentStatus>) {
        let name = target.name_any();
        let canary = match &self.before.canary {
            Some(canary) if canary.version == name => canary.clone(),
            _ => {
                plan.notes.push(Note::normal("RolloutStarted", format!("{name} is tried beside {}", stable.name_any())));
                CanaryStatus { version: name.clone(), step: 0, weight: 0, started: self.now, since: self.now, step_started: None, analysis: None }
            }
        };
        let steps = &self.deployment.spec.rollout.steps;
        let all = self.deployment.spec.replicas;
        let step = usize::try_from(canary.step).unwrap_or(0);
        let wanted = steps.get(step).map_or(all.max(1), |step| canary_replicas(step.weight, all));
        // A canary never shrinks on its way up.
        let wanted = wanted.max(self.child(target).and_then(|child| child.spec.replicas).unwrap_or(0).min(all));
        self.apply(stable, all, made, plan);
        self.apply(target, wanted, made, plan);
        self.delete_others(&[stable, target], plan);
        plan.again = Some(LOOK);

        let ready = self.child(target).is_some() && ready_replicas(self.child(target)) >= wanted;
        let mut next = canary.clone();
        match (&canary.step_started, steps.get(step)) {
            (None, _) if !ready => {
                if self.now.duration_since(canary.since) > SignedDuration::from_secs(self.deployment.spec.progress_deadline_seconds.into()) {
                    let why = self.pod_problem(&name).map_or_else(String::new, |problem| format!(": {}", problem.message));
                    let why = format!("its pods were not ready within spec.progressDeadlineSeconds ({} s){why}", self.deployment.spec.progress_deadline_seconds);
                    return self.roll_back(stable, target, &why, plan);
                }
                next.analysis = Some(format!("waiting until {wanted} pods are ready"));
            }
            (None, Some(current)) => {
                next.step_started = Some(self.now);
                next.weight = current.weight;
                next.analysis = Some("the step begins".to_owned());
                plan.notes.push(Note::normal("StepStarted", format!("step {} of {}: {name} takes {}% of the traffic", step + 1, steps.len(), share(wanted, all))));
            }
            (_, None) => return self.promote(target, plan),
            (Some(started), Some(current)) => {
                let hold = current.hold.value().ok().and_then(|hold| SignedDuration::try_from(hold).ok()).unwrap_or_default();
                match self.judge(&name, &stable.name_any()) {
                    Finding::Harm(why) => return self.roll_back(stable, target, &why, plan),
                    Finding::Good(said) if self.now.duration_since(*started) >= hold => {
                        next.step += 1;
                        next.step_started = None;
                        next.since = self.now;
                        next.analysis = Some(said);
                    }
                    Finding::Good(said) => next.analysis = Some(said),
                    Finding::Wait(said) => next.analysis = Some(said),
                }
            }
        }
        plan.status.canary = Some(next);
    }

    fn judge(&self, canary: &str, stable: &str) -> Finding {
        let rollout = &self.deployment.spec.rollout;
        let of = |version: &str| self.observed.traffic.get(version).cloned().unwrap_or_default();
        analysis::judge(&rollout.analysis, &of(canary), &of(stable), rollout.min_requests.unsigned_abs())
    }

    fn promote(&self, target: &ModelVersion, plan: &mut Plan<ModelDeploymentStatus>) {
        let name = target.name_any();
        let evidence = self.before.canary.as_ref().and_then(|canary| canary.analysis.clone()).unwrap_or_default();
        plan.status.canary = None;
        plan.status.stable = Some(StableStatus { version: name.clone(), since: self.now });
        plan.status.last_rollout = Some(RolloutRecord { version: name.clone(), outcome: RolloutOutcome::Promoted, message: evidence.clone(), time: self.now });
        plan.notes.push(Note::normal("Promoted", format!("{name} serves all traffic: {evidence}")));
    }

    fn roll_back(&self, stable: &ModelVersion, target: &ModelVersion, why: &str, plan: &mut Plan<ModelDeploymentStatus>) {
        let name = target.name_any();
        // The steps so far would keep the canary: it goes instead.
        let doomed = children::deployment_name(self.deployment, target);
        plan.steps.retain(|step| !matches!(step, Step::Apply(Child::Deployment(child)) if child.name_any() == doomed));
        if self.child(target).is_some() {
            plan.steps.push(Step::Delete(Doomed::Deployment(doomed)));
        }
        plan.status.canary = None;
        plan.status.quarantine.push(Quarantined { version: name.clone(), fingerprint: fingerprint(target).to_owned(), reason: why.to_owned(), time: self.now });
        let surplus = plan.status.quarantine.len().saturating_sub(KEPT_QUARANTINE);
        plan.status.quarantine.drain(..surplus);
        plan.status.last_rollout = Some(RolloutRecord { version: name.clone(), outcome: RolloutOutcome::RolledBack, message: why.to_owned(), time: self.now });
        plan.notes.push(Note::warning("RolledBack", format!("{name} was rolled back, {} serves on: {why}", stable.name_any())));
    }

    fn pod_problem(&self, version: &str) -> Option<Problem> {
        self.observed.pods.iter().filter(|pod| pod.labels().get(labels::VERSION).is_some_and(|label| label == version)).find_map(|pod| pods::problem(pod))
    }

    /// The conditions, from what is planned and what is there.
    fn say(&self, plan: &mut Plan<ModelDeploymentStatus>, problem: Option<Problem>) {
        let status = &plan.status;
        let wanted = self.deployment.spec.replicas;
        let stable_ready = status.stable.as_ref().and_then(|stable| self.version(&stable.version)).map_or(0, |version| ready_replicas(self.child(version)));
        let available = status.stable.is_some() && (stable_ready > 0 || wanted == 0);
        let starting = status.stable.is_none();
        let problem = problem.or_else(|| self.observed.pods.iter().find_map(|pod| pods::problem(pod)));
        let waits = problem.as_ref().is_some_and(|problem| problem.reason == "NoVersion");
        let rolled_back = status.last_rollout.as_ref().filter(|record| record.outcome == RolloutOutcome::RolledBack);
        let (phase, ready, stalled, reason, message) = match (&problem, &status.canary, rolled_back) {
            (Some(problem), ..) if waits && starting => ("Pending", false, false, problem.reason.clone(), problem.message.clone()),
            (Some(problem), ..) => ("Degraded", false, true, problem.reason.clone(), problem.message.clone()),
            (None, Some(canary), _) => {
                let said = canary.analysis.clone().unwrap_or_default();
                ("Rolling", false, false, "Rolling".to_owned(), format!("{} is tried, step {}, {}% of the traffic: {said}", canary.version, canary.step + 1, canary.weight))
            }
            (None, None, _) if starting => ("Starting", false, false, "Starting".to_owned(), self.starting_message()),
            (None, None, _) if stable_ready < wanted => ("Starting", false, false, "Starting".to_owned(), format!("{stable_ready} of {wanted} pods are ready")),
            (None, None, Some(record)) => ("RolledBack", true, false, "RolledBack".to_owned(), format!("{} was rolled back: {}", record.version, record.message)),
            (None, None, None) => ("Serving", true, false, "Serving".to_owned(), format!("{} serves", status.stable.as_ref().map(|stable| stable.version.clone()).unwrap_or_default())),
        };
        let conditions = Conditions::new(&self.before.conditions, self.deployment.metadata.generation, self.now)
            .with(condition::READY, ready, &reason, &message)
            .with(condition::AVAILABLE, available, if available { "Serving" } else { "NotServing" }, &self.available_message(stable_ready))
            .with(condition::RECONCILING, !ready && !stalled, &reason, &message)
            .with(condition::STALLED, stalled, &reason, &message)
            .finish();
        let (replicas, ready_replicas) = self.observed.children.iter().filter_map(|child| child.status.as_ref()).fold((0, 0), |(all, ready), status| {
            (all + status.replicas.unwrap_or(0), ready + status.ready_replicas.unwrap_or(0))
        });
        let known = windlass_api::find_condition(&self.before.conditions, condition::READY).is_some_and(|before| before.reason == reason);
        if stalled && !known {
            plan.notes.push(Note::warning(&reason, &message));
        }
        let status = &mut plan.status;
        status.phase = Some(phase.to_owned());
        status.conditions = conditions;
        status.replicas = replicas;
        status.ready_replicas = ready_replicas;
    }

    fn starting_message(&self) -> String {
        let ready: i32 = self.observed.children.iter().map(|child| ready_replicas(Some(child))).sum();
        format!("{ready} of {} pods are ready", self.deployment.spec.replicas)
    }

    fn available_message(&self, ready: i32) -> String {
        match &self.before.stable {
            Some(stable) => format!("{ready} pods of {} are ready", stable.version),
            None => "no version serves yet".to_owned(),
        }
    }
}

/// The share of the traffic that a canary gets, in percent.
fn share(canary: i32, stable: i32) -> i32 {
    canary * 100 / (canary + stable).max(1)
}

/// Pods that are ready of the template that was applied last.
fn ready_replicas(child: Option<&Deployment>) -> i32 {
    let Some(child) = child else { return 0 };
    let Some(status) = &child.status else { return 0 };
    if status.observed_generation < child.metadata.generation {
        return 0;
    }
    status.ready_replicas.unwrap_or(0)
}

