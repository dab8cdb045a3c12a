//! Ways to replace a version that the roll-outs at random do not go: kept warm and given back, all at once, and in place.

use serde_json::json;

use crate::ground::{Asked, Ground};
use crate::load::Load;
use crate::node::{Bench, PATIENCE};
use crate::seen::condition;
use crate::{CRASHES, SPACE, TURNS};

/// What turns bad after it was promoted.
pub const BAKED: &str = "baked";
/// What is replaced all at once.
pub const RECREATED: &str = "recreated";
/// A namespace with room for no pod more than serve.
pub const TIGHT: &str = "tight";
/// What is replaced in it.
pub const SWAPPED: &str = "swapped";

const QUICK: &str = "minRequests: 5, steps: [{weight: 50, hold: 1s}], analysis: [{metric: ErrorRate, notWorseThan: \"0.2\"}]";

/// Two, one after the other.
pub fn go(ground: &Ground, load: &Load<'_>) {
    errors_after_the_promotion_give_the_traffic_back(ground, load);
    all_at_once_there_is_nothing_in_between(ground, load);
}

fn errors_after_the_promotion_give_the_traffic_back(ground: &Ground, load: &Load<'_>) {
    let rollout = format!("{{{QUICK}, bake: 10m}}");
    let asked = Asked {
        replicas: 1,
        rollout: &rollout,
    };
    let deployment = ground.deploy(SPACE, BAKED, &asked);
    deployment.until_serves(1);
    load.until_it_comes(&[BAKED]);
    deployment.ask_for(TURNS);
    deployment.until_serves(TURNS);
    let kept = condition(&deployment.now(), "Ready").2;
    assert!(kept.contains("m-1 is kept until"), "{kept}");
    ground.misbehaves(SPACE, TURNS, "errors");
    deployment.until_taken_back(
        TURNS,
        &["errors", "more than the", "that the version before had"],
    );
    deployment.until_stalled("VersionQuarantined", &["m-9", "windlass.dev/force=m-9/1"]);
    deployment.until("all traffic is given back", |now| {
        now["status"]["traffic"]["weights"] == json!({"m-1": 100})
    });
    let said = ground.seen.said(&deployment.key());
    let back = said
        .iter()
        .skip_while(|said| !said.contains("is kept until"));
    assert!(
        !back.clone().any(|said| said.contains("is tried")),
        "in one step: {said:?}"
    );
    let of = format!("windlass.dev/version=m-{TURNS},windlass.dev/deployment={BAKED}");
    Bench::until(PATIENCE, "the pods of m-9 are gone", || {
        let pods = ["-n", SPACE, "get", "pods", "-o", "name", "-l", &of];
        ground.bench.kubectl(&pods).is_empty()
    });
    // By then what was asked when it had traffic is told.
    let before = load.goes_on(BAKED, 15);
    let counted = load.goes_on(BAKED, 50);
    println!("{BAKED}: {counted:?}");
    assert!(before.errors["9.0"] > 0, "{before:?}");
    assert_eq!(before.errors, counted.errors, "it is asked no more");
    assert_eq!((counted.failures, counted.refused), (0, 0), "{counted:?}");
    ground.seen.assert_never_short(&deployment.key());
    ground.seen.assert_always_available(&deployment.key());
}

fn all_at_once_there_is_nothing_in_between(ground: &Ground, load: &Load<'_>) {
    let asked = Asked {
        replicas: 1,
        rollout: "{strategy: Recreate}",
    };
    let deployment = ground.deploy(SPACE, RECREATED, &asked);
    deployment.until_serves(1);
    load.until_it_comes(&[RECREATED]);
    deployment.ask_for(2);
    deployment.until_serves(2);
    let said = ground.seen.said(&deployment.key()).join("\n");
    for words in [
        "m-2 takes the place of what served",
        "waiting until the pods of m-1 are gone",
        "waiting until 1 pods are ready",
    ] {
        assert!(said.contains(words), "{said:?} does not say {words:?}");
    }
    let (least, when) = ground.seen.least(&deployment.key()).expect("it served");
    assert_eq!(least, 0, "the pods of both were there at once: {when}");

    // What never comes up is taken back, and what was given up for it comes again.
    deployment.change(&json!({"version": CRASHES, "progressDeadlineSeconds": 20}));
    deployment.until_taken_back(CRASHES, &["container server", "made by a newer library"]);
    deployment.until("the version before serves again", |now| {
        now["status"]["stable"]["version"] == "m-2"
            && condition(now, "Available").0 == "True"
            && condition(now, "Stalled").1 == "VersionQuarantined"
    });
    let before = load.of(RECREATED).answers["2.0"];
    assert!(load.goes_on(RECREATED, 20).answers["2.0"] > before);
}

/// Where quota has no room for both, pods take the place of others, one by one.
pub fn swap(ground: &Ground, load: &Load<'_>) {
    ground.bench.namespace(TIGHT);
    for number in 1..=2 {
        ground.register(TIGHT, number, "");
    }
    let rollout = format!("{{{QUICK}, surge: Auto}}");
    let asked = Asked {
        replicas: 2,
        rollout: &rollout,
    };
    let deployment = ground.deploy(TIGHT, SWAPPED, &asked);
    deployment.until_serves(1);
    load.until_it_comes(&[SWAPPED]);
    ground.bench.apply(&format!(
        "{{apiVersion: v1, kind: ResourceQuota, metadata: {{name: full, namespace: {TIGHT}}}, spec: {{hard: {{pods: 2}}}}}}"
    ));
    deployment.ask_for(2);
    deployment.until("it swaps in place", |now| {
        now["status"]["canary"]["inPlace"] == true
    });
    deployment.until_told("SwapsInPlace", &[]);
    deployment.until_serves(2);
    let said = ground.seen.said(&deployment.key()).join("\n");
    assert!(
        said.contains("its pods take the place of others, since there is no room for both"),
        "{said}"
    );
    let (least, when) = ground.seen.least(&deployment.key()).expect("it was full");
    assert_eq!(least, 1, "one by one: {when}");
    let counted = load.goes_on(SWAPPED, 20);
    println!("{SWAPPED}: {counted:?}");
    assert_eq!(
        counted.answers.values().sum::<u64>(),
        counted.sent,
        "{counted:?}"
    );
    ground.seen.assert_always_available(&deployment.key());
}
