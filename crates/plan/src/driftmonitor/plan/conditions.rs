//! What is said of a monitor: how the newest window was judged, whether windows together are drift, what is done about it,
//! and what holds it up.

use jiff::SignedDuration;
use windlass_api::agent::WindowVerdict;
use windlass_api::{DriftMonitorStatus, TriggerCause, WindowStatus, condition};

use super::asking;
use super::drift::{Drift, is_judged, since_it_serves};
use super::gates::Held;
use super::records::{record_windows, window_end};
use super::{Reconcile, Stop};
use crate::conditions::{Conditions, Truth};
use crate::jobs::{self, Without};
use crate::{Plan, Problem, pods};

/// How long an evaluation may take to start before it is said that it does not: each window has one.
const COMING: SignedDuration = SignedDuration::from_mins(2);

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
            Stop::Mend(problem) | Stop::Until(_, problem) => ("Stalled", true, problem),
        };
        let mut plan = Plan::status_only(self.base());
        // What was found before is not lost, whatever stands against finding more.
        record_windows(&self.ended_windows(), &mut plan);
        self.keep_ledger(None, &mut plan);
        self.keep_circuit(None, &mut plan);
        self.tell_passed(&mut plan);
        let (reason, message) = (&problem.reason, &problem.message);
        plan.status.phase = Some(phase.to_owned());
        plan.status.conditions = self
            .conditions()
            .with(condition::READY, false, reason, message)
            .with(condition::RECONCILING, !stalled, reason, message)
            .with(condition::STALLED, stalled, reason, message)
            .with(condition::DRIFTED, Truth::Unknown, reason, message)
            .with(condition::RETRAINING, Truth::Unknown, reason, message)
            .finish();
        if let Stop::Until(then, _) = stop {
            plan.look_again(Some(self.until(*then)));
        }
        plan
    }

    pub(super) fn say(
        &self,
        status: &mut DriftMonitorStatus,
        drift: Option<&Drift>,
        retraining: &Held,
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
        let is_known = (status.reference.as_deref())
            .is_some_and(|serving| since_it_serves(serving, &status.windows).any(is_judged));
        let (is_drifted, verdict, message) = if is_known {
            drifted(drift, newest, &said)
        } else {
            (Truth::Unknown, reason.clone(), said.clone())
        };
        let (trains, held, why) = retraining.said();
        // What keeps windows from being judged comes first; else what keeps drift from being answered.
        let (stalled, stalled_by, stalled_why) = match retraining {
            Held::Person(reason, message) if !stalled => (true, (*reason).to_owned(), message),
            _ => (stalled, reason.clone(), &said),
        };
        status.phase = Some(
            match (stalled, drift, newest.map(|window| window.verdict)) {
                (true, ..) => "Stalled",
                (false, Some(_), _) => "Drifted",
                (false, None, Some(WindowVerdict::Drifting)) => "Drifting",
                (false, None, _) => "Watching",
            }
            .to_owned(),
        );
        status.conditions = self
            .conditions()
            .with(condition::READY, ready, &reason, &said)
            .with(condition::RECONCILING, reconciling, &reason, &said)
            .with(condition::STALLED, stalled, &stalled_by, stalled_why)
            .with(condition::DRIFTED, is_drifted, &verdict, &message)
            .with(condition::RETRAINING, trains, held, why)
            .finish();
    }

    /// Why the evaluation that is under way does not start, if a person has to do something about it.
    fn held_up(&self, status: &DriftMonitorStatus) -> Option<Problem> {
        let recorded = status.windows.last().map(|window| window.end);
        let mut newer = self.observed.jobs.iter();
        let job = newer.find(|job| window_end(job) > recorded && !jobs::has_ended(job))?;
        // A node may be on its way.
        let made = job.metadata.creation_timestamp.as_ref()?;
        if self.now.duration_since(made.0) < COMING {
            return None;
        }
        self.pods_of(job).find_map(pods::problem).or_else(|| {
            match jobs::without_pods(job, self.pods_of(job), self.now)? {
                Without::Refused(problem) => Some(problem),
                // An evaluation that is under way is looked at again and again.
                Without::Awaited(_) => None,
            }
        })
    }
}

impl Held {
    fn said(&self) -> (bool, &'static str, &str) {
        match self {
            Self::UnderWay(reason, message) => (true, reason, message),
            Self::By(reason, message)
            | Self::Until(_, reason, message)
            | Self::Person(reason, message) => (false, reason, message),
        }
    }
}

/// The newest window of the version that serves, since it does.
fn latest(status: &DriftMonitorStatus) -> Option<&WindowStatus> {
    since_it_serves(status.reference.as_deref()?, &status.windows).next()
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
            "no window of the version that serves has been judged yet: the first is once it has ended (spec.window)".to_owned(),
        );
    };
    let (ready, reason) = match window.verdict {
        WindowVerdict::Healthy
        | WindowVerdict::Drifting
        | WindowVerdict::Drifted
        | WindowVerdict::NotEnoughData => (true, format!("{:?}", window.verdict)),
        WindowVerdict::DataBroken => (false, "DataBroken".to_owned()),
        WindowVerdict::Failed => {
            let reason = window.reason.clone();
            (
                false,
                reason.unwrap_or_else(|| "EvaluationFailed".to_owned()),
            )
        }
    };
    (ready, reason, window.message.clone())
}

/// What Drifted says.
fn drifted(
    drift: Option<&Drift>,
    newest: Option<&WindowStatus>,
    said: &str,
) -> (Truth, String, String) {
    match drift {
        Some(drift) => {
            let reason = match drift.cause {
                TriggerCause::Drift => "Drifted",
                TriggerCause::PerformanceFallen => "PerformanceFallen",
            };
            let (cause, windows) = (asking::said(drift.cause), drift.count());
            let newest = drift.windows.first();
            let said = newest.map_or(said, |window| window.message.as_str());
            let message = format!("{cause} in {windows}: {said}");
            (Truth::True, reason.to_owned(), message)
        }
        None if newest.is_some_and(WindowStatus::has_drifted) => (
            Truth::False,
            "Drifting".to_owned(),
            format!(
                "the newest window drifted, and fewer windows did than spec.triggerWhen asks for: {said}"
            ),
        ),
        None => (
            Truth::False,
            "NoDrift".to_owned(),
            "fewer windows drifted than spec.triggerWhen asks for".to_owned(),
        ),
    }
}
