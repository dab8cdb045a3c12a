//! What is known of how far the GPUs of workers are used.

use std::collections::BTreeMap;
use std::time::Duration;

use windlass_api::{Decimal, IdleGpus, TrainingJobSpec};

use crate::{gpus, template};

/// What is known of the GPUs of an attempt, as of its [`Threshold`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Utilization {
    /// Nothing, and nobody is asked: the operator was given no Prometheus.
    #[default]
    Off,
    /// Nothing yet.
    Awaited,
    /// Nothing any more: Prometheus has not answered for some time.
    NotAnswered,
    /// How many GPUs of each pod, by its name, were used and how many were not. A pod of which nothing is measured is not there.
    Known(BTreeMap<String, GpuUse>),
}

/// How many GPUs of a pod were used, and how many were not. Those of which too little was measured are neither.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GpuUse {
    /// GPUs that reached the threshold at some time in the window.
    pub used: i64,
    /// GPUs that never did, and were measured throughout.
    pub idle: i64,
}

/// When a GPU is idle.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Threshold {
    /// The last so long.
    pub window: Duration,
    /// Percent, as [`Decimal`] writes a number: one threshold has one text, and it is nothing but a number.
    pub below: String,
}

impl Threshold {
    /// That of a policy.
    pub fn of(policy: &IdleGpus) -> Option<Self> {
        Some(Self {
            window: policy.for_.value().ok()?,
            below: Decimal::from_f64(policy.below.value().ok()?)?.0,
        })
    }
}

/// What a job says of idle GPUs, or what counts where it says nothing.
pub(super) fn policy(spec: &TrainingJobSpec) -> IdleGpus {
    spec.idle_gpus.clone().unwrap_or_default()
}

/// GPUs that each worker holds.
pub(super) fn gpus_of_worker(spec: &TrainingJobSpec) -> i64 {
    let template = template::parse("spec.workers.template", &spec.workers.template).ok();
    let pod = template.and_then(|template| template.spec);
    pod.map_or(0, |pod| gpus::of_pod(&pod))
}
