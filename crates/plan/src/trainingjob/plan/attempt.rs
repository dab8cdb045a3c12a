//! How the current attempt stands, told from its Job and its pods.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use windlass_api::{Attempt, labels};

use super::Reconcile;
use crate::jobs::{self, JobState};
use crate::trainingjob::children;

/// How the current attempt stands.
pub(super) enum AttemptState<'a> {
    /// None has been started, or the last one's end is recorded.
    None,
    /// It was started, and its Job is not there: somebody took it away.
    Gone,
    /// Its Job is there and has not ended.
    Running(&'a Job),
    /// Its Job has ended, and its pods are still to be seen to.
    Settling,
    /// Its Job ended well.
    Succeeded(&'a Job),
    /// Its Job failed.
    Failed(&'a Job),
}

impl Reconcile<'_> {
    pub(super) fn attempt(&self) -> AttemptState<'_> {
        let Some(number) = self.before.attempt else {
            return AttemptState::None;
        };
        if self
            .before
            .attempts
            .iter()
            .any(|attempt| attempt.number == number && attempt.ended.is_some())
        {
            return AttemptState::None;
        }
        let name = children::job_name(self.job, number);
        match self
            .observed
            .children
            .iter()
            .find(|child| child.name_any() == name)
        {
            None => AttemptState::Gone,
            Some(child) => match jobs::state(child, self.pods_of(number), self.now) {
                JobState::Complete => AttemptState::Succeeded(child),
                // Its pods were told to end.
                JobState::Failed if child.metadata.deletion_timestamp.is_some() => {
                    AttemptState::Running(child)
                }
                JobState::Failed => AttemptState::Failed(child),
                JobState::Running => AttemptState::Running(child),
                JobState::Settling => AttemptState::Settling,
            },
        }
    }

    /// What is written down of the current attempt.
    pub(super) fn current(&self) -> Option<&Attempt> {
        let mut attempts = self.before.attempts.iter();
        attempts.find(|attempt| Some(attempt.number) == self.before.attempt)
    }

    pub(super) fn pods_of(&self, attempt: i32) -> impl Iterator<Item = &Pod> {
        self.pods
            .iter()
            .copied()
            .filter(move |pod| is_of(pod, attempt))
    }

    /// The pods of the Job of this name.
    pub(super) fn pods_of_job(&self, name: &str) -> impl Iterator<Item = &Pod> {
        self.pods.iter().copied().filter(move |pod| {
            pod.labels()
                .get(jobs::NAME_LABEL)
                .is_some_and(|of| of == name)
        })
    }
}

pub(super) fn is_of(pod: &Pod, attempt: i32) -> bool {
    pod.labels()
        .get(labels::ATTEMPT)
        .is_some_and(|label| *label == attempt.to_string())
}
