//! How the work of an agent stands that is done in a Job of its own, and that nothing else of the Job is asked for.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use windlass_api::agent::Report;

use crate::jobs::{self, JobState, Without};
use crate::{Problem, pods};

/// How it stands.
pub(crate) enum Work<T> {
    /// It is done, and this is what the agent reported.
    Done(T),
    /// It is under way; it is to be looked at again after this time, where nothing else may tell.
    UnderWay(Option<Duration>),
    /// Something holds it up that a person has to mend.
    HeldUp(Problem),
    /// It is done, and its report was gone before anybody read it.
    Unread,
    /// It has failed for good: the agent's reason and words, or those of the Job.
    Failed(Problem),
}

/// How the work of a Job stands, of which `read` takes the report. `failed` is the reason where the agent left none.
pub(crate) fn work<T>(
    job: &Job,
    all: &[&Pod],
    now: Timestamp,
    failed: &str,
    read: impl Fn(Report) -> Option<T>,
) -> Work<T> {
    let uid = job.uid().unwrap_or_default();
    let mut its = all.to_vec();
    its.retain(|pod| {
        let mut owners = pod.metadata.owner_references.iter().flatten();
        owners.any(|owner| owner.uid == uid)
    });
    let mut reports = its.iter().filter_map(|pod| pods::report(pod, pods::AGENT));
    if let Some(done) = reports.find_map(read) {
        return Work::Done(done);
    }
    match jobs::state(job, its.iter().copied(), now) {
        JobState::Settling => Work::UnderWay(Some(Duration::from_secs(1))),
        JobState::Complete => Work::Unread,
        JobState::Failed => {
            let failures = its.iter().filter(|pod| !pods::is_disrupted(pod));
            let failure = failures.filter_map(|pod| pods::failure(pod)).next_back();
            Work::Failed(match failure {
                Some(failure) => Problem::new(&format!("{:?}", failure.reason), failure.message),
                None => Problem::new(failed, jobs::failed_message(job)),
            })
        }
        JobState::Running => {
            if let Some(problem) = its.iter().copied().find_map(pods::problem) {
                return Work::HeldUp(problem);
            }
            match jobs::without_pods(job, its.iter().copied(), now) {
                Some(Without::Refused(problem)) => Work::HeldUp(problem),
                Some(Without::Awaited(left)) => Work::UnderWay(Some(left)),
                None => Work::UnderWay(None),
            }
        }
    }
}
