//! What is found of counts, check by check.

use jiff::Timestamp;
use windlass_api::{Analysis, AnalysisMetric};
use windlass_statistics::random::Random;
use windlass_statistics::sequential::Shares;

use crate::modeldeployment::analysis::{Finding, Seen, judge};
use crate::modeldeployment::readings::{Names, Readings};
use crate::modeldeployment::{Evidence, Traffic};

fn traffic(requests: u64, errors: u64, slow: u64) -> Traffic {
    Traffic {
        requests,
        errors,
        bounds_ms: vec![10.0, 100.0, 1000.0, 10_000.0],
        counts: vec![requests - slow, 0, slow, 0, 0],
        ..Traffic::default()
    }
}

fn check(metric: AnalysisMetric) -> Analysis {
    Analysis::of(metric)
}

/// Nobody in particular.
pub const NAMES: Names<'static> = Names {
    namespace: "growth",
    name: "m",
    stable: "m-1",
    canary: "m-2",
};

/// A hundred seconds after the step began.
fn now() -> Timestamp {
    Timestamp::from_second(100).expect("a time")
}

fn checks() -> Vec<Analysis> {
    vec![
        Analysis {
            not_worse_than: Some("0.01".into()),
            ..check(AnalysisMetric::ErrorRate)
        },
        Analysis {
            max_ratio: Some("1.5".into()),
            ..check(AnalysisMetric::LatencyP99)
        },
    ]
}

/// Nothing compared yet, and latencies of the stable version as these.
fn evidence(checks: &[Analysis], stable: &Traffic) -> Evidence {
    let rollout =
        serde_json::json!({"steps": [{"weight": 10}, {"weight": 50}], "analysis": checks});
    let canary = serde_json::json!({
        "version": "m-2", "step": 1, "weight": 50,
        "started": "2026-01-01T00:00:00Z", "since": "2026-01-01T00:00:00Z",
    });
    let of = |value| serde_json::from_value(value).expect("a roll-out");
    let canary = serde_json::from_value(canary).expect("a canary");
    let mut evidence = Evidence::resumed(&of(rollout), &canary);
    let before = Traffic {
        bounds_ms: stable.bounds_ms.clone(),
        counts: stable.counts.iter().map(|count| count * 2).collect(),
        ..Traffic::default()
    };
    evidence.take(&Traffic::default(), &before);
    evidence
}

/// As many looks as there are dozens of requests.
fn take(evidence: &mut Evidence, canary: &Traffic, stable: &Traffic) {
    let looks = (canary.requests / 12).max(1);
    for look in 0..looks {
        let part = |all: u64| all * (look + 1) / looks - all * look / looks;
        let of = |traffic: &Traffic| Traffic {
            requests: part(traffic.requests),
            errors: part(traffic.errors),
            counts: traffic.counts.iter().map(|count| part(*count)).collect(),
            ..traffic.clone()
        };
        evidence.take(&of(canary), &of(stable));
    }
}

fn found(
    checks: &[Analysis],
    evidence: &Evidence,
    canary: &Traffic,
    stable: &Traffic,
    is_last: bool,
) -> Finding {
    let seen = Seen {
        stable_answers: true,
        canary,
        stable,
        evidence: Some(evidence),
        readings: &Readings::NoPrometheus,
        labelled: None,
        names: NAMES,
        since: Timestamp::UNIX_EPOCH,
        now: now(),
        steps: 2,
        is_last,
        is_over: false,
        is_compared: true,
    };
    judge(checks, &seen, 100)
}

fn judged(canary: &Traffic, stable: &Traffic, is_last: bool) -> Finding {
    let mut evidence = evidence(&checks(), stable);
    take(&mut evidence, canary, stable);
    found(&checks(), &evidence, canary, stable, is_last)
}

