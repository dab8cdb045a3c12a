//! Models that come up, and are bad then: each is taken back on evidence, and the version that serves fails no request.

use crate::ground::{Asked, Ground};
use crate::load::Load;
use crate::{DIES, ERRORS, NAN, SPACE};

/// The ModelDeployment.
pub const NAME: &str = "models";

/// One bad model after the other.
pub fn go(ground: &Ground, load: &Load<'_>) {
    let asked = Asked {
        replicas: 1,
        rollout: "{minRequests: 5, steps: [{weight: 50, hold: 1s}], analysis: [{metric: ErrorRate, notWorseThan: \"0.2\"}, {metric: PredictionDrift, max: \"0.5\"}]}",
    };
    let deployment = ground.deploy(SPACE, NAME, &asked);
    deployment.until_serves(1);
    load.until_it_comes(&[NAME]);
    let rows: [(u32, &[&str]); 3] = [
        (
            ERRORS,
            &[
                "errors",
                "of the stable version",
                "higher by more than the 20.0 percentage points",
            ],
        ),
        (NAN, &["predictions lie 1.00 apart", "0.5 is allowed"]),
        // By its errors, or, where it is asked little, by its pods, whichever is seen first.
        (DIES, &[]),
    ];
    for (version, why) in rows {
        deployment.ask_for(version);
        deployment.until_taken_back(version, why);
        let name = format!("m-{version}");
        let force = format!("windlass.dev/force={name}/1");
        deployment.until_stalled("VersionQuarantined", &[&name, &force]);
        let counted = load.goes_on(NAME, 20);
        assert_eq!(counted.failures, 0, "on the way to a pod: {counted:?}");
        assert!(!counted.errors.contains_key("1.0"), "{counted:?}");
        assert_eq!(deployment.failed_of(1), 0, "what its pods answered");
    }
    let why = deployment.field("/status/lastRollout/message");
    assert!(
        why.contains("errors")
            || why.contains("again and again, 4 times in one step: pod")
                && why.ends_with("out of memory"),
        "{why}"
    );
    // By then what was asked when the last one had traffic is told.
    let before = load.goes_on(NAME, 30);
    let counted = load.goes_on(NAME, 50);
    println!("{NAME}: {counted:?}");
    assert!(
        before.errors["5.0"] > 0 && before.answers["6.0"] > 0 && before.refused > 0,
        "{before:?}"
    );
    let others = |counted: &crate::load::Counted| counted.sent - counted.answers["1.0"];
    assert_eq!(
        others(&before),
        others(&counted),
        "nobody but the first is asked any more"
    );
    ground.seen.assert_never_short(&deployment.key());
    ground.seen.assert_always_available(&deployment.key());
}
