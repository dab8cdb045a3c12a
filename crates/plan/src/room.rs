//! What room a cluster's nodes have: how many pods of one kind they could take.
//!
//! ```text
//!   Nodes (allocatable, labels, taints) ─┐
//!   pods with a node (what they ask for) ┴─> Room ── fits(pod) ─> how many
//! ```
//!
//! A hint, never a decision: whether a pod gets a node is the scheduler's to say. Looked at is what Kubernetes looks at
//! first: resources, node selectors and taints.
//!
//! Absent on purpose: affinity, topology spread, volumes that are tied to nodes, devices by DRA.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Node, Pod, PodSpec, Taint, Toleration};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::gpus;
use crate::quantity::quantity;

/// Amounts of resources by name, in thousandths of their unit (a core, a byte, a device).
pub type Amounts = BTreeMap<String, i64>;

/// Kubernetes' own name for how many pods a node takes.
const PODS: &str = "pods";

/// The room that nodes have.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Room {
    nodes: BTreeMap<String, NodeRoom>,
}

/// The room that one node has.
#[derive(Clone, Debug, Default, PartialEq)]
struct NodeRoom {
    labels: BTreeMap<String, String>,
    taints: Vec<Taint>,
    free: Amounts,
}

impl Room {
    /// Counts a node in, with all that it can give. One that takes no pods now is left out.
    pub fn add_node(&mut self, node: Node) {
        let (spec, status) = (
            node.spec.unwrap_or_default(),
            node.status.unwrap_or_default(),
        );
        let is_ready = status
            .conditions
            .iter()
            .flatten()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True");
        let Some(name) = node.metadata.name else {
            return;
        };
        if spec.unschedulable == Some(true) || !is_ready {
            return;
        }
        let stated = status.allocatable.or(status.capacity).unwrap_or_default();
        let room = NodeRoom {
            labels: node.metadata.labels.unwrap_or_default(),
            taints: spec.taints.unwrap_or_default(),
            free: stated
                .iter()
                .filter_map(|(name, amount)| Some((name.clone(), thousandths(amount)?)))
                .collect(),
        };
        self.nodes.insert(name, room);
    }

    /// Counts out what a pod that has a node holds there; of one that has ended, nothing.
    pub fn add_pod(&mut self, pod: &Pod) {
        if let Some(spec) = &pod.spec {
            self.count(pod, &asked(spec), -1);
        }
    }

    /// The room that there is once these pods are gone, each of which holds what `each` asks for.
    #[must_use]
    pub fn without<'a>(&self, pods: impl IntoIterator<Item = &'a Pod>, each: &PodSpec) -> Self {
        let (mut room, held) = (self.clone(), asked(each));
        for pod in pods {
            room.count(pod, &held, 1);
        }
        room
    }

    fn count(&mut self, pod: &Pod, held: &Amounts, sign: i64) {
        let phase = pod
            .status
            .as_ref()
            .and_then(|status| status.phase.as_deref());
        if matches!(phase, Some("Succeeded" | "Failed")) {
            return;
        }
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref());
        let Some(node) = node.and_then(|node| self.nodes.get_mut(node)) else {
            return;
        };
        for (name, amount) in held {
            *node.free.entry(name.clone()).or_default() += sign * amount;
        }
    }

    /// How many pods like this one the nodes could take together.
    pub fn fits(&self, pod: &PodSpec) -> i64 {
        let asked = asked(pod);
        self.open_to(pod)
            .map(|node| {
                let each = asked.iter().filter(|(_, amount)| **amount > 0);
                let fits = each.map(|(name, amount)| {
                    let free = node.free.get(name).copied().unwrap_or(0);
                    free.max(0) / amount
                });
                fits.min().unwrap_or(0)
            })
            .fold(0, i64::saturating_add)
    }

    /// How much of a resource is free on the nodes that the pod may be on, in whole units.
    pub fn free(&self, resource: &str, pod: &PodSpec) -> i64 {
        self.open_to(pod)
            .filter_map(|node| node.free.get(resource))
            .map(|free| free.max(&0) / 1000)
            .sum()
    }

    /// Whether there is a node that the pod may be on and that has any of a resource, free or not.
    pub fn has(&self, resource: &str, pod: &PodSpec) -> bool {
        self.open_to(pod)
            .any(|node| node.free.contains_key(resource))
    }

    fn open_to<'a>(&'a self, pod: &'a PodSpec) -> impl Iterator<Item = &'a NodeRoom> {
        let selector = pod.node_selector.iter().flatten();
        self.nodes
            .iter()
            .filter(move |(name, node)| {
                let mut selector = selector.clone();
                selector.all(|(label, value)| node.labels.get(label) == Some(value))
                    && pod.node_name.as_ref().is_none_or(|wanted| wanted == *name)
                    && node.taints.iter().all(|taint| is_tolerated(taint, pod))
            })
            .map(|(_, node)| node)
    }
}

