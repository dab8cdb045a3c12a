//! The decisions on a ModelDeployment.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use windlass_api::agent::Verdict;
use windlass_api::{
    CanaryStatus, ModelDeployment, ModelDeploymentStatus, ModelVersion, PodTemplate, Quarantined,
    Resolved, RolloutOutcome, RolloutRecord, StableStatus, condition, labels,
};

use super::analysis::{self, Finding};
use super::children;
use super::observed::Observed;
use crate::conditions::Conditions;
use crate::modelversion::is_good;
use crate::{Child, Doomed, Note, Plan, Problem, Step, pods, template};

/// How often a roll-out is looked at.
const LOOK: Duration = Duration::from_secs(2);
/// On the template of a runtime preset: the format of the models that it was made for.
const FORMAT: &str = "windlass.dev/format";
/// Records of quarantine that are kept.
const KEPT_QUARANTINE: usize = 50;

/// What is to be done about a ModelDeployment.
pub fn plan(observed: &Observed, now: Timestamp) -> Plan<ModelDeploymentStatus> {
    let deployment = &*observed.deployment;
    let before = deployment.status.clone().unwrap_or_default();
    if deployment.metadata.deletion_timestamp.is_some() {
        return Plan::status_only(before);
    }
    let reconcile = Reconcile {
        observed,
        pods: pods::in_order(&observed.pods),
        deployment,
        before: &before,
        now,
    };
    let mut plan = Plan::status_only(reconcile.base());
    let problem = reconcile.advance(&mut plan).err();
    reconcile.say(&mut plan, problem);
    plan
}

/// A roll-out's two sides.
struct Pair<'a> {
    stable: &'a ModelVersion,
    target: &'a ModelVersion,
    of_stable: &'a Made,
    of_target: &'a Made,
}

struct Reconcile<'a> {
    observed: &'a Observed,
    /// The pods of all versions, in order.
    pods: Vec<&'a Pod>,
    deployment: &'a ModelDeployment,
    before: &'a ModelDeploymentStatus,
    now: Timestamp,
}

/// What the pods are made from.
struct Made {
    server: PodTemplateSpec,
    agent_image: String,
}

/// Whether a template is for models of this format; a user's own is for every one.
fn is_for(template: &PodTemplate, format: &str) -> bool {
    let written = template
        .0
        .pointer("/metadata/annotations")
        .and_then(|annotations| annotations.get(FORMAT))
        .and_then(serde_json::Value::as_str);
    written.is_none_or(|written| written == format)
}

/// By what a version is known in quarantine.
fn fingerprint(version: &ModelVersion) -> &str {
    version
        .spec
        .fingerprint
        .as_deref()
        .unwrap_or(&version.spec.artifact.digest)
}

/// How many pods a canary of this weight has, beside all of the stable version's.
///
/// At most as many as the stable version has, which is half of the traffic: more would cost a multiple of what was asked for.
pub(super) fn canary_replicas(weight: i32, replicas: i32) -> i32 {
    let (weight, replicas) = (i64::from(weight.clamp(0, 99)), i64::from(replicas));
    // canary / (canary + replicas) = weight / 100, rounded to the nearest pod, and never none.
    let rounded = (weight * replicas * 2 + (100 - weight)) / ((100 - weight) * 2);
    i32::try_from(rounded.min(replicas).max(1)).unwrap_or(i32::MAX)
}

impl<'a> Reconcile<'a> {
    fn base(&self) -> ModelDeploymentStatus {
        let selector: Vec<String> = children::selector(self.deployment)
            .into_iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        ModelDeploymentStatus {
            observed_generation: self.deployment.metadata.generation,
            selector: Some(selector.join(",")),
            ..self.before.clone()
        }
    }

