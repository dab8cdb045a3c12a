//! GPUs that are held and not used: it is said, and the attempt is stopped where `spec.idleGPUs` wants that.
//!
//! ```text
//!   no Prometheus, no GPUs, too young ──> nothing is said
//!   not asked yet ──────────────────────> what was said stays
//!   no answer, nothing measured ────────> Unknown
//!   some or all idle ───────────────────> True ──all, and the action says so──> the attempt is stopped
//!   used, and none idle ────────────────> False
//! ```
//!
//! Nothing is ever stopped for what is not known.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use windlass_api::{
    IdleAction, IdleGpusStatus, TrainingJobStatus, condition, find_condition, is_true,
};

use super::Reconcile;
use super::attempt::AttemptState;
use super::record::Ending;
use crate::conditions::{Conditions, Truth};
use crate::trainingjob::utilization::{GpuUse, Threshold, Utilization, gpus_of_worker, policy};
use crate::{Note, Plan, Problem, pods};

/// How long what was said of some idle GPUs stays, while it is others that are idle.
const RENEWED: SignedDuration = SignedDuration::from_mins(10);
/// How late an exporter, and Prometheus after it, may tell of a GPU for the first time.
const MEASURED: SignedDuration = SignedDuration::from_mins(2);
/// Workers that a message names.
const NAMED: usize = 8;

/// What is to be said of an attempt's GPUs.
enum Verdict {
    /// Nothing.
    Silent,
    /// What was said.
    Kept,
    /// That it is not known.
    Unknown {
        reason: &'static str,
        message: String,
    },
    /// That they are used.
    InUse { message: String },
    /// That they are not.
    Idle(Unused),
}

/// The GPUs of an attempt of which some are idle.
struct Unused {
    held: i64,
    idle: i64,
    message: String,
}

impl Unused {
    fn is_whole(&self) -> bool {
        self.idle == self.held
    }

    fn reason(&self) -> &'static str {
        if self.is_whole() {
            "AllIdle"
        } else {
            "SomeIdle"
        }
    }
}

