//! Builders of a TrainingJob's children.

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{
    Container, EnvVar, EnvVarSource, ObjectFieldSelector, PodSchedulingGroup, PodSpec,
    PodTemplateSpec, Service, ServiceSpec,
};
use k8s_openapi::api::scheduling::v1beta1::{
    GangSchedulingPolicy, PodGroup, PodGroupSchedulingPolicy, PodGroupSpec,
};
use kube::ResourceExt;
use windlass_api::agent::paths;
use windlass_api::{
    Address, Artifact, Decimal, Framework, InputRecord, ModelVersion, ModelVersionSpec, TrainedBy,
    TrainingJob, agent, labels,
};

use crate::pods::{self, Agent, flag, variable};
use crate::{digest, reports, storage, template};

const PORT: &str = "29500";
/// Metrics of a training that its record holds; the schema lets no more in.
const KEPT_METRICS: usize = 100;
/// Name of the container that copies the agent in.
const INSTALL: &str = "windlass-install";

/// Name of the Job of an attempt.
pub fn job_name(job: &TrainingJob, attempt: i32) -> String {
    format!("{}-{attempt}", job.name_any())
}

/// Name of the headless Service.
pub fn service_name(job: &TrainingJob) -> String {
    format!("{}-workers", job.name_any())
}

/// Where the model of an attempt goes.
pub fn model_address(job: &TrainingJob, attempt: i32) -> Option<Address> {
    let uid = job.uid().unwrap_or_default();
    let uid = uid.get(..8).unwrap_or(&uid);
    job.spec.output.as_ref().map(|output| {
        output
            .uri
            .join(&format!("{}-{uid}/{attempt}/model", job.name_any()))
    })
}

fn child_labels(job: &TrainingJob) -> Vec<(&'static str, String)> {
    vec![
        (labels::TRAINING_JOB, job.name_any()),
        (labels::MODEL, job.spec.model.clone().unwrap_or_default()),
    ]
}

fn meta(
    job: &TrainingJob,
    name: String,
    attempt: Option<i32>,
) -> k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
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

/// The PodGroup of an attempt: all pods or none.
pub fn pod_group(job: &TrainingJob, attempt: i32) -> PodGroup {
    PodGroup {
        metadata: meta(job, job_name(job, attempt), Some(attempt)),
        spec: PodGroupSpec {
            scheduling_policy: PodGroupSchedulingPolicy {
                gang: Some(GangSchedulingPolicy {
                    min_count: job.spec.workers.replicas,
                }),
                ..PodGroupSchedulingPolicy::default()
            },
            ..PodGroupSpec::default()
        },
        status: None,
    }
}

/// The Job of an attempt.
pub fn indexed_job(
    job: &TrainingJob,
    attempt: i32,
    worker: &PodTemplateSpec,
    agent_image: &str,
    gang: bool,
) -> Job {
    let mut worker = worker.clone();
    let mut spec = worker.spec.take().unwrap_or_default();
    wrap_trainer(job, attempt, &mut spec, agent_image);
    rendezvous(job, attempt, &mut spec);
    storage::run_as(&mut spec, job.spec.storage.as_ref());
    spec.restart_policy = Some("Never".to_owned());
    if gang {
        spec.scheduling_group = Some(PodSchedulingGroup {
            pod_group_name: Some(job_name(job, attempt)),
        });
    }
    template::harden(&mut spec);
    reports::limit(&mut spec);
    let metadata = meta(job, job_name(job, attempt), Some(attempt));
    let mut pod_meta = worker.metadata.take().unwrap_or_default();
    pod_meta
        .labels
        .get_or_insert_default()
        .extend(metadata.labels.clone().unwrap_or_default());
    Job {
        metadata,
        spec: Some(JobSpec {
            completion_mode: Some("Indexed".to_owned()),
            completions: Some(job.spec.workers.replicas),
            parallelism: Some(job.spec.workers.replicas),
            // A worker is never replaced by itself: the gang is repeated whole, by us.
            backoff_limit: Some(0),
            // A preempted pod is deleted, and its conditions with it: the Job has to remember that it was disrupted.
            pod_failure_policy: Some(pods::fail_on_disruption()),
            pod_replacement_policy: Some("Failed".to_owned()),
            template: PodTemplateSpec {
                metadata: Some(pod_meta),
                spec: Some(spec),
            },
            ..JobSpec::default()
        }),
        status: None,
    }
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

/// Whether a Job was made as a gang.
pub fn is_gang(made: &Job) -> bool {
    made.spec
        .as_ref()
        .and_then(|spec| spec.template.spec.as_ref())
        .is_some_and(|spec| spec.scheduling_group.is_some())
}

/// Puts the agent in front of the trainer's own command.
fn wrap_trainer(job: &TrainingJob, attempt: i32, spec: &mut PodSpec, agent_image: &str) {
    let mut install = pods::agent_container(
        spec,
        INSTALL,
        Agent {
            image: agent_image,
            storage: None,
        },
        vec!["install".to_owned(), paths::BIN.to_owned()],
    );
    pods::mount_empty(spec, &mut install, "windlass-bin", paths::BIN, false);
    spec.init_containers
        .get_or_insert_default()
        .insert(0, install);

    let mut trainer = spec.containers.remove(0);
    let mut arguments = vec!["run".to_owned()];
    for input in &job.spec.inputs {
        flag(
            &mut arguments,
            "input",
            format!("{}={}", input.name, input.uri),
        );
        if let Some(format) = input.format {
            flag(
                &mut arguments,
                "input-format",
                format!("{}={}", input.name, format.as_str()),
            );
        }
        for check in &input.checks {
            flag(
                &mut arguments,
                "require-column",
                format!("{}={}", input.name, check.column),
            );
        }
    }
    for (name, value) in &job.spec.parameters {
        flag(&mut arguments, "parameter", format!("{name}={value}"));
    }
    let output = model_address(job, attempt);
    if let Some(output) = &output {
        flag(&mut arguments, "output", &output.0);
    }
    flag(&mut arguments, "attempt", attempt.to_string());
    flag(&mut arguments, "rank", "$(JOB_COMPLETION_INDEX)");
    flag(&mut arguments, "work-dir", paths::WORK);
    if let Some(window) = &job.spec.window {
        flag(&mut arguments, "window-start", window.start.to_string());
        flag(&mut arguments, "window-end", window.end.to_string());
    }
    arguments.push("--".to_owned());
    arguments.extend(trainer.command.take().unwrap_or_default());
    arguments.extend(trainer.args.take().unwrap_or_default());
    trainer.command = Some(vec![format!("{}/windlass-agent", paths::BIN)]);
    trainer.args = Some(arguments);
    storage::give_keys(&mut trainer, job.spec.storage.as_ref());
    pods::mount_empty(spec, &mut trainer, "windlass-bin", paths::BIN, true);
    pods::mount_empty(spec, &mut trainer, "windlass-work", paths::WORK, false);
    pods::mount_claims(
        spec,
        &mut trainer,
        job.spec.inputs.iter().map(|input| &input.uri),
        output.iter(),
    );
    spec.containers.insert(0, trainer);
}

/// The environment by which workers find each other.
fn rendezvous(job: &TrainingJob, attempt: i32, spec: &mut PodSpec) {
    if service(job).is_some() {
        spec.subdomain = Some(service_name(job));
    }
    match job.spec.framework {
        Framework::Plain => {}
        Framework::PyTorch => {
            let first = format!("{}-0.{}", job_name(job, attempt), service_name(job));
            let size = job.spec.workers.replicas.to_string();
            let mut variables = vec![
                rank_variable("RANK"),
                variable("WORLD_SIZE", &size),
                variable("LOCAL_RANK", "0"),
                variable("MASTER_ADDR", &first),
                variable("MASTER_PORT", PORT),
                rank_variable("PET_NODE_RANK"),
                variable("PET_NNODES", &size),
                variable("PET_MASTER_ADDR", &first),
                variable("PET_MASTER_PORT", PORT),
            ];
            let trainer: &mut Container = &mut spec.containers[0];
            variables.extend(trainer.env.take().unwrap_or_default());
            trainer.env = Some(variables);
        }
    }
}

fn rank_variable(name: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: None,
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                api_version: None,
                field_path: "metadata.labels['batch.kubernetes.io/job-completion-index']"
                    .to_owned(),
            }),
            ..EnvVarSource::default()
        }),
    }
}

