//! Canary against stable, in the same minutes.
//!
//! The share of errors is judged by bets that stay valid however often they are looked at ([`Shares`]), over the whole
//! roll-out and in each step; the latency by a quantile of the histograms of the step.

use windlass_api::{Analysis, AnalysisMetric};
use windlass_statistics::gate::Decision;
use windlass_statistics::histogram;
use windlass_statistics::proportion::Proportion;
use windlass_statistics::sequential::Shares;

/// Requests that one version has answered in a span of time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Traffic {
    /// Requests answered.
    pub requests: u64,
    /// Of these, with an error.
    pub errors: u64,
    /// Upper bounds of the latency buckets, milliseconds.
    pub bounds_ms: Vec<f64>,
    /// Requests in each bucket; one longer than the bounds.
    pub counts: Vec<u64>,
}

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

/// How the errors of both sides compare, look by look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Errors {
    /// Over the whole roll-out: harm that is small shows itself in time.
    pub rollout: Shares,
    /// In this step alone: what a step does harm by is not hidden behind the good steps before it.
    pub step: Shares,
}

impl Errors {
    /// Nothing seen yet.
    pub const fn new(allowed: f64) -> Self {
        Self {
            rollout: Shares::new(allowed),
            step: Shares::new(allowed),
        }
    }

    /// Takes what the canary and the stable version have had since the last look.
    pub fn take(&mut self, canary: Proportion, stable: Proportion) {
        self.rollout.take(canary, stable);
        self.step.take(canary, stable);
    }
}

/// What has been seen of both sides.
#[derive(Clone, Debug)]
pub struct Seen<'a> {
    /// The canary's traffic in this step.
    pub canary: &'a Traffic,
    /// The stable version's.
    pub stable: &'a Traffic,
    /// Their errors; absent before both were asked.
    pub errors: Option<&'a Errors>,
    /// How many steps there are.
    pub steps: usize,
    /// Whether it is the last step, after which the canary takes all.
    pub is_last: bool,
    /// Whether the steps are over, and only pods are awaited.
    pub is_over: bool,
}

/// The chances that a canary is called worse in its errors that is not: over the whole roll-out, and in any of its steps; one
/// in a hundred together.
const LEVELS_OF_HARM: [f64; 2] = [0.0075, 0.0025];
/// The chance that one is called no worse that is, at the end of one.
const LEVEL_OF_PASS: f64 = 0.05;
/// Requests after which harm is acted upon where nothing else says how sure it is.
const MIN_FOR_HARM: u64 = 20;
/// Confidence in a canary that is compared with nothing: it is looked at again and again.
const ALONE: f64 = 0.999;

/// By how much the canary's share of errors may lie above the stable version's, where that is judged.
pub fn allowed_errors(checks: &[Analysis]) -> Option<f64> {
    let check = checks
        .iter()
        .find(|check| check.metric == AnalysisMetric::ErrorRate)?;
    let allowed = check.not_worse_than.as_ref()?.value().ok()?;
    // No share lies above another by all.
    (allowed < 1.0).then_some(allowed)
}

/// Judges a canary against the stable version.
pub fn judge(checks: &[Analysis], seen: &Seen<'_>, min_requests: u64) -> Finding {
    let Seen { canary, stable, .. } = *seen;
    let mut said = Vec::new();
    let mut enough = seen.is_over || canary.requests >= min_requests;
    if !enough {
        said.push(format!(
            "the canary has answered {} of {min_requests} requests that a step needs",
            canary.requests
        ));
    }
    for check in checks {
        match check.metric {
            AnalysisMetric::ErrorRate => match errors(checks, seen) {
                Finding::Harm(why) => return Finding::Harm(why),
                Finding::Good(why) => said.push(why),
                Finding::Wait(why) => {
                    enough = false;
                    said.push(why);
                }
            },
            AnalysisMetric::LatencyP99 => match latency(check, canary, stable, min_requests) {
                Finding::Harm(why) => return Finding::Harm(why),
                Finding::Good(why) | Finding::Wait(why) => said.push(why),
            },
        }
    }
    let said = said.join("; ");
    if enough {
        Finding::Good(said)
    } else {
        Finding::Wait(said)
    }
}

