//! GPUs that pods hold: which resources they are, and for how long they were held.

pub mod claims;

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodSpec};

/// A whole GPU, where parts of one are counted in thousandths.
pub const WHOLE: i64 = 1000;

/// Kubernetes' own prefix of resources that are DeviceClasses: the scheduler makes a claim of what a container asks for.
const DEVICE_CLASS: &str = "deviceclass.resource.kubernetes.io/";

/// How many GPUs a pod is given: the devices of all resources that are GPUs or slices of one, over its containers.
/// A sidecar's count with them; those of other init containers are lent before the containers start, so that the most counts.
///
/// Devices of its resource claims are counted apart, see [`claims::of_pod`].
pub fn of_pod(spec: &PodSpec) -> i64 {
    let devices = |container: &k8s_openapi::api::core::v1::Container| -> i64 {
        let limits = container
            .resources
            .as_ref()
            .and_then(|resources| resources.limits.as_ref());
        limits
            .into_iter()
            .flatten()
            .filter(|(name, _)| is_gpu(name))
            .filter_map(|(_, quantity)| quantity.0.parse::<i64>().ok())
            .sum()
    };
    let init = spec.init_containers.as_deref().unwrap_or_default();
    let (sidecars, before): (Vec<_>, Vec<_>) = init
        .iter()
        .partition(|container| container.restart_policy.as_deref() == Some("Always"));
    let beside: i64 = sidecars.into_iter().map(devices).sum();
    let together = beside + spec.containers.iter().map(devices).sum::<i64>();
    before
        .into_iter()
        .map(devices)
        .max()
        .unwrap_or(0)
        .max(together)
}

/// The GPUs that a pod asks for, by the name of the resource; those of the containers alone.
pub fn resources(spec: &PodSpec) -> BTreeMap<String, i64> {
    let mut all = BTreeMap::new();
    let limits = spec
        .containers
        .iter()
        .filter_map(|container| container.resources.as_ref()?.limits.as_ref())
        .flatten();
    for (name, quantity) in limits.filter(|(name, _)| is_gpu(name)) {
        *all.entry(name.clone()).or_insert(0) += quantity.0.parse::<i64>().unwrap_or(0);
    }
    all
}

/// Whether an extended resource is a GPU, or a slice of one: `nvidia.com/gpu`, `nvidia.com/gpu.shared`,
/// `nvidia.com/mig-1g.5gb`, `amd.com/gpu`, `gpu.intel.com/i915`, `deviceclass.resource.kubernetes.io/mig.nvidia.com`.
fn is_gpu(resource: &str) -> bool {
    if let Some(class) = resource.strip_prefix(DEVICE_CLASS) {
        return claims::is_gpu_class(class);
    }
    let Some((domain, name)) = resource.split_once('/') else {
        return false;
    };
    name == "gpu"
        || name.starts_with("gpu.")
        || name.starts_with("gpu-")
        || name.starts_with("mig-")
        || domain.starts_with("gpu.")
}

/// Whether a resource is a DeviceClass by its name, which no node lists among what it can give.
pub fn is_device_class(resource: &str) -> bool {
    resource.starts_with(DEVICE_CLASS)
}

/// Seconds for which a pod held its place on a node: from when it was given it to its end, or to now.
pub fn seconds_held(pod: &Pod, now: Timestamp) -> i64 {
    let Some(status) = &pod.status else {
        return 0;
    };
    let scheduled = status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "True")
        .and_then(|condition| condition.last_transition_time.as_ref());
    let Some(scheduled) = scheduled else {
        return 0;
    };
    let ended = if crate::pods::is_alive(pod) {
        None
    } else {
        crate::pods::ended_at(pod)
    };
    ended
        .unwrap_or(now)
        .duration_since(scheduled.0)
        .as_secs()
        .max(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{at, object};
    use serde_json::{Value, json};

    #[test]
    fn gpus_are_counted_whatever_they_are_called_and_nothing_else_is() {
        let limits =
            |limits: Value| json!({"name": "a", "image": "b", "resources": {"limits": limits}});
        let sidecar = |limits: Value| json!({"name": "s", "image": "b", "restartPolicy": "Always", "resources": {"limits": limits}});
        let rows = [
            (
                json!({"containers": [limits(json!({"nvidia.com/gpu": 8, "cpu": "4", "memory": "8Gi"}))]}),
                8,
            ),
            (
                json!({"containers": [limits(json!({"nvidia.com/mig-1g.5gb": "2"})), limits(json!({"amd.com/gpu": 1}))]}),
                3,
            ),
            (
                json!({"containers": [limits(json!({"gpu.intel.com/i915": 1, "nvidia.com/gpu.shared": 1}))]}),
                2,
            ),
            (
                json!({"containers": [limits(json!({"deviceclass.resource.kubernetes.io/mig.nvidia.com": 2, "deviceclass.resource.kubernetes.io/nic.example.com": 1}))]}),
                2,
            ),
            (
                json!({"containers": [limits(json!({"rdma/hca": 1, "example.com/gpus-lent": 3}))]}),
                0,
            ),
            (
                json!({"containers": [limits(json!({"nvidia.com/gpu": 1}))], "initContainers": [limits(json!({"nvidia.com/gpu": 4})), sidecar(json!({"nvidia.com/gpu": 1}))]}),
                4,
            ),
            (
                json!({"containers": [limits(json!({"nvidia.com/gpu": 4}))], "initContainers": [sidecar(json!({"nvidia.com/gpu": 1}))]}),
                5,
            ),
        ];
        for (spec, expected) in rows {
            assert_eq!(of_pod(&object(spec.clone())), expected, "{spec}");
        }
    }

    #[test]
    fn a_place_is_held_from_the_node_to_the_end() {
        let scheduled =
            json!([{"type": "PodScheduled", "status": "True", "lastTransitionTime": at(10)}]);
        let pod = |status: Value| -> Pod { object(json!({"metadata": {}, "status": status})) };
        let done = json!([{"name": "a", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": {"terminated": {"exitCode": 0, "finishedAt": at(40)}}}]);
        let rows = [
            (pod(json!({"phase": "Pending"})), 0),
            (
                pod(json!({"phase": "Running", "conditions": scheduled})),
                90,
            ),
            (
                pod(
                    json!({"phase": "Succeeded", "conditions": scheduled, "containerStatuses": done}),
                ),
                30,
            ),
        ];
        for (pod, expected) in rows {
            assert_eq!(seconds_held(&pod, at(100)), expected);
        }
    }
}