#[test]
fn who_is_to_take_all_has_to_have_shown_that_it_is_no_worse() {
    for (what, canary, stable, expected) in [
        (
            "too few to show it",
            traffic(200, 0, 0),
            traffic(500, 0, 0),
            "Wait",
        ),
        ("enough", traffic(800, 0, 0), traffic(2000, 0, 0), "Good"),
        (
            "worse by what is allowed",
            traffic(2000, 40, 0),
            traffic(8000, 80, 0),
            "Wait",
        ),
        (
            "alone, and no latency to compare with",
            traffic(800, 0, 0),
            traffic(0, 0, 0),
            "Wait",
        ),
        (
            "alone, and wrong",
            traffic(50, 25, 0),
            traffic(0, 0, 0),
            "Harm",
        ),
    ] {
        let found = format!("{:?}", judged(&canary, &stable, true));
        assert!(found.starts_with(expected), "{what}: {found}");
    }
    let Finding::Wait(said) = judged(&traffic(200, 0, 0), &traffic(500, 0, 0), true) else {
        panic!("it is not shown yet");
    };
    assert!(
        said.contains("more requests to the canary would show it (about")
            && said.contains(" at 2.0 a second, until 1970-01-01T00:"),
        "{said}"
    );
}

#[test]
fn good_steps_do_not_hide_harm_in_the_one_that_follows() {
    let (canary, stable) = (traffic(300, 25, 0), traffic(300, 0, 0));
    let mut evidence = evidence(&checks(), &stable);
    let before = traffic(100_000, 100, 0);
    take(&mut evidence, &before, &before);
    let errors = evidence.errors.as_mut().expect("they are judged");
    errors.step = Shares::new(0.01);
    take(&mut evidence, &canary, &stable);
    let found = found(&checks(), &evidence, &canary, &stable, true);
    let Finding::Harm(said) = &found else {
        panic!("{found:?}");
    };
    assert!(
        said.starts_with("errors 25/300 against 0/300 of the stable version in this step"),
        "{said}"
    );
}

#[test]
fn one_for_all_is_not_judged() {
    let all = [Analysis {
        not_worse_than: Some("1".into()),
        ..check(AnalysisMetric::ErrorRate)
    }];
    let (canary, stable) = (traffic(200, 200, 0), traffic(200, 0, 0));
    let evidence = evidence(&all, &stable);
    let found = found(&all, &evidence, &canary, &stable, true);
    assert_eq!(found, Finding::Good("errors are not judged".to_owned()));
}

#[test]
fn predictions_that_lie_far_apart_are_harm_and_near_ones_have_to_be_shown_to_be() {
    let checks = [Analysis {
        max: Some("0.2".into()),
        ..check(AnalysisMetric::PredictionDrift)
    }];
    let of = |first: u64, second: u64| Traffic {
        predictions: [(1, first), (2, second)].into(),
        ..traffic(first + second, 0, 0)
    };
    for (what, canary, stable, is_last, expected) in [
        ("none", of(0, 0), of(0, 0), true, "Wait"),
        ("far apart", of(100, 900), of(900, 100), false, "Harm"),
        ("few, and alike", of(100, 100), of(100, 100), false, "Good"),
        (
            "few, in the last step",
            of(100, 100),
            of(100, 100),
            true,
            "Wait",
        ),
        (
            "many, and alike",
            of(3000, 3000),
            of(3000, 3000),
            true,
            "Good",
        ),
        (
            "a bit more than allowed",
            of(200, 100),
            of(120, 180),
            false,
            "Wait",
        ),
    ] {
        let mut evidence = evidence(&checks, &stable);
        evidence.take(&canary, &stable);
        let found = format!("{:?}", found(&checks, &evidence, &canary, &stable, is_last));
        assert!(found.starts_with(expected), "{what}: {found}");
    }
}

#[test]
fn answers_that_differ_are_harm_in_a_shadow() {
    let checks = [Analysis {
        min: Some("0.9".into()),
        ..check(AnalysisMetric::Agreement)
    }];
    for (agreed, expected) in [(0, "Wait"), (500, "Harm"), (900, "Wait"), (980, "Good")] {
        let stable = Traffic {
            compared: if agreed == 0 { 0 } else { 1000 },
            agreed,
            ..traffic(1000, 0, 0)
        };
        let mut evidence = evidence(&checks, &stable);
        for _ in 0..10 {
            let part = Traffic {
                compared: stable.compared / 10,
                agreed: agreed / 10,
                ..Traffic::default()
            };
            evidence.take(&Traffic::default(), &part);
        }
        let found = format!("{:?}", found(&checks, &evidence, &stable, &stable, true));
        assert!(found.starts_with(expected), "{agreed}: {found}");
    }
}