fn errors(checks: &[Analysis], seen: &Seen<'_>) -> Finding {
    let Some(allowed) = allowed_errors(checks) else {
        return Finding::Good("errors are not judged".to_owned());
    };
    let points = allowed * 100.0;
    let known = seen.errors.map_or(0, |errors| errors.rollout.stable.trials);
    if seen.canary.requests > 0 && seen.stable.requests == 0 && known == 0 {
        return alone(seen.canary, allowed);
    }
    let Some(Errors { rollout, step }) = seen.errors.filter(|_| known > 0) else {
        return Finding::Wait("no request to the canary yet".to_owned());
    };
    let [of_rollout, of_steps] = LEVELS_OF_HARM;
    let of_step = of_steps / f64::from(u32::try_from(seen.steps.max(1)).unwrap_or(u32::MAX));
    for (shares, level, where_) in [(rollout, of_rollout, ""), (step, of_step, " in this step")] {
        if shares.decision(level, LEVEL_OF_PASS) == Decision::Fail {
            let words = counted(shares);
            return Finding::Harm(format!(
                "{words}{where_}: the share of errors is higher by more than the {points:.1} percentage points that are allowed (by {:.1}; of canaries that are no worse, one in {:.0} at most would seem so)",
                higher(shares) * 100.0,
                1.0 / (of_rollout + of_steps)
            ));
        }
    }
    let words = counted(step);
    match step.decision(of_step, LEVEL_OF_PASS) {
        Decision::Pass | Decision::Fail => Finding::Good(words),
        Decision::Inconclusive if higher(step) > allowed => Finding::Wait(format!(
            "{words}: the share of errors lies higher by {:.1} percentage points ({points:.1} are allowed), which may be chance",
            higher(step) * 100.0
        )),
        // Only who is to take all the traffic has to have shown that it is no worse.
        Decision::Inconclusive if !seen.is_last => Finding::Good(words),
        Decision::Inconclusive => {
            let wanted = step.trials_to_pass(LEVEL_OF_PASS).map_or_else(
                || "more requests decide it".to_owned(),
                |wanted| format!("about {wanted:.0} more requests to the canary would show it"),
            );
            Finding::Wait(format!(
                "{words}: that the share of errors is higher by no more than {points:.1} percentage points is not shown yet; {wanted}"
            ))
        }
    }
}

fn counted(shares: &Shares) -> String {
    let of = |counts: Proportion| format!("{}/{}", counts.successes, counts.trials);
    format!(
        "errors {} against {} of the stable version",
        of(shares.candidate),
        of(shares.stable)
    )
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

fn latency(check: &Analysis, canary: &Traffic, stable: &Traffic, min_requests: u64) -> Finding {
    let allowed = check
        .max_ratio
        .as_ref()
        .and_then(|limit| limit.value().ok())
        .unwrap_or(f64::INFINITY);
    let enough =
        canary.requests >= min_requests && stable.requests >= min_requests.min(MIN_FOR_HARM);
    let p99 = |traffic: &Traffic| histogram::quantile(&traffic.bounds_ms, &traffic.counts, 0.99);
    let (Some(new), Some(old)) = (p99(canary), p99(stable)) else {
        return Finding::Wait("no latency measured yet".to_owned());
    };
    let words = format!("p99 latency {new:.0} ms against {old:.0} ms");
    if enough && new > old * allowed {
        Finding::Harm(format!("{words}: more than {allowed} times"))
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
        }
    }

    fn checks() -> Vec<Analysis> {
        vec![
            Analysis {
                metric: AnalysisMetric::ErrorRate,
                not_worse_than: Some("0.01".into()),
                max_ratio: None,
            },
            Analysis {
                metric: AnalysisMetric::LatencyP99,
                not_worse_than: None,
                max_ratio: Some("1.5".into()),
            },
        ]
    }

    /// As many looks as there are dozens of requests.
    fn errors(canary: &Traffic, stable: &Traffic) -> Errors {
        let mut shares = Errors::new(0.01);
        let looks = (canary.requests / 12).max(1);
        let part = |all: u64, look: u64| all * (look + 1) / looks - all * look / looks;
        for look in 0..looks {
            let of = |traffic: &Traffic| Proportion {
                successes: part(traffic.errors, look),
                trials: part(traffic.requests, look),
            };
            shares.take(of(canary), of(stable));
        }
        shares
    }

    fn judged(canary: &Traffic, stable: &Traffic, is_last: bool) -> Finding {
        let shares = errors(canary, stable);
        let seen = Seen {
            canary,
            stable,
            errors: Some(&shares),
            steps: 2,
            is_last,
            is_over: false,
        };
        judge(&checks(), &seen, 100)
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
        let (canary, stable) = (traffic(300, 15, 0), traffic(300, 0, 0));
        let mut both = errors(&traffic(100_000, 100, 0), &traffic(100_000, 100, 0));
        both.step = Shares::new(0.01);
        let after = errors(&canary, &stable);
        for _ in 0..25 {
            let of = |successes| Proportion {
                successes,
                trials: 12,
            };
            both.take(of(1), of(0));
        }
        assert_eq!(after.step.candidate.trials, both.step.candidate.trials);
        let seen = Seen {
            canary: &canary,
            stable: &stable,
            errors: Some(&both),
            steps: 2,
            is_last: true,
            is_over: false,
        };
        let found = judge(&checks(), &seen, 100);
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
        let all = Analysis {
            metric: AnalysisMetric::ErrorRate,
            not_worse_than: Some("1".into()),
            max_ratio: None,
        };
        let (canary, stable) = (traffic(200, 200, 0), traffic(200, 0, 0));
        let seen = Seen {
            canary: &canary,
            stable: &stable,
            errors: None,
            steps: 1,
            is_last: true,
            is_over: false,
        };
        let found = judge(&[all], &seen, 100);
        assert_eq!(found, Finding::Good("errors are not judged".to_owned()));
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
