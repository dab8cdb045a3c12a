//! Whether a canary does as well as the stable version, from what their proxies counted.
//!
//! Harm stops a roll-out at once; good is only said when enough was seen, and in the last step only of what has been shown to
//! be no worse. Between the two the step goes on. All of it is looked at again and again: it is decided by tests that may be
//! ([`windlass_statistics::sequential`]). The one in a hundred of good canaries that may be taken back is shared out between
//! the metrics that are judged, in equal parts.

use windlass_api::{Analysis, AnalysisMetric};
use windlass_statistics::gate::Decision;
use windlass_statistics::histogram;
use windlass_statistics::proportion::Proportion;
use windlass_statistics::sequential::{Distance, Share, Shares};

use super::evidence::{Comparison, Evidence, Traffic, float, limit};

/// What the analysis of a step says.
#[derive(Clone, Debug, PartialEq)]
pub enum Finding {
    /// Everything holds, on enough requests.
    Good(String),
    /// Nothing is known to be wrong, but not enough is known.
    Wait(String),
    /// The canary is worse.
    Harm(String),
}

/// What has been seen of both sides.
#[derive(Clone, Debug)]
pub struct Seen<'a> {
    /// The canary's traffic in this step.
    pub canary: &'a Traffic,
    /// The stable version's.
    pub stable: &'a Traffic,
    /// How they compare; absent before both were asked.
    pub evidence: Option<&'a Evidence>,
    /// How many steps there are.
    pub steps: usize,
    /// Whether it is the last step, after which the canary takes all.
    pub is_last: bool,
    /// Whether the steps are over, and only pods are awaited.
    pub is_over: bool,
}

/// The chance that a canary is called worse that is not, by any of the metrics.
pub const LEVEL_OF_HARM: f64 = 0.01;
/// Of a metric's part of it, what is for the whole roll-out; the rest is for its steps, in equal parts.
const OF_ROLLOUT: f64 = 0.75;
/// The chance that one is called no worse that is, at the end of one.
pub const LEVEL_OF_PASS: f64 = 0.05;
/// Requests after which harm is acted upon where nothing else says how sure it is.
const MIN_FOR_HARM: u64 = 20;
/// Confidence in a canary that is compared with nothing: it is looked at again and again.
const ALONE: f64 = 0.999;

/// Judges a canary against the stable version.
pub fn judge(checks: &[Analysis], seen: &Seen<'_>, min_requests: u64) -> Finding {
    let mut said = Vec::new();
    let mut enough = seen.is_over || seen.canary.requests >= min_requests;
    if !enough {
        said.push(format!(
            "the canary has answered {} of {min_requests} requests that a step needs",
            seen.canary.requests
        ));
    }
    let judged = Judged {
        seen,
        level: LEVEL_OF_HARM / float(checks.len().max(1) as u64),
    };
    for check in checks {
        let finding = match check.metric {
            AnalysisMetric::ErrorRate => judged.errors(checks),
            AnalysisMetric::LatencyP99 => judged.latency(checks),
            AnalysisMetric::PredictionDrift => judged.predictions(checks),
            AnalysisMetric::Agreement => judged.agreement(checks),
        };
        match finding {
            Finding::Harm(why) => return Finding::Harm(why),
            Finding::Good(why) => said.push(why),
            Finding::Wait(why) => {
                enough = false;
                said.push(why);
            }
        }
    }
    let said = said.join("; ");
    if enough {
        Finding::Good(said)
    } else {
        Finding::Wait(said)
    }
}

/// How a comparison of two shares is told.
struct Told<'a> {
    /// The counts, such as `errors 3/100 against 1/400 of the stable version`.
    words: fn(&Shares) -> String,
    /// What the share is of, such as `errors`.
    of: &'a str,
}

struct Judged<'a> {
    seen: &'a Seen<'a>,
    /// The part of [`LEVEL_OF_HARM`] that each metric has.
    level: f64,
}

