//! Roll-outs on a real node, behind a real Gateway and behind a Service, under constant load: no request to what serves fails,
//! whatever is promoted, given up, killed or wrong; and there are never fewer pods than are asked for.
//!
//! ```text
//!   load (a pod) ──> Gateway, Services ──> pods of stable and canary     every answer is counted, by who gave it
//!   seen (kubectl --watch) <── API server                                every state of endpoints, routes and conditions
//! ```
//!
//! Runs as root with the images of `make images`; says so and passes over it where they are not there.

#[path = "../support/node.rs"]
mod node;

mod ground;
mod load;
mod models;
mod mounted;
mod routes;
mod scaling;
mod seen;
mod sticky;
mod traffic;
mod versions;
mod ways;

use ground::{Ground, stand};
use load::{Load, Target};

#[test]
fn no_request_fails_through_roll_outs_that_are_promoted_given_up_and_killed() {
    if let Some(why) = node::obstacle() {
        println!("skipped: {why}");
        return;
    }
    stand(traffic::roll_at_random);
}

#[test]
fn what_is_wrong_is_named_and_costs_no_request_of_what_serves() {
    if let Some(why) = node::obstacle() {
        println!("skipped: {why}");
        return;
    }
    stand(|ground| {
        prepare(ground);
        let pause = 0.1;
        let service = |name| Target::service(SPACE, name, pause);
        let targets = [
            service(versions::NAME),
            service(models::NAME),
            service(routes::REFUSED),
            service(ways::BAKED),
            service(ways::RECREATED),
            Target::gateway(routes::CHANGED, routes::HOST, pause),
            Target::service(ways::TIGHT, ways::SWAPPED, pause),
        ];
        let load = &Load::start(ground, SPACE, &targets);
        std::thread::scope(|scope| {
            for lane in [versions::go, models::go, routes::go, ways::go, ways::swap] {
                scope.spawn(move || lane(ground, load));
            }
        });
    });
}

#[test]
fn who_stays_with_a_canary_does_pods_come_and_go_and_models_are_mounted_and_no_request_fails() {
    if let Some(why) = node::obstacle() {
        println!("skipped: {why}");
        return;
    }
    stand(|ground| {
        ground.bench.namespace(STEADY);
        for number in 1..=2 {
            ground.register(STEADY, number, "");
        }
        let mut targets = sticky::targets(0.05);
        targets.extend(scaling::targets(0.05));
        targets.push(mounted::target(0.1));
        let load = &Load::start(ground, STEADY, &targets);
        std::thread::scope(|scope| {
            for lane in [sticky::go, scaling::go, mounted::go] {
                scope.spawn(move || lane(ground, load));
            }
        });
        // It would be in the way of the tests that come next.
        let delete = ["delete", "namespace", STEADY, "--wait=false"];
        ground.bench.kubectl(&delete);
    });
}

/// Where nothing is wrong with what serves.
const STEADY: &str = "steady";

/// Where all is wrong.
const SPACE: &str = "wrong";

/// Versions that are good, and how those beyond them misbehave.
const GOOD: u32 = 4;
const ERRORS: u32 = 5;
const NAN: u32 = 6;
const DIES: u32 = 7;
const CRASHES: u32 = 8;
const TURNS: u32 = 9;

fn prepare(ground: &Ground) {
    ground.bench.namespace(SPACE);
    for number in 1..=TURNS {
        ground.register(SPACE, number, "");
    }
    for (number, mode) in [
        (ERRORS, "errors"),
        (NAN, "nan"),
        (DIES, "dies"),
        (CRASHES, "crash"),
    ] {
        ground.misbehaves(SPACE, number, mode);
    }
}
