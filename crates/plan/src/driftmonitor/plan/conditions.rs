//! What is said of a monitor: how the newest window was judged, whether windows together are drift, and what holds it up.

use windlass_api::agent::WindowVerdict;
use windlass_api::{DriftMonitorStatus, WindowStatus, condition};

use super::windows::window_end;
use super::{Reconcile, Stop};
use crate::conditions::{Conditions, Truth};
use crate::jobs::{self, Without};
use crate::{Plan, Problem, pods};

impl Reconcile<'_> {
    fn conditions(&self) -> Conditions<'_> {
        Conditions::new(
            &self.before.conditions,
            self.monitor.metadata.generation,
            self.now,
        )
    }

    pub(super) fn stopped(&self, stop: &Stop) -> Plan<DriftMonitorStatus> {
        let (phase, stalled, problem) = match stop {
            Stop::Wait(problem) => ("Waiting", false, problem),
            Stop::Mend(problem) => ("Stalled", true, problem),
        };
        let mut status = self.base();
        status.phase = Some(phase.to_owned());
        status.conditions = self
            .conditions()
            .with(condition::READY, false, &problem.reason, &problem.message)
            .with(
                condition::RECONCILING,
                !stalled,
                &problem.reason,
                &problem.message,
            )
            .with(
                condition::STALLED,
                stalled,
                &problem.reason,
                &problem.message,
            )
            .with(
                condition::DRIFTED,
                Truth::Unknown,
                &problem.reason,
                &problem.message,
            )
            .finish();
        Plan::status_only(status)
    }

    pub(super) fn say(
        &self,
        status: &mut DriftMonitorStatus,
        drift: Option<&[WindowStatus]>,
        waiting: Option<&str>,
    ) {
        let newest = latest(status);
        let held_up = self.held_up(status);
        let stalled = held_up.is_some()
            || newest.is_some_and(|window| {
                matches!(
                    window.verdict,
                    WindowVerdict::DataBroken | WindowVerdict::Failed
                )
            });
        let reconciling = newest.is_none() && !stalled;
        let (ready, reason, said) = evaluation(newest, held_up);
        let (is_drifted, verdict, message) = drifted(drift, waiting, &said);
        status.phase = Some(
            if stalled {
                "Stalled"
            } else if drift.is_some() {
                "Drifted"
            } else {
                "Watching"
            }
            .to_owned(),
        );
        status.conditions = self
            .conditions()
            .with(condition::READY, ready, &reason, &said)
            .with(condition::RECONCILING, reconciling, &reason, &said)
            .with(condition::STALLED, stalled, &reason, &said)
            .with(condition::DRIFTED, is_drifted, verdict, &message)
            .finish();
    }

    /// Why the evaluation that is under way does not start, if a person has to do something about it.
    fn held_up(&self, status: &DriftMonitorStatus) -> Option<Problem> {
        let recorded = status.windows.last().map(|window| window.end);
        let job = self
            .observed
            .jobs
            .iter()
            .find(|job| window_end(job) > recorded)?;
        self.pods_of(job).find_map(pods::problem).or_else(|| {
            match jobs::without_pods(job, self.pods_of(job), self.now)? {
                Without::Refused(problem) => Some(problem),
                // An evaluation that is under way is looked at again and again.
                Without::Awaited(_) => None,
            }
        })
    }
}

/// The newest window of the version that serves.
fn latest(status: &DriftMonitorStatus) -> Option<&WindowStatus> {
    status
        .windows
        .iter()
        .rev()
        .find(|window| Some(&window.version) == status.reference.as_ref())
}

/// What Ready says of the newest window, or of what keeps the next one from being judged.
fn evaluation(newest: Option<&WindowStatus>, held_up: Option<Problem>) -> (bool, String, String) {
    if let Some(problem) = held_up {
        return (false, problem.reason, problem.message);
    }
    let Some(window) = newest else {
        return (
            false,
            "WaitingForWindow".to_owned(),
            "the first window has not ended".to_owned(),
        );
    };
    let (ready, reason) = match window.verdict {
        WindowVerdict::Healthy | WindowVerdict::Drifted | WindowVerdict::NotEnoughData => {
            (true, format!("{:?}", window.verdict))
        }
        WindowVerdict::DataBroken => (false, "DataBroken".to_owned()),
        WindowVerdict::Failed => (
            false,
            window
                .reason
                .clone()
                .unwrap_or_else(|| "EvaluationFailed".to_owned()),
        ),
    };
    (ready, reason, window.message.clone())
}

/// What Drifted says.
fn drifted(
    drift: Option<&[WindowStatus]>,
    waiting: Option<&str>,
    said: &str,
) -> (bool, &'static str, String) {
    match drift {
        Some(windows) => {
            let waiting = waiting
                .map(|waiting| format!("; {waiting}"))
                .unwrap_or_default();
            (
                true,
                "Drifted",
                format!("{} windows drifted: {said}{waiting}", windows.len()),
            )
        }
        None => (
            false,
            "NoDrift",
            "fewer windows drifted than spec.triggerWhen asks for".to_owned(),
        ),
    }
}
