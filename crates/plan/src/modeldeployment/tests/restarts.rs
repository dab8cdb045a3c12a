//! The operator is started again and again in one roll-out: what was compared goes on from what was written down.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use windlass_api::{CanaryStatus, Rollout};
use windlass_statistics::random::Random;

use super::judgement::NAMES;
use crate::modeldeployment::analysis::{Finding, Seen, judge};
use crate::modeldeployment::evidence::is_due;
use crate::modeldeployment::readings::Readings;
use crate::modeldeployment::{Evidence, Traffic};

const RUNS: u32 = 300;
/// Looks at a roll-out, ten seconds apart; and one in so many after which the operator is started again.
const LOOKS: u32 = 400;
const RESTARTED: f64 = 1.0 / 40.0;

fn draw(random: &mut Random, requests: u64, share: f64) -> Traffic {
    let errors = (0..requests).filter(|_| random.uniform() < share).count();
    Traffic {
        requests,
        errors: errors as u64,
        ..Traffic::default()
    }
}

/// How many roll-outs are taken back, after how many looks in the middle, and how many pass, of 1,200 (20 requests each).
fn decided(share: f64, restarted: f64, number: u64) -> (u32, u32, u32) {
    let rollout: Rollout = serde_json::from_value(json!({
        "steps": [{"weight": 20}], "analysis": [{"metric": "ErrorRate", "notWorseThan": "0.005"}],
    }))
    .expect("a roll-out");
    let begun = Timestamp::UNIX_EPOCH;
    let (mut random, mut after, mut passed) = (Random::new(number), Vec::new(), 0);
    for _ in 0..RUNS {
        let mut status: CanaryStatus = serde_json::from_value(json!({
            "version": "m-2", "step": 0, "weight": 20, "started": begun, "since": begun,
        }))
        .expect("a canary");
        let mut evidence = Evidence::resumed(&rollout, &status);
        evidence.write(&rollout, &mut status, begun);
        for look in 1..=LOOKS {
            if random.uniform() < restarted {
                evidence = Evidence::resumed(&rollout, &status);
            }
            let (canary, stable) = (draw(&mut random, 20, share), draw(&mut random, 80, 0.01));
            evidence.take(&canary, &stable);
            let now = begun + SignedDuration::from_secs(10 * i64::from(look));
            let seen = Seen {
                stable_answers: true,
                canary: &canary,
                stable: &stable,
                evidence: Some(&evidence),
                readings: &Readings::NoPrometheus,
                labelled: None,
                names: NAMES,
                since: begun,
                now,
                steps: 1,
                is_last: true,
                is_over: false,
                is_compared: true,
            };
            match judge(&rollout.analysis, &seen, 1) {
                Finding::Harm(_) => {
                    after.push(look);
                    break;
                }
                Finding::Good(_) => {
                    passed += 1;
                    break;
                }
                Finding::Wait(_) => {}
            }
            if evidence.has_moved(&status) && is_due(status.recorded, begun, now) {
                evidence.write(&rollout, &mut status, now);
            }
        }
    }
    after.sort_unstable();
    let middle = after.get(after.len() / 2).copied().unwrap_or(u32::MAX);
    let harmed = u32::try_from(after.len()).expect("small");
    println!(
        "{share}, restarted {restarted}: {harmed} taken back after {middle} looks, {passed} pass"
    );
    (harmed, middle, passed)
}

#[test]
fn a_restart_delays_and_neither_condemns_nor_promotes() {
    // Worse by just what is allowed: one in a hundred may be taken back, one in twenty may pass; three standard errors more.
    let (harmed, _, passed) = decided(0.015, RESTARTED, 81);
    assert!(harmed <= 8, "{harmed}");
    assert!(passed <= 26, "{passed}");
    let (_, at_once, _) = decided(0.04, 0.0, 82);
    let (harmed, restarted, passed) = decided(0.04, RESTARTED, 83);
    assert_eq!((harmed, passed), (RUNS, 0));
    assert!(
        (at_once..4 * at_once).contains(&restarted),
        "{at_once} {restarted}"
    );
    let (_, _, passed) = decided(0.005, RESTARTED, 84);
    assert!(passed >= RUNS * 9 / 10, "{passed}");
}
