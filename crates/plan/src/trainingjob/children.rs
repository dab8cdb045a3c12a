//! Builders of a TrainingJob's children.

mod check;
mod inputs;
mod reading;
mod rendezvous;
mod step;
mod version;

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{Container, PodSpec, PodTemplateSpec, Service, ServiceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use windlass_api::agent::{METRICS_PORT, paths};
use windlass_api::{Address, Framework, InputRecord, TrainingJob, labels};

use super::gang::Backend;
use super::input_cache::InputCache;
use crate::pods::{self, Agent, flag};
use crate::{Child, Problem, digest, reports, storage, template};

pub use check::{check_job, is_needed as needs_check, job_name as check_name};
pub use reading::{read_by_workers, records};
pub use step::{step_fingerprint, step_job, step_job_name};
pub use version::{Trained, fingerprint, inputs_read, model_version};

/// Name of the container that copies the agent in.
pub const INSTALL: &str = "windlass-install";

/// Names of the containers that run the agent and nothing of the user's.
pub const AGENT_ALONE: [&str; 2] = [INSTALL, inputs::INPUTS];

/// Name of the Job of an attempt.
pub fn job_name(job: &TrainingJob, attempt: i32) -> String {
    format!("{}-{attempt}", job.name_any())
}

/// Name of the headless Service.
pub fn service_name(job: &TrainingJob) -> String {
    format!("{}-workers", job.name_any())
}

/// What this job alone writes below an address; one of the same name that is made later writes elsewhere.
fn run_address(job: &TrainingJob, below: &Address) -> Address {
    let uid = job.uid().unwrap_or_default();
    let uid = uid.get(..8).unwrap_or(&uid);
    below.join(&format!("{}-{uid}", job.name_any()))
}

/// What is wrong with where a trainer says that its output lies: it shares a container with the agent, and can write what
/// it likes into the agent's report. Files of others do not become its own by that.
pub fn output_elsewhere(job: &TrainingJob, uri: &str) -> Option<Problem> {
    let own = run_address(job, &job.spec.output.as_ref()?.uri).join("");
    let is_below = uri.starts_with(&own.0) && !uri.split('/').any(|part| part == "..");
    (!is_below).then(|| {
        let message = format!(
            "its output is reported to lie at {uri}, which is not below {own}, where this job alone writes: nothing of it is taken. Look for what writes the agent's report in its place"
        );
        Problem::new("OutputElsewhere", &message)
    })
}

/// Where the model of an attempt goes.
pub fn model_address(job: &TrainingJob, attempt: i32) -> Option<Address> {
    let output = job.spec.output.as_ref()?;
    Some(run_address(job, &output.uri).join(&format!("{attempt}/model")))
}

fn child_labels(job: &TrainingJob) -> Vec<(&'static str, String)> {
    vec![
        (labels::TRAINING_JOB, job.name_any()),
        (labels::MODEL, job.spec.model.clone().unwrap_or_default()),
    ]
}

fn meta(job: &TrainingJob, name: String, attempt: Option<i32>) -> ObjectMeta {
    let mut more = child_labels(job);
    if let Some(attempt) = attempt {
        more.push((labels::ATTEMPT, attempt.to_string()));
    }
    let more: Vec<(&str, &str)> = more
        .iter()
        .map(|(key, value)| (*key, value.as_str()))
        .collect();
    pods::child_meta(job, name, "training", &more)
}

/// The headless Service that gives workers their host names; only a gang that has to meet needs one.
pub fn service(job: &TrainingJob) -> Option<Service> {
    let needed = job.spec.workers.replicas > 1 || job.spec.framework != Framework::Plain;
    needed.then(|| Service {
        metadata: meta(job, service_name(job), None),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            publish_not_ready_addresses: Some(true),
            selector: Some(
                [
                    (labels::TRAINING_JOB.to_owned(), job.name_any()),
                    (labels::ROLE.to_owned(), "training".to_owned()),
                ]
                .into(),
            ),
            ..ServiceSpec::default()
        }),
        status: None,
    })
}

/// What the gang's backend needs beside the Job of an attempt.
pub fn beside(job: &TrainingJob, attempt: i32, backend: &Backend) -> Option<Child> {
    let metadata = meta(job, job_name(job, attempt), Some(attempt));
    backend.children(job, &metadata)
}

