//! Shares of a GPU, as KAI hands them out: by annotations of the pod, which every other scheduler passes over.
//! <https://github.com/kai-scheduler/KAI-Scheduler/tree/main/docs/gpu-sharing>

use k8s_openapi::api::core::v1::PodTemplateSpec;

use super::{Backend, KAI_SCHEDULER};
use crate::Problem;
use crate::gpus::WHOLE;

/// What part of each GPU's memory the pod may use, as a decimal number.
const FRACTION: &str = "gpu-fraction";
/// How much of each GPU's memory it may use, in MiB.
const MEMORY: &str = "gpu-memory";
/// Of how many GPUs; one where it is absent.
const DEVICES: &str = "gpu-fraction-num-devices";

/// A share of a GPU, or of several, that a pod asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Share {
    /// So much of each: more than 0, and at most 1.
    Fraction {
        /// Of each GPU.
        each: f64,
        /// How many GPUs.
        devices: u32,
    },
    /// So much memory of each. How much of a GPU that is depends on the GPU.
    Memory {
        /// MiB of each GPU.
        each: u32,
        /// How many GPUs.
        devices: u32,
    },
}

impl Share {
    /// What a pod template asks for; nothing where it asks for no share, or not in a way that KAI understands.
    pub fn of(template: &PodTemplateSpec) -> Option<Self> {
        let annotations = template.metadata.as_ref()?.annotations.as_ref()?;
        let devices = match annotations.get(DEVICES) {
            Some(devices) => devices.parse().ok().filter(|devices| *devices > 0)?,
            None => 1,
        };
        if let Some(fraction) = annotations.get(FRACTION) {
            let each: f64 = fraction.parse().ok()?;
            return (each > 0.0 && each <= 1.0).then_some(Self::Fraction { each, devices });
        }
        let each = annotations.get(MEMORY)?.parse().ok()?;
        (each > 0).then_some(Self::Memory { each, devices })
    }

    /// How much of a GPU it is, in thousandths. Of memory nobody knows: it counts as a slice does, one for each GPU.
    pub fn gpus(self) -> i64 {
        match self {
            Self::Fraction { each, devices } => {
                #[allow(clippy::cast_possible_truncation)] // it is between 0 and 1000
                let each = (each * 1000.0).round() as i64;
                each * i64::from(devices)
            }
            Self::Memory { devices, .. } => WHOLE * i64::from(devices),
        }
    }

    /// What so many pods ask for together: `gpu-fraction: 1.5`.
    pub fn asked_by(self, pods: i64) -> String {
        match self {
            Self::Fraction { each, devices } => {
                #[allow(clippy::cast_precision_loss)] // a gang is small
                let all = each * (i64::from(devices) * pods) as f64;
                let all = format!("{all:.3}");
                let all = all.trim_end_matches('0').trim_end_matches('.');
                format!("{FRACTION}: {all}")
            }
            Self::Memory { each, devices } => {
                let all = i64::from(each) * i64::from(devices) * pods;
                format!("{MEMORY}: {all} MiB")
            }
        }
    }
}

/// Whether any share is asked for, even in a way that KAI does not understand.
pub(super) fn asks_for_share(template: &PodTemplateSpec) -> bool {
    annotation(template).is_some()
}

fn annotation(template: &PodTemplateSpec) -> Option<&'static str> {
    let annotations = template.metadata.as_ref()?.annotations.as_ref()?;
    let mut known = [FRACTION, MEMORY].into_iter();
    known.find(|name| annotations.contains_key(*name))
}

/// A share has to come to one who reads it: the pods would run without a GPU, and nobody would say why. `field` is the
/// template's path, and `mend` what makes the pods KAI's.
///
/// # Errors
/// Where the pods are scheduled by another.
pub fn check_share(
    field: &str,
    template: &PodTemplateSpec,
    backend: &Backend,
    mend: &str,
) -> Result<(), Problem> {
    let Some(annotation) = annotation(template) else {
        return Ok(());
    };
    let own = template.spec.as_ref();
    let own = own.and_then(|spec| spec.scheduler_name.as_deref());
    let is_kais = match backend {
        Backend::Kai { .. } => true,
        // KAI's by the template's own word, and nobody puts another in its place.
        Backend::Kueue { .. } | Backend::Native | Backend::None => own == Some(KAI_SCHEDULER),
        Backend::Volcano { .. } => false,
    };
    if is_kais {
        return Ok(());
    }
    let by = match backend {
        Backend::None => String::new(),
        Backend::Kueue { .. } | Backend::Native | Backend::Kai { .. } | Backend::Volcano { .. } => {
            format!(", and {} schedules this gang", backend.name())
        }
    };
    Err(Problem::new(
        "ShareNotSupported",
        format!(
            "{field}.metadata.annotations[{annotation:?}]: asks for a share of a GPU, which KAI alone gives{by}: {mend}, or ask for whole devices or slices in the containers' limits"
        ),
    ))
}
