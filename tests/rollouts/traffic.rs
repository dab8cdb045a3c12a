//! Roll-outs one after the other, at random: promoted, given up, and with the operator killed.
//!
//! `WINDLASS_ROLLOUTS` says how many; `make test` does a few, `make test-rollouts` fifty.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

use crate::ground::{Asked, Deployment, Ground};
use crate::load::{Load, Target};

const SPACE: &str = "traffic";
/// Versions that are rolled out in turn.
const VERSIONS: u32 = 4;
/// Seconds from one request to the next, over each of four ways.
const PAUSE: f64 = 0.03;
const HOST: &str = "models.test";
const TARGETS: [&str; 4] = ["gateway", "gateway-kept", "s", "s-kept"];

/// With these steps it is over soon; that errors are compared is another test's business.
const QUICK: &str = "minRequests: 5, steps: [{weight: 20, hold: 1s}, {weight: 60, hold: 1s}], analysis: [{metric: ErrorRate, notWorseThan: \"1\"}]";

/// As many roll-outs as the environment says, each of them behind a Gateway and behind a Service.
pub fn roll_at_random(ground: &Ground) {
    let rounds =
        std::env::var("WINDLASS_ROLLOUTS").map_or(6, |text| text.parse().expect("a number"));
    ground.bench.namespace(SPACE);
    for number in 1..=VERSIONS {
        ground.register(SPACE, number, "");
    }
    let routing = format!(
        "traffic: {{gatewayRef: {{name: windlass, namespace: gateway-system}}, hostnames: [{HOST}]}}"
    );
    let deploy = |name, rollout: String| {
        let asked = Asked {
            replicas: 2,
            rollout: &rollout,
        };
        ground.deploy(SPACE, name, &asked)
    };
    let both = [
        deploy("g", format!("{{{QUICK}, {routing}}}")),
        deploy("s", format!("{{{QUICK}}}")),
    ];
    for deployment in both {
        deployment.until_serves(1);
    }
    assert_eq!(both[0].field("/status/traffic/by"), "Gateway");
    let ways = [
        Target::gateway("gateway", HOST, PAUSE),
        Target::service(SPACE, "s", PAUSE),
    ];
    let targets = ways.iter().flat_map(|way| [way.clone(), way.kept()]);
    let load = Load::start(ground, SPACE, &targets.collect::<Vec<_>>());
    load.until_it_comes(&TARGETS);

    let mut random = StdRng::seed_from_u64(7);
    let (mut serves, start) = (1, Instant::now());
    for number in 0..rounds {
        let round = Round::at_random(&mut random, serves);
        round.begin(both);
        std::thread::sleep(round.until_it_is_disturbed);
        match round.disturbance {
            Disturbance::None => serves = round.version,
            Disturbance::OperatorKilled => {
                kill_operator(ground);
                serves = round.version;
            }
            Disturbance::GivenUp => {
                for deployment in both {
                    deployment.ask_for(serves);
                }
            }
        }
        for deployment in both {
            deployment.until_serves(serves);
        }
        let sent = assert_nothing_failed(&load, &round);
        let took = start.elapsed();
        println!("round {number}: {round:?}: {sent} requests so far, after {took:.0?}");
        for deployment in both {
            ground.seen.assert_never_short(&deployment.key());
            ground.seen.assert_always_available(&deployment.key());
        }
    }
    let all = load.all();
    println!("{all:#?}");
    for (name, counted) in &all {
        assert!(counted.sent > 100, "{name}: {counted:?}");
    }
    // It would be in the way of the tests that come next.
    ground
        .bench
        .kubectl(&["delete", "namespace", SPACE, "--wait=false"]);
}

/// One roll-out.
#[derive(Debug)]
struct Round {
    version: u32,
    /// Of what is behind a Service; behind a Gateway it is always a canary.
    strategy: &'static str,
    bake: &'static str,
    until_it_is_disturbed: Duration,
    disturbance: Disturbance,
}

/// What happens in the middle of a roll-out.
#[derive(Debug)]
enum Disturbance {
    None,
    OperatorKilled,
    GivenUp,
}

impl Round {
    fn at_random(random: &mut StdRng, serves: u32) -> Self {
        let strategies = ["Canary", "BlueGreen", "Shadow"];
        Self {
            version: (serves + random.random_range(0..VERSIONS - 1)) % VERSIONS + 1,
            strategy: strategies[random.random_range(0..strategies.len())],
            bake: if random.random_bool(0.3) { "3s" } else { "0s" },
            until_it_is_disturbed: Duration::from_millis(random.random_range(0..9000)),
            disturbance: match random.random_range(0..4) {
                0 => Disturbance::OperatorKilled,
                1 => Disturbance::GivenUp,
                _ => Disturbance::None,
            },
        }
    }

    fn begin(&self, [by_gateway, by_service]: [Deployment<'_>; 2]) {
        let ask_for = |deployment: Deployment<'_>, rollout: Value| {
            deployment.change(&json!({"version": self.version, "rollout": rollout}));
        };
        ask_for(by_gateway, json!({"bake": self.bake}));
        let analysis = match self.strategy {
            // The shadow has to have been sent copies, and to have answered: otherwise nothing could be compared.
            "Shadow" => json!([{"metric": "Agreement", "min": "0.5"}]),
            _ => json!([{"metric": "ErrorRate", "notWorseThan": "1"}]),
        };
        let rollout = json!({"strategy": self.strategy, "bake": self.bake, "analysis": analysis});
        ask_for(by_service, rollout);
    }
}

/// That no request has failed; how many there were.
fn assert_nothing_failed(load: &Load<'_>, after: &Round) -> u64 {
    let all = load.all();
    for name in TARGETS {
        let counted = all.get(name).unwrap_or_else(|| panic!("{name}: {all:?}"));
        assert!(counted.is_good(), "{name} after {after:?}: {counted:?}");
    }
    all.values().map(|counted| counted.sent).sum()
}

/// Takes the operator's pod away at once: its process is told to end, and killed if it has not a moment later; another pod
/// comes in its place. Processes that are killed at every point of a roll-out are those of `tests/crashes`.
fn kill_operator(ground: &Ground) {
    let of = "app.kubernetes.io/name=windlass";
    let at_once = ["--grace-period=0", "--force", "--wait=false"];
    let delete = ["-n", "windlass-system", "delete", "pod", "-l", of];
    ground.bench.kubectl(&[&delete[..], &at_once].concat());
}
