//! The ModelVersion controller: what a decision may know is read from the caches here.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use windlass_api::{ModelVersion, ModelVersionStatus, labels};
use windlass_plan::modelversion::{Observed, plan, refused};
use windlass_plan::{Plan, Problem};

use crate::audit;
use crate::runtime::Context;
use crate::runtime::controller::Planned;
use crate::runtime::kept::{Fact, OF_MODEL, Ours};
use crate::runtime::metrics::Metrics;
use crate::runtime::stores::{OurCache, Stores, is_owned_by_any};
use crate::trainingjob::champion;

impl Planned for ModelVersion {
    type Status = ModelVersionStatus;
    type Observed = Observed;
    const MANAGER: &'static str = "windlass-modelversion";

    fn cache(stores: &Stores) -> &OurCache<Self> {
        &stores.model_versions
    }

    fn status(&self) -> Option<&ModelVersionStatus> {
        self.status.as_ref()
    }

    fn observe(self: Arc<Self>, context: &Context) -> Observed {
        let stores = &context.stores;
        let (namespace, name, uid) = (
            self.namespace().unwrap_or_default(),
            self.name_any(),
            self.uid().unwrap_or_default(),
        );
        let job = stores
            .jobs
            .owned(&namespace, labels::VERSION, &name, &uid)
            .into_iter()
            .next();
        let mut pods = stores.pods.labelled(&namespace, labels::VERSION, &name);
        pods.retain(|pod| is_owned_by_any(&**pod, &job));
        let serving = champion(stores, &namespace, &self.spec.model);
        let champion = serving
            .as_ref()
            .and_then(|champion| stores.model_versions.get(&namespace, champion));
        let deployments = stores
            .model_deployments
            .labelled(&namespace, OF_MODEL, &self.spec.model);
        Observed {
            job,
            pods,
            serving,
            champion,
            deployments,
            claims: stores.claims.within(&namespace),
            presets: context.presets.clone(),
            agent_image: context.agent_image.clone(),
            version: self,
        }
    }

    fn plan(observed: &Observed, now: Timestamp) -> Plan<ModelVersionStatus> {
        plan(observed, now)
    }

    fn count(version: &Self, status: &ModelVersionStatus, _metrics: &Metrics) {
        let before = version.status.iter().flat_map(|status| &status.decisions);
        let known = before.last().map_or(0, |last| last.sequence);
        for decision in &status.decisions {
            if decision.sequence > known {
                audit::log(version, decision);
            }
        }
    }

    fn refused(observed: &Observed, problem: &Problem, now: Timestamp) -> Plan<ModelVersionStatus> {
        refused(observed, problem, now)
    }
}

impl Ours for ModelVersion {
    fn conditions(&self) -> &[Condition] {
        (self.status.as_ref()).map_or(&[], |status| &status.conditions)
    }

    fn facts(&self) -> Vec<Fact> {
        vec![(OF_MODEL, self.spec.model.clone())]
    }
}
