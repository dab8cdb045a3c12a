//! The Gateway API: the one module that knows it.
//!
//! ```text
//!   Gateway <──parentRefs── HTTPRoute ──backendRefs, weights──> Service of each version ──> its pods
//!                              │ rules: what is told by a header or cookie goes to the version that is tried
//! ```
//!
//! An HTTPRoute is changed by one write, so that no request falls between two versions; and a version's pods stay until the
//! Gateway has said that it has taken a route without them.

use std::borrow::Cow;
use std::sync::Arc;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::{Resource, ResourceExt};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use windlass_api::{ModelDeployment, NameAndValue, RequestMatch, Routing, labels};

use crate::{Problem, pods};

/// The group of the Gateway API.
pub const GROUP: &str = "gateway.networking.k8s.io";
/// The version of it that is written.
pub const VERSION: &str = "v1";

/// `gateway.networking.k8s.io/v1` HTTPRoute, as far as it is written and read here.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct HttpRoute {
    /// Its metadata.
    pub metadata: ObjectMeta,
    /// What is asked for.
    #[serde(default)]
    pub spec: Value,
    /// What Gateways say of it.
    #[serde(default)]
    pub status: Option<HttpRouteStatus>,
}

/// What Gateways say of a route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HttpRouteStatus {
    /// One for each Gateway and controller.
    #[serde(default)]
    pub parents: Vec<RouteParent>,
}

/// What one Gateway says of a route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RouteParent {
    /// Accepted, ResolvedRefs and others.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}

impl Serialize for HttpRoute {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = json!({
            "apiVersion": Self::api_version(&()), "kind": Self::kind(&()),
            "metadata": self.metadata, "spec": self.spec,
        });
        if let Some(status) = &self.status {
            object["status"] = json!(status);
        }
        object.serialize(serializer)
    }
}

impl Resource for HttpRoute {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "HTTPRoute".into()
    }
    fn group((): &()) -> Cow<'_, str> {
        GROUP.into()
    }
    fn version((): &()) -> Cow<'_, str> {
        VERSION.into()
    }
    fn plural((): &()) -> Cow<'_, str> {
        "httproutes".into()
    }
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// What is known of the Gateway API for one ModelDeployment.
#[derive(Clone, Debug, Default)]
pub struct Gateway {
    /// Whether the cluster serves HTTPRoutes.
    pub is_served: bool,
    /// The route, where it is there.
    pub route: Option<Arc<HttpRoute>>,
    /// Other ModelDeployments behind the same Gateway, those at least that have a host name and the path of this one.
    pub others: Vec<Arc<ModelDeployment>>,
}

/// A backend of a route, and its part of the traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Name of the Service.
    pub service: String,
    /// In percent.
    pub weight: i32,
}

/// How traffic is to be divided by a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Division {
    /// All backends with a part of the traffic.
    pub backends: Vec<Backend>,
    /// The Service of the version that is tried, which gets what [`Routing::canary_when`] tells.
    pub canary: Option<String>,
}

/// The route of a ModelDeployment.
pub fn route(
    deployment: &ModelDeployment,
    routing: &Routing,
    division: &Division,
    port: i32,
) -> HttpRoute {
    let name = deployment.name_any();
    let more = [
        (labels::DEPLOYMENT, name.as_str()),
        (labels::MODEL, deployment.spec.model.as_str()),
    ];
    // All that the API server would fill in is written, so that a route that is so is told by its fields.
    let backend = |service: &str, weight: i32| json!({"group": "", "kind": "Service", "name": service, "port": port, "weight": weight});
    let path = json!({"type": "PathPrefix", "value": routing.path});
    let mut rules = Vec::new();
    if let Some(canary) = &division.canary
        && !routing.canary_when.is_empty()
    {
        let matches: Vec<Value> = routing
            .canary_when
            .iter()
            .map(|told| json!({"path": path, "headers": [header(told)]}))
            .collect();
        rules.push(json!({"matches": matches, "backendRefs": [backend(canary, 1)]}));
    }
    let all: Vec<Value> = division
        .backends
        .iter()
        .map(|one| backend(&one.service, one.weight))
        .collect();
    rules.push(json!({"matches": [{"path": path}], "backendRefs": all}));
    let gateway = &routing.gateway_ref;
    let mut parent = json!({"group": GROUP, "kind": "Gateway", "name": gateway.name});
    for (key, value) in [
        ("namespace", &gateway.namespace),
        ("sectionName", &gateway.section_name),
    ] {
        if let Some(value) = value {
            parent[key] = json!(value);
        }
    }
    let mut spec = json!({"parentRefs": [parent], "rules": rules});
    if !routing.hostnames.is_empty() {
        spec["hostnames"] = json!(routing.hostnames);
    }
    HttpRoute {
        metadata: pods::child_meta(deployment, name.clone(), "serving", &more),
        spec,
        status: None,
    }
}

