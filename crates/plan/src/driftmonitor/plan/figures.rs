//! A monitor in numbers: what is shown of it beside its status. As many series as a monitor has whatever its data has:
//! ten columns at most, those that the short report of its newest window names.

use std::collections::BTreeMap;

use jiff::Timestamp;
use windlass_api::agent::{DriftReport, WindowVerdict};
use windlass_api::{DriftMonitorStatus, Outcome, WindowStatus};

use super::records::window_end;
use super::{Reconcile, Stop, budget};
use crate::driftmonitor::Observed;
use crate::driftmonitor::duration;
use crate::driftmonitor::schedule::Schedule;
use crate::jobs;

/// Columns that are shown.
const COLUMNS: usize = 10;
/// Bytes of a column's name.
const MOST_NAME: usize = 128;

/// A monitor in numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// The newest window that is known; absent before the first.
    pub window: Option<Newest>,
    /// When the next window is to be looked at; absent while nothing serves, and where the schedule says nothing.
    pub due: Option<Timestamp>,
    /// How many of the newest trainings came to what; `UnderWay` where that is open.
    pub retrainings: BTreeMap<&'static str, u64>,
    /// Whether too many trainings in a row came to nothing.
    pub is_circuit_open: bool,
    /// Seconds of GPUs that are used or taken of the budget, and the budget; absent without one.
    pub budget: Option<(i64, i64)>,
}

/// The newest window in numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Newest {
    /// Its end.
    pub end: Timestamp,
    /// Its verdict.
    pub verdict: WindowVerdict,
    /// Its rows.
    pub rows: i64,
    /// What its report says of columns; absent once the Job's pod is gone.
    pub columns: Option<Columns>,
}

/// The columns of a window.
#[derive(Clone, Debug, PartialEq)]
pub struct Columns {
    /// How many were compared.
    pub compared: u64,
    /// How many of them drifted.
    pub drifted: u64,
    /// Those that moved most.
    pub top: Vec<Column>,
}

/// How far a column moved.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Its name.
    pub name: Box<str>,
    /// By what distance.
    pub method: Box<str>,
    /// The distance.
    pub value: f64,
    /// Its lower bound.
    pub lower: f64,
    /// What that has to pass.
    pub threshold: f64,
}

/// What is shown of a monitor whose status is this from now on.
pub fn figures(observed: &Observed, status: &DriftMonitorStatus, now: Timestamp) -> Figures {
    let before = observed.monitor.status.clone().unwrap_or_default();
    let reconcile = Reconcile::new(observed, &before, now);
    let mut retrainings = BTreeMap::new();
    for entry in &status.retrainings {
        let outcome = entry.outcome.map_or("UnderWay", Outcome::as_str);
        *retrainings.entry(outcome).or_default() += 1;
    }
    let window = reconcile.newest(status);
    Figures {
        due: reconcile.next_due(window.as_ref()),
        window,
        retrainings,
        is_circuit_open: status.circuit.as_ref().is_some_and(|circuit| circuit.open),
        budget: reconcile
            .budget()
            .map(|budget| (reconcile.used(&status.retrainings), budget::seconds(budget))),
    }
}

impl Reconcile<'_> {
    /// The newest window, written down or with its Job.
    fn newest(&self, status: &DriftMonitorStatus) -> Option<Newest> {
        let unwritten = self.ended_windows().pop();
        let newest: &WindowStatus = match (&unwritten, status.windows.last()) {
            (Some(window), Some(last)) if window.end > last.end => window,
            (Some(window), None) => window,
            (_, last) => last?,
        };
        let mut jobs = self.observed.jobs.iter();
        let job = jobs.find(|job| window_end(job) == Some(newest.end));
        Some(Newest {
            end: newest.end,
            verdict: newest.verdict,
            rows: newest.rows,
            columns: job.and_then(|job| self.report(job)).map(columns),
        })
    }

    /// When the next window is to be looked at: the first, of one that has none. A window whose Job has ended was looked at,
    /// also where what was found went with the pod; and before something serves there is none.
    fn next_due(&self, newest: Option<&Newest>) -> Option<Timestamp> {
        let serves_since = match self.watched() {
            Ok(watched) => watched.tenures.first().map(|tenure| tenure.from),
            Err(Stop::Wait(_)) => return None,
            Err(Stop::Mend(_) | Stop::Until(..)) => None,
        };
        let jobs = self.observed.jobs.iter();
        let ended = jobs.filter(|job| jobs::has_ended(job));
        let last = ended.filter_map(|job| window_end(job)).max();
        let last = last.max(newest.map(|window| window.end));
        let made = self.monitor.metadata.creation_timestamp.as_ref();
        let after = last.or(made.map(|made| made.0)).max(serves_since)?;
        let schedule = Schedule::of(&self.monitor.spec.window, self.now).ok()?;
        let end = schedule.next(after)?;
        end.checked_add(duration(&self.monitor.spec.window.lateness))
            .ok()
    }
}

fn columns(report: DriftReport) -> Columns {
    let top = report.top.into_iter().take(COLUMNS);
    Columns {
        compared: report.columns,
        drifted: report.drifted,
        top: top
            .map(|column| Column {
                name: column.column[..column.column.floor_char_boundary(MOST_NAME)].into(),
                method: column.method.into(),
                value: column.value,
                lower: column.lower,
                threshold: column.threshold,
            })
            .collect(),
    }
}
