//! How traffic is divided: by how many pods each version has, by the Service that names one of them, or by a route.
//!
//! ```text
//!   Canary, by replicas   Service ──all pods──> stable, canary        while it rolls; one version's while another bakes
//!   BlueGreen, Shadow     Service ──────────> stable     Service …-preview ──> the version that is tried
//!   Canary, by a Gateway  HTTPRoute ──weights──> Service …-v1, Service …-v2     Service ──> stable
//! ```

use std::collections::BTreeMap;

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt;
use windlass_api::{
    ModelDeploymentStatus, ModelVersion, Routing, Strategy, TrafficBy, TrafficStatus, labels,
};

use super::{Reconcile, replicas};
use crate::modeldeployment::children;
use crate::modeldeployment::gateway::{self, Backend, Division, HttpRoute, Taken};
use crate::{Child, Doomed, Plan, Problem, Step};

/// How long a route has to have been so before pods that it does not name any more go: Gateways say that they have taken one
/// a little before they have.
const SETTLES: SignedDuration = SignedDuration::from_secs(5);

/// Which version is to have which part of the traffic.
#[derive(Clone, Copy, Debug)]
pub(super) enum Split<'a> {
    /// All that answer, alike: nothing is known to be better.
    Any,
    /// One has all.
    All(&'a ModelVersion),
    /// Two have some.
    Between {
        stable: &'a ModelVersion,
        canary: &'a ModelVersion,
        /// The canary's, in percent.
        weight: i32,
        /// Whether what divides the traffic knows its pods: until then it is sent nothing at all.
        is_known: bool,
    },
}

impl<'a> Split<'a> {
    fn weights(self) -> Vec<(&'a ModelVersion, i32)> {
        match self {
            Self::Any => Vec::new(),
            Self::All(version) => vec![(version, 100)],
            Self::Between {
                stable,
                canary,
                weight,
                ..
            } => vec![(stable, 100 - weight), (canary, weight)],
        }
    }

    fn stable(self) -> Option<&'a ModelVersion> {
        match self {
            Self::Any => None,
            Self::All(version) => Some(version),
            Self::Between { stable, .. } => Some(stable),
        }
    }

    /// Whether whoever is to have some traffic can have it.
    pub(super) fn is_known(self) -> bool {
        !matches!(
            self,
            Self::Between {
                is_known: false,
                ..
            }
        )
    }

    fn known_canary(self) -> Option<&'a ModelVersion> {
        match self {
            Self::Between {
                is_known: false, ..
            } => None,
            _ => self.canary(),
        }
    }

    fn canary(self) -> Option<&'a ModelVersion> {
        match self {
            Self::Any | Self::All(_) => None,
            Self::Between { canary, .. } => Some(canary),
        }
    }
}