fn header(told: &RequestMatch) -> Value {
    match (&told.header, &told.cookie) {
        (Some(NameAndValue { name, value }), _) => {
            json!({"type": "Exact", "name": name, "value": value})
        }
        (None, Some(NameAndValue { name, value })) => {
            let pair = format!("{}={}", escaped(name), escaped(value));
            json!({"type": "RegularExpression", "name": "cookie", "value": format!("^(.*;\\s*)?{pair}(;.*)?$")})
        }
        (None, None) => Value::Null,
    }
}

/// A text as a regular expression that is only itself.
fn escaped(text: &str) -> String {
    text.chars()
        .flat_map(|letter| {
            let is_plain = letter.is_ascii_alphanumeric() || "-_=/:~!#%&".contains(letter);
            (!is_plain).then_some('\\').into_iter().chain([letter])
        })
        .collect()
}

/// Whether a Gateway has taken the route as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// By every Gateway that has said something of it, in this state of it.
    Yes,
    /// None has said anything of it yet.
    NotYet,
    /// It was refused, and why.
    Refused(String),
}

/// What the Gateways say of the route that is there; `wanted` is what is to be there.
pub fn taken(live: Option<&HttpRoute>, wanted: &HttpRoute) -> Taken {
    let Some(live) = live.filter(|live| crate::compare::is_so(&wanted.spec, &live.spec)) else {
        return Taken::NotYet;
    };
    let conditions = live.status.iter().flat_map(|status| &status.parents);
    let mut is_taken = false;
    for parent in conditions {
        let find = |type_: &str| {
            parent.conditions.iter().find(|condition| {
                condition.type_ == type_
                    && condition.observed_generation >= live.metadata.generation
            })
        };
        for type_ in ["Accepted", "ResolvedRefs"] {
            let refused = find(type_).filter(|condition| condition.status == "False");
            // A Service that has just been made is not known yet.
            if refused.is_some_and(|condition| condition.reason == "BackendNotFound") {
                return Taken::NotYet;
            }
            if let Some(refused) = refused {
                // Not every implementation says more than the reason.
                let both = format!("{}: {}", refused.reason, refused.message);
                return Taken::Refused(both.trim_end_matches([':', ' ']).to_owned());
            }
        }
        is_taken |= find("Accepted").is_some_and(|condition| condition.status == "True");
    }
    if is_taken { Taken::Yes } else { Taken::NotYet }
}

/// What stands against traffic by a Gateway.
pub fn problem(
    deployment: &ModelDeployment,
    routing: &Routing,
    gateway: &Gateway,
) -> Option<Problem> {
    if !gateway.is_served {
        return Some(Problem::new(
            "GatewayApiNotServed",
            format!(
                "spec.rollout.traffic: this cluster does not serve HTTPRoutes ({GROUP}/{VERSION}); install the Gateway API's CRDs and a controller for them, or leave spec.rollout.traffic out: traffic is divided by share of replicas then"
            ),
        ));
    }
    let mine = identity(deployment);
    let clash = gateway.others.iter().find_map(|other| {
        let theirs = other.spec.rollout.traffic.as_ref()?;
        let is_older = (&other.metadata.creation_timestamp, identity(other))
            < (&deployment.metadata.creation_timestamp, mine.clone());
        if !is_older || theirs.path != routing.path {
            return None;
        }
        let both_any = routing.hostnames.is_empty() && theirs.hostnames.is_empty();
        let common = routing
            .hostnames
            .iter()
            .find(|name| theirs.hostnames.contains(name));
        (both_any || common.is_some()).then(|| (identity(other), common.cloned()))
    });
    let ((namespace, name), hostname) = clash?;
    let hostname =
        hostname.map_or_else(|| "every host name".to_owned(), |name| format!("{name:?}"));
    Some(Problem::new(
        "HostnameTaken",
        format!(
            "spec.rollout.traffic.hostnames: {hostname} with the path {:?} belongs to the ModelDeployment {name} in namespace {namespace}, which is older; give this one another host name or path",
            routing.path
        ),
    ))
}