/// The agent that runs a trainer or the program of a step.
#[derive(Clone, Copy, Debug)]
pub struct TrainersAgent<'a> {
    /// Its image.
    pub image: &'a str,
    /// The cache that it reads inputs from, where it has one.
    pub input_cache: Option<&'a InputCache>,
}

/// What an attempt is made with, beside what its job says.
pub struct MadeWith<'a> {
    /// The agent.
    pub agent: TrainersAgent<'a>,
    /// The inputs as they were checked, and what steps wrote; empty where nothing is.
    pub inputs: &'a [InputRecord],
    /// Who schedules the gang.
    pub backend: &'a Backend,
}

/// The Job of an attempt.
pub fn indexed_job(
    job: &TrainingJob,
    attempt: i32,
    worker: &PodTemplateSpec,
    made_with: &MadeWith<'_>,
) -> Job {
    let mut worker = worker.clone();
    let mut spec = worker.spec.take().unwrap_or_default();
    wrap_trainer(job, attempt, &mut spec, made_with);
    rendezvous::rendezvous(job, attempt, &mut spec);
    finish(job, &mut spec);
    let metadata = meta(job, job_name(job, attempt), Some(attempt));
    let mut made = Job {
        spec: Some(JobSpec {
            completion_mode: Some("Indexed".to_owned()),
            completions: Some(job.spec.workers.replicas),
            parallelism: Some(job.spec.workers.replicas),
            // A worker is never replaced by itself: the gang is repeated whole, by us.
            backoff_limit: Some(0),
            // A preempted pod is deleted, and its conditions with it: the Job has to remember that it was disrupted.
            pod_failure_policy: Some(pods::fail_on_disruption()),
            pod_replacement_policy: Some("Failed".to_owned()),
            template: labelled(worker.metadata.take(), &metadata, spec),
            ..JobSpec::default()
        }),
        metadata,
        status: None,
    };
    made.labels_mut()
        .insert(labels::TEMPLATE.to_owned(), template_of(job));
    made_with.backend.attach(job, &mut made);
    made
}

/// By which the template of a job's workers is told from another one.
fn template_of(job: &TrainingJob) -> String {
    digest::short(&job.spec.workers.template)
}

/// Whether the Job of an attempt was made from another template than its job has now. Of one that does not say it is not
/// known.
pub fn is_made_otherwise(job: &TrainingJob, made: &Job) -> bool {
    let from = made.labels().get(labels::TEMPLATE);
    from.is_some_and(|from| *from != template_of(job))
}

/// The agent's image that a Job was made with.
pub fn agent_image(made: &Job) -> Option<String> {
    made.spec
        .as_ref()?
        .template
        .spec
        .as_ref()?
        .init_containers
        .as_ref()?
        .iter()
        .find(|container| container.name == INSTALL)?
        .image
        .clone()
}

/// The template of a Job's pods: they carry the labels of their Job with their own.
fn labelled(own: Option<ObjectMeta>, of_job: &ObjectMeta, spec: PodSpec) -> PodTemplateSpec {
    let mut metadata = own.unwrap_or_default();
    metadata
        .labels
        .get_or_insert_default()
        .extend(of_job.labels.clone().unwrap_or_default());
    PodTemplateSpec {
        metadata: Some(metadata),
        spec: Some(spec),
    }
}

/// What every pod has once its containers are there.
fn finish(job: &TrainingJob, spec: &mut PodSpec) {
    storage::run_as(spec, job.spec.storage.as_ref());
    spec.restart_policy = Some("Never".to_owned());
    template::harden(spec);
    reports::limit(spec);
}

/// Puts the agent in front of the trainer's own command.
fn wrap_trainer(job: &TrainingJob, attempt: i32, spec: &mut PodSpec, made_with: &MadeWith<'_>) {
    install_agent(spec, made_with.agent.image);
    let names = job.spec.read_by_workers();
    let output = model_address(job, attempt);
    let checkpoint = job.spec.checkpoint.as_ref();
    let checkpoints = checkpoint.map(|checkpoint| run_address(job, &checkpoint.uri));
    let mut arguments = arguments(job, attempt, &names, made_with.inputs);
    if let Some(output) = &output {
        flag(&mut arguments, "output", &output.0);
    }
    if let (Some(checkpoint), Some(address)) = (checkpoint, &checkpoints) {
        flag(&mut arguments, "checkpoint", &address.0);
        flag(&mut arguments, "checkpoint-every", &checkpoint.every.0);
        flag(
            &mut arguments,
            "checkpoint-keep",
            checkpoint.keep.to_string(),
        );
    }
    let to_read = (names.as_slice(), made_with.inputs);
    inputs::use_cache(job, spec, &mut arguments, &made_with.agent, to_read);
    let read = reading::addresses(job, &names, made_with.inputs);
    let written: Vec<Address> = output.into_iter().chain(checkpoints).collect();
    run_by_agent(job, spec, arguments, &read, &written);
}