    fn version(&self, name: &str) -> Option<&'a ModelVersion> {
        self.observed
            .versions
            .iter()
            .map(AsRef::as_ref)
            .find(|version| version.name_any() == name)
    }

    fn child(&self, version: &ModelVersion) -> Option<&'a Deployment> {
        let name = children::deployment_name(self.deployment, version);
        self.observed
            .children
            .iter()
            .map(AsRef::as_ref)
            .find(|child| child.name_any() == name)
    }

    fn is_quarantined(&self, version: &ModelVersion) -> bool {
        // What serves is good, whatever else has its fingerprint.
        let serves = self
            .before
            .stable
            .as_ref()
            .is_some_and(|stable| stable.version == version.name_any());
        !serves
            && self
                .before
                .quarantine
                .iter()
                .any(|entry| entry.fingerprint == fingerprint(version))
    }

    /// The version that is asked for.
    fn target(&self) -> Result<&'a ModelVersion, Problem> {
        let model = &self.deployment.spec.model;
        match &self.deployment.spec.version {
            IntOrString::Int(number) => {
                let name = format!("{model}-{number}");
                let version = self.version(&name).ok_or_else(|| Problem::new("VersionNotFound", format!("spec.version: there is no ModelVersion {name:?}; register it, or name another")))?;
                if version
                    .status
                    .as_ref()
                    .and_then(|status| status.validation.as_ref())
                    .is_some_and(|found| found.verdict == Verdict::Fail)
                {
                    return Err(Problem::new(
                        "VersionRejected",
                        format!(
                            "spec.version: the validation of {name} failed; name another version"
                        ),
                    ));
                }
                if self.is_quarantined(version) {
                    return Err(Problem::new(
                        "VersionQuarantined",
                        format!(
                            "spec.version: {name} was rolled back before (status.quarantine says why); name another version"
                        ),
                    ));
                }
                Ok(version)
            }
            IntOrString::String(_) => {
                let newest = self
                    .observed
                    .versions
                    .iter()
                    .map(AsRef::as_ref)
                    .filter(|version| is_good(version) && !self.is_quarantined(version))
                    .max_by_key(|version| version.spec.version);
                newest.ok_or_else(|| {
                    Problem::new(
                        "NoVersion",
                        format!(
                            "waiting until a version of the model {model:?} passes its validation"
                        ),
                    )
                })
            }
        }
    }

    /// What pods are made from: taken down once for each change of the object, so that an upgrade changes nothing that runs.
    fn made(
        &self,
        target: &ModelVersion,
        status: &mut ModelDeploymentStatus,
    ) -> Result<Made, Problem> {
        let generation = self.deployment.metadata.generation.unwrap_or_default();
        let resolved = match &self.before.resolved {
            Some(resolved) if resolved.generation == generation => resolved.clone(),
            _ => {
                let template = match &self.deployment.spec.template {
                    Some(template) => template.clone(),
                    None => self.preset(&target.spec.artifact.format)?,
                };
                Resolved {
                    generation,
                    agent_image: self.observed.agent_image.clone(),
                    template,
                }
            }
        };
        let made = self.made_from(&resolved, target)?;
        // Once a version in another format serves, what is taken down is what its pods are made from.
        let is_tried = self
            .before
            .stable
            .as_ref()
            .is_some_and(|stable| stable.version != target.name_any());
        let template = if is_tried || is_for(&resolved.template, &target.spec.artifact.format) {
            resolved.template
        } else {
            self.preset(&target.spec.artifact.format)?
        };
        status.resolved = Some(Resolved {
            template,
            ..resolved
        });
        Ok(made)
    }

    /// The runtime preset's template for a format, which is written on it.
    fn preset(&self, format: &str) -> Result<PodTemplate, Problem> {
        let mut template = self.observed.presets.template(
            "spec.runtime",
            self.deployment.spec.runtime.as_deref(),
            format,
        )?;
        template.0["metadata"]["annotations"][FORMAT] = format.into();
        Ok(template)
    }

    /// What the pods of a version are made from: what was taken down, or, where that is for another format, the preset for its own.
    fn made_from(&self, resolved: &Resolved, version: &ModelVersion) -> Result<Made, Problem> {
        let format = &version.spec.artifact.format;
        let field = if self.deployment.spec.template.is_some() {
            "spec.template"
        } else {
            "the runtime preset"
        };
        let server = if is_for(&resolved.template, format) {
            template::parse(field, &resolved.template)?
        } else {
            template::parse(field, &self.preset(format)?)?
        };
        Ok(Made {
            server,
            agent_image: resolved.agent_image.clone(),
        })
    }

    fn advance(&self, plan: &mut Plan<ModelDeploymentStatus>) -> Result<(), Problem> {
        let stable = self
            .before
            .stable
            .as_ref()
            .and_then(|stable| self.version(&stable.version));
        let target = match (self.target(), stable) {
            (Ok(target), _) => target,
            // What served before goes on serving, whatever is wrong with what is asked for.
            (Err(problem), Some(stable)) => {
                self.serve_on(stable, plan)?;
                return Err(problem);
            }
            (Err(problem), None) => return Err(problem),
        };
        let named = self
            .deployment
            .spec
            .observe
            .as_ref()
            .and_then(|observe| observe.log_payloads.as_ref())
            .map(|log| ("spec.observe.logPayloads.uri", &log.uri));
        let checked = pods::check_claims(
            named,
            &self.observed.claims,
            &self.deployment.namespace().unwrap_or_default(),
        );
        let made = checked.and_then(|()| self.made(target, &mut plan.status))?;
        plan.steps
            .push(Step::Apply(Child::Service(Box::new(children::service(
                self.deployment,
            )))));
        match stable {
            None => self.first(target, &made, plan),
            Some(stable) if stable.name_any() == target.name_any() => {
                if self.before.canary.is_some() {
                    plan.status.canary = None;
                }
                self.apply(stable, self.deployment.spec.replicas, &made, plan);
                self.delete_others(&[stable], plan);
            }
            Some(stable) => {
                let resolved = plan
                    .status
                    .resolved
                    .as_ref()
                    .expect("made has just taken it down");
                let of_stable = self.made_from(resolved, stable)?;
                self.roll(
                    &Pair {
                        stable,
                        target,
                        of_stable: &of_stable,
                        of_target: &made,
                    },
                    plan,
                );
            }
        }
        Ok(())
    }

    /// Keeps what serves as it is: its replicas are what is asked for, its pods are not touched.
    fn serve_on(
        &self,
        stable: &'a ModelVersion,
        plan: &mut Plan<ModelDeploymentStatus>,
    ) -> Result<(), Problem> {
        plan.status.canary = None;
        self.delete_others(&[stable], plan);
        // Whatever else was changed on the object together with the version waits until the version is right.
        let Some(resolved) = &self.before.resolved else {
            return Ok(());
        };
        let made = self.made_from(resolved, stable)?;
        plan.steps
            .push(Step::Apply(Child::Service(Box::new(children::service(
                self.deployment,
            )))));
        self.apply(stable, self.deployment.spec.replicas, &made, plan);
        Ok(())
    }

    fn apply(
        &self,
        version: &ModelVersion,
        replicas: i32,
        made: &Made,
        plan: &mut Plan<ModelDeploymentStatus>,
    ) {
        let child = children::version_deployment(
            self.deployment,
            version,
            replicas,
            &made.server,
            &made.agent_image,
        );
        plan.steps
            .push(Step::Apply(Child::Deployment(Box::new(child))));
    }

    fn delete_others(&self, kept: &[&ModelVersion], plan: &mut Plan<ModelDeploymentStatus>) {
        self.delete_all_but(
            &kept
                .iter()
                .map(|version| children::deployment_name(self.deployment, version))
                .collect(),
            plan,
        );
    }

    fn delete_all_but(&self, kept: &BTreeSet<String>, plan: &mut Plan<ModelDeploymentStatus>) {
        let there = self
            .observed
            .children
            .iter()
            .filter(|child| child.metadata.deletion_timestamp.is_none());
        let doomed: BTreeSet<String> = there
            .map(|child| child.name_any())
            .filter(|name| !kept.contains(name))
            .collect();
        plan.steps.extend(
            doomed
                .into_iter()
                .map(|name| Step::Delete(Doomed::Deployment(name))),
        );
    }

    /// The first version: there is nothing to compare it with.
    fn first(&self, target: &'a ModelVersion, made: &Made, plan: &mut Plan<ModelDeploymentStatus>) {
        let replicas = self.deployment.spec.replicas;
        self.apply(target, replicas, made, plan);
        let ready = self.child(target).is_some() && ready_replicas(self.child(target)) >= replicas;
        // Another version may be answering: one that was still starting, or that served and whose record is gone.
        let others = self
            .observed
            .children
            .iter()
            .filter(|child| !ready && answering_replicas(Some(child)) > 0)
            .map(|child| child.name_any());
        let kept = others
            .chain([children::deployment_name(self.deployment, target)])
            .collect();
        self.delete_all_but(&kept, plan);
        plan.status.canary = None;
        if ready {
            plan.status.stable = Some(StableStatus {
                version: target.name_any(),
                since: self.now,
            });
            plan.notes.push(Note::normal(
                "Serving",
                format!("{} serves", target.name_any()),
            ));
        }
    }

    #[allow(clippy::too_many_lines)] // one table of how a roll-out gets on
    fn roll(&self, pair: &Pair<'a>, plan: &mut Plan<ModelDeploymentStatus>) {
        let Pair { stable, target, .. } = *pair;
        let name = target.name_any();
        let canary = match &self.before.canary {
            Some(canary) if canary.version == name => canary.clone(),
            _ => {
                plan.notes.push(Note::normal(
                    "RolloutStarted",
                    format!("{name} is tried beside {}", stable.name_any()),
                ));
                CanaryStatus {
                    version: name.clone(),
                    step: 0,
                    weight: 0,
                    started: self.now,
                    since: self.now,
                    step_started: None,
                    analysis: None,
                }
            }
        };
        let steps = &self.deployment.spec.rollout.steps;
        let all = self.deployment.spec.replicas;
        let step = usize::try_from(canary.step).unwrap_or(0);
        let wanted = steps
            .get(step)
            .map_or(all.max(1), |step| canary_replicas(step.weight, all));
        // A canary never shrinks on its way up.
        let wanted = wanted.max(
            self.child(target)
                .and_then(|child| child.spec.replicas)
                .unwrap_or(0)
                .min(all),
        );
        self.apply(stable, all, pair.of_stable, plan);
        self.apply(target, wanted, pair.of_target, plan);
        self.delete_others(&[stable, target], plan);
        plan.again = Some(LOOK);

        let ready = self.child(target).is_some() && ready_replicas(self.child(target)) >= wanted;
        let mut next = canary.clone();
        // Harm counts at any moment, also while the pods of a step are still starting.
        let finding = self.judge(&name, &stable.name_any());
        if let Finding::Harm(why) = &finding {
            return self.roll_back(stable, target, why, plan);
        }
        match (&canary.step_started, steps.get(step)) {
            (None, _) if !ready => {
                if self.now.duration_since(canary.since)
                    > SignedDuration::from_secs(
                        self.deployment.spec.progress_deadline_seconds.into(),
                    )
                {
                    let why = self
                        .pod_problem(&name)
                        .map_or_else(String::new, |problem| format!(": {}", problem.message));
                    let why = format!(
                        "its pods were not ready within spec.progressDeadlineSeconds ({} s){why}",
                        self.deployment.spec.progress_deadline_seconds
                    );
                    return self.roll_back(stable, target, &why, plan);
                }
                next.analysis = Some(format!("waiting until {wanted} pods are ready"));
            }
            (None, Some(current)) => {
                next.step_started = Some(self.now);
                next.weight = current.weight;
                next.analysis = Some("the step begins".to_owned());
                plan.notes.push(Note::normal(
                    "StepStarted",
                    format!(
                        "step {} of {}: {name} takes {}% of the traffic",
                        step + 1,
                        steps.len(),
                        share(wanted, all)
                    ),
                ));
            }
            (_, None) => return self.promote(target, plan),
            // A step passes with all its pods or not at all: they are awaited anew, for as long as at its beginning.
            (Some(_), Some(_)) if !ready => {
                next.step_started = None;
                next.since = self.now;
                next.analysis = Some(format!(
                    "pods of the step are no longer ready; waiting until {wanted} are"
                ));
            }
            (Some(started), Some(current)) => {
                let hold = current
                    .hold
                    .value()
                    .ok()
                    .and_then(|hold| SignedDuration::try_from(hold).ok())
                    .unwrap_or_default();
                match finding {
                    Finding::Good(said) if self.now.duration_since(*started) >= hold => {
                        next.step += 1;
                        next.step_started = None;
                        next.since = self.now;
                        next.analysis = Some(said);
                    }
                    Finding::Good(said) | Finding::Wait(said) | Finding::Harm(said) => {
                        next.analysis = Some(said);
                    }
                }
            }
        }
        plan.status.canary = Some(next);
    }

    fn judge(&self, canary: &str, stable: &str) -> Finding {
        let rollout = &self.deployment.spec.rollout;
        let of = |version: &str| {
            self.observed
                .traffic
                .get(version)
                .cloned()
                .unwrap_or_default()
        };
        analysis::judge(
            &rollout.analysis,
            &of(canary),
            &of(stable),
            rollout.min_requests.unsigned_abs(),
        )
    }

    fn promote(&self, target: &ModelVersion, plan: &mut Plan<ModelDeploymentStatus>) {
        let name = target.name_any();
        let evidence = self
            .before
            .canary
            .as_ref()
            .and_then(|canary| canary.analysis.clone())
            .unwrap_or_default();
        plan.status.canary = None;
        plan.status.stable = Some(StableStatus {
            version: name.clone(),
            since: self.now,
        });
        plan.status.last_rollout = Some(RolloutRecord {
            version: name.clone(),
            outcome: RolloutOutcome::Promoted,
            message: evidence.clone(),
            time: self.now,
        });
        plan.notes.push(Note::normal(
            "Promoted",
            format!("{name} serves all traffic: {evidence}"),
        ));
    }

    fn roll_back(
        &self,
        stable: &ModelVersion,
        target: &ModelVersion,
        why: &str,
        plan: &mut Plan<ModelDeploymentStatus>,
    ) {
        let name = target.name_any();
        // The steps so far would keep the canary: it goes instead.
        let doomed = children::deployment_name(self.deployment, target);
        plan.steps.retain(|step| !matches!(step, Step::Apply(Child::Deployment(child)) if child.name_any() == doomed));
        if self.child(target).is_some() {
            plan.steps.push(Step::Delete(Doomed::Deployment(doomed)));
        }
        plan.status.canary = None;
        plan.status.quarantine.push(Quarantined {
            version: name.clone(),
            fingerprint: fingerprint(target).to_owned(),
            reason: why.to_owned(),
            time: self.now,
        });
        let surplus = plan.status.quarantine.len().saturating_sub(KEPT_QUARANTINE);
        plan.status.quarantine.drain(..surplus);
        plan.status.last_rollout = Some(RolloutRecord {
            version: name.clone(),
            outcome: RolloutOutcome::RolledBack,
            message: why.to_owned(),
            time: self.now,
        });
        plan.notes.push(Note::warning(
            "RolledBack",
            format!(
                "{name} was rolled back, {} serves on: {why}",
                stable.name_any()
            ),
        ));
    }

    fn pod_problem(&self, version: &str) -> Option<Problem> {
        self.pods
            .iter()
            .filter(|pod| {
                pod.labels()
                    .get(labels::VERSION)
                    .is_some_and(|label| label == version)
            })
            .find_map(|pod| pods::problem(pod))
    }

    /// The conditions, from what is planned and what is there.
    fn say(&self, plan: &mut Plan<ModelDeploymentStatus>, problem: Option<Problem>) {
        let status = &plan.status;
        let wanted = self.deployment.spec.replicas;
        let stable = status.stable.as_ref().map(|stable| stable.version.as_str());
        let serving = stable.and_then(|stable| self.child_of(stable));
        let stable_ready = answering_replicas(serving);
        let available = stable.is_some() && (stable_ready > 0 || wanted == 0);
        let said = self.said(status, problem, serving);
        let Said {
            phase,
            ready,
            stalled,
            reason,
            message,
        } = said;
        let conditions = Conditions::new(
            &self.before.conditions,
            self.deployment.metadata.generation,
            self.now,
        )
        .with(condition::READY, ready, &reason, &message)
        .with(
            condition::AVAILABLE,
            available,
            if available { "Serving" } else { "NotServing" },
            &available_message(stable, stable_ready),
        )
        .with(
            condition::RECONCILING,
            !ready && !stalled,
            &reason,
            &message,
        )
        .with(condition::STALLED, stalled, &reason, &message)
        .finish();
        let (replicas, ready_replicas) = self
            .observed
            .children
            .iter()
            .filter_map(|child| child.status.as_ref())
            .fold((0, 0), |(all, ready), status| {
                (
                    all + status.replicas.unwrap_or(0),
                    ready + status.ready_replicas.unwrap_or(0),
                )
            });
        let known = windlass_api::find_condition(&self.before.conditions, condition::READY)
            .is_some_and(|before| before.reason == reason);
        if stalled && !known {
            plan.notes.push(Note::warning(&reason, &message));
        }
        let status = &mut plan.status;
        status.phase = Some(phase.to_owned());
        status.conditions = conditions;
        status.replicas = replicas;
        status.ready_replicas = ready_replicas;
    }

    /// What Ready, Reconciling and Stalled say. What a person has to mend comes first, but a roll-out that does not
    /// get on ends by itself, and a pod that has no part in what is asked for says nothing.
    fn said(
        &self,
        status: &ModelDeploymentStatus,
        problem: Option<Problem>,
        serving: Option<&Deployment>,
    ) -> Said {
        let wanted = self.deployment.spec.replicas;
        if let Some(problem) = problem {
            let waits = problem.reason == "NoVersion" && status.stable.is_none();
            return Said {
                phase: if waits { "Pending" } else { "Degraded" },
                ready: false,
                stalled: !waits,
                reason: problem.reason,
                message: problem.message,
            };
        }
        if let Some(canary) = &status.canary {
            let held_up = self
                .pod_problem(&canary.version)
                .map(|problem| format!("; {}", problem.message))
                .unwrap_or_default();
            let said = canary.analysis.clone().unwrap_or_default();
            let message = format!(
                "{} is tried, step {}, {}% of the traffic: {said}{held_up}",
                canary.version,
                canary.step + 1,
                canary.weight
            );
            return Said::under_way("Rolling", message);
        }
        let Some(stable) = &status.stable else {
            let ready: i32 = self
                .observed
                .children
                .iter()
                .map(|child| ready_replicas(Some(child)))
                .sum();
            return self.starting(None, format!("{ready} of {wanted} pods are ready"));
        };
        let (ready, updated) = (ready_replicas(serving), updated_replicas(serving));
        if ready.min(updated) < wanted {
            return self.starting(
                Some(&stable.version),
                format!(
                    "{ready} of {wanted} pods are ready, {updated} of them are as spec asks for"
                ),
            );
        }
        match status
            .last_rollout
            .as_ref()
            .filter(|record| record.outcome == RolloutOutcome::RolledBack)
        {
            Some(record) => Said::so(
                "RolledBack",
                format!("{} was rolled back: {}", record.version, record.message),
            ),
            None => Said::so("Serving", format!("{} serves", stable.version)),
        }
    }

    /// Pods are on their way; or one of them does not start, which nobody but a person will mend.
    fn starting(&self, version: Option<&str>, message: String) -> Said {
        let problem = match version {
            Some(version) => self.pod_problem(version),
            None => self.pods.iter().copied().find_map(pods::problem),
        };
        match problem {
            Some(problem) => Said {
                phase: "Degraded",
                ready: false,
                stalled: true,
                reason: problem.reason,
                message: problem.message,
            },
            None => Said::under_way("Starting", message),
        }
    }

    /// The Deployment of a version by its name, which may be all that is left of it.
    fn child_of(&self, version: &str) -> Option<&'a Deployment> {
        self.observed
            .children
            .iter()
            .map(AsRef::as_ref)
            .find(|child| {
                child
                    .labels()
                    .get(labels::VERSION)
                    .is_some_and(|label| label == version)
            })
    }
}

