//! The Job that checks the data before a worker is started.

use std::collections::BTreeSet;

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::PodSpec;
use kube::ResourceExt;
use windlass_api::{Address, ModelVersion, Reuse, TrainingJob};

use super::{labelled, meta, run_address};
use crate::pods::{self, Agent, flag};
use crate::{reports, storage, template};

/// How often a check is repeated that did not come to a verdict.
const RETRIES: i32 = 3;

/// Name of the Job.
pub fn job_name(job: &TrainingJob) -> String {
    format!("{}-check", job.name_any())
}

/// Whether anything is to be checked, or only digested: what is reused where nothing has changed has to be known by digest.
pub fn is_needed(job: &TrainingJob) -> bool {
    let spec = &job.spec;
    let mut reuse = spec.steps.iter().map(|step| step.reuse).chain([spec.reuse]);
    let is_digested = !spec.inputs.is_empty() && reuse.any(|reuse| reuse == Reuse::IfUnchanged);
    is_digested || spec.inputs.iter().any(|input| !input.checks.is_empty())
}

/// A Job of one pod, without any device, that digests the inputs and checks them.
pub fn check_job(job: &TrainingJob, champion: Option<&ModelVersion>, agent_image: &str) -> Job {
    let mut spec = PodSpec::default();
    let agent = Agent {
        image: agent_image,
        storage: job.spec.storage.as_ref(),
    };
    let profiles = profiles_address(job);
    let references = references(job, champion);
    let arguments = arguments(job, &references, profiles.as_ref());
    let mut container = pods::agent_container(&mut spec, pods::AGENT, agent, arguments);
    let read: Vec<&Address> = job
        .spec
        .inputs
        .iter()
        .map(|input| &input.uri)
        .chain(references.iter().map(|(_, address)| *address))
        .collect();
    pods::mount_claims(&mut spec, &mut container, read, profiles.iter());
    spec.containers.push(container);
    storage::run_as(&mut spec, agent.storage);
    spec.restart_policy = Some("Never".to_owned());
    template::harden(&mut spec);
    reports::limit(&mut spec);
    let metadata = meta(job, job_name(job), None);
    Job {
        spec: Some(JobSpec {
            backoff_limit: Some(RETRIES),
            pod_failure_policy: Some(pods::ignore_disruption_and_fail_for_good(pods::AGENT)),
            template: labelled(None, &metadata, spec),
            ..JobSpec::default()
        }),
        metadata,
        status: None,
    }
}

/// Inputs that are compared with the champion's, each with the profile that it is compared with.
fn references<'a>(
    job: &TrainingJob,
    champion: Option<&'a ModelVersion>,
) -> Vec<(String, &'a Address)> {
    let compared: BTreeSet<&str> = compared(job).collect();
    champion
        .iter()
        .flat_map(|champion| &champion.spec.inputs)
        .filter(|input| compared.contains(input.name.as_str()))
        .filter_map(|input| Some((input.name.clone(), &input.profile.as_ref()?.uri)))
        .collect()
}

fn compared(job: &TrainingJob) -> impl Iterator<Item = &str> {
    job.spec
        .inputs
        .iter()
        .filter(|input| {
            let mut checks = input.checks.iter();
            checks.any(|check| check.same_distribution_as.is_some())
        })
        .map(|input| input.name.as_str())
}

/// Where the profiles of inputs go, which the next training's are compared with.
fn profiles_address(job: &TrainingJob) -> Option<Address> {
    compared(job).next()?;
    let output = job.spec.output.as_ref()?;
    Some(run_address(job, &output.uri).join("data"))
}

fn arguments(
    job: &TrainingJob,
    references: &[(String, &Address)],
    profiles: Option<&Address>,
) -> Vec<String> {
    let mut arguments = vec!["check".to_owned()];
    let mut add = |name: &str, value: String| flag(&mut arguments, name, value);
    for input in &job.spec.inputs {
        add("input", format!("{}={}", input.name, input.uri));
        if let Some(format) = input.format {
            add(
                "input-format",
                format!("{}={}", input.name, format.as_str()),
            );
        }
        for check in &input.checks {
            let check = serde_json::to_string(check).expect("a check always serializes");
            add("check", format!("{}={check}", input.name));
        }
    }
    for (name, address) in references {
        add("reference", format!("{name}={address}"));
    }
    if let Some(profiles) = profiles {
        add("profile-to", profiles.0.clone());
    }
    arguments
}