fn identity(deployment: &ModelDeployment) -> (String, String) {
    (
        deployment.namespace().unwrap_or_default(),
        deployment.name_any(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::object;

    fn routing(more: Value) -> Routing {
        let mut whole = json!({"gatewayRef": {"name": "public", "namespace": "edge"}, "hostnames": ["churn.example"]});
        let (Value::Object(all), Value::Object(more)) = (&mut whole, more) else {
            panic!("objects")
        };
        all.extend(more);
        serde_json::from_value(whole).expect("a routing")
    }

    fn deployment(name: &str, created: &str, routing: &Routing) -> ModelDeployment {
        object(json!({
            "apiVersion": "windlass.dev/v1alpha1", "kind": "ModelDeployment",
            "metadata": {"name": name, "namespace": "growth", "uid": name, "creationTimestamp": created},
            "spec": {"model": name, "runtime": "mlserver", "rollout": {"traffic": routing}},
        }))
    }

    #[test]
    fn a_route_divides_the_traffic_and_sends_what_is_told_to_the_canary() {
        let told = json!({"canaryWhen": [
            {"header": {"name": "x-preview", "value": "yes"}},
            {"cookie": {"name": "track", "value": "a.b"}},
        ]});
        let routing = routing(told);
        let division = Division {
            backends: vec![
                Backend {
                    service: "churn-v1".to_owned(),
                    weight: 90,
                },
                Backend {
                    service: "churn-v2".to_owned(),
                    weight: 10,
                },
            ],
            canary: Some("churn-v2".to_owned()),
        };
        let deployment = deployment("churn", "2026-01-01T00:00:00Z", &routing);
        let route = route(&deployment, &routing, &division, 8080);
        insta::with_settings!({snapshot_path => "snapshots", prepend_module_to_snapshot => false}, {
            insta::assert_yaml_snapshot!("route_with_a_canary", route);
        });
    }

    #[test]
    fn a_route_is_taken_when_a_gateway_says_so_of_its_present_state() {
        let routing = routing(json!({}));
        let deployment = deployment("churn", "2026-01-01T00:00:00Z", &routing);
        let division = |weight| Division {
            backends: vec![Backend {
                service: "churn-v1".to_owned(),
                weight,
            }],
            canary: None,
        };
        let wanted = route(&deployment, &routing, &division(100), 8080);
        let live = |generation: i64, type_: &str, status: &str| {
            let mut live = wanted.clone();
            live.metadata.generation = Some(2);
            live.status = serde_json::from_value(json!({"parents": [{"conditions": [{
                "type": type_, "status": status, "observedGeneration": generation, "reason": "NotAllowedByListeners",
                "message": "no listener takes it", "lastTransitionTime": "2026-01-01T00:00:00Z",
            }]}]}))
            .expect("a status");
            live
        };
        assert_eq!(taken(None, &wanted), Taken::NotYet);
        assert_eq!(
            taken(Some(&live(1, "Accepted", "True")), &wanted),
            Taken::NotYet
        );
        assert_eq!(
            taken(Some(&live(2, "Accepted", "True")), &wanted),
            Taken::Yes
        );
        let refused = Taken::Refused("NotAllowedByListeners: no listener takes it".to_owned());
        assert_eq!(taken(Some(&live(2, "Accepted", "False")), &wanted), refused);
        assert_eq!(
            taken(Some(&live(2, "ResolvedRefs", "False")), &wanted),
            refused
        );
        let mut silent = live(2, "Accepted", "False");
        let said = silent.status.as_mut().expect("it has one");
        said.parents[0].conditions[0].message.clear();
        let reason = Taken::Refused("NotAllowedByListeners".to_owned());
        assert_eq!(taken(Some(&silent), &wanted), reason);
        // What is there is not what is wanted: another's edit, or an older state.
        let other = route(&deployment, &routing, &division(50), 8080);
        assert_eq!(
            taken(Some(&live(2, "Accepted", "True")), &other),
            Taken::NotYet
        );
    }

    #[test]
    fn of_two_with_one_host_name_the_younger_one_is_told() {
        let routing_ = routing(json!({}));
        let older = deployment("a", "2026-01-01T00:00:00Z", &routing_);
        let younger = deployment("b", "2026-01-02T00:00:00Z", &routing_);
        let found = |deployment: &ModelDeployment, other: &ModelDeployment| {
            let gateway = Gateway {
                is_served: true,
                route: None,
                others: vec![Arc::new(other.clone())],
            };
            let routing = deployment.spec.rollout.traffic.as_ref().expect("a routing");
            problem(deployment, routing, &gateway).map(|problem| problem.reason)
        };
        assert_eq!(found(&older, &younger), None);
        assert_eq!(found(&younger, &older).as_deref(), Some("HostnameTaken"));
        let elsewhere = deployment("c", "2026-01-02T00:00:00Z", &routing(json!({"path": "/c"})));
        assert_eq!(found(&elsewhere, &older), None);
        let not_served = problem(&older, &routing_, &Gateway::default());
        assert_eq!(
            not_served.map(|problem| problem.reason).as_deref(),
            Some("GatewayApiNotServed")
        );
    }

    #[test]
    fn a_cookie_is_itself_and_nothing_else() {
        assert_eq!(escaped("a.b+c"), "a\\.b\\+c");
        assert_eq!(escaped("x-track_1"), "x-track_1");
    }
}
