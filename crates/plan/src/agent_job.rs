//! The Job in which an agent works for an object alone: it digests the files of a version, deletes them, or shows it or a
//! training elsewhere.

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{Container, PodSpec, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;

use crate::{pods, reports, template};

/// What sets such Jobs apart.
pub(crate) struct Terms {
    /// Its name.
    pub name: String,
    /// What it is for, as its label says.
    pub role: &'static str,
    /// Its further labels.
    pub labels: Vec<(&'static str, String)>,
    /// How often it is tried again where that may help.
    pub retries: i32,
    /// Seconds that it may take.
    pub max_seconds: i64,
}

/// A Job of one pod, in which this container of the agent's is the only one.
pub(crate) fn agent_job(
    owner: &impl Resource<DynamicType = ()>,
    mut spec: PodSpec,
    container: Container,
    terms: Terms,
) -> Job {
    spec.containers.push(container);
    spec.restart_policy = Some("Never".to_owned());
    template::harden(&mut spec);
    reports::limit(&mut spec);
    let more = terms.labels.iter();
    let more: Vec<(&str, &str)> = more.map(|(name, value)| (*name, value.as_str())).collect();
    let metadata = pods::child_meta(owner, terms.name, terms.role, &more);
    Job {
        spec: Some(JobSpec {
            backoff_limit: Some(terms.retries),
            pod_failure_policy: Some(pods::ignore_disruption_and_fail_for_good(pods::AGENT)),
            active_deadline_seconds: Some(terms.max_seconds),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: metadata.labels.clone(),
                    ..ObjectMeta::default()
                }),
                spec: Some(spec),
            },
            ..JobSpec::default()
        }),
        metadata,
        status: None,
    }
}