#[test]
fn who_is_slower_than_is_allowed_is_taken_back_and_who_is_not_has_to_show_it() {
    let stable = traffic(4000, 0, 0);
    for (what, canary, expected) in [
        ("one in ten", traffic(300, 0, 30), "Harm"),
        ("too few to show it", traffic(300, 0, 0), "Wait"),
        ("none of many", traffic(2000, 0, 0), "Good"),
    ] {
        let found = judged(&canary, &stable, true);
        assert!(
            format!("{found:?}").starts_with(expected),
            "{what}: {found:?}"
        );
    }
    let Finding::Harm(said) = judged(&traffic(300, 0, 30), &stable, false) else {
        panic!("it is slow");
    };
    assert!(
        said.starts_with("p99 latency 910 against 9.90 ms (1.5 times is allowed): 30/300 requests were slow against 0/4000"),
        "{said}"
    );
}

#[test]
fn a_canary_is_judged_by_evidence() {
    let rows: Vec<(&str, Traffic, Traffic, &str)> = vec![
        (
            "no request yet",
            traffic(0, 0, 0),
            traffic(500, 0, 0),
            "Wait",
        ),
        (
            "too few requests, none wrong",
            traffic(50, 0, 0),
            traffic(500, 0, 0),
            "Wait",
        ),
        (
            "enough requests, none wrong",
            traffic(200, 0, 0),
            traffic(500, 0, 0),
            "Good",
        ),
        (
            "one error in two hundred",
            traffic(200, 1, 0),
            traffic(500, 0, 0),
            "Good",
        ),
        (
            "every second request fails",
            traffic(40, 20, 0),
            traffic(500, 0, 0),
            "Harm",
        ),
        (
            "as many errors as the stable version",
            traffic(200, 20, 0),
            traffic(500, 50, 0),
            "Good",
        ),
        (
            "two of two fail: too few to know",
            traffic(2, 2, 0),
            traffic(500, 0, 0),
            "Wait",
        ),
        (
            "slow in one of ten requests",
            traffic(200, 0, 20),
            traffic(500, 0, 0),
            "Harm",
        ),
        (
            "slow as the stable version is",
            traffic(200, 0, 20),
            traffic(500, 0, 50),
            "Good",
        ),
    ];
    for (name, canary, stable, expected) in rows {
        let finding = judged(&canary, &stable, false);
        assert!(
            format!("{finding:?}").starts_with(expected),
            "{name}: {finding:?}"
        );
    }
}

#[test]
fn what_a_step_needs_is_told_in_requests_and_in_time() {
    for (requests, expected) in [
        (
            40,
            "has answered 40 of 100 requests that a step needs (about 3 more minutes at 24 a minute, until 1970-01-01T00:04:10Z)",
        ),
        (
            0,
            "has answered 0 of 100 requests that a step needs (none come at the moment, so that no time can be told)",
        ),
    ] {
        let found = format!(
            "{:?}",
            judged(&traffic(requests, 0, 0), &traffic(500, 0, 0), false)
        );
        assert!(
            found.starts_with("Wait") && found.contains(expected),
            "{found}"
        );
    }
}

#[test]
fn harm_that_begins_late_in_a_long_step_is_found_soon() {
    let part = |errors, requests| traffic(requests, errors, 0);
    let (good, bad, stable) = (part(1, 100), part(4, 100), part(4, 400));
    let mut evidence = evidence(&checks(), &stable);
    for _ in 0..300 {
        evidence.take(&good, &stable);
    }
    let mut looks = 0;
    let said = loop {
        evidence.take(&bad, &stable);
        looks += 1;
        if let Finding::Harm(said) = found(&checks(), &evidence, &bad, &stable, false) {
            break said;
        }
        assert!(looks < 200, "never found");
    };
    println!("found after {looks} looks: {said}");
    assert!(
        said.contains("the share of errors has become higher"),
        "{said}"
    );
    let errors = evidence.errors.expect("they are judged");
    // Neither all of the roll-out nor all of the step would have said so by then.
    assert!(errors.rollout.evidence()[0] < 1.0 && errors.step.evidence()[0] < 1.0);
    assert!(looks <= 20, "{looks}");
}

