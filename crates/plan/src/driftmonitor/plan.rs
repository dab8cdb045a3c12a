//! The decisions on a DriftMonitor.
//!
//! ```text
//!   watched ──> records ──> windows (start the next) ──> ledger, circuit ──> drift ──> retraining (gates) ──> conditions
//!      └──> nothing can be watched: stopped
//! ```

mod adoption;
mod asking;
mod budget;
mod circuit;
mod conditions;
mod drift;
pub mod figures;
mod gates;
mod ledger;
mod records;
pub mod told;
mod watched;
mod windows;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use windlass_api::{DriftMonitor, DriftMonitorStatus, WindowStatus};

use self::gates::Held;
use self::watched::Watched;
use super::observed::Observed;
use crate::{Plan, Problem, jobs, pods};

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

/// Why nothing can be watched now.
enum Stop {
    /// It comes by itself.
    Wait(Problem),
    /// A person has to do something.
    Mend(Problem),
    /// Time mends it, or a person before.
    Until(Timestamp, Problem),
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

    fn base(&self) -> DriftMonitorStatus {
        DriftMonitorStatus {
            observed_generation: self.monitor.metadata.generation,
            ..self.before.clone()
        }
    }

    /// Windows that were judged as the one before are left with their Jobs for a while: where nothing else is new, nothing is
    /// written.
    fn watch(&self, watched: &Watched<'_>) -> Plan<DriftMonitorStatus> {
        let ended = self.ended_windows();
        if let Some(due) = self.may_stay_unwritten(&ended) {
            let mut plan = self.decide(watched, &ended, false);
            if plan.status == *self.before {
                plan.look_again(Some(due));
                return plan;
            }
        }
        self.decide(watched, &ended, true)
    }

    fn decide(
        &self,
        watched: &Watched<'_>,
        ended: &[WindowStatus],
        is_recorded: bool,
    ) -> Plan<DriftMonitorStatus> {
        let mut plan = Plan::status_only(self.base());
        plan.status.reference = Some(watched.version.name_any());
        let mut all = self.before.windows.clone();
        all.extend_from_slice(ended);
        if is_recorded {
            records::record_windows(ended, &mut plan);
        }
        self.next_window(watched, &all, &mut plan);
        self.keep_ledger(Some((watched, &all)), &mut plan);
        self.keep_circuit(Some((watched, &all)), &mut plan);
        let drift = self.drift(&watched.version.name_any(), &all);
        let retraining = self.retrain(watched, drift.as_ref(), &all, &mut plan);
        let retraining = self.with_budget(retraining, &mut plan);
        if let Held::Until(until, ..) = &retraining {
            plan.look_again(Some(self.until(*until)));
        }
        self.say(&mut plan.status, drift.as_ref(), &retraining);
        plan
    }

    /// How long it is until then.
    fn until(&self, then: Timestamp) -> Duration {
        let left = Duration::try_from(then.duration_since(self.now)).unwrap_or_default();
        left.max(Duration::from_secs(1))
    }

    fn pods_of<'b>(&'b self, job: &'b Job) -> impl Iterator<Item = &'b Pod> {
        let name = job.name_any();
        self.pods
            .iter()
            .copied()
            .filter(move |pod| pod.labels().get(jobs::NAME_LABEL) == Some(&name))
    }
}
