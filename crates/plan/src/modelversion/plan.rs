//! The decisions on a ModelVersion.
//!
//! ```text
//!   registration (what are its files?) ──> registered, validated or judged
//!
//!   whichever it is ──> retention (does anything keep it?) ──> retirement (mark, record, files, object)
//! ```

mod publication;
mod registration;
pub(super) mod retention;
pub(super) mod retirement;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use windlass_api::agent::{EvaluationReport, FailureReason, MetricResult, Report, Tree, Verdict};
use windlass_api::{
    Address, Approval, Decimal, MetricStatus, ModelVersion, ModelVersionStatus, Opponent,
    ReviewDecision, Stored, Validation, ValidationStatus, condition,
};

use super::children;
use super::decisions::{self, is_approved};
use super::observed::Observed;
use crate::conditions::{Conditions, Truth};
use crate::jobs::{self, JobState, Without};
use crate::presets::Wanted;
use crate::{Child, Note, Plan, Problem, Step, pods, template};

const CHAMPION_NOT_FOUND: &str = "ChampionNotFound";
/// How long until a champion that is not there is looked for again.
const LOOK_AGAIN: Duration = Duration::from_mins(1);

/// Whether a version may serve as `Latest`: its validation passed, and whoever was to approve it did.
pub fn is_good(version: &ModelVersion) -> bool {
    verdict(version) == Some(Verdict::Pass) && is_approved(version)
}

/// What its validation found, where it came to a verdict.
pub fn verdict(version: &ModelVersion) -> Option<Verdict> {
    version
        .status
        .as_ref()?
        .validation
        .as_ref()
        .map(|validation| validation.verdict)
}

/// By what a version is known in quarantine; empty for one that is not on record yet, and serves nowhere.
pub fn fingerprint(version: &ModelVersion) -> &str {
    version.fingerprint_or_digest().unwrap_or_default()
}

/// What is to be done about a ModelVersion.
pub fn plan(observed: &Observed, now: Timestamp) -> Plan<ModelVersionStatus> {
    let version = &*observed.version;
    let before = version.status.clone().unwrap_or_default();
    if version.metadata.deletion_timestamp.is_some() {
        return Plan::status_only(before);
    }
    let reconcile = Reconcile::new(observed, &before, now);
    let plan = match (&version.spec.validation, &before.validation) {
        // What becomes of its files is decided.
        _ if version.digest().is_none() && retirement::is_decided(&before) => {
            Plan::status_only(before.clone())
        }
        _ if version.digest().is_none() => reconcile.register(),
        (None, _) => reconcile.registered(),
        (Some(_), Some(found)) => Plan::status_only(reconcile.judged(found.clone())),
        (Some(validation), None) => reconcile.validate(validation),
    };
    let mut plan = reconcile.retain_or_retire(plan);
    decisions::record(observed, &before, &mut plan.status, now);
    reconcile.publish(&mut plan);
    plan
}

/// What is to be said when the API server refused a step of the plan.
pub fn refused(observed: &Observed, problem: &Problem, now: Timestamp) -> Plan<ModelVersionStatus> {
    let version = &*observed.version;
    let before = version.status.clone().unwrap_or_default();
    let reconcile = Reconcile::new(observed, &before, now);
    let mut plan = match &before.retiring {
        Some(retiring) => reconcile.held_up(before.clone(), retiring, problem),
        None => reconcile.stalled(problem),
    };
    decisions::record(observed, &before, &mut plan.status, now);
    plan
}

struct Reconcile<'a> {
    observed: &'a Observed,
    /// The pods of its Job, in order.
    pods: Vec<&'a Pod>,
    version: &'a ModelVersion,
    before: &'a ModelVersionStatus,
    now: Timestamp,
}

/// What a person has said of a version, or is to say.
struct Reviewed {
    is_approved: bool,
    /// It has been said.
    is_final: bool,
    phase: &'static str,
    message: String,
}

/// What the conditions of a ModelVersion say.
#[derive(Clone, Copy)]
struct Say<'a> {
    phase: &'a str,
    ready: bool,
    reconciling: bool,
    stalled: bool,
    validated: Truth,
    reason: &'a str,
    message: &'a str,
}