#[test]
fn a_canary_alone_is_looked_at_as_often_as_one_likes() {
    let mut random = Random::new(62);
    let mut harmed = 0;
    for _ in 0..200 {
        let none = Traffic::default();
        let mut evidence = evidence(&checks(), &none);
        let is_harmed = (0..300).any(|_| {
            let errors = (0..20).filter(|_| random.uniform() < 0.01).count();
            let canary = traffic(20, errors as u64, 0);
            evidence.take(&canary, &none);
            matches!(
                found(&checks(), &evidence, &canary, &none, true),
                Finding::Harm(_)
            )
        });
        harmed += u32::from(is_harmed);
    }
    println!("{harmed} of 200 taken back");
    assert!(harmed <= 1, "{harmed}");
    let said = judged(&traffic(80, 0, 0), &traffic(0, 0, 0), true);
    let Finding::Wait(said) = said else {
        panic!("{said:?}");
    };
    assert!(said.contains("more requests would show it"), "{said}");
}

#[test]
fn tokens_are_judged_by_how_long_they_take_as_requests_are() {
    type Of = fn(&mut Traffic) -> &mut Vec<u64>;
    let cases: [(AnalysisMetric, Of, &str); 2] = [
        (
            AnalysisMetric::TimeToFirstToken,
            |traffic| &mut traffic.first_token,
            "time to the first token",
        ),
        (
            AnalysisMetric::TimePerOutputToken,
            |traffic| &mut traffic.per_token,
            "time of each token",
        ),
    ];
    for (metric, of, words) in cases {
        let checks = [Analysis {
            max_ratio: Some("1.5".into()),
            ..check(metric)
        }];
        let streamed = |requests, slow| {
            let mut all = traffic(requests, 0, 0);
            *of(&mut all) = vec![requests - slow, 0, slow, 0, 0];
            all
        };
        let found_of = |canary: &Traffic, stable: &Traffic| {
            let mut evidence = evidence(&checks, &traffic(0, 0, 0));
            evidence.take(&Traffic::default(), &streamed(2000, 0));
            for _ in 0..10 {
                evidence.take(canary, stable);
            }
            format!("{:?}", found(&checks, &evidence, canary, stable, true))
        };
        let (fast, slow) = (streamed(200, 0), streamed(200, 40));
        assert!(
            found_of(&fast, &fast).starts_with("Good"),
            "{}",
            found_of(&fast, &fast)
        );
        let harm = found_of(&slow, &fast);
        assert!(harm.starts_with(&format!("Harm(\"p99 {words} 9")), "{harm}");
        // A proxy that tells nothing of tokens is not one whose tokens are fast.
        let silent = found_of(&traffic(200, 0, 0), &traffic(200, 0, 0));
        assert!(
            silent.starts_with("Wait") && silent.contains(&format!("no {words} measured yet")),
            "{silent}"
        );
    }
}

#[test]
fn what_is_slow_beyond_what_is_measured_is_never_told_to_be_good() {
    // All of them take longer than the last bound; or a slow one would.
    let beyond = |requests| Traffic {
        counts: vec![0, 0, 0, 0, requests],
        ..traffic(requests, 0, 0)
    };
    let nearly = |requests| Traffic {
        counts: vec![0, 0, 0, requests, 0],
        ..traffic(requests, 0, 0)
    };
    for both in [[beyond(2000), beyond(2000)], [beyond(2000), nearly(2000)]] {
        let finding = judged(&both[0], &both[1], true);
        let Finding::Wait(said) = finding else {
            panic!("{finding:?}");
        };
        assert!(said.contains("would lie above 10 s"), "{said}");
    }
}

#[test]
fn a_canary_whose_stable_version_has_gone_is_judged_by_itself() {
    let checks = checks();
    let stable = traffic(500, 0, 0);
    let judged = |errors: u64| {
        let mut evidence = evidence(&checks, &stable);
        take(&mut evidence, &traffic(1, 0, 0), &stable);
        let canary = traffic(1000, errors, 0);
        for _ in 0..50 {
            evidence.take(&traffic(20, errors / 50, 0), &Traffic::default());
        }
        let seen = Seen {
            stable_answers: false,
            canary: &canary,
            stable: &Traffic::default(),
            evidence: Some(&evidence),
            readings: &Readings::NoPrometheus,
            labelled: None,
            names: NAMES,
            since: Timestamp::UNIX_EPOCH,
            now: now(),
            steps: 1,
            is_last: true,
            is_over: false,
            is_compared: true,
        };
        judge(&checks, &seen, 100)
    };
    assert!(matches!(judged(0), Finding::Good(_)), "{:?}", judged(0));
    assert!(
        matches!(judged(1000), Finding::Harm(_)),
        "{:?}",
        judged(1000)
    );
}
