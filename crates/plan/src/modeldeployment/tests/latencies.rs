//! Latencies whose true distributions are known, judged by the very code that judges a roll-out, look by look.

use jiff::Timestamp;
use serde_json::json;
use windlass_api::{Analysis, CanaryStatus, Rollout};
use windlass_statistics::random::Random;

use super::judgement::NAMES;
use crate::modeldeployment::analysis::{Finding, Seen, judge};
use crate::modeldeployment::readings::Readings;
use crate::modeldeployment::{Evidence, Traffic};

/// Requests to the canary between two looks, and of the stable version's for each of them.
const LOOK: u64 = 20;
const RATIO: u64 = 4;
/// Looks after which nobody waits any longer.
const MOST: u64 = 500;
const RUNS: u64 = 200;

/// Requests of a version whose latencies are log-normal about 20 ms, times so much, in buckets as a proxy's: eight for each
/// power of two from 0.25 ms on.
fn answered(random: &mut Random, requests: u64, times: f64, sigma: f64) -> Traffic {
    let bounds: Vec<f64> = (0..=144)
        .map(|at| 0.25 * (f64::from(at) / 8.0).exp2())
        .collect();
    let mut counts = vec![0; bounds.len() + 1];
    for _ in 0..requests {
        let angle = std::f64::consts::TAU * random.uniform();
        let normal = (-2.0 * (1.0 - random.uniform()).ln()).sqrt() * angle.cos();
        let latency = 20.0 * times * (sigma * normal).exp();
        counts[bounds.partition_point(|bound| *bound < latency)] += 1;
    }
    Traffic {
        requests,
        bounds_ms: bounds,
        counts,
        ..Traffic::default()
    }
}

/// How many roll-outs are taken back, how many pass, and after how many requests to the canary in the middle.
fn decided(times: f64, sigma: f64, number: u64) -> (u64, u64, u64) {
    let checks: Vec<Analysis> =
        serde_json::from_value(json!([{"metric": "LatencyP99", "maxRatio": "1.5"}]))
            .expect("a check");
    let rollout: Rollout =
        serde_json::from_value(json!({"steps": [{"weight": 20}], "analysis": checks}))
            .expect("a roll-out");
    let canary: CanaryStatus = serde_json::from_value(json!({
        "version": "m-2", "step": 0, "weight": 20,
        "started": "2026-01-01T00:00:00Z", "since": "2026-01-01T00:00:00Z",
    }))
    .expect("a canary");
    let mut random = Random::new(number);
    let (mut harmed, mut passed, mut after) = (0, 0, Vec::new());
    for _ in 0..RUNS {
        let mut evidence = Evidence::resumed(&rollout, &canary);
        let (mut new, mut old) = (Traffic::default(), Traffic::default());
        for look in 1..=MOST {
            let of_canary = answered(&mut random, LOOK, times, sigma);
            let of_stable = answered(&mut random, LOOK * RATIO, 1.0, sigma);
            evidence.take(&of_canary, &of_stable);
            new.merge(&of_canary);
            old.merge(&of_stable);
            let seen = Seen {
                stable_answers: true,
                canary: &new,
                stable: &old,
                evidence: Some(&evidence),
                readings: &Readings::NoPrometheus,
                labelled: None,
                names: NAMES,
                since: Timestamp::UNIX_EPOCH,
                now: Timestamp::UNIX_EPOCH,
                steps: 1,
                is_last: true,
                is_over: false,
                is_compared: true,
            };
            match judge(&checks, &seen, 1) {
                Finding::Harm(_) => harmed += 1,
                Finding::Good(_) => passed += 1,
                Finding::Wait(_) => continue,
            }
            after.push(look * LOOK);
            break;
        }
    }
    after.sort_unstable();
    let middle = after.get(after.len() / 2).copied().unwrap_or_default();
    println!(
        "{times} times, sigma {sigma}: {harmed} of {RUNS} taken back, {passed} pass, after {middle}"
    );
    (harmed, passed, middle)
}

#[test]
fn a_canary_that_is_as_fast_is_seldom_taken_back_and_one_that_is_twice_as_slow_soon() {
    for (sigma, soon) in [(0.25, 400), (0.5, 1000), (1.0, 6000)] {
        let (harmed, passed, _) = decided(1.0, sigma, 51);
        // One in a hundred is what is promised; three standard errors above it.
        assert!(harmed <= 6, "{sigma}: {harmed}");
        assert!(passed >= RUNS * 9 / 10, "{sigma}: {passed}");
        let (harmed, _, middle) = decided(2.5, sigma, 52);
        assert!(harmed >= RUNS * 98 / 100, "{sigma}: {harmed}");
        assert!(middle <= soon, "{sigma}: {middle}");
    }
}
