//! Gateways that do not take a route, host names that another has, a canary that nobody asks, and minds that are changed.

use std::time::Duration;

use serde_json::json;

use crate::ground::{Asked, Deployment, Ground};
use crate::load::Load;
use crate::{GOOD, SPACE};

/// Behind the Gateway; what is asked for of it is changed in the middle.
pub const CHANGED: &str = "changed";
/// Its host name.
pub const HOST: &str = "r.test";
/// Behind a Gateway that takes no routes from here.
pub const REFUSED: &str = "refused";
/// It wants the host name of another, and is asked nothing.
const UNASKED: &str = "unasked";

/// Three ModelDeployments.
pub fn go(ground: &Ground, load: &Load<'_>) {
    ground.bench.apply(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: closed, namespace: gateway-system}\n\
         spec: {gatewayClassName: traefik, listeners: [{name: web, protocol: HTTP, port: 8000, allowedRoutes: {namespaces: {from: Same}}}]}\n",
    );
    let deploy = |name, gateway: &str, host: &str| {
        let rollout = format!(
            "{{minRequests: 5, steps: [{{weight: 50, hold: 2s}}], analysis: [{{metric: ErrorRate, notWorseThan: \"0.2\"}}], traffic: {{gatewayRef: {{name: {gateway}, namespace: gateway-system}}, hostnames: [{host}]}}}}"
        );
        ground.deploy(
            SPACE,
            name,
            &Asked {
                replicas: 1,
                rollout: &rollout,
            },
        )
    };
    let changed = deploy(CHANGED, "windlass", HOST);
    let refused = deploy(REFUSED, "closed", "q.test");
    changed.until_serves(1);
    std::thread::scope(|scope| {
        scope.spawn(|| a_spec_that_is_changed_twice(changed, load));
        scope.spawn(|| a_gateway_that_does_not_take_the_route(refused, load));
        scope.spawn(|| {
            let unasked = deploy(UNASKED, "windlass", HOST);
            two_with_one_host_name(unasked);
            a_canary_that_gets_no_traffic(unasked);
        });
    });
}

/// In the middle of one roll-out another is asked for, and in the middle of that a third.
fn a_spec_that_is_changed_twice(deployment: Deployment<'_>, load: &Load<'_>) {
    load.until_it_comes(&[CHANGED]);
    for version in [2, 3] {
        deployment.ask_for(version);
        deployment.until_tried(version, 50);
    }
    deployment.ask_for(GOOD);
    deployment.until_serves(GOOD);
    let counted = load.goes_on(CHANGED, 20);
    println!("{CHANGED}: {counted:?}");
    assert_eq!(
        counted.answers.values().sum::<u64>(),
        counted.sent,
        "{counted:?}"
    );
    let status = deployment.now()["status"].clone();
    let history = status["history"].as_array().into_iter().flatten();
    let happened: Vec<String> = history
        .map(|event| format!("{} {}", event["version"], event["action"]).replace('"', ""))
        .collect();
    let expected = [
        "m-1 Promoted",
        "m-2 CanaryStarted",
        "m-2 CanaryStopped",
        "m-3 CanaryStarted",
        "m-3 CanaryStopped",
        "m-4 CanaryStarted",
        "m-4 Promoted",
        "m-1 Retired",
    ];
    assert_eq!(happened, expected);
    assert!(
        status["quarantine"].is_null(),
        "none of them did harm: {status}"
    );
    let seen = &deployment.ground.seen;
    seen.assert_never_short(&deployment.key());
    seen.assert_always_available(&deployment.key());
}

fn a_gateway_that_does_not_take_the_route(deployment: Deployment<'_>, load: &Load<'_>) {
    let why = [
        "spec.rollout.traffic.gatewayRef",
        "the Gateway closed",
        "HTTPRoute refused",
        "NotAllowedByListeners",
    ];
    deployment.until_stalled("RouteRefused", &why);
    load.until_it_comes(&[REFUSED]);
    deployment.ask_for(2);
    deployment.until_tried(2, 50);
    // Much longer than its step lasts.
    load.goes_on(REFUSED, 80);
    deployment.until_stalled("RouteRefused", &why);
    let open = json!({"rollout": {"traffic": {"gatewayRef": {"name": "windlass"}}}});
    deployment.change(&open);
    // There is no load at the Gateway; a person lets it pass.
    deployment.until("it gets on", |now| {
        let analysis = now["status"]["canary"]["analysis"].as_str();
        analysis.is_some_and(|said| said.contains("has answered 0 of 5 requests"))
    });
    deployment.ask_for(1);
    deployment.until_serves(1);
    let counted = load.goes_on(REFUSED, 20);
    println!("{REFUSED}: {counted:?}");
    assert_eq!(
        counted.answers.values().sum::<u64>(),
        counted.sent,
        "{counted:?}"
    );
    let seen = &deployment.ground.seen;
    seen.assert_always_available(&deployment.key());
}

fn two_with_one_host_name(deployment: Deployment<'_>) {
    deployment.until("it is stalled", |now| {
        let (status, reason, message) = crate::seen::condition(now, "Stalled");
        let words = [
            "spec.rollout.traffic.hostnames",
            HOST,
            "ModelDeployment changed in namespace wrong",
            "another host name",
        ];
        status == "True"
            && reason == "HostnameTaken"
            && words.iter().all(|word| message.contains(word))
    });
    deployment.change(&json!({"rollout": {"traffic": {"hostnames": ["u.test"]}}}));
    deployment.until_serves(1);
}

fn a_canary_that_gets_no_traffic(deployment: Deployment<'_>) {
    deployment.ask_for(2);
    deployment.until_tried(2, 50);
    let says = |now: &serde_json::Value| {
        let (_, reason, message) = crate::seen::condition(now, "Ready");
        reason == "Rolling"
            && message.contains("the canary has answered 0 of 5 requests that a step needs")
    };
    deployment.until("it says what it waits for", says);
    // Its step is long over.
    std::thread::sleep(Duration::from_secs(15));
    assert!(says(&deployment.now()), "{}", deployment.now()["status"]);
    assert_eq!(
        crate::seen::condition(&deployment.now(), "Stalled").0,
        "False"
    );
    deployment.assert_serves_on();
    deployment.ask_for(1);
    deployment.until_serves(1);
    deployment.ground.seen.assert_never_short(&deployment.key());
    deployment
        .ground
        .seen
        .assert_always_available(&deployment.key());
}
