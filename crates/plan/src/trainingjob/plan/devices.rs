//! Devices that workers and steps ask for: whether what they are asked by is there, and how many are GPUs.

use k8s_openapi::api::core::v1::PodSpec;
use kube::ResourceExt;
use windlass_api::Decimal;

use super::Reconcile;
use crate::gpus::claims::{self, DeviceClaims, Devices};
use crate::trainingjob::gang::Share;
use crate::{Problem, gpus, template};

impl Reconcile<'_> {
    /// The ResourceClaimTemplates that a pod names have to be there: without one, its pods would wait for ever, and no
    /// gang could hold what it has.
    pub(super) fn check_devices(&self, template: &str, spec: &PodSpec) -> Result<(), Problem> {
        let not_found = |at: usize, why: String| {
            let field = format!("{template}.spec.resourceClaims[{at}].resourceClaimTemplateName");
            Err(Problem::new(
                "ClaimTemplateNotFound",
                format!("{field}: {why}"),
            ))
        };
        for (at, name) in claims::templates(spec) {
            if self.observed.schedulers.device_claims == DeviceClaims::NotServed {
                return not_found(
                    at,
                    format!(
                        "names the ResourceClaimTemplate {name:?}, and the cluster does not serve resource.k8s.io/v1, which Kubernetes has from 1.34 on; ask for the devices in the containers' limits"
                    ),
                );
            }
            if !self.observed.claim_templates.contains_key(name) {
                return not_found(
                    at,
                    format!(
                        "the ResourceClaimTemplate {name:?} does not exist in namespace {:?}; create it, or correct the name",
                        self.job.namespace().unwrap_or_default()
                    ),
                );
            }
        }
        Ok(())
    }

    /// The GPUs that a pod's own resource claims ask for, by DeviceClass.
    pub(super) fn claimed(&self, spec: &PodSpec) -> Devices {
        claims::of_pod(spec, &self.observed.claim_templates)
    }

    /// The GPUs that each worker is made with: devices of the containers' limits and of resource claims, and a share of
    /// one; nothing where there are none.
    pub(super) fn gpus_per_worker(&self) -> Option<Decimal> {
        let template = template::parse("spec.workers.template", &self.job.spec.workers.template);
        let template = template.ok()?;
        let spec = template.spec.as_ref()?;
        let whole = gpus::of_pod(spec) + self.claimed(spec).values().sum::<i64>();
        let thousandths = gpus::WHOLE * whole + Share::of(&template).map_or(0, Share::gpus);
        #[allow(clippy::cast_precision_loss)] // a pod has few
        let gpus = thousandths as f64 / gpus::WHOLE as f64;
        Decimal::from_f64(gpus).filter(|_| thousandths > 0)
    }
}
