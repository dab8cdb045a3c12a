//! The Job that digests the files of a version whose manifest names no digest.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::PodSpec;
use kube::ResourceExt;
use windlass_api::ModelVersion;
use windlass_api::agent::paths;

use super::children::labels_of;
use crate::agent_job::{Terms, agent_job};
use crate::pods::{self, Agent, flag};
use crate::storage;

/// What such a Job is for, as its label says.
pub const ROLE: &str = "registration";

/// The volume that an image is, in which the files lie.
const VOLUME: &str = "windlass-model-image";
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
    let image = uri.image();
    let mut arguments = vec!["digest".to_owned(), uri.0.clone()];
    if image.is_some() {
        flag(&mut arguments, "mounted", paths::IMAGE);
    }
    let mut container = pods::agent_container(&mut spec, pods::AGENT, agent, arguments);
    pods::mount_claims(&mut spec, &mut container, [uri], []);
    if let Some(image) = image {
        pods::mount_image(&mut spec, &mut container, VOLUME, image, paths::IMAGE);
    }
    storage::run_as(&mut spec, agent.storage);
    let terms = Terms {
        name: job_name(version),
        role: ROLE,
        labels: labels_of(version),
        retries: RETRIES,
        max_seconds: MAX_SECONDS,
    };
    agent_job(version, spec, container, terms)
}
