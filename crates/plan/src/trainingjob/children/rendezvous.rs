//! The environment by which workers find each other.
//!
//! ```text
//!   <job>-<attempt>-<rank>.<job>-workers:PORT      stable within an attempt, new in the next
//! ```

use k8s_openapi::api::core::v1::{EnvVar, PodSpec};
use serde_json::json;
use windlass_api::agent::environment;
use windlass_api::{Framework, TrainingJob};

use super::{job_name, service, service_name};
use crate::pods::{field_variable, variable};

/// The port that workers meet at: it is torchrun's own.
const PORT: u16 = 29_500;
/// A list of hosts longer than this is not handed out: an environment has its limits.
const LISTED_HOSTS: i32 = 256;

/// Gives the trainer what it needs to meet the other workers of this attempt.
pub fn rendezvous(job: &TrainingJob, attempt: i32, spec: &mut PodSpec) {
    if service(job).is_some() {
        spec.subdomain = Some(service_name(job));
    }
    let size = job.spec.workers.replicas;
    let host = |rank: i32| format!("{}-{rank}.{}", job_name(job, attempt), service_name(job));
    let mut variables = Vec::new();
    if size > 1 && size <= LISTED_HOSTS {
        let hosts: Vec<String> = (0..size).map(host).collect();
        variables.push(variable(environment::HOSTS, hosts.join(",")));
    }
    let (first, size, port) = (host(0), size.to_string(), PORT.to_string());
    match job.spec.framework {
        Framework::Plain => {}
        // https://docs.pytorch.org/docs/stable/distributed.html and /elastic/run.html
        Framework::PyTorch => variables.extend([
            rank_variable("RANK"),
            variable("WORLD_SIZE", &size),
            variable("LOCAL_RANK", "0"),
            variable("MASTER_ADDR", &first),
            variable("MASTER_PORT", &port),
            rank_variable("PET_NODE_RANK"),
            variable("PET_NNODES", &size),
            variable("PET_MASTER_ADDR", &first),
            variable("PET_MASTER_PORT", &port),
        ]),
        // jax.distributed.initialize reads the first by itself; the others are those that Kubeflow's trainer gives.
        Framework::Jax => variables.extend([
            variable("JAX_COORDINATOR_ADDRESS", format!("{first}:{port}")),
            variable("JAX_NUM_PROCESSES", &size),
            rank_variable("JAX_PROCESS_ID"),
        ]),
        // https://www.tensorflow.org/guide/distributed_training: the kubelet puts the rank in.
        Framework::TensorFlow => {
            let hosts: Vec<String> = (0..job.spec.workers.replicas)
                .map(|rank| format!("{}:{port}", host(rank)))
                .collect();
            let cluster = json!({ "worker": hosts });
            variables.extend([
                rank_variable("WINDLASS_TASK_INDEX"),
                variable(
                    "TF_CONFIG",
                    format!(
                        r#"{{"cluster":{cluster},"task":{{"type":"worker","index":$(WINDLASS_TASK_INDEX)}}}}"#
                    ),
                ),
            ]);
        }
        // https://xgboost.readthedocs.io/en/stable/python/python_api.html: CommunicatorContext takes them in lower case.
        Framework::XGBoost => variables.extend([
            variable("DMLC_TRACKER_URI", &first),
            variable("DMLC_TRACKER_PORT", &port),
            rank_variable("DMLC_TASK_ID"),
            variable("DMLC_NUM_WORKER", &size),
        ]),
    }
    let trainer = &mut spec.containers[0];
    variables.extend(trainer.env.take().unwrap_or_default());
    trainer.env = (!variables.is_empty()).then_some(variables);
}

fn rank_variable(name: &str) -> EnvVar {
    field_variable(
        name,
        "metadata.labels['batch.kubernetes.io/job-completion-index']",
    )
}
