//! GPU-hours over a period: what trainings really used, and what the next one may.

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use windlass_api::{
    Budget, DriftMonitorStatus, Outcome, Retrain, Retraining, TrainingJob, TrainingJobSpec,
};

use super::Reconcile;
use super::gates::Held;
use crate::driftmonitor::duration;
use crate::{Note, Plan, gpus, template};

const HOUR: f64 = 3600.0;
/// Pods that are stopped at their deadline hold their GPUs for a while yet.
const GRACE: i64 = 60;
/// A training that has less than this is not begun.
const LEAST: i64 = 60;
/// Seconds that a deadline of a TrainingJob has at most: a year.
const LONGEST: i64 = 31_536_000;
/// Trainings by which it is told what one takes.
const LIKE: usize = 3;

/// What a training may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Allowance {
    /// Seconds that it may take from its start; absent where nothing bounds it but its template.
    pub deadline: Option<i64>,
    /// Seconds of GPUs that it uses at most, where that is bounded.
    pub gpu_seconds: i64,
}

/// What is used up, for a person, and when it is free again.
pub(super) struct Spent {
    pub message: String,
    pub until: Option<Timestamp>,
}

impl Reconcile<'_> {
    pub(super) fn budget(&self) -> Option<&Budget> {
        self.monitor.spec.retrain.as_ref()?.budget.as_ref()
    }

    /// Whether what a training uses counts now.
    pub(super) fn counts(&self, entry: &Retraining) -> bool {
        let Some(budget) = self.budget() else {
            return false;
        };
        let free = |ended: Timestamp| ended.checked_add(duration(&budget.per));
        entry
            .ended
            .is_none_or(|ended| free(ended).is_ok_and(|free| free > self.now))
    }

    /// What a training that is under way may use, by its own deadline. Nothing bounds one that has none, as one that was asked
    /// for before there was a budget: it takes the whole of it, and is told of.
    pub(super) fn reserved(&self, job: &TrainingJob) -> i64 {
        let Some(budget) = self.budget() else {
            return 0;
        };
        let gpus = gpus_of(&job.spec);
        match job.spec.active_deadline_seconds {
            Some(deadline) => (deadline + GRACE).saturating_mul(gpus),
            None if gpus == 0 => 0,
            None => seconds(budget).saturating_add(GRACE.saturating_mul(gpus)),
        }
    }

    /// What a training takes of the budget while it is not over: what it has used, and what it may use yet. One that is
    /// suspended before it has begun takes nothing.
    pub(super) fn taken(&self, job: &TrainingJob) -> i64 {
        let status = job.status.as_ref();
        let has_begun = status.is_some_and(|status| !status.attempts.is_empty());
        if self.budget().is_none() || (job.spec.suspend && !has_begun) {
            return 0;
        }
        let used = status.and_then(|status| status.gpu_seconds).unwrap_or(0);
        if job.spec.active_deadline_seconds.is_none() {
            return used.max(self.reserved(job));
        }
        // The deadline counts from the last start: what attempts since then have used is of it.
        let since = status.and_then(|status| {
            let start = status.start_time?;
            let attempts = status.attempts.iter();
            let since = attempts.filter(|attempt| attempt.started.is_some_and(|at| at >= start));
            Some(since.filter_map(|attempt| attempt.gpu_seconds).sum())
        });
        let before = used.saturating_sub(since.unwrap_or(0)).max(0);
        before.saturating_add(self.reserved(job))
    }

    /// What counts of a training that was deleted before it ended. What it used nobody knows: it counts as all that its deadline
    /// gave it. Where nothing bounded it, that was the whole budget: then as what it can have used by now.
    pub(super) fn settle_deleted(&self, entry: &mut Retraining, notes: &mut Vec<Note>) {
        let (Some(budget), Some(retrain)) = (self.budget(), &self.monitor.spec.retrain) else {
            return;
        };
        if entry.gpu_seconds == 0 {
            return;
        }
        let gpus = gpus_of(&retrain.template.spec);
        let is_unbounded = entry.gpu_seconds > seconds(budget) && gpus > 0;
        let why = if is_unbounded {
            let since = self.now.duration_since(entry.time).as_secs().max(0);
            let most = (since + GRACE).saturating_mul(gpus);
            entry.gpu_seconds = entry.gpu_seconds.min(most);
            "no deadline within the budget bounded it, and it cannot have used more since it was asked for"
        } else {
            "its deadline allowed as much"
        };
        notes.push(Note::warning(
            "DeletedBeforeItsEnd",
            format!(
                "TrainingJob {} was deleted before it ended, so that nobody knows what it used: {} GPU-hours count for the next {} (spec.retrain.budget), since {why}; suspend a training instead, and what it used is known",
                entry.training_job,
                hours(entry.gpu_seconds),
                budget.per,
            ),
        ));
    }

    /// Says so where trainings use more than the budget: those that are resumed by hand, or get a longer deadline, may.
    pub(super) fn with_budget(
        &self,
        retraining: Held,
        plan: &mut Plan<DriftMonitorStatus>,
    ) -> Held {
        let Some(passed) = self.tell_passed(plan) else {
            return retraining;
        };
        match retraining {
            Held::UnderWay(reason, message) => {
                Held::UnderWay(reason, format!("{message}; {passed}"))
            }
            other => other,
        }
    }

    /// Tells it, where it is new: what was passed by then, and by what was a larger budget or none, nobody keeps. So one that
    /// is passed still is told of again with each change of the monitor.
    pub(super) fn tell_passed(&self, plan: &mut Plan<DriftMonitorStatus>) -> Option<String> {
        let passed = self.passed(&plan.status.retrainings)?;
        let is_changed = self.before.observed_generation != self.monitor.metadata.generation;
        if is_changed || self.passed(&self.before.retrainings).is_none() {
            plan.notes.push(Note::warning("BudgetPassed", &passed));
        }
        Some(passed)
    }

    /// What is used or taken, where that is more than the budget.
    fn passed(&self, entries: &[Retraining]) -> Option<String> {
        let budget = self.budget()?;
        let used = self.used(entries);
        if used <= seconds(budget) {
            return None;
        }
        let under_way = entries.iter().filter(|entry| entry.ended.is_none());
        let mut jobs = under_way.filter_map(|entry| self.training_job(&entry.training_job));
        let unbounded = jobs.find(|job| job.spec.active_deadline_seconds.is_none());
        let why = unbounded.map_or_else(
            || "one was resumed or its deadline made longer, or the budget was cut".to_owned(),
            |job| {
                format!(
                    "TrainingJob {} has no deadline, so that nothing bounds it",
                    job.name_any()
                )
            },
        );
        Some(format!(
            "that is more than the budget (spec.retrain.budget): {} of {} GPU-hours are used or taken in {}, since {why}; delete a training that is not to go on, or give it a shorter activeDeadlineSeconds",
            hours(used),
            budget.gpu_hours,
            budget.per,
        ))
    }

    /// Seconds of GPUs that are used or taken now.
    pub(super) fn used(&self, entries: &[Retraining]) -> i64 {
        let counted = entries.iter().filter(|entry| self.counts(entry));
        counted.fold(0, |used, entry| used.saturating_add(entry.gpu_seconds))
    }

    /// What the next training may use, or what is used up.
    pub(super) fn allowance(
        &self,
        retrain: &Retrain,
        entries: &[Retraining],
    ) -> Result<Allowance, Spent> {
        let own = retrain.template.spec.active_deadline_seconds;
        let Some(budget) = &retrain.budget else {
            return Ok(Allowance {
                deadline: own,
                gpu_seconds: 0,
            });
        };
        let counted = || entries.iter().filter(|entry| self.counts(entry));
        let used = self.used(entries);
        let left = seconds(budget).saturating_sub(used);
        let like = entries.iter().rev().filter(|entry| {
            entry.ended.is_some()
                && !matches!(entry.outcome, Some(Outcome::Failed | Outcome::Deleted))
        });
        let takes = like.take(LIKE).map(|entry| entry.gpu_seconds).max();
        // What one took before the budget was cut would never fit.
        let takes = takes.unwrap_or(0).min(seconds(budget));
        let gpus = gpus_of(&retrain.template.spec);
        let most = left
            .checked_div(gpus)
            .map(|most| (most - GRACE).min(LONGEST));
        if left > 0 && takes <= left && most.is_none_or(|most| most >= LEAST) {
            let deadline = own.into_iter().chain(most).min();
            return Ok(Allowance {
                deadline,
                gpu_seconds: deadline.map_or(0, |most| (most + GRACE).saturating_mul(gpus)),
            });
        }
        if used == 0 {
            let message = format!(
                "the budget is too small for any training (spec.retrain.budget): {} GPU-hours in {} are less than two minutes of the {gpus} GPUs that spec.retrain.template asks for; give more",
                budget.gpu_hours, budget.per,
            );
            return Err(Spent {
                message,
                until: None,
            });
        }
        let until = counted()
            .filter(|entry| entry.gpu_seconds > 0)
            .filter_map(|entry| entry.ended?.checked_add(duration(&budget.per)).ok())
            .min();
        Err(Spent {
            message: format!(
                "the budget is spent (spec.retrain.budget): {} of {} GPU-hours are used or taken in {}{}{}",
                hours(used),
                budget.gpu_hours,
                budget.per,
                if takes > 0 {
                    format!(", and a training takes some {}", hours(takes))
                } else {
                    String::new()
                },
                until.map_or_else(
                    || "; the next is asked for once one that is under way has ended, or more is given".to_owned(),
                    |until| format!("; some are free again at {}", until.strftime("%FT%TZ"))
                )
            ),
            until,
        })
    }
}

/// GPUs that the workers of a training hold together, as its template asks for them.
fn gpus_of(spec: &TrainingJobSpec) -> i64 {
    let template = template::parse("spec.workers.template", &spec.workers.template).ok();
    let each = template.and_then(|template| template.spec.map(|spec| gpus::of_pod(&spec)));
    i64::from(spec.workers.replicas) * each.unwrap_or(0)
}

#[allow(clippy::cast_possible_truncation)] // the CRD has an upper bound
pub(super) fn seconds(budget: &Budget) -> i64 {
    (budget.gpu_hours.value().unwrap_or(0.0) * HOUR) as i64
}

#[allow(clippy::cast_precision_loss)] // for people
fn hours(seconds: i64) -> String {
    let hours = SignedDuration::from_secs(seconds).as_secs_f64() / HOUR;
    format!("{hours:.1}")
}
