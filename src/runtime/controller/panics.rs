//! A panic in the plan of one object touches that object alone.

use std::convert::Infallible;
use std::sync::{LazyLock, MutexGuard};

use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::client::Body;
use kube::runtime::events::Reporter;
use kube::runtime::watcher::Event;
use kube::{Client, Config as ClusterConfig};
use windlass_plan::gpus::claims::DeviceClaims;
use windlass_plan::presets::Presets;
use windlass_plan::trainingjob::{Schedulers, gang};

use super::*;
use crate::runtime::Settings;
use crate::runtime::calm::Calm;
use crate::runtime::discovery::Served;
use crate::runtime::events::Events;
use crate::runtime::metrics::Metrics;
use crate::runtime::shards::Shard;

/// A kind whose plan panics for the object `bad`; its status is what is said of it.
impl Ours for ConfigMap {}

static CACHE: LazyLock<OurCache<ConfigMap>> = LazyLock::new(|| {
    let (cache, mut writer, _) = OurCache::new();
    for name in ["bad", "good"] {
        let metadata = ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some("growth".to_owned()),
            uid: Some(format!("uid-of-{name}")),
            ..ObjectMeta::default()
        };
        let map = ConfigMap {
            metadata,
            ..ConfigMap::default()
        };
        writer.apply_watcher_event(&Event::InitApply(Form::keep(map).0));
    }
    writer.apply_watcher_event(&Event::InitDone);
    cache
});

impl Planned for ConfigMap {
    type Status = String;
    type Observed = String;
    const MANAGER: &'static str = "windlass-test";

    fn cache(_: &Stores) -> &OurCache<Self> {
        &CACHE
    }

    fn status(&self) -> Option<&String> {
        None
    }

    fn observe(self: Arc<Self>, _: &Context) -> String {
        self.name_any()
    }

    fn plan(observed: &String, _: Timestamp) -> Plan<String> {
        assert!(observed != "bad", "an invariant of the planner's");
        Plan::status_only("planned".to_owned())
    }

    fn refused(_: &String, problem: &Problem, _: Timestamp) -> Plan<String> {
        Plan::status_only(format!("{}: {}", problem.reason, problem.message))
    }
}

/// What was asked of the API server: method, path and body.
type Asked = Arc<Mutex<Vec<(Method, String, String)>>>;

fn of(asked: &Asked) -> MutexGuard<'_, Vec<(Method, String, String)>> {
    asked.lock().expect("no holder panics")
}

/// An API server that takes everything, and writes it down.
fn client(asked: &Asked) -> Client {
    let asked = asked.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let asked = asked.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.expect("a body").to_bytes();
            let body = String::from_utf8_lossy(&body).into_owned();
            let path = head.uri.path().to_owned();
            let answer = if path.ends_with("/events") {
                body.clone()
            } else {
                // Another object has the name by now, so that no cache is waited for.
                r#"{"metadata": {"uid": "another", "resourceVersion": "2"}}"#.to_owned()
            };
            of(&asked).push((head.method, path, body));
            Ok::<_, Infallible>(Response::new(Body::from(answer.into_bytes())))
        }
    });
    Client::new(service, "default")
}

fn context(asked: &Asked) -> Arc<Context> {
    let served = Served {
        schedulers: Schedulers {
            kueue: false,
            native: gang::native(&[]),
            kai: false,
            volcano: false,
            device_claims: DeviceClaims::NotServed,
        },
        routes: false,
        keda: false,
        metrics_of_pods: false,
    };
    let client = client(asked);
    let settings = Settings {
        client: client.clone(),
        config: ClusterConfig::new("http://127.0.0.1:1".parse().expect("an address")),
        calm: Calm::default(),
        identity: "test".to_owned(),
        agent_image: "agent".to_owned(),
        engines: crate::ballista::Engines::default(),
        ask_trainers: false,
        input_cache: None,
        prometheus: None,
        listener: None,
        presets: Presets::default(),
        served,
        namespaces: Vec::new(),
        shard: Shard::default(),
        metrics: Metrics::new(),
    };
    let (context, _, _) = Context::new(settings).expect("a context");
    let mut context = Arc::into_inner(context).expect("nobody else has it");
    let reporter = Reporter {
        controller: "windlass".to_owned(),
        instance: None,
    };
    context.events = Events::new(client.clone(), reporter);
    context.client = client;
    context.term.renewed_at(tokio::time::Instant::now());
    Arc::new(context)
}

#[tokio::test]
async fn a_panic_in_the_plan_of_one_object_is_said_of_it_and_touches_no_other() {
    let asked = Asked::default();
    let context = context(&asked);
    let controller = run::<ConfigMap>(context.clone(), stream::pending());
    let ended = tokio::time::timeout(Duration::from_secs(3), controller).await;
    assert!(ended.is_err(), "the controller goes on");

    let text = context.metrics.text();
    let counted = |outcome: &str| -> u32 {
        let of = format!("windlass_reconciles_total{{kind=\"ConfigMap\",outcome=\"{outcome}\"}} ");
        let number = text.lines().find_map(|line| line.strip_prefix(&of));
        number.map_or(0, |number| number.parse().expect("a number"))
    };
    assert_eq!(counted("ok"), 1, "{text}");
    // Tried again, with pauses of a quarter of a second, of half of one, and so on.
    assert!((2..=6).contains(&counted("panic")), "{text}");

    let all = of(&asked);
    let said = |path: &str, words: &str| {
        let mut all = all.iter();
        all.any(|(_, asked, body)| asked.ends_with(path) && body.contains(words))
    };
    let words = "OperatorFault: a fault in the operator: an invariant of the planner's";
    assert!(said("/configmaps/bad/status", words), "{all:#?}");
    assert!(said("/configmaps/good/status", "planned"), "{all:#?}");
    assert!(!said("/configmaps/good/status", "OperatorFault"));
    assert!(said("/events", "an invariant of the planner's"), "{all:#?}");
}
