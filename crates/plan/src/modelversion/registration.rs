//! The Job that digests the files of a version whose manifest names no digest.

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{PodSpec, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use windlass_api::{ModelVersion, labels};

use crate::pods::{self, Agent};
use crate::{reports, storage, template};

/// What such a Job is for, as its label says.
pub const ROLE: &str = "registration";

/// Seconds that it may take.
const MAX_SECONDS: i64 = 6 * 3600;
/// How often it is tried again where a store does not answer.
const RETRIES: i32 = 3;

/// Its name.
pub(super) fn job_name(version: &ModelVersion) -> String {
    format!("{}-digest", version.name_any())
}

/// It reads each file once and keeps none, as the account and with the keys that the version's own storage names.
pub(super) fn registration_job(version: &ModelVersion, agent_image: &str) -> Job {
    let mut spec = PodSpec::default();
    let agent = Agent {
        image: agent_image,
        storage: version.spec.storage.as_ref(),
    };
    let uri = &version.spec.artifact.uri;
    let arguments = vec!["digest".to_owned(), uri.0.clone()];
    let mut container = pods::agent_container(&mut spec, pods::AGENT, agent, arguments);
    pods::mount_claims(&mut spec, &mut container, [uri], []);
    spec.containers.push(container);
    storage::run_as(&mut spec, agent.storage);
    spec.restart_policy = Some("Never".to_owned());
    template::harden(&mut spec);
    reports::limit(&mut spec);
    let name = version.name_any();
    let more = [
        (labels::MODEL, version.spec.model.as_str()),
        (labels::VERSION, name.as_str()),
    ];
    let metadata = pods::child_meta(version, job_name(version), ROLE, &more);
    Job {
        spec: Some(JobSpec {
            backoff_limit: Some(RETRIES),
            pod_failure_policy: Some(pods::ignore_disruption_and_fail_for_good(pods::AGENT)),
            active_deadline_seconds: Some(MAX_SECONDS),
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