impl Reconcile<'_> {
    /// Says in a plan how the GPUs of the attempt are used, while it runs.
    pub(super) fn note_gpus(&self, plan: &mut Plan<TrainingJobStatus>) {
        let said = find_condition(&self.before.conditions, condition::GPUS_IDLE).cloned();
        let status = &mut plan.status;
        status
            .conditions
            .retain(|one| one.type_ != condition::GPUS_IDLE);
        let idle_before = status.idle_gpus.take();
        if status.attempt_under_way().is_none() {
            return;
        }
        // One that is ending has told its last; its end is written down next.
        let verdict = match self.attempt() {
            AttemptState::Running(_) => self.verdict(),
            AttemptState::None
            | AttemptState::Gone
            | AttemptState::Settling
            | AttemptState::Succeeded(_)
            | AttemptState::Failed(_) => Verdict::Kept,
        };
        let (truth, reason, message) = match verdict {
            Verdict::Silent => return,
            Verdict::Kept => {
                status.conditions.extend(said);
                status.idle_gpus = idle_before;
                return;
            }
            Verdict::Unknown { reason, message } => (Truth::Unknown, reason, message),
            Verdict::InUse { message } => (Truth::False, "InUse", message),
            Verdict::Idle(idle) => {
                if !is_true(&self.before.conditions, condition::GPUS_IDLE) {
                    plan.notes
                        .push(Note::warning(condition::GPUS_IDLE, &*idle.message));
                }
                let reason = idle.reason();
                let (counts, message, again) = self.renewed_idle(idle, said, idle_before);
                plan.status.idle_gpus = Some(counts);
                plan.look_again(again);
                (Truth::True, reason, message)
            }
        };
        let told = Conditions::new(
            &self.before.conditions,
            self.job.metadata.generation,
            self.now,
        )
        .with(condition::GPUS_IDLE, truth, reason, &message);
        plan.status.conditions.extend(told.finish());
    }

    /// What is said now: this, or what was said less than ten minutes ago of the same kind, and when to say something else.
    fn renewed_idle(
        &self,
        idle: Unused,
        said: Option<Condition>,
        before: Option<IdleGpusStatus>,
    ) -> (IdleGpusStatus, String, Option<Duration>) {
        let said = said.filter(|said| said.status == "True" && said.reason == idle.reason());
        if let (Some(said), Some(before)) = (said, before) {
            if said.message == idle.message {
                return (before, said.message, None);
            }
            if let Some(left) = self.left(before.observed + RENEWED) {
                return (before, said.message, Some(left));
            }
        }
        let counts = IdleGpusStatus {
            observed: self.now,
            idle: idle.idle,
            held: idle.held,
        };
        (counts, idle.message, None)
    }

    /// What is to be done about an attempt all of whose GPUs are idle; nothing where it is only to be said.
    pub(super) fn stopped_as_idle(&self) -> Option<Plan<TrainingJobStatus>> {
        let action = policy(&self.job.spec).action;
        let word = match action {
            IdleAction::Report => return None,
            IdleAction::Restart => "Restart",
            IdleAction::Fail => "Fail",
        };
        let Verdict::Idle(idle) = self.verdict() else {
            return None;
        };
        if !idle.is_whole() {
            return None;
        }
        let message = format!(
            "{}; the attempt was stopped, as spec.idleGPUs.action is {word}",
            idle.message
        );
        let problem = Problem::new(condition::GPUS_IDLE, message);
        let ending = Ending::of(&problem);
        let mut plan = if action == IdleAction::Restart {
            self.count_failure(&problem, ending)
        } else {
            let mut status = self.base();
            self.record(&mut status, ending);
            status.failures += 1;
            self.failed(status, &problem)
        };
        plan.steps = self.end_attempts();
        Some(plan)
    }

    /// When it is to be looked again, whatever happens: once the attempt has run for long enough to be judged.
    pub(super) fn judged_in(&self) -> Option<Duration> {
        let (_, judged) = self.judged_from()?;
        self.left(judged)
            .or_else(|| self.left(judged + MEASURED))
            .filter(|_| matches!(self.attempt(), AttemptState::Running(_)))
    }

    /// The threshold, and from when on the attempt is held against it; nothing where nobody knows how far GPUs are used.
    fn judged_from(&self) -> Option<(Threshold, Timestamp)> {
        if self.observed.utilization == Utilization::Off {
            return None;
        }
        let threshold = self.observed.wants_utilization()?;
        let running = self.all_running(self.before.attempt?)?;
        let window = SignedDuration::try_from(threshold.window).ok()?;
        Some((threshold, running + window))
    }

    fn verdict(&self) -> Verdict {
        let Some((threshold, judged)) = self.judged_from() else {
            return Verdict::Silent;
        };
        if self.left(judged).is_some() {
            return Verdict::Silent;
        }
        match &self.observed.utilization {
            Utilization::Off => Verdict::Silent,
            Utilization::Awaited => Verdict::Kept,
            Utilization::NotAnswered => Verdict::Unknown {
                reason: "PrometheusNotAnswering",
                message: "Prometheus was asked how far the GPUs are used and did not answer; the operator's log says why"
                    .to_owned(),
            },
            Utilization::Known(by_pod) => self.judge(&threshold, by_pod, judged),
        }
    }

    fn judge(
        &self,
        threshold: &Threshold,
        by_pod: &BTreeMap<String, GpuUse>,
        judged: Timestamp,
    ) -> Verdict {
        let each = gpus_of_worker(&self.job.spec);
        let measured = |name: &str| by_pod.get(name).copied().unwrap_or_default();
        // A worker that has ended holds none any more.
        let mut workers: Vec<(i32, GpuUse)> = self
            .pods_of(self.before.attempt.unwrap_or(1))
            .filter(|pod| pods::is_alive(pod))
            .map(|pod| (pods::rank(pod).unwrap_or(0), measured(&pod.name_any())))
            .collect();
        workers.sort_by_key(|(rank, _)| *rank);
        // A device that is shared may be measured more often than it is held.
        let idle = |of: &GpuUse| of.idle.min(each - of.used.min(each));
        let held = each * i64::try_from(workers.len()).unwrap_or(i64::MAX);
        let all_idle: i64 = workers.iter().map(|(_, of)| idle(of)).sum();
        let all_used: i64 = workers.iter().map(|(_, of)| of.used.min(each)).sum();
        let policy = policy(&self.job.spec);
        let window = &policy.for_;
        if all_idle == 0 && all_used == 0 {
            if self.left(judged + MEASURED).is_some() {
                return Verdict::Kept;
            }
            return Verdict::Unknown {
                reason: "NotMeasured",
                message: format!(
                    "Prometheus has no values of the workers' GPUs that cover {window}: it needs DCGM's DCGM_FI_DEV_GPU_UTIL or DCGM_FI_PROF_GR_ENGINE_ACTIVE, with the labels namespace and pod of the worker"
                ),
            };
        }
        if all_idle == 0 {
            let below = &threshold.below;
            return Verdict::InUse {
                message: format!(
                    "in the last {window}, no GPU is known to have stayed below {below} %"
                ),
            };
        }
        let by_worker = workers.iter().map(|(rank, of)| (*rank, idle(of)));
        let idle_of: Vec<(i32, i64)> = by_worker.filter(|(_, idle)| *idle > 0).collect();
        let counts = Counts {
            held,
            idle: all_idle,
            unmeasured: held - all_idle - all_used,
            workers: workers.len(),
        };
        Verdict::Idle(Unused {
            held,
            idle: all_idle,
            message: counts.message(&idle_of, &threshold.below, &window.0),
        })
    }
}

/// The numbers of a message.
struct Counts {
    held: i64,
    idle: i64,
    unmeasured: i64,
    workers: usize,
}

impl Counts {
    /// `6 of the 16 GPUs stayed below 5 % for 30m: 4 of worker 0, 2 of worker 3; see …`
    fn message(&self, idle: &[(i32, i64)], below: &str, window: &str) -> String {
        let workers = if self.workers == 1 {
            "its worker".to_owned()
        } else {
            format!("its {} workers", self.workers)
        };
        let (idle_gpus, held) = (self.idle, self.held);
        let mut message = if idle_gpus == held {
            format!("all GPUs of {workers}, {held}, stayed below {below} % for {window}")
        } else {
            format!(
                "{idle_gpus} of the {held} GPUs of {workers} stayed below {below} % for {window}"
            )
        };
        if idle_gpus < held {
            let named: Vec<String> = idle
                .iter()
                .take(NAMED)
                .map(|(rank, gpus)| format!("{gpus} of worker {rank}"))
                .collect();
            // Writing to a String cannot fail.
            let _ = write!(message, ": {}", named.join(", "));
            let more = idle.len().saturating_sub(NAMED);
            if more > 0 {
                let _ = write!(message, " and those of {more} more");
            }
            if self.unmeasured > 0 {
                let _ = write!(message, "; of {} it is not known", self.unmeasured);
            }
        }
        message.push_str(
            "; see what the trainer waits for (data, a lock, another worker), or ask for fewer GPUs",
        );
        message
    }
}