fn is_tolerated(taint: &Taint, pod: &PodSpec) -> bool {
    let tolerates = |toleration: &Toleration| {
        let same_key = toleration
            .key
            .as_ref()
            .is_none_or(|key| key.is_empty() || *key == taint.key);
        let same_effect = toleration
            .effect
            .as_ref()
            .is_none_or(|effect| effect.is_empty() || *effect == taint.effect);
        let same_value = toleration.operator.as_deref() == Some("Exists")
            || toleration.value.as_deref().unwrap_or_default()
                == taint.value.as_deref().unwrap_or_default();
        same_key && same_effect && same_value
    };
    taint.effect == "PreferNoSchedule" || pod.tolerations.iter().flatten().any(tolerates)
}

/// What a pod asks of its node: its containers and sidecars together, or the most that an init container asks beside
/// the sidecars before it, whichever is more; its overhead; and a place among the node's pods.
/// <https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/#resource-sharing-within-containers>
pub fn asked(pod: &PodSpec) -> Amounts {
    let mut sidecars = Amounts::new();
    let mut most = Amounts::new();
    for container in pod.init_containers.iter().flatten() {
        let own = requests(container);
        if container.restart_policy.as_deref() == Some("Always") {
            add(&mut sidecars, &own);
            continue;
        }
        let mut beside = sidecars.clone();
        add(&mut beside, &own);
        raise(&mut most, &beside);
    }
    let mut together = sidecars;
    for container in &pod.containers {
        add(&mut together, &requests(container));
    }
    raise(&mut most, &together);
    for (name, amount) in pod.overhead.iter().flatten() {
        *most.entry(name.clone()).or_default() += thousandths(amount).unwrap_or(0);
    }
    most.insert(PODS.to_owned(), 1000);
    most
}

/// What a container asks for; of what it names a limit for only, the limit.
fn requests(container: &Container) -> Amounts {
    let Some(resources) = &container.resources else {
        return Amounts::new();
    };
    let limits = resources.limits.iter().flatten();
    limits
        .chain(resources.requests.iter().flatten())
        .filter(|(name, _)| !gpus::is_device_class(name))
        .filter_map(|(name, amount)| Some((name.clone(), thousandths(amount)?)))
        .collect()
}

fn add(all: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        *all.entry(name.clone()).or_default() += amount;
    }
}

fn raise(all: &mut Amounts, to: &Amounts) {
    for (name, amount) in to {
        let known = all.entry(name.clone()).or_default();
        *known = (*known).max(*amount);
    }
}