impl<'a> Reconcile<'a> {
    /// The routing, where traffic is divided by a Gateway.
    pub(super) fn routing(&self) -> Option<&'a Routing> {
        let asked = self.deployment.spec.rollout.traffic.as_ref();
        asked.filter(|_| self.observed.gateway.is_served)
    }

    /// Whether each version has a Service of its own.
    fn has_services(&self) -> bool {
        self.routing().is_some()
    }

    /// Whether the version that is tried has a Service by which it can be reached apart.
    fn has_preview(&self) -> bool {
        matches!(
            self.deployment.spec.rollout.strategy,
            Strategy::BlueGreen | Strategy::Shadow
        )
    }

    /// How a Gateway divides traffic that is to be divided so. It learns of the canary's pods first, with no traffic for them:
    /// for a moment it may know a Service and none of its pods, and requests that go there fail.
    pub(super) fn by_gateway<'s>(
        &self,
        stable: &'s ModelVersion,
        canary: &'s ModelVersion,
        weight: i32,
    ) -> Split<'s> {
        let between = |weight, is_known| Split::Between {
            stable,
            canary,
            weight,
            is_known,
        };
        let before = self.before.traffic.as_ref();
        let weights = before.filter(|before| before.by == TrafficBy::Gateway);
        match weights.and_then(|before| before.weights.get(&canary.name_any())) {
            Some(0) if self.is_settled(between(0, false)) || self.has_rule(between(0, true)) => {
                between(weight, true)
            }
            // It was written before the status could say so: it never goes back to less.
            Some(0) if weight > 0 && self.is_live(between(weight, true)) => between(weight, true),
            None | Some(0) => between(0, false),
            Some(_) => between(weight, true),
        }
    }

    /// Plans that traffic is divided so.
    pub(super) fn direct(&self, split: Split<'_>, plan: &mut Plan<ModelDeploymentStatus>) {
        let by = self.by(split);
        let pinned = match (split, by) {
            (Split::Any, _) => self.named_without_record(plan),
            (_, TrafficBy::Replicas) => None,
            (_, TrafficBy::Gateway | TrafficBy::Service) => {
                split.stable().map(|one| one.name_any())
            }
        };
        let mut services = vec![children::service(self.deployment, pinned.as_deref())];
        if self.has_services() {
            let named = split.stable().into_iter().chain(split.canary());
            services
                .extend(named.map(|version| children::version_service(self.deployment, version)));
        }
        if self.has_preview() {
            services.extend(
                split
                    .canary()
                    .map(|canary| children::preview_service(self.deployment, canary)),
            );
        }
        plan.steps.extend(
            services
                .into_iter()
                .map(|service| Step::Apply(Child::Service(Box::new(service)))),
        );
        let route = match split {
            Split::Any => self.route_without_record(plan),
            Split::All(_) | Split::Between { .. } => self.route(split),
        };
        if let Some(route) = route {
            plan.steps
                .push(Step::Apply(Child::HttpRoute(Box::new(route))));
        }
        // Of one pod nothing can be spared, and whoever drains its node has to.
        if self.replicas() > 1 {
            let budget = children::disruption_budget(self.deployment);
            plan.steps
                .push(Step::Apply(Child::PodDisruptionBudget(Box::new(budget))));
        }
        plan.status.traffic = self.traffic(by, split);
    }

    /// Says how traffic is divided from what has just been decided on, where the pods alone divide it: nothing is done for that.
    pub(super) fn foretell(&self, split: Split<'_>, plan: &mut Plan<ModelDeploymentStatus>) {
        let by = plan.status.traffic.as_ref().map(|traffic| traffic.by);
        if by == Some(TrafficBy::Replicas) && self.by(split) == TrafficBy::Replicas {
            plan.status.traffic = self.traffic(TrafficBy::Replicas, split);
        }
    }

    /// By what traffic is divided. A Service that names one version does so until no other has pods.
    fn by(&self, split: Split<'_>) -> TrafficBy {
        if self.routing().is_some() && split.stable().is_some() {
            return TrafficBy::Gateway;
        }
        let was_pinned = self
            .before
            .traffic
            .as_ref()
            .is_some_and(|traffic| traffic.by == TrafficBy::Service);
        let has_others = |stable: &ModelVersion| {
            let mut all = self.observed.children.iter();
            let name = children::deployment_name(self.deployment, stable);
            all.any(|child| child.name_any() != name)
        };
        let is_pinned = match (split, self.deployment.spec.rollout.strategy) {
            (Split::Any, _) | (Split::Between { .. }, Strategy::Canary | Strategy::Recreate) => {
                false
            }
            (_, Strategy::BlueGreen | Strategy::Shadow) => true,
            (Split::All(stable), Strategy::Canary | Strategy::Recreate) => {
                (was_pinned || self.bakes() || self.is_held()) && has_others(stable)
            }
        };
        if is_pinned {
            TrafficBy::Service
        } else {
            TrafficBy::Replicas
        }
    }

    fn traffic(&self, by: TrafficBy, split: Split<'_>) -> Option<TrafficStatus> {
        let weights: BTreeMap<String, i32> = split
            .weights()
            .into_iter()
            // A Gateway gets to know a version before it sends it anything.
            .filter(|(_, weight)| *weight > 0 || by == TrafficBy::Gateway)
            .map(|(version, weight)| (version.name_any(), weight))
            .collect();
        if weights.is_empty() {
            return None;
        }
        let before = self.before.traffic.as_ref();
        let same = before.filter(|before| before.by == by && before.weights == weights);
        Some(TrafficStatus {
            by,
            since: same.map_or(self.now, |before| before.since),
            weights,
        })
    }

    fn route(&self, split: Split<'_>) -> Option<HttpRoute> {
        let routing = self.routing()?;
        split.stable()?;
        // The host name of another stays another's; what is there stays as it is.
        if self.routing_problem.is_some() {
            return None;
        }
        let service = |version: &ModelVersion| children::deployment_name(self.deployment, version);
        let division = Division {
            backends: split
                .weights()
                .into_iter()
                .map(|(version, weight)| Backend {
                    service: service(version),
                    weight,
                })
                .collect(),
            canary: split.known_canary().map(service),
        };
        Some(gateway::route(
            self.deployment,
            routing,
            &division,
            children::PORT,
        ))
    }

    /// The route goes on as it is where nothing is known of what serves but that it answers; what failed beside it gets nothing.
    fn route_without_record(&self, plan: &Plan<ModelDeploymentStatus>) -> Option<HttpRoute> {
        let serves = self.serves_without_record();
        let may = replicas::answering(serves) > 0
            && self.is_beside_what_failed(plan)
            && self.routing_problem.is_none();
        let service = serves.filter(|_| may)?.name_any();
        let division = Division {
            backends: vec![Backend {
                service,
                weight: 100,
            }],
            canary: None,
        };
        let routing = self.routing()?;
        let port = children::PORT;
        Some(gateway::route(self.deployment, routing, &division, port))
    }

    /// What stands against traffic by a Gateway, before anything is done.
    pub(super) fn check_routing(&self) -> Result<(), Problem> {
        self.routing_problem.clone().map_or(Ok(()), Err)
    }

    /// Whether the route that is there has the rule of what goes to the canary whatever its weight.
    fn has_rule(&self, split: Split<'_>) -> bool {
        let has_any = self
            .routing()
            .is_some_and(|routing| !routing.canary_when.is_empty());
        has_any && self.is_live(split)
    }

    /// Whether the route that is there divides the traffic so.
    fn is_live(&self, split: Split<'_>) -> bool {
        let live = self.observed.gateway.route.as_ref();
        live.zip(self.route(split))
            .is_some_and(|(live, wanted)| crate::compare::is_so(&wanted.spec, &live.spec))
    }

    /// Whether the Gateway has taken the traffic as it is to be divided; always where there is none.
    pub(super) fn is_taken(&self, split: Split<'_>) -> Taken {
        self.route(split).map_or(Taken::Yes, |wanted| {
            gateway::taken(self.observed.gateway.route.as_deref(), &wanted)
        })
    }

    /// What is said of a route that was refused.
    pub(super) fn refused_route(&self, split: Split<'_>) -> Option<Problem> {
        let Taken::Refused(why) = self.is_taken(split) else {
            return None;
        };
        let gateway = &self.routing()?.gateway_ref.name;
        Some(Problem::new(
            "RouteRefused",
            format!(
                "spec.rollout.traffic.gatewayRef: the Gateway {gateway} does not take the HTTPRoute {}: {why}. What served before serves on where the Gateway still sends it; which namespaces and host names it takes is told by its spec.listeners",
                self.deployment.name_any()
            ),
        ))
    }

    /// Whether pods that get no traffic any more may go.
    fn is_settled(&self, split: Split<'_>) -> bool {
        if self.routing().is_none() || matches!(split, Split::Any) {
            return true;
        }
        let since = |traffic: &TrafficStatus| {
            let same = self.traffic(TrafficBy::Gateway, split);
            same.is_some_and(|same| same.weights == traffic.weights && same.by == traffic.by)
                && self.now.duration_since(traffic.since) >= SETTLES
        };
        // A route that is refused sends nothing anywhere: nothing is waited for.
        match self.is_taken(split) {
            Taken::NotYet => false,
            Taken::Refused(_) => true,
            Taken::Yes => self.before.traffic.as_ref().is_some_and(since),
        }
    }

    /// Takes away the pods of all versions but these, once they get no traffic any more.
    pub(super) fn delete_others(
        &self,
        split: Split<'_>,
        kept: &[String],
        plan: &mut Plan<ModelDeploymentStatus>,
    ) {
        if !self.is_settled(split) {
            plan.look_again(Some(super::rollout::LOOK));
            return;
        }
        self.delete_all_but(&kept.iter().cloned().collect(), plan);
    }

    /// Takes away Services that no version needs any more.
    pub(super) fn delete_services(&self, plan: &mut Plan<ModelDeploymentStatus>) {
        let applied: Vec<String> = plan
            .steps
            .iter()
            .filter_map(|step| match step {
                Step::Apply(Child::Service(service)) => Some(service.name_any()),
                _ => None,
            })
            .collect();
        // That of a version goes with its pods; the rest of the plan has told which stay.
        let has_pods = |service: &Service| {
            let version = service.labels().get(labels::VERSION);
            version.is_some_and(|version| self.child_of(version).is_some())
        };
        let doomed = self.observed.services.iter().filter(|service| {
            let name = service.name_any();
            let is_needed = applied.contains(&name) || (self.has_services() && has_pods(service));
            name != self.deployment.name_any()
                && !is_needed
                && service.metadata.deletion_timestamp.is_none()
        });
        plan.steps
            .extend(doomed.map(|service| Step::Delete(Doomed::Service(service.name_any()))));
        if self.routing().is_none() && self.observed.gateway.route.is_some() {
            plan.steps
                .push(Step::Delete(Doomed::HttpRoute(self.deployment.name_any())));
        }
    }
}