impl Judged<'_> {
    fn errors(&self, checks: &[Analysis]) -> Finding {
        let Some(allowed) = super::evidence::allowed_errors(checks) else {
            return Finding::Good("errors are not judged".to_owned());
        };
        let errors = self.seen.evidence.and_then(|evidence| evidence.errors);
        let known = errors.map_or(0, |errors| errors.rollout.stable.trials);
        if self.seen.canary.requests > 0 && self.seen.stable.requests == 0 && known == 0 {
            return alone(self.seen.canary, allowed);
        }
        let told = Told {
            words: |shares| {
                format!(
                    "errors {} against {} of the stable version",
                    counts(shares.candidate),
                    counts(shares.stable)
                )
            },
            of: "errors",
        };
        match errors.filter(|_| known > 0) {
            Some(errors) => self.shares(&errors, &told),
            None => Finding::Wait("no request to the canary yet".to_owned()),
        }
    }

    fn latency(&self, checks: &[Analysis]) -> Finding {
        let allowed = limit(checks, AnalysisMetric::LatencyP99).unwrap_or(f64::INFINITY);
        let p99 =
            |traffic: &Traffic| histogram::quantile(&traffic.bounds_ms, &traffic.counts, 0.99);
        let words = match (p99(self.seen.canary), p99(self.seen.stable)) {
            (Some(new), Some(old)) => {
                format!(
                    "p99 latency {} against {} ms ({allowed} times is allowed)",
                    ms(new),
                    ms(old)
                )
            }
            (Some(new), None)
                if self
                    .seen
                    .evidence
                    .is_none_or(|evidence| evidence.slow_from().is_none()) =>
            {
                return Finding::Good(format!(
                    "p99 latency {} ms, and none of the stable version's to compare it with",
                    ms(new)
                ));
            }
            _ => return Finding::Wait("no latency measured yet".to_owned()),
        };
        let told = Told {
            words: |shares| {
                format!(
                    "{} requests were slow against {} of the stable version",
                    counts(shares.candidate),
                    counts(shares.stable)
                )
            },
            of: "slow requests",
        };
        let slow = self.seen.evidence.and_then(|evidence| evidence.slow);
        let Some(slow) = slow.filter(|slow| slow.rollout.stable.trials > 0) else {
            return Finding::Wait(format!(
                "{words}: too few requests of the stable version to tell which are slow"
            ));
        };
        match self.shares(&slow, &told) {
            Finding::Harm(why) => Finding::Harm(format!("{words}: {why}")),
            Finding::Wait(why) => Finding::Wait(format!("{words}: {why}")),
            Finding::Good(_) => Finding::Good(words),
        }
    }

    /// What is so with two shares that are compared.
    fn shares(&self, Comparison { rollout, step, .. }: &Comparison, told: &Told<'_>) -> Finding {
        let points = step.allowed * 100.0;
        let steps = float(self.seen.steps.max(1) as u64);
        let of_step = self.level * (1.0 - OF_ROLLOUT) / steps;
        let all = [
            (rollout, self.level * OF_ROLLOUT, ""),
            (step, of_step, " in this step"),
        ];
        for (shares, level, where_) in all {
            if shares.decision(level, LEVEL_OF_PASS) == Decision::Fail {
                return Finding::Harm(format!(
                    "{}{where_}: the share of {} is higher by more than the {points:.1} percentage points that are allowed (by {:.1}; of canaries that are no worse, one in {:.0} at most would seem so)",
                    (told.words)(shares),
                    told.of,
                    higher(shares) * 100.0,
                    1.0 / self.level
                ));
            }
        }
        let words = (told.words)(step);
        match step.decision(of_step, LEVEL_OF_PASS) {
            Decision::Pass | Decision::Fail => Finding::Good(words),
            Decision::Inconclusive if higher(step) > step.allowed => Finding::Wait(format!(
                "{words}: the share of {} lies higher by {:.1} percentage points ({points:.1} are allowed), which may be chance",
                told.of,
                higher(step) * 100.0
            )),
            // Only who is to take all the traffic has to have shown that it is no worse.
            Decision::Inconclusive if !self.seen.is_last => Finding::Good(words),
            Decision::Inconclusive => {
                let wanted = step.trials_to_pass(LEVEL_OF_PASS).map_or_else(
                    || "more requests decide it".to_owned(),
                    |wanted| format!("about {wanted:.0} more requests to the canary would show it"),
                );
                Finding::Wait(format!(
                    "{words}: that the share of {} is higher by no more than {points:.1} percentage points is not shown yet; {wanted}",
                    told.of
                ))
            }
        }
    }

    fn predictions(&self, checks: &[Analysis]) -> Finding {
        let allowed = limit(checks, AnalysisMetric::PredictionDrift).unwrap_or(1.0);
        let Some(distance) = self
            .seen
            .evidence
            .and_then(|evidence| evidence.predictions.as_ref())
        else {
            return Finding::Wait("no predictions seen yet".to_owned());
        };
        self.distance(distance, allowed)
    }

    fn distance(&self, distance: &Distance, allowed: f64) -> Finding {
        let [canary, stable] = distance.counts();
        let words = format!(
            "predictions lie {:.2} apart ({allowed} is allowed), of {canary} and {stable}",
            distance.value()
        );
        let interval = distance.interval();
        if interval.lower > allowed {
            let at_least = interval.lower;
            return Finding::Harm(format!("{words}: by {at_least:.2} at least"));
        }
        if interval.upper <= allowed || (!self.seen.is_last && distance.value() <= allowed) {
            return Finding::Good(words);
        }
        Finding::Wait(format!(
            "{words}: that it is no more is not shown yet (it may be {:.2}); more predictions of both decide it",
            interval.upper
        ))
    }

    fn agreement(&self, checks: &[Analysis]) -> Finding {
        let least = limit(checks, AnalysisMetric::Agreement).unwrap_or(0.0);
        let share = self.seen.evidence.and_then(|evidence| evidence.disagreed);
        let Some(share) = share.filter(|share| share.seen.trials > 0) else {
            return Finding::Wait("no answers of both to compare yet".to_owned());
        };
        self.disagreement(&share, least)
    }

    fn disagreement(&self, share: &Share, least: f64) -> Finding {
        let agreed = share.seen.trials - share.seen.successes;
        let words = format!(
            "{agreed}/{} rows answered alike ({least} is asked for)",
            share.seen.trials
        );
        match share.decision(self.level, LEVEL_OF_PASS) {
            Decision::Fail => Finding::Harm(format!("{words}: that is too few")),
            Decision::Pass => Finding::Good(words),
            Decision::Inconclusive => {
                Finding::Wait(format!("{words}: which may be chance; more rows decide it"))
            }
        }
    }
}

