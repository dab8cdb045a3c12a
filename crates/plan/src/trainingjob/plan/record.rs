//! What is written down of each attempt: how it began, and how it ended.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use windlass_api::agent::{Report, Resumed};
use windlass_api::{Attempt, TrainingJobStatus};

use super::Reconcile;
use super::failure::Failed;
use crate::{Problem, gpus, pods};

/// Attempts that the status keeps.
const KEPT_ATTEMPTS: usize = 10;
/// Bytes of a text that an attempt keeps: ten of them have to fit into an object.
const KEPT_BYTES: usize = 1000;

/// How an attempt ended.
#[derive(Clone, Debug, Default)]
pub(super) struct Ending {
    pub reason: String,
    pub message: String,
    pub exit_code: Option<i32>,
    pub worker: Option<i32>,
    pub node: Option<String>,
    pub log_tail: String,
    pub resumed: Option<Resumed>,
    /// A rule of the user's lets it not count.
    pub is_ignored: bool,
}

impl Ending {
    pub fn new(reason: &str, message: &str) -> Self {
        Self {
            reason: reason.to_owned(),
            message: message.to_owned(),
            ..Self::default()
        }
    }

    pub fn of(problem: &Problem) -> Self {
        Self::new(&problem.reason, &problem.message)
    }

    /// The end of a worker that failed.
    pub fn failed(problem: &Problem, failed: &Failed<'_>) -> Self {
        let report = &failed.report;
        Self {
            reason: problem.reason.clone(),
            message: report.message.clone(),
            exit_code: report.exit_code,
            log_tail: report.log_tail.clone(),
            resumed: report.resumed.clone(),
            ..Self::default()
        }
        .on(Some(failed.pod))
    }

    /// Names the worker, and where it was.
    pub fn on(self, pod: Option<&Pod>) -> Self {
        Self {
            worker: pod.and_then(pods::rank),
            node: pod.and_then(pods::node),
            ..self
        }
    }
}

impl Reconcile<'_> {
    /// Writes down that an attempt begins.
    pub(super) fn begin(&self, status: &mut TrainingJobStatus, number: i32, workers: i32) {
        status.progress = None;
        status.attempt = Some(number);
        status.attempts.retain(|attempt| attempt.number != number);
        status.attempts.push(Attempt {
            number,
            started: Some(self.now),
            workers: Some(workers),
            gpus_per_worker: self.gpus_per_worker(),
            ..Attempt::default()
        });
        let surplus = status.attempts.len().saturating_sub(KEPT_ATTEMPTS);
        status.attempts.drain(..surplus);
    }

    /// Writes down how the current attempt ended.
    pub(super) fn record(&self, status: &mut TrainingJobStatus, ending: Ending) {
        let number = self.before.attempt.unwrap_or(1);
        if status.attempts.iter().all(|one| one.number != number) {
            self.begin(status, number, self.workers());
        }
        let gpu_seconds = self.gpu_seconds(status, number);
        if let Some(seconds) = gpu_seconds {
            *status.gpu_seconds.get_or_insert(0) += seconds;
        }
        let attempts = &mut status.attempts;
        let Some(attempt) = attempts.iter_mut().find(|one| one.number == number) else {
            return;
        };
        *attempt = Attempt {
            number,
            started: attempt.started,
            admitted: attempt.admitted,
            running: self.all_running(number),
            ended: Some(self.now),
            workers: attempt.workers,
            gpus_per_worker: attempt.gpus_per_worker.clone(),
            reason: ending.reason,
            message: shortened(&ending.message),
            exit_code: ending.exit_code,
            worker: ending.worker,
            node: ending.node,
            log_tail: last_of(&ending.log_tail),
            resumed_from: ending
                .resumed
                .as_ref()
                .and_then(resumed_from)
                .or_else(|| self.pods_of(number).find_map(reported_resumed))
                .or_else(|| attempt.resumed_from.clone()),
            gpu_seconds,
            ignored: ending.is_ignored,
        };
    }

    /// When the last worker of an attempt was started; nothing where not all were.
    pub(super) fn all_running(&self, attempt: i32) -> Option<Timestamp> {
        let mut started: Vec<Timestamp> =
            self.pods_of(attempt).filter_map(pods::started_at).collect();
        started.sort();
        let all = usize::try_from(self.workers()).ok()?;
        started.last().copied().filter(|_| started.len() >= all)
    }

    /// Seconds of GPUs that the pods of an attempt held; nothing where they have none. What each holds is as it was
    /// written down when the attempt began: what it is made from may have changed or gone.
    fn gpu_seconds(&self, status: &TrainingJobStatus, attempt: i32) -> Option<i64> {
        let mut attempts = status.attempts.iter();
        let begun = attempts.find(|one| one.number == attempt)?;
        let each = begun.gpus_per_worker.clone();
        // One that was begun by an operator that wrote nothing down is as the templates are now.
        let each = each.or_else(|| self.gpus_per_worker())?.value().ok()?;
        let held: i64 = self
            .pods_of(attempt)
            .map(|pod| gpus::seconds_held(pod, self.now))
            .sum();
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
        // both are far from where a double has no whole numbers
        Some((each * held as f64).round() as i64)
    }
}

/// What a worker says that it went on from, however it ended.
fn reported_resumed(pod: &Pod) -> Option<String> {
    pods::reports(pod).find_map(|report| match report {
        Report::Training(training) => resumed_from(training.resumed.as_ref()?),
        Report::Failure(failure) => resumed_from(failure.resumed.as_ref()?),
        _ => None,
    })
}

/// `000001/000002-step-200 (passed over 000001/000003-step-300: …)`.
pub(super) fn resumed_from(resumed: &Resumed) -> Option<String> {
    let skipped = resumed.skipped.join("; ");
    let from = match (&resumed.from, skipped.is_empty()) {
        (None, true) => return None,
        (Some(from), true) => from.clone(),
        (Some(from), false) => format!("{from} (passed over {skipped})"),
        (None, false) => format!("none (passed over {skipped})"),
    };
    Some(shortened(&from))
}

pub(super) fn shortened(text: &str) -> String {
    if text.len() <= KEPT_BYTES {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(KEPT_BYTES)])
}

fn last_of(text: &str) -> String {
    let text = text.trim_end();
    let from = text.ceil_char_boundary(text.len().saturating_sub(KEPT_BYTES));
    text[from..].to_owned()
}
