//! A model that was made from the same is not made again.

use kube::ResourceExt;
use windlass_api::{InputRecord, Reuse, TrainingJobStatus};

use super::Reconcile;
use crate::Plan;
use crate::trainingjob::children;

impl Reconcile<'_> {
    /// The end of a job whose model is there already; nothing where it has to be trained. `read` is what the workers read.
    pub(super) fn reused(&self, read: &[InputRecord]) -> Option<Plan<TrainingJobStatus>> {
        let spec = &self.job.spec;
        let has_begun = self.before.attempt.is_some() || {
            let first = children::job_name(self.job, 1);
            let mut children = self.observed.children.iter();
            children.any(|child| child.name_any() == first)
        };
        let is_known = read.len() == spec.read_by_workers().len();
        if spec.reuse != Reuse::IfUnchanged || has_begun || !is_known {
            return None;
        }
        let asked = children::fingerprint(self.job, read, &[]);
        let versions = self.observed.versions.iter();
        let same = versions
            .filter(|version| version.metadata.deletion_timestamp.is_none())
            .filter(|version| !version.is_retiring())
            .filter(|version| version.spec.request_fingerprint.as_ref() == Some(&asked))
            // What is good enough is no part of the fingerprint.
            .filter(|version| version.spec.validation == spec.validation)
            .filter(|version| version.spec.approval == spec.approval)
            .max_by_key(|version| version.spec.version)?;
        let name = same.name_any();
        let by = same.spec.trained_by.as_ref();
        let by = by.map_or(String::new(), |by| format!(" of TrainingJob {}", by.name));
        let message = format!("version {name}{by} was made from the same; nothing was trained");
        let mut plan = self.ended_for("Reused", Some(name), &message);
        plan.status.fingerprint.clone_from(&same.spec.fingerprint);
        Some(plan)
    }
}
