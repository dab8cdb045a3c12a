//! Workers near each other: how each backend is told that all of a gang belong within one value of a node label.
//!
//! ```text
//!   Kueue ───── an annotation of the pods                   a level of the flavor's Topology
//!   PodGroup ── schedulingConstraints, and pod affinity     see below
//!   KAI ─────── annotations of the Job                      a level of the Topology that is named
//!   none ────── pod affinity                                the first pod's node decides for the others
//!   Volcano ─── cannot: its levels are tiers of HyperNodes
//! ```
//!
//! KAI reads a workload's annotations from the topmost owner of a pod that it may read. By the role that it is installed
//! with, that is the Job.
//!
//! The API server drops a PodGroup's `schedulingConstraints` without a word unless its feature gate
//! `TopologyAwareWorkloadScheduling` is on (alpha in 1.37). With pod affinity beside it a gang is never spread; with the
//! gate on, a domain that has room for all is looked for as well.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PodAffinityTerm, PodTemplateSpec, WeightedPodAffinityTerm};
use k8s_openapi::api::scheduling::v1beta1::{PodGroupSchedulingConstraints, TopologyConstraint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::ResourceExt;
use windlass_api::{PackMode, Topology, labels};

use super::Backend;
use crate::Problem;

/// Kueue's annotations on a pod template. <https://kueue.sigs.k8s.io/docs/concepts/topology_aware_scheduling/>
const KUEUE_REQUIRED: &str = "kueue.x-k8s.io/podset-required-topology";
const KUEUE_PREFERRED: &str = "kueue.x-k8s.io/podset-preferred-topology";
/// KAI's annotations on a workload. <https://github.com/kai-scheduler/KAI-Scheduler/tree/main/docs/topology>
const KAI_TOPOLOGY: &str = "kai.scheduler/topology";
const KAI_REQUIRED: &str = "kai.scheduler/topology-required-placement";
const KAI_PREFERRED: &str = "kai.scheduler/topology-preferred-placement";
/// The weight of a preference that nothing shall outweigh: the largest there is.
const WEIGHT: i32 = 100;

/// A backend has to be able to do what is asked of it.
///
/// # Errors
/// Where it cannot, or lacks a word that it needs.
pub(super) fn check(topology: &Topology, backend: &Backend) -> Result<(), Problem> {
    let problem = |message: &str| Err(Problem::new("TopologyNotSupported", message));
    match backend {
        Backend::Volcano { .. } => problem(
            "spec.scheduling.topology: Volcano schedules this gang, and packs within tiers of its HyperNodes, not within a node label; leave topology away, or set spec.scheduling.gang to another: with None, pods are held together by pod affinity",
        ),
        Backend::Kai { .. } if topology.name.is_none() => problem(
            "spec.scheduling.topology.name: is required, since KAI schedules this gang and knows node labels only as levels of a Topology: name the Topology that has packWithin as a level",
        ),
        Backend::Kueue { .. } | Backend::Native | Backend::Kai { .. } | Backend::None => Ok(()),
    }
}

/// What a PodGroup of Kubernetes' own says; it knows no preference.
pub(super) fn constraints(topology: &Topology) -> Option<PodGroupSchedulingConstraints> {
    match topology.mode {
        PackMode::Preferred => None,
        PackMode::Required => Some(PodGroupSchedulingConstraints {
            topology: Some(vec![TopologyConstraint {
                key: topology.pack_within.clone(),
            }]),
        }),
    }
}

/// Gives a Job that is about to be made what the backend looks for.
pub(super) fn attach(topology: &Topology, backend: &Backend, workers: i32, made: &mut Job) {
    let label = topology.pack_within.clone();
    match backend {
        Backend::Kueue { .. } => {
            let name = match topology.mode {
                PackMode::Required => KUEUE_REQUIRED,
                PackMode::Preferred => KUEUE_PREFERRED,
            };
            if let Some(spec) = made.spec.as_mut() {
                let metadata = spec.template.metadata.get_or_insert_default();
                let annotations = metadata.annotations.get_or_insert_default();
                annotations.insert(name.to_owned(), label);
            }
        }
        Backend::Kai { .. } => {
            let name = match topology.mode {
                PackMode::Required => KAI_REQUIRED,
                PackMode::Preferred => KAI_PREFERRED,
            };
            let annotations = made.annotations_mut();
            annotations.insert(name.to_owned(), label);
            if let Some(name) = &topology.name {
                annotations.insert(KAI_TOPOLOGY.to_owned(), name.clone());
            }
        }
        // One pod is near itself.
        Backend::Native | Backend::None if workers > 1 => {
            let term = of_this_attempt(made, label);
            if let Some(spec) = made.spec.as_mut() {
                hold_together(&mut spec.template, term, topology.mode);
            }
        }
        Backend::Native | Backend::None | Backend::Volcano { .. } => {}
    }
}

/// The pods of the same attempt.
fn of_this_attempt(made: &Job, label: String) -> PodAffinityTerm {
    let own = [labels::TRAINING_JOB, labels::ATTEMPT].into_iter();
    let own = own.filter_map(|name| Some((name.to_owned(), made.labels().get(name)?.clone())));
    PodAffinityTerm {
        label_selector: Some(LabelSelector {
            match_labels: Some(own.collect()),
            ..LabelSelector::default()
        }),
        topology_key: label,
        ..PodAffinityTerm::default()
    }
}

/// Adds to what the template itself says of affinity.
fn hold_together(template: &mut PodTemplateSpec, term: PodAffinityTerm, mode: PackMode) {
    let spec = template.spec.get_or_insert_default();
    let affinity = spec.affinity.get_or_insert_default();
    let affinity = affinity.pod_affinity.get_or_insert_default();
    match mode {
        PackMode::Required => affinity
            .required_during_scheduling_ignored_during_execution
            .get_or_insert_default()
            .push(term),
        PackMode::Preferred => affinity
            .preferred_during_scheduling_ignored_during_execution
            .get_or_insert_default()
            .push(WeightedPodAffinityTerm {
                pod_affinity_term: term,
                weight: WEIGHT,
            }),
    }
}
