//! The DriftMonitor controller: what a decision may know is read from the caches here.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use windlass_api::{DriftMonitor, DriftMonitorStatus, labels};
use windlass_plan::driftmonitor::{Observed, plan, refused};
use windlass_plan::{Plan, Problem};

use crate::runtime::Context;
use crate::runtime::controller::Planned;
use crate::runtime::kept::{Fact, OF_DEPLOYMENT, Ours};
use crate::runtime::stores::{OurCache, Stores, is_owned_by_any};

impl Planned for DriftMonitor {
    type Status = DriftMonitorStatus;
    type Observed = Observed;
    const MANAGER: &'static str = "windlass-driftmonitor";

    fn cache(stores: &Stores) -> &OurCache<Self> {
        &stores.drift_monitors
    }

    fn status(&self) -> Option<&DriftMonitorStatus> {
        self.status.as_ref()
    }

    fn observe(self: Arc<Self>, context: &Context) -> Observed {
        let stores = &context.stores;
        let (namespace, name, uid) = (
            self.namespace().unwrap_or_default(),
            self.name_any(),
            self.uid().unwrap_or_default(),
        );
        let deployment = stores
            .model_deployments
            .get(&namespace, &self.spec.deployment);
        let stable = deployment.as_ref().and_then(|deployment| {
            deployment
                .status
                .as_ref()?
                .stable
                .as_ref()
                .map(|stable| stable.version.clone())
        });
        let jobs = stores.jobs.owned(&namespace, labels::MONITOR, &name, &uid);
        let mut pods = stores.pods.labelled(&namespace, labels::MONITOR, &name);
        pods.retain(|pod| is_owned_by_any(&**pod, &jobs));
        Observed {
            serving: stable.and_then(|stable| stores.model_versions.get(&namespace, &stable)),
            deployment,
            jobs,
            pods,
            training_jobs: stores
                .training_jobs
                .labelled(&namespace, labels::MONITOR, &name),
            trained: stores
                .model_versions
                .labelled(&namespace, labels::MONITOR, &name),
            claims: stores.claims.within(&namespace),
            agent_image: context.agent_image.clone(),
            monitor: self,
        }
    }

    fn plan(observed: &Observed, now: Timestamp) -> Plan<DriftMonitorStatus> {
        plan(observed, now)
    }

    fn refused(observed: &Observed, problem: &Problem, now: Timestamp) -> Plan<DriftMonitorStatus> {
        refused(observed, problem, now)
    }
}

impl Ours for DriftMonitor {
    fn conditions(&self) -> &[Condition] {
        (self.status.as_ref()).map_or(&[], |status| &status.conditions)
    }

    fn facts(&self) -> Vec<Fact> {
        vec![(OF_DEPLOYMENT, self.spec.deployment.clone())]
    }
}
