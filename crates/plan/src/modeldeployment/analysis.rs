//! Canary against stable, in the same minutes.
//!
//! The share of errors is judged by the bound of a confidence interval of the difference, the latency by a
//! quantile of the histograms. Absent on purpose: tests that stay valid however often they are looked at.

use windlass_api::{Analysis, AnalysisMetric};
use windlass_statistics::histogram;
use windlass_statistics::proportion::{self, Proportion};

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

/// Requests after which harm is acted upon, even before a step has its own.
const MIN_FOR_HARM: u64 = 20;
/// Confidence of the bounds.
const CONFIDENCE: f64 = 0.95;

/// Judges a canary against the stable version.
pub fn judge(
    checks: &[Analysis],
    canary: &Traffic,
    stable: &Traffic,
    min_requests: u64,
) -> Finding {
    let mut said = Vec::new();
    let mut enough = canary.requests >= min_requests;
    if !enough {
        said.push(format!(
            "the canary has answered {} of {min_requests} requests that a step needs",
            canary.requests
        ));
    }
    for check in checks {
        match check.metric {
            AnalysisMetric::ErrorRate => match errors(check, canary, stable) {
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

fn errors(check: &Analysis, canary: &Traffic, stable: &Traffic) -> Finding {
    let allowed = check
        .not_worse_than
        .as_ref()
        .and_then(|limit| limit.value().ok())
        .unwrap_or(0.0);
    let Some((point, lower)) = excess(canary, stable) else {
        return Finding::Wait("no request to the canary yet".to_owned());
    };
    let words = format!(
        "errors {}/{} against {}/{} of the stable version",
        canary.errors, canary.requests, stable.errors, stable.requests
    );
    if lower > allowed && canary.requests >= MIN_FOR_HARM {
        return Finding::Harm(format!(
            "{words}: the share of errors is higher by at least {:.1} percentage points, and {:.1} are allowed",
            lower * 100.0,
            allowed * 100.0
        ));
    }
    if point > allowed {
        return Finding::Wait(format!(
            "{words}: the share of errors lies higher by {:.1} percentage points ({:.1} are allowed), which may be chance",
            point * 100.0,
            allowed * 100.0
        ));
    }
    Finding::Good(words)
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

/// How much higher the canary's share of errors is: the point, and the lower bound of its interval.
///
/// Where the stable version has had no request (it may have none left), nothing is held in its favour.
fn excess(canary: &Traffic, stable: &Traffic) -> Option<(f64, f64)> {
    let of = |traffic: &Traffic| Proportion {
        successes: traffic.errors,
        trials: traffic.requests,
    };
    match proportion::difference(of(canary), of(stable), CONFIDENCE) {
        Some(difference) => Some((difference.value, difference.interval.lower)),
        None => Some((of(canary).value()?, of(canary).wilson(CONFIDENCE).lower)),
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
            let finding = judge(&checks(), &canary, &stable, 100);
            assert!(
                format!("{finding:?}").starts_with(expected),
                "{name}: {finding:?}"
            );
        }
    }
}
