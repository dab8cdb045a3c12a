//! Inputs that a node keeps by digest, so that the next pod on it does not fetch them anew.
//!
//! ```text
//!   node: <hostPath>/<namespace> ──writable──> windlass-inputs, root: `windlass-agent cache` fetches, verifies, evicts
//!                                ──read-only─> the trainer: `windlass-agent run --input-cache` links to what is there
//! ```
//!
//! Only the init container can write there, and what it writes is root's: no program of the user's changes what the
//! next one reads. It never fails a pod; what it could not bring, `run` fetches by itself, and says what is wrong.

use k8s_openapi::api::core::v1::{
    Container, HostPathVolumeSource, PodSpec, SecurityContext, Volume, VolumeMount,
};
use kube::ResourceExt;
use windlass_api::agent::paths;
use windlass_api::{InputRecord, TrainingJob};

use super::{TrainersAgent, ask_for_no_more, reading};
use crate::pods::{self, Agent, flag};

/// Name of the container that fetches.
pub const INPUTS: &str = "windlass-inputs";

/// Name of the volume.
const VOLUME: &str = "windlass-input-cache";

/// Lets a pod whose first container is to run the agent read these from its node's cache, where there is one and it is
/// of use: what lies in a claim is on no other network.
pub fn use_cache(
    job: &TrainingJob,
    spec: &mut PodSpec,
    arguments: &mut Vec<String>,
    agent: &TrainersAgent<'_>,
    read: (&[&str], &[InputRecord]),
) {
    let Some(cache) = agent.input_cache else {
        return;
    };
    let mut told = vec!["cache".to_owned()];
    flag(&mut told, "folder", paths::INPUT_CACHE);
    flag(&mut told, "size", cache.bytes.to_string());
    if !reading::tell_remote(&mut told, job, read) {
        return;
    }
    flag(arguments, "input-cache", paths::INPUT_CACHE);
    let namespace = job.namespace().unwrap_or_default();
    let path = format!("{}/{namespace}", cache.host_path.trim_end_matches('/'));
    spec.volumes.get_or_insert_default().push(Volume {
        name: VOLUME.to_owned(),
        host_path: Some(HostPathVolumeSource {
            path,
            type_: Some("DirectoryOrCreate".to_owned()),
        }),
        ..Volume::default()
    });
    keep_read_only(spec);
    let mut fetch = fetch(job, spec, agent, told);
    mount(&mut fetch, None);
    ask_for_no_more(spec, &mut fetch);
    // After the template's own: one of these may be the way to the network.
    spec.init_containers.get_or_insert_default().push(fetch);
    mount(&mut spec.containers[0], Some(true));
}

/// The init container that fetches: with the keys, and what the trainer's own environment says of stores.
fn fetch(
    job: &TrainingJob,
    spec: &mut PodSpec,
    agent: &TrainersAgent<'_>,
    arguments: Vec<String>,
) -> Container {
    let of_image = Agent {
        image: agent.image,
        storage: job.spec.storage.as_ref(),
    };
    let mut fetch = pods::agent_container(spec, INPUTS, of_image, arguments);
    let trainer = &spec.containers[0];
    fetch.env.clone_from(&trainer.env);
    if let Some(sources) = trainer.env_from.clone() {
        fetch.env_from.get_or_insert_default().extend(sources);
    }
    // The kubelet makes the folder, and it is root's.
    fetch.security_context = Some(SecurityContext {
        run_as_user: Some(0),
        run_as_group: Some(0),
        run_as_non_root: Some(false),
        ..fetch.security_context.take().unwrap_or_default()
    });
    fetch
}

fn mount(container: &mut Container, read_only: Option<bool>) {
    let mounts = container.volume_mounts.get_or_insert_default();
    mounts.push(VolumeMount {
        name: VOLUME.to_owned(),
        mount_path: paths::INPUT_CACHE.to_owned(),
        read_only,
        ..VolumeMount::default()
    });
}

/// A template may name the volume too. It is read there, and not written.
fn keep_read_only(spec: &mut PodSpec) {
    let all = spec.init_containers.iter_mut().flatten();
    for container in all.chain(&mut spec.containers) {
        let mounts = container.volume_mounts.iter_mut().flatten();
        for mount in mounts.filter(|mount| mount.name == VOLUME) {
            mount.read_only = Some(true);
        }
    }
}
