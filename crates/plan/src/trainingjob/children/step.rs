//! The Job of a step, and its fingerprint.

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use kube::ResourceExt;
use windlass_api::agent::paths;
use windlass_api::{Address, InputRecord, TrainingJob, TrainingStep, labels};

use super::{
    TrainersAgent, finish, inputs, install_agent, labelled, meta, reading, run_address,
    run_by_agent,
};
use crate::digest;
use crate::pods::{self, flag};

/// The variable that has the pod's name.
const POD_NAME: &str = "WINDLASS_POD_NAME";

/// Name of the Job of a step.
pub fn step_job_name(job: &TrainingJob, step: &str) -> String {
    format!("{}-{step}", job.name_any())
}

/// The folder that each try of a step writes below, to one of its pod's name: no two tries write to the same, not even
/// one whose node is thought to be lost.
fn output(job: &TrainingJob, step: &TrainingStep) -> Option<Address> {
    let output = job.spec.output.as_ref()?;
    Some(run_address(job, &output.uri).join(&format!("steps/{}/$({POD_NAME})", step.name)))
}

/// The digest of what a step is made from, where that of each thing that it reads is known: the same gives the same.
pub fn step_fingerprint(
    job: &TrainingJob,
    step: &TrainingStep,
    records: &[InputRecord],
) -> Option<String> {
    let digest_of = |name: &String| {
        let mut records = records.iter();
        let record = records.find(|record| record.name == *name)?;
        Some((name.clone(), record.digest.clone()))
    };
    let read: Option<Vec<(String, String)>> = step.inputs.iter().map(digest_of).collect();
    // By the names under which the program finds them; in which order they are named makes no difference.
    let mut read = read?;
    read.sort();
    let spec = &job.spec;
    Some(digest::of(&serde_json::json!({
        "template": step.template, "source": spec.source, "parameters": spec.parameters, "window": spec.window, "read": read,
    })))
}

/// A Job of one pod, which is repeated as often as the step says. `records` are the inputs that were checked, and what
/// other steps wrote.
pub fn step_job(
    job: &TrainingJob,
    step: &TrainingStep,
    template: PodTemplateSpec,
    agent: &TrainersAgent<'_>,
    records: &[InputRecord],
) -> Job {
    let mut spec = template.spec.unwrap_or_default();
    install_agent(&mut spec, agent.image);
    let names: Vec<&str> = step.inputs.iter().map(String::as_str).collect();
    let output = output(job, step);
    let program = &mut spec.containers[0];
    let program_name = program.name.clone();
    program
        .env
        .get_or_insert_default()
        .insert(0, pods::field_variable(POD_NAME, "metadata.name"));
    let mut arguments = arguments(job, &names, records, output.as_ref());
    inputs::use_cache(job, &mut spec, &mut arguments, agent, (&names, records));
    let read = reading::addresses(job, &names, records);
    run_by_agent(job, &mut spec, arguments, &read, output.as_slice());
    finish(job, &mut spec);

    let mut metadata = meta(job, step_job_name(job, &step.name), None);
    metadata
        .labels
        .get_or_insert_default()
        .insert(labels::STEP.to_owned(), step.name.clone());
    Job {
        spec: Some(JobSpec {
            backoff_limit: Some(step.retries),
            pod_failure_policy: Some(pods::ignore_disruption_and_fail_for_good(&program_name)),
            // Never two tries at the same time.
            pod_replacement_policy: Some("Failed".to_owned()),
            template: labelled(template.metadata, &metadata, spec),
            ..JobSpec::default()
        }),
        metadata,
        status: None,
    }
}

fn arguments(
    job: &TrainingJob,
    names: &[&str],
    records: &[InputRecord],
    output: Option<&Address>,
) -> Vec<String> {
    let mut arguments = vec!["run".to_owned()];
    reading::tell(&mut arguments, job, names, records);
    super::tell_parameters(&mut arguments, job);
    flag(&mut arguments, "work-dir", paths::WORK);
    super::tell_window(&mut arguments, job);
    if let Some(output) = output {
        flag(&mut arguments, "output", &output.0);
    }
    arguments
}
