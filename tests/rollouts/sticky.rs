//! Who asks with a header or a cookie stays with the canary, whatever its weight; who does not is asked by weight.

use serde_json::json;

use crate::STEADY;
use crate::ground::{Asked, Deployment, Ground};
use crate::load::{Counted, Load, Target};
use crate::node::{Bench, PATIENCE};

/// The ModelDeployment.
const NAME: &str = "sticky";
const HOST: &str = "sticky.test";
/// Those who are to stay with the canary.
const STAY: [&str; 2] = ["by-header", "by-cookie"];
/// Those who are told by nothing, and who only look like it.
const OTHERS: [&str; 2] = ["by-weight", "alike"];
/// Percent of the canary, until it is changed.
const WEIGHT: u32 = 5;
const MORE_WEIGHT: u32 = 60;
/// From how many requests the share is told.
const REQUESTS: u64 = 150;

/// What is asked here.
pub fn targets(pause: f64) -> Vec<Target> {
    let gateway = Target::gateway(OTHERS[0], HOST, pause);
    vec![
        gateway.with(STAY[0], "X-Preview", "yes"),
        // Among others, as browsers send them.
        gateway.with(STAY[1], "Cookie", "a=b; track=canary; c=d"),
        gateway.with(OTHERS[1], "Cookie", "track=canary2; nottrack=canary"),
        gateway,
    ]
}

/// One roll-out that a person holds, at two weights, and that is given up.
pub fn go(ground: &Ground, load: &Load<'_>) {
    let rollout = format!(
        "{{minRequests: 5, steps: [{{weight: {WEIGHT}, pause: true}}], analysis: [{{metric: ErrorRate, notWorseThan: \"0.2\"}}], \
         traffic: {{gatewayRef: {{name: windlass, namespace: gateway-system}}, hostnames: [{HOST}], \
         canaryWhen: [{{header: {{name: x-preview, value: \"yes\"}}}}, {{cookie: {{name: track, value: canary}}}}]}}}}"
    );
    let asked = Asked {
        replicas: 1,
        rollout: &rollout,
    };
    let deployment = ground.deploy(STEADY, NAME, &asked);
    deployment.until_serves(1);
    let all = [STAY, OTHERS].concat();
    load.until_it_comes(&all);
    load.goes_on(STAY[0], 20);
    for name in &all {
        let counted = load.of(name);
        assert_eq!(
            counted.by(1),
            counted.sent,
            "{name}, no canary: {counted:?}"
        );
    }

    deployment.ask_for(2);
    deployment.until_tried(2, i64::from(WEIGHT));
    assert_stays(load, WEIGHT);
    let steps = json!([{"weight": MORE_WEIGHT, "pause": true}]);
    deployment.change(&json!({"rollout": {"steps": steps}}));
    deployment.until_tried(2, i64::from(MORE_WEIGHT));
    assert_stays(load, MORE_WEIGHT);

    given_up(deployment, load);
    for name in &all {
        let counted = load.of(name);
        println!("{name}: {counted:?}");
        assert!(counted.is_good(), "{name}: {counted:?}");
    }
    ground.seen.assert_always_available(&deployment.key());
}

/// That who is to stay with the canary does, and it has its weight of the others.
fn assert_stays(load: &Load<'_>, weight: u32) {
    let of = |names: [&'static str; 2]| names.map(|name| load.of(name));
    // A Gateway sends its traffic by a route a moment after it has said that it takes it.
    Bench::until(PATIENCE, "they come to the canary alone", || {
        let before = of(STAY);
        let after = STAY.map(|name| load.goes_on(name, 10));
        let is_so = |(before, after): (&Counted, &Counted)| {
            after.by(2) > before.by(2) && after.by(1) == before.by(1)
        };
        before.iter().zip(&after).all(is_so)
    });
    let (stayed, others) = (of(STAY), of(OTHERS));
    Bench::until(PATIENCE, "the others are asked by weight", || {
        sent(&of(OTHERS)) >= sent(&others) + REQUESTS
    });
    for (before, after) in stayed.iter().zip(of(STAY)) {
        assert!(after.by(2) > before.by(2) + REQUESTS / 10, "{after:?}");
        assert_eq!(after.by(1), before.by(1), "{weight}%: {after:?}");
    }
    let now = of(OTHERS);
    let by_canary = |all: &[Counted]| all.iter().map(|counted| counted.by(2)).sum::<u64>();
    let came = by_canary(&now) - by_canary(&others);
    let share = 100 * came / (sent(&now) - sent(&others));
    let expected = u64::from(weight / 2)..=u64::from(weight + weight / 2);
    assert!(expected.contains(&share), "{share}% of {weight}%: {now:?}");
}

fn sent(all: &[Counted]) -> u64 {
    all.iter().map(|counted| counted.sent).sum()
}

/// Whoever stayed with the canary is answered by what serves, once there is none.
fn given_up(deployment: Deployment<'_>, load: &Load<'_>) {
    deployment.ask_for(1);
    deployment.until_serves(1);
    Bench::until(PATIENCE, "all come to what serves", || {
        let before = load.of(STAY[1]).by(2);
        load.goes_on(STAY[1], 10).by(2) == before
    });
    let before = STAY.map(|name| load.of(name).by(2));
    load.goes_on(STAY[0], 20);
    assert_eq!(STAY.map(|name| load.of(name).by(2)), before);
}