/// A quantity in thousandths of its unit, rounded up; nothing for what is none.
fn thousandths(amount: &Quantity) -> Option<i64> {
    let text = amount.0.trim();
    // What is written with an exponent is a number as it stands.
    let amount =
        quantity(text).or_else(|| text.parse().ok().filter(|amount: &f64| amount.is_finite()))?;
    #[allow(clippy::cast_possible_truncation)] // it saturates
    Some((amount * 1000.0 - 1e-6).ceil() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::object;
    use serde_json::{Value, json};

    fn node(name: &str, allocatable: &Value, more: &Value) -> Node {
        let mut spec = json!({"metadata": {"name": name, "labels": {"pool": name}}, "spec": more,
            "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        spec["status"]["allocatable"] = allocatable.clone();
        object(spec)
    }

    fn pod(node: &str, resources: &Value) -> Pod {
        object(
            json!({"metadata": {}, "spec": {"nodeName": node, "containers": [{"name": "a", "resources": resources}]}, "status": {"phase": "Running"}}),
        )
    }

    fn asks(resources: &Value, more: &Value) -> PodSpec {
        let mut spec = json!({"containers": [{"name": "a", "resources": resources}]});
        let (Value::Object(all), Value::Object(more)) = (&mut spec, more.clone()) else {
            panic!("objects")
        };
        all.extend(more);
        object(spec)
    }

    fn two_nodes() -> Room {
        let mut room = Room::default();
        let big = json!({"cpu": "8", "memory": "16Gi", "nvidia.com/gpu": "4", "pods": "110"});
        room.add_node(node("big", &big, &json!({})));
        let small = json!({"cpu": "2", "memory": "4Gi", "nvidia.com/gpu": "1", "pods": "3"});
        let taints = json!({"taints": [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]});
        room.add_node(node("small", &small, &taints));
        room
    }

    #[test]
    fn quantities_are_those_of_kubernetes() {
        let rows = [
            ("1", 1000),
            ("100m", 100),
            ("0.5", 500),
            ("1.5", 1500),
            ("2k", 2_000_000),
            ("1Ki", 1_024_000),
            ("64Mi", 67_108_864_000),
            ("1e3", 1_000_000),
            ("1E3", 1_000_000),
            ("1n", 1),
            ("0", 0),
            ("12E", i64::MAX),
        ];
        for (text, expected) in rows {
            assert_eq!(
                thousandths(&Quantity(text.to_owned())),
                Some(expected),
                "{text}"
            );
        }
        for text in ["", "x", "1x", "Ki"] {
            assert_eq!(thousandths(&Quantity(text.to_owned())), None, "{text}");
        }
    }

    #[test]
    fn as_many_fit_as_the_scarcest_resource_lets_in() {
        let tolerating = json!({"tolerations": [{"key": "gpu", "operator": "Exists"}]});
        let gpu = |count: u32, cpu: &str| json!({"limits": {"nvidia.com/gpu": count}, "requests": {"cpu": cpu}});
        let rows = [
            (asks(&gpu(1, "1"), &json!({})), 4),
            (asks(&gpu(1, "1"), &tolerating), 5),
            (asks(&gpu(2, "1"), &tolerating), 2),
            (asks(&gpu(1, "4"), &tolerating), 2),
            (
                asks(&gpu(1, "1"), &json!({"nodeSelector": {"pool": "small"}})),
                0,
            ),
            (asks(&json!({"limits": {"amd.com/gpu": 1}}), &tolerating), 0),
            (asks(&json!({"requests": {"cpu": "1m"}}), &tolerating), 113),
            (
                asks(
                    &json!({"limits": {"deviceclass.resource.kubernetes.io/gpu.example.com": 1}, "requests": {"cpu": "1"}}),
                    &tolerating,
                ),
                10,
            ),
        ];
        for (pod, expected) in rows {
            assert_eq!(two_nodes().fits(&pod), expected, "{pod:?}");
        }
    }

    #[test]
    fn what_pods_hold_is_not_free_until_they_are_gone() {
        let mut room = two_nodes();
        let whole = room.clone();
        let held = pod("big", &json!({"limits": {"nvidia.com/gpu": 3}}));
        room.add_pod(&held);
        let one = asks(&json!({"limits": {"nvidia.com/gpu": 1}}), &json!({}));
        assert_eq!((room.fits(&one), room.free("nvidia.com/gpu", &one)), (1, 1));
        let each = held.spec.clone().expect("a spec");
        assert_eq!(room.without([&held], &each), whole);
        let mut ended = held;
        ended.status.get_or_insert_default().phase = Some("Succeeded".to_owned());
        room.add_pod(&ended);
        assert_eq!(room.fits(&one), 1);
    }

    #[test]
    fn a_node_that_takes_no_pods_has_no_room() {
        let mut room = Room::default();
        let amounts = json!({"cpu": "8", "pods": "110"});
        room.add_node(node("cordoned", &amounts, &json!({"unschedulable": true})));
        let mut lost = node("lost", &amounts, &json!({}));
        lost.status.as_mut().expect("a status").conditions = None;
        room.add_node(lost);
        assert_eq!(
            room.fits(&asks(&json!({"requests": {"cpu": "1"}}), &json!({}))),
            0
        );
    }

    #[test]
    fn a_pod_asks_for_the_most_that_it_needs_at_once() {
        let container = |cpu: &str| json!({"name": "c", "resources": {"requests": {"cpu": cpu}}});
        let sidecar = json!({"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "1"}}});
        let rows = [
            (
                json!({"containers": [container("1"), container("2")]}),
                3000,
            ),
            (
                json!({"containers": [container("1")], "initContainers": [container("5")]}),
                5000,
            ),
            (
                json!({"containers": [container("3")], "initContainers": [sidecar, container("2")]}),
                4000,
            ),
            (
                json!({"containers": [container("1")], "initContainers": [sidecar, container("5")]}),
                6000,
            ),
            (
                json!({"containers": [container("1")], "overhead": {"cpu": "250m"}}),
                1250,
            ),
        ];
        for (spec, expected) in rows {
            assert_eq!(
                asked(&object(spec.clone())).get("cpu"),
                Some(&expected),
                "{spec}"
            );
        }
    }
}
