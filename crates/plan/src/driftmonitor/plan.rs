//! The decisions on a DriftMonitor.
//!
//! ```text
//!   watched ──> windows (record, start the next) ──> drift ──> retraining ──> conditions
//!      └──> nothing can be watched: stopped
//! ```

mod conditions;
mod retraining;
mod windows;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use windlass_api::{Address, DriftMonitor, DriftMonitorStatus, GoDuration, ModelVersion, Stored};

use super::observed::Observed;
use crate::{Plan, Problem, pods};

/// What is to be done about a DriftMonitor.
pub fn plan(observed: &Observed, now: Timestamp) -> Plan<DriftMonitorStatus> {
    let monitor = &*observed.monitor;
    let before = monitor.status.clone().unwrap_or_default();
    if monitor.metadata.deletion_timestamp.is_some() {
        return Plan::status_only(before);
    }
    let reconcile = Reconcile::new(observed, &before, now);
    reconcile.watched().map_or_else(
        |stop| reconcile.stopped(&stop),
        |watched| reconcile.watch(&watched),
    )
}

/// What is to be said when the API server refused a step of the plan.
pub fn refused(observed: &Observed, problem: &Problem, now: Timestamp) -> Plan<DriftMonitorStatus> {
    let monitor = &*observed.monitor;
    let before = monitor.status.clone().unwrap_or_default();
    Reconcile::new(observed, &before, now).stopped(&Stop::Mend(problem.clone()))
}

/// What windows are compared with.
struct Watched<'a> {
    version: &'a ModelVersion,
    baseline: &'a Stored,
    payloads: &'a Address,
    since: Timestamp,
    /// The version that is being tried beside it.
    canary: Option<&'a str>,
    /// Versions that were rolled back.
    quarantined: Vec<String>,
}

/// Why nothing can be watched now.
enum Stop {
    /// It comes by itself.
    Wait(Problem),
    /// A person has to do something.
    Mend(Problem),
}

struct Reconcile<'a> {
    observed: &'a Observed,
    /// The pods of all windows, in order.
    pods: Vec<&'a Pod>,
    monitor: &'a DriftMonitor,
    before: &'a DriftMonitorStatus,
    now: Timestamp,
}

impl<'a> Reconcile<'a> {
    fn new(observed: &'a Observed, before: &'a DriftMonitorStatus, now: Timestamp) -> Self {
        Self {
            observed,
            pods: pods::in_order(&observed.pods),
            monitor: &observed.monitor,
            before,
            now,
        }
    }
}

impl Reconcile<'_> {
    fn watched(&self) -> Result<Watched<'_>, Stop> {
        let name = &self.monitor.spec.deployment;
        let namespace = self.monitor.namespace().unwrap_or_default();
        let deployment = self.observed.deployment.as_deref().ok_or_else(|| {
            Stop::Mend(Problem::new("DeploymentNotFound", format!("spec.deployment: there is no ModelDeployment {name:?} in namespace {namespace:?}")))
        })?;
        let payloads = deployment.spec.observe.as_ref().and_then(|observe| observe.log_payloads.as_ref()).map(|log| &log.uri).ok_or_else(|| {
            Stop::Mend(Problem::new("PayloadsNotLogged", format!("spec.deployment: the ModelDeployment {name:?} logs no payloads; set its spec.observe.logPayloads")))
        })?;
        if let Some(performance) = &self.monitor.spec.performance {
            pods::check_claims(
                [("spec.performance.labels.uri", &performance.labels.uri)],
                &self.observed.claims,
                &namespace,
            )
            .map_err(Stop::Mend)?;
        }
        let stable = deployment
            .status
            .as_ref()
            .and_then(|status| status.stable.as_ref());
        let Some(stable) = stable else {
            return Err(Stop::Wait(Problem::new(
                "NothingServes",
                format!("waiting until a version serves in the ModelDeployment {name:?}"),
            )));
        };
        let version = self.observed.serving.as_deref().ok_or_else(|| {
            Stop::Mend(Problem::new("ServingRecordDeleted", format!("the ModelVersion {}, which serves in the ModelDeployment {name:?}, was deleted, and with it its baseline; apply it again, or let another version serve", stable.version)))
        })?;
        let baseline = version.status.as_ref().and_then(|status| status.validation.as_ref()).and_then(|found| found.baseline.as_ref()).ok_or_else(|| {
            Stop::Mend(Problem::new("NoBaseline", format!("the version that serves, {}, has no baseline profile: it was never validated; give the TrainingJob a spec.validation", version.name_any())))
        })?;
        let canary = deployment
            .status
            .as_ref()
            .and_then(|status| status.canary.as_ref())
            .map(|canary| canary.version.as_str());
        let quarantined = deployment
            .status
            .iter()
            .flat_map(|status| &status.quarantine)
            .map(|entry| entry.version.clone())
            .collect();
        Ok(Watched {
            quarantined,
            version,
            baseline,
            payloads,
            since: stable.since,
            canary,
        })
    }

    fn base(&self) -> DriftMonitorStatus {
        DriftMonitorStatus {
            observed_generation: self.monitor.metadata.generation,
            ..self.before.clone()
        }
    }

    fn watch(&self, watched: &Watched<'_>) -> Plan<DriftMonitorStatus> {
        let mut status = self.base();
        status.reference = Some(watched.version.name_any());
        let mut plan = Plan::status_only(DriftMonitorStatus::default());
        self.record_windows(&mut status, &mut plan);
        self.next_window(watched, &status, &mut plan);
        self.adopt_training(&watched.version.name_any(), &mut status);
        let drift = self.drift(&watched.version.name_any(), &status.windows);
        let waiting = drift
            .as_ref()
            .and_then(|drift| self.retrain(watched, drift, &mut status, &mut plan));
        self.say(&mut status, drift.as_deref(), waiting.as_deref());
        plan.status = status;
        plan
    }

    fn pods_of<'a>(&'a self, job: &'a Job) -> impl Iterator<Item = &'a Pod> {
        let name = job.name_any();
        self.pods
            .iter()
            .copied()
            .filter(move |pod| pod.labels().get("batch.kubernetes.io/job-name") == Some(&name))
    }
}

fn duration(text: &GoDuration) -> SignedDuration {
    // The CRD lets no other text in; a minute is what an object from before the rule would get.
    text.value()
        .ok()
        .and_then(|duration| SignedDuration::try_from(duration).ok())
        .unwrap_or(SignedDuration::from_mins(1))
}