/// What Ready, Reconciling and Stalled say.
struct Said {
    phase: &'static str,
    ready: bool,
    stalled: bool,
    reason: String,
    message: String,
}

impl Said {
    fn under_way(phase: &'static str, message: String) -> Self {
        Self {
            phase,
            ready: false,
            stalled: false,
            reason: phase.to_owned(),
            message,
        }
    }

    fn so(phase: &'static str, message: String) -> Self {
        Self {
            phase,
            ready: true,
            stalled: false,
            reason: phase.to_owned(),
            message,
        }
    }
}

fn available_message(stable: Option<&str>, ready: i32) -> String {
    stable.map_or_else(
        || "no version serves yet".to_owned(),
        |stable| format!("{ready} pods of {stable} are ready"),
    )
}

/// The share of the traffic that a canary gets, in percent.
fn share(canary: i32, stable: i32) -> i32 {
    canary * 100 / (canary + stable).max(1)
}

/// Pods that answer, as was last seen: a Deployment that has just been changed serves on.
fn answering_replicas(child: Option<&Deployment>) -> i32 {
    child
        .and_then(|child| child.status.as_ref()?.ready_replicas)
        .unwrap_or(0)
}

/// Pods that are ready, once the controller has seen what was applied last.
fn ready_replicas(child: Option<&Deployment>) -> i32 {
    caught_up(child)
        .and_then(|status| status.ready_replicas)
        .unwrap_or(0)
}

/// Pods of the template that was applied last.
fn updated_replicas(child: Option<&Deployment>) -> i32 {
    caught_up(child)
        .and_then(|status| status.updated_replicas)
        .unwrap_or(0)
}

fn caught_up(child: Option<&Deployment>) -> Option<&DeploymentStatus> {
    let child = child?;
    child
        .status
        .as_ref()
        .filter(|status| status.observed_generation >= child.metadata.generation)
}
