//! The DriftMonitor controller: what a decision may know is read from the caches here.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use windlass_api::{
    DriftMonitor, DriftMonitorStatus, ModelDeployment, ModelVersion, TrainingJob, labels,
};
use windlass_plan::driftmonitor::{Observed, figures, plan, refused, tenures, told};
use windlass_plan::{Plan, Problem};

use crate::runtime::Context;
use crate::runtime::controller::Planned;
use crate::runtime::kept::{Fact, OF_DEPLOYMENT, OF_MODEL, Ours};
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
        let now = Timestamp::now();
        let (namespace, name, uid) = (
            self.namespace().unwrap_or_default(),
            self.name_any(),
            self.uid().unwrap_or_default(),
        );
        let deployment = stores
            .model_deployments
            .get(&namespace, &self.spec.deployment);
        let jobs = stores.jobs.owned(&namespace, labels::MONITOR, &name, &uid);
        let mut pods = stores.pods.labelled(&namespace, labels::MONITOR, &name);
        pods.retain(|pod| is_owned_by_any(&**pod, &jobs));
        let mut beside =
            stores
                .drift_monitors
                .labelled(&namespace, OF_DEPLOYMENT, &self.spec.deployment);
        beside.retain(|monitor| monitor.uid() != self.uid());
        let versions = deployment.as_deref();
        let versions = versions.map(|deployment| that_matter(stores, &namespace, deployment));
        Observed {
            training_jobs: training_jobs(
                stores,
                &namespace,
                &self.spec.deployment,
                deployment.as_deref(),
            ),
            versions: versions.unwrap_or_default(),
            deployment,
            jobs,
            pods,
            beside,
            claims: stores.claims.within(&namespace),
            agent_image: context.agent_image.clone(),
            engine: context.engines.of(&namespace),
            reading_since: context.leading_since.get().copied().unwrap_or(now),
            read_until: context.led_until.get().copied(),
            monitor: self,
        }
    }

    fn plan(observed: &Observed, now: Timestamp) -> Plan<DriftMonitorStatus> {
        plan(observed, now)
    }

    fn count(before: &Self, status: &DriftMonitorStatus, context: &Context) {
        if let Some(listener) = &context.listener {
            for event in told(before, status) {
                listener.tell(&event);
            }
        }
    }

    fn show(observed: &Observed, status: &DriftMonitorStatus, context: &Context) {
        let of = (
            observed.monitor.namespace().unwrap_or_default(),
            observed.monitor.name_any(),
        );
        let figures = figures(observed, status, Timestamp::now());
        context.metrics.monitors().show(of, figures);
    }

    fn hide(namespace: &str, name: &str, context: &Context) {
        let of = (namespace.to_owned(), name.to_owned());
        context.metrics.monitors().hide(&of);
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

/// Versions of a deployment's model: those that serve or served, and those that are newer than the one that serves. What is
/// older matters no more, and there may be hundreds.
fn that_matter(
    stores: &Stores,
    namespace: &str,
    deployment: &ModelDeployment,
) -> Vec<Arc<ModelVersion>> {
    let Some(status) = &deployment.status else {
        return Vec::new();
    };
    let served: Vec<String> = tenures(status).into_iter().map(|one| one.version).collect();
    let number = |name: &str| name.rsplit('-').next()?.parse::<i64>().ok();
    let serving = served.last().and_then(|name| number(name));
    let of_model = &stores.model_versions.index;
    let mut names = of_model.names(namespace, OF_MODEL, &deployment.spec.model);
    names.retain(|name| number(name) > serving || served.contains(name));
    names
        .iter()
        .filter_map(|name| stores.model_versions.get(namespace, name))
        .collect()
}

/// The TrainingJobs that a monitor of the deployment asked for, and those of its model that are under way.
fn training_jobs(
    stores: &Stores,
    namespace: &str,
    name: &str,
    deployment: Option<&ModelDeployment>,
) -> Vec<Arc<TrainingJob>> {
    let jobs = &stores.training_jobs;
    let mut all = jobs.labelled(namespace, labels::DEPLOYMENT, name);
    if let Some(deployment) = deployment {
        all.extend(jobs.labelled(namespace, OF_MODEL, &deployment.spec.model));
    }
    all.sort_by_key(|job| job.name_any());
    all.dedup_by_key(|job| job.name_any());
    all
}