/// Brings the agent's program into a pod.
fn install_agent(spec: &mut PodSpec, image: &str) {
    let mut install = pods::agent_container(
        spec,
        INSTALL,
        Agent {
            image,
            storage: None,
        },
        vec!["install".to_owned(), paths::BIN.to_owned()],
    );
    pods::mount_empty(spec, &mut install, "windlass-bin", paths::BIN, false);
    ask_for_no_more(spec, &mut install);
    spec.init_containers
        .get_or_insert_default()
        .insert(0, install);
}

/// A queue that knows of GPUs alone admits no pod that asks for memory: the agent asks for what the trainer does.
fn ask_for_no_more(spec: &PodSpec, agent: &mut Container) {
    let asked = |name: &str| {
        let mut resources = spec
            .containers
            .iter()
            .filter_map(|one| one.resources.as_ref());
        resources.any(|one| {
            let mut lists = one.requests.iter().chain(&one.limits);
            lists.any(|list| list.contains_key(name))
        })
    };
    agent.resources = agent.resources.take().filter(|resources| {
        let mut requests = resources.requests.iter().flatten();
        requests.all(|(name, _)| asked(name))
    });
}

/// Puts the agent in front of the first container's own command.
fn run_by_agent(
    job: &TrainingJob,
    spec: &mut PodSpec,
    mut arguments: Vec<String>,
    read: &[Address],
    written: &[Address],
) {
    let mut program = spec.containers.remove(0);
    flag(&mut arguments, "grace-period", format!("{}s", grace(spec)));
    arguments.push("--".to_owned());
    arguments.extend(program.command.take().unwrap_or_default());
    arguments.extend(program.args.take().unwrap_or_default());
    program.command = Some(vec![format!("{}/windlass-agent", paths::BIN)]);
    program.args = Some(arguments);
    storage::give_keys(&mut program, job.spec.storage.as_ref());
    pods::mount_empty(spec, &mut program, "windlass-bin", paths::BIN, true);
    pods::mount_empty(spec, &mut program, "windlass-work", paths::WORK, false);
    pods::mount_claims(spec, &mut program, read, written);
    spec.containers.insert(0, program);
}

/// What the agent is told of the job itself.
fn arguments(
    job: &TrainingJob,
    attempt: i32,
    names: &[&str],
    records: &[InputRecord],
) -> Vec<String> {
    let mut arguments = vec!["run".to_owned()];
    reading::tell(&mut arguments, job, names, records);
    tell_parameters(&mut arguments, job);
    let mut add = |name: &str, value: String| flag(&mut arguments, name, value);
    add("attempt", attempt.to_string());
    add("rank", "$(JOB_COMPLETION_INDEX)".to_owned());
    add("world-size", job.spec.workers.replicas.to_string());
    add("work-dir", paths::WORK.to_owned());
    add("progress-listen", format!("0.0.0.0:{METRICS_PORT}"));
    tell_window(&mut arguments, job);
    arguments
}

fn tell_parameters(arguments: &mut Vec<String>, job: &TrainingJob) {
    for (name, value) in &job.spec.parameters {
        flag(arguments, "parameter", format!("{name}={value}"));
    }
}

fn tell_window(arguments: &mut Vec<String>, job: &TrainingJob) {
    if let Some(window) = &job.spec.window {
        flag(arguments, "window-start", window.start.to_string());
        flag(arguments, "window-end", window.end.to_string());
    }
}

/// Seconds that the agent and the trainer have when a pod is stopped: a sixth less than the kubelet waits, at least 1.
fn grace(spec: &PodSpec) -> i64 {
    let kubelet = spec.termination_grace_period_seconds.unwrap_or(30);
    (kubelet - (kubelet / 6).max(1)).max(1)
}