/// What is so with a version that serves alone, by the share of its errors: whether it does harm, and why.
pub fn harm_alone(errors: &Share) -> Option<String> {
    (errors.decision(LEVEL_OF_HARM, LEVEL_OF_PASS) == Decision::Fail).then(|| {
        format!(
            "errors {}: more than the {:.1}% that the version before had and what is allowed beside it",
            counts(errors.seen),
            errors.limit * 100.0
        )
    })
}

fn counts(counts: Proportion) -> String {
    format!("{}/{}", counts.successes, counts.trials)
}

/// Milliseconds, to three digits.
fn ms(value: f64) -> String {
    if value < 10.0 {
        format!("{value:.2}")
    } else if value < 100.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}

/// By how much the canary's share lies above the stable version's.
fn higher(shares: &Shares) -> f64 {
    shares.candidate.value().unwrap_or(0.0) - shares.stable.value().unwrap_or(0.0)
}

/// Where the stable version has had no request (it may have no pods left), nothing is held in its favour.
fn alone(canary: &Traffic, allowed: f64) -> Finding {
    let seen = Proportion {
        successes: canary.errors,
        trials: canary.requests,
    };
    let words = format!(
        "errors {}/{}, and none of the stable version's to compare them with",
        canary.errors, canary.requests
    );
    if seen.wilson(ALONE).lower > allowed && canary.requests >= MIN_FOR_HARM {
        Finding::Harm(words)
    } else if seen.value().is_some_and(|share| share > allowed) {
        Finding::Wait(words)
    } else {
        Finding::Good(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traffic(requests: u64, errors: u64, slow: u64) -> Traffic {
        Traffic {
            requests,
            errors,
            bounds_ms: vec![10.0, 100.0, 1000.0],
            counts: vec![requests - slow, 0, slow, 0],
            ..Traffic::default()
        }
    }

    fn check(metric: AnalysisMetric) -> Analysis {
        Analysis {
            metric,
            not_worse_than: None,
            max_ratio: None,
            max: None,
            min: None,
        }
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
            canary,
            stable,
            evidence: Some(evidence),
            steps: 2,
            is_last,
            is_over: false,
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
            ("alone", traffic(800, 0, 0), traffic(0, 0, 0), "Good"),
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
            said.contains("more requests to the canary would show it"),
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
}
