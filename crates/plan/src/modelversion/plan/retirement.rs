//! How a version goes that nothing keeps, one decision after the other:
//!
//! ```text
//!   marked ── half a minute, and nothing needs it ──> recorded (Retired) ──asked for──> a Job deletes its files
//!      └── something does: it stays as it was               │ not asked for                │ ended well
//!                                                           v                              v
//!                                                     the object goes, if nobody has changed it since
//! ```
//!
//! Whoever chooses a version to serve passes over one that is marked, and a choice that was made just before is seen
//! within the half minute. What fails is said, and nothing more is taken away until a person deletes the Job.

use std::time::Duration;

use jiff::SignedDuration;
use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use windlass_api::{ModelVersion, ModelVersionStatus, Retiring, condition, is_true, labels};

use super::Reconcile;
use super::retention::{self, Kept};
use crate::conditions::Conditions;
use crate::jobs::{self, JobState, Without};
use crate::modelversion::files::{self, Files};
use crate::modelversion::observed::Observed;
use crate::outcome::Unchanged;
use crate::{Child, Doomed, Note, Plan, Problem, Step, pods};

/// How long a mark stands before it is acted on: longer than a roll-out's reconcile that has begun without seeing it.
const GRACE: SignedDuration = SignedDuration::from_secs(30);
/// How often it is looked for what no object tells.
const LOOK: Duration = Duration::from_mins(1);
/// The reason of the conditions while all goes as it should.
const RETIRING: &str = "Retiring";

/// What the conditions of a version say that is to go.
#[derive(Clone, Copy)]
struct Going<'a> {
    reconciling: bool,
    stalled: bool,
    reason: &'a str,
    message: &'a str,
}

impl<'a> Going<'a> {
    fn under_way(message: &'a str) -> Self {
        Self {
            reconciling: true,
            stalled: false,
            reason: RETIRING,
            message,
        }
    }

    fn stopped(reason: &'a str, message: &'a str) -> Self {
        Self {
            reconciling: false,
            stalled: true,
            reason,
            message,
        }
    }
}

/// Why a version goes, and what becomes of its files: the reason of its last record.
pub(in crate::modelversion) fn last_reason(observed: &Observed) -> String {
    let becomes = match files::files(observed) {
        Files::Stay(None) => "its files stay".to_owned(),
        Files::Stay(Some(why)) => format!("its files stay: {why}"),
        Files::Go(_) => "its files are deleted first".to_owned(),
    };
    format!("{}; {becomes}", reason(observed))
}

fn reason(observed: &Observed) -> String {
    let (newer, spec) = (retention::newer(observed), &observed.version.spec);
    let keep = spec.retention.as_ref().map_or(0, |of| of.keep);
    format!(
        "{newer} newer versions of {} are there, and spec.retention keeps {keep}",
        spec.model
    )
}

/// Whether it has been decided for good that a version goes.
pub(in crate::modelversion) fn is_decided(status: &ModelVersionStatus) -> bool {
    let retiring = status.retiring.as_ref();
    retiring.is_some_and(|retiring| retiring.decided.is_some())
}

/// The plan for a version that something keeps.
fn stays(mut plan: Plan<ModelVersionStatus>, kept: Kept) -> Plan<ModelVersionStatus> {
    if plan.status.retiring.take().is_some() {
        let message = format!("it stays after all: {}", kept.words());
        plan.notes.push(Note::normal("Kept", message));
    }
    plan.look_again(kept.ends_untold().then_some(LOOK));
    plan
}

