//! That a version whose manifest names no digest is on record with what lay at its address as it was registered.
//!
//! ```text
//!   (made) ── an agent reads all files, in a Job ──> status.artifact ──> validated as any other
//!                       │ failed
//!                       └──> Stalled, until somebody deletes the Job
//! ```
//!
//! Until then it is no version of anything: it is not judged, not shown and not served, and nothing of it is recorded.

use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use windlass_api::agent::{Report, Tree};
use windlass_api::{ArtifactStatus, ModelVersionStatus};

use super::{Reconcile, Say};
use crate::conditions::Truth;
use crate::modelversion::registration;
use crate::work::{Work, work};
use crate::{Child, Doomed, Note, Plan, Problem, Step, pods};

/// The phase, and the reason of the conditions, until it is on record.
const REGISTERING: &str = "Registering";

impl Reconcile<'_> {
    /// What is to be done until the digest of its files is known.
    pub(super) fn register(&self) -> Plan<ModelVersionStatus> {
        let job = match self.observed.registration.as_deref() {
            None => {
                let started = self.start_registration();
                return started.unwrap_or_else(|problem| self.stalled(&problem));
            }
            Some(going) if going.metadata.deletion_timestamp.is_some() => {
                return Plan::status_only(self.registering(&at_work(going)));
            }
            Some(job) => job,
        };
        let all = pods::in_order(&self.observed.registration_pods);
        let read = |report| match report {
            Report::Fetch(report) => Some(report.tree),
            Report::Training(_)
            | Report::Evaluation(_)
            | Report::Drift(_)
            | Report::Check(_)
            | Report::Delete(_)
            | Report::Labels(_)
            | Report::Publish(_)
            | Report::Failure(_) => None,
        };
        match work(job, &all, self.now, "NotDigested", read) {
            Work::Done(tree) => self.on_record(&tree),
            Work::UnderWay(again) => Plan {
                again,
                ..Plan::status_only(self.registering(&at_work(job)))
            },
            Work::HeldUp(problem) => self.stalled(&problem),
            Work::Unread => Plan {
                steps: vec![Step::Delete(Doomed::Job(job.name_any()))],
                ..Plan::status_only(self.registering(&at_work(job)))
            },
            Work::Failed(Problem { reason, message }) => {
                let name = job.name_any();
                let message = format!(
                    "spec.artifact.uri: its files were not digested: {message}. Mend it, then delete the Job {name} to try again"
                );
                self.stalled(&Problem::new(&reason, message))
            }
        }
    }

    fn start_registration(&self) -> Result<Plan<ModelVersionStatus>, Problem> {
        let namespace = self.version.namespace().unwrap_or_default();
        let named = [("spec.artifact.uri", &self.version.spec.artifact.uri)];
        pods::check_claims(named, &self.observed.claims, &namespace)?;
        let job = registration::registration_job(self.version, &self.observed.agent_image);
        let status = self.registering(&at_work(&job));
        Ok(Plan {
            steps: vec![Step::Apply(Child::Job(Box::new(job)))],
            ..Plan::status_only(status)
        })
    }

    fn on_record(&self, tree: &Tree) -> Plan<ModelVersionStatus> {
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let found = ArtifactStatus {
            digest: tree.digest.clone(),
            files: number(tree.files),
            bytes: number(tree.bytes),
        };
        let message = format!(
            "{} files with {} bytes have the digest {}",
            found.files, found.bytes, found.digest
        );
        let status = ModelVersionStatus {
            artifact: Some(found),
            ..self.registering(&message)
        };
        Plan {
            notes: vec![Note::normal("Digested", message)],
            ..Plan::status_only(status)
        }
    }

    fn registering(&self, message: &str) -> ModelVersionStatus {
        self.status(&Say {
            phase: REGISTERING,
            ready: false,
            reconciling: true,
            stalled: false,
            validated: Truth::Unknown,
            reason: REGISTERING,
            message,
        })
    }
}

fn at_work(job: &Job) -> String {
    format!("Job {} digests its files", job.name_any())
}
