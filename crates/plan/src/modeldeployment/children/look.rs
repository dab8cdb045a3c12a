//! The Job that holds labels against what both versions of a roll-out have predicted.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::PodSpec;
use kube::ResourceExt;
use windlass_api::{Address, LabelledSeen, ModelDeployment, PredictionLabels, labels};

use crate::agent_job::{Terms, agent_job};
use crate::modeldeployment::labelled::{ROLE, job_name};
use crate::pods::{self, Agent, flag};
use crate::storage;

/// Seconds that a look may take.
const MAX_SECONDS: i64 = 1800;

/// One look at labels.
pub struct LabelsLook<'a> {
    /// For whom.
    pub deployment: &'a ModelDeployment,
    /// What is known so far.
    pub seen: &'a LabelledSeen,
    /// Where labels lie.
    pub labels: &'a PredictionLabels,
    /// Where predictions are logged.
    pub payloads: &'a Address,
    /// Names of the ModelVersions: that which is tried, and that which serves.
    pub versions: [&'a str; 2],
    /// Predictions that were made from then on are not all logged yet, or too young.
    pub end: Timestamp,
    /// The pod that serves, of which this one has the account.
    pub serving: &'a PodSpec,
    /// The agent's image.
    pub agent_image: &'a str,
}

/// The Job. It runs as what serves does, by whose account the payload log is written.
pub fn labels_job(look: &LabelsLook<'_>) -> Job {
    let deployment = look.deployment;
    let mut spec = PodSpec {
        service_account_name: look.serving.service_account_name.clone(),
        service_account: look.serving.service_account.clone(),
        image_pull_secrets: look.serving.image_pull_secrets.clone(),
        ..PodSpec::default()
    };
    let agent = Agent {
        image: look.agent_image,
        storage: deployment.spec.storage.as_ref(),
    };
    let mut container = pods::agent_container(&mut spec, pods::AGENT, agent, arguments(look));
    pods::mount_claims(
        &mut spec,
        &mut container,
        [look.payloads, &look.labels.uri],
        [],
    );
    storage::run_as(&mut spec, agent.storage);
    let terms = Terms {
        name: job_name(deployment, look.seen),
        role: ROLE,
        labels: vec![
            (labels::DEPLOYMENT, deployment.name_any()),
            (labels::MODEL, deployment.spec.model.clone()),
        ],
        // The next look is another Job.
        retries: 0,
        max_seconds: MAX_SECONDS,
    };
    agent_job(deployment, spec, container, terms)
}

fn arguments(look: &LabelsLook<'_>) -> Vec<String> {
    let PredictionLabels {
        uri,
        format,
        column,
        join_on,
        mature_after: _,
        min_samples: _,
    } = look.labels;
    let mut arguments = vec![ROLE.to_owned()];
    let mut add = |name: &str, value: String| flag(&mut arguments, name, value);
    add("payloads", look.payloads.0.clone());
    for version in look.versions {
        add("version", version.to_owned());
    }
    for span in look.seen.spans.iter().filter(|span| span.start < look.end) {
        add("span-start", span.start.to_string());
    }
    add("end", look.end.to_string());
    add("labels", uri.0.clone());
    add("labels-format", format.as_str().to_owned());
    add("label", column.clone());
    add("join-on", join_on.clone());
    arguments
}
