//! The ModelDeployment controller: what a decision may know is read from the caches here.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use windlass_api::{ModelDeployment, ModelDeploymentStatus, labels};
use windlass_plan::modeldeployment::{
    Autoscalers, Gateway, LABELS_ROLE, Observed, Readings, plan, refused,
};
use windlass_plan::{Plan, Problem};

use crate::runtime::Context;
use crate::runtime::controller::Planned;
use crate::runtime::kept::{ENTRANCE, Fact, OF_DEPLOYMENT, OF_MODEL, Ours, UNDER_WAY, so};
use crate::runtime::scrape::counted_since;
use crate::runtime::stores::{OurCache, Stores, is_owned_by};
use crate::trainingjob::versions_of;

impl Planned for ModelDeployment {
    type Status = ModelDeploymentStatus;
    type Observed = Observed;
    const MANAGER: &'static str = "windlass-modeldeployment";

    fn cache(stores: &Stores) -> &OurCache<Self> {
        &stores.model_deployments
    }

    fn status(&self) -> Option<&ModelDeploymentStatus> {
        self.status.as_ref()
    }

    fn observe(self: Arc<Self>, context: &Context) -> Observed {
        let stores = &context.stores;
        let (namespace, name, uid) = (
            self.namespace().unwrap_or_default(),
            self.name_any(),
            self.uid().unwrap_or_default(),
        );
        let mut pods = stores.pods.labelled(&namespace, labels::DEPLOYMENT, &name);
        pods.retain(|pod| pod.metadata.deletion_timestamp.is_none());
        let label_pods = of_role(&pods, LABELS_ROLE);
        let pods = of_role(&pods, "serving");
        let since = self.status.as_ref().and_then(counted_since);
        let traffic = since
            .map(|since| context.scraper.traffic(&pods, since))
            .unwrap_or_default();
        Observed {
            versions: versions_of(stores, &namespace, &self.spec.model),
            children: stores
                .deployments
                .owned(&namespace, labels::DEPLOYMENT, &name, &uid),
            services: stores
                .services
                .owned(&namespace, labels::DEPLOYMENT, &name, &uid),
            pods,
            traffic,
            evidence: context.scraper.evidence(&self),
            readings: readings(&self, context),
            label_jobs: of_role(
                &stores
                    .jobs
                    .owned(&namespace, labels::DEPLOYMENT, &name, &uid),
                "labels",
            ),
            label_pods,
            bake: context.scraper.bake(&self),
            monitors: stores
                .drift_monitors
                .labelled(&namespace, OF_DEPLOYMENT, &name),
            gateway: gateway(&self, stores),
            autoscalers: autoscalers(&self, context),
            claims: stores.claims.within(&namespace),
            presets: context.presets.clone(),
            agent_image: context.agent_image.clone(),
            deployment: self,
        }
    }

    fn plan(observed: &Observed, now: Timestamp) -> Plan<ModelDeploymentStatus> {
        plan(observed, now)
    }

    fn refused(
        observed: &Observed,
        problem: &Problem,
        now: Timestamp,
    ) -> Plan<ModelDeploymentStatus> {
        refused(observed, problem, now)
    }
}

impl Ours for ModelDeployment {
    fn conditions(&self) -> &[Condition] {
        (self.status.as_ref()).map_or(&[], |status| &status.conditions)
    }

    fn facts(&self) -> Vec<Fact> {
        let mut all = vec![(OF_MODEL, self.spec.model.clone())];
        let status = self.status.as_ref();
        let is_under_way =
            status.is_some_and(|status| status.canary.is_some() || status.bake.is_some());
        all.extend(is_under_way.then(|| so(UNDER_WAY)));
        all.extend(entrances(self).into_iter().map(|one| (ENTRANCE, one)));
        all
    }
}

/// The pods that are for this.
fn of_role<K: ResourceExt>(all: &[Arc<K>], role: &str) -> Vec<Arc<K>> {
    let is_for = |one: &&Arc<K>| one.labels().get(labels::ROLE).is_some_and(|is| is == role);
    all.iter().filter(is_for).cloned().collect()
}

/// What is known of the queries that the roll-out is judged by.
fn readings(deployment: &ModelDeployment, context: &Context) -> Readings {
    match &context.prometheus {
        Some(_) => context.answers.of(deployment),
        None => Readings::NoPrometheus,
    }
}

/// By what its traffic is told from that of others: the Gateway, the path, and each host name, or that it has all.
fn entrances(deployment: &ModelDeployment) -> Vec<String> {
    let Some(routing) = &deployment.spec.rollout.traffic else {
        return Vec::new();
    };
    let gateway = &routing.gateway_ref;
    let namespace = gateway.namespace.clone().or_else(|| deployment.namespace());
    let (namespace, name, path) = (namespace.unwrap_or_default(), &gateway.name, &routing.path);
    let entrance = |hostname: &str| format!("{namespace}/{name} {hostname} {path}");
    match &*routing.hostnames {
        [] => vec![entrance("")],
        some => some.iter().map(|hostname| entrance(hostname)).collect(),
    }
}

/// What is known of the Gateway API for one.
fn gateway(deployment: &ModelDeployment, stores: &Stores) -> Gateway {
    let (namespace, name) = (
        deployment.namespace().unwrap_or_default(),
        deployment.name_any(),
    );
    let mut others: Vec<_> = entrances(deployment)
        .iter()
        .flat_map(|entrance| stores.model_deployments.everywhere(ENTRANCE, entrance))
        .collect();
    others.retain(|other| other.uid() != deployment.uid());
    let routes = stores.http_routes.as_ref();
    Gateway {
        is_served: routes.is_some(),
        route: routes.and_then(|routes| routes.get(&namespace, &name)),
        others,
    }
}

/// What is known of autoscalers for one; another's of its name is none of ours.
fn autoscalers(deployment: &ModelDeployment, context: &Context) -> Autoscalers {
    let (stores, uid) = (&context.stores, deployment.uid().unwrap_or_default());
    let (namespace, name) = (
        deployment.namespace().unwrap_or_default(),
        deployment.name_any(),
    );
    let horizontal = stores.autoscalers.get(&namespace, &name);
    let scaled = stores.scaled_objects.as_ref();
    let scaled = scaled.and_then(|cache| cache.get(&namespace, &name));
    Autoscalers {
        has_keda: stores.scaled_objects.is_some(),
        has_adapter: context.has_metrics_of_pods,
        prometheus: context.prometheus.as_ref().map(|one| one.url().to_owned()),
        horizontal: horizontal.filter(|one| is_owned_by(&**one, &uid)),
        scaled: scaled.filter(|one| is_owned_by(&**one, &uid)),
    }
}