impl<'a> Reconcile<'a> {
    fn new(observed: &'a Observed, before: &'a ModelVersionStatus, now: Timestamp) -> Self {
        Self {
            observed,
            pods: pods::in_order(&observed.pods),
            version: &observed.version,
            before,
            now,
        }
    }
}

impl Reconcile<'_> {
    fn status(&self, say: &Say<'_>) -> ModelVersionStatus {
        let reviewed = self.reviewed();
        let validated = (say.validated, say.reason, say.message);
        // What is good waits for a person's word, where one is asked for.
        let held = reviewed
            .as_ref()
            .filter(|said| say.ready && !said.is_approved);
        let say = held.map_or(*say, |said| Say {
            phase: said.phase,
            ready: false,
            reconciling: !said.is_final,
            stalled: said.is_final,
            reason: said.phase,
            message: &said.message,
            ..*say
        });
        let (before, generation) = (&self.before.conditions, self.version.metadata.generation);
        let mut conditions = Conditions::new(before, generation, self.now)
            .with(condition::READY, say.ready, say.reason, say.message)
            .with(
                condition::RECONCILING,
                say.reconciling,
                say.reason,
                say.message,
            )
            .with(condition::STALLED, say.stalled, say.reason, say.message)
            .with(condition::VALIDATED, validated.0, validated.1, validated.2);
        if let Some(said) = &reviewed {
            let reason = if said.is_final {
                decisions::REVIEWED
            } else {
                said.phase
            };
            conditions =
                conditions.with(condition::APPROVED, said.is_approved, reason, &said.message);
        }
        ModelVersionStatus {
            observed_generation: generation,
            phase: Some(say.phase.to_owned()),
            conditions: conditions.finish(),
            ..self.before.clone()
        }
    }

    /// What a person has said, or is to say; nothing where nobody is asked and nobody said anything.
    fn reviewed(&self) -> Option<Reviewed> {
        let spec = &self.version.spec;
        match (&spec.review, spec.approval) {
            (Some(review), _) => {
                let is_approved = review.decision == ReviewDecision::Approved;
                let word = if is_approved { "approved" } else { "denied" };
                Some(Reviewed {
                    is_approved,
                    is_final: true,
                    phase: if is_approved { "Approved" } else { "Denied" },
                    message: format!("{} {word} it: {}", review.by, review.reason),
                })
            }
            (None, Approval::Automatic) => None,
            (None, Approval::Manual | Approval::FourEyes) => {
                let but = match (&spec.author, spec.approval) {
                    (Some(author), Approval::FourEyes) => format!(" and is not {author}"),
                    _ => String::new(),
                };
                Some(Reviewed {
                    is_approved: false,
                    is_final: false,
                    phase: "AwaitingApproval",
                    message: format!(
                        "it waits in spec.review for the word of somebody who holds the verb approve on it{but}"
                    ),
                })
            }
        }
    }

    fn registered(&self) -> Plan<ModelVersionStatus> {
        Plan::status_only(self.status(&Say {
            phase: "Registered",
            ready: true,
            reconciling: false,
            stalled: false,
            validated: Truth::Unknown,
            reason: "Registered",
            message: "spec.validation is not given: the version is on record, and serves only where its number is asked for",
        }))
    }

    fn judged(&self, found: ValidationStatus) -> ModelVersionStatus {
        let (phase, reason, validated) = match found.verdict {
            Verdict::Pass => ("Validated", "ValidationPassed", Truth::True),
            Verdict::Fail => ("Rejected", "ValidationFailed", Truth::False),
            Verdict::Inconclusive => ("Inconclusive", "ValidationInconclusive", Truth::Unknown),
        };
        let mut status = self.status(&Say {
            phase,
            ready: found.verdict == Verdict::Pass,
            reconciling: false,
            stalled: found.verdict != Verdict::Pass,
            validated,
            reason,
            message: &found.message,
        });
        status.validation = Some(found);
        status
    }

    fn stalled(&self, problem: &Problem) -> Plan<ModelVersionStatus> {
        let known = windlass_api::find_condition(&self.before.conditions, condition::READY)
            .is_some_and(|ready| ready.reason == problem.reason);
        let status = self.status(&Say {
            phase: "Pending",
            ready: false,
            reconciling: false,
            stalled: true,
            validated: Truth::Unknown,
            reason: &problem.reason,
            message: &problem.message,
        });
        let notes = if known {
            Vec::new()
        } else {
            vec![Note::warning(&problem.reason, &problem.message)]
        };
        // A record that is registered again is no news for the other versions.
        let is_looked_at_again = problem.reason == CHAMPION_NOT_FOUND;
        Plan {
            notes,
            again: is_looked_at_again.then_some(LOOK_AGAIN),
            ..Plan::status_only(status)
        }
    }

    fn validating(&self, message: &str, champion: Option<String>) -> ModelVersionStatus {
        let status = self.status(&Say {
            phase: "Validating",
            ready: false,
            reconciling: true,
            stalled: false,
            validated: Truth::Unknown,
            reason: "Validating",
            message,
        });
        ModelVersionStatus { champion, ..status }
    }

    fn validate(&self, validation: &Validation) -> Plan<ModelVersionStatus> {
        let Some(job) = &self.observed.job else {
            return self
                .start(validation)
                .unwrap_or_else(|problem| self.stalled(&problem));
        };
        // A pod that was taken away may have left a failure before another one came to a verdict.
        let report = self
            .pods
            .iter()
            .find_map(|pod| match pods::report(pod, pods::AGENT)? {
                Report::Evaluation(report) => Some(report),
                Report::Training(_)
                | Report::Drift(_)
                | Report::Fetch(_)
                | Report::Check(_)
                | Report::Delete(_)
                | Report::Labels(_)
                | Report::Publish(_)
                | Report::Failure(_) => None,
            });
        if let Some(report) = report {
            return self.concluded(&report);
        }
        match jobs::state(job, self.pods.iter().copied(), self.now) {
            JobState::Complete | JobState::Failed => self.no_verdict(&job.name_any()),
            JobState::Settling => Plan {
                again: Some(Duration::from_secs(1)),
                ..Plan::status_only(self.before.clone())
            },
            // The servers beside the agent may take their time to end; its word is final before that.
            JobState::Running if self.has_given_up() => self.no_verdict(&job.name_any()),
            JobState::Running => self.under_way(job),
        }
    }

    fn under_way(&self, job: &Job) -> Plan<ModelVersionStatus> {
        if let Some(problem) = self.pods.iter().copied().find_map(pods::problem) {
            return self.stalled(&problem);
        }
        let message = format!("Job {} judges the model", job.name_any());
        let status = self.validating(&message, children::champion(job));
        match jobs::without_pods(job, self.pods.iter().copied(), self.now) {
            Some(Without::Refused(problem)) => self.stalled(&problem),
            Some(Without::Awaited(left)) => Plan {
                again: Some(left),
                ..Plan::status_only(status)
            },
            None => Plan::status_only(status),
        }
    }

    /// Whether the agent has said that it comes to no verdict, in a pod that is not made again.
    fn has_given_up(&self) -> bool {
        self.pods
            .iter()
            .filter(|pod| !pods::is_disrupted(pod))
            .any(|pod| match pods::report(pod, pods::AGENT) {
                Some(Report::Failure(failure)) => failure.reason != FailureReason::Interrupted,
                Some(
                    Report::Training(_)
                    | Report::Evaluation(_)
                    | Report::Drift(_)
                    | Report::Fetch(_)
                    | Report::Check(_)
                    | Report::Delete(_)
                    | Report::Labels(_)
                    | Report::Publish(_),
                )
                | None => false,
            })
    }

    fn no_verdict(&self, name: &str) -> Plan<ModelVersionStatus> {
        let failure = self
            .pods
            .iter()
            .copied()
            .filter(|pod| !pods::is_disrupted(pod))
            .find_map(pods::failure);
        let (reason, said) = match failure {
            Some(failure) => (format!("{:?}", failure.reason), failure.message),
            None => (
                "ReportMissing".to_owned(),
                "the validation ended without a report".to_owned(),
            ),
        };
        self.stalled(&Problem::new(&reason, format!("validation came to no verdict: {said}. Mend it, then delete the Job {name} to validate again")))
    }

    fn start(&self, validation: &Validation) -> Result<Plan<ModelVersionStatus>, Problem> {
        let namespace = self.version.namespace().unwrap_or_default();
        let artifact = &self.version.spec.artifact;
        // A signature that nobody asks for is not read.
        let signature = artifact.signature.as_ref();
        let asked = signature.filter(|signature| signature.signed_by.is_some());
        let named = [
            ("spec.artifact.uri", &artifact.uri),
            ("spec.validation.dataset.uri", &validation.dataset.uri),
        ]
        .into_iter()
        .chain(
            asked
                .and_then(|signature| signature.bundle.as_ref())
                .map(|bundle| ("spec.artifact.signature.bundle", bundle)),
        );
        pods::check_claims(named, &self.observed.claims, &namespace)?;
        let uri = &artifact.uri;
        if uri.0.starts_with("https://") || uri.image().is_some() {
            return Err(Problem::new(
                "ReportNotWritable",
                "spec.artifact.uri: the validation's report and baseline are written beside the model, which https:// and oci:// do not allow; \
                 register the files at pvc:// or s3:// to have them validated, or leave spec.validation out",
            ));
        }
        let (_, preset) = self.observed.presets.template(Wanted {
            field: "spec.validation",
            name: validation.runtime.as_deref(),
            format: &self.version.spec.artifact.format,
            protocol: validation.protocol,
        })?;
        let server = template::parse("the runtime preset", &preset)?;
        let champion = match validation.against.as_ref().map(|against| against.version) {
            Some(Opponent::Champion) => self.champion()?,
            None => None,
        };
        let job = children::validation_job(
            self.version,
            validation,
            champion,
            &server,
            &self.observed.agent_image,
        );
        let status = self.validating(
            &format!("Job {} judges the model", job.name_any()),
            champion.map(ResourceExt::name_any),
        );
        Ok(Plan {
            steps: vec![Step::Apply(Child::Job(Box::new(job)))],
            ..Plan::status_only(status)
        })
    }

    /// The version to compare with; nothing where none serves, or this one does.
    fn champion(&self) -> Result<Option<&ModelVersion>, Problem> {
        let name = self.version.name_any();
        let serving = self.observed.serving.as_ref();
        let Some(serving) = serving.filter(|serving| **serving != name) else {
            return Ok(None);
        };
        let champion = self.observed.champion.as_deref();
        let on_record = champion.filter(|champion| champion.digest().is_some());
        on_record.map(Some).ok_or_else(|| {
            Problem::new(
                CHAMPION_NOT_FOUND,
                format!("spec.validation.against: {serving} serves the model {}, and there is no ModelVersion of this name any more to compare with, or its files are not digested yet; register it again under its name, or let another version serve", self.version.spec.model),
            )
        })
    }

    fn concluded(&self, report: &EvaluationReport) -> Plan<ModelVersionStatus> {
        let found = ValidationStatus {
            verdict: report.verdict,
            message: report.message.clone(),
            rows: i64::try_from(report.rows).unwrap_or(i64::MAX),
            metrics: report.metrics.iter().map(metric).collect(),
            champion: report.champion.clone(),
            baseline: report.baseline.as_ref().map(stored),
            report: report.report.as_ref().map(stored),
        };
        let status = self.judged(found);
        let note = match report.verdict {
            Verdict::Pass => Note::normal("ValidationPassed", &report.message),
            Verdict::Fail => Note::warning("ValidationFailed", &report.message),
            Verdict::Inconclusive => Note::warning("ValidationInconclusive", &report.message),
        };
        Plan {
            notes: vec![note],
            ..Plan::status_only(status)
        }
    }
}

fn stored(tree: &Tree) -> Stored {
    Stored {
        uri: Address(tree.uri.clone()),
        digest: tree.digest.clone(),
    }
}

fn metric(result: &MetricResult) -> MetricStatus {
    MetricStatus {
        name: result.name.clone(),
        segment: result.segment.clone(),
        rows: i64::try_from(result.rows).unwrap_or(i64::MAX),
        value: result.value.and_then(Decimal::from_f64),
        lower: result
            .interval
            .and_then(|interval| Decimal::from_f64(interval[0])),
        upper: result
            .interval
            .and_then(|interval| Decimal::from_f64(interval[1])),
        champion: result.champion.and_then(Decimal::from_f64),
        verdict: result.verdict,
    }
}
