//! Pods that come and go by number alone, under constant load: no request is lost with one of them.

use serde_json::json;

use crate::STEADY;
use crate::ground::{Asked, Deployment, Ground};
use crate::load::{Load, Target};
use crate::node::{Bench, PATIENCE};

/// The ModelDeployment.
const NAME: &str = "scaled";
const HOST: &str = "scaled.test";
const GATEWAY: &str = "scaled-gateway";
/// What is answered slowly, so that some are always under way when a pod is told to end.
const SLOW: &str = "scaled-slow";
const SECONDS: &str = "1.5";

/// Both ways there are, over new connections and over one, and what takes long.
pub fn targets(pause: f64) -> Vec<Target> {
    let gateway = Target::gateway(GATEWAY, HOST, pause);
    let service = Target::service(STEADY, NAME, pause);
    vec![
        gateway.kept(),
        service.kept(),
        gateway.with(&format!("{GATEWAY}-slow"), "X-Takes", SECONDS),
        service.with(SLOW, "X-Takes", SECONDS),
        gateway,
        service,
    ]
}

/// Down to one pod and up again, by the object and then by its scale subresource.
pub fn go(ground: &Ground, load: &Load<'_>) {
    let rollout = format!(
        "{{traffic: {{gatewayRef: {{name: windlass, namespace: gateway-system}}, hostnames: [{HOST}]}}}}"
    );
    let asked = Asked {
        replicas: 4,
        rollout: &rollout,
    };
    let deployment = ground.deploy(STEADY, NAME, &asked);
    deployment.until_serves(1);
    let names =
        ["", "-kept", "-slow"].map(|end| [format!("{NAME}{end}"), format!("{GATEWAY}{end}")]);
    let names = names.concat();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    load.until_it_comes(&names);

    for (turn, replicas) in [1, 3, 1, 3].into_iter().enumerate() {
        if turn < 2 {
            deployment.change(&json!({"replicas": replicas}));
        } else {
            let to = format!("--replicas={replicas}");
            let scale = ["-n", STEADY, "scale", "modeldeployment", NAME, &to];
            ground.bench.kubectl(&scale);
        }
        until_there_are(deployment, replicas);
        assert_good(load, &names, &format!("{replicas} pods, turn {turn}"));
    }
    // What was under way when the last pod was told to end has been answered by then.
    load.goes_on(SLOW, 3);
    assert_good(load, &names, "the end");
    for name in names {
        println!("{name}: {:?}", load.of(name));
    }
    assert!(load.of(NAME).sent > 200, "{:?}", load.of(NAME));
    ground.seen.assert_always_available(&deployment.key());
}

/// Waits until so many pods are there and ready, and none that ends.
fn until_there_are(deployment: Deployment<'_>, replicas: u64) {
    deployment.until(&format!("there are {replicas} pods"), |now| {
        let status = &now["status"];
        now["spec"]["replicas"] == replicas
            && status["replicas"] == replicas
            && status["readyReplicas"] == replicas
    });
    let of = format!("windlass.dev/deployment={NAME}");
    Bench::until(PATIENCE, "no pod is on its way out", || {
        let pods = ["-n", STEADY, "get", "pods", "-o", "name", "-l", &of];
        deployment.ground.bench.kubectl(&pods).lines().count() as u64 == replicas
    });
}

fn assert_good(load: &Load<'_>, names: &[&str], when: &str) {
    let all = load.all();
    for name in names {
        let counted = &all[*name];
        assert!(counted.is_good(), "{name}, {when}: {counted:?}");
    }
}