/// The fingerprint of what is asked for: the same gives the same model.
pub fn fingerprint(job: &TrainingJob, inputs: &[InputRecord]) -> String {
    let spec = &job.spec;
    digest::of(&serde_json::json!({
        "source": spec.source, "parameters": spec.parameters, "inputs": spec.inputs, "window": spec.window,
        "framework": spec.framework, "workers": spec.workers, "format": spec.output.as_ref().map(|output| &output.format),
        "digests": inputs,
    }))
}

/// The record of the model that an attempt made.
pub fn model_version(
    job: &TrainingJob,
    number: i64,
    training: &agent::TrainingReport,
    output: &agent::Tree,
    images: Vec<String>,
    parent: Option<String>,
) -> ModelVersion {
    let spec = &job.spec;
    let model = spec.model.clone().unwrap_or_default();
    let inputs: Vec<InputRecord> = training
        .inputs
        .iter()
        .map(|input| InputRecord {
            name: input.name.clone(),
            uri: input.tree.uri.clone(),
            digest: input.tree.digest.clone(),
        })
        .collect();
    let monitor = job.labels().get(labels::MONITOR).cloned();
    let mut version = ModelVersion::new(
        &format!("{model}-{number}"),
        ModelVersionSpec {
            model: model.clone(),
            version: number,
            artifact: Artifact {
                uri: Address(output.uri.clone()),
                digest: output.digest.clone(),
                format: spec
                    .output
                    .as_ref()
                    .map(|output| output.format.clone())
                    .unwrap_or_default(),
                bytes: i64::try_from(output.bytes).ok(),
            },
            fingerprint: Some(fingerprint(job, &inputs)),
            source: spec.source.clone(),
            parameters: spec.parameters.clone(),
            inputs,
            images,
            window: spec.window.clone(),
            trained_by: Some(TrainedBy {
                name: job.name_any(),
                uid: job.uid().unwrap_or_default(),
                monitor: monitor.clone(),
            }),
            parent,
            training_metrics: training
                .metrics
                .iter()
                .filter_map(|(name, value)| Some((name.clone(), Decimal::from_f64(*value)?)))
                .take(KEPT_METRICS)
                .collect(),
            validation: spec.validation.clone(),
            storage: spec.storage.clone(),
        },
    );
    version.metadata.namespace = job.namespace();
    let name = job.name_any();
    let monitor = monitor.unwrap_or_default();
    version.metadata.labels = Some(pods::child_labels(
        &name,
        "model",
        &[
            (labels::MODEL, &model),
            (labels::TRAINING_JOB, &name),
            (labels::MONITOR, &monitor),
        ],
    ));
    version
}