impl Reconcile<'_> {
    /// The plan for a version, unless it is to go: then what comes next of that.
    pub(super) fn retain_or_retire(
        &self,
        plan: Plan<ModelVersionStatus>,
    ) -> Plan<ModelVersionStatus> {
        let marked = &self.before.retiring;
        if let Some(decided) = marked.as_ref().filter(|_| is_decided(self.before)) {
            return self.take_away(plan.status, decided);
        }
        match (retention::kept(self.observed, &plan.status), marked) {
            (Some(kept), _) => stays(plan, kept),
            (None, None) => self.mark(plan.status),
            (None, Some(marked)) => self.wait_or_decide(plan.status, marked),
        }
    }

    fn mark(&self, base: ModelVersionStatus) -> Plan<ModelVersionStatus> {
        let marked = Retiring {
            since: self.now,
            decided: None,
        };
        let mut plan = self.wait(base, &marked);
        let why = reason(self.observed);
        plan.notes.push(Note::normal(RETIRING, why));
        plan
    }

    fn wait(&self, base: ModelVersionStatus, marked: &Retiring) -> Plan<ModelVersionStatus> {
        let due = marked.since + GRACE;
        let message = format!(
            "{}: it goes after {due}, unless something needs it",
            reason(self.observed)
        );
        Plan {
            again: Duration::try_from(due.duration_since(self.now)).ok(),
            ..Plan::status_only(self.going(base, marked, Going::under_way(&message)))
        }
    }

    fn wait_or_decide(
        &self,
        base: ModelVersionStatus,
        marked: &Retiring,
    ) -> Plan<ModelVersionStatus> {
        if self.now < marked.since + GRACE {
            return self.wait(base, marked);
        }
        // The oldest goes first. One that something holds up holds up no other.
        let goes_before = |sibling: &&ModelVersion| {
            let mut statuses = sibling.status.iter();
            sibling.spec.version < self.version.spec.version
                && sibling.is_retiring()
                && statuses.any(|status| is_true(&status.conditions, condition::RECONCILING))
        };
        let siblings = self.observed.around.siblings.iter().map(AsRef::as_ref);
        let older = siblings.filter(goes_before);
        if let Some(older) = older.min_by_key(|sibling| sibling.spec.version) {
            let message = format!("it goes once {} has gone", older.name_any());
            return Plan {
                again: Some(LOOK),
                ..Plan::status_only(self.going(base, marked, Going::under_way(&message)))
            };
        }
        let decided = Retiring {
            decided: Some(self.now),
            ..marked.clone()
        };
        let why = last_reason(self.observed);
        let status = self.going(base, &decided, Going::under_way(&why));
        Plan {
            notes: vec![Note::normal("Retired", why)],
            ..Plan::status_only(status)
        }
    }

    /// What is left to do once it is decided and on record.
    fn take_away(&self, base: ModelVersionStatus, decided: &Retiring) -> Plan<ModelVersionStatus> {
        let job = self.observed.around.job.as_deref();
        if self.version.is_held() {
            return self.on_hold(base, decided, job);
        }
        let Some(job) = job else {
            return self.take_files(base, decided);
        };
        let its_pods = pods::in_order(&self.observed.around.pods);
        match jobs::state(job, its_pods.iter().copied(), self.now) {
            JobState::Complete => self.take_object(base),
            JobState::Settling => Plan {
                again: Some(Duration::from_secs(1)),
                ..Plan::status_only(self.before.clone())
            },
            JobState::Failed => {
                let failures = its_pods.iter().filter(|pod| !pods::is_disrupted(pod));
                let failure = failures.filter_map(|pod| pods::failure(pod)).next_back();
                let (reason, said) = match failure {
                    Some(failure) => (format!("{:?}", failure.reason), failure.message),
                    None => ("NotDeleted".to_owned(), jobs::failed_message(job)),
                };
                let message = format!(
                    "its files were not deleted, and its record stays: {said}. Mend it, then delete the Job {} to try again; or delete the ModelVersion, and what is left of the files stays",
                    job.name_any()
                );
                self.held_up(base, decided, &Problem::new(&reason, message))
            }
            JobState::Running => {
                let problem = its_pods.iter().copied().find_map(pods::problem);
                let without = jobs::without_pods(job, its_pods.iter().copied(), self.now);
                match (problem, without) {
                    (Some(problem), _) | (None, Some(Without::Refused(problem))) => {
                        self.held_up(base, decided, &problem)
                    }
                    (None, Some(Without::Awaited(left))) => Plan {
                        again: Some(left),
                        ..self.deleting(base, decided, job)
                    },
                    (None, None) => self.deleting(base, decided, job),
                }
            }
        }
    }

    fn deleting(
        &self,
        base: ModelVersionStatus,
        decided: &Retiring,
        job: &Job,
    ) -> Plan<ModelVersionStatus> {
        let message = format!("Job {} deletes its files", job.name_any());
        Plan::status_only(self.going(base, decided, Going::under_way(&message)))
    }

    /// Somebody put it on legal hold after it was decided: what is not gone yet stays.
    fn on_hold(
        &self,
        base: ModelVersionStatus,
        decided: &Retiring,
        job: Option<&Job>,
    ) -> Plan<ModelVersionStatus> {
        let runs = |job: &&Job| !jobs::has_ended(job) && job.metadata.deletion_timestamp.is_none();
        let running = job.filter(runs).map(ResourceExt::name_any);
        let message = format!(
            "it is on legal hold, and goes once the label {} is taken away",
            labels::LEGAL_HOLD
        );
        let going = Going::stopped("LegalHold", &message);
        Plan {
            steps: running
                .map(|name| Step::Delete(Doomed::Job(name)))
                .into_iter()
                .collect(),
            ..Plan::status_only(self.going(base, decided, going))
        }
    }

    fn take_files(&self, base: ModelVersionStatus, decided: &Retiring) -> Plan<ModelVersionStatus> {
        let Files::Go(all) = files::files(self.observed) else {
            return self.take_object(base);
        };
        let namespace = self.version.namespace().unwrap_or_default();
        let named = [("spec.artifact.uri", &self.version.spec.artifact.uri)];
        if let Err(problem) = pods::check_claims(named, &self.observed.claims, &namespace) {
            return self.held_up(base, decided, &problem);
        }
        let job = files::deletion_job(self.version, &all, &self.observed.agent_image);
        let plan = self.deleting(base, decided, &job);
        Plan {
            steps: vec![Step::Apply(Child::Job(Box::new(job)))],
            ..plan
        }
    }

    /// The object goes as it is now: whoever changes it at the same moment is heard.
    fn take_object(&self, base: ModelVersionStatus) -> Plan<ModelVersionStatus> {
        let doomed = Unchanged {
            name: self.version.name_any(),
            uid: self.version.uid(),
            resource_version: self.version.resource_version(),
        };
        Plan {
            steps: vec![Step::Delete(Doomed::ModelVersion(doomed))],
            ..Plan::status_only(base)
        }
    }

    /// What a person has to mend before it can go.
    pub(super) fn held_up(
        &self,
        base: ModelVersionStatus,
        retiring: &Retiring,
        problem: &Problem,
    ) -> Plan<ModelVersionStatus> {
        let known = windlass_api::find_condition(&self.before.conditions, condition::READY)
            .is_some_and(|ready| ready.reason == problem.reason);
        let note = Note::warning(&problem.reason, &problem.message);
        let going = Going::stopped(&problem.reason, &problem.message);
        Plan {
            notes: if known { Vec::new() } else { vec![note] },
            ..Plan::status_only(self.going(base, retiring, going))
        }
    }

    /// The status of a version that is to go: whether it was found good stays as it was.
    fn going(
        &self,
        base: ModelVersionStatus,
        retiring: &Retiring,
        going: Going<'_>,
    ) -> ModelVersionStatus {
        let (before, generation) = (&self.before.conditions, self.version.metadata.generation);
        let (reason, message) = (going.reason, going.message);
        let mut conditions = Conditions::new(before, generation, self.now)
            .with(condition::READY, false, reason, message)
            .with(condition::RECONCILING, going.reconciling, reason, message)
            .with(condition::STALLED, going.stalled, reason, message)
            .finish();
        let said = |type_: &str| conditions.iter().any(|one| one.type_ == type_);
        let rest: Vec<_> = base
            .conditions
            .iter()
            .filter(|one| !said(&one.type_))
            .cloned()
            .collect();
        conditions.extend(rest);
        ModelVersionStatus {
            phase: Some(RETIRING.to_owned()),
            conditions,
            retiring: Some(retiring.clone()),
            ..base
        }
    }
}
